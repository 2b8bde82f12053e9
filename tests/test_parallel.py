"""The thread pool: the same bits for any number of threads, several users at once, faults, nesting,
BLAS's setting, and forks.
"""
import os
import platform
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import minideconv as md
import minideconv.functional as F
from minideconv import machine, nn, optim, parallel
from minideconv.kernels.fast import compiled, lowering, rows, waiting


@pytest.fixture(autouse=True)
def restored():
    """Whatever a test sets, the next one starts with the number of threads that was there."""
    before = parallel.num_threads()
    yield
    md.set_num_threads(before)


@pytest.fixture
def small_chunks(monkeypatch):
    """So that arrays of a test's size are many chunks, as those of real training are."""
    monkeypatch.setattr(lowering, "COLUMN_BYTES", 1 << 14)
    monkeypatch.setattr(rows, "ROW_BYTES", 1 << 12)


def trio(seed=0):
    rng = np.random.default_rng(seed)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((12, 11, 10, 6), (4, 4, 6, 9)))
    y = F.conv2d(x, w, stride=2, padding=1).data
    return [y, F.conv_transpose2d(y, w, stride=2, padding=1, output_size=(11, 10)).data,
            F.conv_kernel_grad(x, y, 4, 2, 1).data, F.im2col(x, 3).data]


def normalised(seed=0):
    rng = np.random.default_rng(seed)
    x, weight, bias = (md.Tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
                       for shape in ((9, 20, 7, 5), 5, 5))
    running = np.zeros(5, np.float32), np.ones(5, np.float32)
    y = F.batch_norm(x, *running, weight, bias, training=True, negative_slope=0.2)
    y.backward(rng.standard_normal(y.shape).astype(np.float32))
    return [y.data, x.grad, weight.grad, bias.grad, *running]


def training(seed=0):
    """Two steps of a small network, every kernel of the engine on the way."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Conv2d(1, 8, 4, stride=2, padding=1, rng=rng), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
                          nn.MaxPool2d(2), nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, rng=rng), nn.LeakyReLU(0.2),
                          nn.Flatten(), nn.Linear(256, 300, rng=rng), nn.Linear(300, 1, rng=rng))
    optimiser = optim.Adam(model.parameters(), 1e-3)
    x, target = rng.standard_normal((40, 16, 16, 1)).astype(np.float32), rng.integers(0, 2, (40, 1))
    for _ in range(2):
        loss = F.binary_cross_entropy_with_logits(model(md.Tensor(x)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return [loss.data, *model.state_dict().values()]


@pytest.mark.parametrize("job", [trio, normalised, training])
def test_bit_identical_for_any_number_of_threads(kernels, small_chunks, job):
    results = []
    for threads in (1, 2, 3, 4):
        md.set_num_threads(threads)
        results.append(job())
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_large_product_is_split_alike_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    for shape in ((700, 90, 130), (3, 400, 2000)):
        a, b = rng.integers(-3, 4, shape[:2]).astype(np.float32), rng.integers(-3, 4, shape[1:]).astype(np.float32)
        for threads in (1, 2, 3):
            md.set_num_threads(threads)
            assert np.array_equal(rows.matmul(a, b), np.einsum("ik,kj->ij", a.astype(int), b.astype(int)))


@pytest.mark.parametrize("job", [trio, normalised, training])
def test_several_users_at_once_get_what_each_gets_alone(kernels, small_chunks, job):
    md.set_num_threads(3)
    alone = [job(seed) for seed in range(4)]
    together, start = [[] for _ in range(4)], threading.Barrier(4)

    def user(seed):
        start.wait()
        for _ in range(3):
            together[seed].append(job(seed))
    users = [threading.Thread(target=user, args=(seed,)) for seed in range(4)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join()
    for seed in range(4):
        assert len(together[seed]) == 3
        for again in together[seed]:
            assert all(np.array_equal(a, b) for a, b in zip(alone[seed], again, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 50])
def test_every_task_runs_once(threads, count):
    md.set_num_threads(threads)
    done = []
    parallel.run(done.append, count)
    assert sorted(done) == list(range(count))


def test_threads_really_share_the_work():
    """Two tasks that wait for each other end only if two threads run them."""
    md.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=20)
    parallel.run(lambda index: meeting.wait(), 2)


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="as Python it waits for nobody")
def test_watching_ends_when_another_thread_is_done_or_after_a_while():
    flag = np.zeros(1, np.int64)
    waiting.watch(flag)                             # nobody writes to it, and it ends
    threading.Timer(0.02, flag.fill, [1]).start()
    begun = time.perf_counter()
    waiting.watch_flag(flag, 1 << 32, 0)            # a minute at least, and the timer would not run in it
    assert flag[0] == 1 and time.perf_counter() - begun < 20


@pytest.mark.parametrize("processors, threads, watches", [(2, 2, True), (4, 2, True), (1, 2, False), (2, 1, False)])
def test_who_waits_for_a_helper_watches_only_on_a_processor_of_its_own(monkeypatch, processors, threads, watches):
    monkeypatch.setattr(parallel, "available_threads", lambda: processors)
    watched, helping = [], threading.Event()
    monkeypatch.setattr(waiting, "watch", lambda flag: watched.append(flag[0]) or helping.set())
    md.set_num_threads(threads)
    caller, meeting = threading.current_thread(), threading.Barrier(min(2, threads), timeout=20)

    def task(index):
        meeting.wait()
        if threading.current_thread() is not caller:
            helping.wait(20 if watches else 0.2)    # until the caller, who is done, waits for this one
    parallel.run(task, 2)
    assert watched == [0] * watches


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("bad", [0, 7, 19])
def test_an_exception_in_a_task_reaches_the_caller_and_breaks_nothing(threads, bad):
    md.set_num_threads(threads)

    def task(index):
        if index == bad:
            raise ZeroDivisionError(f"task {index}")
    with pytest.raises(ZeroDivisionError, match=f"task {bad}"):
        parallel.run(task, 20)
    test_every_task_runs_once(threads, 50)


def test_an_exception_of_a_helper_thread_reaches_the_caller():
    md.set_num_threads(2)
    caller, meeting = threading.current_thread(), threading.Barrier(2, timeout=20)

    def task(index):
        meeting.wait()
        if threading.current_thread() is not caller:
            raise ZeroDivisionError("in a helper")
    with pytest.raises(ZeroDivisionError, match="in a helper"):
        parallel.run(task, 2)


def test_a_run_inside_a_task_ends():
    """Were it to wait for the pool, every thread of which waits as well, it would not."""
    md.set_num_threads(2)
    done = []
    parallel.run(lambda i: parallel.run(lambda j: parallel.run(lambda k: done.append((i, j, k)), 2), 3), 4)
    assert sorted(done) == sorted(np.ndindex(4, 3, 2))


def blas_threads():
    """The threads of NumPy's BLAS (what other packages of this process bring along is theirs)."""
    with parallel.one_blas_thread:                          # after this it is known which that is
        pass
    known = {library.filepath for library in parallel.one_blas_thread.libraries}
    return [library["num_threads"] for library in threadpool_info() if library["filepath"] in known]


@pytest.mark.parametrize("fails", [False, True])
def test_blas_computes_with_one_thread_inside_and_has_its_setting_back_after(fails):
    seen = []

    def task(index):
        seen.append(blas_threads())
        if fails:
            raise ZeroDivisionError
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        try:
            with parallel.one_blas_thread:
                parallel.run(task, 3)
        except ZeroDivisionError:
            pass
        assert blas_threads() == before and set(before) == {2}
    assert seen and all(set(threads) == {1} for threads in seen)


def test_blas_gets_its_setting_back_when_the_last_of_several_users_leaves():
    inside, leave, seen = threading.Event(), threading.Event(), []

    def first():
        with parallel.one_blas_thread:
            inside.set()
            leave.wait(20)
    with threadpool_limits(2, user_api="blas"):
        user = threading.Thread(target=first)
        user.start()
        inside.wait(20)
        with parallel.one_blas_thread:
            pass
        seen.append(blas_threads())
        leave.set()
        user.join()
        seen.append(blas_threads())
    assert set(seen[0]) == {1} and set(seen[1]) == {2}


def test_scratch_memory_is_each_threads_own(monkeypatch):
    with monkeypatch.context() as fresh:
        fresh.setattr(np, "empty", lambda shape, dtype: np.full(shape, 255, dtype))      # as memory may be
        mine = parallel.scratch("test", (3, 4), np.float32)
    assert not mine.any()
    mine[:] = 1
    other = []
    thread = threading.Thread(target=lambda: other.append(parallel.scratch("test", (3, 4), np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, other[0]) and mine.flags.c_contiguous and mine.ctypes.data % 64 == 0
    assert np.shares_memory(mine, parallel.scratch("test", (2,), np.float64))
    assert parallel.scratch("test", (3, 4), np.float32) is mine
    larger = parallel.scratch("test", (3, 5), np.float32)
    assert not np.shares_memory(mine, larger)
    assert np.shares_memory(larger, parallel.scratch("test", (3, 4), np.float32))
    assert not np.shares_memory(mine, parallel.scratch("b", (2,), np.float64))


def test_nothing_begins_after_a_failure():
    begun = []

    def task(index):
        begun.append(index)
        if index == 2:
            raise OverflowError("the third")
    md.set_num_threads(1)
    try:
        with pytest.raises(OverflowError, match="the third"):
            parallel.run(task, 10)
    finally:
        md.set_num_threads(machine.available_threads())
    assert begun == [0, 1, 2]


def test_a_batch_is_cut_for_four_threads_at_least():
    assert [(c.first, c.last) for c in parallel.chunks(32, 9, 1, 10 ** 9)] == [(0, 8), (8, 16), (16, 24), (24, 32)]


def test_spans_cover_everything_once():
    for total in range(0, 20):
        for size in range(1, 8):
            parts = parallel.spans(total, size)
            assert [i for part in parts for i in range(total)[part]] == list(range(total))
            assert all(1 <= part.stop - part.start <= size for part in parts)


@compiled.quick_jit
def take_all(counters, taken, finished):
    """Note who took what; then wait for the others, and note how many they are."""
    n = waiting.take(counters, 0)
    while n < len(taken):
        taken[n] += 1
        waiting.take(counters, 1)
        n = waiting.take(counters, 0)
    waiting.wait(counters, 1, len(taken))
    finished[0] = min(finished[0], counters[1])


def test_threads_share_work_and_wait_for_each_other_without_python():
    md.set_num_threads(4)
    for _ in range(20):
        _, taken, finished = arrays = np.zeros(2, np.int64), np.zeros(500, np.int64), np.full(1, 1000)
        parallel.run(lambda _, arrays=arrays: take_all(*arrays), 4)
        assert (taken == 1).all() and finished[0] == len(taken)


FORK = """
import os, signal, sys, threading
import numpy as np
import minideconv as md, minideconv.functional as F
from minideconv import parallel
from minideconv.kernels.fast import lowering

pass
md.set_num_threads(2)
lowering.COLUMN_BYTES = 1 << 12
x, w = np.ones((8, 9, 9, 3), np.float32), np.ones((3, 3, 3, 4), np.float32)
before = F.conv2d(x, w).data
child = os.fork()
signal.alarm(20)            # a child that waits for its parent's threads waits for ever
after = F.conv2d(x, w).data
if child == 0:
    two = parallel.num_threads() == threading.active_count() == 2
    os._exit(0 if np.array_equal(before, after) and two else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_computes_with_a_pool_of_its_own():
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


MEMORY = """
import numpy as np
from minideconv import machine

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

machine.keep_memory()
arrays = [np.ones(1 << 18) for _ in range(40)]      # 80 MB
last = np.ones(1 << 18)
del arrays
kept = resident()
machine.return_memory()
print(kept - resident(), last[0])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_kept_and_can_be_handed_back():
    free = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=60, env=free)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[0]) > 60_000       # kilobytes


@pytest.mark.parametrize("n, error",
                         [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError), (True, TypeError)])
def test_set_num_threads_names_what_it_wants(n, error):
    with pytest.raises(error, match="n must be"):
        md.set_num_threads(n)


@pytest.mark.parametrize("value, expected", [("3", "3"), (None, str(machine.available_threads())),
                                             ("none", "MINIDECONV_NUM_THREADS must be"), ("0", "got '0'")])
def test_the_environment_sets_the_threads(monkeypatch, value, expected):
    if value is None:
        monkeypatch.delenv("MINIDECONV_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("MINIDECONV_NUM_THREADS", value)
    monkeypatch.setattr(parallel, "_threads", None)
    try:
        found = str(parallel.num_threads())
    except ValueError as error:
        found = str(error)
        md.set_num_threads(1)
    assert expected in found
