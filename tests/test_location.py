"""Where errors in layers say that they come from: the path of the layer, and the user's line."""

import dataclasses
import pathlib
import pickle
import re
import sys

import pytest

import corgi
from corgi import Model
from corgi.layer import Dense, Layer

FILE = pathlib.Path(__file__).name


class Mixed(Layer):
    """Layers in every kind of place, and an operation of its own."""

    def __init__(self):
        self.first = Dense(2, 3)
        self.parts = {"a": [Dense(3, 3), (Dense(3, 4),)]}
        self._private = Dense(4, 5)

    def forward(self, x, where="first"):
        if where == "first":
            return self.first(x)
        if where == "nested":
            return self.parts["a"][1][0](x)
        if where == "private":
            return self._private(x)
        return x @ corgi.ones((7, 7))  # the line of the operation

    def helper(self, x):
        return self.parts["a"][0](x)


def error_of(function, *arguments, **options):
    with pytest.raises(Exception) as caught:
        function(*arguments, **options)
    return caught.value


def line_in(error):
    """The line of this file that a message or note names."""
    text = error.__notes__[-1] if getattr(error, "__notes__", None) else str(error)
    (number,) = re.findall(re.escape(FILE) + r":(\d+)\]", text)
    return pathlib.Path(__file__).read_text().splitlines()[int(number) - 1]


X = corgi.ones((6, 5))


@pytest.mark.parametrize(
    "where, path",
    [
        ("first", "Mixed > first (Dense)"),
        ("nested", "Mixed > parts.a.1.0 (Dense)"),
        ("private", "Mixed > Dense"),
        ("op", "Mixed"),
    ],
)
def test_path_of_a_layer(where, path):
    x = corgi.ones((6, 9))
    layer = Mixed()
    error = error_of(layer, x, where=where)
    assert type(error) is ValueError and error.layer_path == path
    assert str(error).startswith("matmul: " if where == "op" else f"{path}: dense: expected input of shape")
    assert "forward" in line_in(error) or "return" in line_in(error)
    outer = Model([corgi.relu, {"x": Model([layer])}["x"]])
    layer.forward = lambda x: Mixed.forward(layer, x, where)
    inner = path.partition(" > ")[2]
    kind = inner.rpartition(" (")[2].rstrip(")")
    expected = "Model > layers.1.layers.0"
    if where == "private":
        expected += " (Mixed) > Dense"
    elif where == "op":
        expected += " (Mixed)"
    else:
        expected += f".{inner.rpartition(' (')[0]} ({kind})"
    for call in (outer, outer.forward):
        error = error_of(call, x)
        assert error.layer_path == expected
        assert str(error).startswith(f"{expected}: {'matmul' if where == 'op' else 'dense'}: ")
        assert str(error).count("Model >") == 1


def test_line_of_the_operation_or_of_the_call():
    assert line_in(error_of(Model([Mixed()]).layers[0], X, where="op")).endswith("# the line of the operation")
    model = Model([Dense(2, 2)])

    def call():
        model(X)  # the call

    assert line_in(error_of(call)).endswith("# the call")

    def fit():
        model.fit(X, X)  # the fit

    model.optimizer, model.cost = corgi.optimizer.GradientDescent(0.1), corgi.cost.mse
    assert line_in(error_of(fit)).endswith("# the fit")


def test_functions_among_layers():
    def broken(x):
        return x @ corgi.ones(9)  # in the function

    error = error_of(Model([Dense(5, 2), corgi.relu, broken]), X)
    assert str(error).startswith("Model > layers.2 (broken): matmul: ") and line_in(error).endswith("# in the function")
    error = error_of(Model([Model([broken])]).forward, X)
    assert str(error).startswith("Model > layers.0.layers.0 (broken): matmul: ")
    error = error_of(Model([broken, Dense(5, 2), broken]), corgi.ones((2, 9)))
    assert str(error).startswith("Model > layers.1 (Dense): dense: ")


def test_a_layer_by_itself_keeps_its_message():
    error = error_of(Dense(2, 3), X)
    assert re.fullmatch(r"dense: expected input .*, got \(6, 5\) \[[^\]]+:\d+\]", str(error))
    assert error.layer_path == "Dense"


def test_other_errors_have_a_note_and_their_own_message():
    class Broken(Layer):
        def forward(self, x):
            raise KeyError("mine")

    error = error_of(Model([Broken()]), X)
    assert type(error) is KeyError and error.args == ("mine",)
    assert error.__notes__[0].startswith("in Model > layers.0 (Broken) [")
    assert len(error.__notes__) == 1

    class Own(ValueError):
        pass

    class Raises(Layer):
        def forward(self, x):
            raise Own("a", 1)

    error = error_of(Model([Raises()]), X)
    assert type(error) is Own and error.args == ("a", 1) and len(error.__notes__) == 1


def test_frozen_errors_stay_what_they_are():
    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    class Raises(Layer):
        def forward(self, x):
            raise Frozen(7)

    error = error_of(Model([Raises()]), X)
    assert type(error) is Frozen and error.code == 7
    assert error.__notes__[0].startswith("in Model > layers.0 (Raises) [")


def test_errors_can_be_pickled_and_hold_no_layers():
    error = error_of(Model([Mixed()]), X)
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error) and copied.layer_path == error.layer_path
    assert all(isinstance(value, str) for value in vars(error).values())


def test_what_a_layer_catches_may_be_raised_anew():
    class Wraps(Layer):
        def __init__(self):
            self.inner = Dense(2, 2)

        def forward(self, x):
            try:
                return self.inner(x)
            except ValueError as error:
                raise RuntimeError("no such input") from error

    error = error_of(Model([Wraps()]), X)
    assert error.__notes__[0].startswith("in Model > layers.0 (Wraps) [")
    assert str(error.__cause__).startswith("Model > layers.0.inner (Dense): dense: ")


def test_layers_that_call_themselves_and_shared_ones():
    class Twice(Layer):
        def __init__(self):
            self.inner = Dense(5, 5)
            self.again = self.inner

        def forward(self, x, depth=3):
            return self(x, depth - 1) if depth else self.again(x[:, :2])

    assert str(error_of(Model([Twice()]), X)).startswith("Model > layers.0.inner (Dense): dense: ")


def test_deep_recursion_and_interrupts_pass_through():
    class Endless(Layer):
        def forward(self, x):
            return self(x)

    assert type(error_of(Endless(), X)) is RecursionError

    class Stops(Layer):
        def forward(self, x):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        Model([Stops()])(X)
    assert not hasattr(caught.value, "__notes__")
    assert sys.getrecursionlimit() > 100


def test_a_cost_says_where_it_was_called():
    model = corgi.Model([corgi.layer.Dense(2, 3)], corgi.optimizer.Adam(), corgi.cost.mse)
    model.forward([[1.0, 2.0]])
    message = r"^Model > cost \(mse\): mse: expected a target .* got \(1, 2\) \[.*test_location\.py:\d+\]$"
    with pytest.raises(ValueError, match=message):
        model.backward([[1.0, 2.0]])
