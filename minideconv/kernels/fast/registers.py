"""Tiles of a few runs of numbers combined into a few others, in the processor's registers.

A loop that adds runs up one result at a time reads every number as often as it has a part in a
result, and first down, then across, would write all that lies between. Here a tile is read once,
its rows are combined, and what is across of them; only the results are written. No compiler does
that to loops over arrays, which might overlap, so it is written in the compiler's language (LLVM),
like the other short loops of runs.py.
"""
import functools

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .products import WIDE
from .written import INDEX, data_of, size_of, written

VECTOR_BYTES = 64 if WIDE else 32


def _sum(builder, row, terms):
    """The sum of the terms, each times its number of the row: 0 or plus or minus the same one, as 1/2. Those that are
    added come first. terms[i](): the value of term i.
    """
    total, scale = None, max(map(abs, row))
    for factor, term in sorted(zip(row, terms, strict=True), key=lambda pair: -pair[0]):
        if factor not in (0, scale, -scale):
            raise ValueError(f"combinations are sums and differences, all times one number; got {row}")
        if factor and total is None:
            total = term() if factor > 0 else builder.fneg(term())
        elif factor:
            total = (builder.fadd if factor > 0 else builder.fsub)(total, term())
    if scale == 1:
        return total
    kind = total.type
    factors = ir.Constant(kind, scale if not isinstance(kind, ir.VectorType) else [scale] * kind.count)
    return builder.fmul(total, factors)


def combinations(name: str, pairs: list):
    """combine(which, out, targets, out_apart, a, starts, apart, length, count): with (V, H) = pairs[which], run (k, l)
    of out = the sum of V[k, i] * H[l, j] times run (i, j) of a.

    Runs have `length` numbers and begin at out[targets[k, l]] and a[starts[i, j]]; `count` of each follow, out_apart
    and apart from each other. targets, starts: intp arrays, row by row. name: of the functions.
    """
    arguments = "numbers indices numbers indices index index index index"
    calls = [written(f"{name}_{place}", arguments, "written_combinations")(functools.partial(_write, pair))
             for place, pair in enumerate(pairs)]

    @intrinsic
    def combine(typing, which, out, targets, out_apart, a, starts, apart, length, count):
        def code(context, builder, signature, arguments):
            zero = ir.Constant(context.get_value_type(types.intp), 0)
            values = [data_of(context, builder, signature.args[place], arguments[place], zero)
                      for place in (1, 2, 4, 5)] + [arguments[place] for place in (3, 6, 7, 8)]
            done = builder.append_basic_block("combined")
            choice = builder.switch(arguments[0], done)
            for place, call in enumerate(calls):
                case = builder.append_basic_block(f"combine_{place}")
                choice.add_case(ir.Constant(zero.type, place), case)
                builder.position_at_end(case)
                call(builder, out.dtype, *values)
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()
        places, number = types.Array(types.intp, 1, "C"), types.intp
        return types.void(number, out, places, number, a, places, number, number, number), code

    def loops(which, out, targets, out_apart, a, starts, apart, length, count):
        """The same in Python, for NUMBA_DISABLE_JIT=1."""
        matrix = np.kron(*pairs[which])
        for r in range(count):
            used = [(start, i) for i, start in enumerate(starts) if matrix[:, i].any()]
            runs = {i: a[start + r * apart:][:length].copy() for start, i in used}
            for target, row in zip(targets, matrix, strict=True):
                out[target + r * out_apart:][:length] = sum(row[i] * run for i, run in runs.items() if row[i])
    return loops if config.DISABLE_JIT else combine


def _write(pair, builder, number, out, targets, a, starts, *sizes):
    """The function of one pair of matrices. Runs that no combination needs are not read."""
    (down, across), columns = pair, pair[1].shape[1]
    out_apart, apart, length, count = sizes

    def step(a, out, lanes):
        vector = number if lanes == 1 else ir.VectorType(number, lanes)

        def at(start, places, n):
            # Places are read anew each time (as if others wrote to them): kept, they would all be counted up.
            place = builder.load_atomic(builder.gep(places, [ir.Constant(INDEX, n)]), "monotonic", 8)
            return builder.bitcast(builder.gep(start, [place]), vector.as_pointer())

        def term(i, j):
            return builder.load(at(a, starts, i * columns + j), align=4)
        if WIDE:                                        # 32 registers have room for a tile, 16 would be written back
            term = functools.cache(term)
        for k, row in enumerate(down.tolist()):
            sums = [functools.cache(functools.partial(
                _sum, builder, row, [functools.partial(term, i, j) for i in range(len(row))])) for j in range(columns)]
            for l, weights in enumerate(across.tolist()):
                total = _sum(builder, weights, sums)
                builder.store(total, at(out, targets, k * len(across) + l), align=4)

    def each(c, width):
        step(builder.gep(a, [builder.add(from_, c)]), builder.gep(out, [builder.add(to, c)]), width)

    lanes, zero, one = (ir.Constant(INDEX, n) for n in (VECTOR_BYTES // size_of(number), 0, 1))
    some = builder.icmp_signed(">=", length, lanes)
    last = builder.sub(length, lanes)
    with cgutils.for_range_slice(builder, zero, count, one, INDEX) as (r, _):
        from_, to = builder.mul(r, apart), builder.mul(r, out_apart)
        with builder.if_else(some) as (vectors, numbers):
            with vectors, cgutils.for_range_slice(builder, zero, length, lanes, INDEX) as (c, _):
                # The last vector begins early enough to end with the run: what it has in common is written twice.
                each(builder.select(builder.icmp_signed("<", c, last), c, last), lanes.constant)
            with numbers, cgutils.for_range_slice(builder, zero, length, one, INDEX) as (c, _):
                each(c, 1)
