"""Layers against plain NumPy: values, gradients, dtypes, parameters, repr, copies, errors."""

import abc
import copy
import dataclasses
import pickle
from typing import Generic, TypeVar

import numpy as np
import pytest

import corgi
from corgi import Model, activation, initializer
from corgi.layer import AvgPool, Conv, Dense, Flatten, Layer, MaxPool

T = TypeVar("T")

ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "softplus": lambda z: np.log1p(np.exp(z)),
    "softmax": lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True),
    "log_softmax": lambda z: z - np.log(np.exp(z).sum(-1, keepdims=True)),
}
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def conv_reference(x, f, bias, stride, padding, dilation):
    """Cross-correlation by its definition: x (N, C, H, W), f (F, C, r, c), in float64."""
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    r, c = dilation[0] * (f.shape[2] - 1) + 1, dilation[1] * (f.shape[3] - 1) + 1
    rows, columns = (x.shape[2] - r) // stride[0] + 1, (x.shape[3] - c) // stride[1] + 1
    out = np.empty((x.shape[0], f.shape[0], rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * stride[0], j * stride[1]
            window = x[:, :, top : top + r : dilation[0], left : left + c : dilation[1]]
            out[:, :, i, j] = np.einsum("nchw,fchw->nf", window, f)
    return out + bias.reshape(-1, 1, 1)


def numeric_gradient(loss, array, step=1e-6):
    """Central differences by every element of an Array that `loss` reads."""
    start, gradient = array.numpy().copy(), np.zeros(array.shape)
    for index in np.ndindex(*array.shape):
        values = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * step
            corgi.assign(array, moved)
            values.append(loss())
        gradient[index] = (values[0] - values[1]) / (2 * step)
    corgi.assign(array, start)
    return gradient


# ---- Dense


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (5, 3), (2, 4, 3), (0, 3)])
def test_dense_values(shape, name, bias, dtype):
    layer = Dense(3, 4, initializer.normal(seed=1), name, bias=bias, dtype=dtype)
    if bias:
        corgi.assign(layer.bias, normal(4, seed=2))
    x = normal(*shape)
    z = x @ layer.weight.numpy().astype(float).T + (layer.bias.numpy() if bias else 0)
    y = layer(corgi.array(x, dtype))
    assert y.dtype == dtype and y.shape == (*shape[:-1], 4)
    np.testing.assert_allclose(y, ACTIVATIONS[name or "identity"](z), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("name", [None, *ACTIVATIONS])
def test_dense_gradients(name):
    layer = Dense(3, 4, initializer.normal(seed=1), name)
    x, weights = corgi.array(normal(5, 3)).tracked(), corgi.array(normal(5, 4, seed=3))

    def loss():
        with corgi.no_tracking():
            return (layer(x) * weights).sum().item()

    (layer(x) * weights).sum().backward()
    for array in (layer.weight, layer.bias, x):
        gradient = array.take_gradient()
        np.testing.assert_allclose(gradient, numeric_gradient(loss, array), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_dense_passes_nan_back_as_its_parts_do(name):
    """A NaN must not vanish in the fused gradient, where it would hide what went wrong."""
    w = corgi.arr([[1.0, 1.0], [2.0, 1.0]])
    x = corgi.arr([[np.nan, 1.0], [0.5, 1.0]])
    fused, parts = w.copy().tracked(), w.detach().tracked()
    corgi.dense(x, fused, None, name).backward()
    getattr(corgi, name)(corgi.matmul(x, parts, transpose_b=True)).backward()
    assert np.isnan(parts.gradient.numpy()).any()
    np.testing.assert_allclose(fused.gradient.numpy(), parts.gradient.numpy(), rtol=1e-12)  # NaN equals NaN here


@pytest.mark.parametrize("name", [None, "relu", "tanh"])
def test_dense_gradient_of_a_cotangent_that_is_not_contiguous(name):
    """Also where nothing is cached, so that memory given back is really gone."""
    limit = corgi.memory.set_limit(0)
    try:
        values = np.random.default_rng(0).normal(size=(600, 700))
        x, g = corgi.arr(np.ones((700, 3))), corgi.arr(values)
        found = []
        for delta in (g.T, corgi.arr(values.T.copy())):
            w, b = corgi.arr(np.full((600, 3), 0.1)).tracked(), corgi.zeros(600).tracked()
            corgi.dense(x, w, b, name).backward(delta)
            found.append((w.gradient.numpy(), b.gradient.numpy()))
    finally:
        corgi.memory.set_limit(limit)
    for strided, contiguous in zip(*found, strict=True):
        np.testing.assert_array_equal(strided, contiguous)


def test_dense_bias_starts_at_zero():
    assert (Dense(3, 4).bias == 0).all() and Dense(3, 4, bias=False).bias is None


def test_dense_takes_any_callable_and_a_new_activation():
    layer = Dense(2, 2, initializer.ones(), lambda z: z * 2)
    assert layer([1.0, 2.0]).tolist() == [6.0, 6.0]
    layer.activation = activation.relu
    assert layer([-1.0, -2.0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_that_are_no_array_take_the_dtype_of_the_layer(dtype):
    assert Dense(2, 2, dtype=dtype)([1.0, 2.0]).dtype == dtype
    assert Dense(2, 2, dtype=dtype)(np.ones((3, 2))).dtype == dtype
    assert Conv(1, 2, 2, dtype=dtype)(np.ones((1, 3, 3))).dtype == dtype
    assert Dense(2, 2, dtype=dtype)([1, 2]).dtype == dtype


def test_default_dtype():
    with corgi.default_dtype("float32"):
        assert {p.dtype for layer in (Dense(2, 3), Conv(1, 2, 2)) for p in layer.parameters()} == {np.dtype("float32")}
    assert Dense(2, 3).weight.dtype == "float64"


# ---- Conv


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [None, 1, 3, 0])
@pytest.mark.parametrize(
    "kernel, stride, padding, dilation",
    [
        ((2, 3), (1, 1), (0, 0), (1, 1)),
        ((3, 3), (2, 1), (1, 2), (1, 1)),
        ((2, 2), (1, 3), (0, 1), (2, 1)),
        ((1, 1), (2, 2), (0, 0), (1, 1)),
    ],
)
def test_conv_values(kernel, stride, padding, dilation, batch, dtype):
    layer = Conv(
        2, 3, kernel, initializer.normal(seed=1), "tanh", stride=stride, padding=padding, dilation=dilation, dtype=dtype
    )
    corgi.assign(layer.bias, normal(3, seed=2))
    x = normal(1 if batch is None else batch, 2, 6, 7)
    expected = np.tanh(conv_reference(x, layer.weight.numpy(), layer.bias.numpy(), stride, padding, dilation))
    if batch is None:
        x, expected = x[0], expected[0]
    y = layer(corgi.array(x, dtype))
    assert y.dtype == dtype and y.shape == expected.shape
    np.testing.assert_allclose(y, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("batch", [None, 2])
def test_conv_gradients(batch):
    layer = Conv(2, 3, (2, 3), initializer.normal(seed=1), "sigmoid", stride=(1, 2), padding=1)
    x = corgi.array(normal(*(() if batch is None else (batch,)), 2, 4, 5)).tracked()
    weights = corgi.array(normal(*layer(x).shape, seed=3))

    def loss():
        with corgi.no_tracking():
            return (layer(x) * weights).sum().item()

    (layer(x) * weights).sum().backward()
    for array in (layer.weight, layer.bias, x):
        gradient = array.take_gradient()
        np.testing.assert_allclose(gradient, numeric_gradient(loss, array), rtol=1e-6, atol=1e-8)


def test_conv_has_a_bias_for_each_filter_of_a_batch():
    layer = Conv(1, 2, 1, initializer.zeros())
    corgi.assign(layer.bias, [10.0, 20.0])
    y = layer(corgi.zeros((3, 1, 2, 2)))
    assert (y[:, 0] == 10).all() and (y[:, 1] == 20).all()
    y.backward()
    assert layer.bias.gradient.tolist() == [12.0, 12.0]


# ---- pooling and flatten


@pytest.mark.parametrize("pool, reduce", [(MaxPool, np.max), (AvgPool, np.mean)])
@pytest.mark.parametrize("shape", [(2, 4, 6), (3, 2, 4, 6)])
def test_pooling(pool, reduce, shape):
    x = normal(*shape)
    expected = reduce(x.reshape(*shape[:-2], 2, 2, 2, 3), axis=(-3, -1))
    np.testing.assert_allclose(pool((2, 3))(corgi.array(x)), expected, rtol=1e-14)
    overlapping = pool(2, stride=1)(corgi.array(x))
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(-2, -1))
    np.testing.assert_allclose(overlapping, reduce(windows, axis=(-2, -1)), rtol=1e-14)


def test_flatten():
    x = corgi.array(normal(2, 3, 4, 5))
    assert np.array_equal(Flatten()(x), x.numpy().reshape(2, 60))
    assert Flatten(3)(x).shape == (2, 60) and Flatten(3)(x[0]).shape == (60,)
    assert Flatten(1)(x).shape == (2, 3, 4, 5) and Flatten(4)(x).shape == (120,)
    assert Flatten()(corgi.zeros((0, 3, 4))).shape == (0, 12)
    assert Flatten()([[[1.0, 2.0]], [[3.0, 4.0]]]).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(ValueError, match=r"Flatten: expected an input with at least 3 axes, got shape \(2,\)"):
        Flatten(3)(corgi.zeros(2))
    with pytest.raises(ValueError, match=r"Flatten: expected an input with at least 1 axes, got shape \(\)"):
        Flatten()(corgi.array(1.0))


# ---- parameters


class Nested(Layer):
    """Parameters in every place where they are looked for, and arrays where they are not."""

    def __init__(self):
        self.weight = corgi.ones(1).tracked()
        self.block = Dense(1, 2)
        self.many = [Dense(2, 3), {"extra": corgi.ones(2).tracked(), "deep": (Dense(3, 1, bias=False), None)}]
        self.shared = self.block
        self.again = self.weight
        self.constant = corgi.ones(5)
        self.classes = corgi.arr([1, 2])
        self._private = corgi.ones(7).tracked()
        self.itself = self
        self.many.append(self.many)
        self.text, self.function, self.number = "text", corgi.relu, 3

    def forward(self, x):
        return x * self.weight


NAMES = ["weight", "block.weight", "block.bias", "many.0.weight", "many.0.bias", "many.1.extra", "many.1.deep.0.weight"]


def test_parameters_are_found_once_and_in_order():
    layer = Nested()
    assert list(layer.named_parameters()) == NAMES
    named = layer.named_parameters()
    assert all(a is b for a, b in zip(layer.parameters(), named.values(), strict=True))
    assert named["many.1.extra"] is layer.many[1]["extra"] and named["block.bias"] is layer.block.bias
    layer.block.bias.stop_tracking()
    assert "block.bias" not in layer.named_parameters()
    layer.many.insert(0, Dense(1, 1))
    assert len(layer.parameters()) == len(NAMES) + 1


def test_parameters_of_a_model():
    first, second = Dense(2, 3), Conv(1, 1, 2)
    model = Model(
        [first, corgi.relu, Model([second])], optimizer=corgi.optimizer.GradientDescent(0.1, 0.9), cost=corgi.cost.mse
    )
    expected = ["layers.0.weight", "layers.0.bias", "layers.2.layers.0.weight", "layers.2.layers.0.bias"]
    assert list(model.named_parameters()) == expected
    assert [p is q for p, q in zip(model.parameters(), [first.weight, first.bias, second.weight, second.bias], strict=True)]
    tied = Model([first, first])
    assert list(tied.named_parameters()) == expected[:2]


def test_many_parameters_are_found_once_and_in_order():
    layer = Layer()
    layer.held = [{"scale": corgi.ones(1).tracked(), "layers": [Dense(1, 1)]} for _ in range(500)]
    layer.again = layer.held[::-1]
    expected = [p for held in layer.held for p in (held["scale"], held["layers"][0].weight, held["layers"][0].bias)]
    found = layer.parameters()
    assert len(found) == 1500 and all(p is q for p, q in zip(found, expected, strict=True))
    assert len(layer.named_layers()) == 501


def test_parameters_of_an_activation_that_is_a_layer():
    class Slope(Layer):
        def __init__(self):
            self.slope = corgi.full((), 0.25).tracked()

        def forward(self, x):
            return corgi.maximum(x, 0.0) + self.slope * corgi.minimum(x, 0.0)

    layer = Dense(1, 1, initializer.ones(), Slope())
    assert layer([-2.0]).tolist() == [-0.5]
    assert list(layer.named_parameters()) == ["weight", "bias", "activation.slope"]


# ---- training and use


def test_layers_are_found_once_and_in_order():
    layer = Nested()
    named = layer.named_layers()
    assert list(named) == ["", "block", "many.0", "many.1.deep.0"]
    assert named[""] is layer and named["block"] is layer.block and named["many.1.deep.0"] is layer.many[1]["deep"][0]
    first = Dense(2, 2)
    assert list(Model([first, corgi.relu, Model([first, Flatten()])]).named_layers()) == [
        *("", "layers.0", "layers.2", "layers.2.layers.1")
    ]


def test_train_and_eval_reach_every_layer():
    class Noise(Layer):
        def forward(self, x):
            return x + 100.0 if self.training else x

    x, model = corgi.arr([1.0]), Model([Model([Noise()]), Noise(), Nested()])
    layers = list(model.named_layers().values())
    assert len(layers) == 8 and all(layer.training for layer in layers)
    assert model(x).tolist() == [201.0]
    assert model.eval() is model and not any(layer.training for layer in layers)
    assert model(x).tolist() == [1.0]
    assert model.train() is model and all(layer.training is True for layer in layers)
    assert model.train(False) is model and all(layer.training is False for layer in layers)
    assert Noise().training  # of each layer, not of the class
    assert repr(Noise().eval()) == repr(Noise()) == "Noise()"
    assert not pickle.loads(pickle.dumps(Dense(1, 1).eval())).training
    assert len(model.parameters()) == len(NAMES)


# ---- repr, copies


@pytest.mark.parametrize(
    "layer, text",
    [
        (lambda: Dense(2, 3), "Dense(2, 3)"),
        (lambda: Dense(2, 3, None, "relu", dtype="float32"), "Dense(2, 3, activation=relu, dtype=float32)"),
        (lambda: Dense(2, 3, activation=corgi.softmax, bias=False), "Dense(2, 3, activation=softmax, bias=False)"),
        (lambda: Conv(1, 2, 3), "Conv(1, 2, (3, 3))"),
        (lambda: Conv(1, 2, (3, 1), stride=2, padding=(0, 1)), "Conv(1, 2, (3, 1), stride=(2, 2), padding=(0, 1))"),
        (lambda: MaxPool(2), "MaxPool((2, 2))"),
        (lambda: AvgPool(3, 1, padding=1), "AvgPool((3, 3), stride=(1, 1), padding=(1, 1))"),
        (lambda: Flatten(), "Flatten()"),
        (lambda: Model([Dense(2, 3), corgi.relu]), "Model(\n    Dense(2, 3),\n    relu,\n)"),
        (lambda: Model(Model(Flatten(3))), "Model(\n    Model(\n        Flatten(3),\n    ),\n)"),
    ],
)
def test_repr(layer, text):
    assert repr(layer()) == text


def test_repr_of_a_layer_of_ones_own():
    class Mine(Layer):
        def __init__(self):
            self.weight, self.inner, self.function, self._hidden = corgi.ones((2, 3)), Flatten(), corgi.relu, 1

    assert repr(Mine()) == "Mine(weight=Array(2, 3), inner=Flatten(), function=relu)"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("make", [lambda: Dense(2, 3, None, "softmax"), lambda: Conv(1, 2, 2, None, "relu", stride=2)])
def test_copies_are_independent(make, duplicate):
    layer = make()
    other = duplicate(layer)
    x = corgi.array(normal(*((4, 2) if isinstance(layer, Dense) else (4, 1, 5, 5))))
    assert np.array_equal(layer(x), other(x))
    assert all(p.is_tracked and p is not q for p, q in zip(other.parameters(), layer.parameters(), strict=True))
    before = layer(x).numpy().copy()
    corgi.assign(other.weight, other.weight.detach() * 2)
    assert np.array_equal(layer(x), before) and not np.array_equal(other(x), before)


def test_cotangents_of_others_stay():
    """A backward pass writes over a cotangent only where nobody else sees it."""
    generator = np.random.default_rng(0)
    x, w1, w2, seed = (corgi.array(generator.normal(size=s)) for s in [(5, 3), (4, 3), (4, 3), (5, 4)])
    w1, w2, given = w1.tracked(), w2.tracked(), seed.numpy().copy()
    first, second = corgi.dense(x, w1, None, "tanh"), corgi.dense(x, w2, None, "relu")
    total = first + second  # passes one cotangent on to both
    total.backward(seed)
    np.testing.assert_array_equal(seed, given)
    slope1 = given * (1 - np.tanh(x.numpy() @ w1.numpy().T) ** 2)
    slope2 = given * (x.numpy() @ w2.numpy().T > 0)
    np.testing.assert_allclose(w1.gradient, slope1.T @ x.numpy(), rtol=1e-12)
    np.testing.assert_allclose(w2.gradient, slope2.T @ x.numpy(), rtol=1e-12)


# ---- classes of one's own


class Mixin:
    def __init__(self, *args):
        super().__init__(*args)
        self.mixed = True


class MixedFirst(Mixin, Dense):
    pass


class MixedLast(Dense, Mixin):
    pass


class Abstract(Dense, abc.ABC):
    pass


class Parametric(Dense, Generic[T]):
    pass


class Listed(Layer, dict):
    """A layer that is a dict as well."""

    def __init__(self, inputs, outputs):
        self.inner = Dense(inputs, outputs)

    def forward(self, x):
        return self.inner(x)


@dataclasses.dataclass(eq=False)
class Fields(Layer):
    inputs: int
    outputs: int

    def __post_init__(self):
        self.inner = Dense(self.inputs, self.outputs)

    def forward(self, x):
        return self.inner(x)


class Counting(Dense):
    """Has a __call__ of its own, which a row of layers may not pass over."""

    calls = 0

    def __call__(self, x):
        self.calls += 1
        return super().__call__(x)


OWN = [MixedFirst, MixedLast, Abstract, Parametric, Parametric[int], Listed, Fields, Counting]


@pytest.mark.parametrize("kind", OWN)
def test_other_bases(kind):
    layer = kind(3, 2)
    x = corgi.ones((4, 3))
    expected = corgi.dense(x, *layer.parameters())
    for run in (layer, corgi.layer.Sequential([layer]), Model([layer]).forward):
        np.testing.assert_array_equal(run(x), expected)
    assert [p.shape for p in layer.parameters()] == [(2, 3), (2,)]
    assert isinstance(layer, Layer) and getattr(layer, "calls", 3) == 3
    again = copy.deepcopy(layer)
    np.testing.assert_array_equal(again(x), expected)
    assert again.parameters()[0] is not layer.parameters()[0]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [Dense, MixedFirst, Fields, Counting])
def test_pickles(kind, protocol):
    layer = kind(3, 2)
    again = pickle.loads(pickle.dumps(layer, protocol))
    np.testing.assert_array_equal(again(corgi.ones(3)), layer(corgi.ones(3)))


def test_forward_of_an_instance():
    layer = Dense(2, 2)
    layer.forward = lambda x, scale=2: x * scale
    for run in (layer, corgi.layer.Sequential([layer])):
        np.testing.assert_array_equal(run(corgi.ones(2)), [2, 2])
    np.testing.assert_array_equal(layer(corgi.ones(2), 3), [3, 3])
    np.testing.assert_array_equal(layer(x=corgi.ones(2), scale=4), [4, 4])


# ---- errors


def test_activation_by_name():
    for name in ACTIVATIONS:
        assert activation.get(name) is getattr(activation, name)
        assert pickle.loads(pickle.dumps(activation.get(name))) is activation.get(name)
    assert activation.get(None) is None and activation.get(len) is len


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: Dense(0, 2), ValueError, "Dense: expected input_size of at least 1, got 0"),
        (lambda: Dense(2, -1), ValueError, "Dense: expected output_size of at least 1, got -1"),
        (lambda: Dense(2.0, 1), TypeError, "Dense: expected an int for input_size, got float"),
        (lambda: Dense(True, 1), TypeError, "Dense: expected an int for input_size, got bool"),
        (lambda: Dense(2, 1, dtype="int64"), TypeError, "Dense: expected dtype float64 or float32, got int64"),
        (lambda: Dense(2, 1, None, "rely"), ValueError, "activation: expected one of elu, .* got 'rely'"),
        (lambda: Dense(2, 1, None, 3), TypeError, "activation: expected a function, a name or None, got int"),
        (lambda: Dense(2, 1)(corgi.ones((4, 3))), ValueError, r"dense: expected input of shape \(..., 2\) .* got \(4, 3\)"),
        (lambda: Conv(1, 2, (3, 3, 3)), TypeError, r"Conv: expected an int or a pair of ints for kernel, got \(3, 3, 3\)"),
        (lambda: Conv(1, 2, 0), ValueError, "Conv: expected kernel of at least 1, got 0"),
        (lambda: Conv(1, 2, 3, stride=0), ValueError, "Conv: expected stride of at least 1, got 0"),
        (lambda: Conv(1, 2, 3, padding=-1), ValueError, "Conv: expected padding of at least 0, got -1"),
        (lambda: Conv(1, 2, 3, dilation=1.5), TypeError, "Conv: expected an int or a pair of ints for dilation, got 1.5"),
        (lambda: Conv(1, 2, 3, stride=(True, 1)), TypeError, "Conv: expected an int or a pair of ints for stride"),
        (lambda: Conv(1, 2, 3)(corgi.ones((2, 5, 5))), ValueError, "conv: expected filters for 2 channels"),
        (lambda: Conv(1, 2, 3)(corgi.ones((1, 2, 5))), ValueError, "conv: a window of .* does not fit"),
        (lambda: Conv(1, 2, 3)(corgi.ones((5, 5))), ValueError, r"conv: expected an image .* got shape \(5, 5\)"),
        (lambda: MaxPool(0), ValueError, "MaxPool: expected size of at least 1, got 0"),
        (lambda: AvgPool(2, padding=2), ValueError, r"AvgPool: expected padding of at most half the window \(2, 2\)"),
        (lambda: Flatten(0), ValueError, "Flatten: expected axes of at least 1, got 0"),
        (lambda: Layer()(1), NotImplementedError, r"Layer: expected the layer to define forward\(self, x\)"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
