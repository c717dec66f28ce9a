"""The picture of corgi beside its peers over size, from what `run.py -g sizes` has stored.

    python benchmarks/peers/run.py -g sizes --json sizes.json
    python benchmarks/peers/run.py -w matmul --json matmul.json
    python benchmarks/peers/plot.py sizes.json matmul.json -o docs/peers.svg

Needs matplotlib (the extra "bench").  Below: report.py.
"""

import argparse
import pathlib
import re

import matplotlib
import report
from matplotlib import pyplot as plt

COLOURS = {"corgi": "#d95f02", "torch": "#7570b3", "torch_lean": "#b3aed6", "jax": "#1b9e77", "numpy": "#666666"}
PANELS = (  # title, axis, and the workloads whose numbers it shows
    ("a + b", "elements", r"add/float32"),
    ("exp(a)", "elements", r"exp/float32"),
    ("sum(a)", "elements", r"sum/float32"),
    ("a @ b", "rows and columns", r"matmul(_small)?/float32"),
    ("training step of 64-n-10, batch 64", "hidden units n", r"mlp_hidden_(\d+)/float32"),
)


def curves(comparison, pattern, least):
    """{adapter: [(size, seconds)]}; the size is the metric's name, or a number in the workload's."""
    found = {}
    for key in comparison["results"]:
        if not (match := re.fullmatch(pattern, key)):
            continue
        for metric, times in report.seconds(comparison, key, least).items():
            size = int(metric if metric.isdecimal() else match.group(1))
            for adapter, time in times.items():
                found.setdefault(adapter, []).append((size, time))
    return {adapter: sorted(points) for adapter, points in found.items()}


def draw(comparison, least):
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.2), layout="constrained")
    for axis, (title, unit, pattern) in zip(axes.flat, PANELS, strict=False):
        for adapter, points in curves(comparison, pattern, least).items():
            if adapter in COLOURS:
                style = {"linewidth": 2.4, "zorder": 3} if adapter == "corgi" else {"linewidth": 1.4}
                label = report.TITLES[adapter]
                axis.loglog(*zip(*points, strict=True), ".-", color=COLOURS[adapter], label=label, **style)
        axis.set(title=title, xlabel=unit, ylabel="seconds")
        axis.grid(alpha=0.3)
        axis.minorticks_off()
    *_, training, legend = axes.flat
    legend.axis("off")
    legend.legend(*training.get_legend_handles_labels(), loc="upper left", frameon=False, fontsize=11)
    threads = comparison["meta"]["threads"]
    what = "least times" if least else "medians"
    text = f"float32, {threads} thread{'s' * (threads > 1)}\n{what} of processes\nstarted in turn"
    legend.text(0.02, 0.12, text, transform=legend.transAxes, fontsize=9, color="#444444")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("docs/peers.svg"))
    parser.add_argument("--least", action="store_true", help="the least times, which other processes disturb least")
    options = parser.parse_args()
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "corgi", "svg.fonttype": "none"}  # the same figures, the same file
    metadata = {"Date": None} if options.output.suffix == ".svg" else None
    draw(report.load(options.files), options.least).savefig(options.output, metadata=metadata, dpi=110)


if __name__ == "__main__":
    main()
