/* First reading of the pointwise table: a forward kernel for each op and dtype, a gradient kernel for each float input.
 *
 * Above: table.c, which puts the two tables below into Kernels.  Below: pointwise.h (the formulas), vecmath.h and vectrig.h (exp,
 * sin ...), activations.h.
 * Kernels see contiguous operands only: runtime/apply.c stages the others through small buffers in cache.
 */
#include "pointwise.h"
#include "activations.h"
#include "kernels.h"
#include "vectrig.h"

#include <math.h>

static inline int64_t integer_power(int64_t base, int64_t exponent) /* exponent >= 0 is checked by the caller */
{
    uint64_t result = 1, factor = (uint64_t)base;
    for (; exponent > 0; exponent >>= 1, factor *= factor)
        if (exponent & 1) result *= factor;
    return (int64_t)result;
}

static inline int64_t integer_floor_divide(int64_t a, int64_t b) /* 0 for b == 0, as NumPy's */
{
    if (b == 0) return 0;
    if (b == -1) return (int64_t)-(uint64_t)a;
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static inline int64_t integer_remainder(int64_t a, int64_t b)
{
    if (b == 0 || b == -1) return 0;
    int64_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* a - n b with n = a / b without its fraction, exact.  For a usual quotient the rounding of a / b makes n at most one too
 * large, which the sign of the remainder tells; the fused product has no rounding. Without one the C library has to do it. */
#ifdef FP_FAST_FMA
#define HAVE_FMA true
#else
#define HAVE_FMA false
#endif
#define DEFINE_FMOD(T, suffix, fmod, fma, trunc, fabs, copysign, inf, limit)                                                \
    VM_INLINE bool quotient_is_usual_##suffix(T a, T b) { return (fabs(b) < inf) & (fabs(a) < limit * fabs(b)); }           \
    VM_INLINE T fmod_##suffix(T a, T b, bool usual)                                                                         \
    {                                                                                                                       \
        if (!usual || !HAVE_FMA) return fmod(a, b);                                                                         \
        const T r = fma(-trunc(a / b), b, a);                                                                               \
        return (r < 0) != (a < 0) && r != 0 ? r + copysign(b, a) : r;                                                       \
    }
DEFINE_FMOD(float, f32, fmodf, fmaf, truncf, fabsf, copysignf, INFINITY, 0x1p22f)
DEFINE_FMOD(double, f64, fmod, fma, trunc, fabs, copysign, (double)INFINITY, 0x1p51)

/* Python's (and NumPy's) division with remainder: the remainder has the divisor's sign, also when it is zero. */
#define DEFINE_DIVISION(T, suffix, floor, copysign)                                                                         \
    VM_INLINE T remainder_##suffix(T a, T b, bool usual)                                                                    \
    {                                                                                                                       \
        const T r = fmod_##suffix(a, b, usual), other = r + b;                                                              \
        return r == 0 ? copysign((T)0, b) : (r < 0) != (b < 0) ? other : r;                                                 \
    }                                                                                                                       \
    VM_INLINE T floor_divide_##suffix(T a, T b, bool usual)                                                                 \
    {                                                                                                                       \
        const T r = fmod_##suffix(a, b, usual), q = (a - r) / b;                                                            \
        const T below = r != 0 && (r < 0) != (b < 0) ? q - 1 : q, whole = floor(below);                                     \
        const T rounded = below - whole > (T)0.5 ? whole + 1 : whole;                                                       \
        return b == 0 || below == 0 ? (b == 0 ? a / b : copysign((T)0, a / b)) : rounded;                                   \
    }
DEFINE_DIVISION(float, f32, floorf, copysignf)
DEFINE_DIVISION(double, f64, floor, copysign)

#define DEFINE_LOGADDEXP(T, suffix, fabs)                                                                                   \
    static inline T logaddexp_##suffix(T a, T b)                                                                            \
    {                                                                                                                       \
        T larger = a > b ? a : b, gap = fabs(a - b);                                                                        \
        T sum = larger + vm_log1p_##suffix(vm_exp_##suffix(-gap), true);                                                    \
        return a == b ? a + (T)0.69314718055994530942 : a != a ? a : b != b ? b : sum;                                      \
    }
DEFINE_LOGADDEXP(float, f32, fabsf)
DEFINE_LOGADDEXP(double, f64, fabs)

#define JOIN2(a, b) a##_##b
#define JOIN(a, b) JOIN2(a, b)
#define FN(name) JOIN(name, SUFFIX)

/* No element of a loop's result is one that other elements are computed from; its own place may be (chain.c adds so). Told this,
 * the compiler leaves out its tests for overlaps, and the loops for when there are any, a quarter of a megabyte. */
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* Some functions are faster for usual arguments (is_usual below): each block is looked through first. For other ops there is
 * one block, whose arguments may be anything, and the compiler drops the rest. */
#define EACH(op, x0, x1, ...)                                                                                               \
    const isize block = HAS_UNUSUAL(op) ? 512 : n;                                                                          \
    for (isize start = 0; start < n; start += block) {                                                                      \
        const isize end = n - start < block ? n : start + block;                                                            \
        FN(flags) unusual = 0;                                                                                              \
        for (isize i = start; i < end; i++) unusual |= UNUSUAL(op, x0[i], x1[i]);                                           \
        if (!unusual) {                                                                                                     \
            EACH_OF_BLOCK(HAS_UNUSUAL(op), __VA_ARGS__)                                                                     \
        } else {                                                                                                            \
            EACH_OF_BLOCK(false, __VA_ARGS__)                                                                               \
        }                                                                                                                   \
    }
#define EACH_OF_BLOCK(as_usual, ...)                                                                                        \
    INDEPENDENT for (isize i = start; i < end; i++)                                                                         \
    {                                                                                                                       \
        const bool usual = as_usual;                                                                                        \
        (void)usual;                                                                                                        \
        __VA_ARGS__                                                                                                         \
    }

/* Operands that a formula does not name are dropped by the compiler. */
#define UNARY_FORWARD(name, R, f)                                                                                           \
    static void FN(name##_forward)(isize n, char *const *args)                                                              \
    {                                                                                                                       \
        const T *restrict px = (const T *)args[0];                                                                          \
        R *restrict out = (R *)args[1];                                                                                     \
        EACH(OP_##name, px, px, {                                                                                           \
            const T x = px[i];                                                                                              \
            out[i] = (R)(f);                                                                                                \
        })                                                                                                                  \
    }
#define UNARY_KERNELS(name, domain, sentence, f, dx)                                                                        \
    UNARY_FORWARD(name, T, f)                                                                                               \
    static void FN(name##_vjp)(isize n, char *const *args)                                                                  \
    {                                                                                                                       \
        const T *restrict pg = (const T *)args[0], *restrict px = (const T *)args[1], *restrict py = (const T *)args[2];    \
        T *restrict out = (T *)args[3];                                                                                     \
        EACH(OP_##name, px, px, {                                                                                           \
            const T g = pg[i], x = px[i], y = py[i];                                                                        \
            (void)x, (void)y;                                                                                               \
            out[i] = (T)(dx);                                                                                               \
        })                                                                                                                  \
    }

#define BINARY_VJP(op, name, d)                                                                                             \
    static void FN(name)(isize n, char *const *args)                                                                        \
    {                                                                                                                       \
        const T *restrict pg = (const T *)args[0], *restrict px0 = (const T *)args[1], *restrict px1 = (const T *)args[2];  \
        const T *restrict py = (const T *)args[3];                                                                          \
        T *restrict out = (T *)args[4];                                                                                     \
        EACH(op, px0, px1, {                                                                                                \
            const T g = pg[i], x0 = px0[i], x1 = px1[i], y = py[i];                                                         \
            (void)g, (void)x0, (void)x1, (void)y;                                                                           \
            out[i] = (T)(d);                                                                                                \
        })                                                                                                                  \
    }
#define BINARY_FORWARD(name, R, f)                                                                                          \
    static void FN(name##_forward)(isize n, char *const *args)                                                              \
    {                                                                                                                       \
        const T *px0 = (const T *)args[0], *px1 = (const T *)args[1];                                                       \
        R *out = (R *)args[2];                                                                                              \
        EACH(OP_##name, px0, px1, {                                                                                         \
            const T x0 = px0[i], x1 = px1[i];                                                                               \
            out[i] = (R)(f);                                                                                                \
        })                                                                                                                  \
    }
#define BINARY_KERNELS(name, domain, sentence, f, dx0, dx1)                                                                 \
    BINARY_FORWARD(name, T, f)                                                                                              \
    BINARY_VJP(OP_##name, name##_vjp0, dx0)                                                                                 \
    BINARY_VJP(OP_##name, name##_vjp1, dx1)

#define TERNARY_VJP(name, d)                                                                                                \
    static void FN(name)(isize n, char *const *args)                                                                        \
    {                                                                                                                       \
        const T *restrict pg = (const T *)args[0], *restrict px0 = (const T *)args[1], *restrict px1 = (const T *)args[2];  \
        const T *restrict px2 = (const T *)args[3], *restrict py = (const T *)args[4];                                      \
        T *restrict out = (T *)args[5];                                                                                     \
        for (isize i = 0; i < n; i++) {                                                                                     \
            const T g = pg[i], x0 = px0[i], x1 = px1[i], x2 = px2[i], y = py[i];                                            \
            (void)g, (void)x0, (void)x1, (void)x2, (void)y;                                                                 \
            out[i] = (T)(d);                                                                                                \
        }                                                                                                                   \
    }
#define TERNARY_FORWARD(name, R, f)                                                                                         \
    static void FN(name##_forward)(isize n, char *const *args)                                                              \
    {                                                                                                                       \
        const T *restrict px0 = (const T *)args[0], *restrict px1 = (const T *)args[1], *restrict px2 = (const T *)args[2]; \
        R *restrict out = (R *)args[3];                                                                                     \
        for (isize i = 0; i < n; i++) {                                                                                     \
            const T x0 = px0[i], x1 = px1[i], x2 = px2[i];                                                                  \
            out[i] = (R)(f);                                                                                                \
        }                                                                                                                   \
    }
#define TERNARY_KERNELS(name, domain, sentence, f, dx0, dx1, dx2)                                                           \
    TERNARY_FORWARD(name, T, f)                                                                                             \
    TERNARY_VJP(name##_vjp0, dx0)                                                                                           \
    TERNARY_VJP(name##_vjp1, dx1)                                                                                           \
    TERNARY_VJP(name##_vjp2, dx2)

#define COMPARE_KERNELS(name, symbol, sentence, f) BINARY_FORWARD(name, uint8_t, f)
#define LOGIC_KERNELS(name, sentence, f) BINARY_FORWARD(name, uint8_t, f)
#define INTEGER1_KERNELS(name, f) UNARY_FORWARD(name, int64_t, f)
#define INTEGER2_KERNELS(name, f) BINARY_FORWARD(name, int64_t, f)
#define INTEGER3_KERNELS(name, f) TERNARY_FORWARD(name, int64_t, f)
#define PREDICATE_KERNELS(name, sentence, f) UNARY_FORWARD(name, uint8_t, f)

#define HAS_UNUSUAL(op) false
#define UNUSUAL(op, x0, x1) 0
typedef uint8_t flags_b8; /* as wide as the elements */
typedef uint64_t flags_i64, flags_f64;
typedef uint32_t flags_f32;

#define T uint8_t
#define SUFFIX b8
POINTWISE_COMPARE(COMPARE_KERNELS)
POINTWISE_LOGIC(LOGIC_KERNELS)
#undef T
#undef SUFFIX

#define T int64_t
#define SUFFIX i64
POINTWISE_INTEGER1(INTEGER1_KERNELS)
POINTWISE_INTEGER2(INTEGER2_KERNELS)
POINTWISE_INTEGER3(INTEGER3_KERNELS)
POINTWISE_COMPARE(COMPARE_KERNELS)
#undef T
#undef SUFFIX

#undef HAS_UNUSUAL
#undef UNUSUAL
#define HAS_UNUSUAL(op) (usual_kind(op) != ANY)
#define UNUSUAL(op, x0, x1) !FN(is_usual)(op, x0, x1)
enum { ANY, ANGLE, POSITIVE, ABOVE_MINUS_ONE, PROBABILITY, POWER, QUOTIENT };
VM_INLINE int usual_kind(int op)
{
    return op == OP_sin || op == OP_cos || op == OP_tan                ? ANGLE
           : op == OP_log || op == OP_log2 || op == OP_log10           ? POSITIVE
           : op == OP_log1p                                            ? ABOVE_MINUS_ONE
           : op == OP_log_loss                                         ? PROBABILITY
           : op == OP_power                                            ? POWER
           : (op == OP_floor_divide || op == OP_remainder) && HAVE_FMA ? QUOTIENT
                                                                       : ANY;
}
#define DEFINE_IS_USUAL(T, suffix)                                                                                          \
    VM_INLINE bool is_usual_##suffix(int op, T x0, T x1)                                                                    \
    {                                                                                                                       \
        const int kind = usual_kind(op);                                                                                    \
        return kind == ANGLE             ? vm_angle_is_usual_##suffix(x0)                                                   \
               : kind == POSITIVE        ? vm_log_is_usual_##suffix(x0)                                                     \
               : kind == ABOVE_MINUS_ONE ? vm_log_is_usual_##suffix(1 + x0)                                                 \
               : kind == PROBABILITY     ? vm_log_is_usual_##suffix(x0) & vm_log_is_usual_##suffix(1 - x0)                  \
               : kind == POWER           ? vm_pow_is_usual_##suffix(x0, x1)                                                 \
               : kind == QUOTIENT        ? quotient_is_usual_##suffix(x0, x1)                                               \
                                         : true;                                                                            \
    }
DEFINE_IS_USUAL(float, f32)
DEFINE_IS_USUAL(double, f64)

/* How the formulas' names are read for float32 and float64. */
#define where(condition, a, b) ((condition) ? (a) : (b))
#define C(constant) ((T)(constant))
#define sign(x) where((x) > 0, C(1), where((x) < 0, C(-1), x))
#define maximum(a, b) where((a) > (b), (a), where((b) >= (a), (b), (a) + (b)))
#define minimum(a, b) where((a) < (b), (a), where((b) <= (a), (b), (a) + (b)))
#define exp(x) FN(vm_exp)(x)
#define expm1(x) FN(vm_expm1)(x)
#define log(x) FN(vm_log)(x, usual)
#define log1p(x) FN(vm_log1p)(x, usual)
#define log2(x) FN(vm_log2)(x, usual)
#define log10(x) FN(vm_log10)(x, usual)
#define sin(x) FN(vm_sin)(x, usual)
#define cos(x) FN(vm_cos)(x, usual)
#define tan(x) FN(vm_tan)(x, usual)
#define arcsin(x) FN(vm_arcsin)(x)
#define arccos(x) FN(vm_arccos)(x)
#define arctan(x) FN(vm_arctan)(x)
#define arctan2(a, b) FN(vm_arctan2)(a, b)
#define power(a, b) FN(vm_pow)(a, b, usual)
#define sinh(x) FN(vm_sinh)(x)
#define cosh(x) FN(vm_cosh)(x)
#define tanh(x) FN(vm_tanh)(x)
#define erf(x) FN(vm_erf)(x)
#define erfc(x) FN(vm_erfc)(x)
#define sigmoid(x) FN(vm_sigmoid)(x)
#define softplus(x) FN(vm_softplus)(x)
#define gelu(x) FN(vm_gelu)(x)
#define bounded(x) FN(vm_bounded)(x)
#define gelu_tanh_slope(x) FN(vm_gelu_tanh_slope)(x)
#define gelu_slope(x) FN(vm_gelu_slope)(x)
#define mish(x) FN(vm_mish)(x)
#define mish_slope(x) FN(vm_mish_slope)(x)
#define logaddexp(a, b) FN(logaddexp)(a, b)
#define floor_divide(a, b) FN(floor_divide)(a, b, usual)
#define remainder(a, b) FN(remainder)(a, b, usual)
#define FLOAT_KERNELS                                                                                                       \
    POINTWISE_ROWS(UNARY_KERNELS, BINARY_KERNELS, TERNARY_KERNELS, COMPARE_KERNELS, IGNORE, PREDICATE_KERNELS)
#define IGNORE(...)

#define T float
#define SUFFIX f32
#define absolute(x) fabsf(x)
#define sqrt(x) sqrtf(x)
#define floor(x) floorf(x)
#define ceil(x) ceilf(x)
#define rint(x) rintf(x)
FLOAT_KERNELS
#undef T
#undef SUFFIX
#undef absolute
#undef sqrt
#undef floor
#undef ceil
#undef rint

#define T double
#define SUFFIX f64
#define absolute(x) fabs(x)
FLOAT_KERNELS

#define FLOAT_ROW(name, ...) [OP_##name] = {[FLOAT32] = name##_forward_f32, [FLOAT64] = name##_forward_f64},
#define COMPARE_ROW(name, ...) [OP_##name] = {name##_forward_b8, name##_forward_i64, name##_forward_f32, name##_forward_f64},
#define LOGIC_ROW(name, ...) [OP_##name] = {[BOOL] = name##_forward_b8},
#define INTEGER_ROW(name, f) [OP_##name][INT64] = name##_forward_i64,

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init" /* integer kernels are added to rows that stand already */
const pointwise_fn KERNEL(pointwise_forward)[N_POINTWISE][N_DTYPES] = {
    POINTWISE_ROWS(FLOAT_ROW, FLOAT_ROW, FLOAT_ROW, COMPARE_ROW, LOGIC_ROW, FLOAT_ROW) POINTWISE_INTEGER1(INTEGER_ROW)
        POINTWISE_INTEGER2(INTEGER_ROW) POINTWISE_INTEGER3(INTEGER_ROW)};
#pragma GCC diagnostic pop

#define UNARY_VJPS(name, ...) [OP_##name] = {{[FLOAT32] = name##_vjp_f32, [FLOAT64] = name##_vjp_f64}},
#define BINARY_VJPS(name, ...)                                                                                              \
    [OP_##name] = {{[FLOAT32] = name##_vjp0_f32, [FLOAT64] = name##_vjp0_f64},                                              \
                   {[FLOAT32] = name##_vjp1_f32, [FLOAT64] = name##_vjp1_f64}},
#define TERNARY_VJPS(name, ...)                                                                                             \
    [OP_##name] = {{[FLOAT32] = name##_vjp0_f32, [FLOAT64] = name##_vjp0_f64},                                              \
                   {[FLOAT32] = name##_vjp1_f32, [FLOAT64] = name##_vjp1_f64},                                              \
                   {[FLOAT32] = name##_vjp2_f32, [FLOAT64] = name##_vjp2_f64}},
const pointwise_fn KERNEL(pointwise_vjp)[N_POINTWISE][3][N_DTYPES] = {
    POINTWISE_ROWS(UNARY_VJPS, BINARY_VJPS, TERNARY_VJPS, IGNORE, IGNORE, IGNORE)};
