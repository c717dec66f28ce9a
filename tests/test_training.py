"""Models, costs and optimizers: against NumPy and PyTorch's formulas, and the original's tests of whole networks.

Gradients of networks are compared with central differences in float64. Everything runs in both dtypes, and no float64 may
appear in a float32 network.
"""

import copy
import gc
import hashlib
import math
import pickle

import numpy as np
import pytest

import corgi
from corgi import Model, activation, arr, cost, initializer
from corgi.layer import Conv, Dense, Flatten, Layer, MaxPool
from corgi.optimizer import Adam, GradientDescent, Optimizer

DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@pytest.fixture(params=DTYPES)
def dtype(request):
    """The dtype of the whole computation, which is the default for the time of the test."""
    with corgi.default_dtype(request.param):
        yield request.param


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def numeric_gradients(loss, parameters, step):
    """Central differences of `loss()` by every element of the parameters."""
    gradients = []
    for parameter in parameters:
        start, gradient = parameter.numpy().copy(), np.zeros(parameter.shape)
        for index in np.ndindex(*parameter.shape):
            values = []
            for sign in (1, -1):
                moved = start.copy()
                moved[index] += sign * step
                corgi.assign(parameter, moved)
                values.append(loss())
            gradient[index] = (values[0] - values[1]) / (2 * step)
        corgi.assign(parameter, start)
        gradients.append(gradient)
    return gradients


def check_model_gradients(model, x, target, dtype):
    """The original's rule: ||g - n|| / ||g + n|| < e for each parameter; in float32 the differences are taken in float64."""
    model.forward(x)
    loss = model.backward(target)
    gradients = [p.take_gradient() for p in model.parameters()]
    assert all(g.dtype == dtype for g in gradients)
    with corgi.default_dtype("float64"):
        double = copy.deepcopy(model)
        double.layers = [_in_float64(layer) for layer in double.layers]

        def value():
            with corgi.no_tracking():
                return double.cost(double(corgi.array(x, "float64")), target).item()

        np.testing.assert_allclose(loss, value(), rtol=TOLERANCE[dtype])
        for g, n in zip(gradients, numeric_gradients(value, double.parameters(), 1e-6), strict=True):
            scale = np.linalg.norm(g.numpy() + n)
            assert np.linalg.norm(g.numpy() - n) <= (1e-6 if dtype == "float64" else 1e-4) * max(scale, 1e-3)


def _in_float64(layer):
    for name, value in vars(layer).items():
        if type(value) is corgi.Array:
            setattr(layer, name, corgi.array(value.numpy(), "float64").tracked())
    return layer


# ---- the original's tests of layers and models


def test_dense_smoke(dtype):
    """layer::dense::test_smoke: 1-16-1, sigmoid, then none, 8 steps towards exp(x)."""
    corgi.seed(0)
    layers = [Dense(1, 16, initializer.he(), activation.sigmoid), Dense(16, 1, initializer.he())]
    optimizer, random = GradientDescent(0.01), np.random.default_rng(0)
    losses = []
    for _ in range(8):
        x = random.random((32, 1))
        y = corgi.array(x, dtype)
        for layer in layers:
            y = layer(y)
        loss = cost.mse(y, np.exp(x))
        loss.backward()
        losses.append(loss.item())
        for layer in layers:
            optimizer.step(layer.parameters())
    assert losses[-1] < losses[0] and loss.dtype == dtype


def conv_smoke_layers(last=None):
    return [
        Conv(3, 16, (3, 3), initializer.he(), activation.relu, stride=(2, 2)),
        Conv(16, 1, (2, 2), initializer.he(), last, stride=(2, 2)),
    ]


def test_conv_smoke(dtype):
    """layer::conv::test_smoke: image (3, 9, 9), filters (16, 3, 3, 3) and (1, 16, 2, 2), 8 steps."""
    corgi.seed(0)
    model = Model(conv_smoke_layers(), GradientDescent(0.01), cost.mse)
    x, target = corgi.array(normal(3, 9, 9), dtype), corgi.zeros((1, 2, 2))
    losses = []
    for _ in range(8):
        output = model.forward(x)
        assert output.shape == (1, 2, 2) and output.dtype == dtype
        losses.append(model.backward(target))
        model.update()
    assert losses[-1] < losses[0]


def test_model(dtype):
    """model::test_model: 2-16-2, relu, then none, mse, batches of 32, rate 0.1, towards exp(x), exp(x) + sin(y)."""
    corgi.seed(0)
    layers = [Dense(2, 16, initializer.he(), activation.relu), Dense(16, 2, initializer.he())]
    model, random = Model(layers, GradientDescent(0.1), cost.mse), np.random.default_rng(0)
    losses = []
    for _ in range(200):
        x, y = random.random((2, 32))
        model.forward(corgi.array(np.stack([x, y], axis=1), dtype))
        losses.append(model.backward(np.stack([np.exp(x), np.exp(x) + np.sin(y)], axis=1)))
        model.update()
    assert np.mean(losses[-10:]) < 0.05 < losses[0]


def test_dense_gradient(dtype):
    """model::test_dense_gradient: 2-16-2, sigmoid, softmax, cross-entropy, one vector."""
    corgi.seed(0)
    layers = [Dense(2, 16, initializer.he(), activation.sigmoid), Dense(16, 2, initializer.he(), activation.softmax)]
    model = Model(layers, GradientDescent(0.1), cost.cross_entropy)
    check_model_gradients(model, arr([0.5, -0.25]), arr([0.0, 1.0]), dtype)


def test_add_layer_gradient(dtype):
    """model::test_add_layer_gradient: 2-4-2, sigmoid, sigmoid; then one more layer, 2-2, softmax."""
    corgi.seed(0)
    layers = [Dense(2, 4, initializer.he(), activation.sigmoid), Dense(4, 2, initializer.he(), activation.sigmoid)]
    model = Model(layers, GradientDescent(0.1), cost.cross_entropy)
    check_model_gradients(model, arr([0.5, -0.25]), arr([0.0, 1.0]), dtype)
    model.layers.append(Dense(2, 2, initializer.he(), activation.softmax))
    check_model_gradients(model, arr([0.5, -0.25]), arr([0.0, 1.0]), dtype)
    before = model.layers[2].weight.numpy().copy()
    model.forward(arr([0.5, -0.25]))
    model.backward(arr([0.0, 1.0]))
    model.update()
    assert not np.array_equal(model.layers[2].weight, before)


def test_conv_gradient(dtype):
    """model::test_conv_gradient: the net of the convolution's smoke test, with mse."""
    corgi.seed(0)
    random = np.random.default_rng(0)
    model = Model(conv_smoke_layers(), GradientDescent(0.1), cost.mse)
    x = corgi.array(random.uniform(-1, 1, (3, 9, 9)), dtype)
    check_model_gradients(model, x, corgi.array(random.random((1, 2, 2)), dtype), dtype)


def test_conv_batch_gradient(dtype):
    corgi.seed(0)
    layers = [Conv(2, 3, 2, None, "relu", padding=1), MaxPool(2), Flatten(), Dense(3 * 9, 4, None, "softmax")]
    model = Model(layers, cost=cost.cross_entropy)
    check_model_gradients(model, corgi.array(normal(3, 2, 5, 5), dtype), arr([0, 3, 1]), dtype)


# ---- costs


def test_mse(dtype):
    output, target = normal(4, 3), normal(4, 3, seed=1)
    y = corgi.array(output, dtype).tracked()
    loss = cost.mse(y, corgi.array(target, "float64"))
    loss.backward()
    assert loss.shape == () and loss.dtype == dtype and y.gradient.dtype == dtype
    np.testing.assert_allclose(loss.item(), np.mean((output - target) ** 2), rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(y.gradient, 2 * (output - target) / 12, rtol=1e-4, atol=1e-6)
    assert cost.mse([1.0, 2.0], [1, 0]).item() == 2.0


def test_mse_differentiates_its_target():
    target = corgi.array(normal(3)).tracked()
    cost.mse(corgi.zeros(3), target).backward()
    np.testing.assert_allclose(target.gradient, 2 * normal(3) / 3, rtol=1e-14)


@pytest.mark.parametrize("form", ["classes", "one-hot", "soft"])
@pytest.mark.parametrize("logits_given", [True, False])
def test_cross_entropy(form, logits_given, dtype):
    logits, classes = normal(5, 4), np.array([0, 3, 1, 1, 2])
    target = {"classes": classes, "one-hot": np.eye(4)[classes], "soft": np.full((5, 4), 0.25)}[form]
    dense = np.eye(4)[classes] if form == "classes" else target
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    z = corgi.array(logits, dtype).tracked()
    loss = cost.softmax_cross_entropy(z, target) if logits_given else cost.cross_entropy(corgi.softmax(z), target)
    loss.backward()
    assert loss.dtype == dtype and z.gradient.dtype == dtype
    np.testing.assert_allclose(loss.item(), -(dense * np.log(p)).sum() / 5, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(z.gradient, (p - dense) / 5, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: cost.mse(corgi.ones((3, 1)), corgi.ones(3)), ValueError, r"mse: .* output's shape \(3, 1\), got \(3,\)"),
        (lambda: cost.mse(corgi.ones(3), 1.0), ValueError, r"mse: .* output's shape \(3,\), got \(\)"),
        (lambda: cost.mse(corgi.ones((0, 2)), corgi.ones((0, 2))), ValueError, r"mse: expected at least one element"),
        (lambda: cost.cross_entropy(corgi.ones((2, 3)), corgi.ones((3, 2))), ValueError, r"\(2, 3\).*\(3, 2\)"),
        (lambda: cost.cross_entropy(corgi.ones((2, 3)), [0, 3]), ValueError, "classes from 0 to 2, got 3"),
        (lambda: cost.softmax_cross_entropy(corgi.ones((2, 3)), [0, 1, 2]), ValueError, r"\(2, 3\).*\(3,\)"),
    ],
)
def test_cost_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- optimizers, against PyTorch's formulas (torch.optim.SGD, Adam, AdamW) in NumPy


def sgd_reference(p, gradients, rate, momentum, nesterov, decay):
    v = None
    for g in gradients:
        g = g + decay * p
        if momentum:
            v = g if v is None else momentum * v + g
            g = g + momentum * v if nesterov else v
        p = p - rate * g
    return p


def adam_reference(p, gradients, rate, beta1, beta2, epsilon, decay, decoupled):
    m = v = np.zeros_like(p)
    for t, g in enumerate(gradients, 1):
        if decoupled:
            p = p * (1 - rate * decay)
        else:
            g = g + decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p = p - rate / (1 - beta1**t) * m / (np.sqrt(v) / math.sqrt(1 - beta2**t) + epsilon)
    return p


def run(optimizer, start, gradients, dtype):
    p = corgi.array(start, dtype).tracked()
    for g in gradients:
        p.gradient = corgi.array(g, dtype)
        optimizer.step([p])
        assert p.gradient is None and p.is_tracked and p.dtype == dtype
    return p


@pytest.mark.parametrize("shape", [(), (3,), (17, 5), (0, 2), (70_000,)])
@pytest.mark.parametrize(
    "momentum, nesterov, decay",
    [(0, False, 0), (0, False, 0.1), (0.9, False, 0), (0.9, False, 0.1), (0.8, True, 0), (0.8, True, 0.1)],
)
def test_gradient_descent(shape, momentum, nesterov, decay, dtype):
    start, gradients = normal(*shape), [normal(*shape, seed=i) for i in range(1, 6)]
    p = run(GradientDescent(0.1, momentum, nesterov, decay), start, gradients, dtype)
    expected = sgd_reference(start, gradients, 0.1, momentum, nesterov, decay)
    np.testing.assert_allclose(p, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(), (3,), (17, 5), (0, 2), (70_000,)])
@pytest.mark.parametrize("decay, decoupled", [(0, False), (0.1, False), (0.1, True)])
def test_adam(shape, decay, decoupled, dtype):
    start, gradients = normal(*shape), [normal(*shape, seed=i) for i in range(1, 6)]
    p = run(Adam(0.01, 0.8, 0.95, 1e-6, decay, decoupled), start, gradients, dtype)
    expected = adam_reference(start, gradients, 0.01, 0.8, 0.95, 1e-6, decay, decoupled)
    np.testing.assert_allclose(p, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("optimizer", [GradientDescent(0.1), GradientDescent(0.1, 0.9, True), Adam(0.1)])
def test_a_parameter_without_gradient_is_left_alone(optimizer):
    optimizer = copy.deepcopy(optimizer)
    idle, busy = arr([1.0, 2.0]).tracked(), arr([1.0, 2.0]).tracked()
    for _ in range(2):
        busy.gradient = arr([1.0, 1.0])
        optimizer.step([idle, busy])
    assert idle.tolist() == [1.0, 2.0] and idle not in optimizer.state
    idle.gradient = arr([1.0, 1.0])
    optimizer.step([idle])
    fresh = arr([1.0, 2.0]).tracked()
    fresh.gradient = arr([1.0, 1.0])
    copy.deepcopy(optimizer).step([fresh])
    assert idle.tolist() == fresh.tolist()


@pytest.mark.parametrize("optimizer", [GradientDescent(0.5), GradientDescent(0.5, 0.9), Adam(0.5)])
def test_saved_values_are_kept(optimizer):
    optimizer = copy.deepcopy(optimizer)
    p = arr([1.0, 2.0]).tracked()
    view, numpy, alias, y = p[:1], p.numpy(), p.detach(), p * p
    y.backward()
    optimizer.step([p])
    y.backward()
    assert view.item() == 1.0 and numpy.tolist() == alias.tolist() == [1.0, 2.0]
    assert p[0].item() != 1.0 and p.gradient is None


def test_shared_gradients_do_not_mix_parameters():
    a, b = corgi.zeros(2).tracked(), corgi.zeros(2).tracked()
    (a + b).backward()
    GradientDescent(1.0).step([a, b, a])
    assert a.tolist() == b.tolist() == [-1.0, -1.0]


def test_learning_rate_may_change_between_steps():
    optimizer, p = GradientDescent(1.0), corgi.zeros(1).tracked()
    for rate in (0.5, 0.25, 0):
        optimizer.learning_rate = rate
        p.gradient = corgi.ones(1)
        optimizer.step([p])
    assert p.item() == -0.75
    optimizer.learning_rate = np.float32(0.5)
    assert type(optimizer.learning_rate) is float


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: GradientDescent(math.nan), ValueError, r"GradientDescent: expected learning_rate in \[0, inf\), got nan"),
        (lambda: GradientDescent(-0.1), ValueError, r"expected learning_rate in \[0, inf\), got -0.1"),
        (lambda: GradientDescent(math.inf), ValueError, r"expected learning_rate in \[0, inf\), got inf"),
        (lambda: GradientDescent("0.1"), TypeError, "GradientDescent: expected a number for learning_rate, got str"),
        (lambda: GradientDescent(True), TypeError, "expected a number for learning_rate, got bool"),
        (lambda: GradientDescent(None), TypeError, "expected a number for learning_rate, got NoneType"),
        (lambda: GradientDescent(0.1, -1), ValueError, r"expected momentum in \[0, inf\), got -1"),
        (lambda: GradientDescent(0.1, nesterov=True), ValueError, "expected momentum above 0 with nesterov"),
        (lambda: GradientDescent(0.1, weight_decay=math.nan), ValueError, "expected weight_decay in .* got nan"),
        (
            lambda: setattr(GradientDescent(0.1), "learning_rate", math.nan),
            ValueError,
            "expected learning_rate in .* got nan",
        ),
        (lambda: Adam(beta1=1), ValueError, r"Adam: expected beta1 in \[0, 1\), got 1"),
        (lambda: Adam(beta2=-0.5), ValueError, r"Adam: expected beta2 in \[0, 1\), got -0.5"),
        (lambda: Adam(epsilon="x"), TypeError, "Adam: expected a number for epsilon, got str"),
        (lambda: GradientDescent(0.1).step(corgi.ones(2)), TypeError, "GradientDescent.step: expected a list of Arrays"),
        (lambda: GradientDescent(0.1).step([1.0]), TypeError, "float"),
        (lambda: Adam().step([None]), TypeError, "None"),
        (lambda: Adam().step([arr([1, 2])]), TypeError, "expected a float array, got int64"),
        (lambda: Optimizer(0.1).step([corgi.ones(1)]), NotImplementedError, r"to define update\(self, parameter\)"),
    ],
)
def test_optimizer_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_optimizer_repr():
    assert repr(GradientDescent(0.1)) == "GradientDescent(learning_rate=0.1, momentum=0.0, nesterov=False, weight_decay=0.0)"


# ---- Model


def small_model(dtype=None, optimizer=None, seed=0):
    corgi.seed(seed)
    layers = [Dense(2, 16, initializer.he(), activation.relu, dtype=dtype), Dense(16, 2, initializer.he(), dtype=dtype)]
    return Model(layers, optimizer or GradientDescent(0.05), cost.mse)


def test_training_agrees_with_numpy(dtype):
    """20 steps of 2-16-2 by hand, in float64."""
    model = small_model()
    w1, b1, w2, b2 = (p.numpy().astype(float) for p in model.parameters())
    x, t = normal(32, 2), normal(32, 2, seed=1)
    for _ in range(20):
        model.forward(corgi.array(x, dtype))
        loss = model.backward(corgi.array(t, dtype))
        model.update()
        h = np.maximum(x @ w1.T + b1, 0)
        y = h @ w2.T + b2
        expected = np.mean((y - t) ** 2)
        dy = 2 * (y - t) / y.size
        dh = (dy @ w2) * (h > 0)
        w1, b1 = w1 - 0.05 * dh.T @ x, b1 - 0.05 * dh.sum(0)
        w2, b2 = w2 - 0.05 * dy.T @ h, b2 - 0.05 * dy.sum(0)
        np.testing.assert_allclose(loss, expected, rtol=10 * TOLERANCE[dtype])
    for parameter, values in zip(model.parameters(), (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(parameter, values, rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: GradientDescent(0.01), lambda: GradientDescent(0.01, 0.9, True, 1e-4), Adam])
def test_float32_end_to_end(make):
    """Without a default of float32: nothing in the network may become float64."""
    layers = [
        Conv(1, 4, 3, None, "relu", padding=1, dtype="float32"),
        MaxPool(2),
        Flatten(),
        Dense(16, 8, None, "tanh", dtype="float32"),
        Dense(8, 3, None, corgi.softmax, dtype="float32"),
    ]
    model = Model(layers, make(), cost.cross_entropy)
    for target in ([0, 2], np.eye(3)[[0, 2]], corgi.array(np.eye(3)[[0, 2]])):
        output = model.forward(corgi.array(normal(2, 1, 4, 4), "float32"))
        loss = cost.cross_entropy(output, target)
        model.backward(target)
        assert output.dtype == loss.dtype == "float32"
        assert {p.gradient.dtype.name for p in model.parameters()} == {"float32"}
        model.update()
        assert {p.dtype.name for p in model.parameters()} == {"float32"}


def test_the_example_of_the_readme():
    corgi.seed(0)
    input_size, hidden_size, output_size, learning_rate = 4, 16, 3, 0.5
    l1 = Dense(input_size, hidden_size, initializer.he(), activation.relu)
    l2 = Dense(hidden_size, output_size, initializer.he(), activation.softmax)
    model = Model([l1, l2], GradientDescent(learning_rate), cost.cross_entropy)
    random = np.random.default_rng(0)
    batches = [(corgi.array(x), corgi.array(np.eye(3)[x[:, :3].argmax(1)])) for x in random.random((300, 32, 4))]
    losses = []
    for inputs, targets in batches:
        model.forward(inputs)
        loss = model.backward(targets)
        model.update()
        losses.append(loss)
    assert type(loss) is float and np.mean(losses[-20:]) < 0.3 < losses[0]


def test_layers_may_be_functions_or_one_layer():
    doubled = Model([lambda x: x * 2, corgi.exp])
    assert doubled(corgi.zeros(2)).tolist() == [1.0, 1.0]
    layer = Dense(2, 1)
    assert Model(layer).layers == [layer] and Model((layer,)).layers == [layer]
    assert Model([])(arr([3.0])).item() == 3.0


def test_gradients_add_up_until_update():
    model = small_model()
    x, t = normal(4, 2), normal(4, 2, seed=1)
    for _ in range(2):
        model.forward(x)
        model.backward(t)
    twice = [p.take_gradient().numpy() for p in model.parameters()]
    model.forward(x)
    model.backward(t)
    for p, g in zip(model.parameters(), twice, strict=True):
        np.testing.assert_allclose(2 * p.gradient.numpy(), g, rtol=1e-14)
    model.update()
    assert all(p.gradient is None for p in model.parameters())


def test_the_graph_is_freed_and_memory_does_not_grow():
    model = small_model(optimizer=Adam())
    x, t = corgi.array(normal(32, 2)), corgi.array(normal(32, 2, seed=1))

    def steps(count):
        for _ in range(count):
            model.forward(x)
            model.backward(t)
            model.update()
        gc.collect()
        return corgi.memory.stats()["in_use"]

    steps(10)
    before = steps(10)
    assert steps(1000) == before


def test_a_model_inside_a_model_keeps_no_graph():
    inner = Model([Dense(200, 200)])
    model = Model([inner], GradientDescent(0.1), cost.mse)
    x = corgi.array(normal(500, 200))

    def in_use():
        gc.collect()
        return corgi.memory.stats()["in_use"]

    before = in_use()
    model.forward(x)
    assert in_use() >= before + 500 * 200 * 8
    model.backward(normal(500, 200))
    for p in model.parameters():
        p.gradient = None
    assert in_use() < before + 500 * 200 * 8


def test_predicting_between_training_steps_needs_no_backward():
    model = small_model()
    with corgi.no_tracking():
        assert not model(normal(3, 2)).is_tracked
    model.forward(normal(3, 2))
    assert model.backward(normal(3, 2, seed=1)) > 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize("make", [lambda: GradientDescent(0.1, 0.9), lambda: Adam(0.01)])
def test_copies_train_on_as_the_original_does(make, duplicate):
    x, t = normal(8, 2), normal(8, 2, seed=1)

    def train(model, steps):
        for _ in range(steps):
            model.forward(x)
            model.backward(t)
            model.update()
        return [p.numpy().copy() for p in model.parameters()]

    model = small_model(optimizer=make())
    train(model, 3)
    other = duplicate(model)
    first, second = train(model, 3), train(other, 3)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(p is not q for p, q in zip(model.parameters(), other.parameters(), strict=True))


def test_the_run_is_the_same_for_any_number_of_threads(dtype):
    """Batches large enough to be shared among threads; the last bits of every parameter agree."""

    def digest(threads):
        with corgi.num_threads(threads):
            corgi.seed(3)
            layers = [
                Conv(4, 16, 3, None, "relu"),
                MaxPool(2),
                Flatten(),
                Dense(16 * 49, 600, None, "tanh"),
                Dense(600, 10, None, "softmax"),
            ]
            model = Model(layers, GradientDescent(0.01, 0.9), cost.cross_entropy)
            x, t = corgi.array(normal(100, 4, 16, 16), dtype), corgi.array(np.arange(100) % 10)
            for _ in range(2):
                model.forward(x)
                model.backward(t)
                model.update()
            return hashlib.sha256(b"".join(p.numpy().tobytes() for p in model.parameters())).hexdigest()

    assert digest(1) == digest(2) == digest(5)


def test_errors_name_the_layer():
    model = Model([Dense(2, 3), corgi.relu, Dense(4, 1)])
    with pytest.raises(ValueError, match=r"^Model > layers.2 \(Dense\): dense: expected input of shape \(..., 4\)"):
        model(corgi.ones((5, 2)))
    with pytest.raises(ValueError, match=r"^Model > layers.0.layers.2 \(Dense\): dense: "):
        Model([model])(corgi.ones((5, 2)))
    with pytest.raises(TypeError, match=r"^Model > layers.0 \(Dense\): array: expected numbers, got str"):
        model("text")

    class Broken(Layer):
        def forward(self, x):
            raise self.error

    broken = Broken()
    broken.error = KeyError("key")
    with pytest.raises(KeyError) as caught:
        Model([corgi.relu, broken])(corgi.ones(1))
    assert caught.value.__notes__[0].startswith("in Model > layers.1 (Broken) [")
    broken.error = UnicodeDecodeError("utf-8", b"", 0, 1, "reason")
    with pytest.raises(UnicodeDecodeError):
        Model([broken])(corgi.ones(1))


def test_a_failed_call_leaves_the_model_as_it_was():
    model = small_model()
    model.forward(normal(3, 2))
    with pytest.raises(ValueError, match="mse"):
        model.backward(normal(4, 2))
    assert all(p.gradient is None for p in model.parameters())
    assert model.backward(normal(3, 2)) > 0


def untracked_model():
    model = small_model()
    with corgi.no_tracking():
        model.forward(normal(3, 2))
    return model


def forwarded(model):
    model.forward(normal(3, 2))
    return model


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: small_model().backward([1.0]), ValueError, r"Model.backward: expected a call of forward\(x\) before"),
        (lambda: Model(Dense(2, 2)).backward([1.0]), ValueError, "Model.backward: expected a model with a cost"),
        (lambda: Model(Dense(2, 2)).update(), ValueError, "Model.update: expected a model with an optimizer"),
        (lambda: untracked_model().backward(normal(3, 2)), ValueError, "Model.backward: expected a tracked loss"),
        (
            lambda: forwarded(Model(Dense(2, 2), cost=lambda o, t: o - t)).backward(normal(3, 2)),
            ValueError,
            r"one number .* \(3, 2\)",
        ),
        (lambda: forwarded(small_model()).backward(normal(3, 3)), ValueError, r"mse: .* \(3, 2\), got \(3, 3\)"),
        (lambda: Model([Dense(2, 2), 3]), TypeError, "Model: expected layers or functions, got int as layer 2"),
        (lambda: Model(3), TypeError, "Model: expected layers, got int"),
        (lambda: Model([], 0.1), TypeError, "Model: expected an optimizer with a method step, got float"),
        (lambda: Model([], GradientDescent), TypeError, "Model: expected an optimizer, got the class GradientDescent"),
        (lambda: Model([], None, "mse"), TypeError, "Model: expected a cost such as cost.mse, got str"),
    ],
)
def test_model_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_backward_needs_a_new_forward():
    model = forwarded(small_model())
    model.backward(normal(3, 2))
    with pytest.raises(ValueError, match="before each backward"):
        model.backward(normal(3, 2))
