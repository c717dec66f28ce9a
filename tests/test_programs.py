"""Random programs: ops joined at random, where a mistake in what they share shows that no op has alone.

Programs of exact arithmetic compare the engine's fast ways with its recorded ones; smooth programs compare three orders of
derivatives with central differences.
"""

import random

import numpy as np
import pytest

import corgi
from corgi import arr

EXACT = [
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: -a,
    lambda a, b: a.T.reshape(3, 4) + b,
    lambda a, b: a[::-1] + b[:, ::-1],
    lambda a, b: corgi.concatenate([a[:1], b[1:]]),
    lambda a, b: corgi.where(a > b, a, b),
    lambda a, b: a.sum(axis=0) + b,
    lambda a, b: a[:, :1] * b[0],
    lambda a, b: corgi.broadcast_to(a[1], (3, 4)),
    lambda a, b: a.reshape(12).reshape(3, 4).T.T,
    lambda a, b: corgi.axpy(2.0, a, b),
    lambda a, b: a.astype("float32").astype("float64"),
]


@pytest.mark.parametrize("seed", range(60))
def test_exact_programs(seed):
    """Gradients that are summed in place, passed on and shared agree with those of a recorded pass, which never does that.

    All numbers are small integers, so that every sum is exact; gradients seen on the way may not change afterwards.
    """

    def program(create_graph):
        rng, seen = random.Random(seed), []
        leaves = [arr([[float(rng.randint(-2, 2)) for _ in range(4)] for _ in range(3)]).tracked() for _ in range(3)]
        arrays = list(leaves)
        for _ in range(14):
            a, b = rng.choice(arrays), rng.choice(arrays[-4:])
            arrays.append(rng.choice(EXACT)(a, b) % 7.0)
            if rng.random() < 0.3:
                arrays[-1].tracked()
            if rng.random() < 0.3:
                rng.choice(arrays[3:]).backward(create_graph=create_graph)
                seen += [(x.gradient, x.gradient.tolist()) for x in arrays if x.gradient is not None]
        arrays[-1].backward(create_graph=create_graph)
        assert all(gradient.tolist() == values for gradient, values in seen)
        return [None if x.gradient is None else x.gradient.tolist() for x in arrays], [values for _, values in seen]

    assert program(False) == program(True)


WEIGHT = arr(np.random.default_rng(1).standard_normal((4, 4)))


def dense(a, b, activation):
    """The fused op, with a (4, 3) weight made of views of b, back to (3, 4)."""
    return corgi.dense(a, b.T.reshape(4, 3).T, b[:, 0], activation) @ corgi.ones((3, 4))


# Of arrays (3, 4), or what broadcasts to them, to one again.
SMOOTH = [
    lambda a, b: a * b,
    lambda a, b: a - b,
    lambda a, b: a / (1 + b * b),
    lambda a, b: (a @ b.T) @ b * 0.1,
    lambda a, b: a @ WEIGHT * 0.5,
    lambda a, b: corgi.axpy(a, b, a),
    lambda a, b: corgi.tanh(a),
    lambda a, b: corgi.exp(a * 0.3),
    lambda a, b: corgi.sin(a),
    lambda a, b: corgi.sigmoid(a),
    lambda a, b: corgi.softplus(a),
    lambda a, b: corgi.erf(a),
    lambda a, b: corgi.sqrt(2 + a * a),
    lambda a, b: corgi.log1p(a * a),
    lambda a, b: corgi.reciprocal(2 + a * a),
    lambda a, b: (1.5 + corgi.tanh(a)) ** corgi.tanh(b),
    lambda a, b: corgi.logaddexp(a, b),
    lambda a, b: corgi.arctan2(a, 2 + b * b),
    lambda a, b: a - a.mean(axis=0),
    lambda a, b: b / (1 + corgi.var(a, axis=1, keepdims=True)),
    lambda a, b: corgi.max(a, axis=1, keepdims=True) * b,
    lambda a, b: corgi.prod(corgi.tanh(a), axis=1, keepdims=True) * b,
    lambda a, b: corgi.cumsum(a, axis=1) * 0.3,
    lambda a, b: a[::-1, 1:2] * b,
    lambda a, b: a[[0, 2, 0]] + b,
    lambda a, b: corgi.moveaxis(a.reshape(3, 2, 2), 0, -1).reshape(3, 4),
    lambda a, b: corgi.concatenate([a[:1], b[1:]]),
    lambda a, b: corgi.where(b > 0, a, b * b),
    lambda a, b: corgi.softmax(a),
    lambda a, b: corgi.softmax(a, axis=0) * b,
    lambda a, b: corgi.log_softmax(a) * b,
    lambda a, b: a - corgi.logsumexp(a, axis=1, keepdims=True),
    lambda a, b: corgi.cross_entropy(corgi.softmax(a), corgi.softmax(b)) * b,
    lambda a, b: corgi.cross_entropy(corgi.softmax(a) * 0.9 + 0.025, corgi.softmax(b)) + a,
    lambda a, b: corgi.softmax_cross_entropy(a, [0, 1, 2]) * b,
    lambda a, b: corgi.softmax_cross_entropy(a, b * b) * a,
    lambda a, b: dense(a, b, None) * 0.1,
    lambda a, b: dense(a, b, "tanh"),
    lambda a, b: dense(a, b, "sigmoid"),
    lambda a, b: corgi.conv(a.reshape(1, 3, 4), b[:2, :2].reshape(1, 1, 2, 2), padding=1)[0, :3, :4] * 0.5,
    lambda a, b: corgi.avg_pool(a.reshape(1, 3, 4), (1, 2))[0, :, :1] * b,
]


def recorded_gradient(f, x):
    """x as a leaf, and the gradient of f there as part of the graph."""
    x = arr(x).tracked()
    f(x).backward(create_graph=True)
    return x, x.take_gradient()


def curvature(f, x, v):
    """The leaf and the product of f's Hessian with v, as part of the graph."""
    x, gradient = recorded_gradient(f, x)
    (gradient * v).sum().backward(create_graph=True)
    return x, x.take_gradient()


def third(f, x, v):
    """The gradient of the curvature along v, which is the third derivative contracted twice with v."""
    x, product = curvature(f, x, v)
    (product * v).sum().backward()
    return x.gradient


@pytest.mark.parametrize("seed", range(150))
def test_smooth_programs(seed):
    """Orders 1 to 3 in a random direction; each against central differences of the order before."""
    rng = random.Random(seed)
    steps = [(rng.choice(SMOOTH), rng.random(), rng.random()) for _ in range(4)]
    x, v = np.random.default_rng(seed).standard_normal((2, 3, 4))

    def program(x):
        arrays = [x, corgi.sin(x * 1.3 + 0.2)]
        for function, first, second in steps:
            arrays.append(function(arrays[int(first * len(arrays))], arrays[int(second * len(arrays))]))
        return (arrays[-1] * arrays[-2] + 0.01 * x * x * x).sum()

    def difference(f, step=1e-5):
        return (f(x + step * v).numpy() - f(x - step * v).numpy()) / (2 * step)

    def assert_close(exact, approximate, tolerance):
        scale = 1 + np.abs(approximate).max()
        np.testing.assert_allclose(exact, approximate, rtol=0, atol=tolerance * scale)

    gradient = recorded_gradient(program, x)[1]
    assert_close((gradient.numpy() * v).sum(), difference(lambda x: program(arr(x))), 1e-6)
    assert_close(curvature(program, x, v)[1].numpy(), difference(lambda x: recorded_gradient(program, x)[1]), 1e-6)
    assert_close(third(program, x, v).numpy(), difference(lambda x: curvature(program, x, v)[1]), 1e-5)
