"""minimize and the optimizer LBFGS: functions with known minima, SciPy's L-BFGS-B, PyTorch's LBFGS, and what goes wrong."""

import copy
import math
import pickle

import numpy as np
import pytest
import scipy.optimize

import corgi
from corgi import Model, activation, arr, cost, initializer, minimize
from corgi.layer import Dense
from corgi.optimizer import LBFGS
from corgi.optimizer.line_search import CURVATURE, DECREASE, Point, strong_wolfe

DTYPES = ["float32", "float64"]


def rosenbrock(x):
    return corgi.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def logistic(dtype="float64"):
    """The loss of a regularized logistic regression of two overlapping classes, for 20 weights and a bias, and the data."""
    x = normal(300, 20) * np.logspace(-0.5, 0.5, 20)
    labels = (x @ normal(20, seed=1) / 5 + normal(300, seed=2) > 0) * 2.0 - 1
    data, signs = corgi.array(x, dtype), corgi.array(labels, dtype)

    def loss(p):
        margins = signs * (data @ p["weight"] + p["bias"])
        return corgi.mean(corgi.softplus(-margins)) + 0.005 * corgi.sum(p["weight"] ** 2)

    return loss, x, labels


# ---- functions with known minima


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [2, 5, 20, 100])
def test_rosenbrock(size, dtype):
    start = corgi.array(np.resize([-1.2, 1.0], size) if size != 5 else np.zeros(5), dtype)
    found = minimize(rosenbrock, start)
    assert found.converged, found.message
    assert found.x.dtype == found.gradient.dtype == dtype
    np.testing.assert_allclose(found.x, 1.0, atol=1e-6 if dtype == "float64" else 1e-3)
    assert found.value == rosenbrock(found.x).item()
    np.testing.assert_array_equal(found.gradient, corgi.grad(rosenbrock)(found.x))


@pytest.mark.parametrize("history, accuracy", [(10, 1e-4), (50, 1e-8)])
def test_quadratic_of_condition_1e6(history, accuracy):
    curvatures, centre = np.logspace(-3, 3, 30), normal(30)
    rotation = np.linalg.qr(normal(30, 30, seed=1))[0]
    matrix = arr(rotation * curvatures @ rotation.T)

    def f(x):
        return 0.5 * (x - centre) @ matrix @ (x - centre)

    found = minimize(f, np.zeros(30), history=history, max_iterations=5000, gradient_tolerance=1e-9)
    assert found.converged or history < 30, found.message
    np.testing.assert_allclose(found.x, centre, atol=accuracy)


@pytest.mark.parametrize(
    "f, start, minimum",
    [
        (lambda x: (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2, [0.0, 0.0], [1, 3]),  # Booth
        (  # Beale
            lambda x: (
                (1.5 - x[0] + x[0] * x[1]) ** 2
                + (2.25 - x[0] + x[0] * x[1] ** 2) ** 2
                + (2.625 - x[0] + x[0] * x[1] ** 3) ** 2
            ),
            [1.0, 1.0],
            [3, 0.5],
        ),
        (lambda x: (x[0] + 10 * x[1]) ** 2 + 5 * (x[2] - x[3]) ** 2 + (x[1] - 2 * x[2]) ** 4, [3.0, -1, 0, 1], None),
        (lambda x: corgi.sum(corgi.exp(x) - x), [5.0, -30.0, 0.1], [0, 0, 0]),
        (lambda x: -corgi.exp(-corgi.sum(x * x)), [1.0, 1.0], [0, 0]),  # nearly flat where it starts
        (lambda x: corgi.sum(corgi.sqrt(1 + x * x)), [1e4, -1e-4], [0, 0]),
    ],
)
def test_functions_of_few_variables(f, start, minimum):
    found = minimize(f, start)
    assert found.converged, found.message
    assert abs(found.gradient).max() <= 1e-6
    if minimum is not None:
        np.testing.assert_allclose(found.x, minimum, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-20, 1e-6, 1e6, 1e20])
def test_units_of_the_function(factor):
    """A factor changes nothing but the first step, if no tolerance is met too early."""
    found = minimize(lambda x: rosenbrock(x) * factor, [-1.2, 1.0], gradient_tolerance=1e-7 * factor)
    assert found.converged and found.evaluations < 80
    np.testing.assert_allclose(found.x, 1.0, atol=1e-6)


# ---- against SciPy and PyTorch


def test_logistic_regression_against_scipy():
    loss, x, labels = logistic()
    found = minimize(loss, {"weight": np.zeros(20), "bias": 0.0})

    def numpy_loss(p):
        margins = labels * (x @ p[:20] + p[20])
        slopes = -labels * scipy.special.expit(-margins) / len(labels)
        value = np.logaddexp(0, -margins).mean() + 0.005 * (p[:20] ** 2).sum()
        return value, np.append(slopes @ x + 0.01 * p[:20], slopes.sum())

    options = {"ftol": 1e-16, "gtol": 1e-9, "maxiter": 5000}
    expected = scipy.optimize.minimize(numpy_loss, np.zeros(21), jac=True, method="L-BFGS-B", options=options)
    assert found.converged and found.x.keys() == {"weight", "bias"} and found.x["bias"].shape == ()
    assert found.value == pytest.approx(expected.fun, rel=1e-12)
    np.testing.assert_allclose(found.x["weight"], expected.x[:20], atol=1e-5)
    np.testing.assert_allclose(found.x["bias"], expected.x[20], atol=1e-5)
    assert found.evaluations < 1.5 * expected.nfev


@pytest.mark.parametrize("size", [2, 30])
def test_evaluations_against_scipy(size):
    start = np.resize([-1.2, 1.0], size)
    options = {"ftol": 0, "gtol": 1e-7, "maxiter": 5000}
    expected = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="L-BFGS-B", options=options
    )
    assert minimize(rosenbrock, start).evaluations < 1.5 * expected.nfev


@pytest.mark.parametrize("dtype", DTYPES)
def test_final_values_against_pytorch(dtype):
    torch = pytest.importorskip("torch")
    loss, x, labels = logistic(dtype)
    found = minimize(loss, {"weight": corgi.zeros(20, dtype), "bias": corgi.zeros((), dtype)})
    kind = getattr(torch, dtype)
    data, signs = torch.tensor(x, dtype=kind), torch.tensor(labels, dtype=kind)
    weight, bias = torch.zeros(20, dtype=kind, requires_grad=True), torch.zeros((), dtype=kind, requires_grad=True)
    limits = {"max_iter": 200, "max_eval": 400, "tolerance_grad": 1e-10, "tolerance_change": 1e-16}
    optimizer = torch.optim.LBFGS([weight, bias], line_search_fn="strong_wolfe", **limits)

    def closure():
        optimizer.zero_grad()
        margins = signs * (data @ weight + bias)
        value = torch.nn.functional.softplus(-margins).mean() + 0.005 * (weight**2).sum()
        value.backward()
        return value

    optimizer.step(closure)
    assert found.value <= closure().item() * (1 + (1e-12 if dtype == "float64" else 1e-6))
    np.testing.assert_allclose(found.x["weight"], weight.detach().numpy(), atol=1e-5 if dtype == "float64" else 1e-2)


# ---- the line search


def along(value, slope):
    return lambda t: Point(t, value(t), slope(t), arr([slope(t)]))


@pytest.mark.parametrize("first", [1e-6, 0.01, 1.0, 30.0, 1e6])
@pytest.mark.parametrize(
    "value, slope",
    [
        (lambda t: (t - 3) ** 2, lambda t: 2 * (t - 3)),
        (lambda t: -t / (t * t + 2), lambda t: (t * t - 2) / (t * t + 2) ** 2),  # More & Thuente 1994, the first of theirs
        (lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4, lambda t: 5 * (t + 0.004) ** 4 - 8 * (t + 0.004) ** 3),
        (lambda t: t**4 - 100 * t, lambda t: 4 * t**3 - 100),
        (
            lambda t: math.inf if t > 2 else (t - 1.9) ** 2 - math.log(2.001 - t) / 50,
            lambda t: math.nan if t > 2 else 2 * (t - 1.9) + 1 / 50 / (2.001 - t),
        ),
    ],
)
def test_strong_wolfe_conditions(value, slope, first):
    at = along(value, slope)
    start = at(0.0)
    found = strong_wolfe(at, start, first, 0.0)
    assert found is not None
    assert found.value <= start.value + DECREASE * found.step * start.slope
    assert abs(found.slope) <= CURVATURE * abs(start.slope)


def test_no_step_where_the_slope_is_wrong():
    at = along(lambda t: t, lambda t: -1.0)
    assert strong_wolfe(at, at(0.0), 1.0, 0.0) is None


# ---- how searches end


def test_gradient_of_zero_at_the_start():
    found = minimize(lambda x: (x * x).sum(), [0.0, 0.0])
    assert (found.converged, found.iterations, found.evaluations) == (True, 0, 1)
    assert found.message == "the gradient is within its tolerance"
    assert minimize(lambda x: x.sum() * 0, [1.0]).converged  # the function does not depend on x


def test_limit_of_iterations():
    found = minimize(rosenbrock, [-1.2, 1.0], max_iterations=3)
    assert (found.converged, found.iterations) == (False, 3)
    assert found.message == "the limit of 3 iterations was reached"
    assert found.value < rosenbrock(arr([-1.2, 1.0])).item()


def test_change_within_its_tolerance():
    found = minimize(rosenbrock, [-1.2, 1.0], change_tolerance=0.01)
    assert found.converged and found.message == "the change of the value is within its tolerance"


def test_function_without_a_minimum():
    found = minimize(lambda x: -x.sum(), [1.0, 2.0])
    assert not found.converged and "may have no minimum" in found.message
    found = minimize(lambda x: corgi.exp(-x).sum() - x.sum(), [1.0])
    assert not found.converged and "may have no minimum" in found.message


def test_gradient_that_is_wrong():
    wrong = corgi.op(lambda x: x * x, lambda arrays, tracked, delta: [-2 * arrays[0] * delta])
    found = minimize(lambda x: wrong(x).sum(), [1.0])
    assert not found.converged and found.x.tolist() == [1.0]
    assert found.message == "no step along the negative gradient lowers the value any further"


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_gradient_whose_square_is_no_number(size):
    found = minimize(lambda x: corgi.sum(x) * size, [1.0, 2.0], gradient_tolerance=0)
    assert not found.converged and found.x.tolist() == [1.0, 2.0]


def test_kink():
    """Not smooth at the minimum: the search ends near it."""
    found = minimize(lambda x: corgi.absolute(x).sum(), [1.0, -0.3])
    assert found.value < 1e-3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_avoided(bad):
    """The logarithm of what is below 0 is NaN, and the first step leads there."""

    def f(x):
        inside = x - corgi.log(x) * 1e-3 if bad != bad else corgi.where(x > 0, x - corgi.log(abs(x)) * 1e-3, bad)
        return (inside * 1e4).sum()

    found = minimize(f, [0.01, 3.0])
    assert found.converged
    np.testing.assert_allclose(found.x, 1e-3, rtol=1e-3)


def test_containers_and_integers():
    found = minimize(lambda p: ((p[0] - 2.0) ** 2 + (p[1]["a"] + 1.0) ** 2).sum(), (1, {"a": [3, 4]}))
    assert type(found.x) is tuple and found.x[1]["a"].shape == (2,)
    np.testing.assert_allclose(found.x[0], 2.0)
    np.testing.assert_allclose(found.gradient[1]["a"], 0.0, atol=1e-7)


def test_mixed_dtypes():
    start = {"a": arr([1.0], "float32"), "b": arr([1.0])}
    found = minimize(lambda p: ((p["a"] - 0.5) ** 2 + (p["b"] - p["a"]) ** 2).sum(), start)
    assert found.converged and found.x["a"].dtype == "float32" and found.x["b"].dtype == "float64"
    np.testing.assert_allclose(found.x["b"], 0.5, atol=1e-6)


def test_a_function_of_tracked_arrays():
    centre = arr([1.0, 2.0]).tracked()
    found = minimize(lambda x: corgi.sum((x - centre) ** 2), [0.0, 0.0])
    np.testing.assert_allclose(found.x, [1.0, 2.0])
    assert not found.x.is_tracked and not found.gradient.is_tracked and centre.gradient is None
    with corgi.no_tracking():
        assert minimize(lambda x: corgi.sum((x - centre) ** 2), [0.0, 0.0]).converged


# ---- the optimizer


def network(dtype, optimizer):
    with corgi.default_dtype(dtype):
        layers = [Dense(3, 8, initializer.he(seed=1), activation.tanh), Dense(8, 1, initializer.he(seed=2))]
        return Model(layers, optimizer, cost.mse)


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_a_model(dtype):
    model = network(dtype, LBFGS(max_iterations=200))
    x, target = corgi.array(normal(40, 3), dtype), corgi.array(np.sin(normal(40, 3)).sum(1, keepdims=True), dtype)
    calls = []

    def closure():
        model.forward(x)
        calls.append(model.backward(target))
        return calls[-1]

    found = model.optimizer.step(model.parameters(), closure)
    assert len(calls) == found.evaluations
    assert found.value == min(calls) < 2e-3 < 0.5 < calls[0]
    assert cost.mse(model(x), target).item() == found.value
    assert all(p.gradient is None and p.is_tracked and p.dtype == dtype for p in model.parameters())
    assert all(a is b for a, b in zip(found.x, model.parameters(), strict=True))


def test_it_is_minimize():
    p = arr([-1.2, 1.0]).tracked()

    def closure():
        loss = rosenbrock(p)
        loss.backward()
        return loss

    found = LBFGS(max_iterations=1000).step([p], closure)
    expected = minimize(rosenbrock, [-1.2, 1.0])
    assert p.tolist() == expected.x.tolist() and found.evaluations == expected.evaluations


def test_several_calls_go_on_with_what_is_known():
    """Five iterations at a time: the same way but for one more evaluation at the beginning of each call."""
    p, optimizer, evaluations = arr([-1.2, 1.0]).tracked(), LBFGS(max_iterations=5), 0

    def closure():
        loss = rosenbrock(p)
        loss.backward()
        return loss

    for calls in range(1, 30):
        found = optimizer.step([p], closure)
        evaluations += found.evaluations
        if found.converged:
            break
        optimizer = pickle.loads(pickle.dumps(optimizer)) if calls % 2 else copy.deepcopy(optimizer)
    expected = minimize(rosenbrock, [-1.2, 1.0])
    assert p.tolist() == expected.x.tolist()
    assert evaluations == expected.evaluations + calls - 1


def test_other_parameters_begin_anew():
    optimizer = LBFGS()
    for size in (2, 3):
        p = corgi.full(size, 0.5).tracked()

        def closure(p=p):
            loss = corgi.sum(corgi.cosh(p))
            loss.backward()
            return loss.item()

        assert optimizer.step(iter([p]), closure).converged
        np.testing.assert_allclose(p, 0.0, atol=1e-7)


def test_parameters_without_gradient_stay():
    p, idle = arr([1.0]).tracked(), arr([[5.0]]).tracked()

    def closure():
        loss = corgi.sum(p * p)
        loss.backward()
        return loss

    assert LBFGS().step([idle, p], closure).converged
    assert idle.tolist() == [[5.0]] and abs(p.item()) < 1e-7


def test_nothing_is_changed_when_the_closure_raises():
    p, view, calls = arr([3.0, -4.0]).tracked(), arr([0.0]), []

    def closure():
        calls.append(1)
        if len(calls) == 3:
            raise KeyError("mine")
        loss = corgi.sum(corgi.cosh(p))
        loss.backward()
        return loss

    view = p.numpy()
    with pytest.raises(KeyError, match="mine"):
        LBFGS().step([p], closure)
    assert p.tolist() == view.tolist() == [3.0, -4.0] and p.gradient is None


def test_learning_rate_of_zero_moves_nothing():
    p = arr([3.0]).tracked()

    def closure():
        loss = corgi.sum(p * p)
        loss.backward()
        return loss

    assert not LBFGS(0.0).step([p], closure).converged
    assert p.item() == 3.0


def test_repr_shows_settings():
    optimizer = LBFGS(history=5)
    optimizer.descend(lambda x: (float(x @ x), 2 * x), arr([1.0]))
    assert repr(optimizer) == (
        "LBFGS(learning_rate=1.0, max_iterations=20, gradient_tolerance=1e-07, change_tolerance=0.0, history=5)"
    )
