/* The size-class cache behind Tensor: see tensor.h.
 *
 * Blocks (header and values) are kept in free lists, last in first out, in 4 classes for each power of two, so that a
 * training step finds the memory of the step before it, still in the CPU's cache and without page faults.
 */
#include "tensor.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

enum {
    ALIGNMENT = 64,
    HEADER = (sizeof(Tensor) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT,
    SMALLEST = 256, /* bytes in a block of class 0 */
    N_CLASSES = 4 * 56,
};
static const isize HUGE_PAGE = (isize)1 << 21;

MemoryStats memory_stats = {.limit = (isize)1 << 29};
static Tensor *free_lists[N_CLASSES];

/* Class of a block of at least `bytes`, and that class's size. */
static int size_class(isize bytes, isize *class_bytes)
{
    if (bytes <= SMALLEST) {
        *class_bytes = SMALLEST;
        return 0;
    }
    int log2 = 63 - __builtin_clzll((unsigned long long)(bytes - 1));
    isize quarter = (isize)1 << (log2 - 2);
    isize quarters = ((bytes - 1) >> (log2 - 2)) + 1; /* 5 to 8 */
    *class_bytes = quarters * quarter;
    return 4 * (log2 - 8) + (int)quarters - 4;
}

static Tensor *block_from_system(int c, isize bytes)
{
    isize alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    isize rounded = (bytes + alignment - 1) / alignment * alignment;
    Tensor *block = aligned_alloc((size_t)alignment, (size_t)rounded);
    if (!block) { /* what the cache holds may be enough */
        memory_trim(0);
        block = aligned_alloc((size_t)alignment, (size_t)rounded);
    }
    if (!block) return NULL;
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == HUGE_PAGE) madvise(block, (size_t)rounded, MADV_HUGEPAGE);
#endif
    block->size_class = c;
    block->bytes = bytes;
    memory_stats.held += bytes;
    memory_stats.allocations++;
    return block;
}

static void block_to_system(Tensor *block)
{
    memory_stats.held -= block->bytes;
    free(block);
}

static inline Tensor *block_of_class(int c, isize class_bytes)
{
    Tensor *block = free_lists[c];
    if (block) {
        free_lists[c] = block->owner; /* free blocks are linked through `owner` */
        memory_stats.reuses++;
    } else {
        block = block_from_system(c, class_bytes);
        if (!block) return NULL;
    }
    memory_stats.in_use += class_bytes;
    if (memory_stats.in_use > memory_stats.peak) memory_stats.peak = memory_stats.in_use;
    block->refs = 1;
    block->owner = NULL;
    return block;
}

static Tensor *block_new(isize bytes)
{
    isize class_bytes;
    int c = size_class(bytes, &class_bytes);
    return block_of_class(c, class_bytes);
}

Tensor *tensor_new(int dtype, int ndim, const isize *shape)
{
    isize size = 1, bytes, total;
    for (int i = ndim - 1; i >= 0; i--)
        if (__builtin_mul_overflow(size, shape[i] ? shape[i] : 1, &size)) return NULL;
    if (__builtin_mul_overflow(size, (isize)itemsize(dtype), &bytes)) return NULL;
    if (__builtin_add_overflow(bytes, (isize)HEADER, &total) || total > PTRDIFF_MAX / 2) return NULL;
    Tensor *t = block_new(total);
    if (!t) return NULL;
    t->data = (char *)t + HEADER;
    t->dtype = (int8_t)dtype;
    t->ndim = (int8_t)ndim;
    t->contiguous = true;
    isize stride = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        t->shape[i] = shape[i];
        t->strides[i] = stride;
        stride *= shape[i];
    }
    t->size = stride;
    return t;
}

Tensor *tensor_like(const Tensor *t)
{
    if (!t->owner) { /* t's own block tells the class, and its strides have no gaps: nothing to work out */
        Tensor *like = block_of_class(t->size_class, t->bytes);
        if (!like) return NULL;
        like->data = (char *)like + HEADER;
        like->size = t->size;
        like->dtype = t->dtype;
        like->ndim = t->ndim;
        like->contiguous = true;
        shape_copy(like->shape, t->shape, t->ndim);
        shape_copy(like->strides, t->strides, t->ndim);
        return like;
    }
    return tensor_new(t->dtype, t->ndim, t->shape);
}

Tensor *tensor_view(Tensor *t)
{
    Tensor *view = block_new(HEADER);
    if (!view) return NULL;
    view->owner = t->owner ? t->owner : t;
    tensor_retain(view->owner);
    view->data = t->data;
    view->dtype = t->dtype;
    view->ndim = t->ndim;
    return view;
}

void tensor_update_contiguous(Tensor *t)
{
    isize stride = 1;
    t->contiguous = true;
    for (int i = t->ndim - 1; i >= 0; i--) {
        if (t->shape[i] != 1 && t->strides[i] != stride) t->contiguous = false;
        stride *= t->shape[i];
    }
    t->size = stride;
    if (t->size == 0) t->contiguous = true;
}

void tensor_free(Tensor *t)
{
    do {
        Tensor *owner = t->owner;
        memory_stats.in_use -= t->bytes;
        if (memory_stats.held - memory_stats.in_use <= memory_stats.limit) {
            t->owner = free_lists[t->size_class];
            free_lists[t->size_class] = t;
        } else {
            block_to_system(t);
        }
        t = owner && --owner->refs == 0 ? owner : NULL;
    } while (t);
}

void memory_trim(isize keep)
{
    for (int c = N_CLASSES - 1; c >= 0; c--) {
        while (free_lists[c] && memory_stats.held - memory_stats.in_use > keep) {
            Tensor *block = free_lists[c];
            free_lists[c] = block->owner;
            block_to_system(block);
        }
    }
}
