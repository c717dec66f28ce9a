"""Pictures of graphs: what is in the text, and how it is drawn."""

import re
import stat
import sys

import numpy as np
import pytest

import corgi
from corgi.layer import Dense
from corgi.viz import graph


def nodes_and_arrows(picture):
    labels = dict(re.findall(r'^    (\w+) \[label="((?:[^"\\]|\\.)*)"', picture.dot, re.M))
    arrows = re.findall(r"^    (\w+) -> (\w+)", picture.dot, re.M)
    return labels, arrows


def test_operations_leaves_and_names():
    model = corgi.Model([Dense(3, 4, activation=corgi.tanh), corgi.exp, Dense(4, 2, dtype="float32")])
    labels, arrows = nodes_and_arrows(picture := graph(model(corgi.ones((5, 3))).sum(), model))
    assert picture.nodes == len(labels) and picture.hidden == 0
    names = {label.split("\\n")[0]: node for node, label in labels.items()}
    assert set(model.named_parameters()) < set(names)
    assert {"sum", "dense", "exp"} < set(names)
    assert any("(4, 3) float64" in label for label in labels.values()) and any(
        "float32" in label for label in labels.values()
    )
    assert {head for _, head in arrows} | {tail for tail, _ in arrows} == set(labels)
    assert all(head != names["layers.0.weight"] for _, head in arrows)


def test_a_shared_operand_is_drawn_once_with_an_arrow_for_each_use():
    x = corgi.ones(2).tracked()
    labels, arrows = nodes_and_arrows(graph(x * x, {"x": x}))
    assert labels == {"n0": "multiply\\n(2,) float64", "n1": "x\\n(2,) float64"}
    assert arrows == [("n1", "n0"), ("n1", "n0")]


def test_untracked_operands_are_left_out_and_a_leaf_is_a_graph():
    x = corgi.ones(2).tracked()
    assert graph(x).nodes == 1 and graph(x + 1.0).nodes == 2
    with pytest.raises(ValueError, match=r"^graph: expected an array computed from tracked arrays"):
        graph(corgi.ones(2))


def test_labels_are_escaped():
    x = corgi.ones(1).tracked()
    name = 'a"b\\c\n<d>{e}|'
    dot = graph(x * 2, {name: x}).dot
    assert r'"a\"b\\c\n<d>{e}|\n(1,) float64"' in dot
    custom = corgi.op(lambda x: x * 2, lambda arrays, tracked, delta: [2 * delta])
    assert "<lambda>" in graph(custom(x)).dot


def test_long_graphs_show_what_is_near():
    x = c = corgi.ones(1).tracked()
    for _ in range(100_000):
        c = c + x
    picture = graph(c, limit=7)
    labels, arrows = nodes_and_arrows(picture)
    assert (picture.nodes, picture.hidden) == (100_001, 100_001 - 7)
    assert len(labels) == 8 and labels["rest"].startswith("99,994 more nodes") and "limit=7" in labels["rest"]
    assert {tail for tail, _ in arrows} | {head for _, head in arrows} == set(labels)
    assert repr(picture) == "Graph(100001 nodes, 99994 of them hidden)"
    assert str(picture) == picture.dot


def test_graph_nodes_leaves_the_graph_as_it_was():
    x = corgi.ones(2).tracked()
    y = (x * 3).sum()
    first = corgi._core.graph_nodes(y)
    y.backward()
    assert corgi._core.graph_nodes(y) == first and x.gradient.tolist() == [3.0, 3.0]
    assert corgi._core.graph_nodes(corgi.ones(2)) == []
    assert [node for node, *_ in first][-1] == corgi._core.node_of(y)
    seen = set()
    for node, _, inputs, _, _ in first:
        assert all(i is None or i in seen for i in inputs)
        seen.add(node)


def test_graph_nodes_inside_a_backward_pass():
    x = corgi.ones(2).tracked()
    found = []

    def backward(arrays, tracked, delta):
        found.append(len(corgi._core.graph_nodes(y)))
        return [delta]

    y = corgi.op(lambda x: x + 1, backward)(x * 2) * 2
    y.backward()
    assert found == [4] and np.array_equal(x.gradient, [4.0, 4.0])


def fake_dot(folder, monkeypatch, program):
    file = folder / "dot"
    file.write_text(f"#!{sys.executable}\n{program}")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_rendering_with_graphviz(tmp_path, monkeypatch):
    fake_dot(tmp_path, monkeypatch, "import sys; print(sys.argv[1], sys.stdin.read())")
    picture = graph(corgi.ones(1).tracked() * 2)
    picture.render(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text() == f"-Tsvg {picture.dot}\n"
    assert picture._repr_svg_() == f"-Tsvg {picture.dot}\n"
    fake_dot(tmp_path, monkeypatch, "import sys; sys.exit('Format: \"xyz\" not recognized')")
    with pytest.raises(RuntimeError, match=r'^render: graphviz failed: Format: "xyz" not recognized$'):
        picture.render(tmp_path / "graph.xyz")
    assert not (tmp_path / "graph.xyz").exists()


def test_rendering_without_graphviz(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    picture = graph(corgi.ones(1).tracked() * 2)
    with pytest.raises(FileNotFoundError, match=r"^render: expected graphviz's command dot on the PATH, got none; install"):
        picture.render(tmp_path / "graph.png")
    assert picture._repr_svg_() is None
    picture.render(str(tmp_path / "graph.gv"))
    assert (tmp_path / "graph.gv").read_text() == picture.dot
