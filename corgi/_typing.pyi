"""Types of arguments, by name: for type checkers alone, nothing of this exists at run time.

Above: the annotations of the package.  Below: the extension's stub.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

import numpy as np

from corgi._core import Array
from corgi._core import _ArrayLike as ArrayLike
from corgi._core import _Axis as Axis
from corgi._core import _DTypeLike as DTypeLike
from corgi._core import _Pair as Pair
from corgi._core import _Reduction as Reduction
from corgi._core import _Shape as Shape

__all__ = [
    "Activation",
    "ArrayLike",
    "Axis",
    "Cost",
    "DTypeLike",
    "Distribution",
    "Fan",
    "OptimizerOptions",
    "Pair",
    "Parameters",
    "Reduction",
    "Rule",
    "Schedule",
    "Seed",
    "Shape",
    "Stateful",
]

Activation: TypeAlias = Callable[[Array], Array]
Cost: TypeAlias = Callable[[Array, Any], Array]
Distribution: TypeAlias = Literal["normal", "uniform", "truncated"]
Fan: TypeAlias = Literal["fan_in", "fan_out", "fan_avg"]
Parameters: TypeAlias = Mapping[str, Array] | Iterable[Array]
Rule: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], ArrayLike]
Schedule: TypeAlias = Callable[[int], float]
Seed: TypeAlias = int | np.random.Generator | None

class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> None: ...

class OptimizerOptions(TypedDict, total=False):
    schedule: Schedule | None
    clip_norm: float | None
    clip_value: float | None
