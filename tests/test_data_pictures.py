"""What data.load and data.read make of a person's own files: NPZ, NPY and folders, and what they say of the rest."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data import check, nothing_of_this_machine, pixels, refusal, save  # noqa: F401, a fixture works by its name

from minideconv import data

# NPZ and NPY files

@pytest.mark.parametrize("shape", [(7, 8, 12), (7, 8, 12, 1), (7, 8, 12, 3)])
def test_npz_and_npy_forms(tmp_path, shape):
    x, y = pixels(*shape), np.arange(7, dtype=np.int16)
    expected = x.reshape(7, 8, 12, -1)
    np.savez(tmp_path / "both.npz", images=x, labels=y, other=np.zeros(2))
    np.savez_compressed(tmp_path / "alone.npz", images=x)
    np.save(tmp_path / "array.NPY", np.asfortranarray(x))
    (tmp_path / "array.NPY.npy").rename(tmp_path / "array.NPY")
    check(data.load(tmp_path / "both.npz"), expected, y)
    check(data.load(str(tmp_path / "alone.npz")), expected, None)
    check(data.load(tmp_path / "array.NPY"), expected, None)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_round_to_the_nearest_pixel(tmp_path, dtype):
    x = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    np.savez(tmp_path / "x.npz", images=(x / 255).astype(dtype))
    check(data.load(tmp_path / "x.npz"), x[..., None], None)
    np.savez(tmp_path / "x.npz", images=np.asfortranarray((x / 255).astype(dtype)))
    check(data.load(tmp_path / "x.npz"), x[..., None], None)
    np.savez(tmp_path / "x.npz", images=np.full((1, 2, 2), 0.7 / 255, dtype))      # rounded, not cut
    assert np.all(data.load(tmp_path / "x.npz")[0] == 1)


@pytest.mark.parametrize("images, words", [
    (np.full((2, 4, 4), -1.0), "found -1 to -1"), (np.array([[[0.0, 1.5]]]), "found 0 to 1.5"),
    (np.array([[[0.0, np.nan]]]), "nan"), (np.array([[[0.5, np.inf]]]), "found 0.5 to inf"),
    (np.zeros((2, 4, 4), np.int64), "int64"), (np.zeros((2, 4, 4), bool), "bool"),
    (np.zeros((2, 4, 4), complex), "complex"),
    (np.zeros((2, 4, 4, 2), np.uint8), "(2, 4, 4, 2)"), (np.zeros((2, 4, 4, 4), np.uint8), "(2, 4, 4, 4)"),
    (np.zeros((4, 4), np.uint8), "(4, 4)"), (np.zeros((2, 3, 4, 5), np.uint8), "channels come last"),
    (np.zeros((0, 4, 4), np.uint8), "empty"), (np.uint8(3), "()"),
])
def test_images_refused(tmp_path, images, words):
    np.savez(tmp_path / "x.npz", images=images)
    message = refusal(tmp_path / "x.npz")
    assert words in message and str(tmp_path / "x.npz") in message


@pytest.mark.parametrize("labels, words", [
    (np.arange(3), "(3,)"), (np.zeros((4, 1), int), "(4, 1)"), (np.zeros(4), "float64"),
    (np.array([0, 1, -1, 2]), "found -1"), (np.array([0, 1, 2, 2**63], np.uint64), "found 9223372036854775808"),
])
def test_labels_refused(tmp_path, labels, words):
    np.savez(tmp_path / "x.npz", images=pixels(4, 8, 8), labels=labels)
    assert words in refusal(tmp_path / "x.npz")


class Trap:
    def __reduce__(self):
        return (os.mkdir, (os.environ["TRAP"],))


@pytest.mark.parametrize("form", ["npy", "npz", "labels", "pickle"])
def test_nothing_is_unpickled(tmp_path, monkeypatch, form):
    monkeypatch.setenv("TRAP", str(tmp_path / "sprung"))
    file, trap = tmp_path / ("x.npy" if form == "npy" else "x.npz"), np.array([Trap(), None], object)
    if form == "npy":
        np.save(file, trap, allow_pickle=True)
    elif form == "pickle":
        file.write_bytes(pickle.dumps(Trap()))
    else:
        np.savez(file, **({"images": trap} if form == "npz" else {"images": pixels(2, 8, 8), "labels": trap}))
    message = refusal(file)
    assert "Python objects" in message and "allow_pickle" not in message and not (tmp_path / "sprung").exists()
    content = np.load(file, allow_pickle=True)
    if file.suffix == ".npz" and form != "pickle":
        content = content["images" if form == "npz" else "labels"]
    assert (tmp_path / "sprung").exists()       # so the trap works


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torn", b"\x93NUMPY\1\0v\0{'descr'", b"hello"])
def test_files_that_are_not_arrays(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    assert "NPZ or NPY file" in refusal(tmp_path / "x.npz")


def test_truncated_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", images=pixels(9, 8, 8))
    np.save(tmp_path / "x.npy", pixels(9, 8, 8))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-100])
        assert "cannot be read as an NPZ or NPY file" in refusal(file)


def test_npz_without_images_lists_what_there_is(tmp_path):
    np.savez(tmp_path / "x.npz", pictures=pixels(2, 8, 8))
    assert "['pictures']" in refusal(tmp_path / "x.npz")


def test_a_path_is_for_training_all_of_it(tmp_path):
    x, y = pixels(25, 4, 4, 1), np.arange(25)
    np.savez(tmp_path / "x.npz", images=x, labels=y)
    check(data.load(tmp_path / "x.npz", split="train"), x, y)
    np.save(tmp_path / "x.npy", x[:9])
    check(data.load(tmp_path / "x.npy"), x[:9], None)
    assert "no test split" in refusal(tmp_path / "x.npy", split="test")


# Folders of pictures

def test_flat_folder(tmp_path):
    x = pixels(3, 6, 4)
    for name, values in zip(("c.png", "a.PNG", "b.png"), x, strict=True):
        save(tmp_path / name, values)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_bytes(b"not a picture either")
    (tmp_path / "nothing here").mkdir()
    check(data.load(tmp_path), x[[1, 2, 0], ..., None], None)


def test_class_folders(tmp_path):
    x = pixels(14, 4, 6, 3)
    for i, values in enumerate(x):      # made neither in sorted order nor in reverse
        save(tmp_path / ("bee" if i < 11 else "cat" if i < 12 else "ant") / f"{i:02}.png", values)
    save(tmp_path / ".trash" / "x.png", x[0])
    order, labels = [12, 13, *range(12)], [0] * 2 + [1] * 11 + [2]
    check(data.load(tmp_path), x[order], labels)


def test_jpeg_and_mixed_colour(tmp_path):
    save(tmp_path / "a.jpg", np.full((8, 8), 90, np.uint8))
    save(tmp_path / "b.jpeg", np.full((8, 8, 3), (200, 30, 60), np.uint8))
    images, labels = data.load(tmp_path)
    assert images.shape == (2, 8, 8, 3) and labels is None
    assert np.abs(images[0].astype(int) - 90).max() < 3 and np.abs(images[1].astype(int) - (200, 30, 60)).max() < 6
    (tmp_path / "b.jpeg").unlink()
    assert data.load(tmp_path)[0].shape == (1, 8, 8, 1)


def test_transparency_is_laid_on_black(tmp_path):
    colour = np.full((4, 4, 4), (250, 120, 40, 255), np.uint8)
    colour[0, :, 3] = 0
    save(tmp_path / "colour" / "x.png", colour)
    images, _ = data.load(tmp_path / "colour")
    assert images.shape == (1, 4, 4, 3) and np.all(images[0, 0] == 0) and np.all(images[0, 1:] == (250, 120, 40))
    save(tmp_path / "grey" / "x.png", np.ascontiguousarray(colour[..., [0, 3]]))
    images, _ = data.load(tmp_path / "grey")
    assert images.shape == (1, 4, 4, 1) and np.all(images[0, 0] == 0) and np.all(images[0, 1:] == 250)
    (tmp_path / "key").mkdir()
    Image.fromarray(colour[..., 0]).save(tmp_path / "key" / "x.png", transparency=250)      # one grey level is clear
    assert np.all(data.load(tmp_path / "key")[0] == 0)


def test_palette_one_bit_and_rotated(tmp_path):
    grid = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10
    picture = Image.fromarray(np.stack([grid, grid, 255 - grid], -1))
    for folder, image in (("palette", picture.quantize(24)), ("bits", Image.fromarray(grid > 100))):
        (tmp_path / folder).mkdir()
        image.save(tmp_path / folder / "x.png")
    assert np.all(data.load(tmp_path / "palette")[0][0] == np.asarray(picture.quantize(24).convert("RGB")))
    check(data.load(tmp_path / "bits"), (grid > 100)[None, ..., None] * 255, None)
    (tmp_path / "turned").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6        # "turn by 90 degrees clockwise to view"
    picture.save(tmp_path / "turned" / "x.png", exif=exif)
    assert np.all(data.load(tmp_path / "turned")[0][0] == np.rot90(np.asarray(picture), -1))


def test_sizes_that_differ(tmp_path):
    save(tmp_path / "a.png", pixels(8, 12))
    save(tmp_path / "b.png", pixels(8, 16))
    message = refusal(tmp_path)
    assert re.search(r"a\.png is 8 high and 12 wide.*b\.png is 8 high and 16 wide.*resize", message)


def test_folders_refused(tmp_path):
    assert "holds no pictures" in refusal(tmp_path)
    save(tmp_path / "one" / "a.png", pixels(8, 8))
    save(tmp_path / "two" / "a.png", pixels(8, 8))
    save(tmp_path / "b.png", pixels(8, 8))
    assert "both itself and in sub-folders" in refusal(tmp_path)
    (tmp_path / "b.png").unlink()
    save(tmp_path / "two" / "b.png", pixels(8, 8).astype(np.uint16))
    assert "b.png" in refusal(tmp_path) and "8 bits" in refusal(tmp_path)
    whole = (tmp_path / "two" / "a.png").read_bytes()
    for content in (whole[:60], b"", b"<html>"):
        (tmp_path / "two" / "b.png").write_bytes(content)
        assert "b.png cannot be read as a picture" in refusal(tmp_path)


def test_unreadable_folder(tmp_path, monkeypatch):
    def forbid(path):
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(Path, "iterdir", forbid)
    assert "cannot be read (Permission denied)" in refusal(tmp_path)


@pytest.mark.parametrize("images, labels", [(">f4", ">i8"), (">f8", ">u2"), ("<f2", "<i4"), (">f2", ">i2")])
def test_fault_14_other_byte_orders_are_native_once_read(tmp_path, images, labels):
    x, y = pixels(5, 4, 4), np.array([3, 0, 300, 3, 7])
    np.savez(tmp_path / "x.npz", images=(x / 255).astype(images), labels=y.astype(labels))
    found = data.read(tmp_path / "x.npz")
    check(found[:2], x[..., None], [1, 0, 3, 1, 2])
    assert found.labels.dtype.isnative and data.load(tmp_path / "x.npz")[1].dtype.isnative


def test_fault_07_subclasses_of_arrays_come_back_plain(tmp_path):
    x = pixels(5, 4, 4)
    np.savez(tmp_path / "x.npz", images=np.ma.masked_less(x, 100), labels=np.ma.masked_equal(np.arange(5), 2))
    found = data.read(tmp_path / "x.npz")
    assert type(found.images) is type(found.labels) is np.ndarray
    check(found[:2], x[..., None], np.arange(5))            # NumPy writes what is under a mask, and no mask


# Labels and names

def test_fault_24_labels_are_mapped_in_order_and_keep_their_names(tmp_path):
    x, y = pixels(5, 4, 4, 1), np.array([200_000, 0, 200_000, 0, 9])
    np.savez(tmp_path / "x.npz", images=x, labels=y)
    found = data.read(tmp_path / "x.npz")
    check(found[:2], x, [2, 0, 2, 0, 1])
    assert found.names == ["0", "9", "200000"] and found.notes == ()
    check(data.load(tmp_path / "x.npz"), x, y)              # as they stand
    np.savez(tmp_path / "x.npz", images=x, labels=np.full(5, 2**62))
    assert data.read(tmp_path / "x.npz").names == [str(2**62)]
    np.savez(tmp_path / "x.npz", images=x)
    assert data.read(tmp_path / "x.npz")[1:3] == (None, None)


@pytest.mark.parametrize("names", [
    ["1", "2", "10"], ["class 9", "class 10 a", "class 10 b"], ["a", "a2b3", "a2b20", "b"], ["01", "1"],
    ["7", "7x", "x"]])
def test_fault_24_numbers_in_the_names_of_classes_count_as_numbers(tmp_path, names):
    x = pixels(len(names), 4, 4)
    for name, values in sorted(zip(names, x, strict=True), key=lambda pair: pair[0]):
        save(tmp_path / name / "a.png", values)
    found = data.read(tmp_path)
    assert found.names == names
    check(found[:2], x[..., None], np.arange(len(names)))


def test_fault_24_a_class_without_pictures_is_said_and_passed_over(tmp_path):
    x = pixels(3, 4, 4)
    for name, values in zip(("ant", "cat", "dog"), x, strict=True):
        save(tmp_path / name / "a.png", values)
    (tmp_path / "bee").mkdir()
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "a.heic").write_bytes(b"")
    found = data.read(tmp_path)
    check(found[:2], x[..., None], [0, 1, 2])
    assert found.names == ["ant", "cat", "dog"]
    assert len(found.notes) == 2 and "no pictures in bee, emu" in found.notes[0] and "1 .heic" in found.notes[1]
    check(data.load(tmp_path), x[..., None], [0, 1, 2])


# What a person should be told

@pytest.mark.parametrize("kind", ["webp", "gif", "bmp", "tiff", "ppm", "tga", "jfif"])
def test_fault_26_pictures_of_other_kinds_are_read(tmp_path, kind):
    values = np.full((8, 8, 3), (200, 30, 60), np.uint8)
    save(tmp_path / "a.png", values)
    Image.fromarray(values).save(tmp_path / f"b.{kind.upper()}", **({"lossless": True} if kind == "webp" else {}))
    found = data.read(tmp_path)
    assert found.images.shape == (2, 8, 8, 3) and found.notes == ()
    assert np.abs(found.images.astype(int) - values).max() < 6


def test_fault_26_what_is_not_read_is_said_in_one_line(tmp_path):
    for name in ("a.heic", "b.HEIC", "c.svg", "labels.csv", "README", ".hidden"):
        (tmp_path / name).write_text("")
    message = refusal(tmp_path)
    assert "holds no pictures" in message and "2 .heic" in message
    save(tmp_path / "a.png", pixels(4, 4))
    note, = data.read(tmp_path).notes
    assert str(tmp_path) in note and all(word in note for word in ("2 .heic", "1 .svg", "1 .csv", "1 README"))
    assert "hidden" not in note and "\n" not in note


def test_fault_26_only_the_first_frame_of_an_animation_is_read_and_said(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (250, 0)]
    for name in ("a.gif", "b.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    save(tmp_path / "c.png", np.full((4, 4), 250, np.uint8))
    found = data.read(tmp_path)
    assert np.abs(found.images.astype(int) - 250).max() < 6
    note, = found.notes
    assert "first frame" in note and "a.gif, b.webp" in note and "c.png" not in note


def test_fault_26_other_arrays_of_a_file_are_named(tmp_path):
    np.savez(tmp_path / "x.npz", images=pixels(2, 4, 4), y=np.arange(2))
    found = data.read(tmp_path / "x.npz")
    assert found.labels is None and len(found.notes) == 1 and "passed over y" in found.notes[0]


@pytest.mark.parametrize("brightest, dark", [(1, True), (16, True), (0, True), (200, False)])
def test_fault_26_images_that_are_all_but_black_are_said(tmp_path, brightest, dark):
    x = pixels(3, 4, 4) % 2 * np.uint8(brightest)
    np.savez(tmp_path / "x.npz", images=x)
    save(tmp_path / "folder" / "a.png", x[0])
    np.savez(tmp_path / "float.npz", images=x / 255)
    for source in ("x.npz", "folder", "float.npz"):
        notes = data.read(tmp_path / source).notes
        assert len(notes) == dark
        assert not dark or f"is {brightest} where 255 is white" in notes[0] and source in notes[0]
