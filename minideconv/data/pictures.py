"""Read a person's own pictures, from an NPZ or NPY file or a folder of picture files, and check them.

Nothing is ever unpickled: a pickle may run any program, and these files come from anywhere.
"""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from . import SOURCES, DataError, DataSet

ARRAYS = (".npz", ".npy")
PICTURES = (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
            ".pbm", ".pgm", ".ppm", ".pnm", ".tga", ".jp2", ".avif")        # pixels that Pillow reads by itself
WANTED = f"a file ending in {' or '.join(ARRAYS)}, or a folder of pictures (PNG, JPEG, WEBP, GIF, BMP, TIFF)"


def load_pictures(path: str | os.PathLike, split: str = "train") -> DataSet:
    """Return the DataSet of a file or folder; the labels of a file as they stand there, without names. See `data.load`.

    All of it is for training: a path has no test split. Raises DataError, naming the file, for whatever cannot be used.
    """
    if split == "test":
        raise DataError(f"{path} is one set of images with no test split of its own; keep those for testing in a file "
                        "of their own and load that")
    path = Path(os.path.expanduser(path))
    try:
        if path.is_dir():
            return read_folder(path)
        if path.suffix.lower() in ARRAYS and path.is_file():
            return read_arrays(path)
        if path.exists():
            raise DataError(f"{path} is not of a known kind; give {WANTED}")
        raise DataError(f'no data set and no file "{path}"; give {", ".join(SOURCES)}, {WANTED}')
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None


def read_arrays(path):
    """Return the DataSet of an NPZ or NPY file; its labels have no names."""
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
    labels = None if labels is None else check_labels(labels, len(images), path)
    others = [name for name in names if name not in ("images", "labels")]
    notes = [f'{path}: passed over {", ".join(others)}; only "images" and "labels" are read'] if others else []
    return DataSet(images, labels, None, tuple(notes))


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
    if labels.min() < 0:
        raise DataError(f"{path}: labels must be 0, 1, 2, ..., found {labels.min()}; number the classes from 0")
    if labels.max() > np.iinfo(np.int64).max:
        raise DataError(f"{path}: labels must be below 2^63, found {labels.max()}; number the classes from 0")
    return labels.astype(np.int64)


def read_folder(folder):
    """Return the DataSet of a folder: its own pictures without labels, or those of its sub-folders, which are classes.

    Grey pictures stay grey (C = 1) unless one of them is in colour, which makes all of them RGB (C = 3). Transparent
    pictures are laid on black. Hidden files are passed over; other files that are no pictures too, with a note, and
    classes without pictures, which get no label.
    """
    files, others = list_files(folder)
    classes = sorted((place for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")),
                     key=by_number)
    members = {place: list_files(place) for place in classes}
    labels = names = None
    notes = []
    if any(inside for inside, _ in members.values()):
        if files:
            raise DataError(f"{folder} holds pictures both itself and in sub-folders, which would be classes; "
                            "move them so that all are in one or the other")
        empty = [place.name for place, (inside, _) in members.items() if not inside]
        if empty:
            notes.append(f"{folder}: no pictures in {', '.join(empty)}, so there is no such class")
        filled = {place: inside for place, (inside, _) in members.items() if inside}
        names = [place.name for place in filled]
        labels = np.repeat(np.arange(len(filled), dtype=np.int64), [len(inside) for inside in filled.values()])
        files = sum(filled.values(), [])
        others = sum((passed for _, passed in members.values()), others)
    if not files:
        raise DataError(f"{folder} holds no pictures; give {WANTED}, or one with a sub-folder for each class"
                        + (f" (what it holds is not read: {count_kinds(others)})" if others else ""))
    if others:
        notes.append(f"{folder}: passed over what is not read as a picture: {count_kinds(others)}")
    images, moving = read_pictures(files)
    if moving:
        notes.append(f"{folder}: only the first frame is read of what moves: {', '.join(file.name for file in moving)}")
    return DataSet(images, labels, names, tuple(notes))


def by_number(place):
    """The key that sorts 1, 2, 10 as numbers, alone or inside of names."""
    words = re.split(r"(\d+)", place.name)      # text and digits in turn, text first
    return [int(word) if word.isdecimal() else word for word in words], place.name


def list_files(folder):
    """Return the paths of a folder's pictures and of its other files, both sorted by name, without hidden ones."""
    files = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file())
    return ([file for file in files if file.suffix.lower() in PICTURES],
            [file for file in files if file.suffix.lower() not in PICTURES])


def count_kinds(files):
    """What files there are, in a few words: "2 .heic, 1 .txt"."""
    kinds = Counter(file.suffix.lower() or file.name for file in files)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


def read_pictures(files):
    """Return the images (N, H, W, C) of picture files of one size, and a list of those files that are animations."""
    pictures, moving = [], []
    for file in files:
        picture, frames = read_picture(file)        # (H, W) or (H, W, 3)
        if pictures and picture.shape[:2] != pictures[0].shape[:2]:
            (height, width), (other_height, other_width) = pictures[0].shape[:2], picture.shape[:2]
            raise DataError(f"pictures differ in size: {files[0]} is {height} high and {width} wide, {file} is "
                            f"{other_height} high and {other_width} wide; crop or resize all of them to one size")
        pictures.append(picture)
        if frames > 1:
            moving.append(file)
    if any(picture.ndim == 3 for picture in pictures):
        pictures = [np.broadcast_to(np.atleast_3d(picture), (*picture.shape[:2], 3)) for picture in pictures]
        return np.stack(pictures), moving               # (N, H, W, 3)
    return np.stack(pictures)[..., np.newaxis], moving  # (N, H, W, 1)


def read_picture(file):
    """Return one picture as uint8, (H, W) if its file is grey and (H, W, 3) if not, and how many frames it has."""
    from PIL import Image, ImageOps
    try:
        with Image.open(file) as opened:
            frames = getattr(opened, "n_frames", 1)
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
    return pixels, frames
