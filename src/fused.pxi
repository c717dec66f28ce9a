# Fused ops: several steps in one kernel where it counts, each with a readable composite of other ops (its reference).
#
# Above: layers.  Below: the row kernels, the matrix product.  A recorded backward pass differentiates the reference
# (replay, in backward.pxi), or a vjp written in terms of ops; the tests hold the kernels against the reference as well.


# ---- softmax and its logarithm, along one axis

cdef enum:
    SOFTMAX, LOG_SOFTMAX, LOGSUMEXP

cdef Array rows_last(Array x, int axis):
    """x with the axis last (and contiguous rows)."""
    if axis != x.t.ndim - 1:
        x = moveaxis(x, axis, -1)
    return x


cdef Array softmax_rows(int which, Array x):
    """A kernel over the rows of the last axis; LOGSUMEXP leaves that axis with size 1."""
    cdef isize shape[8]
    cdef isize n = x.t.shape[x.t.ndim - 1]
    memcpy(shape, x.t.shape, sizeof(shape))
    if which == LOGSUMEXP:
        shape[x.t.ndim - 1] = 1
    cdef Array out = wrap(tensor_new(x.t.dtype, x.t.ndim, shape))
    cdef Tensor *source = contiguous(x.t)
    if source.size:
        if which == SOFTMAX:
            kernels.softmax[source.dtype](source.data, out.t.data, source.size // n, n)
        elif which == LOG_SOFTMAX:
            kernels.log_softmax[source.dtype](source.data, out.t.data, source.size // n, n)
        else:
            kernels.logsumexp[source.dtype](source.data, out.t.data, source.size // n, n)
    tensor_release(source)
    return filled(tensor_like(out.t), -np.inf) if which == LOGSUMEXP and n == 0 else out


cdef Array softmax_last(Array x):
    """softmax over the last axis.  The node keeps the logits, also of an untracked x: cross_entropy computes from them."""
    cdef Array out = softmax_rows(SOFTMAX, x)
    cdef Node *n = node_new(softmax_vjp, b"softmax", 1, out.t)
    if tracked(x):
        connect(n, 0, x)
    save(n, 0, x)
    save(n, SAVED_OUTPUT, out)
    cdef bint track = n.inputs[0] != NULL
    publish(out, n)
    out.tracks = track
    return out


cdef int softmax_vjp(Walk *w, Node *n, Array g) except -1:
    cdef Array y, weighted
    if wants(w, n, 0):
        y = saved_output(n)
        weighted = g * y
        send(w, n, 0, weighted - y * sum_axes(weighted, 1 << (y.t.ndim - 1), True))
    return 0


def softmax(a, axis=-1):
    """``exp(a) / sum(exp(a))`` along an axis, without overflow.

    Parameters
    ----------
    a : array_like
    axis : int

    Returns
    -------
    Array
        Numbers from 0 to 1 that sum to 1 along the axis.

    Examples
    --------
    >>> import corgi
    >>> corgi.softmax([0.0, 0.0])
    Array([0.5, 0.5], dtype=float64)
    """
    cdef Array x = as_float(a, "softmax")
    cdef int along = axis_of(axis, x.t.ndim, "softmax")
    cdef Array out = softmax_last(rows_last(x, along))
    return out if along == x.t.ndim - 1 else moveaxis(out, -1, along)


cdef Array log_softmax_last(Array x):
    cdef Array out = softmax_rows(LOG_SOFTMAX, x)
    cdef Node *n = record(out, x, log_softmax_vjp, b"log_softmax")
    if n != NULL:
        save(n, SAVED_OUTPUT, out)
    return out


cdef int log_softmax_vjp(Walk *w, Node *n, Array g) except -1:
    cdef Array y
    if wants(w, n, 0):
        y = saved_output(n)
        send(w, n, 0, g - pointwise(OP_exp, y, None, None) * sum_axes(g, 1 << (y.t.ndim - 1), True))
    return 0


def log_softmax(a, axis=-1):
    """Logarithm of the softmax along an axis, accurate also where the softmax underflows.

    Parameters
    ----------
    a : array_like
    axis : int

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.log_softmax([0.0, 1000.0])
    Array([-1000.,     0.], dtype=float64)
    """
    cdef Array x = as_float(a, "log_softmax")
    cdef int along = axis_of(axis, x.t.ndim, "log_softmax")
    cdef Array out = log_softmax_last(rows_last(x, along))
    return out if along == x.t.ndim - 1 else moveaxis(out, -1, along)


cdef Array logsumexp_last(Array x):
    cdef Array out = softmax_rows(LOGSUMEXP, x)
    cdef Node *n = record(out, x, logsumexp_vjp, b"logsumexp")
    if n != NULL:
        save(n, 0, x)
    return out


cdef int logsumexp_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, g * softmax_last(saved_input(n, 0)))
    return 0


def logsumexp(a, axis=None, *, bint keepdims=False):
    """``log(sum(exp(a)))`` over axes, without overflow.

    Parameters
    ----------
    a : array_like
    axis : int or sequence of ints, optional
        All axes by default.
    keepdims : bool
        Keep the axes, with size 1.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.logsumexp([1000.0, 1000.0])
    Array(1000.69314718, dtype=float64)
    """
    cdef Array x = as_float(a, "logsumexp")
    reduced = sorted(axes_of(axis, x.t.ndim, "logsumexp"))
    cdef int mask = axis_mask(reduced, x.t.ndim, "logsumexp")
    if not reduced:
        return alias(x)
    kept = [i for i in range(x.t.ndim) if i not in reduced]
    moved = permuted(x, kept + reduced)
    cdef Array out = logsumexp_last(reshape(moved, moved.shape[:len(kept)] + (count_over(x.t, mask),)))
    out = reshape(out, out.shape[:len(kept)])
    return with_axes(out, mask, x.t.ndim) if keepdims else out


# ---- dense: activation(x @ weight^T + bias) in one op

# Those that the kernel knows, by name and by function.
cdef dict ACTIVATIONS = {None: 0, "relu": 1, "sigmoid": 2, "tanh": 3}
ACTIVATIONS.update([(globals()[name], ACTIVATIONS[name]) for name in ("relu", "sigmoid", "tanh")])


cdef int activation_code(activation, str op) except -2:
    """An activation's number in the kernels; -1 for any other function."""
    try:
        code = ACTIVATIONS.get(activation, -1)
    except TypeError:  # not hashable
        code = -1
    if code < 0 and not callable(activation):
        raise ValueError(f"{op}: expected activation None, 'relu', 'sigmoid', 'tanh' or a function, got {activation!r}")
    return code


cdef Array activated(Array z, int activation):
    if activation == 0:
        return z
    return pointwise(OP_relu if activation == 1 else OP_sigmoid if activation == 2 else OP_tanh, z, None, None)


def dense_reference(x, weight, bias, int activation):
    """What `dense` computes, in terms of other ops."""
    return activated(matmul(x, weight, bias, transpose_b=True), activation)


def dense(x, weight, bias=None, activation=None):
    """``activation(x @ weight.T + bias)`` in one operation.

    Parameters
    ----------
    x : array_like
        (..., inputs)
    weight : array_like
        (outputs, inputs)
    bias : array_like, optional
        (outputs,)
    activation : {None, "relu", "sigmoid", "tanh"} or callable
        These three, also given as functions, are computed together with the product; any other function is called with it.

    Returns
    -------
    Array
        (..., outputs)

    Raises
    ------
    ValueError
        If the shapes do not fit, or the activation is not one.

    Examples
    --------
    >>> import corgi
    >>> corgi.dense([[1.0, 2.0]], [[1.0, 1.0], [-1.0, -1.0]], [0.5, 0.5], "relu")
    Array([[3.5, 0. ]], dtype=float64)
    """
    cdef Array a = as_float(x, "dense"), f = as_float(weight, "dense"), b = None
    cdef int dtype = promoted(a.t.dtype, f.t.dtype), act = activation_code(activation, "dense")
    if bias is not None:
        b = as_float(bias, "dense")
        dtype = promoted(dtype, b.t.dtype)
        b = cast(b, dtype)
    a, f = cast(a, dtype), cast(f, dtype)
    if f.t.ndim != 2:
        raise ValueError(f"dense: expected a weight (outputs, inputs), got shape {f.shape}")
    cdef isize inputs = f.t.shape[1], outputs = f.t.shape[0]
    if a.t.ndim == 0 or a.t.shape[a.t.ndim - 1] != inputs:
        raise ValueError(f"dense: expected input of shape (..., {inputs}) for a weight of shape {f.shape}, got {a.shape}")
    if b is not None and (b.t.ndim != 1 or b.t.shape[0] != outputs):
        raise ValueError(f"dense: expected a bias of shape ({outputs},) for a weight of shape {f.shape}, got {b.shape}")
    return dense_op(a, f, b, act) if act >= 0 else activation(dense_op(a, f, b, 0))


cdef void dense_forward(int dtype, char *x, Operand f, void *bias, char *out, isize rows, isize inputs, isize outputs,
                        int activation) noexcept nogil:
    matmul_into(dtype, False, not f.transposed, rows, outputs, inputs, x, inputs if inputs else 1, f.data, f.leading, 0, out,
                outputs if outputs else 1)
    if bias != NULL or activation:
        kernels.bias_act[dtype](out, bias, rows, outputs, activation)


cdef Array dense_op(Array x, Array weight, Array bias, int activation):
    cdef isize shape[8]
    cdef isize inputs = weight.t.shape[1], outputs = weight.t.shape[0], rows = 1
    cdef int i, dtype = x.t.dtype
    memcpy(shape, x.t.shape, sizeof(shape))
    for i in range(x.t.ndim - 1):
        rows *= shape[i]
    shape[x.t.ndim - 1] = outputs
    cdef Array out = wrap(tensor_new(dtype, x.t.ndim, shape))
    if <double> rows * inputs * outputs >= APPLY_LONG:  # other threads run meanwhile
        x, weight = alias(x), alias(weight)
        bias = None if bias is None else alias(bias)
    cdef Tensor *a = contiguous(x.t)
    cdef Tensor *f = gemm_ready(weight.t)
    cdef Tensor *b = NULL if bias is None else contiguous(bias.t)
    cdef Operand pf = gemm_operand(f)
    cdef void *bias_data = NULL if b == NULL else b.data
    if <double> rows * inputs * outputs < APPLY_LONG:
        dense_forward(dtype, a.data, pf, bias_data, out.t.data, rows, inputs, outputs, activation)
    else:
        with nogil:
            dense_forward(dtype, a.data, pf, bias_data, out.t.data, rows, inputs, outputs, activation)
    tensor_release(a)
    tensor_release(f)
    if b != NULL:
        tensor_release(b)
    cdef Node *n
    if recording and (x.tracks or weight.tracks or (bias is not None and bias.tracks)):
        n = node_new(dense_vjp, b"dense", 3, out.t)
        n.param = activation
        connect(n, 0, x)
        connect(n, 1, weight)
        save(n, 0, x)
        save(n, 1, weight)
        if bias is not None:
            connect(n, 2, bias)
            save(n, 2, bias)
        if activation:
            save(n, SAVED_OUTPUT, out)
        publish(out, n)
    elif unlikely(watching):
        show_result(out, NULL, b"dense", [x, weight, bias])
    return out


cdef int dense_vjp(Walk *w, Node *n, Array g) except -1:
    if w.create_graph:
        return replay(w, n, g, dense_reference, (saved_input(n, 0), saved_input(n, 1),
                                                 saved_input(n, 2) if n.saved[2] != NULL else None, n.param))
    cdef int dtype = n.dtype
    cdef isize inputs = n.saved[1].shape[1], outputs = n.saved[1].shape[0]
    cdef isize rows = n.saved[0].size // inputs if inputs else g.t.size // outputs if outputs else 0
    cdef bint may_overwrite = not watching and is_private(<PyObject *> g)
    cdef Array cotangent = wrap(contiguous(g.t)), dz = cotangent, db = None, dx = None, df = None, x, f
    cdef bint wants_bias = n.inputs[2] != NULL and wants(w, n, 2)
    cdef Operand weight
    if wants_bias:
        db = wrap(tensor_new(dtype, 1, &outputs))
    if n.param:
        if not may_overwrite:
            dz = wrap(tensor_like(cotangent.t))
        kernels.bias_act_vjp[dtype](cotangent.t.data, n.saved[SAVED_OUTPUT].data, dz.t.data,
                                    NULL if db is None else db.t.data, rows, outputs, n.param)
    elif wants_bias:
        kernels.sum[dtype](cotangent.t.data, db.t.data, 1, rows, outputs)
    if wants_bias:
        send(w, n, 2, db)
    if wants(w, n, 1):
        x = wrap(contiguous(n.saved[0]))
        df = wrap(tensor_new(dtype, 2, n.saved[1].shape))
        multiply(dtype, True, False, outputs, inputs, rows, dz.t.data, outputs, x.t.data, inputs, df.t.data)
        send(w, n, 1, df)
    if wants(w, n, 0):
        f = wrap(gemm_ready(n.saved[1]))
        weight = gemm_operand(f.t)
        dx = wrap(tensor_new(dtype, n.inputs[0].ndim, n.inputs[0].shape))
        multiply(dtype, False, weight.transposed, rows, inputs, outputs, dz.t.data, outputs, weight.data, weight.leading,
                 dx.t.data)
        send(w, n, 0, dx)
    return 0


cdef void multiply(int dtype, bint trans_a, bint trans_b, isize m, isize n, isize k, char *a, isize lda, char *b, isize ldb,
                   char *c) noexcept:
    """c (m, n) = op(a) op(b) for operands that the caller holds; other Python threads run during a long product."""
    if <double> m * n * k < APPLY_LONG:
        matmul_into(dtype, trans_a, trans_b, m, n, k, a, lda, b, ldb, 0, c, n)
    else:
        with nogil:
            matmul_into(dtype, trans_a, trans_b, m, n, k, a, lda, b, ldb, 0, c, n)
