"""The contract of every hot loop, in plain NumPy: what it reads, what it writes, in which shape.

Notation: images x (N, H, W, C); features y (N, OH, OW, O); kernels of (KH, KW) taps; u, v number the taps; s, p, d are stride, padding
(above and left) and dilation, each (vertical, horizontal). Tap u of window i lies on row i * s + u * d - p of the image. Padding may be
negative here: then windows start inside the image. Every kernel writes into its last argument or arguments and returns nothing.
"""
import numpy as np

from ..shapes import valid_range

PANEL_BYTES = 128           # a line of a panel: two of the widest vectors that processors have


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


# The three operations of conv.py on columns. A right factor of a product is cut into panels of PANEL_BYTES, zeros after the last column, so that
# the columns that are multiplied together lie together in memory.

def pack(b, transposed, first, panels):
    """Panel `first` and those after it: panels[p, k, lane] = b[k, (first + p) * lanes + lane], zero beyond; (panels, K, lanes). b may be given transposed."""
    b = b.T if transposed else b
    many, inner, lanes = panels.shape
    b = b[:, first * lanes:(first + many) * lanes]
    panels[...] = np.pad(b, ((0, 0), (0, many * lanes - b.shape[1]))).reshape(inner, many, lanes).swapaxes(0, 1)


def _unpacked(panels, columns):
    many, inner, lanes = panels.shape
    return panels.swapaxes(0, 1).reshape(inner, many * lanes)[:, :columns]


def gather(x, panels, kernel, stride, padding, dilation, y):
    """y (N, OH, OW, O) = the columns of x times the matrix (KH*KW*C, O) of the panels."""
    cols = np.empty((*y.shape[:3], *kernel, x.shape[3]), x.dtype)
    im2col(x, stride, padding, dilation, cols)
    y[...] = (cols.reshape(-1, panels.shape[1]) @ _unpacked(panels, y.shape[3])).reshape(y.shape)


def scatter(y, panels, kernel, stride, padding, dilation, x):
    """The transpose of gather: y times the matrix (O, KH*KW*C) of the panels, as columns added up to x (N, H, W, C)."""
    cols = y.reshape(-1, y.shape[3]) @ _unpacked(panels, kernel[0] * kernel[1] * x.shape[3])
    col2im(cols.reshape(*y.shape[:3], *kernel, x.shape[3]), stride, padding, dilation, x)


def correlate(x, y, kernel, stride, padding, dilation, add, w):
    """w (KH*KW*C, O) = (or += where add is not 0) the columns of x, transposed, times y (N, OH, OW, O)."""
    cols = np.empty((*y.shape[:3], *kernel, x.shape[3]), x.dtype)
    im2col(x, stride, padding, dilation, cols)
    share = cols.reshape(-1, len(w)).T @ y.reshape(-1, y.shape[3])
    w[...] = w + share if add else share


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


# The fewer products of tiles.py. An axis of n outputs is cut into ceil(n / 2) tiles of two, each computed from len(matrix[0]) entries; row k of
# `matrix` says how combination k adds them up. The last combination serves a tile's second output only, so an odd last tile has none:
# it has floor(n / 2). `parts` is one flat buffer of blocks (N, tiles, tiles, length), block (k, l) for combination k of rows and l of columns.

def _counts(combinations, outputs):
    """How many tiles an axis of `outputs` has in each combination."""
    return [(outputs + 1) // 2] * (combinations - 1) + [outputs // 2]


def _blocks(parts, matrix, count, rows, columns, length):
    """The blocks of `parts` as views (N, tiles, tiles, length), one list for each combination of rows."""
    views, start = [], 0
    for vertical in _counts(len(matrix), rows):
        views.append([])
        for horizontal in _counts(len(matrix), columns):
            size = count * vertical * horizontal * length
            views[-1].append(parts[start:start + size].reshape(count, vertical, horizontal, length))
            start += size
    return views


def _entries(x, matrix, phases, padding, rows, columns):
    """Zeros for the entries (N, L, L, phases^2 * C) of all tiles, a view of them as a padded image, and where x lies in that, and it in x."""
    n, height, width, channels = x.shape
    tall, wide = (2 * ((outputs + 1) // 2 - 1) + len(matrix[0]) for outputs in (rows, columns))
    image = np.zeros((n, phases * tall, phases * wide, channels), x.dtype)
    inside, source = [slice(None)], [slice(None)]
    for size, room, before in ((height, phases * tall, padding[0]), (width, phases * wide, padding[1])):
        low, high = max(0, before), max(0, min(room, size + before))
        inside.append(slice(min(low, high), high))
        source.append(slice(min(low, high) - before, high - before))
    return image, tuple(inside), tuple(source)


def _tiles(x, matrix, phases, padding, rows, columns):
    """Combination k of rows and l of columns of the entries of every tile of x (N, H, W, C), for all (k, l): matrices (tiles, length).

    Entry (r, q) is the phases^2 pixels (phases * r + e, phases * q + f) of x behind `padding` zeros above and left (it may be negative: then x is
    cropped there): length phases^2 * C, ordered (e, f, c). (rows, columns) is how many outputs there are.
    """
    image, inside, source = _entries(x, matrix, phases, padding, rows, columns)
    image[inside] = x[source]
    n, tall, wide, channels = image.shape
    d = image.reshape(n, tall // phases, phases, wide // phases, phases * channels).transpose(0, 1, 3, 2, 4)
    d = d.reshape(n, tall // phases, wide // phases, phases * phases * channels)
    for across, signs in zip(_counts(len(matrix), rows), matrix):
        combined = sum(sign * d[:, r:r + 2 * across:2][:, :across] for r, sign in enumerate(signs))
        for many, signs in zip(_counts(len(matrix), columns), matrix):
            yield sum(sign * combined[:, :, q:q + 2 * many:2][:, :, :many] for q, sign in enumerate(signs)).reshape(-1, d.shape[3])


def tile_products(x, matrix, phases, padding, rows, columns, panels, out):
    """Every matrix of tiles times its own right factor, one below the other. panels (blocks, panels, K, lanes), out (tiles of all blocks, N)."""
    start = 0
    for part, right in zip(_tiles(x, matrix, phases, padding, rows, columns), panels):
        out[start:start + len(part)] = part @ _unpacked(right, out.shape[1])
        start += len(part)


def tile_transposed_products(x, x_matrix, phases, padding, y, y_matrix, add, out):
    """out[n] = (or += where add is not 0) tiles.T @ tiles, those of x and those of the features y (N, rows, columns, O). out is (blocks, K, O)."""
    for left, right, share in zip(_tiles(x, x_matrix, phases, padding, *y.shape[1:3]), _tiles(y, y_matrix, 1, (0, 0), *y.shape[1:3]), out):
        share[...] = share + left.T @ right if add else left.T @ right


def untile(parts, matrix, phases, padding, rows, columns, x):
    """The transpose of tiling: every part goes back to the pixels that it was made of; what lies on one pixel adds up."""
    image, inside, source = _entries(x, matrix, phases, padding, rows, columns)
    n, tall, wide, channels = image.shape
    d = np.zeros((n, tall // phases, wide // phases, phases * phases * channels), x.dtype)
    for vertical, across, signs in zip(_blocks(parts, matrix, n, rows, columns, d.shape[3]), _counts(len(matrix), rows), matrix):
        combined = np.zeros((n, across, *d.shape[2:]), x.dtype)
        for part, weights in zip(vertical, matrix):
            for q, sign in enumerate(weights):
                combined[:, :, q:q + 2 * part.shape[2]:2][:, :, :part.shape[2]] += sign * part
        for r, sign in enumerate(signs):
            d[:, r:r + 2 * across:2][:, :across] += sign * combined
    d = d.reshape(n, tall // phases, wide // phases, phases, phases * channels).transpose(0, 1, 3, 2, 4)
    x[...] = 0
    x[source] = d.reshape(image.shape)[inside]


def tile_kernel(w, matrix, phases, transposed, n, panels):
    """The n-th combination of the taps of w (KH, KW, C, O), or its transpose, as a right factor; tap u = phases * a + e is tap a of phase e."""
    k, l = divmod(n, len(matrix))
    block = np.einsum("a,b,aebfco->efco", matrix[k], matrix[l], _phases(w, matrix, phases)).astype(w.dtype)
    pack(block.reshape(-1, w.shape[3]), transposed, 0, panels)


def untile_kernel(shares, matrix, phases, u, w):
    """Row u of taps, w (KW, C, O), of the transpose of tile_kernel, of the sum of all shares (shares, blocks, K, O)."""
    combinations, taps = matrix.shape
    total = shares.sum(axis=0).reshape(combinations, combinations, phases, phases, *w.shape[1:])
    a, e = divmod(u, phases)
    rows = np.einsum("k,lb,klfco->bfco", matrix[:, a], matrix, total[:, :, e])
    w[...] = rows.reshape(taps * phases, *w.shape[1:])[:len(w)]


def _phases(w, matrix, phases):
    """(KH, KW, C, O) -> (a, e, b, f, C, O), zeros for taps that the kernel does not have."""
    side = phases * len(matrix[0])
    w = np.pad(w, ((0, side - w.shape[0]), (0, side - w.shape[1]), (0, 0), (0, 0)))
    return w.reshape(side // phases, phases, side // phases, phases, *w.shape[2:])
