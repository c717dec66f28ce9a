# Parameters: finding those of a layer, and optimizer steps, which give them new values in one fused kernel each.
#
# Above: corgi/layer/base.py, corgi/optimizer.  Below: the update kernels.  A parameter is a handle that gets new values; whoever
# saved the old ones (the graph, an alias, a view, NumPy) keeps them.  Memory that nobody else can see is written in place.


# ---- the parameters of a layer

def find_parameters(layer, type layer_type):
    """The tracked arrays in a layer's public attributes, and in layers, lists, tuples and dicts there, at any depth.

    Parameters
    ----------
    layer : Layer
    layer_type : type
        The base class of layers.

    Returns
    -------
    dict
        Of Array (by identity) to its first place, nested pairs (place of what holds it or None, name, position or key).

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import find_parameters
    >>> dense = corgi.layer.Dense(3, 2)
    >>> [name for place, name in find_parameters(dense, corgi.layer.Layer).values()]
    ['weight', 'bias']
    """
    cdef dict found = {}
    search(layer, None, found, set(), layer_type)
    return found


cdef int search(object holder, object place, dict found, set seen, type layer_type) except -1:
    cdef isize i
    seen.add(<size_t> <void *> holder)
    if PyObject_TypeCheck(holder, layer_type):
        for name, value in (<dict> holder.__dict__).items():
            if not (isinstance(name, str) and PyUnicode_READ_CHAR(name, 0) == u'_'):
                visit(value, place, name, found, seen, layer_type)
    elif isinstance(holder, dict):
        for name, value in holder.items():
            visit(value, place, name, found, seen, layer_type)
    else:
        for i, value in enumerate(holder):
            visit(value, place, i, found, seen, layer_type)
    return 0


cdef int visit(object value, object place, object name, dict found, set seen, type layer_type) except -1:
    if type(value) is Array:
        if (<Array> value).tracks and value not in found:
            found[value] = (place, name)
    elif (isinstance(value, list) or isinstance(value, tuple) or isinstance(value, dict)
            or PyObject_TypeCheck(value, layer_type)) and <size_t> <void *> value not in seen:
        search(value, (place, name), found, seen, layer_type)
    return 0


# ---- new values

cdef Array handle(value, str op):
    if type(value) is not Array:
        raise TypeError(f"{op}: expected an Array, got {type(value).__name__}")
    return <Array> value


cdef bint exclusive(Array a) noexcept:
    """Whether this handle alone can see the values."""
    return a.t.refs == 1 and a.t.owner == NULL and a.t.contiguous and (a.node == NULL or a.node.refs == 1)


cdef Tensor *step_target(Array parameter) except NULL:
    """Where the new values go: the old memory, or new memory. A new reference."""
    cdef Tensor *t
    if exclusive(parameter):
        t = parameter.t
        tensor_retain(t)
        return t
    t = tensor_like(parameter.t)
    if t == NULL:
        raise MemoryError("optimizer: not enough memory for a parameter")
    return t


cdef int give_values(Array parameter, Tensor *t) except -1:
    """Make t (whose reference is taken over) the parameter's values, its node a new leaf, and clear the gradient."""
    cdef Tensor *old = parameter.t
    cdef Node *node = parameter.node
    parameter.t = t
    tensor_release(old)
    if node != NULL:
        if node.refs == 1 and node.vjp == NULL:
            set_gradient(parameter, None)
        else:
            parameter.node = NULL
            node_drop_handle(node)
            leaf_node(parameter)
    return 0


cdef Array step_gradient(Array parameter, str op):
    """The parameter's gradient, contiguous and outside the graph; None if there is none."""
    require_float(parameter, op)
    if parameter.node == NULL or parameter.node.gradient == NULL:
        return None
    return wrap(contiguous((<Array> <object> parameter.node.gradient).t))


cdef int require_state(Array parameter, Array state, str op) except -1:
    if state is None or state.t.dtype != parameter.t.dtype or not same_shape(state.t, parameter.t) or not state.t.contiguous:
        raise ValueError(f"{op}: expected optimizer state of the parameter's shape {parameter.shape} and dtype {parameter.dtype}")
    return 0


def sgd_step(parameter, velocity, double learning_rate, double momentum=0, double weight_decay=0,
             bint nesterov=False, bint first=False):
    """One step of gradient descent; False, and nothing done, if the parameter has no gradient.

    Parameters
    ----------
    parameter : Array
        Gets new values; its gradient is cleared.
    velocity : Array or None
        State for momentum, updated in place: an array that nobody else uses.
    learning_rate, momentum, weight_decay : float
    nesterov : bool
    first : bool
        Whether this is the first step, which sets the velocity to the gradient.

    Returns
    -------
    bool

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import sgd_step
    >>> p = corgi.array([1.0]).tracked()
    >>> (p * p).backward()
    >>> sgd_step(p, None, 0.25), p
    (True, Array([0.5], dtype=float64, tracked))
    """
    cdef Array p = handle(parameter, "sgd_step"), g = step_gradient(p, "sgd_step"), v = None
    if g is None:
        return False
    if velocity is not None:
        v = handle(velocity, "sgd_step")
        require_state(p, v, "sgd_step")
    cdef Tensor *t = step_target(p)
    cdef Array old = wrap(contiguous(p.t))
    kernels.sgd[t.dtype](t.size, old.t.data, g.t.data, NULL if v is None else v.t.data, t.data, learning_rate, momentum,
                         weight_decay, nesterov, first)
    give_values(p, t)
    return True


def adam_step(parameter, mean, square, double learning_rate, double beta1, double beta2, double epsilon,
              double weight_decay, bint decoupled, int64_t step):
    """One step of Adam (Kingma & Ba 2015), or AdamW where `decoupled`; False if the parameter has no gradient.

    Parameters
    ----------
    parameter : Array
        Gets new values; its gradient is cleared.
    mean, square : Array
        Running averages of the gradient and its square, updated in place: arrays that nobody else uses.
    learning_rate, beta1, beta2, epsilon, weight_decay : float
    decoupled : bool
        Shrink the values by the weight decay instead of adding it to the gradient (Loshchilov & Hutter 2019).
    step : int
        1 for the first step.

    Returns
    -------
    bool

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import adam_step
    >>> p, m, v = corgi.array([1.0]).tracked(), corgi.zeros(1), corgi.zeros(1)
    >>> (p * p).backward()
    >>> adam_step(p, m, v, 0.1, 0.9, 0.999, 1e-8, 0.0, False, 1)
    True
    >>> round(p.item(), 6)
    0.9
    """
    cdef Array p = handle(parameter, "adam_step"), m = handle(mean, "adam_step"), v = handle(square, "adam_step")
    cdef Array g = step_gradient(p, "adam_step")
    if g is None:
        return False
    require_state(p, m, "adam_step")
    require_state(p, v, "adam_step")
    cdef Tensor *t = step_target(p)
    cdef Array old = wrap(contiguous(p.t))
    kernels.adam[t.dtype](t.size, old.t.data, g.t.data, m.t.data, v.t.data, t.data, learning_rate, beta1, beta2, epsilon,
                          weight_decay, decoupled, step)
    give_values(p, t)
    return True


def assign(parameter, values):
    """Give a parameter new values; who saved the old ones keeps them. Its gradient is cleared.

    Parameters
    ----------
    parameter : Array
    values : array_like
        Of the parameter's shape; converted to its dtype.

    Raises
    ------
    ValueError
        If the shapes differ; the parameter is left as it was.

    Examples
    --------
    >>> import corgi
    >>> p = corgi.zeros(2).tracked()
    >>> corgi.assign(p, [1.0, 2.0])
    >>> p
    Array([1., 2.], dtype=float64, tracked)
    """
    cdef Array p = handle(parameter, "assign"), source = as_operand(values, "assign")
    require_same_shape(p.t, source.t, "assign", "values")
    source = contiguous_copy(cast(wrap_shared(source.t), p.t.dtype))
    tensor_retain(source.t)
    give_values(p, source.t)
