"""What an op costs beside its arithmetic: corgi against NumPy and PyTorch, for arrays of 10 float32 elements.

Run as  python benchmarks/overhead.py  where corgi and NumPy, and for the second figure PyTorch, are installed.  All sides
run in turn in one process, so that what else the machine does meets them alike; the figures are medians.
Above: bench_overhead.py, which hands the ratios to asv.
"""

import statistics
import timeit

import numpy as np

import corgi

try:
    import torch
except ModuleNotFoundError:
    torch = None

ROUNDS, ELEMENTS, STEPS = 200, 10, 100


def medians(functions, number, rounds=ROUNDS):
    """Seconds for one call of each statement or function: the median over rounds in which each had its turn."""
    timers = [timeit.Timer(statement, globals=names) for statement, names in functions]
    seconds = [[] for _ in timers]
    for _ in range(rounds):
        for timer, times in zip(timers, seconds, strict=True):
            times.append(timer.timeit(number) / number)
    return [statistics.median(times) for times in seconds]


def values():
    """Three arrays of values around 1, so that a long chain of products stays finite."""
    return np.random.default_rng(0).uniform(0.9, 1.1, (3, ELEMENTS)).astype(np.float32)


def chain(a, b, c):
    """c = c * b + a, again and again."""
    for _ in range(STEPS):
        c = c * b + a
    return c


def addition(rounds=ROUNDS):
    """Seconds of `a + b`: corgi, NumPy."""
    a, b, _ = values()
    ours = {"a": corgi.array(a), "b": corgi.array(b)}
    return medians([("a + b", ours), ("a + b", {"a": a, "b": b})], number=2000, rounds=rounds)


def training(rounds=ROUNDS):
    """Seconds of the chain, forward and backward, for three tracked arrays: corgi, and PyTorch where it is installed."""
    leaves = [corgi.array(x).tracked() for x in values()]
    ones = corgi.ones(ELEMENTS, dtype="float32")
    sides = [("chain(*leaves).backward(ones)", {"chain": chain, "leaves": leaves, "ones": ones})]
    if torch:
        leaves = [torch.tensor(x, requires_grad=True) for x in values()]
        sides.append(("chain(*leaves).backward(ones)", {"chain": chain, "leaves": leaves, "ones": torch.ones(ELEMENTS)}))
    return medians(sides, number=10, rounds=rounds)


def report(what, ours, theirs, whose, goal):
    unit, factor = ("ns", 1e9) if ours < 1e-6 else ("us", 1e6)
    verdict = "reached" if ours <= theirs / goal else "missed"
    print(f"{what}: corgi {ours * factor:.0f} {unit}, {whose} {theirs * factor:.0f} {unit}", end=": ")
    print(f"1/{theirs / ours:.1f} of {whose}'s time (goal, at most 1/{goal}: {verdict})")


def main():
    print(f"corgi {corgi.__version__}, NumPy {np.__version__}" + (f", PyTorch {torch.__version__}" if torch else ""))
    report(f"a + b, {ELEMENTS} float32 elements", *addition(), "NumPy", 5)
    what = f"c * b + a {STEPS} times, tracked, forward and backward"
    times = training()
    if torch:
        report(what, *times, "PyTorch", 30)
    else:
        print(f"{what}: corgi {times[0] * 1e6:.0f} us; PyTorch is not installed")


if __name__ == "__main__":
    main()
