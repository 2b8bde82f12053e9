"""NumPy's own functions on Tensors: np.exp(t), np.concatenate([t, u]) and array * t stay on the tape.

What the engine has not is a TypeError that names the function: nothing falls back silently to
arrays off the tape. Questions about a Tensor (its shape, whether entries are close, finite or
equal) are answered by NumPy: an answer of booleans has no gradient to lose.
"""
import inspect

import numpy as np

from . import activations, ops
from .tensor import Tensor

COMPARISONS = (np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal)
QUESTIONS = (np.isfinite, np.isnan, np.isinf, np.allclose, np.isclose, np.array_equal, np.shape, np.ndim, np.size)

UFUNCS = {
    np.add: ops.add, np.subtract: ops.subtract, np.multiply: ops.multiply, np.divide: ops.divide,
    np.negative: ops.negative, np.positive: lambda x: x, np.power: ops.power, np.square: lambda x: x * x,
    np.exp: ops.exp, np.log: ops.log, np.sqrt: ops.sqrt, np.tanh: activations.tanh,
    np.absolute: ops.absolute, np.fabs: ops.absolute, np.maximum: ops.maximum, np.minimum: ops.minimum,
    np.matmul: ops.matmul,
}


def _clip(a, a_min=None, a_max=None, *, min=None, max=None):
    return ops.clip(a, a_min if min is None else min, a_max if max is None else max)


def _pad(array, pad_width, mode="constant", *, constant_values=0):
    return ops.pad(array, pad_width, mode, constant_values)


# With NumPy's names of arguments, as far as the engine has them.
FUNCTIONS = {
    np.sum: lambda a, axis=None, *, keepdims=False: ops.sum(a, axis=axis, keepdims=keepdims),
    np.mean: lambda a, axis=None, *, keepdims=False: ops.mean(a, axis, keepdims),
    np.var: lambda a, axis=None, *, ddof=0, keepdims=False: ops.var(a, axis, keepdims, ddof=ddof),
    np.std: lambda a, axis=None, *, ddof=0, keepdims=False: ops.std(a, axis, keepdims, ddof=ddof),
    np.max: lambda a, axis=None, *, keepdims=False: ops.max(a, axis=axis, keepdims=keepdims),
    np.min: lambda a, axis=None, *, keepdims=False: ops.min(a, axis=axis, keepdims=keepdims),
    np.clip: _clip,
    np.where: ops.where,
    np.concatenate: ops.concatenate,
    np.stack: ops.stack,
    np.pad: _pad,
    np.reshape: lambda a, shape: ops.reshape(a, shape),
    np.ravel: lambda a: ops.flatten(a),
    np.broadcast_to: lambda array, shape: ops.broadcast_to(array, shape),
    np.squeeze: lambda a, axis=None: ops.squeeze(a, axis),
    np.transpose: lambda a, axes=None: ops.transpose(a, *(axes or ())),
}
FUNCTIONS[np.amax], FUNCTIONS[np.amin] = FUNCTIONS[np.max], FUNCTIONS[np.min]       # functions of their own in NumPy


def _name(function) -> str:
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{function.__name__}"


def _refuse(name, why):
    raise TypeError(f"{name} on a Tensor {why}: use .numpy() for the array (off the tape), "
                    f"or an operation of minideconv")


def _array_ufunc(self, ufunc, method, *inputs, **settings):
    """ufunc(*inputs) where an input is a Tensor (NumPy enhancement proposal 13)."""
    name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    if method != "__call__" or not (ufunc in UFUNCS or ufunc in COMPARISONS or ufunc in QUESTIONS):
        _refuse(name, "is none of this engine's operations")
    if settings:
        hint = " (array += t would leave the tape: write array = array + t)" if "out" in settings else ""
        _refuse(name, f"takes no {', '.join(settings)}={hint}")
    if ufunc in COMPARISONS:
        return ops.compare(ufunc, *inputs)
    return UFUNCS[ufunc](*inputs) if ufunc in UFUNCS else ufunc(*_arrays(inputs))


def _array_function(self, function, types, arguments, settings):
    """function(*arguments) where an argument is a Tensor or holds one (NumPy enhancement proposal 18)."""
    if function in QUESTIONS:
        return function(*_arrays(arguments), **settings)
    mine = FUNCTIONS.get(function)
    if mine is None:
        _refuse(_name(function), "is none of this engine's operations")
    try:
        inspect.signature(mine).bind(*arguments, **settings)
    except TypeError as error:
        _refuse(_name(function), f"takes {inspect.signature(mine)} here, and {error}")
    return mine(*arguments, **settings)


def _arrays(arguments):
    return [one.array if isinstance(one, Tensor) else one for one in arguments]


def _no_mask(self):
    raise TypeError("masked arrays and Tensors do not mix, because the mask would be lost: "
                    "use the masked array's .filled(value), or its mask in md.where")


Tensor.__array_ufunc__ = _array_ufunc
Tensor.__array_function__ = _array_function
# np.ma asks this of whatever it meets, before it would take the Tensor for an array.
Tensor._data = property(_no_mask)
