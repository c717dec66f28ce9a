"""Tables of a comparison that run.py has stored.

    python benchmarks/peers/report.py peers.json [another.json ...]

prints Markdown: for every workload corgi's time, each peer's time and how many times as long as corgi's it is, and the share
of clean runs; then the peak resident memory of each training workload. Of several files the later ones replace rows of the
earlier. Where the machine is never quiet, --least shows the least times in place of medians. Above: run.py, plot.py.
"""

import argparse
import json
import math
import pathlib
import statistics

from workloads import BY_NAME, CHAIN_OPS

ORDER = ("corgi", "torch", "torch_lean", "jax", "numpy", "autograd", "micrograd")
TITLES = {
    "corgi": "corgi",
    "torch": "PyTorch",
    "torch_lean": "PyTorch, lean",
    "jax": "JAX, jit",
    "numpy": "NumPy",
}


def load(files):
    """The comparison in these files, as run.py makes it."""
    comparison = {"meta": {}, "results": {}}
    for file in files:
        found = json.loads(file.read_text())
        comparison["meta"] = found["meta"]
        comparison["results"] |= found["results"]
    return comparison


def split(comparison, key):
    """(clean, used) runs of each adapter: the clean ones, or where they are too few the three least disturbed."""
    allowed = comparison["meta"]["foreign_allowed"]
    for adapter, runs in comparison["results"][key].items():
        clean = [run for run in runs if run["foreign"] <= allowed]
        used = clean if len(clean) >= min(3, len(runs)) else sorted(runs, key=lambda run: run["foreign"])[:3]
        yield adapter, clean, used


def seconds(comparison, key, least=False):
    """{metric: {adapter: seconds}}: medians over runs, or the least of all."""
    times = {}
    for adapter, _, used in split(comparison, key):
        for metric in used[0]["seconds"]:
            found = [run["seconds"][metric] for run in used]
            time = min(t["least"] for t in found) if least else statistics.median(t["median"] for t in found)
            times.setdefault(metric, {})[adapter] = time
    return times


def peaks(comparison, key):
    """{adapter: MB}"""
    return {adapter: statistics.median(run["peak_mb"] for run in used) for adapter, _, used in split(comparison, key)}


def duration(time):
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if time * factor >= 1:
            return f"{digits(time * factor)} {unit}"
    return f"{digits(time * 1e9)} ns"


def digits(x):
    """Three of them."""
    return f"{x:.{max(0, 2 - math.floor(math.log10(x)))}f}"


def lines(comparison, key):
    """What run.py shows of a workload: for each adapter its figures, their spread, clean runs, memory, error."""
    for adapter, clean, used in split(comparison, key):
        total = len(comparison["results"][key][adapter])
        times = {metric: [run["seconds"][metric]["median"] for run in used] for metric in used[0]["seconds"]}
        shown = ", ".join(
            f"{metric} {duration(statistics.median(t))} (+-{(max(t) / min(t) - 1) * 50:.0f}%)" for metric, t in times.items()
        )
        memory = statistics.median(run["peak_mb"] for run in used)
        verdict = "right" if all(run["right"] for run in used) else "WRONG"
        error = max(run["error"] for run in used)
        yield f"  {adapter:11} {shown}; clean {len(clean)}/{total}; peak {memory:.0f} MB; {verdict} to {error:.1e}"


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def title(key, metric):
    name, dtype = key.split("/")
    text = {"step": name, "run": name}.get(metric, f"{name}, {metric}")
    return text + (", float64" if dtype == "float64" else "")


def tables(comparison, least=False):
    """The lines of two Markdown tables: times, and memory."""
    results = comparison["results"]
    adapters = [a for a in ORDER if any(a in runs for runs in results.values())]
    titles = [TITLES.get(a, a) for a in adapters]
    rows, memory = [], []
    for key in results:
        counts = [(len(clean), len(results[key][adapter])) for adapter, clean, _ in split(comparison, key)]
        clean = f"{sum(c for c, _ in counts)}/{sum(n for _, n in counts)}"
        for metric, times in seconds(comparison, key, least).items():
            ours = times.get("corgi")
            calls = CHAIN_OPS if key.startswith("chain") else 1
            cells = [cell(times.get(adapter), ours, calls) for adapter in adapters]
            rows.append([title(key, metric) + (", per op" if calls > 1 else ""), *cells, clean])
        if BY_NAME[key.split("/")[0]].kind != "ops":
            found = peaks(comparison, key)
            memory.append([title(key, "step"), *(f"{found[a]:.0f} MB" if a in found else "" for a in adapters)])
    yield from table(["workload", *titles, "clean"], rows)
    if memory:
        yield ""
        yield from table(["peak resident memory", *titles], memory)


def cell(time, ours, calls):
    if time is None:
        return ""
    text = duration(time / calls)
    return text if ours in (None, time) else f"{text} ({digits(time / ours)} x)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--least", action="store_true", help="the least times, which other processes disturb least")
    options = parser.parse_args()
    comparison = load(options.files)
    meta = comparison["meta"]
    print(f"{meta['date']}, {meta['threads']} threads, Python {meta['python']}, {meta['machine']}", end="\n\n")
    print(*tables(comparison, options.least), sep="\n")


if __name__ == "__main__":
    main()
