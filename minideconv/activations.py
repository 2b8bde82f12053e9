"""Activations: maps of each entry on its own, and softmax."""
import numpy as np

from . import kernels, ops, parallel
from .tensor import Tensor, as_tensor, primitive, recording


@primitive
def gate(g, *, x, slope):
    """g where the array x > 0, slope * g elsewhere; x is a constant here (the second derivative of a ramp is zero)."""
    flow = kernels.plain(g.data).reshape(-1)
    out = np.empty_like(flow)
    active = kernels.active()
    parallel.over_rows(lambda g, x, out: active.gate(g, x, slope, out), flow, x.reshape(-1), out)
    return out.reshape(g.shape), lambda h: gate(h, x=x, slope=slope)


@primitive
def _leaky_relu(x, *, negative_slope):
    ramp = kernels.plain(x.data)
    return gate(x, x=ramp, slope=negative_slope).data, lambda g: gate(g, x=ramp, slope=negative_slope)


def leaky_relu(x, negative_slope=0.01):
    """x where x > 0, negative_slope * x elsewhere (Maas et al. 2013). The slope at 0 is taken as negative_slope."""
    return _leaky_relu(x, negative_slope=negative_slope)


@primitive
def relu(x):
    """max(x, 0). The slope at 0 is taken as 0."""
    ramp = kernels.plain(x.data)
    return np.maximum(ramp, 0), lambda g: gate(g, x=ramp, slope=0.0)


@primitive
def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x.data))
    y = np.where(x.data >= 0, 1, small) / (1 + small)
    slope = small / (1 + small) ** 2            # y * (1 - y) without cancellation
    return y, lambda g: g * (sigmoid(x) * sigmoid(-x) if recording() else slope)


@primitive
def tanh(x):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)), between -1 and 1."""
    return np.tanh(x.data), lambda g: g * (1 - tanh(x) ** 2)


@primitive
def softplus(x):
    """log(1 + exp(x)), without overflow; its slope is the sigmoid."""
    return np.maximum(x.data, 0) + np.log1p(np.exp(-np.abs(x.data))), lambda g: g * sigmoid(x)


def log_softmax(x, axis=-1):
    """x - log(sum(exp(x))) along `axis`, without overflow."""
    x = as_tensor(x)
    x = x - x.data.max(axis=axis, keepdims=True)
    return x - ops.log(ops.sum(ops.exp(x), axis=axis, keepdims=True))


def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) along `axis`, without overflow."""
    x = as_tensor(x)
    e = ops.exp(x - x.data.max(axis=axis, keepdims=True))
    return e / ops.sum(e, axis=axis, keepdims=True)


def dropout(x, p, *, rng, training):
    """While training, each entry is zero with probability p and the others are divided by 1 - p (Srivastava et al. 2014); else x.

    rng: the np.random.Generator that draws. Raises ValueError for p outside [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"p must lie in [0, 1); got {p!r}")
    if not training or p == 0:
        return as_tensor(x)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a np.random.Generator, e.g. np.random.default_rng(0); got {rng!r}")
    x = as_tensor(x)
    return x * Tensor((rng.random(x.shape, np.float32) >= p).astype(x.dtype) / x.dtype.type(1 - p))
