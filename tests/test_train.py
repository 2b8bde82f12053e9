"""Runs on disk: configurations, folders and locks, whatever trains in them, and the pictures."""

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
import warnings
from types import SimpleNamespace

import matplotlib  # and so these tests draw in this process
import numpy as np
import pytest
from PIL import Image

from minideconv import gan, nn
from minideconv.gan import runs
from minideconv.train import pictures
from minideconv.train import run as run_module
from minideconv.train.config import DEFAULT, FORMAT, PRESETS, Config
from minideconv.train.lock import Lock
from minideconv.train.run import DivergedError, Run, read_config
from minideconv.train.state import collect, random_generators, restore
from minideconv.train.table import named

# ---- configurations

NEEDED = {"data": "test", "image_shape": (8, 8, 1), "count": 40, "checksum": 7}


def test_a_configuration_is_a_preset_and_then_what_the_user_gave():
    config = Config(**NEEDED, batch_size=8, learning_rate=None)
    assert config.steps == DEFAULT["steps"] and config.steps_per_epoch == 5 and config.batch_size == 8
    for name, value in PRESETS["default"].items():
        decided_by_others = name in ("data", "epochs", "labels", "batch_size", "penalty_weight", "penalty_end")
        assert decided_by_others or getattr(config, name) == value
    assert config.penalty_weight == 1 and Config(**NEEDED, batch_size=8, penalty="wgan-gp").penalty_weight == 10
    assert Config(**NEEDED, batch_size=8, epochs=2).steps == 10
    assert Config(**NEEDED, batch_size=8, epochs=2, steps=3).steps == 3


def test_presets_differ_in_what_they_say(monkeypatch):
    monkeypatch.setitem(PRESETS, "thin", {**DEFAULT, "width": 3, "epochs": 1})
    thin = Config(**NEEDED, batch_size=8, preset="thin")
    assert (thin.width, thin.steps, thin.latent) == (3, 5, DEFAULT["latent"])
    assert Config(**NEEDED, preset="thin", width=4).width == 4
    assert Config.from_json(thin.to_json()) == thin


def test_every_preset_says_everything():
    fields = {field.name for field in dataclasses.fields(Config)}
    decided = fields - set(NEEDED) - {"names", "preset", "classes", "decay_to"}
    for name, preset in PRESETS.items():
        assert set(preset) == decided | {"data", "epochs", "labels"}, name


def test_a_configuration_is_keyword_only_and_goes_through_json():
    with pytest.raises(TypeError):
        Config("test", (8, 8, 1), 40, 7)
    config = Config(**{**NEEDED, "count": np.int64(40)}, batch_size=np.int32(8), names=["a", "b"])
    assert Config.from_json(config.to_json()) == config and json.loads(config.to_json())["format"] == FORMAT
    with pytest.raises(TypeError, match="unexpected keyword argument 'width_'"):
        Config(**NEEDED, width_=3)
    with pytest.raises(TypeError, match="steps must be of type int; got 'many'"):
        Config(**NEEDED, steps="many")


OLD = {
    "data": "strokes",
    "image_shape": [28, 28, 1],
    "count": 60000,
    "checksum": 1,
    "steps": 9,
    "loss": "ns",
    "classes": 0,
    "batch_size": 128,
    "seed": 4,
    "latent": 100,
    "width": 64,
    "learning_rate": 0.0002,
    "beta1": 0.5,
    "beta2": 0.999,
}


def test_a_config_of_version_0_1_0_is_read():
    config = Config.from_json(json.dumps(OLD))
    assert (
        config.names is None and config.preset == "default" and config.seed == 4 and config.image_shape == (28, 28, 1)
    )


@pytest.mark.parametrize(
    "text, words",
    [
        (json.dumps({**OLD, "colour": 1}), "unknown setting 'colour'"),
        (json.dumps({**OLD, "preset": "magic"}), "preset must be one of .*'magic'"),
        (json.dumps({**OLD, "format": FORMAT + 1}), f"format is {FORMAT + 1}, newer than this version's {FORMAT}"),
        (json.dumps({**OLD, "format": "x"}), "format is x"),
        (json.dumps({**OLD, "steps": "ten"}), "steps must be of type int"),
        (json.dumps({"data": "x"}), "missing .* 'image_shape'"),
        ("[]", "list"),
        ("{", "not a configuration"),
        ("", "not a configuration"),
    ],
)
def test_a_config_that_cannot_be_used_is_one_line(tmp_path, text, words):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=words) as refused:
        read_config(tmp_path)
    assert str(tmp_path / "config.json") in str(refused.value) and "\n" not in str(refused.value)


# ---- a run of anything


@dataclasses.dataclass
class Length:
    """The least that a configuration has to be."""

    steps: int
    steps_per_epoch: int = 5

    def to_json(self):
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text):
        return cls(**json.loads(text))


class Walk:
    """A trainer that is no GAN: a point that wanders."""

    def __init__(self, seed=0, names=("distance",)):
        self.rng, self.place, self.names = np.random.default_rng(seed), np.zeros(2), names

    def step(self):
        self.place = self.place + self.rng.standard_normal(2)
        return {name: np.float32(abs(self.place).sum()) for name in self.names}

    def samples(self):
        return np.full((4, 6, 8, 3), abs(self.place[0]) % 1, np.float32)

    def state_dict(self):
        return {"place": self.place, **collect({"rng": self.rng})}

    def load_state_dict(self, state):
        self.place = state["place"]
        restore({"rng": self.rng}, state)


class Points(Walk):
    """One that draws its samples itself, and has networks to keep."""

    chart = {"title": "How far", "levels": {"far": 3.0}}

    def samples(self):
        raise AssertionError("draws itself")

    def draw_samples(self, path):
        Image.new("L", (9, 9)).save(path, "PNG")

    def save_networks(self, folder):
        np.savez(folder / "walk.npz", place=self.place)


class Anxious(Walk):
    """One that has something to say, once, and cannot draw it."""

    def watch(self, losses):
        assert set(losses) == {"distance"}
        return ["far from home"] if self.rng.bit_generator.state == self.third else []

    def __init__(self):
        super().__init__(seed=5)
        ahead = np.random.default_rng(5)
        ahead.standard_normal(6)                # two numbers a step
        self.third = ahead.bit_generator.state

    def draw_health(self, path):
        raise RuntimeError("no pencil")


def test_what_a_trainer_has_to_say_is_handed_on(tmp_path):
    said, steps = [], []
    with Run.create(tmp_path / "run", Anxious(), Length(12)) as run:
        run.train(report=lambda step, losses: steps.append((step, len(said))), warn=said.append)
    assert said == ["far from home", "health.png could not be drawn: RuntimeError: no pencil"]
    assert steps[1:3] == [(2, 0), (3, 1)] and not (tmp_path / "run" / "health.png").exists()


def same_files(a, b, but=()):
    one, other = ({path.relative_to(folder).as_posix() for path in folder.rglob("*")} - set(but) for folder in (a, b))
    assert one == other
    assert (a / "losses.csv").read_text() == (b / "losses.csv").read_text()
    with np.load(a / "checkpoint.npz") as x, np.load(b / "checkpoint.npz") as y:
        assert all(np.array_equal(x[name], y[name]) for name in x.files if name != "run/config")
    return True


@pytest.mark.parametrize("kind", [Walk, Points])
def test_a_run_trains_anything_and_goes_on_to_the_last_bit(kind, tmp_path):
    with Run.create(tmp_path / "whole", kind(), Length(12)) as run:
        run.train()
    assert {path.name for path in run.folder.iterdir()} - {"walk.npz"} == {
        "config.json",
        "losses.csv",
        "losses.png",
        "samples",
        "training.gif",
        "checkpoint.npz",
    }
    lines = (run.folder / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,epoch,distance" and len(lines) == 13 and lines[6].startswith("6,2,")
    assert list(pictures.sample_grids(run.folder)) == [5, 10, 12]

    class Stop(Exception):
        pass

    def stop(step, losses):
        if step == 8:
            raise Stop

    with pytest.raises(Stop), Run.create(tmp_path / "parts", kind(), Length(12)) as run:
        run.train(checkpoint_every=3, report=stop)
    with Run.resume(tmp_path / "parts", kind(seed=9), read_config(tmp_path / "parts", Length)) as run:
        assert run.steps_done == 6
        run.train()
    assert same_files(tmp_path / "whole", tmp_path / "parts")


def test_a_report_comes_after_everything_of_its_step_is_saved(tmp_path):
    seen = []

    def report(step, losses):
        with np.load(tmp_path / "run" / "checkpoint.npz") as file:
            seen.append(
                (
                    step,
                    int(file["run/steps_done"]),
                    (tmp_path / "run" / "samples" / f"step_{step:06d}.png").exists(),
                    (tmp_path / "run" / "losses.png").exists(),
                )
            )

    with Run.create(tmp_path / "run", Walk(), Length(3, steps_per_epoch=1)) as run:
        run.train(report=report)
    assert seen == [(step, step, True, True) for step in (1, 2, 3)]


def test_columns_that_change_are_never_mixed(tmp_path):
    class Forgetful(Walk):
        def step(self):
            losses = super().step()
            return losses if self.rng.random() < 0.3 else {**losses, "more": 1.0}

    with (
        pytest.raises(ValueError, match="same names each time"),
        Run.create(tmp_path / "a", Forgetful(), Length(50)) as run,
    ):
        run.train()
    with Run.create(tmp_path / "b", Walk(), Length(5)) as run:
        run.train()
    with Run.resume(tmp_path / "b", Walk(names=("distance", "height")), Length(10)) as run:
        run.train()
    assert len((tmp_path / "b" / "losses-before-step-6.csv").read_text().splitlines()) == 6
    assert (tmp_path / "b" / "losses.csv").read_text().splitlines()[0] == "step,epoch,distance,height"


def test_divergence_keeps_the_checkpoint_and_says_so(tmp_path):
    class Exploding(Walk):
        def step(self):
            if abs(self.place).sum() > 4:
                raise DivergedError("it is far away")
            return super().step()

    with (
        pytest.raises(DivergedError, match=r"it is far away; the checkpoint of step \d+ is kept"),
        Run.create(tmp_path / "a", Exploding(), Length(99)) as run,
    ):
        run.train(checkpoint_every=1)


def test_state_names_what_is_no_longer_finite_and_what_is_missing():
    parts = {"net": nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), "rng": np.random.default_rng(0)}
    assert len(random_generators(parts)) == 2
    state = collect(parts)
    with pytest.raises(KeyError, match="random generators"):
        restore({"net": parts["net"]}, state)
    with pytest.raises(KeyError, match="generators is missing"):
        restore(parts, {name: value for name, value in state.items() if name != "random"})
    parts["net"].layers[0].weight.data[0, 0] = np.nan
    with pytest.raises(DivergedError, match="net/0.weight is no longer finite"):
        collect(parts)


# ---- folders and locks


def test_fault_21_a_folder_is_one_runs_at_a_time(tmp_path):
    first = Run.create(tmp_path / "run", Walk(), Length(5))
    with pytest.raises(ValueError, match=rf"in use by another process \(process {os.getpid()}\)"):
        Run.resume(tmp_path / "run", Walk(), Length(5))
    with pytest.raises(ValueError, match="in use"):
        Run.create(tmp_path / "run", Walk(), Length(5))
    first.close()
    with Run.resume(tmp_path / "run", Walk(), Length(5)) as run:
        run.train()
    assert not (tmp_path / "run" / "run.lock").exists()
    with pytest.raises(ValueError, match="holds a run already"):
        Run.create(tmp_path / "run", Walk(), Length(5))


def test_fault_21_a_lock_ends_with_its_process_and_one_that_is_forgotten_too(tmp_path):
    code = "import os, sys; from minideconv.train.lock import Lock; lock = Lock(sys.argv[1]); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code, tmp_path], env=environment, timeout=60)
    assert (tmp_path / "run.lock").exists()  # nobody was left to remove it, and it is in nobody's way
    lock = Lock(tmp_path)
    del lock
    assert not (tmp_path / "run.lock").exists()
    lock = Lock(tmp_path)
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_fault_21_without_a_name_every_run_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "walk-2").mkdir(parents=True)
    runs = [Run.create(None, Walk(), Length(5), name="walk") for _ in range(3)]
    assert [run.folder.as_posix() for run in runs] == ["runs/walk-1", "runs/walk-3", "runs/walk-4"]
    for run in runs:
        run.close()


def test_a_run_that_does_not_begin_leaves_nothing(tmp_path, monkeypatch):
    class Unwritable(Length):
        def to_json(self):
            raise OSError(28, "No space left on device")

    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "a" / "b" / "c", None):
        with pytest.raises(OSError):
            Run.create(folder, Walk(), Unwritable(5))
        assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises((ValueError, OSError)):
            Run.create(folder, Walk(), Length(5))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---- what a user may do to a run folder


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """half: a run of which 7 of 12 steps are done. whole: what became of the same run without interruption."""
    folder = tmp_path_factory.mktemp("both")
    for name, steps in (("half", 7), ("whole", 12)):
        with Run.create(folder / name, Walk(), Length(steps)) as run:
            run.train()
    (folder / "half" / "samples" / "step_000007.png").unlink()  # the whole run has none of that step
    return folder


@pytest.fixture
def half(both, tmp_path):
    """The half run, to be damaged; the whole one beside it."""
    for name in ("half", "whole"):
        shutil.copytree(both / name, tmp_path / name)
    return tmp_path / "half"


def go_on(folder):
    with Run.resume(folder, Walk(), Length(12)) as run, warnings.catch_warnings():
        warnings.simplefilter("error")
        run.train()
    return (folder / "losses.csv").read_text().splitlines()


def test_fault_25_stray_files_are_in_nobodys_way(half):
    samples = half / "samples"
    strays = [
        "step_notes.png",
        "step_.png",
        "step_000003 (copy).png",
        "step_99.png",
        "notes.txt",
        ".DS_Store",
        "step_000004.PNG.bak",
    ]
    for name in strays:
        (samples / name).write_text("mine")
    (samples / "step_000020.png").mkdir()
    go_on(half)
    for name in strays:
        assert (samples / name).read_text() == "mine"
    assert same_files(half.parent / "whole", half, but=[f"samples/{name}" for name in [*strays, "step_000020.png"]])


@pytest.mark.parametrize(
    "damage, rows",
    [
        (lambda path: path.unlink(), [8, 9, 10, 11, 12]),
        (lambda path: path.write_text(""), [8, 9, 10, 11, 12]),
        (lambda path: path.write_text("".join(path.read_text().splitlines(True)[:4])), [1, 2, 3, 8, 9, 10, 11, 12]),
        (lambda path: path.write_text(path.read_text()[:-9]), [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]),
        (lambda path: path.write_text(path.read_text() + "8,2,0.5\n9,2,"), list(range(1, 13))),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")), list(range(1, 13))),
    ],
)
def test_fault_25_a_deleted_or_short_losses_csv_is_no_obstacle(half, damage, rows):
    damage(half / "losses.csv")
    lines = go_on(half)
    whole = (half.parent / "whole" / "losses.csv").read_text().splitlines()
    assert lines == [whole[row] for row in (0, *rows)] and not list(half.glob("losses-before*"))


def test_other_contents_of_losses_csv_are_put_aside(half):
    (half / "losses.csv").write_text("my own notes\n")
    assert len(go_on(half)) == 6
    assert (half / "losses-before-step-8.csv").read_text() == "my own notes\n"


def test_a_deleted_checkpoint_does_not_begin_the_run_anew(tmp_path):
    with Run.create(tmp_path / "run", Points(), Length(5)) as run:
        run.train()
    (tmp_path / "run" / "checkpoint.npz").unlink()
    table = (tmp_path / "run" / "losses.csv").read_text()
    with pytest.raises(ValueError, match="checkpoint.npz is gone, though walk.npz"):
        Run.resume(tmp_path / "run", Points(), Length(9))
    assert (tmp_path / "run" / "losses.csv").read_text() == table and not (tmp_path / "run" / "run.lock").exists()


def test_a_damaged_checkpoint_is_named(half):
    (half / "checkpoint.npz").write_bytes(b"not a zip")
    with pytest.raises(ValueError, match="checkpoint.npz"):
        Run.resume(half, Walk(), Length(12))
    np.savez(half / "checkpoint.npz", other=1)
    with pytest.raises(ValueError, match="checkpoint.npz is not a checkpoint of this run"):
        Run.resume(half, Walk(), Length(12))


def test_a_total_below_what_was_trained_takes_nothing_away(half):
    with Run.resume(half, Walk(), Length(3)) as run:
        assert run.config.steps == 7
        run.train()
    assert read_config(half, Length).steps == 7


def test_fault_26_an_error_of_the_system_names_the_file():
    with pytest.raises(OSError, match="No space left on device: 'there/losses.csv'"), named("there/losses.csv"):
        raise OSError(28, "No space left on device")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_fault_26_a_full_disk_names_the_table_and_keeps_the_checkpoint(tmp_path):
    with Run.create(tmp_path / "run", Walk(), Length(5)) as run:
        run.train()
    (tmp_path / "run" / "losses.csv").unlink()
    run = Run.resume(tmp_path / "run", Walk(), Length(10))
    (tmp_path / "run" / "losses.csv").symlink_to("/dev/full")
    with run, pytest.raises(OSError, match="No space left on device.*losses.csv"):
        run.train()
    with np.load(tmp_path / "run" / "checkpoint.npz") as file:
        assert int(file["run/steps_done"]) == 5


# ---- pictures


@pytest.fixture
def reader_settings(monkeypatch):
    """A reader who wants LaTeX, serifs and everything black, on a machine without LaTeX."""
    with matplotlib.rc_context(
        {
            "text.usetex": True,
            "text.latex.preamble": r"\usepackage{nowhere}",
            "figure.facecolor": "black",
            "font.size": 40,
        }
    ):
        monkeypatch.setenv("PATH", "")
        yield matplotlib.rcParams


def test_fault_22_pictures_have_this_projects_style_and_leave_the_readers_alone(tmp_path, reader_settings):
    with Run.create(tmp_path / "run", Walk(), Length(5)) as run, warnings.catch_warnings():
        warnings.simplefilter("error")
        run.train()
    with Image.open(tmp_path / "run" / "losses.png") as picture:
        assert picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    assert reader_settings["text.usetex"] and reader_settings["font.size"] == 40


def test_fault_22_a_picture_that_fails_is_one_line_and_training_goes_on(tmp_path, monkeypatch):
    def broken(*anything, **settings):
        raise RuntimeError("no fonts\nhere")

    for name in ("draw_losses", "save_grid", "draw_training"):
        monkeypatch.setattr(pictures, name, broken)
    said = []
    with Run.create(tmp_path / "run", Walk(), Length(15)) as run:
        run.train(warn=said.append)
    assert said == [
        f"{name} could not be drawn: RuntimeError: no fonts here" for name in ("samples", "losses.png", "training.gif")
    ]
    assert len((tmp_path / "run" / "losses.csv").read_text().splitlines()) == 16 and run.saved_step == 15


@pytest.mark.parametrize("share, draws", [(0, 6), (50, 2)])
def test_curves_take_no_more_than_a_share_of_the_time(tmp_path, monkeypatch, share, draws):
    """A clock that ticks when it is looked at: each drawing takes as long as an epoch does."""
    drawn = []

    def draw(folder):
        drawn.append((folder / "losses.png").touch())

    monkeypatch.setattr(run_module, "PICTURES", share)
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    monkeypatch.setattr(pictures, "draw_losses", draw)
    with Run.create(tmp_path / "run", Walk(), Length(30)) as run:
        run.train()
    assert len(drawn) == draws


BESIDE = """
import sys
import numpy as np
from minideconv import gan
from minideconv.train import beside, pictures
from minideconv.train.run import Run

images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
config = gan.Config(data="test", image_shape=(8, 8, 1), count=40, checksum=7, batch_size=8, steps=20, width=2)
said = []
with Run.create("run", gan.Trainer(config, images), config) as run:
    run.train(warn=said.append)
try:
    beside.save("run/none.png", pictures.losses_figure)
except ChildProcessError as error:
    said.append(str(error))
print("matplotlib" in sys.modules, len(said), said[-1].split(":")[0])
"""


def test_a_training_that_has_not_loaded_matplotlib_draws_beside(tmp_path):
    """And finds the same packages there, whatever lies in the current folder, and draws the same pictures."""
    for name in ("json", "numpy", "matplotlib", "minideconv"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this is the wrong one')\n")
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "train.py").write_text(BESIDE)
    done = subprocess.run(
        [sys.executable, "program/train.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.stdout.split() == ["False", "1", "TypeError"], done.stdout + done.stderr
    assert not (tmp_path / "run" / "none.png").exists()
    drawn = [tmp_path / "run" / name for name in ("losses.png", "health.png")]
    there = [path.read_bytes() for path in drawn]
    for path in drawn:
        path.unlink()
    images, config = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8), read_config(tmp_path / "run")
    with Run.resume(tmp_path / "run", gan.Trainer(config, images), config) as run:
        run.draw_losses()
    assert [path.read_bytes() for path in drawn] == there


def test_the_process_beside_writes_no_file_itself(tmp_path, monkeypatch):
    """It may outlive a training that was killed, and the next one has the folder then."""
    given = []

    def process(command, input, **settings):
        given.append((json.loads(input), settings["start_new_session"]))
        return SimpleNamespace(returncode=0, stdout=b"a picture", stderr=b"")

    monkeypatch.delitem(sys.modules, "matplotlib")
    monkeypatch.setattr(subprocess, "run", process)
    (tmp_path / "losses.csv").write_text("step,epoch,loss\n1,1,2.0\n")
    pictures.draw_losses(tmp_path, "A title")
    assert given == [(["minideconv.train.pictures", "losses_figure", [str(tmp_path), "A title", None]], True)]
    assert (tmp_path / "losses.png").read_bytes() == b"a picture"
    assert {path.name for path in tmp_path.iterdir()} == {"losses.csv", "losses.png"}


def test_losses_of_every_name_and_sign_are_drawn(tmp_path):
    rows = "".join(f"{step},1,{-step},{step / 2},0.0\n" for step in range(1, 40))
    (tmp_path / "losses.csv").write_text("step,epoch,discriminator_loss,generator_loss,discriminator_penalty\n" + rows)
    pictures.draw_losses(tmp_path, "A title", {"a level": -3})
    assert (tmp_path / "losses.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("classes", [[0], [4, 7], list(range(10)), list(range(60)), list(range(2, 1000))])
def test_a_class_grid_shows_every_class_in_full_rows(classes):
    labels, columns = pictures.class_grid(classes)
    assert set(labels.tolist()) <= set(classes) and (len(classes) > 256 or set(labels.tolist()) == set(classes))
    assert len(labels) <= 256 and (len(labels) % columns == 0 or len(classes) > 16)


# ---- what a command does, from a program


def test_a_program_can_do_what_the_commands_do(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(40) % 2 * 200_000)
    with gan.new_run(
        tmp_path / "run", data=tmp_path / "mine.npz", conditional=True, steps=2, batch_size=8, width=2
    ) as run:
        run.train()
    config = read_config(tmp_path / "run")
    assert config.names == ["0", "200000"] and config.classes == 2 and config.width == 2  # not 200001 classes
    with gan.resume_run(tmp_path / "run", epochs=1) as run:
        run.train()
    assert run.steps_done == 5
    drawn, labels = gan.generate(gan.load_generator(tmp_path / "run"), 3, seed=1, label=1)
    assert drawn.shape == (3, 8, 8, 1) and labels.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="preset must be one of default, .*, best; got 'magic'"):
        gan.new_run(tmp_path / "other", data=tmp_path / "mine.npz", preset="magic")
    assert not (tmp_path / "other").exists()


def test_fault_24_classes_without_images_are_said_and_left_out(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)
    monkeypatch.setattr(runs.data_room, "read",
                        lambda *source: (images, np.arange(40) % 2 * 2, ["a", "b", "c", "d"], []))
    with pytest.warns(UserWarning, match="no images of b, d"):
        run = gan.new_run(tmp_path / "gaps", data="x", conditional=True, steps=1, batch_size=8, width=2)
    with run:
        assert run.config.names == ["a", "c"] and run.config.classes == 2 and run.trainer.labels.max() == 1
