"""What a Tensor may hold, and in which dtype operations compute: the one rule for all of them.

Where fractions are needed, by the operation (a quotient, a mean, a sigmoid) or because another
input has them, integers and booleans are computed in float32, 64-bit integers in float64. Where
they are not (sums, products, maxima, shapes), the dtype is NumPy's. Beside a Tensor, Python numbers
take its dtype, or the floating one of integers. float16 and longdouble are refused.
"""
from typing import Any

import numpy as np


def floating(dtype: np.dtype) -> np.dtype:
    """The dtype that fractions of `dtype` are computed in."""
    return dtype if dtype.kind == "f" else np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)


def plain_array(value: Any, name: str = "data") -> np.ndarray:
    """`value` as a plain ndarray in this machine's byte order, not copied where it is one. This is
    where all data enter.

    Subclasses (np.matrix, np.memmap) become what they hold. Raises TypeError for a masked array, and for what holds no
    float32, float64, integers or booleans.
    """
    if type(value) is not np.ndarray and isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must not be a masked array, whose mask would be lost: "
                        f"use its .filled(value), or its mask in md.where")
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8)):
        raise TypeError(f"{name} must be float32, float64, integers or booleans; got {array.dtype}")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
