"""The loops behind `Model.fit`, `evaluate` and `predict`.

Above: `Model`.  Below: `corgi.data.Loader`, metrics, callbacks, `History`, the progress bar, checkpoints.
"""

from __future__ import annotations

import copy
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corgi._core import Array, array, concatenate, get_default_dtype, no_tracking
from corgi.callback import EVENTS, Callback, Checkpoint
from corgi.checkpoint import Saved, load_all, part_of, read, reasons, restore
from corgi.data.loader import Loader, generator_state, own_generator, set_generator, split
from corgi.data.source import builder
from corgi.history import History
from corgi.layer.base import size as checked_size
from corgi.location import warn
from corgi.metric import Metric, collected
from corgi.optimizer.checks import mapping, whole
from corgi.progress import Bar, progress_bar

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

    def __init__(
        self,
        model: Model,
        epoch: int,
        epochs: int,
        data: Data,
        measures: dict[str, Metric],
        callbacks: list[Callback],
        stop_on_nan: bool,
    ) -> None:
        self.model, self.history = model, History()
        self.epoch, self.epochs = epoch, epochs
        self.first_epoch = epoch
        self.step = 0
        self.loss = math.nan
        self.figures: dict[str, float] = {}
        self.stopped = ""
        self._data, self._measures, self._callbacks = data, measures, callbacks
        self._stop_on_nan, self._warned = stop_on_nan, False
        self._next = epoch  # the epoch to go on with, of which there have been so many rows, with this sum of losses
        self._rows, self._total, self._start = 0, 0.0, 0.0

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the training after the current batch or epoch.

        Parameters
        ----------
        reason : str
            For ``history.stopped``.
        """
        self.stopped = reason

    def state_dict(self) -> dict[str, Any]:
        """Where the training is, besides the model: what `corgi.callback.Checkpoint` saves.

        Returns
        -------
        dict
            Of numbers, strings, None, lists, dicts and arrays.

        Raises
        ------
        TypeError
            Within an epoch, if the batches come from an iterable that is no `corgi.data.Loader`.
        """
        within, loader, judged = self._rows > 0, *self._data[:2]
        if within and not isinstance(loader, Loader):
            raise TypeError(f"Checkpoint: expected a corgi.data.Loader to save within an epoch, got {type(loader).__name__}")
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "history": dict(self.history),
            "figures": self.figures,
            "next": self._next,
            "warned": self._warned,
            "rows": self._rows,
            "total": self._total,
            "seconds": time.perf_counter() - self._start if within else 0.0,
            "metrics": {name: measure.state_dict() for name, measure in self._measures.items()} if within else {},
            "loader": loader.state_dict() if isinstance(loader, Loader) else None,
            "validation": judged.state_dict() if isinstance(judged, Loader) else None,
            "chosen": self._data.chosen,
            "callbacks": [[type(callback).__name__, callback.state_dict()] for callback in self._callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of a training with such data, metrics and callbacks; then nothing has changed.
        """
        op = "fit"
        given = mapping(state, op)
        epoch, step, following, rows = (whole(given[name], op, name, least=0) for name in ("epoch", "step", "next", "rows"))
        loss, total, seconds = (_float(given[name], name) for name in ("loss", "total", "seconds"))
        figures = {str(name): _float(value, name) for name, value in mapping(given["figures"], op).items()}
        history = mapping(given["history"], op)
        for name, values in history.items():
            if not isinstance(values, list) or len({len(values), *map(len, history.values())}) != 1:
                raise ValueError("expected lists of equal lengths in the history")
            history[name] = [_float(value, name) for value in values]
        if not isinstance(given["stopped"], str) or not 0 <= following - epoch <= 1:
            raise ValueError("expected a reason to stop, and an epoch to go on with")
        load_all(self._matched(given, within=rows > 0))
        self.epoch, self.step, self._next, self._rows = epoch, step, following, rows
        self.loss, self._total, self._start = loss, total, time.perf_counter() - seconds
        self.figures, self.stopped, self._warned = figures, given["stopped"], given["warned"] is True
        self.history.clear()
        self.history.update(history)

    def _matched(self, given: dict[str, Any], within: bool) -> list[tuple[Any, Any]]:
        """The loaders, metrics and callbacks, each with its state."""
        pairs: list[tuple[Any, Any]] = []
        for name, loader in zip(("loader", "validation"), self._data[:2], strict=True):
            if isinstance(loader, Loader):
                pairs.append((loader, given[name]))
            elif given[name] is not None or (within and name == "loader"):
                raise ValueError(f"expected a Loader for the {name}, as in the training that was saved")
        if within:
            states = mapping(given["metrics"], "fit")
            if list(states) != list(self._measures):
                raise ValueError(f"it has the metrics {', '.join(states)}, the training {', '.join(self._measures)}")
            pairs += [(measure, states[name]) for name, measure in self._measures.items()]
        kinds = [type(callback).__name__ for callback in self._callbacks]
        if [kind for kind, _ in given["callbacks"]] != kinds:
            saved = ", ".join(str(kind) for kind, _ in given["callbacks"])
            raise ValueError(f"it has the callbacks {saved}, the training {', '.join(kinds)}")
        return pairs + [(callback, own) for callback, (_, own) in zip(self._callbacks, given["callbacks"], strict=True)]


_PLAIN = ("epoch", "step", "loss", "stopped")


def _float(value: Any, name: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number for {name}, got {type(value).__name__}")
    return float(value)


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
    callbacks = _listed(callbacks)
    called = _called(callbacks)
    saved = _saved(callbacks)
    data = _data(model, x, y, validation, batch_size, shuffle, seed, saved)
    run = Run(model, initial_epoch, epochs, data, measures, callbacks, stop_on_nan)
    with _modes(model), _Interruption() as interruption:
        try:
            _call(called, "on_train_begin", run)
            if saved is not None:
                restore(saved, model, {"training": run}, "fit")
            with progress_bar(progress, data.loader, epochs - run._next) as bar:
                _epochs(run, called, bar, interruption)
        except KeyboardInterrupt:
            _clear(model)
            run.stop(f"interrupted in epoch {run.epoch}")
        run.history.stopped = run.stopped
        _call(called, "on_train_end", run)
    return run.history


def _epochs(run: Run, called: dict[str, list[Callback]], bar: Bar, interruption: _Interruption) -> None:
    """The epochs that are left."""
    model = run.model
    for epoch in range(run._next, run.epochs):
        if run.stopped:
            return
        if not run._rows:  # else the epoch has begun
            run.epoch = run._next = epoch
            run._start = time.perf_counter()
            _call(called, "on_epoch_begin", run)
            if run.stopped:
                return
        bar.begin(run)
        model.train()
        figures = _train(run, called, bar, interruption)
        if figures is None and run.stopped:
            return
        if figures is None:  # nothing was left of the epoch that the loader was in
            continue
        if run._data.judged is not None:
            model.eval()
            found = _judge(model, run._data.judged, run._measures, "fit")
            figures |= {f"val_{name}": value for name, value in found.items()}
        if (rate := getattr(model.optimizer, "rate", None)) is not None:  # optimizers of another make may have none
            figures["rate"] = rate()
        figures["seconds"] = time.perf_counter() - run._start
        with interruption.later():
            run.figures = figures
            run.history.append(figures)
            run._next, run._rows, run._total = epoch + 1, 0, 0.0
        bar.end(run)
        _call(called, "on_epoch_end", run)
    run.stopped = ""


def _train(run: Run, called: dict[str, list[Callback]], bar: Bar, interruption: _Interruption) -> dict[str, float] | None:
    """What is left of an epoch: its figures, or None if it was not complete."""
    model, loader, after_batch = run.model, run._data.loader, called["on_batch_end"]
    forward, backward, update, measures = model.forward, model.backward, model.update, run._measures
    begun = isinstance(loader, Loader) and loader.position > 0
    total, rows = run._total, run._rows
    unused = model.named_parameters() if run.epoch == run.first_epoch and not rows else {}
    if not rows:
        for measure in measures.values():
            measure.reset()

    def closure() -> float:
        forward(inputs)
        return backward(targets)

    again = closure if getattr(model.optimizer, "needs_closure", False) else None
    output: Any
    with _batches_of(loader) as batches:
        for inputs, targets in batches:
            interruption.wait = True
            output = forward(inputs)
            loss = backward(targets)
            if not math.isfinite(loss) and _not_finite(run, loss):
                _clear(model)
                interruption.wait = False
                return None
            if unused:
                unused = {name: parameter for name, parameter in unused.items() if parameter.gradient is None}
            if again is None:
                update()
            else:
                update(again)
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
                run._total, run._rows = total, rows
                _call(called, "on_batch_end", run)
                if run.stopped:
                    return None
            if bar.shown:
                bar.step(total / rows)
    if not rows:
        if begun:  # at the end of its epoch
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


class Data(NamedTuple):
    """Batches to train on, batches to validate with, and the generator's state before it chose rows for the latter."""

    loader: Iterable[Any]
    judged: Iterable[Any] | None
    chosen: dict[str, Any] | None


def _data(
    model: Model, x: Any, y: Any, validation: Any, batch_size: int, shuffle: bool, seed: Seed, saved: Saved | None
) -> Data:
    """What `fit` is given; a training that was saved chooses the same rows again."""
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
            chooser, chosen = generator, generator_state(generator)
            if saved is not None:
                chooser = copy.deepcopy(generator)
                with reasons("fit", saved.path):
                    chosen = part_of(saved, "training")["chosen"]
                    set_generator(chooser, chosen, "fit")
            given, kept = split(*given, fraction=validation, seed=chooser)
            judged = Loader(kept, max(batch_size, JUDGED), transform=raw)
            return Data(Loader(given, batch_size, shuffle=shuffle, seed=generator, transform=raw), judged, chosen)
        loader = Loader(given, batch_size, shuffle=shuffle, seed=generator, transform=raw)
    if validation is None:
        return Data(loader, None, None)
    if isinstance(validation, tuple):
        if len(validation) != 2:
            raise ValueError(f"fit: expected validation as (x, y), a fraction or batches, got a tuple of {len(validation)}")
        return Data(loader, _batches(model, *validation, max(batch_size, JUDGED), "fit"), None)
    return Data(loader, _batches(model, validation, None, batch_size, "fit"), None)


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


def _not_finite(run: Run, loss: float) -> bool:
    """Warn of such a loss once in a training; whether to stop."""
    if not run._warned:
        run._warned = True
        warnings.warn(
            f"fit: the loss is {loss} in epoch {run.epoch}, step {run.step}; a smaller learning rate may help, and "
            "stop_on_nan=True stops before parameters take part in it",
            RuntimeWarning,
            stacklevel=6,
        )
    if run._stop_on_nan:
        run.stop(f"loss {loss} in epoch {run.epoch}")
    return run._stop_on_nan


def _warn_of_unused(names: list[str]) -> None:
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    warn(
        f"fit: no gradient has reached {shown} in the first epoch: nothing that was computed with them is part of the loss; "
        "call untracked() on parameters that are not to be trained",
        UserWarning,
    )


def _listed(callbacks: Callback | Iterable[Callback]) -> list[Callback]:
    """The callbacks; those that save come last, so that they save what the others have done."""
    callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    for callback in callbacks:
        if not isinstance(callback, Callback):
            kind = f"the class {callback.__name__}" if isinstance(callback, type) else type(callback).__name__
            raise TypeError(f"fit: expected callbacks, instances of corgi.callback.Callback, got {kind}")
    return sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoint))


def _saved(callbacks: list[Callback]) -> Saved | None:
    """The training to go on with, if there is a file of one."""
    paths = [callback.path for callback in callbacks if isinstance(callback, Checkpoint) and callback.resume]
    if len(paths) > 1:
        raise ValueError(f"fit: expected one Checkpoint to resume from, got {len(paths)}")
    if not paths or not os.path.exists(paths[0]):
        return None
    return read(paths[0], "fit")


def _called(callbacks: list[Callback]) -> dict[str, list[Callback]]:
    """For each event the callbacks that do something then."""

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
