"""The public ops in one list: samples, and oracles that share no code with corgi.

Above: test_ops.py, which makes its tests of this list, and test_complete.py, which fails when a public op is missing here.
Below: NumPy and SciPy in float64.  Pointwise ops come from corgi's own table; of the others each entry is one expression
in a namespace `xp`, read twice: with corgi for `xp` it is the code under test, with ORACLE it is what should come out.
"""

import math
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.special

import corgi

FLOATS = ("float64", "float32")
DTYPES = (*FLOATS, "int64", "bool")


# ---- oracles


def _windows(x, size, stride, padding, dilation=(1, 1), fill=0.0):
    """Windows over the last two axes: an array (images, channels, rows, columns, out_height, out_width)."""
    width = [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding]
    x = np.pad(x, width, constant_values=fill)
    places = []
    for n, k, step, apart in zip(x.shape[-2:], size, stride, dilation, strict=True):
        last = n - apart * (k - 1)  # a window starts before here
        places.append([slice(i * apart, i * apart + last, step) for i in range(k)])
    return np.stack([np.stack([x[..., rows, columns] for columns in places[1]], -3) for rows in places[0]], -4)


def _pair(value):
    return (value, value) if isinstance(value, int) else value


def activate(x, activation):
    return {
        None: lambda: x,
        "relu": lambda: np.maximum(x, 0),
        "sigmoid": lambda: scipy.special.expit(x),
        "tanh": lambda: np.tanh(x),
    }[activation]()


def _conv(images, filters, stride=1, *, padding=0, dilation=1, groups=1, bias=None, activation=None):
    filters = filters[None] if filters.ndim == 3 else filters
    stride, dilation, kernel = _pair(stride), _pair(dilation), filters.shape[2:]
    if padding == "same":  # TensorFlow's rule: ceil(size / stride) windows, an odd zero at the end
        size = images.shape[-2:]
        total = [
            max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, s, d, k in zip(size, stride, dilation, kernel, strict=True)
        ]
        images = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(t // 2, t - t // 2) for t in total])
    padding = (0, 0) if isinstance(padding, str) else _pair(padding)
    parts = []
    for x, f in zip(np.split(images, groups, -3), np.split(filters, groups), strict=True):
        parts.append(np.einsum("...cijhw,fcij->...fhw", _windows(x, kernel, stride, padding, dilation), f))
    out = np.concatenate(parts, -3)
    return activate(out if bias is None else out + bias[:, None, None], activation)


def _conv_transpose(images, filters, stride=1, *, padding=0, output_padding=0, dilation=1, groups=1, bias=None):
    """Every element of an image adds a multiple of the filter to the result, of which the padding is then cut off."""
    stride, padding, more, dilation = _pair(stride), _pair(padding), _pair(output_padding), _pair(dilation)
    rows, columns = ((n - 1) * s + d * (k - 1) + 1 + e for n, s, d, k, e in
                     zip(images.shape[-2:], stride, dilation, filters.shape[2:], more, strict=True))  # fmt: skip
    parts = []
    for x, f in zip(np.split(images, groups, -3), np.split(filters, groups), strict=True):
        whole = np.zeros((*x.shape[:-3], f.shape[1], rows, columns), np.result_type(x, f))
        for i, j in np.ndindex(*f.shape[2:]):
            last = [
                start + s * n for start, s, n in zip((i * dilation[0], j * dilation[1]), stride, x.shape[-2:], strict=True)
            ]
            places = whole[..., i * dilation[0] : last[0] : stride[0], j * dilation[1] : last[1] : stride[1]]
            places += np.einsum("...chw,cf->...fhw", x, f[:, :, i, j])
        parts.append(whole[..., padding[0] : rows - padding[0], padding[1] : columns - padding[1]])
    out = np.concatenate(parts, -3)
    return out if bias is None else out + bias[:, None, None]


def _avg_pool(images, size, stride=None, *, padding=0):
    return _windows(images, _pair(size), _pair(stride or size), _pair(padding)).mean((-4, -3))


def _max_pool(images, size, stride=None, *, padding=0):
    return _windows(images, _pair(size), _pair(stride or size), _pair(padding), fill=-np.inf).max((-4, -3))


def _matmul(a, b, c=0, *, transpose_a=False, transpose_b=False):
    if transpose_a:
        a = np.atleast_2d(a).swapaxes(-1, -2)
    if transpose_b and b.ndim > 1:
        b = b.swapaxes(-1, -2)
    return np.matmul(a, b) + c


def _dense(x, weight, bias=0, activation=None):
    functions = {None: lambda z: z, "relu": lambda z: np.maximum(z, 0), "sigmoid": scipy.special.expit, "tanh": np.tanh}
    return functions[activation](x @ weight.T + bias)


def _normalized(x, axes, weight, bias, eps, mean=None, var=None):
    mean = x.mean(axes, keepdims=True) if mean is None else mean
    var = np.square(x - mean).mean(axes, keepdims=True) if var is None else var
    return (x - mean) / np.sqrt(var + eps) * weight + bias


def _layer_norm(x, weight=1.0, bias=0.0, eps=1e-5, *, axes=None):
    axes = (np.ndim(weight) or 1) if axes is None else axes
    return _normalized(x, tuple(range(-axes, 0)), weight, bias, eps)


def _rms_norm(x, weight=1.0, eps=1e-5, *, axes=None):
    axes = (np.ndim(weight) or 1) if axes is None else axes
    return _normalized(x, tuple(range(-axes, 0)), weight, 0.0, eps, 0.0)


def _by_channel(x, values):
    return np.reshape(values, (-1,) + (1,) * (x.ndim - 2))


def _group_norm(x, groups, weight=1.0, bias=0.0, eps=1e-5):
    split = _normalized(x.reshape(x.shape[0], groups, -1), -1, 1.0, 0.0, eps)
    return split.reshape(x.shape) * _by_channel(x, weight) + _by_channel(x, bias)


def _batch_norm(x, weight=1.0, bias=0.0, mean=None, var=None, eps=1e-5):
    axes = (0, *range(2, x.ndim))
    mean, var = (None if values is None else _by_channel(x, values) for values in (mean, var))
    return _normalized(x, axes, _by_channel(x, weight), _by_channel(x, bias), eps, mean, var)


def _dropout(x, p=0.5, *, seed):
    """By its definition: SplitMix64's mixer for blocks, another one for the places in them."""

    def mix(z):
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ z >> shift) * factor % 2**64
        return z ^ z >> 31

    block, words = 2**15, []
    for i in range(-(-x.size // block)):
        pair = mix((mix(seed) + 0x9E3779B97F4A7C15 * i) % 2**64)
        h = np.arange(block, dtype=np.uint32) + np.uint32(pair % 2**32)
        h = (h ^ h >> 16) * np.uint32(0x21F0AAAD)
        h = ((h ^ h >> 15) + np.uint32(pair >> 32)) * np.uint32(0xD35A2D97)
        words.append(h ^ h >> 15)
    kept = np.concatenate([*words, np.zeros(0)])[: x.size].reshape(x.shape) >= p * 2**32
    return np.where(kept, x / (1 - p), 0.0)


def _attention(query, key, value, mask=None, *, causal=False, scale=None):
    """By its definition; rows of -inf have weights of zero."""
    scores = np.einsum("...ic,...jc->...ij", query, key) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if np.asarray(mask).dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    largest = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(largest == -np.inf, 0, largest))
    total = e.sum(-1, keepdims=True)
    return np.einsum("...ij,...jc->...ic", e / np.where(total == 0, 1, total), value)


def recurrent(kind, x, weight_ih, weight_hh, bias_ih=0, bias_hh=0, h=None, c=None, *, lengths=None, reverse=False):
    """Recurrent layers row by row and step by step, from the formulas of their docstrings: output, h, and c of an LSTM."""
    batch, steps, hidden = x.shape[0], x.shape[1], weight_hh.shape[1]
    output = np.zeros((batch, steps, hidden))
    h = np.zeros((batch, hidden)) if h is None else h.copy()
    c = np.zeros((batch, hidden)) if c is None else c.copy()
    for row in range(batch):
        times = range(steps if lengths is None else lengths[row])
        for t in reversed(times) if reverse else times:
            a, b = weight_ih @ x[row, t] + bias_ih, weight_hh @ h[row] + bias_hh
            if kind == "lstm":
                i, f, g, o = np.split(a + b, 4)
                c[row] = c[row] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
                h[row] = np.tanh(c[row]) / (1 + np.exp(-o))
            elif kind == "gru":
                (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(a, 3), np.split(b, 3)
                r, z = 1 / (1 + np.exp(-a_r - b_r)), 1 / (1 + np.exp(-a_z - b_z))
                h[row] = (1 - z) * np.tanh(a_n + r * b_n) + z * h[row]
            else:
                h[row] = np.tanh(a + b) if kind == "tanh" else np.maximum(a + b, 0)
            output[row, t] = h[row]
    return [output, h, c] if kind == "lstm" else [output, h]


def _cross_entropy(probabilities, target):
    """Mean of -sum(target * log(probabilities)), where 0 * log(0) counts as 0."""
    target = np.asarray(target)
    if target.ndim < probabilities.ndim:
        target = np.eye(probabilities.shape[-1])[target]
    logs = np.log(np.where(target == 0, 1.0, probabilities))
    return -(target * logs).sum(-1).mean()


def _softmax_cross_entropy(logits, target):
    target = np.asarray(target)
    if target.ndim < logits.ndim:
        target = np.eye(logits.shape[-1])[target]
    return -(target * scipy.special.log_softmax(logits, -1)).sum(-1).mean()


def _times(x, y):
    """x y, where 0 comes before infinity."""
    return np.where(y == 0, np.copysign(0.0, x), x * y)


def _huber(x, t, delta):
    r = np.abs(1.0 * x - t)
    return np.where(r <= delta, (x - t) * 0.5 * (x - t), delta * (r - 0.5 * delta))


def _log_loss(p, t):
    return (0.0 - t) * np.maximum(np.log(p), -100.0) - (1.0 - t) * np.maximum(np.log1p(-p), -100.0)


def _logistic_loss(z, t, weight):
    """-log of sigmoid(z) for t = 1 and of sigmoid(-z) for t = 0."""
    one = np.where(t == 0, 0.0, weight * t * np.logaddexp(0.0, -1.0 * z))
    return one + np.where(t == 1, 0.0, (1.0 - t) * np.logaddexp(0.0, z))


def _lstm(x, weight_ih, weight_hh, bias_ih=0, bias_hh=0, state=(None, None), **options):
    output, *state = recurrent("lstm", x, weight_ih, weight_hh, bias_ih, bias_hh, *state, **options)
    return output, state


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class Oracle:
    """NumPy with corgi's other names added."""

    axpy = staticmethod(lambda a, x, y: a * x + y)
    relu = staticmethod(lambda x: np.where(x <= 0, 0.0, x))
    sigmoid = staticmethod(scipy.special.expit)
    erf = staticmethod(scipy.special.erf)
    squared_difference = staticmethod(lambda x, y: (x - y) ** 2)
    erfc = staticmethod(scipy.special.erfc)
    softplus = staticmethod(lambda x: np.logaddexp(x, 0.0))
    silu = staticmethod(lambda x: _times(x, scipy.special.expit(x)))
    gelu = staticmethod(lambda x: _times(x, scipy.special.ndtr(x)))
    gelu_tanh = staticmethod(lambda x: _times(x, scipy.special.expit(math.sqrt(8 / math.pi) * (x + 0.044715 * x**3))))
    mish = staticmethod(lambda x: _times(x, np.tanh(np.logaddexp(x, 0.0))))
    selu = staticmethod(lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x)))
    elu = staticmethod(lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)))
    prelu = staticmethod(lambda x, slope: np.where(x > 0, x, 1.0 * slope * x))
    absolute_loss = staticmethod(lambda x, t: np.abs(1.0 * x - t))
    hinge_loss = staticmethod(lambda x, t: np.where(x * t >= 1.0, 0.0, 1.0 - x * t))
    huber_loss, log_loss, logistic_loss = staticmethod(_huber), staticmethod(_log_loss), staticmethod(_logistic_loss)
    norm = staticmethod(lambda x, axis=None, keepdims=False: np.sqrt(np.square(x).sum(axis, keepdims=keepdims)))
    reciprocal = staticmethod(lambda x: np.divide(1.0, x))
    permute = staticmethod(np.transpose)
    abs, pow = np.absolute, np.power
    pad = staticmethod(lambda x, width, value=0: np.pad(x, width, constant_values=value))
    take = staticmethod(lambda x, indices, axis=0: np.take(x, indices, axis))
    astype = staticmethod(lambda x, dtype: x.astype(dtype))
    logsumexp = staticmethod(lambda x, axis=None, keepdims=False: np.logaddexp.reduce(x, axis, keepdims=keepdims))
    softmax = staticmethod(lambda x, axis=-1: scipy.special.softmax(x, axis) if x.size else x)
    log_softmax = staticmethod(lambda x, axis=-1: scipy.special.log_softmax(x, axis) if x.size else x)
    matmul, dense = staticmethod(_matmul), staticmethod(_dense)
    scaled_dot_product_attention = staticmethod(_attention)
    conv, conv_transpose = staticmethod(_conv), staticmethod(_conv_transpose)
    layer_norm, rms_norm = staticmethod(_layer_norm), staticmethod(_rms_norm)
    group_norm, batch_norm = staticmethod(_group_norm), staticmethod(_batch_norm)
    dropout = staticmethod(_dropout)
    rnn = staticmethod(lambda *operands, activation="tanh", **options: recurrent(activation, *operands, **options))
    lstm = staticmethod(_lstm)
    gru = staticmethod(lambda *operands, **options: recurrent("gru", *operands, **options))
    avg_pool, max_pool = staticmethod(_avg_pool), staticmethod(_max_pool)
    cross_entropy, softmax_cross_entropy = staticmethod(_cross_entropy), staticmethod(_softmax_cross_entropy)

    def __getattr__(self, name):
        return getattr(np, name)


ORACLE = Oracle()


# ---- the list


@dataclass(frozen=True)
class Op:
    """One op, or one variant of it: an expression, the shapes of its inputs, and where its samples lie."""

    name: str
    expression: Callable
    shapes: tuple
    domains: tuple = ((-3.0, 3.0),)  # an interval for each input, the last one for the rest
    dtypes: tuple = FLOATS
    variant: str = ""
    kind: str = "float"  # of the result: float (differentiable), compare, logic, predicate (bool), index (int64)
    large: tuple = ()  # shapes that several threads work on
    row: dict | None = None  # of the pointwise table

    def __str__(self):
        return f"{self.name}[{self.variant}]" if self.variant else self.name

    def __call__(self, *inputs):
        return self.expression(corgi, *inputs)

    def oracle(self, *inputs):
        """The right values for NumPy inputs; floats are computed in float64, bools counted as int64."""
        wide = {"f": np.float64, "i": np.int64, "b": np.bool_ if self.kind == "logic" else np.int64}
        with np.errstate(all="ignore"):
            return np.asarray(self.expression(ORACLE, *[x.astype(wide[x.dtype.kind]) for x in inputs]))

    def samples(self, dtype="float64", shapes=None, seed=0):
        """NumPy inputs; floats are distinct, so that no two elements tie."""
        rng = np.random.default_rng(seed)
        shapes = self.shapes if shapes is None else shapes
        return [sample(rng, shape, self.domains[min(i, len(self.domains) - 1)], dtype) for i, shape in enumerate(shapes)]


def sample(rng, shape, domain, dtype):
    low, high = domain
    size = math.prod(shape)
    if dtype == "int64":
        return rng.integers(math.ceil(low), max(math.ceil(low), math.floor(high)), shape, endpoint=True)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    strata = (rng.permutation(size) + rng.uniform(0.3, 0.7, size)) / max(size, 1)
    return (low + (high - low) * strata).reshape(shape).astype(dtype)


DOMAINS = {  # of the table, and where samples for differences lie
    "(-inf, inf)": (-3.0, 3.0),
    "[0, inf)": (0.3, 4.0),
    "(0, inf)": (0.3, 4.0),
    "(-1, inf)": (-0.7, 4.0),
    "(-1, 1)": (-0.8, 0.8),
    "(0, 1)": (0.1, 0.9),
}
POINTWISE_DOMAINS = {  # where the domain of the table is not enough: divisors, exponents, bounds
    "reciprocal": ((0.3, 3.0),),
    "tan": ((-1.2, 1.2),),
    "divide": ((-3.0, 3.0), (0.4, 3.0)),
    "floor_divide": ((-7.0, 7.0), (0.7, 3.0)),
    "remainder": ((-7.0, 7.0), (0.7, 3.0)),
    "power": ((0.3, 3.0), (-0.5, 2.5)),
    "clip": ((-3.0, 3.0), (-2.0, -0.5), (0.5, 2.0)),
    "hinge_loss": ((-3.0, 3.0), (0.4, 1.5)),
    "huber_loss": ((-3.0, 3.0), (-1.0, 1.0), (0.5, 1.5)),
    "logistic_loss": ((-3.0, 3.0), (0.1, 0.9), (0.5, 2.0)),
}


def _pointwise(row):
    name, kind, n = row["name"], row["kind"], row["n_inputs"]
    return Op(
        name,
        lambda xp, *inputs: getattr(xp, name)(*inputs),
        shapes=((5, 7),) * n,
        domains=POINTWISE_DOMAINS.get(name, (DOMAINS.get(row["domain"], (-3.0, 3.0)),)),
        dtypes=("bool",) if kind == "logic" else DTYPES,
        kind=kind if kind in ("compare", "logic", "predicate") else "float",
        large=((2**17 + 37,),) * n,
        row=row,
    )


POINTWISE = [_pointwise(row) for row in corgi.pointwise_table()]

X, IMAGES = ((2, 3, 4),), ((2, 2, 5, 6), (3, 2, 3, 2))
MATRIX = ((5, 7),)
LOGITS = ((5, 4),)
CLASSES = np.array([0, 3, 1, 1, 2])
LARGE = ((1031, 259),)
LONG = ((2**18 + 5,),)


def _entries():
    """(name, variant, expression, shapes, further fields of Op)"""
    every, no_bool, truth = {"dtypes": DTYPES}, {"dtypes": DTYPES[:3]}, {"dtypes": DTYPES, "kind": "compare"}
    index = {"dtypes": DTYPES[:3], "kind": "index"}
    long, tall = {"large": LONG}, {"large": LARGE}

    yield "reshape", "", lambda xp, x: xp.reshape(x, (6, -1)), X, every
    yield "reshape", "flat", lambda xp, x: xp.reshape(x, -1), X, every
    yield "transpose", "", lambda xp, x: xp.transpose(x), X, every
    yield "transpose", "axes", lambda xp, x: xp.transpose(x, (1, -1, 0)), X, every
    yield "permute", "", lambda xp, x: xp.permute(x, (2, 0, 1)), X, every
    yield "swapaxes", "", lambda xp, x: xp.swapaxes(x, 0, -1), X, every
    yield "moveaxis", "", lambda xp, x: xp.moveaxis(x, 0, -1), X, every
    yield "moveaxis", "several", lambda xp, x: xp.moveaxis(x, (0, 1), (-1, 0)), X, every
    yield "broadcast_to", "", lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), ((3, 1),), every
    yield "squeeze", "", lambda xp, x: xp.squeeze(x), ((1, 3, 1),), every
    yield "squeeze", "axis", lambda xp, x: xp.squeeze(x, -1), ((1, 3, 1),), every
    yield "expand_dims", "", lambda xp, x: xp.expand_dims(x, (0, -1)), ((3, 4),), every
    yield "concatenate", "", lambda xp, x, y, z: xp.concatenate([x, y, z], axis=1), ((2, 3), (2, 0), (2, 2)), every
    yield "concatenate", "itself", lambda xp, x: xp.concatenate([x, x], axis=-1), X, every
    yield "stack", "", lambda xp, x, y: xp.stack([x, y], axis=1), ((2, 3), (2, 3)), every
    yield "split", "", lambda xp, x: xp.concatenate(xp.split(x, 3, axis=1)[::-1], axis=1), ((2, 6),), every
    yield "split", "cuts", lambda xp, x: xp.split(x, [1, 4])[1], ((6, 2),), every
    yield "pad", "", lambda xp, x: xp.pad(x, ((1, 0), (0, 2)), value=2), ((2, 3),), no_bool
    yield "pad", "all", lambda xp, x: xp.pad(x, 2), ((2, 3),), every
    yield "take", "", lambda xp, x: xp.take(x, np.array([[2, 0], [-1, 2]]), axis=1), ((2, 3, 2),), every
    yield "where", "", lambda xp, x, y: xp.where(x > 0, x, y), ((3, 4), (3, 4)), every
    yield "where", "broadcast", lambda xp, x, y: xp.where(np.arange(4) % 2 == 0, x, y), ((3, 1), (2, 1, 4)), every
    yield "astype", "", lambda xp, x: xp.astype(x, "float64"), X, every
    yield "astype", "bool", lambda xp, x: xp.astype(x, "bool"), X, truth
    yield "astype", "int64", lambda xp, x: xp.astype(x, "int64"), X, {"dtypes": DTYPES, "kind": "index"}
    yield "abs", "", lambda xp, x: xp.abs(x), MATRIX, no_bool
    yield "pow", "", lambda xp, x: xp.pow(x, 3), MATRIX, no_bool
    for exponent in (2, -1, 0.5, -1.5, 0, 1, 3, 4):
        yield "power", f"{exponent}", lambda xp, x, k=exponent: xp.power(x, k), MATRIX, {"domains": ((0.4, 2.0),)}

    yield "sum", "", lambda xp, x: xp.sum(x), X, every | long | {"domains": ((-1.0, 3.0),)}
    yield "sum", "first", lambda xp, x: xp.sum(x, axis=0), X, every | tall
    yield "sum", "last", lambda xp, x: xp.sum(x, axis=-1, keepdims=True), X, every | tall
    yield "sum", "outer", lambda xp, x: xp.sum(x, axis=(0, 2)), X, every
    yield "sum", "none", lambda xp, x: xp.sum(x, axis=()), X, every
    yield "mean", "", lambda xp, x: xp.mean(x), X, every
    yield "mean", "axes", lambda xp, x: xp.mean(x, axis=(1, 2), keepdims=True), X, every
    yield "var", "", lambda xp, x: xp.var(x), X, every
    yield "var", "ddof", lambda xp, x: xp.var(x, axis=1, ddof=1, keepdims=True), X, every
    yield "std", "", lambda xp, x: xp.std(x), X, every
    yield "std", "axis", lambda xp, x: xp.std(x, axis=-1, ddof=1), X, {}
    yield "prod", "", lambda xp, x: xp.prod(x), ((2, 3),), every
    yield "prod", "axis", lambda xp, x: xp.prod(x, axis=1, keepdims=True), X, every | {"large": ((83, 5, 331),)}
    yield "prod", "outer", lambda xp, x: xp.prod(x, axis=(0, 2)), X, every
    yield "prod", "zero", lambda xp, x: xp.prod(xp.where(np.arange(4) == 1, 0, x), axis=-1), ((3, 4),), every
    yield "prod", "zeros", lambda xp, x: xp.prod(xp.where(np.arange(4) % 3 == 0, 0, x), axis=-1), ((3, 4),), every
    for name in ("max", "min"):
        yield name, "", lambda xp, x, f=name: getattr(xp, f)(x), X, every | long
        yield name, "axis", lambda xp, x, f=name: getattr(xp, f)(x, axis=1, keepdims=True), X, every | tall
        yield name, "outer", lambda xp, x, f=name: getattr(xp, f)(x, axis=(0, -1)), X, every
    for name in ("argmax", "argmin"):
        yield name, "", lambda xp, x, f=name: getattr(xp, f)(x), X, index
        yield name, "axis", lambda xp, x, f=name: getattr(xp, f)(x, axis=1), X, index
        yield name, "last", lambda xp, x, f=name: getattr(xp, f)(x, axis=-1, keepdims=True), X, index | tall
    for name in ("any", "all"):
        yield name, "", lambda xp, x, f=name: getattr(xp, f)(x), X, truth
        yield name, "axis", lambda xp, x, f=name: getattr(xp, f)(x, axis=(0, 2), keepdims=True), X, truth
    yield "cumsum", "", lambda xp, x: xp.cumsum(x), X, every
    yield "cumsum", "first", lambda xp, x: xp.cumsum(x, axis=0), X, every | tall
    yield "cumsum", "middle", lambda xp, x: xp.cumsum(x, axis=-2), X, every
    yield "logsumexp", "", lambda xp, x: xp.logsumexp(x), X, {}
    yield "logsumexp", "axes", lambda xp, x: xp.logsumexp(x, axis=(0, 2), keepdims=True), X, {"large": ((64, 33, 129),)}
    for name in ("softmax", "log_softmax"):
        yield name, "", lambda xp, x, f=name: getattr(xp, f)(x), X, tall
        yield name, "axis", lambda xp, x, f=name: getattr(xp, f)(x, axis=0), X, {}

    large = {"large": ((303, 303), (303, 303))}
    yield "matmul", "", lambda xp, a, b: xp.matmul(a, b), ((3, 4), (4, 2)), no_bool | large
    for a, b in [((4,), (4, 2)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4,)), ((4,), (2, 4, 3)), ((2, 3, 4), (4, 2))]:
        yield "matmul", f"{a} @ {b}", lambda xp, a, b: xp.matmul(a, b), (a, b), {}
    yield "matmul", "batch", lambda xp, a, b: xp.matmul(a, b), ((2, 3, 4), (2, 4, 2)), {"large": ((9, 99, 98), (9, 98, 97))}
    yield "matmul", "batches", lambda xp, a, b: xp.matmul(a, b), ((2, 1, 3, 4), (3, 4, 2)), {}
    yield "matmul", "c", lambda xp, a, b, c: xp.matmul(a, b, c), ((3, 4), (4, 2), (2,)), {}
    yield "matmul", "ta", lambda xp, a, b: xp.matmul(a, b, transpose_a=True), ((4, 3), (4, 2)), large
    yield "matmul", "tb", lambda xp, a, b: xp.matmul(a, b, transpose_b=True), ((2, 3, 4), (2, 2, 4)), {}
    yield "matmul", "both", lambda xp, a, b: xp.matmul(a, b, transpose_a=True, transpose_b=True), ((4, 3), (2, 4)), {}
    yield "matmul", "column", lambda xp, a, b: xp.matmul(a, b, transpose_a=True), ((4,), (1, 2)), {}

    large = {"large": ((8, 8, 32, 33), (16, 8, 3, 3))}
    yield "conv", "", lambda xp, x, f: xp.conv(x, f), IMAGES, large
    yield "conv", "same", lambda xp, x, f: xp.conv(x, f, padding=1), ((1, 2, 5, 5), (3, 2, 3, 3)), {}
    yield "conv", "stride", lambda xp, x, f: xp.conv(x, f, (2, 3), padding=(1, 2)), IMAGES, large
    yield "conv", "dilation", lambda xp, x, f: xp.conv(x, f, 2, padding=1, dilation=(1, 2)), IMAGES, {}
    yield "conv", "one", lambda xp, x, f: xp.conv(x, f), ((3, 5, 4), (3, 2, 2)), {}
    yield "conv", "wide", lambda xp, x, f: xp.conv(x, f, padding=2), ((1, 2, 4, 19), (5, 2, 3, 5)), {}
    yield "conv", "1x1", lambda xp, x, f: xp.conv(x, f), ((2, 3, 3, 4), (2, 3, 1, 1)), {}
    many = ((2, 6, 5, 7), (9, 2, 3, 3))
    yield (
        "conv",
        "groups",
        lambda xp, x, f: xp.conv(x, f, (1, 2), padding=1, groups=3),
        many,
        {"large": ((8, 48, 16, 17), (51, 16, 3, 3))},
    )
    yield "conv", "depthwise", lambda xp, x, f: xp.conv(x, f, padding=1, groups=4), ((2, 4, 5, 18), (4, 1, 3, 3)), {}
    yield "conv", "padding same", lambda xp, x, f: xp.conv(x, f, (2, 1), padding="same"), ((2, 2, 5, 6), (3, 2, 2, 4)), {}
    yield "conv", "valid", lambda xp, x, f: xp.conv(x, f, padding="valid"), IMAGES, {}
    fused = (*IMAGES, (IMAGES[1][0],))
    wide = {"large": ((8, 8, 32, 33), (16, 8, 3, 3), (16,)), "domains": ((-1.0, 1.1), (-0.2, 0.25))}
    for activation in (None, "relu", "sigmoid", "tanh"):
        yield "conv", f"{activation}", lambda xp, x, f, b, a=activation: xp.conv(x, f, bias=b, activation=a), fused, wide
    yield "conv", "no bias", lambda xp, x, f: xp.conv(x, f, 2, padding=1, activation="relu"), IMAGES, {}
    turned = ((2, 4, 3, 5), (4, 2, 3, 2))
    large = {"large": ((8, 16, 16, 17), (16, 8, 3, 3))}
    yield "conv_transpose", "", lambda xp, x, f: xp.conv_transpose(x, f), turned, large
    yield (
        "conv_transpose",
        "stride",
        lambda xp, x, f: xp.conv_transpose(x, f, 2, padding=1, output_padding=(1, 0)),
        turned,
        large,
    )
    yield "conv_transpose", "dilation", lambda xp, x, f: xp.conv_transpose(x, f, (3, 1), dilation=(1, 2)), turned, {}
    yield "conv_transpose", "groups", lambda xp, x, f: xp.conv_transpose(x, f, 2, groups=2), turned, {}
    yield "conv_transpose", "bias", lambda xp, x, f, b: xp.conv_transpose(x, f, 2, bias=b), (*turned, (2,)), {}
    yield "conv_transpose", "one", lambda xp, x, f: xp.conv_transpose(x, f), ((4, 2, 3), (4, 1, 2, 2)), {}
    for name in ("avg_pool", "max_pool"):
        yield name, "", lambda xp, x, f=name: getattr(xp, f)(x, 2), IMAGES[:1], {"large": ((16, 16, 32, 33),)}
        yield name, "overlap", lambda xp, x, f=name: getattr(xp, f)(x, (3, 2), (2, 1), padding=1), IMAGES[:1], {}
        yield name, "one", lambda xp, x, f=name: getattr(xp, f)(x, 2, 1), ((3, 4, 3),), {}

    layer, large = ((3, 4), (5, 4), (5,)), {"large": ((259, 301), (303, 301), (303,)), "domains": ((-3.0, 3.0), (-0.2, 0.2))}
    for activation in (None, "relu", "sigmoid", "tanh"):
        yield "dense", f"{activation}", lambda xp, x, w, b, a=activation: xp.dense(x, w, b, a), layer, large
    yield "dense", "no bias", lambda xp, x, w: xp.dense(x, w, activation="tanh"), ((2, 3, 4), (5, 4)), {}

    rows, weights = ((3, 5), (5,), (5,)), {"large": ((301, 303), (303,), (303,))}
    yield "layer_norm", "", lambda xp, x, w, b: xp.layer_norm(x, w, b), rows, weights
    yield "layer_norm", "axes", lambda xp, x, w: xp.layer_norm(x, w, eps=0.1), ((2, 3, 4), (3, 4)), {}
    yield "layer_norm", "plain", lambda xp, x: xp.layer_norm(x, axes=2), ((2, 2, 3),), {}
    yield "rms_norm", "", lambda xp, x, w: xp.rms_norm(x, w), rows[:2], {"large": weights["large"][:2]}
    yield "rms_norm", "axes", lambda xp, x: xp.rms_norm(x, eps=0.1, axes=2), ((2, 3, 4),), {}
    images, plain = ((3, 4, 2, 3), (4,), (4,)), {"large": ((17, 24, 16, 15), (24,), (24,))}
    for groups in (1, 2, 4):
        yield "group_norm", f"{groups}", lambda xp, x, w, b, g=groups: xp.group_norm(x, g, w, b), images, plain
    rows, many = ((5, 6), (6,), (6,)), {"large": ((600, 150), (150,), (150,))}
    yield "group_norm", "rows", lambda xp, x, w, b: xp.group_norm(x, 3, w, b, 0.1), rows, many
    yield "batch_norm", "", lambda xp, x, w, b: xp.batch_norm(x, w, b), images, plain
    yield "batch_norm", "rows", lambda xp, x, w, b: xp.batch_norm(x, w, b, eps=0.1), rows, many
    given = {"domains": ((-3.0, 3.0),) * 4 + ((0.3, 3.0),)}
    yield "batch_norm", "given", lambda xp, x, *more: xp.batch_norm(x, *more), (images[0], *((4,),) * 4), given
    yield "dropout", "", lambda xp, x: xp.dropout(x, 0.25, seed=3), X, {"large": ((83, 7, 641),)}

    heads, name = ((2, 3, 4), (2, 5, 4), (2, 5, 2)), "scaled_dot_product_attention"
    large = {"large": ((3, 4, 130, 17), (3, 4, 140, 17), (3, 4, 140, 19)), "domains": ((-1.5, 1.5),)}
    some = np.arange(15).reshape(3, 5) % 4 < 2
    some[1] = False
    yield name, "", lambda xp, q, k, v: xp.scaled_dot_product_attention(q, k, v), heads, large
    yield name, "causal", lambda xp, q, k, v: xp.scaled_dot_product_attention(q, k, v, causal=True, scale=0.3), heads, large
    yield name, "mask", lambda xp, q, k, v: xp.scaled_dot_product_attention(q, k, v, some), heads, {}
    yield name, "bias", lambda xp, q, k, v, m: xp.scaled_dot_product_attention(q, k, v, m, causal=True), (*heads, (3, 1)), {}
    broadcast = ((3, 4), (2, 1, 5, 4), (3, 5, 2))
    yield name, "broadcast", lambda xp, q, k, v: xp.scaled_dot_product_attention(q, k, v), broadcast, {}
    for name, gates in (("rnn", 1), ("gru", 3), ("lstm", 4)):
        cell = [((3, 4, 2), (gates * 3, 2), (gates * 3, 3), (gates * 3,), (gates * 3,))]
        cell += [((67, 5, 30), (gates * 96, 30), (gates * 96, 96), (gates * 96,), (gates * 96,))]
        gentle = {"domains": ((-2.0, 2.0), (-0.5, 0.5), (-0.1, 0.1), (-0.5, 0.5))}
        yield name, "", lambda xp, *a, f=name: getattr(xp, f)(*a)[0], cell[0], gentle | {"large": cell[1]}
        yield name, "no bias", lambda xp, *a, f=name: getattr(xp, f)(*a)[0], cell[0][:3], gentle
        yield (
            name,
            "back",
            lambda xp, *a, f=name: getattr(xp, f)(*a, lengths=np.array([4, 1, 3]), reverse=True)[0],
            cell[0],
            gentle,
        )
    yield "rnn", "relu", lambda xp, *a: xp.rnn(*a, activation="relu")[0], ((3, 4, 2), (3, 2), (3, 3), (3,), (3,)), {}
    states = ((3, 4, 2), (12, 2), (12, 3), (3, 3), (3, 3))
    yield "lstm", "state", lambda xp, x, w, u, h, c: xp.lstm(x, w, u, state=(h, c))[1][1], states, {}

    soft, probable = {"domains": ((-3.0, 3.0), (0.1, 0.9))}, {"domains": ((0.1, 0.9),)}
    yield "softmax_cross_entropy", "", lambda xp, x: xp.softmax_cross_entropy(x, CLASSES), LOGITS, {}
    yield "softmax_cross_entropy", "soft", lambda xp, x, t: xp.softmax_cross_entropy(x, t), LOGITS * 2, soft
    yield "cross_entropy", "", lambda xp, p: xp.cross_entropy(p, CLASSES), LOGITS, probable
    yield "cross_entropy", "soft", lambda xp, p, t: xp.cross_entropy(p, t), LOGITS * 2, probable
    yield "cross_entropy", "softmax", lambda xp, x: xp.cross_entropy(xp.softmax(x), CLASSES), LOGITS, {}
    yield "cross_entropy", "softmax soft", lambda xp, x, t: xp.cross_entropy(xp.softmax(x), t), LOGITS * 2, soft

    yield "diagonal", "", lambda xp, x: xp.diagonal(x), ((3, 5),), every
    yield "diagonal", "offset", lambda xp, x: xp.diagonal(x, -1, 2, 0), X, every
    yield "trace", "", lambda xp, x: xp.trace(x, 1), ((3, 5),), every
    yield "tril", "", lambda xp, x: xp.tril(x, -1), X, no_bool
    yield "triu", "", lambda xp, x: xp.triu(x), X, no_bool
    yield "norm", "", lambda xp, x: xp.norm(x), X, no_bool
    yield "norm", "axes", lambda xp, x: xp.norm(x, (0, 2), keepdims=True), X, {}
    yield "argsort", "", lambda xp, x: xp.argsort(x), X, {"kind": "index"}
    yield "argsort", "first", lambda xp, x: xp.argsort(x, 0), X, {"kind": "index"}
    yield "sort", "", lambda xp, x: xp.sort(x), X, every
    yield "sort", "middle", lambda xp, x: xp.sort(x, 1), X, every
    yield "sort", "all", lambda xp, x: xp.sort(x, None), X, every
    chosen = np.array([[[0, -1], [1, 1]]])
    yield "take_along_axis", "", lambda xp, x: xp.take_along_axis(x, chosen, -1), ((3, 2, 4),), {}
    yield "take_along_axis", "all", lambda xp, x: xp.take_along_axis(x, np.array([3, 0, 3]), None), ((2, 5),), {}
    yield "flip", "", lambda xp, x: xp.flip(x), X, every
    yield "flip", "axes", lambda xp, x: xp.flip(x, (0, -1)), X, every
    yield "roll", "", lambda xp, x: xp.roll(x, 5), X, every
    yield "roll", "axes", lambda xp, x: xp.roll(x, (1, -2), (0, 2)), X, every
    yield "repeat", "", lambda xp, x: xp.repeat(x, 2), X, every
    yield "repeat", "each", lambda xp, x: xp.repeat(x, [2, 0, 3], 1), X, every
    yield "tile", "", lambda xp, x: xp.tile(x, (2, 1, 3, 1)), X, every
    yield "ravel", "", lambda xp, x: xp.ravel(x), X, every
    yield "round", "", lambda xp, x: xp.round(x), X, no_bool
    yield "round", "decimals", lambda xp, x: xp.round(x, 1), X, {}
    yield "isclose", "", lambda xp, x, y: xp.isclose(x, y, 0.5), X * 2, truth
    yield "allclose", "", lambda xp, x, y: xp.array(xp.allclose(x, y, 0.5)), X * 2, truth
    yield "array_equal", "", lambda xp, x: xp.array(xp.array_equal(x, x)), X, truth
    yield "array_equal", "not", lambda xp, x, y: xp.array(xp.array_equal(x, y)), X * 2, truth
    yield "dot", "", lambda xp, x, y: xp.dot(x, y), ((3, 4), (4, 2)), no_bool
    yield "dot", "vectors", lambda xp, x, y: xp.dot(x, y), ((4,), (4,)), no_bool
    yield "dot", "axes", lambda xp, x, y: xp.dot(x, y), ((2, 3), (2, 3, 2)), {}
    yield "outer", "", lambda xp, x, y: xp.outer(x, y), ((3,), (2, 2)), no_bool
    yield "tensordot", "", lambda xp, x, y: xp.tensordot(x, y), ((2, 3, 4), (3, 4, 2)), no_bool
    yield "tensordot", "axes", lambda xp, x, y: xp.tensordot(x, y, ([2, 0], [0, 1])), ((2, 3, 4), (4, 2, 2)), {}
    yield "einsum", "", lambda xp, x, y: xp.einsum("bij,kj->bki", x, y), ((2, 3, 4), (2, 4)), no_bool
    yield "einsum", "trace", lambda xp, x: xp.einsum("...ii->...", x), ((2, 3, 3),), no_bool
    yield "einsum", "three", lambda xp, x, y, z: xp.einsum("i,ij,j->i", x, y, z), ((2,), (2, 3), (3,)), {}


OTHERS = [Op(name, function, shapes, variant=variant, **fields) for name, variant, function, shapes, fields in _entries()]
OPS = POINTWISE + OTHERS
DIFFERENTIABLE = [op for op in OPS if op.kind == "float"]


# ---- layouts: how the elements of an input lie in memory


@dataclass(frozen=True)
class Layout:
    """`view` makes an array of the wanted shape from one of `base_shape(shape)`, for corgi and for NumPy alike."""

    name: str
    base_shape: Callable
    view: Callable

    def __str__(self):
        return self.name

    def bases(self, op, dtype="float64", seed=0):
        return op.samples(dtype, [self.base_shape(shape) for shape in op.shapes], seed)


def _gaps(shape):
    """The shape with its first and last sizes doubled."""
    return tuple(size * (1 + (i in (0, len(shape) - 1))) for i, size in enumerate(shape))


def _every_second(x, step):
    """Every second element along the first and the last axis, `step` being a slice."""
    return x[step] if x.ndim == 1 else x[step, ..., step] if x.ndim else x


LAYOUTS = [
    Layout("contiguous", lambda shape: shape, lambda xp, x, shape: x),
    Layout("transposed", lambda shape: shape[::-1], lambda xp, x, shape: xp.transpose(x)),
    Layout("sliced", _gaps, lambda xp, x, shape: _every_second(x, slice(1, None, 2))),
    Layout("reversed", _gaps, lambda xp, x, shape: _every_second(x, slice(None, None, -2))),
    Layout("broadcast", lambda shape: (1,) * (len(shape) > 0) + shape[1:], lambda xp, x, shape: xp.broadcast_to(x, shape)),
]
CONTIGUOUS = LAYOUTS[0]


# ---- levels


def run_at_level(level, file, chosen):
    """Run the tests of a file whose names match `chosen` in a process that uses an instruction-set level."""
    root = pathlib.Path(corgi.__file__).parent.parent
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", file, "-k", chosen]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"CORGI_CPU": level, "PYTHONPATH": path}
    run = subprocess.run(command, env=environment, cwd=pathlib.Path(__file__).parent.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
