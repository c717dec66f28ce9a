"""Recurrent ops and layers: against their composites, plain NumPy, PyTorch where it is installed, and differences."""

import itertools

import numpy as np
import pytest

import corgi
from corgi import _core, initializer
from corgi.layer import GRU, LSTM, RNN

from .ops import recurrent as by_definition

KINDS = {"tanh": (0, 1), "relu": (1, 1), "lstm": (2, 4), "gru": (3, 3)}  # number in the kernels, gates
LAYERS = {"tanh": RNN, "relu": RNN, "lstm": LSTM, "gru": GRU}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
NAMES = ("x", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "h", "c")


def normal(*shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).standard_normal(shape) * scale


def operands(kind, batch=3, steps=5, inputs=2, hidden=4, dtype="float64", given=NAMES):
    """Arrays for the op, time second, tracked; None for what is not given."""
    gates = KINDS[kind][1] * hidden
    shapes = ((batch, steps, inputs), (gates, inputs), (gates, hidden), (gates,), (gates,), (batch, hidden), (batch, hidden))
    given = [name for name in given if name != "c" or kind == "lstm"]
    return [
        corgi.array(normal(*shape, seed=i, scale=0.5 if i != 2 else 0.7 * hidden**-0.5), dtype).tracked()
        if name in given
        else None
        for i, (name, shape) in enumerate(zip(NAMES, shapes, strict=True))
    ]


def run(kind, x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, h=None, c=None, **options):
    """The op, its results in one list: output, h, and c of an LSTM."""
    weights = (x, weight_ih, weight_hh, bias_ih, bias_hh)
    if kind == "lstm":
        output, state = corgi.lstm(*weights, None if h is None else (h, c), **options)
        return [output, *state]
    if kind == "gru":
        return list(corgi.gru(*weights, h, **options))
    return list(corgi.rnn(*weights, h, kind, **options))


def values(arrays):
    return [None if a is None else np.asarray(a.detach()).astype(float) for a in arrays]


def close(found, expected, tolerance=1e-12):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def weighted(results, seed=10):
    """A number that depends on everything in the results."""
    return sum((r * normal(*r.shape, seed=seed + i)).sum() for i, r in enumerate(results))


def gradients(arrays):
    return [a.take_gradient() for a in arrays if a is not None]


# ---- the ops


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 0, 3]])
@pytest.mark.parametrize("given", [NAMES, NAMES[:5], NAMES[:3], ("x", "weight_ih", "weight_hh", "bias_hh", "h", "c")])
def test_values(kind, dtype, reverse, lengths, given):
    arrays = operands(kind, dtype=dtype, given=given)
    found = run(kind, *arrays, lengths=lengths, reverse=reverse)
    assert {str(f.dtype) for f in found} == {dtype}
    floats = [
        0 if v is None and name in ("bias_ih", "bias_hh") else v for name, v in zip(NAMES, values(arrays), strict=True)
    ]
    close(found, by_definition(kind, *floats, lengths=lengths, reverse=reverse), TOLERANCE[dtype])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 7, 5, 3), (70, 9, 3, 33), (5, 1, 4, 16), (17, 40, 3, 64), (1, 20, 4, 16)]
)
def test_kernels_against_the_composite(kind, shape):
    """Values and gradients; the largest are split over threads."""
    lengths = np.random.default_rng(0).integers(0, shape[1] + 1, shape[0])
    for reverse, some in itertools.product((False, True), (None, lengths)):
        arrays = operands(kind, *shape)
        results = run(kind, *arrays, lengths=some, reverse=reverse)
        weighted(results).backward()
        found = gradients(arrays)
        x = arrays[0].transpose(1, 0, 2)
        if some is not None:
            mask = np.arange(shape[1])[:, None, None] < some[:, None]
            x = corgi.where(mask, x, 0.0)
        states = _core._unroll_reference(x, *arrays[1:], KINDS[kind][0], some, reverse)
        outputs = states[: shape[1]] if some is None else corgi.where(mask, states[: shape[1]], 0.0)
        expected = [outputs.transpose(1, 0, 2), states[0 if reverse else shape[1] - 1], states[-1]]
        close(results, expected[: len(results)], 1e-11)
        weighted(expected[: len(results)]).backward()
        close(found, gradients(arrays), 1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [None, [4, 0, 2]])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_to_second_order(kind, lengths, reverse):
    arrays = [a for a in operands(kind, steps=4, hidden=2) if a is not None]
    corgi.check_gradient(lambda *a: weighted(run(kind, *a, lengths=lengths, reverse=reverse)), *arrays, order=2)


@pytest.mark.parametrize("kind", KINDS)
def test_third_order(kind):
    x, *weights = (a.detach() for a in operands(kind, 1, 3, 2, 2, given=NAMES[:3]) if a is not None)

    def second(w):
        return corgi.grad(lambda v: corgi.sum(corgi.grad(lambda u: run(kind, x, weights[0], u)[0].sum())(v) ** 2))(w)

    corgi.check_gradient(lambda w: (second(w) * normal(*w.shape, seed=9)).sum(), weights[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
def test_each_result_alone_has_its_gradients(kind, reverse):
    count = 3 if kind == "lstm" else 2
    for which in range(count):
        arrays = [a for a in operands(kind, 2, 3, 2, 2) if a is not None]
        corgi.check_gradient(lambda *a, k=which: weighted([run(kind, *a, reverse=reverse)[k]]), *arrays)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", NAMES)
def test_a_single_tracked_operand(kind, wanted):
    every = operands(kind)
    weighted(run(kind, *every)).backward()
    expected = dict(zip(NAMES, [None if a is None else a.gradient for a in every], strict=True))[wanted]
    if expected is None:
        return
    one = [a if a is None or name == wanted else a.detach() for name, a in zip(NAMES, operands(kind), strict=True)]
    weighted(run(kind, *one)).backward()
    assert (one[NAMES.index(wanted)].gradient == expected).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_beyond_the_lengths_does_not_matter(kind):
    """Not even a NaN, which times 0 would be one."""
    arrays = operands(kind)
    lengths = [3, 5, 0]
    found = []
    for beyond in (0.0, np.nan, np.inf):
        x = values(arrays)[0]
        x[0, 3:], x[2] = beyond, beyond
        arrays[0] = corgi.array(x).tracked()
        results = run(kind, *arrays, lengths=lengths)
        weighted(results).backward()
        found.append([*results, *gradients(arrays)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.array_equal(a, b)
    output, gradient = found[0][0], found[0][-7 if kind == "lstm" else -6]
    assert (output[0, 3:] == 0).all() and (output[2] == 0).all()
    assert (gradient[0, 3:] == 0).all() and (gradient[2] == 0).all() and (gradient[1] != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nan_is_passed_on(kind):
    x = normal(2, 4, 2)
    x[0, 1] = np.nan
    arrays = operands(kind, 2, 4)
    output = run(kind, corgi.array(x), *arrays[1:])[0].numpy()
    assert np.isfinite(output[0, 0]).all() and np.isnan(output[0, 1:]).all() and np.isfinite(output[1]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("shape", [(0, 4, 2, 3), (3, 0, 2, 3), (0, 0, 2, 3), (2, 3, 0, 3)])
@pytest.mark.parametrize("given", [NAMES, NAMES[:3]])
def test_empty(kind, shape, given, reverse):
    arrays = operands(kind, *shape, given=given)
    results = run(kind, *arrays, reverse=reverse)
    floats = [
        0 if v is None and name in ("bias_ih", "bias_hh") else v for name, v in zip(NAMES, values(arrays), strict=True)
    ]
    close(results, by_definition(kind, *floats, reverse=reverse))
    loss = weighted(results)
    if not loss.is_tracked:  # a state that was not given, after no steps
        assert shape[1] == 0 and given != NAMES
        return
    loss.backward()
    for a in arrays:
        if a is not None and a.gradient is not None:
            assert np.isfinite(a.gradient.numpy()).all()


@pytest.mark.parametrize("kind", KINDS)
def test_operands_that_are_not_contiguous(kind):
    arrays = operands(kind)
    expected = run(kind, *arrays)
    turned = [None if a is None else corgi.array(np.asarray(a.detach()).T.copy()).transpose() for a in arrays]
    close(run(kind, *turned), expected, 0)
    reverse = [None if a is None else corgi.array(np.asarray(a.detach())[::-1].copy())[::-1] for a in arrays]
    close(run(kind, *reverse), expected, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_one_series(kind):
    arrays = operands(kind, batch=1)
    expected = run(kind, *arrays)
    alone = [a if a is None or i in (1, 2, 3, 4) else a[0] for i, a in enumerate(arrays)]
    found = run(kind, *alone)
    assert found[0].shape == (5, 4) and found[1].shape == (4,)
    close(found, [e[0] for e in expected], 0)
    close(run(kind, *alone, lengths=[3]), [e[0] for e in run(kind, *arrays, lengths=[3])], 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_do_not_change_a_bit(kind, dtype):
    found = []
    for threads in (1, 2, 3):
        with corgi.num_threads(threads):
            arrays = operands(kind, 67, 20, 24, 96, dtype)
            results = run(kind, *arrays, lengths=np.arange(67) % 21)
            weighted(results).backward()
            found.append([*results, *gradients(arrays)])
    for other in found[1:]:
        assert all((a == b).all() for a, b in zip(found[0], other, strict=True))


def test_dtypes_are_promoted():
    arrays = operands("gru", dtype="float32")
    arrays[1] = corgi.array(values(arrays)[1]).tracked()
    results = run("gru", *arrays)
    assert results[0].dtype == "float64"
    weighted(results).backward()
    assert [str(g.dtype) for g in gradients(arrays)] == ["float32", "float64", "float32", "float32", "float32", "float32"]
    assert corgi.rnn([[1, 2]], [[1, 1]], [[1]])[0].dtype == "float64"


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_can_be_walked_twice(kind):
    arrays = operands(kind)
    loss = weighted(run(kind, *arrays))
    loss.backward()
    first = gradients(arrays)
    loss.backward()
    assert all((a == b).all() for a, b in zip(first, gradients(arrays), strict=True))


def test_nothing_is_left_in_memory():
    arrays = operands("lstm", 8, 30, 4, 16)

    def step():
        weighted(run("lstm", *arrays, lengths=[30] * 8)).backward()
        gradients(arrays)
        return corgi.memory.stats()["in_use"]

    step()
    assert step() == step()


# ---- layers


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_a_step_at_a_time(kind):
    layer = make(kind, 3, 4, num_layers=2)
    x = corgi.array(normal(2, 6, 3))
    expected, last = layer.run(x)
    state = None
    for t in range(6):
        output, state = layer.step(x[:, t], state)
        close([output], [expected[:, t]])
    close(state if kind == "lstm" else [state], last if kind == "lstm" else [last])
    output, state = layer.step(x[0, 0])
    assert output.shape == (4,) and (state.h if kind == "lstm" else state).shape == (2, 4)
    close([output], [expected[0, 0]])


def make(kind, inputs, hidden, **options):
    if LAYERS[kind] is RNN:
        options["activation"] = kind
    return LAYERS[kind](inputs, hidden, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_and_directions(kind, bidirectional):
    """Two layers are the op four times, or twice."""
    layer = make(kind, 3, 4, num_layers=2, bidirectional=bidirectional)
    x, lengths = corgi.array(normal(3, 6, 3)), [6, 2, 0]
    outputs, finals, below = [], [], x
    for n in range(2):
        parts = []
        for suffix in ("", "_reverse")[: 1 + bidirectional]:
            parameters = [getattr(layer, f"{name}_l{n}{suffix}") for name in NAMES[1:5]]
            parts.append(run(kind, below, *parameters, lengths=lengths, reverse=suffix != ""))
        below = corgi.concatenate([p[0] for p in parts], -1)
        outputs.append(below)
        finals += parts
    output, state = layer.run(x, lengths=lengths)
    close([output], [below])
    assert (layer(x, lengths=lengths) == output).all()
    hs = state.h if kind == "lstm" else state
    close(list(hs), [f[1] for f in finals])
    layer.return_sequences = False
    close([layer(x, lengths=lengths)], [corgi.concatenate([f[1] for f in finals[-len(parts) :]], -1)])


def test_dropout_between_layers():
    corgi.seed(3)
    layer, x = LSTM(3, 40, num_layers=2, dropout=0.5), corgi.array(normal(4, 6, 3))
    first, second = ([getattr(layer, f"{name}_l{n}") for name in NAMES[1:5]] for n in (0, 1))
    corgi.seed(5)
    found = layer(x)
    corgi.seed(5)
    dropped = corgi.dropout(corgi.lstm(x, *first)[0], 0.5)
    assert 0.4 < (dropped == 0).mean().item() < 0.6
    close([found], [corgi.lstm(dropped, *second)[0]])
    assert (layer(x) != found).any()
    layer.eval()
    close([layer(x)], [corgi.lstm(corgi.lstm(x, *first)[0], *second)[0]])


def test_parameters_have_pytorchs_names_and_shapes():
    layer = LSTM(3, 4, num_layers=2, bidirectional=True, dtype="float32")
    shapes = {name: p.shape for name, p in layer.named_parameters().items()}
    expected = {}
    for n, inputs in enumerate((3, 8)):
        for suffix in ("", "_reverse"):
            expected |= {f"weight_ih_l{n}{suffix}": (16, inputs), f"weight_hh_l{n}{suffix}": (16, 4)}
            expected |= {f"bias_ih_l{n}{suffix}": (16,), f"bias_hh_l{n}{suffix}": (16,)}
    assert shapes == expected and list(shapes) == list(expected)
    assert {str(p.dtype) for p in layer.parameters()} == {"float32"}
    assert len(GRU(3, 4, bias=False).parameters()) == 2


def test_initializers():
    corgi.seed(0)
    layer = GRU(40, 50)
    bound = 50**-0.5
    for p in layer.parameters():
        assert abs(p.numpy()).max() <= bound and abs(p.numpy()).max() > 0.9 * bound
    layer = LSTM(5, 6, initializer.he(), recurrent_initializer=initializer.orthogonal(), forget_bias=1.0)
    for gate in layer.weight_hh_l0.numpy().reshape(4, 6, 6):
        np.testing.assert_allclose(gate @ gate.T, np.eye(6), atol=1e-12)
    assert layer.bias_ih_l0.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12 and (layer.bias_hh_l0 == 0).all()
    assert layer.bias_ih_l0.is_tracked


def test_truncated_backpropagation():
    """Detached states hand on values alone: the gradient is that of each piece by itself."""
    layer, x = LSTM(2, 3), corgi.array(normal(2, 8, 2))
    whole = layer(x)
    _, state = layer.run(x[:, :4])
    state = state.detach()
    assert not state.h.is_tracked
    second, _ = layer.run(x[:, 4:], state)
    close([second], [whole[:, 4:]])
    second.sum().backward()
    found = gradients(layer.parameters())
    again, _ = layer.run(x[:, 4:], (state.h, state.c))
    again.sum().backward()
    assert all((a == b).all() for a, b in zip(found, gradients(layer.parameters()), strict=True))


def test_in_a_model():
    corgi.seed(0)
    layers = [GRU(1, 8, return_sequences=False), corgi.layer.Dense(8, 1)]
    model = corgi.Model(layers, corgi.optimizer.Adam(0.02), corgi.cost.mse)
    x = normal(64, 6, 1)
    for _ in range(150):
        model.forward(x)
        loss = model.backward(x.sum(1))
        model.update()
    assert loss < 0.05
    assert "GRU(1, 8, return_sequences=False)" in repr(model)


# ---- PyTorch


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [None, [7, 3, 1, 5]])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}]
)
def test_pytorch(kind, options, lengths, dtype):
    """Same weights in, same outputs, states, gradients and updated weights out."""
    torch = pytest.importorskip("torch")
    layer = make(kind, 3, 5, dtype=dtype, **options)
    name = "RNN" if kind in ("tanh", "relu") else kind.upper()
    extra = {"nonlinearity": kind} if name == "RNN" else {}
    other = getattr(torch.nn, name)(3, 5, batch_first=True, dtype=getattr(torch, dtype), **options, **extra)
    other.load_state_dict({key: torch.tensor(p.numpy()) for key, p in layer.named_parameters().items()})
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    x, h, c = normal(4, 7, 3), normal(count, 4, 5, seed=1), normal(count, 4, 5, seed=2)
    mine = [corgi.array(a, dtype).tracked() for a in (x, h, c)]
    theirs = [torch.tensor(a, dtype=getattr(torch, dtype), requires_grad=True) for a in (x, h, c)]
    output, state = layer.run(mine[0], (mine[1], mine[2]) if kind == "lstm" else mine[1], lengths=lengths)
    given = theirs[0]
    if lengths is not None:
        given = torch.nn.utils.rnn.pack_padded_sequence(given, lengths, batch_first=True, enforce_sorted=False)
    expected, final = other(given, (theirs[1], theirs[2]) if kind == "lstm" else theirs[1])
    if lengths is not None:
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True, total_length=7)
    results, wanted = [output, *(state if kind == "lstm" else [state])], [expected, *(final if kind == "lstm" else [final])]
    tolerance = {"float64": 1e-10, "float32": 1e-4}[dtype]
    close(results, [w.detach().numpy() for w in wanted], tolerance)
    sum((r * normal(*r.shape, seed=5)).sum() for r in results).backward()
    sum((w * torch.tensor(normal(*w.shape, seed=5), dtype=w.dtype)).sum() for w in wanted).backward()
    used = 3 if kind == "lstm" else 2
    close([a.gradient for a in mine[:used]], [t.grad.numpy() for t in theirs[:used]], tolerance)
    parameters = dict(other.named_parameters())
    assert list(parameters) == list(layer.named_parameters())
    for key, p in layer.named_parameters().items():
        close([p.gradient], [parameters[key].grad.numpy()], tolerance)
    corgi.optimizer.GradientDescent(0.1).step(layer.parameters())
    torch.optim.SGD(other.parameters(), 0.1).step()
    for key, p in layer.named_parameters().items():
        close([p], [parameters[key].detach().numpy()], tolerance)
