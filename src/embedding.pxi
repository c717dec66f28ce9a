# Embedding: rows of a weight by number, and gradients that know which rows they have.
#
# Above: corgi/layer/embedding.py.  Below: indexing.pxi and the take kernels; update.pxi, which steps the rows.
#
# The gradient of a big weight is zero but for the rows of the batch.  For a sparse embedding it is an ordinary array all the
# same, but the weight's leaf remembers which rows were added to (TouchedRows, its node's context).  An optimizer then steps these
# rows alone and clears them again, and the next backward pass finds an array of zeros: nobody walks through the whole weight.


@cython.final
@cython.binding(False)
cdef class TouchedRows:
    """What the leaf of a sparse embedding's weight remembers; while it does, optimizers leave rows of gradient zero alone."""
    cdef Tensor *t        # the gradient's values, or NULL; holding them keeps all others from adding to them in place
    cdef list positions   # of the rows that were added to; all others are zero
    cdef bint spare       # all rows are zero, and t is no gradient

    def __init__(self, *args, **kwargs):
        raise TypeError("TouchedRows: made by sparse embeddings alone")

    def __dealloc__(self):
        if self.t != NULL:
            tensor_release(self.t)

    cdef int hold(self, Tensor *t) except -1:
        """Be about t, all zeros (or NULL: about nothing); takes over the reference."""
        if self.t != NULL:
            tensor_release(self.t)
        self.t = t
        self.positions = []
        self.spare = t != NULL
        return 0


cdef TouchedRows touched_rows(Node *n):
    """What a leaf remembers, or None."""
    return <TouchedRows> <object> n.context if n != NULL and n.vjp == NULL and n.context != NULL else None


cdef bint is_touched(TouchedRows rows, PyObject *gradient) noexcept:
    """Whether a gradient is the array that `rows` is about, and only its slot and one variable know it."""
    cdef Array g = <Array> gradient
    return g.t == rows.t and g.t.refs == 2 and not rows.spare and g.node == NULL and Py_REFCNT(g) == 2


def embedding(weight, ids, padding=-1, bint sparse=False, str name not None="embedding"):
    """Rows of a weight by their numbers.

    Parameters
    ----------
    weight : array_like
        (rows, size)
    ids : array_like of int
        From 0 to rows - 1, of any shape.
    padding : int
        A row that gets no gradient; -1 is none.
    sparse : bool
        Whether the gradient of a leaf remembers its rows, and optimizers step only rows whose gradient is not zero.
    name : str
        Whom error messages name.

    Returns
    -------
    Array
        (*ids.shape, size)

    Raises
    ------
    IndexError
        If an id is out of range.
    TypeError, ValueError
        If the ids are no ints, or the weight has not two axes.

    Examples
    --------
    >>> import corgi
    >>> corgi._core.embedding([[1.0, 2.0], [3.0, 4.0]], [1, 0, 1])
    Array([[3., 4.],
           [1., 2.],
           [3., 4.]], dtype=float64)
    """
    cdef Array table = as_float(weight, name), index = as_operand(ids, name), out
    cdef isize wrong
    if table.t.ndim != 2:
        raise ValueError(f"{name}: expected a weight (rows, size), got shape {table.shape}")
    if index.t.dtype != INT64 and index.t.size:
        raise TypeError(f"{name}: expected ids of an integer dtype, got {index.dtype}")
    if index.t.ndim >= MAX_NDIM:
        raise ValueError(f"{name}: expected ids with at most {MAX_NDIM - 1} axes, got {index.t.ndim}")
    cdef Array positions = row_of_positions(index, 0, table.t.shape[0], &wrong)
    if wrong < index.t.size:
        raise IndexError(f"{name}: expected ids from 0 to {table.t.shape[0] - 1}, got {flat_item(index, wrong)}")
    table = alias(table)  # other threads may run meanwhile
    out = taken_values(table, positions, 0)
    cdef Node *n = record(out, table, embedding_vjp, b"embedding")
    if n != NULL:
        n.param, n.op = padding, sparse
        save(n, 1, positions)
    return out if index.t.ndim == 1 else reshape(out, index.shape + (table.t.shape[1],))


cdef int embedding_vjp(Walk *w, Node *n, Array g) except -1:
    if not wants(w, n, 0):
        return 0
    cdef Node *p = n.inputs[0]
    cdef Array positions = wrap_shared(n.saved[1]), kept
    cdef isize k
    if n.param >= 0:
        kept = from_numpy(np.flatnonzero(positions.numpy() != n.param))
        if kept.t.size < positions.t.size:
            g, positions = taken(g, kept, 0), taken(positions, kept, 0)
    if not w.create_graph and n.op and p.vjp == NULL and add_rows(w, n, g, positions):
        return 0
    cdef PyObject *total = w.grads[slot_of(w, p)]
    if not w.create_graph and total != NULL and is_private(total) and (<Array> total).t.dtype == g.t.dtype:
        scatter_rows((<Array> total).t, g, positions)
    else:
        send(w, n, 0, take_added(g, positions, 0, p.shape[0]))
    return 0


cdef int scatter_rows(Tensor *to, Array g, Array positions) except -1:
    """Add the rows of g to those of `to`, which nobody else sees, in their order."""
    cdef Tensor *source = contiguous(g.t)
    kernels.take_add[to.dtype](source.data, <int64_t *> positions.t.data, to.data, 1, to.shape[0], positions.t.size,
                               to.shape[1], True)
    tensor_release(source)
    return 0


cdef bint add_rows(Walk *w, Node *n, Array g, Array positions) except -1:
    """Add rows to the cotangent of a leaf and remember them; nothing, and False, if some of the cotangent is from elsewhere."""
    cdef Node *p = n.inputs[0]
    cdef TouchedRows rows = touched_rows(p)
    cdef PyObject *total = w.grads[slot_of(w, p)]
    cdef Tensor *t
    if rows is None:
        rows = TouchedRows.__new__(TouchedRows)
        rows.hold(NULL)
        set_context(p, rows)
    if total != NULL:
        if not is_touched(rows, total):
            return False
    else:
        if not rows.spare or rows.t.refs != 1 or rows.t.dtype != p.dtype:
            t = tensor_new(p.dtype, p.ndim, p.shape)
            if t == NULL:
                raise MemoryError("embedding: not enough memory for the gradient")
            memset(t.data, 0, t.size * itemsize(t.dtype))
            rows.hold(t)
        rows.spare = False
        send(w, n, 0, wrap_shared(rows.t))
    scatter_rows(rows.t, g, positions)
    rows.positions.append(positions)
    return True
