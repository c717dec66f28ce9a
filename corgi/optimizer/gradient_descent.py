"""Gradient descent, with momentum.

Above: users.  Below: the rules descent, momentum and nesterov of src/kernels/update.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi.optimizer.base import Optimizer
from corgi.optimizer.checks import Flag, Setting

if TYPE_CHECKING:
    from typing import Unpack

    from corgi._typing import OptimizerOptions


class GradientDescent(Optimizer):
    """(Stochastic) gradient descent, optionally with momentum, Nesterov's form of it, and weight decay.

    With gradient g and parameter p, as in PyTorch (Sutskever et al. 2013, without dampening)::

        g = g + weight_decay * p
        v = momentum * v + g              (v is 0 before the first step)
        p = p - learning_rate * v         (nesterov: g + momentum * v instead of v)

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    momentum, weight_decay : float
        At least 0.
    nesterov : bool
        Needs momentum.
    **options
        `schedule`, `clip_norm` and `clip_value`: see `Optimizer`.

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
    nesterov = Flag()
    weight_decay = Setting()

    def __init__(
        self,
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        if self.nesterov and not self.momentum:
            raise ValueError("GradientDescent: expected momentum above 0 with nesterov, got 0")

    def _rule(self, settings: dict[str, float]) -> str:
        return "descent" if not settings["momentum"] else "nesterov" if settings["nesterov"] else "momentum"
