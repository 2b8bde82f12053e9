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
from .combinations import Tiling, line_room
from .compiled import plain
from .passes import FEW, CorrelateRooms, Piece, Side, TransformRooms, Weights, Work, correlate, transform
from .products import PANEL_BYTES, ROWS, panels
from .rows import rest_of

PART_BYTES = 3 << 19        # what the parts of a chunk take, or up to twice that if the kernel's combinations do

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

    @property
    def blocks(self) -> int:
        """How many combinations its tiles have."""
        return (self.vertical + 1) * (self.horizontal + 1)


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
        self.entry = self.groups[0].side ** 2 * channels                # K, the length of an entry
        self.blocks, most = sum(group.blocks for group in self.groups), max(group.blocks for group in self.groups)
        self.row_bytes = most * (window.features[1] + 1) // 4 * (self.entry + outputs) * self.dtype.itemsize

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

    def covers(self, piece: Piece) -> bool:
        """Whether every pixel of a piece of the image lies in a tile."""
        if self.groups[0].side != self.stride or piece.start == piece.stop:
            return False
        tiling = self.image(self.groups[0], piece.start * self.stride - piece.top, piece.stop - piece.start)
        axes = ((tiling.vertical, tiling.rows, tiling.top, piece.bottom - piece.top),
                (tiling.horizontal, tiling.columns, tiling.left, self.window.image[1]))
        return all(0 <= before and before + pixels <= tiling.step * (2 * ((outputs + 1) // 2 - 1) + taps + 1)
                   for taps, outputs, before, pixels in axes)

    def lines(self):
        """A thread's room for four rows of entries, as passes.py needs it."""
        piece = max(self.groups[0].side * self.channels, self.outputs)
        return parallel.scratch("rows of entries", (4 * line_room(self.window.features[1], piece),), self.dtype)

    def tilings(self) -> tuple:
        """Those of each group's pixels and features: rows of numbers, as passes.py takes them."""
        rows = self.window.features[0]
        return (np.array([self.image(group, 0, rows) for group in self.groups], np.intp),
                np.array([self.features(group, rows) for group in self.groups], np.intp))


class _Plan(NamedTuple):
    """The pieces in which a layer's batch is worked through, as rows of numbers (see passes.py), and what the largest
    needs.
    """
    pieces: np.ndarray
    images: np.ndarray          # the Tilings of each group of pixels
    features: np.ndarray
    rows: int                   # of parts
    cover: bool                 # whether all that is written lies in tiles
    shares: np.ndarray          # where the pieces of each share of a sum begin, and where the last one's end
    groups: np.ndarray

    def work(self) -> Work:
        """For one pass of the batch."""
        return Work(np.zeros(3, np.int64), self.pieces, self.groups)


@functools.lru_cache(maxsize=1024)
def _plan(layer, count, way, budget) -> _Plan:
    """way: the function of lowering.py. Pieces depend on shapes alone, as all chunks do."""
    window, row_bytes, shares = layer.window, layer.row_bytes, ()
    factor_bytes = layer.blocks * layer.entry * layer.outputs * layer.dtype.itemsize
    budget = max(budget, min(2 * budget, factor_bytes))
    if way == "scatter":
        pieces, row_bytes, height = [], -(-row_bytes // layer.stride), window.image[0]
        if height * row_bytes > budget:
            budget *= 4         # bands of an image: features that reach two of them are multiplied twice, so few
        for first, last, top, bottom in parallel.chunks(count, height, row_bytes, budget):
            start, stop = touching_range(top, bottom, window.kernel[0], layer.stride, window.padding[0], 1,
                                         window.features[0])
            pieces.append(Piece(first, last, top, bottom, start, max(start, stop)))
    else:
        chunks = parallel.chunks(count, window.features[0], row_bytes, budget)
        if way == "correlate":
            budget = max(budget, 2 * factor_bytes)
            shares = parallel.shares(count, window.features[0], row_bytes, budget, factor_bytes)
            chunks = [chunk for share in shares for chunk in share]
        pieces = [Piece(first, last, 0, window.image[0], top, bottom) for first, last, top, bottom in chunks]
    wide, most = (window.features[1] + 1) // 2, max(group.blocks for group in layer.groups)
    tiles = max(((one.last - one.first) * ((one.stop - one.start + 1) // 2) for one in pieces), default=0) * wide
    rows = np.array(pieces, np.intp).reshape(-1, len(Piece._fields))
    return _Plan(rows, *layer.tilings(), most * tiles + max(ROWS, wide),
                 way != "scatter" or all(map(layer.covers, pieces)),
                 np.cumsum([0, *map(len, shares)]), np.array(layer.groups, np.intp))


def _transform(layer, way, x, w, bias, slope, y) -> list:
    """passes.transform on all threads; the chunks of y that are not finite are returned."""
    plan = _plan(layer, len(x), way, PART_BYTES)
    if way == "gather":
        before, after, inner, length = Side(x, plan.images), Side(y, plan.features), layer.entry, layer.outputs
    else:
        before, after, inner, length = Side(x, plan.features), Side(y, plan.images), layer.outputs, layer.entry
    weights = Weights(plain(w), way == "scatter", panels(layer.blocks, inner, length, layer.dtype))
    work, rest, finite = plan.work(), rest_of(bias, slope, y), np.empty(len(plan.pieces), bool)

    def task(_):
        rooms = TransformRooms(parallel.scratch("tiles", (plan.rows * (inner + 16),), layer.dtype),
                               parallel.scratch("products", (plan.rows, length), layer.dtype), layer.lines(),
                               parallel.scratch("turned weights", (9 * FEW * layer.channels,), layer.dtype))
        transform(work, before, weights, after, plan.cover, rest, rooms, finite)
    parallel.run(task, parallel.num_threads())
    if finite.all():
        return []
    redo = plan.pieces[~finite][:, [0, 1, 4, 5] if way == "gather" else slice(4)]
    return [parallel.Chunk(*numbers) for numbers in redo.tolist()]


def gather_by_tiles(x, w, window: Window, bias, slope, y) -> list:
    """dT/dy, a bias and a ramp, into y, as lowering.gather; the chunks that are not finite are returned, without bias.
    """
    return _transform(_Layer(window, *w.shape[2:], x.dtype), "gather", x, w, bias, slope, y)


def scatter_by_tiles(y, w, window: Window, bias, slope, x) -> list:
    """dT/dx, a bias and a ramp, into x, as lowering.scatter; the chunks that are not finite are returned, without bias.
    """
    return _transform(_Layer(window, *w.shape[2:], y.dtype), "scatter", y, w, bias, slope, x)


def correlate_by_tiles(x, y, window: Window):
    """dT/dw, as lowering.correlate."""
    layer, lanes = _Layer(window, x.shape[3], y.shape[3], x.dtype), PANEL_BYTES // x.itemsize
    plan = _plan(layer, len(x), "correlate", PART_BYTES)
    many, work, w = len(plan.shares) - 1, plan.work(), np.empty((*window.kernel, x.shape[3], y.shape[3]), x.dtype)
    shares = np.empty(many * layer.blocks * layer.entry * layer.outputs, x.dtype)

    def task(_):
        parts, others = -(-layer.entry // ROWS) * ROWS + 16, -(-layer.outputs // lanes) * lanes + 16
        rooms = CorrelateRooms(parallel.scratch("tiles", (plan.rows * parts,), x.dtype),
                               parallel.scratch("feature tiles", (plan.rows * others,), x.dtype), layer.lines())
        correlate(work, plan.shares, Side(x, plan.images), Side(y, plan.features), rooms, shares, w)
    parallel.run(task, min(many, parallel.num_threads()))
    return w
