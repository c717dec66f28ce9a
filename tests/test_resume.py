"""Trainings that are killed, and go on exactly where they were saved."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import corgi
from corgi import Model, cost, optimizer
from corgi.callback import Checkpoint, CSVLogger, EarlyStopping, LambdaCallback
from corgi.layer import Dense
from corgi.metric import F1, Mean, Metric, accuracy

from .resumed import everything, fitted, train

pytest.importorskip("safetensors")

HERE = pathlib.Path(__file__).parent


# ---- trainings that are killed


CRASHES = [
    (None, False, "float64"),
    (None, True, "float32"),
    (1, True, "float64"),
    (3, False, "float32"),
    (4, True, "float32"),
]


@pytest.mark.parametrize("every_steps, own_loader, dtype", CRASHES)
def test_a_crash_at_any_step(every_steps, own_loader, dtype, tmp_path):
    options = {"own_loader": own_loader, "dtype": dtype}
    whole = train(**options)
    for crash in range(1, whole["steps"] + 1, 4):
        path = tmp_path / f"{crash}.safetensors"
        with pytest.raises(ConnectionError):
            train(path, every_steps=every_steps, crash=crash, **options)
        assert train(path, every_steps=every_steps, **options) == whole
    assert train(path, **options) == whole  # once more, when nothing is left to do


def test_the_packages_generator_for_the_order_too(tmp_path):
    """What the loader draws with is shared with the layers."""

    def run(path, crash=None):
        corgi.seed(0)
        model = Model([Dense(2, 2), corgi.layer.Layer()], optimizer.Adam(), cost.mse)
        model.layers[1].forward = lambda x: x + corgi.initializer.generator().normal()
        x = np.random.default_rng(0).normal(size=(20, 2))
        callbacks = [
            Checkpoint(path, every_steps=1, resume=True),
            LambdaCallback(on_batch_end=lambda run: fail(run.step, crash)),
        ]
        generator = corgi.initializer.generator()
        return model.fit(x, x, epochs=3, batch_size=3, validation=0.2, seed=generator, callbacks=callbacks)["loss"]

    def fail(step, crash):
        if step == crash:
            raise ConnectionError

    whole = run(tmp_path / "a.safetensors")
    for crash in (1, 6, 7, 11):
        with pytest.raises(ConnectionError):
            run(tmp_path / f"{crash}.safetensors", crash)
        assert run(tmp_path / f"{crash}.safetensors") == whole


def test_more_epochs(tmp_path):
    """A training that had ended goes on when it is given more epochs."""
    train(tmp_path / "a.safetensors", epochs=2)
    assert train(tmp_path / "a.safetensors", epochs=4) == train(epochs=4)


def test_without_a_seed(tmp_path):
    """The rows for the validation are those that the first process has chosen, by chance."""
    path = tmp_path / "a.safetensors"
    with pytest.raises(ConnectionError):
        train(path, every_steps=1, crash=6, seed=None)
    content = path.read_bytes()
    outcomes = []
    for seed in (3, 4):
        path.write_bytes(content)
        outcomes.append(train(path, every_steps=1, seed=seed))
    assert outcomes[0] == outcomes[1]


def test_killed_at_random_moments(tmp_path):
    """SIGKILL in any line, also while a file is written, until the training has ended."""
    path = tmp_path / "a.safetensors"
    delays, kills, output = [], 0, ""

    def written():
        return path.stat().st_mtime_ns if path.exists() else None

    while not output:
        before = written()
        command = [sys.executable, str(HERE / "resumed.py"), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            if kills < 5:
                deadline = time.monotonic() + 60
                while process.poll() is None and written() == before and time.monotonic() < deadline:
                    time.sleep(0.0005)  # until it trains
                delays.append(random.uniform(0.0, 0.03))
                time.sleep(delays[-1])
                process.kill()
            output = process.communicate(timeout=60)[0]
        if process.returncode == -signal.SIGKILL:
            kills, output = kills + 1, ""
        else:
            assert process.returncode == 0, delays
    assert kills >= 1 and output.strip() == str(train()), delays


# ---- parts of fit


def crashed(path, callbacks=(), **options):
    with pytest.raises(ConnectionError):
        fitted(path, callbacks, **options)


def test_resumed_csv(tmp_path):
    """Rows that were written after the checkpoint are not there twice."""
    path, log = tmp_path / "a.safetensors", tmp_path / "log.csv"

    crashed(path, [CSVLogger(log)], crash=6)
    content = path.read_bytes()
    crashed(path, [CSVLogger(log)], crash=9)
    assert len(log.read_text().splitlines()) == 3
    path.write_bytes(content)
    fitted(path, [CSVLogger(log)])
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["epoch", "0", "1", "2"]
    path.write_bytes(content)
    log.unlink()
    fitted(path, [CSVLogger(log)])
    assert [line.split(",")[0] for line in log.read_text().splitlines()] == ["epoch", "1", "2"]


def test_epochs_begin_once(tmp_path):
    path, begun = tmp_path / "a.safetensors", []
    note = LambdaCallback(on_epoch_begin=lambda run: begun.append(run.epoch))
    crashed(path, [note], crash=6)
    fitted(path, [note])
    assert begun == [0, 1, 2]


@pytest.mark.parametrize("step", [1, 4, 6])
def test_a_stopped_training_stays_stopped(step, tmp_path):
    path, ran = tmp_path / "a.safetensors", []

    def stop(run):
        ran.append(run.step)
        if run.step == step:
            run.stop("enough")

    outcomes = [fitted(path, [LambdaCallback(on_batch_end=stop)]) for _ in range(2)]
    assert ran == list(range(1, step + 1))
    assert [history.stopped for _, history in outcomes] == ["enough"] * 2
    assert everything(outcomes[0][0]) == everything(outcomes[1][0])


class Largest(Metric):
    """A metric of a user's own, with attributes of several kinds."""

    name = "largest"

    def reset(self):
        self.values, self.count, self.function = np.zeros(2), 0, abs

    def update(self, output, target):
        self.values = np.maximum(self.values, np.abs(output.numpy()).max())
        self.count += 1

    def result(self):
        return float(self.values.sum() + self.count)


def test_metrics_within_an_epoch(tmp_path):
    metrics = {"own": Largest(), "mean": Mean(corgi.metric.mae), "mae": "mae"}
    whole = fitted(tmp_path / "whole.safetensors", metrics=metrics)[1]
    crashed(tmp_path / "a.safetensors", metrics=metrics, crash=6)
    found = fitted(tmp_path / "a.safetensors", metrics=metrics)[1]
    assert {**found, "seconds": 0} == {**whole, "seconds": 0}


@pytest.mark.parametrize(
    "metric, state",
    [
        (Mean(accuracy), {"total": 1, "rows": 1}),
        (Mean(accuracy), {"total": 1.0, "rows": -1}),
        (Mean(accuracy), 5),
        (F1(), {"counts": corgi.zeros((2, 2), "int64")}),
        (F1(), {"counts": [[1.5, 1, 1], [1, 1, 1]]}),
        (F1(), {}),
        (Largest(), {"values": 1}),
        (EarlyStopping(), {"best": "x", "best_epoch": 1, "start": 0, "kept": None}),
        (EarlyStopping(), {"best": 1.0, "best_epoch": -1, "start": 0, "kept": None}),
        (LambdaCallback(), {"a": 1}),
        (CSVLogger("x"), {"names": 3, "size": 3}),
        (Checkpoint("x"), {"best": []}),
        *[(kind, wrong) for kind in (EarlyStopping(), CSVLogger("x"), Checkpoint("x")) for wrong in (None, 1.5, [1])],
    ],
    ids=str,
)
def test_states_of_others(metric, state):
    if isinstance(metric, Metric):
        metric.reset()
    before = repr(metric.state_dict())
    with pytest.raises((TypeError, ValueError), match="expected"):
        metric.load_state_dict(state)
    assert repr(metric.state_dict()) == before


@pytest.mark.parametrize(
    "other, message",
    [
        (
            {"callbacks": [EarlyStopping()]},
            "it has the callbacks LambdaCallback, Checkpoint, the training EarlyStopping, Lam",
        ),
        ({"metrics": "mse"}, "it has the metrics mae, the training mse"),
        ({"validation": 0.25}, "expected a generator|expected the state of a"),
        ({"y": np.ones((7, 1)), "x": np.ones((7, 1))}, "expected the state of a loader of 7 rows by 2, got 8 rows by 2"),
        ({"rule": optimizer.Adam()}, "expected the state of Adam"),
    ],
)
def test_trainings_of_another_kind(other, message, tmp_path):
    path = tmp_path / "a.safetensors"
    crashed(path, crash=2, metrics="mae")
    with pytest.raises(ValueError, match=rf"^fit: expected a checkpoint that fits, got '{path}': .*({message})"):
        fitted(path, **{"metrics": "mae", **other})


def test_iterables_are_saved_between_epochs(tmp_path):
    pairs = [(corgi.ones((2, 1)), corgi.ones((2, 1)))] * 3

    def run(path, every_steps=None, epochs=3):
        model = Model([Dense(1, 1, corgi.initializer.zeros())], optimizer.Adam(), cost.mse)
        checkpoint = Checkpoint(path, every_steps=every_steps, resume=True)
        return model.fit(pairs, epochs=epochs, callbacks=[checkpoint])["loss"]

    run(tmp_path / "a.safetensors", epochs=1)
    assert run(tmp_path / "a.safetensors") == run(tmp_path / "b.safetensors")
    with pytest.raises(TypeError, match=r"Checkpoint: expected a corgi.data.Loader to save within an epoch, got list"):
        run(tmp_path / "c.safetensors", every_steps=2)


def test_paths(tmp_path):
    """Fields of epoch and step; files of which only some are written."""
    model = Model([Dense(2, 1)], optimizer.Adam(), cost.mse)
    x = np.ones((6, 2))
    for options, names in [
        ({"every": 1}, ["0-3", "1-6"]),
        ({"every": 2}, ["1-6"]),
        ({"every_steps": 2}, ["0-2", "0-3", "1-4", "1-6"]),
        ({"best_only": True, "monitor": "loss", "mode": "max"}, ["0-3"]),
    ]:
        folder = tmp_path / repr(list(options.items()))
        model.fit(
            x, x[:, :1], epochs=2, batch_size=2, callbacks=[Checkpoint(folder / "{epoch}-{step}.safetensors", **options)]
        )
        assert sorted(os.listdir(folder)) == [f"{name}.safetensors" for name in names]


def test_two_to_resume_from(tmp_path):
    callbacks = [Checkpoint(tmp_path / name, resume=True) for name in "ab"]
    with pytest.raises(ValueError, match="fit: expected one Checkpoint to resume from, got 2"):
        Model([Dense(2, 1)], optimizer.Adam(), cost.mse).fit(np.ones((2, 2)), np.ones((2, 1)), callbacks=callbacks)


# ---- L-BFGS


def test_lbfgs(tmp_path):
    """What it remembers of the curvature goes on, and the closure of a batch is the model's in fit."""

    def make():
        corgi.seed(0)
        layers = [Dense(2, 4, activation="tanh"), Dense(4, 1)]
        return Model(layers, optimizer.LBFGS(max_iterations=3), cost.mse)

    x = np.random.default_rng(0).normal(size=(40, 2))
    y = np.sin(x.sum(1, keepdims=True))
    whole, path = make(), tmp_path / "a.safetensors"
    history = whole.fit(x, y, epochs=6, batch_size=40)
    assert history["loss"][-1] < history["loss"][0] / 10 and whole.optimizer.steps == 6
    make().fit(x, y, epochs=3, batch_size=40, callbacks=[Checkpoint(path)])
    other = make()
    found = other.fit(x, y, epochs=6, batch_size=40, callbacks=[Checkpoint(path, resume=True)])
    assert found["loss"] == history["loss"]
    assert everything(other)[0] == everything(whole)[0] and "changes/2/sy" in everything(other)[0]


def test_lbfgs_states_of_others():
    model = Model([Dense(2, 1)], optimizer.LBFGS(max_iterations=2), cost.mse)
    model.update(lambda: (model.forward(np.ones((2, 2))), model.backward(np.zeros((2, 1))))[1])
    names = model.named_parameters()
    state = model.optimizer.state_dict(names)
    before = repr(state)
    for change in (
        {"changes/0/s": corgi.ones(4)},
        {"changes/0/y": None},
        {"changes/0/sy": 0.0},
        {"changes/0/sy": float("nan")},
        {"changes/7/s": corgi.ones(3)},
        {"optimizer": "Adam"},
        {"steps": 2**63},
    ):
        with pytest.raises((TypeError, ValueError), match="expected"):
            model.optimizer.load_state_dict(state | change, names)
        assert repr(model.optimizer.state_dict(names)) == before


def test_update_with_a_closure():
    corgi.seed(0)
    model, other = (Model([Dense(2, 1)], optimizer.Adam(), cost.mse) for _ in range(2))
    other.load_state_dict(model.state_dict())
    x, y = np.ones((4, 2)), np.ones((4, 1))
    model.forward(x)
    model.backward(y)
    model.update()
    other.update(lambda: (other.forward(x), other.backward(y))[1])
    assert all(np.array_equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    model.optimizer = optimizer.LBFGS()
    with pytest.raises(
        TypeError, match=r"LBFGS.step: expected a closure .* got none; with a model: model.update\(closure\), wh"
    ):
        model.update()
