# Finding what a layer holds: the one walk over its attributes, which every step of a model makes for the parameters.
#
# Above: corgi/layer/base.py.  Below: array.pxi.


cdef enum Wanted:
    PARAMETERS
    ARRAYS
    LAYERS


cdef struct Seen:
    size_t count, size     # of places, a power of two
    void **places          # where an address is, or in the next free place
    void *few[64]


def find(layer, type layer_type, str wanted not None):
    """What is in a layer's public attributes, and in layers, lists, tuples and dicts there, at any depth, each once.

    Parameters
    ----------
    layer : Layer
    layer_type : type
        The base class of layers.
    wanted : {'parameters', 'arrays', 'layers'}
        Tracked arrays, all arrays, or layers.

    Returns
    -------
    list

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import find
    >>> [a.shape for a in find(corgi.layer.Dense(3, 2), corgi.layer.Layer, "parameters")]
    [(2, 3), (2,)]
    """
    return found_in(layer, layer_type, wanted, None)


def find_places(layer, type layer_type, str wanted not None):
    """What `find` finds, and the first place of each: nested pairs (place of what holds it or None, name, position or key).

    Returns
    -------
    found : list
    places : list

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import find_places
    >>> found, places = find_places(corgi.layer.Dense(3, 2), corgi.layer.Layer, "parameters")
    >>> places
    [(None, 'weight'), (None, 'bias')]
    """
    cdef list places = []
    return found_in(layer, layer_type, wanted, places), places


cdef list found_in(object layer, type layer_type, str wanted, list places):
    cdef list found = []
    cdef Seen seen
    memset(&seen, 0, sizeof(seen))
    seen.size, seen.places = 64, seen.few
    try:
        is_new(layer, &seen)
        search(layer, None, PARAMETERS if wanted == "parameters" else ARRAYS if wanted == "arrays" else LAYERS,
               found, places, &seen, layer_type)
    finally:
        if seen.places != seen.few:
            free(seen.places)
    return found


cdef int search(object holder, object place, Wanted wanted, list found, list places, Seen *seen, type layer_type) except -1:
    cdef isize i
    if PyObject_TypeCheck(holder, layer_type):
        for name, value in PyObject_GenericGetDict(holder, NULL).items():
            if not (isinstance(name, str) and PyUnicode_READ_CHAR(name, 0) == u'_'):
                visit(value, place, name, wanted, found, places, seen, layer_type)
    elif isinstance(holder, dict):
        for name, value in holder.items():
            visit(value, place, name, wanted, found, places, seen, layer_type)
    else:
        for i, value in enumerate(holder):
            visit(value, place, i, wanted, found, places, seen, layer_type)
    return 0


cdef int visit(object value, object place, object name, Wanted wanted, list found, list places, Seen *seen,
               type layer_type) except -1:
    if type(value) is Array:
        if (wanted == ARRAYS or (wanted == PARAMETERS and (<Array> value).tracks)) and is_new(value, seen):
            found.append(value)
            if places is not None:
                places.append((place, name))
    elif (isinstance(value, list) or isinstance(value, tuple) or isinstance(value, dict)
            or PyObject_TypeCheck(value, layer_type)) and is_new(value, seen):
        if places is not None:
            place = (place, name)
        if wanted == LAYERS and PyObject_TypeCheck(value, layer_type):
            found.append(value)
            if places is not None:
                places.append(place)
        search(value, place, wanted, found, places, seen, layer_type)
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
