"""Differentiation of functions: grad, vjp, jvp, Jacobians, Hessians, and a check of gradients against finite differences.

Above: users.  Below: `corgi._core.vjp_of`, which turns cotangents of outputs into cotangents of inputs.

Every transformation calls the function with aliases of its arguments, each with a node of its own, and differentiates by
those nodes: nobody's `gradient` changes, and levels of nesting cannot be confused.  The alias of a tracked argument stays
joined to it, and the pass back is recorded if anything outside the call could ask for its derivative: so calls nest.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

from functools import wraps
from numbers import Integral, Number
from typing import TYPE_CHECKING, Any

import numpy as np

from corgi._core import (
    Array,
    NotDifferentiable,
    arange,
    array,
    broadcast_to,
    no_tracking,
    ones,
    ones_like,
    pad,
    reaches_beyond,
    reshape,
    sqrt,
    stack,
    tracking,
    vjp_of,
    zeros,
    zeros_like,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["check_gradient", "grad", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"]


# ---- containers of arrays


def _is_sequence(tree):
    """Whether this is a container: a list of nothing but numbers is an array."""
    return isinstance(tree, (list, tuple)) and not (tree and _only_numbers(tree))


def _only_numbers(values):
    return all(
        type(value) is not Array
        and (isinstance(value, (float, int, Number)) or (isinstance(value, (list, tuple)) and _only_numbers(value)))
        for value in values
    )


def _tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same tuples, lists and dicts with `function` of the leaves; None is an empty container."""
    if type(tree) is Array:
        return function(tree)
    if isinstance(tree, dict):
        return {key: _tree_map(function, child) for key, child in tree.items()}
    if _is_sequence(tree):
        children = [_tree_map(function, child) for child in tree]
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return None if tree is None else function(tree)


def _leaves(tree: Any) -> list[Any]:
    if type(tree) is Array:
        return [tree]
    found: list[Any] = []
    _tree_map(found.append, tree)
    return found


def _refill(tree: Any, leaves: Iterator[Any]) -> Any:
    """The containers of `tree` with the next leaves of an iterator."""
    return _tree_map(lambda _: next(leaves), tree)


def _leaf_names(tree, name):
    """How one would write each leaf, as in `argument 0['weights'][1]`."""
    if isinstance(tree, dict):
        return [found for key, child in tree.items() for found in _leaf_names(child, f"{name}[{key!r}]")]
    if _is_sequence(tree):
        return [found for i, child in enumerate(tree) for found in _leaf_names(child, f"{name}[{i}]")]
    return [] if tree is None else [name]


def _as_array(leaf: Any) -> Array:
    return leaf if type(leaf) is Array else array(leaf)


def _leaves_like(tree: Any, like: Any, name: str, what: str) -> list[Array]:
    """The leaves of `tree` as Arrays, which must have the containers and shapes of `like`."""
    if type(like) is Array:
        leaf = _as_array(tree)
        if leaf.shape != like.shape:
            raise ValueError(f"{name}: expected {what} of shape {like.shape}, got {leaf.shape}")
        return [leaf]
    if like is None and tree is None:
        return []
    if isinstance(like, dict) and isinstance(tree, dict) and like.keys() == tree.keys():
        return [leaf for key in like for leaf in _leaves_like(tree[key], like[key], name, what)]
    if isinstance(like, (list, tuple)) and isinstance(tree, (list, tuple)) and len(like) == len(tree):
        return [leaf for child, model in zip(tree, like, strict=True) for leaf in _leaves_like(child, model, name, what)]
    raise ValueError(f"{name}: expected {what} with the structure {_outline(like)}, got {_outline(tree)}")


def _outline(tree):
    """A container with * for each leaf."""
    return repr(_tree_map(lambda _: _STAR, tree))


class _Star:
    def __repr__(self):
        return "*"


_STAR = _Star()


# ---- tracing


class _Trace:
    """One call of a function, recorded, ready to be differentiated by some of its arguments.

    `inputs` and `outputs` are the leaves of those arguments (aliases) and of the result; `value` and `aux` are the result,
    fit to be handed out. `beyond`: can anything outside the call ask for derivatives of what is computed here?
    """

    __slots__ = ("arguments", "aux", "beyond", "inputs", "name", "outputs", "value")

    def __init__(self, name, function, args, kwargs, argnums, has_aux=False):
        self.name = name
        args = list(args)
        with tracking() as outer:
            for i in argnums:
                args[i] = _alias(args[i], name, i)
            result = function(*args, **kwargs)
        self.arguments = [args[i] for i in argnums]
        self.inputs = _leaves(self.arguments[0]) if len(self.arguments) == 1 else _leaves(self.arguments)
        aux = None
        if has_aux:
            if not (isinstance(result, tuple) and len(result) == 2):
                raise TypeError(f"{name}: expected a pair (value, aux) because of has_aux, got {type(result).__name__}")
            result, aux = result
        value = _tree_map(_as_array, result)
        self.outputs = _leaves(value)
        for leaf in self.outputs:
            if leaf.dtype.kind != "f":
                raise TypeError(f"{name}: expected the function to return floats, got {leaf.dtype}, which has no gradient")
        self.beyond = outer and reaches_beyond(self.outputs + _arrays(aux), self.inputs)
        self.value = value if self.beyond else _tree_map(Array.detach, value)
        self.aux = aux if self.beyond else _tree_map(_detached, aux)

    def pull(self, cotangents, create_graph):
        """Gradients of the inputs from cotangents of the outputs."""
        return _pull(self.outputs, self.inputs, cotangents, create_graph)

    def pull_twice(self, vectors, create_graph):
        """The Hessian times vectors: the gradient of the gradient's product with them."""
        gradient = vjp_of(self.outputs, self.inputs, [ones_like(leaf) for leaf in self.outputs], True, True)
        return _pull(gradient, self.inputs, vectors, create_graph)

    def push(self, tangents, create_graph):
        """Tangents of the outputs from tangents of the inputs.

        A vjp is linear in its cotangent, so its own vjp with respect to that is the Jacobian times a vector
        (J. Townsend, A new trick for calculating Jacobian vector products, 2017).
        """
        transposed, cotangents = _transposed(self.outputs, self.inputs)
        return _pull(transposed, cotangents, tangents, create_graph)

    def shaped(self, gradients):
        """Leaves for the inputs in the containers of the arguments, a list."""
        remaining = iter(gradients)
        return [_refill(argument, remaining) for argument in self.arguments]


def _alias(leaf, name, index):
    """The values of an argument behind a node of their own."""
    if type(leaf) is not Array:
        if leaf is None or isinstance(leaf, dict) or _is_sequence(leaf):
            return _tree_map(lambda leaf: _alias(leaf, name, index), leaf)
        leaf = array(leaf)
    if leaf.is_tracked:
        return broadcast_to(leaf, leaf.shape)
    if leaf.dtype.kind != "f":
        raise TypeError(
            f"{name}: expected floats in argument {index}, got {leaf.dtype}, which has no gradient; "
            "write 1.0 for 1, or use astype(float)"
        )
    return leaf.detach().tracked()


def _arrays(aux):
    return [] if aux is None else [leaf for leaf in _leaves(aux) if type(leaf) is Array]


def _detached(leaf):
    return leaf.detach() if type(leaf) is Array else leaf


def _pull(outputs, inputs, cotangents, create_graph):
    """vjp_of, with a handle of its own for each result, and zeros for inputs that do not matter; an output may be None."""
    reached = [i for i, output in enumerate(outputs) if output is not None]
    if len(reached) < len(outputs):
        outputs, cotangents = [outputs[i] for i in reached], [cotangents[i] for i in reached]
    found = vjp_of(outputs, inputs, cotangents, create_graph, True)
    handle = Array.copy if create_graph else Array.detach
    return [zeros_like(inputs[i]) if g is None else handle(g) for i, g in enumerate(found)]


def _transposed(outputs, inputs):
    """The inputs' gradients as recorded functions of the outputs' cotangents, which come with them.

    They are linear, so the cotangents' values do not matter; but zeros would hide a custom op that cannot be differentiated.
    """
    cotangents = [sqrt(arange(1, leaf.size + 1, 1, leaf.dtype)).reshape(leaf.shape).tracked() for leaf in outputs]
    return vjp_of(outputs, inputs, cotangents, True, True), cotangents


def _recorded(trace, given):
    """Whether a pass back must be recorded: somebody outside may differentiate the trace, or what is given to the pass."""
    with tracking() as outer:
        return outer and (trace.beyond or any(leaf.is_tracked for leaf in given))


def _positions(name, argnums, count):
    """argnums as a list of positions from 0."""
    if type(argnums) is int and 0 <= argnums < count:
        return [argnums]
    wanted = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    for i in wanted:
        if isinstance(i, bool) or not isinstance(i, Integral):
            raise TypeError(f"{name}: expected an int or a tuple of ints for argnums, got {argnums!r}")
        if not -count <= i < count:
            raise ValueError(f"{name}: argnums is {argnums}, but the function was called with {count} positional arguments")
    found = [i % count for i in wanted]
    if len(set(found)) != len(found):
        raise ValueError(f"{name}: an argument is named twice in argnums {argnums}")
    return found


def _require_callable(name: str, function: Any) -> None:
    if not callable(function):
        raise TypeError(f"{name}: expected a function, got {type(function).__name__}")


def _require_scalar(trace):
    if type(trace.value) is not Array or trace.value.size != 1:
        got = f"shape {trace.value.shape}" if type(trace.value) is Array else type(trace.value).__name__
        raise ValueError(
            f"{trace.name}: expected the function to return one number, got {got}; sum it, or use vjp or jacobian"
        )


def _differentiated(
    name: str, function: Any, argnums: int | Sequence[int], has_aux: bool, args: Any, kwargs: Any
) -> tuple[Any, Any]:
    """The trace of a scalar function, and its gradient."""
    trace = _Trace(name, function, args, kwargs, _positions(name, argnums, len(args)), has_aux)
    _require_scalar(trace)
    gradient = trace.shaped(trace.pull([ones_like(trace.outputs[0])], trace.beyond))
    return trace, tuple(gradient) if isinstance(argnums, (tuple, list)) else gradient[0]


# ---- gradients


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of a scalar function.

    Parameters
    ----------
    f : callable
        Returns an array of size 1. Its differentiated arguments may be arrays, floats, lists of floats, NumPy arrays, or
        tuples, lists and dicts of these; it sees Arrays in their place. All other arguments are passed on as they are.
    argnums : int or tuple of ints
        The positional arguments to differentiate by.
    has_aux : bool
        `f` returns a pair: the value to differentiate, and anything else, which is passed on.

    Returns
    -------
    callable
        Takes `f`'s arguments; returns the gradient, an Array of the argument's shape and dtype (or containers of Arrays like
        the argument; a tuple if `argnums` is one), or with `has_aux` the pair of it and the auxiliary result. Arguments
        on which `f` does not depend get zeros.

    Raises
    ------
    TypeError
        If an argument or the result is not a float.
    ValueError
        If the result is not of size 1.

    Examples
    --------
    >>> import corgi
    >>> corgi.grad(lambda x: x**3)(2.0)
    Array(12., dtype=float64)
    >>> corgi.grad(corgi.grad(lambda x: x**3))(2.0)
    Array(12., dtype=float64)
    """
    _require_callable("grad", f)

    @wraps(f, updated=())
    def gradient_of(*args, **kwargs):
        trace, gradient = _differentiated("grad", f, argnums, has_aux, args, kwargs)
        return (gradient, trace.aux) if has_aux else gradient

    return gradient_of


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns both the value and the gradient of a scalar function; see `grad`.

    Parameters
    ----------
    f : callable
    argnums : int or tuple of ints
    has_aux : bool

    Returns
    -------
    callable
        Takes `f`'s arguments; returns ``(value, gradient)``, or ``((value, aux), gradient)``.

    Examples
    --------
    >>> import corgi
    >>> corgi.value_and_grad(lambda x: (x * x).sum())([1.0, 2.0])
    (Array(5., dtype=float64), Array([2., 4.], dtype=float64))
    """
    _require_callable("value_and_grad", f)

    @wraps(f, updated=())
    def value_and_gradient_of(*args, **kwargs):
        trace, gradient = _differentiated("value_and_grad", f, argnums, has_aux, args, kwargs)
        return ((trace.value, trace.aux) if has_aux else trace.value), gradient

    return value_and_gradient_of


def vjp(f: Callable[..., Any], *args: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of a function, and a function that pulls cotangents of the value back to the arguments.

    Parameters
    ----------
    f : callable
        Returns a float array, or tuples, lists and dicts of them.
    *args
        All are differentiated; see `grad` for what they may be.

    Returns
    -------
    value
        ``f(*args)``.
    pullback : callable
        Takes a cotangent, which looks like the value, and returns a tuple: for each argument the vector-Jacobian product.
        May be called more than once.

    Examples
    --------
    >>> import corgi
    >>> value, pullback = corgi.vjp(lambda x, y: x * y, [1.0, 2.0], [3.0, 4.0])
    >>> pullback([1.0, 10.0])
    (Array([ 3., 40.], dtype=float64), Array([ 1., 20.], dtype=float64))
    """
    _require_callable("vjp", f)
    trace = _Trace("vjp", f, args, {}, range(len(args)))

    def pullback(cotangent):
        cotangents = _leaves_like(cotangent, trace.value, "vjp", "a cotangent")
        return tuple(trace.shaped(trace.pull(cotangents, _recorded(trace, cotangents))))

    return trace.value, pullback


def _as_tuple(name, args, vectors, what):
    """Arguments and one vector for each, as tuples: anything but a tuple is one argument."""
    if not isinstance(args, tuple):
        return (args,), (vectors,)
    if not isinstance(vectors, (tuple, list)) or len(vectors) != len(args):
        got = f"{len(vectors)}" if isinstance(vectors, (tuple, list)) else type(vectors).__name__
        raise ValueError(f"{name}: expected {len(args)} {what}, one for each argument, got {got}")
    return args, tuple(vectors)


def jvp(f: Callable[..., Any], args: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of a function, and its derivative along a direction.

    Parameters
    ----------
    f : callable
        Returns a float array, or tuples, lists and dicts of them.
    args : tuple, or any other single argument
        The arguments; see `grad` for what they may be.
    tangents
        The direction, which looks like `args`.

    Returns
    -------
    value
        ``f(*args)``.
    tangent
        The Jacobian times the tangents, which looks like the value. It is computed as the vjp of a vjp, so a custom op on
        the way needs a backward function written in terms of corgi's operations.

    Examples
    --------
    >>> import corgi
    >>> corgi.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (Array(6., dtype=float64), Array(23., dtype=float64))
    """
    _require_callable("jvp", f)
    args, tangents = _as_tuple("jvp", args, tangents, "tangents")
    trace = _Trace("jvp", f, args, {}, range(len(args)))
    given = _leaves_like(tangents, tuple(trace.arguments), "jvp", "a tangent")
    return trace.value, _refill(trace.value, iter(trace.push(given, _recorded(trace, given))))


# ---- matrices of derivatives


def _jacobian(name, function, argnums, args, kwargs):
    trace = _Trace(name, function, args, kwargs, _positions(name, argnums, len(args)))
    several = isinstance(argnums, (tuple, list))
    blocks = []
    for output in trace.outputs:
        block = trace.shaped(_jacobian_blocks(trace, output))
        blocks.append(tuple(block) if several else block[0])
    return _refill(trace.value, iter(blocks))


def _jacobian_blocks(trace, output):
    """Derivatives of one output by each input: row by row or, where that takes fewer passes, column by column."""
    size = output.size
    if size == 0:
        return [zeros(output.shape + x.shape, dtype=x.dtype) for x in trace.inputs]
    if 2 * sum(x.size for x in trace.inputs) <= size:
        try:
            return _jacobian_columns(trace, output)
        except NotDifferentiable:  # for the second time, as columns need; rows do not
            pass
    return _jacobian_rows(trace, output)


def _unit_vectors(x):
    """Arrays like x, each with a one in another place, in order."""
    if x.size == 1:
        return [ones_like(x)]
    window = pad(ones((1,), dtype=x.dtype), x.size - 1)  # every unit vector is a part of it
    return [reshape(window[i : i + x.size], x.shape) for i in range(x.size - 1, -1, -1)]


def _jacobian_rows(trace, output):
    """A pull for each element of the output, all over the same graph."""
    rows = [_pull([output], trace.inputs, [unit], trace.beyond) for unit in _unit_vectors(output)]
    columns = zip(zip(*rows, strict=True), trace.inputs, strict=True)
    return [reshape(stack(column), output.shape + x.shape) for column, x in columns]


def _jacobian_columns(trace, output):
    """A push for each element of the inputs, each through that part of the graph alone which its input reaches."""
    transposed, cotangents = _transposed([output], trace.inputs)
    blocks = []
    for x, pulled in zip(trace.inputs, transposed, strict=True):
        if pulled is None or x.size == 0:
            blocks.append(zeros(output.shape + x.shape, dtype=x.dtype))
            continue
        columns = [_pull([pulled], cotangents, [unit], trace.beyond)[0] for unit in _unit_vectors(x)]
        block = columns[0] if len(columns) == 1 else stack(columns, -1)
        blocks.append((block if x.ndim == 0 else reshape(block, output.shape + x.shape)).astype(x.dtype))
    return blocks


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the Jacobian: the derivative of every element of the result by every element of an argument.

    Parameters
    ----------
    f : callable
        Returns a float array (or containers of them: then there is a Jacobian for each).
    argnums : int or tuple of ints
        The positional arguments to differentiate by.

    Returns
    -------
    callable
        Takes `f`'s arguments; returns an Array whose shape is the result's followed by the argument's (or containers of such
        Arrays like the argument; a tuple if `argnums` is one). It costs one call of `f` and a pass for each element of the
        result or, where that is half as many or less, for each element of the arguments.

    Raises
    ------
    ValueError
        If that shape has more than 8 axes.

    Examples
    --------
    >>> import corgi
    >>> corgi.jacobian(lambda x: x * x)([1.0, 2.0])
    Array([[2., 0.],
           [0., 4.]], dtype=float64)
    """
    _require_callable("jacobian", f)

    @wraps(f, updated=())
    def jacobian_of(*args, **kwargs):
        return _jacobian("jacobian", f, argnums, args, kwargs)

    return jacobian_of


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the Hessian of a scalar function: the Jacobian of its gradient.

    Parameters
    ----------
    f : callable
        Returns an array of size 1.
    argnums : int or tuple of ints
        The positional arguments to differentiate by.

    Returns
    -------
    callable
        Takes `f`'s arguments; returns an Array whose shape is the argument's twice. For containers, and for a tuple of
        `argnums`, the blocks lie in nested containers: ``hessian[i][j]``.

    Examples
    --------
    >>> import corgi
    >>> corgi.hessian(lambda x: x[0] * x[1] ** 2)([1.0, 2.0])
    Array([[0., 4.],
           [4., 2.]], dtype=float64)
    """
    _require_callable("hessian", f)

    @wraps(f, updated=())
    def hessian_of(*args, **kwargs):
        def gradient_of(*args, **kwargs):
            return _differentiated("hessian", f, argnums, False, args, kwargs)[1]

        return _jacobian("hessian", gradient_of, argnums, args, kwargs)

    return hessian_of


def hvp(f: Callable[..., Any], args: Any, vectors: Any) -> Any:
    """The Hessian of a scalar function times a vector, at about the cost of two gradients: the Hessian is never formed.

    Parameters
    ----------
    f : callable
        Returns an array of size 1.
    args : tuple, or any other single argument
        The arguments; see `grad` for what they may be.
    vectors
        The vector, which looks like `args`.

    Returns
    -------
    tuple, or containers like the single argument
        For each argument its part of the product.

    Examples
    --------
    >>> import corgi
    >>> corgi.hvp(lambda x: x[0] * x[1] ** 2, [1.0, 2.0], [1.0, 0.0])
    Array([0., 4.], dtype=float64)
    """
    _require_callable("hvp", f)
    several = isinstance(args, tuple)
    args, vectors = _as_tuple("hvp", args, vectors, "vectors")
    trace = _Trace("hvp", f, args, {}, range(len(args)))
    _require_scalar(trace)
    given = _leaves_like(vectors, tuple(trace.arguments), "hvp", "a vector")
    products = tuple(trace.shaped(trace.pull_twice(given, _recorded(trace, given))))
    return products if several else products[0]


# ---- checking


def check_gradient(
    f: Callable[..., Any],
    *args: Any,
    order: int = 2,
    step: float = 1e-5,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    samples: int = 50,
    seed: int = 0,
) -> None:
    """Compare the derivatives of a function with central differences, in float64.

    A result of more than one element is multiplied by random numbers and summed; the gradient of that is compared, element
    by element, with ``(f(x + h) - f(x - h)) / 2h``. Order 2 does the same with the gradient as the function, and so on.

    Parameters
    ----------
    f : callable
        Returns a float array, or tuples, lists and dicts of them. It must be smooth at the arguments.
    *args
        All are checked; see `grad` for what they may be. They are converted to float64.
    order : int
        Up to which order of derivatives, at least 1.
    step : float
        h, relative to the element where that is larger than 1.
    rtol, atol : float
        Two numbers agree if they differ by at most ``atol + rtol * max(abs(analytic), abs(numerical))``.
    samples : int
        At most that many elements of each array are tried, chosen at random.
    seed : int
        Seed of what is random.

    Raises
    ------
    AssertionError
        At the first element where they disagree; the message names the order, the argument, the index and both numbers.

    Examples
    --------
    >>> import corgi
    >>> corgi.check_gradient(lambda x, y: x * corgi.exp(y), [1.0, 2.0], [0.5, -1.0])
    >>> wrong = corgi.op(lambda x: x * x, lambda arrays, tracked, delta: [3 * arrays[0] * delta])
    >>> corgi.check_gradient(wrong, [1.0])
    Traceback (most recent call last):
        ...
    AssertionError: check_gradient: order 1, argument 0, index (0,): analytic 3, numerical 2
    """
    _require_callable("check_gradient", f)
    if isinstance(order, bool) or not isinstance(order, Integral) or order < 1:
        raise ValueError(f"check_gradient: expected an order of at least 1, got {order!r}")
    random = np.random.default_rng(seed)
    function = f
    with no_tracking():
        args = tuple([_tree_map(_to_float64, argument) for argument in args])
        for level in range(1, order + 1):
            trace = _Trace("check_gradient", function, args, {}, range(len(args)))
            weights = [array(random.standard_normal(leaf.shape)) for leaf in trace.outputs]
            if len(weights) == 1 and weights[0].size == 1:
                weights = [ones_like(weights[0])]
            _compare(level, function, args, trace, weights, (step, rtol, atol), samples, random)
            function = _weighted_gradient(function, weights)


def _to_float64(leaf):
    x = _as_array(leaf)
    return x.astype("float64").detach() if x.dtype.kind == "f" else x


def _weighted_gradient(function, weights):
    """The gradient of the sum of all results times their weights, as a function of the same arguments."""

    def gradient_of(*args):
        trace = _Trace("check_gradient", function, args, {}, range(len(args)))
        return tuple(trace.shaped(trace.pull(weights, trace.beyond)))

    return gradient_of


def _compare(level, function, args, trace, weights, tolerances, samples, random):
    step, rtol, atol = tolerances
    analytic = [gradient.numpy() for gradient in trace.pull(weights, False)]
    names = [name for i, argument in enumerate(args) for name in _leaf_names(argument, f"argument {i}")]
    leaves = _leaves(args)
    points = [leaf.numpy() for leaf in leaves]

    def results(k, index, value):
        moved = points[k].copy()
        moved[index] = value
        others = iter([*leaves[:k], array(moved), *leaves[k + 1 :]])
        return [leaf.numpy() for leaf in _leaves(_tree_map(_as_array, function(*_refill(args, others))))]

    for k, name in enumerate(names):
        chosen: Any = range(points[k].size)
        if len(chosen) > samples:
            chosen = np.sort(random.choice(len(chosen), samples, replace=False))
        for flat in chosen:
            index = tuple(map(int, np.unravel_index(flat, points[k].shape)))
            x = points[k][index]
            h = step * max(1.0, abs(x))
            above, below = results(k, index, x + h), results(k, index, x - h)
            change = sum(float((w.numpy() * (p - q)).sum()) for w, p, q in zip(weights, above, below, strict=True))
            numerical, found = change / ((x + h) - (x - h)), analytic[k][index]
            if not abs(found - numerical) <= atol + rtol * max(abs(found), abs(numerical)):
                raise AssertionError(
                    f"check_gradient: order {level}, {name}, index {index}: analytic {found:.8g}, numerical {numerical:.8g}"
                )
