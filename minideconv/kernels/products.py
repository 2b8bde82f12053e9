"""The matrix product of the fast kernels: a register block in the processor's own vector instructions, and the loops that feed it.

A processor that multiplies and adds two vectors of numbers in every cycle is kept busy only if almost nothing is loaded or stored in
between. So the product is built from blocks of ROWS rows whose sums stay in registers from the first term to the last: for every term one
line of the right factor is loaded, and each of ROWS numbers of the left factor is multiplied with it and added (Goto and van de Geijn 2008,
"Anatomy of high-performance matrix multiplication"). No loop over arrays compiles to that, since a compiler keeps sums in arrays in memory;
so the block itself is written in the compiler's language (LLVM), and everything around it is plain loops.

Sums run over their terms in order, whatever the processor: vectors only compute more sums at a time.
"""
import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from .reference import PANEL_BYTES
from .runs import call, copy_run, data_of, jit, jit_inside, spread, zero_run

# Sums that fit into the registers: AVX-512 has 32 of 64 bytes, so 8 rows of a whole panel (16 of them); others are given 6 rows of half a panel.
WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
ROWS = 8 if WIDE else 6
DEPTH = 256                 # terms at a time: what is read again and again then stays in the first-level cache


def _register_block(nbytes):
    """block(a, i, row, step, b, j, apart, c, o, line, depth, add): c = (or +=, where add is not 0) a (ROWS, depth) @ b (depth, nbytes).

    Flat arrays: a[i + r * row + k * step], b[j + k * apart + lane], c[o + r * line + lane].
    """
    @intrinsic
    def block(typing, a, i, row, step, b, j, apart, c, o, line, depth, add):
        def code(context, builder, signature, arguments):
            starts = (data_of(context, builder, signature.args[place], *arguments[place:place + 2]) for place in (0, 4, 7))
            settings = (arguments[place] for place in (2, 3, 6, 9, 10, 11))
            call(builder, f"minideconv_block_{nbytes}_{a.dtype}", [*starts, *settings], write)
            return context.get_dummy_value()

        def write(builder, a_start, b_start, c_start, row, step, apart, line, depth, add):
            index, lanes = row.type, nbytes * 8 // a.dtype.bitwidth
            vector = ir.VectorType(ir.FloatType() if a.dtype == types.float32 else ir.DoubleType(), lanes)

            def times(value, number):
                return builder.mul(value, ir.Constant(index, number))

            def line_at(start, offset):
                return builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())

            start = builder.block
            before, loop, after = (builder.append_basic_block(name) for name in ("before", "loop", "after"))
            builder.cbranch(builder.icmp_signed("!=", add, ir.Constant(index, 0)), before, loop)
            builder.position_at_end(before)
            sums_before = [builder.load(line_at(c_start, times(line, r)), align=4) for r in range(ROWS)]
            builder.branch(loop)

            builder.position_at_end(loop)
            k = builder.phi(index)
            sums = [builder.phi(vector) for _ in range(ROWS)]
            right = builder.load(line_at(b_start, builder.mul(k, apart)), align=4)
            sums_after = []
            for r in range(ROWS):
                left = spread(builder, builder.load(builder.gep(a_start, [builder.add(times(row, r), builder.mul(k, step))])), vector)
                fused = ("contract",)                   # one instruction multiplies, adds and rounds once
                sums_after.append(builder.fadd(sums[r], builder.fmul(left, right, flags=fused), flags=fused))
            next_k = builder.add(k, ir.Constant(index, 1))
            builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, after)
            for phi, old, new in zip(sums, sums_before, sums_after):
                phi.add_incoming(ir.Constant(vector, None), start)
                phi.add_incoming(old, before)
                phi.add_incoming(new, loop)
            k.add_incoming(ir.Constant(index, 0), start)
            k.add_incoming(ir.Constant(index, 0), before)
            k.add_incoming(next_k, loop)

            builder.position_at_end(after)
            for r in range(ROWS):
                builder.store(sums_after[r], line_at(c_start, times(line, r)), align=4)
        return types.void(a, types.intp, types.intp, types.intp, b, types.intp, types.intp, c, types.intp, types.intp, types.intp, types.intp), code
    return block


def _loops(nbytes):
    """The same in Python, for NUMBA_DISABLE_JIT=1: slow, but every number can be watched."""
    def block(a, i, row, step, b, j, apart, c, o, line, depth, add):
        rows, lanes = np.arange(ROWS), np.arange(nbytes // b.itemsize)
        place = o + line * rows[:, None] + lanes
        sums = c[place] if add else np.zeros(place.shape, c.dtype)
        for k in range(depth):
            sums += a[i + row * rows + k * step][:, None] * b[j + k * apart + lanes]
        c[place] = sums
    return block


_make = _loops if config.DISABLE_JIT else _register_block
_whole, _half = _make(PANEL_BYTES), _make(PANEL_BYTES // 2)


@jit_inside
def multiply(a, i, row, step, rows, b, j, apart, panel, c, o, line, columns, depth, add, edge):
    """c (rows, columns) = (or +=) a (rows, depth) @ b (depth, columns), at flat indices i, j, o; b's panels are `panel` from each other."""
    lanes = len(edge) // ROWS
    for p in range(-(-columns // lanes)):
        wide = min(lanes, columns - p * lanes)
        for r in range(0, rows, ROWS):
            at, tall = o + r * line + p * lanes, min(ROWS, rows - r)
            if tall == ROWS and wide == lanes and WIDE:
                _whole(a, i + r * row, row, step, b, j + p * panel, apart, c, at, line, depth, add)
            elif tall == ROWS and wide == lanes:
                _half(a, i + r * row, row, step, b, j + p * panel, apart, c, at, line, depth, add)
                _half(a, i + r * row, row, step, b, j + p * panel + lanes // 2, apart, c, at + lanes // 2, line, depth, add)
            else:                                           # the block hangs over the matrix's edge
                if add:
                    for q in range(tall):
                        copy_run(edge, q * lanes, c, at + q * line, wide)
                _half(a, i + r * row, row, step, b, j + p * panel, apart, edge, 0, lanes, depth, add)
                if 2 * wide > lanes:
                    _half(a, i + r * row, row, step, b, j + p * panel + lanes // 2, apart, edge, lanes // 2, lanes, depth, add)
                for q in range(tall):
                    copy_run(c, at + q * line, edge, q * lanes, wide)


@jit
def pack(b, transposed, first, panels):
    many, inner, lanes = panels.shape
    columns = b.shape[0] if transposed else b.shape[1]
    source, target = b.reshape(-1), panels.reshape(-1)
    for p in range(many):
        start = (first + p) * lanes
        wide = max(0, min(lanes, columns - start))
        for k in range(inner):
            line = (p * inner + k) * lanes
            if transposed:
                for lane in range(wide):
                    target[line + lane] = source[(start + lane) * inner + k]
            else:
                copy_run(target, line, source, k * columns + start, wide)
            zero_run(target, line + wide, lanes - wide)
