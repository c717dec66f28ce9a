"""Costs: functions of an output and a target that give one number, an Array without axes.

Above: `Model`, users.  Below: the ops of the package.  The target takes the output's dtype, and shapes never broadcast.
"""

from corgi._core import cross_entropy, mse, softmax_cross_entropy

__all__ = ["cross_entropy", "mse", "softmax_cross_entropy"]
