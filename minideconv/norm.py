"""Batch normalisation, and the leaky ReLU that so often follows it, in one pass over memory.

Notation: x (R, C) is the batch as rows (R = N or N*H*W) of C channels; xhat = (x - mean) / sqrt(variance + eps) per channel;
y = xhat * weight + bias. Formulas: Ioffe and Szegedy 2015.
"""
import functools

import numpy as np

from . import kernels, ops, parallel
from .tensor import Tensor, as_tensor, grad, primitive, recording

ROW_BYTES = 1 << 18         # a chunk of rows that stays in a cache between two looks at it


def _moments(x):
    """Mean and (biased) variance of the rows of x, by Chan's rule: chunks on their own, merged in their order, in float64."""
    parts = parallel.spans(len(x), max(1, ROW_BYTES // max(1, x[:1].nbytes)))
    means, deviations = np.empty((2, len(parts), x.shape[1]), x.dtype)
    parallel.run(lambda i: kernels.active().moments(x[parts[i]], means[i], deviations[i]), len(parts))
    rows = np.array([[part.stop - part.start] for part in parts], np.float64)
    mean = (rows * means).sum(axis=0) / len(x)
    variance = (deviations + rows * (means - mean) ** 2).sum(axis=0) / len(x)
    return mean, variance


def _differentiable(x, weight, bias, eps, slope):
    """The same map in operations on Tensors, for gradients of gradients."""
    centred = x - ops.mean(x, axis=0)
    y = centred / ops.sqrt(ops.mean(centred * centred, axis=0) + eps)
    y = y if weight is None else y * weight
    y = y if bias is None else y + bias
    return y if slope == 1 else y * np.where(y.data > 0, 1, slope).astype(y.dtype)


@primitive
def batch_norm_rows(x, weight=None, bias=None, *, eps, slope, moments):
    """Rows of (x - mean) / sqrt(variance + eps) * weight + bias, then leaky ReLU with `slope` (1: none). moments: mean and variance of x."""
    rows = kernels.plain(x.data)
    mean, variance = moments
    inverse = 1 / np.sqrt(variance + eps)
    scale = inverse if weight is None else inverse * weight.data
    shift = -mean * scale if bias is None else bias.data - mean * scale
    mean, inverse, scale, shift = (np.ascontiguousarray(v, x.dtype) for v in (mean, inverse, scale, shift))
    active = kernels.active()
    out = np.empty_like(rows)
    parallel.over_rows(lambda x, out: active.normalise(x, scale, shift, slope, out), rows, out)

    @functools.lru_cache(maxsize=1)
    def sums(g):
        """What all three gradients need: sums over the rows of g' and of g' * xhat, with g' = g through the activation."""
        parts = parallel.spans(len(rows), max(1, ROW_BYTES // max(1, rows[:1].nbytes)))
        shares, flow = np.empty((len(parts), 2, rows.shape[1]), rows.dtype), kernels.plain(g.data)
        parallel.run(lambda i: active.normalise_sums(flow[parts[i]], rows[parts[i]], scale, shift, slope, mean, inverse, shares[i]), len(parts))
        return shares.sum(axis=0, dtype=np.float64)

    def by_input(g):
        along = -sums(g)[1] / len(rows) * scale * inverse
        constant = -sums(g)[0] / len(rows) * scale - mean * along
        along, constant = along.astype(x.dtype), constant.astype(x.dtype)
        gradient = np.empty_like(rows)
        parallel.over_rows(lambda g, x, out: active.normalise_input(g, x, scale, shift, slope, along, constant, out), kernels.plain(g.data), rows, gradient)
        return Tensor(gradient)

    def again(g, place):
        """The gradient as a recorded computation: of <y, g>, by the differentiable form."""
        inputs = [x, weight, bias]
        return grad(_differentiable(x, weight, bias, eps, slope), inputs[place], gradient=g, create_graph=True)[0]
    return (out, lambda g: again(g, 0) if recording() else by_input(g),
            lambda g: again(g, 1) if recording() else Tensor(sums(g)[1].astype(x.dtype)),
            lambda g: again(g, 2) if recording() else Tensor(sums(g)[0].astype(x.dtype)))


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, negative_slope=1.0):
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel of x (N, C) or (N, H, W, C) (Ioffe and Szegedy 2015).

    training: mean and (biased) variance of this batch, and running_mean, running_var (C,) updated in place, unless None:
    new = (1 - momentum) * old + momentum * batch, the running variance unbiased (PyTorch's rule). Otherwise the running ones are used.
    weight, bias: (C,) or None. negative_slope: a leaky ReLU on the result in the same pass (1: none).
    Raises ValueError for shapes that do not fit, for a training batch with one value per channel, for missing running statistics.
    """
    x = as_tensor(x)
    if x.ndim not in (2, 4):
        raise ValueError(f"x must be (N, C) or (N, H, W, C); got shape {x.shape}")
    channels = x.shape[-1]
    for name, one in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if one is not None and one.shape != (channels,):
            raise ValueError(f"{name} must have one entry per channel, shape ({channels},), for x of {x.shape}; got {one.shape}")
    weight, bias = (None if one is None else as_tensor(one, x) for one in (weight, bias))
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("running_mean and running_var must be given when training=False")
        mean, variance = np.asarray(running_mean, x.dtype), np.asarray(running_var, x.dtype)
        scale = 1 / np.sqrt(variance + x.dtype.type(eps)) if weight is None else weight / np.sqrt(variance + x.dtype.type(eps))
        y = (x - mean) * scale
        y = y if bias is None else y + bias
        return y if negative_slope == 1 else y * np.where(y.data > 0, 1, negative_slope).astype(y.dtype)
    count = x.size // channels
    if count < 2:
        raise ValueError(f"x must have at least 2 values per channel when training=True (their variance is needed); got shape {x.shape}")
    rows = x if x.ndim == 2 else ops.reshape(x, -1, channels)
    mean, variance = moments = _moments(kernels.plain(rows.data))
    for running, batch in ((running_mean, mean), (running_var, variance * count / (count - 1))):
        if running is not None:
            running *= 1 - momentum
            running += momentum * batch
    y = batch_norm_rows(rows, weight, bias, eps=eps, slope=negative_slope, moments=moments)
    return y if x.ndim == 2 else ops.reshape(y, x.shape)
