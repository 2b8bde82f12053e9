"""Layers by tiles, chunk after chunk: each thread calls one of these kernels, which takes the next chunk as long as
there is one.

Between two kernels Python would have to be fetched into the caches that they have filled, which takes it ten times as
long as it takes otherwise, and the threads would wait for each other's.
"""
import threading
from typing import NamedTuple

import llvmlite.ir as ir
import numpy as np
from numba import config, types
from numba.extending import intrinsic

from .combinations import Tiling, correlate_tiles, multiply_tiles, tile, untile
from .compiled import jit_inside, quick_jit
from .loops import add_bias
from .products import PANEL_BYTES, ROWS
from .runs import data_of, zero_run


@intrinsic
def take(typing, counter):
    """counter[0], which is then one more: no two threads get the same."""
    def code(context, builder, signature, arguments):
        index = context.get_value_type(types.intp)
        place = data_of(context, builder, signature.args[0], arguments[0], ir.Constant(index, 0))
        return builder.atomic_rmw("add", place, ir.Constant(index, 1), "monotonic")
    return types.intp(counter), code


if config.DISABLE_JIT:
    _lock = threading.Lock()

    def take(counter):                                          # noqa: F811
        with _lock:
            counter[0] += 1
            return counter[0] - 1


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
    """What is shared by the threads: who has the next piece, intp (1,), zero at first; the pieces, intp (P, 6)."""
    counter: np.ndarray
    pieces: np.ndarray


class Side(NamedTuple):
    """Images or features (N, H, W, C), and the Tilings of them for each group of pixels, intp (groups, 9)."""
    array: np.ndarray
    tilings: np.ndarray


class Rest(NamedTuple):
    """What comes after the product: a bias, or none (of length 0), and leaky ReLU (slope 1: none)."""
    bias: np.ndarray
    slope: float


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
    """The rows of a piece, which are all rows of some images, or some of one."""
    (images, height, width, channels), first, last = side.array.shape, piece.first, piece.last
    top, bottom = (piece.top, piece.bottom) if side.tilings[0, 0] != 0 else (piece.start, piece.stop)
    rows = side.array.reshape(images * height, width, channels)[first * height + top:(last - 1) * height + bottom]
    return rows.reshape(last - first, bottom - top, width, channels)


@quick_jit
def transform(work, before, factors, after, cover, rest, parts, products, finite):
    """For each group of pixels, the tiles of one Side times their right factors, added to the other Side as what tiles
    are made of; and what comes after.

    factors: (blocks of all groups, panels, K, lanes). cover: whether every pixel lies in a tile; if not, the others are
    made zeros. parts (flat) and products (rows, L): room for the largest piece. finite: bool (P,), which pieces are;
    the others are left without the rest.
    """
    apart, flat = factors.shape[2] + 16, products.reshape(-1)
    n = take(work.counter)
    while n < len(work.pieces):
        piece, good, block = _piece(work.pieces, n), True, 0
        source, target = _part(before, piece), _part(after, piece)
        if not cover:
            zero_run(target.reshape(-1), 0, target.size)
        if piece.start < piece.stop:
            for g in range(len(before.tilings)):
                tiling, back = _tiling(before.tilings, g, piece), _tiling(after.tilings, g, piece)
                blocks = (tiling.vertical + 1) * (tiling.horizontal + 1)
                tile(source, tiling, parts, apart)
                multiply_tiles(parts, tiling, len(source), factors[block:block + blocks], products)
                good &= untile(flat, back, g > 0 and not back.image, target)
                block += blocks
        if good and (len(rest.bias) > 0 or rest.slope != 1):
            add_bias(target.reshape(-1, target.shape[3]), rest.bias, rest.slope)
        finite[n] = good
        n = take(work.counter)


@quick_jit
def correlate(work, ends, images, features, parts, others, shares):
    """For each s, the sum over the pieces ends[s] <= n < ends[s + 1] of the tiles of images, transposed, times those of
    features.

    parts, others: room for both. shares: flat, for each group of pixels (shares, blocks, K, O).
    """
    channels, outputs, many = images.array.shape[3], features.array.shape[3], len(ends) - 1
    lanes = PANEL_BYTES // shares.itemsize
    s = take(work.counter)
    while s < many:
        for n in range(ends[s], ends[s + 1]):
            piece, start = _piece(work.pieces, n), 0
            x, y = _part(images, piece), _part(features, piece)
            for g in range(len(images.tilings)):
                image, feature = _tiling(images.tilings, g, piece), _tiling(features.tilings, g, piece)
                inner, blocks = image.side * image.side * channels, (image.vertical + 1) * (image.horizontal + 1)
                size = blocks * inner * outputs
                share = shares[start + s * size:start + (s + 1) * size].reshape(blocks, inner, outputs)
                tile(x, image, parts, -(-inner // ROWS) * ROWS + 16)
                tile(y, feature, others, -(-outputs // lanes) * lanes + 16)
                correlate_tiles(parts, others, image, len(x), n - ends[s], share)
                start += many * size
        s = take(work.counter)
