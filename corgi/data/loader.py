"""Batches: `Loader`, which reads arrays, data sets and iterables by batches, in a thread where that helps.

Above: `Model.fit`, users.  Below: slices (views) and `corgi.take` (one copy) of Arrays; source.py, which knows what data is.
"""

from __future__ import annotations

import copy
import inspect
import sys
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from corgi._core import Array, array, take
from corgi.data.source import Source, Stream, source_of
from corgi.initializer import generator
from corgi.layer.base import size as checked_size

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from corgi._typing import DTypeLike, Seed

__all__ = ["Loader", "batches", "split"]


class Loader:
    """Batches of data, for as many epochs as wanted: ``for inputs, targets in Loader((x, y), 32, shuffle=True)``.

    Batches of Arrays cost what the copies cost: in order they are views; shuffled, they are gathered by one copy.

    Parameters
    ----------
    data : array, tuple or dict of data, data set, or iterable
        - Arrays of Corgi or NumPy, or what NumPy takes for one: a row (an element of the first axis) is a sample. Arrays are
          not copied. NumPy arrays are, once; but those of memory-mapped files, and of integers that are not int64, are left
          where they are, and read by batches.
        - Tuples and dicts of data, at any depth, of equal lengths: batches have the same structure.
        - A data set: an object with ``__len__`` and ``__getitem__``, such as a list, whose samples `collate` joins.
        - Another iterable of samples, which is read in its order, anew in every epoch.
    batch_size : int
        Samples in a batch, at least 1; the last batch may be smaller.
    shuffle : bool
        Whether every epoch has a new random order.
    seed : int, numpy.random.Generator or None
        Of the order, and of the transform's random numbers. An int, or None, gives the loader a generator of its own; for
        None it starts from a number that the package's generator draws now (see `corgi.seed`).
    drop_last : bool
        Whether to leave out a last batch that would be smaller.
    transform : callable, optional
        Called with each batch, gives the batch that is handed out. If it has a parameter named `rng`, it is given a
        `numpy.random.Generator` of that batch, ``transform(batch, rng=...)``, from which random augmentation is the same
        for every `prefetch`, and in a run that is resumed.
    prefetch : int
        How many batches a thread reads and transforms in advance. 0 reads in the thread of the loop, which is best for small
        batches of arrays, as handing one over takes some 10 microseconds.
    dtype : float64 or float32, optional
        Of batches of floats; by default that of the data.

    Attributes
    ----------
    rows : int or None
        Number of samples; None for an iterable.
    epoch, position : int
        Number of the epoch that is being read, or will be read next, from 0; and of its batches that the loop has received.

    Raises
    ------
    TypeError, ValueError
        If the data is none of these, its lengths differ, or an option is not one. While reading, what the data and the
        transform raise, where a note names the transform's batch.

    See Also
    --------
    state_dict : to go on in the middle of an epoch, in another process.

    Examples
    --------
    >>> import corgi
    >>> from corgi.data import Loader
    >>> x, y = corgi.arange(10.0).reshape(5, 2), corgi.arr([0, 1, 0, 1, 0])
    >>> loader = Loader((x, y), 2, shuffle=True, seed=0)
    >>> len(loader)
    3
    >>> for epoch in range(2):
    ...     for inputs, targets in loader:
    ...         assert (inputs[:, 0] % 4 / 2 == targets).all()
    >>> [batch.tolist() for batch in Loader({"x": x, "y": y}, 4, transform=lambda batch: batch["y"])]
    [[0, 1, 0, 1], [0]]
    >>> def noisy(batch, rng):
    ...     return batch + rng.normal(size=batch.shape)
    >>> next(iter(Loader(x, 5, transform=noisy, seed=0, prefetch=2))).shape
    (5, 2)
    """

    def __init__(
        self,
        data: Any,
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        seed: Seed = None,
        drop_last: bool = False,
        transform: Callable[..., Any] | None = None,
        prefetch: int = 0,
        dtype: DTypeLike | None = None,
    ) -> None:
        self._source = source_of(data, dtype, "Loader")
        self.batch_size = checked_size(batch_size, "Loader", "batch_size")
        if not _is_count(prefetch):
            raise ValueError(f"Loader: expected prefetch to be an int of at least 0, got {prefetch!r}")
        if transform is not None and not callable(transform):
            raise TypeError(f"Loader: expected a function for transform, got {type(transform).__name__}")
        if shuffle and self.rows is None:
            raise ValueError(f"Loader: expected data with a length to shuffle, got {type(data).__name__}; shuffle=False")
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.transform, self.prefetch = transform, prefetch
        self._random_transform = transform is not None and _has_rng(transform)
        self._generator = own_generator(seed)
        self._place = Place(0, 0, None)
        self._resumed = False

    @property
    def rows(self) -> int | None:
        """Number of samples; None for an iterable, which has no length."""
        return None if isinstance(self._source, Stream) else self._source.rows

    @property
    def epoch(self) -> int:
        """Number of the epoch that is being read, or will be read next, from 0."""
        return self._place.epoch

    @property
    def position(self) -> int:
        """How many batches of that epoch the loop has received."""
        return self._place.position

    def __len__(self) -> int:
        if self.rows is None:
            raise TypeError("Loader: expected data with a length, got an iterable, whose number of batches is not known")
        return self.rows // self.batch_size if self.drop_last else -(-self.rows // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        place = self._place
        if not self._resumed:
            place = Place(place.epoch + (place.before is not None), 0, None)
        self._resumed = False
        self._place = place
        drawing = self._generator
        if place.before is None:
            place.before = generator_state(drawing)
        else:  # the generator, which may be shared, has gone on since the epoch began
            drawing = copy.deepcopy(drawing)
            drawing.bit_generator.state = place.before
        found = self._read(place.position, drawing)
        if self.transform is not None:
            key = int(drawing.integers(2**63)) if self._random_transform else None
            found = _transformed(found, self.transform, place.position, key)
        return _counted(_prefetched(found, self.prefetch) if self.prefetch else found, place)

    def _read(self, start: int, drawing: np.random.Generator) -> Generator[Any]:
        """The batches from number `start` on, in an order that a generator draws."""
        source, size = self._source, self.batch_size
        if isinstance(source, Stream):
            return source.batches(size, start, self.drop_last)
        firsts = range(start * size, len(self) * size, size)
        if not self.shuffle:
            return (source.slice(first, min(first + size, source.rows)) for first in firsts)
        order = array(drawing.permutation(source.rows))
        return (source.gather(order[first : first + size]) for first in firsts)

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: what a loader of the same data, in another process even, needs to go on from here.

        Batches count as soon as the loop has received them; what a thread has read in advance does not count. Called in the
        loop, it is the state after the current batch.

        Returns
        -------
        dict
            Of numbers, strings, lists and dicts, as JSON can hold them.

        Examples
        --------
        >>> import corgi
        >>> loader = corgi.data.Loader(corgi.arange(6), 2, shuffle=True, seed=0)
        >>> for batch in loader:
        ...     state = loader.state_dict()
        ...     break
        >>> other = corgi.data.Loader(corgi.arange(6), 2, shuffle=True)
        >>> other.load_state_dict(state)
        >>> len(list(other))  # the rest of the epoch
        2
        """
        place = self._place
        return {
            "epoch": place.epoch,
            "position": place.position,
            "batch_size": self.batch_size,
            "rows": self.rows,
            "generator": generator_state(self._generator),
            "before": place.before,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the state of another loader: the next loop reads the rest of its epoch.

        A generator that was given as `seed` is set to the state's.

        Parameters
        ----------
        state : dict
            From `state_dict`, of a loader with as many rows, the same batch size, options and kind of generator.

        Raises
        ------
        TypeError, ValueError
            If it is no such state. The loader stays as it is.
        """
        try:
            epoch, position, size, rows = (state[name] for name in ("epoch", "position", "batch_size", "rows"))
            random_state, before = state["generator"], state["before"]
        except (TypeError, KeyError, IndexError) as error:
            raise TypeError(f"Loader.load_state_dict: expected a dict from state_dict, got {state!r:.80}") from error
        if (size, rows) != (self.batch_size, self.rows):
            raise ValueError(
                f"Loader.load_state_dict: expected the state of a loader of {self.rows} rows by {self.batch_size}, "
                f"got {rows} rows by {size}"
            )
        last = None if rows is None else len(self)
        if not (_is_count(epoch) and _is_count(position) and (last is None or position <= last)):
            raise ValueError(f"Loader.load_state_dict: expected an epoch and a position in it, got {epoch!r}, {position!r}")
        if before is None and position:
            raise ValueError("Loader.load_state_dict: expected the generator's state before the epoch began, got None")
        if before is not None:
            set_generator(copy.deepcopy(self._generator), before, "Loader.load_state_dict")  # to see whether it can be
        set_generator(self._generator, random_state, "Loader.load_state_dict")
        self._place = Place(epoch, position, before)
        self._resumed = True

    def __repr__(self) -> str:
        text = f"Loader({'an iterable' if self.rows is None else f'{self.rows} rows'}, batch_size={self.batch_size}"
        for name in ("shuffle", "drop_last", "transform", "prefetch"):
            if value := getattr(self, name):
                text += f", {name}={getattr(value, '__name__', value)}"
        return text + ")"


class Place:
    """Where a reading is: its epoch, the batches received, and the generator's state before the epoch's first draw."""

    __slots__ = ("before", "epoch", "position")

    def __init__(self, epoch: int, position: int, before: Any) -> None:
        self.epoch, self.position, self.before = epoch, position, before


def _counted(found: Generator[Any], place: Place) -> Iterator[Any]:
    """The batches, counted as they are handed out; at their end the next epoch begins."""
    try:
        for batch in found:
            place.position += 1
            yield batch
    finally:
        found.close()  # ends the thread
    place.epoch, place.position, place.before = place.epoch + 1, 0, None


def _transformed(found: Iterator[Any], transform: Callable[..., Any], start: int, key: int | None) -> Generator[Any]:
    """The batches that a transform gives, which has a generator for each of them if there is a key."""
    for number, batch in enumerate(found, start):
        try:
            new = transform(batch) if key is None else transform(batch, rng=np.random.default_rng((key, number)))
        except Exception as error:
            error.add_note(f"in the transform of a Loader, batch {number}")
            raise
        yield new


_END = object()


def _prefetched(found: Iterator[Any], count: int) -> Generator[Any]:
    """The same batches, of which a thread reads up to `count` in advance. It ends with the loop, however that ends."""
    from queue import SimpleQueue
    from threading import Thread

    ready: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    room: SimpleQueue[None] = SimpleQueue()  # holds one item for each batch that may be read
    wanted = True

    def work() -> None:
        try:
            while True:
                room.get()
                if not wanted:
                    return
                batch = next(found, _END)
                ready.put((batch, None))
                if batch is _END:
                    return
        except BaseException as error:
            ready.put((_END, error))

    for _ in range(count):
        room.put(None)
    thread = Thread(target=work, name="corgi.data.Loader", daemon=True)
    thread.start()
    try:
        while True:
            batch, error = ready.get()
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # whose traceback holds this frame
            if batch is _END:
                return
            room.put(None)
            yield batch
    finally:
        wanted = False
        room.put(None)
        if not sys.is_finalizing():  # when Python ends, daemon threads stand still
            thread.join()


def own_generator(seed: Seed) -> np.random.Generator:
    """The generator of a seed; None gives a new one, which starts from what the package's generator draws."""
    return generator(seed) if seed is not None else np.random.default_rng(generator().integers(2**63, size=2))


def _has_rng(transform: Callable[..., Any]) -> bool:
    try:
        return "rng" in inspect.signature(transform).parameters
    except (TypeError, ValueError):  # some functions written in C have no signature
        return False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """The state of a generator in numbers, strings, lists and dicts, as JSON can hold them."""
    plain: dict[str, Any] = _plain(generator.bit_generator.state)
    return plain


def set_generator(generator: np.random.Generator, state: Any, op: str) -> None:
    """Bring a generator to a saved state; if it is none, the generator stays as it is."""
    bits: Any = generator.bit_generator
    kept = bits.state
    try:
        bits.state = state
        _require_places(bits)
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        bits.state = kept
        raise ValueError(f"{op}: expected the state of a {type(bits).__name__}: {error}") from error


def _require_places(bits: Any) -> None:
    """Check the places in the buffers of generators, which NumPy takes as they come."""
    state = bits.state
    for holder, name, last in ((state["state"], "pos", 624), (state, "buffer_pos", 4)):
        if isinstance(holder, dict) and name in holder and not 0 <= holder[name] <= last:
            raise ValueError(f"expected {name} from 0 to {last}, got {holder[name]}")


def _plain(state: Any) -> Any:
    """A generator's state with lists in place of NumPy arrays."""
    if isinstance(state, dict):
        return {name: _plain(value) for name, value in state.items()}
    if isinstance(state, np.ndarray | np.generic):
        return state.tolist()
    return state


def split(*data: Any, fraction: float = 0.2, seed: Seed = None) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Data in two random parts, to train and to test.

    Parameters
    ----------
    *data : array, tuple or dict of arrays
        Of equal lengths, such as inputs and targets; see `Loader`.
    fraction : float
        Share of the rows for the second part, between 0 and 1.
    seed : int, numpy.random.Generator or None
        Of the choice; None is the package's generator, see `corgi.seed`.

    Returns
    -------
    train, test : tuple
        Each with one part of each of `data`: the rows in a new random order.

    Raises
    ------
    TypeError, ValueError
        If there is no data, lengths differ, or one part would be empty.

    Examples
    --------
    >>> import corgi
    >>> x, y = corgi.zeros((10, 3)), corgi.arange(10)
    >>> (x_train, y_train), (x_test, y_test) = corgi.data.split(x, y, fraction=0.3, seed=0)
    >>> x_train.shape, y_test.shape
    ((7, 3), (3,))
    """
    source = source_of(data, None, "split")
    assert isinstance(source, Source)  # since data is a tuple
    rows = source.rows
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise TypeError(f"split: expected a number for fraction, got {type(fraction).__name__}")
    first = round(rows * (1 - fraction)) if 0 < fraction < 1 else 0
    if not 0 < first < rows:
        raise ValueError(f"split: expected a fraction that leaves some of the {rows} rows on either side, got {fraction}")
    order = array(generator(seed).permutation(rows))
    return source.gather(order[:first]), source.gather(order[first:])


def batches(dataset: Sequence[Array], size: int, seed: Seed = None) -> Iterator[tuple[Array, ...]]:
    """Small parts of a data set, once through, in random order; the last one may be smaller. `Loader` can do more.

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
    order = array(generator(seed).permutation(lengths[0]))
    for start in range(0, lengths[0], size):
        chosen = order[start : start + size]
        yield tuple(take(part, chosen, 0) for part in dataset)
