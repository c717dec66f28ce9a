"""Pooling layers: the maximum or the mean of windows, or of whole images.

Above: users.  Below: the ops `max_pool`, `avg_pool`, `max`, `mean`.  Images are (channels, rows, columns), alone or in
batches (images, channels, rows, columns); series are (channels, length) or (series, channels, length).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi._core import Array, array, avg_pool, expand_dims, max_pool, mean, reshape
from corgi._core import max as largest
from corgi.layer.base import Layer, pair
from corgi.layer.base import size as checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from corgi._typing import ArrayLike, Pair


class Pool(Layer):
    """What the pooling layers share: windows of a size, every `stride` rows and columns."""

    def __init__(self, size: Pair, stride: Pair | None = None, *, padding: Pair = 0) -> None:
        name = type(self).__name__
        self.size = pair(size, name, "size", 1)
        self.stride = self.size if stride is None else pair(stride, name, "stride", 1)
        self.padding = pair(padding, name, "padding", 0)
        if any(2 * width > edge for width, edge in zip(self.padding, self.size, strict=True)):
            raise ValueError(f"{name}: expected padding of at most half the window {self.size}, got {self.padding}")

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self.size}"
        if self.stride != self.size:
            text += f", stride={self.stride}"
        return f"{text}, padding={self.padding})" if any(self.padding) else f"{text})"


class MaxPool(Pool):
    """The maximum of each window.

    Parameters
    ----------
    size : int or pair of ints
        Rows and columns of the window.
    stride : int or pair of ints, optional
        Steps between windows; `size` by default.
    padding : int or pair of ints
        Rows and columns added on each side; they never are the maximum.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.MaxPool(2)(corgi.arr([[[1.0, 2.0], [3.0, 4.0]]]))
    Array([[[4.]]], dtype=float64)
    """

    def forward(self, x: ArrayLike) -> Array:
        """The output for one image or a batch."""
        return max_pool(x, self.size, self.stride, padding=self.padding)


class AvgPool(Pool):
    """The mean of each window.

    Parameters
    ----------
    size : int or pair of ints
        Rows and columns of the window.
    stride : int or pair of ints, optional
        Steps between windows; `size` by default.
    padding : int or pair of ints
        Zeros added on each side; they count in the mean.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.AvgPool(2)(corgi.arr([[[1.0, 2.0], [3.0, 4.0]]]))
    Array([[[2.5]]], dtype=float64)
    """

    def forward(self, x: ArrayLike) -> Array:
        """The output for one image or a batch."""
        return avg_pool(x, self.size, self.stride, padding=self.padding)


class Pool1d(Layer):
    """What the pooling layers for series share."""

    def __init__(self, size: int, stride: int | None = None, *, padding: int = 0) -> None:
        name = type(self).__name__
        self.size = checked(size, name, "size")
        self.stride = self.size if stride is None else checked(stride, name, "stride")
        self.padding = checked(padding, name, "padding", 0)
        if 2 * self.padding > self.size:
            raise ValueError(f"{name}: expected padding of at most half the window {self.size}, got {self.padding}")

    def _pooled(self, op: Callable[..., Array], x: ArrayLike) -> Array:
        """The op over a series as an image of one row."""
        if type(x) is not Array:
            x = array(x)
        if x.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: expected a series (channels, length) or a batch (series, channels, length), "
                f"got shape {x.shape}"
            )
        y = op(expand_dims(x, -2), (1, self.size), (1, self.stride), padding=(0, self.padding))
        return reshape(y, (*y.shape[:-2], y.shape[-1]))

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self.size}"
        if self.stride != self.size:
            text += f", stride={self.stride}"
        return f"{text}, padding={self.padding})" if self.padding else f"{text})"


class MaxPool1d(Pool1d):
    """The maximum of each window of a series.

    Parameters
    ----------
    size : int
        Length of the window.
    stride : int, optional
        Steps between windows; `size` by default.
    padding : int
        Elements added on each side; they never are the maximum.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.MaxPool1d(2)([[1.0, 3.0, 2.0, 4.0]])
    Array([[3., 4.]], dtype=float64)
    """

    def forward(self, x: ArrayLike) -> Array:
        """The output for one series or a batch."""
        return self._pooled(max_pool, x)


class AvgPool1d(Pool1d):
    """The mean of each window of a series.

    Parameters
    ----------
    size : int
        Length of the window.
    stride : int, optional
        Steps between windows; `size` by default.
    padding : int
        Zeros added on each side; they count in the mean.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.AvgPool1d(2)([[1.0, 3.0, 2.0, 4.0]])
    Array([[2., 3.]], dtype=float64)
    """

    def forward(self, x: ArrayLike) -> Array:
        """The output for one series or a batch."""
        return self._pooled(avg_pool, x)


class GlobalPool(Layer):
    """What the pooling layers over whole images share."""

    def __init__(self, axes: int = 2) -> None:
        self.axes = checked(axes, type(self).__name__, "axes")

    def _operand(self, x: ArrayLike) -> Array:
        if type(x) is not Array:
            x = array(x)
        if x.ndim < self.axes:
            raise ValueError(f"{type(self).__name__}: expected an input with at least {self.axes} axes, got shape {x.shape}")
        return x

    def __repr__(self) -> str:
        return f"{type(self).__name__}()" if self.axes == 2 else f"{type(self).__name__}({self.axes})"


class GlobalMaxPool(GlobalPool):
    """The maximum of each channel, over all rows and columns.

    Parameters
    ----------
    axes : int
        How many of the last axes to pool: 2 for images, 1 for series.

    Raises
    ------
    TypeError, ValueError
        If `axes` is not an int of at least 1; on use, if an input has fewer axes.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.GlobalMaxPool()([[[1.0, 2.0], [3.0, 4.0]]])
    Array([4.], dtype=float64)
    """

    def forward(self, x: ArrayLike) -> Array:
        """The input without its last axes."""
        return largest(self._operand(x), tuple(range(-self.axes, 0)))


class GlobalAvgPool(GlobalPool):
    """The mean of each channel, over all rows and columns.

    Parameters
    ----------
    axes : int
        How many of the last axes to pool: 2 for images, 1 for series.

    Raises
    ------
    TypeError, ValueError
        If `axes` is not an int of at least 1; on use, if an input has fewer axes.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.GlobalAvgPool()([[[1.0, 2.0], [3.0, 4.0]]])
    Array([2.5], dtype=float64)
    """

    def forward(self, x: ArrayLike) -> Array:
        """The input without its last axes."""
        return mean(self._operand(x), tuple(range(-self.axes, 0)))
