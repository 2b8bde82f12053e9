"""Windows of images: as columns (im2col and its transpose), and multiplied a few at a time, without
all columns ever being written out.

The second half are the three operations of conv.py as matrix products in which one factor, or the
result, exists only a few rows at a time, in the processor's caches ("implicit GEMM"; Chetlur et al.
2014, "cuDNN: Efficient Primitives for Deep Learning"). Each serves a chunk: images, or one band of
an image's rows, whose windows may begin inside the image (then the window's padding is negative);
how many windows there are is said by the features' shape.
"""
from typing import NamedTuple

import numpy as np

from ... import parallel
from .arrays import flat, view
from .compiled import jit_inside, quick_jit
from .loops import add_rest
from .products import DEPTH, PANEL_BYTES, ROWS, Left, Out, Right, multiply
from .runs import add_run, add_runs, copy_run, copy_runs, prefetch_run, zero_run

FORTH, BACK = np.bool_(False), np.bool_(True)        # variables to Numba, which compiles anew for True and for False
LEFT = 1 << 18              # numbers in the windows that are multiplied together; with few a large kernel is read often
TURNED = 1 << 16            # the same where they are read down their columns


class Sight(NamedTuple):
    """Windows over a flat image: its shape (N, H, W, C), how many windows it has, and their Window.

    All taps of the windows low <= j < high of a row lie on the image, side by side.
    """
    shape: tuple
    rows: int
    columns: int
    window: tuple
    low: int
    high: int


@jit_inside
def _sight(shape, rows, columns, window):
    """The Sight of rows x columns windows over an image of `shape`."""
    taps, stride, padding = window.kernel[1], window.stride[1], window.padding[1]
    low = min(columns, max(0, -(-padding // stride)))
    high = max(low, min(columns, (shape[2] - taps + padding) // stride + 1))
    return Sight(shape, rows, columns, window, low, high if window.dilation[1] == 1 else low)


@jit_inside
def _edge(x, start, sight, first, last, buffer, at, apart, back):
    """Windows first <= j < last on the row of pixels at `start`, see _windows, of which not all lies there, or not side
    by side: runs of pixels, each with what it lacks at either end.
    """
    (width, channels), window = sight.shape[2:], sight.window
    runs, pixels = (1, window.kernel[1]) if window.dilation[1] == 1 else (window.kernel[1], 1)
    for j in range(first, last):
        for v in range(runs):
            pixel, o = j * window.stride[1] - window.padding[1] + v * window.dilation[1], at + j * apart + v * channels
            low = min(pixels, max(0, -pixel))
            high = max(low, min(pixels, width - pixel))
            inside, place, length = o + low * channels, start + (pixel + low) * channels, (high - low) * channels
            if back:
                add_run(x, place, buffer, inside, 1, length)
            else:
                zero_run(buffer, o, low * channels)
                copy_run(buffer, inside, x, place, length)
                zero_run(buffer, o + high * channels, (pixels - high) * channels)


@jit_inside
def _windows(x, sight, place, last, buffer, at, apart, back):
    """Windows first <= j < last of row i of image n, zeros outside the image, as rows of `buffer`
    from index `at` on.

    place: (n, i, first). x is flat. back: the transpose, the rows' numbers are added to the pixels
    where they came from.
    """
    (n, i, first), (_, height, width, channels), window = place, sight.shape, sight.window
    run, step = window.kernel[1] * channels, window.stride[1] * channels
    low = min(last, max(first, sight.low))
    high = max(low, min(last, sight.high))
    for u in range(window.kernel[0]):
        h, o = i * window.stride[0] - window.padding[0] + u * window.dilation[0], at - first * apart + u * run
        start = (n * height + h) * width * channels
        if 0 <= h < height:
            pixel = start + low * step - window.padding[1] * channels
            if back:
                # So many neighbours share pixels: one of them at a time, so that no addition waits for the one before.
                many = -(-window.kernel[1] // window.stride[1])
                for k in range(many):
                    add_runs(x, pixel + k * step, many * step, buffer, o + (low + k) * apart, many * apart,
                             (high - low - k + many - 1) // many, 1, run)
            else:
                copy_runs(buffer, o + low * apart, apart, x, pixel, step, high - low, run)
            _edge(x, start, sight, first, low, buffer, o, apart, back)
            _edge(x, start, sight, high, last, buffer, o, apart, back)
        elif not back:
            for j in range(first, last):
                zero_run(buffer, o + j * apart, run)


@quick_jit
def many_windows(x, sight, m, many, buffer, apart, back):
    """Windows m, m + 1, ... of all (N, rows, columns) as rows of `buffer`, or back."""
    rows, columns = sight.rows, sight.columns
    at, stop = m, m + many
    while at < stop:                                        # a row of windows, or what is left of it, at a time
        n, i, j = at // (rows * columns), at // columns % rows, at % columns
        last = min(columns, j + stop - at)
        _windows(x, sight, (n, i, j), last, buffer, (at - m) * apart, apart, back)
        at += last - j


@quick_jit
def im2col(x, window, cols):
    """cols (N, OH, OW, KH, KW, C) as in reference.py."""
    count, rows, columns = cols.shape[:3]
    sight = _sight(x.shape, rows, columns, window)
    line = cols.shape[3] * cols.shape[4] * cols.shape[5]
    many_windows(flat(x), sight, np.intp(0), count * rows * columns, flat(cols), line, FORTH)


@quick_jit
def col2im(cols, window, x):
    """x (N, H, W, C) as in reference.py."""
    count, rows, columns = cols.shape[:3]
    sight = _sight(x.shape, rows, columns, window)
    line = cols.shape[3] * cols.shape[4] * cols.shape[5]
    zero_run(flat(x), 0, x.size)
    many_windows(flat(x), sight, np.intp(0), count * rows * columns, flat(cols), line, BACK)


def rooms(dtype, *lengths):
    """A thread's rooms for a few rows of such lengths each, see _rooms."""
    return _rooms(dtype, max(1, min(96, LEFT // (max(lengths) + 16)) // ROWS) * ROWS, lengths)


def upright_rooms(dtype, inner, outputs):
    """The same for rows of two factors that are multiplied down their columns, in whole blocks."""
    lanes = PANEL_BYTES // np.dtype(dtype).itemsize
    inner, outputs = -(-inner // ROWS) * ROWS, -(-outputs // lanes) * lanes
    return _rooms(dtype, max(16, min(DEPTH, TURNED // (inner + 16))), (inner, outputs))


def _rooms(dtype, many, lengths):
    """For each length (many, length + 16): rows at a power of two would compete for one place in the cache."""
    return [parallel.scratch(f"columns {place}", (many, length + 16), dtype) for place, length in enumerate(lengths)]


@quick_jit
def gather_by_columns(x, panels, window, rest, left, y):
    """y (N, OH, OW, O) = the columns of x times the matrix (KH*KW*C, O) of the panels, and what comes after.

    left: of rooms(dtype, KH*KW*C).
    """
    (count, rows, columns, outputs), (many, apart), (inner, lanes) = y.shape, left.shape, panels.shape[1:]
    sight = _sight(x.shape, rows, columns, window)
    source, right, target, lines = flat(x), flat(panels), flat(y), view(y, 0, (count * rows * columns, outputs))
    buffer = flat(left)
    for m in range(0, count * rows * columns, many):
        high = min(many, count * rows * columns - m)
        many_windows(source, sight, m, high, buffer, apart, FORTH)
        prefetch_run(target, (m + many) * outputs, many * outputs)
        for k in range(0, inner, DEPTH):
            multiply(Left(buffer, k, apart, np.intp(1)), high, Right(right, k * lanes, lanes, inner * lanes),
                     Out(target, m * outputs, outputs, outputs), min(DEPTH, inner - k), k)
        add_rest(lines[m:m + high], rest)


@quick_jit
def scatter_by_columns(y, panels, window, left, stamps, x):
    """The transpose of gather_by_columns: y times the matrix (O, KH*KW*C) of the panels, as columns added up
    to x (N, H, W, C).

    left, stamps: rooms(dtype, O, KH*KW*C).
    """
    (count, rows, columns, outputs), (many, apart), line, lanes = y.shape, left.shape, stamps.shape[1], panels.shape[2]
    inner, buffer, sums = window.kernel[0] * window.kernel[1] * x.shape[3], flat(left), flat(stamps)
    sight = _sight(x.shape, rows, columns, window)
    source, right, target = flat(y), flat(panels), flat(x)
    zero_run(target, 0, x.size)
    for m in range(0, count * rows * columns, many):
        high = min(many, count * rows * columns - m)
        numbers, start, row = source, m * outputs, outputs
        if high % ROWS:                                     # the register block reads whole blocks of rows
            copy_runs(buffer, 0, apart, source, m * outputs, outputs, high, outputs)
            numbers, start, row = buffer, 0, apart
        for k in range(0, outputs, DEPTH):
            multiply(Left(numbers, start + k, row, np.intp(1)), high,
                     Right(right, k * lanes, lanes, outputs * lanes), Out(sums, np.intp(0), line, inner),
                     min(DEPTH, outputs - k), k)
        many_windows(target, sight, m, high, sums, line, BACK)


@quick_jit
def correlate_by_columns(x, y, window, add, left, right, w):
    """w (KH*KW*C, O) = (or += where add is not 0) the columns of x, transposed, times y (N, OH, OW,
    O).

    left, right: upright_rooms(dtype, KH*KW*C, O).
    """
    (count, rows, columns, outputs), (many, apart), aside = y.shape, left.shape, right.shape[1]
    inner, lanes, buffer, lines = len(w), PANEL_BYTES // w.itemsize, flat(left), flat(right)
    sight = _sight(x.shape, rows, columns, window)
    source, features, target = flat(x), flat(y), flat(w)
    if count * rows * columns == 0 and not add:
        zero_run(target, 0, w.size)
    for m in range(0, count * rows * columns, many):
        depth = min(many, count * rows * columns - m)
        many_windows(source, sight, m, depth, buffer, apart, FORTH)
        factor = Right(features, m * outputs, outputs, lanes)
        if outputs % lanes:                                 # the last panel's lines reach into what comes next
            copy_runs(lines, 0, aside, features, m * outputs, outputs, depth, outputs)
            factor = Right(lines, np.intp(0), aside, lanes)
        multiply(Left(buffer, np.intp(0), np.intp(1), apart), inner, factor,
                 Out(target, np.intp(0), outputs, outputs), depth, add + m)
