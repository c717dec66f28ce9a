# Dropout: random masks that are functions of a key.
#
# Above: corgi/layer/dropout.py, which draws the keys.  Below: the dropout kernels, which make the same mask for the forward and
# for every backward pass, so that none is kept.


def dropout(x, p, key):
    """Zero elements at random, each with probability p, and divide the others by 1 - p; the mask is a function of the key.

    Parameters
    ----------
    x : array_like
    p : float
        From 0 to 1.
    key : int
        From 0 to 2**64 - 1.

    Returns
    -------
    Array
        Of x's shape.

    Examples
    --------
    >>> import corgi
    >>> corgi._core.dropout([1.0, 2.0], 0.0, 7)
    Array([1., 2.], dtype=float64)
    """
    cdef double rate = PyFloat_AS_DOUBLE(p) if PyFloat_CheckExact(p) else number_of(p, "dropout")
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout: expected p from 0 to 1, got {p}")
    if not (PyLong_CheckExact(key) or isinstance(key, Integral)) or not 0 <= key < 2 ** 64:
        raise ValueError(f"dropout: expected a key from 0 to 2**64 - 1, got {key!r}")
    cdef Array a = as_float(x, "dropout")
    return a if rate == 0 else dropped(a, rate, key)


cdef Array dropped(Array x, double p, uint64_t key):
    cdef Array out, a
    cdef int dtype = x.t.dtype
    cdef uint32_t threshold = 4294967295 if p > 1 - 2.0 ** -32 else <uint32_t> (p * 4294967296.0 + 0.5)
    cdef double scale = 1 / (1 - p)
    if p == 1:
        out = filled(tensor_like(x.t), 0)
    else:
        out = wrap(tensor_like(x.t))
        x = steady(x)
        a = wrap(contiguous(x.t))
        if a.t.size < APPLY_LONG:
            kernels.dropout[dtype](a.t.size, a.t.data, out.t.data, key, threshold, scale)
        else:
            with nogil:
                kernels.dropout[dtype](a.t.size, a.t.data, out.t.data, key, threshold, scale)
    cdef Node *n = record(out, x, dropout_vjp, b"dropout")
    if n != NULL:
        set_context(n, (p, key))
    return out


cdef int dropout_vjp(Walk *w, Node *n, Array g) except -1:
    """The op is linear, with a diagonal matrix: it is its own adjoint."""
    if wants(w, n, 0):
        p, key = <tuple> <object> n.context
        send(w, n, 0, dropped(g, p, key))
    return 0
