"""The command `corgi`: trains on real data, and shows what corgi runs on.

Above: the shell.  Below: `Model.fit`, `data`; tqdm draws the progress bar.
"""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

import corgi
from corgi import activation, cost, data, initializer
from corgi.layer import Conv, Dense, Flatten, MaxPool
from corgi.model import Model
from corgi.optimizer import Adam, GradientDescent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corgi.layer import Layer

DEFAULT_RATE = {"sgd": 0.1, "adam": 0.003}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process by default.

    Examples
    --------
    >>> from corgi.cli import main
    >>> main(["info"])
    corgi ...
    0
    """
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        print("corgi: expected scikit-learn, which is not installed; pip install corgi[examples]", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("corgi: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    top = argparse.ArgumentParser(prog="corgi", description="Tensors with dynamic automatic differentiation.")
    top.add_argument("--version", action="version", version=f"corgi {corgi.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="show version, BLAS, instruction set, threads, dtype")
    info.set_defaults(run=_info)
    train = commands.add_parser("train", help="train a classifier on real data")
    datasets = train.add_subparsers(required=True, metavar="DATA")
    digits = datasets.add_parser(
        "digits",
        help="1,797 handwritten digits, 8 x 8 pixels",
        description="Train on scikit-learn's handwritten digits and test on images that were held out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    digits.set_defaults(run=_run_digits)
    digits.add_argument("--epochs", type=_count, default=30, metavar="N", help="times through the training images")
    digits.add_argument("--batch-size", type=_count, default=32, metavar="N", help="images for each step")
    digits.add_argument(
        "--optimizer", choices=["sgd", "adam"], default="sgd", help="sgd has momentum 0.9 and weight decay 1e-4"
    )
    rates = ", ".join(f"{rate} for {name}" for name, rate in DEFAULT_RATE.items())
    digits.add_argument(
        "--learning-rate", type=_rate, metavar="X", default=argparse.SUPPRESS, help=f"of a step (default: {rates})"
    )
    digits.add_argument("--dtype", choices=["float32", "float64"], default="float32", help="of the whole computation")
    digits.add_argument("--seed", type=_seed, default=0, metavar="N", help="the same seed gives the same run, bit for bit")
    digits.add_argument("--conv", action="store_true", help="a convolutional network instead of a fully connected one")
    return top


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a finite number above 0, got {text}")
    return value


# argparse names a type in its message by this.
_count.__name__ = _seed.__name__ = "int"
_rate.__name__ = "float"


def _info(options: argparse.Namespace) -> int:
    corgi.show_config()
    return 0


def digits_layers(conv: bool, dtype: str) -> list[Layer]:
    """The networks of `corgi train digits`: fully connected, or convolutional."""
    he, relu = initializer.he(), activation.relu
    last = initializer.glorot()
    if conv:
        return [
            Conv(1, 16, 3, he, relu, padding=1, dtype=dtype),
            MaxPool(2),
            Conv(16, 32, 3, he, relu, padding=1, dtype=dtype),
            MaxPool(2),
            Flatten(),
            Dense(128, 10, last, activation.softmax, dtype=dtype),
        ]
    return [Dense(64, 256, he, relu, dtype=dtype), Dense(256, 10, last, activation.softmax, dtype=dtype)]


def _run_digits(options: argparse.Namespace) -> int:
    train_digits(options)
    return 0


def train_digits(options: argparse.Namespace) -> tuple[Model, float]:
    """What `corgi train digits` does; returns the trained model and its accuracy on the held-out images."""
    corgi.seed(options.seed)
    train, test = data.digits(options.dtype, options.seed, flat=not options.conv)
    rate = getattr(options, "learning_rate", DEFAULT_RATE[options.optimizer])
    optimizer = Adam(rate) if options.optimizer == "adam" else GradientDescent(rate, momentum=0.9, weight_decay=1e-4)
    model = Model(digits_layers(options.conv, options.dtype), optimizer, cost.cross_entropy)
    weights = sum(parameter.size for parameter in model.parameters())
    print(f"{model}\n{weights:,} parameters, {len(train.labels):,} images to train on, {len(test.labels)} held out")
    history = model.fit(*train, epochs=options.epochs, batch_size=options.batch_size, seed=initializer.generator())
    if history.stopped:
        raise KeyboardInterrupt
    accuracy = model.evaluate(*test, metrics="accuracy")["accuracy"]
    total = len(test.labels)
    print(f"loss {history['loss'][-1]:.6f} after {options.epochs} epochs, {sum(history['seconds']):.1f} s")
    print(f"accuracy on held-out images: {accuracy:.1%} ({round(accuracy * total)} of {total})")
    return model, accuracy
