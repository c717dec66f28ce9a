"""The base class of optimizers: settings of their own for parameters, schedules, clipping, and state that can be saved.

Above: the optimizers.  Below: `optimizer_step`, which runs a rule of src/kernels/update.h, and `clip_norm` and `clip_value`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from corgi._core import Array, UpdateRule, optimizer_step
from corgi.optimizer.checks import Limit, Number, Setting, listed, mapping, named, number, same_shape, whole
from corgi.optimizer.clip import clip_norm, clip_value

if TYPE_CHECKING:
    from typing import Self

    from corgi._typing import Parameters, Schedule

# What an optimizer has besides its settings.
_OTHERS = {"state", "steps", "factor", "clip_norm", "clip_value"}


class _Clip(Limit):
    """A limit to gradients: with one, a step has more to do than the rules."""

    if not TYPE_CHECKING:

        def __set__(self, instance, value):
            super().__set__(instance, value)
            instance._has_more |= value is not None


class Optimizer:
    """Gives parameters new values. Subclasses define `update`.

    Parameters
    ----------
    learning_rate : float
        At least 0; may be set anew between steps.
    schedule : callable, optional
        A schedule of `corgi.schedule`, or a function that takes the number of a step, from 0, and gives the factor of all
        learning rates in that step. `step` calls it.
    clip_norm, clip_value : float, optional
        Limits of the gradients, which `step` applies first: see `corgi.optimizer.clip_norm` and `clip_value`.

    Attributes
    ----------
    state : dict
        What the optimizer remembers of each parameter, by the parameter itself (its identity, not its values): a dict of
        arrays and numbers, which change with every step.
    steps : int
        How often `step` has been called.
    needs_closure : bool
        Whether `step` takes a closure besides the parameters, which computes the loss and its gradients as often as the
        optimizer asks for them: that of the class.
    factor : float
        What the learning rates are multiplied by. A schedule sets it; without one it may be set by hand, say once an epoch.

    Raises
    ------
    TypeError, ValueError
        If a setting is not such a number, at any time.

    Examples
    --------
    >>> import corgi
    >>> class SignDescent(corgi.optimizer.Optimizer):
    ...     def update(self, parameter):
    ...         if parameter.gradient is not None:
    ...             corgi.assign(parameter, parameter.detach() - self.rate(parameter) * corgi.sign(parameter.gradient))
    >>> p = corgi.arr([1.0, -1.0]).tracked()
    >>> (p * p).backward()
    >>> SignDescent(0.25).step([p])
    >>> p
    Array([ 0.75, -0.75], dtype=float64, tracked)
    """

    needs_closure = False
    _has_more: bool  # to do in a step than to apply the rules
    learning_rate = Setting()
    factor = Number()
    clip_norm = _Clip()
    clip_value = _Clip()

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        optimizer = super().__new__(cls)
        # A table of its own: Python 3.11 and 3.12 are slow with attributes in shared ones after a look at __dict__.
        optimizer.__dict__ = {"_has_more": cls.update is not Optimizer.update}
        return optimizer

    def __init__(
        self,
        learning_rate: float,
        *,
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.factor = 1.0
        self.steps = 0
        self.state: dict[Array, Any] = {}
        self._own: dict[Array, dict[str, float]] = {}  # settings that differ, by parameter
        self._rules: dict[Array | None, UpdateRule] = {}  # made of the settings when needed; emptied when one is set

    @property
    def schedule(self) -> Schedule | None:
        """The function that gives the factor of the learning rates in each step, or None."""
        return self._schedule

    @schedule.setter
    def schedule(self, schedule: Schedule | None) -> None:
        if schedule is not None and (isinstance(schedule, type) or not callable(schedule)):
            got = f"the class {schedule.__name__}; call it" if isinstance(schedule, type) else type(schedule).__name__
            raise TypeError(f"{type(self).__name__}: expected a schedule such as schedule.Cosine(1000), got {got}")
        self._schedule = schedule
        self._has_more |= schedule is not None

    def step(self, parameters: Iterable[Array]) -> None:
        """Update parameters and clear their gradients; those without a gradient are left alone.

        One call counts as one step of the schedule, and the norm that `clip_norm` limits is that of all its gradients.

        Parameters
        ----------
        parameters : iterable of Arrays

        Raises
        ------
        TypeError
            If a parameter is not a float Array.
        ValueError
            If the schedule gives no finite number of at least 0.
        """
        if type(parameters) is not list:
            parameters = listed(parameters, f"{type(self).__name__}.step")
        if self._has_more:
            self._step_with_more(parameters)
        else:
            optimizer_step(parameters, self._rules or self._make_rules(), self.state, self.factor)
        self.steps += 1

    def _step_with_more(self, parameters: list[Array]) -> None:
        if self._schedule is not None:
            self.factor = self._schedule(self.steps)
        if self.clip_value is not None:
            clip_value(parameters, self.clip_value)
        if self.clip_norm is not None:
            clip_norm(parameters, self.clip_norm)
        if type(self).update is Optimizer.update:
            optimizer_step(parameters, self._rules or self._make_rules(), self.state, self.factor)
        else:
            for parameter in listed(parameters, f"{type(self).__name__}.step"):
                self.update(parameter)

    def update(self, parameter: Array) -> None:
        """Update one parameter and clear its gradient; without a gradient, do nothing.

        Optimizers of one's own define this, and may keep what they remember in ``self.state[parameter]``, a dict of arrays
        and numbers; `rate` and `settings` tell what applies to the parameter.

        Raises
        ------
        NotImplementedError
            If a subclass does not.
        """
        optimizer_step([parameter], self._rules or self._make_rules(), self.state, self.factor)

    def _rule(self, settings: dict[str, float]) -> str:
        """The name of the rule, a row of src/kernels/update.h, that these settings ask for."""
        raise NotImplementedError(f"{type(self).__name__}: expected the optimizer to define update(self, parameter)")

    def _make_rules(self) -> dict[Array | None, UpdateRule]:
        op = f"{type(self).__name__}.step"
        made: dict[tuple[Any, ...], UpdateRule] = {}
        for parameter in (None, *self._own):
            settings = self.settings(parameter)
            key = tuple(settings.values())
            made[key] = made.get(key) or UpdateRule(op, self._rule(settings), settings)
            self._rules[parameter] = made[key]
        return self._rules

    # ---- settings

    def settings(self, parameter: Array | None = None) -> dict[str, float]:
        """The settings by name, as they apply to a parameter, or to parameters without any of their own.

        Examples
        --------
        >>> import corgi
        >>> corgi.optimizer.GradientDescent(0.1).settings()
        {'learning_rate': 0.1, 'momentum': 0.0, 'nesterov': False, 'weight_decay': 0.0}
        """
        kind = type(self)
        settings = {name: value for name, value in vars(self).items() if isinstance(getattr(kind, name, None), Setting)}
        return settings if parameter is None else settings | self._own.get(parameter, {})

    def rate(self, parameter: Array | None = None) -> float:
        """The learning rate in force: that of the parameter, or of parameters without one of their own, times `factor`.

        Examples
        --------
        >>> import corgi
        >>> optimizer = corgi.optimizer.GradientDescent(0.5)
        >>> optimizer.factor = 0.5
        >>> optimizer.rate()
        0.25
        """
        own = self._own.get(parameter, {}) if parameter is not None else {}
        return self.factor * own.get("learning_rate", self.learning_rate)

    def set(self, parameters: Iterable[Array], **settings: float | None) -> None:
        """Give parameters settings of their own, which take the place of the optimizer's.

        Schedules multiply these learning rates as they do the optimizer's.

        Parameters
        ----------
        parameters : iterable of Arrays
        **settings : float or None
            Any setting of the optimizer, by name; None makes the optimizer's count again.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not a float Array, or if a setting is unknown or wrong; then nothing has changed.

        Examples
        --------
        No weight decay for biases, and a smaller rate for the first layer:

        >>> import corgi
        >>> first, second = corgi.layer.Dense(2, 16), corgi.layer.Dense(16, 2)
        >>> optimizer = corgi.optimizer.AdamW(1e-3)
        >>> optimizer.set([first.bias, second.bias], weight_decay=0.0)
        >>> optimizer.set(first.parameters(), learning_rate=1e-4)
        >>> optimizer.settings(first.bias)["weight_decay"], optimizer.rate(first.bias)
        (0.0, 0.0001)
        """
        op = f"{type(self).__name__}.set"
        arrays = listed(parameters, op)
        known = self.settings()
        for name in settings:
            if name not in known:
                raise ValueError(f"{op}: expected settings among {', '.join(known)}, got {name!r}")
        checked = {
            name: None if value is None else getattr(type(self), name).checked(value, op) for name, value in settings.items()
        }
        for array in arrays:
            own = self._own.get(array, {}) | checked
            self._own[array] = {name: value for name, value in own.items() if value is not None}
            if not self._own[array]:
                del self._own[array]
        self._rules = {}

    # ---- saving

    def state_dict(self, parameters: Parameters) -> dict[str, Any]:
        """All that must be saved to go on exactly as this optimizer would: a flat dict of arrays, numbers and strings.

        =========================  ===========================================================================
        key                        value
        =========================  ===========================================================================
        ``optimizer``              name of the class
        ``steps``, ``factor``      the attributes
        ``settings/SETTING``       settings of the optimizer, numbers and bools
        ``own/NAME/SETTING``       settings that parameter NAME has of its own
        ``state/NAME/ENTRY``       what is remembered of it: arrays of its shape and dtype, and ``steps``, a number
        ``schedule/ENTRY``         what the schedule's own `state_dict` gives
        =========================  ===========================================================================

        The arrays keep their values, whatever the optimizer does afterwards. How gradients are clipped and which schedule
        there is are not saved: the program that loads the state says so when it makes the optimizer.

        Parameters
        ----------
        parameters : dict or iterable of Arrays
            By name, as from `Layer.named_parameters`; those of a list are named by their positions. Of other parameters
            nothing is saved.

        Returns
        -------
        dict

        Raises
        ------
        TypeError
            If the state of an optimizer of one's own is not made of dicts.

        Examples
        --------
        >>> import corgi
        >>> p, optimizer = corgi.arr([1.0]).tracked(), corgi.optimizer.GradientDescent(0.25, 0.9)
        >>> (p * p).backward()
        >>> optimizer.step([p])
        >>> state = optimizer.state_dict({"p": p})
        >>> state["state/p/velocity"], state["settings/momentum"]
        (Array([2.], dtype=float64), 0.9)
        >>> corgi.optimizer.GradientDescent(0.25).load_state_dict(state, {"p": p})
        """
        op = f"{type(self).__name__}.state_dict"
        out: dict[str, Any] = {"optimizer": type(self).__name__, "steps": self.steps, "factor": self.factor}
        out |= {f"settings/{name}": value for name, value in self.settings().items()}
        for name, parameter in named(parameters, op).items():
            memory = self.state.get(parameter, {})
            if not isinstance(memory, dict):
                raise TypeError(f"{op}: expected a dict for the state of each parameter, got {type(memory).__name__}")
            for entry, value in memory.items():
                out[f"state/{name}/{entry}"] = value.detach() if type(value) is Array else value
            out |= {f"own/{name}/{setting}": value for setting, value in self._own.get(parameter, {}).items()}
        save = getattr(self._schedule, "state_dict", dict)
        out |= {f"schedule/{entry}": value for entry, value in save().items()}
        return out

    def load_state_dict(self, state: Mapping[str, Any], parameters: Parameters) -> None:
        """Take over what `state_dict` gave, so that the next step is the one that the saved optimizer would have made.

        Parameters
        ----------
        state : dict
            Arrays may be any array_like; they are converted to the dtypes of their parameters.
        parameters : dict or iterable of Arrays
            Those of the state, under the same names.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of such an optimizer, schedule and parameters; then nothing has changed.
        """
        op = f"{type(self).__name__}.load_state_dict"
        rest, arrays = mapping(state, op), named(parameters, op)
        if (kind := rest.pop("optimizer", None)) != type(self).__name__:
            raise ValueError(f"{op}: expected the state of {type(self).__name__}, got {kind!r} under 'optimizer'")
        attributes: dict[str, Any] = {
            "steps": whole(rest.pop("steps", None), op, "steps", least=0),
            "factor": number(rest.pop("factor", None), op, "factor"),
        }
        settings = {name: rest.pop(f"settings/{name}", None) for name in self.settings()}
        settings = {name: getattr(type(self), name).checked(value, op) for name, value in settings.items()}
        memories: dict[Array, dict[str, Any]] = {}
        owns: dict[Array, dict[str, float]] = {}
        schedule = {key[9:]: rest.pop(key) for key in state if isinstance(key, str) and key.startswith("schedule/")}
        for key in rest:
            section, _, path = str(key).partition("/")
            name, _, entry = path.rpartition("/")
            array = arrays.get(name)
            if section == "own" and array is not None and entry in settings:
                owns.setdefault(array, {})[entry] = getattr(type(self), entry).checked(rest[key], op)
            elif section == "state" and array is not None:
                memories.setdefault(array, {})[entry] = self._entry(rest[key], array, str(key), op)
            else:
                raise ValueError(f"{op}: expected nothing under {key!r}; the parameters are {', '.join(arrays)}")
        self._require_whole(memories, owns, settings, op)
        load = getattr(self._schedule, "load_state_dict", None)
        if load is not None:
            load(schedule)
        elif schedule:
            raise ValueError(f"{op}: expected no state of a schedule; give the optimizer the schedule that was saved")
        for array in arrays.values():
            self.state.pop(array, None)
            self._own.pop(array, None)
        self.state |= memories
        self._own |= owns
        vars(self).update(settings, **attributes, _rules={})

    def _entry(self, value: Any, parameter: Array, key: str, op: str) -> Any:
        if key.endswith("/steps"):
            return whole(value, op, key, least=0)
        if type(self).update is Optimizer.update:
            return same_shape(value, parameter, key, op)
        return value

    def _require_whole(self, memories: Any, owns: Any, settings: dict[str, float], op: str) -> None:
        """Check that a state to be loaded has all that the rules of its settings keep."""
        if type(self).update is not Optimizer.update:
            return
        for parameter, memory in memories.items():
            merged = settings | owns.get(parameter, {})
            for entry in ("steps", *UpdateRule(op, self._rule(merged), merged).states):
                if entry not in memory:
                    raise ValueError(f"{op}: expected {entry!r} in the state of each parameter, got {', '.join(memory)}")

    def __repr__(self) -> str:
        shown = {name: value for name, value in vars(self).items() if name not in _OTHERS and name[0] != "_"}
        others = {"schedule": self._schedule, "clip_norm": self.clip_norm, "clip_value": self.clip_value}
        shown |= {name: value for name, value in others.items() if value is not None}
        groups: dict[tuple[Any, ...], int] = {}
        for own in self._own.values():
            groups[*own.items()] = groups.get((*own.items(),), 0) + 1
        parts = [f"{name}={value!r}" for name, value in shown.items()]
        parts += [f"{count} with " + " ".join(f"{k}={v!r}" for k, v in own) for own, count in groups.items()]
        return f"{type(self).__name__}({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rules": {}}
