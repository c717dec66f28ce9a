"""Recurrent layers beside PyTorch's, on one thread each: forward, forward and backward, and a single step.

    python benchmarks/recurrent.py
    python benchmarks/recurrent.py --rounds 25 --layers LSTM

Both sides take their turn in each round of one process. The figures are least processor times of the thread, which do not
count what other programs take; a table as Markdown comes out. Above: benchmarks/README.md.
"""

import argparse
import time

import numpy as np

import corgi

try:
    import torch
except ModuleNotFoundError:  # asv imports all that is in this folder
    torch = None

SIZES = ((1, 20, 4, 16), (32, 50, 16, 64), (64, 100, 64, 128))  # batch, steps, inputs, hidden
LAYERS = ("LSTM", "GRU", "RNN")
SECONDS = 0.005  # of a turn, about


def cases(layer, batch, steps, inputs, hidden):
    """What is timed, by name: for each a function of corgi and one of PyTorch."""
    ours = getattr(corgi.layer, layer)(inputs, hidden, dtype="float32")
    theirs = getattr(torch.nn, layer)(inputs, hidden, batch_first=True)
    theirs.load_state_dict({name: torch.tensor(p.numpy()) for name, p in ours.named_parameters().items()})
    cell = getattr(torch.nn, f"{layer}Cell")(inputs, hidden)
    values = np.random.default_rng(0).standard_normal((batch, steps, inputs)).astype("float32")
    x, given = corgi.array(values), torch.tensor(values)
    g, cotangent = corgi.ones((batch, steps, hidden), "float32"), torch.ones(batch, steps, hidden)
    parameters, state, first = ours.parameters(), ours.run(x)[1].detach(), [torch.zeros(batch, hidden)] * 2

    def forward():
        with corgi.no_tracking():
            ours(x)

    def their_forward():
        with torch.no_grad():
            theirs(given)

    def both():
        ours(x).backward(g)
        for p in parameters:
            p.gradient = None

    def their_both():
        theirs(given)[0].backward(cotangent)
        theirs.zero_grad()

    def step():
        with corgi.no_tracking():
            ours.step(x[:, 0], state)

    def their_step():
        with torch.no_grad():
            cell(given[:, 0], first if layer == "LSTM" else first[0])

    return {"forward": (forward, their_forward), "and backward": (both, their_both), "step": (step, their_step)}


def turn(function, calls):
    """Processor seconds of this thread for one call."""
    start = time.thread_time()
    for _ in range(calls):
        function()
    return (time.thread_time() - start) / calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layers", nargs="+", default=LAYERS, choices=LAYERS)
    options = parser.parse_args()
    if torch is None:
        parser.error("expected PyTorch to compare with; install torch")
    corgi.set_num_threads(1)
    torch.set_num_threads(1)
    print("| layer | batch, steps, inputs, hidden | | corgi, us | PyTorch, us | ratio |\n|---|---|---|---|---|---|")
    for layer in options.layers:
        for size in SIZES:
            for name, functions in cases(layer, *size).items():
                calls = [max(1, int(SECONDS / turn(f, 2))) for f in functions]
                times = [[turn(f, n) for f, n in zip(functions, calls, strict=True)] for _ in range(options.rounds)]
                ours, theirs = (min(column) * 1e6 for column in zip(*times, strict=True))
                print(
                    f"| {layer} | {', '.join(map(str, size))} | {name} | {ours:.4g} | {theirs:.4g} | {theirs / ours:.2f} |"
                )


if __name__ == "__main__":
    main()
