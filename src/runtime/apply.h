/* Broadcasting: runs a contiguous kernel over operands of any strides.
 *
 * Above: src/pointwise.pxi.  Below: kernels, which see contiguous runs only; operands that are not are staged through small
 * buffers that stay in the CPU's first cache.  One driver and one kernel for each op serve every layout.
 */
#pragma once
#include "tensor.h"

enum { MAX_OPERANDS = 6, APPLY_SMALL = 1 << 12 };

/* out[...] = kernel(operands broadcast to out's shape); out is contiguous and overlaps no operand.
 * `heavy` tells that the kernel spends several nanoseconds on an element, so that smaller arrays are worth a second thread. */
void apply_broadcast(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy);

/* out[...] += kernel(...), out of floats: the terms do not go through memory. */
void apply_add(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy);

/* out[...] = kernel(...); the commonest case, small operands of one shape, is a single call. */
static inline void apply(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy)
{
    char *args[MAX_OPERANDS + 1];
    bool same = out->size <= APPLY_SMALL;
    for (int k = 0; k < n_operands; k++) {
        same &= operands[k]->contiguous & (operands[k]->size == out->size);
        args[k] = operands[k]->data;
    }
    if (!same) {
        apply_broadcast(kernel, n_operands, operands, out, heavy);
        return;
    }
    args[n_operands] = out->data;
    if (out->size > 0) kernel(out->size, args);
}

/* Elements above which apply() is long enough that the caller should let other Python threads run. */
enum { APPLY_LONG = 1 << 15 };

/* The sum over all elements of what a kernel of floats gives, in float64, without storing the values in between; `weights`, if
 * not NULL, are multiplied by it. Everything is contiguous, has `size` elements and one dtype; the last operand may have one. */
double apply_sum(pointwise_fn kernel, int n_operands, const Tensor *const *operands, const Tensor *weights, isize size,
                 bool heavy);

/* Values of t to the places that `to` shows, of the same shape and dtype. */
void tensor_copy(const Tensor *t, const Tensor *to);
/* Values of t, row-major, to `out`. */
void tensor_copy_out(const Tensor *t, void *out);
