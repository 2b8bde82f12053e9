"""Read MNIST and Fashion-MNIST from their IDX files, and fetch those that the user's cache lacks.

An IDX file is four bytes (0, 0, type code, number of axes), each axis' length as a big-endian 32-bit integer,
then the values, last axis fastest. All four files of a set hold unsigned bytes.
"""

import gzip
import hashlib
import math
import os
import secrets
import sys
import urllib.error
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np

from . import DIGITS, DataError

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MIRRORS = {     # tried in this order, each serving <mirror>/<file>.gz
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist",
              "https://storage.googleapis.com/cvdf-datasets/mnist"),
    "fashion-mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                      "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion"),
}
SHA256 = {      # of the .gz files as published
    "mnist": {
        "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
}
NAMES = {
    "mnist": DIGITS,
    "fashion-mnist": ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                      "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
}
TIMEOUT = 30            # seconds without a byte before a mirror is given up
LIMIT = 64 << 20        # bytes; the largest published file has 26 million


def load_mnist(name: str, split: str = "train",
               folder: str | os.PathLike | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return `(images, labels)` of "mnist" or "fashion-mnist": uint8 (N, H, W, 1) and int64 (N,).

    The two files of the split, plain or .gz, come from the first of these that applies:
        `folder`            from folder/NAME, else from folder itself
        $MINIDECONV_DATA    from its sub-folder NAME; "mnist" (not "fashion-mnist") else from the folder itself
        the user's cache    cache_folder(NAME), where the missing ones are downloaded
    The first two are the user's own, so nothing is ever downloaded to them or instead of them: files that are not
    there are an error. Local files are checked for their structure, downloaded ones for their published checksum too.
    $MINIDECONV_MIRRORS (addresses with spaces between) replaces the mirrors; each serves <mirror>/NAME/<file>.gz.
    Raises DataError for everything that is missing, damaged or does not fit together.
    """
    if folder is None and not os.environ.get("MINIDECONV_DATA"):
        image_file, label_file = [cached(name, file) for file in FILES[split]]
        remedy = "delete it to have it downloaded again"
    else:
        image_file, label_file = find_pair(name, split, folder)
        remedy = "put an intact copy in its place"
    images = read_idx(image_file, 3, remedy)        # (N, H, W)
    labels = read_idx(label_file, 1, remedy)        # (N,)
    if len(images) != len(labels):
        raise DataError(f"{image_file} holds {len(images)} images but {label_file} {len(labels)} labels; "
                        "take both from the same data set")
    label_sum = hashlib.sha256(label_file.read_bytes()).hexdigest()
    for other in SHA256:
        # Both sets use the same file names and sizes: only the published sums tell a folder of the wrong one.
        if other != name and label_sum in SHA256[other].values():
            raise DataError(f"{label_file} belongs to {other}, not to {name}; put the files of {name} in a "
                            f"sub-folder of that name, or load {other}")
    return images[..., np.newaxis], labels.astype(np.int64)     # (N, H, W, 1), (N,)


def names_of(name, labels):
    """Return the names of the set's ten classes; None if the files, in the same form, hold others (letters, say)."""
    return NAMES[name] if labels.max() < len(NAMES[name]) else None


def read_idx(path, ndim, remedy="put an intact copy in its place"):
    """Return the array of an IDX file of unsigned bytes with `ndim` axes; gzip is told by content, not by name.

    Raises DataError, which ends in `remedy`, unless the file is exactly as long as its header says.
    """
    def refuse(fault):
        return DataError(f"{path}: {fault}; {remedy}")

    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise refuse(f"the gzip file is truncated or damaged ({error})") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check it and its permissions") from None
    if data.lstrip()[:1] == b"<":
        raise refuse("this is a web page (HTML), not the data file")
    expected = bytes((0, 0, 8, ndim))
    if data[:4] != expected:
        raise refuse(f"not an IDX file of {ndim}-dimensional unsigned bytes: it begins with "
                     f"0x{data[:4].hex()}, expected 0x{expected.hex()}")
    start = 4 + 4 * ndim
    if len(data) < start:
        raise refuse(f"the header is cut off after {len(data)} of {start} bytes")
    shape = tuple(int(length) for length in np.frombuffer(data, ">u4", ndim, offset=4))
    if 0 in shape:
        raise refuse(f"the header says {shape}, which is empty")
    if len(data) != start + math.prod(shape):
        raise refuse(f"the header says {shape}, that is {start + math.prod(shape)} bytes, but there are {len(data)}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()    # since bytes are read-only


def find_pair(name, split, folder):
    """Return the paths of a split's images and labels in the user's own folder; DataError unless both are there."""
    root = Path(os.path.expanduser(os.environ["MINIDECONV_DATA"] if folder is None else folder))
    # $MINIDECONV_DATA serves every data set, and the two have the same file names: bare files there are MNIST's.
    places = [root / name, root] if name == "mnist" or folder is not None else [root / name]
    for place in places:
        paths = [find(place, file) for file in FILES[split]]
        if all(paths):
            return paths
    setting = "MINIDECONV_DATA" if folder is None else "folder"
    state = "does not hold the files" if root.is_dir() else "is no folder"
    raise DataError(f"{name}: {setting} is {root}, which {state}; put {' and '.join(FILES[split])} (or .gz) into "
                    f"{' or '.join(map(str, places))}, or leave {setting} unset to download them")


def find(place, file):
    """Return the path of an IDX file in the folder `place`, or None."""
    dotted = file.replace("-idx", ".idx")       # the name that some archives unpack to
    for candidate in (f"{file}.gz", file, f"{dotted}.gz", dotted):
        if os.path.isfile(place / candidate):
            return place / candidate
    return None


def cache_folder(name):
    """Return where downloads of a data set are kept: $XDG_CACHE_HOME or the system's usual place, /minideconv/NAME."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):                 # unset, or to be ignored by the XDG rule
        if sys.platform == "win32":
            base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/AppData/Local")
        else:
            base = os.path.expanduser("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    return Path(base) / "minideconv" / name


def cached(name, file):
    """Return the path of an IDX file in the user's cache, downloading it if it is not there."""
    path = find(cache_folder(name), file)
    if path is None:
        path = cache_folder(name) / f"{file}.gz"
        save(path, download(name, file))
    return path


def download(name, file):
    """Return the bytes of <file>.gz from the first mirror that delivers them with the published checksum."""
    own = os.environ.get("MINIDECONV_MIRRORS", "").split()
    mirrors = [f"{mirror.rstrip('/')}/{name}" for mirror in own] or MIRRORS[name]
    failures = []
    for mirror in mirrors:
        url = f"{mirror}/{file}.gz"
        try:
            body = fetch(url)
        except urllib.error.HTTPError as error:
            with error:         # it is a reply too, and holds its connection open
                failures.append(f"{url}: {error}")
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error        # urllib wraps the cause
            failures.append(f"{url}: {str(reason) or type(reason).__name__}")
        else:
            if hashlib.sha256(body).hexdigest() == SHA256[name][file]:
                return body
            is_page = body.lstrip()[:1] == b"<"
            failures.append(f"{url}: {'a web page instead of the file' if is_page else 'wrong checksum'}")
    raise DataError(f"could not download {file}.gz of {name} ({'; '.join(failures)}): check the network and try again, "
                    f'or put the file in {cache_folder(name)} yourself, or use "strokes", which needs no download')


def fetch(url):
    """Return the whole body at an address; a progress bar on stderr if that is a terminal."""
    from tqdm import tqdm
    request = urllib.request.Request(url, headers={"User-Agent": "minideconv"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
        length = int(reply.headers.get("Content-Length") or 0)
        body = bytearray()
        # disable=None: no bar unless stderr is a terminal
        with tqdm(desc=url.split("/")[-1], total=length or None, unit="B", unit_scale=True, disable=None) as bar:
            while block := reply.read(1 << 16):
                body += block
                bar.update(len(block))
                if len(body) > LIMIT:
                    raise OSError(f"more than {LIMIT} bytes, which is no file of this data set")
    if len(body) < length:
        raise OSError(f"the connection closed after {len(body)} of {length} bytes")
    return bytes(body)


def save(path, body):
    """Write a file so that it appears whole or not at all, also when two processes save it at the same time."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb") as out:
                out.write(body)
                out.flush()
                os.fsync(out.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if not os.path.isfile(path):        # on Windows a reader of the other process' copy forbids the replacement
            raise DataError(f"cannot write {path} ({error.strerror or error}); make room there, or choose another "
                            "cache with XDG_CACHE_HOME, or set MINIDECONV_DATA to a folder that has the files"
                            ) from None
