/* Activation functions that a formula of ops would compute slowly, or without digits in the tails: vm_gelu_f32(x) and their like.
 *
 * Above: pointwise.c.  Below: vecmath.h, whose rules hold here too: branch-free, any argument, read twice.
 *
 * The largest errors seen for normal values, in ulp: mish 3.4, gelu 6.  Slopes have as many digits but near their zeros.
 */
#if !defined(CORGI_ACTIVATIONS_H)
#define CORGI_ACTIVATIONS_H
#include "vecmath.h"

#define VM_REAL float
#define VM_BITS uint32_t
#define VM(name) vm_##name##_f32
#define PICK(f32, f64) f32
#include "activations.h"
#undef VM_REAL
#undef VM_BITS
#undef VM
#undef PICK

#define VM_REAL double
#define VM_BITS uint64_t
#define VM(name) vm_##name##_f64
#define PICK(f32, f64) f64
#include "activations.h"
#undef VM_REAL
#undef VM_BITS
#undef VM
#undef PICK

#elif defined(VM_REAL)

/* Where a factor that is 0 far out is multiplied by x. */
VM_INLINE VM_REAL VM(bounded)(VM_REAL x) { return VM(clamp)(x, PICK(1e3f, 1e3)); }

/* ---- The normal distribution: no number below is denormal, which would make it a hundred times as slow ------------------ */

#define VM_TAIL PICK(12.9f, 37.4) /* where density and distribution are set to end */

/* e^(-x^2 / 2) / sqrt(2 pi); what rounding the exponent lost is made good, by products of halves, which are exact. */
VM_INLINE VM_REAL VM(normal_density)(VM_REAL x)
{
    const VM_REAL half = PICK(0.5f, 0.5), z = VM(clamp)(x, VM_TAIL);
    const VM_REAL high = VM(head)(z), low = z - high, a = half * (z * z);
    const VM_REAL rest = ((half * (high * high) - a) + high * low) + half * (low * low);
    return PICK(0.398942280f, 0.39894228040143268) * (1 - rest) * VM(exp)(-a);
}

/* erfc(u) / 2, u = -x / sqrt(2). erfc multiplies the relative error of u by 2 u^2, so what rounding u lost is made good, by
 * the slope of log(erfc), which is near -(2 u + 0.15) for u > 1. */
VM_INLINE VM_REAL VM(normal_cdf)(VM_REAL x)
{
    const VM_REAL c_high = PICK(-0x1.6ap-1f, -0x1.6a09e6p-1), c_low = PICK(-7.5531185e-05f, -1.210161710447897e-8);
    const VM_REAL z = VM(clamp)(x, VM_TAIL), high = VM(head)(z), low = z - high;
    const VM_REAL u = z * (c_high + c_low), rest = ((high * c_high - u) + low * c_high) + z * c_low;
    const VM_REAL correction = u > 1 ? rest * (2 * u + PICK(0.15f, 0.15)) : 0;
    return PICK(0.5f, 0.5) * (1 - correction) * VM(erfc)(u);
}

/* x cdf(x); beyond the end, where it is less than 4e-37 in float32, 0, its limit. */
VM_INLINE VM_REAL VM(gelu)(VM_REAL x) { return x < -VM_TAIL ? -(VM_REAL)0 : x * VM(normal_cdf)(x); }

VM_INLINE VM_REAL VM(gelu_slope)(VM_REAL x)
{
    const VM_REAL y = VM(normal_cdf)(x) + VM(clamp)(x, VM_TAIL) * VM(normal_density)(x);
    return x < -VM_TAIL ? 0 : y;
}

#undef VM_TAIL

/* x s(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3), s = sigmoid. */
VM_INLINE VM_REAL VM(gelu_tanh_slope)(VM_REAL x)
{
    const VM_REAL a = PICK(1.59576912f, 1.5957691216057308), b = PICK(0.0713548163f, 0.071354816272600240);
    const VM_REAL z = VM(bounded)(x), u = z * (a + b * z * z), s = VM(sigmoid)(u);
    return s * (1 + VM(sigmoid)(-u) * z * (a + 3 * b * z * z));
}

/* ---- mish: x w, w = tanh(log(1 + e^x)) = (s^2 - 1) / (s^2 + 1), s = 1 + e^x ---------------------------------------- */

/* With e = e^-|x|, w = n / d, n = 1 + 2 e and d = n + 2 e^2 for x >= 0, n = e (e + 2) and d = n + 2 for x < 0;
 * w' = 4 (1 + e) e / d^2, for x >= 0 with another e. */
VM_INLINE VM_REAL VM(mish_parts)(VM_REAL x, VM_REAL *slope)
{
    const VM_REAL e = VM(exp_clamped)(-VM(min)(PICK(fabsf, fabs)(x), PICK(110.0f, 750.0)));
    const VM_REAL n = x < 0 ? e * (e + 2) : 1 + 2 * e, d = n + (x < 0 ? 2 : 2 * e * e), v = 1 / d;
    *slope = (4 * (1 + e)) * ((x < 0 ? e : e * e) * (v * v));
    return n * v;
}

VM_INLINE VM_REAL VM(mish)(VM_REAL x)
{
    VM_REAL slope;
    const VM_REAL low = PICK(-1e3f, -1e3);
    return (x < low ? low : x) * VM(mish_parts)(x, &slope);
}

VM_INLINE VM_REAL VM(mish_slope)(VM_REAL x)
{
    VM_REAL slope;
    const VM_REAL w = VM(mish_parts)(x, &slope);
    return w + VM(bounded)(x) * slope;
}

#endif
