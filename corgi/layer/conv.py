"""Layers for images: convolution, pooling, flattening.

Above: users.  Below: the ops `corgi.conv`, `max_pool`, `avg_pool`, `reshape`.  Images are
(channels, rows, columns), alone or in batches (images, channels, rows, columns).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi import initializer as rules
from corgi._core import Array, array, avg_pool, conv, max_pool, reshape, zeros
from corgi.activation import get as get_activation
from corgi.layer.base import Layer, pair, size
from corgi.layer.dense import describe

if TYPE_CHECKING:
    from corgi._typing import Activation, ArrayLike, DTypeLike, Pair, Rule


class Conv(Layer):
    """A convolutional layer with one bias for each filter, ``activation(conv(x, weight) + bias)``.

    Parameters
    ----------
    input_channels, output_channels : int
        Channels of the images, and number of filters.
    kernel : int or pair of ints
        Rows and columns of the filters.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weight; `initializer.he()` by default. The bias starts at 0.
    activation : callable or str, optional
        A function from `corgi.activation`, its name, or any function of an Array.
    stride, padding, dilation : int or pair of ints
        Steps between windows; zeros added on each side; steps between the elements of a window.
    bias : bool
        Whether the layer has a bias.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (output_channels, input_channels, rows, columns)
    bias : Array or None
        (output_channels,)
    activation : callable or None

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer, the activation or the dtype is not one.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Conv(3, 16, (5, 5), activation="relu", padding=2)
    >>> layer(corgi.zeros((10, 3, 28, 28))).shape
    (10, 16, 28, 28)
    >>> layer
    Conv(3, 16, (5, 5), padding=(2, 2), activation=relu)
    """

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        kernel: Pair,
        initializer: Rule | None = None,
        activation: Activation | str | None = None,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        channels = (size(output_channels, "Conv", "output_channels"), size(input_channels, "Conv", "input_channels"))
        shape = channels + pair(kernel, "Conv", "kernel", 1)
        self.stride = pair(stride, "Conv", "stride", 1)
        self.padding = pair(padding, "Conv", "padding", 0)
        self.dilation = pair(dilation, "Conv", "dilation", 1)
        self.weight = rules.make(initializer, shape, dtype, "Conv")
        self.bias = zeros(shape[0], self.weight.dtype).tracked() if bias else None
        self.activation = get_activation(activation)

    def forward(self, x: ArrayLike) -> Array:
        """The output for one image or a batch; values that are not an Array take the layer's dtype."""
        if type(x) is not Array:
            x = array(x, self.weight.dtype)
        return conv(
            x,
            self.weight,
            self.stride,
            padding=self.padding,
            dilation=self.dilation,
            bias=self.bias,
            activation=self.activation,
        )

    def __repr__(self) -> str:
        outputs, inputs, *kernel = self.weight.shape
        text = f"Conv({inputs}, {outputs}, {tuple(kernel)}"
        for name, usual in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1))):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return f"{text}{describe(self)})"


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


class Flatten(Layer):
    """All axes but the first in one, or the last `axes` axes in one.

    Parameters
    ----------
    axes : int, optional
        How many of the last axes to join: 3 joins those of an image, alone or in a batch. By default all but the first.

    Raises
    ------
    TypeError, ValueError
        If `axes` is not an int of at least 1; on use, if an input has fewer axes.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.Flatten()(corgi.zeros((10, 3, 4, 4))).shape
    (10, 48)
    >>> corgi.layer.Flatten(3)(corgi.zeros((3, 4, 4))).shape
    (48,)
    """

    def __init__(self, axes: int | None = None) -> None:
        self.axes = None if axes is None else size(axes, "Flatten", "axes")

    def forward(self, x: ArrayLike) -> Array:
        """The input in its new shape."""
        if type(x) is not Array:
            x = array(x)
        kept = 1 if self.axes is None else x.ndim - self.axes
        if not 0 <= kept <= x.ndim:
            raise ValueError(f"Flatten: expected an input with at least {self.axes or 1} axes, got shape {x.shape}")
        shape, joined = x.shape, 1
        for edge in shape[kept:]:
            joined *= edge
        return reshape(x, (*shape[:kept], joined))

    def __repr__(self) -> str:
        return "Flatten()" if self.axes is None else f"Flatten({self.axes})"
