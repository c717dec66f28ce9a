/* THE RULES of optimizers: what one step makes of an element of a parameter, one row each.
 *
 * Above: update.c, which makes a kernel of each row for each dtype; ops.c, from which src/update.pxi learns the names.
 *
 * A row has a name, the number and the names of the arrays of state that the rule keeps (zero at first), constants, which are
 * computed in double from the settings `s` (see Update in kernels.h), and the step itself.  It is written in terms of the
 * element p, its gradient g, to which coupled weight decay has been added, and the state a, b, c, in T (float or double).
 * Formulas are PyTorch's where it has the rule; corgi/optimizer says which papers they come from.  As in pointwise.h, a NaN
 * anywhere is a NaN in the result.
 */
#pragma once

// clang-format off
#define UPDATE_RULES(RULE)                                                                                                  \
    RULE(descent, 0, "",                                                                                                    \
         const T rate = (T)s->rate;,                                                                                        \
         p -= rate * g;)                                                                                                    \
    RULE(momentum, 1, "velocity",                                                                                           \
         const T rate = (T)s->rate; const T momentum = (T)s->momentum;,                                                     \
         a = momentum * a + g;                                                                                              \
         p -= rate * a;)                                                                                                    \
    RULE(nesterov, 1, "velocity",                                                                                           \
         const T rate = (T)s->rate; const T momentum = (T)s->momentum;,                                                     \
         a = momentum * a + g;                                                                                              \
         p -= rate * (g + momentum * a);)                                                                                   \
    RULE(adam, 2, "mean square",                                                                                            \
         ADAM_CONSTANTS,                                                                                                    \
         a += rest1 * (g - a);                                                                                              \
         b = beta2 * b + rest2 * g * g;                                                                                     \
         p -= rate * a / (SQRT(b) * scale + epsilon);)                                                                      \
    RULE(amsgrad, 3, "mean square largest",                                                                                 \
         ADAM_CONSTANTS,                                                                                                    \
         a += rest1 * (g - a);                                                                                              \
         b = beta2 * b + rest2 * g * g;                                                                                     \
         c = c > b ? c : b;                                                                                                 \
         p -= rate * a / (SQRT(c) * scale + epsilon);)                                                                      \
    RULE(rmsprop, 1, "square",                                                                                              \
         RMSPROP_CONSTANTS,                                                                                                 \
         a = rho * a + rest * g * g;                                                                                        \
         p -= rate * g / (SQRT(a) + epsilon);)                                                                              \
    RULE(rmsprop_momentum, 2, "square velocity",                                                                            \
         RMSPROP_CONSTANTS const T momentum = (T)s->momentum;,                                                              \
         a = rho * a + rest * g * g;                                                                                        \
         b = momentum * b + g / (SQRT(a) + epsilon);                                                                        \
         p -= rate * b;)                                                                                                    \
    RULE(rmsprop_centered, 2, "square mean",                                                                                \
         RMSPROP_CONSTANTS,                                                                                                 \
         a = rho * a + rest * g * g;                                                                                        \
         b += rest * (g - b);                                                                                               \
         p -= rate * g / (SQRT(AT_LEAST_0(a - b * b)) + epsilon);)                                                          \
    RULE(rmsprop_centered_momentum, 3, "square mean velocity",                                                              \
         RMSPROP_CONSTANTS const T momentum = (T)s->momentum;,                                                              \
         a = rho * a + rest * g * g;                                                                                        \
         b += rest * (g - b);                                                                                               \
         c = momentum * c + g / (SQRT(AT_LEAST_0(a - b * b)) + epsilon);                                                    \
         p -= rate * c;)                                                                                                    \
    RULE(adagrad, 1, "square",                                                                                              \
         const T rate = (T)s->rate; const T initial = (T)s->initial; const T epsilon = (T)s->epsilon;,                      \
         a += g * g;                                                                                                        \
         p -= rate * g / (SQRT(initial + a) + epsilon);)                                                                    \
    RULE(adadelta, 2, "square change",                                                                                      \
         const T rate = (T)s->rate; const T rho = (T)s->rho; const T rest = (T)(1 - s->rho);                                \
         const T epsilon = (T)s->epsilon;,                                                                                  \
         a = rho * a + rest * g * g;                                                                                        \
         T change = SQRT(b + epsilon) / SQRT(a + epsilon) * g;                                                              \
         b = rho * b + rest * change * change;                                                                              \
         p -= rate * change;)                                                                                               \
    RULE(lion, 1, "mean",                                                                                                   \
         const T rate = (T)s->rate; const T rest1 = (T)(1 - s->beta1); const T rest2 = (T)(1 - s->beta2);,                  \
         T direction = a + rest1 * (g - a);                                                                                 \
         a += rest2 * (g - a);                                                                                              \
         p -= rate * SIGN(direction);)                                                                                      \
    /* Not an optimizer: p, an average, moves towards g, the values that it averages. */                                    \
    RULE(average, 0, "",                                                                                                    \
         const T rate = (T)s->rate;,                                                                                        \
         p += rate * (g - p);)

#define ADAM_CONSTANTS                                                                                                      \
    const T rest1 = (T)(1 - s->beta1); const T rest2 = (T)(1 - s->beta2); const T beta2 = (T)s->beta2;                      \
    const T rate = (T)(s->rate / s->correction1);                                                                        \
    const T scale = (T)(1 / sqrt(s->correction2)); const T epsilon = (T)s->epsilon;

#define RMSPROP_CONSTANTS                                                                                                   \
    const T rate = (T)s->rate; const T rho = (T)s->rho; const T rest = (T)(1 - s->rho); const T epsilon = (T)s->epsilon;
// clang-format on

#define UPDATE_ENUM(name, ...) UPDATE_##name,
enum { UPDATE_RULES(UPDATE_ENUM) N_UPDATE_RULES };

/* What Python learns of a rule (ops.c). */
typedef struct {
    const char *name;
    int n_states;
    const char *states; /* their names */
} UpdateRow;
extern const UpdateRow update_rules[];
