"""The command `corgi`, as a process and in this one, and the data that it trains on."""

import hashlib
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import corgi
from corgi import data
from corgi.cli import main, parser, train_digits

ACCURACY = re.compile(r"accuracy on held-out images: ([\d.]+)% \((\d+) of (\d+)\)")


def run(tmp_path, *arguments, code="import sys; from corgi.cli import main; sys.exit(main())", **environment):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(autouse=True)
def package_generator_is_restored(monkeypatch):
    monkeypatch.setattr(corgi.initializer, "_default", None)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("conv", [False, True])
def test_accuracy(conv, optimizer, dtype, capsys):
    arguments = ["train", "digits", "--optimizer", optimizer, "--dtype", dtype] + ["--conv"] * conv
    if conv and (optimizer, dtype) != ("sgd", "float32"):
        arguments += ["--epochs", "10"]
    model, accuracy = train_digits(parser().parse_args(arguments))
    percent, right, total = ACCURACY.search(capsys.readouterr().out).groups()
    assert accuracy >= 0.97 and int(total) == 359
    assert float(percent) == round(100 * accuracy, 1) and int(right) == round(accuracy * 359)
    assert {p.dtype.name for p in model.parameters()} == {dtype}


DIGEST = """
import hashlib, sys
from corgi.cli import parser, train_digits
model, accuracy = train_digits(parser().parse_args(sys.argv[1:]))
print(hashlib.sha256(b"".join(p.numpy().tobytes() for p in model.parameters())).hexdigest())
"""


@pytest.mark.parametrize("arguments", [[], ["--optimizer", "adam", "--dtype", "float64", "--batch-size", "500"], ["--conv"]])
def test_the_same_seed_gives_the_same_run_for_any_number_of_threads(arguments, tmp_path):
    def lines(threads, seed="5"):
        result = run(
            tmp_path, "train", "digits", "--epochs", "2", "--seed", seed, *arguments, code=DIGEST, CORGI_NUM_THREADS=threads
        )
        assert result.returncode == 0 and result.stderr == "", result.stderr
        return [re.sub(r", [\d.]+ s$", "", line) for line in result.stdout.splitlines()]

    first = lines("1")
    assert first == lines("2")
    if not arguments:
        assert first[-1] != lines("1", seed="6")[-1]


def test_process(tmp_path):
    result = run(tmp_path, "train", "digits", "--epochs", "1", "--learning-rate", "0.01", "--batch-size", "100")
    assert result.returncode == 0 and result.stderr == ""  # no progress bar where no terminal is
    assert "learning_rate=0.01" in result.stdout and ACCURACY.search(result.stdout)
    result = run(tmp_path, "--version")
    assert (result.returncode, result.stdout) == (0, f"corgi {corgi.__version__}\n")
    result = run(
        tmp_path, code="import runpy, sys; sys.argv = ['corgi', 'info']; runpy.run_module('corgi', run_name='__main__')"
    )
    assert result.returncode == 0 and "BLAS:" in result.stdout


def test_info(capsys):
    assert main(["info"]) == 0
    told = capsys.readouterr().out
    corgi.show_config()
    assert told == capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "the following arguments are required: COMMAND"),
        (["train"], "the following arguments are required: DATA"),
        (["train", "cats"], "argument DATA: invalid choice: 'cats'"),
        (["train", "digits", "--epochs", "0"], "argument --epochs: expected a number of at least 1, got 0"),
        (["train", "digits", "--epochs", "two"], "argument --epochs: invalid int value: 'two'"),
        (["train", "digits", "--batch-size", "-3"], "argument --batch-size: expected a number of at least 1, got -3"),
        (
            ["train", "digits", "--learning-rate", "nan"],
            "argument --learning-rate: expected a finite number above 0, got nan",
        ),
        (["train", "digits", "--learning-rate", "0"], "argument --learning-rate: expected a finite number above 0, got 0"),
        (["train", "digits", "--learning-rate", "x"], "argument --learning-rate: invalid float value: 'x'"),
        (["train", "digits", "--optimizer", "lbfgs"], "argument --optimizer: invalid choice: 'lbfgs'"),
        (["train", "digits", "--dtype", "int64"], "argument --dtype: invalid choice: 'int64'"),
        (["train", "digits", "--seed", "-1"], "argument --seed: expected a number of at least 0, got -1"),
        (["train", "digits", "--fast"], "unrecognized arguments: --fast"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


WITHOUT = """
import sys
class Missing:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing)
from corgi.cli import main
sys.exit(main())
"""


def test_missing_extra(tmp_path):
    result = run(tmp_path, "train", "digits", code=WITHOUT.format(module="sklearn"))
    expected = "corgi: expected scikit-learn, which is not installed; pip install corgi[examples]\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", expected)
    result = run(tmp_path, "train", "digits", "--epochs", "1", code=WITHOUT.format(module="tqdm"))
    assert result.returncode == 0 and ACCURACY.search(result.stdout)  # without a progress bar


def test_interrupted(monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("corgi.model.Model.update", interrupt)
    assert main(["train", "digits"]) == 130
    assert capsys.readouterr().err.endswith("corgi: interrupted\n")


# ---- the data


def test_digits():
    from sklearn.datasets import load_digits

    train, test = data.digits("float32", seed=1)
    assert train.images.shape == (1438, 64) and test.images.shape == (359, 64)
    assert train.images.dtype == "float32" and train.labels.dtype == "int64"
    raw = load_digits()
    both = np.column_stack([np.concatenate([train.images, test.images]) * 16, np.concatenate([train.labels, test.labels])])
    expected = np.column_stack([raw.images.reshape(-1, 64), raw.target])
    assert np.array_equal(both[np.lexsort(both.T)], expected[np.lexsort(expected.T)])

    images, _ = data.digits(seed=1, flat=False)[0]
    assert images.shape == (1438, 1, 8, 8) and images.dtype == "float64"
    assert np.array_equal(images.numpy().reshape(-1, 64), train.images)
    assert not np.array_equal(data.digits(seed=2)[0].labels, train.labels)
    with pytest.raises(ValueError, match=r"data.digits: expected held_out between 0 and 1 .* got 1"):
        data.digits(held_out=1)


def test_batches():
    x, y = corgi.arange(7), corgi.arange(7) * 2
    parts = list(data.batches((x, y), 3, seed=0))
    assert [len(a) for a, _ in parts] == [3, 3, 1]
    assert all((b == a * 2).all() for a, b in parts)
    assert sorted(np.concatenate([a for a, _ in parts])) == list(range(7))
    assert list(data.batches((corgi.zeros(0),), 3)) == []
    with pytest.raises(TypeError, match="batches: expected an int for size, got float"):
        next(data.batches((x, y), 1.5))
    with pytest.raises(ValueError, match="batches: expected a size of at least 1, got 0"):
        next(data.batches((x, y), 0))
    with pytest.raises(ValueError, match=r"batches: expected arrays of equal lengths, got lengths \[7, 3\]"):
        next(data.batches((x, y[:3]), 2))


def test_digest_is_of_the_parameters():
    """Guards the test above: the parameters do depend on training."""
    options = parser().parse_args(["train", "digits", "--epochs", "1"])
    first, _ = train_digits(options)
    options.epochs = 2
    second, _ = train_digits(options)
    digests = {hashlib.sha256(p.numpy().tobytes()).hexdigest() for m in (first, second) for p in m.parameters()}
    assert len(digests) == 8
