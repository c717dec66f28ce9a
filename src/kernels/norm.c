/* Normalization: batch, layer, group and root-mean-square norms, with their gradients.
 *
 * Above: src/norm.pxi, through the table (kernels.h).  Below: norm_body.h, which is compiled here for each dtype.
 *
 * A set is what has one mean and one variance: a channel of the whole batch (groups = 0), or one group of channels of one image.
 * Every norm is out = ((x - mean) * scale) * weight + bias with numbers of the set and of the channel; its gradient needs two sums
 * over the set, of g * weight and of g * weight * (x - mean), where g is the cotangent.  How the elements of a set lie in memory
 * decides among three ways of walking it:
 *
 *     rows        one element a channel, sets of neighbours: layer and root-mean-square norms
 *     columns     one element a channel, batch norm of rows: sets side by side
 *     segments    `span` neighbours a channel: batch and group norms of images
 *
 * The mean is found first, rounded to T (`centre`); a second pass sums x - centre and its square.  The first sum then tells how far
 * the true mean is away (`rest`), so that float32 values around 10,000 lose nothing: x - centre is exact there.
 */
#include "blocks.h"
#include "kernel_list.h"
#include <math.h>
#include <string.h>

enum {
    NORM_LARGE = 1 << 16, /* elements from which work is given to the thread pool */
    NORM_TASK = 1 << 14,  /* about how many elements a task takes */
    PARTS = 16,           /* most tasks over rows, since each sums the gradients of weight and bias by itself */
    COLUMNS = 64,         /* sets side by side that a task takes */
};

static bool by_rows(const Norm *n) { return n->groups && n->span == 1; }
static isize set_count(const Norm *n) { return n->groups ? n->images * n->groups : n->channels; }
static isize elements(const Norm *n) { return n->images * n->channels * n->span; }

/* Images that a task over rows takes. */
static isize row_part(const Norm *n)
{
    const isize per_task = larger(1, NORM_TASK / larger(1, n->channels));
    return elements(n) < NORM_LARGE ? larger(1, n->images) : larger(per_task, blocks_of(n->images, PARTS));
}

/* Rows of sums by channel: one for each task over rows, one for each image of a group norm, else one. */
static isize partial_rows(const Norm *n)
{
    return by_rows(n) ? blocks_of(n->images, row_part(n)) : n->groups ? n->images : 1;
}

isize KERNEL(norm_space)(const Norm *n) { return 2 * partial_rows(n) * n->channels; }

/* The task's sums of cotangents times normalized values (0) and of cotangents (1), by channel. */
static double *partial_sums(const Norm *n, int which, isize row)
{
    return n->space + (which * partial_rows(n) + row) * n->channels;
}

static void run_norm(const Norm *n, task_fn rows, task_fn columns, task_fn segments)
{
    const bool large = elements(n) >= NORM_LARGE;
    const isize sets = set_count(n), set_size = elements(n) / larger(1, sets);
    isize tasks = by_rows(n) ? blocks_of(n->images, row_part(n)) : blocks_of(sets, COLUMNS);
    if (n->span > 1) tasks = large ? blocks_of(sets, larger(1, NORM_TASK / set_size)) : 1;
    run_tasks(n->span > 1 ? segments : n->groups ? rows : columns, (void *)n, elements(n) ? tasks : 0, large);
}

/* The sets that task `index` of a norm by segments takes. */
static void segment_sets(const Norm *n, isize index, isize *first, isize *last)
{
    const isize sets = set_count(n), block = elements(n) < NORM_LARGE ? sets : larger(1, NORM_TASK / (elements(n) / sets));
    *first = index * block;
    *last = smaller(sets, *first + block);
}

/* Where segment k of a set lies, and its channel. */
static isize segment(const Norm *n, isize set, isize k, isize *channel)
{
    const isize c = n->groups ? n->channels / n->groups : 1;
    *channel = n->groups ? set % n->groups * c + k : set;
    return (n->groups ? set * c + k : k * n->channels + set) * n->span;
}

#define NOINLINE __attribute__((noinline)) /* one copy of each loop: the extension's size counts */

/* Two sums over a run: of TERM, `t`, and of t * FACTOR, in terms of i. As RUN_REDUCTION adds. */
#define TWO_SUMS(name, TERM, FACTOR)                                                                                        \
    static NOINLINE void NAME(name)(const T *restrict g, const T *restrict w, const T *restrict x, T centre, isize n,       \
                                    double *sum, double *product)                                                           \
    {                                                                                                                       \
        (void)g, (void)w;                                                                                                   \
        *sum = *product = 0;                                                                                                \
        for (isize from = 0, to; from < n; from = to) {                                                                     \
            T a[LANES] = {0}, b[LANES] = {0};                                                                               \
            isize i = from;                                                                                                 \
            to = smaller(n, from + RUN);                                                                                    \
            for (; i + LANES <= to; i += LANES) ADD_TERMS(LANES, TERM, FACTOR)                                              \
            UNROLL                                                                                                          \
            for (isize half = LANES / 2; half > 0; half /= 2) {                                                             \
                for (isize k = 0; k < half; k++) {                                                                          \
                    a[k] += a[k + half];                                                                                    \
                    b[k] += b[k + half];                                                                                    \
                }                                                                                                           \
                if (i + half <= to) {                                                                                       \
                    ADD_TERMS(half, TERM, FACTOR)                                                                           \
                    i += half;                                                                                              \
                }                                                                                                           \
            }                                                                                                               \
            *sum += (double)a[0];                                                                                           \
            *product += (double)b[0];                                                                                       \
        }                                                                                                                   \
    }
#define ADD_TERMS(count, TERM, FACTOR)                                                                                      \
    for (isize k = 0; k < count; k++) {                                                                                     \
        const T t = TERM(i + k);                                                                                            \
        a[k] += t;                                                                                                          \
        b[k] += t * FACTOR(i + k);                                                                                          \
    }
#define DEVIATION(i) (x[i] - centre)
#define SAME(i) t
#define COTANGENT(i) g[i]
#define WEIGHTED(i) (g[i] * w[i])

/* The same two sums for each of some columns, rows `stride` apart, added to sum[j] and product[j]. */
#define TWO_COLUMN_SUMS(name, TERM, FACTOR)                                                                                 \
    static NOINLINE void NAME(name)(const T *restrict g, const T *restrict x, const T *restrict centre, isize rows,         \
                                    isize width, isize stride, double *restrict sum, double *restrict product)              \
    {                                                                                                                       \
        (void)g;                                                                                                            \
        for (isize first = 0; first < rows; first += COLUMN_GROUP) {                                                        \
            const isize last = smaller(rows, first + COLUMN_GROUP);                                                         \
            T a[COLUMNS] = {0}, b[COLUMNS] = {0};                                                                           \
            for (isize row = first; row < last; row++)                                                                      \
                for (isize j = 0; j < width; j++) {                                                                         \
                    const T t = TERM(row * stride + j, j);                                                                  \
                    a[j] += t;                                                                                              \
                    b[j] += t * FACTOR(row * stride + j, j);                                                                \
                }                                                                                                           \
            for (isize j = 0; j < width; j++) {                                                                             \
                sum[j] += (double)a[j];                                                                                     \
                product[j] += (double)b[j];                                                                                 \
            }                                                                                                               \
        }                                                                                                                   \
    }
enum { COLUMN_GROUP = 16 }; /* rows that are added in T */
#define COLUMN_DEVIATION(i, j) (x[i] - centre[j])
#define COLUMN_SAME(i, j) t
#define COLUMN_COTANGENT(i, j) g[i]

#define T float
#define NAME(x) x##_f32
#include "norm_body.h"
#undef T
#undef NAME

#define T double
#define NAME(x) x##_f64
#include "norm_body.h"
