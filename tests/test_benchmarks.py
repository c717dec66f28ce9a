"""The benchmarks' own logic: right results are told from wrong ones, tables follow from stored runs, counts from profiles.

CI's step `instructions` proves the guard on instruction counts itself.  Below: benchmarks/.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parent.parent / "benchmarks"
QUICK = "chain_small,dynamic_scalar,mlp_tiny,mlp_digits,cnn_digits,add,matmul_small"


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(file, *arguments):
    """Run a script, which finds the modules beside it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run([sys.executable, file, *arguments], env=environment, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_corgi_and_numpy_reach_the_references(tmp_path):
    file = tmp_path / "peers.json"
    done = script(BENCHMARKS / "peers" / "run.py", "--check", "-a", "corgi,numpy", "-w", QUICK, "--json", file)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(file.read_text())["results"]
    assert set(results) == {f"{name}/float32" for name in QUICK.split(",")} | {"mlp_digits/float64"}
    assert all("corgi" in runs for runs in results.values())
    assert [key for key, runs in results.items() if "numpy" not in runs] == ["dynamic_scalar/float32"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_a_wrong_result_is_told(tmp_path):
    shutil.copytree(BENCHMARKS / "peers", tmp_path / "peers")
    file = tmp_path / "peers" / "references.json"
    references = json.loads(file.read_text())
    references["mlp_tiny"]["loss5"] *= 1.01
    file.write_text(json.dumps(references))
    done = script(tmp_path / "peers" / "run.py", "--check", "-a", "corgi", "-w", "mlp_tiny")
    assert done.returncode != 0 and "WRONG" in done.stdout and "differ from the references" in done.stderr


def test_tables_take_the_clean_runs(tmp_path):
    def run(seconds, foreign):
        times = {"median": seconds, "least": seconds / 2}
        return {"version": "1", "error": 0.0, "right": True, "peak_mb": 50.0, "foreign": foreign, "seconds": {"step": times}}

    corgi = [run(1e-5, 0.0), run(2e-5, 0.1), run(3e-5, 0.0), run(9.0, 1.0)]
    torch = [run(4e-4, 0.0), run(5e-4, 0.9), run(6e-4, 0.8)]  # too few clean ones: the three least disturbed count
    meta = {"threads": 2, "python": "3", "machine": "here", "date": "today", "foreign_allowed": 0.12}
    file = tmp_path / "peers.json"
    file.write_text(json.dumps({"meta": meta, "results": {"mlp_tiny/float32": {"corgi": corgi, "torch": torch}}}))
    report = BENCHMARKS / "peers" / "report.py"
    done = script(report, file)
    assert "| mlp_tiny | 20.0 us | 500 us (25.0 x) | 4/7 |" in done.stdout, done.stderr
    assert "| mlp_tiny | 50 MB | 50 MB |" in done.stdout
    assert "| mlp_tiny | 5.00 us | 200 us (40.0 x) | 4/7 |" in script(report, "--least", file).stdout


PROFILE = """\
ob=(1) /lib/libc.so.6
fn=(1) memcpy
12 100
cob=(2) /site-packages/corgi/_core.so
cfn=(2) add
calls=3 40
14 5000
ob=(2)
fn=(2)
40 4000
+1 700
* 30
cob=(1)
cfn=(1)
calls=1 12
+2 270
-3 20
"""


def test_counts_of_a_profile():
    """Costs of calls belong to the functions called, wherever these are listed."""
    assert load("instructions").by_object(PROFILE) == {"/lib/libc.so.6": 100, "/site-packages/corgi/_core.so": 4750}


def test_what_exceeds_a_limit():
    instructions = load("instructions")
    as_measured = {case: tuple(map(float, limit)) for case, limit in instructions.LIMITS.items()}
    assert list(instructions.exceeded(as_measured)) == []
    worse = {case: (1.2 * ours, everything) for case, (ours, everything) in as_measured.items()}
    complaints = list(instructions.exceeded(worse))
    assert len(complaints) == len(instructions.LIMITS)
    assert complaints[0].startswith("a + b: ") and "change LIMITS in benchmarks/instructions.py" in complaints[0]
