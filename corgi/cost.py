"""Costs: functions of an output and a target that give one number, an Array without axes.

Above: `Model`, users.  Below: the ops of the package.  The target takes the output's dtype, and shapes never broadcast.

Losses belong to elements (`mse`, `l1`, `huber`, `hinge`, the binary cross-entropies) or to rows along the last axis
(`cross_entropy`, `softmax_cross_entropy`, `nll`, `kl`, `cosine`).  ``reduction`` says what becomes of them: their mean (the
default), their sum, or nothing.  ``weights`` are factors of the losses, and the mean is then the weighted one, which divides
by the sum of the weights; for the costs that take classes they are factors of the classes instead.  A model takes a cost
with options as `functools.partial(cost.huber, delta=2.0)`.

Other libraries' names: ``MSELoss`` is `mse`; ``L1Loss`` and ``mean_absolute_error`` are `l1`; ``HuberLoss`` is `huber`, and
``SmoothL1Loss(beta)`` is ``huber(delta=beta)`` divided by beta; ``CrossEntropyLoss`` and
``CategoricalCrossentropy(from_logits=True)`` are `softmax_cross_entropy`; ``NLLLoss`` is `nll`; ``BCELoss`` is
`binary_cross_entropy` and ``BCEWithLogitsLoss`` is `sigmoid_binary_cross_entropy` (PyTorch's means do not divide by their
``weight``); ``KLDivLoss(reduction="batchmean")`` is `kl`; ``CosineEmbeddingLoss`` is `cosine` with `labels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corgi._core import (
    absolute,
    binary_cross_entropy,
    cost_operands,
    cross_entropy,
    hinge,
    huber,
    l1,
    log,
    mse,
    nll,
    reduced_losses,
    relu,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
    sqrt,
    square,
    where,
)
from corgi._core import max as largest
from corgi._core import sum as sum_over
from corgi.composite import as_array

if TYPE_CHECKING:
    from corgi._core import Array
    from corgi._typing import ArrayLike, Reduction

__all__ = [
    "binary_cross_entropy",
    "cosine",
    "cross_entropy",
    "hinge",
    "huber",
    "kl",
    "l1",
    "mse",
    "nll",
    "sigmoid_binary_cross_entropy",
    "softmax_cross_entropy",
]


def kl(
    log_probabilities: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None, reduction: Reduction = "mean"
) -> Array:
    """Kullback-Leibler divergence of a target from what the output says, ``sum(target * (log(target) - output))``.

    Parameters
    ----------
    log_probabilities : array_like
        (..., classes), floats: logarithms of probabilities, as `activation.log_softmax` gives them (not checked).
    target : array_like
        Probabilities of the same shape, at least 0 (checked); takes the output's dtype. 0 * log(0) counts as 0.
    weights : array_like, optional
        Factors of the rows' losses, broadcast to shape (...). The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "mean" is over rows; "none" gives the weighted losses of the rows.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of shape (...) for "none".

    Raises
    ------
    TypeError
        If the output is of integers or bools.
    ValueError
        If the shapes differ, there are no rows or classes, a probability is negative, or the weights sum to 0.

    Examples
    --------
    >>> from corgi import activation, cost
    >>> cost.kl(activation.log_softmax([[0.0, 0.0]]), [[1.0, 0.0]])
    Array(0.69314718, dtype=float64)
    """
    x, t = cost_operands(log_probabilities, target, "kl", 1)
    if (t < 0).any():
        raise ValueError("kl: expected target probabilities of at least 0, got a negative one")
    used = t != 0
    losses = sum_over(t * (log(where(used, t, 1.0)) - where(used, x, 0.0)), -1)
    return reduced_losses(losses, weights, reduction, "kl")


def cosine(
    output: ArrayLike,
    target: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    margin: float = 0.0,
    weights: ArrayLike | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Mean over the rows of ``1 - c``, c being the cosine of the angle between a row of the output and of the target.

    The lengths of the rows do not matter. A row of zeros has the cosine 0 with every other.

    Parameters
    ----------
    output : array_like
        (..., features), floats.
    target : array_like
        Of the same shape; takes the output's dtype.
    labels : array_like, optional
        Of shape (...): 1 for rows that are to be alike, -1 for rows that are not, whose loss is ``max(0, c - margin)``. By
        default all are to be alike.
    margin : float
        Cosine from which rows that are not to be alike cost something.
    weights : array_like, optional
        Factors of the rows' losses, broadcast to shape (...). The mean divides by the sum of the weights.
    reduction : {"mean", "sum", "none"}
        "none" gives the weighted losses of the rows.

    Returns
    -------
    Array
        In the output's dtype: without axes, or of shape (...) for "none".

    Raises
    ------
    TypeError
        If the output is of integers or bools.
    ValueError
        If the shapes differ, there are no rows or features, a label is neither 1 nor -1, or the weights sum to 0.

    Examples
    --------
    >>> from corgi import cost
    >>> cost.cosine([[1.0, 0.0], [1.0, 1.0]], [[3.0, 0.0], [-1.0, 1.0]], reduction="none")
    Array([0., 1.], dtype=float64)
    """
    x, t = cost_operands(output, target, "cosine", 1)
    cosines = sum_over(_direction(x) * _direction(t), -1)
    losses = 1.0 - cosines
    if labels is not None:
        signs = as_array(labels)
        if signs.shape != losses.shape:
            raise ValueError(f"cosine: expected labels of shape {losses.shape}, one for each row, got {signs.shape}")
        if not (absolute(signs) == 1).all():
            raise ValueError("cosine: expected labels of 1 or -1, got others")
        losses = where(signs == 1, losses, relu(cosines - margin))
    return reduced_losses(losses, weights, reduction, "cosine")


def _direction(x: Array) -> Array:
    """The rows with length 1; rows of zeros stay. The scale, which cancels, keeps the squares in range."""
    scale = largest(absolute(x.detach()), -1, keepdims=True)
    x = x / where(scale == 0, 1.0, scale)
    squares = sum_over(square(x), -1, keepdims=True)
    return x / sqrt(where(squares == 0, 1.0, squares))
