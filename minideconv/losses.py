"""Losses: how far a prediction is from its target, as one number to walk back from.

All take (input, target, reduction="mean" | "sum" | "none"). Shapes must be equal: (4, 1) against
(4,) would broadcast to 16 pairs. The target takes the input's dtype, gets a gradient where it
requires one, and is copied where it is an array.
"""
from typing import Any

import numpy as np

from .activations import log_softmax, sigmoid
from .dtypes import plain_array
from .ops import where
from .primitives import primitive
from .tensor import Tensor, as_floating, as_tensor


def _target(target, input) -> Tensor:
    given, target = target, as_tensor(target, input)
    if target.shape != input.shape:
        raise ValueError(f"target must have the input's shape {input.shape}; got {target.shape}")
    return target if given is target and target.dtype == input.dtype else target.astype(input.dtype)


def _reduce(loss, reduction):
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; got {reduction!r}")


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target) ** 2."""
    input = as_floating(input)
    difference = input - _target(target, input)
    return _reduce(difference * difference, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|input - target|."""
    input = as_floating(input)
    return _reduce(abs(input - _target(target, input)), reduction)


def cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """-sum over k of p[k] * log_softmax(input)[k] for logits (N, K) and labels (N,), integers, or
    probabilities (N, K).

    reduction "mean" averages over N, "none" gives (N,). Raises ValueError for labels outside [0, K)
    or shapes that do not fit.
    """
    input = as_floating(input)
    if input.ndim != 2:
        raise ValueError(f"input must be logits (N, K); got shape {input.shape}")
    count, classes = input.shape
    labels = target.array if isinstance(target, Tensor) else plain_array(target, "target")
    if labels.shape == input.shape:
        return _reduce(-(log_softmax(input) * _target(target, input)).sum(axis=1), reduction)
    if labels.shape != (count,):
        raise ValueError(f"target must be labels ({count},) or probabilities {input.shape}; got {labels.dtype} "
                         f"{labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"target labels must be integers; got {labels.dtype}")
    if count and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"target labels must lie in [0, {classes}); got {labels.min()} to {labels.max()}")
    return _reduce(-log_softmax(input)[np.arange(count), labels], reduction)


def _probabilities(values: Tensor, name, hint="") -> Tensor:
    if values.size and not (values.array.min() >= 0 and values.array.max() <= 1):
        raise ValueError(f"{name} must lie in [0, 1]; got {values.array.min()} to {values.array.max()}{hint}")
    return values


@primitive
def _logistic_loss(x, t):
    """max(x, 0) - t * x + log(1 + exp(-|x|)); its slope for x is sigmoid(x) - t."""
    y = np.maximum(x.array, 0) - t.array * x.array + np.log1p(np.exp(-np.abs(x.array)))
    return y, lambda g: g * (sigmoid(x) - t), lambda g: -(g * x)


@primitive
def _cut_log(x):
    """log(x), cut off at -100; where it is cut off it is flat."""
    with np.errstate(divide="ignore"):
        y = np.maximum(np.log(x.array), -100)
    return y, lambda g: g * (y > -100) / where(y > -100, x, 1)


@primitive
def _bernoulli_entropy(x, t):
    """-(t * log(x) + (1 - t) * log(1 - x)), the logarithms cut off at -100; its slope (x - t) / (x
    * (1 - x)) is cut off at 1e12.
    """
    with np.errstate(divide="ignore"):
        yes, no = np.maximum(np.log(x.array), -100), np.maximum(np.log1p(-x.array), -100)
    product = x.array * (1 - x.array)
    inside = (product >= 1e-12).astype(x.dtype)
    cut = np.maximum(product, x.dtype.type(1e-12))

    def by_probability(g):
        return g * (x - t) / (x * (1 - x) * inside + cut * (1 - inside))
    return -(t.array * yes + (1 - t.array) * no), by_probability, lambda g: g * (_cut_log(1 - x) - _cut_log(x))


def binary_cross_entropy(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """-(t * log(x) + (1 - t) * log(1 - x)) for probabilities x in [0, 1]; logarithms are cut off at
    -100 (as in PyTorch).

    On logits use binary_cross_entropy_with_logits, which loses no digits. Raises ValueError for
    values outside [0, 1].
    """
    input = _probabilities(as_floating(input), "input", ": use binary_cross_entropy_with_logits for logits")
    return _reduce(_bernoulli_entropy(input, _probabilities(_target(target, input), "target")), reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of sigmoid(input), from the logits: max(x, 0) - t * x + log(1 + exp(-|x|)),
    which neither overflows nor loses digits.

    Raises ValueError for targets outside [0, 1].
    """
    input = as_floating(input)
    return _reduce(_logistic_loss(input, _probabilities(_target(target, input), "target")), reduction)
