/* The built-in matrix product, for integers and for builds or machines without a BLAS library.  One thread.
 *
 * Above: runtime/blas.c, through the table (kernels.h), which also splits large products.  Below: gemm_body.h, the
 * algorithm, which is compiled here for each dtype.
 */
#include "kernel_list.h"

#include <stdlib.h>
#include <string.h>

/* The tile of c that stays in registers is at most TILE_ROWS rows by two vectors; what fits depends on the level. */
#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, TILE_ROWS = 8 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, TILE_ROWS = 6 };
#elif defined(__aarch64__)
enum { VECTOR_BYTES = 16, TILE_ROWS = 8 };
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 4 };
#endif
enum { MAX_ROWS = 8 }; /* of any tile: narrow ones have more rows */

/* A block of a (BLOCK_M by BLOCK_K) is to stay in the level 2 cache, a panel of b (BLOCK_K by two vectors) in the first.
 * Neither is worth copying for FEW rows or columns of c, nor a sum of at most SHORT terms a dot product. */
enum { BLOCK_M = 512, BLOCK_K = 256, FEW = 64, SHORT = 64 };

#define INLINE static inline __attribute__((always_inline))

static inline isize least(isize x, isize y) { return x < y ? x : y; }

/* Integers wrap around; unsigned arithmetic does so by definition. */
#define T uint64_t
#define INDEX int64_t
#define NAME(name) name##_i64
#include "gemm_body.h"

#define T float
#define INDEX int32_t
#define NAME(name) name##_f32
#include "gemm_body.h"

#define T double
#define INDEX int64_t
#define NAME(name) name##_f64
#include "gemm_body.h"
