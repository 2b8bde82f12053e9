"""The transform of a convolution's weights for tiles.py: combinations of their taps, as right factors
of products, and back.
"""
from typing import NamedTuple

import numpy as np
from numba import types

from .arrays import flat, on_stack
from .compiled import jit_inside, quick_jit
from .filterings import FILTERINGS
from .registers import combinations
from .runs import add_run, turn_runs, zero_run


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


# Which of the four: for filters of two and of three taps down and across.
combine = combinations("combine_taps", [(FILTERINGS[down].taps, FILTERINGS[across].taps)
                                        for down in (2, 3) for across in (2, 3)])
_places = on_stack(16 * 8, types.intp)                  # of all runs that are combined


@jit_inside
def _pad(factors, row, rows, columns):
    """Zeros after the last column, in so many rows."""
    combined, many, inner, lanes = factors.shape
    target, rest = flat(factors), many * lanes - columns
    for n in range(combined):
        for r in range(row, row + rows):
            zero_run(target, (((n + 1) * many - 1) * inner + r + 1) * lanes - rest, rest)


@quick_jit
def tile_weights(w, taps, transposed, first, last, room, factors):
    """Every combination of the taps of w (KH, KW, C, O), or its transpose, as right factors (combinations, panels, K,
    lanes), numbered row by row: what comes of channels first <= c < last, or if transposed of outputs.

    room: (taps * (last - first) * C,), used if transposed.
    """
    _, width, channels, outputs = w.shape
    many, inner, lanes = factors.shape[1:]
    tall, broad, rows = taps.vertical.shape[1], taps.horizontal.shape[1], last - first
    which, source, target = 2 * tall + broad - 6, flat(w), flat(factors)
    origin, apart = (room, channels) if transposed else (source, outputs)
    starts, targets = _places(w), _places(w)
    for phase in range(taps.side * taps.side):
        for place in range(tall * broad):
            u = taps.row + taps.step * (place // broad) + phase // taps.side
            v = taps.column + taps.step * (place % broad) + phase % taps.side
            if transposed:
                starts[place] = place * rows * channels
                turn_runs(room, starts[place], channels, source, (u * width + v) * channels * outputs + first, outputs,
                          channels, rows)
            else:
                starts[place] = ((u * width + v) * channels + first) * outputs
        columns, column = (channels, phase * channels) if transposed else (outputs, np.intp(0))
        row, done = (first if transposed else phase * channels + first), 0
        while done < columns:                           # a panel's share of them
            lane = (column + done) % lanes
            wide = min(lanes - lane, columns - done)
            for n in range(len(factors)):
                targets[n] = ((n * many + (column + done) // lanes) * inner + row) * lanes + lane
            combine(which, target, targets, lanes, origin, starts, apart, wide, rows)
            for place in range(tall * broad):
                starts[place] += wide
            done += wide
        if phase == 0 or not transposed:
            _pad(factors, row, rows, taps.side * taps.side * channels if transposed else outputs)


@quick_jit
def untile_weights(shares, taps, a, w):
    """Taps a (of each phase) of w (KH, KW, C, O): the transpose of tile_weights, of the sum of all
    shares (shares, blocks, K, O).
    """
    size = w.shape[2] * w.shape[3]
    source, target = flat(shares), flat(w)
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
