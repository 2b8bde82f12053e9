"""What data.load and data.read promise: sources, arguments, the IDX files, labels, and a clear line for each fault."""

import gzip
import os
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
    for name, content in zip(NAMES[split], (images or idx(x), labels or idx(y)), strict=True):
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


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


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
    def forbid(path):
        raise PermissionError(13, "Permission denied")
    monkeypatch.setattr(Path, "read_bytes", forbid)
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


# One table of sources

def test_every_source_of_the_table_loads(tmp_path, monkeypatch):
    for name, (fetch, about, files) in data.SOURCES.items():
        if files:
            write_set(tmp_path / name, count=10)
            write_set(tmp_path / name, "test", count=10)
        assert callable(fetch) and about
    monkeypatch.setattr(data, "strokes", lambda count, seed: (pixels(10, 6, 4, 1), np.arange(10)))
    for name in data.SOURCES:
        for split in ("train", "test"):
            images, labels, names, notes = data.read(name, split, tmp_path)
            assert labels.dtype == np.int64 and labels.min() == 0 and labels.max() == len(names) - 1 and notes == ()
            loaded = data.load(name, split, tmp_path)
            assert np.array_equal(loaded[0], images) and np.array_equal(loaded[1], labels)
        assert name in refusal("no such thing")


def test_names_of_the_named_sets(tmp_path):
    x, _ = write_set(tmp_path, count=3)
    found = data.read("fashion-mnist", folder=tmp_path)
    assert found.names[0] == "T-shirt/top" and found.names[9] == "Ankle boot" and len(found.names) == 10
    check(found[:2], x, [0, 1, 2])          # ten classes, though not all of them have an image here
    assert data.read("mnist", folder=tmp_path).names == [str(digit) for digit in range(10)]


def test_other_labels_in_idx_files_are_mapped(tmp_path):
    write_set(tmp_path, count=4, labels=idx(np.array([26, 1, 3, 26])))          # letters, say
    found = data.read("mnist", folder=tmp_path)
    assert found.labels.tolist() == [2, 0, 1, 2] and found.names == ["1", "3", "26"]
    assert data.load("mnist", folder=tmp_path)[1].tolist() == [26, 1, 3, 26]


def test_fault_25_empty_is_an_error_not_a_default(tmp_path, monkeypatch):
    save(tmp_path / "a.png", pixels(8, 8))
    monkeypatch.chdir(tmp_path)                                 # which a path of nothing would be
    for function in (data.load, data.read, lambda source: data.resolve(source)):
        with pytest.raises(ValueError, match="source must not be empty; give strokes"):
            function("")
    for function in (data.load, data.read):
        with pytest.raises(ValueError, match="folder must not be empty"):
            function("mnist", folder="")
    assert len(data.load(".")[0]) == 1


def test_fault_25_a_source_is_found_again_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    save(tmp_path / "home" / "own" / "a.png", pixels(8, 8))
    monkeypatch.chdir(tmp_path)
    found = data.resolve("~/own")
    assert found == str(tmp_path / "home" / "own") and data.resolve(found) == found
    assert data.resolve("home/own") == data.resolve(Path("home") / "own") == found
    monkeypatch.chdir("/")
    assert len(data.load(found)[0]) == 1
    assert data.resolve("mnist") == "mnist" and data.resolve("./mnist") == os.path.abspath("mnist")
