"""Attention: the op against its definition, its composite and PyTorch; layers against PyTorch; positions; blocks."""

import copy
import math
import pickle

import numpy as np
import pytest

import corgi
from corgi import _core
from corgi.layer import MultiHeadAttention, PositionalEmbedding, PositionalEncoding, TransformerBlock

from .ops import ORACLE

TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(dtype)


def close(a, b, dtype, scale=1.0):
    return np.allclose(a, b, rtol=TOLERANCE[dtype], atol=scale * TOLERANCE[dtype])


def attend_and_differentiate(function, arrays, cotangent):
    """The result, and the gradients by the arrays."""
    inputs = [corgi.array(x).tracked() for x in arrays]
    out = function(*inputs)
    out.backward(corgi.array(cotangent))
    return out, [x.gradient for x in inputs]


def masks(queries, keys, dtype):
    rng = np.random.default_rng(5)
    some = rng.random((queries, keys)) < 0.6
    some[queries // 2] = False  # attends to nothing
    return {
        "none": None,
        "some": some,
        "keys": rng.random((2, 1, 1, keys)) < 0.7,
        "heads": np.where(rng.random((3, queries, keys)) < 0.3, -np.inf, 0).astype(dtype),
        "bias": rng.standard_normal((2, 1, queries, 1)).astype(dtype),
        "number": np.asarray(0.5, dtype),
    }


SIZES = [  # queries, keys, size, value size: below, at and beyond a block of queries and a piece of keys
    (1, 1, 1, 1),
    (5, 7, 4, 3),
    (64, 16, 8, 16),
    (65, 17, 3, 5),
    (17, 130, 16, 8),
    (130, 70, 7, 33),
]


# ---- the op


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", ["none", "some", "keys", "heads", "bias", "number"])
def test_against_definition_and_composite(mask, causal, sizes, dtype):
    queries, keys, size, width = sizes
    arrays = [normal(2, 3, *shape, dtype=dtype) for shape in ((queries, size), (keys, size), (keys, width))]
    g, m = normal(2, 3, queries, width, dtype=dtype), masks(queries, keys, dtype)[mask]
    out, gradients = attend_and_differentiate(
        lambda q, k, v: corgi.scaled_dot_product_attention(q, k, v, m, causal=causal), arrays, g
    )
    wide = [x.astype(np.float64) for x in arrays]
    assert out.dtype == dtype and close(out, ORACLE.scaled_dot_product_attention(*wide, m, causal=causal), dtype)
    settings = (None if m is None else corgi.array(m).astype(bool if m.dtype == bool else "float64"), causal, size**-0.5)
    _, expected = attend_and_differentiate(lambda q, k, v: _core.attention_reference(q, k, v, None, settings), wide, g)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert close(ours, theirs, dtype, 10)


def test_rows_that_attend_to_nothing():
    q, k, v = (corgi.array(normal(3, 4, seed=i)).tracked() for i in range(3))
    mask = np.array([[True, False, True], [False] * 3, [True] * 3])
    for m in (mask, np.where(mask, 0.0, -np.inf)):
        for x in (q, k, v):
            x.gradient = None
        out = corgi.scaled_dot_product_attention(q, k, v, m)
        assert np.array_equal(out[1], np.zeros(4))
        out.backward()
        assert np.array_equal(q.gradient[1], np.zeros(4))
        assert not any(np.isnan(x.gradient).any() for x in (q, k, v))
        nothing = corgi.scaled_dot_product_attention(q, k, v, False)
        assert np.array_equal(nothing, np.zeros((3, 4)))
        assert all(np.array_equal(g, np.zeros((3, 4))) for g in _core.vjp_of([nothing], [q, k, v], [out]))


@pytest.mark.parametrize(
    "shapes", [((0, 4), (5, 4), (5, 3)), ((3, 4), (0, 4), (0, 3)), ((0, 2, 3, 4),) * 3, ((3, 4), (5, 4), (5, 0))]
)
def test_empty(shapes):
    arrays = [normal(*shape) for shape in shapes]
    expected = ORACLE.scaled_dot_product_attention(*arrays)
    out, gradients = attend_and_differentiate(corgi.scaled_dot_product_attention, arrays, np.ones(expected.shape))
    assert np.array_equal(out, expected)
    assert all(g.shape == x.shape and not np.any(g) for g, x in zip(gradients, arrays, strict=True) if x is not arrays[2])


def test_no_features_are_means():
    out = corgi.scaled_dot_product_attention(np.zeros((3, 0)), np.zeros((2, 0)), [[1.0], [3.0]])
    assert np.array_equal(out, np.full((3, 1), 2.0))


def test_causal_counts_from_the_first_key():
    v = np.arange(1.0, 5.0)[:, None]
    few = corgi.scaled_dot_product_attention(np.zeros((2, 1)), np.zeros((4, 1)), v, causal=True)
    assert np.allclose(few, [[1.0], [1.5]], rtol=1e-15)
    many = corgi.scaled_dot_product_attention(np.zeros((6, 1)), np.zeros((4, 1)), v, causal=True)
    assert np.allclose(many[:, 0], [1.0, 1.5, 2.0, 2.5, 2.5, 2.5], rtol=1e-15)


def test_large_scores_and_other_scales():
    q, k, v = normal(5, 4), normal(70, 4, seed=1), normal(70, 2, seed=2)
    for scale in (1e4, -1e4, -0.5, 0.0, 1e-300):
        for causal in (False, True):
            out = corgi.scaled_dot_product_attention(q, k, v, causal=causal, scale=scale)
            assert close(out, ORACLE.scaled_dot_product_attention(q, k, v, causal=causal, scale=scale), "float64")


def test_weights_of_the_backward_pass_sum_to_one_where_scores_are_large():
    q, k = 100 + normal(70, 4, dtype="float32"), 100 + normal(70, 4, dtype="float32", seed=1)
    v = corgi.array(normal(70, 3, dtype="float32")).tracked()
    corgi.scaled_dot_product_attention(q, k, v, scale=1.0).backward()  # scores of about 40000
    assert np.allclose(v.gradient.sum(0), np.full(3, 70.0), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity_stay_in_their_rows(dtype):
    q, k, v = (normal(3, 4, dtype=dtype, seed=i) for i in range(3))
    q[1, 2] = np.nan
    q[2] = np.inf
    out = corgi.scaled_dot_product_attention(q, k, v).numpy()
    assert np.isfinite(out[0]).all() and np.isnan(out[1:]).all()
    assert np.isnan(corgi.scaled_dot_product_attention(q, k, v, np.ones((3, 3), bool)).numpy()[1]).all()


def test_layouts():
    """Heads beside each other, transposed, broadcast and reversed operands are those of a copy."""
    base = normal(2, 9, 3, 4)
    x = corgi.array(base)
    heads = corgi.swapaxes(x, 1, 2)
    q, k, v = heads, corgi.array(base[:, ::-1].swapaxes(1, 2)), corgi.swapaxes(corgi.array(normal(2, 3, 5, 9)), 2, 3)
    out = corgi.scaled_dot_product_attention(q, k, v)
    assert close(out, ORACLE.scaled_dot_product_attention(*(np.asarray(a) for a in (q, k, v))), "float64")
    assert np.shares_memory(corgi.reshape(corgi.swapaxes(out, 1, 2), (2, 9, 15)).numpy(), out.numpy())
    assert np.array_equal(out, corgi.scaled_dot_product_attention(*(corgi.array(a.numpy().copy()) for a in (q, k, v))))
    wide = corgi.broadcast_to(corgi.array(base[:1, :, :1]), base.shape)
    wide = corgi.swapaxes(wide, 1, 2)
    assert close(
        corgi.scaled_dot_product_attention(wide, k, v), ORACLE.scaled_dot_product_attention(wide.numpy(), k, v), "float64"
    )


def test_gradients_of_views():
    base = normal(2, 6, 3, 4)
    x = corgi.array(base).tracked()
    y = corgi.swapaxes(x, 1, 2)
    g = normal(2, 3, 6, 4, seed=1)
    corgi.scaled_dot_product_attention(y, y * 2, y).backward(g)
    z = base.swapaxes(1, 2)
    _, parts = attend_and_differentiate(corgi.scaled_dot_product_attention, [z, 2 * z, z], g)
    assert close(x.gradient, (parts[0] + 2 * parts[1] + parts[2]).numpy().swapaxes(1, 2), "float64")


@pytest.mark.parametrize("mask", [None, "bool", "float"])
@pytest.mark.parametrize("causal", [False, True])
def test_differences_to_second_order(causal, mask):
    m = {None: None, "bool": np.arange(20).reshape(4, 5) % 3 > 0, "float": normal(4, 5, seed=9)}[mask]
    arrays = [corgi.array(normal(2, *shape)) for shape in ((4, 3), (5, 3), (5, 2))]
    function = lambda q, k, v: corgi.sum(corgi.sin(corgi.scaled_dot_product_attention(q, k, v, m, causal=causal)))  # noqa: E731
    assert corgi.check_gradient(function, *arrays, order=2) is None


def test_third_order():
    x = corgi.array(normal(3, 2))
    third = corgi.grad(lambda x: corgi.sum(corgi.grad(lambda x: corgi.sum(corgi.hvp(total, x, x)))(x) ** 2))
    total = lambda x: corgi.sum(corgi.scaled_dot_product_attention(x, x, x, causal=True) ** 3)  # noqa: E731
    assert np.isfinite(third(x)).all()


@pytest.mark.parametrize("shape", [(4, 5), (2, 1, 5), (4, 1), (), (5, 4)])
def test_a_tracked_mask_has_a_gradient(shape):
    arrays = [corgi.array(x) for x in (normal(2, 4, 3), normal(2, 5, 3), normal(2, 5, 2), normal(*shape))]
    turned = shape == (5, 4)

    def attention(q, k, v, m):
        return corgi.scaled_dot_product_attention(q, k, v, m.T if turned else m, causal=True)

    assert corgi.check_gradient(lambda *a: corgi.sum(corgi.sin(attention(*a))), *arrays, order=2) is None
    q, k, v, m = arrays
    assert np.array_equal(attention(q, k, v, m.copy().tracked()), attention(q, k, v, m))
    alone = corgi.grad(lambda m: corgi.sum(attention(q, k, v, m) ** 2))(m)
    among = corgi.grad(lambda *a: corgi.sum(attention(*a) ** 2), (0, 1, 2, 3))(*arrays)
    assert close(alone, among[3], "float64")
    assert (
        corgi.check_gradient(
            lambda x, m: corgi.sum(corgi.sin(_core.self_attention(x, 2, m))),
            corgi.array(normal(2, 4, 6)),
            m[..., :4].copy(),
            order=2,
        )
        is None
        if not turned and m.ndim and m.shape[-1] == 5
        else True
    )


@pytest.mark.parametrize("wanted", range(3))
def test_only_what_is_tracked(wanted):
    arrays = [corgi.array(normal(2, 70, 8, seed=i)) for i in range(3)]
    everything = corgi.grad(lambda *a: corgi.sum(corgi.scaled_dot_product_attention(*a) ** 2), (0, 1, 2))(*arrays)
    only = corgi.grad(lambda *a: corgi.sum(corgi.scaled_dot_product_attention(*a) ** 2), wanted)(*arrays)
    assert np.array_equal(only, everything[wanted])


def test_dtypes():
    q = corgi.array(normal(2, 3, dtype="float32"))
    assert corgi.scaled_dot_product_attention(q, q, q, normal(2, 2)).dtype == "float32"  # the mask follows
    assert corgi.scaled_dot_product_attention(q, q, normal(2, 3)).dtype == "float64"
    assert corgi.scaled_dot_product_attention([[1, 2]], [[3, 4]], [[5]]) == corgi.array([[5.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads(dtype):
    arrays = [normal(2, 4, 150, 24, dtype=dtype, seed=i) for i in range(4)]

    def run():
        out, gradients = attend_and_differentiate(
            lambda *a: corgi.scaled_dot_product_attention(*a, causal=True), arrays[:3], arrays[3]
        )
        return [x.numpy().copy() for x in (out, *gradients)]

    with corgi.num_threads(1):
        alone = run()
    for threads in (2, 3, 7):
        with corgi.num_threads(threads):
            assert all(np.array_equal(a, b) for a, b in zip(run(), alone, strict=True))


# ---- rows that hold all three


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape, heads", [((2, 5, 24), 2), ((70, 12), 4), ((2, 1, 3, 6), 1), ((0, 4, 6), 2), ((2, 0, 6), 2)])
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(causal, shape, heads, dtype):
    x, g = normal(*shape, dtype=dtype), normal(*shape[:-1], shape[-1] // 3, dtype=dtype, seed=1)
    out, (gradient,) = attend_and_differentiate(lambda x: _core.self_attention(x, heads, causal=causal), [x], g)
    settings = (None, causal, (shape[-1] / (3 * heads)) ** -0.5)
    expected, (slope,) = attend_and_differentiate(lambda x: _core.self_attention_reference(x, None, settings, heads), [x], g)
    assert out.shape == g.shape and close(out, expected, dtype) and close(gradient, slope, dtype, 10)
    if 0 not in shape:
        assert (
            corgi.check_gradient(
                lambda x: corgi.sum(corgi.sin(_core.self_attention(x, heads, causal=causal))),
                corgi.array(x[..., :4, :]),
                order=1,
            )
            is None
            if dtype == "float64"
            else True
        )


# ---- against PyTorch


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_op_against_torch(mask, causal):
    torch = pytest.importorskip("torch")
    if mask and causal:
        pytest.skip("PyTorch takes one or the other")
    arrays = [normal(2, 3, 70, 16, dtype="float32", seed=i) for i in range(4)]
    m = {None: None, "bool": normal(70, 70) > -1, "float": normal(70, 70, dtype="float32")}[mask]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays[:3]]
    expected = torch.nn.functional.scaled_dot_product_attention(
        *theirs, attn_mask=None if m is None else torch.tensor(m), is_causal=causal
    )
    expected.backward(torch.tensor(arrays[3]))
    out, gradients = attend_and_differentiate(
        lambda *a: corgi.scaled_dot_product_attention(*a, m, causal=causal), arrays[:3], arrays[3]
    )
    assert close(out, expected.detach().numpy(), "float32")
    for ours, x in zip(gradients, theirs, strict=True):
        assert close(ours, x.grad.numpy(), "float32", 3)


def exchange(ours, theirs):
    """Give a layer the parameters of PyTorch's, by name."""
    values = {name: p.detach().numpy() for name, p in theirs.named_parameters()}
    assert set(values) == set(ours.named_parameters())
    for name, p in ours.named_parameters().items():
        corgi.assign(p, values[name])


def compare_updates(ours, theirs, loss, their_loss, rate=0.1):
    """One step of gradient descent in both gives the same gradients and parameters."""
    torch = pytest.importorskip("torch")
    loss.backward()
    their_loss.backward()
    for name, p in theirs.named_parameters():
        gradient = ours.named_parameters()[name].gradient
        assert np.allclose(gradient, p.grad.numpy(), rtol=1e-9, atol=1e-10), name
    torch.optim.SGD(theirs.parameters(), rate).step()
    corgi.optimizer.GradientDescent(rate).step(ours.parameters())
    for name, p in theirs.named_parameters():
        assert np.allclose(ours.named_parameters()[name], p.detach().numpy(), rtol=1e-9, atol=1e-11), name


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["self", "causal", "cross", "lengths"])
def test_multi_head_attention_against_torch(kind, bias):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.MultiheadAttention(12, 3, bias=bias, batch_first=True, dtype=torch.float64)
    ours = MultiHeadAttention(12, 3, causal=kind == "causal", bias=bias)
    if bias:
        torch.nn.init.normal_(theirs.in_proj_bias)
    exchange(ours, theirs)
    x, memory, lengths = normal(4, 6, 12), normal(4, 9, 12, seed=1), np.array([9, 1, 4, 8])
    tx, tm = torch.tensor(x), torch.tensor(memory)
    options = {"attn_mask": torch.ones(6, 6).triu(1).bool(), "is_causal": True} if kind == "causal" else {}
    if kind == "lengths":
        options["key_padding_mask"] = torch.arange(9) >= torch.tensor(lengths)[:, None]
    other = tm if kind in ("cross", "lengths") else tx
    expected, _ = theirs(tx, other, other, need_weights=False, **options)
    out = ours(x, memory if kind in ("cross", "lengths") else None, lengths=lengths if kind == "lengths" else None)
    assert np.allclose(out, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    compare_updates(ours, theirs, corgi.sum(out * out), (expected * expected).sum())


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("causal", [False, True])
def test_block_against_torch(causal, norm_first):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.TransformerEncoderLayer(
        12, 3, 20, 0.0, "gelu", batch_first=True, norm_first=norm_first, dtype=torch.float64
    )
    ours = TransformerBlock(12, 3, 20, causal=causal, norm_first=norm_first)
    exchange(ours, theirs)
    x = normal(4, 6, 12)
    mask = torch.nn.Transformer.generate_square_subsequent_mask(6, dtype=torch.float64) if causal else None
    expected = theirs(torch.tensor(x), mask, is_causal=causal)
    out = ours(x)
    assert np.allclose(out, expected.detach().numpy(), rtol=1e-9, atol=1e-11)
    compare_updates(ours, theirs, corgi.sum(out * out), (expected * expected).sum())


# ---- layers


def test_cross_attention_to_itself_is_self_attention():
    layer = MultiHeadAttention(8, 2)
    x = corgi.array(normal(3, 5, 8))
    assert close(layer(x), layer(x, x), "float64")
    mask = np.arange(25).reshape(5, 5) % 3 > 0
    assert close(layer(x, None, mask, lengths=[5, 2, 3]), layer(x, x, mask, lengths=[5, 2, 3]), "float64")
    soft = np.where(mask, 0.0, -np.inf)
    assert close(layer(x, None, mask, lengths=[5, 2, 3]), layer(x, x, soft, lengths=[5, 2, 3]), "float64")


def test_lengths_hide_padding():
    layer = MultiHeadAttention(8, 2)
    x = normal(2, 5, 8)
    out = layer(x, lengths=[5, 3])
    x[1, 3:] = 1000.0
    assert np.array_equal(layer(x, lengths=[5, 3])[0], out[0]) and close(
        layer(x, lengths=[5, 3])[1, :3], out[1, :3], "float64"
    )
    assert close(layer(x[1, :3]), out[1, :3], "float64")


def test_causal_does_not_look_ahead():
    layer = TransformerBlock(8, 2, causal=True)
    x = normal(2, 7, 8)
    out = layer(x)
    x[:, 4:] += 1
    assert close(layer(x)[:, :4], out[:, :4], "float64") and not np.allclose(layer(x)[:, 4:], out[:, 4:])


@pytest.mark.parametrize("make", [lambda: MultiHeadAttention(6, 2), lambda: TransformerBlock(6, 2, 5, activation="tanh")])
def test_layer_gradients(make):
    layer = make()
    x = corgi.array(normal(2, 3, 6))
    assert corgi.check_gradient(lambda x: corgi.sum(corgi.sin(layer(x))), x, order=2) is None
    parameters = list(layer.named_parameters().values())
    layer(x).backward(np.ones((2, 3, 6)))
    for p in parameters:
        analytic, start = p.gradient.numpy(), p.numpy().copy()
        direction = normal(*p.shape, seed=3)
        values = []
        for step in (1e-6, -1e-6):
            corgi.assign(p, start + step * direction)
            values.append(layer(x).sum().item())
        corgi.assign(p, start)
        assert math.isclose((values[0] - values[1]) / 2e-6, (analytic * direction).sum(), rel_tol=1e-6, abs_tol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_dtypes(dtype):
    layer = TransformerBlock(6, 2, dtype=dtype)
    assert {p.dtype.name for p in layer.parameters()} == {dtype}
    assert layer(np.zeros((3, 6)).tolist()).dtype == dtype
    assert len(layer.parameters()) == 12 and len(TransformerBlock(6, 2, bias=False).parameters()) == 8


def test_dropout_in_training_alone():
    corgi.seed(3)
    block, x = TransformerBlock(6, 2, dropout=0.5), corgi.array(normal(2, 3, 6))
    assert not np.array_equal(block(x), block(x))
    block.eval()
    assert np.array_equal(block(x), block(x))


def test_positions():
    layer = PositionalEncoding(5)
    out = layer(np.zeros((2, 40, 5))).numpy()
    for t in (0, 1, 39):
        for i in range(5):
            angle = t / 10000 ** (2 * (i // 2) / 5)
            assert math.isclose(out[1, t, i], math.cos(angle) if i % 2 else math.sin(angle), rel_tol=1e-12, abs_tol=1e-15)
    assert layer(corgi.zeros((3, 5), "float32")).dtype == "float32" and np.allclose(layer(np.zeros((50, 5)))[:40], out[0])
    assert np.allclose(layer(np.ones((2, 3, 5), int)), 1 + out[:, :3])
    learned = PositionalEmbedding(4, 3)
    x = normal(2, 3, 3)
    assert np.array_equal(learned(x), x + learned.weight[:3].numpy())
    learned(x).backward()
    assert np.array_equal(learned.weight.gradient, [[2.0] * 3] * 3 + [[0.0] * 3])


ALL = [MultiHeadAttention(6, 2), TransformerBlock(6, 2), PositionalEncoding(6), PositionalEmbedding(9, 6)]


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: type(layer).__name__)
def test_copies(layer):
    x = corgi.array(normal(2, 3, 6))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(other) == repr(layer) and np.array_equal(other(x), layer(x))


def test_repr():
    assert (
        repr(MultiHeadAttention(6, 2, causal=True, dtype="float32"))
        == "MultiHeadAttention(6, 2, causal=True, dtype=float32)"
    )
    assert repr(TransformerBlock(6, 2, norm_first=False)) == "TransformerBlock(6, 2, 24, norm_first=False)"
    assert (
        repr(PositionalEmbedding(9, 6)) == "PositionalEmbedding(9, 6)"
        and repr(PositionalEncoding(6)) == "PositionalEncoding(6)"
    )


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: MultiHeadAttention(6, 4), ValueError, "MultiHeadAttention: expected heads that divide the size 6, got 4"),
        (lambda: MultiHeadAttention(6.0, 2), TypeError, "MultiHeadAttention: expected an int for size, got float"),
        (lambda: TransformerBlock(6, 4), ValueError, "MultiHeadAttention: expected heads that divide the size 6, got 4"),
        (lambda: ALL[0](np.zeros((3, 5))), ValueError, r"expected an input \(\.\.\., steps, 6\), got shape \(3, 5\)"),
        (
            lambda: ALL[0](np.zeros((3, 6)), np.zeros(6)),
            ValueError,
            r"expected a memory \(\.\.\., steps, 6\), got shape \(6,\)",
        ),
        (lambda: ALL[0](np.zeros((3, 6)), lengths=[1.5]), TypeError, "expected ints for lengths, got float64"),
        (lambda: ALL[0](np.zeros((1, 3, 6)), lengths=[4]), ValueError, r"expected lengths from 0 to 3, got \[4\]"),
        (
            lambda: ALL[0](np.zeros((2, 3, 6)), lengths=[1, 2, 3]),
            ValueError,
            "self_attention: expected a mask that broadcasts",
        ),
        (lambda: ALL[2](np.zeros((3, 5))), ValueError, r"PositionalEncoding: expected an input \(\.\.\., steps, 6\)"),
        (
            lambda: ALL[3](np.zeros((10, 6))),
            ValueError,
            r"PositionalEmbedding: expected an input \(\.\.\., steps, 6\) of up to 9",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
