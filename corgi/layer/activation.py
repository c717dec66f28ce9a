"""Activations with parameters, as layers; those without are functions, in `corgi.activation`.

Above: users.  Below: the pointwise ops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi._core import Array, array, prelu, reshape
from corgi.initializer import constant, make
from corgi.layer.base import Layer, size

if TYPE_CHECKING:
    from corgi._typing import ArrayLike, DTypeLike


class PReLU(Layer):
    """Rectifier whose slope below 0 is learned: x for x > 0, else ``weight * x`` (He et al. 2015).

    Parameters
    ----------
    channels : int, optional
        Number of slopes, one for each channel; by default one for all.
    slope : float
        That they start from.
    axes : int
        How many axes follow that of the channels: 2 for images (channels, rows, columns), 1 for series, 0 for features.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (channels,)

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be; on use, if an input has another number of channels.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.PReLU()([-4.0, 4.0])
    Array([-1.,  4.], dtype=float64, tracked)
    >>> corgi.layer.PReLU(16, axes=2)(corgi.ones((10, 16, 5, 5))).shape
    (10, 16, 5, 5)
    """

    def __init__(
        self, channels: int | None = None, slope: float = 0.25, *, axes: int = 0, dtype: DTypeLike | None = None
    ) -> None:
        count = 1 if channels is None else size(channels, "PReLU", "channels")
        self.axes = size(axes, "PReLU", "axes", 0)
        self.weight = make(constant(slope), (count,), dtype, "PReLU")

    def forward(self, x: ArrayLike) -> Array:
        """The activation; values that are not an Array take the layer's dtype."""
        if type(x) is not Array:
            x = array(x, self.weight.dtype)
        count = self.weight.size
        if count == 1:
            return prelu(x, self.weight)
        if x.ndim <= self.axes or x.shape[-1 - self.axes] != count:
            after = f", followed by {self.axes} axes," if self.axes else ""
            raise ValueError(f"PReLU: expected an input with {count} channels{after} got shape {x.shape}")
        return prelu(x, reshape(self.weight, (count,) + (1,) * self.axes) if self.axes else self.weight)

    def __repr__(self) -> str:
        parts = [] if self.weight.size == 1 else [str(self.weight.size)]
        parts += [f"axes={self.axes}"] if self.axes else []
        parts += [] if self.weight.dtype == "float64" else [f"dtype={self.weight.dtype}"]
        return f"PReLU({', '.join(parts)})"
