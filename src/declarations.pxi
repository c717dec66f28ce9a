# What the extension needs of C: the kernels, tensors, BLAS, threads, and a few pieces of the Python C API.

cimport cython
from cpython.object cimport PyObject, PyTypeObject, Py_TYPE
from cpython.ref cimport Py_INCREF, Py_DECREF, Py_XDECREF
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_STRIDES, PyBUF_WRITABLE, PyBUF_C_CONTIGUOUS
from cpython.buffer cimport PyBUF_F_CONTIGUOUS, PyBUF_ANY_CONTIGUOUS
from cpython.buffer cimport PyObject_GetBuffer, PyBuffer_Release
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, malloc, realloc, free
from libc.string cimport memcpy, memset, memcmp

ctypedef Py_ssize_t isize

cdef extern from "kernels/kernels.h" nogil:
    enum: BOOL, INT64, FLOAT32, FLOAT64, N_DTYPES
    enum: CONV_FORWARD, CONV_INPUT, CONV_FILTERS, NO_ACTIVATION
    ctypedef void (*pointwise_fn)(isize n, char **args) noexcept nogil
    ctypedef void (*reduce_fn)(const void *x, void *out, isize outer, isize n, isize inner) noexcept nogil
    ctypedef struct Window:
        isize channels, height, width, kernel_h, kernel_w, out_h, out_w
        isize stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups
    ctypedef struct Update:
        int rule
        bint decoupled
        isize n
        const void *p
        const void *g
        void *out
        void *state[3]
        int64_t step
        double rate, weight_decay, momentum, beta1, beta2, rho, epsilon, initial, correction1, correction2
    ctypedef struct Convolution:
        int which "pass"
        const Window *window
        isize images, filters
        const void *first
        const void *second
        void *out
        int activation
        const void *y
        const void *bias
        void *db
    ctypedef struct Norm:
        isize images, channels, span, groups
        bint centred, given
        double eps
        const void *x
        const void *weight
        const void *bias
        void *out
        void *moments
        const void *g
        void *dx
        void *dweight
        void *dbias
        double *space
    ctypedef struct Kernels:
        const char *level
        bint gemm_leads
        pointwise_fn forward[1][4]
        pointwise_fn vjp[1][3][4]
        pointwise_fn select[4]
        void (*cast)(isize n, const void *x, int from_, void *out, int to) noexcept nogil
        void (*fill)(isize n, void *out, const void *value, int itemsize) noexcept nogil
        void (*accumulate[4])(isize n, const void *x, void *acc) noexcept nogil
        reduce_fn sum[4]
        reduce_fn prod[4]
        reduce_fn max[4]
        reduce_fn min[4]
        reduce_fn argmax[4]
        reduce_fn argmin[4]
        void (*cumsum[4])(const void *x, void *out, isize outer, isize n, isize inner, bint reverse) noexcept nogil
        void (*softmax[4])(const void *x, void *out, isize rows, isize n) noexcept nogil
        void (*log_softmax[4])(const void *x, void *out, isize rows, isize n) noexcept nogil
        void (*logsumexp[4])(const void *x, void *out, isize rows, isize n) noexcept nogil
        isize (*positions)(isize k, const int64_t *index, int64_t least, int64_t n, int64_t *out) noexcept nogil
        void (*take)(const void *x, const int64_t *index, void *out, isize outer, isize n, isize k,
                     isize inner_bytes) noexcept nogil
        void (*take_add[4])(const void *g, const int64_t *index, void *out, isize outer, isize n, isize k,
                            isize inner, bint more) noexcept nogil
        isize (*conv_space[4])(const Convolution *c) noexcept nogil
        void (*conv[4])(const Convolution *c, void *space, isize bytes) noexcept nogil
        void (*window_sum[4])(const Window *w, const void *x, void *y, isize planes) noexcept nogil
        void (*window_spread[4])(const Window *w, const void *g, void *out, isize planes) noexcept nogil
        void (*window_max[4])(const Window *w, const void *x, void *y, isize planes) noexcept nogil
        void (*max_pick[4])(const Window *w, const void *x, const void *y, const void *v, void *out,
                            isize planes) noexcept nogil
        void (*max_spread[4])(const Window *w, const void *x, const void *y, const void *g, void *out,
                              isize planes) noexcept nogil
        void (*bias_act[4])(void *z, const void *bias, isize rows, isize n, int activation) noexcept nogil
        void (*bias_act_vjp[4])(const void *g, const void *y, void *dz, void *db, isize rows, isize n,
                                int activation) noexcept nogil
        void (*dropout[4])(isize n, const void *x, void *out, uint64_t key, uint32_t threshold, double scale) noexcept nogil
        isize (*norm_space)(const Norm *n) noexcept nogil
        void (*norm[4])(const Norm *n) noexcept nogil
        void (*norm_vjp[4])(const Norm *n) noexcept nogil
        void (*softmax_cross_entropy[4])(const void *logits, const int64_t *label, const void *target,
                                         const void *weight, double smoothing, double *total, void *row_loss, void *probabilities,
                                         isize rows, isize n) noexcept nogil
        void (*softmax_cross_entropy_vjp[4])(const void *probabilities, const int64_t *label, const void *target,
                                             const void *weight, double smoothing, double scale, void *dx, isize rows,
                                             isize n) noexcept nogil
        void (*update[4])(const Update *u) noexcept nogil
        void (*update_rows[4])(const Update *u, isize rows, isize width, const int64_t *index, bint clear) noexcept nogil
        double (*sum_squares[4])(isize n, const void *x, double scale) noexcept nogil
    const Kernels *kernels

cdef extern from "kernels/pointwise.h" nogil:
    enum: N_POINTWISE, KIND_FLOAT, KIND_COMPARE, KIND_LOGIC, KIND_PREDICATE
    enum: OP_negative, OP_absolute, OP_square, OP_reciprocal, OP_sqrt, OP_exp, OP_log
    enum: OP_add, OP_subtract, OP_multiply, OP_divide, OP_power, OP_maximum, OP_minimum, OP_floor_divide, OP_remainder
    enum: OP_equal, OP_not_equal, OP_less, OP_less_equal, OP_greater, OP_greater_equal
    enum: OP_logical_and, OP_logical_or, OP_logical_xor
    enum: OP_clip, OP_axpy, OP_relu, OP_sigmoid, OP_tanh, OP_squared_difference
    enum: OP_absolute_loss, OP_hinge_loss, OP_huber_loss, OP_log_loss, OP_logistic_loss
    ctypedef struct PointwiseOp:
        const char *name
        const char *kind_name
        const char *domain
        const char *sentence
        const char *formula
        int kind, n_inputs
        const char *vjp[3]
    const PointwiseOp pointwise_ops[]
    ctypedef struct PointwiseHelper:
        const char *name
        const char *meaning
    const PointwiseHelper pointwise_helpers[]

cdef extern from "kernels/update.h" nogil:
    enum: N_UPDATE_RULES, UPDATE_average
    ctypedef struct UpdateRow:
        const char *name
        int n_states
        const char *states
    const UpdateRow update_rules[]

cdef extern from "runtime/tensor.h" nogil:
    enum: MAX_NDIM
    ctypedef struct Tensor:
        isize refs
        Tensor *owner
        char *data
        isize size
        int8_t dtype, ndim
        bint contiguous
        isize shape[8]
        isize strides[8]
    int itemsize(int dtype)
    void shape_copy(isize *to, const isize *source, int ndim)
    Tensor *tensor_new(int dtype, int ndim, const isize *shape)
    Tensor *tensor_like(const Tensor *t)
    Tensor *tensor_view(Tensor *t)
    void tensor_update_contiguous(Tensor *t)
    void tensor_retain(Tensor *t)
    void tensor_release(Tensor *t)
    ctypedef struct MemoryStats:
        isize held, in_use, peak, limit, allocations, reuses
    MemoryStats memory_stats
    void memory_trim(isize keep)

cdef extern from "runtime/apply.h" nogil:
    enum: APPLY_LONG, APPLY_SMALL
    void apply(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bint heavy)
    void apply_add(pointwise_fn kernel, int n_operands, const Tensor *const *operands, Tensor *out, bint heavy)
    double apply_sum(pointwise_fn kernel, int n_operands, const Tensor *const *operands, const Tensor *weights, isize size,
                     bint heavy)
    void tensor_copy(const Tensor *t, const Tensor *to)
    void tensor_copy_out(const Tensor *t, void *out)

cdef extern from "runtime/chain.h" nogil:
    enum: CHAIN_SUMS, CHAIN_STEPS, CHAIN_NUMBERS, CHAIN_SPACE
    ctypedef struct ChainOperand:
        const char *data
        int index
    ctypedef struct ChainSum:
        char *out
        ChainOperand begin
    ctypedef struct ChainStep:
        pointwise_fn kernel
        int n_operands, to
        ChainOperand *operands
    ctypedef struct Chain:
        int dtype, n_numbers, n_sums, n_steps
        isize size, tile_bytes
        const char **numbers
        ChainSum *sums
        ChainStep *steps
    void chain_begin(Chain *chain, int dtype, isize size)
    void chain_run(Chain *chain)

cdef extern from "runtime/attention.h" nogil:
    ctypedef struct Attention:
        const Tensor *q
        const Tensor *k
        const Tensor *v
        const Tensor *mask
        const Tensor *out
        const Tensor *sums
        const Tensor *g
        const Tensor *dq
        const Tensor *dk
        const Tensor *dv
        bint causal
        double scale
    isize attention_space(Attention *a)
    void attention(const Attention *a, void *space)

cdef extern from "runtime/threads.h" nogil:
    void parallel(void (*task)(void *context, ptrdiff_t index) noexcept nogil, void *context, ptrdiff_t n_tasks)
    int get_num_threads()
    void set_num_threads(int n)

cdef extern from "runtime/cpu.h" nogil:
    const char *select_kernels(const char *name)
    const char *available_levels()

cdef extern from "runtime/blas.h" nogil:
    void matmul_into(int dtype, bint trans_a, bint trans_b, isize m, isize n, isize k, const void *a, isize lda,
                     const void *b, isize ldb, int beta, void *c, isize ldc)
    const char *blas_load(const char *path)
    const char *blas_backend()
    const char *blas_library()
    const char *blas_config()

cdef extern from "runtime/recurrent.h" nogil:
    enum: RNN_TANH, RNN_RELU, LSTM, GRU
    ctypedef struct Recurrence:
        int cell, dtype
        bint reverse
        isize steps, batch, inputs, hidden
        const int64_t *lengths
        const void *x
        const void *weight_ih
        const void *weight_hh
        const void *bias_ih
        const void *bias_hh
        const void *h0
        const void *c0
        void *h
        void *c
        void *gates
        const void *g
        const void *dc_last
        void *dx
        void *dweight_ih
        void *dweight_hh
        void *dbias
        void *dh
        void *dc
    isize gate_count(int cell)
    isize gate_places(int cell)
    isize recurrent_space(const Recurrence *r)
    void recurrent_forward(const Recurrence *r, void *space)
    void recurrent_backward(const Recurrence *r, void *space)

cdef extern from *:
    """
    /* Does this thread record the graph?  Where the loader can do it, reading this is one instruction. */
    #ifdef __GLIBC__
    static _Thread_local int recording __attribute__((tls_model("initial-exec"))) = 1;
    #else
    static _Thread_local int recording = 1;
    #endif
    """
    bint recording
    bint unlikely(bint)
    int PyFloat_CheckExact(object)
    int PyLong_CheckExact(object)
    int PySlice_Unpack(object, isize *, isize *, isize *) except -1
    isize PySlice_AdjustIndices(isize, isize *, isize *, isize)
    bint PyBuffer_IsContiguous(Py_buffer *, char)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1
    unsigned long PyThread_get_thread_ident()
    bint PyObject_TypeCheck(object, type)
    dict PyObject_GenericGetDict(object, void *)
    Py_UCS4 PyUnicode_READ_CHAR(object, isize)
    int PyBool_Check(object)
    double PyFloat_AS_DOUBLE(object)
    isize Py_REFCNT(object)
    ctypedef struct PyMethodDef:
        const char *ml_doc
    object PyCFunction_NewEx(PyMethodDef *, object, object)
