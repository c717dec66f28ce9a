"""Right calls of every public function, and a program that mixes wrong arguments into them.

Above: test_errors.py, which runs `python fuzz.py SEED PART PARTS`.  Below: corgi.  Each call is written to standard output
before it is made, so that the last line names the one that crashed; what else is wrong goes to standard error.
"""

import contextlib
import gc
import io
import math
import os
import pickle
import random
import resource
import sys
import warnings

import numpy as np

import corgi
from corgi import arr

ALLOWED = (ValueError, TypeError, IndexError, OverflowError, MemoryError, ZeroDivisionError, BufferError)
CALLS_OF_EACH = 500

V = arr([1.0, 2.0, 3.0])
A = arr([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
I3 = arr([1, 2, 0])
B3 = arr([True, False, True])
IMAGES = corgi.full((2, 3, 5, 5), 0.5)
FILTERS = corgi.full((4, 3, 2, 2), 0.5)
SERIES = arr([[[1.0, 2.0], [0.5, -1.0], [0.0, 1.0]]])
P = arr([[0.25, 0.75], [0.5, 0.5]])


def total(x):
    return corgi.sum(corgi.square(x))


def line(x, a, b):
    return a * x + b


def no_gradient(arrays, tracked, delta):
    return [None] * len(arrays)


class Arrays(tuple):
    """A list of arrays as one argument, for CALLS."""

    __slots__ = ()


# Arguments of a right call. Those that are Arrays (or Arrays, in a tuple) may be anything array_like, see test_errors.py.
CALLS = {
    "all": (B3, 0),
    "allclose": (V, V, 1e-5, 1e-8),
    "any": (B3, 0),
    "arange": (0, 5, 2, "int64"),
    "argmax": (A, 1),
    "argmin": (A, 1),
    "argsort": (A, 1),
    "array": ([1.0, 2.0], "float32"),
    "array_equal": (V, V),
    "assign": (V.copy(), V),
    "astype": (V, "float32"),
    "avg_pool": (IMAGES, 2, 1),
    "batch_norm": (A, V, V, V, V, 1e-5),
    "blas_backend": (),
    "broadcast_to": (V, (2, 3)),
    "concatenate": (Arrays((V, V)), 0),
    "conv": (IMAGES, FILTERS, 1),
    "conv_transpose": (IMAGES, corgi.ones((3, 2, 2, 2)), 1),
    "cross_entropy": (P, arr([0, 1])),
    "cumsum": (A, 0),
    "curve_fit": (line, [1.0, 2.0, 4.0], V, arr([1.0, 1.0])),
    "default_dtype": ("float32",),
    "dense": (A, A, arr([1.0, 2.0]), "relu"),
    "diagonal": (A, 1, 0, 1),
    "dot": (V, V),
    "dropout": (V, 0.5),
    "einsum": ("i,i->", V, V),
    "expand_dims": (V, 0),
    "eye": (2, 3, "float32"),
    "flip": (A, 0),
    "full": ((2, 3), 1.5, "float32"),
    "full_like": (V, 1.5, "float32"),
    "get_default_dtype": (),
    "get_num_threads": (),
    "grad": (total, 0, False),
    "group_norm": (A, 3, V, V, 1e-5),
    "gru": (SERIES, corgi.ones((6, 2)), corgi.ones((6, 2)), corgi.ones(6), corgi.ones(6), A[:1, :2]),
    "hessian": (total, 0),
    "hvp": (total, V, V),
    "isclose": (V, V, 1e-5, 1e-8),
    "jacobian": (total, 0),
    "jvp": (total, V, V),
    "layer_norm": (A, V, V, 1e-5),
    "least_squares": (corgi.sin, V),
    "linspace": (0, 1, 5, "float32"),
    "log_softmax": (A, 1),
    "logsumexp": (A, 1),
    "lstm": (SERIES, corgi.ones((8, 2)), corgi.ones((8, 2)), corgi.ones(8), corgi.ones(8), Arrays((A[:1, :2], A[:1, :2]))),
    "matmul": (A, corgi.transpose(A), P),
    "max": (A, 1),
    "max_pool": (IMAGES, 2, 1),
    "mean": (A, 1),
    "min": (A, 1),
    "minimize": (total, V),
    "moveaxis": (A, 0, 1),
    "norm": (A, 1),
    "num_threads": (1,),
    "ones": ((2, 3), "float32"),
    "ones_like": (V, "float32"),
    "op": (total, no_gradient),
    "outer": (V, V),
    "pad": (V, (1, 2), 0.5),
    "permute": (A, (1, 0)),
    "pointwise_table": (),
    "pow": (V, 2.0),
    "prod": (A, 1),
    "ravel": (A,),
    "repeat": (V, 2, 0),
    "reshape": (A, (3, -1)),
    "rms_norm": (A, V, 1e-5),
    "rnn": (SERIES, corgi.ones((2, 2)), P, arr([1.0, 2.0]), arr([1.0, 2.0]), arr([[1.0, 2.0]]), "relu"),
    "roll": (A, 1, 1),
    "round": (V, 1),
    "scaled_dot_product_attention": (A, A, A, arr(0.5)),
    "seed": (1,),
    "set_default_dtype": ("float64",),
    "set_num_threads": (1,),
    "softmax": (A, 1),
    "softmax_cross_entropy": (A, arr([0, 2])),
    "sort": (A, 1),
    "take_along_axis": (A, arr([[0, 1]]), 1),
    "split": (V, 3, 0),
    "squeeze": (arr([[1.0]]), 0),
    "stack": (Arrays((V, V)), 0),
    "std": (A, 1),
    "sum": (A, 1),
    "swapaxes": (A, 0, 1),
    "take": (V, I3, 0),
    "tensordot": (A, A, 2),
    "tile": (V, (2, 1)),
    "trace": (A, 0, 0, 1),
    "transpose": (A, (1, 0)),
    "tril": (A, 1),
    "triu": (A, 1),
    "value_and_grad": (total, 0, False),
    "var": (A, 1),
    "vjp": (total, V),
    "where": (B3, V, V),
    "zeros": ((2, 3), "float32"),
    "zeros_like": (V, "float32"),
}
CALLS["arr"] = CALLS["array"]
for _row in corgi.pointwise_table():
    CALLS[_row["name"]] = (B3, B3) if _row["kind"] == "logic" else (V,) * _row["n_inputs"]
CALLS["abs"] = CALLS["absolute"]

# What CALLS leaves out: modules, classes, dtypes; functions that print, or that loop as long as they are told.
NOT_CALLED = {
    *(
        "Array",
        "Fit",
        "GraphGrowthWarning",
        "Model",
        "activation",
        "bool_",
        "callback",
        "check_gradient",
        "checkpoint",
        "config",
        "cost",
        "data",
        "debug",
        "float32",
        "float64",
        "initializer",
    ),
    *("int64", "layer", "memory", "metric", "no_tracking", "optimizer", "schedule", "show_config", "viz"),
}

KEEP_ARRAYS = {
    *("Adam().load_state_dict", "Adam().set", "Adam().step", "Average().load_state_dict", "GradientDescent().step"),
    *("LBFGS().step", "Model().backward", "Model().fit", "Model().forward", "_core.optimizer_step"),
}

OTHER_CALLS = {
    "activation.elu": (V, 0.5),
    "activation.get": ("relu",),
    "activation.glu": (corgi.ones((2, 4)), 1),
    "activation.hardtanh": (V, -1.0, 1.0),
    "activation.identity": (V,),
    "activation.leaky_relu": (V, 0.5),
    "cost.binary_cross_entropy": (P, P),
    "cost.cosine": (A, A),
    "cost.hinge": (V, arr([1.0, -1.0, 1.0])),
    "cost.huber": (V, V),
    "cost.kl": (A, A),
    "cost.l1": (V, V),
    "cost.mse": (V, V),
    "data.Loader": ((A, arr([0, 1])), 2, True),
    "data.collate": ([(1.0, V), (2.0, V)], "float32"),
    "data.split": (A, P, 0.5, 1),
    "callback.EarlyStopping": ("loss", 3, 0.1),
    "callback.Schedule": (abs,),
    "debug.detect_nan": (True,),
    "debug.gradients": ({"v": V},),
    "debug.unused_parameters": ({"v": V},),
    "viz.graph": (V.copy().tracked() * 2, {"v": V}),
    "cost.nll": (A, arr([0, 2])),
    "cost.sigmoid_binary_cross_entropy": (P, P),
    "initializer.constant": (1.0,),
    "initializer.fans": ((2, 3),),
    "initializer.generator": (1,),
    "initializer.glorot": ("normal",),
    "initializer.he": ("normal",),
    "initializer.identity": (1.0,),
    "initializer.lecun": ("normal",),
    "initializer.normal": (0.0, 1.0),
    "initializer.orthogonal": (1.0,),
    "initializer.truncated_normal": (0.0, 1.0, 2.0),
    "initializer.uniform": (0.0, 1.0),
    "initializer.variance_scaling": (1.0, "fan_in", "normal"),
    "layer.AvgPool": (2, 1),
    "layer.BatchNorm": (3,),
    "layer.Conv": (3, 4, 2, None, "relu"),
    "layer.Conv1d": (3, 4, 2, None, "relu"),
    "layer.ConvTranspose": (3, 4, 2, None, "relu"),
    "layer.ConvTranspose1d": (3, 4, 2, None, "relu"),
    "layer.AvgPool1d": (2, 1),
    "layer.MaxPool1d": (2, 1),
    "layer.GlobalAvgPool": (2,),
    "layer.GlobalMaxPool": (2,),
    "layer.Dense": (2, 3, None, "relu"),
    "layer.Dropout": (0.5,),
    "layer.Embedding": (4, 2),
    "layer.Flatten": (2,),
    "layer.GroupNorm": (2, 4),
    "layer.LayerNorm": ((2, 3),),
    "layer.MaxPool": (2, 1),
    "layer.RMSNorm": (3,),
    "layer.Lambda": (corgi.tanh,),
    "layer.MultiHeadAttention": (4, 2, None),
    "layer.PReLU": (2, 0.5),
    "layer.PositionalEmbedding": (3, 4, None),
    "layer.PositionalEncoding": (4,),
    "layer.Reshape": (3, -1),
    "layer.Residual": (corgi.tanh, corgi.sin),
    "layer.Sequential": ([corgi.tanh],),
    "layer.TransformerBlock": (4, 2, 3, None, "relu"),
    "layer.GRU": (2, 3, None),
    "layer.LSTM": (2, 3, None),
    "layer.LSTMState": (V, V),
    "layer.RNN": (2, 3, None, "relu"),
    "memory.trim": (2**20,),
    "metric.F1": ("macro", 0.5),
    "metric.accuracy": (A, arr([0, 2])),
    "metric.mae": (V, V),
    "metric.mse": (V, V),
    "metric.top_k": (2,),
    "optimizer.Adam": (0.1, 0.9, 0.999, 1e-8, 0.0),
    "optimizer.Adadelta": (1.0, 0.9, 1e-6, 0.0),
    "optimizer.Adagrad": (0.1, 1e-10, 0.0, 0.0),
    "optimizer.AdamW": (0.1, 0.9, 0.999, 1e-8, 0.0, True),
    "optimizer.Average": ([V.copy()], 0.9),
    "optimizer.GradientDescent": (0.1, 0.9, False, 0.0),
    "optimizer.Lion": (0.1, 0.9, 0.99, 0.0),
    "optimizer.RMSProp": (0.1, 0.9, 1e-8, 0.9, 0.0, True),
    "optimizer.clip_norm": ([V.copy()], 1.0),
    "optimizer.clip_value": ([V.copy()], 1.0),
    "optimizer.scale_gradients": ([V.copy()], 0.5),
    "schedule.Cosine": (4, 0.0, 2, 2.0),
    "schedule.Exponential": (0.5,),
    "schedule.Linear": (4, 0.0, 1.0),
    "schedule.OneCycle": (10, 0.3, 0.04, 1e-6, True, True),
    "schedule.Plateau": (0.1, 10, 1e-4, True, 0, 0.0, False),
    "schedule.StepDecay": ([1, 4], 0.1),
    "schedule.WarmUp": (4, corgi.schedule.Exponential(0.5), 0.0),
    "optimizer.LBFGS": (1.0, 20, 1e-7, 0.0, 10),
    "Model": ([corgi.layer.Dense(2, 2)], corgi.optimizer.Adam(), corgi.cost.mse),
    "_core._restore": (bytes(24), (3,), "float64", False),
    "_core.vjp_of": ([V], [V], [V]),
    "_core.graph_nodes": (V.copy().tracked() * 2,),
    "_core.node_of": (V,),
    "_core.reaches_beyond": ([V], [V]),
    "_core.UpdateRule": ("step", "adam", {"beta1": 0.9}),
    "_core.optimizer_step": ([V.copy()], {None: corgi._core.UpdateRule("step", "adam", {})}, {}, 1.0),
    "_core.average_step": ([V.copy()], [V.copy()], 0.5),
    "_core.exchange": (V.copy(), V.copy()),
    "_core.gradient_squares": ([V.copy()], "norm", 1.0),
    "_core.multiply_gradients": ([V.copy()], "scale", 2.0),
    "_core.dense_reference": (A, A, None, 0),
    "_core.batch_norm_statistics": (A, V, V, 1e-5),
    "_core.dropout": (A, 0.5, 1),
    "_core.embedding": (A, arr([0, 1]), 1, True, "x"),
    "_core.norm_reference": (A, V, V, None, None, (2, 3, 1, 1, True, 1e-5)),
    "_core.attention_reference": (A, A, A, None, (None, True, 1.0)),
    "_core.self_attention": (A, 1, arr(0.5)),
    "_core.self_attention_reference": (A, None, (None, True, 1.0), 1),
    "_core._cross_entropy_reference": (A, arr([0, 2]), None, 2.0, 0.0, 0),
    "_core._unroll_reference": (SERIES, corgi.ones((8, 2)), corgi.ones((8, 2)), None, None, None, None, 2, None, False),
    "_core._total_reference": (V, V, None, None, 40, 3.0),
    "_core.cost_operands": (A, A, "mse", 1),
    "_core.reduced_losses": (V, None, "mean", "mse"),
    "Array.__contains__": (V, 1.0),
    "Array.__float__": (arr(1.0),),
    "Array.__getitem__": (A, (0, slice(None))),
    "Array.__index__": (arr(1),),
    "Array.__matmul__": (A, V),
    "Array.__mul__": (V, 2.0),
    "Array.__pow__": (V, 2, None),
    "Array.__sub__": (V, 2.0),
    "Array.__array__": (V, "float32", None),
    "Array.astype": (V, "float32"),
    "Array.backward": (V.copy().tracked() * 1, V),
    "Array.clip": (V, 1.0, 2.0),
    "Array.copy": (V,),
    "Array.detach": (V,),
    "Array.item": (A, 0, 1),
    "Array.numpy": (V,),
    "Array.reshape": (A, 3, 2),
    "Array.start_tracking": (V.copy(),),
    "Array.sum": (A, 0),
    "Array.take_gradient": (V,),
    "Array.tolist": (V,),
    "Array.tracked": (V.copy(),),
    "Array.transpose": (A, 1, 0),
    "Array.untracked": (V.copy(),),
}

GRU = corgi.layer.GRU(2, 3)
MODEL = corgi.Model([corgi.layer.Dense(2, 2)], None, corgi.cost.mse)
OBJECTS = {  # not in the package under a name
    "Adam().load_state_dict": (corgi.optimizer.Adam().load_state_dict, (corgi.optimizer.Adam().state_dict([V]), [V])),
    "Adam().set": (corgi.optimizer.Adam().set, ([V.copy()],)),
    "Adam().state_dict": (corgi.optimizer.Adam().state_dict, ([V.copy()],)),
    "Adam().step": (corgi.optimizer.Adam().step, ([V.copy()],)),
    "Average().load_state_dict": (corgi.optimizer.Average([V]).load_state_dict, ({"steps": 1, "average/0": V},)),
    "Conv()": (corgi.layer.Conv(3, 2, 2), (IMAGES,)),
    "Conv1d()": (corgi.layer.Conv1d(3, 2, 2), (IMAGES[0],)),
    "ConvTranspose()": (corgi.layer.ConvTranspose(3, 2, 2), (IMAGES,)),
    "ConvTranspose1d()": (corgi.layer.ConvTranspose1d(3, 2, 2), (IMAGES[0],)),
    "AvgPool1d()": (corgi.layer.AvgPool1d(2), (IMAGES[0],)),
    "MaxPool1d()": (corgi.layer.MaxPool1d(2), (IMAGES[0],)),
    "GlobalAvgPool()": (corgi.layer.GlobalAvgPool(), (IMAGES,)),
    "GlobalMaxPool()": (corgi.layer.GlobalMaxPool(), (IMAGES,)),
    "BatchNorm()": (corgi.layer.BatchNorm(3), (IMAGES,)),
    "GroupNorm()": (corgi.layer.GroupNorm(3, 3), (IMAGES,)),
    "LayerNorm()": (corgi.layer.LayerNorm(3), (A,)),
    "RMSNorm()": (corgi.layer.RMSNorm(3), (A,)),
    "Dense()": (corgi.layer.Dense(3, 2), (A,)),
    "Dropout()": (corgi.layer.Dropout(0.5), (A,)),
    "Embedding()": (corgi.layer.Embedding(4, 2, sparse=True), (I3,)),
    "Flatten()": (corgi.layer.Flatten(), (IMAGES,)),
    "Lambda()": (corgi.layer.Lambda(corgi.tanh), (A,)),
    "MultiHeadAttention()": (corgi.layer.MultiHeadAttention(3, 1), (A, A, arr(0.5))),
    "PReLU()": (corgi.layer.PReLU(3), (A,)),
    "PositionalEmbedding()": (corgi.layer.PositionalEmbedding(2, 3), (A,)),
    "PositionalEncoding()": (corgi.layer.PositionalEncoding(3), (A,)),
    "Reshape()": (corgi.layer.Reshape(-1), (IMAGES,)),
    "Residual()": (corgi.layer.Residual(corgi.tanh, corgi.sin), (A,)),
    "Sequential()": (corgi.layer.Sequential([corgi.tanh]), (A,)),
    "Sequential()[]": (corgi.layer.Sequential([corgi.tanh]).__getitem__, (0,)),
    "TransformerBlock()": (corgi.layer.TransformerBlock(3, 1), (A, arr(0.5))),
    "GRU()": (corgi.layer.GRU(2, 3, bidirectional=True), (SERIES, corgi.zeros((2, 1, 3)))),
    "GRU().run": (lambda x, s, n: GRU.run(x, s, lengths=n), (SERIES, corgi.zeros((1, 1, 3)), arr([2]))),
    "LSTM().step": (corgi.layer.LSTM(2, 3).step, (A[:, :2], (corgi.zeros((1, 2, 3)), corgi.zeros((1, 2, 3))))),
    "LSTMState().detach": (corgi.layer.LSTMState(V, V).detach, ()),
    "GradientDescent().step": (corgi.optimizer.GradientDescent(0.1, 0.9).step, ([V.copy()],)),
    "Plateau().load_state_dict": (corgi.schedule.Plateau().load_state_dict, ({"value": 1.0, "bad": 0, "cooling": 0},)),
    "Plateau().report": (corgi.schedule.Plateau().report, (1.0,)),
    "LBFGS().step": (corgi.optimizer.LBFGS(max_iterations=5).step, ([V.copy()], lambda: 1.0)),
    "Loader()": (lambda x, n: list(corgi.data.Loader(x, n, True, prefetch=1)), ((A, P), 1)),
    "Loader().load_state_dict": (corgi.data.Loader(A).load_state_dict, (corgi.data.Loader(A).state_dict(),)),
    "MaxPool()": (corgi.layer.MaxPool(2), (IMAGES,)),
    "Model().backward": (lambda x: (MODEL.forward(P), MODEL.backward(x)), (P,)),
    "Model().evaluate": (MODEL.evaluate, (P, P)),
    "Model().fit": (corgi.Model([corgi.layer.Dense(2, 2)], corgi.optimizer.Adam(), corgi.cost.mse).fit, (P, P)),
    "Model().forward": (MODEL.forward, (P,)),
    "Model().predict": (MODEL.predict, (P,)),
    "Model().summary": (MODEL.summary, ((2, 2), "float64")),
    "F1().update": (corgi.metric.F1().update, (A, arr([0, 2]))),
    "top_k()": (corgi.metric.top_k(2), (A, arr([0, 2]))),
    "initializer.he()()": (corgi.initializer.he(), ((2, 3), "float32", 1)),
    "pullback": (corgi.vjp(total, V)[1], (1.0,)),
}


def wrong_values():
    """Arguments that are wrong nearly everywhere."""
    return [
        *(None, True, False, "", "x", "float32", b"ab", {}, {0: 1}, {1, 2}, object(), ..., slice(None), 1j, lambda *_: None),
        *(0, 1, 2, 5, -1, -2, -7, 2**31 - 1, 2**40, 2**62, 2**63 - 1, -(2**63), 2**64, 10**30, 1.5, -0.0),
        *(math.nan, math.inf, -math.inf, 1e308, np.float32(2), np.int8(-3), np.bool_(True), np.str_("x")),
        *((), [], [None], [[1], [1, 2]], [1.0, 2.0], (0, 0), (1, -1), (2**62, 4), (2**40, 2**40), [2**64], ["a"], (1,) * 9),
        *(np.ones(3, complex), np.array([None, 1]), np.zeros((1,) * 9), np.zeros((2, 0)), np.array("2020", "datetime64[D]")),
        *(np.ones((3, 3))[:, ::-2], np.float16(1), np.array(1), np.arange(6, dtype="uint8").reshape(2, 3), np.ma.ones(3)),
        *(
            V.copy(),
            A.copy(),
            I3.copy(),
            B3.copy(),
            IMAGES.copy(),
            arr(1.0),
            arr(2),
            arr(-1),
            arr(math.nan),
            corgi.zeros(0),
            corgi.zeros((2, 0, 3)),
            A.T,
        ),
        *(arr([1.0, math.inf, math.nan]), arr([2**63 - 1, -(2**63), 0]), arr([1.0, 2.0], "float32"), V[::-1], arr([9, -9])),
        *(corgi.ones((1,) * 8), corgi.ones((2,) * 8), corgi.broadcast_to(1.0, (2, 3, 2)), V.copy().tracked() * 2, total),
        *(
            corgi.broadcast_to(arr(1.0), (3, 2**40)),
            corgi.Array,
            corgi,
            range(3),
            iter([V.copy()]),  # which an optimizer's step may update
            memoryview(b"\1\2\3"),
            NotImplemented,
        ),
    ]


def find(name):
    """A function by its name, and arguments of a right call."""
    if name in OBJECTS:
        return OBJECTS[name]
    found = corgi
    for part in name.split("."):
        found = getattr(found, part)
    return found, (CALLS | OTHER_CALLS)[name]


def mixed(arguments, wrong, rng):
    """The arguments with some replaced, dropped or added."""
    arguments = [list(a) if isinstance(a, Arrays) else a for a in arguments]
    for i in range(len(arguments)):
        if rng.random() < 0.5:
            arguments[i] = rng.choice(wrong)
    choice = rng.random()
    if choice < 0.1:
        arguments = arguments[:-1]
    elif choice < 0.2:
        arguments.append(rng.choice(wrong))
    names = ("axis", "keepdims", "dtype", "padding", "dilation", "transpose_a", "ddof", "create_graph", "seed", "bias")
    names += ("weights", "reduction", "label_smoothing", "ignore_index", "labels", "margin", "pos_weight", "delta", "gain")
    return arguments, {rng.choice(names): rng.choice(wrong)} if rng.random() < 0.15 else {}


def shown(value):
    """A value as text, without the values of large arrays."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, (corgi.Array, np.ndarray)) and value.size > 12:
        return f"<{type(value).__name__} {value.dtype} {value.shape}>"
    return repr(value).replace("\n", "")


def check_result(value):
    """Read all the values of small results: their shape must not promise more than there is."""
    if isinstance(value, (list, tuple)):
        for item in value:
            check_result(item)
    elif type(value) is corgi.Array:
        assert min(value.shape, default=0) >= 0 and value.size == math.prod(value.shape), value.shape
        assert value.nbytes == value.size * value.itemsize < 2**63
        if value.size < 10**6:
            assert np.array(value).size == value.size
            pickle.dumps(value)


def limit_memory():
    """Huge results fail at once, whatever the system promises; the address sanitizer needs its own terabytes."""
    if "asan" not in os.environ.get("LD_PRELOAD", ""):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.getrlimit(resource.RLIMIT_AS)[1]))


def state():
    """What a call that fails must leave as it was; settings, which calls that succeed may change, are put back."""
    corgi.set_default_dtype("float64")
    corgi.set_num_threads(1)
    return corgi.ones(1).tracked().__mul__(2).is_tracked


def complain(text):
    print(text, file=sys.stderr, flush=True)
    complaints.append(text)


complaints = []


def fuzz(name, rng):
    function, right = find(name)
    wrong = wrong_values()
    for _ in range(CALLS_OF_EACH):
        arguments, keywords = mixed(right, wrong, rng)
        text = f"{name}({', '.join(map(shown, arguments))}, {', '.join(f'{k}={shown(v)}' for k, v in keywords.items())})"
        os.write(1, (text + "\n").encode())
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                check_result(function(*arguments, **keywords))
        except ALLOWED:
            pass
        except BaseException as error:
            complain(f"{text}: {type(error).__name__}: {error}")
        if not state():
            complain(f"{text}: operations are not recorded any more")
            return


def main(seed, part, parts):
    warnings.simplefilter("ignore")
    limit_memory()
    originals = {id(a): (a, pickle.dumps(a.detach())) for a in (V, A, I3, B3, IMAGES, FILTERS, SERIES, P)}
    gc.collect()
    for name in sorted(CALLS | OTHER_CALLS | OBJECTS)[part::parts]:
        before = corgi.memory.stats()["in_use"]
        fuzz(name, random.Random(f"{seed} {name}"))
        gc.collect()
        if corgi.memory.stats()["in_use"] > before + 2**12 and name not in KEEP_ARRAYS:
            complain(f"{name}: {corgi.memory.stats()['in_use'] - before} bytes more in use after the calls than before")
        for a, values in originals.values():
            if pickle.dumps(a.detach()) != values:
                complain(f"{name}: an operand has changed: {a!r}")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
