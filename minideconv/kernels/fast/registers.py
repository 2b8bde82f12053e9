"""A few runs of numbers combined into a few others, in the processor's registers.

A loop that adds runs up one result at a time reads every number as often as it has a part in a
result. Here each is read once: all sums are made of the same registers, and written once. No
compiler does that to loops over arrays, which might overlap, so it is written in the compiler's
language (LLVM), like the other short loops of runs.py.
"""
import functools

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .products import WIDE
from .runs import call, data_of

VECTOR_BYTES = 64 if WIDE else 32           # up to eight runs and their sums fit into the registers


def _sum(builder, row, terms):
    """The sum of the terms, each times its number of the row; those that are added first."""
    total = None
    for factor, term in sorted(zip(row, terms, strict=True), key=lambda pair: -pair[0]):
        if factor not in (0, 1, -1):
            raise ValueError(f"combinations are sums and differences; got a factor of {factor}")
        if factor and total is None:
            total = term if factor > 0 else builder.fneg(term)
        elif factor:
            total = (builder.fadd if factor > 0 else builder.fsub)(total, term)
    return ir.Constant(terms[0].type, None) if total is None else total


def combinations(name: str, matrices: list):
    """combine(which, out, targets, out_apart, a, starts, apart, length, count): run k of out = the sum of
    matrices[which][k, i] times run i of a.

    Runs have `length` numbers and begin at out[targets[k]] and a[starts[i]]; `count` of each follow, out_apart and
    apart from each other. targets, starts: intp arrays. name: of the machine functions.
    """
    @intrinsic
    def combine(typing, which, out, targets, out_apart, a, starts, apart, length, count):
        def code(context, builder, signature, arguments):
            zero = ir.Constant(context.get_value_type(types.intp), 0)
            values = [data_of(context, builder, signature.args[place], arguments[place], zero)
                      for place in (1, 2, 4, 5)] + [arguments[place] for place in (3, 6, 7, 8)]
            done = builder.append_basic_block("combined")
            choice = builder.switch(arguments[0], done)
            for place, matrix in enumerate(matrices):
                case = builder.append_basic_block(f"combine_{place}")
                choice.add_case(ir.Constant(zero.type, place), case)
                builder.position_at_end(case)
                call(builder, f"minideconv_{name}_{place}_{out.dtype}", values, functools.partial(_write, matrix))
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()
        places, number = types.Array(types.intp, 1, "C"), types.intp
        return types.void(number, out, places, number, a, places, number, number, number), code

    def loops(which, out, targets, out_apart, a, starts, apart, length, count):
        """The same in Python, for NUMBA_DISABLE_JIT=1."""
        for r in range(count):
            runs = [a[start + r * apart:][:length].copy() for start in starts]
            for target, row in zip(targets, matrices[which], strict=False):
                total = sum((factor * run for factor, run in zip(row, runs, strict=False) if factor), np.zeros(length))
                out[target + r * out_apart:][:length] = total
    return loops if config.DISABLE_JIT else combine


def _write(matrix, builder, out, targets, a, starts, out_apart, apart, length, count):
    """The machine function of one matrix. Runs that no combination needs are not read."""
    index, scalar = length.type, out.type.pointee
    read = [i for i in range(matrix.shape[1]) if matrix[:, i].any()]

    def place(start, places, i):
        return builder.gep(start, [builder.load(builder.gep(places, [ir.Constant(index, i)]))])
    sources, results = [place(a, starts, i) for i in read], [place(out, targets, k) for k in range(len(matrix))]

    def step(from_, to, lanes):
        vector = scalar if lanes == 1 else ir.VectorType(scalar, lanes)

        def at(start, offset):
            return builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())
        terms = [builder.load(at(source, from_), align=4) for source in sources]
        for row, result in zip(matrix[:, read].tolist(), results, strict=True):
            builder.store(_sum(builder, row, terms), at(result, to), align=4)

    bits = 32 if isinstance(scalar, ir.FloatType) else 64
    lanes, zero, one = VECTOR_BYTES * 8 // bits, ir.Constant(index, 0), ir.Constant(index, 1)
    whole = builder.and_(length, ir.Constant(index, -lanes))
    with cgutils.for_range_slice(builder, zero, count, one, index) as (r, _):
        from_, to = builder.mul(r, apart), builder.mul(r, out_apart)
        for start, stop, width in (zero, whole, lanes), (whole, length, 1):
            with cgutils.for_range_slice(builder, start, stop, ir.Constant(index, width), index) as (c, _):
                step(builder.add(from_, c), builder.add(to, c), width)
