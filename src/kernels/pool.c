/* Pooling: sums and maxima of the windows of planes, and their adjoints.
 *
 * Above: src/windows.pxi, through the table (kernels.h).  Below: blocks.h.
 *
 * One loop serves all: for every element (tap) of the window, and every row of positions, a run of positions whose elements
 * of the plane are `stride` apart.  Windows of 2 by 2 that neither overlap nor leave gaps have loops of their own for maxima.
 */
#include "blocks.h"
#include "kernel_list.h"

#include <math.h>
#include <string.h>

/* One tap (kh, kw), over all positions: the rows [top, bottom) and columns [left, right) of positions where it is not in the
 * padding, and its coordinates in the plane for position (0, 0). */
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

/* A part of the positions. */
typedef struct {
    isize top, bottom, left, right;
} Part;

/* For every tap and row of positions in the part: the body sees `count` positions, the first at offset `position` of a plane of
 * positions; their elements begin at offset `at` of the plane, `step` apart. */
#define FOR_EACH_TAP_ROW(w, part, ...)                                                                                      \
    for (isize kh = 0; kh < (w)->kernel_h; kh++)                                                                            \
        for (isize kw = 0; kw < (w)->kernel_w; kw++) {                                                                      \
            const Tap tap = tap_of(w, kh, kw);                                                                              \
            const isize left = larger(tap.left, part.left), count = smaller(tap.right, part.right) - left;                  \
            const isize end = count > 0 ? smaller(tap.bottom, part.bottom) : 0, step = (w)->stride_w;                       \
            for (isize row = larger(tap.top, part.top); row < end; row++) {                                                 \
                const isize position = row * (w)->out_w + left;                                                             \
                const isize at = (tap.y + row * (w)->stride_h) * (w)->width + tap.x + left * step;                          \
                __VA_ARGS__                                                                                                 \
            }                                                                                                               \
        }

/* What is done to one plane x with maxima y: v (or x) is summed or picked to `out`, or spread. */
typedef void (*plane_fn)(const Window *w, const void *x, const void *y, const void *v, void *out);

/* Tasks are runs of `block` planes. */
typedef struct {
    plane_fn plane;
    const Window *w;
    const char *x, *y, *v;
    char *out;
    bool spread; /* does it go from positions to elements? */
    isize planes, block, bytes, position_bytes;
} Pool;

static const void *plane_at(const char *base, isize i, isize bytes) { return base ? base + i * bytes : NULL; }

static void pool_task(void *context, isize index)
{
    const Pool *p = context;
    const isize from = p->spread ? p->position_bytes : p->bytes, to = p->spread ? p->bytes : p->position_bytes;
    for (isize i = index * p->block; i < smaller(p->planes, (index + 1) * p->block); i++)
        p->plane(p->w, plane_at(p->x, i, p->bytes), plane_at(p->y, i, p->position_bytes), plane_at(p->v, i, from),
                 p->out + i * to);
}

static void run_pool(plane_fn plane, bool spread, isize size, const Window *w, const void *x, const void *y, const void *v,
                     void *out, isize planes)
{
    const isize elements = w->height * w->width, positions = w->out_h * w->out_w;
    const isize work = planes * positions * w->kernel_h * w->kernel_w;
    if (work == 0 || elements == 0) return;
    Pool p = {plane, w, x, y, v, out, spread, planes, larger(1, TASK / elements), elements * size, positions * size};
    run_tasks(pool_task, &p, blocks_of(planes, p.block), work >= LARGE);
}

/* Does every element lie in exactly one window of 2 by 2 (but for a last odd row or column)? */
static bool is_quarter(const Window *w)
{
    return w->kernel_h == 2 && w->kernel_w == 2 && w->stride_h == 2 && w->stride_w == 2 && w->pad_h == 0 && w->pad_w == 0 &&
           w->dilation_h == 1 && w->dilation_w == 1;
}

#define PLANE_FN(name, suffix)                                                                                              \
    static void name##_##suffix##_plane(const Window *w, const void *x_plane, const void *y_plane, const void *v_plane,     \
                                        void *out_plane)
#define PLANES(T)                                                                                                           \
    const T *restrict x = x_plane, *restrict y = y_plane, *restrict v = v_plane;                                            \
    T *restrict out = out_plane;                                                                                            \
    const Part all = {0, w->out_h, 0, w->out_w};                                                                            \
    (void)x, (void)y, (void)v, (void)all;

/* target[i * a] += source[i * b], with a loop of its own for unit steps. */
#define DEFINE_SUMS(T, suffix)                                                                                              \
    ALWAYS_INLINE void add_strided_##suffix(T *restrict target, isize a, const T *restrict source, isize b, isize n)        \
    {                                                                                                                       \
        if (a == 1 && b == 1)                                                                                               \
            for (isize i = 0; i < n; i++) target[i] += source[i];                                                           \
        else                                                                                                                \
            for (isize i = 0; i < n; i++) target[i * a] += source[i * b];                                                   \
    }                                                                                                                       \
    PLANE_FN(window_sum, suffix)                                                                                            \
    {                                                                                                                       \
        PLANES(T)                                                                                                           \
        memset(out, 0, w->out_h * w->out_w * sizeof(T));                                                                    \
        FOR_EACH_TAP_ROW(w, all, { add_strided_##suffix(out + position, 1, x + at, step, count); })                         \
    }                                                                                                                       \
    PLANE_FN(window_spread, suffix)                                                                                         \
    {                                                                                                                       \
        PLANES(T)                                                                                                           \
        memset(out, 0, w->height * w->width * sizeof(T));                                                                   \
        FOR_EACH_TAP_ROW(w, all, { add_strided_##suffix(out + at, step, v + position, 1, count); })                         \
    }

/* ---- Maxima. NaN wins; the place of a maximum is the first tap that equals it, or is NaN. ---- */

/* Rows of windows of 2 by 2: x0 and x1 are the rows of elements that they take. All four elements are tested, though the last
 * test is not needed: loops that load every element vectorize whole. */
#define DEFINE_QUARTERS(T, suffix)                                                                                          \
    ALWAYS_INLINE T larger_##suffix(T a, T b)                                                                               \
    {                                                                                                                       \
        const T most = b > a ? b : a;                                                                                       \
        return b != b ? b : most;                                                                                           \
    }                                                                                                                       \
    static void quarter_max_##suffix(const T *restrict x0, const T *restrict x1, T *restrict y, isize n)                    \
    {                                                                                                                       \
        for (isize i = 0; i < n; i++)                                                                                       \
            y[i] = larger_##suffix(larger_##suffix(x0[2 * i], x0[2 * i + 1]), larger_##suffix(x1[2 * i], x1[2 * i + 1]));   \
    }                                                                                                                       \
    static void quarter_pick_##suffix(const T *restrict x0, const T *restrict x1, const T *restrict y,                      \
                                      const T *restrict v0, const T *restrict v1, T *restrict out, isize n)                 \
    {                                                                                                                       \
        for (isize i = 0; i < n; i++) {                                                                                     \
            const T a = x0[2 * i], b = x0[2 * i + 1], c = x1[2 * i], d = x1[2 * i + 1], m = y[i];                           \
            const T va = v0[2 * i], vb = v0[2 * i + 1], vc = v1[2 * i], vd = v1[2 * i + 1];                                 \
            const T last = (d == m) | (d != d) ? vd : 0, cd = (c == m) | (c != c) ? vc : last,                              \
                    bcd = (b == m) | (b != b) ? vb : cd;                                                                    \
            out[i] = (a == m) | (a != a) ? va : bcd;                                                                        \
        }                                                                                                                   \
    }                                                                                                                       \
    static void quarter_spread_##suffix(const T *restrict x0, const T *restrict x1, const T *restrict y,                    \
                                        const T *restrict g, T *restrict out0, T *restrict out1, isize n)                   \
    {                                                                                                                       \
        for (isize i = 0; i < n; i++) {                                                                                     \
            const T a = x0[2 * i], b = x0[2 * i + 1], c = x1[2 * i], d = x1[2 * i + 1], m = y[i], all = g[i];               \
            const T ga = (a == m) | (a != a) ? all : 0, after_a = (a == m) | (a != a) ? 0 : all;                            \
            const T gb = (b == m) | (b != b) ? after_a : 0, after_b = (b == m) | (b != b) ? 0 : after_a;                    \
            const T gc = (c == m) | (c != c) ? after_b : 0, after_c = (c == m) | (c != c) ? 0 : after_b;                    \
            out0[2 * i] = ga;                                                                                               \
            out0[2 * i + 1] = gb;                                                                                           \
            out1[2 * i] = gc;                                                                                               \
            out1[2 * i + 1] = (d == m) | (d != d) ? after_c : 0;                                                            \
        }                                                                                                                   \
    }

/* For other windows: `met` marks the positions, of a part of them, whose place has been met; `action` is done there. */
enum { MARKS = 4096 };

#define FOR_EACH_PLACE(w, T, x, y, action)                                                                                  \
    {                                                                                                                       \
        const isize columns = smaller(w->out_w, MARKS), rows = MARKS / columns;                                             \
        uint8_t met[MARKS];                                                                                                 \
        for (isize top = 0; top < w->out_h; top += rows)                                                                    \
            for (isize first = 0; first < w->out_w; first += columns) {                                                     \
                const Part part = {top, smaller(top + rows, w->out_h), first, smaller(first + columns, w->out_w)};          \
                memset(met, 0, MARKS);                                                                                      \
                FOR_EACH_TAP_ROW(w, part, {                                                                                 \
                    uint8_t *restrict mark = met + (row - top) * columns + left - first;                                    \
                    for (isize i = 0; i < count; i++) {                                                                     \
                        const T value = x[at + i * step];                                                                   \
                        const bool here = ((value == y[position + i]) | (value != value)) & !mark[i];                       \
                        mark[i] |= here;                                                                                    \
                        action;                                                                                             \
                    }                                                                                                       \
                })                                                                                                          \
            }                                                                                                               \
    }

#define DEFINE_MAXIMA(T, suffix)                                                                                            \
    PLANE_FN(window_max, suffix)                                                                                            \
    {                                                                                                                       \
        PLANES(T)                                                                                                           \
        if (is_quarter(w)) {                                                                                                \
            for (isize row = 0; row < w->out_h; row++, x += 2 * w->width)                                                   \
                quarter_max_##suffix(x, x + w->width, out + row * w->out_w, w->out_w);                                      \
            return;                                                                                                         \
        }                                                                                                                   \
        for (isize i = 0; i < w->out_h * w->out_w; i++) out[i] = -(T)INFINITY;                                              \
        FOR_EACH_TAP_ROW(w, all, {                                                                                          \
            for (isize i = 0; i < count; i++) out[position + i] = larger_##suffix(out[position + i], x[at + i * step]);     \
        })                                                                                                                  \
    }                                                                                                                       \
    PLANE_FN(max_pick, suffix)                                                                                              \
    {                                                                                                                       \
        PLANES(T)                                                                                                           \
        if (is_quarter(w)) {                                                                                                \
            for (isize row = 0, at = 0; row < w->out_h; row++, at += 2 * w->width)                                          \
                quarter_pick_##suffix(x + at, x + at + w->width, y + row * w->out_w, v + at, v + at + w->width,             \
                                      out + row * w->out_w, w->out_w);                                                      \
            return;                                                                                                         \
        }                                                                                                                   \
        FOR_EACH_PLACE(w, T, x, y, out[position + i] = here ? v[at + i * step] : out[position + i])                         \
    }                                                                                                                       \
    PLANE_FN(max_spread, suffix)                                                                                            \
    {                                                                                                                       \
        PLANES(T)                                                                                                           \
        const bool quarter = is_quarter(w);                                                                                 \
        if (!quarter || w->height % 2 || w->width % 2) memset(out, 0, w->height * w->width * sizeof(T));                    \
        if (quarter) {                                                                                                      \
            for (isize row = 0, at = 0; row < w->out_h; row++, at += 2 * w->width)                                          \
                quarter_spread_##suffix(x + at, x + at + w->width, y + row * w->out_w, v + row * w->out_w, out + at,        \
                                        out + at + w->width, w->out_w);                                                     \
            return;                                                                                                         \
        }                                                                                                                   \
        FOR_EACH_PLACE(w, T, x, y, out[at + i * step] += here ? v[position + i] : 0)                                        \
    }

#define DEFINE_POOL(T, suffix)                                                                                              \
    DEFINE_SUMS(T, suffix)                                                                                                  \
    DEFINE_QUARTERS(T, suffix)                                                                                              \
    DEFINE_MAXIMA(T, suffix)                                                                                                \
    void KERNEL(window_sum_##suffix)(const Window *w, const void *x, void *y, isize planes)                                 \
    {                                                                                                                       \
        run_pool(window_sum_##suffix##_plane, false, sizeof(T), w, x, NULL, NULL, y, planes);                               \
    }                                                                                                                       \
    void KERNEL(window_spread_##suffix)(const Window *w, const void *g, void *out, isize planes)                            \
    {                                                                                                                       \
        run_pool(window_spread_##suffix##_plane, true, sizeof(T), w, NULL, NULL, g, out, planes);                           \
    }                                                                                                                       \
    void KERNEL(window_max_##suffix)(const Window *w, const void *x, void *y, isize planes)                                 \
    {                                                                                                                       \
        run_pool(window_max_##suffix##_plane, false, sizeof(T), w, x, NULL, NULL, y, planes);                               \
    }                                                                                                                       \
    void KERNEL(max_pick_##suffix)(const Window *w, const void *x, const void *y, const void *v, void *out, isize planes)   \
    {                                                                                                                       \
        run_pool(max_pick_##suffix##_plane, false, sizeof(T), w, x, y, v, out, planes);                                     \
    }                                                                                                                       \
    void KERNEL(max_spread_##suffix)(const Window *w, const void *x, const void *y, const void *g, void *out, isize planes) \
    {                                                                                                                       \
        run_pool(max_spread_##suffix##_plane, true, sizeof(T), w, x, y, g, out, planes);                                    \
    }

DEFINE_POOL(float, f32)
DEFINE_POOL(double, f64)
