"""What this process computes on: processors, the BLAS library and its threads, and the memory that
the C library keeps.

The one place that touches BLAS settings and memory policy.
"""
import ctypes
import os
import platform
import sys
import threading


def available_threads() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OneBlasThread:
    """While any thread is inside, BLAS computes with one thread; the last one out gives it its
    setting back.

    Two pools of threads fight: BLAS's idle workers spin on the core that the engine's need, which
    costs milliseconds at every switch.
    """

    def __init__(self):
        self.lock, self.users, self.libraries, self.former = threading.Lock(), 0, None, []

    def __enter__(self):
        with self.lock:
            if self.libraries is None:
                from threadpoolctl import ThreadpoolController
                self.libraries = ThreadpoolController().select(user_api="blas").lib_controllers
            if self.users == 0:
                self.former = [library.num_threads for library in self.libraries]
                self._set([1] * len(self.former))
            self.users += 1

    def __exit__(self, *error):
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self._set(self.former)

    def after_fork(self):
        """A forked child has none of its parent's threads, so nobody is inside."""
        self.lock, self.users = threading.Lock(), 0

    def _set(self, threads):
        for library, count in zip(self.libraries, threads, strict=True):
            # threadpoolctl lets only the first thread that ever set OpenBLAS's limit change it;
            # here our lock keeps order.
            getattr(library, "clear_controlling_thread", lambda force: None)(force=True)
            library.set_num_threads(count)


def keep_memory() -> None:
    """Have the C library keep freed memory for this process instead of handing it back page by page
    (glibc; elsewhere nothing happens).

    A training step frees and takes again every array of the last one; mapped and faulted in anew
    each time they cost 15 to 20 % of it. What the user has set in the environment (MALLOC_...)
    stays as it is.
    """
    mallopt = _c_library("mallopt")
    if mallopt is not None and not any(name.startswith("MALLOC_") for name in os.environ):
        for option, value in ((-1, 1 << 30), (-3, 1 << 30)):        # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, value)


def return_memory() -> None:
    """Hand back once what `keep_memory` has kept: for what takes memory of another kind than a training step, such as
    drawing. The next step has to take its own anew, which costs it some milliseconds.
    """
    malloc_trim = _c_library("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _c_library(name: str):
    """A function of glibc, or None where there is none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None


def _cpuinfo() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def processor() -> str:
    """The processor's name."""
    names = (line.split(":", 1)[1].strip() for line in _cpuinfo().splitlines() if line.startswith("model name"))
    return next(names, None) or platform.processor() or platform.machine()


def blas_report() -> list[str]:
    """A line for each BLAS in this process, with the kernel it chose, and one more where this
    processor could do better.
    """
    from threadpoolctl import threadpool_info
    lines = []
    for library in threadpool_info():
        if library["user_api"] != "blas":
            continue
        kernel = library.get("architecture", "unknown")
        lines.append(f"BLAS: {library['internal_api']} {library['version']}, kernel {kernel}")
        if library["internal_api"] == "openblas" and kernel in ("Haswell", "Zen") and " avx512f " in _cpuinfo():
            lines.append("      this processor has AVX-512, which that kernel leaves unused: set "
                         "OPENBLAS_CORETYPE=SkylakeX before Python starts "
                         "(NumPy's products up to twice as fast; layers have products of their own)")
    return lines
