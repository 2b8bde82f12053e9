"""Runs of the GAN trainer: beginning one, and going on with one, from data that are named.

    with new_run("runs/mine", data="mine.npz", steps=500) as run:
        run.train()
"""
import warnings
import zlib
from pathlib import Path

import numpy as np

from .. import data as data_room
from ..models.dcgan import stages
from ..train.config import PRESETS, Config
from ..train.run import Run, read_config, with_steps
from .trainer import Trainer


def new_run(out=None, *, data=None, data_dir=None, preset: str | None = None, conditional: bool | None = None,
            **settings) -> Run:
    """A new run folder, ready for run.train(). Nothing is left behind where it cannot begin.

    out: the folder (None: runs/DATA-1, -2, ...). data: a named source, a file or a folder (see
    data.load); None: the preset's. preset: None: the one for these data. data_dir: where the files
    of a named source lie. conditional: whether both networks are told the labels; None: as the
    preset says, where there are any. settings: of Config (epochs, steps, loss, batch_size, seed,
    ...); what is left out or None is the preset's. Raises ValueError, in one line, for whatever
    does not fit.
    """
    preset = preset or (data if data in PRESETS and data == PRESETS[data]["data"] else "default")
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {preset!r}")
    data = PRESETS[preset]["data"] if data is None else data
    images, labels, names, checksum = _load(data, data_dir)
    networks = settings.get("networks") or PRESETS[preset]["networks"]
    if images.ndim == 4 and networks != "mlp":
        stages(*images.shape[1:3])          # says which sizes the networks can be built for
    if conditional and labels is None:
        raise ValueError(f"--conditional needs labels, and {data} has none")
    batch_size = settings.get("batch_size") or PRESETS[preset]["batch_size"]
    if batch_size > len(images):
        raise ValueError(f"--batch-size {batch_size} is more than the {len(images)} training images")
    config = Config(data=data_room.resolve(data), image_shape=images.shape[1:], count=len(images), checksum=checksum,
                    names=names, preset=preset, labels=conditional, **settings)
    trainer = Trainer(config, images, labels)
    return Run.create(out, trainer, config, name=Path(config.data).stem or "run")


def resume_run(folder, *, data=None, data_dir=None, epochs: int | None = None, steps: int | None = None) -> Run:
    """The run in `folder`, to be trained further. Everything of its configuration is kept but its
    length, where epochs or steps is given.

    data: where the run's images are now, if they have moved; they must be the same ones. epochs,
    steps: totals, the run's past included. Raises ValueError where there is no run, where the
    images are others, or where another process is training it.
    """
    config = read_config(folder)
    source = config.data if data is None else data_room.resolve(data)
    try:
        images, labels, names, checksum = _load(source, data_dir)
    except data_room.DataError as error:
        if data is not None:
            raise
        raise ValueError(f"the data of {folder} are not to be had: {error}. "
                         "If they have moved, name the new place with --data") from error
    if (images.shape, checksum) != ((config.count, *config.image_shape), config.checksum):
        if data is not None:
            raise ValueError(f"{data} is not what {folder} was trained on")
        raise ValueError(f"the data of {folder} have changed: {source} is no longer what the run was trained on")
    config.data, config.names = source, names if config.names is None else config.names
    total = steps or (epochs * config.steps_per_epoch if epochs else config.steps)
    return Run.resume(folder, Trainer(config, images, labels), with_steps(config, total))


def _load(source, folder):
    """Training images, labels 0..K-1, the K names of the classes, and a checksum that tells these
    data from others.

    Classes without images are left out: there is nothing to learn of them. What there is to say
    about the data (pictures passed over, images that are all but black) is a warning.
    """
    images, labels, names, notes = data_room.read(source, "train", folder)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    checksum = zlib.crc32(images) ^ (0 if labels is None else zlib.crc32(np.ascontiguousarray(labels)))
    if labels is not None:
        used, labels = np.unique(labels, return_inverse=True)
        if missing := [name for number, name in enumerate(names) if number not in used]:
            warnings.warn(f"{source} has no images of {', '.join(missing)}: left out", stacklevel=3)
        names = [names[number] for number in used]
    return images, labels, names, checksum
