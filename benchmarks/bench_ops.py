"""asv: every public op for arrays of 1 to 10,000,000 elements in both float dtypes, forward alone, and with its gradients.

The pointwise ops come from corgi's own table, the others from OTHERS: whoever adds an op adds a line there
(tests/test_complete.py asks for it).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import corgi

SIZES = (1, 10, 1_000, 100_000, 10_000_000)
DTYPES = ("float32", "float64")


# ---- shapes of about n elements


def vector(n):
    return (n,)


def matrix(n):
    side = max(1, math.isqrt(n))
    return side, side


def rows(n):
    """Rows of up to 10 numbers, as a classifier's logits are."""
    return max(1, n // 10), min(n, 10)


def images(n):
    return max(1, n // 2048), 8, 16, 16


def channels(n):
    return (8,)


def filters(n):
    return 16, 8, 3, 3


def turned_filters(n):
    return 8, 16, 3, 3


def series(n):
    """A batch of up to 16 series of 4 numbers a step."""
    return min(16, max(1, n // 40)), max(1, n // 640), 4


def row(n):
    return (matrix(n)[0],)


def gates(count):
    """The weights of the inputs and of the state of a recurrent layer of 16."""
    return (lambda n: (16 * count, 4)), (lambda n: (16 * count, 16))


@dataclass(frozen=True)
class Op:
    call: Callable
    shapes: tuple[Callable, ...] = (vector,)
    dtype: str = ""  # where it is not the benchmark's
    differentiable: bool = True

    def inputs(self, n, dtype):
        """Random numbers between 0.1 and 0.9, which lie in the domain of every op."""
        generator = np.random.default_rng(0)
        arrays = [generator.uniform(0.1, 0.9, shape(n)) for shape in self.shapes]
        return [corgi.array(x > 0.5 if self.dtype == "bool" else x, dtype=self.dtype or dtype) for x in arrays]


def pointwise(row):
    kind = row["kind"]
    return Op(
        getattr(corgi, row["name"]),
        (vector,) * row["n_inputs"],
        dtype="bool" if kind == "logic" else "",
        differentiable=kind in ("unary", "binary", "ternary"),
    )


def classes(logits):
    """A class for each row."""
    return corgi.array(np.arange(logits.shape[0]) % logits.shape[1])


OTHERS = {
    "all": Op(corgi.all, differentiable=False),
    "allclose": Op(corgi.allclose, (vector,) * 2, differentiable=False),
    "any": Op(corgi.any, differentiable=False),
    "argmax": Op(corgi.argmax, differentiable=False),
    "argmin": Op(corgi.argmin, differentiable=False),
    "argsort": Op(corgi.argsort, differentiable=False),
    "array": Op(lambda x: corgi.array(x.numpy()), differentiable=False),
    "array_equal": Op(corgi.array_equal, (vector,) * 2, differentiable=False),
    "astype": Op(lambda x: corgi.astype(x, "float32" if x.dtype == np.float64 else "float64")),
    "avg_pool": Op(lambda x: corgi.avg_pool(x, 2), (images,)),
    "batch_norm": Op(corgi.batch_norm, (images, channels, channels)),
    "broadcast_to": Op(lambda x: corgi.broadcast_to(x, (2, *x.shape))),
    "concatenate": Op(lambda x, y: corgi.concatenate([x, y]), (vector,) * 2),
    "conv": Op(lambda x, f: corgi.conv(x, f, padding=1), (images, filters)),
    "conv_transpose": Op(lambda x, f: corgi.conv_transpose(x, f, padding=1), (images, turned_filters)),
    "cross_entropy": Op(lambda x: corgi.cross_entropy(x, classes(x)), (rows,)),
    "cumsum": Op(lambda x: corgi.cumsum(x, 0)),
    "dense": Op(lambda x, w, b: corgi.dense(x, w, b, "relu"), (matrix, matrix, row)),
    "diagonal": Op(corgi.diagonal, (matrix,)),
    "dot": Op(corgi.dot, (vector,) * 2),
    "dropout": Op(lambda x: corgi.dropout(x, 0.5, seed=1)),
    "einsum": Op(lambda x, y: corgi.einsum("ij,kj->ik", x, y), (matrix, matrix)),
    "expand_dims": Op(lambda x: corgi.expand_dims(x, 0)),
    "flip": Op(corgi.flip),
    "getitem": Op(lambda x: x[::2]),
    "group_norm": Op(lambda x, w, b: corgi.group_norm(x, 2, w, b), (images, channels, channels)),
    "gru": Op(lambda *a: corgi.gru(*a)[0], (series, *gates(3))),
    "isclose": Op(corgi.isclose, (vector,) * 2, differentiable=False),
    "layer_norm": Op(corgi.layer_norm, (matrix, row, row)),
    "log_softmax": Op(corgi.log_softmax, (rows,)),
    "logsumexp": Op(lambda x: corgi.logsumexp(x, -1), (rows,)),
    "lstm": Op(lambda *a: corgi.lstm(*a)[0], (series, *gates(4))),
    "matmul": Op(corgi.matmul, (matrix, matrix)),
    "max": Op(corgi.max),
    "max_pool": Op(lambda x: corgi.max_pool(x, 2), (images,)),
    "mean": Op(corgi.mean),
    "min": Op(corgi.min),
    "moveaxis": Op(lambda x: corgi.moveaxis(x, 0, 1), (matrix,)),
    "norm": Op(corgi.norm),
    "outer": Op(corgi.outer, (row, row)),
    "pad": Op(lambda x: corgi.pad(x, 1)),
    "permute": Op(lambda x: corgi.permute(x, (1, 0)), (matrix,)),
    "prod": Op(corgi.prod),
    "ravel": Op(corgi.ravel, (matrix,)),
    "repeat": Op(lambda x: corgi.repeat(x, 2)),
    "reshape": Op(lambda x: corgi.reshape(x, (1, -1))),
    "rms_norm": Op(corgi.rms_norm, (matrix, row)),
    "rnn": Op(lambda *a: corgi.rnn(*a)[0], (series, *gates(1))),
    "roll": Op(lambda x: corgi.roll(x, 1)),
    "round": Op(corgi.round),
    "scaled_dot_product_attention": Op(corgi.scaled_dot_product_attention, (matrix,) * 3),
    "softmax": Op(corgi.softmax, (rows,)),
    "softmax_cross_entropy": Op(lambda x: corgi.softmax_cross_entropy(x, classes(x)), (rows,)),
    "sort": Op(corgi.sort),
    "take_along_axis": Op(lambda x: corgi.take_along_axis(x, [0], None)),
    "split": Op(lambda x: corgi.split(x, [1])[1]),
    "squeeze": Op(lambda x: corgi.squeeze(x, ())),
    "stack": Op(lambda x, y: corgi.stack([x, y]), (vector,) * 2),
    "std": Op(corgi.std),
    "sum": Op(corgi.sum),
    "sum columns": Op(lambda x: corgi.sum(x, 0), (matrix,)),
    "sum rows": Op(lambda x: corgi.sum(x, 1), (matrix,)),
    "swapaxes": Op(lambda x: corgi.swapaxes(x, 0, 1), (matrix,)),
    "take": Op(lambda x: corgi.take(x, [0, -1])),
    "tensordot": Op(lambda x, y: corgi.tensordot(x, y, 1), (matrix, matrix)),
    "tile": Op(lambda x: corgi.tile(x, 2)),
    "trace": Op(corgi.trace, (matrix,)),
    "transpose": Op(corgi.transpose, (matrix,)),
    "tril": Op(corgi.tril, (matrix,)),
    "triu": Op(corgi.triu, (matrix,)),
    "var": Op(corgi.var),
    "where": Op(lambda x, y: corgi.where(True, x, y), (vector,) * 2),
}
COSTS = {
    "binary_cross_entropy": Op(corgi.cost.binary_cross_entropy, (vector,) * 2),
    "cosine": Op(corgi.cost.cosine, (rows,) * 2),
    "hinge": Op(lambda x: corgi.cost.hinge(x, corgi.ones_like(x))),
    "huber": Op(corgi.cost.huber, (vector,) * 2),
    "kl": Op(corgi.cost.kl, (rows,) * 2),
    "l1": Op(corgi.cost.l1, (vector,) * 2),
    "mse": Op(corgi.cost.mse, (vector,) * 2),
    "nll": Op(lambda x: corgi.cost.nll(x, classes(x)), (rows,)),
    "sigmoid_binary_cross_entropy": Op(corgi.cost.sigmoid_binary_cross_entropy, (vector,) * 2),
    "smoothed cross_entropy": Op(lambda x: corgi.cost.softmax_cross_entropy(x, classes(x), label_smoothing=0.1), (rows,)),
}
OPS = {row["name"]: pointwise(row) for row in corgi.pointwise_table()} | OTHERS | COSTS


class Forward:
    params = (list(OPS), SIZES, DTYPES)
    param_names = ("op", "elements", "dtype")

    def setup(self, name, n, dtype):
        self.op = OPS[name].call
        self.inputs = OPS[name].inputs(n, dtype)

    def time_op(self, name, n, dtype):
        self.op(*self.inputs)


class ForwardBackward:
    params = ([name for name, op in OPS.items() if op.differentiable], SIZES, DTYPES)
    param_names = ("op", "elements", "dtype")

    def setup(self, name, n, dtype):
        self.op = OPS[name].call
        self.inputs = [x.tracked() for x in OPS[name].inputs(n, dtype)]
        self.delta = corgi.ones_like(self.op(*self.inputs))

    def time_op(self, name, n, dtype):
        self.op(*self.inputs).backward(self.delta)
        for x in self.inputs:
            x.gradient = None
