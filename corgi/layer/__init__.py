"""Layers: whatever has a forward computation and parameters.

Above: `Model`, users.  Below: the ops of the package.  A layer of one's own is a subclass of `Layer`.
"""

from corgi.layer.base import Layer
from corgi.layer.conv import AvgPool, Conv, Flatten, MaxPool
from corgi.layer.dense import Dense

__all__ = ["AvgPool", "Conv", "Dense", "Flatten", "Layer", "MaxPool"]
