"""grad, vjp, jvp, jacobian, hessian, hvp and check_gradient: closed forms, nesting, containers, threads, errors."""

import collections
import contextlib
import gc
import threading

import numpy as np
import pytest

import corgi
from corgi import Array, arr, check_gradient, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

RNG = np.random.default_rng(3)


def agree(found, expected):
    expected = np.asarray(expected)
    assert type(found) is Array and found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


# ---- closed forms


def test_grad_of_powers_to_order_four():
    f = lambda x: x**5  # noqa: E731
    for expected in (80.0, 160.0, 240.0, 240.0, 120.0):
        f = grad(f)
        agree(f(2.0), expected)


def test_grad_of_tanh_to_order_three():
    t = np.tanh(0.3)
    agree(grad(corgi.tanh)(0.3), 1 - t**2)
    agree(grad(grad(corgi.tanh))(0.3), -2 * t * (1 - t**2))
    agree(grad(grad(grad(corgi.tanh)))(0.3), (1 - t**2) * (6 * t**2 - 2))


def test_argnums():
    f = lambda x, y, z: x * y**2 * z**3  # noqa: E731
    agree(grad(f, 1)(2.0, 3.0, 5.0), 2 * 2 * 3 * 125)
    agree(grad(f, -1)(2.0, 3.0, 5.0), 2 * 9 * 3 * 25)
    x, z = grad(f, (0, 2))(2.0, 3.0, 5.0)
    agree(x, 9 * 125)
    agree(z, 2 * 9 * 3 * 25)
    assert grad(f, ())(1.0, 1.0, 1.0) == ()


def test_other_arguments_pass_as_they_are():
    seen = []

    def f(x, labels, name, *, power):
        seen.extend((labels, name))
        return (x**power).sum()

    labels = [1, 2]
    agree(grad(f)([1.0, 2.0], labels, "name", power=2), [2.0, 4.0])
    assert seen[0] is labels and seen[1] == "name"


def test_value_and_grad_and_aux():
    f = lambda x: ((x * x).sum(), {"twice": 2 * x, "text": "t", "none": None})  # noqa: E731
    (value, aux), gradient = value_and_grad(f, has_aux=True)([1.0, 2.0])
    agree(value, 5.0)
    agree(gradient, [2.0, 4.0])
    agree(aux["twice"], [2.0, 4.0])
    assert aux["text"] == "t" and aux["none"] is None
    assert not (value.is_tracked or gradient.is_tracked or aux["twice"].is_tracked)
    gradient, aux = grad(f, has_aux=True)([1.0, 2.0])
    agree(gradient, [2.0, 4.0])
    agree(aux["twice"], [2.0, 4.0])


def test_vjp_and_jvp_agree_with_the_jacobian():
    a, x, y = RNG.standard_normal((3, 4)), RNG.standard_normal(4), RNG.standard_normal(3)
    f = lambda x, y: {"v": corgi.tanh(arr(a) @ x) * y, "s": [(x * x).sum()]}  # noqa: E731
    jacobians = jacobian(f, (0, 1))(x, y)
    value, pullback = vjp(f, x, y)
    u, t = RNG.standard_normal(3), (RNG.standard_normal(4), RNG.standard_normal(3))
    agree(value["v"], np.tanh(a @ x) * y)
    found = pullback({"v": u, "s": [2.0]})
    agree(found[0], u @ jacobians["v"][0].numpy() + 2 * jacobians["s"][0][0].numpy())
    agree(found[1], u @ jacobians["v"][1].numpy())
    again = pullback({"v": u, "s": [2.0]})
    agree(again[0], found[0])
    primal, tangent = jvp(f, (x, y), t)
    agree(primal["s"][0], x @ x)
    agree(tangent["v"], jacobians["v"][0].numpy() @ t[0] + jacobians["v"][1].numpy() @ t[1])
    agree(tangent["s"][0], 2 * x @ t[0])


def test_jacobian():
    a, x = RNG.standard_normal((3, 4)), RNG.standard_normal(4)
    agree(jacobian(lambda x: corgi.exp(arr(a) @ x))(x), np.exp(a @ x)[:, None] * a)
    agree(jacobian(lambda x: x.reshape(2, 2).T)(x), np.eye(4).reshape(2, 2, 4).transpose(1, 0, 2))
    agree(jacobian(lambda x: x * 3)(2.0), 3.0)
    agree(jacobian(lambda x: arr([1.0, 2.0]))(x), np.zeros((2, 4)))
    agree(jacobian(lambda x: x[:0])(x), np.zeros((0, 4)))
    agree(jacobian(lambda x: x.sum(keepdims=True))(np.zeros((0, 2))), np.zeros((1, 1, 0, 2)))


def test_hessian():
    a, x = RNG.standard_normal((4, 4)), RNG.standard_normal(4)
    agree(hessian(lambda x: x @ arr(a) @ x)(x), a + a.T)
    blocks = hessian(lambda x, y: x @ arr(a[:, :2]) @ y * 2.0, (0, 1))(x, x[:2])
    agree(blocks[0][1], 2 * a[:, :2])
    agree(blocks[1][0], 2 * a[:, :2].T)
    agree(blocks[1][1], np.zeros((2, 2)))
    nested = hessian(lambda p: p["w"] * p["b"] ** 2)({"w": 2.0, "b": 3.0})
    agree(nested["b"]["w"], 6.0)
    agree(nested["b"]["b"], 4.0)


def test_custom_op_whose_gradient_is_computed_elsewhere():
    """It can be differentiated once; a second time is an error, not zero, and a Jacobian does without."""
    sine = corgi.op(lambda x: np.sin(x.numpy()), lambda arrays, tracked, delta: [np.cos(arrays[0]).numpy() * delta.numpy()])
    x, t = arr([0.3, 0.5]), corgi.linspace(0.0, 1.0, 8)
    agree(grad(lambda x: sine(x * x).sum())(x), 2 * x.numpy() * np.cos(x.numpy() ** 2))
    agree(grad(lambda x: sine(x * x).sum())(x.copy().tracked()).detach(), 2 * x.numpy() * np.cos(x.numpy() ** 2))
    with pytest.raises(TypeError, match="<lambda>: expected backward to compute with corgi's operations"):
        jvp(lambda x: sine(x * x), x, [1.0, 0.0])
    agree(jacobian(lambda x: sine(x[0] * t + x[1]))(x), jacobian(lambda x: corgi.sin(x[0] * t + x[1]))(x))
    without = corgi.op(lambda x: corgi.sign(x), lambda arrays, tracked, delta: [np.zeros(arrays[0].shape)])
    agree(jvp(lambda x: without(x) * x, x, [1.0, 0.0])[1], [1.0, 0.0])


def test_hvp_is_the_hessian_times_the_vector():
    a, x, v = RNG.standard_normal((4, 4)), RNG.standard_normal(4), RNG.standard_normal(4)
    f = lambda x: corgi.sin(arr(a) @ x).sum()  # noqa: E731
    agree(hvp(f, x, v), hessian(f)(x).numpy() @ v)
    agree(hvp(f, (x,), (v,))[0], hessian(f)(x).numpy() @ v)
    g = lambda x, y: (x * y * y).sum()  # noqa: E731
    first, second = hvp(g, ([1.0, 2.0], [3.0, 4.0]), ([1.0, 1.0], [0.0, 1.0]))
    agree(first, [0.0, 8.0])
    agree(second, [6.0, 8.0 + 4.0])
    agree(hvp(lambda x: x.sum(), [1.0, 2.0], [1.0, 1.0]), [0.0, 0.0])
    agree(hvp(lambda x: arr(1.0), [1.0, 2.0], [1.0, 1.0]), [0.0, 0.0])


def test_hvp_in_containers():
    found = hvp(lambda p: (p["w"] ** 3).sum() * p["b"][0], {"w": [1.0, 2.0], "b": (2.0,)}, {"w": [1.0, 0.0], "b": (1.0,)})
    agree(found["w"], [6.0 * 2 + 3.0, 12.0])
    agree(found["b"][0], 3.0)


# ---- arguments and results


def test_what_may_be_an_argument():
    for x in (arr([1.0, 2.0]), [1.0, 2.0], (1.0, 2.0), np.array([1.0, 2.0])):
        agree(grad(lambda x: (x * x).sum())(x), [2.0, 4.0])
    agree(grad(lambda x: (x * x).sum())([[1.0], [2.0]]), [[2.0], [4.0]])
    agree(grad(lambda x: x * x)(np.float64(3.0)), 6.0)
    single = grad(lambda x: (x * x).sum())(np.array([3.0], dtype=np.float32))
    assert single.dtype == np.float32
    with corgi.default_dtype("float32"):
        assert grad(lambda x: x * x)(3.0).dtype == np.float32


Point = collections.namedtuple("Point", "x y")


def test_containers_keep_their_structure():
    p = {"layers": [(arr([1.0, 2.0]), None), Point(arr(3.0), np.array([4.0]))], "empty": [], "scale": 2.0}
    f = lambda p: (p["layers"][0][0].sum() * p["layers"][1].x * p["layers"][1].y * p["scale"]).sum()  # noqa: E731
    g = grad(f)(p)
    assert list(g) == ["layers", "empty", "scale"] and g["empty"] == [] and g["layers"][0][1] is None
    assert type(g["layers"][1]) is Point and type(g["layers"][0]) is tuple
    agree(g["layers"][0][0], [24.0, 24.0])
    agree(g["layers"][1].x, 24.0)
    agree(g["layers"][1].y, [18.0])
    agree(g["scale"], 36.0)
    assert type(p["scale"]) is float and not p["layers"][0][0].is_tracked


def test_lists_holding_arrays_are_containers():
    g = grad(lambda p: p[0] * p[1])([arr(2.0), 3.0])
    assert type(g) is list
    agree(g[0], 3.0)
    agree(g[1], 2.0)


def test_independent_arguments_get_zeros():
    x, y = grad(lambda x, y: (y * y).sum(), (0, 1))(np.ones((2, 3)), [1.0])
    agree(x, np.zeros((2, 3)))
    agree(y, [2.0])
    agree(grad(lambda x: 3.0)([1.0, 2.0]), [0.0, 0.0])
    agree(grad(lambda x: (x > 0).astype("float64").sum())([1.0, 2.0]), [0.0, 0.0])
    agree(jvp(lambda x: arr([1.0]), 2.0, 1.0)[1], [0.0])
    agree(grad(grad(lambda x: 2 * x))(1.0), 0.0)


def test_identity_and_shared_results_have_handles_of_their_own():
    x = arr(2.0)
    value, gradient = value_and_grad(lambda x: x)(x)
    assert value is not x and gradient is not value and not value.is_tracked
    agree(gradient, 1.0)
    first, second = grad(lambda x, y: x + y, (0, 1))(1.0, 1.0)
    assert first is not second
    first.tracked()
    assert not second.is_tracked
    seed = arr(3.0)
    (found,) = vjp(lambda x: x, x)[1](seed)
    assert found is not seed


def test_one_array_as_two_arguments():
    x = arr(3.0)
    first, second = grad(lambda x, y: x * x * y, (0, 1))(x, x)
    agree(first, 18.0)
    agree(second, 9.0)


def test_nobody_is_changed():
    x, w = arr([1.0, 2.0]).tracked(), arr([3.0, 4.0]).tracked()
    g = arr([7.0, 7.0])
    x.gradient = g
    inner = []

    def f(x):
        inner.append(x)
        return (w * x * x).sum()

    for call in (
        lambda: grad(f)(x),
        lambda: value_and_grad(f)(x),
        lambda: vjp(f, x)[1](1.0),
        lambda: jvp(f, x, [1.0, 1.0]),
        lambda: jacobian(f)(x),
        lambda: hessian(f)(x),
        lambda: hvp(f, x, [1.0, 1.0]),
        lambda: check_gradient(f, x),
    ):
        call()
        assert x.is_tracked and w.is_tracked and w.gradient is None
        agree(x.gradient, [7.0, 7.0])
    assert all(alias.gradient is None and alias is not x for alias in inner)


def test_results_outside_a_graph_are_untracked():
    x = arr([1.0, 2.0])
    f = lambda x: (x**3).sum()  # noqa: E731
    value, pullback = vjp(f, x)
    results = [value, *pullback(1.0), *jvp(f, x, x), hvp(f, x, x), jacobian(f)(x), hessian(f)(x), *value_and_grad(f)(x)]
    assert not any(result.is_tracked for result in results)


# ---- nesting


def test_perturbation_confusion():
    agree(grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0), 1.0)
    agree(grad(lambda x: x * grad(lambda y: x + y)(x))(1.0), 1.0)
    agree(grad(lambda x: x * grad(lambda y: x * y)(2.0))(3.0), 6.0)
    agree(grad(lambda x: x * grad(lambda y: x * y)(x))(3.0), 6.0)
    agree(grad(lambda x: x * jvp(lambda y: x + y, 1.0, 1.0)[1])(1.0), 1.0)
    agree(jvp(lambda x: x * jvp(lambda y: x + y, 1.0, 1.0)[1], 1.0, 1.0)[1], 1.0)
    agree(jvp(lambda x: x * grad(lambda y: x * y * y)(x), 2.0, 1.0)[1], 24.0)  # x * 2 x y at y = x: 2 x**3
    agree(grad(lambda x: jvp(lambda y: y**3, x, x)[1])(2.0), 36.0)  # 3 y**2 t at y = t = x


def test_three_levels_in_closures():
    f = lambda x: grad(lambda y: grad(lambda z: x * y * z**2)(y) * y)(x)  # noqa: E731
    agree(f(2.0), 6 * 2.0**3)  # d/dy 2 x y**3 = 6 x y**2
    agree(grad(f)(2.0), 18 * 2.0**2)
    agree(grad(grad(f))(2.0), 36 * 2.0)


def test_jacobian_of_grad_and_back():
    x = RNG.standard_normal(3)
    f = lambda x: (x**4).sum()  # noqa: E731
    agree(jacobian(grad(f))(x), np.diag(12 * x**2))
    agree(jacobian(jacobian(lambda x: x**3))(x)[1, 1, 1], 6 * x[1])
    agree(grad(lambda x: jacobian(lambda x: x**3)(x).sum())(x), 6 * x)
    agree(grad(lambda x: hvp(f, x, x).sum())(x), 36 * x**2)
    agree(grad(lambda x: (hessian(f)(x) ** 2).sum())(x), 2 * 12 * x**2 * 24 * x)
    agree(hvp(lambda x: hvp(f, x, x).sum(), x, x), 72 * x * x)


def test_tracked_arrays_in_closures_see_the_result():
    w = arr(3.0).tracked()
    g = grad(lambda x: w * x**2)(2.0)
    assert g.is_tracked
    (g * g).backward()
    agree(w.gradient, 2 * 12.0 * 4.0)
    w.gradient = None
    jvp(lambda x: w * x**2, 2.0, 1.0)[1].backward()
    agree(w.gradient, 4.0)
    w.gradient = None
    hvp(lambda x: w * x**3, 2.0, 1.0).backward()
    agree(w.gradient, 12.0)


def test_tracked_arguments_see_the_result():
    x = arr(2.0).tracked()
    grad(lambda x: x**3)(x).backward()
    agree(x.gradient, 12.0)
    x.gradient = None
    value, pullback = vjp(lambda x: x**3, x)
    value.backward()
    agree(x.gradient, 12.0)
    x.gradient = None
    pullback(1.0)[0].backward()
    agree(x.gradient, 12.0)
    x.gradient = None
    seed = arr(5.0).tracked()
    vjp(lambda y: y**3, 2.0)[1](seed)[0].backward()
    agree(seed.gradient, 12.0)
    tangent = arr(5.0).tracked()
    jvp(lambda y: y**3, 2.0, tangent)[1].backward()
    agree(tangent.gradient, 12.0)


def test_gradient_penalty_in_training():
    """A loss that holds an input gradient: the parameters' gradients against finite differences."""
    w = RNG.standard_normal((3, 2))
    x = RNG.standard_normal((4, 3))

    def loss(w):
        slope = grad(lambda x: corgi.tanh(x @ w).sum())(x)
        return (slope * slope).sum() + hvp(lambda x: corgi.tanh(x @ w).sum(), x, x).sum()

    check_gradient(loss, w, order=2)
    parameter = arr(w).tracked()
    loss(parameter).backward()
    agree(parameter.gradient, grad(loss)(w))


def test_under_no_tracking():
    x = arr(2.0).tracked()
    with corgi.no_tracking():
        for argument in (2.0, x):
            g = grad(grad(lambda x: x**3))(argument)
            agree(g, 12.0)
            assert not g.is_tracked
        agree(jvp(lambda x: x**3, 2.0, 1.0)[1], 12.0)
        agree(hessian(lambda x: x**3)(2.0), 12.0)
        assert not (x * x).is_tracked
    assert (x * x).is_tracked
    agree(grad(corgi.no_tracking()(lambda x: x * x))(2.0), 0.0)


def test_inside_the_backward_function_of_an_op():
    cube = corgi.op(lambda x: x**3, lambda arrays, tracked, delta: [grad(lambda x: (x**3).sum())(arrays[0]) * delta])
    x = arr([2.0]).tracked()
    cube(x).backward()
    agree(x.gradient, [12.0])
    check_gradient(cube, [2.0, 3.0], order=3)


def test_recording_is_restored_after_an_error():
    def f(x):
        raise KeyError("inside")

    with corgi.no_tracking():
        with pytest.raises(KeyError):
            grad(f)(1.0)
        assert not (arr(1.0).tracked() * 2).is_tracked
    assert (arr(1.0).tracked() * 2).is_tracked


# ---- resources


def test_many_calls_do_not_grow():
    f = grad(lambda w: corgi.tanh(w * w).sum())
    x = corgi.ones(1000)
    f(x), hvp(lambda x: (x**3).sum(), x, x)
    gc.collect()
    before = corgi.memory.stats()["in_use"]
    for _ in range(2000):
        f(x)
        hvp(lambda x: (x**3).sum(), x, x)
    assert corgi.memory.stats()["in_use"] <= before


def test_pullbacks_free_their_graph():
    gc.collect()
    before = corgi.memory.stats()["in_use"]
    value, pullback = vjp(lambda x: corgi.exp(x), corgi.ones(100_000))
    jacobian_free = pullback(value)
    del value, pullback, jacobian_free
    assert corgi.memory.stats()["in_use"] <= before


def test_threads():
    failures = []

    def work(k):
        try:
            for i in range(200):
                x = 1.0 + k + i / 200
                with corgi.no_tracking() if i % 2 else contextlib.nullcontext():
                    agree(grad(grad(lambda x: x**4))(x), 12 * x**2)
                    agree(hvp(lambda x: (x**3).sum(), [x, x], [1.0, 2.0]), [6 * x, 12 * x])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_shared_arrays_in_threads():
    w = corgi.ones(50).tracked()
    failures = []

    def work():
        try:
            for _ in range(200):
                agree(grad(lambda x: (w * x * x).sum())(w), np.full(50, 2.0))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and w.gradient is None


# ---- errors


def two(x):
    return x * arr([1.0, 2.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grad(3), TypeError, "^grad: expected a function, got int"),
        (lambda: jvp(3, 1.0, 1.0), TypeError, "^jvp: expected a function"),
        (lambda: grad(lambda x: x)(3), TypeError, r"^grad: expected floats in argument 0, got int64.*; write 1.0 for 1"),
        (lambda: grad(lambda x, y: y, 1)(1.0, [1, 2]), TypeError, "^grad: expected floats in argument 1, got int64"),
        (lambda: jacobian(lambda x: x)([True]), TypeError, "^jacobian: expected floats in argument 0, got bool"),
        (lambda: grad(lambda p: p["a"])({"a": 1}), TypeError, "^grad: expected floats in argument 0"),
        (lambda: grad(lambda x: x)("text"), TypeError, "expected numbers, got str"),
        (lambda: grad(two)(1.0), ValueError, r"^grad: expected the function to return one number, got shape \(2,\); sum it"),
        (lambda: hessian(two)(1.0), ValueError, "^hessian: expected the function to return one number"),
        (lambda: hvp(two, 1.0, 1.0), ValueError, "^hvp: expected the function to return one number"),
        (lambda: grad(lambda x: (x, x))(1.0), ValueError, "^grad: expected the function to return one number, got tuple"),
        (lambda: grad(lambda x: x > 0)(1.0), TypeError, "^grad: expected the function to return floats, got bool"),
        (lambda: grad(lambda x: None)(1.0), ValueError, "^grad: .* got NoneType"),
        (lambda: grad(lambda x: x, has_aux=True)(1.0), TypeError, r"^grad: expected a pair \(value, aux\)"),
        (lambda: grad(lambda x: x, 1)(1.0), ValueError, "^grad: argnums is 1, but .* 1 positional"),
        (lambda: grad(lambda x: x)(x=1.0), ValueError, "^grad: argnums is 0, but .* 0 positional"),
        (lambda: grad(lambda x: x, (0, -1))(1.0), ValueError, "^grad: an argument is named twice"),
        (lambda: grad(lambda x: x, "x")(1.0), TypeError, "^grad: expected an int or a tuple of ints"),
        (lambda: grad(lambda x: x, 1.0)(1.0), TypeError, "^grad: expected an int or a tuple of ints"),
        (lambda: vjp(two, 1.0)[1](1.0), ValueError, r"^vjp: expected a cotangent of shape \(2,\), got \(\)"),
        (
            lambda: vjp(lambda x: {"a": x}, 1.0)[1]([1.0]),
            ValueError,
            r"^vjp: expected a cotangent with the structure {'a': \*}",
        ),
        (lambda: jvp(two, 1.0, [1.0]), ValueError, r"^jvp: expected a tangent of shape \(\), got \(1,\)"),
        (lambda: jvp(two, (1.0,), (1.0, 1.0)), ValueError, "^jvp: expected 1 tangents, one for each argument, got 2"),
        (lambda: jvp(two, (1.0,), 1.0), ValueError, "^jvp: expected 1 tangents, one for each argument, got float"),
        (lambda: hvp(lambda x: x, (1.0,), ([1.0],)), ValueError, "^hvp: expected a vector of shape"),
        (lambda: jacobian(lambda x: x)(np.ones((1,) * 5)), ValueError, "at most 8 axes"),
        (lambda: check_gradient(two, 1), TypeError, "^check_gradient: expected floats in argument 0"),
        (lambda: check_gradient(two, 1.0, order=0), ValueError, "^check_gradient: expected an order of at least 1"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- check_gradient


def wrong_gradient(arrays, tracked, delta):
    """Right but for the last element."""
    return [2 * arrays[0] * delta * (1 + 0.01 * corgi.pad(arr([1.0]), (arrays[0].size - 1, 0)))]


def test_check_gradient_finds_a_wrong_element():
    op = corgi.op(lambda x: x * x, wrong_gradient)
    with pytest.raises(AssertionError, match=r"order 1, argument 1\['b'\]\[0\], index \(2,\): analytic \S+, numerical \S+"):
        check_gradient(lambda x, p: x * op(p["b"][0]).sum(), 2.0, {"a": None, "b": [arr([1.0, 2.0, 3.0])]})
    with pytest.raises(AssertionError, match=r"argument 0, index \(\): analytic 3.03, numerical 3"):
        check_gradient(corgi.op(lambda x: 3 * x, lambda a, t, d: [3.03 * d]), 1.0)


def test_check_gradient_finds_a_wrong_second_order():
    op = corgi.op(lambda x: x**3, lambda arrays, tracked, delta: [3 * arr(arrays[0].numpy() ** 2) * delta])
    check_gradient(op, [1.0, 2.0], order=1)
    with pytest.raises(AssertionError, match="order 2, argument 0"):
        check_gradient(op, [1.0, 2.0])


def test_check_gradient_finds_a_missing_gradient_and_nan():
    with pytest.raises(AssertionError, match="analytic 0, numerical 1"):
        check_gradient(lambda x: x.detach(), 1.0)
    with pytest.raises(AssertionError, match="analytic nan"):
        check_gradient(lambda x: x * np.nan, 1.0)


def test_check_gradient_tries_some_of_many_elements():
    calls = []
    check_gradient(lambda x: (calls.append(1), (x * x).sum())[1], np.ones(10_000), order=1, samples=7)
    assert len(calls) == 1 + 2 * 7


def test_check_gradient_of_many_shapes():
    check_gradient(lambda x: x * x, np.ones((0, 3)))
    check_gradient(lambda x: {"a": x, "b": [x * x, 2.0 * x]}, [[1.0, 2.0]], order=3)
    check_gradient(lambda x, y: x @ y, RNG.standard_normal((2, 3)), RNG.standard_normal(3))
    check_gradient(lambda x: x * x, arr([1.0, 1e6, -1e-6], dtype="float32"))
    check_gradient(lambda x, y: corgi.exp(x) / y, 1.0, [2.0, 3.0], order=4)
