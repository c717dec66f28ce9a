"""What a layer holds, by name: parameters, statistics and layers; their values saved and loaded."""

import numpy as np
import pytest

import corgi
from corgi import Model, cost
from corgi.layer import Conv, Dense, Layer


class Normed(Layer):
    """A parameter, statistics of several dtypes, a private array, and containers."""

    def __init__(self, size=2, dtype=None):
        self.scale = corgi.ones(size, dtype).tracked()
        self.mean = corgi.zeros(size, dtype)
        self.count = corgi.zeros((), "int64")
        self.mask = corgi.array([True, False])
        self.parts = {"a": [corgi.zeros(1)], 1: (corgi.ones(1).tracked(), Dense(1, 1))}
        self._hidden = corgi.zeros(3)
        self.text, self.nothing = "text", None

    def forward(self, x):
        return x * self.scale


NAMES = ["scale", "mean", "count", "mask", "parts.a.0", "parts.1.0", "parts.1.1.weight", "parts.1.1.bias"]


def values(layer):
    return {name: (value.tolist(), value.dtype) for name, value in layer.state_dict().items()}


def test_names():
    layer = Normed()
    assert list(layer.state_dict()) == NAMES
    assert list(layer.named_parameters()) == ["scale", "parts.1.0", "parts.1.1.weight", "parts.1.1.bias"]
    assert [id(p) for p in layer.parameters()] == [id(p) for p in layer.named_parameters().values()]
    assert list(layer.named_layers()) == ["", "parts.1.1"]
    assert list(Model([layer, corgi.relu, layer]).state_dict()) == [f"layers.0.{name}" for name in NAMES]


def test_shared_arrays_and_cycles():
    layer = Layer()
    layer.first = layer.second = corgi.ones(1).tracked()
    layer.again, layer.items = layer, []
    layer.items += [layer.items, layer.first, layer]
    assert list(layer.state_dict()) == list(layer.named_parameters()) == ["first"]
    assert list(layer.named_layers()) == [""]


@pytest.mark.parametrize("what", ["state_dict", "named_parameters", "named_layers"])
def test_two_of_one_name(what):
    layer = Layer()
    layer.parts = {1: Dense(1, 1), "1": Dense(1, 1)}
    with pytest.raises(ValueError, match=r"Layer: expected \w+ of different names, got two named 'parts.1"):
        getattr(layer, what)()


def test_layers_that_compare_and_do_not_hash():
    class Odd(Dense):
        __hash__ = None

        def __eq__(self, other):
            raise AssertionError

    model = Model([Odd(1, 1), Odd(1, 1)])
    assert list(model.named_layers()) == ["", "layers.0", "layers.1"]


def test_the_state_is_that_of_its_time():
    layer = Dense(2, 1)
    state = layer.state_dict()
    before = state["weight"].tolist()
    corgi.assign(layer.weight, [[5.0, 6.0]])
    assert state["weight"].tolist() == before and not state["weight"].is_tracked


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("other", ["float32", "float64"])
def test_loading(dtype, other):
    layer, source = Normed(dtype=dtype), Normed(dtype=other)
    source.mean, source.count = source.mean + 0.1, source.count + 3
    corgi.assign(source.scale, [np.inf, 1e-40])
    handles = {name: id(value) for name, value in layer._named("arrays").items()}
    (layer.scale * 2).sum().backward()
    layer.load_state_dict(source.state_dict())
    assert {name: id(value) for name, value in layer._named("arrays").items()} == handles
    assert layer.scale.is_tracked and layer.scale.gradient is None and not layer.mean.is_tracked
    for name, value in layer.state_dict().items():
        expected = source.state_dict()[name].numpy()
        assert value.dtype == (dtype if name in ("scale", "mean") else expected.dtype)
        np.testing.assert_array_equal(value, expected.astype(value.dtype))


def test_loading_what_is_array_like():
    layer = Dense(2, 1)
    layer.load_state_dict({"weight": np.ones((2, 1), np.float32).T, "bias": [2.5]})
    assert values(layer) == {"weight": ([[1.0, 1.0]], "float64"), "bias": ([2.5], "float64")}


def test_loading_does_not_share_values():
    """Steps of an optimizer change neither the state nor another layer that was loaded from it."""
    first, second = Dense(1, 1), Dense(1, 1)
    state = first.state_dict()
    second.load_state_dict(state)
    before = values(second)
    for layer in (first, second):
        assert values(layer) == before
    model = Model([first], corgi.optimizer.GradientDescent(1.0), cost.mse)
    model.forward([[1.0]])
    model.backward([[9.0]])
    model.update()
    assert values(second) == before == {name: (value.tolist(), value.dtype) for name, value in state.items()}
    assert values(first) != before


FAULTS = [
    ({"mean": None}, "missing: mean"),
    ({"more": 1.0, "other": 2.0}, "unexpected: more, other"),
    ({"scale": [1.0]}, r"different: scale \(1,\) float64 instead of \(2,\) float64"),
    ({"scale": [1, 2]}, r"different: scale \(2,\) int64 instead of \(2,\) float64"),
    ({"count": 1.0}, r"different: count \(\) float64 instead of \(\) int64"),
    ({"mask": [1, 0]}, r"different: mask \(2,\) int64 instead of \(2,\) bool"),
    ({"count": True}, r"different: count \(\) bool instead of \(\) int64"),
]


@pytest.mark.parametrize("change, message", FAULTS)
def test_states_of_others(change, message):
    layer = Normed()
    before = values(layer)
    state = {name: value + value for name, value in layer.state_dict().items()} | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(
        ValueError, match=rf"Normed.load_state_dict: expected the arrays of this Normed, got others; {message}"
    ):
        layer.load_state_dict(state)
    assert values(layer) == before


def test_many_faults_in_one_message():
    model = Model([Dense(1, 1) for _ in range(9)])
    state = {name.replace("layers", "net"): value for name, value in model.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    assert str(caught.value) == (
        "Model.load_state_dict: expected the arrays of this Model, got others; missing: layers.0.weight, layers.0.bias, "
        "layers.1.weight, layers.1.bias, layers.2.weight and 13 more; unexpected: net.0.weight, net.0.bias, net.1.weight, "
        "net.1.bias, net.2.weight and 13 more"
    )


def test_not_strict():
    layer = Dense(2, 1)
    before = values(layer)
    layer.load_state_dict({"bias": [7.0], "other": [1.0]}, strict=False)
    assert values(layer) == before | {"bias": ([7.0], "float64")}
    with pytest.raises(ValueError, match="different: weight"):
        layer.load_state_dict({"bias": [8.0], "weight": [1.0]}, strict=False)
    assert values(layer)["bias"] == ([7.0], "float64")


@pytest.mark.parametrize(
    "wrong", [None, 5, [1.0], "text", {"weight": "text", "bias": [1.0]}, {"weight": None, "bias": [1.0]}]
)
def test_no_state(wrong):
    with pytest.raises(TypeError, match="expected"):
        Dense(2, 1).load_state_dict(wrong)


def test_empty_arrays():
    layer = Conv(1, 1, 1)
    layer.nothing = corgi.zeros((0, 3))
    layer.load_state_dict(layer.state_dict())
    assert layer.state_dict()["nothing"].shape == (0, 3)
