"""Losses: how far a prediction is from its target, as one number to walk back from. Targets are constants.

All take (input, target, reduction="mean" | "sum" | "none"). Shapes must be equal: (4, 1) against (4,) would broadcast to 16 pairs.
"""
import numpy as np

from .activations import log_softmax, sigmoid
from .tensor import Tensor, as_tensor, primitive


def _constant(target, like) -> Tensor:
    target = target.detach() if isinstance(target, Tensor) else as_tensor(np.asarray(target), like)
    if target.shape != like.shape:
        raise ValueError(f"target must have the input's shape {like.shape}; got {target.shape}")
    return target if target.dtype == like.dtype else Tensor(target.array.astype(like.dtype))


def _reduce(loss, reduction):
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"reduction must be 'mean', 'sum' or 'none'; got {reduction!r}")


def mse_loss(input, target, reduction="mean"):
    """(input - target) ** 2."""
    input = as_tensor(input)
    difference = input - _constant(target, input)
    return _reduce(difference * difference, reduction)


def l1_loss(input, target, reduction="mean"):
    """|input - target|."""
    input = as_tensor(input)
    return _reduce(abs(input - _constant(target, input)), reduction)


def cross_entropy(input, target, reduction="mean"):
    """-sum over k of p[k] * log_softmax(input)[k] for logits (N, K) and labels (N,), integers, or probabilities (N, K).

    reduction "mean" averages over N, "none" gives (N,). Raises ValueError for labels outside [0, K) or shapes that do not fit.
    """
    input = as_tensor(input)
    if input.ndim != 2:
        raise ValueError(f"input must be logits (N, K); got shape {input.shape}")
    target = np.asarray(target.array if isinstance(target, Tensor) else target)
    count, classes = input.shape
    if target.shape == input.shape and target.dtype.kind == "f":
        return _reduce(-(log_softmax(input) * target.astype(input.dtype)).sum(axis=1), reduction)
    if target.shape != (count,):
        raise ValueError(f"target must be labels ({count},) or probabilities {input.shape}; got {target.dtype} {target.shape}")
    if target.dtype.kind not in "iu":
        raise TypeError(f"target labels must be integers; got {target.dtype}")
    if count and not 0 <= target.min() <= target.max() < classes:
        raise ValueError(f"target labels must lie in [0, {classes}); got {target.min()} to {target.max()}")
    return _reduce(-log_softmax(input)[np.arange(count), target], reduction)


def _probabilities(target, input) -> Tensor:
    target = _constant(target, input)
    if target.size and not (target.array.min() >= 0 and target.array.max() <= 1):
        raise ValueError(f"target must lie in [0, 1]; got {target.array.min()} to {target.array.max()}")
    return target


@primitive
def _logistic_loss(x, *, target):
    """max(x, 0) - t * x + log(1 + exp(-|x|)); its slope is sigmoid(x) - t."""
    return np.maximum(x.array, 0) - target * x.array + np.log1p(np.exp(-np.abs(x.array))), lambda g: g * (sigmoid(x) - target)


@primitive
def _bernoulli_entropy(x, *, target):
    """-(t * log(x) + (1 - t) * log(1 - x)), the logarithms cut off at -100; its slope (x - t) / (x * (1 - x)), cut off at 1e12."""
    with np.errstate(divide="ignore"):
        yes, no = np.maximum(np.log(x.array), -100), np.maximum(np.log1p(-x.array), -100)
    cut = np.maximum(x.array * (1 - x.array), x.dtype.type(1e-12))
    inside = (cut == x.array * (1 - x.array)).astype(x.dtype)

    def vjp(g):
        return g * (x - target) / (x * (1 - x) * inside + cut * (1 - inside))
    return -(target * yes + (1 - target) * no), vjp


def binary_cross_entropy(input, target, reduction="mean"):
    """-(t * log(x) + (1 - t) * log(1 - x)) for probabilities x in [0, 1]; logarithms are cut off at -100 (as in PyTorch).

    On logits use binary_cross_entropy_with_logits, which loses no digits. Raises ValueError for values outside [0, 1].
    """
    input = as_tensor(input)
    if input.size and not (input.array.min() >= 0 and input.array.max() <= 1):
        raise ValueError(f"input must lie in [0, 1]; got {input.array.min()} to {input.array.max()}: use binary_cross_entropy_with_logits for logits")
    return _reduce(_bernoulli_entropy(input, target=_probabilities(target, input).array.copy()), reduction)


def binary_cross_entropy_with_logits(input, target, reduction="mean"):
    """Binary cross-entropy of sigmoid(input), from the logits: max(x, 0) - t * x + log(1 + exp(-|x|)), which neither overflows nor loses digits."""
    input = as_tensor(input)
    return _reduce(_logistic_loss(input, target=_probabilities(target, input).array.copy()), reduction)
