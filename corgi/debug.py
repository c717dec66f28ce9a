"""Help in finding what went wrong: the operation that made a NaN, parameters without gradients.

Above: users.  Below: `corgi._core.observe`, which shows operations and every step of a backward pass, and location.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ContextDecorator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from corgi._core import Array, node_of, observe
from corgi.layer.base import Layer
from corgi.location import line_of, path_of, running_layers, users_frame

if TYPE_CHECKING:
    from typing import Self

__all__ = ["GradientReport", "NonFiniteError", "detect_nan", "gradients", "unused_parameters"]


# ---- NaN and infinity


class NonFiniteError(FloatingPointError):
    """An operation has made, or was given, a NaN or an infinity, inside `detect_nan`.

    Attributes
    ----------
    op : str
        Name of the operation.
    phase : str
        "forward" or "backward".
    layer_path : str
        The layer in which the operation was called, as in ``Model > layers.1 (Dense)``; empty outside of layers.
    line : str
        The line of the user's program that called it, as file:line.

    Examples
    --------
    >>> import corgi
    >>> try:
    ...     with corgi.debug.detect_nan():
    ...         y = corgi.log(corgi.array([1.0, -1.0]).tracked())
    ... except corgi.debug.NonFiniteError as error:
    ...     print(error.op, error.phase)
    log forward
    """

    op = phase = layer_path = line = ""


class _Origin(NamedTuple):
    """Where an operation was called: what is turned into text only when it is asked for."""

    op: str
    line: str
    layers: list[Any]

    def __str__(self) -> str:
        inside = f", in {path_of(self.layers)}" if self.layers else ""
        return f"{self.line}{inside}"


class detect_nan(ContextDecorator):
    """Context manager, and decorator: stop at the first operation that makes a NaN or an infinity, forward or backward.

    The error names the operation, the layer, the line of the program and the operands. If an operand held such a value
    already, it names that instead: a parameter by its name. All operations of this thread that are recorded are checked,
    the cotangents of backward passes, and most operations that are not recorded; what others of these give is seen when an
    operation takes it. Everything is much slower inside, and as fast as ever outside.

    Parameters
    ----------
    infinity : bool
        Whether infinities are errors as NaN is; False where they are meant, as in masks of minus infinity.

    Raises
    ------
    NonFiniteError
        Inside, by the operation or by `backward`.

    Examples
    --------
    >>> import corgi
    >>> x = corgi.array([4.0, 0.0]).tracked()
    >>> with corgi.debug.detect_nan():
    ...     corgi.sqrt(x).sum().backward()  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    corgi.debug.NonFiniteError: backward of sqrt: made infinity, 1 of 2 values of the cotangent of its operand ...
    """

    def __init__(self, infinity: bool = True) -> None:
        if not isinstance(infinity, bool):
            raise TypeError(f"detect_nan: expected a bool for infinity, got {type(infinity).__name__}")
        self.infinity = infinity
        self._previous: list[Any] = []

    def enable(self) -> Self:
        """Check from now on, in this thread, until `disable`; returns the object itself."""
        self._previous.append(observe(_Checks(self.infinity)))
        return self

    def disable(self) -> None:
        """Do again what was done before `enable`."""
        if not self._previous:
            raise ValueError("detect_nan: expected enable() before disable()")
        observe(self._previous.pop())

    __enter__ = enable

    def __exit__(self, *exception: object) -> None:
        self.disable()

    def __repr__(self) -> str:
        return f"detect_nan(infinity={self.infinity})"


class _Checks:
    """The observer behind detect_nan.

    Nodes are known by their identities, so that no graph is kept alive. The identity of a node that is gone may return as
    that of a newer one, which then takes its entry.
    """

    def __init__(self, infinity: bool) -> None:
        self.infinity = infinity
        self.origins: dict[int, _Origin] = {}

    def computed(self, node: int | None, op: str, result: Array, operands: list[Array], in_backward: bool) -> None:
        fault = "" if in_backward else self.fault(result)  # a backward pass is checked by its cotangents
        if node is None and not fault:
            return
        frame = sys._getframe(1)
        origin = _Origin(op, line_of(users_frame(frame)), running_layers(frame))
        if node is not None:
            self.origins[node] = origin
        if not fault:
            return
        guilty = next((x for x in operands if self.fault(x)), None)
        if guilty is not None:
            text = f"{self.described(guilty, origin)} already holds {self.fault(guilty)}"
        else:
            shown = "; ".join(f"{x.dtype} {x.shape} {_range(x)}" for x in operands)
            text = f"made {fault} of the result, from operands that hold none: {shown}"
        raise self.error("forward", op, f"{op}: {text}", origin, f"at {origin}")

    def differentiated(self, node: int, op: str, cotangent: Array, sums: list[Array | None]) -> None:
        for position, sent in enumerate(sums):
            if sent is None or not (fault := self.fault(sent)):
                continue
            origin = self.origins.get(node)
            given = self.fault(cotangent)
            if given:
                text = f"the cotangent of the result, from which the pass started, already holds {given}"
            else:
                which = "its operand" if len(sums) == 1 else f"operand {position}"
                text = f"made {fault} of the cotangent of {which}, {sent.shape}, from a finite one of {_range(cotangent)}"
            where = f"{op} was called at {origin}" if origin else f"{op} was called outside detect_nan"
            raise self.error("backward", op, f"backward of {op}: {text}", origin, where)

    def fault(self, array: Array) -> str:
        """What is wrong with the values: NaN, or infinity, and in how many; empty if nothing is."""
        values = array.numpy()
        if np.isfinite(values).all():
            return ""
        count = int(np.isnan(values).sum())
        name = "NaN"
        if not count and self.infinity:
            count, name = int(np.isinf(values).sum()), "infinity"
        return f"{name}, {count} of {array.size} values" if count else ""

    def described(self, array: Array, origin: _Origin) -> str:
        """An operand in words: a parameter by its name in the outermost of the running layers."""
        for layer in origin.layers:
            for name, parameter in layer.named_parameters().items():
                if node_of(parameter) == node_of(array) is not None:
                    return f"the parameter {name!r} of {type(layer).__name__}, {array.shape},"
        made = self.origins.get(node_of(array) or 0)
        if made:
            return f"the operand {array.shape}, the result of {made.op} at {made},"
        return f"the operand {array.shape}, {'tracked' if array.is_tracked else 'not tracked'},"

    def error(self, phase: str, op: str, text: str, origin: _Origin | None, where: str) -> NonFiniteError:
        error = NonFiniteError(f"{text}; {where}")
        error.op, error.phase = op, phase
        error.layer_path, error.line = (path_of(origin.layers), origin.line) if origin else ("", "")
        return error


def _range(array: Array) -> str:
    values = array.numpy()
    if not values.size:
        return "without values"
    return f"{values.min():.3g}" if values.min() == values.max() else f"{values.min():.3g} to {values.max():.3g}"


# ---- gradients


class ParameterGradient(NamedTuple):
    """A parameter in a report of gradients.

    Attributes
    ----------
    name : str
    shape : tuple of ints
    state : str
        "unused": no gradient, the parameter takes no part in what was differentiated, or no backward pass has been made;
        "zero": it takes part, and all derivatives are zero; "nan" or "infinite": some are; else "ok".
    norm : float
        Euclidean norm of the gradient; NaN without one.

    Examples
    --------
    >>> import corgi
    >>> corgi.debug.gradients({"p": corgi.ones(2).tracked()})[0].state
    'unused'
    """

    name: str
    shape: tuple[int, ...]
    state: str
    norm: float


class GradientReport(list[ParameterGradient]):
    """A list of `ParameterGradient`, which prints as a table.

    Examples
    --------
    >>> import corgi
    >>> corgi.debug.GradientReport([corgi.debug.ParameterGradient("p", (2,), "ok", 1.5)])
    parameter  shape  gradient  norm
    p          (2,)   ok        1.5
    """

    def __repr__(self) -> str:
        table = [("parameter", "shape", "gradient", "norm")]
        table += [(row.name, str(row.shape), row.state, f"{row.norm:.4g}") for row in self]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table)


def gradients(parameters: Layer | Mapping[str, Array]) -> GradientReport:
    """What backward passes have left at each parameter; to be asked after `backward` and before an optimizer's step.

    Parameters
    ----------
    parameters : Layer, or dict of str to Array
        A model, or parameters by name.

    Returns
    -------
    GradientReport
        A row for each parameter: name, shape, state ("ok", "unused", "zero", "nan" or "infinite") and norm.

    Raises
    ------
    TypeError
        If it is neither.

    Examples
    --------
    >>> import corgi
    >>> p, q, r = (corgi.array([3.0, 4.0]).tracked() for _ in "pqr")
    >>> ((p * p).sum() + (q * 0.0).sum()).backward()
    >>> corgi.debug.gradients({"p": p, "q": q, "r": r})
    parameter  shape  gradient  norm
    p          (2,)   ok        10
    q          (2,)   zero      0
    r          (2,)   unused    nan
    """
    return GradientReport(_row(name, array) for name, array in _named(parameters, "gradients").items())


def unused_parameters(parameters: Layer | Mapping[str, Array]) -> list[str]:
    """Names of the parameters without a gradient: they take no part in what was differentiated.

    A gradient of zeros is one: see `gradients`, which tells the two apart.

    Parameters
    ----------
    parameters : Layer, or dict of str to Array
        A model, or parameters by name, after `backward` and before an optimizer's step, which clears gradients.

    Returns
    -------
    list of str

    Raises
    ------
    TypeError
        If it is neither.

    Examples
    --------
    >>> import corgi
    >>> used, unused = corgi.ones(2).tracked(), corgi.ones(2).tracked()
    >>> used.sum().backward()
    >>> corgi.debug.unused_parameters({"used": used, "unused": unused})
    ['unused']
    """
    return [name for name, array in _named(parameters, "unused_parameters").items() if array.gradient is None]


def _named(parameters: Layer | Mapping[str, Array], op: str) -> Mapping[str, Array]:
    if isinstance(parameters, Layer):
        return parameters.named_parameters()
    if not isinstance(parameters, Mapping):
        raise TypeError(f"{op}: expected a layer, or a dict of Arrays by name, got {type(parameters).__name__}")
    for name, array in parameters.items():
        if type(array) is not Array:
            raise TypeError(f"{op}: expected Arrays in the dict, got {type(array).__name__} under {name!r}")
    return parameters


def _row(name: str, parameter: Array) -> ParameterGradient:
    if parameter.gradient is None:
        return ParameterGradient(name, parameter.shape, "unused", float("nan"))
    values = parameter.gradient.numpy().astype(np.float64)
    norm = float(np.linalg.norm(values))
    if np.isnan(values).any():
        state = "nan"
    elif np.isinf(values).any():
        state = "infinite"
    else:
        state = "ok" if values.any() else "zero"
    return ParameterGradient(name, parameter.shape, state, norm)
