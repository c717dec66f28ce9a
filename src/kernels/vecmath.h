/* Elementary functions that the compiler vectorizes: vm_exp_f32(x), vm_exp_f64(x) and their like.
 *
 * Above: the kernels of this folder, which call them in plain loops.  Below: nothing but bits.  Every function is
 * branch-free (a ternary becomes a blend) and takes any argument, denormal, infinite or NaN.  The rounding tricks need
 * that the compiler does not reassociate: never build with -ffast-math.  fit_vecmath.py derives the polynomials.
 *
 * log, log1p, log2, log10 and pow have an argument `usual`: true promises that none of their special cases occurs
 * (pointwise.c looks before it calls).  A usual argument has the same value either way.
 *
 * The largest errors seen, in ulp, float32 and float64, with and without fused multiply-add: log, log1p 1.0, exp 1.1, exp2
 * 1.3, expm1, sinh, cosh 1.4, log2, log10, tanh 1.5, erf 1.7, pow, softplus 1.8, sigmoid 1.9, erfc 4.4.
 *
 * The body is written once and read twice, for float32 and float64: the file includes itself with VM_REAL set, and
 * PICK(a, b) takes a for float32 and b for float64.
 */
#if !defined(CORGI_VECMATH_H)
#define CORGI_VECMATH_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VM_INLINE static inline __attribute__((always_inline))

/* Polynomials, coefficients from the lowest degree up: Horner's rule in x^2 over pairs of terms (the first step of Estrin's
 * scheme), which waits half as long as the plain rule. */
#define VM_P1(x, c) (c)
#define VM_P2(x, c, d) ((c) + (x) * (d))
#define VM_P3(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P1(x, __VA_ARGS__))
#define VM_P4(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P2(x, __VA_ARGS__))
#define VM_P5(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P3(x, __VA_ARGS__))
#define VM_P6(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P4(x, __VA_ARGS__))
#define VM_P7(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P5(x, __VA_ARGS__))
#define VM_P8(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P6(x, __VA_ARGS__))
#define VM_P9(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P7(x, __VA_ARGS__))
#define VM_P10(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P8(x, __VA_ARGS__))
#define VM_P11(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P9(x, __VA_ARGS__))
#define VM_P12(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P10(x, __VA_ARGS__))
#define VM_P13(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P11(x, __VA_ARGS__))
#define VM_P14(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P12(x, __VA_ARGS__))
#define VM_P15(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P13(x, __VA_ARGS__))
#define VM_P16(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P14(x, __VA_ARGS__))
#define VM_P17(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P15(x, __VA_ARGS__))
#define VM_P18(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P16(x, __VA_ARGS__))
#define VM_P19(x, c, d, ...) (((c) + (x) * (d)) + (x) * (x) * VM_P17(x, __VA_ARGS__))

/* The format of numbers, and constants; PICK is defined where these are used. */
#define VM_MANTISSA PICK(23, 52)                /* bits of the mantissa */
#define VM_BIAS PICK(127, 1023)                 /* of the exponent */
#define VM_SHIFT PICK(0x1.8p23f, 0x1.8p52)      /* t = x + shift holds x, rounded to a whole number, in its low bits */
#define VM_INF PICK(INFINITY, (double)INFINITY) /* INFINITY and NAN are floats */
#define VM_NAN PICK(NAN, (double)NAN)
#define VM_SMALLEST PICK(0x1p-126f, 0x1p-1022) /* normal number */
#define VM_ABS(x) PICK(fabsf, fabs)(x)
#define VM_COPYSIGN(x, y) PICK(copysignf, copysign)(x, y)
#define VM_EXP_END PICK(110.0f, 750.0)  /* e^x is 0 or infinite beyond it */
#define VM_TINY PICK(0x1p-30f, 0x1p-60) /* below it sinh x and expm1 x round to x */

#define VM_LOG2E PICK(1.44269504f, 1.4426950408889634)
/* The high parts of log(2) and log10(2) end in zeros: their product with an exponent is exact (Cody and Waite). */
#define VM_LN2 PICK(0x1.62e4p-1f, 0x1.62e42feep-1)
#define VM_LN2_LO PICK(1.42860682e-06f, 1.9082149292705877e-10)
#define VM_LOG10_2 PICK(0x1.3441p-2f, 0x1.34413509f6p-2)
#define VM_LOG10_2_LO PICK(7.90341716e-07f, 3.694239077158931e-13)
#define VM_SQRT_HALF PICK(0x3f3504f3u, 0x3fe6a09e667f3bcdu)

/* log(1 + f) - f for sqrt(1/2) <= 1 + f <= sqrt(2), by a polynomial; in float64 that would be a long one, and the series of
 * fdlibm in s = f / (2 + f) is taken. */
VM_INLINE float vm_log_tail_f32(float f)
{
    return f * f *
           VM_P9(f, -0.5f, 0.333333313f, -0.250008196f, 0.200012252f, -0.166233599f, 0.142017812f, -0.13160184f,
                 0.127614111f, -0.0763427764f);
}

VM_INLINE double vm_log_tail_f64(double f)
{
    const double s = f / (2 + f), z = s * s, h = 0.5 * f * f;
    const double p = VM_P7(z, 0.66666666666667351, 0.39999999999413161, 0.2857142874275852, 0.22222198531968085,
                           0.18183566622919783, 0.15313988027148859, 0.14796611302624549);
    return s * (h + z * p) - h;
}

#define VM_REAL float
#define VM_BITS uint32_t
#define VM(name) vm_##name##_f32
#define PICK(f32, f64) f32
#include "vecmath.h"
#undef VM_REAL
#undef VM_BITS
#undef VM
#undef PICK

#define VM_REAL double
#define VM_BITS uint64_t
#define VM(name) vm_##name##_f64
#define PICK(f32, f64) f64
#include "vecmath.h"
#undef VM_REAL
#undef VM_BITS
#undef VM
#undef PICK

#elif defined(VM_REAL)

/* ---- The format ---------------------------------------------------------------------------------------------- */

VM_INLINE VM_BITS VM(bits)(VM_REAL x)
{
    VM_BITS u;
    memcpy(&u, &x, sizeof u);
    return u;
}

VM_INLINE VM_REAL VM(from_bits)(VM_BITS u)
{
    VM_REAL x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* 2^(k - bias) from the low bits k of u; what stands above the exponent's bits falls off. */
VM_INLINE VM_REAL VM(power)(VM_BITS u) { return VM(from_bits)(u << VM_MANTISSA); }

/* a b + c, fused where the CPU can: said aloud where the compiler could choose between two products, or not see the sum for a
 * branch, and choose differently for the two values of `usual`. */
VM_INLINE VM_REAL VM(fused)(VM_REAL a, VM_REAL b, VM_REAL c)
{
#ifdef FP_FAST_FMA
    return PICK(fmaf, fma)(a, b, c);
#else
    return a * b + c;
#endif
}

/* x with the lower half of its mantissa cleared. */
VM_INLINE VM_REAL VM(head)(VM_REAL x)
{
    return VM(from_bits)(VM(bits)(x) >> (VM_MANTISSA / 2 + 1) << (VM_MANTISSA / 2 + 1));
}

/* The smaller, and the one nearer zero; both keep a NaN in x. Two ternaries in a row on x would be threaded into jumps
 * by the compiler and become three blends instead of a minimum and a maximum. */
VM_INLINE VM_REAL VM(min)(VM_REAL x, VM_REAL high) { return x > high ? high : x; }
VM_INLINE VM_REAL VM(clamp)(VM_REAL x, VM_REAL size) { return VM_COPYSIGN(VM(min)(VM_ABS(x), size), x); }

/* ---- Exponentials: x = n log(2) + r, |r| <= log(2) / 2 -------------------------------------------------------- */

/* (e^r - 1 - r) / r^2 */
VM_INLINE VM_REAL VM(exp_tail)(VM_REAL r)
{
    return PICK(VM_P5(r, 0.49999997f, 0.166665435f, 0.0416672006f, 0.00836657919f, 0.00138825271f),
                VM_P11(r, 0.5, 0.16666666666666677, 0.041666666666666505, 0.0083333333333216082, 0.0013888888888962906,
                       0.00019841269886206419, 2.4801587171861715e-5, 2.7557244105688482e-6, 2.7557402912783144e-7,
                       2.5109080873688613e-8, 2.0875338593477693e-9));
}

/* p 2^n, where t = shift + 2 bias + n: two factors reach the denormals and the overflow with one rounding. */
VM_INLINE VM_REAL VM(scale)(VM_REAL p, VM_REAL t)
{
    const VM_BITS n = VM(bits)(t), half = n >> 1;
    return p * VM(power)(half) * VM(power)(n - half);
}

VM_INLINE VM_REAL VM(exp_clamped)(VM_REAL x)
{
    const VM_REAL shift = VM_SHIFT + 2 * VM_BIAS;
    const VM_REAL t = x * VM_LOG2E + shift, n = t - shift;
    const VM_REAL r = (x - n * VM_LN2) - n * VM_LN2_LO;
    return VM(scale)(1 + (r + r * r * VM(exp_tail)(r)), t);
}

VM_INLINE VM_REAL VM(exp)(VM_REAL x) { return VM(exp_clamped)(VM(clamp)(x, VM_EXP_END)); }

VM_INLINE VM_REAL VM(exp2)(VM_REAL x)
{
    const VM_REAL shift = VM_SHIFT + 2 * VM_BIAS;
    x = VM(clamp)(x, PICK(160.0f, 1100.0));
    const VM_REAL t = x + shift, r = x - (t - shift);
    const VM_REAL q =
        PICK(VM_P6(r, 0.693147182f, 0.240226477f, 0.0555033199f, 0.00961843971f, 0.00133991335f, 0.00015353167f),
             VM_P11(r, 0.69314718055994529, 0.24022650695910133, 0.05550410866482005, 0.0096181291075935673,
                    0.001333355814678028, 0.00015403530457879124, 1.5252733489316567e-5, 1.3215434869861246e-6,
                    1.0178200503611678e-7, 7.0738586795813491e-9, 4.4347256376608948e-10));
    return VM(scale)(1 + r * q, t);
}

/* 2^k (e^x - 1) for k = 0 or -1, as 2^n (r + ...) + (2^n - 1), where c is what rounding r lost; 2^(n + k) has to be
 * normal. */
VM_INLINE VM_REAL VM(expm1_scaled)(VM_REAL x, int k)
{
    const VM_REAL shift = VM_SHIFT + (VM_REAL)(VM_BIAS + k), one = k ? PICK(0.5f, 0.5) : 1;
    const VM_REAL t = x * VM_LOG2E + shift, n = t - shift;
    const VM_REAL high = x - n * VM_LN2, r = high - n * VM_LN2_LO, c = (high - r) - n * VM_LN2_LO;
    const VM_REAL s = VM(power)(VM(bits)(t));
    return ((s - one) + s * r) + s * (r * r * VM(exp_tail)(r) + c);
}

/* Twice the half, because 2^n itself overflows before e^x does. */
VM_INLINE VM_REAL VM(expm1)(VM_REAL x)
{
    const VM_REAL low = PICK(-18.0f, -38.0), high = PICK(89.0f, 710.0);
    const VM_REAL half = VM(expm1_scaled)(x < low ? low : x, -1), y = x > high ? VM_INF : half + half;
    return VM_ABS(x) < VM_TINY ? x : y;
}

/* tanh u = u + u^3 p(u^2) for small u, else 1 - 2 / (e^2u + 1), which is 1 beyond the clamp. */
VM_INLINE VM_REAL VM(tanh)(VM_REAL x)
{
    const VM_REAL u = VM(min)(VM_ABS(x), PICK(9.1f, 19.1)), z = u * u;
    const VM_REAL p = PICK(VM_P5(z, -0.333333164f, 0.13332586f, -0.053852316f, 0.0210717004f, -0.00627426989f),
                           VM_P10(z, -0.33333333333332316, 0.13333333333168718, -0.053968253876084893, 0.021869485974935737,
                                  -0.008863194505782929, 0.0035917197101863708, -0.0014532168148869262,
                                  0.00057913717635987079, -0.00021030264548683645, 5.1021639111732536e-5));
    const VM_REAL small = u + u * (z * p), large = 1 - 2 / (1 + VM(exp_clamped)(u + u));
    return VM_COPYSIGN(u < PICK(0.55f, 0.55) ? small : large, x);
}

/* q = e / (1 + e), e = e^-|x|, is the answer for x < 0 and 1 - q for x >= 0; e - e q, the same as q, damps the error of
 * the divisor. */
VM_INLINE VM_REAL VM(sigmoid)(VM_REAL x)
{
    const VM_REAL e = VM(exp_clamped)(-VM(min)(VM_ABS(x), VM_EXP_END)), q = e / (1 + e), p = x >= 0 ? 1 : e;
    return p - p * q;
}

/* Half of sinh x and cosh x, x >= 0, by the addition theorems:
 * sinh(n log 2 + r) = sinh(n log 2) cosh r + cosh(n log 2) sinh r and so on. */
VM_INLINE void VM(half_sinh_cosh)(VM_REAL x, VM_REAL *sinh_x, VM_REAL *cosh_x)
{
    const VM_REAL shift = VM_SHIFT + (VM_BIAS - 2);
    x = VM(min)(x, PICK(89.42f, 710.48));
    const VM_REAL t = x * VM_LOG2E + shift, n = t - shift;
    const VM_REAL high = x - n * VM_LN2, r = high - n * VM_LN2_LO, c = (high - r) - n * VM_LN2_LO, z = r * r;
    const VM_REAL up = VM(power)(VM(bits)(t));                                             /* 2^(n - 2) */
    const VM_REAL down = VM(power)(2 * VM_BIAS + 4 - VM(bits)(t)) * PICK(0x1p-8f, 0x1p-8); /* 2^(-n - 2), always normal */
    const VM_REAL sum = up + down, difference = up - down; /* each with what its rounding lost */
    const VM_REAL sum_low = down - (sum - up), difference_low = (up - difference) - down;
    const VM_REAL p = PICK(VM_P3(z, 0.166666672f, 0.00833328906f, 0.000199050744f),
                           VM_P5(z, 0.16666666666666677, 0.0083333333333215302, 0.00019841269886402242,
                                 2.7557243910722271e-6, 2.5109147655876058e-8));
    const VM_REAL q = PICK(VM_P3(z, 0.5f, 0.0416662656f, 0.00139463332f),
                           VM_P6(z, 0.5, 0.041666666666666713, 0.0013888888888863753, 2.480158736373811e-5,
                                 2.7557241539015015e-7, 2.0924513419235199e-9));
    const VM_REAL sinh_tail = r * z * p + c, cosh_tail = z * q; /* sinh r - r, cosh r - 1 */
    *sinh_x = (difference + sum * r) + (difference * cosh_tail + (sum * sinh_tail + difference_low));
    *cosh_x = (sum + difference * r) + (sum * cosh_tail + (difference * sinh_tail + sum_low));
}

VM_INLINE VM_REAL VM(sinh)(VM_REAL x)
{
    VM_REAL s, c;
    VM(half_sinh_cosh)(VM_ABS(x), &s, &c);
    return VM_ABS(x) < VM_TINY ? x : VM_COPYSIGN(s + s, x);
}

VM_INLINE VM_REAL VM(cosh)(VM_REAL x)
{
    VM_REAL s, c;
    VM(half_sinh_cosh)(VM_ABS(x), &s, &c);
    return c + c;
}

/* ---- Logarithms: x = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2) -------------------------------------------------- */

/* Bits with k + bias in the place of the exponent, and below it what f is made of. */
VM_INLINE VM_BITS VM(log_split)(VM_REAL x) { return VM(bits)(x) + (((VM_BITS)VM_BIAS << VM_MANTISSA) - VM_SQRT_HALF); }

VM_INLINE VM_REAL VM(log_exponent)(VM_BITS u, VM_REAL offset)
{
    const VM_REAL two = PICK(0x1p23f, 0x1p52);
    return VM(from_bits)((u >> VM_MANTISSA) | VM(bits)(two)) - (two + offset);
}

VM_INLINE VM_REAL VM(log_fraction)(VM_BITS u)
{
    return VM(from_bits)((u & (((VM_BITS)1 << VM_MANTISSA) - 1)) + VM_SQRT_HALF) - 1;
}

/* Positive, normal and finite; x is usual for log1p if 1 + x is for log. */
VM_INLINE bool VM(log_is_usual)(VM_REAL x) { return (x >= VM_SMALLEST) & (x < VM_INF); }

/* x = 2^k (1 + f) with k in *exponent; denormals are scaled up first. */
VM_INLINE VM_REAL VM(log_reduce)(VM_REAL x, bool usual, VM_REAL *exponent)
{
    const VM_REAL up = PICK(0x1p23f, 0x1p52);
    const bool small = !usual && x < VM_SMALLEST;
    const VM_BITS u = VM(log_split)(small ? x * up : x);
    *exponent = VM(log_exponent)(u, small ? (VM_REAL)(VM_BIAS + VM_MANTISSA) : (VM_REAL)VM_BIAS);
    return VM(log_fraction)(u);
}

/* y, but the special values of a logarithm. */
VM_INLINE VM_REAL VM(log_special)(VM_REAL x, VM_REAL y, bool usual)
{
    if (usual) return y;
    y = x > 0 ? y : (x == 0 ? -VM_INF : VM_NAN);
    return x == VM_INF ? x : y;
}

VM_INLINE VM_REAL VM(log)(VM_REAL x, bool usual)
{
    VM_REAL k;
    const VM_REAL f = VM(log_reduce)(x, usual, &k);
    const VM_REAL low = VM(fused)(k, VM_LN2_LO, VM(log_tail)(f));
    return VM(log_special)(x, VM(fused)(k, VM_LN2, f + low), usual);
}

/* f is multiplied by what log2(e) has above 1, and log10(e) above 1/2: the smaller the product, the smaller its error. */
VM_INLINE VM_REAL VM(log2)(VM_REAL x, bool usual)
{
    const VM_REAL log2e_1 = PICK(0.442695041f, 0.44269504088896341);
    VM_REAL k;
    const VM_REAL f = VM(log_reduce)(x, usual, &k);
    const VM_REAL low = VM(fused)(f, log2e_1, VM(log_tail)(f) * VM_LOG2E);
    return VM(log_special)(x, k + (f + low), usual);
}

VM_INLINE VM_REAL VM(log10)(VM_REAL x, bool usual)
{
    const VM_REAL log10e = PICK(0.434294482f, 0.43429448190325183), half = PICK(0.5f, 0.5);
    VM_REAL k;
    const VM_REAL f = VM(log_reduce)(x, usual, &k);
    const VM_REAL low = VM(fused)(VM(log_tail)(f), log10e, VM(fused)(f, log10e - half, k * VM_LOG10_2_LO));
    return VM(log_special)(x, VM(fused)(k, VM_LOG10_2, VM(fused)(f, half, low)), usual);
}

/* log of u = 1 + x, corrected for what rounding u lost: log(u + c) = log(u) + c / u (as in fdlibm); c / u needs few
 * digits, and 1 / (1 + f) is about 1 - f + f^2. For k = 0, f is x itself. */
VM_INLINE VM_REAL VM(log1p)(VM_REAL x, bool usual)
{
    const VM_REAL high = x > 1 ? x : 1, low = x > 1 ? 1 : x, u = high + low, c = low - (u - high);
    const VM_BITS bits = VM(log_split)(u);
    const VM_REAL k = VM(log_exponent)(bits, VM_BIAS), g = VM(log_fraction)(bits);
    const VM_REAL scale = VM(power)(2 * VM_BIAS + 2 - (bits >> VM_MANTISSA)); /* 4 / 2^k: normal for every k */
    const VM_REAL correction = c * scale * PICK(VM_P3(g, 0.25f, -0.25f, 0.25f), VM_P3(g, 0.25, -0.25, 0.25));
    const VM_REAL f = k == 0 ? x : g, d = k == 0 ? 0 : correction;
    VM_REAL y = k * VM_LN2 + (f + (VM(log_tail)(f) + (k * VM_LN2_LO + d)));
    y = VM_COPYSIGN(y, x);
    if (usual) return y;
    y = x > -1 ? y : (x == -1 ? -VM_INF : VM_NAN);
    return x == VM_INF ? x : y;
}

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); the logarithm's argument is in [1, 2]: k is 0 or 1. */
VM_INLINE VM_REAL VM(softplus)(VM_REAL x)
{
    const VM_REAL e = VM(exp_clamped)(-VM(min)(VM_ABS(x), VM_EXP_END)), sqrt2 = PICK(1.41421356f, 1.4142135623730951);
    const VM_REAL k = e > sqrt2 - 1 ? 1 : 0, f = e > sqrt2 - 1 ? (e - 1) * PICK(0.5f, 0.5) : e;
    const VM_REAL y = k * VM_LN2 + (f + (VM(log_tail)(f) + k * VM_LN2_LO));
    return (x > 0 ? x : 0) + y;
}

/* ---- Powers: e^(y log x), the logarithm to some ten bits more than the format has -------------------------------- */

/* a b - c where c is a b rounded, or near it. Without a fused multiply-add the factors are halved: products of halves are
 * exact (Dekker). */
VM_INLINE VM_REAL VM(product_less)(VM_REAL a, VM_REAL b, VM_REAL c)
{
#ifdef FP_FAST_FMA
    return PICK(fmaf, fma)(a, b, -c);
#else
    const VM_REAL a1 = VM(head)(a), a2 = a - a1, b1 = VM(head)(b), b2 = b - b1;
    return (((a1 * b1 - c) + a1 * b2) + a2 * b1) + a2 * b2;
#endif
}

/* log x = the result + *low, for finite x > 0: k log 2 + 2 artanh s, s = f / (2 + f), artanh s = s (1 + z / 3 + z^2 p(z)),
 * z = s^2; u is z / 3 and v is s2 u, each with what it lacks. */
VM_INLINE VM_REAL VM(log_extended)(VM_REAL x, bool usual, VM_REAL *low)
{
    VM_REAL k;
    const VM_REAL f = VM(log_reduce)(x, usual, &k), inverse = 1 / (2 + f), s = f * inverse, s2 = s + s;
    const VM_REAL s2_low = VM(product_less)(-s, f, s2 - f) * (inverse + inverse);
    const VM_REAL z = s * s, z_low = s * s2_low + VM(product_less)(s, s, z);
    const VM_REAL third = PICK(0.333333343f, 0.33333333333333331), u = z * third;
    const VM_REAL p = PICK(VM_P4(z, -1.50487907e-8f, 0.200001672f, 0.142686397f, 0.11791382f),
                           VM_P8(z, -1.0029449435742609e-17, 0.20000000000003132, 0.14285714284540643, 0.11111111323745795,
                                 0.090908878048482786, 0.076935466039857889, 0.066250313225429458, 0.066259179303729099));
    const VM_REAL u_low = z_low * third + (z * p + VM(product_less)(z, third, u));
    const VM_REAL v = s2 * u, v_low = s2_low + (s2_low * u + (s2 * u_low + VM(product_less)(s2, u, v)));
    const VM_REAL k_log2 = k * VM_LN2, sum = k_log2 + s2, sum_low = s2 - (sum - k_log2), all = sum + v;
    *low = k * VM_LN2_LO + ((sum_low + (v - (all - sum))) + v_low);
    return all;
}

/* No special case, and x^y as well as x^(y - 1) far from the ends of the range. */
VM_INLINE bool VM(pow_is_usual)(VM_REAL x, VM_REAL y)
{
    return (x > PICK(0x1p-15f, 0x1p-64)) & (x < PICK(0x1p15f, 0x1p64)) & (VM_ABS(y) < PICK(7, 14));
}

/* x^y, with the special cases of C99's Annex F. */
VM_INLINE VM_REAL VM(pow)(VM_REAL x, VM_REAL y, bool usual)
{
    const VM_REAL a = VM_ABS(x), end = VM_EXP_END, shift = VM_SHIFT + 2 * VM_BIAS;
    VM_REAL low, high = VM(log_extended)(usual ? x : a, usual, &low), q, q_low;
    if (usual) {
        q = y * high, q_low = y * low + VM(product_less)(y, high, q);
    } else {
        const VM_REAL exponent = VM(clamp)(y, PICK(0x1p100f, 0x1p1000)); /* a larger one changes nothing */
        high = a == 0 ? -VM_INF : high;
        high = a < VM_INF ? high : a;
        const VM_REAL p = exponent * high;
        q = VM(clamp)(p, end);
        q_low = VM_ABS(p) < end ? exponent * low + VM(product_less)(exponent, high, p) : 0;
    }
    const VM_REAL t = (q + q_low) * VM_LOG2E + shift, n = t - shift;
    const VM_REAL r = (q - n * VM_LN2) + (q_low - n * VM_LN2_LO), e = 1 + (r + r * r * VM(exp_tail)(r));
    if (usual) return VM(from_bits)(VM(bits)(e) + ((VM(bits)(t) - 2 * VM_BIAS) << VM_MANTISSA));
    const VM_REAL whole = PICK(rintf, rint)(y), even = 2 * PICK(rintf, rint)(y * PICK(0.5f, 0.5));
    const VM_BITS sign = VM(bits)(x) & (VM_BITS)1 << (8 * sizeof x - 1);
    VM_REAL z = VM(from_bits)(VM(bits)(VM(scale)(e, t)) | (whole == y && even != y ? sign : 0));
    z = x < 0 && a < VM_INF && whole != y ? VM_NAN : z;
    return y == 0 || x == 1 ? 1 : z;
}

/* ---- Error function ------------------------------------------------------------------------------------------- */

/* erf(x) - x for |x| <= 1 */
VM_INLINE VM_REAL VM(erf_rest)(VM_REAL x)
{
    const VM_REAL z = x * x;
    return x * PICK(VM_P7(z, 0.128379166f, -0.37612626f, 0.112835854f, -0.0268538129f, 0.00518832821f, -0.000801019778f,
                          7.85387747e-5f),
                    VM_P13(z, 0.12837916709551259, -0.37612638903183748, 0.11283791670954857, -0.026866170645072896,
                           0.0052239776247808784, -0.00085483269787428346, 0.00012055331036919498, -1.4925593507269706e-5,
                           1.6460972821383026e-6, -1.6350025250436359e-7, 1.4657879910627581e-8, -1.136566580151185e-9,
                           5.9452608249146961e-11));
}

/* 1 - e^q(|x|) for |x| >= 1, q near log(erfc); it is 1 beyond the clamp. */
VM_INLINE VM_REAL VM(erf)(VM_REAL x)
{
    const VM_REAL u = VM(min)(VM_ABS(x), PICK(3.95f, 6.0));
    const VM_REAL q = PICK(VM_P7(u, -0.000341587904f, -1.1270889f, -0.638145328f, -0.103106298f, 0.0218378324f,
                                 -0.00294759683f, 0.000186372534f),
                           VM_P17(u, -1.063449701090814e-6, -1.1283687135086262, -0.63666757322914125, -0.10263766414020516,
                                  0.018865409398197742, 0.00058403333854147412, -0.00209874889672684, 0.00091992831555500615,
                                  -0.00023064290859591379, 2.7997578815850074e-5, 3.6106315085871604e-6,
                                  -2.6728319007114807e-6, 6.8771571432876465e-7, -1.082153987363416e-7,
                                  1.0902793042135573e-8, -6.5178187951205236e-10, 1.7703341658623664e-11));
    return VM_COPYSIGN(u < 1 ? u + VM(erf_rest)(u) : -VM(expm1_scaled)(q, 0), x);
}

/* For u = |x| >= 1, e^-u^2 g, g = p(w) / (u + c), w = (u - a) / (u + c). u^2 = head^2 - rest in two parts, head^2 exact,
 * so that the tail keeps its digits down to the denormals; it is 0 beyond the clamp. */
VM_INLINE VM_REAL VM(erfc)(VM_REAL x)
{
    const VM_REAL u = VM(min)(VM_ABS(x), PICK(10.1f, 27.3)), shift = VM_SHIFT + 2 * VM_BIAS;
    const VM_REAL head = VM(head)(u), rest = (head - u) * (head + u);
    const VM_REAL t = -(u * u) * VM_LOG2E + shift, n = t - shift;
    const VM_REAL r = ((-(head * head) - n * VM_LN2) - n * VM_LN2_LO) + rest;
    const VM_REAL v = 1 / (u + PICK(2, 4)), w = (u - PICK(3, 2)) * v;
    const VM_REAL g =
        v * PICK(VM_P8(w, 0.895005763f, -0.464300811f, 0.161938488f, -0.025916582f, -0.00551391346f, 0.00299844122f,
                       0.000291661796f, -0.000305225345f),
                 VM_P19(w, 1.5323740578630345, -2.3122985688625932, 2.8724233667734906, -2.9504466777489915,
                        2.4892876224332561, -1.6891229893865094, 0.87817881340213055, -0.30781222239549533,
                        0.036863287091601145, 0.028694161035930425, -0.015940152543201164, 1.9716502968876382e-5,
                        0.0027540002569035552, -0.0005163802899199061, -0.00047770041685578644, 0.00017940201413951744,
                        8.5937545014259866e-5, -6.9845350335076615e-5, 1.3755790156186056e-5));
    const VM_REAL tail = VM(scale)(g + g * (r + r * r * VM(exp_tail)(r)), t);
    const VM_REAL y = x < 0 ? 2 - tail : tail;
    return VM_ABS(x) < 1 ? (1 - x) - VM(erf_rest)(x) : y;
}

#endif
