"""Trains a small network on real handwritten digits: what `corgi train digits` does, as a script."""

import corgi
from corgi import Model, activation, cost, data, initializer
from corgi.layer import Dense
from corgi.optimizer import GradientDescent

EPOCHS, BATCH_SIZE = 30, 32


def main():
    corgi.seed(0)
    train, test = data.digits("float32", seed=0)

    hidden = Dense(64, 256, initializer.he(), activation.relu, dtype="float32")
    output = Dense(256, 10, initializer.glorot(), activation.softmax, dtype="float32")
    optimizer = GradientDescent(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)
    model = Model([hidden, output], optimizer, cost.cross_entropy)
    print(model)

    for epoch in range(1, EPOCHS + 1):
        losses = []
        for images, labels in data.batches(train, BATCH_SIZE):
            model.forward(images)
            losses.append(model.backward(labels))
            model.update()
        if epoch % 5 == 0:
            print(f"epoch {epoch:2}: mean loss {sum(losses) / len(losses):.4f}")

    with corgi.no_tracking():
        classes = model(test.images).argmax(axis=-1)
    accuracy = (classes == test.labels).mean().item()
    print(f"accuracy on held-out images: {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
