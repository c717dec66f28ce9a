# Array: a Python handle on a Tensor (values) and, when tracked, on a Node (its place in the graph).
#
# Above: everything that users see.  Below: runtime/tensor.h, and graph.pxi for nodes.  Many handles may share one tensor and one
# node; the tracking flag belongs to the handle.

import numpy as np
from numbers import Integral, Number, Real

cdef object DTYPES = (np.dtype(np.bool_), np.dtype(np.int64), np.dtype(np.float32), np.dtype(np.float64))
cdef dict DTYPE_CODES = {float: FLOAT64, int: INT64, bool: BOOL}
for code, dtype in enumerate(DTYPES):
    DTYPE_CODES[dtype] = DTYPE_CODES[dtype.name] = DTYPE_CODES[dtype.type] = code
del code, dtype
cdef int default_dtype = FLOAT64


# Without binding, methods are descriptors that check their self: `Array.detach(5)` is a TypeError.
@cython.final
@cython.no_gc
@cython.binding(False)
@cython.embedsignature(True)
@cython.embedsignature.format("clinic")
cdef class Array:
    """An n-dimensional array of numbers whose values never change, and which can take part in differentiation.

    Arrays are made by `array` and its kin (`zeros`, `ones`, `arange` ...) and by operations on arrays, never by calling
    this class.

    NumPy's elementwise functions that corgi has too (``np.exp``, ``np.add`` ...) are corgi's when they are given an Array; all
    other functions of NumPy take its values and give NumPy arrays.

    Examples
    --------
    >>> import corgi
    >>> a = corgi.array([[1.0, 2.0], [3.0, 4.0]]).tracked()
    >>> (a * a).sum().backward()
    >>> a.gradient
    Array([[2., 4.],
           [6., 8.]], dtype=float64)
    """
    cdef Tensor *t
    cdef Node *node
    cdef bint tracks
    cdef object __weakref__

    def __init__(self, *args, **kwargs):
        raise TypeError("Array: arrays are not made by calling the class; use corgi.array(values)")

    # ---- what it is

    @property
    def shape(self):
        """Size of each axis, a tuple of ints."""
        return shape_tuple(self.t.ndim, self.t.shape)

    @property
    def ndim(self):
        """Number of axes."""
        return self.t.ndim

    @property
    def size(self):
        """Number of elements."""
        return self.t.size

    @property
    def dtype(self):
        """Type of the elements, a `numpy.dtype`: float64, float32, int64 or bool."""
        return DTYPES[self.t.dtype]

    @property
    def itemsize(self):
        """Bytes of one element."""
        return itemsize(self.t.dtype)

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return self.t.size * itemsize(self.t.dtype)

    @property
    def strides(self):
        """Bytes from one element to the next along each axis, a tuple of ints."""
        return tuple([self.t.strides[i] * itemsize(self.t.dtype) for i in range(self.t.ndim)])

    @property
    def T(self):
        """The array with its axes reversed."""
        return transpose(self)

    def __len__(self):
        if self.t.ndim == 0:
            raise TypeError("len: an array without axes has no length")
        return self.t.shape[0]

    def __repr__(self):
        text = np.array2string(self.numpy(), separator=", ", prefix="Array(")
        if self.t.size == 0 and self.shape != (0,):
            text += f", shape={self.shape}"
        return f"Array({text}, dtype={self.dtype}{', tracked' if self.tracks else ''})"

    def __str__(self):
        return str(self.numpy())

    def __format__(self, spec):
        return format(self.item() if spec else str(self), spec)

    # ---- values

    def numpy(self):
        """The values as a read-only NumPy array, without a copy."""
        return np.asarray(memoryview(self))

    def __array__(self, dtype=None, copy=None):
        values = self.numpy()
        if dtype is not None and dtype != values.dtype:
            if copy is False:
                raise ValueError(f"array: {self.dtype} to {dtype} needs a copy, but copy=False was asked for")
            return values.astype(dtype)
        return values.copy() if copy else values

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        # `ndarray + Array` comes here as well.
        function = public_function(ufunc.__name__) if method == "__call__" and not kwargs else None
        if function is not None:
            return function(*inputs)
        if type(kwargs.get("out", (None,))[0]) is Array:
            raise TypeError(f"{ufunc.__name__}: expected a NumPy array for out, got an Array, whose values never change")
        return getattr(ufunc, method)(*without_arrays(inputs), **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return function(*without_arrays(args), **{name: without_arrays(value) for name, value in kwargs.items()})

    def item(self, *index):
        """The value of a one-element array, or of the element at `index`, as a Python number.

        Raises
        ------
        ValueError
            If no index is given and the array has not exactly one element.
        """
        if index:
            return self[index[0] if len(index) == 1 and isinstance(index[0], tuple) else index].item()
        if self.t.size != 1:
            raise ValueError(f"item: expected an array with one element, got shape {self.shape}; use tolist() or an index")
        return element(self.t, self.t.data)

    def tolist(self):
        """The values as nested lists of Python numbers (a number for an array without axes)."""
        return self.numpy().tolist()

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __complex__(self):
        return complex(self.item())

    def __index__(self):
        if self.t.ndim or self.t.dtype > INT64:
            raise TypeError(f"index: expected an int64 array without axes, got {self.dtype} of shape {self.shape}")
        return int(self.item())

    def __bool__(self):
        if self.t.size != 1:
            raise ValueError(f"bool: the truth of an array of shape {self.shape} is ambiguous; use .any() or .all()")
        return bool(element(self.t, self.t.data))

    def __hash__(self):
        return <isize> <PyObject *> self >> 4

    def __iter__(self):
        if self.t.ndim == 0:
            raise TypeError("iter: an array without axes cannot be iterated over")
        return iter([self[i] for i in range(self.t.shape[0])])

    def __contains__(self, value):
        equal = self == value
        return bool(equal.any()) if type(equal) is Array else False

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("Array: the buffer is read-only, because values never change; copy it first")
        cdef Tensor *t = self.t
        if not t.contiguous and (flags & PyBUF_STRIDES) != PyBUF_STRIDES:
            raise BufferError("Array: the values are not contiguous; ask for strides, or use ascontiguousarray")
        if ((flags & PyBUF_C_CONTIGUOUS) == PyBUF_C_CONTIGUOUS and not t.contiguous
                or (flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS and not column_major(t)
                or (flags & PyBUF_ANY_CONTIGUOUS) == PyBUF_ANY_CONTIGUOUS and not (t.contiguous or column_major(t))):
            raise BufferError("Array: the values are not contiguous in the order that was asked for; copy them first")
        cdef isize *strides = <isize *> malloc((MAX_NDIM + 1) * sizeof(isize))
        if strides == NULL:
            raise MemoryError
        for i in range(t.ndim):
            strides[i] = t.strides[i] * itemsize(t.dtype)
        tensor_retain(t)  # an export holds the tensor: an optimizer then gives its parameter new memory
        view.internal = strides
        view.buf = t.data
        view.obj = self
        view.len = t.size * itemsize(t.dtype)
        view.itemsize = itemsize(t.dtype)
        view.readonly = 1
        view.ndim = t.ndim
        view.format = format_of(t.dtype) if flags & PyBUF_FORMAT else NULL
        view.shape = t.shape if flags & PyBUF_ND else NULL
        view.strides = strides if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        # The exported tensor is found again through its shape, since the handle may show another one by then.
        strides[MAX_NDIM] = <isize> t

    def __releasebuffer__(self, Py_buffer *view):
        cdef isize *strides = <isize *> view.internal
        tensor_release(<Tensor *> strides[MAX_NDIM])
        free(strides)

    def __copy__(self):
        return self.copy()

    def copy(self):
        """Another handle on the same values, node and gradient, with a tracking flag of its own."""
        if self.t.dtype >= FLOAT32:
            leaf_node(self)  # so that the two share a gradient also where tracking begins later
        return alias(self)

    def __deepcopy__(self, memo):
        cdef Array out = contiguous_copy(self)
        if self.tracks:
            out.tracked()
        memo[id(self)] = out
        return out

    def __reduce__(self):
        return _restore, (np.ascontiguousarray(self.numpy()).tobytes(), self.shape, str(self.dtype), self.tracks)

    # ---- tracking and gradients

    def tracked(self):
        """Track operations on this array and keep its gradient; returns the array itself.

        Raises
        ------
        TypeError
            For int64 and bool arrays, which have no gradients.
        """
        require_float(self, "tracked")
        self.tracks = True
        leaf_node(self).keeps = True
        return self

    def untracked(self):
        """Stop tracking operations on this array; returns the array itself."""
        self.tracks = False
        return self

    def start_tracking(self):
        """Set the tracking flag; returns the flag's previous value."""
        previous = self.tracks
        require_float(self, "start_tracking")
        leaf_node(self)
        self.tracks = True
        return previous

    def stop_tracking(self):
        """Clear the tracking flag; returns the flag's previous value."""
        previous = self.tracks
        self.tracks = False
        return previous

    @property
    def is_tracked(self):
        """Whether operations on this array are recorded."""
        return bool(self.tracks)

    def detach(self):
        """The same values outside the graph, untracked."""
        return wrap_shared(self.t)

    @property
    def gradient(self):
        """The gradient that backward passes have summed up for this array, or None.

        An array of exactly this array's shape and dtype. It grows with every backward pass until `take_gradient()` or
        ``a.gradient = None``.
        """
        if self.node == NULL or self.node.gradient == NULL:
            return None
        return <object> self.node.gradient

    @gradient.setter
    def gradient(self, value):
        set_gradient(self, value)

    @gradient.deleter
    def gradient(self):
        set_gradient(self, None)

    def take_gradient(self):
        """Return the gradient (or None) and clear it."""
        gradient = self.gradient
        set_gradient(self, None)
        return gradient

    def backward(self, delta=None, *, bint create_graph=False):
        """Differentiate this array with respect to every tracked array that it was computed from.

        The gradients are added to those that the arrays have already. The graph stays usable for further passes.

        Parameters
        ----------
        delta : array_like, optional
            Cotangent of this array, of its shape; ones by default.
        create_graph : bool
            Record the backward pass itself, so that the gradients can be differentiated in turn.

        Raises
        ------
        TypeError
            For int64 and bool arrays.
        ValueError
            If delta's shape is not this array's, or if `create_graph` is asked of an array outside the graph.

        Examples
        --------
        >>> import corgi
        >>> a, b = corgi.array([5.0]).tracked(), corgi.array([2.0]).tracked()
        >>> (a * b).backward()
        >>> a.gradient, b.gradient
        (Array([2.], dtype=float64), Array([5.], dtype=float64))
        """
        backward(self, delta, create_graph)

    # ---- operators

    def __add__(self, other):
        return operator(OP_add, self, other, False)

    def __radd__(self, other):
        return operator(OP_add, self, other, True)

    def __sub__(self, other):
        return operator(OP_subtract, self, other, False)

    def __rsub__(self, other):
        return operator(OP_subtract, self, other, True)

    def __mul__(self, other):
        return operator(OP_multiply, self, other, False)

    def __rmul__(self, other):
        return operator(OP_multiply, self, other, True)

    def __truediv__(self, other):
        return operator(OP_divide, self, other, False)

    def __rtruediv__(self, other):
        return operator(OP_divide, self, other, True)

    def __floordiv__(self, other):
        return operator(OP_floor_divide, self, other, False)

    def __rfloordiv__(self, other):
        return operator(OP_floor_divide, self, other, True)

    def __mod__(self, other):
        return operator(OP_remainder, self, other, False)

    def __rmod__(self, other):
        return operator(OP_remainder, self, other, True)

    def __pow__(self, other, modulus):
        if modulus is not None:
            return NotImplemented
        return operator(OP_power, self, other, False)

    def __rpow__(self, other, modulus):
        return operator(OP_power, self, other, True)

    def __matmul__(self, other):
        return matmul(self, as_operand(other, "matmul")) if is_operand(other) else NotImplemented

    def __rmatmul__(self, other):
        return matmul(as_operand(other, "matmul"), self) if is_operand(other) else NotImplemented

    def __neg__(self):
        return pointwise(OP_negative, self, None, None)

    def __pos__(self):
        return alias(self)

    def __abs__(self):
        return pointwise(OP_absolute, self, None, None)

    def __invert__(self):
        if self.t.dtype != BOOL:
            raise TypeError(f"~: expected a bool array, got {self.dtype}")
        return pointwise(OP_logical_xor, self, scalar(True, BOOL), None)

    def __and__(self, other):
        return bool_operator(OP_logical_and, self, other)

    def __rand__(self, other):
        return bool_operator(OP_logical_and, self, other)

    def __or__(self, other):
        return bool_operator(OP_logical_or, self, other)

    def __ror__(self, other):
        return bool_operator(OP_logical_or, self, other)

    def __xor__(self, other):
        return bool_operator(OP_logical_xor, self, other)

    def __rxor__(self, other):
        return bool_operator(OP_logical_xor, self, other)

    def __eq__(self, other):
        return operator(OP_equal, self, other, False)

    def __ne__(self, other):
        return operator(OP_not_equal, self, other, False)

    def __lt__(self, other):
        return operator(OP_less, self, other, False)

    def __le__(self, other):
        return operator(OP_less_equal, self, other, False)

    def __gt__(self, other):
        return operator(OP_greater, self, other, False)

    def __ge__(self, other):
        return operator(OP_greater_equal, self, other, False)

    def __getitem__(self, index):
        return getitem(self, index)

    def __setitem__(self, index, value):
        raise TypeError("Array: values never change, so items cannot be assigned; make a new array, with corgi.where for example")

    def __delitem__(self, index):
        raise TypeError("Array: values never change, so items cannot be deleted; make a new array, by indexing for example")

    # ---- methods that are functions of the package under NumPy's names

    def astype(self, dtype):
        """The values in another dtype; see `corgi.astype`."""
        return astype(self, dtype)

    def reshape(self, *shape):
        """The values in another shape; one size may be -1. See `corgi.reshape`."""
        return reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], Integral) else shape)

    def transpose(self, *axes):
        """The array with its axes reversed or permuted; see `corgi.transpose`."""
        if len(axes) == 1 and not isinstance(axes[0], Integral):
            axes = axes[0]
        return transpose(self, axes if axes else None)

    def swapaxes(self, axis1, axis2):
        """The array with two axes exchanged; see `corgi.swapaxes`."""
        return swapaxes(self, axis1, axis2)

    def squeeze(self, axis=None):
        """The array without axes of size 1; see `corgi.squeeze`."""
        return squeeze(self, axis)

    def flatten(self):
        """The array with one axis."""
        return reshape(self, (-1,))

    def ravel(self):
        """The array with one axis."""
        return reshape(self, (-1,))

    def sum(self, axis=None, *, keepdims=False):
        """Sum over axes; see `corgi.sum`."""
        return sum(self, axis, keepdims=keepdims)

    def mean(self, axis=None, *, keepdims=False):
        """Mean over axes; see `corgi.mean`."""
        return mean(self, axis, keepdims=keepdims)

    def prod(self, axis=None, *, keepdims=False):
        """Product over axes; see `corgi.prod`."""
        return prod(self, axis, keepdims=keepdims)

    def max(self, axis=None, *, keepdims=False):
        """Maximum over axes; see `corgi.max`."""
        return max(self, axis, keepdims=keepdims)

    def min(self, axis=None, *, keepdims=False):
        """Minimum over axes; see `corgi.min`."""
        return min(self, axis, keepdims=keepdims)

    def var(self, axis=None, *, ddof=0, keepdims=False):
        """Variance over axes; see `corgi.var`."""
        return var(self, axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis=None, *, ddof=0, keepdims=False):
        """Standard deviation over axes; see `corgi.std`."""
        return std(self, axis, ddof=ddof, keepdims=keepdims)

    def cumsum(self, axis=None):
        """Running sum along an axis; see `corgi.cumsum`."""
        return cumsum(self, axis)

    def argmax(self, axis=None, *, keepdims=False):
        """Index of the maximum; see `corgi.argmax`."""
        return argmax(self, axis, keepdims=keepdims)

    def argmin(self, axis=None, *, keepdims=False):
        """Index of the minimum; see `corgi.argmin`."""
        return argmin(self, axis, keepdims=keepdims)

    def any(self, axis=None, *, keepdims=False):
        """Whether some element is true; see `corgi.any`."""
        return any(self, axis, keepdims=keepdims)

    def all(self, axis=None, *, keepdims=False):
        """Whether every element is true; see `corgi.all`."""
        return all(self, axis, keepdims=keepdims)

    def clip(self, minimum=None, maximum=None):
        """The values limited to an interval; see `corgi.clip`."""
        return call_row(OP_clip, (self, minimum, maximum))


# Handles come and go with every operation.  Those that went are kept for the next, which Cython would do as well, but with more
# around it: it takes a __dealloc__ for something that may touch the exception under way.
cdef extern from *:
    """
    static PyObject *spare_handles[1024];
    static int n_spare_handles = 0;

    static inline PyObject *new_handle(PyTypeObject *type)
    {
        if (n_spare_handles == 0) return PyType_GenericAlloc(type, 0);
        PyObject *handle = spare_handles[--n_spare_handles];
        _Py_NewReference(handle);
        return handle;
    }

    static inline void free_handle(PyObject *handle)
    {
        PyObject **weakrefs = (PyObject **)((char *)handle + Py_TYPE(handle)->tp_weaklistoffset);
        if (*weakrefs) PyObject_ClearWeakRefs(handle);
        if (n_spare_handles < 1024) {
            spare_handles[n_spare_handles++] = handle;
        } else {
            PyObject_Free(handle);
        }
    }

    /* `Array.__new__(Array)` from Python would make a handle without values. */
    static PyObject *refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
    {
        (void)type, (void)args, (void)kwargs;
        PyErr_SetString(PyExc_TypeError, "Array: arrays are not made by calling the class; use corgi.array(values)");
        return NULL;
    }

    static void set_slots(PyTypeObject *type, destructor release)
    {
        type->tp_new = refuse_new;
        type->tp_dealloc = release;
    }
    """
    ctypedef void (*destructor)(PyObject *) noexcept
    Array new_handle(type)
    void free_handle(PyObject *)
    void set_slots(type, destructor)


cdef void release_array(PyObject *a) noexcept:
    if (<Array> a).node != NULL:
        node_drop_handle((<Array> a).node)
        (<Array> a).node = NULL
    if (<Array> a).t != NULL:
        tensor_release((<Array> a).t)
    (<Array> a).tracks = False
    free_handle(a)


set_slots(Array, release_array)
