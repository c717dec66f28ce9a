"""Adam and AdamW.

Above: users.  Below: the kernel `adam_step`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi._core import adam_step, zeros_like
from corgi.optimizer.base import Optimizer, Setting

if TYPE_CHECKING:
    from corgi._core import Array


class Moments:
    """What Adam remembers of a parameter: running averages of the gradient and its square, and the number of steps."""

    __slots__ = ("mean", "square", "steps")

    def __init__(self, parameter: Array) -> None:
        self.mean, self.square, self.steps = zeros_like(parameter), zeros_like(parameter), 0


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) with `decoupled`.

    With gradient g, parameter p and step t, as in PyTorch::

        g = g + weight_decay * p                          (decoupled: p = p - learning_rate * weight_decay * p instead)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - learning_rate * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + epsilon)

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    beta1, beta2 : float
        Decay rates of the averages, in [0, 1).
    epsilon, weight_decay : float
        At least 0.
    decoupled : bool
        Whether weight decay shrinks the values instead of adding to the gradient.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number, at any time.

    Examples
    --------
    >>> import corgi
    >>> p = corgi.arr([1.0]).tracked()
    >>> optimizer = corgi.optimizer.Adam(0.25)
    >>> (p * p).backward()
    >>> optimizer.step([p])
    >>> round(p.item(), 6)
    0.75
    """

    beta1 = Setting(below=1)
    beta2 = Setting(below=1)
    epsilon = Setting()
    weight_decay = Setting()

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        super().__init__(learning_rate)
        self.beta1, self.beta2 = beta1, beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.decoupled = bool(decoupled)

    def update(self, parameter: Array) -> None:
        """Update one parameter and clear its gradient; without a gradient, do nothing."""
        moments = self.state.get(parameter)
        if moments is None:
            moments = Moments(parameter)
        if adam_step(
            parameter,
            moments.mean,
            moments.square,
            self.learning_rate,
            self.beta1,
            self.beta2,
            self.epsilon,
            self.weight_decay,
            self.decoupled,
            moments.steps + 1,
        ):
            moments.steps += 1
            self.state[parameter] = moments
