"""Activation functions, under one roof so that layers can take them by value or by name.

Above: layers, users.  Below: the ops of the package, which most of them are.

A layer takes a function of one array: `functools.partial(activation.leaky_relu, slope=0.2)` makes one of a function with a
parameter.  Other libraries' names where they differ: ``swish`` is `silu`; ``gelu(approximate="tanh")`` and ``gelu_new`` are
`gelu_tanh`; ``LeakyReLU(alpha)`` and ``leaky_relu(negative_slope)`` are `leaky_relu` with `slope`;
``Hardtanh(min_val, max_val)`` is `hardtanh` with `low` and `high`, ``ReLU6`` is `hardtanh` from 0 to 6; the slope that
`prelu` has for each channel of images has shape (channels, 1, 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi import _core
from corgi._core import (
    clip,
    gelu,
    gelu_tanh,
    log_softmax,
    mish,
    moveaxis,
    prelu,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from corgi.composite import as_array, axis_of

if TYPE_CHECKING:
    from corgi._core import Array
    from corgi._typing import Activation, ArrayLike

__all__ = [
    "elu",
    "gelu",
    "gelu_tanh",
    "get",
    "glu",
    "hardtanh",
    "identity",
    "leaky_relu",
    "log_softmax",
    "mish",
    "prelu",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def identity(x: Array) -> Array:
    """The input as it is.

    Parameters
    ----------
    x : Array

    Returns
    -------
    Array

    Examples
    --------
    >>> from corgi import activation, arr
    >>> activation.identity(arr([1.0, -1.0]))
    Array([ 1., -1.], dtype=float64)
    """
    return x


def elu(x: ArrayLike, alpha: ArrayLike = 1.0) -> Array:
    """Exponential linear unit: x for x > 0, else ``alpha * expm1(x)`` (Clevert et al. 2016).

    Parameters
    ----------
    x : array_like
    alpha : array_like
        Minus the limit at -infinity: a number, or an array that broadcasts with x and may be learned.

    Returns
    -------
    Array

    Examples
    --------
    >>> from corgi import activation
    >>> activation.elu([1.0, 0.0, -100.0])
    Array([ 1.,  0., -1.], dtype=float64)
    """
    return _core.elu(x, alpha)


def leaky_relu(x: ArrayLike, slope: ArrayLike = 0.01) -> Array:
    """Rectifier that is not flat: x for x > 0, else ``slope * x``. `prelu` is the same with a slope that is learned.

    Parameters
    ----------
    x : array_like
    slope : array_like
        The derivative below 0, and at 0.

    Returns
    -------
    Array

    Examples
    --------
    >>> from corgi import activation
    >>> activation.leaky_relu([1.0, -1.0], slope=0.25)
    Array([ 1.  , -0.25], dtype=float64)
    """
    return prelu(x, slope)


def hardtanh(x: ArrayLike, low: ArrayLike = -1.0, high: ArrayLike = 1.0) -> Array:
    """x limited to the interval from `low` to `high`; the derivative is 1 inside and at the ends, else 0.

    Parameters
    ----------
    x, low, high : array_like

    Returns
    -------
    Array

    Examples
    --------
    >>> from corgi import activation
    >>> activation.hardtanh([-3.0, 0.5, 3.0])
    Array([-1. ,  0.5,  1. ], dtype=float64)
    """
    return clip(x, low, high)


def glu(x: ArrayLike, axis: int = -1) -> Array:
    """Gated linear unit: the first half along an axis times the sigmoid of the second (Dauphin et al. 2017).

    Parameters
    ----------
    x : array_like
    axis : int
        Of even size.

    Returns
    -------
    Array
        With half the size along the axis.

    Raises
    ------
    ValueError
        If the size along the axis is odd, or there is no such axis.

    Examples
    --------
    >>> from corgi import activation
    >>> activation.glu([3.0, 5.0, 0.0, 0.0])
    Array([1.5, 2.5], dtype=float64)
    """
    x = as_array(x)
    last = moveaxis(x, axis_of("glu", axis, x.ndim), -1)
    size = last.shape[-1]
    if size % 2:
        raise ValueError(
            f"glu: expected an even size along the axis, got {size}; half of the values are gates for the others"
        )
    return moveaxis(last[..., : size // 2] * sigmoid(last[..., size // 2 :]), -1, axis)


_BY_NAME: dict[str, Activation] = {
    "elu": elu,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "glu": glu,
    "hardtanh": hardtanh,
    "identity": identity,
    "leaky_relu": leaky_relu,
    "log_softmax": log_softmax,
    "mish": mish,
    "relu": relu,
    "selu": selu,
    "sigmoid": sigmoid,
    "silu": silu,
    "softmax": softmax,
    "softplus": softplus,
    "tanh": tanh,
}


def get(activation: Activation | str | None) -> Activation | None:
    """An activation function from its name; callables and None are returned as they are.

    Parameters
    ----------
    activation : str, callable or None

    Returns
    -------
    callable or None

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For anything else.

    Examples
    --------
    >>> from corgi import activation
    >>> activation.get("relu") is activation.relu
    True
    """
    if activation is None or callable(activation):
        return activation
    if not isinstance(activation, str):
        raise TypeError(f"activation: expected a function, a name or None, got {type(activation).__name__}")
    if activation not in _BY_NAME:
        raise ValueError(f"activation: expected one of {', '.join(_BY_NAME)}, got {activation!r}")
    return _BY_NAME[activation]
