"""Loops over pixels and rows, spelled out and compiled: what `rows.py` and `pixels.py` hand to the
threads.

Each is a plain Python function first: NUMBA_DISABLE_JIT=1 steps through it. No `parallel=True`
here: callers split the batch over `parallel.run`, and `nogil` lets those threads compute at the
same time. Scalars are turned into the arrays' type, since a single float64 would turn a loop over
float32 into a float64 one. Every loop writes into its last arguments.
"""
from typing import NamedTuple

import numpy as np

from .arrays import flat
from .compiled import jit, jit_inside
from .runs import zero_run

BLOCK = 64                  # rows that are summed in the arrays' own precision before they are added to float64 sums


@jit
def max_switches(x, window, switches):
    (kernel, stride, padding), (height, width) = (window.kernel, window.stride, window.padding), x.shape[1:3]
    for n, i, j, c in np.ndindex(switches.shape):
        top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
        winner = -1
        best = x[n, max(top, 0), max(left, 0), c]
        for h in range(max(top, 0), min(top + kernel[0], height)):
            for w in range(max(left, 0), min(left + kernel[1], width)):
                value = x[n, h, w, c]
                if winner < 0 or value > best or (value != value and best == best):
                    winner, best = h * width + w, value
        switches[n, i, j, c] = winner


@jit
def take_pixels(x, switches, y):
    width = x.shape[2]
    count, rows, columns, channels = y.shape
    for n in range(count):
        for i in range(rows):
            for j in range(columns):
                for c in range(channels):
                    pixel = switches[n, i, j, c]
                    y[n, i, j, c] = x[n, pixel // width, pixel % width, c]


@jit
def put_pixels(y, switches, x):
    width = x.shape[2]
    count, rows, columns, channels = y.shape
    zero_run(flat(x), 0, x.size)
    for n in range(count):
        for i in range(rows):
            for j in range(columns):
                for c in range(channels):
                    pixel = switches[n, i, j, c]
                    x[n, pixel // width, pixel % width, c] += y[n, i, j, c]


@jit
def share(g, x, top, ties, out):
    """g (N, C) to the entries of x (N, pieces, C) that equal top (N, C), as reference.share. ties: room (C,)."""
    count, pieces, channels = x.shape
    one = x.dtype.type(1)
    for n in range(count):
        zero_run(ties, 0, channels)
        for p in range(pieces):
            for c in range(channels):
                value, best = x[n, p, c], top[n, c]
                out[n, p, c] = one if (value == best) | ((value != value) & (best != best)) else 0 * one
                ties[c] += out[n, p, c]
        for p in range(pieces):
            for c in range(channels):
                out[n, p, c] = g[n, c] * (out[n, p, c] / ties[c])


@jit
def gate(g, x, slope, out):
    slope = x.dtype.type(slope)
    for k in range(x.size):
        out[k] = g[k] if x[k] > 0 else slope * g[k]


class Rest(NamedTuple):
    """What comes after a product: a bias (C,), and leaky ReLU (slope 1: none). Of length 0: nothing."""
    bias: np.ndarray
    slope: float


@jit
def add_rest(x, rest):
    """In place, to rows x (R, C)."""
    bias, slope, (rows, channels) = rest.bias, x.dtype.type(rest.slope), x.shape
    if len(bias) > 0:
        for r in range(rows):
            for c in range(channels):
                z = x[r, c] + bias[c]
                x[r, c] = z if z > 0 else slope * z


@jit
def add_rows(x, total):
    """The sum of the rows of x (R, C), eight of which are added up at a time: OpenBLAS's order, in which the sums of
    trainings on record were made.
    """
    rows, channels = x.shape
    whole = rows // 8 * 8
    zero_run(total, 0, channels)
    for r in range(0, whole, 8):
        for c in range(channels):
            total[c] += (x[r, c] + x[r + 1, c] + x[r + 2, c] + x[r + 3, c]
                         + x[r + 4, c] + x[r + 5, c] + x[r + 6, c] + x[r + 7, c])
    for r in range(whole, rows):
        for c in range(channels):
            total[c] += x[r, c]


@jit_inside
def _add(total, part):
    """total += part, which may be of less precision."""
    for c in range(len(part)):
        total[c] += part[c]


@jit
def moments(x, room, mean, deviations):
    """Over the rows of x (R, C), into float64: their mean, and the sum of squared differences from
    it.

    The first row is subtracted from all before they are summed: what is left of a channel far from
    zero has its digits. room: (2, C).
    """
    rows, channels = x.shape
    part, centre = room[0], room[1]
    for c in range(channels):               # no zero_run: what is written for float64 would be compiled for it alone
        mean[c], deviations[c] = 0, 0
    for start in range(0, rows, BLOCK):
        zero_run(part, 0, channels)
        for r in range(start, min(start + BLOCK, rows)):
            for c in range(channels):
                part[c] += x[r, c] - x[0, c]
        _add(mean, part)
    for c in range(channels):
        mean[c] = mean[c] / rows + x[0, c]
        centre[c] = mean[c]
    for start in range(0, rows, BLOCK):
        zero_run(part, 0, channels)
        for r in range(start, min(start + BLOCK, rows)):
            for c in range(channels):
                difference = x[r, c] - centre[c]
                part[c] += difference * difference
        _add(deviations, part)
    for c in range(channels):
        deviations[c] = max(0.0, deviations[c] - rows * (mean[c] - centre[c]) ** 2)


@jit
def normalise(x, affine, out):
    slope, (centre, scale, shift) = x.dtype.type(affine.slope), (affine.centre, affine.scale, affine.shift)
    rows, channels = x.shape
    for r in range(rows):
        for c in range(channels):
            z = (x[r, c] - centre[c]) * scale[c] + shift[c]
            out[r, c] = z if z > 0 else slope * z


@jit
def normalise_sums(g, x, affine, room, sums):
    """sums is float64 (2, C). room: (2, C)."""
    slope, (centre, scale, shift) = x.dtype.type(affine.slope), (affine.centre, affine.scale, affine.shift)
    rows, channels = x.shape
    plain, weighted = room[0], room[1]
    for c in range(channels):               # as in moments
        sums[0, c], sums[1, c] = 0, 0
    for start in range(0, rows, BLOCK):
        zero_run(plain, 0, channels)
        zero_run(weighted, 0, channels)
        for r in range(start, min(start + BLOCK, rows)):
            for c in range(channels):
                difference = x[r, c] - centre[c]
                through = g[r, c] if difference * scale[c] + shift[c] > 0 else slope * g[r, c]
                plain[c] += through
                weighted[c] += through * difference
        _add(sums[0], plain)
        _add(sums[1], weighted)


@jit
def normalise_input(g, x, affine, factors, out):
    """factors: along and constant, (2, C)."""
    slope, (centre, scale, shift) = x.dtype.type(affine.slope), (affine.centre, affine.scale, affine.shift)
    rows, channels = x.shape
    for r in range(rows):
        for c in range(channels):
            difference = x[r, c] - centre[c]
            through = g[r, c] if difference * scale[c] + shift[c] > 0 else slope * g[r, c]
            out[r, c] = through * scale[c] + difference * factors[0, c] + factors[1, c]


@jit
def adam(p, g, m, v, step):
    """Means below the normal numbers become zero: beside eps they are nothing, but a processor takes many times as long
    for them. Weights whose gradients are zero come there in some thousand steps, and stay: rounding keeps the last few.
    """
    one, kind = p.dtype.type(1), p.dtype.type
    least = kind(np.finfo(p.dtype).tiny if step.eps > 0 else 0)
    rate, root = kind(step.rate / step.correction1), kind(step.correction2 ** 0.5)
    keep1, keep2, eps, weight_decay = kind(step.beta1), kind(step.beta2), kind(step.eps), kind(step.weight_decay)
    for k in range(p.size):
        gradient = g[k] + weight_decay * p[k]
        mean = m[k] + (one - keep1) * (gradient - m[k])
        square = keep2 * v[k] + (one - keep2) * gradient * gradient
        m[k] = 0 if abs(mean) < least else mean             # NaN stays
        v[k] = 0 if square < least else square
        p[k] -= rate * m[k] / (np.sqrt(v[k]) / root + eps)
