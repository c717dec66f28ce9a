"""Adam, with AMSGrad, and AdamW.

Above: users.  Below: the rules adam and amsgrad of src/kernels/update.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi.optimizer.base import Optimizer
from corgi.optimizer.checks import Flag, Setting

if TYPE_CHECKING:
    from typing import Unpack

    from corgi._typing import OptimizerOptions


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) with `decoupled`.

    With gradient g, parameter p and step t, as in PyTorch::

        g = g + weight_decay * p                          (decoupled: p = p - learning_rate * weight_decay * p instead)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2                (amsgrad: the largest v so far in the next line)
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
    amsgrad : bool
        Whether rates never grow again (Reddi, Kale & Kumar 2018).
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
    decoupled = Flag()
    amsgrad = Flag()

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled: bool = False,
        amsgrad: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta1, self.beta2 = beta1, beta2
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.decoupled = decoupled
        self.amsgrad = amsgrad

    def _rule(self, settings: dict[str, float]) -> str:
        return "amsgrad" if settings["amsgrad"] else "adam"


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): `Adam` with ``decoupled=True`` and some decay.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon, weight_decay : float
    amsgrad : bool
    **options
        All as for `Adam`.

    Examples
    --------
    >>> import corgi
    >>> p = corgi.arr([1.0]).tracked()
    >>> optimizer = corgi.optimizer.AdamW(0.25, weight_decay=0.5)
    >>> (p * p).backward()
    >>> optimizer.step([p])
    >>> round(p.item(), 6)  # 1 - 0.25 * 0.5, and then Adam's step of 0.25
    0.625
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, True, amsgrad, **options)
