"""Nothing public is missing its documentation, its stub, its oracle or its benchmark.

Above: nobody; a failure here names what to add and where.  Below: tests/ops.py, benchmarks/bench_ops.py, corgi/_core.pyi.
"""

import ast
import importlib.util
import inspect
import pathlib
import sys

import pytest

import corgi

from .ops import OPS
from .test_docs import examples, modules, public_objects

ROOT = pathlib.Path(__file__).parent.parent
CREATION = {"array", "arr", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "eye", "arange", "linspace"}
DIFFERENTIATION = {"grad", "value_and_grad", "vjp", "jvp", "jacobian", "hessian", "hvp", "check_gradient", "op"}
FITTING = {"curve_fit", "least_squares", "minimize"}
SETTINGS = {"set_default_dtype", "get_default_dtype", "default_dtype", "set_num_threads", "get_num_threads", "num_threads"}
NOT_OPS = (
    CREATION | DIFFERENTIATION | FITTING | SETTINGS | {"assign", "seed", "blas_backend", "show_config", "pointwise_table"}
)


def is_function(value):
    return inspect.isroutine(value) or type(value).__name__ == "cython_function_or_method"


EXPORTS = [getattr(module, name) for module in modules() for name in getattr(module, "__all__", ())]
EXPORTS += [getattr(corgi, row["name"]) for row in corgi.pointwise_table()]
EXPORTED = {id(value) for value in EXPORTS if inspect.isclass(value) or is_function(value)}
PUBLIC_OPS = sorted(
    name for name in dir(corgi) if name[0] != "_" and name not in NOT_OPS and is_function(getattr(corgi, name))
)


def test_all_is_complete():
    public = {name for name in dir(corgi) if name[0] != "_" and not inspect.ismodule(getattr(corgi, name))}
    pointwise = {row["name"] for row in corgi.pointwise_table()}
    assert public - pointwise - set(corgi.__all__) == set()
    assert [name for name in corgi.__all__ if not hasattr(corgi, name)] == []
    assert pointwise <= public


@pytest.mark.parametrize("name", PUBLIC_OPS)
def test_oracle(name):
    assert any(op.name == name for op in OPS), f"add an entry for {name} to tests/ops.py"


@pytest.mark.parametrize("row", corgi.pointwise_table(), ids=lambda row: row["name"])
def test_row(row):
    """Each row of the table says what docs, tests and gradients need."""
    assert row["sentence"].endswith(".")
    if row["kind"] in ("unary", "binary", "ternary"):
        assert row["domain"]
        assert len(row["gradients"]) == row["n_inputs"]
        document = getattr(corgi, row["name"]).__doc__
        assert all(f"``{text}``" in document for text in (row["formula"], *row["gradients"]))


@pytest.fixture(scope="module")
def stubs():
    tree = ast.parse((pathlib.Path(corgi.__file__).parent / "_core.pyi").read_text())
    return {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))} | {
        node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)
    }


def test_stubs(stubs):
    """mypy's stubtest compares the signatures; this needs no mypy."""
    here = {name for name in dir(corgi) if name[0] != "_" and getattr(corgi, name) is getattr(corgi._core, name, corgi)}
    assert {
        name for name in here if is_function(getattr(corgi, name)) or inspect.isclass(getattr(corgi, name))
    } - stubs == set()


@pytest.fixture(scope="module")
def benchmarks():
    file = ROOT / "benchmarks" / "bench_ops.py"
    spec = importlib.util.spec_from_file_location("bench_ops", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        yield set(module.OPS)
    finally:
        del sys.modules[spec.name]


@pytest.mark.parametrize("name", PUBLIC_OPS)
def test_benchmark(name, benchmarks):
    function = getattr(corgi, name)
    assert any(getattr(corgi, known, None) is function for known in benchmarks), (
        f"add {name} to OPS in benchmarks/bench_ops.py"
    )


@pytest.mark.parametrize("name, value", public_objects(), ids=lambda x: x if isinstance(x, str) else "")
def test_documented(name, value):
    """A docstring that starts with a sentence; what a module exports has an example as well."""
    first = (value.__doc__ or "").strip().split("\n\n")[0]
    assert first.endswith((".", ":")), f"{name} lacks a first sentence: {first!r}"
    if id(value) in EXPORTED:
        assert examples(name, value), f"{name} lacks an example"
