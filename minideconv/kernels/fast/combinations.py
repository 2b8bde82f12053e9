"""The transforms of tiles.py: combinations of the entries of tiles, their products, and the way
back.

The rows of an image that a row of tiles is made of are copied beside each other, zeros around them
where a tile hangs over the image's edge. Whole tiles are then combined in the processor's registers
(registers.py), each number read once; on the way back too, into rows of which the image gets what
lies inside it.

Notation: an axis of n outputs is cut into ceil(n / 2) tiles of two, each computed from a few
entries, and has taps + 1 combinations of them. The last combination serves a tile's second output
only, so an odd last tile has none: it has floor(n / 2) tiles. `parts` is one flat buffer of blocks
of `most` rows; block (k, l), for combination k of rows and l of columns, begins with a row for each
of its tiles (N, tiles, tiles).
"""
from typing import NamedTuple

import numpy as np
from numba import types

from .arrays import flat, on_stack
from .compiled import jit_inside, quick_jit
from .filterings import FILTERINGS
from .products import DEPTH, PANEL_BYTES, ROWS, UPRIGHT, Left, Out, Right, multiply
from .registers import combinations
from .runs import VECTOR_BYTES, copy_runs, deliver_runs, prefetch_run, zero_run


def _back(matrix):
    """The transpose of a matrix of combinations, for two entries at a time: what they get from their own tile, and
    from the tile before, whose last entries (if it has more than two) they are too.
    """
    own, before = matrix[:, :2].T, matrix[:, 2:].T
    return np.concatenate([own, np.pad(before, ((0, 2 - len(before)), (0, 0)))], axis=1)


# Which of the eight, see _which: of features and of images, for filters of two and of three taps down and across.
_ALL = [(down, across) for kind in ("outputs", "data")
        for down in (getattr(FILTERINGS[taps], kind) for taps in (2, 3))
        for across in (getattr(FILTERINGS[taps], kind) for taps in (2, 3))]
combine = combinations("combine", _ALL)
combine_back = combinations("combine_back", [(_back(down), _back(across)) for down, across in _ALL])
_places = on_stack(4 * 16 * 8, types.intp)              # of all runs that are combined
_vector = on_stack(VECTOR_BYTES)


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
def _behind(tiling):
    """Whether tiles reach beyond their two entries, to those of the next, or behind the last."""
    return 1 if tiling.image else 0


@jit_inside
def _most(tiling, images):
    return images * ((tiling.rows + 1) // 2) * ((tiling.columns + 1) // 2)


@jit_inside
def _which(tiling):
    """The place of a tiling's matrices among those that `combine` knows."""
    return 4 * tiling.image + 2 * tiling.vertical + tiling.horizontal - 6


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


def line_room(columns, piece):
    """How many numbers the room of a row of entries has, for so many outputs; piece: of a row of an entry's pixels."""
    return (2 * ((columns + 1) // 2) + 2) * piece


_line = jit_inside(line_room)


@jit_inside
def _copy_row(x, n, h, across, lines, start):
    """Row h of image n as a row of entries, zeros where there is none."""
    height, row, source = x.shape[1], x.shape[2] * x.shape[3], flat(x)
    if 0 <= h < height:
        place = (n * height + h) * row + across.outside
        copy_runs(lines, start + across.inside, across.length, source, place, across.apart, across.count, across.length)
        if n + 1 < len(x):                  # rows come phase by phase: the processor does not guess which is next
            prefetch_run(source, ((n + 1) * height + h) * row, row)
    else:
        zero_run(lines, start + across.inside, across.count * across.length)


@quick_jit
def tile(x, tiling, parts, apart, lines):
    """Every combination of the tiles of x as rows of `parts`, `apart` from each other; there is
    room for blocks * most + ROWS rows. lines: room for four rows of entries.
    """
    images, width, channels, side = len(x), x.shape[2], x.shape[3], tiling.side
    tall, broad = _entries(tiling, tiling.vertical), _entries(tiling, tiling.horizontal)
    wide, piece, line = (tiling.columns + 1) // 2, side * channels, _line(tiling.columns, side * channels)
    across, entries, blocks = _across(tiling, width, channels), _places(x), _places(x)
    zero_run(lines, 0, tall * line)
    for n in range(images):
        for e in range(side):
            for t in range((tiling.rows + 1) // 2):
                for r in range(tall):
                    start = (2 * t + r) % tall * line
                    if t == 0 or r >= tall - 2:                 # the others are there from the row of tiles before
                        _copy_row(x, n, tiling.step * (2 * t + r) + e - tiling.top, across, lines, start)
                    for q in range(broad):
                        entries[r * broad + q] = start + q * piece
                place = 0
                for k in range(tiling.vertical + 1):
                    for l in range(tiling.horizontal + 1):
                        blocks[place] = _row(tiling, images, k, l, n, t) * apart + e * piece
                        place += 1
                # An odd last tile's last combination, which nobody asks for, is written over by what comes next.
                combine(_which(tiling), parts, blocks, apart, lines, entries, 2 * piece, piece, wide)


@quick_jit
def multiply_tiles(parts, tiling, images, panels, out):
    """Every block of the tiles of `images` images times its own right factor: parts as from `tile`
    with rows of K + 16, panels (blocks, panels, K, lanes), out (at least blocks * most, L).
    """
    many, inner, lanes = panels.shape[1:]
    apart, width, most = inner + 16, out.shape[1], _most(tiling, images)
    right, target = flat(panels), flat(out)
    for block in range(len(panels)):
        high = _tiles(tiling, images, block)
        for depth in range(0, inner, DEPTH):
            multiply(Left(parts, block * most * apart + depth, apart, np.intp(1)), high,
                     Right(right, (block * many * inner + depth) * lanes, lanes, inner * lanes),
                     Out(target, block * most * width, width, width), min(DEPTH, inner - depth), depth)


@quick_jit
def correlate_tiles(parts, features, tiling, images, add, out):
    """out[block] = (or += where add is not 0) tiles.T @ tiles, those of images and those of
    features: out (blocks, K, O), parts as from `tile` with rows of K (rounded up to ROWS) + 16,
    features with rows of O (rounded up to a panel's lanes) + 16.
    """
    (blocks, inner, width), most, lanes = out.shape, _most(tiling, images), PANEL_BYTES // out.itemsize
    apart, aside = -(-inner // ROWS) * ROWS + 16, -(-width // lanes) * lanes + 16
    target = flat(out)
    for block in range(blocks):
        high = _tiles(tiling, images, block)
        if high == 0 and not add:
            zero_run(target, block * inner * width, inner * width)
        for r in range(0, high, UPRIGHT):
            multiply(Left(parts, (block * most + r) * apart, np.intp(1), apart), inner,
                     Right(features, (block * most + r) * aside, aside, lanes),
                     Out(target, block * inner * width, width, width), min(UPRIGHT, high - r), add + r)


# The way back: every part is added to the pixels that it was made of. Two entries at a time get what
# their own tile gives them and what the tile before does; where there is none, zeros.

@jit_inside
def _move(places, step):
    for n in range(len(places)):
        places[n] += step


@jit_inside
def _combine_back(parts, tiling, images, n, t, run, lines, line):
    """Two rows of entries, for each of their pixels, from row t of tiles and the one before: `line` apart in lines.

    Rows of parts have `run` numbers; the last of them are zeros, as many as a row of tiles has tiles.
    """
    tall, broad, wide, behind = tiling.vertical + 1, tiling.horizontal + 1, (tiling.columns + 1) // 2, _behind(tiling)
    starts, targets, zeros = _places(parts), _places(parts), len(parts) - wide * run
    piece = run // tiling.side
    # The first tile has none before it, the last may lack a combination, and behind it lie its last entries.
    ends = (0, behind, max(behind, tiling.columns // 2), wide, wide + behind)
    for segment in range(4):
        first, last = ends[segment], ends[segment + 1]
        if first < last:
            for above in range(1 + behind):
                for k in range(tall):
                    for before in range(1 + behind):
                        place = ((above * tall + k) * 2 + before) * broad
                        row, column = t - above, first - before
                        inside = 0 <= row < _count(k, tiling.vertical, tiling.rows)
                        for l in range(broad):
                            if inside and 0 <= column < _count(l, tiling.horizontal, tiling.columns):
                                starts[place + l] = (_row(tiling, images, k, l, n, row) + column) * run
                            else:
                                starts[place + l] = zeros
            for corner in range(4):
                targets[corner] = corner // 2 * tiling.side * line + (2 * first + corner % 2) * piece
            for _ in range(tiling.side):
                combine_back(_which(tiling), lines, targets, 2 * piece, parts, starts, run, piece, last - first)
                _move(starts, piece)
                _move(targets, line)


@quick_jit
def untile(parts, tiling, add, x, lines):
    """The transpose of making tiles: every row of parts goes back to the pixels of x (N, H, W, C)
    that it was made of; sums there.

    parts: (blocks * most + wide, length), flat, with wide = tiles in a row; the last ones are made zeros. add: whether
    to add to what is there. lines: room for four rows of entries. Pixels that lie in no tile are left as they are.
    Returns whether all others are finite.
    """
    (images, height, width, channels), side, target = x.shape, tiling.side, flat(x)
    across, line, run = _across(tiling, width, channels), _line(tiling.columns, side * channels), side * side * channels
    tall, wide = (tiling.rows + 1) // 2, (tiling.columns + 1) // 2
    below = tiling.step * (2 * (tall - 1) + _entries(tiling, tiling.vertical)) - tiling.top     # these lie in no tile
    nothing = _vector(x)
    zero_run(parts, len(parts) - wide * run, wide * run)
    for n in range(images):
        for t in range(tall + _behind(tiling)):
            _combine_back(parts, tiling, images, n, t, run, lines, line)
            for r in range(2):
                for e in range(side):
                    h = tiling.step * (2 * t + r) + e - tiling.top
                    if 0 <= h < min(height, below):
                        place, start = (n * height + h) * width * channels + across.outside, (r * side + e) * line
                        deliver_runs(target, place, across.apart, lines, start + across.inside, across.count,
                                     across.length, add, nothing)
                        if n + 1 < images:
                            prefetch_run(target, ((n + 1) * height + h) * width * channels, width * channels)
    for number in nothing[1:]:
        nothing[0] += number
    return nothing[0] == 0
