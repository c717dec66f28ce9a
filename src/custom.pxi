# Custom ops: a differentiable operation from a function and its gradient.
#
# Above: users, through corgi.op.  Below: graph.pxi, backward.pxi.

class NotDifferentiable(TypeError):
    """The gradient of a custom op was to be differentiated, but is not a result of corgi's operations."""


cdef int cut_off_vjp(Walk *w, Node *n, Array g) except -1:
    raise NotDifferentiable(f"{<object> n.context}: expected backward to compute with corgi's operations, since its result is "
                            "differentiated in turn, got a gradient that does not depend on delta through them")


cdef Array cut_off(Array gradient, Array delta, name):
    """A gradient that must depend on delta but was computed elsewhere: it can be used, but not be differentiated."""
    cdef Array out = wrap_shared(gradient.t)
    cdef Node *n = node_new(cut_off_vjp, b"op", 1, out.t)
    connect(n, 0, delta)
    set_context(n, name)
    publish(out, n)
    return out


cdef int custom_vjp(Walk *w, Node *n, Array g) except -1:
    name, function, values = <tuple> <object> n.context
    cdef Array x, gradient
    cdef list arrays = []
    for i, value in enumerate(values):
        x = wrap_shared((<Array> value).t)
        if recording and n.inputs[i] != NULL:
            attach(x, n.inputs[i])
            x.tracks = True
        arrays.append(x)
    flags = tuple([n.inputs[i] != NULL for i in range(n.n_inputs)])
    result = function(tuple(arrays), flags, g)
    if type(result) is Array:
        result = (result,)
    if not isinstance(result, (tuple, list)) or len(result) != n.n_inputs:
        got = f"{len(result)} values" if isinstance(result, (tuple, list)) else type(result).__name__
        raise ValueError(f"{name}: expected backward to return {n.n_inputs} gradients (or None), one for each input, got {got}")
    for i in range(n.n_inputs):
        if result[i] is None or not wants(w, n, i):  # none for a tracked input counts as zero, one for an untracked is ignored
            continue
        gradient = as_operand(result[i], name)
        if gradient.t.ndim != n.inputs[i].ndim or memcmp(gradient.t.shape, n.inputs[i].shape, gradient.t.ndim * sizeof(isize)):
            raise ValueError(f"{name}: expected backward to return a gradient of shape "
                             f"{shape_tuple(n.inputs[i].ndim, n.inputs[i].shape)} for input {i}, got {gradient.shape}")
        if tracked(g) and not tracked(gradient) and np.any(gradient.numpy()):
            gradient = cut_off(gradient, g, name)
        send(w, n, i, gradient)
    return 0


def op(forward, backward):
    """Make a differentiable operation from a function and its gradient.

    Parameters
    ----------
    forward : callable
        ``forward(*arrays)`` returns the result, an Array (or what `array` accepts). It runs untracked.
    backward : callable
        ``backward(arrays, tracked, delta)`` gets the input arrays (a tuple), which of them are tracked (a tuple of bools) and
        the cotangent of the result; it returns a sequence with a gradient, or None, for each input. None for a tracked
        input counts as zero; a gradient for an untracked one is ignored. Written in terms of corgi's ops, it can be
        differentiated in turn.

    Returns
    -------
    callable
        A function of arrays.

    Examples
    --------
    >>> import corgi
    >>> cube = corgi.op(lambda x: x * x * x, lambda arrays, tracked, delta: [3 * arrays[0] * arrays[0] * delta])
    >>> x = corgi.array([2.0]).tracked()
    >>> cube(x).backward()
    >>> x.gradient
    Array([12.], dtype=float64)
    """
    for function in (forward, backward):
        if not callable(function):
            raise TypeError(f"op: expected two functions, got {type(function).__name__}")
    name = getattr(forward, "__name__", "op")

    @functools.wraps(forward)
    def apply_op(*arrays):
        return custom(name, forward, backward, tuple([as_operand(x, name) for x in arrays]))
    return apply_op


cdef Array custom(name, forward, backward, tuple arrays):
    global recording
    cdef bint was_recording = recording
    cdef bint track = False
    cdef Array x
    recording = False
    try:
        result = forward(*arrays)
    finally:
        recording = was_recording
    for x in arrays:
        track = track or tracked(x)
    cdef Array out = as_operand(result, name)
    if not track:
        return out
    require_float(out, name)
    out = wrap_shared(out.t)  # forward may have returned one of its inputs
    cdef Node *n = node_new(custom_vjp, b"op", len(arrays), out.t)
    for i, x in enumerate(arrays):
        connect(n, i, x)
    # The values as they are now: the handles may be given others before the backward pass.
    set_context(n, (name, backward, [wrap_shared((<Array> a).t) for a in arrays]))
    own_node(out, n)
    if unlikely(watching):
        show_result(out, n, n.name, list(arrays))
    return out
