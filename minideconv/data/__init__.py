"""The data room: whatever there is to learn from comes out as uint8 images (N, H, W, C) and labels (N,) or None.

    images, labels = load("strokes")                        # drawn by a program, needs no download
    images, labels = load("mnist", split="test")            # fetched into the user's cache on first use
    images, labels = load("pictures/")                      # your own: a folder of PNG or JPEG, an NPZ or NPY file

The rooms that need Pillow or the network modules are opened on demand, so that `import minideconv` stays quick.
"""

import os

# Not on demand: importing the file strokes.py later would put the module where the function of that name is.
from .strokes import strokes

STROKES = {"train": (60_000, 0), "test": (10_000, 1)}       # count and seed: MNIST's sizes, and no image in both


class DataError(ValueError):
    """Data that is missing, damaged or of a wrong form; the message is one line that says what to do next."""

    def __init__(self, message):
        # Reasons quoted from the system or from another library may run over several lines.
        super().__init__(" ".join(message.splitlines()))


def load(source, split="train", folder=None):
    """Return `(images, labels)`: images uint8 (N, H, W, C) with C = 1 or 3, labels int64 (N,) or None.

    source: "strokes", "mnist", "fashion-mnist", or a path (for a file or folder of such a name write "./mnist"):
        FILE.npz    `images` (N, H, W) or (N, H, W, C), uint8 or floats in [0, 1]; `labels` (N,) integers >= 0, optional
        FILE.npy    the images alone
        FOLDER      PNG and JPEG files of one size; sub-folders, one level deep, are classes, sorted names -> 0, 1, ...
    split: "train" or "test". A path is for training, all of it: asking it for "test" is an error.
    folder: where the IDX files of the two MNISTs are (other sources ignore it): FOLDER/NAME or FOLDER itself.
        Without it they are looked for in $MINIDECONV_DATA, else in the user's cache, and only there are missing
        ones downloaded; see `minideconv.data.mnist.load_mnist`.

    The networks of `minideconv.gan` want H and W to be multiples of 4 and at least 8; other sizes load all the same.
    Raises TypeError or ValueError for a wrong argument, DataError (a ValueError) for data that cannot be had or used.
    """
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", got {split!r}')
    for name, value in (("source", source), ("folder", folder)):
        if not isinstance(value, (str, os.PathLike)) and not (name == "folder" and value is None):
            raise TypeError(f"{name} must be a string or a path, got {type(value).__name__}")
    if source == "strokes":
        return strokes(*STROKES[split])
    if source in ("mnist", "fashion-mnist"):
        from .mnist import load_mnist
        return load_mnist(source, split, folder)
    from .pictures import load_pictures
    return load_pictures(source, split)
