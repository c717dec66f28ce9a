"""Dropout, as a function and as a layer.

Above: users.  Below: the op `corgi._core.dropout`, whose mask is a function of a key; and the package's random generator,
which gives one key for each call.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

from corgi import initializer
from corgi._core import Array, array, ones
from corgi._core import dropout as dropout_by_key
from corgi.layer.base import Layer, real

if TYPE_CHECKING:
    from collections.abc import Sequence

    from corgi._typing import ArrayLike, Seed


def dropout(x: ArrayLike, p: float = 0.5, *, seed: Seed = None) -> Array:
    """Zero elements at random, each with probability p, and divide the others by 1 - p (Srivastava et al. 2014).

    Zeros are zeros whatever was there, NaN included. The gradient has the same elements zeroed: the mask is made again, not
    kept. One key and one shape give one mask, for both dtypes and any number of threads.

    Parameters
    ----------
    x : array_like
    p : float
        From 0 to 1; 1 gives zeros.
    seed : int, numpy.random.Generator or None
        An int below 2**64 is the key of the mask; a generator gives a key, by default the package's own, see `corgi.seed`.

    Returns
    -------
    Array
        Of x's shape.

    Raises
    ------
    TypeError, ValueError
        If `p` or `seed` is not one of these.

    Examples
    --------
    >>> import corgi
    >>> corgi.dropout([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], seed=2)
    Array([ 2.,  0.,  0.,  0.,  0., 12.], dtype=float64)
    """
    if isinstance(seed, Integral) and not isinstance(seed, bool):
        if not 0 <= seed < 2**64:
            raise ValueError(f"dropout: expected a seed from 0 to 2**64 - 1, got {seed}")
        return dropout_by_key(x, p, int(seed))
    return dropout_by_key(x, p, initializer.generator(seed).bit_generator.random_raw())


class Dropout(Layer):
    """Zeroes elements at random, each with probability p, and divides the others by 1 - p; in use (see `eval`) does nothing.

    Parameters
    ----------
    p : float
        From 0 to 1.
    shared_axes : int or sequence of ints
        Axes along which all elements share one fate: (2, 3) drops channels of images (images, channels, rows, columns).
    seed : int, numpy.random.Generator or None
        Where the randomness comes from: None is the package's generator, see `corgi.seed`.

    Raises
    ------
    TypeError, ValueError
        If `p`, an axis or the seed is not one.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Dropout(0.5)
    >>> round(corgi.mean(layer(corgi.ones(100_000))).item(), 1)
    1.0
    >>> x = corgi.ones(3)
    >>> layer.eval()(x) is x
    True
    """

    def __init__(self, p: float = 0.5, *, shared_axes: int | Sequence[int] = (), seed: Seed = None) -> None:
        axes = (shared_axes,) if isinstance(shared_axes, Integral) else shared_axes
        if not isinstance(axes, (list, tuple)) or not all(isinstance(a, Integral) and not isinstance(a, bool) for a in axes):
            raise TypeError(f"Dropout: expected an int or a sequence of ints for shared_axes, got {shared_axes!r}")
        self.p = real(p, "Dropout", "p", most=1)
        self.shared_axes = tuple(int(axis) for axis in axes)
        self._generator = None if seed is None else initializer.generator(seed)

    def forward(self, x: ArrayLike) -> Array:
        """The input with elements dropped in training; the input itself in use."""
        if type(x) is not Array:
            x = array(x)
        if not self.training or self.p == 0:
            return x
        if not self.shared_axes:
            return dropout(x, self.p, seed=self._generator)
        shape = list(x.shape)
        for axis in self.shared_axes:
            if not -x.ndim <= axis < x.ndim:
                raise ValueError(f"Dropout: expected input with the shared axis {axis}, got shape {x.shape}")
            shape[axis] = 1
        return x * dropout(ones(shape, x.dtype), self.p, seed=self._generator)

    def __repr__(self) -> str:
        return f"Dropout({self.p}, shared_axes={self.shared_axes})" if self.shared_axes else f"Dropout({self.p})"
