"""Model: layers in a row, with the optimizer and the cost that train them.

Above: users.  Below: `Sequential`, costs, optimizers; training.py, which `fit`, `evaluate` and `predict` hand over to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corgi._core import Array, run_layers
from corgi.layer.container import Sequential, indented, shown
from corgi.location import locate

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from corgi._typing import Activation, Cost, DTypeLike, Seed, Stateful
    from corgi.callback import Callback
    from corgi.history import History
    from corgi.layer import Layer
    from corgi.optimizer import Optimizer
    from corgi.summary import Summary


class Model(Sequential):
    """Layers in a row, trained by an optimizer against a cost: a `Sequential`, and so a layer itself.

    Parameters
    ----------
    layers : sequence of callables, or one Layer
        Layers, or functions of an Array.
    optimizer : Optimizer, optional
        For `update`.
    cost : callable, optional
        For `backward`: ``cost(output, target)`` gives one number, as the functions of `corgi.cost` do.

    Raises
    ------
    TypeError
        If something is not what it should be.

    Examples
    --------
    >>> import corgi
    >>> from corgi import Model, activation, cost, initializer
    >>> from corgi.layer import Dense
    >>> from corgi.optimizer import GradientDescent
    >>> corgi.seed(1)
    >>> model = Model(
    ...     [Dense(2, 16, initializer.he(), activation.relu), Dense(16, 2, initializer.he(), activation.softmax)],
    ...     GradientDescent(0.5),
    ...     cost.cross_entropy,
    ... )
    >>> for _ in range(100):
    ...     output = model.forward([[0.0, 1.0], [1.0, 0.0]])
    ...     loss = model.backward([0, 1])
    ...     model.update()
    >>> loss < 0.01
    True
    """

    def __init__(
        self, layers: Layer | Iterable[Activation], optimizer: Optimizer | None = None, cost: Cost | None = None
    ) -> None:
        super().__init__(layers)
        if isinstance(optimizer, type):
            raise TypeError(f"Model: expected an optimizer, got the class {optimizer.__name__}; call it")
        if optimizer is not None and not hasattr(optimizer, "step"):
            raise TypeError(f"Model: expected an optimizer with a method step, got {type(optimizer).__name__}")
        if cost is not None and not callable(cost):
            raise TypeError(f"Model: expected a cost such as cost.mse, got {type(cost).__name__}")
        self.optimizer = optimizer
        self.cost = cost
        self._output: Array | None = None

    def forward(self, x: Any) -> Array:
        """The output of the last layer. A model with a cost keeps it for `backward`.

        Parameters
        ----------
        x : array_like
            Input of the first layer.

        Returns
        -------
        Array

        Raises
        ------
        Exception
            What a layer raises. ValueError, TypeError and IndexError name the layer, and the line of the program that called
            it, in the message, others in a note.
        """
        output = run_layers(self, x)
        if self.cost is not None:  # else no backward can come, and the output would keep the graph alive
            self._output = output
        return output

    def backward(self, target: Any) -> float:
        """Differentiate the cost of the last output, by every parameter.

        Gradients add up until `update`. The output is given up: the next call needs another `forward`.

        Parameters
        ----------
        target : array_like
            As the cost wants it.

        Returns
        -------
        float
            The loss.

        Raises
        ------
        ValueError
            Without a cost, before `forward`, if nothing is tracked, or if the cost does not give one number.
        Exception
            What the cost raises, with the line of the program that called this, as in `forward`.
        """
        if self.cost is None:
            raise ValueError("Model.backward: expected a model with a cost; pass one: Model(layers, optimizer, cost)")
        if self._output is None:
            raise ValueError("Model.backward: expected a call of forward(x) before each backward(target)")
        try:
            loss = self.cost(self._output, target)
        except Exception as error:
            locate(error, self, "cost", self.cost)
            raise
        if type(loss) is not Array:
            raise TypeError(f"Model.backward: expected an Array from the cost, got {type(loss).__name__}")
        try:
            value: float = loss.item()
        except ValueError:
            raise ValueError(f"Model.backward: expected one number from the cost, got shape {loss.shape}") from None
        if not loss.is_tracked:
            raise ValueError(
                "Model.backward: expected a tracked loss, got an untracked one; was forward run in no_tracking()?"
            )
        loss.backward()
        self._output = None
        return value

    def update(self, closure: Callable[[], Any] | None = None) -> None:
        """Let the optimizer give every parameter new values, and clear the gradients.

        Parameters
        ----------
        closure : callable, optional
            ``closure()`` calls `forward` and returns what `backward` returns. Optimizers such as `LBFGS` call it more than
            once in a step, others once.

        Raises
        ------
        ValueError
            Without an optimizer.
        TypeError
            If the optimizer needs a closure, and there is none.

        Examples
        --------
        >>> import corgi
        >>> x, y = corgi.linspace(0, 1, 8).reshape(8, 1), corgi.linspace(1, 3, 8).reshape(8, 1)
        >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.LBFGS(), corgi.cost.mse)
        >>> def closure():
        ...     model.forward(x)
        ...     return model.backward(y)
        >>> model.update(closure)
        >>> round(model.layers[0].weight.item(), 6)
        2.0
        """
        if self.optimizer is None:
            raise ValueError("Model.update: expected a model with an optimizer; pass one: Model(layers, optimizer, cost)")
        if closure is not None and getattr(self.optimizer, "needs_closure", False):
            step: Any = self.optimizer.step  # which takes more than that of others
            step(self.parameters(), closure)
            return
        if closure is not None:
            closure()
        self.optimizer.step(self.parameters())

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        validation: Any = None,
        metrics: Any = (),
        callbacks: Callback | Iterable[Callback] = (),
        progress: bool | None = None,
        seed: Seed = None,
        initial_epoch: int = 0,
        stop_on_nan: bool = False,
    ) -> History:
        """Train: forward, backward and update for every batch of every epoch.

        The loss of an epoch is the mean over its rows, as costs are means over the rows of a batch. Layers are in training
        mode meanwhile, and in evaluation mode for the validation. Ctrl-C ends the training after the current step: the
        history so far is returned, and the model can be used, and trained on.

        Parameters
        ----------
        x, y : array_like, or tuple or dict of arrays
            Inputs and targets, a row for each sample. Floats that are not in an Array take the dtype of the model's first
            parameter. Or x is a `corgi.data.Loader`, or another iterable, of batches (inputs, targets), and there is no y;
            then `batch_size`, `shuffle` and `seed` are not used.
        epochs : int
            How many times to go through the data.
        batch_size : int
            Rows for each update.
        shuffle : bool
            Whether every epoch has a new random order.
        validation : tuple (x, y), float, Loader or iterable of batches, optional
            What the model is judged by after each epoch; a float is the share of the rows that are kept for this, chosen at
            random.
        metrics : str, function or Metric, or list or dict of these
            'accuracy', 'mse', 'mae', 'f1', 'top5' (or another number); functions ``f(output, target)`` that give the mean
            over the rows of a batch, as in `corgi.metric`. The figure of an epoch is that over all its rows, whatever the
            batches; in training each batch is judged before it is learnt from.
        callbacks : list of Callback
            See `corgi.callback`. With ``Checkpoint(path, resume=True)`` a script that was killed goes on exactly when it is
            started again.
        progress : bool, optional
            Whether to draw a progress bar with tqdm; by default if standard error is a terminal and tqdm is installed.
        seed : int, numpy.random.Generator or None
            Of the order and of the choice for the validation; None starts from the package's generator, see `corgi.seed`.
        initial_epoch : int
            Number of the first epoch, above 0 in a training that is gone on with.
        stop_on_nan : bool
            Whether to stop before the update when the loss is NaN or infinite; a warning is given in any case, once.

        Returns
        -------
        History
            Lists with a number for each complete epoch: 'loss', metrics, 'val_loss' ..., 'rate', 'seconds'.

        Raises
        ------
        ValueError, TypeError
            Without a cost or an optimizer, or if an argument is not what it should be.
        Exception
            What layers, data and callbacks raise.

        Examples
        --------
        >>> import corgi
        >>> corgi.seed(0)
        >>> x, y = corgi.data.iris()
        >>> model = corgi.Model(
        ...     [corgi.layer.Dense(4, 16, activation="relu"), corgi.layer.Dense(16, 3, activation="softmax")],
        ...     corgi.optimizer.Adam(0.01),
        ...     corgi.cost.cross_entropy,
        ... )
        >>> history = model.fit(x, y, epochs=60, validation=0.2, metrics="accuracy")
        >>> list(history)
        ['loss', 'accuracy', 'val_loss', 'val_accuracy', 'rate', 'seconds']
        >>> model.evaluate(x, y, metrics="accuracy")["accuracy"] > 0.9
        True
        """
        from corgi import training

        return training.fit(
            self,
            x,
            y,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            validation=validation,
            metrics=metrics,
            callbacks=callbacks,
            progress=progress,
            seed=seed,
            initial_epoch=initial_epoch,
            stop_on_nan=stop_on_nan,
        )

    def evaluate(self, x: Any, y: Any = None, *, batch_size: int = 256, metrics: Any = ()) -> dict[str, float]:
        """Loss and metrics over all rows, in evaluation mode.

        Parameters
        ----------
        x, y : array_like, or tuple or dict of arrays
            Inputs and targets; or x is a Loader or iterable of batches (inputs, targets), and there is no y.
        batch_size : int
            Rows that are computed at once.
        metrics : str, function or Metric, or list or dict of these
            See `fit`.

        Returns
        -------
        dict
            Of str to float: 'loss', if the model has a cost, and the metrics.

        Raises
        ------
        ValueError, TypeError
            If there are no rows, neither cost nor metrics, or an argument is not what it should be.

        Examples
        --------
        >>> import corgi
        >>> model = corgi.Model([corgi.layer.Dense(1, 1, corgi.initializer.zeros())], cost=corgi.cost.mse)
        >>> model.evaluate([[1.0], [2.0]], [[1.0], [-3.0]], metrics="mae")
        {'loss': 5.0, 'mae': 2.0}
        """
        from corgi import training

        return training.evaluate(self, x, y, batch_size=batch_size, metrics=metrics)

    def predict(self, x: Any, *, batch_size: int = 256) -> Array:
        """The outputs for all rows, in evaluation mode and not tracked.

        Parameters
        ----------
        x : array_like, or tuple or dict of arrays
            Inputs; or a `corgi.data.Loader` of inputs alone.
        batch_size : int
            Rows that are computed at once.

        Returns
        -------
        Array
            (rows, ...)

        Raises
        ------
        ValueError, TypeError
            If an argument is not what it should be.

        Examples
        --------
        >>> import corgi
        >>> model = corgi.Model([corgi.layer.Dense(2, 1, corgi.initializer.ones())])
        >>> model.predict([[1.0, 2.0], [3.0, 4.0]])
        Array([[3.],
               [7.]], dtype=float64)
        """
        from corgi import training

        return training.predict(self, x, batch_size=batch_size)

    def save(
        self, path: str | os.PathLike[str], *, weights_only: bool = False, extra: Any = None, **parts: Stateful
    ) -> None:
        """Write all that is needed to go on with the training exactly to one safetensors file, whole or not at all.

        That is the arrays of the model (parameters and statistics), the state of the optimizer with its schedule, and those
        of the package's random generator and of generators that layers have of their own. A crash or a full disk leaves the
        file that was there. Needs the package safetensors.

        Parameters
        ----------
        path : str or os.PathLike
        weights_only : bool
            Whether to write the arrays of the model alone, as a file of weights.
        extra : optional
            Numbers, strings, None, lists, dicts and arrays of one's own, which `load` gives back.
        **parts : objects with state_dict() and load_state_dict(state)
            Also to be saved, under their names: ``loader=loader``, ``average=average``.

        Raises
        ------
        OSError
            If the file cannot be written; one that was there stays.
        ModuleNotFoundError
            If the package safetensors is not installed.
        TypeError, ValueError
            If something cannot be saved.

        See Also
        --------
        corgi.callback.Checkpoint : saves a training by `fit`, and goes on with it.
        corgi.checkpoint.save_weights : writes weights under other names.

        Examples
        --------
        >>> import os, tempfile
        >>> import corgi
        >>> x, y = corgi.arange(6.0).reshape(6, 1), corgi.arange(6.0).reshape(6, 1)
        >>> model = corgi.Model([corgi.layer.Dense(1, 1)], corgi.optimizer.Adam(), corgi.cost.mse)
        >>> loader = corgi.data.Loader((x, y), 2, shuffle=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "run.safetensors")
        ...     for inputs, targets in loader:
        ...         _ = model.forward(inputs)
        ...         loss = model.backward(targets)
        ...         model.update()
        ...         model.save(path, loader=loader, extra={"loss": loss})
        ...     model.load(path, loader=loader) == {"loss": loss}
        True
        """
        from corgi import checkpoint

        checkpoint.save(self, path, weights_only=weights_only, extra=extra, parts=parts)

    def load(self, path: str | os.PathLike[str], *, weights_only: bool = False, **parts: Stateful) -> Any:
        """Take over what `save` wrote, in a model that was made in the same way: it goes on as the saved one, bit for bit.

        Parameters
        ----------
        path : str or os.PathLike
        weights_only : bool
            Whether to load the arrays of the model alone, of a file of weights or of one with more.
        **parts : objects with state_dict() and load_state_dict(state)
            That were saved under these names, and take over their states. Others in the file are left alone.

        Returns
        -------
        object
            The `extra` of `save`; its tuples have become lists, and NumPy's arrays and numbers Arrays and Python's.

        Raises
        ------
        OSError
            If the file cannot be read.
        ModuleNotFoundError
            If the package safetensors is not installed.
        ValueError
            If it is no such file, or not one of such a model, optimizer, and such parts; then nothing has changed.
        TypeError
            If a part is no such object.

        Examples
        --------
        >>> import os, tempfile
        >>> import corgi
        >>> first, second = (corgi.Model([corgi.layer.Dense(2, 1)], corgi.optimizer.Adam()) for _ in range(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "run.safetensors")
        ...     first.save(path)
        ...     second.load(path)
        >>> (first([[1.0, 2.0]]) == second([[1.0, 2.0]])).item()
        True
        """
        from corgi import checkpoint

        return checkpoint.load(self, path, weights_only=weights_only, parts=parts)

    def summary(self, input_shape: int | Sequence[int] | None = None, dtype: DTypeLike | None = None) -> Summary:
        """A table of the layers: path, type, output shape, parameters and their bytes.

        Parameters
        ----------
        input_shape : int or sequence of ints, optional
            Of an input, with the axis of the batch: the model is run on zeros of this shape to find the shapes.
        dtype : dtype, optional
            Of that input; by default that of the first parameter. Models that begin with an embedding need int64.

        Returns
        -------
        Summary
            Which prints as a table, and has the figures as attributes.

        Raises
        ------
        Exception
            What the layers raise for such an input.

        Examples
        --------
        >>> import corgi
        >>> corgi.Model([corgi.layer.Dense(64, 10), corgi.softmax]).summary((32, 64))
        layer     type   output    parameters  bytes
                  Model  (32, 10)
        layers.0  Dense  (32, 10)         650  5,200
        total                             650  5,200
        memory of the outputs: 2,560 bytes
        """
        from corgi.summary import summary

        return summary(self, input_shape, dtype)

    def __repr__(self) -> str:
        parts = [shown(layer) for layer in self.layers]
        parts += [f"{name}={shown(value)}" for name in ("optimizer", "cost") if (value := getattr(self, name)) is not None]
        return indented(type(self).__name__, parts)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_output": None}
