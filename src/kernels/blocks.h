/* What the kernels that walk arrays in blocks share: how large work is cut into tasks, and how a contiguous run is reduced.
 *
 * Above: reduce.c, rows.c, index.c, update.c.  Below: runtime/threads.h.
 *
 * Every cut depends on sizes alone, never on the number of threads, so results do not either.
 */
#pragma once
#include "../runtime/threads.h"
#include "kernels.h"

enum {
    LARGE = 1 << 18,     /* elements from which work is given to the thread pool */
    TASK = 1 << 15,      /* about how many elements a task takes */
    MAX_WIDTH = 1024,    /* most columns a task takes */
    MAX_PARTIALS = 8192, /* most partial results of one reduction; they live on the stack */
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Asserts that no iteration of the next loop depends on another; output may still be an input, element for element. */
#define IVDEP _Pragma("GCC ivdep")
#define UNROLL _Pragma("GCC unroll 8")

ALWAYS_INLINE isize smaller(isize a, isize b) { return a < b ? a : b; }
ALWAYS_INLINE isize larger(isize a, isize b) { return a > b ? a : b; }
ALWAYS_INLINE isize blocks_of(isize n, isize block) { return (n + block - 1) / block; }

/* The window positions p in [*from, *to) whose element p * stride + offset is inside [0, size); others meet padding. */
static inline void inside(isize positions, isize stride, isize offset, isize size, isize *from, isize *to)
{
    *from = offset < 0 ? smaller(positions, blocks_of(-offset, stride)) : 0;
    *to = offset < size ? smaller(positions, (size - 1 - offset) / stride + 1) : 0;
    *to = larger(*from, *to);
}

static inline void run_tasks(task_fn task, void *context, isize n_tasks, bool large)
{
    if (large)
        parallel(task, context, n_tasks);
    else
        for (isize i = 0; i < n_tasks; i++) task(context, i);
}

/* The tasks of a reduction of (outer, n, inner) along n: blocks of outer, by strips of columns, by parts of n.
 * More than one part is made only where the other two give too few tasks; then each has partial results to be joined. */
typedef struct {
    isize outer, n, inner;
    isize block, width, part; /* how many of each a task takes */
    isize strips, parts, n_tasks;
    bool large;
} Grid;

/* What one task takes: outer index from `first` to `last`, rows [row, row + rows), columns [column, column + width). */
typedef struct {
    isize first, last, row, rows, column, width, part;
} Tile;

static inline Grid grid_of(isize outer, isize n, isize inner)
{
    enum { FEW = 16, MAX_PARTS = 64 };
    isize slab = n * inner, total = outer * slab;
    Grid g = {.outer = outer, .n = n, .inner = inner, .block = larger(outer, 1), .part = n, .parts = 1};
    g.large = total >= LARGE;
    g.width = smaller(larger(inner, 1), MAX_WIDTH);
    if (g.large) g.block = larger(1, TASK / slab);
    g.strips = blocks_of(inner, g.width);
    isize tasks = blocks_of(outer, g.block) * g.strips;
    if (g.large && tasks < FEW) {
        isize parts = smaller(total / tasks / TASK, smaller(MAX_PARTS, MAX_PARTIALS / (outer * inner)));
        g.part = blocks_of(n, larger(parts, 1));
        g.parts = blocks_of(n, g.part);
    }
    g.n_tasks = tasks * g.parts;
    return g;
}

static inline Tile tile_of(const Grid *g, isize task)
{
    Tile t = {.part = task % g->parts};
    isize strip = task / g->parts % g->strips;
    t.first = task / g->parts / g->strips * g->block;
    t.last = smaller(t.first + g->block, g->outer);
    t.row = t.part * g->part;
    t.rows = smaller(g->part, g->n - t.row);
    t.column = strip * g->width;
    t.width = smaller(g->width, g->inner - t.column);
    return t;
}

/* Reduction of a contiguous run, n >= 0: ACC name(x, n), where JOIN(a, b) is associative up to rounding. Runs of RUN
 * elements are reduced by independent lanes of T, which the compiler keeps in vector registers; their results are joined
 * pairwise in ACC. */
enum { RUN = 2048, LANES = 32 };

#define RUN_REDUCTION(name, T, ACC, IDENTITY, JOIN)                                                                         \
    static inline ACC name##_short(const T *x, isize n)                                                                     \
    {                                                                                                                       \
        T lane[LANES];                                                                                                      \
        isize i = n < LANES ? 0 : LANES;                                                                                    \
        for (isize k = 0; k < LANES; k++) lane[k] = IDENTITY;                                                               \
        if (n >= LANES)                                                                                                     \
            for (isize k = 0; k < LANES; k++) lane[k] = x[k];                                                               \
        for (; i + LANES <= n; i += LANES)                                                                                  \
            for (isize k = 0; k < LANES; k++) lane[k] = JOIN(lane[k], x[i + k]);                                            \
        /* Half the lanes join the others, and take in what is left if there are so many: all trip counts are constants. */ \
        UNROLL                                                                                                              \
        for (isize half = LANES / 2; half > 0; half /= 2) {                                                                 \
            for (isize k = 0; k < half; k++) lane[k] = JOIN(lane[k], lane[k + half]);                                       \
            if (i + half <= n) {                                                                                            \
                for (isize k = 0; k < half; k++) lane[k] = JOIN(lane[k], x[i + k]);                                         \
                i += half;                                                                                                  \
            }                                                                                                               \
        }                                                                                                                   \
        return lane[0];                                                                                                     \
    }                                                                                                                       \
    static __attribute__((unused)) ACC name(const T *x, isize n)                                                            \
    {                                                                                                                       \
        if (n <= RUN) return name##_short(x, n);                                                                            \
        isize half = blocks_of(n / 2, RUN) * RUN;                                                                           \
        ACC left = name(x, half), right = name(x + half, n - half);                                                         \
        return JOIN(left, right);                                                                                           \
    }

/* Reduction of contiguous rows: name_rows(x, out, rows, n). Rows too short for lanes of their own: a lane takes a row each; the
 * shortest lengths are constants. Longer rows are runs, which RUN_REDUCTION(name_run, ...) reduces. */
#define ROW_REDUCTION(name, T, OUT, JOIN)                                                                                   \
    ALWAYS_INLINE void name##_short_rows(const T *restrict x, OUT *restrict out, isize rows, isize n)                       \
    {                                                                                                                       \
        isize i = 0;                                                                                                        \
        for (; i + LANES <= rows; i += LANES) {                                                                             \
            T total[LANES];                                                                                                 \
            for (isize k = 0; k < LANES; k++) total[k] = x[(i + k) * n];                                                    \
            for (isize c = 1; c < n; c++)                                                                                   \
                for (isize k = 0; k < LANES; k++) total[k] = JOIN(total[k], x[(i + k) * n + c]);                            \
            for (isize k = 0; k < LANES; k++) out[i + k] = total[k];                                                        \
        }                                                                                                                   \
        for (; i < rows; i++) {                                                                                             \
            T total = x[i * n];                                                                                             \
            for (isize c = 1; c < n; c++) total = JOIN(total, x[i * n + c]);                                                \
            out[i] = total;                                                                                                 \
        }                                                                                                                   \
    }                                                                                                                       \
    static void name##_rows(const T *restrict x, OUT *restrict out, isize rows, isize n)                                    \
    {                                                                                                                       \
        if (n == 2)                                                                                                         \
            name##_short_rows(x, out, rows, 2);                                                                             \
        else if (n == 3)                                                                                                    \
            name##_short_rows(x, out, rows, 3);                                                                             \
        else if (n == 4)                                                                                                    \
            name##_short_rows(x, out, rows, 4);                                                                             \
        else if (0 < n && n < LANES)                                                                                        \
            name##_short_rows(x, out, rows, n);                                                                             \
        else                                                                                                                \
            for (isize i = 0; i < rows; i++) out[i] = (OUT)name##_run(x + i * n, n);                                        \
    }

#define ADD(a, b) ((a) + (b))
/* A NaN in a stays, since nothing compares with it; a NaN in b comes in. No branch of it is hard to predict: the inner choice is
 * one instruction. */
#define MAXIMUM(a, b) ((b) != (b) ? (b) : (b) > (a) ? (b) : (a))
#define MINIMUM(a, b) ((b) != (b) ? (b) : (b) < (a) ? (b) : (a))
