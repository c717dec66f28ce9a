"""The scripts in examples/: each runs on its own, quickly, without a warning, and computes what it says."""

import os
import pathlib
import re
import runpy
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))
LONG = ["cartpole", "conv_net", "gpt", "pinn", "time_series"]  # seconds: run once, by the tests of their results


def result_of(name):
    return runpy.run_path(str(FOLDER / name))["main"]()


def test_all_are_here():
    names = ["cartpole", "conv_net", "curve_fit", "custom_op", "digits", "dynamic_graph", "gpt", "newton", "pinn"]
    names += ["time_series"]
    assert [s.stem for s in SCRIPTS] == names


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.stem not in LONG], ids=lambda s: s.name)
def test_runs_as_a_script(script, tmp_path):
    output_of(script, tmp_path)


def output_of(script, tmp_path):
    command = [sys.executable, "-W", "error", str(script)]
    result = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert result.stdout
    return result.stdout


def test_cartpole():
    assert result_of("cartpole.py") >= 475


def test_pinn():
    assert result_of("pinn.py") < 1e-3


def test_digits():
    assert result_of("digits.py") >= 0.97
    assert len((FOLDER / "digits.py").read_text().splitlines()) <= 45


def test_conv_net(tmp_path):
    output = output_of(FOLDER / "conv_net.py", tmp_path)
    assert float(re.search(r"accuracy on held-out images: ([\d.]+)%", output)[1]) > 97.0


def test_dynamic_graph():
    assert result_of("dynamic_graph.py") == (232420.0, 97650.0)


def test_custom_op():
    assert result_of("custom_op.py") == pytest.approx([2 * 0.36787944117144233, 0.0, -0.7788007830714049])


def test_curve_fit():
    script = runpy.run_path(str(FOLDER / "curve_fit.py"))
    fit = script["main"]()
    assert fit.parameters.tolist() == pytest.approx(script["PARAMETERS"], rel=1e-6)
    assert fit.errors.tolist() == pytest.approx(script["ERRORS"], rel=1e-6)
    assert fit.sum_of_squares == pytest.approx(script["SUM_OF_SQUARES"], rel=1e-10)


def test_gpt():
    loss, entropy = result_of("gpt.py")
    assert loss < 1.9 and entropy > 3.0  # nats for each character of a text that it has not seen; frequencies alone


def test_newton():
    values, errors = result_of("newton.py")
    for value, error, true in zip(values, errors, (2.0, 0.3, 4.0), strict=True):
        assert abs(value - true) < 4 * error < 0.1


def test_time_series():
    assert result_of("time_series.py") > 10  # how much larger the naive forecast's error is
