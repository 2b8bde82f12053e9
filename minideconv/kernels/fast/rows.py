"""Everything but convolutions, spread over the threads: ramps, batch norm, pooling, Adam, sums and
matrix products.

Parts of an array are as large as a cache keeps between two looks at them; they depend on shapes
alone, and what they add up to is merged in their order, so results do not depend on the threads.
"""
import numpy as np

from ... import parallel
from .. import reference
from ..reference import AdamStep, Affine
from . import loops, matrices
from .compiled import plain

ROW_BYTES = 1 << 20
TINY = 1 << 18          # multiplications for which OpenBLAS takes one thread anyhow; telling it so takes longer


def _rows(x):
    """All axes but the last as one: (..., C) -> (R, C)."""
    return plain(x).reshape(-1, x.shape[-1])


def _room(x):
    """A thread's room for two numbers of each channel, the last axis of x: (2, C)."""
    return parallel.scratch("channels", (2, x.shape[-1]), x.dtype)


def gate(g, x, slope):
    """g where x > 0, slope * g elsewhere."""
    g, x = plain(g), plain(x)
    out, slope = np.empty_like(g), float(slope)
    parallel.over_rows(lambda g, x, out: loops.gate(g, x, slope, out), g.reshape(-1), x.reshape(-1), out.reshape(-1))
    return out


def rest_of(bias, slope, x) -> loops.Rest:
    """A bias (C,), or None, and the slope of leaky ReLU (1: none), for x (..., C)."""
    if bias is None:
        bias = np.zeros(0 if slope == 1 else x.shape[-1], x.dtype)
    return loops.Rest(plain(bias), float(slope))


def finish(x, bias, slope):
    """In place, while x is in a cache: what rest_of says."""
    if bias is not None or slope != 1:
        loops.add_rest(x.reshape(-1, x.shape[-1]), rest_of(bias, slope, x))


def moments(x):
    """Mean and (biased) variance of each channel, the last axis of x, by Chan's rule: parts on
    their own, merged in their order.
    """
    rows = _rows(x)
    parts = parallel.spans(len(rows), max(1, ROW_BYTES // rows[:1].nbytes))
    means, deviations = np.empty((2, len(parts), rows.shape[1]))
    parallel.run(lambda i: loops.moments(rows[parts[i]], _room(rows), means[i], deviations[i]), len(parts))
    counts = np.array([[part.stop - part.start] for part in parts], np.float64)
    mean = means[0] + (counts * (means - means[0])).sum(axis=0) / len(rows)
    return mean, (deviations + counts * (means - mean) ** 2).sum(axis=0) / len(rows)


def _narrow(affine: Affine, dtype) -> Affine:
    """The map in the arrays' own precision, as compiled loops want it."""
    return Affine(*(np.ascontiguousarray(one, dtype) for one in affine[:3]), float(affine.slope))


def normalise(x, affine: Affine):
    """The affine map of each channel and its ramp: an array like x."""
    rows, affine = _rows(x), _narrow(affine, x.dtype)
    out = np.empty_like(rows)
    parallel.over_rows(lambda x, out: loops.normalise(x, affine, out), rows, out)
    return out.reshape(x.shape)


def normalise_sums(g, x, affine: Affine):
    """The sums of g' and of g' * (x - centre) for each channel, with g' = g through the ramp:
    float64 (2, C).
    """
    g, x, affine = _rows(g), _rows(x), _narrow(affine, x.dtype)
    parts = parallel.spans(len(x), max(1, ROW_BYTES // x[:1].nbytes))
    shares = np.empty((len(parts), 2, x.shape[1]))
    parallel.run(lambda i: loops.normalise_sums(g[parts[i]], x[parts[i]], affine, _room(x), shares[i]), len(parts))
    return shares.sum(axis=0)


def normalise_input(g, x, affine: Affine, along, constant):
    """g' * scale + (x - centre) * along + constant: the gradient for x once the sums are known.
    along, constant: (C,).
    """
    g, rows, affine = _rows(g), _rows(x), _narrow(affine, x.dtype)
    out, factors = np.empty_like(rows), np.array([along, constant], x.dtype)
    parallel.over_rows(lambda g, x, out: loops.normalise_input(g, x, affine, factors, out), g, rows, out)
    return out.reshape(x.shape)


def max_switches(x, window):
    """The pixel h * W + w of the largest number in each window, the first of equals: (N, H, W, C)
    -> int64 (N, OH, OW, C).
    """
    if x.dtype.kind != "f":
        return reference.max_switches(x, window)
    switches = np.empty((len(x), *window.features, x.shape[3]), np.int64)
    parallel.over_rows(lambda x, switches: loops.max_switches(x, window, switches), plain(x), switches)
    return switches


def take_pixels(x, switches):
    """y[n, i, j, c] = the pixel of plane (n, c) whose place h * W + w is switches[n, i, j, c]."""
    if x.dtype.kind != "f":
        return reference.take_pixels(x, switches)
    y = np.empty(switches.shape, x.dtype)
    parallel.over_rows(loops.take_pixels, plain(x), plain(switches), y)
    return y


def put_pixels(y, switches, size):
    """The transpose of take_pixels: every y is added to its pixel of an image of `size`; pixels
    that none points at are zero.
    """
    if y.dtype.kind != "f":
        return reference.put_pixels(y, switches, size)
    x = np.empty((len(y), *size, y.shape[3]), y.dtype)
    parallel.over_rows(loops.put_pixels, plain(y), plain(switches), x)
    return x


def adam(p, g, m, v, step: AdamStep):
    """One step of Adam, in place; p, m and v are C-contiguous."""
    step = AdamStep(*map(float, step))
    arrays = (array.reshape(-1) for array in (p, plain(g), m, v))
    parallel.over_rows(lambda p, g, m, v: loops.adam(p, g, m, v, step), *arrays)


def add(a, b):
    """a + b, as the gradients of two batches add up to one."""
    if a.shape != b.shape or a.dtype != b.dtype or a.nbytes < parallel.SMALL_BYTES:
        return a + b
    out = np.empty(a.shape, a.dtype)
    parallel.over_rows(lambda a, b, out: np.add(a, b, out=out), a, b, out)
    return out


def share(g, x, top, axes):
    """The products of `reference.share`; a maximum over the pieces of units (N, pieces, C), as in maxout, in one pass.
    """
    if axes != (1,) or x.ndim != 3 or x.dtype.kind != "f" or g.dtype != x.dtype:
        return reference.share(g, x, top, axes)
    out = np.empty(x.shape, x.dtype)
    parallel.over_rows(lambda out, g, x, top: loops.share(g[:, 0], x, top[:, 0], _room(x)[0], out),
                       out, plain(g), plain(x), top)
    return out


def join(arrays, axis):
    """np.concatenate; where the first axis stays as it is, by rows."""
    first, shape = arrays[0], list(arrays[0].shape)
    if len(arrays) > 1 and (axis == 0 or any(array.shape[:1] != first.shape[:1] or array.ndim != first.ndim
                                             for array in arrays)):
        return np.concatenate(arrays, axis)
    shape[axis] = np.sum([array.shape[axis] for array in arrays])
    out = np.empty(shape, np.result_type(*arrays))
    parallel.over_rows(lambda out, *arrays: np.concatenate(arrays, axis, out=out), out, *arrays)
    return out


def matmul(a, b, bias=None):
    """np.matmul with products of its own for large float matrices; plus a bias in every row."""
    out = _product(a, b)
    if bias is None or np.result_type(out, bias) != out.dtype:
        return out if bias is None else out + bias
    parallel.over_rows(lambda out: np.add(out, bias, out=out), out)
    return out


def _product(a, b):
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        with parallel.one_blas_thread:
            return np.matmul(a, b)
    (rows, inner), columns = a.shape, b.shape[1]
    if inner == 1:
        # An outer product has nothing to add up, and BLAS only makes it slower.
        out = np.empty((rows, columns), np.result_type(a, b))
        parallel.over_rows(lambda out, a: np.multiply(a, b, out=out), out, a)
        return out
    if min(rows, columns) > 1:
        count = rows * inner * columns
        if a.dtype == b.dtype and a.dtype.kind == "f" and count >= matrices.LEAST:
            return matrices.product(a, b)
        if count < TINY:
            return np.matmul(a, b)
    with parallel.one_blas_thread:
        return _by_rows(a, b) if columns == 1 else np.matmul(a, b)


def _by_rows(a, b):
    """(M, K) @ (K, 1), whose time is that of reading a."""
    out = np.empty((len(a), 1), np.result_type(a, b))
    parallel.over_rows(lambda a, out: np.matmul(a, b, out=out), a, out)
    return out


def sum(x, axes, keepdims):
    """The sum over a tuple of axes, a large one over all but the last in parts (their sums are then
    added in their order).
    """
    if axes != tuple(range(x.ndim - 1)) or x.size < 1 << 18 or not x.flags.c_contiguous or x.dtype.kind != "f":
        return reference.sum(x, axes, keepdims)
    rows = x.reshape(-1, x.shape[-1])
    parts = parallel.spans(len(rows), max(1, ROW_BYTES // rows[:1].nbytes))
    shares = np.empty((len(parts), rows.shape[1]), x.dtype)
    parallel.run(lambda i: loops.add_rows(rows[parts[i]], shares[i]), len(parts))
    total = shares.sum(axis=0)
    return total.reshape((1,) * (x.ndim - 1) + total.shape) if keepdims else total
