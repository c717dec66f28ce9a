/* Optimizer steps: one pass over a parameter, its gradient and the optimizer's state.
 *
 * Above: table.c.  Below: blocks.h.  Formulas and their order are PyTorch's; scalars are prepared in double, elements are
 * computed in their own type.
 */
#include "blocks.h"
#include "kernel_list.h"
#include <math.h>

enum { UPDATE_LARGE = 1 << 17 };

typedef struct {
    isize n;
    const void *p, *g;
    void *velocity, *p_out;
    double lr, momentum, weight_decay;
    bool nesterov, first;
} Sgd;

typedef struct {
    isize n;
    const void *p, *g;
    void *m, *v, *p_out;
    double beta1, beta2, eps;
    double coupled_decay; /* what weight decay adds to the gradient, times p */
    double shrink;        /* what decoupled weight decay multiplies p by */
    double step_size;     /* lr over the bias correction of m */
    double v_scale;       /* one over the root of the bias correction of v */
} Adam;

/* p_out may be p: the loops have no dependence from one element to the next, which IVDEP asserts. */

#define DEFINE_SGD(T, suffix)                                                                                               \
    ALWAYS_INLINE void sgd_loop_##suffix(const Sgd *s, isize from, isize to, bool has_velocity, bool first, bool nesterov)  \
    {                                                                                                                       \
        const T *p = s->p, *g = s->g;                                                                                       \
        T *velocity = s->velocity, *p_out = s->p_out;                                                                       \
        const T lr = (T)s->lr, momentum = (T)s->momentum, decay = (T)s->weight_decay;                                       \
        IVDEP                                                                                                               \
        for (isize i = from; i < to; i++) {                                                                                 \
            T d = decay == 0 ? g[i] : g[i] + decay * p[i];                                                                  \
            if (has_velocity) {                                                                                             \
                T v = first ? d : momentum * velocity[i] + d;                                                               \
                velocity[i] = v;                                                                                            \
                d = nesterov ? d + momentum * v : v;                                                                        \
            }                                                                                                               \
            p_out[i] = p[i] - lr * d;                                                                                       \
        }                                                                                                                   \
    }                                                                                                                       \
    static void sgd_task_##suffix(void *context, isize index)                                                               \
    {                                                                                                                       \
        const Sgd *s = context;                                                                                             \
        isize from = index * TASK, to = smaller(s->n, from + TASK);                                                         \
        if (!s->velocity)                                                                                                   \
            sgd_loop_##suffix(s, from, to, false, false, false);                                                            \
        else if (s->first && s->nesterov)                                                                                   \
            sgd_loop_##suffix(s, from, to, true, true, true);                                                               \
        else if (s->first)                                                                                                  \
            sgd_loop_##suffix(s, from, to, true, true, false);                                                              \
        else if (s->nesterov)                                                                                               \
            sgd_loop_##suffix(s, from, to, true, false, true);                                                              \
        else                                                                                                                \
            sgd_loop_##suffix(s, from, to, true, false, false);                                                             \
    }                                                                                                                       \
    void KERNEL(sgd_##suffix)(isize n, const void *p, const void *g, void *velocity, void *p_out, double lr,                \
                              double momentum, double weight_decay, bool nesterov, bool first)                              \
    {                                                                                                                       \
        Sgd s = {n, p, g, velocity, p_out, lr, momentum, weight_decay, nesterov, first};                                    \
        run_tasks(sgd_task_##suffix, &s, blocks_of(n, TASK), n > UPDATE_LARGE);                                             \
    }

#define DEFINE_ADAM(T, suffix, SQRT)                                                                                        \
    static void adam_task_##suffix(void *context, isize index)                                                              \
    {                                                                                                                       \
        const Adam *a = context;                                                                                            \
        isize from = index * TASK, to = smaller(a->n, from + TASK);                                                         \
        const T *p = a->p, *g = a->g;                                                                                       \
        T *m = a->m, *v = a->v, *p_out = a->p_out;                                                                          \
        const T beta2 = (T)a->beta2, rest1 = (T)(1 - a->beta1), rest2 = (T)(1 - a->beta2), eps = (T)a->eps;                 \
        const T decay = (T)a->coupled_decay, shrink = (T)a->shrink, step_size = (T)a->step_size, v_scale = (T)a->v_scale;   \
        IVDEP                                                                                                               \
        for (isize i = from; i < to; i++) {                                                                                 \
            T d = decay == 0 ? g[i] : g[i] + decay * p[i];                                                                  \
            m[i] += rest1 * (d - m[i]);                                                                                     \
            v[i] = beta2 * v[i] + rest2 * d * d;                                                                            \
            p_out[i] = shrink * p[i] - step_size * m[i] / (SQRT(v[i]) * v_scale + eps);                                     \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(adam_##suffix)(isize n, const void *p, const void *g, void *m, void *v, void *p_out, double lr,             \
                               double beta1, double beta2, double eps, double weight_decay, bool decoupled, int64_t step)   \
    {                                                                                                                       \
        Adam a = {.n = n, .p = p, .g = g, .m = m, .v = v, .p_out = p_out, .beta1 = beta1, .beta2 = beta2, .eps = eps};      \
        a.coupled_decay = decoupled ? 0 : weight_decay;                                                                     \
        a.shrink = decoupled ? 1 - lr * weight_decay : 1;                                                                   \
        a.step_size = lr / (1 - pow(beta1, (double)step));                                                                  \
        a.v_scale = 1 / sqrt(1 - pow(beta2, (double)step));                                                                 \
        run_tasks(adam_task_##suffix, &a, blocks_of(n, TASK), n > UPDATE_LARGE);                                            \
    }

DEFINE_SGD(float, f32)
DEFINE_SGD(double, f64)
DEFINE_ADAM(float, f32, sqrtf)
DEFINE_ADAM(double, f64, sqrt)
