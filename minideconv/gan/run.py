"""A training run on disk: what it writes while it trains, and how it goes on after any interruption.

    config.json  losses.csv  losses.png  samples/step_000128.png ...  training.gif  generator.npz  checkpoint.npz

Every file but losses.csv is written beside and renamed. losses.csv is flushed before each checkpoint and cut back to the checkpoint's
step when a run is resumed, so that it always ends up as the uninterrupted run's.
"""
import os
import signal
import threading
from pathlib import Path

from .. import storage
from . import pictures
from .trainer import Config, DivergedError, Trainer

HEADER = "step,epoch,discriminator_loss,generator_loss\n"


class Interrupted(Exception):
    """Ctrl-C was pressed: the run is saved up to the step it had finished."""


class Run:
    """A run folder. `trainer` is its state; `train()` goes on until config.steps."""

    def __init__(self, folder, trainer: Trainer):
        self.folder, self.trainer = Path(folder), trainer
        self.saved_step = None

    @classmethod
    def create(cls, folder, config: Config, images, labels):
        """A new run; ValueError where the folder holds one already (nothing that was trained is ever overwritten)."""
        folder = Path(folder)
        if (folder / "config.json").exists() or (folder / "checkpoint.npz").exists():
            raise ValueError(f"{folder} holds a run already: continue it with --resume {folder}, or choose another --out")
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        trainer = Trainer(config, images, labels)
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        _write_text(folder / "config.json", config.to_json())
        _write_text(folder / "losses.csv", HEADER)
        return cls(folder, trainer)

    @staticmethod
    def read_config(folder) -> Config:
        """The configuration of the run in `folder`; ValueError where there is none."""
        path = Path(folder) / "config.json"
        if not path.is_file():
            raise ValueError(f"{folder} is not the folder of a run: it has no config.json")
        try:
            return Config.from_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def resume(cls, folder, steps, images, labels):
        """The run in `folder` at its last checkpoint (or its start, if it had none), to be trained to `steps` in all."""
        folder = Path(folder)
        config = cls.read_config(folder)
        config.steps = steps
        trainer = Trainer(config, images, labels)
        path = folder / "checkpoint.npz"
        if path.exists():
            try:
                trainer.load_state_dict(storage.load_arrays(path))
            except KeyError as error:
                raise ValueError(f"{path} is not a checkpoint of this run: {error.args[0]}") from error
        run = cls(folder, trainer)
        run.saved_step = trainer.steps_done if path.exists() else None
        (folder / "samples").mkdir(exist_ok=True)
        _write_text(folder / "config.json", config.to_json())
        rows = (folder / "losses.csv").read_text().splitlines(keepends=True)[1:trainer.steps_done + 1] if (folder / "losses.csv").exists() else []
        if len(rows) < trainer.steps_done:
            raise ValueError(f"{folder / 'losses.csv'} has {len(rows)} rows, but the checkpoint is of step {trainer.steps_done}")
        _write_text(folder / "losses.csv", HEADER + "".join(rows))
        for path in folder.rglob("*.part"):
            path.unlink()               # half a file that a killed process left beside its target
        for path in (folder / "samples").glob("step_*.png"):
            if int(path.stem[5:]) > trainer.steps_done:
                path.unlink()           # will be drawn again
        return run

    def train(self, checkpoint_every=None, report=None) -> None:
        """Train to config.steps. report(step, losses) is called after every step.

        Checkpoints at every epoch's end, every `checkpoint_every` steps and at the end; sample grids at every epoch's end and, while much
        changes, at steps 16, 32, 64, ... Ctrl-C acts at a step's end: saves and raises Interrupted.
        """
        trainer, config = self.trainer, self.trainer.config
        with _DeferredInterrupt() as interrupt, open(self.folder / "losses.csv", "a", encoding="utf-8") as table:
            while trainer.steps_done < config.steps:
                try:
                    losses = trainer.step()
                    step = trainer.steps_done
                    epoch_ends = step % config.steps_per_epoch == 0
                    table.write(f"{step},{(step - 1) // config.steps_per_epoch + 1},{losses[0]!r},{losses[1]!r}\n")
                    if report:
                        report(step, losses)
                    if epoch_ends or step == config.steps or (step >= 16 and step & (step - 1) == 0):
                        self.draw_samples()
                    if epoch_ends or interrupt.pressed or step == config.steps or (checkpoint_every and step % checkpoint_every == 0):
                        self.save(table)
                    if epoch_ends or step == config.steps:
                        pictures.draw_losses(self.folder, trainer.loss)
                except DivergedError as error:
                    kept = f"the checkpoint of step {self.saved_step} is kept" if self.saved_step is not None else "no checkpoint had been written yet"
                    raise DivergedError(f"training stopped: {error}; {kept} in {self.folder}. Try another --seed or a larger --batch-size") from None
                if interrupt.pressed:
                    pictures.draw_losses(self.folder, trainer.loss)
                    raise Interrupted(f"stopped after step {step} of {config.steps}; go on with: minideconv train --resume {self.folder}")
        pictures.draw_training(self.folder)

    def draw_samples(self) -> None:
        """samples/step_NNNNNN.png from the fixed latents."""
        pictures.save_grid(self.folder / "samples" / f"step_{self.trainer.steps_done:06d}.png", self.trainer.samples())

    def save(self, table) -> None:
        """checkpoint.npz and generator.npz, after everything in losses.csv up to here is on the disk."""
        table.flush()
        os.fsync(table.fileno())
        storage.save_arrays(self.folder / "checkpoint.npz", self.trainer.state_dict())
        self.trainer.generator.save(self.folder / "generator.npz")
        self.saved_step = self.trainer.steps_done


class _DeferredInterrupt:
    """While inside, a first Ctrl-C only sets `pressed`; a second one interrupts at once."""

    def __enter__(self):
        self.pressed = False
        self.former = signal.signal(signal.SIGINT, self._press) if threading.current_thread() is threading.main_thread() else None
        return self

    def _press(self, number, frame):
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, *error):
        if self.former is not None:
            signal.signal(signal.SIGINT, self.former)


def _write_text(path, text: str) -> None:
    storage.replace(path, lambda file: file.write(text.encode()))
