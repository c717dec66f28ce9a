"""The progress bar of a training.

Above: training.py.  Below: tqdm, imported at its use.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from corgi.training import Run


class Bar:
    """No progress bar."""

    shown = False

    def begin(self, run: Run) -> None:
        """Before an epoch."""

    def step(self, loss: float) -> None:
        """After a step, with the mean loss of the epoch so far."""

    def end(self, run: Run) -> None:
        """After an epoch."""


class TqdmBar(Bar):
    """Steps of the whole training, drawn at most ten times a second."""

    shown = True

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._steps, self._drawn, self._figures = 0, time.perf_counter(), ""

    def begin(self, run: Run) -> None:
        """Show the epoch's number."""
        self._bar.set_description_str(f"epoch {run.epoch + 1}/{run.epochs}", refresh=False)

    def step(self, loss: float) -> None:
        """Count the step."""
        self._steps += 1
        now = time.perf_counter()
        if now - self._drawn >= 0.1:
            self._draw(f"loss {loss:.4g}{self._figures}", now)

    def end(self, run: Run) -> None:
        """Show the figures of the epoch."""
        others = [f", {name} {value:.4g}" for name, value in run.figures.items() if name not in ("loss", "seconds")]
        self._figures = "".join(others)
        now = time.perf_counter()
        if now - self._drawn >= 0.1 or run.epoch + 1 == run.epochs:
            self._draw(f"loss {run.figures['loss']:.4g}{self._figures}", now)

    def _draw(self, text: str, now: float) -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(self._steps)
        self._steps, self._drawn = 0, now


@contextmanager
def progress_bar(wanted: bool | None, loader: Iterable[Any], epochs: int) -> Iterator[Bar]:
    """A bar if it is wanted; None: if standard error is a terminal, and tqdm is installed."""
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty() and _has_tqdm()
    if not wanted:
        yield Bar()
        return
    from tqdm import tqdm

    try:
        total = epochs * len(loader)  # type: ignore[arg-type]
    except TypeError:
        total = None
    with tqdm(total=total, unit="step", mininterval=0, miniters=0, dynamic_ncols=True) as bar:
        shown = TqdmBar(bar)
        yield shown


def _has_tqdm() -> bool:
    from importlib.util import find_spec

    return find_spec("tqdm") is not None
