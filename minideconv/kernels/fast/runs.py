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

from .compiled import jit_inside

VECTOR_BYTES = CACHE_LINE = 64
SHORT = 4                   # numbers in a row of a 4x4 window over one channel: most windows of the GANs on MNIST


def data_of(context, builder, kind, array, index):
    """The address of array[index]."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def spread(builder, number, vector):
    """A vector whose entries are all `number`."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def prefetch(builder, place):
    """What lies there is wanted soon, to be read or written: the second-level cache fetches its line meanwhile. It need
    not exist.
    """
    address, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [address, flag, flag, flag])
    settings = [ir.Constant(flag, number) for number in (0, 2, 1)]          # to read, second level, data
    builder.call(builder.module.declare_intrinsic("llvm.prefetch", [address], kind),
                 [builder.bitcast(place, address), *settings])


def call(builder, name, arguments, write):
    """Call a function of the module being compiled; write(builder, *arguments) writes it when it is
    first called. It is not copied to its callers.
    """
    function = builder.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        function = ir.Function(builder.module, kind, name)
        function.linkage = "linkonce_odr"               # other modules may hold the same
        function.attributes.add("noinline")
        inside = ir.IRBuilder(function.append_basic_block())
        write(inside, *function.args)
        inside.ret_void()
    builder.call(function, arguments)


def _run(context, builder, kind, target, length, source=None, weight=None, many=None, nothing=None):
    """target[:length] = source[:length], or zeros where there is none; or += weight * source[:length].

    many = (count, line, row): the same with `count` runs, `line` apart in the target and `row` in the source.
    nothing: a vector to which 0 times every number that was written is added.
    """
    index, number = context.get_value_type(types.intp), context.get_value_type(kind)
    zero, one, lanes = ir.Constant(index, 0), ir.Constant(index, 1), VECTOR_BYTES * 8 // kind.bitwidth
    given = [value for value in (source, weight, *(many or ()), nothing) if value is not None]
    sizes = [lanes >> n for n in range(lanes.bit_length())]                 # whole vectors, and the rest by halves
    vectors = {size: number if size == 1 else ir.VectorType(number, size) for size in sizes}

    def step(builder, lanes, c, target, source=None, weight=None, sums=None):
        """target[c:c + lanes], as one vector."""
        def at(start):
            return builder.bitcast(builder.gep(start, [c]), vectors[lanes].as_pointer())
        value = ir.Constant(vectors[lanes], None) if source is None else builder.load(at(source), align=4)
        if weight is not None:
            value = builder.fmul(value, weight if lanes == 1 else spread(builder, weight, vectors[lanes]))
            value = builder.fadd(builder.load(at(target), align=4), value)
        builder.store(value, at(target), align=4)
        if sums:
            fused, nought = ("contract",), ir.Constant(vectors[lanes], None)
            value = builder.fmul(value, nought, flags=fused)
            builder.store(builder.fadd(builder.load(sums[lanes]), value, flags=fused), sums[lanes])

    def write_one(builder, length, *run):
        whole = builder.and_(length, ir.Constant(index, -lanes))
        with cgutils.for_range_slice(builder, zero, whole, ir.Constant(index, lanes), index) as (c, _):
            step(builder, lanes, c, *run)
        for size in sizes[1:]:
            some = builder.and_(length, ir.Constant(index, size))
            with builder.if_then(builder.icmp_unsigned("!=", some, zero)):
                step(builder, size, builder.and_(length, ir.Constant(index, -2 * size)), *run)

    def write(builder, length, target, source, *rest):
        *weight, count, line, row = rest[:len(rest) - (nothing is not None)]
        sums = {size: cgutils.alloca_once_value(builder, ir.Constant(vector, None))
                for size, vector in vectors.items()} if nothing is not None else None

        def each(write_run):
            with cgutils.for_range_slice(builder, zero, count, one, index) as (r, _):
                to, of = builder.gep(target, [builder.mul(r, line)]), builder.gep(source, [builder.mul(r, row)])
                write_run(to, of, *(weight or [None]), sums)
        with builder.if_else(builder.icmp_signed("==", length, ir.Constant(index, SHORT))) as (short, other):
            with short:                                     # without asking, run by run, how long it is
                each(functools.partial(step, builder, SHORT, zero))
            with other:
                each(functools.partial(write_one, builder, length))
        for size in sizes if sums else ():
            place = builder.bitcast(rest[-1], vectors[size].as_pointer())
            builder.store(builder.fadd(builder.load(place, align=4), builder.load(sums[size])), place, align=4)

    name = f"minideconv_run_{len(given)}_{'checked_' if nothing is not None else ''}{kind}"
    call(builder, name, [length, target, *given], write if many else write_one)
    return context.get_dummy_value()


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


@intrinsic
def turn_runs(typing, out, o, line, a, i, row, high, wide):
    """out[o + c * line + r] = a[i + r * row + c] for r < high, c < wide: runs of a become columns of out."""
    def code(context, builder, signature, arguments):
        index, number = context.get_value_type(types.intp), context.get_value_type(out.dtype)
        vector = ir.VectorType(number, SIDE)

        def write(builder, target, source, line, row, high, wide):
            def at(start, apart, r, c, kind):
                return builder.bitcast(builder.gep(start, [builder.add(builder.mul(r, apart), c)]), kind.as_pointer())

            def each(first, last, step):
                return cgutils.for_range_slice(builder, first, last, ir.Constant(index, step), index)
            zero, sides = ir.Constant(index, 0), [ir.Constant(index, n) for n in range(SIDE)]
            whole_high, whole_wide = (builder.and_(size, ir.Constant(index, -SIDE)) for size in (high, wide))
            with each(zero, whole_high, SIDE) as (r, _), each(zero, whole_wide, SIDE) as (c, _):
                rows = [builder.load(at(source, row, builder.add(r, n), c, vector), align=4) for n in sides]
                for n, column in zip(sides, _turned(builder, rows), strict=True):
                    builder.store(column, at(target, line, builder.add(c, n), r, vector), align=4)
            for first, last, begin in ((zero, whole_high, whole_wide), (whole_high, high, zero)):   # what is left over
                with each(first, last, 1) as (r, _), each(begin, wide, 1) as (c, _):
                    builder.store(builder.load(at(source, row, r, c, number)), at(target, line, c, r, number))
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 3))
        call(builder, f"minideconv_turn_{out.dtype}", [target, source, arguments[2], *arguments[5:]], write)
        return context.get_dummy_value()
    return types.void(out, types.intp, types.intp, a, types.intp, types.intp, types.intp, types.intp), code


@intrinsic
def copy_run(typing, out, o, a, i, length):
    """out[o:][:length] = a[i:][:length]"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 2))
        return _run(context, builder, out.dtype, target, arguments[4], source)
    return types.void(out, types.intp, a, types.intp, types.intp), code


@intrinsic
def add_run(typing, out, o, a, i, weight, length):
    """out[o:][:length] += weight * a[i:][:length]"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 2))
        return _run(context, builder, out.dtype, target, arguments[5], source, arguments[4])
    return types.void(out, types.intp, a, types.intp, out.dtype, types.intp), code


@intrinsic
def copy_runs(typing, out, o, line, a, i, row, count, length):
    """out[o + r * line:][:length] = a[i + r * row:][:length] for r < count, one after the other"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 3))
        many = arguments[6], arguments[2], arguments[5]
        return _run(context, builder, out.dtype, target, arguments[7], source, many=many)
    return types.void(out, types.intp, types.intp, a, types.intp, types.intp, types.intp, types.intp), code


@intrinsic
def add_runs(typing, out, o, line, a, i, row, count, weight, length):
    """out[o + r * line:][:length] += weight * a[i + r * row:][:length] for r < count, one after the other"""
    def code(context, builder, signature, arguments):
        target, source = (data_of(context, builder, signature.args[place], *arguments[place:place + 2])
                          for place in (0, 3))
        many = arguments[6], arguments[2], arguments[5]
        return _run(context, builder, out.dtype, target, arguments[8], source, arguments[7], many)
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
                _run(context, builder, out.dtype, target, length, source, one, many, sums)
            with copying:
                _run(context, builder, out.dtype, target, length, source, None, many, sums)
        return context.get_dummy_value()
    index = types.intp
    return types.void(out, index, index, a, index, index, index, types.boolean, nothing), code


@intrinsic
def zero_run(typing, out, o, length):
    """out[o:][:length] = 0"""
    def code(context, builder, signature, arguments):
        target = data_of(context, builder, signature.args[0], *arguments[:2])
        return _run(context, builder, out.dtype, target, arguments[2])
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


@jit_inside
def aligned_zeros(count, like):
    """Zeros of like's dtype that begin where a vector may: one that lies across two lines of the cache takes twice as
    long.
    """
    room = np.zeros(count + VECTOR_BYTES // like.itemsize, like.dtype)
    start = -room.ctypes.data % VECTOR_BYTES // like.itemsize
    return room[start:start + count]


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
