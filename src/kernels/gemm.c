/* The built-in matrix product, for integers and for builds or machines without a BLAS library.  One thread.
 *
 * Above: runtime/blas.c, through the table (kernels.h), which also splits large products.  Below: gemm_body.h, the
 * algorithm, which is compiled here for each dtype.
 *
 * The tile of c that stays in registers is TILE_ROWS rows by two vectors; what fits depends on the level.
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, TILE_ROWS = 12 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, TILE_ROWS = 6 };
#elif defined(__aarch64__)
enum { VECTOR_BYTES = 16, TILE_ROWS = 8 };
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 4 };
#endif

enum { MAX_ROWS = 12 }; /* of any tile */

/* A product of at most SMALL multiply-adds is not worth packing, nor a sum of at most SHORT terms a dot product. */
enum { SMALL = 48 * 48 * 48, SHORT = 64 };

#define INLINE static inline __attribute__((always_inline))

/* Integers wrap around; unsigned arithmetic does so by definition. */
#define T uint64_t
#define NAME(name) name##_i64
#include "gemm_body.h"

#define T float
#define NAME(name) name##_f32
#include "gemm_body.h"

#define T double
#define NAME(name) name##_f64
#include "gemm_body.h"
