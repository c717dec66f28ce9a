"""fit, evaluate, predict, summary: against loops written by hand, scikit-learn's metrics, and interruptions at any time."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import corgi
from corgi import Model, arr, cost, metric
from corgi.callback import Callback, LambdaCallback
from corgi.data import Loader
from corgi.layer import Conv, Dense, Flatten, Layer
from corgi.optimizer import Adam, GradientDescent


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def classifier(seed=0, dtype=None, optimizer=None):
    corgi.seed(seed)
    layers = [Dense(4, 8, activation="tanh", dtype=dtype), Dense(8, 3, activation="softmax", dtype=dtype)]
    return Model(layers, optimizer or GradientDescent(0.1, 0.9), cost.cross_entropy)


X, Y = normal(50, 4), np.random.default_rng(1).integers(3, size=50)


def values(model):
    return [p.numpy().copy() for p in model.parameters()]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(autouse=True)
def package_generator_is_restored(monkeypatch):
    monkeypatch.setattr(corgi.initializer, "_default", None)


# ---- fit


@pytest.mark.parametrize("batch_size", [1, 7, 50, 64])
def test_fit_does_what_a_loop_does(batch_size):
    by_hand, model = classifier(), classifier()
    losses = [0.0] * 3
    loader = Loader((arr(X), arr(Y)), batch_size, shuffle=True, seed=5)
    for epoch in range(3):
        for x, y in loader:
            by_hand.forward(x)
            losses[epoch] += by_hand.backward(y) * len(x) / 50
            by_hand.update()
    history = model.fit(X, Y, epochs=3, batch_size=batch_size, seed=5)
    assert same(values(model), values(by_hand))
    assert history["loss"] == pytest.approx(losses, rel=1e-12)
    assert history["rate"] == [0.1] * 3 and all(s > 0 for s in history["seconds"])
    assert list(history) == ["loss", "rate", "seconds"] and history.epochs == 3 and history.stopped == ""


def test_the_same_seed_gives_the_same_training():
    def run(**options):
        model = classifier()
        history = model.fit(X, Y, epochs=2, batch_size=8, validation=0.3, metrics="accuracy", **options)
        history.pop("seconds")
        return dict(history), values(model)

    (first, a), (second, b), (third, c) = run(), run(), run(seed=9)
    assert first == second and same(a, b) and first != third and not same(a, c)


def test_not_shuffled_with_a_loader_and_with_batches_of_ones_own():
    models = [classifier() for _ in range(3)]
    histories = [
        models[0].fit(X, Y, epochs=2, batch_size=20, shuffle=False),
        models[1].fit(Loader((X, Y), 20), epochs=2),
        models[2].fit([(X[i : i + 20], Y[i : i + 20]) for i in (0, 20, 40)], epochs=2),
    ]
    assert same(values(models[0]), values(models[1])) and same(values(models[0]), values(models[2]))
    assert histories[0]["loss"] == histories[1]["loss"] == histories[2]["loss"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "uint8", "list"])
def test_data_that_is_no_array_is_taken_as_forward_takes_it(kind, dtype):
    x = np.random.default_rng(0).integers(0, 5, (20, 4))
    x = x.tolist() if kind == "list" else x.astype(kind)
    y = np.eye(3)[np.arange(20) % 3]
    model, by_hand = classifier(dtype=dtype), classifier(dtype=dtype)
    model.fit(x, y, epochs=2, batch_size=20, shuffle=False)
    for _ in range(2):
        by_hand.forward(np.asarray(x))
        by_hand.backward(y)
        by_hand.update()
    assert same(values(model), values(by_hand)) and {p.dtype.name for p in model.parameters()} == {dtype}
    assert model.predict(x).dtype == dtype and np.array_equal(model.predict(x), model(np.asarray(x)))
    assert model.evaluate(x, y)["loss"] == pytest.approx(float(cost.cross_entropy(model(np.asarray(x)), y)), rel=1e-6)


def test_inputs_in_tuples_and_dicts():
    class Both(Layer):
        def __init__(self):
            self.dense = Dense(3, 1, dtype="float32")

        def forward(self, x):
            a, b = x if type(x) is tuple else (x["a"], x["b"])
            assert type(b) is np.ndarray and b.dtype == np.int64  # integers of no Array stay NumPy's
            return self.dense(corgi.concatenate([a, arr(b, "float32")], 1))

    a, b, y = normal(10, 1), np.arange(20).reshape(10, 2), normal(10, 1)
    losses = []
    for x in ((a, b), {"a": a, "b": b}):
        corgi.seed(0)
        model = Model(Both(), Adam(), cost.mse)
        losses.append(model.fit(x, y, epochs=2, batch_size=4, seed=0, validation=0.2)["loss"])
        assert model.predict(x, batch_size=3).shape == (10, 1)
        assert model.evaluate(x, y, batch_size=3)["loss"] > 0
    assert losses[0] == losses[1]


def test_validation():
    x, y = normal(30, 4, seed=3), np.arange(30) % 3
    for validation in ((x, y), Loader((x, y), 7), [(x[:10], y[:10]), (x[10:], y[10:])]):
        model = classifier()
        history = model.fit(X, Y, epochs=2, validation=validation, metrics=["accuracy", "f1"], seed=0)
        assert list(history) == ["loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1", "rate", "seconds"]
        found = model.evaluate(x, y, metrics=["accuracy", "f1"])
        last = {name: history[f"val_{name}"][-1] for name in found}
        assert found == pytest.approx(last, rel=1e-12)


def test_validation_by_a_fraction():
    seen = []

    class See(Layer):
        def forward(self, x):
            seen.append((self.training, x.numpy()[:, 0].tolist()))
            return x

    x = np.arange(100.0).reshape(100, 1)
    model = Model([See(), Dense(1, 1)], GradientDescent(0.0), cost.mse)
    model.fit(x, x, epochs=2, batch_size=10, validation=0.25, seed=1)
    train = [sum((rows for training, rows in part if training), []) for part in (seen[:9], seen[9:])]  # noqa: RUF017
    judged = [rows for training, rows in seen if not training]
    assert len(judged) == 2 and judged[0] == judged[1] and len(judged[0]) == 25
    assert all(sorted(rows + judged[0]) == x[:, 0].tolist() for rows in train) and train[0] != train[1]


def test_the_figures_of_an_epoch_are_those_over_all_rows():
    """Whatever the batches, and in training as well if nothing is learnt."""
    model = classifier(optimizer=GradientDescent(0.0))
    names = ["accuracy", "f1", "top2"]
    whole = model.evaluate(X, Y, batch_size=50, metrics=names)
    for size in (1, 7, 49):
        assert model.evaluate(X, Y, batch_size=size, metrics=names) == pytest.approx(whole, rel=1e-12)
        history = model.fit(X, Y, batch_size=size, metrics=names)
        assert {name: history[name][0] for name in whole} == pytest.approx(whole, rel=1e-12)


def test_modes_are_those_of_training_and_use_and_then_as_before():
    seen = []

    class Mode(Layer):
        def forward(self, x):
            seen.append(self.training)
            return x

    frozen = Mode().eval()
    model = Model([Mode(), Model([frozen]), Dense(4, 3)], Adam(), cost.softmax_cross_entropy)
    modes = [layer.training for layer in model.named_layers().values()]
    assert modes == [True, True, True, False, True]
    model.fit(X, Y, epochs=2, batch_size=25, validation=(X, Y))
    assert seen == 2 * [True, True, True, True, False, False]
    seen.clear()
    model.evaluate(X, Y)
    model.predict(X)
    assert seen == [False] * 4
    with pytest.raises(ZeroDivisionError):
        model.fit(X, Y, callbacks=[LambdaCallback(on_epoch_begin=lambda run: 1 / 0)])
    assert [layer.training for layer in model.named_layers().values()] == modes


def test_nothing_is_kept_of_the_graph():
    model = classifier()
    model.fit(X, Y, batch_size=50)
    before = corgi.memory.stats()["in_use"]
    for _ in range(3):
        model.fit(X, Y, batch_size=50, validation=(X, Y), metrics="accuracy")
        model.evaluate(X, Y)
        model.predict(X)
    assert corgi.memory.stats()["in_use"] == before
    assert model._output is None and all(p.gradient is None for p in model.parameters())


def test_evaluating_between_forward_and_backward_changes_nothing():
    one, other = classifier(), classifier()
    one.forward(X)
    other.forward(X)
    other.evaluate(X[:3], Y[:3])
    other.predict(X[:3])
    other.summary((1, 4))
    assert one.backward(Y) == other.backward(Y)


def test_predict():
    model = classifier()
    whole = model(X)
    for size in (1, 7, 50, 64):
        found = model.predict(X, batch_size=size)
        assert np.allclose(found, whole, rtol=1e-12) and not found.is_tracked
    assert np.allclose(model.predict(Loader(X, 8)), whole, rtol=1e-12)
    assert model.predict(X[:0]).shape == (0, 3)
    assert Model([corgi.relu]).predict([[-1.0], [2.0]]).tolist() == [[0.0], [2.0]]
    with pytest.raises(ValueError, match="predict: expected at least one batch, got none"):
        model.predict(Loader(X[:0], 8))


def test_resuming_a_loader_within_fit():
    """A training that is gone on with in the middle of an epoch, in a new process as it were."""

    def loader():
        return Loader((arr(X), arr(Y)), 8, shuffle=True, seed=3, prefetch=2)

    whole = classifier()
    whole.fit(loader(), epochs=3)
    for stop in (1, 4, 6, 7, 8, 14, 20):
        first, batches = classifier(), loader()
        steps = 0

        def count(run, batches=batches, stop=stop):
            nonlocal steps, state, epoch
            steps += 1
            if steps == stop:
                state, epoch = json.dumps(batches.state_dict()), run.epoch
                run.stop()

        state = epoch = None
        first.fit(batches, epochs=3, callbacks=[LambdaCallback(on_batch_end=count)])
        batches = loader()
        batches.load_state_dict(json.loads(state))
        first.fit(batches, epochs=3, initial_epoch=epoch)
        assert same(values(first), values(whole)), stop


def test_the_rate_is_the_one_in_force():
    model = classifier(optimizer=GradientDescent(0.1, schedule=corgi.schedule.Exponential(0.5)))
    assert model.fit(X, Y, epochs=2, batch_size=25)["rate"] == pytest.approx([0.05, 0.0125])

    class Own:
        def step(self, parameters):
            for parameter in parameters:
                parameter.gradient = None

    assert "rate" not in classifier(optimizer=Own()).fit(X, Y)


# ---- when it ends early


def test_stop():
    model = classifier()
    run_at = []

    class Stop(Callback):
        def on_epoch_end(self, run):
            run_at.append((run.epoch, run.step, dict(run.figures), run.history.epochs))
            if run.epoch == 1:
                run.stop("enough")

        def on_train_end(self, run):
            run_at.append(run.stopped)

    history = model.fit(X, Y, epochs=5, batch_size=10, callbacks=Stop())
    assert history.stopped == "enough" and history.epochs == 2
    assert [at[:2] for at in run_at[:2]] == [(0, 5), (1, 10)] and run_at[2] == "enough"
    assert run_at[1][2]["loss"] == history["loss"][1] and run_at[1][3] == 2
    history = model.fit(X, Y, callbacks=[LambdaCallback(on_train_begin=lambda run: run.stop("at once"))])
    assert (history.stopped, dict(history)) == ("at once", {}) and repr(history) == "History(0 epochs; at once)"
    history = model.fit(X, Y, epochs=2, callbacks=Stop())
    assert history.stopped == "" and history.epochs == 2  # in its last epoch
    history = model.fit(X, Y, epochs=3, callbacks=Stop())
    assert repr(history).startswith("History(2 epochs, loss ") and repr(history).endswith("; enough)")


@pytest.mark.parametrize("stop", [False, True])
def test_a_loss_that_is_no_number(stop):
    model = classifier()
    x = X.copy()
    x[10] = np.nan
    ends = []
    with pytest.warns(
        RuntimeWarning, match="fit: the loss is nan in epoch 0, step 1; a smaller learning rate may help"
    ) as caught:
        history = model.fit(
            *(x, Y),
            epochs=3,
            batch_size=10,
            shuffle=False,
            stop_on_nan=stop,
            callbacks=[LambdaCallback(on_train_end=ends.append)],
        )
    assert len(caught) == 1 and caught[0].filename == __file__ and len(ends) == 1
    if stop:
        by_hand = classifier()
        by_hand.forward(X[:10])
        by_hand.backward(Y[:10])
        by_hand.update()
        assert same(values(model), values(by_hand)) and all(p.gradient is None for p in model.parameters())
        assert history.stopped == "loss nan in epoch 0" and dict(history) == {}
    else:
        assert history.epochs == 3 and math.isnan(history["loss"][0])


@pytest.mark.parametrize("when", ["forward", "backward", "update", "callback", "data", "validation"])
def test_ctrl_c(when):
    """The step is completed, the history is that of the complete epochs, and the model can be trained on."""
    log = []

    def interrupt(place):
        log.append(place)
        if place == when and log.count(place) == 8:  # in the second epoch
            signal.raise_signal(signal.SIGINT)

    class Watched(GradientDescent):
        updates = 0

        def update(self, parameter):
            super().update(parameter)
            self.updates += 1
            if self.updates % 4 == 2:  # between two parameters
                interrupt("update")

    class Place(Layer):
        def forward(self, x):
            interrupt("forward" if self.training else "validation")
            return x

    def judge(output, target):
        if output.is_tracked:
            interrupt("backward")
        return cost.cross_entropy(output, target)

    def transform(batch):
        interrupt("data")
        return batch

    model = classifier(optimizer=GradientDescent(0.1, 0.9))
    model.layers.insert(0, Place())
    model.cost = judge
    model.optimizer = Watched(0.1, 0.9)
    before = signal.getsignal(signal.SIGINT)
    ended = []
    callback = LambdaCallback(
        on_batch_end=lambda run: interrupt("callback"), on_train_end=lambda run: ended.append(run.step)
    )
    loader, validation = Loader((X, Y), 10, transform=transform), [(X[:5], Y[:5])] * 5
    history = model.fit(loader, epochs=3, validation=validation, callbacks=[callback])
    assert history.stopped == "interrupted in epoch 1"
    assert history.epochs == 1 and len(ended) == 1 and signal.getsignal(signal.SIGINT) is before
    assert all(p.gradient is None for p in model.parameters()) and model._output is None
    # as many whole steps as were counted
    assert ended[0] == {"data": 7, "validation": 10}.get(when, 8)
    model_by_hand = classifier()
    for i in range(ended[0]):
        rows = slice(i % 5 * 10, i % 5 * 10 + 10)
        model_by_hand.forward(X[rows])
        model_by_hand.backward(Y[rows])
        model_by_hand.update()
    assert same(values(model), values(model_by_hand))
    when = None
    assert model.fit(X, Y).epochs == 1


def test_a_second_ctrl_c_does_not_wait():
    def stuck(output, target):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("not reached")

    model = classifier()
    model.cost = stuck
    assert model.fit(X, Y).stopped == "interrupted in epoch 0"


def test_fit_in_another_thread_and_under_another_handler():
    found = []
    thread = threading.Thread(target=lambda: found.append(classifier().fit(X, Y)))
    thread.start()
    thread.join()
    assert found[0].epochs == 1

    class Mine(Exception):
        pass

    def handler(number, frame):
        raise Mine

    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(Mine):
            classifier().fit(X, Y, callbacks=[LambdaCallback(on_batch_end=lambda run: signal.raise_signal(signal.SIGINT))])
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


TRAINING = """
import sys, numpy as np, corgi
x, y = np.random.default_rng(0).standard_normal((4000, 20)), np.random.default_rng(0).integers(3, size=4000)
corgi.seed(0)
model = corgi.Model(
    [corgi.layer.Dense(20, 30, activation="relu"), corgi.layer.Dense(30, 3, activation="softmax")],
    corgi.optimizer.Adam(), corgi.cost.cross_entropy,
)
log = []
def noted(run):
    log.append(run.step)
    if len(log) == 1:
        print("begin", flush=True)
note = corgi.callback.LambdaCallback(on_batch_end=noted)
loader = corgi.data.Loader((x, y), 32, shuffle=True, prefetch=int(sys.argv[1]))
history = model.fit(loader, epochs=10**6, callbacks=[note])
steps = {memory["steps"] for memory in model.optimizer.state.values()}
assert len(steps) == 1 and steps <= {len(log), len(log) + 1}, (steps, len(log))
assert np.isfinite(model.evaluate(x, y)["loss"])
print(history.stopped.startswith("interrupted in epoch "))
"""


def test_ctrl_c_at_any_moment_in_a_process():
    for prefetch, delay in enumerate(np.random.default_rng().uniform(0.0, 0.4, 3)):
        command = [sys.executable, "-W", "error", "-c", TRAINING, str(prefetch)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "begin\n"
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out, error) == (0, "True\n", ""), delay


def test_no_thread_outlives_fit():
    def wrong(run):
        if run.step == 3:
            raise KeyError("mine")

    before = set(threading.enumerate())
    loader = Loader((arr(X), arr(Y)), 2, prefetch=2)
    with pytest.raises(KeyError) as caught:  # whose traceback holds the loop
        classifier().fit(loader, callbacks=[LambdaCallback(on_batch_end=wrong)])
    assert caught.value.args == ("mine",)
    assert "corgi.data.Loader" not in [thread.name for thread in set(threading.enumerate()) - before]


# ---- errors


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda m: Model(m.layers, Adam()).fit(X, Y), ValueError, r"fit: expected a model with a cost; pass one: Model\("),
        (
            lambda m: Model(m.layers, cost=cost.mse).fit(X, Y),
            ValueError,
            "fit: expected a model with an optimizer; pass one",
        ),
        (
            lambda m: m.fit(X),
            TypeError,
            r"fit: expected x and y, or a Loader \(or iterable\) of pairs, got ndarray without y",
        ),
        (lambda m: m.fit(5), TypeError, r"fit: expected x and y, or a Loader \(or iterable\) of pairs, got int without y"),
        (lambda m: m.fit(X, Y[:3]), ValueError, r"Loader: expected data of equal lengths, got lengths \[50, 3\]"),
        (
            lambda m: m.fit(X[:0], Y[:0]),
            ValueError,
            "fit: expected at least one row, got none in epoch 0; an iterator can be",
        ),
        (lambda m: m.fit(Loader(iter([]))), ValueError, "fit: expected at least one row, got none in epoch 0"),
        (lambda m: m.fit(iter([(X, Y)]), epochs=2), ValueError, "fit: expected at least one row, got none in epoch 1"),
        (
            lambda m: m.fit(X, Y, validation=(X[:0], Y[:0])),
            ValueError,
            "fit: expected at least one row to judge by, got none",
        ),
        (
            lambda m: m.fit(X, Y, validation=(X, Y, Y)),
            ValueError,
            r"fit: expected validation as \(x, y\), a fraction or batches",
        ),
        (lambda m: m.fit(X, Y, validation=1.0), ValueError, "split: expected a fraction that leaves some of the 50 rows"),
        (lambda m: m.fit(Loader((X, Y)), validation=0.1), ValueError, "fit: expected validation data, got a fraction"),
        (lambda m: m.fit(X, Y, validation=3), TypeError, "fit: expected x and y, or a Loader"),
        (lambda m: m.fit(X, Y, epochs=0), ValueError, "fit: expected epochs of at least 1, got 0"),
        (lambda m: m.fit(X, Y, batch_size=2.0), TypeError, "fit: expected an int for batch_size, got float"),
        (lambda m: m.fit(X, Y, initial_epoch=2), ValueError, "fit: expected initial_epoch from 0 to 1, got 2"),
        (lambda m: m.fit(X, Y, metrics="speed"), ValueError, "fit: expected a metric among accuracy, mse, mae, f1, top5"),
        (lambda m: m.fit(X, Y, metrics=[3]), TypeError, "fit: expected a metric's name, a function or a Metric, got int"),
        (
            lambda m: m.fit(X, Y, metrics=metric.F1),
            TypeError,
            "fit: expected a metric's name, a function or a Metric, got F1",
        ),
        (lambda m: m.fit(X, Y, metrics=3), TypeError, "fit: expected metrics in a list, got int"),
        (
            lambda m: m.fit(X, Y, metrics=["f1", "f1"]),
            ValueError,
            "fit: expected metrics of different names other than loss",
        ),
        (
            lambda m: m.fit(X, Y, metrics={"loss": "f1"}),
            ValueError,
            "fit: expected metrics of different names other than loss",
        ),
        (
            lambda m: m.fit(X, Y, callbacks=[print]),
            TypeError,
            "fit: expected callbacks, instances of corgi.callback.Callback, got",
        ),
        (lambda m: m.fit(X, Y, callbacks=[Callback]), TypeError, "fit: expected callbacks, .* got the class Callback"),
        (lambda m: m.fit(X, Y, seed="x"), TypeError, "seed: expected an int, a numpy.random.Generator or None, got str"),
        (lambda m: m.fit(np.array([["a"]]), Y[:1]), TypeError, "Loader: expected numbers, got an array of <U1"),
        (lambda m: Model(m.layers).evaluate(X, Y), ValueError, "evaluate: expected a model with a cost, or metrics"),
        (lambda m: m.evaluate(X), TypeError, "evaluate: expected x and y, or a Loader"),
        (lambda m: m.predict(X, batch_size=0), ValueError, "predict: expected batch_size of at least 1, got 0"),
        (lambda m: m.fit(X[:, :2], Y), ValueError, r"Model > layers.0 \(Dense\): dense: "),
    ],
)
def test_errors(call, error, message):
    model = classifier()
    before = values(model)
    with pytest.raises(error, match=f"^{message}"):
        call(model)
    if "in epoch 1" not in message and "judge" not in message:
        assert same(values(model), before)
    assert model.training


def test_errors_in_callbacks_have_a_note():
    def wrong(run):
        raise KeyError("mine")

    for event in ("on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"):
        with pytest.raises(KeyError, match="mine") as caught:
            classifier().fit(X, Y, callbacks=[LambdaCallback(**{event: wrong})])
        assert caught.value.__notes__ == [f"in LambdaCallback.{event}, epoch 0"]


# ---- the progress bar


def test_progress(capsys):
    model = classifier()
    model.fit(X, Y, epochs=2, batch_size=10, metrics="accuracy", validation=(X, Y), progress=True)
    shown = capsys.readouterr().err
    assert "epoch 2/2: 100%" in shown and "10/10" in shown and "val_accuracy" in shown and "rate 0.1" in shown
    model.fit([(X, Y)], progress=True)
    model.fit(((X, Y) for _ in range(2)), progress=True)  # of unknown length
    assert "2step" in capsys.readouterr().err
    model.fit(X, Y)  # not a terminal
    model.fit(X, Y, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_on_a_terminal():
    import pty
    import termios

    program = (
        "import corgi; m = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)\n"
        "m.fit([[1.0]] * 20000, [[1.0]] * 20000, batch_size=1, epochs=2)"
    )
    leader, follower = pty.openpty()
    termios.tcsetwinsize(leader, (24, 100))
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", program], stderr=follower, stdout=follower)
    os.close(follower)
    start, shown = time.monotonic(), b""
    try:
        while part := os.read(leader, 10000):
            shown += part
    except OSError:  # how Linux tells that the other end is closed
        pass
    seconds = time.monotonic() - start
    os.close(leader)
    assert process.wait() == 0 and b"epoch 2/2" in shown and b"loss" in shown
    assert shown.count(b"\r") <= 10 * seconds + 10


def test_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert classifier().fit(X, Y).epochs == 1
    with pytest.raises(ModuleNotFoundError):
        classifier().fit(X, Y, progress=True)


# ---- history


def test_history(tmp_path):
    history = classifier().fit(X, Y, epochs=3, validation=(X, Y), metrics="accuracy")
    path = tmp_path / "new" / "history.csv"
    history.to_csv(path)
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", *history] and [row[0] for row in rows[1:]] == ["0", "1", "2"]
    table = np.array(rows[1:], float)[:, 1:]
    assert np.array_equal(table, np.array(list(history.values())).T)  # every digit

    before = path.read_text()
    history["broken"] = [1.0]
    with pytest.raises(ValueError):
        history.to_csv(path)
    assert path.read_text() == before and os.listdir(path.parent) == ["history.csv"]


def test_history_plot():
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    history = classifier().fit(X, Y, epochs=3, validation=(X, Y), metrics=["accuracy", "f1"])
    figure = history.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "f1"]
    for axes in figure.axes:
        lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
        name = axes.get_ylabel()
        assert lines == {"training": history[name], "validation": history[f"val_{name}"]}
    assert [axes.get_ylabel() for axes in history.plot(["rate"]).axes] == ["rate"]
    with pytest.raises(ValueError, match=r"History.plot: expected names among loss, .*, got 'x'"):
        history.plot(["x"])
    corgi.history.History().plot()
    pyplot.close("all")


# ---- summary


class Block(Layer):
    def __init__(self):
        self.many = [corgi.ones(2).tracked(), {"deep": Dense(6, 2)}]
        self.scale = corgi.ones((), "float32").tracked()

    def forward(self, x):
        return self.many[1]["deep"](x) * self.scale + self.many[0]


def test_summary():
    first = Conv(1, 2, 3)
    model = Model([first, Flatten(), Block(), corgi.relu, Model([Dense(2, 2, bias=False)]), first], cost=cost.mse)
    assert [row[:2] + row[3:] for row in model.summary().rows] == [
        *(("", "Model", 0, 0), ("layers.0", "Conv", 20, 160), ("layers.1", "Flatten", 0, 0)),
        *(("layers.2", "Block", 3, 20), ("layers.2.many.1.deep", "Dense", 14, 112)),
        *(("layers.4", "Model", 0, 0), ("layers.4.layers.0", "Dense", 4, 32)),
    ]
    model.layers.pop()
    found = model.summary((5, 1, 3, 5))
    assert [row.output for row in found.rows] == [(5, 2), (5, 2, 1, 3), (5, 6), (5, 2), (5, 2), (5, 2), (5, 2)]
    assert found.parameters == sum(p.size for p in model.parameters()) == 41
    assert found.nbytes == sum(p.nbytes for p in model.parameters())
    assert found.output_nbytes == 8 * (30 + 30 + 10 + 10)
    assert repr(found).splitlines()[-1] == "memory of the outputs: 640 bytes" and str(found) == repr(found)
    assert "forward" not in vars(first) and model.training and model._output is None
    with pytest.raises(ValueError, match=r"Model > layers.0 \(Conv\): conv: "):
        model.summary((5, 2, 3, 5))
    assert "forward" not in vars(first) and model.training
    assert Model([corgi.relu]).summary(3).output_nbytes == 24
    assert Model([Dense(2, 2)]).summary((1, 2), "float32").rows[0].output == (1, 2)


# ---- metrics


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_metrics_against_scikit_learn(dtype):
    judge = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    scores, right = rng.random((200, 6)).astype(dtype), rng.integers(6, size=200)
    assert metric.accuracy(scores, right) == judge.accuracy_score(right, scores.argmax(1))
    assert metric.accuracy(arr(scores), arr(np.eye(6)[right])) == judge.accuracy_score(right, scores.argmax(1))
    for k in (1, 2, 5):
        assert metric.top_k(k)(arr(scores), right) == pytest.approx(judge.top_k_accuracy_score(right, scores, k=k))
    assert metric.mse(scores, scores[::-1]) == pytest.approx(judge.mean_squared_error(scores[::-1], scores), rel=1e-5)
    assert metric.mae(scores, scores[::-1]) == pytest.approx(judge.mean_absolute_error(scores[::-1], scores), rel=1e-5)
    right[right == 4] = 3
    scores[:, 5] = 0  # class 5 is never predicted, class 4 never right
    for rows in (200, 3, 1):
        macro, binary = metric.F1(), metric.F1("binary")
        for part in np.array_split(np.arange(rows), min(rows, 7)):
            macro.update(arr(scores[part]), arr(right[part]))
            binary.update(arr(scores[part, 0]), right[part] > 2)
        guess = scores[:rows].argmax(1)
        assert macro.result() == pytest.approx(judge.f1_score(right[:rows], guess, average="macro"))
        expected = judge.f1_score(right[:rows] > 2, scores[:rows, 0] > 0.5, zero_division=0.0)
        assert binary.result() == pytest.approx(expected)


def test_accuracy_of_every_form():
    assert metric.accuracy([[0.2], [0.7], [0.5]], [0, 1, 1]) == pytest.approx(2 / 3)
    assert metric.accuracy([[0.2], [0.7]], [[0.0], [0.0]]) == 0.5
    assert metric.accuracy([-1.0, 1.0], [0, 1], threshold=0.0) == 1.0
    assert metric.accuracy([-3.0, 1.0], [1, 1], threshold=-5.0) == 1.0
    assert metric.accuracy([[0.5, 0.5], [0.5, 0.5]], [0, 1]) == 0.5  # the first of equal ones
    assert metric.accuracy(corgi.zeros((2, 3, 4)), corgi.zeros((2, 3), "int64")) == 1.0
    assert math.isnan(metric.accuracy(corgi.zeros((0, 4)), corgi.zeros(0, "int64")))
    assert metric.accuracy([[math.nan, 1.0]], [1]) == 0.0 == metric.top_k(1)([[math.nan, 1.0]], [1])
    assert metric.top_k(1)([[1.0, 1.0]], [1]) == 0.0 and metric.top_k(2)([[1.0, 1.0]], [1]) == 1.0
    assert math.isnan(metric.mse([], [])) and math.isnan(metric.mae([], []))
    assert math.isnan(metric.top_k(3)(corgi.zeros((0, 4)), np.zeros(0, int)))
    assert metric.mae([True, False], [1, 3]) == 1.5 and metric.mse([1, 2], [2, 4]) == 2.5
    f1 = metric.F1()
    assert math.isnan(f1.result())
    f1.update([[1.0, 0.0]], [0])
    f1.reset()
    assert math.isnan(f1.result()) and math.isnan(metric.Mean(metric.mae).result())


def test_metrics_by_name_function_and_dict():
    model = classifier()

    def first(output, target):
        return (output[:, 0]).mean()

    found = model.evaluate(X, Y, metrics={"acc": "accuracy", "first": first, "f": metric.F1(), "top": metric.top_k(2)})
    assert list(found) == ["loss", "acc", "first", "f", "top"]
    assert found["first"] == pytest.approx(model(X).numpy()[:, 0].mean())
    assert list(model.evaluate(X, Y, metrics=first)) == ["loss", "first"]
    assert list(model.evaluate(X, Y, metrics=metric.F1("binary"))) == ["loss", "f1"]
    assert list(Model(model.layers).evaluate(X, Y, metrics=["top1", "top12"])) == ["top1", "top12"]


# ---- real data


def test_mnist_quickly():
    """A few seconds' training on real images."""
    x, y = corgi.data.mnist5000("float32")
    train, test = corgi.data.split(x, y, fraction=0.2, seed=0)
    corgi.seed(0)
    model = Model(
        [Dense(784, 64, activation="relu", dtype="float32"), Dense(64, 10, activation="softmax", dtype="float32")],
        Adam(0.002),
        cost.cross_entropy,
    )
    history = model.fit(*train, epochs=8, batch_size=64, validation=test, metrics="accuracy", seed=0)
    assert history["val_accuracy"][-1] > 0.9 and history["loss"][-1] < 0.15
