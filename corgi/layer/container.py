"""Layers made of other layers and of functions: in a row, around a connection, and for a change of shape.

Above: `Model`, which is a `Sequential` with an optimizer and a cost; users.  Below: the layers inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, overload

from corgi._core import Array, array, reshape, run_layers
from corgi.layer.base import Layer, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from corgi._typing import Activation, ArrayLike


class Sequential(Layer):
    """Layers and functions in a row: each gets the output of the one before.

    The length, the items and the slices are those of the row; a slice is a `Sequential` of the same layers.

    Parameters
    ----------
    layers : sequence of callables, or one Layer
        Layers, or functions of an Array.

    Attributes
    ----------
    layers : list

    Raises
    ------
    TypeError
        If something is neither.

    Examples
    --------
    >>> import corgi
    >>> from corgi.layer import Dense, Sequential
    >>> layers = Sequential([Dense(2, 8), corgi.tanh, Dense(8, 1)])
    >>> layers([[1.0, 2.0]]).shape
    (1, 1)
    >>> len(layers), layers[:2]([1.0, 2.0]).shape
    (3, (8,))
    """

    def __init__(self, layers: Layer | Iterable[Activation]) -> None:
        name = type(self).__name__
        if not isinstance(layers, (Layer, Iterable)):
            raise TypeError(f"{name}: expected layers, got {type(layers).__name__}")
        self.layers: list[Any] = [layers] if isinstance(layers, Layer) else list(layers)
        for position, layer in enumerate(self.layers, 1):
            if not callable(layer):
                raise TypeError(f"{name}: expected layers or functions, got {type(layer).__name__} as layer {position}")

    def forward(self, x: Any) -> Array:
        """The output of the last layer.

        Parameters
        ----------
        x : array_like
            Input of the first layer.

        Returns
        -------
        Array

        Raises
        ------
        Exception
            What a layer raises. ValueError, TypeError and IndexError name the layer, and the line of the program that called
            it, in the message, others in a note.
        """
        return run_layers(self, x)

    def __len__(self) -> int:
        return len(self.layers)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    @overload
    def __getitem__(self, position: int) -> Any: ...
    @overload
    def __getitem__(self, position: slice) -> Sequential: ...
    def __getitem__(self, position: int | slice) -> Any:
        if isinstance(position, slice):
            return Sequential(self.layers[position])
        try:
            return self.layers[position]
        except IndexError:
            count = len(self.layers)
            raise IndexError(f"{type(self).__name__}: expected a position below {count}, got {position}") from None

    def __repr__(self) -> str:
        return indented(type(self).__name__, [shown(layer) for layer in self.layers])


class Residual(Layer):
    """A connection around layers: ``projection(x) + inner(x)``, by default ``x + inner(x)`` (He et al. 2016).

    Parameters
    ----------
    inner : Layer, function, or sequence of these
        Several stand for a `Sequential`.
    projection : Layer or function, optional
        What brings the input to the shape of the output, such as a `Dense` layer or a `Conv` of 1 x 1.

    Attributes
    ----------
    inner : callable
    projection : callable or None

    Raises
    ------
    TypeError
        If something is not what it should be.
    ValueError
        On use, if the shapes of the sum differ.

    Examples
    --------
    >>> import corgi
    >>> from corgi.layer import Dense, Residual
    >>> Residual([Dense(3, 8, activation="relu"), Dense(8, 3)])([[1.0, 2.0, 3.0]]).shape
    (1, 3)
    >>> Residual(Dense(3, 5), Dense(3, 5, bias=False))([[1.0, 2.0, 3.0]]).shape
    (1, 5)
    """

    def __init__(self, inner: Activation | Sequence[Activation], projection: Activation | None = None) -> None:
        if isinstance(inner, Sequence) and not isinstance(inner, str):
            inner = Sequential(inner)
        for name, value in (("inner", inner), ("projection", projection)):
            if not callable(value) and not (value is None and name == "projection"):
                raise TypeError(f"Residual: expected a layer or a function for {name}, got {type(value).__name__}")
        self.inner: Any = inner
        self.projection: Any = projection

    def forward(self, x: ArrayLike) -> Array:
        """The sum of the input, projected if there is a projection, and of the output of the inner layer."""
        if type(x) is not Array:
            x = array(x)
        added = self.inner(x)
        kept = x if self.projection is None else self.projection(x)
        if kept.shape != added.shape:
            raise ValueError(
                f"Residual: expected an output of the shape {kept.shape} that it is added to, got {added.shape}; "
                "a projection changes the former"
            )
        total: Array = kept + added
        return total

    def __repr__(self) -> str:
        return indented("Residual", [shown(part) for part in (self.inner, self.projection) if part is not None])


class Lambda(Layer):
    """A function as a layer. `Sequential` and `Model` take functions as they are; this gives one a place elsewhere.

    Parameters
    ----------
    function : callable
        Of an Array; further arguments of a call are passed on.

    Raises
    ------
    TypeError
        If it is not callable.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.Lambda(lambda x: x[:, -1])([[1.0, 2.0], [3.0, 4.0]])
    Array([2., 4.], dtype=float64)
    """

    def __init__(self, function: Activation) -> None:
        if not callable(function):
            raise TypeError(f"Lambda: expected a function, got {type(function).__name__}")
        self.function: Any = function

    def forward(self, x: ArrayLike, *more: Any, **options: Any) -> Array:
        """What the function gives."""
        output: Array = self.function(x if type(x) is Array else array(x), *more, **options)
        return output

    def __repr__(self) -> str:
        return f"Lambda({shown(self.function)})"


class Reshape(Layer):
    """Another shape for each sample; the first axis, that of the batch, stays.

    Parameters
    ----------
    *shape : ints, or one sequence of ints
        Without the axis of the batch. One of them may be -1, for as many as there are.

    Raises
    ------
    TypeError, ValueError
        If the sizes are not ints of at least -1, or more than one is -1; on use, if an input does not fit.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.Reshape(1, 28, 28)(corgi.zeros((10, 784))).shape
    (10, 1, 28, 28)
    >>> corgi.layer.Reshape(-1)(corgi.zeros((10, 3, 4))).shape
    (10, 12)
    """

    def __init__(self, *shape: Any) -> None:
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        self.shape = tuple(size(value, "Reshape", "a size", -1) for value in sizes)
        if self.shape.count(-1) > 1:
            raise ValueError(f"Reshape: expected one -1 at most, got {self.shape}")

    def forward(self, x: ArrayLike) -> Array:
        """The input in its new shape."""
        if type(x) is not Array:
            x = array(x)
        if x.ndim == 0:
            raise ValueError("Reshape: expected an input with an axis for the batch, got shape ()")
        known, total = 1, 1
        for edge in self.shape:
            known *= edge if edge != -1 else 1
        for edge in x.shape[1:]:
            total *= edge
        free = -1 in self.shape
        if total % known if free and known else known != total:
            raise ValueError(
                f"Reshape: expected samples that fit {self.shape}, got {x.shape[1:]} in an input of shape {x.shape}"
            )
        rest = total // known if known else 0  # of an empty batch, -1 would say nothing
        return reshape(x, (x.shape[0], *(rest if edge == -1 else edge for edge in self.shape)))

    def __repr__(self) -> str:
        return f"Reshape({', '.join(map(str, self.shape))})"


def shown(value: Any) -> str:
    """How a layer or a function appears in the repr of a container."""
    return getattr(value, "__name__", None) or repr(value)


def indented(name: str, parts: Iterable[str]) -> str:
    """A repr with a line for each part."""
    lines = [f"    {part},".replace("\n", "\n    ") for part in parts]
    return "\n".join([f"{name}(", *lines, ")"])
