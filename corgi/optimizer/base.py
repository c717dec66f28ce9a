"""The base class of optimizers, and their settings, which are checked whenever they are set.

Above: the optimizers.  Below: Array.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any

from corgi._core import Array


class Setting:
    """An attribute that holds a finite number of at least `least` and below `below`."""

    def __init__(self, least: float = 0.0, below: float = math.inf) -> None:
        self.least, self.below = least, below

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:  # at run time reading finds the number in the instance

        def __get__(self, instance: object, owner: type | None = None) -> float: ...

    def __set__(self, instance: object, value: float) -> None:
        owner = type(instance).__name__
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{owner}: expected a number for {self.name}, got {type(value).__name__}")
        if not self.least <= value < self.below:  # false for NaN
            interval = f"{self.name} in [{self.least:g}, {self.below:g})"
            raise ValueError(f"{owner}: expected {interval}, got {value}")
        try:
            instance.__dict__[self.name] = float(value)
        except OverflowError:
            raise ValueError(f"{owner}: expected {self.name} that fits a float, got a larger number") from None


class Optimizer:
    """Gives parameters new values. Subclasses define `update`.

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.

    Attributes
    ----------
    state : dict
        What the optimizer remembers of each parameter, by the parameter itself (its identity, not its values).

    Examples
    --------
    >>> import corgi
    >>> class SignDescent(corgi.optimizer.Optimizer):
    ...     def update(self, parameter):
    ...         if parameter.gradient is not None:
    ...             corgi.assign(parameter, parameter.detach() - self.learning_rate * corgi.sign(parameter.gradient))
    >>> p = corgi.arr([1.0, -1.0]).tracked()
    >>> (p * p).backward()
    >>> SignDescent(0.25).step([p])
    >>> p
    Array([ 0.75, -0.75], dtype=float64, tracked)
    """

    learning_rate = Setting()

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.state: dict[Array, Any] = {}

    def step(self, parameters: Iterable[Array]) -> None:
        """Update parameters and clear their gradients; those without a gradient are left alone.

        Parameters
        ----------
        parameters : iterable of Arrays

        Raises
        ------
        TypeError
            If a parameter is not a float Array.
        """
        if type(parameters) is Array or not isinstance(parameters, Iterable):
            raise TypeError(f"{type(self).__name__}.step: expected a list of Arrays, got {type(parameters).__name__}")
        parameters = list(parameters)
        for parameter in parameters:
            if type(parameter) is not Array:
                raise TypeError(f"{type(self).__name__}.step: expected Arrays, got {type(parameter).__name__} among them")
        for parameter in parameters:
            self.update(parameter)

    def update(self, parameter: Array) -> None:
        """Update one parameter; subclasses define it.

        Raises
        ------
        NotImplementedError
            If a subclass does not.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected the optimizer to define update(self, parameter)")

    def __repr__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in vars(self).items() if name != "state"]
        return f"{type(self).__name__}({', '.join(settings)})"
