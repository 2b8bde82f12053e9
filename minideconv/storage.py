"""Files that are never half-written and never unpickled."""
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

Path = str | os.PathLike


def replace(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Have write(file) fill a binary file beside `path` and rename it there.

    A crash leaves the old file or the new one, whole. Raises OSError, which names `path`, where the
    disk does not take it.
    """
    path = os.fspath(path)
    beside = f"{path}.{os.getpid()}.part"
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException as error:
        if os.path.exists(beside):
            os.unlink(beside)
        if isinstance(error, OSError) and error.errno is not None and error.filename in (None, beside):
            raise OSError(error.errno, error.strerror, path) from error     # a full disk names no file by itself
        raise


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named arrays (numbers or text, any shape) as one .npz, whole or not at all.

    Raises ValueError for arrays of Python objects: they would have to be pickled.
    """
    arrays = {name: np.asanyarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"{name} must be an array of numbers or text; got dtype {array.dtype}")

    def write(file):
        with zipfile.ZipFile(file, "w") as archive:         # np.savez takes the names as keywords, and some are its own
            for name, array in arrays.items():
                with archive.open(name + ".npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    replace(path, write)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name.

    Raises ValueError where it is no such file, FileNotFoundError where there is none.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise
    except Exception as error:      # zipfile, zlib, struct and the pickle guard each raise their own
        reason = " ".join(str(error).split())
        raise ValueError(f"{os.fspath(path)} is not a readable .npz of arrays: {reason}") from error
