# Costs of elements: a pointwise loss of an output and a target, summed up without storing the values in between.
#
# Above: corgi/cost.py, users.  Below: the rows of the pointwise table whose names end in _loss, apply_sum.

cdef enum:
    MEAN, SUM, NONE

cdef dict REDUCTIONS = {"mean": MEAN, "sum": SUM, "none": NONE}
cdef str DEFAULT_REDUCTION = "mean"


cdef inline int reduction_of(value, str op) except -1:
    if value is DEFAULT_REDUCTION:  # the commonest, without a look into the table
        return MEAN
    if type(value) is str and value in REDUCTIONS:
        return REDUCTIONS[value]
    raise ValueError(f"{op}: expected reduction 'mean', 'sum' or 'none', got {value!r}")


cdef inline Array output_of(value, str op):
    """The output of a cost: floats, at least one."""
    cdef Array x = as_operand(value, op)
    if x.t.dtype < FLOAT32:
        raise TypeError(f"{op}: expected a float output, got {x.dtype}; convert it with astype(float)")
    if not x.t.size:
        raise ValueError(f"{op}: expected at least one element, got shape {x.shape}")
    return x


cdef inline Array target_of(value, Array x, str op):
    """The target in the output's dtype and of its shape."""
    cdef Array t = cast(as_operand(value, op), x.t.dtype)
    if not same_shape(x.t, t.t):
        raise ValueError(f"{op}: expected a target of the output's shape {x.shape}, got {t.shape}")
    return t


cdef Array factor_of(value, const Tensor *losses, str op, str name):
    """Factors of losses: broadcast to their shape, which stays as it is, and in their dtype."""
    cdef Array w = as_operand(value, op)
    cdef int missing = losses.ndim - w.t.ndim, i
    if missing >= 0:
        for i in range(w.t.ndim):
            if w.t.shape[i] != 1 and w.t.shape[i] != losses.shape[i + missing]:
                missing = -1
                break
    if missing < 0:
        raise ValueError(f"{op}: expected {name} that broadcast to shape {shape_tuple(losses.ndim, losses.shape)}, "
                         f"got {w.shape}")
    w = cast(w, losses.dtype)
    return w if same_shape(w.t, losses) else broadcasted(w, losses.ndim, losses.shape, op)


cdef Array total_weight(Array w, str op):
    cdef Array total = sum_axes(w, (1 << w.t.ndim) - 1, False)
    if element(total.t, total.t.data) == 0:
        raise ValueError(f"{op}: expected weights whose sum is not 0, which the mean divides by")
    return total


def cost_operands(output, target, str op, int axes=0):
    """Output and target, checked, of a cost that is made of other ops; at least so many axes."""
    cdef Array x = output_of(output, op)
    if x.t.ndim < axes:
        raise ValueError(f"{op}: expected an output with at least {axes} axis, got shape {x.shape}")
    return x, target_of(target, x, op)


def reduced_losses(losses, weights, reduction, str op):
    """Losses times their weights, summed, averaged or as they are: what the costs do that are made of other ops."""
    cdef Array x = as_operand(losses, op), w = None
    cdef int how = reduction_of(reduction, op)
    require_float(x, op)
    if weights is not None:
        w = factor_of(weights, x.t, op, "weights")
    return reduced(x, w, how, op)


cdef Array reduced(Array losses, Array w, int how, str op):
    cdef Array values = losses if w is None else pointwise(OP_multiply, losses, w, None)
    if how == NONE:
        return values
    if how == MEAN and w is None:
        return mean(values)
    values = sum_axes(values, (1 << values.t.ndim) - 1, False)
    return values if how == SUM else pointwise(OP_divide, values, total_weight(w, op), None)


# ---- the sum of a row of the table in one op

cdef Array elementwise_cost(str name, int op, output, target, parameter, weights, reduction):
    """The row `op` of an output, a target and perhaps a parameter, weighted and reduced."""
    cdef Array x = output_of(output, name), t = target_of(target, x, name)
    return elementwise_cost_of(name, op, x, t, parameter, weights, reduction)


cdef Array elementwise_cost_of(str name, int op, Array x, Array t, parameter, weights, reduction):
    cdef int how = reduction_of(reduction, name)
    cdef Array p = None, w = None
    if PyFloat_CheckExact(parameter):
        p = scalar(parameter, x.t.dtype)
    elif parameter is not None:
        p = factor_of(parameter, x.t, name, "pos_weight")
    if weights is not None:
        w = factor_of(weights, x.t, name, "weights")
    if how == NONE or (p is not None and tracked(p)) or (w is not None and tracked(w)):
        return reduced(pointwise(op, x, t, p), w, how, name)
    return total_of(name, op, x, t, p, w, how)


def _total_reference(Array x, Array t, p, w, int op, double denominator):
    """What `total_of` computes, in terms of other ops."""
    if not 0 <= op < N_POINTWISE or pointwise_ops[op].n_inputs != (2 if p is None else 3):
        raise ValueError(f"cost: expected the number of a row of {2 if p is None else 3} inputs, got {op}")
    losses = pointwise(op, x, t, p)
    return sum(losses if w is None else losses * w) / denominator


cdef Array total_of(str name, int op, Array x, Array t, Array p, Array w, int how):
    """The sum, or the weighted mean, of op(x, t, p), for untracked p and w."""
    cdef int dtype = x.t.dtype, n_operands = 2 if p is None else 3
    cdef Array out = wrap(tensor_new(dtype, 0, NULL)), weight_sum = None
    cdef const Tensor *operands[3]
    cdef Array first = wrap(contiguous(x.t)), second = wrap(contiguous(t.t)), third = None, factors = None
    cdef const Tensor *weight_values = NULL
    cdef double total, denominator = <double> x.t.size if how == MEAN else 1
    operands[0], operands[1] = first.t, second.t
    if p is not None:
        third = p if p.t.ndim == 0 else wrap(contiguous(p.t))
        operands[2] = third.t
    if w is not None:
        factors = wrap(contiguous(w.t))
        weight_values = factors.t
        if how == MEAN:
            weight_sum = total_weight(w, name)
            denominator = element(weight_sum.t, weight_sum.t.data)
    if x.t.size < APPLY_LONG:
        total = apply_sum(kernels.forward[op][dtype], n_operands, operands, weight_values, first.t.size, rows[op].heavy)
    else:
        x, t = alias(x), alias(t)
        with nogil:
            total = apply_sum(kernels.forward[op][dtype], n_operands, operands, weight_values, first.t.size, rows[op].heavy)
    put_double(out.t, total / denominator)
    cdef Node *n = record2(out, x, t, total_vjp, pointwise_ops[op].name)
    if n != NULL:
        n.op = op
        if third is not None:
            save(n, 2, third)
        if how == SUM or w is not None:
            set_context(n, (denominator, factors))
    return out


cdef void put_double(Tensor *t, double value) noexcept:
    if t.dtype == FLOAT32:
        (<float *> t.data)[0] = <float> value
    else:
        (<double *> t.data)[0] = value


cdef int total_vjp(Walk *w, Node *n, Array g) except -1:
    cdef const Tensor *operands[5]
    cdef Array share, gradient, factors = None
    cdef int i, last = 3 if n.saved[2] == NULL else 4
    cdef double denominator = <double> n.saved[0].size
    if n.context != NULL:
        denominator, factors = <tuple> n.context
    if w.create_graph:
        parameter = wrap_shared(n.saved[2]) if n.saved[2] != NULL else None
        return replay(w, n, g, _total_reference, (saved_input(n, 0), saved_input(n, 1), parameter, factors, n.op, denominator))
    share = wrap(tensor_new(n.dtype, 0, NULL))  # of each element
    put_double(share.t, element(g.t, g.t.data) / denominator)
    if factors is not None:
        share = pointwise(OP_multiply, share, factors, None)
    operands[0], operands[1], operands[2], operands[3] = share.t, n.saved[0], n.saved[1], n.saved[2]
    operands[last] = share.t
    for i in range(2):
        if wants(w, n, i):
            gradient = wrap(tensor_new(n.dtype, n.saved[i].ndim, n.saved[i].shape))
            run(kernels.vjp[n.op][i][n.dtype], last + 1, operands, gradient.t, rows[n.op].heavy)
            send(w, n, i, gradient)
    return 0


# ---- costs

def mse(output, target, *, weights=None, reduction="mean"):
    """Mean of the squared differences over all elements, ``mean((output - target)**2)``.

    Parameters
    ----------
    output : array_like
        Floats of any shape, at least one.
    target : array_like
        Of the same shape; takes the output's dtype.
    weights : array_like, optional
        Factors of the losses, broadcast to their shape. The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "none" gives the weighted losses themselves.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of the output's shape for "none".

    Raises
    ------
    TypeError
        If the output is of integers or bools.
    ValueError
        If the shapes differ, there are no elements, or the weights sum to 0.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.mse([1.0, 2.0], [1.0, 4.0])
    Array(2., dtype=float64)
    >>> corgi.cost.mse([1.0, 2.0], [1.0, 4.0], weights=[3.0, 1.0])
    Array(1., dtype=float64)
    """
    return elementwise_cost("mse", OP_squared_difference, output, target, None, weights, reduction)


def l1(output, target, *, weights=None, reduction="mean"):
    """Mean absolute difference, ``mean(abs(output - target))``; where they are equal the derivative is 0.

    Parameters
    ----------
    output : array_like
        Floats of any shape, at least one.
    target : array_like
        Of the same shape; takes the output's dtype.
    weights : array_like, optional
        Factors of the losses, broadcast to their shape. The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "none" gives the weighted losses themselves.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of the output's shape for "none".

    Raises
    ------
    TypeError
        If the output is of integers or bools.
    ValueError
        If the shapes differ, there are no elements, or the weights sum to 0.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.l1([1.0, 2.0], [1.0, 4.0])
    Array(1., dtype=float64)
    """
    return elementwise_cost("l1", OP_absolute_loss, output, target, None, weights, reduction)


def huber(output, target, *, delta=1.0, weights=None, reduction="mean"):
    """Mean of ``r**2 / 2`` where ``r = abs(output - target) <= delta``, of ``delta * (r - delta / 2)`` elsewhere (Huber 1964).

    Parameters
    ----------
    output : array_like
        Floats of any shape, at least one.
    target : array_like
        Of the same shape; takes the output's dtype.
    delta : float
        Greater than 0.
    weights : array_like, optional
        Factors of the losses, broadcast to their shape. The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "none" gives the weighted losses themselves.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of the output's shape for "none".

    Raises
    ------
    TypeError
        If the output is of integers or bools.
    ValueError
        If the shapes differ, there are no elements, delta is not positive, or the weights sum to 0.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.huber([0.0, 0.0], [1.0, 3.0])
    Array(1.5, dtype=float64)
    """
    cdef double width = number_of(delta, "huber")
    if not width > 0:
        raise ValueError(f"huber: expected delta greater than 0, got {delta}")
    return elementwise_cost("huber", OP_huber_loss, output, target, width, weights, reduction)


def hinge(output, target, *, weights=None, reduction="mean"):
    """Mean of ``max(0, 1 - output * target)`` for targets of -1 and 1, as in support vector machines.

    Parameters
    ----------
    output : array_like
        Floats of any shape, at least one.
    target : array_like
        Of the same shape, -1 and 1 (checked); takes the output's dtype.
    weights : array_like, optional
        Factors of the losses, broadcast to their shape. The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "none" gives the weighted losses themselves.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of the output's shape for "none".

    Raises
    ------
    TypeError
        If the output is of integers or bools.
    ValueError
        If the shapes differ, there are no elements, a target is neither -1 nor 1, or the weights sum to 0.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.hinge([0.5, 2.0, -1.0], [1, 1, 1])
    Array(0.83333333, dtype=float64)
    """
    cdef Array x = output_of(output, "hinge"), t = target_of(target, x, "hinge")
    require_range(pointwise(OP_absolute, t, None, None), 1, "hinge", "targets of -1 or 1")
    return elementwise_cost_of("hinge", OP_hinge_loss, x, t, None, weights, reduction)


cdef int require_range(Array x, double low, str op, str wanted) except -1:
    """Whether all elements are from `low` to 1; a NaN passes."""
    cdef Array values = wrap(contiguous(x.t)), end = wrap(tensor_new(x.t.dtype, 0, NULL))
    cdef double least, largest
    kernels.min[x.t.dtype](values.t.data, end.t.data, 1, x.t.size, 1)
    least = element(end.t, end.t.data)
    kernels.max[x.t.dtype](values.t.data, end.t.data, 1, x.t.size, 1)
    largest = element(end.t, end.t.data)
    if least < low or largest > 1:
        raise ValueError(f"{op}: expected {wanted}, got {least if least < low else largest}")
    return 0


def binary_cross_entropy(probabilities, target, *, weights=None, reduction="mean"):
    """Mean of ``-target * log(p) - (1 - target) * log(1 - p)``, for any number of independent yes-or-no questions.

    Logarithms are cut off at -100, so that a probability of 0 or 1 that is wrong costs much but not infinitely much. From
    logits, `sigmoid_binary_cross_entropy` is more accurate and quicker.

    Parameters
    ----------
    probabilities : array_like
        Floats from 0 to 1 (checked) of any shape, at least one.
    target : array_like
        Of the same shape, from 0 to 1 (checked); takes the output's dtype.
    weights : array_like, optional
        Factors of the losses, broadcast to their shape. The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "none" gives the weighted losses themselves.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of the output's shape for "none".

    Raises
    ------
    TypeError
        If the probabilities are integers or bools.
    ValueError
        If the shapes differ, there are no elements, a value is outside of [0, 1], or the weights sum to 0.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.binary_cross_entropy([0.5, 0.5], [0, 1])
    Array(0.69314718, dtype=float64)
    """
    cdef Array p = output_of(probabilities, "binary_cross_entropy"), t = target_of(target, p, "binary_cross_entropy")
    require_range(p, 0, "binary_cross_entropy", "probabilities from 0 to 1")
    require_range(t, 0, "binary_cross_entropy", "targets from 0 to 1")
    return elementwise_cost_of("binary_cross_entropy", OP_log_loss, p, t, None, weights, reduction)


def sigmoid_binary_cross_entropy(logits, target, *, pos_weight=None, weights=None, reduction="mean"):
    """`binary_cross_entropy` of ``sigmoid(logits)``, in one operation and accurate for logits of any size.

    Parameters
    ----------
    logits : array_like
        Floats of any shape, at least one.
    target : array_like
        Of the same shape, from 0 to 1 (checked); takes the output's dtype.
    pos_weight : array_like, optional
        Factor of the part of the loss that comes from targets of 1, broadcast to the output's shape: above 1 it raises recall.
    weights : array_like, optional
        Factors of the losses, broadcast to their shape. The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "none" gives the weighted losses themselves.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of the output's shape for "none".

    Raises
    ------
    TypeError
        If the logits are integers or bools.
    ValueError
        If the shapes differ, there are no elements, a target is outside of [0, 1], or the weights sum to 0.

    Examples
    --------
    >>> import corgi
    >>> corgi.cost.sigmoid_binary_cross_entropy([0.0, 800.0], [1, 0], reduction="sum")
    Array(800.69314718, dtype=float64)
    """
    cdef str name = "sigmoid_binary_cross_entropy"
    cdef Array x = output_of(logits, name), t = target_of(target, x, name)
    require_range(t, 0, name, "targets from 0 to 1")
    return elementwise_cost_of(name, OP_logistic_loss, x, t, 1.0 if pos_weight is None else pos_weight, weights, reduction)
