"""Schedules of learning rates: functions of the number of a step, from 0, that give a factor.

Above: optimizers, which multiply every learning rate by the factor (``Adam(1e-3, schedule=schedule.Cosine(1000))``), and
users.  Below: nothing.

A function of one's own does as well. Schedules are multiplied with ``*``, and `WarmUp` puts one before another. Except for
`Plateau` they keep nothing, so that the number of steps, which the optimizer saves, is their whole state.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from corgi.optimizer.checks import Number, mapping, number, whole

if TYPE_CHECKING:
    from corgi._typing import Schedule as Function

__all__ = ["Cosine", "Exponential", "Linear", "OneCycle", "Plateau", "Schedule", "StepDecay", "WarmUp"]


class Schedule:
    """A function of the number of a step that gives the factor of the learning rates. Subclasses define `__call__`.

    Examples
    --------
    >>> from corgi import schedule
    >>> decay = schedule.StepDecay(2, 0.5) * schedule.Linear(4)
    >>> [decay(step) for step in range(5)]
    [1.0, 0.75, 0.25, 0.125, 0.0]
    >>> import corgi
    >>> optimizer = corgi.optimizer.GradientDescent(0.1, schedule=decay)
    """

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__}: expected the schedule to define __call__(self, step)")

    def __mul__(self, other: Function) -> Schedule:
        return Product(self, other) if callable(other) else NotImplemented

    def _parts(self) -> list[Any]:
        """The schedules that this one is made of."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """What must be saved besides the number of steps: numbers by name. Nothing, except for `Plateau`.

        Returns
        -------
        dict
            The entries of schedules inside others have the position in front, as in ``1/best``.
        """
        saved: dict[str, Any] = {}
        for position, part in enumerate(self._parts()):
            if hasattr(part, "state_dict"):
                saved |= {f"{position}/{entry}": value for entry, value in part.state_dict().items()}
        return saved

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of such a schedule.
        """
        rest = mapping(state, f"{type(self).__name__}.load_state_dict")
        for position, part in enumerate(self._parts()):
            if hasattr(part, "load_state_dict"):
                prefix = f"{position}/"
                inner = [key for key in rest if str(key).startswith(prefix)]
                part.load_state_dict({key[len(prefix) :]: rest.pop(key) for key in inner})
        if rest:
            raise ValueError(f"{type(self).__name__}.load_state_dict: expected nothing under {next(iter(rest))!r}")

    def __repr__(self) -> str:
        parts = [f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_"]
        return f"{type(self).__name__}({', '.join(parts)})"


class Product(Schedule):
    """The product of two schedules, which ``*`` makes."""

    def __init__(self, first: Function, second: Function) -> None:
        self.first, self.second = first, second

    def __call__(self, step: int) -> float:
        return self.first(step) * self.second(step)

    def _parts(self) -> list[Any]:
        return [self.first, self.second]

    def __repr__(self) -> str:
        return f"{self.first!r} * {self.second!r}"


class StepDecay(Schedule):
    """Multiplies by a factor every so many steps, or at given steps.

    PyTorch's StepLR and MultiStepLR.

    Parameters
    ----------
    steps : int or sequence of ints
        Length of the stairs, or the numbers of the steps that begin each.
    factor : float
        At least 0.

    Examples
    --------
    >>> from corgi import schedule
    >>> [schedule.StepDecay(2, 0.5)(step) for step in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    >>> [schedule.StepDecay([1, 4], 0.5)(step) for step in range(5)]
    [1.0, 0.5, 0.5, 0.5, 0.25]
    """

    factor = Number()

    def __init__(self, steps: int | Iterable[int], factor: float = 0.1) -> None:
        if isinstance(steps, Iterable) and not isinstance(steps, str):
            self.steps: int | list[int] = sorted(whole(step, "StepDecay", "each of steps", least=0) for step in steps)
        else:
            self.steps = whole(steps, "StepDecay", "steps")
        self.factor = factor

    def __call__(self, step: int) -> float:
        stairs = step // self.steps if isinstance(self.steps, int) else sum(first <= step for first in self.steps)
        return self.factor**stairs


class Exponential(Schedule):
    """Multiplies by a factor in every step: ``factor**step``.

    PyTorch's ExponentialLR.

    Parameters
    ----------
    factor : float
        In [0, 1]; ``0.5 ** (1 / 1000)`` halves every 1000 steps.

    Examples
    --------
    >>> from corgi import schedule
    >>> [schedule.Exponential(0.5)(step) for step in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, factor: float) -> None:
        self.factor = _fraction(factor, "Exponential", "factor")

    def __call__(self, step: int) -> float:
        return self.factor**step


class Linear(Schedule):
    """Goes from one factor to another in equal steps, and stays there.

    PyTorch's LinearLR, with an end that is 0 unless said otherwise.

    Parameters
    ----------
    steps : int
        How many; ``schedule(steps)`` is the first to give `end`.
    end, start : float
        At least 0.

    Examples
    --------
    >>> from corgi import schedule
    >>> [schedule.Linear(4)(step) for step in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    start = Number()
    end = Number()

    def __init__(self, steps: int, end: float = 0.0, start: float = 1.0) -> None:
        self.steps = whole(steps, "Linear", "steps")
        self.end, self.start = end, start

    def __call__(self, step: int) -> float:
        return self.start + (self.end - self.start) * (min(step, self.steps) / self.steps)


class WarmUp(Schedule):
    """Rises in a line to 1, and goes on with another schedule, which counts its steps from there.

    PyTorch's LinearLR before another in a SequentialLR.

    Parameters
    ----------
    steps : int
        How many; ``schedule(steps)`` is ``then(0)``.
    then : callable, optional
        A schedule; 1 without one.
    start : float
        The first factor, in [0, 1].

    Examples
    --------
    >>> from corgi import schedule
    >>> warm = schedule.WarmUp(4, schedule.Exponential(0.5))
    >>> [warm(step) for step in range(7)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(self, steps: int, then: Function | None = None, start: float = 0.0) -> None:
        self.steps = whole(steps, "WarmUp", "steps")
        if then is not None and (isinstance(then, type) or not callable(then)):
            raise TypeError(f"WarmUp: expected a schedule for then, got {type(then).__name__}")
        self.then = then
        self.start = _fraction(start, "WarmUp", "start")

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return self.start + (1 - self.start) * (step / self.steps)
        return 1.0 if self.then is None else self.then(step - self.steps)

    def _parts(self) -> list[Any]:
        return [] if self.then is None else [self.then]


class Cosine(Schedule):
    """Falls from 1 along half a cosine, once or in cycles (Loshchilov & Hutter 2017), and stays at the end.

    In step t of a cycle of T steps: ``least + (1 - least) * (1 + cos(pi * t / T)) / 2``. PyTorch's CosineAnnealingLR is one
    cycle (it rises again afterwards), CosineAnnealingWarmRestarts has ``cycles=math.inf``.

    Parameters
    ----------
    steps : int
        Length of the (first) cycle.
    least : float
        Factor at the end, in [0, 1].
    cycles : int or infinity
        How many cycles there are.
    growth : float
        How many times as long as the one before each cycle is, at least 1.

    Examples
    --------
    >>> from corgi import schedule
    >>> [round(schedule.Cosine(4)(step), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    >>> [round(schedule.Cosine(2, cycles=2, growth=2)(step), 3) for step in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0]
    """

    growth = Number(least=1.0)

    def __init__(self, steps: int, least: float = 0.0, cycles: float = 1, growth: float = 1.0) -> None:
        self.steps = whole(steps, "Cosine", "steps")
        self.least = _fraction(least, "Cosine", "least")
        self.cycles = cycles if cycles == math.inf else whole(cycles, "Cosine", "cycles")
        self.growth = growth

    def __call__(self, step: int) -> float:
        cycle, place, length = 0, float(step), float(self.steps)
        if self.growth == 1:
            cycle, place = int(step // length), step % length
        while place >= length and cycle < self.cycles:
            cycle, place, length = cycle + 1, place - length, length * self.growth
        if cycle >= self.cycles:
            return self.least
        return self.least + (1 - self.least) * (1 + math.cos(math.pi * place / length)) / 2


class OneCycle(Schedule):
    """Rises to 1 and falls to nearly 0, once (Smith 2018): PyTorch's OneCycleLR, to the figure.

    Parameters
    ----------
    steps : int
        How many there will be; from then on the factor is `end`.
    rise : float
        The part of them in which the factor rises, in [0, 1].
    start, end : float
        The first and the last factor, in [0, 1]; in PyTorch 1 / div_factor and start / final_div_factor.
    linear : bool
        Whether to rise and fall in lines, and not along cosines.
    three_phases : bool
        Whether to fall to `start` as fast as it rose, before falling to `end`.

    Examples
    --------
    The momentum of the paper falls where the rate rises:

    >>> import corgi
    >>> cycle = corgi.schedule.OneCycle(100)
    >>> optimizer = corgi.optimizer.Adam(1e-2, schedule=cycle)
    >>> for step in range(100):  # each with forward, backward, update
    ...     optimizer.beta1 = cycle.momentum(step)
    >>> round(cycle(0), 3), round(cycle(29), 3), round(cycle.momentum(29), 3)
    (0.04, 1.0, 0.85)
    """

    def __init__(
        self,
        steps: int,
        rise: float = 0.3,
        start: float = 0.04,
        end: float = 4e-6,
        linear: bool = False,
        three_phases: bool = False,
    ) -> None:
        self.steps = whole(steps, "OneCycle", "steps")
        self.rise = _fraction(rise, "OneCycle", "rise")
        self.start = _fraction(start, "OneCycle", "start")
        self.end = _fraction(end, "OneCycle", "end")
        self.linear, self.three_phases = bool(linear), bool(three_phases)

    def __call__(self, step: int) -> float:
        return self._between(step, [self.start, 1.0, self.start if self.three_phases else self.end, self.end])

    def momentum(self, step: int, low: float = 0.85, high: float = 0.95) -> float:
        """The momentum that belongs to a step: `high` where the factor begins and ends, `low` where it is 1.

        Parameters
        ----------
        step : int
        low, high : float

        Returns
        -------
        float
        """
        return self._between(step, [high, low, high, high])

    def _between(self, step: int, values: list[float]) -> float:
        """The value at a step, between those at the ends of the phases."""
        top = self.rise * self.steps - 1
        ends = [0.0, top, 2 * top, self.steps - 1.0] if self.three_phases else [0.0, top, self.steps - 1.0]
        for begin, end, first, last in zip(ends, ends[1:], values, values[1:], strict=False):
            if step <= end:
                place = (step - begin) / (end - begin) if end > begin else 1.0
                return first + (last - first) * (place if self.linear else (1 - math.cos(math.pi * place)) / 2)
        return values[len(ends) - 1]


class Plateau(Schedule):
    """Multiplies by a factor when a number that is reported has not improved for a while: PyTorch's ReduceLROnPlateau.

    Parameters
    ----------
    factor : float
        In [0, 1).
    patience : int
        How many reports without improvement are put up with, at least 0.
    threshold : float
        By how much the number must beat the best one, as a part of its size or, unless `relative`, as it is.
    relative : bool
    cooldown : int
        How many reports after a reduction are not counted, at least 0.
    least : float
        Below this the factor of the learning rates does not go; in [0, 1].
    largest : bool
        Whether large numbers are good, such as an accuracy, and not small ones, such as a loss.

    Examples
    --------
    >>> import corgi
    >>> plateau = corgi.schedule.Plateau(0.5, patience=1)
    >>> optimizer = corgi.optimizer.GradientDescent(0.1, schedule=plateau)
    >>> factors = []
    >>> for loss in (3.0, 2.0, 2.5, 2.0, 1.0):  # one epoch each
    ...     plateau.report(loss)
    ...     factors.append(plateau(optimizer.steps))
    >>> factors
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    threshold = Number()

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        relative: bool = True,
        cooldown: int = 0,
        least: float = 0.0,
        largest: bool = False,
    ) -> None:
        self.factor = number(factor, "Plateau", "factor", below=1)
        self.patience = whole(patience, "Plateau", "patience", least=0)
        self.threshold = threshold
        self.relative = bool(relative)
        self.cooldown = whole(cooldown, "Plateau", "cooldown", least=0)
        self.least = _fraction(least, "Plateau", "least")
        self.largest = bool(largest)
        self._value, self._best, self._bad, self._cooling = 1.0, math.inf, 0, 0  # _best: of the negated ones if `largest`

    def __call__(self, step: int) -> float:
        return self._value

    def report(self, value: float) -> None:
        """Tell the number, usually once an epoch. NaN and infinity are no improvement.

        Parameters
        ----------
        value : float

        Raises
        ------
        TypeError
            If it is not a number, or an array of one.
        """
        try:
            signed = -float(value) if self.largest else float(value)
        except (TypeError, ValueError):
            raise TypeError(f"Plateau.report: expected a number, got {type(value).__name__}") from None
        margin = self.threshold * abs(self._best) if self.relative and self._best != math.inf else self.threshold
        if math.isfinite(signed) and signed < self._best - margin:
            self._best, self._bad = signed, 0
        else:
            self._bad += 1
        if self._cooling > 0:
            self._cooling, self._bad = self._cooling - 1, 0
        if self._bad > self.patience:
            self._value = max(self._value * self.factor, self.least)
            self._cooling, self._bad = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        """The factor, the best number (if one was reported), and the counts of bad reports and of the cooldown.

        Returns
        -------
        dict
        """
        best = {} if math.isinf(self._best) else {"best": -self._best if self.largest else self._best}
        return {"value": self._value, **best, "bad": self._bad, "cooling": self._cooling}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of a Plateau; then nothing has changed.
        """
        op = "Plateau.load_state_dict"
        rest = mapping(state, op)
        value = _fraction(rest.pop("value", None), op, "value")
        bad, cooling = (whole(rest.pop(name, None), op, name, least=0) for name in ("bad", "cooling"))
        best = number(rest.pop("best"), op, "best", least=-math.inf) if "best" in rest else math.inf
        if rest:
            raise ValueError(f"{op}: expected nothing under {next(iter(rest))!r}")
        self._value, self._bad, self._cooling = value, bad, cooling
        self._best = -best if self.largest and best != math.inf else best


def _fraction(value: float, owner: str, name: str) -> float:
    """A number from 0 to 1, both included."""
    value = number(value, owner, name)
    if value > 1:
        raise ValueError(f"{owner}: expected {name} in [0, 1], got {value}")
    return value
