"""Write what type checkers read of the pointwise ops, from the table in kernels/pointwise.h.

Run after a row was added and the extension rebuilt:  python src/make_stubs.py [--check]

Two marked regions are rewritten: the signatures in corgi/_core.pyi, and the names that corgi/__init__.py takes from the
extension.  --check writes nothing and fails where they are out of date.  Below: the table, as the built extension has it.
"""

import argparse
import importlib.util
import pathlib
import sys
import textwrap
import types

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "corgi"
BEGIN, END = "# ---- pointwise ops (written by src/make_stubs.py)", "# ---- end of pointwise ops"
PARAMETERS = {
    1: "x: _ArrayLike",
    2: "x0: _ArrayLike, x1: _ArrayLike",
    3: "x0: _ArrayLike, x1: _ArrayLike, x2: _ArrayLike",
}
OPTIONAL_BOUNDS = "x0: _ArrayLike, x1: _ArrayLike | None = None, x2: _ArrayLike | None = None"


def pointwise_table():
    """The extension's table, also where corgi/__init__.py does not import because its region is out of date."""
    package = types.ModuleType("corgi")
    package.__path__ = importlib.util.find_spec("corgi").submodule_search_locations
    sys.modules["corgi"] = package
    return importlib.import_module("corgi._core").pointwise_table()


def signatures(table):
    """A line of stub for each row."""
    lines = []
    for row in table:
        parameters = OPTIONAL_BOUNDS if row["name"] == "clip" else PARAMETERS[row["n_inputs"]]
        lines.append(f"def {row['name']}({parameters}, /) -> Array: ...\n")
    return "".join(lines) + "\n"


def imports(table):
    """The import of every row by name, and its place among the public names."""
    names = sorted(row["name"] for row in table)

    def wrapped(words):
        return textwrap.fill(", ".join(words) + ",", 125, initial_indent="    ", subsequent_indent="    ")

    quoted = wrapped([f'"{name}"' for name in names])
    return (
        "# fmt: off\n# isort: off\n"
        f"from corgi._core import (\n{wrapped(names)}\n)\n\n__all__ += [  # noqa: RUF022\n{quoted}\n]\n"
        "# isort: on\n# fmt: on\n"
    )


def replaced(path, region):
    """The file's text with another marked region."""
    text = path.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"make_stubs: expected one region from {BEGIN!r} to {END!r} in {path}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{region}{END}{rest.split(END)[1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail where a region is out of date, and write nothing")
    check = parser.parse_args().check
    table = pointwise_table()
    stale = []
    for path, region in ((PACKAGE / "_core.pyi", signatures(table)), (PACKAGE / "__init__.py", imports(table))):
        text = replaced(path, region)
        if text != path.read_text():
            stale.append(f"corgi/{path.name}")
            if not check:
                path.write_text(text)
    if check and stale:
        print(f"make_stubs: out of date: {', '.join(stale)}; run python src/make_stubs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
