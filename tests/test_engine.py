"""The engine: the life of graphs, backward passes that nest, fail and share nodes, tracking, gradients, custom ops, memory.

Threads are in test_threads.py, arrays as values in test_array.py, each op's gradients in test_ops.py.
"""

import copy
import gc
import os
import pickle
import random
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest

import corgi
from corgi import arr

CUBE = corgi.op(lambda x: x * x * x, lambda arrays, tracked, delta: [3 * arrays[0] * arrays[0] * delta])


def leaf(*values, dtype=None):
    return arr(list(map(float, values)), dtype).tracked()


def in_use():
    gc.collect()
    return corgi.memory.stats()["in_use"]


def on_small_stack(code):
    """Run a program of its own on a stack of 8 MB."""
    command = ["sh", "-c", 'ulimit -s 8192; exec "$@"', "sh", sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# ---- graphs of all forms


def test_chain_of_a_million():
    on_small_stack("""
        import corgi
        a = corgi.arr([1.0]).tracked()
        c = a
        for _ in range(250_000):
            c = -(c * 1.0 + 0.0).reshape(1)
        c.backward()
        assert a.gradient == 1, a.gradient
        a.gradient = None
        c.backward()  # the graph stays usable
        assert a.gradient == 1
        del c
        print("done")
    """)


def test_recorded_chain():
    """create_graph: the graph of the gradient is as long, and hangs on the leaf."""
    on_small_stack("""
        import corgi
        a = corgi.arr([1.0]).tracked()
        c = a
        for _ in range(100_000):
            c = c * a
        c.backward(create_graph=True)
        g = a.take_gradient()
        assert g == 100_001
        g.backward()
        assert a.gradient == 100_001 * 100_000, a.gradient
        del c, g
        b = corgi.arr([1.0]).tracked()
        c = b
        for _ in range(100_000):
            c = c * b
        c.backward(create_graph=True)
        del c, b  # the gradient kept on b goes with it
        assert corgi.memory.stats()["in_use"] < 100_000
        print("done")
    """)


def test_chain_of_custom_ops():
    on_small_stack("""
        import corgi
        twice = corgi.op(lambda x: x + x, lambda arrays, tracked, delta: [delta])
        a = corgi.arr([0.0]).tracked()
        c = a
        for _ in range(200_000):
            c = twice(c)
        c.backward()
        assert a.gradient == 1
        del c
        print("done")
    """)


def test_many_consumers_and_many_inputs():
    a = leaf(2)
    corgi.concatenate([a * float(i) for i in range(5000)]).backward()
    assert a.gradient == sum(range(5000))
    parts = [leaf(i) for i in range(5000)]
    corgi.stack(parts).backward(np.arange(5000.0)[:, None])
    assert [p.gradient.item() for p in parts] == list(range(5000))


def test_diamonds():
    """2**60 paths, one visit for each node."""
    a = leaf(1)
    c = a
    for _ in range(60):
        c = c + c
    c.backward()
    assert a.gradient == 2.0**60
    a, c = leaf(1), leaf(1)
    root = c
    for _ in range(20):
        c = c * a
        root = root + c
    root.backward()
    assert a.gradient == sum(range(21))


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled"])
def test_free_in_any_order(order):
    before = in_use()
    a = leaf(*range(100))
    handles = [a]
    for i in range(300):
        handles.append(handles[-1] * handles[i // 2])
    handles[-1].backward(create_graph=True)
    if order == "backward":
        handles.reverse()
    elif order == "shuffled":
        random.Random(0).shuffle(handles)
    del a
    while handles:
        handles.pop()
    assert in_use() == before


def test_intermediates_are_freed_with_their_handles():
    """Ops that save nothing keep no values alive."""
    a = corgi.ones(100_000).tracked()
    before = in_use()
    c = a
    for _ in range(100):
        c = (-c + a).reshape(100, 1000).T.T.flatten()
    assert in_use() - before < 5 * a.nbytes
    c.backward()
    assert (a.gradient == 1).all()  # the results alternate between a and 0


# ---- backward


def test_backward_accumulates_until_cleared():
    a = leaf(1, 2)
    y = a * a
    for i in range(1, 4):
        y.backward()
        assert a.gradient.tolist() == [2 * i, 4 * i] and y.gradient.tolist() == [i, i]
    taken = a.take_gradient()
    assert taken.tolist() == [6, 12] and a.gradient is None and a.take_gradient() is None
    y.backward([1.0, 0.0])
    assert a.gradient.tolist() == [2, 0] and taken.tolist() == [6, 12]
    a.gradient = None
    assert a.gradient is None


def test_delta():
    a = leaf(1, 2)
    y = a * 3
    for delta in ([1, 10], np.array([1, 10], "float32"), arr([1, 10]), (1.0, 10.0)):
        a.gradient = None
        y.backward(delta)
        assert a.gradient.tolist() == [3, 30] and a.gradient.dtype == "float64"
    for wrong in ([1.0], 1.0, [[1.0, 2.0]], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"delta of shape \(2,\)"):
            y.backward(wrong)
    with pytest.raises(TypeError):
        y.backward("ones")
    with pytest.raises(TypeError, match="float array"):
        arr([1, 2]).backward()


def test_gradient_setter():
    a = leaf(1, 2, dtype="float32")
    a.gradient = [3, 4]
    assert a.gradient.tolist() == [3, 4] and a.gradient.dtype == "float32"
    (a * 2).backward()
    assert a.gradient.tolist() == [5, 6]
    for wrong in ([1.0], 0.0, [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"\(2,\)"):
            a.gradient = wrong
    with pytest.raises(TypeError):
        a.gradient = "zero"
    assert a.gradient.tolist() == [5, 6]
    del a.gradient
    assert a.gradient is None
    with pytest.raises(TypeError, match="float array"):
        arr([1, 2]).gradient = [1, 2]


def test_gradients_do_not_alias_what_they_are_made_from():
    d, q = leaf(1, 1), leaf(5, 5)
    y = leaf(1, 2) * 2
    y.backward(d)
    z = leaf(0, 0)
    z.gradient = q
    corgi.assign(d, [7.0, 7.0])
    corgi.assign(q, [7.0, 7.0])
    assert y.gradient.tolist() == [1, 1] and z.gradient.tolist() == [5, 5]
    kept = z.gradient
    z.backward()
    assert kept.tolist() == [5, 5] and z.gradient.tolist() == [6, 6]


def test_gradient_of_itself_is_no_cycle():
    before = in_use()
    a = corgi.ones(1000).tracked()
    a.gradient = a
    a.backward(a)
    del a
    assert in_use() == before


def test_which_arrays_keep_their_gradient():
    a = leaf(2)
    b = a * a
    kept = (b * a).tracked()
    root = kept * 5
    root.backward()
    assert a.gradient == 60 and kept.gradient == 5 and root.gradient == 1 and b.gradient is None
    root.gradient = a.gradient = kept.gradient = None
    (root * 2).backward()
    assert root.gradient is None and kept.gradient == 10  # the root of an earlier pass is an ordinary array again


def test_backward_from_an_untracked_result():
    for result in (arr([1.0]) * 2, corgi.softmax(arr([1.0])), arr([1.0]), corgi.matmul([[1.0]], [1.0])):
        with pytest.warns(UserWarning, match="not computed from tracked arrays"):
            result.backward()
        assert result.gradient == 1
    a = leaf(3)
    with corgi.no_tracking():
        y = a * a
    with pytest.raises(ValueError, match="create_graph=True needs a graph"):
        y.backward(create_graph=True)


def test_gradient_has_shape_and_dtype_of_its_array():
    a, b = leaf(1, 2, dtype="float32"), arr([[1.0], [2.0], [3.0]]).tracked()
    c = (a * b).tracked()
    d = c.astype("float32").tracked()
    (d * d).sum().backward()
    for x, dtype in ((a, "float32"), (b, "float64"), (c, "float64"), (d, "float32")):
        assert x.gradient.dtype == dtype and x.gradient.shape == x.shape
    np.testing.assert_allclose(a.gradient.numpy(), 2 * a.numpy() * 14, rtol=1e-6)
    np.testing.assert_allclose(b.gradient.numpy(), 2 * b.numpy() * 5, rtol=1e-6)
    w, x = corgi.ones((2, 3), "float32").tracked(), corgi.ones((4, 3)).tracked()
    corgi.matmul(x, w, transpose_b=True).backward()
    assert w.gradient.dtype == "float32" and x.gradient.dtype == "float64"


def test_dropped_and_reused_graph():
    a, b = leaf(2), leaf(3)
    c = a * b
    d, e = c * a, c * b
    del c
    d.backward()
    del d
    e.backward()
    assert a.gradient == 2 * 2 * 3 + 9 and b.gradient == 4 + 2 * 2 * 3


# ---- higher orders


def derivatives(f, x, n):
    """Value and derivatives of f at x, by n passes each through the gradient of the one before."""
    x = leaf(*x)
    found = [f(x)]
    for _ in range(n):
        found[-1].backward(create_graph=True)
        found.append(x.take_gradient())
    return [y.numpy() for y in found[1:]]


@pytest.mark.parametrize(
    ("f", "exact"),
    [
        (lambda x: x**4, [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x, lambda x: 24 + 0 * x]),
        (lambda x: (x * x) * (x * x), [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x, lambda x: 24 + 0 * x]),
        (corgi.exp, [np.exp] * 4),
        (corgi.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]),
        (
            corgi.tanh,
            [
                lambda x: 1 / np.cosh(x) ** 2,
                lambda x: -2 * np.tanh(x) / np.cosh(x) ** 2,
                lambda x: (4 * np.tanh(x) ** 2 - 2 / np.cosh(x) ** 2) / np.cosh(x) ** 2,
            ],
        ),
        (corgi.reciprocal, [lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4, lambda x: 24 / x**5]),
        (corgi.sqrt, [lambda x: 0.5 * x**-0.5, lambda x: -0.25 * x**-1.5, lambda x: 0.375 * x**-2.5]),
        (lambda x: 2.0**x, [lambda x, n=n: np.log(2) ** n * 2**x for n in (1, 2, 3, 4)]),
        (CUBE, [lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x]),
    ],
    ids=["power", "products", "exp", "sin", "tanh", "reciprocal", "sqrt", "exponent", "custom"],
)
def test_derivatives_of_higher_order(f, exact):
    """Ops that save their output (tanh, exp, sqrt) find its node again at each order."""
    x = [0.5, 1.0, 2.5]
    for got, right in zip(derivatives(f, x, len(exact)), exact, strict=True):
        np.testing.assert_allclose(got, right(np.array(x)), rtol=1e-12, atol=1e-12)


def test_gradient_of_a_gradient_penalty():
    """Second order through two parameters: the derivative of |dy/dx|^2 by w, with y = tanh(w x)."""
    x, w = leaf(0.3), leaf(0.7)
    corgi.tanh(w * x).backward(create_graph=True)
    w.gradient = None
    (x.take_gradient() ** 2).backward()
    t = np.tanh(0.21)
    s = 1 - t * t
    np.testing.assert_allclose(w.gradient.item(), 2 * 0.7 * s * (s - 2 * 0.7 * 0.3 * t * s), rtol=1e-14)


def test_gradients_without_create_graph_are_outside_the_graph():
    a = leaf(2)
    (a * a * a).backward()
    assert not a.gradient.is_tracked
    (a * a).backward(create_graph=True)
    assert a.gradient == 16 and a.gradient.is_tracked
    (a * a).backward(a)
    assert a.gradient == 24


# ---- tracking


def test_flags_return_previous_values():
    a = arr([1.0])
    assert not a.is_tracked and a.start_tracking() is False and a.is_tracked and a.start_tracking() is True
    assert a.stop_tracking() is True and a.stop_tracking() is False and not a.is_tracked
    assert a.tracked() is a and a.is_tracked and a.untracked() is a and not a.is_tracked
    for make in (arr([1]).tracked, arr([True]).tracked, arr([1]).start_tracking):
        with pytest.raises(TypeError, match="float array"):
            make()


def test_untracked_operands_build_no_graph():
    before = in_use()
    a = corgi.ones(1000)
    for _ in range(10):
        a = a * 2
    assert not a.is_tracked and in_use() - before < 20_000


@pytest.mark.parametrize("clone", [copy.copy, lambda a: a.copy(), lambda a: +a, arr], ids=["copy", ".copy()", "+", "array"])
def test_clones_share_the_gradient_but_not_the_flags(clone):
    a = leaf(1, 2)
    b = clone(a)
    assert b is not a and b.is_tracked
    b.stop_tracking()
    assert a.is_tracked and not (b * 2).is_tracked
    (a * 3).backward()
    assert b.gradient.tolist() == [3, 3]
    b.gradient = None
    assert a.gradient is None
    y = a * a
    z = clone(y)
    del y
    z.backward()
    assert b.gradient.tolist() == [2, 4]


def test_detach():
    a = leaf(1, 2)
    y = a * a
    assert not y.detach().is_tracked and y.is_tracked
    (y.detach() * a).backward()
    assert a.gradient.tolist() == [1, 4]


def test_no_tracking():
    a = leaf(1)
    with corgi.no_tracking():
        assert not (a * 2).is_tracked
        with corgi.no_tracking():
            pass
        assert not (a * 2).is_tracked and a.is_tracked
        with pytest.raises(ZeroDivisionError), corgi.no_tracking():
            1 / 0  # noqa: B018
        assert not (a * 2).is_tracked
    assert (a * 2).is_tracked

    @corgi.no_tracking()
    def double(x):
        """Twice x."""
        return x * 2 if x.size else double(x)

    assert not double(a).is_tracked and double.__doc__ == "Twice x." and (a * 2).is_tracked
    y = a * a
    with corgi.no_tracking():
        y.backward()
    assert a.gradient == 2


def test_pickle_and_deepcopy():
    values = np.arange(6.0).reshape(2, 3)
    for dtype in ("float64", "float32", "int64", "bool"):
        a = arr(values, dtype)
        for x in (a, a.T, a[:, ::2], a[0, 0], a[:0]):
            if a.dtype.kind == "f":
                x = x.detach().tracked()
            for other in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
                assert other.tolist() == x.tolist() and other.shape == x.shape and other.dtype == x.dtype
                assert other.is_tracked == x.is_tracked
    a = leaf(1, 2)
    model = {"w": a, "again": a}
    other = copy.deepcopy(model)
    assert other["w"] is other["again"] and other["w"] is not a
    (other["w"] * 2).backward()
    assert a.gradient is None


# ---- values never change


def test_nobody_sees_new_values_of_a_parameter():
    w = leaf(1, 2, 3, 4)
    exported, clone, view, detached, memory = w.numpy(), w.copy(), w.reshape(2, 2).T, w.detach(), memoryview(w)
    y = w * w
    for step in range(3):
        w.gradient = [1.0, 1.0, 1.0, 1.0]
        corgi._core.sgd_step(w, None, 1.0)
        assert w.tolist() == [0 - step, 1 - step, 2 - step, 3 - step]
    for old in (exported, clone, view.T.flatten(), detached, memory):
        assert old.tolist() == [1, 2, 3, 4]
    del clone.gradient
    y.backward()
    assert clone.gradient.tolist() == [2, 4, 6, 8] and w.gradient is None
    latest = w.numpy()
    corgi.assign(w, [9.0, 9.0, 9.0, 9.0])
    assert latest.tolist() == [-2, -1, 0, 1]


def test_graph_keeps_the_values_it_was_made_with():
    """Also a custom op's backward, and also when the handle's flag changes."""
    for function, gradient in ((lambda w: w * w * w, 12), (CUBE, 12), (lambda w: corgi.exp(w), np.exp(2.0))):
        w = leaf(2)
        old = w.copy()
        y = function(w)
        corgi.assign(w, [10.0])
        w.stop_tracking()
        y.backward(create_graph=True)
        g = old.take_gradient()
        assert g.item() == pytest.approx(gradient)
        g.backward()
        assert old.gradient.item() == pytest.approx(np.exp(2.0) if gradient != 12 else 12)


def test_augmented_assignment_rebinds():
    a = b = arr([1.0, 2.0])
    a += 1
    a *= 2
    a -= b
    a /= 2
    assert a.tolist() == [1.5, 2] and b.tolist() == [1, 2]
    with pytest.raises(TypeError):
        b[0] = 5.0
    with pytest.raises(TypeError):
        del b[0]


def test_gradient_taken_earlier_keeps_its_values():
    a = leaf(1, 2)
    y = a * 2
    y.backward()
    early, exported = a.gradient, a.gradient.numpy()
    y.backward()
    assert early.tolist() == [2, 2] and exported.tolist() == [2, 2] and a.gradient.tolist() == [4, 4]


# ---- backward inside backward, and failures


def test_backward_inside_backward_on_shared_nodes():
    x = leaf(3)
    u = x * x
    v = u * 5

    def backward(arrays, tracked, delta):
        v.backward()
        return [delta * 7]

    y = corgi.op(lambda x: x * 1, backward)(u) + u
    y.backward()
    assert x.gradient == 7 * 6 + 6 + 5 * 6
    y.backward()
    assert x.gradient == 2 * (7 * 6 + 6 + 5 * 6)


def test_backward_of_the_same_root_inside_its_backward():
    x, depth = leaf(2), [0]

    def backward(arrays, tracked, delta):
        if depth[0] < 30:
            depth[0] += 1
            y.backward()
        return [delta * 3 * arrays[0] ** 2]

    y = corgi.op(lambda v: v * v * v, backward)(x) * 1.0
    y.backward()
    assert depth == [30] and x.gradient == 31 * 12


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_with_backward_inside_backward(seed):
    """Every third node is a custom op whose backward runs backward from some earlier node.

    From a root the leaf gets the root's own derivative and, for each custom op below it, what its earlier node gives.
    """
    rng = random.Random(seed)
    x = leaf(1)
    nodes, derivative, below, starts = [x * 1], [1], [set()], {}

    def custom(i, j):
        starts[i] = j
        return corgi.op(lambda v: v * 1, lambda arrays, tracked, delta: nodes[j].backward() or [delta])

    for i in range(1, 16):
        a, b = rng.randrange(i), rng.randrange(i)
        nodes.append(nodes[a] + nodes[b] * 2.0)
        derivative.append(derivative[a] + 2 * derivative[b])
        below.append(below[a] | below[b])
        if i % 3 == 0:
            nodes[i] = custom(i, rng.randrange(i))(nodes[i])
            below[i] = below[i] | {i}

    def total(root):
        return derivative[root] + sum(total(starts[i]) for i in below[root])

    for root in (15, 7, 15):
        x.gradient = None
        nodes[root].backward()
        assert x.gradient == total(root)


def test_derivative_inside_backward():
    """A custom op that has its gradient computed by a graph of its own; backward runs untracked, corgi.grad tracks."""
    derivative = corgi.grad(lambda v: (v**4).sum())
    quartic = corgi.op(lambda v: v**4, lambda arrays, tracked, delta: [derivative(arrays[0]) * delta])
    x = leaf(2, 3)
    for got, right in zip(derivatives(quartic, [2, 3], 4), ([32, 108], [48, 108], [48, 72], [24, 24]), strict=True):
        assert got.tolist() == right
    (quartic(x) + x).backward()
    assert x.gradient.tolist() == [33, 109]


def test_failure_inside_backward_leaves_everything_as_it_was():
    a, b, z = leaf(1), leaf(2), leaf(3)
    z.gradient = [100.0]

    def fail(arrays, tracked, delta):
        raise ZeroDivisionError

    bad = corgi.op(lambda x: x * 1, fail)
    before = in_use()
    for make in (lambda: bad(a) * b + z, lambda: z + b * bad(a), lambda: (z * b + bad(a * b)) * z):
        y = make()
        with pytest.raises(ZeroDivisionError):
            y.backward()
        assert a.gradient is None and b.gradient is None and y.gradient is None and z.gradient == 100
        with pytest.raises(ZeroDivisionError):
            y.backward(create_graph=True)
        assert y.is_tracked and (a * b).is_tracked and not a.detach().is_tracked
    del y
    assert in_use() == before
    (a * b).backward()
    assert a.gradient == 2 and b.gradient == 1

    with pytest.raises(ZeroDivisionError):
        corgi.op(lambda x: 1 / 0, fail)(a)
    assert (a * b).is_tracked


# ---- custom ops


def test_custom_op_sees_inputs_flags_and_delta():
    seen = []

    def backward(arrays, tracked, delta):
        seen.append(([x.tolist() for x in arrays], tracked, delta.tolist(), (arrays[0] * delta).is_tracked))
        return [delta, None, delta * 2]

    f = corgi.op(lambda x, y, z: x + y + 2 * z, backward)
    x, z = leaf(1), leaf(3)
    f(x, arr([2.0]), z).backward([10.0])
    assert seen == [([[1], [2], [3]], (True, False, True), [10], False)]
    assert x.gradient == 10 and z.gradient == 20
    assert not f(arr([1.0]), 2.0, [3.0]).is_tracked


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda d: [d], "expected backward to return 2 gradients"),
        (lambda d: [d, d, d], "expected backward to return 2 gradients"),
        (lambda d: d, "expected backward to return 2 gradients"),
        (lambda d: None, "expected backward to return 2 gradients"),
        (lambda d: [d, arr([1.0, 2.0])], r"a gradient of shape \(1,\) for input 1, got \(2,\)"),
    ],
)
def test_custom_op_with_wrong_gradients(returned, message):
    x, y = leaf(1), leaf(2)
    with pytest.raises(ValueError, match=message):
        corgi.op(lambda x, y: x * y, lambda arrays, tracked, delta: returned(delta))(x, y).backward()
    assert x.gradient is None and y.gradient is None


def test_custom_op_of_two_inputs_to_second_order():
    f = corgi.op(lambda x, y: x * x * y, lambda a, tracked, d: [2 * a[0] * a[1] * d, a[0] * a[0] * d])
    x, y = leaf(3), leaf(5)
    f(x, y).backward(create_graph=True)
    gx, gy = x.take_gradient(), y.take_gradient()
    assert gx == 30 and gy == 9
    (gx + gy).backward()
    assert x.gradient == 2 * 5 + 2 * 3 and y.gradient == 2 * 3


def test_custom_op_converts_dtypes_and_numbers():
    f = corgi.op(
        lambda x: x.numpy() ** 2, lambda arrays, tracked, d: [2.0 * arrays[0].numpy().astype("float64") * d.numpy()]
    )
    x = leaf(3, dtype="float32")
    y = f(x)
    y.backward()
    assert y.dtype == "float32" and x.gradient == 6 and x.gradient.dtype == "float32"
    with pytest.raises(TypeError, match="two functions"):
        corgi.op(lambda x: x, None)


def test_custom_op_that_returns_its_input():
    same = corgi.op(lambda x: x, lambda arrays, tracked, delta: [delta * 2])
    x = leaf(1)
    y = same(x)
    assert y is not x
    (y + x).backward()
    assert x.gradient == 3


# ---- memory


def step(w, b, x):
    loss = (corgi.tanh(corgi.matmul(x, w, b)) ** 2).mean()
    loss.backward()
    corgi._core.sgd_step(w, None, 0.01)
    corgi._core.sgd_step(b, None, 0.01)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_training_loop_does_not_grow():
    w, b, x = corgi.ones((4, 3)).tracked(), corgi.zeros(3).tracked(), corgi.ones((5, 4))
    for _ in range(100):
        step(w, b, x)
    bytes_in_use, resident_bytes = in_use(), resident()
    for _ in range(10_000):
        step(w, b, x)
    assert in_use() == bytes_in_use
    assert resident() - resident_bytes < 2**20


def test_second_epoch_asks_the_system_for_nothing():
    w, b = corgi.ones((40, 30)).tracked(), corgi.zeros(30).tracked()
    for _ in range(5):
        step(w, b, corgi.ones((50, 40)))
    stats = corgi.memory.stats()
    for _ in range(50):
        step(w, b, corgi.ones((50, 40)))
    after = corgi.memory.stats()
    assert after["allocations"] == stats["allocations"] and after["reuses"] > stats["reuses"]


@pytest.mark.parametrize(
    "function",
    [lambda x: x * x * x, CUBE, corgi.tanh, lambda x: corgi.op(lambda v: v * v, lambda a, t, d: [CUBE(a[0]) * d])(x)],
)
def test_gradient_that_depends_on_its_leaf_is_freed_with_it(function):
    before = in_use()
    for _ in range(10):
        x = corgi.ones(1000).tracked()
        y = function(x)
        y.backward(create_graph=True)
        (x.gradient * 2).backward(create_graph=True)
        del x, y
    assert in_use() == before


def test_arrays_are_freed_at_once():
    a = leaf(1)
    b = a * 2
    dead = weakref.ref(b)
    c = b * 3
    del b
    assert dead() is None
    c.backward()
    assert a.gradient == 6
