"""Matrix products by the register block of products.py: large ones of float matrices, in rows or in
columns.

BLAS would do as well where it knows the processor; the one that comes with NumPy does not know the
widest vectors of all of them.
"""
import functools
from typing import NamedTuple

import numpy as np

from ... import parallel
from .compiled import jit_inside, plain, quick_jit
from .products import DEPTH, PANEL_BYTES, ROWS, Left, Out, Right, multiply
from .runs import copy_run, copy_runs, turn_runs, zero_run

TALL = 256          # rows that are multiplied with a block of columns before they are turned into columns themselves
LINE = DEPTH + 16   # of rows that were turned: at a power of two they would compete for one place in the cache
BLOCK = 256         # columns, a few panels: read in runs that are long enough for memory, and kept in a cache
LEAST = 1 << 20     # products from which on this pays
SHARED = 1 << 23    # and of each part that threads share
LARGE = 1 << 29     # products from which on a thread that is late would be waited for longer than parts cost


class Matrix(NamedTuple):
    """A matrix in a flat array: entry (r, c) is numbers[r * down + c * across]; one of the two is 1."""
    numbers: np.ndarray
    down: int
    across: int


class Rooms(NamedTuple):
    """A thread's room for one product at a time: panels, rows that fill no register block, a block of the result, and
    rows that were turned. All flat.
    """
    panels: np.ndarray
    rest: np.ndarray
    block: np.ndarray
    turned: np.ndarray


def rooms(dtype) -> Rooms:
    """This thread's."""
    sizes = {"panels": DEPTH * BLOCK, "rest": ROWS * DEPTH, "block": TALL * BLOCK, "turned": TALL * LINE}
    return Rooms(*(parallel.scratch(f"{name} of a matrix", (size,), dtype) for name, size in sizes.items()))


@jit_inside
def _fill(panels, b, k, depth, column, wide):
    """Rows k.. and columns column.. of b as panels of DEPTH lines, read in the order in which they lie in memory.

    Zeros come after the last column: they make nothing that is kept, but what lay there before might be numbers so
    small (subnormal) that a processor takes a hundred times as long for them.
    """
    lanes = PANEL_BYTES // panels.itemsize
    if wide % lanes:
        for r in range(depth):
            zero_run(panels, (wide // lanes * DEPTH + r) * lanes + wide % lanes, lanes - wide % lanes)
    if b.across == 1:
        for r in range(depth):
            for p in range(-(-wide // lanes)):
                start = (k + r) * b.down + column + p * lanes
                copy_run(panels, (p * DEPTH + r) * lanes, b.numbers, start, min(lanes, wide - p * lanes))
    else:
        for p in range(-(-wide // lanes)):
            start = k + (column + p * lanes) * b.across
            turn_runs(panels, p * DEPTH * lanes, lanes, b.numbers, start, b.across, min(lanes, wide - p * lanes), depth)


@jit_inside
def _rows(a, top, high, k, depth, rest):
    """The last rows, fewer than the register block reads, as one more block of `rest`."""
    for r in range(high):
        for c in range(depth):
            rest[r * DEPTH + c] = a.numbers[(top + r) * a.down + (k + c) * a.across]


@jit_inside
def _upright(a, top, high, k, depth, room):
    """Rows top.. and terms k.. of a, whose columns lie in memory, as rows of `room`, LINE apart. The register block
    would read one number of each line of a column, and never in the order of memory.
    """
    turn_runs(room, 0, LINE, a.numbers, top + k * a.across, a.across, depth, high)
    return Left(room, 0, LINE, 1)


@jit_inside
def _write(block, first, high, wide, out, top, column):
    """Rows first <= r < high of `block` (rows of BLOCK) are rows top + r of out, from `column` on."""
    if out.across == 1:
        start = (top + first) * out.down + column
        copy_runs(out.numbers, start, out.down, block, first * BLOCK, BLOCK, high - first, wide)
    else:
        start = top + first + column * out.across
        turn_runs(out.numbers, start, out.across, block, first * BLOCK, BLOCK, high - first, wide)


@quick_jit
def multiply_part(a, b, inner, rows, columns, rooms, out):
    """Rows (first, last) and columns (first, last) of out = a @ b, all of them Matrix, b with
    `inner` rows.
    """
    lanes = PANEL_BYTES // out.numbers.itemsize
    panels, rest, block, room = rooms
    right = Right(panels, 0, lanes, DEPTH * lanes)
    for top in range(rows[0], rows[1], TALL):
        high = min(TALL, rows[1] - top)
        whole = high // ROWS * ROWS                     # the register block reads ROWS rows
        for column in range(columns[0], columns[1], BLOCK):
            wide = min(BLOCK, columns[1] - column)
            for k in range(0, inner, DEPTH):
                depth = min(DEPTH, inner - k)
                _fill(panels, b, k, depth, column, wide)
                for part in range(2):                   # the rows of whole register blocks, and the rest
                    first, many = (whole, high - whole) if part else (0, whole)
                    target = Out(block, first * BLOCK, BLOCK, wide)
                    if part == 0 and out.across == 1:
                        target = Out(out.numbers, top * out.down + column, out.down, wide)
                    if part:
                        _rows(a, top + whole, many, k, depth, rest)
                        left = Left(rest, 0, DEPTH, 1)
                    elif a.across == 1:
                        left = Left(a.numbers, top * a.down + k, a.down, 1)
                    else:
                        left = _upright(a, top, whole, k, depth, room)
                    multiply(left, many, right, target, depth, k)
            _write(block, whole if out.across == 1 else 0, high, wide, out, top, column)


def _matrix(array) -> Matrix:
    """A C- or Fortran-contiguous array as a Matrix."""
    if array.flags.c_contiguous:
        return Matrix(array.reshape(-1), array.shape[1], 1)
    return Matrix(array.T.reshape(-1), 1, array.shape[0])


@functools.lru_cache(maxsize=1024)
def _parts(total, unit, most) -> tuple:
    """`total` rows or columns as (first, last) of at most so many parts, each of whole units."""
    units = -(-total // unit)
    count = max(1, min(units, most))
    ends = [min(total, units * part // count * unit) for part in range(count + 1)]
    return tuple(zip(ends, ends[1:], strict=False))


def product(a, b):
    """a @ b: (M, K), (K, N) -> (M, N), of one floating dtype."""
    a, b = (one if one.flags.f_contiguous and one.flags.writeable else plain(one) for one in (a, b))
    (rows, inner), columns = a.shape, b.shape[1]
    out = np.empty((rows, columns), a.dtype)
    left, right, result = _matrix(a), _matrix(b), _matrix(out)
    if right.across != 1 and (left.down == 1 or rows * (inner + columns) < inner * columns):
        # What is cheapest to turn is turned: out.T = b.T @ a.T instead.
        left, right, result = (Matrix(one.numbers, one.across, one.down) for one in (right, left, result))
        rows, columns = columns, rows
    # Each part turns the right factor's columns or reads all of the left one, so they are few. Sums are not divided:
    # no result depends on how many parts there are.
    most = min(rows * inner * columns // SHARED, parallel.num_threads() * (4 if rows * inner * columns > LARGE else 1))
    if rows >= columns:
        parts = [(part, (0, columns)) for part in _parts(rows, ROWS, most)]
    else:
        parts = [((0, rows), part) for part in _parts(columns, PANEL_BYTES // a.itemsize, most)]
    parallel.run(lambda n: multiply_part(left, right, inner, *parts[n], rooms(a.dtype), result), len(parts))
    return out
