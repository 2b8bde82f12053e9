"""The transforms of tiles.py: combinations of the entries of tiles, their products, and the way
back.

A tile's combination is a sum of up to four runs of numbers with signs. Those of one block at a time
are written side by side, multiplied while they are still in a cache, and overwritten by those of
the next block.

Notation: an axis of n outputs is cut into ceil(n / 2) tiles of two, each computed from
len(matrix[0]) entries; row k of a matrix says how combination k adds them up. The last combination
serves a tile's second output only, so an odd last tile has none: it has floor(n / 2). `parts` is
one flat buffer of blocks (N, tiles, tiles, length), block (k, l) for combination k of rows and l of
columns.
"""
from typing import NamedTuple

import numpy as np

from .compiled import jit, jit_inside
from .products import DEPTH, PANEL_BYTES, ROWS, Left, Out, Right, multiply
from .runs import add_run, copy_run, sum_runs, zero_run


class Tiling(NamedTuple):
    """How the tiles of an image are made. Entry (r, q) is the side x side pixels from (step*r -
    top, step*q - left) on.

    An entry has length side^2 * C, ordered (e, f, c); pixels outside the image are zeros.
    """
    vertical: np.ndarray        # (combinations, entries of a tile), float64
    horizontal: np.ndarray
    side: int
    step: int
    top: int
    left: int
    rows: int                   # outputs
    columns: int


@jit_inside
def _count(k, matrix, outputs):
    """How many tiles an axis of `outputs` has in combination k."""
    return (outputs + 1) // 2 if k < len(matrix) - 1 else outputs // 2


@jit_inside
def _extent(matrix, outputs):
    """How many entries the tiles of an axis take together: they overlap, one begins every two."""
    return 2 * ((outputs + 1) // 2 - 1) + matrix.shape[1]


@jit_inside
def _read_row(x, n, row, tiling, line, o):
    """Row `row` of the entries of image n, one entry after the other, from line[o] on."""
    height, width, channels = x.shape[1:]
    source, run = x.reshape(-1), tiling.side * channels
    for e in range(tiling.side):
        h = tiling.step * row + e - tiling.top
        for j in range(_extent(tiling.horizontal, tiling.columns)):
            at, left = o + (j * tiling.side + e) * run, tiling.step * j - tiling.left
            start = ((n * height + h) * width + left) * channels
            if 0 <= h < height and 0 <= left and left + tiling.side <= width:
                copy_run(line, at, source, start, run)
            else:
                zero_run(line, at, run)
                for f in range(tiling.side):
                    if 0 <= h < height and 0 <= left + f < width:
                        copy_run(line, at + f * channels, source, start + f * channels, channels)


@jit_inside
def _entries(x, tiling):
    """The entries of all tiles, flat: (N, entries down, entries across, side^2 * C)."""
    tall, wide = _extent(tiling.vertical, tiling.rows), _extent(tiling.horizontal, tiling.columns)
    line = wide * tiling.side * tiling.side * x.shape[3]
    entries = np.empty(len(x) * tall * line, x.dtype)
    for n in range(len(x)):
        for row in range(tall):
            _read_row(x, n, row, tiling, entries, (n * tall + row) * line)
    return entries


@jit_inside
def _combine(entries, tiling, block, length, part, apart):
    """Combinations block = (k, l) of the entries (of `length`) of each tile, as rows of `part`,
    `apart` from each other; how many.
    """
    (k, l), vertical, horizontal = block, tiling.vertical, tiling.horizontal
    tall, wide = _extent(vertical, tiling.rows), _extent(horizontal, tiling.columns)
    starts, signs = np.empty(4, np.intp), np.empty(4, entries.dtype)
    terms, o = 0, 0
    for a in range(vertical.shape[1]):
        for b in range(horizontal.shape[1]):
            if vertical[k, a] * horizontal[l, b] != 0:
                starts[terms], signs[terms] = (a * wide + b) * length, vertical[k, a] * horizontal[l, b]
                terms += 1
    # Not through _sum: handing it these arrays for every tile would take as long as the sums
    # themselves.
    i0, i1, i2, i3 = starts[0], starts[1], starts[2], starts[3]
    s0, s1, s2, s3 = signs[0], signs[1], signs[2], signs[3]
    for n in range(len(entries) // (tall * wide * length)):
        for t in range(_count(k, vertical, tiling.rows)):
            for s in range(_count(l, horizontal, tiling.columns)):
                i = ((n * tall + 2 * t) * wide + 2 * s) * length
                if terms == 1:
                    sum_runs(part, o, entries, (i + i0,), (s0,), length)
                elif terms == 2:
                    sum_runs(part, o, entries, (i + i0, i + i1), (s0, s1), length)
                else:
                    sum_runs(part, o, entries, (i + i0, i + i1, i + i2, i + i3), (s0, s1, s2, s3), length)
                o += apart
    return o // apart


@jit
def tile_products(x, tiling, panels, out):
    """Every block of tiles of x times its own right factor, one below the other: panels (blocks,
    panels, K, lanes), out (tiles of all blocks, L).
    """
    many, inner, lanes = panels.shape[1:]
    entries = _entries(x, tiling)
    apart, width = inner + 16, out.shape[1]
    part = np.zeros((len(x) * ((tiling.rows + 1) // 2) * ((tiling.columns + 1) // 2) + ROWS) * apart, x.dtype)
    edge = np.zeros(ROWS * lanes, x.dtype)
    flat_b, flat, o = panels.reshape(-1), out.reshape(-1), 0
    for k in range(len(tiling.vertical)):
        for l in range(len(tiling.horizontal)):
            high = _combine(entries, tiling, (k, l), inner, part, apart)
            first = (k * len(tiling.horizontal) + l) * many * inner
            for depth in range(0, inner, DEPTH):
                right = Right(flat_b, (first + depth) * lanes, lanes, inner * lanes)
                multiply(Left(part, depth, apart, np.intp(1)), high, right, Out(flat, o, width, width),
                         min(DEPTH, inner - depth), depth, edge)
            o += high * width


@jit
def tile_transposed_products(x, tiling, y, y_tiling, add, out):
    """out[n] = (or += where add is not 0) tiles.T @ tiles, those of x and those of the features y.
    out is (blocks, K, O).
    """
    width = y.shape[3]
    inner, lanes = out.shape[1], PANEL_BYTES // out.itemsize
    entries, outputs = _entries(x, tiling), _entries(y, y_tiling)
    apart, aside = -(-inner // ROWS) * ROWS + 16, -(-width // lanes) * lanes + 16
    most = len(x) * ((tiling.rows + 1) // 2) * ((tiling.columns + 1) // 2)
    left, right = np.zeros(most * apart, x.dtype), np.zeros(most * aside, x.dtype)
    edge = np.zeros(ROWS * lanes, x.dtype)
    flat = out.reshape(-1)
    for k in range(len(tiling.vertical)):
        for l in range(len(tiling.horizontal)):
            high = _combine(entries, tiling, (k, l), inner, left, apart)
            _combine(outputs, y_tiling, (k, l), width, right, aside)
            start = (k * len(tiling.horizontal) + l) * inner * width
            if high == 0 and not add:
                zero_run(flat, start, inner * width)
            for t in range(0, high, DEPTH):
                multiply(Left(left, t * apart, np.intp(1), apart), inner, Right(right, t * aside, aside, lanes),
                         Out(flat, start, width, width), min(DEPTH, high - t), add + t, edge)


# The way back: every part is added to the pixels that it was made of.

@jit_inside
def _sum(out, o, a, starts, signs, count, length):
    """out[o:][:length] = the sum of signs[r] * a[starts[r]:][:length] over r < count <= 4."""
    if count == 0:
        zero_run(out, o, length)
    elif count == 1:
        sum_runs(out, o, a, (starts[0],), (signs[0],), length)
    elif count == 2:
        sum_runs(out, o, a, (starts[0], starts[1]), (signs[0], signs[1]), length)
    elif count == 3:
        sum_runs(out, o, a, (starts[0], starts[1], starts[2]), (signs[0], signs[1], signs[2]), length)
    else:
        sum_runs(out, o, a, (starts[0], starts[1], starts[2], starts[3]),
                 (signs[0], signs[1], signs[2], signs[3]), length)


@jit_inside
def _add(out, o, a, starts, signs, count, length):
    """The same, added to what is there."""
    for r in range(count):
        add_run(out, o, a, starts[r], signs[r], length)


@jit_inside
def _starts(tiling, count, length):
    """Where each block (k, l) of `parts` begins."""
    starts, start = np.empty((len(tiling.vertical), len(tiling.horizontal)), np.intp), 0
    for k in range(len(tiling.vertical)):
        for l in range(len(tiling.horizontal)):
            starts[k, l] = start
            tiles = _count(k, tiling.vertical, tiling.rows) * _count(l, tiling.horizontal, tiling.columns)
            start += count * tiles * length
    return starts


@jit_inside
def _sum_rows(parts, tiling, begins, place, run, combined, starts, signs):
    """Row place = (n, row) of entries: for each combination of columns, those of rows are added up
    to `combined`.
    """
    n, row = place
    matrix = tiling.vertical
    for l in range(len(tiling.horizontal)):
        terms, many = 0, _count(l, tiling.horizontal, tiling.columns)
        for a in range(row % 2, min(matrix.shape[1], row + 1), 2):
            t = (row - a) // 2
            for k in range(len(matrix)):
                tall = _count(k, matrix, tiling.rows)
                if matrix[k, a] != 0 and t < tall:
                    starts[terms], signs[terms] = begins[k, l] + (n * tall + t) * many * run, matrix[k, a]
                    terms += 1
        _sum(combined, l * ((tiling.columns + 1) // 2) * run, parts, starts, signs, terms, many * run)


@jit_inside
def _terms_of_entry(tiling, j, run, offset, starts, signs):
    """Which runs of `combined` entry j of a row is the sum of; how many."""
    terms, matrix = 0, tiling.horizontal
    for b in range(j % 2, min(matrix.shape[1], j + 1), 2):
        s = (j - b) // 2
        for l in range(len(matrix)):
            if matrix[l, b] != 0 and s < _count(l, matrix, tiling.columns):
                starts[terms], signs[terms] = (l * ((tiling.columns + 1) // 2) + s) * run + offset, matrix[l, b]
                terms += 1
    return terms


@jit_inside
def _write_row(combined, tiling, e, target, start, shape, starts, signs, add):
    """Pixels e of a row of entries: their sums go to the row of pixels that begins at
    target[start]; shape is the image's.

    add: to what is there; then entries must lie inside the image, as those of features do.
    """
    width, channels = shape[2:]
    side, step = tiling.side, tiling.step
    run, piece = side * side * channels, side * channels
    wide = _extent(tiling.horizontal, tiling.columns)
    for j in range(max(0, -((side - 1 - tiling.left) // step)), min(wide, -(-(tiling.left + width) // step))):
        terms = _terms_of_entry(tiling, j, run, e * piece, starts, signs)
        left = step * j - tiling.left
        if add:
            _add(target, start + left * channels, combined, starts, signs, terms, piece)
        elif 0 <= left and left + side <= width:
            _sum(target, start + left * channels, combined, starts, signs, terms, piece)
        else:
            for f in range(side):
                if 0 <= left + f < width:
                    _sum(target, start + (left + f) * channels, combined, starts, signs, terms, channels)
                for r in range(terms):
                    starts[r] += channels


@jit
def untile(parts, tiling, add, x):
    """The transpose of making tiles: every part goes back to the pixels of x (N, H, W, C) that it
    was made of; sums there.

    add: whether to add to what is there (features only). Pixels that lie in no tile are left as
    they are.
    """
    count, height, width, channels = x.shape
    side, step = tiling.side, tiling.step
    run, target = side * side * channels, x.reshape(-1)
    tall, begins = _extent(tiling.vertical, tiling.rows), _starts(tiling, count, run)
    combined = np.empty(len(tiling.horizontal) * ((tiling.columns + 1) // 2) * run, x.dtype)
    starts, signs = np.empty(4, np.intp), np.empty(4, x.dtype)
    for n in range(count):
        for row in range(max(0, -((side - 1 - tiling.top) // step)), min(tall, -(-(tiling.top + height) // step))):
            _sum_rows(parts, tiling, begins, (n, row), run, combined, starts, signs)
            for e in range(side):
                h = step * row + e - tiling.top
                if 0 <= h < height:
                    start = (n * height + h) * width * channels
                    _write_row(combined, tiling, e, target, start, x.shape, starts, signs, add)


# The same for kernels.

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


@jit
def tile_kernel(w, taps, n, block):
    """Combination n of the taps of w (KH, KW, C, O): block (side^2 * C, O)."""
    width, size = w.shape[1], w.shape[2] * w.shape[3]
    source, target = w.reshape(-1), block.reshape(-1)
    k, l = n // len(taps.horizontal), n % len(taps.horizontal)
    zero_run(target, 0, target.size)
    for a in range(taps.vertical.shape[1]):
        for b in range(taps.horizontal.shape[1]):
            weight = w.dtype.type(taps.vertical[k, a] * taps.horizontal[l, b])
            for e in range(taps.side):
                for f in range(taps.side):
                    u, v = taps.row + taps.step * a + e, taps.column + taps.step * b + f
                    if weight != 0:
                        add_run(target, (e * taps.side + f) * size, source, (u * width + v) * size, weight, size)


@jit
def untile_kernel(shares, taps, a, w):
    """Taps a (of each phase) of w (KH, KW, C, O): the transpose of tile_kernel, of the sum of all
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
