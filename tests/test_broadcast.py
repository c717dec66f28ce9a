"""Broadcasting against NumPy: random shapes of 0 to 5 axes with sizes 0 to 3, compatible or not, values and gradients.

All values are powers of two, so that every product, quotient and sum of a few is exact and results can be compared for
equality. The gradients of the reference come from NumPy's formulas and are summed back along the broadcast axes.
"""

import math
import operator

import numpy as np
import pytest

import corgi

CHUNKS, CASES = 4, 5000
POOL = np.random.default_rng(0).choice([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0], 4096)

# op: (forward, gradient of x, gradient of y), each of (g, x, y)
ELEMENTWISE = [
    (operator.add, lambda g, x, y: g, lambda g, x, y: g),
    (operator.sub, lambda g, x, y: g, lambda g, x, y: -g),
    (operator.mul, lambda g, x, y: g * y, lambda g, x, y: g * x),
    (operator.truediv, lambda g, x, y: g / y, lambda g, x, y: -g * x / (y * y)),
]


class Sampler:
    """Shapes and values from one seed."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self.rng.integers(low, high))

    def shape(self, least=0):
        """Sizes 1 to 3, now and then a 0."""
        return tuple(self.rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 3], self.integer(least, 6)).tolist())

    def shapes(self, n):
        """n shapes, half of the time made to broadcast together: cut from one shape, some axes set to 1."""
        if self.integer(0, 2):
            return [self.shape() for _ in range(n)]
        common = self.shape()
        cut = [common[self.integer(0, len(common) + 1) :] for _ in range(n)]
        return [tuple(1 if self.integer(0, 3) == 0 else size for size in shape) for shape in cut]

    def values(self, shape):
        size = int(np.prod(shape, dtype=int))
        start = self.integer(0, len(POOL) - size)
        return POOL[start : start + size].reshape(shape)

    def tracked(self, values):
        """The values as a leaf: contiguous, or a view of transposed or of interleaved memory."""
        layout = self.integer(0, 3)
        if layout == 0 or values.ndim == 0:
            return corgi.array(values).tracked()
        if layout == 1:
            return corgi.array(values.T).T.detach().tracked()
        return corgi.array(np.repeat(values, 2, axis=-1))[..., ::2].detach().tracked()


def unbroadcast(g, shape, fixed=0):
    """Sum g over the axes along which an array of this shape was broadcast; the last `fixed` axes never are."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum(tuple(i for i, size in enumerate(shape[: len(shape) - fixed]) if size == 1), keepdims=True)


def assert_equal(array, values):
    assert array.dtype == values.dtype and array.shape == values.shape and np.array_equal(array.numpy(), values)


@pytest.mark.parametrize("seed", range(CHUNKS))
def test_elementwise(seed):
    sampler, refused = Sampler(seed), 0
    for case in range(CASES):
        forward, dx, dy = ELEMENTWISE[case % len(ELEMENTWISE)]
        x, y = (sampler.values(shape) for shape in sampler.shapes(2))
        a, b = sampler.tracked(x), sampler.tracked(y)
        try:
            expected = np.asarray(forward(x, y))
        except ValueError:
            refused += 1
            with pytest.raises(ValueError, match="do not broadcast"):
                forward(a, b)
            continue
        result, g = forward(a, b), sampler.values(expected.shape)
        result.backward(g)
        assert_equal(result, expected)
        assert_equal(a.gradient, unbroadcast(dx(g, x, y), x.shape))
        assert_equal(b.gradient, unbroadcast(dy(g, x, y), y.shape))
    assert CASES / 10 < refused < CASES / 2


def test_three_operands():
    sampler = Sampler(200)
    for _ in range(2000):
        x, y, z = (sampler.values(shape) for shape in sampler.shapes(3))
        a, b, c = map(sampler.tracked, (x, y, z))
        try:
            g = sampler.values(np.broadcast_shapes(x.shape, y.shape, z.shape))
        except ValueError:
            for op in (corgi.axpy, corgi.clip, lambda a, b, c: corgi.where(a > 0, b, c)):
                with pytest.raises(ValueError, match="do not broadcast"):
                    op(a, b, c)
            continue
        sums, chosen = corgi.axpy(a, b, c), corgi.where(a > 0, b, c)
        assert_equal(sums, np.asarray(x * y + z))
        assert_equal(chosen, np.asarray(np.where(x > 0, y, z)))
        sums.backward(g)
        chosen.backward(g)
        assert_equal(a.gradient, unbroadcast(g * y, x.shape))
        assert_equal(b.gradient, unbroadcast(g * x + np.where(x > 0, g, 0), y.shape))
        assert_equal(c.gradient, unbroadcast(g + np.where(x > 0, 0, g), z.shape))


@pytest.mark.parametrize("size", [0, 1, 2, 17, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_numbers_and_arrays(size, dtype):
    """Operands of one element, in shapes of 0 to 2 axes, beside others of sizes around that of a tile."""
    x = POOL[:size].astype(dtype)
    for shape in ((), (1,), (1, 1)):
        number = np.full(shape, 2, dtype)
        for first, second in ((x, number), (number, x), (x[::-1], number), (number, number)):
            a, b = corgi.array(first), corgi.array(second)
            assert_equal(a * b, np.asarray(first * second))
            assert_equal(a > b, np.asarray(first > second))
            assert_equal(corgi.where(a > 0, a, b), np.where(first > 0, first, second))
            assert_equal(corgi.where(b > 0, b, a), np.where(second > 0, second, first))


@pytest.mark.parametrize("size", [0, 1, 10, 64, 65])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_operators_with_python_numbers(size, dtype):
    operators = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
    operators += [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
    x = np.abs(POOL[: 2 * size]).astype(dtype)
    with np.errstate(all="ignore"):
        for values in (x[:size], x[::2], x[:size].reshape(1, -1, 1)):
            a = corgi.array(values)
            for number in (2, -1, 0, 2**53 + 1, 2**80, 0.1, 1e300, -0.0, math.inf, math.nan):
                for apply in operators:
                    # The number takes the dtype first, as in NumPy from 2.0 on, but silently where that is infinity.
                    expected = apply(values, np.asarray(float(number)).astype(dtype))
                    for operand in (a, a.copy().tracked()):
                        np.testing.assert_allclose(apply(operand, number), expected, rtol=1e-6, strict=True)
                    expected = apply(np.asarray(float(number)).astype(dtype), values)
                    np.testing.assert_allclose(apply(number, a), expected, rtol=1e-6, strict=True)
    with pytest.raises(OverflowError, match=r"^add: an int of 2001 bits does not fit float"):
        corgi.array(x).tracked() + 2**2000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_larger_than_the_caches(dtype):
    size = 2_200_003
    x, y, row = (np.resize(POOL[start:], shape).astype(dtype) for start, shape in ((0, size), (1, size), (2, (7, 1))))
    a, b = corgi.array(x).tracked(), corgi.array(y).tracked()
    result = (a * b + a) * b
    assert_equal(result, (x * y + x) * y)
    assert_equal(a > b, x > y)
    assert_equal(corgi.where(a > b, a, 1.0), np.where(x > y, x, np.ones(1, dtype)))
    columns = size // 7
    assert_equal(a[: 7 * columns].reshape(7, columns) + corgi.array(row), x[: 7 * columns].reshape(7, columns) + row)
    result.backward(b)
    assert_equal(a.gradient, y * y * (y + 1))
    assert_equal(b.gradient, y * (2 * x * y + x))


def matmul_operands(sampler):
    """Two operands, mostly of matching inner sizes and batches, and whether each is to be transposed."""
    if sampler.integer(0, 4) == 0:
        return *(sampler.values(sampler.shape()) for _ in range(2)), False, False
    batch_a, batch_b = (shape[:3] for shape in sampler.shapes(2))
    m, k, n = (sampler.integer(0, 4) for _ in range(3))
    transpose_a, transpose_b = (bool(sampler.integer(0, 2)) for _ in range(2))
    a = batch_a + ((k, m) if transpose_a else (m, k))
    b = batch_b + ((n, k) if transpose_b else (k, n))
    if sampler.integer(0, 6) == 0:
        a, transpose_a = (k,), False
    if sampler.integer(0, 6) == 0:
        b, transpose_b = (k,), False
    return sampler.values(a), sampler.values(b), transpose_a, transpose_b


def swapped(x, swap=True):
    return np.swapaxes(x, -1, -2) if swap else x


def matmul_gradients(g, x, y):
    """The gradients of x @ y by the rules for matrices, to which vectors are brought by an axis of size 1."""
    g = np.expand_dims(g, -1) if y.ndim == 1 else g
    g = np.expand_dims(g, -2) if x.ndim == 1 else g
    row, column = x[None] if x.ndim == 1 else x, y[:, None] if y.ndim == 1 else y
    dx = unbroadcast(g @ swapped(column), row.shape, fixed=2)
    dy = unbroadcast(swapped(row) @ g, column.shape, fixed=2)
    return dx.reshape(x.shape), dy.reshape(y.shape)


@pytest.mark.parametrize("seed", range(CHUNKS))
def test_matmul(seed):
    sampler, refused = Sampler(100 + seed), 0
    for _ in range(CASES):
        x, y, transpose_a, transpose_b = matmul_operands(sampler)
        a, b = sampler.tracked(x), sampler.tracked(y)
        x, y = swapped(x, transpose_a), swapped(y, transpose_b)
        try:
            expected = np.asarray(x @ y)
        except ValueError:
            refused += 1
            with pytest.raises(ValueError, match=r"^matmul"):
                corgi.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
            continue
        result, g = corgi.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b), sampler.values(expected.shape)
        result.backward(g)
        dx, dy = matmul_gradients(g, x, y)
        assert_equal(result, expected)
        assert_equal(a.gradient, swapped(dx, transpose_a))
        assert_equal(b.gradient, swapped(dy, transpose_b))
    assert CASES / 10 < refused < CASES * 3 / 4
