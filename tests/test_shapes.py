"""Sizes, layouts and geometries drawn at random, against the oracles: the loops, their remainders and their corner cases.

Beside test_ops.py, which takes every op but few shapes, this takes the few machines that ops run on (broadcasting,
reductions, rows, matrix products, windows) and many shapes.
"""

import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import corgi

from .ops import ORACLE, activate, run_at_level

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True, database=None)
RTOL = {"float64": 1e-12, "float32": 2e-5}
SIZES = (0, 1, 2, 3, 5, 8, 16, 17, 31, 33, 64, 65, 100)
dtypes = st.sampled_from(["float64", "float32"])


def normal(shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def agree(got, expected, dtype="float64", scale=1.0):
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * scale)


# ---- layouts


@st.composite
def views(draw, shape, dtype):
    """A view of numbers, by corgi and by NumPy: permuted, stepped, reversed, broadcast, with axes missing."""
    missing = draw(st.integers(0, len(shape)))
    kept = shape[missing:]
    order = draw(st.permutations(range(len(kept))))
    ones = [draw(st.booleans()) and draw(st.booleans()) for _ in kept]
    steps = [draw(st.sampled_from([1, 1, 2, -1, -2, 3])) for _ in kept]
    sizes = [1 if one else size * abs(step) for size, one, step in zip(kept, ones, steps, strict=True)]
    base = normal([sizes[i] for i in order], dtype, draw(st.integers(0, 5)))
    back = tuple(np.argsort(np.array(order, int)))
    index = tuple(slice(None, None, 1 if one else step) for one, step in zip(ones, steps, strict=True))
    expected, array = base.transpose(back)[index], corgi.transpose(corgi.array(base), back)[index]
    if draw(st.booleans()):
        expected, array = np.broadcast_to(expected, kept), corgi.broadcast_to(array, kept)
    return array, expected


@st.composite
def operands(draw, n, max_dims=8, max_side=4):
    shape = draw(
        hnp.array_shapes(min_dims=0, max_dims=max_dims, min_side=0 if draw(st.integers(0, 9)) == 0 else 1, max_side=max_side)
    )
    dtype = draw(dtypes)
    return dtype, [draw(views(shape, dtype)) for _ in range(n)]


@SETTINGS
@given(operands(3, max_side=3))
def test_broadcasting(drawn):
    dtype, [(a, x), (b, y), (c, z)] = drawn
    agree(corgi.axpy(a, b, c), np.asarray(x * y + z), dtype, 10.0)
    agree(a - b, np.asarray(x - y), dtype)
    agree(corgi.square(a), np.square(x), dtype)
    assert np.array_equal(a < b, x < y)
    agree(corgi.where(a > 0, b, c), np.where(x > 0, y, z), dtype)


@SETTINGS
@given(operands(2, max_dims=5))
def test_broadcasting_backward(drawn):
    dtype, [(a, x), (b, y)] = drawn
    a, b = a.tracked(), b.tracked()
    out = a * b
    g = normal(out.shape, dtype, 9)
    out.backward(corgi.array(g))
    for array, values, other in [(a, x, y), (b, y, x)]:
        full = np.asarray((g * other).astype(np.float64))
        lead = full.sum(tuple(range(full.ndim - values.ndim)))
        axes = tuple(i for i in range(values.ndim) if values.shape[i] == 1)
        agree(array.gradient, np.asarray(lead.sum(axes, keepdims=True)), dtype, 30.0)


@SETTINGS
@given(st.data())
def test_reductions(data):
    dtype, [(a, x)] = data.draw(operands(1, max_dims=5, max_side=9))
    axes = data.draw(st.none() | st.sets(st.integers(0, max(x.ndim - 1, 0)), max_size=x.ndim).map(tuple)) if x.ndim else None
    keepdims = data.draw(st.booleans())
    wide = x.astype(np.float64)
    for name in ("sum", "prod", "any", "all"):
        agree(
            getattr(corgi, name)(a, axes, keepdims=keepdims),
            np.asarray(getattr(np, name)(wide, axes, keepdims=keepdims)),
            dtype,
            50.0,
        )
    if x.size:
        for name in ("max", "min", "mean", "var", "std"):
            agree(
                getattr(corgi, name)(a, axes, keepdims=keepdims),
                np.asarray(getattr(np, name)(wide, axes, keepdims=keepdims)),
                dtype,
            )
        agree(
            corgi.logsumexp(a, axes, keepdims=keepdims), np.asarray(ORACLE.logsumexp(wide, axes, keepdims=keepdims)), dtype
        )
    for axis in range(x.ndim):
        agree(corgi.cumsum(a, axis), np.cumsum(wide, axis), dtype, 10.0)
        if x.shape[axis]:
            assert np.array_equal(corgi.argmax(a, axis), x.argmax(axis))
            assert np.array_equal(corgi.argmin(a, axis, keepdims=True), x.argmin(axis, keepdims=True))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
def test_reduced_lengths(dtype):
    """Lengths around the vector width and the block of the sums, along rows and along columns."""
    for n, inner in itertools.product((1, 2, 3, 7, 8, 15, 16, 17, 33, 63, 127, 128, 129, 255, 1025), (1, 2, 5, 16, 19)):
        x = np.random.default_rng(n).integers(-9, 9, (2, n, inner)).astype(dtype)
        a = corgi.array(x)
        for name in ("sum", "max", "min", "argmax", "argmin", "any", "all", "cumsum"):
            assert np.array_equal(getattr(corgi, name)(a, 1), getattr(np, name)(x, 1)), (name, n, inner)
            assert np.array_equal(getattr(corgi, name)(a, 2), getattr(np, name)(x, 2)), (name, n, inner)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_special_values_along_axes(dtype, value):
    for n, inner in itertools.product((1, 7, 17, 33), (1, 3, 17)):
        for place in {0, n // 2, n - 1}:
            x = normal((2, n, inner), dtype)
            x[1, place, inner // 2] = value
            for name in ("max", "min", "argmax", "argmin", "sum", "cumsum"):
                with np.errstate(invalid="ignore"):
                    expected = getattr(np, name)(x.astype(np.float64), 1)
                np.testing.assert_allclose(getattr(corgi, name)(x, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(1031, 517), (3, 1, 200_003), (200_003, 3)], ids=str)
def test_large_layouts(dtype, shape):
    """Threads that share strided and broadcast operands: the right values, and the same bits for any number of them."""
    x, y = normal(shape, dtype), normal(shape, dtype, 1)
    a, b = corgi.array(x), corgi.array(y)
    backwards = tuple(range(len(shape)))[::-1]
    step = (slice(None, None, -2),) * len(shape)
    calls = [
        lambda xp, p, q: xp.tanh(xp.transpose(p, backwards)) * xp.transpose(q, backwards),
        lambda xp, p, q: p + q[0],
        lambda xp, p, q: p * q[..., :1],
        lambda xp, p, q: p[step] - q[step],
        lambda xp, p, q: xp.where(p > 0, p[..., -1:], q),
        lambda xp, p, q: xp.sum(p * q, 0),
        lambda xp, p, q: xp.sum(xp.transpose(p, backwards), 0),
        lambda xp, p, q: xp.max(p, -1),
        lambda xp, p, q: xp.transpose(p, backwards).reshape((-1,)),
    ]
    for call in calls:
        expected = call(np, x.astype(np.float64), y.astype(np.float64))
        results = []
        for threads in (1, 2):
            with corgi.num_threads(threads):
                results.append(call(corgi, a, b))
        np.testing.assert_array_equal(*results)
        agree(results[0], expected, dtype, 100.0)


# ---- rows


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_row_lengths(dtype):
    """Softmax and its kin for rows of every length, with large and infinite numbers in them."""
    for n in (1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 100, 1000):
        x = normal((3, n), dtype, n)
        x[1] *= 300
        x[2, n // 2 + 1 :] = -np.inf
        wide = x.astype(np.float64)
        for name in ("softmax", "log_softmax"):
            agree(getattr(corgi, name)(x), getattr(ORACLE, name)(wide), dtype)
        agree(corgi.logsumexp(x, -1), ORACLE.logsumexp(wide, -1), dtype)
        labels = np.array([0, n - 1, 0])
        a = corgi.array(x).tracked()
        loss = corgi.softmax_cross_entropy(a, labels)
        logs = ORACLE.log_softmax(wide)
        agree(loss, np.asarray(-logs[np.arange(3), labels].mean()), dtype)
        loss.backward()
        agree(a.gradient, (np.exp(logs) - np.eye(n)[labels]) / 3, dtype)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
def test_dense_sizes(activation):
    for rows, inputs, outputs in itertools.product((0, 1, 3, 17), (0, 1, 5, 33), (0, 1, 7, 18)):
        x, w, b = normal((rows, inputs)), normal((outputs, inputs), seed=1), normal((outputs,), seed=2)
        arrays = [corgi.array(v).tracked() for v in (x, w, b)]
        out = corgi.dense(*arrays, activation)
        agree(out, ORACLE.dense(x, w, b, activation))
        plain = gradients_of(arrays, out)
        other = [corgi.array(v).tracked() for v in (x, w, b)]
        z = other[0] @ other[1].T + other[2]
        composite = gradients_of(other, getattr(corgi, activation)(z) if activation else z)
        for one, two in zip(plain, composite, strict=True):
            agree(one, two)


def gradients_of(arrays, out):
    out.backward(corgi.array(normal(out.shape, out.dtype, 3)))
    return [np.asarray(a.gradient) for a in arrays]


# ---- matrix products


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_matmul_sizes(dtype):
    """All sizes around the tiles, each operand as it is, transposed, and with gaps."""
    kinds = itertools.cycle(itertools.product(range(3), range(3)))
    for m, n, k in itertools.product(SIZES, repeat=3):
        (a, x), (b, y) = (matrix(shape, kind, dtype) for shape, kind in zip([(m, k), (k, n)], next(kinds), strict=True))
        agree(a @ b, x.astype(np.float64) @ y.astype(np.float64), dtype, 30.0)


def matrix(shape, kind, dtype):
    """As it is, transposed, or with gaps in both axes."""
    if kind == 0:
        x = normal(shape, dtype)
        return corgi.array(x), x
    if kind == 1:
        x = normal(shape[::-1], dtype)
        return corgi.array(x).T, x.T
    x = normal((2 * shape[0], 3 * shape[1]), dtype)
    return corgi.array(x)[::2, ::-3], x[::2, ::-3]


@SETTINGS
@given(st.data())
def test_matmul_batches(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(signature="(m,k),(k,n)->(m,n)", max_dims=3, max_side=4, min_side=0))
    (a, x), (b, y) = ((corgi.array(normal(s)), normal(s)) for s in shapes.input_shapes)
    a, b = a.tracked(), b.tracked()
    out = a @ b
    agree(out, np.asarray(x @ y))
    g = normal(out.shape, seed=4)
    out.backward(corgi.array(g))
    for array, values, full in [(a, x, g @ y.swapaxes(-1, -2)), (b, y, x.swapaxes(-1, -2) @ g)]:
        full = full.sum(tuple(range(full.ndim - values.ndim)))
        axes = tuple(i for i in range(values.ndim - 2) if values.shape[i] == 1)
        agree(array.gradient, full.sum(axes, keepdims=True), scale=30.0)


# ---- windows


@st.composite
def geometries(draw):
    """Images, filters and the arguments of conv, such that a window fits."""
    kernel, dilation = ([draw(st.integers(1, high)) for _ in range(2)] for high in (5, 3))
    padding, stride = ([draw(st.integers(low, high)) for _ in range(2)] for low, high in ((0, 4), (1, 4)))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(max(r - 2 * p, 1), max(r - 2 * p, 1) + 20)) for r, p in zip(reach, padding, strict=True)]
    images, groups, channels, filters = (draw(st.integers(low, high)) for low, high in ((0, 3), (1, 3), (1, 4), (1, 18)))
    arguments = {"stride": tuple(stride), "padding": tuple(padding), "dilation": tuple(dilation), "groups": groups}
    return (images, groups * channels, *size), (groups * filters, channels, *kernel), arguments


@SETTINGS
@given(geometries(), dtypes, st.sampled_from([None, "relu", "sigmoid", "tanh"]))
def test_conv(geometry, dtype, activation):
    image_shape, filter_shape, arguments = geometry
    x, f, bias = normal(image_shape, dtype), normal(filter_shape, dtype, 1), normal(filter_shape[:1], dtype, 4)
    a, b, c = (corgi.array(v).tracked() for v in (x, f, bias))
    out = corgi.conv(a, b, bias=c, activation=activation, **arguments)
    wide = [v.astype(np.float64) for v in (x, f)]
    z = ORACLE.conv(*wide, bias=bias.astype(np.float64), **arguments)
    y = activate(z, activation)
    agree(out, y, dtype, 30.0)
    # With dz the cotangent of z, and since conv is bilinear: <dz, conv(x, f)> = <dx, x> = <df, f>, for any x and f.
    g = normal(out.shape, dtype, 2)
    out.backward(corgi.array(g))
    slope = {None: 1.0, "relu": out.numpy() > 0, "sigmoid": y * (1 - y), "tanh": 1 - y * y}[activation]
    dz = g * slope
    agree(c.gradient, dz.sum((0, 2, 3)), dtype, 100.0)
    u, v = normal(image_shape, seed=3), normal(filter_shape, seed=4)
    for gradient, along, other in [(a.gradient, u, (u, wide[1])), (b.gradient, v, (wide[0], v))]:
        expected = (dz * ORACLE.conv(*other, **arguments)).sum()
        assert (np.asarray(gradient, np.float64) * along).sum() == pytest.approx(expected, rel=1e-3, abs=1e3 * RTOL[dtype])


@SETTINGS
@given(geometries(), dtypes, st.data())
def test_conv_transpose(geometry, dtype, data):
    (images, channels, *size), (filters, group, *kernel), arguments = geometry
    more = tuple(data.draw(st.integers(0, step - 1)) for step in arguments["stride"])
    sizes = zip(size, kernel, *(arguments[name] for name in ("stride", "padding", "dilation")), more, strict=True)
    if min((n - 1) * s - 2 * p + d * (k - 1) + 1 + e for n, k, s, p, d, e in sizes) < 1:
        return
    x, f = normal((images, filters, *size), dtype), normal((filters, group, *kernel), dtype, 1)
    out = corgi.conv_transpose(x, f, output_padding=more, **arguments)
    assert out.shape[:2] == (images, channels)
    agree(
        out, ORACLE.conv_transpose(x.astype(np.float64), f.astype(np.float64), output_padding=more, **arguments), dtype, 30.0
    )


@SETTINGS
@given(geometries(), dtypes)
def test_pooling(geometry, dtype):
    shape, (_, _, *size), arguments = geometry
    padding = tuple(min(p, k // 2) for p, k in zip(arguments["padding"], size, strict=True))
    if any(n + 2 * p < k for n, p, k in zip(shape[2:], padding, size, strict=True)):
        return
    x = normal(shape, dtype)
    for name in ("avg_pool", "max_pool"):
        a = corgi.array(x).tracked()
        out = getattr(corgi, name)(a, tuple(size), arguments["stride"], padding=padding)
        agree(out, getattr(ORACLE, name)(x.astype(np.float64), tuple(size), arguments["stride"], padding=padding), dtype)
        out.sum().backward()
        if name == "max_pool" or padding == (0, 0):  # else some of it falls on the padding
            assert a.gradient.sum().item() == pytest.approx(out.size, rel=1e-4)


@pytest.mark.skipif("CORGI_CPU" in os.environ, reason="runs at one level")
@pytest.mark.parametrize("level", corgi.config.config()["instruction_sets"][1:])
def test_levels(level):
    run_at_level(level, __file__, "reductions or lengths or sizes or special or large or conv or pooling")
