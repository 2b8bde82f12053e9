"""Files that are never half-written and never unpickled."""
import os

import numpy as np


def replace(path, write) -> None:
    """Have write(file) fill a binary file beside `path` and rename it there: a crash leaves the old file or the new one, whole."""
    path = os.fspath(path)
    beside = f"{path}.{os.getpid()}.part"
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        if os.path.exists(beside):
            os.unlink(beside)
        raise


def save_arrays(path, arrays: dict) -> None:
    """Write named arrays as one .npz."""
    replace(path, lambda file: np.savez(file, **arrays))


def load_arrays(path) -> dict:
    """The arrays of an .npz by name. ValueError where it is no such file, FileNotFoundError where there is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:      # zipfile, zlib, struct and the pickle guard each raise their own
        raise ValueError(f"{os.fspath(path)} is not a readable .npz of arrays: {' '.join(str(error).split())}") from error
