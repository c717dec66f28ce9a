/* Chains of pointwise kernels: see chain.h. */
#include "chain.h"
#include "../kernels/pointwise.h"
#include "threads.h"

#include <string.h>

enum { CHUNK = 1 << 13 }; /* elements of a task */

void chain_begin(Chain *chain, int dtype, isize size)
{
    const isize bytes = (size * itemsize(dtype) + 63) / 64 * 64;
    chain->dtype = dtype;
    chain->size = size;
    chain->tile_bytes = bytes < CHAIN_TILE ? bytes : CHAIN_TILE;
    chain->n_numbers = chain->n_sums = chain->n_steps = 0;
}

/* Where the values of a tile are: of the sums, NULL while there are none, and of the numbers. */
typedef const char *Values[CHAIN_SUMS + CHAIN_NUMBERS];

static inline const char *values_of(const ChainOperand *x, const char **values, isize offset)
{
    return x->data ? x->data + offset : values[x->index];
}

/* *sum + term, in `own`, the sum's own place: where it has been so far may be somebody else's. */
static void add(int dtype, const char **sum, char *own, const char *term, isize n)
{
    char *args[3] = {(char *)*sum, (char *)term, own};
    kernels->forward[OP_add][dtype](n, args);
    *sum = own;
}

static void run_chunk(void *context, isize index)
{
    _Alignas(64) char tiles[CHAIN_SPACE], numbers[CHAIN_NUMBERS][CHAIN_TILE], term[CHAIN_TILE];
    const Chain *chain = context;
    const int bytes = itemsize(chain->dtype);
    const isize end = (index + 1) * CHUNK < chain->size ? (index + 1) * CHUNK : chain->size;
    const isize tile = chain->tile_bytes / bytes;
    Values values;
    char *own[CHAIN_SUMS];
    for (int k = 0; k < chain->n_numbers; k++) {
        kernels->fill(tile, numbers[k], chain->numbers[k], bytes);
        values[CHAIN_SUMS + k] = numbers[k];
    }
    for (isize i = index * CHUNK; i < end; i += tile) {
        const isize n = end - i < tile ? end - i : tile, offset = i * bytes;
        for (int k = 0; k < chain->n_sums; k++) {
            const ChainSum *sum = &chain->sums[k];
            own[k] = sum->out ? sum->out + offset : tiles + k * chain->tile_bytes;
            for (int line = 0; sum->out && line < chain->tile_bytes; line += 64) /* the next tile of the result */
                __builtin_prefetch(own[k] + chain->tile_bytes + line, 1);
            values[k] = !sum->begin.data && sum->begin.index < 0 ? NULL : values_of(&sum->begin, values, offset);
        }
        for (const ChainStep *step = chain->steps; step < chain->steps + chain->n_steps; step++) {
            const char **sum = &values[step->to];
            if (step->kernel) {
                char *args[6];
                for (int k = 0; k < step->n_operands; k++) args[k] = (char *)values_of(&step->operands[k], values, offset);
                args[step->n_operands] = *sum ? term : own[step->to];
                step->kernel(n, args);
                if (*sum) {
                    add(chain->dtype, sum, own[step->to], term, n);
                } else {
                    *sum = own[step->to];
                }
            } else if (*sum) {
                add(chain->dtype, sum, own[step->to], values_of(&step->operands[0], values, offset), n);
            } else { /* which nothing is added to any more */
                *sum = values_of(&step->operands[0], values, offset);
            }
        }
        for (int k = 0; k < chain->n_sums; k++) { /* a single term may lie elsewhere */
            if (chain->sums[k].out && values[k] != own[k]) memcpy(own[k], values[k], (size_t)(n * bytes));
        }
    }
}

void chain_run(Chain *chain)
{
    if (chain->size <= 2 * CHUNK) {
        for (isize i = 0; i * CHUNK < chain->size; i++) run_chunk(chain, i);
    } else {
        parallel(run_chunk, chain, (chain->size + CHUNK - 1) / CHUNK);
    }
}
