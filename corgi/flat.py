"""Arrays of several shapes as parts of one vector: algorithms of optimization work on vectors.

Above: `minimize`, `least_squares`, `LBFGS`.  Below: Array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from corgi._core import Array, array, concatenate, get_default_dtype, zeros
from corgi.functional import _as_array, _leaves, _tree_map


class Flat:
    """The layout of float arrays in a vector, whose dtype is the widest of theirs."""

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.shapes = [a.shape for a in arrays]
        self.dtypes = [a.dtype for a in arrays]
        self.dtype = np.result_type(*self.dtypes)
        self.slices = [slice(i, j) for i, j in pairwise(accumulate([0, *(a.size for a in arrays)]))]

    def gather(self, arrays: Iterable[Array | None]) -> Array:
        """The vector of the values of such arrays; None counts as zeros."""
        pairs = zip(arrays, self.shapes, strict=True)
        parts = [(zeros(shape, self.dtype) if a is None else a.detach()).reshape(-1) for a, shape in pairs]
        return parts[0] if len(parts) == 1 else concatenate(parts)

    def scatter(self, vector: Array) -> list[Array]:
        """The arrays whose elements a vector holds."""
        layout = zip(self.slices, self.shapes, self.dtypes, strict=True)
        return [vector[part].reshape(shape).astype(dtype) for part, shape, dtype in layout]

    def vector(self, value: Any, name: str, op: str) -> Array:
        """A saved vector of this layout."""
        vector = array(value, self.dtype)
        if vector.shape != (self.slices[-1].stop,):
            raise ValueError(f"{op}: expected {name} of shape {(self.slices[-1].stop,)}, got {vector.shape}")
        return vector


def floats(name: str, what: str, tree: Any) -> Any:
    """The same containers with float Arrays, converted from integers also, for leaves; with one element at least."""

    def as_float(leaf: Any) -> Array:
        a: Array = _as_array(leaf).detach()
        if a.dtype.kind not in "fi":
            raise TypeError(f"{name}: expected floats in {what}, got {a.dtype}")
        return a if a.dtype.kind == "f" else a.astype(get_default_dtype())

    found = _tree_map(as_float, tree)
    if not any(leaf.size for leaf in _leaves(found)):
        raise TypeError(f"{name}: expected {what} with at least one number, got none")
    return found
