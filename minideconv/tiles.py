"""Fewer products than the textbook's: two outputs of an m-tap filter from m + 1 products instead of 2 m.

A filter g of two taps gives two neighbouring outputs with three products instead of four (Winograd's minimal filtering F(2, 2)):

    y0 = d0 g0 + d1 g1 = (d0 - d1) g0 + d1 (g0 + g1)
    y1 = d1 g0 + d2 g1 =                d1 (g0 + g1) - (d1 - d2) g1

and one of three taps with four instead of six (F(2, 3); Lavin and Gray 2016 brought these to convolutions). On images a 2x2 tile of outputs
then takes 3 * 3 = 9 products instead of 16, or 16 instead of 36; with matrices in the place of numbers (channels) the additions are cheap beside the
products. A layer of stride 2 is the sum of four layers of stride 1 on the phases of its image (pixels of even and odd rows and columns): the
4x4 stride-2 layers that GANs are made of have two taps on each phase.

As linear maps, y = untile(tile(x) @ tile_kernel(w)) with the matrices below; so the other two operations of the trio are the transposes,
product by product. The numbers in the matrices are -1, 0, 1 and 1/2: small integers stay exact. An odd last output needs no last
combination: 7 outputs of two taps take 11 products along an axis, not 12 (and not 14).

Notation: m taps on each of S = stride phases; parts are (m+1)^2 blocks (tiles, length), one for each combination of rows and columns; length is
K = S*S*C for images, O for features.
"""
import functools
from typing import NamedTuple

import numpy as np

from . import kernels, parallel
from .shapes import Window, touching_range

PART_BYTES = 1 << 22        # the parts of a chunk: a share of the last-level cache (smaller chunks spend their time on the interpreter lock)
SUM_BYTES = 1 << 25         # what the chunks' shares of a kernel gradient may take together


class Filtering(NamedTuple):
    """y = outputs @ ((kernel @ g) * (data @ d)): m + 1 entries d, m taps g, two outputs y."""
    data: np.ndarray        # (m+1, m+1)
    kernel: np.ndarray      # (m+1, m)
    outputs: np.ndarray     # (m+1, 2): transposed, a row for each combination


FILTERINGS = {
    2: Filtering(np.array([[1, -1, 0], [0, 1, 0], [0, 1, -1]]), np.array([[1, 0], [1, 1], [0, 1]]), np.array([[1, 0], [1, 1], [0, -1]])),
    3: Filtering(np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]), np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
                 np.array([[1, 0], [1, 1], [1, -1], [0, -1]]))}

# (kernel, stride) of both axes -> taps on each phase, and how many channels it takes for the products saved to outweigh the additions (measured).
# 5x5 stride 2 (16 products for 25) and 2x2 (2.25 for 4) would fit as well, but gain nothing: their runs of memory are as long and their products fewer.
LAYERS = {(4, 2): (2, 48), (3, 1): (3, 48)}


def suits(window: Window, channels: int, outputs: int) -> bool:
    """Whether this way serves."""
    (kernel, other), (stride, across) = window.kernel, window.stride
    return (kernel, stride) == (other, across) and (kernel, stride) in LAYERS and window.dilation == (1, 1) and window.groups == 1 \
        and min(channels, outputs) >= LAYERS[kernel, stride][1] and min(window.features) >= 2


class _Layer:
    """A window's filtering, and its way of cutting the batch into chunks."""

    def __init__(self, window: Window, channels: int, outputs: int, dtype):
        self.window, self.stride, self.channels, self.outputs, self.dtype = window, window.stride[0], channels, outputs, dtype
        self.taps, _ = LAYERS[window.kernel[0], self.stride]
        self.filtering = FILTERINGS[self.taps]
        self.entry = self.stride ** 2 * channels                                            # K
        self.budget = max(PART_BYTES, 3 * (self.taps + 1) ** 2 * self.entry * outputs * np.dtype(dtype).itemsize)      # a large kernel is read once a chunk
        self.row_bytes = (self.taps + 1) ** 2 * (window.features[1] + 1) // 4 * (self.entry + outputs) * np.dtype(dtype).itemsize

    def tile_kernel(self, w):
        """(KH, KW, C, O) -> ((m+1)^2, K, O); tap u = S*a + e is tap a of phase e."""
        s, m, g = self.stride, self.taps, self.filtering.kernel
        taps = w.reshape(m, s, m, s, self.channels, self.outputs)                           # (a, e, b, f, C, O)
        out = np.empty((m + 1, m + 1, s, s, self.channels, self.outputs), w.dtype)
        for k, rows in enumerate(_combined(g, taps)):                                       # (e, b, f, C, O)
            for l, both in enumerate(_combined(g, rows.swapaxes(0, 1))):
                out[k, l] = both
        return out.reshape((m + 1) ** 2, self.entry, self.outputs)

    def untile_kernel(self, parts):
        """The transpose of tile_kernel: ((m+1)^2, K, O) -> (KH, KW, C, O)."""
        s, m, g = self.stride, self.taps, self.filtering.kernel.T
        parts = parts.reshape(m + 1, m + 1, s, s, self.channels, self.outputs)              # (k, l, e, f, C, O)
        taps = np.empty((m, s, m, s, self.channels, self.outputs), parts.dtype)
        for a, rows in enumerate(_combined(g, parts)):                                      # (l, e, f, C, O)
            for b, both in enumerate(_combined(g, rows)):
                taps[a, :, b] = both
        return taps.reshape(s * m, s * m, self.channels, self.outputs)

    def image_parts(self, count, rows):
        """This thread's buffer for the parts of (count, rows) of images: flat for the kernels, and its blocks for the products."""
        return self._parts("image parts", count, rows, self.entry)

    def feature_parts(self, count, rows):
        return self._parts("feature parts", count, rows, self.outputs)

    def _parts(self, name, count, rows, length):
        ends = _ends(self.taps + 1, count, rows, self.window.features[1])
        buffer = parallel.scratch(name, (ends[-1], length), self.dtype)
        return buffer.reshape(-1), [buffer[start:end] for start, end in zip((0, *ends), ends)]

    def tile_image(self, x, padding, rows):
        flat, blocks = self.image_parts(len(x), rows)
        kernels.active().tile(x, self.filtering.data, self.stride, padding, rows, self.window.features[1], flat)
        return blocks

    def tile_features(self, y):
        flat, blocks = self.feature_parts(len(y), y.shape[1])
        kernels.active().tile(y, self.filtering.outputs, 1, (0, 0), *y.shape[1:3], flat)
        return blocks


def _combined(matrix, arrays):
    """For each row of `matrix` the sum of the arrays times its numbers, of which most are 0 or 1."""
    for row in matrix:
        terms = [array if weight == 1 else array * array.dtype.type(weight) for weight, array in zip(row, arrays) if weight]
        yield functools.reduce(np.add, terms)


@functools.lru_cache(maxsize=256)
def _ends(combinations, count, rows, columns):
    """Where the blocks of `parts` end, in tiles."""
    tiles = [[(size + 1) // 2] * (combinations - 1) + [size // 2] for size in (rows, columns)]
    return tuple(np.cumsum([count * tall * wide for tall in tiles[0] for wide in tiles[1]]).tolist())


def gather(x, w, window: Window, bias=None):
    """dT/dy, as lowering.gather."""
    layer = _Layer(window, *w.shape[2:], x.dtype)
    u = layer.tile_kernel(w)
    y = np.empty((len(x), *window.features, layer.outputs), x.dtype)
    chunks = parallel.chunks(len(x), window.features[0], layer.row_bytes, layer.budget)

    def task(index):
        first, last, top, bottom = chunks[index]
        padding = window.padding[0] - top * layer.stride, window.padding[1]                 # as seen from the band
        image = layer.tile_image(x[first:last], padding, bottom - top)
        flat, products = layer.feature_parts(last - first, bottom - top)
        for block, kernel, product in zip(image, u, products):
            np.matmul(block, kernel, out=product)
        part = y[first:last, top:bottom]
        kernels.active().untile(flat, layer.filtering.outputs, 1, (0, 0), *part.shape[1:3], part)
        if bias is not None:
            part += bias
    parallel.run(task, len(chunks))
    return y


def scatter(y, w, window: Window, bias=None):
    """dT/dx, as lowering.scatter."""
    layer = _Layer(window, *w.shape[2:], y.dtype)
    u = layer.tile_kernel(w).transpose(0, 2, 1)
    x = np.empty((len(y), *window.image, layer.channels), y.dtype)
    chunks = parallel.chunks(len(y), window.image[0], -(-layer.row_bytes // layer.stride), layer.budget)

    def task(index):
        first, last, top, bottom = chunks[index]
        low, high = touching_range(top, bottom, window.kernel[0], layer.stride, window.padding[0], 1, window.features[0])
        part = x[first:last, top:bottom]
        if low == high:                 # pixels that no window reaches
            part[...] = 0
        else:
            flat, products = layer.image_parts(last - first, high - low)
            for block, kernel, product in zip(layer.tile_features(kernels.plain(y[first:last, low:high])), u, products):
                np.matmul(block, kernel, out=product)
            padding = window.padding[0] + top - low * layer.stride, window.padding[1]
            kernels.active().untile(flat, layer.filtering.data, layer.stride, padding, high - low, window.features[1], part)
        if bias is not None:
            part += bias
    parallel.run(task, len(chunks))
    return x


def correlate(x, y, window: Window):
    """dT/dw, as lowering.correlate: every chunk's share on its own, added in their order."""
    layer = _Layer(window, x.shape[3], y.shape[3], x.dtype)
    share_bytes = (layer.taps + 1) ** 2 * layer.entry * layer.outputs * x.itemsize
    budget = max(layer.budget, len(x) * window.features[0] * layer.row_bytes * share_bytes // SUM_BYTES)
    chunks = parallel.chunks(len(x), window.features[0], layer.row_bytes, budget)
    shares = np.empty((len(chunks), (layer.taps + 1) ** 2, layer.entry, layer.outputs), x.dtype)

    def task(index):
        first, last, top, bottom = chunks[index]
        padding = window.padding[0] - top * layer.stride, window.padding[1]
        image = layer.tile_image(x[first:last], padding, bottom - top)
        for block, features, share in zip(image, layer.tile_features(y[first:last, top:bottom]), shares[index]):
            np.matmul(block.T, features, out=share)
    parallel.run(task, len(chunks))
    return layer.untile_kernel(parallel.sum_first(shares))
