"""Layers by tiles, from the first combination to the last: each thread calls one of these kernels, and takes the next
piece of work as long as there is one.

Between two kernels Python would have to be fetched into the caches that they have filled, which takes it ten times as
long as it takes otherwise, and the threads would wait for each other's.
"""
from typing import NamedTuple

import numpy as np

from .arrays import flat, view
from .combinations import Tiling, correlate_tiles, multiply_tiles, tile, untile
from .compiled import jit_inside, quick_jit
from .filterings import FILTERINGS
from .loops import add_rest
from .products import PANEL_BYTES, ROWS
from .runs import zero_run
from .taps import Taps, tile_weights, untile_weights
from .waiting import take, wait

FEW = 16            # channels of the weights that are combined at a time
TWO, THREE = FILTERINGS[2].taps, FILTERINGS[3].taps


class Piece(NamedTuple):
    """A chunk of a layer: of its images first <= n < last, rows top <= h < bottom of the image and start <= i < stop of
    the features.
    """
    first: int
    last: int
    top: int
    bottom: int
    start: int
    stop: int


class Work(NamedTuple):
    """What the threads share: counters, int64 (3,), zeros at first, of what was taken and done; the pieces, intp
    (P, 6); groups of pixels, rows of numbers as in tiles.Group.
    """
    counters: np.ndarray
    pieces: np.ndarray
    groups: np.ndarray


class Weights(NamedTuple):
    """A kernel (KH, KW, C, O), and room for its combinations, or their transposes, as right factors: (blocks of all
    groups, panels, K, lanes).
    """
    kernel: np.ndarray
    transposed: bool
    factors: np.ndarray


class Side(NamedTuple):
    """Images or features (N, H, W, C), and the Tilings of them for each group of pixels, intp (groups, 9)."""
    array: np.ndarray
    tilings: np.ndarray


class CorrelateRooms(NamedTuple):
    """A thread's room for `correlate`, all flat: the tiles of the largest piece of the images and of the features, and
    four rows of entries.
    """
    parts: np.ndarray
    others: np.ndarray
    lines: np.ndarray


class TransformRooms(NamedTuple):
    """The same for `transform`: tiles, products (rows, L), four rows of entries, and turned weights (9 * FEW * C,)."""
    parts: np.ndarray
    products: np.ndarray
    lines: np.ndarray
    weights: np.ndarray


@jit_inside
def _piece(pieces, n):
    """Row n of pieces, as a Piece."""
    return Piece(pieces[n, 0], pieces[n, 1], pieces[n, 2], pieces[n, 3], pieces[n, 4], pieces[n, 5])


@jit_inside
def _tiling(tilings, g, piece):
    """Row g of tilings, whose `top` and `rows` are those of a whole image, as the Tiling of a piece."""
    image, step, rows = tilings[g, 0] != 0, tilings[g, 4], piece.stop - piece.start
    top = tilings[g, 5] + (piece.top - piece.start * step if image else 0)
    return Tiling(image, tilings[g, 1], tilings[g, 2], tilings[g, 3], step, top, tilings[g, 6], rows, tilings[g, 8])


@jit_inside
def _part(side, piece):
    """Where a Side's rows in a piece begin, and their shape: all rows of some images, or some of one."""
    _, height, width, channels = side.array.shape
    top, bottom = (piece.top, piece.bottom) if side.tilings[0, 0] != 0 else (piece.start, piece.stop)
    return (piece.first * height + top) * width * channels, (piece.last - piece.first, bottom - top, width, channels)


@jit_inside
def _taps(group, step):
    """The Taps of a group of pixels."""
    row, column, side, vertical, horizontal = group[0], group[1], group[2], group[3], group[4]
    return Taps(TWO if vertical == 2 else THREE, TWO if horizontal == 2 else THREE, side, step, row, column)


@jit_inside
def _combine_weights(work, weights, step, room):
    """All threads together make the right factors; each returns when all are there."""
    inner = weights.kernel.shape[3 if weights.transposed else 2]
    jobs, n, block = -(-inner // FEW), take(work.counters, 0), 0
    for g in range(len(work.groups)):
        blocks = (work.groups[g, 3] + 1) * (work.groups[g, 4] + 1)
        while n < (g + 1) * jobs:
            first = (n - g * jobs) * FEW
            tile_weights(weights.kernel, _taps(work.groups[g], step), weights.transposed, first,
                         min(first + FEW, inner), room, weights.factors[block:block + blocks])
            take(work.counters, 1)
            n = take(work.counters, 0)
        block += blocks
    wait(work.counters, 1, len(work.groups) * jobs)


@quick_jit
def transform(work, before, weights, after, cover, rest, rooms, finite):
    """For each group of pixels, the tiles of one Side times the combined weights, added to the other Side as what tiles
    are made of; and what comes after.

    cover: whether every pixel lies in a tile; if not, the others become zeros. finite: bool (P,), which pieces are; the
    others are left without the rest.
    """
    factors, parts, products = weights.factors, rooms.parts, rooms.products
    _combine_weights(work, weights, max(before.tilings[0, 4], after.tilings[0, 4]), rooms.weights)
    n = take(work.counters, 2)
    while n < len(work.pieces):
        piece, good, first = _piece(work.pieces, n), True, 0
        source, target = view(before.array, *_part(before, piece)), view(after.array, *_part(after, piece))
        if not cover:
            zero_run(flat(target), 0, target.size)
        if piece.start < piece.stop:
            for g in range(len(before.tilings)):
                tiling, back = _tiling(before.tilings, g, piece), _tiling(after.tilings, g, piece)
                blocks = (tiling.vertical + 1) * (tiling.horizontal + 1)
                tile(source, tiling, parts, factors.shape[2] + 16, rooms.lines)
                multiply_tiles(parts, tiling, len(source), factors[first:first + blocks], products)
                good &= untile(flat(products), back, g > 0 and not back.image, target, rooms.lines)
                first += blocks
        if good:
            add_rest(view(target, 0, (target.size // target.shape[3], target.shape[3])), rest)
        finite[n] = good
        n = take(work.counters, 2)


@quick_jit
def correlate(work, ends, images, features, rooms, shares, w):
    """w = the sum of shares, which are sums over the pieces ends[s] <= n < ends[s + 1] of the tiles of images,
    transposed, times those of features.

    shares: flat, for each group of pixels (shares, blocks, K, O).
    """
    channels, outputs, many = images.array.shape[3], features.array.shape[3], len(ends) - 1
    lanes, step = PANEL_BYTES // shares.itemsize, images.tilings[0, 4]
    s = take(work.counters, 0)
    while s < many:
        for n in range(ends[s], ends[s + 1]):
            piece, start = _piece(work.pieces, n), 0
            x, y = view(images.array, *_part(images, piece)), view(features.array, *_part(features, piece))
            for g in range(len(work.groups)):
                image, feature = _tiling(images.tilings, g, piece), _tiling(features.tilings, g, piece)
                inner, blocks = image.side * image.side * channels, (image.vertical + 1) * (image.horizontal + 1)
                size = blocks * inner * outputs
                share = view(shares, start + s * size, (blocks, inner, outputs))
                tile(x, image, rooms.parts, -(-inner // ROWS) * ROWS + 16, rooms.lines)
                tile(y, feature, rooms.others, -(-outputs // lanes) * lanes + 16, rooms.lines)
                correlate_tiles(rooms.parts, rooms.others, image, len(x), n - ends[s], share)
                start += many * size
        take(work.counters, 1)
        s = take(work.counters, 0)
    wait(work.counters, 1, many)
    n, first, start = take(work.counters, 2), 0, 0
    for g in range(len(work.groups)):
        side, vertical, horizontal = work.groups[g, 2], work.groups[g, 3], work.groups[g, 4]
        inner, blocks = side * side * channels, (vertical + 1) * (horizontal + 1)
        size = many * blocks * inner * outputs
        while n < first + vertical:
            parts = view(shares, start, (many, blocks, inner, outputs))
            untile_weights(parts, _taps(work.groups[g], step), n - first, w)
            n = take(work.counters, 2)
        first, start = first + vertical, start + size
