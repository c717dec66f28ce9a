"""Gradients of many parameters together: their norm, limits, scaling.

Above: users, and optimizers that clip.  Below: `sum_squares`, a kernel, and operations on arrays.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corgi._core import absolute, clip, multiply, sum_squares
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
    arrays, gradients = _gradients(parameters, "clip_norm")
    norm = _norm(gradients)
    if finite and not math.isfinite(norm):
        raise ValueError(f"clip_norm: expected gradients with a finite norm, got {norm}")
    if not norm <= limit:  # or if it is NaN
        _give(arrays, [multiply(gradient, limit / norm) for gradient in gradients])
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
    arrays, gradients = _gradients(parameters, "clip_value")
    _give(arrays, [clip(gradient, -limit, limit) for gradient in gradients])


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
    arrays, gradients = _gradients(parameters, "scale_gradients")
    _give(arrays, [multiply(gradient, factor) for gradient in gradients])


def _gradients(parameters: Iterable[Array], op: str) -> tuple[list[Array], list[Array]]:
    """The parameters, each once, that have gradients; and these, outside the graph."""
    pairs = [(array, array.gradient) for array in dict.fromkeys(listed(parameters, op))]
    found = [(array, gradient.detach()) for array, gradient in pairs if gradient is not None]
    return [array for array, _ in found], [gradient for _, gradient in found]


def _give(arrays: list[Array], gradients: list[Array]) -> None:
    for array, gradient in zip(arrays, gradients, strict=True):
        array.gradient = gradient


def _norm(gradients: list[Array]) -> float:
    """Square root of the sum of squares, which is taken again at another scale where it is too large or too small."""
    total = sum(map(sum_squares, gradients))
    if 1e-290 < total < math.inf:
        return math.sqrt(total)
    if math.isnan(total):
        return math.nan
    largest = max((float(_max(absolute(gradient))) for gradient in gradients if gradient.size), default=0.0)
    if largest in (0.0, math.inf):
        return largest
    exponent = min(max(math.frexp(largest)[1], -1000), 1000)
    return math.sqrt(sum(sum_squares(gradient, 2.0**-exponent) for gradient in gradients)) * 2.0**exponent
