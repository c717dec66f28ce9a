/* The built-in matrix product: of integers, of everything where there is no BLAS library or this one is quicker.  One thread.
 *
 * Above: runtime/blas.c, through the table (kernels.h), which also splits large products.  Below: gemm_body.h, the
 * algorithm, which is compiled here for each dtype.
 */
#include "kernel_list.h"

#include <string.h>

/* The tile of c that stays in registers is at most TILE_ROWS rows by two vectors, or by MAX_VECTORS where both factors are
 * packed; what fits depends on the level. Where three vectors do not fit, packing takes 3 to 5 % longer than blocks. */
#if defined(__AVX512F__)
enum { VECTOR_BYTES = 64, TILE_ROWS = 8, MAX_VECTORS = 3 };
#elif defined(__AVX__)
enum { VECTOR_BYTES = 32, TILE_ROWS = 6, MAX_VECTORS = 2 };
#elif defined(__aarch64__)
enum { VECTOR_BYTES = 16, TILE_ROWS = 8, MAX_VECTORS = 2 };
#else
enum { VECTOR_BYTES = 16, TILE_ROWS = 4, MAX_VECTORS = 2 };
#endif
enum { MAX_ROWS = 8, CACHE_LINE = 64 }; /* rows of any tile: narrow ones have more */

/* A block of a (BLOCK_M by BLOCK_K) stays in the level 2 cache, one panel of b (BLOCK_K by two vectors) in the first. Copies are
 * not worth it for FEW rows or columns of c, nor is a sum of at most SHORT terms worth a dot product. */
enum { BLOCK_M = 512, BLOCK_K = 256, FEW = 64, SHORT = 64 };
#define PACKS (MAX_VECTORS > 2)
/* A packed block of a (PACKED_M by 2 BLOCK_K) stays in the level 2 cache, PACKED_BYTES of b at least in the third. STEPS along k
 * are unrolled. */
enum { PACKED_M = 128, PACKED_BYTES = 4 << 20, STEPS = 4 };

#define INLINE static inline __attribute__((always_inline))

static inline isize least(isize x, isize y) { return x < y ? x : y; }
static inline isize round_up(isize x, isize unit) { return (x + unit - 1) / unit * unit; }
/* The length of parts of x, at most `most` each, a multiple of 8, which are as even as can be. */
static inline isize even_part(isize x, isize most)
{
    isize parts = (x + most - 1) / most;
    return round_up((x + parts - 1) / parts, 8);
}

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
