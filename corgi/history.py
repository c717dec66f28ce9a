"""The history of a training.

Above: `Model.fit`, users.  Below: files; matplotlib (plots), imported at the first use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from corgi.atomic import replaced

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["History"]


class History(dict[str, list[float]]):
    """The figures of a training, a list for each name with one number for each complete epoch.

    The names are 'loss' and those of the metrics, each also with 'val\\_' in front if there is a validation; 'rate', the
    learning rate of the epoch's last step; and 'seconds', the time of the epoch with its validation.

    Attributes
    ----------
    stopped : str
        Why the training ended before its last epoch; empty if it did not.

    Examples
    --------
    >>> import corgi
    >>> layer = corgi.layer.Dense(1, 1, corgi.initializer.zeros())
    >>> model = corgi.Model([layer], corgi.optimizer.GradientDescent(0.25), corgi.cost.mse)
    >>> history = model.fit([[1.0]], [[1.0]], epochs=2)
    >>> history["loss"]
    [1.0, 0.0]
    >>> history
    History(2 epochs, loss 0, rate 0.25, seconds ...)
    """

    stopped = ""

    @property
    def epochs(self) -> int:
        """Number of complete epochs."""
        return len(self.get("loss", ()))

    def append(self, figures: dict[str, float]) -> None:
        """Add an epoch."""
        for name, value in figures.items():
            self.setdefault(name, []).append(value)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a file of comma-separated values, a row for each epoch, whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike

        Raises
        ------
        OSError
            If it cannot be written; a file that was there stays.

        Examples
        --------
        >>> import os, tempfile
        >>> import corgi
        >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
        >>> history = model.fit([[1.0]], [[1.0]], epochs=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history.to_csv(os.path.join(folder, "history.csv"))
        ...     with open(os.path.join(folder, "history.csv")) as file:
        ...         len(file.readlines())
        3
        """
        import csv

        with replaced(path) as name, open(name, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *self])
            writer.writerows(zip(range(self.epochs), *self.values(), strict=True))

    def plot(self, names: Sequence[str] | None = None) -> Any:
        """Draw the figures over the epochs, one plot for each, with that of the validation beside it. Needs matplotlib.

        Parameters
        ----------
        names : sequence of str, optional
            Which to draw, without 'val\\_'; by default the loss and the metrics.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        ValueError
            If there is no figure of a name.

        Examples
        --------
        >>> import corgi
        >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
        >>> figure = model.fit([[1.0]], [[1.0]], epochs=2, metrics="mae").plot()
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss', 'mae']
        """
        if names is None:
            names = [name for name in self if not name.startswith("val_") and name not in ("rate", "seconds")]
        for name in names:
            if name not in self:
                raise ValueError(f"History.plot: expected names among {', '.join(self)}, got {name!r}")
        try:
            from matplotlib import pyplot
        except ModuleNotFoundError as error:
            if error.name != "matplotlib":
                raise
            raise ModuleNotFoundError(
                "History.plot: expected matplotlib, which is not installed; pip install corgi[examples]", name=error.name
            ) from error
        figure, all_axes = pyplot.subplots(
            1, max(1, len(names)), figsize=(4.8 * max(1, len(names)), 3.6), squeeze=False, layout="constrained"
        )
        for name, axes in zip(names, all_axes[0], strict=False):
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in self:
                    axes.plot(range(1, self.epochs + 1), self[key], marker="." if self.epochs < 30 else None, label=label)
            axes.set_xlabel("epoch")
            axes.set_ylabel(name)
            if f"val_{name}" in self:
                axes.legend()
        return figure

    def __repr__(self) -> str:
        parts = [f"{self.epochs} epoch" + "s" * (self.epochs != 1)]
        parts += [f"{name} {values[-1]:.6g}" for name, values in self.items() if name != "seconds"]
        if self.epochs:
            parts.append(f"seconds {sum(self['seconds']):.3g}")
        return f"History({', '.join(parts)}{'; ' * bool(self.stopped)}{self.stopped})"
