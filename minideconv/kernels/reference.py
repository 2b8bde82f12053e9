"""The contract of every hot loop, in plain NumPy: what it reads, what it writes, in which shape.

Notation: images x (N, H, W, C); features y (N, OH, OW, O); kernels of (KH, KW) taps; u, v number the taps; s, p, d are stride, padding
(above and left) and dilation, each (vertical, horizontal). Tap u of window i lies on row i * s + u * d - p of the image. Padding may be
negative here: then windows start inside the image. Every kernel writes into its last argument or arguments and returns nothing.
"""
import numpy as np

from ..shapes import valid_range


def _taps(image, features, kernel, stride, padding, dilation):
    """For every tap: u, v, the windows (rows, columns) in which it lies on the image, and the pixels it lies on there."""
    for u in range(kernel[0]):
        for v in range(kernel[1]):
            offsets = u * dilation[0] - padding[0], v * dilation[1] - padding[1]
            windows, pixels = [], []
            for offset, s, size, count in zip(offsets, stride, image, features):
                low, high = valid_range(offset, s, size, count)
                windows.append(slice(low, high))
                pixels.append(slice(low * s + offset, (high - 1) * s + offset + 1, s) if high > low else slice(0, 0))
            yield u, v, windows, pixels


def im2col(x, stride, padding, dilation, cols):
    """cols[n, i, j, u, v] = x[n, i*s + u*d - p, j*s + v*d - p], zero outside the image. cols is (N, OH, OW, KH, KW, C)."""
    cols[...] = 0
    for u, v, windows, pixels in _taps(x.shape[1:3], cols.shape[1:3], cols.shape[3:5], stride, padding, dilation):
        cols[:, windows[0], windows[1], u, v] = x[:, pixels[0], pixels[1]]


def col2im(cols, stride, padding, dilation, x):
    """The transpose of im2col: x[n, i*s + u*d - p, j*s + v*d - p] is the sum of all cols[n, i, j, u, v] that lie there."""
    x[...] = 0
    for u, v, windows, pixels in _taps(x.shape[1:3], cols.shape[1:3], cols.shape[3:5], stride, padding, dilation):
        x[:, pixels[0], pixels[1]] += cols[:, windows[0], windows[1], u, v]


def max_switches(x, kernel, stride, padding, switches):
    """switches[n, i, j, c] = h * W + w of the largest pixel in window (i, j), the first of equals; NaN is the largest.

    Padding pixels never win. switches is (N, OH, OW, C), integers.
    """
    height, width = x.shape[1:3]
    best = np.full(switches.shape, -np.inf, x.dtype)
    switches[...] = -1
    for u, v, windows, pixels in _taps((height, width), switches.shape[1:3], kernel, stride, padding, (1, 1)):
        value = x[:, pixels[0], pixels[1]]
        h = np.arange(height)[pixels[0]][:, None, None]
        w = np.arange(width)[pixels[1]][:, None]
        part = np.s_[:, windows[0], windows[1]]
        wins = (switches[part] < 0) | (value > best[part]) | (np.isnan(value) & ~np.isnan(best[part]))
        best[part] = np.where(wins, value, best[part])
        switches[part] = np.where(wins, h * width + w, switches[part])


def take_pixels(x, switches, y):
    """y[n, i, j, c] = the pixel of plane (n, c) whose flat index is switches[n, i, j, c]."""
    n, c = x.shape[0], x.shape[3]
    y[...] = np.take_along_axis(x.reshape(n, -1, c), switches.reshape(n, -1, c), axis=1).reshape(y.shape)


def put_pixels(y, switches, x):
    """The transpose of take_pixels: every y is added to its pixel of x; pixels that nothing points at are zero."""
    n, c = x.shape[0], x.shape[3]
    x[...] = 0
    np.add.at(x.reshape(n, -1, c), (np.arange(n)[:, None, None], switches.reshape(n, -1, c), np.arange(c)), y.reshape(n, -1, c))


def gate(g, x, slope, out):
    """out = g where x > 0, slope * g elsewhere: leaky ReLU is gate(x, x), its gradient gate(g, x). One shape for all."""
    np.multiply(g, np.where(x > 0, x.dtype.type(1), x.dtype.type(slope)), out=out)


def moments(x, mean, deviations):
    """Over the rows of x (R, C): mean (C,), and deviations (C,), the sum of squared differences from it."""
    mean[...] = x.mean(axis=0)
    deviations[...] = ((x - mean) ** 2).sum(axis=0)


def normalise(x, scale, shift, slope, out):
    """Rows of out (R, C) = z where z > 0, slope * z elsewhere, with z = x * scale + shift. slope 1 is no activation."""
    z = x * scale + shift
    gate(z, z, slope, out)


def normalise_sums(g, x, scale, shift, slope, mean, inverse, sums):
    """Over the rows: sums[0] = sum of g', sums[1] = sum of g' * xhat, with xhat = (x - mean) * inverse.

    g' is g through the activation of `normalise`. sums is (2, C).
    """
    through = np.empty_like(g)
    gate(g, x * scale + shift, slope, through)
    sums[0] = through.sum(axis=0)
    sums[1] = (through * ((x - mean) * inverse)).sum(axis=0)


def normalise_input(g, x, scale, shift, slope, along, constant, out):
    """Rows of out = g' * scale + x * along + constant: the input's gradient once `normalise_sums` is known."""
    gate(g, x * scale + shift, slope, out)
    out *= scale
    out += x * along + constant


def adam(p, g, m, v, rate, beta1, beta2, eps, weight_decay, correction1, correction2):
    """One step of Adam on flat arrays, in place (Kingma and Ba 2015); correction = 1 - beta ** step."""
    g = g + weight_decay * p
    m += (1 - beta1) * (g - m)
    v *= beta2
    v += (1 - beta2) * g * g
    p -= (rate / correction1) * m / (np.sqrt(v) / correction2 ** 0.5 + eps)


# The three-for-two products of tiles.py. `parts` is one flat buffer that holds nine blocks, block 3*k + l for combination k of rows and
# l of columns. An axis of n outputs has ceil(n / 2) tiles, and floor(n / 2) in combination 2, which an odd last output has no use for.

def _blocks(parts, count, rows, columns, length):
    """The nine blocks of `parts` as views (count, tiles, tiles, length)."""
    views, start = [], 0
    for vertical in ((rows + 1) // 2, (rows + 1) // 2, rows // 2):
        for horizontal in ((columns + 1) // 2, (columns + 1) // 2, columns // 2):
            size = count * vertical * horizontal * length
            views.append(parts[start:start + size].reshape(count, vertical, horizontal, length))
            start += size
    return views


def _differences(d, count, axis):
    """The three combinations of a phase d (..., count + 1, ...) along `axis`: d0 - d1, d1, d1 - d2 of each tile's d0, d1, d2."""
    d = np.moveaxis(d, axis, 0)
    even, odd, last = d[0:count:2], d[1:count + 1:2], d[2:count + 1:2]
    return [np.moveaxis(c, 0, axis) for c in (even - odd, odd, odd[:len(last)] - last)]


def _sums(y, axis):
    """The three combinations of outputs y along `axis`: y0, y0 + y1, -y1 of each tile's y0, y1."""
    y = np.moveaxis(y, axis, 0)
    even, odd = y[0::2], y[1::2]
    both = even.copy()
    both[:len(odd)] += odd
    return [np.moveaxis(c, 0, axis) for c in (even, both, -odd)]


def tile_image(x, padding, rows, columns, parts):
    """Block 3k+l (N, tiles, tiles, 4*C) = combination k of rows and l of columns of the four phases of x (N, H, W, C).

    The phase (e, f) of the padded image is its pixels (2r + e, 2q + f); (rows, columns) is how many outputs there are.
    """
    n, height, width, channels = x.shape
    padded = np.zeros((n, 2 * (rows + 1), 2 * (columns + 1), channels), x.dtype)
    h, w = min(height, padded.shape[1] - padding[0]), min(width, padded.shape[2] - padding[1])
    padded[:, padding[0]:padding[0] + h, padding[1]:padding[1] + w] = x[:, :h, :w]
    phases = padded.reshape(n, rows + 1, 2, columns + 1, 2 * channels).transpose(0, 1, 3, 2, 4)         # (N, r, q, e, (f, c))
    phases = phases.reshape(n, rows + 1, columns + 1, 4 * channels)
    out = _blocks(parts, n, rows, columns, 4 * channels)
    for k, vertical in enumerate(_differences(phases, rows, 1)):
        for l, part in enumerate(_differences(vertical, columns, 2)):
            out[3 * k + l][...] = part


def untile_image(parts, padding, rows, columns, x):
    """The transpose of tile_image: every part goes back to the pixels that it was made of; what lies on one pixel adds up."""
    n, height, width, channels = x.shape

    def spread(combined, count, axis):
        """The transpose of `_differences`."""
        first, second, third = (np.moveaxis(c, axis, 0) for c in combined)
        d = np.zeros((count + 1, *first.shape[1:]), x.dtype)
        d[0:count:2] += first
        d[1:count + 1:2] += second - first
        d[1:count:2] += third
        d[2:count + 1:2] -= third
        return np.moveaxis(d, 0, axis)
    nine = _blocks(parts, n, rows, columns, 4 * channels)
    phases = spread([spread(nine[3 * k:3 * k + 3], columns, 2) for k in range(3)], rows, 1)
    phases = phases.reshape(n, rows + 1, columns + 1, 2, 2 * channels)                                  # (N, r, q, e, (f, c))
    padded = phases.transpose(0, 1, 3, 2, 4).reshape(n, 2 * (rows + 1), 2 * (columns + 1), channels)
    x[...] = 0
    h, w = min(height, padded.shape[1] - padding[0]), min(width, padded.shape[2] - padding[1])
    x[:, :h, :w] = padded[:, padding[0]:padding[0] + h, padding[1]:padding[1] + w]


def tile_features(y, parts):
    """Block 3k+l (N, tiles, tiles, O) = combination k of rows and l of columns of y (N, OH, OW, O)."""
    out = _blocks(parts, *y.shape)
    for k, vertical in enumerate(_sums(y, 1)):
        for l, part in enumerate(_sums(vertical, 2)):
            out[3 * k + l][...] = part


def untile_features(parts, y):
    """The transpose of tile_features: y0 = part0 + part1, y1 = part1 - part2, along both axes."""

    def outputs(first, second, third, axis):
        first, second, third = (np.moveaxis(part, axis, 0) for part in (first, second, third))
        out = np.empty((len(second) + len(third), *second.shape[1:]), y.dtype)
        out[0::2] = first + second
        out[1::2] = second[:len(third)] - third
        return np.moveaxis(out, 0, axis)
    nine = _blocks(parts, *y.shape)
    y[...] = outputs(*(outputs(*nine[3 * k:3 * k + 3], 2) for k in range(3)), 1)
