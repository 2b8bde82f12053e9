"""The functions of `reference.py`, fast: the same names, arrays and results; behind them threads,
compiled loops and shorter ways.
"""
from .lowering import col2im, correlate, gather, im2col, scatter
from .rows import (
    adam,
    add,
    gate,
    join,
    matmul,
    max_switches,
    moments,
    normalise,
    normalise_input,
    normalise_sums,
    put_pixels,
    share,
    sum,
    take_pixels,
)

__all__ = ["adam", "add", "col2im", "correlate", "gate", "gather", "im2col", "join", "matmul", "max_switches",
           "moments", "normalise", "normalise_input", "normalise_sums", "put_pixels", "scatter", "share", "sum",
           "take_pixels"]
