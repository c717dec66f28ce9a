"""Data to train on: scikit-learn's handwritten digits, and batches.

Above: the command line, examples.  Below: scikit-learn (the extra `examples`), imported at the first use.
"""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

from corgi._core import Array, array, get_default_dtype, take
from corgi.initializer import generator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from corgi._typing import DTypeLike, Seed

__all__ = ["Dataset", "batches", "digits"]


class Dataset(NamedTuple):
    """Images with their classes.

    Attributes
    ----------
    images : Array
        (count, pixels), or (count, channels, rows, columns)
    labels : Array
        (count,), int64

    Examples
    --------
    >>> import corgi
    >>> images, labels = corgi.data.Dataset(corgi.zeros((3, 64)), corgi.array([1, 0, 2]))
    >>> len(images) == len(labels)
    True
    """

    images: Array
    labels: Array


def digits(
    dtype: DTypeLike | None = None, seed: Seed = 0, held_out: float = 0.2, *, flat: bool = True
) -> tuple[Dataset, Dataset]:
    """The handwritten digits of scikit-learn, in a random split: 1,797 real images of 8 x 8 pixels (Alpaydin & Kaynak 1998).

    Parameters
    ----------
    dtype : float64 or float32, optional
        Of the images, whose pixels are from 0 to 1; the default dtype by default.
    seed : int or numpy.random.Generator
        Of the split.
    held_out : float
        Share of the images that are kept for testing, between 0 and 1.
    flat : bool
        Images as rows of 64 pixels; otherwise as (1, 8, 8), for convolutions.

    Returns
    -------
    train, test : Dataset

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.
    ValueError
        If `held_out` leaves one part without images.

    Examples
    --------
    >>> import corgi
    >>> train, test = corgi.data.digits("float32")
    >>> train.images.shape, test.labels.shape
    ((1438, 64), (359,))
    """
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        raise ModuleNotFoundError(
            "data.digits: expected scikit-learn, which is not installed; pip install corgi[examples]", name=error.name
        ) from error
    raw = load_digits()
    count = len(raw.target)
    split = round(count * (1 - held_out))
    if not 0 < split < count:
        raise ValueError(f"data.digits: expected held_out between 0 and 1 with images on either side, got {held_out}")
    order = generator(seed).permutation(count)
    images = raw.images.reshape((count, 64) if flat else (count, 1, 8, 8)) / 16
    wanted = get_default_dtype() if dtype is None else dtype

    def part(chosen: Any) -> Dataset:
        return Dataset(array(images[chosen]).astype(wanted), array(raw.target[chosen]))

    return part(order[:split]), part(order[split:])


def batches(dataset: Sequence[Array], size: int, seed: Seed = None) -> Iterator[tuple[Array, ...]]:
    """Small parts of a data set, once through, in random order; the last one may be smaller.

    Parameters
    ----------
    dataset : sequence of Arrays
        Of equal lengths, such as a `Dataset`.
    size : int
        Length of a batch, at least 1.
    seed : int, numpy.random.Generator or None
        Of the order; None is the package's generator, see `corgi.seed`.

    Yields
    ------
    tuple of Arrays

    Raises
    ------
    TypeError, ValueError
        If the size is not an int of at least 1, or the lengths differ.

    Examples
    --------
    >>> import corgi
    >>> [len(x) for x, y in corgi.data.batches((corgi.zeros((5, 2)), corgi.zeros(5)), 2)]
    [2, 2, 1]
    """
    if isinstance(size, bool) or not isinstance(size, Integral):
        raise TypeError(f"batches: expected an int for size, got {type(size).__name__}")
    if size < 1:
        raise ValueError(f"batches: expected a size of at least 1, got {size}")
    lengths = [len(part) for part in dataset]
    if len(set(lengths)) != 1:
        raise ValueError(f"batches: expected arrays of equal lengths, got lengths {lengths}")
    order = generator(seed).permutation(lengths[0])
    for start in range(0, lengths[0], size):
        chosen = array(order[start : start + size])
        yield tuple(take(part, chosen, 0) for part in dataset)
