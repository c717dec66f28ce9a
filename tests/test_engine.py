"""The engine: graphs of all forms, backward passes that nest, fail and share nodes, gradients of gradients.

Tracking and memory are in test_tracking.py, threads in test_threads.py, each op's own gradients in test_ops.py.
"""

import gc
import random
import subprocess
import sys
import textwrap

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
        print("done")  # the chain is freed when Python exits
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


def test_gradients_of_different_arrays_are_independent():
    a, b, w = leaf(1), leaf(2), arr([7.0])
    y = a + b
    y.backward()
    corgi.assign(a.gradient, [50.0])
    b.gradient.tracked()
    assert [x.gradient.item() for x in (a, b, y)] == [50, 1, 1] and not y.gradient.is_tracked
    a.gradient = None
    corgi.op(lambda x: x * w, lambda arrays, tracked, delta: [w])(a).backward()
    corgi.assign(w, [8.0])
    assert a.gradient == 7


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


FAILING = [
    lambda a, b: a + b,
    lambda a, b: a @ b,
    lambda a, b: corgi.matmul(a, a, b),
    lambda a, b: a[5],
    lambda a, b: a[[0, 9]],
    lambda a, b: a[0, 0, 0],
    lambda a, b: a.reshape(5, 5),
    lambda a, b: corgi.concatenate([a, b]),
    lambda a, b: corgi.stack([a, b]),
    lambda a, b: corgi.broadcast_to(a, (7, 7)),
    lambda a, b: corgi.where(a > 0, a, b),
    lambda a, b: corgi.axpy(a, a, b),
    lambda a, b: a.sum(axis=4),
    lambda a, b: a[:0].max(),
    lambda a, b: corgi.conv(a, b),
    lambda a, b: corgi.dense(a, b),
    lambda a, b: corgi.cross_entropy(a, b),
    lambda a, b: corgi.softmax_cross_entropy(a, [9, 9, 9, 9]),
    lambda a, b: corgi.take(a, [0, 17]),
    lambda a, b: (a * 2).backward(b),
    lambda a, b: setattr(a, "gradient", b),
    lambda a, b: corgi.assign(a, b),
    lambda a, b: arr([a, b]),
    lambda a, b: a + "x",
    lambda a, b: corgi.zeros((10**6, 10**6, 10**6)),
    lambda a, b: corgi.op(lambda x: x[100], lambda *_: [])(a),
    lambda a, b: corgi.op(lambda x: x * 2, lambda *_: [b])(a * 3).backward(),
]


@pytest.mark.parametrize("call", FAILING)
def test_failed_calls_change_and_leak_nothing(call):
    a, b = corgi.ones((4, 5)).tracked(), corgi.ones((3, 7)).tracked()
    a.gradient = a
    for _ in range(3):
        before = in_use()  # the first rounds fill caches
        for _ in range(20):
            with pytest.raises((ValueError, TypeError, IndexError, MemoryError)):
                call(a, b)
    assert in_use() == before
    assert a.is_tracked and (a == 1).all() and (a.gradient == 1).all() and b.gradient is None and (a * 2).is_tracked


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(64, 64), (4097,), (3, 40_001), (300, 400)])
def test_cotangents_that_meet(shape, dtype):
    """Cotangents from several consumers are added in place while nobody else sees the sum: large ones, term by term."""
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    s, t, e = 1 / (1 + np.exp(-x)), np.tanh(x), np.exp(-x * x)
    expected = s * (1 - s) * t + s * (1 - t * t) - 2 * x * e
    for turn in (False, True):
        a = corgi.array(x.T if turn else x).tracked()
        b = a.T if turn else a  # not contiguous
        y = corgi.sigmoid(b) * corgi.tanh(b) + corgi.exp(-b * b)
        held = y * 1.0
        g = corgi.ones(shape, dtype=dtype)
        held.backward(g)
        np.testing.assert_allclose(
            a.gradient.numpy(), expected.T if turn else expected, rtol=0, atol=2e-6 if dtype == "float32" else 1e-14
        )
        assert g.numpy().min() == g.numpy().max() == 1  # what the caller sees stays as it is
        held.backward(g)
        np.testing.assert_allclose(
            a.gradient.numpy(), 2 * (expected.T if turn else expected), rtol=0, atol=4e-6 if dtype == "float32" else 2e-14
        )
