"""Layers: whatever has a forward computation and parameters.

Above: `Model`, users.  Below: the ops of the package.  A layer of one's own is a subclass of `Layer`.
"""

from corgi.layer.activation import PReLU
from corgi.layer.base import Layer
from corgi.layer.container import Lambda, Reshape, Residual, Sequential
from corgi.layer.conv import Conv, Conv1d, ConvTranspose, ConvTranspose1d, Flatten
from corgi.layer.dense import Dense
from corgi.layer.pool import AvgPool, AvgPool1d, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxPool1d

__all__ = [
    "AvgPool",
    "AvgPool1d",
    "Conv",
    "Conv1d",
    "ConvTranspose",
    "ConvTranspose1d",
    "Dense",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "Lambda",
    "Layer",
    "MaxPool",
    "MaxPool1d",
    "PReLU",
    "Reshape",
    "Residual",
    "Sequential",
]
