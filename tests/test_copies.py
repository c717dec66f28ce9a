"""Copies, joins and broadcast operations of views against NumPy: sizes around the edges of tiles and blocks, strides of both
signs and zero, no axes to eight, empty arrays, every dtype."""

import os

import numpy as np
import pytest

import corgi

from .ops import run_at_level

DTYPES = ["bool", "int64", "float32", "float64"]
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 33, 63, 65, 127, 128, 129, 200, 1025]
MOST = 100_000


def values(rng, shape, dtype):
    return (rng.standard_normal(shape) * 100 > 0 if dtype == "bool" else rng.standard_normal(shape) * 100).astype(dtype)


def views(rng, x):
    """The same view of x in NumPy and in corgi: axes moved, reversed, skipped through, repeated."""
    y = corgi.array(x)
    for kind in rng.permutation(["move", "slice", "repeat_first", "repeat_last"])[: rng.integers(1, 4)]:
        if kind == "move":
            order = rng.permutation(x.ndim).tolist()
            x, y = x.transpose(order), corgi.transpose(y, order)
        elif kind == "slice":
            index = tuple(slice(None, None, int(rng.choice([1, 1, 2, 3, -1, -2]))) for _ in range(x.ndim))
            x, y = x[index], y[index]
        elif x.ndim < 8 and x.size < MOST / 10:
            n = int(rng.integers(1, 10))
            last = kind == "repeat_last"
            shape = (*x.shape, n) if last else (n, *x.shape)
            x = np.broadcast_to(x[..., None] if last else x, shape)
            y = corgi.broadcast_to(corgi.expand_dims(y, -1) if last else y, shape)
    return x, y


def random_shape(rng):
    while True:
        shape = tuple(rng.choice(SIZES, rng.integers(0, 5)).tolist())
        if np.prod(shape, dtype=float) <= MOST:
            return shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(4))
def test_views(dtype, seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        x, y = views(rng, values(rng, random_shape(rng), dtype))
        np.testing.assert_array_equal(y.copy().numpy(), x)
        np.testing.assert_array_equal(corgi.reshape(y, (-1,)).numpy(), x.reshape(-1))
        if x.ndim:
            axis = int(rng.integers(x.ndim))
            np.testing.assert_array_equal(corgi.concatenate([y, y], axis).numpy(), np.concatenate([x, x], axis))
        if x.ndim < 8:
            axis = int(rng.integers(x.ndim + 1))
            np.testing.assert_array_equal(corgi.stack([y, y], axis).numpy(), np.stack([x, x], axis))


def operand(rng, shape, dtype):
    """Something that broadcasts to a shape: some axes of size 1 or missing, the axes in any order in memory."""
    kept = tuple(size if rng.random() < 0.6 else 1 for size in shape)[rng.integers(0, len(shape) + 1) :]
    order = rng.permutation(len(kept))
    x = values(rng, tuple(kept[i] for i in order), dtype)
    back = np.argsort(order).tolist()
    return x.transpose(back), corgi.transpose(corgi.array(x), back)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(4))
def test_operands(dtype, seed):
    """Exact operations, so that results can be compared for equality."""
    rng = np.random.default_rng(seed)
    for _ in range(40):
        x, a = views(rng, values(rng, random_shape(rng), dtype))
        condition, mask = operand(rng, x.shape, "bool")
        (y, b), (z, c) = operand(rng, x.shape, dtype), operand(rng, x.shape, dtype)
        np.testing.assert_array_equal((a + b).numpy(), x + y)
        np.testing.assert_array_equal((b < c).numpy(), y < z)
        np.testing.assert_array_equal(corgi.where(mask, a, b).numpy(), np.where(condition, x, y))
        clipped = corgi.clip(a, corgi.minimum(b, c), corgi.maximum(b, c))
        np.testing.assert_array_equal(clipped.numpy(), np.clip(x, np.minimum(y, z), np.maximum(y, z)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((513, 517), (1, 0)),
        ((70_001, 3), (1, 0)),
        ((3, 70_001), (1, 0)),
        ((9, 31, 33, 17), (0, 2, 3, 1)),
        ((9, 31, 33, 17), (0, 3, 1, 2)),
        ((40, 50, 60), (2, 0, 1)),
        ((2, 3, 4, 5, 6, 7, 8, 9), (7, 5, 3, 1, 6, 4, 2, 0)),
    ],
)
def test_large_transposes(shape, axes, dtype):
    """The same for one thread and for three, which share the blocks of a large copy."""
    x = values(np.random.default_rng(0), shape, dtype)
    for n in (1, 3):
        with corgi.num_threads(n):
            y = corgi.transpose(corgi.array(x), axes)
            np.testing.assert_array_equal(y.copy().numpy(), x.transpose(axes))
            np.testing.assert_array_equal(corgi.concatenate([y, y], 1).numpy(), np.concatenate([x.transpose(axes)] * 2, 1))
            np.testing.assert_array_equal(corgi.pad(y, 1).numpy(), np.pad(x.transpose(axes), 1))


def test_where_broadcasts_its_gradients():
    condition, a, b = corgi.array([[True], [False]]), corgi.array([1.0, 2.0, 3.0]).tracked(), corgi.array(5.0).tracked()
    y = corgi.where(condition, a, b)
    y.backward(corgi.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]))
    assert y.tolist() == [[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]
    assert a.gradient.tolist() == [1.0, 2.0, 3.0]
    assert b.gradient.item() == 60.0


@pytest.mark.skipif("CORGI_CPU" in os.environ, reason="runs at one level")
@pytest.mark.parametrize("level", corgi.config.config()["instruction_sets"][1:])
def test_levels(level):
    run_at_level(level, __file__, "views or operands")
