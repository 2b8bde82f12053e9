"""The matrix product of the fast kernels: a register block in the processor's own vector
instructions, and the loops that feed it.

A processor that multiplies and adds two vectors of numbers in every cycle is kept busy only if
almost nothing is loaded or stored in between. So the product is built from blocks of ROWS rows
whose sums stay in registers from the first term to the last: for every term one line of the right
factor is loaded, and each of ROWS numbers of the left factor is multiplied with it and added (Goto
and van de Geijn 2008, "Anatomy of high-performance matrix multiplication"). No loop over arrays
compiles to that, since a compiler keeps sums in arrays in memory; so the block itself is written in
the compiler's language (LLVM), and everything around it is plain loops.

Sums run over their terms in order, whatever the processor: vectors only compute more sums at a
time.
"""
import itertools
from typing import NamedTuple

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from .arrays import CACHE_LINE, flat, on_stack
from .compiled import jit, quick_jit
from .runs import copy_runs, turn_runs, zero_run
from .written import INDEX, data_of, prefetch, size_of, spread, written

# A right factor is cut into panels of this many bytes a line, zeros after the last column, so that
# the columns that are multiplied together lie together in memory: two of the widest vectors that
# processors have.
PANEL_BYTES = 128

# Sums that fit into the registers: AVX-512 has 32 of 64 bytes, so 8 rows of a whole panel (16 of
# them); others are given 6 rows of half a panel.
WIDE = "+avx512f" in (config.CPU_FEATURES if config.CPU_FEATURES is not None
                      else llvmlite.binding.get_host_cpu_features().flatten()).split(",")
ROWS = 8 if WIDE else 6
DEPTH = 256                 # terms at a time: what is read again and again then stays in the first-level cache
UPRIGHT = 128               # the same for a left factor that is read down its columns, each term a line of the cache


def _prefetch_next(builder, c_start, line, lanes, nbytes):
    """The sums of the next block, that they may be there when it begins."""
    for r, c in itertools.product(range(ROWS, 2 * ROWS), range(0, lanes, lanes * CACHE_LINE // nbytes)):
        row = builder.mul(line, ir.Constant(line.type, r))
        prefetch(builder, builder.gep(c_start, [builder.add(row, ir.Constant(line.type, c))]))


def _register_block(nbytes):
    """block(a, left, b, right, c, out, depth, add): c = (or +=, where add is not 0) a (ROWS, depth)
    @ b (depth, nbytes).

    Flat arrays and where their numbers are: left is (i, row, step), right (j, apart), out (o, line)
    for a[i + r * row + k * step], b[j + k * apart + lane], c[o + r * line + lane].
    """
    @written(f"block_{nbytes}", "numbers numbers numbers index index index index index index")
    def write(builder, number, a_start, b_start, c_start, *settings):
        (row, step, apart, line, depth, add), lanes = settings, nbytes // size_of(number)
        vector = ir.VectorType(number, lanes)

        def times(value, number):
            return builder.mul(value, ir.Constant(INDEX, number))

        def line_at(start, offset):
            return builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())

        start = builder.block
        before, loop, after = (builder.append_basic_block(name) for name in ("before", "loop", "after"))
        builder.cbranch(builder.icmp_signed("!=", add, ir.Constant(INDEX, 0)), before, loop)
        builder.position_at_end(before)
        sums_before = [builder.load(line_at(c_start, times(line, r)), align=4) for r in range(ROWS)]
        _prefetch_next(builder, c_start, line, lanes, nbytes)
        builder.branch(loop)

        builder.position_at_end(loop)
        k = builder.phi(INDEX)
        sums = [builder.phi(vector) for _ in range(ROWS)]
        right = builder.load(line_at(b_start, builder.mul(k, apart)), align=4)
        sums_after = []
        for r in range(ROWS):
            one = builder.load(builder.gep(a_start, [builder.add(times(row, r), builder.mul(k, step))]))
            left = spread(builder, one, vector)
            fused = ("contract",)                       # one instruction multiplies, adds and rounds once
            sums_after.append(builder.fadd(sums[r], builder.fmul(left, right, flags=fused), flags=fused))
        next_k = builder.add(k, ir.Constant(INDEX, 1))
        builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, after)
        for phi, old, new in zip(sums, sums_before, sums_after, strict=True):
            phi.add_incoming(ir.Constant(vector, None), start)
            phi.add_incoming(old, before)
            phi.add_incoming(new, loop)
        k.add_incoming(ir.Constant(INDEX, 0), start)
        k.add_incoming(ir.Constant(INDEX, 0), before)
        k.add_incoming(next_k, loop)

        builder.position_at_end(after)
        for r in range(ROWS):
            builder.store(sums_after[r], line_at(c_start, times(line, r)), align=4)

    @intrinsic
    def block(typing, a, left, b, right, c, out, depth, add):
        def code(context, builder, signature, arguments):
            starts, settings = [], []
            for place in (0, 2, 4):
                first, *rest = (builder.extract_value(arguments[place + 1], k) for k in range(3 if place == 0 else 2))
                starts.append(data_of(context, builder, signature.args[place], arguments[place], first))
                settings += rest
            write(builder, a.dtype, *starts, *settings, *arguments[6:])
            return context.get_dummy_value()
        two, three = types.UniTuple(types.intp, 2), types.UniTuple(types.intp, 3)
        return types.void(a, three, b, two, c, two, types.intp, types.intp), code
    return block


def _loops(nbytes):
    """The same in Python, for NUMBA_DISABLE_JIT=1: slow, but every number can be watched."""
    def block(a, left, b, right, c, out, depth, add):
        (i, row, step), (j, apart), (o, line) = left, right, out
        rows, lanes = np.arange(ROWS), np.arange(nbytes // b.itemsize)
        place = o + line * rows[:, None] + lanes
        sums = c[place] if add else np.zeros(place.shape, c.dtype)
        for k in range(depth):
            sums += a[i + row * rows + k * step][:, None] * b[j + k * apart + lanes]
        c[place] = sums
    return block


_make = _loops if config.DISABLE_JIT else _register_block
_whole, _half = _make(PANEL_BYTES), _make(PANEL_BYTES // 2)
_edge = on_stack(ROWS * PANEL_BYTES)


class Left(NamedTuple):
    """A left factor in a flat array: term k of row r is numbers[start + r * row + k * step]."""
    numbers: np.ndarray
    start: int
    row: int
    step: int


class Right(NamedTuple):
    """A right factor in panels: term k of a column is numbers[start + its panel * panel + k * apart
    + its lane].
    """
    numbers: np.ndarray
    start: int
    apart: int
    panel: int


class Out(NamedTuple):
    """Where a product goes: row r begins at numbers[start + r * line] and has `columns` numbers."""
    numbers: np.ndarray
    start: int
    line: int
    columns: int


def panels(count: int, inner: int, columns: int, dtype) -> np.ndarray:
    """Room for `count` right factors (inner, columns): (count, panels, inner, lanes)."""
    lanes = PANEL_BYTES // np.dtype(dtype).itemsize
    return np.empty((count, -(-columns // lanes), inner, lanes), dtype)


@quick_jit
def multiply(left, rows, right, out, depth, add):
    """out (rows, columns) = (or +=, where add is not 0) left (rows, depth) @ right (depth,
    columns).
    """
    a, b, c = left.numbers, right.numbers, out.numbers
    edge = _edge(c)
    lanes = len(edge) // ROWS
    half = lanes // 2
    for p in range(-(-out.columns // lanes)):
        j, wide = right.start + p * right.panel, min(lanes, out.columns - p * lanes)
        size = lanes if WIDE and wide > half else half
        for r in range(0, rows, ROWS):
            place = left.start + r * left.row, left.row, left.step
            at, tall = out.start + r * out.line + p * lanes, min(ROWS, rows - r)
            for first in range(0, wide, size):
                factor, target, many = (j + first, right.apart), at + first, min(size, wide - first)
                if tall == ROWS and many == size:
                    if size == lanes:
                        _whole(a, place, b, factor, c, (target, out.line), depth, add)
                    else:
                        _half(a, place, b, factor, c, (target, out.line), depth, add)
                    continue
                if add:                                     # the block hangs over the matrix's edge
                    copy_runs(edge, 0, size, c, target, out.line, tall, many)
                if size == lanes:
                    _whole(a, place, b, factor, edge, (np.intp(0), size), depth, add)
                else:
                    _half(a, place, b, factor, edge, (np.intp(0), size), depth, add)
                copy_runs(c, target, out.line, edge, 0, size, tall, many)


@jit
def pack(b, transposed, first, panels):
    """Panel `first` and those after it of a matrix b, which may be given transposed: (panels,
    inner, lanes).
    """
    many, inner, lanes = panels.shape
    columns = b.shape[0] if transposed else b.shape[1]
    source, target = flat(b), flat(panels)
    for p in range(many):
        start = (first + p) * lanes
        wide = max(0, min(lanes, columns - start))
        if transposed:
            turn_runs(target, p * inner * lanes, lanes, source, start * inner, inner, wide, inner)
        else:
            copy_runs(target, p * inner * lanes, lanes, source, start, columns, inner, wide)
        for k in range(inner):
            zero_run(target, (p * inner + k) * lanes + wide, lanes - wide)
