"""Waiting for another thread without going to sleep: to be woken takes an operating system about as long as a small
task does.
"""
import platform

import llvmlite.ir as ir
from numba import config, types
from numba.extending import intrinsic

from .compiled import quick_jit
from .runs import data_of

TURNS, AFTER = 4000, 300        # of some 25 nanoseconds (an AMD processor of 2024) to 50 (an Intel one of 2020)


@intrinsic
def _read(typing, flag):
    """flag[0], as it is in memory now."""
    def code(context, builder, signature, arguments):
        zero = ir.Constant(context.get_value_type(types.intp), 0)
        return builder.load_atomic(data_of(context, builder, signature.args[0], arguments[0], zero), "acquire", 8)
    return types.int64(flag), code


@intrinsic
def _pause(typing):
    """A moment in which the processor does nothing, on x86."""
    def code(context, builder, signature, arguments):
        if platform.machine().lower() in ("x86_64", "amd64"):
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), nothing), [])
        return context.get_dummy_value()
    return types.void(), code


@quick_jit
def _watch(flag, turns, after):
    for _ in range(turns):
        if _read(flag) != 0:
            break
        _pause()
    for _ in range(after):
        _pause()


def watch(flag) -> None:
    """Return soon after another thread has written to flag, int64 (1,) of zeros, or after a tenth of a millisecond.

    Not at once: who wrote to it had the interpreter's lock, and needs a moment to let go of it.
    """
    if not config.DISABLE_JIT:              # as Python it would keep the interpreter to itself
        _watch(flag, TURNS, AFTER)
