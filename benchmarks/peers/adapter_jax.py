"""JAX: one jitted function for each training step, whose parameters' memory is given to the result.

Networks of convolutions run with channels last, the layout that XLA prefers on a CPU; their weights are permuted beforehand.
"""

import operator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from case import Case, training
from jax import lax


def set_threads(n):
    """Nothing is left to do: run.py sets what the thread pools look at when JAX is imported."""


def build(w, dtype):
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    parameters, data = w.arrays(dtype)
    if w.kind == "ops":
        return OPS[w.name](w, data)
    network = mlp
    if w.kind == "cnn":
        parameters, network = channels_last(w, parameters), partial(cnn, w)
        data["x"] = np.ascontiguousarray(data["x"].transpose(0, 2, 3, 1))
    data = {name: jnp.asarray(value) for name, value in data.items()}
    initial_state, update = OPTIMIZERS[w.optimizer[0]](*w.optimizer[1:])

    def loss(p, data):
        output = network(p, data["x"])
        return jnp.mean((output - data["y"]) ** 2) if w.loss == "mse" else cross_entropy(output, data["labels"])

    @partial(jax.jit, donate_argnums=(0, 1))
    def train(p, state, data):
        value, gradients = jax.value_and_grad(loss)(p, data)
        return *update(p, gradients, state), value

    p = state = None

    def reset():
        nonlocal p, state
        p = [jnp.array(x) for x in parameters]
        state = initial_state(p)
        jax.block_until_ready((p, state))

    def step():
        nonlocal p, state
        p, state, value = train(p, state, data)
        return value

    return training(step, reset, sync=lambda: jax.block_until_ready(p))


def zeros(p):
    return [jnp.zeros_like(x) for x in p]


def sgd(rate):
    return (lambda p: ()), (lambda p, g, state: ([x - rate * y for x, y in zip(p, g, strict=True)], state))


def momentum(rate, factor):
    def update(p, g, velocity):
        velocity = [factor * v + y for v, y in zip(velocity, g, strict=True)]
        return [x - rate * v for x, v in zip(p, velocity, strict=True)], velocity

    return zeros, update


def adam(rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    def update(p, g, state):
        m, v, t = state
        t = t + 1
        m = [beta1 * a + (1 - beta1) * b for a, b in zip(m, g, strict=True)]
        v = [beta2 * a + (1 - beta2) * b * b for a, b in zip(v, g, strict=True)]
        c1, c2 = 1 - beta1**t, 1 - beta2**t
        p = [x - rate * (a / c1) / (jnp.sqrt(b / c2) + epsilon) for x, a, b in zip(p, m, v, strict=True)]
        return p, (m, v, t)

    return (lambda p: (zeros(p), zeros(p), jnp.zeros((), p[0].dtype))), update


OPTIMIZERS = {"sgd": sgd, "momentum": momentum, "adam": adam}


def cross_entropy(logits, labels):
    logs = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(logs, labels[..., None], -1))


def mlp(p, x):
    for weight, bias in zip(p[:-2:2], p[1:-2:2], strict=True):
        x = jax.nn.relu(x @ weight + bias)
    return x @ p[-2] + p[-1]


def channels_last(w, parameters):
    """Filters as (rows, columns, channels, filters), and the dense weight's rows in the order of flattened images."""
    parameters, (channels, rows, columns), position = list(parameters), w.image, 0
    for kind, *sizes in w.layers:
        if kind == "conv":
            filters, side, padding = sizes
            parameters[position] = parameters[position].transpose(2, 3, 1, 0)
            channels, rows, columns = filters, rows + 2 * padding - side + 1, columns + 2 * padding - side + 1
            position += 2
        elif kind == "pool":
            rows, columns = rows // 2, columns // 2
        elif kind == "dense":
            weight = parameters[position].reshape(channels, rows, columns, -1)
            parameters[position] = weight.transpose(1, 2, 0, 3).reshape(parameters[position].shape)
            position += 2
    return parameters


def cnn(w, p, x):
    remaining = iter(p)
    for kind, *sizes in w.layers:
        if kind == "conv":
            padding = [(sizes[2], sizes[2])] * 2
            layout = ("NHWC", "HWIO", "NHWC")
            x = lax.conv_general_dilated(x, next(remaining), (1, 1), padding, dimension_numbers=layout)
            x = jax.nn.relu(x + next(remaining))
        elif kind == "pool":  # faster than reduce_window
            batch, rows, columns, channels = x.shape
            x = x.reshape(batch, rows // 2, 2, columns // 2, 2, channels).max((2, 4))
        elif kind == "flatten":
            x = x.reshape(x.shape[0], -1)
        else:
            x = x @ next(remaining) + next(remaining)
    return x


def chain_small(w, data):
    a, b = jnp.asarray(data["a"]), jnp.asarray(data["b"])
    ones = jnp.ones_like(a)

    def chain(a, b):
        c = a
        for _ in range(50):
            c = c * b + a
        return c

    def gradients(a, b):
        c, vjp = jax.vjp(chain, a, b)
        return c, *vjp(ones)

    forward, tracked, backward = jax.jit(chain), jax.jit(partial(jax.vjp, chain)), jax.jit(gradients)
    metrics = {
        "forward": lambda: forward(a, b).block_until_ready(),
        "tracked": lambda: tracked(a, b)[0].block_until_ready(),
        "backward": lambda: jax.block_until_ready(backward(a, b)),
    }
    return Case(metrics, lambda: {k: float(v.sum()) for k, v in zip(("c", "ga", "gb"), backward(a, b), strict=True)})


def dynamic_scalar(w, data):
    def f(a, b, c):
        for _ in range(10):
            c = c + a * b
            c = lax.cond(c[0] > 50, lambda c: c * a, lambda c: c, c)
        return c[0]

    gradients = jax.jit(jax.value_and_grad(f, argnums=(0, 1)))
    start = [np.array([x], np.float32) for x in (5.0, 2.0, 0.0)]

    def run():
        return jax.block_until_ready(gradients(*start))

    def check():
        c, (ga, gb) = run()
        return {"c": float(c), "ga": float(ga[0]), "gb": float(gb[0])}

    return Case({"run": run}, check)


def elementwise_big(w, data):
    x = jnp.asarray(data["x"])

    def f(x):
        return jax.nn.sigmoid(x) * jnp.tanh(x) + jnp.exp(-x * x)

    forward, backward = jax.jit(f), jax.jit(jax.value_and_grad(lambda x: f(x).sum()))

    def check():
        total, gradient = backward(x)
        return {
            "sum_y": float(total),
            "sum_y_forward": float(np.asarray(forward(x), np.float64).sum()),
            "sum_abs_dx": float(np.abs(np.asarray(gradient, np.float64)).sum()),
        }

    metrics = {"forward": lambda: forward(x).block_until_ready(), "backward": lambda: jax.block_until_ready(backward(x))}
    return Case(metrics, check)


def waiting(function, *arrays):
    """A call of the jitted function, waiting for its result."""
    arrays = [jnp.asarray(a) for a in arrays]
    return lambda: function(*arrays).block_until_ready()


def matmul(w, data):
    product = jax.jit(operator.matmul)
    calls = {n: waiting(product, a, b) for n, (a, b) in data.items()}

    def check():
        c = np.asarray(calls["512" if "512" in calls else "32"]())
        return {"trace": float(np.trace(c)), "corner": float(c[0, -1])}

    return Case(calls, check)


def vectors(function, count):
    """The Case of an operation on one vector or two."""

    def make(w, data):
        jitted = jax.jit(function)
        calls = {n: waiting(jitted, *arrays[:count]) for n, arrays in data.items()}
        return Case(calls, lambda: {"sum": float(np.asarray(calls["1000"]()).sum(dtype=np.float64))})

    return make


OPS = {
    "chain_small": chain_small,
    "dynamic_scalar": dynamic_scalar,
    "elementwise_big": elementwise_big,
    "matmul": matmul,
    "matmul_small": matmul,
    "add": vectors(operator.add, 2),
    "exp": vectors(jnp.exp, 1),
    "sum": vectors(jnp.sum, 1),
}
