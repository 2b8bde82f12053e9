"""New images from a trained generator."""
from pathlib import Path

import numpy as np

from .. import storage
from ..metrics import quiet
from ..nn import Module
from ..parallel import spans
from ..tensor import Tensor, no_grad
from ..train import pictures
from ..train.run import read_config
from .networks import build_generator, draw_latents

BATCH = 256             # images that are made at a time


def load_generator(folder, averaged: bool = True) -> Module:
    """The generator of the run in `folder`, as of its last checkpoint, in evaluation mode.

    averaged: the running average of its weights, where the run keeps one; False: the weights that
    were trained. ValueError where there is none.
    """
    config = read_config(folder)
    path = Path(folder) / ("generator.npz" if averaged else "checkpoint.npz")
    if not path.exists():
        raise ValueError(f"{folder} has no {path.name} yet: train until its first checkpoint")
    generator = build_generator(config, np.random.default_rng(config.seed))
    try:
        state = storage.load_arrays(path)
        if not averaged:
            state = {name.removeprefix("generator/"): array for name, array in state.items()
                     if name.startswith("generator/")}
        generator.load_state_dict(state)
    except KeyError as error:
        raise ValueError(f"{path} is not this run's generator: {error.args[0]}") from error
    return generator.eval()


def generate(generator: Module, count: int = 64, seed: int = 0, label: int | None = None, *, scale: float = 1.0,
             progress=quiet) -> tuple:
    """(images, labels): images float32 (count, H, W, C) in [0, 1],
    or points float32 (count, 2); labels (count,), or None where
    the generator is told none.

    seed: of the latents; the same one gives the same images. label: the number of the class to
    draw; None: all classes in turn. scale: the latents are multiplied by it; below 1 there is less
    variety (truncation). progress: see minideconv.metrics. Raises ValueError for a label that the
    generator does not know. The generator is used in the mode it is in (see Module.eval).
    """
    if label is not None and not 0 <= label < generator.classes:
        known = f"0 to {generator.classes - 1}" if generator.classes else "none: it was trained without labels"
        raise ValueError(f"label must be a class that the generator knows ({known}); got {label}")
    latents = draw_latents(generator, count, np.random.default_rng(seed))
    latents *= np.float32(scale)
    labels = None
    if generator.classes:
        labels = np.full(count, label) if label is not None else np.arange(count) % generator.classes
    return images_of(generator, latents, labels, progress), labels


def images_of(generator: Module, latents: np.ndarray, labels: np.ndarray | None = None, progress=quiet) -> np.ndarray:
    """The images float32 (N, H, W, C) of latents float32 (N, latent), made BATCH at a time.

    labels: (N,), or mixtures float32 (N, classes) for a generator that joins them to its features;
    None for one that is told none. ValueError for labels that do not fit.
    """
    with no_grad():
        parts = [generator(Tensor(latents[part]), *([] if labels is None else [labels[part]])).numpy()
                 for part in progress(spans(len(latents), BATCH), desc="samples")]
    return np.concatenate(parts)


def class_number(config, name: str) -> int:
    """The number of the class that is called `name` in the run's data. ValueError, naming the
    classes, where none is.
    """
    if not config.classes:
        raise ValueError("label needs a run trained with --conditional: this one's generator was told none")
    names = [str(number) for number in range(config.classes)] if config.names is None else config.names
    if name not in names:
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise ValueError(f"label must be one of the run's {len(names)} classes ({shown}); got {name!r}")
    return names.index(name)


def save_images(path, images, labels=None) -> None:
    """Images (or points) as FILE.png (a grid; classes that come in turn have columns of their own)
    or FILE.npz (images, labels).

    ValueError for another ending.
    """
    path = Path(path)
    if path.suffix == ".png" and images.ndim == 2:
        pictures.save_scatter(path, images)
    elif path.suffix == ".png":
        classes = [] if labels is None else np.unique(labels)
        columns = pictures.class_grid(classes)[1] if 1 < len(classes) <= 16 else None
        pictures.save_grid(path, images, columns)
    elif path.suffix == ".npz":
        storage.save_arrays(path, {"images": images} if labels is None else {"images": images, "labels": labels})
    else:
        raise ValueError(f"images are written as .png or .npz; got {path}")
