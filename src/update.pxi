# Optimizer steps: new values for parameters from their gradients, one fused kernel each.
#
# Above: corgi/optimizer.  Below: the update kernels, which come from the table of rules in kernels/update.h.  A parameter is a
# handle that gets new values; whoever saved the old ones (the graph, an alias, a view, NumPy) keeps them.  Memory that nobody
# else can see is written in place.


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


cdef Array own_state(Array parameter, dict memory, str name, str op):
    """The array `name` of what an optimizer remembers of a parameter: zeros if it is new, a copy if others see it too."""
    cdef Array state = memory.get(name)
    if state is None:
        memory[name] = state = wrap(tensor_like(parameter.t))
        memset(state.t.data, 0, state.t.size * itemsize(state.t.dtype))
    elif state.t.dtype != parameter.t.dtype or not same_shape(state.t, parameter.t):
        raise ValueError(f"{op}: expected state {name!r} of the parameter's shape {parameter.shape} and dtype {parameter.dtype}, "
                         f"got {state.shape} and {state.dtype}")
    elif not exclusive(state):
        memory[name] = state = contiguous_copy(state)
    return state


@cython.final
@cython.binding(False)
cdef class UpdateRule:
    """A rule of the table in kernels/update.h, with the settings that it uses for some parameters.

    Parameters
    ----------
    op : str
        Whom error messages name.
    name : str
        A row of the table.
    settings : dict
        Numbers by name; missing ones are 0, and those that the kernels do not know are left out.
    """
    cdef Update u
    cdef str op
    cdef readonly tuple states  # the names of the arrays that the rule keeps

    def __init__(self, str op not None, str name not None, dict settings not None):
        cdef int row
        for row in range(N_UPDATE_RULES):
            if update_rules[row].name.decode() == name:
                break
        else:
            raise ValueError(f"UpdateRule: expected a rule of the table, got {name!r}")
        self.op = op
        self.states = tuple(update_rules[row].states.decode().split())
        self.u.rule = row
        self.u.rate = settings.get("learning_rate", 0)
        self.u.weight_decay = settings.get("weight_decay", 0)
        self.u.decoupled = settings.get("decoupled", False)
        self.u.momentum = settings.get("momentum", 0)
        self.u.beta1 = settings.get("beta1", 0)
        self.u.beta2 = settings.get("beta2", 0)
        self.u.rho = settings.get("rho", 0)
        self.u.epsilon = settings.get("epsilon", 0)
        self.u.initial = settings.get("initial", 0)


cdef int run_rule(Update *u, Array p, Array g) except -1:
    """Give p what the rule makes of it and of g, an array of its shape and dtype."""
    cdef Array value = p if p.t.contiguous else wrap(contiguous(p.t))
    g = wrap(contiguous(g.t))
    cdef Tensor *t = step_target(p)
    u.n, u.p, u.g, u.out = t.size, value.t.data, g.t.data, t.data
    kernels.update[t.dtype](u)
    give_values(p, t)
    return 0


cdef int run_rows(Update *u, Array p, TouchedRows rows) except -1:
    """run_rule for the weight of a sparse embedding: rows of gradient zero stay as they are. Where the gradient is the array that
    `rows` is about, the others are known, and are cleared for the next."""
    cdef bint known = is_touched(rows, p.node.gradient)
    cdef Array g = <Array> <object> p.node.gradient, positions
    cdef isize width = p.t.shape[1]
    cdef Array value = p if p.t.refs == 1 and p.t.owner == NULL and p.t.contiguous else contiguous_copy(p)
    cdef Tensor *t = value.t
    tensor_retain(t)
    if not known:
        g = wrap(contiguous(g.t))
    u.p, u.g, u.out = t.data, g.t.data, t.data
    if known:
        for positions in rows.positions:
            kernels.update_rows[t.dtype](u, positions.t.size, width, <int64_t *> positions.t.data, True)
    else:
        kernels.update_rows[t.dtype](u, t.shape[0], width, NULL, False)
    g = None
    give_values(p, t)
    if known:
        rows.positions, rows.spare = [], True
    elif not rows.spare:
        rows.hold(NULL)
    if touched_rows(p.node) is None:
        set_context(p.node, rows)
    return 0


cdef int give_step(Array p, UpdateRule rule, dict state, double factor) except -1:
    """One step of one parameter. All that can fail comes before anything changes."""
    cdef Update u = rule.u
    cdef dict memory = None
    cdef TouchedRows rows = touched_rows(p.node)
    cdef int i
    u.rate *= factor
    if rule.states:
        memory = state.get(p)
        if memory is None:
            memory = {"steps": 0}
        u.step = <int64_t> memory["steps"] + 1
        u.correction1, u.correction2 = 1 - u.beta1 ** <double> u.step, 1 - u.beta2 ** <double> u.step
        for i in range(len(rule.states)):
            u.state[i] = own_state(p, memory, <str> rule.states[i], rule.op).t.data
    if rows is None:
        run_rule(&u, p, <Array> <object> p.node.gradient)
    else:
        run_rows(&u, p, rows)
    if memory is not None:
        memory["steps"] = u.step
        state[p] = memory
    return 0


def optimizer_step(list parameters not None, dict rules not None, dict state not None, double factor=1):
    """One step of an optimizer; parameters without a gradient are left alone.

    Parameters
    ----------
    parameters : list of Arrays
        Get new values; their gradients are cleared.
    rules : dict
        The UpdateRule of each parameter that has one of its own, and under None that of all others.
    state : dict
        What the optimizer remembers: for each parameter a dict of the rule's arrays, which are zeros at first, and "steps".
    factor : float
        Multiplies the learning rate of every rule.

    Raises
    ------
    TypeError
        If a parameter is not a float Array; then nothing has changed.

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import UpdateRule, optimizer_step
    >>> p, state = corgi.array([1.0]).tracked(), {}
    >>> (p * p).backward()
    >>> rule = UpdateRule("example", "momentum", {"learning_rate": 0.25, "momentum": 0.9})
    >>> optimizer_step([p], {None: rule}, state)
    >>> p, state[p]
    (Array([0.5], dtype=float64, tracked), {'steps': 1, 'velocity': Array([2.], dtype=float64)})
    """
    cdef UpdateRule common = rules.get(None), rule
    cdef Array p
    if common is None:
        raise ValueError("optimizer_step: expected a rule under None")
    watch_growth(state)
    for parameter in parameters:
        require_float(handle(parameter, common.op), common.op)
    for parameter in parameters:
        p = handle(parameter, common.op)
        if p.node != NULL and p.node.gradient != NULL:
            rule = common if len(rules) == 1 else rules.get(p, common)
            give_step(p, rule, state, factor)


def average_step(list averages not None, list parameters not None, double rate):
    """Move averages towards the values of parameters of the same shapes and dtypes: ``average += rate * (value - average)``.

    Examples
    --------
    >>> import corgi
    >>> average = corgi.zeros(2)
    >>> corgi._core.average_step([average], [corgi.array([1.0, 2.0])], 0.25)
    >>> average
    Array([0.25, 0.5 ], dtype=float64)
    """
    cdef Update u
    cdef Array average, value
    memset(&u, 0, sizeof(u))
    u.rule, u.rate = UPDATE_average, rate
    for target, parameter in zip(averages, parameters, strict=True):
        average, value = require_twins(target, parameter, "average_step")
        run_rule(&u, average, value)


def exchange(first, second):
    """Exchange the values of two arrays of one shape and dtype, together with their gradients and places in the graph.

    Examples
    --------
    >>> import corgi
    >>> a, b = corgi.array([1.0]), corgi.array([2.0])
    >>> corgi._core.exchange(a, b)
    >>> a, b
    (Array([2.], dtype=float64), Array([1.], dtype=float64))
    """
    cdef Array a, b
    a, b = require_twins(first, second, "exchange")
    a.t, b.t = b.t, a.t
    a.node, b.node = b.node, a.node
    if a.tracks:
        leaf_node(a)
    if b.tracks:
        leaf_node(b)


cdef tuple require_twins(first, second, str op):
    cdef Array a = handle(first, op), b = handle(second, op)
    require_float(a, op)
    require_same_shape(a.t, b.t, op, "arrays")
    if a.t.dtype != b.t.dtype:
        raise TypeError(f"{op}: expected arrays of dtype {a.dtype}, got {b.dtype}")
    return a, b


cdef list with_gradients(list parameters, str op):
    """Those of the parameters that have a gradient, each once."""
    cdef dict found = {}
    cdef Array p
    for parameter in parameters:
        p = handle(parameter, op)
        require_float(p, op)
        if p.node != NULL and p.node.gradient != NULL:
            found[p] = None
    return list(found)


def gradient_squares(list parameters not None, str op not None, double scale=1):
    """The sum of ``(scale * g)**2`` over all elements g of the gradients of parameters, in double precision.

    Examples
    --------
    >>> import corgi
    >>> p = corgi.zeros(2).tracked()
    >>> p.gradient = [3.0, 4.0]
    >>> corgi._core.gradient_squares([p], "example")
    25.0
    """
    cdef double total = 0
    cdef Array p, g
    for p in with_gradients(parameters, op):
        g = wrap(contiguous((<Array> <object> p.node.gradient).t))
        total += kernels.sum_squares[g.t.dtype](g.t.size, g.t.data, scale)
    return total


def multiply_gradients(list parameters not None, str op not None, double factor):
    """Multiply the gradients of parameters by a number, outside the graph; all new ones are there before the first is given.

    Examples
    --------
    >>> import corgi
    >>> p = corgi.zeros(2).tracked()
    >>> p.gradient = [3.0, 4.0]
    >>> corgi._core.multiply_gradients([p], "example", 2.0)
    >>> p.gradient
    Array([6., 8.], dtype=float64)
    """
    cdef list found = with_gradients(parameters, op), products = []
    cdef Array p, g
    for p in found:
        g = wrap_shared((<Array> <object> p.node.gradient).t)
        products.append(pointwise(OP_multiply, g, scalar(factor, g.t.dtype), None))
    for p, g in zip(found, products):
        set_gradient(p, g)


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
