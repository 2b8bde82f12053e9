"""The benchmark and the profile: what they count, what they report and how they refuse.

Nothing here asserts a time.
"""
import functools
import inspect
import itertools
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np
import pytest
from shell import run_cli

import minideconv as md
import minideconv.functional as F
from minideconv import bench, cli, machine, parallel
from minideconv.bench import bounds, cases, measure, peers, torch_side
from minideconv.gan import Config, Trainer
from minideconv.profile import Profile, arithmetic, profiled, traffic
from minideconv.switches import observe

ROW_KEYS = {"group", "name", "batch", "threads", "calls", "gflop", "ms", "bound_ms", "gflops", "share",
            "reference_ms", "torch_ms", "torch_layout", "times_torch"}
TINY = {"kind": "layer", "op": "conv2d", "batch": 2, "size": 6, "inputs": 3, "outputs": 5, "kernel": 4,
        "stride": 2, "padding": 1}


@pytest.fixture
def two_threads():
    """Two threads whatever the machine has, and the former number afterwards."""
    former = parallel.num_threads()
    md.set_num_threads(2)
    yield
    md.set_num_threads(former)


def counted(run) -> int:
    return measure.arithmetic_of(run)


# Counts

def multiply_adds(batch, features, kernel, channels, outputs) -> int:
    """A convolution's multiplications with their additions, one by one."""
    count = 0
    for _ in itertools.product(*map(range, (batch, *features, *kernel, channels, outputs))):
        count += 1
    return count


@pytest.mark.parametrize("groups", [1, 2])
def test_the_trio_has_one_count_and_loops_agree(groups):
    rng = np.random.default_rng(0)
    x = md.Tensor(rng.random((2, 7, 6, 4)), requires_grad=True)
    weight = md.Tensor(rng.random((3, 2, 4 // groups, 6)), requires_grad=True)
    y = F.conv2d(x, weight, stride=(2, 1), padding=1, groups=groups)
    once = 2 * multiply_adds(2, y.shape[1:3], (3, 2), 4 // groups, 6)
    assert counted(lambda: F.conv2d(x, weight, stride=(2, 1), padding=1, groups=groups)) == once
    layer = functools.partial(F.conv2d, x, weight, stride=(2, 1), padding=1, groups=groups)
    assert counted(lambda: layer().backward(np.ones(y.shape))) == 3 * once
    features = md.Tensor(rng.random(y.shape), requires_grad=True)
    stamp = functools.partial(F.conv_transpose2d, features, weight, stride=(2, 1), padding=1, groups=groups,
                              output_size=(7, 6))
    assert counted(lambda: stamp().backward(np.ones(x.shape))) == 3 * once


def test_matrix_products_count_twice_rows_columns_and_depth():
    a, b = md.Tensor(np.ones((3, 2, 5))), md.Tensor(np.ones((5, 7)))
    assert counted(lambda: a @ b) == 2 * (3 * 2 * 5 * 7)
    assert counted(lambda: a + 1) == 0 and arithmetic("add", np.ones(3), (), {}) == 0


@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_a_layers_formula_is_what_its_run_does(op):
    spec = {**TINY, "op": op}
    assert cases.layer_arithmetic(spec) == counted(cases.build(spec)) > 0


def test_the_reference_steps_arithmetic():
    """By hand: products of the step of batch 1, D's own gradients in G's turn left out."""
    # Multiply-adds of one product of the 1-channel and of the 64 <-> 128 layers.
    small, large = 14 * 14 * 16 * 1 * 64, 7 * 7 * 16 * 64 * 128
    linear, logit = 100 * 6272, 6272
    forward_g, backward_g = linear + large + small, linear + 2 * large + 2 * small       # the latents need no gradient
    forward_d, backward_d = small + large + logit, small + 2 * large + 2 * logit         # images need none in D's turn
    through_d = small + large + logit
    by_hand = 2 * (forward_g + 2 * (forward_d + backward_d) + forward_d + through_d + backward_g)
    assert counted(cases.build({"kind": "gan", "batch": 2})) == 2 * by_hand


def test_the_pair_is_the_one_asked_for():
    generator, discriminator = cases.pair_networks(np.random.default_rng(0))
    assert [sum(p.size for p in network.parameters()) for network in (generator, discriminator)] == [119_491, 2_887_617]


def test_layer_tables():
    assert len(cases.LAYERS) == 12 and len(cases.LAYERS_4X4) == 6
    rows = cases.cases(bench.GROUPS)
    assert {case.group for case in rows} == set(bench.GROUPS)
    assert [case.name for case in rows if case.spec["kind"] == "layer"][6] == "tconv 7x7x128 -> 14x14x64, 4x4 s2, N=128"
    assert all(json.loads(json.dumps(case.spec)) == case.spec for case in rows)


def test_traffic_counts_every_array_once_and_views_not_at_all():
    x, y = np.zeros(10, np.float32), np.zeros(5, np.float32)
    assert traffic(y, [md.Tensor(x), x, None, 3]) == 60
    assert traffic(x.reshape(2, 5), [md.Tensor(x)]) == 0


# The profile

def small_trainer() -> Trainer:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    return Trainer(Config(data="pictures", image_shape=(8, 8, 1), count=40, checksum=0, steps=100, batch_size=16,
                          preset="plain"), images)


def test_rows_optimiser_and_rest_are_the_whole_step():
    shown = []
    trainer = small_trainer()
    with profiled(trainer, shown.append, steps=3, warm_up=1) as profile:
        for _ in range(6):
            trainer.step()
    assert len(shown) == 1 and profile.steps == 3 and profile.optimizer.calls == 6 and profile.optimizer.seconds > 0
    parts = sum(row.seconds for row in profile.rows.values()) + profile.optimizer.seconds
    assert 0 <= profile.rest == pytest.approx(profile.seconds - parts)
    assert all(row.seconds > 0 for row in profile.rows.values())
    # Three looks of D, with two layers each, in three steps.
    assert profile.rows["conv", "forward"].calls == 3 * 2 * 3
    assert profile.rows["conv", "backward"].parts["conv_kernel"].calls == 3 * 2 * 2
    assert "step" not in vars(trainer) and "step" not in vars(trainer.generator_optimizer)


def test_nothing_is_counted_twice():
    """A clock that ticks once per look: an event's own time is then known exactly,
    whatever is nested in it.
    """
    profile, now = Profile(), [0]

    def work(ticks, *nested):
        def call():
            now[0] += ticks
            for name, inner in nested:
                profile.observe(name, "forward", inner)
            return np.zeros(1), None
        call.args, call.keywords = (), {}
        return call
    profile.clock = lambda: now[0]
    profile.observe("a", "forward", work(1, ("b", work(10, ("c", work(100)))), ("b", work(1000))))
    profile.observe("b", "forward", work(5))
    assert {key: row.seconds for key, row in profile.rows.items()} == {("a", "forward"): 1111, ("b", "forward"): 5}
    assert profile.rows["a", "forward"].calls == 1


def test_gradients_run_inside_a_vjp_belong_to_its_row():
    profile = Profile()
    x, weight = (md.Tensor(np.random.default_rng(0).random(shape), requires_grad=True)
                 for shape in ((2, 6, 6, 3), (3, 3, 3, 4)))
    with observe(profile.observe):
        F.conv2d(x, weight).sum().backward()
    assert ("conv_transpose", "forward") not in profile.rows
    parts = profile.rows["conv", "backward"].parts
    assert set(parts) == {"conv_transpose", "conv_kernel"}
    forward, backward = profile.rows["conv", "forward"], profile.rows["conv", "backward"]
    assert sum(part.flops for part in parts.values()) == backward.flops == 2 * forward.flops


def test_sums_where_gradients_meet_are_not_the_models_additions():
    profile = Profile()
    x = md.Tensor(np.ones(3), requires_grad=True)
    with observe(profile.observe):
        (x * x).sum().backward()
    assert profile.rows["sums where gradients meet", "backward"].calls == 1 and ("add", "forward") not in profile.rows


def test_profiling_changes_no_bit_of_training():
    plain, watched = small_trainer(), small_trainer()
    losses = [plain.step() for _ in range(5)]
    with profiled(watched, lambda text: None, steps=3, warm_up=1):
        assert [watched.step() for _ in range(5)] == losses


def test_an_error_in_a_profiled_step_leaves_the_trainer_as_it_was():
    trainer, shown = small_trainer(), []
    with pytest.raises(ZeroDivisionError), profiled(trainer, shown.append, steps=3, warm_up=0):
        trainer.generator = lambda *inputs: 1 / 0
        trainer.step()
    assert "step" not in vars(trainer) and "step" not in vars(trainer.generator_optimizer)


def test_profile_table_says_what_its_numbers_mean():
    trainer, shown = small_trainer(), []
    with profiled(trainer, shown.append, steps=2, warm_up=1):
        for _ in range(3):
            trainer.step()
    lines = shown[0].splitlines()
    assert "mean of 2 steps" in lines[0] and "GFLOP/s" in lines[2]
    for word in ("conv ", "  of it conv_kernel", "optimiser updates", "the rest", "the whole step"):
        assert any(line.startswith(word) for line in lines), word
    shares = [float(line.split("%")[0].split()[-1]) for line in lines[3:]
              if "%" in line and "of it" not in line and "whole step" not in line]
    assert sum(shares) == pytest.approx(100, abs=0.06 * len(shares))


def test_train_profile_prints_the_table_and_goes_on(tmp_path, capsys):
    path = tmp_path / "mine.npz"            # more than all the steps see: every epoch's end draws pictures
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (480, 8, 8), np.uint8))

    def train(*arguments):
        assert cli.main(["train", "--data", str(path), "--batch-size", "16", *map(str, arguments)]) == 0
        return capsys.readouterr().out
    printed = train("--steps", "27", "--out", tmp_path / "a", "--profile")
    assert printed.count("where the time of a step goes (mean of 20 steps)") == 1
    assert "where the time" not in train("--steps", "27", "--out", tmp_path / "b")
    assert (tmp_path / "a" / "losses.csv").read_text() == (tmp_path / "b" / "losses.csv").read_text()
    assert "mean of 2 steps" in train("--steps", "7", "--out", tmp_path / "c", "--profile")
    assert "no profile" in train("--steps", "3", "--out", tmp_path / "d", "--profile")


# The benchmark

class StandIn:
    """Answers as a measuring process does, with times that are known: 8 ms on one thread, 4 on more."""
    version = "9.9"

    def timed(self, spec, threads, calls):
        return [8.0 / min(threads, 2)] * calls, "channels_last"

    def close(self):
        self.closed = True


@pytest.fixture
def tiny(monkeypatch):
    """The benchmark with one tiny case in each group, a known machine rate,
    and a stand-in for PyTorch.
    """
    stand_in = StandIn()
    stand_in.started = []
    monkeypatch.setattr(measure, "Peer", lambda *what: stand_in.started.append(what) or stand_in)
    monkeypatch.setattr(measure.bounds, "rates", lambda numpy_product: measure.bounds.Rates(1e8, 1e7))
    monkeypatch.setattr(measure, "matrix_rate", lambda threads: 100.0)
    monkeypatch.setattr(measure, "cases", lambda groups: [cases.Case(group, f"tiny {group}", TINY)
                                                          for group in bench.GROUPS if group in groups])
    return stand_in


def test_json_schema(tiny, two_threads, capsys):
    groups = ["--only", "layers", "--only", "threads", "--only", "step"]
    assert cli.main(["bench", "--json", "--repeats", "2", *groups]) == 0
    printed = capsys.readouterr().out
    results = json.loads(printed)
    assert printed.count("\n") == 1
    assert set(results) == {"machine", "matrix_gflops", "matrix_gflops_range", "product_gflops", "copy_gbytes", "rows",
                            "summary"}
    assert (results["product_gflops"], results["copy_gbytes"]) == (100, 10)
    assert results["machine"]["threads"] == 2 and results["machine"]["torch"] == "9.9"
    assert results["matrix_gflops"] == 100
    by_group = {row["group"]: row for row in results["rows"]}
    assert list(by_group) == ["layers", "step", "threads"] and tiny.closed
    layer, threads = by_group["layers"], by_group["threads"]
    assert set(layer) == ROW_KEYS and set(threads) == ROW_KEYS | {"thread_speedup", "torch_thread_speedup"}
    assert layer["gflop"] == cases.layer_arithmetic(TINY) / 1e9
    assert layer["gflops"] == pytest.approx(layer["gflop"] / layer["ms"] * 1e3)
    assert layer["share"] == pytest.approx(layer["gflops"] / 100)
    assert 0 < layer["bound_ms"] < layer["ms"]
    assert layer["torch_ms"] == 4 and layer["times_torch"] == pytest.approx(4 / layer["ms"])
    assert layer["torch_layout"] == "channels_last"
    assert layer["reference_ms"] > 0 and threads["reference_ms"] is None
    assert threads["threads"] == 1 and threads["torch_ms"] == 8 and threads["torch_thread_speedup"] == 2
    assert results["summary"]["layers_times_torch"] == pytest.approx(layer["times_torch"])
    assert results["summary"]["thread_speedup"] == threads["thread_speedup"]
    assert parallel.num_threads() == 2 and md.kernels.active().__name__.endswith("fast")


def test_turns_alternate(tiny, two_threads, monkeypatch):
    order = []
    monkeypatch.setattr(measure, "timed",
                        lambda run, calls=3: order.append(("ours", md.kernels.active().__name__.rsplit(".")[-1], calls))
                        or [1.0])
    monkeypatch.setattr(tiny, "timed", lambda spec, threads, calls: order.append(("PyTorch",)) or ([2.0], "contiguous"),
                        raising=False)
    row = bench.bench(["layers"], 3)["rows"][0]
    turn = [("ours", "fast", 3), ("PyTorch",)]
    assert order == turn + [("ours", "reference", 1)] + turn * 2
    assert row["times_torch"] == 2


def test_one_thread_is_measured_beside_all_on_both_sides(tiny, two_threads, monkeypatch):
    order = []
    monkeypatch.setattr(measure, "timed", lambda run, calls=3: order.append(("ours", parallel.num_threads()))
                        or [6.0 / parallel.num_threads()])
    monkeypatch.setattr(tiny, "timed", lambda spec, threads, calls: order.append(("PyTorch", threads))
                        or ([4.0], "contiguous"), raising=False)
    row = bench.bench(["threads"], 2)["rows"][0]
    assert order == [("ours", 1), ("PyTorch", 1), ("ours", 2), ("PyTorch", 2)] * 2
    assert row["ms"] == 6 and row["thread_speedup"] == 2 and row["torch_thread_speedup"] == 1


def test_avx2_asks_a_process_on_each_side(tiny, two_threads):
    row = bench.bench(["layers", "avx2"], 1)["rows"][1]
    assert tiny.started == [("torch_side", {}), ("our_side", peers.OURS_AVX2), ("torch_side", peers.TORCH_AVX2)]
    assert row["ms"] == row["torch_ms"] == 4 and row["bound_ms"] is None
    assert "AVX2 on both sides: 1.00 times" in bench.table(bench.bench(["avx2"], 1))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs an x86 processor")
def test_our_side_runs_as_on_a_processor_without_avx512(tmp_path):
    """It measures, and its kernels have the narrower block: 32 bytes are combined at a time."""
    environment = {**peers.OURS_AVX2, "NUMBA_CACHE_DIR": str(tmp_path)}
    ours = measure.Peer("our_side", environment)
    try:
        times, layout = ours.timed(TINY, 1, 2)
        assert ours.version == md.__version__ and len(times) == 2 and min(times) > 0 and layout is None
    finally:
        ours.close()
    shown = subprocess.run([sys.executable, "-c", "from minideconv.kernels.fast import products; print(products.WIDE)"],
                           env={**os.environ, **environment}, capture_output=True, text=True)
    assert shown.stdout.strip() == "False", shown.stderr


def test_avx2_needs_an_x86_processor(tiny, two_threads, monkeypatch, capsys):
    monkeypatch.setattr(measure.platform, "machine", lambda: "arm64")
    code, _, errors = run_cli(capsys, "bench", "--only", "avx2")
    assert code == 2 and "arm64" in errors and errors.count("\n") == 1


# The bound

def test_a_bound_is_products_or_bytes_whatever_takes_longer():
    """A convolution of few channels, which the fast kernels multiply as the textbook does, then a sum of arrays."""
    rng = np.random.default_rng(0)
    x, w = md.Tensor(rng.random((2, 6, 6, 3), np.float32)), md.Tensor(rng.random((3, 3, 3, 5), np.float32))
    flops, moved = 2 * (2 * 4 * 4) * (9 * 3) * 5, 4 * (x.size + w.size + 2 * 4 * 4 * 5)
    added = 4 * (2 * 160 + 160)                     # two arrays of (2, 4, 4, 5), and their sum

    def run():
        return F.conv2d(x, w) + np.ones((2, 4, 4, 5), np.float32)
    assert bounds.least(run, bounds.Rates(1e3, 1e9)) == pytest.approx(flops / 1e3 + added / 1e9)
    assert bounds.least(run, bounds.Rates(1e12, 1e2)) == pytest.approx((moved + added) / 1e2)


@pytest.mark.parametrize("kernel, stride, padding, share", [
    (4, 2, 1, 121 / 196), (3, 1, 1, (3 * 4 + 3) ** 2 / 21 ** 2), (5, 2, 2, None), (2, 2, 0, 1)])
def test_the_bound_counts_the_products_that_are_made(kernel, stride, padding, share):
    """7x7 features: an axis of two taps takes 11 products for 14, one of three taps 15 for 21."""
    if share is None:
        share = (11 + 15) ** 2 / (7 * 5) ** 2               # its phases have three taps and two
    image = (7 - 1) * stride + kernel - 2 * padding
    x, w = (md.Tensor(np.ones(shape, np.float32)) for shape in ((64, image, image, 32), (kernel, kernel, 32, 32)))
    flops = 2 * 64 * 49 * kernel ** 2 * 32 * 32
    found = bounds.least(lambda: F.conv2d(x, w, stride=stride, padding=padding), bounds.Rates(1e3, 1e12))
    assert found == pytest.approx(share * flops / 1e3)


def test_rates_are_those_of_this_machine(monkeypatch):
    times = iter([4.0, 2.0, 3.0, 5.0, 10.0, 8.0, 9.0, 16.0])
    monkeypatch.setattr(bounds, "milliseconds", lambda run: next(times))
    monkeypatch.setattr(bounds, "ROWS", 200)
    monkeypatch.setattr(bounds, "SIDE", 100)
    found = bounds.rates(numpy_product=0.5)                  # GFLOP/s: 500,000 a millisecond
    assert found == bounds.Rates(max(2 * 200 * 100 ** 2 / 2, 0.5e6), 2 * bounds.COPIED / 8)
    times = iter([4.0] * 8)
    assert bounds.rates(numpy_product=50.0).product == 50e6


def test_turns_end_when_the_time_is_up(tiny, two_threads, monkeypatch):
    monkeypatch.setattr(measure, "SECONDS", 0)
    assert bench.bench(["layers"], with_torch=False)["rows"][0]["calls"] == measure.CALLS
    # What was asked for is done.
    assert bench.bench(["layers"], 3, with_torch=False)["rows"][0]["calls"] == 3 * measure.CALLS


@pytest.mark.parametrize("rates, warned", [([100, 95, 90], False), ([100, 60, 90], True)])
def test_a_busy_machine_is_named(tiny, two_threads, monkeypatch, rates, warned):
    coming = iter(rates)
    monkeypatch.setattr(measure, "matrix_rate", lambda threads: next(coming))
    results = bench.bench(["layers"], 3, with_torch=False)
    assert results["matrix_gflops_range"] == [min(rates), max(rates)]
    assert ("NOT TO BE TRUSTED" in bench.table(results)) == warned


def test_without_pytorch_the_columns_are_empty(tiny, two_threads, capsys):
    results = bench.bench(["layers", "batches"], 1, with_torch=False)
    assert results["machine"]["torch"] is None and results["rows"][0]["torch_ms"] is None
    assert results["rows"][0]["times_torch"] is None
    tiny.version = None         # started, but it has no torch
    assert bench.bench(["layers"], 1)["rows"][0]["torch_ms"] is None
    assert cli.main(["bench", "--no-torch", "--repeats", "1", "--only", "layers"]) == 0
    printed = capsys.readouterr().out
    assert "torch not measured" in printed and "tiny layers" in printed and "2 * N*OH*OW" in printed


def test_table_and_chart_hold_every_row(tiny, two_threads, tmp_path, capsys):
    groups = list(itertools.chain.from_iterable(("--only", group) for group in bench.GROUPS))
    assert cli.main(["bench", "--repeats", "1", *groups, "--out", str(tmp_path / "chart.png")]) == 0
    printed = capsys.readouterr().out
    for group, heading in bench.GROUPS.items():
        assert heading in printed and f"tiny {group}" in printed
    assert machine.processor() in printed and "geometric mean" in printed and "(PyTorch 2.00)" in printed
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("arguments, words", [
    (["--only", "everything"], "--only: invalid choice"), (["--repeats", "0"], "--repeats: must be at least 1"),
    (["--out", "chart.gif"], "must end in .png"),
    (["--only", "threads", "--threads", "1"], "--threads 2"), (["--threads", "0"], "--threads: must be at least 1"),
])
def test_mistakes_end_in_one_line(arguments, words, two_threads, capsys):
    code, _, errors = run_cli(capsys, "bench", *arguments)
    assert code == 2 and words in errors and errors.count("\n") == 1


def test_a_pytorch_process_that_dies_is_one_line(tiny, two_threads, monkeypatch, capsys):
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert cli.main(["bench", "--only", "layers"]) == 2
    assert "--no-torch" in capsys.readouterr().err


def test_the_measured_cases_give_the_values_pytorch_gives(monkeypatch):
    """A comparison of speed means something only between equal results:
    the layer's forward and gradients, from the same numbers.
    """
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for op in ("conv2d", "conv_transpose2d"):
        spec = {**TINY, "op": op}
        ours, theirs = cases.build(spec), torch_side._build(torch, spec, torch.channels_last)
        mine, other = (inspect.getclosurevars(run).nonlocals for run in (ours, theirs))
        for name in ("x", "weight"):
            data = rng.random(mine[name].shape).astype(np.float32)
            mine[name].data = data
            axes = (0, 3, 1, 2) if name == "x" else (3, 2, 0, 1)
            assert tuple(other[name].shape) == data.transpose(axes).shape
            other[name].data = torch.from_numpy(data.transpose(axes).copy())
        other["gradient"].data = torch.from_numpy(mine["gradient"].transpose(0, 3, 1, 2).copy())
        ours(), theirs()
        np.testing.assert_allclose(mine["x"].grad.transpose(0, 3, 1, 2), other["x"].grad.numpy(), rtol=1e-4)
        np.testing.assert_allclose(mine["weight"].grad.transpose(3, 2, 0, 1), other["weight"].grad.numpy(), rtol=1e-4)


def test_both_sides_train_the_same_networks():
    torch = pytest.importorskip("torch")
    from minideconv.gan import Discriminator, Generator
    rng = np.random.default_rng(0)
    pairs = [((Generator((28, 28, 1), rng=rng), Discriminator((28, 28, 1), rng=rng)),
              torch_side._reference_networks(torch.nn)),
             (cases.recipe_networks(rng), torch_side._recipe_networks(torch.nn)),
             (cases.pair_networks(rng), torch_side._pair_networks(torch.nn))]
    for ours, theirs in pairs:
        for mine, other in zip(ours, theirs, strict=True):
            assert sum(p.size for p in mine.parameters()) == sum(p.numel() for p in other.parameters())


def test_what_a_turn_begins_with_does_not_count():
    """A twentieth of a second, and one call at least."""
    begun, calls = time.perf_counter(), []
    assert len(measure.timed(lambda: calls.append(time.perf_counter() - begun), calls=2)) == 2
    assert len(calls) >= 3 and calls[-2] >= 0.05
    calls.clear()
    measure.timed(lambda: calls.append(time.sleep(0.06)), calls=2)
    assert len(calls) == 3


def test_the_pytorch_process_answers():
    pytest.importorskip("torch")
    torch = measure.Peer("torch_side", {})
    try:
        times, layout = torch.timed(TINY, 1, 2)
        assert torch.version and len(times) == 2 and min(times) > 0 and layout in ("channels_last", "contiguous")
    finally:
        torch.close()
    assert torch.process.returncode is not None
