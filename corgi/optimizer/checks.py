"""What optimizers, schedules and averages are given, checked: settings, whenever they are set; collections of parameters.

Above: all that has settings.  Below: Array.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from corgi._core import Array
from corgi._core import array as _array


def number(value: float, owner: str, name: str, least: float = 0.0, below: float = math.inf) -> float:
    """A finite number of at least `least` and below `below`."""
    if type(value) is float and least <= value < below:
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{owner}: expected a number for {name}, got {type(value).__name__}")
    if not least <= value < below:  # false for NaN
        raise ValueError(f"{owner}: expected {name} in [{least:g}, {below:g}), got {value}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{owner}: expected {name} that fits a float, got a larger number") from None


def whole(value: Any, owner: str, name: str, least: int = 1) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{owner}: expected an int for {name}, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{owner}: expected {name} of at least {least}, got {value}")
    if int(value) >= 2**63:
        raise ValueError(f"{owner}: expected {name} below 2**63, got a larger number")
    return int(value)


class Number:
    """An attribute that holds a finite number of at least `least` and below `below`."""

    def __init__(self, least: float = 0.0, below: float = math.inf) -> None:
        self.least, self.below = least, below

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:  # at run time reading finds the number in the instance

        def __get__(self, instance: object, owner: type | None = None) -> float: ...

    def __set__(self, instance: object, value: float) -> None:
        instance.__dict__[self.name] = self.checked(value, type(instance).__name__)

    def checked(self, value: Any, owner: str) -> Any:
        """The value as the attribute holds it; errors name the owner and the attribute."""
        return number(value, owner, self.name, self.least, self.below)


class Limit(Number):
    """A number, or None for no limit."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> float | None: ...  # type: ignore[override]
        def __set__(self, instance: object, value: float | None) -> None: ...

    def checked(self, value: Any, owner: str) -> Any:
        """The value as the attribute holds it."""
        return None if value is None else super().checked(value, owner)


class Setting(Number):
    """A number of an optimizer that parameters may have of their own: see `Optimizer.set`."""

    if TYPE_CHECKING:

        def __set__(self, instance: object, value: float) -> None: ...

    else:

        def __set__(self, instance, value):
            super().__set__(instance, value)
            instance.__dict__["_rules"] = {}  # to be made anew from the settings


class Flag(Setting):
    """A setting that is true or false."""

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type | None = None) -> bool: ...

    def checked(self, value: Any, owner: str) -> Any:
        """The value as the attribute holds it."""
        return bool(value)


def mapping(state: Any, op: str) -> dict[Any, Any]:
    """A copy of a saved state, which is a dict: other things, such as large arrays, are not even looked into."""
    if not isinstance(state, Mapping):
        raise TypeError(f"{op}: expected a dict, got {type(state).__name__}")
    return dict(state)


def listed(parameters: Any, op: str) -> list[Array]:
    """A list of float Arrays out of what was given for parameters."""
    if type(parameters) is Array or not isinstance(parameters, Iterable):
        raise TypeError(f"{op}: expected a list of Arrays, got {type(parameters).__name__}")
    arrays = list(parameters)
    for array in arrays:
        if type(array) is not Array:
            raise TypeError(f"{op}: expected Arrays, got {type(array).__name__} among them")
        if array.dtype.kind != "f":
            raise TypeError(f"{op}: expected float arrays, got {array.dtype} among them")
    return arrays


def named(parameters: Any, op: str) -> dict[str, Array]:
    """Float Arrays by name; those of a list are named by their positions."""
    if not isinstance(parameters, Mapping):
        return {str(position): array for position, array in enumerate(listed(parameters, op))}
    names = list(parameters)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{op}: expected names of parameters, got {type(name).__name__} among them")
    return dict(zip(names, listed(parameters.values(), op), strict=True))


def same_shape(value: Any, parameter: Array, key: str, op: str) -> Array:
    """A saved array, in the dtype of the parameter that it belongs to and of its shape."""
    array = _array(value, dtype=parameter.dtype)
    if array.shape != parameter.shape:
        raise ValueError(f"{op}: expected {key} of shape {parameter.shape}, got {array.shape}")
    return array
