"""A table of a model's layers.

Above: `Model.summary`.  Below: layers, which are run once, on zeros, to see the shapes of their outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from corgi._core import Array, get_default_dtype, no_tracking, zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from corgi._typing import DTypeLike
    from corgi.layer import Layer

__all__ = ["Row", "Summary", "summary"]


class Row(NamedTuple):
    """A layer in a summary.

    Attributes
    ----------
    path, type : str
        Its name, as in `Layer.named_layers`, and its class.
    output : tuple of ints, or None
        The shape of its output; None if it is not known, or not an Array.
    parameters, nbytes : int
        How many numbers there are in the parameters of its own, not in those of layers inside, and how many bytes they take.

    Examples
    --------
    >>> import corgi
    >>> corgi.Model([corgi.layer.Dense(2, 1)]).summary().rows[1]
    Row(path='layers.0', type='Dense', output=None, parameters=3, nbytes=24)
    """

    path: str
    type: str
    output: tuple[int, ...] | None
    parameters: int
    nbytes: int


@dataclass(frozen=True, repr=False)
class Summary:
    """The layers of a model, in the order of the attributes. It prints as a table.

    Attributes
    ----------
    rows : list of Row
        The model itself first. A parameter that is shared belongs to the first layer that has it.
    output_nbytes : int or None
        Bytes of the outputs of all layers that have none inside, for the input that was given.

    Examples
    --------
    >>> import corgi
    >>> summary = corgi.Model([corgi.layer.Dense(2, 1)]).summary((10, 2))
    >>> summary.parameters, summary.nbytes, summary.output_nbytes
    (3, 24, 80)
    """

    rows: list[Row]
    output_nbytes: int | None = None

    @property
    def parameters(self) -> int:
        """How many numbers there are in all parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def nbytes(self) -> int:
        """How many bytes all parameters take."""
        return sum(row.nbytes for row in self.rows)

    def __repr__(self) -> str:
        table: list[tuple[str, ...]] = [("layer", "type", "output", "parameters", "bytes")]
        for row in self.rows:
            numbers = (f"{row.parameters:,}", f"{row.nbytes:,}") if row.parameters else ("", "")
            table.append((row.path, row.type, "" if row.output is None else str(row.output), *numbers))
        table.append(("total", "", "", f"{self.parameters:,}", f"{self.nbytes:,}"))
        if self.output_nbytes is None:
            table = [(*cells[:2], *cells[3:]) for cells in table]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        texts = len(widths) - 2
        lines = [
            "  ".join(
                cell.ljust(width) if i < texts else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ).rstrip()
            for cells in table
        ]
        if self.output_nbytes is not None:
            lines.append(f"memory of the outputs: {self.output_nbytes:,} bytes")
        return "\n".join(lines)


def summary(layer: Layer, input_shape: int | Sequence[int] | None = None, dtype: DTypeLike | None = None) -> Summary:
    """The summary of a layer and all layers inside, see `Model.summary`.

    Examples
    --------
    >>> import corgi
    >>> from corgi.summary import summary
    >>> summary(corgi.layer.Dense(3, 2))
    layer  type   parameters  bytes
           Dense           8     64
    total                  8     64
    """
    layers = layer.named_layers()
    outputs: dict[int, Array] = {}
    if input_shape is not None:
        first = next(iter(layer.parameters()), None)
        wanted = dtype or (get_default_dtype() if first is None else first.dtype)
        outputs = _outputs(layer, list(layers.values()), zeros(input_shape, wanted))
    owned: dict[str, list[Array]] = {name: [] for name in layers}
    for name, parameter in layer.named_parameters().items():
        while name not in owned:  # the attribute, and the positions and keys in it
            name = name.rpartition(".")[0]
        owned[name].append(parameter)
    rows = []
    for name, inner in layers.items():
        output = outputs.get(id(inner))
        size, nbytes = (sum(getattr(p, what) for p in owned[name]) for what in ("size", "nbytes"))
        rows.append(Row(name, type(inner).__name__, None if output is None else output.shape, size, nbytes))
    if input_shape is None:
        return Summary(rows)
    leaves = [inner for inner in layers.values() if len(inner.named_layers()) == 1]
    return Summary(rows, sum(outputs[id(inner)].nbytes for inner in leaves if id(inner) in outputs))


def _outputs(layer: Layer, layers: list[Layer], x: Array) -> dict[int, Array]:
    """The last output of each layer for an input."""
    found: dict[int, Array] = {}

    def recording(inner: Layer) -> Callable[..., Any]:
        forward = inner.forward

        def recorded(*arguments: Any, **options: Any) -> Any:
            output = forward(*arguments, **options)
            if type(output) is Array:
                found[id(inner)] = output
            return output

        return recorded

    modes = [(inner, inner.training) for inner in layers]
    kept = [(inner, vars(inner).get("_output")) for inner in layers if "_output" in vars(inner)]
    try:
        for inner in layers:
            inner.training = False
            vars(inner)["forward"] = recording(inner)
        with no_tracking():
            layer(x)
    finally:
        for inner, training in modes:
            vars(inner).pop("forward", None)
            inner.training = training
        for inner, output in kept:
            vars(inner)["_output"] = output
    return found
