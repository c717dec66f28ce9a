"""The fully connected layer.

Above: users.  Below: the fused op `corgi.dense`, initializers, activations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi import initializer as rules
from corgi._core import Array, array, dense, zeros
from corgi.activation import get as get_activation
from corgi.layer.base import Layer, size

if TYPE_CHECKING:
    from corgi._typing import Activation, ArrayLike, DTypeLike, Rule
    from corgi.layer.conv import Convolution


class Dense(Layer):
    """A fully connected layer, ``activation(x @ weight.T + bias)``.

    Parameters
    ----------
    input_size, output_size : int
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weight; `initializer.he()` by default. The bias starts at 0.
    activation : callable or str, optional
        A function from `corgi.activation`, its name, or any function of an Array.
    bias : bool
        Whether the layer has a bias.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (output_size, input_size)
    bias : Array or None
        (output_size,)
    activation : callable or None

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer, the activation or the dtype is not one.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Dense(3, 2, corgi.initializer.ones(), corgi.activation.relu)
    >>> layer([[1.0, 2.0, 3.0]])
    Array([[6., 6.]], dtype=float64, tracked)
    >>> layer
    Dense(3, 2, activation=relu)
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        initializer: Rule | None = None,
        activation: Activation | str | None = None,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        shape = (size(output_size, "Dense", "output_size"), size(input_size, "Dense", "input_size"))
        self.weight = rules.make(initializer, shape, dtype, "Dense")
        self.bias = zeros(shape[0], self.weight.dtype).tracked() if bias else None
        self.activation = get_activation(activation)

    def forward(self, x: ArrayLike) -> Array:
        """The output for inputs of shape (..., input_size); values that are not an Array take the layer's dtype."""
        if type(x) is not Array:
            x = array(x, self.weight.dtype)
        return dense(x, self.weight, self.bias, self.activation)

    def __repr__(self) -> str:
        outputs, inputs = self.weight.shape
        return f"Dense({inputs}, {outputs}{describe(self)})"


def describe(layer: Dense | Convolution) -> str:
    """The part of repr that layers with a weight share."""
    text = ""
    if layer.activation is not None:
        text += f", activation={getattr(layer.activation, '__name__', repr(layer.activation))}"
    if layer.bias is None:
        text += ", bias=False"
    return text if layer.weight.dtype == "float64" else f"{text}, dtype={layer.weight.dtype}"
