"""corgi: tensors with dynamic automatic differentiation, fast for small and medium models on a CPU.

Arrays and their operations come from the extension module `corgi._core`; layers, costs, optimizers and functional
differentiation are written in terms of them.
"""

__version__ = "0.10.0"

try:
    from corgi import _core  # noqa: F401
except ImportError as _error:
    import pathlib as _pathlib

    if (_pathlib.Path(__file__).parent.parent / "meson.build").exists():
        raise ImportError(
            "corgi: this is the source folder, whose extension is not built in place. Start Python elsewhere, use the "
            "commands `corgi` and `pytest` (not `python -m`), or install in editable form: "
            "pip install --no-build-isolation -e '.[dev]'"
        ) from _error
    raise

import typing as _t
from importlib import import_module as _import_module

import numpy as _np

from corgi import activation, cost, initializer, layer, optimizer, schedule
from corgi._core import (
    Array,
    GraphGrowthWarning,
    all,
    any,
    arange,
    argmax,
    argmin,
    array,
    assign,
    astype,
    avg_pool,
    batch_norm,
    broadcast_to,
    concatenate,
    conv,
    conv_transpose,
    cross_entropy,
    cumsum,
    dense,
    expand_dims,
    eye,
    full,
    full_like,
    get_default_dtype,
    group_norm,
    gru,
    layer_norm,
    linspace,
    log_softmax,
    logsumexp,
    lstm,
    matmul,
    max,
    max_pool,
    mean,
    min,
    moveaxis,
    no_tracking,
    ones,
    ones_like,
    op,
    pad,
    permute,
    pointwise_table,
    prod,
    reshape,
    rms_norm,
    rnn,
    scaled_dot_product_attention,
    set_default_dtype,
    softmax,
    softmax_cross_entropy,
    split,
    squeeze,
    stack,
    std,
    sum,
    swapaxes,
    take,
    take_along_axis,
    transpose,
    var,
    where,
    zeros,
    zeros_like,
)
from corgi.composite import (
    allclose,
    argsort,
    array_equal,
    diagonal,
    flip,
    isclose,
    norm,
    ravel,
    repeat,
    roll,
    round,
    sort,
    tile,
    trace,
    tril,
    triu,
)
from corgi.config import (
    blas_backend,
    default_dtype,
    get_num_threads,
    memory,
    num_threads,
    set_num_threads,
    show_config,
)
from corgi.contraction import (
    dot,
    einsum,
    outer,
    tensordot,
)
from corgi.curve_fitting import Fit, curve_fit, least_squares
from corgi.functional import (
    check_gradient,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)
from corgi.initializer import seed
from corgi.layer.dropout import dropout
from corgi.minimization import minimize
from corgi.model import Model

__all__ = [
    "Array",
    "Fit",
    "GraphGrowthWarning",
    "Model",
    "abs",
    "activation",
    "all",
    "allclose",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "arr",
    "array",
    "array_equal",
    "assign",
    "astype",
    "avg_pool",
    "batch_norm",
    "blas_backend",
    "bool_",
    "broadcast_to",
    "callback",
    "check_gradient",
    "checkpoint",
    "concatenate",
    "conv",
    "conv_transpose",
    "cost",
    "cross_entropy",
    "cumsum",
    "curve_fit",
    "data",
    "debug",
    "default_dtype",
    "dense",
    "diagonal",
    "dot",
    "dropout",
    "einsum",
    "expand_dims",
    "eye",
    "flip",
    "float32",
    "float64",
    "full",
    "full_like",
    "get_default_dtype",
    "get_num_threads",
    "grad",
    "group_norm",
    "gru",
    "hessian",
    "hvp",
    "initializer",
    "int64",
    "isclose",
    "jacobian",
    "jvp",
    "layer",
    "layer_norm",
    "least_squares",
    "linspace",
    "log_softmax",
    "logsumexp",
    "lstm",
    "matmul",
    "max",
    "max_pool",
    "mean",
    "memory",
    "metric",
    "min",
    "minimize",
    "moveaxis",
    "no_tracking",
    "norm",
    "num_threads",
    "ones",
    "ones_like",
    "op",
    "optimizer",
    "outer",
    "pad",
    "permute",
    "pointwise_table",
    "pow",
    "prod",
    "ravel",
    "repeat",
    "reshape",
    "rms_norm",
    "rnn",
    "roll",
    "round",
    "scaled_dot_product_attention",
    "schedule",
    "seed",
    "set_default_dtype",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_cross_entropy",
    "sort",
    "split",
    "squeeze",
    "stack",
    "std",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tensordot",
    "tile",
    "trace",
    "transpose",
    "tril",
    "triu",
    "value_and_grad",
    "var",
    "viz",
    "vjp",
    "where",
    "zeros",
    "zeros_like",
]

# ---- pointwise ops (written by src/make_stubs.py)
# fmt: off
# isort: off
from corgi._core import (
    absolute, absolute_loss, add, arccos, arcsin, arctan, arctan2, axpy, ceil, clip, cos, cosh, divide, elu, equal, erf,
    erfc, exp, expm1, floor, floor_divide, gelu, gelu_tanh, greater, greater_equal, hinge_loss, huber_loss, isfinite, isinf,
    isnan, less, less_equal, log, log10, log1p, log2, log_loss, logaddexp, logical_and, logical_or, logical_xor,
    logistic_loss, maximum, minimum, mish, multiply, negative, not_equal, power, prelu, reciprocal, relu, remainder, rint,
    selu, sigmoid, sign, silu, sin, sinh, softplus, sqrt, square, squared_difference, subtract, tan, tanh,
)

__all__ += [  # noqa: RUF022
    "absolute", "absolute_loss", "add", "arccos", "arcsin", "arctan", "arctan2", "axpy", "ceil", "clip", "cos", "cosh",
    "divide", "elu", "equal", "erf", "erfc", "exp", "expm1", "floor", "floor_divide", "gelu", "gelu_tanh", "greater",
    "greater_equal", "hinge_loss", "huber_loss", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p",
    "log2", "log_loss", "logaddexp", "logical_and", "logical_or", "logical_xor", "logistic_loss", "maximum", "minimum",
    "mish", "multiply", "negative", "not_equal", "power", "prelu", "reciprocal", "relu", "remainder", "rint", "selu",
    "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "sqrt", "square", "squared_difference", "subtract", "tan", "tanh",
]
# isort: on
# fmt: on
# ---- end of pointwise ops

if _t.TYPE_CHECKING:
    from corgi import callback, checkpoint, data, debug, metric, viz
else:

    def __getattr__(name):
        """Modules that many programs do without are imported at the first use."""
        if name in ("callback", "checkpoint", "data", "debug", "metric", "viz"):
            return _import_module(f"corgi.{name}")
        raise AttributeError(f"module 'corgi' has no attribute {name!r}")


arr = array
float64, float32, int64, bool_ = _np.dtype("float64"), _np.dtype("float32"), _np.dtype("int64"), _np.dtype("bool")
abs, pow = absolute, power
