"""The examples of the documentation: docstrings of every public object, README.md and docs/*.md.

Docstrings and `>>>` lines in pages are doctests; other Python blocks of a page are run one after the other, as one script.
"""

import doctest
import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest

import corgi

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def modules():
    names = [info.name for info in pkgutil.walk_packages(corgi.__path__, "corgi.")]
    return [corgi, *[importlib.import_module(name) for name in names if not name.endswith("__main__")]]


def public_objects():
    """(name, object) of the modules, their functions and classes, and the classes' methods and properties."""
    found, seen = [], set()
    for module in modules():
        found.append((module.__name__, module))
        for name in getattr(module, "__all__", vars(module)):
            value = getattr(module, name)
            own = str(getattr(value, "__module__", "")).split(".")[0] == "corgi"
            if name[0] == "_" or not own or not callable(value) or id(value) in seen or not hasattr(value, "__name__"):
                continue
            seen.add(id(value))
            path = f"{value.__module__}.{name}"
            found.append((path, value))
            if inspect.isclass(value):
                members = [(f"{path}.{key}", member) for key, member in vars(value).items() if key[0] != "_"]
                found += [(key, member) for key, member in members if callable(member) or isinstance(member, property)]
    return found


def examples(name, value):
    return doctest.DocTestParser().get_doctest(inspect.getdoc(value) or "", {}, name, None, 0).examples


def run(test):
    output = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=output.append)
    assert runner.failures == 0, "".join(output)


@pytest.mark.parametrize("name, value", [pytest.param(n, v, id=n) for n, v in public_objects() if examples(n, v)])
def test_docstring(name, value):
    run(doctest.DocTestParser().get_doctest(inspect.getdoc(value), {}, name, name, 0))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page):
    text = page.read_text()
    run(doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0))
    scope = {"__name__": page.stem}
    for block in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S):
        if ">>>" not in block[1]:
            line = text[: block.start(1)].count("\n")
            exec(compile("\n" * line + block[1], page, "exec"), scope)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    """Links between pages lead somewhere."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name}: nothing at {target}"
