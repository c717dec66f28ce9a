"""Costs: functions of an output and a target that give one number, an Array without axes.

Above: `Model`, users.  Below: the ops of the package.  The target takes the output's dtype, and shapes never broadcast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi._core import Array, array, cross_entropy, mean, softmax_cross_entropy, square

if TYPE_CHECKING:
    from corgi._typing import ArrayLike

__all__ = ["cross_entropy", "mse", "softmax_cross_entropy"]


def mse(output: ArrayLike, target: ArrayLike) -> Array:
    """Mean of the squared differences over all elements, ``mean((output - target)**2)``.

    Parameters
    ----------
    output : array_like
        Of any shape, with at least one element.
    target : array_like
        Of the same shape.

    Returns
    -------
    Array
        Without axes, in the output's dtype.

    Raises
    ------
    ValueError
        If the shapes differ, or there are no elements.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.mse([1.0, 2.0], [1.0, 4.0])
    Array(2., dtype=float64)
    """
    if type(output) is not Array:
        output = array(output)
    if type(target) is not Array or target.dtype is not output.dtype:
        target = array(target, output.dtype)
    if output.shape != target.shape:
        raise ValueError(f"mse: expected a target of the output's shape {output.shape}, got {target.shape}")
    if not output.size:
        raise ValueError(f"mse: expected at least one element, got shape {output.shape}")
    return mean(square(output - target))
