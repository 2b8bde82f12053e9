"""The transforms of tiles.py: combinations of the entries of tiles, their products, and the way
back.

The two axes are transformed one after the other: down the image, whole rows of numbers are combined
with those below them; across, the entries of every combined row, all tiles of it in one go. A row
stays in the first cache from one step to the next, and each step reads every number once
(registers.py).

Notation: an axis of n outputs is cut into ceil(n / 2) tiles of two, each computed from a few
entries, and has taps + 1 combinations of them. The last combination serves a tile's second output
only, so an odd last tile has none: it has floor(n / 2) tiles. `parts` is one flat buffer of blocks
of `most` rows; block (k, l), for combination k of rows and l of columns, begins with a row for each
of its tiles (N, tiles, tiles).
"""
from typing import NamedTuple

import numpy as np

from .compiled import jit_inside, quick_jit
from .filterings import FILTERINGS
from .products import DEPTH, PANEL_BYTES, ROWS, UPRIGHT, Left, Out, Right, multiply
from .registers import combinations
from .runs import add_run, copy_run, zero_run


def _back(matrix):
    """The transpose of a matrix of combinations, for two entries at a time: what they get from their own tile, and
    from the tile before, whose last entries (if it has more than two) they are too.
    """
    own, before = matrix[:, :2].T, matrix[:, 2:].T
    return np.concatenate([own, np.pad(before, ((0, 2 - len(before)), (0, 0)))], axis=1)


# Which of the four, see _which: those of features and of images, for filters of two and of three taps.
_ALL = [FILTERINGS[2].outputs, FILTERINGS[3].outputs, FILTERINGS[2].data, FILTERINGS[3].data]
combine, combine_back = combinations("combine", _ALL), combinations("combine_back", [_back(one) for one in _ALL])


class Tiling(NamedTuple):
    """How the tiles of an image are made. Entry (r, q) is the side x side pixels from (step*r -
    top, step*q - left) on.

    An entry has length side^2 * C, ordered (e, f, c); pixels outside the image are zeros. A tile
    begins at every second entry of an axis. Of the images of a convolution it has taps + 1 entries
    (combined as in Filtering.data), of its features two (Filtering.outputs); the axes may differ in
    taps, 2 or 3.
    """
    image: bool
    vertical: int               # taps
    horizontal: int
    side: int                   # 1, or the step
    step: int
    top: int
    left: int
    rows: int                   # outputs
    columns: int


@jit_inside
def _count(k, taps, outputs):
    """How many tiles an axis of `outputs` has in combination k."""
    return (outputs + 1) // 2 if k < taps else outputs // 2


@jit_inside
def _entries(tiling, taps):
    """How many entries a tile has along an axis."""
    return taps + 1 if tiling.image else 2


@jit_inside
def _most(tiling, images):
    return images * ((tiling.rows + 1) // 2) * ((tiling.columns + 1) // 2)


@jit_inside
def _which(tiling, taps):
    """The place of an axis' matrix among those that `combine` knows."""
    return 2 * tiling.image + taps - 2


class Across(NamedTuple):
    """Where a row of the image lies in a row of entries: `count` runs of `length` numbers from
    entries[inside] on, side by side; from pixels[outside] on they are `apart` from each other.
    """
    inside: int
    outside: int
    length: int
    apart: int
    count: int


@jit_inside
def _across(tiling, width, channels):
    """Pixels beside each other that are entries beside each other make one long run."""
    wide = tiling.side * (2 * ((tiling.columns + 1) // 2 - 1) + _entries(tiling, tiling.horizontal))
    step = 1 if tiling.side == tiling.step else tiling.step
    first = max(0, -(-tiling.left // step))
    many = max(0, min(wide, (width - 1 + tiling.left) // step + 1) - first)
    inside, outside = first * channels, (first * step - tiling.left) * channels
    if step == 1:
        return Across(inside, outside, many * channels, np.intp(0), min(many, 1))
    return Across(inside, outside, channels, step * channels, many)


@jit_inside
def _tiles(tiling, images, block):
    """How many tiles a block has."""
    k, l = block // (tiling.horizontal + 1), block % (tiling.horizontal + 1)
    return images * _count(k, tiling.vertical, tiling.rows) * _count(l, tiling.horizontal, tiling.columns)


@jit_inside
def _row(tiling, images, k, l, n, t):
    """Where row t of the tiles of image n begins in block (k, l), counted in rows of `parts`."""
    tall, wide = _count(k, tiling.vertical, tiling.rows), _count(l, tiling.horizontal, tiling.columns)
    return (k * (tiling.horizontal + 1) + l) * _most(tiling, images) + (n * tall + t) * wide


@jit_inside
def _copy_rows(x, n, first, step, rows):
    """Rows first, first + step, ... of image n, zeros where it has none."""
    height, row, source = x.shape[1], x.shape[2] * x.shape[3], x.reshape(-1)
    for a in range(len(rows) // row):
        h = first + a * step
        if 0 <= h < height:
            copy_run(rows, a * row, source, (n * height + h) * row, row)
        else:
            zero_run(rows, a * row, row)


@quick_jit
def tile(x, tiling, parts, apart):
    """Every combination of the tiles of x as rows of `parts`, `apart` from each other; there is
    room for blocks * most + ROWS rows.
    """
    images, height, width, channels = x.shape
    tall, wide = _entries(tiling, tiling.vertical), (tiling.columns + 1) // 2
    row, piece, across = width * channels, tiling.side * channels, _across(tiling, width, channels)
    line, source = (2 * wide + tiling.horizontal) * piece, x.reshape(-1)
    down, aside = _which(tiling, tiling.vertical), _which(tiling, tiling.horizontal)
    combined, border = np.zeros((tiling.vertical + 1) * line, x.dtype), np.zeros(tall * row, x.dtype)
    lines, pixels = np.empty(tiling.vertical + 1, np.intp), np.empty(tall, np.intp)
    blocks, entries = np.empty(tiling.horizontal + 1, np.intp), np.empty(tiling.horizontal + 1, np.intp)
    for k in range(len(lines)):
        lines[k] = k * line + across.inside
    for n in range(images):
        for i in range((tiling.rows + 1) // 2 * tiling.side):
            t, e = i // tiling.side, i % tiling.side
            top = 2 * tiling.step * t + e - tiling.top
            inside = top >= 0 and top + (tall - 1) * tiling.step < height
            for a in range(tall):
                pixels[a] = (n * height + top + a * tiling.step if inside else a) * row + across.outside
            if inside:
                combine(down, combined, lines, channels, source, pixels, across.apart, across.length, across.count)
            else:
                _copy_rows(x, n, top, tiling.step, border)
                combine(down, combined, lines, channels, border, pixels, across.apart, across.length, across.count)
            for k in range(len(lines)):
                if t < _count(k, tiling.vertical, tiling.rows):
                    for l in range(len(blocks)):
                        blocks[l] = _row(tiling, images, k, l, n, t) * apart + e * piece
                        entries[l] = k * line + l * piece
                    # An odd last tile's last combination, which nobody asks for, is written over by the next row.
                    combine(aside, parts, blocks, apart, combined, entries, 2 * piece, piece, wide)


@quick_jit
def multiply_tiles(parts, tiling, images, panels, out):
    """Every block of the tiles of `images` images times its own right factor: parts as from `tile`
    with rows of K + 16, panels (blocks, panels, K, lanes), out (at least blocks * most, L).
    """
    many, inner, lanes = panels.shape[1:]
    apart, width, most = inner + 16, out.shape[1], _most(tiling, images)
    edge, right, flat = np.zeros(ROWS * lanes, parts.dtype), panels.reshape(-1), out.reshape(-1)
    for block in range(len(panels)):
        high = _tiles(tiling, images, block)
        for depth in range(0, inner, DEPTH):
            multiply(Left(parts, block * most * apart + depth, apart, np.intp(1)), high,
                     Right(right, (block * many * inner + depth) * lanes, lanes, inner * lanes),
                     Out(flat, block * most * width, width, width), min(DEPTH, inner - depth), depth, edge)


@quick_jit
def correlate_tiles(parts, features, tiling, images, add, out):
    """out[block] = (or += where add is not 0) tiles.T @ tiles, those of images and those of
    features: out (blocks, K, O), parts as from `tile` with rows of K (rounded up to ROWS) + 16,
    features with rows of O (rounded up to a panel's lanes) + 16.
    """
    (blocks, inner, width), most, lanes = out.shape, _most(tiling, images), PANEL_BYTES // out.itemsize
    apart, aside = -(-inner // ROWS) * ROWS + 16, -(-width // lanes) * lanes + 16
    edge, flat = np.zeros(ROWS * lanes, out.dtype), out.reshape(-1)
    for block in range(blocks):
        high = _tiles(tiling, images, block)
        if high == 0 and not add:
            zero_run(flat, block * inner * width, inner * width)
        for r in range(0, high, UPRIGHT):
            multiply(Left(parts, (block * most + r) * apart, np.intp(1), apart), inner,
                     Right(features, (block * most + r) * aside, aside, lanes),
                     Out(flat, block * inner * width, width, width), min(UPRIGHT, high - r), add + r, edge)


# The way back: every part is added to the pixels that it was made of. Two entries at a time get what
# their own tile gives them and what the tile before does; where there is none, zeros.

@jit_inside
def _back_across(parts, tiling, begins, run, e, combined, line):
    """Pixels e of a row of entries, from one combination of rows: written to combined[line:].

    begins[l]: where in parts the tiles of that row begin in combination l of columns; rows of parts
    have `run` numbers, the last one zeros.
    """
    taps, wide, piece = tiling.horizontal, (tiling.columns + 1) // 2, run // tiling.side
    starts, targets = np.empty(2 * taps + 2, np.intp), np.empty(2, np.intp)
    # The first tile has none before it, the last may lack a combination, and behind it lie its last entries.
    ends = (0, 1, max(1, wide - 1), wide, wide + tiling.image)
    for segment in range(4):
        first, last = ends[segment], ends[segment + 1]
        if first < last:
            for l in range(taps + 1):
                for before in range(2):
                    there = 0 <= first - before < _count(l, taps, tiling.columns)
                    start = begins[l] + (first - before) * run if there else len(parts) - run
                    starts[before * (taps + 1) + l] = start + e * piece
            targets[0] = line + 2 * first * piece
            targets[1] = targets[0] + piece
            combine_back(_which(tiling, taps), combined, targets, 2 * piece, parts, starts, run, piece, last - first)


@jit_inside
def _back_down(combined, lines, tiling, across, add, place, x, spare, nothing):
    """Two rows of entries from the combined rows that begin at `lines`: pixels of the rows h and
    h + step, place = (n, h), of x, if they are there. Zero times each is added to `nothing`.
    """
    (n, h), (height, width, channels), target = place, x.shape[1:], x.reshape(-1)
    last = tiling.step * (2 * ((tiling.rows + 1) // 2 - 1) + _entries(tiling, tiling.vertical)) - tiling.top
    below = min(height, last)                       # rows from here on lie in no tile
    direct, row = h >= 0 and h + tiling.step < below and not add, width * channels
    starts, which = np.empty(2, np.intp), _which(tiling, tiling.vertical)
    for a in range(2):
        starts[a] = (n * height + h + a * tiling.step) * row + across.outside if direct else a * row
    if direct:
        combine_back(which, target, starts, across.apart, combined, lines, channels, across.length, across.count)
    else:
        combine_back(which, spare, starts, across.length, combined, lines, channels, across.length, across.count)
    for a in range(2):
        if 0 <= h + a * tiling.step < below:
            for c in range(across.count):
                start = (n * height + h + a * tiling.step) * row + across.outside + c * across.apart
                if add:
                    add_run(target, start, spare, a * row + c * across.length, 1, across.length)
                elif not direct:
                    copy_run(target, start, spare, a * row + c * across.length, across.length)
                add_run(nothing, 0, target, start, 0, across.length)


@quick_jit
def untile(parts, tiling, add, x):
    """The transpose of making tiles: every row of parts goes back to the pixels of x (N, H, W, C)
    that it was made of; sums there.

    parts: (blocks * most + 1, length), flat; the last row is made zeros. add: whether to add to what
    is there. Pixels that lie in no tile are left as they are. Returns whether all others are finite.
    """
    images, width, channels, taps = len(x), x.shape[2], x.shape[3], tiling.vertical
    wide, across, run = (tiling.columns + 1) // 2, _across(tiling, width, channels), tiling.side ** 2 * channels
    line = (2 * wide + 2) * tiling.side * channels
    # Combined rows of a row of tiles and of the one before, for each row of pixels, and a line of zeros.
    combined = np.zeros((2 * tiling.side * (taps + 1) + 1) * line, x.dtype)
    spare, lines = np.empty(2 * width * channels, x.dtype), np.empty(2 * taps + 2, np.intp)
    nothing = np.zeros(width * channels, x.dtype)
    begins = np.empty(tiling.horizontal + 1, np.intp)
    zero_run(parts, len(parts) - run, run)
    for n in range(images):
        for i in range(((tiling.rows + 1) // 2 + tiling.image) * tiling.side):
            t, e = i // tiling.side, i % tiling.side
            for k in range(taps + 1):
                for before in range(2):
                    there = 0 <= t - before < _count(k, taps, tiling.rows)
                    place = (((t - before) % 2 * tiling.side + e) * (taps + 1) + k) * line
                    lines[before * (taps + 1) + k] = across.inside + (place if there else len(combined) - line)
                if t < _count(k, taps, tiling.rows):
                    for l in range(len(begins)):
                        begins[l] = _row(tiling, images, k, l, n, t) * run
                    _back_across(parts, tiling, begins, run, e, combined, lines[k] - across.inside)
            h = 2 * tiling.step * t + e - tiling.top
            _back_down(combined, lines, tiling, across, add, (n, h), x, spare, nothing)
    for number in nothing[1:]:
        nothing[0] += number
    return nothing[0] == 0
