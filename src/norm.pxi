# Normalization: layer, root-mean-square, group and batch norm, one family of kernels behind them.
#
# Above: corgi/layer/norm.py, users.  Below: the norm kernels, which see x as (images, channels, span) and find mean and variance
# of each channel (batch norm) or of each group of an image's channels (all others); replay, which differentiates norm_reference
# where a backward pass is recorded.


def norm_reference(x, weight, bias, centre, spread, geometry):
    """What the norms compute, in terms of other ops; centre and spread are given statistics of channels, or None."""
    images, channels, span, groups, centred, eps = geometry
    sections = groups or channels or 1
    by_channel = (sections, channels // sections, 1)
    z = reshape(x, (images, *by_channel[:2], span))
    cdef tuple axes = (2, 3) if groups else (0, 3)  # of a batch norm, axis 2 has size 1
    if centre is not None:
        z = z - reshape(centre, by_channel)
    elif centred:
        z = z - mean(z, axes, keepdims=True)
    spread = mean(z * z, axes, keepdims=True) if spread is None else reshape(spread, by_channel)
    z = z / pointwise(OP_sqrt, spread + eps, None, None)
    return reshape(z * reshape(weight, by_channel) + reshape(bias, by_channel), x.shape)


cdef Norm norm_work(tuple geometry, Array x, Array weight, Array bias, bint given, Array moments) noexcept:
    """The kernels' description of a norm of contiguous operands."""
    cdef Norm k
    memset(&k, 0, sizeof(k))
    k.images, k.channels, k.span, k.groups, k.centred, k.eps = geometry
    k.given = given
    k.x, k.weight, k.bias, k.moments = x.t.data, weight.t.data, bias.t.data, moments.t.data
    return k


cdef Array norm_moments(tuple geometry, Array centre, Array spread, int dtype):
    """The kernels' statistics: room for them, or those that are given."""
    cdef isize shape[2]
    if centre is not None:
        centre, spread = wrap_shared(centre.t), wrap_shared(spread.t)
        return stack([centre, zeros_like(centre), 1 / pointwise(OP_sqrt, spread + geometry[5], None, None), spread])
    shape[0], shape[1] = 4, geometry[0] * geometry[3] if geometry[3] else geometry[1]
    return wrap(tensor_new(dtype, 2, shape))


cdef tuple norm_op(Array x, Array weight, Array bias, Array centre, Array spread, tuple geometry):
    """x normalized as the geometry says, by the statistics if they are given, and the kernels' statistics."""
    cdef tuple operands = (x, weight, bias) if centre is None else (x, weight, bias, centre, spread)
    cdef Array out = wrap(tensor_like(x.t)), moments = norm_moments(geometry, centre, spread, x.t.dtype), operand
    cdef bint long_one = x.t.size >= APPLY_LONG, track = False
    if long_one:  # other threads run meanwhile
        operands = tuple([alias(operand) for operand in operands])
    cdef Array a = wrap(contiguous(x.t)), scale = wrap(contiguous(weight.t)), shift = wrap(contiguous(bias.t))
    cdef Norm k = norm_work(geometry, a, scale, shift, centre is not None, moments)
    cdef int dtype = x.t.dtype, i
    k.out = out.t.data
    if long_one:
        with nogil:
            kernels.norm[dtype](&k)
    else:
        kernels.norm[dtype](&k)
    for operand in operands:
        track = track or tracked(operand)
    if not track:
        return out, moments
    cdef Node *n = node_new(norm_vjp, b"norm", len(operands), out.t)
    for i, operand in enumerate(operands):
        connect(n, i, operand)
        if i < 3:
            save(n, i, operand)
    save(n, SAVED_OUTPUT, moments)
    set_context(n, (geometry, [wrap_shared((<Array> given).t) for given in operands[3:]]))
    publish(out, n)
    return out, moments


cdef int norm_vjp(Walk *w, Node *n, Array g) except -1:
    cdef tuple geometry
    cdef list given, gradients
    cdef Array statistic
    cdef int i
    geometry, given = <tuple> <object> n.context
    if w.create_graph:
        given = [wrap_shared((<Array> statistic).t) for statistic in given]
        for i, statistic in enumerate(given):
            if n.inputs[3 + i] != NULL:
                attach(statistic, n.inputs[3 + i])
                statistic.tracks = True
        return replay(w, n, g, norm_reference, (saved_input(n, 0), saved_input(n, 1), saved_input(n, 2),
                                                *(given or (None, None)), geometry))
    cdef Array x = wrap(contiguous(n.saved[0])), weight = wrap(contiguous(n.saved[1])), bias = wrap_shared(n.saved[2])
    cdef Array moments = wrap_shared(n.saved[SAVED_OUTPUT]), cotangent = wrap(contiguous(g.t))
    cdef Array dx = wrap(tensor_like(x.t)), dweight = wrap(tensor_like(weight.t)), dbias = wrap(tensor_like(bias.t))
    cdef Norm k = norm_work(geometry, x, weight, bias, n.n_inputs > 3, moments)
    cdef isize size = kernels.norm_space(&k)
    cdef Array space = wrap(tensor_new(FLOAT64, 1, &size))
    cdef int dtype = n.dtype
    k.g, k.dx, k.dweight, k.dbias = cotangent.t.data, dx.t.data, dweight.t.data, dbias.t.data
    k.space = <double *> space.t.data
    if x.t.size < APPLY_LONG:
        kernels.norm_vjp[dtype](&k)
    else:
        with nogil:
            kernels.norm_vjp[dtype](&k)
    gradients = [dx, dweight, dbias]
    if n.n_inputs > 3:  # by the statistics: each is a number of the channel, as weight and bias are
        scale = moments[2]
        gradients += [-scale * weight * dbias, -0.5 * scale * scale * weight * dweight]
    for i, gradient in enumerate(gradients):
        if wants(w, n, i):
            send(w, n, i, gradient)
    return 0


# ---- operands

cdef double norm_eps(eps, str op) except -1:
    cdef double value = number_of(eps, op)
    if not 0 <= value < np.inf:
        raise ValueError(f"{op}: expected a finite eps of at least 0, got {eps}")
    return value


cdef tuple norm_operands(x, tuple others, str op):
    """x and what goes with it, where it is given, as Arrays of one float dtype."""
    cdef list arrays = [as_float(x, op)] + [None if value is None else as_float(value, op) for value in others]
    cdef int dtype = BOOL
    cdef Array a
    for a in arrays:
        if a is not None:
            dtype = promoted(dtype, a.t.dtype)
    return tuple([None if value is None else cast(value, dtype) for value in arrays])


cdef Array of_channels(Array x, Array values, double usual, tuple shape, str name, str op):
    """A weight or bias of a shape; the usual number everywhere where none is given."""
    if values is None:
        return filled(new_shape(shape, x.t.dtype, op), usual)
    if values.shape != shape:
        raise ValueError(f"{op}: expected a {name} of shape {shape} for input of shape {x.shape}, got {values.shape}")
    return values


cdef Array last_axes_norm(x, weight, bias, eps, axes, bint centred, str op):
    """layer_norm and rms_norm."""
    cdef double epsilon = norm_eps(eps, op)
    cdef Array a, scale, shift
    cdef isize count = 1
    a, scale, shift = norm_operands(x, (weight, bias), op)
    if axes is None:
        axes = 1 if scale is None and shift is None else scale.t.ndim if scale is not None else shift.t.ndim
    elif not isinstance(axes, Integral) or isinstance(axes, bool):
        raise TypeError(f"{op}: expected an int for axes, got {type(axes).__name__}")
    if axes < 1:
        raise ValueError(f"{op}: expected axes of at least 1, got {axes}")
    if axes > a.t.ndim:
        raise ValueError(f"{op}: expected input with at least {axes} axes, the last ones normalized, got shape {a.shape}")
    cdef tuple shape = a.shape[a.t.ndim - <isize> axes:]
    for size in shape:
        count *= size
    scale, shift = of_channels(a, scale, 1, shape, "weight", op), of_channels(a, shift, 0, shape, "bias", op)
    cdef tuple geometry = (a.t.size // count if count else 0, count, 1, 1, centred, epsilon)
    return norm_op(a, scale, shift, None, None, geometry)[0]


cdef tuple channel_shape(Array x, str op):
    """The shape of what there is one of for each channel."""
    if x.t.ndim < 2:
        raise ValueError(f"{op}: expected input of shape (images, channels, ...), got {x.shape}")
    return (x.t.shape[1],)


cdef tuple channel_spans(Array x):
    """Images, channels, and elements of a channel in one image."""
    cdef isize outer, span
    spans(x.t, 1, &outer, &span)
    return outer, x.t.shape[1], span


# ---- the norms

def layer_norm(x, weight=None, bias=None, eps=1e-5, *, axes=None):
    """Layer normalization (Ba, Kiros & Hinton 2016): ``(x - mean) / sqrt(var + eps) * weight + bias`` over the last axes.

    Mean and variance are those of each row alone. The gradient is exact to any order, and float32 rows whose mean is large beside
    their spread keep their accuracy.

    Parameters
    ----------
    x : array_like
        (..., *shape)
    weight, bias : array_like, optional
        Of the shape of the normalized axes; 1 and 0 by default.
    eps : float
        At least 0.
    axes : int, optional
        How many of the last axes are normalized: by default as many as `weight` or `bias` has, or one.

    Returns
    -------
    Array
        Of x's shape.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, or `eps` or `axes` is not such a number.

    Examples
    --------
    >>> import corgi
    >>> corgi.layer_norm([[1.0, 3.0], [10.0, 30.0]], eps=0)
    Array([[-1.,  1.],
           [-1.,  1.]], dtype=float64)
    """
    return last_axes_norm(x, weight, bias, eps, axes, True, "layer_norm")


def rms_norm(x, weight=None, eps=1e-5, *, axes=None):
    """Root-mean-square normalization (Zhang & Sennrich 2019): ``x / sqrt(mean(x**2) + eps) * weight`` over the last axes.

    Parameters
    ----------
    x : array_like
        (..., *shape)
    weight : array_like, optional
        Of the shape of the normalized axes; 1 by default.
    eps : float
        At least 0.
    axes : int, optional
        How many of the last axes are normalized: by default as many as `weight` has, or one.

    Returns
    -------
    Array
        Of x's shape.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, or `eps` or `axes` is not such a number.

    Examples
    --------
    >>> import corgi
    >>> corgi.rms_norm([[1.0, 7.0]], eps=0)
    Array([[0.2, 1.4]], dtype=float64)
    """
    return last_axes_norm(x, weight, None, eps, axes, False, "rms_norm")


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    """Group normalization (Wu & He 2018): ``(x - mean) / sqrt(var + eps) * weight + bias`` over groups of an image's channels.

    With one group for each channel it is instance normalization; with one group for all of them, layer normalization of images.

    Parameters
    ----------
    x : array_like
        (images, channels, ...)
    groups : int
        How many groups the channels are split into.
    weight, bias : array_like, optional
        (channels,); 1 and 0 by default.
    eps : float
        At least 0.

    Returns
    -------
    Array
        Of x's shape.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, the groups do not divide the channels, or `eps` is not such a number.

    Examples
    --------
    >>> import corgi
    >>> corgi.group_norm([[1.0, 3.0, 10.0, 30.0]], 2, eps=0)
    Array([[-1.,  1., -1.,  1.]], dtype=float64)
    """
    cdef str op = "group_norm"
    cdef double epsilon = norm_eps(eps, op)
    cdef int n_groups = groups_of(groups, op)
    cdef Array a, scale, shift
    a, scale, shift = norm_operands(x, (weight, bias), op)
    cdef tuple shape = channel_shape(a, op)
    if a.t.shape[1] % n_groups:
        raise ValueError(f"{op}: expected a number of channels that {n_groups} groups divide, got input of shape {a.shape}")
    scale, shift = of_channels(a, scale, 1, shape, "weight", op), of_channels(a, shift, 0, shape, "bias", op)
    cdef tuple geometry = (*channel_spans(a), n_groups, True, epsilon)
    return norm_op(a, scale, shift, None, None, geometry)[0]


def batch_norm(x, weight=None, bias=None, mean=None, var=None, eps=1e-5):
    """Batch normalization (Ioffe & Szegedy 2015): ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    Parameters
    ----------
    x : array_like
        (images, channels, ...)
    weight, bias : array_like, optional
        (channels,); 1 and 0 by default.
    mean, var : array_like, optional
        (channels,). By default those of the batch, over all axes but the second, and differentiated as such.
    eps : float
        At least 0.

    Returns
    -------
    Array
        Of x's shape.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit, one of `mean` and `var` is given without the other, or `eps` is not such a number.

    Examples
    --------
    >>> import corgi
    >>> corgi.batch_norm([[1.0, 10.0], [3.0, 30.0]], eps=0)
    Array([[-1., -1.],
           [ 1.,  1.]], dtype=float64)
    """
    cdef str op = "batch_norm"
    cdef double epsilon = norm_eps(eps, op)
    cdef Array a, scale, shift, centre, spread
    cdef tuple shape
    if (mean is None) != (var is None):
        raise ValueError(f"{op}: expected both mean and var, or neither")
    a, scale, shift, centre, spread = norm_operands(x, (weight, bias, mean, var), op)
    if centre is not None:
        shape = channel_shape(a, op)
        centre, spread = of_channels(a, centre, 0, shape, "mean", op), of_channels(a, spread, 1, shape, "var", op)
    return batch_norm_op(a, scale, shift, centre, spread, epsilon)[0]


cdef tuple batch_norm_op(Array x, Array weight, Array bias, Array centre, Array spread, double eps):
    """Normalization by given statistics or by the batch's own, and the kernels' statistics, (4, channels)."""
    cdef str op = "batch_norm"
    cdef tuple shape = channel_shape(x, op), geometry = (*channel_spans(x), 0, True, eps)
    weight, bias = of_channels(x, weight, 1, shape, "weight", op), of_channels(x, bias, 0, shape, "bias", op)
    return norm_op(x, weight, bias, centre, spread, geometry)


def batch_norm_statistics(x, weight, bias, eps):
    """`batch_norm` by the batch's own mean and variance, and these.

    Returns
    -------
    tuple
        The result, and the mean and the unbiased variance of each channel, untracked.

    Raises
    ------
    ValueError
        If there are fewer than two values of each channel, which have no variance.

    Examples
    --------
    >>> import corgi
    >>> corgi._core.batch_norm_statistics([[1.0], [3.0]], None, None, 0.0)[1:]
    (Array([2.], dtype=float64), Array([2.], dtype=float64))
    """
    cdef Array a, scale, shift, moments
    a, scale, shift = norm_operands(x, (weight, bias), "batch_norm")
    cdef isize channels = channel_shape(a, "batch_norm")[0], count = a.t.size // channels if channels else 0
    if count < 2:
        raise ValueError(f"batch_norm: expected more than one value of each channel in training, got input of shape {a.shape}")
    out, moments = batch_norm_op(a, scale, shift, None, None, norm_eps(eps, "batch_norm"))
    centre, rest, _, spread = moments
    return out, centre + rest, spread * (<double> count / <double> (count - 1))
