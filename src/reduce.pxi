# Reductions: sums, products, extremes and what is made of them.
#
# Above: users, and the engine, which sums cotangents back to the shape of a broadcast operand.  Below: the reduce kernels, which
# reduce one stretch of neighbouring axes of contiguous values; several stretches are reduced one after the other.


cdef Tensor *reduce_axes(Tensor *source, int mask, reduce_fn kernel, int dtype) except NULL:
    """Reduce the axes in the bit set `mask`; they stay with size 1.  Later stretches reduce results of `dtype`."""
    cdef isize shape[8]
    cdef isize outer, n, inner
    cdef int first, last, i
    cdef Tensor *x = contiguous(source)
    cdef Tensor *out
    memcpy(shape, source.shape, sizeof(shape))
    for last in range(source.ndim - 1, -1, -1):
        if not mask >> last & 1:
            continue
        first = last
        while first > 0 and mask >> (first - 1) & 1:
            first -= 1
        mask &= (1 << first) - 1
        outer = n = inner = 1
        for i in range(source.ndim):
            if i < first:
                outer *= shape[i]
            elif i > last:
                inner *= shape[i]
            else:
                n *= shape[i]
                shape[i] = 1
        out = tensor_new(dtype, source.ndim, shape)
        if out == NULL:
            tensor_release(x)
            raise MemoryError("reduction: not enough memory for the result")
        if x.size >= APPLY_LONG:
            with nogil:
                kernel(x.data, out.data, outer, n, inner)
        elif out.size:
            kernel(x.data, out.data, outer, n, inner)
        tensor_release(x)
        x = out
    if x == source or x.owner != NULL:  # nothing was reduced
        out = tensor_new(dtype, source.ndim, source.shape)
        if out == NULL:
            tensor_release(x)
            raise MemoryError("reduction: not enough memory for the result")
        memcpy(out.data, x.data, x.size * itemsize(x.dtype))
        tensor_release(x)
        x = out
    return x


cdef inline Array steady(Array x):
    """A handle that other threads cannot give new values, for an op that lets them run before it records."""
    return alias(x) if x.t.size >= APPLY_LONG else x


cdef int axis_mask(axis, int ndim, str op) except -1:
    cdef int mask = 0
    if axis is None:
        return (1 << ndim) - 1
    if PyLong_CheckExact(axis):
        return 1 << axis_of(axis, ndim, op)
    for i in axes_of(axis, ndim, op):
        mask |= 1 << <int> i
    return mask


cdef inline int drop_axes(Tensor *t, int mask) noexcept:
    """Remove the axes of `mask`, all of size 1, from a tensor that nobody else has."""
    cdef int i, to = 0
    for i in range(t.ndim):
        if not mask >> i & 1:
            t.shape[to] = t.shape[i]
            t.strides[to] = t.strides[i]
            to += 1
    t.ndim = to
    return 0


cdef Array with_axes(Array x, int mask, int ndim):
    """A view of x with axes of size 1 put in at the places of `mask`, or x itself if it has `ndim` axes."""
    cdef isize shape[8]
    cdef isize strides[8]
    cdef int i, from_ = 0
    if x.t.ndim == ndim:
        return x
    for i in range(ndim):
        if mask >> i & 1:
            shape[i] = 1
            strides[i] = 0
        else:
            shape[i] = x.t.shape[from_]
            strides[i] = x.t.strides[from_]
            from_ += 1
    cdef Array out = view_like(x, ndim, shape, strides)
    record(out, x, reshape_vjp, b"reshape")
    return out


cdef Array sum_axes(Array x, int mask, bint keepdims):
    x = steady(x)
    cdef Tensor *t = reduce_axes(x.t, mask, kernels.sum[x.t.dtype], x.t.dtype)
    if not keepdims:
        drop_axes(t, mask)
    cdef Array out = wrap(t)
    cdef Node *n = record(out, x, sum_vjp, b"sum")
    if n != NULL:
        n.param = mask
    return out


cdef int sum_vjp(Walk *w, Node *n, Array g) except -1:
    cdef Node *p = n.inputs[0]
    if wants(w, n, 0):
        send(w, n, 0, broadcasted(with_axes(g, n.param, p.ndim), p.ndim, p.shape, "sum"))
    return 0


cdef Array sum_to(Array g, int ndim, const isize *shape):
    """Sum over the axes along which an operand of `shape` was broadcast."""
    cdef int extra = g.t.ndim - ndim, mask = 0, i
    for i in range(g.t.ndim):
        if i < extra or (shape[i - extra] == 1 and g.t.shape[i] != 1):
            mask |= 1 << i
    cdef Array out = sum_axes(g, mask, True) if mask else g
    return out if out.t.ndim == ndim else reshaped(out, ndim, shape)


cdef Array summable(a, str op):
    """The operand; bools are counted as ints."""
    cdef Array x = as_operand(a, op)
    return cast(x, INT64) if x.t.dtype == BOOL else x


def sum(a, axis=None, *, bint keepdims=False):
    """Sum over axes. float32 values are summed in blocks, so that long sums stay accurate.

    Parameters
    ----------
    a : array_like
        bool counts as int64.
    axis : int or sequence of ints, optional
        All axes by default.
    keepdims : bool
        Keep the summed axes, with size 1.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.sum([[1, 2], [3, 4]], axis=1)
    Array([3, 7], dtype=int64)
    """
    cdef Array x = summable(a, "sum")
    return sum_axes(x, axis_mask(axis, x.t.ndim, "sum"), keepdims)


cdef isize count_over(const Tensor *t, int mask) noexcept:
    """Number of elements that are reduced to one."""
    cdef isize count = 1
    cdef int i
    for i in range(t.ndim):
        if mask >> i & 1:
            count *= t.shape[i]
    return count


def mean(a, axis=None, *, bint keepdims=False):
    """Arithmetic mean over axes.

    Parameters
    ----------
    a : array_like
        int64 and bool are converted to the default dtype.
    axis : int or sequence of ints, optional
        All axes by default.
    keepdims : bool
        Keep the axes, with size 1.

    Returns
    -------
    Array
        NaN where there is nothing to average.

    Examples
    --------
    >>> import corgi
    >>> corgi.mean([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Array([2., 3.], dtype=float64)
    """
    cdef Array x = as_float(a, "mean")
    cdef int mask = axis_mask(axis, x.t.ndim, "mean")
    return pointwise(OP_divide, sum_axes(x, mask, keepdims), scalar(<double> count_over(x.t, mask), x.t.dtype), None)


cdef Array as_float(a, str op):
    cdef Array x = as_operand(a, op)
    return x if x.t.dtype >= FLOAT32 else cast(x, default_dtype)


def var(a, axis=None, *, ddof=0, bint keepdims=False):
    """Variance over axes: the mean squared distance from the mean.

    Parameters
    ----------
    a : array_like
    axis : int or sequence of ints, optional
        All axes by default.
    ddof : number
        The sum of squares is divided by the number of elements less `ddof`.
    keepdims : bool
        Keep the axes, with size 1.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.var([1.0, 3.0]).item()
    1.0
    """
    return variance(a, axis, ddof, keepdims, "var")


cdef Array variance(a, axis, ddof, bint keepdims, str op):
    cdef Array x = as_float(a, op)
    cdef int mask = axis_mask(axis, x.t.ndim, op)
    cdef double count = <double> count_over(x.t, mask) - <double> number_of(ddof, op)
    cdef Array centred = x - mean(x, axis, keepdims=True)
    return sum_axes(pointwise(OP_square, centred, None, None), mask, keepdims) / (0.0 if count < 0 else count)


def std(a, axis=None, *, ddof=0, bint keepdims=False):
    """Standard deviation over axes: the square root of the variance.

    Parameters
    ----------
    a : array_like
    axis : int or sequence of ints, optional
        All axes by default.
    ddof : number
        See `var`.
    keepdims : bool
        Keep the axes, with size 1.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.std([1.0, 3.0]).item()
    1.0
    """
    return pointwise(OP_sqrt, variance(a, axis, ddof, keepdims, "std"), None, None)


# ---- products

def prod(a, axis=None, *, bint keepdims=False):
    """Product over axes.

    Parameters
    ----------
    a : array_like
        bool counts as int64.
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
    >>> corgi.prod([2.0, 3.0, 4.0]).item()
    24.0
    """
    cdef Array x = steady(summable(a, "prod"))
    cdef int mask = axis_mask(axis, x.t.ndim, "prod")
    cdef Tensor *t = reduce_axes(x.t, mask, kernels.prod[x.t.dtype], x.t.dtype)
    if not keepdims:
        drop_axes(t, mask)
    cdef Array out = wrap(t)
    cdef Node *n = record(out, x, prod_vjp, b"prod")
    if n != NULL:
        n.param = mask
        save(n, 0, x)
    return out


cdef int prod_vjp(Walk *w, Node *n, Array g) except -1:
    if not wants(w, n, 0):
        return 0
    cdef Array x = saved_input(n, 0)
    kept = [i for i in range(x.t.ndim) if not n.param >> i & 1]
    reduced = [i for i in range(x.t.ndim) if n.param >> i & 1]
    order = kept + reduced
    moved = permuted(x, order)
    others = reshape(product_of_others(reshape(moved, moved.shape[:len(kept)] + (count_over(x.t, n.param),))), moved.shape)
    send(w, n, 0, with_axes(g, n.param, x.t.ndim) * permuted(others, [order.index(i) for i in range(len(order))]))
    return 0


cdef Array product_of_others(Array x):
    """For each element along the last axis the product of all the others: right also where elements are zero.

    Neighbours are multiplied, the others of each pair found in the same way, and each neighbour's share is that times its
    partner.
    """
    cdef isize size = x.t.shape[x.t.ndim - 1]
    if size <= 1:
        return ones_like(x)
    if size % 2:
        x = concatenate([x, ones(x.shape[:x.t.ndim - 1] + (1,), x.dtype)], -1)
    left, right = x[..., 0::2], x[..., 1::2]
    others = product_of_others(left * right)
    return reshape(stack([others * right, others * left], -1), x.shape)[..., :size]


# ---- extremes

cdef Array extreme(a, axis, bint keepdims, bint largest):
    op = "max" if largest else "min"
    cdef Array x = steady(as_operand(a, op))
    cdef int mask = axis_mask(axis, x.t.ndim, op)
    if count_over(x.t, mask) == 0:
        raise ValueError(f"{op}: expected at least one element along the axis, got shape {x.shape}")
    cdef reduce_fn kernel = kernels.max[x.t.dtype] if largest else kernels.min[x.t.dtype]
    cdef Tensor *t = reduce_axes(x.t, mask, kernel, x.t.dtype)
    if not keepdims:
        drop_axes(t, mask)
    cdef Array out = wrap(t)
    if x.t.dtype < FLOAT32:
        return out
    cdef Node *n = record(out, x, extreme_vjp, b"max" if largest else b"min")
    if n != NULL:
        n.param = mask
        save(n, 0, x)
        save(n, SAVED_OUTPUT, out)
    return out


cdef int extreme_vjp(Walk *w, Node *n, Array g) except -1:
    """Elements that tie share the gradient."""
    if not wants(w, n, 0):
        return 0
    cdef Array x = wrap_shared(n.saved[0])
    cdef Array y = with_axes(wrap_shared(n.saved[SAVED_OUTPUT]), n.param, x.t.ndim)
    cdef Array ties = cast(pointwise(OP_equal, x, y, None), x.t.dtype)
    send(w, n, 0, with_axes(g, n.param, x.t.ndim) * (ties / sum_axes(ties, n.param, True)))
    return 0


def max(a, axis=None, *, bint keepdims=False):
    """Maximum over axes; NaN if there is one. Elements that tie share the gradient.

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

    Raises
    ------
    ValueError
        If there is nothing to choose from.

    Examples
    --------
    >>> import corgi
    >>> corgi.max([[1, 2], [3, 0]], axis=0)
    Array([3, 2], dtype=int64)
    """
    return extreme(a, axis, keepdims, True)


def min(a, axis=None, *, bint keepdims=False):
    """Minimum over axes; NaN if there is one. Elements that tie share the gradient.

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

    Raises
    ------
    ValueError
        If there is nothing to choose from.

    Examples
    --------
    >>> import corgi
    >>> corgi.min([[1, 2], [3, 0]], axis=0)
    Array([1, 0], dtype=int64)
    """
    return extreme(a, axis, keepdims, False)


cdef Array arg_extreme(a, axis, bint keepdims, bint largest):
    op = "argmax" if largest else "argmin"
    cdef Array x = as_operand(a, op)
    cdef int ndim = x.t.ndim, along
    if axis is None:
        x = reshape(x, (-1,))
        along = 0
    else:
        along = axis_of(axis, x.t.ndim, op)
    if x.t.shape[along] == 0:
        raise ValueError(f"{op}: expected at least one element along the axis, got shape {x.shape}")
    cdef Tensor *t = reduce_axes(x.t, 1 << along, kernels.argmax[x.t.dtype] if largest else kernels.argmin[x.t.dtype], INT64)
    if axis is None and keepdims:
        return reshape(wrap(t), (1,) * ndim)
    if not keepdims:
        drop_axes(t, 1 << along)
    return wrap(t)


def argmax(a, axis=None, *, bint keepdims=False):
    """Index of the first maximum along an axis, or of the first NaN.

    Parameters
    ----------
    a : array_like
    axis : int, optional
        By default the index counts through all elements in row-major order.
    keepdims : bool
        Keep the axis, with size 1.

    Returns
    -------
    Array
        int64.

    Raises
    ------
    ValueError
        If there is nothing to choose from.

    Examples
    --------
    >>> import corgi
    >>> corgi.argmax([[1, 5], [7, 0]], axis=1)
    Array([1, 0], dtype=int64)
    """
    return arg_extreme(a, axis, keepdims, True)


def argmin(a, axis=None, *, bint keepdims=False):
    """Index of the first minimum along an axis, or of the first NaN.

    Parameters
    ----------
    a : array_like
    axis : int, optional
        By default the index counts through all elements in row-major order.
    keepdims : bool
        Keep the axis, with size 1.

    Returns
    -------
    Array
        int64.

    Raises
    ------
    ValueError
        If there is nothing to choose from.

    Examples
    --------
    >>> import corgi
    >>> corgi.argmin([[1, 5], [7, 0]], axis=1)
    Array([0, 1], dtype=int64)
    """
    return arg_extreme(a, axis, keepdims, False)


cdef Array truth(a, axis, bint keepdims, bint some):
    op = "any" if some else "all"
    cdef Array x = cast(as_operand(a, op), BOOL)
    cdef int mask = axis_mask(axis, x.t.ndim, op)
    cdef Array out
    if count_over(x.t, mask) == 0:  # the identities of "or" and "and"
        counted = sum(x, axis, keepdims=keepdims)
        return zeros_like(counted, "bool") if some else ones_like(counted, "bool")
    out = wrap(reduce_axes(x.t, mask, kernels.max[BOOL] if some else kernels.min[BOOL], BOOL))
    if not keepdims:
        drop_axes(out.t, mask)
    return out


def any(a, axis=None, *, bint keepdims=False):
    """Whether some element along the axes is true (not zero).

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
        bool.

    Examples
    --------
    >>> import corgi
    >>> corgi.any([[True, False], [False, False]], axis=1)
    Array([ True, False], dtype=bool)
    """
    return truth(a, axis, keepdims, True)


def all(a, axis=None, *, bint keepdims=False):
    """Whether every element along the axes is true (not zero).

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
        bool.

    Examples
    --------
    >>> import corgi
    >>> corgi.all([[True, False], [True, True]], axis=1)
    Array([False,  True], dtype=bool)
    """
    return truth(a, axis, keepdims, False)


# ---- running sums

cdef Array cumsum_along(Array x, int axis, bint reverse):
    cdef isize outer, inner
    cdef Array out = wrap(tensor_like(x.t))
    cdef Tensor *source = contiguous(x.t)
    spans(source, axis, &outer, &inner)
    kernels.cumsum[source.dtype](source.data, out.t.data, outer, source.shape[axis], inner, reverse)
    tensor_release(source)
    cdef Node *n = record(out, x, cumsum_vjp, b"cumsum")
    if n != NULL:
        n.param = axis << 1 | reverse
    return out


cdef int cumsum_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, cumsum_along(g, n.param >> 1, not n.param & 1))
    return 0


def cumsum(a, axis=None):
    """Running sum along an axis.

    Parameters
    ----------
    a : array_like
        bool counts as int64.
    axis : int, optional
        By default over all elements in row-major order, as one axis.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.cumsum([1, 2, 3])
    Array([1, 3, 6], dtype=int64)
    """
    cdef Array x = summable(a, "cumsum")
    if axis is None:
        x = reshape(x, (-1,))
        axis = 0
    return cumsum_along(x, axis_of(axis, x.t.ndim, "cumsum"), False)
