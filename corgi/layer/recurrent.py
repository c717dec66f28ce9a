"""Recurrent layers: RNN, LSTM, GRU, in one direction or both, one above the other.

Above: users.  Below: the ops `corgi.rnn`, `corgi.lstm`, `corgi.gru`, one for each layer and direction.  Parameters have
PyTorch's names, shapes and order of gates, so that the states of its modules can be assigned by name.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from corgi import initializer as rules
from corgi._core import Array, array, assign, concatenate, gru, lstm, rnn, stack
from corgi.layer.base import Layer, real, size
from corgi.layer.dropout import dropout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corgi._typing import Activation, ArrayLike, DTypeLike, Rule

__all__ = ["GRU", "LSTM", "RNN", "LSTMState"]


class LSTMState(NamedTuple):
    """The state of an `LSTM`: a pair that can be detached.

    Attributes
    ----------
    h, c : Array
        (num_layers * directions, batch, hidden_size): outputs and cells.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.LSTM(3, 4)
    >>> output, state = layer.run(corgi.ones((2, 5, 3)))
    >>> h, c = state.detach()
    >>> c.shape, c.is_tracked
    ((1, 2, 4), False)
    """

    h: Array
    c: Array

    def detach(self) -> LSTMState:
        """The same values without their graph.

        Returns
        -------
        LSTMState
        """
        return LSTMState(self.h.detach(), self.c.detach())


class Recurrent(Layer):
    """What the recurrent layers share: their parameters, and the way through layers and directions."""

    weight_ih_l0: Array
    weight_hh_l0: Array
    bias_ih_l0: Array
    bias_hh_l0: Array

    _gates: ClassVar[int] = 1
    # One layer in one direction: (x, parameters, state, lengths=, reverse=) to (output, state), an Array or a pair of them.
    _operation: Callable[..., tuple[Array, Any]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        initializer: Rule | None = None,
        *,
        recurrent_initializer: Rule | None = None,
        num_layers: int = 1,
        bidirectional: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        return_sequences: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        name = type(self).__name__
        self.input_size, self.hidden_size = size(input_size, name, "input_size"), size(hidden_size, name, "hidden_size")
        self.num_layers = size(num_layers, name, "num_layers")
        self.bidirectional, self.return_sequences = bool(bidirectional), bool(return_sequences)
        self.dropout = real(dropout, name, "dropout", most=1)
        if self.dropout and self.num_layers == 1:
            raise ValueError(f"{name}: expected num_layers of at least 2 with dropout, which is between layers, got 1")
        directions = ("", "_reverse") if bidirectional else ("",)
        # For each layer, and each of its directions, the names of its parameters.
        self._names = [
            [[f"{parameter}_l{n}{direction}" for parameter in _PARAMETERS] for direction in directions]
            for n in range(self.num_layers)
        ]
        usual = rules.uniform(-(self.hidden_size**-0.5), self.hidden_size**-0.5)
        inputs = self.input_size
        for layer in self._names:
            for weight_ih, weight_hh, *biases in layer:
                self._make(weight_ih, initializer or usual, (self.hidden_size, inputs), dtype)
                self._make(weight_hh, recurrent_initializer or usual, (self.hidden_size, self.hidden_size), dtype)
                for parameter in biases:
                    if bias:
                        self._make(parameter, rules.zeros() if initializer else usual, (self.hidden_size,), dtype)
                    else:
                        setattr(self, parameter, None)
            inputs = self.hidden_size * len(directions)

    def _make(self, name: str, rule: Rule, shape: tuple[int, ...], dtype: DTypeLike | None) -> None:
        """A parameter whose gates are initialized each by itself."""
        gates = [rules.make(rule, shape, dtype, type(self).__name__).detach() for _ in range(self._gates)]
        setattr(self, name, concatenate(gates).tracked())

    def _through(self, x: Any, state: Any, lengths: Any) -> tuple[Array, list[Any]]:
        """The outputs of the last layer, and the last state of each layer and direction."""
        if type(x) is not Array:
            x = array(x, self.weight_ih_l0.dtype)
        firsts = None if state is None else self._split(state)
        states: list[Any] = []
        for n, layer in enumerate(self._names):
            if n and self.dropout and self.training:
                x = dropout(x, self.dropout)
            outputs: list[Array] = []
            for names in layer:
                parameters = [getattr(self, name) for name in names]
                first = None if firsts is None else firsts[len(states)]
                output, last = self._operation(x, *parameters, first, lengths=lengths, reverse=len(outputs) == 1)
                outputs.append(output)
                states.append(last)
            x = outputs[0] if len(outputs) == 1 else concatenate(outputs, -1)
        return x, states

    def _split(self, state: Any) -> list[Any]:
        """A state for each layer and direction."""
        if isinstance(self, LSTM):
            if not isinstance(state, (tuple, list)) or len(state) != 2:
                raise TypeError(f"LSTM: expected a state (h, c), got {type(state).__name__}")
            return list(zip(self._each(state[0]), self._each(state[1]), strict=True))
        return self._each(state)

    def _each(self, state: Any) -> list[Array]:
        if type(state) is not Array:
            state = array(state, self.weight_ih_l0.dtype)
        count = self.num_layers * len(self._names[0])
        if state.ndim == 0 or state.shape[0] != count:
            raise ValueError(
                f"{type(self).__name__}: expected a state of shape ({count}, ..., {self.hidden_size}), one for each layer "
                f"and direction, got {state.shape}"
            )
        return [state[i] for i in range(count)]

    def forward(self, x: ArrayLike, state: Any = None, *, lengths: ArrayLike | None = None) -> Array:
        """The outputs after all steps, or with ``return_sequences=False`` after the last one.

        Parameters
        ----------
        x : array_like
            (batch, steps, input_size), or one series (steps, input_size); what is not an Array takes the layer's dtype.
        state : optional
            As `run` takes and gives it.
        lengths : array_like of ints, optional
            (batch,): the steps that count in each row. Outputs beyond are 0.

        Returns
        -------
        Array
            (batch, steps, hidden_size * directions), or (batch, hidden_size * directions): after the last step of each row,
            and in the reverse direction after its first.
        """
        output, states = self._through(x, state, lengths)
        if self.return_sequences:
            return output
        last = [s[0] if isinstance(s, tuple) else s for s in states[-len(self._names[-1]) :]]
        return last[0] if len(last) == 1 else concatenate(last, -1)

    def run(self, x: ArrayLike, state: Any = None, *, lengths: ArrayLike | None = None) -> tuple[Array, Any]:
        """The outputs after all steps, and the state after the last, with which a later call can go on.

        Truncated backpropagation through time: hand ``state.detach()`` on, to cut the graph between pieces of a long series.

        Parameters
        ----------
        x : array_like
            (batch, steps, input_size), or one series (steps, input_size); what is not an Array takes the layer's dtype.
        state : optional
            The first state, as this method gives it; zeros by default.
        lengths : array_like of ints, optional
            (batch,): the steps that count in each row. Outputs beyond are 0.

        Returns
        -------
        output : Array
            (batch, steps, hidden_size * directions)
        state : Array, or LSTMState
            (num_layers * directions, batch, hidden_size), after the last step of each row; of an LSTM two of these, h and c.

        Examples
        --------
        >>> import corgi
        >>> layer, state = corgi.layer.GRU(3, 4), None
        >>> for piece in corgi.split(corgi.ones((2, 12, 3)), 4, axis=1):
        ...     output, state = layer.run(piece, state)
        ...     output.sum().backward()  # through this piece alone
        ...     state = state.detach()
        >>> state.shape
        (1, 2, 4)
        """
        output, states = self._through(x, state, lengths)
        if isinstance(states[0], tuple):
            return output, LSTMState(*[_stacked(parts) for parts in zip(*states, strict=True)])
        return output, _stacked(states)

    def step(self, x: ArrayLike, state: Any = None) -> tuple[Array, Any]:
        """One step, as in generating a series or acting in an environment.

        Parameters
        ----------
        x : array_like
            (batch, input_size), or (input_size,); values that are not an Array take the layer's dtype.
        state : optional
            The state before, as this method or `run` gives it; zeros by default.

        Returns
        -------
        output : Array
            (batch, hidden_size), or (hidden_size,).
        state : Array, or LSTMState
            The state after, for the next call.

        Raises
        ------
        ValueError
            If the layer is bidirectional, which needs the whole series.

        Examples
        --------
        >>> import corgi
        >>> layer, state = corgi.layer.LSTM(3, 4), None
        >>> for x in corgi.ones((5, 3)):
        ...     output, state = layer.step(x, state)
        >>> output.shape
        (4,)
        """
        if self.bidirectional:
            raise ValueError(f"{type(self).__name__}: expected a layer of one direction for step; run takes whole series")
        if type(x) is not Array:
            x = array(x, self.weight_ih_l0.dtype)
        output, state = self.run(x[..., None, :], state)
        return output[..., 0, :], state

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self.input_size}, {self.hidden_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bidirectional:
            text += ", bidirectional=True"
        if self.dropout:
            text += f", dropout={self.dropout}"
        if self.bias_ih_l0 is None:
            text += ", bias=False"
        if not self.return_sequences:
            text += ", return_sequences=False"
        return f"{text})" if self.weight_ih_l0.dtype == np.float64 else f"{text}, dtype={self.weight_ih_l0.dtype})"


_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _stacked(states: Sequence[Array]) -> Array:
    """States along a new first axis."""
    return states[0][None] if len(states) == 1 else stack(states)


class RNN(Recurrent):
    """A simple recurrent layer (Elman, 1990), the op `corgi.rnn`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of a step, and of the state.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weights of the input; the biases are then 0. By default all
        parameters are uniform in +-1 / sqrt(hidden_size), as in PyTorch.
    activation : {"tanh", "relu"} or one of these functions
    recurrent_initializer : callable, optional
        The same for the weights of the state, such as `initializer.orthogonal()`.
    num_layers : int
        How many layers there are, each with the outputs of the one before as its inputs.
    bidirectional : bool
        Whether a second layer goes from the last step to the first; the outputs of both lie side by side.
    bias : bool
        Whether the layer has biases.
    dropout : float
        In training, the outputs of all layers but the last pass through `corgi.dropout` with this probability.
    return_sequences : bool
        Whether the layer's output are the states after all steps, or only that after the last, for a layer that takes one.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Array
        (hidden_size, input_size) and (hidden_size, hidden_size). Further layers end in ``_l1`` and so on (their inputs
        are hidden_size * directions), those of the reverse direction in ``_l0_reverse``: PyTorch's names, shapes and order.
    bias_ih_l0, bias_hh_l0 : Array or None
        (hidden_size,)

    Raises
    ------
    TypeError, ValueError
        If a size, an initializer, the activation or the dtype is not one; on use, if shapes do not fit.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.RNN(3, 4, activation="relu")
    >>> layer(corgi.ones((2, 5, 3))).shape
    (2, 5, 4)
    >>> layer
    RNN(3, 4, activation='relu')
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        initializer: Rule | None = None,
        activation: Activation | str = "tanh",
        *,
        recurrent_initializer: Rule | None = None,
        num_layers: int = 1,
        bidirectional: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        return_sequences: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            initializer,
            recurrent_initializer=recurrent_initializer,
            num_layers=num_layers,
            bidirectional=bidirectional,
            bias=bias,
            dropout=dropout,
            return_sequences=return_sequences,
            dtype=dtype,
        )
        name = getattr(activation, "__name__", activation)
        if name not in ("tanh", "relu"):
            raise ValueError(f"RNN: expected activation 'tanh' or 'relu', got {activation!r}")
        self.activation = name

    def _operation(self, *operands: Any, **options: Any) -> tuple[Array, Any]:
        options["activation"] = self.activation
        return rnn(*operands, **options)

    def __repr__(self) -> str:
        text = super().__repr__()
        return text if self.activation == "tanh" else f"{text[:-1]}, activation={self.activation!r})"


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), the op `corgi.lstm`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of a step, and of the state.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weights of the input, of each gate by itself; the biases are then 0.
        By default all parameters are uniform in +-1 / sqrt(hidden_size), as in PyTorch.
    recurrent_initializer : callable, optional
        The same for the weights of the state, such as `initializer.orthogonal()`.
    forget_bias : float
        Added to the bias of the forget gate at first; 1 helps to remember over long times (Jozefowicz et al., 2015).
    num_layers : int
        How many layers there are, each with the outputs of the one before as its inputs.
    bidirectional : bool
        Whether a second layer goes from the last step to the first; the outputs of both lie side by side.
    bias : bool
        Whether the layer has biases.
    dropout : float
        In training, the outputs of all layers but the last pass through `corgi.dropout` with this probability.
    return_sequences : bool
        Whether the layer's output are the states after all steps, or only that after the last, for a layer that takes one.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Array
        (4 * hidden_size, input_size) and (4 * hidden_size, hidden_size), gates in the order i, f, g, o.
        Further layers end in ``_l1`` and so on (their inputs are hidden_size * directions), those of the reverse direction
        in ``_l0_reverse``: PyTorch's names, shapes and order.
    bias_ih_l0, bias_hh_l0 : Array or None
        (4 * hidden_size,)

    Raises
    ------
    TypeError, ValueError
        If a size, an initializer, the activation or the dtype is not one; on use, if shapes do not fit.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.LSTM(3, 4, num_layers=2, return_sequences=False)
    >>> layer(corgi.ones((2, 5, 3)), lengths=[5, 2]).shape
    (2, 4)
    >>> list(layer.named_parameters())[-1]
    'bias_hh_l1'
    >>> layer
    LSTM(3, 4, num_layers=2, return_sequences=False)
    """

    _gates = 4
    _operation = staticmethod(lstm)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        initializer: Rule | None = None,
        *,
        recurrent_initializer: Rule | None = None,
        forget_bias: float = 0.0,
        num_layers: int = 1,
        bidirectional: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        return_sequences: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            initializer,
            recurrent_initializer=recurrent_initializer,
            num_layers=num_layers,
            bidirectional=bidirectional,
            bias=bias,
            dropout=dropout,
            return_sequences=return_sequences,
            dtype=dtype,
        )
        if isinstance(forget_bias, bool) or not isinstance(forget_bias, Real):
            raise TypeError(f"LSTM: expected a number for forget_bias, got {type(forget_bias).__name__}")
        if not math.isfinite(forget_bias):
            raise ValueError(f"LSTM: expected a finite forget_bias, got {forget_bias}")
        if forget_bias and not bias:
            raise ValueError(f"LSTM: expected bias=True with forget_bias, got forget_bias={forget_bias}")
        for names in [names for layer in self._names for names in layer] if forget_bias else []:
            bias_ih = getattr(self, names[2])
            values = bias_ih.numpy().copy()
            values[self.hidden_size : 2 * self.hidden_size] += forget_bias
            assign(bias_ih, values)


class GRU(Recurrent):
    """Gated recurrent units (Cho et al., 2014) in PyTorch's form, the op `corgi.gru`.

    Parameters
    ----------
    input_size, hidden_size : int
        Features of a step, and of the state.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weights of the input, of each gate by itself; the biases are then 0.
        By default all parameters are uniform in +-1 / sqrt(hidden_size), as in PyTorch.
    recurrent_initializer : callable, optional
        The same for the weights of the state, such as `initializer.orthogonal()`.
    num_layers : int
        How many layers there are, each with the outputs of the one before as its inputs.
    bidirectional : bool
        Whether a second layer goes from the last step to the first; the outputs of both lie side by side.
    bias : bool
        Whether the layer has biases.
    dropout : float
        In training, the outputs of all layers but the last pass through `corgi.dropout` with this probability.
    return_sequences : bool
        Whether the layer's output are the states after all steps, or only that after the last, for a layer that takes one.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Array
        (3 * hidden_size, input_size) and (3 * hidden_size, hidden_size), gates in the order r, z, n.
        Further layers end in ``_l1`` and so on (their inputs are hidden_size * directions), those of the reverse direction
        in ``_l0_reverse``: PyTorch's names, shapes and order.
    bias_ih_l0, bias_hh_l0 : Array or None
        (3 * hidden_size,)

    Raises
    ------
    TypeError, ValueError
        If a size, an initializer, the activation or the dtype is not one; on use, if shapes do not fit.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.GRU(3, 4, recurrent_initializer=corgi.initializer.orthogonal(), bidirectional=True)
    >>> layer(corgi.ones((2, 5, 3))).shape
    (2, 5, 8)
    >>> layer
    GRU(3, 4, bidirectional=True)
    """

    _gates = 3
    _operation = staticmethod(gru)
