/* Tensor: values with a shape, reference-counted in C, and the cache that their memory comes from.
 *
 * Above: Array (src/array.pxi), which is a Python handle on a Tensor, and graph nodes, which save Tensors (never Arrays: an
 * output that saved its own handle would be a cycle).  Below: the C library's allocator.
 *
 * A Tensor's values do not change once somebody else can see it. All functions here need the GIL; kernels that run without
 * it work on Tensors that their caller keeps alive.
 */
#pragma once
#include "../kernels/kernels.h"

enum { MAX_NDIM = 8 };

typedef struct Tensor {
    isize refs;
    struct Tensor *owner; /* of the memory that a view shows; NULL: the values lie behind this header */
    char *data;
    isize size;  /* number of elements */
    isize bytes; /* of the block, header and all */
    int32_t size_class;
    int8_t dtype, ndim;
    bool contiguous;                          /* row-major without gaps */
    isize shape[MAX_NDIM], strides[MAX_NDIM]; /* strides in elements */
} Tensor;

static inline int itemsize(int dtype) { return dtype == BOOL ? 1 : dtype == FLOAT32 ? 4 : 8; }

/* Sizes or strides of `ndim` axes; the first two in any case, so that the usual ones take no loop. */
static inline void shape_copy(isize *to, const isize *from, int ndim)
{
    isize first = from[0], second = from[1];
    to[0] = first, to[1] = second;
    for (int i = 2; i < ndim; i++) to[i] = from[i];
}

/* A new contiguous tensor with undefined values, or NULL: out of memory, or a size beyond the address space. */
Tensor *tensor_new(int dtype, int ndim, const isize *shape);
Tensor *tensor_like(const Tensor *t);
/* Another view of t's memory; the caller fills in size, shape and strides and calls tensor_update_contiguous. */
Tensor *tensor_view(Tensor *t);
void tensor_update_contiguous(Tensor *t);

void tensor_free(Tensor *t);
static inline void tensor_retain(Tensor *t) { t->refs++; }
static inline void tensor_release(Tensor *t)
{
    if (--t->refs == 0) tensor_free(t);
}

/* Statistics of the cache, in bytes and calls. */
typedef struct {
    isize held, in_use, peak, limit; /* what is held and not in use is cached: at most `limit` */
    isize allocations, reuses;       /* blocks asked of the C library; blocks that came from the cache */
} MemoryStats;
extern MemoryStats memory_stats;
/* Give cached blocks back until at most `keep` bytes are cached. */
void memory_trim(isize keep);
