"""Initializers: distribution, variance, seeds, dtypes, errors.

The samples are seeded, and large enough to tell a wrong distribution from a right one.
"""

import math
import pickle

import numpy as np
import pytest
from scipy import stats

import corgi
from corgi import initializer
from corgi.layer import Conv, Dense

TRUNCATED = stats.truncnorm(-2, 2)
SCALED = {
    "he": (initializer.he, lambda fan_in, fan_out: math.sqrt(2 / fan_in)),
    "glorot": (initializer.glorot, lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out))),
    "lecun": (initializer.lecun, lambda fan_in, fan_out: math.sqrt(1 / fan_in)),
}


@pytest.mark.parametrize("shape, fan_in, fan_out", [((300, 200), 200, 300), ((64, 32, 3, 5), 480, 960)])
@pytest.mark.parametrize("distribution", ["normal", "uniform", "truncated"])
@pytest.mark.parametrize("name", SCALED)
def test_scaled(name, distribution, shape, fan_in, fan_out):
    make, deviation = SCALED[name]
    values = make(distribution, seed=3)(shape).numpy().ravel()
    std = deviation(fan_in, fan_out)
    expected = {
        "normal": stats.norm(0, std),
        "uniform": stats.uniform(-std * math.sqrt(3), 2 * std * math.sqrt(3)),
        "truncated": stats.truncnorm(-2, 2, scale=std / TRUNCATED.std()),
    }[distribution]
    assert stats.kstest(values, expected.cdf).pvalue > 1e-6
    assert abs(values.std() / std - 1) < 0.02
    assert abs(values.mean()) < 6 * std / math.sqrt(values.size)


def test_normal_and_uniform():
    normal = initializer.normal(3.0, 0.5, seed=1)((200, 200)).numpy().ravel()
    assert stats.kstest(normal, stats.norm(3.0, 0.5).cdf).pvalue > 1e-6
    uniform = initializer.uniform(-1.0, 4.0, seed=1)((200, 200)).numpy().ravel()
    assert stats.kstest(uniform, stats.uniform(-1.0, 5.0).cdf).pvalue > 1e-6
    assert uniform.min() >= -1 and uniform.max() < 4


@pytest.mark.parametrize("cutoff", [0.01, 0.7, 1.0, 2.0, 8.0])
def test_truncated_normal(cutoff):
    values = initializer.truncated_normal(3.0, 0.5, cutoff, seed=1)((100, 100)).numpy().ravel()
    assert np.abs(values - 3.0).max() <= 0.5 * cutoff * (1 + 1e-12)
    assert stats.kstest(values, stats.truncnorm(-cutoff, cutoff, loc=3.0, scale=0.5).cdf).pvalue > 1e-6
    assert initializer.truncated_normal()((0, 2)).shape == (0, 2)


def test_variance_scaling():
    """Modes, gains and slopes, by the deviation that they give; the same numbers as the rules that are cases of it."""
    shape, fan_in, fan_out = (100, 20, 3, 2), 120, 600
    for rule, std in [
        (initializer.variance_scaling(0.5, seed=1), math.sqrt(0.5 / fan_in)),
        (initializer.variance_scaling(0.5, "fan_out", "uniform", seed=1), math.sqrt(0.5 / fan_out)),
        (initializer.variance_scaling(0.5, "fan_avg", "normal", seed=1), math.sqrt(0.5 / 360)),
        (initializer.he(mode="fan_out", seed=1), math.sqrt(2 / fan_out)),
        (initializer.he("truncated", slope=0.5, seed=1), math.sqrt(1.6 / fan_in)),
        (initializer.glorot(gain=3.0, seed=1), 3 * math.sqrt(2 / 720)),
    ]:
        assert abs(rule(shape).std().item() / std - 1) < 0.02
    for rule, general in [
        (initializer.he("uniform", seed=1), initializer.variance_scaling(2.0, "fan_in", "uniform", seed=1)),
        (initializer.glorot("normal", seed=1), initializer.variance_scaling(1.0, "fan_avg", "normal", seed=1)),
        (initializer.lecun("truncated", seed=1), initializer.variance_scaling(seed=1)),
    ]:
        assert np.array_equal(rule(shape), general(shape))


@pytest.mark.parametrize("shape", [(5, 5), (3, 40), (40, 3), (4, 3, 2, 2), (60, 3, 2, 2), (1, 1), (0, 3), (3, 0)])
def test_orthogonal(shape):
    w = initializer.orthogonal(2.0, seed=1)(shape).numpy()
    assert w.shape == shape
    matrix = w.reshape(shape[0], math.prod(shape[1:])) / 2
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-13)


def test_orthogonal_is_uniform():
    """Determinants of both signs, and no preferred direction: entries of 2x2 matrices have the arcsine distribution."""
    rule = initializer.orthogonal(seed=1)
    drawn = np.stack([rule((2, 2)).numpy() for _ in range(2000)])
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 0.06
    for i, j in np.ndindex(2, 2):
        assert stats.kstest(drawn[:, i, j], stats.arcsine(-1, 2).cdf).pvalue > 1e-6


def test_identity():
    assert np.array_equal(initializer.identity(2.0)((3, 2)), 2 * np.eye(3, 2))
    assert initializer.identity()((0, 2)).shape == (0, 2)
    layer = Conv(2, 3, (3, 5), initializer.identity(), padding=(1, 2))
    x = np.random.default_rng(0).normal(size=(2, 4, 6))
    np.testing.assert_array_equal(layer(x), np.concatenate([x, np.zeros((1, 4, 6))]))


def test_fixed():
    assert (initializer.zeros()((2, 3)) == 0).all()
    assert (initializer.ones()((2, 3)) == 1).all()
    assert (initializer.constant(-2.5)((2, 3)) == -2.5).all()
    assert initializer.ones()(4).shape == (4,)
    assert initializer.ones()(()).shape == ()


RANDOM = [
    initializer.he,
    initializer.glorot,
    initializer.lecun,
    initializer.normal,
    initializer.orthogonal,
    initializer.truncated_normal,
    initializer.uniform,
    initializer.variance_scaling,
]


@pytest.mark.parametrize("make", RANDOM)
def test_dtypes_have_the_same_numbers(make):
    double = make(seed=5)((30, 20), "float64")
    single = make(seed=5)((30, 20), "float32")
    assert double.dtype == "float64" and single.dtype == "float32"
    assert np.array_equal(double.numpy().astype(np.float32), single.numpy())
    assert not double.is_tracked
    with corgi.default_dtype("float32"):
        assert make(seed=5)((2, 2)).dtype == "float32"


def test_seeds():
    corgi.seed(11)
    a, b = initializer.he()((3, 4)), initializer.he()((3, 4))
    corgi.seed(11)
    rule = initializer.he()
    c, d = rule((3, 4)), rule((3, 4))
    assert np.array_equal(a, c) and np.array_equal(b, d) and not np.array_equal(a, b)
    seeded = initializer.he(seed=11)
    assert np.array_equal(seeded((3, 4)), a) and np.array_equal(seeded((3, 4)), b)
    own = initializer.he(seed=np.random.default_rng(11))
    assert np.array_equal(own((3, 4)), a)
    assert np.array_equal(initializer.he(seed=1)((3, 4), None, np.random.default_rng(11)), a)
    generator = np.random.default_rng(4)
    corgi.seed(generator)
    assert initializer.generator() is generator


@pytest.mark.parametrize("make", RANDOM)
def test_every_rule_takes_seeds(make):
    corgi.seed(11)
    first, second = make()((3, 4)), make()((3, 4))
    corgi.seed(11)
    assert np.array_equal(make()((3, 4)), first) and not np.array_equal(first, second)
    assert np.array_equal(make(seed=11)((3, 4)), first)
    assert np.array_equal(make(seed=np.random.default_rng(11))((3, 4)), first)
    rule = make(seed=2)
    assert np.array_equal(pickle.loads(pickle.dumps(rule))((3, 4)), rule((3, 4)))


def test_seed_reaches_layers():
    def weights():
        corgi.seed(8)
        return [p.numpy() for layer in (Dense(3, 4), Conv(2, 3, 2)) for p in layer.parameters()]

    for first, second in zip(weights(), weights(), strict=True):
        assert np.array_equal(first, second)


def test_pickle_and_repr():
    rule = initializer.glorot("normal", seed=2)
    copy = pickle.loads(pickle.dumps(rule))
    assert np.array_equal(copy((2, 3)), rule((2, 3)))
    assert repr(rule) == "initializer.glorot('normal')"
    assert repr(initializer.normal(0, 2)) == "initializer.normal(0.0, 2.0)"
    assert repr(initializer.he(mode="fan_out", slope=0.5)) == "initializer.he('normal', mode='fan_out', slope=0.5)"
    assert repr(initializer.glorot(gain=2)) == "initializer.glorot('uniform', gain=2.0)"
    assert repr(initializer.variance_scaling()) == "initializer.variance_scaling(1.0, 'fan_in', 'truncated')"


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (2, 3, 0, 1)])
@pytest.mark.parametrize("make", [initializer.he, initializer.glorot, initializer.lecun])
def test_empty(make, shape):
    assert make()(shape).shape == shape


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: initializer.he("cauchy"), ValueError, "he: expected distribution 'normal', .* got 'cauchy'"),
        (lambda: initializer.he()((3,)), ValueError, r"expected a weight \(outputs, inputs, ...\), got shape \(3,\)"),
        (lambda: initializer.he()((2, -3)), ValueError, r"expected a shape of ints of at least 0, got \(2, -3\)"),
        (lambda: initializer.normal(0, -1), ValueError, "normal: expected std of at least 0, got -1"),
        (lambda: initializer.normal(math.nan), ValueError, "normal: expected a finite number for mean, got nan"),
        (lambda: initializer.normal("a"), TypeError, "normal: expected a number for mean, got str"),
        (lambda: initializer.uniform(2, 1), ValueError, "uniform: expected low <= high, got 2.0 and 1.0"),
        (lambda: initializer.constant(True), TypeError, "constant: expected a number for value, got bool"),
        (lambda: initializer.he(seed=-1), ValueError, "seed: expected at least 0, got -1"),
        (lambda: initializer.he(seed=1.5), TypeError, "seed: expected an int, a numpy.random.Generator or None, got float"),
        (lambda: corgi.seed(None), TypeError, "seed: expected an int or a numpy.random.Generator, got None"),
        (lambda: corgi.seed("1"), TypeError, "seed: expected an int, .* got str"),
        (lambda: Dense(2, 3, initializer.he), TypeError, r"Dense: expected an initializer, .* call it: he\(\)"),
        (lambda: Dense(2, 3, 0.1), TypeError, "Dense: expected an initializer such as .* got float"),
        (lambda: Dense(2, 3, lambda s, d: [1.0]), ValueError, r"Dense: .* an array of shape \(3, 2\), got \(1,\)"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
