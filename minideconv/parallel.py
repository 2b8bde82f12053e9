"""The one thread pool, and how work is cut for it.

Work is split into chunks whose sizes depend on shapes alone, never on the number of threads, and
every chunk writes its own part of the result; so results are bit-identical for any number of
threads. NumPy and Numba (nogil) both let go of the interpreter lock while they compute, so plain
Python threads keep every core busy.

BLAS gets one thread while tasks of ours call it, see machine.py.
"""
import functools
import itertools
import math
import os
import threading
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

from .machine import OneBlasThread, available_threads, keep_memory

SMALL_BYTES, LARGE_BYTES = 3 << 19, 1 << 23      # of an array that is worked through once, see over_rows
SUM_BYTES = 1 << 22                     # what the shares of a sum may take together, once there are four

_lock = threading.RLock()
_thread = threading.local()             # .inside: this thread is at work for the pool; .views: of its scratch memory
_jobs, _helpers = SimpleQueue(), 0      # what the pool's threads wait for, and how many they are
_threads = None


def num_threads() -> int:
    """How many threads compute: set_num_threads, else the environment's MINIDECONV_NUM_THREADS,
    else all processors.
    """
    if _threads is None:
        named = os.environ.get("MINIDECONV_NUM_THREADS")
        if named and not (named.isdigit() and int(named) > 0):
            raise ValueError(f"MINIDECONV_NUM_THREADS must be a whole number above 0; got {named!r}")
        set_num_threads(int(named) if named else available_threads())
    return _threads


def set_num_threads(n: int) -> None:
    """Compute with `n` threads from now on. Results do not depend on it, only the time they take.

    Raises TypeError where n is no integer, ValueError where it is below 1.
    """
    global _threads
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"n must be an integer, the number of threads; got {n!r}")
    if n < 1:
        raise ValueError(f"n must be at least 1 thread; got {n}")
    _threads = int(n)
    keep_memory()


def _ask_for_help(job, count: int) -> None:
    """Have `count` threads of the pool call job()."""
    global _helpers
    with _lock:
        while _helpers < count:
            threading.Thread(target=_help, args=(_jobs,), name=f"minideconv_{_helpers}", daemon=True).start()
            _helpers += 1
    for _ in range(count):
        _jobs.put(job)


def _help(jobs: SimpleQueue) -> None:
    """What a thread of the pool does."""
    _thread.inside = True
    while True:
        job = jobs.get()
        job()
        del job                                 # and with it the arrays that it works on


def _after_fork() -> None:
    """A forked child has none of its parent's threads: let it make its own pool."""
    global _jobs, _helpers, _lock
    _jobs, _helpers, _lock = SimpleQueue(), 0, threading.RLock()
    one_blas_thread.after_fork()


one_blas_thread = OneBlasThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(task, count: int) -> None:
    """Call task(i) for every i in range(count), on all threads, and return when all are done.

    The caller's thread works too. Inside one of several tasks, `run` works through its own alone. A
    task's exception is raised here; what has not begun then is left out. Where tasks call NumPy's
    matrix products, enter `one_blas_thread` around it.
    """
    if getattr(_thread, "inside", False) or count == 1:
        for index in range(count):
            task(index)
    elif count > 0:
        _spread(task, count)


def _spread(task, count: int) -> None:
    """`run` for somebody who is not at work for the pool already."""
    indices, dones, errors, all_done = itertools.count(), itertools.count(1), [], threading.Lock()
    flag = np.zeros(1, np.int64)

    def work():
        while (index := next(indices)) < count:
            try:
                if not errors:
                    task(index)
            except BaseException as error:      # Ctrl-C too: the others must be waited for before anybody goes on
                errors.append(error)
            if next(dones) == count:
                flag[0] = 1
                all_done.release()

    all_done.acquire()
    helpers = min(num_threads(), count) - 1
    if helpers > 0:
        _ask_for_help(work, helpers)
    _thread.inside = True
    try:
        work()
    finally:
        _thread.inside = False
    if helpers > 0 and not flag[0]:
        _watch(flag)
    all_done.acquire()              # wait for tasks that have begun; a helper that wakes up only now finds none left
    if errors:
        raise errors[0]


def _watch(flag) -> None:
    """Wait a little for another thread, but not asleep, where no third one needs the processor."""
    if _threads <= available_threads():
        from .kernels.fast.waiting import watch
        watch(flag)


# The cuts of a layer are the same in every step.

@functools.lru_cache(maxsize=1024)
def spans(total: int, size: int) -> tuple[slice, ...]:
    """`total` entries as slices of nearly equal lengths of at most `size`; a multiple of 4 of them,
    so that 2 or 4 threads end together.
    """
    count = -(-total // size)
    if count > 1:
        count = min(total, -(-count // 4) * 4)
    ends = [total * part // count for part in range(count + 1)] if count else [0]
    return tuple(slice(start, end) for start, end in zip(ends, ends[1:], strict=False))


class Chunk(NamedTuple):
    """Images [first, last) of the batch and rows [top, bottom) of each."""
    first: int
    last: int
    top: int
    bottom: int


@functools.lru_cache(maxsize=1024)
def chunks(count: int, rows: int, row_bytes: int, budget: int) -> tuple[Chunk, ...]:
    """A batch of `count` images as chunks that take about `budget` bytes: whole images, or bands of
    rows (even ones, but for the last).
    """
    if count == 0:
        return ()
    images = min(budget // max(1, rows * row_bytes), -(-count // 4))
    if images >= 1 and count >= 4:
        return tuple(Chunk(part.start, part.stop, 0, rows) for part in spans(count, images))
    # A few images share the cores too.
    bands = spans((rows + 1) // 2, min(max(1, budget // (2 * row_bytes)), -(-rows // 8)))
    return tuple(Chunk(n, n + 1, 2 * band.start, min(2 * band.stop, rows)) for n in range(count) for band in bands)


@functools.lru_cache(maxsize=1024)
def shares(count: int, rows: int, row_bytes: int, budget: int, share_bytes: int) -> tuple[tuple[Chunk, ...], ...]:
    """`chunks` in groups, one after the other, for sums over the batch: every group adds up a share
    of `share_bytes`, and there are few large ones.
    """
    every = chunks(count, rows, row_bytes, budget)
    groups = min(16, max(4, SUM_BYTES // share_bytes))
    return tuple(every[part] for part in spans(len(every), max(1, -(-len(every) // groups))))


def over_rows(kernel, *arrays) -> None:
    """kernel(*parts) for parts of the rows (first axis) of arrays of equal length: four parts, or
    eight of a large array. A small array is one part, since waking a thread takes as long as it.
    """
    rows, nbytes = len(arrays[0]), arrays[0].nbytes
    parts = spans(rows, -(-rows // (4 if nbytes < LARGE_BYTES else 8))) if nbytes >= SMALL_BYTES else []
    if len(parts) < 2:
        kernel(*arrays)
    else:
        run(lambda index: kernel(*(array[parts[index]] for array in arrays)), len(parts))


def scratch(name: str, shape: tuple, dtype) -> np.ndarray:
    """An array in memory that this thread keeps under `name`: valid until its next call with that name. It holds what
    was left there, zeros at first.

    Fresh memory of this size would be mapped, faulted in page by page and unmapped again at every
    call.
    """
    views = _thread.__dict__.setdefault("views", {}).setdefault(name, {})      # None -> all of the memory
    if (array := views.get((shape, dtype))) is None:
        nbytes, buffer = math.prod(shape) * np.dtype(dtype).itemsize, views.get(None)
        if buffer is None or buffer.nbytes < nbytes or len(views) > 1024:
            views.clear()
            buffer = np.zeros(nbytes + 64, np.uint8)
            buffer = views[None] = buffer[-buffer.ctypes.data % 64:][:nbytes]               # a cache line's start
        array = views[shape, dtype] = buffer[:nbytes].view(dtype).reshape(shape)
    return array
