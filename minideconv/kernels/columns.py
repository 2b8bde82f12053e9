"""Windows of images: as columns (im2col and its transpose), and multiplied a few at a time, without all columns ever being written out.

The second half are the three operations of conv.py as matrix products in which one factor, or the result, exists only a few rows at a time,
in the processor's caches ("implicit GEMM"; Chetlur et al. 2014, "cuDNN: Efficient Primitives for Deep Learning").
"""
import numpy as np

from .products import DEPTH, PANEL_BYTES, ROWS, multiply
from .runs import add_run, copy_run, jit, jit_inside, zero_run

LEFT = 1 << 15              # numbers in the windows that are multiplied together: half a second-level cache


@jit_inside
def _bounds(width, columns, taps, stride, padding, dilation):
    """bounds[v] = low, high: tap v of the windows low <= j < high lies on the image. bounds[taps]: windows whose taps lie there side by side."""
    bounds = np.zeros((taps + 1, 2), np.intp)
    for v in range(taps + 1):
        whole = v == taps
        first = (0 if whole else v * dilation) - padding            # of the taps asked for, in window 0
        last = first + (taps - 1 if whole else 0)
        if not whole or dilation == 1:
            bounds[v, 0] = min(columns, max(0, -(first // stride)))
            bounds[v, 1] = max(bounds[v, 0], min(columns, (width - 1 - last) // stride + 1))
    return bounds


@jit_inside
def _read_taps(x, start, channels, stride, padding, dilation, bounds, first, last, columns, at, apart):
    """Tap by tap, those of the windows first <= j < last that lie on the row of pixels at `start`."""
    for v in range(len(bounds) - 1):
        offset, o = v * dilation - padding, at + v * channels
        low, high = min(last, max(first, bounds[v, 0])), max(first, min(last, bounds[v, 1]))
        for j in range(first, last):
            if low <= j < high:
                copy_run(columns, o + j * apart, x, start + (j * stride + offset) * channels, channels)
            else:
                zero_run(columns, o + j * apart, channels)


@jit_inside
def _add_taps(x, start, channels, stride, padding, dilation, bounds, first, last, columns, at, apart):
    """The transpose of _read_taps."""
    for v in range(len(bounds) - 1):
        offset, o = v * dilation - padding, at + v * channels
        low, high = min(last, max(first, bounds[v, 0])), max(first, min(last, bounds[v, 1]))
        for j in range(low, high):
            add_run(x, start + (j * stride + offset) * channels, columns, o + j * apart, 1, channels)


@jit_inside
def _read_windows(x, shape, n, i, first, last, kernel, stride, padding, dilation, bounds, columns, at, apart):
    """Windows first <= j < last of row i of image n, zeros outside the image, as rows of `columns` from index `at` on; x is flat."""
    height, width, channels = shape[1:]
    run = kernel[1] * channels
    low, high = min(last, max(first, bounds[-1, 0])), max(first, min(last, bounds[-1, 1]))
    for u in range(kernel[0]):
        h, o = i * stride[0] - padding[0] + u * dilation[0], at - first * apart + u * run
        start = (n * height + h) * width * channels
        if not 0 <= h < height:
            for j in range(first, last):
                zero_run(columns, o + j * apart, run)
        elif low < high:
            for j in range(low, high):
                copy_run(columns, o + j * apart, x, start + (j * stride[1] - padding[1]) * channels, run)
            _read_taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, first, low, columns, o, apart)
            _read_taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, high, last, columns, o, apart)
        else:
            _read_taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, first, last, columns, o, apart)


@jit_inside
def _add_windows(x, shape, n, i, first, last, kernel, stride, padding, dilation, bounds, columns, at, apart):
    """The transpose of _read_windows: their numbers are added to the pixels where they came from."""
    height, width, channels = shape[1:]
    run = kernel[1] * channels
    low, high = min(last, max(first, bounds[-1, 0])), max(first, min(last, bounds[-1, 1]))
    for u in range(kernel[0]):
        h, o = i * stride[0] - padding[0] + u * dilation[0], at - first * apart + u * run
        start = (n * height + h) * width * channels
        if 0 <= h < height:
            if low < high:
                for j in range(low, high):
                    add_run(x, start + (j * stride[1] - padding[1]) * channels, columns, o + j * apart, 1, run)
                _add_taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, first, low, columns, o, apart)
                _add_taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, high, last, columns, o, apart)
            else:
                _add_taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, first, last, columns, o, apart)


@jit
def im2col(x, stride, padding, dilation, cols):
    count, rows, columns = cols.shape[:3]
    kernel, apart = (cols.shape[3], cols.shape[4]), cols.shape[3] * cols.shape[4] * cols.shape[5]
    bounds = _bounds(x.shape[2], columns, kernel[1], stride[1], padding[1], dilation[1])
    source, target = x.reshape(-1), cols.reshape(-1)
    for n in range(count):
        for i in range(rows):
            _read_windows(source, x.shape, n, i, 0, columns, kernel, stride, padding, dilation, bounds, target, (n * rows + i) * columns * apart, apart)


@jit
def col2im(cols, stride, padding, dilation, x):
    count, rows, columns = cols.shape[:3]
    kernel, apart = (cols.shape[3], cols.shape[4]), cols.shape[3] * cols.shape[4] * cols.shape[5]
    bounds = _bounds(x.shape[2], columns, kernel[1], stride[1], padding[1], dilation[1])
    source, target = cols.reshape(-1), x.reshape(-1)
    zero_run(target, 0, x.size)
    for n in range(count):
        for i in range(rows):
            _add_windows(target, x.shape, n, i, 0, columns, kernel, stride, padding, dilation, bounds, source, (n * rows + i) * columns * apart, apart)


@jit_inside
def _part_of_row(m, stop, rows, columns):
    """Window m of all (N, rows, columns), and those after it on its row and before `stop`: image, row, first and last."""
    n, i, j = m // (rows * columns), m // columns % rows, m % columns
    return n, i, j, min(columns, j + stop - m)


@jit_inside
def _read_many(x, shape, m, many, rows, columns, kernel, stride, padding, dilation, bounds, left, apart):
    """Windows m, m + 1, ... as rows of `left`."""
    at, stop = m, m + many
    while at < stop:
        n, i, first, last = _part_of_row(at, stop, rows, columns)
        _read_windows(x, shape, n, i, first, last, kernel, stride, padding, dilation, bounds, left, (at - m) * apart, apart)
        at += last - first


@jit_inside
def _add_many(x, shape, m, many, rows, columns, kernel, stride, padding, dilation, bounds, left, apart):
    """The transpose of _read_many."""
    at, stop = m, m + many
    while at < stop:
        n, i, first, last = _part_of_row(at, stop, rows, columns)
        _add_windows(x, shape, n, i, first, last, kernel, stride, padding, dilation, bounds, left, (at - m) * apart, apart)
        at += last - first


@jit
def gather(x, panels, kernel, stride, padding, dilation, y):
    count, rows, columns, outputs = y.shape
    inner, lanes = panels.shape[1:]
    apart = inner + 16                                      # rows at a power of two would compete for one place in the cache
    many = max(1, min(96, LEFT // apart) // ROWS) * ROWS
    left, edge = np.zeros(many * apart, x.dtype), np.zeros(ROWS * lanes, x.dtype)
    bounds = _bounds(x.shape[2], columns, kernel[1], stride[1], padding[1], dilation[1])
    source, right, target = x.reshape(-1), panels.reshape(-1), y.reshape(-1)
    for m in range(0, count * rows * columns, many):
        high = min(many, count * rows * columns - m)
        _read_many(source, x.shape, m, high, rows, columns, kernel, stride, padding, dilation, bounds, left, apart)
        for k in range(0, inner, DEPTH):
            multiply(left, k, apart, np.intp(1), high, right, k * lanes, lanes, inner * lanes, target, m * outputs, outputs, outputs, min(DEPTH, inner - k), k, edge)


@jit
def scatter(y, panels, kernel, stride, padding, dilation, x):
    count, rows, columns, outputs = y.shape
    inner, lanes = kernel[0] * kernel[1] * x.shape[3], panels.shape[2]
    apart, line = outputs + 16, inner + 16
    many = max(1, min(96, LEFT // max(apart, line)) // ROWS) * ROWS
    left, stamps, edge = np.zeros(many * apart, x.dtype), np.empty(many * line, x.dtype), np.zeros(ROWS * lanes, x.dtype)
    bounds = _bounds(x.shape[2], columns, kernel[1], stride[1], padding[1], dilation[1])
    source, right, target = y.reshape(-1), panels.reshape(-1), x.reshape(-1)
    zero_run(target, 0, x.size)
    for m in range(0, count * rows * columns, many):
        high = min(many, count * rows * columns - m)
        for r in range(high):
            copy_run(left, r * apart, source, (m + r) * outputs, outputs)
        for k in range(0, outputs, DEPTH):
            multiply(left, k, apart, np.intp(1), high, right, k * lanes, lanes, outputs * lanes, stamps, np.intp(0), line, inner, min(DEPTH, outputs - k), k, edge)
        _add_many(target, x.shape, m, high, rows, columns, kernel, stride, padding, dilation, bounds, stamps, line)


@jit
def correlate(x, y, kernel, stride, padding, dilation, add, w):
    count, rows, columns, outputs = y.shape
    inner, lanes = len(w), PANEL_BYTES // w.itemsize
    apart, aside = -(-inner // ROWS) * ROWS + 16, -(-outputs // lanes) * lanes + 16
    many = max(16, min(DEPTH, 2 * LEFT // apart))
    left, right, edge = np.zeros(many * apart, x.dtype), np.zeros(many * aside, x.dtype), np.zeros(ROWS * lanes, x.dtype)
    bounds = _bounds(x.shape[2], columns, kernel[1], stride[1], padding[1], dilation[1])
    source, features, target = x.reshape(-1), y.reshape(-1), w.reshape(-1)
    if count * rows * columns == 0 and not add:
        zero_run(target, 0, w.size)
    for m in range(0, count * rows * columns, many):
        depth = min(many, count * rows * columns - m)
        _read_many(source, x.shape, m, depth, rows, columns, kernel, stride, padding, dilation, bounds, left, apart)
        for r in range(depth):
            copy_run(right, r * aside, features, (m + r) * outputs, outputs)
        multiply(left, np.intp(0), np.intp(1), apart, inner, right, np.intp(0), aside, lanes, target, np.intp(0), outputs, outputs, depth, add + m, edge)
