/* Circular functions that the compiler vectorizes: vm_sin_f32(x), vm_arctan2_f64(y, x) and their like.
 *
 * Above: pointwise.c.  Below: vecmath.h, whose rules hold here too: branch-free, any argument, written once and read twice.
 *
 * One exception: for |x| >= VM_FAR sin, cos and tan need other digits of pi for every exponent, and that is scalar code, for
 * arguments that are not `usual`.
 *
 * The largest errors seen, in ulp, float32 and float64, with and without fused multiply-add: arccos 1.2, arctan 1.4, sin, cos,
 * arctan2 1.5, tan 1.7, arcsin 2.1.
 */
#if !defined(CORGI_VECTRIG_H)
#define CORGI_VECTRIG_H
#include "vecmath.h"

#include <stdbool.h>

#define VM_FAR 1048576 /* 2^20 */

/* pi in parts whose products with n / 2, n < 2^20, are exact (Cody and Waite); the last is what remains. */
#define VM_PI_1 0x1.921fb544p+1
#define VM_PI_2 0x1.0b4611a6p-33
#define VM_PI_3 0x1.3198a2ep-68
#define VM_PI_4 0x1.b839a252049c1p-103
#define VM_PI_2_REST 0x1.0b4611a626331p-33

/* x - n pi, for x < VM_FAR and n a multiple of 1/2; *low is what rounding lost. A difference that is small is exact, so
 * that the result is right also near the zeros of sine and cosine. */
VM_INLINE double vm_less_pi_f64(double x, double n, double *low)
{
    const double a = x - n * VM_PI_1, b = a - n * VM_PI_2, r = b - n * VM_PI_3;
    *low = ((a - b) - n * VM_PI_2) + (((b - r) - n * VM_PI_3) - n * VM_PI_4);
    return r;
}

/* In float32 with fused multiply-add, which makes a exact; or else by way of float64. */
VM_INLINE float vm_less_pi_f32(float x, float n, float *low)
{
#ifdef FP_FAST_FMAF
    const float pi_1 = 0x1.921fb4p+1f, pi_2 = 0x1.4442dp-23f, pi_3 = 0x1.84698ap-47f;
    const float a = fmaf(-n, pi_1, x), b = n * pi_2, b_low = fmaf(n, pi_2, -b), r = a - b;
    *low = ((a - r) - b) - fmaf(n, pi_3, b_low);
    return r;
#else
    const double r = ((double)x - (double)n * VM_PI_1) - (double)n * VM_PI_2_REST;
    *low = (float)(r - (double)(float)r);
    return (float)r;
#endif
}

/* |x| = n pi / 2 + r + low for VM_FAR <= |x| (Payne and Hanek): x = m 2^e, and of the binary digits of 2 / pi only 192 matter,
 * since those before give whole turns. */
static double vm_far_turns_f64(double x, double *low, uint64_t *n)
{
    static const uint64_t digits[] = {
        /* of 2 / pi, after 64 zeros */
        0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
        0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484, 0xe99c7026b45f7e41,
        0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7,
        0x4f463f669e5fea2d, 0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
    };
    const uint64_t u = vm_bits_f64(x), m = (u & 0xfffffffffffff) | 0x10000000000000;
    const int start = (int)(u >> 52 & 0x7ff) - 1023 - 52 + 62, word = start / 64, bit = start % 64;
    uint64_t w[3];
    for (int k = 0; k < 3; k++) w[k] = digits[word + k] << bit | digits[word + k + 1] >> 1 >> (63 - bit);
    /* quarter turns: two bits before the point, 126 after it */
    const unsigned __int128 turned =
        ((unsigned __int128)(m * w[0]) << 64) + (unsigned __int128)m * w[1] + ((unsigned __int128)m * w[2] >> 64);
    *n = (uint64_t)((turned + ((unsigned __int128)1 << 125)) >> 126);
    const __int128 rest = (__int128)(turned << 2) >> 1; /* of a quarter turn, times 2^127 */
    const int64_t whole = (int64_t)(rest >> 64);
    const double high = (double)whole, other = (double)(whole - (int64_t)high) + (double)(uint64_t)rest * 0x1p-64;
    const double scale = 0x1.921fb54442d18p-63, r = high * scale; /* pi / 2 */
    *low = fma(high, scale, -r) + (high * 0x1.1a62633145c07p-117 + other * scale);
    return x - x == 0 ? r : (double)NAN; /* infinity has no remainder */
}

static inline float vm_far_turns_f32(float x, float *low, uint32_t *n)
{
    double low64;
    uint64_t n64;
    const double high = vm_far_turns_f64((double)x, &low64, &n64), r = high + low64;
    *low = (float)(r - (double)(float)r);
    *n = (uint32_t)n64;
    return (float)r;
}

#define VM_REAL float
#define VM_BITS uint32_t
#define VM(name) vm_##name##_f32
#define PICK(f32, f64) f32
#include "vectrig.h"
#undef VM_REAL
#undef VM_BITS
#undef VM
#undef PICK

#define VM_REAL double
#define VM_BITS uint64_t
#define VM(name) vm_##name##_f64
#define PICK(f32, f64) f64
#include "vectrig.h"
#undef VM_REAL
#undef VM_BITS
#undef VM
#undef PICK

#elif defined(VM_REAL)

#define VM_WIDTH PICK(32, 64)
#define VM_SIGN ((VM_BITS)1 << (VM_WIDTH - 1))
#define VM_2_PI PICK(0.636619747f, 0.63661977236758138)

/* y with its sign changed by the highest bit of u. */
VM_INLINE VM_REAL VM(flip)(VM_REAL y, VM_BITS u) { return VM(from_bits)(VM(bits)(y) ^ (u & VM_SIGN)); }

/* ---- Sine, cosine, tangent: |x| = n pi / 2 + r, |r| <= pi / 4 --------------------------------------------------- */

/* Of r + low. */
VM_INLINE void VM(sin_cos)(VM_REAL r, VM_REAL low, VM_REAL *sine, VM_REAL *cosine)
{
    const VM_REAL z = r * r;
    const VM_REAL p = PICK(VM_P4(z, -0.166666672f, 0.00833332632f, -0.000198384543f, 2.71065051e-6f),
                           VM_P6(z, -0.1666666666666663, 0.0083333333333219604, -0.00019841269829457743,
                                 2.7557313574113089e-6, -2.5050740131714136e-8, 1.5895775183397465e-10));
    const VM_REAL q = PICK(VM_P4(z, -0.5f, 0.041666586f, -0.00138856948f, 2.4299261e-5f),
                           VM_P7(z, -0.5, 0.041666666666666463, -0.0013888888888861615, 2.4801587283895009e-5,
                                 -2.7557313065183478e-7, 2.0875575465072681e-9, -1.1352949507840266e-11));
    *sine = r + (r * (z * p) + low);
    *cosine = 1 + (z * q - r * low);
}

VM_INLINE bool VM(angle_is_usual)(VM_REAL x) { return !(VM_ABS(x) >= VM_FAR); }

/* |x| = n pi / 2 + r + low; the lowest bits of *n are n. */
VM_INLINE VM_REAL VM(quarter_turns)(VM_REAL x, bool usual, VM_REAL *low, VM_BITS *n)
{
    if (!usual && !VM(angle_is_usual)(x)) return VM(far_turns)(x, low, n);
    const VM_REAL a = VM_ABS(x), t = a * VM_2_PI + VM_SHIFT;
    *n = VM(bits)(t);
    return VM(less_pi)(a, (t - VM_SHIFT) * PICK(0.5f, 0.5), low);
}

VM_INLINE VM_REAL VM(sin)(VM_REAL x, bool usual)
{
    VM_REAL low, s, c;
    VM_BITS n;
    const VM_REAL r = VM(quarter_turns)(x, usual, &low, &n);
    VM(sin_cos)(r, low, &s, &c);
    return VM(flip)(n & 1 ? c : s, n << (VM_WIDTH - 2) ^ VM(bits)(x));
}

VM_INLINE VM_REAL VM(cos)(VM_REAL x, bool usual)
{
    VM_REAL low, s, c;
    VM_BITS n;
    const VM_REAL r = VM(quarter_turns)(x, usual, &low, &n);
    VM(sin_cos)(r, low, &s, &c);
    return VM(flip)(n & 1 ? s : c, (n + 1) << (VM_WIDTH - 2));
}

/* tan r, or -1 / tan r for odd n; e is what rounding tan r lost. */
VM_INLINE VM_REAL VM(tan)(VM_REAL x, bool usual)
{
    VM_REAL low;
    VM_BITS n;
    const VM_REAL r = VM(quarter_turns)(x, usual, &low, &n), z = r * r;
    const VM_REAL p = PICK(
        VM_P7(z, 0.333334088f, 0.133307725f, 0.0542590879f, 0.0203261022f, 0.0131403245f, -0.00262870523f, 0.00562497368f),
        VM_P14(z, 0.33333333333332754, 0.13333333333417813, 0.053968253925143581, 0.021869489645552933,
               0.0088632186490550068, 0.0035922937304392879, 0.0014547296791286883, 0.00059518392569593028,
               0.00022202778631548356, 0.00013725217234438611, -2.7412686087145651e-5, 9.0397982483411395e-5,
               -4.5388281858327286e-5, 2.098662459629098e-5));
    const VM_REAL rest = r * (z * p) + (low + z * low), t = r + rest, e = (r - t) + rest, y = 1 / t;
    return VM(flip)(n & 1 ? y - y * (y * e) : t, n << (VM_WIDTH - 1) ^ VM(bits)(x));
}

/* ---- Inverse functions ---------------------------------------------------------------------------------------- */

/* The high part ends in zeros: its products with 1, 2, 3 and 4 are exact. */
#define VM_QUARTER_PI PICK(0x1.921fbp-1f, 0x1.921fb54442d18p-1)
#define VM_QUARTER_PI_LO PICK(1.56958239e-07f, 3.0616169978683829e-17)

/* The angle of the point (x, y), x, y >= 0, or the angle from there on to pi if `back` has its highest bit set: k pi / 4 +-
 * arctan v, where v is y / x, (y - x) / (y + x) or x / y, |v| <= 1/2. */
VM_INLINE VM_REAL VM(angle)(VM_REAL y, VM_REAL x, VM_BITS back)
{
    const VM_REAL small = y > x ? x : y, large = y > x ? y : x;
    const VM_REAL v = (small + small >= large ? small - large : small) / (small + small >= large ? small + large : large);
    const VM_REAL z = v * v, k0 = small + small >= large ? 1 : 0, k1 = y > x ? 2 - k0 : k0, k = back & VM_SIGN ? 4 - k1 : k1;
    const VM_REAL w = VM(flip)(v, back ^ VM(bits)(x - y));
    const VM_REAL tail =
        w * (z * PICK(VM_P5(z, -0.33333233f, 0.199942276f, -0.141750127f, 0.101600237f, -0.0513260774f),
                      VM_P12(z, -0.33333333333332982, 0.1999999999990317, -0.14285714276390407, 0.11111110659809025,
                             -0.09090896248590484, 0.076920739670244292, -0.066638111244340589, 0.058583020756362729,
                             -0.0512201880816536, 0.041865383780765986, -0.027435462382985904, 0.010117185790288192)));
    return k * VM_QUARTER_PI + (w + (tail + k * VM_QUARTER_PI_LO));
}

VM_INLINE VM_REAL VM(arctan)(VM_REAL x) { return VM_COPYSIGN(VM(angle)(VM_ABS(x), 1, 0), x); }

/* Large arguments are scaled down, since their sum could overflow. Equal ones, be they zero or infinite, become 0 or 1
 * and 1. */
VM_INLINE VM_REAL VM(arctan2)(VM_REAL y, VM_REAL x)
{
    const VM_REAL a = VM_ABS(y), b = VM_ABS(x), scale = a + b > PICK(0x1p120f, 0x1p1000) ? PICK(0.25f, 0.25) : 1;
    const VM_REAL one = a > 0 ? 1 : 0;
    return VM_COPYSIGN(VM(angle)(a == b ? one : a * scale, a == b ? 1 : b * scale, VM(bits)(x)), y);
}

/* arcsin x = x + x z p(z), z = x^2, for |x| <= 1/2; above, pi / 2 - 2 arcsin s, s^2 = (1 - |x|) / 2. */
VM_INLINE VM_REAL VM(arcsin_tail)(VM_REAL s, VM_REAL z)
{
    return s * (z * PICK(VM_P5(z, 0.166667521f, 0.0749529824f, 0.045470342f, 0.024179684f, 0.042166017f),
                         VM_P12(z, 0.16666666666665408, 0.075000000003370412, 0.044642856828308042, 0.030381959137705278,
                                0.022371758034917175, 0.017359704967370531, 0.013885233718172551, 0.012169221560461255,
                                0.0065279381295799853, 0.019528353663486125, -0.016224374406473341, 0.031912343305400229)));
}

VM_INLINE VM_REAL VM(arcsin)(VM_REAL x)
{
    const VM_REAL a = VM_ABS(x), half = PICK(0.5f, 0.5);
    const VM_REAL z = a > half ? (1 - a) * half : a * a, s = a > half ? PICK(sqrtf, sqrt)(z) : a;
    const VM_REAL tail = VM(arcsin_tail)(s, z);
    const VM_REAL large = (2 * VM_QUARTER_PI - 2 * s) + (2 * VM_QUARTER_PI_LO - 2 * tail);
    return VM_COPYSIGN(a > half ? large : s + tail, x);
}

VM_INLINE VM_REAL VM(arccos)(VM_REAL x)
{
    const VM_REAL a = VM_ABS(x), half = PICK(0.5f, 0.5);
    const VM_REAL z = a > half ? (1 - a) * half : a * a, s = a > half ? PICK(sqrtf, sqrt)(z) : a;
    const VM_REAL tail = VM(arcsin_tail)(s, z);
    const VM_REAL end = x < 0 ? 4 : 0, k = a > half ? end : 2, two = a > half ? 2 : -1, factor = x < 0 ? -two : two;
    return (k * VM_QUARTER_PI + factor * s) + (k * VM_QUARTER_PI_LO + factor * tail);
}

#endif
