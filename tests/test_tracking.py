"""Tracking, custom ops, and what arrays and graphs hold: flags, clones, values that never change, memory.

The backward pass itself is in test_engine.py.
"""

import copy
import gc
import os
import pickle
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
        corgi.optimizer.GradientDescent(1.0).step([w])
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
    corgi.optimizer.GradientDescent(0.01).step([w, b])


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
    if "ASAN_OPTIONS" not in os.environ:  # a sanitizer holds freed memory back
        assert resident() - resident_bytes < 2**20


@pytest.mark.usefixtures("caching")
def test_second_epoch_asks_the_system_for_nothing():
    w, b = corgi.ones((40, 30)).tracked(), corgi.zeros(30).tracked()
    for _ in range(5):
        step(w, b, corgi.ones((50, 40)))
    stats = corgi.memory.stats()
    for _ in range(50):
        step(w, b, corgi.ones((50, 40)))
    after = corgi.memory.stats()
    assert after["allocations"] == stats["allocations"] and after["reuses"] > stats["reuses"]


def seeded_with_itself(x):
    (x + 1).backward(x, create_graph=True)


def seeded_crosswise(x):
    z = corgi.ones(len(x)).tracked()
    (x + 1).backward(z, create_graph=True)
    (z + 1).backward(x, create_graph=True)


def once(function):
    return lambda x: function(x).backward(create_graph=True)


def twice(function):
    def run(x):
        function(x).backward(create_graph=True)
        (x.gradient * x).backward(create_graph=True)

    return run


NESTED = corgi.op(lambda v: v * v, lambda arrays, tracked, delta: [CUBE(arrays[0]) * delta])
HALF_SQUARE = corgi.op(lambda v: v * v / 2, lambda arrays, tracked, delta: [arrays[0]])
FUNCTIONS = [lambda x: x * x * x, corgi.tanh, lambda x: corgi.exp(x).tracked() ** 2, CUBE, NESTED, HALF_SQUARE]


@pytest.mark.parametrize("run", [seeded_with_itself, seeded_crosswise, *map(once, FUNCTIONS), *map(twice, FUNCTIONS)])
def test_gradient_that_depends_on_its_leaf_is_freed_with_it(run):
    before = in_use()
    for _ in range(10):
        x = corgi.ones(1000).tracked()
        run(x)
        assert x.gradient is not None
        del x
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
