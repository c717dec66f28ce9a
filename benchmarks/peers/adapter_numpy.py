"""NumPy by hand: forward and backward passes spelled out, no tape, optimizers in place.

A bound for a library on a BLAS that keeps every intermediate value and pays NumPy's price for each call.
Above: run.py, and adapter_autograd.py, which takes the optimizers from here.
"""

import math
import operator
from functools import partial

import numpy as np
from case import Case, training


def set_threads(n):
    """Nothing is left to do: run.py sets what the BLAS looks at when NumPy is imported."""


def build(w, dtype):
    initial, data = w.arrays(dtype)
    if w.kind == "ops":
        if w.name not in OPS:
            raise NotImplementedError
        return OPS[w.name](w, data)
    network = {"mlp": mlp, "cnn": cnn}[w.kind]
    parameters = update = None

    def reset():
        nonlocal parameters, update
        parameters = [p.copy() for p in initial]
        update = optimizer(w, parameters)

    def step():
        loss, gradients = network(w, data, parameters)
        update(gradients)
        return loss

    return training(step, reset)


# ---- optimizers: functions of the gradients, which change the parameters in place


def optimizer(w, parameters):
    kind, *arguments = w.optimizer
    return {"sgd": sgd, "momentum": momentum, "adam": adam}[kind](parameters, *arguments)


def sgd(parameters, rate):
    def update(gradients):
        for p, g in zip(parameters, gradients, strict=True):
            p -= rate * g

    return update


def momentum(parameters, rate, factor):
    velocities = [np.zeros_like(p) for p in parameters]

    def update(gradients):
        for p, g, v in zip(parameters, gradients, velocities, strict=True):
            v *= factor
            v += g
            p -= rate * v

    return update


def adam(parameters, rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    means, squares = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    t = 0

    def update(gradients):
        nonlocal t
        t += 1
        c1, c2 = 1 - beta1**t, math.sqrt(1 - beta2**t)
        for p, g, m, v in zip(parameters, gradients, means, squares, strict=True):
            m *= beta1
            m += (1 - beta1) * g
            v *= beta2
            v += (1 - beta2) * (g * g)
            step = np.sqrt(v)
            step *= 1 / c2
            step += epsilon
            np.divide(m, step, out=step)
            step *= rate / c1
            p -= step

    return update


# ---- networks: loss and gradients


def cross_entropy(logits, one_hot):
    """The mean loss, and its gradient for the logits."""
    batch = logits.shape[0]
    logits = logits - logits.max(1, keepdims=True)
    exp = np.exp(logits)
    total = exp.sum(1, keepdims=True)
    loss = (np.log(total).sum() - (logits * one_hot).sum()) / batch
    exp /= total
    exp -= one_hot
    exp *= 1.0 / batch
    return loss, exp


def mlp(w, data, p):
    values, last = [data["x"]], len(w.sizes) - 2
    for i in range(last + 1):
        z = values[-1] @ p[2 * i]
        z += p[2 * i + 1]
        values.append(np.maximum(z, 0, out=z) if i < last else z)
    if w.loss == "mse":
        delta = values.pop() - data["y"]
        loss = (delta * delta).mean()
        delta *= 2.0 / delta.size
    else:
        loss, delta = cross_entropy(values.pop(), data["one_hot"])
    gradients = [None] * len(p)
    for i in range(last, -1, -1):
        gradients[2 * i], gradients[2 * i + 1] = values[i].T @ delta, delta.sum(0)
        if i:
            delta = delta @ p[2 * i].T
            delta *= values[i] > 0
    return loss, gradients


def windows(x, side, padding):
    """The windows of images as rows (im2col), the padded images' shape, and the result's rows and columns."""
    if padding:
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    view = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))
    batch, channels, rows, columns = view.shape[:4]
    unrolled = np.ascontiguousarray(view.transpose(0, 2, 3, 1, 4, 5))
    return unrolled.reshape(batch * rows * columns, channels * side * side), x.shape, rows, columns


def images(delta, shape, side, padding, rows, columns):
    """The sum of windows into images (col2im): the gradient of `windows`."""
    batch, channels, height, width = shape
    dx = np.zeros(shape, delta.dtype)
    delta = delta.reshape(batch, rows, columns, channels, side, side).transpose(4, 5, 0, 3, 1, 2)
    for i in range(side):
        for j in range(side):
            dx[:, :, i : i + rows, j : j + columns] += delta[i, j]
    return dx[:, :, padding : height - padding, padding : width - padding]


def cnn(w, data, p):
    """The tape holds a function for each layer: from the gradient of its result to that of its input."""
    x, tape, gradients, position = data["x"], [], [None] * len(p), 0
    for kind, *sizes in w.layers:
        if kind == "conv":
            x, back = conv(x, p, position, gradients, *sizes)
            position += 2
        elif kind == "pool":
            x, back = max_pool(x)
        elif kind == "flatten":
            back = partial(np.reshape, shape=x.shape)
            x = x.reshape(x.shape[0], -1)
        else:
            x, back = dense(x, p, position, gradients)
            position += 2
        tape.append(back)
    loss, delta = cross_entropy(x, data["one_hot"])
    for back in reversed(tape):
        delta = back(delta)
    return loss, gradients


def conv(x, p, position, gradients, filters, side, padding):
    rows_of_windows, shape, rows, columns = windows(x, side, padding)
    weight = p[position].reshape(filters, -1)
    z = rows_of_windows @ weight.T
    z += p[position + 1]
    np.maximum(z, 0, out=z)

    def back(delta):
        delta = np.ascontiguousarray(delta.transpose(0, 2, 3, 1)).reshape(-1, filters)
        delta *= z > 0
        gradients[position] = (delta.T @ rows_of_windows).reshape(p[position].shape)
        gradients[position + 1] = delta.sum(0)
        return images(delta @ weight, shape, side, padding, rows, columns) if position else None

    return np.ascontiguousarray(z.reshape(len(x), rows, columns, filters).transpose(0, 3, 1, 2)), back


def max_pool(x):
    batch, channels, rows, columns = x.shape
    blocks = x.reshape(batch, channels, rows // 2, 2, columns // 2, 2)
    result = blocks.max((3, 5))
    chosen = blocks == result[:, :, :, None, :, None]  # ties are zeros of the ReLU before, whose gradient is 0

    def back(delta):
        return (chosen * delta[:, :, :, None, :, None]).reshape(x.shape)

    return result, back


def dense(x, p, position, gradients):
    def back(delta):
        gradients[position], gradients[position + 1] = x.T @ delta, delta.sum(0)
        return delta @ p[position].T

    return x @ p[position] + p[position + 1], back


# ---- operations


def chain_small(w, data):
    a, b = data["a"], data["b"]

    def forward():
        c = a
        for _ in range(50):
            c = c * b + a
        return c

    def backward():
        c = [a]
        for _ in range(50):
            c.append(c[-1] * b + a)
        dc, da, db = np.ones_like(a), np.zeros_like(a), np.zeros_like(b)
        for value in reversed(c[:-1]):
            da = da + dc
            db = db + dc * value
            dc = dc * b
        return c[-1], da + dc, db

    def check():
        return {name: float(value.sum()) for name, value in zip(("c", "ga", "gb"), backward(), strict=True)}

    return Case({"forward": forward, "backward": backward}, check)


def elementwise_big(w, data):
    x = data["x"]

    def parts():
        return 1.0 / (1.0 + np.exp(-x)), np.tanh(x), np.exp(-x * x)

    def forward():
        s, t, e = parts()
        return s * t + e

    def backward():
        s, t, e = parts()
        y = s * t + e
        return y.sum(), t * s * (1 - s) + s * (1 - t * t) - 2 * x * e

    def check():
        total, gradient = backward()
        return {
            "sum_y": float(total),
            "sum_y_forward": float(forward().sum(dtype=np.float64)),
            "sum_abs_dx": float(np.abs(gradient).sum(dtype=np.float64)),
        }

    return Case({"forward": forward, "backward": backward}, check)


def matmul(w, data):
    def check():
        a, b = data["512" if "512" in data else "32"]
        c = a @ b
        return {"trace": float(np.trace(c)), "corner": float(c[0, -1])}

    return Case({n: partial(operator.matmul, a, b) for n, (a, b) in data.items()}, check)


def vectors(function, count):
    """The Case of an operation on one vector or two."""

    def make(w, data):
        calls = {n: partial(function, *arrays[:count]) for n, arrays in data.items()}
        return Case(calls, lambda: {"sum": float(np.sum(calls["1000"](), dtype=np.float64))})

    return make


OPS = {
    "chain_small": chain_small,
    "elementwise_big": elementwise_big,
    "matmul": matmul,
    "matmul_small": matmul,
    "add": vectors(operator.add, 2),
    "exp": vectors(np.exp, 1),
    "sum": vectors(np.sum, 1),
}
