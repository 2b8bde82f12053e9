"""Sharing work with other threads, and waiting for them, without Python and without going to sleep: to be woken takes
an operating system about as long as a small task does.
"""
import platform
import threading
import time

import llvmlite.ir as ir
from numba import config, types
from numba.extending import intrinsic

from .compiled import jit_inside, quick_jit
from .written import data_of

TURNS, AFTER = 4000, 300        # of some 25 nanoseconds (an AMD processor of 2024) to 50 (an Intel one of 2020)


@intrinsic
def _read(typing, counters, n):
    """counters[n], as it is in memory now."""
    def code(context, builder, signature, arguments):
        return builder.load_atomic(data_of(context, builder, signature.args[0], *arguments), "acquire", 8)
    return types.int64(counters, types.intp), code


@intrinsic
def take(typing, counters, n):
    """counters[n], int64, which is then one more: no two threads get the same."""
    def code(context, builder, signature, arguments):
        place = data_of(context, builder, signature.args[0], *arguments)
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "acq_rel")
    return types.int64(counters, types.intp), code


@intrinsic
def _pause(typing):
    """A moment in which the processor does nothing, on x86."""
    def code(context, builder, signature, arguments):
        if platform.machine().lower() in ("x86_64", "amd64"):
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), nothing), [])
        return context.get_dummy_value()
    return types.void(), code


@jit_inside
def wait(counters, n, count):
    """Until counters[n] is at least `count`: what others have begun takes a moment."""
    while _read(counters, n) < count:
        _pause()


if config.DISABLE_JIT:                      # the same in Python
    _lock = threading.Lock()

    def take(counters, n):                  # noqa: F811
        with _lock:
            counters[n] += 1
            return counters[n] - 1

    def wait(counters, n, count):           # noqa: F811
        while counters[n] < count:
            time.sleep(0)


@quick_jit
def watch_flag(flag, turns, after):
    for _ in range(turns):
        if _read(flag, 0) != 0:
            break
        _pause()
    for _ in range(after):
        _pause()


def watch(flag) -> None:
    """Return soon after another thread has written to flag, int64 (1,) of zeros, or after a tenth of a millisecond.

    Not at once: who wrote to it had the interpreter's lock, and needs a moment to let go of it.
    """
    if not config.DISABLE_JIT:              # as Python it would keep the interpreter to itself
        watch_flag(flag, TURNS, AFTER)
