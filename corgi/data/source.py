"""What data is: arrays, tuples and dicts of data, data sets and iterables, each read by slices or by positions.

Above: `Loader`, `split`, `Model.fit`.  Below: slices and `corgi.take` of Arrays; NumPy for what is not an Array.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from corgi._core import Array, array, stack, take

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from corgi._typing import DTypeLike

__all__ = ["collate"]


class Source:
    """Samples with numbers, and how to read some of them as a batch.

    Parameters
    ----------
    rows : int
        How many there are.
    slice : callable
        ``slice(start, stop)`` with 0 <= start <= stop <= rows.
    gather : callable
        ``gather(positions)``, where positions are an int64 Array.
    """

    __slots__ = ("gather", "rows", "slice")

    def __init__(self, rows: int, slice: Callable[[int, int], Any], gather: Callable[[Array], Any]) -> None:
        self.rows, self.slice, self.gather = rows, slice, gather


class Stream:
    """Samples that come one after the other."""

    __slots__ = ("data", "dtype")

    def __init__(self, data: Iterable[Any], dtype: DTypeLike | None) -> None:
        self.data, self.dtype = data, dtype

    def batches(self, size: int, start: int, drop_last: bool) -> Generator[Any]:
        """The batches from number `start` on, of the data read anew."""
        samples = islice(self.data, start * size, None)
        while chosen := list(islice(samples, size)):
            if len(chosen) == size or not drop_last:
                yield collate(chosen, self.dtype)


def source_of(data: Any, dtype: DTypeLike | None, op: str) -> Source | Stream:
    """The samples of some data, see `Loader`; the floats of a batch take `dtype`."""
    if isinstance(data, tuple | dict):
        return _structure(data, dtype, op)
    if type(data) is Array or hasattr(data, "__array__") or _is_buffer(data):
        return _rows(data, dtype, op)
    if isinstance(data, str | bytes):
        raise TypeError(f"{op}: expected arrays, a data set or an iterable, got {type(data).__name__}")
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return _data_set(data, dtype)
    if isinstance(data, Iterable):
        return Stream(data, dtype)
    raise TypeError(f"{op}: expected arrays, a data set or an iterable, got {type(data).__name__}")


def _is_buffer(data: Any) -> bool:
    try:
        memoryview(data)
    except TypeError:
        return False
    return not isinstance(data, bytes | bytearray)


def _rows(data: Any, dtype: DTypeLike | None, op: str) -> Source:
    """Rows of an array."""
    if type(data) is not Array:
        mapped = isinstance(data, np.memmap)
        data = np.asarray(data)
        if data.dtype.kind not in "biuf":
            raise TypeError(f"{op}: expected numbers, got an array of {data.dtype}")
        if not mapped and (data.dtype.kind == "f" or data.dtype in (np.int64, np.bool_)):
            data = array(data)
    if not data.ndim:
        raise ValueError(f"{op}: expected arrays with at least one axis, got shape ()")
    floats = data.dtype.kind == "f"
    if type(data) is not Array:
        kept: np.ndarray[Any, Any] = data
        wanted = dtype if floats else None
        return Source(
            len(kept),
            lambda start, stop: array(kept[start:stop], wanted),
            lambda positions: array(np.take(kept, positions.numpy(), axis=0), wanted),
        )
    values = data.detach()
    if dtype is not None and floats:
        values = values.astype(dtype)
    if not values.numpy().flags.c_contiguous:
        values = values.copy()  # once, and not for each batch
    return Source(len(values), lambda start, stop: values[start:stop], lambda positions: take(values, positions, 0))


def _structure(data: Any, dtype: DTypeLike | None, op: str) -> Source:
    """Data of equal lengths in a tuple or dict."""
    parts = []
    for part in data.values() if isinstance(data, dict) else data:
        source = source_of(part, dtype, op)
        if isinstance(source, Stream):
            raise TypeError(f"{op}: expected data with lengths in a {type(data).__name__}, got {type(part).__name__}")
        parts.append(source)
    lengths = [part.rows for part in parts]
    if len(set(lengths)) != 1:
        raise ValueError(f"{op}: expected data of equal lengths, got " + (f"lengths {lengths}" if lengths else "none"))
    build = builder(data)
    slices, gathers = [part.slice for part in parts], [part.gather for part in parts]
    return Source(
        lengths[0],
        lambda start, stop: build([read(start, stop) for read in slices]),
        lambda positions: build([read(positions) for read in gathers]),
    )


def builder(like: Any) -> Callable[[Sequence[Any]], Any]:
    """A function that makes, of a list of parts, a tuple, named tuple or dict like the given one."""
    if isinstance(like, dict):
        names = list(like)
        return lambda parts: dict(zip(names, parts, strict=True))
    return getattr(type(like), "_make", tuple)


def _data_set(data: Any, dtype: DTypeLike | None) -> Source:
    """Samples of an object with a length and items."""
    return Source(
        len(data),
        lambda start, stop: collate([data[i] for i in range(start, stop)], dtype),
        lambda positions: collate([data[i] for i in positions.tolist()], dtype),
    )


def collate(samples: Sequence[Any], dtype: DTypeLike | None = None) -> Any:
    """Samples joined to a batch, along a new first axis.

    Parameters
    ----------
    samples : sequence
        Numbers, arrays of one shape, strings, or tuples and dicts of these.
    dtype : float64 or float32, optional
        Of the floats; by default that of the arrays, and the default dtype for Python floats.

    Returns
    -------
    Array, or tuple or dict of Arrays
        Numbers and arrays become an Array, which is not tracked; strings a list.

    Raises
    ------
    TypeError, ValueError
        If there are no samples, or they do not match.

    Examples
    --------
    >>> from corgi.data import collate
    >>> collate([([1.0, 2.0], 0), ([3.0, 4.0], 1)])
    (Array([[1., 2.],
           [3., 4.]], dtype=float64), Array([0, 1], dtype=int64))
    """
    if not len(samples):
        raise ValueError("collate: expected at least one sample")
    first = samples[0]
    if isinstance(first, dict):
        if any(not isinstance(sample, dict) or sample.keys() != first.keys() for sample in samples):
            raise ValueError(f"collate: expected dicts with the keys {list(first)} in all samples")
        return {name: collate([sample[name] for sample in samples], dtype) for name in first}
    if isinstance(first, tuple):
        if any(not isinstance(sample, tuple) or len(sample) != len(first) for sample in samples):
            raise ValueError(f"collate: expected tuples of {len(first)} in all samples")
        return builder(first)([collate(part, dtype) for part in zip(*samples, strict=True)])
    if isinstance(first, str | bytes):
        return list(samples)
    if type(first) is Array:
        batch = stack(list(samples)).detach()
    elif isinstance(first, int | float | list):
        batch = array(list(samples)).detach()
    else:
        batch = array(np.stack([np.asarray(sample) for sample in samples]))
    return batch if dtype is None or batch.dtype.kind != "f" else batch.astype(dtype)
