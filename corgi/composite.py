"""Functions written in terms of other operations: triangles and diagonals, sorting, rearrangements, comparisons of arrays.

Above: users.  Below: the operations of `corgi._core`, which make these differentiable to any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from corgi._core import (
    Array,
    array,
    broadcast_to,
    concatenate,
    reshape,
    rint,
    sqrt,
    square,
    take,
    take_along_axis,
    transpose,
    where,
)
from corgi._core import sum as sum_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corgi._typing import ArrayLike, Axis, Shape

__all__ = [
    "allclose",
    "argsort",
    "array_equal",
    "diagonal",
    "flip",
    "isclose",
    "norm",
    "ravel",
    "repeat",
    "roll",
    "round",
    "sort",
    "tile",
    "trace",
    "tril",
    "triu",
]


def as_array(a: ArrayLike) -> Array:
    """`a` itself if it is an Array, else its values as one."""
    return a if type(a) is Array else array(a)


def int_of(name: str, value: SupportsIndex, what: str) -> int:
    """An int given as an argument."""
    try:
        return value.__index__()
    except AttributeError:
        raise TypeError(f"{name}: expected an int for {what}, got {type(value).__name__}") from None


def axis_of(name: str, axis: SupportsIndex, ndim: int) -> int:
    """An axis as a number from 0."""
    found = int_of(name, axis, "the axis")
    if not -ndim <= found < ndim:
        raise IndexError(f"{name}: axis {found} is out of range for an array with {ndim} axes")
    return found % ndim


def axes_of(name: str, axes: Shape, ndim: int) -> list[int]:
    """An int or a sequence of ints as a list of different axes from 0."""
    found = [axis_of(name, axis, ndim) for axis in (axes if isinstance(axes, (tuple, list)) else (axes,))]
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: an axis is named twice in {axes}")
    return found


def permuted(x: Array, order: Sequence[int]) -> Array:
    """x with its axes in another order; x itself if that is the order they have."""
    return x if list(order) == list(range(x.ndim)) else transpose(x, order)


# ---- matrices


def diagonal(a: ArrayLike, offset: SupportsIndex = 0, axis1: SupportsIndex = 0, axis2: SupportsIndex = 1) -> Array:
    """The diagonals of the matrices that two axes form.

    Parameters
    ----------
    a : array_like
    offset : int
        Above the main diagonal, or below it if negative.
    axis1, axis2 : int

    Returns
    -------
    Array
        Without the two axes; the diagonal is the last axis.

    Raises
    ------
    ValueError
        If the array has fewer than two axes or the axes are the same.

    Examples
    --------
    >>> import corgi
    >>> corgi.diagonal([[1, 2], [3, 4]])
    Array([1, 4], dtype=int64)
    """
    x = as_array(a)
    if x.ndim < 2:
        raise ValueError(f"diagonal: expected an array with at least two axes, got shape {x.shape}")
    i, j = axes_of("diagonal", (axis1, axis2), x.ndim)
    x = permuted(x, [axis for axis in range(x.ndim) if axis not in (i, j)] + [i, j])
    rows, columns = x.shape[-2:]
    offset = int_of("diagonal", offset, "offset")
    length = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = offset if offset >= 0 else -offset * columns
    flat = reshape(x, (*x.shape[:-2], rows * columns))
    return flat[..., start : start + length * (columns + 1) : columns + 1]  # one step to the right and one row down


def trace(a: ArrayLike, offset: SupportsIndex = 0, axis1: SupportsIndex = 0, axis2: SupportsIndex = 1) -> Array:
    """The sums of the diagonals of the matrices that two axes form; see `diagonal`.

    Parameters
    ----------
    a : array_like
    offset, axis1, axis2 : int

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.trace([[1.0, 2.0], [3.0, 4.0]])
    Array(5., dtype=float64)
    """
    return sum_over(diagonal(a, offset, axis1, axis2), -1)


def tril(a: ArrayLike, k: SupportsIndex = 0) -> Array:
    """The lower triangle of matrices (the last two axes); zeros above diagonal number `k`.

    Parameters
    ----------
    a : array_like
        Of shape (..., m, n).
    k : int

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.tril([[1, 2], [3, 4]])
    Array([[1, 0],
           [3, 4]], dtype=int64)
    """
    return _triangle("tril", a, k, True)


def triu(a: ArrayLike, k: SupportsIndex = 0) -> Array:
    """The upper triangle of matrices (the last two axes); zeros below diagonal number `k`.

    Parameters
    ----------
    a : array_like
        Of shape (..., m, n).
    k : int

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.triu([[1, 2], [3, 4]])
    Array([[1, 2],
           [0, 4]], dtype=int64)
    """
    return _triangle("triu", a, int_of("triu", k, "k") - 1, False)


def _triangle(name: str, a: ArrayLike, k: SupportsIndex, lower: bool) -> Array:
    x = as_array(a)
    if x.ndim < 2:
        raise ValueError(f"{name}: expected an array with at least two axes, got shape {x.shape}")
    rows, columns = x.shape[-2:]
    k = max(-rows - 1, min(int_of(name, k, "k"), columns))  # NumPy takes no larger ones than int64
    mask = np.tri(rows, columns, k, dtype=bool)
    return where(array(mask if lower else ~mask), x, 0)


def norm(a: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Euclidean norm over axes: the square root of the sum of squares. At zero its gradient is taken to be zero.

    Parameters
    ----------
    a : array_like
    axis : int or sequence of ints, optional
        All axes by default.
    keepdims : bool
        Keep the axes, with size 1.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.norm([3.0, 4.0])
    Array(5., dtype=float64)
    """
    total = sum_over(square(as_array(a)), axis, keepdims=keepdims)
    zero = total == 0
    return where(zero, 0.0, sqrt(where(zero, 1, total)))


# ---- order and place of elements


def argsort(a: ArrayLike, axis: SupportsIndex | None = -1) -> Array:
    """Indices that put the elements along an axis in ascending order; equal ones keep their order, NaN comes last.

    Parameters
    ----------
    a : array_like
    axis : int or None
        None: of all elements, as one axis.

    Returns
    -------
    Array
        int64.

    Examples
    --------
    >>> import corgi
    >>> corgi.argsort([3.0, 1.0, 2.0])
    Array([1, 2, 0], dtype=int64)
    """
    x = as_array(a)
    if axis is not None:
        axis = axis_of("argsort", axis, x.ndim)
    return array(np.argsort(x.numpy(), axis=axis, kind="stable"))


def sort(a: ArrayLike, axis: SupportsIndex | None = -1) -> Array:
    """The elements along an axis in ascending order, NaN last.

    Parameters
    ----------
    a : array_like
    axis : int or None
        None: of all elements, as one axis.

    Returns
    -------
    Array
        The gradient goes back to where each element came from.

    Examples
    --------
    >>> import corgi
    >>> corgi.sort([3.0, 1.0, 2.0])
    Array([1., 2., 3.], dtype=float64)
    """
    x = as_array(a)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of("sort", axis, x.ndim)
    if not x.is_tracked:
        return array(np.sort(x.numpy(), axis=axis))
    return take_along_axis(x, np.argsort(x.numpy(), axis=axis, kind="stable"), axis)


def flip(a: ArrayLike, axis: Axis = None) -> Array:
    """The elements in reverse order along axes: a view.

    Parameters
    ----------
    a : array_like
    axis : int or sequence of ints, optional
        All axes by default.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.flip([1, 2, 3])
    Array([3, 2, 1], dtype=int64)
    """
    x = as_array(a)
    axes = range(x.ndim) if axis is None else axes_of("flip", axis, x.ndim)
    return x[tuple([slice(None, None, -1 if i in axes else 1) for i in range(x.ndim)])]


def roll(a: ArrayLike, shift: Shape, axis: Axis = None) -> Array:
    """The elements moved along axes; what leaves at the end comes in at the start.

    Parameters
    ----------
    a : array_like
    shift : int or sequence of ints
        By how many places, for each axis.
    axis : int or sequence of ints, optional
        By default all elements are moved as one axis.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If there are not as many shifts as axes.

    Examples
    --------
    >>> import corgi
    >>> corgi.roll([1, 2, 3], 1)
    Array([3, 1, 2], dtype=int64)
    """
    x = as_array(a)
    if axis is None:
        return reshape(roll(ravel(x), shift, 0), x.shape)
    axes = axes_of("roll", axis, x.ndim)
    shifts = shift if isinstance(shift, (tuple, list)) else [shift] * len(axes)
    if len(shifts) != len(axes):
        raise ValueError(f"roll: expected {len(axes)} shifts, one for each axis, got {len(shifts)}")
    for i, places in zip(axes, shifts, strict=True):
        size = x.shape[i]
        cut = -int_of("roll", places, "shift") % size if size else 0
        if cut:
            before = (slice(None),) * i
            x = concatenate([x[(*before, slice(cut, None))], x[(*before, slice(None, cut))]], i)
    return x


def repeat(a: ArrayLike, repeats: Shape, axis: SupportsIndex | None = None) -> Array:
    """Each element repeated along an axis.

    Parameters
    ----------
    a : array_like
    repeats : int or array_like of int
        How often: one number for all, or one for each element along the axis.
    axis : int, optional
        By default all elements are taken as one axis.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If a number is negative, or there are not as many as elements.

    Examples
    --------
    >>> import corgi
    >>> corgi.repeat([1, 2], [2, 1])
    Array([1, 1, 2], dtype=int64)
    """
    x = as_array(a)
    if axis is None:
        x, axis = ravel(x), 0
    axis = axis_of("repeat", axis, x.ndim)
    counts = np.asarray(repeats)
    if counts.dtype.kind not in "iu" and counts.size:
        raise TypeError(f"repeat: expected ints, got {counts.dtype}")
    if counts.ndim > 1 or counts.size not in (1, x.shape[axis]):
        raise ValueError(f"repeat: expected one number or {x.shape[axis]}, got shape {counts.shape}")
    if counts.size and counts.min() < 0:
        raise ValueError(f"repeat: expected numbers of at least 0, got {repeats}")
    return take(x, np.repeat(np.arange(x.shape[axis]), counts.astype(np.int64)), axis)


def tile(a: ArrayLike, reps: Shape) -> Array:
    """The whole array repeated along axes.

    Parameters
    ----------
    a : array_like
    reps : int or sequence of ints
        How often along each axis, counted from the last; more of them than axes add axes at the front.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If a number is negative.

    Examples
    --------
    >>> import corgi
    >>> corgi.tile([1, 2], (2, 2))
    Array([[1, 2, 1, 2],
           [1, 2, 1, 2]], dtype=int64)
    """
    x = as_array(a)
    counts: tuple[Any, ...] = tuple(reps) if isinstance(reps, (tuple, list)) else (reps,)
    for count in counts:
        if not hasattr(count, "__index__"):
            raise TypeError(f"tile: expected ints, got {type(count).__name__}")
        if count < 0:
            raise ValueError(f"tile: expected numbers of at least 0, got {counts}")
    x = broadcast_to(x, (1,) * (len(counts) - x.ndim) + x.shape)
    for axis, count in enumerate(counts, x.ndim - len(counts)):
        if count != 1:
            x = take(x, np.tile(np.arange(x.shape[axis]), count), axis)
    return x


def ravel(a: ArrayLike) -> Array:
    """The array with one axis, in row-major order: a view where the values are contiguous.

    Parameters
    ----------
    a : array_like

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.ravel([[1, 2], [3, 4]])
    Array([1, 2, 3, 4], dtype=int64)
    """
    return reshape(as_array(a), (-1,))


# ---- values


def round(a: ArrayLike, decimals: SupportsIndex = 0) -> Array:
    """The nearest numbers with so many decimals; halves go to the even neighbour. The gradient is zero.

    Parameters
    ----------
    a : array_like
    decimals : int
        Negative: places before the point.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.round([1.25, 2.5], 1)
    Array([1.2, 2.5], dtype=float64)
    """
    x, decimals = as_array(a), int_of("round", decimals, "decimals")
    if x.dtype.kind != "f":
        return x.copy() if decimals >= 0 else array(np.round(x.numpy(), decimals))
    if decimals == 0:
        return rint(x)
    scale = 10.0 ** abs(decimals)
    return rint(x * scale) / scale if decimals > 0 else rint(x / scale) * scale


def isclose(a: ArrayLike, b: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Elementwise, whether ``abs(a - b) <= atol + rtol * abs(b)``; equal infinities are close.

    Parameters
    ----------
    a, b : array_like
        They broadcast.
    rtol, atol : float
    equal_nan : bool
        Count NaN as close to NaN.

    Returns
    -------
    Array
        bool.

    Examples
    --------
    >>> import corgi
    >>> corgi.isclose([1.0, 2.0], [1.0 + 1e-9, 2.1])
    Array([ True, False], dtype=bool)
    """
    return array(np.isclose(as_array(a).numpy(), as_array(b).numpy(), rtol, atol, equal_nan))


def allclose(a: ArrayLike, b: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close; see `isclose`.

    Parameters
    ----------
    a, b : array_like
    rtol, atol : float
    equal_nan : bool

    Returns
    -------
    bool

    Examples
    --------
    >>> import corgi
    >>> corgi.allclose([1.0, 2.0], [1.0, 2.0 + 1e-9])
    True
    """
    return bool(np.allclose(as_array(a).numpy(), as_array(b).numpy(), rtol, atol, equal_nan))


def array_equal(a: ArrayLike, b: ArrayLike, equal_nan: bool = False) -> bool:
    """Whether two arrays have the same shape and equal elements.

    Parameters
    ----------
    a, b : array_like
    equal_nan : bool
        Count NaN as equal to NaN.

    Returns
    -------
    bool

    Examples
    --------
    >>> import corgi
    >>> corgi.array_equal([1.0, 2.0], [1.0, 2.0]), corgi.array_equal([1.0], [[1.0]])
    (True, False)
    """
    return bool(np.array_equal(as_array(a).numpy(), as_array(b).numpy(), equal_nan))
