"""L-BFGS: a quasi-Newton method that remembers a few steps, for smooth functions of many parameters.

Above: users, `corgi.minimize`.  Below: the line search, operations on vectors.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corgi._core import absolute, assign, axpy, isfinite, zeros_like
from corgi.flat import Flat
from corgi.optimizer.base import Optimizer
from corgi.optimizer.checks import Number, listed, mapping, named, number, whole
from corgi.optimizer.line_search import CURVATURE, Point, strong_wolfe

if TYPE_CHECKING:
    from corgi._core import Array
    from corgi._typing import Parameters


# Steps that change the value by rounding errors alone, before it counts as the least: gradients can tell when values cannot.
UNSEEN_STEPS = 10


class Count(Number):
    """An attribute that holds a whole number of at least 1."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> int: ...

    def checked(self, value: Any, owner: str) -> Any:
        """The value as the attribute holds it."""
        return whole(value, owner, self.name)


class Minimum(NamedTuple):
    """Where a search for a minimum ended, and how.

    Attributes
    ----------
    x
        The arguments, in the containers in which they were given.
    value : float
        The function's value there.
    gradient
        Its gradient there, in the same containers.
    iterations, evaluations : int
        Steps taken; calls of the function, each with its gradient.
    converged : bool
        Whether a tolerance was reached.
    message : str
        Why the search ended.

    Examples
    --------
    >>> import corgi
    >>> minimum = corgi.minimize(lambda x: (x - 3.0) ** 2, 1.0)
    >>> minimum.converged, minimum.message
    (True, 'the gradient is within its tolerance')
    """

    x: Any
    value: float
    gradient: Any
    iterations: int
    evaluations: int
    converged: bool
    message: str


class LBFGS(Optimizer):
    """Limited-memory BFGS with a line search for the strong Wolfe conditions.

    A step goes along d = -H g, where g is the gradient and H approximates the inverse of the Hessian. H is made from the
    last changes of the parameters, s, and of the gradient, y, by the two-loop recursion, which begins with the diagonal s.y
    / y.y (Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithms 7.4 and 7.5, equation 7.20). The length of the step
    is found by Algorithms 3.5 and 3.6. The function should be the same at each evaluation: use the whole of the data, or
    large batches and few iterations for each.

    Parameters
    ----------
    learning_rate : float
        Length of the step that is tried first, as a part of d, at least 0; 1 is right but for noisy functions.
    max_iterations : int
        Steps along different directions in one call of `step`.
    gradient_tolerance : float
        The search has converged when no element of the gradient is larger.
    change_tolerance : float
        It has also when a step changes the value by less than this part of it, or ten steps by rounding errors alone.
    history : int
        Number of changes to remember.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number, at any time.

    Examples
    --------
    A closure computes the loss and its gradient; it is called as often as the line search needs.

    >>> import corgi
    >>> p = corgi.arr([-1.0, 2.0]).tracked()
    >>> def closure():
    ...     loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> result = corgi.optimizer.LBFGS(max_iterations=100).step([p], closure)
    >>> result.converged, corgi.round(p.detach(), 6)
    (True, Array([1., 1.], dtype=float64))

    With a model: ``model.update(closure)``, where the closure calls ``model.forward(x)`` and returns
    ``model.backward(target)``. `Model.fit` does so with each batch.
    """

    needs_closure = True
    max_iterations = Count()
    gradient_tolerance = Number()
    change_tolerance = Number()
    history = Count()

    def __init__(
        self,
        learning_rate: float = 1.0,
        max_iterations: int = 20,
        gradient_tolerance: float = 1e-7,
        change_tolerance: float = 0.0,
        history: int = 10,
    ) -> None:
        super().__init__(learning_rate)
        self.max_iterations = max_iterations
        self.gradient_tolerance = gradient_tolerance
        self.change_tolerance = change_tolerance
        self.history = history
        self._changes: deque[tuple[Array, Array, float]] = deque()  # s, y and s.y, the latest last

    def step(  # type: ignore[override]  # there is more to return than the nothing of others
        self, parameters: Iterable[Array], closure: Callable[[], Any] | None = None
    ) -> Minimum:
        """Take up to `max_iterations` steps, each with as many calls of the closure as its length needs.

        Gradients are cleared. If the closure raises, the parameters have their former values.

        Parameters
        ----------
        parameters : iterable of Arrays
        closure : callable
            ``closure()`` computes the loss for the values that the parameters have, and its gradients, as `Array.backward`
            or `Model.backward` leave them; it returns the loss.

        Returns
        -------
        Minimum
            Its `x` is the list of the parameters.

        Raises
        ------
        TypeError
            If a parameter is not a float Array, or without a closure.
        ValueError
            If loss or gradient are not finite at the start.
        """
        parameters = listed(parameters, "LBFGS.step")
        if not callable(closure):
            got = "none" if closure is None else type(closure).__name__
            raise TypeError(
                f"LBFGS.step: expected a closure that computes the loss and its gradients, got {got}; with a model: "
                "model.update(closure), where closure() calls model.forward(x) and returns model.backward(target)"
            )
        if not any(parameter.size for parameter in parameters):
            raise ValueError("LBFGS.step: expected parameters with at least one element, got none")
        flat = Flat(parameters)

        def evaluate(x: Array) -> tuple[Any, Array]:
            _assign(parameters, flat.scatter(x))
            value = closure()
            return value, flat.gather([parameter.take_gradient() for parameter in parameters])

        x = flat.gather(parameters)
        try:
            found = self.descend(evaluate, x, "LBFGS.step")
            x = found.x
        finally:
            _assign(parameters, flat.scatter(x))
        self.steps += 1
        return found._replace(x=parameters, gradient=flat.scatter(found.gradient))

    def descend(self, evaluate: Callable[[Array], tuple[Any, Array]], x: Array, name: str = "LBFGS") -> Minimum:
        """The minimum of a function of one vector; what was seen of its curvature is remembered for the next call.

        Parameters
        ----------
        evaluate : callable
            ``evaluate(x)`` returns the value, a number, and the gradient, a vector; both untracked.
        x : Array
            Where to start, a vector of floats.
        name : str
            What the message of an error begins with.

        Returns
        -------
        Minimum

        Raises
        ------
        ValueError
            If value or gradient are not finite at the start.

        Examples
        --------
        >>> import corgi
        >>> corgi.optimizer.LBFGS().descend(lambda x: (float(x @ x), 2 * x), corgi.arr([4.0])).x
        Array([0.], dtype=float64)
        """
        epsilon = float(np.finfo(x.dtype).eps)
        iterations = evaluations = unseen_steps = 0

        def at(step: float) -> Point:
            nonlocal evaluations
            evaluations += 1
            value, gradient = evaluate(x + step * direction if step else x)
            return Point(step, float(value), _dot(gradient, direction), gradient)

        def end(converged: bool, message: str) -> Minimum:
            return Minimum(x, here.value, here.gradient, iterations, evaluations, converged, message)

        direction = zeros_like(x)
        here = at(0.0)
        if not math.isfinite(here.value):
            raise ValueError(f"{name}: expected a finite value at the start, got {here.value}")
        if not isfinite(here.gradient).all():
            raise ValueError(f"{name}: expected a finite gradient at the start, got {here.gradient}")
        if self._changes and self._changes[0][0].shape != x.shape:
            self._changes.clear()
        while True:
            largest = float(absolute(here.gradient).max())
            if largest <= self.gradient_tolerance:
                return end(True, "the gradient is within its tolerance")
            if iterations == self.max_iterations:
                return end(False, f"the limit of {iterations} iterations was reached")
            direction = self._direction(here.gradient)
            start = here._replace(step=0.0, slope=_dot(here.gradient, direction))
            length = 1.0 if self._changes else 1.0 / math.sqrt(-start.slope or math.inf)
            found = strong_wolfe(at, start, self.learning_rate * length, 4 * epsilon * abs(here.value))
            change = abs(start.value - found.value) if found else 0.0
            unseen = change <= epsilon * abs(start.value)
            if found is None or (unseen and found.slope < CURVATURE * start.slope):
                if not self._changes:
                    return end(False, "no step along the negative gradient lowers the value any further")
                curvature = max(_dot(y, y) / sy for _, y, sy in self._changes)
                if largest <= 10 * epsilon * curvature * float(absolute(x).max()):  # what rounding x makes of the gradient
                    return end(True, "the gradient is as small as rounding errors let it be")
                self._changes.clear()  # and try the direction of steepest descent
                continue
            iterations += 1
            s = found.step * direction
            self._remember(s, found.gradient - here.gradient)
            x, here = x + s, found
            if here.slope < CURVATURE * start.slope and found.step > 1e6 * length:
                return end(False, "the value falls along a line as far as one can see; it may have no minimum")
            if change < self.change_tolerance * abs(start.value):
                return end(True, "the change of the value is within its tolerance")
            unseen_steps = unseen_steps + 1 if unseen else 0
            if unseen_steps == UNSEEN_STEPS:
                return end(True, "the change of the value is within rounding errors")

    def state_dict(self, parameters: Parameters) -> dict[str, Any]:
        """All that must be saved to go on exactly: as of `Optimizer.state_dict`, and what is remembered of the curvature.

        Of the change number I, from the oldest, ``changes/I/s`` and ``changes/I/y`` are the vectors, and ``changes/I/sy`` is
        their product.

        Parameters
        ----------
        parameters : dict or iterable of Arrays
            All that `step` is given.

        Returns
        -------
        dict

        Examples
        --------
        >>> import corgi
        >>> p, optimizer = corgi.arr([3.0]).tracked(), corgi.optimizer.LBFGS(max_iterations=1)
        >>> def closure():
        ...     loss = corgi.sum(p**4)
        ...     loss.backward()
        ...     return loss
        >>> _ = optimizer.step([p], closure)
        >>> [key for key in optimizer.state_dict([p]) if key.startswith("changes")]
        ['changes/0/s', 'changes/0/y', 'changes/0/sy']
        """
        saved = super().state_dict(parameters)
        for i, (s, y, sy) in enumerate(self._changes):
            saved |= {f"changes/{i}/s": s, f"changes/{i}/y": y, f"changes/{i}/sy": sy}
        return saved

    def load_state_dict(self, state: Mapping[str, Any], parameters: Parameters) -> None:
        """Take over what `state_dict` gave, so that the next step is the one that the saved optimizer would have made.

        Parameters
        ----------
        state : dict
        parameters : dict or iterable of Arrays
            Those of the state, in the same order.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of such an optimizer and parameters; then nothing has changed.
        """
        op = "LBFGS.load_state_dict"
        rest, flat = mapping(state, op), Flat(list(named(parameters, op).values()))
        changes: deque[tuple[Array, Array, float]] = deque()
        while (prefix := f"changes/{len(changes)}") + "/s" in rest:
            s, y = (flat.vector(rest.pop(f"{prefix}/{name}", None), f"{prefix}/{name}", op) for name in "sy")
            sy = number(rest.pop(f"{prefix}/sy", None), op, f"{prefix}/sy")
            if not sy:
                raise ValueError(f"{op}: expected {prefix}/sy above 0, got 0")
            changes.append((s, y, sy))
        super().load_state_dict(rest, parameters)
        self._changes = changes

    def _direction(self, gradient: Array) -> Array:
        """Minus the approximate inverse Hessian times the gradient, or minus the gradient if that does not descend."""
        q, factors = gradient, []
        for s, y, sy in reversed(self._changes):
            factors.append(_dot(s, q) / sy)
            q = axpy(y, -factors[-1], q)
        if self._changes:
            _, y, sy = self._changes[-1]
            q = q * (sy / _dot(y, y))
        for (s, y, sy), factor in zip(self._changes, reversed(factors), strict=True):
            q = axpy(s, factor - _dot(y, q) / sy, q)
        if not _dot(q, gradient) > 0:
            self._changes.clear()
            return -gradient
        return -q

    def _remember(self, s: Array, y: Array) -> None:
        """Keep a change of the vector and of the gradient, if the function curves upwards between them."""
        sy = _dot(s, y)
        if sy > np.finfo(s.dtype).eps * math.sqrt(_dot(s, s) * _dot(y, y)):
            self._changes.append((s, y, sy))
        while len(self._changes) > self.history:
            self._changes.popleft()


def _dot(a: Array, b: Array) -> float:
    return float((a * b).sum())  # quicker than a @ b for short vectors, and more accurate for long ones


def _assign(parameters: list[Array], arrays: list[Array]) -> None:
    """Give parameters new values, and clear their gradients."""
    for parameter, values in zip(parameters, arrays, strict=True):
        assign(parameter, values)
        parameter.gradient = None
