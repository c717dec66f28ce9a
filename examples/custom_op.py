"""An operation of one's own: a forward and a backward function, used like any other and differentiated to any order.

The integral of exp(-t**2) is an example of a function whose derivative is simpler than itself.
"""

import math

import numpy as np

import corgi
from corgi import arr


def forward(x):
    """sqrt(pi)/2 erf(x), with the C library's erf, element by element."""
    return corgi.array(np.vectorize(math.erf)(x.numpy()) * math.sqrt(math.pi) / 2, dtype=x.dtype)


def backward(inputs, tracked, delta):
    """One gradient for each input; written with operations, it can be differentiated in turn."""
    (x,) = inputs
    return [delta * corgi.exp(-x * x)]


gauss_integral = corgi.op(forward, backward)


def main():
    x = arr([-1.0, 0.0, 0.5]).tracked()
    y = gauss_integral(x)
    y.backward(create_graph=True)
    slope = x.take_gradient()
    print("value      ", y.detach())
    print("slope      ", slope.detach())

    slope.backward()
    print("curvature  ", x.gradient)
    expected = -2 * x.detach() * corgi.exp(-x.detach() * x.detach())
    assert np.allclose(x.gradient, expected)
    corgi.check_gradient(lambda t: gauss_integral(t).sum(), x.detach(), order=2)
    return x.gradient.tolist()


if __name__ == "__main__":
    main()
