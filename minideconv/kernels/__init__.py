"""Chooses who computes: `reference` (plain NumPy, to read and to step through) or `fast` (the same
on threads, compiled by Numba).

Both hold the same functions, arrays in, array out. Callers write `kernels.active().gather(...)`.
Numba is loaded when a fast kernel is first asked for, so that importing minideconv stays quick.
"""
import importlib

_chosen, _module = "fast", None


def use(name: str) -> None:
    """Compute with the "reference" or the "fast" kernels from now on, in the whole process.
    ValueError for another name.
    """
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
