"""The data room: whatever there is to learn from, by name or by path, as arrays.

    images, labels = load("strokes")                        # drawn by a program, needs no download
    images, labels = load("mnist", split="test")            # fetched into the user's cache on first use
    images, labels = load("pictures/")                      # your own: a folder of pictures, an NPZ or NPY file
    images, labels, names, notes = read("fashion-mnist")    # labels 0 ... K-1, and what the classes are called

A new data set is one line in SOURCES and a file that fills a DataSet. The rooms that need Pillow or the network
modules are opened on demand, so that `import minideconv` stays quick.
"""

import os
from typing import Callable, NamedTuple

import numpy as np

# Not on demand: importing the file strokes.py later would put the module where the function of that name is.
from .strokes import strokes

DIGITS = [str(digit) for digit in range(10)]
STROKES = {"train": (60_000, 0), "test": (10_000, 1)}       # count and seed: MNIST's sizes, and no image in both
POINTS = {"train": (100_000, 0), "test": (10_000, 1)}       # likewise


class DataError(ValueError):
    """Data that is missing, damaged or of a wrong form; the message is one line that says what to do next."""

    def __init__(self, message):
        # Reasons quoted from the system or from another library may run over several lines.
        super().__init__(" ".join(message.splitlines()))


class DataSet(NamedTuple):
    """What `read` gives.

    images: uint8 (N, H, W, C), C = 1 or 3; the points of "ring" and "grid" are float32 (N, 2) instead.
    labels: int64 (N,) in 0 ... K-1, or None.
    names:  what the K classes are called, in the order of their labels, or None where there are no labels.
    notes:  lines for a person: what was passed over or looks like a mistake, though it can be used.
    """
    images: np.ndarray
    labels: np.ndarray | None
    names: list[str] | None = None
    notes: tuple[str, ...] = ()


class Source(NamedTuple):
    """A row of SOURCES: `fetch(name, split, folder)` gives a DataSet, `about` is a phrase for help texts.

    files: whether the data lie in files that `folder` (--data-dir) may point to.
    """
    fetch: Callable
    about: str
    files: bool = False


def _strokes(name, split, folder):
    return DataSet(*strokes(*STROKES[split]), DIGITS)


def _mnist(name, split, folder):
    from .mnist import load_mnist, names_of
    images, labels = load_mnist(name, split, folder)
    return DataSet(images, labels, names_of(name, labels))


def _points(name, split, folder):
    from .points import MODES, sample
    return DataSet(*sample(name, *POINTS[split]), MODES[name].names)


SOURCES = {
    "strokes": Source(_strokes, "digits drawn by a program"),
    "mnist": Source(_mnist, "handwritten digits, downloaded once", files=True),
    "fashion-mnist": Source(_mnist, "pictures of clothes, downloaded once", files=True),
    "ring": Source(_points, "points in the plane, 8 modes on a circle"),
    "grid": Source(_points, "points in the plane, 25 modes on a grid"),
}


def load(source: str | os.PathLike, split: str = "train",
         folder: str | os.PathLike | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return `(images, labels)`: images uint8 (N, H, W, C) with C = 1 or 3, labels int64 (N,) or None.

    source: a name of SOURCES, or a path (for a file or folder of such a name write "./mnist"):
        FILE.npz    `images` (N, H, W) or (N, H, W, C), uint8 or floats in [0, 1]; `labels` (N,) integers >= 0, optional
        FILE.npy    the images alone
        FOLDER      pictures of one size (PNG, JPEG, WEBP, GIF, BMP, TIFF and their like); sub-folders, one level deep,
                    are classes 0, 1, ... sorted by name, and numbers in names by value: 1, 2, 10
    "ring" and "grid" are not images: points float32 (N, 2) in their place, and the number of each one's mode.
    split: "train" or "test". A path is for training, all of it: asking it for "test" is an error.
    folder: where the IDX files of the two MNISTs are (other sources ignore it): FOLDER/NAME or FOLDER itself.
        Without it they are looked for in $MINIDECONV_DATA, else in the user's cache, and only there are missing
        ones downloaded; see `minideconv.data.mnist.load_mnist`.

    The labels of an NPZ file come as they stand there; `read` maps them to 0 ... K-1 and says what was passed over.
    The networks of `minideconv.gan` want H and W to be multiples of 4 and at least 8; other sizes load all the same.
    Raises TypeError or ValueError for a wrong argument, DataError (a ValueError) for data that cannot be had or used.
    """
    found = _fetch(source, split, folder)
    return found.images, found.labels


def read(source: str | os.PathLike, split: str = "train", folder: str | os.PathLike | None = None) -> DataSet:
    """Return the DataSet of a source: as `load`, with labels 0 ... K-1, the classes' names, and notes for a person.

    Labels {0, 200000} of an NPZ file become {0, 1} with the names "0" and "200000". Names of a folder's classes
    are its sub-folders'. Arguments and errors are those of `load`.
    """
    images, labels, names, notes = _fetch(source, split, folder)
    if labels is not None and names is None:
        values, labels = np.unique(labels, return_inverse=True)
        labels, names = labels.astype(np.int64), [str(value) for value in values]
    if images.dtype == np.uint8 and images.max() < 32:
        notes = (*notes, f"{source}: the brightest of all pixels is {images.max()} where 255 is white, so the images "
                 "are all but black; scale them to 0 ... 255 if that is not meant")
    return DataSet(images, labels, names, notes)


def resolve(source: str | os.PathLike) -> str:
    """Return a source so that it means the same from everywhere: a name of SOURCES as it is, a path made absolute.

    "~" is the home folder, as in `load`. What a run keeps of its data is this, or it could not be found again.
    """
    _check_source(source)
    return source if source in SOURCES else os.path.abspath(os.path.expanduser(source))


def _fetch(source, split, folder) -> DataSet:
    """The DataSet as the source has it: without names its labels may be any integers."""
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    _check_source(source)
    if folder is not None:
        _check_path("folder", folder)
    if source in SOURCES:
        return SOURCES[source].fetch(source, split, folder)
    from .pictures import load_pictures
    return load_pictures(source, split)


def _check_source(source):
    _check_path("source", source, f"; give {', '.join(SOURCES)}, a file or a folder")


def _check_path(name, value, hint=""):
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a string or a path, got {type(value).__name__}")
    if not os.fspath(value):        # as a path it would be the current folder
        raise ValueError(f"{name} must not be empty{hint}")
