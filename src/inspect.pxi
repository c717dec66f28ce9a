# Looking at the graph: its nodes as a list, how many there are, and observers of what is recorded and differentiated.
#
# Above: corgi/viz.py, corgi/debug.py, optimizers (a graph that grows without end).  Below: graph.pxi, backward.pxi.


def graph_nodes(Array array not None):
    """The graph that an array was computed by, every node after its inputs.

    Parameters
    ----------
    array : Array

    Returns
    -------
    list of tuples
        (identity, name, inputs, shape, dtype): identities are ints, as `node_of` gives them; the inputs are a tuple of them,
        with None for operands that are not tracked. Leaves have the name "leaf" and no inputs. The array's own node comes last;
        without one the list is empty.

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import graph_nodes
    >>> x = corgi.array([1.0, 2.0]).tracked()
    >>> [(name, len(inputs), shape) for _, name, inputs, shape, _ in graph_nodes((x * 2).sum())]
    [('leaf', 0, (2,)), ('multiply', 2, (2,)), ('sum', 1, ())]
    """
    cdef Walk w
    cdef Node *n
    cdef size_t k
    cdef int i
    cdef list found = []
    if array.node == NULL:
        return found
    open_walk(&w, False, False)
    try:
        discover(&w, array.node)
        for k in range(w.count):
            n = w.order[k]
            inputs = tuple([None if n.inputs[i] == NULL else <size_t> n.inputs[i] for i in range(n.n_inputs)])
            found.append((<size_t> n, node_name(n), inputs, shape_tuple(n.ndim, n.shape), DTYPES[n.dtype]))
        return found
    finally:
        close_walk(&w)


cdef str node_name(Node *n):
    """The op's name; custom ops have that of their function."""
    if n.vjp == custom_vjp:
        return (<tuple> <object> n.context)[0]
    return n.name.decode()


def node_of(Array array not None):
    """The identity of an array's node, an int, or None; arrays that share a node share their gradient.

    It is unique among the nodes that are alive.

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import node_of
    >>> x = corgi.ones(2).tracked()
    >>> node_of(x) == node_of(x.copy()), node_of(x.detach())
    (True, None)
    """
    return None if array.node == NULL else <size_t> array.node


def recorded_operations():
    """How many recorded operations are alive, in all graphs of the process.

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import recorded_operations
    >>> before, x = recorded_operations(), corgi.ones(2).tracked()
    >>> y = x * x + x
    >>> recorded_operations() - before
    2
    """
    return n_nodes - n_free_nodes - n_leaves


# ---- observers

cdef dict observers = {}  # by thread


def observe(observer):
    """Show an observer what this thread records and differentiates from now on; returns the previous observer, or None.

    Parameters
    ----------
    observer : object or None
        ``observer.recorded(node, name, result, operands, in_backward)`` is called with every operation that was recorded: the
        node's identity, the Array, the operands that are known, and whether a backward pass recorded it.
        ``observer.differentiated(node, name, cotangent, cotangents)`` is called in a backward pass with the cotangent of
        the node's result and the sums so far of those of its inputs, None where none is wanted. What it raises ends the
        operation or the pass. It must not keep the arrays.

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import observe
    >>> class Names:
    ...     def recorded(self, node, name, result, operands, in_backward):
    ...         print(name, result.shape)
    >>> previous = observe(Names())
    >>> y = corgi.exp(corgi.ones(2).tracked())
    exp (2,)
    >>> _ = observe(previous)
    """
    global watching
    thread = PyThread_get_thread_ident()
    previous = observers.pop(thread, None)
    if observer is not None:
        observers[thread] = observer
    watching = len(observers)
    return previous


cdef bint differentiates(Walk *w) noexcept:
    """Whether this thread has a walk under way besides w."""
    cdef Walk *other = walks
    cdef unsigned long thread = PyThread_get_thread_ident()
    while other != NULL:
        if other != w and other.thread == thread:
            return True
        other = other.outer
    return False


cdef list saved_operands(Node *n):
    """The operands that a node has saved, joined to their nodes."""
    cdef list found = []
    cdef Array x
    for i in range(n.n_inputs if n.n_inputs < SAVED_OUTPUT else SAVED_OUTPUT):
        if n.saved[i] == NULL:
            found.append(None)
            continue
        x = wrap_shared(n.saved[i])
        if n.inputs[i] != NULL:
            attach(x, n.inputs[i])
            x.tracks = True
        found.append(x)
    return found


cdef int show_result(Array out, Node *n, list operands) except -1:
    observer = observers.get(PyThread_get_thread_ident())
    if observer is not None:
        observer.recorded(<size_t> n, node_name(n), wrap_shared(out.t), [x for x in operands if x is not None],
                          bool(differentiates(NULL)))
    return 0


cdef int show_cotangents(Walk *w, Node *n, Array g) except -1:
    """Show what a vjp has sent, but not what happens inside the vjp of another node."""
    cdef int i
    cdef list sums = []
    cdef PyObject *found
    observer = observers.get(PyThread_get_thread_ident())
    if observer is None or differentiates(w):
        return 0
    for i in range(n.n_inputs):
        found = w.grads[slot_of(w, n.inputs[i])] if wants(w, n, i) else NULL
        sums.append(None if found == NULL else <object> found)
    observer.differentiated(<size_t> n, node_name(n), g, sums)
    return 0


# ---- graphs that grow without end

class GraphGrowthWarning(UserWarning):
    """The graph of recorded operations has grown with every one of many optimizer steps: past steps are kept alive.

    Examples
    --------
    >>> import corgi, warnings
    >>> p, optimizer, total = corgi.ones(1).tracked(), corgi.optimizer.GradientDescent(0.1), 0.0
    >>> with warnings.catch_warnings(record=True, action="always") as caught:
    ...     for _ in range(110):
    ...         loss = (p * p).sum()
    ...         loss.backward()
    ...         optimizer.step([p])
    ...         total += loss  # right: total += float(loss)
    >>> caught[0].category.__name__
    'GraphGrowthWarning'
    """


cdef enum:
    GROWTH_STEPS = 100
    GROWTH_SLOTS = 8

cdef struct Growth:
    const void *owner
    isize size, first  # recorded operations at the last step, and when they began to grow
    int steps          # how often in a row they have become more

cdef Growth growths[GROWTH_SLOTS]


def watch_growth(dict state not None):
    """Note a step of the optimizer that remembers `state`, and warn if the graph has grown with each of the last 100.

    A program that keeps no graph from step to step has as many recorded operations at each step, or now more and now fewer; one
    that keeps them, as ``total += loss`` does, has more at every step. Leaves do not count, so that snapshots of parameters
    may be kept.

    Examples
    --------
    >>> import corgi
    >>> corgi._core.watch_growth({})
    """
    cdef Growth *growth = &growths[(<size_t> <void *> state >> 6) % GROWTH_SLOTS]
    cdef isize size = n_nodes - n_free_nodes - n_leaves
    if growth.owner != <void *> state or size <= growth.size:
        growth.owner, growth.first, growth.steps = <void *> state, size, 0
    else:
        growth.steps += 1
        if growth.steps == GROWTH_STEPS:
            warn_of_growth(growth.first, size)
    growth.size = size


cdef int warn_of_growth(isize first, isize size) except -1:
    from corgi.location import warn
    warn(f"step: the graph has grown with each of the last {GROWTH_STEPS} steps, from {first} to {size} recorded operations, "
         "because something keeps the losses (or other results) of past steps with their graphs; "
         "write `total += float(loss)` or `losses.append(loss.detach())`", GraphGrowthWarning)
    return 0
