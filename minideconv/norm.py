"""Batch normalisation, and the leaky ReLU that so often follows it, in one pass over memory.

Notation: x (..., C) is a batch of R = N or N*H*W rows of C channels; xhat = (x - mean) /
sqrt(variance + eps) per channel; y = xhat * weight + bias. Formulas: Ioffe and Szegedy 2015. The
mean is subtracted before anything is scaled, so that channels far from zero keep their digits; what
its rounding to x's precision leaves over goes into the shift.
"""
import functools

import numpy as np

from . import kernels, ops
from .kernels.reference import Affine
from .primitives import primitive
from .switches import recording
from .tensor import Tensor, as_floating, as_tensor, grad


def _axes(x):
    """All axes but the channels'."""
    return tuple(range(x.ndim - 1))


def _ramp(y, slope):
    """Leaky ReLU of an evaluation or a differentiable form."""
    return y if slope == 1 else y * np.where(y.array > 0, 1, slope).astype(y.dtype)


def _differentiable(x, weight, bias, eps, slope):
    """The same map in operations on Tensors, for gradients of gradients."""
    centred = x - ops.mean(x, axis=_axes(x))
    y = centred / ops.sqrt(ops.mean(centred * centred, axis=_axes(x)) + eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return _ramp(y, slope)


@primitive
def batch_norm_training(x, weight=None, bias=None, *, eps, slope, moments):
    """(x - mean) / sqrt(variance + eps) * weight + bias, then leaky ReLU with `slope` (1: none).
    moments: mean and variance of x.
    """
    (mean, variance), count, active = moments, x.size // x.shape[-1], kernels.active()
    inverse = 1 / np.sqrt(variance + eps)
    centre = mean.astype(x.dtype)
    rest = mean - centre
    scale = inverse if weight is None else inverse * weight.array
    shift = -rest * scale if bias is None else bias.array - rest * scale
    affine = Affine(centre, scale.astype(x.dtype), shift.astype(x.dtype), slope)

    @functools.lru_cache(maxsize=1)
    def sums(g):
        """What all three gradients need: the sums of g' and of g' * xhat, with g' = g through the
        activation.
        """
        plain, weighted = active.normalise_sums(g.array, x.array, affine)
        return plain, (weighted - rest * plain) * inverse

    def by_input(g):
        plain, weighted = sums(g)
        along = -weighted / count * scale * inverse
        constant = -plain / count * scale - rest * along
        return Tensor(active.normalise_input(g.array, x.array, affine, along.astype(x.dtype), constant.astype(x.dtype)))

    def again(g, place):
        """The gradient as a recorded computation: of <y, g>, by the differentiable form."""
        inputs = [x, weight, bias]
        return grad(_differentiable(x, weight, bias, eps, slope), inputs[place], gradient=g, create_graph=True)[0]
    return (active.normalise(x.array, affine),
            lambda g: again(g, 0) if recording() else by_input(g),
            lambda g: again(g, 1) if recording() else Tensor(sums(g)[1].astype(x.dtype)),
            lambda g: again(g, 2) if recording() else Tensor(sums(g)[0].astype(x.dtype)))


def _check(x, **channels):
    """ValueError or TypeError where the arrays of one entry per channel do not fit x; None is left
    out.
    """
    if x.ndim not in (2, 4):
        raise ValueError(f"x must be (N, C) or (N, H, W, C); got shape {x.shape}")
    for name, one in channels.items():
        if one is not None and one.shape != x.shape[-1:]:
            raise ValueError(f"{name} must have one entry per channel, shape {x.shape[-1:]}, for x of {x.shape}; "
                             f"got {one.shape}")
        if name in ("weight", "bias") and one is not None and one.dtype != x.dtype:
            raise TypeError(f"{name} must have x's dtype {x.dtype}; got {one.dtype}")


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *,
               negative_slope=1.0) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel of x (N, C) or (N, H, W,
    C) (Ioffe and Szegedy 2015).

    training: mean and (biased) variance of this batch, and running_mean, running_var (C,) updated
    in place, unless None: new = (1 - momentum) * old + momentum * batch, the running variance
    unbiased (PyTorch's rule). Otherwise the running ones are used. weight, bias: (C,), of x's
    dtype, or None. negative_slope: a leaky ReLU on the result in the same pass (1: none). Raises
    ValueError for shapes that do not fit, for a training batch with one value per channel, for
    missing running statistics; TypeError for a weight or bias of another dtype.
    """
    x = as_floating(x)
    weight, bias = (None if one is None else as_tensor(one, x) for one in (weight, bias))
    _check(x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("running_mean and running_var must be given when training=False")
        inverse = 1 / np.sqrt(np.asarray(running_var, x.dtype) + x.dtype.type(eps))
        y = (x - np.asarray(running_mean, x.dtype)) * (inverse if weight is None else weight * inverse)
        return _ramp(y if bias is None else y + bias, negative_slope)
    count = x.size // x.shape[-1]
    if count < 2:
        raise ValueError(f"x must have at least 2 values per channel when training=True (their variance is needed); "
                         f"got shape {x.shape}")
    mean, variance = moments = kernels.active().moments(x.array)
    for running, batch in ((running_mean, mean), (running_var, variance * count / (count - 1))):
        if running is not None:
            running *= 1 - momentum
            running += momentum * batch
    return batch_norm_training(x, weight, bias, eps=eps, slope=negative_slope, moments=moments)
