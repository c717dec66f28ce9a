# Windows of images: convolution, pooling.
#
# Above: users, layers.  Below: the kernels of convolution (kernels/conv.c) and pooling (kernels/pool.c).
# Sets of ops close under differentiation: the three convolutions, window sums with window spreads, picks of maxima with theirs.


# ---- geometry

cdef tuple pair(value, str op, str name, int least):
    """A size given as an int for both axes or as a pair."""
    if PyLong_CheckExact(value) or isinstance(value, Integral):
        value = (value, value)
    try:
        first, second = value
    except (TypeError, ValueError):
        raise TypeError(f"{op}: expected an int or a pair of ints for {name}, got {value!r}") from None
    for size in (first, second):
        if not PyLong_CheckExact(size) and not isinstance(size, Integral):
            raise TypeError(f"{op}: expected an int or a pair of ints for {name}, got {value!r}")
        if not least <= size <= 32767:
            raise ValueError(f"{op}: expected {name} from {least} to 32767, got {value!r}")
    return int(first), int(second)


cdef int fill_window(Window *w, tuple geometry) except -1:
    """geometry: (channels, (height, width), kernel, stride, padding before, dilation, groups, (out_height, out_width))."""
    channels, size, kernel, stride, padding, dilation, groups, out = geometry
    w.channels, w.groups = channels, groups
    w.height, w.width = size
    w.kernel_h, w.kernel_w = kernel
    w.stride_h, w.stride_w = stride
    w.pad_h, w.pad_w = padding
    w.dilation_h, w.dilation_w = dilation
    w.out_h, w.out_w = out
    return 0


cdef Array images_of(Array x, str op):
    """(images, channels, height, width) from an array with or without the first axis."""
    if x.t.ndim == 4:
        return x
    if x.t.ndim == 3:
        return expand_dims(x, 0)
    raise ValueError(f"{op}: expected an image (channels, height, width) or a batch (images, channels, height, width), "
                     f"got shape {x.shape}")


cdef tuple window_geometry(Array x, tuple kernel, stride, padding, dilation, groups, str op):
    cdef tuple steps = pair(stride, op, "stride", 1), apart = pair(dilation, op, "dilation", 1)
    cdef tuple size = (x.t.shape[2], x.t.shape[3]), added
    cdef isize reach, room
    cdef list before = [], out = []
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f"{op}: expected padding 'same', 'valid', an int or a pair of ints, got {padding!r}")
        added = (0, 0)
    else:
        added = pair(padding, op, "padding", 0)
    for i in range(2):
        reach = apart[i] * (kernel[i] - 1) + 1
        if padding == "same":
            out.append(-(-size[i] // steps[i]))
            room = (out[i] - 1) * steps[i] + reach - size[i]
            before.append(room // 2 if room > 0 else 0)
        else:
            room = size[i] + 2 * added[i] - reach
            out.append(room // steps[i] + 1 if room >= 0 else 0)
            before.append(added[i])
    if 0 in out:
        raise ValueError(f"{op}: a window of {kernel} does not fit into images of {size} with padding {added} and "
                         f"dilation {apart}")
    return x.t.shape[1], size, kernel, steps, tuple(before), apart, groups, tuple(out)


cdef int groups_of(value, str op) except -1:
    if not PyLong_CheckExact(value) and not isinstance(value, Integral):
        raise TypeError(f"{op}: expected an int for groups, got {type(value).__name__}")
    if not 1 <= value <= 32767:
        raise ValueError(f"{op}: expected groups from 1 to 32767, got {value}")
    return value


# ---- convolution: y = conv(x, f) is linear in both, and so are its two adjoints; each is the others' gradient

cdef Array run_conv(int which, Array first, Array second, tuple geometry, int activation, Tensor *y, Tensor *bias, Tensor *db):
    """CONV_FORWARD: (images, filters) to results; CONV_INPUT: (cotangents, filters) to images; CONV_FILTERS: (images, cotangents)
    to filters.  What goes with an activation or a bias is contiguous, or NULL; see Convolution in kernels.h."""
    cdef Window w
    cdef Convolution c
    cdef isize shape[4]
    fill_window(&w, geometry)
    memset(&c, 0, sizeof(c))
    c.which, c.window, c.images = which, &w, first.t.shape[0]
    c.filters = second.t.shape[1] if which == CONV_FILTERS else second.t.shape[0]
    if which == CONV_FORWARD:
        shape[:] = [c.images, c.filters, w.out_h, w.out_w]
    elif which == CONV_INPUT:
        shape[:] = [c.images, w.channels, w.height, w.width]
    else:
        shape[:] = [c.filters, w.channels // w.groups, w.kernel_h, w.kernel_w]
    cdef int dtype = first.t.dtype
    cdef Array out = wrap(tensor_new(dtype, 4, shape))
    cdef Array a = wrap(contiguous(first.t)), b = wrap(contiguous(second.t))
    c.first, c.second, c.out = a.t.data, b.t.data, out.t.data
    c.activation = activation
    c.y = NULL if y == NULL else y.data
    c.bias = NULL if bias == NULL else bias.data
    c.db = NULL if db == NULL else db.data
    cdef isize bytes = kernels.conv_space[dtype](&c)
    cdef Array space = wrap(tensor_new(BOOL, 1, &bytes))
    with nogil:
        kernels.conv[dtype](&c, space.t.data, bytes)
    return out


cdef Array convolution(int which, Array first, Array second, tuple geometry):
    first, second = alias(first), alias(second)  # other threads run meanwhile
    cdef Array out = run_conv(which, first, second, geometry, 0, NULL, NULL, NULL)
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
        send(w, n, 0, convolution(CONV_INPUT, g, second, geometry) if n.param == CONV_FORWARD else
             convolution(CONV_FORWARD, g, second, geometry) if n.param == CONV_INPUT else
             convolution(CONV_INPUT, second, g, geometry))
    if first is not None:
        send(w, n, 1, convolution(CONV_FILTERS, first, g, geometry) if n.param == CONV_FORWARD else
             convolution(CONV_FILTERS, g, first, geometry) if n.param == CONV_INPUT else
             convolution(CONV_FORWARD, first, g, geometry))
    return 0


def conv_reference(x, filters, bias, tuple geometry, int activation):
    """What `fused_conv` computes, in terms of other ops."""
    z = convolution(CONV_FORWARD, x, filters, geometry)
    if bias is not None:
        z = z + reshape(bias, (-1, 1, 1))
    return activated(z, activation)


cdef Array fused_conv(Array x, Array filters, Array bias, tuple geometry, int activation):
    """activation(conv(x, filters) + bias), for one of the kernels' activations."""
    x, filters = alias(x), alias(filters)
    bias = None if bias is None else alias(bias)
    cdef Array b = None if bias is None else wrap(contiguous(bias.t))
    cdef Array out = run_conv(CONV_FORWARD, x, filters, geometry, activation, NULL, NULL if b is None else b.t, NULL)
    cdef Node *n
    if recording and (x.tracks or filters.tracks or (bias is not None and bias.tracks)):
        n = node_new(fused_conv_vjp, b"conv", 3, out.t)
        n.param = activation
        connect(n, 0, x)
        connect(n, 1, filters)
        save(n, 0, x)
        save(n, 1, filters)
        if bias is not None:
            connect(n, 2, bias)
            save(n, 2, bias)
        if activation:
            save(n, SAVED_OUTPUT, out)
        set_context(n, geometry)
        publish(out, n)
    elif unlikely(watching):
        show_result(out, NULL, b"conv", [x, filters, bias])
    return out


cdef int fused_conv_vjp(Walk *w, Node *n, Array g) except -1:
    cdef tuple geometry = <tuple> <object> n.context
    if w.create_graph:
        return replay(w, n, g, conv_reference, (saved_input(n, 0), saved_input(n, 1),
                                                saved_input(n, 2) if n.saved[2] != NULL else None, geometry, n.param))
    cdef Array x = wrap_shared(n.saved[0]), filters = wrap_shared(n.saved[1]), db = None, df
    cdef Array y = wrap_shared(n.saved[SAVED_OUTPUT]) if n.param else None
    cdef Tensor *result = NULL if y is None else y.t
    cdef bint wants_bias = n.inputs[2] != NULL and wants(w, n, 2)
    if wants_bias:
        db = wrap(tensor_new(n.dtype, 1, filters.t.shape))
    if wants_bias or wants(w, n, 1):
        df = run_conv(CONV_FILTERS, x, g, geometry, n.param, result, NULL, NULL if db is None else db.t)
        if wants(w, n, 1):
            send(w, n, 1, df)
        if wants_bias:
            send(w, n, 2, db)
    if wants(w, n, 0):
        send(w, n, 0, run_conv(CONV_INPUT, g, filters, geometry, n.param, result, NULL, NULL))
    return 0


cdef tuple conv_operands(images, filters, bias, str op):
    """Images in a batch, filters, bias, of one dtype, and whether there was a single image."""
    cdef Array x = as_float(images, op), f = as_float(filters, op), b = None
    cdef int dtype = promoted(x.t.dtype, f.t.dtype)
    if bias is not None:
        b = as_float(bias, op)
        dtype = promoted(dtype, b.t.dtype)
        b = cast(b, dtype)
    single = x.t.ndim == 3
    x, f = images_of(cast(x, dtype), op), cast(f, dtype)
    if f.t.ndim == 3:
        f = expand_dims(f, 0)
    if f.t.ndim != 4:
        raise ValueError(f"{op}: expected filters with four axes, the last two rows and columns, got shape {f.shape}")
    if f.t.shape[2] == 0 or f.t.shape[3] == 0:
        raise ValueError(f"{op}: expected filters of at least one row and column, got shape {f.shape}")
    return x, f, b, single


cdef int check_bias(Array bias, isize channels, str op) except -1:
    if bias is not None and (bias.t.ndim != 1 or bias.t.shape[0] != channels):
        raise ValueError(f"{op}: expected a bias of shape ({channels},), one for each channel of the result, got {bias.shape}")
    return 0


def conv(images, filters, stride=1, *, padding=0, dilation=1, groups=1, bias=None, activation=None):
    """Cross-correlation of images with filters, the convolution of neural networks.

    Parameters
    ----------
    images : array_like
        (channels, height, width), or (images, channels, height, width).
    filters : array_like
        (filters, channels / groups, rows, columns), or one filter (channels, rows, columns).
    stride, dilation : int or pair of ints
        Steps between windows; steps between the elements of a window.
    padding : int or pair of ints, "valid" or "same"
        Zeros added on each side; "valid" adds none, "same" as many as give a result of ceil(size / stride), of which an odd
        one goes to the end.
    groups : int
        Both the channels and the filters are split into so many groups, each convolved by itself; as many as channels is a
        depthwise convolution.
    bias : array_like, optional
        (filters,), added to the result.
    activation : {None, "relu", "sigmoid", "tanh"} or callable
        Applied to the result. These three, also given as functions, are computed together with the convolution.

    Returns
    -------
    Array
        (filters, out_height, out_width), with a first axis if `images` has one.

    Raises
    ------
    ValueError
        If the channels differ, the groups do not divide them and the filters, or a filter does not fit into the padded image.

    Examples
    --------
    >>> import corgi
    >>> corgi.conv([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]], [[[[3.0, 5.0], [2.0, 6.0]]]])
    Array([[[ 51.,  67.],
            [ 99., 115.]]], dtype=float64)
    >>> corgi.conv(corgi.ones((10, 8, 28, 28)), corgi.ones((8, 1, 3, 3)), padding="same", groups=8).shape
    (10, 8, 28, 28)
    """
    cdef Array x, f, b, out
    cdef int act = activation_code(activation, "conv"), n_groups = groups_of(groups, "conv")
    x, f, b, single = conv_operands(images, filters, bias, "conv")
    if f.t.shape[1] * n_groups != x.t.shape[1]:
        raise ValueError(f"conv: expected filters for {x.t.shape[1]} channels (images of shape {x.shape}) in {n_groups} groups, "
                         f"got filters of shape {f.shape}, for {f.t.shape[1] * n_groups}")
    if f.t.shape[0] % n_groups:
        raise ValueError(f"conv: expected a number of filters that {n_groups} groups divide, got filters of shape {f.shape}")
    check_bias(b, f.t.shape[0], "conv")
    cdef tuple geometry = window_geometry(x, (f.t.shape[2], f.t.shape[3]), stride, padding, dilation, n_groups, "conv")
    cdef int fused = act if act > 0 else 0
    if b is None and not fused:
        out = convolution(CONV_FORWARD, x, f, geometry)
    else:
        out = fused_conv(x, f, b, geometry, fused)
    if single:
        out = reshape(out, out.shape[1:])
    return activation(out) if act < 0 else out


def conv_transpose(images, filters, stride=1, *, padding=0, output_padding=0, dilation=1, groups=1, bias=None):
    """Transposed convolution: the adjoint of `conv` with the same arguments, which makes images larger by `stride`.

    An image of size n becomes one of size ``(n - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding``:
    each of its elements adds a multiple of the filter there.

    Parameters
    ----------
    images : array_like
        (channels, height, width), or (images, channels, height, width).
    filters : array_like
        (channels, out_channels / groups, rows, columns).
    stride, dilation : int or pair of ints
        Steps between the places of the filter; steps between its elements.
    padding : int or pair of ints
        Rows and columns left away on each side.
    output_padding : int or pair of ints
        Rows and columns added at the end, fewer than `stride`: `conv` makes images of one size of several.
    groups : int
        The channels are split into so many groups, each with filters of its own.
    bias : array_like, optional
        (out_channels,), added to the result.

    Returns
    -------
    Array
        (out_channels, out_height, out_width), with a first axis if `images` has one.

    Raises
    ------
    ValueError
        If the channels differ, the groups do not divide them, or nothing is left of the result.

    Examples
    --------
    >>> import corgi
    >>> corgi.conv_transpose([[[1.0, 2.0]]], [[[[1.0, 10.0, 100.0]]]], 2)
    Array([[[  1.,  10., 102.,  20., 200.]]], dtype=float64)
    """
    cdef str op = "conv_transpose"
    cdef Array x, f, b, out
    cdef int n_groups = groups_of(groups, op)
    x, f, b, single = conv_operands(images, filters, bias, op)
    if f.t.shape[0] != x.t.shape[1]:
        raise ValueError(f"{op}: expected filters (channels, out_channels / groups, rows, columns) for images of shape "
                         f"{x.shape}, got filters of shape {f.shape}: {f.t.shape[0]} != {x.t.shape[1]} channels")
    if f.t.shape[0] % n_groups:
        raise ValueError(f"{op}: expected a number of channels that {n_groups} groups divide, got images of shape {x.shape}")
    cdef isize channels = f.t.shape[1] * n_groups
    check_bias(b, channels, op)
    steps, apart = pair(stride, op, "stride", 1), pair(dilation, op, "dilation", 1)
    left, added = pair(padding, op, "padding", 0), pair(output_padding, op, "output_padding", 0)
    kernel, size = (f.t.shape[2], f.t.shape[3]), (x.t.shape[2], x.t.shape[3])
    if added[0] >= steps[0] or added[1] >= steps[1]:
        raise ValueError(f"{op}: expected output_padding below the stride {steps}, got {added}")
    if 0 in size:
        raise ValueError(f"{op}: expected images with at least one row and column, got shape {x.shape}")
    whole = tuple([(n - 1) * step - 2 * p + d * (k - 1) + 1 + more
                   for n, step, p, d, k, more in zip(size, steps, left, apart, kernel, added)])
    if whole[0] < 1 or whole[1] < 1:
        raise ValueError(f"{op}: nothing is left of images of {size} with filters of {kernel} and padding {left}")
    out = convolution(CONV_INPUT, x, f, (channels, whole, kernel, steps, left, apart, n_groups, size))
    if b is not None:
        out = out + reshape(b, (-1, 1, 1))
    return reshape(out, out.shape[1:]) if single else out


# ---- pooling

cdef Array window_op(bint spread, Array x, tuple geometry):
    """Sums of windows over the last two axes (spread False), or the adjoint."""
    cdef Window w
    fill_window(&w, geometry)
    cdef isize shape[4]
    shape[:] = [x.t.shape[0], x.t.shape[1], w.height if spread else w.out_h, w.width if spread else w.out_w]
    cdef Array out = wrap(tensor_new(x.t.dtype, 4, shape)), source = wrap(contiguous(x.t))
    cdef isize planes = shape[0] * shape[1]
    if spread:
        kernels.window_spread[x.t.dtype](&w, source.t.data, out.t.data, planes)
    else:
        kernels.window_sum[x.t.dtype](&w, source.t.data, out.t.data, planes)
    cdef Node *n = record(out, x, window_vjp, b"avg_pool")
    if n != NULL:
        n.param = spread
        set_context(n, geometry)
    return out


cdef int window_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, window_op(not n.param, g, <tuple> <object> n.context))
    return 0


cdef Array maxima_op(bint spread, Array v, Array x, Array y, tuple geometry):
    """From each window the element of v where x has its maximum y (spread False), or the adjoint.  Linear in v; x and y are
    constants, contiguous."""
    cdef Window w
    fill_window(&w, geometry)
    cdef int dtype = v.t.dtype
    cdef Array like = x if spread else y
    cdef Array out = wrap(tensor_new(dtype, 4, like.t.shape)), source = wrap(contiguous(v.t))
    cdef isize planes = x.t.shape[0] * x.t.shape[1]
    if spread:
        kernels.max_spread[dtype](&w, x.t.data, y.t.data, source.t.data, out.t.data, planes)
    else:
        kernels.max_pick[dtype](&w, x.t.data, y.t.data, source.t.data, out.t.data, planes)
    cdef Node *n = record(out, v, maxima_vjp, b"max_pool")
    if n != NULL:
        n.param = spread
        save(n, 1, x)
        save(n, 2, y)
        set_context(n, geometry)
    return out


cdef int maxima_vjp(Walk *w, Node *n, Array g) except -1:
    """Of max_pool too, which is the pick from its own operand."""
    if wants(w, n, 0):
        send(w, n, 0, maxima_op(not n.param, g, wrap_shared(n.saved[1]), wrap_shared(n.saved[2]), <tuple> <object> n.context))
    return 0


cdef tuple pool_arguments(images, size, stride, padding, str op):
    cdef Array x = as_float(images, op)
    cdef bint single = x.t.ndim == 3
    kernel = pair(size, op, "size", 1)
    x = images_of(x, op)
    geometry = window_geometry(x, kernel, kernel if stride is None else stride, pair(padding, op, "padding", 0), 1, 1, op)
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
    cdef Array source = wrap(contiguous((<Array> x).t)), out
    cdef Window w
    fill_window(&w, geometry)
    cdef isize shape[4]
    shape[:] = [source.t.shape[0], source.t.shape[1], w.out_h, w.out_w]
    out = wrap(tensor_new(source.t.dtype, 4, shape))
    kernels.window_max[source.t.dtype](&w, source.t.data, out.t.data, shape[0] * shape[1])
    cdef Node *n = record(out, x, maxima_vjp, b"max_pool")
    if n != NULL:
        n.param = False
        save(n, 1, source)
        save(n, 2, out)
        set_context(n, geometry)
    return reshape(out, out.shape[1:]) if single else out
