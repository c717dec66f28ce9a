"""Checkpoints: all that a training needs to go on exactly, or weights alone, in one file of the format safetensors.

Above: `Model.save` and `load`, `Model.fit`, users.  Below: the state_dict of layers, optimizers, loaders; the package
safetensors, imported at its use.

The tensors of the file are the arrays of the model, by their names. All the rest, dicts and lists of numbers, strings, None
and arrays, is JSON text under the key 'corgi' of the metadata, which names the tensors of its arrays. Nothing is ever run.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corgi._core import Array, array, assign
from corgi.atomic import replaced
from corgi.data.loader import generator_state, set_generator
from corgi.initializer import generator

if TYPE_CHECKING:
    from corgi._typing import Stateful
    from corgi.layer import Layer
    from corgi.model import Model

    Path = str | os.PathLike[str]
    Names = Mapping[str, str | None] | Callable[[str], str | None] | None

__all__ = ["load_weights", "read_weights", "save_weights"]

VERSION = 1
PARTS = ("optimizer", "random", "parts", "extra")  # of the JSON text, besides the version


# ---- weights alone


def save_weights(layer: Layer, path: Path, *, names: Names = None) -> None:
    """Write the arrays of a layer, parameters and statistics, to a safetensors file, whole or not at all.

    Parameters
    ----------
    layer : Layer
        Such as a model.
    path : str or os.PathLike
    names : dict or callable, optional
        From the layer's names to those in the file, see `load_weights`.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there stays.
    ModuleNotFoundError
        If the package safetensors is not installed.
    TypeError, ValueError
        If `names` gives what is no name, or one name twice.

    Examples
    --------
    PyTorch's ``Sequential`` numbers its layers without a name in front:

    >>> import os, tempfile
    >>> import corgi
    >>> from corgi.checkpoint import read_weights, save_weights
    >>> model = corgi.Model([corgi.layer.Dense(2, 1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.safetensors")
    ...     save_weights(model, path, names={"layers": ""})
    ...     list(read_weights(path))
    ['0.bias', '0.weight']
    """
    _write(path, _renamed(layer.state_dict(), names, "save_weights"), None, "save_weights")


def load_weights(layer: Layer, path: Path, *, names: Names = None, strict: bool = True) -> None:
    """Give the arrays of a layer the values in a safetensors file, one of PyTorch's for example.

    Layers have PyTorch's layouts and names of their own arrays, so that nothing is transposed, and places alone are renamed.

    Parameters
    ----------
    layer : Layer
        Such as a model.
    path : str or os.PathLike
        A file of weights, or a checkpoint, whose other parts are left alone.
    names : dict or callable, optional
        From the names in the file to the layer's. A dict says what takes the place of a whole name or of its beginning up to
        a dot, of which the longest counts: ``{"": "layers", "features.0": "layers.3"}``; None leaves out. Other names stay.
        A function ``names(name)`` gives the new name, or None.
    strict : bool
        Whether all names must be there, and no others.

    Raises
    ------
    OSError
        If the file cannot be read.
    ModuleNotFoundError
        If the package safetensors is not installed.
    TypeError, ValueError
        If it is no such file, or has not the layer's names, shapes and dtypes (floats are rounded or widened to those of the
        layer); then nothing has changed.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import corgi
    >>> from corgi.checkpoint import load_weights
    >>> from safetensors.numpy import save_file
    >>> model = corgi.Model([corgi.layer.Dense(2, 1)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.safetensors")
    ...     save_file({"0.weight": np.ones((1, 2), np.float32), "0.bias": np.zeros(1, np.float32)}, path)
    ...     load_weights(model, path, names={"": "layers"})
    >>> model.layers[0].weight
    Array([[1., 1.]], dtype=float64, tracked)
    """
    weights = read(path, "load_weights", names).weights
    with reasons("load_weights", path):
        matched = layer._matched(weights, strict)
    _assign(matched)


def read_weights(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file by name: of a checkpoint those of the model.

    Parameters
    ----------
    path : str or os.PathLike

    Returns
    -------
    dict
        Of str to Array. Floats of 16 bits become float32, integers int64.

    Raises
    ------
    OSError
        If the file cannot be read.
    ModuleNotFoundError
        If the package safetensors is not installed.
    ValueError
        If it is no such file, or has other dtypes.

    Examples
    --------
    To change the values before a layer takes them:

    >>> import os, tempfile
    >>> import corgi
    >>> from corgi.checkpoint import read_weights, save_weights
    >>> layer = corgi.layer.Dense(2, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "weights.safetensors")
    ...     save_weights(layer, path)
    ...     weights = read_weights(path)
    >>> layer.load_state_dict({name: 2 * values for name, values in weights.items()})
    """
    return read(path, "read_weights").weights


def _renamed(values: Mapping[str, Any], names: Names, op: str) -> dict[str, Any]:
    """The same values under new names."""
    if names is None:
        return dict(values)
    if isinstance(names, Mapping):
        names = partial(_replaced, dict(names))
    elif not callable(names):
        raise TypeError(f"{op}: expected a dict or a function for names, got {type(names).__name__}")
    renamed: dict[str, Any] = {}
    for name, value in values.items():
        new = names(name)
        if new is not None and not isinstance(new, str):
            raise TypeError(f"{op}: expected names to give a str or None for {name!r}, got {type(new).__name__}")
        if new in renamed:
            raise ValueError(f"{op}: expected names to give different ones, got {new!r} twice")
        if new is not None:
            renamed[new] = value
    return renamed


def _replaced(names: dict[str, str | None], name: str) -> str | None:
    """A name with its longest beginning that is among `names` replaced."""
    begins = [begin for begin in names if begin in ("", name) or name.startswith(f"{begin}.")]
    if not begins:
        return name
    begin = max(begins, key=len)
    new, rest = names[begin], name[len(begin) :].removeprefix(".")
    return new if new is None or not rest else f"{new}.{rest}" if new else rest


# ---- the state of a training


class Saved(NamedTuple):
    """What a file holds: the arrays of a model, and the rest, which weights alone do not have."""

    path: str
    weights: dict[str, Array]
    rest: dict[str, Any] | None


def save(model: Model, path: Path, *, weights_only: bool, extra: Any, parts: Mapping[str, Stateful]) -> None:
    """See `Model.save`."""
    op = "Model.save"
    if weights_only:
        if parts or extra is not None:
            raise ValueError(f"{op}: expected no {', '.join(parts) or 'extra'} with weights_only=True")
        _write(path, model.state_dict(), None, op)
        return
    optimizer = model.optimizer
    if optimizer is not None:
        _stateful(optimizer, "the optimizer", op)
    rest = {
        "optimizer": None if optimizer is None else optimizer.state_dict(model.named_parameters()),
        "random": {name: generator_state(found) for name, found in _generators(model).items()},
        "parts": {name: _stateful(part, name, op).state_dict() for name, part in parts.items()},
        "extra": extra,
    }
    _write(path, model.state_dict(), rest, op)


def load(model: Model, path: Path, *, weights_only: bool, parts: Mapping[str, Stateful]) -> Any:
    """See `Model.load`."""
    op = "Model.load"
    for name, part in parts.items():
        _stateful(part, name, op)
    saved = read(path, op)
    if not weights_only:
        return restore(saved, model, parts, op)
    with reasons(op, path):
        matched = model._matched(saved.weights, True)
    _assign(matched)
    return None if saved.rest is None else saved.rest["extra"]


def restore(saved: Saved, model: Model, parts: Mapping[str, Stateful], op: str) -> Any:
    """Bring a model and other objects to a saved state, all or none of them; returns the extra data."""
    with reasons(op, saved.path):
        rest = _rest(saved)
        matched = model._matched(saved.weights, True, exact=True)
        generators = _generators(model)
        if set(generators) != set(rest["random"]):
            raise ValueError(f"expected the state of the generators {list(generators)}, got {list(rest['random'])}")
        for name, found in generators.items():
            set_generator(type(found)(type(found.bit_generator)()), rest["random"][name], op)  # to see whether it can be
        states: list[tuple[Any, Any]] = []
        optimizer = model.optimizer
        if (optimizer is None) != (rest["optimizer"] is None):
            there, here = ("none", "one") if optimizer is not None else ("one", "none")
            raise ValueError(f"it has {there} of an optimizer, the model {here}; weights_only=True loads the weights")
        if optimizer is not None:
            _stateful(optimizer, "the optimizer", op)
            parameters = model.named_parameters()
            bound = {name: partial(getattr(optimizer, name), parameters=parameters) for name in _METHODS}
            states.append((SimpleNamespace(**bound), rest["optimizer"]))
        states += [(part, part_of(saved, name)) for name, part in parts.items()]
        load_all(states)
    for name, found in generators.items():
        set_generator(found, rest["random"][name], op)
    _assign(matched)
    return rest["extra"]


def part_of(saved: Saved, name: str) -> Any:
    """The saved state of an object besides the model."""
    parts = _rest(saved)["parts"]
    if name not in parts:
        raise ValueError(f"it has no {name}; its parts are {', '.join(parts) or 'none'}")
    return parts[name]


def _rest(saved: Saved) -> dict[str, Any]:
    if saved.rest is None:
        raise ValueError("it holds weights alone; weights_only=True loads them")
    return saved.rest


def load_all(states: Iterable[tuple[Any, Any]]) -> None:
    """Give objects their states; when one refuses, those before it have their former ones again."""
    done = []
    try:
        for part, state in states:
            before = part.state_dict()
            part.load_state_dict(state)
            done.append((part, before))
    except Exception:
        for part, before in reversed(done):
            part.load_state_dict(before)
        raise


_METHODS = ("state_dict", "load_state_dict")


def _stateful(part: Any, name: str, op: str) -> Any:
    if isinstance(part, type) or not all(callable(getattr(part, method, None)) for method in _METHODS):
        raise TypeError(
            f"{op}: expected an object with state_dict and load_state_dict for {name}, got {type(part).__name__}"
        )
    return part


def _generators(model: Model) -> dict[str, np.random.Generator]:
    """The package's generator, and those that layers have of their own."""
    found = {"corgi": generator()}
    for name, layer in model.named_layers().items():
        own = {attribute: value for attribute, value in vars(layer).items() if isinstance(value, np.random.Generator)}
        found |= {f"layer {name}.{attribute}": value for attribute, value in own.items()}
    return found


def _assign(matched: Iterable[tuple[Array, Array]]) -> None:
    for target, values in matched:
        assign(target, values)


@contextmanager
def reasons(op: str, path: Path) -> Iterator[None]:
    """Errors that come of what a file holds name the file."""
    try:
        yield
    except (TypeError, ValueError, LookupError, OverflowError, RecursionError, MemoryError) as error:
        reason = f"{type(error).__name__} {error}" if isinstance(error, LookupError) else str(error)
        raise ValueError(f"{op}: expected a checkpoint that fits, got {os.fspath(path)!r}: {reason}") from error


# ---- the file


def _write(path: Path, weights: Mapping[str, Array], rest: Any, op: str) -> None:
    package = _package(op)
    tensors, metadata = dict(weights), None
    if rest is not None:
        tree = _encoded(rest, "", tensors, op)
        metadata = {"corgi": json.dumps({"version": VERSION} | tree, allow_nan=False)}
    values = {name: tensor.numpy() for name, tensor in tensors.items()}
    values = {name: value if value.flags.c_contiguous else value.copy() for name, value in values.items()}
    content = package.numpy.save(values, metadata)
    with replaced(path) as name, open(name, "wb") as file:
        file.write(content)


def read(path: Path, op: str, names: Names = None) -> Saved:
    """The content of a file, checked as far as that can be done without the model."""
    package = _package(op)
    with open(path, "rb") as file:
        content = file.read()
    used: set[str] = set()
    with reasons(op, path):
        try:
            tensors = dict(package.deserialize(content))
        except package.SafetensorError as error:
            raise ValueError(f"it is no whole safetensors file: {error}") from error
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        del content
        text = (header.get("__metadata__") or {}).get("corgi")
        rest = None if text is None else _document(text, tensors, used)
    found = _renamed({name: tensor for name, tensor in sorted(tensors.items()) if name not in used}, names, op)
    with reasons(op, path):
        return Saved(os.fspath(path), {name: _array(tensor, name) for name, tensor in found.items()}, rest)


def _package(op: str) -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        if error.name != "safetensors":
            raise
        raise ModuleNotFoundError(
            f"{op}: expected safetensors, which is not installed; pip install corgi[checkpoint]", name=error.name
        ) from error
    return safetensors


def _array(tensor: Mapping[str, Any], name: str) -> Array:
    """An Array of a tensor as safetensors gives it."""
    kind, shape, data = tensor["dtype"], tensor["shape"], tensor["data"]
    if kind == "BF16":
        values: Any = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    elif kind == "BOOL":
        values = np.frombuffer(data, np.uint8) != 0
    elif kind in _DTYPES:
        values = np.frombuffer(data, _DTYPES[kind])
    else:
        raise ValueError(f"expected tensors of numbers of 8 to 64 bits, got {kind} for {name!r}")
    return array(values.reshape(shape), "float32" if kind == "F16" else None)


_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_DTYPES |= {f"{letter.upper()}{8 * size}": f"<{letter}{size}" for letter in "iu" for size in (1, 2, 4, 8)}


def _encoded(value: Any, place: str, arrays: dict[str, Any], op: str) -> Any:
    """What JSON can hold of a value; its arrays go to `arrays`, under the names of their places."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, list | tuple):
        return [_encoded(part, f"{place}{i}/", arrays, op) for i, part in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{op}: expected keys that are strings in {place or 'a state'}, got {type(key).__name__}")
        return {
            f"${key}" if key[:1] == "$" else key: _encoded(part, f"{place}{key}/", arrays, op) for key, part in value.items()
        }
    if type(value) is not Array and not isinstance(value, np.ndarray):
        kind = type(value).__name__
        raise TypeError(
            f"{op}: expected numbers, strings, None, lists, dicts and arrays to save, got {kind} at {place[:-1]}"
        )
    name = place[:-1]
    while name in arrays:
        name += "'"
    arrays[name] = value.detach() if type(value) is Array else array(value)
    return {"$array": name}


def _document(text: str, tensors: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    """What `_encoded` made text of, and in `used` the names of its arrays."""
    tree = json.loads(text, parse_constant=_no_number)
    if not isinstance(tree, dict) or type(tree.get("version")) is not int:
        raise ValueError("it has no version of the format")
    if tree["version"] != VERSION:
        raise ValueError(f"it has version {tree['version']} of the format, and this corgi reads version {VERSION}")
    document: dict[str, Any] = {name: _decoded(tree.get(name), tensors, used) for name in PARTS}
    for name in ("random", "parts"):
        if not isinstance(document[name], dict):
            raise ValueError(f"expected a dict of {name}, got {type(document[name]).__name__}")
    return document


def _decoded(value: Any, tensors: Mapping[str, Any], used: set[str]) -> Any:
    if isinstance(value, list):
        return [_decoded(part, tensors, used) for part in value]
    if not isinstance(value, dict):
        return value
    if (name := value.get("$array")) is not None:
        if name not in tensors or name in used:
            raise ValueError(f"expected a tensor of its own for {name!r}")
        used.add(name)
        return _array(tensors[name], name)
    if (number := value.get("$float")) is not None:
        if number not in ("nan", "inf", "-inf"):
            raise ValueError(f"expected nan, inf or -inf, got {number!r}")
        return float(number)
    return {key.removeprefix("$"): _decoded(part, tensors, used) for key, part in value.items()}


def _no_number(text: str) -> Any:
    raise ValueError(f"expected numbers, got {text} in the JSON text")
