# Pointwise ops: the table of kernels/pointwise.h as functions, operators and gradients.
#
# Above: users, and every vjp.  Below: runtime/apply.c (broadcasting) and the kernels.  A function for each row is made when the
# module is imported; the gradient formulas are compiled to functions of Arrays only when a backward pass is recorded.

import re
import sys

cdef struct Row:
    int save[3]        # which values the gradient of input i needs: bits 0 to 2 the inputs, bit 3 the output
    bint passes[3]     # the gradient of input i is the cotangent itself
    bint heavy         # several nanoseconds an element
    int simple         # bit k: an op of two operands of dtype k that gives that dtype
cdef Row rows[128]
assert N_POINTWISE <= 128

cdef set LIGHT_NAMES = {"x", "x0", "x1", "x2", "C", "where", "absolute", "sign", "floor", "ceil", "rint", "sqrt", "maximum",
                        "minimum"}
cdef dict ROW_NUMBERS = {}
cdef dict gradient_functions = {}


# ---- the forward pass

cdef Array pointwise(int op, Array x0, Array x1, Array x2):
    """Apply row `op`; x1 and x2 are None for ops of fewer inputs."""
    if rows[op].simple >> x0.t.dtype & 1 and is_simple(x0.t, x1.t):
        return pointwise_simple(op, x0, x1)
    return pointwise_any(op, x0, x1, x2)


cdef inline bint is_simple(const Tensor *a, const Tensor *b) noexcept:
    """Whether two operands are small, contiguous, of one shape and one dtype, as they are most often."""
    return a.dtype == b.dtype and a.size <= APPLY_SMALL and a.contiguous and b.contiguous and same_shape(a, b)


cdef inline Array pointwise_simple(int op, Array x0, Array x1):
    cdef char *args[3]
    cdef Tensor *t = tensor_like(x0.t)
    cdef Array out = wrap(t)
    args[0], args[1], args[2] = x0.t.data, x1.t.data, t.data
    if t.size:
        kernels.forward[op][t.dtype](t.size, args)
    if recording and (x0.tracks or x1.tracks):
        record_pointwise(op, 2, out, x0, x1, None)
    elif unlikely(watching):
        show_result(out, NULL, pointwise_ops[op].name, [x0, x1])
    return out


cdef Array pointwise_any(int op, Array x0, Array x1, Array x2):
    cdef int n = pointwise_ops[op].n_inputs, dtype = x0.t.dtype
    cdef const Tensor *operands[3]
    if n > 1 and x1.t.dtype != dtype:
        dtype = promoted(dtype, x1.t.dtype)
    if n > 2 and x2.t.dtype != dtype:
        dtype = promoted(dtype, x2.t.dtype)
    cdef pointwise_fn kernel = kernels.forward[op][dtype]
    if kernel == NULL:
        dtype = dtype_with_kernel(op, dtype)
        kernel = kernels.forward[op][dtype]
    if x0.t.dtype != dtype:
        x0 = cast(x0, dtype)
    operands[0] = x0.t
    if n > 1:
        if x1.t.dtype != dtype:
            x1 = cast(x1, dtype)
        operands[1] = x1.t
    if n > 2:
        if x2.t.dtype != dtype:
            x2 = cast(x2, dtype)
        operands[2] = x2.t
    cdef int kind = pointwise_ops[op].kind
    cdef Tensor *t = broadcast_result(pointwise_ops[op].name, n, operands, dtype if kind == KIND_FLOAT else BOOL)
    cdef Array out = wrap(t)
    if t.size >= APPLY_LONG:  # other threads may run meanwhile and give these handles new values
        x0 = alias(x0)
        x1 = alias(x1) if n > 1 else None
        x2 = alias(x2) if n > 2 else None
    run(kernel, n, operands, t, rows[op].heavy)
    if recording and kind == KIND_FLOAT and (x0.tracks or (n > 1 and x1.tracks) or (n > 2 and x2.tracks)):
        record_pointwise(op, n, out, x0, x1, x2)
    elif unlikely(watching):
        show_result(out, NULL, pointwise_ops[op].name, [x0, x1, x2])
    return out


cdef int dtype_with_kernel(int op, int dtype) except -1:
    """The dtype in which an op computes for operands of a dtype that it has no kernel for."""
    cdef int kind = pointwise_ops[op].kind
    if kind == KIND_LOGIC:
        return BOOL
    if kind == KIND_PREDICATE:
        return FLOAT64
    if dtype == BOOL and kernels.forward[op][INT64] != NULL:
        return INT64
    return default_dtype


cdef inline Tensor *broadcast_result(const char *name, int n, const Tensor **operands, int dtype) except NULL:
    cdef Tensor *t
    cdef const Tensor *x
    cdef isize shape[8]
    cdef int i, k, axis, ndim
    x = operands[0]
    for k in range(1, n):
        if operands[k].ndim == 0 or same_shape(x, operands[k]):
            continue
        if x.ndim:
            break
        x = operands[k]
    else:
        t = tensor_like(x) if dtype == x.dtype else tensor_new(dtype, x.ndim, x.shape)
        if t == NULL:
            raise MemoryError(f"{name.decode()}: not enough memory for the result")
        return t
    ndim = 0
    for k in range(n):
        if operands[k].ndim > ndim:
            ndim = operands[k].ndim
    for i in range(ndim):
        shape[i] = 1
    for k in range(n):
        x = operands[k]
        for i in range(x.ndim):
            axis = ndim - x.ndim + i
            if x.shape[i] == shape[axis] or x.shape[i] == 1:
                continue
            if shape[axis] != 1:
                shapes = " and ".join([str(shape_tuple(operands[i].ndim, operands[i].shape)) for i in range(n)])
                raise ValueError(f"{name.decode()}: shapes {shapes} do not broadcast, sizes {shape[axis]} and {x.shape[i]} "
                                 "differ; sizes must be equal, or one of them 1, counted from the last axis")
            shape[axis] = x.shape[i]
    t = tensor_new(dtype, ndim, shape)
    if t == NULL:
        raise MemoryError(f"{name.decode()}: not enough memory for the result, of shape {shape_tuple(ndim, shape)}")
    return t


cdef inline str name_of(int op):
    return pointwise_ops[op].name.decode()


cdef inline int run(pointwise_fn kernel, int n, const Tensor **operands, Tensor *out, bint heavy) except -1:
    """Run a kernel on operands that the caller holds; long ones let other Python threads run meanwhile."""
    if out.size < APPLY_LONG:
        apply(kernel, n, operands, out, heavy)
    else:
        with nogil:
            apply(kernel, n, operands, out, heavy)
    return 0


cdef inline int run_add(pointwise_fn kernel, int n, const Tensor **operands, Tensor *out, bint heavy) except -1:
    """Add what a kernel makes of operands that the caller holds to out."""
    if out.size < APPLY_LONG:
        apply_add(kernel, n, operands, out, heavy)
    else:
        with nogil:
            apply_add(kernel, n, operands, out, heavy)
    return 0


# ---- the graph

cdef int record_pointwise(int op, int n_inputs, Array out, Array x0, Array x1, Array x2) except -1:
    cdef Node *n = node_new(pointwise_vjp, pointwise_ops[op].name, n_inputs, out.t)
    cdef int needed = 0
    n.op = op
    connect(n, 0, x0)
    if n.inputs[0] != NULL:
        needed = rows[op].save[0]
    if n_inputs > 1:
        connect(n, 1, x1)
        if n.inputs[1] != NULL:
            needed |= rows[op].save[1]
    if n_inputs > 2:
        connect(n, 2, x2)
        if n.inputs[2] != NULL:
            needed |= rows[op].save[2]
    if needed & 1:
        save(n, 0, x0)
    if needed & 2:
        save(n, 1, x1)
    if needed & 4:
        save(n, 2, x2)
    if needed & 8:
        save(n, SAVED_OUTPUT, out)
    return publish_of(out, n, x0, x1, x2)


cdef int pointwise_vjp(Walk *w, Node *n, Array g) except -1:
    cdef const Tensor *operands[5]
    cdef Tensor *t
    cdef Array gradient
    cdef int i, k
    for i in range(n.n_inputs):
        if not wants(w, n, i):
            continue
        if rows[n.op].passes[i]:
            send(w, n, i, g)
            continue
        if w.create_graph:
            send(w, n, i, differentiable_gradient(n, i, g))
            continue
        # Operands in the kernel's order: g, the inputs, y; what the formula does not name may be anything of g's size.
        operands[0] = g.t
        for k in range(n.n_inputs):
            operands[1 + k] = n.saved[k] if n.saved[k] != NULL else g.t
        operands[1 + n.n_inputs] = n.saved[SAVED_OUTPUT] if n.saved[SAVED_OUTPUT] != NULL else g.t
        t = private_sum(w, n.inputs[i], g.t)
        if t != NULL:
            run_add(kernels.vjp[n.op][i][n.dtype], n.n_inputs + 2, operands, t, rows[n.op].heavy)
            continue
        t = tensor_like(g.t)
        gradient = wrap(t)
        run(kernels.vjp[n.op][i][n.dtype], n.n_inputs + 2, operands, t, rows[n.op].heavy)
        send(w, n, i, gradient)
    return 0


cdef Array differentiable_gradient(Node *n, int i, Array g):
    """The gradient formula of input i, evaluated with Arrays, so that it is recorded."""
    key = (n.op, i)
    function = gradient_functions.get(key)
    if function is None:
        text = pointwise_ops[n.op].vjp[i].decode()
        names = ["g"] + (["x"] if n.n_inputs == 1 else [f"x{k}" for k in range(n.n_inputs)]) + ["y"]
        function = eval(f"lambda {', '.join(names)}: {text}", formula_names())
        gradient_functions[key] = function
    arguments = [g]
    for k in range(n.n_inputs):
        arguments.append(saved_input(n, k) if n.saved[k] != NULL else None)
    arguments.append(saved_output(n) if n.saved[SAVED_OUTPUT] != NULL else None)
    return as_operand(function(*arguments), "gradient")


cdef dict formula_names():
    """What the names in the table's formulas mean for Arrays."""
    names = {name: globals()[name] for name in ROW_NUMBERS}
    names["where"] = where
    names["C"] = float
    for helper, meaning in helper_meanings().items():
        names[helper] = eval(f"lambda x: {meaning}", names)
    return names


cdef list helpers_of(str text):
    """The helpers that a text needs, each with its meaning, in which those after it stand."""
    cdef list found = []
    for helper, meaning in reversed(helper_meanings().items()):
        if helper in words(text):
            found.append((helper, meaning))
            text += " " + meaning
    return found


cdef dict helper_meanings():
    """The helpers of the formulas, {name: what it is in terms of ops}."""
    cdef dict meanings = {}
    cdef int i = 0
    while pointwise_helpers[i].name != NULL:
        meanings[pointwise_helpers[i].name.decode()] = pointwise_helpers[i].meaning.decode()
        i += 1
    return meanings


# ---- operators and functions

cdef Array operand_like(object value, Array like, const char *op):
    """The other side of an operator: a Python number takes the array's dtype if its kind allows."""
    if PyFloat_CheckExact(value) or PyLong_CheckExact(value) or PyBool_Check(value):
        return scalar(value, scalar_dtype(value, like.t.dtype))
    return as_operand(value, op.decode())


cdef inline object operator(int op, Array self, object other, bint reflected):
    if type(other) is Array and not reflected and op != OP_power:
        return pointwise(op, self, <Array> other, None)
    return mixed_operator(op, self, other, reflected)


cdef object mixed_operator(int op, Array self, object other, bint reflected):
    cdef Array x
    cdef double number
    cdef int overflow = 0, dtype
    if type(other) is Array:
        x = <Array> other
    elif PyFloat_CheckExact(other) or PyLong_CheckExact(other):
        number = PyFloat_AS_DOUBLE(other) if PyFloat_CheckExact(other) else PyLong_AsLongLongAndOverflow(other, &overflow)
        if takes_number(op, self) and not overflow:
            return with_number(op, self, number, reflected)
        dtype = scalar_dtype(other, self.t.dtype)
        if dtype >= FLOAT32 and not overflow:
            x = float_scalar(number, dtype)
        else:
            x = scalar(other, dtype, name_of(op) if overflow else None)
        if x.t.dtype == FLOAT32 and self.t.dtype == INT64:
            self = cast(self, FLOAT32)  # ints and a Python float: the default dtype
    elif is_operand(other):
        x = operand_like(other, self, pointwise_ops[op].name)
    else:
        return NotImplemented
    if op == OP_power:
        return power_of(x, self) if reflected else power_of(self, x)
    return pointwise(op, x, self, None) if reflected else pointwise(op, self, x, None)


cdef enum:
    FEW = 64  # elements

cdef inline bint takes_number(int op, Array x) noexcept:
    """Whether with_number() serves: x is small, of floats, and nothing is to be recorded."""
    return (x.t.size <= FEW and x.t.dtype >= FLOAT32 and x.t.contiguous and op != OP_power and not watching
            and (pointwise_ops[op].kind != KIND_FLOAT or not (recording and x.tracks)))


cdef Array with_number(int op, Array x, double number, bint reflected):
    """An operator on an array and a number that need not become an array."""
    cdef double numbers[FEW]
    cdef char *args[3]
    cdef isize i
    cdef Tensor *t = tensor_like(x.t) if pointwise_ops[op].kind == KIND_FLOAT else tensor_new(BOOL, x.t.ndim, x.t.shape)
    cdef Array out = wrap(t)
    for i in range(t.size):
        if x.t.dtype == FLOAT64:
            numbers[i] = number
        else:
            (<float *> numbers)[i] = <float> number
    args[reflected], args[not reflected], args[2] = x.t.data, <char *> numbers, t.data
    if t.size:
        kernels.forward[op][x.t.dtype](t.size, args)
    return out


cdef object bool_operator(int op, Array self, object other):
    if not is_operand(other):
        return NotImplemented
    cdef Array x = as_operand(other, name_of(op))
    if self.t.dtype != BOOL or x.t.dtype != BOOL:
        raise TypeError(f"{name_of(op)}: expected bool arrays, got {self.dtype} and {x.dtype}")
    return pointwise(op, self, x, None)


cdef Array power_of(Array x, Array exponent):
    """x ** exponent; for the usual constant exponents there is something faster than pow."""
    cdef double value
    cdef Array squared
    if exponent.t.size == 1 and exponent.t.ndim == 0 and not exponent.tracks and x.t.dtype >= FLOAT32:
        value = element(exponent.t, exponent.t.data)
        if promoted(x.t.dtype, exponent.t.dtype) == x.t.dtype:
            if value == 2:
                return pointwise(OP_square, x, None, None)
            if value == -1:
                return pointwise(OP_reciprocal, x, None, None)
            if value == 0.5:
                return pointwise(OP_sqrt, x, None, None)
            if value == 3 or value == 4:
                squared = pointwise(OP_square, x, None, None)
                return pointwise(OP_multiply, squared, x if value == 3 else squared, None)
    if x.t.dtype < FLOAT32 and exponent.t.dtype == INT64 and (exponent < 0).any():
        raise ValueError("power: expected exponents of at least 0 for an int64 array; convert the array with astype(float)")
    return pointwise(OP_power, x, exponent, None)


cdef Array call_row(int op, tuple values):
    """Apply a row to arguments as users give them: arrays, numbers, lists."""
    cdef int n = pointwise_ops[op].n_inputs, i
    if op == OP_clip:
        values = clip_bounds(values)
    if len(values) != n:
        raise TypeError(f"{name_of(op)}: expected {n} argument{'s' if n > 1 else ''}, got {len(values)}")
    cdef Array like = None
    cdef bint float_number = False
    for value in values:
        if type(value) is Array:
            like = <Array> value if like is None or (<Array> value).t.dtype > like.t.dtype else like
        elif PyFloat_CheckExact(value):
            float_number = True
    if float_number and like is not None and like.t.dtype < FLOAT32:  # ints and a Python float: the default dtype
        values = tuple([cast(value, default_dtype) if type(value) is Array else value for value in values])
        like = cast(like, default_dtype)
    cdef list arrays = [None, None, None]
    for i in range(n):
        value = values[i]
        if type(value) is Array:
            arrays[i] = value
        elif like is None:
            arrays[i] = as_operand(value, name_of(op))
        else:
            arrays[i] = operand_like(value, like, pointwise_ops[op].name)
    if op == OP_power:
        return power_of(arrays[0], arrays[1])
    return pointwise(op, arrays[0], arrays[1], arrays[2])


cdef tuple clip_bounds(tuple values):
    """clip's arguments with a bound that is missing or None replaced by one that does nothing."""
    cdef list full = list(values) + [None] * (3 - len(values))
    if full[1] is not None and full[2] is not None:
        return tuple(full)
    whole = len(values) and (<Array> as_operand(values[0], "clip")).t.dtype < FLOAT32
    for i, bound in ((1, -2 ** 63 if whole else -np.inf), (2, 2 ** 63 - 1 if whole else np.inf)):
        if full[i] is None:
            full[i] = bound
    return tuple(full)


cdef object call_unary(int op, object value):
    if type(value) is Array:
        return pointwise(op, <Array> value, None, None)
    return call_row(op, (value,))


cdef object call_many(int op, PyObject **values, isize n):
    if (n == 2 and pointwise_ops[op].n_inputs == 2 and type(<object> values[0]) is Array and type(<object> values[1]) is Array
            and op != OP_power):
        return pointwise(op, <Array> values[0], <Array> values[1], None)
    return call_row(op, tuple([<object> values[i] for i in range(n)]))


cdef extern from *:
    """
    /* A C function of its own for every row: the ops are ordinary built-in functions, quick to call and pickled by name. */
    static PyObject *(*unary_entry)(int op, PyObject *value);
    static PyObject *(*many_entry)(int op, PyObject **values, Py_ssize_t n);
    #define UNARY_ENTRY(name, ...)                                                                                        \
        static PyObject *entry_##name(PyObject *module, PyObject *value)                                                  \
        {                                                                                                                 \
            (void)module;                                                                                                 \
            return unary_entry(OP_##name, value);                                                                         \
        }
    #define MANY_ENTRY(name, ...)                                                                                         \
        static PyObject *entry_##name(PyObject *module, PyObject *const *values, Py_ssize_t n)                            \
        {                                                                                                                 \
            (void)module;                                                                                                 \
            return many_entry(OP_##name, (PyObject **)values, n);                                                         \
        }
    #define UNARY_METHOD(name, ...) {#name, entry_##name, METH_O, NULL},
    #define MANY_METHOD(name, ...) {#name, (PyCFunction)(void (*)(void))entry_##name, METH_FASTCALL, NULL},
    POINTWISE_ROWS(UNARY_ENTRY, MANY_ENTRY, MANY_ENTRY, MANY_ENTRY, MANY_ENTRY, UNARY_ENTRY)
    static PyMethodDef pointwise_methods[] = {
        POINTWISE_ROWS(UNARY_METHOD, MANY_METHOD, MANY_METHOD, MANY_METHOD, MANY_METHOD, UNARY_METHOD)
    };
    """
    object (*unary_entry)(int op, object value)
    object (*many_entry)(int op, PyObject **values, isize n)
    PyMethodDef pointwise_methods[]


def where(condition, a, b):
    """Elements of `a` where the condition is true, of `b` elsewhere.

    Parameters
    ----------
    condition : array_like of bool
        Other dtypes count as true where they are not zero.
    a, b : array_like
        Broadcast with the condition to one shape.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> x = corgi.array([-1.0, 2.0])
    >>> corgi.where(x > 0, x, 0)
    Array([0., 2.], dtype=float64)
    """
    cdef Array c = cast(as_operand(condition, "where"), BOOL)
    cdef Array x0, x1
    if type(a) is not Array and type(b) is Array:
        x1 = <Array> b
        x0 = operand_like(a, x1, b"where")
    else:
        x0 = as_operand(a, "where")
        x1 = operand_like(b, x0, b"where") if type(a) is Array else as_operand(b, "where")
    cdef int dtype = promoted(x0.t.dtype, x1.t.dtype)
    if PyFloat_CheckExact(a) and x1.t.dtype < FLOAT32 or PyFloat_CheckExact(b) and x0.t.dtype < FLOAT32:
        dtype = default_dtype  # ints and a Python float
    x0, x1 = cast(x0, dtype), cast(x1, dtype)
    cdef const Tensor *operands[3]
    operands[0], operands[1], operands[2] = c.t, x0.t, x1.t
    cdef Tensor *t = broadcast_result(b"where", 3, operands, dtype)
    cdef Array out = wrap(t)
    if t.size >= APPLY_LONG:  # other threads may run meanwhile and give these handles new values
        c, x0, x1 = alias(c), alias(x0), alias(x1)
    run(kernels.select[dtype], 3, operands, t, False)
    cdef Node *n
    if dtype >= FLOAT32 and (tracked(x0) or tracked(x1)):
        n = node_new(where_vjp, b"where", 2, t)
        connect(n, 0, x0)
        connect(n, 1, x1)
        save(n, 2, c)
        publish_of(out, n, x0, x1, None)
    return out


cdef int where_vjp(Walk *w, Node *n, Array g) except -1:
    cdef Array condition = wrap_shared(n.saved[2])
    if wants(w, n, 0):
        send(w, n, 0, where(condition, g, 0))
    if wants(w, n, 1):
        send(w, n, 1, where(condition, 0, g))
    return 0


# ---- registration

cdef list ROW_DOCS = []  # the method definitions point into these


cdef set words(str text):
    """The identifiers of a formula."""
    return set(re.findall(r"[A-Za-z_]\w*", text))


cdef str documentation(int op):
    cdef const PointwiseOp *row = &pointwise_ops[op]
    parameters = ["x"] if row.n_inputs == 1 else [f"x{i}" for i in range(row.n_inputs)]
    gradients = [row.vjp[i].decode() for i in range(row.n_inputs)] if row.vjp[0] != NULL else []
    wanted = "bool" if row.kind == KIND_LOGIC else "float; int64 and bool are converted"
    if row.kind == KIND_COMPARE or kernels.forward[op][INT64] != NULL:
        wanted = "any dtype"
    arguments = ", ".join(["0.5", "0.25", "0.75"][:row.n_inputs] if row.kind != KIND_LOGIC else ["True", "False"])
    lines = [row.sentence.decode(), "", "Parameters", "----------", f"{', '.join(parameters)} : array_like",
             f"    Broadcast to one shape ({wanted}). Domain: {row.domain.decode()}."
             if row.n_inputs > 1 else f"    {wanted[0].upper() + wanted[1:]}. Domain: {row.domain.decode()}.",
             "", "Returns", "-------", "Array"]
    if gradients:
        lines += ["", "Notes", "-----", f"Formula: ``{row.formula.decode()}``.", ""]
        lines += [f"Gradient for {name}, with cotangent g{' and result y' if 'y' in text else ''}: ``{text}``."
                  for name, text in zip(parameters, gradients)]
        lines += [f"There ``{helper}(x)`` is ``{meaning}``." for helper, meaning in helpers_of(" ".join(gradients))]
    name = row.name.decode()
    lines += ["", "Examples", "--------", ">>> import corgi", f">>> result = corgi.{name}({arguments})", ">>> result.shape", "()"]
    if op == OP_clip:
        parameters = ["x0", "x1=None", "x2=None"]  # see clip_bounds
    return f"{name}({', '.join(parameters)}, /)\n--\n\n" + "\n".join(lines) + "\n"


cdef int register_rows() except -1:
    """Make the public function of every row, and note what its gradients save."""
    global unary_entry, many_entry
    cdef int op, i
    cdef set names
    unary_entry, many_entry = call_unary, call_many
    for op in range(N_POINTWISE):
        rows[op].heavy = False
        formula = pointwise_ops[op].formula.decode()
        for i in range(3):
            rows[op].save[i] = 0
            rows[op].passes[i] = False
            if pointwise_ops[op].vjp[i] == NULL:
                continue
            text = pointwise_ops[op].vjp[i].decode()
            names = words(text)
            rows[op].passes[i] = text == "g"
            rows[op].save[i] = (1 * ("x" in names or "x0" in names) | 2 * ("x1" in names) | 4 * ("x2" in names)
                                | 8 * ("y" in names))
        rows[op].heavy = bool(words(formula) - LIGHT_NAMES)
        rows[op].simple = 0
        if pointwise_ops[op].n_inputs == 2 and pointwise_ops[op].kind == KIND_FLOAT:
            for i in range(4):
                rows[op].simple |= (kernels.forward[op][i] != NULL) << i
        name = pointwise_ops[op].name
        ROW_NUMBERS[name.decode()] = op
        doc = documentation(op).encode()
        ROW_DOCS.append(doc)
        pointwise_methods[op].ml_doc = doc
        globals()[name.decode()] = PyCFunction_NewEx(&pointwise_methods[op], sys.modules[__name__], "corgi")
    return 0


register_rows()


def pointwise_table():
    """The table of pointwise ops as a list of dicts: what tests, stubs and benchmarks are generated from.

    Examples
    --------
    >>> from corgi._core import pointwise_table
    >>> [row["gradients"] for row in pointwise_table() if row["name"] == "tanh"]
    [['g * (1 - y * y)']]
    """
    table = []
    for op in range(N_POINTWISE):
        row = &pointwise_ops[op]
        table.append({"name": row.name.decode(), "kind": row.kind_name.decode(), "n_inputs": row.n_inputs,
                      "domain": row.domain.decode(), "sentence": row.sentence.decode(), "formula": row.formula.decode(),
                      "gradients": [row.vjp[i].decode() for i in range(row.n_inputs)] if row.vjp[0] != NULL else [],
                      "integer": kernels.forward[op][INT64] != NULL})
    return table
