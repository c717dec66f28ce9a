"""The numeric expectations of the original's unit tests (original_cases.json), each by its Python idiom.

An expression gets the case's arrays by name and returns the result, or the result and a dict of further arrays whose
gradients the case names; the result None says that the expression ran its own backward passes.
"""

import json
import pathlib

import numpy as np
import pytest

import corgi
from corgi import arr, axpy, conv, exp, log, matmul, relu, sigmoid, softmax

CASES = json.loads((pathlib.Path(__file__).parent / "original_cases.json").read_text())["cases"]


def sum_last(a, k):
    """The original's sum(k): the last k axes become one axis of size 1; sum(0) changes nothing."""
    summed = a.sum(axis=tuple(range(a.ndim - k, a.ndim)))
    return corgi.expand_dims(summed, -1) if k else summed


def sum_to(a, shape):
    """The original's private flatten_to, which the engine does for every broadcast operand."""
    narrow = corgi.zeros(shape, a.dtype).tracked()
    corgi.broadcast_to(narrow, a.shape).backward(a)
    return narrow.gradient


def columns(x, rows, cols, stride):
    """The original's private unroll: every window of the image as a row; conv with the unit filters."""
    unit = corgi.eye(x.shape[0] * rows * cols, dtype=x.dtype).reshape(-1, x.shape[0], rows, cols)
    windows = conv(x, unit, stride)
    return windows.reshape(len(unit), -1).T


def with_intermediate(name, function, other):
    inner = function.tracked()
    return inner * other, {f"{name} (intermediate)": inner}


def control_flow(a, b, c):
    for _ in range(10):
        c = c + a * b
        if c[0] > 50.0:
            c = c * a
    return c


def multi(a, b):
    c = (a * b).tracked()
    d = (c + a).tracked()
    e = a * d
    return e, {"c": c, "d": d, "e": e}


def intermediate(a, b):
    c = ((a * b + a) * b).tracked()
    return c * a, {"c": c}


def reassign(a, b):
    b = b + a
    b = b * a
    return b, {"b (final)": b}


def keep_going(a, b):
    """Two backward passes, the second through the result of the first."""
    b = (b * a).tracked()
    b.backward()
    assert (b == arr([5, 12])).all() and (b.gradient == 1).all() and (a.gradient == arr([5, 6])).all()
    b = b * a
    b.backward()
    assert (b == arr([5, 24])).all()
    return None, {"b (final)": b}


def repeat(a):
    for _ in range(5):
        (a * a).backward()
    return None, {}


def drop_operand(a, b, c):
    a, c = arr(a.numpy()).tracked(), c.tracked()
    e = (a + b) * c
    del a
    return e * b


def two_consumers(a):
    _ = a * a  # a second one, never used
    return a * a


def through_clone(a, b):
    result = a * b
    del result.gradient
    return result.copy()


def custom_product(a, b):
    def backward(arrays, tracked, delta):
        x, y = arrays
        return [y * delta if tracked[0] else None, x * delta if tracked[1] else None]

    product = corgi.op(lambda x, y: x * y, backward)(a, b)
    return product, {"result": product}


def two_convolutions():
    x = (corgi.arange(3 * 9 * 9) % 3).astype(float).reshape(3, 9, 9).tracked()
    f1 = (corgi.arange(16 * 3 * 3 * 3) % 2).astype(float).reshape(16, 3, 3, 3).tracked()
    f2 = (corgi.arange(16 * 2 * 2) % 5).astype(float).reshape(1, 16, 2, 2).tracked()
    y1 = conv(x, f1, (2, 2)).tracked()
    y2 = conv(y1, f2, (2, 2))
    assert y1.shape == (16, 4, 4) and y2.shape == (1, 2, 2)
    y2.backward()
    last = {"f2": f2, "f1": f1, "y1": y1, "x": x}
    return None, {f"{name} last element": a for name, a in last.items()}


EXPRESSIONS = {
    "construct nested": lambda a: a,
    "elementwise add": lambda a, b: a + b,
    "elementwise mul": lambda a, b: a * b,
    "neg": lambda a, b: -a * b,
    "sub": lambda a, b: a - b,
    "div": lambda a, b: a / b,
    "ln": lambda a: log(a),
    "ln backward": lambda a: log(a),
    "exp": lambda a, b: exp(a) * b,
    "sum(1)": lambda a: sum_last(a, 1),
    "sum(2)": lambda a: sum_last(a, 2),
    "sum(2) backward": lambda a: 2 * sum_last(a, 2),
    "sum(0) is identity": lambda a, b: sum_last(a, 0) * b,
    "powf 2": lambda a, b: with_intermediate("a^2", a**2, b),
    "x / sum(x)": lambda a: a / sum_last(a, 1),
    "mul broadcast (2,3)*(3)": lambda a, b: a * b,
    "reduce to shape (3) of (2,3)": lambda a: sum_to(a, 3),
    "reduce to shape (3) of (2,2,3)": lambda a: sum_to(a, 3),
    "relu": lambda a: relu(a),
    "sigmoid": lambda a, b: with_intermediate("sigmoid(a)", sigmoid(a), b),
    "softmax": lambda a, b: with_intermediate("softmax(a)", softmax(a), b),
    "reshape": lambda a: a.reshape(1, 4),
    "axpy": lambda a, b: axpy(-2, a, b),
    "blas axpy": lambda x, y: axpy(-2, x, y),
    "blas gemm (2,3)(3,2)": lambda a, b: a @ b,
    "matmul": lambda a, b: matmul(a, b),
    "matmul transposed a": lambda a, b: matmul(a, b, transpose_a=True),
    "matmul broadcast rank 3 x rank 2^T": lambda a, b: matmul(a, b, transpose_b=True),
    "matmul vector^T (2) x (1,2)": lambda a, b: matmul(a, b, transpose_a=True),
    "dense vector input": lambda x, w: matmul(x, w, transpose_b=True),
    "matmul vec 1": lambda a, b: matmul(a, b, transpose_b=True),
    "matmul vec 2": lambda a, b: matmul(b, a, transpose_b=True),
    "matmul vec 3": lambda b, c: matmul(b, c),
    "dot of two vectors": lambda a, b: (a @ b).reshape(1),
    "matmul chain": lambda a, b, c: (a @ b) @ c,
    "matmul 4-d": lambda a, b: a @ b,
    "matmul row x row^T backward": lambda a, b: matmul(a, b, transpose_b=True),
    "matmul + c": lambda a, b, c: matmul(a, b, c),
    "mul two consumers dropped": two_consumers,
    "backward repeated 5x accumulates": repeat,
    "backward single": lambda a, b: a * b,
    "control flow": lambda a, b, c: (result := control_flow(a, b, c), {"result": result}),
    "seed delta 5": lambda a, b: a * b,
    "2-d mul": lambda a, b: a * b,
    "multi": multi,
    "intermediate": intermediate,
    "drop operand handle": drop_operand,
    "reassign": reassign,
    "continue": keep_going,
    "untracked operand": through_clone,
    "custom op": custom_product,
    "conv": lambda x, f: conv(x, f, (1, 1)),
    "conv rank-4 image": lambda x, f: conv(x, f, (1, 1)),
    "conv strided": lambda x, f: conv(x, f, (1, 2)),
    "conv layout change (3,2)->(2,1,3)": lambda a: a.T.reshape(2, 1, 3),
    "unroll 2x2 s(1,1)": lambda x: columns(x, 2, 2, (1, 1)),
    "unroll 2x3 s(1,1)": lambda x: columns(x, 2, 3, (1, 1)),
    "unroll 1x2 s(1,2)": lambda x: columns(x, 1, 2, (1, 2)),
    "access": lambda a: a[1, 1, 2],
    "conv two layers": two_convolutions,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", [c for c in CASES if c["case"] != "backward untracked both"], ids=lambda c: c["case"])
def test_case(case, dtype):
    grads = case.get("grads", {})
    arrays = {name: arr(values, dtype) for name, values in case["inputs"].items()}
    for name, array in arrays.items():
        if grads.get(name) is not None:
            array.tracked()
    result = EXPRESSIONS[case["case"]](**arrays)
    result, named = result if isinstance(result, tuple) else (result, {})
    precision = {"rtol": float(np.finfo(dtype).eps) if case.get("tol") else 0, "atol": 0}
    if "out" in case and result is not None:
        assert result.dtype == dtype and result.shape == np.shape(case["out"])
        np.testing.assert_allclose(result.numpy(), case["out"], **precision)
    if not grads:
        return
    if result is not None:
        result.backward(case.get("delta"))
    for name, expected in grads.items():
        gradient = {**arrays, **named}[name].gradient
        if expected is None:
            assert gradient is None
        elif name.endswith("last element"):
            assert gradient.flatten()[-1] == expected
        else:
            assert gradient.shape == np.shape(expected)
            np.testing.assert_allclose(gradient.numpy(), expected, **precision)


def test_every_case_is_here():
    assert {c["case"] for c in CASES} - set(EXPRESSIONS) == {"backward untracked both"}


def test_backward_untracked_both():
    a, b = arr([5.0]), arr([2.0])
    result = a * b
    with pytest.warns(UserWarning, match="not computed from tracked arrays"):
        result.backward()
    assert result.gradient == arr([1.0]) and a.gradient is None and b.gradient is None


# ---- the tests of the original that name no numbers


def test_zeros():
    a = corgi.zeros((3, 2, 3))
    assert a.shape == (3, 2, 3) and a.tolist() == np.zeros((3, 2, 3)).tolist()


def test_new_clone():
    a = arr([1.0, 2.0, 3.0])
    assert arr([a]).tolist() == [[1, 2, 3]]
    assert arr([a, a]).tolist() == [[1, 2, 3], [1, 2, 3]]


def test_ne():
    assert not (arr([1, 2, 3]) == arr([2, 2, 3])).all() and (arr([1, 2, 3]) != arr([2, 2, 3])).any()
    a, b = corgi.arange(1, 7).reshape(2, 3), corgi.arange(1, 7).reshape(3, 2)
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        a == b  # noqa: B015


def test_invalid_dimensions():
    with pytest.raises(ValueError, match="one shape"):
        arr([arr([[0.0], [1.0]]), arr([[2.0, 3.0, 4.0]])])
    with pytest.raises(ValueError, match="ragged"):
        arr([[2.0, 3.0], [4.0]])


def test_sliced_op():
    """An op cannot read beyond an array: one of size 1 is repeated, another size is refused."""
    assert (arr([1.0]) + arr([1.0, 2.0])).tolist() == [2, 3]
    with pytest.raises(IndexError):
        arr([1.0])[1]
    with pytest.raises(ValueError, match="do not broadcast"):
        arr([1.0, 2.0]) + arr([1.0, 2.0, 3.0])


def test_propagate():
    """An array waits for all of its consumers, also when some of them are not part of a later pass."""
    a, b = arr([5.0]).tracked(), arr([2.0]).tracked()
    p = a * b
    s = p + a
    unused = p * 100
    s.backward()
    assert a.gradient == arr([3.0]) and b.gradient == arr([5.0])
    unused.backward()
    assert a.gradient == arr([203.0]) and b.gradient == arr([505.0])


def test_propagate_continue():
    a, b = arr([1.0, 2.0]).tracked(), arr([5.0, 6.0]).tracked()
    first = b * a
    second = first * a
    first.backward()
    second.backward()
    assert a.gradient.tolist() == [5 + 10, 6 + 24] and b.gradient.tolist() == [1 + 1, 2 + 4]


def test_backward_op():
    a, b = arr([5.0]).tracked(), arr([2.0]).tracked()
    product = a * b
    product.backward([1.0])
    assert a.gradient == arr([2.0]) and b.gradient == arr([5.0])
    assert a.is_tracked and b.is_tracked and product.is_tracked
