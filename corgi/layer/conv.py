"""Convolutional layers, and flattening.

Above: users.  Below: the ops `corgi.conv` and `corgi.conv_transpose`.  Images are (channels, rows, columns), alone or in
batches (images, channels, rows, columns); series are (channels, length), alone or in batches: to the ops images of one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi import initializer as rules
from corgi._core import Array, array, conv, conv_transpose, expand_dims, reshape, zeros
from corgi.activation import get as get_activation
from corgi.layer.base import Layer, pair, size
from corgi.layer.dense import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corgi._typing import Activation, ArrayLike, DTypeLike, Pair, Rule


class Convolution(Layer):
    """What the convolutional layers share: their settings, and the bias and activation at the end."""

    _axes = 2
    _transposed = False

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        kernel: Pair,
        initializer: Rule | None = None,
        activation: Activation | str | None = None,
        *,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        name = type(self).__name__
        channels = (size(input_channels, name, "input_channels"), size(output_channels, name, "output_channels"))
        self.groups = size(groups, name, "groups")
        if any(count % self.groups for count in channels):
            raise ValueError(f"{name}: expected groups that divide the channels {channels}, got {groups}")
        first, second = channels if self._transposed else channels[::-1]
        self.stride = self._sizes(stride, "stride", 1)
        if isinstance(padding, str) and (self._transposed or padding not in ("same", "valid")):
            known = "" if self._transposed else "'same', 'valid' or "
            raise ValueError(f"{name}: expected padding {known}an int or a pair of ints, got {padding!r}")
        self.padding = padding if isinstance(padding, str) else self._sizes(padding, "padding", 0)
        self.dilation = self._sizes(dilation, "dilation", 1)
        shape = (first, second // self.groups, *self._sizes(kernel, "kernel", 1))
        self.weight = rules.make(initializer, shape, dtype, name)
        self.bias = zeros(channels[1], self.weight.dtype).tracked() if bias else None
        self.activation = get_activation(activation)

    def _sizes(self, value: Pair, what: str, least: int) -> tuple[int, ...]:
        """A setting for each axis."""
        name = type(self).__name__
        if self._axes == 2:
            return pair(value, name, what, least)
        return (size(value, name, what, least),)  # type: ignore[arg-type]

    def _operand(self, x: ArrayLike) -> Array:
        """The input as an Array; values that are not one take the layer's dtype."""
        if type(x) is not Array:
            x = array(x, self.weight.dtype)
        if self._axes == 2:
            return x
        if x.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: expected a series (channels, length) or a batch (series, channels, length), "
                f"got shape {x.shape}"
            )
        return expand_dims(x, -2)

    def __repr__(self) -> str:
        first, second, *kernel = self.weight.shape
        channels = (first, second * self.groups)
        inputs, outputs = channels if self._transposed else channels[::-1]
        text = f"{type(self).__name__}({inputs}, {outputs}, {_short(kernel)}"
        for name, usual in (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1)):
            value = getattr(self, name, (usual,))
            if isinstance(value, str) or any(v != usual for v in value):
                text += f", {name}={value!r}" if isinstance(value, str) else f", {name}={_short(value)}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return f"{text}{describe(self)})"


def _short(sizes: Sequence[int]) -> str:
    return str(sizes[0] if len(sizes) == 1 else tuple(sizes))


def _for_rows(sizes: tuple[int, ...], of_the_row: int) -> tuple[int, ...]:
    """The sizes of a series for an image of one row."""
    return (of_the_row, *sizes) if len(sizes) == 1 else sizes


class Conv(Convolution):
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
    stride, dilation : int or pair of ints
        Steps between windows; steps between the elements of a window.
    padding : int or pair of ints, "valid" or "same"
        Zeros added on each side; "valid" adds none, "same" as many as give a result of ceil(size / stride).
    groups : int
        Channels and filters are split into so many groups, each convolved by itself; with `input_channels` groups the layer
        is a depthwise convolution.
    bias : bool
        Whether the layer has a bias.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (output_channels, input_channels / groups, rows, columns)
    bias : Array or None
        (output_channels,)
    activation : callable or None

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer, the activation or the dtype is not one, or the groups do not divide the channels.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Conv(3, 16, (5, 5), activation="relu", padding=2)
    >>> layer(corgi.zeros((10, 3, 28, 28))).shape
    (10, 16, 28, 28)
    >>> layer
    Conv(3, 16, (5, 5), padding=(2, 2), activation=relu)
    """

    def forward(self, x: ArrayLike) -> Array:
        """The output for one image or a batch; values that are not an Array take the layer's dtype."""
        return conv(
            self._operand(x),
            self.weight,
            self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            bias=self.bias,
            activation=self.activation,
        )


class Conv1d(Convolution):
    """A convolution over series, ``activation(conv(x, weight) + bias)`` along the last axis.

    Parameters
    ----------
    input_channels, output_channels : int
        Channels of the series, and number of filters.
    kernel : int
        Length of the filters.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weight; `initializer.he()` by default. The bias starts at 0.
    activation : callable or str, optional
        A function from `corgi.activation`, its name, or any function of an Array.
    stride, dilation : int
        Steps between windows; steps between the elements of a window.
    padding : int, "valid" or "same"
        Zeros added on each side; "valid" adds none, "same" as many as give a result of ceil(length / stride).
    groups : int
        Channels and filters are split into so many groups, each convolved by itself.
    bias : bool
        Whether the layer has a bias.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (output_channels, input_channels / groups, kernel)
    bias : Array or None
        (output_channels,)
    activation : callable or None

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer, the activation or the dtype is not one, or the groups do not divide the channels.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Conv1d(2, 8, 5, activation="relu", padding="same")
    >>> layer(corgi.zeros((10, 2, 100))).shape
    (10, 8, 100)
    >>> layer
    Conv1d(2, 8, 5, padding='same', activation=relu)
    """

    _axes = 1

    def forward(self, x: ArrayLike) -> Array:
        """The output for one series or a batch; values that are not an Array take the layer's dtype."""
        y = conv(
            self._operand(x),
            expand_dims(self.weight, -2),
            _for_rows(self.stride, 1),
            padding=self.padding if isinstance(self.padding, str) else _for_rows(self.padding, 0),
            dilation=_for_rows(self.dilation, 1),
            groups=self.groups,
            bias=self.bias,
            activation=self.activation,
        )
        return reshape(y, (*y.shape[:-2], y.shape[-1]))


class ConvTranspose(Convolution):
    """A transposed convolution, ``activation(conv_transpose(x, weight) + bias)``, which makes images larger by its stride.

    Parameters
    ----------
    input_channels, output_channels : int
        Channels of the images and of the results.
    kernel : int or pair of ints
        Rows and columns of the filters.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weight; `initializer.he()` by default. The bias starts at 0.
    activation : callable or str, optional
        A function from `corgi.activation`, its name, or any function of an Array.
    stride, dilation : int or pair of ints
        Steps between the places of the filter; steps between its elements.
    padding : int or pair of ints
        Rows and columns of the result left away on each side.
    output_padding : int or pair of ints
        Rows and columns added at the end of the result, fewer than `stride`.
    groups : int
        The channels are split into so many groups, each with filters of its own.
    bias : bool
        Whether the layer has a bias.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (input_channels, output_channels / groups, rows, columns)
    bias : Array or None
        (output_channels,)
    activation : callable or None

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer, the activation or the dtype is not one, or the groups do not divide the channels.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.ConvTranspose(16, 3, 4, stride=2, padding=1)
    >>> layer(corgi.zeros((10, 16, 14, 14))).shape
    (10, 3, 28, 28)
    >>> layer
    ConvTranspose(16, 3, (4, 4), stride=(2, 2), padding=(1, 1))
    """

    _transposed = True

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
        output_padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(
            input_channels,
            output_channels,
            kernel,
            initializer,
            activation,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
            dtype=dtype,
        )
        self.output_padding = self._sizes(output_padding, "output_padding", 0)
        if any(more >= step for more, step in zip(self.output_padding, self.stride, strict=True)):
            name, steps = type(self).__name__, _short(self.stride)
            raise ValueError(f"{name}: expected output_padding below the stride {steps}, got {_short(self.output_padding)}")

    def forward(self, x: ArrayLike) -> Array:
        """The output for one image or series, or a batch; values that are not an Array take the layer's dtype."""
        rows = self._axes == 2
        y = conv_transpose(
            self._operand(x),
            self.weight if rows else expand_dims(self.weight, -2),
            _for_rows(self.stride, 1),
            padding=_for_rows(self.padding, 0),  # type: ignore[arg-type]
            output_padding=_for_rows(self.output_padding, 0),
            dilation=_for_rows(self.dilation, 1),
            groups=self.groups,
            bias=self.bias,
        )
        y = y if rows else reshape(y, (*y.shape[:-2], y.shape[-1]))
        return y if self.activation is None else self.activation(y)


class ConvTranspose1d(ConvTranspose):
    """A transposed convolution over series, which makes them longer by its stride.

    Parameters
    ----------
    input_channels, output_channels : int
        Channels of the series and of the results.
    kernel : int
        Length of the filters.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weight; `initializer.he()` by default. The bias starts at 0.
    activation : callable or str, optional
        A function from `corgi.activation`, its name, or any function of an Array.
    stride, dilation : int
        Steps between the places of the filter; steps between its elements.
    padding, output_padding : int
        Elements of the result left away on each side; elements added at its end, fewer than `stride`.
    groups : int
        The channels are split into so many groups, each with filters of its own.
    bias : bool
        Whether the layer has a bias.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (input_channels, output_channels / groups, kernel)
    bias : Array or None
        (output_channels,)
    activation : callable or None

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer, the activation or the dtype is not one, or the groups do not divide the channels.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.ConvTranspose1d(8, 2, 4, stride=2, padding=1)
    >>> layer(corgi.zeros((10, 8, 50))).shape
    (10, 2, 100)
    """

    _axes = 1


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
