"""einsum, tensordot, dot, outer: sums of products over axes of arrays, done by transposes and matrix products.

Above: users.  Below: `corgi._core.matmul` and the views, which make these differentiable to any order, and the axis helpers
and `diagonal` of composite.py.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, SupportsIndex

import numpy as np

from corgi._core import matmul, reshape, transpose
from corgi._core import sum as sum_over
from corgi.composite import as_array, axes_of, diagonal, ravel

if TYPE_CHECKING:
    from corgi._core import Array
    from corgi._typing import ArrayLike, Shape

__all__ = ["dot", "einsum", "outer", "tensordot"]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase  # in NumPy's alphabetical order


# ---- two operands: every axis has a label, a character or an int


def _arranger(labels, order, sizes, shape=None):
    """A function that puts the axes of an array in order, with an axis of size 1 for each missing label, or in a shape."""
    axes = [labels.index(label) for label in order if label in labels]
    moves = axes != list(range(len(axes)))
    spread = tuple([slice(None) if label in labels else None for label in order]) if len(axes) < len(order) else None
    reshapes = shape is not None and shape != tuple([sizes[label] for label in order])

    def arrange(x):
        if moves:
            x = transpose(x, axes)
        if spread:
            x = x[spread]
        return reshape(x, shape) if reshapes else x

    return arrange


def _contraction(x_labels, y_labels, kept, sizes):
    """How to multiply two operands and sum over the labels that are not in `kept` (which both have, once each).

    Returns a function of the operands, and the labels of its result. The axes are grouped as (batch, own, summed) and
    (batch, summed, own), so that a matrix product does the work; they come in the order of `kept` where the sides allow it.
    """
    batch = [label for label in kept if label in x_labels and label in y_labels]
    summed = [label for label in x_labels if label not in kept]
    swaps = next((label for label in kept if label not in batch), None) in y_labels
    if swaps:
        x_labels, y_labels = y_labels, x_labels
    rows = [label for label in kept if label in x_labels and label not in batch]
    columns = [label for label in kept if label in y_labels and label not in batch]
    labels = batch + rows + columns
    if not summed or (batch and not rows and not columns):
        left = _arranger(x_labels, labels + summed, sizes)
        right = _arranger(y_labels, labels + summed, sizes)
        axes = tuple(range(len(labels), len(labels) + len(summed)))

        def multiply(x, y):
            product = left(x) * right(y)
            return sum_over(product, axes) if axes else product

    else:
        b, m, k, n = [math.prod([sizes[label] for label in group]) for group in (batch, rows, summed, columns)]
        stack = (b,) if batch else ()
        left = _arranger(x_labels, batch + rows + summed, sizes, (*stack, m, k))
        right = _arranger(y_labels, batch + summed + columns, sizes, (*stack, k, n))
        shape = tuple([sizes[label] for label in labels])
        reshapes = shape != (*stack, m, n)

        def multiply(x, y):
            product = matmul(left(x), right(y))
            return reshape(product, shape) if reshapes else product

    return (lambda x, y: multiply(y, x)) if swaps else multiply, labels


# ---- einsum


def einsum(subscripts: str | ArrayLike, *operands: Any, optimize: Literal["greedy", "optimal"] = "greedy") -> Array:
    """Sum of products of arrays over labelled axes, by Einstein's convention, in NumPy's notation.

    Parameters
    ----------
    subscripts : str
        A label (a letter) for each axis of each operand, as in ``"ij,jk->ik"``. A label repeated within an operand means its
        diagonal; labels missing after the arrow are summed over; without an arrow the result has the labels that occur
        once, in alphabetical order. ``...`` stands for axes that broadcast. NumPy's other form,
        ``einsum(a, [0, 1], b, [1, 2], [0, 2])``, is understood as well.
    *operands : array_like
        Axes of size 1 broadcast. bool counts as int64.
    optimize : {"greedy", "optimal"}
        How to choose the order in which three or more operands are multiplied; see `numpy.einsum_path`.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the subscripts are malformed or do not fit the operands.

    Examples
    --------
    >>> import corgi
    >>> corgi.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 10.0])
    Array([21., 43.], dtype=float64)
    >>> corgi.einsum("ii", [[1.0, 2.0], [3.0, 4.0]])
    Array(5., dtype=float64)
    """
    if not isinstance(subscripts, str):
        subscripts, operands = _from_sublists((subscripts, *operands))
    if optimize not in ("greedy", "optimal"):
        raise ValueError(f"einsum: expected optimize to be 'greedy' or 'optimal', got {optimize!r}")
    terms = [as_array(x) for x in operands]
    plan: _Plan = _plan(subscripts, tuple([x.shape for x in terms]), optimize)
    terms = [prepare(x) for prepare, x in zip(plan.prepare, terms, strict=True)]
    for i, j, multiply in plan.steps:
        terms.append(multiply(terms.pop(i), terms.pop(j)))
    return plan.finish(terms[0])


class _Plan(NamedTuple):
    """What einsum does for given subscripts and shapes."""

    prepare: list[Any]  # for each operand a function
    steps: list[Any]  # (i, j, function): take out operand i, then j of the rest, and append the function of both
    finish: Callable[[Array], Array]


@lru_cache(maxsize=1024)
def _plan(subscripts, shapes, optimize):
    inputs, output = _parse(subscripts, [len(shape) for shape in shapes])
    sizes = _sizes(inputs, shapes)
    # Axes of size 1 that broadcast are dropped: what is left without a label broadcasts anyway.
    spread = [
        [size == 1 and sizes[label] != 1 for label, size in zip(labels, shape, strict=True)]
        for labels, shape in zip(inputs, shapes, strict=True)
    ]
    inputs = [
        [label for label, drop in zip(labels, drops, strict=True) if not drop]
        for labels, drops in zip(inputs, spread, strict=True)
    ]
    prepare, terms = [], []
    for k, (labels, drops) in enumerate(zip(inputs, spread, strict=True)):
        elsewhere = set(output).union(*inputs[:k], *inputs[k + 1 :])
        function, kept = _preparation(labels, drops, elsewhere)
        prepare.append(function)
        terms.append(kept)
    steps = []
    for i, j in _pairs(terms, output, sizes, optimize):
        x, y = terms.pop(i), terms.pop(j)
        later = set().union(*terms)
        wanted = output + [label for label in sizes if label in later and label not in output]
        multiply, labels = _contraction(x, y, [label for label in wanted if label in x or label in y], sizes)
        steps.append((i, j, multiply))
        terms.append(labels)
    return _Plan(prepare, steps, _arranger(terms[0], output, sizes))


def _sizes(inputs, shapes):
    """The size that each label stands for."""
    sizes: dict[Any, int] = {}
    for k, (labels, shape) in enumerate(zip(inputs, shapes, strict=True)):
        own: dict[Any, int] = {}
        for label, size in zip(labels, shape, strict=True):
            if own.setdefault(label, size) != size:
                raise ValueError(f"einsum: label {_show(label)} stands for sizes {own[label]} and {size} in operand {k}")
            if sizes.get(label, 1) == 1:
                sizes[label] = size
            elif size not in (1, sizes[label]):
                raise ValueError(f"einsum: label {_show(label)} stands for sizes {sizes[label]} and {size}")
    return sizes


def _preparation(labels, drops, elsewhere):
    """What to do with one operand alone: drop axes, take the diagonals of repeated labels, sum over those not `elsewhere`.

    Returns a function, and the labels of its result, each once.
    """
    index = tuple([0 if drop else slice(None) for drop in drops]) if any(drops) else None
    labels, diagonals = list(labels), []
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            diagonals.append((i, j))
            del labels[j], labels[i]
            labels.append(label)
    gone = tuple([i for i, label in enumerate(labels) if label not in elsewhere])

    def prepare(x):
        if x.dtype.kind == "b":
            x = x.astype("int64")
        if index:
            x = x[index]
        for i, j in diagonals:
            x = diagonal(x, 0, i, j)
        return sum_over(x, gone) if gone else x

    return prepare, [label for label in labels if label in elsewhere]


def _pairs(terms, output, sizes, optimize):
    """Which two operands to multiply at each step: NumPy's order, found from the shapes alone."""
    if len(terms) < 3:
        return [(0, 0)] * (len(terms) - 1)
    if len(sizes) > 52:
        raise ValueError(f"einsum: expected at most 52 different labels, got {len(sizes)}")
    letter = dict(zip(sizes, _LETTERS, strict=False))
    subscripts = ["".join([letter[label] for label in labels]) for labels in (*terms, output)]
    dummies = [np.broadcast_to(0.0, [sizes[label] for label in labels]) for labels in terms]
    path = np.einsum_path(",".join(subscripts[:-1]) + "->" + subscripts[-1], *dummies, optimize=optimize)[0][1:]
    pairs, count = [], len(terms)
    for positions in path:
        # A step may name more than two operands: the first two are multiplied, then the next with the product (the last).
        chosen = sorted(positions)
        while len(chosen) > 1:
            i, j = chosen.pop(0), chosen.pop(0)
            pairs.append((i, j - 1))
            count -= 1
            chosen = [position - 2 for position in chosen] + [count - 1]
    return pairs


def _show(label):
    return repr(label) if isinstance(label, str) else "of '...'"


def _parse(subscripts, ndims):
    """Labels of each operand and of the result, lists; an axis under an ellipsis is labelled by its place from the right."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: expected {len(terms)} operands for {subscripts!r}, got {len(ndims)}")
    inputs = [_labels(term, ndim, subscripts) for term, ndim in zip(terms, ndims, strict=True)]
    places = sorted({label for labels in inputs for label in labels if isinstance(label, int)})
    if arrow:
        output = _labels(right, len(right.replace("...", "")) + len(places) * ("..." in right), subscripts)
        if places and "..." not in right:
            raise ValueError(f"einsum: expected '...' in the result of {subscripts!r}, because operands have such axes")
    else:
        letters = "".join(terms).replace(".", "")
        output = places + sorted({letter for letter in letters if letters.count(letter) == 1})
    for label in output:
        if output.count(label) > 1:
            raise ValueError(f"einsum: label {_show(label)} occurs twice in the result of {subscripts!r}")
        if not any(label in labels for labels in inputs):
            raise ValueError(f"einsum: label {_show(label)} of the result of {subscripts!r} occurs in no operand")
    return inputs, output


def _labels(term, ndim, subscripts):
    before, ellipsis, after = term.partition("...")
    letters = before + after
    if not all(letter.isascii() and letter.isalpha() for letter in letters):
        raise ValueError(f"einsum: expected letters, '...', ',' and '->', got {subscripts!r}")
    rest = ndim - len(letters)
    if rest < 0 or (rest and not ellipsis):
        raise ValueError(f"einsum: {term!r} has {len(letters)} labels for an operand with {ndim} axes in {subscripts!r}")
    return [*before, *range(-rest, 0), *after]


def _from_sublists(items: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """NumPy's form with lists of ints as the usual form."""
    if len(items) < 2:
        raise TypeError(f"einsum: expected subscripts, a str, before the operands, got {type(items[0]).__name__}")
    pairs, result = (items, None) if len(items) % 2 == 0 else (items[:-1], items[-1])

    def text(sublist):
        try:
            return "".join(["..." if i is Ellipsis else _LETTERS[range(52).index(i)] for i in sublist])
        except (TypeError, ValueError):
            raise TypeError(
                f"einsum: expected a str, or after each operand a list of ints below 52, got {sublist!r}"
            ) from None

    subscripts = ",".join([text(sublist) for sublist in pairs[1::2]])
    return subscripts if result is None else f"{subscripts}->{text(result)}", pairs[::2]


def tensordot(a: ArrayLike, b: ArrayLike, axes: SupportsIndex | Sequence[Shape] = 2) -> Array:
    """Sum of products over chosen axes of two arrays.

    Parameters
    ----------
    a, b : array_like
    axes : int, or pair of ints or of sequences of ints
        How many of `a`'s last axes meet as many of `b`'s first, or which axes of `a` meet which of `b`.

    Returns
    -------
    Array
        Its axes are the other axes of `a`, then those of `b`.

    Raises
    ------
    ValueError
        If the axes do not match in number or size.

    Examples
    --------
    >>> import corgi
    >>> corgi.tensordot(corgi.ones((2, 3, 4)), corgi.ones((4, 3, 5)), axes=([1, 2], [1, 0])).shape
    (2, 5)
    """
    x, y = as_array(a), as_array(b)
    if hasattr(axes, "__index__"):
        count = axes.__index__()
        if not 0 <= count <= min(x.ndim, y.ndim):
            raise ValueError(
                f"tensordot: expected axes from 0 to {min(x.ndim, y.ndim)} for {x.shape} and {y.shape}, got {count}"
            )
        axes = list(range(x.ndim - count, x.ndim)), list(range(count))
    try:
        first, second = axes
    except (TypeError, ValueError):
        raise TypeError(f"tensordot: expected an int or a pair of axes, got {axes!r}") from None
    first, second = axes_of("tensordot", first, x.ndim), axes_of("tensordot", second, y.ndim)
    if [x.shape[i] for i in first] != [y.shape[i] for i in second]:
        raise ValueError(f"tensordot: axes {first} of shape {x.shape} do not fit axes {second} of shape {y.shape}")
    x_labels = list(range(x.ndim))
    y_labels = [first[second.index(i)] if i in second else x.ndim + i for i in range(y.ndim)]
    kept = [i for i in x_labels if i not in first] + [label for label in y_labels if label >= x.ndim]
    sizes = dict(zip(x_labels + y_labels, x.shape + y.shape, strict=True))
    result: Array = _contraction(x_labels, y_labels, kept, sizes)[0](x, y)
    return result


def dot(a: ArrayLike, b: ArrayLike) -> Array:
    """Product of two arrays in the sense of `numpy.dot`: the last axis of `a` meets the last but one of `b`.

    Parameters
    ----------
    a, b : array_like
        Two vectors give a number, two matrices their product; an array without axes multiplies.

    Returns
    -------
    Array

    Raises
    ------
    ValueError
        If the axes have different sizes.

    Examples
    --------
    >>> import corgi
    >>> corgi.dot([1.0, 2.0], [3.0, 4.0])
    Array(11., dtype=float64)
    """
    x, y = as_array(a), as_array(b)
    if x.ndim == 0 or y.ndim == 0:
        return x * y
    along = max(y.ndim - 2, 0)
    if x.shape[-1] != y.shape[along]:
        raise ValueError(f"dot: inner sizes differ, {x.shape} and {y.shape}: {x.shape[-1]} != {y.shape[along]}")
    return tensordot(x, y, (-1, along))


def outer(a: ArrayLike, b: ArrayLike) -> Array:
    """Products of every element of `a` with every element of `b`.

    Parameters
    ----------
    a, b : array_like
        Flattened if they have more than one axis.

    Returns
    -------
    Array
        Of shape (size of `a`, size of `b`).

    Examples
    --------
    >>> import corgi
    >>> corgi.outer([1.0, 2.0], [3.0, 4.0])
    Array([[3., 4.],
           [6., 8.]], dtype=float64)
    """
    return ravel(a)[:, None] * ravel(b)
