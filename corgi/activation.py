"""Activation functions, under one roof so that layers can take them by value or by name.

Above: layers, users.  Below: the ops of the package, which these are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi._core import log_softmax, relu, sigmoid, softmax, softplus, tanh

if TYPE_CHECKING:
    from corgi._core import Array
    from corgi._typing import Activation

__all__ = ["get", "identity", "log_softmax", "relu", "sigmoid", "softmax", "softplus", "tanh"]


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


_BY_NAME: dict[str, Activation] = {
    "identity": identity,
    "log_softmax": log_softmax,
    "relu": relu,
    "sigmoid": sigmoid,
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
