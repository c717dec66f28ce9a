"""How many instructions corgi's overhead is, counted by callgrind, and a guard that fails when it has grown.

    python benchmarks/instructions.py               # counts beside their limits; fails where one is exceeded
    python benchmarks/instructions.py --runs 5      # the same five times, and the spread

Times on a shared machine vary by tens of percent; five counts agreed to the instruction inside corgi, and to 0.1 % in all.
Each case is what users do, on arrays so small that arithmetic hardly counts. Two programs are counted that differ in the
number of repetitions alone, so that starting Python and importing cancel. Two figures for each case:

- *corgi*: instructions inside corgi's extension (with the BLAS that it calls). They depend on the compiler, not on
  Python.
- *all*: with the interpreter's and the C library's. The training step runs much Python code of corgi's, which only this
  figure sees; it depends on Python's version, so its limit holds for PYTHON alone.

The kernels are those of x86-64-v3, the highest level that valgrind knows. To change a limit on purpose, run this file,
put the new counts into LIMITS, and say in the commit why they grew. Do so, too, when they have shrunk, so that they stay
there.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PYTHON = (3, 11)
HEADROOM = 1.05  # a compiler's or a BLAS's next version may count a little more
LIMITS = {  # instructions without head-room: (corgi, all)
    "a + b": (273, 576),
    "tracked a + b": (478, 777),
    "an op of a chain, forward and backward": (1235, 1915),
    "training step of 2-16-2, batch 32": (33382, 50053),
}
FEW, MANY = 100, 600  # repetitions


# ---- the programs


def addition(repetitions):
    import corgi

    a, b = (corgi.array([0.5] * 10, "float32") for _ in "ab")
    for _ in range(repetitions):
        a + b


def tracked_addition(repetitions):
    import corgi

    a, b = (corgi.array([0.5] * 10, "float32").tracked() for _ in "ab")
    for _ in range(repetitions):
        a + b


def chain(repetitions):
    import corgi

    a, b = (corgi.array([0.5] * 10, "float32").tracked() for _ in "ab")
    c = a
    for _ in range(repetitions // 2):  # of two ops
        c = c * b + a
    c.backward()


def training_step(repetitions):
    import numpy as np

    import corgi
    from corgi import Model, activation, cost
    from corgi.layer import Dense
    from corgi.optimizer import GradientDescent

    corgi.seed(0)
    layers = [Dense(2, 16, None, activation.relu, dtype="float32"), Dense(16, 2, dtype="float32")]
    model = Model(layers, GradientDescent(0.01), cost.mse)
    generator = np.random.default_rng(0)
    x, y = (corgi.array(generator.normal(size=(32, 2)), "float32") for _ in "xy")
    for _ in range(repetitions):
        model.forward(x)
        model.backward(y)
        model.update()


PROGRAMS = dict(zip(LIMITS, (addition, tracked_addition, chain, training_step), strict=True))


# ---- counting


def count(case, repetitions):
    """Instructions of a program inside corgi and its BLAS, and in all."""
    settings = {"CORGI_CPU": "v3", "CORGI_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={file}", sys.executable, __file__]
        command += ["--program", case, "--repetitions", str(repetitions)]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
        objects = by_object(file.read_text())
    ours = sum(n for name, n in objects.items() if "/corgi/_core." in name or "scipy_openblas32" in name)
    return ours, sum(objects.values())


def by_object(profile):
    """Instructions inside each object file, from callgrind's output.

    Lines of costs are "position instructions"; the one after a line "calls=" belongs to the function called. Names are given
    once, "ob=(1) file", and then as "ob=(1)".
    """
    names, totals, current, called = {}, {}, None, False
    for line in profile.splitlines():
        if found := re.match(r"c?ob=(\(\d+\))(?: (.*))?", line):
            number, name = found.groups()
            names.setdefault(number, name)
            if line.startswith("ob="):
                current = number
        elif line.startswith("calls="):
            called = True
        elif re.match(r"[+*\d-]", line):
            if not called:
                totals[current] = totals.get(current, 0) + int(line.split()[1])
            called = False
    return {names.get(number) or "": total for number, total in totals.items()}


def measure(cases, many=MANY):
    """{case: (corgi, all)} for one repetition."""
    work = [(case, n) for case in cases for n in (FEW, many)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(lambda job: count(*job), work))
    pairs = zip(counts[::2], counts[1::2], strict=True)
    return {
        case: tuple((many - few) / (MANY - FEW) for few, many in zip(*pair, strict=True))
        for case, pair in zip(cases, pairs, strict=True)
    }


def exceeded(counts):
    """A sentence for each count above its limit."""
    for case, found in counts.items():
        for what, n, limit in zip(("corgi", "all"), found, LIMITS[case], strict=True):
            allowed = HEADROOM * limit
            if n > allowed and (what == "corgi" or sys.version_info[:2] == PYTHON):
                yield (
                    f"{case}: {n:.0f} instructions ({what}), more than {limit} and {HEADROOM - 1:.0%} of head-room; "
                    f"make it cheaper, or change LIMITS in benchmarks/{pathlib.Path(__file__).name} and say why"
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--cases", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument("--waste", action="store_true", help="do a fifth more than is reported: the guard has to notice")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.add_argument("--repetitions", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.program:
        PROGRAMS[options.program](options.repetitions)
        return
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed (Debian: apt install valgrind)")
    many = MANY + (MANY - FEW) // 5 if options.waste else MANY
    runs = [measure(options.cases, many) for _ in range(options.runs)]
    print("| instructions for one | corgi | limit | all | limit |", "|---|---|---|---|---|", sep="\n")
    for case in options.cases:
        cells = []
        for i, limit in enumerate(LIMITS[case]):
            found = [run[case][i] for run in runs]
            spread = f" (+-{(max(found) - min(found)) / 2:.1f})" if len(runs) > 1 else ""
            cells += [f"{sum(found) / len(found):.1f}{spread}", f"{HEADROOM * limit:.0f}"]
        print(f"| {case} | {' | '.join(cells)} |")
    complaints = [text for run in runs for text in exceeded(run)]
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main()
