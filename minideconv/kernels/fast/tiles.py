"""Fewer products than the textbook's: two outputs of an m-tap filter from m + 1 products instead of
2 m.

A filter g of two taps gives two neighbouring outputs with three products instead of four
(Winograd's minimal filtering F(2, 2)):

    y0 = d0 g0 + d1 g1 = (d0 - d1) g0 + d1 (g0 + g1)
    y1 = d1 g0 + d2 g1 =                d1 (g0 + g1) - (d1 - d2) g1

and one of three taps with four instead of six (F(2, 3); Lavin and Gray 2016 brought these to
convolutions). On images a 2x2 tile of outputs then takes 3 * 3 = 9 products instead of 16, or 16
instead of 36; with matrices in the place of numbers (channels) the additions are cheap beside the
products. A layer of stride 2 is the sum of four layers of stride 1 on the phases of its image
(pixels of even and odd rows and columns). The 4x4 stride-2 layers that GANs are made of have two
taps on each phase, and the phases are summed by the products themselves; of a 5x5 layer the phases
have three taps or two, so each has tiles of its own: 16 + 12 + 12 + 9 = 49 products instead of 100.

As linear maps, y = untile(tile(x) @ tile_kernel(w)) with the matrices below; so the other two
operations of the trio are the transposes, product by product. The numbers in the matrices are -1,
0, 1 and 1/2: small integers stay exact. An odd last output needs no last combination: 7 outputs of
two taps take 11 products along an axis, not 12 (and not 14).

An output is made of entries in its own window alone, so what no window holds never reaches it.
(Larger tiles, and filters whose last tap is zero, make outputs of entries that cancel only up to
rounding.) But within a window infinities may meet theirs of the other sign: what is not finite is
left to the direct way, in lowering.py.

Notation: m taps on each of the phases; parts are blocks (tiles, length), one for each combination
of rows and columns; length is K = side^2 * C for images, O for features.
"""
from typing import NamedTuple

import numpy as np

from ... import parallel
from ...shapes import Window, touching_range
from .combinations import Taps, Tiling, tile_kernel, tile_products, tile_transposed_products, untile, untile_kernel
from .compiled import plain
from .products import pack, panels

PART_BYTES = 1 << 21        # what the parts of a chunk may take


class Filtering(NamedTuple):
    """y = outputs.T @ ((kernel @ g) * (data @ d)): m + 1 entries d, m taps g, two outputs y."""
    data: np.ndarray        # (m+1, m+1)
    kernel: np.ndarray      # (m+1, m)
    outputs: np.ndarray     # (m+1, 2): transposed, a row for each combination


FILTERINGS = {
    2: Filtering(np.array([[1., -1, 0], [0, 1, 0], [0, 1, -1]]), np.array([[1., 0], [1, 1], [0, 1]]),
                 np.array([[1., 0], [1, 1], [0, -1]])),
    3: Filtering(np.array([[1., 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
                 np.array([[2., 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2,
                 np.array([[1., 0], [1, 1], [1, -1], [0, -1]]))}

# (kernel, stride) of both axes -> how many channels it takes for the products saved to outweigh the
# additions (measured).
LAYERS = {(4, 2): 32, (3, 1): 32, (5, 2): 32}
POSITIONS = 1 << 10         # and how many features of the batch, to outweigh the combinations of the kernel


class Group(NamedTuple):
    """Pixels that have tiles of their own: those of phase (row, column), with the side - 1 phases
    after it beside them.
    """
    row: int
    column: int
    side: int
    vertical: Filtering
    horizontal: Filtering


def groups(kernel: int, stride: int) -> list[Group]:
    """The phases of a layer: all in one group where they have equally many taps, else each on its
    own.
    """
    if kernel % stride == 0:
        filtering = FILTERINGS[kernel // stride]
        return [Group(0, 0, stride, filtering, filtering)]
    filterings = [FILTERINGS[-(-(kernel - e) // stride)] for e in range(stride)]        # taps e, e + stride, ...
    return [Group(e, f, 1, filterings[e], filterings[f]) for e in range(stride) for f in range(stride)]


def suits(window: Window, channels: int, outputs: int, count: int) -> bool:
    """Whether this way serves `count` images."""
    (kernel, other), (stride, across) = window.kernel, window.stride
    if (kernel, stride) != (other, across) or (kernel, stride) not in LAYERS:
        return False
    if window.dilation != (1, 1) or window.groups > 1 or min(window.features) < 2:
        return False
    positions = count * window.features[0] * window.features[1]
    return min(channels, outputs) >= LAYERS[kernel, stride] and positions >= POSITIONS


class _Layer:
    """A window's groups, and what their arrays take."""

    def __init__(self, window: Window, channels: int, outputs: int, dtype):
        self.window, self.stride, self.channels, self.outputs = window, window.stride[0], channels, outputs
        self.dtype, self.groups = np.dtype(dtype), groups(window.kernel[0], self.stride)
        blocks, side = max(self.blocks(group) for group in self.groups), self.groups[0].side
        self.row_bytes = blocks * (window.features[1] + 1) // 4 * (side ** 2 * channels + outputs) * self.dtype.itemsize

    @staticmethod
    def blocks(group) -> int:
        return len(group.vertical.data) * len(group.horizontal.data)

    def entry(self, group) -> int:
        """K, the length of an entry."""
        return group.side ** 2 * self.channels

    def image(self, group, first_row, rows) -> Tiling:
        """The tiles of a group's pixels for `rows` rows of features from `first_row` on, in an
        image that begins there.
        """
        top, left = self.window.padding
        return Tiling(group.vertical.data, group.horizontal.data, group.side, self.stride, top - first_row - group.row,
                      left - group.column, rows, self.window.features[1])

    def features(self, group, rows) -> Tiling:
        """The tiles of `rows` rows of features."""
        return Tiling(group.vertical.outputs, group.horizontal.outputs, 1, 1, 0, 0, rows, self.window.features[1])

    def taps(self, group) -> Taps:
        return Taps(group.vertical.kernel, group.horizontal.kernel, group.side, self.stride, group.row, group.column)

    def factors(self, w, transposed) -> list:
        """For each group the combinations of the kernel (KH, KW, C, O), or their transposes, as
        right factors.
        """
        w, factors, jobs = plain(w), [], []
        for group in self.groups:
            inner, columns = (self.outputs, self.entry(group)) if transposed else (self.entry(group), self.outputs)
            factors.append(panels(self.blocks(group), inner, columns, self.dtype))
            jobs += [(group, n, factors[-1][n]) for n in range(self.blocks(group))]

        def task(index):
            group, n, factor = jobs[index]
            block = parallel.scratch("combined kernel", (self.entry(group), self.outputs), self.dtype)
            tile_kernel(w, self.taps(group), n, block)
            pack(block, transposed, 0, factor)
        parallel.run(task, len(jobs))
        return factors

    def parts(self, group, count, rows, length):
        """This thread's buffer for the products of (count, rows) of images."""
        tiles = 1
        for matrix, outputs in ((group.vertical.data, rows), (group.horizontal.data, self.window.features[1])):
            tiles *= (len(matrix) - 1) * ((outputs + 1) // 2) + outputs // 2
        return parallel.scratch("parts", (count * tiles, length), self.dtype)


def _cover(tiling: Tiling, image) -> bool:
    """Whether tiles write every pixel of the images (N, H, W, C)."""
    axes = (tiling.vertical, tiling.rows, tiling.top), (tiling.horizontal, tiling.columns, tiling.left)
    return tiling.side == tiling.step and all(
        0 <= before and before + size <= tiling.step * (2 * ((outputs + 1) // 2 - 1) + matrix.shape[1])
        for (matrix, outputs, before), size in zip(axes, image.shape[1:3], strict=True))


def finite(part) -> bool:
    """Whether a part of a result is finite: the quickest look at every number (a sum that overflows does no harm)."""
    flat = part.reshape(-1)
    return bool(np.isfinite(np.dot(flat, flat)))


def _finish(part, bias) -> bool:
    """Add the bias to a chunk of results while it is in a cache; False, and nothing is added, where
    it is not finite.
    """
    if not finite(part):
        return False
    if bias is not None:
        part += bias
    return True


def gather(x, w, window: Window, bias, y) -> list:
    """dT/dy, plus a bias, into y, as lowering.gather; the chunks that are not finite are returned.
    """
    layer = _Layer(window, *w.shape[2:], x.dtype)
    factors = layer.factors(w, transposed=False)
    chunks, redo = parallel.chunks(len(x), window.features[0], layer.row_bytes, PART_BYTES), []

    def task(index):
        first, last, top, bottom = chunks[index]
        part = y[first:last, top:bottom]
        for group, factor in zip(layer.groups, factors, strict=True):
            parts = layer.parts(group, last - first, bottom - top, layer.outputs)
            tile_products(x[first:last], layer.image(group, top * layer.stride, bottom - top), factor, parts)
            untile(parts.reshape(-1), layer.features(group, bottom - top), group is not layer.groups[0], part)
        if not _finish(part, bias):
            redo.append(chunks[index])
    parallel.run(task, len(chunks))
    return redo


def scatter(y, w, window: Window, bias, x) -> list:
    """dT/dx, plus a bias, into x, as lowering.scatter; the chunks that are not finite are returned.
    """
    layer = _Layer(window, *w.shape[2:], y.dtype)
    factors = layer.factors(w, transposed=True)
    chunks, redo = parallel.chunks(len(x), window.image[0], -(-layer.row_bytes // layer.stride), PART_BYTES), []

    def task(index):
        first, last, top, bottom = chunks[index]
        low, high = touching_range(top, bottom, window.kernel[0], layer.stride, window.padding[0], 1,
                                   window.features[0])
        part = x[first:last, top:bottom]
        if low == high or not _cover(layer.image(layer.groups[0], low * layer.stride - top, high - low), part):
            part[...] = 0
        features = plain(y[first:last, low:high])
        for group, factor in zip(layer.groups, factors, strict=True) if high > low else ():
            parts = layer.parts(group, last - first, high - low, layer.entry(group))
            tile_products(features, layer.features(group, high - low), factor, parts)
            untile(parts.reshape(-1), layer.image(group, low * layer.stride - top, high - low), False, part)
        if not _finish(part, bias):
            redo.append(chunks[index])
    parallel.run(task, len(chunks))
    return redo


def correlate(x, y, window: Window):
    """dT/dw, as lowering.correlate."""
    layer = _Layer(window, x.shape[3], y.shape[3], x.dtype)
    sizes = [(layer.blocks(group), layer.entry(group), layer.outputs) for group in layer.groups]
    share_bytes = sum(blocks * inner * outputs for blocks, inner, outputs in sizes) * x.itemsize
    shared = parallel.shares(len(x), window.features[0], layer.row_bytes, max(PART_BYTES, 2 * share_bytes), share_bytes)
    shares = [np.empty((len(shared), *size), x.dtype) for size in sizes]

    def task(index):
        for add, (first, last, top, bottom) in enumerate(shared[index]):
            features = plain(y[first:last, top:bottom])
            for group, share in zip(layer.groups, shares, strict=True):
                tile_transposed_products(x[first:last], layer.image(group, top * layer.stride, bottom - top), features,
                                         layer.features(group, bottom - top), add, share[index])
    parallel.run(task, len(shared))
    w = np.empty((*window.kernel, layer.channels, layer.outputs), x.dtype)
    rows = [(group, share, a) for group, share in zip(layer.groups, shares, strict=True)
            for a in range(group.vertical.kernel.shape[1])]
    parallel.run(lambda n: untile_kernel(rows[n][1], layer.taps(rows[n][0]), rows[n][2], w), len(rows))
    return w
