"""How the three products of conv.py are carried out: chunks of the batch, each handed to a kernel
that multiplies its columns.

A chunk is a few images, or a band of rows of one large image. Chunks depend on shapes alone and
each writes its own part of the result, so the result does not depend on the threads. (The kernels
never write all columns of a chunk: see columns.py. Layers for which tiles.py has a shorter way go
there; what that leaves over, since it was not finite, is done here.)

Notation: x (N, H, W, C) images, y (N, OH, OW, O) features, w (KH, KW, C, O) kernel, cols (n, OH,
OW, KH, KW, C) columns of a chunk.
"""
import numpy as np

from ... import parallel
from ...shapes import Window, touching_range
from .. import reference
from . import columns, products, tiles
from .compiled import plain
from .rows import finish, rest_of

COLUMN_BYTES = 1 << 20      # what a chunk's columns would take, or as much as the kernel that each chunk reads


def _row_bytes(window: Window, channels: int, itemsize: int) -> int:
    """The bytes of the columns of one row of features."""
    return window.features[1] * window.kernel[0] * window.kernel[1] * channels * itemsize


def _from_row(window: Window, row: int) -> Window:
    """The window as seen from `row` of the image (rows before 0 are padding)."""
    return window._replace(padding=(window.padding[0] - row, window.padding[1]))


FEWER = 2                   # how many times fewer features than image channels make it pay to look from the other side


def _from_the_other_side(window: Window, channels: int, outputs: int, count: int):
    """With stride 1 a convolution is also the transposed convolution with the turned kernel: its image seen as
    features, its features as the image. That Window, where the features have so few channels that most of a
    processor's vectors would stay empty and columns be long; else None.

    What hangs over an edge is left out on one side, and multiplied with zeros on the other: the same only if it is
    finite, and to tell by the result, every window must see a pixel.
    """
    if window.stride != (1, 1) or window.dilation != (1, 1) or window.groups > 1 or FEWER * outputs > channels \
            or tiles.suits(window, channels, outputs, count):
        return None
    axes = zip(window.kernel, window.padding, window.features, window.image, strict=True)
    if not all(before < taps and features - 1 - before < size for taps, before, features, size in axes):
        return None
    padding = tuple(taps - 1 - before for taps, before in zip(window.kernel, window.padding, strict=True))
    return window._replace(padding=padding, image=window.features, features=window.image)


def _turned(w):
    """The kernel (KH, KW, C, O) by half a turn, (KH, KW, O, C)."""
    return np.ascontiguousarray(w[::-1, ::-1].swapaxes(2, 3))


def gather(x, w, window: Window, bias=None, slope=1.0):
    """dT/dy: columns of the image times the kernel, plus a bias (O,), then leaky ReLU (slope 1:
    none). (N, H, W, C), (KH, KW, C, O) -> (N, OH, OW, O).
    """
    other = _from_the_other_side(window, *w.shape[2:], len(x))
    if other and np.isfinite(w).all():
        return scatter(x, _turned(w), other, bias, slope)
    if window.groups > 1:
        y = reference.by_group(gather, window, x, w)
        finish(y, bias, slope)
        return y
    x, row_bytes = plain(x), _row_bytes(window, x.shape[3], x.itemsize)
    y = np.empty((len(x), *window.features, w.shape[3]), x.dtype)
    shorter = tiles.suits(window, *w.shape[2:], len(x))
    if shorter:
        chunks = tiles.gather_by_tiles(x, w, window, bias, slope, y)
    else:
        chunks = parallel.chunks(len(x), window.features[0], row_bytes, max(COLUMN_BYTES, w.nbytes))
    panels = _packed(w.reshape(-1, w.shape[3]), transposed=False) if chunks else None           # (KH*KW*C, O)
    rest = rest_of(None, 1.0, y) if shorter else rest_of(bias, slope, y)

    def task(index):
        first, last, top, bottom = chunks[index]
        part = y[first:last, top:bottom]
        chunk, kept = _from_row(window, top * window.stride[0]), _beside(part, shorter)
        columns.gather_by_columns(x[first:last], panels, chunk, rest, *columns.rooms(x.dtype, panels.shape[1]), kept)
        if shorter:
            _settle(part, kept, bias, slope)
    parallel.run(task, len(chunks))
    return y


def scatter(y, w, window: Window, bias=None, slope=1.0):
    """dT/dx: features times the kernel's transpose, stamped where they came from, plus a bias (C,),
    then leaky ReLU. (N, OH, OW, O), (KH, KW, C, O) -> (N, H, W, C).
    """
    other = _from_the_other_side(window, *w.shape[2:], len(y))
    if other and np.isfinite(w).all():
        return gather(y, _turned(w), other, bias, slope)
    if window.groups > 1:
        x = reference.by_group(scatter, window, y, w)
        finish(x, bias, slope)
        return x
    y, channels, (height, width) = plain(y), w.shape[2], window.image
    x = np.empty((len(y), height, width, channels), y.dtype)
    # Bands are rows of the *image*, so that no two chunks write one pixel; features that reach two
    # bands are multiplied twice.
    row_bytes = -(-_row_bytes(window, channels, y.itemsize) // window.stride[0])
    shorter = tiles.suits(window, *w.shape[2:], len(y))
    if shorter:
        chunks = tiles.scatter_by_tiles(y, w, window, bias, slope, x)
    else:
        chunks = parallel.chunks(len(y), height, row_bytes, max(COLUMN_BYTES, w.nbytes))
    panels = _packed(w.reshape(-1, w.shape[3]), transposed=True) if chunks else None            # of (O, KH*KW*C)

    def task(index):
        first, last, top, bottom = chunks[index]
        start, stop = touching_range(top, bottom, window.kernel[0], window.stride[0], window.padding[0],
                                     window.dilation[0], window.features[0])
        part, band = x[first:last, top:bottom], _from_row(window, start * window.stride[0] - top)
        kept = _beside(part, shorter)
        rooms = columns.rooms(y.dtype, w.shape[3], w[..., 0].size)
        columns.scatter_by_columns(plain(y[first:last, start:stop]), panels, band, *rooms, kept)
        _settle(part, kept, bias, slope)
    parallel.run(task, len(chunks))
    return x


def correlate(x, y, window: Window):
    """dT/dw: columns of the image, transposed, times the features. (N, H, W, C), (N, OH, OW, O) ->
    (KH, KW, C, O).
    """
    if other := _from_the_other_side(window, x.shape[3], y.shape[3], len(x)):
        w = _turned(correlate(y, x, other))
        if np.isfinite(w).all():
            return w
    if window.groups > 1:
        return reference.by_group(correlate, window, x, y)
    x, y = plain(x), plain(y)
    if tiles.suits(window, x.shape[3], y.shape[3], len(x)):
        w = tiles.correlate_by_tiles(x, y, window)
        finite = np.isfinite(w)
        return w if finite.all() else np.where(finite, w, _correlate_directly(x, y, window))
    return _correlate_directly(x, y, window)


def _beside(part, shorter):
    """Where the direct way writes a chunk: in its place, or beside what a shorter way left there."""
    return np.empty_like(part) if shorter else part


def _settle(part, direct, bias, slope):
    """Numbers of a shorter way that are not finite give way to the direct one's (all others stay); then what comes
    after the product.
    """
    if direct is not part:
        np.copyto(part, direct, where=~np.isfinite(part))
    finish(part, bias, slope)


def _correlate_directly(x, y, window: Window):
    """`correlate` the direct way."""
    channels, outputs = x.shape[3], y.shape[3]
    row_bytes = _row_bytes(window, channels, x.itemsize)
    w = np.empty((window.kernel[0] * window.kernel[1], channels, outputs), x.dtype)
    if 4 * w.nbytes > len(x) * window.features[0] * row_bytes:
        # Shares would be larger than columns: a tap at a time, over the whole batch.
        chunks = parallel.chunks(len(x), window.features[0], row_bytes, COLUMN_BYTES)
        taps = [_one_tap(window, *divmod(n, window.kernel[1])) for n in range(len(w))]
        parallel.run(lambda n: _correlate_chunks(x, y, taps[n], chunks, w[n]), len(w))
    else:
        # All taps, over a part of the batch: shares of the sum.
        groups = parallel.shares(len(x), window.features[0], row_bytes, COLUMN_BYTES, w.nbytes)
        shares = np.empty((len(groups), len(w) * channels, outputs), x.dtype)
        parallel.run(lambda n: _correlate_chunks(x, y, window, groups[n], shares[n]), len(groups))
        shares.sum(axis=0, out=w.reshape(shares.shape[1:]))
    return w.reshape(*window.kernel, channels, outputs)


def _one_tap(window: Window, u: int, v: int) -> Window:
    """The window of tap (u, v) alone."""
    padding = window.padding[0] - u * window.dilation[0], window.padding[1] - v * window.dilation[1]
    return window._replace(kernel=(1, 1), padding=padding)


def _correlate_chunks(x, y, window: Window, chunks, w):
    """dT/dw summed over the chunks in their order, written into w."""
    w[...], rooms = 0, columns.upright_rooms(w.dtype, len(w), y.shape[3])
    for first, last, top, bottom in chunks:
        features = plain(y[first:last, top:bottom])
        columns.correlate_by_columns(x[first:last], features, _from_row(window, top * window.stride[0]), 1, *rooms, w)


def _packed(matrix, transposed):
    """A matrix, or its transpose, as the right factor of products."""
    inner, outputs = matrix.shape[::-1] if transposed else matrix.shape
    matrix, panels = plain(matrix), products.panels(1, inner, outputs, matrix.dtype)[0]
    parts = parallel.spans(len(panels), max(1, COLUMN_BYTES // panels[0].nbytes))
    parallel.run(lambda n: products.pack(matrix, transposed, parts[n].start, panels[parts[n]]), len(parts))
    return panels


def im2col(x, window: Window):
    """All columns at once: (N, H, W, C) -> (N, OH, OW, KH, KW, C)."""
    if x.dtype.kind != "f":
        return reference.im2col(x, window)
    cols = np.empty((len(x), *window.features, *window.kernel, x.shape[3]), x.dtype)
    parallel.over_rows(lambda x, cols: columns.im2col(x, window, cols), plain(x), cols)
    return cols


def col2im(cols, window: Window):
    """The transpose of `im2col`: (N, OH, OW, KH, KW, C) -> (N, H, W, C)."""
    if cols.dtype.kind != "f":
        return reference.col2im(cols, window)
    x = np.empty((len(cols), *window.image, cols.shape[5]), cols.dtype)
    parallel.over_rows(lambda cols, x: columns.col2im(cols, window, x), plain(cols), x)
    return x
