# Making arrays: from Python values, from NumPy and anything with its buffer, and by rule (zeros, arange ...).
#
# Above: users.  Below: array.pxi.  NumPy stands at this edge only: it reads nested lists and foreign dtypes.

import sys

cdef double MOST_ELEMENTS = sys.maxsize / 16


cdef bint holds_array(values):
    """Whether a nested list or tuple holds an Array."""
    for value in values:
        if type(value) is Array:
            return True
        if (type(value) is list or type(value) is tuple) and holds_array(value):
            return True
    return False


cdef Array from_numpy(values):
    """A copy of a NumPy array in the nearest dtype that corgi has."""
    cdef Py_buffer view
    cdef Array out
    code = DTYPE_CODES.get(values.dtype)
    if code is None:
        return from_numpy(values.astype(nearest_dtype(values), order="C"))
    PyObject_GetBuffer(values, &view, PyBUF_STRIDES)
    try:
        if view.ndim > MAX_NDIM:
            raise ValueError(f"array: expected at most {MAX_NDIM} axes, got {view.ndim}")
        if PyBuffer_IsContiguous(&view, b"C"):
            out = wrap(tensor_new(code, view.ndim, view.shape))
            memcpy(out.t.data, view.buf, view.len)
            return out
    finally:
        PyBuffer_Release(&view)
    return from_numpy(np.ascontiguousarray(values))


cdef object nearest_dtype(values):
    """Corgi's dtype for the values of a NumPy array of another dtype."""
    kind = values.dtype.kind
    if kind == "b":
        return DTYPES[BOOL]
    if kind in "iu":
        if values.dtype == np.uint64 and values.size and values.max() > np.iinfo(np.int64).max:
            raise ValueError("array: uint64 values above 2**63 - 1 do not fit int64; convert them to float64 first")
        return DTYPES[INT64]
    if kind == "f":
        return DTYPES[FLOAT32 if values.dtype.itemsize <= 4 else FLOAT64]
    raise TypeError(f"array: expected numbers, got {values.dtype} values ({type(values).__name__}); "
                    "float, integer and bool values can be converted")


cdef Array row_of_floats(list values):
    """A list of nothing but Python floats as an array; None for any other list."""
    cdef isize n = len(values), i
    cdef Array out = wrap(tensor_new(default_dtype, 1, &n))
    for i in range(n):
        value = values[i]
        if not PyFloat_CheckExact(value):
            return None
        if default_dtype == FLOAT64:
            (<double *> out.t.data)[i] = PyFloat_AS_DOUBLE(value)
        else:
            (<float *> out.t.data)[i] = <float> PyFloat_AS_DOUBLE(value)
    return out


cdef Array from_list(values):
    cdef Array row = row_of_floats(values) if type(values) is list else None
    if row is not None:
        return row
    if holds_array(values):
        return stack([array(value) for value in values])
    try:
        as_numpy = np.asarray(values)
    except ValueError:
        raise ValueError("array: expected nested lists of equal lengths, got ragged ones") from None
    except OverflowError:
        raise OverflowError("array: an integer does not fit int64; use floats") from None
    if as_numpy.dtype == object and set(map(type, as_numpy.flat)) <= {int}:
        raise OverflowError("array: an integer does not fit int64; use floats")
    if as_numpy.dtype == np.float64 or as_numpy.size == 0:
        as_numpy = as_numpy.astype(DTYPES[default_dtype])
    return from_numpy(as_numpy)


def array(values, dtype=None):
    """An array from numbers, nested lists, arrays, or anything that NumPy can read. `arr` is the same function.

    Parameters
    ----------
    values : number, nested list or tuple, Array, numpy.ndarray, or object with a buffer or ``__array__``
        Values are copied. Arrays inside lists are stacked, and gradients flow back to them.
    dtype : dtype, optional
        float64, float32, int64 or bool; by default that of the values, where Python floats take the default dtype.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        For ragged lists and more than 8 axes.
    TypeError
        For values that are not numbers.

    Examples
    --------
    >>> import corgi
    >>> corgi.array([[1, 2], [3, 4]], dtype="float32")
    Array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    cdef Array out
    if type(values) is Array:
        out = alias(<Array> values)
    elif PyFloat_CheckExact(values):
        out = scalar(values, default_dtype)
    elif PyBool_Check(values):
        out = scalar(values, BOOL)
    elif PyLong_CheckExact(values):
        if not -2 ** 63 <= values < 2 ** 63:
            raise OverflowError(f"array: {values} does not fit int64; use a float")
        out = scalar(values, INT64)
    elif isinstance(values, (list, tuple)):
        out = from_list(values)
    else:
        if isinstance(values, (str, bytes, dict, set, type(None))):
            raise TypeError(f"array: expected numbers, got {type(values).__name__}")
        out = from_numpy(np.asarray(values))
    return out if dtype is None else astype(out, dtype)


def _restore(bytes values, tuple shape, dtype, tracks):
    """Rebuild a pickled array."""
    as_numpy = np.frombuffer(values, dtype)
    if as_numpy.dtype == np.bool_:
        as_numpy = as_numpy.view(np.uint8) != 0  # a damaged pickle may hold other bytes than 0 and 1
    cdef Array out = from_numpy(as_numpy.reshape(shape))
    if tracks:
        out.tracked()
    return out


cdef Tensor *new_shape(shape, int dtype, str op) except NULL:
    """A new tensor of a shape given as an int or a sequence of ints."""
    cdef isize sizes[8]
    cdef int ndim = parse_shape(shape, sizes, op)
    for i in range(ndim):
        if sizes[i] < 0:
            raise ValueError(f"{op}: expected sizes of at least 0, got shape {shape}")
    cdef Tensor *t = tensor_new(dtype, ndim, sizes)
    if t == NULL:
        raise MemoryError(f"{op}: not enough memory for shape {shape}")
    return t


cdef int parse_shape(shape, isize *sizes, str op) except -1:
    """Sizes from an int or a sequence of ints; returns how many there are. Below 0 they are the caller's concern."""
    cdef double elements = 1
    cdef int i, overflow = 0
    if type(shape) is not tuple and type(shape) is not list:
        if PyLong_CheckExact(shape) or isinstance(shape, Integral) or type(shape) is Array and (<Array> shape).t.ndim == 0:
            shape = (shape,)
        elif isinstance(shape, (str, bytes, dict, set)):
            raise TypeError(f"{op}: expected a shape, an int or a sequence of ints, got {shape!r}")
    cdef list values
    try:
        values = [size if PyLong_CheckExact(size) else int(size.__index__()) for size in shape]
    except (TypeError, AttributeError):
        raise TypeError(f"{op}: expected a shape, an int or a sequence of ints, got {shape!r}") from None
    if len(values) > MAX_NDIM:
        raise ValueError(f"{op}: expected at most {MAX_NDIM} axes, got {len(values)}")
    for i in range(len(values)):
        sizes[i] = PyLong_AsLongLongAndOverflow(values[i], &overflow)
        if overflow:
            raise ValueError(f"{op}: size {values[i]} is too large")
        elements *= sizes[i] if sizes[i] > 1 else 1
    # Products of sizes must not overflow, also where another size is 0.
    if elements >= MOST_ELEMENTS:
        raise ValueError(f"{op}: shape {tuple(values)} is too large")
    return len(values)


cdef Array filled(Tensor *t, value, str op="array"):
    """Fill a new tensor with a Python number."""
    cdef Array out = wrap(t), number = scalar(value, t.dtype, op)
    kernels.fill(t.size, t.data, number.t.data, itemsize(t.dtype))
    return out


def zeros(shape, dtype=None):
    """An array of zeros.

    Parameters
    ----------
    shape : int or sequence of ints
    dtype : dtype, optional
        The default dtype if not given.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.zeros((2, 2))
    Array([[0., 0.],
           [0., 0.]], dtype=float64)
    """
    return filled(new_shape(shape, dtype_code(dtype), "zeros"), 0)


def ones(shape, dtype=None):
    """An array of ones.

    Parameters
    ----------
    shape : int or sequence of ints
    dtype : dtype, optional
        The default dtype if not given.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.ones(3)
    Array([1., 1., 1.], dtype=float64)
    """
    return filled(new_shape(shape, dtype_code(dtype), "ones"), 1)


def full(shape, value, dtype=None):
    """An array whose elements all have one value.

    Parameters
    ----------
    shape : int or sequence of ints
    value : number
    dtype : dtype, optional
        By default bool or int64 for such a value, else the default dtype.

    Returns
    -------
    Array

    Examples
    --------
    >>> import corgi
    >>> corgi.full(2, 7)
    Array([7, 7], dtype=int64)
    """
    value = number_of(value, "full")
    code = (<Array> array(value)).t.dtype if dtype is None else dtype_code(dtype)
    return filled(new_shape(shape, code, "full"), value, "full")


cdef Array filled_like(a, value, dtype, str op):
    cdef Array like = as_operand(a, op)
    value = number_of(value, op)
    return filled(new_shape(like.shape, like.t.dtype if dtype is None else dtype_code(dtype), op), value, op)


cdef object number_of(value, str op):
    """A Python or NumPy number, also from an array without axes."""
    if type(value) is Array and (<Array> value).t.ndim == 0:
        return value.item()
    if not isinstance(value, (Real, np.bool_)):
        raise TypeError(f"{op}: expected a number, got {type(value).__name__}")
    return value


def zeros_like(a, dtype=None):
    """An array of zeros with the shape and dtype of another.

    Examples
    --------
    >>> import corgi
    >>> corgi.zeros_like(corgi.array([1, 2]))
    Array([0, 0], dtype=int64)
    """
    return filled_like(a, 0, dtype, "zeros_like")


def ones_like(a, dtype=None):
    """An array of ones with the shape and dtype of another.

    Examples
    --------
    >>> import corgi
    >>> corgi.ones_like(corgi.array([2.5, 3.5]))
    Array([1., 1.], dtype=float64)
    """
    return filled_like(a, 1, dtype, "ones_like")


def full_like(a, value, dtype=None):
    """An array of one value with the shape and dtype of another.

    Examples
    --------
    >>> import corgi
    >>> corgi.full_like(corgi.array([2.5, 3.5]), 4)
    Array([4., 4.], dtype=float64)
    """
    return filled_like(a, value, dtype, "full_like")


def eye(n, m=None, dtype=None):
    """A matrix with ones on the diagonal and zeros elsewhere.

    Parameters
    ----------
    n : int
        Number of rows.
    m : int, optional
        Number of columns; n by default.
    dtype : dtype, optional
        The default dtype if not given.

    Examples
    --------
    >>> import corgi
    >>> corgi.eye(2)
    Array([[1., 0.],
           [0., 1.]], dtype=float64)
    """
    if not isinstance(n, Integral) or not (m is None or isinstance(m, Integral)):
        raise TypeError(f"eye: expected numbers of rows and columns, got {n!r} and {m!r}")
    if n < 0 or (m is not None and m < 0):
        raise ValueError(f"eye: expected sizes of at least 0, got {n} and {m}")
    cdef int code = dtype_code(dtype)
    return from_numpy(_numpy_made("eye", np.eye, n, m, dtype=DTYPES[code]))


def _numpy_made(str op, function, *args, **kwargs):
    """What a NumPy function makes; its errors under our name."""
    try:
        return function(*args, **kwargs)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{op}: {str(error).removeprefix(op + ': ')}") from None
    except MemoryError:
        raise MemoryError(f"{op}: not enough memory for the result") from None


def arange(start, stop=None, step=1, dtype=None):
    """Evenly spaced numbers from start up to, but without, stop.

    Parameters
    ----------
    start, stop, step : number
        With one number, it is stop and start is 0.
    dtype : dtype, optional
        int64 for ints, else the default dtype.

    Examples
    --------
    >>> import corgi
    >>> corgi.arange(3)
    Array([0, 1, 2], dtype=int64)
    """
    if stop is None:
        start, stop = 0, start
    for value in (start, stop, step):
        number_of(value, "arange")
    if step == 0:
        raise ValueError("arange: expected a step other than 0")
    values = _numpy_made("arange", np.arange, start, stop, step)
    if dtype is None and values.dtype.kind == "f":
        dtype = DTYPES[default_dtype]
    return from_numpy(values if dtype is None else values.astype(DTYPES[dtype_code(dtype)]))


def linspace(start, stop, num=50, dtype=None):
    """Evenly spaced numbers from start to stop, both included.

    Parameters
    ----------
    start, stop : number
    num : int
        How many.
    dtype : dtype, optional
        The default dtype if not given.

    Examples
    --------
    >>> import corgi
    >>> corgi.linspace(0, 1, 3)
    Array([0. , 0.5, 1. ], dtype=float64)
    """
    if not isinstance(num, Integral):
        raise TypeError(f"linspace: expected an int for num, got {type(num).__name__}")
    if num < 0:
        raise ValueError(f"linspace: expected num of at least 0, got {num}")
    cdef int code = dtype_code(dtype)
    start, stop = number_of(start, "linspace"), number_of(stop, "linspace")
    return from_numpy(_numpy_made("linspace", np.linspace, start, stop, num, dtype=DTYPES[code]))


def astype(a, dtype):
    """The values in another dtype; gradients flow back in the dtype of `a`.

    Parameters
    ----------
    a : array_like
    dtype : dtype
        float64, float32, int64 (truncates) or bool (True where not zero).

    Returns
    -------
    Array
        `a` itself if it has that dtype already.

    Examples
    --------
    >>> import corgi
    >>> corgi.astype([1.5, -1.5], "int64")
    Array([ 1, -1], dtype=int64)
    """
    return cast(as_operand(a, "astype"), dtype_code(dtype))


cdef Array cast(Array a, int dtype):
    if a.t.dtype == dtype:
        return a
    cdef Tensor *source = contiguous(a.t)
    cdef Tensor *t = tensor_new(dtype, a.t.ndim, a.t.shape)
    if t != NULL:
        kernels.cast(t.size, source.data, source.dtype, t.data, dtype)
    tensor_release(source)
    cdef Array out = wrap(t)
    if dtype >= FLOAT32:
        record(out, a, pass_vjp, b"astype")  # the engine casts the cotangent
    return out


# ---- operands of operators and functions

cdef bint is_operand(value):
    """Can an operator take this as its other side?  What it cannot, Python offers to the other side's class."""
    return (type(value) is Array or isinstance(value, (Number, np.ndarray, np.generic, list, tuple)))


cdef Array as_operand(value, str op):
    """An Array from whatever a function of arrays may be given."""
    if type(value) is Array:
        return <Array> value
    try:
        return array(value)
    except TypeError:
        raise TypeError(f"{op}: expected an array or numbers, got {type(value).__name__}") from None
