"""Normalization: accuracy, special values, statistics, layers; and the same numbers as PyTorch, where it is installed.

Above: nobody.  Below: corgi's norms.  tests/ops.py has their oracles in NumPy, from which test_ops.py makes the tests of
values and gradients.
"""

import copy
import pickle

import numpy as np
import pytest

import corgi
from corgi.layer import BatchNorm, GroupNorm, LayerNorm, RMSNorm

TOLERANCE = {"float32": 2e-5, "float64": 1e-11}
DTYPES = ("float32", "float64")


def normal(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def normalized(x, axes, eps=1e-5):
    x = np.asarray(x, np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


# ---- accuracy and special values


@pytest.mark.parametrize("shape", [(40, 3000), (3, 7), (2, 100_003)])
def test_a_large_mean_costs_no_accuracy(shape):
    """float32 around 10,000 with a spread of 1: as good as float64 on the same numbers."""
    x = (normal(*shape) + 1e4).astype(np.float32)
    np.testing.assert_allclose(corgi.layer_norm(x), normalized(x, -1), atol=4e-6)
    np.testing.assert_allclose(corgi.batch_norm(x.T), normalized(x.T, 0), atol=4e-6)
    images = np.stack([x, x + 1])[:, :, None]
    np.testing.assert_allclose(corgi.batch_norm(images), normalized(images, (0, 2, 3)), atol=4e-6)
    np.testing.assert_allclose(corgi.group_norm(images, shape[0]), normalized(images, (2, 3)), atol=4e-6)


def test_gradient_at_a_large_mean():
    x = (normal(9, 400) + 1e4).astype(np.float32)
    delta = normal(9, 400, seed=1)
    results = []
    for dtype in DTYPES:
        a, w, b = (corgi.array(v, dtype).tracked() for v in (x, np.linspace(0.5, 2, 400), np.zeros(400)))
        corgi.layer_norm(a, w, b).backward(corgi.array(delta, dtype))
        results.append([a.gradient, w.gradient, b.gradient])
    for single, double in zip(*results, strict=True):
        np.testing.assert_allclose(single, double, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_rows(dtype):
    """No spread at all: the result is the bias, exactly or nearly, and gradients are finite."""
    x = corgi.full((4, 77), 1e4 / 3, dtype).tracked()
    y = corgi.layer_norm(x)
    np.testing.assert_allclose(y, 0, atol=1e-3 if dtype == "float32" else 1e-9)
    y.backward(corgi.array(normal(4, 77), dtype))
    assert np.isfinite(x.gradient).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5, 36])
def test_special_values_stay_in_their_sets(value, place):
    x = normal(4, 37)
    x[1, place] = value
    with np.errstate(invalid="ignore"):
        expected = normalized(x, -1)
    np.testing.assert_allclose(corgi.layer_norm(x), expected, rtol=1e-12)
    np.testing.assert_allclose(corgi.batch_norm(x.T), expected.T, rtol=1e-12)
    np.testing.assert_allclose(corgi.group_norm(x[:, None], 1)[:, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(corgi.batch_norm(x[None])[0], expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_and_huge_values(dtype):
    info = np.finfo(dtype)
    tiny = corgi.full((2, 5), info.smallest_subnormal, dtype)
    np.testing.assert_array_equal(corgi.layer_norm(tiny), 0)
    huge = normal(3, 50, dtype=dtype) * np.sqrt(info.max) / 100
    np.testing.assert_allclose(corgi.layer_norm(huge), normalized(huge, -1), atol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 3, 4), (2, 3, 0), (2, 0, 4), (0, 0)])
def test_empty(shape):
    channels = shape[1]
    for function, width in [
        (lambda x, w: corgi.layer_norm(x, w), shape[-1]),
        (lambda x, w: corgi.rms_norm(x, w), shape[-1]),
        (lambda x, w: corgi.group_norm(x, 1, w), channels),
        (lambda x, w: corgi.batch_norm(x, w), channels),
    ]:
        x, w = corgi.zeros(shape).tracked(), corgi.ones(width).tracked()
        y = function(x, w)
        assert y.shape == shape
        y.backward(corgi.zeros(shape))
        assert x.gradient.shape == shape
        np.testing.assert_array_equal(w.gradient, np.zeros(width))


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 4, 5), (7, 1, 3), (1, 6, 1)])
def test_second_derivatives(shape):
    """The recorded gradient differentiates the composite: orders 1 and 2 against differences."""
    w, b = normal(shape[1], seed=1), normal(shape[1], seed=2)
    x = normal(*shape, seed=3)
    groups = 3 if shape[1] % 3 == 0 else 1
    corgi.check_gradient(lambda x, w, b: corgi.square(corgi.group_norm(x, groups, w, b, 0.1)).sum(), x, w, b, order=2)
    corgi.check_gradient(lambda x, w, b: corgi.square(corgi.batch_norm(x, w, b, eps=0.1)).sum(), x, w, b, order=2)
    rows, v = x.reshape(-1, shape[-1]), normal(shape[-1], seed=4)
    corgi.check_gradient(lambda x, v: corgi.sin(corgi.layer_norm(x, v, eps=0.1)).sum(), rows, v, order=2)
    corgi.check_gradient(lambda x, v: corgi.sin(corgi.rms_norm(x, v, eps=0.1)).sum(), rows, v, order=2)


def test_only_what_is_tracked_gets_a_gradient():
    x, w = corgi.array(normal(3, 4)), corgi.ones(4).tracked()
    corgi.layer_norm(x, w).backward(corgi.ones((3, 4)))
    assert x.gradient is None
    np.testing.assert_allclose(w.gradient, normalized(x, -1).sum(0), rtol=1e-12)
    y = corgi.layer_norm(corgi.array(normal(3, 4)).tracked())
    assert y.is_tracked and not corgi.layer_norm(x).is_tracked


def test_values_saved_for_the_gradient_stay():
    """A weight that is given new values between the passes leaves the gradient as it was."""
    x, w = corgi.array(normal(3, 4)).tracked(), corgi.array(normal(4, seed=1)).tracked()
    gradients = []
    for change in (False, True):
        y = corgi.layer_norm(x, w)
        if change:
            corgi.assign(w, np.zeros(4))
        y.backward(corgi.ones((3, 4)))
        gradients.append(x.take_gradient().tolist())
    assert gradients[0] == gradients[1]


# ---- layers

LAYERS = {
    "LayerNorm(6)": (LayerNorm(6), (5, 6)),
    "LayerNorm((3, 6), eps=0.1, bias=False)": (LayerNorm((3, 6), eps=0.1, bias=False), (2, 3, 6)),
    "LayerNorm(6, affine=False, dtype=float32)": (LayerNorm(6, affine=False, dtype="float32"), (5, 6)),
    "RMSNorm(6)": (RMSNorm(6), (2, 5, 6)),
    "GroupNorm(3, 6, affine=False)": (GroupNorm(3, 6, affine=False), (2, 6, 4)),
    "BatchNorm(6)": (BatchNorm(6), (5, 6)),
    "BatchNorm(6, momentum=None, eps=0.1)": (BatchNorm(6, momentum=None, eps=0.1), (5, 6, 2, 3)),
    "BatchNorm(6, affine=False, track_running_stats=False)": (
        BatchNorm(6, affine=False, track_running_stats=False),
        (5, 6),
    ),
}


@pytest.mark.parametrize("text", LAYERS)
def test_layers(text):
    """repr, copies, pickles, parameters, and lists as input."""
    original, shape = LAYERS[text]
    assert repr(original) == text
    layer = copy.deepcopy(original)
    x = normal(*shape)
    results = [layer(x.tolist()), copy.deepcopy(original)(x.tolist()), pickle.loads(pickle.dumps(original))(x.tolist())]
    assert results[0].shape == shape
    assert results[0].dtype == ("float32" if "float32" in text else "float64")
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)
    wanted = set() if "affine=False" in text else {"weight"} if "bias=False" in text or "RMS" in text else {"weight", "bias"}
    assert set(layer.named_parameters()) == wanted


def test_running_statistics():
    """The rule of PyTorch: the newest batch counts `momentum`, its variance unbiased; `eval` uses and keeps them."""
    layer = BatchNorm(3, momentum=0.25)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(3):
        x = normal(4, 3, 5, seed=seed) * 2 + 1
        layer(corgi.array(x))
        mean = 0.75 * mean + 0.25 * x.mean((0, 2))
        var = 0.75 * var + 0.25 * x.var((0, 2), ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-12)
    assert not layer.running_mean.is_tracked and not layer.running_var.is_tracked
    expected = (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
    np.testing.assert_allclose(layer.eval()(corgi.array(x)), expected, rtol=1e-12)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12)
    assert layer(corgi.array(x[:1, :, :1])).shape == (1, 3, 1)  # one value of each channel is enough in use


def test_equal_weight_of_all_batches():
    layer = BatchNorm(2, momentum=None)
    batches = [normal(6, 2, seed=seed) for seed in range(4)]
    for x in batches:
        layer(corgi.array(x))
    np.testing.assert_allclose(layer.running_mean, np.mean([x.mean(0) for x in batches], 0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var, np.mean([x.var(0, ddof=1) for x in batches], 0), rtol=1e-12)
    assert layer.batches.item() == 4


def test_statistics_that_others_hold_keep_their_values():
    layer = BatchNorm(2)
    before = layer.running_mean.detach()
    view = layer.running_mean.numpy()
    layer(corgi.array(normal(6, 2)))
    np.testing.assert_array_equal([before, view], np.zeros((2, 2)))
    assert np.any(layer.running_mean.numpy() != 0)


def test_a_failed_call_leaves_the_statistics():
    layer = BatchNorm(2)
    for wrong in (normal(1, 2), normal(0, 2), normal(3, 4), normal(2)):
        with pytest.raises(ValueError, match="expected"):
            layer(corgi.array(wrong))
    np.testing.assert_array_equal(layer.running_mean, np.zeros(2))
    np.testing.assert_array_equal(layer.running_var, np.ones(2))


# ---- PyTorch: the same weights in, the same outputs, gradients and updated weights out


KINDS = ("layer", "layer of two axes", "rms", "group", "instance", "batch of rows", "batch of series", "batch of images")


def twins(kind, nn):
    """A layer, PyTorch's of the same kind, and the shape of an input."""
    return {
        "layer": (LayerNorm(6, eps=1e-3), nn.LayerNorm(6, eps=1e-3), (5, 6)),
        "layer of two axes": (LayerNorm((3, 6)), nn.LayerNorm((3, 6)), (4, 3, 6)),
        "rms": (RMSNorm(6, eps=1e-3), nn.RMSNorm(6, eps=1e-3), (5, 6)),
        "group": (GroupNorm(3, 6), nn.GroupNorm(3, 6), (4, 6, 5, 3)),
        "instance": (GroupNorm(6, 6), nn.InstanceNorm2d(6, affine=True), (4, 6, 5, 3)),
        "batch of rows": (BatchNorm(6), nn.BatchNorm1d(6), (7, 6)),
        "batch of series": (BatchNorm(6, momentum=None), nn.BatchNorm1d(6, momentum=None), (7, 6, 5)),
        "batch of images": (BatchNorm(6, momentum=0.3), nn.BatchNorm2d(6, momentum=0.3), (4, 6, 5, 3)),
    }[kind]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_torch(kind, dtype):
    torch = pytest.importorskip("torch")
    layer, twin, shape = twins(kind, torch.nn)
    rtol = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    twin = twin.to(getattr(torch, dtype))
    for name in layer.named_parameters():
        values = normal(*getattr(layer, name).shape, seed=len(name)) + 1
        setattr(layer, name, corgi.array(values, dtype).tracked())
        getattr(twin, name).data = torch.tensor(values, dtype=getattr(torch, dtype))
    optimizer, other = corgi.optimizer.GradientDescent(0.1), torch.optim.SGD(twin.parameters(), 0.1)
    for step in range(3):
        x = normal(*shape, seed=step, dtype=dtype) * 2 + 1
        delta = normal(*shape, seed=10 + step, dtype=dtype)
        a, b = corgi.array(x).tracked(), torch.tensor(x, requires_grad=True)
        y, z = layer(a), twin(b)
        np.testing.assert_allclose(y, z.detach().numpy(), **rtol)
        y.backward(corgi.array(delta))
        z.backward(torch.tensor(delta))
        np.testing.assert_allclose(a.gradient, b.grad.numpy(), **rtol)
        for name, parameter in layer.named_parameters().items():
            np.testing.assert_allclose(parameter.gradient, getattr(twin, name).grad.numpy(), **rtol)
        optimizer.step(layer.parameters())
        other.step()
        other.zero_grad()
        for name, parameter in layer.named_parameters().items():
            np.testing.assert_allclose(parameter, getattr(twin, name).detach().numpy(), **rtol)
    for name in ("running_mean", "running_var"):
        if isinstance(layer, BatchNorm):
            np.testing.assert_allclose(getattr(layer, name), getattr(twin, name).numpy(), **rtol)
    x = normal(*shape, seed=20, dtype=dtype)
    np.testing.assert_allclose(layer.eval()(corgi.array(x)), twin.eval()(torch.tensor(x)).detach().numpy(), **rtol)
