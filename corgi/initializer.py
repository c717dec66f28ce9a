"""Initializers: rules that make a layer's first values, and the random generator that they share.

Above: layers.  Below: NumPy's generators.  Numbers are drawn in double and then rounded, so that
float32 and float64 layers start from the same values.

Other libraries' names: ``kaiming`` is `he` and ``xavier`` is `glorot`, with the distribution as an argument (PyTorch's
``kaiming_uniform_(w, nonlinearity="relu")`` is ``he("uniform")``, Keras's ``HeNormal`` is ``he("truncated")``);
``trunc_normal_`` is `truncated_normal`, ``VarianceScaling`` is `variance_scaling`, ``dirac_`` and ``eye_`` are `identity`.
"""

from __future__ import annotations

import math
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from corgi._core import array, get_default_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corgi._core import Array
    from corgi._typing import ArrayLike, Distribution, DTypeLike, Fan, Seed

__all__ = [
    "Initializer",
    "constant",
    "generator",
    "glorot",
    "he",
    "identity",
    "lecun",
    "normal",
    "ones",
    "orthogonal",
    "seed",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "zeros",
]

_default: np.random.Generator | None = None


def generator(seed: Seed = None) -> np.random.Generator:
    """A NumPy random generator: the package's own, or one made from a seed.

    Parameters
    ----------
    seed : int, numpy.random.Generator or None
        None is the generator that `corgi.seed` sets; before any such call it starts from the system's entropy.

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    TypeError, ValueError
        If the seed is neither of these, or negative.

    Examples
    --------
    >>> from corgi import initializer
    >>> bool(initializer.generator(7).integers(100) == initializer.generator(7).integers(100))
    True
    """
    global _default
    if isinstance(seed, np.random.Generator):
        return seed
    if seed is None:
        if _default is None:
            _default = np.random.default_rng()
        return _default
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"seed: expected an int, a numpy.random.Generator or None, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")
    return np.random.default_rng(int(seed))


def seed(n: int | np.random.Generator) -> None:
    """Start the package's random generator from a seed: what follows is the same in every run.

    Parameters
    ----------
    n : int or numpy.random.Generator

    Raises
    ------
    TypeError, ValueError
        If it is neither, or negative.

    Examples
    --------
    >>> import corgi
    >>> rule = corgi.initializer.normal()
    >>> corgi.seed(1)
    >>> first = rule((2, 3))
    >>> corgi.seed(1)
    >>> bool((rule((2, 3)) == first).all())
    True
    """
    if n is None:
        raise TypeError("seed: expected an int or a numpy.random.Generator, got None")
    global _default
    _default = generator(n)


class Initializer:
    """A rule that makes an array for a shape; what the functions of this module return.

    Parameters
    ----------
    text : str
        For repr.
    draw : callable
        ``draw(generator, shape)`` returns the values, as something that `corgi.array` takes.
    seed : int, numpy.random.Generator or None
        Where the random numbers come from: None is the package's generator, see `corgi.seed`.

    Examples
    --------
    >>> import corgi
    >>> rule = corgi.initializer.Initializer("halves", lambda generator, shape: generator.integers(2, size=shape) / 2)
    >>> rule((2, 2)).shape
    (2, 2)
    """

    def __init__(
        self, text: str, draw: Callable[[np.random.Generator, tuple[int, ...]], ArrayLike], seed: Seed = None
    ) -> None:
        self._text = text
        self._draw = draw
        self._generator = None if seed is None else generator(seed)

    def __call__(self, shape: int | Sequence[int], dtype: DTypeLike | None = None, generator: Seed = None) -> Array:
        """An array of a shape.

        Parameters
        ----------
        shape : int or sequence of ints
            Of weights: (outputs, inputs), or (outputs, inputs, rows, columns).
        dtype : float64 or float32, optional
            The default dtype by default.
        generator : int, numpy.random.Generator, optional
            Instead of the rule's own.

        Returns
        -------
        Array
            Untracked.
        """
        shape = (shape,) if isinstance(shape, (int, Integral)) else tuple(shape)
        if not all(isinstance(size, (int, Integral)) and size >= 0 for size in shape):
            raise ValueError(f"initializer: expected a shape of ints of at least 0, got {shape}")
        source = _generator_or(generator, self._generator)
        return array(self._draw(source, shape), get_default_dtype() if dtype is None else dtype)

    def __repr__(self) -> str:
        return f"initializer.{self._text}"


def _generator_or(given: Seed, own: Seed) -> np.random.Generator:
    return generator(own if given is None else given)


# ---- rules without chance


def _fill(value: float, generator: np.random.Generator, shape: tuple[int, ...]) -> ArrayLike:
    return np.full(shape, float(value))


def zeros() -> Initializer:
    """All elements 0.

    Examples
    --------
    >>> from corgi import initializer
    >>> initializer.zeros()(2)
    Array([0., 0.], dtype=float64)
    """
    return Initializer("zeros()", partial(_fill, 0))


def ones() -> Initializer:
    """All elements 1.

    Examples
    --------
    >>> from corgi import initializer
    >>> initializer.ones()(2)
    Array([1., 1.], dtype=float64)
    """
    return Initializer("ones()", partial(_fill, 1))


def constant(value: float) -> Initializer:
    """All elements one number.

    Parameters
    ----------
    value : float

    Examples
    --------
    >>> from corgi import initializer
    >>> initializer.constant(0.5)(2)
    Array([0.5, 0.5], dtype=float64)
    """
    return Initializer(f"constant({value})", partial(_fill, _number(value, "constant", "value")))


def _draw_identity(gain: float, generator: np.random.Generator, shape: tuple[int, ...]) -> ArrayLike:
    if len(shape) < 2:
        raise ValueError(f"identity: expected a weight (outputs, inputs, ...), got shape {shape}")
    values = np.zeros(shape)
    middle = tuple(size // 2 for size in shape[2:])
    if values.size:
        for i in range(min(shape[:2])):
            values[(i, i, *middle)] = gain
    return values


def identity(gain: float = 1.0) -> Initializer:
    """The weight of a layer that passes its first inputs on, times `gain`: ones on the diagonal, in the middle of a window.

    Parameters
    ----------
    gain : float

    Returns
    -------
    Initializer

    Raises
    ------
    TypeError, ValueError
        If the gain is not a finite number. When called: for a shape with fewer than two axes.

    Examples
    --------
    >>> from corgi import initializer
    >>> initializer.identity()((2, 3))
    Array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float64)
    """
    gain = _number(gain, "identity", "gain")
    return Initializer(f"identity({gain})", partial(_draw_identity, gain))


# ---- independent random numbers


def _draw_normal(mean: float, std: float, generator: np.random.Generator, shape: tuple[int, ...]) -> ArrayLike:
    return mean + std * generator.standard_normal(shape)


def _draw_uniform(low: float, high: float, generator: np.random.Generator, shape: tuple[int, ...]) -> ArrayLike:
    return low + (high - low) * generator.random(shape)


def _standard_truncated(cutoff: float, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Standard normal numbers between -cutoff and cutoff, by rejection; below 1 from uniform proposals."""
    found = np.empty(math.prod(shape))
    missing = np.arange(found.size)
    while missing.size:
        if cutoff < 1:
            drawn = cutoff * (2 * generator.random(missing.size) - 1)
            kept = generator.random(missing.size) < np.exp(-0.5 * drawn * drawn)
        else:
            drawn = generator.standard_normal(missing.size)
            kept = np.abs(drawn) <= cutoff
        found[missing[kept]] = drawn[kept]
        missing = missing[~kept]
    return found.reshape(shape)


def _draw_truncated(
    mean: float, std: float, cutoff: float, generator: np.random.Generator, shape: tuple[int, ...]
) -> ArrayLike:
    return mean + std * _standard_truncated(cutoff, generator, shape)


def normal(mean: float = 0.0, std: float = 1.0, *, seed: Seed = None) -> Initializer:
    """Normally distributed elements.

    Parameters
    ----------
    mean, std : float
        Mean, and standard deviation (at least 0).
    seed : int, numpy.random.Generator or None

    Returns
    -------
    Initializer

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a finite number, or `std` is negative.

    Examples
    --------
    >>> from corgi import initializer
    >>> round(initializer.normal(5.0, 0.1, seed=1)((100, 100)).mean().item(), 2)
    5.0
    """
    mean, std = _number(mean, "normal", "mean"), _number(std, "normal", "std")
    if std < 0:
        raise ValueError(f"normal: expected std of at least 0, got {std}")
    return Initializer(f"normal({mean}, {std})", partial(_draw_normal, mean, std), seed)


def truncated_normal(mean: float = 0.0, std: float = 1.0, cutoff: float = 2.0, *, seed: Seed = None) -> Initializer:
    """Normally distributed elements, of which those more than `cutoff` standard deviations from the mean are drawn again.

    Parameters
    ----------
    mean, std : float
        Mean, and standard deviation (at least 0) before truncation; after it, it is 0.880 times that for a cutoff of 2.
    cutoff : float
        Greater than 0, in standard deviations.
    seed : int, numpy.random.Generator or None

    Returns
    -------
    Initializer

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a finite number, `std` is negative or `cutoff` not positive.

    Examples
    --------
    >>> from corgi import initializer
    >>> values = initializer.truncated_normal(std=0.02, seed=1)(10000)
    >>> bool((abs(values) <= 0.04).all())
    True
    """
    mean, std = _number(mean, "truncated_normal", "mean"), _number(std, "truncated_normal", "std")
    cutoff = _number(cutoff, "truncated_normal", "cutoff")
    if std < 0:
        raise ValueError(f"truncated_normal: expected std of at least 0, got {std}")
    if cutoff <= 0:
        raise ValueError(f"truncated_normal: expected cutoff greater than 0, got {cutoff}")
    return Initializer(f"truncated_normal({mean}, {std}, {cutoff})", partial(_draw_truncated, mean, std, cutoff), seed)


def uniform(low: float = -1.0, high: float = 1.0, *, seed: Seed = None) -> Initializer:
    """Elements uniformly distributed in [low, high).

    Parameters
    ----------
    low, high : float
    seed : int, numpy.random.Generator or None

    Returns
    -------
    Initializer

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a finite number, or `low` exceeds `high`.

    Examples
    --------
    >>> from corgi import initializer
    >>> values = initializer.uniform(0.0, 0.5, seed=1)(1000)
    >>> bool((values >= 0).all() and (values < 0.5).all())
    True
    """
    low, high = _number(low, "uniform", "low"), _number(high, "uniform", "high")
    if low > high:
        raise ValueError(f"uniform: expected low <= high, got {low} and {high}")
    return Initializer(f"uniform({low}, {high})", partial(_draw_uniform, low, high), seed)


# ---- variance by the number of connections


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """How many inputs an output of a weight depends on, and how many outputs an input reaches.

    Parameters
    ----------
    shape : sequence of ints
        (outputs, inputs), or (outputs, inputs, rows, columns).

    Returns
    -------
    tuple of ints
        fan_in and fan_out.

    Raises
    ------
    ValueError
        For a shape with fewer than two axes.

    Examples
    --------
    >>> from corgi import initializer
    >>> initializer.fans((16, 3, 5, 5))
    (75, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"initializer: expected a weight (outputs, inputs, ...), got shape {tuple(shape)}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


_FANS: dict[str, Callable[[int, int], float]] = {
    "fan_in": lambda fan_in, fan_out: fan_in,
    "fan_out": lambda fan_in, fan_out: fan_out,
    "fan_avg": lambda fan_in, fan_out: (fan_in + fan_out) / 2,
}
_TRUNCATED_STD = 0.87962566103423978  # of a standard normal number between -2 and 2


def _draw_scaled(
    scale: float, mode: Fan, distribution: Distribution, generator: np.random.Generator, shape: tuple[int, ...]
) -> ArrayLike:
    std = math.sqrt(scale / _FANS[mode](*fans(shape))) if math.prod(shape) else 0.0
    if distribution == "normal":
        return std * generator.standard_normal(shape)
    if distribution == "truncated":
        return std / _TRUNCATED_STD * _standard_truncated(2.0, generator, shape)
    return std * math.sqrt(3) * (2 * generator.random(shape) - 1)


def _scaled(name: str, text: str, scale: float, mode: Fan, distribution: Distribution, seed: Seed) -> Initializer:
    if distribution not in ("normal", "uniform", "truncated"):
        raise ValueError(f"{name}: expected distribution 'normal', 'uniform' or 'truncated', got {distribution!r}")
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ValueError(f"{name}: expected mode 'fan_in', 'fan_out' or 'fan_avg', got {mode!r}")
    return Initializer(text, partial(_draw_scaled, scale, mode, distribution), seed)


def variance_scaling(
    scale: float = 1.0, mode: Fan = "fan_in", distribution: Distribution = "truncated", *, seed: Seed = None
) -> Initializer:
    """Standard deviation ``sqrt(scale / fan)``: what `he`, `glorot` and `lecun` are cases of.

    Parameters
    ----------
    scale : float
        Greater than 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
        The fan: how many inputs an output depends on, how many outputs an input reaches, or the mean of both; see `fans`.
    distribution : {"truncated", "normal", "uniform"}
        "truncated" is normal between -2 and 2 standard deviations, widened so that the deviation is as stated.
    seed : int, numpy.random.Generator or None
        None is the package's generator, see `corgi.seed`.

    Returns
    -------
    Initializer

    Raises
    ------
    TypeError, ValueError
        If the scale is not a positive number, or for another mode or distribution.

    Examples
    --------
    >>> from corgi import initializer
    >>> round(initializer.variance_scaling(3.0, "fan_out", "uniform", seed=1)((300, 100)).std().item(), 2)
    0.1
    """
    scale = _number(scale, "variance_scaling", "scale")
    if scale <= 0:
        raise ValueError(f"variance_scaling: expected scale greater than 0, got {scale}")
    text = f"variance_scaling({scale}, {mode!r}, {distribution!r})"
    return _scaled("variance_scaling", text, scale, mode, distribution, seed)


def he(distribution: Distribution = "normal", *, mode: Fan = "fan_in", slope: float = 0.0, seed: Seed = None) -> Initializer:
    """Standard deviation ``sqrt(2 / fan_in)``, which keeps the scale through layers with relu (He et al. 2015).

    Parameters
    ----------
    distribution : {"normal", "uniform", "truncated"}
        "truncated" is normal between -2 and 2 standard deviations, widened so that the deviation is as stated.
    mode : {"fan_in", "fan_out", "fan_avg"}
        "fan_out" keeps the scale of the gradients instead.
    slope : float
        Of leaky_relu below 0, for which it is ``sqrt(2 / (1 + slope**2) / fan_in)``.
    seed : int, numpy.random.Generator or None
        None is the package's generator, see `corgi.seed`.

    Returns
    -------
    Initializer

    Raises
    ------
    TypeError, ValueError
        For another distribution or mode, or a slope that is not a finite number.

    Examples
    --------
    >>> from corgi import initializer
    >>> round(initializer.he(seed=1)((300, 200)).std().item(), 2)
    0.1
    """
    slope = _number(slope, "he", "slope")
    text = (
        f"he({distribution!r}"
        + (f", mode={mode!r}" if mode != "fan_in" else "")
        + (f", slope={slope}" if slope else "")
        + ")"
    )
    return _scaled("he", text, 2 / (1 + slope * slope), mode, distribution, seed)


def glorot(distribution: Distribution = "uniform", *, gain: float = 1.0, seed: Seed = None) -> Initializer:
    """Standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``, for sigmoid, tanh and softmax (Glorot & Bengio 2010).

    Parameters
    ----------
    distribution : {"uniform", "normal", "truncated"}
        "truncated" is normal between -2 and 2 standard deviations, widened so that the deviation is as stated.
    gain : float
        Greater than 0; 5 / 3 is often taken for tanh.
    seed : int, numpy.random.Generator or None
        None is the package's generator, see `corgi.seed`.

    Returns
    -------
    Initializer

    Raises
    ------
    TypeError, ValueError
        For another distribution, or a gain that is not a positive number.

    Examples
    --------
    >>> from corgi import initializer
    >>> round(initializer.glorot(seed=1)((100, 100)).std().item(), 2)
    0.1
    """
    gain = _number(gain, "glorot", "gain")
    if gain <= 0:
        raise ValueError(f"glorot: expected gain greater than 0, got {gain}")
    text = f"glorot({distribution!r}" + (f", gain={gain}" if gain != 1 else "") + ")"
    return _scaled("glorot", text, gain * gain, "fan_avg", distribution, seed)


def lecun(distribution: Distribution = "normal", *, seed: Seed = None) -> Initializer:
    """Standard deviation ``sqrt(1 / fan_in)``, for linear layers (LeCun et al. 1998) and selu.

    Parameters
    ----------
    distribution : {"normal", "uniform", "truncated"}
        "truncated" is normal between -2 and 2 standard deviations, widened so that the deviation is as stated.
    seed : int, numpy.random.Generator or None
        None is the package's generator, see `corgi.seed`.

    Returns
    -------
    Initializer

    Raises
    ------
    ValueError
        For another distribution.

    Examples
    --------
    >>> from corgi import initializer
    >>> round(initializer.lecun(seed=1)((300, 100)).std().item(), 2)
    0.1
    """
    return _scaled("lecun", f"lecun({distribution!r})", 1.0, "fan_in", distribution, seed)


def _draw_orthogonal(gain: float, generator: np.random.Generator, shape: tuple[int, ...]) -> ArrayLike:
    if len(shape) < 2:
        raise ValueError(f"orthogonal: expected a weight (outputs, inputs, ...), got shape {shape}")
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.where(np.diagonal(r) < 0, -gain, gain)  # uniformly distributed (Mezzadri 2007): qr alone prefers some signs
    return (q if rows >= columns else q.T).reshape(shape)


def orthogonal(gain: float = 1.0, *, seed: Seed = None) -> Initializer:
    """A random matrix with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al. 2014).

    Parameters
    ----------
    gain : float
    seed : int, numpy.random.Generator or None
        None is the package's generator, see `corgi.seed`.

    Returns
    -------
    Initializer
        Weights of more than two axes are matrices of shape (outputs, everything else).

    Raises
    ------
    TypeError, ValueError
        If the gain is not a finite number. When called: for a shape with fewer than two axes.

    Examples
    --------
    >>> import corgi
    >>> w = corgi.initializer.orthogonal(seed=1)((2, 3))
    >>> corgi.allclose(w @ w.T, corgi.eye(2))
    True
    """
    gain = _number(gain, "orthogonal", "gain")
    return Initializer(f"orthogonal({gain})", partial(_draw_orthogonal, gain), seed)


# ---- for layers


def _number(value: float, op: str, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{op}: expected a number for {name}, got {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"{op}: expected a finite number for {name}, got {value}")
    return float(value)


_MAKERS = [
    constant,
    glorot,
    he,
    identity,
    lecun,
    normal,
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    zeros,
]


def make(rule: Any, shape: tuple[int, ...], dtype: DTypeLike | None, owner: str) -> Array:
    """A tracked array of a shape, made by a rule (`he()` for None): what layers call."""
    if rule is None:
        rule = he()
    if rule in _MAKERS:
        raise TypeError(f"{owner}: expected an initializer, got the function that makes one; call it: {rule.__name__}()")
    if not callable(rule):
        raise TypeError(f"{owner}: expected an initializer such as initializer.he(), got {type(rule).__name__}")
    dtype = get_default_dtype() if dtype is None else np.dtype(dtype)
    if dtype not in (np.float64, np.float32):
        raise TypeError(f"{owner}: expected dtype float64 or float32, got {dtype}")
    values = array(rule(shape, dtype), dtype).detach()
    if values.shape != shape:
        raise ValueError(f"{owner}: expected the initializer to make an array of shape {shape}, got {values.shape}")
    return values.tracked()
