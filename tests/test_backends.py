"""Which BLAS is really in use: what corgi says of itself, against the libraries that the process has loaded.

CI sets CORGI_EXPECT_BLAS for each build: openblas, netlib, none, or fallback (built for OpenBLAS, without the extra).
"""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import corgi
from corgi.config import config

EXPECTED = os.environ.get("CORGI_EXPECT_BLAS")


def loaded_libraries():
    """Files of the BLAS libraries mapped into this process, without those of NumPy and SciPy."""
    maps = pathlib.Path("/proc/self/maps").read_text()
    files = {fields[5] for fields in (line.split(maxsplit=5) for line in maps.splitlines()) if len(fields) == 6}
    files = {file for file in files if re.match("lib.*blas", pathlib.Path(file).name)}
    return {file for file in files if not any(folder in file for folder in ("numpy.libs", "scipy.libs"))}


@pytest.fixture
def report(capsys):
    """The lines of show_config."""
    corgi.show_config()
    return capsys.readouterr().out


needs_maps = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")


def test_the_expected_backend_is_in_use():
    c = config()
    if EXPECTED is None:
        pytest.skip("CORGI_EXPECT_BLAS is not set")
    assert EXPECTED in ("openblas", "netlib", "none", "fallback")
    assert c["blas"] == corgi.blas_backend() == ("none" if EXPECTED == "fallback" else EXPECTED)
    assert c["blas_built"] == ("openblas" if EXPECTED == "fallback" else EXPECTED)


@needs_maps
@pytest.mark.skipif(corgi.blas_backend() != "openblas", reason="OpenBLAS is not in use")
def test_openblas_is_the_wheels_library(report):
    import scipy_openblas32

    c = config()
    library = pathlib.Path(c["blas_library"]).resolve()
    assert library.is_relative_to(pathlib.Path(scipy_openblas32.__file__).resolve().parent)
    assert loaded_libraries() == {str(library)}
    assert c["blas_config"].startswith("OpenBLAS") and c["blas_note"] == ""
    assert f"openblas ({c['blas_library']} OpenBLAS" in report and "not in use" not in report
    assert c["blas_products"] == ("narrow" if c["instruction_set"] == "v4" else "all")
    assert ("fewer than four" in report) == (c["blas_products"] == "narrow")


@needs_maps
@pytest.mark.skipif(corgi.blas_backend() != "netlib", reason="the reference BLAS is not in use")
def test_netlib_is_the_reference_library(report):
    c = config()
    library = pathlib.Path(c["blas_library"]).resolve()
    assert library.name.startswith("libblas.so.3") and "openblas" not in str(library).lower()
    assert loaded_libraries() == {str(library)}
    assert b"openblas" not in library.read_bytes().lower()
    assert f"netlib ({c['blas_library']}" in report and c["blas_products"] == "all"


@needs_maps
@pytest.mark.skipif(corgi.blas_backend() != "none", reason="a BLAS library is in use")
def test_without_a_library_none_is_loaded(report):
    c = config()
    assert (c["blas_library"], c["blas_config"], c["blas_products"]) == ("", "", "none")
    assert loaded_libraries() == set()
    assert "none (built-in kernels)" in report
    if c["blas_built"] == "openblas":
        assert "scipy-openblas32 is not installed (pip install corgi[openblas])" in report
        assert "built for openblas, not in use" in report


# Narrow results; then more than a block of any length; then packed ones: one block of rows, and two with ragged ends.
SHAPES = [(1, 1, 1), (3, 5, 7), (70, 10, 300), (9, 1, 40), (64, 48, 33), (257, 130, 301)]
SHAPES += [(70, 1100, 300), (100, 300, 1100), (530, 100, 270)]
SHAPES += [(197, 1110, 500), (389, 530, 620), (401, 1090, 300)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
@pytest.mark.parametrize("m, n, k", SHAPES)
def test_products_agree_with_numpy(m, n, k, transposed, dtype):
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(m, k)), generator.normal(size=(k, n))
    left = corgi.array(a.T, dtype=dtype).T if "a" in transposed else corgi.array(a, dtype=dtype)
    right = corgi.array(b.T, dtype=dtype).T if "b" in transposed else corgi.array(b, dtype=dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose((left @ right).numpy(), a @ b, rtol=tolerance, atol=tolerance * k)


BUILT_IN = corgi.blas_backend() == "none" or (corgi.blas_backend() == "openblas" and config()["instruction_set"] == "v4")


@pytest.mark.skipif(not BUILT_IN, reason="large products are the library's")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_elements_do_not_depend_on_the_rest_of_a_built_in_product(transposed, dtype):
    """So that it can be split over any number of threads."""
    generator = np.random.default_rng(0)
    a, b = corgi.array(generator.normal(size=(401, 520)), dtype), corgi.array(generator.normal(size=(520, 1090)), dtype)
    a = corgi.array(a.numpy().T).T if "a" in transposed else a
    b = corgi.array(b.numpy().T).T if "b" in transposed else b
    product = (a @ b).numpy()
    for rows in (slice(0, 5), slice(100, 190), slice(7, 300)):
        np.testing.assert_array_equal((a[rows] @ b).numpy(), product[rows])
        np.testing.assert_array_equal((a @ b[:, rows]).numpy(), product[:, rows])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(
    "a, b", [((70, 40, 30), (70, 30, 50)), ((5, 1, 90, 80), (6, 80, 70)), ((3, 0, 4), (3, 4, 2)), ((9, 4, 0), (0, 5))]
)
def test_batches_agree_with_numpy_for_any_number_of_threads(a, b, dtype):
    generator = np.random.default_rng(0)
    x, y = (generator.uniform(-9, 9, shape).astype(dtype) for shape in (a, b))
    with corgi.num_threads(1):
        product = (corgi.array(x) @ corgi.array(y)).numpy()
    np.testing.assert_allclose(product, x @ y, rtol=1e-4 if dtype == "float32" else 1e-11, atol=1e-3)
    with corgi.num_threads(2):
        np.testing.assert_array_equal((corgi.array(x) @ corgi.array(y)).numpy(), product)


@pytest.mark.parametrize("level", config()["instruction_sets"])
def test_products_at_every_instruction_set_level(level, tmp_path):
    """The built-in product in a process of its own for each level."""
    program = (
        "import sys, numpy as np, corgi\n"
        "assert corgi.config.config()['instruction_set'] == sys.argv[1]\n"
        "for m, n, k in ((90, 90, 90), (70, 1100, 300), (66, 10, 65), (389, 530, 620)):\n"
        "    a, b = np.random.default_rng(1).normal(size=(m, k)), np.random.default_rng(2).normal(size=(k, n))\n"
        "    for dtype, tolerance in (('float32', 1e-3), ('float64', 1e-12)):\n"
        "        product = corgi.array(a, dtype=dtype) @ corgi.array(b, dtype=dtype)\n"
        "        np.testing.assert_allclose(product.numpy(), a @ b, rtol=tolerance, atol=tolerance)\n"
        "    whole = corgi.array((9 * a).astype(int)) @ corgi.array((9 * b).astype(int))\n"
        "    assert (whole.numpy() == (9 * a).astype(int) @ (9 * b).astype(int)).all()\n"
    )
    environment = {**os.environ, "CORGI_CPU": level}
    subprocess.run([sys.executable, "-c", program, level], check=True, cwd=tmp_path, env=environment)
