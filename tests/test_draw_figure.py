"""The style of all pictures: this project's own, whatever the reader's Matplotlib is told elsewhere."""
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from minideconv.draw import figure

SOURCE = Path(figure.__file__).parents[2]

# Still pictures of all kinds, an animation, and the benchmark's chart.
PROGRAM = """
import sys
import numpy as np
from minideconv.bench import report
from minideconv.draw import figure, heatmap, matrix, overlap, sizes, step, tape, walk
folder = sys.argv[1]
w = np.arange(1.0, 5).reshape(2, 2)
short = walk.conv(np.ones((2, 3)), w)
row = dict(group="step", name="one_row", gflops=50.0, gflop=1.0, torch_ms=None, reference_ms=80.0)
results = dict(rows=[row], matrix_gflops=100.0, machine=dict(torch=None, processor="a_processor", threads=1))
pictures = {
    "gallery.png": figure.gallery({"a_name": w}), "steps.svg": step.strip(short), "steps.gif": step.animation(short),
    "matrix.png": matrix.spy(w, (4, 4)), "sizes.png": sizes.chart(8, 4, sizes.solve(8, 4)),
    "overlap.png": overlap.draw_overlap("t4s2p1", (6, 6)), "chart.png": report.chart(results),
    "tape.png": tape.draw_tape(**tape.EXAMPLES["penalty"](2, np.random.default_rng(0))),
}
for name, picture in pictures.items():
    figure.save(picture, f"{folder}/{name}")
"""
TEX = "text.usetex: True\n"
FONTS = "font.family: No Such Font\nmathtext.fontset: custom\nfont.size: 40\n"
DARK = "axes.facecolor: black\nfigure.facecolor: black\ntext.color: white\nlines.linewidth: 9\naxes.grid: True\n"
PAGE = "savefig.bbox: tight\nsavefig.transparent: True\nfigure.autolayout: True\nsavefig.dpi: 30\n"
# Each is a process that draws everything, so what cannot hide another's effect shares one: name: (matplotlibrc,
# MPLBACKEND). The backend of the matplotlibrc counts only where the environment names none.
SETTINGS = {"tex": (TEX + DARK, "nonsense"), "fonts": (FONTS + PAGE, "tkagg"), "backend": ("backend: no_such\n", None)}


def drawn(folder, settings, backend=None):
    """The pictures of PROGRAM as {name: bytes}, drawn where a matplotlibrc holds these settings."""
    folder.mkdir()
    (folder / "matplotlibrc").write_text(settings)
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "MATPLOTLIBRC": str(folder / "matplotlibrc")}
    environment.pop("MPLBACKEND", None)
    if backend:
        environment["MPLBACKEND"] = backend
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder / "out")], cwd=folder, env=environment,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("style") / "plain", "")


@pytest.mark.parametrize("name", SETTINGS)
def test_fault_22_pictures_are_the_same_under_any_matplotlibrc_and_backend(name, plain, tmp_path):
    assert len(plain) == 8
    assert drawn(tmp_path / name, *SETTINGS[name]) == plain


def test_the_readers_settings_and_backend_are_left_alone():
    """Also where the drawing fails."""
    program = ("from minideconv.draw.figure import style\n"
               "try:\n    with style(): raise KeyError\nexcept KeyError: pass\n"
               "import os, matplotlib\n"
               "print(matplotlib.rcParams._get_backend_or_none(), os.environ['MPLBACKEND'])")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(SOURCE), "MPLBACKEND": "svg"})
    assert done.stdout.split() == ["svg", "svg"], done.stderr
    with matplotlib.rc_context({"font.size": 33}):
        figure.gallery({"a": [[1, 2], [3, 4]]})
        assert matplotlib.rcParams["font.size"] == 33
        with figure.style():
            assert matplotlib.rcParams["font.size"] == figure.SETTINGS["font.size"]


@pytest.mark.parametrize("variables, folder", [({}, "pictures"), ({"MINIDECONV_SHORT": "1"}, "pictures/short"),
                                               ({"MINIDECONV_SHORT": "1", "MINIDECONV_PICTURES": "else"}, "else")])
def test_a_lessons_picture_takes_no_kept_ones_place(variables, folder, tmp_path, monkeypatch):
    for name in ("MINIDECONV_SHORT", "MINIDECONV_PICTURES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(tmp_path / "01_lesson.py"))
    figure.keep(figure.new_figure(1, 1), "01_a.png")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")] == [f"{folder}/01_a.png"]
