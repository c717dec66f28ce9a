"""Callbacks of a training, and files that are written whole or not at all."""

import csv
import errno
import math
import os

import numpy as np
import pytest

import corgi
from corgi import Model, cost
from corgi.atomic import replaced
from corgi.callback import Callback, Checkpoint, CSVLogger, EarlyStopping, LambdaCallback, Log, Schedule, TensorBoard
from corgi.layer import Layer
from corgi.optimizer import GradientDescent


class Scripted(Callback):
    """Gives the epochs the figures that a test wants; before the callbacks that look at them."""

    def __init__(self, **figures):
        self.figures = figures

    def on_epoch_end(self, run):
        for name, values in self.figures.items():
            run.figures[name] = values[run.epoch]


class Counter(Layer):
    """A parameter, and values that are no parameters: replaced, assigned, and in a dict."""

    def __init__(self):
        self.weight = corgi.zeros(1).tracked()
        self.seen = corgi.zeros((), "int64")
        self.assigned = corgi.zeros(1)
        self.more = {"mean": [corgi.zeros(1)]}

    def forward(self, x):
        if self.training:
            self.seen = self.seen + 1
            corgi.assign(self.assigned, self.assigned + 1.0)
            self.more["mean"][0] = self.more["mean"][0] + 1.0
        return x * self.weight


def counting():
    return Model(Counter(), GradientDescent(0.125), cost.mse)


def train(callbacks, epochs=6, model=None, **options):
    model = model or counting()
    return model, model.fit([[1.0]], [[1.0]], epochs=epochs, callbacks=callbacks, **options)


def state(model):
    layer = model.layers[0]
    return layer.weight.item(), layer.seen.item(), layer.assigned.item(), layer.more["mean"][0].item()


# ---- early stopping

STOPS = [
    # figures, options, epochs, best epoch
    ([5.0, 4.0, 3.0, 2.0, 1.0, 0.0], {}, 6, 5),
    ([5.0, 4.0, 4.5, 4.2, 3.0, 0.0], {"patience": 2}, 4, 1),
    ([5.0, 4.0, 4.5, 3.9, 4.0, 4.0], {"patience": 2}, 6, 3),
    ([5.0, 4.0, 4.5, 3.9, 4.0, 4.0], {"patience": 1}, 3, 1),
    ([5.0, 4.9, 4.8, 4.0, 4.0, 4.0], {"patience": 2, "min_delta": 0.5}, 3, 0),
    ([math.nan, math.nan, 1.0, 2.0, 3.0, 4.0], {"patience": 3}, 6, 2),
    ([math.nan, math.nan, 1.0, 2.0, 3.0, 4.0], {"patience": 2}, 2, None),
    ([1.0, math.nan, 2.0, 0.5, 0.25, 0.5], {"patience": 3}, 6, 4),
    ([-math.inf, 0.0, 0.0, 0.0, 0.0, 0.0], {"patience": 3}, 4, 0),
    ([0.0, 0.1, 0.2, 0.1, 0.1, 0.3], {"patience": 2, "mode": "max"}, 5, 2),
]


@pytest.mark.parametrize("figures, options, epochs, best", STOPS)
@pytest.mark.parametrize("restore", [True, False])
def test_early_stopping(figures, options, epochs, best, restore):
    seen = []
    stopping = EarlyStopping("figure", restore_best=restore, **options)
    callbacks = [Scripted(figure=figures), LambdaCallback(on_epoch_end=lambda run: seen.append(state(run.model))), stopping]
    for _ in range(2):  # used again, it starts anew
        seen.clear()
        model, history = train(callbacks)
        assert history.epochs == epochs == len(seen)
        assert stopping.best_epoch == best and stopping.best == (None if best is None else figures[best])
        assert state(model) == seen[best if restore and best is not None else -1]
        assert history.stopped == ("" if epochs == 6 else f"no better figure in {options.get('patience', 5)} epochs")
    assert model.layers[0].weight.is_tracked and not model.layers[0].seen.is_tracked


@pytest.mark.parametrize(
    "name, best", [("accuracy", 1), ("val_accuracy", 1), ("f1", 1), ("top5", 1), ("mae", 0), ("loss", 0)]
)
def test_what_is_better(name, best):
    stopping = EarlyStopping(name, restore_best=False)
    train([Scripted(**{name: [0.1, 0.2]}), stopping], epochs=2)
    assert stopping.best_epoch == best


def test_the_default_figure_is_the_loss_of_the_validation():
    stopping = EarlyStopping()
    train([Scripted(loss=[1.0, 2.0]), stopping], epochs=2)
    assert stopping.best == 1.0
    _, history = train([stopping], epochs=2, validation=([[2.0]], [[1.0]]))
    assert stopping.best == min(history["val_loss"])


def test_restoring_goes_on_with_the_optimizer():
    """The arrays are the same ones, so that an optimizer's state still belongs to them."""
    model = Model(Counter(), GradientDescent(0.125, 0.5), cost.mse)
    weight = model.layers[0].weight
    train([Scripted(loss=[1.0, 2.0, 3.0]), EarlyStopping(patience=2)], 3, model)
    assert model.layers[0].weight is weight and list(model.optimizer.state) == [weight]
    train([], 1, model)
    assert list(model.optimizer.state) == [weight]


def test_early_stopping_when_interrupted():
    def interrupt(run):
        if run.epoch == 2:
            raise KeyboardInterrupt

    seen = []
    note = LambdaCallback(on_epoch_end=lambda run: seen.append(state(run.model)), on_batch_end=interrupt)
    model, history = train([Scripted(loss=[1.0, 2.0]), note, EarlyStopping()])
    assert history.stopped == "interrupted in epoch 2" and state(model) == seen[0]


# ---- checkpoints


def save_weight(model):
    def save(path):
        with open(path, "w") as file:
            file.write(str(model.layers[0].weight.item()))

    return save


def test_checkpoints(tmp_path):
    model = counting()
    weights = []
    path = tmp_path / "new" / "w-{epoch:02d}-{loss:.2f}.txt"
    train(
        [LambdaCallback(on_epoch_end=lambda run: weights.append(state(model)[0])), Checkpoint(path, save_weight(model))],
        3,
        model,
    )
    files = sorted(os.listdir(tmp_path / "new"))
    assert [name[:5] for name in files] == ["w-00-", "w-01-", "w-02-"] and files[0] == "w-00-1.00.txt"
    assert [float((tmp_path / "new" / name).read_text()) for name in files] == weights
    every = tmp_path / "every-{epoch}.txt"
    train([Checkpoint(str(every), save_weight(model), every=2)], 5, model)
    assert sorted(tmp_path.glob("every-*")) == [tmp_path / "every-1.txt", tmp_path / "every-3.txt"]


def test_the_best_checkpoint(tmp_path):
    model, weights, path = counting(), [], tmp_path / "best.txt"
    note = LambdaCallback(on_epoch_end=lambda run: weights.append(state(model)[0]))
    script = Scripted(accuracy=[0.1, 0.3, 0.2, 0.4, 0.4, math.nan])
    train([note, script, Checkpoint(path, save_weight(model), monitor="accuracy", best_only=True)], 6, model)
    assert float(path.read_text()) == weights[3] and os.listdir(tmp_path) == ["best.txt"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_a_save_that_fails_leaves_the_file_before(error, tmp_path):
    path = tmp_path / "model.txt"
    path.write_text("before")

    def save(name):
        with open(name, "w") as file:
            file.write("ha")
            raise error

    if isinstance(error, OSError):
        with pytest.raises(OSError, match="disk full") as caught:
            train([Checkpoint(path, save)])
        assert caught.value.__notes__ == ["in Checkpoint.on_epoch_end, epoch 0"]
    else:
        assert train([Checkpoint(path, save)])[1].stopped == "interrupted in epoch 0"
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["model.txt"]


def test_a_save_that_writes_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        train([Checkpoint(tmp_path / "model.txt", lambda path: None)])
    assert os.listdir(tmp_path) == []


def test_replaced_keeps_links_and_extensions(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.npz").touch()
    (tmp_path / "link.npz").symlink_to(tmp_path / "real" / "a.npz")
    with replaced(tmp_path / "link.npz") as name:
        assert name.endswith(".npz") and os.path.dirname(name) == str(tmp_path / "real")
        np.savez(name, x=1)
    assert (tmp_path / "link.npz").is_symlink() and np.load(tmp_path / "real" / "a.npz")["x"] == 1
    monkeypatch.chdir(tmp_path)
    with replaced("plain") as name, open(name, "w") as file:
        file.write("x")
    assert sorted(os.listdir()) == ["link.npz", "plain", "real"]


# ---- schedules


def test_a_rate_for_every_epoch():
    rates = []
    note = LambdaCallback(on_batch_end=lambda run: rates.append(run.model.optimizer.learning_rate))
    x = [[1.0]] * 4
    history = counting().fit(x, x, epochs=2, batch_size=2, callbacks=[note, Schedule(lambda epoch: 1 / (1 + epoch))])
    assert rates == [1.0, 1.0, 0.5, 0.5] and history["rate"] == [1.0, 0.5]
    rates.clear()
    counting().fit(x, x, epochs=3, batch_size=2, callbacks=[Schedule(lambda epoch: epoch), note], initial_epoch=2)
    assert rates == [2.0, 2.0]


def test_plateau():
    for figures, options in [({"val_loss": [3.0, 4.0, 5.0, 1.0]}, {}), ({"f1": [3.0, 4.0, 5.0, 1.0]}, {"monitor": "f1"})]:
        plateau = corgi.schedule.Plateau(0.5, patience=1)
        model = Model(Counter(), GradientDescent(0.125, schedule=plateau), cost.mse)
        _, history = train([Scripted(**figures), Schedule(plateau, **options)], 4, model)
        assert history["rate"] == [0.125, 0.125, 0.125, 0.0625]


def test_schedulers_that_set_the_rate_themselves():
    class Scheduler:
        def __init__(self, optimizer):
            self.optimizer, self.given = optimizer, []

        def step(self, *metric):
            self.given.append(metric)
            self.optimizer.learning_rate /= 2

    for options, given in [({}, [(), ()]), ({"monitor": "figure"}, [(3.0,), (4.0,)])]:
        model = counting()
        scheduler = Scheduler(model.optimizer)
        train([Scripted(figure=[3.0, 4.0]), Schedule(scheduler, **options)], 2, model)
        assert scheduler.given == given and model.optimizer.learning_rate == 0.125 / 4


# ---- writing down


def test_log():
    lines = []
    train([Scripted(loss=[0.25] * 5, seconds=[1.0] * 5), Log(lines.append, every=2)], 5)
    assert lines == [f"epoch {i}/5: loss 0.25, rate 0.125, seconds 1" for i in (2, 4, 5)]


def test_csv_logger(tmp_path):
    path = tmp_path / "log.csv"
    sizes = []
    note = LambdaCallback(on_epoch_end=lambda run: sizes.append(len(path.read_text().splitlines())))
    _, history = train([CSVLogger(path), note], 3)
    assert sizes == [2, 3, 4]  # after every epoch
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", *history]
    assert [[float(cell) for cell in row] for row in rows[1:]] == [
        [epoch, *(values[epoch] for values in history.values())] for epoch in range(3)
    ]
    train([CSVLogger(path, append=True)], 5, initial_epoch=3)
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["epoch", "0", "1", "2", "3", "4"]
    with pytest.raises(
        ValueError, match="CSVLogger: expected epoch, loss, rate, seconds, as in the file, got epoch, loss, mae"
    ):
        train([CSVLogger(path, append=True)], metrics="mae")
    train([CSVLogger(path)], 1)
    assert len(path.read_text().splitlines()) == 2


def test_tensorboard(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util import tensor_util

    _, history = train([TensorBoard(tmp_path)], 3)
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["tensors"]) == set(history)
    for name, values in history.items():
        found = [(event.step, float(tensor_util.make_ndarray(event.tensor_proto))) for event in events.Tensors(name)]
        assert found == [(i, pytest.approx(value, rel=1e-6)) for i, value in enumerate(values)]


def test_tensorboard_is_missing(tmp_path, monkeypatch):
    class Missing:
        def find_spec(self, wanted, path, target=None):
            if wanted.partition(".")[0] in ("tensorboard", "tensorboardX"):
                raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted.partition(".")[0])

    import sys

    for loaded in [name for name in sys.modules if name.partition(".")[0] in ("tensorboard", "tensorboardX")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"TensorBoard: expected tensorboard, .* pip install corgi\[tensorboard\]"):
        train([TensorBoard(tmp_path)])
