/* Random numbers that are functions of a key and a place: dropout.
 *
 * Above: table.c.  Below: blocks.h.
 *
 * Nothing is kept between calls, so that a backward pass makes the forward pass's mask again.  A block of TASK elements gets two
 * words from the key by SplitMix64's mixer (Steele, Lea & Flood 2014); an element gets one from these and its place in the block,
 * by two multiplications with xor-shifts (constants: github.com/skeeto/hash-prospector).  All is integer arithmetic of 32 bits,
 * so every instruction set, dtype and number of threads gives the same mask.
 */
#include "blocks.h"
#include "kernel_list.h"

typedef struct {
    isize n;
    const void *x;
    void *out;
    uint64_t key;
    uint32_t threshold;
    double scale;
} Dropout;

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

ALWAYS_INLINE uint32_t word(uint32_t place, uint32_t first, uint32_t second)
{
    uint32_t h = place + first;
    h = (h ^ h >> 16) * 0x21f0aaadu;
    h = ((h ^ h >> 15) + second) * 0xd35a2d97u;
    return h ^ h >> 15;
}

#define DEFINE_DROPOUT(T, suffix)                                                                                           \
    static void dropout_task_##suffix(void *context, isize index)                                                           \
    {                                                                                                                       \
        const Dropout *d = context;                                                                                         \
        const isize from = index * TASK;                                                                                    \
        const uint32_t n = (uint32_t)smaller(TASK, d->n - from), threshold = d->threshold;                                  \
        const uint64_t words = mix(mix(d->key) + 0x9e3779b97f4a7c15u * (uint64_t)index);                                    \
        const uint32_t first = (uint32_t)words, second = (uint32_t)(words >> 32);                                           \
        const T *restrict x = (const T *)d->x + from;                                                                       \
        T *restrict out = (T *)d->out + from;                                                                               \
        const T scale = (T)d->scale;                                                                                        \
        for (uint32_t i = 0; i < n; i++) {                                                                                  \
            const T kept = x[i] * scale;                                                                                    \
            out[i] = word(i, first, second) < threshold ? 0 : kept;                                                         \
        }                                                                                                                   \
    }                                                                                                                       \
    void KERNEL(dropout_##suffix)(isize n, const void *x, void *out, uint64_t key, uint32_t threshold, double scale)        \
    {                                                                                                                       \
        Dropout d = {n, x, out, key, threshold, scale};                                                                     \
        run_tasks(dropout_task_##suffix, &d, blocks_of(n, TASK), n >= LARGE);                                               \
    }

DEFINE_DROPOUT(float, f32)
DEFINE_DROPOUT(double, f64)
