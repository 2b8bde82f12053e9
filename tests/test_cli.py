"""The command line as a person meets it: whole runs in processes of their own, interruptions and mistakes included."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

BASE = [sys.executable, "-m", "minideconv"]
RUN_FILES = {"config.json", "losses.csv", "losses.png", "samples", "training.gif", "generator.npz", "checkpoint.npz"}


def minideconv(*arguments, threads="2", cwd=None, **environment):
    return subprocess.run([*BASE, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120,
                          env={**os.environ, "MINIDECONV_NUM_THREADS": threads, **environment})


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
                assert key == "config" or np.array_equal(one[key], two[key]), key
    return True


def test_a_run_leaves_what_it_promises(whole):
    assert {path.name for path in whole.iterdir()} == RUN_FILES
    assert (whole / "losses.csv").read_text().splitlines()[0] == "step,epoch,discriminator_loss,generator_loss"
    assert len((whole / "losses.csv").read_text().splitlines()) == 16
    assert sorted(path.name for path in (whole / "samples").iterdir()) == ["step_000005.png", "step_000010.png", "step_000015.png"]
    with Image.open(whole / "training.gif") as gif:
        assert gif.n_frames == 3
    with np.load(whole / "checkpoint.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiU" for name in file.files)


def test_threads_do_not_change_a_run(whole, data, tmp_path):
    done = minideconv("train", "--data", data, "--epochs", 3, "--batch-size", 16, "--seed", 3, "--out", tmp_path / "run", threads="1")
    assert done.returncode == 0 and same_run(whole, tmp_path / "run")


@pytest.mark.parametrize("moment", ["before the first checkpoint", "after a checkpoint"])
def test_kill_and_resume_ends_bit_identical(whole, data, tmp_path, moment):
    folder = tmp_path / "run"
    process = subprocess.Popen([*BASE, "train", "--data", data, "--epochs", "400", "--batch-size", "16", "--seed", "3", "--out", folder, "--checkpoint-every", "2"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted = folder / ("losses.csv" if moment.startswith("before") else "checkpoint.npz")
    deadline = time.monotonic() + 60
    while not wanted.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wanted.exists()
    steps = 15
    if (folder / "checkpoint.npz").exists():
        with np.load(folder / "checkpoint.npz") as file:
            steps = max(15, int(file["steps_done"]))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "steps": 15}))       # as if 3 epochs had been asked for
    done = minideconv("train", "--resume", folder, "--steps", steps)
    assert done.returncode == 0, done.stderr
    if steps == 15:
        assert same_run(whole, folder)
    else:
        again = tmp_path / "again"
        assert minideconv("train", "--data", data, "--steps", steps, "--batch-size", 16, "--seed", 3, "--out", again).returncode == 0
        assert same_run(again, folder)


def test_longer_training_after_the_end_equals_one_long_run(whole, data, tmp_path):
    folder = tmp_path / "run"
    assert minideconv("train", "--data", data, "--epochs", 1, "--batch-size", 16, "--seed", 3, "--out", folder).returncode == 0
    assert "larger total" in minideconv("train", "--resume", folder).stdout
    done = minideconv("train", "--resume", folder, "--epochs", 3)
    assert done.returncode == 0, done.stderr
    assert same_run(whole, folder)
    assert sorted(os.listdir(whole / "samples")) == sorted(os.listdir(folder / "samples"))


def test_ctrl_c_saves_and_exits_130(data, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen([*BASE, "train", "--data", data, "--epochs", "100000", "--batch-size", "16", "--out", folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "losses.csv").exists() or process.poll() is not None:
        time.sleep(0.01)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors and "--resume" in errors
    with np.load(folder / "checkpoint.npz") as file:
        steps = int(file["steps_done"])
    assert steps > 0 and len((folder / "losses.csv").read_text().splitlines()) == steps + 1


def test_sample_draws_pictures_and_arrays(whole, tmp_path):
    assert minideconv("sample", whole, "--count", 5, "--out", tmp_path / "a.npz").returncode == 0
    assert minideconv("sample", whole, "--count", 5, "--out", tmp_path / "b.npz").returncode == 0
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a["images"].shape == (5, 8, 8, 1) and a["images"].dtype == np.float32
        assert 0 <= a["images"].min() <= a["images"].max() <= 1
        assert np.array_equal(a["images"], b["images"])
    assert minideconv("sample", whole, "--count", 5, "--seed", 1, "--out", tmp_path / "c.png").returncode == 0
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.format == "PNG"


def test_conditional_run_draws_the_class_asked_for(data, tmp_path):
    folder = tmp_path / "run"
    assert minideconv("train", "--data", data, "--conditional", "--steps", 2, "--batch-size", 16, "--out", folder).returncode == 0
    assert minideconv("sample", folder, "--label", 2, "--count", 4, "--out", tmp_path / "two.npz").returncode == 0
    with np.load(tmp_path / "two.npz") as file:
        assert file["labels"].tolist() == [2] * 4
    refused = minideconv("sample", folder, "--label", 3, "--out", tmp_path / "x.npz")
    assert refused.returncode == 2 and "label must be one of the run's 3 classes (0, 1, 2)" in refused.stderr


def test_info_names_versions_and_blas():
    done = minideconv("info")
    assert done.returncode == 0
    assert "numpy" in done.stdout and "threads: 2" in done.stdout and "BLAS" in done.stdout


def test_help_teaches():
    text = minideconv("train", "--help").stdout
    assert "1.386" in text and "--resume" in text and "examples" in text


@pytest.mark.parametrize("arguments, words", [
    (["train", "--steps", "0"], "--steps: must be at least 1"),
    (["train", "--steps", "many"], "expected a whole number"),
    (["train", "--bogus"], "--bogus"),
    (["train", "--loss", "magic"], "magic"),
    (["train", "--data", "nowhere.npz"], "nowhere.npz"),
    (["train", "--data", "mnist", "--data-dir", "."], "train-images"),
    (["train", "--epochs", "2", "--steps", "3"], "not allowed"),
    (["train", "--resume", "."], "config.json"),
    (["train", "--resume", ".", "--seed", "1"], "--seed cannot be given with --resume"),
    (["sample", ".", "--out", "x.png"], "config.json"),
    (["sample", ".", "--out", "x.bmp"], ".png or .npz"),
    ([], "COMMAND"),
])
def test_mistakes_end_in_one_line_and_exit_code_2(arguments, words, tmp_path):
    done = minideconv(*arguments, cwd=tmp_path, PYTHONPATH=os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1 and words in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []


def test_unfit_pictures_and_old_runs_are_refused_before_any_work(whole, data, tmp_path):
    np.savez(tmp_path / "odd.npz", images=np.zeros((20, 10, 10), np.uint8))
    done = minideconv("train", "--data", tmp_path / "odd.npz", "--out", tmp_path / "run")
    assert done.returncode == 2 and "multiples of 4" in done.stderr and not (tmp_path / "run").exists()
    done = minideconv("train", "--data", data, "--batch-size", 16, "--out", whole)
    assert done.returncode == 2 and "--resume" in done.stderr
    done = minideconv("train", "--data", data, "--batch-size", 91, "--out", tmp_path / "run")
    assert done.returncode == 2 and "91" in done.stderr


def test_changed_data_are_noticed_at_resume(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, images=np.zeros((40, 8, 8), np.uint8))
    assert minideconv("train", "--data", path, "--steps", 1, "--batch-size", 16, "--out", tmp_path / "run").returncode == 0
    np.savez(path, images=np.ones((40, 8, 8), np.uint8))
    done = minideconv("train", "--resume", tmp_path / "run", "--steps", 2)
    assert done.returncode == 2 and "have changed" in done.stderr
