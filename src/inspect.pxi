# Looking at the graph: its nodes as a list, how many there are, and observers of what is computed and differentiated.
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
    """Show an observer what this thread computes and differentiates from now on; returns the previous observer, or None.

    Parameters
    ----------
    observer : object or None
        ``observer.computed(node, name, result, operands, in_backward)`` is called with every operation that was recorded, and
        with most others: the node's identity or None, the Array, the operands that are known, and whether a backward pass
        is under way.
        ``observer.differentiated(node, name, cotangent, cotangents)`` is called in a backward pass with the cotangent of
        the node's result and the sums so far of those of its inputs, None where none is wanted. What it raises ends the
        operation or the pass. It must not keep the arrays.

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import observe
    >>> class Names:
    ...     def computed(self, node, name, result, operands, in_backward):
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
    """The operands that a node has saved, joined to their nodes; what it saves in their places that is none is left out."""
    cdef list found = []
    cdef Array x
    cdef Node *p
    cdef int i
    for i in range(n.n_inputs if n.n_inputs < SAVED_OUTPUT else SAVED_OUTPUT):
        p = n.inputs[i]
        if n.saved[i] == NULL or (p != NULL and shape_tuple(p.ndim, p.shape)
                                  != shape_tuple(n.saved[i].ndim, n.saved[i].shape)):
            continue
        x = wrap_shared(n.saved[i])
        if p != NULL:
            attach(x, p)
            x.tracks = True
        found.append(x)
    return found


cdef int show_result(Array out, Node *n, const char *name, list operands) except -1:
    """Show the result of an op with its node, NULL if it was not recorded."""
    observer = observers.get(PyThread_get_thread_ident())
    if observer is not None:
        observer.computed(None if n == NULL else <size_t> n, name.decode() if n == NULL else node_name(n), wrap_shared(out.t),
                          [x for x in operands if x is not None], bool(differentiates(NULL)))
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
    """The graph of recorded operations has grown with each of many optimizer steps: those of past steps are kept alive.

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
    const void *owner     # what an optimizer remembers, which tells it from others
    isize size, first     # recorded operations at its last step, and before they began to grow
    isize leaves          # at its last step
    int steps             # after how many steps there had been more of both

cdef Growth growths[GROWTH_SLOTS]


cdef inline int watch_growth(dict state) except -1:
    """Note a step of the optimizer that remembers `state`; warn if the graph has grown 100 times without becoming smaller.

    What a step has recorded hangs on leaves that only that step has, since parameters get new ones with new values.  Where past
    graphs are kept, as by ``total += loss``, there are more operations and more leaves at every step; longer and longer
    graphs have more operations alone, and snapshots of parameters that are kept are leaves alone.
    """
    cdef Growth *growth = &growths[(<size_t> <void *> state >> 6) % GROWTH_SLOTS]
    cdef isize size = n_nodes - n_free_nodes - n_leaves
    if size < growth.size or n_leaves < growth.leaves or growth.owner != <void *> state:
        growth.owner, growth.first, growth.steps = <void *> state, size, 0
    elif size > growth.size and n_leaves > growth.leaves:
        growth.steps += 1
    else:
        return 0
    growth.size, growth.leaves = size, n_leaves
    if growth.steps == GROWTH_STEPS:
        warn_of_growth(growth.first, size)
    return 0


cdef int warn_of_growth(isize first, isize size) except -1:
    from corgi.location import warn
    warn(f"step: the graph has grown with {GROWTH_STEPS} steps in a row, from {first} to {size} recorded operations: "
         "something keeps results of past steps, such as losses, together with their graphs; "
         "write `total += float(loss)` or `losses.append(loss.detach())`", GraphGrowthWarning)
    return 0
