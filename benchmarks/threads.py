"""Is any workload slower with two threads than with one? Alone, and where somebody else wants the cores as well.

    python benchmarks/threads.py
    python benchmarks/threads.py -w mlp_mnist cnn_cifar --rounds 201

Workloads are those of the comparison with other libraries (peers/). In each round one thread and two take their turn in the
same process. The figure is the median over rounds of the ratio of the two times, two threads over one, with its 95 %
confidence interval: below 1 two threads are faster; where the whole interval is above NOISE they *lose*. Three situations:

- alone;
- beside another process that keeps one core busy;
- beside a thread of the same process that multiplies NumPy matrices all the time, for which NumPy's BLAS uses its own
  threads.
"""

import argparse
import contextlib
import math
import pathlib
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

import corgi

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "peers"))
import adapter_corgi
from workloads import BY_NAME, WORKLOADS

BATCH_SECONDS = 0.002  # short: what other processes do is then the same for both of a round
NOISE = 1.03


@contextlib.contextmanager
def another_process():
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def numpy_products():
    stop = threading.Event()
    a = np.random.default_rng(0).standard_normal((600, 600))

    def multiply():
        while not stop.is_set():
            a @ a

    thread = threading.Thread(target=multiply)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


SITUATIONS = {"alone": contextlib.nullcontext, "another process": another_process, "NumPy products": numpy_products}


def seconds(call, number):
    begin = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - begin) / number


def ratios(call, reset, rounds):
    """Seconds with one thread, and for each round the time with two threads over that with one."""
    reset()
    call()
    number = max(1, min(2000, int(BATCH_SECONDS / seconds(call, 3))))
    times = {1: [], 2: []}
    for round_number in range(rounds):
        for threads in (1, 2) if round_number % 2 else (2, 1):
            corgi.set_num_threads(threads)
            reset()
            call()
            times[threads].append(seconds(call, number))
    return statistics.median(times[1]), [two / one for one, two in zip(times[1], times[2], strict=True)]


def median_interval(values):
    """(low, median, high): the order statistics between which the true median lies with a probability of 95 %."""
    values = sorted(values)
    k = max(0, math.floor(len(values) / 2 - 0.98 * math.sqrt(len(values))))
    return values[k], statistics.median(values), values[-1 - k]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [w.name for w in WORKLOADS if w.group == "main"]
    parser.add_argument("-w", "--workloads", nargs="+", default=names, choices=list(BY_NAME), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=51)
    options = parser.parse_args()
    print("| workload | one thread | " + " | ".join(SITUATIONS) + " | |")
    print("|---" * (len(SITUATIONS) + 3) + "|")
    for w in (BY_NAME[name] for name in options.workloads):
        for dtype in w.dtypes:
            case = adapter_corgi.build(w, dtype)
            for metric, call in case.metrics.items():
                cells, losing, alone = [], [], None
                for situation, competitor in SITUATIONS.items():
                    with competitor():
                        one, found = ratios(call, case.reset, options.rounds)
                    alone = alone or one
                    low, middle, high = median_interval(found)
                    cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
                    losing += [situation] * (low > NOISE)
                verdict = f"loses: {', '.join(losing)}" if losing else ""
                print(f"| {w.name} {metric}, {dtype} | {alone * 1e6:.4g} us | {' | '.join(cells)} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
