"""The pieces that the fast kernels are made of, each against loops written here.

A case draws the arguments of one compiled function and says what they should be afterwards; it runs
on copies of them, with what is to be written filled with rubbish first. Integers in floats make
sums exact: such cases are compared with `==`.
"""
import functools
import inspect
import itertools
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windows import integers, touches

from minideconv.kernels import fast, reference
from minideconv.kernels.fast import columns, combinations, compiled, loops, matrices, products, taps, tiles
from minideconv.kernels.fast.combinations import Tiling
from minideconv.kernels.fast.matrices import Matrix
from minideconv.kernels.fast.products import PANEL_BYTES, ROWS, UPRIGHT
from minideconv.kernels.fast.taps import Taps
from minideconv.kernels.reference import AdamStep, Affine
from minideconv.shapes import Window


class Case(NamedTuple):
    arguments: tuple
    written: dict           # place among the arguments -> the array expected there
    exact: bool = True
    size: float = 1e-30         # of the numbers that inexact sums are made of
    scratch: tuple = ()         # places of rooms that may be left in any state


def windows(draw):
    """Windows anywhere over an image, also beside it and with negative padding."""
    axes = [(draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(-3, 4)), draw(st.integers(1, 3)),
             draw(st.integers(1, 6)), draw(st.integers(1, 4))) for _ in "hw"]
    return Window(*zip(*axes, strict=True))


def im2col(draw, rng, dtype):
    window, count, channels = windows(draw), draw(st.integers(0, 2)), draw(st.integers(1, 3))
    x = integers(rng, dtype, count, *window.image, channels)
    cols = np.zeros((count, *window.features, *window.kernel, channels), dtype)
    for i, j, u, v, h, w in touches(window):
        cols[:, i, j, u, v] = x[:, h, w]
    return Case((x, window, cols), {2: cols})


def many_windows(draw, rng, dtype):
    """Some of all windows, to or from rows that are further apart than they are long; what is between them stays."""
    x, window, cols = im2col(draw, rng, dtype).arguments
    (count, rows, across), back = cols.shape[:3], draw(st.booleans())
    first, last = sorted(draw(st.integers(0, count * rows * across)) for _ in range(2))
    line = window.kernel[0] * window.kernel[1] * x.shape[3]
    buffer = integers(rng, dtype, last - first, line + draw(st.integers(0, 3)))
    stamped, gathered = x.copy(), buffer.copy()
    gathered[:, :line] = cols.reshape(-1, line)[first:last]
    taps = buffer[:, :line].reshape(-1, *window.kernel, x.shape[3])
    for i, j, u, v, h, w in touches(window):
        for n in range(count):
            row = (n * rows + i) * across + j - first
            if 0 <= row < last - first:
                stamped[n, h, w] += taps[row, u, v]
    sight = columns._sight.py_func(x.shape, rows, across, window)
    expected = {0: stamped.reshape(-1)} if back else {4: gathered.reshape(-1)}
    return Case((x.reshape(-1), sight, first, last - first, buffer.reshape(-1), buffer.shape[1], np.bool_(back)),
                expected)


def col2im(draw, rng, dtype):
    window, count, channels = windows(draw), draw(st.integers(0, 2)), draw(st.integers(1, 3))
    cols = integers(rng, dtype, count, *window.features, *window.kernel, channels)
    x = np.zeros((count, *window.image, channels), dtype)
    for i, j, u, v, h, w in touches(window):
        x[:, h, w] += cols[:, i, j, u, v]
    return Case((cols, window, x), {2: x})


def in_panels(matrix, dtype):
    """The panels of a right factor, entry by entry: lines of 128 bytes, zeros after the last column."""
    lanes = 128 // np.dtype(dtype).itemsize
    panels = np.zeros(((matrix.shape[1] + lanes - 1) // lanes, len(matrix), lanes), dtype)
    for k, column in np.ndindex(*matrix.shape):
        panels[column // lanes, k, column % lanes] = matrix[k, column]
    return panels


def multiply_part(draw, rng, dtype):
    """Factors and result in rows or in columns, a part of the result; the rest stays as it is."""
    rows, columns = (draw(st.integers(1, most) | st.sampled_from([256, 270])) for most in (20, 70))
    inner = draw(st.sampled_from([1, 7, 255, 257]))
    parts = [sorted((draw(st.integers(0, size)), draw(st.integers(0, size)))) for size in (rows, columns)]
    (top, bottom), (left, right) = parts
    a, b, out = (integers(rng, dtype, *size) for size in ((rows, inner), (inner, columns), (rows, columns)))
    expected = out.copy()
    expected[top:bottom, left:right] = a[top:bottom] @ b[:, left:right]

    def matrix(array, by_columns):
        flat = np.ascontiguousarray(array.T if by_columns else array).reshape(-1)
        return Matrix(flat, *((1, len(array)) if by_columns else (array.shape[1], 1)))
    orders = [draw(st.booleans()) for _ in range(3)]
    a, b, out = (matrix(*pair) for pair in zip((a, b, out), orders, strict=True))
    rooms = matrices.Rooms(*(filled(room) for room in matrices.rooms(dtype)))
    return Case((a, b, inner, (top, bottom), (left, right), rooms, out), {6: matrix(expected, orders[2]).numbers},
                scratch=(5,))


def filled(room):
    """A room of the same size, in which somebody else has left numbers."""
    return np.full_like(room, -77)


def multiply(draw, rng, dtype):
    """A left factor in rows or in columns, in the middle of an array, and a result in the middle of another."""
    rows, depth, outputs = draw(st.integers(0, 20)), draw(st.integers(1, 9)), draw(st.sampled_from([1, 15, 16, 33, 64]))
    add, upright = draw(st.booleans()), draw(st.booleans())
    start, more = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    room = rows + ROWS                                                  # whole blocks of rows are read
    a, b = integers(rng, dtype, room, depth), integers(rng, dtype, depth, outputs)
    out = integers(rng, dtype, start + room * (outputs + more))
    expected = out.copy()
    lines = expected[start:].reshape(room, -1)[:rows, :outputs]
    lines[...] = lines * add + a[:rows] @ b
    panels = in_panels(b, dtype)
    left = np.concatenate([integers(rng, dtype, start), (a.T if upright else a).reshape(-1)])
    left = products.Left(left, start, *((1, room) if upright else (depth, 1)))
    right = products.Right(panels.reshape(-1), 0, panels.shape[2], panels[0].size)
    return Case((left, rows, right, products.Out(out, start, outputs + more, outputs), depth, int(add)), {3: expected})


def pack(draw, rng, dtype):
    matrix, transposed = integers(rng, dtype, draw(st.integers(1, 9)), draw(st.integers(1, 70))), draw(st.booleans())
    panels = in_panels(matrix, dtype)
    first = draw(st.integers(0, len(panels) - 1))
    return Case((np.ascontiguousarray(matrix.T) if transposed else matrix, transposed, first, panels[first:]),
                {3: panels[first:]})


def trilinear(draw, rng, dtype):
    """Arguments of the three products: x, y, w as integers, and the window."""
    window, count = windows(draw), draw(st.integers(0, 2))
    channels, outputs = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 17, 33]))
    x, y = integers(rng, dtype, count, *window.image, channels), integers(rng, dtype, count, *window.features, outputs)
    return x, y, integers(rng, dtype, *window.kernel, channels, outputs), window


def a_rest(draw, rng, dtype, channels):
    """A bias and a ramp, or neither."""
    bias = integers(rng, dtype, channels * draw(st.integers(0, 1)))
    return loops.Rest(bias, draw(SLOPES) if len(bias) else 1.0)


def finished(x, rest):
    """x (..., C) with the rest."""
    if not len(rest.bias):
        return x
    return np.array([[z if z > 0 else rest.slope * z for z in row] for row in x.reshape(-1, x.shape[-1]) + rest.bias],
                    x.dtype).reshape(x.shape)


def gather_by_columns(draw, rng, dtype):
    x, y, w, window = trilinear(draw, rng, dtype)
    expected = np.zeros_like(y)
    for i, j, u, v, h, k in touches(window):
        expected[:, i, j] += x[:, h, k] @ w[u, v]
    rest = a_rest(draw, rng, dtype, w.shape[3])
    panels, rooms = in_panels(w.reshape(-1, w.shape[3]), dtype), map(filled, columns.rooms(dtype, w[..., 0].size))
    return Case((x, panels, window, rest, *rooms, y), {5: finished(expected, rest)}, scratch=(4,))


def scatter_by_columns(draw, rng, dtype):
    x, y, w, window = trilinear(draw, rng, dtype)
    expected = np.zeros_like(x)
    for i, j, u, v, h, k in touches(window):
        expected[:, h, k] += y[:, i, j] @ w[u, v].T
    rooms = map(filled, columns.rooms(dtype, w.shape[3], w[..., 0].size))
    return Case((y, in_panels(w.reshape(-1, w.shape[3]).T, dtype), window, *rooms, x), {5: expected}, scratch=(3, 4))


def correlate_by_columns(draw, rng, dtype):
    x, y, w, window = trilinear(draw, rng, dtype)
    add = draw(st.sampled_from([0, 1, 3]))
    expected = w * (add != 0)
    for i, j, u, v, h, k in touches(window):
        expected[u, v] += x[:, h, k].T @ y[:, i, j]
    rooms = map(filled, columns.upright_rooms(dtype, w[..., 0].size, w.shape[3]))
    return Case((x, y, window, add, *rooms, w.reshape(-1, w.shape[3])), {6: expected.reshape(-1, w.shape[3])},
                scratch=(4, 5))


def max_switches(draw, rng, dtype):
    """Ties are frequent among few integers; NaN and infinities are strewn in."""
    axes = []
    for _ in "hw":
        size, kernel = draw(st.integers(1, 6)), draw(st.integers(1, 4))
        padding, stride = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 3))
        kernel = min(kernel, size + 2 * padding)
        padding = min(padding, kernel // 2)
        axes.append((size, (size + 2 * padding - kernel) // stride + 1, kernel, stride, padding))
    image, features, kernel, stride, padding = zip(*axes, strict=True)
    x = integers(rng, dtype, draw(st.integers(0, 2)), *image, draw(st.integers(1, 2)))
    for value in draw(st.lists(st.sampled_from([np.nan, -np.inf, np.inf]), max_size=6)):
        if x.size:
            x.flat[rng.integers(x.size)] = value
    switches = np.zeros((len(x), *features, x.shape[3]), np.int64)
    for n, i, j, c in np.ndindex(switches.shape):
        best = None
        for u, v in itertools.product(*map(range, kernel)):
            h, w = i * stride[0] + u - padding[0], j * stride[1] + v - padding[1]
            if 0 <= h < image[0] and 0 <= w < image[1]:
                rank = (bool(np.isnan(x[n, h, w, c])), float(np.nan_to_num(x[n, h, w, c], posinf=99, neginf=-99)))
                if best is None or rank > best[0]:
                    best = rank, h * image[1] + w
        switches[n, i, j, c] = best[1]
    return Case((x, Window(kernel, stride, padding, (1, 1), image, features), switches), {2: switches})


def switched(draw, rng):
    """Shapes of an image and of features, and switches that may point at one pixel several times."""
    count, height, width, channels, rows, columns = (draw(st.integers(1, 4)) for _ in range(6))
    return (count, height, width, channels), rng.integers(0, height * width, (count, rows, columns, channels))


def take_pixels(draw, rng, dtype):
    shape, switches = switched(draw, rng)
    x, y = integers(rng, dtype, *shape), np.zeros(switches.shape, dtype)
    for n, i, j, c in np.ndindex(y.shape):
        y[n, i, j, c] = x[n, switches[n, i, j, c] // shape[2], switches[n, i, j, c] % shape[2], c]
    return Case((x, switches, y), {2: y})


def put_pixels(draw, rng, dtype):
    shape, switches = switched(draw, rng)
    y, x = integers(rng, dtype, *switches.shape), np.zeros(shape, dtype)
    for n, i, j, c in np.ndindex(y.shape):
        x[n, switches[n, i, j, c] // shape[2], switches[n, i, j, c] % shape[2], c] += y[n, i, j, c]
    return Case((y, switches, x), {2: x})


SLOPES = st.sampled_from([1.0, 0.0, 0.25, -0.5])        # exact in binary


def gate(draw, rng, dtype):
    size, slope = draw(st.integers(1, 40)), draw(SLOPES)
    g, x = integers(rng, dtype, size), integers(rng, dtype, size)
    out = np.array([a if b > 0 else slope * a for a, b in zip(g, x, strict=True)], dtype)
    return Case((g, x, slope, out), {3: out})


def share(draw, rng, dtype):
    x = integers(rng, dtype, *(draw(st.integers(1, 9)) for _ in range(3)))
    x[rng.random(x.shape) < draw(st.sampled_from((0.0, 0.1)))] = np.nan
    top, out = x.max(axis=1), np.zeros_like(x)
    g = integers(rng, dtype, *top.shape)
    for n, c in np.ndindex(top.shape):
        equal = [p for p in range(x.shape[1]) if x[n, p, c] == top[n, c] or np.isnan(x[n, p, c])]
        for p in equal:
            out[n, p, c] = g[n, c] * (dtype(1) / dtype(len(equal)))
    return Case((g, x, top, np.full(x.shape[2], -77, dtype), out.copy()), {4: out}, scratch=(3,))


def add_rest(draw, rng, dtype):
    x = integers(rng, dtype, draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    rest = a_rest(draw, rng, dtype, x.shape[1])
    return Case((x, rest), {0: finished(x, rest)})


def add_rows(draw, rng, dtype):
    """Also more rows than are added up at a time, and not a whole number of eights."""
    x = integers(rng, dtype, draw(st.sampled_from([0, 1, 7, 8, 9, 24, 30])), draw(st.integers(1, 40)))
    return Case((x, np.ones(x.shape[1], dtype)), {1: np.array([sum(column) for column in x.T.tolist()], dtype)})


def moments(draw, rng, dtype):
    """Also more rows than are summed at a time."""
    x = rng.standard_normal((draw(st.sampled_from([1, 2, 40, 64, 65, 150])), draw(st.integers(1, 5)))).astype(dtype)
    x += dtype(draw(st.sampled_from([0, 30])))
    mean, deviations = np.zeros((2, x.shape[1]))
    for c, column in enumerate(x.T.astype(np.float64)):
        mean[c] = sum(column) / len(column)
        deviations[c] = sum((value - mean[c]) ** 2 for value in column)
    room = np.full((2, x.shape[1]), -77, dtype)
    return Case((x, room, mean, deviations), {2: mean, 3: deviations}, exact=False, size=float(np.abs(x).max()),
                scratch=(1,))


def affine_maps(draw, rng, dtype):
    """x and an affine map on a lattice that is exact in binary and may land on the kink, and z as it says."""
    rows, channels = draw(st.sampled_from([1, 5, 64, 65, 130])), draw(st.integers(1, 4))
    x, centre = integers(rng, dtype, rows, channels) / 2, integers(rng, dtype, channels)
    scale = rng.choice([-1, -0.5, 0.5, 2], channels).astype(dtype)
    shift = (integers(rng, dtype, channels) + dtype(draw(st.sampled_from([0, 0.125])))) / 2
    z = np.array([[(x[r, c] - centre[c]) * scale[c] + shift[c] for c in range(channels)] for r in range(rows)], dtype)
    return x.astype(dtype), Affine(centre, scale, shift.astype(dtype), draw(SLOPES)), z


def normalise(draw, rng, dtype):
    x, affine, z = affine_maps(draw, rng, dtype)
    out = np.array([[value if value > 0 else affine.slope * value for value in row] for row in z], dtype)
    return Case((x, affine, out), {2: out})


def through_the_ramp(g, z, slope):
    pairs = zip(g.ravel(), z.ravel(), strict=True)
    return np.array([a if b > 0 else slope * a for a, b in pairs], g.dtype).reshape(g.shape)


def normalise_sums(draw, rng, dtype):
    x, affine, z = affine_maps(draw, rng, dtype)
    g = integers(rng, dtype, *x.shape)
    sums, flow = np.zeros((2, x.shape[1])), through_the_ramp(g, z, affine.slope)
    for r, c in np.ndindex(x.shape):
        sums[0, c] += flow[r, c]
        sums[1, c] += flow[r, c] * (x[r, c] - affine.centre[c])
    return Case((g, x, affine, np.full((2, x.shape[1]), -77, dtype), sums), {4: sums}, scratch=(3,))


def normalise_input(draw, rng, dtype):
    x, affine, z = affine_maps(draw, rng, dtype)
    g, factors = integers(rng, dtype, *x.shape), integers(rng, dtype, 2, x.shape[1])
    out, flow = np.zeros_like(x), through_the_ramp(g, z, affine.slope)
    for r, c in np.ndindex(x.shape):
        out[r, c] = flow[r, c] * affine.scale[c] + (x[r, c] - affine.centre[c]) * factors[0, c] + factors[1, c]
    return Case((g, x, affine, factors, out), {4: out})


def adam(draw, rng, dtype):
    size, steps = draw(st.integers(1, 20)), draw(st.integers(1, 50))
    p, g, m, v = rng.standard_normal((4, size)).astype(dtype)
    v = v * v
    beta1, beta2 = draw(st.sampled_from([(0.9, 0.999), (0.5, 0.999), (0.0, 0.5)]))
    step = AdamStep(0.01, beta1, beta2, 1e-8, draw(st.sampled_from([0.0, 0.1])), 1 - beta1 ** steps, 1 - beta2 ** steps)
    after = []
    for theta, slope, mean, square in zip(*(a.astype(np.float64) for a in (p, g, m, v)), strict=True):
        slope = slope + step.weight_decay * theta
        mean = beta1 * mean + (1 - beta1) * slope
        square = beta2 * square + (1 - beta2) * slope ** 2
        moved = 0.01 * (mean / step.correction1) / ((square / step.correction2) ** 0.5 + 1e-8)
        after.append((theta - moved, mean, square))
    new_p, new_m, new_v = np.array(after).T
    return Case((p, g, m, v, step), {0: new_p, 2: new_m, 3: new_v}, exact=False, size=1.0)


# The combinations of tiles.py: images and features, of filters with two and with three taps. Rows
# are combinations, columns a tile's entries.
TWO, THREE = (np.array(matrix, float) for matrix in ([[1, -1, 0], [0, 1, 0], [0, 1, -1]],
                                                     [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]))
OUTPUTS = {2: np.array([[1, 0], [1, 1], [0, -1]], float), 3: np.array([[1, 0], [1, 1], [1, -1], [0, -1]], float)}


def combinations_of(tiling):
    """How the rows and the columns of a tile are combined."""
    return [({2: TWO, 3: THREE} if tiling.image else OUTPUTS)[taps] for taps in (tiling.vertical, tiling.horizontal)]


def blocks(tiling):
    """k, l and how many tiles every block has: an axis of n outputs has one for two of them, the
    last combination only for whole pairs.
    """
    for k, l in itertools.product(range(tiling.vertical + 1), range(tiling.horizontal + 1)):
        tall = tiling.rows // 2 if k == tiling.vertical else (tiling.rows + 1) // 2
        wide = tiling.columns // 2 if l == tiling.horizontal else (tiling.columns + 1) // 2
        yield k, l, tall, wide


def dependences(tiling, shape):
    """For each block every (its row, entry of the row, pixel, sign) by which it depends on a pixel
    of images of `shape`.
    """
    (count, height, width, channels), (vertical, horizontal) = shape, combinations_of(tiling)
    for k, l, tall, wide in blocks(tiling):
        terms = []
        pixels = itertools.product(range(count), range(tall), range(wide), range(tiling.side), range(tiling.side),
                                   range(channels))
        for n, t, s, e, f, c in pixels:
            for (r, a), (q, b) in itertools.product(enumerate(vertical[k]), enumerate(horizontal[l])):
                h, w = tiling.step * (2 * t + r) + e - tiling.top, tiling.step * (2 * s + q) + f - tiling.left
                if 0 <= h < height and 0 <= w < width and a * b:
                    terms.append(((n * tall + t) * wide + s, (e * tiling.side + f) * channels + c, (n, h, w, c), a * b))
        yield count * tall * wide, terms


def tiled(draw, rng, dtype):
    """An image, tiles of it, and for each block how many tiles it has and what they depend on."""
    image, taps = draw(st.booleans()), st.sampled_from([2, 3])
    side, step = draw(st.sampled_from([(1, 1), (2, 2), (1, 2)])) if image else (1, 1)
    tiling = Tiling(image, draw(taps), draw(taps), side, step, draw(st.integers(-3, 3)), draw(st.integers(-3, 3)),
                    draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    shape = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    return integers(rng, dtype, *shape), tiling, list(dependences(tiling, shape))


def parts_of(x, found, length):
    """The blocks (tiles, length) themselves."""
    parts = [np.zeros((size, length), x.dtype) for size, _ in found]
    for part, (_, terms) in zip(parts, found, strict=True):
        for row, entry, pixel, sign in terms:
            part[row, entry] += sign * x[pixel]
    return parts


def in_blocks(x, tiling, parts, length, filler=-77, more=1):
    """Blocks (tiles, length) below each other, each with room for the largest, and more rows; rows may be wider."""
    most = len(x) * ((tiling.rows + 1) // 2) * ((tiling.columns + 1) // 2)
    rows = np.full((len(parts) * most + more, length), filler, x.dtype)
    for block, part in enumerate(parts):
        rows[block * most:][:len(part), :part.shape[1]] = part
    return rows


def tile(draw, rng, dtype):
    """What lies between the tiles that are asked for may be left in any state."""
    x, tiling, found = tiled(draw, rng, dtype)
    inner = tiling.side ** 2 * x.shape[3]
    apart = inner + draw(st.integers(0, 17))
    expected = in_blocks(x, tiling, parts_of(x, found, inner), apart, np.nan, ROWS).reshape(-1)
    return Case((x, tiling, expected.copy(), apart, entries_of(tiling, x)), {2: expected}, scratch=(4,))


def entries_of(tiling, x):
    """Room for four rows of entries."""
    return np.full(4 * (2 * ((tiling.columns + 1) // 2) + 2) * tiling.side * x.shape[3], -77, x.dtype)


def multiply_tiles(draw, rng, dtype):
    x, tiling, found = tiled(draw, rng, dtype)
    inner, outputs = tiling.side ** 2 * x.shape[3], draw(st.sampled_from([1, 3, 40]))
    parts = [integers(rng, dtype, size, inner) for size, _ in found]
    factors = [integers(rng, dtype, inner, outputs) for _ in found]
    panels = np.array([in_panels(factor, dtype) for factor in factors])
    expected = in_blocks(x, tiling, [part @ factor for part, factor in zip(parts, factors, strict=True)], outputs)
    parts = in_blocks(x, tiling, parts, inner + 16, more=ROWS).reshape(-1)
    return Case((parts, tiling, len(x), panels, expected), {4: expected})


def correlate_tiles(draw, rng, dtype):
    x, tiling, found = tiled(draw, rng, dtype)
    inner, outputs = tiling.side ** 2 * x.shape[3], draw(st.sampled_from([1, 2, 33]))
    add = draw(st.sampled_from([0, 1]))
    left, right = ([integers(rng, dtype, size, length) for size, _ in found] for length in (inner, outputs))
    before = integers(rng, dtype, len(found), inner, outputs)
    expected = before * add + np.array([one.T @ other for one, other in zip(left, right, strict=True)])
    lanes = PANEL_BYTES // before.itemsize
    left = in_blocks(x, tiling, left, -(-inner // ROWS) * ROWS + 16, more=ROWS).reshape(-1)
    right = in_blocks(x, tiling, right, -(-outputs // lanes) * lanes + 16, more=ROWS).reshape(-1)
    return Case((left, right, tiling, len(x), add, before), {5: expected.astype(dtype)})


def untile(draw, rng, dtype):
    """What lies in no tile stays as it was; `add` is for features, which lie in tiles with all their entries."""
    x, tiling, found = tiled(draw, rng, dtype)
    add = not tiling.image and draw(st.booleans())
    if add:
        tiling = tiling._replace(top=0, left=0)
        x = integers(rng, dtype, len(x), tiling.rows, tiling.columns, x.shape[3])
        found = list(dependences(tiling, x.shape))
    parts = [integers(rng, dtype, size, tiling.side ** 2 * x.shape[3]) for size, _ in found]
    touched = tile_pixels(tiling, x.shape)
    expected = x.copy() if add else np.where(touched, 0, x)
    for part, (_, terms) in zip(parts, found, strict=True):
        for row, entry, pixel, sign in terms:
            expected[pixel] += sign * part[row, entry]
    parts = in_blocks(x, tiling, parts, tiling.side ** 2 * x.shape[3], more=(tiling.columns + 1) // 2)
    return Case((parts.reshape(-1), tiling, add, x, entries_of(tiling, x)), {3: expected.astype(dtype)}, scratch=(0, 4))


def tile_pixels(tiling, shape):
    """Which pixels of images of `shape` lie in some tile's entries."""
    inside = np.zeros(shape, bool)
    tall, wide = (2 * ((n + 1) // 2 - 1) + matrix.shape[1]
                  for n, matrix in zip((tiling.rows, tiling.columns), combinations_of(tiling), strict=True))
    for r, q, e, f in itertools.product(range(tall), range(wide), range(tiling.side), range(tiling.side)):
        h, w = tiling.step * r + e - tiling.top, tiling.step * q + f - tiling.left
        if 0 <= h < shape[1] and 0 <= w < shape[2]:
            inside[:, h, w] = True
    return inside


KERNEL_MATRICES = [np.array(m, float)
                   for m in ([[1, 0], [1, 1], [0, 1]], [[1, 0, 0], [.5, .5, .5], [.5, -.5, .5], [0, 0, 1]])]


def kernel_taps(draw, rng, dtype):
    """A kernel of multiples of 4, the Taps of a group of it, and (block, phase, tap, weight) of every combination."""
    side, step, row, column = draw(st.sampled_from([(1, 1, 0, 0), (2, 2, 0, 0), (1, 2, 0, 1), (1, 2, 1, 0)]))
    taps = Taps(draw(st.sampled_from(KERNEL_MATRICES)), draw(st.sampled_from(KERNEL_MATRICES)), side, step, row, column)
    size = [step * matrix.shape[1] for matrix in (taps.vertical, taps.horizontal)]
    w, terms = 4 * integers(rng, dtype, *size, draw(st.integers(1, 3)), draw(st.sampled_from([1, 33]))), []
    for (k, rows), (l, columns_) in itertools.product(enumerate(taps.vertical), enumerate(taps.horizontal)):
        taps_of_two = itertools.product(enumerate(rows), enumerate(columns_), range(side), range(side))
        for (a, weight), (b, other), e, f in taps_of_two:
            tap = row + step * a + e, column + step * b + f
            terms.append((k * len(taps.horizontal) + l, e * side + f, tap, weight * other))
    return w, taps, terms


def tile_weights(draw, rng, dtype):
    """What comes of other channels is left as it is."""
    w, taps, terms = kernel_taps(draw, rng, dtype)
    blocks_, transposed = len(taps.vertical) * len(taps.horizontal), draw(st.booleans())
    inner = w.shape[3 if transposed else 2]
    first = draw(st.integers(0, inner - 1))
    last = draw(st.integers(first + 1, inner))
    combined = np.zeros((blocks_, taps.side ** 2, *w.shape[2:]), dtype)
    for place, phase, tap, weight in terms:
        combined[place, phase] += weight * w[tap]
    others = np.ones(inner, bool)
    others[first:last] = False
    combined = combined.reshape(blocks_, -1, w.shape[3])
    factors = np.array([in_panels(block.T if transposed else block, dtype) for block in combined])
    factors[:, :, np.tile(others, 1 if transposed else taps.side ** 2)] = np.nan
    room = np.zeros(9 * (last - first) * w.shape[2], dtype)
    return Case((w, taps, transposed, first, last, room, factors.copy()), {6: factors}, scratch=(5,))


def untile_weights(draw, rng, dtype):
    """Only the taps of row a of the group are written."""
    w, taps, terms = kernel_taps(draw, rng, dtype)
    count = len(taps.vertical) * len(taps.horizontal)
    shares = 4 * integers(rng, dtype, draw(st.integers(1, 3)), count, taps.side ** 2, *w.shape[2:])
    a = draw(st.integers(0, 1))
    mine = {tap for _, _, tap, _ in terms if (tap[0] - taps.row) // taps.step == a}
    expected = w.copy()
    for tap in mine:
        expected[tap] = 0
    for place, phase, tap, weight in terms:
        if tap in mine:
            expected[tap] += weight * shares[:, place, phase].sum(axis=0)
    return Case((shares.reshape(len(shares), count, -1, w.shape[3]), taps, a, w), {3: expected})


CASES = {matrices: (multiply_part,), products: (pack, multiply),
         columns: (many_windows, im2col, col2im, gather_by_columns, scatter_by_columns, correlate_by_columns),
         combinations: (tile, multiply_tiles, correlate_tiles, untile), taps: (tile_weights, untile_weights),
         loops: (max_switches, take_pixels, put_pixels, share, gate, add_rest, add_rows, moments, normalise,
                 normalise_sums, normalise_input, adam)}
# They add to, or leave, what is there.
READ_AND_WRITTEN = {"adam", "add_rest", "multiply", "multiply_part", "many_windows", "correlate_by_columns",
                    "correlate_tiles", "untile", "untile_weights"}


def kernels_of(module):
    """The kernels that a module defines: compiled functions with a cache of their own."""
    compiled_here = {name for name, value in vars(module).items() if isinstance(getattr(value, "_cache", None),
                                                                                compiled.Cache)}
    return {name for name in compiled_here if inspect.getmodule(vars(module)[name].py_func) is module}


def test_parts_of_kernels_are_not_called_from_python():
    window = Window((1, 1), (1, 1), (0, 0), (1, 1), (2, 2), (2, 2))
    arguments = np.zeros((1, 2, 2, 1)), window, np.zeros((1, 2, 2, 1, 1, 1))
    columns.im2col(*arguments)
    with pytest.raises(TypeError, match="NUMBA_DISABLE_JIT"):
        columns.im2col.py_func(*arguments)


@pytest.mark.parametrize("module", CASES)
def test_every_kernel_is_in_the_table(module):
    assert kernels_of(module) == {case.__name__ for case in CASES[module]}


def arrays(argument):
    """The arrays in an argument: itself, those of a tuple, or none."""
    parts = argument if isinstance(argument, tuple) else (argument,)
    return [one for one in parts if isinstance(one, np.ndarray)]


def outcome(module, name, case):
    """The arguments after the kernel ran on copies of them."""
    copies = []
    for argument in case.arguments:
        if isinstance(argument, np.ndarray):
            copies.append(argument.copy())
        elif arrays(argument):
            copies.append(argument._make(np.array(one) if isinstance(one, np.ndarray) else one for one in argument))
        else:
            copies.append(argument)
    if name not in READ_AND_WRITTEN:
        for place in case.written:
            copies[place].fill(-77)
    assert getattr(module, name)(*copies) in (None, True)               # untile: all is finite
    return copies


@pytest.mark.parametrize("module, name", [(module, case.__name__) for module, cases in CASES.items() for case in cases])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data(), seed=st.integers(0, 2 ** 16))
def test_kernel_against_loops(module, name, dtype, data, seed):
    draw_case = next(case for case in CASES[module] if case.__name__ == name)
    case = draw_case(data.draw, np.random.default_rng(seed), dtype)
    for place, (found, given_) in enumerate(zip(outcome(module, name, case), case.arguments, strict=True)):
        if place in case.scratch:
            continue
        if place not in case.written:
            same = [np.array_equal(*pair, equal_nan=True) for pair in zip(arrays(found), arrays(given_), strict=True)]
            assert all(same), "it changed what it should only read"
            continue
        expected, (found,), (given_,) = case.written[place], arrays(found), arrays(given_)
        assert found.dtype == given_.dtype
        if case.exact:
            assert np.all((found == expected) | np.isnan(expected))            # NaN: anything
        else:
            tolerance = 1e-6 if dtype == np.float64 else 3e-6
            assert np.allclose(found, expected, rtol=tolerance,
                               atol=tolerance * max(case.size, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("wild", [np.inf, -np.inf, np.nan])
@given(data=st.data(), seed=st.integers(0, 2 ** 16))
def test_untile_says_whether_all_that_it_wrote_is_finite(wild, data, seed):
    """One wild number in any row of the parts, which any pixel and channel may be made of, or none."""
    rng = np.random.default_rng(seed)
    parts, tiling, add, x, lines = untile(data.draw, rng, np.float32).arguments
    rows = np.flatnonzero(parts != -77)                     # no filler, nor rows that are made zeros
    parts[rng.choice(rows)] = wild
    found = combinations.untile(parts, tiling, add, x, lines)
    assert found == np.isfinite(x).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels, outputs", [(1, 1), (7, 15), (8, 16), (9, 17), (32, 31), (33, 32), (65, 33),
                                               (129, 64), (257, 5), (3, 270)])
@pytest.mark.parametrize("count, side", [(1, 3), (2, 9), (5, 16)])
def test_whole_blocks_and_their_edges(dtype, channels, outputs, count, side):
    """Sizes around those of a register block (rows, columns, depth) and of what is multiplied at a time."""
    rng, window = np.random.default_rng(0), Window((2, 2), (1, 1), (1, 0), (1, 1), (side, side), (side, side))
    x, y, w = integers(rng, dtype, count, side, side, channels), integers(rng, dtype, count, side, side, outputs), \
        integers(rng, dtype, 2, 2, channels, outputs)
    taps, cols = w.reshape(-1, outputs), np.empty((count, side, side, 2, 2, channels), dtype)
    columns.im2col(x, window, cols)
    matrix, features = cols.reshape(-1, len(taps)), y.reshape(-1, outputs)
    forth, back, stamped, share = np.empty_like(y), np.empty_like(x), np.empty_like(x), np.zeros_like(taps)
    rest, rooms = loops.Rest(taps[0, :0], 1.0), columns.rooms(dtype, len(taps))
    columns.gather_by_columns(x, in_panels(taps, dtype), window, rest, *rooms, forth)
    assert np.array_equal(forth.reshape(-1, outputs), matrix @ taps)
    columns.scatter_by_columns(y, in_panels(taps.T, dtype), window, *columns.rooms(dtype, outputs, len(taps)), back)
    columns.col2im((features @ taps.T).reshape(cols.shape), window, stamped)
    assert np.array_equal(back, stamped)
    for add in (0, 1):
        columns.correlate_by_columns(x, y, window, add, *columns.upright_rooms(dtype, len(taps), outputs), share)
    assert np.array_equal(share, 2 * matrix.T @ features)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel, stride, channels, outputs",
                         [(4, 2, 70, 5), (3, 1, 3, 33), (3, 1, 270, 17), (5, 2, 9, 8), (5, 2, 260, 3)])
def test_more_tiles_and_channels_than_are_multiplied_at_a_time(monkeypatch, dtype, kernel, stride, channels, outputs):
    """The shorter ways against the direct one, on integers."""
    monkeypatch.setattr(tiles, "POSITIONS", 1)
    rng, features = np.random.default_rng(0), (16, 15)
    image = tuple(stride * (n - 1) + kernel - 2 for n in features)
    window = Window((kernel, kernel), (stride, stride), (1, 1), (1, 1), image, features)
    x, y, w = integers(rng, dtype, 5, *image, channels), integers(rng, dtype, 5, *features, outputs), \
        integers(rng, dtype, kernel, kernel, channels, outputs)
    cols = np.empty((5, *features, kernel, kernel, channels), dtype)
    columns.im2col(x, window, cols)
    matrix, taps = cols.reshape(-1, w[..., 0].size), w.reshape(-1, outputs)
    forth, back, stamped = np.empty_like(y), np.empty_like(x), np.empty_like(x)
    assert tiles.gather_by_tiles(x, w, window, None, 1.0, forth) == []
    assert tiles.scatter_by_tiles(y, w, window, None, 1.0, back) == []
    assert np.array_equal(forth.reshape(-1, outputs), matrix @ taps)
    columns.col2im((y.reshape(-1, outputs) @ taps.T).reshape(cols.shape), window, stamped)
    assert np.array_equal(back, stamped)
    share = tiles.correlate_by_tiles(x, y, window).reshape(-1, outputs)
    assert np.array_equal(share, matrix.T @ y.reshape(-1, outputs))


PRODUCTS = """
import numpy as np
from minideconv.kernels import fast, reference
from minideconv.kernels.fast import columns, matrices, tiles
from minideconv.shapes import Window

def empty(*shape):              # what memory holds before it is written: nothing that may be multiplied
    array = fresh(*shape)
    array.fill(np.finfo(array.dtype).max if array.dtype.kind == "f" else 0)
    return array

fresh, np.empty = np.empty, empty
np.seterr(over="raise", invalid="raise")
tiles.POSITIONS, tiles.LAYERS = 1, {(3, 1): 9}
for channels, outputs, kernel in ((3, 2, 2), (9, 40, 2), (9, 33, 3)):
    window = Window((kernel, kernel), (1, 1), (1, 0), (1, 1), (3, 3), (3 + 2 - kernel, 4 - kernel))
    for number in (np.float32, np.float64):
        x = np.arange(2.0 * 9 * channels).astype(number).reshape(2, 3, 3, channels) % 7
        w = np.arange(1.0 * kernel ** 2 * channels * outputs).astype(number) % 5
        w = w.reshape(kernel, kernel, channels, outputs)
        y = reference.gather(x, w, window)
        assert np.array_equal(fast.gather(x, w, window), y)
        assert np.array_equal(fast.scatter(y, w, window), reference.scatter(y, w, window))
        assert np.array_equal(fast.correlate(x, y, window), reference.correlate(x, y, window))
        for a, b in ((x.reshape(18, -1), w.reshape(channels, -1)), (w.reshape(channels, -1).T, x.reshape(18, -1).T)):
            assert np.array_equal(matrices.product(a, b), a @ b)
print(type(columns.gather_by_columns).__name__)
"""


def test_the_products_can_be_stepped_through():
    """NUMBA_DISABLE_JIT=1: what is written in the compiler's language has its loops in Python. Nothing is computed with
    what lies beside arrays: numbers near zero, if they lie there, take many times as long as others.
    """
    answer = subprocess.run([sys.executable, "-c", PRODUCTS], env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
                            capture_output=True, text=True)
    assert answer.stdout.split() == ["function"], answer.stderr


OTHER_BLOCK = """
import sys
import llvmlite.binding
given = llvmlite.binding.get_host_cpu_features
wide = bool(given().get("avx512f"))

def other():
    features = given()
    if wide:                        # for the compiler too, which must not use what such a processor lacks
        for name in features:
            features[name] &= "avx512" not in name
    elif sys._getframe(1).f_globals["__name__"].endswith(".products"):
        features["avx512f"] = True  # for this project only: the compiler makes two instructions of one
    return features

llvmlite.binding.get_host_cpu_features = other
if wide:
    llvmlite.binding.get_host_cpu_name = lambda: "generic"
from minideconv.kernels.fast import products
assert products.WIDE != wide
"""


def test_the_block_of_the_other_processors(tmp_path):
    """Eight rows of a whole panel with AVX-512, six of half a panel without: the same results."""
    answer = subprocess.run([sys.executable, "-c", OTHER_BLOCK + PRODUCTS],
                            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True)
    assert answer.stdout.split() == ["CPUDispatcher"], answer.stderr


def test_rows_are_added_up_eight_at_a_time():
    """To the last bit: trainings on record depend on it."""
    x, total = np.random.default_rng(0).standard_normal((803, 64), np.float32), np.empty(64, np.float32)
    loops.add_rows(x, total)
    expected = np.zeros(64, np.float32)
    for first in range(0, 800, 8):
        expected += functools.reduce(np.add, x[first:first + 8])
    for row in x[800:]:
        expected += row
    assert np.array_equal(total, expected)


def test_a_kernel_gradient_sums_over_more_tiles_than_are_multiplied_at_a_time():
    """Chunks of 16 images with 16 tiles each."""
    window = Window((4, 4), (2, 2), (1, 1), (1, 1), (16, 16), (8, 8))
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-2, 3, (64, size, size, 32)).astype(np.float32) for size in (16, 8))
    assert tiles.suits(window, 32, 32, 64) and 16 * 16 > UPRIGHT
    assert np.array_equal(fast.correlate(x, y, window), reference.correlate(x, y, window))


def test_plain_copies_only_what_numba_would_compile_anew():
    array = np.arange(6.0).reshape(2, 3)
    assert compiled.plain(array) is array
    locked = array.copy()
    locked.flags.writeable = False
    for strange in (array.T, array[:, ::2], locked, np.broadcast_to(array, (2, 2, 3))):
        plain = compiled.plain(strange)
        assert plain.flags.c_contiguous and plain.flags.writeable and np.array_equal(plain, strange)
