"""The memory of training: the first epoch takes what it needs from the system, and later ones find it in the cache.

tests/test_training.py has what is in use after an epoch, tests/test_engine.py what graphs hold.
"""

import numpy as np
import pytest

import corgi
from corgi import Model, activation, cost
from corgi.layer import Conv, Dense, Flatten, MaxPool
from corgi.optimizer import Adam, GradientDescent


def mlp(dtype):
    layers = [Dense(100, 300, None, activation.relu, dtype=dtype), Dense(300, 10, dtype=dtype)]
    return Model(layers, Adam(0.001), cost.softmax_cross_entropy), (100,)


def cnn(dtype):
    layers = [
        Conv(3, 8, 3, None, activation.relu, padding=1, dtype=dtype),
        MaxPool(2),
        Conv(8, 16, 3, None, activation.relu, dtype=dtype),
        Flatten(),
        Dense(16 * 6 * 6, 10, None, activation.softmax, dtype=dtype),
    ]
    return Model(layers, GradientDescent(0.01, 0.9), cost.cross_entropy), (3, 16, 16)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", [mlp, cnn], ids=lambda f: f.__name__)
@pytest.mark.usefixtures("caching")
def test_a_second_epoch_allocates_nothing(network, dtype):
    corgi.memory.trim()
    model, shape = network(dtype)
    generator = np.random.default_rng(0)
    images = generator.standard_normal((210, *shape)).astype(dtype)  # the last batch is smaller
    labels = generator.integers(0, 10, len(images))

    def epoch():
        for i in range(0, len(images), 64):
            model.forward(images[i : i + 64])
            model.backward(labels[i : i + 64])
            model.update()
        return corgi.memory.stats()

    start, first = corgi.memory.stats(), epoch()
    assert first["allocations"] > start["allocations"]
    later = [epoch() for _ in range(3)]
    assert {stats["allocations"] for stats in later} == {first["allocations"]}
    assert {stats["in_use"] for stats in later} == {first["in_use"]}
    assert later[-1]["reuses"] > first["reuses"]
