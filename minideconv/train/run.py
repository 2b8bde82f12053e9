"""A training run on disk: what it writes while it trains, and how it goes on after any
interruption.

    config.json  losses.csv  losses.png  health.png  samples/step_000128.png ...  training.gif
    checkpoint.npz  generator.npz

Every file but losses.csv is written beside and renamed. losses.csv is flushed before each
checkpoint and cut back to the checkpoint's step when a run is resumed, so that it always ends up
as the uninterrupted run's.

A run trains anything that has

    step() -> {name: number}    one step of training; the same names each time
    samples()                   images (N, H, W, C) in [0, 1] that show how far it is, always of the same; or None
    state_dict()                all that its next step rests on, as arrays by name (train/state.py)
    load_state_dict(state)      goes on from there

and, where it has more to say, any of

    draw_samples(path)          writes the PNG itself, where its samples are no images
    columns                     of the grid that samples() are shown in (left out: as many as rows)
    chart                       {"title": ..., "levels": {label: height}} for losses.png
    watch(losses)               lines for the reader about the step that gave them, such as signs of a failing game
    draw_health(path)           writes the PNG of what it watched
    save_networks(folder)       writes what is of use without the trainer, such as generator.npz
    again                       what goes on with an interrupted run (left out: the command line)

Its configuration is a dataclass with `steps` (in all), `steps_per_epoch` and `to_json()`.
"""
import contextlib
import dataclasses
import itertools
import signal
import threading
import time
import warnings
from pathlib import Path

from .. import parallel, storage
from . import pictures, table
from .config import Config
from .lock import Lock
from .state import DivergedError
from .table import named, write_text

PICTURES = 50           # parts of the time, of which drawing the curves may take one: with many steps it takes a second


class Interrupted(Exception):
    """Ctrl-C was pressed: the run is saved up to the step it had finished."""


class Run:
    """A run folder, held by this process until close() or the end of a `with`. `train()` goes on
    until config.steps.

    trainer: what is trained (see above). steps_done: how many of its steps were. saved_step: the
    checkpoint's, None before the first.
    """

    def __init__(self, folder, trainer, config, lock: Lock):
        self.folder, self.trainer, self.config, self._lock = Path(folder), trainer, config, lock
        self.steps_done, self.saved_step = 0, None

    @classmethod
    def create(cls, folder, trainer, config, name: str = "run") -> "Run":
        """A new run. folder None: runs/NAME-1, or -2, ..., the first that nobody has, however many
        look for one at the same time.

        ValueError where the folder holds a run already, or another process is making one there.
        Nothing is left behind then.
        """
        folder, made = _claim(folder, name)
        lock = None
        try:
            lock = Lock(folder)
            if (folder / "config.json").exists() or (folder / "checkpoint.npz").exists():
                raise ValueError(f"{folder} holds a run already: continue it with --resume {folder}, "
                                 "or choose another --out")
            write_text(folder / "config.json", config.to_json())
        except BaseException:
            if lock:
                lock.release()
            for place in reversed(made):
                with contextlib.suppress(OSError):      # somebody else may have put something there meanwhile
                    place.rmdir()
            raise
        return cls(folder, trainer, config, lock)

    @classmethod
    def resume(cls, folder, trainer, config) -> "Run":
        """The run in `folder` at its last checkpoint (or its start, if it had none yet), to be
        trained to config.steps.

        trainer: a new one, made from the run's configuration. ValueError where another process
        holds the run, or where the checkpoint is damaged, gone or of something else.
        """
        folder = Path(folder)
        lock = Lock(folder)
        try:
            run = cls(folder, trainer, config, lock)
            run._load()
            # What was trained stays trained, whatever total is asked for.
            run.config = config = with_steps(config, max(config.steps, run.steps_done))
            for path in folder.rglob("*.part"):
                path.unlink()           # half a file that a killed process left beside its target
            for step, path in pictures.sample_grids(folder).items():
                if step > run.steps_done:
                    path.unlink()       # will be drawn again
            table.cut(folder / "losses.csv", run.steps_done)
            write_text(folder / "config.json", config.to_json())
        except BaseException:
            lock.release()
            raise
        return run

    def _load(self):
        path = self.folder / "checkpoint.npz"
        if not path.exists():
            if others := sorted(self.folder.glob("*.npz")):
                raise ValueError(f"{path} is gone, though {others[0].name} was written after it: "
                                 "put it back, or begin a new run")
            return
        state = storage.load_arrays(path)
        try:
            steps = int(state.pop("run/steps_done") if "run/steps_done" in state else state["steps_done"])
            state.pop("run/config", None)
            self.trainer.load_state_dict(state)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} is not a checkpoint of this run: {error.args[0]}") from error
        self.steps_done = self.saved_step = steps

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self) -> None:
        """Let go of the folder: others may resume the run."""
        self._lock.release()

    def train(self, checkpoint_every=None, report=None, warn=warnings.warn) -> None:
        """Train to config.steps. report(step, losses) is called after every step, when all that
        belongs to the step is saved.

        Checkpoints at every epoch's end, every `checkpoint_every` steps and at the end; samples at
        every epoch's end and, while much changes, at steps 16, 32, 64, ...; losses.png and health.png at
        the end, and at an epoch's if they took less than a fiftieth of the time. Ctrl-C acts at a step's
        end: saves and raises Interrupted. warn(text) gets what the trainer's `watch` has to say, and
        a line about a picture that cannot be drawn, once. Raises DivergedError where a loss or a
        weight is no number any more, OSError, naming the file, where the disk takes no more; the
        last checkpoint is kept.
        """
        config, drawn_again = self.config, 0.0
        self._warn, self._warned = warn, set()
        (self.folder / "samples").mkdir(exist_ok=True)
        # BLAS is told once, not at each of many small products, to leave the threads to the engine's pool.
        with (parallel.one_blas_thread, _DeferredInterrupt() as interrupt,
              table.Table(self.folder / "losses.csv", config.steps_per_epoch) as rows):
            while self.steps_done < config.steps:
                try:
                    losses = self.trainer.step()
                    self.steps_done = step = self.steps_done + 1
                    rows.add(step, losses)
                    self._watch(losses)
                    ends = step % config.steps_per_epoch == 0 or step == config.steps
                    if ends or (step >= 16 and step & (step - 1) == 0):
                        self.draw_samples()
                    if ends or interrupt.pressed or (checkpoint_every and step % checkpoint_every == 0):
                        rows.flush()
                        self.save()
                except DivergedError as error:
                    raise self._diverged(error) from None
                if step == config.steps or interrupt.pressed or (ends and time.monotonic() >= drawn_again):
                    began = time.monotonic()
                    self.draw_losses()
                    drawn_again = began + PICTURES * (time.monotonic() - began)
                if report:
                    report(step, losses)
                if interrupt.pressed:
                    again = getattr(self.trainer, "again", f"minideconv train --resume {self.folder}")
                    raise Interrupted(f"stopped after step {step} of {config.steps}; go on with: {again}")
        if not (self.folder / "losses.png").exists():
            self.draw_losses()
        with self._picture("training.gif"):
            pictures.draw_training(self.folder)

    def _diverged(self, error):
        kept = f"the checkpoint of step {self.saved_step} is kept"
        if self.saved_step is None:
            kept = "no checkpoint had been written yet"
        return DivergedError(f"training stopped after step {self.steps_done}: {error}; {kept} in {self.folder}. "
                             "Try another seed, a larger batch, or a smaller learning rate")

    def draw_samples(self) -> None:
        """samples/step_NNNNNN.png."""
        path = self.folder / "samples" / f"step_{self.steps_done:06d}.png"
        with self._picture("samples"):
            if hasattr(self.trainer, "draw_samples"):
                self.trainer.draw_samples(path)
            else:
                images = self.trainer.samples()
                if images is not None:
                    pictures.save_grid(path, images, getattr(self.trainer, "columns", None))

    def draw_losses(self) -> None:
        """losses.png, and health.png where the trainer has one."""
        with self._picture("losses.png"):
            pictures.draw_losses(self.folder, **getattr(self.trainer, "chart", {}))
        if hasattr(self.trainer, "draw_health"):
            with self._picture("health.png"):
                self.trainer.draw_health(self.folder / "health.png")

    def _watch(self, losses):
        if hasattr(self.trainer, "watch"):
            for line in self.trainer.watch(losses):
                self._warn(line)

    @contextlib.contextmanager
    def _picture(self, name):
        """Drawing may fail in many ways (fonts, settings, a full disk), and none of them is worth
        a trained network: one line says so.
        """
        try:
            yield
        except DivergedError:
            raise
        except Exception as error:
            text = f"{name} could not be drawn: {type(error).__name__}: {' '.join(str(error).split())}"
            if text not in self._warned:
                self._warned.add(text)
                self._warn(text)

    def save(self) -> None:
        """checkpoint.npz, and what the trainer saves besides."""
        path = self.folder / "checkpoint.npz"
        state = {**self.trainer.state_dict(), "run/steps_done": self.steps_done, "run/config": self.config.to_json()}
        storage.save_arrays(path, state)
        self.saved_step = self.steps_done
        if hasattr(self.trainer, "save_networks"):
            with named(self.folder):
                self.trainer.save_networks(self.folder)


def read_config(folder, kind=Config):
    """The configuration of the run in `folder`, as kind.from_json reads it; ValueError, naming the
    file, where there is none.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} is not the folder of a run: it has no config.json")
    try:
        return kind.from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def with_steps(config, steps):
    """The same configuration with another length."""
    return dataclasses.replace(config, steps=steps)


def _claim(folder, name):
    """The folder of a new run, and the folders that had to be made for it."""
    made = []
    if folder is not None:
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        _make(folder, made)
        return folder, made
    _make(Path("runs"), made)
    for number in itertools.count(1):
        folder = Path("runs") / f"{name}-{number}"
        try:
            folder.mkdir()              # of many processes that try, the system lets one succeed
        except FileExistsError:
            continue
        return folder, [*made, folder]


def _make(folder, made):
    """Make a folder and those above it, and note which were missing."""
    for place in [*reversed(folder.parents), folder]:
        if not place.exists():
            with contextlib.suppress(FileExistsError):
                place.mkdir()
                made.append(place)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")


class _DeferredInterrupt:
    """While inside, a first Ctrl-C only sets `pressed`; a second one interrupts at once."""

    def __enter__(self):
        self.pressed = False
        main = threading.current_thread() is threading.main_thread()        # no other may ask for signals
        self.former = signal.signal(signal.SIGINT, self._press) if main else None
        return self

    def _press(self, number, frame):
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *error):
        if self.former is not None:
            signal.signal(signal.SIGINT, self.former)
