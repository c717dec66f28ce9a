# Scaled dot-product attention: of queries, keys and values, and of one array that holds all three of every head.
#
# Above: users, corgi/layer/attention.py.  Below: runtime/attention.c.  Heads are read and written where they lie, so that
# splitting rows into heads, and joining them, are views; a recorded backward pass differentiates the reference.


# ---- matrices where they lie

cdef Tensor *rows_ready(Tensor *t) except NULL:
    """A new reference to t, or to a copy in whose rows the elements follow each other."""
    cdef isize rows = t.shape[t.ndim - 2], columns = t.shape[t.ndim - 1]
    if (t.strides[t.ndim - 1] == 1 or columns <= 1) and (t.strides[t.ndim - 2] >= columns or rows <= 1):
        tensor_retain(t)
        return t
    cdef Tensor *copy = tensor_like(t)
    if copy == NULL:
        raise MemoryError("scaled_dot_product_attention: not enough memory for a copy")
    tensor_copy_out(t, copy.data)
    return copy


cdef Array rows_like(const Tensor *t, isize columns):
    """Memory of t's shape but for the columns; as in t, the heads of one step may lie side by side."""
    cdef isize shape[8]
    cdef isize strides[8]
    cdef int heads = t.ndim - 3, steps = t.ndim - 2
    cdef bint beside = heads >= 0 and t.strides[heads] < t.strides[steps] and t.shape[heads] > 1 and t.shape[steps] > 1
    memcpy(shape, t.shape, sizeof(shape))
    shape[steps + 1] = columns
    if not beside:
        return wrap(tensor_new(t.dtype, t.ndim, shape))
    shape[heads], shape[steps] = t.shape[steps], t.shape[heads]
    cdef Array out = wrap(tensor_new(t.dtype, t.ndim, shape))
    memcpy(strides, out.t.strides, sizeof(strides))
    shape[heads], shape[steps] = t.shape[heads], t.shape[steps]
    strides[heads], strides[steps] = out.t.strides[steps], out.t.strides[heads]
    return view_like(out, t.ndim, shape, strides)


cdef Array heads_of(Tensor *t, isize heads, int part, int parts):
    """(..., heads, steps, size) in a contiguous (..., steps, parts * heads * size): a view, untracked."""
    cdef isize shape[8]
    cdef isize strides[8]
    cdef int last = t.ndim - 1
    cdef isize size = t.shape[last] // (parts * heads)
    memcpy(shape, t.shape, sizeof(shape))
    memcpy(strides, t.strides, sizeof(strides))
    shape[last - 1], shape[last], shape[last + 1] = heads, t.shape[last - 1], size
    strides[last - 1], strides[last], strides[last + 1] = size, t.strides[last - 1], 1
    cdef Array view = view_like(wrap_shared(t), t.ndim + 1, shape, strides)
    view.t.data += part * heads * size * itemsize(t.dtype)
    return view


cdef int attend(Tensor *q, Tensor *k, Tensor *v, Tensor *mask, Tensor *out, Tensor *sums, bint causal, double scale,
                Tensor *g, Tensor *dq, Tensor *dk, Tensor *dv) except -1:
    """Fill out and sums, or with g, the cotangent of out, those of dq, dk and dv that are not NULL."""
    cdef Attention a
    a.q, a.k, a.v, a.mask, a.out, a.sums, a.causal, a.scale = q, k, v, mask, out, sums, causal, scale
    a.g, a.dq, a.dk, a.dv = g, dq, dk, dv
    cdef isize bytes = attention_space(&a)
    cdef Array space = wrap(tensor_new(BOOL, 1, &bytes))
    if <double> q.size * k.shape[k.ndim - 2] < APPLY_LONG:
        attention(&a, space.t.data)
    else:
        with nogil:
            attention(&a, space.t.data)
    return 0


cdef Array sums_of(const Tensor *q):
    """Memory for two numbers for each query."""
    cdef isize shape[8]
    shape[0] = 2
    memcpy(&shape[1], q.shape, (q.ndim - 1) * sizeof(isize))
    return wrap(tensor_new(q.dtype, q.ndim, shape))


# ---- operands

cdef Array mask_of(value, int dtype, int ndim, const isize *scores, str op):
    """A mask as an Array of bool or of the dtype, with the scores' number of keys in rows without gaps; or None."""
    cdef isize shape[8]
    cdef Array mask
    cdef bint fits
    cdef int i
    if value is None:
        return None
    mask = as_operand(value, op)
    if mask.t.dtype == INT64:
        raise TypeError(f"{op}: expected a mask of bool (True: attend) or float (added to the scores), got int64")
    if mask.t.dtype != BOOL:
        mask = cast(mask, dtype)
    fits = mask.t.ndim <= ndim
    for i in range(mask.t.ndim if fits else 0):
        fits = fits and (mask.t.shape[i] == 1 or mask.t.shape[i] == scores[ndim - mask.t.ndim + i])
    if not fits:
        raise ValueError(f"{op}: expected a mask that broadcasts to the scores (..., queries, keys) of shape "
                         f"{shape_tuple(ndim, scores)}, got {mask.shape}")
    cdef int last = mask.t.ndim - 1
    if last < 0 or mask.t.shape[last] != scores[ndim - 1]:
        memcpy(shape, mask.t.shape, sizeof(shape))
        last = last if last > 0 else 0
        shape[last] = scores[ndim - 1]
        mask = broadcasted(mask, last + 1, shape, op)
    if not tracked(mask) and mask.t.strides[last] != 1 and mask.t.shape[last] > 1:
        mask = contiguous_copy(mask)
    return mask


cdef double scale_of(scale, isize size, str op) except? -1:
    """The factor of the scores; by default 1 / sqrt(size)."""
    if scale is None:
        return 1 / <double> (size if size > 0 else 1) ** 0.5
    if type(scale) is Array and tracked(scale):
        raise TypeError(f"{op}: expected a number for scale, got a tracked array, which would have no gradient; "
                        "multiply the query by it, and let scale be 1")
    return float(number_of(scale, op))


def attention_reference(query, key, value, bias, settings):
    """What `scaled_dot_product_attention` computes, in terms of other ops; `bias` is a mask that is tracked."""
    mask, causal, scale = settings
    mask = None if mask is None else as_operand(mask, "attention_reference")
    scores = matmul(query, key, transpose_b=True) * scale
    if bias is not None:
        scores = scores + bias
    if mask is not None and mask.dtype != bool:
        scores = scores + mask
        mask = None
    if causal:
        shape = scores.shape
        past = as_operand(np.tri(*shape[len(shape) - 2:], dtype=bool), "")
        mask = past if mask is None else pointwise(OP_logical_and, past, mask, None)
    if mask is not None:
        scores = where(mask, scores, -np.inf)
    if 0 not in scores.shape:
        seen = max(scores.detach(), -1, keepdims=True) != -np.inf  # else the softmax is NaN
        scores = where(seen, softmax(where(seen, scores, 0.0)), 0.0)
    return matmul(scores, value)


cdef isize heads_in(Array rows, heads) except -1:
    """The number of heads, checked against the shape of an operand of `self_attention`."""
    cdef int last = rows.t.ndim - 1
    if not 1 <= last <= 6:
        raise ValueError(f"self_attention: expected an array (..., steps, 3 * heads * size), got shape {rows.shape}")
    if PyBool_Check(heads) or not isinstance(heads, Integral):
        raise TypeError(f"self_attention: expected an int for heads, got {type(heads).__name__}")
    if heads < 1 or not rows.t.shape[last] or rows.t.shape[last] % (3 * heads):
        raise ValueError(f"self_attention: expected rows of 3 * heads * size for {heads} heads, got shape {rows.shape}")
    return heads


def self_attention_reference(x, bias, settings, heads):
    """What `self_attention` computes, in terms of other ops."""
    cdef isize n_heads = heads_in(as_float(x, "self_attention"), heads)
    shape = as_float(x, "self_attention").shape
    size = shape[len(shape) - 1] // (3 * n_heads)
    parts = moveaxis(reshape(x, shape[:len(shape) - 1] + (3, n_heads, size)), -4, -2)
    parts = moveaxis(parts, -4, 0)
    out = attention_reference(parts[0], parts[1], parts[2], bias, settings)
    return reshape(moveaxis(out, -3, -2), shape[:len(shape) - 1] + (n_heads * size,))


cdef inline Array unit_rows(Array mask):
    """The values of a mask in rows without gaps, untracked; or None."""
    cdef int last
    if mask is None:
        return None
    last = mask.t.ndim - 1
    return wrap_shared(mask.t) if mask.t.strides[last] == 1 or mask.t.shape[last] <= 1 else contiguous_copy(mask)


cdef int record_attention(Node *n, int bias, Array mask, Array rows, bint causal, double scale, Array sums,
                          Array out) except -1:
    """What both nodes keep; a mask that is tracked is their last input, number `bias`."""
    if mask is not None and tracked(mask):
        connect(n, bias, mask)
    save(n, SAVED_OUTPUT, out)
    set_context(n, (rows, causal, scale, sums))
    publish(out, n)
    return 0


cdef bint needs_reference(Walk *w, Node *n, int bias) noexcept:
    """Whether a backward pass is recorded, or wants the gradient of the mask, which needs all scores."""
    return w.create_graph or (n.n_inputs > bias and n.inputs[bias] != NULL and wants(w, n, bias))


cdef int replay_attention(Walk *w, Node *n, Array g, reference, tuple inputs, tuple last) except -1:
    """The vjp by way of a reference of the arguments inputs, bias, settings, last."""
    cdef Array bias = None
    cdef int number = len(inputs)
    rows, causal, scale, _ = <tuple> <object> n.context
    if n.n_inputs > number and n.inputs[number] != NULL:
        bias = wrap_shared((<Array> rows).t)
        if recording:
            attach(bias, n.inputs[number])
            bias.tracks = True
        rows = None
    return replay(w, n, g, reference, inputs + (bias, (rows, causal, scale)) + last)


# ---- the ops

def scaled_dot_product_attention(query, key, value, mask=None, *, bint causal=False, scale=None):
    """``softmax(scale * query @ key.T + mask) @ value``: means of values, weighted by how well queries and keys agree.

    The scores of a block of queries are all that is kept at a time, so memory does not grow with queries times keys.

    Parameters
    ----------
    query : array_like
        (..., queries, size). The leading axes, such as (batch, heads), broadcast.
    key : array_like
        (..., keys, size)
    value : array_like
        (..., keys, value size)
    mask : array_like, optional
        Broadcasts to (..., queries, keys). Of bool: True where a query may attend to a key. Of float: added to the scores, in
        the dtype of the others; -inf excludes.
    causal : bool
        Whether the query at position i may attend to keys up to position i alone (both counted from 0, whatever the two
        lengths), also with a mask.
    scale : float, optional
        1 / sqrt(size) by default. It is a constant.

    Returns
    -------
    Array
        (..., queries, value size). A query that may attend to no key gets zeros, and zero gradients. Values and keys that
        are excluded have weight 0, but must be finite: 0 * NaN is NaN.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    TypeError
        If an operand is not of numbers, or the mask neither of bool nor of float.

    Notes
    -----
    Vaswani et al. 2017, Attention is all you need, equation 1; computed by blocks after Dao et al. 2022, FlashAttention.

    Examples
    --------
    >>> import corgi
    >>> x = corgi.array([[1.0, 0.0], [0.0, 1.0]])
    >>> corgi.scaled_dot_product_attention(x, x, [[1.0], [3.0]], scale=100.0)
    Array([[1.],
           [3.]], dtype=float64)
    >>> corgi.scaled_dot_product_attention(x, x, [[1.0], [3.0]], causal=True, scale=0)
    Array([[1.],
           [2.]], dtype=float64)
    """
    cdef str op = "scaled_dot_product_attention"
    cdef Array q = as_float(query, op), k = as_float(key, op), v = as_float(value, op)
    cdef int dtype = promoted(promoted(q.t.dtype, k.t.dtype), v.t.dtype), i, axes
    cdef isize shape[8]
    for name, x in (("a query", q), ("a key", k), ("a value", v)):
        if (<Array> x).t.ndim < 2:
            raise ValueError(f"{op}: expected {name} (..., steps, size), got shape {x.shape}")
    if q.t.shape[q.t.ndim - 1] != k.t.shape[k.t.ndim - 1]:
        raise ValueError(f"{op}: expected queries and keys of one size, got shapes {q.shape} and {k.shape}: "
                         f"{q.t.shape[q.t.ndim - 1]} != {k.t.shape[k.t.ndim - 1]}")
    if k.t.shape[k.t.ndim - 2] != v.t.shape[v.t.ndim - 2]:
        raise ValueError(f"{op}: expected as many values as keys, got shapes {v.shape} and {k.shape}: "
                         f"{v.t.shape[v.t.ndim - 2]} != {k.t.shape[k.t.ndim - 2]}")
    try:
        leading = np.broadcast_shapes(q.shape[:q.t.ndim - 2], k.shape[:k.t.ndim - 2], v.shape[:v.t.ndim - 2])
    except ValueError:
        raise ValueError(f"{op}: expected leading axes that broadcast, got shapes {q.shape}, {k.shape} and {v.shape}") from None
    axes = len(leading)
    for i in range(axes):
        shape[i] = leading[i]
    q, k, v = with_leading(q, axes, shape, dtype), with_leading(k, axes, shape, dtype), with_leading(v, axes, shape, dtype)
    shape[axes], shape[axes + 1] = q.t.shape[axes], k.t.shape[axes]
    cdef Array m = mask_of(mask, dtype, axes + 2, shape, op)
    cdef double factor = scale_of(scale, q.t.shape[axes + 1], op)
    return attention_op(q, k, v, None if m is None else broadcasted(m, axes + 2, shape, op), causal, factor)


cdef Array with_leading(Array x, int axes, isize *shape, int dtype):
    """x, cast and broadcast to the leading axes."""
    x = cast(x, dtype)
    if x.t.ndim == axes + 2 and memcmp(x.t.shape, shape, axes * sizeof(isize)) == 0:
        return x
    shape[axes], shape[axes + 1] = x.t.shape[x.t.ndim - 2], x.t.shape[x.t.ndim - 1]
    return broadcasted(x, axes + 2, shape, "scaled_dot_product_attention")


cdef Array attention_op(Array q, Array k, Array v, Array mask, bint causal, double scale):
    q, k, v = alias(q), alias(k), alias(v)  # other threads run meanwhile
    cdef Array a = wrap(rows_ready(q.t)), b = wrap(rows_ready(k.t)), c = wrap(rows_ready(v.t))
    cdef Array out = rows_like(a.t, v.t.shape[v.t.ndim - 1]), sums = sums_of(a.t)
    cdef Array rows = unit_rows(mask)
    attend(a.t, b.t, c.t, NULL if rows is None else rows.t, out.t, sums.t, causal, scale, NULL, NULL, NULL, NULL)
    cdef Node *n
    if recording and (q.tracks or k.tracks or v.tracks or (mask is not None and mask.tracks)):
        n = node_new(attention_vjp, b"scaled_dot_product_attention", 3 if mask is None or not mask.tracks else 4, out.t)
        connect(n, 0, q)
        connect(n, 1, k)
        connect(n, 2, v)
        save(n, 0, q)
        save(n, 1, k)
        save(n, 2, v)
        record_attention(n, 3, mask, rows, causal, scale, sums, out)
    elif unlikely(watching):
        show_result(out, NULL, b"scaled_dot_product_attention", [q, k, v, mask])
    return out


cdef int attention_vjp(Walk *w, Node *n, Array g) except -1:
    if needs_reference(w, n, 3):
        return replay_attention(w, n, g, attention_reference, (saved_input(n, 0), saved_input(n, 1), saved_input(n, 2)), ())
    rows, causal, scale, kept = <tuple> <object> n.context
    cdef Array mask = rows, sums = kept
    cdef Array q = wrap(rows_ready(n.saved[0])), k = wrap(rows_ready(n.saved[1])), v = wrap(rows_ready(n.saved[2]))
    cdef Array cotangent = wrap(rows_ready(g.t)), out = wrap_shared(n.saved[SAVED_OUTPUT])
    cdef Array dq = rows_like(q.t, q.t.shape[q.t.ndim - 1]) if wants(w, n, 0) else None
    cdef Array dk = rows_like(k.t, k.t.shape[k.t.ndim - 1]) if wants(w, n, 1) else None
    cdef Array dv = rows_like(v.t, v.t.shape[v.t.ndim - 1]) if wants(w, n, 2) else None
    attend(q.t, k.t, v.t, NULL if mask is None else mask.t, out.t, sums.t, causal, scale, cotangent.t,
           NULL if dq is None else dq.t, NULL if dk is None else dk.t, NULL if dv is None else dv.t)
    if dq is not None:
        send(w, n, 0, dq)
    if dk is not None:
        send(w, n, 1, dk)
    if dv is not None:
        send(w, n, 2, dv)
    return 0


def self_attention(x, heads, mask=None, *, bint causal=False, scale=None):
    """Attention within sequences of rows that hold a query, a key and a value for each head, one after the other.

    Parameters
    ----------
    x : array_like
        (..., steps, 3 * heads * size): the queries of all heads, then their keys, then their values.
    heads : int
    mask, causal, scale
        As `scaled_dot_product_attention` takes them, for scores (..., heads, steps, steps).

    Returns
    -------
    Array
        (..., steps, heads * size)

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    cdef str op = "self_attention"
    cdef Array qkv = as_float(x, op)
    cdef isize n_heads = heads_in(qkv, heads)
    cdef isize scores[8]
    cdef int last = qkv.t.ndim - 1
    memcpy(scores, qkv.t.shape, sizeof(scores))
    scores[last - 1], scores[last], scores[last + 1] = n_heads, qkv.t.shape[last - 1], qkv.t.shape[last - 1]
    cdef Array m = mask_of(mask, qkv.t.dtype, last + 2, scores, op)
    cdef double factor = scale_of(scale, qkv.t.shape[last] // (3 * n_heads), op)
    return self_attention_op(qkv, n_heads, None if m is None else broadcasted(m, last + 2, scores, op), causal, factor)


cdef Array self_attention_op(Array x, isize heads, Array mask, bint causal, double scale):
    cdef isize shape[8]
    x = alias(x)  # other threads run meanwhile
    memcpy(shape, x.t.shape, sizeof(shape))
    shape[x.t.ndim - 1] //= 3
    cdef Array whole = wrap(contiguous(x.t)), out = wrap(tensor_new(x.t.dtype, x.t.ndim, shape))
    cdef Array q = heads_of(whole.t, heads, 0, 3), k = heads_of(whole.t, heads, 1, 3), v = heads_of(whole.t, heads, 2, 3)
    cdef Array o = heads_of(out.t, heads, 0, 1), sums = sums_of(q.t)
    cdef Array rows = unit_rows(mask)
    attend(q.t, k.t, v.t, NULL if rows is None else rows.t, o.t, sums.t, causal, scale, NULL, NULL, NULL, NULL)
    cdef Node *n
    if recording and (x.tracks or (mask is not None and mask.tracks)):
        n = node_new(self_attention_vjp, b"self_attention", 2, out.t)
        n.param = heads
        connect(n, 0, x)
        save(n, 0, x)
        record_attention(n, 1, mask, rows, causal, scale, sums, out)
    elif unlikely(watching):
        show_result(out, NULL, b"self_attention", [x, mask])
    return out


cdef int self_attention_vjp(Walk *w, Node *n, Array g) except -1:
    cdef isize heads = n.param
    if needs_reference(w, n, 1):
        return replay_attention(w, n, g, self_attention_reference, (saved_input(n, 0),), (heads,))
    rows, causal, scale, kept = <tuple> <object> n.context
    cdef Array mask = rows, sums = kept
    cdef Array whole = wrap(contiguous(n.saved[0])), cotangent = wrap(contiguous(g.t)), dx = wrap(tensor_like(whole.t))
    cdef Array q = heads_of(whole.t, heads, 0, 3), k = heads_of(whole.t, heads, 1, 3), v = heads_of(whole.t, heads, 2, 3)
    cdef Array dq = heads_of(dx.t, heads, 0, 3), dk = heads_of(dx.t, heads, 1, 3), dv = heads_of(dx.t, heads, 2, 3)
    cdef Array o = heads_of(n.saved[SAVED_OUTPUT], heads, 0, 1), c = heads_of(cotangent.t, heads, 0, 1)
    attend(q.t, k.t, v.t, NULL if mask is None else mask.t, o.t, sums.t, causal, scale, c.t, dq.t, dk.t, dv.t)
    send(w, n, 0, dx)
    return 0
