"""The loops behind `Model.fit`, `evaluate` and `predict`.

Above: `Model`.  Below: `corgi.data.Loader`, metrics, callbacks, `History`; tqdm (the progress bar), imported at its use.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from corgi._core import Array, array, concatenate, get_default_dtype, no_tracking
from corgi.callback import EVENTS, Callback
from corgi.data.loader import Loader, own_generator, split
from corgi.data.source import builder
from corgi.history import History
from corgi.layer.base import size as checked_size
from corgi.location import warn
from corgi.metric import Metric, collected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from corgi._typing import Seed
    from corgi.model import Model

__all__ = ["Run"]


class Run:
    """A training that goes on, as callbacks see it.

    Attributes
    ----------
    model : Model
    history : History
        Of the complete epochs.
    epoch, epochs : int
        The epoch's number, from 0, and that at which the training ends.
    first_epoch : int
        The number that the first epoch had.
    step : int
        How many updates the parameters have had in this training.
    loss : float
        Of the last batch.
    figures : dict
        Of str to float: the figures of the last complete epoch.
    stopped : str
        What `stop` was given; empty before.

    Examples
    --------
    >>> import corgi
    >>> def enough(run):
    ...     if run.step == 3:
    ...         run.stop("three steps")
    >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
    >>> callback = corgi.callback.LambdaCallback(on_batch_end=enough)
    >>> model.fit([[1.0], [2.0]], [[1.0], [2.0]], epochs=5, batch_size=1, callbacks=[callback]).stopped
    'three steps'
    """

    def __init__(self, model: Model, epoch: int, epochs: int) -> None:
        self.model, self.history = model, History()
        self.epoch, self.epochs = epoch, epochs
        self.first_epoch = epoch
        self.step = 0
        self.loss = math.nan
        self.figures: dict[str, float] = {}
        self.stopped = ""
        self.warned = False

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the training after the current batch or epoch.

        Parameters
        ----------
        reason : str
            For ``history.stopped``.
        """
        self.stopped = reason


# ---- the loops


def fit(
    model: Model,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    validation: Any,
    metrics: Any,
    callbacks: Callback | Iterable[Callback],
    progress: bool | None,
    seed: Seed,
    initial_epoch: int,
    stop_on_nan: bool,
) -> History:
    """See `Model.fit`."""
    if model.cost is None or model.optimizer is None:
        missing = "a cost" if model.cost is None else "an optimizer"
        raise ValueError(f"fit: expected a model with {missing}; pass one: Model(layers, optimizer, cost)")
    epochs, batch_size = checked_size(epochs, "fit", "epochs"), checked_size(batch_size, "fit", "batch_size")
    if isinstance(initial_epoch, bool) or not isinstance(initial_epoch, int) or not 0 <= initial_epoch <= epochs:
        raise ValueError(f"fit: expected initial_epoch from 0 to {epochs}, got {initial_epoch!r}")
    measures = collected(metrics, "fit")
    loader, held_out = _loaders(model, x, y, validation, batch_size, shuffle, seed)
    called = _called(callbacks)
    run = Run(model, initial_epoch, epochs)
    with _modes(model), _Interruption() as interruption, _progress(progress, loader, epochs - initial_epoch) as bar:
        try:
            _call(called, "on_train_begin", run)
            for run.epoch in range(initial_epoch, epochs):
                _call(called, "on_epoch_begin", run)
                if run.stopped:
                    break
                bar.begin(run)
                start = time.perf_counter()
                model.train()
                figures = _train(run, loader, measures, called, bar, interruption, stop_on_nan)
                if figures is None and run.stopped:
                    break
                if figures is None:  # nothing was left of the epoch that the loader was in
                    continue
                if held_out is not None:
                    model.eval()
                    found = _judge(model, held_out, measures, "fit")
                    figures |= {f"val_{name}": value for name, value in found.items()}
                if hasattr(model.optimizer, "rate"):  # optimizers of another make may have none
                    figures["rate"] = model.optimizer.rate()
                figures["seconds"] = time.perf_counter() - start
                with interruption.later():
                    run.figures = figures
                    run.history.append(figures)
                bar.end(run)
                _call(called, "on_epoch_end", run)
                if run.stopped and run.epoch + 1 < epochs:
                    break
            else:
                run.stopped = ""
        except KeyboardInterrupt:
            _clear(model)
            run.stop(f"interrupted in epoch {run.epoch}")
        run.history.stopped = run.stopped
        _call(called, "on_train_end", run)
    return run.history


def _train(
    run: Run,
    loader: Iterable[Any],
    measures: dict[str, Metric],
    called: dict[str, list[Callback]],
    bar: _Bar,
    interruption: _Interruption,
    stop_on_nan: bool,
) -> dict[str, float] | None:
    """One epoch: the figures, or None if it was not complete."""
    model, after_batch = run.model, called["on_batch_end"]
    forward, backward, update = model.forward, model.backward, model.update
    unused = model.named_parameters() if run.epoch == run.first_epoch else {}
    resumed = isinstance(loader, Loader) and loader.position > 0
    total, rows = 0.0, 0
    for measure in measures.values():
        measure.reset()
    output: Any
    with _batches_of(loader) as batches:
        for inputs, targets in batches:
            interruption.wait = True
            output = forward(inputs)
            loss = backward(targets)
            if not math.isfinite(loss) and _not_finite(run, loss, stop_on_nan):
                _clear(model)
                interruption.wait = False
                return None
            if unused:
                unused = {name: parameter for name, parameter in unused.items() if parameter.gradient is None}
            update()
            run.step += 1
            interruption.wait = False
            if interruption.pending:
                raise KeyboardInterrupt
            count = len(output)
            total += loss * count
            rows += count
            if measures:
                with no_tracking():
                    for measure in measures.values():
                        measure.update(output, targets)
            output = None  # and with it the graph, before the next one is made
            run.loss = loss
            if after_batch:
                _call(called, "on_batch_end", run)
                if run.stopped:
                    return None
            if bar.shown:
                bar.step(total / rows)
    if not rows:
        if resumed:  # at the end of its epoch
            return None
        raise ValueError(f"fit: expected at least one row, got none in epoch {run.epoch}; an iterator can be read only once")
    if unused:
        _warn_of_unused(list(unused))
    return {"loss": total / rows, **{name: measure.result() for name, measure in measures.items()}}


def evaluate(model: Model, x: Any, y: Any, *, batch_size: int, metrics: Any) -> dict[str, float]:
    """See `Model.evaluate`."""
    measures = collected(metrics, "evaluate")
    if model.cost is None and not measures:
        raise ValueError("evaluate: expected a model with a cost, or metrics")
    loader = _batches(model, x, y, checked_size(batch_size, "evaluate", "batch_size"), "evaluate")
    with _modes(model):
        model.eval()
        return _judge(model, loader, measures, "evaluate")


def _judge(model: Model, loader: Iterable[Any], measures: dict[str, Metric], op: str) -> dict[str, float]:
    """Loss and metrics over all rows."""
    total, rows = 0.0, 0
    for measure in measures.values():
        measure.reset()
    with no_tracking(), _batches_of(loader) as batches:
        for inputs, targets in batches:
            output = model.forward(inputs)
            count = len(output)
            if model.cost is not None:
                total += float(model.cost(output, targets)) * count
            rows += count
            for measure in measures.values():
                measure.update(output, targets)
    if not rows:
        raise ValueError(f"{op}: expected at least one row to judge by, got none")
    figures = {} if model.cost is None else {"loss": total / rows}
    return figures | {name: measure.result() for name, measure in measures.items()}


def predict(model: Model, x: Any, *, batch_size: int) -> Array:
    """See `Model.predict`."""
    size = checked_size(batch_size, "predict", "batch_size")
    with _modes(model), no_tracking():
        model.eval()
        if isinstance(x, Loader):
            outputs = [model.forward(inputs) for inputs in x]
        else:
            given = _given(x, _dtype(model))
            loader = Loader(given, size, transform=_raw(given))
            outputs = [model.forward(inputs) for inputs in loader] or [model.forward(given)]
    if not outputs:
        raise ValueError("predict: expected at least one batch, got none")
    return outputs[0] if len(outputs) == 1 else concatenate(outputs)


# ---- the data


def _loaders(
    model: Model, x: Any, y: Any, validation: Any, batch_size: int, shuffle: bool, seed: Seed
) -> tuple[Iterable[Any], Iterable[Any] | None]:
    """Batches to train on and batches to validate with."""
    generator = own_generator(seed)
    fraction = isinstance(validation, float)
    if y is None:
        if fraction:
            raise ValueError("fit: expected validation data, got a fraction, which needs arrays x and y")
        loader = _batches(model, x, None, batch_size, "fit")
    else:
        given = (_given(x, _dtype(model)), _given(y, _dtype(model)))
        raw = _raw((given[0], None))
        if fraction:
            given, kept = split(*given, fraction=validation, seed=generator)
            return (
                Loader(given, batch_size, shuffle=shuffle, seed=generator, transform=raw),
                Loader(kept, max(batch_size, JUDGED), transform=raw),
            )
        loader = Loader(given, batch_size, shuffle=shuffle, seed=generator, transform=raw)
    if validation is None:
        return loader, None
    if isinstance(validation, tuple):
        if len(validation) != 2:
            raise ValueError(f"fit: expected validation as (x, y), a fraction or batches, got a tuple of {len(validation)}")
        return loader, _batches(model, *validation, max(batch_size, JUDGED), "fit")
    return loader, _batches(model, validation, None, batch_size, "fit")


JUDGED = 256  # rows in a batch that nothing is learnt from


def _batches(model: Model, x: Any, y: Any, batch_size: int, op: str) -> Iterable[Any]:
    """Batches of inputs and targets in order; or what gives them."""
    if y is not None:
        given = (_given(x, _dtype(model)), _given(y, _dtype(model)))
        return Loader(given, batch_size, transform=_raw((given[0], None)))
    if not isinstance(x, Iterable) or type(x) is Array or isinstance(x, np.ndarray | str | dict | tuple):
        raise TypeError(f"{op}: expected x and y, or a Loader (or iterable) of pairs, got {type(x).__name__} without y")
    return x


def _dtype(model: Model) -> Any:
    """The dtype that data takes: that of the first parameter."""
    return next((parameter.dtype for parameter in model.parameters()), get_default_dtype())


def _given(data: Any, dtype: Any) -> Any:
    """Arrays as they are; other floats as Arrays of the model's dtype; other integers as NumPy arrays."""
    if isinstance(data, tuple | dict):
        return builder(data)([_given(part, dtype) for part in (data.values() if isinstance(data, dict) else data)])
    if type(data) is Array:
        return data
    values = np.asarray(data)
    return array(values, dtype) if values.dtype.kind == "f" else values


def _raw(given: Any) -> Any:
    """A transform of batches, or None: integers that were no Array reach the model as NumPy's.

    So every layer takes them as in `forward`: `Dense` in its own dtype, for example.
    """
    if isinstance(given, tuple | dict):
        parts = [_raw(part) for part in (given.values() if isinstance(given, dict) else given)]
        if not any(parts):
            return None
        build = builder(given)
        return lambda batch: build(
            [
                part if raw is None else raw(part)
                for raw, part in zip(parts, batch.values() if isinstance(batch, dict) else batch, strict=True)
            ]
        )
    return None if given is None or type(given) is Array else Array.numpy


# ---- what surrounds the loops


@contextmanager
def _batches_of(loader: Iterable[Any]) -> Iterator[Iterator[Any]]:
    """Go through batches; the thread of a Loader ends with the block, also when an error's traceback holds the loop."""
    batches: Any = iter(loader)
    try:
        yield batches
    finally:
        if isinstance(loader, Loader):
            batches.close()


@contextmanager
def _modes(model: Model) -> Iterator[None]:
    """Leave the model in the modes of training, and with the output for `backward`, that it had."""
    modes = [(layer, layer.training) for layer in model.named_layers().values()]
    output = model._output
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training
        model._output = output


def _clear(model: Model) -> None:
    """Drop what an unfinished step has left."""
    for parameter in model.parameters():
        parameter.gradient = None
    model._output = None


def _not_finite(run: Run, loss: float, stop: bool) -> bool:
    """Warn of such a loss once in a training; whether to stop."""
    if not run.warned:
        run.warned = True
        warnings.warn(
            f"fit: the loss is {loss} in epoch {run.epoch}, step {run.step}; a smaller learning rate may help, and "
            "stop_on_nan=True stops before parameters take part in it",
            RuntimeWarning,
            stacklevel=5,
        )
    if stop:
        run.stop(f"loss {loss} in epoch {run.epoch}")
    return stop


def _warn_of_unused(names: list[str]) -> None:
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    warn(
        f"fit: no gradient has reached {shown} in the first epoch: nothing that was computed with them is part of the loss; "
        "call untracked() on parameters that are not to be trained",
        UserWarning,
    )


def _called(callbacks: Callback | Iterable[Callback]) -> dict[str, list[Callback]]:
    """For each event the callbacks that do something then."""
    callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            kind = f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
            raise TypeError(f"fit: expected callbacks, instances of corgi.callback.Callback, got {kind}")

    def defined(callback: Callback, event: str) -> bool:
        return event in vars(callback) or getattr(type(callback), event) is not getattr(Callback, event)

    return {event: [callback for callback in callbacks if defined(callback, event)] for event in EVENTS}


def _call(called: dict[str, list[Callback]], event: str, run: Run) -> None:
    for callback in called[event]:
        try:
            getattr(callback, event)(run)
        except Exception as error:
            error.add_note(f"in {type(callback).__name__}.{event}, epoch {run.epoch}")
            raise


class _Interruption:
    """Ctrl-C as KeyboardInterrupt; while `wait` is set, the first one waits, lest it come between two updates."""

    def __init__(self) -> None:
        self.wait = self.pending = False
        self._before: Any = None

    def __enter__(self) -> _Interruption:
        if threading.current_thread() is threading.main_thread():  # elsewhere none arrives, and no handler can be set
            before = signal.getsignal(signal.SIGINT)
            if before is signal.default_int_handler or isinstance(getattr(before, "__self__", None), _Interruption):
                self._before = before
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: object) -> None:
        if not self.wait or self.pending:
            raise KeyboardInterrupt
        self.pending = True

    @contextmanager
    def later(self) -> Iterator[None]:
        """A block that Ctrl-C does not interrupt."""
        self.wait = True
        yield
        self.wait = False
        if self.pending:
            raise KeyboardInterrupt


class _Bar:
    """No progress bar."""

    shown = False

    def begin(self, run: Run) -> None:
        pass

    def step(self, loss: float) -> None:
        pass

    def end(self, run: Run) -> None:
        pass


class _TqdmBar(_Bar):
    """Steps of the whole training, drawn at most ten times a second."""

    shown = True

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._steps, self._drawn, self._figures = 0, time.perf_counter(), ""

    def begin(self, run: Run) -> None:
        self._bar.set_description_str(f"epoch {run.epoch + 1}/{run.epochs}", refresh=False)

    def step(self, loss: float) -> None:
        self._steps += 1
        now = time.perf_counter()
        if now - self._drawn >= 0.1:
            self._draw(f"loss {loss:.4g}{self._figures}", now)

    def end(self, run: Run) -> None:
        others = [f", {name} {value:.4g}" for name, value in run.figures.items() if name not in ("loss", "seconds")]
        self._figures = "".join(others)
        now = time.perf_counter()
        if now - self._drawn >= 0.1 or run.epoch + 1 == run.epochs:
            self._draw(f"loss {run.figures['loss']:.4g}{self._figures}", now)

    def _draw(self, text: str, now: float) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(self._steps)
        self._steps, self._drawn = 0, now


@contextmanager
def _progress(wanted: bool | None, loader: Iterable[Any], epochs: int) -> Iterator[_Bar]:
    """A bar if it is wanted; None: if standard error is a terminal, and tqdm is installed."""
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty() and _has_tqdm()
    if not wanted:
        yield _Bar()
        return
    from tqdm import tqdm

    try:
        total = epochs * len(loader)  # type: ignore[arg-type]
    except TypeError:
        total = None
    with tqdm(total=total, unit="step", mininterval=0, miniters=0, dynamic_ncols=True) as bar:
        shown = _TqdmBar(bar)
        yield shown


def _has_tqdm() -> bool:
    from importlib.util import find_spec

    return find_spec("tqdm") is not None
