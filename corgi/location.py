"""Where in a program something happens: the user's line, and the layers that are running, for messages.

Above: `Layer.__call__` and `Model.forward`, which put both into errors; warnings; `corgi.debug`.  Below: Python's frames.
Nothing here runs until something has gone wrong or is being looked for.
"""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

__all__: list[str] = []

# Errors whose message is the place for more; others get a note.
_REWORDED = (ValueError, TypeError, IndexError)


def locate(error: BaseException, layer: Any, item: str = "", function: Any = None) -> None:
    """Say in an error which layer it comes from and which of the user's lines it passed through last. The first call counts.

    ValueError, TypeError and IndexError say so in their message, all others in a note. A layer that is not inside another is
    not named in the message, which the line makes plain. The layers are also in the error's attribute ``layer_path``.

    Parameters
    ----------
    error : Exception
        That is being handled, in a method of the layer.
    layer : Layer
    item : str, optional
        Name of the function, within the layer, that has raised it.
    function : callable, optional
        That function.
    """
    if "layer_path" in vars(error):
        return
    frame = sys._getframe(1)
    layers = running_layers(frame)
    if not layers or layers[-1] is not layer:  # compiled methods have no frames
        layers.append(layer)
    path = path_of(layers, item, function)
    vars(error)["layer_path"] = path
    line = _line_of_error(error.__traceback__, frame)
    message = error.args[0] if len(error.args) == 1 and isinstance(error.args[0], str) else None
    if type(error) not in _REWORDED or message is None:
        vars(error).setdefault("__notes__", []).append(f"in {path} [{line}]")  # as add_note, also where the error is frozen
        return
    error.args = (f"{path}: {message} [{line}]" if " > " in path else f"{message} [{line}]",)


def running_layers(frame: FrameType | None) -> list[Any]:
    """The layers whose methods are running, the outermost first."""
    from corgi.layer.base import Layer

    found: list[Any] = []
    while frame is not None:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self":
            layer = frame.f_locals.get("self")
            if isinstance(layer, Layer) and not (found and found[-1] is layer):
                found.append(layer)
        frame = frame.f_back
    return found[::-1]


def path_of(layers: Sequence[Any], item: str = "", function: Any = None) -> str:
    """How to get from the first of running layers to the last: ``Model > layers.2.attention (Attention)``.

    A layer that is not found in the one before, because it is private there or made on the way, begins anew. An item is what
    the last layer calls a function in it.
    """
    steps = [(_name_in(layers[i - 1], layer) if i else "", type(layer).__name__) for i, layer in enumerate(layers)]
    if item:
        steps.append((item, getattr(function, "__name__", type(function).__name__)))
    parts: list[str] = []
    names = ""
    for name, kind in steps:
        if not name:
            names = ""
            parts.append(kind)
        elif names:
            names = f"{names}.{name}"
            parts[-1] = f"{names} ({kind})"
        else:
            names = name
            parts.append(f"{names} ({kind})")
    return " > ".join(parts)


def _name_in(holder: Any, layer: Any) -> str:
    return next((name for name, inner in holder.named_layers().items() if inner is layer), "")


def users_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame, from this one outwards, of code that is neither corgi's nor NumPy's nor Python's own."""
    while frame is not None and not _is_users(frame):
        frame = frame.f_back
    return frame


def line_of(frame: FrameType | None, number: int | None = None) -> str:
    """A frame's line, or the one of that number, as file:line, the file as seen from the current directory."""
    if frame is None:
        return "?"
    file = frame.f_code.co_filename
    with suppress(FileNotFoundError):  # where the current directory has been removed
        file = file.removeprefix(os.getcwd() + os.sep)
    return f"{file}:{number or frame.f_lineno}"


def _line_of_error(trace: TracebackType | None, frame: FrameType) -> str:
    """The user's line that an error has come through first, or else that from which the frame was called that handles it."""
    found = None
    while trace is not None:
        if _is_users(trace.tb_frame):
            found = trace
        trace = trace.tb_next
    return line_of(users_frame(frame)) if found is None else line_of(found.tb_frame, found.tb_lineno)


def _is_users(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package not in ("corgi", "numpy") and package not in sys.stdlib_module_names


def warn(message: str, category: type[Warning]) -> None:
    """Warn as if from the user's line."""
    frame = users_frame(sys._getframe(1))
    if frame is None:
        warnings.warn(message, category, stacklevel=2)
        return
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, registry=registry)
