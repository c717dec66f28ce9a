/* Kernels over the rows of a matrix: the softmax family, cross-entropy, and the dense layer's bias and activation.
 *
 * Above: table.c.  Below: vecmath.h and blocks.h.
 *
 * Narrow rows are taken a block at a time, so that exp runs over a long contiguous stretch whatever the length of a row.
 */
#include "blocks.h"
#include "kernel_list.h"
#include "vecmath.h"
#include <math.h>
#include <string.h>

enum {
    STRETCH = 2048,       /* elements of a block of narrow rows */
    BLOCK_ROWS = 256,     /* most rows of a block */
    ROWS_LARGE = 1 << 16, /* elements from which rows are given to the thread pool */
    ROWS_TASK = 1 << 14,  /* about how many elements a task takes */
    STRIP = 512,          /* elements that a narrow bias is repeated to */
    NARROW = 16,          /* columns of narrow rows */
};

/* How many rows of n fit a block. */
static isize block_rows(isize n) { return larger(1, smaller(BLOCK_ROWS, STRETCH / n)); }

typedef void (*rows_fn)(const void *x, void *out, isize rows, isize n);

typedef struct {
    rows_fn kernel;
    const char *x;
    char *out;
    isize rows, n, rows_per_task, x_bytes, out_bytes; /* bytes of a row */
} RowTasks;

static void rows_task(void *context, isize index)
{
    const RowTasks *t = context;
    isize row = index * t->rows_per_task;
    t->kernel(t->x + row * t->x_bytes, t->out + row * t->out_bytes, smaller(t->rows_per_task, t->rows - row), t->n);
}

static void over_rows(rows_fn kernel, const void *x, void *out, isize rows, isize n, isize x_bytes, isize out_bytes)
{
    RowTasks t = {kernel, x, out, rows, n, larger(1, ROWS_TASK / n), x_bytes, out_bytes};
    if (rows * n < ROWS_LARGE)
        kernel(x, out, rows, n);
    else
        parallel(rows_task, &t, blocks_of(rows, t.rows_per_task));
}

#define PLAIN_MAXIMUM(a, b) ((b) > (a) ? (b) : (a)) /* a NaN makes its row NaN through exp, whatever the maximum */

/* What the family shares. shift[i]: the row's maximum, or 0 where it is infinite and `finite` is asked for (as SciPy's
 * logsumexp does: exp(inf) and log(0) then give the limits); e = exp(x - shift); sum[i]: the row's sum of e.
 * Numbers of narrow rows are spread to one for each element, so that all loops are long. */
#define DEFINE_EXP_ROWS(T, suffix)                                                                                          \
    RUN_REDUCTION(row_sum_##suffix##_run, T, double, 0, ADD)                                                                \
    RUN_REDUCTION(row_max_##suffix##_run, T, T, -(T)INFINITY, PLAIN_MAXIMUM)                                                \
    ROW_REDUCTION(row_sum_##suffix, T, double, ADD)                                                                         \
    ROW_REDUCTION(row_max_##suffix, T, T, PLAIN_MAXIMUM)                                                                    \
    /* y = x - a[row]; y may be x. */                                                                                       \
    static void subtract_##suffix(const T *x, const T *a, T *y, isize rows, isize n)                                        \
    {                                                                                                                       \
        T spread[STRETCH];                                                                                                  \
        if (n < NARROW) {                                                                                                   \
            KERNEL(copy)(rows, n, a, 1, 0, spread, n, 1, sizeof(T));                                                        \
            IVDEP                                                                                                           \
            for (isize j = 0; j < rows * n; j++) y[j] = x[j] - spread[j];                                                   \
        } else {                                                                                                            \
            for (isize i = 0; i < rows; i++) {                                                                              \
                const T subtrahend = a[i];                                                                                  \
                IVDEP                                                                                                       \
                for (isize j = i * n; j < (i + 1) * n; j++) y[j] = x[j] - subtrahend;                                       \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    static void exp_rows_##suffix(const T *restrict x, T *restrict e, isize rows, isize n, bool finite, T *restrict shift,  \
                                  double *restrict sum)                                                                     \
    {                                                                                                                       \
        row_max_##suffix##_rows(x, shift, rows, n);                                                                         \
        for (isize i = 0; i < rows; i++) shift[i] = finite && isinf(shift[i]) ? 0 : shift[i];                               \
        subtract_##suffix(x, shift, e, rows, n);                                                                            \
        for (isize j = 0; j < rows * n; j++) e[j] = vm_exp_##suffix(e[j]);                                                  \
        row_sum_##suffix##_rows(e, sum, rows, n);                                                                           \
    }                                                                                                                       \
    /* e *= 1 / sum, row by row. */                                                                                         \
    static void normalize_##suffix(T *restrict e, isize rows, isize n, const double *restrict sum)                          \
    {                                                                                                                       \
        T scale[BLOCK_ROWS], spread[STRETCH];                                                                               \
        for (isize i = 0; i < rows; i++) scale[i] = (T)(1 / sum[i]);                                                        \
        if (n < NARROW) {                                                                                                   \
            KERNEL(copy)(rows, n, scale, 1, 0, spread, n, 1, sizeof(T));                                                    \
            for (isize j = 0; j < rows * n; j++) e[j] *= spread[j];                                                         \
        } else {                                                                                                            \
            for (isize i = 0; i < rows; i++) {                                                                              \
                const T factor = scale[i];                                                                                  \
                for (isize j = i * n; j < (i + 1) * n; j++) e[j] *= factor;                                                 \
            }                                                                                                               \
        }                                                                                                                   \
    }

#define DEFINE_SOFTMAX(T, suffix)                                                                                           \
    static void softmax_rows_##suffix(const void *x, void *out, isize rows, isize n)                                        \
    {                                                                                                                       \
        T shift[BLOCK_ROWS];                                                                                                \
        double sum[BLOCK_ROWS];                                                                                             \
        for (isize i = 0, count; i < rows; i += count) {                                                                    \
            count = smaller(block_rows(n), rows - i);                                                                       \
            T *y = (T *)out + i * n;                                                                                        \
            exp_rows_##suffix((const T *)x + i * n, y, count, n, false, shift, sum);                                        \
            normalize_##suffix(y, count, n, sum);                                                                           \
        }                                                                                                                   \
    }                                                                                                                       \
    static void log_softmax_rows_##suffix(const void *x, void *out, isize rows, isize n)                                    \
    {                                                                                                                       \
        T shift[BLOCK_ROWS];                                                                                                \
        double sum[BLOCK_ROWS];                                                                                             \
        for (isize i = 0, count; i < rows; i += count) {                                                                    \
            count = smaller(block_rows(n), rows - i);                                                                       \
            const T *restrict z = (const T *)x + i * n;                                                                     \
            T *restrict y = (T *)out + i * n;                                                                               \
            exp_rows_##suffix(z, y, count, n, true, shift, sum);                                                            \
            for (isize k = 0; k < count; k++) sum[k] = vm_log_f64(sum[k], false);                                           \
            subtract_##suffix(z, shift, y, count, n);                                                                       \
            for (isize k = 0; k < count; k++) shift[k] = (T)sum[k];                                                         \
            subtract_##suffix(y, shift, y, count, n);                                                                       \
        }                                                                                                                   \
    }                                                                                                                       \
    static void logsumexp_rows_##suffix(const void *x, void *out, isize rows, isize n)                                      \
    {                                                                                                                       \
        T shift[BLOCK_ROWS], e[STRETCH];                                                                                    \
        double sum[BLOCK_ROWS];                                                                                             \
        for (isize i = 0, count; i < rows; i += count) {                                                                    \
            count = smaller(block_rows(n), rows - i);                                                                       \
            const T *restrict z = (const T *)x + i * n;                                                                     \
            T *restrict y = (T *)out + i;                                                                                   \
            if (n <= STRETCH) {                                                                                             \
                exp_rows_##suffix(z, e, count, n, true, shift, sum);                                                        \
            } else {                                                                                                        \
                const T largest = row_max_##suffix##_run(z, n);                                                             \
                shift[0] = isinf(largest) ? 0 : largest;                                                                    \
                sum[0] = 0;                                                                                                 \
                for (isize from = 0; from < n; from += STRETCH) {                                                           \
                    const isize length = smaller(STRETCH, n - from);                                                        \
                    for (isize j = 0; j < length; j++) e[j] = vm_exp_##suffix(z[from + j] - shift[0]);                      \
                    sum[0] += row_sum_##suffix##_run(e, length);                                                            \
                }                                                                                                           \
            }                                                                                                               \
            for (isize k = 0; k < count; k++) y[k] = (T)((double)shift[k] + vm_log_f64(sum[k], false));                     \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(softmax_##suffix)(const void *x, void *out, isize rows, isize n)                                            \
    {                                                                                                                       \
        over_rows(softmax_rows_##suffix, x, out, rows, n, n * sizeof(T), n * sizeof(T));                                    \
    }                                                                                                                       \
    void KERNEL(log_softmax_##suffix)(const void *x, void *out, isize rows, isize n)                                        \
    {                                                                                                                       \
        over_rows(log_softmax_rows_##suffix, x, out, rows, n, n * sizeof(T), n * sizeof(T));                                \
    }                                                                                                                       \
    void KERNEL(logsumexp_##suffix)(const void *x, void *out, isize rows, isize n)                                          \
    {                                                                                                                       \
        over_rows(logsumexp_rows_##suffix, x, out, rows, n, n * sizeof(T), sizeof(T));                                      \
    }

typedef struct {
    const void *logits, *target, *weight;
    const int64_t *label;
    void *probabilities, *row_loss;
    double *loss; /* one partial sum for each task */
    double smoothing;
    isize rows, n, rows_per_task;
} CrossEntropy;

typedef struct {
    const void *probabilities, *target, *weight;
    const int64_t *label;
    void *dx;
    double smoothing, scale;
    isize rows, n, rows_per_task;
} CrossEntropyVjp;

enum { MAX_LOSSES = 256 };

/* The loss of a row against probabilities t: sum of t (logsumexp - z), where t = 0 counts as zero even at z = -inf. */
#define DEFINE_CROSS_ENTROPY(T, suffix)                                                                                     \
    static double soft_loss_##suffix(const T *restrict z, const T *restrict t, isize n, T shift, T log_sum)                 \
    {                                                                                                                       \
        T term[STRIP];                                                                                                      \
        double loss = 0;                                                                                                    \
        for (isize from = 0; from < n; from += STRIP) {                                                                     \
            const isize length = smaller(STRIP, n - from);                                                                  \
            for (isize j = 0; j < length; j++) {                                                                            \
                const T product = t[from + j] * (log_sum - (z[from + j] - shift));                                          \
                term[j] = t[from + j] == 0 ? 0 : product;                                                                   \
            }                                                                                                               \
            loss += row_sum_##suffix##_run(term, length);                                                                   \
        }                                                                                                                   \
        return loss;                                                                                                        \
    }                                                                                                                       \
    static double sum_of_differences_##suffix(const T *restrict z, isize n, T shift)                                        \
    {                                                                                                                       \
        T term[STRIP];                                                                                                      \
        double sum = 0;                                                                                                     \
        for (isize from = 0; from < n; from += STRIP) {                                                                     \
            const isize length = smaller(STRIP, n - from);                                                                  \
            for (isize j = 0; j < length; j++) term[j] = z[from + j] - shift;                                               \
            sum += row_sum_##suffix##_run(term, length);                                                                    \
        }                                                                                                                   \
        return sum;                                                                                                         \
    }                                                                                                                       \
    static void cross_entropy_task_##suffix(void *context, isize index)                                                     \
    {                                                                                                                       \
        const CrossEntropy *c = context;                                                                                    \
        const isize n = c->n, last = smaller(c->rows, (index + 1) * c->rows_per_task);                                      \
        T shift[BLOCK_ROWS];                                                                                                \
        double sum[BLOCK_ROWS], log_sum[BLOCK_ROWS], loss = 0;                                                              \
        for (isize i = index * c->rows_per_task, count; i < last; i += count) {                                             \
            count = smaller(block_rows(n), last - i);                                                                       \
            const T *z = (const T *)c->logits + i * n;                                                                      \
            T *p = (T *)c->probabilities + i * n;                                                                           \
            exp_rows_##suffix(z, p, count, n, true, shift, sum);                                                            \
            for (isize k = 0; k < count; k++) log_sum[k] = vm_log_f64(sum[k], false);                                       \
            for (isize k = 0; k < count; k++) /* an infinite maximum: no probabilities, as softmax has it */                \
                sum[k] = sum[k] == 0 || isinf(sum[k]) ? (double)NAN : sum[k];                                               \
            normalize_##suffix(p, count, n, sum);                                                                           \
            for (isize k = 0; k < count; k++) {                                                                             \
                const isize row = i + k;                                                                                    \
                double found =                                                                                              \
                    c->label ? log_sum[k] - ((double)z[k * n + c->label[row]] - (double)shift[k])                           \
                             : soft_loss_##suffix(z + k * n, (const T *)c->target + row * n, n, shift[k], (T)log_sum[k]);   \
                if (c->smoothing > 0 && c->label) /* sum(z - shift) / n is the mean of the logits */                        \
                    found += c->smoothing *                                                                                 \
                             (log_sum[k] - sum_of_differences_##suffix(z + k * n, n, shift[k]) / (double)n - found);        \
                if (c->weight) found = ((const T *)c->weight)[row] == 0 ? 0 : found * (double)((const T *)c->weight)[row];  \
                if (c->row_loss) ((T *)c->row_loss)[row] = (T)found;                                                        \
                loss += found;                                                                                              \
            }                                                                                                               \
        }                                                                                                                   \
        c->loss[index] = loss;                                                                                              \
    }                                                                                                                       \
    void KERNEL(softmax_cross_entropy_##suffix)(const void *logits, const int64_t *label, const void *target,               \
                                                const void *weight, double smoothing, double *total, void *row_loss,        \
                                                void *probabilities, isize rows, isize n)                                   \
    {                                                                                                                       \
        double partial[MAX_LOSSES];                                                                                         \
        CrossEntropy c = {logits, target, weight, label, probabilities, row_loss, partial, smoothing, rows, n, rows};       \
        const bool large = rows * n >= ROWS_LARGE;                                                                          \
        if (large) c.rows_per_task = larger(larger(1, ROWS_TASK / n), blocks_of(rows, MAX_LOSSES));                         \
        const isize tasks = rows ? blocks_of(rows, c.rows_per_task) : 0;                                                    \
        run_tasks(cross_entropy_task_##suffix, &c, tasks, large);                                                           \
        *total = 0;                                                                                                         \
        for (isize i = 0; i < tasks; i++) *total += partial[i];                                                             \
    }                                                                                                                       \
    /* A row of weight 0 may hold NaN: it is written, not multiplied. */                                                    \
    static void cross_entropy_vjp_task_##suffix(void *context, isize index)                                                 \
    {                                                                                                                       \
        const CrossEntropyVjp *c = context;                                                                                 \
        const isize n = c->n, first = index * c->rows_per_task, last = smaller(c->rows, first + c->rows_per_task);          \
        const T *restrict p = c->probabilities, *restrict t = c->target;                                                    \
        T *restrict dx = c->dx;                                                                                             \
        const T spread = (T)(c->smoothing / (double)n);                                                                     \
        if (c->label && !c->weight) {                                                                                       \
            const T s = (T)c->scale, one = (T)(c->scale * (1 - c->smoothing));                                              \
            for (isize j = first * n; j < last * n; j++) dx[j] = s * (p[j] - spread);                                       \
            for (isize i = first; i < last; i++) dx[i * n + c->label[i]] -= one;                                            \
            return;                                                                                                         \
        }                                                                                                                   \
        for (isize i = first; i < last; i++) {                                                                              \
            const T s = (T)(c->weight ? c->scale * (double)((const T *)c->weight)[i] : c->scale);                           \
            const T sum = t ? (T)row_sum_##suffix##_run(t + i * n, n) : 1;                                                  \
            if (s == 0) {                                                                                                   \
                memset(dx + i * n, 0, n * sizeof(T));                                                                       \
            } else if (t) {                                                                                                 \
                for (isize j = i * n; j < (i + 1) * n; j++) dx[j] = s * (sum * p[j] - t[j]);                                \
            } else {                                                                                                        \
                for (isize j = i * n; j < (i + 1) * n; j++) dx[j] = s * (p[j] - spread);                                    \
                dx[i * n + c->label[i]] -= (T)((double)s * (1 - c->smoothing));                                             \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(softmax_cross_entropy_vjp_##suffix)(const void *probabilities, const int64_t *label, const void *target,    \
                                                    const void *weight, double smoothing, double scale, void *dx,           \
                                                    isize rows, isize n)                                                    \
    {                                                                                                                       \
        CrossEntropyVjp c = {probabilities, target, weight, label, dx, smoothing, scale, rows, n, rows};                    \
        const bool large = rows * n >= LARGE;                                                                               \
        if (large) c.rows_per_task = larger(1, TASK / n);                                                                   \
        run_tasks(cross_entropy_vjp_task_##suffix, &c, rows ? blocks_of(rows, c.rows_per_task) : 0, large);                 \
    }

typedef struct {
    void *z;
    const void *bias;
    isize rows, n, rows_per_task;
    int activation;
} BiasAct;

typedef struct {
    const void *g, *y;
    void *dz, *db;
    double *partial;
    int activation;
    Grid grid;
} BiasActVjp;

/* One body for each activation, a constant within it. */
#define FOR_EACH_ACTIVATION(activation, call)                                                                               \
    switch (activation) {                                                                                                   \
    case NO_ACTIVATION: call(NO_ACTIVATION); break;                                                                         \
    case RELU: call(RELU); break;                                                                                           \
    case SIGMOID: call(SIGMOID); break;                                                                                     \
    case TANH: call(TANH); break;                                                                                           \
    }

/* The bias is a strip of `length` elements that repeats: itself for wide rows, several copies of it for narrow ones. */
#define DEFINE_BIAS_ACT(T, suffix)                                                                                          \
    ALWAYS_INLINE void activate_##suffix(T *restrict z, const T *restrict strip, isize count, isize length, int activation) \
    {                                                                                                                       \
        for (isize from = 0; from < count; from += length) {                                                                \
            T *restrict row = z + from;                                                                                     \
            const isize end = smaller(length, count - from);                                                                \
            for (isize j = 0; j < end; j++) {                                                                               \
                const T x = row[j] + strip[j];                                                                              \
                row[j] = activation == RELU      ? (x < 0 ? 0 : x)                                                          \
                         : activation == SIGMOID ? vm_sigmoid_##suffix(x)                                                   \
                         : activation == TANH    ? vm_tanh_##suffix(x)                                                      \
                                                 : x;                                                                       \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    static void bias_act_task_##suffix(void *context, isize index)                                                          \
    {                                                                                                                       \
        const BiasAct *b = context;                                                                                         \
        const isize first = index * b->rows_per_task, n = b->n;                                                             \
        const isize count = smaller(b->rows_per_task, b->rows - first) * n;                                                 \
        T *z = (T *)b->z + first * n;                                                                                       \
        T repeated[STRIP];                                                                                                  \
        const T *strip = b->bias;                                                                                           \
        isize length = n;                                                                                                   \
        if (!strip) {                                                                                                       \
            length = STRIP;                                                                                                 \
            for (isize j = 0; j < STRIP; j++) repeated[j] = -(T)0; /* the one number that adds nothing to any */            \
            strip = repeated;                                                                                               \
        } else if (n <= STRIP / 4) {                                                                                        \
            const isize limit = smaller(count, STRIP / n * n);                                                              \
            memcpy(repeated, strip, n * sizeof(T));                                                                         \
            for (; length < limit; length += smaller(length, limit - length))                                               \
                memcpy(repeated + length, repeated, smaller(length, limit - length) * sizeof(T));                           \
            strip = repeated;                                                                                               \
        }                                                                                                                   \
        FOR_EACH_ACTIVATION(b->activation, ACTIVATE_##suffix)                                                               \
    }                                                                                                                       \
    void KERNEL(bias_act_##suffix)(void *z, const void *bias, isize rows, isize n, int activation)                          \
    {                                                                                                                       \
        const bool transcendental = activation == SIGMOID || activation == TANH;                                            \
        const bool large = rows * n >= (transcendental ? ROWS_LARGE : LARGE);                                               \
        if (rows * n == 0 || (!bias && activation == NO_ACTIVATION)) return;                                                \
        BiasAct b = {z, bias, rows, n, large ? larger(1, ROWS_TASK / n) : rows, activation};                                \
        run_tasks(bias_act_task_##suffix, &b, blocks_of(rows, b.rows_per_task), large);                                     \
    }

#define ACTIVATE_f32(activation) activate_f32(z, strip, count, length, activation)
#define ACTIVATE_f64(activation) activate_f64(z, strip, count, length, activation)

/* dz may be g itself, element for element, hence IVDEP. The columns of dz are added four rows at a time into float64; narrow
 * rows are folded to wide ones first, whose columns are joined at the end. */

#define DEFINE_BIAS_ACT_VJP(T, suffix)                                                                                      \
    ALWAYS_INLINE T slope_##suffix(T g, T y, int activation)                                                                \
    {                                                                                                                       \
        return activation == RELU      ? (y <= 0 ? 0 : g)                                                                   \
               : activation == SIGMOID ? g * (y * (1 - y))                                                                  \
               : activation == TANH    ? g * (1 - y * y)                                                                    \
                                       : g;                                                                                 \
    }                                                                                                                       \
    ALWAYS_INLINE void backward_##suffix(const T *g, const T *y, T *dz, double *acc, isize rows, isize width, isize n,      \
                                         int activation)                                                                    \
    {                                                                                                                       \
        isize i = 0;                                                                                                        \
        for (; i + 4 <= rows; i += 4) {                                                                                     \
            const isize r0 = i * n, r1 = r0 + n, r2 = r1 + n, r3 = r2 + n;                                                  \
            IVDEP                                                                                                           \
            for (isize j = 0; j < width; j++) {                                                                             \
                const T d0 = slope_##suffix(g[r0 + j], y[r0 + j], activation);                                              \
                const T d1 = slope_##suffix(g[r1 + j], y[r1 + j], activation);                                              \
                const T d2 = slope_##suffix(g[r2 + j], y[r2 + j], activation);                                              \
                const T d3 = slope_##suffix(g[r3 + j], y[r3 + j], activation);                                              \
                dz[r0 + j] = d0;                                                                                            \
                dz[r1 + j] = d1;                                                                                            \
                dz[r2 + j] = d2;                                                                                            \
                dz[r3 + j] = d3;                                                                                            \
                acc[j] += (double)((d0 + d1) + (d2 + d3));                                                                  \
            }                                                                                                               \
        }                                                                                                                   \
        for (; i < rows; i++) {                                                                                             \
            IVDEP                                                                                                           \
            for (isize j = 0; j < width; j++) {                                                                             \
                const T d = slope_##suffix(g[i * n + j], y[i * n + j], activation);                                         \
                dz[i * n + j] = d;                                                                                          \
                acc[j] += (double)d;                                                                                        \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    static void backward_columns_##suffix(const T *g, const T *y, T *dz, double *acc, isize rows, isize width, isize n,     \
                                          int activation)                                                                   \
    {                                                                                                                       \
        FOR_EACH_ACTIVATION(activation, BACKWARD_##suffix)                                                                  \
    }                                                                                                                       \
    static void bias_act_vjp_task_##suffix(void *context, isize index)                                                      \
    {                                                                                                                       \
        const BiasActVjp *b = context;                                                                                      \
        const Tile t = tile_of(&b->grid, index);                                                                            \
        const isize n = b->grid.inner, at = t.row * n + t.column;                                                           \
        const T *g = (const T *)b->g + at, *y = (const T *)b->y + at;                                                       \
        T *dz = (T *)b->dz + at;                                                                                            \
        double acc[MAX_WIDTH];                                                                                              \
        isize rows = t.rows;                                                                                                \
        memset(acc, 0, t.width * sizeof(double));                                                                           \
        const isize fold = n == t.width ? smaller(STRIP / n, rows / 4) : 0;                                                 \
        if (fold > 1) {                                                                                                     \
            double folded[STRIP] = {0};                                                                                     \
            const isize wide = fold * n, glued = rows / fold;                                                               \
            backward_columns_##suffix(g, y, dz, folded, glued, wide, wide, b->activation);                                  \
            for (isize k = 0; k < fold; k++)                                                                                \
                for (isize j = 0; j < n; j++) acc[j] += folded[k * n + j];                                                  \
            g += glued * wide;                                                                                              \
            y += glued * wide;                                                                                              \
            dz += glued * wide;                                                                                             \
            rows -= glued * fold;                                                                                           \
        }                                                                                                                   \
        backward_columns_##suffix(g, y, dz, acc, rows, t.width, n, b->activation);                                          \
        if (b->grid.parts > 1)                                                                                              \
            memcpy(b->partial + t.part * n + t.column, acc, t.width * sizeof(double));                                      \
        else                                                                                                                \
            for (isize j = 0; j < t.width && b->db; j++) ((T *)b->db)[t.column + j] = (T)acc[j];                            \
    }                                                                                                                       \
    void KERNEL(bias_act_vjp_##suffix)(const void *g, const void *y, void *dz, void *db, isize rows, isize n,               \
                                       int activation)                                                                      \
    {                                                                                                                       \
        double partial[MAX_PARTIALS];                                                                                       \
        BiasActVjp b = {g, activation == NO_ACTIVATION ? g : y, dz, db, partial, activation, grid_of(1, rows, n)};          \
        run_tasks(bias_act_vjp_task_##suffix, &b, b.grid.n_tasks, b.grid.large);                                            \
        if (b.grid.parts == 1 || !db) return;                                                                               \
        for (isize j = 0; j < n; j++) {                                                                                     \
            double total = 0;                                                                                               \
            for (isize part = 0; part < b.grid.parts; part++) total += partial[part * n + j];                               \
            ((T *)db)[j] = (T)total;                                                                                        \
        }                                                                                                                   \
    }

#define BACKWARD_f32(activation) backward_f32(g, y, dz, acc, rows, width, n, activation)
#define BACKWARD_f64(activation) backward_f64(g, y, dz, acc, rows, width, n, activation)

#define DEFINE_ROWS(T, suffix)                                                                                              \
    DEFINE_EXP_ROWS(T, suffix)                                                                                              \
    DEFINE_SOFTMAX(T, suffix)                                                                                               \
    DEFINE_CROSS_ENTROPY(T, suffix)                                                                                         \
    DEFINE_BIAS_ACT(T, suffix)                                                                                              \
    DEFINE_BIAS_ACT_VJP(T, suffix)

DEFINE_ROWS(float, f32)
DEFINE_ROWS(double, f64)
