"""A physics-informed net: solves Burgers' equation without having seen its solution inside the domain.

The equation u_t + u u_x = v u_xx has the travelling wave u = (1 - tanh((x - t/2) / 4v)) / 2. A net u(x, t) is shown that
wave at the start and at both ends; in between, the equation is the cost, at random points (M. Raissi, P. Perdikaris and
G. E. Karniadakis, Physics-informed neural networks, Journal of Computational Physics 378, 2019). The second derivative by x
is the gradient of a gradient, and the cost is differentiated once more, by the weights.
"""

import numpy as np

import corgi
from corgi import Model
from corgi.layer import Dense
from corgi.optimizer import LBFGS

VISCOSITY = 0.05


def wave(x, t):
    return (1 - corgi.tanh((x - t / 2) / (4 * VISCOSITY))) / 2


def points(random, count):
    """Random points inside (x from -1 to 1, t from 0 to 1), and others at the start and at both ends."""
    inside = random.uniform(-1, 1, count), random.uniform(0, 1, count)
    start = random.uniform(-1, 1, 100), np.zeros(100)
    ends = random.choice([-1.0, 1.0], 100), random.uniform(0, 1, 100)
    edge = [np.concatenate(parts) for parts in zip(start, ends, strict=True)]
    return [corgi.array(part) for part in inside], [corgi.array(part) for part in edge]


def main(steps=20, seed=0):
    corgi.seed(seed)
    net = Model([Dense(2, 20, activation="tanh"), Dense(20, 20, activation="tanh"), Dense(20, 1)])
    inside, edge = points(np.random.default_rng(seed), 600)

    def u(x, t):
        return net(corgi.stack([x, t], axis=1))[:, 0]

    # Each element of u depends on that of x and t alone, so the gradient of the sum holds the derivatives of all.
    u_t = corgi.grad(lambda x, t: u(x, t).sum(), argnums=1)
    u_x = corgi.grad(lambda x, t: u(x, t).sum())
    u_xx = corgi.grad(lambda x, t: u_x(x, t).sum())

    def closure():
        residual = u_t(*inside) + u(*inside) * u_x(*inside) - VISCOSITY * u_xx(*inside)
        error = u(*edge) - wave(*edge)
        loss = corgi.square(residual).mean() + 10 * corgi.square(error).mean()
        loss.backward()
        return loss

    optimizer = LBFGS(max_iterations=50)
    for step in range(1, steps + 1):
        result = optimizer.step(net.parameters(), closure)
        if step % 5 == 0 or result.converged:
            print(f"{step * 50} iterations: loss {result.value:.2e}")
        if result.converged:
            break

    x, t = (corgi.array(part.ravel()) for part in np.meshgrid(np.linspace(-1, 1, 101), np.linspace(0, 1, 51)))
    with corgi.no_tracking():
        error = (corgi.norm(u(x, t) - wave(x, t)) / corgi.norm(wave(x, t))).item()
    print(f"relative error of u: {error:.1e}")
    return error


if __name__ == "__main__":
    main()
