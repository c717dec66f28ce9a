"""curve_fit and least_squares: NIST's certified problems, SciPy's fits, bounds, and searches that go wrong.

NIST's problems are in data/nist_strd.ini, each with two starting points, of which the first may be far from the solution.
"""

import configparser
import pathlib
import warnings

import numpy as np
import pytest
import scipy.optimize

import corgi
from corgi import arr, curve_fit, least_squares

PROBLEMS = configparser.ConfigParser()
PROBLEMS.optionxform = str
PROBLEMS.read(pathlib.Path(__file__).parent / "data" / "nist_strd.ini")
RNG = np.random.default_rng(5)


def numbers(text):
    return np.array([float(word) for word in text.split()])


class Problem:
    """One of NIST's. The text of its function is evaluated with the functions of a module, NumPy's or corgi's."""

    def __init__(self, name, functions=np):
        section = PROBLEMS[name]
        self.y, self.x = numbers(section["y"]), numbers(section["x"])
        if name == "Nelson":
            self.y, self.x = np.log(self.y), self.x.reshape(2, -1)
        self.values, self.errors = numbers(section["values"]), numbers(section["errors"])
        self.sum_of_squares = float(section["sum_of_squares"])
        self.starts = [numbers(section["start1"]), numbers(section["start2"])]
        arguments = ", ".join(f"b{i + 1}" for i in range(self.values.size))
        self.f = eval(f"lambda x, {arguments}: ({section['model']})", {**vars(functions), "pi": np.pi})


def agree(found, certified, digits):
    np.testing.assert_allclose(found, certified, rtol=10.0**-digits, atol=0)


# ---- NIST's certified values


def test_all_problems_are_here():
    assert len(PROBLEMS.sections()) == 27


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", PROBLEMS.sections())
def test_nist(name, start):
    """Six digits of the parameters and of their errors, from both starting points."""
    problem = Problem(name, corgi)
    fit = curve_fit(problem.f, problem.x, problem.y, problem.starts[start])
    assert fit.converged
    agree(fit.parameters, problem.values, 6)
    # The residuals of Lanczos1 are 1e-13 of the data, so that in float64 three digits of them are known at most.
    digits = 2 if name == "Lanczos1" else 6
    agree(fit.errors, problem.errors, digits)
    agree(fit.sum_of_squares, problem.sum_of_squares, digits if name == "Lanczos1" else 9)


@pytest.mark.parametrize("name", ["Misra1a", "Nelson", "Thurber", "MGH10"])
def test_numpy_functions_and_one_argument(name):
    """Written with NumPy's functions, and with the parameters in one argument: the same fits."""
    problem = Problem(name)
    parameters, covariance = curve_fit(lambda x, p: problem.f(x, *p), arr(problem.x), problem.y, problem.starts[1])
    agree(parameters, problem.values, 6)
    agree(np.sqrt(np.diag(covariance)), problem.errors, 6)


@pytest.mark.parametrize("name", ["Misra1a", "Chwirut2", "DanWood", "Gauss1", "Roszman1", "Rat42"])
def test_float32(name):
    problem = Problem(name, corgi)
    x, y, start = (arr(values, "float32") for values in (problem.x, problem.y, problem.starts[1]))
    fit = curve_fit(problem.f, x, y, start)
    assert fit.converged
    assert {a.dtype.name for a in (fit.parameters, fit.errors, fit.covariance, fit.residuals, fit.jacobian)} == {"float32"}
    assert (abs(fit.parameters - problem.values) < 0.02 * problem.errors + 1e-5 * abs(problem.values)).all()
    np.testing.assert_allclose(fit.errors, problem.errors, rtol=1e-2)


# ---- against SciPy


def decay(x, a, b, c):
    return a * np.exp(-b * x) + c


X = np.linspace(0, 4, 50)
Y = decay(X, 2.5, 1.3, 0.5) + 0.05 * RNG.standard_normal(50)
SIGMA = 0.02 + 0.05 * RNG.random(50)
MATRIX = np.diag(SIGMA**2) + 0.0005 * np.exp(-np.abs(X[:, None] - X))


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("sigma", [None, 0.3, SIGMA, MATRIX], ids=["none", "number", "errors", "covariance"])
def test_sigma(sigma, absolute):
    found = curve_fit(decay, X, Y, [1, 1, 1], sigma, absolute)
    given = np.full(50, sigma) if isinstance(sigma, float) else sigma
    popt, pcov, info, _, _ = scipy.optimize.curve_fit(
        decay, X, Y, [1, 1, 1], given, absolute, full_output=True, ftol=1e-14, xtol=1e-14
    )
    np.testing.assert_allclose(found.parameters, popt, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, pcov, rtol=1e-5)
    np.testing.assert_allclose(found.residuals, info["fvec"], rtol=1e-6, atol=1e-7)
    assert found.sum_of_squares == pytest.approx((found.residuals.numpy() ** 2).sum())


@pytest.mark.parametrize(
    "lower, upper",
    [
        ([0, 0, 0], [np.inf, np.inf, np.inf]),
        ([0, 0, 0], [3, 1, 1]),
        ([0, 0, 0.6], [2.2, 5, 5]),
        ([-5, 1.5, -5], [1.0, 5, 0.2]),
        (0.6, 2.0),
    ],
)
def test_bounds(lower, upper):
    start = np.clip([1, 1, 1], lower, upper)
    found = curve_fit(decay, X, Y, start, bounds=(lower, upper))
    expected, _ = scipy.optimize.curve_fit(decay, X, Y, start, bounds=(lower, upper), ftol=1e-15, xtol=1e-15, gtol=1e-15)
    assert found.converged
    assert (found.parameters >= lower).all() and (found.parameters <= upper).all()
    np.testing.assert_allclose(found.parameters, expected, rtol=1e-6)
    squares = ((decay(X, *expected) - Y) ** 2).sum()
    assert found.sum_of_squares <= squares * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_bounded_linear_least_squares(seed):
    """Against SciPy's solver for linear problems, from a start in a corner of the box."""
    random = np.random.default_rng(seed)
    a, b = random.standard_normal((12, 6)), random.standard_normal(12)
    lower, upper = -random.random(6) * 0.3, random.random(6) * 0.3
    expected = scipy.optimize.lsq_linear(a, b, (lower, upper), tol=1e-14).x
    start = np.where(random.random(6) < 0.5, lower, upper)
    found = least_squares(lambda p: arr(a) @ p - b, start, bounds=(lower, upper))
    assert found.converged
    np.testing.assert_allclose(found.parameters, expected, atol=1e-7)


@pytest.mark.parametrize("rows", [6, 40, 3000])
def test_linear_problem_takes_one_step(rows):
    a, b = RNG.standard_normal((rows, 5)), RNG.standard_normal(rows)
    found = least_squares(lambda p: arr(a) @ p - b, np.ones(5) * 100)
    np.testing.assert_allclose(found.parameters, np.linalg.lstsq(a, b)[0], rtol=1e-9)
    np.testing.assert_allclose(found.jacobian, a)
    assert found.iterations <= 2


def test_more_parameters_than_residuals():
    a, b = RNG.standard_normal((3, 5)), RNG.standard_normal(3)
    found = least_squares(lambda p: arr(a) @ p - b, np.ones(5))
    assert found.converged and found.sum_of_squares < 1e-20
    assert np.isinf(found.covariance).all() and np.isinf(found.errors).all()


# ---- how it may be called


def test_default_start_and_integers():
    np.testing.assert_allclose(
        curve_fit(decay, X, Y).parameters, curve_fit(decay, list(X), list(Y), [1, 1, 1]).parameters, rtol=1e-12
    )


def test_parameters_in_a_tuple_of_any_length():
    def polynomial(x, *p):
        return sum(c * x**i for i, c in enumerate(p))

    found = curve_fit(polynomial, X, Y, np.zeros(4))
    np.testing.assert_allclose(found.parameters, np.polyfit(X, Y, 3)[::-1], rtol=1e-8)


def test_optional_parameters_of_the_function():
    def f(x, a, b, shift=0.5):
        return a * np.exp(-b * x) + shift

    np.testing.assert_allclose(curve_fit(f, X, Y, [1.0, 1.0, 1.0]).parameters, curve_fit(decay, X, Y).parameters, rtol=1e-7)
    assert curve_fit(f, X, Y, [1.0, 1.0]).parameters.shape == (2,)


def test_containers():
    def f(x, p):
        return p["a"] * corgi.exp(-p["rates"][0] * x) + p["c"]

    found = curve_fit(f, X, Y, {"a": 1.0, "rates": [[1.0]], "c": arr(1.0, "float32")})
    expected = curve_fit(decay, X, Y)
    assert found.parameters["rates"][0].shape == (1,) and found.parameters["c"].dtype == "float32"
    assert found.parameters["a"].item() == pytest.approx(expected.parameters[0].item(), rel=1e-6)
    assert found.errors["rates"][0].item() == pytest.approx(expected.errors[1].item(), rel=1e-5)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-5)
    within = {"a": 0.0, "rates": [[0.0]], "c": 0.0}, {"a": 2.0, "rates": [[9.0]], "c": 9.0}
    assert curve_fit(f, X, Y, {"a": 1.0, "rates": [[1.0]], "c": 1.0}, bounds=within).parameters["a"] == 2.0


def test_residuals_in_containers():
    fit = least_squares(lambda p: {"u": 10 * (p[1:] - p[:1] ** 2), "v": [1 - p[0]]}, [-1.2, 1.0])
    np.testing.assert_allclose(fit.parameters, [1, 1], rtol=1e-9)
    np.testing.assert_allclose(fit.jacobian, [[-20, 10], [-1, 0]], rtol=1e-8)


def test_data_of_two_axes():
    x, y = np.meshgrid(np.arange(4.0), np.arange(5.0))
    z = 1 + 2 * x + 3 * y + 0.1 * RNG.standard_normal((5, 4))
    found = curve_fit(lambda xy, a, b, c: a + b * xy[0] + c * xy[1], (x, y), z, sigma=np.full((5, 4), 2.0))
    columns = np.column_stack([np.ones(20), x.ravel(), y.ravel()])
    np.testing.assert_allclose(found.parameters, np.linalg.lstsq(columns, z.ravel())[0], rtol=1e-10)


def test_other_data_pass_as_they_are():
    found = curve_fit(lambda model, p: corgi.sin(p * model["t"]), {"t": arr(X)}, np.sin(0.7 * X), 0.5)
    assert found.parameters.shape == () and found.parameters.item() == pytest.approx(0.7)


def test_default_dtype():
    """Numbers are of the default dtype, NumPy's arrays of their own."""
    with corgi.default_dtype("float32"):
        both = [curve_fit(decay, X, Y, p0).parameters for p0 in ([1.0, 1.0, 1.0], np.ones(3))]
    assert [a.dtype.name for a in both] == ["float32", "float64"]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-4)


def test_nobody_is_changed_or_tracked():
    start, y = arr([1.0, 1.0, 1.0]).tracked(), arr(Y).tracked()
    with corgi.no_tracking():
        fit = curve_fit(decay, X, y, start)
    assert start.tolist() == [1.0, 1.0, 1.0] and start.gradient is None and y.gradient is None
    assert not any(a.is_tracked for a in (fit.parameters, fit.covariance, fit.residuals, fit.jacobian))


def test_a_function_with_a_custom_op():
    """Also one whose backward is not made of corgi's operations, for which the Jacobian is computed by rows."""
    exp = corgi.op(lambda x: np.exp(x.numpy()), lambda arrays, tracked, delta: [np.exp(arrays[0].numpy()) * delta.numpy()])
    found = curve_fit(lambda x, a, b, c: a * exp(-b * x) + c, X, Y)
    np.testing.assert_allclose(found.parameters, curve_fit(decay, X, Y).parameters, rtol=1e-9)


# ---- searches that are difficult, or go wrong


def test_steps_to_where_the_model_overflows_are_shortened():
    x = np.linspace(0, 10, 30)
    found = curve_fit(lambda x, a, b: a * np.exp(b * x), x, 3 * np.exp(0.5 * x), [1.0, -2.0])
    assert found.converged
    np.testing.assert_allclose(found.parameters, [3.0, 0.5], rtol=1e-8)


def test_steps_to_where_the_model_is_not_defined_are_shortened():
    x = np.linspace(1, 5, 20)
    found = curve_fit(lambda x, a, b: np.log(a * x - b), x, np.log(2 * x - 1.9), [50.0, 1.0])
    np.testing.assert_allclose(found.parameters, [2.0, 1.9], rtol=1e-7)


def test_infinite_derivatives_are_no_place_to_go():
    """The root has an infinite derivative at 0, the lower bound, where the first step would lead."""
    found = least_squares(lambda p: corgi.stack([corgi.sqrt(p[0]) - 0.1, p[0] - 0.01]), [4.0], bounds=(0.0, np.inf))
    np.testing.assert_allclose(found.parameters, [0.01], rtol=1e-7)


def test_start_at_the_solution():
    found = least_squares(lambda p: p - arr([1.0, 2.0]), [1.0, 2.0])
    assert found.converged and found.iterations == 0 and found.evaluations == 1 and found.sum_of_squares == 0
    assert found.message == "the residuals are orthogonal to their derivatives, within the tolerance"


def test_every_parameter_at_a_bound():
    found = least_squares(lambda p: p - arr([1.0, -2.0]), [0.0, 0.0], bounds=([-1.0, 0.0], [0.0, 1.0]))
    assert found.converged and found.parameters.tolist() == [0.0, 0.0]


def test_limit_of_iterations():
    found = least_squares(lambda p: corgi.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]]), [-1.2, 1.0], max_iterations=3)
    assert not found.converged and found.iterations == 3 and found.sum_of_squares < 24.2
    assert found.message == "the limit of 3 iterations was reached before it converged"
    with pytest.warns(RuntimeWarning, match="curve_fit: the limit of 2 iterations was reached"):
        curve_fit(decay, X, Y, [1.0, 1.0, 1.0], max_iterations=2)


@pytest.mark.parametrize(
    "f, p0",
    [
        (lambda x, a, b: (a + b) * x, [1.0, 2.0]),  # only the sum is determined
        (lambda x, a, b: a * x + 0 * b, [1.0, 2.0]),  # b does nothing
    ],
)
def test_parameters_that_are_not_determined(f, p0):
    with pytest.warns(RuntimeWarning, match="do not determine all parameters"):
        fit = curve_fit(f, X, 3 * X, p0)
    assert fit.converged and fit.sum_of_squares < 1e-20 and np.isinf(fit.covariance).all()


def test_parameters_of_very_different_sizes():
    found = curve_fit(lambda x, a, b: a * 1e12 * np.exp(-b * 1e-9 * x), X, 2.0 * np.exp(-0.7 * X), [1e-12, 1e9])
    np.testing.assert_allclose(found.parameters, [2e-12, 7e8], rtol=1e-9)
    assert np.isfinite(found.covariance).all()


def test_residuals_whose_squares_overflow():
    scale = 1e200
    found = least_squares(lambda p: (corgi.exp(p) - arr([2.0, 3.0])) * scale, [0.0, 0.0])
    np.testing.assert_allclose(found.parameters, np.log([2.0, 3.0]), rtol=1e-8)


def test_a_custom_tolerance():
    loose, tight = (curve_fit(decay, X, Y, [1, 1, 1], tolerance=tolerance) for tolerance in (1e-2, 1e-12))
    assert loose.iterations < tight.iterations
    assert (abs(loose.parameters - tight.parameters) < 0.1 * tight.errors).all()


def test_jacobians_of_many_residuals_are_computed_by_columns():
    """By shape: the same derivatives as by rows, also where an input does not matter."""
    x = arr(RNG.standard_normal(40))

    def f(p, q, r):
        return corgi.stack([corgi.sin(p * x) + q[0], corgi.exp(q[1] * x)])

    found = corgi.jacobian(f, (0, 1, 2))(0.5, arr([1.0, -0.3], "float32"), [3.0])
    assert [j.shape for j in found] == [(2, 40), (2, 40, 2), (2, 40, 1)]
    assert [j.dtype.name for j in found] == ["float64", "float32", "float64"]
    xs, zero = x.numpy(), np.zeros(40)
    np.testing.assert_allclose(found[0], [xs * np.cos(0.5 * xs), zero], rtol=1e-12)
    np.testing.assert_allclose(found[1][..., 1], [zero, xs * np.exp(np.float32(-0.3) * xs)], rtol=1e-6)
    assert not found[2].numpy().any()
    second = corgi.jacobian(corgi.jacobian(lambda p: corgi.sin(p * x)))(0.5)
    np.testing.assert_allclose(second, -(xs**2) * np.sin(0.5 * xs), rtol=1e-12)


def test_warnings_name_the_callers_line():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        curve_fit(decay, X, Y, max_iterations=1)
    assert caught[0].filename == __file__
