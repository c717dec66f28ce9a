/* Reductions along the middle axis of (outer, n, inner), and running sums.
 *
 * Above: table.c.  Below: blocks.h, which cuts the work into tiles and reduces contiguous runs.
 *
 * Sums are accurate: float32 is added in float32 only within short runs or groups of sixteen rows, and these in float64;
 * float64 is added pairwise. Inner axes too narrow for vectors are folded: several rows are reduced as one wide row, whose
 * columns are joined at the end. Products keep the order of the elements: lanes could overflow where the product does not.
 */
#include "blocks.h"
#include "kernel_list.h"
#include <math.h>
#include <string.h>

enum {
    GROUP = 16, /* rows that are joined before they meet the accumulators */
    FOLD = 256, /* elements of the wide row that narrow rows are folded to */
};

typedef struct {
    const void *x;
    void *out, *partial;
    Grid grid;
    bool reverse;
} Reduction;

/* acc[j] = JOIN(acc[j], column j) for rows of `width` columns, `stride` apart. */
#define COLUMNS(name, T, ACC, IDENTITY, JOIN)                                                                               \
    ALWAYS_INLINE void name##_group(const T *restrict x, ACC *restrict acc, isize rows, isize lanes, isize stride)          \
    {                                                                                                                       \
        T lane[LANES];                                                                                                      \
        for (isize k = 0; k < lanes; k++) lane[k] = x[k];                                                                   \
        for (isize i = 1; i < rows; i++)                                                                                    \
            for (isize k = 0; k < lanes; k++) lane[k] = JOIN(lane[k], x[i * stride + k]);                                   \
        for (isize k = 0; k < lanes; k++) acc[k] = JOIN(acc[k], (ACC)lane[k]);                                              \
    }                                                                                                                       \
    static void name##_wide(const T *restrict x, ACC *restrict acc, isize rows, isize width, isize stride)                  \
    {                                                                                                                       \
        for (isize i = 0; i < rows; i += GROUP) {                                                                           \
            const isize count = smaller(GROUP, rows - i);                                                                   \
            isize j = 0;                                                                                                    \
            for (; j + LANES <= width; j += LANES) name##_group(x + i * stride + j, acc + j, count, LANES, stride);         \
            UNROLL                                                                                                          \
            for (isize lanes = LANES / 2; lanes > 0; lanes /= 2)                                                            \
                if (j + lanes <= width) {                                                                                   \
                    name##_group(x + i * stride + j, acc + j, count, lanes, stride);                                        \
                    j += lanes;                                                                                             \
                }                                                                                                           \
        }                                                                                                                   \
    }                                                                                                                       \
    static void name##_columns(const T *restrict x, ACC *restrict acc, isize rows, isize width, isize stride)               \
    {                                                                                                                       \
        isize fold = width == stride ? FOLD / larger(width, 1) : 0;                                                         \
        while (rows < 8 * fold) fold /= 2;                                                                                  \
        if (fold > 1) {                                                                                                     \
            ACC folded[FOLD];                                                                                               \
            isize glued = fold * width;                                                                                     \
            for (isize j = 0; j < glued; j++) folded[j] = IDENTITY;                                                         \
            name##_wide(x, folded, rows / fold, glued, glued);                                                              \
            for (isize k = 0; k < fold; k++)                                                                                \
                for (isize j = 0; j < width; j++) acc[j] = JOIN(acc[j], folded[k * width + j]);                             \
            x += rows / fold * glued;                                                                                       \
            rows %= fold;                                                                                                   \
        }                                                                                                                   \
        name##_wide(x, acc, rows, width, stride);                                                                           \
    }

#define REDUCTION(name, T, ACC, IDENTITY, JOIN)                                                                             \
    static void name##_task(void *context, isize index)                                                                     \
    {                                                                                                                       \
        const Reduction *r = context;                                                                                       \
        const Grid *g = &r->grid;                                                                                           \
        const Tile t = tile_of(g, index);                                                                                   \
        const T *x = r->x;                                                                                                  \
        T *out = r->out;                                                                                                    \
        if (g->inner == 1 && g->parts == 1) {                                                                               \
            name##_rows(x + t.first * g->n, out + t.first, t.last - t.first, g->n);                                         \
            return;                                                                                                         \
        }                                                                                                                   \
        for (isize o = t.first; o < t.last; o++) {                                                                          \
            const T *slab = x + (o * g->n + t.row) * g->inner + t.column;                                                   \
            ACC acc[MAX_WIDTH];                                                                                             \
            for (isize j = 0; j < t.width; j++) acc[j] = IDENTITY;                                                          \
            if (g->inner == 1)                                                                                              \
                acc[0] = name##_run(slab, t.rows);                                                                          \
            else                                                                                                            \
                name##_columns(slab, acc, t.rows, t.width, g->inner);                                                       \
            if (g->parts > 1)                                                                                               \
                memcpy((ACC *)r->partial + (o * g->parts + t.part) * g->inner + t.column, acc, t.width * sizeof(ACC));      \
            else                                                                                                            \
                for (isize j = 0; j < t.width; j++) out[o * g->inner + t.column + j] = (T)acc[j];                           \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(name)(const void *x, void *out, isize outer, isize n, isize inner)                                          \
    {                                                                                                                       \
        ACC partial[MAX_PARTIALS];                                                                                          \
        Reduction r = {.x = x, .out = out, .partial = partial, .grid = grid_of(outer, n, inner)};                           \
        run_tasks(name##_task, &r, r.grid.n_tasks, r.grid.large);                                                           \
        if (r.grid.parts == 1) return;                                                                                      \
        for (isize o = 0; o < outer; o++) {                                                                                 \
            ACC *first = partial + o * r.grid.parts * inner;                                                                \
            for (isize part = 1; part < r.grid.parts; part++)                                                               \
                for (isize j = 0; j < inner; j++) first[j] = JOIN(first[j], first[part * inner + j]);                       \
            for (isize j = 0; j < inner; j++) ((T *)out)[o * inner + j] = (T)first[j];                                      \
        }                                                                                                                   \
    }

#define DEFINE_REDUCTION(name, T, ACC, IDENTITY, JOIN)                                                                      \
    RUN_REDUCTION(name##_run, T, ACC, IDENTITY, JOIN)                                                                       \
    ROW_REDUCTION(name, T, T, JOIN)                                                                                         \
    COLUMNS(name, T, ACC, IDENTITY, JOIN)                                                                                   \
    REDUCTION(name, T, ACC, IDENTITY, JOIN)

DEFINE_REDUCTION(sum_i64, uint64_t, uint64_t, 0, ADD)
DEFINE_REDUCTION(sum_f32, float, double, 0, ADD)
DEFINE_REDUCTION(sum_f64, double, double, 0, ADD)
DEFINE_REDUCTION(max_b8, uint8_t, uint8_t, 0, MAXIMUM)
DEFINE_REDUCTION(max_i64, int64_t, int64_t, INT64_MIN, MAXIMUM)
DEFINE_REDUCTION(max_f32, float, float, -INFINITY, MAXIMUM)
DEFINE_REDUCTION(max_f64, double, double, -(double)INFINITY, MAXIMUM)
DEFINE_REDUCTION(min_b8, uint8_t, uint8_t, 1, MINIMUM)
DEFINE_REDUCTION(min_i64, int64_t, int64_t, INT64_MAX, MINIMUM)
DEFINE_REDUCTION(min_f32, float, float, INFINITY, MINIMUM)
DEFINE_REDUCTION(min_f64, double, double, (double)INFINITY, MINIMUM)

/* Products and running sums keep the order of the elements, so the middle axis is not cut. */
static Grid ordered_grid(isize outer, isize n, isize inner)
{
    Grid g = grid_of(outer, n, inner);
    g.n_tasks /= g.parts;
    g.parts = 1;
    g.part = n;
    return g;
}

#define DEFINE_PROD(name, T, ACC)                                                                                           \
    static void name##_task(void *context, isize index)                                                                     \
    {                                                                                                                       \
        const Reduction *r = context;                                                                                       \
        const isize n = r->grid.n, inner = r->grid.inner;                                                                   \
        const Tile t = tile_of(&r->grid, index);                                                                            \
        for (isize o = t.first; o < t.last; o++) {                                                                          \
            const T *x = (const T *)r->x + o * n * inner + t.column;                                                        \
            T *out = (T *)r->out + o * inner + t.column;                                                                    \
            if (inner == 1) {                                                                                               \
                ACC total = 1;                                                                                              \
                for (isize i = 0; i < n; i++) total *= (ACC)x[i];                                                           \
                *out = (T)total;                                                                                            \
                continue;                                                                                                   \
            }                                                                                                               \
            ACC acc[MAX_WIDTH];                                                                                             \
            for (isize j = 0; j < t.width; j++) acc[j] = 1;                                                                 \
            for (isize i = 0; i < n; i++)                                                                                   \
                for (isize j = 0; j < t.width; j++) acc[j] *= (ACC)x[i * inner + j];                                        \
            for (isize j = 0; j < t.width; j++) out[j] = (T)acc[j];                                                         \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(name)(const void *x, void *out, isize outer, isize n, isize inner)                                          \
    {                                                                                                                       \
        Reduction r = {.x = x, .out = out, .grid = ordered_grid(outer, n, inner)};                                          \
        run_tasks(name##_task, &r, r.grid.n_tasks, r.grid.large);                                                           \
    }

DEFINE_PROD(prod_i64, uint64_t, uint64_t)
DEFINE_PROD(prod_f32, float, double)
DEFINE_PROD(prod_f64, double, double)

#define DEFINE_CUMSUM(name, T, ACC)                                                                                         \
    static void name##_task(void *context, isize index)                                                                     \
    {                                                                                                                       \
        const Reduction *r = context;                                                                                       \
        const isize n = r->grid.n, inner = r->grid.inner;                                                                   \
        const Tile t = tile_of(&r->grid, index);                                                                            \
        for (isize o = t.first; o < t.last; o++) {                                                                          \
            const T *restrict x = (const T *)r->x + o * n * inner + t.column;                                               \
            T *restrict out = (T *)r->out + o * n * inner + t.column;                                                       \
            const isize start = r->reverse ? (n - 1) * inner : 0, step = r->reverse ? -inner : inner;                       \
            if (inner == 1) {                                                                                               \
                ACC total = 0;                                                                                              \
                for (isize i = 0, row = start; i < n; i++, row += step) {                                                   \
                    total += (ACC)x[row];                                                                                   \
                    out[row] = (T)total;                                                                                    \
                }                                                                                                           \
                continue;                                                                                                   \
            }                                                                                                               \
            ACC acc[MAX_WIDTH];                                                                                             \
            for (isize j = 0; j < t.width; j++) acc[j] = 0;                                                                 \
            for (isize i = 0, row = start; i < n; i++, row += step) {                                                       \
                for (isize j = 0; j < t.width; j++) {                                                                       \
                    acc[j] += (ACC)x[row + j];                                                                              \
                    out[row + j] = (T)acc[j];                                                                               \
                }                                                                                                           \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(name)(const void *x, void *out, isize outer, isize n, isize inner, bool reverse)                            \
    {                                                                                                                       \
        Reduction r = {.x = x, .out = out, .grid = ordered_grid(outer, n, inner), .reverse = reverse};                      \
        run_tasks(name##_task, &r, r.grid.n_tasks, r.grid.large);                                                           \
    }

DEFINE_CUMSUM(cumsum_i64, uint64_t, uint64_t)
DEFINE_CUMSUM(cumsum_f32, float, double)
DEFINE_CUMSUM(cumsum_f64, double, double)

/* The position of the first extreme or first NaN. MASK: an integer as wide as T; BEATS(b, a): the newcomer b takes the place
 * of a; run: the extreme value of a contiguous run. Partial results are positions; their values decide. */
#define BEATS_MAX(b, a) (((b) > (a)) | (((b) != (b)) & ((a) == (a))))
#define BEATS_MIN(b, a) (((b) < (a)) | (((b) != (b)) & ((a) == (a))))

#define DEFINE_ARG(name, T, MASK, BEATS, run)                                                                               \
    /* The first element that equals `value`, or is NaN (only where value is); one of the n does. */                        \
    static isize name##_find(const T *x, isize n, T value)                                                                  \
    {                                                                                                                       \
        isize i = 0;                                                                                                        \
        for (; i + LANES <= n; i += LANES) {                                                                                \
            MASK first = LANES;                                                                                             \
            for (isize k = 0; k < LANES; k++) {                                                                             \
                const MASK at = (x[i + k] == value) | (x[i + k] != x[i + k]) ? (MASK)k : (MASK)LANES;                       \
                first = at < first ? at : first;                                                                            \
            }                                                                                                               \
            if (first < LANES) return i + first;                                                                            \
        }                                                                                                                   \
        while (!((x[i] == value) | (x[i] != x[i]))) i++;                                                                    \
        return i;                                                                                                           \
    }                                                                                                                       \
    static isize name##_run(const T *x, isize n)                                                                            \
    {                                                                                                                       \
        enum { BLOCK = 512 };                                                                                               \
        T best = x[0];                                                                                                      \
        isize block = 0;                                                                                                    \
        for (isize i = 0; i < n; i += BLOCK) {                                                                              \
            const T value = run(x + i, smaller(BLOCK, n - i));                                                              \
            if (BEATS(value, best)) {                                                                                       \
                best = value;                                                                                               \
                block = i;                                                                                                  \
            }                                                                                                               \
        }                                                                                                                   \
        return block + name##_find(x + block, n - block, best);                                                             \
    }                                                                                                                       \
    ALWAYS_INLINE void name##_short_rows(const T *restrict x, int64_t *restrict out, isize rows, isize n)                   \
    {                                                                                                                       \
        for (isize i = 0; i < rows; i += LANES) {                                                                           \
            const isize lanes = smaller(LANES, rows - i);                                                                   \
            T best[LANES];                                                                                                  \
            MASK at[LANES] = {0};                                                                                           \
            for (isize k = 0; k < lanes; k++) best[k] = x[(i + k) * n];                                                     \
            for (isize c = 1; c < n; c++)                                                                                   \
                for (isize k = 0; k < lanes; k++) {                                                                         \
                    const T value = x[(i + k) * n + c];                                                                     \
                    const bool beats = BEATS(value, best[k]);                                                               \
                    best[k] = beats ? value : best[k];                                                                      \
                    at[k] = beats ? (MASK)c : at[k];                                                                        \
                }                                                                                                           \
            for (isize k = 0; k < lanes; k++) out[i + k] = at[k];                                                           \
        }                                                                                                                   \
    }                                                                                                                       \
    static void name##_rows(const T *restrict x, int64_t *restrict out, isize rows, isize n)                                \
    {                                                                                                                       \
        if (n == 2)                                                                                                         \
            name##_short_rows(x, out, rows, 2);                                                                             \
        else if (n == 3)                                                                                                    \
            name##_short_rows(x, out, rows, 3);                                                                             \
        else if (n < LANES)                                                                                                 \
            name##_short_rows(x, out, rows, n);                                                                             \
        else                                                                                                                \
            for (isize i = 0; i < rows; i++) out[i] = name##_run(x + i * n, n);                                             \
    }                                                                                                                       \
    static void name##_columns(const T *restrict x, int64_t *restrict at, isize rows, isize width, isize stride)            \
    {                                                                                                                       \
        T best[MAX_WIDTH];                                                                                                  \
        for (isize j = 0; j < width; j++) {                                                                                 \
            best[j] = x[j];                                                                                                 \
            at[j] = 0;                                                                                                      \
        }                                                                                                                   \
        for (isize i = 1; i < rows; i++)                                                                                    \
            for (isize j = 0; j < width; j++) {                                                                             \
                const T value = x[i * stride + j];                                                                          \
                const bool beats = BEATS(value, best[j]);                                                                   \
                best[j] = beats ? value : best[j];                                                                          \
                at[j] = beats ? i : at[j];                                                                                  \
            }                                                                                                               \
    }                                                                                                                       \
    static void name##_task(void *context, isize index)                                                                     \
    {                                                                                                                       \
        const Reduction *r = context;                                                                                       \
        const Grid *g = &r->grid;                                                                                           \
        const Tile t = tile_of(g, index);                                                                                   \
        if (g->inner == 1 && g->parts == 1) {                                                                               \
            name##_rows((const T *)r->x + t.first * g->n, (int64_t *)r->out + t.first, t.last - t.first, g->n);             \
            return;                                                                                                         \
        }                                                                                                                   \
        for (isize o = t.first; o < t.last; o++) {                                                                          \
            const T *slab = (const T *)r->x + (o * g->n + t.row) * g->inner + t.column;                                     \
            int64_t *at = (int64_t *)r->partial + (o * g->parts + t.part) * g->inner + t.column;                            \
            if (g->inner == 1)                                                                                              \
                at[0] = name##_run(slab, t.rows);                                                                           \
            else                                                                                                            \
                name##_columns(slab, at, t.rows, t.width, g->inner);                                                        \
            for (isize j = 0; j < t.width && t.row > 0; j++) at[j] += t.row;                                                \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(name)(const void *x, void *out, isize outer, isize n, isize inner)                                          \
    {                                                                                                                       \
        int64_t partial[MAX_PARTIALS];                                                                                      \
        Reduction r = {.x = x, .out = out, .grid = grid_of(outer, n, inner)};                                               \
        r.partial = r.grid.parts > 1 ? partial : out;                                                                       \
        run_tasks(name##_task, &r, r.grid.n_tasks, r.grid.large);                                                           \
        if (r.grid.parts == 1) return;                                                                                      \
        for (isize o = 0; o < outer; o++)                                                                                   \
            for (isize j = 0; j < inner; j++) {                                                                             \
                const T *column = (const T *)x + o * n * inner + j;                                                         \
                const int64_t *at = partial + o * r.grid.parts * inner + j;                                                 \
                int64_t best = at[0];                                                                                       \
                for (isize part = 1; part < r.grid.parts; part++)                                                           \
                    if (BEATS(column[at[part * inner] * inner], column[best * inner])) best = at[part * inner];             \
                ((int64_t *)out)[o * inner + j] = best;                                                                     \
            }                                                                                                               \
    }

DEFINE_ARG(argmax_b8, uint8_t, uint8_t, BEATS_MAX, max_b8_run)
DEFINE_ARG(argmax_i64, int64_t, int64_t, BEATS_MAX, max_i64_run)
DEFINE_ARG(argmax_f32, float, int32_t, BEATS_MAX, max_f32_run)
DEFINE_ARG(argmax_f64, double, int64_t, BEATS_MAX, max_f64_run)
DEFINE_ARG(argmin_b8, uint8_t, uint8_t, BEATS_MIN, min_b8_run)
DEFINE_ARG(argmin_i64, int64_t, int64_t, BEATS_MIN, min_i64_run)
DEFINE_ARG(argmin_f32, float, int32_t, BEATS_MIN, min_f32_run)
DEFINE_ARG(argmin_f64, double, int64_t, BEATS_MIN, min_f64_run)
