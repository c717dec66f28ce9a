# Views and joins: ops that move values without computing.
#
# Above: users, and the vjps of other ops.  Below: array.pxi and graph.pxi.  Each op's vjp calls other ops, so recording on or off
# is the only difference between first and higher order.

from builtins import max as builtin_max


# ---- arguments

cdef int axis_of(axis, int ndim, str op) except -1:
    """An axis as a number from 0."""
    if not PyLong_CheckExact(axis) and not isinstance(axis, Integral):
        raise TypeError(f"{op}: expected an int for the axis, got {type(axis).__name__}")
    if not -ndim <= axis < ndim:
        raise IndexError(f"{op}: axis {axis} is out of range for an array with {ndim} axes")
    return axis + ndim if axis < 0 else axis


cdef list axes_of(axes, int ndim, str op):
    """Axes, given as None (all), an int or a sequence, as different numbers from 0."""
    if axes is None:
        return [i for i in range(ndim)]
    if type(axes) is not tuple and type(axes) is not list and isinstance(axes, Integral):
        axes = (axes,)
    try:
        found = [axis_of(axis, ndim, op) for axis in axes]
    except TypeError:
        raise TypeError(f"{op}: expected an axis or a sequence of axes, got {axes!r}") from None
    if len(set(found)) != len(found):
        raise ValueError(f"{op}: an axis is named twice in {tuple(axes)}")
    return found


cdef list operand_list(arrays, str op):
    """A non-empty list of Arrays, brought to one dtype."""
    if (type(arrays) is Array and (<Array> arrays).t.ndim == 0
            or type(arrays) is not list and type(arrays) is not tuple and isinstance(arrays, Number)):
        raise TypeError(f"{op}: expected a sequence of arrays, got {type(arrays).__name__}")
    try:
        values = list(arrays)
    except TypeError:
        raise TypeError(f"{op}: expected a sequence of arrays, got {type(arrays).__name__}") from None
    cdef list found = [as_operand(a, op) for a in values]
    if not found:
        raise ValueError(f"{op}: expected at least one array, got none")
    cdef int dtype = (<Array> found[0]).t.dtype
    for a in found:
        dtype = promoted(dtype, (<Array> a).t.dtype)
    return [cast(a, dtype) for a in found]


# ---- views

cdef Array view_like(Array x, int ndim, const isize *shape, const isize *strides):
    """A handle on x's memory with another shape and strides."""
    cdef Tensor *t = tensor_view(x.t)
    cdef Array out = wrap(t)
    t.ndim = ndim
    memcpy(t.shape, shape, ndim * sizeof(isize))
    memcpy(t.strides, strides, ndim * sizeof(isize))
    tensor_update_contiguous(t)
    return out


cdef Array reshaped(Array x, int ndim, const isize *shape):
    """x in a shape of equal size: a view where the values are contiguous, else a copy."""
    cdef isize strides[8]
    cdef isize stride = 1
    cdef int i
    cdef Array source, out
    for i in range(ndim - 1, -1, -1):
        strides[i] = stride
        stride *= shape[i]
    if stride != x.t.size:  # every caller has seen to it; a view must never be larger than its memory
        raise ValueError(f"reshape: an array of shape {x.shape} does not fill shape {shape_tuple(ndim, shape)}")
    source = x if x.t.contiguous else contiguous_copy(x)
    out = view_like(source, ndim, shape, strides)
    record(out, x, reshape_vjp, b"reshape")
    return out


cdef int reshape_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, reshaped(g, n.inputs[0].ndim, n.inputs[0].shape))
    return 0


def reshape(a, shape):
    """The values in another shape, in row-major order.

    Parameters
    ----------
    a : array_like
    shape : int or sequence of ints
        One size may be -1: it follows from the others.

    Returns
    -------
    Array
        A view where the values are contiguous, else a copy.

    Raises
    ------
    ValueError
        If the sizes do not multiply to the array's size.

    Examples
    --------
    >>> import corgi
    >>> corgi.reshape([1, 2, 3, 4], (2, -1))
    Array([[1, 2],
           [3, 4]], dtype=int64)
    """
    cdef Array x = as_operand(a, "reshape")
    cdef isize sizes[8]
    cdef int ndim = parse_shape(shape, sizes, "reshape")
    cdef isize known = 1
    cdef int unknown = -1, i
    for i in range(ndim):
        if sizes[i] == -1 and unknown < 0:
            unknown = i
        elif sizes[i] < 0:
            raise ValueError(f"reshape: expected sizes of at least 0 and at most one -1, got {shape}")
        else:
            known *= sizes[i]
    if unknown >= 0 and known > 0 and x.t.size % known == 0:
        sizes[unknown] = x.t.size // known
        known *= sizes[unknown]
    elif unknown >= 0:
        known = -1
    if known != x.t.size:
        raise ValueError(f"reshape: an array of shape {x.shape} has {x.t.size} elements, which do not fill shape {shape}")
    return reshaped(x, ndim, sizes)


cdef Array permuted(Array x, list axes):
    cdef isize shape[8]
    cdef isize strides[8]
    cdef int i, axis
    for i in range(x.t.ndim):
        axis = axes[i]
        shape[i] = x.t.shape[axis]
        strides[i] = x.t.strides[axis]
    cdef Array out = view_like(x, x.t.ndim, shape, strides)
    cdef Node *n = record(out, x, transpose_vjp, b"transpose")
    if n != NULL:
        set_context(n, axes)
    return out


cdef int transpose_vjp(Walk *w, Node *n, Array g) except -1:
    cdef list axes = <list> <object> n.context
    cdef list inverse = [0] * len(axes)
    for i, axis in enumerate(axes):
        inverse[axis] = i
    if wants(w, n, 0):
        send(w, n, 0, permuted(g, inverse))
    return 0


def transpose(a, axes=None):
    """The array with its axes in another order: a view.

    Parameters
    ----------
    a : array_like
    axes : sequence of ints, optional
        Which axis of `a` comes first, second ...; reversed by default.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If `axes` is not a permutation of the array's axes.

    Examples
    --------
    >>> import corgi
    >>> corgi.transpose([[1, 2], [3, 4]])
    Array([[1, 3],
           [2, 4]], dtype=int64)
    """
    cdef Array x = as_operand(a, "transpose")
    if axes is None:
        return permuted(x, [x.t.ndim - 1 - i for i in range(x.t.ndim)])
    order = axes_of(axes, x.t.ndim, "transpose")
    if len(order) != x.t.ndim:
        raise ValueError(f"transpose: expected {x.t.ndim} axes, one for each axis of shape {x.shape}, got {len(order)}")
    return permuted(x, order)


permute = transpose


def swapaxes(a, axis1, axis2):
    """The array with two axes exchanged: a view.

    Parameters
    ----------
    a : array_like
    axis1, axis2 : int

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.swapaxes(corgi.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    cdef Array x = as_operand(a, "swapaxes")
    i, j = axis_of(axis1, x.t.ndim, "swapaxes"), axis_of(axis2, x.t.ndim, "swapaxes")
    order = list(range(x.t.ndim))
    order[i], order[j] = j, i
    return permuted(x, order)


def moveaxis(a, source, destination):
    """The array with one or more axes moved to new places: a view.

    Parameters
    ----------
    a : array_like
    source, destination : int or sequence of ints

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.moveaxis(corgi.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    cdef Array x = as_operand(a, "moveaxis")
    origin, target = axes_of(source, x.t.ndim, "moveaxis"), axes_of(destination, x.t.ndim, "moveaxis")
    if len(origin) != len(target):
        raise ValueError(f"moveaxis: expected as many destinations as sources, got {len(target)} and {len(origin)}")
    order = [axis for axis in range(x.t.ndim) if axis not in origin]
    for to, axis in sorted(zip(target, origin)):
        order.insert(to, axis)
    return permuted(x, order)


cdef Array broadcasted(Array x, int ndim, const isize *shape, str op):
    cdef isize strides[8]
    cdef int missing = ndim - x.t.ndim, i
    for i in range(ndim):
        if i >= missing and x.t.shape[i - missing] == shape[i]:
            strides[i] = x.t.strides[i - missing]
        elif i < missing or x.t.shape[i - missing] == 1:
            strides[i] = 0
        else:
            missing = -1
            break
    if missing < 0:
        raise ValueError(f"{op}: an array of shape {x.shape} does not broadcast to shape {shape_tuple(ndim, shape)}")
    cdef Array out = view_like(x, ndim, shape, strides)
    record(out, x, pass_vjp, b"broadcast_to")  # the engine sums the cotangent back to the input's shape
    return out


def broadcast_to(a, shape):
    """The array repeated along new axes and axes of size 1, by NumPy's rule: a view.

    Parameters
    ----------
    a : array_like
    shape : int or sequence of ints

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the array does not broadcast to the shape.

    Examples
    --------
    >>> import corgi
    >>> corgi.broadcast_to([1, 2], (2, 2))
    Array([[1, 2],
           [1, 2]], dtype=int64)
    """
    cdef Array x = as_operand(a, "broadcast_to")
    cdef isize sizes[8]
    cdef int ndim = parse_shape(shape, sizes, "broadcast_to"), i
    for i in range(ndim):
        if sizes[i] < 0:
            raise ValueError(f"broadcast_to: expected sizes of at least 0, got shape {shape}")
    return broadcasted(x, ndim, sizes, "broadcast_to")


def squeeze(a, axis=None):
    """The array without axes of size 1.

    Parameters
    ----------
    a : array_like
    axis : int or sequence of ints, optional
        Which axes; all that have size 1 by default.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If a named axis has another size.

    Examples
    --------
    >>> import corgi
    >>> corgi.squeeze(corgi.zeros((1, 3, 1))).shape
    (3,)
    """
    cdef Array x = as_operand(a, "squeeze")
    if axis is None:
        dropped = [i for i in range(x.t.ndim) if x.t.shape[i] == 1]
    else:
        dropped = axes_of(axis, x.t.ndim, "squeeze")
        for i in dropped:
            if x.t.shape[<int> i] != 1:
                raise ValueError(f"squeeze: expected axes of size 1, but axis {i} of shape {x.shape} has size {x.shape[i]}")
    return reshape(x, [x.t.shape[i] for i in range(x.t.ndim) if i not in dropped])


def expand_dims(a, axis):
    """The array with new axes of size 1.

    Parameters
    ----------
    a : array_like
    axis : int or sequence of ints
        Places of the new axes in the result.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.expand_dims([1, 2], 0).shape
    (1, 2)
    """
    cdef Array x = as_operand(a, "expand_dims")
    cdef int count = 1
    if not PyLong_CheckExact(axis) and not isinstance(axis, Integral):
        if not isinstance(axis, (tuple, list)):
            raise TypeError(f"expand_dims: expected an int or a sequence of ints for the axis, got {type(axis).__name__}")
        count = len(axis)
    cdef int ndim = x.t.ndim + count
    if ndim > MAX_NDIM:
        raise ValueError(f"expand_dims: expected at most {MAX_NDIM} axes in the result, got {ndim}")
    return with_axes(x, axis_mask(axis, ndim, "expand_dims"), ndim) if count else alias(x)


# ---- joins

def concatenate(arrays, axis=0):
    """Arrays joined along an axis that they have.

    Parameters
    ----------
    arrays : sequence of array_like
        Of equal shapes but for the size of that axis; their dtypes are promoted.
    axis : int

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the shapes do not fit, or there is no array.

    Examples
    --------
    >>> import corgi
    >>> corgi.concatenate([[1, 2], [3]])
    Array([1, 2, 3], dtype=int64)
    """
    cdef list parts = operand_list(arrays, "concatenate")
    cdef Array first = parts[0], x, out
    cdef isize shape[8]
    cdef isize start = 0
    cdef Tensor *window
    cdef Node *n
    cdef bint track = False, fits, joined = True  # end to end in memory
    if first.t.ndim == 0:
        raise ValueError("concatenate: arrays without axes cannot be joined; use stack")
    cdef int along = axis_of(axis, first.t.ndim, "concatenate"), i
    memcpy(shape, first.t.shape, sizeof(shape))
    shape[along] = 0
    for x in parts:
        fits = x.t.ndim == first.t.ndim
        for i in range(x.t.ndim if fits else 0):
            fits = fits and (i == along or x.t.shape[i] == shape[i])
        if not fits:
            raise ValueError(f"concatenate: expected shapes that differ only on axis {along}, got "
                             + " and ".join([str(first.shape), str(x.shape)]))
        shape[along] += x.t.shape[along]
        track = track or tracked(x)
    out = wrap(tensor_new(first.t.dtype, first.t.ndim, shape))
    for i in range(along):
        joined = joined and shape[i] == 1
    for x in parts:
        if joined and x.t.contiguous and x.t.size < APPLY_LONG:
            memcpy(out.t.data + start * out.t.strides[along] * itemsize(x.t.dtype), x.t.data, x.t.size * itemsize(x.t.dtype))
            start += x.t.shape[along]
            continue
        window = tensor_view(out.t)
        if window == NULL:
            raise MemoryError("concatenate: not enough memory")
        memcpy(window.shape, x.t.shape, sizeof(shape))
        memcpy(window.strides, out.t.strides, sizeof(shape))
        window.data += start * out.t.strides[along] * itemsize(x.t.dtype)
        tensor_copy(x.t, window)
        tensor_release(window)
        start += x.t.shape[along]
    if track and first.t.dtype >= FLOAT32:
        n = node_new(concatenate_vjp, b"concatenate", len(parts), out.t)
        n.param = along
        for i, x in enumerate(parts):
            connect(n, i, x)
        set_context(n, [x.shape[along] for x in parts])
        own_node(out, n)
        if unlikely(watching):
            show_result(out, n, n.name, parts)
    return out


cdef int concatenate_vjp(Walk *w, Node *n, Array g) except -1:
    cdef isize start = 0
    cdef int i
    before = (slice(None),) * n.param
    for i, size in enumerate(<list> <object> n.context):
        if wants(w, n, i):
            send(w, n, i, getitem(g, before + (slice(start, start + size),)))
        start += size
    return 0


def stack(arrays, axis=0):
    """Arrays of one shape joined along a new axis.

    Parameters
    ----------
    arrays : sequence of array_like
    axis : int
        Place of the new axis in the result.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the shapes differ, or there is no array.

    Examples
    --------
    >>> import corgi
    >>> corgi.stack([[1, 2], [3, 4]], axis=1)
    Array([[1, 3],
           [2, 4]], dtype=int64)
    """
    cdef list parts = operand_list(arrays, "stack")
    cdef Array x
    cdef int ndim = (<Array> parts[0]).t.ndim + 1, along = axis_of(axis, ndim, "stack")
    if ndim > MAX_NDIM:
        raise ValueError(f"stack: expected at most {MAX_NDIM} axes in the result, got {ndim}")
    for x in parts:
        if not same_shape(x.t, (<Array> parts[0]).t):
            raise ValueError(f"stack: expected arrays of one shape, got {(<Array> parts[0]).shape} and {x.shape}")
    return concatenate([with_axes(x, 1 << along, ndim) for x in parts], along)


def split(a, sections, axis=0):
    """The array cut into parts along an axis: views.

    Parameters
    ----------
    a : array_like
    sections : int or sequence of ints
        A number of equal parts, or the positions at which to cut.
    axis : int

    Returns
    -------
    list of Array

    Raises
    ------
    ValueError
        If the axis does not divide into that many equal parts.

    Examples
    --------
    >>> import corgi
    >>> [part.tolist() for part in corgi.split(corgi.arange(6), [2, 3])]
    [[0, 1], [2], [3, 4, 5]]
    """
    cdef Array x = as_operand(a, "split")
    cdef int along = axis_of(axis, x.t.ndim, "split")
    size = x.shape[along]
    if isinstance(sections, Integral):
        if sections < 1 or size % sections or sections > builtin_max(size, 2 ** 20):
            raise ValueError(f"split: axis {along} of shape {x.shape} does not divide into {sections} equal parts")
        cuts = list(range(0, size + 1, size // sections)) if size else [0] * (sections + 1)
    else:
        try:
            cuts = [0] + [cut.__index__() for cut in sections] + [size]
        except (TypeError, AttributeError):
            raise TypeError(f"split: expected a number of parts or a sequence of positions, got {sections!r}") from None
    before = (slice(None),) * along
    return [getitem(x, before + (slice(start, stop),)) for start, stop in zip(cuts, cuts[1:])]


def pad(a, pad_width, value=0):
    """The array surrounded by a constant.

    Parameters
    ----------
    a : array_like
    pad_width : int, pair, or sequence of pairs
        How many elements to add before and after each axis: one number for all, one pair for all, or a pair for each axis.
    value : number

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If a width is negative or the pairs do not fit the array's axes.

    Examples
    --------
    >>> import corgi
    >>> corgi.pad([1, 2], (1, 0))
    Array([0, 1, 2], dtype=int64)
    """
    cdef Array x = as_operand(a, "pad")
    try:
        widths = np.broadcast_to(np.asarray(pad_width), (x.t.ndim, 2))
    except ValueError:
        raise ValueError(f"pad: expected a width, a pair, or {x.t.ndim} pairs for shape {x.shape}, got {pad_width!r}") from None
    if widths.dtype.kind not in "iu":
        raise TypeError(f"pad: expected ints for pad_width, got {pad_width!r}")
    if widths.size and widths.min() < 0:
        raise ValueError(f"pad: expected widths of at least 0, got {pad_width!r}")
    value = number_of(value, "pad")
    shape = tuple([x.shape[i] + int(widths[i][0]) + int(widths[i][1]) for i in range(x.t.ndim)])
    window = tuple([slice(int(widths[i][0]), int(widths[i][0]) + x.shape[i]) for i in range(x.t.ndim)])
    return placed(x, shape, window, value)
