"""The command line as a person meets it: whole runs in processes of their own, interruptions and mistakes included."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from shell import run_cli

from minideconv import Tensor, cli, no_grad, parallel
from minideconv.commands.console import patient
from minideconv.gan.sample import load_generator

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BASE = [sys.executable, "-m", "minideconv"]
RUN_FILES = {"config.json", "losses.csv", "losses.png", "health.png", "samples", "training.gif", "generator.npz",
             "checkpoint.npz"}


def environment(**more):
    """Of a process that runs this package from anywhere. An environment variable that is None is taken away."""
    path = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
    found = {**os.environ, "PYTHONPATH": path, "MINIDECONV_NUM_THREADS": "1", **more}
    return {name: str(value) for name, value in found.items() if value is not None}


def minideconv(*arguments, **more):
    return subprocess.run(
        [*BASE, *map(str, arguments)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        env=environment(**more),
    )


def begin(*arguments, cwd=None, **more):
    """The same, running on beside the test."""
    given = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **more}
    return subprocess.Popen([*BASE, *map(str, arguments)], cwd=cwd, env=environment(), **given)


def wait_for(path, process=None):
    """Until the path is there."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline and (process is None or process.poll() is None), f"{path} does not appear"
        time.sleep(0.002)


def rows(folder):
    return (folder / "losses.csv").read_text().splitlines()[1:]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (90, 8, 8), np.uint8), labels=np.arange(90) % 3)
    return path


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run of three epochs (90 images, batches of 16: 5 steps each)."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = minideconv("train", "--data", data, "--epochs", 3, "--batch-size", 16, "--seed", 3, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def same_run(a, b):
    """Losses, weights, optimisers, order and random state agree to the last bit."""
    assert (a / "losses.csv").read_text() == (b / "losses.csv").read_text()
    for name in ("checkpoint.npz", "generator.npz"):
        with np.load(a / name) as one, np.load(b / name) as two:
            assert set(one.files) == set(two.files)
            for key in one.files:
                assert key == "run/config" or np.array_equal(one[key], two[key]), key
    return True


def test_a_run_leaves_what_it_promises(whole):
    assert {path.name for path in whole.iterdir()} == RUN_FILES
    lines = (whole / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,epoch,discriminator_loss,generator_loss,discriminator_game,discriminator_penalty"
    assert len(lines) == 16
    assert sorted(path.name for path in (whole / "samples").iterdir()) == [
        "step_000005.png",
        "step_000010.png",
        "step_000015.png",
    ]
    with Image.open(whole / "training.gif") as gif:
        assert gif.n_frames == 3
    with np.load(whole / "checkpoint.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiU" for name in file.files)


def test_threads_and_processes_do_not_change_a_run(whole, data, tmp_path, capsys):
    """The run in a process of its own has one thread, this one two."""
    former, folder = parallel.num_threads(), tmp_path / "run"
    parallel.set_num_threads(2)
    try:
        settings = ["--epochs", 3, "--batch-size", 16, "--seed", 3, "--out", folder]
        assert run_cli(capsys, "train", "--data", data, *settings)[0] == 0
    finally:
        parallel.set_num_threads(former)
    assert same_run(whole, folder)


def test_kills_at_any_moment_and_resume_end_bit_identical(whole, data, tmp_path, capsys):
    """kill -9 before the first step, between checkpoints, while files are written: the run never knows."""
    folder = tmp_path / "run"
    moments = [0, *np.random.default_rng(5).uniform(0.3, 1.2, 2)]
    command = [
        "train",
        "--data",
        data,
        "--steps",
        15,
        "--batch-size",
        16,
        "--seed",
        3,
        "--out",
        folder,
        "--checkpoint-every",
        1,
    ]
    for kill, moment in enumerate(moments):
        process = begin(*command)
        wait_for(folder / ("config.json" if kill == 0 else "run.lock"))
        time.sleep(moment)
        process.kill()
        process.wait()
        command = ["train", "--resume", folder, "--checkpoint-every", 1]
        (folder / "run.lock").unlink(missing_ok=True)  # only so that the next one's can be waited for
    assert run_cli(capsys, *command)[0] == 0
    assert same_run(whole, folder)
    assert {path.name for path in (whole / "samples").iterdir()} == {
        path.name for path in (folder / "samples").iterdir()
    }
    assert not list(folder.rglob("*.part")) and not (folder / "run.lock").exists()


def test_longer_training_after_the_end_equals_one_long_run(whole, data, tmp_path, capsys):
    folder = tmp_path / "run"
    assert (
        run_cli(capsys, "train", "--data", data, "--epochs", 1, "--batch-size", 16, "--seed", 3, "--out", folder)[0]
        == 0
    )
    assert "larger total" in run_cli(capsys, "train", "--resume", folder)[1]
    assert run_cli(capsys, "train", "--resume", folder, "--epochs", 3)[0] == 0
    assert same_run(whole, folder)
    assert sorted(os.listdir(whole / "samples")) == sorted(os.listdir(folder / "samples"))


def test_ctrl_c_saves_and_exits_130(data, tmp_path):
    folder = tmp_path / "run"
    process = begin(
        "train",
        "--data",
        data,
        "--epochs",
        100000,
        "--batch-size",
        16,
        "--out",
        folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(folder / "checkpoint.npz", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors and "--resume" in errors
    with np.load(folder / "checkpoint.npz") as file:
        steps = int(file["steps_done"])
    assert steps > 0 and len(rows(folder)) == steps


def test_sample_draws_pictures_and_arrays(whole, tmp_path, capsys):
    assert run_cli(capsys, "sample", whole, "--count", 5, "--out", tmp_path / "a.npz")[0] == 0
    assert run_cli(capsys, "sample", whole, "--count", 5, "--out", tmp_path / "b.npz")[0] == 0
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a["images"].shape == (5, 8, 8, 1) and a["images"].dtype == np.float32
        assert 0 <= a["images"].min() <= a["images"].max() <= 1
        assert np.array_equal(a["images"], b["images"])
    assert run_cli(capsys, "sample", whole, "--count", 5, "--seed", 1, "--out", tmp_path / "c.png")[0] == 0
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.format == "PNG"


def test_conditional_run_draws_the_class_asked_for(data, tmp_path, capsys):
    folder = tmp_path / "run"
    assert (
        run_cli(capsys, "train", "--data", data, "--conditional", "--steps", 2, "--batch-size", 16, "--out", folder)[
            0
        ]
        == 0
    )
    assert run_cli(capsys, "sample", folder, "--label", 2, "--count", 4, "--out", tmp_path / "two.npz")[0] == 0
    with np.load(tmp_path / "two.npz") as file:
        assert file["labels"].tolist() == [2] * 4
    code, _, errors = run_cli(capsys, "sample", folder, "--label", 3, "--out", tmp_path / "x.npz")
    assert code == 2 and "label must be one of the run's 3 classes (0, 1, 2)" in errors


def test_info_names_versions_and_blas():
    done = minideconv("info")
    assert done.returncode == 0
    assert "numpy" in done.stdout and "threads: 1 of" in done.stdout and "BLAS" in done.stdout


def test_help_teaches(capsys):
    text = run_cli(capsys, "train", "--help")[1]
    assert "1.386" in text and "--resume" in text and "examples" in text


@pytest.mark.parametrize("command", [["--help"], ["info"], ["train", "--help"]])
def test_help_and_info_load_nothing_slow(command):
    code = """import sys
from minideconv import cli
try:
    cli.main(sys.argv[1:])
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)"""
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, env=environment(), timeout=60
    )
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "minideconv" in loaded and not {"numba", "matplotlib", "PIL", "tqdm", "torch"} & loaded


MISTAKES = [
    (["train", "--steps", "0"], "--steps: must be at least 1"),
    (["train", "--steps", "many"], "expected a whole number"),
    (["train", "--bogus"], "--bogus"),
    (["train", "--loss", "magic"], "magic"),
    (["train", "--preset", "magic"], "--preset: invalid choice: 'magic'"),
    (["train", "--data", "nowhere.npz"], "nowhere.npz"),
    (["train", "--data", "mnist", "--data-dir", "."], "train-images"),
    (["train", "--epochs", "2", "--steps", "3"], "not allowed"),
    (["train", "--resume", "."], "config.json"),
    (["train", "--resume", ".", "--seed", "1"], "--seed cannot be given with --resume"),
    (["train", "--resume", ".", "--preset", "default"], "--preset cannot be given with --resume"),
    (["train", "--resume", ".", "--unconditional"], "--conditional cannot be given with --resume"),
    (["sample", ".", "--out", "x.png"], "config.json"),
    (["sample", ".", "--out", "x.bmp"], ".png or .npz"),
    ([], "COMMAND"),
]
EMPTY = [
    (["train", option, ""], f"{option}: must not be empty") for option in ("--data", "--resume", "--out", "--data-dir")
] + [
    (["train", "--data", " "], "--data: must not be empty"),
    (["sample", "", "--out", "x.png"], "RUN: must not be empty"),
    (["sample", ".", "--out", ""], "--out: must not be empty"),
    (["sample", ".", "--out", "x.png", "--label", ""], "--label: must not be empty"),
    (["bench", "--out", ""], "--out: must not be empty"),
]


@pytest.mark.parametrize(
    "arguments, words", [*MISTAKES, *(pytest.param(*mistake, id=f"fault_25_{mistake[1]}") for mistake in EMPTY)]
)
def test_mistakes_end_in_one_line_and_exit_code_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run_cli(capsys, *arguments)
    assert code == 2
    assert len(errors.strip().splitlines()) == 1 and words in errors, errors
    assert os.listdir(tmp_path) == []


def test_unfit_pictures_and_old_runs_are_refused_before_any_work(whole, data, tmp_path, capsys):
    np.savez(tmp_path / "odd.npz", images=np.full((20, 10, 10), 200, np.uint8))
    code, _, errors = run_cli(capsys, "train", "--data", tmp_path / "odd.npz", "--out", tmp_path / "run")
    assert code == 2 and "multiples of 4" in errors and not (tmp_path / "run").exists()
    code, _, errors = run_cli(capsys, "train", "--data", data, "--batch-size", 16, "--out", whole)
    assert code == 2 and "--resume" in errors
    code, _, errors = run_cli(capsys, "train", "--data", data, "--batch-size", 91, "--out", tmp_path / "run")
    assert code == 2 and "91" in errors


def test_changed_data_are_noticed_at_resume(tmp_path, capsys):
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.full((40, 8, 8), 250, np.uint8))
    assert (
        run_cli(capsys, "train", "--data", path, "--steps", 1, "--batch-size", 16, "--out", tmp_path / "run")[0] == 0
    )
    np.savez(path, images=np.full((40, 8, 8), 240, np.uint8))
    code, _, errors = run_cli(capsys, "train", "--resume", tmp_path / "run", "--steps", 2)
    assert code == 2 and "have changed" in errors


# ---- faults: lost or mixed work

TINY = ["--batch-size", 16, "--steps", 4]


def finished(folder, steps=4):
    with np.load(folder / "checkpoint.npz") as file:
        assert int(file["steps_done"]) == steps
    assert [int(row.split(",")[0]) for row in rows(folder)] == list(range(1, steps + 1))
    assert not (folder / "run.lock").exists()
    return True


def test_fault_20_a_reader_that_goes_away_does_not_end_the_training(data, tmp_path):
    process = begin(
        "train",
        "--data",
        data,
        *TINY,
        "--out",
        tmp_path / "run",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(2):
        process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0 and finished(tmp_path / "run")
    assert len(errors.splitlines()) == 1 and "the training goes on" in errors


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_fault_20_a_full_log_does_not_end_the_training(data, tmp_path, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["train", "--data", str(data), *map(str, TINY), "--out", str(tmp_path / "run")]) == 0
    assert finished(tmp_path / "run") and "Traceback" not in capsys.readouterr().err
    # A command that is nothing but its text has failed when the text is lost.
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["info"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "No space left on device" in errors


@pytest.mark.parametrize("command", [["info"], ["train", "--help"]])
def test_fault_20_texts_end_quietly_when_nobody_reads_them(command):
    process = begin(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0 and errors == ""


def test_fault_21_runs_started_together_never_share_a_folder(data, tmp_path):
    together = [begin("train", "--data", data, *TINY, cwd=tmp_path) for _ in range(2)]
    named = [begin("train", "--data", data, *TINY, "--out", "one", cwd=tmp_path) for _ in range(2)]
    assert [process.wait(120) for process in together] == [0, 0]
    assert sorted(process.wait(120) for process in named) == [0, 2]
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"mine-1", "mine-2"}
    assert all(finished(folder) for folder in [*(tmp_path / "runs").iterdir(), tmp_path / "one"])


def test_fault_21_a_run_in_use_is_locked_and_a_dead_ones_lock_is_not_in_the_way(data, tmp_path, capsys):
    folder = tmp_path / "run"
    process = begin("train", "--data", data, "--epochs", 100000, "--batch-size", 16, "--out", folder)
    try:
        wait_for(folder / "checkpoint.npz", process)
        code, _, errors = run_cli(capsys, "train", "--resume", folder)
        assert code == 2 and f"in use by another process (process {process.pid})" in errors and errors.count("\n") == 1
        code, _, errors = run_cli(capsys, "train", "--data", data, "--out", folder, "--batch-size", 16)
        assert code == 2 and errors.count("\n") == 1
        assert (
            run_cli(capsys, "sample", folder, "--count", 2, "--out", tmp_path / "x.npz")[0] == 0
        )  # looking is free
    finally:
        process.kill()
        process.wait()
    assert (folder / "run.lock").exists()
    with np.load(folder / "checkpoint.npz") as file:
        steps = int(file["steps_done"]) + 1
    assert run_cli(capsys, "train", "--resume", folder, "--steps", steps)[0] == 0 and finished(folder, steps)
    # The total may be smaller than before, as here.
    assert json.loads((folder / "config.json").read_text())["steps"] == steps


def test_fault_22_the_readers_matplotlib_does_not_end_the_training(data, tmp_path):
    """A backend that does not exist, LaTeX that is not installed, a line that Matplotlib does not understand."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\nfigure.dpi: 1000\nno such line\n")
    done = minideconv(
        "train", "--data", data, *TINY, "--out", tmp_path / "run", MPLBACKEND="nowhere", MPLCONFIGDIR=tmp_path, PATH=""
    )
    assert done.returncode == 0 and finished(tmp_path / "run"), done.stderr
    assert "could not be drawn" not in done.stderr and "Traceback" not in done.stderr
    assert RUN_FILES == {path.name for path in (tmp_path / "run").iterdir()}


def test_fault_23_a_path_that_the_console_cannot_show_is_shown_with_escapes(data, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "\u6570\u5b57 \u00e4"
    console = io.TextIOWrapper(io.BytesIO(), "cp1252")
    with monkeypatch.context() as changed:
        changed.setattr(sys, "stdout", console)
        assert cli.main(["train", "--data", str(data), *map(str, TINY), "--out", str(folder)]) == 0
    assert finished(folder)
    assert "\\u6570\\u5b57 \u00e4 --out" in console.buffer.getvalue().decode("cp1252")  # what it can show, it shows
    assert run_cli(capsys, "sample", folder, "--count", 2, "--out", folder / "\u20ac.png")[0] == 0
    assert (folder / "\u20ac.png").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_fault_23_any_letter_gets_through_any_console(monkeypatch, encoding):
    """Also half a letter, as Python reads a file name that is no UTF-8."""
    console = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", console)
    with patient():
        print("\u6570 \udcff")
    assert console.errors == "strict"
    console.flush()
    assert b"\\udcff" in console.buffer.getvalue()


def test_fault_24_labels_of_any_size_are_classes_with_names(tmp_path, capsys):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "far.npz", images=rng.integers(0, 256, (40, 8, 8), np.uint8), labels=np.arange(40) % 2 * 200_000
    )
    folder = tmp_path / "run"
    code, out, errors = run_cli(
        capsys,
        "train",
        "--data",
        tmp_path / "far.npz",
        "--conditional",
        "--batch-size",
        16,
        "--steps",
        2,
        "--out",
        folder,
    )
    assert code == 0 and "2 classes (0, 200000)" in out, errors
    assert json.loads((folder / "config.json").read_text())["names"] == ["0", "200000"]
    assert run_cli(capsys, "sample", folder, "--label", 200000, "--count", 3, "--out", tmp_path / "x.npz")[0] == 0
    with np.load(tmp_path / "x.npz") as file:
        assert file["labels"].tolist() == [1, 1, 1]
    code, _, errors = run_cli(capsys, "sample", folder, "--label", 1, "--out", tmp_path / "y.npz")
    assert code == 2 and "label must be one of the run's 2 classes (0, 200000); got '1'" in errors


def test_fault_25_the_home_folder_is_understood_after_an_equals_sign(data, tmp_path, monkeypatch, capsys):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(data, home / "x.npz")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(tmp_path)
    assert run_cli(capsys, "train", "--data=~/x.npz", "--out=~/run", "--steps", 2, "--batch-size", 16)[0] == 0
    assert json.loads((home / "run" / "config.json").read_text())["data"] == str(home / "x.npz")
    assert run_cli(capsys, "train", "--resume=~/run", "--steps", 3)[0] == 0 and finished(home / "run", 3)
    assert (
        run_cli(capsys, "sample", "~/run", "--count", 2, "--out=~/new.png")[0] == 0 and (home / "new.png").exists()
    )
    assert os.listdir(tmp_path) == ["home"]


def test_fault_25_data_that_moved_are_told_and_checked(data, tmp_path, capsys):
    old, new, folder = tmp_path / "old.npz", tmp_path / "elsewhere" / "new.npz", tmp_path / "run"
    shutil.copy(data, old)
    assert run_cli(capsys, "train", "--data", old, "--steps", 2, "--batch-size", 16, "--out", folder)[0] == 0
    new.parent.mkdir()
    shutil.move(old, new)
    code, _, errors = run_cli(capsys, "train", "--resume", folder, "--steps", 3)
    assert code == 2 and "old.npz" in errors and "--data" in errors
    other = tmp_path / "other.npz"
    np.savez(other, images=np.full((90, 8, 8), 200, np.uint8))
    code, _, errors = run_cli(capsys, "train", "--resume", folder, "--steps", 3, "--data", other)
    assert code == 2 and f"{other} is not what" in errors
    assert run_cli(capsys, "train", "--resume", folder, "--steps", 3, "--data", new)[0] == 0
    assert run_cli(capsys, "train", "--resume", folder, "--steps", 4)[0] == 0 and finished(folder, 4)  # it remembers


def test_fault_26_a_file_that_cannot_be_written_is_named(data, tmp_path, capsys):
    folder = tmp_path / "run"
    (folder / "losses.csv").mkdir(parents=True)
    code, _, errors = run_cli(capsys, "train", "--data", data, "--steps", 2, "--batch-size", 16, "--out", folder)
    assert code == 2 and "losses.csv" in errors and errors.count("\n") == 1


# ---- export

def test_export_writes_what_others_read(whole, tmp_path, capsys):
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    file, folder = tmp_path / "deep" / "g.onnx", tmp_path / "page"
    code, printed, _ = run_cli(capsys, "export", whole, "--to", "onnx", file)
    assert code == 0 and printed == f"the generator is written to {file}\n" and os.listdir(file.parent) == ["g.onnx"]
    code, printed, _ = run_cli(capsys, "export", whole, "--to", "torch", folder)
    assert code == 0 and set(os.listdir(folder)) == {"generator.py", "weights.npz"} and str(folder) in printed
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before

    generator = load_generator(whole)
    latents, labels = np.random.default_rng(0).standard_normal((4, generator.latent), np.float32), np.arange(4) % 3
    (images,) = ReferenceEvaluator(str(file)).run(["images"], {"latents": latents, "labels": labels})
    with no_grad():
        expected = generator(Tensor(latents), labels).numpy()
    assert images.shape == (4, 8, 8, 1) and images.dtype == np.float32 and np.abs(images - expected).max() < 1e-5


@pytest.mark.parametrize("to, out, said", [
    ("onnx", "g.png", "--to onnx writes a file that ends in .onnx; got"), ("onnx", "g", "ends in .onnx"),
    ("torch", "g.py", "--to torch writes a FOLDER"), ("torch", "g.onnx", "--to torch writes a FOLDER"),
    ("torch", "file", "is a file"), ("keras", "g", "argument --to: invalid choice: 'keras'"),
    ("onnx", "", "must not be")])
def test_export_says_what_it_cannot_write(whole, tmp_path, capsys, monkeypatch, to, out, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    code, _, errors = run_cli(capsys, "export", whole, "--to", to, out)
    assert code == 2 and said in errors and errors.count("\n") == 1
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_export_needs_a_run(tmp_path, capsys):
    for to, out in (("onnx", tmp_path / "g.onnx"), ("torch", tmp_path / "page")):
        code, _, errors = run_cli(capsys, "export", tmp_path, "--to", to, out)
        assert code == 2 and errors.count("\n") == 1 and ("no config.json" in errors or "onnx" in errors)
    assert os.listdir(tmp_path) == []


def test_export_without_onnx_says_what_to_install(whole, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, errors = run_cli(capsys, "export", whole, "--to", "onnx", tmp_path / "g.onnx")
    assert code == 2 and 'pip install "minideconv[onnx]"' in errors and errors.count("\n") == 1
    assert os.listdir(tmp_path) == []
    assert run_cli(capsys, "export", whole, "--to", "torch", tmp_path / "page")[0] == 0
