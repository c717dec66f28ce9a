/* Moving elements: select, cast, gather and scatter by index.
 *
 * Above: table.c.  Below: blocks.h.
 *
 * Kernels that only move bits are written for an item of a constant number of bytes, which memcpy turns into one move.
 */
#include "blocks.h"
#include "kernel_list.h"
#include <math.h>
#include <string.h>

typedef uint32_t __attribute__((may_alias)) bits32;
typedef uint64_t __attribute__((may_alias)) bits64;

/* Tasks over n elements, TASK each. */
#define OVER_ELEMENTS(task, context, n) run_tasks(task, context, blocks_of(n, TASK), (n) >= LARGE)

static void copy_bytes(void *out, const void *x, isize bytes)
{
    if (bytes > 0) /* the pointers of empty arrays may be NULL */
        memcpy(out, x, bytes);
}

/* select: where(condition, a, b), a pointwise kernel for items of each size */

#define DEFINE_SELECT(T, suffix)                                                                                            \
    void KERNEL(select_##suffix)(isize n, char *const *args)                                                                \
    {                                                                                                                       \
        const uint8_t *restrict condition = (const uint8_t *)args[0];                                                       \
        const T *restrict a = (const T *)args[1], *restrict b = (const T *)args[2];                                         \
        T *restrict out = (T *)args[3];                                                                                     \
        for (isize i = 0; i < n; i++) {                                                                                     \
            const T x = a[i], y = b[i];                                                                                     \
            out[i] = condition[i] ? x : y;                                                                                  \
        }                                                                                                                   \
    }

DEFINE_SELECT(uint8_t, b8)
DEFINE_SELECT(bits64, i64)
DEFINE_SELECT(bits32, f32)
DEFINE_SELECT(bits64, f64)

/* cast */

typedef struct {
    isize n;
    const void *x;
    void *out;
    int from, to;
} Cast;

/* What x86 does, made the rule: NaN and numbers outside int64 give its smallest number. */
#define TO_INT64(x) ((x) >= (__typeof__(x))INT64_MIN && (x) < -(__typeof__(x))INT64_MIN ? (int64_t)(x) : INT64_MIN)
#define TO_BOOL(x) ((x) != 0)
#define TO_FLOAT32(x) ((float)(x))
#define TO_FLOAT64(x) ((double)(x))

#define PAIR(from, to) ((from) * N_DTYPES + (to))

#define CAST_LOOP(FROM, TO, CONVERT)                                                                                        \
    {                                                                                                                       \
        const FROM *restrict x = c->x;                                                                                      \
        TO *restrict out = c->out;                                                                                          \
        for (isize i = first; i < last; i++) out[i] = CONVERT(x[i]);                                                        \
        break;                                                                                                              \
    }

static void cast_task(void *context, isize index)
{
    const Cast *c = context;
    const isize first = index * TASK, last = smaller(c->n, first + TASK);
    switch (PAIR(c->from, c->to)) {
    case PAIR(BOOL, INT64): CAST_LOOP(uint8_t, int64_t, (int64_t))
    case PAIR(BOOL, FLOAT32): CAST_LOOP(uint8_t, float, TO_FLOAT32)
    case PAIR(BOOL, FLOAT64): CAST_LOOP(uint8_t, double, TO_FLOAT64)
    case PAIR(INT64, BOOL): CAST_LOOP(int64_t, uint8_t, TO_BOOL)
    case PAIR(INT64, FLOAT32): CAST_LOOP(int64_t, float, TO_FLOAT32)
    case PAIR(INT64, FLOAT64): CAST_LOOP(int64_t, double, TO_FLOAT64)
    case PAIR(FLOAT32, BOOL): CAST_LOOP(float, uint8_t, TO_BOOL)
    case PAIR(FLOAT32, INT64): CAST_LOOP(float, int64_t, TO_INT64)
    case PAIR(FLOAT32, FLOAT64): CAST_LOOP(float, double, TO_FLOAT64)
    case PAIR(FLOAT64, BOOL): CAST_LOOP(double, uint8_t, TO_BOOL)
    case PAIR(FLOAT64, INT64): CAST_LOOP(double, int64_t, TO_INT64)
    case PAIR(FLOAT64, FLOAT32): CAST_LOOP(double, float, TO_FLOAT32)
    default: { /* to the same dtype */
        const isize size = c->from == BOOL ? 1 : c->from == FLOAT32 ? 4 : 8;
        copy_bytes((char *)c->out + first * size, (const char *)c->x + first * size, (last - first) * size);
    }
    }
}

void KERNEL(cast)(isize n, const void *x, int from, void *out, int to)
{
    Cast c = {n, x, out, from, to};
    OVER_ELEMENTS(cast_task, &c, n);
}

/* accumulate */

typedef struct {
    isize n;
    const void *x;
    void *acc;
} Accumulate;

#define DEFINE_ACCUMULATE(T, suffix)                                                                                        \
    static void accumulate_task_##suffix(void *context, isize index)                                                        \
    {                                                                                                                       \
        const Accumulate *a = context;                                                                                      \
        const isize from = index * TASK, to = smaller(a->n, from + TASK);                                                   \
        const T *restrict x = a->x;                                                                                         \
        T *restrict acc = a->acc;                                                                                           \
        for (isize i = from; i < to; i++) acc[i] += x[i];                                                                   \
    }                                                                                                                       \
    void KERNEL(accumulate_##suffix)(isize n, const void *x, void *acc)                                                     \
    {                                                                                                                       \
        Accumulate a = {n, x, acc};                                                                                         \
        OVER_ELEMENTS(accumulate_task_##suffix, &a, n);                                                                     \
    }

DEFINE_ACCUMULATE(float, f32)
DEFINE_ACCUMULATE(double, f64)

/* positions */

isize KERNEL(positions)(isize k, const int64_t *restrict index, int64_t least, int64_t n, int64_t *restrict out)
{
    uint64_t wrong = 0; /* its highest bit: an index is out of range, wherever these differences wrap around */
    for (isize i = 0; i < k; i++) {
        const int64_t at = index[i];
        wrong |= ((uint64_t)at - (uint64_t)least) | ((uint64_t)n - 1 - (uint64_t)at);
        out[i] = at < 0 ? at + n : at;
    }
    if (!(wrong >> 63)) return k;
    for (isize i = 0;; i++)
        if (index[i] < least || index[i] >= n) return i;
}

/* take and its adjoint */

typedef struct {
    const void *x;
    const int64_t *index;
    void *out;
    isize outer, n, k, inner;
    isize block; /* take: rows of outer * k that a task copies; its adjoint: columns, or rows of out, that a task owns */
    bool more;   /* the adjoint: out is added to as it is */
} Take;

ALWAYS_INLINE void take_rows(const Take *t, isize from, isize to, isize bytes)
{
    const char *x = (const char *)t->x + from / t->k * t->n * bytes;
    char *out = (char *)t->out;
    for (isize row = from, j = from % t->k; row < to; row++) {
        memcpy(out + row * bytes, x + t->index[j] * bytes, bytes);
        if (++j == t->k) {
            j = 0;
            x += t->n * bytes;
        }
    }
}

static void take_task(void *context, isize index)
{
    const Take *t = context;
    const isize from = index * t->block, to = smaller(from + t->block, t->outer * t->k);
    switch (t->inner) {
    case 1: take_rows(t, from, to, 1); break;
    case 4: take_rows(t, from, to, 4); break;
    case 8: take_rows(t, from, to, 8); break;
    case 16: take_rows(t, from, to, 16); break;
    case 32: take_rows(t, from, to, 32); break;
    default: take_rows(t, from, to, t->inner); break;
    }
}

void KERNEL(take)(const void *x, const int64_t *index, void *out, isize outer, isize n, isize k, isize inner_bytes)
{
    const isize rows = outer * k;
    if (rows * inner_bytes == 0) return;
    const bool large = rows * inner_bytes >= 4 * LARGE;
    Take t = {x, index, out, outer, n, k, inner_bytes, large ? larger(1, 4 * TASK / inner_bytes) : rows, false};
    run_tasks(take_task, &t, blocks_of(rows, t.block), large);
}

/* acc[index[j]] += g[j] for rows of `width` columns. */
#define DEFINE_ADD_ROWS(T, ACC, name)                                                                                       \
    static void name(const T *restrict g, isize g_row, const int64_t *restrict index, isize k, ACC *restrict acc,           \
                     isize acc_row, isize width)                                                                            \
    {                                                                                                                       \
        if (width == 1)                                                                                                     \
            for (isize j = 0; j < k; j++) acc[index[j] * acc_row] += (ACC)g[j * g_row];                                     \
        else                                                                                                                \
            for (isize j = 0; j < k; j++)                                                                                   \
                for (isize c = 0; c < width; c++) acc[index[j] * acc_row + c] += (ACC)g[j * g_row + c];                     \
    }

/* A task owns one strip of columns of one outer index, and adds in the order of the index: many float32 to few places, in
 * float64. */
#define DEFINE_TAKE_ADD(T, suffix)                                                                                          \
    DEFINE_ADD_ROWS(T, T, add_rows_##suffix)                                                                                \
    DEFINE_ADD_ROWS(T, double, add_rows_wide_##suffix)                                                                      \
    static void take_add_task_##suffix(void *context, isize task)                                                           \
    {                                                                                                                       \
        enum { FEW = 2048 };                                                                                                \
        const Take *t = context;                                                                                            \
        const isize strips = blocks_of(t->inner, t->block), inner = t->inner, n = t->n, k = t->k;                           \
        const isize o = task / strips, column = task % strips * t->block, width = smaller(t->block, inner - column);        \
        const T *g = (const T *)t->x + o * k * inner + column;                                                              \
        T *out = (T *)t->out + o * n * inner + column;                                                                      \
        if (sizeof(T) < sizeof(double) && n * width <= FEW && k > n && !t->more) {                                          \
            double acc[FEW] = {0};                                                                                          \
            add_rows_wide_##suffix(g, inner, t->index, k, acc, width, width);                                               \
            for (isize i = 0; i < n; i++)                                                                                   \
                for (isize c = 0; c < width; c++) out[i * inner + c] = (T)acc[i * width + c];                               \
        } else {                                                                                                            \
            for (isize i = 0; i < (t->more ? 0 : width == inner ? 1 : n); i++)                                              \
                memset(out + i * inner, 0, (width == inner ? n * inner : width) * sizeof(T));                               \
            add_rows_##suffix(g, inner, t->index, k, out, inner, width);                                                    \
        }                                                                                                                   \
    }                                                                                                                       \
    /* Of rows that are few and long a task owns some of out's instead, and looks for what belongs there. */                \
    static void take_add_rows_task_##suffix(void *context, isize task)                                                      \
    {                                                                                                                       \
        const Take *t = context;                                                                                            \
        const isize inner = t->inner, first = task * t->block, last = smaller(t->n, first + t->block);                      \
        T *out = (T *)t->out;                                                                                               \
        if (!t->more) memset(out + first * inner, 0, (last - first) * inner * sizeof(T));                                   \
        for (isize j = 0; j < t->k; j++)                                                                                    \
            if (t->index[j] >= first && t->index[j] < last)                                                                 \
                add_rows_##suffix((const T *)t->x + j * inner, inner, t->index + j, 1, out, inner, inner);                  \
    }                                                                                                                       \
    void KERNEL(take_add_##suffix)(const void *g, const int64_t *index, void *out, isize outer, isize n, isize k,           \
                                   isize inner, bool more)                                                                  \
    {                                                                                                                       \
        enum { MIN_STRIP = 256 }; /* columns: narrower ones would read and write memory in pieces */                        \
        const bool large = outer * (n + k) * inner >= LARGE;                                                                \
        if (outer * n * inner == 0) return;                                                                                 \
        Take t = {g, index, out, outer, n, k, inner, inner, more};                                                          \
        if (large && outer == 1 && inner >= 16 && inner < 8 * MIN_STRIP && n >= 1024) {                                     \
            t.block = blocks_of(n, 8);                                                                                      \
            run_tasks(take_add_rows_task_##suffix, &t, 8, true);                                                            \
            return;                                                                                                         \
        }                                                                                                                   \
        if (large && outer < 8) t.block = smaller(inner, larger(MIN_STRIP, blocks_of(inner, 8)));                           \
        run_tasks(take_add_task_##suffix, &t, outer * blocks_of(inner, t.block), large);                                    \
    }

DEFINE_TAKE_ADD(float, f32)
DEFINE_TAKE_ADD(double, f64)
