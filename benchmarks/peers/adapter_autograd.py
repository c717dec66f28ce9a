"""autograd: value_and_grad in each step, and NumPy's optimizers in place.

Convolution by slices, concatenation and a product, as one writes it in differentiable NumPy.  Below: adapter_numpy.py.
"""

from functools import partial

import autograd
import autograd.numpy as np
import numpy
from adapter_numpy import optimizer
from case import Case, training


def set_threads(n):
    """Nothing is left to do: run.py sets what NumPy's BLAS looks at."""


def build(w, dtype):
    initial, data = w.arrays(dtype)
    if w.kind == "ops":
        if w.name not in OPS:
            raise NotImplementedError
        return OPS[w.name](w, data)
    if any(layer[0] == "pool" for layer in w.layers):
        raise NotImplementedError
    network = {"mlp": mlp, "cnn": cnn}[w.kind]

    def loss(p):
        output = network(w, p, data["x"])
        return np.mean((output - data["y"]) ** 2) if w.loss == "mse" else cross_entropy(output, data["one_hot"])

    value_and_gradients = autograd.value_and_grad(loss)
    parameters = update = None

    def reset():
        nonlocal parameters, update
        parameters = [p.copy() for p in initial]
        update = optimizer(w, parameters)

    def step():
        value, gradients = value_and_gradients(parameters)
        update(gradients)
        return value

    return training(step, reset)


def cross_entropy(logits, one_hot):
    logits = logits - np.max(logits, axis=1, keepdims=True)
    return (np.sum(np.log(np.sum(np.exp(logits), axis=1))) - np.sum(logits * one_hot)) / logits.shape[0]


def mlp(w, p, x):
    for weight, bias in zip(p[:-2:2], p[1:-2:2], strict=True):
        x = np.maximum(np.dot(x, weight) + bias, 0)
    return np.dot(x, p[-2]) + p[-1]


def cnn(w, p, x):
    remaining = iter(p)
    for kind, *sizes in w.layers:
        if kind == "conv":
            x = conv(x, next(remaining), next(remaining), sizes[1])
        elif kind == "flatten":
            x = np.reshape(x, (x.shape[0], -1))
        else:
            x = np.dot(x, next(remaining)) + next(remaining)
    return x


def conv(x, weight, bias, side):
    batch, channels, rows, columns = x.shape
    rows, columns = rows - side + 1, columns - side + 1
    slices = [x[:, :, i : i + rows, j : j + columns] for i in range(side) for j in range(side)]
    windows = np.transpose(np.concatenate(slices, axis=1), (0, 2, 3, 1))
    weight = np.reshape(np.transpose(weight, (2, 3, 1, 0)), (side * side * channels, -1))
    z = np.dot(np.reshape(windows, (-1, side * side * channels)), weight) + bias
    return np.transpose(np.reshape(np.maximum(z, 0), (batch, rows, columns, -1)), (0, 3, 1, 2))


def chain_small(w, data):
    both, ones = (data["a"], data["b"]), numpy.ones_like(data["a"])

    def chain(both):
        a, b = both
        c = a
        for _ in range(50):
            c = c * b + a
        return c

    make_vjp = autograd.make_vjp(chain)

    def backward():
        vjp, c = make_vjp(both)
        return c, *vjp(ones)

    def check():
        return {name: float(value.sum()) for name, value in zip(("c", "ga", "gb"), backward(), strict=True)}

    return Case({"forward": partial(chain, both), "tracked": partial(make_vjp, both), "backward": backward}, check)


def dynamic_scalar(w, data):
    def f(a, b, c):
        for _ in range(10):
            c = c + a * b
            if c[0] > 50:
                c = c * a
        return c[0]

    value_and_gradients = autograd.value_and_grad(f, argnum=(0, 1))

    def run():
        return value_and_gradients(*(numpy.array([x], numpy.float32) for x in (5.0, 2.0, 0.0)))

    def check():
        c, (ga, gb) = run()
        return {"c": float(c), "ga": float(ga[0]), "gb": float(gb[0])}

    return Case({"run": run}, check)


def elementwise_big(w, data):
    x = data["x"]

    def f(x):
        return 1.0 / (1.0 + np.exp(-x)) * np.tanh(x) + np.exp(-x * x)

    backward = partial(autograd.value_and_grad(lambda x: np.sum(f(x))), x)

    def check():
        total, gradient = backward()
        return {
            "sum_y": float(total),
            "sum_y_forward": float(f(x).sum(dtype=numpy.float64)),
            "sum_abs_dx": float(numpy.abs(gradient).sum(dtype=numpy.float64)),
        }

    return Case({"forward": partial(f, x), "backward": backward}, check)


def matmul(w, data):
    def check():
        c = np.dot(*data["512"])
        return {"trace": float(numpy.trace(c)), "corner": float(c[0, -1])}

    return Case({n: partial(np.dot, a, b) for n, (a, b) in data.items()}, check)


OPS = {
    "chain_small": chain_small,
    "dynamic_scalar": dynamic_scalar,
    "elementwise_big": elementwise_big,
    "matmul": matmul,
}
