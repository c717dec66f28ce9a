"""Schedules of learning rates: figures worked out by hand, and PyTorch's, step by step.

Above: nobody.  Below: corgi.schedule.
"""

import copy
import json
import math
import pickle

import numpy as np
import pytest

import corgi
from corgi import schedule
from corgi.optimizer import Adam, GradientDescent
from corgi.schedule import Cosine, Exponential, Linear, OneCycle, Plateau, Schedule, StepDecay, WarmUp


def factors(function, count):
    return [function(step) for step in range(count)]


# ---- against PyTorch: the schedule, and the scheduler made for an optimizer with the rate 0.5


def sequential(scheduler, optimizer):
    first = scheduler.LinearLR(optimizer, start_factor=0.25, total_iters=5)
    then = scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0.05)
    return scheduler.SequentialLR(optimizer, [first, then], [5])


PEERS = {
    "StepLR": (StepDecay(7, 0.3), lambda s, o: s.StepLR(o, 7, 0.3)),
    "MultiStepLR": (StepDecay([3, 10, 11], 0.3), lambda s, o: s.MultiStepLR(o, [3, 10, 11], 0.3)),
    "ExponentialLR": (Exponential(0.9), lambda s, o: s.ExponentialLR(o, 0.9)),
    "LinearLR": (Linear(11, 0.75, 0.25), lambda s, o: s.LinearLR(o, 0.25, 0.75, 11)),
    "CosineAnnealingLR": (Cosine(25, 0.1), lambda s, o: s.CosineAnnealingLR(o, 25, eta_min=0.05)),
    "CosineAnnealingWarmRestarts": (
        Cosine(4, 0.1, cycles=math.inf, growth=2),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 2, eta_min=0.05),
    ),
    "equal restarts": (Cosine(4, cycles=math.inf), lambda s, o: s.CosineAnnealingWarmRestarts(o, 4)),
    "SequentialLR": (WarmUp(5, Cosine(20, 0.1), start=0.25), sequential),
    "OneCycleLR": (OneCycle(25), lambda s, o: s.OneCycleLR(o, 0.5, 25, cycle_momentum=False)),
    "OneCycleLR, three lines": (
        OneCycle(25, 0.4, 1 / 5, 1 / 5 / 100, linear=True, three_phases=True),
        lambda s, o: s.OneCycleLR(o, 0.5, 25, None, None, 0.4, "linear", False, 0.85, 0.95, 5, 100, True),
    ),
}


@pytest.mark.parametrize("name", PEERS)
def test_as_in_pytorch(name):
    torch = pytest.importorskip("torch")
    function, make = PEERS[name]
    peer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    scheduler, rates = make(torch.optim.lr_scheduler, peer), []
    for _ in range(25):
        rates.append(peer.param_groups[0]["lr"])
        peer.step()
        if len(rates) < 25:
            scheduler.step()
    np.testing.assert_allclose(np.multiply(0.5, factors(function, 25)), rates, rtol=1e-12, atol=1e-17)


def test_the_momentum_of_one_cycle_as_in_pytorch():
    torch = pytest.importorskip("torch")
    for linear, three in ((False, False), (True, True)):
        peer = torch.optim.SGD([torch.zeros(1)], lr=0.5, momentum=0.9)
        anneal = "linear" if linear else "cos"
        scheduler = torch.optim.lr_scheduler.OneCycleLR(peer, 0.5, 30, anneal_strategy=anneal, three_phase=three)
        cycle = OneCycle(30, linear=linear, three_phases=three)
        for step in range(30):
            assert cycle.momentum(step) == pytest.approx(peer.param_groups[0]["momentum"], rel=1e-12)
            peer.step()
            if step < 29:
                scheduler.step()


@pytest.mark.parametrize(
    "settings, peers",
    [
        ({"factor": 0.5, "patience": 2}, {"factor": 0.5, "patience": 2}),
        ({"patience": 0, "cooldown": 3, "least": 0.02}, {"patience": 0, "cooldown": 3, "min_lr": 0.01}),
        ({"factor": 0.3, "patience": 1, "threshold": 0.1}, {"factor": 0.3, "patience": 1, "threshold": 0.1}),
        (
            {"patience": 1, "threshold": 0.2, "relative": False, "largest": True},
            {"patience": 1, "threshold": 0.2, "threshold_mode": "abs", "mode": "max"},
        ),
        ({"patience": 1, "threshold": 0.1, "largest": True}, {"patience": 1, "threshold": 0.1, "mode": "max"}),
    ],
)
def test_plateau_as_in_pytorch(settings, peers):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0, **peers)
    plateau = Plateau(**settings)
    random = np.random.default_rng(1)
    values = [*(1 + 3 * 0.9 ** np.arange(20) + 0.3 * random.random(20)), math.nan, *random.random(30), math.inf, 0.1, 0.1]
    for value in values:
        plateau.report(value if value != math.inf or not settings.get("largest") else -math.inf)
        peer.step(value if value != math.inf or not settings.get("largest") else -math.inf)
        assert 0.5 * plateau(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
    assert plateau(0) < 1


# ---- by hand


def test_figures():
    assert factors(StepDecay(2, 0.5), 5) == [1, 1, 0.5, 0.5, 0.25]
    assert factors(StepDecay([4, 1], 0.5), 5) == [1, 0.5, 0.5, 0.5, 0.25]
    assert factors(StepDecay([], 0.5), 2) == [1, 1] and factors(StepDecay([0], 0), 2) == [0, 0]
    assert factors(Linear(2, 3.0, 1.0), 4) == [1, 2, 3, 3]
    assert factors(WarmUp(2, start=0.5), 4) == [0.5, 0.75, 1, 1]
    assert factors(WarmUp(2, lambda step: 10 + step), 4) == [0, 0.5, 10, 11]
    np.testing.assert_allclose(factors(Cosine(2, 0.5), 4), [1, 0.75, 0.5, 0.5])
    np.testing.assert_allclose(factors(Cosine(2, cycles=2), 6), [1, 0.5, 1, 0.5, 0, 0], atol=1e-15)
    np.testing.assert_allclose(factors(Cosine(2, cycles=2, growth=1.5), 7), [1, 0.5, 1, 0.75, 0.25, 0, 0], atol=1e-15)
    assert Cosine(1, cycles=math.inf, growth=1e300)(10**6) == 1.0
    np.testing.assert_allclose(factors(OneCycle(5, 0.6, 0.5, 0.0, linear=True), 7), [0.5, 0.75, 1, 0.5, 0, 0, 0], atol=1e-15)
    for steps, rise in ((1, 0.3), (2, 0.5), (10, 0.1), (10, 0.0), (10, 1.0)):
        cycle = OneCycle(steps, rise)
        assert all(0 <= f <= 1 for f in factors(cycle, 2 * steps)) and cycle(steps) == cycle.end
        assert all(0.85 <= m <= 0.95 for m in map(cycle.momentum, range(2 * steps)))


def test_far_steps_take_no_time():
    for function in (Cosine(3, cycles=math.inf), Cosine(3, cycles=math.inf, growth=1.5), Cosine(3, cycles=10**15)):
        assert 0 <= function(10**15) <= 1


def test_products_and_functions():
    product = Linear(4) * Exponential(0.5) * (lambda step: 2)
    assert isinstance(product, Schedule) and factors(product, 3) == [2, 0.75, 0.25]
    assert repr(Linear(4) * Exponential(0.5)) == "Linear(steps=4, end=0.0, start=1.0) * Exponential(factor=0.5)"
    with pytest.raises(TypeError):
        Linear(4) * 3
    with pytest.raises(NotImplementedError, match="Schedule: expected the schedule to define __call__"):
        Schedule()(0)


def test_optimizers_follow_their_schedule():
    p, optimizer = corgi.zeros(1).tracked(), GradientDescent(1.0, schedule=WarmUp(2, Exponential(0.5)))
    values = []
    for step in range(4):
        p.gradient = [1.0]
        assert optimizer.steps == step
        optimizer.step([p])
        values.append(p.item())
        assert optimizer.rate() == optimizer.factor == [0, 0.5, 1, 0.5][step]
    assert values == [0, -0.5, -1.5, -2.0]
    optimizer.schedule = None  # the factor stays, and may be set by hand
    optimizer.factor = 0.25
    p.gradient = [1.0]
    optimizer.step([p])
    assert p.item() == -2.25
    optimizer.schedule = lambda step: "fast"
    with pytest.raises(TypeError, match="GradientDescent: expected a number for factor, got str"):
        optimizer.step([p])


def test_plateau():
    plateau = Plateau(0.5, patience=1, least=0.2)
    for value, factor in (
        (1.0, 1),
        (math.nan, 1),
        (corgi.array(2.0), 0.5),
        (1.5, 0.5),
        (1.2, 0.25),
        (9, 0.25),
        (9, 0.2),
        (-5, 0.2),
    ):
        plateau.report(value)
        assert plateau(0) == factor
    for value in (-4.9, -5.1):
        plateau.report(value)
    assert plateau.state_dict() == {"value": 0.2, "best": -5.1, "bad": 0, "cooling": 0}
    for wrong in (None, "x", [1.0, 2.0], corgi.ones(2)):
        with pytest.raises(TypeError, match=r"Plateau.report: expected a number, got"):
            plateau.report(wrong)
    assert Plateau().state_dict() == {"value": 1.0, "bad": 0, "cooling": 0}


@pytest.mark.parametrize("largest", [False, True])
def test_state_goes_through_json(largest):
    def make():
        plateau = Plateau(0.5, patience=1, cooldown=1, largest=largest)
        return plateau, Exponential(0.9) * WarmUp(3, plateau) * (lambda step: 1.0)

    values = np.random.default_rng(0).random(30)
    (plateau, function), (other_plateau, other) = make(), make()
    for value in values[:15]:
        plateau.report(value)
    state = function.state_dict()
    assert set(state) == {f"0/1/0/{name}" for name in ("value", "best", "bad", "cooling")}
    other.load_state_dict(json.loads(json.dumps(state, allow_nan=False)))
    for value in values[15:]:
        plateau.report(value)
        other_plateau.report(value)
        assert function(5) == other(5)
    for duplicate in (copy.deepcopy(plateau), pickle.loads(pickle.dumps(plateau))):
        assert duplicate.state_dict() == plateau.state_dict() and repr(duplicate) == repr(plateau)


def test_a_wrong_state_changes_nothing():
    plateau = Plateau()
    plateau.report(1.0)
    state = plateau.state_dict()
    for change, error, message in (
        ({"value": 2.0}, ValueError, r"expected value in \[0, 1\], got 2.0"),
        ({"bad": None}, TypeError, "expected an int for bad, got NoneType"),
        ({"best": "x"}, TypeError, "expected a number for best, got str"),
        ({"more": 1}, ValueError, "expected nothing under 'more'"),
    ):
        with pytest.raises(error, match=rf"Plateau.load_state_dict: {message}"):
            plateau.load_state_dict(state | change)
        assert plateau.state_dict() == state
    with pytest.raises(ValueError, match=r"Cosine.load_state_dict: expected nothing under 'value'"):
        Cosine(3).load_state_dict(state)
    with pytest.raises(ValueError, match=r"Product.load_state_dict: expected nothing under 'value'"):
        (Cosine(3) * Cosine(3)).load_state_dict(state)
    optimizer = Adam(schedule=Plateau())
    with pytest.raises(TypeError, match=r"Plateau.load_state_dict: expected a number for value, got NoneType"):
        optimizer.load_state_dict(Adam().state_dict([]), [])


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: StepDecay(0), ValueError, "StepDecay: expected steps of at least 1, got 0"),
        (lambda: StepDecay(1.5), TypeError, "StepDecay: expected an int for steps, got float"),
        (lambda: StepDecay("12"), TypeError, "StepDecay: expected an int for steps, got str"),
        (lambda: StepDecay([1, None]), TypeError, "StepDecay: expected an int for each of steps, got NoneType"),
        (lambda: StepDecay(3, -1), ValueError, "StepDecay: expected factor in"),
        (lambda: Exponential(1.5), ValueError, r"Exponential: expected factor in \[0, 1\], got 1.5"),
        (lambda: Exponential(True), TypeError, "Exponential: expected a number for factor, got bool"),
        (lambda: Linear(4, math.nan), ValueError, "Linear: expected end in"),
        (lambda: WarmUp(4, Cosine), TypeError, "WarmUp: expected a schedule for then, got type"),
        (lambda: WarmUp(4, 1.0), TypeError, "WarmUp: expected a schedule for then, got float"),
        (lambda: WarmUp(4, start=2), ValueError, "WarmUp: expected start in"),
        (lambda: Cosine(4, cycles=0), ValueError, "Cosine: expected cycles of at least 1, got 0"),
        (lambda: Cosine(4, cycles=1.5), TypeError, "Cosine: expected an int for cycles, got float"),
        (lambda: Cosine(4, growth=0.5), ValueError, r"Cosine: expected growth in \[1, inf\), got 0.5"),
        (lambda: OneCycle(4, rise=1.1), ValueError, "OneCycle: expected rise in"),
        (lambda: Plateau(1.0), ValueError, r"Plateau: expected factor in \[0, 1\), got 1.0"),
        (lambda: Plateau(patience=-1), ValueError, "Plateau: expected patience of at least 0, got -1"),
    ],
)
def test_wrong_settings(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_schedules_are_exported():
    assert all(isinstance(getattr(schedule, name), type) for name in schedule.__all__)
