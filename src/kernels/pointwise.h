/* THE TABLE of pointwise ops: one row each, read twice.
 *
 * First reading: pointwise.c compiles the formulas to forward and gradient kernels for every dtype and level.  Second
 * reading: src/pointwise.pxi compiles the very same text of a gradient to a function of Arrays, which runs when gradients of
 * gradients are wanted.  Names, docs, type stubs, generated tests and the benchmark list come from here as well: to add an op is
 * to add a row (and an oracle in tests/ops.py where NumPy has none).
 *
 *   UNARY(name, domain, sentence, f(x), dx)                    dx in terms of g (cotangent), x (input), y (output)
 *   BINARY(name, domain, sentence, f(x0, x1), dx0, dx1)        ... of g, x0, x1, y
 *   TERNARY(name, domain, sentence, f(x0, x1, x2), dx0, dx1, dx2)
 *   COMPARE(name, symbol, sentence, f(x0, x1))                 result is bool; any dtype
 *   LOGIC(name, sentence, f(x0, x1))                           bool to bool
 *   PREDICATE(name, sentence, f(x))                            float to bool
 *   INTEGER1(name, f(x)), INTEGER2, INTEGER3                   int64 kernels of ops that have one
 *
 * What is saved for the backward pass follows from the names in dx: tanh saves y, log saves x, add nothing.  Formulas use
 * + - * /, comparisons, where(condition, a, b), C(constant), names of ops and of the helpers below; no ?: and no &&, which Python
 * cannot read.  In a branch that is not taken nothing may overflow: its gradient would be 0 * inf.
 * Domain: where the tests draw samples from, and what the docs say.
 */
#pragma once

// clang-format off
#define POINTWISE_UNARY(UNARY)                                                                                                        \
    UNARY(negative, "(-inf, inf)", "Negation, ``-x``.", -x, -g)                                                                       \
    UNARY(absolute, "(-inf, inf)", "Absolute value; the derivative at 0 is 0.", absolute(x), g * sign(x))                             \
    UNARY(sign, "(-inf, inf)", "Sign: -1, 0 or 1; its derivative is 0.", where(x > 0, 1, where(x < 0, -1, x)), 0 * g)                 \
    UNARY(square, "(-inf, inf)", "Square, ``x * x``.", x * x, 2 * g * x)                                                              \
    UNARY(reciprocal, "(-inf, inf)", "Reciprocal, ``1 / x``.", 1 / x, -g * y * y)                                                     \
    UNARY(sqrt, "[0, inf)", "Square root.", sqrt(x), g / (2 * y))                                                                     \
    UNARY(exp, "(-inf, inf)", "Exponential.", exp(x), g * y)                                                                          \
    UNARY(expm1, "(-inf, inf)", "``exp(x) - 1``, accurate near 0.", expm1(x), g * (y + 1))                                            \
    UNARY(log, "(0, inf)", "Natural logarithm.", log(x), g / x)                                                                       \
    UNARY(log1p, "(-1, inf)", "``log(1 + x)``, accurate near 0.", log1p(x), g / (1 + x))                                              \
    UNARY(log2, "(0, inf)", "Logarithm to base 2.", log2(x), g / (x * C(0.69314718055994530942)))                                     \
    UNARY(log10, "(0, inf)", "Logarithm to base 10.", log10(x), g / (x * C(2.3025850929940456840)))                                   \
    UNARY(sin, "(-inf, inf)", "Sine of an angle in radians.", sin(x), g * cos(x))                                                     \
    UNARY(cos, "(-inf, inf)", "Cosine of an angle in radians.", cos(x), -g * sin(x))                                                  \
    UNARY(tan, "(-inf, inf)", "Tangent of an angle in radians.", tan(x), g * (1 + y * y))                                             \
    UNARY(arcsin, "(-1, 1)", "Inverse sine, in radians.", arcsin(x), g / sqrt((1 - x) * (1 + x)))                                     \
    UNARY(arccos, "(-1, 1)", "Inverse cosine, in radians.", arccos(x), -g / sqrt((1 - x) * (1 + x)))                                  \
    UNARY(arctan, "(-inf, inf)", "Inverse tangent, in radians.", arctan(x), g / (1 + x * x))                                          \
    UNARY(sinh, "(-inf, inf)", "Hyperbolic sine.", sinh(x), g * cosh(x))                                                              \
    UNARY(cosh, "(-inf, inf)", "Hyperbolic cosine.", cosh(x), g * sinh(x))                                                            \
    UNARY(tanh, "(-inf, inf)", "Hyperbolic tangent.", tanh(x), g * (1 - y * y))                                                       \
    UNARY(erf, "(-inf, inf)", "Error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t * t)`` from 0 to x.", erf(x),         \
          g * (C(1.1283791670955125739) * exp(-x * x)))                                                                               \
    UNARY(erfc, "(-inf, inf)", "Complementary error function, ``1 - erf(x)``, accurate where it is small.", erfc(x),                  \
          g * (C(-1.1283791670955125739) * exp(-x * x)))                                                                              \
    UNARY(sigmoid, "(-inf, inf)", "Logistic function, ``1 / (1 + exp(-x))``.", sigmoid(x), g * (y * (1 - y)))                         \
    UNARY(softplus, "(-inf, inf)", "``log(1 + exp(x))``, without overflow.", softplus(x), g * sigmoid(x))                             \
    UNARY(relu, "(-inf, inf)", "Rectifier, ``max(x, 0)``; the derivative at 0 is 0.", where(x <= 0, 0, x), where(y <= 0, 0, g))       \
    UNARY(silu, "(-inf, inf)", "Sigmoid-weighted linear unit or swish, ``x * sigmoid(x)``.",                                          \
          where(x < C(-1e3), C(-1e3), x) * sigmoid(x), g * (sigmoid(x) * (1 + bounded(x) * sigmoid(-x))))                             \
    UNARY(gelu, "(-inf, inf)", "Gaussian error linear unit, x times the normal distribution function at x.", gelu(x),                 \
          g * gelu_slope(x))                                                                                                          \
    UNARY(gelu_tanh, "(-inf, inf)", "gelu by its approximation with tanh, ``x * sigmoid(1.59577 * (x + 0.044715 * x**3))``.",         \
          where(x < C(-1e3), C(-1e3), x) * sigmoid(x * (C(1.5957691216057308) + C(0.071354816272600240) * x * x)),                    \
          g * gelu_tanh_slope(x))                                                                                                     \
    UNARY(mish, "(-inf, inf)", "``x * tanh(softplus(x))``.", mish(x), g * mish_slope(x))                                              \
    UNARY(selu, "(-inf, inf)", "Scaled elu, ``1.0507 * x`` for x > 0, else ``1.7581 * expm1(x)``.",                                   \
          where(x > 0, C(1.0507009873554805) * x, C(1.7580993408473766) * expm1(x)),                                                  \
          g * where(x > 0, C(1.0507009873554805), C(1.7580993408473766) * exp(where(x > 0, 0, x))))                                   \
    UNARY(floor, "(-inf, inf)", "Largest integer not above x; its derivative is 0.", floor(x), 0 * g)                                 \
    UNARY(ceil, "(-inf, inf)", "Smallest integer not below x; its derivative is 0.", ceil(x), 0 * g)                                  \
    UNARY(rint, "(-inf, inf)", "Nearest integer, halves to even; its derivative is 0.", rint(x), 0 * g)

#define POINTWISE_BINARY(BINARY)                                                                                                      \
    BINARY(add, "(-inf, inf)", "Sum, ``x0 + x1``.", x0 + x1, g, g)                                                                    \
    BINARY(subtract, "(-inf, inf)", "Difference, ``x0 - x1``.", x0 - x1, g, -g)                                                       \
    BINARY(multiply, "(-inf, inf)", "Product, ``x0 * x1``.", x0 * x1, g * x1, g * x0)                                                 \
    BINARY(divide, "(-inf, inf)", "Quotient, ``x0 / x1``.", x0 / x1, g / x1, -g * y / x1)                                             \
    BINARY(power, "(0, inf)", "``x0`` to the power ``x1``.", power(x0, x1),                                                           \
           g * x1 * power(x0, where(x1 == 0, 1, x1 - 1)),                                                                             \
           g * where(x0 == 0, where(x1 < 0, -y, 0), y * log(where(x0 == 0, 1, x0))))                                                  \
    BINARY(maximum, "(-inf, inf)", "The larger of two values, NaN if one is NaN; a tie shares the gradient.",                         \
           where(x0 > x1, x0, where(x1 >= x0, x1, x0 + x1)),                                                                          \
           where(x0 > x1, g, where(x0 == x1, g / 2, 0)), where(x1 > x0, g, where(x0 == x1, g / 2, 0)))                                \
    BINARY(minimum, "(-inf, inf)", "The smaller of two values, NaN if one is NaN; a tie shares the gradient.",                        \
           where(x0 < x1, x0, where(x1 <= x0, x1, x0 + x1)),                                                                          \
           where(x0 < x1, g, where(x0 == x1, g / 2, 0)), where(x1 < x0, g, where(x0 == x1, g / 2, 0)))                                \
    BINARY(squared_difference, "(-inf, inf)", "Squared difference, ``(x0 - x1)**2``.", (x0 - x1) * (x0 - x1),                         \
           2 * g * (x0 - x1), -2 * g * (x0 - x1))                                                                                     \
    BINARY(arctan2, "(-inf, inf)", "Angle in radians of the point (x1, x0), from -pi to pi.", arctan2(x0, x1),                        \
           g * x1 / (x0 * x0 + x1 * x1), -g * x0 / (x0 * x0 + x1 * x1))                                                               \
    BINARY(logaddexp, "(-inf, inf)", "``log(exp(x0) + exp(x1))``, without overflow.", logaddexp(x0, x1),                              \
           g * exp(x0 - y), g * exp(x1 - y))                                                                                          \
    BINARY(floor_divide, "(-inf, inf)", "Largest integer not above ``x0 / x1``; its derivative is 0.", floor_divide(x0, x1),          \
           0 * g, 0 * g)                                                                                                              \
    BINARY(remainder, "(-inf, inf)", "``x0 - floor_divide(x0, x1) * x1``, with the sign of x1.", remainder(x0, x1),                   \
           g, -g * floor_divide(x0, x1))

/* Activations with a parameter x1, a number or learned. */
#define POINTWISE_ACTIVATION2(BINARY)                                                                                                 \
    BINARY(elu, "(-inf, inf)", "Exponential linear unit, x0 for x0 > 0, else ``x1 * expm1(x0)``.",                                    \
           where(x0 > 0, x0, x1 * expm1(x0)), where(x0 > 0, g, g * (x1 * exp(where(x0 > 0, 0, x0)))),                                 \
           g * expm1(where(x0 > 0, 0, x0)))                                                                                           \
    BINARY(prelu, "(-inf, inf)", "Rectifier with slope x1 below 0: x0 for x0 > 0, else ``x1 * x0``.",                                 \
           where(x0 > 0, x0, x1 * x0), where(x0 > 0, g, g * x1), where(x0 > 0, 0, g * x0))

/* Losses, element by element: x0 the output, x1 the target. */
#define POINTWISE_LOSS2(BINARY)                                                                                                       \
    BINARY(absolute_loss, "(-inf, inf)", "``abs(x0 - x1)``; the derivative at 0 is 0.", absolute(x0 - x1),                            \
           g * sign(x0 - x1), -g * sign(x0 - x1))                                                                                     \
    BINARY(hinge_loss, "(-inf, inf)", "``max(0, 1 - x0 * x1)`` for a target x1 of -1 or 1.",                                          \
           where(x0 * x1 >= 1, 0, 1 - x0 * x1), where(x0 * x1 >= 1, 0, -g * x1), where(x0 * x1 >= 1, 0, -g * x0))                     \
    BINARY(log_loss, "(0, 1)", "Negative log-likelihood of x1 (0 or 1, or between) at probability x0; logarithms end at -100.",       \
           (0 - x1) * maximum(log(x0), C(-100)) - (1 - x1) * maximum(log1p(-x0), C(-100)),                                            \
           g * ((1 - x1) / maximum(1 - x0, C(1e-12)) - x1 / maximum(x0, C(1e-12))),                                                   \
           g * (maximum(log1p(-x0), C(-100)) - maximum(log(x0), C(-100))))

#define POINTWISE_TERNARY(TERNARY)                                                                                                    \
    TERNARY(axpy, "(-inf, inf)", "``x0 * x1 + x2`` in one pass, with x0 usually a number.", x0 * x1 + x2, g * x1, g * x0, g)          \
    TERNARY(clip, "(-inf, inf)", "x0 limited to the interval from x1 to x2 (None: no bound); NaN stays NaN, x2 wins.",                                          \
            minimum(maximum(x0, x1), x2), where(x0 < x1, 0, where(x0 > x2, 0, g)),                                                    \
            where(x0 < x1, where(x1 > x2, 0, g), 0), where(x0 > x2, g, where(x1 > x2, g, 0)))

#define POINTWISE_LOSS3(TERNARY)                                                                                                      \
    TERNARY(huber_loss, "(-inf, inf)", "With r = abs(x0 - x1): ``r * r / 2`` for r <= x2, else ``x2 * (r - x2 / 2)``.",               \
            where(absolute(x0 - x1) <= x2, C(0.5) * (x0 - x1) * (x0 - x1), x2 * (absolute(x0 - x1) - C(0.5) * x2)),                   \
            g * where(absolute(x0 - x1) <= x2, x0 - x1, x2 * sign(x0 - x1)),                                                          \
            -g * where(absolute(x0 - x1) <= x2, x0 - x1, x2 * sign(x0 - x1)),                                                         \
            g * where(absolute(x0 - x1) <= x2, 0, absolute(x0 - x1) - x2))                                                            \
    TERNARY(logistic_loss, "(-inf, inf)", "Negative log-likelihood of x1 (0 or 1, or between) at probability sigmoid(x0), the "       \
            "part of 1 weighted by x2.",                                                                                              \
            where(x1 == 0, 0, x2 * x1 * softplus(-x0)) + where(x1 == 1, 0, (1 - x1) * softplus(x0)),                                  \
            g * ((1 - x1) * sigmoid(x0) - x2 * x1 * sigmoid(-x0)), g * (x2 * softplus(-x0) - softplus(x0)),                           \
            g * (x1 * softplus(-x0)))

#define POINTWISE_COMPARE(COMPARE)                                                                                                    \
    COMPARE(equal, "==", "True where ``x0 == x1``.", x0 == x1)                                                                        \
    COMPARE(not_equal, "!=", "True where ``x0 != x1``.", x0 != x1)                                                                    \
    COMPARE(less, "<", "True where ``x0 < x1``.", x0 < x1)                                                                            \
    COMPARE(less_equal, "<=", "True where ``x0 <= x1``.", x0 <= x1)                                                                   \
    COMPARE(greater, ">", "True where ``x0 > x1``.", x0 > x1)                                                                         \
    COMPARE(greater_equal, ">=", "True where ``x0 >= x1``.", x0 >= x1)

#define POINTWISE_LOGIC(LOGIC)                                                                                                        \
    LOGIC(logical_and, "True where both are true.", x0 & x1)                                                                          \
    LOGIC(logical_or, "True where one or both are true.", x0 | x1)                                                                    \
    LOGIC(logical_xor, "True where exactly one is true.", x0 ^ x1)

#define POINTWISE_PREDICATE(PREDICATE)                                                                                                \
    PREDICATE(isnan, "True where x is not a number.", x != x)                                                                         \
    PREDICATE(isinf, "True where x is infinite.", absolute(x) == C(INFINITY))                                                         \
    PREDICATE(isfinite, "True where x is neither infinite nor NaN.", absolute(x) < C(INFINITY))

/* Unsigned arithmetic wraps around; signed overflow would be undefined. */
#define POINTWISE_INTEGER1(INTEGER1)                                                                                                  \
    INTEGER1(negative, (int64_t)-(uint64_t)x)                                                                                         \
    INTEGER1(absolute, x < 0 ? (int64_t)-(uint64_t)x : x)                                                                             \
    INTEGER1(sign, (x > 0) - (x < 0))                                                                                                 \
    INTEGER1(square, (int64_t)((uint64_t)x * (uint64_t)x))                                                                            \
    INTEGER1(floor, x)                                                                                                                \
    INTEGER1(ceil, x)

#define POINTWISE_INTEGER2(INTEGER2)                                                                                                  \
    INTEGER2(add, (int64_t)((uint64_t)x0 + (uint64_t)x1))                                                                             \
    INTEGER2(subtract, (int64_t)((uint64_t)x0 - (uint64_t)x1))                                                                        \
    INTEGER2(multiply, (int64_t)((uint64_t)x0 * (uint64_t)x1))                                                                        \
    INTEGER2(squared_difference, (int64_t)(((uint64_t)x0 - (uint64_t)x1) * ((uint64_t)x0 - (uint64_t)x1)))                            \
    INTEGER2(power, integer_power(x0, x1))                                                                                            \
    INTEGER2(maximum, x0 > x1 ? x0 : x1)                                                                                              \
    INTEGER2(minimum, x0 < x1 ? x0 : x1)                                                                                              \
    INTEGER2(floor_divide, integer_floor_divide(x0, x1))                                                                              \
    INTEGER2(remainder, integer_remainder(x0, x1))

#define POINTWISE_INTEGER3(INTEGER3)                                                                                                  \
    INTEGER3(axpy, (int64_t)((uint64_t)x0 * (uint64_t)x1 + (uint64_t)x2))                                                             \
    INTEGER3(clip, (x0 < x1 ? x1 : x0) > x2 ? x2 : (x0 < x1 ? x1 : x0))

/* HELPER(name, meaning): functions of x that formulas use and that are no ops. The kernels have C functions by these names, which
 * are quicker or more accurate; the second reading takes the meaning, which may use helpers above it. */
#define POINTWISE_HELPERS(HELPER)                                                                                                     \
    HELPER(bounded, minimum(maximum(x, C(-1e3)), C(1e3)))                                                                             \
    HELPER(gelu_slope, C(0.5) * erfc(C(-0.70710678118654752) * x) +                                                                   \
                           C(0.39894228040143268) * bounded(x) * exp(C(-0.5) * bounded(x) * bounded(x)))                              \
    HELPER(gelu_tanh_gate, sigmoid(bounded(x) * (C(1.5957691216057308) + C(0.071354816272600240) * square(bounded(x)))))              \
    HELPER(gelu_tanh_slope,                                                                                                           \
           gelu_tanh_gate(x) * (1 + gelu_tanh_gate(-x) * bounded(x) *                                                                 \
                                        (C(1.5957691216057308) + C(0.21406444881780072) * square(bounded(x)))))                       \
    HELPER(mish_slope, tanh(softplus(x)) + bounded(x) * ((1 - square(tanh(softplus(x)))) * sigmoid(x)))

/* The ops in order of their numbers, with one macro for each kind. */
#define POINTWISE_ROWS(UNARY, BINARY, TERNARY, COMPARE, LOGIC, PREDICATE)                                                             \
    POINTWISE_UNARY(UNARY)                                                                                                            \
    POINTWISE_BINARY(BINARY)                                                                                                          \
    POINTWISE_ACTIVATION2(BINARY)                                                                                                     \
    POINTWISE_LOSS2(BINARY)                                                                                                           \
    POINTWISE_TERNARY(TERNARY)                                                                                                        \
    POINTWISE_LOSS3(TERNARY)                                                                                                        \
    POINTWISE_COMPARE(COMPARE)                                                                                                        \
    POINTWISE_LOGIC(LOGIC)                                                                                                            \
    POINTWISE_PREDICATE(PREDICATE)
// clang-format on

#define POINTWISE_ENUM(name, ...) OP_##name,
enum {
    POINTWISE_ROWS(POINTWISE_ENUM, POINTWISE_ENUM, POINTWISE_ENUM, POINTWISE_ENUM, POINTWISE_ENUM, POINTWISE_ENUM)
        N_POINTWISE
};

enum { KIND_FLOAT, KIND_COMPARE, KIND_LOGIC, KIND_PREDICATE };

/* What Python learns of an op (ops.c). */
typedef struct {
    const char *name, *kind_name, *domain, *sentence, *formula;
    int kind, n_inputs;
    const char *vjp[3]; /* text of the gradient of each input; NULL where there is none */
} PointwiseOp;
extern const PointwiseOp pointwise_ops[];

typedef struct {
    const char *name, *meaning;
} PointwiseHelper;
extern const PointwiseHelper pointwise_helpers[]; /* the last one has no name */
