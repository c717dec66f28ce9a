/* Matrix products: one backend, and the splitting of large products over the thread pool.
 *
 * Above: src/linear.pxi.  Below: threads.h; kernels->gemm, which multiplies integers, and the rest where use_library says no;
 * and one of, as the build says,
 *     BLAS_OPENBLAS  the library of the scipy-openblas32 wheel, loaded at import by blas_load,
 *     BLAS_NETLIB    the reference BLAS, linked,
 *     BLAS_NONE      nothing.
 */
#define _GNU_SOURCE
#include "blas.h"

#include "../kernels/kernels.h"
#include "threads.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(BLAS_OPENBLAS) + defined(BLAS_NETLIB) + defined(BLAS_NONE) != 1
#error "define exactly one of BLAS_OPENBLAS, BLAS_NETLIB, BLAS_NONE"
#endif

/* ---- The library ---- */

/* Fortran's sgemm and dgemm: column-major, 32-bit integers, and the lengths of the two strings at the end. */
typedef void fortran_gemm(const char *trans_a, const char *trans_b, const int *m, const int *n, const int *k,
                          const void *alpha, const void *a, const int *lda, const void *b, const int *ldb, const void *beta,
                          void *c, const int *ldc, size_t len_a, size_t len_b);

#ifdef BLAS_NETLIB
extern fortran_gemm sgemm_, dgemm_;
static fortran_gemm *const library[N_DTYPES] = {[FLOAT32] = sgemm_, [FLOAT64] = dgemm_};
#else
static fortran_gemm *library[N_DTYPES]; /* NULL: the built-in product */
#endif

static const char *config = "";

#ifdef BLAS_OPENBLAS

const char *blas_load(const char *path)
{
    static char message[512];
    /* Threads are ours: two pools at once fight for the cores. The library starts its own when it is loaded, where they
     * spin for some 50 ms, unless the environment tells it otherwise. */
    bool told = getenv("OPENBLAS_NUM_THREADS");
    if (!told) setenv("OPENBLAS_NUM_THREADS", "1", 1);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!told) unsetenv("OPENBLAS_NUM_THREADS");
    if (!handle) {
        snprintf(message, sizeof message, "%s", dlerror());
        return message;
    }
    fortran_gemm *sgemm = (fortran_gemm *)dlsym(handle, "scipy_sgemm_");
    fortran_gemm *dgemm = (fortran_gemm *)dlsym(handle, "scipy_dgemm_");
    void (*set_threads)(int) = (void (*)(int))dlsym(handle, "scipy_openblas_set_num_threads");
    char *(*get_config)(void) = (char *(*)(void))dlsym(handle, "scipy_openblas_get_config");
    if (!sgemm || !dgemm || !set_threads || !get_config) {
        snprintf(message, sizeof message, "%.400s lacks functions of the scipy-openblas32 package", path);
        dlclose(handle);
        return message;
    }
    set_threads(1);
    config = get_config();
    library[FLOAT32] = sgemm;
    library[FLOAT64] = dgemm;
    return NULL;
}

#else

const char *blas_load(const char *path)
{
    (void)path;
    return "this build of corgi does not use openblas";
}

#endif

const char *blas_backend(void)
{
#ifdef BLAS_NETLIB
    return "netlib";
#else
    return library[FLOAT32] ? "openblas" : "none";
#endif
}

/* The file that the function in use really comes from, whatever name it was asked for by. */
const char *blas_library(void)
{
    static char path[PATH_MAX];
    Dl_info info;
    if (!library[FLOAT32] || !dladdr((void *)library[FLOAT32], &info)) return "";
    return realpath(info.dli_fname, path) ? path : info.dli_fname;
}

const char *blas_config(void) { return config; }

/* ---- One product ---- */

typedef struct {
    int dtype;
    bool trans_a, trans_b;
    isize m, n, k;
    const char *a;
    isize lda;
    const char *b;
    isize ldb;
    int beta;
    char *c;
    isize ldc;
} Product;

static isize itemsize(int dtype) { return dtype == FLOAT32 ? 4 : 8; }

static bool fits_fortran(const Product *p)
{
    return p->m <= INT_MAX && p->n <= INT_MAX && p->k <= INT_MAX && p->lda <= INT_MAX && p->ldb <= INT_MAX &&
           p->ldc <= INT_MAX;
}

/* Row-major c = op(a) op(b) is column-major c' = op(b)' op(a)': the operands change places. */
static void call_fortran(const Product *p)
{
    static const float one_f32 = 1, zero_f32 = 0;
    static const double one_f64 = 1, zero_f64 = 0;
    bool f32 = p->dtype == FLOAT32;
    const void *one = f32 ? (const void *)&one_f32 : &one_f64, *zero = f32 ? (const void *)&zero_f32 : &zero_f64;
    int m = (int)p->m, n = (int)p->n, k = (int)p->k, lda = (int)p->lda, ldb = (int)p->ldb, ldc = (int)p->ldc;
    library[p->dtype](p->trans_b ? "T" : "N", p->trans_a ? "T" : "N", &n, &m, &k, one, p->b, &ldb, p->a, &lda,
                      p->beta ? one : zero, p->c, &ldc, 1, 1);
}

static double work_of(const Product *p) { return (double)p->m * (double)p->n * (double)p->k; }

/* Level v4's product takes 0.7 to 0.95 of the time of OpenBLAS's on the same CPU; a few columns, or rows, are better off with
 * the library. Who builds with the reference BLAS wants its products. */
static bool use_library(const Product *p)
{
    if (!library[p->dtype] || !fits_fortran(p)) return false;
#ifdef BLAS_NETLIB
    return true;
#else
    return p->m < 4 || p->n < 4 || !kernels->gemm_leads;
#endif
}

static void multiply(const Product *p, bool by_library)
{
    if (by_library) {
        call_fortran(p);
    } else {
        isize bytes = kernels->gemm_space[p->dtype](p->trans_a, p->m, p->n, p->k);
        kernels->gemm[p->dtype](p->trans_a, p->trans_b, p->m, p->n, p->k, p->a, p->lda, p->b, p->ldb, p->beta, p->c, p->ldc,
                                bytes ? thread_space((size_t)bytes) : NULL);
    }
}

/* ---- Splitting ---- */

/* Blocks are cut from the longer side of c. Each one after the first has the other operand packed once more. In a library
 * this costs about as much as 20 to 30 multiply-adds for each of its elements: so the longer side has to grow with the number
 * of blocks, and side keeps the loss of one thread at about 5 %. The built-in product packs for 5 to 15, and only what is
 * large; two halves of a product that fits the caches may be smaller. */
enum { MAX_BLOCKS = 16, LONG = 512 };
static const struct {
    double bytes; /* least multiply-adds of a block, times the size of an element */
    isize half, side;
} LEAST[2] = {{4e6, 64, 192}, {4e7, 192, 384}}; /* built-in, library */

typedef struct {
    const Product *whole;
    isize n_blocks;
    bool by_library, by_rows;
} Split;

/* A power of two, which shares out evenly over the usual numbers of threads. A library's sums depend on where a block begins:
 * there the number depends on the sizes alone, and one thread computes the same blocks. The built-in product's do not: there
 * is a block for each thread, and more, lest all wait for one that is held up, where blocks are not packed, or LONG. */
static isize count_blocks(const Product *p, bool by_library)
{
    isize side = p->m > p->n ? p->m : p->n, blocks = 2, threads = get_num_threads();
    double work = work_of(p) * (double)itemsize(p->dtype);
    while (blocks <= MAX_BLOCKS && work >= (double)blocks * LEAST[by_library].bytes &&
           side >= blocks * (blocks == 2 ? LEAST[by_library].half : LEAST[by_library].side) &&
           (by_library || blocks / 2 < threads ||
            (threads > 1 && (work < (double)blocks * GEMM_PACKS || side >= blocks * LONG))))
        blocks *= 2;
    return blocks / 2;
}

static void multiply_block(void *context, ptrdiff_t index)
{
    const Split *split = context;
    Product block = *split->whole;
    isize item = itemsize(block.dtype), length = split->by_rows ? block.m : block.n;
    isize unit = 32, units = (length + unit - 1) / unit; /* whole vectors for all blocks but the last */
    isize begin = units * index / split->n_blocks * unit, end = units * (index + 1) / split->n_blocks * unit;
    if (end > length) end = length;
    if (split->by_rows) {
        block.m = end - begin;
        block.a += begin * (block.trans_a ? 1 : block.lda) * item;
        block.c += begin * block.ldc * item;
    } else {
        block.n = end - begin;
        block.b += begin * (block.trans_b ? block.ldb : 1) * item;
        block.c += begin * item;
    }
    multiply(&block, split->by_library);
}

/* Libraries refuse a row length below the width even where there is a single row, and it has no meaning. */
static isize row_length(isize rows, isize width, isize ld) { return rows > 1 ? ld : width > 1 ? width : 1; }

void matmul_into(int dtype, bool trans_a, bool trans_b, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a, ptrdiff_t lda,
                 const void *b, ptrdiff_t ldb, int beta, void *c, ptrdiff_t ldc)
{
    if (m == 0 || n == 0) return;
    if (k == 0) {
        if (beta) return;
        for (isize i = 0; i < m; i++) memset((char *)c + i * ldc * itemsize(dtype), 0, (size_t)(n * itemsize(dtype)));
        return;
    }
    lda = trans_a ? row_length(k, m, lda) : row_length(m, k, lda);
    ldb = trans_b ? row_length(n, k, ldb) : row_length(k, n, ldb);
    Product product = {dtype, trans_a, trans_b, m, n, k, a, lda, b, ldb, beta, c, row_length(m, n, ldc)};
    bool by_library = use_library(&product);
    Split split = {&product, count_blocks(&product, by_library), by_library, by_library ? m >= n : m > n};
    if (split.n_blocks == 1) {
        multiply(&product, by_library);
    } else {
        parallel(multiply_block, &split, split.n_blocks);
    }
}
