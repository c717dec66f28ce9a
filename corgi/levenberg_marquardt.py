"""The method of Levenberg and Marquardt: the least sum of squares of residuals, within bounds.

Above: `curve_fit`, `least_squares`.  Below: NumPy's singular value decomposition; vectors of float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

FIRST_RADIUS = 1.0  # in units of norm(D x), or if that is 0 of norm(r); the 100 of MINPACK lets a first step go too far
SAFE_SQUARES = 1e-8  # the ratio of squared singular values down to which a.T @ a gives them as well as a, and sooner
LEAST_QUALITY = 1e-4  # of a step that is taken: the reduction of the sum of squares, as a part of what the linear model says


class Evaluation(NamedTuple):
    """Residuals at a point, and their Jacobian, which is computed when it is wanted; x is rounded as the function got it."""

    x: Vector
    residuals: Vector
    derivatives: Callable[[], Vector]


class Outcome(NamedTuple):
    """Where the search ended, and how; norm is that of the residuals."""

    x: Vector
    residuals: Vector
    jacobian: Vector
    norm: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


def levenberg_marquardt(
    evaluate: Callable[[Vector], Evaluation],
    x: Vector,
    lower: Vector,
    upper: Vector,
    tolerance: float,
    max_iterations: int,
    name: str,
) -> Outcome:
    """Minimize norm(r(x)) in a trust region norm(D (x - current)) <= radius, as J. J. More's Algorithm 7.1 (1978) does.

    D is made of the largest norms yet of the Jacobian's columns, which makes the method invariant under changes of the
    parameters' units. What is not said otherwise is as in MINPACK's lmder, down to the constants.

    Raises
    ------
    ValueError
        If residuals or derivatives are not finite at the start.
    """
    here = evaluate(x)
    jacobian = here.derivatives()
    for what, values in (("residuals", here.residuals), ("derivatives", jacobian)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: expected finite {what} at p0, got {values[~np.isfinite(values)][0]} among them")
    norm = _norm(here.residuals)
    scale = np.zeros(x.size)
    bounded, everything = bool((lower > -np.inf).any() or (upper < np.inf).any()), np.ones(x.size, bool)
    radius = math.nan
    least_change = max(tolerance**2, np.finfo(np.float64).eps)
    iterations, evaluations = 0, 1

    def end(converged: bool, message: str) -> Outcome:
        return Outcome(here.x, here.residuals, jacobian, norm, iterations, evaluations, converged, message)

    while True:
        lengths = column_norms(jacobian)
        scale = np.maximum(scale, np.where((lengths == 0) & (scale == 0), 1.0, lengths))
        if math.isnan(radius):
            radius = FIRST_RADIUS * (_norm(scale * here.x) or norm)
        region = TrustRegion(jacobian / scale, here.residuals)
        a, b = region.s[:, None] * region.vt, region.c  # norm(a @ z + b) is that of r + J @ (z / scale), but for a constant
        free = everything
        if bounded:
            gradient = b @ a
            free = ~((here.x <= lower) & (gradient > 0) | (here.x >= upper) & (gradient < 0))
            if not free.all():
                region = TrustRegion(a[:, free], b)
        if region.offset <= tolerance * norm:
            return end(True, "the residuals are orthogonal to their derivatives, within the tolerance")
        moved = False
        while not moved:
            if iterations == max_iterations:
                return end(False, f"the limit of {iterations} iterations was reached before it converged")
            iterations += 1
            target, newton, clipped = _step_in_box(region, a, b, scale, radius, here.x, lower, upper, free)
            z = scale * (target - here.x)
            length = _norm(z)
            if iterations == 1 and newton and not clipped:
                radius = min(radius, length)
            change = a @ z / norm
            slope = float(change @ b) / norm
            predicted = -float(change @ change) - 2 * slope  # like actual a reduction, as a part of the sum of squares
            actual = -1.0
            if predicted > 0:
                there = evaluate(target)
                evaluations += 1
                ratio = _norm(there.residuals) / norm
                if ratio < 10:  # not so if it is NaN
                    actual = 1 - ratio * ratio
                if actual >= LEAST_QUALITY * predicted:
                    derivatives = there.derivatives()
                    moved = bool(np.isfinite(derivatives).all())
                    if moved:
                        here, jacobian, norm = there, derivatives, ratio * norm
                    else:
                        actual = -1.0
            quality = actual / predicted if predicted > 0 else -1.0
            if quality <= 0.25:
                radius = _shortening(actual, slope) * min(radius, 10 * length)
            elif quality >= 0.75 or newton:
                radius = max(radius, 2 * length) if clipped else 2 * length
            if not clipped and max(abs(actual), predicted) <= least_change and quality <= 2:
                return end(True, "the sum of squares changes no more, within the tolerance")
            if radius <= tolerance * _norm(scale * here.x):
                return end(True, "the parameters change no more, within the tolerance")


def _shortening(actual: float, slope: float) -> float:
    """The part of the radius to go on with: to the minimum of the parabola through the step's ends (More, section 4)."""
    if actual >= 0:
        return 0.5
    return max(0.1, 0.5 * slope / (slope + 0.5 * actual)) if actual > -1 else 0.1


def _norm(v: Vector) -> float:
    """The Euclidean norm, also where squares are too large or too small for floats."""
    with np.errstate(over="ignore"):
        square = float(v @ v)
    if 1e-280 < square < 1e280:
        return math.sqrt(square)
    largest = float(np.abs(v).max(initial=0.0))
    return largest * float(np.linalg.norm(v / largest)) if 0 < largest < math.inf else largest


def column_norms(matrix: Vector) -> Vector:
    """The norms of a matrix's columns."""
    squares = np.einsum("ij,ij->j", matrix, matrix)
    if squares.min() > 1e-280 and squares.max() < 1e280:
        lengths: Vector = np.sqrt(squares)
        return lengths
    return np.array([_norm(column) for column in matrix.T])


class TrustRegion:
    """The problem of making norm(a @ z + b) least under norm(z) <= radius, in terms of a's singular values.

    `offset` is the norm of b's part that z can reach: with norm(r), that of the whole, it gives the relative offset of Bates
    & Watts (A relative offset orthogonality convergence criterion for nonlinear least squares, 1981).
    """

    def __init__(self, a: Vector, b: Vector) -> None:
        squares, vectors = np.linalg.eigh(a.T @ a)
        if squares.size and squares[0] > SAFE_SQUARES * squares[-1]:
            self.s, self.vt = np.sqrt(squares), vectors.T
            self.c = self.vt @ (b @ a) / self.s
        else:
            u, self.s, self.vt = np.linalg.svd(a, full_matrices=False)
            self.c = b @ u
        self.large = self.s > np.finfo(np.float64).eps * max(a.shape) * self.s.max(initial=0.0)
        self.offset = _norm(self.c[self.large])

    def step(self, radius: float) -> tuple[Vector, bool]:
        """The shortest such z, and whether the radius does not matter.

        On the boundary z = -inv(a.T @ a + l * I) @ a.T @ b with an l > 0, found by Newton's method for 1 / norm(z), which is
        nearly linear in l (More, section 5).
        """
        s, c = self.s, self.c
        z = np.divide(c, s, out=np.zeros_like(c), where=self.large)
        if _norm(z) <= radius:
            return -z @ self.vt, True
        least, most = 0.0, _norm(s * c) / radius if radius > 0 else math.inf
        if math.isinf(most):
            return np.zeros(self.vt.shape[1]), False
        l = 1e-3 * most
        for _ in range(30):
            z = s * c / (s * s + l)
            size = _norm(z)
            excess = size / radius - 1
            if abs(excess) <= 0.01:
                break
            least, most = (l, most) if excess > 0 else (least, l)
            l += excess / float((np.square(z / size) / (s * s + l)).sum())
            if not least < l < most:
                l = max(1e-3 * most, math.sqrt(least * most))
        return -(z * (radius / size)) @ self.vt, False


def _step_in_box(
    region: TrustRegion,
    a: Vector,
    b: Vector,
    scale: Vector,
    radius: float,
    x: Vector,
    lower: Vector,
    upper: Vector,
    free: npt.NDArray[np.bool_],
) -> tuple[Vector, bool, bool]:
    """Where the best step within radius and bounds leads; whether the radius does not matter; whether bounds cut it short.

    What the step would lead out goes to its bound and stays there, and the step of the rest is found anew.
    """
    target, clipped = x.copy(), False
    z, newton = region.step(radius)
    while True:
        target[free] = x[free] + z / scale[free]
        out = (target < lower) | (target > upper)
        if not out.any():
            return target, newton, clipped
        clipped = True
        target = np.clip(target, lower, upper)
        free = free & ~out
        fixed = np.where(free, 0.0, scale * (target - x))
        rest = math.sqrt(max(radius**2 - float(fixed @ fixed), 0.0))
        z, newton = TrustRegion(a[:, free], b + a @ fixed).step(rest)
