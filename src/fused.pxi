# Fused ops: several steps in one kernel where it counts, each with a readable composite of other ops (its reference).
#
# Above: layers and costs.  Below: the row kernels, the matrix product.  A recorded backward pass differentiates the reference
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


def dense_reference(x, weight, bias, int activation):
    """What `dense` computes, in terms of other ops."""
    z = matmul(x, weight, bias, transpose_b=True)
    if activation == 0:
        return z
    return pointwise(OP_relu if activation == 1 else OP_sigmoid if activation == 2 else OP_tanh, z, None, None)


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
    cdef int dtype = promoted(a.t.dtype, f.t.dtype), act
    try:
        act = ACTIVATIONS.get(activation, -1)
    except TypeError:  # not hashable
        act = -1
    if act < 0 and not callable(activation):
        raise ValueError(f"dense: expected activation None, 'relu', 'sigmoid', 'tanh' or a function, got {activation!r}")
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
    return out


cdef int dense_vjp(Walk *w, Node *n, Array g) except -1:
    if w.create_graph:
        return replay(w, n, g, dense_reference, (saved_input(n, 0), saved_input(n, 1),
                                                 saved_input(n, 2) if n.saved[2] != NULL else None, n.param))
    cdef int dtype = n.dtype
    cdef isize inputs = n.saved[1].shape[1], outputs = n.saved[1].shape[0]
    cdef isize rows = n.saved[0].size // inputs if inputs else g.t.size // outputs if outputs else 0
    cdef Array cotangent = wrap(contiguous(g.t)), dz = cotangent, db = None, dx = None, df = None, x, f
    cdef bint wants_bias = n.inputs[2] != NULL and wants(w, n, 2)
    cdef Operand weight
    if wants_bias:
        db = wrap(tensor_new(dtype, 1, &outputs))
    if n.param:
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


# ---- the mean of a pointwise op of two operands, whose values are not stored

def mean_of_reference(x, y, int op):
    """What `mean_of` computes, in terms of other ops."""
    return mean(pointwise(op, x, y, None))


cdef Array mean_of(int op, Array x, Array y):
    """mean(op(x, y)), for operands of one shape and float dtype and at least one element."""
    cdef int dtype = x.t.dtype
    cdef Array out = wrap(tensor_new(dtype, 0, NULL))
    cdef const Tensor *operands[2]
    cdef Array first = wrap(contiguous(x.t)), second = wrap(contiguous(y.t))
    cdef double total
    operands[0], operands[1] = first.t, second.t
    if x.t.size < APPLY_LONG:
        total = apply_sum(kernels.forward[op][dtype], 2, operands, x.t.size, rows[op].heavy)
    else:
        x, y = alias(x), alias(y)
        with nogil:
            total = apply_sum(kernels.forward[op][dtype], 2, operands, first.t.size, rows[op].heavy)
    put_double(out.t, total / first.t.size)
    cdef Node *n = record2(out, x, y, mean_of_vjp, b"mean_of")
    if n != NULL:
        n.op = op
    return out


cdef void put_double(Tensor *t, double value) noexcept:
    if t.dtype == FLOAT32:
        (<float *> t.data)[0] = <float> value
    else:
        (<double *> t.data)[0] = value


cdef int mean_of_vjp(Walk *w, Node *n, Array g) except -1:
    cdef const Tensor *operands[4]
    cdef Array share, gradient
    cdef int i
    if w.create_graph:
        return replay(w, n, g, mean_of_reference, (saved_input(n, 0), saved_input(n, 1), n.op))
    share = wrap(tensor_new(n.dtype, 0, NULL))  # of each element
    put_double(share.t, element(g.t, g.t.data) / n.saved[0].size)
    operands[0], operands[1], operands[2], operands[3] = share.t, n.saved[0], n.saved[1], share.t
    for i in range(2):
        if wants(w, n, i):
            gradient = wrap(tensor_new(n.dtype, n.saved[i].ndim, n.saved[i].shape))
            run(kernels.vjp[n.op][i][n.dtype], 4, operands, gradient.t, rows[n.op].heavy)
            send(w, n, i, gradient)
    return 0


def mse(output, target):
    """Mean of the squared differences over all elements, ``mean((output - target)**2)``.

    Parameters
    ----------
    output : array_like
        Of any shape, with at least one element.
    target : array_like
        Of the same shape.

    Returns
    -------
    Array
        Without axes, in the output's dtype.

    Raises
    ------
    ValueError
        If the shapes differ, or there are no elements.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.mse([1.0, 2.0], [1.0, 4.0])
    Array(2., dtype=float64)
    """
    cdef Array x = as_float(output, "mse"), t = cast(as_operand(target, "mse"), x.t.dtype)
    if not same_shape(x.t, t.t):
        raise ValueError(f"mse: expected a target of the output's shape {x.shape}, got {t.shape}")
    if not x.t.size:
        raise ValueError(f"mse: expected at least one element, got shape {x.shape}")
    return mean_of(OP_squared_difference, x, t)


# ---- cross-entropy

cdef Array class_indices(Array target, isize classes, str op):
    """Integer classes, checked, as a contiguous row."""
    cdef Array flat = wrap(tensor_new(INT64, 1, &target.t.size))
    cdef int64_t *values = <int64_t *> flat.t.data
    cdef isize i
    tensor_copy_out(target.t, values)
    for i in range(flat.t.size):
        if not 0 <= values[i] < classes:
            raise ValueError(f"{op}: expected classes from 0 to {classes - 1}, got {values[i]}")
    return flat


cdef Array softmax_cross_entropy_reference_op(Array logits, Array target):
    cdef Array logs = log_softmax_last(logits)
    cdef isize classes = logits.t.shape[logits.t.ndim - 1], rows = logits.t.size // classes
    if target.t.dtype == INT64:
        flat = reshape(logs, (-1,))
        positions = class_indices(target, classes, "cross_entropy") + arange(rows) * classes
        return sum(taken(flat, positions, 0)) / float(-rows)
    return sum(where(target == 0, 0.0, target * logs)) / float(-rows)


def softmax_cross_entropy_reference(logits, target):
    """What `softmax_cross_entropy` computes, in terms of other ops."""
    cdef Array x = as_float(logits, "cross_entropy")
    return softmax_cross_entropy_reference_op(x, cross_entropy_target(x, as_operand(target, "cross_entropy"), "cross_entropy"))


def softmax_cross_entropy(logits, target):
    """Mean over the rows of the cross-entropy between softmax(logits) and a target, stable for logits of any size.

    Parameters
    ----------
    logits : array_like
        (..., classes)
    target : array_like
        int64 classes of shape (...), or probabilities of shape (..., classes).

    Returns
    -------
    Array
        Without axes: the mean of ``-sum(target * log_softmax(logits))``.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is out of range, or there are no rows.

    Examples
    --------
    >>> import corgi
    >>> corgi.softmax_cross_entropy([[0.0, 0.0]], [1])
    Array(0.69314718, dtype=float64)
    """
    cdef Array x = as_float(logits, "softmax_cross_entropy"), t = as_operand(target, "softmax_cross_entropy")
    t = cross_entropy_target(x, t, "softmax_cross_entropy")
    return cross_entropy_op(x, t, "softmax_cross_entropy")


cdef Array cross_entropy_target(Array x, Array t, str op):
    """The target in the form that the kernels take: int64 classes, or probabilities in x's dtype."""
    if x.t.ndim == 0:
        raise ValueError(f"{op}: expected predictions of shape (..., classes), got an array without axes")
    if x.t.size == 0:
        raise ValueError(f"{op}: expected at least one row and class, got predictions of shape {x.shape}")
    if t.t.dtype == INT64 and t.shape == x.shape[:x.t.ndim - 1]:
        return t
    if same_shape(x.t, t.t):
        return cast(t, x.t.dtype)
    raise ValueError(f"{op}: expected a target of shape {x.shape} (probabilities) or int64 classes of shape "
                     f"{x.shape[:x.t.ndim - 1]}, got {t.dtype} of shape {t.shape}")


cdef Array cross_entropy_op(Array x, Array t, str op):
    cdef isize classes = x.t.shape[x.t.ndim - 1], rows = x.t.size // classes
    cdef Array out = wrap(tensor_new(x.t.dtype, 0, NULL)), probabilities = wrap(tensor_like(x.t)), labels = None
    cdef Tensor *source
    cdef Tensor *dense_target = NULL
    if t.t.dtype == INT64:
        labels = class_indices(t, classes, op)
    else:
        dense_target = contiguous(t.t)
    source = contiguous(x.t)
    kernels.softmax_cross_entropy[x.t.dtype](source.data, <int64_t *> labels.t.data if labels is not None else NULL,
                                             dense_target.data if dense_target != NULL else NULL, out.t.data,
                                             probabilities.t.data, rows, classes)
    tensor_release(source)
    if dense_target != NULL:
        tensor_release(dense_target)
    cdef Node *n
    if recording and (x.tracks or t.tracks):
        n = node_new(cross_entropy_vjp, b"cross_entropy", 2, out.t)
        connect(n, 0, x)
        connect(n, 1, t)
        save(n, 0, x)
        save(n, 1, t)
        save(n, 2, probabilities)
        publish(out, n)
    return out


cdef int cross_entropy_vjp(Walk *w, Node *n, Array g) except -1:
    cdef Array t = wrap_shared(n.saved[1]), p = wrap_shared(n.saved[2]), dx
    cdef isize classes = n.saved[2].shape[n.saved[2].ndim - 1], rows = n.saved[2].size // classes
    if w.create_graph or (n.inputs[1] != NULL and wants(w, n, 1)):
        return cross_entropy_replay(w, n, g)
    if not wants(w, n, 0):
        return 0
    cdef Array scale = g / float(rows)
    if t.t.dtype != INT64:
        total = sum_axes(t, 1 << (t.t.ndim - 1), True)
        send(w, n, 0, (p * total - t) * scale)
        return 0
    dx = p * scale
    subtract_at(dx.t, class_indices(t, classes, "cross_entropy").t, classes, scale.item())
    send(w, n, 0, dx)
    return 0


cdef int cross_entropy_replay(Walk *w, Node *n, Array g) except -1:
    global recording
    cdef bint was_recording = recording
    recording = True
    try:
        replay(w, n, g, softmax_cross_entropy_reference, (saved_input(n, 0), saved_input(n, 1)))
    finally:
        recording = was_recording
    return 0


cdef void subtract_at(Tensor *t, const Tensor *labels, isize classes, double value) noexcept:
    """t[row, label[row]] -= value, for a tensor that nobody else has."""
    cdef const int64_t *label = <const int64_t *> labels.data
    cdef isize i
    for i in range(labels.size):
        if t.dtype == FLOAT32:
            (<float *> t.data)[i * classes + label[i]] -= <float> value
        else:
            (<double *> t.data)[i * classes + label[i]] -= value


def cross_entropy(probabilities, target):
    """Mean over the rows of the cross-entropy, ``-sum(target * log(probabilities))``.

    Where the probabilities are the result of softmax over their last axis, the loss and its gradient are computed from the
    logits, so that they are right also where the softmax underflows to 0.

    Parameters
    ----------
    probabilities : array_like
        (..., classes)
    target : array_like
        int64 classes of shape (...), or probabilities of shape (..., classes).

    Returns
    -------
    Array
        Without axes.

    Raises
    ------
    ValueError
        If the shapes do not fit, a class is out of range, or there are no rows.

    Examples
    --------
    >>> import corgi
    >>> corgi.cross_entropy(corgi.softmax([[0.0, 800.0]]), [0])
    Array(800., dtype=float64)
    """
    cdef Array p = as_float(probabilities, "cross_entropy"), t = as_operand(target, "cross_entropy"), logits, picked
    t = cross_entropy_target(p, t, "cross_entropy")
    cdef isize classes = p.t.shape[p.t.ndim - 1], rows = p.t.size // classes
    # Not where the probabilities' own gradient is wanted: the logits' way passes them by.
    if p.node != NULL and p.node.vjp == softmax_vjp and not p.node.keeps and (p.node.inputs[0] != NULL or not p.tracks):
        logits = wrap_shared(p.node.saved[0])
        if p.tracks and p.node.inputs[0] != NULL:
            attach(logits, p.node.inputs[0])
            logits.tracks = True
        return cross_entropy_op(logits, t, "cross_entropy")
    if t.t.dtype == INT64:
        positions = class_indices(t, classes, "cross_entropy") + arange(rows) * classes
        picked = taken(reshape(p, (-1,)), positions, 0)
        return 0.0 - sum(pointwise(OP_log, picked, None, None)) / float(rows)
    # log only where the target is not 0, so that 0 * log(0) counts as 0 in the value and in the gradient
    used = t != 0
    logs = pointwise(OP_log, where(used, p, 1.0), None, None)
    return 0.0 - sum(t * logs) / float(rows)
