"""How the three products of conv.py are carried out on arrays: chunks of the batch, each handed to a kernel that multiplies its columns.

A chunk is a few images, or a band of rows of one large image. Chunks depend on shapes alone and each writes its own part of the result, so
the result does not depend on the threads. (The kernels never write all columns of a chunk: see kernels/columns.py. Layers for which
tiles.py has a shorter way go there.)

Notation: x (N, H, W, C) images, y (N, OH, OW, O) features, w (KH, KW, C, O) kernel, cols (n, OH, OW, KH, KW, C) columns of a chunk.
"""
import numpy as np

from . import kernels, parallel, tiles
from .shapes import Window, touching_range

COLUMN_BYTES = 1 << 20      # what a chunk's columns would take, or as much as the kernel that each chunk reads


def _per_group(product, window: Window, *arrays):
    """`product` for each group of channels (the last axis of all arrays) on its own, joined again."""
    one = window._replace(groups=1)
    parts = [[np.ascontiguousarray(part) for part in np.split(array, window.groups, axis=-1)] for array in arrays]
    return np.concatenate([product(*group, one) for group in zip(*parts)], axis=-1)


def _row_bytes(window: Window, channels: int, itemsize: int) -> int:
    """The bytes of the columns of one row of features."""
    return window.features[1] * window.kernel[0] * window.kernel[1] * channels * itemsize


def gather(x, w, window: Window, bias=None):
    """dT/dy: columns of the image times the kernel, plus a bias (O,). (N, H, W, C), (KH, KW, C, O) -> (N, OH, OW, O)."""
    if window.groups > 1:
        y = _per_group(gather, window, x, w)
        return y if bias is None else y + bias
    if tiles.suits(window, *w.shape[2:], len(x)):
        return tiles.gather(kernels.plain(x), w, window, bias)
    x, taps = kernels.plain(x), w.reshape(-1, w.shape[3])                   # (KH*KW*C, O)
    y = np.empty((len(x), *window.features, w.shape[3]), x.dtype)
    panels = _packed(taps, transposed=False)
    chunks = parallel.chunks(len(x), window.features[0], _row_bytes(window, x.shape[3], x.itemsize), max(COLUMN_BYTES, panels.nbytes))

    def task(index):
        first, last, top, bottom = chunks[index]
        padding = window.padding[0] - top * window.stride[0], window.padding[1]             # as seen from the band
        part = y[first:last, top:bottom]
        kernels.active().gather(x[first:last], panels, window.kernel, window.stride, padding, window.dilation, part)
        if bias is not None:
            part += bias
    parallel.run(task, len(chunks))
    return y


def scatter(y, w, window: Window, bias=None):
    """dT/dx: features times the kernel's transpose, stamped where they came from, plus a bias (C,). (N, OH, OW, O), (KH, KW, C, O) -> (N, H, W, C)."""
    if window.groups > 1:
        x = _per_group(scatter, window, y, w)
        return x if bias is None else x + bias
    if tiles.suits(window, *w.shape[2:], len(y)):
        return tiles.scatter(kernels.plain(y), w, window, bias)
    y, panels = kernels.plain(y), _packed(w.reshape(-1, w.shape[3]), transposed=True)      # of (O, KH*KW*C)
    channels, (height, width) = w.shape[2], window.image
    x = np.empty((len(y), height, width, channels), y.dtype)
    # Bands are rows of the *image*, so that no two chunks write one pixel; features that reach two bands are multiplied twice.
    row_bytes = -(-_row_bytes(window, channels, y.itemsize) // window.stride[0])
    chunks = parallel.chunks(len(y), height, row_bytes, max(COLUMN_BYTES, panels.nbytes))

    def task(index):
        first, last, top, bottom = chunks[index]
        start, stop = touching_range(top, bottom, window.kernel[0], window.stride[0], window.padding[0], window.dilation[0], window.features[0])
        padding = window.padding[0] + top - start * window.stride[0], window.padding[1]
        part = x[first:last, top:bottom]
        kernels.active().scatter(kernels.plain(y[first:last, start:stop]), panels, window.kernel, window.stride, padding, window.dilation, part)
        if bias is not None:
            part += bias
    parallel.run(task, len(chunks))
    return x


def correlate(x, y, window: Window):
    """dT/dw: columns of the image, transposed, times the features. (N, H, W, C), (N, OH, OW, O) -> (KH, KW, C, O)."""
    if window.groups > 1:
        return _per_group(correlate, window, x, y)
    if tiles.suits(window, x.shape[3], y.shape[3], len(x)):
        return tiles.correlate(kernels.plain(x), kernels.plain(y), window)
    x, y = kernels.plain(x), kernels.plain(y)
    channels, outputs = x.shape[3], y.shape[3]
    row_bytes = _row_bytes(window, channels, x.itemsize)
    w = np.empty((window.kernel[0] * window.kernel[1], channels, outputs), x.dtype)
    if 4 * w.nbytes > len(x) * window.features[0] * row_bytes:         # shares would be larger than columns: a tap at a time, over the whole batch
        chunks = parallel.chunks(len(x), window.features[0], row_bytes, COLUMN_BYTES)
        parallel.run(lambda n: _correlate(x, y, window, chunks, divmod(n, window.kernel[1]), (1, 1), w[n]), len(w))
    else:                                                               # all taps, over a part of the batch: shares of the sum
        groups = parallel.shares(len(x), window.features[0], row_bytes, COLUMN_BYTES, w.nbytes)
        shares = np.empty((len(groups), len(w) * channels, outputs), x.dtype)
        parallel.run(lambda n: _correlate(x, y, window, groups[n], (0, 0), window.kernel, shares[n]), len(groups))
        shares.sum(axis=0, out=w.reshape(shares.shape[1:]))
    return w.reshape(*window.kernel, channels, outputs)


def _correlate(x, y, window: Window, chunks, tap, kernel, w):
    """dT/dw of `kernel` taps from `tap` on, summed over the chunks in their order, written into w."""
    w[...] = 0
    offset = [p - t * d for p, t, d in zip(window.padding, tap, window.dilation)]
    for first, last, top, bottom in chunks:
        padding = offset[0] - top * window.stride[0], offset[1]
        features = kernels.plain(y[first:last, top:bottom])
        kernels.active().correlate(x[first:last], features, kernel, window.stride, padding, window.dilation, 1, w)


def _packed(taps, transposed):
    """The kernel as a matrix (KH*KW*C, O), or its transpose, as the right factor of products."""
    inner, columns = taps.shape[::-1] if transposed else taps.shape
    taps, panels, active = kernels.plain(taps), kernels.panels(1, inner, columns, taps.dtype)[0], kernels.active()
    parts = parallel.spans(len(panels), max(1, COLUMN_BYTES // panels[0].nbytes))
    parallel.run(lambda n: active.pack(taps, transposed, parts[n].start, panels[parts[n]]), len(parts))
    return panels


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
