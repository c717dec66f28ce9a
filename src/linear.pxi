# Linear algebra: matrix products.
#
# Above: users, layers.  Below: runtime/blas.c (which splits large products over threads).
# The product is closed under differentiation.


# ---- matrix products

cdef enum:
    TASK_WORK = 1 << 20  # multiply-adds of the products that a task takes, where one product is smaller

cdef struct Operand:
    char *data
    bint transposed
    isize leading


cdef Tensor *gemm_ready(Tensor *t) except NULL:
    """A new reference to t, or to a copy whose last two axes BLAS can read (one of them without gaps)."""
    cdef isize rows = t.shape[t.ndim - 2], columns = t.shape[t.ndim - 1]
    cdef isize down = t.strides[t.ndim - 2], across = t.strides[t.ndim - 1]
    if ((across == 1 or columns == 1) and (rows == 1 or down >= columns)
            or (down == 1 or rows == 1) and (columns == 1 or across >= rows)):
        tensor_retain(t)
        return t
    cdef Tensor *copy = tensor_like(t)
    if copy == NULL:
        raise MemoryError("matmul: not enough memory for a copy")
    tensor_copy_out(t, copy.data)
    return copy


cdef Operand gemm_operand(const Tensor *t) noexcept:
    cdef isize rows = t.shape[t.ndim - 2], columns = t.shape[t.ndim - 1]
    cdef isize down = t.strides[t.ndim - 2], across = t.strides[t.ndim - 1]
    cdef Operand x
    x.data = t.data
    x.transposed = not ((across == 1 or columns == 1) and (rows == 1 or down >= columns))
    if x.transposed:
        x.leading = across if columns > 1 else rows
    else:
        x.leading = down if rows > 1 else columns
    if x.leading < 1:
        x.leading = 1
    return x


cdef isize batch_offset(const Tensor *t, int ndim, const isize *shape, isize index) noexcept nogil:
    """Elements from t's start to its matrix number `index` of a broadcast batch."""
    cdef isize offset = 0
    cdef int axis, own
    for axis in range(ndim - 3, -1, -1):
        own = axis - (ndim - t.ndim)
        if own >= 0 and t.shape[own] != 1:
            offset += index % shape[axis] * t.strides[own]
        index //= shape[axis]
    return offset


cdef struct Batch:  # of products, and how many a task takes
    const Tensor *a
    const Tensor *b
    Operand pa, pb
    char *c
    int ndim
    const isize *shape
    isize m, n, k, count, each


cdef void multiply_some(void *context, ptrdiff_t task) noexcept nogil:
    cdef Batch *x = <Batch *> context
    cdef int dtype = x.a.dtype, size = itemsize(dtype)
    cdef isize index, stop = (task + 1) * x.each
    if stop > x.count:
        stop = x.count
    for index in range(task * x.each, stop):
        matmul_into(dtype, x.pa.transposed, x.pb.transposed, x.m, x.n, x.k,
                    x.pa.data + batch_offset(x.a, x.ndim, x.shape, index) * size, x.pa.leading,
                    x.pb.data + batch_offset(x.b, x.ndim, x.shape, index) * size, x.pb.leading,
                    0, x.c + index * x.m * x.n * size, x.n)


cdef void multiply_batch(Batch *x) noexcept nogil:
    """All of them: small ones are shared out, each of the large ones is split."""
    cdef double work = <double> x.m * x.n * x.k
    x.each = x.count if work >= TASK_WORK else <isize> (TASK_WORK / (work if work > 1 else 1))
    parallel(multiply_some, x, (x.count + x.each - 1) // x.each)


cdef Array product(Array a, Array b):
    """Matrix product over the last two axes of operands with at least two axes, fitting inner sizes and one dtype."""
    cdef isize shape[8]
    cdef int ndim = a.t.ndim if a.t.ndim > b.t.ndim else b.t.ndim, dtype = a.t.dtype, i
    cdef isize m = a.t.shape[a.t.ndim - 2], k = a.t.shape[a.t.ndim - 1], n = b.t.shape[b.t.ndim - 1]
    cdef isize size_a, size_b, batches = 1
    for i in range(ndim - 2):
        size_a = a.t.shape[i - ndim + a.t.ndim] if i >= ndim - a.t.ndim else 1
        size_b = b.t.shape[i - ndim + b.t.ndim] if i >= ndim - b.t.ndim else 1
        if size_a != size_b and size_a != 1 and size_b != 1:
            raise ValueError(f"matmul: batches do not broadcast, {a.shape} @ {b.shape}: {size_a} != {size_b}")
        shape[i] = size_b if size_a == 1 else size_a
        batches *= shape[i]
    shape[ndim - 2], shape[ndim - 1] = m, n
    a, b = steady(a), steady(b)
    cdef Array out = wrap(tensor_new(dtype, ndim, shape))
    cdef Tensor *ta = gemm_ready(a.t)
    cdef Tensor *tb = gemm_ready(b.t)
    cdef Operand pa = gemm_operand(ta), pb = gemm_operand(tb)
    cdef Batch x
    if batches == 1 and <double> m * n * k < APPLY_LONG:
        matmul_into(dtype, pa.transposed, pb.transposed, m, n, k, pa.data, pa.leading, pb.data, pb.leading, 0, out.t.data, n)
    else:
        x.a, x.b, x.pa, x.pb, x.c = ta, tb, pa, pb, out.t.data
        x.ndim, x.shape, x.m, x.n, x.k, x.count = ndim, &shape[0], m, n, k, batches
        with nogil:
            multiply_batch(&x)
    tensor_release(ta)
    tensor_release(tb)
    if dtype >= FLOAT32:
        record2(out, a, b, product_vjp, b"matmul")
    return out


cdef Array matrix_transpose(Array x):
    cdef list order = list(range(x.t.ndim))
    order[x.t.ndim - 2], order[x.t.ndim - 1] = x.t.ndim - 1, x.t.ndim - 2
    return permuted(x, order)


cdef int product_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, product(g, matrix_transpose(saved_input(n, 1))))
    if wants(w, n, 1):
        send(w, n, 1, product(matrix_transpose(saved_input(n, 0)), g))
    return 0


def matmul(a, b, c=None, *, bint transpose_a=False, bint transpose_b=False):
    """Matrix product, optionally of transposed operands, optionally with a third array added.

    Parameters
    ----------
    a, b : array_like
        Of shapes (..., m, k) and (..., k, n); the leading axes broadcast. A vector stands for a row on the left and for a
        column on the right, and its axis is missing from the result.
    c : array_like, optional
        Added to the product, by the rules of broadcasting.
    transpose_a, transpose_b : bool
        Exchange the last two axes of the operand first; a vector `a` then stands for a column.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the inner sizes differ, or the batches do not broadcast.

    Examples
    --------
    >>> import corgi
    >>> corgi.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Array([3., 7.], dtype=float64)
    """
    cdef Array x = as_operand(a, "matmul"), y = as_operand(b, "matmul"), out
    cdef int dtype = promoted(x.t.dtype, y.t.dtype)
    cdef bint row = x.t.ndim == 1 and not transpose_a, column = y.t.ndim == 1
    cdef isize sizes[8]
    if x.t.ndim == 0 or y.t.ndim == 0:
        raise ValueError(f"matmul: expected arrays with axes, got shapes {x.shape} and {y.shape}; use * for numbers")
    if dtype == BOOL:
        dtype = INT64
    cdef isize inner_x = 1 if x.t.ndim == 1 and transpose_a else x.t.shape[x.t.ndim - (2 if transpose_a else 1)]
    cdef isize inner_y = y.t.shape[y.t.ndim - (1 if column or transpose_b else 2)]
    if inner_x != inner_y:
        raise ValueError(f"matmul: inner sizes differ, {x.shape}{'.T' if transpose_a else ''} @ "
                         f"{y.shape}{'.T' if transpose_b else ''}: {inner_x} != {inner_y}")
    x, y = cast(x, dtype), cast(y, dtype)
    if x.t.ndim == 1:
        sizes[0], sizes[1] = 1, x.t.shape[0]
        x = reshaped(x, 2, sizes)
    if column:
        sizes[0], sizes[1] = y.t.shape[0], 1
        y = reshaped(y, 2, sizes)
    if transpose_a:
        x = matrix_transpose(x)
    if transpose_b and not column:
        y = matrix_transpose(y)
    cdef int last = x.t.ndim - 1, ndim
    cdef bint flat = y.t.ndim == 2 and last > 1
    if flat:  # one product instead of one for each matrix of the batch
        sizes[0], sizes[1] = 1, x.t.shape[last]
        for ndim in range(last):
            sizes[0] *= x.t.shape[ndim]
        out = product(reshaped(x, 2, sizes), y)
        memcpy(sizes, x.t.shape, sizeof(sizes))
        ndim, sizes[last] = last + 1, y.t.shape[1]
    else:
        out = product(x, y)
        memcpy(sizes, out.t.shape, sizeof(sizes))
        ndim = out.t.ndim
    if row and not column:
        sizes[ndim - 2] = sizes[ndim - 1]
    ndim -= row + column
    if flat or ndim != out.t.ndim:
        out = reshaped(out, ndim, sizes)
    if c is None:
        return out
    cdef Array added = as_operand(c, "matmul")
    try:
        np.broadcast_shapes(out.shape, added.shape)
    except ValueError:
        raise ValueError(f"matmul: expected c that broadcasts with the product's shape {out.shape}, got {added.shape}") from None
    return out + added
