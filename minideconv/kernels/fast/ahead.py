"""Where no compiled kernels are kept yet, processes beside compile those that a first training step needs, one for each
processor. This one takes them from the cache (compiled.py) as they come, and the memory that compiling takes ends with
those processes: a training's own stays small.

They take rows of kernels, see calls(), from a pipe: no two get the same. Who has taken a row knows that those before it
have been taken, and waits for a kernel of theirs that one of its own calls.
"""
import contextlib
import functools
import gc
import os
import subprocess
import sys
import threading
import time

import numpy as np
from numba import config, typeof
from numba.core.registry import cpu_target

from ...machine import available_threads
from ...shapes import Window
from ..reference import AdamStep, Affine
from .columns import correlate_by_columns, gather_by_columns, scatter_by_columns
from .compiled import coming
from .loops import Rest, adam, add_rows, gate, moments, normalise, normalise_input, normalise_sums
from .matrices import Matrix, Rooms, multiply_part
from .passes import CorrelateRooms, Side, TransformRooms, Weights, Work, correlate, transform
from .products import pack
from .waiting import watch_flag
from .written import written_combinations, written_functions

MOST = 3                # processes: the longest row takes a third of the time of all
PATIENCE = 5.0          # seconds that one of them waits for another's kernel: that one may have come to grief


def compile_ahead():
    """Start the processes, and return the thread that waits for their end; None where they would be of no use."""
    if config.DISABLE_JIT or _kept():
        return None
    cpu_target.typing_context.refresh()     # what Numba does before its first kernel: once for all of them
    gc.freeze()                             # what is there stays: nobody need look through it for garbage again
    rows, processes = calls(), []
    with contextlib.suppress(OSError):      # no room for one more
        reader, writer = os.pipe()
        with open(writer, "wb") as filled, open(reader, "rb") as queue:
            filled.write(bytes(range(len(rows))))
            filled.close()
            for _ in range(min(available_threads(), MOST)):
                processes.append(_start(queue.fileno()))
    if not processes:
        return None
    ended = threading.Event()
    coming.update({kernel: ended.is_set for kernel in _kernels(rows)})
    thread = threading.Thread(target=_wait, args=(processes, ended), daemon=True)
    thread.start()
    return thread


def _start(queue: int):
    """A process, as the function that waits for its end."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return subprocess.Popen([sys.executable, "-m", __name__], stdin=queue, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True).wait
    process = os.fork()                     # it has imported everything already
    if process == 0:
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for file in range(3):           # who reads this process's output does not wait for the other one
                os.dup2(nothing, file)
            _compile(queue)
        finally:
            os._exit(0)
    return functools.partial(os.waitpid, process, 0)


def _wait(processes: list, ended: threading.Event) -> None:
    for wait in processes:
        with contextlib.suppress(ChildProcessError):        # where SIGCHLD is ignored, of the last one's end too
            wait()
    ended.set()


def _compile(queue: int) -> None:
    """What a process does; queue: the descriptor of the pipe that says which rows are left."""
    rows = calls()
    while number := os.read(queue, 1):
        until = time.monotonic() + PATIENCE
        coming.update(dict.fromkeys(_kernels(rows[:number[0]]), lambda until=until: time.monotonic() > until))
        for kernel, kinds in rows[number[0]]:
            kernel.compile(kinds)


def _kernels(rows: list) -> list:
    return [(kernel.py_func, kinds) for row in rows for kernel, kinds in row]


def _kept() -> bool:
    """Whether the cache has these kernels, or there is none that could keep them."""
    file = getattr(transform._cache, "_cache_file", None)
    try:
        return file is None or bool(file._load_index())
    except Exception:                       # a damaged index is made anew
        return False


def calls() -> list:
    """Rows of (kernel, the types of a step's arguments), in the order in which they are begun: what others call comes
    first, then what takes longest. One process compiles a row, whose kernels have parts in common.
    """
    def floats(*shape):
        return np.zeros(shape, np.float32)
    flat, matrix, panels, images = (floats(*[1] * axes) for axes in range(1, 5))
    window, affine = Window((4, 4), (2, 2), (1, 1), (1, 1), (2, 2), (1, 1)), Affine(flat, flat, flat, 0.2)
    total, places, finite = np.ones(1), np.zeros((1, 9), np.intp), np.ones(1, bool)
    work, side, weights = Work(places[0], places, places), Side(images, places), Weights(images, False, images)
    rooms, rest = TransformRooms(flat, matrix, flat, flat), Rest(flat, 1.0)
    a, part = Matrix(flat, 1, 1), (0, 1)
    rows = [[(written_functions, (flat,))], [(written_combinations, (flat,))],
            [(multiply_part, (a, a, 1, part, part, Rooms(flat, flat, flat, flat), a))],
            [(transform, (work, side, weights, side, True, rest, rooms, finite)),
             (correlate, (work, places[0], side, side, CorrelateRooms(flat, flat, flat), flat, images))],
            [(gather_by_columns, (images, panels, window, rest, matrix, images)),
             (scatter_by_columns, (images, panels, window, matrix, matrix, images)),
             (correlate_by_columns, (images, images, window, 0, matrix, matrix, matrix))],
            [(moments, (matrix, matrix, total, total))],
            [(normalise_sums, (matrix, matrix, affine, matrix, np.ones((1, 1))))],
            [(adam, (flat, flat, flat, flat, AdamStep(*[1.0] * len(AdamStep._fields))))],
            [(add_rows, (matrix, flat))], [(normalise_input, (matrix, matrix, affine, matrix, matrix))],
            [(normalise, (matrix, affine, matrix))], [(pack, (matrix, False, 0, panels))],
            [(gate, (flat, flat, 1.0, flat))], [(watch_flag, (places[0], 1, 1))]]
    return [[(kernel, tuple(map(typeof, arguments))) for kernel, arguments in row] for row in rows]


if __name__ == "__main__":
    _compile(sys.stdin.fileno())
