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
from typing import NamedTuple

import numpy as np

from . import kernels, parallel
from .shapes import Window, touching_range

PART_BYTES = 1 << 21        # what the parts of a chunk may take


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
# A phase of a 5x5 stride-2 layer has two taps or three: a zero is the third.
LAYERS = {(4, 2): (2, 32), (3, 1): (3, 32), (5, 2): (3, 32)}
POSITIONS = 1 << 10         # and how many features of the batch, for what is saved to outweigh the combinations of the kernel


def suits(window: Window, channels: int, outputs: int, count: int) -> bool:
    """Whether this way serves `count` images."""
    (kernel, other), (stride, across) = window.kernel, window.stride
    return (kernel, stride) == (other, across) and (kernel, stride) in LAYERS and window.dilation == (1, 1) and window.groups == 1 \
        and min(channels, outputs) >= LAYERS[kernel, stride][1] and min(window.features) >= 2 \
        and count * window.features[0] * window.features[1] >= POSITIONS


class _Layer:
    """A window's filtering, and what its arrays take."""

    def __init__(self, window: Window, channels: int, outputs: int, dtype):
        self.window, self.stride, self.channels, self.outputs, self.dtype = window, window.stride[0], channels, outputs, np.dtype(dtype)
        self.taps, _ = LAYERS[window.kernel[0], self.stride]
        self.filtering = FILTERINGS[self.taps]
        self.blocks, self.entry = (self.taps + 1) ** 2, self.stride ** 2 * channels         # K
        self.row_bytes = self.blocks * (window.features[1] + 1) // 4 * (self.entry + outputs) * self.dtype.itemsize

    def panels(self, w, transposed):
        """The combinations of the kernel (KH, KW, C, O), or their transposes, as right factors."""
        inner, columns = (self.outputs, self.entry) if transposed else (self.entry, self.outputs)
        panels, w, active = kernels.panels(self.blocks, inner, columns, self.dtype), kernels.plain(w), kernels.active()
        parallel.run(lambda n: active.tile_kernel(w, self.filtering.kernel, self.stride, transposed, n, panels[n]), self.blocks)
        return panels

    def parts(self, count, rows, length):
        """This thread's buffer for the products of (count, rows) of images."""
        tiles = [[(size + 1) // 2] * self.taps + [size // 2] for size in (rows, self.window.features[1])]
        return parallel.scratch("parts", (count * sum(tiles[0]) * sum(tiles[1]), length), self.dtype)


def gather(x, w, window: Window, bias=None):
    """dT/dy, as lowering.gather."""
    layer = _Layer(window, *w.shape[2:], x.dtype)
    panels = layer.panels(w, transposed=False)
    y = np.empty((len(x), *window.features, layer.outputs), x.dtype)
    chunks = parallel.chunks(len(x), window.features[0], layer.row_bytes, PART_BYTES)

    def task(index):
        first, last, top, bottom = chunks[index]
        padding = window.padding[0] - top * layer.stride, window.padding[1]                 # as seen from the band
        parts, part = layer.parts(last - first, bottom - top, layer.outputs), y[first:last, top:bottom]
        kernels.active().tile_products(x[first:last], layer.filtering.data, layer.stride, padding, *part.shape[1:3], panels, parts)
        kernels.active().untile(parts.reshape(-1), layer.filtering.outputs, 1, (0, 0), *part.shape[1:3], part)
        if bias is not None:
            part += bias
    parallel.run(task, len(chunks))
    return y


def scatter(y, w, window: Window, bias=None):
    """dT/dx, as lowering.scatter."""
    layer = _Layer(window, *w.shape[2:], y.dtype)
    panels = layer.panels(w, transposed=True)
    x = np.empty((len(y), *window.image, layer.channels), y.dtype)
    chunks = parallel.chunks(len(y), window.image[0], -(-layer.row_bytes // layer.stride), PART_BYTES)

    def task(index):
        first, last, top, bottom = chunks[index]
        low, high = touching_range(top, bottom, window.kernel[0], layer.stride, window.padding[0], 1, window.features[0])
        part = x[first:last, top:bottom]
        if low == high:                 # pixels that no window reaches
            part[...] = 0
        else:
            features, parts = kernels.plain(y[first:last, low:high]), layer.parts(last - first, high - low, layer.entry)
            kernels.active().tile_products(features, layer.filtering.outputs, 1, (0, 0), *features.shape[1:3], panels, parts)
            padding = window.padding[0] + top - low * layer.stride, window.padding[1]
            kernels.active().untile(parts.reshape(-1), layer.filtering.data, layer.stride, padding, *features.shape[1:3], part)
        if bias is not None:
            part += bias
    parallel.run(task, len(chunks))
    return x


def correlate(x, y, window: Window):
    """dT/dw, as lowering.correlate."""
    layer, active = _Layer(window, x.shape[3], y.shape[3], x.dtype), kernels.active()
    share_shape = layer.blocks, layer.entry, layer.outputs
    share_bytes = layer.blocks * layer.entry * layer.outputs * x.itemsize
    groups = parallel.shares(len(x), window.features[0], layer.row_bytes, max(PART_BYTES, 2 * share_bytes), share_bytes)
    shares = np.empty((len(groups), *share_shape), x.dtype)

    def task(index):
        for add, (first, last, top, bottom) in enumerate(groups[index]):
            padding = window.padding[0] - top * layer.stride, window.padding[1]
            features = kernels.plain(y[first:last, top:bottom])
            active.tile_transposed_products(x[first:last], layer.filtering.data, layer.stride, padding, features, layer.filtering.outputs, add, shares[index])
    parallel.run(task, len(groups))
    w = np.empty((*window.kernel, layer.channels, layer.outputs), x.dtype)
    parallel.run(lambda u: active.untile_kernel(shares, layer.filtering.kernel, layer.stride, u, w[u]), len(w))
    return w
