"""The base class of layers: finds what a layer holds wherever it keeps it, saves and loads the values.

Above: every layer and `Model`.  Below: Array; `LayerBase`, which calls layers, says in errors where they come from (with
location.py), and walks over their attributes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from corgi._core import Array, LayerBase, array, assign, find_places

if TYPE_CHECKING:
    from typing import Self

    import numpy as np

    from corgi._typing import ArrayLike, Pair


class Layer(LayerBase):
    """A computation with parameters. Subclasses assign arrays and layers to attributes and define `forward`.

    Parameters are the tracked arrays in the attributes of a layer, and those of layers in its attributes, also inside
    lists, tuples and dicts. Arrays there that are not tracked are statistics, which are saved with the parameters.
    Attributes whose names start with an underscore are private to the layer and not searched.

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

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        layer = super().__new__(cls)
        layer.__dict__ = {}  # Python 3.11 and 3.12 are slow with attributes in shared tables after a look at __dict__
        return layer

    def forward(self, x: Any) -> Array:
        """The layer's output for an input; subclasses define it.

        Raises
        ------
        NotImplementedError
            If a subclass does not.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected the layer to define forward(self, x)")

    def named_parameters(self) -> dict[str, Array]:
        """The parameters by name: attributes, positions and keys, joined by dots.

        Returns
        -------
        dict
            Of str to Array. A parameter that is found twice has the name of its first place.

        Raises
        ------
        ValueError
            If two parameters have one name, say under the keys 1 and '1' of a dict.

        Examples
        --------
        >>> import corgi
        >>> list(corgi.Model([corgi.layer.Dense(2, 3)]).named_parameters())
        ['layers.0.weight', 'layers.0.bias']
        """
        return self._named("parameters")

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
        return {"": self} | self._named("layers")

    def _named(self, wanted: str) -> dict[str, Any]:
        """What `find_places` finds, by name."""
        found, places = find_places(self, wanted)
        named: dict[str, Any] = {}
        for value, place in zip(found, places, strict=True):
            name = _name(place)
            if name in named:
                raise ValueError(f"{type(self).__name__}: expected {wanted} of different names, got two named {name!r}")
            named[name] = value
        return named

    def state_dict(self) -> dict[str, Array]:
        """The values of all arrays, parameters and statistics such as running means, by name.

        Values never change, so nothing is copied, and what the layer does afterwards does not show here.

        Returns
        -------
        dict
            Of str to Array, not tracked; names as in `named_parameters`. An array that is found twice has the name of its
            first place.

        Raises
        ------
        ValueError
            If two arrays have one name.

        Examples
        --------
        >>> import corgi
        >>> layer = corgi.layer.Dense(2, 1, corgi.initializer.ones())
        >>> layer.state_dict()
        {'weight': Array([[1., 1.]], dtype=float64), 'bias': Array([0.], dtype=float64)}
        """
        return {name: value.detach() for name, value in self._named("arrays").items()}

    def load_state_dict(self, state: Mapping[str, ArrayLike], *, strict: bool = True) -> None:
        """Give the arrays the values that `state_dict` gave, of this layer or of another one that has the same names.

        The arrays stay the same objects, tracked or not as they were; their gradients are dropped.

        Parameters
        ----------
        state : dict
            Of str to array_like, of the shapes of the layer's arrays. Floats are rounded or widened to the dtype of the
            layer's array; integers and bools must be of its dtype.
        strict : bool
            Whether all names must be there, and no others.

        Raises
        ------
        TypeError, ValueError
            If the state is not a dict of arrays, or names, shapes or dtypes do not match; then nothing has changed.

        Examples
        --------
        >>> import corgi
        >>> first, second = corgi.layer.Dense(2, 1), corgi.layer.Dense(2, 1)
        >>> second.load_state_dict(first.state_dict())
        >>> second.weight == first.weight
        Array([[ True,  True]], dtype=bool)
        >>> second.load_state_dict({"bias": [1.0]}, strict=False)
        """
        for target, values in self._matched(state, strict, f"{type(self).__name__}.load_state_dict: "):
            assign(target, values)

    def _matched(
        self, state: Mapping[str, ArrayLike], strict: bool, prefix: str = "", exact: bool = False
    ) -> list[tuple[Array, Array]]:
        """The arrays with their new values, all checked; `exact` if they must have the dtypes too, `prefix` for messages."""
        if not isinstance(state, Mapping):
            raise TypeError(f"{prefix}expected a dict of arrays, got {type(state).__name__}")
        own = self._named("arrays")
        common = [name for name in own if name in state]
        given = {name: array(state[name]) for name in common}
        faults = {
            "missing": [name for name in own if name not in state] if strict else [],
            "unexpected": [str(name) for name in state if name not in own] if strict else [],
            "different": [
                f"{name} {_described(given[name])} instead of {_described(own[name])}"
                for name in common
                if given[name].shape != own[name].shape or not _converts(given[name].dtype, own[name].dtype, exact)
            ],
        }
        if any(faults.values()):
            listed = "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)
            raise ValueError(f"{prefix}expected the arrays of this {type(self).__name__}, got others; {listed}")
        return [(own[name], given[name]) for name in common]

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


def _name(place: Any) -> str:
    parent, name = place
    return str(name) if parent is None else f"{_name(parent)}.{name}"


def _converts(given: np.dtype[Any], own: np.dtype[Any], exact: bool) -> bool:
    """Whether values may take another dtype: floats that of other floats."""
    return given == own or (not exact and given.kind == own.kind == "f")


def _described(value: Array) -> str:
    return f"{value.shape} {value.dtype}"


def _some(names: list[str], most: int = 5) -> str:
    """The first few of some names."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


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
