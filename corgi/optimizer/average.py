"""Averages of weights over training.

Above: users.  Below: the kernel behind `average_step`, and `exchange`, which swaps the values of two arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from corgi._core import Array, average_step, exchange
from corgi.optimizer.checks import Limit, named, same_shape, whole

if TYPE_CHECKING:
    from corgi._typing import Parameters


class Average:
    """A running average of parameters, which often predicts better than their last values.

    With decay it is the exponential moving average, ``average = decay * average + (1 - decay) * value``; without, the mean
    of all values at the calls of `update` (Polyak & Juditsky 1992; stochastic weight averaging, Izmailov et al. 2018). The
    first call takes the values as they are.

    As a context manager it gives the parameters their averages, and then their own values back, with gradients and graphs as
    they were, whatever happened inside.

    Parameters
    ----------
    parameters : dict or iterable of Arrays
        By name, as from `Layer.named_parameters`, or in order.
    decay : float or None
        In [0, 1).

    Attributes
    ----------
    steps : int
        How often `update` has been called.

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a float Array, or the decay no such number.

    Examples
    --------
    >>> import corgi
    >>> p = corgi.arr([0.0]).tracked()
    >>> average = corgi.optimizer.Average([p], decay=0.75)
    >>> for value in (1.0, 2.0):  # in training: after each step of the optimizer
    ...     corgi.assign(p, [value])
    ...     average.update()
    >>> with average:
    ...     print(p)
    [1.25]
    >>> print(p)
    [2.]
    """

    decay = Limit(below=1)

    def __init__(self, parameters: Parameters, decay: float | None = 0.999) -> None:
        self._parameters = named(parameters, "Average")
        self.decay = decay
        self.steps = 0
        self._averages = [parameter.detach() for parameter in self._parameters.values()]
        self._originals: list[Array] | None = None  # the training values, while the averages are in their place

    @property
    def values(self) -> dict[str, Array]:
        """The averages by the names (or positions) of their parameters."""
        return {name: average.detach() for name, average in zip(self._parameters, self._averages, strict=True)}

    def update(self) -> None:
        """Take the parameters' present values into the average.

        Raises
        ------
        ValueError
            Inside ``with average:``, where the parameters are the averages.
        """
        if self._originals is not None:
            raise ValueError("Average.update: expected the parameters' own values; call it outside `with average:`")
        parameters = list(self._parameters.values())
        if self.steps == 0:
            self._averages = [parameter.detach() for parameter in parameters]
        else:
            average_step(self._averages, parameters, 1 / (self.steps + 1) if self.decay is None else 1 - self.decay)
        self.steps += 1

    def __enter__(self) -> Average:
        if self._originals is not None:
            raise ValueError("Average: expected `with average:` once at a time")
        self._originals = [average.detach() for average in self._averages]
        for parameter, other in zip(self._parameters.values(), self._originals, strict=True):
            exchange(parameter, other)
        return self

    def __exit__(self, *exception: object) -> None:
        originals, self._originals = self._originals or [], None
        pairs = list(zip(self._parameters.values(), originals, strict=True))
        for parameter, other in reversed(pairs):  # a parameter with two names gets its own values last
            exchange(parameter, other)

    def state_dict(self) -> dict[str, Any]:
        """All that must be saved to go on exactly: ``steps``, and each average under ``average/NAME``.

        Returns
        -------
        dict

        Examples
        --------
        >>> import corgi
        >>> corgi.optimizer.Average({"p": corgi.ones(2)}).state_dict()
        {'steps': 0, 'average/p': Array([1., 1.], dtype=float64)}
        """
        return {"steps": self.steps} | {f"average/{name}": value for name, value in self.values.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave.

        Parameters
        ----------
        state : dict
            Arrays may be any array_like; they are converted to the dtypes of their parameters.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of averages of such parameters; then nothing has changed.
        """
        op = "Average.load_state_dict"
        if not isinstance(state, Mapping):
            raise TypeError(f"{op}: expected a dict, got {type(state).__name__}")
        expected = {"steps", *(f"average/{name}" for name in self._parameters)}
        if set(state) != expected:
            key = min(map(str, expected.symmetric_difference(state)))
            raise ValueError(f"{op}: expected averages of {', '.join(self._parameters)}; {key!r} is missing or too much")
        steps = whole(state["steps"], op, "steps", least=0)
        self._averages = [
            same_shape(state[f"average/{name}"], parameter, f"average/{name}", op)
            for name, parameter in self._parameters.items()
        ]
        self.steps = steps

    def __repr__(self) -> str:
        return f"Average({len(self._parameters)} parameters, decay={self.decay}, steps={self.steps})"
