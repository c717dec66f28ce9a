"""Layers: whatever has a forward computation and parameters.

Above: `Model`, users.  Below: the ops of the package.  A layer of one's own is a subclass of `Layer`.
"""

from corgi.layer.base import Layer
from corgi.layer.conv import Conv, Conv1d, ConvTranspose, ConvTranspose1d, Flatten
from corgi.layer.dense import Dense
from corgi.layer.dropout import Dropout
from corgi.layer.norm import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from corgi.layer.pool import AvgPool, AvgPool1d, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxPool1d
from corgi.layer.recurrent import GRU, LSTM, RNN, LSTMState

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool",
    "AvgPool1d",
    "BatchNorm",
    "Conv",
    "Conv1d",
    "ConvTranspose",
    "ConvTranspose1d",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "LSTMState",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "MaxPool1d",
    "RMSNorm",
]
