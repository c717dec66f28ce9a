"""Layers: whatever has a forward computation and parameters.

Above: `Model`, users.  Below: the ops of the package.  A layer of one's own is a subclass of `Layer`.
"""

from corgi.layer.activation import PReLU
from corgi.layer.attention import MultiHeadAttention, PositionalEmbedding, PositionalEncoding, TransformerBlock
from corgi.layer.base import Layer
from corgi.layer.container import Lambda, Reshape, Residual, Sequential
from corgi.layer.conv import Conv, Conv1d, ConvTranspose, ConvTranspose1d, Flatten
from corgi.layer.dense import Dense
from corgi.layer.dropout import Dropout
from corgi.layer.embedding import Embedding
from corgi.layer.norm import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from corgi.layer.pool import AvgPool, AvgPool1d, GlobalAvgPool, GlobalMaxPool, MaxPool, MaxPool1d

__all__ = [
    "AvgPool",
    "AvgPool1d",
    "BatchNorm",
    "Conv",
    "Conv1d",
    "ConvTranspose",
    "ConvTranspose1d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "Lambda",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "MaxPool1d",
    "MultiHeadAttention",
    "PReLU",
    "PositionalEmbedding",
    "PositionalEncoding",
    "RMSNorm",
    "Reshape",
    "Residual",
    "Sequential",
    "TransformerBlock",
]
