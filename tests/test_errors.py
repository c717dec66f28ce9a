"""Wrong calls: the error that each gives, that it leaves nothing changed, and that no mixture of arguments crashes Python.

Above: errors.txt, the table of wrong calls, written by hand.  Below: fuzz.py, whose right calls are made wrong by machine.
"""

import copy
import gc
import itertools
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import corgi
from corgi import Model, arr, cost
from corgi.layer import Dense

from . import fuzz
from .fuzz import B3, CALLS, FILTERS, I3, IMAGES, NOT_CALLED, A, Arrays, P, V

HERE = pathlib.Path(__file__).parent
T = arr([1.0, 2.0, 3.0]).tracked()
ONE = arr(1.0)
SQUARE = corgi.ones((2, 2))
TWO_TO_TWO = Model([Dense(2, 2)], None, cost.mse)


def twice(x):
    return x * 2


def train(model, target):
    model.forward(P)
    model.backward(target)


NAMES = {
    **vars(fuzz),
    **vars(corgi.layer),
    **vars(corgi.optimizer),
    **{name: getattr(corgi, name) for name in ("Model", "activation", "callback", "cost", "data")},
    **{name: getattr(corgi, name) for name in ("initializer", "metric", "schedule")},
    **{"INF": float("inf"), "NAN": float("nan"), "ONE": ONE, "SQUARE": SQUARE, "T": T, "TWO_TO_TWO": TWO_TO_TWO},
    **{"train": train, "twice": twice},
}
IN_OTHER_WORDS = "# refused by Python, NumPy or pickle, in words of their own"

# What would tell a user of the machinery below.
JARGON = re.compile(r"__pyx|incorrect type|Py_ssize_t|C long|cyfunction|_core\.|has no attribute|NoneType' object")


def table():
    """The wrong calls of errors.txt, each with the name of the exception and the message, as parameters of a test."""
    lines = (HERE / "errors.txt").read_text().splitlines()
    own_words = True
    for call, error in itertools.pairwise(lines):
        own_words = own_words and call != IN_OTHER_WORDS
        if error.startswith("    "):
            exception, message = error.strip().split(": ", 1)
            yield pytest.param(call, exception, message, own_words, id=call)


TABLE = list(table())
WRONG_ARRAYS = [None, "x", {}, object(), 1j, np.ones(3, complex), np.array([None]), ["a"], [1.0, None], [[1], [1, 2]]]


def error_of(function, *arguments):
    """The type and the message of what a call raises."""
    try:
        function(*arguments)
    except BaseException as error:
        return type(error), str(error)
    return None, ""


def runner(call):
    """An expression or statement of the table as a function."""
    try:
        code = compile(call, "errors.txt", "eval")
    except SyntaxError:
        code = compile(call, "errors.txt", "exec")
    return lambda: eval(code, NAMES)


def state():
    """What a call that fails must leave as it is."""
    shared = (V, A, I3, B3, P, T, ONE, SQUARE, IMAGES, FILTERS)
    values = [(a.numpy().tobytes(), a.shape, a.dtype, a.is_tracked, a.gradient is None) for a in shared]
    settings = corgi.get_default_dtype(), corgi.get_num_threads(), corgi.memory.stats()["limit"]
    return values, settings, (T * 2).is_tracked, (V * 2).is_tracked


def memory_lost(function):
    """Bytes that another failing call leaves in use."""
    before = corgi.memory.stats()["in_use"]
    error_of(function)
    if corgi.memory.stats()["in_use"] != before:
        gc.collect()
    return corgi.memory.stats()["in_use"] - before


@pytest.fixture(scope="module", autouse=True)
def clean_heap():
    gc.collect()


@pytest.mark.parametrize(("call", "exception", "message", "own_words"), TABLE)
def test_wrong_call(call, exception, message, own_words):
    function = runner(call)
    before = state()
    found, text = error_of(function)
    assert found is not None, "no error"
    assert found.__name__ == exception, text
    text = re.sub(r" \[[^ ]+:\d+\]$", "", text)  # the line from which a layer was called
    if message.endswith("..."):
        assert text.startswith(message.removesuffix("..."))
    else:
        assert text == message
    if own_words:
        assert re.match(r"[\w.<>()~ ]+: \S", text) or text == "assignment destination is read-only"
        assert not JARGON.search(text)
    assert state() == before
    assert memory_lost(function) <= 0


def test_table_is_whole():
    """Every line of errors.txt is a call, an error, a heading or empty; no call is there twice."""
    lines = (HERE / "errors.txt").read_text().splitlines()[2:]
    calls = [line for line in lines if line and line[0] not in "# "]
    assert len(calls) == len(set(calls)) == len(TABLE) >= 250
    assert IN_OTHER_WORDS in lines


def test_every_public_function_has_a_right_call():
    assert {name for name in corgi.__all__ if name not in NOT_CALLED} == set(CALLS)
    with corgi.num_threads(corgi.get_num_threads()), corgi.default_dtype("float64"):
        for name, arguments in CALLS.items():
            getattr(corgi, name)(*[list(a) if isinstance(a, Arrays) else copy.copy(a) for a in arguments])


# Arrays that may be None.
OPTIONAL = {
    *(("clip", 1), ("clip", 2), ("curve_fit", 3), ("matmul", 2), ("dense", 2), ("group_norm", 2), ("group_norm", 3)),
    ("scaled_dot_product_attention", 3),
    *((name, i) for name in ("layer_norm", "rms_norm") for i in (1, 2)),
    *(("batch_norm", i) for i in (1, 2, 3, 4)),
}


def wrong_operands(name):
    """The right call of a function with one array replaced by what cannot be an array."""
    arguments = CALLS[name]
    for i, right in enumerate(arguments):
        if not isinstance(right, (corgi.Array, Arrays)):
            continue
        for wrong in WRONG_ARRAYS:
            optional = (name, i) in OPTIONAL
            container = name in ("hvp", "jvp", "vjp") and i == 1  # {} and None have no arrays that could be wrong
            if (wrong is None and (optional or container)) or (isinstance(wrong, dict) and container):
                continue
            yield wrong, [*arguments[:i], (right[0], wrong) if isinstance(right, Arrays) else wrong, *arguments[i + 1 :]]


@pytest.mark.parametrize("name", sorted(CALLS))
def test_operands_that_are_no_arrays(name):
    before = state()
    for wrong, arguments in wrong_operands(name):
        found, text = error_of(getattr(corgi, name), *arguments)
        place = f"{name} with {wrong!r}: {found}: {text}"
        assert found in ((TypeError, ValueError) if wrong is WRONG_ARRAYS[-1] else (TypeError,)), place
        assert re.match(r"\w+: expected ", text), place
        assert not JARGON.search(text), place
    assert state() == before


# ---- what the table cannot show


def test_backward_of_an_array_outside_the_graph_warns():
    with pytest.warns(UserWarning, match=r"^backward: this array was not computed from tracked arrays, so only its own"):
        arr([1.0]).backward()


def test_membership_of_what_is_no_number():
    assert 2.0 in V and 5.0 not in V
    assert "x" not in V and None not in V and object() not in V


def test_an_error_in_a_custom_op_is_the_users_own():
    def backward(arrays, tracked, delta):
        raise KeyError("mine")

    x = T.copy()
    with pytest.raises(KeyError, match="mine"):
        (corgi.op(twice, backward)(x) + x).backward()
    assert x.gradient is None
    assert (x * 2).is_tracked


def test_an_error_of_another_kind_in_a_layer_has_a_note():
    model = Model([lambda x: {}[0]])
    with pytest.raises(KeyError) as caught:
        model.forward(V)
    (note,) = caught.value.__notes__
    assert note.startswith("in Model > layers.0 (<lambda>) [")


# ---- mixtures of arguments

PARTS = 6


@pytest.mark.parametrize("part", range(PARTS))
def test_mixtures_of_arguments(part):
    """No crash, no errors other than those allowed, no memory lost, results that have the memory which they promise."""
    environment = dict(os.environ)
    if "ASAN_OPTIONS" in environment:
        environment["ASAN_OPTIONS"] += ":allocator_may_return_null=1:max_allocation_size_mb=1024"
    command = [sys.executable, str(HERE / "fuzz.py"), "20", str(part), str(PARTS)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=240, env=environment)
    last_call = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"exit status {done.returncode}, last call {last_call}\n{done.stderr[-3000:]}"
