/* Attention between its products: from a block of scores to weights, and from the cotangents of weights to those of scores.
 *
 * Above: runtime/attention.c, through the table.  Below: vecmath.h and blocks.h.
 *
 * A row is taken a few times while it is in the first cache. It is filled up with -inf to whole vectors, so that no loop has an
 * end of its own.
 */
#include "blocks.h"
#include "kernel_list.h"
#include "vecmath.h"
#include <math.h>
#include <string.h>

#define PLAIN_MAXIMUM(a, b) ((b) > (a) ? (b) : (a)) /* a NaN makes its row NaN through exp, whatever the maximum */

#define DEFINE_ATTENTION(T, suffix)                                                                                         \
    RUN_REDUCTION(sum_##suffix, T, double, 0, ADD)                                                                          \
    RUN_REDUCTION(max_##suffix, T, T, -(T)INFINITY, PLAIN_MAXIMUM)                                                          \
    /* Scale and mask row i; what is not attended to is -inf, up to the length returned. */                                 \
    static isize score_row_##suffix(const AttentionBlock *b, isize i, T *restrict x)                                        \
    {                                                                                                                       \
        const isize n = b->causal ? smaller(b->columns, b->first + i + 1) : b->columns;                                     \
        const isize length = blocks_of(n, ATTENTION_PAD) * ATTENTION_PAD;                                                   \
        const T scale = (T)b->scale;                                                                                        \
        const char *mask = b->mask;                                                                                         \
        for (isize j = n; j < length; j++) x[j] = -(T)INFINITY;                                                             \
        if (!mask) {                                                                                                        \
            for (isize j = 0; j < n; j++) x[j] *= scale;                                                                    \
        } else if (b->mask_is_bool) {                                                                                       \
            const uint8_t *restrict shown = (const uint8_t *)mask + i * b->mask_step;                                       \
            for (isize j = 0; j < n; j++) {                                                                                 \
                const T scaled = x[j] * scale;                                                                              \
                x[j] = shown[j] ? scaled : -(T)INFINITY;                                                                    \
            }                                                                                                               \
        } else {                                                                                                            \
            const T *restrict added = (const T *)mask + i * b->mask_step;                                                   \
            for (isize j = 0; j < n; j++) x[j] = x[j] * scale + added[j];                                                   \
        }                                                                                                                   \
        return length;                                                                                                      \
    }                                                                                                                       \
    void KERNEL(attention_weights_##suffix)(const AttentionBlock *b, void *scores)                                          \
    {                                                                                                                       \
        for (isize i = 0; i < b->rows; i++) {                                                                               \
            T *restrict x = (T *)scores + i * b->row_length;                                                                \
            const isize length = score_row_##suffix(b, i, x);                                                               \
            const T largest = max_##suffix(x, length), shift = largest == -(T)INFINITY ? 0 : largest;                       \
            for (isize j = 0; j < length; j++) x[j] = vm_exp_##suffix(x[j] - shift);                                        \
            const double sum = sum_##suffix(x, length);                                                                     \
            const T factor = sum == 0 ? 0 : (T)(1 / sum);                                                                   \
            for (isize j = 0; j < length; j++) x[j] *= factor;                                                              \
            if (length < b->columns) memset(x + length, 0, (b->columns - length) * sizeof(T));                              \
            ((T *)b->lse)[i] = sum == 0 ? (T)INFINITY : (T)((double)shift + vm_log_f64(sum, false));                        \
        }                                                                                                                   \
    }                                                                                                                       \
    static T dot_##suffix(const T *restrict x, const T *restrict y, isize n)                                                \
    {                                                                                                                       \
        T lane[ATTENTION_PAD] = {0}, total = 0;                                                                             \
        isize j = 0;                                                                                                        \
        for (; j + ATTENTION_PAD <= n; j += ATTENTION_PAD)                                                                  \
            for (isize k = 0; k < ATTENTION_PAD; k++) lane[k] += x[j + k] * y[j + k];                                       \
        for (; j < n; j++) total += x[j] * y[j];                                                                            \
        for (isize half = ATTENTION_PAD / 2; half > 0; half /= 2)                                                           \
            for (isize k = 0; k < half; k++) lane[k] += lane[k + half];                                                     \
        return total + lane[0];                                                                                             \
    }                                                                                                                       \
    /* With weights w = softmax(s), the cotangent of s is w (dw - sum(w dw)), and the sum is that of out * g. */            \
    void KERNEL(attention_slopes_##suffix)(const AttentionBlock *b, void *scores, void *slopes)                             \
    {                                                                                                                       \
        for (isize i = 0; i < b->rows; i++) {                                                                               \
            T *restrict x = (T *)scores + i * b->row_length, *restrict d = (T *)slopes + i * b->row_length;                 \
            const isize length = score_row_##suffix(b, i, x);                                                               \
            const T lse = ((const T *)b->lse)[i], scale = (T)b->scale;                                                      \
            const T mean = dot_##suffix((const T *)b->out + i * b->out_step, (const T *)b->g + i * b->g_step, b->value_size); \
            for (isize j = 0; j < length; j++) {                                                                            \
                const T weight = vm_exp_##suffix(x[j] - lse);                                                               \
                x[j] = weight;                                                                                              \
                d[j] = weight * (d[j] - mean) * scale;                                                                      \
            }                                                                                                               \
            if (length < b->columns) {                                                                                      \
                memset(x + length, 0, (b->columns - length) * sizeof(T));                                                   \
                memset(d + length, 0, (b->columns - length) * sizeof(T));                                                   \
            }                                                                                                               \
        }                                                                                                                   \
    }

DEFINE_ATTENTION(float, f32)
DEFINE_ATTENTION(double, f64)
