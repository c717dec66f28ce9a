"""Types of arguments, by name: for type checkers alone, nothing of this exists at run time.

Above: the annotations of the package.  Below: the extension's stub.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from corgi._core import Array
from corgi._core import _ArrayLike as ArrayLike
from corgi._core import _Axis as Axis
from corgi._core import _DTypeLike as DTypeLike
from corgi._core import _Pair as Pair
from corgi._core import _Shape as Shape

__all__ = ["Activation", "ArrayLike", "Axis", "Cost", "DTypeLike", "Distribution", "Pair", "Rule", "Seed", "Shape"]

Activation: TypeAlias = Callable[[Array], Array]
Cost: TypeAlias = Callable[[Array, Any], Array]
Distribution: TypeAlias = Literal["normal", "uniform"]
Rule: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], ArrayLike]
Seed: TypeAlias = int | np.random.Generator | None
