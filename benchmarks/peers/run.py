"""Time corgi and its peers on the same workloads, in turn, in fresh processes, each proven right first.

    python benchmarks/peers/run.py --json peers.json                          # everything but the picture's
    python benchmarks/peers/run.py -a corgi,torch -w mlp_tiny,cnn_digits --rounds 3
    python benchmarks/peers/run.py -g sizes --json sizes.json                 # what the picture needs
    python benchmarks/peers/run.py --check                                    # are the results right? no timing

Every figure comes from a process of its own. In each round the adapters run one after the other, so that slow drifts of the
machine meet all alike. A process first proves its results against references.json, and then times each metric in batches of
about 0.02 s; its figure is the median of the batches, and the tables (report.py) show the median over rounds. Each run waits
for a quiet moment and notes how much of the CPU other processes used meanwhile. A run in which that was too much is not
*clean*; it is repeated, up to twice, and left out where at least three others are clean.
Below: the adapters (case.py), workloads.py, report.py.
"""

import argparse
import contextlib
import fcntl
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import report
from workloads import BY_NAME, WORKLOADS, references

ADAPTERS = {  # and the modules that they need
    "corgi": "corgi",
    "torch": "torch",
    "torch_lean": "torch",
    "jax": "jax",
    "numpy": "numpy",
    "autograd": "autograd",
    "micrograd": "micrograd",
}
EXTRA_ROUNDS = 2  # for those that were disturbed
WARM_UP = 0.1  # of the budget
BATCH_SECONDS = 0.02
MOST_BATCHES = 50
MOST_STEPS = 2000  # from the initial parameters: a network that is trained on and on computes with other numbers
MOST_CALLS = 100_000
QUIET_SECONDS = 5.0  # to wait for a quiet moment, at most
THREAD_VARIABLES = ("OMP", "MKL", "OPENBLAS", "BLIS", "NUMEXPR", "VECLIB", "CORGI")
DIGITS = 1e-8  # of float64 results, relative


# ---- a process that runs one adapter


def child(adapter, name, dtype, threads, budget):
    """Print one run's findings as JSON; None where the library has no such workload."""
    module, w = importlib.import_module(f"adapter_{adapter}"), BY_NAME[name]
    module.set_threads(threads)
    try:
        case = module.build(w, dtype)
    except NotImplementedError:
        print("RESULT null")
        return
    values, expected = case.check(), references()[name]
    error = max(abs(values[key] - expected[key]) / abs(expected[key]) for key in values)
    most = MOST_CALLS if w.kind == "ops" else MOST_STEPS
    result = {
        "version": version(ADAPTERS[adapter]),
        "error": error,
        "right": bool(error <= (w.tolerance if dtype == "float32" else DIGITS)),
        "seconds": {metric: measure(call, case, budget, most) for metric, call in case.metrics.items()},
        "peak_mb": peak_memory(),
    }
    print("RESULT " + json.dumps(result))


def version(name):
    """Of a module, or of its distribution where the module does not tell."""
    return getattr(sys.modules[name], "__version__", None) or importlib.metadata.version(name)


def measure(call, case, budget, most):
    """Seconds for one call: median and least over batches."""
    clock = time.perf_counter
    case.reset()
    call()
    case.sync()
    count, begin = 0, clock()
    while count < 2 or (clock() - begin < WARM_UP * budget and count < most):
        call()
        count += 1
    case.sync()
    estimate = (clock() - begin) / count
    number = max(1, min(most, int(BATCH_SECONDS / estimate)))
    seconds = []
    for _ in range(max(3, min(MOST_BATCHES, int(budget / (number * estimate))))):
        case.reset()
        if number > 5:  # the first calls after a reset are slower
            call()
            call()
        case.sync()
        begin = clock()
        for _ in range(number):
            call()
        case.sync()
        seconds.append((clock() - begin) / number)
    return {"median": statistics.median(seconds), "least": min(seconds)}


def peak_memory():
    """Most resident memory of this process so far, in MB. Not ru_maxrss, which starts with the parent's."""
    with contextlib.suppress(FileNotFoundError), open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


# ---- the process that starts them


def environment(threads):
    variables = {f"{name}_NUM_THREADS": str(threads) for name in THREAD_VARIABLES} | {"NPROC": str(threads)}
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return {**os.environ, **variables, "JAX_PLATFORMS": "cpu"}


def cpu_seconds():
    """Seconds that all CPUs were busy since the machine started."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wait_for_quiet(threads):
    allowed = max(0.15, 0.85 * (os.cpu_count() - threads))
    end = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < end:
        before = cpu_seconds()
        time.sleep(0.4)
        if (cpu_seconds() - before) / 0.4 <= allowed:
            return


def run(adapter, name, dtype, options):
    """Findings of one run in a process of its own, and how many CPUs others used meanwhile; None without such a workload."""
    command = [sys.executable, __file__, "--child", adapter, name, dtype]
    command += ["--threads", str(options.threads), "--budget", str(options.budget)]
    if not options.check:
        wait_for_quiet(options.threads)
    busy, own, begin = cpu_seconds(), cpu_seconds_of_children(), time.monotonic()
    done = subprocess.run(command, env=environment(options.threads), capture_output=True, text=True, timeout=options.timeout)
    seconds = time.monotonic() - begin
    foreign = max(0.0, cpu_seconds() - busy - (cpu_seconds_of_children() - own)) / seconds
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            found = json.loads(line.removeprefix("RESULT "))
            return found and {**found, "foreign": round(foreign, 3)}
    raise RuntimeError(f"{adapter} failed on {name} in {dtype}:\n{done.stderr}")


@contextlib.contextmanager
def turn(options):
    """Two comparisons at a time would spoil both: they take turns."""
    if options.check:
        yield
        return
    with open(options.lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def rounds(w, dtype, options, allowed):
    """For each adapter that has the workload, its runs."""
    runs = {adapter: [] for adapter in options.adapters}
    for number in range(1 if options.check else options.rounds + EXTRA_ROUNDS):
        with turn(options):
            for adapter in list(runs):
                clean = sum(found["foreign"] <= allowed for found in runs[adapter])
                if number >= options.rounds and clean >= min(3, options.rounds):
                    continue
                found = run(adapter, w.name, dtype, options)
                if found is None:
                    del runs[adapter]
                else:
                    runs[adapter].append(found)
    return runs


def arguments():
    def names(text):
        return text.split(",")

    installed = [adapter for adapter, module in ADAPTERS.items() if importlib.util.find_spec(module)]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-a", "--adapters", type=names, default=installed, help=f"by default {','.join(installed)}")
    parser.add_argument("-w", "--workloads", type=names, help=f"of {','.join(BY_NAME)}")
    parser.add_argument("-g", "--group", choices=["main", "sizes"], default="main", help="where no workloads are named")
    parser.add_argument("-d", "--dtypes", type=names, default=["float32", "float64"])
    parser.add_argument("-t", "--threads", type=int, default=min(2, os.cpu_count()))
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=0.8, help="seconds of timing for each metric in a run")
    parser.add_argument("--timeout", type=float, default=300, help="seconds for a run")
    parser.add_argument("--json", type=pathlib.Path, help="file for the results, written after each workload")
    parser.add_argument("--check", action="store_true", help="see whether the results are right, and time next to nothing")
    parser.add_argument("--lock", default=os.path.join(tempfile.gettempdir(), "bench.lock"), help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if missing := [name for name in options.adapters if name not in installed]:
        parser.error(f"{', '.join(missing)}: not installed, or not one of {', '.join(ADAPTERS)}")
    if unknown := [name for name in options.workloads or () if name not in BY_NAME]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(BY_NAME)}")
    if options.check:
        options.budget = 0.01
    return options


def main():
    options = arguments()
    if options.child:
        child(*options.child, options.threads, options.budget)
        return
    allowed = max(0.12, 0.85 * (os.cpu_count() - options.threads))  # of CPUs that others use in a clean run
    meta = {
        "threads": options.threads,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "date": time.strftime("%F"),
        "foreign_allowed": allowed,
    }
    results = {}
    for w in WORKLOADS:
        if w.name not in options.workloads if options.workloads else w.group != options.group:
            continue
        for dtype in (d for d in w.dtypes if d in options.dtypes):
            results[f"{w.name}/{dtype}"] = rounds(w, dtype, options, allowed)
            comparison = {"meta": meta, "results": results}
            if options.json:
                options.json.write_text(json.dumps(comparison, indent=1) + "\n")
            print(f"{w.name}, {dtype}", *report.lines(comparison, f"{w.name}/{dtype}"), sep="\n", flush=True)
    print(*report.tables(comparison), sep="\n")
    if not all(found["right"] for runs in results.values() for each in runs.values() for found in each):
        sys.exit("results differ from the references")


if __name__ == "__main__":
    main()
