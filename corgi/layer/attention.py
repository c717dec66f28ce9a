"""Attention: of many heads, positions, and the block that transformers are made of.

Above: users.  Below: the fused ops `scaled_dot_product_attention` and `self_attention`; `Dense`, `LayerNorm`, `Dropout`.
Sequences are (..., steps, size).  Parameters have the names and shapes that they have in PyTorch's `MultiheadAttention` and
`TransformerEncoderLayer`, so that weights are exchanged as they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from corgi import initializer as rules
from corgi._core import (
    Array,
    array,
    dense,
    get_default_dtype,
    logical_and,
    reshape,
    scaled_dot_product_attention,
    self_attention,
    split,
    swapaxes,
    where,
    zeros,
)
from corgi.activation import get as get_activation
from corgi.layer.base import Layer, size
from corgi.layer.dense import Dense
from corgi.layer.dropout import Dropout
from corgi.layer.norm import LayerNorm

if TYPE_CHECKING:
    from corgi._typing import Activation, ArrayLike, DTypeLike, Rule


class MultiHeadAttention(Layer):
    """Attention of several heads, each with its own linear maps of queries, keys and values (Vaswani et al. 2017).

    Parameters
    ----------
    size : int
        Of the rows, of which each head has size / heads.
    heads : int
        A divisor of `size`.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weights; `initializer.glorot()` by default. Biases start at 0.
    causal : bool
        Whether a step attends only to itself and to steps before it.
    bias : bool
        Whether there are biases.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    in_proj_weight, in_proj_bias : Array
        (3 * size, size) and (3 * size,), or None: for queries, keys and values, one after the other; in each, head by head.
    out_proj : Dense
        What the heads' results are mapped by.

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer or the dtype is not one, or `heads` does not divide `size`.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.MultiHeadAttention(32, 4, causal=True)
    >>> layer(corgi.ones((10, 7, 32))).shape
    (10, 7, 32)
    >>> layer = corgi.layer.MultiHeadAttention(32, 4)
    >>> layer(corgi.ones((10, 7, 32)), corgi.ones((10, 5, 32)), lengths=[5, 1, 3, 2, 5, 5, 4, 1, 1, 2]).shape
    (10, 7, 32)
    """

    def __init__(
        self,
        size: int,
        heads: int,
        initializer: Rule | None = None,
        *,
        causal: bool = False,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        size = _size(size, "MultiHeadAttention", "size")
        self.heads = _size(heads, "MultiHeadAttention", "heads")
        if size % self.heads:
            raise ValueError(f"MultiHeadAttention: expected heads that divide the size {size}, got {heads}")
        self.causal = bool(causal)
        rule = rules.glorot() if initializer is None else initializer
        self.in_proj_weight = rules.make(rule, (3 * size, size), dtype, "MultiHeadAttention")
        self.in_proj_bias = zeros(3 * size, self.in_proj_weight.dtype).tracked() if bias else None
        self.out_proj = Dense(size, size, rule, bias=bias, dtype=self.in_proj_weight.dtype)

    def forward(
        self,
        x: ArrayLike,
        memory: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
    ) -> Array:
        """The steps of `x`, each replaced by what it finds in the sequence, or in another one.

        Parameters
        ----------
        x : array_like
            (..., steps, size)
        memory : array_like, optional
            (..., keys, size), the sequence that is attended to; x by default.
        mask : array_like, optional
            Broadcasts to (..., heads, steps, keys): bool, True where a step attends to a key, or float, added to the scores.
            One for the keys of each sequence of a batch, (batch, keys), is ``mask[:, None, None, :]``.
        lengths : array_like of int, optional
            How many of the keys are real in each sequence, of the shape of the leading axes: the rest is padding.

        Returns
        -------
        Array
            (..., steps, size)
        """
        x = self._sequence(x, "an input")
        memory = None if memory is None else self._sequence(memory, "a memory")
        keys = x.shape[-2] if memory is None else memory.shape[-2]
        if lengths is not None:
            mask = _with_lengths(mask, lengths, keys)
        if memory is None:
            heads = self_attention(dense(x, self.in_proj_weight, self.in_proj_bias), self.heads, mask, causal=self.causal)
        else:
            weights = split(self.in_proj_weight, 3)
            biases = (None,) * 3 if self.in_proj_bias is None else split(self.in_proj_bias, 3)
            query, key, value = (
                self._split(dense(rows, weight, bias))
                for rows, weight, bias in zip((x, memory, memory), weights, biases, strict=True)
            )
            result = swapaxes(scaled_dot_product_attention(query, key, value, mask, causal=self.causal), -3, -2)
            heads = reshape(result, (*result.shape[:-2], self.in_proj_weight.shape[1]))
        return self.out_proj(heads)

    def _sequence(self, x: ArrayLike, what: str) -> Array:
        """Steps as an Array; values that are not one take the layer's dtype."""
        if type(x) is not Array:
            x = array(x, self.in_proj_weight.dtype)
        width = self.in_proj_weight.shape[1]
        if x.ndim < 2 or x.shape[-1] != width:
            raise ValueError(f"MultiHeadAttention: expected {what} (..., steps, {width}), got shape {x.shape}")
        return x

    def _split(self, x: Array) -> Array:
        """(..., steps, size) to (..., heads, steps, size / heads), a view."""
        return swapaxes(reshape(x, (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)), -3, -2)

    def __repr__(self) -> str:
        text = f"MultiHeadAttention({self.in_proj_weight.shape[1]}, {self.heads}"
        text += ", causal=True" if self.causal else ""
        text += "" if self.in_proj_bias is not None else ", bias=False"
        return f"{text})" if self.in_proj_weight.dtype == "float64" else f"{text}, dtype={self.in_proj_weight.dtype})"


_size = size  # whose name is also that of an argument


def _with_lengths(mask: ArrayLike | None, lengths: ArrayLike, keys: int) -> Array:
    """A mask that leaves the padding out as well."""
    counts = array(lengths)
    if counts.dtype != "int64":
        raise TypeError(f"MultiHeadAttention: expected ints for lengths, got {counts.dtype}")
    if counts.size and not (counts.min().item() >= 0 and counts.max().item() <= keys):
        raise ValueError(f"MultiHeadAttention: expected lengths from 0 to {keys}, got {counts.tolist()}")
    real = array(np.arange(keys)) < reshape(counts, (*counts.shape, 1, 1, 1))
    if mask is None:
        return real
    mask = array(mask)
    return logical_and(mask, real) if mask.dtype == "bool" else where(real, mask, -math.inf)


class PositionalEncoding(Layer):
    """Adds sines and cosines of the position to each step, at wavelengths from 2 pi to 20000 pi (Vaswani et al. 2017, 3.5).

    Element 2 i of step t gets ``sin(t / 10000**(2 * i / size))``, and element 2 i + 1 the cosine.

    Parameters
    ----------
    size : int
        Of the rows.

    Raises
    ------
    TypeError, ValueError
        If the size is not one; on use, if an input has another.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.PositionalEncoding(2)(corgi.zeros((2, 2)))
    Array([[0.        , 1.        ],
           [0.84147098, 0.54030231]], dtype=float64)
    """

    def __init__(self, size: int) -> None:
        self.size = _size(size, "PositionalEncoding", "size")
        self._table = zeros((0, self.size))

    def forward(self, x: ArrayLike) -> Array:
        """The sum, for an input of shape (..., steps, size)."""
        if type(x) is not Array:
            x = array(x)
        if x.ndim < 2 or x.shape[-1] != self.size:
            raise ValueError(f"PositionalEncoding: expected an input (..., steps, {self.size}), got shape {x.shape}")
        steps, dtype = x.shape[-2], x.dtype if x.dtype.kind == "f" else get_default_dtype()
        if len(self._table) < steps or self._table.dtype != dtype:
            self._table = _sinusoids(max(steps, len(self._table)), self.size).astype(dtype)
        return x + self._table[:steps]

    def __repr__(self) -> str:
        return f"PositionalEncoding({self.size})"

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_table": zeros((0, self.size))}


def _sinusoids(steps: int, size: int) -> Array:
    angles = np.arange(steps)[:, None] / 10000.0 ** (np.arange(0, size, 2) / size)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(steps, -1)
    return array(table[:, :size])


class PositionalEmbedding(Layer):
    """Adds a learned row to each step.

    Parameters
    ----------
    steps, size : int
        Of the longest sequence, and of the rows.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)``; `initializer.normal(0.02)` by default.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    weight : Array
        (steps, size)

    Raises
    ------
    TypeError, ValueError
        If a size, the initializer or the dtype is not one; on use, if a sequence is too long or has another size.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer.PositionalEmbedding(64, 8)(corgi.zeros((10, 7, 8))).shape
    (10, 7, 8)
    """

    def __init__(self, steps: int, size: int, initializer: Rule | None = None, *, dtype: DTypeLike | None = None) -> None:
        shape = (_size(steps, "PositionalEmbedding", "steps"), _size(size, "PositionalEmbedding", "size"))
        rule = rules.normal(0.02) if initializer is None else initializer
        self.weight = rules.make(rule, shape, dtype, "PositionalEmbedding")

    def forward(self, x: ArrayLike) -> Array:
        """The sum, for an input of shape (..., steps, size); values that are not an Array take the layer's dtype."""
        if type(x) is not Array:
            x = array(x, self.weight.dtype)
        longest, width = self.weight.shape
        if x.ndim < 2 or x.shape[-1] != width or x.shape[-2] > longest:
            raise ValueError(
                f"PositionalEmbedding: expected an input (..., steps, {width}) of up to {longest} steps, got shape {x.shape}"
            )
        return x + (self.weight if x.shape[-2] == longest else self.weight[: x.shape[-2]])

    def __repr__(self) -> str:
        steps, width = self.weight.shape
        dtype = "" if self.weight.dtype == "float64" else f", dtype={self.weight.dtype}"
        return f"PositionalEmbedding({steps}, {width}{dtype})"


class TransformerBlock(Layer):
    """Self-attention, then two dense layers for each step, both around a connection and with layer norm.

    With `norm_first`, ``x = x + self_attn(norm1(x))`` and ``x + linear2(activation(linear1(norm2(x))))`` (Xiong et al.
    2020); else the norms are taken of the sums, as in Vaswani et al. 2017.

    Parameters
    ----------
    size, heads : int
        As of `MultiHeadAttention`.
    hidden_size : int, optional
        Of the dense layers in between; 4 * size by default.
    initializer : callable, optional
        Called as ``initializer(shape, dtype)`` for the weights; `initializer.glorot()` by default.
    activation : callable or str
        Between the dense layers.
    causal : bool
        Whether a step attends only to itself and to steps before it.
    norm_first : bool
    dropout : float
        Probability with which the elements of both added results are dropped in training.
    bias : bool
        Whether attention and dense layers have biases.
    dtype : float64 or float32, optional
        The default dtype by default.

    Attributes
    ----------
    self_attn : MultiHeadAttention
    linear1, linear2 : Dense
    norm1, norm2 : LayerNorm
    dropout : Dropout

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.

    Examples
    --------
    >>> import corgi
    >>> block = corgi.layer.TransformerBlock(32, 4, causal=True)
    >>> block(corgi.ones((10, 7, 32))).shape
    (10, 7, 32)
    """

    def __init__(
        self,
        size: int,
        heads: int,
        hidden_size: int | None = None,
        initializer: Rule | None = None,
        activation: Activation | str = "gelu",
        *,
        causal: bool = False,
        norm_first: bool = True,
        dropout: float = 0.0,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        size = _size(size, "TransformerBlock", "size")
        hidden_size = 4 * size if hidden_size is None else _size(hidden_size, "TransformerBlock", "hidden_size")
        rule = rules.glorot() if initializer is None else initializer
        self.self_attn = MultiHeadAttention(size, heads, rule, causal=causal, bias=bias, dtype=dtype)
        self.linear1 = Dense(size, hidden_size, rule, get_activation(activation), bias=bias, dtype=dtype)
        self.linear2 = Dense(hidden_size, size, rule, bias=bias, dtype=dtype)
        self.norm1 = LayerNorm(size, dtype=dtype)
        self.norm2 = LayerNorm(size, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.norm_first = bool(norm_first)

    def forward(self, x: ArrayLike, mask: ArrayLike | None = None, *, lengths: ArrayLike | None = None) -> Array:
        """The steps after attention and dense layers, (..., steps, size).

        Parameters
        ----------
        x : array_like
            (..., steps, size)
        mask, lengths
            As `MultiHeadAttention` takes them.
        """
        if type(x) is not Array:
            x = array(x, self.linear1.weight.dtype)
        if self.norm_first:
            x = x + self.dropout(self.self_attn(self.norm1(x), None, mask, lengths=lengths))
            return x + self.dropout(self.linear2(self.linear1(self.norm2(x))))
        x = self.norm1(x + self.dropout(self.self_attn(x, None, mask, lengths=lengths)))
        return self.norm2(x + self.dropout(self.linear2(self.linear1(x))))

    def __repr__(self) -> str:
        width, heads = self.linear2.weight.shape[0], self.self_attn.heads
        text = f"TransformerBlock({width}, {heads}, {self.linear1.weight.shape[0]}"
        text += ", causal=True" if self.self_attn.causal else ""
        text += "" if self.norm_first else ", norm_first=False"
        return f"{text})" if self.linear1.weight.dtype == "float64" else f"{text}, dtype={self.linear1.weight.dtype})"
