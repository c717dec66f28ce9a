"""The base class of layers: finds parameters and layers wherever a layer keeps them.

Above: every layer and `Model`.  Below: Array; location.py, which says in errors where they come from.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from corgi._core import Array, find_parameters
from corgi.location import locate

if TYPE_CHECKING:
    from typing import Self

    from corgi._typing import Pair


class Layer:
    """A computation with parameters. Subclasses assign arrays and layers to attributes and define `forward`.

    Parameters are the tracked arrays in the attributes of a layer, and those of layers in its attributes, also inside
    lists, tuples and dicts. Attributes whose names start with an underscore are private to the layer and not searched.

    Attributes
    ----------
    training : bool
        Whether layers that differ between training and use, such as dropout, behave as in training. True at first; set it
        with `train` and `eval`, which reach the layers inside.

    Examples
    --------
    >>> import corgi
    >>> class Scale(corgi.layer.Layer):
    ...     def __init__(self, size):
    ...         self.factor = corgi.ones(size).tracked()
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> layer = Scale(2)
    >>> layer([3.0, 4.0])
    Array([3., 4.], dtype=float64, tracked)
    >>> layer.named_parameters()
    {'factor': Array([1., 1.], dtype=float64, tracked)}
    """

    training: bool = True

    def forward(self, x: Any) -> Array:
        """The layer's output for an input; subclasses define it.

        Raises
        ------
        NotImplementedError
            If a subclass does not.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected the layer to define forward(self, x)")

    def __call__(self, x: Any, *more: Any, **options: Any) -> Array:
        try:
            if more or options:
                return self.forward(x, *more, **options)
            return self.forward(x)
        except Exception as error:
            locate(error)
            raise

    def parameters(self) -> list[Array]:
        """The parameters, each once, in the order of the attributes.

        Returns
        -------
        list of Arrays

        Examples
        --------
        >>> import corgi
        >>> [p.shape for p in corgi.layer.Dense(2, 3).parameters()]
        [(3, 2), (3,)]
        """
        return list(find_parameters(self, Layer))

    def named_parameters(self) -> dict[str, Array]:
        """The parameters by name: attributes, positions and keys, joined by dots.

        Returns
        -------
        dict
            Of str to Array. A parameter that is found twice has the name of its first place.

        Examples
        --------
        >>> import corgi
        >>> list(corgi.Model([corgi.layer.Dense(2, 3)]).named_parameters())
        ['layers.0.weight', 'layers.0.bias']
        """
        return {_name(place): parameter for parameter, place in find_parameters(self, Layer).items()}

    def named_layers(self) -> dict[str, Layer]:
        """This layer, named '', and all layers inside it by name, in the order of the attributes.

        Returns
        -------
        dict
            Of str to Layer. A layer that is found twice has the name of its first place.

        Examples
        --------
        >>> import corgi
        >>> corgi.Model([corgi.layer.Dense(2, 3), corgi.relu, corgi.layer.Flatten()]).eval().named_layers()["layers.2"]
        Flatten()
        """
        found: dict[str, Layer] = {"": self}
        _collect_layers(self, None, found, set())
        return found

    def train(self, mode: bool = True) -> Self:
        """Set `training`, here and in all layers inside.

        Parameters
        ----------
        mode : bool

        Returns
        -------
        Layer
            This one.

        Examples
        --------
        >>> import corgi
        >>> model = corgi.Model([corgi.layer.Dense(2, 3)])
        >>> model.train(False).layers[0].training
        False
        """
        for layer in self.named_layers().values():
            layer.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Behave as in use, here and in all layers inside: ``train(False)``.

        Returns
        -------
        Layer
            This one.

        Examples
        --------
        >>> import corgi
        >>> corgi.layer.Dense(2, 3).eval().training
        False
        """
        return self.train(False)

    def __repr__(self) -> str:
        parts = [f"{name}={_short(value)}" for name, value in vars(self).items() if name[0] != "_" and name != "training"]
        return f"{type(self).__name__}({', '.join(parts)})"


def _collect_layers(holder: Any, path: Any, found: dict[str, Layer], seen: set[int]) -> None:
    """Add the layers that a layer, list, tuple or dict holds, at any depth, to `found`."""
    seen.add(id(holder))
    in_layer = isinstance(holder, Layer)
    items: Any = vars(holder).items() if in_layer else holder.items() if isinstance(holder, dict) else enumerate(holder)
    for name, value in items:
        if isinstance(value, _HOLDERS) and id(value) not in seen and not (in_layer and name[0] == "_"):
            if isinstance(value, Layer):
                found[_name((path, name))] = value
            _collect_layers(value, (path, name), found, seen)


_HOLDERS = (Layer, list, tuple, dict)


def _name(place: Any) -> str:
    parent, name = place
    return str(name) if parent is None else f"{_name(parent)}.{name}"


def _short(value: Any) -> str:
    if type(value) is Array:
        return f"Array{value.shape}"
    return value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)


def size(value: int, layer: str, name: str, least: int = 1) -> int:
    """A size given to a layer's constructor, checked."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{layer}: expected an int for {name}, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{layer}: expected {name} of at least {least}, got {value}")
    return int(value)


def real(value: Any, layer: str, name: str, most: float = math.inf) -> float:
    """A finite number from 0 to `most` given to a layer's constructor, checked."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{layer}: expected a number for {name}, got {type(value).__name__}")
    number = float(value)
    if not 0 <= number <= most or number == math.inf:
        bounds = "finite and at least 0" if most == math.inf else f"from 0 to {most}"
        raise ValueError(f"{layer}: expected {name} {bounds}, got {value}")
    return number


def pair(value: Pair, layer: str, name: str, least: int) -> tuple[int, int]:
    """An int, or a pair of ints, given for rows and columns."""
    values = (value, value) if isinstance(value, Integral) else value
    if (
        not isinstance(values, (list, tuple))
        or len(values) != 2
        or not all(isinstance(v, Integral) and not isinstance(v, bool) for v in values)
    ):
        raise TypeError(f"{layer}: expected an int or a pair of ints for {name}, got {value!r}")
    if min(values) < least:
        raise ValueError(f"{layer}: expected {name} of at least {least}, got {value!r}")
    return int(values[0]), int(values[1])
