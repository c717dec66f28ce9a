/* The table of one instruction-set level.
 *
 * Above: runtime/cpu.c, which chooses among the levels' tables.  Below: every kernel of the level, listed in kernel_list.h,
 * and the pointwise tables, indexed by op, of pointwise.c.
 */
#include "kernel_list.h"

#define TEXT_OF(token) #token
#define TEXT(macro) TEXT_OF(macro)

#define ENTRY_ONE(name) .name = KERNEL(name),
#define ENTRY_ALL(name)                                                                                                     \
    .name = {[BOOL] = KERNEL(name##_b8),                                                                                    \
             [INT64] = KERNEL(name##_i64),                                                                                  \
             [FLOAT32] = KERNEL(name##_f32),                                                                                \
             [FLOAT64] = KERNEL(name##_f64)},
#define ENTRY_NUMBERS(name)                                                                                                 \
    .name = {[INT64] = KERNEL(name##_i64), [FLOAT32] = KERNEL(name##_f32), [FLOAT64] = KERNEL(name##_f64)},
#define ENTRY_FLOATS(name) .name = {[FLOAT32] = KERNEL(name##_f32), [FLOAT64] = KERNEL(name##_f64)},

extern const pointwise_fn KERNEL(pointwise_forward)[][N_DTYPES];
extern const pointwise_fn KERNEL(pointwise_vjp)[][3][N_DTYPES];
extern const Kernels KERNEL(kernels);

// clang-format off
const Kernels KERNEL(kernels) = {
    .level = TEXT(LEVEL),
#ifdef __AVX512F__
    .gemm_leads = true,
#endif
    .forward = KERNEL(pointwise_forward),
    .vjp = KERNEL(pointwise_vjp),
    KERNEL_LIST(ENTRY_ONE, ENTRY_ALL, ENTRY_NUMBERS, ENTRY_FLOATS)
};
// clang-format on
