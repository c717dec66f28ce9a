"""corgi.debug: who made a NaN, which parameters have no gradient; the warnings of growing graphs and unused parameters."""

import gc
import pathlib
import pickle
import re
import threading
import warnings

import numpy as np
import pytest

import corgi
from corgi import GraphGrowthWarning, Model, arr, cost
from corgi._core import observe, recorded_operations
from corgi.debug import NonFiniteError, detect_nan, gradients, unused_parameters
from corgi.layer import Dense, Layer
from corgi.optimizer import Adam, GradientDescent

FILE = pathlib.Path(__file__).name
NAN, INF = float("nan"), float("inf")


def found_in(function, **options):
    """The error that a function meets inside detect_nan."""
    with pytest.raises(NonFiniteError) as caught, detect_nan(**options):
        function()
    return caught.value


def line_of(error):
    """The line of this file that the error names."""
    assert f"at {error.line}" in str(error)
    file, number = error.line.rsplit(":", 1)
    assert pathlib.Path(file).name == FILE
    return pathlib.Path(__file__).read_text().splitlines()[int(number) - 1]


# ---- forward


@pytest.mark.parametrize(
    "name, function, what",
    [
        ("log", lambda x, huge: corgi.log(x - 2.0), "NaN, 2 of 4 values"),
        ("divide", lambda x, huge: x / (x - x), "NaN, 1 of 4 values"),
        ("exp", lambda x, huge: corgi.exp(x * 1000.0), "infinity, 3 of 4 values"),
        ("sum", lambda x, huge: (x * (huge / 4)).sum(), "infinity, 1 of 1 values"),
        ("matmul", lambda x, huge: (x * (huge / 4)) @ (x + 1.0), "infinity, 1 of 1 values"),
        ("arccos", lambda x, huge: corgi.arccos(x[::2] * 3.0), "NaN, 1 of 2 values"),
        ("power", lambda x, huge: (x - 10.0) ** 0.3, "NaN, 4 of 4 values"),
        ("prod", lambda x, huge: (x + huge / 4).prod(), "infinity, 1 of 1 values"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_operation_that_made_it(name, function, what, dtype):
    x = corgi.arange(0, 4, 1, dtype).tracked()
    error = found_in(lambda: function(x, float(np.finfo(dtype).max)))
    assert (error.op, error.phase, error.layer_path) == (name, "forward", "")
    assert str(error).startswith(f"{name}: made {what} of the result, from operands that hold none: {dtype} (")


def test_layer_line_and_operands():
    class Root(Layer):
        def __init__(self):
            self.dense = Dense(2, 3)

        def forward(self, x):
            return corgi.sqrt(self.dense(x) * 0.0 - 1.0)  # the culprit

    model = Model([Dense(4, 2), Root(), Dense(3, 1)], GradientDescent(0.1), cost.mse)
    for call in (
        lambda: model(corgi.ones((5, 4))),
        lambda: model.forward(corgi.ones((5, 4))),
        lambda: model.fit(corgi.ones((5, 4)), corgi.ones((5, 1))),
    ):
        error = found_in(call)
        assert (error.op, error.layer_path) == ("sqrt", "Model > layers.1 (Root)")
        assert line_of(error).endswith("# the culprit")
        assert "float64 (5, 3) -1; at" in str(error) and not hasattr(error, "__notes__")
    assert observe(None) is None


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_an_operand_that_holds_one_already(value):
    model = Model([Dense(2, 3), Dense(3, 2)])
    kind = "NaN" if value != value else "infinity"
    bad = arr([[1.0, value], [2.0, 3.0]])
    error = found_in(lambda: model(bad))
    assert str(error).startswith(f"dense: the operand (2, 2), not tracked, already holds {kind}, 1 of 4 values; at ")
    assert error.layer_path == "Model > layers.0 (Dense)"
    corgi.assign(model.layers[1].bias, [value, 0.0])
    error = found_in(lambda: model(corgi.ones((2, 2))))
    assert "dense: the parameter 'layers.1.bias' of Model, (2,), already holds " + kind in str(error)
    leaf = arr([value]).tracked()
    for function in (lambda: leaf + 1.0, lambda: corgi.concatenate([leaf, leaf]), lambda: corgi.where(True, leaf, 0.0)):
        assert f"the operand (1,), tracked, already holds {kind}" in str(found_in(function))
    made = leaf * 1.0
    assert f"the operand (1,), tracked, already holds {kind}" in str(found_in(made.sum))


def test_an_operand_made_inside_is_named_with_its_line():
    x = arr([0.0, 1.0]).tracked()
    with detect_nan(infinity=False):
        logs = corgi.log(x)  # where it comes from
        with pytest.raises(NonFiniteError) as caught, detect_nan():
            logs * 2.0
    assert "the operand (2,), tracked, already holds infinity, 1 of 2 values" in str(caught.value)


def test_infinities_on_purpose():
    scores = corgi.zeros((2, 2)).tracked()
    mask = arr([[True, False], [True, True]])

    def attention():
        return corgi.softmax(corgi.where(mask, scores, -INF))

    with detect_nan(infinity=False):
        assert attention().tolist() == [[1.0, 0.0], [0.5, 0.5]]
        attention().backward(scores + 1.0)
        corgi.log(scores).sum()
    assert found_in(attention).op == "where"
    assert found_in(lambda: corgi.where(mask, scores, -INF) * 0.0, infinity=False).op == "multiply"


@pytest.mark.parametrize(
    "name, function",
    [
        ("log", lambda: corgi.log(arr([1.0, -1.0]))),
        ("divide", lambda: arr([1.0, 0.0]) / arr([1.0, 0.0])),
        ("exp", lambda: corgi.exp(corgi.full((3, 1), 1000.0) * corgi.ones(2))),
        ("matmul", lambda: corgi.full((2, 2), 1e200) @ corgi.full((2, 2), 1e200)),
        ("sum", lambda: corgi.full(3, 1e308).sum()),
        ("dense", lambda: corgi.dense(corgi.full((2, 2), 1e200), corgi.full((2, 2), 1e200), [0.0, 0.0], "relu")),
        ("conv", lambda: corgi.conv(corgi.full((1, 2, 2), 1e200), corgi.full((1, 1, 1, 1), 1e200), bias=[0.0])),
        ("norm", lambda: corgi.layer_norm(corgi.array([[3e38, -3e38, 3e38, -3e38]], "float32"))),
        ("rnn", lambda: corgi.rnn(corgi.ones((1, 2, 1)), [[1e308]], [[1e308]], activation="relu")),
        ("scaled_dot_product_attention", lambda: corgi.scaled_dot_product_attention(*[corgi.full((2, 2), 1e200)] * 3)),
    ],
)
def test_operations_that_are_not_recorded(name, function):
    error = found_in(function)
    assert (error.op, error.phase) == (name, "forward") and "lambda" in line_of(error)
    with corgi.no_tracking():
        assert found_in(function).op == name


def test_inference_is_checked():
    model = Model([Dense(2, 2), lambda x: corgi.sqrt(x * 0.0 - 1.0), Dense(2, 2)])
    assert found_in(lambda: model.predict(corgi.ones((3, 2)))).op == "sqrt"
    corgi.assign(model.layers[0].weight, corgi.full((2, 2), NAN))
    assert "dense: the parameter 'layers.0.weight' of Model" in str(found_in(lambda: model.predict(corgi.ones((3, 2)))))


# ---- backward


def test_the_backward_pass_names_the_operation_and_where_it_was_called():
    x = arr([4.0, 0.0]).tracked()

    def loss():
        root = corgi.sqrt(x)  # the culprit
        return root.sum()

    error = found_in(lambda: loss().backward())
    assert (error.op, error.phase) == ("sqrt", "backward") and line_of(error).endswith("# the culprit")
    assert str(error).startswith(
        "backward of sqrt: made infinity, 1 of 2 values of the cotangent of its operand, (2,), from"
    )
    assert x.gradient is None

    class Root(Layer):
        def forward(self, x):
            return corgi.sqrt(x)

    error = found_in(lambda: Model([Model([Root()])])(x).sum().backward())
    assert error.layer_path == "Model > layers.0.layers.0 (Root)"
    error = found_in(lambda: (x * corgi.sqrt(x * 0.0)).sum().backward(), infinity=False)
    assert error.op == "sqrt" and "made NaN, 1 of 2 values" in str(error)


def test_backward_of_fused_and_recorded_passes():
    x = arr([1.0, 0.0]).tracked()
    error = found_in(lambda: corgi.sqrt(x).sum().backward(create_graph=True))
    assert (error.op, error.phase) == ("sqrt", "backward")
    assert found_in(lambda: corgi.grad(lambda v: corgi.sqrt(v))(0.0)).op == "sqrt"
    assert found_in(lambda: corgi.hessian(lambda v: v**1.5)(0.0)).phase == "backward"
    huge = arr([[1e200, 1e200]], "float64").tracked()
    weight = corgi.full((1, 2), 1e-200).tracked()
    error = found_in(lambda: (corgi.dense(huge, weight) * 1e200).sum().backward())
    assert (error.op, error.phase) == ("dense", "backward") and "operand 1" in str(error)
    custom = corgi.op(lambda x: x * 1.0, lambda arrays, tracked, delta: [delta * NAN])
    error = found_in(lambda: custom(x).sum().backward())
    assert error.phase == "backward" and error.op == "<lambda>"


def test_sums_of_cotangents_are_checked():
    x = corgi.full(100, 1e308).tracked()

    def backward():
        (x * 1.0e308 * 1e-308 + x * 1.5e308 * 1e-308).sum().backward(1e308 * corgi.ones(()))

    backward()  # infinite by now, but nobody looks
    x.gradient = None
    assert found_in(lambda: (x + x).backward(corgi.full(100, 1e308))).op == "add"


def test_a_start_that_is_not_finite_and_operations_from_before():
    x = corgi.ones(2).tracked()
    error = found_in(lambda: (x * 2.0).sum().backward(INF))
    assert "the cotangent of the result, from which the pass started, already holds infinity" in str(error)
    y = corgi.sqrt(x * 0.0).sum()
    assert str(found_in(y.backward)).endswith("sqrt was called outside detect_nan")


# ---- the context


def test_context_manager_decorator_enable_and_nesting():
    x = arr([-1.0]).tracked()
    corgi.log(x)
    checks = detect_nan()
    assert checks.enable() is checks
    with pytest.raises(NonFiniteError):
        corgi.log(x)
    with detect_nan(infinity=False):
        corgi.log(x * 0.0)
    with pytest.raises(NonFiniteError):
        corgi.log(x)
    checks.disable()
    assert corgi.log(x).item() != 0
    with pytest.raises(ValueError, match=r"^detect_nan: expected enable\(\) before disable\(\)$"):
        checks.disable()

    @detect_nan()
    def decorated():
        return corgi.log(x)

    with pytest.raises(NonFiniteError):
        decorated()
    corgi.log(x)
    assert repr(detect_nan(infinity=False)) == "detect_nan(infinity=False)"
    with pytest.raises(TypeError, match=r"^detect_nan: expected a bool for infinity, got float$"):
        detect_nan(1.0)


def test_other_threads_are_not_checked():
    x = arr([-1.0]).tracked()
    results = []
    with detect_nan():
        thread = threading.Thread(target=lambda: results.append(corgi.log(x)))
        thread.start()
        thread.join()
    assert np.isnan(results[0].item())


def test_results_and_memory_are_as_without():
    def train():
        corgi.seed(3)
        model = Model([Dense(4, 8, activation="tanh"), Dense(8, 3)], Adam(0.01), cost.softmax_cross_entropy)
        generator = np.random.default_rng(0)
        for _ in range(5):
            model.forward(arr(generator.normal(size=(16, 4))))
            model.backward(generator.integers(0, 3, 16))
            model.update()
        return b"".join(p.numpy().tobytes() for p in model.parameters())

    plain = train()
    gc.collect()
    before = corgi.memory.stats()["in_use"], recorded_operations()
    with detect_nan():
        assert train() == plain
        assert recorded_operations() == before[1]
    gc.collect()
    assert (corgi.memory.stats()["in_use"], recorded_operations()) == before


def test_a_failed_operation_leaves_nothing_behind():
    x = corgi.full(1000, -1.0).tracked()
    functions = [corgi.log, lambda x: corgi.concatenate([x, corgi.full(2, NAN)]), lambda x: corgi.softmax(x * 1.0 + INF)]
    for function in functions:
        gc.collect()
        before = corgi.memory.stats()["in_use"], recorded_operations()
        found_in(lambda function=function: function(x))
        gc.collect()
        assert (corgi.memory.stats()["in_use"], recorded_operations()) == before


def test_empty_arrays_and_integers():
    with detect_nan():
        x = corgi.zeros((0, 3)).tracked()
        corgi.log(x).sum().backward()
        (corgi.ones(3).tracked() * arr([1, 2, 3]))[arr([0, 2])].sum().backward()


def test_the_error_can_be_pickled():
    error = found_in(lambda: corgi.log(arr([-1.0]).tracked()))
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error) and (copied.op, copied.line) == (error.op, error.line)
    assert isinstance(error, FloatingPointError)


# ---- gradients


def test_report_of_gradients():
    names = ("ok", "zero", "unused", "nan", "infinite", "empty")
    p = {name: corgi.ones(0 if name == "empty" else (2, 2)).tracked() for name in names}
    loss = (p["ok"] * 3.0).sum() + (p["zero"] * 0.0).sum() + (p["infinite"] * INF).sum() + p["empty"].sum()
    (loss + (p["nan"] * arr([[0.0, NAN], [0.0, INF]])).sum()).backward()
    report = gradients(p)
    assert {row.name: row.state for row in report} == {name: name if name != "empty" else "zero" for name in names}
    assert report[0].norm == 6.0 and np.isnan(report[2].norm) and report[4].norm == INF and report[5].shape == (0,)
    assert repr(report).splitlines()[1].split() == ["ok", "(2,", "2)", "ok", "6"]
    assert unused_parameters(p) == ["unused"]


def test_unused_parameters_of_a_model():
    class Switch(Layer):
        def __init__(self):
            self.used, self.spare = Dense(2, 2), Dense(2, 2)

        def forward(self, x):
            return self.used(x)

    model = Model([Switch()], Adam(), cost.mse)
    everything = list(model.named_parameters())
    assert unused_parameters(model) == everything
    model.forward(corgi.ones((1, 2)))
    model.backward(corgi.ones((1, 2)))
    assert unused_parameters(model) == ["layers.0.spare.weight", "layers.0.spare.bias"]
    model.update()
    assert unused_parameters(model) == everything
    with pytest.warns(
        UserWarning, match=r"^fit: no gradient has reached layers\.0\.spare\.weight, layers\.0\.spare\.bias in"
    ):
        model.fit(corgi.ones((4, 2)), corgi.ones((4, 2)), epochs=3, batch_size=2)
    for p in model.layers[0].spare.parameters():
        p.untracked()
    model.fit(corgi.ones((4, 2)), corgi.ones((4, 2)))


def test_fit_does_not_warn_of_parameters_used_later_in_the_epoch():
    class Turns(Layer):
        def __init__(self):
            self.turns, self.calls = [Dense(2, 2), Dense(2, 2)], 0

        def forward(self, x):
            self.calls += 1
            return self.turns[self.calls % 2](x)

    model = Model([Turns()], GradientDescent(0.1), cost.mse)
    model.fit(corgi.ones((4, 2)), corgi.ones((4, 2)), batch_size=2)
    with pytest.warns(UserWarning, match=r"^fit: no gradient has reached layers.0.turns.0.weight") as caught:
        model.fit(corgi.ones((1, 2)), corgi.ones((1, 2)), epochs=3)
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.parametrize("function", [gradients, unused_parameters])
def test_wrong_parameters(function):
    with pytest.raises(TypeError, match=rf"^{function.__name__}: expected a layer, or a dict of Arrays by name, got list$"):
        function([corgi.ones(1)])
    with pytest.raises(TypeError, match=rf"^{function.__name__}: expected Arrays in the dict, got int under 'a'$"):
        function({"a": 1})


# ---- graphs that grow


def steps(count, keep, optimizer=None, size=3):
    """Training steps of which something is kept."""
    corgi.seed(0)
    model = Model([Dense(size, size, activation="tanh"), Dense(size, 1)])
    optimizer = optimizer or GradientDescent(0.01)
    x, y = corgi.ones((4, size)), corgi.ones((4, 1))
    for i in range(count):
        loss = cost.mse(model(x), y)
        loss.backward()
        optimizer.step(model.parameters())
        keep(i, loss, model)


def warned_of(*arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps(*arguments, **options)
    assert all(w.category is GraphGrowthWarning for w in caught)
    return [str(w.message) for w in caught]


def test_accumulated_losses_are_warned_of_once():
    total = [0.0]

    def add(i, loss, model):
        total[0] = total[0] + loss

    (message,) = warned_of(450, add)
    found = re.match(
        r"step: the graph has grown with 100 steps in a row, from (\d+) to (\d+) recorded operations: ", message
    )
    assert int(found[2]) - int(found[1]) == 100 * 4
    total[0] = 0.0
    losses = []
    assert len(warned_of(120, lambda i, loss, model: losses.append(loss), Adam(0.01))) == 1
    losses.clear()
    with pytest.warns(GraphGrowthWarning) as caught:
        steps(120, lambda i, loss, model: losses.append(loss))
    assert caught[0].filename == __file__


def test_the_warning_as_an_error_leaves_the_parameters_as_they_were():
    p, optimizer, losses = arr([1.0]).tracked(), GradientDescent(0.1), []
    with pytest.raises(GraphGrowthWarning):
        for _ in range(200):
            losses.append((p * p).sum())
            losses[-1].backward()
            before = p.item(), p.gradient.item(), optimizer.steps
            optimizer.step([p])
    assert (p.item(), p.gradient.item(), optimizer.steps) == before == (before[0], before[1], 100)
    optimizer.step([p])
    assert optimizer.steps == 101


def test_no_false_alarms():
    figures, snapshots, kept = [], [], {}
    assert warned_of(300, lambda i, loss, model: figures.append(float(loss))) == []
    assert warned_of(300, lambda i, loss, model: figures.append(loss.detach())) == []
    assert warned_of(300, lambda i, loss, model: snapshots.append([p.copy() for p in model.parameters()])) == []
    assert warned_of(300, lambda i, loss, model: kept.update({i % 90: loss})) == []
    assert warned_of(99, lambda i, loss, model: kept.update({i: loss})) == []


def recurrent(length, window, update):
    """Truncated backpropagation through time: the state is cut off after each window."""
    weight, state, optimizer = arr([0.5]).tracked(), corgi.zeros(1), GradientDescent(0.001)
    for i in range(length):
        state = corgi.tanh(state * weight + 0.1)
        if i % window == window - 1:
            (state * state).sum().backward()
            optimizer.step([weight])
            if update:
                state = state.detach()
    return optimizer.steps


def test_programs_whose_graphs_come_and_go():
    with warnings.catch_warnings():
        warnings.simplefilter("error", GraphGrowthWarning)
        assert recurrent(3000, 7, True) == 428
        weight, optimizer = arr([0.5]).tracked(), GradientDescent(1e-3)
        for _ in range(150):  # 64 batches for each step
            total = 0.0
            for _ in range(64):
                loss = (weight * 2.0).sum()
                loss.backward()
                total += float(loss)
            optimizer.step([weight])
        generator = np.random.default_rng(0)
        for _ in range(300):  # of any size, kept for a while
            chain = weight
            for _ in range(generator.integers(1, 50)):
                chain = chain * weight
            chain.backward()
            optimizer.step([weight])
        for length in range(1, 300):  # of sequences in the order of their lengths
            chain = weight
            for _ in range(length):
                chain = chain * weight
            chain.backward()
            optimizer.step([weight])
        long = weight
        for _ in range(10**6):
            long = long + weight
        long.backward()
        optimizer.step([weight])
        first, second = Adam(1e-3), Adam(1e-3)
        for i in range(300):  # two optimizers in turn, one graph larger
            (weight * weight * weight if i % 2 else weight * 1.0).backward()
            (first if i % 2 else second).step([weight])
    with pytest.warns(GraphGrowthWarning):
        recurrent(3000, 7, False)


def test_recorded_operations_are_counted():
    gc.collect()
    before = recorded_operations()
    x = [corgi.ones(2).tracked() for _ in range(10)]
    assert recorded_operations() == before
    y = corgi.stack(x).sum()
    made = recorded_operations() - before
    assert made > 1
    chain = y
    for _ in range(10_000):
        chain = chain * 1.0
    assert recorded_operations() == before + made + 10_000
    del chain, y
    assert recorded_operations() == before
    copies = [p.copy() for p in x]
    del x, copies
    assert recorded_operations() == before
