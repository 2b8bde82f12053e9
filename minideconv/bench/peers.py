"""Processes that measure one case at a time, when asked over a pipe: PyTorch, and this engine where
it is to run as on another processor.

A process of its own, because two engines in one process share more than the processor: the
allocator (whose thresholds one engine's arrays change for the other's), and threads that spin for
a while after their work. Asked in turns in one process, and each turn begun with a call that does
not count, our side came out within 4 % of the same turns in two processes, PyTorch's between 2 %
faster and 15 % slower.

A question is a line of JSON, {"case": {...}, "threads": 2, "calls": 3}, and so is the answer,
{"ms": [...], "layout": "channels_last"}: the time of each call after some that do not count.
Between questions the process sleeps. What it says first is its version, or null.
"""
import contextlib
import json
import os
import subprocess
import sys
import time

# Both sides as on a processor without AVX-512, which is what most laptops have.
OURS_AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+popcnt",
             "OPENBLAS_CORETYPE": "Haswell"}
TORCH_AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


class Peer:
    """One such process: the module of this folder that it runs, and what its environment has besides ours. `version`
    is None where it cannot measure.
    """

    def __init__(self, module: str, environment: dict):
        # In a session of its own, so that Ctrl-C reaches us alone and ends in one line.
        self.process = subprocess.Popen([sys.executable, "-m", f"{__package__}.{module}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, start_new_session=True,
                                        env={**os.environ, **environment})
        try:
            self.version = self._answer()["version"]
        except OSError:
            self.close()
            raise

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise OSError("a measuring process ended before it answered (its own message, if any, is above): "
                          "--no-torch measures without PyTorch's")
        return json.loads(line)

    def timed(self, spec, threads: int, calls: int) -> tuple[list[float], str | None]:
        """One turn of this case: milliseconds, and the memory layout that is faster for it."""
        with contextlib.suppress(BrokenPipeError):      # a process that is gone gives no answer either
            self.process.stdin.write(json.dumps({"case": spec, "threads": threads, "calls": calls}) + "\n")
            self.process.stdin.flush()
        answer = self._answer()
        return answer["ms"], answer["layout"]

    def close(self):
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


def serve(version, set_num_threads, prepare) -> None:
    """Answer questions until stdin ends. prepare(case) gives a layout's name and a function that runs the case once.
    """
    print(json.dumps({"version": version}), flush=True)
    current, layout, run = None, None, None
    for line in sys.stdin:
        question = json.loads(line)
        set_num_threads(question["threads"])
        if question["case"] != current:
            run = None                                          # the former case's memory is given back first
            current = question["case"]
            layout, run = prepare(current)
        warm(run)
        answer = {"ms": [milliseconds(run) for _ in range(question["calls"])], "layout": layout}
        try:
            print(json.dumps(answer), flush=True)
        except BrokenPipeError:                                 # whoever asked is gone
            os._exit(0)


def warm(run) -> None:
    """Call run for a twentieth of a second, once at least: so long may a system leave two threads that slept on one
    processor, while the other one idles.
    """
    stop = time.perf_counter() + 0.05
    run()
    while time.perf_counter() < stop:
        run()


def milliseconds(run) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)
