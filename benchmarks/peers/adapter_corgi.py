"""corgi as its users write it: layers, a Model, an optimizer, and the public API alone."""

import itertools
import operator
from functools import partial

import numpy as np
from case import Case, training

import corgi
from corgi import Model, activation, cost, optimizer
from corgi.layer import Conv, Dense, Flatten, MaxPool

OPTIMIZERS = {
    "sgd": optimizer.GradientDescent,
    "momentum": optimizer.GradientDescent,
    "adam": optimizer.Adam,
}


def set_threads(n):
    corgi.set_num_threads(n)


def build(w, dtype):
    parameters, data = w.arrays(dtype)
    if w.kind == "ops":
        return OPS[w.name](w, data)
    mse = w.loss == "mse"
    x, target = corgi.array(data["x"]), corgi.array(data["y" if mse else "labels"])
    loss = cost.mse if mse else cost.softmax_cross_entropy
    kind, *arguments = w.optimizer
    model = None

    def reset():
        nonlocal model
        model = Model(LAYERS[w.kind](w, dtype), OPTIMIZERS[kind](*arguments), loss)
        for parameter, value in zip(model.parameters(), parameters, strict=True):
            corgi.assign(parameter, value.T if value.ndim == 2 else value)

    def step():
        model.forward(x)
        loss = model.backward(target)
        model.update()
        return loss

    return training(step, reset)


def mlp_layers(w, dtype):
    *hidden, last = itertools.pairwise(w.sizes)
    return [Dense(n, m, None, activation.relu, dtype=dtype) for n, m in hidden] + [Dense(*last, dtype=dtype)]


def cnn_layers(w, dtype):
    layers, (channels, rows, columns) = [], w.image
    for kind, *sizes in w.layers:
        if kind == "conv":
            filters, side, padding = sizes
            layers.append(Conv(channels, filters, side, None, activation.relu, padding=padding, dtype=dtype))
            channels, rows, columns = filters, rows + 2 * padding - side + 1, columns + 2 * padding - side + 1
        elif kind == "pool":
            layers.append(MaxPool(2))
            rows, columns = rows // 2, columns // 2
        elif kind == "flatten":
            layers.append(Flatten())
        else:
            layers.append(Dense(channels * rows * columns, sizes[0], dtype=dtype))
    return layers


LAYERS = {"mlp": mlp_layers, "cnn": cnn_layers}


def chain_small(w, data):
    a, b = corgi.array(data["a"]), corgi.array(data["b"])
    x, y = corgi.array(data["a"]).tracked(), corgi.array(data["b"]).tracked()

    def chain(a, b):
        c = a
        for _ in range(50):
            c = c * b + a
        return c

    def backward():
        x.gradient = y.gradient = None
        c = chain(x, y)
        c.backward()
        return c

    def check():
        c = backward()
        return {"c": float(c.sum()), "ga": float(x.gradient.sum()), "gb": float(y.gradient.sum())}

    return Case({"forward": partial(chain, a, b), "tracked": partial(chain, x, y), "backward": backward}, check)


def dynamic_scalar(w, data):
    arr = corgi.arr

    def run():
        a, b, c = arr([5.0]).tracked(), arr([2.0]).tracked(), arr([0.0]).tracked()
        for _ in range(10):
            c = c + a * b
            if c[0] > 50.0:
                c = c * a
        c.backward()
        return c, a.gradient, b.gradient

    return Case({"run": run}, lambda: dict(zip(("c", "ga", "gb"), map(float, run()), strict=True)))


def elementwise_big(w, data):
    x, tracked = corgi.array(data["x"]), corgi.array(data["x"]).tracked()

    def f(x):
        return corgi.sigmoid(x) * corgi.tanh(x) + corgi.exp(-x * x)

    def backward():
        tracked.gradient = None
        total = f(tracked).sum()
        total.backward()
        return total

    def check():
        total, y, gradient = backward(), f(x).numpy(), tracked.gradient.numpy()
        return {
            "sum_y": float(total),
            "sum_y_forward": float(y.sum(dtype=np.float64)),
            "sum_abs_dx": float(np.abs(gradient).sum(dtype=np.float64)),
        }

    return Case({"forward": partial(f, x), "backward": backward}, check)


def matmul(w, data):
    pairs = {n: (corgi.array(a), corgi.array(b)) for n, (a, b) in data.items()}

    def check():
        a, b = pairs["512" if "512" in pairs else "32"]
        c = (a @ b).numpy()
        return {"trace": float(np.trace(c)), "corner": float(c[0, -1])}

    return Case({n: partial(operator.matmul, a, b) for n, (a, b) in pairs.items()}, check)


def vectors(function, count):
    """The Case of an operation on one vector or two."""

    def make(w, data):
        calls = {n: partial(function, *map(corgi.array, arrays[:count])) for n, arrays in data.items()}
        return Case(calls, lambda: {"sum": float(calls["1000"]().numpy().sum(dtype=np.float64))})

    return make


OPS = {
    "chain_small": chain_small,
    "dynamic_scalar": dynamic_scalar,
    "elementwise_big": elementwise_big,
    "matmul": matmul,
    "matmul_small": matmul,
    "add": vectors(operator.add, 2),
    "exp": vectors(corgi.exp, 1),
    "sum": vectors(corgi.sum, 1),
}
