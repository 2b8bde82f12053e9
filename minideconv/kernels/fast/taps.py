"""The transform of a convolution's weights for tiles.py: combinations of their taps, as right factors
of products, and back.
"""
from typing import NamedTuple

import numpy as np

from .compiled import jit_inside, quick_jit
from .products import pack_inside
from .runs import add_run, zero_run


class Taps(NamedTuple):
    """Which taps of a kernel are combined how: tap (a, b) of pixel (e, f) of an entry is tap (row +
    step*a + e, column + step*b + f).
    """
    vertical: np.ndarray        # (combinations, taps), float64
    horizontal: np.ndarray
    side: int
    step: int
    row: int
    column: int


@jit_inside
def _combine(w, taps, k, l, block):
    """Combination (k, l) of the taps of w (KH, KW, C, O): block (side^2 * C, O)."""
    width, size = w.shape[1], w.shape[2] * w.shape[3]
    source, target = w.reshape(-1), block.reshape(-1)
    zero_run(target, 0, target.size)
    for a in range(taps.vertical.shape[1]):
        for b in range(taps.horizontal.shape[1]):
            weight = w.dtype.type(taps.vertical[k, a] * taps.horizontal[l, b])
            for e in range(taps.side):
                for f in range(taps.side):
                    u, v = taps.row + taps.step * a + e, taps.column + taps.step * b + f
                    if weight != 0:
                        add_run(target, (e * taps.side + f) * size, source, (u * width + v) * size, weight, size)


@quick_jit
def tile_weights(w, taps, first, transposed, block, factors):
    """Combinations of the taps of w (KH, KW, C, O), from the `first` on, or their transposes, as right factors
    (combinations, panels, K, lanes); block: room for one, (side^2 * C, O). They are numbered row by row.
    """
    across = len(taps.horizontal)
    for n in range(len(factors)):
        _combine(w, taps, (first + n) // across, (first + n) % across, block)
        pack_inside(block, transposed, np.intp(0), factors[n])


@quick_jit
def untile_weights(shares, taps, a, w):
    """Taps a (of each phase) of w (KH, KW, C, O): the transpose of tile_weights, of the sum of all
    shares (shares, blocks, K, O).
    """
    size = w.shape[2] * w.shape[3]
    source, target = shares.reshape(-1), w.reshape(-1)
    vertical, horizontal = taps.vertical, taps.horizontal
    for b in range(horizontal.shape[1]):
        for phase in range(taps.side * taps.side):
            u, v = taps.row + taps.step * a + phase // taps.side, taps.column + taps.step * b + phase % taps.side
            start = (u * w.shape[1] + v) * size
            zero_run(target, start, size)
            for n in range(len(shares) * len(vertical) * len(horizontal)):          # share by share, block by block
                k, l = n // len(horizontal) % len(vertical), n % len(horizontal)
                weight = w.dtype.type(vertical[k, a] * horizontal[l, b])
                if weight != 0:
                    add_run(target, start, source, (n * taps.side * taps.side + phase) * size, weight, size)
