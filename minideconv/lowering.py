"""How the three products of conv.py are carried out on arrays: chunks of the batch, columns, and one BLAS product a chunk.

A chunk is a few images, or a band of rows of one large image, whose columns (im2col) fit into a cache; every thread keeps one such
buffer. Chunks depend on shapes alone and each writes its own part of the result, so the result does not depend on the threads.

Notation: x (N, H, W, C) images, y (N, OH, OW, O) features, w (KH, KW, C, O) kernel, cols (n, OH, OW, KH, KW, C) columns of a chunk.
"""
import numpy as np

from . import kernels, parallel, tiles
from .shapes import Window, touching_range

COLUMN_BYTES = 1 << 20      # what a chunk's columns may take: a core's second-level cache


def _per_group(product, window: Window, *arrays):
    """`product` for each group of channels (the last axis of all arrays) on its own, joined again."""
    one = window._replace(groups=1)
    parts = [[np.ascontiguousarray(part) for part in np.split(array, window.groups, axis=-1)] for array in arrays]
    return np.concatenate([product(*group, one) for group in zip(*parts)], axis=-1)


def _is_product(window: Window) -> bool:
    """A 1x1 kernel at every pixel: the columns are the image itself."""
    return window.kernel == window.stride == (1, 1) and window.padding == (0, 0) and window.image == window.features


def _row_bytes(window: Window, channels: int, itemsize: int) -> int:
    """The bytes of the columns of one row of features."""
    return window.features[1] * window.kernel[0] * window.kernel[1] * channels * itemsize


def gather(x, w, window: Window, bias=None):
    """dT/dy: columns of the image times the kernel, plus a bias (O,). (N, H, W, C), (KH, KW, C, O) -> (N, OH, OW, O)."""
    if window.groups > 1:
        y = _per_group(gather, window, x, w)
        return y if bias is None else y + bias
    if tiles.suits(window, *w.shape[2:]):
        return tiles.gather(kernels.plain(x), w, window, bias)
    x, taps = kernels.plain(x), w.reshape(-1, w.shape[3])                   # (KH*KW*C, O)
    y = np.empty((len(x), *window.features, w.shape[3]), x.dtype)
    chunks = parallel.chunks(len(x), window.features[0], _row_bytes(window, x.shape[3], x.itemsize), COLUMN_BYTES)

    def task(index):
        first, last, top, bottom = chunks[index]
        cols = _columns(x[first:last], window, top, bottom)                 # (pixels, KH*KW*C)
        part = y[first:last, top:bottom].reshape(-1, w.shape[3])            # whole images or rows of one: no copy
        np.matmul(cols, taps, out=part)
        if bias is not None:
            part += bias
    parallel.run(task, len(chunks))
    return y


def scatter(y, w, window: Window, bias=None):
    """dT/dx: features times the kernel's transpose, stamped where they came from, plus a bias (C,). (N, OH, OW, O), (KH, KW, C, O) -> (N, H, W, C)."""
    if window.groups > 1:
        x = _per_group(scatter, window, y, w)
        return x if bias is None else x + bias
    if tiles.suits(window, *w.shape[2:]):
        return tiles.scatter(kernels.plain(y), w, window, bias)
    y, taps = kernels.plain(y), w.reshape(-1, w.shape[3]).T                 # (O, KH*KW*C)
    channels, (height, width) = w.shape[2], window.image
    x = np.empty((len(y), height, width, channels), y.dtype)
    # Bands are rows of the *image*, so that no two chunks write one pixel; features that reach two bands are multiplied twice.
    row_bytes = -(-_row_bytes(window, channels, y.itemsize) // window.stride[0])
    chunks = parallel.chunks(len(y), height, row_bytes, COLUMN_BYTES)

    def task(index):
        first, last, top, bottom = chunks[index]
        start, stop = touching_range(top, bottom, window.kernel[0], window.stride[0], window.padding[0], window.dilation[0], window.features[0])
        part, image = y[first:last, start:stop], x[first:last, top:bottom]
        if _is_product(window):
            np.matmul(part.reshape(-1, part.shape[3]), taps, out=image.reshape(-1, channels))
        else:
            _stamp(part, taps, window, start, top, image)
        if bias is not None:
            image += bias
    parallel.run(task, len(chunks))
    return x


def _stamp(part, taps, window: Window, start: int, top: int, image):
    """Rows of the image from `top` on: the features of rows from `start` on times the taps, added up where they belong."""
    cols = parallel.scratch("columns", (*part.shape[:3], *window.kernel, image.shape[3]), part.dtype)
    np.matmul(part.reshape(-1, part.shape[3]), taps, out=cols.reshape(-1, taps.shape[1]))
    padding = window.padding[0] + top - start * window.stride[0], window.padding[1]             # as seen from the band
    kernels.active().col2im(cols, window.stride, padding, window.dilation, image)


def correlate(x, y, window: Window):
    """dT/dw: columns of the image, transposed, times the features. (N, H, W, C), (N, OH, OW, O) -> (KH, KW, C, O)."""
    if window.groups > 1:
        return _per_group(correlate, window, x, y)
    if tiles.suits(window, x.shape[3], y.shape[3]):
        return tiles.correlate(kernels.plain(x), kernels.plain(y), window)
    x, y = kernels.plain(x), kernels.plain(y)
    channels, outputs = x.shape[3], y.shape[3]
    shape = (window.kernel[0] * window.kernel[1] * channels, outputs)
    # Every chunk has its own share of the sum, added in the chunks' order: few and larger chunks where the kernel is large.
    total = len(x) * window.features[0] * _row_bytes(window, channels, x.itemsize)
    budget = max(COLUMN_BYTES, total * shape[0] * outputs * x.itemsize // tiles.SUM_BYTES)
    chunks = parallel.chunks(len(x), window.features[0], _row_bytes(window, channels, x.itemsize), budget)
    shares = np.empty((len(chunks), *shape), x.dtype)

    def task(index):
        first, last, top, bottom = chunks[index]
        cols = _columns(x[first:last], window, top, bottom)                 # (pixels, KH*KW*C)
        np.matmul(cols.T, y[first:last, top:bottom].reshape(-1, outputs), out=shares[index])
    parallel.run(task, len(chunks))
    return parallel.sum_first(shares).reshape(*window.kernel, channels, outputs)


def _columns(x, window: Window, top: int, bottom: int):
    """The columns of feature rows [top, bottom) of the images x, in this thread's buffer, as a matrix (pixels, KH*KW*C)."""
    if _is_product(window):
        return x[:, top:bottom].reshape(-1, x.shape[3])
    cols = parallel.scratch("columns", (len(x), bottom - top, window.features[1], *window.kernel, x.shape[3]), x.dtype)
    padding = window.padding[0] - top * window.stride[0], window.padding[1]
    kernels.active().im2col(x, window.stride, padding, window.dilation, cols)
    return cols.reshape(-1, window.kernel[0] * window.kernel[1] * x.shape[3])


def im2col(x, window: Window):
    """All columns at once: (N, H, W, C) -> (N, OH, OW, KH, KW, C)."""
    x = kernels.plain(x)
    cols = np.empty((len(x), *window.features, *window.kernel, x.shape[3]), x.dtype)
    parallel.over_rows(lambda x, cols: kernels.active().im2col(x, window.stride, window.padding, window.dilation, cols), x, cols)
    return cols


def col2im(cols, window: Window):
    """The transpose of `im2col`: (N, OH, OW, KH*KW*C) -> (N, H, W, C)."""
    cols = kernels.plain(cols).reshape(len(cols), *window.features, *window.kernel, cols.shape[3] // (window.kernel[0] * window.kernel[1]))
    x = np.empty((len(cols), *window.image, cols.shape[-1]), cols.dtype)
    parallel.over_rows(lambda x, cols: kernels.active().col2im(cols, window.stride, window.padding, window.dilation, x), x, cols)
    return x
