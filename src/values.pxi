# Handles, tensors and dtypes: what array.pxi and every op are made of.
#
# Above: all other parts.  Below: runtime/tensor.h.

# ---- handles

cdef inline Array wrap(Tensor *t):
    """A new handle that takes over the caller's reference to t."""
    if t == NULL:
        raise MemoryError("array: not enough memory for the result")
    cdef Array a = new_handle(Array)
    a.t = t
    return a


cdef inline Array wrap_shared(Tensor *t):
    tensor_retain(t)
    return wrap(t)


cdef Array alias(Array a):
    """Another handle on the same values and node."""
    cdef Array out = wrap_shared(a.t)
    if a.node != NULL:
        attach(out, a.node)
    out.tracks = a.tracks
    return out


cdef Tensor *contiguous(Tensor *t) except NULL:
    """A new reference to t, or to a contiguous copy of it."""
    if t.contiguous:
        tensor_retain(t)
        return t
    cdef Tensor *out = tensor_like(t)
    if out == NULL:
        raise MemoryError("array: not enough memory for a copy")
    tensor_copy_out(t, out.data)
    return out


cdef Array contiguous_copy(Array a):
    cdef Tensor *out = tensor_like(a.t)
    cdef Array result = wrap(out)
    tensor_copy_out(a.t, out.data)
    return result


cdef inline bint same_shape(const Tensor *a, const Tensor *b) noexcept:
    cdef int i
    if a.ndim != b.ndim:
        return False
    for i in range(a.ndim):
        if a.shape[i] != b.shape[i]:
            return False
    return True


cdef tuple shape_tuple(int ndim, const isize *shape):
    if ndim == 1:
        return (shape[0],)
    if ndim == 2:
        return shape[0], shape[1]
    return tuple([shape[i] for i in range(ndim)])


cdef bint column_major(const Tensor *t) noexcept:
    """Whether the values are contiguous with the first axis running fastest."""
    cdef isize stride = 1
    cdef int i
    for i in range(t.ndim):
        if t.shape[i] != 1 and t.strides[i] != stride:
            return t.size == 0
        stride *= t.shape[i]
    return True


cdef inline char *format_of(int dtype) noexcept:
    """The struct module's letter for a dtype."""
    if dtype == FLOAT64:
        return b"d"
    if dtype == FLOAT32:
        return b"f"
    return b"?" if dtype == BOOL else (b"l" if sizeof(long) == 8 else b"q")


cdef object element(const Tensor *t, const char *data):
    if t.dtype == FLOAT64:
        return (<double *> data)[0]
    if t.dtype == FLOAT32:
        return <double> (<float *> data)[0]
    if t.dtype == INT64:
        return (<int64_t *> data)[0]
    return (<uint8_t *> data)[0] != 0


cdef int require_float(Array a, str op) except -1:
    if a.t.dtype < FLOAT32:
        raise TypeError(f"{op}: expected a float array, got {a.dtype}, which has no gradient; convert it with astype(float)")
    return 0


# ---- NumPy's functions

cdef object public_function(str name):
    """The op that NumPy calls by this name, or None."""
    return globals()[name] if name in ROW_NUMBERS or name == "matmul" else None


cdef object without_arrays(value):
    """NumPy arrays in the place of Arrays, also inside lists and tuples."""
    if type(value) is Array:
        return value.numpy()
    if type(value) is list or type(value) is tuple:
        return type(value)([without_arrays(item) for item in value])
    return value


# ---- dtypes

cdef int dtype_code(dtype) except -1:
    """The code of a dtype given as in NumPy: a numpy.dtype, a name, or float, int, bool."""
    if dtype is None:
        return default_dtype
    try:
        code = DTYPE_CODES.get(dtype)
        return DTYPE_CODES[np.dtype(dtype)] if code is None else code
    except (TypeError, ValueError, KeyError):
        raise TypeError(f"dtype: expected float64, float32, int64 or bool, got {dtype!r}") from None


cdef int promoted(int a, int b) noexcept:
    """NumPy's rule: the larger kind, and int64 with float32 gives float64."""
    if (a == INT64 and b == FLOAT32) or (a == FLOAT32 and b == INT64):
        return FLOAT64
    return a if a > b else b


cdef int scalar_dtype(value, int dtype) except -1:
    """Dtype of an operation between an array of `dtype` and a Python number: the array's, unless its kind is too small."""
    if dtype >= FLOAT32:
        return dtype
    if PyBool_Check(value):
        return dtype
    if PyLong_CheckExact(value):
        return INT64
    return default_dtype


cdef Array float_scalar(double number, int dtype):
    """An array of floats without axes."""
    cdef Array a = wrap(tensor_new(dtype, 0, NULL))
    if dtype == FLOAT64:
        (<double *> a.t.data)[0] = number
    else:
        (<float *> a.t.data)[0] = <float> number
    return a


cdef Array scalar(value, int dtype, str op="array"):
    """An array without axes."""
    cdef Array a
    if PyFloat_CheckExact(value) and dtype >= FLOAT32:
        return float_scalar(PyFloat_AS_DOUBLE(value), dtype)
    try:
        if dtype >= FLOAT32:
            return float_scalar(value, dtype)
        a = wrap(tensor_new(dtype, 0, NULL))
        if dtype == BOOL:
            (<uint8_t *> a.t.data)[0] = bool(value)
        else:
            (<int64_t *> a.t.data)[0] = int(value)
        return a
    except OverflowError:
        shown = value if not isinstance(value, int) or value.bit_length() < 128 else f"an int of {value.bit_length()} bits"
        raise OverflowError(f"{op}: {shown} does not fit {DTYPES[dtype]}") from None
    except ValueError:
        raise ValueError(f"{op}: {value} does not fit {DTYPES[dtype]}") from None
    except TypeError:
        raise TypeError(f"{op}: expected a number, got {type(value).__name__}") from None


def set_default_dtype(dtype):
    """Set the dtype of arrays made from Python floats, and by `zeros`, `ones` ...; returns the previous one.

    Parameters
    ----------
    dtype : float64 or float32

    Raises
    ------
    TypeError
        For another dtype.

    Examples
    --------
    >>> import corgi
    >>> previous = corgi.set_default_dtype("float32")
    >>> corgi.zeros(2)
    Array([0., 0.], dtype=float32)
    >>> _ = corgi.set_default_dtype(previous)
    """
    global default_dtype
    code = BOOL if dtype is None else dtype_code(dtype)
    if code < FLOAT32:
        raise TypeError(f"set_default_dtype: expected float64 or float32, got {dtype!r}")
    previous = DTYPES[default_dtype]
    default_dtype = code
    return previous


def get_default_dtype():
    """The dtype of arrays made from Python floats.

    Examples
    --------
    >>> import corgi
    >>> corgi.get_default_dtype()
    dtype('float64')
    """
    return DTYPES[default_dtype]
