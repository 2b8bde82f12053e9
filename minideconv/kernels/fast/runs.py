"""Runs: numbers that lie side by side, named by a flat array and the index where they start. The
other fast kernels are made of them.

Runs are short and many, and what a compiled loop over a slice costs besides its work (counting the
references to the array, asking whether runs overlap, whether an index is negative) would be more
than the work. So these few loops are written in the compiler's language (LLVM): vectors of 64 bytes
as long as they fit, then number by number. Callers see to it that runs lie inside their arrays.
"""
import llvmlite.ir as ir
import numpy as np
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

VECTOR_BYTES = 64


def data_of(context, builder, kind, array, index):
    """The address of array[index]."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def spread(builder, number, vector):
    """A vector whose entries are all `number`."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


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


def _run(context, builder, kind, target, length, source=None, weight=None, many=None):
    """target[:length] = source[:length], or zeros where there is none; or += weight * source[:length].

    many = (count, line, row): the same with `count` runs, `line` apart in the target and `row` in the source.
    """
    index, number = context.get_value_type(types.intp), context.get_value_type(kind)
    zero, one = ir.Constant(index, 0), ir.Constant(index, 1)
    given = [value for value in (source, weight, *(many or ())) if value is not None]

    def write_one(builder, length, target, source=None, weight=None):
        def step(c, lanes):
            vector = number if lanes == 1 else ir.VectorType(number, lanes)

            def at(start):
                return builder.bitcast(builder.gep(start, [c]), vector.as_pointer())
            value = ir.Constant(vector, None) if source is None else builder.load(at(source), align=4)
            if weight is not None:
                value = builder.fmul(value, weight if lanes == 1 else spread(builder, weight, vector))
                value = builder.fadd(builder.load(at(target), align=4), value)
            builder.store(value, at(target), align=4)

        lanes = VECTOR_BYTES * 8 // kind.bitwidth
        whole = builder.and_(length, ir.Constant(index, -lanes))
        with cgutils.for_range_slice(builder, zero, whole, ir.Constant(index, lanes), index) as (c, _):
            step(c, lanes)
        while lanes > 1:                                # the rest by halves
            lanes //= 2
            some = builder.and_(length, ir.Constant(index, lanes))
            with builder.if_then(builder.icmp_unsigned("!=", some, zero)):
                step(builder.and_(length, ir.Constant(index, -2 * lanes)), lanes)

    def write(builder, length, target, source, *rest):
        *weight, count, line, row = rest
        with cgutils.for_range_slice(builder, zero, count, one, index) as (r, _):
            places = (builder.gep(start, [builder.mul(r, apart)]) for start, apart in ((target, line), (source, row)))
            write_one(builder, length, *places, *weight)

    call(builder, f"minideconv_run_{len(given)}_{kind}", [length, target, *given], write if many else write_one)
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
def zero_run(typing, out, o, length):
    """out[o:][:length] = 0"""
    def code(context, builder, signature, arguments):
        target = data_of(context, builder, signature.args[0], *arguments[:2])
        return _run(context, builder, out.dtype, target, arguments[2])
    return types.void(out, types.intp, types.intp), code


if config.DISABLE_JIT:          # the same in Python, where every number can be watched
    def copy_run(out, o, a, i, length):                         # noqa: F811
        out[o:o + length] = a[i:i + length]

    def add_run(out, o, a, i, weight, length):                  # noqa: F811
        out[o:o + length] += weight * a[i:i + length]

    def zero_run(out, o, length):                               # noqa: F811
        out[o:o + length] = 0

    def copy_runs(out, o, line, a, i, row, count, length):      # noqa: F811
        for r in range(count):
            copy_run(out, o + r * line, a, i + r * row, length)

    def add_runs(out, o, line, a, i, row, count, weight, length):           # noqa: F811
        for r in range(count):
            add_run(out, o + r * line, a, i + r * row, weight, length)

    def turn_runs(out, o, line, a, i, row, high, wide):         # noqa: F811
        r, c = np.arange(high)[:, None], np.arange(wide)
        out[o + c * line + r] = a[i + r * row + c]
