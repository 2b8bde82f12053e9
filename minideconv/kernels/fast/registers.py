"""A few runs of numbers combined into a few others, in the processor's registers.

A loop that adds runs up one result at a time reads every number as often as it has a part in a
result. Here each is read once: all sums are made of the same registers, and written once. No
compiler does that to loops over arrays, which might overlap, so it is written in the compiler's
language (LLVM), like the other short loops of runs.py.
"""
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .runs import VECTOR_BYTES, call, data_of


def _sum(builder, row, terms):
    """The sum of the terms, each times its number of the row: the last term first, since that is what is added."""
    total = None
    for factor, term in sorted(zip(row, terms, strict=True), key=lambda pair: -pair[0]):
        if factor == 0:
            continue
        if factor not in (1, -1):
            term = builder.fmul(term, ir.Constant(term.type, [abs(factor)] * term.type.count
                                                  if isinstance(term.type, ir.VectorType) else abs(factor)))
        if total is None:
            total = term if factor > 0 else builder.fneg(term)
        else:
            total = builder.fadd(total, term) if factor > 0 else builder.fsub(total, term)
    return total


def combination(name: str, matrix: np.ndarray):
    """combine(out, targets, out_apart, a, starts, apart, length, count): run k of out = the sum of matrix[k, i] times
    run i of a.

    Runs have `length` numbers and begin at out[targets[k]] and a[starts[i]]; `count` of each follow, out_apart and
    apart from each other. targets, starts: intp arrays. name: of the machine function. Columns of zeros are not read.
    """
    read = [i for i in range(matrix.shape[1]) if matrix[:, i].any()]
    coefficients = matrix[:, read].tolist()

    @intrinsic
    def combine(typing, out, targets, out_apart, a, starts, apart, length, count):
        number = out.dtype

        def code(context, builder, signature, arguments):
            none = ir.Constant(context.get_value_type(types.intp), 0)
            pointers = [data_of(context, builder, signature.args[place], arguments[place], none) for place in (0, 1, 3, 4)]
            call(builder, f"minideconv_{name}_{number}", [*pointers, *(arguments[place] for place in (2, 5, 6, 7))], write)
            return context.get_dummy_value()

        def write(builder, out, targets, a, starts, out_apart, apart, length, count):
            index, scalar = length.type, out.type.pointee

            def place(start, places, i):
                return builder.gep(start, [builder.load(builder.gep(places, [ir.Constant(index, i)]))])
            sources, results = [place(a, starts, i) for i in read], [place(out, targets, k) for k in range(len(matrix))]

            def step(from_, to, lanes):
                vector = scalar if lanes == 1 else ir.VectorType(scalar, lanes)

                def at(start, offset):
                    return builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())
                terms = [builder.load(at(source, from_), align=4) for source in sources]
                for row, result in zip(coefficients, results, strict=True):
                    builder.store(_sum(builder, row, terms), at(result, to), align=4)

            lanes, zero, one = VECTOR_BYTES * 8 // number.bitwidth, ir.Constant(index, 0), ir.Constant(index, 1)
            whole = builder.and_(length, ir.Constant(index, -lanes))
            with cgutils.for_range_slice(builder, zero, count, one, index) as (r, _):
                from_, to = builder.mul(r, apart), builder.mul(r, out_apart)
                for start, stop, width in (zero, whole, lanes), (whole, length, 1):
                    with cgutils.for_range_slice(builder, start, stop, ir.Constant(index, width), index) as (c, _):
                        step(builder.add(from_, c), builder.add(to, c), width)
        places = types.Array(types.intp, 1, "C")
        return types.void(out, places, types.intp, a, places, types.intp, types.intp, types.intp), code

    def loops(out, targets, out_apart, a, starts, apart, length, count):
        """The same in Python, for NUMBA_DISABLE_JIT=1."""
        for r in range(count):
            runs = [a[starts[i] + r * apart:][:length].copy() for i in read]
            for target, row in zip(targets, coefficients, strict=False):
                total = sum(factor * run for factor, run in zip(row, runs, strict=True) if factor)
                out[target + r * out_apart:][:length] = total
    return loops if config.DISABLE_JIT else combine
