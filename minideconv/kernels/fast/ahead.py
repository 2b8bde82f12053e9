"""Where no compiled kernels are kept yet, a process beside compiles some of those that a first
training step needs: two processors are done in little more than half the time.

Both keep what they compile in the same cache (compiled.py). This one begins with what takes longest, goes on with what
a step comes to last, and says what it begins with; the step waits for that, compiling meanwhile what the process would
begin last. So they meet somewhere in the middle, whichever of them is faster.
"""
import gc
import os
import subprocess
import sys
import threading

import numpy as np
from numba import config, typeof

from ...machine import available_threads
from ...shapes import Window
from ..reference import AdamStep, Affine
from .columns import correlate_by_columns, scatter_by_columns
from .compiled import coming, meanwhile
from .loops import Rest, adam, add_rows, moments, normalise_input, normalise_sums
from .passes import CorrelateRooms, Side, TransformRooms, Weights, Work, correlate, transform
from .written import written_combinations, written_functions


def compile_ahead():
    """Start the process, and return the thread that listens to it; None where it would be of no use. Both end by
    themselves.
    """
    if config.DISABLE_JIT or available_threads() < 2 or _kept():
        return None
    gc.freeze()                             # what is there stays: nobody need look through it for garbage again
    try:
        process = _start()
    except OSError:                         # no room for one more
        return None
    thread = threading.Thread(target=_listen, args=process, daemon=True)
    thread.start()
    return thread


def _start():
    """The process: a file that says, line by line, which of the kernels it begins with, and what waits for its end."""
    if sys.platform != "linux" or threading.active_count() > 1:
        process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, start_new_session=True, text=True)
        return process.stdout, process.wait
    reader, writer = os.pipe()
    process = os.fork()                     # it has imported everything already
    if process == 0:
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for file in range(3):           # who reads this process's output does not wait for the other one
                os.dup2(nothing, file)
            _compile(writer)
        finally:
            os._exit(0)
    os.close(writer)
    return open(reader, encoding="utf-8"), lambda: os.waitpid(process, 0)


def _compile(said: int) -> None:
    """What the process does; said: the descriptor of the file that says so."""
    for number, (kernel, kinds) in enumerate(calls()):
        os.write(said, f"{number}\n".encode())
        kernel.compile(kinds)


def _listen(said, wait) -> None:
    """Note which kernels the process begins with, until it ends."""
    kernels, ended = calls(), threading.Event()
    meanwhile.extend(kernels)
    try:
        with said:
            for number in said:
                kernel, kinds = kernels[int(number)]
                coming[kernel.py_func, kinds] = ended
    finally:
        ended.set()
        wait()


def _kept() -> bool:
    """Whether the cache has these kernels, or there is none that could keep them."""
    file = getattr(transform._cache, "_cache_file", None)
    try:
        return file is None or bool(file._load_index())
    except Exception:                       # a damaged index is made anew
        return False


def calls() -> list:
    """(kernel, the types of a step's arguments), in the order in which they are compiled."""
    def floats(*shape):
        return np.zeros(shape, np.float32)
    flat, matrix, panels, images = (floats(*[1] * axes) for axes in range(1, 5))
    window, affine = Window((4, 4), (2, 2), (1, 1), (1, 1), (2, 2), (1, 1)), Affine(flat, flat, flat, 0.2)
    total, places, finite = np.ones(1), np.zeros((1, 9), np.intp), np.ones(1, bool)
    work, side, weights = Work(places[0], places, places), Side(images, places), Weights(images, False, images)
    rooms = TransformRooms(flat, matrix, flat, flat)
    every = [(written_functions, (flat,)), (written_combinations, (flat,)),
             (transform, (work, side, weights, side, True, Rest(flat, 1.0), rooms, finite)),
             (correlate, (work, places[0], side, side, CorrelateRooms(flat, flat, flat), flat, images)),
             (correlate_by_columns, (images, images, window, 0, matrix, matrix, matrix)),
             (scatter_by_columns, (images, panels, window, matrix, matrix, images)),
             (normalise_sums, (matrix, matrix, affine, matrix, np.ones((1, 1)))),
             (moments, (matrix, matrix, total, total)),
             (add_rows, (matrix, flat)),
             (normalise_input, (matrix, matrix, affine, matrix, matrix)),
             (adam, (flat, flat, flat, flat, AdamStep(*[1.0] * len(AdamStep._fields))))]
    return [(kernel, tuple(map(typeof, arguments))) for kernel, arguments in every]


if __name__ == "__main__":
    _compile(sys.stdout.fileno())
