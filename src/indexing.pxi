# Indexing: views by ints and slices, gathers by arrays, and their adjoints.
#
# Above: Array.__getitem__.  Below: array.pxi; the take kernels.  getitem and placed are each other's adjoint, as take and
# take_add are.  Indices that a view cannot express are turned into positions by NumPy, so that they mean what they mean there.


cdef Tensor *basic_view(Tensor *source, tuple index) except NULL:
    """A view by ints, slices, None and Ellipsis."""
    cdef isize start, stop, step, size
    cdef int axis = 0, to = 0, used = 0, position
    cdef Tensor *t
    for item in index:
        if item is not None and item is not Ellipsis:
            used += 1
    if used > source.ndim:
        raise IndexError(f"index: an array of shape {shape_tuple(source.ndim, source.shape)} was given {used} indices")
    t = tensor_view(source)
    if t == NULL:
        raise MemoryError("index: not enough memory")
    try:
        for position in range(len(index) + 1):
            if position == len(index) or index[position] is Ellipsis:
                # An ellipsis stands for all axes that no other item uses; so does the end.
                while axis < source.ndim - (used if position < len(index) else 0):
                    if to == MAX_NDIM:
                        raise IndexError(f"index: expected at most {MAX_NDIM} axes in the result")
                    t.shape[to] = source.shape[axis]
                    t.strides[to] = source.strides[axis]
                    to += 1
                    axis += 1
                continue
            item = index[position]
            if to == MAX_NDIM:
                raise IndexError(f"index: expected at most {MAX_NDIM} axes in the result")
            if item is None:
                t.shape[to] = 1
                t.strides[to] = 0
                to += 1
                continue
            used -= 1
            size = source.shape[axis]
            if type(item) is slice:
                try:
                    PySlice_Unpack(item, &start, &stop, &step)
                except TypeError:
                    raise TypeError(f"index: expected ints in a slice, got {item}") from None
                except ValueError as error:
                    raise ValueError(f"index: {error}, in {item}") from None
                t.shape[to] = PySlice_AdjustIndices(size, &start, &stop, step)
                t.strides[to] = source.strides[axis] * step
                if t.shape[to]:
                    t.data += start * source.strides[axis] * itemsize(source.dtype)
                to += 1
            else:
                start = position_of(item)
                if not -size <= start < size:
                    raise IndexError(f"index: {start} is out of range for axis {axis} of size {size}")
                t.data += (start + size if start < 0 else start) * source.strides[axis] * itemsize(source.dtype)
            axis += 1
        t.ndim = to
        tensor_update_contiguous(t)
    except BaseException:
        tensor_release(t)
        raise
    return t


cdef isize position_of(index) except? -1:
    try:
        return index
    except OverflowError:
        raise IndexError(f"index: {index} is out of range") from None


cdef Array row_view(Array x, isize i):
    """x[i] for an int, the commonest index: a view, or a copy of a single number, which would else keep all of x alive."""
    cdef Tensor *source = x.t
    cdef Tensor *t
    cdef int size = itemsize(source.dtype), axis
    if source.ndim == 0:
        raise IndexError("index: an array without axes was given 1 index")
    if not -source.shape[0] <= i < source.shape[0]:
        raise IndexError(f"index: {i} is out of range for axis 0 of size {source.shape[0]}")
    cdef char *data = source.data + (i if i >= 0 else i + source.shape[0]) * source.strides[0] * size
    if source.ndim == 1:
        t = tensor_new(source.dtype, 0, NULL)
        if t != NULL:
            memcpy(t.data, data, size)
        return wrap(t)
    cdef Array out = view_like(x, source.ndim - 1, &source.shape[1], &source.strides[1])
    out.t.data = data
    return out


cdef Array getitem(Array x, object index):
    cdef Array out
    cdef Node *n
    if type(index) is Array and (<Array> index).t.dtype == INT64 and x.t.ndim:
        return take_along(x, <Array> index, 0, "index")
    if PyLong_CheckExact(index):
        out = row_view(x, position_of(index))
        n = record(out, x, getitem_vjp, b"getitem")
        if n != NULL:
            set_context(n, index)
        return out
    cdef tuple items = index if type(index) is tuple else (index,)
    cdef bint ellipsis = False
    cdef list normal = []
    for item in items:
        if item is Ellipsis:
            if ellipsis:
                raise IndexError("index: expected at most one ellipsis")
            ellipsis = True
        elif PyBool_Check(item) or not (item is None or type(item) is slice or PyLong_CheckExact(item)):
            if isinstance(item, Integral) and not isinstance(item, (bool, np.bool_)):
                item = int(item)
            else:
                return gather(x, items)
        normal.append(item)
    items = tuple(normal)
    out = wrap(basic_view(x.t, items))
    if out.t.ndim == 0:
        out = contiguous_copy(out)
    n = record(out, x, getitem_vjp, b"getitem")
    if n != NULL:
        set_context(n, items)
    return out


cdef int getitem_vjp(Walk *w, Node *n, Array g) except -1:
    cdef object index = <object> n.context
    if wants(w, n, 0):
        send(w, n, 0, placed(g, shape_tuple(n.inputs[0].ndim, n.inputs[0].shape), index if type(index) is tuple else (index,), 0))
    return 0


cdef Array placed(Array g, tuple shape, tuple index, value):
    """An array of `value` whose view by `index` holds g: the adjoint of getitem where the value is 0."""
    cdef Array out = filled(new_shape(shape, g.t.dtype, "pad"), value, "pad")
    cdef Tensor *window = basic_view(out.t, index)
    tensor_copy(g.t, window)
    tensor_release(window)
    cdef Node *n = record(out, g, placed_vjp, b"pad")
    if n != NULL:
        set_context(n, index)
    return out


cdef int placed_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, getitem(g, <object> n.context))
    return 0


# ---- gathers

cdef Array gather(Array x, tuple items):
    """Indexing by arrays of ints and bools, alone or among other items, as NumPy defines it."""
    cdef list found = []
    cdef Array index
    cdef bint ints = len(items) <= x.t.ndim
    for item in items:
        if item is None or item is Ellipsis or type(item) is slice or isinstance(item, (int, np.bool_)):
            found.append(item)
            ints = False
            continue
        index = as_operand(item, "index")
        if index.t.dtype > INT64:
            if index.t.size:
                raise IndexError(f"index: expected ints, slices, None, ... or arrays of ints or bools, got {index.dtype}")
            index = cast(index, INT64)
        found.append(index)
        ints = ints and index.t.dtype == INT64
    if ints:
        return take_jointly(x, found)
    cdef int place = only_array(found)
    if place >= 0:
        index, found[place] = found[place], slice(None)
        return take_along(getitem(x, tuple(found)), index, axes_before(found, place, x.t.ndim), "index")
    return gather_mixed(x, tuple([i.numpy() if type(i) is Array else i for i in found]))


cdef int only_array(list items) except -2:
    """The place of the one array of ints, with axes, among slices, ... and None; -1 if the items are others."""
    cdef int i, place = -1
    for i, item in enumerate(items):
        if type(item) is Array and (<Array> item).t.dtype == INT64 and (<Array> item).t.ndim and place < 0:
            place = i
        elif not (item is None or item is Ellipsis or type(item) is slice):
            return -1
    return place


cdef int axes_before(list items, int place, int ndim) except -1:
    """How many axes of the result come from items before a place, where all items are slices, ... and None."""
    cdef int i, count = 0, named = 0
    for item in items:
        named += type(item) is slice
    for i in range(place):
        count += ndim - named if items[i] is Ellipsis else 1
    return count


cdef Array take_jointly(Array x, list indices):
    """x[i, j, ...] for as many arrays of ints, broadcast together, as x has axes, or fewer."""
    cdef const Tensor *operands[8]
    cdef isize shape[8]
    cdef int count = len(indices), rest = x.t.ndim - count, k
    cdef isize i, size = 1
    cdef Array index, flat = None, more
    cdef Tensor *t
    if count == 1:
        return take_along(x, <Array> indices[0], 0, "index")
    for k in range(count):
        operands[k] = (<Array> indices[k]).t
        size *= x.t.shape[k]
    try:
        index = wrap(broadcast_result(b"index", count, operands, INT64))
    except ValueError as error:
        raise IndexError(str(error)) from None
    t = index.t
    for k in range(count):
        more = <Array> indices[k]
        if not same_shape(more.t, t):
            more = broadcasted(more, t.ndim, t.shape, "index")
        more = checked_positions(more, x.t.shape[k], "index")
        if flat is None:
            flat = more
            continue
        for i in range(t.size):
            (<int64_t *> flat.t.data)[i] = (<int64_t *> flat.t.data)[i] * x.t.shape[k] + (<int64_t *> more.t.data)[i]
    if t.ndim + rest > MAX_NDIM:
        raise ValueError(f"index: expected at most {MAX_NDIM} axes in the result")
    memcpy(shape + 1, x.t.shape + count, rest * sizeof(isize))
    shape[0] = size
    x = taken(reshaped(x, rest + 1, shape), flat, 0)
    memcpy(shape, t.shape, t.ndim * sizeof(isize))
    memcpy(shape + t.ndim, x.t.shape + 1, rest * sizeof(isize))
    return x if t.ndim == 1 else reshaped(x, t.ndim + rest, shape)


cdef Array gather_mixed(Array x, tuple items):
    """What NumPy picks by its own arrays and other items: it does so from arrays of positions, which take no memory."""
    cdef int axis
    mask = items[0]
    if len(items) == 1 and isinstance(mask, np.ndarray) and mask.ndim and mask.shape == x.shape[:mask.ndim]:
        return take_along(reshape(x, (mask.size,) + x.shape[mask.ndim:]), from_numpy(np.flatnonzero(mask)), 0, "index")
    try:
        positions = np.broadcast_to(0, x.shape)[items]
        for axis in range(x.t.ndim):
            places = np.arange(x.t.shape[axis]).reshape((-1,) + (1,) * (x.t.ndim - 1 - axis))
            positions = positions * x.t.shape[axis] + np.broadcast_to(places, x.shape)[items]
    except IndexError as error:
        raise IndexError(f"index: {error}") from None
    return take_along(reshape(x, (-1,)), from_numpy(np.asarray(positions)), 0, "index")


def take(a, indices, axis=0):
    """Elements along an axis, picked by an array of indices.

    Parameters
    ----------
    a : array_like
    indices : array_like of int
        Negative ones count from the end.
    axis : int

    Returns
    -------
    Array
        Of `a`'s shape with the axis replaced by the shape of `indices`.

    Raises
    ------
    IndexError
        If an index is out of range.

    Examples
    --------
    >>> import corgi
    >>> corgi.take([[1, 2], [3, 4]], [1, 1, 0])
    Array([[3, 4],
           [3, 4],
           [1, 2]], dtype=int64)
    """
    return take_along(as_operand(a, "take"), as_operand(indices, "take"), axis, "take")


def take_along_axis(a, indices, axis=-1):
    """Elements at positions along an axis, others for each line, such as those that `argsort` and `argmax` find.

    Parameters
    ----------
    a : array_like
    indices : array_like of ints
        With as many axes as `a`; the others broadcast. Negative ones count from the end.
    axis : int or None
        None: of all elements, as one axis.

    Returns
    -------
    Array
        Of the shape of `indices`, but for axes that were broadcast. The gradient goes back to where each element came from.

    Raises
    ------
    TypeError
        If the indices are no integers.
    IndexError
        If one is out of range.
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import corgi
    >>> scores = corgi.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    >>> corgi.take_along_axis(scores, [[1], [2]])
    Array([[0.7],
           [0.2]], dtype=float64)
    """
    cdef Array x = as_operand(a, "take_along_axis"), index = as_operand(indices, "take_along_axis"), flat
    cdef isize shape[8]
    cdef isize size, outer, inner, wrong, i, j, o
    cdef int64_t *position
    if index.t.dtype != INT64:
        raise TypeError(f"take_along_axis: expected indices of integers, got {index.dtype}")
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    cdef int along = axis_of(axis, x.t.ndim, "take_along_axis"), k
    cdef bint fits = index.t.ndim == x.t.ndim
    for k in range(x.t.ndim if fits else 0):
        shape[k] = x.t.shape[k] if index.t.shape[k] == 1 else index.t.shape[k]
        fits = fits and (k == along or x.t.shape[k] == 1 or x.t.shape[k] == shape[k])
    if not fits:
        raise ValueError(f"take_along_axis: expected indices that broadcast with shape {x.shape} but for axis {along}, "
                         f"got shape {index.shape}")
    size, shape[along] = x.t.shape[along], index.t.shape[along]
    index = broadcasted(index, x.t.ndim, shape, "take_along_axis")
    flat = row_of_positions(index, -size, size, &wrong)
    if wrong < index.t.size:
        raise IndexError(f"take_along_axis: expected indices from {-size} to {size - 1}, got {flat_item(index, wrong)}")
    spans(index.t, along, &outer, &inner)
    position = <int64_t *> flat.t.data
    for o in range(outer):
        for j in range(shape[along]):
            for i in range(inner):
                position[0] = (o * size + position[0]) * inner + i
                position += 1
    shape[along] = size
    x = taken(reshape(broadcasted(x, x.t.ndim, shape, "take_along_axis"), (-1,)), flat, 0)
    return reshaped(x, index.t.ndim, index.t.shape)


cdef Array take_along(Array x, Array index, axis, str op):
    if index.t.dtype != INT64 and index.t.size:
        raise TypeError(f"{op}: expected int64 indices, got {index.dtype}")
    cdef int along = axis_of(axis, x.t.ndim, op)
    if x.t.ndim - 1 + index.t.ndim > MAX_NDIM:
        raise ValueError(f"{op}: expected at most {MAX_NDIM} axes in the result")
    flat = checked_positions(index, x.t.shape[along], op)
    cdef Array picked = taken(x, flat, along)
    if index.t.ndim == 1:
        return picked
    return reshape(picked, x.shape[:along] + index.shape + x.shape[along + 1:])


cdef Array checked_positions(Array index, isize size, str op):
    """Indices as a contiguous row of positions from 0."""
    cdef isize wrong
    cdef Array flat = row_of_positions(index, -size, size, &wrong)
    if wrong < index.t.size:
        raise IndexError(f"{op}: {flat_item(index, wrong)} is out of range for an axis of size {size}")
    return flat


cdef Array row_of_positions(Array index, isize least, isize size, isize *wrong):
    """Indices from `least` to size - 1 as a contiguous row of positions from 0, and the place of the first one outside."""
    cdef Array flat = wrap(tensor_new(INT64, 1, &index.t.size))
    cdef Tensor *source
    wrong[0] = 0
    if index.t.size:  # an empty index may have any dtype
        source = contiguous(index.t)
        wrong[0] = kernels.positions(index.t.size, <int64_t *> source.data, least, size, <int64_t *> flat.t.data)
        tensor_release(source)
    return flat


cdef object flat_item(Array index, isize i):
    return reshape(index, (-1,))[i].item()


cdef inline void spans(const Tensor *t, int axis, isize *outer, isize *inner) noexcept:
    """Products of the sizes before and after an axis."""
    cdef int i
    outer[0] = inner[0] = 1
    for i in range(t.ndim):
        if i < axis:
            outer[0] *= t.shape[i]
        elif i > axis:
            inner[0] *= t.shape[i]


cdef Array taken(Array x, Array positions, int axis):
    """x along an axis at checked positions."""
    if <double> positions.t.size * x.t.size >= APPLY_LONG:  # other threads may run meanwhile
        x = alias(x)
    cdef Array out = taken_values(x, positions, axis)
    cdef Node *n = record(out, x, taken_vjp, b"take")
    if n != NULL:
        n.param = axis
        save(n, 1, positions)
    return out


cdef Array taken_values(Array x, Array positions, int axis):
    """What taken gives, unrecorded. Other threads run while much is taken: the caller's handle may have other values then."""
    cdef isize shape[8]
    cdef isize outer, inner, k = positions.t.size
    memcpy(shape, x.t.shape, sizeof(shape))
    shape[axis] = k
    cdef Array out = wrap(tensor_new(x.t.dtype, x.t.ndim, shape))
    cdef Tensor *source = contiguous(x.t)
    spans(source, axis, &outer, &inner)
    inner *= itemsize(source.dtype)
    cdef char *data = out.t.data
    cdef int64_t *index = <int64_t *> positions.t.data
    if out.t.size >= APPLY_LONG:
        with nogil:
            kernels.take(source.data, index, data, outer, source.shape[axis], k, inner)
    else:
        kernels.take(source.data, index, data, outer, source.shape[axis], k, inner)
    tensor_release(source)
    return out


cdef int taken_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, take_added(g, wrap_shared(n.saved[1]), n.param, n.inputs[0].shape[n.param]))
    return 0


cdef Array take_added(Array g, Array positions, int axis, isize size):
    """The adjoint of taken: zeros of `size` along the axis, to which g is added at the positions."""
    cdef isize shape[8]
    cdef isize outer, inner
    memcpy(shape, g.t.shape, sizeof(shape))
    shape[axis] = size
    cdef Array out = wrap(tensor_new(g.t.dtype, g.t.ndim, shape))
    cdef Tensor *source = contiguous(g.t)
    spans(source, axis, &outer, &inner)
    kernels.take_add[g.t.dtype](source.data, <int64_t *> positions.t.data, out.t.data, outer, size, positions.t.size, inner,
                                False)
    tensor_release(source)
    cdef Node *n = record(out, g, take_added_vjp, b"take_add")
    if n != NULL:
        n.param = axis
        save(n, 1, positions)
    return out


cdef int take_added_vjp(Walk *w, Node *n, Array g) except -1:
    if wants(w, n, 0):
        send(w, n, 0, taken(g, wrap_shared(n.saved[1]), n.param))
    return 0
