/* Moving elements: select, cast, gather and scatter by index, and the windows of convolution and pooling.
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
    isize block; /* take: how many of the outer * k rows a task copies; its adjoint: how many columns a task adds */
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
    Take t = {x, index, out, outer, n, k, inner_bytes, large ? larger(1, 4 * TASK / inner_bytes) : rows};
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
        if (sizeof(T) < sizeof(double) && n * width <= FEW && k > n) {                                                      \
            double acc[FEW] = {0};                                                                                          \
            add_rows_wide_##suffix(g, inner, t->index, k, acc, width, width);                                               \
            for (isize i = 0; i < n; i++)                                                                                   \
                for (isize c = 0; c < width; c++) out[i * inner + c] = (T)acc[i * width + c];                               \
        } else {                                                                                                            \
            for (isize i = 0; i < (width == inner ? 1 : n); i++)                                                            \
                memset(out + i * inner, 0, (width == inner ? n * inner : width) * sizeof(T));                               \
            add_rows_##suffix(g, inner, t->index, k, out, inner, width);                                                    \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(take_add_##suffix)(const void *g, const int64_t *index, void *out, isize outer, isize n, isize k,           \
                                   isize inner)                                                                             \
    {                                                                                                                       \
        enum { MIN_STRIP = 256 }; /* columns: narrower ones would read and write memory in pieces */                        \
        const bool large = outer * (n + k) * inner >= LARGE;                                                                \
        if (outer * n * inner == 0) return;                                                                                 \
        Take t = {g, index, out, outer, n, k, inner, inner};                                                                \
        if (large && outer < 8) t.block = smaller(inner, larger(MIN_STRIP, blocks_of(inner, 8)));                           \
        run_tasks(take_add_task_##suffix, &t, outer * blocks_of(inner, t.block), large);                                    \
    }

DEFINE_TAKE_ADD(float, f32)
DEFINE_TAKE_ADD(double, f64)

/* Windows */

/* The window positions p in [*from, *to) whose element p * stride + offset is inside [0, size); others meet padding. */
static inline void inside(isize positions, isize stride, isize offset, isize size, isize *from, isize *to)
{
    *from = offset < 0 ? smaller(positions, blocks_of(-offset, stride)) : 0;
    *to = offset < size ? smaller(positions, (size - 1 - offset) / stride + 1) : 0;
    *to = larger(*from, *to);
}

/* One element (kh, kw) of the window, over all its positions: the rows [top, bottom) and columns [left, right) of positions
 * that are not in the padding, and the image coordinates of position (0, 0). */
typedef struct {
    isize top, bottom, left, right, y, x;
} Tap;

static inline Tap tap_of(const Window *w, isize kh, isize kw)
{
    Tap t = {.y = kh * w->dilation_h - w->pad_h, .x = kw * w->dilation_w - w->pad_w};
    inside(w->out_h, w->stride_h, t.y, w->height, &t.top, &t.bottom);
    inside(w->out_w, w->stride_w, t.x, w->width, &t.left, &t.right);
    return t;
}

typedef struct {
    const Window *w;
    const void *x;
    void *out;
} WindowTasks;

/* For every tap and every row of positions inside the image: the body sees `count` positions; their image elements begin at
 * offset `image_at` of the plane, stride_w apart, and their positions' offset in a plane of positions is `position_at`. */
#define FOR_EACH_TAP_ROW(w, ...)                                                                                            \
    for (isize kh = 0; kh < (w)->kernel_h; kh++)                                                                            \
        for (isize kw = 0; kw < (w)->kernel_w; kw++) {                                                                      \
            const Tap tap = tap_of(w, kh, kw);                                                                              \
            const isize count = tap.right - tap.left;                                                                       \
            for (isize oh = tap.top; oh < tap.bottom && count > 0; oh++) {                                                  \
                const isize position_at = oh * (w)->out_w + tap.left;                                                       \
                const isize image_at = (tap.y + oh * (w)->stride_h) * (w)->width + tap.x + tap.left * (w)->stride_w;        \
                __VA_ARGS__                                                                                                 \
            }                                                                                                               \
        }

/* target[i * a] += source[i * b], with a loop of its own for unit strides. */
#define DEFINE_STRIDED_ADD(T, suffix)                                                                                       \
    ALWAYS_INLINE void add_strided_##suffix(T *restrict target, isize a, const T *restrict source, isize b, isize n)        \
    {                                                                                                                       \
        if (a == 1 && b == 1)                                                                                               \
            for (isize i = 0; i < n; i++) target[i] += source[i];                                                           \
        else                                                                                                                \
            for (isize i = 0; i < n; i++) target[i * a] += source[i * b];                                                   \
    }

/* A task is one channel. */
#define DEFINE_IM2COL(T, suffix)                                                                                            \
    static void im2col_task_##suffix(void *context, isize channel)                                                          \
    {                                                                                                                       \
        const WindowTasks *t = context;                                                                                     \
        const Window *w = t->w;                                                                                             \
        const isize positions = w->out_h * w->out_w, taps = w->kernel_h * w->kernel_w;                                      \
        const T *restrict image = (const T *)t->x + channel * w->height * w->width;                                         \
        for (isize k = 0; k < taps; k++) {                                                                                  \
            T *restrict column = (T *)t->out + (channel * taps + k) * positions;                                            \
            const Tap tap = tap_of(w, k / w->kernel_w, k % w->kernel_w);                                                    \
            const isize count = tap.right - tap.left;                                                                       \
            memset(column, 0, tap.top * w->out_w * sizeof(T));                                                              \
            for (isize oh = tap.top; oh < tap.bottom; oh++) {                                                               \
                const T *restrict source = image + (tap.y + oh * w->stride_h) * w->width;                                   \
                T *restrict row = column + oh * w->out_w;                                                                   \
                for (isize i = 0; i < tap.left; i++) row[i] = 0;                                                            \
                if (w->stride_w == 1 && count > 0)                                                                          \
                    memcpy(row + tap.left, source + tap.x + tap.left, count * sizeof(T));                                   \
                else                                                                                                        \
                    for (isize i = tap.left; i < tap.right; i++) row[i] = source[tap.x + i * w->stride_w];                  \
                for (isize i = tap.right; i < w->out_w; i++) row[i] = 0;                                                    \
            }                                                                                                               \
            memset(column + tap.bottom * w->out_w, 0, (w->out_h - tap.bottom) * w->out_w * sizeof(T));                      \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(im2col_##suffix)(const Window *w, const void *image, void *column)                                          \
    {                                                                                                                       \
        WindowTasks t = {w, image, column};                                                                                 \
        const isize work = w->channels * w->kernel_h * w->kernel_w * w->out_h * w->out_w;                                   \
        if (work > 0) run_tasks(im2col_task_##suffix, &t, w->channels, work >= LARGE);                                      \
    }                                                                                                                       \
    static void col2im_task_##suffix(void *context, isize channel)                                                          \
    {                                                                                                                       \
        const WindowTasks *t = context;                                                                                     \
        const Window *w = t->w;                                                                                             \
        const isize positions = w->out_h * w->out_w, taps = w->kernel_h * w->kernel_w;                                      \
        const T *restrict columns = (const T *)t->x + channel * taps * positions;                                           \
        T *restrict image = (T *)t->out + channel * w->height * w->width;                                                   \
        memset(image, 0, w->height * w->width * sizeof(T));                                                                 \
        FOR_EACH_TAP_ROW(w, {                                                                                               \
            const T *source = columns + (kh * w->kernel_w + kw) * positions + position_at;                                  \
            add_strided_##suffix(image + image_at, w->stride_w, source, 1, count);                                          \
        })                                                                                                                  \
    }                                                                                                                       \
    void KERNEL(col2im_##suffix)(const Window *w, const void *column, void *image)                                          \
    {                                                                                                                       \
        WindowTasks t = {w, column, image};                                                                                 \
        const isize work = w->channels * w->kernel_h * w->kernel_w * w->out_h * w->out_w;                                   \
        if (w->channels * w->height * w->width > 0) run_tasks(col2im_task_##suffix, &t, w->channels, work >= LARGE);        \
    }

/* A task is one plane. */
enum { POOL_TILE = 1024 };

#define DEFINE_POOL(T, suffix)                                                                                              \
    static void window_sum_task_##suffix(void *context, isize plane)                                                        \
    {                                                                                                                       \
        const WindowTasks *t = context;                                                                                     \
        const Window *w = t->w;                                                                                             \
        const T *restrict x = (const T *)t->x + plane * w->height * w->width;                                               \
        T *restrict out = (T *)t->out + plane * w->out_h * w->out_w;                                                        \
        memset(out, 0, w->out_h * w->out_w * sizeof(T));                                                                    \
        FOR_EACH_TAP_ROW(w, { add_strided_##suffix(out + position_at, 1, x + image_at, w->stride_w, count); })              \
    }                                                                                                                       \
    static void window_spread_task_##suffix(void *context, isize plane)                                                     \
    {                                                                                                                       \
        const WindowTasks *t = context;                                                                                     \
        const Window *w = t->w;                                                                                             \
        const T *restrict g = (const T *)t->x + plane * w->out_h * w->out_w;                                                \
        T *restrict out = (T *)t->out + plane * w->height * w->width;                                                       \
        memset(out, 0, w->height * w->width * sizeof(T));                                                                   \
        FOR_EACH_TAP_ROW(w, { add_strided_##suffix(out + image_at, w->stride_w, g + position_at, 1, count); })              \
    }                                                                                                                       \
    /* Positions are taken in tiles, whose maxima so far are kept in `best`. A window of mere padding keeps -1. */          \
    static void max_pool_tile_##suffix(const Window *w, const T *restrict x, isize base, int64_t *restrict at,              \
                                       isize first_row, isize rows, isize first_column, isize columns)                      \
    {                                                                                                                       \
        T best[POOL_TILE];                                                                                                  \
        for (isize i = 0; i < rows * columns; i++) best[i] = -(T)INFINITY;                                                  \
        for (isize i = 0; i < rows; i++)                                                                                    \
            for (isize j = 0; j < columns; j++) at[(first_row + i) * w->out_w + first_column + j] = -1;                     \
        for (isize k = 0; k < w->kernel_h * w->kernel_w; k++) {                                                             \
            const Tap tap = tap_of(w, k / w->kernel_w, k % w->kernel_w);                                                    \
            const isize left = larger(tap.left, first_column), stride = w->stride_w;                                        \
            const isize count = smaller(tap.right, first_column + columns) - left;                                          \
            const isize last_row = count > 0 ? smaller(tap.bottom, first_row + rows) : 0;                                   \
            for (isize oh = larger(tap.top, first_row); oh < last_row; oh++) {                                              \
                const isize source = base + (tap.y + oh * w->stride_h) * w->width + tap.x + left * stride;                  \
                T *restrict held = best + (oh - first_row) * columns + left - first_column;                                 \
                int64_t *restrict held_at = at + oh * w->out_w + left;                                                      \
                for (isize i = 0; i < count; i++) {                                                                         \
                    const T value = x[source + i * stride], before = held[i];                                               \
                    const int64_t before_at = held_at[i];                                                                   \
                    const bool beats = (value > before) | ((value != value) & (before == before)) | (before_at < 0);        \
                    held[i] = beats ? value : before;                                                                       \
                    held_at[i] = beats ? source + i * stride : before_at;                                                   \
                }                                                                                                           \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    static void max_pool_task_##suffix(void *context, isize plane)                                                          \
    {                                                                                                                       \
        const WindowTasks *t = context;                                                                                     \
        const Window *w = t->w;                                                                                             \
        int64_t *at = (int64_t *)t->out + plane * w->out_h * w->out_w;                                                      \
        const isize columns = smaller(w->out_w, POOL_TILE), rows = POOL_TILE / columns;                                     \
        for (isize i = 0; i < w->out_h; i += rows)                                                                          \
            for (isize j = 0; j < w->out_w; j += columns)                                                                   \
                max_pool_tile_##suffix(w, t->x, plane * w->height * w->width, at, i, smaller(rows, w->out_h - i), j,        \
                                       smaller(columns, w->out_w - j));                                                     \
    }                                                                                                                       \
    static void over_planes_##suffix(task_fn task, const Window *w, const void *x, void *out, isize images)                 \
    {                                                                                                                       \
        WindowTasks t = {w, x, out};                                                                                        \
        const isize work = images * w->out_h * w->out_w * w->kernel_h * w->kernel_w;                                        \
        run_tasks(task, &t, images, work >= LARGE);                                                                         \
    }                                                                                                                       \
    void KERNEL(window_sum_##suffix)(const Window *w, const void *x, void *out, isize images)                               \
    {                                                                                                                       \
        if (w->out_h * w->out_w > 0) over_planes_##suffix(window_sum_task_##suffix, w, x, out, images);                     \
    }                                                                                                                       \
    void KERNEL(window_spread_##suffix)(const Window *w, const void *g, void *out, isize images)                            \
    {                                                                                                                       \
        if (w->height * w->width > 0) over_planes_##suffix(window_spread_task_##suffix, w, g, out, images);                 \
    }                                                                                                                       \
    void KERNEL(max_pool_index_##suffix)(const Window *w, const void *x, int64_t *index, isize images)                      \
    {                                                                                                                       \
        if (w->out_h * w->out_w > 0) over_planes_##suffix(max_pool_task_##suffix, w, x, index, images);                     \
    }

#define DEFINE_WINDOWS(T, suffix)                                                                                           \
    DEFINE_STRIDED_ADD(T, suffix)                                                                                           \
    DEFINE_IM2COL(T, suffix)                                                                                                \
    DEFINE_POOL(T, suffix)

DEFINE_WINDOWS(float, f32)
DEFINE_WINDOWS(double, f64)
