# The graph: nodes, recording, and the backward pass.
#
# Above: every op, which calls record() after its forward pass and whose vjp calls send().  Below: array.pxi.
#
# A node knows its inputs, never its consumers.  It lives in C, apart from the Array, so that dropping an intermediate array
# drops its values.  What a node saves are Tensors: saved_input() and saved_output() make Arrays of them again and, while
# the backward pass is itself being recorded, join them to their nodes, so that a vjp written in terms of ops serves every order.
#
# Nodes count the Arrays that show them (`handles`): when the last one goes, nobody can read the gradient any more and it is
# dropped, which also breaks the cycle of a parameter whose gradient depends on the parameter.

import threading
import warnings

# Gives each wanted input its share of the cotangent g, through send().
ctypedef int (*vjp_fn)(Walk *w, Node *n, Array g) except -1

cdef struct Node:
    isize refs          # handles, consumers and walks
    isize handles       # Arrays that show this node
    vjp_fn vjp          # NULL: a leaf
    const char *name
    int op              # pointwise ops: the row of the table
    isize param         # structural ops: an axis or a set of axes
    int n_inputs
    Node **inputs       # NULL entries: untracked
    Node *inline_inputs[3]
    Tensor *saved[4]    # values of the inputs, then of the output
    PyObject *context   # whatever else the vjp needs
    PyObject *gradient
    bint keeps          # does a backward pass leave the gradient here?
    uint64_t walk       # the walk that has claimed this node, and the node's place in it
    size_t slot
    Node *next          # in a list of nodes to be freed
    int dtype, ndim     # of the output
    isize shape[8]

cdef enum:
    SAVED_OUTPUT = 3
    TARGET = 2          # a bit of Walk.wanted

cdef struct Walk:
    uint64_t id
    Node **order        # every node after its inputs
    PyObject **grads    # Array or NULL, for each node of `order`
    uint8_t *wanted
    size_t count, capacity
    bint create_graph, stop_at_targets
    PyObject *elsewhere  # {node address: slot} for nodes that another walk has claimed
    Walk *outer         # next in the list of walks under way

cdef Node *free_nodes = NULL
cdef isize n_free_nodes = 0
cdef Node *doomed = NULL
cdef bint freeing = False
cdef Walk *walks = NULL
cdef uint64_t last_walk = 0


# ---- nodes

cdef inline Node *node_new(vjp_fn vjp, const char *name, int n_inputs, const Tensor *out) except NULL:
    """A node with one reference and no inputs; its shape is that of `out`."""
    global free_nodes, n_free_nodes
    cdef Node *n = free_nodes
    if n != NULL:
        free_nodes = n.next
        n_free_nodes -= 1
    else:
        n = <Node *> malloc(sizeof(Node))
        if n == NULL:
            raise MemoryError("graph: not enough memory for a node")
    n.refs, n.handles = 1, 0
    n.vjp, n.name = vjp, name
    n.n_inputs = n_inputs
    n.inputs = n.inline_inputs
    n.inline_inputs[0] = n.inline_inputs[1] = n.inline_inputs[2] = NULL
    n.saved[0] = n.saved[1] = n.saved[2] = n.saved[3] = NULL
    n.context = n.gradient = NULL
    n.keeps = False
    n.walk = 0
    n.dtype, n.ndim = out.dtype, out.ndim
    memcpy(n.shape, out.shape, out.ndim * sizeof(isize))
    if n_inputs > 3:
        n.inputs = <Node **> malloc(n_inputs * sizeof(Node *))
        if n.inputs == NULL:
            n.n_inputs = 0
            n.inputs = n.inline_inputs
            node_release(n)
            raise MemoryError("graph: not enough memory for a node")
        memset(n.inputs, 0, n_inputs * sizeof(Node *))
    return n


cdef inline void node_release(Node *n) noexcept:
    global doomed
    n.refs -= 1
    if n.refs == 0:
        n.next = doomed
        doomed = n
        if not freeing:
            free_doomed()


cdef void free_doomed() noexcept:
    """Free nodes one after the other: a chain of a million must not need a deep stack."""
    global doomed, freeing, free_nodes, n_free_nodes
    cdef Node *n
    cdef Node *p
    cdef int i
    freeing = True
    while doomed != NULL:
        n = doomed
        doomed = n.next
        for i in range(4):
            if n.saved[i] != NULL:
                tensor_release(n.saved[i])
        for i in range(n.n_inputs):
            p = n.inputs[i]
            if p != NULL:
                p.refs -= 1
                if p.refs == 0:
                    p.next = doomed
                    doomed = p
        if n.inputs != n.inline_inputs:
            free(n.inputs)
        if n.context != NULL:
            Py_DECREF(<object> n.context)
        if n.gradient != NULL:
            Py_DECREF(<object> n.gradient)
        if n_free_nodes < 4096:
            n.next = free_nodes
            free_nodes = n
            n_free_nodes += 1
        else:
            free(n)
    freeing = False


cdef inline void attach(Array a, Node *n) noexcept:
    n.refs += 1
    n.handles += 1
    a.node = n


cdef inline void node_drop_handle(Node *n) noexcept:
    cdef PyObject *gradient
    n.handles -= 1
    if n.handles == 0 and n.gradient != NULL:
        gradient = n.gradient
        n.gradient = NULL
        Py_DECREF(<object> gradient)
    node_release(n)


cdef Node *leaf_node(Array a) except NULL:
    """The array's node, made if it has none; one without tracked inputs is a leaf too."""
    cdef Node *n
    cdef int i
    if a.node == NULL:
        n = node_new(NULL, b"leaf", 0, a.t)
        n.keeps = True
        attach(a, n)
        n.refs -= 1
        return n
    for i in range(a.node.n_inputs):
        if a.node.inputs[i] != NULL:
            return a.node
    a.node.keeps = True
    return a.node


# ---- recording

cdef inline bint tracked(Array a) noexcept:
    return a.tracks and recording


cdef inline void connect(Node *n, int i, Array x) noexcept:
    """Make x's node the i-th input, if x is tracked."""
    if x.tracks and x.node != NULL:
        n.inputs[i] = x.node
        x.node.refs += 1


cdef inline void save(Node *n, int i, Array x) noexcept:
    tensor_retain(x.t)
    n.saved[i] = x.t


cdef inline void publish(Array out, Node *n) noexcept:
    """Make n, with its one reference, the node of the result."""
    n.handles = 1
    out.node = n
    out.tracks = True


cdef Node *record(Array out, Array x, vjp_fn vjp, const char *name) except? NULL:
    """Record an op of one input; returns the node, to which the caller adds what the vjp needs, or NULL if x is untracked."""
    if not tracked(x):
        return NULL
    cdef Node *n = node_new(vjp, name, 1, out.t)
    connect(n, 0, x)
    publish(out, n)
    return n


cdef Node *record2(Array out, Array x0, Array x1, vjp_fn vjp, const char *name) except? NULL:
    """Record an op of two inputs and save both."""
    if not (tracked(x0) or tracked(x1)):
        return NULL
    cdef Node *n = node_new(vjp, name, 2, out.t)
    connect(n, 0, x0)
    connect(n, 1, x1)
    save(n, 0, x0)
    save(n, 1, x1)
    publish(out, n)
    return n


cdef inline void set_context(Node *n, object context):
    Py_INCREF(context)
    n.context = <PyObject *> context


@cython.final
cdef class tracking:
    """Context manager: operations of this thread are recorded inside, also within `no_tracking`. Gives the previous flag."""
    cdef list previous

    def __cinit__(self):
        self.previous = []

    def __enter__(self):
        global recording
        self.previous.append(recording)
        recording = True
        return bool(self.previous[len(self.previous) - 1])

    def __exit__(self, *exception):
        global recording
        recording = self.previous.pop()
        return False


@cython.final
cdef class no_tracking:
    """Context manager and decorator: operations of this thread are not recorded inside.

    Examples
    --------
    >>> import corgi
    >>> a = corgi.ones(2).tracked()
    >>> with corgi.no_tracking():
    ...     b = a * 2
    >>> b.is_tracked
    False
    """
    cdef list previous

    def __cinit__(self):
        self.previous = []

    def __enter__(self):
        global recording
        self.previous.append(recording)
        recording = False
        return self

    def __exit__(self, *exception):
        global recording
        recording = self.previous.pop()
        return False

    def __call__(self, function):
        import functools

        @functools.wraps(function)
        def untracked(*args, **kwargs):
            with no_tracking():
                return function(*args, **kwargs)
        return untracked


# ---- what a vjp calls

cdef inline Array saved_input(Node *n, int i):
    """The saved value of input i; while recording, joined to the input's node."""
    cdef Array a = wrap_shared(n.saved[i])
    if recording and n.inputs[i] != NULL:
        attach(a, n.inputs[i])
        a.tracks = True
    return a


cdef inline Array saved_output(Node *n):
    cdef Array a = wrap_shared(n.saved[SAVED_OUTPUT])
    if recording:
        attach(a, n)
        a.tracks = True
    return a


cdef inline size_t slot_of(Walk *w, Node *n) noexcept:
    if n.walk == w.id:
        return n.slot
    return <size_t> (<dict> w.elsewhere)[<size_t> n]


cdef inline bint wants(Walk *w, Node *n, int i) noexcept:
    return n.inputs[i] != NULL and w.wanted[slot_of(w, n.inputs[i])]


cdef int send(Walk *w, Node *n, int i, Array g) except -1:
    """Add g to the cotangent of input i, brought to the input's shape and dtype."""
    cdef Node *p = n.inputs[i]
    if g.t.dtype != p.dtype:
        g = cast(g, p.dtype)
    if g.t.ndim != p.ndim or memcmp(g.t.shape, p.shape, p.ndim * sizeof(isize)) != 0:
        g = sum_to(g, p.ndim, p.shape)
    cdef PyObject **slot = &w.grads[slot_of(w, p)]
    add_gradient(slot, g, w.create_graph)
    return 0


cdef int add_gradient(PyObject **slot, Array g, bint create_graph) except -1:
    """slot += g, in place where nobody else can see the sum so far."""
    cdef Array total
    if slot[0] == NULL:
        Py_INCREF(g)
        slot[0] = <PyObject *> g
        return 0
    total = <Array> slot[0]
    # `total` is one reference, the slot another.
    if (not create_graph and Py_REFCNT(total) == 2 and total.node == NULL and total.t.refs == 1 and total.t.owner == NULL
            and total.t.contiguous and g.t.contiguous):
        kernels.accumulate[total.t.dtype](total.t.size, g.t.data, total.t.data)
        return 0
    cdef Array result = pointwise(OP_add, total, g, None)
    if slot[0] != <PyObject *> total:  # another thread added to this gradient, or took it, meanwhile
        return add_gradient(slot, g, create_graph)
    Py_INCREF(result)
    slot[0] = <PyObject *> result
    Py_DECREF(total)
    return 0


cdef int pass_vjp(Walk *w, Node *n, Array g) except -1:
    """The vjp of ops that pass the cotangent on as it is."""
    if wants(w, n, 0):
        send(w, n, 0, g)
    return 0


# ---- the walk

cdef bint is_active(uint64_t id) noexcept:
    cdef Walk *w = walks
    while w != NULL:
        if w.id == id:
            return True
        w = w.outer
    return False


cdef bint claim(Walk *w, Node *n, size_t slot) except -1:
    """Give n a place in this walk; False if it has one already."""
    if n.walk == w.id:
        return False
    if w.outer != NULL or walks != w or w.elsewhere != NULL:
        if w.elsewhere != NULL and <size_t> n in <dict> w.elsewhere:
            return False
        if is_active(n.walk):  # an outer walk, or one of another thread, needs its own mark on the node
            if w.elsewhere == NULL:
                table = {}
                Py_INCREF(table)
                w.elsewhere = <PyObject *> table
            (<dict> w.elsewhere)[<size_t> n] = slot
            return True
    n.walk = w.id
    n.slot = slot
    return True


cdef int append(Walk *w, Node *n) except -1:
    cdef size_t capacity
    cdef void *p
    if w.count == w.capacity:
        capacity = 2 * w.capacity
        p = realloc(w.order, capacity * sizeof(Node *))
        if p == NULL:
            raise MemoryError("backward: not enough memory for the list of nodes")
        w.order = <Node **> p
        w.capacity = capacity
    w.order[w.count] = n
    w.count += 1
    return 0


cdef struct Frame:
    Node *node
    int next_input

cdef int discover(Walk *w, Node *root) except -1:
    """Append root and everything below it to the order, inputs first."""
    cdef size_t depth = 0, capacity = 64
    cdef Frame *stack
    cdef void *p
    cdef Node *n
    cdef int i
    if not claim(w, root, 0):
        return 0
    stack = <Frame *> malloc(capacity * sizeof(Frame))
    if stack == NULL:
        raise MemoryError("backward: not enough memory to walk the graph")
    try:
        stack[0].node = root
        stack[0].next_input = 0
        depth = 1
        while depth:
            n = stack[depth - 1].node
            i = stack[depth - 1].next_input
            if i == n.n_inputs:
                depth -= 1
                place(w, n)
                continue
            stack[depth - 1].next_input = i + 1
            n = n.inputs[i]
            if n != NULL and claim(w, n, 0):
                if depth == capacity:
                    capacity *= 2
                    p = realloc(stack, capacity * sizeof(Frame))
                    if p == NULL:
                        raise MemoryError("backward: not enough memory to walk the graph")
                    stack = <Frame *> p
                stack[depth].node = n
                stack[depth].next_input = 0
                depth += 1
    finally:
        free(stack)
    return 0


cdef int place(Walk *w, Node *n) except -1:
    """Append n to the order and note its slot."""
    if n.walk == w.id:
        n.slot = w.count
    else:
        (<dict> w.elsewhere)[<size_t> n] = w.count
    return append(w, n)


cdef int mark_wanted(Walk *w, list targets) except -1:
    """Which nodes need a cotangent: all, or those that lead to a target; and which cotangents are held to the end."""
    cdef size_t k
    cdef int i
    cdef Node *n
    if targets is None:
        for k in range(w.count):
            w.wanted[k] = 1 | TARGET if w.order[k].keeps else 1
        return 0
    memset(w.wanted, 0, w.count)
    for target in targets:
        n = (<Array> target).node
        if n != NULL and in_walk(w, n):
            w.wanted[slot_of(w, n)] = TARGET
    for k in range(w.count):
        n = w.order[k]
        if w.stop_at_targets and w.wanted[k]:
            continue
        for i in range(n.n_inputs):
            if wants(w, n, i):
                w.wanted[k] |= 1
                break
    return 0


cdef bint in_walk(Walk *w, Node *n):
    return n.walk == w.id or (w.elsewhere != NULL and <size_t> n in <dict> w.elsewhere)


cdef int open_walk(Walk *w, bint create_graph, bint stop_at_targets) except -1:
    """Start a walk and put it on the list of those under way."""
    global walks, last_walk
    memset(w, 0, sizeof(Walk))
    last_walk += 1
    w.id, w.create_graph, w.stop_at_targets = last_walk, create_graph, stop_at_targets
    w.capacity = 64
    w.order = <Node **> malloc(w.capacity * sizeof(Node *))
    if w.order == NULL:
        raise MemoryError("backward: not enough memory to walk the graph")
    w.outer = walks
    walks = w
    return 0


cdef int close_walk(Walk *w) except -1:
    global walks
    cdef Walk **link = &walks
    cdef size_t k
    while link[0] != w:
        link = &link[0].outer
    link[0] = w.outer
    if w.grads != NULL:
        for k in range(w.count):
            if w.grads[k] != NULL:
                Py_DECREF(<object> w.grads[k])
    free(w.order)
    free(w.grads)
    free(w.wanted)
    if w.elsewhere != NULL:
        Py_DECREF(<object> w.elsewhere)
    return 0


cdef list walk_back(list roots, list seeds, list targets, bint create_graph, bint stop_at_targets):
    """Propagate the seeds from the roots.

    Without targets, gradients are left at the nodes that keep them; with targets, they are returned (None where a target
    does not matter) and nothing else changes. With stop_at_targets, the graph below the targets is left out.
    """
    global recording
    cdef Walk w
    cdef Node *n
    cdef Array g
    cdef size_t k
    cdef bint was_recording = recording
    cdef list found, held = []
    open_walk(&w, create_graph, stop_at_targets)
    recording = create_graph
    try:
        if stop_at_targets:  # in the list from the start, they are not searched below
            for target in targets:
                n = (<Array> target).node
                if n != NULL and claim(&w, n, 0):
                    place(&w, n)
        for root in roots:
            discover(&w, (<Array> root).node)
            held.append(alias(root))  # a vjp may run Python code that gives the root's handle another node
        w.grads = <PyObject **> malloc(w.count * sizeof(PyObject *) + 1)
        w.wanted = <uint8_t *> malloc(w.count + 1)
        if w.grads == NULL or w.wanted == NULL:
            raise MemoryError("backward: not enough memory for gradients")
        memset(w.grads, 0, w.count * sizeof(PyObject *))
        mark_wanted(&w, targets)
        for root in roots if targets is None else ():
            w.wanted[slot_of(&w, (<Array> root).node)] |= TARGET
        for root, seed in zip(roots, seeds):
            add_gradient(&w.grads[slot_of(&w, (<Array> root).node)], seed, create_graph)
        found = None if targets is None else [None] * len(targets)
        k = w.count
        while k > 0:
            k -= 1
            n = w.order[k]
            if w.grads[k] == NULL or not w.wanted[k]:
                continue
            g = <Array> w.grads[k]
            if not w.wanted[k] & TARGET:
                Py_DECREF(g)  # `g` holds it
                w.grads[k] = NULL
            if n.vjp != NULL and w.wanted[k] & 1:
                n.vjp(&w, n, g)
            g = None
        if targets is None:  # only now, so that a pass that fails leaves no gradients behind
            for k in range(w.count):
                if w.grads[k] != NULL and w.order[k].handles:
                    keep_gradient(w.order[k], <Array> w.grads[k], create_graph)
        else:
            for i, target in enumerate(targets):
                n = (<Array> target).node
                if n != NULL and in_walk(&w, n) and w.grads[slot_of(&w, n)] != NULL:
                    found[i] = <object> w.grads[slot_of(&w, n)]
        return found
    finally:
        recording = was_recording
        close_walk(&w)


cdef int keep_gradient(Node *n, Array g, bint create_graph) except -1:
    if n.gradient == NULL:  # a handle of its own: others may show the same array as theirs
        if create_graph and g.node != NULL:
            g = differentiable_alias(g)  # behind a node of its own, lest the gradient count as a handle on its own array
        elif Py_REFCNT(g) > 3 or g.node != NULL:  # the walk's reference and two of the callers'
            g = wrap_shared(g.t)
    return add_gradient(&n.gradient, g, create_graph)


cdef int backward(Array root, delta, bint create_graph) except -1:
    cdef Array seed
    require_float(root, "backward")
    if delta is None:
        seed = filled(tensor_like(root.t), 1)
    else:
        seed = as_operand(delta, "backward")
        require_same_shape(root.t, seed.t, "backward", "delta")
        seed = cast(seed, root.t.dtype)
        seed = alias(seed) if create_graph else wrap_shared(seed.t)  # the caller's handle may be given other values
    if is_root_only(root):
        if create_graph:
            raise ValueError("backward: create_graph=True needs a graph, but this array was not computed from tracked arrays; "
                             "call tracked() on what you differentiate by")
        warnings.warn("backward: this array was not computed from tracked arrays, so only its own gradient is set; "
                      "call tracked() on what you differentiate by", stacklevel=2)
    leaf_node(root)
    walk_back([root], [seed], None, create_graph, False)
    return 0


cdef bint is_root_only(Array root) noexcept:
    """Whether a backward pass from here reaches nothing else, though nobody asked for the gradient of this very array."""
    cdef int i
    if root.node == NULL:
        return True
    for i in range(root.node.n_inputs):
        if root.node.inputs[i] != NULL:
            return False
    return not root.tracks


cdef int require_same_shape(const Tensor *a, const Tensor *b, str op, str name) except -1:
    if not same_shape(a, b):
        raise ValueError(f"{op}: expected {name} of shape {shape_tuple(a.ndim, a.shape)}, "
                         f"got {shape_tuple(b.ndim, b.shape)}")
    return 0


cdef int set_gradient(Array a, value) except -1:
    cdef Array g = None
    if value is not None:
        require_float(a, "gradient")
        g = as_operand(value, "gradient")
        require_same_shape(a.t, g.t, "gradient", "an array")
        g = wrap_shared(cast(g, a.t.dtype).t)
        leaf_node(a)
    if a.node == NULL:
        return 0
    cdef PyObject *old = a.node.gradient
    if g is None:
        a.node.gradient = NULL
    else:
        Py_INCREF(g)
        a.node.gradient = <PyObject *> g
    if old != NULL:
        Py_DECREF(<object> old)
    return 0


# ---- gradients as values

def vjp_of(outputs, inputs, cotangents, bint create_graph=False, bint stop=False):
    """Cotangents of `inputs` from those of `outputs`, without leaving gradients anywhere; None where nothing depends.

    The primitive of `corgi.grad`, `corgi.vjp` and their kin: lists of Arrays in, a list out. With `stop`, what the inputs were
    computed from is left out; no input may then depend on another.
    """
    cdef list roots = [], seeds = []
    cdef Array root, seed
    for output, cotangent in zip(outputs, cotangents, strict=True):
        root = <Array?> output
        require_float(root, "vjp")
        seed = as_operand(cotangent, "vjp")
        require_same_shape(root.t, seed.t, "vjp", "a cotangent")
        if root.node != NULL:
            roots.append(root)
            seeds.append(cast(seed, root.t.dtype))
    return walk_back(roots, seeds, [<Array?> x for x in inputs], create_graph, stop)


def reaches_beyond(outputs, inputs):
    """Whether differentiating outputs by inputs could itself be differentiated by something else: an input was computed from
    tracked arrays, or an output depends on a tracked array that is not among the inputs."""
    cdef Walk w
    cdef Node *n
    cdef size_t k
    cdef int i
    open_walk(&w, False, True)
    try:
        for x in inputs:
            n = (<Array> x).node
            if n == NULL:
                continue
            for i in range(n.n_inputs):
                if n.inputs[i] != NULL:
                    return True
            if claim(&w, n, 0):
                place(&w, n)
        inner = w.count
        for output in outputs:
            if (<Array> output).node != NULL:
                discover(&w, (<Array> output).node)
        for k in range(inner, w.count):
            if w.order[k].vjp == NULL:
                return True
        return False
    finally:
        close_walk(&w)


cdef Array differentiable_alias(Array x):
    """The same values behind an identity node of their own, at which replay() stops."""
    cdef Array out = wrap_shared(x.t)
    cdef Node *n = node_new(pass_vjp, b"identity", 1, x.t)
    connect(n, 0, x)
    publish(out, n)
    return out


cdef int replay(Walk *w, Node *n, Array g, object reference, tuple inputs) except -1:
    """The vjp of a fused op as a recorded computation: differentiate its reference, a composite of other ops."""
    cdef list stops = [differentiable_alias(x) if type(x) is Array else x for x in inputs]
    output = reference(*stops)
    cdef int i
    cdef list targets = [i for i in range(n.n_inputs) if n.inputs[i] != NULL]
    gradients = walk_back([output], [g], [stops[i] for i in targets], True, True)
    for i, gradient in zip(targets, gradients):
        if gradient is not None and wants(w, n, i):
            send(w, n, i, gradient)
    return 0


# ---- custom ops

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
    import functools

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
    publish(out, n)
    return out
