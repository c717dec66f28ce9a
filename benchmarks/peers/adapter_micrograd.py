"""micrograd, which differentiates numbers: the dynamic graph alone."""

from case import Case
from micrograd.engine import Value


def set_threads(n):
    """It has no threads."""


def build(w, dtype):
    if w.name != "dynamic_scalar":
        raise NotImplementedError

    def run():
        a, b, c = Value(5.0), Value(2.0), Value(0.0)
        for _ in range(10):
            c = c + a * b
            if c.data > 50:
                c = c * a
        c.backward()
        return c.data, a.grad, b.grad

    return Case({"run": run}, lambda: dict(zip(("c", "ga", "gb"), run(), strict=True)))
