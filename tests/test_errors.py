"""Wrong calls: the error that each gives, that it leaves nothing changed, and that no mixture of arguments crashes Python.

The table is written by hand; the right calls in fuzz.py are made wrong by machine.
"""

import copy
import gc
import os
import pathlib
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import corgi
from corgi import Model, activation, arr, cost, data, initializer
from corgi.layer import AvgPool, Conv, Dense, Flatten, Layer, MaxPool
from corgi.optimizer import Adam, GradientDescent, Optimizer

from .fuzz import CALLS, FILTERS, IMAGES, NOT_CALLED, A, Arrays, B3, I3, P, V, no_gradient, total

T = arr([1.0, 2.0, 3.0]).tracked()
ONE = arr(1.0)
SQUARE = corgi.ones((2, 2))
NAN, INF = float("nan"), float("inf")
NO_LAYER, NO_COST = Dense(2, 2), lambda output, target: None
TWO_TO_TWO = Model([Dense(2, 2)], None, cost.mse)


def custom(forward, backward=no_gradient):
    return corgi.op(forward, backward)(T)


def gradient_of_custom(backward):
    corgi.op(lambda x: x * 2, backward)(T).backward()


def train(target, model=TWO_TO_TWO):
    model.forward([[1.0, 2.0]])
    model.backward(target)


def set_gradient(a, value):
    a.gradient = value


def nine_labels():
    raise NotImplementedError


# id, call, exception, how the message begins
TABLE = [
    # making arrays
    ("ragged", lambda: arr([[1, 2], [3]]), ValueError, "array: expected nested lists of equal lengths, got ragged ones"),
    ("array of None", lambda: arr(None), TypeError, "array: expected numbers, got NoneType"),
    ("array of str", lambda: arr("1.5"), TypeError, "array: expected numbers, got str"),
    ("array of strs", lambda: arr(["a", "b"]), TypeError, "array: expected numbers, got <U1 values"),
    ("array of bytes", lambda: arr(b"12"), TypeError, "array: expected numbers, got bytes"),
    ("array of dict", lambda: arr({}), TypeError, "array: expected numbers, got dict"),
    ("array of set", lambda: arr({1.0}), TypeError, "array: expected numbers, got set"),
    ("array of Nones", lambda: arr([1.0, None]), TypeError, "array: expected numbers, got object values"),
    ("array of objects", lambda: arr(np.array([object()])), TypeError, "array: expected numbers, got object values"),
    ("array of complex", lambda: arr(np.ones(2, complex)), TypeError, "array: expected numbers, got complex128 values"),
    ("array of dates", lambda: arr(np.datetime64("2020-01-01")), TypeError, "array: expected numbers, got datetime64[D]"),
    ("array of function", lambda: arr(nine_labels), TypeError, "array: expected numbers, got object values"),
    ("array of unequal arrays", lambda: arr([A, V]), ValueError, "stack: expected arrays of one shape, got (2, 3) and (3,)"),
    ("nine axes", lambda: arr([[[[[[[[[1]]]]]]]]]), ValueError, "array: expected at most 8 axes, got 9"),
    ("nine axes of NumPy", lambda: arr(np.zeros((1,) * 9)), ValueError, "array: expected at most 8 axes, got 9"),
    ("large int", lambda: arr(2**63), OverflowError, "array: 9223372036854775808 does not fit int64; use a float"),
    ("large ints", lambda: arr([2**70]), OverflowError, "array: an integer does not fit int64; use floats"),
    ("large uint64", lambda: arr(np.uint64(2**63)), ValueError, "array: uint64 values above 2**63 - 1 do not fit int64"),
    (
        "dtype that is none",
        lambda: arr([1.0], "rubbish"),
        TypeError,
        "dtype: expected float64, float32, int64 or bool, got 'rub",
    ),
    (
        "complex dtype",
        lambda: arr([1.0], complex),
        TypeError,
        "dtype: expected float64, float32, int64 or bool, got <class 'com",
    ),
    ("int32", lambda: corgi.zeros(2, "int32"), TypeError, "dtype: expected float64, float32, int64 or bool, got 'int32'"),
    ("astype int8", lambda: V.astype("int8"), TypeError, "dtype: expected float64, float32, int64 or bool, got 'int8'"),
    (
        "Array()",
        lambda: corgi.Array([1.0]),
        TypeError,
        "Array: arrays are not made by calling the class; use corgi.array(values)",
    ),
    (
        "Array.__new__",
        lambda: corgi.Array.__new__(corgi.Array),
        TypeError,
        "Array: arrays are not made by calling the class",
    ),
    ("zeros None", lambda: corgi.zeros(None), TypeError, "zeros: expected a shape, an int or a sequence of ints, got None"),
    ("zeros float", lambda: corgi.zeros(1.5), TypeError, "zeros: expected a shape, an int or a sequence of ints, got 1.5"),
    ("zeros str", lambda: corgi.zeros("ab"), TypeError, "zeros: expected a shape, an int or a sequence of ints, got 'ab'"),
    (
        "zeros bytes",
        lambda: corgi.zeros(b"ab"),
        TypeError,
        "zeros: expected a shape, an int or a sequence of ints, got b'ab'",
    ),
    (
        "zeros dict",
        lambda: corgi.zeros({2: 3}),
        TypeError,
        "zeros: expected a shape, an int or a sequence of ints, got {2: 3}",
    ),
    ("zeros negative", lambda: corgi.zeros((2, -1)), ValueError, "zeros: expected sizes of at least 0, got shape (2, -1)"),
    ("zeros nine axes", lambda: corgi.zeros((1,) * 9), ValueError, "zeros: expected at most 8 axes, got 9"),
    (
        "zeros too large",
        lambda: corgi.zeros((2**40, 2**40)),
        MemoryError,
        "zeros: not enough memory for shape (1099511627776, 1",
    ),
    ("zeros size", lambda: corgi.zeros(2**64), ValueError, "zeros: size 18446744073709551616 is too large"),
    ("ones negative", lambda: corgi.ones(-3), ValueError, "ones: expected sizes of at least 0, got shape -3"),
    ("full of None", lambda: corgi.full(2, None), TypeError, "full: expected a number, got NoneType"),
    ("full of complex", lambda: corgi.full(2, 1j), TypeError, "full: expected a number, got complex"),
    ("full of an array", lambda: corgi.full(2, V), TypeError, "full: expected a number, got Array"),
    ("full of NaN, int64", lambda: corgi.full(2, NAN, "int64"), ValueError, "full: "),
    ("full_like of None", lambda: corgi.full_like(V, None), TypeError, "full_like: expected a number, got NoneType"),
    ("full_like of str", lambda: corgi.full_like(V, "x"), TypeError, "full_like: expected a number, got str"),
    (
        "full_like large",
        lambda: corgi.full_like(I3, 2**64),
        OverflowError,
        "full_like: 18446744073709551616 does not fit int64",
    ),
    ("eye negative", lambda: corgi.eye(-1), ValueError, "eye: expected sizes of at least 0, got -1 and None"),
    ("eye float", lambda: corgi.eye(1.5), TypeError, "eye: expected numbers of rows and columns, got 1.5 and None"),
    ("arange step 0", lambda: corgi.arange(0, 1, 0), ValueError, "arange: expected a step other than 0"),
    ("arange None", lambda: corgi.arange(None), TypeError, "arange: expected numbers, got NoneType"),
    ("arange to infinity", lambda: corgi.arange(0, INF), ValueError, "arange: "),
    ("arange to NaN", lambda: corgi.arange(0, NAN), ValueError, "arange: "),
    ("linspace -1", lambda: corgi.linspace(0, 1, -1), ValueError, "linspace: expected num of at least 0, got -1"),
    ("linspace 1.5", lambda: corgi.linspace(0, 1, 1.5), TypeError, "linspace: expected an int for num, got float"),
    ("linspace None", lambda: corgi.linspace(None, 1), TypeError, "linspace: expected numbers, got NoneType"),
    (
        "default dtype int64",
        lambda: corgi.set_default_dtype("int64"),
        TypeError,
        "set_default_dtype: expected float64 or float32",
    ),
    (
        "default dtype None",
        lambda: corgi.set_default_dtype(None),
        TypeError,
        "set_default_dtype: expected float64 or float32",
    ),
    (
        "default_dtype bool",
        lambda: corgi.default_dtype("bool").__enter__(),
        TypeError,
        "set_default_dtype: expected float64 or",
    ),
    # elementwise
    (
        "add shapes",
        lambda: A + arr([1.0, 2.0]),
        ValueError,
        "add: shapes (2, 3) and (2,) do not broadcast, sizes 3 and 2 differ",
    ),
    ("add complex", lambda: A + 1j, TypeError, "add: expected an array or numbers, got complex"),
    ("complex times", lambda: 1j * A, TypeError, "multiply: expected an array or numbers, got complex"),
    ("add complex NumPy", lambda: A + np.ones(3, complex), TypeError, "add: expected an array or numbers, got ndarray"),
    ("add list of None", lambda: V + [1, None, 2], TypeError, "add: expected an array or numbers, got list"),
    ("add ragged", lambda: V + [1, [2]], ValueError, "array: expected nested lists of equal lengths"),
    ("add large int", lambda: I3 + 2**63, OverflowError, "add: 9223372036854775808 does not fit int64"),
    ("add huge int", lambda: V + 10**400, OverflowError, "add: "),
    ("add function, None", lambda: corgi.add(V, None), TypeError, "add: expected an array or numbers, got NoneType"),
    ("add one argument", lambda: corgi.add(V), TypeError, "add: expected 2 arguments, got 1"),
    ("maximum three arguments", lambda: corgi.maximum(V, V, V), TypeError, "maximum: expected 2 arguments, got 3"),
    ("exp None", lambda: corgi.exp(None), TypeError, "exp: expected an array or numbers, got NoneType"),
    ("power negative", lambda: I3**-1, ValueError, "power: expected exponents of at least 0 for an int64 array; convert"),
    (
        "clip shapes",
        lambda: corgi.clip(V, arr([1.0, 2.0])),
        ValueError,
        "clip: shapes (3,) and (2,) and () do not broadcast",
    ),
    ("clip str", lambda: V.clip("x"), TypeError, "clip: expected an array or numbers, got str"),
    ("clip four arguments", lambda: corgi.clip(V, 0, 1, 2), TypeError, "clip: expected 3 arguments, got 4"),
    (
        "axpy shapes",
        lambda: corgi.axpy(2.0, V, A[:, :2]),
        ValueError,
        "axpy: shapes () and (3,) and (2, 2) do not broadcast",
    ),
    ("not of floats", lambda: ~V, TypeError, "~: expected a bool array, got float64"),
    ("and of floats", lambda: V & V, TypeError, "logical_and: expected bool arrays, got float64 and float64"),
    ("or of ints", lambda: B3 | I3, TypeError, "logical_or: expected bool arrays, got bool and int64"),
    (
        "where shapes",
        lambda: corgi.where(B3, V, A[:, :2]),
        ValueError,
        "where: shapes (3,), (3,), (2, 2) do not broadcast; sizes",
    ),
    ("where None", lambda: corgi.where(None, V, V), TypeError, "where: expected an array or numbers, got NoneType"),
    # conversions
    ("bool", lambda: bool(V), ValueError, "bool: the truth of an array of shape (3,) is ambiguous; use .any() or .all()"),
    ("bool of none", lambda: bool(corgi.zeros(0)), ValueError, "bool: the truth of an array of shape (0,) is ambiguous"),
    ("if comparison", lambda: 1 if A > 2 else 0, ValueError, "bool: the truth of an array of shape (2, 3) is ambiguous"),
    ("float", lambda: float(V), ValueError, "item: expected an array with one element, got shape (3,); use tolist()"),
    ("int", lambda: int(A), ValueError, "item: expected an array with one element, got shape (2, 3)"),
    (
        "item",
        lambda: V.item(),
        ValueError,
        "item: expected an array with one element, got shape (3,); use tolist() or an index",
    ),
    ("item of a row", lambda: A.item(0), ValueError, "item: expected an array with one element, got shape (3,)"),
    ("item out of range", lambda: A.item(0, 9), IndexError, "index: 9 is out of range for axis 1 of size 3"),
    ("float as an index", lambda: [1, 2][ONE], TypeError, "index: expected an int64 array without axes, got float64"),
    ("len", lambda: len(ONE), TypeError, "len: an array without axes has no length"),
    ("iter", lambda: list(ONE), TypeError, "iter: an array without axes cannot be iterated over"),
    ("format", lambda: f"{V:.2f}", ValueError, "item: expected an array with one element, got shape (3,)"),
    ("writable buffer", lambda: np.frombuffer(V).__setitem__(0, 1.0), ValueError, "assignment destination is read-only"),
    # indices
    ("index out of range", lambda: V[3], IndexError, "index: 3 is out of range for axis 0 of size 3"),
    ("negative index", lambda: V[-4], IndexError, "index: -4 is out of range for axis 0 of size 3"),
    ("column out of range", lambda: A[:, 3], IndexError, "index: 3 is out of range for axis 1 of size 3"),
    ("large index", lambda: V[2**70], IndexError, "index: 1180591620717411303424 is out of range for axis 0 of size 3"),
    (
        "large index in a tuple",
        lambda: A[0, -(2**70)],
        IndexError,
        "index: -1180591620717411303424 is out of range for axis 1",
    ),
    (
        "float index",
        lambda: V[1.0],
        IndexError,
        "index: expected ints, slices, None, ... or arrays of ints or bools, got float64",
    ),
    (
        "float indices",
        lambda: V[[0.5]],
        IndexError,
        "index: expected ints, slices, None, ... or arrays of ints or bools, got",
    ),
    ("str index", lambda: V["a"], TypeError, "index: expected an array or numbers, got str"),
    ("two indices for one axis", lambda: V[0, 0], IndexError, "index: an array of shape (3,) was given 2 indices"),
    ("no axis left", lambda: ONE[0], IndexError, "index: an array without axes was given 1 index"),
    ("two ellipses", lambda: A[..., ...], IndexError, "index: expected at most one ellipsis"),
    ("nine axes by None", lambda: V[(None,) * 8], IndexError, "index: expected at most 8 axes in the result"),
    ("list out of range", lambda: V[[0, 3]], IndexError, "index: 3 is out of range for an axis of size 3"),
    ("short mask", lambda: V[[True, False]], IndexError, "index: boolean index did not match indexed array"),
    (
        "unequal lists",
        lambda: A[[0, 1], [0, 1, 2]],
        IndexError,
        "index: shape mismatch: indexing arrays could not be broadcast",
    ),
    ("slice of floats", lambda: V[0.5:], TypeError, "index: expected ints in a slice, got slice(0.5, None, None)"),
    ("slice step 0", lambda: V[::0], ValueError, "index: "),
    ("take out of range", lambda: corgi.take(V, [3]), IndexError, "take: 3 is out of range for an axis of size 3"),
    ("take floats", lambda: corgi.take(V, [1.0]), TypeError, "take: expected int64 indices, got float64"),
    ("take bools", lambda: corgi.take(V, B3), TypeError, "take: expected int64 indices, got bool"),
    ("take axis", lambda: corgi.take(V, 0, 1), IndexError, "take: axis 1 is out of range for an array with 1 axes"),
    # shapes
    (
        "reshape sizes",
        lambda: V.reshape(2),
        ValueError,
        "reshape: an array of shape (3,) has 3 elements, which do not fill shape",
    ),
    (
        "reshape two -1",
        lambda: A.reshape(-1, -1),
        ValueError,
        "reshape: expected sizes of at least 0 and at most one -1, got (-1",
    ),
    ("reshape -2", lambda: A.reshape(-2), ValueError, "reshape: expected sizes of at least 0 and at most one -1, got (-2,)"),
    (
        "reshape 0, -1",
        lambda: corgi.zeros(0).reshape(0, -1),
        ValueError,
        "reshape: an array of shape (0,) has 0 elements, which",
    ),
    (
        "reshape None",
        lambda: A.reshape(None),
        TypeError,
        "reshape: expected a shape, an int or a sequence of ints, got None",
    ),
    ("reshape nine axes", lambda: ONE.reshape((1,) * 9), ValueError, "reshape: expected at most 8 axes, got 9"),
    ("reshape wraps to 0", lambda: corgi.zeros(0).reshape(2**32, 2**32), ValueError, "reshape: "),
    ("reshape wraps to 1", lambda: ONE.reshape(274177, 67280421310721), ValueError, "reshape: "),
    (
        "transpose too few",
        lambda: A.transpose(0),
        ValueError,
        "transpose: expected 2 axes, one for each axis of shape (2, 3), got 1",
    ),
    ("transpose twice", lambda: A.transpose(0, 0), ValueError, "transpose: an axis is named twice in (0, 0)"),
    ("transpose axis", lambda: A.transpose(0, 2), IndexError, "transpose: axis 2 is out of range for an array with 2 axes"),
    ("transpose str", lambda: A.transpose("ab"), TypeError, "transpose: expected an axis or a sequence of axes, got 'ab'"),
    ("swapaxes", lambda: A.swapaxes(0, 2), IndexError, "swapaxes: axis 2 is out of range for an array with 2 axes"),
    ("swapaxes None", lambda: A.swapaxes(0, None), TypeError, "swapaxes: expected an int for the axis, got NoneType"),
    (
        "moveaxis counts",
        lambda: corgi.moveaxis(A, (0, 1), 0),
        ValueError,
        "moveaxis: expected as many destinations as sources, got",
    ),
    (
        "broadcast_to",
        lambda: corgi.broadcast_to(V, (2,)),
        ValueError,
        "broadcast_to: an array of shape (3,) does not broadcast to",
    ),
    (
        "broadcast_to fewer",
        lambda: corgi.broadcast_to(A, (3,)),
        ValueError,
        "broadcast_to: an array of shape (2, 3) does not",
    ),
    (
        "broadcast_to negative",
        lambda: corgi.broadcast_to(V, (-1, 3)),
        ValueError,
        "broadcast_to: expected sizes of at least 0",
    ),
    ("broadcast_to too large", lambda: corgi.broadcast_to(ONE, (2**62, 4)), ValueError, "broadcast_to: "),
    (
        "squeeze",
        lambda: corgi.squeeze(A, 0),
        ValueError,
        "squeeze: expected axes of size 1, but axis 0 of shape (2, 3) has size 2",
    ),
    (
        "expand_dims",
        lambda: corgi.expand_dims(V, 5),
        IndexError,
        "expand_dims: axis 5 is out of range for an array with 2 axes",
    ),
    (
        "expand_dims None",
        lambda: corgi.expand_dims(V, None),
        TypeError,
        "expand_dims: expected an axis or a sequence of axes, got",
    ),
    (
        "expand_dims nine",
        lambda: corgi.expand_dims(V, range(8)),
        ValueError,
        "expand_dims: expected at most 8 axes in the result",
    ),
    (
        "concatenate None",
        lambda: corgi.concatenate(None),
        TypeError,
        "concatenate: expected a sequence of arrays, got NoneType",
    ),
    ("concatenate nothing", lambda: corgi.concatenate([]), ValueError, "concatenate: expected at least one array, got none"),
    (
        "concatenate shapes",
        lambda: corgi.concatenate([A, V]),
        ValueError,
        "concatenate: expected shapes that differ only on axis 0",
    ),
    (
        "concatenate sizes",
        lambda: corgi.concatenate([A, A.T], 1),
        ValueError,
        "concatenate: expected shapes that differ only on axis",
    ),
    (
        "concatenate numbers",
        lambda: corgi.concatenate([1.0]),
        ValueError,
        "concatenate: arrays without axes cannot be joined; use",
    ),
    (
        "concatenate axis",
        lambda: corgi.concatenate([A, A], 2),
        IndexError,
        "concatenate: axis 2 is out of range for an array with 2",
    ),
    ("stack shapes", lambda: corgi.stack([A, V]), ValueError, "stack: expected arrays of one shape, got (2, 3) and (3,)"),
    ("stack axis", lambda: corgi.stack([V, V], 3), IndexError, "stack: axis 3 is out of range for an array with 2 axes"),
    ("stack number", lambda: corgi.stack(5), TypeError, "stack: expected a sequence of arrays, got int"),
    (
        "split unequal",
        lambda: corgi.split(V, 2),
        ValueError,
        "split: axis 0 of shape (3,) does not divide into 2 equal parts",
    ),
    (
        "split into 0",
        lambda: corgi.split(V, 0),
        ValueError,
        "split: axis 0 of shape (3,) does not divide into 0 equal parts",
    ),
    ("split None", lambda: corgi.split(V, None), TypeError, "split: expected "),
    ("split at floats", lambda: corgi.split(V, [1.5]), TypeError, "split: expected "),
    ("pad negative", lambda: corgi.pad(V, -1), ValueError, "pad: expected widths of at least 0, got -1"),
    (
        "pad triple",
        lambda: corgi.pad(V, (1, 2, 3)),
        ValueError,
        "pad: expected a width, a pair, or 1 pairs for shape (3,), got (1",
    ),
    ("pad floats", lambda: corgi.pad(V, 1.5), TypeError, "pad: expected ints for pad_width, got 1.5"),
    ("pad with None", lambda: corgi.pad(V, 1, None), TypeError, "pad: expected a number, got NoneType"),
    (
        "diagonal of a vector",
        lambda: corgi.diagonal(V),
        ValueError,
        "diagonal: expected an array with at least two axes, got shape",
    ),
    ("diagonal None", lambda: corgi.diagonal(A, None), TypeError, "diagonal: expected an int for offset, got NoneType"),
    ("diagonal one axis", lambda: corgi.diagonal(A, 0, 1, 1), ValueError, "diagonal: an axis is named twice in (1, 1)"),
    (
        "tril of a vector",
        lambda: corgi.tril(V),
        ValueError,
        "tril: expected an array with at least two axes, got shape (3,)",
    ),
    ("triu str", lambda: corgi.triu(A, "x"), TypeError, "triu: expected an int for k, got str"),
    ("flip twice", lambda: corgi.flip(A, (0, 0)), ValueError, "flip: an axis is named twice in (0, 0)"),
    ("roll shifts", lambda: corgi.roll(A, (1, 2), 0), ValueError, "roll: expected 1 shifts, one for each axis, got 2"),
    ("roll float", lambda: corgi.roll(A, 1.5), TypeError, "roll: expected an int for shift, got float"),
    ("repeat negative", lambda: corgi.repeat(V, -1), ValueError, "repeat: expected numbers of at least 0, got -1"),
    ("repeat counts", lambda: corgi.repeat(V, [1, 2]), ValueError, "repeat: expected one number or 3, got shape (2,)"),
    ("tile None", lambda: corgi.tile(V, None), TypeError, "tile: expected ints, got NoneType"),
    ("round str", lambda: corgi.round(V, "x"), TypeError, "round: expected an int for decimals, got str"),
    ("sort axis", lambda: corgi.sort(A, 2), IndexError, "sort: axis 2 is out of range for an array with 2 axes"),
    # reductions
    ("sum axis", lambda: A.sum(2), IndexError, "sum: axis 2 is out of range for an array with 2 axes"),
    ("sum axis -3", lambda: corgi.sum(A, -3), IndexError, "sum: axis -3 is out of range for an array with 2 axes"),
    ("sum axis twice", lambda: corgi.sum(A, (0, -2)), ValueError, "sum: an axis is named twice in (0, -2)"),
    ("sum axis float", lambda: corgi.sum(A, 1.0), TypeError, "sum: expected an axis or a sequence of axes, got 1.0"),
    ("mean axis str", lambda: A.mean("x"), TypeError, "mean: expected an axis or a sequence of axes, got 'x'"),
    ("std axis", lambda: corgi.std(A, 3), IndexError, "std: axis 3 is out of range for an array with 2 axes"),
    ("var ddof", lambda: corgi.var(A, ddof=None), TypeError, "var: expected a number for ddof, got NoneType"),
    (
        "max of nothing",
        lambda: corgi.max(corgi.zeros(0)),
        ValueError,
        "max: expected at least one element along the axis, got shape",
    ),
    (
        "min of nothing",
        lambda: corgi.min(corgi.zeros((2, 0)), 1),
        ValueError,
        "min: expected at least one element along the axis",
    ),
    (
        "argmax of nothing",
        lambda: corgi.argmax([]),
        ValueError,
        "argmax: expected at least one element along the axis, got shape",
    ),
    ("argmin of two axes", lambda: corgi.argmin(A, (0, 1)), TypeError, "argmin: expected an int for the axis, got tuple"),
    ("cumsum axis", lambda: corgi.cumsum(A, 2), IndexError, "cumsum: axis 2 is out of range for an array with 2 axes"),
    (
        "softmax of a number",
        lambda: corgi.softmax(1.0),
        IndexError,
        "softmax: axis -1 is out of range for an array with 0 axes",
    ),
    ("softmax axis None", lambda: corgi.softmax(A, None), TypeError, "softmax: expected an int for the axis, got NoneType"),
    ("logsumexp axis", lambda: corgi.logsumexp(A, (1, 1)), ValueError, "logsumexp: an axis is named twice in (1, 1)"),
    # products and windows
    ("matmul", lambda: A @ A, ValueError, "matmul: inner sizes differ, (2, 3) @ (2, 3): 3 != 2"),
    ("matmul vectors", lambda: V @ P[0], ValueError, "matmul: inner sizes differ, (3,) @ (2,): 3 != 2"),
    (
        "matmul number",
        lambda: A @ 2.0,
        ValueError,
        "matmul: expected arrays with axes, got shapes (2, 3) and (); use * for numbers",
    ),
    (
        "matmul batches",
        lambda: corgi.ones((2, 2, 3)) @ corgi.ones((3, 3, 2)),
        ValueError,
        "matmul: batches do not broadcast, (2, 2",
    ),
    ("matmul c", lambda: corgi.matmul(A, A, V, transpose_b=True), ValueError, "matmul: "),
    ("dot", lambda: corgi.dot(A, A), ValueError, "dot: inner sizes differ, (2, 3) and (2, 3): 3 != 2"),
    (
        "tensordot count",
        lambda: corgi.tensordot(A, A, 3),
        ValueError,
        "tensordot: expected axes from 0 to 2 for (2, 3) and (2, 3)",
    ),
    (
        "tensordot sizes",
        lambda: corgi.tensordot(A, A, 1),
        ValueError,
        "tensordot: axes [1] of shape (2, 3) do not fit axes [0] of",
    ),
    (
        "tensordot None",
        lambda: corgi.tensordot(A, A, None),
        TypeError,
        "tensordot: expected an int or a pair of axes, got None",
    ),
    ("einsum operands", lambda: corgi.einsum("ij,jk", A), ValueError, "einsum: expected 2 operands for 'ij,jk', got 1"),
    ("einsum sizes", lambda: corgi.einsum("ij,jk->ik", A, A), ValueError, "einsum: label 'j' stands for sizes 3 and 2"),
    (
        "einsum diagonal",
        lambda: corgi.einsum("ii", A),
        ValueError,
        "einsum: label 'i' stands for sizes 2 and 3 in operand 0",
    ),
    (
        "einsum new label",
        lambda: corgi.einsum("ij->ik", A),
        ValueError,
        "einsum: label 'k' of the result of 'ij->ik' occurs in no op",
    ),
    (
        "einsum label twice",
        lambda: corgi.einsum("ij->ii", A),
        ValueError,
        "einsum: label 'i' occurs twice in the result of 'ij->ii'",
    ),
    (
        "einsum axes",
        lambda: corgi.einsum("ijk", A),
        ValueError,
        "einsum: 'ijk' has 3 labels for an operand with 2 axes in 'ijk'",
    ),
    ("einsum sign", lambda: corgi.einsum("i$", A), ValueError, "einsum: expected letters, '...', ',' and '->', got 'i$'"),
    (
        "einsum None",
        lambda: corgi.einsum(None),
        TypeError,
        "einsum: expected subscripts, a str, before the operands, got NoneType",
    ),
    (
        "conv channels",
        lambda: corgi.conv(IMAGES, SQUARE[None, None]),
        ValueError,
        "conv: expected filters for 3 channels (images of",
    ),
    (
        "conv image",
        lambda: corgi.conv(V, FILTERS),
        ValueError,
        "conv: expected an image (channels, height, width) or a batch (images",
    ),
    (
        "conv filters",
        lambda: corgi.conv(IMAGES, V),
        ValueError,
        "conv: expected filters (filters, channels, rows, columns), got shape",
    ),
    (
        "conv window",
        lambda: corgi.conv(IMAGES, corgi.ones((1, 3, 6, 6))),
        ValueError,
        "conv: a window of (6, 6) does not fit into",
    ),
    ("conv stride", lambda: corgi.conv(IMAGES, FILTERS, 0), ValueError, "conv: expected stride of at least 1, got (0, 0)"),
    (
        "conv stride None",
        lambda: corgi.conv(IMAGES, FILTERS, None),
        TypeError,
        "conv: expected an int or a pair of ints for stride",
    ),
    (
        "conv padding",
        lambda: corgi.conv(IMAGES, FILTERS, padding=-1),
        ValueError,
        "conv: expected padding of at least 0, got (-1",
    ),
    (
        "conv large padding",
        lambda: corgi.conv(IMAGES, FILTERS, padding=2**62),
        ValueError,
        "conv: expected padding of at most",
    ),
    (
        "conv dilation",
        lambda: corgi.conv(IMAGES, FILTERS, dilation=2**63 - 1),
        ValueError,
        "conv: expected dilation of at most",
    ),
    (
        "max_pool size",
        lambda: corgi.max_pool(IMAGES, 6),
        ValueError,
        "max_pool: a window of (6, 6) does not fit into images of (5, 5)",
    ),
    (
        "max_pool large",
        lambda: corgi.max_pool(IMAGES, 2**62, padding=2**61),
        ValueError,
        "max_pool: expected size of at most",
    ),
    (
        "max_pool padding",
        lambda: corgi.max_pool(IMAGES, 2, padding=2),
        ValueError,
        "max_pool: expected padding of at most half the",
    ),
    (
        "avg_pool size",
        lambda: corgi.avg_pool(IMAGES, 2.0),
        TypeError,
        "avg_pool: expected an int or a pair of ints for size, got 2.0",
    ),
    ("dense weight", lambda: corgi.dense(V, V), ValueError, "dense: expected a weight (outputs, inputs), got shape (3,)"),
    (
        "dense input",
        lambda: corgi.dense(V, SQUARE),
        ValueError,
        "dense: expected input of shape (..., 2) for a weight of shape (2,",
    ),
    (
        "dense bias",
        lambda: corgi.dense(V, A, V),
        ValueError,
        "dense: expected a bias of shape (2,) for a weight of shape (2, 3), got",
    ),
    (
        "dense activation",
        lambda: corgi.dense(V, A, None, "x"),
        ValueError,
        "dense: expected activation None, 'relu', 'sigmoid' or",
    ),
    # costs
    ("mse shapes", lambda: cost.mse(A, V), ValueError, "mse: expected a target of the output's shape (2, 3), got (3,)"),
    ("mse number", lambda: cost.mse(V, 1.0), ValueError, "mse: expected a target of the output's shape (3,), got ()"),
    ("mse of nothing", lambda: cost.mse([], []), ValueError, "mse: expected at least one element, got shape (0,)"),
    (
        "class too large",
        lambda: cost.cross_entropy(P, [0, 2]),
        ValueError,
        "cross_entropy: expected classes from 0 to 1, got 2",
    ),
    (
        "class negative",
        lambda: cost.cross_entropy(P, [0, -1]),
        ValueError,
        "cross_entropy: expected classes from 0 to 1, got -1",
    ),
    (
        "classes as floats",
        lambda: cost.cross_entropy(P, [0.0, 1.0]),
        ValueError,
        "cross_entropy: expected a target of shape (2, 2)",
    ),
    (
        "classes too few",
        lambda: cost.cross_entropy(P, [0]),
        ValueError,
        "cross_entropy: expected a target of shape (2, 2) (probabil",
    ),
    (
        "cross_entropy of nothing",
        lambda: cost.cross_entropy(P[:0], P[:0]),
        ValueError,
        "cross_entropy: expected at least one row",
    ),
    (
        "logits, class",
        lambda: cost.softmax_cross_entropy(A, [0, 3]),
        ValueError,
        "softmax_cross_entropy: expected classes from 0 to 2",
    ),
    # tracking and gradients
    (
        "tracked ints",
        lambda: I3.tracked(),
        TypeError,
        "tracked: expected a float array, got int64, which has no gradient; convert",
    ),
    (
        "start_tracking bools",
        lambda: B3.start_tracking(),
        TypeError,
        "start_tracking: expected a float array, got bool, which has",
    ),
    (
        "backward ints",
        lambda: I3.backward(),
        TypeError,
        "backward: expected a float array, got int64, which has no gradient",
    ),
    (
        "backward of untracked",
        lambda: V.backward(create_graph=True),
        ValueError,
        "backward: create_graph=True needs a graph, but",
    ),
    (
        "delta shape",
        lambda: (T * 2).backward(arr([1.0, 2.0])),
        ValueError,
        "backward: expected delta of shape (3,), got (2,)",
    ),
    ("delta number", lambda: (T * 2).backward(1.0), ValueError, "backward: expected delta of shape (3,), got ()"),
    ("delta str", lambda: (T * 2).backward("x"), TypeError, "backward: expected an array or numbers, got str"),
    ("gradient shape", lambda: set_gradient(T, A), ValueError, "gradient: expected an array of shape (3,), got (2, 3)"),
    ("gradient str", lambda: set_gradient(T, "x"), TypeError, "gradient: expected an array or numbers, got str"),
    (
        "gradient of ints",
        lambda: set_gradient(I3, I3),
        TypeError,
        "gradient: expected a float array, got int64, which has no",
    ),
    ("assign shape", lambda: corgi.assign(V, A), ValueError, "assign: expected values of shape (3,), got (2, 3)"),
    ("assign to None", lambda: corgi.assign(None, V), TypeError, "assign: expected an Array, got NoneType"),
    ("assign to a list", lambda: corgi.assign([1.0], V), TypeError, "assign: expected an Array, got list"),
    ("op of None", lambda: corgi.op(None, no_gradient), TypeError, "op: expected two functions, got NoneType"),
    (
        "op argument",
        lambda: corgi.op(total, no_gradient)(None),
        TypeError,
        "total: expected an array or numbers, got NoneType",
    ),
    ("op gives None", lambda: custom(lambda x: None), TypeError, "<lambda>: expected an array or numbers, got NoneType"),
    ("op gives ints", lambda: custom(lambda x: I3), TypeError, "<lambda>: expected a float array, got int64, which has no"),
    (
        "op, no gradients",
        lambda: gradient_of_custom(lambda *_: None),
        ValueError,
        "<lambda>: expected backward to return 1 gradients",
    ),
    (
        "op, two gradients",
        lambda: gradient_of_custom(lambda a, t, d: [d, d]),
        ValueError,
        "<lambda>: expected backward to return 1",
    ),
    (
        "op, gradient shape",
        lambda: gradient_of_custom(lambda a, t, d: [1.0]),
        ValueError,
        "<lambda>: expected backward to return a",
    ),
    (
        "op, gradient str",
        lambda: gradient_of_custom(lambda a, t, d: ["x"]),
        TypeError,
        "<lambda>: expected an array or numbers",
    ),
    ("no_tracking of None", lambda: corgi.no_tracking()(None), TypeError, "no_tracking: expected a function, got NoneType"),
    # functions of functions
    ("grad None", lambda: corgi.grad(None), TypeError, "grad: expected a function, got NoneType"),
    (
        "grad of a vector",
        lambda: corgi.grad(corgi.exp)(V),
        ValueError,
        "grad: expected the function to return one number, got shape (3,)",
    ),
    (
        "grad by ints",
        lambda: corgi.grad(total)(I3),
        TypeError,
        "grad: expected floats in argument 0, got int64, which has no",
    ),
    (
        "grad of ints",
        lambda: corgi.grad(lambda x: I3.sum())(V),
        TypeError,
        "grad: expected the function to return floats, got int64",
    ),
    (
        "grad argnums",
        lambda: corgi.grad(total, 1)(V),
        ValueError,
        "grad: argnums is 1, but the function was called with 1 positional",
    ),
    (
        "grad argnums str",
        lambda: corgi.grad(total, "x")(V),
        TypeError,
        "grad: expected an int or a tuple of ints for argnums, got 'x'",
    ),
    (
        "grad argnums twice",
        lambda: corgi.grad(total, (0, 0))(V),
        ValueError,
        "grad: an argument is named twice in argnums (0, 0)",
    ),
    (
        "grad aux",
        lambda: corgi.grad(total, has_aux=True)(V),
        TypeError,
        "grad: expected a pair (value, aux) because of has_aux, got",
    ),
    (
        "vjp cotangent",
        lambda: corgi.vjp(corgi.exp, V)[1](A),
        ValueError,
        "vjp: expected a cotangent of shape (3,), got (2, 3)",
    ),
    ("jvp tangent", lambda: corgi.jvp(corgi.exp, V, A), ValueError, "jvp: expected a tangent of shape (3,), got (2, 3)"),
    (
        "jvp tangents",
        lambda: corgi.jvp(total, (V,), (V, V)),
        ValueError,
        "jvp: expected 1 tangents, one for each argument, got 2",
    ),
    (
        "hessian of a vector",
        lambda: corgi.hessian(corgi.exp)(V),
        ValueError,
        "hessian: expected the function to return one number",
    ),
    ("hvp vector", lambda: corgi.hvp(total, V, A), ValueError, "hvp: expected a vector of shape (3,), got (2, 3)"),
    (
        "check_gradient order",
        lambda: corgi.check_gradient(total, V, order=0),
        ValueError,
        "check_gradient: expected an order of at",
    ),
    # layers and models
    ("Dense size 0", lambda: Dense(0, 1), ValueError, "Dense: expected input_size of at least 1, got 0"),
    ("Dense size float", lambda: Dense(2.0, 1), TypeError, "Dense: expected an int for input_size, got float"),
    (
        "Dense initializer",
        lambda: Dense(2, 2, initializer.he),
        TypeError,
        "Dense: expected an initializer, got the function that",
    ),
    (
        "Dense initializer 5",
        lambda: Dense(2, 2, 5),
        TypeError,
        "Dense: expected an initializer such as initializer.he(), got int",
    ),
    (
        "Dense shape",
        lambda: Dense(2, 2, lambda s, d: V),
        ValueError,
        "Dense: expected the initializer to make an array of shape (2, 2)",
    ),
    (
        "Dense activation",
        lambda: Dense(2, 2, activation="x"),
        ValueError,
        "activation: expected one of identity, log_softmax, relu",
    ),
    ("Dense dtype", lambda: Dense(2, 2, dtype="int64"), TypeError, "Dense: expected dtype float64 or float32, got int64"),
    (
        "Dense input",
        lambda: Dense(2, 2)(V),
        ValueError,
        "dense: expected input of shape (..., 2) for a weight of shape (2, 2), got",
    ),
    (
        "Conv kernel",
        lambda: Conv(1, 1, (1, 2, 3)),
        TypeError,
        "Conv: expected an int or a pair of ints for kernel, got (1, 2, 3)",
    ),
    ("Conv stride", lambda: Conv(1, 1, 3, stride=0), ValueError, "Conv: expected stride of at least 1, got 0"),
    ("Conv padding", lambda: Conv(1, 1, 3, padding=-1), ValueError, "Conv: expected padding of at least 0, got -1"),
    (
        "MaxPool padding",
        lambda: MaxPool(2, padding=2),
        ValueError,
        "MaxPool: expected padding of at most half the window (2, 2)",
    ),
    ("AvgPool input", lambda: AvgPool(2)("x"), TypeError, "avg_pool: expected an array or numbers, got str"),
    ("Flatten axes", lambda: Flatten(0), ValueError, "Flatten: expected axes of at least 1, got 0"),
    ("activation number", lambda: activation.get(5), TypeError, "activation: expected a function, a name or None, got int"),
    (
        "Layer without forward",
        lambda: Layer()(V),
        NotImplementedError,
        "Layer: expected the layer to define forward(self, x)",
    ),
    ("Model None", lambda: Model(None), TypeError, "Model: expected layers, got NoneType"),
    ("Model of ints", lambda: Model([5]), TypeError, "Model: expected layers or functions, got int as layer 1"),
    ("Model optimizer", lambda: Model([NO_LAYER], 5), TypeError, "Model: expected an optimizer with a method step, got int"),
    ("Model cost", lambda: Model([NO_LAYER], None, "mse"), TypeError, "Model: expected a cost such as cost.mse, got str"),
    (
        "no cost",
        lambda: Model([NO_LAYER]).backward([0]),
        ValueError,
        "Model.backward: expected a model with a cost; pass one",
    ),
    (
        "no forward",
        lambda: Model([NO_LAYER], None, cost.mse).backward(P),
        ValueError,
        "Model.backward: expected a call of forward",
    ),
    (
        "no optimizer",
        lambda: Model([NO_LAYER]).update(),
        ValueError,
        "Model.update: expected a model with an optimizer; pass one",
    ),
    (
        "Model input",
        lambda: TWO_TO_TWO.forward(None),
        TypeError,
        "Model > layer 1 (Dense): array: expected numbers, got NoneType",
    ),
    (
        "second layer",
        lambda: Model([Dense(2, 3), Dense(2, 2)])(P),
        ValueError,
        "Model > layer 2 (Dense): dense: expected input of shape",
    ),
    (
        "model in a model",
        lambda: Model([Model([Flatten(3)])])(P),
        ValueError,
        "Model > layer 1 (Model) > layer 1 (Flatten): Flatten: ex",
    ),
    ("target shape", lambda: train([0.0, 1.0]), ValueError, "mse: expected a target of the output's shape (1, 2), got (2,)"),
    (
        "cost of None",
        lambda: train(P, Model([NO_LAYER], None, NO_COST)),
        TypeError,
        "Model.backward: expected an Array from the cost",
    ),
    (
        "cost of shape",
        lambda: train(P, Model([NO_LAYER], None, corgi.add)),
        ValueError,
        "Model.backward: expected one number from",
    ),
    (
        "untracked model",
        lambda: train([[1.0, 2.0]], Model([arr], None, cost.mse)),
        ValueError,
        "Model.backward: expected a tracked",
    ),
    # optimizers
    (
        "learning rate NaN",
        lambda: GradientDescent(NAN),
        ValueError,
        "GradientDescent: expected learning_rate in [0, inf), got nan",
    ),
    ("learning rate inf", lambda: Adam(INF), ValueError, "Adam: expected learning_rate in [0, inf), got inf"),
    (
        "learning rate < 0",
        lambda: GradientDescent(-1),
        ValueError,
        "GradientDescent: expected learning_rate in [0, inf), got -1",
    ),
    ("learning rate None", lambda: Adam(None), TypeError, "Adam: expected a number for learning_rate, got NoneType"),
    (
        "learning rate str",
        lambda: GradientDescent("0.1"),
        TypeError,
        "GradientDescent: expected a number for learning_rate, got str",
    ),
    (
        "learning rate bool",
        lambda: GradientDescent(True),
        TypeError,
        "GradientDescent: expected a number for learning_rate, got b",
    ),
    (
        "learning rate huge",
        lambda: Adam(10**400),
        ValueError,
        "Adam: expected learning_rate that fits a float, got a larger",
    ),
    ("momentum", lambda: GradientDescent(0.1, -1), ValueError, "GradientDescent: expected momentum in [0, inf), got -1"),
    (
        "nesterov",
        lambda: GradientDescent(0.1, nesterov=True),
        ValueError,
        "GradientDescent: expected momentum above 0 with nesterov",
    ),
    ("beta1", lambda: Adam(beta1=1), ValueError, "Adam: expected beta1 in [0, 1), got 1"),
    ("step of an array", lambda: Adam().step(T), TypeError, "Adam.step: expected a list of Arrays, got Array"),
    ("step of None", lambda: Adam().step(None), TypeError, "Adam.step: expected a list of Arrays, got NoneType"),
    (
        "step of floats",
        lambda: GradientDescent(0.1).step([1.0]),
        TypeError,
        "GradientDescent.step: expected Arrays, got float among",
    ),
    ("step of ints", lambda: GradientDescent(0.1).step([I3]), TypeError, "sgd_step: expected a float array, got int64"),
    ("update of None", lambda: GradientDescent(0.1).update(None), TypeError, "sgd_step: expected an Array, got NoneType"),
    (
        "Optimizer.update",
        lambda: Optimizer(0.1).update(V),
        NotImplementedError,
        "Optimizer: expected the optimizer to define update",
    ),
    # initializers, data, settings
    ("normal std", lambda: initializer.normal(std=-1), ValueError, "normal: expected std of at least 0, got -1.0"),
    ("normal NaN", lambda: initializer.normal(NAN), ValueError, "normal: expected a finite number for mean, got nan"),
    ("uniform order", lambda: initializer.uniform(2, 1), ValueError, "uniform: expected low <= high, got 2.0 and 1.0"),
    ("constant None", lambda: initializer.constant(None), TypeError, "constant: expected a number for value, got NoneType"),
    (
        "he distribution",
        lambda: initializer.he("cauchy"),
        ValueError,
        "he: expected distribution 'normal' or 'uniform', got 'cauchy'",
    ),
    (
        "he of a vector",
        lambda: initializer.he()(3),
        ValueError,
        "initializer: expected a weight (outputs, inputs, ...), got shape",
    ),
    ("seed None", lambda: corgi.seed(None), TypeError, "seed: expected an int or a numpy.random.Generator, got None"),
    ("seed negative", lambda: corgi.seed(-1), ValueError, "seed: expected at least 0, got -1"),
    ("batch size", lambda: next(data.batches((V, V), 0)), ValueError, "batches: expected a size of at least 1, got 0"),
    (
        "batch lengths",
        lambda: next(data.batches((V, A), 2)),
        ValueError,
        "batches: expected arrays of equal lengths, got lengths [3, 2]",
    ),
    ("threads 0", lambda: corgi.set_num_threads(0), ValueError, "set_num_threads: expected a number from 1 to 256, got 0"),
    ("threads None", lambda: corgi.set_num_threads(None), TypeError, "set_num_threads: expected an int, got NoneType"),
    ("threads str", lambda: corgi.num_threads("2").__enter__(), TypeError, "set_num_threads: expected an int, got str"),
    (
        "cache negative",
        lambda: corgi.memory.set_limit(-1),
        ValueError,
        "memory.set_limit: expected from 0 to 2**63 - 1 bytes, got -1",
    ),
    (
        "cache large",
        lambda: corgi.memory.trim(2**70),
        ValueError,
        "memory.trim: expected from 0 to 2**63 - 1 bytes, got 11805916",
    ),
    ("cache str", lambda: corgi.memory.trim("x"), TypeError, "memory.trim: expected a number of bytes, got str"),
    ("CORGI_CPU", lambda: corgi._core._select_level("x"), ValueError, "CORGI_CPU: no kernels for CPU level 'x'"),
]

# What Python, NumPy or pickle refuse in words of their own.
IN_OTHER_WORDS = [
    ("a[0] = 1", lambda: V.__class__.__setitem__, AttributeError),
    ("setitem", lambda: exec("V[0] = 1", {"V": V}), TypeError),
    ("delitem", lambda: exec("del V[0]", {"V": V}), TypeError),
    ("shape =", lambda: setattr(V, "shape", (1, 3)), AttributeError),
    ("new attribute", lambda: setattr(V, "name", "x"), AttributeError),
    ("add None", lambda: V + None, TypeError),
    ("str plus", lambda: "x" + V, TypeError),
    ("times dict", lambda: V * {}, TypeError),
    ("less None", lambda: V < None, TypeError),
    ("matmul None", lambda: None @ V, TypeError),
    ("power modulo", lambda: pow(V, 2, 3), TypeError),
    ("subclass", lambda: type("Sub", (corgi.Array,), {}), TypeError),
    ("object.__new__", lambda: object.__new__(corgi.Array), TypeError),
    ("method of a float", lambda: corgi.Array.tracked(5.0), TypeError),
    ("method of None", lambda: corgi.Array.detach(None), TypeError),
    ("memoryview writable", lambda: memoryview(V).__setitem__(0, 1.0), TypeError),
    ("NumPy in place", lambda: np.asarray(V).__iadd__(1), ValueError),
    ("setflags", lambda: V.numpy().setflags(write=True), ValueError),
    ("no copy", lambda: np.asarray(V, dtype="float32", copy=False), ValueError),
    ("ufunc", lambda: np.exp(V), TypeError),
    ("no argument", lambda: corgi.sum(), TypeError),
    ("keyword", lambda: corgi.sum(A, axes=1), TypeError),
    ("truncated pickle", lambda: pickle.loads(pickle.dumps(V)[:-5]), pickle.UnpicklingError),
    ("pickle, dtype", lambda: pickle.loads(pickle.dumps(V).replace(b"float64", b"float16")), ValueError),
    ("pickle, shape", lambda: corgi._core._restore(bytes(24), (4,), "float64", False), ValueError),
    ("pickle, objects", lambda: corgi._core._restore(bytes(24), (3,), "O", False), ValueError),
    ("exit without enter", lambda: corgi.no_tracking().__exit__(), IndexError),
    ("vjp_of None", lambda: corgi._core.vjp_of([None], [T], [V]), TypeError),
    ("reaches_beyond ints", lambda: corgi._core.reaches_beyond([1], [T]), TypeError),
]

WRONG_ARRAYS = [None, "x", {}, object(), 1j, np.ones(3, complex), np.array([None]), [[1], [1, 2]], ["a"], [1.0, None]]
JARGON = re.compile(r"__pyx|incorrect type|Py_ssize_t|C long|cyfunction|_core\.|has no attribute|NoneType' object")


def error_of(call):
    """The type and the message of what a call raises."""
    try:
        call()
    except BaseException as error:
        return type(error), str(error)
    return None, ""


def snapshot():
    """What a call that fails must leave as it is."""
    shared = [V, A, I3, B3, P, T, ONE, SQUARE, IMAGES, FILTERS]
    values = [(a.numpy().tobytes(), a.shape, a.dtype, a.is_tracked, a.gradient is None) for a in shared]
    settings = corgi.get_default_dtype(), corgi.get_num_threads(), corgi.memory.stats()["limit"]
    return values, settings, (T * 2).is_tracked, (V * 2).is_tracked


def memory_after(call):
    error_of(call)
    before = corgi.memory.stats()["in_use"]
    error_of(call)
    if corgi.memory.stats()["in_use"] != before:
        gc.collect()
    return corgi.memory.stats()["in_use"] - before


@pytest.fixture(autouse=True, scope="module")
def clean_heap():
    gc.collect()


@pytest.mark.parametrize(("call", "exception", "beginning"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_wrong_call(call, exception, beginning):
    before = snapshot()
    found, message = error_of(call)
    assert found is exception, message
    assert message.startswith(beginning)
    assert not JARGON.search(message), message
    assert re.match(r"[\w.<>()~ ]+: \S", message) or "read-only" in message, message
    assert snapshot() == before
    assert memory_after(call) <= 0


@pytest.mark.parametrize(("call", "exception"), [pytest.param(*row[1:], id=row[0]) for row in IN_OTHER_WORDS])
def test_refused(call, exception):
    before = snapshot()
    found, message = error_of(call)
    assert found is exception, message
    assert snapshot() == before
    assert memory_after(call) <= 0


def test_table_is_long():
    ids = [row[0] for row in TABLE + IN_OTHER_WORDS]
    assert len(TABLE) >= 120
    assert len(set(ids)) == len(ids)


def test_every_function_has_a_right_call():
    public = {name for name in corgi.__all__ if name not in NOT_CALLED}
    assert public == set(CALLS)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_operands_that_are_no_arrays(name):
    """Every place that takes an array refuses what cannot be one, with the function's name or array's."""
    arguments = CALLS[name]
    function = getattr(corgi, name)
    before = snapshot()
    for i, right in enumerate(arguments):
        if not isinstance(right, (corgi.Array, Arrays)) or (name, i) == ("assign", 0):
            continue
        for wrong in WRONG_ARRAYS:
            if wrong is None and (name, i) in {("clip", 1), ("clip", 2), ("matmul", 2), ("dense", 2)}:
                continue
            if name in ("hvp", "jvp") and i == 1 and isinstance(wrong, dict):
                continue  # a container of no arguments
            given = [*arguments[:i], (right[0], wrong) if isinstance(right, Arrays) else wrong, *arguments[i + 1 :]]
            found, message = error_of(lambda: function(*given))  # noqa: B023 (called at once)
            place = f"{name}, argument {i} = {wrong!r}: {message}"
            ragged = wrong == WRONG_ARRAYS[-3] if isinstance(wrong, list) else False
            assert found in ((ValueError,) if ragged else (TypeError, ValueError)), place
            assert re.match(r"\w+: (expected|argument)", message) and not JARGON.search(message), place
    assert snapshot() == before


def test_right_calls():
    for name, arguments in CALLS.items():
        given = [list(a) if isinstance(a, Arrays) else copy.copy(a) for a in arguments]
        getattr(corgi, name)(*given)
    assert corgi.get_default_dtype() == "float64"


def test_backward_of_an_array_outside_the_graph_warns():
    with pytest.warns(UserWarning, match=r"^backward: this array was not computed from tracked arrays, so only its own"):
        arr([1.0]).backward()


def test_membership():
    assert 2.0 in V and 5.0 not in V
    assert "x" not in V and None not in V


def test_error_in_a_custom_op_is_the_users_own():
    def backward(arrays, tracked, delta):
        raise KeyError("mine")

    x = T.copy()
    with pytest.raises(KeyError, match="mine"):
        (corgi.op(lambda x: x * 2, backward)(x) + x).backward()
    assert x.gradient is None
    assert (x * 2).is_tracked


def test_error_of_another_kind_in_a_layer_has_a_note():
    model = Model([lambda x: {}[0]])
    with pytest.raises(KeyError) as caught:
        model.forward(V)
    assert caught.value.__notes__ == ["in Model > layer 1 (<lambda>)"]


PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_mixtures_of_arguments(part):
    """Random mixtures of right and wrong arguments: no crash, no other errors than those allowed, no memory lost."""
    program = pathlib.Path(__file__).with_name("fuzz.py")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    if "ASAN_OPTIONS" in environment:
        environment["ASAN_OPTIONS"] += ":allocator_may_return_null=1:max_allocation_size_mb=1024"
    command = [sys.executable, str(program), "20", str(part), str(PARTS)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=240, env=environment)
    last = done.stdout.splitlines()[-1:] if done.returncode else []
    assert done.returncode == 0, f"exit status {done.returncode} at {last}\n{done.stderr[-3000:]}"
