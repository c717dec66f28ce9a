"""A line search: a step along a direction of descent that meets the strong Wolfe conditions.

Above: `LBFGS`.  Below: a function of one number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from corgi._core import Array

DECREASE, CURVATURE = 1e-4, 0.9  # c1 and c2; these are usual with quasi-Newton directions
MOST_EVALUATIONS = 30


class Point(NamedTuple):
    """A step along a line, with the function's value, slope along the line, and gradient there."""

    step: float
    value: float
    slope: float
    gradient: Array

    @property
    def finite(self) -> bool:
        """Whether the function has a value and a slope there."""
        return math.isfinite(self.value) and math.isfinite(self.slope)


def strong_wolfe(at: Callable[[float], Point], start: Point, first: float, noise: float) -> Point | None:
    """A step t > 0 that meets the strong Wolfe conditions, or the best of those that lower the value, or None.

    The conditions on f(t) = value, s(t) = slope are (Nocedal & Wright, Numerical Optimization, 2nd ed., equations 3.7)::

        f(t) <= f(0) + c1 * t * s(0)        abs(s(t)) <= c2 * abs(s(0))

    The search is their Algorithms 3.5 and 3.6 with cubic interpolation. Values that differ by no more than `noise` are taken
    for equal, and slopes decide (Hager & Zhang 2005, equation 4.1): near a minimum values lose all their digits first. Where
    value or slope is NaN or infinite the step was too long.
    """

    def lowers(p: Point) -> bool:
        wolfe = p.value <= start.value + DECREASE * p.step * start.slope
        approximate = abs(p.value - start.value) <= noise and p.slope <= (2 * DECREASE - 1) * start.slope
        return p.finite and (wolfe or approximate)

    if not (first > 0 and start.slope < 0):
        return None
    low, high, trial = start, None, first  # the step is sought between low, the best so far, and high
    for _ in range(MOST_EVALUATIONS):
        point = at(trial)
        if not lowers(point) or (low is not start and point.value >= low.value):
            high = point
        elif abs(point.slope) <= -CURVATURE * start.slope:
            return point
        else:
            if point.slope * (high.step - low.step if high else 1.0) >= 0:
                high = low
            before, low = low, point
        if high is None:
            trial = min(max(2 * low.step, _cubic_minimum(before, low)), 10 * low.step)  # where NaN counts as too small
            continue
        width = high.step - low.step
        if low.step + width / 2 in (low.step, high.step):
            break
        if high.finite:
            part = (_cubic_minimum(low, high) - low.step) / width
        else:
            part = 0.1 if low is start else 0.5
        trial = low.step + min(max(0.1, part), 0.9) * width
    return None if low is start else low


def _cubic_minimum(a: Point, b: Point) -> float:
    """Where the cubic through two points with their slopes has its minimum (equation 3.59); NaN if it has none."""
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.step - a.step)
    bottom = b.slope - a.slope + 2 * d2
    return b.step - (b.step - a.step) * (b.slope + d2 - d1) / bottom if bottom else math.nan
