"""Runs: numbers that lie side by side, named by a flat array and the index where they start. The
other fast kernels are made of them.

Runs are short and many, and what a compiled loop over a slice costs besides its work (counting the
references to the array, asking whether runs overlap, whether an index is negative) would be more
than the work. So these few loops are written in the compiler's language (LLVM): vectors of 64 bytes
as long as they fit, then number by number. Callers see to it that runs lie inside their arrays.
"""
import functools

import llvmlite.ir as ir
import numpy as np
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from .arrays import CACHE_LINE
from .written import INDEX, data_of, prefetch, size_of, spread, written

VECTOR_BYTES = 64
SHORT = 4                   # numbers in a row of a 4x4 window over one channel: most windows of the GANs on MNIST


class _Runs:
    """What writes a function over runs, of what it is given: target[:length] = source[:length], or zeros without a
    source; += weight * source[:length] with a weight. With count, line, row: the same with `count` runs, `line` apart
    in the target and `row` in the source. With `nothing`, a vector: 0 times every number that was written is added to
    it.
    """
    target = source = weight = count = line = row = nothing = None

    def __init__(self, builder, number, given: dict):
        self.__dict__.update(given, builder=builder)
        self.lanes = VECTOR_BYTES // size_of(number)
        sizes = [self.lanes >> n for n in range(self.lanes.bit_length())]   # whole vectors, and the rest by halves
        self.vectors = {size: number if size == 1 else ir.VectorType(number, size) for size in sizes}
        self.sums = {size: cgutils.alloca_once_value(builder, ir.Constant(vector, None))
                     for size, vector in self.vectors.items()} if self.nothing else None

    def step(self, size, c, target, source):
        """target[c:c + size], as one vector."""
        builder, vector = self.builder, self.vectors[size]

        def at(start):
            return builder.bitcast(builder.gep(start, [c]), vector.as_pointer())
        value = builder.load(at(source), align=4) if source else ir.Constant(vector, None)
        if self.weight:
            value = builder.fmul(value, self.weight if size == 1 else spread(builder, self.weight, vector))
            value = builder.fadd(builder.load(at(target), align=4), value)
        builder.store(value, at(target), align=4)
        if self.sums:
            fused = ("contract",)
            value = builder.fmul(value, ir.Constant(vector, None), flags=fused)
            builder.store(builder.fadd(builder.load(self.sums[size]), value, flags=fused), self.sums[size])

    def run(self, target, source):
        """One run of any length."""
        builder, length = self.builder, self.length
        whole = builder.and_(length, ir.Constant(INDEX, -self.lanes))
        with self.range(whole, self.lanes) as (c, _):
            self.step(self.lanes, c, target, source)
        for size in list(self.vectors)[1:]:
            some = builder.icmp_unsigned("!=", builder.and_(length, ir.Constant(INDEX, size)), ir.Constant(INDEX, 0))
            with builder.if_then(some):
                self.step(size, builder.and_(length, ir.Constant(INDEX, -2 * size)), target, source)

    def runs(self, write):
        """write(target, source) for each of the runs."""
        builder = self.builder
        with self.range(self.count, 1) as (r, _):
            write(builder.gep(self.target, [builder.mul(r, self.line)]),
                  builder.gep(self.source, [builder.mul(r, self.row)]))

    def range(self, stop, step):
        """A loop from 0 to stop."""
        zero = ir.Constant(INDEX, 0)
        return cgutils.for_range_slice(self.builder, zero, stop, ir.Constant(INDEX, step), INDEX)

    def write(self):
        """The function's code."""
        builder = self.builder
        if self.count is None:
            self.run(self.target, self.source)
            return
        is_short = builder.icmp_signed("==", self.length, ir.Constant(INDEX, SHORT))
        with builder.if_else(is_short) as (short, other):
            with short:                                     # without asking, run by run, how long it is
                self.runs(functools.partial(self.step, SHORT, ir.Constant(INDEX, 0)))
            with other:
                self.runs(self.run)
        for size, total in (self.sums or {}).items():
            place = builder.bitcast(self.nothing, self.vectors[size].as_pointer())
            builder.store(builder.fadd(builder.load(place, align=4), builder.load(total)), place, align=4)


def _over_runs(name: str, given: str):
    """A function of what is given, see _Runs."""
    kinds = dict(target="numbers", source="numbers", nothing="numbers", weight="number")

    @written(name, " ".join(kinds.get(one, "index") for one in given.split()))
    def write(builder, number, *values):
        _Runs(builder, number, dict(zip(given.split(), values, strict=True))).write()
    return write


_zero_run, _copy_run = _over_runs("zero_run", "length target"), _over_runs("copy_run", "length target source")
_add_run = _over_runs("add_run", "length target source weight")
_copy_runs = _over_runs("copy_runs", "length target source count line row")
_add_runs = _over_runs("add_runs", "length target source weight count line row")
_copy_checked = _over_runs("copy_checked", "length target source count line row nothing")
_add_checked = _over_runs("add_checked", "length target source weight count line row nothing")


SIDE = 8                    # of the squares that are turned in registers


def _turned(builder, rows):
    """The columns of a square whose rows are vectors. In each round every row of the upper half and its fellow in the
    lower one are shuffled into two, number by number, as cards are.
    """
    count, half = len(rows), len(rows) // 2
    order = [n // 2 + n % 2 * count for n in range(2 * count)]
    halves = [ir.Constant(ir.VectorType(ir.IntType(32), count), part) for part in (order[:count], order[count:])]
    for _ in range(count.bit_length() - 1):
        rows = [builder.shuffle_vector(rows[r], rows[r + half], which) for r in range(half) for which in halves]
    return rows


@written("turn_runs", "numbers numbers index index index index")
def _turn_runs(builder, number, target, source, line, row, high, wide):
    zero, sides = ir.Constant(INDEX, 0), [ir.Constant(INDEX, n) for n in range(SIDE)]
    vector = ir.VectorType(number, SIDE)
    whole_high, whole_wide = (builder.and_(size, ir.Constant(INDEX, -SIDE)) for size in (high, wide))

    def at(start, apart, r, c, kind):
        return builder.bitcast(builder.gep(start, [builder.add(builder.mul(r, apart), c)]), kind.as_pointer())

    def each(first, last, step):
        return cgutils.for_range_slice(builder, first, last, ir.Constant(INDEX, step), INDEX)
    with each(zero, whole_high, SIDE) as (r, _), each(zero, whole_wide, SIDE) as (c, _):
        rows = [builder.load(at(source, row, builder.add(r, n), c, vector), align=4) for n in sides]
        for n, column in zip(sides, _turned(builder, rows), strict=True):
            builder.store(column, at(target, line, builder.add(c, n), r, vector), align=4)
    for first, last, begin in ((zero, whole_high, whole_wide), (whole_high, high, zero)):           # what is left over
        with each(first, last, 1) as (r, _), each(begin, wide, 1) as (c, _):
            builder.store(builder.load(at(source, row, r, c, number)), at(target, line, c, r, number))


@intrinsic
def turn_runs(typing, out, o, line, a, i, row, high, wide):
    """out[o + c * line + r] = a[i + r * row + c] for r < high, c < wide: runs of a become columns of out."""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 3))
        _turn_runs(builder, out.dtype, target, source, arguments[2], *arguments[5:])
        return context.get_dummy_value()
    return types.void(out, types.intp, types.intp, a, types.intp, types.intp, types.intp, types.intp), code


@intrinsic
def copy_run(typing, out, o, a, i, length):
    """out[o:][:length] = a[i:][:length]"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 2))
        _copy_run(builder, out.dtype, arguments[4], target, source)
        return context.get_dummy_value()
    return types.void(out, types.intp, a, types.intp, types.intp), code


@intrinsic
def add_run(typing, out, o, a, i, weight, length):
    """out[o:][:length] += weight * a[i:][:length]"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 2))
        _add_run(builder, out.dtype, arguments[5], target, source, arguments[4])
        return context.get_dummy_value()
    return types.void(out, types.intp, a, types.intp, out.dtype, types.intp), code


@intrinsic
def copy_runs(typing, out, o, line, a, i, row, count, length):
    """out[o + r * line:][:length] = a[i + r * row:][:length] for r < count, one after the other"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 3))
        _copy_runs(builder, out.dtype, arguments[7], target, source, arguments[6], arguments[2], arguments[5])
        return context.get_dummy_value()
    return types.void(out, types.intp, types.intp, a, types.intp, types.intp, types.intp, types.intp), code


@intrinsic
def add_runs(typing, out, o, line, a, i, row, count, weight, length):
    """out[o + r * line:][:length] += weight * a[i + r * row:][:length] for r < count, one after the other"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 3))
        *many, weight, length = (arguments[place] for place in (6, 2, 5, 7, 8))
        _add_runs(builder, out.dtype, length, target, source, weight, *many)
        return context.get_dummy_value()
    index = types.intp
    return types.void(out, index, index, a, index, index, index, out.dtype, index), code


@intrinsic
def deliver_runs(typing, out, o, line, a, i, count, length, add, nothing):
    """out[o + r * line:][:length] = (or += where `add`) a[i + r * length:][:length] for r < count; 0 times every number
    written is added to the vector `nothing`, which thus stays zero as long as all are finite.
    """
    def code(context, builder, signature, arguments):
        zero, start, length = ir.Constant(arguments[1].type, 0), arguments[4], arguments[6]
        target, source, sums = (data_of(context, builder, signature.args[place], arguments[place], start)
                                for place, start in ((0, arguments[1]), (3, start), (8, zero)))
        many, one = (arguments[5], arguments[2], length), ir.Constant(context.get_value_type(out.dtype), 1)
        with builder.if_else(arguments[7]) as (adding, copying):
            with adding:
                _add_checked(builder, out.dtype, length, target, source, one, *many, sums)
            with copying:
                _copy_checked(builder, out.dtype, length, target, source, *many, sums)
        return context.get_dummy_value()
    index = types.intp
    return types.void(out, index, index, a, index, index, index, types.boolean, nothing), code


@intrinsic
def zero_run(typing, out, o, length):
    """out[o:][:length] = 0"""
    def code(context, builder, signature, arguments):
        target = data_of(context, builder, signature.args[0], *arguments[:2])
        _zero_run(builder, out.dtype, arguments[2], target)
        return context.get_dummy_value()
    return types.void(out, types.intp, types.intp), code


@intrinsic
def prefetch_run(typing, a, i, length):
    """`prefetch` of a[i:][:length]"""
    def code(context, builder, signature, arguments):
        index, start = context.get_value_type(types.intp), data_of(context, builder, signature.args[0], *arguments[:2])
        zero, line = (ir.Constant(index, number) for number in (0, CACHE_LINE * 8 // a.dtype.bitwidth))
        with cgutils.for_range_slice(builder, zero, arguments[2], line, index) as (c, _):
            prefetch(builder, builder.gep(start, [c]))
        return context.get_dummy_value()
    return types.void(a, types.intp, types.intp), code


if config.DISABLE_JIT:          # the same in Python, where every number can be watched
    def copy_run(out, o, a, i, length):                         # noqa: F811
        out[o:o + length] = a[i:i + length]

    def add_run(out, o, a, i, weight, length):                  # noqa: F811
        out[o:o + length] += weight * a[i:i + length]

    def zero_run(out, o, length):                               # noqa: F811
        out[o:o + length] = 0

    def prefetch_run(a, i, length):                             # noqa: F811
        pass

    def copy_runs(out, o, line, a, i, row, count, length):      # noqa: F811
        for r in range(count):
            copy_run(out, o + r * line, a, i + r * row, length)

    def add_runs(out, o, line, a, i, row, count, weight, length):           # noqa: F811
        for r in range(count):
            add_run(out, o + r * line, a, i + r * row, weight, length)

    def deliver_runs(out, o, line, a, i, count, length, add, nothing):                  # noqa: F811
        for r in range(count):
            run = out[o + r * line:][:length]
            run[...] = a[i + r * length:][:length] + (run if add else 0)
            nothing[0] += (0 * run).sum()

    def turn_runs(out, o, line, a, i, row, high, wide):         # noqa: F811
        r, c = np.arange(high)[:, None], np.arange(wide)
        out[o + c * line + r] = a[i + r * row + c]
