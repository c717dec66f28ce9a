/* Pointwise kernels one after the other over tiles of their operands, so that what passes between them stays in the CPU's first
 * cache.
 *
 * Above: src/chain.pxi, which makes chains of vjps.  Below: kernels; threads.h.
 */
#pragma once
#include "tensor.h"

enum { CHAIN_SUMS = 64, CHAIN_STEPS = 128, CHAIN_NUMBERS = 6, CHAIN_TILE = 1 << 12, CHAIN_SPACE = 12 * CHAIN_TILE };

/* An array of the chain's size, at `data`; or, where that is NULL, the sum of that index, or number index - CHAIN_SUMS. */
typedef struct {
    const char *data;
    int index;
} ChainOperand;

/* A sum of terms. It is a result where there is an `out`, else steps of the chain use it up. It begins with an operand (data may
 * be out), or with nothing (index -1). */
typedef struct {
    char *out;
    ChainOperand begin;
} ChainSum;

/* sums[to] += kernel(operands); without a kernel, the first operand itself. */
typedef struct {
    pointwise_fn kernel;
    int n_operands, to;
    ChainOperand operands[5];
} ChainStep;

/* Everything is contiguous and of one dtype of floats. The sums' tiles, tile_bytes each, have room in CHAIN_SPACE. */
typedef struct {
    int dtype, n_numbers, n_sums, n_steps;
    isize size, tile_bytes;
    const char *numbers[CHAIN_NUMBERS]; /* single elements that stand for whole arrays */
    ChainSum sums[CHAIN_SUMS];
    ChainStep steps[CHAIN_STEPS];
} Chain;

/* An empty chain. */
void chain_begin(Chain *chain, int dtype, isize size);
void chain_run(Chain *chain);
