# Finding the parameters of a layer, as every step of a model does.
#
# Above: corgi/layer/base.py.  Below: array.pxi.


def find_parameters(layer, type layer_type):
    """The tracked arrays in a layer's public attributes, and in layers, lists, tuples and dicts there, at any depth.

    Parameters
    ----------
    layer : Layer
    layer_type : type
        The base class of layers.

    Returns
    -------
    dict
        Of Array (by identity) to its first place, nested pairs (place of what holds it or None, name, position or key).

    Examples
    --------
    >>> import corgi
    >>> from corgi._core import find_parameters
    >>> dense = corgi.layer.Dense(3, 2)
    >>> [name for place, name in find_parameters(dense, corgi.layer.Layer).values()]
    ['weight', 'bias']
    """
    cdef dict found = {}
    search(layer, None, found, set(), layer_type)
    return found


cdef int search(object holder, object place, dict found, set seen, type layer_type) except -1:
    cdef isize i
    seen.add(<size_t> <void *> holder)
    if PyObject_TypeCheck(holder, layer_type):
        for name, value in (<dict> holder.__dict__).items():
            if not (isinstance(name, str) and PyUnicode_READ_CHAR(name, 0) == u'_'):
                visit(value, place, name, found, seen, layer_type)
    elif isinstance(holder, dict):
        for name, value in holder.items():
            visit(value, place, name, found, seen, layer_type)
    else:
        for i, value in enumerate(holder):
            visit(value, place, i, found, seen, layer_type)
    return 0


cdef int visit(object value, object place, object name, dict found, set seen, type layer_type) except -1:
    if type(value) is Array:
        if (<Array> value).tracks and value not in found:
            found[value] = (place, name)
    elif (isinstance(value, list) or isinstance(value, tuple) or isinstance(value, dict)
            or PyObject_TypeCheck(value, layer_type)) and <size_t> <void *> value not in seen:
        search(value, (place, name), found, seen, layer_type)
    return 0
