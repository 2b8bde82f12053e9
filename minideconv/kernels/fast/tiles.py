"""Fewer products than the textbook's, by minimal filterings (filterings.py) on rows and columns.

On images a 2x2 tile of outputs takes 3 * 3 = 9 products instead of 16 for a filter of 2x2 taps, or
16 instead of 36 for one of 3x3; with matrices in the place of numbers (channels) the additions are
cheap beside the products. A layer of stride 2 is the sum of four layers of stride 1 on the phases
of its image (pixels of even and odd rows and columns). The 4x4 stride-2 layers that GANs are made
of have two taps on each phase, and the phases are summed by the products themselves; of a 5x5 layer
the phases have three taps or two, so each has tiles of its own: 16 + 12 + 12 + 9 = 49 products
instead of 100.

As linear maps, y = untile(tile(x) @ tile_weights(w)); so the other two operations of the trio are
the transposes, product by product. An odd last output needs no last combination: 7 outputs of two
taps take 11 products along an axis, not 12 (and not 14).

An output is made of entries in its own window alone, so what no window holds never reaches it.
(Larger tiles, and filters whose last tap is zero, make outputs of entries that cancel only up to
rounding.) But within a window infinities may meet theirs of the other sign: what is not finite is
left to the direct way, in lowering.py.

Notation: m taps on each of the phases; parts are blocks (tiles, length), one for each combination
of rows and columns; length is K = side^2 * C for images, O for features.
"""
import functools
from typing import NamedTuple

import numpy as np

from ... import parallel
from ...shapes import Window, touching_range
from .combinations import Tiling, correlate_tiles, multiply_tiles, tile, untile
from .compiled import plain
from .filterings import FILTERINGS
from .products import PANEL_BYTES, ROWS, panels
from .rows import finish
from .taps import Taps, tile_weights, untile_weights

PART_BYTES = 3 << 20        # what the parts of a chunk may take

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
    vertical: int           # taps
    horizontal: int


def groups(kernel: int, stride: int) -> list[Group]:
    """The phases of a layer: all in one group where they have equally many taps, else each on its
    own.
    """
    if kernel % stride == 0:
        return [Group(0, 0, stride, kernel // stride, kernel // stride)]
    taps = [-(-(kernel - e) // stride) for e in range(stride)]                          # e, e + stride, ...
    return [Group(e, f, 1, taps[e], taps[f]) for e in range(stride) for f in range(stride)]


def suits(window: Window, channels: int, outputs: int, count: int) -> bool:
    """Whether this way serves `count` images."""
    (kernel, other), (stride, across) = window.kernel, window.stride
    if (kernel, stride) != (other, across) or (kernel, stride) not in LAYERS:
        return False
    if window.dilation != (1, 1) or window.groups > 1 or min(window.features) < 2:
        return False
    positions = count * window.features[0] * window.features[1]
    return min(channels, outputs) >= LAYERS[kernel, stride] and positions >= POSITIONS


def share_of_products(window: Window, channels: int, outputs: int, count: int) -> float:
    """How many of the textbook's products this way needs; 1 where it does not serve."""
    if not suits(window, channels, outputs, count):
        return 1.0

    def combinations(taps, outputs):            # along an axis: an odd last output needs no last one
        return taps * ((outputs + 1) // 2) + outputs // 2
    (rows, columns), (taps, _) = window.features, window.kernel
    needed = sum(group.side ** 2 * combinations(group.vertical, rows) * combinations(group.horizontal, columns)
                 for group in groups(taps, window.stride[0]))
    return needed / (taps ** 2 * rows * columns)


@functools.lru_cache(maxsize=256)
class _Layer:
    """A window's groups, and what their arrays take. It never changes, and a layer has the same in every step."""

    def __init__(self, window: Window, channels: int, outputs: int, dtype):
        self.window, self.stride, self.channels, self.outputs = window, window.stride[0], channels, outputs
        self.dtype, self.groups = np.dtype(dtype), groups(window.kernel[0], self.stride)
        blocks, side = max(self.blocks(group) for group in self.groups), self.groups[0].side
        self.row_bytes = blocks * (window.features[1] + 1) // 4 * (side ** 2 * channels + outputs) * self.dtype.itemsize

    @staticmethod
    def blocks(group) -> int:
        return (group.vertical + 1) * (group.horizontal + 1)

    def entry(self, group) -> int:
        """K, the length of an entry."""
        return group.side ** 2 * self.channels

    def image(self, group, first_row, rows) -> Tiling:
        """The tiles of a group's pixels for `rows` rows of features from `first_row` on, in an
        image that begins there.
        """
        top, left = self.window.padding
        return Tiling(True, group.vertical, group.horizontal, group.side, self.stride, top - first_row - group.row,
                      left - group.column, rows, self.window.features[1])

    def features(self, group, rows) -> Tiling:
        """The tiles of `rows` rows of features."""
        return Tiling(False, group.vertical, group.horizontal, 1, 1, 0, 0, rows, self.window.features[1])

    def taps(self, group) -> Taps:
        vertical, horizontal = FILTERINGS[group.vertical].taps, FILTERINGS[group.horizontal].taps
        return Taps(vertical, horizontal, group.side, self.stride, group.row, group.column)

    def factors(self, w, transposed) -> list:
        """For each group the combinations of the kernel (KH, KW, C, O), or their transposes, as
        right factors.
        """
        w, factors, jobs = plain(w), [], []
        for group in self.groups:
            inner, columns = (self.outputs, self.entry(group)) if transposed else (self.entry(group), self.outputs)
            factors.append(panels(self.blocks(group), inner, columns, self.dtype))
            jobs += [(group, part, factors[-1][part]) for part in parallel.spans(self.blocks(group), 3)]

        def task(index):
            group, part, factor = jobs[index]
            block = parallel.scratch("combined weights", (self.entry(group), self.outputs), self.dtype)
            tile_weights(w, self.taps(group), part.start, transposed, block, factor)
        parallel.run(task, len(jobs))
        return factors

    def room(self, name, group, images, tiling, length):
        """This thread's buffer `name` for the parts of so many images: rows of `length` numbers, and ROWS more."""
        tiles = images * ((tiling.rows + 1) // 2) * ((tiling.columns + 1) // 2)
        return parallel.scratch(name, (self.blocks(group) * tiles + ROWS, length), self.dtype)

    def tiles(self, name, group, x, tiling, length):
        """The tiles of x: one flat buffer, rows of `length` numbers."""
        parts = self.room(name, group, len(x), tiling, length).reshape(-1)
        tile(x, tiling, parts, length)
        return parts

    def products(self, group, x, tiling, factor):
        """The tiles of x times the right factors (blocks, panels, K, lanes) that make `length` columns."""
        inner, length = (self.entry(group), self.outputs) if tiling.image else (self.outputs, self.entry(group))
        parts = self.tiles("tiles", group, x, tiling, inner + 16)
        products = self.room("products", group, len(x), tiling, length)
        multiply_tiles(parts, tiling, len(x), factor, products)
        return products.reshape(-1)


def _cover(tiling: Tiling, image) -> bool:
    """Whether tiles write every pixel of the images (N, H, W, C)."""
    axes = (tiling.vertical, tiling.rows, tiling.top), (tiling.horizontal, tiling.columns, tiling.left)
    return tiling.side == tiling.step and all(
        0 <= before and before + size <= tiling.step * (2 * ((outputs + 1) // 2 - 1) + taps + 1)
        for (taps, outputs, before), size in zip(axes, image.shape[1:3], strict=True))


def _settle(part, bias, slope, finite, chunk, redo):
    """Finish a chunk of results while it is in a cache; or note that it must be done again, and leave it as it is."""
    if finite:
        finish(part, bias, slope)
    else:
        redo.append(chunk)


def gather_by_tiles(x, w, window: Window, bias, slope, y) -> list:
    """dT/dy, a bias and a ramp, into y, as lowering.gather; the chunks that are not finite are returned.
    """
    layer = _Layer(window, *w.shape[2:], x.dtype)
    factors = layer.factors(w, transposed=False)
    chunks, redo = parallel.chunks(len(x), window.features[0], layer.row_bytes, PART_BYTES), []

    def task(index):
        first, last, top, bottom = chunks[index]
        part = y[first:last, top:bottom]
        for group, factor in zip(layer.groups, factors, strict=True):
            image = layer.image(group, top * layer.stride, bottom - top)
            products = layer.products(group, x[first:last], image, factor)
            finite = untile(products, layer.features(group, bottom - top), group is not layer.groups[0], part)
        _settle(part, bias, slope, finite, chunks[index], redo)
    parallel.run(task, len(chunks))
    return redo


def scatter_by_tiles(y, w, window: Window, bias, slope, x) -> list:
    """dT/dx, a bias and a ramp, into x, as lowering.scatter; the chunks that are not finite are returned.
    """
    layer = _Layer(window, *w.shape[2:], y.dtype)
    factors = layer.factors(w, transposed=True)
    chunks, redo = parallel.chunks(len(x), window.image[0], -(-layer.row_bytes // layer.stride), PART_BYTES), []

    def task(index):
        first, last, top, bottom = chunks[index]
        low, high = touching_range(top, bottom, window.kernel[0], layer.stride, window.padding[0], 1,
                                   window.features[0])
        part, finite = x[first:last, top:bottom], True
        if low == high or not _cover(layer.image(layer.groups[0], low * layer.stride - top, high - low), part):
            part[...] = 0
        features = plain(y[first:last, low:high])
        for group, factor in zip(layer.groups, factors, strict=True) if high > low else ():
            products = layer.products(group, features, layer.features(group, high - low), factor)
            finite &= untile(products, layer.image(group, low * layer.stride - top, high - low), False, part)
        _settle(part, bias, slope, finite, chunks[index], redo)
    parallel.run(task, len(chunks))
    return redo


def correlate_by_tiles(x, y, window: Window):
    """dT/dw, as lowering.correlate."""
    layer = _Layer(window, x.shape[3], y.shape[3], x.dtype)
    sizes = [(layer.blocks(group), layer.entry(group), layer.outputs) for group in layer.groups]
    share_bytes = sum(blocks * inner * outputs for blocks, inner, outputs in sizes) * x.itemsize
    shared = parallel.shares(len(x), window.features[0], layer.row_bytes, max(PART_BYTES, 2 * share_bytes), share_bytes)
    shares, lanes = [np.empty((len(shared), *size), x.dtype) for size in sizes], PANEL_BYTES // x.itemsize

    def task(index):
        for add, (first, last, top, bottom) in enumerate(shared[index]):
            features = plain(y[first:last, top:bottom])
            for group, share in zip(layer.groups, shares, strict=True):
                image = layer.image(group, top * layer.stride, bottom - top)
                tiling = layer.features(group, bottom - top)
                left = layer.tiles("tiles", group, x[first:last], image, -(-layer.entry(group) // ROWS) * ROWS + 16)
                right = layer.tiles("feature tiles", group, features, tiling, -(-layer.outputs // lanes) * lanes + 16)
                correlate_tiles(left, right, image, last - first, add, share[index])
    parallel.run(task, len(shared))
    w = np.empty((*window.kernel, layer.channels, layer.outputs), x.dtype)
    rows = [(group, share, a) for group, share in zip(layer.groups, shares, strict=True)
            for a in range(group.vertical)]
    parallel.run(lambda n: untile_weights(rows[n][1], layer.taps(rows[n][0]), rows[n][2], w), len(rows))
    return w
