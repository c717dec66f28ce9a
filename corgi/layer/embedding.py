"""The embedding layer: a learned row for each id.

Above: users.  Below: the op `corgi._core.embedding`, initializers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi import initializer as rules
from corgi._core import Array, array, assign, embedding
from corgi.layer.base import Layer, size

if TYPE_CHECKING:
    from corgi._typing import ArrayLike, DTypeLike, Rule


class Embedding(Layer):
    """A learned row for each id, ``weight[ids]``.

    Parameters
    ----------
    rows, embedding_size : int
        How many ids there are, from 0 to ``rows - 1``, and how long their rows are.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weight; the standard normal distribution by default.
    padding_idx : int, optional
        An id whose row starts at 0 and gets no gradient; a negative one counts from the end.
    sparse : bool
        Whether optimizers step only rows whose gradient is not zero. The other rows keep their values and what the optimizer
        remembers of them: no decay of weights and averages. A step then costs what the rows of the batch cost, however
        many there are. The gradient is an ordinary array in either case.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (rows, embedding_size)

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer, `padding_idx` or the dtype is not one; on use, if the ids are no ints.
    IndexError
        On use, if an id is out of range.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Embedding(10, 3, corgi.initializer.constant(0.5), padding_idx=0)
    >>> layer([[1, 0]])
    Array([[[0.5, 0.5, 0.5],
            [0. , 0. , 0. ]]], dtype=float64, tracked)
    >>> layer
    Embedding(10, 3, padding_idx=0)
    """

    def __init__(
        self,
        rows: int,
        embedding_size: int,
        initializer: Rule | None = None,
        *,
        padding_idx: int | None = None,
        sparse: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        shape = (size(rows, "Embedding", "rows"), size(embedding_size, "Embedding", "embedding_size"))
        self.weight = rules.make(rules.normal() if initializer is None else initializer, shape, dtype, "Embedding")
        self.padding_idx = padding_idx
        self.sparse = bool(sparse)
        if padding_idx is not None:
            padding = size(padding_idx, "Embedding", "padding_idx", -shape[0])
            if padding >= shape[0]:
                raise ValueError(f"Embedding: expected padding_idx below {shape[0]}, got {padding_idx}")
            self.padding_idx = padding % shape[0]
            values = self.weight.numpy().copy()
            values[self.padding_idx] = 0
            assign(self.weight, values)

    def forward(self, ids: ArrayLike) -> Array:
        """The rows of ids of any integer dtype and shape: (*ids.shape, embedding_size)."""
        if type(ids) is not Array:
            ids = array(ids)
        return embedding(self.weight, ids, -1 if self.padding_idx is None else self.padding_idx, self.sparse, "Embedding")

    def __repr__(self) -> str:
        text = "Embedding({}, {}".format(*self.weight.shape)
        text += "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        text += ", sparse=True" if self.sparse else ""
        return f"{text})" if self.weight.dtype == "float64" else f"{text}, dtype={self.weight.dtype})"
