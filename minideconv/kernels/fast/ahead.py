"""Where no compiled kernels are kept yet, a process beside compiles half of those that a first
training step needs: two processors are done in little more than half the time.

Both keep what they compile in the same cache (compiled.py). This one has what a step comes to late
or what takes longest; if the step asks for a kernel before it is finished, it waits for it, or
compiles it itself where the process has ended.
"""
import subprocess
import sys
import threading

import numpy as np
from numba import config, typeof

from ...machine import available_threads
from ...shapes import Window
from ..reference import Affine
from .columns import correlate_by_columns, gather_by_columns, scatter_by_columns
from .combinations import Tiling, correlate_tiles, untile
from .compiled import coming
from .loops import normalise_input, normalise_sums


def compile_ahead():
    """Start the process and return it, a subprocess.Popen; None where it would be of no use. It ends by itself."""
    if config.DISABLE_JIT or available_threads() < 2 or _kept():
        return None
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    coming.update({(kernel.py_func, tuple(map(typeof, arguments))): process for kernel, arguments in calls()})
    threading.Thread(target=process.wait, daemon=True).start()          # so that nothing of it is left once it ended
    return process


def _kept() -> bool:
    """Whether the cache has these kernels, or there is none that could keep them."""
    file = getattr(untile._cache, "_cache_file", None)
    try:
        return file is None or bool(file._load_index())
    except Exception:                       # a damaged index is made anew
        return False


def calls() -> list:
    """(kernel, arguments like those of a step), in the order in which they are compiled."""
    def floats(*shape):
        return np.zeros(shape, np.float32)
    images, panels, rows = floats(1, 1, 1, 1), floats(1, 1, 1), floats(1, 1)
    window = Window((4, 4), (2, 2), (1, 1), (1, 1), (2, 2), (1, 1))
    tiling, affine = Tiling(True, 2, 2, 2, 2, 1, 1, 2, 2), Affine(floats(1), floats(1), floats(1), 0.2)
    return [(untile, (floats(1), tiling, False, images)),
            (scatter_by_columns, (images, panels, window, images)),
            (gather_by_columns, (images, panels, window, images)),
            (correlate_by_columns, (images, images, window, 0, rows)),
            (correlate_tiles, (floats(1), floats(1), tiling, 1, 0, panels)),
            (normalise_sums, (rows, rows, affine, np.zeros((2, 1)))),
            (normalise_input, (rows, rows, affine, rows, rows))]


if __name__ == "__main__":
    for kernel, arguments in calls():
        kernel.compile(tuple(map(typeof, arguments)))
