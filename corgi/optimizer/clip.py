"""Gradients of many parameters together: their norm, limits, scaling.

Above: users, and optimizers that clip.  Below: `gradient_squares`, a kernel, and operations on arrays.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corgi._core import absolute, clip, gradient_squares, multiply_gradients
from corgi._core import max as _max
from corgi.optimizer.checks import listed, number

if TYPE_CHECKING:
    from corgi._core import Array


def clip_norm(parameters: Iterable[Array], limit: float, *, finite: bool = False) -> float:
    """Scale all gradients together so that their norm is at most a limit (Pascanu et al. 2013).

    The norm is that of all elements of all gradients as one vector; it neither overflows nor underflows on the way. Every
    gradient is multiplied by ``limit / norm`` where the norm is above the limit. That is also done with a norm that is not
    finite, as in PyTorch: a NaN makes all gradients NaN, an infinity makes itself NaN and the finite ones 0.

    Parameters
    ----------
    parameters : iterable of Arrays
        Those without a gradient are left out.
    limit : float
        At least 0.
    finite : bool
        Whether to raise an error instead if the norm is not finite.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a float Array, the limit no such number, or, with `finite`, the norm infinite or NaN; then
        nothing has changed.

    Examples
    --------
    >>> import corgi
    >>> a, b = corgi.arr([1.0]).tracked(), corgi.arr([2.0]).tracked()
    >>> corgi.sum(3 * a + 4 * b).backward()
    >>> corgi.optimizer.clip_norm([a, b], 1.0)
    5.0
    >>> a.gradient, b.gradient
    (Array([0.6], dtype=float64), Array([0.8], dtype=float64))
    """
    limit = number(limit, "clip_norm", "limit")
    arrays = parameters if type(parameters) is list else listed(parameters, "clip_norm")
    norm = _norm(arrays)
    if finite and not math.isfinite(norm):
        raise ValueError(f"clip_norm: expected gradients with a finite norm, got {norm}")
    if not norm <= limit:  # or if it is NaN
        multiply_gradients(arrays, "clip_norm", limit / norm)
    return norm


def clip_value(parameters: Iterable[Array], limit: float) -> None:
    """Limit every element of the gradients to ``[-limit, limit]``; NaN stays NaN.

    Parameters
    ----------
    parameters : iterable of Arrays
        Those without a gradient are left out.
    limit : float
        At least 0.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a float Array or the limit no such number; then nothing has changed.

    Examples
    --------
    >>> import corgi
    >>> a = corgi.arr([1.0, -2.0, 0.25]).tracked()
    >>> corgi.sum(a * a).backward()
    >>> corgi.optimizer.clip_value([a], 1.0)
    >>> a.gradient
    Array([ 1. , -1. ,  0.5], dtype=float64)
    """
    limit = number(limit, "clip_value", "limit")
    arrays = [array for array in listed(parameters, "clip_value") if array.gradient is not None]
    limited = [clip(array.gradient.detach(), -limit, limit) for array in arrays if array.gradient is not None]
    for array, gradient in zip(arrays, limited, strict=True):
        array.gradient = gradient


def scale_gradients(parameters: Iterable[Array], factor: float) -> None:
    """Multiply the gradients by a number: by 1 / n after n backward passes, so that they are the mean and not the sum.

    Parameters
    ----------
    parameters : iterable of Arrays
        Those without a gradient are left out.
    factor : float

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a float Array or the factor not a finite number; then nothing has changed.

    Examples
    --------
    >>> import corgi
    >>> a = corgi.arr([1.0]).tracked()
    >>> for x in (1.0, 3.0):
    ...     (a * x).backward()
    >>> corgi.optimizer.scale_gradients([a], 0.5)
    >>> a.gradient
    Array([2.], dtype=float64)
    """
    factor = number(factor, "scale_gradients", "factor", least=-sys.float_info.max)
    multiply_gradients(listed(parameters, "scale_gradients"), "scale_gradients", factor)


def _norm(arrays: list[Array]) -> float:
    """Square root of the sum of squares, which is taken again at another scale where it is too large or too small."""
    total = gradient_squares(arrays, "clip_norm")
    if 1e-290 < total < math.inf:
        return math.sqrt(total)
    if math.isnan(total):
        return math.nan
    gradients = [array.gradient for array in arrays]
    largest = max((float(_max(absolute(g.detach()))) for g in gradients if g is not None and g.size), default=0.0)
    if largest in (0.0, math.inf):
        return largest
    exponent = min(max(math.frexp(largest)[1], -1000), 1000)
    return math.sqrt(gradient_squares(arrays, "clip_norm", 2.0**-exponent)) * 2.0**exponent
