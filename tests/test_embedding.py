"""Embedding: values, gradients, padding, wrong ids; sparse gradients and the steps that follow; PyTorch's numbers.

Above: nobody.  Below: corgi's embedding.  The oracle of a sparse step is NumPy's: rows of gradient zero stay as they are.
"""

import copy
import itertools
import pickle

import numpy as np
import pytest

import corgi
from corgi import initializer
from corgi.layer import Dense, Embedding
from corgi.optimizer import Adam, AdamW, GradientDescent

DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def normal(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def integers(high, shape, seed=0):
    return np.random.default_rng(seed).integers(0, high, shape)


def layer_of(values, **options):
    return Embedding(*values.shape, lambda shape, dtype: values, dtype=values.dtype, **options)


def scattered(ids, delta, shape):
    out = np.zeros(shape)
    np.add.at(out, ids, delta)
    return out


# ---- values and gradients


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_every_integer_dtype(dtype):
    w, ids = normal(9, 4), integers(9, (3, 5)).astype(dtype)
    np.testing.assert_array_equal(layer_of(w)(ids), w[ids])


@pytest.mark.parametrize("shape", [(), (0,), (7,), (2, 0, 3), (2, 3, 4)])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(shape, sparse, dtype):
    w, ids = normal(6, 5, dtype=dtype), integers(6, shape)
    layer = layer_of(w, sparse=sparse)
    y = layer(corgi.array(ids) if ids.size else ids)
    np.testing.assert_array_equal(y, w[ids])
    assert y.dtype == dtype and y.is_tracked
    delta = normal(*shape, 5, seed=1, dtype=dtype)
    y.backward(corgi.array(delta))
    np.testing.assert_allclose(layer.weight.gradient, scattered(ids, delta, w.shape), rtol=TOLERANCE[dtype], atol=1e-6)


def test_ids_in_lists_and_strides():
    w = normal(6, 5)
    ids = corgi.array(integers(6, (4, 6)))
    np.testing.assert_array_equal(layer_of(w)([[1, 5], [0, 1]]), w[[[1, 5], [0, 1]]])
    np.testing.assert_array_equal(layer_of(w)(ids.T[::2]), w[ids.numpy().T[::2]])


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_of_every_order(sparse):
    w, ids = normal(5, 3), np.array([[0, 4, 0], [2, 4, 4]])
    for padding in (-1, 4, 1):

        def f(w, padding=padding):
            return corgi.power(corgi._core.embedding(w, ids, padding, sparse), 3).sum()

        if padding == -1:
            corgi.check_gradient(f, w, order=2)
        expected = 3 * w**2 * np.bincount(ids.ravel(), minlength=5)[:, None]
        expected[padding if padding >= 0 else slice(0, 0)] = 0
        np.testing.assert_allclose(corgi.grad(f)(corgi.array(w)), expected, rtol=1e-12)
        second = corgi.grad(lambda w: corgi.grad(f)(w).sum())(corgi.array(w))
        np.testing.assert_allclose(second, 2 * np.divide(expected, w), rtol=1e-12)


def test_padding():
    layer = Embedding(6, 3, padding_idx=-2)
    assert layer.padding_idx == 4
    np.testing.assert_array_equal(layer.weight.numpy()[4], np.zeros(3))
    ids = np.array([4, 1, 4, 2])
    layer(ids).backward(corgi.ones((4, 3)))
    np.testing.assert_array_equal(layer.weight.gradient, scattered([1, 2], 1.0, (6, 3)))


@pytest.mark.parametrize("wrong", [-1, 6, 2**40, -(2**63), 2**63 - 1])
def test_ids_out_of_range(wrong):
    layer = Embedding(6, 3)
    with pytest.raises(IndexError, match=rf"^Embedding: expected ids from 0 to 5, got {wrong} \["):
        layer([[0, 5], [wrong, 7]])
    assert layer.weight.gradient is None


@pytest.mark.parametrize("size", [1, 3, 16, 40, 300])
def test_large_scatter_is_the_same_for_any_number_of_threads(size):
    """Enough rows for several threads: right, and the same bits."""
    rows, ids = 300_000 // size + 1100, integers(300_000 // size + 1100, 5000)
    delta = normal(5000, size, dtype="float32")
    results = []
    for threads, sparse in itertools.product((1, 2), (False, True)):
        with corgi.num_threads(threads):
            layer = Embedding(rows, size, initializer.zeros(), sparse=sparse, dtype="float32")
            layer(ids).backward(corgi.array(delta))
            results.append(layer.weight.gradient.numpy())
    np.testing.assert_allclose(results[0], scattered(ids, delta, (rows, size)), rtol=1e-5, atol=1e-5)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_layer():
    layer = Embedding(7, 3, padding_idx=0, sparse=True, dtype="float32")
    assert repr(layer) == "Embedding(7, 3, padding_idx=0, sparse=True, dtype=float32)"
    assert list(layer.named_parameters()) == ["weight"]
    layer([1, 2]).sum().backward()
    for twin in (copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))):
        other = twin(layer)
        np.testing.assert_array_equal(other([1, 2]), layer([1, 2]))
        Adam().step([layer.weight])
        assert np.any(other.weight.numpy() != layer.weight.numpy())
        layer([1, 2]).sum().backward()


# ---- sparse gradients


class Lazy:
    """Rows of gradient zero stay as they are; the others take a step of the rule. NumPy, in float64."""

    def __init__(self, w, rate, momentum=0.0, weight_decay=0.0):
        self.w, self.rate, self.momentum, self.weight_decay = w.astype(np.float64), rate, momentum, weight_decay
        self.velocity = np.zeros(w.shape)

    def step(self, gradient):
        moved = np.any(gradient != 0, 1)
        g = gradient[moved] + self.weight_decay * self.w[moved]
        self.velocity[moved] = self.momentum * self.velocity[moved] + g
        self.w[moved] -= self.rate * self.velocity[moved]


class LazyAdam(Lazy):
    def __init__(self, w, rate):
        super().__init__(w, rate)
        self.mean, self.square, self.steps = np.zeros(w.shape), np.zeros(w.shape), 0

    def step(self, gradient):
        self.steps += 1
        moved = np.any(gradient != 0, 1)
        g = gradient[moved]
        self.mean[moved] = 0.9 * self.mean[moved] + 0.1 * g
        self.square[moved] = 0.999 * self.square[moved] + 0.001 * g * g
        mean, square = self.mean[moved] / (1 - 0.9**self.steps), self.square[moved] / (1 - 0.999**self.steps)
        self.w[moved] -= self.rate * mean / (np.sqrt(square) + 1e-8)


RULES = {
    "descent": (lambda: GradientDescent(0.1), lambda w: Lazy(w, 0.1)),
    "momentum": (
        lambda: GradientDescent(0.1, 0.9, weight_decay=0.01),
        lambda w: Lazy(w, 0.1, momentum=0.9, weight_decay=0.01),
    ),
    "adam": (lambda: Adam(0.1), lambda w: LazyAdam(w, 0.1)),
}


def plainly(layer, ids, delta):
    layer(ids).backward(corgi.array(delta))


def twice_in_a_pass(layer, ids, delta):
    half = len(ids) // 2
    both = [layer(ids[:half]), layer(ids[half:])]
    corgi.concatenate(both).backward(corgi.array(delta))


def in_two_passes(layer, ids, delta):
    half = len(ids) // 2
    layer(ids[:half]).backward(corgi.array(delta[:half]))
    layer(ids[half:]).backward(corgi.array(delta[half:]))


def read_between(layer, ids, delta):
    plainly(layer, ids, delta)
    kept.append((layer.weight.gradient, layer.weight.gradient.numpy().copy()))


def set_by_hand(layer, ids, delta):
    plainly(layer, ids, delta)
    layer.weight.gradient = layer.weight.gradient.numpy().copy()


def with_the_graph_alive(layer, ids, delta):
    y = layer(ids)
    y.backward(corgi.array(delta))
    kept.append((y, y.numpy().copy()))


def with_the_values_held(layer, ids, delta):
    kept.append((layer.weight.detach(), layer.weight.numpy().copy()))
    plainly(layer, ids, delta)


def after_a_failure(layer, ids, delta):
    """A pass that fails after rows were added leaves nothing behind."""

    def fail(arrays, tracked, g):
        raise KeyError("mine")

    broken = corgi.op(lambda x: x, fail)
    with pytest.raises(KeyError):
        (layer(ids) + broken(corgi.ones(layer.weight.shape[1]).tracked())).backward(corgi.array(delta))
    assert layer.weight.gradient is None
    plainly(layer, ids, delta)


WAYS = (plainly, twice_in_a_pass, in_two_passes, read_between, set_by_hand, with_the_graph_alive, with_the_values_held,
        after_a_failure)  # fmt: skip
kept: list = []


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_sparse_steps(rule, way, dtype):
    """However the gradient came about, and whoever holds it: the oracle's values, and what others hold keeps its own."""
    w = normal(50, 4, dtype=dtype)
    layer, optimizer, oracle = layer_of(w, sparse=True), RULES[rule][0](), RULES[rule][1](w)
    kept.clear()
    for step in range(6):
        ids, delta = integers(50, 8, seed=step), normal(8, 4, seed=step, dtype=dtype)
        way(layer, ids, delta)
        np.testing.assert_allclose(layer.weight.gradient, scattered(ids, delta, w.shape), rtol=1e-5, atol=1e-6)
        oracle.step(layer.weight.gradient.numpy().astype(np.float64))
        optimizer.step([layer.weight])
        assert layer.weight.gradient is None
        np.testing.assert_allclose(layer.weight, oracle.w, rtol=100 * TOLERANCE[dtype], atol=TOLERANCE[dtype])
    for array, values in kept:
        np.testing.assert_array_equal(array, values)


def test_a_tied_weight():
    """The same weight read by rows and multiplied with: the gradient is whole, and every row moves."""
    w, ids = normal(6, 3), np.array([1, 1, 4])
    for sparse in (False, True):
        layer = layer_of(w, sparse=sparse)
        for order in (0, 1):
            parts = [layer(ids).sum(), corgi.matmul(corgi.ones((1, 6)), layer.weight).sum()]
            (parts[order] + parts[1 - order]).backward()
            np.testing.assert_allclose(layer.weight.take_gradient(), scattered(ids, 1.0, (6, 3)) + 1, rtol=1e-12)
        (layer(ids).sum() + corgi.matmul(corgi.ones((1, 6)), layer.weight).sum()).backward()
        GradientDescent(0.5).step([layer.weight])
        np.testing.assert_allclose(layer.weight, w - 0.5 * (scattered(ids, 1.0, (6, 3)) + 1), rtol=1e-12)


def test_clipped_gradients():
    w, ids = normal(20, 3), np.array([3, 3, 7])
    results = []
    for sparse in (False, True):
        layer, optimizer = layer_of(w, sparse=sparse), GradientDescent(0.1, clip_norm=0.5)
        for _ in range(3):
            layer(ids).sum().backward()
            optimizer.step([layer.weight])
        results.append(layer.weight.numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-12)


def test_rows_that_are_not_read_keep_their_state():
    layer = Embedding(5, 2, sparse=True)
    optimizer = AdamW(0.1, weight_decay=0.5)
    before = layer.weight.numpy().copy()
    layer([1, 3]).sum().backward()
    optimizer.step([layer.weight])
    layer([3]).sum().backward()
    optimizer.step([layer.weight])
    moved = np.any(layer.weight.numpy() != before, 1)
    np.testing.assert_array_equal(moved, [False, True, False, True, False])
    state = optimizer.state[layer.weight]
    assert state["steps"] == 2
    np.testing.assert_array_equal(np.any(state["mean"].numpy() != 0, 1), moved)


def test_nan_in_a_row_is_a_step():
    layer = Embedding(3, 2, sparse=True)
    layer([1]).backward(corgi.array([[np.nan, 0.0]]))
    GradientDescent(0.1).step([layer.weight])
    np.testing.assert_array_equal(np.isnan(layer.weight), [[False, False], [True, False], [False, False]])


def test_a_sparse_step_uses_the_memory_of_the_last_one():
    """No array of the weight's size is made once there is one for the gradient."""
    layer, optimizer = Embedding(20_000, 8, sparse=True), Adam()
    for _ in range(2):
        layer([1, 2, 3]).sum().backward()
        optimizer.step([layer.weight])
    place, before = layer.weight.numpy().ctypes.data, corgi.memory.stats()["in_use"]
    for _ in range(3):
        layer([1, 2, 3]).sum().backward()
        optimizer.step([layer.weight])
    assert layer.weight.numpy().ctypes.data == place
    assert corgi.memory.stats()["in_use"] == before


def test_model():
    """Sparse and dense train the same model with plain descent."""
    ids = integers(30, (40, 5))
    results = []
    for sparse in (False, True):
        corgi.seed(1)
        layers = [Embedding(30, 4, sparse=sparse), lambda x: corgi.mean(x, 1), Dense(4, 3)]
        model = corgi.Model(layers, GradientDescent(0.1), corgi.cost.softmax_cross_entropy)
        for _ in range(4):
            model.forward(ids)
            loss = model.backward(ids[:, 0] % 3)
            model.update()
        results.append((loss, model.parameters()[0].numpy()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)


# ---- PyTorch


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["dense descent", "dense adam", "sparse descent", "sparse adam"])
def test_torch(kind, dtype):
    torch = pytest.importorskip("torch")
    sparse, adam = "sparse" in kind, "adam" in kind
    w = normal(20, 6, dtype=dtype)
    layer = layer_of(w, padding_idx=3, sparse=sparse)
    twin = torch.nn.Embedding(20, 6, padding_idx=3, sparse=sparse, dtype=getattr(torch, dtype))
    twin.weight.data = torch.tensor(layer.weight.numpy().copy())
    optimizer = Adam(0.01) if adam else GradientDescent(0.01)
    kinds = {"sparse adam": torch.optim.SparseAdam, "dense adam": torch.optim.Adam}
    other = kinds.get(kind, torch.optim.SGD)(list(twin.parameters()), 0.01)
    atol = 1e-6 if kind == "sparse adam" else TOLERANCE[dtype]  # PyTorch's SparseAdam scales its epsilon
    tolerance = {"rtol": 20 * TOLERANCE[dtype], "atol": atol}
    for step in range(5):
        ids, delta = integers(20, (3, 4), seed=step), normal(3, 4, 6, seed=step, dtype=dtype)
        y, z = layer(ids), twin(torch.tensor(ids))
        np.testing.assert_allclose(y, z.detach().numpy(), **tolerance)
        y.backward(corgi.array(delta))
        z.backward(torch.tensor(delta))
        np.testing.assert_allclose(layer.weight.gradient, twin.weight.grad.to_dense().numpy(), **tolerance)
        optimizer.step(layer.parameters())
        other.step()
        other.zero_grad()
        np.testing.assert_allclose(layer.weight, twin.weight.detach().numpy(), **tolerance)
