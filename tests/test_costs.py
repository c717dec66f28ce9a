"""Costs: values against formulas in NumPy, gradients to second order, options, extremes, and PyTorch's results."""

import itertools
from functools import partial

import numpy as np
import pytest
import scipy.special

import corgi
from corgi import Model, activation, cost
from corgi.layer import Dense

RNG = np.random.default_rng(0)
X, T = RNG.normal(0, 2, (4, 5)), RNG.normal(0, 2, (4, 5))
U = RNG.uniform(0.05, 0.95, (4, 5))
SIGNS = np.where(RNG.random((4, 5)) < 0.5, -1.0, 1.0)
P = U / U.sum(-1, keepdims=True)
CLASSES = np.array([0, 4, 2, 2])


def _bce(p, t):
    return -(t * np.log(p) + (1 - t) * np.log1p(-p))


def _cosine(x, t):
    return 1 - (x * t).sum(-1) / np.sqrt((x * x).sum(-1) * (t * t).sum(-1))


# name: cost, output, target, the losses in NumPy
ELEMENTS = {
    "mse": (cost.mse, X, T, lambda x, t: (x - t) ** 2),
    "l1": (cost.l1, X, T, lambda x, t: np.abs(x - t)),
    "huber": (cost.huber, X, T, lambda x, t: scipy.special.huber(1.0, x - t)),
    "huber 2.5": (partial(cost.huber, delta=2.5), X, T, lambda x, t: scipy.special.huber(2.5, x - t)),
    "hinge": (cost.hinge, X, SIGNS, lambda x, t: np.maximum(0, 1 - x * t)),
    "binary": (cost.binary_cross_entropy, U, P, _bce),
    "sigmoid": (cost.sigmoid_binary_cross_entropy, X, P, lambda x, t: _bce(scipy.special.expit(x), t)),
    "sigmoid weighted": (
        partial(cost.sigmoid_binary_cross_entropy, pos_weight=[1.0, 2.0, 0.5, 1.0, 3.0]),
        X,
        P,
        lambda x, t: t * [1.0, 2.0, 0.5, 1.0, 3.0] * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x),
    ),
}
ROWS = {
    "kl": (cost.kl, scipy.special.log_softmax(X, -1), P, lambda x, t: (t * (np.log(t) - x)).sum(-1)),
    "cosine": (cost.cosine, X, T, _cosine),
    "cosine labels": (
        partial(cost.cosine, labels=[1, -1, -1, 1], margin=0.1),
        X,
        T,
        lambda x, t: np.where([1, 0, 0, 1], _cosine(x, t), np.maximum(0, 0.9 - _cosine(x, t))),
    ),
}
BOTH = ELEMENTS | ROWS
FUSED = [name for name in ELEMENTS if name not in ROWS]


def weights_of(losses, name):
    shapes = {"full": losses.shape, "rows": (losses.shape[0],) + (1,) * (losses.ndim - 1), "last": losses.shape[-1:]}
    return np.random.default_rng(1).uniform(0.1, 2.0, shapes[name])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", BOTH)
def test_values(name, dtype):
    function, x, t, losses = BOTH[name]
    x, t = x.astype(dtype), t.astype(dtype)
    expected = losses(x.astype(float), t.astype(float))
    tolerance = 64 * np.finfo(dtype).eps

    def check(result, right):
        assert result.dtype == dtype
        assert result.shape == right.shape
        np.testing.assert_allclose(result, right, rtol=tolerance, atol=tolerance)

    check(function(x, t), expected.mean())
    check(function(x, t, reduction="sum"), expected.sum())
    check(function(x, t, reduction="none"), expected)
    check(function(x, t.astype("float64")), expected.mean())
    check(function(corgi.array(x)[::-1], t[::-1]), expected.mean())
    for kind in ("full", "rows", "last"):
        w = weights_of(expected, kind)
        wide = np.broadcast_to(w, expected.shape)
        check(function(x, t, weights=w), np.average(expected, weights=wide))
        check(function(x, t, weights=w, reduction="sum"), (wide * expected).sum())
        check(function(x, t, weights=w, reduction="none"), wide * expected)


@pytest.mark.parametrize("name", BOTH)
def test_gradients(name):
    """To second order by output and target, for every reduction, with weights and without, and by the weights."""
    function, x, t, losses = BOTH[name]
    fixed = name in ("hinge", "binary", "sigmoid", "sigmoid weighted", "kl")
    w = weights_of(losses(x, t), "full")
    for weights, reduction in itertools.product((None, w), ("mean", "sum", "none")):
        options = {"weights": weights, "reduction": reduction}
        corgi.check_gradient(lambda x, o=options: function(x, t, **o), corgi.array(x), order=2)
        if not fixed:
            corgi.check_gradient(lambda t, o=options: function(x, t, **o), corgi.array(t), order=2)
    corgi.check_gradient(lambda x, w: function(x, t, weights=w), corgi.array(x), corgi.array(w), order=2)


def test_gradient_of_a_binary_target():
    for function, x in ((cost.binary_cross_entropy, U), (cost.sigmoid_binary_cross_entropy, X)):
        corgi.check_gradient(lambda t, f=function, x=x: f(x, t), corgi.array(P), order=2)
    corgi.check_gradient(
        lambda x, p: cost.sigmoid_binary_cross_entropy(x, P, pos_weight=p), corgi.array(X), corgi.array(U[0]), order=2
    )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["mse", "l1", "huber", "hinge", "binary", "sigmoid", "sigmoid weighted"])
def test_large(name, dtype):
    """Sizes that threads share: right, and the same bits for any number of threads, in loss and gradient."""
    function, x, t, losses = ELEMENTS[name]
    x, t = np.tile(x, (13007, 1)).astype(dtype), np.tile(t, (13007, 1)).astype(dtype)
    w = np.random.default_rng(0).uniform(0.5, 1.5, x.shape).astype(dtype)
    expected = losses(x.astype(float), t.astype(float))
    for weights in (None, w):
        runs = []
        for threads in (1, 2):
            with corgi.num_threads(threads):
                a = corgi.array(x).tracked()
                loss = function(a, t, weights=weights)
                loss.backward()
                runs.append((np.asarray(loss), np.asarray(a.gradient)))
        np.testing.assert_allclose(runs[0][0], np.average(expected, weights=weights), rtol=200 * np.finfo(dtype).eps)
        for one, two in zip(*runs, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_binary_extremes(dtype):
    """Losses and gradients of logits of any size keep their digits; probabilities of 0 and 1 cost 100 if wrong."""
    z = np.array([-np.inf, -1e4, -50.0, 0.0, 50.0, 1e4, np.inf], dtype)
    for target in (0.0, 1.0):
        x = corgi.array(z).tracked()
        losses = cost.sigmoid_binary_cross_entropy(x, np.full(7, target), reduction="none")
        wide = z.astype(float) * (1 - 2 * target)
        np.testing.assert_allclose(losses, np.logaddexp(0, wide), rtol=1e-6 if dtype == "float32" else 1e-14)
        losses.backward()
        np.testing.assert_allclose(x.gradient, (1 - 2 * target) * scipy.special.expit(wide), rtol=1e-5)
    p = corgi.array(np.array([0.0, 1.0, 0.0, 1.0], dtype)).tracked()
    losses = cost.binary_cross_entropy(p, [0, 1, 1, 0], reduction="none")
    assert losses.tolist() == [0.0, 0.0, 100.0, 100.0]
    losses.sum().backward(create_graph=True)
    np.testing.assert_allclose(p.take_gradient().detach(), [1.0, -1.0, -1e12, 1e12], rtol=1e-6)
    saturated = corgi.array(np.array([1e3, -1e3], dtype)).tracked()
    cost.binary_cross_entropy(corgi.sigmoid(saturated), [0.0, 1.0]).backward()
    assert np.isfinite(saturated.gradient).all()


@pytest.mark.parametrize("name", BOTH)
def test_nan_is_seen(name):
    function, x, t, _ = BOTH[name]
    x = x.copy()
    x[1, 2] = np.nan
    for reduction in ("mean", "sum"):
        a = corgi.array(x).tracked()
        loss = function(a, t, reduction=reduction)
        assert np.isnan(loss.item())
        loss.backward()
        linear = name in ("hinge", "kl")
        assert np.isnan(a.gradient[1, 2].item()) != linear


def test_infinite_differences():
    x = corgi.array([np.inf, -np.inf, 1e300]).tracked()
    loss = cost.huber(x, [0.0, 0.0, 0.0], reduction="none")
    assert loss.tolist() == [np.inf, np.inf, 1e300]
    loss.backward(create_graph=True)
    gradient = x.take_gradient()
    assert gradient.tolist() == [1.0, -1.0, 1.0]
    gradient.backward()
    assert x.gradient.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_cosine_of_any_length(scale):
    x = corgi.array(X * scale).tracked()
    np.testing.assert_allclose(cost.cosine(x, T, reduction="none"), _cosine(X, T), rtol=1e-13, atol=1e-13)
    zero = corgi.zeros((1, 5)).tracked()
    loss = cost.cosine(zero, T[:1])
    loss.backward()
    assert loss.item() == 1.0
    assert np.isfinite(zero.gradient).all()


def test_kl_of_zeros():
    """0 log 0 is 0, also where the output says -infinity."""
    x = corgi.array([[-np.inf, 0.0], [-1.0, -0.5]]).tracked()
    loss = cost.kl(x, [[0.0, 1.0], [0.0, 1.0]], reduction="none")
    assert loss.tolist() == [0.0, 0.5]
    loss.backward()
    assert x.gradient.tolist() == [[0.0, -1.0], [0.0, -1.0]]


# ---- costs of classes

OPTIONS = [
    {},
    {"weights": [0.5, 1.0, 2.0, 0.25, 3.0]},
    {"label_smoothing": 0.1},
    {"label_smoothing": 1.0},
    {"ignore_index": 2},
    {"ignore_index": -100},
    {"ignore_index": 4, "label_smoothing": 0.2},
    {"weights": [0.5, 1.0, 2.0, 0.0, 3.0], "ignore_index": 0},
    {"weights": [0.5, 1.0, 2.0, 0.25, 3.0], "label_smoothing": 0.3, "ignore_index": 2},
]
SOFT = [options for options in OPTIONS if "ignore_index" not in options]
CLASS_COSTS = {  # on logits
    "logits": cost.softmax_cross_entropy,
    "softmax": lambda z, t, **options: cost.cross_entropy(corgi.softmax(z), t, **options),
    "probabilities": lambda z, t, **options: cost.cross_entropy(corgi.softmax(z) * 1.0, t, **options),
    "logarithms": lambda z, t, **options: cost.nll(corgi.log_softmax(z), t, **options),
}


def class_losses(z, target, weights=None, label_smoothing=0.0, ignore_index=None):
    """Losses of the rows and what their mean divides by, straight from the definition."""
    rows, classes = z.shape
    logs = scipy.special.log_softmax(z, -1)
    w = np.ones(classes) if weights is None else np.array(weights)
    losses, total = np.zeros(rows), 0.0
    for i in range(rows):
        if np.ndim(target) == 1 and target[i] == ignore_index:
            continue
        t = np.eye(classes)[target[i]] if np.ndim(target) == 1 else target[i]
        t = (1 - label_smoothing) * t + label_smoothing / classes
        losses[i] = -(w * t * logs[i]).sum()
        total += w[target[i]] if np.ndim(target) == 1 else 1.0
    return losses, total


def targets_of(options):
    classes = CLASSES.copy()
    if options.get("ignore_index") == -100:
        classes[1] = -100
    return [classes] if options not in SOFT else [classes, P]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", CLASS_COSTS)
def test_class_values(name, options, dtype):
    function, z = CLASS_COSTS[name], X.astype(dtype)
    tolerance = 64 * np.finfo(dtype).eps
    for target in targets_of(options):
        losses, total = class_losses(z.astype(float), target, **options)
        for reduction, expected in (("mean", losses.sum() / total), ("sum", losses.sum()), ("none", losses)):
            result = function(z, target, reduction=reduction, **options)
            assert (result.dtype, result.shape) == (dtype, np.shape(expected))
            np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", CLASS_COSTS)
def test_class_gradients(name, options):
    """To second order; and the fused gradient is that of its reference."""
    function = CLASS_COSTS[name]
    for target, reduction in itertools.product(targets_of(options), ("mean", "sum", "none")):

        def loss(z, target=target, reduction=reduction):
            return function(z, target, reduction=reduction, **options)

        corgi.check_gradient(loss, corgi.array(X), order=2)
        kernel, reference = [], []
        for found, create_graph in ((kernel, False), (reference, True)):
            z = corgi.array(X).tracked()
            y = loss(z)
            y.backward(corgi.array(np.random.default_rng(0).normal(size=y.shape)), create_graph=create_graph)
            found.append(z.take_gradient().detach())
        np.testing.assert_allclose(kernel, reference, rtol=1e-12, atol=1e-15)
        if target is P:
            corgi.check_gradient(lambda t, r=reduction: function(X, t, reduction=r, **options), corgi.array(P), order=2)


@pytest.mark.parametrize("shape", [(5,), (3, 2, 5), (1, 5), (700, 5), (130, 1031), (3, 70001)])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_class_shapes(shape, dtype):
    """Rows alone, in stacks, narrow, wide and many; for any number of threads the same bits."""
    rng = np.random.default_rng(0)
    z, target = rng.normal(0, 3, shape).astype(dtype), rng.integers(0, shape[-1], shape[:-1])
    flat, classes = z.reshape(-1, shape[-1]), target.reshape(-1)
    soft = scipy.special.softmax(rng.normal(0, 3, shape), -1)
    kept = np.flatnonzero(classes != classes[-1]) if classes.size > 1 else np.arange(1)
    ignore = classes[-1] if classes.size > 1 else -1
    probable = scipy.special.softmax(flat.astype(float), -1)
    one_hot = np.eye(shape[-1])[classes[kept]] if shape[-1] < 2000 else None
    runs = []
    for threads in (1, 2):
        with corgi.num_threads(threads):
            a, b = corgi.array(z).tracked(), corgi.array(z).tracked()
            losses = cost.softmax_cross_entropy(a, target, ignore_index=int(ignore), reduction="none")
            mean = cost.softmax_cross_entropy(b, soft)
            losses.sum().backward()
            mean.backward()
            runs.append([np.asarray(v) for v in (losses, mean, a.gradient, b.gradient)])
    for one, two in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, two)
    tolerance = 100 * np.finfo(dtype).eps
    expected = np.zeros(len(flat))
    expected[kept] = -scipy.special.log_softmax(flat[kept].astype(float), -1)[np.arange(len(kept)), classes[kept]]
    np.testing.assert_allclose(runs[0][0].reshape(-1), expected, rtol=tolerance, atol=tolerance)
    logs = scipy.special.log_softmax(flat.astype(float), -1)
    np.testing.assert_allclose(runs[0][1], -(soft.reshape(flat.shape) * logs).sum(-1).mean(), rtol=tolerance)
    gradient = runs[0][2].reshape(flat.shape)
    if one_hot is not None:
        np.testing.assert_allclose(gradient[kept], probable[kept] - one_hot, atol=tolerance)
    assert not gradient[np.setdiff1d(np.arange(len(flat)), kept)].any()
    np.testing.assert_allclose(
        runs[0][3].reshape(flat.shape), (probable - soft.reshape(flat.shape)) / len(flat), atol=tolerance
    )


def test_ignored_rows_may_hold_anything():
    z = corgi.array([[np.nan, 1.0], [2.0, np.inf], [0.0, 0.0]]).tracked()
    for loss in (cost.softmax_cross_entropy(z, [-1, -1, 1], ignore_index=-1), cost.nll(z, [-1, -1, 1], ignore_index=-1)):
        assert np.isfinite(loss.item())
        loss.backward()
        assert z.take_gradient()[:2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    total = cost.softmax_cross_entropy(z, [-1, -1, -1], ignore_index=-1, reduction="sum")
    assert total.item() == 0.0


def test_options_in_a_model():
    corgi.seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3))
    target = (x.sum(-1) > 0).astype(int)
    model = Model(
        [Dense(3, 8, activation="gelu"), Dense(8, 2)],
        corgi.optimizer.Adam(0.05),
        partial(cost.softmax_cross_entropy, weights=[1.0, 2.0], label_smoothing=0.05),
    )
    for _ in range(60):
        output = model.forward(x)
        model.backward(target)
        model.update()
    assert (corgi.argmax(output, 1).numpy() == target).mean() > 0.95
    binary = Model(
        [Dense(3, 8, activation="silu"), Dense(8, 1)], corgi.optimizer.Adam(0.05), cost.sigmoid_binary_cross_entropy
    )
    for _ in range(60):
        binary.forward(x)
        loss = binary.backward(target[:, None])
        binary.update()
    assert loss < 0.2


# ---- PyTorch


def torch_costs(torch):
    """name: (ours, PyTorch's, target): on logits X."""
    f, w = torch.nn.functional, [0.5, 1.0, 2.0, 0.25, 3.0]
    tw = torch.tensor(w, dtype=torch.float64)
    pairs = {
        "mse": (cost.mse, f.mse_loss, T),
        "l1": (cost.l1, f.l1_loss, T),
        "huber": (partial(cost.huber, delta=0.7), partial(f.huber_loss, delta=0.7), T),
        "smooth l1": (
            lambda x, t, **o: cost.huber(x, t, delta=0.7, **o) / 0.7,
            partial(f.smooth_l1_loss, beta=0.7),
            T,
        ),
        "sigmoid": (cost.sigmoid_binary_cross_entropy, f.binary_cross_entropy_with_logits, P),
        "sigmoid pos": (
            partial(cost.sigmoid_binary_cross_entropy, pos_weight=w),
            lambda x, t, **o: f.binary_cross_entropy_with_logits(x, t, pos_weight=tw.to(x.dtype), **o),
            P,
        ),
        "binary": (
            lambda x, t, **o: cost.binary_cross_entropy(activation.sigmoid(x), t, **o),
            lambda x, t, **o: f.binary_cross_entropy(torch.sigmoid(x), t, **o),
            P,
        ),
        "kl": (
            lambda x, t: cost.kl(activation.log_softmax(x), t),
            lambda x, t: f.kl_div(torch.log_softmax(x, -1), t, reduction="batchmean"),
            P,
        ),
        "cosine": (
            partial(cost.cosine, labels=[1, -1, -1, 1], margin=0.1),
            lambda x, t, **o: f.cosine_embedding_loss(x, t, torch.tensor([1, -1, -1, 1]), margin=0.1, **o),
            T,
        ),
    }
    for options in OPTIONS:
        theirs = {k: v for k, v in options.items() if k != "weights"}
        for target in targets_of(options):

            def cross_entropy(x, t, options=options, theirs=theirs, **o):
                weight = tw.to(x.dtype) if "weights" in options and options["weights"][3] else None
                if "weights" in options and weight is None:
                    weight = torch.tensor(options["weights"], dtype=x.dtype)
                return f.cross_entropy(x, t, weight=weight, **theirs, **o)

            kind = "classes" if target is not P else "soft"
            for name, function in CLASS_COSTS.items():
                pairs[f"{name} {kind} {options}"] = (partial(function, **options), cross_entropy, target)
    return pairs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_pytorch(dtype):
    """Losses, gradients and second derivatives along a direction."""
    torch = pytest.importorskip("torch")
    h = np.random.default_rng(3).normal(size=X.shape).astype(dtype)
    tolerance = 2000 * np.finfo(dtype).eps  # PyTorch adds 1e-12 to the squared lengths of cosine
    for name, (ours, theirs, target) in torch_costs(torch).items():
        t = target if target.dtype.kind == "i" else target.astype(dtype)
        for reduction in ("mean", "sum", "none") if name != "kl" else ("mean",):
            options = {} if name == "kl" else {"reduction": reduction}
            a, b = corgi.array(X.astype(dtype)).tracked(), torch.tensor(X.astype(dtype), requires_grad=True)
            y, z = ours(a, t, **options), theirs(b, torch.tensor(t), **options)
            y.sum().backward(create_graph=True)
            (first,) = torch.autograd.grad(z.sum(), b, create_graph=True)
            gradient = a.take_gradient()
            pairs = [(y, z), (gradient, first)]
            if first.requires_grad and gradient.is_tracked:
                (gradient * corgi.array(h)).sum().backward()
                (second,) = torch.autograd.grad((first * torch.tensor(h)).sum(), b, allow_unused=True)
                if second is not None and a.gradient is not None:
                    pairs.append((a.gradient, second))
            limit = 1e-7 if name == "binary" else tolerance  # PyTorch adds 1e-12 to divisors of the second derivative
            for mine, other in pairs:
                np.testing.assert_allclose(
                    mine.numpy(),
                    other.detach().numpy(force=True),
                    rtol=limit,
                    atol=tolerance + (name == "binary") * 1e-11,
                    err_msg=f"{name} {reduction}",
                )
