"""The minimum of a function of arrays.

Above: users.  Below: `LBFGS`, differentiation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from corgi.flat import Flat, floats
from corgi.functional import _differentiated, _leaves, _refill, _require_callable
from corgi.optimizer.lbfgs import LBFGS, Minimum

if TYPE_CHECKING:
    from corgi._core import Array

__all__ = ["minimize"]


def minimize(
    f: Callable[[Any], Any],
    x0: Any,
    method: str = "lbfgs",
    *,
    max_iterations: int = 1000,
    gradient_tolerance: float = 1e-7,
    change_tolerance: float = 0.0,
    history: int = 10,
) -> Minimum:
    """A minimum of a function, searched along its gradients, which differentiation gives.

    Parameters
    ----------
    f : callable
        ``f(x)`` returns an array of size 1; it should be smooth.
    x0 : array_like, or tuples, lists and dicts of them
        Where to start: at least one number.
    method : {"lbfgs"}
        L-BFGS with a line search for the strong Wolfe conditions, see `corgi.optimizer.LBFGS`.
    max_iterations : int
        At least 1.
    gradient_tolerance : float
        The search has converged when no element of the gradient is larger in absolute value.
    change_tolerance : float
        It has also when a step changes the value by less than this part of it, or ten steps by rounding errors alone.
    history : int
        Number of steps to remember, at least 1.

    Returns
    -------
    Minimum
        With `x`, `value`, `gradient`, `iterations`, `evaluations`, `converged` and `message`. Nothing is raised if the
        search does not converge.

    Raises
    ------
    TypeError
        If `x0` does not hold numbers, or the result of `f` is not a float.
    ValueError
        If value or gradient are not finite at `x0`.

    Examples
    --------
    >>> import corgi
    >>> rosenbrock = lambda x: corgi.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    >>> minimum = corgi.minimize(rosenbrock, [-1.2, 1.0, 1.0])
    >>> minimum.converged, corgi.round(minimum.x, 6)
    (True, Array([1., 1., 1.], dtype=float64))
    >>> corgi.minimize(lambda p: (p["slope"] - 2.0) ** 2, {"slope": 1.0}).x
    {'slope': Array(2., dtype=float64)}
    """
    _require_callable("minimize", f)
    if method != "lbfgs":
        raise ValueError(f"minimize: expected the method 'lbfgs', got {method!r}")
    start = floats("minimize", "x0", x0)
    arrays = _leaves(start)
    flat = Flat(arrays)

    def evaluate(x: Array) -> tuple[float, Array]:
        trace, gradient = _differentiated("minimize", f, 0, False, (_refill(start, iter(flat.scatter(x))),), {})
        return trace.value.item(), flat.gather(_leaves(gradient))

    search = LBFGS(1.0, max_iterations, gradient_tolerance, change_tolerance, history)
    found = search.descend(evaluate, flat.gather(arrays), "minimize")
    x, gradient = (_refill(start, iter(flat.scatter(vector))) for vector in (found.x, found.gradient))
    return found._replace(x=x, gradient=gradient)
