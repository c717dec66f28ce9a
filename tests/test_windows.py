"""Convolutional and pooling layers against PyTorch, where it is installed, and what the kernels promise beyond values.

test_ops.py and test_shapes.py hold the ops against NumPy.  Above: nobody.  Below: corgi.layer, corgi.conv and its kin.
"""

import numpy as np
import pytest

import corgi
from corgi import initializer
from corgi.layer import (
    AvgPool,
    AvgPool1d,
    Conv,
    Conv1d,
    ConvTranspose,
    ConvTranspose1d,
    GlobalAvgPool,
    GlobalMaxPool,
    MaxPool,
    MaxPool1d,
)

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ---- against PyTorch: same weights in, same outputs and gradients out

LAYERS = [
    (Conv, "Conv2d", (4, 6, 3), {}, (2, 4, 9, 8)),
    (Conv, "Conv2d", (4, 6, (3, 2)), {"stride": (2, 3), "padding": (1, 2), "dilation": (1, 2)}, (2, 4, 9, 8)),
    (Conv, "Conv2d", (4, 6, 3), {"groups": 2, "bias": False}, (2, 4, 9, 8)),
    (Conv, "Conv2d", (8, 8, 3), {"groups": 8, "padding": "same"}, (3, 8, 20, 17)),
    (Conv, "Conv2d", (3, 16, 7), {"stride": 2, "padding": 3}, (2, 3, 33, 40)),
    (Conv, "Conv2d", (32, 48, 3), {"padding": "same", "dilation": 2}, (2, 32, 16, 16)),
    (Conv, "Conv2d", (16, 33, 1), {}, (3, 16, 7, 7)),
    (Conv, "Conv2d", (4, 6, 3), {}, (4, 9, 8)),
    (Conv1d, "Conv1d", (4, 6, 5), {"stride": 2, "padding": 2, "groups": 2}, (3, 4, 40)),
    (Conv1d, "Conv1d", (4, 6, 4), {"padding": "same", "dilation": 3}, (4, 40)),
    (ConvTranspose, "ConvTranspose2d", (4, 6, 3), {}, (2, 4, 5, 6)),
    (
        ConvTranspose,
        "ConvTranspose2d",
        (4, 6, (4, 3)),
        {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)},
        (2, 4, 5, 6),
    ),
    (ConvTranspose, "ConvTranspose2d", (32, 16, 4), {"stride": 2, "padding": 1, "groups": 2}, (2, 32, 16, 16)),
    (ConvTranspose1d, "ConvTranspose1d", (4, 6, 3), {"stride": 2, "dilation": 2, "output_padding": 1}, (2, 4, 11)),
    (MaxPool, "MaxPool2d", (2,), {}, (2, 3, 9, 12)),
    (MaxPool, "MaxPool2d", (3, 2), {"padding": 1}, (2, 3, 9, 12)),
    (AvgPool, "AvgPool2d", ((3, 2),), {"padding": 1}, (2, 3, 9, 12)),
    (MaxPool1d, "MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 20)),
    (AvgPool1d, "AvgPool1d", (4,), {}, (3, 20)),
    (GlobalAvgPool, "AdaptiveAvgPool2d", (), {}, (2, 3, 9, 12)),
    (GlobalMaxPool, "AdaptiveMaxPool2d", (), {}, (2, 3, 9, 12)),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind, theirs, arguments, options, shape", LAYERS)
def test_like_pytorch(kind, theirs, arguments, options, shape, dtype):
    torch = pytest.importorskip("torch")
    adaptive = theirs.startswith("Adaptive")
    module = getattr(torch.nn, theirs)(*((1,) if adaptive else arguments), **options).to(getattr(torch, dtype))
    typed = {"dtype": dtype} if "Conv" in theirs else {}
    layer = kind(*arguments, **options, **typed)
    weights = [module.weight, module.bias] if "Conv" in theirs else []
    for own, other in zip(layer.parameters(), weights, strict=False):
        corgi.assign(own, other.detach().numpy())
    x, tolerance = normal(*shape, dtype=dtype), TOLERANCE[dtype]
    ours, other = corgi.array(x).tracked(), torch.tensor(x, requires_grad=True)
    y, expected = layer(ours), module(other)
    expected = expected.flatten(1) if adaptive else expected
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    g = normal(*y.shape, dtype=dtype, seed=1)
    y.backward(corgi.array(g))
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(ours.gradient, other.grad.numpy(), rtol=tolerance, atol=tolerance * 30)
    for own, other in zip(layer.parameters(), weights, strict=False):
        np.testing.assert_allclose(own.gradient, other.grad.numpy(), rtol=tolerance, atol=tolerance * 100)


# ---- layers


def test_series_are_images_of_one_row():
    x = corgi.array(normal(3, 4, 20))
    for kind, flat, options in [(Conv1d, Conv, {"padding": 2}), (ConvTranspose1d, ConvTranspose, {"output_padding": 1})]:
        layer = kind(4, 6, 3, initializer.normal(seed=1), "tanh", stride=2, **options)
        wide = {name: (0, value) for name, value in options.items()}
        whole = flat(4, 6, (1, 3), activation="tanh", stride=(1, 2), **wide)
        corgi.assign(whole.weight, layer.weight.reshape(whole.weight.shape))
        assert np.array_equal(layer(x), whole(x.reshape(3, 4, 1, 20))[:, :, 0])
        assert np.array_equal(layer(x[0]), layer(x)[0])
    for kind, flat in [(MaxPool1d, MaxPool), (AvgPool1d, AvgPool)]:
        assert np.array_equal(
            kind(3, 2, padding=1)(x), flat((1, 3), (1, 2), padding=(0, 1))(x.reshape(3, 4, 1, 20))[:, :, 0]
        )


def test_global_pools():
    x = normal(2, 3, 4, 5)
    for kind, reduce in [(GlobalMaxPool, np.max), (GlobalAvgPool, np.mean)]:
        np.testing.assert_allclose(kind()(x), reduce(x, (-2, -1)), rtol=1e-14)
        np.testing.assert_allclose(kind(1)(x), reduce(x, -1), rtol=1e-14)
        np.testing.assert_allclose(kind()(x[0]), reduce(x[0], (-2, -1)), rtol=1e-14)


@pytest.mark.parametrize(
    "text",
    [
        "Conv(4, 6, (3, 3), stride=(2, 1), padding='same', groups=2, activation=relu)",
        "Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, bias=False)",
        "ConvTranspose(4, 6, (3, 3), stride=(2, 2), output_padding=(1, 1), groups=2)",
        "ConvTranspose1d(4, 6, 3, dtype=float32)",
        "MaxPool((2, 2), stride=(1, 1), padding=(1, 1))",
        "MaxPool1d(3, stride=2, padding=1)",
        "AvgPool1d(2)",
        "GlobalAvgPool()",
        "GlobalMaxPool(1)",
    ],
)
def test_repr(text):
    call = text.replace("=relu", "='relu'").replace("=float32", "='float32'")
    assert repr(eval(call, vars(corgi.layer))) == text


def test_transposed_convolution_is_the_adjoint():
    """<conv(x, f), y> = <x, conv_transpose(y, f)>, also for sizes of which several have the same result."""
    options = {"stride": (3, 2), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    f = normal(6, 2, 3, 2)
    for rows in (7, 8, 9):
        x = corgi.array(normal(2, 4, rows, 8))
        y = corgi.array(normal(*corgi.conv(x, f, **options).shape, seed=1))
        back = corgi.conv_transpose(y, f, **options, output_padding=((rows - 1) % 3 if rows != 7 else 0, 1))
        assert back.shape == x.shape
        assert (corgi.conv(x, f, **options) * y).sum().item() == pytest.approx((x * back).sum().item(), rel=1e-12)


# ---- derivatives of derivatives


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh", corgi.exp])
def test_second_order(activation):
    x, f, b = normal(2, 4, 4, 5), normal(6, 2, 2, 3, seed=1) / 3, normal(6, seed=2) / 3

    def fused(x, f, b):
        return corgi.conv(x, f, (1, 2), padding=1, groups=2, bias=b, activation=activation)

    corgi.check_gradient(fused, corgi.array(x), corgi.array(f), corgi.array(b), order=2)
    for layer in (
        ConvTranspose(2, 2, 2, initializer.normal(seed=3), "tanh", stride=2),
        MaxPool(2),
        MaxPool(3, 1),
        AvgPool(2, 1),
    ):
        corgi.check_gradient(lambda x, layer=layer: layer(x) ** 2, corgi.array(x[:, :2]), order=2)


# ---- kernels


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels, filters, size", [(3, 8, 24), (16, 32, 16), (4, 32, 5), (1, 1, 18)])
def test_a_bad_element_stays_in_its_windows(channels, filters, size, bad):
    """Neither padding nor the lanes of vectors beyond an image mix with it."""
    x, f = normal(2, channels, size, size, dtype="float32"), normal(filters, channels, 3, 3, dtype="float32", seed=1)
    clean = corgi.conv(x, f, padding=1).numpy()
    x[1, channels - 1, size - 1, 2] = bad
    y = corgi.conv(x, f, padding=1).numpy()
    seen = np.zeros((size, size), bool)
    seen[size - 2 :, 1:4] = True
    assert not np.isfinite(y[1][:, seen]).any()
    assert np.array_equal(y[1][:, ~seen], clean[1][:, ~seen]) and np.array_equal(y[0], clean[0])
    assert (np.isnan(corgi.conv(x, f, padding=1, activation="relu").numpy()) == np.isnan(y)).all()


def test_max_pool_places():
    """The gradient goes to the first maximum, to a NaN before any number, and nowhere else."""
    nan, inf = np.nan, np.inf
    x = corgi.array([[[1.0, 1.0, nan, 2.0, 5.0], [1.0, 0.0, 3.0, nan, 6.0], [-inf, -inf, 0.0, -0.0, 7.0]]]).tracked()
    for size, stride, places in [
        (2, 2, [(0, 0), (0, 2)]),
        ((1, 2), 1, [(0, 0), (0, 2), (0, 2), (0, 4), (1, 0), (1, 2), (1, 3), (1, 3), (2, 0), (2, 2), (2, 2), (2, 4)]),
    ]:
        y = corgi.max_pool(x, size, stride)
        y.backward(corgi.ones(y.shape))
        expected = np.zeros((3, 5))
        for row, column in places:
            expected[row, column] += 1
        np.testing.assert_array_equal(x.take_gradient()[0], expected)


@pytest.mark.parametrize("images, channels, filters, size", [(1, 64, 64, 32), (5, 16, 24, 20), (40, 8, 16, 12)])
def test_threads_do_not_change_bits(images, channels, filters, size):
    x, f = normal(images, channels, size, size, dtype="float32"), normal(filters, channels, 3, 3, dtype="float32", seed=1)
    results = []
    for threads in (1, 2, 5):
        with corgi.num_threads(threads):
            a, b, c = corgi.array(x).tracked(), corgi.array(f).tracked(), corgi.zeros(filters, "float32").tracked()
            y = corgi.conv(a, b, padding=1, bias=c, activation="tanh")
            pooled = corgi.max_pool(y, 2)
            pooled.backward(corgi.array(normal(*pooled.shape, dtype="float32", seed=2)))
            results.append([v.numpy().tobytes() for v in (y, pooled, a.gradient, b.gradient, c.gradient)])
    assert results[0] == results[1] == results[2]
