"""Measures the cases in turns, A B A B ..., on this engine,
on its readable kernels and in the PyTorch process.

In each turn some calls do not count (caches, threads and kernels get ready) and some do; the
figure is the median of all that count. A time alone says little on a machine that is busy or warm;
a ratio of turns taken side by side says much.
"""
import math
import platform
import statistics
import time

import numpy as np

from .. import __version__, kernels, machine, parallel
from ..profile import Profile
from . import bounds
from .cases import DEFAULT_GROUPS, Case, build, cases, layer_arithmetic
from .peers import OURS_AVX2, TORCH_AVX2, Peer, milliseconds, warm
from .report import summary

CALLS = 3               # calls that count, per turn
REFERENCE_TURNS = 1     # of one call each: the readable kernels are slow
WITH_REFERENCE = ("layers", "layers4x4", "step", "pair")
TURNS = 4               # of each side, unless asked otherwise; fewer where SECONDS run out
SECONDS = 80            # what all rows together may take then; what starts before and ends after is extra
CUBE = 2048             # side of the square matrices whose product sets the scale


def arithmetic_of(run) -> int:
    """Operations of the matrix products that run() makes, counted while it runs."""
    profile = Profile()
    with profile.step():
        run()
    return sum(row.flops for row in profile.rows.values())


def timed(run, calls: int = CALLS) -> list[float]:
    """One turn: milliseconds of `calls` calls after some that do not count."""
    warm(run)
    return [milliseconds(run) for _ in range(calls)]


def matrix_rate(threads: int, side: int = CUBE) -> float:
    """GFLOP/s of a float32 product of two square matrices in NumPy, by as many BLAS threads:
    what this machine can be asked for.
    """
    from threadpoolctl import threadpool_limits
    a, b = np.random.default_rng(0).random((2, side, side), np.float32)
    out = np.empty_like(a)
    with threadpool_limits(threads, user_api="blas"):
        milliseconds, = timed(lambda: np.matmul(a, b, out=out), calls=1)
    # BLAS's threads spin for a while after their work, on processors that the next turn needs.
    time.sleep(0.1)
    return 2 * side ** 3 / milliseconds / 1e6


class Sides:
    """Who is measured beside this process: peers, each started when a row first asks for it and kept. torch: whether
    PyTorch is one.
    """

    def __init__(self, torch: bool):
        self.peers, self.torch = {}, torch

    def peer(self, module: str, environment: dict):
        """The process of this module and environment, or None where it cannot measure."""
        key = (module, *environment)
        if key not in self.peers:
            self.peers[key] = Peer(module, environment)
        return self.peers[key] if self.peers[key].version else None

    def of(self, group: str):
        """(ours, theirs) for a group's rows: the peers that are asked. ours: None where it is this process; theirs:
        None without PyTorch.
        """
        narrow = group == "avx2"
        ours = self.peer("our_side", OURS_AVX2) if narrow else None
        return ours, self.peer("torch_side", TORCH_AVX2 if narrow else {}) if self.torch else None

    def close(self):
        for peer in self.peers.values():
            peer.close()


def measure(case: Case, repeats: int, seconds: float, threads: int, sides, products: list, rates: dict) -> dict:
    """One row of the table as a dict (see `bench`):
    `repeats` turns, fewer if they take more than `seconds`.

    The rate of NumPy's matrix product in every turn is added to `products`; rates: threads -> Rates, as far as they
    were measured.
    """
    stop = time.perf_counter() + seconds
    run, (ours, torch) = build(case.spec), sides.of(case.group)
    flops = layer_arithmetic(case.spec) if case.spec["kind"] == "layer" else arithmetic_of(run)
    own = 1 if case.group == "threads" else threads
    layout = None
    turns = {"ms": [], "torch": [], "reference": [], "all threads": [], "torch, all threads": []}
    try:
        for turn in range(repeats):
            if turn and time.perf_counter() > stop:
                break
            products.append(matrix_rate(threads))
            parallel.set_num_threads(own)
            if own not in rates:
                rates[own] = bounds.rates(products[-1] if own == threads else matrix_rate(own))
            turns["ms"] += ours.timed(case.spec, own, CALLS)[0] if ours else timed(run)
            if torch:
                times, layout = torch.timed(case.spec, own, CALLS)
                turns["torch"] += times
            if own != threads:
                parallel.set_num_threads(threads)
                turns["all threads"] += timed(run)
                if torch:
                    turns["torch, all threads"] += torch.timed(case.spec, threads, CALLS)[0]
            elif turn < REFERENCE_TURNS and case.group in WITH_REFERENCE:
                kernels.use("reference")
                turns["reference"] += timed(run, calls=1)
                kernels.use("fast")
        # What this processor could do says nothing about another.
        bound = None if ours else bounds.least(run, rates[own])
    finally:
        kernels.use("fast")
        parallel.set_num_threads(threads)
    row = {"group": case.group, "name": case.name, "batch": case.spec["batch"], "threads": own,
           "calls": len(turns["ms"]), "gflop": flops / 1e9, "bound_ms": bound, "torch_layout": layout}
    return row | _medians(turns, flops)


def _medians(turns: dict, flops: int) -> dict:
    """What a row says of the times in its turns."""
    middle = {name: statistics.median(times) if times else None for name, times in turns.items()}
    row = {"ms": middle["ms"], "gflops": flops / middle["ms"] / 1e6, "reference_ms": middle["reference"],
           "torch_ms": middle["torch"], "times_torch": middle["torch"] / middle["ms"] if middle["torch"] else None}
    if middle["all threads"]:
        row["thread_speedup"] = middle["ms"] / middle["all threads"]
        theirs = middle["torch, all threads"]
        row["torch_thread_speedup"] = middle["torch"] / theirs if theirs else None
    return row


def bench(groups=DEFAULT_GROUPS, repeats=None, with_torch: bool = True, report=lambda done, total: None) -> dict:
    """Measure the rows of `groups`, each in `repeats` turns (None: TURNS, within SECONDS in all);
    report(done, total) is called after each.

    Gives {"machine": {...}, "matrix_gflops": rate, "matrix_gflops_range": [low, high],
    "product_gflops": rate, "copy_gbytes": rate, "rows": [...], "summary": {...}}, ready for JSON.
    The range leaves out the lowest and the highest tenth; the two rates are what bound_ms is made
    of (bounds.py).

    A row: group, name, batch, threads, calls (that count, of ours), gflop (arithmetic), ms
    (median), bound_ms (the least that it could take), gflops, share (of matrix_gflops), reference_ms,
    torch_ms, torch_layout, times_torch (PyTorch's time / ours: above 1 ours is faster); of
    "threads" also thread_speedup and torch_thread_speedup. What was not measured is None.
    """
    threads = parallel.num_threads()
    if "threads" in groups and threads == 1:
        groups = [group for group in groups if group != "threads"]
        if not groups:
            raise ValueError("threads cannot be measured with 1 thread: give --threads 2 or more")
    if "avx2" in groups and platform.machine().lower() not in ("x86_64", "amd64"):
        raise ValueError(f"avx2 cannot be measured on {platform.machine()}, only on x86 processors")
    wanted, sides = cases(groups), Sides(with_torch)
    try:
        products, rates, rows = [], {}, []
        stop = time.perf_counter() + SECONDS if repeats is None else math.inf
        for done, case in enumerate(wanted):
            # Quick rows leave more to the slow ones, which come last.
            seconds = (stop - time.perf_counter()) / (len(wanted) - done)
            rows.append(measure(case, repeats or TURNS, seconds, threads, sides, products, rates))
            report(done + 1, len(wanted))
        torch = sides.of(wanted[-1].group)[1]
    finally:
        sides.close()
    rate, ordered = statistics.median(products), sorted(products)
    tenth = len(products) // 10
    for row in rows:
        row["share"] = row["gflops"] / rate
    best = rates.get(threads) or next(iter(rates.values()))
    return {"machine": _machine(threads, torch.version if torch else None), "matrix_gflops": rate,
            "matrix_gflops_range": [ordered[tenth], ordered[-1 - tenth]], "product_gflops": best.product / 1e6,
            "copy_gbytes": best.copy / 1e6, "rows": rows, "summary": summary(rows)}


def _machine(threads: int, torch_version) -> dict:
    """What the figures belong to."""
    from importlib.metadata import version
    return {"processor": machine.processor(), "threads": threads,
            "available_threads": machine.available_threads(), "blas": machine.blas_report(),
            "system": platform.platform(), "python": platform.python_version(), "minideconv": __version__,
            "numpy": version("numpy"), "numba": version("numba"), "torch": torch_version}
