"""Optimizers: they give parameters new values from their gradients; and what is done to gradients and weights on the way.

Above: `Model`, users.  Below: one fused kernel for each parameter, in `corgi._core`; `corgi.schedule` for learning rates.
"""

from corgi.optimizer.adam import Adam, AdamW
from corgi.optimizer.adaptive import Adadelta, Adagrad, Lion, RMSProp
from corgi.optimizer.average import Average
from corgi.optimizer.base import Optimizer
from corgi.optimizer.clip import clip_norm, clip_value, scale_gradients
from corgi.optimizer.gradient_descent import GradientDescent
from corgi.optimizer.lbfgs import LBFGS, Minimum

__all__ = [
    "LBFGS",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Average",
    "GradientDescent",
    "Lion",
    "Minimum",
    "Optimizer",
    "RMSProp",
    "clip_norm",
    "clip_value",
    "scale_gradients",
]
