"""Callbacks: what happens between the epochs of `Model.fit`, such as stopping early, saving, and writing down.

Above: `Model.fit`, users.  Below: the model, its optimizer, files; tensorboard, imported at the first use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from corgi.atomic import replaced
from corgi.optimizer.checks import mapping, whole
from corgi.schedule import Schedule as Factors

if TYPE_CHECKING:
    from corgi._core import Array
    from corgi.model import Model
    from corgi.training import Run

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "LambdaCallback",
    "Log",
    "Schedule",
    "TensorBoard",
]


class Callback:
    """What `Model.fit` calls while it trains. Subclasses define the methods that they need; these do nothing.

    Each is given the `Run`: the model, the numbers of the epoch and the step, the figures so far, and ``run.stop(reason)``.
    What a method raises ends the training, with a note that names it.

    Examples
    --------
    >>> import corgi
    >>> class StopAt(corgi.callback.Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...
    ...     def on_epoch_end(self, run):
    ...         if run.figures["loss"] < self.loss:
    ...             run.stop("good enough")
    >>> layer = corgi.layer.Dense(1, 1, corgi.initializer.zeros())
    >>> model = corgi.Model([layer], corgi.optimizer.GradientDescent(0.25), corgi.cost.mse)
    >>> history = model.fit([[1.0]], [[1.0]], epochs=10, callbacks=[StopAt(0.5)])
    >>> history["loss"], history.stopped
    ([1.0, 0.0], 'good enough')
    """

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first batch of ``run.epoch``."""

    def on_batch_end(self, run: Run) -> None:
        """After the update by a batch, whose loss is ``run.loss``."""

    def on_epoch_end(self, run: Run) -> None:
        """After an epoch, whose figures are ``run.figures``, also those of the validation."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, also if that was ended early or interrupted, but not after an error."""

    def state_dict(self) -> dict[str, Any]:
        """What `Checkpoint` must save of this callback to go on exactly: nothing, unless a subclass defines it.

        Returns
        -------
        dict
            Of numbers, strings, None, lists, dicts and arrays.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave. `Model.fit` calls it after `on_train_begin`.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of such a callback; then nothing has changed.
        """
        if state:
            raise ValueError(f"{type(self).__name__}.load_state_dict: expected nothing, got {', '.join(map(str, state))}")


class LambdaCallback(Callback):
    """A callback of functions.

    Parameters
    ----------
    on_train_begin, on_epoch_begin, on_batch_end, on_epoch_end, on_train_end : callable, optional
        Called with the `Run`.

    Raises
    ------
    TypeError
        If one is not a function.

    Examples
    --------
    >>> import corgi
    >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
    >>> callback = corgi.callback.LambdaCallback(on_epoch_end=lambda run: print("epoch", run.epoch))
    >>> _ = model.fit([[1.0]], [[1.0]], epochs=2, callbacks=[callback])
    epoch 0
    epoch 1
    """

    def __init__(self, **functions: Callable[[Run], object]) -> None:
        for name, function in functions.items():
            if name not in EVENTS:
                raise TypeError(f"LambdaCallback: expected some of {', '.join(EVENTS)}, got {name}")
            if not callable(function):
                raise TypeError(f"LambdaCallback: expected a function for {name}, got {type(function).__name__}")
            setattr(self, name, function)


EVENTS = [name for name in vars(Callback) if name.startswith("on_")]


class Monitor:
    """A figure that is watched: its best value so far, and whether less or more of it is better."""

    def __init__(self, owner: Callback, name: str | None, mode: str | None, min_delta: float = 0.0) -> None:
        self.owner, self.name = type(owner).__name__, name
        if mode not in (None, "min", "max"):
            raise ValueError(f"{self.owner}: expected 'min' or 'max' for mode, got {mode!r}")
        if isinstance(min_delta, bool) or not isinstance(min_delta, int | float):
            raise TypeError(f"{self.owner}: expected a number for min_delta, got {type(min_delta).__name__}")
        if not min_delta >= 0:
            raise ValueError(f"{self.owner}: expected min_delta of at least 0, got {min_delta}")
        self.mode, self.min_delta = mode, min_delta
        self.reset()

    def reset(self) -> None:
        self.best: float | None = None

    def name_in(self, run: Run) -> str:
        """The figure's name: by default that of the loss in the validation, or without one in training."""
        return self.name or ("val_loss" if "val_loss" in run.figures else "loss")

    def value(self, run: Run) -> float:
        """The figure in the epoch that has just ended."""
        name = self.name_in(run)
        if name not in run.figures:
            raise ValueError(f"{self.owner}: expected to monitor one of {', '.join(run.figures)}, got {name!r}")
        return run.figures[name]

    def checked(self, best: Any) -> float | None:
        """A best value that was saved."""
        if best is not None and (isinstance(best, bool) or not isinstance(best, int | float)):
            raise TypeError(f"{self.owner}.load_state_dict: expected a number for best, got {type(best).__name__}")
        return None if best is None else float(best)

    def improved(self, run: Run) -> bool:
        """Whether the figure is better than ever before, by more than min_delta; NaN never is."""
        value = self.value(run)
        more = self.mode == "max" or (self.mode is None and bool(re.search(r"(accuracy|f1|top\d+)$", self.name or "")))
        if self.best is None:
            better = value == value
        else:
            better = value > self.best + self.min_delta if more else value < self.best - self.min_delta
        if better:
            self.best = value
        return better


class EarlyStopping(Callback):
    """Stop when a figure has not become better for some epochs, and go back to the best parameters.

    Parameters
    ----------
    monitor : str, optional
        Name of the figure: 'loss', 'val_loss', 'val_accuracy' ...; by default 'val_loss', or 'loss' without a validation.
    patience : int
        How many epochs in a row without a better figure end the training, at least 1.
    min_delta : float
        By how much a better figure has to be better.
    mode : {'min', 'max'}, optional
        What is better; by default more of accuracies, F1 and top k, and less of all else.
    restore_best : bool
        Whether to give the model at the end the arrays (parameters and running statistics) of the best epoch.

    Attributes
    ----------
    best : float or None
        The best figure so far.
    best_epoch : int or None
        Its epoch, from 0.

    Raises
    ------
    TypeError, ValueError
        If an option is not one; in the training, if there is no such figure.

    Examples
    --------
    >>> import corgi
    >>> corgi.seed(0)
    >>> model = corgi.Model([corgi.layer.Dense(4, 3)], corgi.optimizer.Adam(0.1), corgi.cost.softmax_cross_entropy)
    >>> x, y = corgi.data.iris()
    >>> stopping = corgi.callback.EarlyStopping(patience=3)
    >>> history = model.fit(x, y, epochs=200, validation=0.2, seed=0, callbacks=[stopping])
    >>> history["val_loss"][stopping.best_epoch] == stopping.best == min(history["val_loss"])
    True
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 5,
        min_delta: float = 0.0,
        *,
        mode: str | None = None,
        restore_best: bool = True,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int):
            raise TypeError(f"EarlyStopping: expected an int for patience, got {type(patience).__name__}")
        if patience < 1:
            raise ValueError(f"EarlyStopping: expected patience of at least 1, got {patience}")
        self._monitor = Monitor(self, monitor, mode, min_delta)
        self.patience, self.restore_best = patience, restore_best
        self.best_epoch: int | None = None
        self._start = 0
        self._model: Model | None = None  # during the training
        self._kept: dict[str, Array] | None = None

    @property
    def best(self) -> float | None:
        """The best figure so far."""
        return self._monitor.best

    def on_train_begin(self, run: Run) -> None:
        """Start anew."""
        self._monitor.reset()
        self.best_epoch = self._kept = None
        self._start, self._model = run.epoch, run.model

    def on_epoch_end(self, run: Run) -> None:
        """Compare, and stop."""
        if self._monitor.improved(run):
            self.best_epoch = run.epoch
            if self.restore_best:
                self._kept = run.model.state_dict()
        elif run.epoch - (self._start - 1 if self.best_epoch is None else self.best_epoch) >= self.patience:
            run.stop(f"no better {self._monitor.name_in(run)} in {self.patience} epochs")

    def on_train_end(self, run: Run) -> None:
        """Go back to the best epoch."""
        if self._kept is not None and run.epoch != self.best_epoch:
            run.model.load_state_dict(self._kept)
        self._kept = self._model = None

    def state_dict(self) -> dict[str, Any]:
        """The best figure, its epoch, and the arrays of that epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch, "start": self._start, "kept": self._kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        op = "EarlyStopping.load_state_dict"
        given = mapping(state, op)
        best, epoch, kept = self._monitor.checked(given.get("best")), given.get("best_epoch"), given.get("kept")
        epoch = None if epoch is None else whole(epoch, op, "best_epoch", least=0)
        start = whole(given.get("start"), op, "start", least=0)
        if kept is not None and self._model is not None:
            self._model._matched(kept, True, f"{op}: ")
        self._monitor.best, self.best_epoch, self._start, self._kept = best, epoch, start, kept


class Checkpoint(Callback):
    """Save the training in a file, whole or not at all: a crash or a full disk leaves the file before.

    With `resume` a script that was killed is simply started again: `Model.fit` goes on where the file was written, in the
    middle of an epoch too, and ends with the same parameters and history, bit for bit, as if it had not been interrupted.
    Saved are the model with its optimizer and random generators (see `Model.save`), the history, sums of the epoch, the
    places of the loaders, and what other callbacks need, which `Callback.state_dict` tells. Data that is no array must come
    by a `corgi.data.Loader` to be gone on with in the middle of an epoch.

    Parameters
    ----------
    path : str or os.PathLike
        Of the file, in the format safetensors. Fields in braces are filled in:
        ``"model-{epoch}-{val_loss:.3f}.safetensors"``, with the epoch from 0; also ``{step}``.
    save : callable, optional
        ``save(path)`` writes something else to a file of the name that it is given, a new one beside `path`.
    monitor : str, optional
        Name of the figure for `best_only`; by default 'val_loss', or 'loss' without a validation.
    mode : {'min', 'max'}, optional
        What is better; by default more of accuracies, F1 and top k, and less of all else.
    best_only : bool
        Whether to save only when the figure is better than ever before.
    every : int
        Number of epochs from one file to the next.
    every_steps : int, optional
        Number of updates after which to save besides.
    resume : bool
        Whether to go on with what the file holds, if it is there.

    Raises
    ------
    TypeError, ValueError
        If an option is not one; in the training, if there is no such figure, the file to go on with is not one of such a
        training, or something cannot be saved.
    ModuleNotFoundError
        If the package safetensors is not installed, and there is no `save`.
    OSError
        If the file cannot be written, or `save` wrote none.

    Examples
    --------
    >>> import os, tempfile
    >>> import corgi
    >>> def train(path, epochs):
    ...     corgi.seed(0)
    ...     model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
    ...     checkpoint = corgi.callback.Checkpoint(path, resume=True)
    ...     return model.fit([[1.0], [2.0]], [[1.0], [3.0]], epochs=epochs, batch_size=1, callbacks=[checkpoint])["loss"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = train(os.path.join(folder, "a.safetensors"), 2)
    ...     more = train(os.path.join(folder, "a.safetensors"), 4)
    ...     whole = train(os.path.join(folder, "b.safetensors"), 4)
    >>> len(first), more == whole
    (2, True)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        save: Callable[[str], object] | None = None,
        *,
        monitor: str | None = None,
        mode: str | None = None,
        best_only: bool = False,
        every: int = 1,
        every_steps: int | None = None,
        resume: bool = False,
    ) -> None:
        if save is not None and not callable(save):
            raise TypeError(f"Checkpoint: expected a function for save, got {type(save).__name__}")
        self.path, self.save, self.every = os.fspath(path), save, _every(every, "Checkpoint")
        self.best_only, self.resume = bool(best_only), bool(resume)
        self.every_steps = None if every_steps is None else _every(every_steps, "Checkpoint", "every_steps")
        if best_only and every_steps is not None:
            raise ValueError("Checkpoint: expected best_only or every_steps, got both; use one Checkpoint for each")
        if resume and (save is not None or "{" in self.path):
            raise ValueError(f"Checkpoint: expected one path, and no save, to resume from, got {self.path!r}")
        self._monitor = Monitor(self, monitor, mode)
        if every_steps is not None:  # else nothing is called after each batch
            self.on_batch_end = self._after_batch  # type: ignore[method-assign]

    def on_train_begin(self, run: Run) -> None:
        """Start anew."""
        self._monitor.reset()

    def on_epoch_end(self, run: Run) -> None:
        """Save."""
        if (run.epoch + 1) % self.every or (self.best_only and not self._monitor.improved(run)):
            return
        self._write(run, run.figures)

    def _after_batch(self, run: Run) -> None:
        if self.every_steps and run.step % self.every_steps == 0:
            self._write(run, {})

    def _write(self, run: Run, figures: dict[str, float]) -> None:
        fields = {"epoch": run.epoch, "step": run.step, **figures}
        try:
            path = self.path.format(**fields)
        except (LookupError, ValueError) as error:
            known = ", ".join(fields)
            raise ValueError(f"Checkpoint: expected fields among {known} in the path, got {self.path!r}") from error
        if self.save is None:
            run.model.save(path, training=run)
            return
        with replaced(path) as name:
            self.save(name)

    def state_dict(self) -> dict[str, Any]:
        """The best figure."""
        return {"best": self._monitor.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._monitor.best = self._monitor.checked(mapping(state, "Checkpoint.load_state_dict").get("best"))


class Schedule(Callback):
    """Set the optimizer's learning rate as training goes on, by the epoch, or by what comes out.

    A schedule by the step is the optimizer's own: ``Adam(1e-3, schedule=corgi.schedule.Cosine(1000))``.

    Parameters
    ----------
    rule : callable, or object with a method report or step
        A function: ``rule(epoch)`` gives the learning rate of an epoch, counted from 0. A `corgi.schedule.Plateau` that the
        optimizer has: it is told the monitored figure after every epoch. Or another scheduler that sets the rate itself:
        ``rule.step()`` is called after every epoch, or ``rule.step(figure)`` with `monitor`.
    monitor : str, optional
        Name of the figure; for ``report`` by default 'val_loss', or 'loss' without a validation.

    Raises
    ------
    TypeError, ValueError
        If the rule is none of these; in the training, if there is no such figure.

    Examples
    --------
    >>> import corgi
    >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
    >>> schedule = corgi.callback.Schedule(lambda epoch: 0.5 / 2**epoch)
    >>> model.fit([[1.0]], [[1.0]], epochs=3, callbacks=[schedule])["rate"]
    [0.5, 0.25, 0.125]
    >>> plateau = corgi.schedule.Plateau(0.5, patience=2)
    >>> model.optimizer = corgi.optimizer.Adam(0.1, schedule=plateau)
    >>> history = model.fit([[1.0]], [[1.0]], epochs=3, callbacks=[corgi.callback.Schedule(plateau)])
    """

    def __init__(self, rule: Any, *, monitor: str | None = None) -> None:
        self._told = next((name for name in ("report", "step") if callable(getattr(rule, name, None))), None)
        if isinstance(rule, type) or (self._told is None and not callable(rule)):
            kind = f"the class {rule.__name__}" if isinstance(rule, type) else type(rule).__name__
            raise TypeError(f"Schedule: expected a function, or an object with a method report or step, got {kind}")
        if self._told is None and isinstance(rule, Factors):
            raise TypeError(f"Schedule: expected a function of the epoch; give {rule!r} to the optimizer, as schedule=")
        if self._told is None and monitor is not None:
            raise ValueError("Schedule: expected no monitor with a function of the epoch")
        self.rule = rule
        self._monitor = Monitor(self, monitor, None)

    def on_epoch_begin(self, run: Run) -> None:
        """Set the rate of the epoch."""
        if self._told is None:
            optimizer: Any = run.model.optimizer
            optimizer.learning_rate = float(self.rule(run.epoch))

    def on_epoch_end(self, run: Run) -> None:
        """Tell a scheduler."""
        if self._told == "report" or (self._told == "step" and self._monitor.name is not None):
            getattr(self.rule, self._told)(self._monitor.value(run))
        elif self._told == "step":
            self.rule.step()

    def state_dict(self) -> dict[str, Any]:
        """What the scheduler's own `state_dict` tells, if it has one."""
        saved: dict[str, Any] = self.rule.state_dict() if callable(getattr(self.rule, "state_dict", None)) else {}
        return saved

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        if callable(getattr(self.rule, "load_state_dict", None)):
            self.rule.load_state_dict(state)
        else:
            super().load_state_dict(state)


class Log(Callback):
    """Write a line after epochs, with the figures as plain numbers.

    Parameters
    ----------
    write : callable
        Called with each line; `print`, or ``logging.getLogger().info`` for example.
    every : int
        Number of epochs from one line to the next; the last epoch always has one.

    Raises
    ------
    TypeError, ValueError
        If an option is not one.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Dense(1, 1, corgi.initializer.zeros())
    >>> model = corgi.Model([layer], corgi.optimizer.GradientDescent(0.25), corgi.cost.mse)
    >>> _ = model.fit([[1.0]], [[1.0]], epochs=2, callbacks=[corgi.callback.Log()])
    epoch 1/2: loss 1, rate 0.25, seconds ...
    epoch 2/2: loss 0, rate 0.25, seconds ...
    """

    def __init__(self, write: Callable[[str], object] = print, every: int = 1) -> None:
        if not callable(write):
            raise TypeError(f"Log: expected a function for write, got {type(write).__name__}")
        self.write, self.every = write, _every(every, "Log")

    def on_epoch_end(self, run: Run) -> None:
        """Write a line."""
        if (run.epoch + 1) % self.every == 0 or run.epoch + 1 == run.epochs:
            figures = ", ".join(f"{name} {value:.6g}" for name, value in run.figures.items())
            self.write(f"epoch {run.epoch + 1}/{run.epochs}: {figures}")


class CSVLogger(Callback):
    """Write the figures of every epoch to a file of comma-separated values, a row at once, so that it can be followed.

    Parameters
    ----------
    path : str or os.PathLike
        Of the file. It begins with the names: epoch (from 0), loss ...
    append : bool
        Whether to go on in a file that exists instead of replacing it.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If the figures of an epoch, or of the file that is gone on with, have other names.

    Examples
    --------
    >>> import os, tempfile
    >>> import corgi
    >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "log.csv")
    ...     _ = model.fit([[1.0]], [[1.0]], epochs=2, callbacks=[corgi.callback.CSVLogger(path)])
    ...     with open(path) as file:
    ...         print(file.readline().strip())
    epoch,loss,rate,seconds
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path, self.append = os.fspath(path), append
        self._names: list[str] | None = None
        self._size: int | None = None  # what to keep of the file, when a saved training goes on

    def on_train_begin(self, run: Run) -> None:
        """Begin the file, or read the names of the one that is there."""
        import csv

        self._names = None
        if self.append and os.path.exists(self.path):
            with open(self.path, newline="") as file:
                self._names = next(csv.reader(file), None)

    def on_epoch_end(self, run: Run) -> None:
        """Write a row."""
        import csv

        names = ["epoch", *run.figures]
        with open(self.path, "w" if self._names is None else "a", newline="") as file:
            if self._size is not None:
                file.truncate(self._size)
                self._size = None
            writer = csv.writer(file)
            if self._names is None:
                writer.writerow(names)
                self._names = names
            elif self._names != names:
                raise ValueError(f"CSVLogger: expected {', '.join(self._names)}, as in the file, got {', '.join(names)}")
            writer.writerow([run.epoch, *run.figures.values()])

    def state_dict(self) -> dict[str, Any]:
        """The names in the file, and its size: what was written later goes when the training goes on from here."""
        return {"names": self._names, "size": os.path.getsize(self.path) if self._names is not None else 0}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, if the file is still there; else a new one begins."""
        op = "CSVLogger.load_state_dict"
        given = mapping(state, op)
        names, size = given.get("names"), whole(given.get("size"), op, "size", least=0)
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise TypeError(f"{op}: expected a list of names, got {type(names).__name__}")
        there = names is not None and os.path.exists(self.path) and os.path.getsize(self.path) >= size
        self._names, self._size = (names, size) if there else (None, None)


class TensorBoard(Callback):
    """Write the figures of every epoch for TensorBoard. Needs the package tensorboard, or tensorboardX.

    Parameters
    ----------
    folder : str or os.PathLike
        Where to write; each training best has a folder of its own.

    Raises
    ------
    ModuleNotFoundError
        When training begins, if neither package is installed.

    Examples
    --------
    >>> import os, tempfile
    >>> import corgi
    >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = model.fit([[1.0]], [[1.0]], epochs=2, callbacks=[corgi.callback.TensorBoard(folder)])
    ...     len(os.listdir(folder))
    1
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = os.fspath(folder)
        self._writer: Any = None

    def on_train_begin(self, run: Run) -> None:
        """Open the file."""
        self._writer = _writer(self.folder)

    def on_epoch_end(self, run: Run) -> None:
        """Write the figures."""
        for name, value in run.figures.items():
            self._writer.add_scalar(name, value, run.epoch)
        self._writer.flush()

    def on_train_end(self, run: Run) -> None:
        """Close the file."""
        self._writer.close()
        self._writer = None


def _writer(folder: str) -> Any:
    """A writer of the package that there is."""
    try:
        from tensorboard.summary import Writer
    except ModuleNotFoundError as error:
        if error.name != "tensorboard":
            raise
    else:
        return Writer(folder)
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError as error:
        if error.name != "tensorboardX":
            raise
        raise ModuleNotFoundError(
            "TensorBoard: expected tensorboard, which is not installed; pip install corgi[tensorboard]", name="tensorboard"
        ) from error
    return SummaryWriter(folder)


def _every(value: int, owner: str, name: str = "every") -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}: expected an int for {name}, got {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{owner}: expected {name} of at least 1, got {value}")
    return value
