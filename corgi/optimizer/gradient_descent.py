"""Gradient descent, with momentum.

Above: users.  Below: the kernel `sgd_step`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi._core import sgd_step, zeros_like
from corgi.optimizer.base import Optimizer, Setting

if TYPE_CHECKING:
    from corgi._core import Array


class GradientDescent(Optimizer):
    """(Stochastic) gradient descent, optionally with momentum, Nesterov's form of it, and weight decay.

    With gradient g and parameter p, as in PyTorch (Sutskever et al. 2013, without dampening)::

        g = g + weight_decay * p
        v = momentum * v + g              (v = g in the first step)
        p = p - learning_rate * v         (nesterov: g + momentum * v instead of v)

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    momentum, weight_decay : float
        At least 0.
    nesterov : bool
        Needs momentum.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number, at any time.

    Examples
    --------
    >>> import corgi
    >>> p = corgi.arr([1.0]).tracked()
    >>> optimizer = corgi.optimizer.GradientDescent(0.25)
    >>> (p * p).backward()
    >>> optimizer.step([p])
    >>> p
    Array([0.5], dtype=float64, tracked)
    """

    momentum = Setting()
    weight_decay = Setting()

    def __init__(
        self, learning_rate: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0
    ) -> None:
        super().__init__(learning_rate)
        self.momentum = momentum
        self.nesterov = bool(nesterov)
        self.weight_decay = weight_decay
        if self.nesterov and not self.momentum:
            raise ValueError("GradientDescent: expected momentum above 0 with nesterov, got 0")

    def update(self, parameter: Array) -> None:
        """Update one parameter and clear its gradient; without a gradient, do nothing."""
        if not self.momentum:
            sgd_step(parameter, None, self.learning_rate, 0.0, self.weight_decay)
            return
        velocity = self.state.get(parameter)
        first = velocity is None
        if first:
            velocity = zeros_like(parameter)
        if sgd_step(parameter, velocity, self.learning_rate, self.momentum, self.weight_decay, self.nesterov, first):
            self.state[parameter] = velocity
