"""Every hot operation in plain NumPy, arrays in, array out: the place to read, and to step through,
what the engine computes.

Notation: images x (N, H, W, C); features y (N, OH, OW, O); a kernel w (KH, KW, C, O), its taps
numbered u, v. A Window holds the integers of a convolution: tap u of window i lies on row i *
stride + u * dilation - padding of the image, and likewise across. `kernels/fast/` has the same
functions with the same results, and everything about speed.
"""
from typing import NamedTuple

import numpy as np

# The three operations of conv.py, by columns: every window of the image as a row.


def _canvas(window):
    """The image with its padding, and where taps lie on it: (height, width), and u, v, rows,
    columns for every tap.

    It is as large as the image, its padding, and whatever the windows reach. Rows and columns are
    slices: the pixels under tap (u, v) of all windows at once.
    """
    (s, t), (d, e), (rows, columns) = window.stride, window.dilation, window.features
    height = max(window.padding[0] + window.image[0], (rows - 1) * s + d * (window.kernel[0] - 1) + 1)
    width = max(window.padding[1] + window.image[1], (columns - 1) * t + e * (window.kernel[1] - 1) + 1)
    down = [slice(u * d, u * d + (rows - 1) * s + 1, s) for u in range(window.kernel[0])]
    across = [slice(v * e, v * e + (columns - 1) * t + 1, t) for v in range(window.kernel[1])]
    return (height, width), [(u, v, down[u], across[v]) for u in range(len(down)) for v in range(len(across))]


def im2col(x, window):
    """cols[n, i, j, u, v] = x[n, i*s + u*d - p, j*s + v*d - p], zeros where padding lies: (N, H, W,
    C) -> (N, OH, OW, KH, KW, C).
    """
    (top, left), (height, width) = window.padding, window.image
    size, taps = _canvas(window)
    canvas = np.zeros((len(x), *size, x.shape[3]), x.dtype)
    canvas[:, top:top + height, left:left + width] = x
    cols = np.empty((len(x), *window.features, *window.kernel, x.shape[3]), x.dtype)
    for u, v, rows, columns in taps:
        cols[:, :, :, u, v] = canvas[:, rows, columns]
    return cols


def col2im(cols, window):
    """The transpose of im2col: every row is stamped where it came from, what lies on one pixel adds
    up; padding is cropped.
    """
    (top, left), (height, width) = window.padding, window.image
    size, taps = _canvas(window)
    canvas = np.zeros((len(cols), *size, cols.shape[5]), cols.dtype)
    for u, v, rows, columns in taps:
        canvas[:, rows, columns] += cols[:, :, :, u, v]
    return np.ascontiguousarray(canvas[:, top:top + height, left:left + width])


def by_group(product, window, *arrays):
    """`product` for each group of channels (the last axis of all arrays) on its own, joined again.
    """
    one = window._replace(groups=1)
    groups = zip(*(np.split(array, window.groups, axis=-1) for array in arrays), strict=True)
    return np.concatenate([product(*group, one) for group in groups], axis=-1)


@np.errstate(invalid="ignore", over="ignore")       # infinities are numbers like others here
def gather(x, w, window, bias=None, slope=1.0):
    """dT/dy: the columns of the image times the kernel, plus a bias (O,), then leaky ReLU (slope 1:
    none). (N, H, W, C), (KH, KW, C, O) -> (N, OH, OW, O).
    """
    if window.groups > 1:
        y = by_group(gather, window, x, w)
    else:
        matrix = w.reshape(-1, w.shape[3])                          # (KH*KW*C, O)
        cols = im2col(x, window).reshape(-1, len(matrix))           # (N*OH*OW, KH*KW*C)
        y = (cols @ matrix).reshape(len(x), *window.features, w.shape[3])
    y = y if bias is None else y + bias
    return y if slope == 1 else gate(y, y, slope)


@np.errstate(invalid="ignore", over="ignore")
def scatter(y, w, window, bias=None, slope=1.0):
    """dT/dx: every feature times the kernel, stamped where its window lies, plus a bias (C,), then
    leaky ReLU. (N, OH, OW, O), (KH, KW, C, O) -> (N, H, W, C).
    """
    if window.groups > 1:
        x = by_group(scatter, window, y, w)
    else:
        matrix = w.reshape(-1, w.shape[3])                          # (KH*KW*C, O)
        cols = y.reshape(-1, w.shape[3]) @ matrix.T                 # (N*OH*OW, KH*KW*C)
        x = col2im(cols.reshape(len(y), *window.features, *w.shape[:3]), window)
    x = x if bias is None else x + bias
    return x if slope == 1 else gate(x, x, slope)


@np.errstate(invalid="ignore", over="ignore")
def correlate(x, y, window):
    """dT/dw: the columns of the image, transposed, times the features. (N, H, W, C), (N, OH, OW, O)
    -> (KH, KW, C, O).
    """
    if window.groups > 1:
        return by_group(correlate, window, x, y)
    cols = im2col(x, window)                                        # (N, OH, OW, KH, KW, C)
    taps = cols.shape[3:]
    matrix = cols.reshape(-1, np.prod(taps)).T @ y.reshape(-1, y.shape[3])                      # (KH*KW*C, O)
    return matrix.reshape(*taps, y.shape[3])


# Pooling with switches.

def max_switches(x, window):
    """The pixel h * W + w of the largest number in each window, the first of equals: (N, H, W, C)
    -> int64 (N, OH, OW, C).

    NaN counts as the largest. Padding never wins.
    """
    height, width = window.image
    taps = window.kernel[0] * window.kernel[1]
    places = np.arange(height * width).reshape(1, height, width, 1) + 1
    places = im2col(places, window).reshape(1, *window.features, taps, 1) - 1                   # -1 is padding
    values = im2col(x, window).reshape(len(x), *window.features, taps, x.shape[3])              # (N, OH, OW, KH*KW, C)
    least = -np.inf if x.dtype.kind == "f" else x.dtype.type(False) if x.dtype.kind == "b" else np.iinfo(x.dtype).min
    largest = np.where(places < 0, least, values).argmax(axis=3, keepdims=True)
    places = np.broadcast_to(places, values.shape)
    first = (places >= 0).argmax(axis=3, keepdims=True)
    switches = np.take_along_axis(places, largest, axis=3)
    return np.where(switches < 0, np.take_along_axis(places, first, axis=3), switches)[:, :, :, 0]


def take_pixels(x, switches):
    """y[n, i, j, c] = the pixel of plane (n, c) whose place h * W + w is switches[n, i, j, c]."""
    n, height, width, c = x.shape
    places = switches.reshape(n, switches.shape[1] * switches.shape[2], c)
    return np.take_along_axis(x.reshape(n, height * width, c), places, axis=1).reshape(switches.shape)


def put_pixels(y, switches, size):
    """The transpose of take_pixels: every y is added to its pixel of an image of `size`; the others are zero."""
    n, c, places = y.shape[0], y.shape[3], y.shape[1] * y.shape[2]
    x = np.zeros((n, size[0] * size[1], c), y.dtype)
    np.add.at(x, (np.arange(n)[:, None, None], switches.reshape(n, places, c), np.arange(c)), y.reshape(n, places, c))
    return x.reshape(n, *size, c)


# Ramps and batch norm.

def gate(g, x, slope):
    """g where x > 0, slope * g elsewhere: leaky ReLU is gate(x, x, slope), its gradient gate(g, x,
    slope).
    """
    return np.where(x > 0, g, g.dtype.type(slope) * g)


class Affine(NamedTuple):
    """z = (x - centre) * scale + shift for each channel, then a ramp: z where z > 0, slope * z
    elsewhere (slope 1: none).
    """
    centre: np.ndarray      # (C,), like the next two
    scale: np.ndarray
    shift: np.ndarray
    slope: float


def moments(x):
    """Mean and (biased) variance of each channel, the last axis of x: float64 (C,), (C,)."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return rows.mean(axis=0), rows.var(axis=0)


def normalise(x, affine):
    """The affine map of each channel and its ramp: an array like x."""
    z = (x - affine.centre) * affine.scale + affine.shift
    return gate(z, z, affine.slope)


def _through(g, x, affine):
    """The gradient g on its way back through the ramp."""
    return gate(g, (x - affine.centre) * affine.scale + affine.shift, affine.slope)


def normalise_sums(g, x, affine):
    """The sums of g' and of g' * (x - centre) for each channel, with g' = g through the ramp:
    float64 (2, C).
    """
    g = _through(g, x, affine)
    axes = tuple(range(x.ndim - 1))
    return np.stack([g.sum(axes, np.float64), (g * (x - affine.centre)).sum(axes, np.float64)])


def normalise_input(g, x, affine, along, constant):
    """g' * scale + (x - centre) * along + constant: the gradient for x once the sums are known.
    along, constant: (C,).
    """
    return _through(g, x, affine) * affine.scale + (x - affine.centre) * along + constant


# What else takes time in a training step.

class AdamStep(NamedTuple):
    """The numbers of one step of Adam; correction = 1 - beta ** step."""
    rate: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    correction1: float
    correction2: float


def adam(p, g, m, v, step):
    """One step of Adam (Kingma and Ba 2015), in place: moves p, and updates the running means m of
    g and v of g * g.
    """
    g = g + step.weight_decay * p
    m += (1 - step.beta1) * (g - m)
    v *= step.beta2
    v += (1 - step.beta2) * g * g
    p -= (step.rate / step.correction1) * m / (np.sqrt(v) / step.correction2 ** 0.5 + step.eps)


def add(a, b):
    """a + b."""
    return a + b


def matmul(a, b, bias=None):
    """np.matmul: (..., M, K) @ (..., K, L) -> (..., M, L); plus a bias (L,) in every row, if there is one."""
    return np.matmul(a, b) if bias is None else np.matmul(a, b) + bias


def sum(x, axes, keepdims):
    """The sum over a tuple of axes. Integers and booleans add up in 64 bits, as in NumPy."""
    return x.sum(axis=axes, keepdims=keepdims)


def join(arrays, axis):
    """np.concatenate; of one array a copy."""
    return np.concatenate(arrays, axis)


def share(g, x, top, axes):
    """g * shares: of the entries of x that equal `top` (its extreme along axes, which are kept there, as in g) each has
    an equal share, the others none. NaN counts as equal to NaN.
    """
    ties = x == top
    if np.isnan(top).any():
        ties |= (x != x) & (top != top)
    shares = ties.astype(x.dtype)
    if np.count_nonzero(ties) > top.size:               # some are more than one
        shares /= shares.sum(axis=axes, keepdims=True)
    return g * shares
