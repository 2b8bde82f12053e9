"""Nine products where the textbook has sixteen: 4x4 stride-2 convolutions, the ones that GANs are made of.

Such a layer is four 2x2 stride-1 layers on the four phases of its image (pixels of even and odd rows and columns), summed. And a filter g of
two taps gives two neighbouring outputs with three products instead of four (Winograd's F(2, 2); Lavin and Gray 2016 brought it to convolutions):

    y0 = d0 g0 + d1 g1 = (d0 - d1) g0 + d1 (g0 + g1)
    y1 = d1 g0 + d2 g1 =                d1 (g0 + g1) - (d1 - d2) g1

no fractions, so integers stay exact. In two dimensions a 2x2 tile of outputs takes 3 * 3 = 9 products of numbers instead of 4 * 4 = 16; with matrices
in the place of numbers (channels) the additions are cheap beside the products. Written as maps,

    y = untile_features( tile_image(x) @ tile_kernel(w) )

and since each map is linear, the other two operations of the trio are its transposes, product by product.
An odd last output needs no third combination, so 7 outputs take 11 products along an axis, not 12 (and not 14).

Notation: parts are nine blocks (tiles, length), one for each combination k of rows and l of columns; length is 4 * C (phases (e, f) and
channels) for images, O for features.
"""
import functools

import numpy as np

from . import kernels, parallel
from .shapes import Window

CHUNK_BYTES = 1 << 23       # the parts of a chunk of images: a share of the last-level cache (smaller chunks spend their time on the interpreter lock)


def suits(window: Window, channels: int, outputs: int) -> bool:
    """Whether this way serves: 4x4, stride 2, and enough channels for the products to outweigh the additions."""
    return (window.kernel, window.stride, window.dilation, window.groups) == ((4, 4), (2, 2), (1, 1), 1) and min(channels, outputs) >= 16 \
        and min(window.padding) >= 0 and min(window.features) >= 2


def tile_kernel(w):
    """(4, 4, C, O) -> (9, 4*C, O): g0, g0 + g1, g1 along both axes; tap u = 2a + e is tap a of phase e."""
    channels, outputs = w.shape[2:]
    taps = w.reshape(2, 2, 2, 2, channels, outputs).transpose(0, 2, 1, 3, 4, 5)         # (a, b, e, f, C, O)
    out = np.empty((3, 3, 2, 2, channels, outputs), w.dtype)
    for k, rows in enumerate((taps[0], taps[0] + taps[1], taps[1])):
        out[k, 0], out[k, 1], out[k, 2] = rows[0], rows[0] + rows[1], rows[1]
    return out.reshape(9, 4 * channels, outputs)


def untile_kernel(parts, channels):
    """The transpose of tile_kernel: (9, 4*C, O) -> (4, 4, C, O)."""
    parts = parts.reshape(3, 3, 2, 2, channels, -1)
    rows = parts[0] + parts[1], parts[1] + parts[2]                                     # (l, e, f, C, O) for a = 0, 1
    taps = np.array([(row[0] + row[1], row[1] + row[2]) for row in rows])               # (a, b, e, f, C, O)
    return taps.transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, channels, -1)


@functools.lru_cache(maxsize=256)
def _ends(count, features):
    """Where the nine blocks of `parts` end, in tiles."""
    tiles = [[(size + 1) // 2, (size + 1) // 2, size // 2] for size in features]
    return tuple(np.cumsum([count * rows * columns for rows in tiles[0] for columns in tiles[1]]).tolist())


class _Parts:
    """A thread's buffer of nine blocks for `count` images: `flat` for the kernels, `blocks` (tiles, length) for the products."""

    def __init__(self, name, count, window, length, dtype):
        ends = _ends(count, window.features)
        self.rows = parallel.scratch(name, (ends[-1], length), dtype)
        self.flat = self.rows.reshape(-1)
        self.blocks = [self.rows[start:end] for start, end in zip((0, *ends), ends)]


def _image_parts(x, window):
    parts = _Parts("image parts", len(x), window, 4 * x.shape[3], x.dtype)
    kernels.active().tile_image(x, window.padding, *window.features, parts.flat)
    return parts


def _feature_parts(y, window):
    parts = _Parts("feature parts", len(y), window, y.shape[3], y.dtype)
    kernels.active().tile_features(y, parts.flat)
    return parts


def _spans(count, window, channels, outputs, itemsize):
    """Chunks of images whose parts fit a cache."""
    tiles = (window.features[0] + 1) * (window.features[1] + 1) * 9 // 4
    return parallel.spans(count, max(1, CHUNK_BYTES // (tiles * (4 * channels + outputs) * itemsize)))


def gather(x, w, window: Window, bias=None):
    """dT/dy, as lowering.gather."""
    u, outputs = tile_kernel(w), w.shape[3]
    y = np.empty((len(x), *window.features, outputs), x.dtype)
    spans = _spans(len(x), window, *w.shape[2:], x.itemsize)

    def task(index):
        part = y[spans[index]]
        image = _image_parts(x[spans[index]], window)
        products = _Parts("feature parts", len(part), window, outputs, y.dtype)
        for block, kernel, product in zip(image.blocks, u, products.blocks):
            np.matmul(block, kernel, out=product)
        kernels.active().untile_features(products.flat, part)
        if bias is not None:
            part += bias
    parallel.run(task, len(spans))
    return y


def scatter(y, w, window: Window, bias=None):
    """dT/dx, as lowering.scatter."""
    u, channels = tile_kernel(w).transpose(0, 2, 1), w.shape[2]
    x = np.empty((len(y), *window.image, channels), y.dtype)
    spans = _spans(len(y), window, *w.shape[2:], y.itemsize)

    def task(index):
        part = x[spans[index]]
        features = _feature_parts(y[spans[index]], window)
        products = _Parts("image parts", len(part), window, 4 * channels, x.dtype)
        for block, kernel, product in zip(features.blocks, u, products.blocks):
            np.matmul(block, kernel, out=product)
        kernels.active().untile_image(products.flat, window.padding, *window.features, part)
        if bias is not None:
            part += bias
    parallel.run(task, len(spans))
    return x


def correlate(x, y, window: Window):
    """dT/dw, as lowering.correlate: every chunk's share on its own, added in their order."""
    channels, outputs = x.shape[3], y.shape[3]
    spans = _spans(len(x), window, channels, outputs, x.itemsize)
    shares = np.empty((len(spans), 9, 4 * channels, outputs), x.dtype)

    def task(index):
        image, features = _image_parts(x[spans[index]], window), _feature_parts(y[spans[index]], window)
        for block, other, share in zip(image.blocks, features.blocks, shares[index]):
            np.matmul(block.T, other, out=share)
    parallel.run(task, len(spans))
    return untile_kernel(shares.sum(axis=0), channels)
