"""A convolutional network on MNIST-5000, with a block of one's own: a layer is a class with arrays and layers as attributes.

Started as ``python conv_net.py run.safetensors`` it saves itself there after every epoch: when it is killed, start it again.
"""

import sys

import numpy as np

import corgi
from corgi import Model, callback, cost, data, initializer, schedule
from corgi.layer import Conv, Dense, Flatten, Layer, MaxPool
from corgi.optimizer import AdamW

EPOCHS, BATCH_SIZE = 8, 50


class Residual(Layer):
    """x + scale * relu(conv(x)), with a trained scale for each channel."""

    def __init__(self, channels, dtype):
        self.conv = Conv(channels, channels, 3, initializer.he(), "relu", padding=1, dtype=dtype)
        self.scale = corgi.full((channels, 1, 1), 0.5, dtype=dtype).tracked()

    def forward(self, x):
        return x + self.scale * self.conv(x)


def shifted(batch, rng):
    """The images of a batch, each moved by up to two pixels, so that the network does not learn them by heart."""
    images, labels = batch
    shifts = rng.integers(-2, 3, (len(images), 2))
    moved = [np.roll(image, shift, (-2, -1)) for image, shift in zip(images.numpy(), shifts, strict=True)]
    return corgi.array(np.stack(moved)), labels


def main(path=None):
    corgi.seed(0)
    images, labels = data.mnist5000("float32", flat=False)
    train, test = data.split(images, labels, fraction=0.2, seed=0)
    layers = [
        Conv(1, 16, 3, initializer.he(), "relu", padding=1, dtype="float32"),
        MaxPool(2),
        Residual(16, "float32"),
        Conv(16, 32, 3, initializer.he(), "relu", dtype="float32"),
        MaxPool(2),
        Flatten(),
        Dense(32 * 6 * 6, 10, initializer.glorot(), "softmax", dtype="float32"),
    ]
    loader = data.Loader(train, BATCH_SIZE, shuffle=True, transform=shifted, prefetch=2)
    model = Model(layers, AdamW(0.004, schedule=schedule.OneCycle(EPOCHS * len(loader))), cost.cross_entropy)
    print(model.summary((BATCH_SIZE, 1, 28, 28)))

    callbacks = [callback.Log()]
    if path is not None:
        callbacks.append(callback.Checkpoint(path, resume=True))
    model.fit(loader, epochs=EPOCHS, validation=test, metrics="accuracy", callbacks=callbacks)
    accuracy = model.evaluate(*test, metrics="accuracy")["accuracy"]
    print(f"accuracy on held-out images: {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
