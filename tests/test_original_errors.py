"""What the original gets wrong, one test for each of the 36 known errors: here the answers are right.

The numbers are those of the table of errors; most compare with NumPy or with values worked out by hand.
"""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import corgi
from corgi import arr, axpy, conv, cost, initializer, matmul, softmax
from corgi.layer import Conv, Dense
from corgi.optimizer import GradientDescent


def counting(*shape):
    """1, 2, 3 ... in a shape, tracked."""
    return corgi.arange(1.0, math.prod(shape) + 1).reshape(shape).detach().tracked()


def seeded(result):
    """Run backward with the seed 1, 2, 3 ...; returns the seed as NumPy values."""
    seed = np.arange(1.0, result.size + 1).reshape(result.shape)
    result.backward(seed)
    return seed


def central_differences(f, x, step=1e-4):
    x = np.array(x.numpy())
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        values = []
        for sign in (1, -1):
            moved = x.copy()
            moved[i] += sign * step
            values.append(f(arr(moved)).sum().item())
        gradient[i] = (values[0] - values[1]) / (2 * step)
    return gradient


# ---- broadcasting


@pytest.mark.parametrize("shapes", [((2, 3, 2), (3, 2)), ((3, 1, 2), (4, 1))])
def test_error_1_leading_axes_aligned_left(shapes):
    a, b = counting(*shapes[0]), counting(*shapes[1])
    assert (a * b).tolist() == (a.numpy() * b.numpy()).tolist()


@pytest.mark.parametrize("shapes", [((2, 1, 2), (1, 3, 2)), ((2, 3, 2), (1, 3, 2))])
def test_error_2_axes_of_size_one(shapes):
    a, b = counting(*shapes[0]), counting(*shapes[1])
    assert (a * b).tolist() == (a.numpy() * b.numpy()).tolist()


@pytest.mark.parametrize("shape", [(1, 3), (1, 1), (1, 1, 2)])
def test_error_3_gradients_of_axes_of_size_one(shape):
    a, b = counting(2, 1), counting(*shape)
    g = seeded(a * b)
    axes_of_a = tuple(i for i in range(g.ndim) if i != g.ndim - 2)
    assert a.gradient.tolist() == (g * b.numpy()).sum(axes_of_a)[:, None].tolist()
    assert b.gradient.tolist() == (g * a.numpy()).sum(-2).reshape(shape).tolist()


def test_error_4_gradient_of_a_matrix_in_a_batch():
    a, b = counting(2, 2, 3), counting(2, 3)
    (a * b).backward()
    assert b.gradient.tolist() == a.numpy().sum(0).tolist()


def test_error_5_broadcast_operand_used_twice():
    x, b = corgi.ones((2, 3)), corgi.ones(3).tracked()
    (x * b + x * b).backward()
    assert b.gradient.tolist() == [4, 4, 4]


def test_error_6_bias_shared_by_two_products():
    x, w, b = corgi.ones((2, 2)), corgi.ones((2, 3)), corgi.zeros(3).tracked()
    (matmul(x, w, b) + matmul(x, w, b)).backward()
    assert b.gradient.tolist() == [4, 4, 4]


def test_error_7_parameters_are_independent():
    x, b, other = corgi.ones((2, 3)), corgi.ones(3).tracked(), corgi.ones(4).tracked()
    (x * b + x * b).backward()
    other.gradient = corgi.ones(4)
    GradientDescent(0.5).step([b, other])
    assert b.tolist() == [-1, -1, -1] and other.tolist() == [0.5] * 4


# ---- elementwise gradients


@pytest.mark.parametrize("p", [-2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4])
def test_error_8_gradient_of_a_power(p):
    x = arr([0.5, 1.0, 2.0, 4.0]).tracked()
    g = seeded(x**p)
    np.testing.assert_allclose(x.gradient.numpy(), p * x.numpy() ** (p - 1) * g, rtol=1e-14)


@pytest.mark.parametrize("alpha", [-2.0, 0.0, 0.5, 3.0])
def test_error_9_gradient_of_axpy(alpha):
    x, y = counting(2, 3), counting(2, 3)
    g = seeded(axpy(alpha, x, y))
    assert x.gradient.tolist() == (alpha * g).tolist() and y.gradient.tolist() == g.tolist()


@pytest.mark.parametrize("shapes", [((3,), (2, 3)), ((2, 3), (3,))], ids=["10: x narrower", "11: y narrower"])
def test_errors_10_and_11_axpy_broadcasts(shapes):
    x, y = counting(*shapes[0]), counting(*shapes[1])
    result = axpy(2.0, x, y)
    assert result.tolist() == (2 * x.numpy() + y.numpy()).tolist()
    result.backward()
    repeats = {(3,): 2, (2, 3): 1}
    assert (x.gradient == 2 * repeats[x.shape]).all() and (y.gradient == repeats[y.shape]).all()


# ---- matrix products


def test_error_12_matrix_times_vector():
    a, b = counting(2, 3), counting(3)
    result = a @ b
    assert result.tolist() == [14, 32]
    g = seeded(result)
    assert a.gradient.tolist() == np.outer(g, b.numpy()).tolist() and b.gradient.tolist() == (a.numpy().T @ g).tolist()


@pytest.mark.parametrize("size", [2, 5], ids=["13", "14"])
def test_errors_13_and_14_dot_of_unequal_vectors(size):
    with pytest.raises(ValueError, match=rf"\(3,\) @ \({size},\): 3 != {size}"):
        counting(3) @ counting(size)


def test_error_15_gradient_of_a_dot_product():
    a, b = arr([1.0, 2.0, 3.0]).tracked(), arr([3.0, 2.0, 1.0]).tracked()
    result = a @ b
    result.backward()
    assert result == 10 and a.gradient.tolist() == [3, 2, 1] and b.gradient.tolist() == [1, 2, 3]


@pytest.mark.parametrize("shape", [(2, 2), (2,), (1, 2), (2, 1), (1, 1), (1,), ()])
def test_errors_16_and_17_addend_of_a_product(shape):
    """16: only c is tracked; 17: c with axes of size 1."""
    c = corgi.ones(shape).tracked()
    result = matmul(corgi.ones((2, 3)), corgi.ones((3, 2)), c)
    assert result.tolist() == [[4, 4], [4, 4]]
    result.backward()
    assert c.gradient.shape == shape and (c.gradient == 4 / c.size).all()


def test_error_18_addend_with_more_axes():
    a, b, c = counting(2, 3), counting(3, 2), counting(4, 2, 2)
    result = matmul(a, b, c)
    assert result.tolist() == (a.numpy() @ b.numpy() + c.numpy()).tolist()
    result.backward()
    assert c.gradient.tolist() == np.ones((4, 2, 2)).tolist()
    assert a.gradient.tolist() == (4 * np.ones((2, 2)) @ b.numpy().T).tolist()


@pytest.mark.parametrize("shapes", [((1, 2, 3), (2, 3, 2)), ((2, 2, 3), (1, 3, 2))])
def test_error_19_batches_of_size_one(shapes):
    a, b = counting(*shapes[0]), counting(*shapes[1])
    result = a @ b
    assert result.tolist() == (a.numpy() @ b.numpy()).tolist()
    g = seeded(result)
    for array, full in ((a, g @ b.numpy().swapaxes(-1, -2)), (b, a.numpy().swapaxes(-1, -2) @ g)):
        expected = full.sum(0, keepdims=True) if array.shape[0] == 1 else full
        assert array.gradient.tolist() == expected.tolist()


def test_error_20_dense_on_a_batch_of_matrices():
    layer = Dense(2, 3, initializer.he(), None)
    layer(counting(2, 2, 2).detach()).backward()
    assert layer.weight.gradient.tolist() == [[16, 20]] * 3 and layer.bias.gradient.tolist() == [4] * 3


# ---- convolution


def test_error_21_input_gradient_of_overlapping_windows():
    x = corgi.ones((1, 3, 3)).tracked()
    conv(x, [[[[1.0, 2.0], [3.0, 4.0]]]], 1).backward()
    assert x.gradient.flatten().tolist() == [1, 3, 2, 4, 10, 6, 3, 7, 4]


def test_error_22_convolution_of_a_batch():
    x, f = counting(2, 1, 2, 2), counting(2, 1, 2, 2)
    result = conv(x, f)
    assert result[..., 0, 0].tolist() == (x.numpy().reshape(2, 4) @ f.numpy().reshape(2, 4).T).tolist()
    g = seeded(result).reshape(2, 2)
    assert x.gradient.reshape(2, 4).tolist() == (g @ f.numpy().reshape(2, 4)).tolist()
    assert f.gradient.reshape(2, 4).tolist() == (g.T @ x.numpy().reshape(2, 4)).tolist()


@pytest.mark.parametrize("stride", [1, 2, (2, 1)])
def test_error_23_filter_gradient(stride):
    x, f = counting(1, 2, 5, 4), counting(3, 2, 2, 3)
    conv(x, f, stride).backward()
    np.testing.assert_allclose(f.gradient.numpy(), central_differences(lambda f: conv(x.detach(), f, stride), f), rtol=1e-7)
    np.testing.assert_allclose(x.gradient.numpy(), central_differences(lambda x: conv(x, f.detach(), stride), x), rtol=1e-7)


def test_error_24_bias_of_each_filter():
    layer = Conv(1, 3, (2, 2), initializer.he(), None)
    x = counting(2, 1, 3, 3).detach()
    without = layer(x)
    corgi.assign(layer.bias, [1.0, 2.0, 3.0])
    layer(x).backward()
    np.testing.assert_allclose(
        (layer(x) - without).numpy(), np.broadcast_to([[[1]], [[2]], [[3]]], (2, 3, 2, 2)), atol=1e-12
    )
    assert layer.bias.gradient.tolist() == [8, 8, 8]


# ---- sums, softmax, costs


def test_error_25_gradient_of_a_sum_takes_delta():
    x = counting(2, 2, 3)
    x.sum(axis=(1, 2)).backward([1.0, 10.0])
    assert x.gradient.flatten().tolist() == [1] * 6 + [10] * 6


def test_error_26_divide_by_a_sum():
    x = counting(2, 2, 3)
    result = x / x.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(result.sum(axis=(1, 2)).numpy(), [1, 1], rtol=1e-15)
    g, values = seeded(result), x.numpy()
    total = values.sum((1, 2), keepdims=True)
    expected = g / total - (g * values).sum((1, 2), keepdims=True) / total**2
    np.testing.assert_allclose(x.gradient.numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("logits", "dtype"),
    [([1000, 1001], "float64"), ([-1000, -1001], "float64"), ([88, 89], "float32"), ([1e30, -1e30], "float32")],
)
def test_error_27_softmax_of_large_numbers(logits, dtype):
    x = arr(logits, dtype).tracked()
    result = softmax(x)
    shifted = np.exp(np.array(logits, float) - max(logits))
    np.testing.assert_allclose(result.numpy(), shifted / shifted.sum(), rtol=1e-6)
    result.backward([1.0, 0.0])
    p = shifted / shifted.sum()
    np.testing.assert_allclose(x.gradient.numpy(), [p[0] * p[1], -p[0] * p[1]], rtol=1e-6)


def test_error_28_zero_probability_where_the_target_is_zero():
    p = arr([[0.0, 0.5, 0.5]]).tracked()
    loss = cost.cross_entropy(p, arr([[0.0, 1.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2)) and p.gradient.tolist() == [[0, -2, 0]]


@pytest.mark.parametrize("sign", [1, -1])
def test_error_29_cross_entropy_of_a_saturated_softmax(sign):
    losses = []
    for target in ([[1.0, 0.0]], [[0.0, 1.0]]):
        logits = arr([[0.0, sign * 800.0]]).tracked()
        loss = cost.cross_entropy(softmax(logits), arr(target))
        loss.backward()
        hot = [[0.0, 1.0]] if sign > 0 else [[1.0, 0.0]]
        np.testing.assert_allclose(logits.gradient.numpy(), np.array(hot) - target)
        losses.append(loss.item())
    assert losses == ([800, 0] if sign > 0 else [0, 800])


# ---- the engine


def test_errors_30_and_31_long_chains():
    """A chain of a million nodes runs backward and is freed on a stack of 1 MB."""
    code = """
        import corgi
        a = corgi.arr([1.0]).tracked()
        for _ in range(2):
            c = a
            for _ in range(1_000_000):
                c = c + 1.0
            c.backward()
        assert a.gradient == 2 and c == 1_000_001
        del c
        print("done")
    """

    command = ["sh", "-c", 'ulimit -s 1024; exec "$@"', "sh", sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_errors_32_and_33_custom_op_with_superfluous_or_missing_gradients():
    superfluous = corgi.op(lambda x, y: x * y, lambda arrays, tracked, delta: [delta * arrays[1], delta * arrays[0]])
    a, b = arr([2.0]).tracked(), arr([3.0])
    superfluous(a, b).backward()
    assert a.gradient == 3 and b.gradient is None
    b.tracked()
    superfluous(a, b).backward()
    assert a.gradient == 6 and b.gradient == 2

    missing = corgi.op(lambda x, y: x * y, lambda arrays, tracked, delta: [None, delta * arrays[0]])
    x, y = arr([2.0]).tracked(), arr([3.0]).tracked()
    (missing(x, y) + x * y).backward()
    assert x.gradient == 3 and y.gradient == 4
    (x * y).backward()
    assert x.gradient == 6 and y.gradient == 6


def test_error_34_long_float32_sum():
    assert corgi.ones(2**25, "float32").sum() == 33_554_432


# ---- initializers, costs


def test_error_35_he_initializer():
    layer, again = (Dense(400, 300, initializer.he(seed=seed), None) for seed in (1, 1))
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3) and (layer.bias == 0).all()
    assert (layer.weight == again.weight).all()


def test_error_36_cost_of_unequal_shapes():
    with pytest.raises(ValueError, match=r"(?s)\(3, 1\).*\(3,\)"):
        cost.mse(corgi.zeros((3, 1)), corgi.zeros(3))
