"""Chooses who runs the hot loops: `reference` (plain NumPy, to read and step through) or `fast` (the same loops compiled by Numba).

Both modules hold the same names with the same signatures. Callers write `kernels.active().im2col(...)`. Numba is loaded when
a fast kernel is first asked for, so that importing minideconv stays quick.
"""
import importlib

import numpy as np

from . import reference

_chosen, _module = "fast", None


def use(name: str) -> None:
    """Run the hot loops with "reference" or "fast" kernels from now on, in the whole process."""
    global _chosen, _module
    if name not in ("reference", "fast"):
        raise ValueError(f"name must be 'reference' or 'fast'; got {name!r}")
    _chosen, _module = name, None


def active():
    """The module whose kernels are in use."""
    global _module
    if _module is None:
        _module = importlib.import_module("." + _chosen, __name__)
    return _module


def plain(array: np.ndarray) -> np.ndarray:
    """The array itself if it is C-contiguous and writeable, else a copy that is: Numba compiles anew for every other kind."""
    return array if array.flags.c_contiguous and array.flags.writeable else np.array(array, order="C")


def panels(count: int, inner: int, columns: int, dtype) -> np.ndarray:
    """Room for `count` right factors (inner, columns) of products: (count, panels, inner, lanes), see reference.py."""
    lanes = reference.PANEL_BYTES // np.dtype(dtype).itemsize
    return np.empty((count, -(-columns // lanes), inner, lanes), dtype)
