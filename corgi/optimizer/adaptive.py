"""RMSProp, Adagrad and Adadelta, which divide by the size of past gradients, and Lion, which takes a sign.

Above: users.  Below: the rules of these names in src/kernels/update.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi.optimizer.base import Optimizer
from corgi.optimizer.checks import Flag, Setting

if TYPE_CHECKING:
    from typing import Unpack

    from corgi._typing import OptimizerOptions


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012), centered (Graves 2013) or with momentum if asked.

    With gradient g and parameter p, as in PyTorch::

        g = g + weight_decay * p
        v = rho * v + (1 - rho) * g**2
        m = rho * m + (1 - rho) * g             (centered: v - m**2 instead of v in the next line)
        u = momentum * u + g / (sqrt(v) + epsilon)
        p = p - learning_rate * u

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    rho : float
        Decay rate of the averages, in [0, 1).
    epsilon, momentum, weight_decay : float
        At least 0.
    centered : bool
        Whether to divide by the standard deviation of the gradients instead of their root mean square.
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
    >>> optimizer = corgi.optimizer.RMSProp(0.25, rho=0.75)
    >>> (p * p).backward()
    >>> optimizer.step([p])
    >>> round(p.item(), 6)
    0.5
    """

    rho = Setting(below=1)
    epsilon = Setting()
    momentum = Setting()
    weight_decay = Setting()
    centered = Flag()

    def __init__(
        self,
        learning_rate: float = 1e-2,
        rho: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        centered: bool = False,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.epsilon = epsilon
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.centered = centered

    def _rule(self, settings: dict[str, float]) -> str:
        centered = "_centered" if settings["centered"] else ""
        return f"rmsprop{centered}_momentum" if settings["momentum"] else f"rmsprop{centered}"


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011).

    With gradient g and parameter p, as in PyTorch::

        g = g + weight_decay * p
        v = v + g**2
        p = p - learning_rate * g / (sqrt(initial + v) + epsilon)

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    epsilon, weight_decay : float
        At least 0.
    initial : float
        What the sum of squares starts with, at least 0.
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
    >>> optimizer = corgi.optimizer.Adagrad(0.25)
    >>> (p * p).backward()
    >>> optimizer.step([p])
    >>> round(p.item(), 6)
    0.75
    """

    epsilon = Setting()
    weight_decay = Setting()
    initial = Setting()

    def __init__(
        self,
        learning_rate: float = 1e-2,
        epsilon: float = 1e-10,
        weight_decay: float = 0.0,
        initial: float = 0.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.epsilon = epsilon
        self.weight_decay = weight_decay
        self.initial = initial

    def _rule(self, settings: dict[str, float]) -> str:
        return "adagrad"


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012), which finds its rate by itself.

    With gradient g and parameter p, as in PyTorch::

        g = g + weight_decay * p
        v = rho * v + (1 - rho) * g**2
        d = sqrt(u + epsilon) / sqrt(v + epsilon) * g
        u = rho * u + (1 - rho) * d**2
        p = p - learning_rate * d

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    rho : float
        Decay rate of the averages, in [0, 1).
    epsilon, weight_decay : float
        At least 0.
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
    >>> optimizer = corgi.optimizer.Adadelta(rho=0.75, epsilon=1.0)
    >>> (p * p).backward()
    >>> optimizer.step([p])
    >>> round(p.item(), 6)  # 1 - 2 / sqrt(2)
    -0.414214
    """

    rho = Setting(below=1)
    epsilon = Setting()
    weight_decay = Setting()

    def __init__(
        self,
        learning_rate: float = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.epsilon = epsilon
        self.weight_decay = weight_decay

    def _rule(self, settings: dict[str, float]) -> str:
        return "adadelta"


class Lion(Optimizer):
    """Lion (Chen et al. 2023, algorithm 2): a step of one size in each direction.

    With gradient g and parameter p::

        p = p - learning_rate * weight_decay * p
        p = p - learning_rate * sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g

    Good learning rates are 3 to 10 times smaller than AdamW's, and weight decay is as many times larger.

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    beta1, beta2 : float
        In [0, 1).
    weight_decay : float
        At least 0.
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
    >>> optimizer = corgi.optimizer.Lion(0.25)
    >>> (p * p).backward()
    >>> optimizer.step([p])
    >>> p
    Array([0.75], dtype=float64, tracked)
    """

    beta1 = Setting(below=1)
    beta2 = Setting(below=1)
    weight_decay = Setting()
    decoupled = Flag()

    def __init__(
        self,
        learning_rate: float = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
        **options: Unpack[OptimizerOptions],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta1, self.beta2 = beta1, beta2
        self.weight_decay = weight_decay
        self.decoupled = True

    def _rule(self, settings: dict[str, float]) -> str:
        return "lion"
