"""Backward passes through pointwise ops that follow each other, which run together over tiles (src/chain.pxi)."""

import numpy as np
import pytest

import corgi
from corgi._core import vjp_of


def random(*shape, dtype="float64", low=0.5, high=2.0):
    return np.random.default_rng(sum(shape)).uniform(low, high, shape).astype(dtype)


def gradients(function, arrays, seed):
    leaves = [corgi.array(a).tracked() for a in arrays]
    function(*leaves).backward(corgi.array(seed))
    return [leaf.gradient.numpy() for leaf in leaves]


def one_at_a_time(function, arrays, seed):
    """The same from ops on single elements, whose vjps run one after the other."""
    flat = [a.ravel() for a in arrays]
    found = [gradients(function, [a[i : i + 1] for a in flat], seed.ravel()[i : i + 1]) for i in range(seed.size)]
    return [np.concatenate(g).reshape(seed.shape) for g in zip(*found, strict=True)]


def numbers(x, y):
    """More of them than a chain has room for."""
    for k in range(1, 12):
        x = x * (0.5 + k) - y / k
    return x


def long(x, y):
    """More ops than a chain looks at, more sums than fit it where the arrays are large."""
    for _ in range(40):
        x = corgi.tanh(x * y) + y
    return x


def shared(x, y):
    z = x * y
    return z * z + corgi.exp(-z) / (z + x) - corgi.maximum(z, y)


def passing(x, y):
    """Cotangents that are passed on as they are, to one place and several."""
    z = x + y
    return (z + x) + (z - y) + z


def square(x, y):
    return (x - y) * (x - y)


FUNCTIONS = (numbers, long, shared, passing, square)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2,), (7, 1, 5), (700,)])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_gradients_are_those_of_one_op_after_the_other(function, shape, dtype):
    """To the last bit: the same terms are added in the same order."""
    arrays, seed = [random(*shape, dtype=dtype), random(*shape, 1, dtype=dtype)[..., 0] + 1], random(*shape, dtype=dtype) - 1
    for found, expected in zip(gradients(function, arrays, seed), one_at_a_time(function, arrays, seed), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_large_arrays_give_what_their_parts_give(function, dtype):
    size, part = 50_001, 600
    arrays, seed = [random(size, dtype=dtype), random(size, 1, dtype=dtype)[:, 0] + 1], random(size, dtype=dtype) - 1
    parts = [slice(i, i + part) for i in range(0, size, part)]
    expected = [gradients(function, [a[p] for a in arrays], seed[p]) for p in parts]
    for n in (1, 2):
        with corgi.num_threads(n):
            for k, found in enumerate(gradients(function, arrays, seed)):
                np.testing.assert_array_equal(found, np.concatenate([g[k] for g in expected]))


def test_a_cotangent_that_stands_for_all_elements():
    x = corgi.array(random(300)).tracked()
    (corgi.sin(x) * x).sum().backward()
    np.testing.assert_allclose(x.gradient.numpy(), np.sin(x.numpy()) + x.numpy() * np.cos(x.numpy()), rtol=1e-13)


def test_cotangents_in_another_order_of_memory():
    x, seed = corgi.array(random(30, 40)).tracked(), corgi.array(random(40, 30))
    corgi.exp(x * x).backward(seed.T)
    np.testing.assert_allclose(x.gradient.numpy(), 2 * x.numpy() * np.exp(x.numpy() ** 2) * seed.numpy().T, rtol=1e-14)
    np.testing.assert_array_equal(seed.numpy(), random(40, 30))


def test_intermediate_gradients_that_are_kept():
    x = corgi.array(random(500)).tracked()
    y = (x * 3).tracked()
    z = corgi.exp(y)
    total = z * z + y
    total.backward()
    np.testing.assert_allclose(y.gradient.numpy(), 2 * np.exp(6 * x.numpy()) + 1, rtol=1e-14)
    np.testing.assert_allclose(x.gradient.numpy(), 6 * np.exp(6 * x.numpy()) + 3, rtol=1e-14)


def test_seeds_and_earlier_gradients_stay_as_they_are():
    x = corgi.array(random(500)).tracked()
    seed = corgi.array(random(500))
    kept = seed.numpy().copy()
    opposite = -x
    (-opposite).backward(seed)
    first = x.gradient
    np.testing.assert_array_equal(first.numpy(), kept)
    (x * x + x).backward(seed)
    np.testing.assert_array_equal(seed.numpy(), kept)
    np.testing.assert_allclose(x.gradient.numpy(), kept * (2 * x.numpy() + 2), rtol=1e-15)


def test_operands_that_a_chain_does_not_take():
    """Broadcast rows, strided views, other dtypes, other ops in between."""
    x, row = corgi.array(random(60, 50)).tracked(), corgi.array(random(50)).tracked()
    w = corgi.array(random(60, 50, dtype="float32")).tracked()
    y = (x * row + w)[::2] * x[1::2]
    corgi.where(y > 2, y * y, -y).T.backward(corgi.array(random(50, 30)))
    x0, r, w0, g = x.numpy(), row.numpy(), w.numpy().astype(float), random(50, 30).T
    inner = (x0 * r + w0)[::2]
    slope = g * np.where(inner * x0[1::2] > 2, 2 * inner * x0[1::2], -1)
    dx = np.zeros_like(x0)
    dx[1::2] = slope * inner
    dx[::2] = slope * x0[1::2] * r
    np.testing.assert_allclose(x.gradient.numpy(), dx, rtol=1e-12)
    np.testing.assert_allclose(row.gradient.numpy(), (slope * x0[1::2] * x0[::2]).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(w.gradient.numpy()[::2], slope * x0[1::2], rtol=1e-6)
    assert not w.gradient.numpy()[1::2].any()


@pytest.mark.parametrize("stop", [False, True])
def test_targets_in_the_middle_of_a_chain(stop):
    x = corgi.array(random(200)).tracked()
    y = x * x
    z = corgi.sin(y) * y
    dy, dx = vjp_of([z], [y, x], [corgi.ones(200)], stop=stop)
    slope = np.cos(y.numpy()) * y.numpy() + np.sin(y.numpy())
    np.testing.assert_allclose(dy.numpy(), slope, rtol=1e-14)
    assert x.gradient is None and y.gradient is None
    if stop:
        assert dx is None
    else:
        np.testing.assert_allclose(dx.numpy(), slope * 2 * x.numpy(), rtol=1e-14)
