"""Threads: results do not depend on their number, and Python threads may compute, differentiate and track side by side."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import corgi

BIG = 1_200_000  # elements: above every threshold from which an operation is split


def in_threads(*functions):
    """Run functions at the same time; returns their results, and raises what one of them raised."""
    results, barrier = [None] * len(functions), threading.Barrier(len(functions))

    def run(i):
        try:
            barrier.wait()
            results[i] = functions[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def random(*shape, dtype="float64"):
    return corgi.array(np.random.default_rng(sum(shape)).standard_normal(shape), dtype)


# ---- the number of threads


def convolution(dtype):
    x, f = random(8, 6, 64, 64, dtype=dtype).tracked(), random(20, 6, 3, 3, dtype=dtype).tracked()
    y = corgi.conv(x, f, padding=1)
    y.backward(random(8, 20, 64, 64, dtype=dtype))
    return y, x.gradient, f.gradient


def product(dtype):
    a, b = random(700, 600, dtype=dtype).tracked(), random(600, 500, dtype=dtype).tracked()
    y = a @ b
    y.backward()
    return y, a.gradient, b.gradient


def softmax(dtype):
    x = random(3000, 400, dtype=dtype).tracked()
    y = corgi.softmax(x)
    y.backward(random(3000, 400, dtype=dtype) * 2)
    return y, x.gradient, corgi.log_softmax(x), corgi.logsumexp(x, axis=0), corgi.logsumexp(x)


def elementwise(dtype):
    x = random(BIG, dtype=dtype)
    y = x.detach().tracked()
    z = corgi.tanh(y) * corgi.exp(-y * y) + corgi.sin(x)
    z.backward()
    broadcast = random(1000, 1, dtype=dtype) * random(1200, dtype=dtype)
    return z, y.gradient, broadcast, broadcast.T + 1, corgi.log(abs(x))


def reductions(dtype):
    x = random(1000, 1200, dtype=dtype)
    names = ("sum", "mean", "var", "max", "min", "prod", "argmax", "argmin")
    return [getattr(corgi, name)(x, axis=axis) for name in names for axis in (None, 0, 1)] + [corgi.cumsum(x, axis=0)]


def batched_products(dtype):
    a, b = random(30, 120, 100, dtype=dtype), random(30, 100, 110, dtype=dtype)
    return a @ b, a @ b[0], corgi.matmul(a, a, transpose_a=True)


def training(dtype):
    w, x = random(300, 400, dtype=dtype).tracked(), random(500, 400, dtype=dtype)
    for _ in range(3):
        (corgi.dense(x, w, corgi.zeros(300, dtype), "tanh") ** 2).mean().backward()
        corgi.optimizer.GradientDescent(0.1).step([w])
    return [w]


def network(dtype):
    """test_training.py has one with convolutions."""
    corgi.seed(1)
    layers = [corgi.layer.Dense(n, m, None, "relu", dtype=dtype) for n, m in ((500, 700), (700, 300))]
    layers.append(corgi.layer.Dense(300, 10, dtype=dtype))
    model = corgi.Model(layers, corgi.optimizer.Adam(0.001), corgi.cost.softmax_cross_entropy)
    x, labels = random(400, 500, dtype=dtype), corgi.array(np.arange(400) % 10)
    for _ in range(3):
        model.forward(x)
        model.backward(labels)
        model.update()
    return model.parameters()


COMPUTATIONS = (convolution, product, batched_products, softmax, elementwise, reductions, training, network)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("compute", COMPUTATIONS, ids=lambda f: f.__name__)
def test_results_do_not_depend_on_the_number_of_threads(compute, dtype):
    results = []
    for n in (1, 2, 3):
        with corgi.num_threads(n):
            results.append([r.numpy().tobytes() for r in compute(dtype)])
    assert results[0] == results[1] == results[2]


def test_number_of_threads():
    previous = corgi.set_num_threads(3)
    assert corgi.get_num_threads() == 3 and corgi.set_num_threads(previous) == 3
    with pytest.raises(ZeroDivisionError), corgi.num_threads(5):
        assert corgi.get_num_threads() == 5
        1 / 0  # noqa: B018
    assert corgi.get_num_threads() == previous
    for wrong, error in ((0, ValueError), (-1, ValueError), (257, ValueError), (1.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="set_num_threads"):
            corgi.set_num_threads(wrong)


COMPETE = """
import os, sys
print("runs", flush=True)
while os.getppid() == int(sys.argv[1]):
    sum(range(10_000))
"""


def test_results_beside_competitors():
    """Other processes take the cores away from the pool's threads, NumPy's products from the calling one."""
    expected = [r.numpy().tobytes() for compute in (elementwise, reductions, product) for r in compute("float32")]
    others = [
        subprocess.Popen([sys.executable, "-c", COMPETE, str(os.getpid())], stdout=subprocess.PIPE)
        for _ in range(min(os.cpu_count() or 1, 4))
    ]
    stop, matrix = threading.Event(), np.ones((300, 300))

    def multiply():
        while not stop.is_set():
            matrix @ matrix

    thread = threading.Thread(target=multiply)
    try:
        for other in others:
            assert other.stdout.readline() == b"runs\n"
        thread.start()
        for n in (2, 3):
            with corgi.num_threads(n):
                for _ in range(3):
                    found = [
                        r.numpy().tobytes() for compute in (elementwise, reductions, product) for r in compute("float32")
                    ]
                    assert found == expected
    finally:
        stop.set()
        for other in others:
            other.kill()
            other.communicate()
        if thread.ident:
            thread.join()


# ---- Python threads


def test_two_threads_compute_at_once():
    x = random(BIG)
    values = x.numpy()

    def compute():
        for _ in range(5):
            y = (x * 2 + 1).sum() + (x @ x) + corgi.maximum(x, 0).sum(axis=0)
        return y.item()

    right = (values * 2 + 1).sum() + values @ values + np.maximum(values, 0).sum()
    for result in in_threads(*[compute] * 3):
        assert result == pytest.approx(right, rel=1e-10)
    before = compute()
    assert in_threads(*[compute] * 2) == [before] * 2


def test_values_outlive_their_arrays_while_threads_compute():
    """One thread replaces the values that another computes with."""
    w, backwards = corgi.ones(BIG).tracked(), corgi.arange(BIG - 1, -1, -1)

    def replace():
        for i in range(60):
            corgi.assign(w, np.full(BIG, float(i % 7)))

    def read():
        for _ in range(60):
            y = w * 2.0
            assert y[0] == y[-1]
            total = w.sum().item()
            assert total % BIG == 0
            picked = corgi.take(w, backwards)
            assert picked[0] == picked[-1]

    in_threads(replace, read, read)


@pytest.mark.parametrize(
    "function",
    [lambda w, x: w * x, lambda w, x: w @ x, lambda w, x: corgi.dense(x, w)],
    ids=["pointwise", "product", "dense"],
)
def test_an_op_records_what_it_computed_with(function):
    """The gradient of w * x by x is the w of that moment, although another thread gives w new values meanwhile."""
    n = 300
    w, values, stop = corgi.ones((n, n)).tracked(), [np.full((n, n), float(i)) for i in range(7)], threading.Event()

    def replace():
        while not stop.is_set():
            for v in values:
                corgi.assign(w, v)

    def differentiate():
        try:
            for _ in range(50):
                x = corgi.ones((n, n)).tracked()
                y = function(w, x)
                y[0].backward()
                assert y[0, 0] == x.gradient.sum(axis=0)[0]
        finally:
            stop.set()

    in_threads(replace, differentiate)


def test_backward_of_disjoint_graphs():
    def run():
        w = random(300, 200).tracked()
        x = random(400, 300)
        for _ in range(5):
            corgi.tanh(x @ w).sum().backward()
        return w.gradient.numpy()

    right = run()
    for gradient in in_threads(*[run] * 3):
        assert (gradient == right).all()


@pytest.mark.parametrize("size", [1, 1000, BIG])
def test_backward_through_shared_nodes(size):
    """Many passes at once through one leaf and one intermediate array add up, whoever comes first."""
    w = corgi.ones(size).tracked()
    shared = w * 2.0

    def run(factor):
        def backward():
            y = shared * factor
            for _ in range(10):
                y.backward()
                (y + w).backward()
                (w.sum() + 0.0).backward()  # its gradient is a broadcast view

        return backward

    in_threads(run(1.0), run(3.0), run(5.0))
    assert (w.gradient == 10 * (2 * 2 * (1 + 3 + 5) + 2 * 3)).all()


def test_backward_of_one_root_in_several_threads():
    w = corgi.ones(BIG).tracked()
    y = (w * w).reshape(-1, 10) * 3.0
    seen = []

    def run():
        for _ in range(5):
            y.backward()
            seen.append(w.gradient)  # a handle on the gradient: it may not change any more

    in_threads(run, run, run)
    assert (w.gradient == 15 * 6).all() and (y.gradient == 15).all()
    for gradient in seen:
        assert gradient.min() == gradient.max()


@pytest.mark.parametrize("side", [4, 200], ids=["small", "large"])
def test_programs_on_shared_leaves(side):
    """Random programs of four threads over the same leaves and intermediate arrays, with ops in Python between."""
    python_op = corgi.op(lambda a: a * 2, lambda arrays, tracked, delta: [sum([delta, delta])])
    steps = [
        lambda a, b: a + b,
        lambda a, b: a.T - b,
        lambda a, b: python_op(a),
        lambda a, b: a[::-1] + b.sum(axis=0),
        lambda a, b: corgi.concatenate([a[:1], b[1:]]),
    ]

    def program(seed, shared):
        def run():
            rng = np.random.default_rng(seed)
            for _ in range(15):
                arrays = list(shared)
                for _ in range(10):
                    a, b = rng.integers(len(arrays), size=2)
                    arrays.append(steps[rng.integers(len(steps))](arrays[a], arrays[b]))
                    arrays[-1].backward()

        return run

    def gradients(execute):
        leaves = [corgi.ones((side, side)).tracked() for _ in range(2)]
        shared = [*leaves, leaves[0] + leaves[1], python_op(leaves[1]).T]
        execute([program(seed, shared) for seed in range(4)])
        return [leaf.gradient.tolist() for leaf in leaves]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        at_once = gradients(lambda runs: in_threads(*runs))
    finally:
        sys.setswitchinterval(interval)
    assert at_once == gradients(lambda runs: [run() for run in runs])


def test_custom_op_that_waits_for_another_thread():
    """A pass that another thread starts in the middle of a pass, on the same nodes."""
    w = corgi.ones(3).tracked()
    shared = w * 2.0
    other = shared * 10.0
    waiting = corgi.op(lambda v: v * 1.0, lambda arrays, tracked, delta: in_threads(other.backward) and [delta])
    (waiting(shared) + shared).backward()
    assert w.gradient.tolist() == [4 + 20] * 3


def test_no_tracking_is_of_one_thread():
    a = corgi.ones(2).tracked()
    inside, done = threading.Event(), threading.Event()

    def untracked():
        with corgi.no_tracking():
            inside.set()
            done.wait()
            return (a * 2).is_tracked

    def tracked():
        inside.wait()
        try:
            return (a * 2).is_tracked
        finally:
            done.set()

    assert in_threads(untracked, tracked) == [False, True]


def test_threads_make_and_drop_arrays():
    """The cache of memory, free lists of nodes: many threads, many sizes, nothing lost."""
    before = corgi.memory.stats()["in_use"]

    def run(seed):
        def churn():
            rng, kept = np.random.default_rng(seed), []
            for i in range(1500):
                x = corgi.full(int(rng.integers(1, 5000)), float(i)).tracked()
                y = x * 2 + x
                y.backward()
                assert x.gradient[0] == 3 and y[-1] == 3 * i
                kept.append(y)
                if len(kept) > 20:
                    kept.pop(int(rng.integers(0, 20)))

        return churn

    in_threads(*[run(seed) for seed in range(4)])
    assert corgi.memory.stats()["in_use"] == before


# ---- processes


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_after_threads():
    """A child computes with threads of its own, however busy the parent's were."""
    code = """
        import os, threading, corgi
        corgi.set_num_threads(3)

        def compute():
            x = corgi.ones((600, 700)).tracked()
            y = corgi.tanh(x) @ corgi.ones((700, 500))
            y.sum().backward()
            assert abs(x.gradient.sum().item() / (600 * 700 * 500 * 0.41997434161402614) - 1) < 1e-9

        compute()
        stop = []
        busy = threading.Thread(target=lambda: [compute() for _ in iter(lambda: len(stop), 1)], daemon=True)
        for with_thread in (False, True):
            if with_thread:
                busy.start()
            for _ in range(10):
                child = os.fork()
                if child == 0:
                    compute()
                    os._exit(0)
                compute()
                assert os.waitpid(child, 0)[1] == 0
        stop.append(1)
        busy.join()
        print("done")
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
