"""Every public op against its oracle: values, gradients to order 3, dtypes, layouts, threads, special values.

Made from the list in ops.py; a case's name reads op-dtype-layout.  Derivatives are held against differences of the oracle
(order 1) or of the order below (orders 2 and 3), with the five-point rule in float64.
"""

import functools
import itertools
import operator
import os
import warnings

import numpy as np
import pytest

import corgi

from .ops import CONTIGUOUS, DIFFERENTIABLE, DTYPES, FLOATS, LAYOUTS, OPS, ORACLE, POINTWISE, run_at_level, sample

EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
BY_NAME = {str(op): op for op in OPS}
ROWS = {op.name: op for op in POINTWISE}
BROADCAST = {1: [(4, 1)], 2: [(3, 1), (2, 1, 4)], 3: [(3, 1), (2, 1, 4), ()]}  # shapes by number of inputs


def cases(*columns):
    """All combinations as pytest parameters, named by their texts."""
    return [pytest.param(*row, id="-".join(str(x) for x in row)) for row in itertools.product(*columns)]


def by_op(ops):
    return pytest.mark.parametrize("op", cases(ops))


def close(got, expected, rtol, atol=0.0):
    """Equal but for rounding: by `rtol` of the element, or by `atol` of the largest one (of 1, if that is larger)."""
    expected = np.asarray(expected)
    scale = np.abs(expected, where=np.isfinite(expected), out=np.ones(expected.shape)).max(initial=1.0)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol * scale)


def check(op, inputs, views=None, rounding=64):
    """One call against the oracle: shape, dtype, values, and inputs that stay as they were."""
    arrays = [corgi.array(x) for x in inputs] if views is None else views
    result = op(*arrays)
    expected = op.oracle(*inputs)
    assert type(result) is corgi.Array
    assert result.shape == expected.shape
    assert result.dtype == expected_dtype(op, inputs)
    eps = EPS.get(str(result.dtype), 0.0)
    close(result, expected, rounding * eps, 4 * eps)
    for array, x in zip(arrays, inputs, strict=True):
        np.testing.assert_array_equal(array, x)
    return result


def expected_dtype(op, inputs):
    """NumPy's promotion, except that arithmetic with bools gives int64."""
    if op.kind != "float":
        return {"index": np.int64}.get(op.kind, np.bool_)
    if any(x.dtype.kind == "f" for x in inputs) and op.name != "astype":
        return np.result_type(*inputs)
    keeps_bool = op.row is None and op.expression(ORACLE, *inputs).dtype == np.bool_
    return np.bool_ if keeps_bool else op.oracle(*inputs).dtype


# ---- values


@pytest.mark.parametrize("op, dtype, layout", [c for op in OPS for c in cases([op], op.dtypes, LAYOUTS)])
def test_values(op, dtype, layout):
    bases = layout.bases(op, dtype)
    views = [layout.view(corgi, corgi.array(x), shape) for x, shape in zip(bases, op.shapes, strict=True)]
    check(op, [layout.view(np, x, shape) for x, shape in zip(bases, op.shapes, strict=True)], views)


@pytest.mark.parametrize("op, dtype", [c for op in POINTWISE for c in cases([op], op.dtypes)])
def test_sizes(op, dtype):
    n = len(op.shapes)
    for shape in [(), (0,), (0, 3), (2, 0, 3), (1,), (7,), (17,), (513,), (3, 1, 65)]:
        check(op, op.samples(dtype, [shape] * n))
    check(op, op.samples(dtype, BROADCAST[n]))


@by_op([op for op in POINTWISE if len(op.shapes) > 1 and op.kind != "logic"])
def test_mixed_layouts(op):
    """Operands of different layouts and dtypes in one call."""
    n = len(op.shapes)
    for layouts in itertools.product(LAYOUTS, repeat=n) if n == 2 else itertools.permutations(LAYOUTS, n):
        bases = [layout.bases(op)[i] for i, layout in enumerate(layouts)]
        triples = list(zip(layouts, bases, op.shapes, strict=True))
        check(op, [f.view(np, x, s) for f, x, s in triples], [f.view(corgi, corgi.array(x), s) for f, x, s in triples])
    for dtypes in itertools.product(DTYPES, repeat=n):
        check(op, [op.samples(dtype)[i] for i, dtype in enumerate(dtypes)])


@pytest.mark.parametrize("op, dtype", cases([op for op in POINTWISE if len(op.shapes) == 2 and op.kind != "logic"], DTYPES))
def test_python_numbers(op, dtype):
    """A Python number takes the array's dtype, unless its kind is the larger one."""
    x = op.samples(dtype, [(5, 3)] * 2)
    for number in (2, 1.5, True):
        wide = np.asarray(number)
        if "bif".index(wide.dtype.kind) <= "bif".index(x[0].dtype.kind):
            wide = wide.astype(dtype)
        for arguments, inputs in [((corgi.array(x[0]), number), (x[0], wide)), ((number, corgi.array(x[1])), (wide, x[1]))]:
            result = op(*arguments)
            assert result.dtype == expected_dtype(op, [a.astype(wide.dtype) for a in inputs])
            close(result, op.oracle(*inputs), 64 * EPS.get(str(result.dtype), 0.0))


@pytest.mark.parametrize("dtype", FLOATS)
def test_default_dtype(dtype):
    """Where integers become floats, they become floats of the default dtype."""
    n = corgi.array([1, 2])
    with corgi.default_dtype(dtype):
        results = [n / 2, n * 1.5, 1.5 - n, n**0.5, corgi.exp(n), corgi.mean(n), corgi.softmax(n), corgi.maximum(n, 0.5)]
        results += [
            corgi.array([True]) * 0.5,
            corgi.where(n > 1, n, 0.5),
            corgi.clip(n, 0.5, 1.5),
            corgi.norm(n),
            corgi.var(n),
        ]
        assert [str(x.dtype) for x in results] == [dtype] * len(results)
        assert corgi.add(corgi.array([1.0], "float64"), n).dtype == np.float64
        assert corgi.add(corgi.array([1.0], "float32"), 0.5).dtype == np.float32


OPERATORS = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "power": operator.pow,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name):
    """An operator is the function of its name, with arrays, numbers and NumPy arrays on either side."""
    function, op = OPERATORS[name], ROWS[name]
    x, y = op.samples()
    a, b = corgi.array(x), corgi.array(y)
    for left, right in [(a, b), (a, y), (x, b), (a, 1.5), (1.5, b), (a, 2), (2, b), (a, np.float64(2)), (a, y.tolist())]:
        np.testing.assert_array_equal(function(left, right), op(left, right))


def test_unary_operators():
    x = corgi.array([[1.5, -2.0]])
    np.testing.assert_array_equal([-x, +x, abs(x)], [[[-1.5, 2.0]], [[1.5, -2.0]], [[1.5, 2.0]]])
    p, q = corgi.array([True, True, False]), corgi.array([True, False, False])
    assert (p & q).tolist() == [True, False, False]
    assert (p | q).tolist() == [True, True, False]
    assert (p ^ q).tolist() == [False, True, False]
    assert (~p).tolist() == [False, False, True]
    np.testing.assert_array_equal(x @ x.T, [[6.25]])


METHODS = [
    ("astype", ("float32",), {}),
    ("reshape", ((4, 6),), {}),
    ("reshape", (4, -1), {}),
    ("transpose", (), {}),
    ("transpose", (2, 0, 1), {}),
    ("transpose", ((2, 0, 1),), {}),
    ("swapaxes", (0, 1), {}),
    ("squeeze", (), {}),
    ("flatten", (), {}),
    ("ravel", (), {}),
    ("clip", (-1.0, 1.0), {}),
    ("cumsum", (), {}),
    ("cumsum", (1,), {}),
    *[(name, (), {}) for name in ("sum", "mean", "prod", "max", "min", "var", "std", "argmax", "argmin", "any", "all")],
    *[
        (name, (1,), {"keepdims": True})
        for name in ("sum", "mean", "prod", "max", "min", "var", "std", "argmax", "any", "all")
    ],
]


@pytest.mark.parametrize("name, args, kwargs", METHODS, ids=lambda x: str(x))
def test_methods(name, args, kwargs):
    """Methods mean what they mean in NumPy."""
    x = BY_NAME["sum"].samples()[0]
    result = getattr(corgi.array(x), name)(*args, **kwargs)
    expected = np.asarray(getattr(x, name)(*args, **kwargs))
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    close(result, expected, 1e-12)


def test_clip_without_bounds():
    x = np.array([-2.0, 0.5, 2.0])
    for low, high in [(None, 1.0), (-1.0, None), (None, None)]:
        np.testing.assert_array_equal(corgi.clip(x, low, high), np.clip(x, low, high))
        np.testing.assert_array_equal(corgi.array(x).clip(low, high), np.clip(x, low, high))
    whole = corgi.array([-(2**63), 0, 2**63 - 1])
    assert corgi.clip(whole, 0).tolist() == [0, 0, 2**63 - 1]
    assert corgi.clip(whole, None, 0).tolist() == [-(2**63), 0, 0]


# ---- special values

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 5e-324, 1e308])
SIGN_OF_ZERO_IS_FREE = {"maximum", "minimum", "clip", "sign"}


@pytest.mark.parametrize("op, dtype", cases([op for op in POINTWISE if op.kind != "logic"], FLOATS))
def test_special_values(op, dtype):
    """NaN, infinities, zeros of both signs and the ends of the range, in all combinations, as in NumPy."""
    special = SPECIAL if dtype == "float64" else np.array([*SPECIAL[:10], 1e-45, 1e38])
    few = len(op.shapes) == 3 or op.name == "log_loss"  # whose terms of 1e308 may cancel
    special = special[:8] if few else special
    inputs = [x.astype(dtype).ravel() for x in np.meshgrid(*[special] * len(op.shapes))]
    result = np.asarray(op(*inputs))
    with np.errstate(all="ignore"):
        expected = np.asarray(op.expression(ORACLE, *inputs))
    np.testing.assert_allclose(result, expected, rtol=8 * EPS[dtype], atol=0)
    if op.kind == "float" and op.name not in SIGN_OF_ZERO_IS_FREE:
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(expected[zero]))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "argmax", "argmin", "cumsum", "logsumexp", "softmax"])
def test_special_values_reduced(name, dtype):
    """One NaN or infinity among many, at every place of a vector register."""
    op, length = BY_NAME[name], 37
    for value, place in itertools.product([np.nan, np.inf, -np.inf], range(0, length, 3)):
        x = np.linspace(0.5, 1.5, length).astype(dtype)
        x[place] = value
        for y in (x, np.stack([x, x[::-1]]), np.stack([x, x[::-1]], 1)):
            with np.errstate(all="ignore"):
                expected = np.asarray(op.expression(ORACLE, y.astype(np.float64)))
            np.testing.assert_allclose(op(y), expected, rtol=64 * EPS[dtype])


def test_special_values_elsewhere():
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(corgi.max(np.array([[nan, 1.0], [2.0, 3.0]]), axis=0), [nan, 3.0])
    np.testing.assert_array_equal(corgi.logsumexp([-inf, -inf]), -inf)
    np.testing.assert_array_equal(corgi.logsumexp([inf, 0.0]), inf)
    np.testing.assert_array_equal(corgi.softmax([-inf, 0.0]), [0.0, 1.0])
    np.testing.assert_array_equal(corgi.log_softmax([-inf, 0.0]), [-inf, 0.0])
    np.testing.assert_array_equal(corgi.matmul([[0.0, 1.0]], [[inf], [1.0]]), [[nan]])
    np.testing.assert_array_equal(corgi.max_pool([[[nan, 1.0], [2.0, 3.0]]], 2), [[[nan]]])
    np.testing.assert_array_equal(corgi.max_pool([[[-inf, -inf], [-inf, -inf]]], 2), [[[-inf]]])
    np.testing.assert_array_equal(corgi.where([True, False], [1.0, nan], [nan, 2.0]), [1.0, 2.0])
    for name in ("dense", "conv", "avg_pool"):
        op = BY_NAME[name if name != "dense" else "dense[None]"]
        inputs = op.samples()
        inputs[0].flat[0] = nan
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(corgi.isnan(op(*inputs)), np.isnan(op.oracle(*inputs)))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "power", "negative", "absolute", "square", "sum", "cumsum"])
def test_int64_wraps_around(name):
    op = BY_NAME[name]
    x = np.array([2**63 - 1, -(2**63), 2**62, 3])
    inputs = [x, np.array([2, 3, 2, 63])][: len(op.shapes)]
    np.testing.assert_array_equal(op(*inputs), op.oracle(*inputs))


def test_int64_division():
    x, y = (a.ravel() for a in np.meshgrid([-7, -1, 0, 1, 7, 2**63 - 1, -(2**63)], [-3, -1, 0, 1, 3]))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(corgi.floor_divide(x, y), np.floor_divide(x, y))
        np.testing.assert_array_equal(corgi.remainder(x, y), np.remainder(x, y))


def test_long_float32_sum():
    assert corgi.sum(corgi.ones(2**25, "float32")).item() == 2**25
    x = np.random.default_rng(0).random(10**6, np.float32)
    assert corgi.sum(x).item() == pytest.approx(x.sum(dtype=np.float64), rel=1e-6)
    assert corgi.var(x + np.float32(1000)).item() == pytest.approx((x + np.float32(1000)).var(dtype=np.float64), rel=1e-4)


@by_op([op for op in OPS if op.row is None and op.kind in ("float", "compare") and op.shapes == ((2, 3, 4),)])
def test_empty(op):
    """Reductions and structural ops on arrays without elements: NumPy's result, or ValueError where NumPy has none."""
    for shape in [(0, 3, 4), (2, 3, 0)]:
        x = np.zeros(shape)
        try:
            with warnings.catch_warnings(action="ignore"):
                expected = np.asarray(op.expression(ORACLE, x))
        except ValueError:
            with pytest.raises(ValueError, match=f"{op.name}: "):
                op(corgi.array(x))
            continue
        result = op(corgi.array(x))
        assert result.shape == expected.shape
        np.testing.assert_array_equal(result, expected)


# ---- threads


@pytest.mark.parametrize("op, dtype", cases([op for op in OPS if op.large and op.kind != "logic"], FLOATS))
def test_large(op, dtype):
    """Sizes that threads share: right, and the same bits for any number of threads, forward and back."""
    inputs = op.samples(dtype, op.large)
    runs = []
    for threads in (1, 2):
        with corgi.num_threads(threads):
            arrays = [corgi.array(x).tracked() for x in inputs]
            result = op(*arrays)
            if op.kind == "float":
                result.backward(corgi.array(sample(np.random.default_rng(1), result.shape, (-1.0, 1.0), dtype)))
            runs.append([np.asarray(x) for x in (result, *(a.gradient for a in arrays)) if x is not None])
    close(runs[0][0], op.oracle(*inputs), 1000 * EPS[dtype], 256 * EPS[dtype])
    for one, two in zip(*runs, strict=True):
        np.testing.assert_array_equal(one.view(f"V{one.itemsize}"), two.view(f"V{two.itemsize}"))


# ---- gradients

STEP = 2e-4


def differences(function, xs):
    """Derivatives of a scalar function of NumPy arrays by each of their elements."""
    gradients = []
    for i, x in enumerate(xs):
        gradient = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            unit = np.zeros(x.shape)
            unit[index] = 1.0
            gradient[index] = slope(function, xs, [unit if k == i else 0.0 for k in range(len(xs))])
        gradients.append(gradient)
    return gradients


def slope(function, xs, direction):
    """Derivative of a scalar function along a direction."""

    def at(t):
        return function([x + t * d for x, d in zip(xs, direction, strict=True)])

    return (8 * (at(STEP) - at(-STEP)) - (at(2 * STEP) - at(-2 * STEP))) / (12 * STEP)


def gradients_of(op, bases, layout, cotangent, create_graph=False):
    arrays = [corgi.array(x).tracked() for x in bases]
    views = [layout.view(corgi, a, shape) for a, shape in zip(arrays, op.shapes, strict=True)]
    op(*views).backward(cotangent, create_graph=create_graph)
    for array, x in zip(arrays, bases, strict=True):
        assert (array.gradient.shape, array.gradient.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(array, x)
    return [np.asarray(a.gradient) for a in arrays]


def cotangent_of(op, dtype="float64"):
    return sample(np.random.default_rng(1), op.oracle(*op.samples()).shape, (-1.0, 1.0), dtype)


@pytest.mark.parametrize("op, layout", cases(DIFFERENTIABLE, LAYOUTS))
def test_vjp(op, layout):
    bases, g = layout.bases(op), cotangent_of(op)

    def loss(xs):
        views = [layout.view(np, x, shape) for x, shape in zip(xs, op.shapes, strict=True)]
        return (op.oracle(*views) * g).sum()

    plain = gradients_of(op, bases, layout, corgi.array(g))
    for got, expected in zip(plain, differences(loss, bases), strict=True):
        close(got, expected, 1e-6, 1e-9)


@by_op([op for op in DIFFERENTIABLE if op.row and len(op.shapes) > 1])
def test_vjp_of_broadcast_operands(op):
    shapes = BROADCAST[len(op.shapes)]
    xs = op.samples(shapes=shapes)
    arrays = [corgi.array(x).tracked() for x in xs]
    result = op(*arrays)
    g = sample(np.random.default_rng(1), result.shape, (-1.0, 1.0), "float64")
    result.backward(corgi.array(g))
    for array, expected in zip(arrays, differences(lambda xs: (op.oracle(*xs) * g).sum(), xs), strict=True):
        close(array.gradient, expected, 1e-6, 1e-8)


@by_op(DIFFERENTIABLE)
def test_both_readings(op):
    """The gradient kernels, and the formulas in terms of Arrays that a recorded backward pass uses."""
    for layout in LAYOUTS:
        bases, g = layout.bases(op), corgi.array(cotangent_of(op))
        kernel, formula = (gradients_of(op, bases, layout, g, create_graph) for create_graph in (False, True))
        for a, b in zip(kernel, formula, strict=True):
            close(a, b, 1e-13, 1e-14)


@by_op([op for op in DIFFERENTIABLE if op.row])
def test_both_readings_of_special_values(op):
    special = SPECIAL if len(op.shapes) < 3 else SPECIAL[:7]
    inputs = [x.ravel() for x in np.meshgrid(*[special] * len(op.shapes))]
    for scale in (1.0, np.inf, np.nan):
        g = corgi.full(inputs[0].shape, scale)
        kernel, formula = (gradients_of(op, inputs, CONTIGUOUS, g, create_graph) for create_graph in (False, True))
        for a, b in zip(kernel, formula, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14)


@by_op([op for op in DIFFERENTIABLE if "float32" in op.dtypes])
def test_float32_gradient(op):
    """In float32, against float64 at the same values."""
    bases, g = op.samples("float32"), cotangent_of(op, "float32")
    single = gradients_of(op, bases, CONTIGUOUS, corgi.array(g))
    double = gradients_of(op, [x.astype(np.float64) for x in bases], CONTIGUOUS, corgi.array(g.astype(np.float64)))
    for a, b in zip(single, double, strict=True):
        assert a.dtype == np.float32
        close(a, b, 1e-4, 4e-6)


@pytest.mark.parametrize("op, layout", cases(DIFFERENTIABLE, [CONTIGUOUS, LAYOUTS[-1]]))
def test_higher_orders(op, layout):
    """Orders 2 and 3: derivatives along random directions of derivatives along random directions."""
    rng = np.random.default_rng(2)
    bases = layout.bases(op)
    w = corgi.array(cotangent_of(op))
    directions = [[rng.standard_normal(x.shape) for x in bases] for _ in range(3)]

    def derivative(order, xs):
        """The derivative of that order, whose cotangents depend on the inputs too."""
        arrays = [corgi.array(x).tracked() for x in xs]
        y = op(*[layout.view(corgi, a, shape) for a, shape in zip(arrays, op.shapes, strict=True)])
        value = (w * y * (1 + 0.25 * y)).sum()
        for k in range(order):
            if not value.is_tracked:
                return 0.0
            value.backward(create_graph=True)
            value = sum(
                (a.take_gradient() * d).sum() for a, d in zip(arrays, directions[k], strict=True) if a.gradient is not None
            )
        return float(value)

    for order in (1, 2, 3):
        expected = slope(functools.partial(derivative, order - 1), bases, directions[order - 1])
        assert derivative(order, bases) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@by_op(DIFFERENTIABLE)
def test_untracked_under_no_tracking(op):
    arrays = [corgi.array(x).tracked() for x in op.samples()]
    expected = op(*arrays)
    with corgi.no_tracking():
        result = op(*arrays)
    assert expected.is_tracked
    assert not result.is_tracked or result is arrays[0]
    np.testing.assert_array_equal(result, expected)
    assert not op(*op.samples()).is_tracked


@by_op(DIFFERENTIABLE)
def test_gradients_of_some_inputs(op):
    """An input that is not tracked gets no gradient and changes no other's."""
    xs, g = op.samples(), corgi.array(cotangent_of(op))
    whole = gradients_of(op, xs, CONTIGUOUS, g)
    for i in range(len(xs)):
        arrays = [corgi.array(x) for x in xs]
        arrays[i].tracked()
        op(*arrays).backward(g)
        for k, array in enumerate(arrays):
            assert (array.gradient is None) == (k != i)
        close(arrays[i].gradient, whole[i], 1e-13, 1e-14)


@by_op(OPS)
def test_result_is_nobody_elses(op):
    """A result is read-only, and keeps its values when the NumPy arrays that it came from change."""
    inputs = op.samples(op.dtypes[0])
    result = op(*inputs)
    before = result.tolist()
    for x in inputs:
        x[...] = 1
    np.testing.assert_array_equal(result, before)
    assert not np.asarray(result).flags.writeable
    assert memoryview(result).readonly


def test_one_array_twice():
    x = corgi.array([0.5, 2.0]).tracked()
    for op in (op for op in DIFFERENTIABLE if op.row and len(op.shapes) == 2):
        op(x, x).backward()
        total, x.gradient = np.asarray(x.gradient), None
        apart = gradients_of(op, [np.array([0.5, 2.0])] * 2, CONTIGUOUS, corgi.ones(2))
        close(total, apart[0] + apart[1], 1e-13, 1e-14)


def test_ties_share_the_gradient():
    x, y = corgi.array([1.0, 2.0]).tracked(), corgi.array([1.0, 0.0]).tracked()
    corgi.maximum(x, y).backward()
    assert (x.gradient.tolist(), y.gradient.tolist()) == ([0.5, 1.0], [0.5, 0.0])
    z = corgi.array([3.0, 3.0, 1.0]).tracked()
    corgi.max(z).backward()
    assert z.take_gradient().tolist() == [0.5, 0.5, 0.0]
    corgi.max_pool(corgi.reshape(corgi.array([1.0, 1.0, 1.0, 1.0]).tracked(), (1, 2, 2)), 2).backward()


def test_kinks():
    """Where a derivative does not exist, what the docs say; a NaN never hides."""
    x = corgi.array([0.0, -0.0, np.nan]).tracked()
    for function, expected in [
        (corgi.relu, [0, 0, 1]),
        (corgi.absolute, [0, 0, np.nan]),
        (corgi.sqrt, [np.inf, -np.inf, np.nan]),
    ]:
        function(x).backward()
        np.testing.assert_array_equal(x.take_gradient(), expected)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
def test_power_at_zero(exponent):
    """The derivatives of x**k at 0, with k an array: the branches of `where` that are not taken leave no NaN."""
    x, k = corgi.array([0.0]).tracked(), corgi.array([exponent])
    value = x**k
    for order in range(1, 4):
        value.backward(create_graph=True)
        value = x.take_gradient()
        expected = np.prod([exponent - i for i in range(order)]) if order == exponent else 0.0
        assert value.item() == expected
        if not value.is_tracked:
            break


def test_astype_gradient():
    x = corgi.array([1.0, 2.0], dtype="float32").tracked()
    y = corgi.astype(x, "float64") * corgi.array([1.0, 0.1])
    y.backward()
    assert (y.dtype, x.gradient.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(x.gradient, np.array([1.0, 0.1], np.float32))
    assert not corgi.astype(x, "int64").is_tracked
    (corgi.array([1.0]).tracked() * x).backward()


# ---- instruction sets


def test_level_in_use():
    config = corgi.config.config()
    assert config["instruction_set"] == os.environ.get("CORGI_CPU", config["instruction_sets"][0])


@pytest.mark.skipif("CORGI_CPU" in os.environ, reason="runs at one level")
@pytest.mark.parametrize("level", corgi.config.config()["instruction_sets"][1:])
def test_levels(level):
    """The tests of values and gradients at the levels below the best one that this CPU has."""
    chosen = "level_in_use or sizes or special or large or (contiguous and (test_vjp or test_values))"
    run_at_level(level, __file__, chosen)
