"""The loops of `reference.py` spelled out and compiled by Numba: same names, same signatures, same results.

Each is a plain Python function first: NUMBA_DISABLE_JIT=1 steps through it. No `parallel=True` here: callers split the batch over
`parallel.run`, and `nogil` lets those threads compute at the same time. Scalars are turned into the arrays' type, since a single
float64 would turn a loop over float32 into a float64 one.
"""
import numpy as np
from numba import njit

jit = njit(nogil=True, cache=True)


# Runs of numbers that lie side by side, named by a flat array and where they start. The slices let the compiler see that indices
# begin at zero: only then does it use vector instructions.

@jit
def _copy(out, o, a, i, length):
    out, a = out[o:o + length], a[i:i + length]
    for c in range(length):
        out[c] = a[c]


@jit
def _accumulate(out, o, a, i, length):
    out, a = out[o:o + length], a[i:i + length]
    for c in range(length):
        out[c] += a[c]


@jit
def _add(out, o, a, i, b, j, length):
    out, a, b = out[o:o + length], a[i:i + length], b[j:j + length]
    for c in range(length):
        out[c] = a[c] + b[c]


@jit
def _subtract(out, o, a, i, b, j, length):
    out, a, b = out[o:o + length], a[i:i + length], b[j:j + length]
    for c in range(length):
        out[c] = a[c] - b[c]


@jit
def _negate(out, o, a, i, length):
    out, a = out[o:o + length], a[i:i + length]
    for c in range(length):
        out[c] = -a[c]


@jit
def _fill(out, o, value, length):
    out = out[o:o + length]
    for c in range(length):
        out[c] = value


@jit
def im2col(x, stride, padding, dilation, cols):
    height, width, channels = x.shape[1:]
    count, rows, columns, taps_v, taps_h = cols.shape[:5]
    source, target, at = x.reshape(-1), cols.reshape(-1), 0
    for n in range(count):
        for i in range(rows):
            for j in range(columns):
                left = j * stride[1] - padding[1]
                side_by_side = dilation[1] == 1 and 0 <= left <= width - taps_h
                for u in range(taps_v):
                    h = i * stride[0] + u * dilation[0] - padding[0]
                    start = ((n * height + h) * width + left) * channels
                    if not 0 <= h < height:
                        _fill(target, at, 0, taps_h * channels)
                    elif side_by_side:
                        _copy(target, at, source, start, taps_h * channels)
                    else:
                        for v in range(taps_h):
                            if 0 <= left + v * dilation[1] < width:
                                _copy(target, at + v * channels, source, start + v * dilation[1] * channels, channels)
                            else:
                                _fill(target, at + v * channels, 0, channels)
                    at += taps_h * channels


@jit
def col2im(cols, stride, padding, dilation, x):
    height, width, channels = x.shape[1:]
    count, rows, columns, taps_v, taps_h = cols.shape[:5]
    source, target, at = cols.reshape(-1), x.reshape(-1), 0
    for n in range(count):
        _fill(target, n * height * width * channels, 0, height * width * channels)
        for i in range(rows):
            for j in range(columns):
                left = j * stride[1] - padding[1]
                side_by_side = dilation[1] == 1 and 0 <= left <= width - taps_h
                for u in range(taps_v):
                    h = i * stride[0] + u * dilation[0] - padding[0]
                    start = ((n * height + h) * width + left) * channels
                    if 0 <= h < height:
                        if side_by_side:
                            _accumulate(target, start, source, at, taps_h * channels)
                        else:
                            for v in range(taps_h):
                                if 0 <= left + v * dilation[1] < width:
                                    _accumulate(target, start + v * dilation[1] * channels, source, at + v * channels, channels)
                    at += taps_h * channels


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
    mean[:] = 0
    deviations[:] = 0
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
    sums[:] = 0
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
        p[k] -= step * m[k] / (v[k] ** kind(0.5) / root + eps)


@jit
def _tiles(combination, outputs):
    """How many tiles an axis of `outputs` has in a combination: rounded up in 0 and 1, rounded down in 2."""
    return (outputs + 1) // 2 if combination < 2 else outputs // 2


@jit
def _start(k, l, n, t, count, rows, columns, length):
    """Where row t of tiles of image n begins in block 3*k + l of `parts`."""
    across = columns + (columns + 1) // 2                                               # tiles of a row in all three l
    block = count * (k * ((rows + 1) // 2) * across + _tiles(k, rows) * l * ((columns + 1) // 2))
    return (block + (n * _tiles(k, rows) + t) * _tiles(l, columns)) * length


@jit
def tile_image(x, padding, rows, columns, parts):
    count, height, width, channels = x.shape
    top, left = padding
    run = 2 * channels                              # pixels 2q and 2q + 1: both horizontal phases
    line = (columns + 1) * run                      # a row of the padded image
    padded = np.zeros(2 * (rows + 1) * line, x.dtype)
    combined = np.empty(3 * 2 * line, x.dtype)       # (k, e, line): the rows' combinations of one row of tiles
    high = min(height, 2 * (rows + 1) - top)
    wide = min(width, 2 * (columns + 1) - left)
    source = x.reshape(-1)
    for n in range(count):
        for h in range(high):
            _copy(padded, (top + h) * line + left * channels, source, (n * height + h) * width * channels, wide * channels)
        for t in range((rows + 1) // 2):
            both = 2 * t + 1 < rows                 # does this tile have its second output?
            d0, d1, d2 = 4 * t * line, (4 * t + 2) * line, (4 * t + 4) * line           # rows d0, d1, d2 of phase 0; phase 1 follows each
            _subtract(combined, 0, padded, d0, padded, d1, 2 * line)
            _copy(combined, 2 * line, padded, d1, 2 * line)
            if both:
                _subtract(combined, 4 * line, padded, d1, padded, d2, 2 * line)
            for k in range(3 if both else 2):
                out0, out1, out2 = (_start(k, 0, n, t, count, rows, columns, 2 * run), _start(k, 1, n, t, count, rows, columns, 2 * run),
                                    _start(k, 2, n, t, count, rows, columns, 2 * run))
                for s in range((columns + 1) // 2):
                    for e in range(2):
                        d, at = (2 * k + e) * line + 2 * s * run, (2 * s + e) * run
                        _subtract(parts, out0 + at, combined, d, combined, d + run, run)
                        _copy(parts, out1 + at, combined, d + run, run)
                        if 2 * s + 1 < columns:
                            _subtract(parts, out2 + at, combined, d + run, combined, d + 2 * run, run)


@jit
def _spread(out, d0, d1, d2, parts, part0, part1, part2, both, length):
    """The transpose of a tile's differences: d0 += part0, d1 = part1 - part0 + part2, d2 = -part2 (which the next tile adds to)."""
    _accumulate(out, d0, parts, part0, length)
    _subtract(out, d1, parts, part1, parts, part0, length)
    if both:
        _accumulate(out, d1, parts, part2, length)
        _negate(out, d2, parts, part2, length)


@jit
def untile_image(parts, padding, rows, columns, x):
    count, height, width, channels = x.shape
    top, left = padding
    run = 2 * channels
    line = (columns + 1) * run
    padded = np.empty(2 * (rows + 1) * line, x.dtype)
    combined = np.empty(3 * 2 * line, x.dtype)
    high = min(height, 2 * (rows + 1) - top)
    wide = min(width, 2 * (columns + 1) - left)
    target = x.reshape(-1)
    for n in range(count):
        _fill(padded, 0, 0, 2 * line)
        for t in range((rows + 1) // 2):
            both = 2 * t + 1 < rows
            for k in range(3 if both else 2):
                part0, part1, part2 = (_start(k, 0, n, t, count, rows, columns, 2 * run), _start(k, 1, n, t, count, rows, columns, 2 * run),
                                       _start(k, 2, n, t, count, rows, columns, 2 * run))
                for e in range(2):
                    _fill(combined, (2 * k + e) * line, 0, run)
                    for s in range((columns + 1) // 2):
                        d, at = (2 * k + e) * line + 2 * s * run, (2 * s + e) * run
                        _spread(combined, d, d + run, d + 2 * run, parts, part0 + at, part1 + at, part2 + at, 2 * s + 1 < columns, run)
            _spread(padded, 4 * t * line, (4 * t + 2) * line, (4 * t + 4) * line, combined, 0, 2 * line, 4 * line, both, 2 * line)
        if high < height or wide < width:
            _fill(target, n * height * width * channels, 0, height * width * channels)
        for h in range(high):
            _copy(target, (n * height + h) * width * channels, padded, (top + h) * line + left * channels, wide * channels)


@jit
def tile_features(y, parts):
    count, rows, columns, channels = y.shape
    line = columns * channels
    combined = np.empty(3 * line, y.dtype)
    source = y.reshape(-1)
    for n in range(count):
        for t in range((rows + 1) // 2):
            both = 2 * t + 1 < rows
            y0, y1 = (n * rows + 2 * t) * line, (n * rows + 2 * t + 1) * line
            _copy(combined, 0, source, y0, line)
            if both:
                _add(combined, line, source, y0, source, y1, line)
                _negate(combined, 2 * line, source, y1, line)
            else:
                _copy(combined, line, source, y0, line)
            for k in range(3 if both else 2):
                out0, out1, out2 = (_start(k, 0, n, t, count, rows, columns, channels), _start(k, 1, n, t, count, rows, columns, channels),
                                    _start(k, 2, n, t, count, rows, columns, channels))
                for s in range((columns + 1) // 2):
                    y0, at = k * line + 2 * s * channels, s * channels
                    _copy(parts, out0 + at, combined, y0, channels)
                    if 2 * s + 1 < columns:
                        _add(parts, out1 + at, combined, y0, combined, y0 + channels, channels)
                        _negate(parts, out2 + at, combined, y0 + channels, channels)
                    else:
                        _copy(parts, out1 + at, combined, y0, channels)


@jit
def untile_features(parts, y):
    count, rows, columns, channels = y.shape
    line = ((columns + 1) // 2) * channels          # a row of tiles
    combined = np.empty(3 * line, y.dtype)
    target = y.reshape(-1)
    for n in range(count):
        for i in range(rows):
            for l in range(3):
                wide, second = _tiles(l, columns) * channels, _start(1, l, n, i // 2, count, rows, columns, channels)
                if i % 2 == 0:
                    _add(combined, l * line, parts, _start(0, l, n, i // 2, count, rows, columns, channels), parts, second, wide)
                else:
                    _subtract(combined, l * line, parts, second, parts, _start(2, l, n, i // 2, count, rows, columns, channels), wide)
            for j in range(columns):
                out, at = ((n * rows + i) * columns + j) * channels, j // 2 * channels
                if j % 2 == 0:
                    _add(target, out, combined, at, combined, line + at, channels)
                else:
                    _subtract(target, out, combined, line + at, combined, 2 * line + at, channels)
