/* Optimizer steps: one pass over a parameter, its gradient and the optimizer's state; and the norm of gradients.
 *
 * Above: table.c.  Below: update.h, which has the rules, and blocks.h.  Scalars are prepared in double, elements are computed in
 * their own type.
 */
#include "update.h"
#include "blocks.h"
#include "kernel_list.h"
#include <math.h>
#include <string.h>

enum { UPDATE_LARGE = 1 << 17 };

/* Of a rule's arithmetic. NaN stays NaN: nothing compares with it. */
#define AT_LEAST_0(x) ((x) < 0 ? 0 : (x))
#define SIGN(x) ((x) > 0 ? 1 : (x) < 0 ? -1 : (x))

/* `out` may be `p`: the loop has no dependence from one element to the next, which IVDEP asserts. */
#define DEFINE_RULE(name, n_states, states, constants, body)                                                                \
    static void FUNCTION(name)(void *context, isize index)                                                                  \
    {                                                                                                                       \
        const Update *s = context;                                                                                          \
        const isize from = index * TASK, to = smaller(s->n, from + TASK);                                                   \
        const T *value = s->p, *gradient = s->g;                                                                            \
        T *out = s->out, *state0 = s->state[0], *state1 = s->state[1], *state2 = s->state[2];                               \
        const T decay = (T)(s->decoupled ? 0 : s->weight_decay);                                                            \
        const T keep = (T)(s->decoupled ? 1 - s->rate * s->weight_decay : 1);                                               \
        constants;                                                                                                          \
        IVDEP                                                                                                               \
        for (isize i = from; i < to; i++) {                                                                                 \
            T p = value[i], g = decay == 0 ? gradient[i] : gradient[i] + decay * p;                                         \
            T a = n_states > 0 ? state0[i] : 0, b = n_states > 1 ? state1[i] : 0, c = n_states > 2 ? state2[i] : 0;         \
            p *= keep;                                                                                                      \
            body;                                                                                                           \
            out[i] = p;                                                                                                     \
            if (n_states > 0) state0[i] = a;                                                                                \
            if (n_states > 1) state1[i] = b;                                                                                \
            if (n_states > 2) state2[i] = c;                                                                                \
        }                                                                                                                   \
    }
#define RULE_TASK(name, ...) FUNCTION(name),

/* The sum of (scale * x)**2 in double, by parts whose size depends on n alone. */
typedef struct {
    const void *x;
    isize n, part;
    double scale;
    double partial[MAX_PARTIALS];
} Squares;

#define DEFINE_SUM_SQUARES                                                                                                  \
    static double FUNCTION(squares)(const T *x, isize n, double scale)                                                      \
    {                                                                                                                       \
        if (n > RUN) {                                                                                                      \
            isize half = blocks_of(n / 2, RUN) * RUN;                                                                       \
            return FUNCTION(squares)(x, half, scale) + FUNCTION(squares)(x + half, n - half, scale);                        \
        }                                                                                                                   \
        double lane[LANES] = {0};                                                                                           \
        isize i = 0;                                                                                                        \
        for (; i + LANES <= n; i += LANES)                                                                                  \
            for (isize k = 0; k < LANES; k++) {                                                                             \
                double value = scale * (double)x[i + k];                                                                    \
                lane[k] += value * value;                                                                                   \
            }                                                                                                               \
        for (isize k = 0; k < n - i; k++) {                                                                                 \
            double value = scale * (double)x[i + k];                                                                        \
            lane[k] += value * value;                                                                                       \
        }                                                                                                                   \
        for (isize half = LANES / 2; half > 0; half /= 2)                                                                   \
            for (isize k = 0; k < half; k++) lane[k] += lane[k + half];                                                     \
        return lane[0];                                                                                                     \
    }                                                                                                                       \
    static void FUNCTION(squares_task)(void *context, isize index)                                                          \
    {                                                                                                                       \
        Squares *s = context;                                                                                               \
        isize from = index * s->part;                                                                                       \
        s->partial[index] = FUNCTION(squares)((const T *)s->x + from, smaller(s->part, s->n - from), s->scale);             \
    }

static double sum_squares(isize n, const void *x, double scale, task_fn task)
{
    Squares s; /* an initializer would clear all of it */
    s.x = x, s.n = n, s.scale = scale, s.part = larger(TASK, blocks_of(n, MAX_PARTIALS));
    isize parts = blocks_of(n, s.part);
    run_tasks(task, &s, parts, n >= LARGE);
    double total = 0;
    for (isize i = 0; i < parts; i++) total += s.partial[i];
    return total;
}

/* A step of some rows. */
typedef struct {
    const Update *u;
    task_fn rule;
    isize rows, width, block;
    const int64_t *index;
    bool clear;
} RowSteps;

/* One row, if its gradient is not zero, by the rule of whole parameters. */
#define DEFINE_STEP_ROWS                                                                                                    \
    static void FUNCTION(rows_task)(void *context, isize task)                                                              \
    {                                                                                                                       \
        const RowSteps *r = context;                                                                                        \
        const isize last = smaller(r->rows, (task + 1) * r->block);                                                         \
        for (isize i = task * r->block; i < last; i++) {                                                                    \
            const isize at = (r->index ? r->index[i] : i) * r->width;                                                       \
            const T *g = (const T *)r->u->g + at;                                                                           \
            int moved = 0;                                                                                                  \
            for (isize k = 0; k < r->width; k++) moved |= g[k] != 0;                                                        \
            if (!moved) continue;                                                                                           \
            Update u = *r->u;                                                                                               \
            u.n = r->width;                                                                                                 \
            u.p = (const T *)u.p + at;                                                                                      \
            u.g = g;                                                                                                        \
            u.out = (T *)u.out + at;                                                                                        \
            for (int k = 0; k < 3; k++) u.state[k] = u.state[k] ? (T *)u.state[k] + at : NULL;                              \
            for (isize k = 0; k < blocks_of(u.n, TASK); k++) r->rule(&u, k);                                                \
            if (r->clear) memset((T *)r->u->g + at, 0, r->width * sizeof(T));                                               \
        }                                                                                                                   \
    }

/* Rows that an index tells are stepped in its order, by one thread: it may tell one twice. */
static void step_rows(RowSteps r, task_fn task)
{
    const bool large = !r.index && r.rows * r.width > UPDATE_LARGE;
    r.block = large ? larger(1, TASK / r.width) : larger(1, r.rows);
    if (r.rows * r.width > 0) run_tasks(task, &r, blocks_of(r.rows, r.block), large);
}

#define T float
#define SQRT sqrtf
#define FUNCTION(name) name##_f32
UPDATE_RULES(DEFINE_RULE)
DEFINE_SUM_SQUARES
DEFINE_STEP_ROWS
static const task_fn rules_f32[] = {UPDATE_RULES(RULE_TASK)};
#undef T
#undef SQRT
#undef FUNCTION

#define T double
#define SQRT sqrt
#define FUNCTION(name) name##_f64
UPDATE_RULES(DEFINE_RULE)
DEFINE_SUM_SQUARES
DEFINE_STEP_ROWS
static const task_fn rules_f64[] = {UPDATE_RULES(RULE_TASK)};

void KERNEL(update_f32)(const Update *u)
{
    run_tasks(rules_f32[u->rule], (void *)u, blocks_of(u->n, TASK), u->n > UPDATE_LARGE);
}

void KERNEL(update_f64)(const Update *u)
{
    run_tasks(rules_f64[u->rule], (void *)u, blocks_of(u->n, TASK), u->n > UPDATE_LARGE);
}

void KERNEL(update_rows_f32)(const Update *u, isize rows, isize width, const int64_t *index, bool clear)
{
    step_rows((RowSteps){u, rules_f32[u->rule], rows, width, 0, index, clear}, rows_task_f32);
}

void KERNEL(update_rows_f64)(const Update *u, isize rows, isize width, const int64_t *index, bool clear)
{
    step_rows((RowSteps){u, rules_f64[u->rule], rows, width, 0, index, clear}, rows_task_f64);
}

double KERNEL(sum_squares_f32)(isize n, const void *x, double scale) { return sum_squares(n, x, scale, squares_task_f32); }
double KERNEL(sum_squares_f64)(isize n, const void *x, double scale) { return sum_squares(n, x, scale, squares_task_f64); }
