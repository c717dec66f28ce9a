"""Sequential, Residual, Lambda, Reshape and PReLU: values, gradients, names, copies, errors, and PyTorch's as oracles."""

import copy
import pickle

import numpy as np
import pytest

import corgi
from corgi import Model, activation
from corgi.layer import Conv, Dense, Lambda, Layer, PReLU, Reshape, Residual, Sequential


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ---- Sequential


def test_sequential_is_its_layers_in_a_row():
    layers = [Dense(3, 4, activation="tanh"), np.square, Dense(4, 2)]
    row, x = Sequential(layers), corgi.array(normal(5, 3))
    expected = layers[2](corgi.square(layers[0](x)))
    assert np.array_equal(row(x), expected)
    assert list(row.named_parameters()) == ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias"]


def test_items_and_slices_are_the_layers():
    layers = [Dense(3, 4), corgi.tanh, Dense(4, 2)]
    row = Sequential(layers)
    assert len(row) == 3 and list(row) == layers and row[0] is layers[0] and row[-1] is layers[2]
    head = row[:2]
    assert type(head) is Sequential and head.layers == layers[:2]
    assert row[::-1].layers == layers[::-1]
    with pytest.raises(IndexError, match=r"Sequential: expected a position below 3, got 3"):
        row[3]


def test_empty_is_the_identity_and_true():
    row, x = Sequential([]), corgi.array(normal(3))
    assert row(x) is x and len(row) == 0 and row


def test_a_model_is_a_sequential():
    model = Model([Dense(3, 4), corgi.tanh, Dense(4, 1)], cost=corgi.cost.mse)
    assert isinstance(model, Sequential) and len(model) == 3 and model[1] is corgi.tanh
    features = model[:2]
    assert type(features) is Sequential and features(normal(2, 3)).shape == (2, 4)
    model.forward(normal(2, 3))
    assert model.backward(np.zeros((2, 1))) > 0


def test_training_reaches_inner_layers():
    inner = Dense(2, 2)
    row = Sequential([Residual([Sequential([inner])])]).eval()
    assert inner.training is False and row.layers[0].inner.training is False
    assert row.parameters() == inner.parameters()


@pytest.mark.parametrize("make", [lambda layer: Sequential([layer]), lambda layer: Model([Sequential([layer])])])
def test_errors_name_the_place(make):
    with pytest.raises(ValueError, match=r"layers\.0.*\(Dense\): dense: expected input of shape \(\.\.\., 3\)"):
        make(Dense(3, 2))(normal(2, 4))


# ---- Residual


def test_residual_adds():
    inner, x = Dense(3, 3, activation="tanh"), corgi.array(normal(5, 3))
    assert np.array_equal(Residual(inner)(x), x + inner(x))
    shortcut = Dense(3, 2, bias=False)
    several = Residual([inner, Dense(3, 2)], shortcut)
    assert np.array_equal(several(x), shortcut(x) + several.inner(x))
    assert list(several.named_parameters())[-1] == "projection.weight"
    assert np.array_equal(Residual(np.square)([1.0, 2.0]), [2.0, 6.0])


def test_residual_does_not_broadcast():
    with pytest.raises(ValueError, match=r"Residual: expected an output of the shape \(2, 3\).*got \(2, 1\)"):
        Residual(Dense(3, 1))(normal(2, 3))


def test_residual_gradients():
    layer = Residual([Dense(3, 4, activation="tanh"), Dense(4, 3)])
    assert corgi.check_gradient(lambda x: corgi.sum(corgi.sin(layer(x))), corgi.array(normal(2, 3)), order=2) is None


# ---- Lambda and Reshape


def test_lambda():
    layer = Lambda(lambda x, power=2: x**power)
    assert np.array_equal(layer([1.0, 3.0]), [1.0, 9.0]) and np.array_equal(layer([1.0, 3.0], 3), [1.0, 27.0])
    assert repr(Lambda(corgi.tanh)) == "Lambda(tanh)"


@pytest.mark.parametrize(
    "shape, given, expected",
    [
        ((2, 6), (5, 3, 4), (5, 2, 6)),
        ((-1,), (5, 3, 4), (5, 12)),
        ((-1, 2), (5, 3, 4), (5, 6, 2)),
        ((), (5, 1), (5,)),
        ((3, -1), (0, 12), (0, 3, 4)),
        ((-1,), (0, 0), (0, 0)),
        ((0, -1), (2, 0), (2, 0, 0)),
    ],
)
def test_reshape(shape, given, expected):
    x = corgi.array(normal(*given)).tracked()
    y = Reshape(*shape)(x)
    assert y.shape == expected and Reshape(shape)(x).shape == expected
    y.backward()
    assert np.array_equal(x.gradient, np.ones(given))


@pytest.mark.parametrize(
    "shape, given", [((2, 3), (5, 7)), ((-1, 3), (5, 7)), ((0,), (5, 1)), ((-1, 0), (5, 1)), ((1,), ())]
)
def test_reshape_refuses(shape, given):
    with pytest.raises(ValueError, match="Reshape: expected"):
        Reshape(*shape)(corgi.zeros(given))


def test_reshape_in_a_model():
    model = Model([Reshape(1, 4, 4), Conv(1, 2, 3), Reshape(-1), Dense(8, 1)])
    assert model(normal(7, 16)).shape == (7, 1)


# ---- PReLU


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_prelu_values_and_slopes(dtype):
    layer, x = PReLU(3, 0.5, axes=2, dtype=dtype), normal(2, 3, 4, 5, dtype=dtype)
    corgi.assign(layer.weight, np.array([0.1, 0.2, 0.3], dtype))
    y = layer(corgi.array(x))
    slope = np.array([0.1, 0.2, 0.3], dtype)[:, None, None]
    assert y.dtype == dtype and np.allclose(y, np.where(x > 0, x, slope * x), rtol=1e-6)
    y.backward()
    assert np.allclose(layer.weight.gradient, np.where(x > 0, 0, x).sum((0, 2, 3)), rtol=1e-5)
    assert layer(corgi.array(x[0])).shape == (3, 4, 5)


def test_prelu_gradients():
    layer = PReLU()
    x = corgi.array(normal(4, 3))
    assert corgi.check_gradient(lambda x, w: corgi.sum(corgi.sin(activation.prelu(x, w))), x, layer.weight, order=2) is None
    assert layer(x).shape == (4, 3) and layer.weight.shape == (1,)


def test_prelu_refuses_other_channels():
    with pytest.raises(ValueError, match="PReLU: expected an input with 3 channels, followed by 2 axes, got shape"):
        PReLU(3, axes=2)(corgi.ones((3, 4)))


def test_prelu_against_torch():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.PReLU(3), PReLU(3, axes=2, dtype="float32")
    x = normal(2, 3, 4, 5, dtype="float32")
    tx, cx = torch.tensor(x, requires_grad=True), corgi.array(x).tracked()
    y = theirs(tx)
    y.square().sum().backward()
    z = ours(cx)
    corgi.sum(z * z).backward()
    assert np.allclose(z, y.detach().numpy(), rtol=1e-6)
    assert np.allclose(cx.gradient, tx.grad.numpy(), rtol=1e-5)
    assert np.allclose(ours.weight.gradient, theirs.weight.grad.numpy(), rtol=1e-5)


# ---- all


ALL = [
    Sequential([Dense(3, 3), corgi.tanh]),
    Residual(Dense(3, 3)),
    Residual([Dense(3, 3)], Dense(3, 3)),
    Lambda(corgi.tanh),
    Reshape(3),
    PReLU(3),
]


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: type(layer).__name__)
def test_copies_are_apart(layer):
    x = corgi.array(normal(2, 3))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert isinstance(other, Layer) and repr(other) == repr(layer) and np.array_equal(other(x), layer(x))
        assert not {id(p) for p in other.parameters()} & {id(p) for p in layer.parameters()}


def test_repr():
    assert repr(Residual([Dense(2, 2), corgi.tanh])) == (
        "Residual(\n    Sequential(\n        Dense(2, 2),\n        tanh,\n    ),\n)"
    )
    assert repr(PReLU(3, axes=2, dtype="float32")) == "PReLU(3, axes=2, dtype=float32)"
    assert repr(Reshape(1, -1)) == "Reshape(1, -1)" and repr(Sequential([])) == "Sequential(\n)"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Sequential(3), "Sequential: expected layers, got int"),
        (lambda: Sequential([corgi.tanh, 3]), "Sequential: expected layers or functions, got int as layer 2"),
        (lambda: Residual(3), "Residual: expected a layer or a function for inner, got int"),
        (lambda: Residual(corgi.tanh, 3), "Residual: expected a layer or a function for projection, got int"),
        (lambda: Residual("tanh"), "Residual: expected a layer or a function for inner, got str"),
        (lambda: Lambda(3), "Lambda: expected a function, got int"),
        (lambda: Reshape("a"), "Reshape: expected an int for a size, got str"),
        (lambda: Reshape(1.5), "Reshape: expected an int for a size, got float"),
        (lambda: PReLU(1.5), "PReLU: expected an int for channels, got float"),
    ],
)
def test_wrong_types(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_wrong_sizes():
    for make in (lambda: Reshape(-2), lambda: Reshape(-1, -1), lambda: PReLU(0), lambda: PReLU(axes=-1)):
        with pytest.raises(ValueError, match="expected"):
            make()
