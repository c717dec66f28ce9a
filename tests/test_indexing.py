"""Indexing against NumPy: generated indices of every kind, their gradients, and what is refused."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import corgi

SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def numbered(shape, dtype=np.float64):
    return (np.arange(np.prod(shape, dtype=int)).reshape(shape) + 1).astype(dtype)


def layouts(x):
    """The same values, differently laid out in memory."""
    yield corgi.array(x)
    yield corgi.array(np.ascontiguousarray(x.T)).T
    if x.ndim:
        yield corgi.array(np.repeat(x[::-1], 2, 0))[::-2]


def check(x, index):
    """Values and gradient of x[index]; what NumPy refuses is an IndexError."""
    try:
        expected = np.asarray(x[index])
    except IndexError:
        for array in layouts(x):
            with pytest.raises(IndexError):
                array[index]
        return
    weights = np.cos(np.arange(expected.size)).reshape(expected.shape)
    scattered = np.zeros(x.shape)
    np.add.at(scattered, index, weights)
    for array in layouts(x):
        array = array.detach().tracked()
        result = array[index]
        assert result.shape == expected.shape
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)
        result.backward(corgi.array(weights))
        np.testing.assert_allclose(array.gradient, scattered, rtol=0, atol=1e-14)


# ---- generated indices

shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
ints = st.integers(-5, 5)
slices = st.builds(slice, st.none() | ints, st.none() | ints, st.none() | st.sampled_from([1, 2, 3, -1, -2, -3]))


@SETTINGS
@given(st.data())
def test_basic_indices(data):
    shape = data.draw(shapes)
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True, max_dims=6))
    check(numbered(shape), index)


@SETTINGS
@given(shapes, st.lists(ints | slices | st.sampled_from([None, ..., np.int64(1)]), max_size=5))
def test_any_basic_items(shape, items):
    """Items that may be too many or out of range."""
    check(numbered(shape), tuple(items))


@SETTINGS
@given(st.data())
def test_integer_arrays(data):
    """Several integer arrays that broadcast, side by side or apart, among slices, ints and new axes."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    common = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    items = []
    for size in shape[: data.draw(st.integers(1, len(shape)))]:
        within = st.integers(-size, size - 1)
        smaller = [common, common[1:], tuple(1 for _ in common)]
        kinds = [within, slices, st.sampled_from(smaller).flatmap(lambda s, w=within: hnp.arrays(np.int64, s, elements=w))]
        items.append(data.draw(st.one_of(kinds)))
        if data.draw(st.integers(0, 5)) == 0:
            items.append(None)
    check(numbered(shape), tuple(items))


@SETTINGS
@given(st.data())
def test_masks(data):
    """Masks over one or more axes, alone, after slices, or with an integer beside them."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    axes = data.draw(st.integers(1, len(shape)))
    start = data.draw(st.integers(0, len(shape) - axes))
    mask = data.draw(hnp.arrays(np.bool_, shape[start : start + axes]))
    before = data.draw(st.lists(slices, min_size=start, max_size=start))
    after = data.draw(st.lists(slices | ints, max_size=len(shape) - axes - start))
    check(numbered(shape), (*before, mask, *after))
    check(numbered(shape), data.draw(hnp.arrays(np.bool_, shape)))


# ---- chosen ones

CHOSEN = [
    np.array([0, 0, 2, 0]),
    np.array([[0, -1], [2, 2]]),
    np.array([], np.int64),
    [0, 2],
    [],
    ([0, 2], [1, 1]),
    (np.array([[0], [2]]), np.array([1, 1])),
    (np.array([0, 0]), slice(None), np.array([1, 1])),
    (slice(None), np.array([0, 0]), np.array([1, 1])),
    (slice(None, None, -1), np.array([2, 0, 2])),
    (..., np.array([0, 3])),
    (None, np.array([0, 2]), ...),
    (np.array([1, 1]), None, 0),
    (0, slice(None), np.array([1, 0])),
    np.int32(1),
    np.uint8(2),
    np.array([1, 2], np.int8),
    np.array(1),
    True,
    False,
    np.True_,
    (np.True_, 0),
    (np.array([True, False, True]), slice(1, None)),
    (np.array([True, False, True]), np.array([0])),
    (np.array([True, False, True]), np.array([0, 1])),
    (np.array([True, True, True]), np.array([0, 1])),
    np.zeros((3, 2), bool),
    np.ones((3, 2, 4), bool),
    np.array([True, False]),
    np.array([3]),
    np.array([-4]),
    (0, 0, 0, 0),
    (..., 0, ...),
    3,
    -4,
    2**70,
    slice(2**70, -(2**70), -1),
    1.0,
    np.array([0.5]),
]


@pytest.mark.parametrize("index", CHOSEN, ids=lambda index: repr(index).replace("\n", ""))
def test_chosen(index):
    check(numbered((3, 2, 4)), index)


def test_corgi_arrays_as_indices():
    x = numbered((3, 4))
    a = corgi.array(x)
    np.testing.assert_array_equal(a[corgi.array([2, 0])], x[[2, 0]])
    np.testing.assert_array_equal(a[a > 5], x[x > 5])
    np.testing.assert_array_equal(a[corgi.array(1)], x[1])
    np.testing.assert_array_equal(a[corgi.array([0, 1]), corgi.array([[3], [2]])], x[[0, 1], [[3], [2]]])
    np.testing.assert_array_equal(a[corgi.array(0) : corgi.array(2)], x[0:2])
    with pytest.raises(IndexError, match="index: "):
        a[corgi.array([0.0, 1.0])]


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_dtypes(dtype):
    x = numbered((3, 4)).astype(dtype)
    for index in (1, slice(None, None, -2), [2, 0, 2], (slice(None), [1, 1]), x > 1):
        result = corgi.array(x)[index]
        assert result.dtype == x.dtype
        np.testing.assert_array_equal(result, x[index])


@SETTINGS
@given(st.data())
def test_take_along_axis(data):
    """Both arrays broadcast along the other axes."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    chosen = [data.draw(st.sampled_from([n, 1])) for n in shape]
    chosen[axis] = data.draw(st.integers(0, 3)) if size else 0
    index = data.draw(hnp.arrays(np.int64, chosen, elements=st.integers(-size, max(size - 1, -size))))
    x = numbered([data.draw(st.sampled_from([n, 1])) if i != axis % len(shape) else n for i, n in enumerate(shape)])
    common = np.maximum(x.shape, index.shape) * (np.minimum(x.shape, index.shape) > 0)  # but for the axis
    expected = np.take_along_axis(
        *(np.broadcast_to(a, np.where(np.arange(x.ndim) == axis % x.ndim, a.shape, common)) for a in (x, index)), axis
    )
    for array in layouts(x):
        array = array.detach().tracked()
        result = corgi.take_along_axis(array, index, axis)
        np.testing.assert_array_equal(result, expected, strict=True)
        result.backward(corgi.array(np.cos(expected)))
        scattered = np.zeros(x.size + 1)
        np.add.at(scattered, expected.astype(int), np.cos(expected))  # the numbers are 1, 2, ...
        np.testing.assert_allclose(array.gradient, scattered[1:].reshape(x.shape), rtol=0, atol=1e-12)


def test_views_share_memory_and_gathers_do_not():
    a = corgi.array(numbered((4, 5)))
    for index in (1, slice(None, None, -2), (..., None, 2), (slice(1, 3), slice(None))):
        assert np.shares_memory(a[index].numpy(), a.numpy())
    for index in ([0, 1], a > 3):
        assert not np.shares_memory(a[index].numpy(), a.numpy())


@pytest.mark.parametrize("index", ["text", {}, object(), (0, "text"), [[0, 1], [2]]], ids=repr)
def test_not_an_index(index):
    with pytest.raises((TypeError, ValueError), match=": expected"):
        corgi.ones((2, 2))[index]


def test_no_assignment():
    a = corgi.array([1.0, 2.0])
    with pytest.raises(TypeError):
        a[0] = 3.0


def test_iteration_and_membership():
    x = numbered((3, 2))
    assert [row.tolist() for row in corgi.array(x)] == x.tolist()
    assert 6.0 in corgi.array(x)
    assert 7.0 not in corgi.array(x)
    assert len(corgi.array(x)) == 3
    with pytest.raises(TypeError):
        iter(corgi.array(1.0))


def test_item():
    a = corgi.array(numbered((2, 3)))
    assert (a.item(1, 2), a.item((0, 1)), a[1, 0].item()) == (6.0, 2.0, 4.0)
    with pytest.raises(ValueError, match="item: "):
        a.item()


INDICES = [
    (slice(None, None, 2), 1),
    (0, ..., None),
    np.array([0, 0, 2]),
    (np.array([0, 0]), slice(None), np.array([1, 1])),
    np.arange(24).reshape(3, 2, 4) % 3 == 0,
]


@pytest.mark.parametrize("index", INDICES, ids=lambda index: repr(index).replace("\n", ""))
def test_higher_orders(index):
    """d/dx sum(x[i]**3) three times: gathers and scatters are each other's gradient."""
    x = np.linspace(0.5, 2.0, 24).reshape(3, 2, 4)
    counts = np.zeros(x.shape)
    np.add.at(counts, index, 1.0)
    a = corgi.array(x).tracked()
    value = (a[index] ** 3.0).sum()
    for factor, power in [(3.0, 2), (6.0, 1), (6.0, 0)]:
        value.backward(create_graph=True)
        gradient = a.take_gradient()
        np.testing.assert_allclose(gradient, factor * counts * x**power, rtol=1e-13)
        value = gradient.sum()


# ---- take, and large gathers


def test_take():
    x = numbered((3, 4, 2))
    indices = np.array([[0, -1], [1, 1]])
    for axis in range(-3, 3):
        array = corgi.array(x).tracked()
        result = corgi.take(array, indices, axis)
        expected = np.take(x, indices, axis)
        np.testing.assert_array_equal(result, expected)
        result.backward(corgi.array(expected))
        scattered = np.zeros(x.shape)
        np.add.at(scattered, (slice(None),) * (axis % 3) + (indices,), expected)
        np.testing.assert_array_equal(array.gradient, scattered)
    assert corgi.take(x, [], 1).shape == (3, 0, 2)
    assert corgi.take(x, 1, 1).shape == (3, 2)
    for wrong in ([3], [-4]):
        with pytest.raises(IndexError, match="out of range"):
            corgi.take(x, wrong)
    with pytest.raises(TypeError, match="take: "):
        corgi.take(x, [0.5])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_gather(dtype):
    """Many repeats of few rows: the same bits for any number of threads."""
    rng = np.random.default_rng(0)
    x, indices = rng.random((50, 40)).astype(dtype), rng.integers(-50, 50, 20_000)
    delta = rng.random((20_000, 40)).astype(dtype)
    gradients = []
    for threads in (1, 2):
        with corgi.num_threads(threads):
            a = corgi.array(x).tracked()
            result = a[indices]
            result.backward(corgi.array(delta))
            gradients.append(np.asarray(a.gradient))
    np.testing.assert_array_equal(result, x[indices])
    np.testing.assert_array_equal(*gradients)
    expected = np.zeros((50, 40))
    np.add.at(expected, indices, delta)
    np.testing.assert_allclose(gradients[0], expected, rtol=1e-12 if dtype == "float64" else 2e-5)


def test_too_many_axes():
    a = corgi.ones((1,) * 7)
    assert a[None].ndim == 8
    with pytest.raises(IndexError, match="at most 8 axes"):
        a[None, None]


def test_slices_of_every_kind():
    """All slices of a short axis, on both sides of its ends."""
    x = numbered((4,))
    a = corgi.array(x)
    ends = [None, *range(-6, 7)]
    for start, stop, step in itertools.product(ends, ends, [None, -5, -2, -1, 1, 2, 5]):
        np.testing.assert_array_equal(a[start:stop:step], x[start:stop:step])
    with pytest.raises(ValueError, match="step"):
        a[::0]
    with pytest.raises(TypeError, match="index: "):
        a[0.5:]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "k", "inner"), [(1, 3_000_000, 1), (3, 40_000, 7), (700, 90_000, 3), (5, 300, 1500), (2000, 100, 33)]
)
def test_gradients_of_many_picks(n, k, inner, dtype):
    """Many numbers added to few places are added accurately; each place gets the sum of the right ones."""
    rng = np.random.default_rng(0)
    index, g = rng.integers(-n, n, k), rng.random((k, inner)).astype(dtype)
    x = corgi.zeros((n, inner), dtype=dtype).tracked()
    corgi.take(x, index, 0).backward(g)
    expected = np.zeros((n, inner))
    np.add.at(expected, index, g.astype(np.float64))
    np.testing.assert_allclose(x.gradient.numpy(), expected, rtol=2e-7 * (1 if n * inner <= 2048 < k else 50), atol=0)


@pytest.mark.parametrize("wrong", [3, -4, 2**63 - 1, -(2**63)])
def test_index_out_of_range(wrong):
    index = np.zeros(100, dtype=np.int64)
    index[[77, 90]] = wrong
    with pytest.raises(IndexError, match=rf"take: {wrong} is out of range for an axis of size 3$"):
        corgi.take(corgi.arange(3), index)
