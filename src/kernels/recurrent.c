/* The gates of recurrent layers: one step in time, and its adjoint, between two matrix products.
 *
 * Above: runtime/recurrent.c, through the table (kernels.h), which goes through time.  Below: recurrent_body.h, the formulas, which
 * are compiled here for each dtype; vecmath.h.
 */
#include "blocks.h"
#include "kernel_list.h"
#include "vecmath.h"
#include <string.h>

#define T float
#define NAME(name) name##_f32
#define SIGMOID_OF(x) vm_sigmoid_f32(x)
#define TANH_OF(x) vm_tanh_f32(x)
#include "recurrent_body.h"

#define T double
#define NAME(name) name##_f64
#define SIGMOID_OF(x) vm_sigmoid_f64(x)
#define TANH_OF(x) vm_tanh_f64(x)
#include "recurrent_body.h"
