# Linear algebra: matrix products, convolution, pooling.
#
# Above: users, layers.  Below: runtime/blas.c (which splits large products over threads), runtime/conv.c, the window kernels.
# Sets of ops close under differentiation: the product with itself, the three convolutions, window sums with window spreads.


# ---- matrix products

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


cdef Array product(Array a, Array b):
    """Matrix product over the last two axes of operands with at least two axes, fitting inner sizes and one dtype."""
    cdef isize shape[8]
    cdef int ndim = a.t.ndim if a.t.ndim > b.t.ndim else b.t.ndim, dtype = a.t.dtype, i
    cdef isize m = a.t.shape[a.t.ndim - 2], k = a.t.shape[a.t.ndim - 1], n = b.t.shape[b.t.ndim - 1]
    cdef isize x, y, batch, batches = 1
    for i in range(ndim - 2):
        x = a.t.shape[i - ndim + a.t.ndim] if i >= ndim - a.t.ndim else 1
        y = b.t.shape[i - ndim + b.t.ndim] if i >= ndim - b.t.ndim else 1
        if x != y and x != 1 and y != 1:
            raise ValueError(f"matmul: batches do not broadcast, {a.shape} @ {b.shape}: {x} != {y}")
        shape[i] = y if x == 1 else x
        batches *= shape[i]
    shape[ndim - 2], shape[ndim - 1] = m, n
    a, b = steady(a), steady(b)
    cdef Array out = wrap(tensor_new(dtype, ndim, shape))
    cdef Tensor *ta = gemm_ready(a.t)
    cdef Tensor *tb = gemm_ready(b.t)
    cdef Operand pa = gemm_operand(ta), pb = gemm_operand(tb)
    cdef char *c = out.t.data
    cdef int size = itemsize(dtype)
    if batches == 1 and <double> m * n * k < APPLY_LONG:
        matmul_into(dtype, pa.transposed, pb.transposed, m, n, k, pa.data, pa.leading, pb.data, pb.leading, 0, c, n)
    else:
        with nogil:
            for batch in range(batches):
                matmul_into(dtype, pa.transposed, pb.transposed, m, n, k,
                            pa.data + batch_offset(ta, ndim, shape, batch) * size, pa.leading,
                            pb.data + batch_offset(tb, ndim, shape, batch) * size, pb.leading, 0, c + batch * m * n * size, n)
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
    cdef list shape
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
        x = expand_dims(x, 0)
    if column:
        y = expand_dims(y, 1)
    if transpose_a:
        x = matrix_transpose(x)
    if transpose_b and not column:
        y = matrix_transpose(y)
    if y.t.ndim == 2 and x.t.ndim > 2:  # one product instead of one for each matrix of the batch
        shape = list(x.shape[:x.t.ndim - 1]) + [y.t.shape[1]]
        rows = 1
        for size in shape[:len(shape) - 1]:
            rows *= size
        out = reshape(product(reshape(x, (rows, x.t.shape[x.t.ndim - 1])), y), shape)
    else:
        out = product(x, y)
    if row or column:
        shape = list(out.shape)
        if column:
            del shape[len(shape) - 1]
        if row:
            del shape[len(shape) - (1 if column else 2)]
        out = reshape(out, shape)
    if c is None:
        return out
    cdef Array added = as_operand(c, "matmul")
    try:
        np.broadcast_shapes(out.shape, added.shape)
    except ValueError:
        raise ValueError(f"matmul: expected c that broadcasts with the product's shape {out.shape}, got {added.shape}") from None
    return out + added


# ---- windows

cdef tuple pair(value, str op, str name, int least):
    """A size given as an int for both axes or as a pair."""
    if isinstance(value, Integral):
        value = (value, value)
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"{op}: expected an int or a pair of ints for {name}, got {value!r}") from None
    for size in (first, second):
        if not isinstance(size, Integral):
            raise TypeError(f"{op}: expected an int or a pair of ints for {name}, got {value!r}")
        if not least <= size <= 32767:
            raise ValueError(f"{op}: expected {name} from {least} to 32767, got {value!r}")
    return int(first), int(second)


cdef int fill_window(Window *w, tuple geometry) except -1:
    """geometry: (channels, (height, width), kernel, stride, padding, dilation), all pairs but the first."""
    channels, size, kernel, stride, padding, dilation = geometry
    w.channels = channels
    w.height, w.width = size
    w.kernel_h, w.kernel_w = kernel
    w.stride_h, w.stride_w = stride
    w.pad_h, w.pad_w = padding
    w.dilation_h, w.dilation_w = dilation
    w.out_h = (w.height + 2 * w.pad_h - w.dilation_h * (w.kernel_h - 1) - 1) // w.stride_h + 1
    w.out_w = (w.width + 2 * w.pad_w - w.dilation_w * (w.kernel_w - 1) - 1) // w.stride_w + 1
    if (w.height + 2 * w.pad_h < w.dilation_h * (w.kernel_h - 1) + 1
            or w.width + 2 * w.pad_w < w.dilation_w * (w.kernel_w - 1) + 1):
        w.out_h = w.out_w = 0
    return 0


cdef Array images_of(Array x, str op):
    """(images, channels, height, width) from an array with or without the first axis."""
    if x.t.ndim == 4:
        return x
    if x.t.ndim == 3:
        return expand_dims(x, 0)
    raise ValueError(f"{op}: expected an image (channels, height, width) or a batch (images, channels, height, width), "
                     f"got shape {x.shape}")


cdef tuple window_geometry(Array x, isize channels, tuple kernel, stride, padding, dilation, str op):
    cdef tuple size = (x.t.shape[2], x.t.shape[3])
    cdef tuple geometry = (channels, size, kernel, pair(stride, op, "stride", 1), pair(padding, op, "padding", 0),
                           pair(dilation, op, "dilation", 1))
    cdef Window w
    fill_window(&w, geometry)
    if w.out_h == 0:
        raise ValueError(f"{op}: a window of {kernel} does not fit into images of {geometry[1]} with padding {geometry[4]} and "
                         f"dilation {geometry[5]}")
    return geometry


# ---- convolution: y = conv(x, f) is linear in both, and so are its two adjoints; each is the others' gradient

cdef Array convolution(int which, Array first, Array second, tuple geometry):
    """which 0: images * filters; 1: (gradient, filters) to images; 2: (images, gradient) to filters."""
    cdef Window w
    fill_window(&w, geometry)
    first, second = alias(first), alias(second)  # other threads run meanwhile
    cdef isize images = first.t.shape[0]
    cdef isize filters = second.t.shape[1] if which == 2 else second.t.shape[0]
    cdef isize shape[4]
    cdef int failed
    if which == 0:
        shape[:] = [images, filters, w.out_h, w.out_w]
    elif which == 1:
        shape[:] = [images, w.channels, w.height, w.width]
    else:
        shape[:] = [filters, w.channels, w.kernel_h, w.kernel_w]
    cdef int dtype = first.t.dtype
    cdef Array out = wrap(tensor_new(dtype, 4, shape))
    cdef Tensor *a = contiguous(first.t)
    cdef Tensor *b = contiguous(second.t)
    with nogil:
        if which == 0:
            failed = conv_forward(dtype, &w, images, filters, a.data, b.data, out.t.data)
        elif which == 1:
            failed = conv_input(dtype, &w, images, filters, a.data, b.data, out.t.data)
        else:
            failed = conv_filters(dtype, &w, images, filters, a.data, b.data, out.t.data)
    tensor_release(a)
    tensor_release(b)
    if failed:
        raise MemoryError("conv: not enough memory for the working space")
    cdef Node *n = record2(out, first, second, convolution_vjp, b"conv")
    if n != NULL:
        n.param = which
        set_context(n, geometry)
    return out


cdef int convolution_vjp(Walk *w, Node *n, Array g) except -1:
    cdef tuple geometry = <tuple> <object> n.context
    cdef Array first = saved_input(n, 0) if wants(w, n, 1) else None
    cdef Array second = saved_input(n, 1) if wants(w, n, 0) else None
    if second is not None:
        send(w, n, 0, convolution(1, g, second, geometry) if n.param == 0 else
             convolution(0, g, second, geometry) if n.param == 1 else convolution(1, second, g, geometry))
    if first is not None:
        send(w, n, 1, convolution(2, first, g, geometry) if n.param == 0 else
             convolution(2, g, first, geometry) if n.param == 1 else convolution(0, first, g, geometry))
    return 0


def conv(images, filters, stride=1, *, padding=0, dilation=1):
    """Cross-correlation of images with filters, the convolution of neural networks.

    Parameters
    ----------
    images : array_like
        (channels, height, width), or (images, channels, height, width).
    filters : array_like
        (filters, channels, rows, columns), or one filter (channels, rows, columns).
    stride, padding, dilation : int or pair of ints
        Steps between windows; zeros added on each side; steps between the elements of a window.

    Returns
    -------
    Array
        (filters, out_height, out_width), with a first axis if `images` has one.

    Raises
    ------
    ValueError
        If the channels differ, or a filter does not fit into the padded image.

    Examples
    --------
    >>> import corgi
    >>> corgi.conv([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]], [[[[3.0, 5.0], [2.0, 6.0]]]])
    Array([[[ 51.,  67.],
            [ 99., 115.]]], dtype=float64)
    """
    cdef Array x = as_float(images, "conv"), f = as_float(filters, "conv"), out
    cdef int dtype = promoted(x.t.dtype, f.t.dtype)
    cdef bint single = x.t.ndim == 3
    x, f = images_of(cast(x, dtype), "conv"), cast(f, dtype)
    if f.t.ndim == 3:
        f = expand_dims(f, 0)
    if f.t.ndim != 4:
        raise ValueError(f"conv: expected filters (filters, channels, rows, columns), got shape {f.shape}")
    if f.t.shape[1] != x.t.shape[1]:
        raise ValueError(f"conv: expected filters for {x.t.shape[1]} channels (images of shape {x.shape}), "
                         f"got filters of shape {f.shape}, for {f.t.shape[1]}")
    cdef tuple kernel = (f.t.shape[2], f.t.shape[3])
    if 0 in kernel:
        raise ValueError(f"conv: expected filters of at least one row and column, got shape {f.shape}")
    out = convolution(0, x, f, window_geometry(x, x.t.shape[1], kernel, stride, padding, dilation, "conv"))
    return reshape(out, out.shape[1:]) if single else out


# ---- pooling

cdef Array window_op(bint spread, Array x, tuple geometry):
    """Sums of windows over the last two axes (spread False), or the adjoint."""
    cdef Window w
    fill_window(&w, geometry)
    cdef isize shape[4]
    shape[:] = [x.t.shape[0], x.t.shape[1], w.height if spread else w.out_h, w.width if spread else w.out_w]
    cdef Array out = wrap(tensor_new(x.t.dtype, 4, shape))
    cdef Tensor *source = contiguous(x.t)
    cdef isize planes = shape[0] * shape[1]
    if spread:
        kernels.window_spread[source.dtype](&w, source.data, out.t.data, planes)
    else:
        kernels.window_sum[source.dtype](&w, source.data, out.t.data, planes)
    tensor_release(source)
    cdef Node *n = record(out, x, window_vjp, b"avg_pool")
    if n != NULL:
        n.param = spread
        set_context(n, geometry)
    return out


cdef int window_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, window_op(not n.param, g, <tuple> <object> n.context))
    return 0


cdef tuple pool_arguments(images, size, stride, padding, str op):
    cdef Array x = as_float(images, op)
    cdef bint single = x.t.ndim == 3
    kernel = pair(size, op, "size", 1)
    x = images_of(x, op)
    geometry = window_geometry(x, x.t.shape[1], kernel, kernel if stride is None else stride, padding, 1, op)
    for width, edge in zip(geometry[4], kernel):
        if 2 * width > edge:
            raise ValueError(f"{op}: expected padding of at most half the window {kernel}, got {geometry[4]}")
    return x, geometry, single


def avg_pool(images, size, stride=None, *, padding=0):
    """Means of windows of images.

    Parameters
    ----------
    images : array_like
        (channels, height, width), or (images, channels, height, width).
    size : int or pair of ints
        Height and width of the window.
    stride : int or pair of ints, optional
        Steps between windows; `size` by default.
    padding : int or pair of ints
        Zeros added on each side; they count in the mean.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If a window does not fit, or the padding exceeds half of it.

    Examples
    --------
    >>> import corgi
    >>> corgi.avg_pool([[[1.0, 2.0], [3.0, 4.0]]], 2)
    Array([[[2.5]]], dtype=float64)
    """
    x, geometry, single = pool_arguments(images, size, stride, padding, "avg_pool")
    out = window_op(False, x, geometry) / float(geometry[2][0] * geometry[2][1])
    return reshape(out, out.shape[1:]) if single else out


def max_pool(images, size, stride=None, *, padding=0):
    """Maxima of windows of images; the gradient goes to the first maximum of each window.

    Parameters
    ----------
    images : array_like
        (channels, height, width), or (images, channels, height, width).
    size : int or pair of ints
        Height and width of the window.
    stride : int or pair of ints, optional
        Steps between windows; `size` by default.
    padding : int or pair of ints
        Rows and columns added on each side; they never are the maximum.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If a window does not fit, or the padding exceeds half of it.

    Examples
    --------
    >>> import corgi
    >>> corgi.max_pool([[[1.0, 2.0], [3.0, 4.0]]], 2)
    Array([[[4.]]], dtype=float64)
    """
    x, geometry, single = pool_arguments(images, size, stride, padding, "max_pool")
    cdef Array source = x
    cdef Window w
    fill_window(&w, geometry)
    cdef isize planes = source.t.shape[0] * source.t.shape[1], count = planes * w.out_h * w.out_w
    cdef Array positions = wrap(tensor_new(INT64, 1, &count))
    cdef Tensor *values = contiguous(source.t)
    kernels.max_pool_index[values.dtype](&w, values.data, <int64_t *> positions.t.data, planes)
    tensor_release(values)
    out = taken(reshape(source, (-1,)), positions, 0)
    cdef tuple shape = (source.t.shape[1], w.out_h, w.out_w)
    return reshape(out, shape if single else (source.t.shape[0],) + shape)
