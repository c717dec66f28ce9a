# Recurrent layers: all steps in time of one layer in one direction are one operation.
#
# Above: users, corgi/layer/recurrent.py.  Below: runtime/recurrent.c, which goes through time.
#
# Outside, series are (batch, steps, features). Inside, time comes first, so that a step's rows lie together: what comes out is a
# view that turns the axes around, and the next recurrent layer turns it back at no cost.

cdef enum:  # the inputs of the operation
    X, WEIGHT_IH, WEIGHT_HH, BIAS_IH, BIAS_HH, HIDDEN, CELL, N_OPERANDS


@cython.internal
@cython.auto_pickle(False)
cdef class Unrolled:
    """What the way back through time needs."""
    cdef int kind
    cdef bint reverse
    cdef Tensor *operands[7]  # NULL: not given
    cdef Tensor *gates        # NULL for RNN, whose gates are its states, and where there is no way back
    cdef Tensor *cells        # of LSTM
    cdef Array lengths        # contiguous int64, or None

    def __dealloc__(self):
        cdef int i
        for i in range(N_OPERANDS):
            if self.operands[i] != NULL:
                tensor_release(self.operands[i])
        if self.gates != NULL:
            tensor_release(self.gates)
        if self.cells != NULL:
            tensor_release(self.cells)


cdef Tensor *new_tensor(int dtype, isize first, isize second, isize third) except NULL:
    cdef isize shape[3]
    shape[:] = [first, second, third]
    cdef Tensor *t = tensor_new(dtype, 3, shape)
    if t == NULL:
        raise MemoryError("array: not enough memory for the result")
    return t


cdef Recurrence recurrence_of(Unrolled run) noexcept:
    """The problem in C, without the arrays that it writes."""
    cdef Recurrence r
    cdef Tensor **t = run.operands
    memset(&r, 0, sizeof(r))
    r.cell, r.dtype, r.reverse = run.kind, t[X].dtype, run.reverse
    r.steps, r.batch, r.inputs, r.hidden = t[X].shape[0], t[X].shape[1], t[X].shape[2], t[WEIGHT_HH].shape[1]
    if run.lengths is not None:
        r.lengths = <const int64_t *> run.lengths.t.data
    r.x, r.weight_ih, r.weight_hh = t[X].data, t[WEIGHT_IH].data, t[WEIGHT_HH].data
    r.bias_ih = NULL if t[BIAS_IH] == NULL else t[BIAS_IH].data
    r.bias_hh = NULL if t[BIAS_HH] == NULL else t[BIAS_HH].data
    r.h0 = NULL if t[HIDDEN] == NULL else t[HIDDEN].data
    r.c0 = NULL if t[CELL] == NULL else t[CELL].data
    r.gates = NULL if run.gates == NULL else run.gates.data
    r.c = NULL if run.cells == NULL else run.cells.data
    return r


cdef Array unroll(int kind, list operands, Array lengths, bint reverse):
    """The states after each of at least one step, (steps, batch, hidden); LSTM: and as a last entry the cells after all steps.

    Operands are Arrays of fitting shapes and one dtype, or None: x (steps, batch, inputs), weights, biases, first state. Rows
    keep their state from their lengths on.
    """
    cdef Unrolled run = Unrolled.__new__(Unrolled)
    cdef Array a
    cdef bint tracks = False
    cdef int i
    operands = [None if a is None else alias(a) for a in operands]  # other threads run meanwhile
    for i in range(N_OPERANDS):
        a = operands[i]
        if a is not None:
            run.operands[i] = contiguous(a.t)
            tracks = tracks or a.tracks
    run.kind, run.reverse, run.lengths = kind, reverse, lengths
    cdef Recurrence r = recurrence_of(run)
    cdef Array out = wrap(new_tensor(r.dtype, r.steps + (kind == LSTM), r.batch, r.hidden))
    tracks = tracks and recording
    if tracks and gate_places(kind) > 1:
        run.gates = new_tensor(r.dtype, r.steps, r.batch, gate_places(kind) * r.hidden)
        r.gates = run.gates.data
    if kind == LSTM:
        run.cells = new_tensor(r.dtype, r.steps, r.batch, r.hidden)
        r.c = run.cells.data
    r.h = out.t.data
    cdef isize bytes = recurrent_space(&r), state = r.batch * r.hidden * itemsize(r.dtype)
    cdef Array space = wrap(tensor_new(BOOL, 1, &bytes))
    with nogil:
        recurrent_forward(&r, space.t.data)
        if kind == LSTM:
            memcpy(out.t.data + r.steps * state, <char *> r.c + (0 if reverse else (r.steps - 1) * state), state)
    cdef const char *name = (b"rnn", b"rnn", b"lstm", b"gru")[kind]
    if not tracks:
        if unlikely(watching):
            show_result(out, NULL, name, operands)
        return out
    cdef Node *n = node_new(unroll_vjp, name, N_OPERANDS, out.t)
    for i in range(N_OPERANDS):
        a = operands[i]
        if a is not None:
            connect(n, i, a)
    save(n, SAVED_OUTPUT, out)
    set_context(n, run)
    publish(out, n)
    return out


cdef Array joined_operand(Node *n, Unrolled run, int i):
    """An operand, joined to its node again; None if it was not given."""
    if run.operands[i] == NULL:
        return None
    cdef Array a = wrap_shared(run.operands[i])
    if n.inputs[i] != NULL:
        attach(a, n.inputs[i])
        a.tracks = True
    return a


cdef int unroll_vjp(Walk *w, Node *n, Array g) except -1:
    cdef Unrolled run = <Unrolled> <object> n.context
    cdef Recurrence r = recurrence_of(run)
    cdef int kind = run.kind, i
    if w.create_graph:
        inputs = tuple([joined_operand(n, run, i) for i in range(N_OPERANDS)])
        lengths = None if run.lengths is None else run.lengths.numpy()
        return replay(w, n, g, _unroll_reference, inputs + (kind, lengths, run.reverse))
    cdef isize places = gate_places(kind) * r.hidden, state = r.batch * r.hidden
    cdef isize bytes = recurrent_space(&r)
    cdef Array cotangent = wrap(contiguous(g.t)), space = wrap(tensor_new(BOOL, 1, &bytes))
    cdef Array dx = None, dih = None, dhh = None, db = None, dh = wrap(new_tensor(r.dtype, 1, r.batch, r.hidden)), dc = None
    if wants(w, n, X):
        dx = wrap(tensor_like(run.operands[X]))
    if wants(w, n, WEIGHT_IH):
        dih = wrap(tensor_like(run.operands[WEIGHT_IH]))
    if wants(w, n, WEIGHT_HH):
        dhh = wrap(tensor_like(run.operands[WEIGHT_HH]))
    if wants(w, n, BIAS_IH) or wants(w, n, BIAS_HH):
        db = wrap(tensor_new(r.dtype, 1, &places))
    if kind == LSTM:
        dc = wrap(new_tensor(r.dtype, 1, r.batch, r.hidden))
        r.dc, r.dc_last = dc.t.data, cotangent.t.data + r.steps * state * itemsize(r.dtype)
    r.h, r.g, r.dh = n.saved[SAVED_OUTPUT].data, cotangent.t.data, dh.t.data
    r.dx = NULL if dx is None else dx.t.data
    r.dweight_ih = NULL if dih is None else dih.t.data
    r.dweight_hh = NULL if dhh is None else dhh.t.data
    r.dbias = NULL if db is None else db.t.data
    with nogil:
        recurrent_backward(&r, space.t.data)
    if dx is not None:
        send(w, n, X, dx)
    if dih is not None:
        send(w, n, WEIGHT_IH, dih)
    if dhh is not None:
        send(w, n, WEIGHT_HH, dhh)
    if wants(w, n, BIAS_IH):
        send(w, n, BIAS_IH, concatenate([db[r.hidden:3 * r.hidden], db[:r.hidden]]) if kind == GRU else db)
    if wants(w, n, BIAS_HH):
        send(w, n, BIAS_HH, db[r.hidden:] if kind == GRU else db)
    if wants(w, n, HIDDEN):
        send(w, n, HIDDEN, dh[0])
    if wants(w, n, CELL):
        send(w, n, CELL, dc[0])
    return 0


cdef Array gate(Array z, isize i, isize hidden):
    """Columns of the gate number i."""
    return getitem(z, (Ellipsis, slice(i * hidden, (i + 1) * hidden)))


cdef Array sigmoid_gate(Array z):
    return pointwise(OP_sigmoid, z, None, None)


cdef Array tanh_gate(Array z):
    return pointwise(OP_tanh, z, None, None)


def _unroll_reference(Array x not None, weight_ih, Array weight_hh not None, bias_ih, bias_hh, Array h, Array c, int kind,
                      lengths, bint reverse):
    """What `unroll` computes, in terms of other ops; lengths as a NumPy array."""
    if x.t.ndim != 3 or weight_hh.t.ndim != 2:
        raise ValueError(f"unroll: expected x (steps, batch, inputs) and a weight_hh, got {x.shape} and {weight_hh.shape}")
    cdef isize steps = x.t.shape[0], batch = x.t.shape[1], n = weight_hh.t.shape[1], k, t
    cdef list states = [None] * steps
    cdef Array products = dense(x, weight_ih, bias_ih), first = zeros((batch, n), x.dtype), a, b, new_h, new_c
    h, c = first if h is None else h, first if c is None else c
    for k in range(steps):
        t = steps - 1 - k if reverse else k
        a, b, new_c = getitem(products, t), dense(h, weight_hh, bias_hh), c
        if kind == LSTM:
            a = a + b
            new_c = sigmoid_gate(gate(a, 1, n)) * c + sigmoid_gate(gate(a, 0, n)) * tanh_gate(gate(a, 2, n))
            new_h = sigmoid_gate(gate(a, 3, n)) * tanh_gate(new_c)
        elif kind == GRU:
            fresh = tanh_gate(gate(a, 2, n) + sigmoid_gate(gate(a, 0, n) + gate(b, 0, n)) * gate(b, 2, n))
            new_h = fresh + sigmoid_gate(gate(a, 1, n) + gate(b, 1, n)) * (h - fresh)
        else:
            new_h = pointwise(OP_relu if kind == RNN_RELU else OP_tanh, a + b, None, None)
        if lengths is not None:
            alive = (t < lengths)[:, None]
            new_h, new_c = where(alive, new_h, h), where(alive, new_c, c)
        states[t] = h = new_h
        c = new_c
    if kind == LSTM:
        states.append(c)
    return stack(states)


# ---- checked, batch first

cdef int require_operand(list operands, int i, str op, str name, isize first, isize second) except -1:
    """The operand, if given, has the shape (first, second), or (first,) where second is negative."""
    cdef Array a = operands[i]
    cdef int ndim = 1 if second < 0 else 2
    cdef isize[2] shape = [first, second]
    if a is not None and (a.t.ndim != ndim or a.t.shape[0] != first or (ndim == 2 and a.t.shape[1] != second)):
        raise ValueError(f"{op}: expected {name} of shape {shape_tuple(ndim, shape)}, got {a.shape}")
    return 0


cdef list recurrent_operands(list values, str op):
    """Arrays of one float dtype; None where something optional is not given."""
    cdef list operands = [None] * N_OPERANDS
    cdef Array a
    cdef int dtype = FLOAT32, i
    for i in range(N_OPERANDS):
        if values[i] is not None or i <= WEIGHT_HH:
            a = as_float(values[i], op)
            dtype = promoted(dtype, a.t.dtype)
            operands[i] = a
    for i in range(N_OPERANDS):
        if operands[i] is not None:
            operands[i] = cast(operands[i], dtype)
    return operands


cdef Array state_or_zeros(Array state, isize batch, isize hidden, int dtype):
    return zeros((batch, hidden), DTYPES[dtype]) if state is None else state


cdef Array row_lengths(lengths, isize batch, isize steps, str op):
    """Lengths of the rows as contiguous int64, checked."""
    cdef Array a = as_operand(lengths, op)
    cdef isize i
    if a.t.dtype != INT64:
        raise TypeError(f"{op}: expected ints for lengths, got {a.dtype}")
    if a.t.ndim != 1 or a.t.shape[0] != batch:
        raise ValueError(f"{op}: expected lengths of shape ({batch},), one for each row of the batch, got {a.shape}")
    a = contiguous_copy(a)
    for i in range(batch):
        if not 0 <= (<int64_t *> a.t.data)[i] <= steps:
            raise ValueError(f"{op}: expected lengths from 0 to {steps}, the steps, got {(<int64_t *> a.t.data)[i]}")
    return a


cdef Array steps_left(Array lengths, isize steps):
    """(steps, batch, 1): whether a row still goes on."""
    cdef isize batch = lengths.t.shape[0], t, i
    cdef Array mask = wrap(new_tensor(BOOL, steps, batch, 1))
    for t in range(steps if batch else 0):
        for i in range(batch):
            (<uint8_t *> mask.t.data)[t * batch + i] = t < (<int64_t *> lengths.t.data)[i]
    return mask


cdef tuple recurrent(str op, int kind, x, weight_ih, weight_hh, bias_ih, bias_hh, hidden, cell, lengths, bint reverse):
    """Outputs (batch, steps, hidden), last state, last cells (batch, hidden); without the first axis for a single series."""
    cdef list operands = recurrent_operands([x, weight_ih, weight_hh, bias_ih, bias_hh, hidden, cell], op)
    cdef Array series = operands[X], weight = operands[WEIGHT_HH], output, last, cells = None, mask = None, rows = None
    cdef bint single = series.t.ndim == 2
    cdef int i
    if single:
        for i in range(N_OPERANDS):
            if (i == X or i >= HIDDEN) and operands[i] is not None:
                operands[i] = getitem(operands[i], None)
        series = operands[X]
    if series.t.ndim != 3:
        raise ValueError(f"{op}: expected series (batch, steps, inputs) or one series (steps, inputs), got shape {series.shape}")
    cdef isize batch = series.t.shape[0], steps = series.t.shape[1], gates = gate_count(kind)
    if weight.t.ndim != 2 or weight.t.shape[0] != gates * weight.t.shape[1]:
        raise ValueError(f"{op}: expected weight_hh of shape ({gates} * hidden, hidden), got {weight.shape}")
    cdef isize size = weight.t.shape[1]
    require_operand(operands, WEIGHT_IH, op, "weight_ih", gates * size, series.t.shape[2])
    require_operand(operands, BIAS_IH, op, "bias_ih", gates * size, -1)
    require_operand(operands, BIAS_HH, op, "bias_hh", gates * size, -1)
    require_operand(operands, HIDDEN, op, "a state", batch, size)
    require_operand(operands, CELL, op, "cells", batch, size)
    series = permuted(series, [1, 0, 2])
    if lengths is not None:
        rows = row_lengths(lengths, batch, steps, op)
        mask = steps_left(rows, steps)
        series = where(mask, series, 0.0)  # lest a NaN that nobody looks at gets into the gradients of the weights
    if steps:
        operands[X] = series
        output = unroll(kind, operands, rows, reverse)
        last = getitem(output, 0 if reverse else steps - 1)
        if kind == LSTM:
            cells = getitem(output, steps)
            output = getitem(output, slice(steps))
        if mask is not None:
            output = where(mask, output, 0.0)
    else:
        output = wrap(new_tensor(series.t.dtype, 0, batch, size))
        last = state_or_zeros(operands[HIDDEN], batch, size, series.t.dtype)
        cells = state_or_zeros(operands[CELL], batch, size, series.t.dtype)
    output = permuted(output, [1, 0, 2])
    if single:
        output, last, cells = getitem(output, 0), getitem(last, 0), None if cells is None else getitem(cells, 0)
    return output, last, cells


def rnn(x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, state=None, activation="tanh", *, lengths=None, bint reverse=False):
    """A simple recurrent layer (Elman, 1990): ``h = activation(x[t] @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh)``.

    All steps are one operation.

    Parameters
    ----------
    x : array_like
        (batch, steps, inputs), or one series (steps, inputs).
    weight_ih, weight_hh : array_like
        (hidden, inputs) and (hidden, hidden).
    bias_ih, bias_hh : array_like, optional
        (hidden,)
    state : array_like, optional
        The first h, (batch, hidden), or (hidden,) for one series; zeros by default.
    activation : {"tanh", "relu"} or one of these functions
    lengths : array_like of ints, optional
        (batch,): the steps that count in each row; 0 to `steps`. Outputs beyond are 0, and so are gradients.
    reverse : bool
        Whether to go from the last step, of each row, to the first.

    Returns
    -------
    output : Array
        h after each step, (batch, steps, hidden), or (steps, hidden).
    state : Array
        h after the last step, of each row, (batch, hidden), or (hidden,).

    Raises
    ------
    ValueError
        If the shapes do not fit, a length is not from 0 to `steps`, or the activation is not one of the two.

    Examples
    --------
    >>> import corgi
    >>> output, state = corgi.rnn([[1.0], [2.0], [3.0]], [[1.0]], [[0.5]], activation="relu")
    >>> output
    Array([[1.  ],
           [2.5 ],
           [4.25]], dtype=float64)
    >>> state
    Array([4.25], dtype=float64)
    """
    cdef int code = activation_code(activation, "rnn")
    if code != ACTIVATIONS["relu"] and code != ACTIVATIONS["tanh"]:
        raise ValueError(f"rnn: expected activation 'tanh' or 'relu', got {activation!r}")
    kind = RNN_RELU if code == ACTIVATIONS["relu"] else RNN_TANH
    return recurrent("rnn", kind, x, weight_ih, weight_hh, bias_ih, bias_hh, state, None, lengths, reverse)[:2]


def lstm(x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, state=None, *, lengths=None, bint reverse=False):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000).

    With ``z = x[t] @ weight_ih.T + bias_ih + h @ weight_hh.T + bias_hh`` in four parts for i, f, g and o:
    ``c = sigmoid(f) * c + sigmoid(i) * tanh(g)``, ``h = sigmoid(o) * tanh(c)``. All steps are one operation.

    Parameters
    ----------
    x : array_like
        (batch, steps, inputs), or one series (steps, inputs).
    weight_ih, weight_hh : array_like
        (4 * hidden, inputs) and (4 * hidden, hidden): input gate, forget gate, new cell, output gate, as in PyTorch.
    bias_ih, bias_hh : array_like, optional
        (4 * hidden,)
    state : pair of array_like, optional
        The first h and c, each (batch, hidden), or (hidden,) for one series; zeros by default.
    lengths : array_like of ints, optional
        (batch,): the steps that count in each row; 0 to `steps`. Outputs beyond are 0, and so are gradients.
    reverse : bool
        Whether to go from the last step, of each row, to the first.

    Returns
    -------
    output : Array
        h after each step, (batch, steps, hidden), or (steps, hidden).
    state : tuple of two Arrays
        h and c after the last step, of each row, (batch, hidden), or (hidden,).

    Raises
    ------
    ValueError
        If the shapes do not fit, or a length is not from 0 to `steps`.

    Examples
    --------
    >>> import corgi
    >>> x, weight_ih, weight_hh = corgi.ones((2, 5, 3)), corgi.full((16, 3), 0.1), corgi.full((16, 4), 0.1)
    >>> output, (h, c) = corgi.lstm(x, weight_ih, weight_hh)
    >>> output.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """
    h, c = (None, None) if state is None else pair_of_states(state)
    output, h, c = recurrent("lstm", LSTM, x, weight_ih, weight_hh, bias_ih, bias_hh, h, c, lengths, reverse)
    return output, (h, c)


cdef tuple pair_of_states(state):
    if not isinstance(state, (tuple, list)) or len(state) != 2:
        raise TypeError(f"lstm: expected a state (h, c), got {type(state).__name__}")
    return as_float(state[0], "lstm"), as_float(state[1], "lstm")


def gru(x, weight_ih, weight_hh, bias_ih=None, bias_hh=None, state=None, *, lengths=None, bint reverse=False):
    """Gated recurrent units (Cho et al., 2014), in the form of PyTorch, which multiplies by r after the product with the state.

    With ``a = x[t] @ weight_ih.T + bias_ih`` and ``b = h @ weight_hh.T + bias_hh``, each in three parts for r, z and n:
    ``r = sigmoid(a_r + b_r)``, ``z = sigmoid(a_z + b_z)``, ``n = tanh(a_n + r * b_n)``, ``h = (1 - z) * n + z * h``. All steps
    are one operation.

    Parameters
    ----------
    x : array_like
        (batch, steps, inputs), or one series (steps, inputs).
    weight_ih, weight_hh : array_like
        (3 * hidden, inputs) and (3 * hidden, hidden): reset gate r, update gate z, new state n, as in PyTorch.
    bias_ih, bias_hh : array_like, optional
        (3 * hidden,)
    state : array_like, optional
        The first h, (batch, hidden), or (hidden,) for one series; zeros by default.
    lengths : array_like of ints, optional
        (batch,): the steps that count in each row; 0 to `steps`. Outputs beyond are 0, and so are gradients.
    reverse : bool
        Whether to go from the last step, of each row, to the first.

    Returns
    -------
    output : Array
        h after each step, (batch, steps, hidden), or (steps, hidden).
    state : Array
        h after the last step, of each row, (batch, hidden), or (hidden,).

    Raises
    ------
    ValueError
        If the shapes do not fit, or a length is not from 0 to `steps`.

    Examples
    --------
    >>> import corgi
    >>> x, weight_ih, weight_hh = corgi.ones((2, 5, 3)), corgi.full((12, 3), 0.1), corgi.full((12, 4), 0.1)
    >>> output, h = corgi.gru(x, weight_ih, weight_hh, lengths=[5, 2])
    >>> output.shape, bool((output[1, 1] == h[1]).all()), bool((output[1, 2:] == 0).all())
    ((2, 5, 4), True, True)
    """
    return recurrent("gru", GRU, x, weight_ih, weight_hh, bias_ih, bias_hh, state, None, lengths, reverse)[:2]
