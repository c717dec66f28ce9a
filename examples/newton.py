"""Fits a damped oscillation to noisy data by Newton's method, with exact second derivatives.

curve_fit.py is the shorter way to fit a curve; this one shows what derivatives of derivatives are good for.

y(t) = amplitude * exp(-decay * t) * cos(frequency * t) is fitted by least squares. A step solves H s = -g with the gradient
g and the Hessian H. Far from the minimum H need not be positive definite, so its eigenvalues are made positive, and a step
that does not help is halved (Nocedal & Wright, Numerical Optimization, 2nd ed., section 3.4).
"""

import numpy as np

import corgi

TRUE = np.array([2.0, 0.3, 4.0])


def curve(p, t):
    amplitude, decay, frequency = p
    return amplitude * corgi.exp(-decay * t) * corgi.cos(frequency * t)


def newton(cost, p, steps=30, tolerance=1e-10):
    """A minimum of a function of one array, near p."""
    value_and_gradient, hessian = corgi.value_and_grad(cost), corgi.hessian(cost)
    for step in range(1, steps + 1):
        value, gradient = value_and_gradient(p)
        size = float(np.linalg.norm(gradient))
        print(f"step {step:2}: cost {value.item():.3e}, norm of the gradient {size:.1e}")
        if size < tolerance:
            return p
        eigenvalues, vectors = np.linalg.eigh(hessian(p))
        steepness = np.maximum(np.abs(eigenvalues), 1e-6 * np.abs(eigenvalues).max())
        direction = corgi.array(-vectors @ ((vectors.T @ gradient.numpy()) / steepness))
        length = 1.0
        while cost(p + length * direction).item() > value.item() and length > 1e-8:
            length /= 2
        p = p + length * direction
    return p


def main():
    random = np.random.default_rng(0)
    t = corgi.linspace(0.0, 5.0, 200)
    data = curve(corgi.array(TRUE), t) + corgi.array(random.normal(0.0, 0.05, 200))

    def cost(p):
        return corgi.mean(corgi.square(curve(p, t) - data))

    p = newton(cost, corgi.array([1.0, 0.1, 3.7]))

    # The inverse of the Hessian at the minimum gives the standard errors of the parameters.
    residual = cost(p).item() * 200 / (200 - 3)
    errors = np.sqrt(np.diag(np.linalg.inv(corgi.hessian(cost)(p))) * 2 * residual / 200)
    for name, value, error, true in zip(("amplitude", "decay", "frequency"), p.tolist(), errors, TRUE, strict=True):
        print(f"{name:9} {value:7.4f} +- {error:.4f} (true: {true})")
    return p.tolist(), errors.tolist()


if __name__ == "__main__":
    main()
