"""Activations: digits in the tails, limits at infinity, derivatives at extremes, parameters, and PyTorch's results.

What holds for every pointwise op is tested by test_ops.py.
"""

import itertools
from functools import partial

import mpmath
import numpy as np
import pytest
import scipy.special

import corgi
from corgi import activation
from corgi.layer import Dense

MP = mpmath.MPContext()
MP.prec = 200
ALPHA, SCALE = MP.mpf("1.67326324235437728481704"), MP.mpf("1.05070098735548049341933")
FLOATS = (np.float32, np.float64)


def _sigmoid(x):
    return 1 / (1 + MP.exp(-x))


def _cdf(x):
    return MP.erfc(-x / MP.sqrt(2)) / 2


def _mish_gate(x):
    return MP.tanh(MP.log1p(MP.exp(x)))


# name: value, derivative, and the errors allowed in ulp of each (None: of eps, since the derivative crosses zero)
EXACT = {
    "erfc": (MP.erfc, None, 4),
    "gelu": (lambda x: x * _cdf(x), lambda x: _cdf(x) + x * MP.npdf(x), 8),
    "mish": (lambda x: x * _mish_gate(x), lambda x: _mish_gate(x) + x * (1 - _mish_gate(x) ** 2) * _sigmoid(x), 4),
    "selu": (
        lambda x: SCALE * (x if x > 0 else ALPHA * MP.expm1(x)),
        lambda x: SCALE * (1 if x > 0 else ALPHA * MP.exp(x)),
        4,
    ),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * _sigmoid(-x)), 4),
}
LEAST = {np.float32: {"erfc": -9, "gelu": -12.5, "mish": -80}, np.float64: {"erfc": -26, "gelu": -37, "mish": -690}}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EXACT)
def test_digits(name, dtype):
    """Down to the smallest normal results a value keeps its digits, and a derivative those that its zeros leave it."""
    value, slope, ulps = EXACT[name]
    low = LEAST[dtype].get(name, LEAST[dtype]["mish"])
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(low, 10, 150), rng.uniform(-3, 3, 150), 10 ** rng.uniform(-8, 1, 50)]).astype(dtype)
    if name == "erfc":
        x = -x
    a = corgi.array(x).tracked()
    y = getattr(corgi, name)(a)
    y.backward()
    true = np.array([float(value(MP.mpf(float(v)))) for v in x])
    np.testing.assert_allclose(np.asarray(y), true, rtol=ulps * np.finfo(dtype).eps, atol=0)
    if slope is not None:
        true = np.array([float(slope(MP.mpf(float(v)))) for v in x])
        far = np.abs(x + 1.0) > 1.0  # from the zeros, between -1.3 and -0.7
        eps = 16 * np.finfo(dtype).eps
        np.testing.assert_allclose(np.asarray(a.gradient)[far], true[far], rtol=eps, atol=0)
        np.testing.assert_allclose(np.asarray(a.gradient), true, rtol=eps, atol=eps)


LIMITS = {  # values and derivatives at -infinity and infinity
    "elu": ([-1.0, np.inf], [0.0, 1.0]),
    "gelu": ([0.0, np.inf], [0.0, 1.0]),
    "gelu_tanh": ([0.0, np.inf], [0.0, 1.0]),
    "hardtanh": ([-1.0, 1.0], [0.0, 0.0]),
    "leaky_relu": ([-np.inf, np.inf], [0.01, 1.0]),
    "mish": ([0.0, np.inf], [0.0, 1.0]),
    "relu": ([0.0, np.inf], [0.0, 1.0]),
    "selu": ([-float(SCALE * ALPHA), np.inf], [0.0, float(SCALE)]),
    "sigmoid": ([0.0, 1.0], [0.0, 0.0]),
    "silu": ([0.0, np.inf], [0.0, 1.0]),
    "softplus": ([0.0, np.inf], [0.0, 1.0]),
    "tanh": ([-1.0, 1.0], [0.0, 0.0]),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LIMITS)
def test_limits(name, dtype):
    values, slopes = LIMITS[name]
    function = activation.get(name)
    for size in (np.inf, 1e30, 1e4):
        x = corgi.array(np.array([-size, size], dtype)).tracked()
        y = function(x)
        y.backward()
        expected = [v if np.isfinite(v) else slope * t for v, slope, t in zip(values, slopes, (-size, size), strict=True)]
        np.testing.assert_allclose(y, expected, rtol=1e-6)
        np.testing.assert_allclose(x.gradient, slopes, rtol=1e-6)
    x = corgi.array(np.array([np.nan], dtype)).tracked()
    y = function(x)
    assert np.isnan(y.item())
    if name != "hardtanh":  # as for relu, whose derivative is that of the branch taken
        y.backward()
        assert np.isnan(x.gradient.item()) == (name not in ("relu", "leaky_relu"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LIMITS)
def test_second_derivatives_at_extremes(name, dtype):
    """Far out every second derivative is 0: the branches that are not taken leave neither NaN nor infinity."""
    x = corgi.array(np.array([-1e30, -1e4, -800.0, 800.0, 1e4, 1e30], dtype)).tracked()
    activation.get(name)(x).backward(create_graph=True)
    first = x.take_gradient()
    if first.is_tracked:
        first.backward()
        np.testing.assert_allclose(x.gradient, np.zeros(6), atol=1e-30)


PARAMETRIZED = [
    pytest.param(activation.elu, id="elu"),
    pytest.param(activation.leaky_relu, id="leaky_relu"),
    pytest.param(activation.prelu, id="prelu"),
]


@pytest.mark.parametrize("function", PARAMETRIZED)
def test_learned_parameter(function):
    """A parameter for each channel: gradients to second order, summed over where it was broadcast."""
    rng = np.random.default_rng(0)
    x, p = corgi.array(rng.normal(size=(3, 4, 5))), corgi.array(rng.uniform(0.1, 2.0, (4, 1)))
    corgi.check_gradient(function, x, p, order=2)
    p.tracked()
    function(x, p).backward()
    assert p.gradient.shape == (4, 1)


@pytest.mark.parametrize("name", sorted(set(activation.__all__) - {"get", "prelu"}))
def test_by_name(name):
    function = activation.get(name)
    assert function is getattr(activation, name)
    corgi.check_gradient(function, corgi.array([[0.5, -1.25], [2.0, -0.3]]), order=2)
    layer = Dense(3, 4, corgi.initializer.he(seed=1), name)
    x = corgi.array([[0.5, -1.0, 2.0]])
    np.testing.assert_allclose(layer(x), function(corgi.dense(x, layer.weight, layer.bias)), rtol=1e-14)


def test_parameter_in_a_layer():
    layer = Dense(2, 2, corgi.initializer.identity(), partial(activation.leaky_relu, slope=0.5))
    assert layer([[1.0, -1.0]]).tolist() == [[1.0, -0.5]]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_glu(axis):
    x = np.random.default_rng(0).normal(size=(2, 4, 6))
    a, b = np.split(x, 2, axis)
    np.testing.assert_allclose(activation.glu(x, axis), a * scipy.special.expit(b), rtol=1e-14)
    corgi.check_gradient(lambda x: activation.glu(x, axis), corgi.array(x), order=2)
    assert activation.glu(corgi.ones((0, 4))).shape == (0, 2)


def test_hardtanh_at_its_ends():
    x = corgi.array([-2.0, -1.0, 0.0, 1.0, 2.0]).tracked()
    activation.hardtanh(x).backward()
    assert x.gradient.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


# ---- PyTorch


def torch_functions(torch):
    f = torch.nn.functional
    return {
        "elu": (activation.elu, f.elu),
        "elu 0.3": (partial(activation.elu, alpha=0.3), partial(f.elu, alpha=0.3)),
        "gelu": (activation.gelu, f.gelu),
        "gelu_tanh": (activation.gelu_tanh, partial(f.gelu, approximate="tanh")),
        "glu": (activation.glu, f.glu),
        "hardtanh": (partial(activation.hardtanh, low=-0.5, high=2), partial(f.hardtanh, min_val=-0.5, max_val=2)),
        "leaky_relu": (activation.leaky_relu, f.leaky_relu),
        "log_softmax": (activation.log_softmax, partial(f.log_softmax, dim=-1)),
        "mish": (activation.mish, f.mish),
        "relu": (activation.relu, f.relu),
        "selu": (activation.selu, f.selu),
        "sigmoid": (activation.sigmoid, torch.sigmoid),
        "silu": (activation.silu, f.silu),
        "softmax": (activation.softmax, partial(f.softmax, dim=-1)),
        "softplus": (activation.softplus, f.softplus),
        "tanh": (activation.tanh, torch.tanh),
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_pytorch(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, g, h = rng.normal(0, 3, (7, 12)).astype(dtype), *rng.normal(size=(2, 7, 12)).astype(dtype)
    for name, (ours, theirs) in torch_functions(torch).items():
        a, b = corgi.array(x).tracked(), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        columns = y.shape[-1]
        y.backward(corgi.array(g[:, :columns].copy()), create_graph=True)
        (first,) = torch.autograd.grad(z, b, torch.tensor(g[:, :columns].copy()), create_graph=True)
        pairs = [(y, z), (a.gradient, first)]
        if first.requires_grad:
            (second,) = torch.autograd.grad(first, b, torch.tensor(h), allow_unused=True)
            gradient = a.take_gradient()
            if second is not None and gradient.is_tracked:
                gradient.backward(corgi.array(h))
                pairs.append((a.gradient, second))
        eps = np.finfo(dtype).eps
        for mine, other in pairs:
            np.testing.assert_allclose(
                mine.numpy(), other.detach().numpy(), rtol=200 * eps, atol=40 * eps, err_msg=f"{name} {dtype}"
            )


def test_prelu_against_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, slope = rng.normal(size=(5, 3, 4)), np.array([0.1, 0.5, 2.0])
    a, p = corgi.array(x).tracked(), corgi.array(slope.reshape(3, 1)).tracked()
    b, q = (torch.tensor(v, requires_grad=True) for v in (x, slope))
    y, z = activation.prelu(a, p), torch.nn.functional.prelu(b, q)
    (y * y).sum().backward()
    (z * z).sum().backward()
    for mine, other in itertools.zip_longest((y, a.gradient, p.gradient.ravel()), (z, b.grad, q.grad)):
        np.testing.assert_allclose(mine.numpy(), other.detach().numpy(), rtol=1e-12)
