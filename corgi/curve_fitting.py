"""Least squares: curves fitted to data by the method of Levenberg and Marquardt, with exact Jacobians.

Above: users.  Below: differentiation, the method.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from corgi._core import Array, array, concatenate, reshape
from corgi.flat import Flat, floats
from corgi.functional import _as_array, _jacobian_blocks, _leaves, _leaves_like, _refill, _require_callable, _Trace
from corgi.levenberg_marquardt import Evaluation, column_norms, levenberg_marquardt

if TYPE_CHECKING:
    import numpy.typing as npt

    from corgi._typing import ArrayLike

    Vector = npt.NDArray[np.float64]
    Bounds = tuple[Any, Any] | None

__all__ = ["Fit", "curve_fit", "least_squares"]


class Fit:
    """Parameters that were fitted, how exact they are, and how the search ended.

    It can be taken apart as a pair: ``parameters, covariance = fit``.

    Attributes
    ----------
    parameters
        In the containers in which they were given; an Array of one axis for functions of several numbers.
    errors
        Standard errors of the parameters, the square roots of the covariance's diagonal, in the same containers.
    covariance : Array
        Of all parameters one after the other.
    residuals : Array
        As they were weighted.
    jacobian : Array
        Derivatives of the residuals, one after the other, by the parameters, one after the other.
    sum_of_squares : float
        Of the residuals.
    iterations, evaluations : int
        Steps taken; calls of the function.
    converged : bool
        Whether the tolerance was reached.
    message : str
        Why the search ended.

    Examples
    --------
    >>> import corgi
    >>> fit = corgi.curve_fit(lambda x, a, b: a * x + b, [0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 4.0, 6.0], [0.0, 0.0])
    >>> corgi.round(fit.parameters, 6), corgi.round(fit.errors, 6), fit.converged
    (Array([1.6, 1.1], dtype=float64), Array([0.141421, 0.264575], dtype=float64), True)
    """

    def __init__(
        self,
        parameters: Any,
        errors: Any,
        covariance: Array,
        residuals: Array,
        jacobian: Array,
        sum_of_squares: float,
        iterations: int,
        evaluations: int,
        converged: bool,
        message: str,
    ) -> None:
        self.parameters, self.errors, self.covariance = parameters, errors, covariance
        self.residuals, self.jacobian, self.sum_of_squares = residuals, jacobian, sum_of_squares
        self.iterations, self.evaluations = iterations, evaluations
        self.converged, self.message = converged, message

    def __iter__(self) -> Iterator[Any]:
        return iter((self.parameters, self.covariance))

    def __repr__(self) -> str:
        shown = ("parameters", "errors", "sum_of_squares", "iterations", "evaluations", "converged", "message")
        return f"Fit({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def least_squares(
    residuals: Callable[[Any], Any],
    p0: Any,
    *,
    bounds: Bounds = None,
    absolute_sigma: bool = False,
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
) -> Fit:
    """The parameters for which the sum of the squares of residuals is least.

    Each step s makes the norm of r + J s least among those with norm(D s) <= radius, where J is the exact Jacobian of the
    residuals r and D holds the largest norms yet of J's columns; the radius follows the quality of the last steps (J. J.
    More, The Levenberg-Marquardt algorithm: implementation and theory, 1978). Under bounds, a parameter that the step would
    lead out stays at its bound, and the others' step is found anew. Steps to where a residual or a derivative is not finite
    are shortened.

    Parameters
    ----------
    residuals : callable
        ``residuals(p)`` returns an array, at least as large as the number of parameters if the covariance is wanted.
    p0 : array_like, or tuples, lists and dicts of them
        Where to start: at least one number.
    bounds : pair, optional
        Lower and upper bounds, each a number or like `p0`; infinite for none.
    absolute_sigma : bool
        Whether residuals are in units of their own standard deviation. Otherwise that is estimated.
    tolerance : float
        The search has converged when the part of r that the columns of J span is no more than this part of it (Bates &
        Watts's relative offset: then the parameters are so near, in units of their standard errors), when the radius is no
        more than this part of norm(D p), or when a step changes the sum of squares by rounding errors alone. Rounding errors
        of the dtype at least.
    max_iterations : int
        At least 1.

    Returns
    -------
    Fit
        Nothing is raised if the search does not converge. The covariance is s**2 * inv(J.T @ J), where s**2 is the sum of
        squares divided by the number of residuals beyond that of parameters, or 1 with `absolute_sigma`; bounds do not
        enter. It is infinite where it cannot be estimated.

    Raises
    ------
    TypeError
        If parameters or residuals are not floats.
    ValueError
        If residuals or Jacobian are not finite at `p0`, or `p0` is outside the bounds.

    Examples
    --------
    >>> import corgi
    >>> rosenbrock = lambda p: corgi.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])
    >>> corgi.least_squares(rosenbrock, [-1.2, 1.0]).parameters
    Array([1., 1.], dtype=float64)
    >>> corgi.least_squares(rosenbrock, [-1.2, 1.0], bounds=(-2.0, [0.5, 2.0])).parameters
    Array([0.5 , 0.25], dtype=float64)
    """
    _require_callable("least_squares", residuals)
    tree = floats("least_squares", "p0", p0)
    box = _box("least_squares", bounds, tree)
    return _fit("least_squares", residuals, tree, box, absolute_sigma, tolerance, max_iterations)


def curve_fit(
    f: Callable[..., Any],
    x: Any,
    y: ArrayLike,
    p0: Any = None,
    sigma: ArrayLike | None = None,
    absolute_sigma: bool = False,
    bounds: Bounds = None,
    *,
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
) -> Fit:
    """Fit a function to data: the parameters p for which the sum of ((f(x, p) - y) / sigma)**2 is least.

    Parameters
    ----------
    f : callable
        ``f(x, a, b, c)``, for which the parameters are numbers, or ``f(x, p)`` with all of them in one argument; returns an
        array of y's shape. It may use corgi's operations, or NumPy's functions such as `numpy.exp`, which are corgi's for
        Arrays.
    x : array_like, or anything else
        What `f` gets first; lists and NumPy arrays are made Arrays.
    y : array_like
        The data; finite.
    p0 : array_like, or tuples, lists and dicts of them for ``f(x, p)``
        Where to start; ones for ``f(x, a, b, c)`` if left out.
    sigma : array_like, optional
        Standard deviations of y, of y's shape or one number, or their covariance matrix.
    absolute_sigma : bool
        Whether `sigma` is meant absolutely. Otherwise only its proportions count, and the size is estimated from the
        residuals.
    bounds : pair, optional
        Lower and upper bounds, each a number or like `p0`; infinite for none.
    tolerance, max_iterations
        See `least_squares`, which also says how the fit is found.

    Returns
    -------
    Fit
        ``popt, pcov = curve_fit(...)`` takes the parameters and their covariance; `Fit` has more.

    Warns
    -----
    RuntimeWarning
        If the search did not converge, or the covariance cannot be estimated.

    Raises
    ------
    TypeError
        If something is not what it should be, or `f` takes another number of parameters than `p0` has.
    ValueError
        If shapes do not fit, `f` or its derivatives are not finite at `p0`, or `p0` is outside the bounds.

    Examples
    --------
    >>> import corgi
    >>> x = corgi.linspace(0.0, 4.0, 9)
    >>> y = 2.5 * corgi.exp(-1.3 * x) + [0.01, -0.02, 0.03, 0.0, -0.01, 0.02, -0.03, 0.0, 0.01]
    >>> popt, pcov = corgi.curve_fit(lambda x, a, b: a * corgi.exp(-b * x), x, y, [1.0, 1.0])
    >>> corgi.round(popt, 3)
    Array([2.505, 1.299], dtype=float64)
    """
    _require_callable("curve_fit", f)
    data = _as_array(y).detach()
    if not np.isfinite(data.numpy()).all():
        raise ValueError("curve_fit: expected finite data y, got NaN or infinity among them")
    if isinstance(x, (list, tuple)) or hasattr(x, "__array__"):
        x = _as_array(x).detach()
    weighted = _weighting(data, sigma)
    fewest, most = _parameters_of(f)
    if p0 is None:
        if not 1 < fewest == most:
            raise TypeError("curve_fit: expected p0, since f does not name its parameters one by one, got none")
        p0 = np.ones(fewest)
    tree = floats("curve_fit", "p0", p0)
    spread = most > 1
    if spread:
        tree = _as_array(tree).reshape(-1)
        if not fewest <= tree.size <= most:
            raise TypeError(f"curve_fit: expected as many numbers in p0 as f has parameters, {fewest}, got {tree.size}")

    def residuals(p: Any) -> Array:
        curve = _as_array(f(x, *p) if spread else f(x, p))
        if curve.shape != data.shape:
            raise ValueError(f"curve_fit: expected f to return an array of y's shape {data.shape}, got {curve.shape}")
        return weighted(curve - data)

    fit = _fit(
        "curve_fit", residuals, tree, _box("curve_fit", bounds, tree), absolute_sigma, tolerance, max_iterations, spread
    )
    if not fit.converged:
        warnings.warn(f"curve_fit: {fit.message}", RuntimeWarning, stacklevel=2)
    if not np.isfinite(fit.covariance.numpy()).all():
        warnings.warn(
            "curve_fit: the data do not determine all parameters, so the covariance is unknown", RuntimeWarning, stacklevel=2
        )
    return fit


# ---- what is fitted


def _parameters_of(f: Callable[..., Any]) -> tuple[int, float]:
    """The least and the largest number of parameters that f takes one by one after x; (1, 1) if it takes them together."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # a function that is not Python's
        return 1, 1
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in positional)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return max(needed - 1, 1), math.inf
    return (needed - 1, len(positional) - 1) if needed > 2 else (1, 1)


def _weighting(y: Array, sigma: ArrayLike | None) -> Callable[[Array], Array]:
    """The function that turns differences from y into residuals with variances of 1."""
    if sigma is None:
        return lambda difference: difference
    given = _as_array(sigma).detach()
    s = given.numpy()
    if not np.isfinite(s).all():
        raise ValueError("curve_fit: expected finite values of sigma, got NaN or infinity among them")
    if y.ndim == 1 and s.shape == (y.size, y.size) and s.ndim == 2:
        try:
            whiten = array(np.linalg.inv(np.linalg.cholesky(s)))
        except np.linalg.LinAlgError:
            raise ValueError("curve_fit: expected sigma to be positive definite as a matrix, got another") from None
        return lambda difference: whiten @ difference
    if s.shape not in ((), y.shape):
        raise ValueError(f"curve_fit: expected sigma of y's shape {y.shape}, or a covariance matrix, got shape {s.shape}")
    if not (s > 0).all():
        raise ValueError("curve_fit: expected values of sigma above 0, got others among them")
    return lambda difference: difference / given


def _box(name: str, bounds: Bounds, tree: Any) -> tuple[Vector, Vector]:
    """Lower and upper bounds as vectors, between which the parameters must be."""
    flat = Flat(_leaves(tree))
    start = _vector(flat.gather(_leaves(tree)))
    if bounds is None:
        return np.full(start.size, -np.inf), np.full(start.size, np.inf)
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(f"{name}: expected a pair of bounds, lower and upper, got {type(bounds).__name__}")
    box = []
    for what, bound in zip(("lower", "upper"), bounds, strict=True):
        if isinstance(bound, Real):
            box.append(np.full(start.size, float(bound)))
        else:
            leaves = _leaves_like(bound, tree, name, f"{what} bounds")
            box.append(_vector(flat.gather([leaf.astype(t) for leaf, t in zip(leaves, flat.dtypes, strict=True)])))
    lower, upper = box
    for i in np.flatnonzero(~(lower < upper)):
        raise ValueError(f"{name}: expected lower bounds below upper ones, got {lower[i]} and {upper[i]} for parameter {i}")
    for i in np.flatnonzero(~((lower <= start) & (start <= upper))):
        raise ValueError(f"{name}: expected parameter {i} of p0 in its bounds [{lower[i]}, {upper[i]}], got {start[i]}")
    return lower, upper


def _vector(a: Array) -> Vector:
    return a.numpy().astype(np.float64)


def _fit(
    name: str,
    residuals: Callable[[Any], Any],
    tree: Any,
    box: tuple[Vector, Vector],
    absolute_sigma: bool,
    tolerance: float,
    max_iterations: int,
    spread: bool = False,
) -> Fit:
    """Fit the parameters in a tree; with `spread`, the residuals are a function of a list of the only array's numbers."""
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 <= tolerance < 1:
        raise ValueError(f"{name}: expected a tolerance in [0, 1), got {tolerance!r}")
    if isinstance(max_iterations, bool) or not isinstance(max_iterations, Integral) or max_iterations < 1:
        raise ValueError(f"{name}: expected max_iterations of at least 1, got {max_iterations!r}")
    flat = Flat(_leaves(tree))
    start = _vector(flat.gather(_leaves(tree)))

    def evaluate(vector: Vector) -> Evaluation:
        leaves = flat.scatter(array(vector))
        p = list(leaves[0]) if spread else _refill(tree, iter(leaves))
        trace = _Trace(name, residuals, (p,), {}, [0])
        if not any(output.size for output in trace.outputs):
            raise ValueError(f"{name}: expected at least one residual, got none")
        r = concatenate([reshape(output, -1) for output in trace.outputs])

        def derivatives() -> Vector:
            if not any(output.is_tracked for output in trace.outputs):
                raise ValueError(
                    f"{name}: expected a function of the parameters made of corgi's operations, got one that does not "
                    "depend on them through these; were they converted with numpy() or float()?"
                )
            matrix, first = np.empty((r.size, start.size), order="F"), 0
            for output in trace.outputs:
                blocks = [block.numpy().reshape(output.size, -1) for block in _jacobian_blocks(trace, output) if block.size]
                if blocks:
                    np.concatenate(blocks, axis=1, out=matrix[first : first + output.size])
                first += output.size
            return matrix

        return Evaluation(_vector(flat.gather(leaves)), _vector(r), derivatives)

    epsilon = float(np.finfo(flat.dtype).eps)
    found = levenberg_marquardt(evaluate, start, *box, max(float(tolerance), epsilon), int(max_iterations), name)
    spare = found.residuals.size - start.size
    variance = 1.0 if absolute_sigma else found.norm * found.norm / spare if spare > 0 else math.inf
    covariance = _covariance(found.jacobian, variance, epsilon)

    def arrays(vector: Vector) -> Any:
        return _refill(tree, iter(flat.scatter(array(vector))))

    return Fit(
        arrays(found.x),
        arrays(np.sqrt(np.diag(covariance))),
        array(covariance, flat.dtype),
        array(found.residuals, flat.dtype),
        array(found.jacobian, flat.dtype),
        found.norm * found.norm,
        found.iterations,
        found.evaluations,
        found.converged,
        found.message,
    )


def _covariance(jacobian: Vector, variance: float, epsilon: float) -> Vector:
    """variance * inv(J.T @ J), or infinities where that cannot be told."""
    rows, columns = jacobian.shape
    lengths = column_norms(jacobian)
    if rows >= columns and (lengths > 0).all() and variance < math.inf:
        _, s, vt = np.linalg.svd(jacobian / lengths, full_matrices=False)
        if s[-1] > epsilon * rows * s[0]:
            root = vt.T / s / lengths[:, None]
            return np.asarray(variance * root @ root.T)
    return np.full((columns, columns), np.inf)
