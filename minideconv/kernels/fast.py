"""The loops of `reference.py` spelled out and compiled by Numba: same names, same signatures, same results.

Each is a plain Python function first: NUMBA_DISABLE_JIT=1 steps through it. No `parallel=True` here: callers split the batch over
`parallel.run`, and `nogil` lets those threads compute at the same time. Scalars are turned into the arrays' type, since a single
float64 would turn a loop over float32 into a float64 one.
"""
import numpy as np
from numba import njit

# NumPy's way with x / 0 (infinity, not an exception): a check at each division would keep a loop from using vector instructions.
jit = njit(nogil=True, cache=True, error_model="numpy")


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
        p[k] -= step * m[k] / (np.sqrt(v[k]) / root + eps)


@jit
def _combine(signs, terms, out, o, a, i, step, length):
    """out = sum of signs[r] * the r-th of `terms` runs of a, `step` apart; signs are -1, 0 or 1."""
    first = 0
    while signs[first] == 0:
        first += 1
    second = first + 1
    while second < terms and signs[second] == 0:
        second += 1
    if second >= terms:
        if signs[first] > 0:
            _copy(out, o, a, i + first * step, length)
        else:
            _negate(out, o, a, i + first * step, length)
        return
    if signs[first] < 0:
        first, second = second, first               # no combination begins with two minus signs
    if signs[second] > 0:
        _add(out, o, a, i + first * step, a, i + second * step, length)
    else:
        _subtract(out, o, a, i + first * step, a, i + second * step, length)
    for r in range(max(first, second) + 1, terms):
        if signs[r] > 0:
            _accumulate(out, o, a, i + r * step, length)
        elif signs[r] < 0:
            _subtract(out, o, out, o, a, i + r * step, length)


@jit
def _spread(signs, out, o, step, a, i, length):
    """The transpose of _combine: signs[r] * the run of a is added to the r-th run of out, `step` apart."""
    for r in range(len(signs)):
        if signs[r] > 0:
            _accumulate(out, o + r * step, a, i, length)
        elif signs[r] < 0:
            _subtract(out, o + r * step, out, o + r * step, a, i, length)


@jit
def _count(k, combinations, outputs):
    """How many tiles an axis of `outputs` has in combination k."""
    return (outputs + 1) // 2 if k < combinations - 1 else outputs // 2


@jit
def _start(k, l, n, t, combinations, count, rows, columns, length):
    """Where row t of tiles of image n begins in block (k, l) of `parts`."""
    across = (combinations - 1) * ((columns + 1) // 2) + columns // 2               # tiles of a row of all blocks (k, ...)
    block = count * (k * ((rows + 1) // 2) * across + _count(k, combinations, rows) * l * ((columns + 1) // 2))
    return (block + (n * _count(k, combinations, rows) + t) * _count(l, combinations, columns)) * length


@jit
def tile(x, matrix, phases, padding, rows, columns, parts):
    count, height, width, channels = x.shape
    combinations, taps = matrix.shape
    top, left = padding
    run = phases * channels                                             # the phases of an entry along a row: neighbours in memory
    line = (2 * ((columns + 1) // 2 - 1) + taps) * run                  # a row of the padded image
    tall = phases * (2 * ((rows + 1) // 2 - 1) + taps)
    padded = np.zeros(tall * line, x.dtype)
    combined = np.empty(phases * line, x.dtype)                         # a row of tiles, combined over rows: (e, entries, f, c)
    low, high = max(0, -top), min(height, tall - top)
    begin, wide = max(0, -left), min(width, line // channels - left)
    source = x.reshape(-1)
    for n in range(count):
        for h in range(low, high):
            _copy(padded, (top + h) * line + (left + begin) * channels, source, ((n * height + h) * width + begin) * channels, (wide - begin) * channels)
        for t in range((rows + 1) // 2):
            for k in range(combinations if 2 * t + 1 < rows else combinations - 1):
                _combine(matrix[k], taps, combined, 0, padded, 2 * t * phases * line, phases * line, phases * line)
                for l in range(combinations):
                    out = _start(k, l, n, t, combinations, count, rows, columns, phases * run)
                    for s in range(_count(l, combinations, columns)):
                        for e in range(phases):
                            _combine(matrix[l], taps, parts, out + (s * phases + e) * run, combined, e * line + 2 * s * run, run, run)


@jit
def untile(parts, matrix, phases, padding, rows, columns, x):
    count, height, width, channels = x.shape
    combinations, taps = matrix.shape
    top, left = padding
    run = phases * channels
    line = (2 * ((columns + 1) // 2 - 1) + taps) * run
    tall = phases * (2 * ((rows + 1) // 2 - 1) + taps)
    padded = np.empty(tall * line, x.dtype)
    combined = np.empty(phases * line, x.dtype)
    low, high = max(0, -top), min(height, tall - top)
    begin, wide = max(0, -left), min(width, line // channels - left)
    target = x.reshape(-1)
    for n in range(count):
        _fill(padded, 0, 0, padded.size)
        for t in range((rows + 1) // 2):
            for k in range(combinations if 2 * t + 1 < rows else combinations - 1):
                _fill(combined, 0, 0, combined.size)
                for l in range(combinations):
                    start = _start(k, l, n, t, combinations, count, rows, columns, phases * run)
                    for s in range(_count(l, combinations, columns)):
                        for e in range(phases):
                            _spread(matrix[l], combined, e * line + 2 * s * run, run, parts, start + (s * phases + e) * run, run)
                _spread(matrix[k], padded, 2 * t * phases * line, phases * line, combined, 0, phases * line)
        if high - low < height or wide - begin < width:
            _fill(target, n * height * width * channels, 0, height * width * channels)
        for h in range(low, high):
            _copy(target, ((n * height + h) * width + begin) * channels, padded, (top + h) * line + (left + begin) * channels, (wide - begin) * channels)
