"""Functions in the compiler's language (LLVM), for what no compiler makes of loops over arrays: short runs (runs.py),
blocks of products (products.py), combinations in registers (registers.py).

Kernels call them by name, as they call each other. Two kernels, which do nothing else, have all of them for one dtype.
"""
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiled import PREFIX, named, quick_jit

INDEX = ir.IntType(types.intp.bitwidth)
_NUMBERS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
_functions = {}         # name -> (kinds of its arguments, what writes it, the name of the kernel that has it)


def written(name: str, arguments: str, kernel: str = "written_functions"):
    """A decorator of write(builder, number, *arguments), which writes a function for arrays of LLVM's type `number`.

    arguments: of what kind each is, "index", "number", or the address of "indices" or "numbers". What becomes of it is
    call(builder, dtype, *arguments): a call of that function. kernel: which of those below has its code.
    """
    def register(write):
        _functions[name] = arguments.split(), write, kernel

        def call(builder, dtype, *values):
            function, kinds = _function(builder.module, name, dtype), (types.Array(dtype, 1, "C"),)
            home = globals()[kernel]
            home.compile(kinds)
            named[function.name] = home, kinds
            builder.call(function, values)
        return call
    return register


def size_of(number) -> int:
    """The bytes of LLVM's float or double."""
    return 4 if number == ir.FloatType() else 8


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


def _function(module, name, dtype):
    """The function, as a module knows it that has its code, or calls it."""
    kinds = _functions[name][0]
    full, number = f"{PREFIX}{name}_{dtype}", _NUMBERS[dtype]
    if full not in module.globals:
        known = {"index": INDEX, "number": number, "indices": INDEX.as_pointer(), "numbers": number.as_pointer()}
        ir.Function(module, ir.FunctionType(ir.VoidType(), [known[kind] for kind in kinds]), full)
    return module.globals[full]


def _write_all(kernel):
    """What writes the code of all functions of a kernel, for arrays like the one that it is given."""
    @intrinsic
    def write_all(typing, like):
        def code(context, builder, signature, arguments):
            for name, (_, write, home) in _functions.items():
                if home == kernel:
                    function = _function(builder.module, name, like.dtype)
                    inside = ir.IRBuilder(function.append_basic_block())
                    write(inside, _NUMBERS[like.dtype], *function.args)
                    inside.ret_void()
            return context.get_dummy_value()
        return types.void(like), code
    return write_all


_functions_here, _combinations_here = _write_all("written_functions"), _write_all("written_combinations")


@quick_jit
def written_functions(like):
    """Does nothing; but once it is compiled, or comes from the cache, the functions for arrays like this one can be
    called.
    """
    _functions_here(like)


@quick_jit
def written_combinations(like):
    """The same, of registers.py: they take longest, and are for the shorter ways alone."""
    _combinations_here(like)
