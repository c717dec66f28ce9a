"""Dropout: its statistics, its gradients, where its keys come from, the layer.

Above: nobody.  Below: corgi's dropout.  tests/ops.py has the mask's definition in NumPy, which test_ops.py
holds it to, at every level.
"""

import copy
import math
import pickle

import numpy as np
import pytest

import corgi
from corgi.layer import Dropout

N = 2**20


def mask(n, p, seed):
    """Which elements are kept."""
    return corgi.dropout(corgi.ones(n, "float32"), p, seed=seed).numpy() > 0


def sigmas(count, n, p):
    """How many standard deviations a binomial count is away from its mean."""
    return abs(count - n * p) / math.sqrt(n * p * (1 - p))


# ---- statistics: each of these would happen by chance less than once in 10,000 runs, and nothing here is left to chance


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_rate(p):
    for seed in (0, 1, 2**63):
        assert sigmas(np.sum(~mask(N, p, seed)), N, p) < 4


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 16, 31, 32, 64, 1000, 2**15, 2**15 + 1])
def test_neighbours_are_independent(lag):
    """How often an element and the one `lag` places on are both dropped."""
    for p in (0.1, 0.5):
        dropped = ~mask(N, p, 7)
        assert sigmas(np.sum(dropped[lag:] & dropped[:-lag]), N - lag, p * p) < 4.5


@pytest.mark.parametrize("other", [0, 2, 3, 5, 2**32, 2**32 + 1, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15])
def test_keys_are_independent(other):
    """Masks of keys that look alike agree as often as chance has it, also shifted by a few places or a block."""
    first, second = mask(N, 0.5, 1), mask(N, 0.5, other)
    for shift in (0, 1, -1, 2**15):
        assert sigmas(np.sum(first == np.roll(second, shift)), N, 0.5) < 4.5


def test_places_over_many_keys():
    """At each of 64 places, over 20,000 keys in a row."""
    keys = 20_000
    dropped = np.sum([~mask(64, 0.3, key) for key in range(keys)], 0)
    assert np.max([sigmas(count, keys, 0.3) for count in dropped]) < 4.5


def test_words_of_eight():
    """All patterns of eight neighbours are equally frequent (chi-squared with 255 degrees of freedom)."""
    patterns = np.bincount(np.packbits(mask(N, 0.5, 11)), minlength=256)
    assert np.sum((patterns - N / 2048) ** 2) / (N / 2048) < 350


# ---- values


def test_ends_of_the_range():
    x = corgi.array([1.0, -2.0, np.inf, np.nan]).tracked()
    assert corgi.dropout(x, 0.0) is x
    y = corgi.dropout(x, 1.0)
    np.testing.assert_array_equal(y, np.zeros(4))
    y.backward(corgi.ones(4))
    np.testing.assert_array_equal(x.gradient, np.zeros(4))
    near = corgi.dropout(corgi.ones(1000), np.nextafter(1.0, 0.0), seed=1)
    np.testing.assert_array_equal(near, np.zeros(1000))
    assert corgi.dropout(corgi.ones(1000), 1e-300, seed=1).sum().item() == 1000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_dropped_is_zero(value):
    y = corgi.dropout(corgi.full(100, value), 0.5, seed=3).numpy()
    np.testing.assert_array_equal(y == 0, ~mask(100, 0.5, 3))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (31,), (2**15 - 1,), (2**15 + 1,), (5, 7, 11)])
def test_one_mask_for_both_dtypes(shape):
    single, double = (corgi.dropout(corgi.ones(shape, dtype), 0.4, seed=9) for dtype in ("float32", "float64"))
    assert single.dtype == "float32" and double.dtype == "float64" and single.shape == shape
    np.testing.assert_array_equal(single.numpy() > 0, double.numpy() > 0)


def test_gradients_of_every_order():
    x = np.linspace(0.5, 2.0, 12).reshape(3, 4)
    corgi.check_gradient(lambda x: corgi.power(corgi.dropout(x, 0.4, seed=5), 3).sum(), x, order=2)
    a = corgi.array(x).tracked()
    corgi.dropout(a, 0.4, seed=5).backward(corgi.ones((3, 4)))
    np.testing.assert_array_equal(a.gradient.numpy() > 0, mask(12, 0.4, 5).reshape(3, 4))


# ---- keys


def test_the_package_generator_gives_the_keys():
    x = corgi.ones(1000)
    corgi.seed(1)
    first = [corgi.dropout(x).tolist() for _ in range(2)]
    state = copy.deepcopy(corgi.initializer.generator())
    after = corgi.dropout(x).tolist()
    corgi.seed(1)
    assert [corgi.dropout(x).tolist() for _ in range(2)] == first
    assert first[0] != first[1]
    corgi.seed(state)
    assert corgi.dropout(x).tolist() == after
    assert corgi.dropout(x, seed=np.random.default_rng(1)).tolist() == first[0]


# ---- the layer


def test_layer():
    layer, x = Dropout(0.5, seed=1), corgi.ones((50, 40))
    y = layer(x)
    assert set(np.unique(y)) == {0.0, 2.0}
    assert layer(x).tolist() != y.tolist()
    assert Dropout(0.5, seed=1)(x).tolist() == y.tolist()
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert repr(layer) == "Dropout(0.5)" and layer.parameters() == []
    for other in (copy.deepcopy(layer.train()), pickle.loads(pickle.dumps(layer))):
        assert other(x).tolist() == copy.deepcopy(layer)(x).tolist()
    assert Dropout(0.5)([1.0, 2.0]).shape == (2,)


def test_shared_axes():
    layer = Dropout(0.5, shared_axes=(2, -1), seed=1)
    y = layer(corgi.ones((30, 20, 3, 5), "float32").tracked())
    channels = y.numpy().reshape(600, 15)
    np.testing.assert_array_equal(channels, np.repeat(channels[:, :1], 15, 1))
    assert sigmas(np.sum(channels[:, 0] == 0), 600, 0.5) < 4
    assert y.is_tracked and y.dtype == "float32"
    assert repr(layer) == "Dropout(0.5, shared_axes=(2, -1))"


def test_training_with_dropout_is_reproducible():
    def train(threads):
        corgi.seed(3)
        with corgi.num_threads(threads):
            model = corgi.Model(
                [corgi.layer.Dense(20, 700, None, "relu"), Dropout(0.3), corgi.layer.Dense(700, 1)],
                corgi.optimizer.GradientDescent(0.01),
                corgi.cost.mse,
            )
            x = np.random.default_rng(0).normal(size=(500, 20))
            for _ in range(3):
                model.forward(x)
                model.backward(x[:, :1])
                model.update()
            return [p.tolist() for p in model.parameters()]

    assert train(1) == train(2)
