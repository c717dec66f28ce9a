"""Model: layers in a row, with the optimizer and the cost that train them.

Above: users.  Below: layers, costs, optimizers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from corgi._core import Array
from corgi.layer.base import Layer

if TYPE_CHECKING:
    from corgi._typing import Activation, Cost
    from corgi.optimizer import Optimizer


class Model(Layer):
    """Layers in a row, trained by an optimizer against a cost. A model is a layer itself.

    Parameters
    ----------
    layers : sequence of callables, or one Layer
        Layers, or functions of an Array.
    optimizer : Optimizer, optional
        For `update`.
    cost : callable, optional
        For `backward`: ``cost(output, target)`` gives one number, as the functions of `corgi.cost` do.

    Raises
    ------
    TypeError
        If something is not what it should be.

    Examples
    --------
    >>> import corgi
    >>> from corgi import Model, activation, cost, initializer
    >>> from corgi.layer import Dense
    >>> from corgi.optimizer import GradientDescent
    >>> corgi.seed(1)
    >>> model = Model(
    ...     [Dense(2, 16, initializer.he(), activation.relu), Dense(16, 2, initializer.he(), activation.softmax)],
    ...     GradientDescent(0.5),
    ...     cost.cross_entropy,
    ... )
    >>> for _ in range(100):
    ...     output = model.forward([[0.0, 1.0], [1.0, 0.0]])
    ...     loss = model.backward([0, 1])
    ...     model.update()
    >>> loss < 0.01
    True
    """

    def __init__(
        self, layers: Layer | Iterable[Activation], optimizer: Optimizer | None = None, cost: Cost | None = None
    ) -> None:
        if not isinstance(layers, Layer) and not isinstance(layers, Iterable):
            raise TypeError(f"Model: expected layers, got {type(layers).__name__}")
        self.layers: list[Any] = [layers] if isinstance(layers, Layer) else list(layers)
        for position, layer in enumerate(self.layers, 1):
            if not callable(layer):
                raise TypeError(f"Model: expected layers or functions, got {type(layer).__name__} as layer {position}")
        if isinstance(optimizer, type):
            raise TypeError(f"Model: expected an optimizer, got the class {optimizer.__name__}; call it")
        if optimizer is not None and not hasattr(optimizer, "step"):
            raise TypeError(f"Model: expected an optimizer with a method step, got {type(optimizer).__name__}")
        if cost is not None and not callable(cost):
            raise TypeError(f"Model: expected a cost such as cost.mse, got {type(cost).__name__}")
        self.optimizer = optimizer
        self.cost = cost
        self._output: Array | None = None

    def forward(self, x: Any) -> Array:
        """The output of the last layer. A model with a cost keeps it for `backward`.

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
            What a layer raises. ValueError, TypeError and IndexError name the layer in the message, others in a note.
        """
        position = 0
        output: Array = x
        try:
            for layer in self.layers:
                output = layer(output)
                position += 1
        except Exception as error:
            if type(error) not in (ValueError, TypeError, IndexError):
                error.add_note(f"in {self._place(position)}")
                raise
            raise type(error)(self._located(position, str(error))) from error
        if self.cost is not None:  # else no backward can come, and the output would keep the graph alive
            self._output = output
        return output

    def _place(self, position: int) -> str:
        layer = self.layers[position]
        return f"{type(self).__name__} > layer {position + 1} ({getattr(layer, '__name__', type(layer).__name__)})"

    def _located(self, position: int, message: str) -> str:
        """A layer's error message with the layer's place in front, which continues in that of a model inside the model."""
        inner = type(self.layers[position]).__name__
        nested = message.startswith(f"{inner} > layer ")
        return self._place(position) + (message[len(inner) :] if nested else f": {message}")

    def backward(self, target: Any) -> float:
        """Differentiate the cost of the last output, by every parameter.

        Gradients add up until `update`. The output is given up: the next call needs another `forward`.

        Parameters
        ----------
        target : array_like
            As the cost wants it.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        ValueError
            Without a cost, before `forward`, if nothing is tracked, or if the cost does not give one number.
        """
        if self.cost is None:
            raise ValueError("Model.backward: expected a model with a cost; pass one: Model(layers, optimizer, cost)")
        if self._output is None:
            raise ValueError("Model.backward: expected a call of forward(x) before each backward(target)")
        loss = self.cost(self._output, target)
        if type(loss) is not Array:
            raise TypeError(f"Model.backward: expected an Array from the cost, got {type(loss).__name__}")
        if loss.size != 1:
            raise ValueError(f"Model.backward: expected one number from the cost, got shape {loss.shape}")
        if not loss.is_tracked:
            raise ValueError(
                "Model.backward: expected a tracked loss, got an untracked one; was forward run in no_tracking()?"
            )
        loss.backward()
        self._output = None
        return float(loss.item())

    def update(self) -> None:
        """Let the optimizer give every parameter new values, and clear the gradients.

        Raises
        ------
        ValueError
            Without an optimizer.
        """
        if self.optimizer is None:
            raise ValueError("Model.update: expected a model with an optimizer; pass one: Model(layers, optimizer, cost)")
        self.optimizer.step(self.parameters())

    def __repr__(self) -> str:
        parts = [_text(layer) for layer in self.layers]
        parts += [f"{name}={_text(value)}" for name in ("optimizer", "cost") if (value := getattr(self, name)) is not None]
        lines = [f"    {part},".replace("\n", "\n    ") for part in parts]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_output": None}


def _text(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
