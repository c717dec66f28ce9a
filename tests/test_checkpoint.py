"""Checkpoint files: what is saved and loaded exactly, files that are broken or hostile, weights of other libraries.

Trainings that are killed and go on are in test_resume.py.
"""

import errno
import json
import os
import pathlib
import random
import struct
import subprocess
import sys

import numpy as np
import pytest

import corgi
from corgi import Model, cost, optimizer, schedule
from corgi.callback import EarlyStopping
from corgi.checkpoint import load_weights, read_weights, save_weights
from corgi.layer import BatchNorm, Conv, Conv1d, ConvTranspose, Dense, Flatten, MaxPool

from .resumed import everything, fitted

pytest.importorskip("safetensors")
from safetensors.numpy import load_file, save_file

HERE = pathlib.Path(__file__).parent


def network(size=3, rule=optimizer.Adam, dtype=None):
    return Model([Dense(2, size, dtype=dtype), Dense(size, 1, dtype=dtype)], rule(), cost.mse)


def steps(model, count=2, first=0):
    data = np.random.default_rng(5).normal(size=(first + count, 4, 3))
    for batch in data[first:]:
        model.forward(batch[:, :2])
        model.backward(batch[:, 2:])
        model.update()
    return model


# ---- saving and loading

OPTIMIZERS = {
    "descent": lambda: optimizer.GradientDescent(0.1, 0.9, schedule=schedule.Cosine(5)),
    "adam": lambda: optimizer.Adam(0.1, amsgrad=True, schedule=schedule.Plateau()),
    "rmsprop": lambda: optimizer.RMSProp(0.1, centered=True, momentum=0.5),
    "adadelta": lambda: optimizer.Adadelta(),
    "lion": lambda: optimizer.Lion(0.1),
    "none": lambda: None,
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_going_on(rule, dtype, tmp_path):
    first, second = (network(3, OPTIMIZERS[rule], dtype) for _ in range(2))
    if first.optimizer is not None:
        first.optimizer.set([first.layers[0].bias], learning_rate=0.5)
        steps(first)
    first.save(tmp_path / "a.safetensors")
    before = everything(first)
    corgi.initializer.generator().random(3)
    assert second.load(tmp_path / "a.safetensors") is None
    assert everything(second) == before
    if first.optimizer is not None:
        assert everything(steps(first, 3, 2))[0] == everything(steps(second, 3, 2))[0]


def test_extra_and_parts(tmp_path):
    path, model = tmp_path / "a.safetensors", network()
    loader = corgi.data.Loader(corgi.arange(10), 3, shuffle=True)
    average = optimizer.Average(model.named_parameters())
    average.update()
    extra = {
        "numbers": [1, -(2**70), 0.1, -0.0, float("nan"), float("inf"), -np.inf, True, None, "text \ud800 \u20ac"],
        "nested": {
            "": {"a/b": corgi.ones((2, 0))},
            "a": {"b": corgi.ones((2, 3)).T},
            "$array": "x",
            "$$float": {"$float": 1},
        },
        "": [
            np.float32(0.5),
            np.int64(3),
            np.bool_(True),
            np.arange(3),
            (1, 2),
            corgi.array(1.5),
            corgi.array([True, False]),
        ],
        "layers.0.weight": corgi.zeros(2),
    }
    batches = iter(loader)
    next(batches)
    model.save(path, extra=extra, loader=loader, average=average)
    other, judged = corgi.data.Loader(corgi.arange(10), 3, shuffle=True), optimizer.Average(model.named_parameters())
    found = model.load(path, loader=other, average=judged)
    assert str(list(other)) == str(list(batches)) and judged.steps == 1
    numbers = found["numbers"]
    assert repr(numbers) == repr([*extra["numbers"][:6], -float("inf"), *extra["numbers"][7:]])
    assert found["nested"][""]["a/b"].shape == (2, 0) and found["nested"]["a"]["b"].shape == (3, 2)
    assert found["nested"]["$array"] == "x" and found["nested"]["$$float"] == {"$float": 1}
    values = found[""]
    assert [type(value).__name__ for value in values] == ["float", "int", "bool", "Array", "list", "Array", "Array"]
    assert values[3].tolist() == [0, 1, 2] and values[5].shape == () and values[6].tolist() == [True, False]
    assert found["layers.0.weight"].tolist() == [0.0, 0.0]
    assert list(model.load(path)) == list(extra)  # other parts are left alone


WRONG_EXTRAS = [
    (object(), "object at extra"),
    ({"a": [1, {2}]}, "set at extra/a/1"),
    ({1: 2}, "keys that are strings in extra/"),
]


@pytest.mark.parametrize("extra, message", WRONG_EXTRAS)
def test_what_cannot_be_saved(extra, message, tmp_path):
    with pytest.raises(TypeError, match=f"Model.save: expected .*{message}"):
        network().save(tmp_path / "a.safetensors", extra=extra)
    assert os.listdir(tmp_path) == []


def test_wrong_parts(tmp_path):
    model, path = network(), tmp_path / "a.safetensors"
    with pytest.raises(TypeError, match="expected an object with state_dict and load_state_dict for x, got int"):
        model.save(path, x=3)
    with pytest.raises(ValueError, match=r"Model.save: expected no extra with weights_only=True"):
        model.save(path, weights_only=True, extra=1)
    model.save(path)
    with pytest.raises(TypeError, match="expected an object with state_dict and load_state_dict for loader, got int"):
        model.load(path, loader=3)
    with pytest.raises(
        ValueError, match=r"expected a checkpoint that fits, got '.*a.safetensors': it has no loader; its parts"
    ):
        model.load(path, loader=corgi.data.Loader(corgi.arange(3)))
    with pytest.raises(FileNotFoundError):
        model.load(tmp_path / "none.safetensors")


def test_optimizers_of_another_make(tmp_path):
    class Other:
        def step(self, parameters):
            pass

    path, model = tmp_path / "a.safetensors", network(rule=Other)
    with pytest.raises(TypeError, match="state_dict and load_state_dict for the optimizer, got Other"):
        model.save(path)
    model.save(path, weights_only=True)
    model.load(path, weights_only=True)


def test_weights_alone(tmp_path):
    full, alone, model = tmp_path / "full.safetensors", tmp_path / "alone.safetensors", steps(network())
    model.save(full, extra=5)
    model.save(alone, weights_only=True)
    assert sorted(load_file(alone)) == sorted(model.state_dict())
    for path, extra in ((full, 5), (alone, None)):
        other = steps(network())
        state = repr(other.optimizer.state_dict(other.named_parameters()))
        assert other.load(path, weights_only=True) == extra
        assert repr(other.optimizer.state_dict(other.named_parameters())) == state
        assert all(np.array_equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
        assert {k: v.tolist() for k, v in read_weights(path).items()} == {
            k: v.tolist() for k, v in model.state_dict().items()
        }
    with pytest.raises(ValueError, match="it holds weights alone; weights_only=True loads them"):
        model.load(alone)


def test_precision_of_others(tmp_path):
    network(dtype="float64").save(tmp_path / "a.safetensors", weights_only=True)
    model = network(dtype="float32")
    model.load(tmp_path / "a.safetensors", weights_only=True)
    for name, value in read_weights(tmp_path / "a.safetensors").items():
        np.testing.assert_array_equal(model.state_dict()[name], value.numpy().astype(np.float32))


@pytest.mark.parametrize(
    "other, message",
    [
        (lambda: network(4), r"different: layers.0.weight \(3, 2\) float64 instead of \(4, 2\) float64"),
        (lambda: Model([Dense(2, 3)], optimizer.Adam(), cost.mse), "unexpected: layers.1.bias, layers.1.weight"),
        (lambda: network(rule=optimizer.Lion), "expected the state of Lion, got 'Adam'"),
        (lambda: Model(network().layers), "it has one of an optimizer, the model none"),
        (
            lambda: Model([*network().layers, Dropping()], optimizer.Adam()),
            r"expected the state of the generators \['corgi', 'la",
        ),
        (lambda: network(rule=OPTIMIZERS["adam"]), "expected a number for value, got NoneType"),
    ],
)
def test_files_of_other_models(other, message, tmp_path):
    path = tmp_path / "a.safetensors"
    steps(network()).save(path)
    model = other()
    before = everything(model)
    with pytest.raises(ValueError, match=rf"^Model.load: expected a checkpoint that fits, got '{path}': .*{message}"):
        model.load(path)
    assert everything(model) == before


class Dropping(corgi.layer.Layer):
    def __init__(self):
        self._generator = np.random.default_rng(0)


def test_statistics_that_change_their_dtype(tmp_path):
    """Rounded they would not be exact."""
    path = tmp_path / "a.safetensors"
    first, second = Model([Dense(1, 1)]), Model([Dense(1, 1)])
    first.layers[0].mean, second.layers[0].mean = corgi.ones(1), corgi.ones(1, "float32")
    first.save(path)
    with pytest.raises(ValueError, match=r"different: layers.0.mean \(1,\) float64 instead of \(1,\) float32"):
        second.load(path)
    second.load(path, weights_only=True)


def test_a_part_that_refuses_leaves_all_as_it_was(tmp_path):
    path, model = tmp_path / "a.safetensors", steps(network())
    loader = corgi.data.Loader(corgi.arange(10), 3, shuffle=True)
    average = optimizer.Average(model.named_parameters())
    model.save(path, average=average, loader=loader)
    model, wrong = steps(network(), 1), corgi.data.Loader(corgi.arange(11), 3)
    average = optimizer.Average(model.named_parameters())
    average.update()
    before, kept = everything(model), repr(average.state_dict())
    with pytest.raises(ValueError, match=r"Loader.load_state_dict: expected the state of a loader of 11 rows by 3, got 10"):
        model.load(path, average=average, loader=wrong)
    assert everything(model) == before and repr(average.state_dict()) == kept


def test_a_generator_of_another_kind(tmp_path):
    path, model = tmp_path / "a.safetensors", network()
    generator = np.random.Generator(np.random.MT19937(1))
    try:
        corgi.seed(generator)
        model.save(path)
        following = generator.random(700)
        model.load(path)
        assert (generator.random(700) == following).all()
    finally:
        corgi.seed(0)
    with pytest.raises(ValueError, match="expected the state of a PCG64"):
        model.load(path)


def test_safetensors_is_missing(tmp_path, monkeypatch):
    class Missing:
        def find_spec(self, wanted, path, target=None):
            if wanted.partition(".")[0] == "safetensors":
                raise ModuleNotFoundError(f"No module named {wanted!r}", name="safetensors")

    for loaded in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"Model.save: expected safetensors, .* pip install corgi\[checkpoint\]"):
        network().save(tmp_path / "a.safetensors")


# ---- broken and hostile files


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape, begin, end, dtype="F64"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def whole_file(folder):
    """A training with all that is saved, and its model."""
    path = folder / "whole.safetensors"
    model = fitted(path, [EarlyStopping()], metrics="f1", epochs=1)[0]
    return path, model


BROKEN = {
    "empty": b"",
    "text": b"PK\x03\x04 this is a zip file, or pickle, or anything else",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "longer header": struct.pack("<Q", 1000) + b"{}",
    "no header": file_of(b"\xff\xfe\x00"),
    "a list": file_of(b"[]"),
    "nested": file_of(b"[" * 100_000),
    "huge and empty": file_of({"a": tensor([2**40, 0], 0, 0)}),
    "huge shape": file_of({"a": tensor([10**9, 10**9], 0, 8)}, bytes(8)),
    "overflow": file_of({"a": tensor([2**32, 2**32], 0, 0)}),
    "many axes": file_of({"a": tensor([1] * 40, 0, 8)}, bytes(8)),
    "overlap": file_of({"a": tensor([2], 0, 16), "b": tensor([2], 8, 24)}, bytes(24)),
    "beyond": file_of({"a": tensor([2], 0, 16)}, bytes(8)),
    "backwards": file_of({"a": tensor([1], 8, 0)}, bytes(8)),
    "negative": file_of({"a": tensor([-1], 0, 8)}, bytes(8)),
    "hole": file_of({"a": tensor([1], 8, 16)}, bytes(16)),
    "rest": file_of({"a": tensor([1], 0, 8)}, bytes(9)),
    "another dtype": file_of({"a": tensor([4], 0, 4, "F8_E4M3")}, bytes(4)),
    "no dtype": file_of({"a": tensor([4], 0, 4, "X9")}, bytes(4)),
    "uint64": file_of({"a": tensor([1], 0, 8, "U64")}, b"\xff" * 8),
    "numbers as metadata": file_of({"__metadata__": {"corgi": 5}}),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_files(content, tmp_path):
    path, model = tmp_path / "a.safetensors", network()
    before = everything(model)
    path.write_bytes(content)
    for read in (model.load, lambda p: model.load(p, weights_only=True), lambda p: load_weights(model, p), read_weights):
        with pytest.raises(ValueError, match=rf"expected a checkpoint that fits, got '{path}': ."):
            read(path)
    with pytest.raises(ValueError, match=rf"^fit: expected a checkpoint that fits, got '{path}': ."):
        fitted(path)
    assert everything(model)[0] == before[0]


def changed(path, change):
    """The file with another JSON text in it."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    tree = json.loads(header["__metadata__"]["corgi"])
    text = change(tree)
    header["__metadata__"]["corgi"] = json.dumps(tree) if text is None else text
    return file_of(header, content[8 + length :])


def into(*keys):
    """A function that puts a value at a place in the tree, or removes what is there."""

    def put(tree, value=None):
        for key in keys[:-1]:
            tree = tree[key]
        if value is None:
            del tree[keys[-1]]
        else:
            tree[keys[-1]] = value

    return put


def kept(tree):
    return tree["parts"]["training"]["callbacks"][0][1]["kept"]


TRAINING = ("parts", "training")
HOSTILE = {
    "newer": (lambda tree: into("version")(tree, 2), "it has version 2 of the format, and this corgi reads version 1"),
    "no version": (into("version"), "it has no version"),
    "text version": (lambda tree: into("version")(tree, "1"), "it has no version"),
    "a list": (lambda tree: "[]", "it has no version"),
    "NaN": (lambda tree: '{"version": 1, "extra": NaN}', "expected numbers, got NaN in the JSON text"),
    "no JSON": (lambda tree: '{"version": 1', "Expecting"),
    "deep": (lambda tree: '{"version": 1, "extra": ' + "[" * 200_000 + "]" * 200_000 + "}", "recursion"),
    "digits": (lambda tree: '{"version": ' + "9" * 5000 + "}", "digits"),
    "empty": (lambda tree: '{"version": 1}', "expected a dict of random, got NoneType"),
    "no optimizer": (into("optimizer"), "it has none of an optimizer, the model one"),
    "optimizer list": (lambda tree: into("optimizer")(tree, [1]), "expected a dict, got list"),
    "rate": (
        lambda tree: into("optimizer", "settings/learning_rate")(tree, "x"),
        "expected a number for learning_rate, got str",
    ),
    "steps": (lambda tree: into("optimizer", "steps")(tree, 10**400), "expected steps below"),
    "infinite": (lambda tree: into("optimizer", "factor")(tree, {"$float": "inf"}), r"expected factor in \[0, inf\)"),
    "a wrong float": (lambda tree: into("optimizer", "factor")(tree, {"$float": "1"}), "expected nan, inf or -inf, got '1'"),
    "no tensor": (lambda tree: into("extra")(tree, {"$array": "x"}), "expected a tensor of its own for 'x'"),
    "a list of tensors": (lambda tree: into("extra")(tree, {"$array": ["x"]}), "unhashable"),
    "a stolen tensor": (lambda tree: into("extra")(tree, {"$array": "layers.0.bias"}), "missing: layers.0.bias"),
    "no generator": (into("random", "corgi"), "expected the state of the generators"),
    "generator": (lambda tree: into("random", "corgi", "state", "state")(tree, -1), "expected the state of a PCG64"),
    "other generator": (
        lambda tree: into("random", "corgi", "bit_generator")(tree, "SFC64"),
        "expected the state of a PCG64",
    ),
    "no training": (
        lambda tree: into("parts")(tree, {"other": tree["parts"]["training"]}),
        "no training; its parts are other",
    ),
    "training list": (lambda tree: into(*TRAINING)(tree, [tree["parts"]["training"]]), "expected a dict, got list"),
    "no epoch": (into(*TRAINING, "epoch"), "KeyError 'epoch'"),
    "epoch": (lambda tree: into(*TRAINING, "epoch")(tree, 1.5), "expected an int for epoch, got float"),
    "following": (lambda tree: into(*TRAINING, "next")(tree, 7), "an epoch to go on with"),
    "total": (lambda tree: into(*TRAINING, "total")(tree, True), "expected a number for total, got bool"),
    "history": (lambda tree: into(*TRAINING, "history", "loss")(tree, [1.0, 2.0]), "lists of equal lengths in the history"),
    "history values": (lambda tree: into(*TRAINING, "history", "loss")(tree, ["x"]), "expected a number for loss, got str"),
    "callbacks": (lambda tree: tree["parts"]["training"]["callbacks"].reverse(), "it has the callbacks Checkpoint, Lambda"),
    "callback": (lambda tree: into(*TRAINING, "callbacks", 0, 1, "best")(tree, "x"), "expected a number for best, got str"),
    "kept": (
        into(*TRAINING, "callbacks", 0, 1, "kept", "layers.0.bias"),
        "unexpected: parts/training/callbacks/0/1/kept/layers.0.b",
    ),
    "kept twice": (
        lambda tree: kept(tree).update(x=kept(tree).pop("layers.0.bias")),
        "missing: layers.0.bias; unexpected: x",
    ),
    "loader": (lambda tree: into(*TRAINING, "loader", "position")(tree, 99), "expected an epoch and a position in it"),
    "no loader": (lambda tree: into(*TRAINING, "loader")(tree, {}), "expected a dict from state_dict"),
    "validation": (lambda tree: into(*TRAINING, "validation")(tree, {"epoch": 1}), "expected a Loader for the validation"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_states(name, tmp_path):
    change, message = HOSTILE[name]
    path, _ = whole_file(tmp_path)
    path.write_bytes(changed(path, change))
    stopping = EarlyStopping()
    with pytest.raises(ValueError, match=rf"^fit: expected a checkpoint that fits, got '{path}': .*{message}"):
        fitted(path, [stopping], metrics="f1", epochs=2)
    assert stopping.best is None


def test_places_in_the_buffers_of_generators(tmp_path):
    """NumPy takes them as they come, and would read beyond the buffer."""
    for kind, keys in ((np.random.MT19937, ("state", "pos")), (np.random.Philox, ("buffer_pos",))):
        path, model = tmp_path / "a.safetensors", network()
        model.layers[0]._generator = np.random.Generator(kind(3))
        model.save(path)
        model.load(path)
        for place in (-1, 10**6):
            path.write_bytes(
                changed(
                    path,
                    lambda tree, place=place, keys=keys: into("random", "layer layers.0._generator", *keys)(tree, place),
                )
            )
            with pytest.raises(ValueError, match=f"expected the state of a {kind.__name__}: expected {keys[-1]} from 0 to"):
                model.load(path)


def test_bools_are_bools(tmp_path):
    """Bytes other than 0 and 1 would be neither true nor false."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of({"a": tensor([4], 0, 4, "BOOL")}, b"\x00\x01\x02\xff"))
    values = read_weights(path)["a"]
    assert values.tolist() == [False, True, True, True] and int(values.sum()) == 3
    assert values.numpy().view(np.uint8).tolist() == [0, 1, 1, 1]


def test_files_with_changed_bytes(tmp_path):
    """Bytes that are changed, removed or doubled: the file is right, or a ValueError, and the model as before."""
    path, model = whole_file(tmp_path)
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    generator = random.Random(0)
    places = [*range(0, header, 3), *generator.sample(range(header, len(content)), 20)]
    errors = 0
    for place in places:
        byte = bytes([generator.choice([0, 34, 44, 48, 57, 91, 123, 125, 255, content[place] ^ 1])])
        middle = generator.choice([byte, b"", content[place : place + 1] * 2, content[place : place + 40] * 2])
        path.write_bytes(content[:place] + middle + content[place + 1 :])
        before = everything(model)
        try:
            model.load(path)
        except ValueError as error:
            errors += 1
            assert str(path) in str(error) and everything(model) == before
    assert errors > len(places) / 2
    for end in generator.sample(range(len(content)), 30):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match="it is no whole safetensors file"):
            model.load(path)


def test_memory_while_reading(tmp_path):
    """What a file claims to hold is not allocated."""
    path = tmp_path / "a.safetensors"
    shapes = {f"a{i}": tensor([10**9, 0], 0, 0) for i in range(100)}
    path.write_bytes(file_of({**shapes, "b": tensor([10**6, 10**6, 10**3], 0, 8)}, bytes(8)))
    corgi.memory.trim()
    before = corgi.memory.stats()["in_use"]
    with pytest.raises(ValueError, match="it is no whole safetensors file"):
        read_weights(path)
    path.write_bytes(file_of(shapes))
    assert read_weights(path)["a7"].shape == (10**9, 0)
    assert corgi.memory.stats()["in_use"] <= before


FULL = """
import resource, signal, sys
import numpy as np
from corgi import Model, cost, optimizer
from corgi.layer import Dense

model = Model([Dense(40, 40)], optimizer.Adam(), cost.mse)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    model.save(sys.argv[1])
except OSError as error:
    print(type(error).__name__, error.errno)
"""


def test_a_full_disk(tmp_path):
    """A file that can grow no further fails to be written; the one before stays, and nothing else."""
    path, model = tmp_path / "a.safetensors", steps(network())
    model.save(path)
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"OSError {errno.EFBIG}", done.stderr
    assert os.listdir(tmp_path) == ["a.safetensors"] and path.read_bytes() == before
    network().load(path)


# ---- weights of others


def conv_layers(dtype="float32"):
    return [
        Conv(2, 4, 3, activation="relu", padding=1, groups=2, dtype=dtype),
        MaxPool(2),
        ConvTranspose(4, 3, 2, stride=2, dtype=dtype),
        Flatten(),
        Dense(48, 5, dtype=dtype),
    ]


SHAPES = {  # in PyTorch: Conv2d, ReLU, MaxPool2d, ConvTranspose2d, Flatten, Linear
    **{"0.weight": (4, 1, 3, 3), "0.bias": (4,), "3.weight": (4, 3, 2, 2), "3.bias": (3,)},
    **{"5.weight": (5, 48), "5.bias": (5,)},
}
FROM_TORCH = {"0": "layers.0", "3": "layers.2", "5": "layers.4"}


def torch_file(path, dtype=np.float32):
    generator = np.random.default_rng(0)
    weights = {name: generator.normal(size=shape).astype(dtype) for name, shape in SHAPES.items()}
    save_file(weights, path)
    return weights


@pytest.mark.parametrize("names", [FROM_TORCH, lambda name: FROM_TORCH[name[0]] + name[1:]], ids=["dict", "function"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_names_of_others(names, dtype, tmp_path):
    path, model = tmp_path / "torch.safetensors", Model(conv_layers())
    weights = torch_file(path, dtype)
    load_weights(model, path, names=names)
    own = model.state_dict()
    for name, values in weights.items():
        np.testing.assert_array_equal(own[FROM_TORCH[name[0]] + name[1:]], values.astype(np.float32))
    back = {new: old for old, new in FROM_TORCH.items()}
    save_weights(model, tmp_path / "back.safetensors", names=back)
    found = load_file(tmp_path / "back.safetensors")
    assert sorted(found) == sorted(weights)
    for name, values in found.items():
        np.testing.assert_array_equal(values, weights[name].astype(np.float32))


def test_conv_net_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(
        *[torch.nn.Conv2d(2, 4, 3, padding=1, groups=2), torch.nn.ReLU(), torch.nn.MaxPool2d(2)],
        *[torch.nn.ConvTranspose2d(4, 3, 2, stride=2), torch.nn.Flatten(), torch.nn.Linear(48, 5)],
    )
    series = torch.nn.Conv1d(3, 4, 3, dilation=2)
    path, model, x = tmp_path / "a.safetensors", Model(conv_layers()), np.random.default_rng(0).normal(size=(7, 2, 4, 4))
    x = x.astype(np.float32)
    save_torch(net.state_dict(), path)
    load_weights(model, path, names=FROM_TORCH)
    np.testing.assert_allclose(model.predict(x), net(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)
    save_torch({name: value.to(torch.bfloat16) for name, value in net.state_dict().items()}, path)
    load_weights(model, path, names=FROM_TORCH)
    half = net.to(torch.bfloat16).float()
    np.testing.assert_allclose(model.predict(x), half(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)
    save_weights(model, path, names={new: old for old, new in FROM_TORCH.items()})
    net.load_state_dict({name: torch.zeros_like(value) for name, value in net.state_dict().items()})
    net.load_state_dict(load_torch(path))
    np.testing.assert_allclose(model.predict(x), net(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)
    save_torch(series.state_dict(), path)
    layer = Conv1d(3, 4, 3, dilation=2, dtype="float32")
    load_weights(layer, path)
    x = np.ones((2, 3, 9), np.float32)
    np.testing.assert_allclose(layer(x).detach(), series(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_norm_of_torch(tmp_path):
    """Statistics too; PyTorch's count of batches is left out."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    norm, path, layer = torch.nn.BatchNorm1d(3), tmp_path / "a.safetensors", BatchNorm(3, dtype="float32")
    norm(torch.randn(10, 3))
    save_torch(norm.state_dict(), path)
    with pytest.raises(ValueError, match="unexpected: num_batches_tracked"):
        load_weights(layer, path)
    load_weights(layer, path, names={"num_batches_tracked": None})
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(layer.eval()(x).detach(), norm.eval()(torch.from_numpy(x)).detach(), rtol=1e-5, atol=1e-6)


RENAMED = [
    ({}, ["a", "a.b", "a.b.c", "ab"]),
    ({"": "x"}, ["x.a", "x.a.b", "x.a.b.c", "x.ab"]),
    ({"a": "x"}, ["x", "x.b", "x.b.c", "ab"]),
    ({"a": "x", "a.b": "y.z"}, ["x", "y.z", "y.z.c", "ab"]),
    ({"a.b": "", "": "r"}, ["r.a", "", "c", "r.ab"]),
    ({"a": None, "a.b.c": "kept"}, ["kept", "ab"]),
]


@pytest.mark.parametrize("names, expected", RENAMED)
def test_maps_of_names(names, expected):
    from corgi.checkpoint import _renamed

    assert list(_renamed(dict.fromkeys(["a", "a.b", "a.b.c", "ab"]), names, "op")) == expected


def test_wrong_names(tmp_path):
    path, model = tmp_path / "torch.safetensors", Model(conv_layers())
    torch_file(path)
    for names, error, message in [
        (5, TypeError, "load_weights: expected a dict or a function for names, got int"),
        (lambda name: 5, TypeError, "load_weights: expected names to give a str or None for '0.bias', got int"),
        (lambda name: "x", ValueError, "load_weights: expected names to give different ones, got 'x' twice"),
        (None, ValueError, "got '.*': expected the arrays of this Model, got others; missing: layers.0.weight"),
    ]:
        with pytest.raises(error, match=message):
            load_weights(model, path, names=names)
    before = everything(model)
    with pytest.raises(ValueError, match=r"missing: layers.4.weight, layers.4.bias"):
        load_weights(model, path, names=FROM_TORCH | {"5": None})
    assert everything(model) == before
    load_weights(model, path, names=FROM_TORCH | {"5": None}, strict=False)
    assert everything(model) != before
