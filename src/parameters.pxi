# Finding what a layer holds: the one walk over its attributes, which every step of a model makes for the parameters.
#
# Above: corgi/layer/base.py.  Below: array.pxi.


cdef enum Wanted:
    PARAMETERS
    ARRAYS
    LAYERS


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
    found : list
    places : list
        The first place of each: nested pairs (place of what holds it or None, name, position or key).

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import find
    >>> found, places = find(corgi.layer.Dense(3, 2), corgi.layer.Layer, "parameters")
    >>> places
    [(None, 'weight'), (None, 'bias')]
    """
    cdef list found = [], places = []
    cdef set seen = set()
    is_new(layer, seen)
    search(layer, None, PARAMETERS if wanted == "parameters" else ARRAYS if wanted == "arrays" else LAYERS,
           found, places, seen, layer_type)
    return found, places


cdef int search(object holder, object place, Wanted wanted, list found, list places, set seen, type layer_type) except -1:
    cdef isize i
    if PyObject_TypeCheck(holder, layer_type):
        for name, value in (<dict> holder.__dict__).items():
            if not (isinstance(name, str) and PyUnicode_READ_CHAR(name, 0) == u'_'):
                visit(value, place, name, wanted, found, places, seen, layer_type)
    elif isinstance(holder, dict):
        for name, value in holder.items():
            visit(value, place, name, wanted, found, places, seen, layer_type)
    else:
        for i, value in enumerate(holder):
            visit(value, place, i, wanted, found, places, seen, layer_type)
    return 0


cdef int visit(object value, object place, object name, Wanted wanted, list found, list places, set seen,
               type layer_type) except -1:
    if type(value) is Array:
        if (wanted == ARRAYS or (wanted == PARAMETERS and (<Array> value).tracks)) and is_new(value, seen):
            found.append(value)
            places.append((place, name))
    elif (isinstance(value, list) or isinstance(value, tuple) or isinstance(value, dict)
            or PyObject_TypeCheck(value, layer_type)) and is_new(value, seen):
        place = (place, name)
        if wanted == LAYERS and PyObject_TypeCheck(value, layer_type):
            found.append(value)
            places.append(place)
        search(value, place, wanted, found, places, seen, layer_type)
    return 0


cdef bint is_new(object value, set seen):
    """Whether an object has not been seen before; now it has."""
    cdef isize before = len(seen)
    seen.add(<size_t> <void *> value)
    return len(seen) > before
