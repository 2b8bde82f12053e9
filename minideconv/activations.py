"""Activations: maps of each entry on its own, and softmax."""
import numpy as np

from . import kernels, ops
from .primitives import primitive
from .switches import recording
from .tensor import Tensor, as_floating


@primitive
def gate(g, *, x, slope):
    """g where the array x > 0, slope * g elsewhere; x is a constant here (the second derivative of
    a ramp is zero).
    """
    return kernels.active().gate(g.array, x, slope), lambda h: gate(h, x=x, slope=slope)


@primitive(fractions=True)
def _leaky_relu(x, *, negative_slope, done=False):
    """done: x is the result already, made by the operation before in its own pass over memory. What is above zero is
    so on both sides of a ramp, if its slope is not negative.
    """
    ramp = x.array
    return (ramp if done else kernels.active().gate(ramp, ramp, negative_slope),
            lambda g: gate(g, x=ramp, slope=negative_slope))


def leaky_relu(x, negative_slope=0.01) -> Tensor:
    """x where x > 0, negative_slope * x elsewhere (Maas et al. 2013). The slope at 0 is taken as
    negative_slope.
    """
    return _leaky_relu(x, negative_slope=negative_slope)


@primitive
def relu(x):
    """max(x, 0). The slope at 0 is taken as 0."""
    ramp = x.array
    return np.maximum(ramp, ramp.dtype.type(0)), lambda g: gate(g, x=ramp, slope=0.0)


@primitive(fractions=True)
def sigmoid(x):
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x.array))
    below = 1 + small
    above = np.maximum(small, x.array >= 0)             # 1 where x >= 0, which np.where takes ten times as long to find
    y, slope = above / below, small / (below * below)                                   # y * (1 - y), no cancellation
    return y, lambda g: g * (sigmoid(x) * sigmoid(-x) if recording() else slope)


@primitive(fractions=True)
def tanh(x):
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)), between -1 and 1."""
    return np.tanh(x.array), lambda g: g * (1 - tanh(x) ** 2)


@primitive(fractions=True)
def softplus(x):
    """log(1 + exp(x)), without overflow; its slope is the sigmoid."""
    return np.maximum(x.array, 0) + np.log1p(np.exp(-np.abs(x.array))), lambda g: g * sigmoid(x)


def log_softmax(x, axis=-1) -> Tensor:
    """x - log(sum(exp(x))) along `axis`, without overflow."""
    x = as_floating(x)
    x = x - x.array.max(axis=axis, keepdims=True)
    return x - ops.log(ops.sum(ops.exp(x), axis=axis, keepdims=True))


def softmax(x, axis=-1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`, without overflow."""
    x = as_floating(x)
    e = ops.exp(x - x.array.max(axis=axis, keepdims=True))
    return e / ops.sum(e, axis=axis, keepdims=True)


def dropout(x, p, *, rng, training) -> Tensor:
    """While training, each entry is zero with probability p and the others are divided by 1 - p
    (Srivastava et al. 2014); else x.

    rng: the np.random.Generator that draws. Raises ValueError for p outside [0, 1).
    """
    if not 0 <= p < 1:
        raise ValueError(f"p must lie in [0, 1); got {p!r}")
    x = as_floating(x)
    if not training or p == 0:
        return x
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a np.random.Generator, e.g. np.random.default_rng(0); got {rng!r}")
    return x * Tensor((rng.random(x.shape, np.float32) >= p).astype(x.dtype) / x.dtype.type(1 - p))
