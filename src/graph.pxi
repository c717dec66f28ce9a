# The graph: nodes, and how ops record them.
#
# Above: every op, which calls record() with its result; backward.pxi, which walks the graph.  Below: array.pxi.
#
# A node knows its inputs, never its consumers.  It lives in C, apart from the Array, so that dropping an intermediate array
# drops its values.  What a node saves are Tensors, never Arrays.
#
# Nodes count the Arrays that show them (`handles`): when the last one goes, nobody can read the gradient any more and it is
# dropped, which also breaks the cycle of a parameter whose gradient depends on the parameter.

import functools

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
    unsigned long thread
    Walk *outer         # next in the list of walks under way

cdef Node *free_nodes = NULL
cdef isize n_free_nodes = 0
cdef isize n_nodes = 0      # in memory, the free ones too
cdef isize n_leaves = 0     # nodes alive that have no inputs
cdef Node *doomed = NULL
cdef bint freeing = False
cdef Walk *walks = NULL
cdef uint64_t last_walk = 0
cdef int watching = 0       # threads that watch what is recorded, see inspect.pxi


# ---- nodes

cdef inline Node *node_new(vjp_fn vjp, const char *name, int n_inputs, const Tensor *out) except NULL:
    """A node with one reference and no inputs; its shape is that of `out`."""
    global free_nodes, n_free_nodes, n_nodes, n_leaves
    cdef Node *n = free_nodes
    if n != NULL:
        free_nodes = n.next
        n_free_nodes -= 1
    else:
        n = <Node *> malloc(sizeof(Node))
        if n == NULL:
            raise MemoryError("graph: not enough memory for a node")
        n_nodes += 1
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
    shape_copy(n.shape, out.shape, out.ndim)
    if n_inputs > 3:
        n.inputs = <Node **> malloc(n_inputs * sizeof(Node *))
        if n.inputs == NULL:
            n.n_inputs = 0
            n_leaves += 1
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
    global doomed, freeing, free_nodes, n_free_nodes, n_nodes, n_leaves
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
        if n.n_inputs > 0:
            for i in range(n.n_inputs):
                p = n.inputs[i]
                if p != NULL:
                    p.refs -= 1
                    if p.refs == 0:
                        p.next = doomed
                        doomed = p
        else:
            n_leaves -= 1
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
            n_nodes -= 1
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
    global n_leaves
    cdef Node *n
    cdef int i
    if a.node == NULL:
        n = node_new(NULL, b"leaf", 0, a.t)
        n_leaves += 1
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


cdef inline void own_node(Array out, Node *n) noexcept:
    n.handles = 1
    out.node = n
    out.tracks = True


cdef inline int publish(Array out, Node *n) except -1:
    """Make n, with its one reference, the node of the result."""
    own_node(out, n)
    if unlikely(watching):
        show_result(out, n, n.name, saved_operands(n))
    return 0


cdef inline int publish_of(Array out, Node *n, Array x0, Array x1, Array x2) except -1:
    """publish() for an op that need not save its operands, None where it has fewer."""
    own_node(out, n)
    if unlikely(watching):
        show_result(out, n, n.name, [x0, x1, x2])
    return 0


cdef Node *record(Array out, Array x, vjp_fn vjp, const char *name) except? NULL:
    """Record an op of one input; returns the node, to which the caller adds what the vjp needs, or NULL if x is untracked."""
    if not tracked(x):
        if unlikely(watching):
            show_result(out, NULL, name, [x])
        return NULL
    cdef Node *n = node_new(vjp, name, 1, out.t)
    connect(n, 0, x)
    publish_of(out, n, x, None, None)
    return n


cdef Node *record2(Array out, Array x0, Array x1, vjp_fn vjp, const char *name) except? NULL:
    """Record an op of two inputs and save both."""
    if not (tracked(x0) or tracked(x1)):
        if unlikely(watching):
            show_result(out, NULL, name, [x0, x1])
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
@cython.binding(False)
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

    def __exit__(self, kind, error, trace):
        global recording
        recording = self.previous.pop()
        return False


cdef object untracked_function(function):
    """A function that runs within no_tracking."""
    if not callable(function):
        raise TypeError(f"no_tracking: expected a function, got {type(function).__name__}")

    @functools.wraps(function)
    def untracked(*args, **kwargs):
        with no_tracking():
            return function(*args, **kwargs)
    return untracked


@cython.final
@cython.binding(False)
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

    def __exit__(self, kind, error, trace):
        global recording
        recording = self.previous.pop()
        return False

    def __call__(self, function):
        return untracked_function(function)
