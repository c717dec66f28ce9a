/* The table of compiled kernels: what the Cython layer calls, and what every instruction-set level provides.
 *
 * Above: src/core.pyx, which reaches a kernel only through `kernels->...`.  Below: the .c files of this folder,
 * each compiled once for every level (LEVEL is defined by the build), and table.c, which gathers them.
 * runtime/cpu.c chooses the level when the module is imported.
 *
 * Conventions.  Every array argument is contiguous and row-major unless strides are given.  Output never
 * overlaps input unless a comment says so.  Sizes may be zero.  Kernels neither allocate Python objects nor touch
 * the interpreter; they may use parallel() and must give the same bits for any number of threads.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef ptrdiff_t isize;

enum { BOOL, INT64, FLOAT32, FLOAT64, N_DTYPES };

/* Pointwise kernel: n elements; args are the operands in the order of the op, then the output. */
typedef void (*pointwise_fn)(isize n, char *const *args);

/* Reduction of (outer, n, inner) along the middle to (outer, inner). */
typedef void (*reduce_fn)(const void *x, void *out, isize outer, isize n, isize inner);

/* Multiply-adds, times the size of an element, above which gemm packs both factors. */
#define GEMM_PACKS 4e8

/* One window geometry for convolution and pooling of (channels, height, width) images. */
typedef struct {
    isize channels, height, width; /* of the image, before padding */
    isize kernel_h, kernel_w;      /* of the window */
    isize out_h, out_w;            /* number of window positions */
    isize stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    isize groups; /* of channels, each convolved with filters of its own */
} Window;

/* A step of an optimizer over the n elements of a parameter; settings that the rule does not have are not read. */
typedef struct {
    int rule; /* number of a row of update.h */
    bool decoupled;
    isize n;
    const void *p, *g;
    void *out, *state[3]; /* out may be p; state is changed in place */
    int64_t step;         /* 1 for the first */
    double rate, weight_decay, momentum, beta1, beta2, rho, epsilon, initial;
    double correction1, correction2; /* 1 - beta ** step */
} Update;

enum { NO_ACTIVATION, RELU, SIGMOID, TANH };

/* A convolution or one of its adjoints.  Images x (images, channels, height, width), filters f (filters, channels / groups,
 * kernel_h, kernel_w), results y and their cotangents g (images, filters, out_h, out_w).
 * What is fused with it: y = activation(conv + bias); the adjoints multiply g by the activation's slope at y first. */
typedef struct {
    enum { CONV_FORWARD, CONV_INPUT, CONV_FILTERS } pass; /* (x, f) to y; (g, f) to x; (x, g) to f */
    const Window *window;
    isize images, filters;
    const void *first, *second;
    void *out;
    int activation;
    const void *y;    /* of the adjoints, where there is an activation */
    const void *bias; /* FORWARD: (filters), or NULL */
    void *db;         /* FILTERS: (filters), the bias's gradient, or NULL */
} Convolution;

/* Rows of scores q k^T of one head of attention: queries from number `first` on, and keys up to `columns`. Rows of scores in
 * memory have ATTENTION_PAD elements or a multiple of it, which are written up to the next multiple. */
enum { ATTENTION_PAD = 16 };
typedef struct {
    isize rows, columns, row_length, first;
    bool causal; /* query i attends to keys up to i */
    double scale;
    const void
        *mask;       /* bool, true where a query attends to a key, or numbers that are added to the scaled scores; or NULL */
    isize mask_step; /* from one row to the next, as the other steps; the elements of a row follow each other */
    bool mask_is_bool;
    void *shift, *share; /* (rows) weights are exp(score - shift) * share, where share is 0 if nothing is attended to */
    const void *out, *g; /* of the adjoint: the rows of the result, and their cotangents */
    isize out_step, g_step, value_size;
} AttentionBlock;

/* Normalization of x (images, channels, span), out = (x - mean) / sqrt(variance + eps) * weight + bias. Mean and variance are those
 * of a channel over all images (groups = 0, batch norm), or of each of `groups` groups of an image's channels. */
typedef struct {
    isize images, channels, span, groups;
    bool centred; /* false: the mean counts as 0 (root-mean-square norm) */
    bool given;   /* batch norm by the moments that are there, which are constants */
    double eps;
    const void *x, *weight, *bias; /* weight and bias: (channels) */
    void *out;
    void
        *moments; /* (4, means): the mean as a sum of two numbers, 1 / sqrt(variance + eps), variance; norm_vjp reads them */
    const void *g; /* of norm_vjp: the cotangent of out */
    void *dx, *dweight, *dbias;
    double *space;
} Norm;

/* One step in time of a recurrent layer, for some rows of its batch. `gates` holds the products of the input and of the state
 * before with the weights, in places of `hidden` numbers: RNN, one; LSTM, input, forget, cell (g), output; GRU, new (of the
 * input), reset, update, new (of the state). The step adds the bias and leaves there what its adjoint needs:
 *     RNN   h = activation(z), where gates is h itself
 *     LSTM  c = f c_before + i g,  h = o tanh(c)                  i, f, o = sigmoid(z), g = tanh(z)
 *     GRU   h = n + u (h_before - n),  n = tanh(z + r z_state)    r, u = sigmoid(z)
 * Rows whose length has been reached keep their state. */
typedef struct {
    enum { RNN_TANH, RNN_RELU, LSTM, GRU } cell;
    isize rows, hidden, step;
    const int64_t *lengths; /* of the rows, or NULL: none ends */
    const void *bias;       /* a number for each of the gates' */
    const void *h_before, *c_before;
    void *gates, *h, *c; /* c: LSTM */
    /* The adjoint, from the cotangents g of h, for this step's own use, and dh and dc of what follows; it leaves in dh what goes
     * to h_before past the gates, and dc of c_before, and in dgates the cotangents of the products. */
    const void *g;
    void *dh, *dc, *dgates;
} RecurrentStep;

typedef struct {
    const char *level; /* "v2", "v3", "v4" (x86-64) or "baseline" */

    /* Indexed by op (pointwise.h) and dtype; NULL where the op has no kernel for the dtype. */
    const pointwise_fn (*forward)[N_DTYPES];
    const pointwise_fn (*vjp)[3][N_DTYPES]; /* operands: g, the inputs, y; output: the gradient of one input */

    /* where(condition (bool), a, b), operands in this order. */
    pointwise_fn select[N_DTYPES];
    void (*cast)(isize n, const void *x, int from, void *out, int to);
    void (*fill)(isize n, void *out, const void *value, int itemsize);
    /* out[i * out_row + j * out_column] = x[i * x_row + j * x_column], i < rows, j < columns. Strides, in elements, may be
     * zero or negative; no two (i, j) share a place of out. One thread. */
    void (*copy)(isize rows, isize columns, const void *x, isize x_row, isize x_column, void *out, isize out_row,
                 isize out_column, int itemsize);
    /* acc[i] += x[i], float32 and float64. */
    void (*accumulate[N_DTYPES])(isize n, const void *x, void *acc);

    reduce_fn sum[N_DTYPES], prod[N_DTYPES], max[N_DTYPES], min[N_DTYPES]; /* NaN wins in max and min; n >= 1 there */
    reduce_fn argmax[N_DTYPES], argmin[N_DTYPES]; /* out int64: first extreme, or first NaN; n >= 1 */
    /* Running sum along the middle of (outer, n, inner); out has x's shape. reverse: from the end. */
    void (*cumsum[N_DTYPES])(const void *x, void *out, isize outer, isize n, isize inner, bool reverse);

    /* Rows of n >= 1: out = exp(x - max) / sum, or x - logsumexp(x); logsumexp gives one number a row. */
    void (*softmax[N_DTYPES])(const void *x, void *out, isize rows, isize n);
    void (*log_softmax[N_DTYPES])(const void *x, void *out, isize rows, isize n);
    void (*logsumexp[N_DTYPES])(const void *x, void *out, isize rows, isize n);

    /* Indices from `least`, 0 or -n, to n - 1 as positions from 0. Returns the first i whose index is outside, or k. */
    isize (*positions)(isize k, const int64_t *index, int64_t least, int64_t n, int64_t *out);
    /* take: out (outer, k, inner) = x (outer, n, inner)[:, index, :]; 0 <= index < n is checked by the caller.
     * inner_bytes is inner * itemsize. */
    void (*take)(const void *x, const int64_t *index, void *out, isize outer, isize n, isize k, isize inner_bytes);
    /* The adjoint: out (outer, n, inner)[:, index, :] += g (outer, k, inner); unless there is more to add to, out is zeroed first. */
    void (*take_add[N_DTYPES])(const void *g, const int64_t *index, void *out, isize outer, isize n, isize k, isize inner,
                               bool more);

    /* conv_space tells how many bytes of working space conv is to be given. */
    isize (*conv_space[N_DTYPES])(const Convolution *c);
    void (*conv[N_DTYPES])(const Convolution *c, void *space, isize bytes);
    /* Pooling of planes x (planes, height, width) to y (planes, out_h, out_w). Sums of windows and the adjoint; padding counts as
     * zero. Maxima (NaN wins, padding never does). From each window the element of v at the place of the (first) maximum of x,
     * and the adjoint, which adds each element of g there. */
    void (*window_sum[N_DTYPES])(const Window *w, const void *x, void *y, isize planes);
    void (*window_spread[N_DTYPES])(const Window *w, const void *g, void *out, isize planes);
    void (*window_max[N_DTYPES])(const Window *w, const void *x, void *y, isize planes);
    void (*max_pick[N_DTYPES])(const Window *w, const void *x, const void *y, const void *v, void *out, isize planes);
    void (*max_spread[N_DTYPES])(const Window *w, const void *x, const void *y, const void *g, void *out, isize planes);

    /* Built-in product, row-major: c (m, n) = op(a) op(b) + beta * c, beta 0 or 1 (0 does not read c);
     * trans_a: a is stored (k, m) with row length lda, else (m, k); likewise b, (n, k) or (k, n). One thread.
     * gemm_space tells how many bytes of working space gemm had best be given; NULL is slower, with the same result. */
    void (*gemm[N_DTYPES])(bool trans_a, bool trans_b, isize m, isize n, isize k, const void *a, isize lda, const void *b,
                           isize ldb, int beta, void *c, isize ldc, void *space);
    isize (*gemm_space[N_DTYPES])(bool trans_a, isize m, isize n, isize k);
    bool gemm_leads; /* whether gemm is quicker than OpenBLAS where neither m nor n is small */

    /* Dense epilogue: z (rows, n) += bias (n), then z = activation(z). bias may be NULL. */
    void (*bias_act[N_DTYPES])(void *z, const void *bias, isize rows, isize n, int activation);
    /* dz = g * activation'(y) and db (n) = column sums of dz. db may be NULL; dz may be g itself. */
    void (*bias_act_vjp[N_DTYPES])(const void *g, const void *y, void *dz, void *db, isize rows, isize n, int activation);

    /* norm_space tells how many doubles of working space norm_vjp is to be given. */
    isize (*norm_space)(const Norm *n);
    void (*norm[N_DTYPES])(const Norm *n);
    void (*norm_vjp[N_DTYPES])(const Norm *n);

    /* out[i] = 0 where a word made of key and i is below threshold, else scale * x[i]. */
    void (*dropout[N_DTYPES])(isize n, const void *x, void *out, uint64_t key, uint32_t threshold, double scale);
    void (*recurrent_step[N_DTYPES])(const RecurrentStep *s);
    void (*recurrent_step_vjp[N_DTYPES])(const RecurrentStep *s);

    /* Softmax cross-entropy of rows of logits against integer classes (label) or rows of probabilities that need not sum to 1
     * (target); exactly one is not NULL. weight: of each row, or NULL; a row of weight 0 counts nothing, whatever is in it.
     * smoothing: the part of a label's 1 that is spread over all classes. Writes the sum of the losses to *total, each to
     * row_loss unless that is NULL, and the probabilities. */
    void (*softmax_cross_entropy[N_DTYPES])(const void *logits, const int64_t *label, const void *target, const void *weight,
                                            double smoothing, double *total, void *row_loss, void *probabilities, isize rows,
                                            isize n);
    /* Its gradient by the logits: dx = scale * weight * (sum(target) * probabilities - target), row by row. */
    void (*softmax_cross_entropy_vjp[N_DTYPES])(const void *probabilities, const int64_t *label, const void *target,
                                                const void *weight, double smoothing, double scale, void *dx, isize rows,
                                                isize n);

    /* scores to weights, softmax(scale * scores + mask), zero in rows where nothing is attended to; writes shift and share. And,
     * given these, scores to weights again, and slopes, the cotangents of the weights, to those of the scores as they were given. */
    void (*attention_weights[N_DTYPES])(const AttentionBlock *b, void *scores);
    void (*attention_slopes[N_DTYPES])(const AttentionBlock *b, void *scores, void *slopes);

    /* One step of an optimizer, and the sum of (scale * x)**2 over n elements. update_rows steps rows of `width` elements: those
     * that index tells, or the first `rows` where it is NULL; rows whose gradient is zero stay as they are. clear: zero the gradient
     * of a row as it is stepped, so that one that index tells twice is stepped once. */
    void (*update[N_DTYPES])(const Update *u);
    void (*update_rows[N_DTYPES])(const Update *u, isize rows, isize width, const int64_t *index, bool clear);
    double (*sum_squares[N_DTYPES])(isize n, const void *x, double scale);
} Kernels;

/* The level in use; set by select_kernels (runtime/cpu.c). */
extern const Kernels *kernels;

/* How a .c file of this folder names what it exports: KERNEL(sum_f32) is sum_f32_v3 at level v3. */
#define KERNEL_JOIN2(name, level) name##_##level
#define KERNEL_JOIN(name, level) KERNEL_JOIN2(name, level)
#define KERNEL(name) KERNEL_JOIN(name, LEVEL)
