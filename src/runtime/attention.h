/* Scaled dot-product attention of many heads, and its adjoint.
 *
 * Above: src/attention.pxi.  Below: blas.h for the products, the attention kernels of kernels.h for what comes between them, and
 * threads.h, over which the heads are shared out.
 */
#pragma once
#include "tensor.h"

/* The matrices of queries, keys and values are (..., steps, size), of one float dtype and with leading axes of one shape, which
 * count the heads. Elements of a row follow each other; rows and matrices may lie anywhere. */
typedef struct {
    const Tensor *q, *k, *v;
    const Tensor *mask; /* bool or of that dtype, of the shape of the scores, strides of 0 where it is broadcast; or NULL */
    const Tensor *out;  /* softmax(scale q k^T + mask) v: the result, or known */
    const Tensor *sums; /* (2, heads, queries), contiguous: shift and share of the kernels, written by the forward pass */
    const Tensor *g;    /* the cotangent of out; NULL: forward */
    const Tensor *dq, *dk, *dv; /* the results of the adjoint; NULL: not wanted */
    bool causal;                /* a query attends to keys up to its own position */
    double scale;
    int slots; /* working spaces, filled in by attention_space */
} Attention;

/* How many bytes of working space attention() is to be given. */
isize attention_space(Attention *a);
void attention(const Attention *a, void *space);
