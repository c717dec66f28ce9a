/* Matrix products through the backend that was built in or found at import.
 *
 * Above: src/linear.pxi.  Below: a BLAS library's gemm (scipy-openblas32 through dlopen, or the linked reference BLAS), or the
 * built-in gemm of kernels.h; and threads.h, over which large products are split by fixed blocks.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Row-major c (m, n) = op(a) op(b) + beta * c; beta is 0 or 1, and 0 does not read c. dtype is INT64, FLOAT32 or FLOAT64
 * (integers always use the built-in kernel). See kernels.h (gemm) for the meaning of trans_* and ld*. */
void matmul_into(int dtype, bool trans_a, bool trans_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, ptrdiff_t lda,
                 const void *b, ptrdiff_t ldb, int beta, void *c, ptrdiff_t ldc);

/* Backend "openblas": dlopen the library at `path` (symbols scipy_sgemm_ ...). Returns NULL, or why it cannot be used. */
const char *blas_load(const char *path);

/* "openblas", "netlib" or "none": what products really use now; the library's file (from dladdr), "" for none;
 * its own description of itself (openblas_get_config), "" where it has none. */
const char *blas_backend(void);
const char *blas_library(void);
const char *blas_config(void);
