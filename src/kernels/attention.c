/* Attention between its products: from a block of scores to weights, and from the cotangents of weights to those of scores.
 *
 * Above: runtime/attention.c, through the table.  Below: vecmath.h and blocks.h.
 *
 * A row is taken a few times while it is in the first cache. It is filled up with -inf to whole pieces, so that no loop has an
 * end of its own.
 */
#include "blocks.h"
#include "kernel_list.h"
#include "vecmath.h"
#include <math.h>
#include <string.h>

enum { PIECE = ATTENTION_PAD, GROUP = 8 };

/* exp of an argument up to about 0, or 0 if that is below TINY: denormal numbers would be slow, and are nothing beside 1. The
 * second choice is of the result, since the compiler makes jumps of two that are of x. */
#define LEAST_f32 (-75.0f)
#define LEAST_f64 (-690.0)
#define TINY_f32 1e-32f
#define TINY_f64 1e-299

#define PLAIN_MAXIMUM(a, b) ((b) > (a) ? (b) : (a)) /* a NaN makes its row NaN through exp, whatever the maximum */

/* Half the lanes join the others, until the first has all. */
#define JOIN_LANES(lane, JOIN)                                                                                              \
    UNROLL                                                                                                                  \
    for (int half = PIECE / 2; half > 0; half /= 2)                                                                         \
        for (int k = 0; k < half; k++) lane[k] = JOIN(lane[k], lane[k + half]);

#define DEFINE_ATTENTION(T, suffix)                                                                                         \
    RUN_REDUCTION(max_##suffix, T, T, -(T)INFINITY, PLAIN_MAXIMUM)                                                          \
    ALWAYS_INLINE T exp_##suffix(T x)                                                                                       \
    {                                                                                                                       \
        const T e = vm_exp_clamped_##suffix(x < LEAST_##suffix ? LEAST_##suffix : x);                                       \
        return e < TINY_##suffix ? 0 : e;                                                                                   \
    }                                                                                                                       \
    /* Mask row i up to the length returned: what is not attended to is -inf. *scale remains to be multiplied by. */        \
    static isize mask_row_##suffix(const AttentionBlock *b, isize i, T *restrict x, T *scale)                               \
    {                                                                                                                       \
        const isize n = b->causal ? smaller(b->columns, b->first + i + 1) : b->columns;                                     \
        const isize length = blocks_of(n, PIECE) * PIECE;                                                                   \
        const T factor = (T)b->scale;                                                                                       \
        *scale = b->mask || !(factor > 0) ? 1 : factor; /* -inf times anything else may be NaN or inf */                    \
        if (b->mask_is_bool) {                                                                                              \
            const uint8_t *restrict shown = (const uint8_t *)b->mask + i * b->mask_step;                                    \
            for (isize j = 0; j < n; j++) {                                                                                 \
                const T score = x[j] * factor;                                                                              \
                x[j] = shown[j] ? score : -(T)INFINITY;                                                                     \
            }                                                                                                               \
        } else if (b->mask) {                                                                                               \
            const T *restrict added = (const T *)b->mask + i * b->mask_step;                                                \
            for (isize j = 0; j < n; j++) x[j] = x[j] * factor + added[j];                                                  \
        } else if (*scale != factor) {                                                                                      \
            for (isize j = 0; j < n; j++) x[j] *= factor;                                                                   \
        }                                                                                                                   \
        if (n < length) {                                                                                                   \
            T *end = x + length - PIECE;                                                                                    \
            const int kept = (int)(n - (length - PIECE));                                                                   \
            for (int k = 0; k < PIECE; k++) end[k] = k < kept ? end[k] : -(T)INFINITY;                                      \
        }                                                                                                                   \
        return length;                                                                                                      \
    }                                                                                                                       \
    void KERNEL(attention_weights_##suffix)(const AttentionBlock *b, void *scores)                                          \
    {                                                                                                                       \
        for (isize from = 0; from < b->rows; from += GROUP) { /* of rows, whose folds go on side by side */                 \
            const int rows = (int)smaller(GROUP, b->rows - from);                                                           \
            T *group = (T *)scores + from * b->row_length;                                                                  \
            T scale = 1, *shift = (T *)b->shift + from, sum[GROUP];                                                         \
            isize length[GROUP];                                                                                            \
            for (int i = 0; i < rows; i++) {                                                                                \
                T *x = group + i * b->row_length;                                                                           \
                length[i] = mask_row_##suffix(b, from + i, x, &scale);                                                      \
                const T largest = max_##suffix(x, length[i]);                                                               \
                shift[i] = largest == -(T)INFINITY ? 0 : largest * scale;                                                   \
            }                                                                                                               \
            for (int i = 0; i < rows; i++) {                                                                                \
                T *restrict x = group + i * b->row_length, lane[PIECE];                                                     \
                for (int k = 0; k < PIECE; k++) lane[k] = 0;                                                                \
                for (isize j = 0; j < length[i]; j += PIECE)                                                                \
                    for (int k = 0; k < PIECE; k++) {                                                                       \
                        const T e = exp_##suffix(x[j + k] * scale - shift[i]);                                              \
                        x[j + k] = e;                                                                                       \
                        lane[k] += e;                                                                                       \
                    }                                                                                                       \
                JOIN_LANES(lane, ADD)                                                                                       \
                sum[i] = lane[0];                                                                                           \
            }                                                                                                               \
            for (int i = 0; i < rows; i++) {                                                                                \
                T *restrict x = group + i * b->row_length;                                                                  \
                const T share = sum[i] == 0 ? 0 : 1 / sum[i];                                                               \
                for (isize j = 0; j < length[i]; j += PIECE)                                                                \
                    for (int k = 0; k < PIECE; k++) x[j + k] *= share;                                                      \
                for (isize j = length[i]; j < b->columns; j++) x[j] = 0;                                                    \
                ((T *)b->share)[from + i] = share;                                                                          \
            }                                                                                                               \
        }                                                                                                                   \
    }                                                                                                                       \
    static T dot_##suffix(const T *restrict x, const T *restrict y, isize n)                                                \
    {                                                                                                                       \
        T lane[PIECE] = {0}, total = 0;                                                                                     \
        isize j = 0;                                                                                                        \
        for (; j + PIECE <= n; j += PIECE)                                                                                  \
            for (int k = 0; k < PIECE; k++) lane[k] += x[j + k] * y[j + k];                                                 \
        for (; j < n; j++) total += x[j] * y[j];                                                                            \
        JOIN_LANES(lane, ADD)                                                                                               \
        return total + lane[0];                                                                                             \
    }                                                                                                                       \
    /* With weights w = softmax(s), the cotangent of s is w (dw - sum(w dw)), and the sum is that of out * g. */            \
    void KERNEL(attention_slopes_##suffix)(const AttentionBlock *b, void *scores, void *slopes)                             \
    {                                                                                                                       \
        for (isize i = 0; i < b->rows; i++) {                                                                               \
            T *restrict x = (T *)scores + i * b->row_length, *restrict d = (T *)slopes + i * b->row_length, scale;          \
            const isize length = mask_row_##suffix(b, i, x, &scale);                                                        \
            const T shift = ((const T *)b->shift)[i], share = ((const T *)b->share)[i], factor = (T)b->scale;               \
            const T *out = (const T *)b->out + i * b->out_step, *g = (const T *)b->g + i * b->g_step;                       \
            const T mean = dot_##suffix(out, g, b->value_size);                                                             \
            for (isize j = 0; j < length; j += PIECE)                                                                       \
                for (int k = 0; k < PIECE; k++) {                                                                           \
                    const T weight = exp_##suffix(x[j + k] * scale - shift) * share;                                        \
                    x[j + k] = weight;                                                                                      \
                    d[j + k] = weight * (d[j + k] - mean) * factor;                                                         \
                }                                                                                                           \
            for (isize j = length; j < b->columns; j++) x[j] = d[j] = 0;                                                    \
        }                                                                                                                   \
    }

DEFINE_ATTENTION(float, f32)
DEFINE_ATTENTION(double, f64)
