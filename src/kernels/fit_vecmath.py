"""Derives the constants of vecmath.h and vectrig.h: weighted minimax fits by Remez exchange, in mpmath, and digits of pi.

Run it to print every coefficient row of the headers, lowest degree first, each with the largest error that the rounded
coefficients leave in the function itself, in units of the last place's relative size (2^-24 or 2^-53).
"""

from mpmath import (
    asin,
    atan,
    atanh,
    cos,
    cosh,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    log,
    log1p,
    lu_solve,
    matrix,
    mp,
    mpf,
    nstr,
    pi,
    polyval,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)

mp.dps = 50
HALF_LN2 = log(2) / 2 * mpf("1.001")


def remez(f, weight, a, b, degree):
    """Coefficients, lowest first, of the polynomial p that minimizes max |weight (f - p)| on [a, b].

    Exchange on a grid of Chebyshev nodes: solve for the errors +-E at degree + 2 points, then move these to the extrema."""
    a, b, n = mpf(a), mpf(b), degree + 2
    grid = [(a + b) / 2 - (b - a) / 2 * cos(pi * (k + mpf(1) / 2) / (40 * n)) for k in range(40 * n)]
    values, weights = [f(x) for x in grid], [abs(weight(x)) for x in grid]
    chosen = [40 * k + 20 for k in range(n)]
    for _ in range(30):
        system, right = matrix(n, n), matrix(n, 1)
        for row, k in enumerate(chosen):
            for j in range(n - 1):
                system[row, j] = grid[k] ** j
            system[row, n - 1] = (-1) ** row / weights[k]
            right[row] = values[k]
        solution = lu_solve(system, right)
        coefficients = [solution[j] for j in range(n - 1)]
        error = [w * (y - polyval(coefficients[::-1], x)) for x, y, w in zip(grid, values, weights, strict=True)]
        extrema = []  # the largest error of every run of one sign
        for k, e in enumerate(error):
            if extrema and e * error[extrema[-1]] > 0:
                if abs(e) > abs(error[extrema[-1]]):
                    extrema[-1] = k
            else:
                extrema.append(k)
        while len(extrema) > n:
            extrema.pop(0 if abs(error[extrema[0]]) < abs(error[extrema[-1]]) else -1)
        if len(extrema) < n or extrema == chosen:
            break
        chosen = extrema
    return coefficients


def show(name, dtype, f, weight, a, b, degree):
    bits = 24 if dtype == "f32" else 53
    coefficients = []
    for c in remez(f, weight, a, b, degree):
        with mp.workprec(bits):
            coefficients.append(+c)
    points = [mpf(a) + (mpf(b) - mpf(a)) * (k + mpf(1) / 2) / 1000 for k in range(1000)]
    error = max(abs(weight(x) * (f(x) - polyval(coefficients[::-1], x))) for x in points) * 2**bits
    digits, suffix = (9, "f") if dtype == "f32" else (17, "")
    print(f"{name} {dtype}: degree {degree}, error {nstr(error, 2)} ulp")
    print("    " + ", ".join(nstr(c, digits, min_fixed=-5, max_fixed=8) + suffix for c in coefficients))


def at_zero(f, value, tiny="1e-12"):
    """f, but `value`, its limit, where rounding would spoil it."""
    return lambda x: mpf(value) if abs(x) < mpf(tiny) else f(x)


def of_square(f):
    return lambda z: f(sqrt(z))


# Each fit: function, weight, interval; then name, dtype and degree.
# e^r = 1 + r + r^2 p(r); the weight makes it good for expm1 too.
EXP = (at_zero(lambda r: (expm1(r) - r) / r**2, 0.5), at_zero(lambda r: r**2 / expm1(r), 0), -HALF_LN2, HALF_LN2)
# 2^t = 1 + t p(t)
EXP2 = (at_zero(lambda t: expm1(t * log(2)) / t, log(2), "1e-30"), lambda t: t / mpf(2) ** t, "-0.501", "0.501")
# sinh r = r + r^3 p(r^2), cosh r = 1 + r^2 p(r^2), tanh r = r + r^3 p(r^2)
SINH = (at_zero(of_square(lambda r: (sinh(r) - r) / r**3), mpf(1) / 6, "1e-24"), lambda z: z, 0, HALF_LN2**2)
COSH = (at_zero(of_square(lambda r: (cosh(r) - 1) / r**2), mpf(1) / 2, "1e-24"), lambda z: z, 0, HALF_LN2**2)
TANH = (
    at_zero(of_square(lambda r: (tanh(r) / r - 1) / r**2), -mpf(1) / 3, "1e-20"),
    at_zero(of_square(lambda r: r**3 / tanh(r)), 0, "1e-30"),
    0,
    mpf("0.55") ** 2,
)
# log(1 + f) = f + f^2 (-1/2 + f p(f))
LOG_F32 = (
    at_zero(lambda f: (log1p(f) - f + f * f / 2) / f**3, mpf(1) / 3),
    at_zero(lambda f: f**3 / log1p(f), 0),
    sqrt(mpf("0.5")) - 1,
    sqrt(mpf(2)) - 1,
)
# log(1 + f) = f - f^2/2 + s (f^2/2 + z p(z)), s = f / (2 + f), z = s^2: p(z) = (2 atanh(s) / s - 2) / z
LOG_F64 = (
    at_zero(of_square(lambda s: (log((1 + s) / (1 - s)) / s - 2) / s**2), mpf(2) / 3, "1e-20"),
    lambda z: z / 2,
    0,
    "0.02945",
)
# artanh s = s + s^3 (c + p(s^2)), c being 1/3 as rounded; errors here are multiplied by up to 2^11 in a power


def artanh(bits):
    with mp.workprec(bits):
        third = +(mpf(1) / 3)
    return (
        at_zero(of_square(lambda s: (atanh(s) / s - 1) / s**2 - third), mpf(1) / 3 - third, "1e-12"),
        lambda z: z,
        0,
        "0.02945",
    )


# f(x) = x + x^3 p(x^2), where f is sin, tan, arctan or arcsin, and cos x = 1 + x^2 p(x^2). In float32 the argument of sin,
# cos and tan may be a little larger than pi / 4.
def odd(f, third, end):
    return (
        at_zero(of_square(lambda x: (f(x) - x) / x**3), third, "1e-20"),
        at_zero(of_square(lambda x: x**3 / f(x)), 0, "1e-40"),
        0,
        mpf(end) ** 2,
    )


TURN = {"f32": "0.86", "f64": "0.7865"}
COS = {
    dtype: (
        at_zero(of_square(lambda x: (cos(x) - 1) / x**2), -mpf(1) / 2, "1e-24"),
        of_square(lambda x: x**2 / cos(x)),
        0,
        mpf(end) ** 2,
    )
    for dtype, end in TURN.items()
}
# erf x = x + x p(x^2) for x <= 1, 1 - e^p(x) above
ERF_SMALL = (
    at_zero(of_square(lambda x: erf(x) / x - 1), 2 / sqrt(pi) - 1, "1e-40"),
    at_zero(of_square(lambda x: x / erf(x)), sqrt(pi) / 2, "1e-40"),
    0,
    1,
)


def erf_large(end):
    return lambda x: log(erfc(x)), lambda x: erfc(x) / erf(x), 1, end


def erfc_large(a, c, end):
    """erfc x = e^(-x^2) / (x + c) p(w), w = (x - a) / (x + c), for x >= 1"""

    def f(w):
        x = (a + c * w) / (1 - w)
        return erfc(x) * exp(x * x) * (x + c)

    first, end = mpf("0.999"), mpf(end)
    return f, lambda w: 1 / f(w), (first - a) / (first + c), (end - a) / (end + c)


def show_pi():
    """Parts of pi with so many bits each and the rest as a float64, then the binary digits of 2 / pi."""
    for bits, count in ((33, 3), (33, 1), (24, 2)):
        parts, rest = [], +pi
        for _ in range(count):
            unit = mpf(2) ** (floor(log(rest, 2)) + 1 - bits)
            parts.append(floor(rest / unit) * unit)
            rest -= parts[-1]
        print("less_pi:", ", ".join(float(part).hex() for part in [*parts, rest]))
    with mp.workprec(64 * 21):
        digits = int(floor(2 / pi * mpf(2) ** (64 * 19)))
    print("far_turns:", ", ".join(f"{digits >> 64 * k & 2**64 - 1:#018x}" for k in range(18, -1, -1)))


if __name__ == "__main__":
    show("exp_tail", "f32", *EXP, 4)
    show("exp_tail", "f64", *EXP, 10)
    show("exp2", "f32", *EXP2, 5)
    show("exp2", "f64", *EXP2, 10)
    show("tanh", "f32", *TANH, 4)
    show("tanh", "f64", *TANH, 9)
    show("sinh_tail", "f32", *SINH, 2)
    show("sinh_tail", "f64", *SINH, 4)
    show("cosh_tail", "f32", *COSH, 2)
    show("cosh_tail", "f64", *COSH, 5)
    show("log_tail", "f32", *LOG_F32, 7)
    show("log_tail", "f64", *LOG_F64, 6)
    show("erf_rest", "f32", *ERF_SMALL, 6)
    show("erf_rest", "f64", *ERF_SMALL, 12)
    show("erf", "f32", *erf_large("3.95"), 6)
    show("erf", "f64", *erf_large("6"), 16)
    show("erfc", "f32", *erfc_large(3, 2, "10.1"), 7)
    show("erfc", "f64", *erfc_large(2, 4, "27.3"), 18)
    show("log_extended", "f32", *artanh(24), 3)
    show("log_extended", "f64", *artanh(53), 7)
    for dtype, degrees in (("f32", (3, 3, 6, 4, 4)), ("f64", (5, 6, 13, 11, 11))):
        show("sin_cos, sine", dtype, *odd(sin, -mpf(1) / 6, TURN[dtype]), degrees[0])
        show("sin_cos, cosine", dtype, *COS[dtype], degrees[1])
        show("tan", dtype, *odd(tan, mpf(1) / 3, TURN[dtype]), degrees[2])
        show("angle", dtype, *odd(atan, -mpf(1) / 3, "0.5"), degrees[3])
        show("arcsin_tail", dtype, *odd(asin, mpf(1) / 6, "0.5"), degrees[4])
    show_pi()
