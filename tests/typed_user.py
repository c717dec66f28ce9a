"""A user's program, which CI puts through `mypy --strict`: it is checked, not run."""

import numpy as np

import corgi
from corgi import Array, array


def network(x: Array, weights: list[Array]) -> Array:
    y = x
    for weight in weights:
        y = corgi.tanh(y @ weight.T) * 2 + 1.0 - y[..., :1] / 3
    y = corgi.where(y > 0, y, 0.0)
    return corgi.relu(2**y).sum(axis=0, keepdims=True)


x = corgi.array([[1.0, 2.0]], dtype="float32").tracked()
both: Array = array([x, x], dtype=corgi.float32)
loss = corgi.softmax_cross_entropy(network(x, [corgi.ones((2, 2))]), [1])
loss.backward()
if x.gradient is not None:
    number = float(x.gradient[0, 0]) + x.gradient.numpy().sum()
mask: Array = x == 2.0
picked = x[mask] + x[0, ::-1] + x[None, ..., 1]
for row in both:
    print(row.shape, abs(row), corgi.abs(row), corgi.clip(row, 0), -row, np.asarray(row), row.item(0, 1))
x += 1
cube = corgi.op(lambda x: x * x * x, lambda arrays, tracked, delta: [3 * arrays[0] * arrays[0] * delta])
total: Array = cube(x)


@corgi.no_tracking()
def evaluate(name: str) -> str:
    return f"{name}: {corgi.max(x):.3f}"


print(evaluate("largest").upper())
