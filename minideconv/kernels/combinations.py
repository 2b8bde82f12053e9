"""The transforms of tiles.py: combinations of the entries of tiles, their products, and the way back.

A tile's combination is a sum of up to four runs of numbers with signs. Those of one block at a time are written side by side, multiplied
while they are still in a cache, and overwritten by those of the next block.
"""
import numpy as np

from .products import DEPTH, PANEL_BYTES, ROWS, multiply, pack
from .runs import add_run, copy_run, jit, jit_inside, sum_runs, zero_run


# Sums of runs with signs: what the transforms of tiles.py consist of.

@jit_inside
def _sum(out, o, a, starts, signs, count, length):
    """out[o:][:length] = the sum of signs[r] * a[starts[r]:][:length] over r < count <= 4."""
    if count == 0:
        zero_run(out, o, length)
    elif count == 1:
        sum_runs(out, o, a, (starts[0],), (signs[0],), length)
    elif count == 2:
        sum_runs(out, o, a, (starts[0], starts[1]), (signs[0], signs[1]), length)
    elif count == 3:
        sum_runs(out, o, a, (starts[0], starts[1], starts[2]), (signs[0], signs[1], signs[2]), length)
    else:
        sum_runs(out, o, a, (starts[0], starts[1], starts[2], starts[3]), (signs[0], signs[1], signs[2], signs[3]), length)


@jit_inside
def _count(k, combinations, outputs):
    """How many tiles an axis of `outputs` has in combination k."""
    return (outputs + 1) // 2 if k < combinations - 1 else outputs // 2


@jit_inside
def _extent(outputs, taps):
    """How many entries the tiles of an axis take together: they overlap, one begins every two."""
    return 2 * ((outputs + 1) // 2 - 1) + taps


@jit_inside
def _starts(combinations, count, rows, columns, length):
    """Where each block (k, l) of `parts` begins."""
    starts, start = np.empty((combinations, combinations), np.intp), 0
    for k in range(combinations):
        for l in range(combinations):
            starts[k, l] = start
            start += count * _count(k, combinations, rows) * _count(l, combinations, columns) * length
    return starts


@jit_inside
def _read_row(x, n, row, phases, padding, entries, line, o):
    """Row `row` of the padded image's tiles: the phases of each of its entries side by side, (entries, phases, phases, C), from line[o] on."""
    height, width, channels = x.shape[1:]
    source, run = x.reshape(-1), phases * channels
    for e in range(phases):
        h = phases * row + e - padding[0]
        for j in range(entries):
            at, left = o + (j * phases + e) * run, phases * j - padding[1]
            start = ((n * height + h) * width + left) * channels
            if 0 <= h < height and 0 <= left and left + phases <= width:
                copy_run(line, at, source, start, run)
            else:
                zero_run(line, at, run)
                for f in range(phases):
                    if 0 <= h < height and 0 <= left + f < width:
                        copy_run(line, at + f * channels, source, start + f * channels, channels)


@jit_inside
def _entries(x, phases, padding, tall, wide):
    """The entries of all tiles, flat (N, tall, wide, phases^2 * C): the phases of the image side by side, zeros where padding lies."""
    line = wide * phases * phases * x.shape[3]
    entries = np.empty(len(x) * tall * line, x.dtype)
    for n in range(len(x)):
        for row in range(tall):
            _read_row(x, n, row, phases, padding, wide, entries, (n * tall + row) * line)
    return entries


@jit_inside
def _combine(entries, count, tall, wide, length, matrix, k, l, rows, columns, part, apart):
    """Combination k of rows and l of columns of the entries of each tile, as rows of `part` that are `apart` from each other; how many."""
    taps = matrix.shape[1]
    starts, signs = np.empty(4, np.intp), np.empty(4, entries.dtype)
    terms, o = 0, 0
    for a in range(taps):
        for b in range(taps):
            if matrix[k, a] * matrix[l, b] != 0:
                starts[terms], signs[terms] = (a * wide + b) * length, matrix[k, a] * matrix[l, b]
                terms += 1
    # Not through _sum: handing it these arrays for every tile would take as long as the sums themselves.
    i0, i1, i2, i3 = starts[0], starts[1], starts[2], starts[3]
    s0, s1, s2, s3 = signs[0], signs[1], signs[2], signs[3]
    for n in range(count):
        for t in range(_count(k, len(matrix), rows)):
            for s in range(_count(l, len(matrix), columns)):
                i = ((n * tall + 2 * t) * wide + 2 * s) * length
                if terms == 1:
                    sum_runs(part, o, entries, (i + i0,), (s0,), length)
                elif terms == 2:
                    sum_runs(part, o, entries, (i + i0, i + i1), (s0, s1), length)
                else:
                    sum_runs(part, o, entries, (i + i0, i + i1, i + i2, i + i3), (s0, s1, s2, s3), length)
                o += apart
    return o // apart


@jit
def tile_products(x, matrix, phases, padding, rows, columns, panels, out):
    combinations, taps = matrix.shape
    many, inner, lanes = panels.shape[1:]
    tall, wide = _extent(rows, taps), _extent(columns, taps)
    entries = _entries(x, phases, padding, tall, wide)
    apart, width = inner + 16, out.shape[1]
    part = np.zeros((len(x) * ((rows + 1) // 2) * ((columns + 1) // 2) + ROWS) * apart, x.dtype)
    edge = np.zeros(ROWS * lanes, x.dtype)
    flat_b, flat, o = panels.reshape(-1), out.reshape(-1), 0
    for k in range(combinations):
        for l in range(combinations):
            high = _combine(entries, len(x), tall, wide, inner, matrix, k, l, rows, columns, part, apart)
            for depth in range(0, inner, DEPTH):
                multiply(part, depth, apart, np.intp(1), high, flat_b, ((k * combinations + l) * many * inner + depth) * lanes, lanes, inner * lanes,
                         flat, o, width, width, min(DEPTH, inner - depth), depth, edge)
            o += high * width


@jit
def tile_transposed_products(x, x_matrix, phases, padding, y, y_matrix, add, out):
    count, rows, columns, width = y.shape
    combinations, taps = x_matrix.shape
    inner, lanes = out.shape[1], PANEL_BYTES // out.itemsize
    tiles_v, tiles_h = (rows + 1) // 2, (columns + 1) // 2
    tall, wide = _extent(rows, taps), _extent(columns, taps)
    entries = _entries(x, phases, padding, tall, wide)
    outputs = _entries(y, np.intp(1), (np.intp(0), np.intp(0)), 2 * tiles_v, 2 * tiles_h)
    apart, aside = -(-inner // ROWS) * ROWS + 16, -(-width // lanes) * lanes + 16
    left, right = np.zeros(count * tiles_v * tiles_h * apart, x.dtype), np.zeros(count * tiles_v * tiles_h * aside, x.dtype)
    edge = np.zeros(ROWS * lanes, x.dtype)
    flat = out.reshape(-1)
    for k in range(combinations):
        for l in range(combinations):
            high = _combine(entries, count, tall, wide, inner, x_matrix, k, l, rows, columns, left, apart)
            _combine(outputs, count, 2 * tiles_v, 2 * tiles_h, width, y_matrix, k, l, rows, columns, right, aside)
            if high == 0 and not add:
                zero_run(flat, (k * combinations + l) * inner * width, inner * width)
            for t in range(0, high, DEPTH):
                multiply(left, t * apart, np.intp(1), apart, inner, right, t * aside, aside, lanes, flat, (k * combinations + l) * inner * width, width, width,
                         min(DEPTH, high - t), add + t, edge)


@jit
def tile_kernel(w, matrix, phases, transposed, n, panels):
    combinations, taps = matrix.shape
    height, width, channels, outputs = w.shape
    size = channels * outputs
    block = np.zeros(phases * phases * size, w.dtype)
    source = w.reshape(-1)
    for a in range(taps):
        for b in range(taps):
            weight = w.dtype.type(matrix[n // combinations, a] * matrix[n % combinations, b])
            for e in range(phases):
                for f in range(phases):
                    u, v = a * phases + e, b * phases + f
                    if weight != 0 and u < height and v < width:
                        add_run(block, (e * phases + f) * size, source, (u * width + v) * size, weight, size)
    pack(block.reshape(-1, outputs), transposed, np.intp(0), panels)


@jit
def untile_kernel(shares, matrix, phases, u, w):
    combinations = len(matrix)
    size = w.shape[1] * w.shape[2]
    source, target = shares.reshape(-1), w.reshape(-1)
    zero_run(target, 0, w.size)
    for v in range(len(w)):
        phase = u % phases * phases + v % phases
        for share in range(len(shares)):
            for k in range(combinations):
                for l in range(combinations):
                    weight = w.dtype.type(matrix[k, u // phases] * matrix[l, v // phases])
                    if weight != 0:
                        n = (share * combinations + k) * combinations + l
                        add_run(target, v * size, source, (n * phases * phases + phase) * size, weight, size)


@jit
def untile(parts, matrix, phases, padding, rows, columns, x):
    count, height, width, channels = x.shape
    combinations, taps = matrix.shape
    run, piece = phases * phases * channels, phases * channels
    tiles_h = (columns + 1) // 2
    tall, wide = _extent(rows, taps), _extent(columns, taps)
    begins, target = _starts(combinations, count, rows, columns, run), x.reshape(-1)
    combined = np.empty(combinations * tiles_h * run, x.dtype)          # a row of entries: for each combination of columns, those of rows are added up
    starts, signs = np.empty(4, np.intp), np.empty(4, x.dtype)
    if padding[0] < 0 or padding[1] < 0 or padding[0] + height > phases * tall or padding[1] + width > phases * wide:
        zero_run(target, 0, x.size)                                                        # some pixels lie in no tile
    for n in range(count):
        for row in range(max(0, padding[0] // phases), min(tall, -(-(padding[0] + height) // phases))):
            for l in range(combinations):
                terms, many = 0, _count(l, combinations, columns)
                for a in range(row % 2, min(taps, row + 1), 2):
                    t = (row - a) // 2
                    for k in range(combinations):
                        if matrix[k, a] != 0 and t < _count(k, combinations, rows):
                            starts[terms], signs[terms] = begins[k, l] + (n * _count(k, combinations, rows) + t) * many * run, matrix[k, a]
                            terms += 1
                _sum(combined, l * tiles_h * run, parts, starts, signs, terms, many * run)
            for e in range(phases):
                h = phases * row + e - padding[0]
                if 0 <= h < height:
                    for j in range(max(0, padding[1] // phases), min(wide, -(-(padding[1] + width) // phases))):
                        terms = 0
                        for b in range(j % 2, min(taps, j + 1), 2):
                            s = (j - b) // 2
                            for l in range(combinations):
                                if matrix[l, b] != 0 and s < _count(l, combinations, columns):
                                    starts[terms], signs[terms] = (l * tiles_h + s) * run + e * piece, matrix[l, b]
                                    terms += 1
                        left = phases * j - padding[1]
                        start = ((n * height + h) * width + left) * channels
                        if 0 <= left and left + phases <= width:
                            _sum(target, start, combined, starts, signs, terms, piece)
                        else:
                            for f in range(phases):
                                if 0 <= left + f < width:
                                    _sum(target, start + f * channels, combined, starts, signs, terms, channels)
                                for r in range(terms):
                                    starts[r] += channels
