"""corgi: tensors with dynamic automatic differentiation, fast for small and medium models on a CPU.

Arrays and their operations come from the extension module `corgi._core`; layers, costs, optimizers and functional
differentiation are written in terms of them.
"""

__version__ = "0.10.0"

try:
    from corgi import _core
except ImportError as _error:
    import pathlib as _pathlib

    if (_pathlib.Path(__file__).parent.parent / "meson.build").exists():
        raise ImportError(
            "corgi: this is the source folder, whose extension is not built in place. Start Python elsewhere, use the "
            "commands `corgi` and `pytest` (not `python -m`), or install in editable form: "
            "pip install --no-build-isolation -e '.[dev]'"
        ) from _error
    raise

import numpy as _np

from corgi._core import (
    Array,
    all,
    any,
    arange,
    argmax,
    argmin,
    array,
    assign,
    astype,
    avg_pool,
    broadcast_to,
    concatenate,
    conv,
    cross_entropy,
    cumsum,
    dense,
    expand_dims,
    eye,
    full,
    full_like,
    get_default_dtype,
    linspace,
    log_softmax,
    logsumexp,
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
    transpose,
    var,
    where,
    zeros,
    zeros_like,
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

arr = array
float64, float32, int64, bool_ = _np.dtype("float64"), _np.dtype("float32"), _np.dtype("int64"), _np.dtype("bool")

# The pointwise ops are named by their table (src/kernels/pointwise.h) alone.
_POINTWISE = [row["name"] for row in pointwise_table()]
globals().update({name: getattr(_core, name) for name in _POINTWISE})
abs, pow = _core.absolute, _core.power
