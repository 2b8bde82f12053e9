"""Reductions: many entries become one, along `axis` (None: all, an integer or a tuple of them);
keepdims leaves axes of length 1.
"""
import math
from typing import Any

import numpy as np

from . import kernels
from .primitives import primitive
from .shaping import axes_of, broadcast_to, reshape
from .tensor import Tensor, as_floating


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


def _shares(array, top, axes):
    """The share of each entry in the gradient of an extreme: equals share it. NaN counts as equal
    to NaN.
    """
    ties = array == top
    if np.isnan(top).any():
        ties |= (array != array) & (top != top)
    share = ties.astype(array.dtype)
    if np.count_nonzero(ties) > top.size:               # some are more than one
        share /= share.sum(axis=axes, keepdims=True)
    return share


@primitive
def max(x, *, axis=None, keepdims=False):
    """The largest entry along `axis`; equals share the gradient."""
    axes = axes_of(axis, x.ndim)
    top = x.array.max(axis=axes, keepdims=True)
    return top if keepdims else top.squeeze(axes), lambda g: reshape(g, top.shape) * _shares(x.array, top, axes)


@primitive
def min(x, *, axis=None, keepdims=False):
    """The smallest entry along `axis`; equals share the gradient."""
    axes = axes_of(axis, x.ndim)
    low = x.array.min(axis=axes, keepdims=True)
    return low if keepdims else low.squeeze(axes), lambda g: reshape(g, low.shape) * _shares(x.array, low, axes)
