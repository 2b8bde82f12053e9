"""Files on the disk: written whole or not at all, and never pickled."""
import errno
import io
import os
import pickle

import numpy as np
import pytest

from minideconv import storage


def write(path, content):
    storage.replace(path, lambda file: file.write(content))


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "0.weight": np.float32([[1, np.nan]]),
              "empty": np.zeros((0, 2)), "number": np.array(3)}
    storage.save_arrays(tmp_path / "x.npz", arrays)
    back = storage.load_arrays(tmp_path / "x.npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype and np.array_equal(back[name], array, equal_nan=array.dtype.kind == "f")
    assert os.listdir(tmp_path) == ["x.npz"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.bin"
    write(path, b"old")

    def crash(file):
        file.write(b"half of the n")
        raise RuntimeError("the lights went out")
    with pytest.raises(RuntimeError, match="lights"):
        storage.replace(path, crash)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.bin"]


def test_ctrl_c_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.bin"
    write(path, b"old")

    def interrupted(file):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        storage.replace(path, interrupted)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.bin"]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    """No `finally` runs then: the old name must not have been touched before the last byte was on the disk."""
    path = tmp_path / "x.bin"
    write(path, b"old")
    sizes = []

    def look(file):
        file.write(b"new")
        file.flush()
        sizes.append((path.read_bytes(), len(os.listdir(tmp_path))))
    storage.replace(path, look)
    assert sizes == [(b"old", 2)] and path.read_bytes() == b"new"


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_fault_26_a_full_disk_names_the_file(tmp_path, reason):
    path = tmp_path / "x.bin"
    write(path, b"old")

    def no_room(file):
        file.write(b"half of the n")
        raise OSError(reason, os.strerror(reason))
    with pytest.raises(OSError, match="x.bin") as caught:
        storage.replace(path, no_room)
    assert (caught.value.errno, caught.value.filename) == (reason, str(path))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.bin"]


def test_fault_26_a_folder_that_cannot_be_written_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        storage.save_arrays(tmp_path / "none" / "x.npz", {"a": np.zeros(2)})
    assert caught.value.filename == str(tmp_path / "none" / "x.npz")


def test_the_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []

    def note(name, call):
        def noted(*args):
            order.append(name)
            return call(*args)
        monkeypatch.setattr(os, name, noted)
    note("fsync", os.fsync)
    note("replace", os.replace)
    write(tmp_path / "x.bin", b"new")
    assert order == ["fsync", "replace"]


def test_object_arrays_are_refused_on_reading(tmp_path):
    """Reading one would run whatever its pickle says."""
    np.savez(tmp_path / "x.npz", a=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match="x.npz is not a readable .npz"):
        storage.load_arrays(tmp_path / "x.npz")


def test_object_arrays_are_refused_on_writing(tmp_path):
    storage.save_arrays(tmp_path / "x.npz", {"a": np.zeros(2)})
    with pytest.raises((ValueError, TypeError)):
        storage.save_arrays(tmp_path / "x.npz", {"a": np.array([{"a": 1}], object)})
    assert storage.load_arrays(tmp_path / "x.npz")["a"].tolist() == [0, 0]


@pytest.mark.parametrize("name", ["file", "allow_pickle", "a/b", "args"])
def test_any_name_can_be_stored(tmp_path, name):
    """Also the names of np.savez's own arguments: an attribute of a network may be called `file`."""
    storage.save_arrays(tmp_path / "x.npz", {name: np.arange(3)})
    assert storage.load_arrays(tmp_path / "x.npz")[name].tolist() == [0, 1, 2]


def an_npz():
    file = io.BytesIO()
    np.savez(file, a=np.arange(100.0))
    return file.getvalue()


def damaged():
    good = an_npz()
    return {"empty": b"", "html": b"<html>404</html>", "pickle": pickle.dumps([1]),
            "cut short": good[:len(good) // 2], "cut at the end": good[:-9],
            "flipped": good[:90] + bytes(255 - b for b in good[90:94]) + good[94:]}


@pytest.mark.parametrize("fault", damaged())
def test_a_damaged_file_is_a_value_error_that_names_it(tmp_path, fault):
    (tmp_path / "x.npz").write_bytes(damaged()[fault])
    with pytest.raises(ValueError, match="x.npz is not a readable .npz") as caught:
        storage.load_arrays(tmp_path / "x.npz")
    assert "\n" not in str(caught.value)


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ValueError, match="x.npy is not a readable .npz"):
        storage.load_arrays(tmp_path / "x.npy")


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        storage.load_arrays(tmp_path / "x.npz")


def test_a_missing_folder_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "none" / "x.bin", b"new")
