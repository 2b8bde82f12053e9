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
def _taps(x, start, channels, stride, padding, dilation, bounds, first, last, columns, at, apart, back):
    """Tap by tap, those of the windows first <= j < last that lie on the row of pixels at `start`, see _windows."""
    for v in range(len(bounds) - 1):
        offset, o = v * dilation - padding, at + v * channels
        for j in range(first, last):
            if bounds[v, 0] <= j < bounds[v, 1]:
                if back:
                    add_run(x, start + (j * stride + offset) * channels, columns, o + j * apart, 1, channels)
                else:
                    copy_run(columns, o + j * apart, x, start + (j * stride + offset) * channels, channels)
            elif not back:
                zero_run(columns, o + j * apart, channels)


@jit_inside
def _windows(x, shape, n, i, first, last, kernel, stride, padding, dilation, bounds, columns, at, apart, back):
    """Windows first <= j < last of row i of image n, zeros outside the image, as rows of `columns` from index `at` on; x is flat.

    back: the transpose, the rows' numbers are added to the pixels where they came from.
    """
    height, width, channels = shape[1:]
    run = kernel[1] * channels
    low, high = min(last, max(first, bounds[-1, 0])), max(first, min(last, bounds[-1, 1]))
    for u in range(kernel[0]):
        h, o = i * stride[0] - padding[0] + u * dilation[0], at - first * apart + u * run
        start = (n * height + h) * width * channels
        if 0 <= h < height:
            for j in range(low, high):
                pixel = start + (j * stride[1] - padding[1]) * channels
                if back:
                    add_run(x, pixel, columns, o + j * apart, 1, run)
                else:
                    copy_run(columns, o + j * apart, x, pixel, run)
            _taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, first, low, columns, o, apart, back)
            _taps(x, start, channels, stride[1], padding[1], dilation[1], bounds, high, last, columns, o, apart, back)
        elif not back:
            for j in range(first, last):
                zero_run(columns, o + j * apart, run)


@jit_inside
def _many_windows(x, shape, m, many, rows, columns, kernel, stride, padding, dilation, bounds, left, apart, back):
    """Windows m, m + 1, ... of all (N, rows, columns) as rows of `left`, or back."""
    at, stop = m, m + many
    while at < stop:                                        # a row of windows, or what is left of it, at a time
        n, i, j = at // (rows * columns), at // columns % rows, at % columns
        last = min(columns, j + stop - at)
        _windows(x, shape, n, i, j, last, kernel, stride, padding, dilation, bounds, left, (at - m) * apart, apart, back)
        at += last - j


@jit
def im2col(x, stride, padding, dilation, cols):
    count, rows, columns, taps_v, taps_h, channels = cols.shape
    bounds = _bounds(x.shape[2], columns, taps_h, stride[1], padding[1], dilation[1])
    _many_windows(x.reshape(-1), x.shape, np.intp(0), count * rows * columns, rows, columns, (taps_v, taps_h), stride, padding, dilation, bounds,
                  cols.reshape(-1), taps_v * taps_h * channels, False)


@jit
def col2im(cols, stride, padding, dilation, x):
    count, rows, columns, taps_v, taps_h, channels = cols.shape
    bounds = _bounds(x.shape[2], columns, taps_h, stride[1], padding[1], dilation[1])
    zero_run(x.reshape(-1), 0, x.size)
    _many_windows(x.reshape(-1), x.shape, np.intp(0), count * rows * columns, rows, columns, (taps_v, taps_h), stride, padding, dilation, bounds,
                  cols.reshape(-1), taps_v * taps_h * channels, True)


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
        _many_windows(source, x.shape, m, high, rows, columns, kernel, stride, padding, dilation, bounds, left, apart, False)
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
        _many_windows(target, x.shape, m, high, rows, columns, kernel, stride, padding, dilation, bounds, stamps, line, True)


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
        _many_windows(source, x.shape, m, depth, rows, columns, kernel, stride, padding, dilation, bounds, left, apart, False)
        for r in range(depth):
            copy_run(right, r * aside, features, (m + r) * outputs, outputs)
        multiply(left, np.intp(0), np.intp(1), apart, inner, right, np.intp(0), aside, lanes, target, np.intp(0), outputs, outputs, depth, add + m, edge)
