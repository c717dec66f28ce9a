# The backward pass: a walk from the roots to the leaves that runs each node's vjp.
#
# Above: Array.backward, corgi/functional.py.  Below: graph.pxi; the ops whose vjps run.
#
# A vjp reads what its node saved through saved_input() and saved_output() and gives each input its share through send().
# While the pass is itself being recorded, the saved values are joined to their nodes again, so that a vjp written in terms of ops
# serves every order.  A walk keeps its state in arrays of its own; nodes only note the walk that has claimed them, so that walks
# can run inside others and on several threads.

import os
import warnings


def _forget_other_threads():
    """In a forked child, the walks of threads that it does not have are over."""
    global freeing
    cdef Walk **link = &walks
    freeing = False
    while link[0] != NULL:
        if link[0].thread == PyThread_get_thread_ident():
            link = &link[0].outer
        else:
            link[0] = link[0].outer


os.register_at_fork(after_in_child=_forget_other_threads)

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


cdef inline bint is_private(PyObject *cotangent) noexcept:
    """Whether one reference is all that knows an array, that of a slot or of the walk: it may be written to in place."""
    cdef Array g = <Array> cotangent  # another reference
    return Py_REFCNT(g) == 2 and g.node == NULL and g.t.refs == 1 and g.t.owner == NULL and g.t.contiguous


cdef inline Tensor *private_sum(Walk *w, Node *p, const Tensor *like):
    """The cotangent collected so far for node p if it may be added to in place and has the shape and dtype of `like`, else NULL.
    It stays as it is while no vjp sends."""
    cdef PyObject *total = w.grads[slot_of(w, p)]
    if total == NULL or not is_private(total):
        return NULL
    cdef Tensor *t = (<Array> total).t
    return t if t.dtype == like.dtype and same_shape(t, like) else NULL


cdef int add_gradient(PyObject **slot, Array g, bint create_graph) except -1:
    """slot += g, in place where nobody else can see the sum so far."""
    cdef Array total
    if slot[0] == NULL:
        Py_INCREF(g)
        slot[0] = <PyObject *> g
        return 0
    if not create_graph and g.t.contiguous and is_private(slot[0]):
        total = <Array> slot[0]
        kernels.accumulate[total.t.dtype](total.t.size, g.t.data, total.t.data)
        return 0
    total = <Array> slot[0]
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


cdef bint claim(Walk *w, Node *n) except -1:
    """Make n a node of this walk, to be placed; False if it is one already."""
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
            (<dict> w.elsewhere)[<size_t> n] = 0
            return True
    n.walk = w.id
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
    if not claim(w, root):
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
            if n != NULL and n.walk != w.id and claim(w, n):
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
            w.wanted[k] = 1 | TARGET if w.order[k].keeps and w.order[k].handles else 1
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
    w.thread = PyThread_get_thread_ident()
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
    cdef isize reached
    cdef bint was_recording = recording
    cdef list found, held = []
    open_walk(&w, create_graph, stop_at_targets)
    recording = create_graph
    try:
        if stop_at_targets:  # in the list from the start, they are not searched below
            for target in targets:
                n = (<Array> target).node
                if n != NULL and claim(&w, n):
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
            if (n.vjp == pointwise_vjp and (<Array> w.grads[k]).t.size > 1 and w.wanted[k] & 1
                    and not (create_graph or watching)):
                reached = chain_backward(&w, k)
                if reached:
                    k -= reached - 1
                    continue
            g = <Array> w.grads[k]
            if not w.wanted[k] & TARGET:
                Py_DECREF(g)  # `g` holds it
                w.grads[k] = NULL
            if n.vjp != NULL and w.wanted[k] & 1:
                n.vjp(&w, n, g)
                if unlikely(watching):
                    show_cotangents(&w, n, g)
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
            n = (<Array?> x).node
            if n == NULL:
                continue
            for i in range(n.n_inputs):
                if n.inputs[i] != NULL:
                    return True
            if claim(&w, n):
                place(&w, n)
        inner = w.count
        for output in outputs:
            if (<Array?> output).node != NULL:
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
    publish_of(out, n, x, None, None)
    return out


cdef int replay(Walk *w, Node *n, Array g, object reference, tuple inputs) except -1:
    """The vjp of a fused op by way of its reference, a composite of other ops: recorded, if the pass is."""
    global recording
    cdef list stops = [differentiable_alias(x) if type(x) is Array else x for x in inputs]
    cdef bint was_recording = recording
    recording = True
    try:
        output = reference(*stops)
    finally:
        recording = was_recording
    cdef int i
    cdef list targets = [i for i in range(n.n_inputs) if n.inputs[i] != NULL]
    gradients = walk_back([output], [g], [stops[i] for i in targets], w.create_graph, True)
    for i, gradient in zip(targets, gradients):
        if gradient is not None and wants(w, n, i):
            send(w, n, i, gradient)
    return 0
