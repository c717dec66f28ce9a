"""Trainings that are killed and started again: one with all that has a state, `python resumed.py FILE`, and a small one.

Above: test_resume.py, test_checkpoint.py.  Below: corgi.
"""

import sys
import time

import numpy as np

import corgi
from corgi import Model, cost, schedule
from corgi.callback import Callback, Checkpoint, EarlyStopping, LambdaCallback, Schedule
from corgi.layer import BatchNorm, Dense, Dropout, Layer
from corgi.optimizer import Adam, Average, GradientDescent

EPOCHS = 5


class Noise(Layer):
    """Randomness from the package's generator and from one of its own, and a running mean."""

    def __init__(self, size, dtype):
        self.mean = corgi.zeros(size, dtype)
        self.own = np.random.default_rng(7)

    def forward(self, x):
        if not self.training:
            return x - self.mean
        self.mean = self.mean * 0.9 + x.detach().mean(0) * 0.1
        key = int(corgi.initializer.generator().integers(2**63))
        mask = np.random.default_rng(key).random(x.shape) < 0.8
        return (x - self.mean) * corgi.array(mask) + float(self.own.normal()) * 0.01


class Averaging(Callback):
    """An average of the weights over the steps, saved with the training."""

    def on_train_begin(self, run):
        self.average = Average(run.model.named_parameters(), 0.9)

    def on_batch_end(self, run):
        self.average.update()

    def state_dict(self):
        return self.average.state_dict()

    def load_state_dict(self, state):
        self.average.load_state_dict(state)


class Crash(Callback):
    """Sleeps, or raises an error after a step."""

    def __init__(self, step=None, sleep=0.0):
        self.step, self.sleep = step, sleep

    def on_batch_end(self, run):
        if self.sleep:
            time.sleep(self.sleep)
        if run.step == self.step:
            raise ConnectionError("crash")


def augmented(batch, rng):
    x, y = batch
    return x + rng.normal(0.0, 0.01, x.shape).astype(x.dtype), y


def train(path=None, *, every_steps=None, crash=None, sleep=0.0, own_loader=False, seed=0, dtype="float64", epochs=EPOCHS):
    """Train, or go on with the training in the file; all that a user can see of the outcome."""
    if seed is not None:
        corgi.seed(seed)
    data = np.random.default_rng(1)
    x, y = data.normal(size=(72, 3)).astype(dtype), data.integers(0, 2, 72)
    plateau = schedule.Plateau(0.5, patience=0)
    optimizer = Adam(0.05, schedule=schedule.WarmUp(4, schedule.Cosine(50)) * plateau, clip_norm=1.0)
    layers = [
        Dense(3, 8, activation="tanh", dtype=dtype),
        Noise(8, dtype),
        BatchNorm(8, dtype=dtype),
        Dropout(0.1),
        Dropout(0.1, seed=5),
        Dense(8, 2, activation="softmax", dtype=dtype),
    ]
    model = Model(layers, optimizer, cost.cross_entropy)
    optimizer.set([layers[0].bias], learning_rate=0.01)
    averaging, stopping = Averaging(), EarlyStopping(patience=3)
    callbacks = [Schedule(plateau), stopping, averaging, Crash(crash, sleep)]
    if path is not None:  # it saves after the others all the same
        callbacks.insert(1, Checkpoint(path, every_steps=every_steps, resume=True))
    options = {"epochs": epochs, "callbacks": callbacks, "metrics": ["accuracy", "f1"]}
    if own_loader:
        loader = corgi.data.Loader((x, y), 16, shuffle=True, transform=augmented, prefetch=2)
        judged = corgi.data.Loader((x, y), 16, shuffle=True)
        history = model.fit(loader, validation=judged, **options)
    else:
        history = model.fit(x, y, batch_size=16, validation=0.3, **options)
    figures = {name: values for name, values in history.items() if name != "seconds"}
    arrays = {**model.state_dict(), **{f"average {name}": value for name, value in averaging.average.values.items()}}
    return {
        "figures": repr(figures),
        "stopped": history.stopped,
        "arrays": {name: value.numpy().tobytes().hex() for name, value in arrays.items()},
        "best": (stopping.best, stopping.best_epoch),
        "steps": optimizer.steps,
        "next": [int(corgi.initializer.generator().integers(2**63)), layers[1].own.normal()],
    }


def everything(model):
    """All that a model is, in a form that can be compared."""
    state = model.optimizer.state_dict(model.named_parameters()) if model.optimizer else {}
    state |= {f"array {name}": value for name, value in model.state_dict().items()}
    plain = {key: (v.numpy().tobytes(), v.dtype, v.shape) if type(v) is corgi.Array else v for key, v in state.items()}
    return repr(plain), corgi.initializer.generator().bit_generator.state


def fitted(path, callbacks=(), *, crash=None, y=None, epochs=3, metrics=(), rule=None, **options):
    """A fit of four batches in an epoch, to be resumed; crashes after a step."""

    def fail(run):
        if run.step == crash:
            raise ConnectionError

    corgi.seed(0)
    model = Model([Dense(1, 1)], rule or GradientDescent(0.1), cost.mse)
    x = options.pop("x", corgi.arange(8.0).reshape(8, 1) / 8)
    checkpoint = Checkpoint(path, every_steps=1, resume=True)
    failing = LambdaCallback(on_batch_end=fail)
    return model, model.fit(
        x,
        x if y is None else y,
        epochs=epochs,
        batch_size=2,
        metrics=metrics,
        callbacks=[checkpoint, *callbacks, failing],
        **options,
    )


if __name__ == "__main__":
    print(train(sys.argv[1], every_steps=2, sleep=0.002))
