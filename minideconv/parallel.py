"""The one thread pool, and the one place that touches BLAS settings.

Work is split into chunks whose sizes depend on shapes alone, never on the number of threads, and every chunk writes its own part of
the result; so results are bit-identical for any number of threads. NumPy and Numba (nogil) both let go of the interpreter lock
while they compute, so plain Python threads keep every core busy.

Two pools fight: BLAS's idle workers spin on the core that ours need, which costs milliseconds at every switch. So BLAS gets one thread
while ours run, and its former setting back when they are done.
"""
import ctypes
import itertools
import os
import platform
import sys
import threading
from queue import SimpleQueue
from typing import NamedTuple

import numpy as np

SUM_BYTES = 1 << 22                     # what the shares of a sum may take together, once there are four

_lock = threading.RLock()
_thread = threading.local()             # .inside: this thread is at work for the pool; .buffers: its scratch memory
_jobs, _helpers = SimpleQueue(), 0      # what the pool's threads wait for, and how many they are
_threads = None


def available_threads() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_threads() -> int:
    """How many threads compute: set_num_threads, else the environment's MINIDECONV_NUM_THREADS, else all processors."""
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
    _blas.lock, _blas.users = threading.Lock(), 0


class _OneBlasThread:
    """While any thread is inside, BLAS computes with one thread; the last one out gives it its setting back."""

    def __init__(self):
        self.lock, self.users, self.libraries, self.former = threading.Lock(), 0, None, []

    def __enter__(self):
        with self.lock:
            if self.libraries is None:
                from threadpoolctl import ThreadpoolController
                self.libraries = ThreadpoolController().select(user_api="blas").lib_controllers
                _keep_memory()
            if self.users == 0:
                self.former = [library.num_threads for library in self.libraries]
                self._set([1] * len(self.former))
            self.users += 1

    def __exit__(self, *error):
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self._set(self.former)

    def _set(self, threads):
        for library, count in zip(self.libraries, threads):
            # threadpoolctl lets only the first thread that ever set OpenBLAS's limit change it; here our lock keeps order.
            getattr(library, "clear_controlling_thread", lambda force: None)(force=True)
            library.set_num_threads(count)


_blas = _OneBlasThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def run(task, count: int) -> None:
    """Call task(i) for every i in range(count), spread over the threads, and return when all are done.

    The caller's thread works too. Inside a task, `run` works through its own tasks alone. A task's exception is raised here; what has not begun then
    is left out.
    """
    if getattr(_thread, "inside", False):
        for index in range(count):
            task(index)
        return
    indices, dones, errors, all_done = itertools.count(), itertools.count(1), [], threading.Lock()

    def work():
        while (index := next(indices)) < count:
            try:
                if not errors:
                    task(index)
            except BaseException as error:      # Ctrl-C too: the others must be waited for before anybody goes on
                errors.append(error)
            if next(dones) == count:
                all_done.release()

    with _blas:
        all_done.acquire()
        helpers = min(num_threads(), count) - 1
        if helpers > 0:
            _ask_for_help(work, helpers)
        _thread.inside = True
        try:
            work()
        finally:
            _thread.inside = False
        if count > 0:
            all_done.acquire()      # wait for tasks that have begun; a helper that wakes up only now finds none left
    if errors:
        raise errors[0]


def spans(total: int, size: int) -> list[slice]:
    """`total` entries as slices of nearly equal lengths of at most `size`; a multiple of 4 of them, so that 2 or 4 threads end together."""
    count = -(-total // size)
    if count > 1:
        count = min(total, -(-count // 4) * 4)
    ends = [total * part // count for part in range(count + 1)] if count else [0]
    return [slice(start, end) for start, end in zip(ends, ends[1:])]


class Chunk(NamedTuple):
    """Images [first, last) of the batch and rows [top, bottom) of each."""
    first: int
    last: int
    top: int
    bottom: int


def chunks(count: int, rows: int, row_bytes: int, budget: int) -> list[Chunk]:
    """A batch of `count` images as chunks that take about `budget` bytes: whole images, or bands of rows (even ones, but for the last)."""
    if count == 0:
        return []
    images = min(budget // max(1, rows * row_bytes), -(-count // 4))
    if images >= 1 and count >= 4:
        return [Chunk(part.start, part.stop, 0, rows) for part in spans(count, images)]
    bands = spans((rows + 1) // 2, min(max(1, budget // (2 * row_bytes)), -(-rows // 8)))       # a few images share the cores too
    return [Chunk(n, n + 1, 2 * band.start, min(2 * band.stop, rows)) for n in range(count) for band in bands]


def shares(count: int, rows: int, row_bytes: int, budget: int, share_bytes: int) -> list[list[Chunk]]:
    """`chunks` in groups, one after the other, for sums over the batch: every group adds up a share of `share_bytes`, and there are few large ones."""
    every = chunks(count, rows, row_bytes, budget)
    groups = min(16, max(4, SUM_BYTES // share_bytes))
    return [every[part] for part in spans(len(every), max(1, -(-len(every) // groups)))]


def over_rows(kernel, *arrays, row_bytes: int = 1 << 18) -> None:
    """kernel(*parts) for chunks of rows (first axis) of arrays of equal length, about `row_bytes` of the first array each."""
    rows = len(arrays[0])
    size = max(1, row_bytes // max(1, arrays[0].nbytes // max(1, rows)))
    parts = spans(rows, size)
    if len(parts) < 2:
        kernel(*arrays)
    else:
        run(lambda index: kernel(*(array[parts[index]] for array in arrays)), len(parts))


def scratch(name: str, shape: tuple, dtype) -> np.ndarray:
    """An uninitialised array in memory that this thread keeps under `name`: valid until its next call with that name.

    Fresh memory of this size would be mapped, faulted in page by page and unmapped again at every call.
    """
    buffers = _thread.__dict__.setdefault("buffers", {})
    count = int(np.prod(shape))
    nbytes = count * np.dtype(dtype).itemsize
    buffer = buffers.get(name)
    if buffer is None or buffer.nbytes < nbytes:
        buffer = buffers[name] = np.empty(nbytes + 64, np.uint8)
        buffer = buffers[name] = buffer[-buffer.ctypes.data % 64:][:nbytes]         # a cache line's start
    return buffer[:nbytes].view(dtype).reshape(shape)


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.matmul with large 2-D products split over the rows (or, where these are few, the columns) of the result."""
    if a.ndim != 2 or b.ndim != 2 or a.dtype != b.dtype or a.shape[1] != b.shape[0] or a.shape[0] * b.shape[1] * max(a.shape[1], 8) < 1 << 20:
        with _blas:
            return np.matmul(a, b)
    rows, columns = a.shape[0], b.shape[1]
    out = np.empty((rows, columns), a.dtype)
    if a.shape[1] == 1:         # an outer product has nothing to add up, and BLAS only makes it slower
        parts = spans(rows, -(-rows // 4))
        run(lambda i: np.multiply(a[parts[i]], b, out=out[parts[i]]), len(parts))
    elif rows >= columns:
        parts = spans(rows, max(64, -(-rows // 8)))
        run(lambda i: np.matmul(a[parts[i]], b, out=out[parts[i]]), len(parts))
    else:
        parts = spans(columns, max(64, -(-columns // 8)))
        run(lambda i: np.matmul(a, b[:, parts[i]], out=out[:, parts[i]]), len(parts))
    return out


def sum(array: np.ndarray, axes: tuple, keepdims: bool) -> np.ndarray:
    """array.sum(axes), a large sum of floats over all but the last axis in parts (their sums are then added in their order).

    Integers and booleans are added in 64 bits.
    """
    if axes != tuple(range(array.ndim - 1)) or array.size < 1 << 18 or not array.flags.c_contiguous or array.dtype.kind != "f":
        wide = {"b": np.int64, "i": np.int64, "u": np.uint64}.get(array.dtype.kind)
        return array.sum(axis=axes, keepdims=keepdims, dtype=wide)
    rows = array.reshape(-1, array.shape[-1])
    parts = spans(len(rows), max(1, (1 << 16) // rows.shape[1]))
    shares = np.empty((len(parts), rows.shape[1]), array.dtype)
    ones = np.ones(len(rows), array.dtype)
    run(lambda i: np.matmul(ones[parts[i]], rows[parts[i]], out=shares[i]), len(parts))         # BLAS adds rows faster than NumPy does
    total = shares.sum(axis=0)
    return total.reshape((1,) * (array.ndim - 1) + total.shape) if keepdims else total


def _keep_memory() -> None:
    """Have the C library keep freed memory for this process instead of handing it back page by page (glibc; elsewhere nothing happens).

    A training step frees and takes again every array of the last one; mapped and faulted in anew each time they cost 15 to 20 % of it.
    What the user has set in the environment (MALLOC_...) stays as it is.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-1, 1 << 30), (-3, 1 << 30)):        # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, value)


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _has_avx512() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return " avx512f " in file.read()
    except OSError:
        return False


def blas_report() -> list[str]:
    """A line for each BLAS in this process, with the kernel it chose, and one more where this processor could do better."""
    from threadpoolctl import threadpool_info
    lines = []
    for library in threadpool_info():
        if library["user_api"] != "blas":
            continue
        kernel = library.get("architecture", "unknown")
        lines.append(f"BLAS: {library['internal_api']} {library['version']}, kernel {kernel}")
        if library["internal_api"] == "openblas" and kernel in ("Haswell", "Zen") and _has_avx512():
            lines.append("      this processor has AVX-512, which that kernel leaves unused: set OPENBLAS_CORETYPE=SkylakeX before Python starts "
                         "(Linear layers up to twice as fast; convolutions have products of their own)")
    return lines
