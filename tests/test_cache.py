"""Compiled kernels are kept on disk where that is possible, and nothing breaks where it is not (fault 19)."""
import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

import minideconv
from minideconv.kernels.fast import ahead, arrays, columns, compiled, loops, runs
from minideconv.shapes import Window

PROGRAM = """
import numpy as np
from minideconv.kernels.fast import loops
p = np.ones(3, np.float32)
out = np.empty_like(p)
loops.gate(p, p, 1.0, out)
print(out.sum(), sum(loops.gate._cache_hits.values()))
"""
LINE = "compiled kernels are not kept on disk"


def run(folder, program=PROGRAM, place=None):
    """The program in a process of its own, started in `place`."""
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(folder), **({"PYTHONPATH": str(place)} if place else {})}
    return subprocess.run([sys.executable, "-c", program], env=variables, cwd=place, capture_output=True, text=True)


def test_a_second_start_compiles_nothing(tmp_path):
    assert [run(tmp_path).stdout.split() for _ in range(2)] == [["3.0", "0"], ["3.0", "1"]]


FIRST_STEP = """
from numba.core import event
from minideconv.bench import cases
from minideconv.kernels.fast import ahead
compiled = []
class Listener(event.Listener):
    def on_start(self, e):
        compiled.append(e.data["dispatcher"].__name__)
    def on_end(self, e):
        pass
event.register("numba:compile", Listener())
cases.build({"kind": "gan", "batch": 128})()
cases.build({"kind": "recipe", "what": "rounds", "batch": 64})()
print(ahead.compile_ahead(), *compiled)
"""


def test_a_process_beside_compiles_what_the_first_step_needs(tmp_path):
    """And the default's first rounds, R1 among them: all but what it was not given. Once there are kernels it is not
    started.
    """
    names = [[kernel.__name__ for kernel, _ in row] for row in ahead.calls()]
    given = [n for n, row in enumerate(names) if row != ["gate"]]
    done = subprocess.run([sys.executable, "-m", "minideconv.kernels.fast.ahead"], input=bytes(given),
                          capture_output=True, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(given) == len(names) - 1
    answer = run(tmp_path, FIRST_STEP)
    assert answer.stdout.split() == ["None", "gate"], answer.stderr


@pytest.mark.parametrize("platform, threads, started, fail", [
    ("win32", 1, 1, None), ("darwin", 2, 2, None), ("linux", 64, 3, None), ("win32", 2, 1, 1), ("win32", 2, 0, 0)])
def test_they_are_started_where_nothing_is_kept(monkeypatch, platform, threads, started, fail):
    """One for each processor, as far as it is of use; as programs of their own where a process cannot be copied. Those
    that could be started go on if there is no room for more.
    """
    told, kernels = [], [(kernel.py_func, kinds) for row in ahead.calls() for kernel, kinds in row]

    class Process:
        def __init__(self, command, stdin, **settings):
            if told.count("started") == fail:
                raise BlockingIOError("Resource temporarily unavailable")
            assert command == [sys.executable, "-m", ahead.__name__]
            told.append("started")
            self.queue = os.dup(stdin)

        def wait(self):
            assert list(ahead.coming) == kernels and not any(over() for over in ahead.coming.values())
            with open(self.queue, "rb") as queue:           # it does all of them
                told.append(queue.read())
            raise ChildProcessError("No child processes")
    monkeypatch.setattr(ahead.subprocess, "Popen", Process)
    monkeypatch.setattr(ahead, "sys", SimpleNamespace(platform=platform, executable=sys.executable))
    monkeypatch.setattr(ahead, "available_threads", lambda: threads)
    monkeypatch.setattr(ahead, "_kept", lambda: False)
    monkeypatch.setattr(ahead, "coming", {})
    monkeypatch.setattr(ahead.threading, "active_count", lambda: 2)
    monkeypatch.setattr(ahead.threading, "Thread", lambda target, args, daemon: SimpleNamespace(
        start=lambda: target(*args)))
    assert (ahead.compile_ahead() is None) == (started == 0)
    rows = bytes(range(len(ahead.calls())))
    assert told == ["started"] * started + [rows, b"", b""][:started]
    assert list(ahead.coming) == (kernels if started else []) and all(over() for over in ahead.coming.values())


def test_without_room_for_a_pipe_none_is_started(monkeypatch):
    def full():
        raise OSError("Too many open files")
    monkeypatch.setattr(ahead, "_kept", lambda: False)
    monkeypatch.setattr(ahead, "coming", {})
    monkeypatch.setattr(ahead.os, "pipe", full)
    assert ahead.compile_ahead() is None and not ahead.coming


def test_they_are_not_started_where_kernels_are_kept_or_cannot_be(tmp_path):
    answer = run(tmp_path, "from minideconv.kernels.fast import ahead\nprint(ahead._kept())")
    assert answer.stdout.split() == ["False"], answer.stderr
    nowhere = "from numba.core import caching\ncaching.CacheImpl._locator_classes = []\n"
    answer = run("", nowhere + "from minideconv.kernels.fast import ahead\nprint(ahead._kept())")
    assert answer.stdout.split() == ["True"], answer.stderr


def test_what_another_one_has_taken_is_waited_for(monkeypatch):
    """For some time: rows before the own one, not the own and those after it."""
    rows = [[(SimpleNamespace(py_func=f"{n}{part}", compile=None), "kinds") for part in "ab"] for n in range(4)]
    waited, now = [], [0.0]

    def compile_(kinds):
        waited.append([name for name, _ in ahead.coming])
        for over in ahead.coming.values():
            assert not over()
        now[0] += ahead.PATIENCE + 1
        assert all(over() for over in ahead.coming.values())
    for row in rows:
        for kernel, _ in row:
            kernel.compile = compile_
    monkeypatch.setattr(ahead, "calls", lambda: rows)
    monkeypatch.setattr(ahead, "coming", {})
    monkeypatch.setattr(ahead, "time", SimpleNamespace(monotonic=lambda: now[0]))
    queue, filled = os.pipe()
    os.write(filled, bytes([0, 2]))
    os.close(filled)
    rows[0].pop(), rows[2].pop()
    ahead._compile(queue)
    os.close(queue)
    assert waited == [[], ["0a", "1a", "1b"]]


COPY = """
import os
import time
from types import SimpleNamespace
import numba
import numpy as np
from minideconv.kernels.fast import ahead, loops
p = np.ones(3, np.float32)
ahead.available_threads = lambda: 2
this = os.getpid()
def take_long(kinds):
    if os.getpid() != this:
        time.sleep(20)
        open("ended", "w")
slow = SimpleNamespace(py_func=None, compile=take_long)
ahead.calls = lambda: [[(loops.gate, tuple(map(numba.typeof, (p, p, 1.0, p))))], [(slow, ())]]
ahead.compile_ahead()
out = np.empty_like(p)
loops.gate(p, p, 1.0, out)
print(out.sum(), sum(loops.gate._cache_hits.values()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a copy of the process elsewhere: see the test above")
def test_a_copy_of_the_process_compiles_what_is_waited_for(tmp_path):
    """And who waits for the output of a program that has ended does not wait for its copy."""
    answer = run(tmp_path, COPY.replace('"ended"', repr(str(tmp_path / "ended"))))
    assert (answer.stdout.split(), answer.stderr) == (["3.0", "1"], "")
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize("dtype, ends, asked, hits", [("float32", False, 3, 1), ("float32", True, 3, 0),
                                                      ("float64", False, 0, 0)])
def test_what_a_process_beside_compiles_is_waited_for(tmp_path, monkeypatch, dtype, ends, asked, hits):
    """Until it is there, or that is of no use any longer; other types are nothing that it compiles."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    polls = []

    def over():
        polls.append(len(polls))
        assert len(polls) <= 3, "who waits for nothing would wait forever"
        if len(polls) == 3 and not ends:
            monkeypatch.setattr(compiled, "coming", {})
            assert started() == (3, 0)                                          # the other one's
        return len(polls) == 3 and ends
    kinds = tuple(map(numba.typeof, (*[np.ones(3, np.float32)] * 2, 1.0, np.ones(3, np.float32))))
    monkeypatch.setattr(compiled, "coming", {(loops.gate.py_func, kinds): over})
    assert started(dtype) == (3, hits) and len(polls) == asked


def started(dtype="float32"):
    """What PROGRAM prints, from a kernel made anew in this process, as a start makes it."""
    gate, p = compiled.jit(loops.gate.py_func), np.ones(3, dtype)
    out = np.empty_like(p)
    gate(p, p, 1.0, out)
    return out.sum(), sum(gate._cache_hits.values())


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 1, 50])
def test_fault_19_a_damaged_file_is_made_anew(tmp_path, monkeypatch, capfd, kind, left):
    """Cut short by a crash, at its start or in the middle."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(compiled, "_said", [])
    assert [started(), started()] == [(3, 0), (3, 1)]
    damaged = [path for path in Path(tmp_path).rglob(f"*.{kind}") if "gate" in path.name]
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:left])
    assert [started(), started()] == [(3, 0), (3, 1)]
    assert capfd.readouterr() == ("", "")


WINDOWS = """
import numpy as np
from minideconv.kernels.fast import columns, written
from minideconv.shapes import Window
x, cols = np.ones((1, 2, 2, 1), np.float32), np.zeros((1, 1, 1, 2, 2, 1), np.float32)
columns.im2col(x, Window((2, 2), (1, 1), (0, 0), (1, 1), (2, 2), (1, 1)), cols)
kernels = columns.im2col, columns.many_windows, written.written_functions
print(cols.sum(), *(sum(kernel._cache_hits.values()) for kernel in kernels))
"""


@pytest.mark.parametrize("lost", [(), ("many_windows",), ("written_functions",), ("many_windows", "written_functions")])
def test_a_kernel_that_is_kept_finds_what_it_calls_by_name(tmp_path, lost):
    """Another kernel, and the functions that this one calls: kept as well, or compiled again. A name that nobody knows
    would end the process.
    """
    assert run(tmp_path, WINDOWS).stdout.split() == ["4.0", "0", "0", "0"]
    for name in lost:
        files = list(Path(tmp_path).rglob(f"*{name}*"))
        assert files
        for path in files:
            path.unlink()
    kept = [str(int(name not in lost)) for name in ("many_windows", "written_functions")]
    for hits in (kept, ["1", "1"]):
        answer = run(tmp_path, WINDOWS)
        assert (answer.stdout.split(), answer.returncode, answer.stderr) == (["4.0", "1", *hits], 0, "")


def test_each_kernel_is_compiled_once(tmp_path):
    """Not again with every kernel that calls it, and by the same name: whichever process it comes from."""
    first = WINDOWS.replace("columns.im2col(x", "columns.col2im(cols").replace("(1, 1)), cols)", "(1, 1)), x)")
    assert run(tmp_path, first).stdout.split() == ["0.0", "0", "0", "0"]
    assert run(tmp_path, WINDOWS).stdout.split() == ["4.0", "0", "1", "1"]
    assert run(tmp_path, WINDOWS).stdout.split() == ["4.0", "1", "1", "1"]


def test_processes_that_start_together_do_not_disturb_each_other(tmp_path):
    variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    together = [subprocess.Popen([sys.executable, "-c", WINDOWS], env=variables, stdout=subprocess.PIPE, text=True)
                for _ in range(4)]
    assert [process.communicate()[0].split()[:1] for process in together] == [["4.0"]] * 4
    assert [process.returncode for process in together] == [0] * 4
    assert run(tmp_path, WINDOWS).stdout.split() == ["4.0", "1", "1", "1"]


@pytest.mark.parametrize("thresholds", [(700, 10, 10), (50_000, 5, 5), (0, 10, 10)])
def test_garbage_is_looked_for_as_often_as_before_once_a_kernel_is_compiled(thresholds):
    """Also if it cannot be."""
    former, seen = gc.get_threshold(), []
    try:
        gc.set_threshold(*thresholds)
        with pytest.raises(NumbaError):
            compiled.jit(lambda x: undefined(x))(np.ones(3))                    # noqa: F821
        assert gc.get_threshold()[:2] == thresholds[:2]
        with compiled._at_level(1):
            seen.append(gc.get_threshold()[0])
    finally:
        gc.set_threshold(*former)
    assert seen == [{700: 10_000, 50_000: 50_000, 0: 0}[thresholds[0]]]


def test_a_kernel_does_not_contain_what_it_calls(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    kernel, x, cols = compiled.quick_jit(columns.im2col.py_func), np.ones((1, 2, 2, 1)), np.zeros((1, 1, 1, 2, 2, 1))
    kernel(x, Window((2, 2), (1, 1), (0, 0), (1, 1), (2, 2), (1, 1)), cols)
    code, = kernel.overloads.values()
    assert [name for _, name, _ in compiled._called(code.library)] == ["many_windows"]
    assert "copy_runs" not in code.library.get_llvm_str() and cols.all()


def test_a_kernel_calls_functions_of_every_dtype_that_it_has():
    inner = compiled.quick_jit(lambda part: runs.zero_run(part, 0, 1))

    def both(narrow, wide):
        inner(narrow)
        inner(wide)
    wide, narrow = np.ones(1), np.ones(1, np.float32)
    compiled.quick_jit(both)(narrow, wide)
    assert wide == narrow == 0


def test_only_what_lies_in_one_piece_is_seen_in_other_shapes():
    kernel = compiled.quick_jit(lambda x: runs.zero_run(arrays.flat(x), 0, x.size))
    x = np.ones((3, 4))
    with pytest.raises(NumbaError, match="only C-contiguous arrays"):
        kernel(x[:, :2])
    kernel(x)
    assert not x.any()


def test_fault_19_no_room_on_the_disk(tmp_path):
    """Every write fails: one line, and the kernels run."""
    full = "import builtins, errno\n" \
           "def full(path, mode='r', *a, given=open, **k):\n" \
           "    if 'w' in mode and '.nb' in str(path):\n" \
           "        raise OSError(errno.ENOSPC, 'No space left on device', str(path))\n" \
           "    return given(path, mode, *a, **k)\n" \
           "builtins.open = full\n"
    answer = run(tmp_path, full + PROGRAM)
    assert answer.stdout.split() == ["3.0", "0"]
    assert answer.stderr.count("\n") == 1 and LINE in answer.stderr and "No space left" in answer.stderr


def test_fault_19_a_read_only_install_without_a_home():
    """No folder that can be written to: compiled in memory, with one line that says so."""
    nowhere = "from numba.core import caching\n" \
              "caching.CacheImpl._locator_classes = []\n"
    answer = run("", nowhere + PROGRAM)
    assert answer.stdout.split() == ["3.0", "0"]
    assert LINE in answer.stderr and len([line for line in answer.stderr.splitlines() if LINE in line]) == 1


def test_kernels_made_of_changed_parts_are_compiled_again(tmp_path):
    """A kernel's own file may be as it was while a part of it, in another file, was changed."""
    package = tmp_path / "minideconv"
    shutil.copytree(Path(minideconv.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    hits = []
    for changed in (False, False, True):
        if changed:
            part = package / "kernels/fast/runs.py"
            part.write_text(part.read_text() + "\n")
        hits.append(run(tmp_path / "cache", place=tmp_path).stdout.split()[1])
    assert hits == ["0", "1", "0"]
