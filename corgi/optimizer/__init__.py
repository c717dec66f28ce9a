"""Optimizers: they give parameters new values from their gradients.

Above: `Model`, users.  Below: one fused kernel for each parameter, in `corgi._core`.
"""

from corgi.optimizer.adam import Adam
from corgi.optimizer.base import Optimizer
from corgi.optimizer.gradient_descent import GradientDescent

__all__ = ["Adam", "GradientDescent", "Optimizer"]
