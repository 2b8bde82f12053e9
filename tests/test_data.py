"""What data.load promises about everything that is on the disk already: forms, splits, and a clear line for each fault."""

import gzip
import os
import pickle
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minideconv import data
from minideconv.data import mnist

REAL_MNIST = os.environ.get("MINIDECONV_DATA")      # read before the fixture below hides it
NAMES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}


@pytest.fixture(autouse=True)
def nothing_of_this_machine(monkeypatch, tmp_path):
    """No test sees the person's own settings or cache, and none reaches the network."""
    monkeypatch.delenv("MINIDECONV_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(mnist, "fetch", lambda url: pytest.fail(f"tried to download {url}"))


def idx(values, code=8):
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write_set(folder, split="train", count=5, seed=0, compress=True, images=None, labels=None):
    """Write a tiny MNIST (6 high, 4 wide) and return its images and labels; or the given bytes in their place."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = pixels(count, 6, 4, seed=seed), np.arange(count) % 10
    for name, content in zip(NAMES[split], (images or idx(x), labels or idx(y))):
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return x[..., None], y


def check(loaded, images, labels):
    x, y = loaded
    assert x.dtype == np.uint8 and x.flags.c_contiguous and x.flags.writeable and x.shape == images.shape
    assert np.all(x == images)
    if labels is None:
        assert y is None
    else:
        assert y.dtype == np.int64 and y.shape == np.shape(labels) and np.all(y == labels)


def refusal(*arguments, **keywords):
    """Return the message of the DataError that loading raises; it must be one line."""
    with pytest.raises(data.DataError) as caught:
        data.load(*arguments, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# The IDX files

@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_plain_and_gz(tmp_path, split, compress):
    expected = write_set(tmp_path, split, compress=compress)
    check(data.load("mnist", split, folder=tmp_path), *expected)
    check(data.load("mnist", split=split, folder=str(tmp_path)), *expected)


def test_idx_known_by_content_not_by_name(tmp_path):
    expected = write_set(tmp_path, compress=False)
    for name in NAMES["train"]:     # a browser that decompresses may keep the name; archives write a dot
        (tmp_path / name).rename(tmp_path / f"{name.replace('-idx', '.idx')}.gz")
    check(data.load("mnist", folder=tmp_path), *expected)


def test_where_the_files_are_looked_for(tmp_path, monkeypatch):
    bare, digits, clothes = [tmp_path / name for name in ("both", "both/mnist", "both/fashion-mnist")]
    in_bare = write_set(bare, seed=1)
    monkeypatch.setenv("MINIDECONV_DATA", str(bare))
    check(data.load("mnist"), *in_bare)
    message = refusal("fashion-mnist")      # the bare files are MNIST's
    assert "MINIDECONV_DATA" in message and str(clothes) in message and NAMES["train"][1] in message
    check(data.load("fashion-mnist", folder=bare), *in_bare)        # but here they were pointed at
    in_digits, in_clothes = write_set(digits, seed=2), write_set(clothes, seed=3)
    check(data.load("mnist"), *in_digits)
    check(data.load("fashion-mnist"), *in_clothes)
    check(data.load("fashion-mnist", folder=bare), *in_clothes)
    (clothes / f"{NAMES['train'][1]}.gz").unlink()      # images of one set are never paired with labels of another
    check(data.load("fashion-mnist", folder=bare), *in_bare)
    monkeypatch.setenv("MINIDECONV_DATA", str(tmp_path / "elsewhere"))
    check(data.load("mnist", folder=bare), *in_digits)              # the argument wins
    assert "is no folder" in refusal("mnist")


def test_missing_files_in_a_folder_are_named_not_downloaded(tmp_path):
    write_set(tmp_path, "train")
    message = refusal("mnist", split="test", folder=tmp_path)
    assert all(name in message for name in NAMES["test"]) and str(tmp_path) in message and "folder" in message


def test_cache_is_used_when_no_folder_is_named(tmp_path, monkeypatch):
    expected = write_set(tmp_path / "cache" / "minideconv" / "fashion-mnist")
    check(data.load("fashion-mnist"), *expected)
    monkeypatch.setenv("MINIDECONV_DATA", "")       # empty is unset
    check(data.load("fashion-mnist"), *expected)


@pytest.mark.parametrize("platform, local, expected", [
    ("linux", None, "home/.cache"), ("darwin", None, "home/Library/Caches"),
    ("win32", None, "home/AppData/Local"), ("win32", "/local", "/local")])
def test_cache_folder_of_each_system(tmp_path, monkeypatch, platform, local, expected):
    monkeypatch.setattr(mnist.sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("LOCALAPPDATA", local or "")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")        # which the XDG rule says to ignore
    assert mnist.cache_folder("mnist") == tmp_path / expected / "minideconv" / "mnist"


def test_wrong_data_set_in_the_folder(tmp_path, monkeypatch):
    write_set(tmp_path)
    label_sum = mnist.hashlib.sha256((tmp_path / f"{NAMES['train'][1]}.gz").read_bytes()).hexdigest()
    monkeypatch.setitem(mnist.SHA256["mnist"], NAMES["train"][1], label_sum)
    assert "belongs to mnist" in refusal("fashion-mnist", folder=tmp_path)
    data.load("mnist", folder=tmp_path)


X, Y = idx(pixels(5, 6, 4)), idx(np.arange(5))


@pytest.mark.parametrize("fault, words", [
    (dict(images=X[:-1]), ["136 bytes", "there are 135"]),
    (dict(images=X + b"\0"), ["136 bytes", "there are 137"]),
    (dict(images=X[:11]), ["header is cut off after 11 of 16"]),
    (dict(images=b"\0\0"), ["not an IDX file", "0x0000,", "0x00000803"]),
    (dict(images=b"\1" + X[1:]), ["not an IDX file", "0x01000803"]),
    (dict(images=idx(pixels(5, 6, 4), code=13)), ["not an IDX file", "0x00000d03"]),
    (dict(images=idx(pixels(5, 24))), ["not an IDX file", "0x00000802"]),
    (dict(labels=X), ["not an IDX file", "0x00000803", "0x00000801"]),
    (dict(labels=idx(np.arange(4))), ["5 images", "4 labels"]),
    (dict(images=idx(pixels(0, 6, 4))), ["(0, 6, 4)", "empty"]),
    (dict(images=idx(pixels(5, 0, 4))), ["(5, 0, 4)", "empty"]),
    (dict(images=b"\0\0\x08\x03" + b"\xff" * 12), ["4294967295"]),
    (dict(images=b"\n<!DOCTYPE html><html>sign in</html>"), ["web page"]),
])
@pytest.mark.parametrize("compress", [True, False])
def test_structural_faults(tmp_path, fault, words, compress):
    write_set(tmp_path, compress=compress, **fault)
    message = refusal("mnist", folder=tmp_path)
    file = NAMES["train"]["labels" in fault and "5 images" not in words]
    assert all(word in message for word in [*words, str(tmp_path / file)]), message


@pytest.mark.parametrize("damage", [lambda z: z[:-9], lambda z: z[:40], lambda z: z[:5],
                                    lambda z: z[:-5] + b"\0" + z[-4:], lambda z: z[:12] + b"\xff" * 20 + z[32:]])
def test_damaged_gzip(tmp_path, damage):
    write_set(tmp_path)
    file = tmp_path / f"{NAMES['train'][0]}.gz"
    file.write_bytes(damage(file.read_bytes()))
    message = refusal("mnist", folder=tmp_path)
    assert "truncated or damaged" in message and str(file) in message and "intact copy" in message


def test_damage_in_the_cache_says_delete(tmp_path):
    write_set(tmp_path / "cache" / "minideconv" / "mnist", images=X[:-1])
    assert "delete it to have it downloaded again" in refusal("mnist")


def test_unreadable_file(tmp_path, monkeypatch):
    write_set(tmp_path)
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert "cannot be read (Permission denied)" in refusal("mnist", folder=tmp_path)


@pytest.mark.skipif(not REAL_MNIST, reason="MINIDECONV_DATA does not name a folder with MNIST")
@pytest.mark.parametrize("split, first, histogram", [
    ("train", [5, 0, 4, 1, 9], [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
    ("test", [7, 2, 1, 0, 4], [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])])
def test_real_mnist(monkeypatch, split, first, histogram):
    monkeypatch.setenv("MINIDECONV_DATA", REAL_MNIST)
    images, labels = data.load("mnist", split)
    assert images.shape == (sum(histogram), 28, 28, 1) and images.dtype == np.uint8
    assert labels[:5].tolist() == first and np.bincount(labels).tolist() == histogram
    assert images.max() == 255 and 33 < images.mean() < 34 and np.all(images[:, 0, 0] == 0)


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
    (np.zeros((2, 4, 4), np.int64), "int64"), (np.zeros((2, 4, 4), bool), "bool"), (np.zeros((2, 4, 4), complex), "complex"),
    (np.zeros((2, 4, 4, 2), np.uint8), "(2, 4, 4, 2)"), (np.zeros((2, 4, 4, 4), np.uint8), "(2, 4, 4, 4)"),
    (np.zeros((4, 4), np.uint8), "(4, 4)"), (np.zeros((2, 3, 4, 5), np.uint8), "channels come last"),
    (np.zeros((0, 4, 4), np.uint8), "empty"), (np.uint8(3), "()"),
])
def test_images_refused(tmp_path, images, words):
    np.savez(tmp_path / "x.npz", images=images)
    message = refusal(tmp_path / "x.npz")
    assert words in message and str(tmp_path / "x.npz") in message


@pytest.mark.parametrize("labels, words", [
    (np.arange(3), "(3,)"), (np.zeros((4, 1), int), "(4, 1)"), (np.zeros(4), "float64"), (np.array([0, 1, -1, 2]), "found -1"),
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

def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def test_flat_folder(tmp_path):
    x = pixels(3, 6, 4)
    for name, values in zip(("c.png", "a.PNG", "b.png"), x):
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
    (tmp_path / "two").mkdir()
    assert "two is a class without" in refusal(tmp_path)
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
    monkeypatch.setattr(Path, "iterdir", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert "cannot be read (Permission denied)" in refusal(tmp_path)


# Sources and arguments

def test_sources_that_are_nothing(tmp_path):
    assert "mnsit" in refusal("mnsit") and "fashion-mnist" in refusal("mnsit")
    assert "no file" in refusal(tmp_path / "x.npz")
    (tmp_path / "x.zip").write_bytes(b"")
    assert "not of a known kind" in refusal(tmp_path / "x.zip")


def test_wrong_arguments():
    with pytest.raises(ValueError, match="split.*'val'"):
        data.load("strokes", split="val")
    for arguments in (dict(source=3), dict(source=None), dict(source="mnist", folder=3)):
        with pytest.raises(TypeError, match="source|folder"):
            data.load(**arguments)


def test_path_named_like_a_data_set(tmp_path, monkeypatch):
    save(tmp_path / "mnist" / "a.png", pixels(8, 8))
    monkeypatch.chdir(tmp_path)
    assert data.load("./mnist")[0].shape == data.load(Path("mnist"))[0].shape == (1, 8, 8, 1)


def test_a_data_error_is_a_value_error_of_one_line():
    error = data.DataError("a reason\nin two lines")
    assert isinstance(error, ValueError) and str(error) == "a reason in two lines"


def test_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    x, y = write_set(tmp_path / "digits")
    save(tmp_path / "own" / "a.png", x[0, ..., 0])
    check(data.load("mnist", folder="~/digits"), x, y)
    check(data.load("~/own"), x[:1], None)


def test_strokes_sizes_and_seeds(monkeypatch):
    monkeypatch.setattr(data, "strokes", lambda count, seed: (count, seed))
    (train, seed), (test, other_seed) = data.load("strokes"), data.load("strokes", "test")
    assert (train, seed, test) == (60_000, 0, 10_000) and other_seed != seed


def test_strokes_is_the_function_and_imports_stay_light():
    heavy = "numba PIL urllib.request http.client tqdm"
    program = ("import sys, minideconv.data as data, minideconv.data.strokes; assert callable(data.strokes); "
               f"print([name for name in '{heavy}'.split() if name in sys.modules])")
    root = Path(data.__file__).parents[2]
    answer = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
