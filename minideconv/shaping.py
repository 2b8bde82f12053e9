"""Changes of shape, and taking and joining parts: each is a linear map, and its vjp the transpose.

Axes are NumPy's: an axis is an integer, also a negative one, and where several make sense a tuple
or None. An array that a Tensor is indexed with is copied, so that the tape keeps what it was.
"""
import operator
from typing import Any, Iterable

import numpy as np

from . import kernels
from .dtypes import plain_array
from .primitives import primitive
from .switches import recording
from .tensor import Tensor, as_floating, as_tensor, engine_tensor


def axes_of(axis: Any, ndim: int) -> tuple:
    """`axis` (None: all) as a sorted tuple of non-negative integers. TypeError or ValueError for
    what names no axes of a Tensor of `ndim`.
    """
    axes = tuple(range(ndim)) if axis is None else tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    for a in axes:
        if not hasattr(a, "__index__"):
            raise TypeError(f"axis must be None, an integer or a tuple of them; got {axis!r}")
        if not -ndim <= a < ndim:
            raise ValueError(f"axis {a} is out of bounds for a Tensor of {ndim} axes")
    if len({a % ndim for a in axes}) < len(axes):
        raise ValueError(f"axis names an axis twice: {axis!r}")
    return tuple(sorted(operator.index(a) % ndim for a in axes))


def _one_axis(axis, ndim):
    if not hasattr(axis, "__index__"):
        raise TypeError(f"axis must be one integer; got {axis!r}")
    return axes_of(axis, ndim)[0]


def fit(g: Tensor, like: Tensor) -> Tensor:
    """The transpose of broadcasting: g summed over the axes along which `like` was repeated, in
    like's dtype.
    """
    if g.shape != like.shape:
        extra = g.ndim - like.ndim
        stretched = (extra + axis for axis, n in enumerate(like.shape) if n == 1 and g.shape[extra + axis] != 1)
        repeated = (*range(extra), *stretched)
        g = reshape(g.sum(axis=repeated) if repeated else g, like.shape)
    return g if g.dtype == like.dtype else g.astype(like.dtype)


@primitive
def _broadcast_to(x, *, shape):
    return np.broadcast_to(x.array, shape), lambda g: fit(g, x)


def broadcast_to(x: Any, shape: Iterable) -> Tensor:
    """x repeated along new axes and axes of length 1 until it has `shape`."""
    return _broadcast_to(x, shape=tuple(shape) if isinstance(shape, Iterable) else (shape,))


@primitive
def _reshape(x, *, shape):
    return x.array.reshape(shape), lambda g: _reshape(g, shape=x.shape)


def reshape(x: Any, *shape) -> Tensor:
    """The same entries in the same order under another shape; one length may be -1."""
    return _reshape(x, shape=tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


def flatten(x: Any) -> Tensor:
    """All entries in one row, the last axis fastest."""
    return reshape(x, -1)


def squeeze(x: Any, axis: Any = None) -> Tensor:
    """Without the axes of length 1 that `axis` names (None: all of them). ValueError where one is
    longer.
    """
    x = as_tensor(x)
    axes = [a for a in axes_of(axis, x.ndim) if axis is not None or x.shape[a] == 1]
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze takes away axes of length 1; axis {axis!r} of shape {x.shape} is longer")
    return reshape(x, tuple(n for a, n in enumerate(x.shape) if a not in axes))


@primitive
def _transpose(x, *, axes):
    return x.array.transpose(axes), lambda g: _transpose(g, axes=tuple(np.argsort(axes)))


def transpose(x: Any, *axes) -> Tensor:
    """The axes in another order, reversed where none is given."""
    x = as_tensor(x)
    axes = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    axes = axes or tuple(reversed(range(x.ndim)))
    if len(axes) != x.ndim or len(axes_of(axes, x.ndim)) != x.ndim:
        raise ValueError(f"axes must name each of the {x.ndim} axes once; got {axes!r}")
    return _transpose(x, axes=tuple(a % x.ndim for a in axes))


def matrix_transpose(x: Tensor) -> Tensor:
    """The last two axes of x (..., M, K) exchanged."""
    return _transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


@primitive
def _getitem(x, *, index):
    return x.array[index], lambda g: _putitem(g, index=index, shape=x.shape)


@primitive
def _putitem(g, *, index, shape):
    """Zeros of `shape` with g added at `index`, as often as an entry is named there: the transpose
    of indexing.
    """
    out = np.zeros(shape, g.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if isinstance(index, np.ndarray) and index.dtype.kind != "b" and index.ndim == 1 and g.array[:1].size >= 32:
        for place, row in zip(index.tolist(), g.array, strict=True):        # a third of np.add.at's time
            out[place] += row
    elif any(isinstance(part, np.ndarray) and part.dtype.kind != "b" for part in parts):
        np.add.at(out, index, g.array)      # integers may name an entry twice
    else:
        out[index] = g.array
    return out, lambda h: _getitem(h, index=index)


def _index_part(part):
    """One part of an index, as the tape may keep it: whatever NumPy takes for an array becomes one
    of its own.
    """
    if part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer, np.bool_)):
        return part
    if hasattr(part, "__index__") and not hasattr(part, "__array__"):
        return operator.index(part)
    array = np.array(part.array if isinstance(part, Tensor) else plain_array(part, "an index"))
    # [] has no dtype of its own.
    return array.astype(np.intp) if array.size == 0 and not hasattr(part, "dtype") else array


def getitem(x: Any, index: Any) -> Tensor:
    """x[index] with NumPy's rules; Tensors in the index stand for their arrays."""
    return _getitem(x, index=tuple(map(_index_part, index)) if isinstance(index, tuple) else _index_part(index))


@primitive
def _pad(x, *, widths, values):
    inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    return np.pad(x.array, widths, constant_values=values), lambda g: _getitem(g, index=inside)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Tensor:
    """x with constant entries around it, as np.pad.

    pad_width: entries before and after along each axis: n everywhere, (before, after) for every
    axis, a pair for each axis, or {axis: n or pair}. constant_values: a number, or numbers in pairs
    as the widths. Raises ValueError for widths that do not fit, for another mode, and for a
    constant that x's dtype does not hold.
    """
    x = as_tensor(x)
    if isinstance(constant_values, Tensor):
        raise TypeError("constant_values must be numbers, which get no gradient; got a Tensor")
    if mode != "constant":
        raise ValueError(f"mode must be 'constant', the only one here; got {mode!r}")
    if isinstance(pad_width, dict):
        named = {_one_axis(axis, x.ndim): width for axis, width in pad_width.items()}
        pad_width = [np.broadcast_to(named.get(axis, 0), 2).tolist() for axis in range(x.ndim)]
    widths, values = np.asarray(pad_width), plain_array(constant_values, "constant_values")
    if widths.dtype.kind not in "iu" and x.ndim:
        raise TypeError(f"pad_width must be integers; got {pad_width!r}")
    if widths.size and widths.min() < 0:
        raise ValueError(f"pad_width must not be negative; got {pad_width!r}")
    try:
        widths, values = (np.broadcast_to(pairs, (x.ndim, 2)) for pairs in (widths, values))
    except ValueError:
        raise ValueError("pad_width and constant_values must be one number, a pair, or a pair for each of the "
                         f"{x.ndim} axes; got {pad_width!r} and {constant_values!r}") from None
    x = as_floating(x) if values.dtype.kind == "f" else x
    if x.dtype.kind != "f" and not np.array_equal(values.astype(x.dtype), values):
        raise ValueError(f"constant_values {constant_values!r} do not fit a Tensor of {x.dtype}")
    pairs = tuple((int(before), int(after)) for before, after in widths)
    return _pad(x, widths=pairs, values=values.astype(x.dtype)) if pairs else x         # no axis, nothing around it


@primitive
def _concatenate(*tensors, axis):
    ends = np.cumsum([0] + [t.shape[axis] for t in tensors])
    before, join = (slice(None),) * axis, kernels.active().join

    def part(place):
        index = before + (slice(int(ends[place]), int(ends[place + 1])),)
        # In one piece, since whoever gets it walks through it more than once.
        return lambda g: fit(g[index] if recording() else engine_tensor(join([g.array[index]], axis)), tensors[place])
    return join([t.array for t in tensors], axis), *map(part, range(len(tensors)))


def _several(tensors):
    tensors = list(tensors)
    if not tensors:
        raise ValueError("tensors must be one Tensor at least; got none")
    like = next((t for t in tensors if isinstance(t, Tensor)), None)
    return [as_tensor(t, like) for t in tensors]


def concatenate(tensors: Iterable, axis: "int | None" = 0) -> Tensor:
    """Tensors joined along an axis that exists; None joins all their entries in one row."""
    tensors = _several(tensors)
    if axis is None:
        tensors, axis = [flatten(t) for t in tensors], 0
    return _concatenate(*tensors, axis=_one_axis(axis, tensors[0].ndim))


def stack(tensors: Iterable, axis: int = 0) -> Tensor:
    """Tensors of one shape joined along a new axis."""
    tensors = _several(tensors)
    axis = _one_axis(axis, tensors[0].ndim + 1)
    return concatenate([reshape(t, t.shape[:axis] + (1,) + t.shape[axis:]) for t in tensors], axis)
