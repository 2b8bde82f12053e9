"""Arrays inside kernels: other views of those that are given to them, and small ones of their own. Larger rooms are
given to kernels, so nothing in them is ever allocated or freed.
"""
import math

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .written import INDEX, data_of

CACHE_LINE = 64             # bytes


def _array(context, builder, kind, data, sizes):
    """A C-contiguous array of Numba's type `kind` whose numbers lie at `data`."""
    itemsize = ir.Constant(INDEX, context.get_abi_sizeof(data.type.pointee))
    strides = [itemsize]
    for size in sizes[:0:-1]:
        strides.insert(0, builder.mul(strides[0], size))
    array = context.make_array(kind)(context, builder)
    populate_array(array, data=data, shape=sizes, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


def _of_dtype(array, axes):
    """The type of a C-contiguous array of so many axes with the dtype of another one."""
    if array.layout != "C":
        raise TypingError(f"only C-contiguous arrays can be seen in other shapes, not {array}")
    return types.Array(array.dtype, axes, "C")


@intrinsic
def view(typing, array, start, shape):
    """array.reshape(-1)[start:][:size].reshape(shape), which takes Numba twenty times as long to compile."""
    result = _of_dtype(array, len(shape))

    def code(context, builder, signature, arguments):
        data = data_of(context, builder, array, *arguments[:2])
        return _array(context, builder, result, data, cgutils.unpack_tuple(builder, arguments[2]))
    return result(array, types.intp, types.UniTuple(types.intp, len(shape))), code


@intrinsic
def flat(typing, array):
    """array.reshape(-1), in the same way."""
    result = _of_dtype(array, 1)

    def code(context, builder, signature, arguments):
        whole = context.make_array(array)(context, builder, arguments[0])
        return _array(context, builder, result, whole.data, [whole.nitems])
    return result(array), code


def on_stack(nbytes, kind=None):
    """What makes an array of so many bytes, of Numba's type `kind` or the dtype of another array, that is there until
    the kernel returns: zeros, beginning at a line of the cache.
    """
    @intrinsic
    def room(typing, like):
        result = types.Array(kind or like.dtype, 1, "C")

        def code(context, builder, signature, arguments):
            number = context.get_value_type(result.dtype)
            count = ir.Constant(INDEX, nbytes // context.get_abi_sizeof(number))
            with builder.goto_entry_block():
                data = builder.alloca(number, count)
            data.align = CACHE_LINE
            cgutils.memset(builder, data, ir.Constant(INDEX, nbytes), 0)
            return _array(context, builder, result, data, [count])
        return result(like), code

    def zeros(like):
        """The same in Python."""
        dtype = like.dtype if kind is None else np.dtype(str(kind))
        return np.zeros(nbytes // dtype.itemsize, dtype)
    return zeros if config.DISABLE_JIT else room


if config.DISABLE_JIT:          # the same in Python
    def view(array, start, shape):                              # noqa: F811
        return array.reshape(-1)[start:start + math.prod(shape)].reshape(shape)

    def flat(array):                                            # noqa: F811
        return array.reshape(-1)
