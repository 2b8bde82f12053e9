"""Reductions: many entries become one, along `axis` (None: all, an integer or a tuple of them);
keepdims leaves axes of length 1.
"""
import math
from typing import Any

import numpy as np

from . import kernels
from .primitives import primitive
from .shaping import axes_of, broadcast_to, reshape
from .tensor import Tensor, as_floating, engine_tensor


def _kept(shape, axes):
    """The shape that a reduction over `axes` has with keepdims=True."""
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape))


def _count(x, axis) -> int:
    """How many entries of x become one."""
    return math.prod(x.shape[a] for a in axes_of(axis, x.ndim))


@primitive
def sum(x, *, axis=None, keepdims=False):
    """The sum over `axis`; of integers and booleans it is int64, or uint64 (NumPy's rule)."""
    axes = axes_of(axis, x.ndim)
    return (kernels.active().sum(x.array, axes, keepdims),
            lambda g: broadcast_to(reshape(g, _kept(x.shape, axes)), x.shape))


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The average over `axis`."""
    x = as_floating(x)
    return sum(x, axis=axis, keepdims=keepdims) / _count(x, axis)


def var(x: Any, axis: Any = None, keepdims: bool = False, *, ddof: int = 0) -> Tensor:
    """The mean squared distance from the mean over `axis`: divided by n - ddof for n entries, as
    np.var. ValueError where that is not above 0.
    """
    x = as_floating(x)
    count = _count(x, axis)
    if not ddof < count:
        raise ValueError(f"ddof must be below the number of entries, {count} along axis {axis!r} of shape "
                         f"{x.shape}; got {ddof!r}")
    centred = x - mean(x, axis, keepdims=True)
    return sum(centred * centred, axis=axis, keepdims=keepdims) / (count - ddof)


def std(x: Any, axis: Any = None, keepdims: bool = False, *, ddof: int = 0) -> Tensor:
    """The square root of var. It has a kink, and no gradient, where all entries are equal."""
    return var(x, axis, keepdims, ddof=ddof).sqrt()


@primitive
def _to_extremes(g, *, x, top, axes):
    """g to the entries of the array x that are its extremes `top` along axes (which are kept there); equals share it.
    x is a constant here.
    """
    def from_extremes(h):
        return sum(h * engine_tensor(kernels.active().share(np.ones_like(top), x, top, axes)), axis=axes, keepdims=True)
    return kernels.active().share(g.array, x, top, axes), from_extremes


@primitive
def max(x, *, axis=None, keepdims=False):
    """The largest entry along `axis`; equals share the gradient."""
    axes = axes_of(axis, x.ndim)
    top = x.array.max(axis=axes, keepdims=True)
    return (top if keepdims else top.squeeze(axes),
            lambda g: _to_extremes(reshape(g, top.shape), x=x.array, top=top, axes=axes))


@primitive
def min(x, *, axis=None, keepdims=False):
    """The smallest entry along `axis`; equals share the gradient."""
    axes = axes_of(axis, x.ndim)
    low = x.array.min(axis=axes, keepdims=True)
    return (low if keepdims else low.squeeze(axes),
            lambda g: _to_extremes(reshape(g, low.shape), x=x.array, top=low, axes=axes))
