"""How kernels are compiled, how they call each other, and where what was compiled is kept.

A kernel that calls another one does not contain it, as Numba would have it: it calls it by a name, so each is compiled
once, and by whichever process has taken it (ahead.py). What comes from the cache first sees to it that the kernels
which it calls are there; a name that nobody knows would end the process.

The cache is never in the way. Numba keeps compiled kernels in files. Where it finds no folder to write to (a read-only
install without a home), a file that a crash cut short, or no room on the disk, its own cache raises an error; here the
kernels are compiled in memory, and one line on stderr says so. A damaged file is made anew.
"""
import contextlib
import copy
import functools
import gc
import hashlib
import importlib
import sys
import time
from pathlib import Path

import llvmlite.binding
import numpy as np
from numba import config, njit
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock

# NumPy's way with x / 0 (infinity, not an exception): a check at each division would keep a loop
# from using vector instructions. Kernels allocate nothing: they are given all the room they need, so there are no
# references to count (_nrt), which would take longer to compile.
_SETTINGS = dict(nogil=True, error_model="numpy", _nrt=False)
_said = []
coming = {}         # (function, types of its arguments) which a process beside this one compiles, see ahead.py -> a
                    # function: whether it is of no use to wait for that any longer
PREFIX = "minideconv_"          # of the names by which kernels call each other, and what written.py writes
named = {}          # such a name -> (kernel, types of its arguments) which, once it is there, can be called by it


def _say(problem: str) -> None:
    """One line on stderr, once."""
    if not _said:
        _said.append(problem)
        print(f"minideconv: compiled kernels are not kept on disk, each start will compile them again: "
              f"{problem}", file=sys.stderr)


def _sources() -> tuple:
    """What tells one version of this folder's files from another: kernels consist of functions of
    several files.
    """
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime, file.stat().st_size) for file in files)


class Cache(FunctionCache):
    """Numba's cache of one kernel, for which every failure only means that there is nothing kept.
    """

    def __init__(self, function):
        super().__init__(function)
        self._cache_file._source_stamp, self._function = _sources(), function

    def load_overload(self, sig, target_context):
        """What is kept, or will be in a moment; None where there is nothing."""
        useless = coming.get((self._function, sig))
        while True:
            over = useless is None or useless()
            try:
                found = super().load_overload(sig, target_context)
            except Exception:       # unpickling half a file may raise anything
                self._forget()
                return None
            if over or found is not None:
                return found
            time.sleep(0.01)

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data._replace(reload_init=[functools.partial(_load, _called(data.library))]))
        except Exception as error:
            _say(" ".join(str(error).split()))

    def _forget(self):
        """Begin the index anew: what is damaged will be written over."""
        try:
            self.flush()
        except OSError as error:
            _say(str(error))


def _called(library) -> list:
    """What is called by a name in compiled code: (module, name, types) of the kernel that has to be there."""
    names = [one.name for one in library._final_module.functions if one.is_declaration and one.name.startswith(PREFIX)]
    kernels = dict.fromkeys(named[name] for name in names)
    return [(kernel.__module__, kernel.__name__, kinds) for kernel, kinds in kernels]


def _load(kernels: list) -> None:
    """See to it that these kernels are there."""
    for module, name, kinds in kernels:
        getattr(importlib.import_module(module), name).compile(kinds)


def _call_by_name(kernel, kinds) -> None:
    """From now on kernels that call this one, with arguments of these types, do so by a name that is the same in every
    process.
    """
    code = kernel.overloads[kinds]
    about, target = copy.copy(code.fndesc), code.target_context
    which = hashlib.sha256(f"{kernel.__module__} {kinds}".encode()).hexdigest()
    about.mangled_name = f"{PREFIX}{kernel.__name__}_{which}"
    llvmlite.binding.add_symbol(about.mangled_name, code.library.get_pointer_to_function(code.fndesc.llvm_func_name))
    target.remove_user_function(code.entry_point)
    target.insert_user_function(code.entry_point, about)
    named[about.mangled_name] = kernel, kinds


def jit(function):
    """A kernel: compiled when it is first called with new types, and kept in the cache."""
    return _kernel(function, 2)


def quick_jit(function):
    """A kernel that is as fast when it is compiled with the first of LLVM's levels."""
    return _kernel(function, 1)


@contextlib.contextmanager
def _at_level(level):
    """Numba compiles with one of LLVM's levels. Meanwhile Python looks for garbage less often: nearly all that Numba
    makes is in use until the kernel is there, and to look through it time and again would take a tenth of the time.
    """
    former, (youngest, *older) = config.OPT, gc.get_threshold()
    try:
        config.OPT = type(former)(min(former, level))
        gc.set_threshold(youngest and max(youngest, 10_000), *older)            # 0: never
        yield
    finally:
        config.OPT = former
        gc.set_threshold(youngest, *older)


def _kernel(function, level):
    """A kernel compiled with one of LLVM's three levels. Numba's own choice is the third, which takes a tenth longer
    and makes none of them faster, and it has levels for the whole process only. (No entry from C: nobody calls it.)
    """
    dispatcher = njit(no_cfunc_wrapper=True, **_SETTINGS)(function)
    if config.DISABLE_JIT:
        return dispatcher
    try:
        dispatcher._cache = Cache(function)
    except (RuntimeError, OSError) as error:                # there is no folder that can be written to
        _say(" ".join(str(error).split()))
    compile_ = dispatcher.compile

    def compile_with_level(kinds):
        with global_compiler_lock:
            if kinds not in dispatcher.overloads:
                with _at_level(level):
                    compile_(kinds)
                _call_by_name(dispatcher, kinds)
            return dispatcher.overloads[kinds].entry_point
    dispatcher.compile = compile_with_level
    return dispatcher


def _only_inside(*arguments, **settings):
    raise TypeError("this is a part of compiled kernels, not to be called from Python; "
                    "with NUMBA_DISABLE_JIT=1 all of it is Python")


def jit_inside(function):
    """A part of kernels, kept with each of them. It has no entry from Python, which would take as
    long to compile as the part itself: a call from there raises TypeError.
    """
    dispatcher = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_SETTINGS)(function)
    if not config.DISABLE_JIT:
        # What has no entry must not be found: a call would jump to address zero.
        dispatcher._insert, dispatcher._compile_for_args = (lambda *entry, **kind: None), _only_inside
    return dispatcher


def plain(array: np.ndarray) -> np.ndarray:
    """The array itself if it is C-contiguous and writeable, else a copy that is: Numba compiles
    anew for every other kind.
    """
    return array if array.flags.c_contiguous and array.flags.writeable else np.array(array, order="C")
