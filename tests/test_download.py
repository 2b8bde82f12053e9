"""Downloads against a server on this machine that misbehaves on request; nothing here leaves 127.0.0.1."""

import errno
import gc
import gzip
import hashlib
import http.server
import json
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from minideconv import data
from minideconv.data import mnist

IMAGES, LABELS = mnist.FILES["train"]
PIXELS = np.random.default_rng(0).integers(0, 256, (600, 12, 10), np.uint8)     # enough not to fit into one packet
CONTENT = {
    IMAGES: gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, *PIXELS.shape) + PIXELS.tobytes()),
    LABELS: gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 600) + bytes(i % 10 for i in range(600))),
}
SUMS = {file: hashlib.sha256(content).hexdigest() for file, content in CONTENT.items()}
PAGE = b"<!DOCTYPE html>\n<html>please sign in</html>"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under /good/NAME/; any other first word of the path is a fault."""

    def do_GET(self):
        _, manner, name, file = self.path.split("/")
        self.server.seen.append((manner, name, file))
        content = CONTENT[file.removesuffix(".gz")]
        if manner == "absent":
            return self.send_error(404)
        if manner == "closed":
            self.close_connection = True
            return None
        if manner == "together":
            self.server.both.wait(10)       # until two clients have asked
        body = {"page": PAGE, "altered": content[:-1] + b"?", "endless": content * 9}.get(manner, content)
        self.send_response(200)
        if manner != "unmeasured":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:len(body) // 2] if manner in ("cut", "stuck") else body)
        if manner == "stuck":
            self.wfile.flush()
            self.server.finish.wait(10)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    for variable in ("MINIDECONV_DATA", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in mnist.SHA256:
        for file, known in SUMS.items():
            monkeypatch.setitem(mnist.SHA256[name], file, known if name == "mnist" else "0" * 64)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.seen, server.finish, server.both = [], threading.Event(), threading.Barrier(2)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.finish.set()
    server.shutdown()
    thread.join()
    server.server_close()


def use(monkeypatch, server, *manners):
    mirrors = [f"http://127.0.0.1:{server.server_port}/{manner}" for manner in manners]
    monkeypatch.setenv("MINIDECONV_MIRRORS", " ".join(mirrors))


def cache(tmp_path):
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


WHOLE = sorted(f"minideconv/mnist/{file}.gz" for file in SUMS)


def check_loaded(tmp_path):
    images, labels = data.load("mnist")
    assert images.shape == (600, 12, 10, 1) and np.all(images[..., 0] == PIXELS)
    assert np.all(labels == np.arange(600) % 10)
    assert cache(tmp_path) == WHOLE


def refusal(name="mnist"):
    with pytest.raises(data.DataError) as caught:
        data.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("manner", ["good", "good/", "unmeasured"])
def test_downloads_once_then_reads_the_cache(monkeypatch, server, tmp_path, capsys, manner):
    use(monkeypatch, server, manner)
    check_loaded(tmp_path)
    assert [file for _, _, file in server.seen] == [f"{IMAGES}.gz", f"{LABELS}.gz"]
    check_loaded(tmp_path)
    assert len(server.seen) == 2
    (tmp_path / WHOLE[0]).unlink()
    check_loaded(tmp_path)
    assert len(server.seen) == 3        # only what is missing
    assert capsys.readouterr() == ("", "")      # no progress bar where no terminal is


def test_built_in_mirrors_serve_the_files_without_a_folder_of_the_name(monkeypatch, server, tmp_path):
    monkeypatch.delenv("MINIDECONV_MIRRORS", raising=False)
    base = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(mnist.MIRRORS, "mnist", (f"{base}/absent/x", f"{base}/good/x"))
    check_loaded(tmp_path)


@pytest.mark.parametrize("fault", ["absent", "closed", "cut", "stuck", "altered", "page"])
def test_second_mirror_helps_out(monkeypatch, server, tmp_path, fault):
    monkeypatch.setattr(mnist, "TIMEOUT", 0.1)
    use(monkeypatch, server, fault, "good")
    check_loaded(tmp_path)
    assert {manner for manner, _, _ in server.seen} == {fault, "good"}


@pytest.mark.parametrize("fault, reason", [
    ("absent", "404"), ("closed", "closed connection"), ("cut", f"of {len(CONTENT[IMAGES])} bytes"),
    ("stuck", "timed out"), ("altered", "wrong checksum"), ("page", "a web page instead of the file"),
    ("endless", "more than 100000 bytes")])
def test_each_fault_has_one_clear_line(monkeypatch, server, tmp_path, fault, reason):
    monkeypatch.setattr(mnist, "TIMEOUT", 0.1)
    monkeypatch.setattr(mnist, "LIMIT", 100_000)
    use(monkeypatch, server, fault)
    with warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always", ResourceWarning)
        message = refusal()
        gc.collect()
    assert left_open == []
    assert reason in message and f"/{fault}/mnist/{IMAGES}.gz" in message
    assert str(tmp_path / "minideconv" / "mnist") in message and "strokes" in message     # what to do next
    assert cache(tmp_path) == []


def test_no_network_names_every_mirror(monkeypatch, server, tmp_path):
    dead = ["http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "no-address", "http://127.0.0.1:port/"]
    monkeypatch.setenv("MINIDECONV_MIRRORS", " ".join(dead))
    message = refusal()
    assert all(address in message for address in dead)
    assert message.count("refused") == 2 and "urlopen" not in message and "check the network" in message
    assert cache(tmp_path) == []


def test_files_of_the_other_set_are_refused(monkeypatch, server, tmp_path):
    use(monkeypatch, server, "good")        # serves MNIST's bytes under both names
    assert "wrong checksum" in refusal("fashion-mnist")
    assert server.seen == [("good", "fashion-mnist", f"{IMAGES}.gz")] and cache(tmp_path) == []


def test_progress_bar_on_a_terminal(monkeypatch, server, tmp_path, capsys):
    use(monkeypatch, server, "good")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    data.load("mnist")
    out, err = capsys.readouterr()
    assert out == "" and f"{IMAGES}.gz" in err and "100%" in err


def test_disk_full(monkeypatch, server, tmp_path):
    def full(descriptor):
        assert cache(tmp_path)[0].endswith(".part")
        raise OSError(errno.ENOSPC, "No space left on device")
    use(monkeypatch, server, "good")
    monkeypatch.setattr(os, "fsync", full)
    message = refusal()
    assert "No space left on device" in message and f"{IMAGES}.gz" in message and "XDG_CACHE_HOME" in message
    assert cache(tmp_path) == []


def test_cache_cannot_be_made(monkeypatch, server, tmp_path):
    use(monkeypatch, server, "good")
    (tmp_path / "minideconv").write_text("a file where the folder should be")
    assert "cannot write" in refusal()


def test_interrupted_while_saving(monkeypatch, server, tmp_path):
    def interrupt(source, target):
        raise KeyboardInterrupt
    use(monkeypatch, server, "good")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", interrupt)
        data.load("mnist")
    assert cache(tmp_path) == []
    check_loaded(tmp_path)


def test_replacement_forbidden_since_the_other_process_was_first(monkeypatch, server, tmp_path):
    def forbid(source, target):
        Path(target).write_bytes(Path(source).read_bytes())
        raise PermissionError(errno.EACCES, "Access is denied")
    use(monkeypatch, server, "good")
    monkeypatch.setattr(os, "replace", forbid)
    check_loaded(tmp_path)


PROGRAM = """
import json, sys
from minideconv import data
from minideconv.data import mnist
mnist.SHA256["mnist"].update(json.loads(sys.argv[1]))
images, labels = data.load("mnist")
print(images.shape, labels.sum())
"""


def start():
    return subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(SUMS)], cwd=Path(data.__file__).parents[2],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once(monkeypatch, server, tmp_path):
    use(monkeypatch, server, "together")
    processes = [start(), start()]
    for process in processes:
        out, err = process.communicate(timeout=30)
        assert (out.strip(), err) == ("(600, 12, 10, 1) 2700", "")
    assert len(server.seen) == 4 and cache(tmp_path) == WHOLE      # both did download


def test_killed_while_downloading(monkeypatch, server, tmp_path):
    use(monkeypatch, server, "stuck")
    process = start()
    for _ in range(1000):
        if server.seen:
            break
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert server.seen and cache(tmp_path) == []
