"""Accuracy of the elementary functions: at most 2.5 units in the last place, over the whole range of each dtype.

Float32 results are held against float64 functions of NumPy and SciPy at many points; float64 results against mpmath at
fewer, and against long doubles at many where they are wider.  test_levels repeats the file at every level that the CPU has.
"""

import os

import mpmath
import numpy as np
import pytest
import scipy.special

import corgi

from .ops import run_at_level

LIMIT = 2.5
MPMATH = mpmath.MPContext()
MPMATH.prec = 160
X87 = np.finfo(np.longdouble).nmant == 63

# name: (in NumPy or SciPy, in mpmath)
UNARY = {
    "sqrt": (np.sqrt, MPMATH.sqrt),
    "reciprocal": (lambda x: 1 / x, lambda x: 1 / x),
    "exp": (np.exp, MPMATH.exp),
    "expm1": (np.expm1, MPMATH.expm1),
    "log": (np.log, MPMATH.log),
    "log1p": (np.log1p, MPMATH.log1p),
    "log2": (np.log2, lambda x: MPMATH.log(x, 2)),
    "log10": (np.log10, MPMATH.log10),
    "sin": (np.sin, MPMATH.sin),
    "cos": (np.cos, MPMATH.cos),
    "tan": (np.tan, MPMATH.tan),
    "arcsin": (np.arcsin, MPMATH.asin),
    "arccos": (np.arccos, MPMATH.acos),
    "arctan": (np.arctan, MPMATH.atan),
    "sinh": (np.sinh, MPMATH.sinh),
    "cosh": (np.cosh, MPMATH.cosh),
    "tanh": (np.tanh, MPMATH.tanh),
    "erf": (scipy.special.erf, MPMATH.erf),
    "sigmoid": (lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-abs(x))), lambda x: 1 / (1 + MPMATH.exp(-x))),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))), lambda x: MPMATH.log1p(MPMATH.exp(x))),
}
BINARY = {
    "power": (np.power, MPMATH.power),
    "arctan2": (np.arctan2, MPMATH.atan2),
    "logaddexp": (np.logaddexp, lambda x, y: MPMATH.log(MPMATH.exp(x) + MPMATH.exp(y))),
}
DOMAINS = {"sqrt": (0, np.inf), "log": (0, np.inf), "log2": (0, np.inf), "log10": (0, np.inf)}
DOMAINS |= {"log1p": (-1, np.inf), "arcsin": (-1, 1), "arccos": (-1, 1)}


def points(dtype, count, low=-np.inf, high=np.inf, seed=0):
    """Numbers of every exponent, many of moderate size, the ends of the range, and neighbours of round numbers."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    bits = (
        rng.integers(0, 2 ** (8 * info.dtype.itemsize), count // 2, np.uint64).astype(f"u{info.dtype.itemsize}").view(dtype)
    )
    size = 10 ** rng.uniform(-4, 3, count // 2)
    turns = np.concatenate([np.arange(1, 9), rng.integers(9, 2**21, max(count // 100, 50))])
    near = np.outer(turns * (np.pi / 4), [1, 1 + info.eps, 1 - info.eps]).ravel()
    exact = [
        info.smallest_subnormal,
        info.tiny,
        info.max,
        info.eps,
        0.5,
        0.625,
        1,
        1 + info.eps,
        1 - info.eps,
        2,
        8,
        88,
        708,
    ]
    x = np.concatenate([x[np.isfinite(x)].astype(dtype) for x in (bits, size, near, np.array(exact))])
    x = np.concatenate([x, -x])
    return x[(x >= low) & (x <= high)]


def ulps(got, true, rest=0.0):
    """Distance in units in the last place of the true value, `true` (in a wider type) + `rest`."""
    top = np.nextafter(np.finfo(got.dtype).max, 0, dtype=got.dtype)
    unit = np.spacing(np.minimum(np.abs(true), top).astype(got.dtype)).astype(true.dtype)
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(true.dtype) - true - rest) / unit
    either_side_of_overflow = (np.minimum(np.abs(got), np.abs(true)) >= top) & (np.sign(got) == np.sign(true))
    return np.where((got == true) & (rest == 0) | either_side_of_overflow, 0, error)


def check_wide(name, reference, wide, *inputs):
    """Against a function of a wider type."""
    with np.errstate(all="ignore"):
        true = reference(*[x.astype(wide) for x in inputs])
    assert_accurate(name, ulps(np.asarray(getattr(corgi, name)(*inputs)), true), *inputs)


def check_exact(name, reference, *inputs):
    """Against mpmath, whose values become a float64 and what is left."""
    values = [reference(*[MPMATH.mpf(float(v)) for v in row]) for row in zip(*inputs, strict=True)]
    true = np.array([float(v) for v in values])
    rest = np.array([float(v - h) if np.isfinite(h) else 0.0 for v, h in zip(values, true, strict=True)])
    assert_accurate(name, ulps(np.asarray(getattr(corgi, name)(*inputs)), true, rest), *inputs)


def assert_accurate(name, error, *inputs):
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= LIMIT, f"{name}({', '.join(repr(x[worst]) for x in inputs)}): {error[worst]:.2f} ulp"


@pytest.mark.parametrize("name", UNARY)
def test_unary_float32(name):
    check_wide(name, UNARY[name][0], np.float64, points(np.float32, 400_000, *DOMAINS.get(name, ())))


@pytest.mark.parametrize("name", UNARY)
def test_unary_float64(name):
    domain = DOMAINS.get(name, ())
    check_exact(name, UNARY[name][1], points(np.float64, 800, *domain, seed=1))
    if X87 and name != "erf":
        check_wide(name, UNARY[name][0], np.longdouble, points(np.float64, 100_000, *domain))


def pairs(name, dtype, count):
    """Pairs of numbers on which the result neither overflows nor underflows too often."""
    rng = np.random.default_rng(2)
    x, y = (rng.permutation(points(dtype, count, seed=seed))[:count] for seed in (3, 4))
    if name == "power":
        x = np.abs(x)
        span = 80 if dtype == np.float32 else 600
        with np.errstate(all="ignore"):
            moderate = rng.uniform(-span, span, count) / np.log(x.astype(np.float64))
            y = np.where(rng.random(count) < 0.7, moderate, y).astype(dtype)
        keep = np.isfinite(y) & (x > 0)
        return x[keep], y[keep]
    if name == "logaddexp":  # below 1 the rounding of x - y weighs more than an ulp of the result
        y = np.where(rng.random(count) < 0.5, x + rng.normal(0, 3, count), y).astype(dtype)
        keep = (np.abs(x) < 1e4) & (np.abs(y) < 1e4) & (np.maximum(x, y) > 1)
        return x[keep], y[keep]
    return x, y


@pytest.mark.parametrize("name", BINARY)
def test_binary_float32(name):
    check_wide(name, BINARY[name][0], np.float64, *pairs(name, np.float32, 200_000))


@pytest.mark.parametrize("name", BINARY)
def test_binary_float64(name):
    check_exact(name, BINARY[name][1], *pairs(name, np.float64, 600))
    if X87:
        check_wide(name, BINARY[name][0], np.longdouble, *pairs(name, np.float64, 50_000))


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_exact_remainders(name):
    """Numbers as near to a multiple of pi / 2 as floats of their size are, and both sides of where the reduction changes."""
    hardest = [6381956970095103 * 2.0**797, 6411027962775774 * 2.0**-48, 1.5707963267948966, 3.141592653589793]
    limits = [2.0**20, 2.0**20 - 2.0**-33, 2.0**20 * 1.5, 1e22, np.finfo(np.float64).max]
    check_exact(name, UNARY[name][1], np.array(hardest + limits))
    check_wide(name, UNARY[name][0], np.float64, np.array([16367173 * 2.0**72, 2.0**20, 2.0**20 - 0.0625, 2e38], np.float32))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["arctan2", "power", "sin", "cos", "tan", "arcsin", "arccos", "arctan"])
def test_special_values(name, dtype):
    """Zeros and their signs, infinities, NaN, the ends of the range: C99's Annex F, as the C library has them."""
    info = np.finfo(dtype)
    values = [0, 0.5, 1, 1 + info.eps, 1.5, 2, 3, 4, 2.0 ** (info.nmant + 1) - 1, 2.0 ** (info.nmant + 1), info.max, np.inf]
    values += [np.nan, info.smallest_subnormal, info.tiny]
    values = np.array(values + [-v for v in values]).astype(dtype)
    if name in BINARY:
        inputs = [a.ravel() for a in np.meshgrid(values, values)]
    else:
        inputs = [values[np.isin(np.abs(values), [0, np.inf]) | np.isnan(values) | (name.startswith("arc"))]]
    with np.errstate(all="ignore"):
        true = (UNARY | BINARY)[name][0](*[x.astype(np.longdouble) for x in inputs]).astype(dtype)
    got = np.asarray(getattr(corgi, name)(*inputs))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(true))
    number = ~np.isnan(true)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(true[number]))
    np.testing.assert_allclose(got[number], true[number], 4 * info.eps, 0)


TWO_WAYS = ("sin", "cos", "tan", "log", "log1p", "log2", "log10", "power", "floor_divide", "remainder")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", TWO_WAYS)
def test_neighbours_do_not_matter(name, dtype):
    """Functions with another way for unusual arguments give the same bits whatever else is in the array."""
    x = np.random.default_rng(0).uniform(0.01, 20, 20_003).astype(dtype)
    y = np.random.default_rng(1).uniform(-5, 5, 20_003).astype(dtype)
    function = getattr(corgi, name)
    arguments = [x, y] if name in TWO_WAYS[-3:] else [x]
    alone = [corgi.array(a).tracked() for a in arguments]
    result = function(*alone)
    result.sum().backward()
    for unusual in (np.inf, np.nan, -1e30, 1e30, 0.0, -0.0):
        among = [corgi.array(np.insert(a, [0, 3000, len(a)], dtype(unusual))).tracked() for a in arguments]
        others = np.delete(np.arange(len(x) + 3), [0, 3001, len(x) + 2])
        y_among = function(*among)
        y_among.sum().backward()
        np.testing.assert_array_equal(np.asarray(y_among)[others], result)
        for a, b in zip(among, alone, strict=True):
            np.testing.assert_array_equal(np.asarray(a.gradient)[others], b.gradient)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers_of_negative_numbers(dtype):
    x, _ = pairs("power", dtype, 5000)
    n = np.random.default_rng(5).integers(-9, 10, len(x)).astype(dtype)
    positive = np.asarray(corgi.power(x, n))
    np.testing.assert_array_equal(corgi.power(-x, n), np.where(n % 2 == 1, -positive, positive))
    assert np.isnan(corgi.power(-x, n + dtype(0.5))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_division_is_exact(name, dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 100, 5000), rng.integers(-9, 9, 2000), np.arange(1, 1000) * 0.1]).astype(dtype)
    y = np.concatenate([rng.normal(0, 3, 5000), rng.integers(1, 5, 2000), np.full(999, 0.1)]).astype(dtype)
    far = [rng.permutation(points(dtype, 3000, seed=seed))[:3000] for seed in (7, 8)]  # of any quotient
    near = y * np.rint(10 ** rng.uniform(0, 7, len(y)))  # multiples of y, as rounded
    ends = [a.ravel() for a in np.meshgrid(*[np.array([0.0, -0.0, 1, -1.5, 2, np.inf, -np.inf, np.nan], dtype)] * 2)]
    for a, b in [(x, y), far, (near.astype(dtype), y), ends, (np.append(x, near), np.append(y, -y))]:
        with np.errstate(all="ignore"):
            a, b = a.astype(dtype), b.astype(dtype)
            true = getattr(np, name)(a, b)
        got = np.asarray(getattr(corgi, name)(a, b))
        np.testing.assert_array_equal(got, true)
        np.testing.assert_array_equal(np.signbit(got[~np.isnan(true)]), np.signbit(true[~np.isnan(true)]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integer_powers(dtype):
    """Powers of small whole numbers that a float holds are exact."""
    x, y = (a.ravel().astype(dtype) for a in np.meshgrid(np.arange(-12, 13), np.arange(0, 6)))
    np.testing.assert_array_equal(corgi.power(x, y), x**y)
    np.testing.assert_array_equal(
        corgi.power(dtype(2), np.arange(-126, 128, dtype=dtype)), dtype(2) ** np.arange(-126, 128, dtype=dtype)
    )


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_everywhere_the_same(name):
    """A value does not depend on its place in the array: in vectors, in the rest, alone."""
    inputs = [points(np.float32, 300, 0.1, 0.9)[:101]] * (2 if name in BINARY else 1)
    function = getattr(corgi, name)
    whole = np.asarray(function(*inputs))
    for start, stop in [(0, 1), (3, 20), (17, 101), (100, 101)]:
        np.testing.assert_array_equal(function(*[x[start:stop] for x in inputs]), whole[start:stop])
        np.testing.assert_array_equal(function(*[corgi.array(x)[stop - 1 :: -1] for x in inputs]), whole[stop - 1 :: -1])


@pytest.mark.skipif("CORGI_CPU" in os.environ, reason="runs at one level")
@pytest.mark.parametrize("level", corgi.config.config()["instruction_sets"][1:])
def test_levels(level):
    run_at_level(level, __file__, "accurate or float or exact or powers or same or special or neighbours or division")
