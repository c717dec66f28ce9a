# Normalization: layer, root-mean-square, group and batch norm, one family of kernels behind them.
#
# Above: corgi/layer/norm.py, users.  Below: the norm kernels, which see x as (images, channels, span) and find mean and variance
# of each channel (batch norm) or of each group of an image's channels (all others); replay, which differentiates norm_reference
# where a backward pass is recorded.

from libc.math cimport INFINITY


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


@cython.final
@cython.binding(False)
cdef class NormWork:
    """A norm as the kernels see it, and what its node remembers of it."""
    cdef Norm k
    cdef Array moments, centre, spread  # the kernels' statistics; what was given of them, untracked, or None

    def __init__(self, *args, **kwargs):
        raise TypeError("NormWork: made by norms alone")


cdef NormWork norm_work(isize images, isize channels, isize span, isize groups, bint centred, double eps):
    cdef NormWork work = NormWork.__new__(NormWork)
    memset(&work.k, 0, sizeof(work.k))
    work.k.images, work.k.channels, work.k.span, work.k.groups = images, channels, span, groups
    work.k.centred, work.k.eps = centred, eps
    return work


cdef int find_moments(NormWork work, Array centre, Array spread, int dtype) except -1:
    """Room for the kernels' statistics, or those that are given."""
    cdef isize shape[2]
    if centre is None:
        shape[0], shape[1] = 4, work.k.images * work.k.groups if work.k.groups else work.k.channels
        work.moments = wrap(tensor_new(dtype, 2, shape))
        return 0
    work.k.given = True
    work.centre, work.spread = wrap_shared(centre.t), wrap_shared(spread.t)
    scale = 1 / pointwise(OP_sqrt, work.spread + work.k.eps, None, None)
    work.moments = stack([work.centre, zeros_like(work.centre), scale, work.spread])
    return 0


cdef Array norm_op(NormWork work, Array x, Array weight, Array bias, Array centre, Array spread):
    """x normalized, by the statistics if they are given."""
    cdef int dtype = x.t.dtype
    cdef bint given = centre is not None
    cdef Array out = wrap(tensor_like(x.t)), a, scale, shift
    cdef Norm k
    cdef Node *n
    if x.t.size >= APPLY_LONG:  # other threads run meanwhile
        x, weight, bias = alias(x), alias(weight), alias(bias)
        if given:
            centre, spread = alias(centre), alias(spread)
    find_moments(work, centre, spread, dtype)
    a, scale, shift = wrap(contiguous(x.t)), wrap(contiguous(weight.t)), wrap(contiguous(bias.t))
    k = work.k
    k.x, k.weight, k.bias, k.out, k.moments = a.t.data, scale.t.data, shift.t.data, out.t.data, work.moments.t.data
    if a.t.size < APPLY_LONG:
        kernels.norm[dtype](&k)
    else:
        with nogil:
            kernels.norm[dtype](&k)
    if not recording or not (x.tracks or weight.tracks or bias.tracks or given and (centre.tracks or spread.tracks)):
        if unlikely(watching):
            show_result(out, NULL, b"norm", [x, weight, bias, centre, spread])
        return out
    n = node_new(norm_vjp, b"norm", 5 if given else 3, out.t)
    connect(n, 0, x)
    connect(n, 1, weight)
    connect(n, 2, bias)
    save(n, 0, x)
    save(n, 1, weight)
    save(n, 2, bias)
    if given:
        connect(n, 3, centre)
        connect(n, 4, spread)
    set_context(n, work)
    publish(out, n)
    return out


cdef Array rejoined(Node *n, int i, Array given):
    """A given statistic as saved_input would have it."""
    cdef Array out = None if given is None else wrap_shared(given.t)
    if given is not None and n.inputs[i] != NULL:
        attach(out, n.inputs[i])
        out.tracks = True
    return out


cdef int norm_vjp(Walk *w, Node *n, Array g) except -1:
    cdef NormWork work = <NormWork> <object> n.context
    cdef Norm k = work.k
    if w.create_graph:
        return replay(w, n, g, norm_reference, (
            saved_input(n, 0), saved_input(n, 1), saved_input(n, 2), rejoined(n, 3, work.centre), rejoined(n, 4, work.spread),
            (k.images, k.channels, k.span, k.groups, k.centred, k.eps)))
    cdef Array x = wrap(contiguous(n.saved[0])), weight = wrap(contiguous(n.saved[1])), cotangent = wrap(contiguous(g.t))
    cdef Array dx = wrap(tensor_like(x.t)), dweight = wrap(tensor_like(weight.t)), dbias = wrap(tensor_like(n.saved[2]))
    cdef isize size = kernels.norm_space(&k)
    cdef Array space = wrap(tensor_new(FLOAT64, 1, &size)), scale
    cdef int dtype = n.dtype
    k.x, k.weight, k.moments, k.g = x.t.data, weight.t.data, work.moments.t.data, cotangent.t.data
    k.dx, k.dweight, k.dbias, k.space = dx.t.data, dweight.t.data, dbias.t.data, <double *> space.t.data
    if x.t.size < APPLY_LONG:
        kernels.norm_vjp[dtype](&k)
    else:
        with nogil:
            kernels.norm_vjp[dtype](&k)
    if wants(w, n, 0):
        send(w, n, 0, dx)
    if k.given and (wants(w, n, 3) or wants(w, n, 4)):
        scale = getitem(work.moments, 2)
        if wants(w, n, 3):
            send(w, n, 3, -scale * weight * dbias)
        if wants(w, n, 4):
            send(w, n, 4, -0.5 * scale * scale * weight * dweight)
    if wants(w, n, 1):
        send(w, n, 1, dweight)
    if wants(w, n, 2):
        send(w, n, 2, dbias)
    return 0


# ---- operands

cdef double norm_eps(eps, str op) except -1:
    cdef double value = PyFloat_AS_DOUBLE(eps) if PyFloat_CheckExact(eps) else number_of(eps, op)
    if not 0 <= value < INFINITY:
        raise ValueError(f"{op}: expected a finite eps of at least 0, got {eps}")
    return value


cdef Array optional_float(value, str op, int *dtype):
    """An operand that may be None; dtype becomes what it and all before promote to."""
    if value is None:
        return None
    cdef Array a = as_float(value, op)
    dtype[0] = promoted(dtype[0], a.t.dtype)
    return a


cdef Array for_axes(Array x, Array values, double usual, int axis, int count, str name, str op):
    """What goes with some axes of x, in x's dtype; the usual number everywhere where nothing is given."""
    cdef isize *shape = &x.t.shape[axis]
    if values is None:
        return filled(tensor_new(x.t.dtype, count, shape), usual)
    if values.t.ndim != count or memcmp(values.t.shape, shape, count * sizeof(isize)) != 0:
        raise ValueError(f"{op}: expected a {name} of shape {shape_tuple(count, shape)} for input of shape {x.shape}, "
                         f"got {values.shape}")
    return cast(values, x.t.dtype)


cdef Array last_axes_norm(x, weight, bias, eps, axes, bint centred, str op):
    """layer_norm and rms_norm."""
    cdef double epsilon = norm_eps(eps, op)
    cdef Array a = as_float(x, op)
    cdef int dtype = a.t.dtype, count = 1, first, i
    cdef Array scale = optional_float(weight, op, &dtype), shift = optional_float(bias, op, &dtype)
    cdef isize channels = 1
    if axes is not None:
        if not PyLong_CheckExact(axes) and (not isinstance(axes, Integral) or isinstance(axes, bool)):
            raise TypeError(f"{op}: expected an int for axes, got {type(axes).__name__}")
        if not 1 <= axes <= MAX_NDIM:
            raise ValueError(f"{op}: expected axes from 1 to {MAX_NDIM}, got {axes}")
        count = axes
    elif scale is not None:
        count = scale.t.ndim
    elif shift is not None:
        count = shift.t.ndim
    if not 1 <= count <= a.t.ndim:
        raise ValueError(f"{op}: expected input with at least {count or 1} axes, the last ones normalized, got shape {a.shape}"
                         + (f" and a weight of shape {scale.shape}" if scale is not None and not count else ""))
    a = cast(a, dtype)
    first = a.t.ndim - count
    for i in range(first, a.t.ndim):
        channels *= a.t.shape[i]
    return norm_op(norm_work(a.t.size // channels if channels else 0, channels, 1, 1, centred, epsilon), a,
                   for_axes(a, scale, 1, first, count, "weight", op), for_axes(a, shift, 0, first, count, "bias", op), None, None)


cdef NormWork channel_work(Array x, isize groups, double eps, str op):
    """The work of norms over (images, channels, ...)."""
    cdef isize images, span
    if x.t.ndim < 2:
        raise ValueError(f"{op}: expected input of shape (images, channels, ...), got {x.shape}")
    spans(x.t, 1, &images, &span)
    return norm_work(images, x.t.shape[1], span, groups, True, eps)


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
    cdef Array a = as_float(x, op)
    cdef int n_groups = groups_of(groups, op), dtype = a.t.dtype
    cdef Array scale = optional_float(weight, op, &dtype), shift = optional_float(bias, op, &dtype)
    cdef NormWork work = channel_work(a, n_groups, epsilon, op)
    if work.k.channels % n_groups:
        raise ValueError(f"{op}: expected a number of channels that {n_groups} groups divide, got input of shape {a.shape}")
    a = cast(a, dtype)
    return norm_op(work, a, for_axes(a, scale, 1, 1, 1, "weight", op), for_axes(a, shift, 0, 1, 1, "bias", op), None, None)


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
    return batch_norm_op(x, weight, bias, mean, var, eps, False)[0]


cdef tuple batch_norm_op(x, weight, bias, mean, var, eps, bint training):
    """The result, the work, and how many values each channel has."""
    cdef str op = "batch_norm"
    cdef double epsilon = norm_eps(eps, op)
    if (mean is None) != (var is None):
        raise ValueError(f"{op}: expected both mean and var, or neither")
    cdef Array a = as_float(x, op)
    cdef int dtype = a.t.dtype
    cdef Array scale = optional_float(weight, op, &dtype), shift = optional_float(bias, op, &dtype)
    cdef Array centre = optional_float(mean, op, &dtype), spread = optional_float(var, op, &dtype)
    cdef NormWork work = channel_work(a, 0, epsilon, op)
    cdef isize count = work.k.images * work.k.span
    if training and count < 2:
        raise ValueError(f"{op}: expected more than one value of each channel in training, got input of shape {a.shape}")
    a = cast(a, dtype)
    if centre is not None:
        centre, spread = for_axes(a, centre, 0, 1, 1, "mean", op), for_axes(a, spread, 1, 1, 1, "var", op)
    scale, shift = for_axes(a, scale, 1, 1, 1, "weight", op), for_axes(a, shift, 0, 1, 1, "bias", op)
    return norm_op(work, a, scale, shift, centre, spread), work, count


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
    cdef NormWork work
    cdef double count
    out, work, count = batch_norm_op(x, weight, bias, None, None, eps, True)
    centre, rest, _, spread = work.moments
    return out, centre + rest, spread * (count / (count - 1))
