"""Pictures of graphs: the operations that an array was computed by, in the language DOT.

Above: users, notebooks.  Below: `corgi._core.graph_nodes`; graphviz's command `dot`, where pictures are drawn.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from corgi._core import Array, graph_nodes, node_of
from corgi.layer.base import Layer, size

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Graph", "graph"]


class Graph:
    """A graph as a text in DOT, which notebooks show as a picture where graphviz is installed. Made by `graph`.

    Attributes
    ----------
    dot : str
        The text; also ``str(graph)``.
    nodes, hidden : int
        How many nodes the graph has, and how many of them the picture leaves out.

    Examples
    --------
    >>> import corgi
    >>> picture = corgi.viz.graph(corgi.ones(2).tracked() * 2)
    >>> picture
    Graph(2 nodes)
    >>> picture.dot.splitlines()[0]
    'digraph corgi {'
    """

    def __init__(self, dot: str, nodes: int, hidden: int) -> None:
        self.dot = dot
        self.nodes, self.hidden = nodes, hidden

    def __str__(self) -> str:
        return self.dot

    def __repr__(self) -> str:
        return f"Graph({self.nodes} nodes{f', {self.hidden} of them hidden' if self.hidden else ''})"

    def render(self, path: str | PathLike[str]) -> None:
        """Draw the graph into a file, with graphviz.

        Parameters
        ----------
        path : str or path
            Its suffix says the format: .svg, .png, .pdf or any other of graphviz's; .dot and .gv write the text itself.

        Raises
        ------
        ValueError
            If there is no suffix.
        FileNotFoundError
            If graphviz is not installed.
        RuntimeError
            If graphviz fails, as for an unknown format.

        Examples
        --------
        >>> import corgi, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "graph.dot"
        >>> corgi.viz.graph(corgi.ones(2).tracked() * 2).render(path)
        >>> path.read_text().startswith("digraph")
        True
        """
        name = fspath(path)
        _, dot, suffix = name.rpartition(".")
        if not dot or not suffix.isalnum():
            raise ValueError(f"render: expected a path with a suffix such as .svg, got {name!r}")
        data = self.dot.encode() if suffix in ("dot", "gv") else self._drawn(suffix)
        with open(name, "wb") as file:
            file.write(data)

    def _drawn(self, kind: str) -> bytes:
        command = shutil.which("dot")
        if command is None:
            raise FileNotFoundError(
                "render: expected graphviz's command dot on the PATH, got none; install graphviz (Debian: apt install "
                "graphviz), or render to a .dot file and draw that elsewhere"
            )
        done = subprocess.run([command, f"-T{kind}"], input=self.dot.encode(), capture_output=True)
        if done.returncode:
            raise RuntimeError(f"render: graphviz failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _repr_svg_(self) -> str | None:
        return self._drawn("svg").decode() if shutil.which("dot") else None


def graph(array: Array, parameters: Layer | Mapping[str, Array] | None = None, *, limit: int = 500) -> Graph:
    """The graph of recorded operations that an array was computed by, as a picture.

    Operations are ellipses with the shape of their result, leaves (tracked arrays) are boxes with their name, shape and
    dtype. Arrows go from operands to results. Operands that are not tracked are not in the graph.

    Parameters
    ----------
    array : Array
        A tracked array, such as a loss.
    parameters : Layer, or dict of str to Array, optional
        A model, whose parameters then have their names, or arrays by name.
    limit : int
        How many nodes to draw at most, those nearest to the array; one more stands for the others.

    Returns
    -------
    Graph
        With the text `dot`, and `render` to draw it.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be, or the array is not in a graph.

    Examples
    --------
    >>> import corgi
    >>> model = corgi.layer.Dense(3, 2)
    >>> print(corgi.viz.graph(model(corgi.ones((4, 3))).sum(), model))
    digraph corgi {
        rankdir=BT; node [fontname="sans-serif" fontsize=11];
        n0 [label="sum\\n() float64" style=bold];
        n1 [label="dense\\n(4, 2)"];
        n2 [label="weight\\n(2, 3) float64" shape=box];
        n3 [label="bias\\n(2,) float64" shape=box];
        n1 -> n0;
        n2 -> n1;
        n3 -> n1;
    }
    """
    if type(array) is not Array:
        raise TypeError(f"graph: expected an Array, got {type(array).__name__}")
    count = size(limit, "graph", "limit")
    names = _names(parameters)
    nodes = {node[0]: node for node in graph_nodes(array)}
    if not array.is_tracked and len(nodes) < 2:
        raise ValueError("graph: expected an array computed from tracked arrays, got one outside the graph; use tracked()")
    root = node_of(array)
    shown = _nearest(root, nodes, count)
    lines = [_node_line(number, nodes[node], names.get(node), node == root) for node, number in shown.items()]
    hidden = len(nodes) - len(shown)
    if hidden:
        text = f"{hidden:,} more nodes\nof {len(nodes):,}; limit={limit}"
        lines.append(f"rest [label={_quoted(text)} shape=note style=dashed];")
    lines += _arrows(shown, nodes)
    body = "".join(f"    {line}\n" for line in ('rankdir=BT; node [fontname="sans-serif" fontsize=11];', *lines))
    return Graph(f"digraph corgi {{\n{body}}}", len(nodes), hidden)


def _names(parameters: Any) -> dict[int | None, str]:
    if parameters is None:
        return {}
    named = parameters.named_parameters() if isinstance(parameters, Layer) else parameters
    if not isinstance(named, Mapping) or not all(type(array) is Array for array in named.values()):
        raise TypeError(f"graph: expected a layer, or a dict of Arrays by name, got {type(parameters).__name__}")
    return {node_of(array): str(name) for name, array in named.items() if node_of(array) is not None}


def _nearest(root: Any, nodes: Mapping[int, Any], count: int) -> dict[Any, int]:
    """The nodes nearest to the root, by the number of arrows, with their numbers."""
    found, queue = {root: 0}, [root]
    for node in queue:  # which grows meanwhile
        for operand in nodes[node][2]:
            if operand is not None and operand not in found:
                if len(found) == count:
                    return found
                found[operand] = len(found)
                queue.append(operand)
    return found


def _node_line(number: int, node: Any, name: str | None, root: bool) -> str:
    _, op, inputs, shape, dtype = node
    leaf = not any(node is not None for node in inputs)
    what = f"{name or op}\n{shape} {dtype}" if leaf or root else f"{name}: {op}\n{shape}" if name else f"{op}\n{shape}"
    style = " shape=box" if leaf else " style=bold" if root else ""
    return f"n{number} [label={_quoted(what)}{style}];"


def _arrows(shown: Mapping[Any, int], nodes: Mapping[int, Any]) -> Iterable[str]:
    for node, number in shown.items():
        hidden = False
        for operand in nodes[node][2]:
            if operand in shown:
                yield f"n{shown[operand]} -> n{number};"
            elif operand is not None:
                hidden = True
        if hidden:
            yield f"rest -> n{number} [style=dashed];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
