"""Read a person's own pictures, from an NPZ or NPY file or a folder of PNG and JPEG files, and check them.

Nothing is ever unpickled: a pickle may run any program, and these files come from anywhere.
"""

import os
from pathlib import Path

import numpy as np

from . import DataError

ARRAYS = (".npz", ".npy")
PICTURES = (".png", ".jpg", ".jpeg")
WANTED = f"a file ending in {' or '.join(ARRAYS)}, or a folder of {', '.join(PICTURES)} files"


def load_pictures(path, split="train"):
    """Return `(images, labels)` of a file or folder: uint8 (N, H, W, C), int64 (N,) or None. See `data.load`.

    All of it is for training: a path has no test split. Raises DataError, naming the file, for whatever cannot be used.
    """
    if split == "test":
        raise DataError(f"{path} is one set of images with no test split of its own; keep those for testing in a file of "
                        "their own and load that")
    path = Path(os.path.expanduser(path))
    try:
        if path.is_dir():
            return read_folder(path)
        if path.suffix.lower() in ARRAYS and path.is_file():
            return read_arrays(path)
        if path.exists():
            raise DataError(f"{path} is not of a known kind; give {WANTED}")
        raise DataError(f'no data set and no file "{path}"; give strokes, mnist, fashion-mnist, {WANTED}')
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None


def read_arrays(path):
    """Return the images and labels (or None) of an NPZ or NPY file, as `load_pictures` does but all of them."""
    try:
        with open(path, "rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                content = {"images": content}
            names = list(content)
            images = content["images"] if "images" in names else None
            labels = content["labels"] if "labels" in names else None
    except Exception as error:      # damage can show anywhere in zipfile, zlib or NumPy's own parser
        if "pickle" in str(error):  # NumPy takes every file it doesn't recognise for a pickle
            raise DataError(f"{path} holds Python objects, which are not loaded since that can run any program, or is "
                            "no NPZ or NPY file; save plain arrays with np.savez(FILE, images=images, labels=labels)"
                            ) from None
        raise DataError(f"{path} cannot be read as an NPZ or NPY file ({error}); "
                        "save it again with np.savez(FILE, images=images, labels=labels)") from None
    if images is None:
        raise DataError(f'{path} has no array "images", only {names}; save it with np.savez(FILE, images=images)')
    images = check_images(images, path)
    return images, None if labels is None else check_labels(labels, len(images), path)


def check_images(images, path):
    """Return images as uint8 (N, H, W, C), C-contiguous; floats in [0, 1] become round(255 * value)."""
    if images.ndim == 3:
        images = images[..., np.newaxis]        # (N, H, W) -> (N, H, W, 1)
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        hint = ""
        if images.ndim == 4 and images.shape[1] in (1, 3):
            hint = "; the channels come last: images.transpose(0, 2, 3, 1)"
        raise DataError(f"{path}: images have the shape {images.shape}, expected (N, H, W) or (N, H, W, C) "
                        f"with C = 1 (grey) or 3 (RGB){hint}")
    if 0 in images.shape:
        raise DataError(f"{path}: images have the shape {images.shape}, which is empty; give at least one image")
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind != "f":
        raise DataError(f"{path}: images have the type {images.dtype}, expected uint8 or floats in [0, 1]; "
                        "convert them, for instance with images.astype(np.uint8) if they lie in 0 to 255")
    low, high = float(images.min()), float(images.max())        # NaN if any is NaN
    if not (low >= 0 and high <= 1):
        raise DataError(f"{path}: float images must be finite and lie in [0, 1], found {low:g} to {high:g}; "
                        "rescale them first, for instance (images + 1) / 2 if they lie in [-1, 1]")
    return np.ascontiguousarray(np.rint(255 * images).astype(np.uint8))


def check_labels(labels, count, path):
    """Return labels as int64 (count,)."""
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise DataError(f"{path}: labels have the shape {labels.shape} and type {labels.dtype}, expected ({count},) "
                        "integers, one for each image; leave the labels out if there are none")
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise DataError(f"{path}: labels must be 0, 1, 2, ..., found {labels.min()}; number the classes from 0")
    return labels


def read_folder(folder):
    """Return the images of a folder and, if they lie in sub-folders, the number of each one's sub-folder.

    Grey pictures stay grey (C = 1) unless one of them is in colour, which makes all of them RGB (C = 3). Transparent
    pictures are laid on black. Sub-folders count in sorted order ("10" before "2"); hidden files are passed over.
    """
    files = list_pictures(folder)
    classes = [place for place in sorted(folder.iterdir()) if place.is_dir() and not place.name.startswith(".")]
    members = [list_pictures(place) for place in classes]
    if files and any(members):
        raise DataError(f"{folder} holds pictures both itself and in sub-folders, which would be classes; "
                        "move them so that all are in one or the other")
    if any(members):
        for place, inside in zip(classes, members):
            if not inside:      # passed over in silence it would shift the labels of all later classes
                raise DataError(f"{place} is a class without a {', '.join(PICTURES)} file; fill it or remove it")
        files = sum(members, [])
        labels = np.repeat(np.arange(len(members)), [len(inside) for inside in members]).astype(np.int64)
    else:
        labels = None
    if not files:
        raise DataError(f"{folder} holds no pictures; give {WANTED}, or one with a sub-folder for each class")
    pictures = [read_picture(file) for file in files]       # each (H, W) or (H, W, 3)
    for file, picture in zip(files, pictures):
        if picture.shape[:2] != pictures[0].shape[:2]:
            (height, width), (other_height, other_width) = pictures[0].shape[:2], picture.shape[:2]
            raise DataError(f"pictures differ in size: {files[0]} is {height} high and {width} wide, {file} is "
                            f"{other_height} high and {other_width} wide; crop or resize all of them to one size")
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [np.broadcast_to(np.atleast_3d(picture), (*picture.shape[:2], 3)) for picture in pictures]
        return np.stack(pictures), labels               # (N, H, W, 3)
    return np.stack(pictures)[..., np.newaxis], labels  # (N, H, W, 1)


def list_pictures(folder):
    """Return the paths of the PNG and JPEG files in a folder, sorted by name."""
    return sorted(file for file in folder.iterdir()
                  if file.suffix.lower() in PICTURES and not file.name.startswith(".") and file.is_file())


def read_picture(file):
    """Return one picture as uint8, (H, W) if its file is grey and (H, W, 3) if not."""
    from PIL import Image, ImageOps
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)       # photographs are often stored lying on their side
            mode = picture.mode
            if mode.startswith("I") or mode == "F":
                raise ValueError("more than 8 bits for each pixel's channel")
            target = "L" if mode in ("1", "L", "LA", "La") else "RGB"
            if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
                black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
                picture = Image.alpha_composite(black, picture.convert("RGBA"))
            pixels = np.asarray(picture.convert(target))
    except Exception as error:      # damage can show anywhere in Pillow's decoders
        raise DataError(f"{file} cannot be read as a picture ({error}); remove it or save it as 8-bit PNG") from None
    return pixels
