"""Normalization layers: by the batch, by rows, by groups of channels, by the root of the mean square.

Above: users.  Below: the fused ops `corgi.batch_norm`, `layer_norm`, `group_norm` and `rms_norm`.  `weight` and `bias` are
learned; what a batch norm has seen are its statistics `running_mean` and `running_var`, arrays that are never tracked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from corgi._core import (
    Array,
    array,
    average_step,
    batch_norm,
    batch_norm_statistics,
    get_default_dtype,
    group_norm,
    layer_norm,
    ones,
    rms_norm,
    zeros,
)
from corgi.layer.base import Layer, real, size

if TYPE_CHECKING:
    from corgi._typing import ArrayLike, DTypeLike


class Norm(Layer):
    """What the normalizing layers share: a weight that starts at 1, a bias that starts at 0, and eps."""

    weight: Array | None
    bias: Array | None

    def __init__(self, shape: int | tuple[int, ...], eps: float, affine: bool, bias: bool, dtype: DTypeLike | None) -> None:
        name = type(self).__name__
        self.eps = real(eps, name, "eps")
        made = ones(shape, dtype)
        if made.dtype not in ("float64", "float32"):
            raise TypeError(f"{name}: expected dtype float64 or float32, got {made.dtype}")
        self._dtype = made.dtype
        self.weight = made.tracked() if affine else None
        self.bias = zeros(shape, made.dtype).tracked() if affine and bias else None

    def _operand(self, x: ArrayLike) -> Array:
        """The input as an Array; values that are not one take the layer's dtype."""
        return x if type(x) is Array else array(x, self._dtype)

    def _images(self, x: ArrayLike, channels: int) -> Array:
        """The input, checked to have so many channels."""
        x = self._operand(x)
        if x.ndim < 2 or x.shape[1] != channels:
            raise ValueError(f"{type(self).__name__}: expected input of shape (images, {channels}, ...), got {x.shape}")
        return x

    def _described(self, sizes: str, **usual: object) -> str:
        """repr: the sizes, and the settings that are not the usual ones."""
        settings = {name: getattr(self, name) for name in usual}
        text = "".join(f", {name}={value!r}" for name, value in settings.items() if value != usual[name])
        if self.weight is None:
            text += ", affine=False"
        elif self.bias is None and type(self) is not RMSNorm:
            text += ", bias=False"
        if self._dtype != get_default_dtype():
            text += f", dtype={self._dtype}"
        return f"{type(self).__name__}({sizes}{text})"


def _shape(value: int | Sequence[int], layer: str) -> tuple[int, ...]:
    """The shape of the normalized axes."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (size(value, layer, "shape"),)
    if not value:
        raise ValueError(f"{layer}: expected at least one size in shape, got {value!r}")
    return tuple(size(n, layer, "shape") for n in value)


def _text(shape: tuple[int, ...]) -> str:
    return str(shape[0]) if len(shape) == 1 else str(shape)


class LayerNorm(Norm):
    """Layer normalization (Ba, Kiros & Hinton 2016) of each row: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Parameters
    ----------
    shape : int or tuple of ints
        Sizes of the last axes, over which mean and variance are taken.
    eps : float
        At least 0.
    affine : bool
        Whether the layer has a weight and a bias.
    bias : bool
        Whether it has a bias, if it has a weight.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight, bias : Array or None
        Of the shape of the normalized axes; 1 and 0 at first.

    Raises
    ------
    TypeError, ValueError
        If a size, `eps` or the dtype is not one; on use, if the last axes of the input have other sizes.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.LayerNorm(2, eps=0)
    >>> layer([[1.0, 3.0], [10.0, 30.0]])
    Array([[-1.,  1.],
           [-1.,  1.]], dtype=float64, tracked)
    >>> layer
    LayerNorm(2, eps=0.0)
    """

    def __init__(
        self,
        shape: int | Sequence[int],
        *,
        eps: float = 1e-5,
        affine: bool = True,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.shape = _shape(shape, type(self).__name__)
        super().__init__(self.shape, eps, affine, bias, dtype)

    def _rows(self, x: ArrayLike) -> Array:
        """The input, checked to end in the layer's shape."""
        x, axes = self._operand(x), len(self.shape)
        if x.shape[-axes:] != self.shape:
            sizes = ", ".join(map(str, self.shape))
            raise ValueError(f"{type(self).__name__}: expected input of shape (..., {sizes}), got {x.shape}")
        return x

    def forward(self, x: ArrayLike) -> Array:
        """The input, normalized along its last axes; values that are not an Array take the layer's dtype."""
        return layer_norm(self._rows(x), self.weight, self.bias, self.eps, axes=len(self.shape))

    def __repr__(self) -> str:
        return self._described(_text(self.shape), eps=1e-5)


class RMSNorm(LayerNorm):
    """Root-mean-square normalization (Zhang & Sennrich 2019) of each row: ``x / sqrt(mean(x**2) + eps) * weight``.

    Parameters
    ----------
    shape : int or tuple of ints
        Sizes of the last axes, over which the mean is taken.
    eps : float
        At least 0.
    affine : bool
        Whether the layer has a weight.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array or None
        Of the shape of the normalized axes; 1 at first.

    Raises
    ------
    TypeError, ValueError
        If a size, `eps` or the dtype is not one; on use, if the last axes of the input have other sizes.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.RMSNorm(2, eps=0)([[1.0, 7.0]])
    Array([[0.2, 1.4]], dtype=float64, tracked)
    """

    def __init__(
        self, shape: int | Sequence[int], *, eps: float = 1e-5, affine: bool = True, dtype: DTypeLike | None = None
    ) -> None:
        super().__init__(shape, eps=eps, affine=affine, bias=False, dtype=dtype)

    def forward(self, x: ArrayLike) -> Array:
        """The input, normalized along its last axes; values that are not an Array take the layer's dtype."""
        return rms_norm(self._rows(x), self.weight, self.eps, axes=len(self.shape))


class GroupNorm(Norm):
    """Group normalization (Wu & He 2018): each image's channels are normalized in groups.

    With as many groups as channels it is instance normalization, each channel of each image by itself.

    Parameters
    ----------
    groups : int
        How many groups the channels are split into.
    channels : int
    eps : float
        At least 0.
    affine : bool
        Whether the layer has a weight and a bias.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight, bias : Array or None
        (channels,); 1 and 0 at first.

    Raises
    ------
    TypeError, ValueError
        If a size, `eps` or the dtype is not one, or the groups do not divide the channels; on use, if the input is not of
        shape (images, channels, ...).

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.GroupNorm(2, 4, eps=0)
    >>> layer([[1.0, 3.0, 10.0, 30.0]])
    Array([[-1.,  1., -1.,  1.]], dtype=float64, tracked)
    >>> corgi.layer.GroupNorm(16, 16)(corgi.ones((2, 16, 8, 8))).shape  # instance normalization
    (2, 16, 8, 8)
    """

    def __init__(
        self, groups: int, channels: int, *, eps: float = 1e-5, affine: bool = True, dtype: DTypeLike | None = None
    ) -> None:
        name = type(self).__name__
        self.groups, self.channels = size(groups, name, "groups"), size(channels, name, "channels")
        if self.channels % self.groups:
            raise ValueError(f"{name}: expected groups that divide the {channels} channels, got {groups}")
        super().__init__(self.channels, eps, affine, True, dtype)

    def forward(self, x: ArrayLike) -> Array:
        """The output for a batch (images, channels, ...); values that are not an Array take the layer's dtype."""
        return group_norm(self._images(x, self.channels), self.groups, self.weight, self.bias, self.eps)

    def __repr__(self) -> str:
        return self._described(f"{self.groups}, {self.channels}", eps=1e-5)


class BatchNorm(Norm):
    """Batch normalization (Ioffe & Szegedy 2015) of each channel: ``(x - mean) / sqrt(var + eps) * weight + bias``.

    One class for rows (n, channels), series (n, channels, length) and images (n, channels, rows, columns). In training mean
    and variance are those of the batch, over all axes but the second, and the running ones move towards them::

        running_mean = (1 - momentum) * running_mean + momentum * mean
        running_var = (1 - momentum) * running_var + momentum * var * count / (count - 1)

    where `count` is the number of values of a channel. In use (see `eval`) the running ones take their place.

    Parameters
    ----------
    channels : int
    momentum : float or None
        The weight of the newest batch, from 0 to 1; None gives all batches the same.
    eps : float
        At least 0.
    affine : bool
        Whether the layer has a weight and a bias.
    track_running_stats : bool
        Whether the layer has running statistics; without them it uses the batch's own always.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight, bias : Array or None
        (channels,); 1 and 0 at first.
    running_mean, running_var : Array or None
        (channels,), untracked; 0 and 1 at first.
    batches : Array or None
        How many batches the running ones have seen, where `momentum` is None.

    Raises
    ------
    TypeError, ValueError
        If a size, `momentum`, `eps` or the dtype is not one; on use, if the input is not of shape (n, channels, ...), or has
        fewer than two values of each channel in training.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.BatchNorm(2, eps=0)
    >>> layer([[1.0, 10.0], [3.0, 30.0]])
    Array([[-1., -1.],
           [ 1.,  1.]], dtype=float64, tracked)
    >>> layer.running_mean, layer.running_var
    (Array([0.2, 2. ], dtype=float64), Array([ 1.1, 20.9], dtype=float64))
    >>> layer
    BatchNorm(2, eps=0.0)
    """

    running_mean: Array | None
    running_var: Array | None
    batches: Array | None

    def __init__(
        self,
        channels: int,
        *,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        name = type(self).__name__
        self.channels = size(channels, name, "channels")
        self.momentum = None if momentum is None else real(momentum, name, "momentum", most=1)
        super().__init__(self.channels, eps, affine, True, dtype)
        self.running_mean = zeros(self.channels, self._dtype) if track_running_stats else None
        self.running_var = ones(self.channels, self._dtype) if track_running_stats else None
        self.batches = array(0) if track_running_stats and momentum is None else None

    def forward(self, x: ArrayLike) -> Array:
        """The output for a batch (n, channels, ...); values that are not an Array take the layer's dtype."""
        x = self._images(x, self.channels)
        if self.running_mean is None or self.running_var is None:
            return batch_norm_statistics(x, self.weight, self.bias, self.eps)[0]
        if not self.training:
            return batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var, self.eps)
        out, mean, var = batch_norm_statistics(x, self.weight, self.bias, self.eps)
        rate = self.momentum
        if rate is None:
            self.batches = (array(0) if self.batches is None else self.batches) + 1
            rate = 1 / self.batches.item()
        running = [self.running_mean, self.running_var]
        average_step(running, [new.astype(old.dtype) for new, old in zip((mean, var), running, strict=True)], rate)
        return out

    def __repr__(self) -> str:
        text = self._described(str(self.channels), momentum=0.1, eps=1e-5)
        return text if self.running_mean is not None else f"{text[:-1]}, track_running_stats=False)"
