"""The loops of `reference.py` spelled out and compiled by Numba: same names, same signatures, same results. (The largest have files of their own.)

Each is a plain Python function first: NUMBA_DISABLE_JIT=1 steps through it. No `parallel=True` here: callers split the batch over
`parallel.run`, and `nogil` lets those threads compute at the same time. Scalars are turned into the arrays' type, since a single
float64 would turn a loop over float32 into a float64 one.
"""
import numpy as np

from .columns import col2im, correlate, gather, im2col, scatter         # noqa: F401
from .combinations import tile_kernel, tile_products, tile_transposed_products, untile, untile_kernel       # noqa: F401
from .products import pack                                              # noqa: F401
from .runs import jit, zero_run


@jit
def max_switches(x, kernel, stride, padding, switches):
    height, width = x.shape[1:3]
    count, rows, columns, channels = switches.shape
    for n in range(count):
        for i in range(rows):
            top = i * stride[0] - padding[0]
            for j in range(columns):
                left = j * stride[1] - padding[1]
                for c in range(channels):
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
    for n in range(count):
        x[n] = 0
        for i in range(rows):
            for j in range(columns):
                for c in range(channels):
                    pixel = switches[n, i, j, c]
                    x[n, pixel // width, pixel % width, c] += y[n, i, j, c]


@jit
def gate(g, x, slope, out):
    slope = x.dtype.type(slope)
    flat_g, flat_x, flat_out = g.reshape(-1), x.reshape(-1), out.reshape(-1)
    for k in range(flat_x.size):
        flat_out[k] = flat_g[k] if flat_x[k] > 0 else slope * flat_g[k]


@jit
def moments(x, mean, deviations):
    rows, channels = x.shape
    zero_run(mean, 0, channels)
    zero_run(deviations, 0, channels)
    for r in range(rows):
        for c in range(channels):
            mean[c] += x[r, c]
    for c in range(channels):
        mean[c] /= x.dtype.type(rows)
    for r in range(rows):
        for c in range(channels):
            difference = x[r, c] - mean[c]
            deviations[c] += difference * difference


@jit
def normalise(x, scale, shift, slope, out):
    slope = x.dtype.type(slope)
    rows, channels = x.shape
    for r in range(rows):
        for c in range(channels):
            z = x[r, c] * scale[c] + shift[c]
            out[r, c] = z if z > 0 else slope * z


@jit
def normalise_sums(g, x, scale, shift, slope, mean, inverse, sums):
    slope = x.dtype.type(slope)
    rows, channels = x.shape
    zero_run(sums.reshape(-1), 0, sums.size)
    for r in range(rows):
        for c in range(channels):
            through = g[r, c] if x[r, c] * scale[c] + shift[c] > 0 else slope * g[r, c]
            sums[0, c] += through
            sums[1, c] += through * ((x[r, c] - mean[c]) * inverse[c])


@jit
def normalise_input(g, x, scale, shift, slope, along, constant, out):
    slope = x.dtype.type(slope)
    rows, channels = x.shape
    for r in range(rows):
        for c in range(channels):
            through = g[r, c] if x[r, c] * scale[c] + shift[c] > 0 else slope * g[r, c]
            out[r, c] = through * scale[c] + x[r, c] * along[c] + constant[c]


@jit
def adam(p, g, m, v, rate, beta1, beta2, eps, weight_decay, correction1, correction2):
    one, kind = p.dtype.type(1), p.dtype.type
    step, root = kind(rate / correction1), kind(correction2 ** 0.5)
    keep1, keep2, eps, weight_decay = kind(beta1), kind(beta2), kind(eps), kind(weight_decay)
    for k in range(p.size):
        gradient = g[k] + weight_decay * p[k]
        m[k] += (one - keep1) * (gradient - m[k])
        v[k] = keep2 * v[k] + (one - keep2) * gradient * gradient
        p[k] -= step * m[k] / (np.sqrt(v[k]) / root + eps)
