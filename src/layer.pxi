# What layers do in every step: they are called, and searched for parameters by a walk over their attributes.
#
# Above: corgi/layer/base.py, which the rest of a layer is in.  Below: array.pxi.


cdef enum Wanted:
    PARAMETERS
    ARRAYS
    LAYERS


@cython.auto_pickle(False)  # it holds nothing
cdef class LayerBase:
    """The part of `corgi.layer.Layer` that is compiled."""

    def __call__(self, *args, **options):
        if len(args) == 1 and not options:
            return forward(self, args[0])
        try:
            return self.forward(*args, **options)
        except Exception as error:
            locate(error, self, "", None)
            raise

    def __reduce_ex__(self, protocol):
        return object.__reduce_ex__(self, protocol if protocol > 1 else 2)  # the older ones refuse compiled bases

    def parameters(self):
        """The parameters, each once, in the order of the attributes.

        Returns
        -------
        list of Arrays

        Examples
        --------
        >>> import corgi
        >>> [p.shape for p in corgi.layer.Dense(2, 3).parameters()]
        [(3, 2), (3,)]
        """
        return found_in(self, PARAMETERS, None)


# LayerBase holds nothing and makes nothing: where a layer's class has other bases, theirs is the __new__ that is called.
cdef extern from *:
    """
    static int leave_new_to_others(PyTypeObject *type)
    {
        type->tp_new = PyBaseObject_Type.tp_new;
        const int failed = PyDict_DelItemString(type->tp_dict, "__new__");
        PyType_Modified(type);
        return failed;
    }
    """
    int leave_new_to_others(type) except -1


leave_new_to_others(LayerBase)


def run_layers(LayerBase holder not None, x):
    """What the last of ``holder.layers`` makes of what the first makes of x, and so on.

    Examples
    --------
    >>> import corgi
    >>> corgi._core.run_layers(corgi.layer.Sequential([corgi.exp, corgi.log]), corgi.zeros(2))
    Array([0., 0.], dtype=float64)
    """
    cdef isize position = 0
    try:
        for layer in holder.layers:
            x = forward(layer, x) if is_plain(layer) else layer(x)
            position += 1
    except Exception as error:
        locate(error, holder, f"layers.{position}", holder.layers[position])
        raise
    return x


cdef inline bint is_plain(layer) noexcept:
    """Whether a call of this is `LayerBase.__call__`."""
    return Py_TYPE(layer).tp_call == (<PyTypeObject *> LayerBase).tp_call


cdef forward(layer, x):
    """A call with one argument, for which there is neither a tuple nor a dict."""
    try:
        return layer.forward(x)
    except Exception as error:
        locate(error, layer, "", None)
        raise


cdef int locate(error, layer, str item, function) except -1:
    from corgi import location
    location.locate(error, layer, item, function)
    return 0


cdef struct Seen:
    size_t count, size     # of places, a power of two
    void **places          # where an address is, or in the next free place
    void *few[64]


def find_places(LayerBase layer not None, str wanted not None):
    """What is in a layer's public attributes, and in layers, lists, tuples and dicts there, at any depth, each once.

    Parameters
    ----------
    layer : Layer
    wanted : {'parameters', 'arrays', 'layers'}
        Tracked arrays, all arrays, or layers.

    Returns
    -------
    found : list
    places : list
        The first place of each: nested pairs (place of what holds it or None, name, position or key).

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import find_places
    >>> found, places = find_places(corgi.layer.Dense(3, 2), "parameters")
    >>> places
    [(None, 'weight'), (None, 'bias')]
    """
    cdef list places = []
    return found_in(layer, PARAMETERS if wanted == "parameters" else ARRAYS if wanted == "arrays" else LAYERS, places), places


cdef list found_in(LayerBase layer, Wanted wanted, list places):
    cdef list found = []
    cdef Seen seen
    memset(&seen, 0, sizeof(seen))
    seen.size, seen.places = 64, seen.few
    try:
        is_new(layer, &seen)
        search(layer, None, wanted, found, places, &seen)
    finally:
        if seen.places != seen.few:
            free(seen.places)
    return found


cdef int search(object holder, object place, Wanted wanted, list found, list places, Seen *seen) except -1:
    cdef isize i
    if isinstance(holder, LayerBase):
        for name, value in PyObject_GenericGetDict(holder, NULL).items():
            if not (isinstance(name, str) and PyUnicode_READ_CHAR(name, 0) == u'_'):
                visit(value, place, name, wanted, found, places, seen)
    elif isinstance(holder, dict):
        for name, value in holder.items():
            visit(value, place, name, wanted, found, places, seen)
    else:
        for i, value in enumerate(holder):
            visit(value, place, i, wanted, found, places, seen)
    return 0


cdef int visit(object value, object place, object name, Wanted wanted, list found, list places, Seen *seen) except -1:
    if type(value) is Array:
        if (wanted == ARRAYS or (wanted == PARAMETERS and (<Array> value).tracks)) and is_new(value, seen):
            found.append(value)
            if places is not None:
                places.append((place, name))
    elif (isinstance(value, list) or isinstance(value, tuple) or isinstance(value, dict)
            or isinstance(value, LayerBase)) and is_new(value, seen):
        if places is not None:
            place = (place, name)
        if wanted == LAYERS and isinstance(value, LayerBase):
            found.append(value)
            if places is not None:
                places.append(place)
        search(value, place, wanted, found, places, seen)
    return 0


cdef bint is_new(object value, Seen *seen) except -1:
    """Whether an object has not been seen before; now it has."""
    if 2 * seen.count == seen.size:
        widen(seen)
    cdef void **place = place_of(seen, <void *> value)
    if place[0] != NULL:
        return False
    place[0] = <void *> value
    seen.count += 1
    return True


cdef inline void **place_of(Seen *seen, void *address) noexcept:
    """Where an address is, or would be."""
    cdef size_t i = <size_t> address >> 4
    i ^= i >> 8
    while seen.places[i & (seen.size - 1)] != NULL and seen.places[i & (seen.size - 1)] != address:
        i += 1
    return &seen.places[i & (seen.size - 1)]


cdef int widen(Seen *seen) except -1:
    cdef Seen wider
    cdef size_t i
    wider.size = 4 * seen.size
    wider.places = <void **> calloc(wider.size, sizeof(void *))
    if wider.places == NULL:
        raise MemoryError("find: not enough memory")
    for i in range(seen.size):
        if seen.places[i] != NULL:
            place_of(&wider, seen.places[i])[0] = seen.places[i]
    if seen.places != seen.few:
        free(seen.places)
    seen.size, seen.places = wider.size, wider.places
    return 0
