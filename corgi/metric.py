"""Metrics: what a model is judged by. The figure of a data set is that over all its rows, however they came in batches.

Above: `Model.fit` and `evaluate`, users.  Below: the ops of the package, and NumPy where figures are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from corgi._core import Array, absolute, argmax, array, mean, reshape, square
from corgi.optimizer.checks import mapping, whole

if TYPE_CHECKING:
    from corgi._typing import ArrayLike

__all__ = ["F1", "Mean", "Metric", "accuracy", "mae", "mse", "top_k"]


class Metric:
    """A figure of outputs and targets that arrive in batches. Subclasses define `update` and `result`.

    Attributes
    ----------
    name : str
        Of the figure in a `History`.

    Examples
    --------
    >>> import corgi
    >>> class Largest(corgi.metric.Metric):
    ...     name = "largest"
    ...
    ...     def reset(self):
    ...         self.largest = 0.0
    ...
    ...     def update(self, output, target):
    ...         self.largest = max(self.largest, abs(output - target).max().item())
    ...
    ...     def result(self):
    ...         return self.largest
    >>> largest = Largest()
    >>> largest.reset()
    >>> largest.update(corgi.arr([1.0, 2.0]), corgi.arr([1.0, 2.5]))
    >>> largest.result()
    0.5
    """

    name: str

    def reset(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__}: expected the metric to define reset(self)")

    def update(self, output: Any, target: Any) -> None:
        """Take in a batch of outputs and targets."""
        raise NotImplementedError(f"{type(self).__name__}: expected the metric to define update(self, output, target)")

    def result(self) -> float:
        """The figure of all batches since `reset`; NaN without any."""
        raise NotImplementedError(f"{type(self).__name__}: expected the metric to define result(self)")

    def state_dict(self) -> dict[str, Any]:
        """What must be saved to go on between two batches: all attributes other than functions.

        Returns
        -------
        dict
        """
        return {name: value for name, value in vars(self).items() if not callable(value)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of such a metric; then nothing has changed.
        """
        own, op = self.state_dict(), f"{type(self).__name__}.load_state_dict"
        given = mapping(state, op)
        if set(given) != set(own):
            raise ValueError(f"{op}: expected the attributes {', '.join(own)}, got {', '.join(map(str, given))}")
        for name, value in own.items():
            vars(self)[name] = np.array(given[name]) if isinstance(value, np.ndarray) else given[name]


class Mean(Metric):
    """The mean over rows of a function that gives the mean over the rows of a batch.

    Parameters
    ----------
    function : callable
        ``function(output, target)`` gives one number, as those of this module and of `corgi.cost` do.
    name : str, optional
        That of the function by default.

    Examples
    --------
    >>> import corgi
    >>> mean = corgi.metric.Mean(corgi.metric.mae)
    >>> mean.reset()
    >>> mean.update([1.0, 2.0, 3.0], [1.0, 2.0, 6.0])
    >>> mean.update([1.0], [2.0])
    >>> mean.result()
    1.0
    """

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None) -> None:
        self.function = function
        self.name = str(name or getattr(function, "__name__", type(function).__name__))
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._total, self._rows = 0.0, 0

    def update(self, output: Any, target: Any) -> None:
        """Take in a batch of outputs and targets."""
        if rows := len(output):
            self._total += float(self.function(output, target)) * rows
            self._rows += rows

    def state_dict(self) -> dict[str, Any]:
        """The sum and the number of rows so far."""
        return {"total": self._total, "rows": self._rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self._total, self._rows = sum_and_rows(state, "Mean.load_state_dict")

    def result(self) -> float:
        """The mean over all rows since `reset`; NaN without any."""
        return self._total / self._rows if self._rows else float("nan")


def sum_and_rows(state: Any, op: str) -> tuple[float, int]:
    """A sum over rows and their number, out of a saved state."""
    given = mapping(state, op)
    total = given.get("total")
    if type(total) is not float:
        raise TypeError(f"{op}: expected a float for total, got {type(total).__name__}")
    return total, whole(given.get("rows"), op, "rows", least=0)


def classes(output: ArrayLike, target: ArrayLike, op: str, threshold: float = 0.5) -> tuple[Array, Array]:
    """The predicted and the right classes, as Arrays of one shape, see `accuracy`."""
    scores, right = _array(output), _array(target)
    shape, given = scores.shape, right.shape
    wanted = shape[:-1] if len(shape) > 1 else shape
    if given not in (wanted, shape):
        raise ValueError(f"{op}: expected a target of shape {wanted} or {shape}, for an output {shape}, got {given}")
    if len(shape) > 1 and shape[-1] != 1:
        return argmax(scores, -1), argmax(right, -1) if given == shape else right
    return reshape(scores, wanted) > threshold, reshape(right, wanted) > 0.5


def _array(values: ArrayLike) -> Array:
    return values if type(values) is Array else array(values)


def accuracy(output: ArrayLike, target: ArrayLike, threshold: float = 0.5) -> float:
    """The share of targets that are predicted right.

    Parameters
    ----------
    output : array_like
        Scores or probabilities of classes, (..., classes): the largest one is the prediction, the first of equal ones. For
        two classes one column will do, (rows,) or (rows, 1), with the probability of class 1.
    target : array_like
        Integer classes, of the output's shape without the last axis; or of the output's shape, one-hot or probabilities.
    threshold : float
        From which on, exclusively, a lone column is class 1: 0.5 for probabilities, 0 for logits.

    Returns
    -------
    float
        From 0 to 1; NaN without rows.

    Raises
    ------
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> import corgi
    >>> corgi.metric.accuracy([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], [0, 1, 1, 1])
    0.75
    >>> corgi.metric.accuracy([0.3, 0.7], [0, 1])
    1.0
    """
    predicted, right = classes(output, target, "accuracy", threshold)
    return int((predicted == right).sum()) / right.size if right.size else float("nan")


def top_k(k: int) -> Callable[[ArrayLike, ArrayLike], float]:
    """A metric: the share of targets whose score is among the k largest. Of equal scores the first counts as the larger.

    Parameters
    ----------
    k : int
        At least 1; with 1 it is `accuracy`.

    Returns
    -------
    callable
        ``top(output, target)`` for outputs (..., classes) and integer classes; its name is 'top5' for k = 5.

    Raises
    ------
    TypeError, ValueError
        If `k` is not an int of at least 1; on use, if the shapes do not match or a class is out of range.

    Examples
    --------
    >>> import corgi
    >>> corgi.metric.top_k(2)([[0.1, 0.3, 0.6], [0.1, 0.3, 0.6]], [1, 0])
    0.5
    """
    if isinstance(k, bool) or not isinstance(k, int):
        raise TypeError(f"top_k: expected an int for k, got {type(k).__name__}")
    if k < 1:
        raise ValueError(f"top_k: expected k of at least 1, got {k}")

    def top(output: ArrayLike, target: ArrayLike) -> float:
        scores, right = np.asarray(output), np.asarray(target)
        if right.dtype.kind not in "iu" or scores.shape[:-1] != right.shape or not scores.ndim:
            raise ValueError(
                f"top_k: expected integer classes of shape {scores.shape[:-1]}, got {right.dtype} of shape {right.shape}"
            )
        if not right.size:
            return float("nan")
        if right.min() < 0 or right.max() >= scores.shape[-1]:
            raise ValueError(f"top_k: expected classes from 0 to {scores.shape[-1] - 1}, got {right.min()} to {right.max()}")
        scores = np.where(np.isnan(scores), np.inf, scores)  # as argmax has it
        right = right[..., None]
        mine = np.take_along_axis(scores, right, axis=-1)
        before = (scores > mine) | ((scores == mine) & (np.arange(scores.shape[-1]) < right))
        return float((np.count_nonzero(before, axis=-1) < k).mean())

    top.__name__ = f"top{k}"
    return top


def _difference(output: ArrayLike, target: ArrayLike, op: str) -> Array:
    first, second = _array(output), _array(target)
    if first.shape != second.shape:
        raise ValueError(f"{op}: expected a target of the output's shape {first.shape}, got {second.shape}")
    difference = first.detach() - second.detach()
    return difference if difference.dtype.kind == "f" else difference.astype("float64")


def mse(output: ArrayLike, target: ArrayLike) -> float:
    """Mean of the squared differences, as a number.

    Parameters
    ----------
    output, target : array_like
        Of one shape.

    Returns
    -------
    float
        NaN without elements.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import corgi
    >>> corgi.metric.mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    difference = _difference(output, target, "mse")
    return float(mean(square(difference))) if difference.size else float("nan")


def mae(output: ArrayLike, target: ArrayLike) -> float:
    """Mean of the absolute differences, as a number.

    Parameters
    ----------
    output, target : array_like
        Of one shape.

    Returns
    -------
    float
        NaN without elements.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import corgi
    >>> corgi.metric.mae([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    difference = _difference(output, target, "mae")
    return float(mean(absolute(difference))) if difference.size else float("nan")


class F1(Metric):
    """The F1 score, the harmonic mean of precision and recall, ``2 TP / (2 TP + FP + FN)``, counted over all batches.

    Parameters
    ----------
    average : {'macro', 'binary'}
        'macro': the mean of the scores of the classes that are targets or predictions. 'binary': the score of class 1.
    threshold : float
        For outputs of one column, see `accuracy`.

    Raises
    ------
    ValueError
        If `average` is neither.

    Examples
    --------
    >>> import corgi
    >>> f1 = corgi.metric.F1("binary")
    >>> f1.update([0.9, 0.8, 0.1], [1, 0, 0])
    >>> f1.update([0.2, 0.7], [1, 1])
    >>> round(f1.result(), 4)
    0.6667
    """

    name = "f1"

    def __init__(self, average: str = "macro", threshold: float = 0.5) -> None:
        if average not in ("macro", "binary"):
            raise ValueError(f"F1: expected 'macro' or 'binary' for average, got {average!r}")
        self.average, self.threshold = average, threshold
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._counts = np.zeros((2, 3), np.int64)  # of each class: right, predicted, actual

    def update(self, output: Any, target: Any) -> None:
        """Take in a batch of outputs and targets, as `accuracy` does."""
        found = classes(output, target, "F1", self.threshold)
        predicted, actual = (part.numpy().ravel().astype(np.int64, copy=False) for part in found)
        if actual.size and actual.min() < 0:
            raise ValueError(f"F1: expected classes of at least 0, got {actual.min()}")
        parts = [np.bincount(part, minlength=2) for part in (predicted[predicted == actual], predicted, actual)]
        counts = np.zeros((max(len(self._counts), *map(len, parts)), 3), np.int64)
        counts[: len(self._counts)] = self._counts
        for column, part in enumerate(parts):
            counts[: len(part), column] += part
        self._counts = counts

    def state_dict(self) -> dict[str, Any]:
        """The counts so far, of each class: right, predicted, actual."""
        return {"counts": array(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        counts = np.array(mapping(state, "F1.load_state_dict").get("counts"))
        if counts.dtype != np.int64 or counts.ndim != 2 or counts.shape[0] < 2 or counts.shape[1] != 3:
            raise ValueError(f"F1.load_state_dict: expected int64 counts (classes, 3), got {counts.dtype} {counts.shape}")
        self._counts = counts

    def result(self) -> float:
        """The score of all batches since `reset`; NaN without any."""
        right, predicted, actual = self._counts.T
        if self.average == "binary":
            right, predicted, actual = right[1:2], predicted[1:2], actual[1:2]
            if self._counts[:, 2].any() and not (predicted + actual).any():
                return 0.0
        occurring = predicted + actual > 0
        if not occurring.any():
            return float("nan")
        return float((2 * right[occurring] / (predicted + actual)[occurring]).mean())


def collected(metrics: Any, op: str) -> dict[str, Metric]:
    """Metrics by name, of a name, a function or a `Metric`, of several in a list, or in a dict with their names."""
    if isinstance(metrics, str) or callable(metrics) or isinstance(metrics, Metric):
        metrics = [metrics]
    if isinstance(metrics, Mapping):
        pairs = [(str(name), _made(value, op)) for name, value in metrics.items()]
    elif isinstance(metrics, Iterable):
        pairs = [(metric.name, metric) for metric in (_made(value, op) for value in metrics)]
    else:
        raise TypeError(f"{op}: expected metrics in a list, got {type(metrics).__name__}")
    found = dict(pairs)
    if len(found) != len(pairs) or "loss" in found:
        raise ValueError(f"{op}: expected metrics of different names other than loss, got {[name for name, _ in pairs]}")
    return found


_NAMED: dict[str, Callable[[], Metric]] = {
    "accuracy": lambda: Mean(accuracy),
    "mse": lambda: Mean(mse),
    "mae": lambda: Mean(mae),
    "f1": F1,
}


def _made(metric: Any, op: str) -> Metric:
    if isinstance(metric, str):
        if top := re.fullmatch(r"top([1-9]\d*)", metric):
            return Mean(top_k(int(top[1])))
        if metric not in _NAMED:
            raise ValueError(f"{op}: expected a metric among {', '.join(_NAMED)}, top5 (or another k), got {metric!r}")
        return _NAMED[metric]()
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) or not callable(metric):
        kind = metric.__name__ if isinstance(metric, type) else type(metric).__name__
        raise TypeError(f"{op}: expected a metric's name, a function or a Metric, got {kind}")
    return Mean(metric)
