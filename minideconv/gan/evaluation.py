"""How good is a run, or anybody's file of samples? Draws samples, has them measured, writes what was found.

    found = evaluate_run("runs/mnist-1")
    print(table(found.report))                  # metrics/report.py
    save(found, "runs/mnist-1")
"""
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import storage
from ..data.points import MODES
from ..draw import figure
from ..metrics import quiet
from ..metrics.modes import SAMPLES as POINTS
from ..metrics.report import TEACHERS, Real, measure, read_real
from ..metrics.sheet import sheet
from ..train.run import read_config
from ..train.table import write_text
from .sample import generate, load_generator


class Evaluation(NamedTuple):
    """What was found, and of what: a dict that json.dumps takes (see metrics/report.py), samples
    (N, H, W, C) or (N, 2), labels (N,) or None, and the real data.
    """
    report: dict
    samples: np.ndarray
    labels: np.ndarray | None
    real: Real


def evaluate_run(folder, *, count: int | None = None, seed: int = 0, scale: float = 1.0, source=None, data_dir=None,
                 progress=quiet) -> Evaluation:
    """Measure new samples of the run in `folder`, all classes in turn where it was told labels.

    count: how many; None: what the protocols ask for, 50,000 images or 2,500 points. seed, scale:
    of the latents (see `generate`). source: the data to measure against (see data.load); None: the
    run's own. data_dir: where the files of a named source lie. Raises ValueError where there is no
    generator, where the data are not to be had, and where the samples do not fit them.
    """
    config = read_config(folder)
    generator = load_generator(folder)
    real = read_real(config.data if source is None else source, data_dir)
    count = count or (POINTS if real.source in MODES else TEACHERS)
    samples, labels = generate(generator, count, seed, scale=scale, progress=progress)
    labels = _in_names_of(real, config, labels)
    report = measure(samples, labels, real, progress, scale)
    about = {"run": Path(folder).resolve().name, "step": _step(folder), "seed": seed}
    if config.blur:
        about["blur"] = config.blur
    return Evaluation({**about, **report}, samples, labels, real)


def evaluate_file(path, *, count: int | None = None, source="mnist", data_dir=None, progress=quiet) -> Evaluation:
    """Measure the samples in FILE.npz, whoever made them: `images` (N, H, W[, C]), uint8 or floats
    in [0, 1], or points (N, 2), and, if it has them, `labels` (N,), numbers of the source's classes.

    count: of its first samples; None: all. source, data_dir: as in evaluate_run. Raises ValueError
    for a file of another form, FileNotFoundError for none.
    """
    arrays = storage.load_arrays(path)
    if "images" not in arrays:
        raise ValueError(f"{path} must have an array named images, and may have labels; "
                         f"it has {', '.join(arrays) or 'none'}")
    samples, labels = arrays["images"], arrays.get("labels")
    if samples.ndim not in (2, 3, 4):
        raise ValueError(f"images of {path} must have the shape (N, H, W, C) or (N, H, W), "
                         f"or be points (N, 2); got {samples.shape}")
    if labels is not None and labels.shape != samples.shape[:1]:
        raise ValueError(f"labels of {path} must have the shape {samples.shape[:1]}, one for each image; "
                         f"got {labels.shape}")
    if count and count > len(samples):
        raise ValueError(f"count must be at most the {len(samples)} samples of {path}; got {count}")
    samples, labels = samples[:count], None if labels is None else labels[:count]
    real = read_real(source, data_dir)
    report = measure(samples, labels, real, progress)
    return Evaluation({"file": Path(path).name, **report}, samples, labels, real)


def save(found: Evaluation, folder, name: str = "evaluation") -> list[Path]:
    """Write NAME.json and NAME.png into a folder, each whole or not at all; gives their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.json", json.dumps(found.report, indent=1) + "\n")
    return [folder / f"{name}.json", figure.save(sheet(*found), folder / f"{name}.png")]


def _in_names_of(real, config, labels):
    """The generator's class numbers as those of the data it is measured against: classes that were
    left out, and data that were cut from others, have other numbers but the same names.
    """
    if labels is None or real.train.names is None:
        return None
    names = config.names or [str(number) for number in range(config.classes)]
    if strange := [name for name in names if name not in real.train.names]:
        raise ValueError(f"the run draws the class {strange[0]!r}, and {real.source} has only "
                         f"{', '.join(real.train.names[:20])}: measure it against the data it was trained on")
    return np.array([real.train.names.index(name) for name in names])[labels]


def _step(folder):
    """The step of the run's last checkpoint; None where there is none to be read."""
    try:
        state = storage.load_arrays(Path(folder) / "checkpoint.npz")
    except (ValueError, OSError):
        return None
    return int(state["run/steps_done"]) if "run/steps_done" in state else None
