"""What an adapter makes of a workload.

An adapter is a file adapter_NAME.py. It imports its library and has
    set_threads(n)
    build(workload, dtype) -> Case; NotImplementedError where the library has no such workload
Above: run.py.  Below: workloads.py.
"""

from collections.abc import Callable
from dataclasses import dataclass

from workloads import CHECKED_STEPS


def nothing():
    pass


@dataclass
class Case:
    """Functions without arguments to time, and what surrounds them."""

    metrics: dict[str, Callable]  # each call is one step, or one run of the ops
    check: Callable  # gives {name: number}, to be compared with the references
    reset: Callable = nothing  # back to the initial parameters, before each timed batch
    sync: Callable = nothing  # waits until all is computed; timed, at the end of a batch


def training(step, reset, sync=nothing, number=float):
    """A Case from step(), which trains once and gives the loss before the update, and reset(); number(loss) is a float."""

    def check():
        reset()
        losses = {f"loss{i + 1}": number(step()) for i in range(CHECKED_STEPS)}
        sync()
        return losses

    return Case({"step": step}, check, reset, sync)
