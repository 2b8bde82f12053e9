"""Arithmetic, comparisons and matrix products, each with its gradients beside it; and the operators
of Tensor.

Every vjp is written in operations on Tensors and uses the inputs, never the result. Operands
broadcast as NumPy's do. Reductions and changes of shape have files of their own, and all operations
are found here. They are bound to Tensor at the end.
"""
import math
from typing import Any

import numpy as np

from . import kernels
from .dtypes import plain_array
from .primitives import primitive
from .reductions import max, mean, min, std, sum, var
from .shaping import (
    broadcast_to,
    concatenate,
    fit,
    flatten,
    getitem,
    matrix_transpose,
    pad,
    reshape,
    squeeze,
    stack,
    transpose,
)
from .tensor import Tensor, as_tensor

__all__ = ["absolute", "add", "astype", "broadcast_to", "clip", "concatenate", "divide", "exp", "flatten", "getitem",
           "log", "matmul", "max", "maximum", "mean", "min", "minimum", "multiply", "negative", "pad", "power",
           "reshape", "sqrt", "squeeze", "stack", "std", "subtract", "sum", "transpose", "var", "where"]


@primitive
def add(a, b):
    return kernels.active().add(a.array, b.array), lambda g: fit(g, a), lambda g: fit(g, b)


@primitive
def subtract(a, b):
    return a.array - b.array, lambda g: fit(g, a), lambda g: fit(-g, b)


@primitive
def multiply(a, b):
    return a.array * b.array, lambda g: fit(g * b, a), lambda g: fit(g * a, b)


@primitive(fractions=True)
def divide(a, b):
    return a.array / b.array, lambda g: fit(g / b, a), lambda g: fit(-g * a / (b * b), b)


@primitive
def negative(x):
    return -x.array, lambda g: -g


@primitive
def power(x, p):
    """x ** p. At x = 0 the slope for x is 0 where p is 0, that for p where p >= 0; elsewhere that
    for p needs x > 0.
    """
    def by_base(g):
        # Where x and p are both 0, x ** p stands for x ** (p - 1), which is infinite: its factor p
        # is 0. (One exponent for all of x is quick, an array of equal ones is not.)
        return fit(g * p * x ** (p - 1 if p.array.all() else where((x.array != 0) | (p.array != 0), p - 1, p)), x)

    def by_exponent(g):
        # 0 ** p does not depend on p > 0: log(1) for log(0), which is infinite.
        return fit(g * x ** p * log(where((x.array != 0) | (p.array < 0), x, 1)), p)
    return x.array ** p.array, by_base, by_exponent


@primitive(fractions=True)
def exp(x):
    return np.exp(x.array), lambda g: g * exp(x)


@primitive(fractions=True)
def log(x):
    return np.log(x.array), lambda g: g / x


@primitive(fractions=True)
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
    return np.maximum(a.array, b.array), lambda g: fit(g * a_wins, a), lambda g: fit(g * (1 - a_wins), b)


@primitive
def minimum(a, b):
    """The smaller of each pair; equals share the gradient."""
    a_wins = 0.5 * ((a.array < b.array).astype(a.dtype) + (a.array <= b.array))
    return np.minimum(a.array, b.array), lambda g: fit(g * a_wins, a), lambda g: fit(g * (1 - a_wins), b)


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x where it lies between `min` and `max`, else the nearer of them; None is no limit. Limits
    may be Tensors, and get gradients then.
    """
    x = as_tensor(x)
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


@primitive
def _where(a, b, *, condition):
    return (np.where(condition, a.array, b.array),
            lambda g: fit(_where(g, np.zeros_like(g.array), condition=condition), a),
            lambda g: fit(_where(np.zeros_like(g.array), g, condition=condition), b))


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the array of booleans `condition` is true, b elsewhere; all three broadcast. Numbers
    take the other one's dtype.
    """
    condition = condition.array if isinstance(condition, Tensor) else plain_array(condition, "condition")
    a = as_tensor(a, b if isinstance(b, Tensor) else None)
    return _where(a, as_tensor(b, a), condition=condition.astype(bool))


@primitive
def _astype(x, *, dtype):
    return x.array.astype(dtype), lambda g: _astype(g, dtype=x.dtype)


def astype(x: Any, dtype: Any) -> Tensor:
    """x as float32, float64, integers or booleans, copied. Only floats stay on the tape. TypeError
    for other dtypes.
    """
    return _astype(x, dtype=plain_array(np.empty(0, dtype), "dtype").dtype)


@primitive
def _matmul(a, b, bias=None):
    """(..., M, K) @ (..., K, L) -> (..., M, L), plus a bias (L,) in every row; leading axes broadcast."""
    return (kernels.active().matmul(a.array, b.array, None if bias is None else bias.array),
            lambda g: fit(_matmul(g, matrix_transpose(b)), a),
            lambda g: fit(_matmul(matrix_transpose(a), g), b),
            lambda g: fit(g, bias))


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product with np.matmul's rules, 1-D arguments included."""
    a = as_tensor(a, b if isinstance(b, Tensor) else None)
    b = as_tensor(b, a)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul needs at least one axis on both sides; got shapes {a.shape} and {b.shape}")
    rows = a if a.ndim > 1 else reshape(a, 1, -1)
    columns = b if b.ndim > 1 else reshape(b, -1, 1)
    if rows.shape[-1] != columns.shape[-2]:
        raise ValueError(f"matmul needs as many columns on the left as rows on the right; got shapes {a.shape} and "
                         f"{b.shape}")
    out = _matmul(rows, columns)
    shape = out.shape[:-2] + (out.shape[-2:-1] if a.ndim > 1 else ()) + (out.shape[-1:] if b.ndim > 1 else ())
    return out if shape == out.shape else reshape(out, shape)


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """The affine map of a dense layer, y = x @ weight + bias: x (..., in), weight (in, out), bias (out,) -> (..., out).

    Raises ValueError for shapes that do not fit.
    """
    x = as_tensor(x, weight if isinstance(weight, Tensor) else None)
    weight = as_tensor(weight, x)
    if weight.ndim != 2:
        raise ValueError(f"weight must be (in, out), 2 axes; got shape {weight.shape}")
    if x.shape[-1:] != weight.shape[:1]:
        raise ValueError(f"x must have {weight.shape[0]} features on its last axis; got shape {x.shape}")
    if bias is not None:
        bias = as_tensor(bias, weight)
        if bias.shape != weight.shape[1:]:
            raise ValueError(f"bias must have one entry per output, shape {weight.shape[1:]}; got {bias.shape}")
    if x.ndim == 2:
        return _matmul(x, weight, bias)
    rows = reshape(x, math.prod(x.shape[:-1]), x.shape[-1])                 # (..., in) -> (rows, in)
    return reshape(_matmul(rows, weight, bias), *x.shape[:-1], weight.shape[1])


def _reflected(operation):
    return lambda self, other: operation(other, self)


def compare(ufunc: np.ufunc, a: Any, b: Any) -> np.ndarray:
    """A comparison (np.less, ...) entry by entry, as an array of booleans: there is nothing to
    differentiate.
    """
    def array(one, other):
        # Numbers are left to NumPy as they are: it knows that no uint8 is 300, and compares float32
        # with 0.1 in float32.
        if isinstance(one, (int, float)):
            return one
        return as_tensor(one, other if isinstance(other, Tensor) else None).array
    return np.asarray(ufunc(array(a, b), array(b, a)))


def _comparison(ufunc):
    def comparison(self, other):
        known = isinstance(other, (Tensor, np.ndarray, np.generic, int, float, list, tuple))
        return compare(ufunc, self, other) if known else NotImplemented
    return comparison


def _contains(self, value):
    return bool(np.any(self == value))


for _name, _operation in {
        "__add__": add, "__radd__": _reflected(add), "__sub__": subtract, "__rsub__": _reflected(subtract),
        "__mul__": multiply, "__rmul__": _reflected(multiply),
        "__truediv__": divide, "__rtruediv__": _reflected(divide),
        "__pow__": power, "__rpow__": _reflected(power), "__matmul__": matmul, "__rmatmul__": _reflected(matmul),
        "__neg__": negative, "__abs__": absolute, "__getitem__": getitem, "__contains__": _contains,
        "__lt__": _comparison(np.less), "__le__": _comparison(np.less_equal), "__gt__": _comparison(np.greater),
        "__ge__": _comparison(np.greater_equal), "__eq__": _comparison(np.equal), "__ne__": _comparison(np.not_equal),
        "sum": lambda self, axis=None, keepdims=False: sum(self, axis=axis, keepdims=keepdims),
        "mean": mean, "var": var, "std": std,
        "max": lambda self, axis=None, keepdims=False: max(self, axis=axis, keepdims=keepdims),
        "min": lambda self, axis=None, keepdims=False: min(self, axis=axis, keepdims=keepdims),
        "reshape": reshape, "flatten": flatten, "squeeze": squeeze, "transpose": transpose, "T": property(transpose),
        "exp": exp, "log": log, "sqrt": sqrt, "abs": absolute, "clip": clip, "astype": astype}.items():
    setattr(Tensor, _name, _operation)
