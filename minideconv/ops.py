"""Arithmetic, reductions, shape changes and matrix products, each with its gradients beside it.

Every vjp is written in operations on Tensors and uses the inputs, never the result. Axes are NumPy's: `axis` may be None, an
integer or a tuple; `keepdims` as there. The operators are bound to Tensor in one list at the end.
"""
import numpy as np

from . import kernels
from .tensor import Tensor, as_tensor, primitive


def _fit(g, like):
    """The transpose of broadcasting: g summed over the axes along which `like` was repeated, in like's dtype."""
    if g.shape != like.shape:
        extra = g.ndim - like.ndim
        repeated = tuple(range(extra)) + tuple(extra + axis for axis, n in enumerate(like.shape) if n == 1 and g.shape[extra + axis] != 1)
        g = reshape(g.sum(axis=repeated) if repeated else g, like.shape)
    return g if g.dtype == like.dtype else astype(g, dtype=like.dtype)


# Arithmetic: broadcasts as NumPy does.

@primitive
def add(a, b):
    return a.array + b.array, lambda g: _fit(g, a), lambda g: _fit(g, b)


@primitive
def subtract(a, b):
    return a.array - b.array, lambda g: _fit(g, a), lambda g: _fit(-g, b)


@primitive
def multiply(a, b):
    return a.array * b.array, lambda g: _fit(g * b, a), lambda g: _fit(g * a, b)


@primitive
def divide(a, b):
    return a.array / b.array, lambda g: _fit(g / b, a), lambda g: _fit(-g * a / (b * b), b)


@primitive
def negative(x):
    return -x.array, lambda g: -g


@primitive
def power(x, p):
    """x ** p. Where p is 0 the slope is 0, also at x = 0; the gradient for p needs x > 0."""
    def by_base(g):
        return _fit(g * p * x ** where(p.array != 0, p - 1, p), x)
    return x.array ** p.array, by_base, lambda g: _fit(g * x ** p * log(x), p)


@primitive
def exp(x):
    return np.exp(x.array), lambda g: g * exp(x)


@primitive
def log(x):
    return np.log(x.array), lambda g: g / x


@primitive
def sqrt(x):
    return np.sqrt(x.array), lambda g: g / (2 * sqrt(x))


@primitive
def absolute(x):
    """|x|; the slope at the kink 0 is taken as 0."""
    return np.abs(x.array), lambda g: g * np.sign(x.array)


@primitive
def maximum(a, b):
    """The larger of each pair; equals share the gradient."""
    a_wins = 0.5 * ((a.array > b.array).astype(a.dtype) + (a.array >= b.array))
    return np.maximum(a.array, b.array), lambda g: _fit(g * a_wins, a), lambda g: _fit(g * (1 - a_wins), b)


@primitive
def _where(a, b, *, condition):
    return (np.where(condition, a.array, b.array), lambda g: _fit(_where(g, np.zeros_like(g.array), condition=condition), a),
            lambda g: _fit(_where(np.zeros_like(g.array), g, condition=condition), b))


def where(condition, a, b):
    """a where the array of booleans `condition` is true, b elsewhere; all three broadcast. Numbers take the other one's dtype."""
    a = as_tensor(a, b if isinstance(b, Tensor) else None)
    return _where(a, as_tensor(b, a), condition=np.array(condition.array if isinstance(condition, Tensor) else condition, bool))


@primitive
def astype(x, *, dtype):
    """x as float32 or float64."""
    return x.array.astype(dtype), lambda g: astype(g, dtype=x.dtype)


# Reductions and their transposes.

def _axes(axis, ndim):
    """`axis` as a sorted tuple of non-negative integers."""
    axes = tuple(range(ndim)) if axis is None else tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    for a in axes:
        if not hasattr(a, "__index__"):
            raise TypeError(f"axis must be None, an integer or a tuple of them; got {axis!r}")
        if not -ndim <= a < ndim:
            raise ValueError(f"axis {a} is out of bounds for a Tensor of {ndim} axes")
    if len({a % ndim for a in axes}) < len(axes):
        raise ValueError(f"axis names an axis twice: {axis!r}")
    return tuple(sorted(a % ndim for a in axes))


def _kept(shape, axes):
    """The shape that a reduction over `axes` has with keepdims=True."""
    return tuple(1 if axis in axes else n for axis, n in enumerate(shape))


@primitive
def sum(x, *, axis=None, keepdims=False):
    axes = _axes(axis, x.ndim)
    return kernels.active().sum(x.array, axes, keepdims), lambda g: broadcast_to(reshape(g, _kept(x.shape, axes)), x.shape)


def mean(x, axis=None, keepdims=False):
    """The average over `axis`."""
    x = as_tensor(x)
    return sum(x, axis=axis, keepdims=keepdims) / int(np.prod([x.shape[a] for a in _axes(axis, x.ndim)]))


@primitive
def max(x, *, axis=None, keepdims=False):
    """The largest entry along `axis`; equals share the gradient."""
    axes = _axes(axis, x.ndim)
    top = x.array.max(axis=axes, keepdims=True)
    ties = (x.array == top).astype(x.dtype)
    share = ties / ties.sum(axis=axes, keepdims=True)
    return top if keepdims else top.reshape([n for a, n in enumerate(top.shape) if a not in axes]), lambda g: reshape(g, top.shape) * share


def min(x, axis=None, keepdims=False):
    """The smallest entry along `axis`; equals share the gradient."""
    return -max(-as_tensor(x), axis=axis, keepdims=keepdims)


# Shape changes: each is a linear map, and its vjp the transpose.

@primitive
def _broadcast_to(x, *, shape):
    return np.broadcast_to(x.array, shape), lambda g: _fit(g, x)


def broadcast_to(x, shape):
    """x repeated along new axes and axes of length 1 until it has `shape`."""
    return _broadcast_to(x, shape=tuple(shape))


@primitive
def _reshape(x, *, shape):
    return x.array.reshape(shape), lambda g: _reshape(g, shape=x.shape)


def reshape(x, *shape):
    """The same entries in the same order under another shape; one length may be -1."""
    return _reshape(x, shape=tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


@primitive
def _transpose(x, *, axes):
    return x.array.transpose(axes), lambda g: _transpose(g, axes=tuple(np.argsort(axes)))


def transpose(x, *axes):
    """The axes in another order, reversed where none is given."""
    x = as_tensor(x)
    axes = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    axes = axes or tuple(reversed(range(x.ndim)))
    if len(axes) != x.ndim or len(_axes(axes, x.ndim)) != x.ndim:
        raise ValueError(f"axes must name each of the {x.ndim} axes once; got {axes!r}")
    return _transpose(x, axes=tuple(a % x.ndim for a in axes))


@primitive
def _getitem(x, *, index):
    return x.array[index], lambda g: _putitem(g, index=index, shape=x.shape)


@primitive
def _putitem(g, *, index, shape):
    """Zeros of `shape` with g added at `index`, as often as an entry is named there: the transpose of indexing."""
    out = np.zeros(shape, g.dtype)
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, (np.ndarray, list, tuple)) for part in parts):
        np.add.at(out, index, g.array)       # an entry may be named twice
    else:
        out[index] = g.array
    return out, lambda h: _getitem(h, index=index)


def getitem(x, index):
    """x[index] with NumPy's rules; Tensors in the index stand for their arrays."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(part.array if isinstance(part, Tensor) else part for part in parts)
    parts = tuple(part.copy() if isinstance(part, np.ndarray) else part for part in parts)      # the tape keeps the index: it must not change
    return _getitem(x, index=parts if isinstance(index, tuple) else parts[0])


@primitive
def _concatenate(*tensors, axis):
    ends = np.cumsum([0] + [t.shape[axis] for t in tensors])
    before = (slice(None),) * axis

    def part(place):
        return lambda g: _fit(g[before + (slice(int(ends[place]), int(ends[place + 1])),)], tensors[place])
    return np.concatenate([t.array for t in tensors], axis), *map(part, range(len(tensors)))


def concatenate(tensors, axis=0):
    """Tensors joined along an axis that exists."""
    tensors = [as_tensor(t) for t in tensors]
    return _concatenate(*tensors, axis=_axes(axis, tensors[0].ndim)[0])


def stack(tensors, axis=0):
    """Tensors of one shape joined along a new axis."""
    tensors = [as_tensor(t) for t in tensors]
    axis, = _axes(axis, tensors[0].ndim + 1)
    return concatenate([reshape(t, t.shape[:axis] + (1,) + t.shape[axis:]) for t in tensors], axis)


@primitive
def _matmul(a, b):
    """(..., M, K) @ (..., K, L) -> (..., M, L); leading axes broadcast."""
    def swap(t):
        return transpose(t, *range(t.ndim - 2), t.ndim - 1, t.ndim - 2)
    return kernels.active().matmul(a.array, b.array), lambda g: _fit(_matmul(g, swap(b)), a), lambda g: _fit(_matmul(swap(a), g), b)


def matmul(a, b):
    """The matrix product with np.matmul's rules, 1-D arguments included."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul needs at least one axis on both sides; got shapes {a.shape} and {b.shape}")
    rows = a if a.ndim > 1 else reshape(a, 1, -1)
    columns = b if b.ndim > 1 else reshape(b, -1, 1)
    if rows.shape[-1] != columns.shape[-2]:
        raise ValueError(f"matmul needs as many columns on the left as rows on the right; got shapes {a.shape} and {b.shape}")
    out = _matmul(rows, columns)
    shape = out.shape[:-2] + (out.shape[-2:-1] if a.ndim > 1 else ()) + (out.shape[-1:] if b.ndim > 1 else ())
    return out if shape == out.shape else reshape(out, shape)


def _reflected(operation):
    return lambda self, other: operation(as_tensor(other, self), self)


for _name, _operation in {
        "__add__": add, "__radd__": add, "__sub__": subtract, "__rsub__": _reflected(subtract), "__mul__": multiply, "__rmul__": multiply,
        "__truediv__": divide, "__rtruediv__": _reflected(divide), "__neg__": negative, "__pow__": power, "__rpow__": _reflected(power),
        "__matmul__": matmul, "__rmatmul__": _reflected(matmul), "__getitem__": getitem, "__abs__": absolute,
        "sum": lambda self, axis=None, keepdims=False: sum(self, axis=axis, keepdims=keepdims), "mean": mean, "min": min,
        "max": lambda self, axis=None, keepdims=False: max(self, axis=axis, keepdims=keepdims),
        "reshape": reshape, "transpose": transpose, "exp": exp, "log": log, "sqrt": sqrt, "abs": absolute,
        "astype": lambda self, dtype: astype(self, dtype=np.dtype(dtype)), "T": property(transpose)}.items():
    setattr(Tensor, _name, _operation)
