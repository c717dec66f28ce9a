# Cross-entropy of rows of probabilities, of their logarithms or of logits, against classes or probabilities.
#
# Above: corgi/cost.py, users.  Below: costs.pxi (reductions), fused.pxi (softmax), the row kernels.
#
# All options become a target, which is classes (with smoothing) or rows of probabilities that need not sum to 1, and perhaps a
# weight for each row, 0 for those that do not count. With C classes of weights w and smoothing e, the probabilities are
# w (e / C + (1 - e) t).


@cython.internal
cdef class RowTarget:
    """What the target of a cross-entropy and its options amount to."""
    cdef Array classes      # int64, one for each row, all in range; or None
    cdef Array probable     # (rows..., classes), if classes is None
    cdef Array row_weights  # of each row, untracked, or None
    cdef double smoothing   # of classes
    cdef double total       # what the mean divides by


cdef Array class_indices(Array target, isize classes, str op, ignored=None, Array kept=None):
    """Integer classes, checked, as a contiguous row. Where they are `ignored` they become 0, and `kept` (ones) 0."""
    cdef Array flat = wrap(tensor_new(INT64, 1, &target.t.size))
    cdef int64_t *values = <int64_t *> flat.t.data
    cdef int64_t other = -1 if ignored is None else ignored
    cdef isize i
    tensor_copy_out(target.t, values)
    for i in range(flat.t.size):
        if kept is not None and values[i] == other:
            values[i] = 0
            memset(kept.t.data + i * itemsize(kept.t.dtype), 0, itemsize(kept.t.dtype))
        elif not 0 <= values[i] < classes:
            raise ValueError(f"{op}: expected classes from 0 to {classes - 1}, got {values[i]}")
    return flat


cdef int require_rows(Array x, str op) except -1:
    if x.t.dtype < FLOAT32:
        raise TypeError(f"{op}: expected a float output, got {x.dtype}; convert it with astype(float)")
    if x.t.ndim == 0:
        raise ValueError(f"{op}: expected predictions of shape (..., classes), got an array without axes")
    if x.t.size == 0:
        raise ValueError(f"{op}: expected at least one row and class, got predictions of shape {x.shape}")
    return 0


cdef RowTarget row_target(Array x, target, weights, label_smoothing, ignore_index, str op):
    """The target for predictions x of shape (..., classes)."""
    cdef Array t = as_operand(target, op), w = None, kept = None
    cdef RowTarget rows = RowTarget.__new__(RowTarget)
    cdef double smoothing = 0
    require_rows(x, op)
    cdef isize classes = x.t.shape[x.t.ndim - 1], count = x.t.size // classes
    rows.total = <double> count
    if type(label_smoothing) is not float or <double> label_smoothing != 0:
        smoothing = number_of(label_smoothing, op)
        if not 0 <= smoothing <= 1:
            raise ValueError(f"{op}: expected label_smoothing from 0 to 1, got {label_smoothing}")
    if weights is not None:
        w = as_operand(weights, op)
        if w.t.ndim != 1 or w.t.shape[0] != classes:
            raise ValueError(f"{op}: expected weights of shape ({classes},), one for each class, got {w.shape}")
        w = wrap_shared(cast(w, x.t.dtype).t)
    if same_shape(x.t, t.t):
        if ignore_index is not None:
            raise ValueError(f"{op}: expected classes as targets with ignore_index, got probabilities of shape {t.shape}")
        rows.probable = smoothed(cast(t, x.t.dtype), w, smoothing, classes)
        return rows
    if t.t.dtype != INT64 or t.t.ndim != x.t.ndim - 1 or memcmp(t.t.shape, x.t.shape, t.t.ndim * sizeof(isize)) != 0:
        raise ValueError(f"{op}: expected a target of shape {x.shape} (probabilities) or int64 classes of shape "
                         f"{x.shape[:x.t.ndim - 1]}, got {t.dtype} of shape {t.shape}")
    if ignore_index is not None:
        if not isinstance(ignore_index, Integral) or not -2 ** 63 <= ignore_index < 2 ** 63:
            raise TypeError(f"{op}: expected an int64 for ignore_index, got {ignore_index!r}")
        kept = filled(tensor_new(x.t.dtype, 1, &count), 1)
    rows.classes = class_indices(t, classes, op, ignore_index, kept)
    if kept is not None or w is not None:
        rows.row_weights = kept if w is None else taken(w, rows.classes, 0)
        if kept is not None and w is not None:
            rows.row_weights = rows.row_weights * kept
        rows.total = sum_axes(rows.row_weights, 1, False).item()
    if w is None:
        rows.smoothing = smoothing
    elif smoothing:
        one_hot = cast(reshape(rows.classes, (-1, 1)) == arange(classes), x.t.dtype)
        rows.probable = reshape(smoothed(one_hot, w, smoothing, classes), x.shape)
        rows.classes, rows.row_weights = None, kept
    return rows


cdef Array smoothed(Array t, Array w, double smoothing, isize classes):
    if smoothing:
        t = pointwise(OP_axpy, scalar(1 - smoothing, t.t.dtype), t, scalar(smoothing / classes, t.t.dtype))
    return t if w is None else pointwise(OP_multiply, t, w, None)


cdef double mean_divisor(RowTarget rows, int how, str op) except? -1:
    if how != MEAN:
        return 1
    if rows.total == 0:
        raise ValueError(f"{op}: expected rows whose weights do not sum to 0; every class is ignore_index or of weight 0")
    return rows.total


# ---- in terms of other ops

cdef Array row_losses(Array x, RowTarget target, bint logarithms):
    """The weighted losses of the rows of probabilities, or of their logarithms, as one row."""
    cdef isize classes = x.t.shape[x.t.ndim - 1], rows = x.t.size // classes
    cdef Array losses, used, t
    if target.classes is not None:
        if target.smoothing and not logarithms:
            x, logarithms = pointwise(OP_log, x, None, None), True
        losses = taken(reshape(x, (-1,)), target.classes + arange(rows) * classes, 0)
        losses = 0.0 - (losses if logarithms else pointwise(OP_log, losses, None, None))
        if target.smoothing:
            mean_loss = 0.0 - sum_axes(reshape(x, (rows, classes)), 2, False) / float(classes)
            losses = (1 - target.smoothing) * losses + target.smoothing * mean_loss
    else:  # 0 * log(0) counts as 0, in the value and in the gradient
        t = target.probable
        used = pointwise(OP_not_equal, t, scalar(0.0, t.t.dtype), None)
        losses = where(used, x, 0.0) if logarithms else pointwise(OP_log, where(used, x, 1.0), None, None)
        losses = reshape(0.0 - sum_axes(t * losses, 1 << (x.t.ndim - 1), False), (-1,))
    if target.row_weights is None:
        return losses
    return where(target.row_weights == 0, 0.0, losses * target.row_weights)


cdef Array cross_entropy_composite(Array x, RowTarget target, int how, str op, bint logarithms):
    cdef double divisor = mean_divisor(target, how, op)
    cdef Array losses = row_losses(x, target, logarithms)
    if how == NONE:
        return reshape(losses, x.shape[:x.t.ndim - 1])
    return sum_axes(losses, 1, False) if how == SUM else sum_axes(losses, 1, False) / divisor


def _cross_entropy_reference(Array logits, Array target, row_weights, double total, double smoothing, int how):
    """What `cross_entropy_op` computes, in terms of other ops."""
    cdef RowTarget rows = RowTarget.__new__(RowTarget)
    rows.row_weights, rows.total, rows.smoothing = row_weights, total, smoothing
    require_rows(logits, "cross_entropy")
    if target.t.dtype == INT64:
        rows.classes = class_indices(target, logits.t.shape[logits.t.ndim - 1], "cross_entropy")
    else:
        rows.probable = target
    return cross_entropy_composite(log_softmax_last(logits), rows, how, "cross_entropy", True)


# ---- from logits, in one op

cdef Array cross_entropy_op(Array x, RowTarget target, int how, str op):
    cdef isize classes = x.t.shape[x.t.ndim - 1], rows = x.t.size // classes
    cdef double total, divisor = mean_divisor(target, how, op)
    cdef bint by_class = target.classes is not None
    cdef Array values = wrap(contiguous(x.t)), t = target.classes if by_class else wrap(contiguous(target.probable.t))
    cdef Array probabilities = wrap(tensor_like(x.t)), out = wrap(tensor_new(x.t.dtype, x.t.ndim - 1 if how == NONE else 0,
                                                                             x.t.shape))
    kernels.softmax_cross_entropy[x.t.dtype](
        values.t.data, <int64_t *> t.t.data if by_class else NULL, NULL if by_class else t.t.data,
        NULL if target.row_weights is None else target.row_weights.t.data, target.smoothing, &total,
        out.t.data if how == NONE else NULL, probabilities.t.data, rows, classes)
    if how != NONE:
        put_double(out.t, total / divisor)
    cdef Node *n
    if recording and (x.tracks or not by_class and target.probable.tracks):
        n = node_new(cross_entropy_vjp, b"cross_entropy", 2, out.t)
        n.param = how
        connect(n, 0, x)
        save(n, 0, x)
        if not by_class:
            connect(n, 1, target.probable)
        save(n, 1, t)
        save(n, 2, probabilities)
        if target.row_weights is not None:
            save(n, 3, target.row_weights)
        if divisor != rows or target.smoothing:
            set_context(n, (divisor, target.smoothing))
        publish(out, n)
    return out


cdef int cross_entropy_vjp(Walk *w, Node *n, Array g) except -1:
    cdef const Tensor *t = n.saved[1]
    cdef const Tensor *p = n.saved[2]
    cdef isize classes = p.shape[p.ndim - 1], rows = p.size // classes
    cdef double divisor = <double> rows, smoothing = 0, scale = 1
    cdef Array row_weights = wrap_shared(n.saved[3]) if n.saved[3] != NULL else None, dx
    if n.context != NULL:
        divisor, smoothing = <tuple> n.context
    if w.create_graph or (n.inputs[1] != NULL and wants(w, n, 1)):
        return cross_entropy_replay(w, n, g, row_weights, divisor, smoothing)
    if not wants(w, n, 0):
        return 0
    if n.param == NONE:
        g = reshape(g, (-1,))
        g = g if row_weights is None else pointwise(OP_multiply, g, row_weights, None)
        row_weights = wrap(contiguous(g.t))
    else:
        scale = element(g.t, g.t.data) / divisor
    dx = wrap(tensor_new(n.dtype, p.ndim, p.shape))
    kernels.softmax_cross_entropy_vjp[n.dtype](p.data, <int64_t *> t.data if t.dtype == INT64 else NULL,
                                               NULL if t.dtype == INT64 else t.data,
                                               NULL if row_weights is None else row_weights.t.data, smoothing, scale, dx.t.data,
                                               rows, classes)
    send(w, n, 0, dx)
    return 0


cdef int cross_entropy_replay(Walk *w, Node *n, Array g, Array row_weights, double divisor, double smoothing) except -1:
    global recording
    cdef bint was_recording = recording
    recording = True
    try:
        inputs = (saved_input(n, 0), saved_input(n, 1), row_weights, divisor, smoothing, n.param)
        replay(w, n, g, _cross_entropy_reference, inputs)
    finally:
        recording = was_recording
    return 0


# ---- costs

def softmax_cross_entropy(logits, target, *, weights=None, reduction="mean", label_smoothing=0.0, ignore_index=None):
    """Mean over the rows of the cross-entropy between softmax(logits) and a target, stable for logits of any size.

    Parameters
    ----------
    logits : array_like
        (..., classes), floats.
    target : array_like
        int64 classes of shape (...), or probabilities of shape (..., classes).
    weights : array_like, optional
        (classes,); factors of the classes' parts of a loss. With classes as targets the mean divides by the sum of their
        weights, with probabilities by the number of rows, as PyTorch's does. They get no gradient.
    reduction : {"mean", "sum", "none"}
        "none" gives the losses of the rows.
    label_smoothing : float
        From 0 to 1: the part of a target that is spread evenly over all classes (Szegedy et al. 2016).
    ignore_index : int, optional
        Rows of this class (in range or not) do not count, neither in the sum nor in the mean.

    Returns
    -------
    Array
        Without axes, or of shape (...) for "none": the mean of ``-sum(target * log_softmax(logits))``.

    Raises
    ------
    TypeError
        If the logits are integers or bools.
    ValueError
        If the shapes do not fit, a class is out of range, there are no rows, or none counts in the mean.

    Examples
    --------
    >>> import corgi
    >>> corgi.softmax_cross_entropy([[0.0, 0.0]], [1])
    Array(0.69314718, dtype=float64)
    >>> corgi.softmax_cross_entropy([[0.0, 800.0], [1.0, 2.0]], [0, -1], ignore_index=-1)
    Array(800., dtype=float64)
    """
    cdef str op = "softmax_cross_entropy"
    cdef Array x = as_operand(logits, op)
    cdef int how = reduction_of(reduction, op)
    return cross_entropy_op(x, row_target(x, target, weights, label_smoothing, ignore_index, op), how, op)


def cross_entropy(probabilities, target, *, weights=None, reduction="mean", label_smoothing=0.0, ignore_index=None):
    """Mean over the rows of the cross-entropy, ``-sum(target * log(probabilities))``.

    Where the probabilities are the result of softmax over their last axis, the loss and its gradient are computed from the
    logits, so that they are right also where the softmax underflows to 0.

    Parameters
    ----------
    probabilities : array_like
        (..., classes), floats. That they sum to 1 is not checked.
    target : array_like
        int64 classes of shape (...), or probabilities of shape (..., classes).
    weights, reduction, label_smoothing, ignore_index
        See `softmax_cross_entropy`.

    Returns
    -------
    Array
        Without axes, or of shape (...) for "none".

    Raises
    ------
    TypeError
        If the probabilities are integers or bools.
    ValueError
        If the shapes do not fit, a class is out of range, there are no rows, or none counts in the mean.

    Examples
    --------
    >>> import corgi
    >>> corgi.cross_entropy(corgi.softmax([[0.0, 800.0]]), [0])
    Array(800., dtype=float64)
    """
    cdef Array p = as_operand(probabilities, "cross_entropy"), logits
    cdef int how = reduction_of(reduction, "cross_entropy")
    cdef RowTarget rows = row_target(p, target, weights, label_smoothing, ignore_index, "cross_entropy")
    # Not where the probabilities' own gradient is wanted: the logits' way passes them by.
    if p.node != NULL and p.node.vjp == softmax_vjp and not p.node.keeps and (p.node.inputs[0] != NULL or not p.tracks):
        logits = wrap_shared(p.node.saved[0])
        if p.tracks and p.node.inputs[0] != NULL:
            attach(logits, p.node.inputs[0])
            logits.tracks = True
        return cross_entropy_op(logits, rows, how, "cross_entropy")
    return cross_entropy_composite(p, rows, how, "cross_entropy", False)


def nll(log_probabilities, target, *, weights=None, reduction="mean", label_smoothing=0.0, ignore_index=None):
    """Negative log-likelihood: the cross-entropy of probabilities that are given by their logarithms.

    Parameters
    ----------
    log_probabilities : array_like
        (..., classes), floats, as `activation.log_softmax` gives them. That they are such is not checked.
    target : array_like
        int64 classes of shape (...), or probabilities of shape (..., classes).
    weights, reduction, label_smoothing, ignore_index
        See `softmax_cross_entropy`.

    Returns
    -------
    Array
        Without axes, or of shape (...) for "none".

    Raises
    ------
    TypeError
        If the logarithms are integers or bools.
    ValueError
        If the shapes do not fit, a class is out of range, there are no rows, or none counts in the mean.

    Examples
    --------
    >>> from corgi import activation, cost
    >>> cost.nll(activation.log_softmax([[0.0, 800.0]]), [0])
    Array(800., dtype=float64)
    """
    cdef Array x = as_operand(log_probabilities, "nll")
    cdef int how = reduction_of(reduction, "nll")
    return cross_entropy_composite(x, row_target(x, target, weights, label_smoothing, ignore_index, "nll"), how, "nll", True)
