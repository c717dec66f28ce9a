/* Broadcasting: runs a contiguous kernel over operands of any strides.
 *
 * Above: src/pointwise.pxi.  Below: kernels, which see contiguous runs only; operands that are not are staged through small
 * buffers that stay in the CPU's first cache.  One driver and one kernel for each op serve every layout.
 */
#pragma once
#include "tensor.h"

enum { MAX_OPERANDS = 6 };

/* out[...] = kernel(operands broadcast to out's shape); out is contiguous and overlaps no operand.
 * `heavy` tells that the kernel spends several nanoseconds on an element, so that smaller arrays are worth a second thread. */
void apply(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bool heavy);

/* Elements above which apply() is long enough that the caller should let other Python threads run. */
enum { APPLY_LONG = 1 << 15 };

/* Values of t, row-major, to `out` (copy_out), and the reverse: contiguous values into the places that t shows. */
void tensor_copy_out(const Tensor *t, void *out);
void tensor_copy_in(const Tensor *t, const void *values);
