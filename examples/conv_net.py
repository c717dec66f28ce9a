"""A convolutional network with a block of one's own: a layer is a class with arrays and layers as attributes."""

import corgi
from corgi import Model, cost, data, initializer
from corgi.layer import Conv, Dense, Flatten, Layer, MaxPool
from corgi.optimizer import Adam

EPOCHS, BATCH_SIZE = 12, 32


class Residual(Layer):
    """x + scale * relu(conv(x)), with a trained scale for each channel."""

    def __init__(self, channels, dtype):
        self.conv = Conv(channels, channels, 3, initializer.he(), "relu", padding=1, dtype=dtype)
        self.scale = corgi.full((channels, 1, 1), 0.5, dtype=dtype).tracked()

    def forward(self, x):
        return x + self.scale * self.conv(x)


def main():
    corgi.seed(0)
    train, test = data.digits("float32", seed=0, flat=False)
    layers = [
        Conv(1, 16, 3, initializer.he(), "relu", padding=1, dtype="float32"),
        MaxPool(2),
        Residual(16, "float32"),
        MaxPool(2),
        Flatten(),
        Dense(64, 10, initializer.glorot(), "softmax", dtype="float32"),
    ]
    model = Model(layers, Adam(0.005), cost.cross_entropy)
    for name, parameter in model.named_parameters().items():
        print(f"{name:22} {parameter.shape}")

    for epoch in range(1, EPOCHS + 1):
        for images, labels in data.batches(train, BATCH_SIZE):
            model.forward(images)
            loss = model.backward(labels)
            model.update()
        with corgi.no_tracking():
            accuracy = (model(test.images).argmax(axis=-1) == test.labels).mean().item()
        print(f"epoch {epoch:2}: loss of the last batch {loss:.4f}, accuracy on held-out images {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
