"""The package as a whole: its version, its files, its public names, what importing it costs, and its generated stubs."""

import importlib.metadata
import inspect
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import corgi

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = pathlib.Path(corgi.__file__).parent
try:
    INSTALLED = importlib.metadata.version("corgi")
except importlib.metadata.PackageNotFoundError:
    INSTALLED = None


def python(program, folder, **environment):
    """Standard output of a fresh interpreter, started away from the source folder."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_version():
    (declared,) = re.findall(r"^  version: '(.*)',$", (ROOT / "meson.build").read_text(), re.MULTILINE)
    assert corgi.__version__ == declared
    assert f"## {declared}" in (ROOT / "CHANGELOG.md").read_text().replace("[", "").replace("]", "")


@pytest.mark.skipif(INSTALLED is None, reason="corgi is not installed")
def test_the_installed_version():
    assert corgi.__version__ == INSTALLED


def test_every_file_of_the_package_is_installed():
    listed = re.findall(r"^    '(.*)',$", (ROOT / "corgi" / "meson.build").read_text(), re.MULTILINE)
    folder = ROOT / "corgi"
    present = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.suffix in (".py", ".pyi", ".typed")]
    assert sorted(listed) == sorted(present)


def test_public_names():
    assert len(set(corgi.__all__)) == len(corgi.__all__)
    named = {name for name, value in vars(corgi).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert named == {name for name in corgi.__all__ if not inspect.ismodule(getattr(corgi, name))}


def test_import_needs_numpy_alone(tmp_path):
    program = (
        "import sys, numpy; before = set(sys.modules); import corgi\n"
        "added = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(*[name for name in added if 'cython' not in name])"  # Cython's modules are parts of the extension
    )
    assert python(program, tmp_path).split() == ["corgi"]


def test_modules_that_are_imported_at_the_first_use(tmp_path):
    program = (
        "import sys, corgi\n"
        "names = ['callback', 'checkpoint', 'data', 'metric', 'training']\n"
        "print(*[name for name in names if f'corgi.{name}' in sys.modules])\n"
        "print(corgi.data.Loader.__name__, corgi.metric.F1.__name__, corgi.callback.Log.__name__)\n"
        "print(hasattr(corgi, 'nothing'))"
    )
    assert python(program, tmp_path).splitlines() == ["", "Loader F1 Log", "False"]


def test_small_when_installed():
    """Without NumPy and OpenBLAS; a build with other flags, such as the sanitizers', is another matter."""
    extension = pathlib.Path(corgi._core.__file__)  # elsewhere than the package where that is installed in editable form
    if b"__asan_init" in extension.read_bytes():
        pytest.skip("built with a sanitizer")
    files = {extension} | {file for file in PACKAGE.rglob("*") if file.suffix in (".py", ".pyi", ".typed")}
    assert 1e6 < sum(file.stat().st_size for file in files) < 5e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/task")
def test_no_thread_is_started_at_import(tmp_path):
    count = "len(os.listdir('/proc/self/task'))"
    assert int(python(f"import os, numpy; before = {count}; import corgi; print({count} - before)", tmp_path)) == 0


def test_the_source_folder_says_what_to_do(tmp_path):
    """Without the extension, importing the source folder names the ways out."""
    (tmp_path / "corgi").mkdir()
    shutil.copy(ROOT / "corgi" / "__init__.py", tmp_path / "corgi")
    (tmp_path / "meson.build").touch()
    program = "try:\n    import corgi\nexcept ImportError as error:\n    print(error)"
    message = python(program, tmp_path, PYTHONSAFEPATH="")
    assert "source folder" in message and "pip install --no-build-isolation -e" in message and "pytest" in message


def test_generated_stubs_are_up_to_date(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "src" / "make_stubs.py"), "--check"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_stub_is_installed_beside_the_extension():
    assert (PACKAGE / "_core.pyi").is_file() and (PACKAGE / "py.typed").is_file()
