"""Every kernel of reference.py against loops written here, and every kernel of fast.py against the same loops and against reference.

A case draws the arguments of one kernel and says what they should be afterwards; both implementations run on copies of them, with
what is to be written filled with rubbish first. Integers in floats make sums exact: such cases are compared with `==`.
"""
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

import minideconv as md
from minideconv import tiles
from minideconv.kernels import fast, reference

MODULES = {"reference": reference, "fast": fast}


class Case(NamedTuple):
    arguments: tuple
    written: dict           # place among the arguments -> the array expected there, or the tuple of arrays
    exact: bool = True


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


def columns_geometry(draw):
    """Windows anywhere over an image, also beside it and with negative padding: (image, features, kernel, stride, padding, dilation)."""
    both = [(draw(st.integers(1, 6)), draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 4)),
             draw(st.integers(-3, 4)), draw(st.integers(1, 3))) for _ in "hw"]
    return tuple(zip(*both))


def touches(image, features, kernel, stride, padding, dilation):
    """(window i, j; tap u, v; pixel h, w) wherever the tap lies on the image."""
    for i, j, u, v in itertools.product(*map(range, features + kernel)):
        h, w = i * stride[0] + u * dilation[0] - padding[0], j * stride[1] + v * dilation[1] - padding[1]
        if 0 <= h < image[0] and 0 <= w < image[1]:
            yield i, j, u, v, h, w


def im2col(draw, rng, dtype):
    image, features, kernel, stride, padding, dilation = geometry = columns_geometry(draw)
    count, channels = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    x = integers(rng, dtype, count, *image, channels)
    cols = np.zeros((count, *features, *kernel, channels), dtype)
    for i, j, u, v, h, w in touches(*geometry):
        cols[:, i, j, u, v] = x[:, h, w]
    return Case((x, stride, padding, dilation, cols), {4: cols})


def col2im(draw, rng, dtype):
    image, features, kernel, stride, padding, dilation = geometry = columns_geometry(draw)
    count, channels = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    cols = integers(rng, dtype, count, *features, *kernel, channels)
    x = np.zeros((count, *image, channels), dtype)
    for i, j, u, v, h, w in touches(*geometry):
        x[:, h, w] += cols[:, i, j, u, v]
    return Case((cols, stride, padding, dilation, x), {4: x})


def in_panels(matrix, dtype):
    """The panels of a right factor, entry by entry: lines of 128 bytes, zeros after the last column."""
    lanes = 128 // np.dtype(dtype).itemsize
    panels = np.zeros(((matrix.shape[1] + lanes - 1) // lanes, len(matrix), lanes), dtype)
    for k, column in np.ndindex(*matrix.shape):
        panels[column // lanes, k, column % lanes] = matrix[k, column]
    return panels


def pack(draw, rng, dtype):
    matrix, transposed = integers(rng, dtype, draw(st.integers(1, 9)), draw(st.integers(1, 70))), draw(st.booleans())
    panels = in_panels(matrix, dtype)
    first = draw(st.integers(0, len(panels) - 1))
    return Case((np.ascontiguousarray(matrix.T) if transposed else matrix, transposed, first, panels[first:]), {3: panels[first:]})


def trilinear(draw, rng, dtype):
    """Arguments of the three products, and every (window, feature place, tap): x, y, w as integers, the geometry, touches of it."""
    image, features, kernel, stride, padding, dilation = geometry = columns_geometry(draw)
    count, channels, outputs = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 17, 33]))
    x, y = integers(rng, dtype, count, *image, channels), integers(rng, dtype, count, *features, outputs)
    return x, y, integers(rng, dtype, *kernel, channels, outputs), (kernel, stride, padding, dilation), list(touches(*geometry))


def gather(draw, rng, dtype):
    x, y, w, settings, touched = trilinear(draw, rng, dtype)
    expected = np.zeros_like(y)
    for i, j, u, v, h, v_w in touched:
        expected[:, i, j] += x[:, h, v_w] @ w[u, v]
    return Case((x, in_panels(w.reshape(-1, w.shape[3]), dtype), *settings, y), {6: expected})


def scatter(draw, rng, dtype):
    x, y, w, settings, touched = trilinear(draw, rng, dtype)
    expected = np.zeros_like(x)
    for i, j, u, v, h, v_w in touched:
        expected[:, h, v_w] += y[:, i, j] @ w[u, v].T
    return Case((y, in_panels(w.reshape(-1, w.shape[3]).T, dtype), *settings, x), {6: expected})


def correlate(draw, rng, dtype):
    x, y, w, settings, touched = trilinear(draw, rng, dtype)
    add = draw(st.sampled_from([0, 1, 3]))
    expected = w * (add != 0)
    for i, j, u, v, h, v_w in touched:
        expected[u, v] += x[:, h, v_w].T @ y[:, i, j]
    return Case((x, y, *settings, add, w.reshape(-1, w.shape[3])), {7: expected.reshape(-1, w.shape[3])})


def max_switches(draw, rng, dtype):
    """Ties are frequent among few integers; NaN and infinities are strewn in."""
    axes = []
    for _ in "hw":
        size, kernel = draw(st.integers(1, 6)), draw(st.integers(1, 4))
        padding, stride = draw(st.integers(0, kernel // 2)), draw(st.integers(1, 3))
        kernel = min(kernel, size + 2 * padding)
        padding = min(padding, kernel // 2)
        axes.append((size, (size + 2 * padding - kernel) // stride + 1, kernel, stride, padding))
    image, features, kernel, stride, padding = zip(*axes)
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
    return Case((x, kernel, stride, padding, switches), {4: switches})


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
    shape, slope = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))), draw(SLOPES)
    g, x = integers(rng, dtype, *shape), integers(rng, dtype, *shape)
    out = np.array([a if b > 0 else slope * a for a, b in zip(g.flat, x.flat)], dtype).reshape(shape)
    return Case((g, x, slope, out), {3: out})


def rows_of(draw, rng, dtype):
    return rng.standard_normal((draw(st.integers(1, 40)), draw(st.integers(1, 5)))).astype(dtype)


def moments(draw, rng, dtype):
    x = rows_of(draw, rng, dtype) + dtype(draw(st.sampled_from([0, 30])))
    mean, deviations = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for c, column in enumerate(x.T.astype(np.float64)):
        mean[c] = sum(column) / len(column)
        deviations[c] = sum((value - mean[c]) ** 2 for value in column)
    return Case((x, mean.astype(dtype), deviations.astype(dtype)), {1: mean, 2: deviations}, exact=False)


def normalised(draw, rng, dtype):
    """x, scale, shift on a lattice that is exact in binary and never lands on the kink; slope; and z = x * scale + shift."""
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    x, scale = integers(rng, dtype, *shape) / 2, rng.choice([-1, -0.5, 0.5, 2], shape[1]).astype(dtype)
    shift = (integers(rng, dtype, shape[1]) + dtype(0.125)) / 2
    z = np.array([[x[r, c] * scale[c] + shift[c] for c in range(shape[1])] for r in range(shape[0])], dtype)
    return x.astype(dtype), scale, shift.astype(dtype), draw(SLOPES), z


def normalise(draw, rng, dtype):
    x, scale, shift, slope, z = normalised(draw, rng, dtype)
    out = np.array([[value if value > 0 else slope * value for value in row] for row in z], dtype)
    return Case((x, scale, shift, slope, out), {4: out})


def through_the_ramp(g, z, slope):
    return np.array([[a if b > 0 else slope * a for a, b in zip(*rows)] for rows in zip(g, z)], g.dtype)


def normalise_sums(draw, rng, dtype):
    x, scale, shift, slope, z = normalised(draw, rng, dtype)
    g, mean, inverse = integers(rng, dtype, *x.shape), integers(rng, dtype, x.shape[1]), rng.choice([0.5, 2], x.shape[1]).astype(dtype)
    sums, flow = np.zeros((2, x.shape[1]), dtype), through_the_ramp(g, z, slope)
    for r, c in np.ndindex(x.shape):
        sums[0, c] += flow[r, c]
        sums[1, c] += flow[r, c] * (x[r, c] - mean[c]) * inverse[c]
    return Case((g, x, scale, shift, slope, mean, inverse, sums), {7: sums})


def normalise_input(draw, rng, dtype):
    x, scale, shift, slope, z = normalised(draw, rng, dtype)
    g, along, constant = integers(rng, dtype, *x.shape), integers(rng, dtype, x.shape[1]), integers(rng, dtype, x.shape[1])
    out, flow = np.zeros_like(x), through_the_ramp(g, z, slope)
    for r, c in np.ndindex(x.shape):
        out[r, c] = flow[r, c] * scale[c] + x[r, c] * along[c] + constant[c]
    return Case((g, x, scale, shift, slope, along, constant, out), {7: out})


def adam(draw, rng, dtype):
    size, step = draw(st.integers(1, 20)), draw(st.integers(1, 50))
    p, g, m, v = rng.standard_normal((4, size)).astype(dtype)
    v = v * v
    beta1, beta2 = draw(st.sampled_from([(0.9, 0.999), (0.5, 0.999), (0.0, 0.5)]))
    rate, eps, decay, corrections = 0.01, 1e-8, draw(st.sampled_from([0.0, 0.1])), (1 - beta1 ** step, 1 - beta2 ** step)
    after = []
    for theta, slope, mean, square in zip(*(a.astype(np.float64) for a in (p, g, m, v))):
        slope = slope + decay * theta
        mean = beta1 * mean + (1 - beta1) * slope
        square = beta2 * square + (1 - beta2) * slope ** 2
        after.append((theta - rate * (mean / corrections[0]) / ((square / corrections[1]) ** 0.5 + eps), mean, square))
    new_p, new_m, new_v = np.array(after).T
    return Case((p, g, m, v, rate, beta1, beta2, eps, decay, *corrections), {0: new_p, 2: new_m, 3: new_v}, exact=False)


# The combinations of tiles.py: images and features, of filters with two and with three taps. Rows are combinations, columns a tile's entries.
MATRICES = ([[1, -1, 0], [0, 1, 0], [0, 1, -1]], [[1, 0], [1, 1], [0, -1]],
            [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], [[1, 0], [1, 1], [1, -1], [0, -1]])


def blocks(matrix, outputs):
    """(k, l) and the tiles of every block: an axis of n outputs has a tile for two of them, but the last combination only for whole pairs."""
    for k, l in itertools.product(range(len(matrix)), repeat=2):
        yield k, l, *(n // 2 if combination == len(matrix) - 1 else (n + 1) // 2 for combination, n in zip((k, l), outputs))


def tiled(draw, rng, dtype):
    """Arguments of the tile kernels, and for each block every (its row, entry of the row, pixel of x, sign) by which it depends on a pixel."""
    matrix, phases, count, channels = draw(st.sampled_from(MATRICES)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    image, outputs = (draw(st.integers(1, 9)), draw(st.integers(1, 9))), (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    padding, terms = (draw(st.integers(-3, 3)), draw(st.integers(-3, 3))), []
    for k, l, tall, wide in blocks(matrix, outputs):
        terms.append([])
        for n, t, s, e, f, c in itertools.product(range(count), range(tall), range(wide), range(phases), range(phases), range(channels)):
            for (r, a), (q, b) in itertools.product(enumerate(matrix[k]), enumerate(matrix[l])):
                h, w = phases * (2 * t + r) + e - padding[0], phases * (2 * s + q) + f - padding[1]
                if 0 <= h < image[0] and 0 <= w < image[1] and a * b:
                    terms[-1].append(((n * tall + t) * wide + s, (e * phases + f) * channels + c, (n, h, w, c), a * b))
    sizes = [count * tall * wide for *_, tall, wide in blocks(matrix, outputs)]
    return integers(rng, dtype, count, *image, channels), (np.array(matrix), phases, padding), outputs, terms, sizes


def parts_of(x, terms, sizes, length):
    """The blocks (tiles, length) themselves."""
    parts = [np.zeros((size, length), x.dtype) for size in sizes]
    for part, entries in zip(parts, terms):
        for row, entry, pixel, sign in entries:
            part[row, entry] += sign * x[pixel]
    return parts


def tile_products(draw, rng, dtype):
    x, settings, outputs, terms, sizes = tiled(draw, rng, dtype)
    inner = settings[1] ** 2 * x.shape[3]
    factors = [integers(rng, dtype, inner, draw(st.sampled_from([1, 3, 40]))) for _ in sizes]
    factors = [factor[:, :factors[0].shape[1]] if factor.shape[1] >= factors[0].shape[1] else np.resize(factor, factors[0].shape) for factor in factors]
    expected = np.concatenate([part @ factor for part, factor in zip(parts_of(x, terms, sizes, inner), factors)])
    return Case((x, *settings, *outputs, np.array([in_panels(factor, dtype) for factor in factors]), expected), {7: expected})


def tile_transposed_products(draw, rng, dtype):
    x, settings, outputs, terms, sizes = tiled(draw, rng, dtype)
    matrix = MATRICES[MATRICES.index(settings[0].tolist()) // 2 * 2 + 1]                # the outputs' matrix with as many combinations
    y, add, inner = integers(rng, dtype, len(x), *outputs, draw(st.sampled_from([1, 2, 33]))), draw(st.sampled_from([0, 1])), settings[1] ** 2 * x.shape[3]
    before = integers(rng, dtype, len(sizes), inner, y.shape[3])
    expected = before * add
    for block, (part, (k, l, tall, wide)) in enumerate(zip(parts_of(x, terms, sizes, inner), blocks(matrix, outputs))):
        for n, t, s in np.ndindex(len(x), tall, wide):
            for (r, a), (q, b) in itertools.product(enumerate(matrix[k]), enumerate(matrix[l])):
                if 2 * t + r < outputs[0] and 2 * s + q < outputs[1]:
                    expected[block] += a * b * np.outer(part[(n * tall + t) * wide + s], y[n, 2 * t + r, 2 * s + q])
    return Case((x, *settings, y, np.array(matrix), add, before), {7: expected})


def untile(draw, rng, dtype):
    x, settings, outputs, terms, sizes = tiled(draw, rng, dtype)
    length = settings[1] ** 2 * x.shape[3]
    parts, expected = [integers(rng, dtype, size, length) for size in sizes], np.zeros_like(x)
    for part, entries in zip(parts, terms):
        for row, entry, pixel, sign in entries:
            expected[pixel] += sign * part[row, entry]
    return Case((np.concatenate(parts).reshape(-1), *settings, *outputs, x), {6: expected})


KERNEL_MATRICES = [[1, 0], [1, 1], [0, 1]], [[1, 0, 0], [.5, .5, .5], [.5, -.5, .5], [0, 0, 1]]


def kernel_taps(draw, rng, dtype):
    """A kernel of even integers, its filter matrix, and (block, entry of it, tap, weight) of every combination; a kernel may lack the last taps."""
    matrix, phases = draw(st.sampled_from(KERNEL_MATRICES)), draw(st.integers(1, 2))
    side, channels = phases * len(matrix[0]) - draw(st.integers(0, phases - 1)), draw(st.integers(1, 3))
    w, terms = 4 * integers(rng, dtype, side, side, channels, draw(st.sampled_from([1, 33]))), []
    for (k, rows), (l, columns) in itertools.product(enumerate(matrix), repeat=2):
        for (a, weight), (b, other), e, f in itertools.product(enumerate(rows), enumerate(columns), range(phases), range(phases)):
            if a * phases + e < side and b * phases + f < side:
                terms.append((k * len(matrix) + l, e * phases + f, (a * phases + e, b * phases + f), weight * other))
    return w, np.array(matrix), phases, terms


def tile_kernel(draw, rng, dtype):
    w, matrix, phases, terms = kernel_taps(draw, rng, dtype)
    n, transposed = draw(st.integers(0, len(matrix) ** 2 - 1)), draw(st.booleans())
    block = np.zeros((phases ** 2, *w.shape[2:]), dtype)
    for place, entry, tap, weight in terms:
        block[entry] += (place == n) * weight * w[tap]
    block = block.reshape(-1, w.shape[3])
    panels = in_panels(block.T if transposed else block, dtype)
    return Case((w, matrix, phases, transposed, n, panels), {5: panels})


def untile_kernel(draw, rng, dtype):
    w, matrix, phases, terms = kernel_taps(draw, rng, dtype)
    shares, u = 4 * integers(rng, dtype, draw(st.integers(1, 3)), len(matrix) ** 2, phases ** 2, *w.shape[2:]), draw(st.integers(0, len(w) - 1))
    expected = np.zeros_like(w)
    for place, entry, tap, weight in terms:
        expected[tap] += weight * shares[:, place, entry].sum(axis=0)
    shares = shares.reshape(len(shares), len(matrix) ** 2, -1, w.shape[3])
    return Case((shares, matrix, phases, u, w[u]), {4: expected[u]})


CASES = {case.__name__: case for case in (im2col, col2im, pack, gather, scatter, correlate, max_switches, take_pixels, put_pixels, gate, moments, normalise, normalise_sums,
                                          normalise_input, adam, tile_products, tile_transposed_products, untile, tile_kernel, untile_kernel)}
READ_AND_WRITTEN = {"adam", "correlate", "tile_transposed_products"}        # what they write is, or may be, added to what is there


def public_kernels(module):
    """The functions of the package that a module holds, compiled or not."""
    plain = {name: getattr(value, "py_func", value) for name, value in vars(module).items() if not name.startswith("_")}
    kernels = {name for name, value in plain.items() if inspect.isfunction(value) and value.__module__.startswith(md.kernels.__name__)}
    return kernels - {"zero_run"}           # what kernels are made of is no kernel


def test_every_kernel_is_in_the_table():
    assert public_kernels(reference) == set(CASES)
    assert public_kernels(fast) == set(CASES)


def arrays(argument):
    """The arrays in an argument: itself, those of a tuple, or none."""
    return [one for one in (argument if isinstance(argument, tuple) else (argument,)) if isinstance(one, np.ndarray)]


def outcome(module, name, case):
    """The arguments after the kernel ran on copies of them."""
    copies = [tuple(np.array(one) for one in a) if arrays(a) and isinstance(a, tuple) else np.array(a) if arrays(a) else a for a in case.arguments]
    if name not in READ_AND_WRITTEN:
        for place in case.written:
            for array in arrays(copies[place]):
                array.fill(-77)
    assert getattr(MODULES[module], name)(*copies) is None
    return [arrays(copy) for copy in copies]


def compare(found, expected, exact, dtype):
    if exact:
        assert np.all(found == expected)
    else:
        tolerance = 1e-6 if dtype == np.float64 else 3e-6
        assert np.allclose(found, expected, rtol=tolerance, atol=tolerance * max(1e-30, np.abs(expected).max(initial=0)))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(data=st.data(), seed=st.integers(0, 2 ** 16))
def test_kernel_against_loops_and_each_other(name, dtype, data, seed):
    case = CASES[name](data.draw, np.random.default_rng(seed), dtype)
    results = {module: outcome(module, name, case) for module in MODULES}
    for place, argument in enumerate(case.arguments):
        for module, found in results.items():
            assert [array.dtype for array in found[place]] == [array.dtype for array in arrays(argument)]
            if place not in case.written:
                same = [np.array_equal(*pair, equal_nan=True) for pair in zip(found[place], arrays(argument))]
                assert all(same), f"{module} changed what it should only read"
        if place in case.written:
            for quick, plain, expected in zip(results["fast"][place], results["reference"][place], arrays(case.written[place])):
                compare(quick, expected, case.exact, dtype)
                compare(plain, expected, case.exact, dtype)
                compare(quick, plain, case.exact, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels, outputs", [(1, 1), (7, 15), (8, 16), (9, 17), (32, 31), (33, 32), (65, 33), (129, 64), (257, 5), (3, 270)])
@pytest.mark.parametrize("count, side", [(1, 3), (2, 9), (5, 16)])
def test_whole_blocks_and_their_edges(dtype, channels, outputs, count, side):
    """Sizes around those of a register block (rows, columns, depth) and of what is multiplied at a time: fast against reference, to the last bit."""
    rng = np.random.default_rng(0)
    x, y, w = integers(rng, dtype, count, side, side, channels), integers(rng, dtype, count, side, side, outputs), integers(rng, dtype, 2, 2, channels, outputs)
    taps, settings, results = w.reshape(-1, outputs), ((2, 2), (1, 1), (1, 0), (1, 1)), []
    for module in MODULES.values():
        forth, back, share = np.empty_like(y), np.empty_like(x), np.zeros_like(taps)
        module.gather(x, in_panels(taps, dtype), *settings, forth)
        module.scatter(y, in_panels(taps.T, dtype), *settings, back)
        for add in (0, 1):
            module.correlate(x, y, *settings, add, share)
        results.append((forth, back, share))
    assert all(np.array_equal(quick, plain) for quick, plain in zip(*results))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("taps, phases, channels, outputs", [(2, 2, 70, 5), (2, 1, 3, 33), (3, 1, 8, 17), (3, 2, 9, 8)])
def test_more_tiles_and_channels_than_are_multiplied_at_a_time(dtype, taps, phases, channels, outputs):
    rng, filtering = np.random.default_rng(0), tiles.FILTERINGS[taps]
    x, y = integers(rng, dtype, 5, 16 * phases, 15 * phases, channels), integers(rng, dtype, 5, 16, 15, outputs)
    factors, results = integers(rng, dtype, (taps + 1) ** 2, phases ** 2 * channels, outputs), []
    tall, wide = ([(n + 1) // 2] * taps + [n // 2] for n in y.shape[1:3])
    for module in MODULES.values():
        products, shares = np.empty((5 * sum(tall) * sum(wide), outputs), dtype), np.zeros(factors.shape, dtype)
        module.tile_products(x, filtering.data, phases, (1, 1), 16, 15, np.array([in_panels(factor, dtype) for factor in factors]), products)
        for add in (0, 1):
            module.tile_transposed_products(x, filtering.data, phases, (1, 1), y, filtering.outputs, add, shares)
        results.append((products, shares))
    assert all(np.array_equal(quick, plain) for quick, plain in zip(*results))


PRODUCTS = """
import numpy as np
from minideconv.kernels import fast, reference
for channels, outputs in ((3, 2), (9, 40)):
    for number, width in ((np.float32, 32), (np.float64, 16)):
        x, taps = np.arange(2.0 * 3 * 3 * channels).astype(number).reshape(2, 3, 3, channels) % 7, np.arange(4.0 * channels * outputs).astype(number).reshape(-1, outputs) % 5
        results = []
        for module in (fast, reference):
            panels, y, w = np.empty((-(-outputs // width), len(taps), width), number), np.empty((2, 3, 3, outputs), number), np.empty_like(taps)
            module.pack(taps, False, 0, panels)
            module.gather(x, panels, (2, 2), (1, 1), (1, 0), (1, 1), y)
            module.correlate(x, y, (2, 2), (1, 1), (1, 0), (1, 1), 0, w)
            back, features = np.empty((-(-len(taps) // width), outputs, width), number), np.empty_like(x)
            module.pack(taps, True, 0, back)
            module.scatter(y, back, (2, 2), (1, 1), (1, 0), (1, 1), features)
            results.append((y, w, features))
        assert all(np.array_equal(*pair) for pair in zip(*results))
print(type(fast.gather).__name__)
"""


def test_the_products_can_be_stepped_through():
    """NUMBA_DISABLE_JIT=1: what is written in the compiler's language has its loops in Python."""
    answer = subprocess.run([sys.executable, "-c", PRODUCTS], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True)
    assert answer.stdout.split() == ["function"], answer.stderr


WITHOUT_AVX512 = """
import llvmlite.binding
features = llvmlite.binding.get_host_cpu_features()
for name in features:
    features[name] &= "avx512" not in name
llvmlite.binding.get_host_cpu_features, llvmlite.binding.get_host_cpu_name = lambda: features, lambda: "generic"
from minideconv.kernels import products
assert not products.WIDE
"""


def test_the_block_of_processors_without_avx512(tmp_path):
    """Six rows of half a panel: the same results."""
    answer = subprocess.run([sys.executable, "-c", WITHOUT_AVX512 + PRODUCTS], env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True)
    assert answer.stdout.split() == ["CPUDispatcher"], answer.stderr


def test_use_names_its_choices():
    with pytest.raises(ValueError, match="'reference' or 'fast'; got 'quick'"):
        md.kernels.use("quick")


def test_use_chooses(kernels):
    assert md.kernels.active() is MODULES[kernels]


def test_plain_copies_only_what_numba_would_compile_anew():
    array = np.arange(6.0).reshape(2, 3)
    assert md.kernels.plain(array) is array
    locked = array.copy()
    locked.flags.writeable = False
    for strange in (array.T, array[:, ::2], locked, np.broadcast_to(array, (2, 2, 3))):
        plain = md.kernels.plain(strange)
        assert plain.flags.c_contiguous and plain.flags.writeable and np.array_equal(plain, strange)
