"""einsum, tensordot and their kin, sorting and rearrangements: values against NumPy, gradients against differences."""

import itertools

import numpy as np
import pytest

import corgi
from corgi import arr, check_gradient

RNG = np.random.default_rng(7)


def agree(found, expected):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-11)


# ---- einsum

NAMED = [
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ji", (2, 3)),
    ("ba", (2, 3)),
    ("Ba", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->ji", (3, 3, 2)),
    ("ijii->ij", (2, 3, 2, 2)),
    ("ijij->ji", (2, 3, 2, 3)),
    ("...ii->...i", (2, 4, 3, 3)),
    ("i...->...", (2, 3, 4)),
    ("...", (2, 3)),
    ("ij...->...ji", (2, 3, 4)),
    ("...->...", ()),
    ("", ()),
    (",", (), ()),
    (",i", (), (3,)),
    ("i,i", (3,), (3,)),
    ("i,i->i", (3,), (3,)),
    ("i,j", (3,), (2,)),
    ("i,j->ji", (3,), (2,)),
    ("i,j->", (3,), (2,)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,jk->ki", (2, 3), (3, 4)),
    ("ji,jk->ik", (3, 2), (3, 4)),
    ("ji,kj->ik", (3, 2), (4, 3)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ij,ji->", (2, 3), (3, 2)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bij,bjk->ikb", (2, 3, 4), (2, 4, 5)),
    ("bij,kj->bik", (2, 3, 4), (5, 4)),
    ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 6, 3, 5)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 5)),
    ("...ij,...jk", (2, 1, 3, 4), (5, 4, 2)),
    ("...i,...i->...", (2, 3), (3,)),
    ("i...,j", (2, 3), (4,)),
    ("...,...", (2, 3), (1, 3)),
    ("ij,j", (1, 3), (3,)),
    ("i,i->i", (1,), (3,)),
    ("ij,ij->j", (1, 3), (2, 1)),
    ("ijk,jil->kl", (2, 3, 4), (3, 2, 5)),
    ("ik,jk,lk->ijl", (2, 3), (4, 3), (5, 3)),
    ("i,ij,j->", (2,), (2, 3), (3,)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ij,jk,kl,lm->im", (2, 3), (3, 4), (4, 2), (2, 3)),
    ("a,b,c->abc", (2,), (3,), (4,)),
    ("...a,ab,b...->...", (2, 3), (3, 4), (4, 2)),
    ("ii,ij,j->", (3, 3), (3, 2), (2,)),
    (" i j , j k -> i k ", (2, 3), (3, 4)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,jk->ik", (0, 2), (2, 3)),
    ("ij->i", (3, 0)),
]


def random_specification(seed):
    """A valid specification of one to four operands with repeated, lone, batch and summed labels, and its shapes."""
    rng = np.random.default_rng(seed)
    sizes = dict(zip("abcdE", rng.integers(0 if seed % 10 == 0 else 1, 4, 5).tolist(), strict=True))
    ellipsis = rng.random() < 0.3
    terms, shapes = [], []
    for _ in range(rng.integers(1, 5)):
        term = "".join(rng.choice(list(sizes), rng.integers(0, 4)))
        shape = [sizes[label] for label in term]
        if len(set(term)) == len(term):
            shape = [1 if rng.random() < 0.1 else size for size in shape]
        if ellipsis and rng.random() < 0.7:
            at, extra = rng.integers(0, len(term) + 1), [2, 3][rng.integers(0, 3) :]
            term, shape = term[:at] + "..." + term[at:], shape[:at] + extra + shape[at:]
        terms.append(term)
        shapes.append(tuple(shape))
    specification = ",".join(terms)
    if rng.random() < 0.8:
        labels = sorted(set(specification) - set(".,"))
        rng.shuffle(labels)
        labels = labels[: rng.integers(0, len(labels) + 1)]
        if "..." in specification:
            labels.insert(rng.integers(0, len(labels) + 1), "...")
        specification += "->" + "".join(labels)
    return specification, *shapes


def einsum_cases():
    return NAMED + [random_specification(seed) for seed in range(400)]


def test_einsum_has_the_values_of_numpy():
    for specification, *shapes in einsum_cases():
        operands = [RNG.standard_normal(shape) for shape in shapes]
        expected = np.einsum(specification, *operands)
        for optimize in ("greedy", "optimal"):
            found = corgi.einsum(specification, *[arr(x) for x in operands], optimize=optimize)
            assert found.shape == expected.shape, (specification, shapes)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-11, atol=1e-11, err_msg=f"{specification} {shapes}")


def test_einsum_gradients():
    for specification, *shapes in NAMED + [random_specification(seed) for seed in range(0, 400, 3)]:
        operands = [RNG.standard_normal(shape) for shape in shapes]
        check_gradient(lambda *x, s=specification: corgi.einsum(s, *x), *operands, order=1, samples=4)


@pytest.mark.parametrize("case", NAMED[::3], ids=str)
def test_einsum_second_derivatives(case):
    specification, *shapes = case
    operands = [RNG.standard_normal(shape) for shape in shapes]
    check_gradient(lambda *x: corgi.einsum(specification, *x) ** 2, *operands, order=2, samples=3)


def test_einsum_gradient_is_the_einsum_of_the_others():
    a, b = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 4))
    gradients = corgi.grad(lambda a, b: corgi.einsum("ij,jk->ik", a, b).sum(), argnums=(0, 1))(a, b)
    agree(gradients[0], np.einsum("ik,jk->ij", np.ones((2, 4)), b))
    agree(gradients[1], np.einsum("ij,ik->jk", a, np.ones((2, 4))))


def test_einsum_on_transposed_and_broadcast_operands():
    a = corgi.transpose(arr(RNG.standard_normal((3, 2))))
    b = corgi.broadcast_to(arr(RNG.standard_normal(4)), (3, 4))
    agree(corgi.einsum("ij,jk->ik", a, b), a.numpy() @ b.numpy())
    agree(corgi.einsum("ii->i", corgi.einsum("ij,jk->ki", a, b)[:2]), np.diagonal((a.numpy() @ b.numpy()).T[:2]))


def test_einsum_dtypes():
    ints = np.arange(6).reshape(2, 3)
    found = corgi.einsum("ij,kj->ik", ints, ints)
    assert found.dtype == np.int64
    agree(found, ints @ ints.T)
    assert corgi.einsum("ij->i", arr(ints, dtype="float32")).dtype == np.float32
    assert corgi.einsum("i,i", arr([1.0], dtype="float32"), [1.0]).dtype == np.float64
    assert corgi.einsum("i,i", [True, True], [True, True]).item() == 2


def test_einsum_with_lists_of_ints():
    a, b = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 4))
    agree(corgi.einsum(a, [0, 1], b, [1, 2], [2, 0]), np.einsum(a, [0, 1], b, [1, 2], [2, 0]))
    agree(corgi.einsum(a, [30, 1], b, [1, 2]), np.einsum(a, [30, 1], b, [1, 2]))
    agree(corgi.einsum(a, [Ellipsis, 1], [1, Ellipsis]), a.T)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("ij,jk", np.ones((2, 3))), ValueError, "expected 2 operands"),
        (("ij", np.ones(3)), ValueError, "'ij' has 2 labels for an operand with 1 axes"),
        (("i", np.ones((3, 3))), ValueError, "'i' has 1 labels for an operand with 2 axes"),
        (("ij,jk", np.ones((2, 3)), np.ones((4, 5))), ValueError, "label 'j' stands for sizes 3 and 4"),
        (("ii", np.ones((1, 3))), ValueError, "label 'i' stands for sizes 1 and 3 in operand 0"),
        (("i->ii", np.ones(3)), ValueError, "label 'i' occurs twice"),
        (("i->j", np.ones(3)), ValueError, "label 'j' of the result of 'i->j' occurs in no operand"),
        (("i..", np.ones(3)), ValueError, "expected letters"),
        (("i->j->k", np.ones(3)), ValueError, "expected letters"),
        (("...i->i", np.ones((2, 3))), ValueError, r"expected '\.\.\.' in the result"),
        (("...,...", np.ones(2), np.ones(3)), ValueError, r"label of '\.\.\.' stands for sizes 2 and 3"),
        ((np.ones(2),), TypeError, "expected subscripts"),
        ((np.ones(2), ["x"]), TypeError, "expected a str"),
        ((np.ones(2), [-1]), TypeError, "expected a str"),
    ],
)
def test_einsum_refuses(arguments, error, message):
    with pytest.raises(error, match=f"^einsum: .*{message}"):
        corgi.einsum(*arguments)


def test_einsum_refuses_an_unknown_optimizer():
    with pytest.raises(ValueError, match="einsum: expected optimize"):
        corgi.einsum("i", [1.0], optimize="best")


# ---- products


@pytest.mark.parametrize(
    ("x", "y", "axes"),
    [
        ((2, 3, 4), (3, 4, 5), 2),
        ((2, 3), (4, 5), 0),
        ((3,), (3,), 1),
        ((2, 3, 4), (4, 3, 5), ([1, 2], [1, 0])),
        ((2, 3, 4), (5, 3, 2), ((0, 1), (2, 1))),
        ((2, 3, 4), (5, 3), (1, 1)),
        ((2, 3, 4), (5, 4), (-1, -1)),
        ((2, 0), (0, 3), 1),
        ((), (), 0),
        ((), (3,), 0),
        ((2, 3), (2, 3), 2),
        ((2, 3), (3, 2), ([0, 1], [1, 0])),
    ],
)
def test_tensordot(x, y, axes):
    a, b = RNG.standard_normal(x), RNG.standard_normal(y)
    if axes == 2 and x == y:
        axes = ([0, 1], [0, 1])
    agree(corgi.tensordot(a, b, axes), np.tensordot(a, b, axes))
    check_gradient(lambda a, b: corgi.tensordot(a, b, axes) ** 2, a, b, samples=4)


def test_tensordot_over_all_pairs_of_axes():
    a, b = RNG.standard_normal((2, 2, 2)), RNG.standard_normal((2, 2, 2, 2))
    for count in range(4):
        for first in itertools.permutations(range(3), count):
            for second in itertools.permutations(range(4), count):
                agree(corgi.tensordot(a, b, (first, second)), np.tensordot(a, b, (first, second)))


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((2, 3), (4, 3, 5)),
                                    ((), (3,)), ((2, 3), ()), ((2, 4, 3), (5, 3, 2)), ((0,), (0,))])  # fmt: skip
def test_dot(shapes):
    a, b = (RNG.standard_normal(shape) for shape in shapes)
    agree(corgi.dot(a, b), np.dot(a, b))
    check_gradient(lambda a, b: corgi.dot(a, b) ** 2, a, b, samples=3)


@pytest.mark.parametrize("shapes", [((3,), (2,)), ((2, 2), (3,)), ((), (2,)), ((0,), (2,))])
def test_outer(shapes):
    a, b = (RNG.standard_normal(shape) for shape in shapes)
    agree(corgi.outer(a, b), np.outer(a, b))
    check_gradient(lambda a, b: corgi.outer(a, b) ** 2, a, b)


# ---- functions of one array: (name, function of the module and the array, shape)

UNARY = [
    ("diagonal", lambda m, x: m.diagonal(x), (3, 4)),
    ("diagonal above", lambda m, x: m.diagonal(x, 1), (3, 4)),
    ("diagonal below", lambda m, x: m.diagonal(x, -2), (3, 4)),
    ("diagonal of tall", lambda m, x: m.diagonal(x, -1), (4, 2)),
    ("diagonal outside", lambda m, x: m.diagonal(x, 9), (3, 4)),
    ("diagonal outside below", lambda m, x: m.diagonal(x, -9), (3, 4)),
    ("diagonal of stack", lambda m, x: m.diagonal(x, 1, 2, 0), (3, 2, 4)),
    ("diagonal negative axes", lambda m, x: m.diagonal(x, 0, -1, -2), (2, 3, 3)),
    ("diagonal of nothing", lambda m, x: m.diagonal(x), (0, 3)),
    ("diagonal of no columns", lambda m, x: m.diagonal(x, -1), (3, 0)),
    ("trace", lambda m, x: m.trace(x), (3, 4)),
    ("trace of stack", lambda m, x: m.trace(x, -1, 1, 2), (2, 3, 3)),
    ("tril", lambda m, x: m.tril(x), (3, 4)),
    ("tril of stack", lambda m, x: m.tril(x, -1), (2, 3, 3)),
    ("triu", lambda m, x: m.triu(x, 1), (3, 4)),
    ("triu of stack", lambda m, x: m.triu(x, -1), (2, 4, 2)),
    ("sort", lambda m, x: m.sort(x), (7,)),
    ("sort rows", lambda m, x: m.sort(x), (3, 4)),
    ("sort columns", lambda m, x: m.sort(x, axis=0), (3, 4)),
    ("sort middle", lambda m, x: m.sort(x, axis=-2), (2, 3, 2)),
    ("sort all", lambda m, x: m.sort(x, axis=None), (3, 2)),
    ("sort nothing", lambda m, x: m.sort(x), (0, 3)),
    ("flip", lambda m, x: m.flip(x), (2, 3)),
    ("flip rows", lambda m, x: m.flip(x, 0), (2, 3)),
    ("flip two", lambda m, x: m.flip(x, (0, -1)), (2, 3, 2)),
    ("roll", lambda m, x: m.roll(x, 2), (2, 3)),
    ("roll back", lambda m, x: m.roll(x, -4, 1), (2, 3)),
    ("roll two", lambda m, x: m.roll(x, (1, 2), (0, 1)), (2, 3)),
    ("roll nothing", lambda m, x: m.roll(x, 1), (0,)),
    ("repeat", lambda m, x: m.repeat(x, 2), (2, 3)),
    ("repeat rows", lambda m, x: m.repeat(x, 3, axis=0), (2, 3)),
    ("repeat each", lambda m, x: m.repeat(x, [2, 0, 1], axis=-1), (2, 3)),
    ("repeat never", lambda m, x: m.repeat(x, 0), (2, 3)),
    ("tile", lambda m, x: m.tile(x, 2), (2, 3)),
    ("tile both", lambda m, x: m.tile(x, (2, 3)), (2, 3)),
    ("tile more axes", lambda m, x: m.tile(x, (2, 1, 2)), (3,)),
    ("tile never", lambda m, x: m.tile(x, (0, 2)), (2, 3)),
    ("tile number", lambda m, x: m.tile(x, 3), ()),
    ("ravel", lambda m, x: m.ravel(x), (2, 3)),
    ("round", lambda m, x: m.round(x), (5,)),
    ("round decimals", lambda m, x: m.round(x, 2), (5,)),
    ("round tens", lambda m, x: m.round(x * 100, -1), (5,)),
]


@pytest.mark.parametrize(("function", "shape"), [case[1:] for case in UNARY], ids=[case[0] for case in UNARY])
def test_unary(function, shape):
    x = RNG.standard_normal(shape)
    agree(function(corgi, arr(x)), function(np, x))
    transposed = RNG.standard_normal(shape[::-1]).T
    agree(function(corgi, arr(transposed.T).T), function(np, transposed))
    check_gradient(lambda x: function(corgi, x) ** 2, x, samples=6)
    assert function(corgi, arr(x, dtype="float32")).dtype == np.float32
    ints = RNG.integers(-5, 5, shape)
    found = function(corgi, arr(ints))
    assert found.dtype == np.int64
    agree(found, function(np, ints))


def test_norm():
    x = RNG.standard_normal((3, 4))
    agree(corgi.norm(x), np.linalg.norm(x))
    agree(corgi.norm(x, axis=1), np.linalg.norm(x, axis=1))
    agree(corgi.norm(x, axis=0, keepdims=True), np.linalg.norm(x, axis=0, keepdims=True))
    agree(corgi.norm([3, 4]), 5.0)
    assert corgi.norm(arr(x, dtype="float32")).dtype == np.float32
    assert np.isnan(corgi.norm([1.0, np.nan]).item()) and corgi.norm([1.0, -np.inf]).item() == np.inf
    check_gradient(lambda x: corgi.norm(x, axis=0), x)
    agree(corgi.grad(corgi.norm)([0.0, 0.0]), [0.0, 0.0])
    agree(corgi.grad(lambda x: corgi.grad(corgi.norm)(x).sum())([0.0, 0.0]), [0.0, 0.0])


def test_sort_is_stable_and_puts_nan_last():
    values = [2.0, np.nan, 1.0, 2.0, -np.inf, np.inf]
    assert corgi.argsort(values).tolist() == [4, 2, 0, 3, 5, 1]
    np.testing.assert_array_equal(corgi.sort(values).numpy(), np.sort(values))
    x = RNG.integers(0, 3, (4, 5, 3)).astype(float)
    for axis in (0, 1, -1, None):
        agree(corgi.argsort(x, axis=axis), np.argsort(x, axis=axis, kind="stable"))
    agree(corgi.grad(lambda x: (corgi.sort(x) * arr([1.0, 2.0, 3.0])).sum())([3.0, 1.0, 2.0]), [3.0, 1.0, 2.0])


def test_triangles_do_not_multiply():
    x = arr([[1.0, np.inf], [np.nan, 2.0]])
    assert corgi.tril(x)[0, 1].item() == 0 and corgi.triu(x)[1, 0].item() == 0


def test_array_equal():
    assert corgi.array_equal([1, 2], arr([1.0, 2.0])) is True
    assert corgi.array_equal([1.0, 2.0], [1.0, 2.5]) is False
    assert not corgi.array_equal([1.0], [[1.0]]) and not corgi.array_equal([1.0, 1.0], [1.0])
    assert not corgi.array_equal([np.nan], [np.nan]) and corgi.array_equal([np.nan], [np.nan], equal_nan=True)
    assert corgi.array_equal(corgi.zeros((0, 2)), corgi.zeros((0, 2)))


def test_allclose_and_isclose():
    a, b = [1.0, np.inf, np.nan, 0.0], [1.0 + 1e-7, np.inf, np.nan, 1e-7]
    for options in ({}, {"equal_nan": True}, {"atol": 1e-6}, {"rtol": 1e-9}):
        assert corgi.isclose(a, b, **options).tolist() == np.isclose(a, b, **options).tolist()
        assert corgi.allclose(a, b, **options) is np.allclose(a, b, **options)
    assert corgi.isclose([[1.0], [2.0]], [1.0, 2.0]).shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: corgi.tensordot(np.ones((2, 3)), np.ones((4, 5))), ValueError, "tensordot: axes .* do not fit"),
        (lambda: corgi.tensordot(np.ones(3), np.ones(3), 2), ValueError, "tensordot: expected axes from 0 to 1"),
        (lambda: corgi.tensordot(np.ones(3), np.ones(3), ([0, 0], [0, 0])), ValueError, "tensordot: an axis is named twice"),
        (lambda: corgi.tensordot(np.ones((3, 3)), np.ones(3), ([0, 1], [0])), ValueError, "tensordot: axes .* do not fit"),
        (lambda: corgi.tensordot(np.ones(3), np.ones(3), "ij"), TypeError, "tensordot: expected an int for the axis"),
        (lambda: corgi.tensordot(np.ones(3), np.ones(3), None), TypeError, "tensordot: expected an int or a pair"),
        (lambda: corgi.dot(np.ones((2, 3)), np.ones(2)), ValueError, "dot: inner sizes differ"),
        (lambda: corgi.diagonal([1.0]), ValueError, "diagonal: expected an array with at least two axes"),
        (lambda: corgi.diagonal(np.ones((2, 2)), 0, 1, 1), ValueError, "diagonal: an axis is named twice"),
        (lambda: corgi.diagonal(np.ones((2, 2)), 0, 0, 2), IndexError, "diagonal: axis 2 is out of range"),
        (lambda: corgi.tril([1.0]), ValueError, "tril: expected an array with at least two axes"),
        (lambda: corgi.sort([1.0], axis=1), IndexError, "sort: axis 1 is out of range"),
        (lambda: corgi.argsort(1.0), IndexError, "argsort: axis -1 is out of range"),
        (lambda: corgi.take_along_axis([[1.0]], [0]), ValueError, r"take_along_axis: expected indices .* shape \(1, 1\)"),
        (
            lambda: corgi.take_along_axis([1.0], [1]),
            IndexError,
            "take_along_axis: expected indices from -1 to 0, got 1",
        ),
        (
            lambda: corgi.take_along_axis([1.0], [0.0]),
            TypeError,
            "take_along_axis: expected indices of integers",
        ),
        (lambda: corgi.flip([1.0], "x"), TypeError, "flip: expected an int for the axis"),
        (lambda: corgi.roll(np.ones((2, 2)), (1, 2, 3), (0, 1)), ValueError, "roll: expected 2 shifts"),
        (lambda: corgi.repeat([1.0, 2.0], -1), ValueError, "repeat: expected numbers of at least 0"),
        (lambda: corgi.repeat([1.0, 2.0], [1, 2, 3]), ValueError, "repeat: expected one number or 2"),
        (lambda: corgi.repeat([1.0, 2.0], 1.5), TypeError, "repeat: expected ints"),
        (lambda: corgi.tile([1.0], -1), ValueError, "tile: expected numbers of at least 0"),
        (lambda: corgi.tile([1.0], 1.5), TypeError, "tile: expected ints"),
        (lambda: corgi.einsum("ij", "text"), TypeError, "expected numbers"),
    ],
)
def test_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_numbers_of_numpy_as_axes():
    assert corgi.sort([[2.0, 1.0]], axis=np.int64(1)).tolist() == [[1.0, 2.0]]
