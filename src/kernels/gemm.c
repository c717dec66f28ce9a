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

/* A block of a (BLOCK_M by BLOCK_K) and PANELS panels of b (each BLOCK_K by two vectors) are to stay in the level 2 cache, one
 * panel in the first. Copies are not worth it for FEW rows or columns of c, nor of contiguous rows for less than MANY, unless
 * each lies on a page of its own; nor is a sum of at most SHORT terms worth a dot product. */
enum { BLOCK_M = 512, BLOCK_K = 256, PANELS = 4, FEW = 64, MANY = 256, SHORT = 64, PAGE_BYTES = 4096 };

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
