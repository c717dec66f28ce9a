"""Optimizers: every rule against its formula in NumPy and against PyTorch; clipping, averages, saving.

Above: nobody.  Below: corgi.optimizer; schedules have test_schedules.py, and models trained as a whole test_training.py.
"""

import copy
import json
import math
import pickle

import numpy as np
import pytest

import corgi
from corgi import Model, arr, cost, schedule
from corgi.layer import Dense
from corgi.optimizer import (
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Average,
    GradientDescent,
    Lion,
    Optimizer,
    RMSProp,
    clip_norm,
    clip_value,
    scale_gradients,
)

DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 3e-5, "float64": 1e-11}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(values, dtype="float64"):
    return corgi.array(values, dtype).tracked()


def run(optimizer, start, gradients, dtype="float64"):
    p = leaf(start, dtype)
    for g in gradients:
        p.gradient = corgi.array(g, dtype)
        optimizer.step([p])
    return p


# ---- the rules, in float64: each takes a parameter, its gradient, the number of the step and a dict for what it remembers


def descent(p, g, t, m, rate, momentum=0.0, nesterov=False):
    v = m["v"] = momentum * m.get("v", 0) + g
    return p - rate * (g + momentum * v if nesterov else v)


def adam(p, g, t, m, rate, beta1, beta2, epsilon, amsgrad=False):
    m["m"] = beta1 * m.get("m", 0) + (1 - beta1) * g
    m["v"] = beta2 * m.get("v", 0) + (1 - beta2) * g**2
    m["w"] = np.maximum(m.get("w", 0), m["v"])
    v = m["w"] if amsgrad else m["v"]
    return p - rate * m["m"] / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)


def rmsprop(p, g, t, m, rate, rho, epsilon, momentum=0.0, centered=False):
    m["v"] = rho * m.get("v", 0) + (1 - rho) * g**2
    m["m"] = rho * m.get("m", 0) + (1 - rho) * g
    v = m["v"] - m["m"] ** 2 if centered else m["v"]
    m["u"] = momentum * m.get("u", 0) + g / (np.sqrt(v) + epsilon)
    return p - rate * m["u"]


def adagrad(p, g, t, m, rate, epsilon, initial=0.0):
    m["v"] = m.get("v", initial) + g**2
    return p - rate * g / (np.sqrt(m["v"]) + epsilon)


def adadelta(p, g, t, m, rate, rho, epsilon):
    m["v"] = rho * m.get("v", 0) + (1 - rho) * g**2
    d = np.sqrt(m.get("u", 0) + epsilon) / np.sqrt(m["v"] + epsilon) * g
    m["u"] = rho * m.get("u", 0) + (1 - rho) * d**2
    return p - rate * d


def lion(p, g, t, m, rate, beta1, beta2):
    direction = np.sign(beta1 * m.get("m", 0) + (1 - beta1) * g)
    m["m"] = beta2 * m.get("m", 0) + (1 - beta2) * g
    return p - rate * direction


# Name: the optimizer, the rule, and the optimizer of PyTorch's with its settings (None where it has none).
CASES = {
    "descent": (lambda **o: GradientDescent(0.1, **o), (descent, 0.1), ("SGD", {"lr": 0.1})),
    "momentum": (lambda **o: GradientDescent(0.1, 0.8, **o), (descent, 0.1, 0.8), ("SGD", {"lr": 0.1, "momentum": 0.8})),
    "nesterov": (
        lambda **o: GradientDescent(0.1, 0.8, True, **o),
        (descent, 0.1, 0.8, True),
        ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    ),
    "adam": (
        lambda **o: Adam(0.01, 0.8, 0.95, 1e-6, **o),
        (adam, 0.01, 0.8, 0.95, 1e-6),
        ("Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6}),
    ),
    "amsgrad": (
        lambda **o: Adam(0.01, 0.8, 0.6, 1e-6, amsgrad=True, **o),
        (adam, 0.01, 0.8, 0.6, 1e-6, True),
        ("Adam", {"lr": 0.01, "betas": (0.8, 0.6), "eps": 1e-6, "amsgrad": True}),
    ),
    "adamw": (
        lambda **o: AdamW(0.01, 0.8, 0.95, 1e-6, **o),
        (adam, 0.01, 0.8, 0.95, 1e-6),
        ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6}),
    ),
    "rmsprop": (
        lambda **o: RMSProp(0.01, 0.9, 1e-6, **o),
        (rmsprop, 0.01, 0.9, 1e-6),
        ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-6}),
    ),
    "rmsprop, momentum": (
        lambda **o: RMSProp(0.01, 0.9, 1e-6, 0.7, **o),
        (rmsprop, 0.01, 0.9, 1e-6, 0.7),
        ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-6, "momentum": 0.7}),
    ),
    "rmsprop, centered": (
        lambda **o: RMSProp(0.01, 0.9, 1e-2, centered=True, **o),
        (rmsprop, 0.01, 0.9, 1e-2, 0.0, True),
        ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-2, "centered": True}),
    ),
    "rmsprop, centered, momentum": (
        lambda **o: RMSProp(0.01, 0.9, 1e-2, 0.7, centered=True, **o),
        (rmsprop, 0.01, 0.9, 1e-2, 0.7, True),
        ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-2, "centered": True, "momentum": 0.7}),
    ),
    "adagrad": (lambda **o: Adagrad(0.1, 1e-8, **o), (adagrad, 0.1, 1e-8), ("Adagrad", {"lr": 0.1, "eps": 1e-8})),
    "adagrad, initial": (
        lambda **o: Adagrad(0.1, 1e-8, initial=0.5, **o),
        (adagrad, 0.1, 1e-8, 0.5),
        ("Adagrad", {"lr": 0.1, "eps": 1e-8, "initial_accumulator_value": 0.5}),
    ),
    "adadelta": (
        lambda **o: Adadelta(0.5, 0.8, 1e-4, **o),
        (adadelta, 0.5, 0.8, 1e-4),
        ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4}),
    ),
    "lion": (lambda **o: Lion(0.01, 0.9, 0.8, **o), (lion, 0.01, 0.9, 0.8), None),
}
DECOUPLED = {"adamw", "lion"}


def reference(case, p, gradients, decay=0.0):
    _, (rule, rate, *settings), _ = CASES[case]
    memory = {}
    for t, g in enumerate(gradients, 1):
        if case in DECOUPLED:
            p = p * (1 - rate * decay)
        p = rule(p, g if case in DECOUPLED else g + decay * p, t, memory, rate, *settings)
    return p


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, decay", [((), 0.1), ((0, 2), 0.0), ((17, 5), 0.0), ((17, 5), 0.1), ((140_001,), 0.1)])
@pytest.mark.parametrize("case", CASES)
def test_rule(case, decay, shape, dtype):
    start, gradients = normal(*shape), [normal(*shape, seed=i) for i in range(1, 7)]
    if dtype == "float32":  # the reference starts from the same numbers
        start, gradients = np.float64(np.float32(start)), [np.float64(np.float32(g)) for g in gradients]
    p = run(CASES[case][0](weight_decay=decay), start, gradients, dtype)
    assert p.dtype == dtype and p.shape == shape and p.is_tracked and p.gradient is None
    np.testing.assert_allclose(p, reference(case, start, gradients, decay), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("case", [case for case, (*_, peer) in CASES.items() if peer])
def test_rule_as_in_pytorch(case, decay, dtype):
    """The same weights and gradients in, the same weights out, over 40 steps."""
    torch = pytest.importorskip("torch")
    make, _, (name, settings) = CASES[case]
    values = [normal(5, 4), normal(4), normal()]
    ours, optimizer = [leaf(v, dtype) for v in values], make(weight_decay=decay)
    theirs = [torch.tensor(v, dtype=getattr(torch, dtype)) for v in values]
    peer = getattr(torch.optim, name)(theirs, weight_decay=decay, **settings)
    for step in range(40):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = normal(*p.shape, seed=10 * step + i)
            p.gradient, q.grad = corgi.array(g, dtype), torch.tensor(g, dtype=q.dtype)
        optimizer.step(ours)
        peer.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p, q.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_gradient_descent_with_decoupled_decay_by_settings_of_its_own():
    """A rule takes settings from `set`, flags as well as numbers: AdamW for one parameter, Adam for the other."""
    a, b = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    optimizer = Adam(0.1, weight_decay=0.5)
    optimizer.set([b], decoupled=True)
    for _ in range(3):
        a.gradient = b.gradient = [1.0, -1.0]
        optimizer.step([a, b])
    for p, expected in ((a, Adam(0.1, weight_decay=0.5)), (b, AdamW(0.1, weight_decay=0.5))):
        assert p.tolist() == run(expected, [1.0, 2.0], [[1.0, -1.0]] * 3).tolist()


# ---- what holds for all


@pytest.mark.parametrize("case", CASES)
def test_nan_and_infinity_are_not_hidden(case):
    p = run(CASES[case][0](), np.ones(5), [[math.nan, 1, 1, 1, 1], [1, 1, math.nan, 1, 1], np.ones(5)])
    assert np.isnan(p).tolist() == [True, False, True, False, False]
    q = run(CASES[case][0](), [math.inf, -math.inf, math.nan], [np.ones(3)])
    assert np.array_equal(q, [math.inf, -math.inf, math.nan], equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_parameters_that_are_not_contiguous(case):
    start, g = normal(4, 6), normal(6, 8, seed=1)
    expected = run(CASES[case][0](), start, [g[:, ::2].T] * 2)
    p = corgi.array(start.T).T.tracked()
    optimizer = CASES[case][0]()
    for _ in range(2):
        p.gradient = corgi.array(g)[:, ::2].T
        optimizer.step([p])
    assert np.array_equal(p, expected)


@pytest.mark.parametrize("case", CASES)
def test_values_that_others_see_are_kept(case):
    """The old values of a parameter, of its gradient and of what the optimizer remembers, whoever has them."""
    p, optimizer = leaf(normal(4)), CASES[case][0]()
    for _ in range(2):
        g = p.gradient = arr([1.0, 2.0, 3.0, 4.0])
        seen = [p.numpy(), p.detach(), p[:2], g] + [
            a.detach() for a in optimizer.state.get(p, {}).values() if type(a) is not int
        ]
        saved = [np.array(s) for s in seen]
        optimizer.step([p])
        assert all(np.array_equal(s, old) for s, old in zip(seen, saved, strict=True))
        assert not np.array_equal(p, saved[0])


@pytest.mark.parametrize("case", CASES)
def test_state_begins_with_the_first_gradient(case):
    idle, busy, optimizer = leaf([1.0]), leaf([1.0]), CASES[case][0]()
    for _ in range(3):
        busy.gradient = [0.5]
        optimizer.step([idle, busy])
    assert idle.tolist() == [1.0] and idle not in optimizer.state
    idle.gradient = [0.5]
    optimizer.step([idle])
    assert idle.tolist() == run(CASES[case][0](), [1.0], [[0.5]]).tolist()


@pytest.mark.parametrize("case", CASES)
def test_the_last_bit_does_not_depend_on_the_number_of_threads(case):
    results = []
    for threads in (1, 2, 5):
        with corgi.num_threads(threads):
            results.append(run(CASES[case][0](weight_decay=0.1), normal(300_000), [normal(300_000, seed=1)] * 2).numpy())
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


@pytest.mark.parametrize("make", [Adam, GradientDescent(0.1, 0.9).__class__], ids=["Adam", "GradientDescent"])
def test_a_failed_step_changes_nothing(make):
    optimizer, good, bad = make(0.1), leaf([1.0, 2.0]), arr([1, 2])
    good.gradient = [1.0, 1.0]
    with pytest.raises(TypeError, match="expected a float array, got int64"):
        optimizer.step([good, bad])
    assert good.tolist() == [1.0, 2.0] and good.gradient is not None and not optimizer.state and optimizer.steps == 0
    optimizer.schedule = lambda step: math.nan
    with pytest.raises(ValueError, match=r"expected factor in \[0, inf\), got nan"):
        optimizer.step([good])
    assert good.tolist() == [1.0, 2.0] and good.gradient is not None and optimizer.steps == 0 and optimizer.factor == 1


def test_state_of_another_shape_is_refused():
    p, optimizer = leaf([1.0, 2.0]), Adam(0.1)
    p.gradient = [1.0, 1.0]
    optimizer.state[p] = {"steps": 3, "mean": corgi.zeros(2), "square": corgi.zeros(3)}
    with pytest.raises(
        ValueError, match=r"Adam.step: expected state 'square' of the parameter's shape \(2,\) .* got \(3,\)"
    ):
        optimizer.step([p])
    assert p.tolist() == [1.0, 2.0] and optimizer.state[p]["steps"] == 3


def test_handles_on_one_array_and_lists_with_repetitions():
    p = leaf([1.0, 2.0])
    q = p.copy()
    p.gradient = [1.0, 1.0]
    GradientDescent(0.5).step([p, p])
    assert p.tolist() == [0.5, 1.5] and q.tolist() == [1.0, 2.0]


def test_settings_may_change_between_steps():
    """The rule follows: a momentum of 0 leaves the velocity alone, and it counts again afterwards."""
    p, optimizer = leaf([0.0]), GradientDescent(1.0, 0.5)
    expected = []
    for momentum, value in ((0.5, -1), (0.0, -2), (0.5, -3.5)):
        optimizer.momentum = momentum
        p.gradient = [1.0]
        optimizer.step([p])
        expected.append(value)
        assert p.item() == value
    optimizer.nesterov = True
    p.gradient = [1.0]
    optimizer.step([p])
    assert p.item() == -3.5 - (1 + 0.5 * 1.75)


def test_optimizers_of_ones_own():
    class Halving(Optimizer):
        def update(self, parameter):
            if parameter.gradient is not None:
                memory = self.state.setdefault(parameter, {"steps": 0})
                memory["steps"] += 1
                corgi.assign(parameter, parameter.detach() - self.rate(parameter) * parameter.gradient)

    a, b, optimizer = leaf([1.0]), leaf([1.0]), Halving(0.5, schedule=schedule.Exponential(0.5), clip_norm=1.0)
    optimizer.set([b], learning_rate=0.25)
    for _ in range(2):
        a.gradient, b.gradient = [6.0], [8.0]
        optimizer.step([a, b])
    np.testing.assert_allclose([a, b], [[1 - 0.3 - 0.15], [1 - 0.2 - 0.1]], rtol=1e-15)
    assert optimizer.state_dict([a, b])["state/1/steps"] == optimizer.steps == 2
    optimizer.clip_norm = None
    with pytest.raises(TypeError, match=r"Halving.step: expected Arrays, got int among them"):
        optimizer.step([a, 3])

    class Clamped(Adam):
        def update(self, parameter):
            super().update(parameter)
            corgi.assign(parameter, corgi.clip(parameter.detach(), 0.0, 1.0))

    p = run(Clamped(0.75), [0.5, 0.5], [[1.0, -1.0]])
    assert p.tolist() == [0.0, 1.0]


# ---- settings of their own for parameters


def test_set_as_parameter_groups_in_pytorch():
    """Two rates and no weight decay for one parameter, under a cosine: against PyTorch, and its CosineAnnealingLR."""
    torch = pytest.importorskip("torch")
    values = [normal(5, 4), normal(4), normal(3)]
    ours, theirs = [leaf(v) for v in values], [torch.tensor(v, dtype=torch.float64) for v in values]
    optimizer = AdamW(0.01, weight_decay=0.1, schedule=schedule.Cosine(20))
    optimizer.set([ours[1]], weight_decay=0.0)
    optimizer.set(ours[1:], learning_rate=0.02)
    groups = [
        {"params": theirs[:1]},
        {"params": theirs[1:2], "lr": 0.02, "weight_decay": 0.0},
        {"params": theirs[2:], "lr": 0.02},
    ]
    peer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(peer, 20)
    for step in range(20):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            g = normal(*p.shape, seed=10 * step + i)
            p.gradient, q.grad = g, torch.tensor(g)
        optimizer.step(ours)
        np.testing.assert_allclose([optimizer.rate(p) for p in ours], scheduler.get_last_lr(), rtol=1e-12, atol=1e-18)
        peer.step()
        scheduler.step()
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p, q.numpy(), rtol=1e-11)


def test_set_and_settings():
    a, b, optimizer = leaf([1.0]), leaf([1.0]), GradientDescent(0.5, weight_decay=0.1)
    optimizer.set([a, b], weight_decay=0.0)
    optimizer.set([a], learning_rate=0.25)
    assert optimizer.settings(a) == {"learning_rate": 0.25, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    assert optimizer.settings(b)["learning_rate"] == optimizer.rate() == 0.5 and optimizer.rate(a) == 0.25
    assert repr(optimizer) == (
        "GradientDescent(learning_rate=0.5, momentum=0.0, nesterov=False, weight_decay=0.1, "
        "1 with weight_decay=0.0 learning_rate=0.25, 1 with weight_decay=0.0)"
    )
    optimizer.learning_rate = 1.0  # of those without one of their own
    assert (optimizer.rate(a), optimizer.rate(b)) == (0.25, 1.0)
    a.gradient = b.gradient = [1.0]
    optimizer.step([a, b])
    assert (a.item(), b.item()) == (0.75, 0.0)
    optimizer.set([a], weight_decay=None, learning_rate=None)
    assert optimizer.settings(a) == optimizer.settings()
    twin_a, twin = copy.deepcopy((a, optimizer))
    twin.set([twin_a], learning_rate=0.125)
    assert optimizer.rate(a) == 1.0 and twin.rate(twin_a) == 0.125


def test_set_to_what_is_wrong_changes_nothing():
    p, optimizer = leaf([1.0]), Adam(0.5)
    for settings, message in (
        ({"lr": 1.0}, r"Adam.set: expected settings among learning_rate, beta1, .*, got 'lr'"),
        ({"learning_rate": 0.1, "beta1": 1.5}, r"Adam.set: expected beta1 in \[0, 1\), got 1.5"),
        ({"schedule": None}, r"got 'schedule'"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.set([p], **settings)
        assert optimizer.settings(p) == optimizer.settings()
    with pytest.raises(TypeError, match=r"Adam.set: expected float arrays, got int64 among them"):
        optimizer.set([p, arr([1])], learning_rate=0.1)
    assert optimizer.rate(p) == 0.5


def test_options():
    optimizer = Adam(0.5, clip_norm=1.0, clip_value=2, schedule=schedule.Cosine(10))
    assert repr(optimizer).endswith(
        "schedule=Cosine(steps=10, least=0.0, cycles=1, growth=1.0), clip_norm=1.0, clip_value=2.0)"
    )
    for call, error, message in (
        (lambda: Adam(0.5, clip_norm=-1), ValueError, r"Adam: expected clip_norm in \[0, inf\), got -1"),
        (lambda: Adam(0.5, clip_value="1"), TypeError, "Adam: expected a number for clip_value, got str"),
        (lambda: Adam(0.5, schedule=0.5), TypeError, "Adam: expected a schedule such as .* got float"),
        (lambda: Adam(0.5, schedule=schedule.Cosine), TypeError, "got the class Cosine; call it"),
        (lambda: Adam(0.5, scheduler=None), TypeError, "scheduler"),
        (lambda: setattr(optimizer, "factor", -1.0), ValueError, r"expected factor in"),
        (lambda: RMSProp(rho=1.0), ValueError, r"RMSProp: expected rho in \[0, 1\), got 1.0"),
        (lambda: Adagrad(initial=-1.0), ValueError, "Adagrad: expected initial"),
        (lambda: Adadelta(epsilon=math.nan), ValueError, "Adadelta: expected epsilon"),
        (lambda: Lion(beta2=1), ValueError, "Lion: expected beta2"),
    ):
        with pytest.raises(error, match=message):
            call()


# ---- gradients together


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_norm(dtype):
    shapes = [(3, 4), (), (0, 2), (70_001,)]
    arrays, gradients = [corgi.zeros(s, dtype).tracked() for s in shapes], [normal(*s, seed=7).astype(dtype) for s in shapes]
    arrays.append(corgi.zeros(3, dtype).tracked())  # without a gradient
    norm = math.sqrt(math.fsum(float(x) ** 2 for g in gradients for x in g.ravel()))
    for limit in (norm / 3, norm * 2, 0.0):
        for p, g in zip(arrays, gradients, strict=False):
            p.gradient = g
        assert clip_norm(iter(arrays), limit) == pytest.approx(norm, rel=1e-13)
        for p, g in zip(arrays, gradients, strict=False):
            assert p.gradient.dtype == dtype
            np.testing.assert_allclose(p.gradient, g * min(1, limit / norm), rtol=TOLERANCE[dtype])
    assert arrays[-1].gradient is None and clip_norm([], 1.0) == clip_norm(arrays[-1:], 1.0) == 0.0


def test_clip_norm_as_in_pytorch():
    """PyTorch divides by norm + 1e-6."""
    torch = pytest.importorskip("torch")
    gradients = [normal(30, 4), normal(4, seed=1)]
    ours, theirs = [corgi.zeros(g.shape).tracked() for g in gradients], [torch.zeros(g.shape) for g in gradients]
    for special in (0.0, math.nan, math.inf):
        gradients[1][2] = special
        for p, q, g in zip(ours, theirs, gradients, strict=True):
            p.gradient, q.grad = g, torch.tensor(g).float()
        norm = torch.nn.utils.clip_grad_norm_(theirs, 2.0).item()
        np.testing.assert_allclose(clip_norm(ours, 2.0), norm, rtol=1e-6)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.gradient, q.grad.numpy(), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e-160, 1e160, 1e200, 1e307])
def test_the_norm_neither_overflows_nor_underflows(scale):
    p, q = leaf(np.zeros(3)), leaf(np.zeros(2))
    p.gradient, q.gradient = [2 * scale, -3 * scale, 0], [0, 6 * scale]
    assert clip_norm([p, q], 1e308) == pytest.approx(7 * scale, rel=1e-3 if scale < 1e-300 else 1e-13)
    assert p.gradient.tolist() == [2 * scale, -3 * scale, 0]
    p.gradient = [1.7e308, 1.7e308, 0]
    assert clip_norm([p], 1e308) == math.inf
    f = leaf(np.zeros(2), "float32")
    f.gradient = [3e38, 3e38]
    assert clip_norm([f], 1.0) == pytest.approx(3e38 * math.sqrt(2), rel=1e-6)
    np.testing.assert_allclose(f.gradient, [math.sqrt(0.5)] * 2, rtol=1e-6)


def test_norms_that_are_not_finite():
    p, q = leaf([0.0, 0.0]), leaf([0.0])
    for bad, name in ((math.nan, "nan"), (math.inf, "inf")):
        p.gradient, q.gradient = [1.0, bad], [1.0]
        with pytest.raises(ValueError, match=f"clip_norm: expected gradients with a finite norm, got {name}"):
            clip_norm([p, q], 1.0, finite=True)
        assert p.gradient[0] == 1.0 and q.gradient.tolist() == [1.0]
    assert clip_norm([p, q], 1.0) == math.inf
    assert p.gradient[0] == 0.0 and math.isnan(p.gradient[1]) and q.gradient.tolist() == [0.0]
    p.gradient, q.gradient = [math.nan, math.inf], [1.0]
    assert math.isnan(clip_norm([p, q], 1.0)) and np.isnan(q.gradient).all()


def test_clip_value_and_scale():
    p, q = leaf([0.0] * 4), leaf([0.0])
    g = p.gradient = arr([5.0, -math.inf, math.nan, 0.5])
    clip_value([p, q], 2)
    assert np.array_equal(p.gradient, [2.0, -2.0, math.nan, 0.5], equal_nan=True) and q.gradient is None
    scale_gradients([p, p, q], -2)
    assert np.array_equal(p.gradient, [-4.0, 4.0, math.nan, -1.0], equal_nan=True)
    assert g[0] == 5.0 and p.is_tracked and not p.gradient.is_tracked


def test_gradients_that_are_shared_are_scaled_once():
    a, b = leaf([1.0]), leaf([2.0])
    (a + b).sum().backward()
    scale_gradients([a, b], 3.0)
    assert a.gradient.tolist() == b.gradient.tolist() == [3.0]
    twin = a.copy()  # another handle on the same node
    scale_gradients([a, twin], 3.0)
    assert a.gradient.tolist() == twin.gradient.tolist() == [9.0]


def test_gradients_with_a_graph():
    x = leaf([2.0])
    (x * x * x).sum().backward(create_graph=True)
    assert x.gradient.is_tracked and clip_norm([x], 6.0) == 12.0
    assert not x.gradient.is_tracked and x.gradient.tolist() == [6.0]


def test_optimizers_that_clip():
    for options, limited in (
        ({"clip_norm": 1.0}, lambda p: clip_norm(p, 1.0)),
        ({"clip_value": 0.5}, lambda p: clip_value(p, 0.5)),
    ):
        ours, by_hand = leaf(normal(5)), leaf(normal(5))
        optimizer, plain = Adam(0.1, **options), Adam(0.1)
        for step in range(4):
            ours.gradient = by_hand.gradient = normal(5, seed=step)
            optimizer.step([ours])
            limited([by_hand])
            plain.step([by_hand])
        assert ours.tolist() == by_hand.tolist()


def network(dtype="float64", optimizer=None):
    corgi.seed(0)
    return Model([Dense(3, 8, None, "tanh", dtype=dtype), Dense(8, 2, dtype=dtype)], optimizer or Adam(0.01), cost.mse)


def train(model, steps, first=0):
    for step in range(first, first + steps):
        model.forward(normal(6, 3, seed=step))
        model.backward(normal(6, 2, seed=1000 + step))
        model.update()


def test_accumulated_gradients_are_those_of_one_large_batch():
    """Two halves and a third, then one update: the mean over all, if each counts as its share."""
    x, t = normal(12, 3), normal(12, 2, seed=1)
    whole, parts = network(), network()
    for _ in range(3):
        whole.forward(x)
        whole.backward(t)
        whole.update()
        for i in range(3):
            parts.forward(x[4 * i : 4 * i + 4])
            parts.backward(t[4 * i : 4 * i + 4])
        scale_gradients(parts.parameters(), 1 / 3)
        parts.update()
    for p, q in zip(whole.parameters(), parts.parameters(), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-9)


# ---- saving


def through_files(state):
    """As a checkpoint does it: numbers and strings as JSON, arrays as their bytes."""
    arrays = {k: pickle.dumps(v.numpy()) for k, v in state.items() if type(v) is corgi.Array}
    rest = json.loads(json.dumps({k: v for k, v in state.items() if k not in arrays}, allow_nan=False))
    return rest | {k: pickle.loads(v) for k, v in arrays.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_training_goes_on_exactly(case, dtype):
    """Weights and state_dict, through files, into a new model and optimizer: the same bits as without interruption."""

    def make():
        plateau = schedule.Plateau(0.5, patience=1)
        optimizer = CASES[case][0](weight_decay=0.1, schedule=schedule.WarmUp(6, schedule.Cosine(20)) * plateau)
        return network(dtype, optimizer), plateau

    (model, plateau), (other, other_plateau) = make(), make()
    first = model.parameters()[0]
    model.optimizer.set([first], learning_rate=0.003)
    for epoch in range(4):
        train(model, 2, 2 * epoch)
        plateau.report(1.0)
    model.optimizer.learning_rate *= 0.5
    state = model.optimizer.state_dict(model.named_parameters())
    weights = [p.numpy().copy() for p in model.parameters()]
    train(model, 4, 8)  # does not change the state that was taken
    plateau.report(1.0)
    train(model, 2, 12)
    for p, w in zip(other.parameters(), weights, strict=True):
        corgi.assign(p, w)
    other.optimizer.load_state_dict(through_files(state), other.named_parameters())
    train(other, 4, 8)
    other_plateau.report(1.0)
    train(other, 2, 12)
    assert other_plateau(0) == plateau(0) == 0.25
    assert all(np.array_equal(p, q) for p, q in zip(model.parameters(), other.parameters(), strict=True))
    ours, theirs = (m.optimizer.state_dict(m.parameters()) for m in (model, other))
    assert list(map(str, ours.values())) == list(map(str, theirs.values())) and set(ours) == set(theirs)


def test_state_dict_keys():
    p, q, idle = leaf([1.0]), leaf([2.0]), leaf([3.0])
    optimizer = GradientDescent(0.5, 0.9, schedule=schedule.Plateau())
    optimizer.set([q], momentum=0.0)
    p.gradient, q.gradient = [1.0], [1.0]
    optimizer.step([p, q, idle])
    state = optimizer.state_dict({"a/b.c": p, "q": q, "idle": idle})
    assert {key: value for key, value in state.items() if type(value) is not corgi.Array} == {
        **{"optimizer": "GradientDescent", "steps": 1, "factor": 1.0, "state/a/b.c/steps": 1, "own/q/momentum": 0.0},
        **{
            "settings/learning_rate": 0.5,
            "settings/momentum": 0.9,
            "settings/nesterov": False,
            "settings/weight_decay": 0.0,
        },
        **{"schedule/value": 1.0, "schedule/bad": 0, "schedule/cooling": 0},
    }
    assert state["state/a/b.c/velocity"].tolist() == [1.0]
    optimizer.load_state_dict(state, {"a/b.c": q, "q": p, "idle": idle})
    assert optimizer.settings(p)["momentum"] == 0.0 and optimizer.settings(q)["momentum"] == 0.9
    assert list(optimizer.state) == [q] and list(optimizer.state_dict([p, q]))[-1] == "schedule/cooling"


def good_state():
    p = leaf([1.0, 2.0])
    p.gradient = [1.0, 1.0]
    optimizer = Adam(0.5)
    optimizer.step([p])
    return p, optimizer, optimizer.state_dict({"p": p})


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"optimizer": "Lion"}, ValueError, "expected the state of Adam, got 'Lion'"),
        ({"optimizer": None}, ValueError, "expected the state of Adam, got None"),
        ({"steps": -1}, ValueError, "expected steps of at least 0, got -1"),
        ({"steps": "3"}, TypeError, "expected an int for steps, got str"),
        ({"factor": math.nan}, ValueError, r"expected factor in \[0, inf\), got nan"),
        ({"settings/beta1": 2.0}, ValueError, r"expected beta1 in \[0, 1\), got 2.0"),
        ({"settings/beta1": ...}, TypeError, "expected a number for beta1, got NoneType"),
        ({"settings/rho": 0.5}, ValueError, "expected nothing under 'settings/rho'; the parameters are p"),
        ({"state/q/mean": [1.0, 2.0]}, ValueError, "expected nothing under 'state/q/mean'"),
        ({"own/p/lr": 0.5}, ValueError, "expected nothing under 'own/p/lr'"),
        ({"own/p/beta2": -1}, ValueError, "expected beta2 in"),
        ({"state/p/mean": [1.0]}, ValueError, r"expected state/p/mean of shape \(2,\), got \(1,\)"),
        ({"state/p/mean": "text"}, TypeError, "expected numbers, got str"),
        ({"state/p/mean": ...}, ValueError, "expected 'mean' in the state of each parameter, got steps, square"),
        ({"state/p/steps": 1.5}, TypeError, "expected an int for state/p/steps, got float"),
        ({"schedule/value": 0.5}, ValueError, "expected no state of a schedule"),
        ({3: 4}, ValueError, "expected nothing under 3"),
    ],
)
def test_a_wrong_state_changes_nothing(change, error, message):
    p, optimizer, state = good_state()
    before = {k: np.array(v).tolist() for k, v in state.items()}
    wrong = {key: value for key, value in (state | change).items() if value is not ...}
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(wrong, {"p": p})
    assert {k: np.array(v).tolist() for k, v in optimizer.state_dict({"p": p}).items()} == before
    optimizer.load_state_dict(state, {"p": p})


def test_state_without_names_and_other_dtypes():
    p, optimizer, state = good_state()
    q = leaf([1.0, 2.0], "float32")
    with pytest.raises(ValueError, match="expected nothing under 'state/p/steps'; the parameters are 0"):
        Adam().load_state_dict(state, [q])
    other = Adam()
    other.load_state_dict({key.replace("/p/", "/0/"): value for key, value in state.items()}, [q])
    assert other.state[q]["mean"].dtype == "float32" and other.learning_rate == 0.5 and other.state[q]["steps"] == 1
    with pytest.raises(TypeError, match=r"Adam.state_dict: expected names of parameters, got int among them"):
        optimizer.state_dict({0: p})
    with pytest.raises(TypeError, match=r"Adam.load_state_dict: expected a dict, got list"):
        optimizer.load_state_dict([], [p])


# ---- averages


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.9, 0.0, None])
def test_average(decay, dtype):
    shapes = [(3, 4), (), (0, 2), (140_001,)]
    parameters = [corgi.zeros(s, dtype).tracked() for s in shapes]
    average = Average(parameters, decay)
    history, expected = [], None
    for step in range(5):
        history.append([normal(*s, seed=step).astype(dtype) for s in shapes])
        for p, values in zip(parameters, history[-1], strict=True):
            corgi.assign(p, values)
        average.update()
        if decay is not None:
            blend = [
                decay * e + (1 - decay) * v.astype(float) for e, v in zip(expected or history[-1], history[-1], strict=True)
            ]
            expected = blend if expected else [v.astype(float) for v in history[-1]]
    if decay is None:
        expected = [np.mean([h[i] for h in history], axis=0, dtype=float) for i in range(len(shapes))]
    for p, got, want, last in zip(parameters, average.values.values(), expected, history[-1], strict=True):
        assert got.dtype == dtype and np.array_equal(p, last)
        np.testing.assert_allclose(got, want, rtol=TOLERANCE[dtype], atol=1e-6 if dtype == "float32" else 1e-14)


def test_average_as_in_pytorch():
    torch = pytest.importorskip("torch")
    swa = torch.optim.swa_utils
    for decay in (0.9, None):
        module = torch.nn.Linear(3, 2).double()
        peer = swa.AveragedModel(module, multi_avg_fn=swa.get_ema_multi_avg_fn(decay) if decay else None)
        parameters = [leaf(p.detach().numpy()) for p in module.parameters()]
        average = Average(parameters, decay)
        for step in range(6):
            for p, q in zip(parameters, module.parameters(), strict=True):
                corgi.assign(p, normal(*p.shape, seed=step))
                q.data = torch.tensor(p.numpy().copy())
            average.update()
            peer.update_parameters(module)
        for ours, theirs in zip(average.values.values(), peer.module.parameters(), strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-13)


def test_averages_in_place_of_the_parameters_and_back():
    model = network(optimizer=GradientDescent(0.1, 0.9))
    average = Average(model.named_parameters(), 0.5)
    for step in range(3):
        train(model, 1, step)
        average.update()
    parameters = model.parameters()
    own, averages = [p.numpy() for p in parameters], [a.numpy() for a in average.values.values()]
    loss = model.cost(model.forward(normal(6, 3)), normal(6, 2, seed=1))
    parameters[0].gradient = corgi.ones(parameters[0].shape)
    with average as inside:
        assert inside is average and all(np.array_equal(p, a) for p, a in zip(parameters, averages, strict=True))
        assert all(p.is_tracked and p.gradient is None for p in parameters)
        inner = model.cost(model(normal(6, 3)), normal(6, 2, seed=1))
        inner.backward()
        assert parameters[0].gradient is not None and inner.item() != loss.item()
        with pytest.raises(ValueError, match=r"Average.update: expected the parameters' own values"):
            average.update()
        with pytest.raises(ValueError, match="Average: expected `with average:` once"), average:
            pass
        model.optimizer.step(parameters)  # changes what is thrown away afterwards
    assert all(np.array_equal(p, w) for p, w in zip(parameters, own, strict=True))
    assert all(np.array_equal(v, a) for v, a in zip(average.values.values(), averages, strict=True))
    assert np.array_equal(parameters[0].gradient, np.ones(parameters[0].shape)) and parameters[1].gradient is None
    loss.backward()  # through the graph from before
    assert parameters[1].gradient is not None
    with pytest.raises(KeyError), average:
        raise KeyError
    assert all(np.array_equal(p, w) for p, w in zip(parameters, own, strict=True))
    train(model, 1, 5)
    average.update()


def test_a_parameter_with_two_names_gets_its_values_back():
    p = leaf([1.0])
    average = Average([p, p], 0.5)
    for value in (1.0, 2.0):
        corgi.assign(p, [value])
        average.update()
    for _ in range(2):
        with average:
            assert p.item() == 1.5
        assert p.item() == 2.0


def test_average_state():
    p = leaf([1.0, 2.0], "float32")
    average, other = Average({"p": p}, 0.75), Average({"p": p}, 0.75)
    for step in range(3):
        corgi.assign(p, normal(2, seed=step))
        average.update()
    state = average.state_dict()
    other.load_state_dict(through_files(state))
    corgi.assign(p, [5.0, 6.0])
    before = state["average/p"].tolist()
    for a in (average, other):
        a.update()
    assert average.steps == other.steps == 4 and average.values["p"].tolist() == other.values["p"].tolist() != before
    assert state["average/p"].tolist() == before and "1 parameters, decay=0.75, steps=4" in repr(average)
    for wrong, error, message in (
        ({"steps": 1}, ValueError, "expected averages of p; 'average/p' is missing or too much"),
        (state | {"average/q": [1.0]}, ValueError, "'average/q' is missing or too much"),
        (state | {"average/p": [1.0]}, ValueError, r"expected average/p of shape \(2,\), got \(1,\)"),
        (state | {"steps": -1}, ValueError, "expected steps of at least 0"),
        ([], TypeError, "expected a dict, got list"),
    ):
        with pytest.raises(error, match=message):
            average.load_state_dict(wrong)
        assert average.steps == 4
    for call in (lambda: Average([arr([1])]), lambda: Average(p), lambda: Average([p], "x"), lambda: Average(["p"])):
        with pytest.raises(TypeError, match="Average: expected"):
            call()
    with pytest.raises(ValueError, match=r"Average: expected decay in \[0, 1\), got 1"):
        Average([p], 1)
