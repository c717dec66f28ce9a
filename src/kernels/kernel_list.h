/* The kernels of the table by name and family of dtypes, and a prototype of each taken from the table's own type, so that a
 * definition that does not fit it fails to compile.
 *
 * Above: table.c, which fills the table from this list, and every file that defines kernels.  Below: kernels.h.
 */
#pragma once
#include "kernels.h"

/* ONE: the kernel takes an itemsize or dtypes; ALL: one for each dtype; NUMBERS: all but bool; FLOATS: float32, float64. */
// clang-format off
#define KERNEL_LIST(ONE, ALL, NUMBERS, FLOATS)                                                                               \
    ONE(cast) ONE(fill) ONE(copy) ONE(positions) ONE(take) ONE(norm_space)                                                  \
    ALL(select) ALL(max) ALL(min) ALL(argmax) ALL(argmin)                                                                                \
    NUMBERS(sum) NUMBERS(prod) NUMBERS(cumsum) NUMBERS(gemm) NUMBERS(gemm_space)                                                                 \
    FLOATS(accumulate) FLOATS(softmax) FLOATS(log_softmax) FLOATS(logsumexp) FLOATS(softmax_cross_entropy)                   \
    FLOATS(take_add) FLOATS(conv_space) FLOATS(conv) FLOATS(window_sum) FLOATS(window_spread) FLOATS(window_max)            \
    FLOATS(max_pick) FLOATS(max_spread) FLOATS(norm) FLOATS(norm_vjp) FLOATS(dropout)                                       \
    FLOATS(softmax_cross_entropy_vjp) FLOATS(bias_act) FLOATS(bias_act_vjp) FLOATS(update) FLOATS(update_rows) FLOATS(sum_squares) \
    FLOATS(attention_weights) FLOATS(attention_slopes)                       \
    FLOATS(recurrent_step) FLOATS(recurrent_step_vjp)
// clang-format on

#define PROTOTYPE(member, name) extern __typeof__(*((Kernels *)0)->member) KERNEL(name);
#define PROTOTYPE_ONE(name) PROTOTYPE(name, name)
#define PROTOTYPE_FLOATS(name) PROTOTYPE(name[0], name##_f32) PROTOTYPE(name[0], name##_f64)
#define PROTOTYPE_NUMBERS(name) PROTOTYPE(name[0], name##_i64) PROTOTYPE_FLOATS(name)
#define PROTOTYPE_ALL(name) PROTOTYPE(name[0], name##_b8) PROTOTYPE_NUMBERS(name)

KERNEL_LIST(PROTOTYPE_ONE, PROTOTYPE_ALL, PROTOTYPE_NUMBERS, PROTOTYPE_FLOATS)
