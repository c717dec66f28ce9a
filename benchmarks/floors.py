"""How fast could it be on this machine, and how far from that is corgi?

    python benchmarks/floors.py

measures three floors, and prints corgi's times beside them:

- a call: what Python takes for `x + y` of two numbers of a C type that makes a new object (complex), the least that an
  operator of an extension costs;
- bytes / bandwidth: a copy (NumPy's copyto; for a sum a search, C's memchr) that moves as many bytes in all, so that it
  uses the same level of the CPU's caches; above PARALLEL bytes with as many threads as corgi uses;
- flops / peak: the highest rate at which any product of matrices ran, in NumPy or in corgi.

A training step's floor is three calls, its products, and the traffic of its optimizer. Times are the least of many short
rounds, some of which no other process disturbs. Below: peers/, for the training steps.
"""

import argparse
import concurrent.futures
import ctypes
import functools
import operator
import pathlib
import sys
import timeit
from functools import partial

import numpy as np

import corgi

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "peers"))
import adapter_corgi
from report import duration
from workloads import WORKLOADS

PARALLEL = 16_000_000
ROUND_SECONDS = 0.002  # short, and many of them: some are not interrupted
ROUNDS = 100
TRAFFIC = {"sgd": 3, "momentum": 5, "adam": 7}  # arrays of a parameter's size that an optimizer's step reads and writes
DTYPES = ("float32", "float64")
memchr = ctypes.CDLL(None).memchr
memchr.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t


def least(*calls, rounds=ROUNDS):
    """Least seconds of each call, over rounds in which all take their turn."""
    timers = [timeit.Timer("call()", globals={"call": call}) for call in calls]
    numbers = [max(1, int(ROUND_SECONDS / max(1e-8, min(timer.repeat(3, 1))))) for timer in timers]
    turns = [[timer.timeit(n) / n for timer, n in zip(timers, numbers, strict=True)] for _ in range(rounds)]
    return [min(times) for times in zip(*turns, strict=True)]


# ---- floors


@functools.cache
def call_seconds():
    """Of an operator that makes a new object, in a loop whose own cost is taken off."""
    names = {"x": 1.5 + 2j, "y": 2.5 + 1j}
    both, alone = (timeit.Timer(statement, globals=names) for statement in ("x + y; x + y", "x + y"))
    number = 20_000
    return min(both.repeat(ROUNDS, number)) / number - min(alone.repeat(ROUNDS, number)) / number


def split(function, size):
    """A call of function(part) for the whole of `size` bytes, or for parts in as many threads as corgi uses."""
    threads = corgi.get_num_threads() if size >= PARALLEL else 1
    parts = [slice(size * i // threads, size * (i + 1) // threads) for i in range(threads)]
    if threads == 1:
        return partial(function, *parts)
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    return lambda: list(pool.map(function, parts))


def copying(size):
    """A function that moves `size` bytes in all: half of them read, half written."""
    source, target = np.ones(size // 2, np.uint8), np.empty(size // 2, np.uint8)
    return split(lambda part: np.copyto(target[part], source[part]), size // 2)


def reading(size):
    """A function that reads `size` bytes, in search of one that is not there."""
    source = np.ones(size, np.uint8)
    return split(lambda part: memchr(source.ctypes.data + part.start, 0, part.stop - part.start), size)


@functools.cache
def moving_seconds(size, written=True):
    """Without what the call costs."""
    move = copying if written else reading
    seconds, calling = least(move(size), move(2))
    return max(0.0, seconds - calling)


@functools.cache
def flop_rate(dtype):
    """The most flops in a second that a product reached."""
    best = 0.0
    for n in (256, 512, 1024, 2048):
        a, b = np.random.default_rng(0).standard_normal((2, n, n)).astype(dtype)
        calls = partial(operator.matmul, a, b), partial(operator.matmul, corgi.array(a), corgi.array(b))
        best = max(best, 2 * n**3 / min(least(*calls, rounds=10)))
    return best


# ---- corgi beside them


def rows(sizes):
    """(what, corgi's seconds, floor, what bounds it)"""
    generator = np.random.default_rng(0)
    for name, function, arrays in (("add", operator.add, 2), ("exp", corgi.exp, 1), ("sum", corgi.sum, 1)):
        for dtype in DTYPES:
            for n in sizes:
                inputs = [corgi.array(generator.uniform(0.1, 0.9, n), dtype) for _ in range(arrays)]
                written = name != "sum"
                moving = moving_seconds((arrays + written) * inputs[0].nbytes, written)
                (ours,) = least(partial(function, *inputs))
                yield f"{name}, {n:,}, {dtype}", ours, call_seconds() + moving, "call + bytes"
    for dtype in DTYPES:
        for n in (16, 64, 256, 1024):
            inputs = [corgi.array(generator.standard_normal((n, n)), dtype) for _ in "ab"]
            (ours,) = least(partial(operator.matmul, *inputs))
            yield f"matmul, {n} x {n}, {dtype}", ours, call_seconds() + 2 * n**3 / flop_rate(dtype), "call + flops"


def steps():
    """The same for the training steps of the comparison with other libraries."""
    for w in (w for w in WORKLOADS if w.kind != "ops" and w.group == "main"):
        for dtype in w.dtypes:
            case = adapter_corgi.build(w, dtype)
            case.reset()
            (ours,) = least(case.metrics["step"], rounds=30)
            size = sum(p.nbytes for p in w.arrays(dtype)[0])
            floor = 3 * call_seconds() + w.flops / flop_rate(dtype) + moving_seconds(TRAFFIC[w.optimizer[0]] * size)
            yield f"step of {w.name}, {dtype}", ours, floor, "calls + flops + bytes"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 100_000, 10_000_000], help="elements of vectors")
    sizes = parser.parse_args().sizes
    print(f"{corgi.get_num_threads()} threads\n\n| floor | |\n|---|---|")
    print(f"| a call | {duration(call_seconds())} |")
    for size in (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000):
        copied, read = (size / moving_seconds(size, written) / 1e9 for written in (True, False))
        print(f"| bandwidth, {size / 1e6:g} MB | {copied:.3g} GB/s copied, {read:.3g} GB/s read |")
    for dtype in DTYPES:
        print(f"| products, {dtype} | {flop_rate(dtype) / 1e9:.3g} GFLOP/s |")
    print("\n| what | corgi | floor | corgi / floor | bound by |\n|---|---|---|---|---|")
    for rows_of in (rows(sizes), steps()):
        for what, ours, floor, bound in rows_of:
            print(f"| {what} | {duration(ours)} | {duration(floor)} | {ours / floor:.1f} | {bound} |", flush=True)


if __name__ == "__main__":
    main()
