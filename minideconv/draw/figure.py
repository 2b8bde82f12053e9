"""The shared style of all pictures: one palette that survives greyscale, one way to make a figure,
one way to write it to a file.
"""
import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

# Four steps of lightness, so that two areas differ in print as they do on screen. Never rely on
# hue alone: add a hatch or a word.
PALETTE = {
    "ink": "#1c1c1c",           # text and outlines
    "dark": "#1f3a68",          # dark blue
    "accent": "#c8501e",        # vermilion: what the picture is about
    "middle": "#6db3e0",        # sky blue
    "light": "#f2d58a",         # sand
    "faint": "#dddddd",         # grid lines, what is absent
    "paper": "#ffffff",
}
# The three things that are mistaken for each other differ by more than a shade.
HATCH = {"padding": "////", "crop": "xxxx", "output_padding": "...."}
# The colour map of numbers: its lightness rises throughout. Centred on zero for signed numbers,
# its grey is zero.
VALUES = "cividis"
DPI = 110

SETTINGS = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "figure.titlesize": 11,
    "text.color": PALETTE["ink"], "axes.labelcolor": PALETTE["ink"], "axes.edgecolor": "#666666",
    "axes.linewidth": 0.7, "hatch.linewidth": 0.6, "legend.frameon": False,
    "image.cmap": VALUES, "image.interpolation": "nearest", "svg.hashsalt": "minideconv",
    "figure.facecolor": PALETTE["paper"], "savefig.facecolor": PALETTE["paper"],
}


def _matplotlib():
    """Matplotlib, also where MPLBACKEND names a backend that it does not know.

    It refuses to be imported then, though pictures that are written to files need no backend. So
    it is imported without the variable, and told of a backend that it knows afterwards.
    """
    if "matplotlib" not in sys.modules:
        named = os.environ.pop("MPLBACKEND", None)
        try:
            import matplotlib
        finally:
            if named is not None:
                os.environ["MPLBACKEND"] = named
        if named:
            with contextlib.suppress(ValueError):
                matplotlib.rcParams["backend"] = named
    return sys.modules["matplotlib"]


@contextlib.contextmanager
def style():
    """Matplotlib draws in this project's style inside `with style():`,
    or in a function below `@style()`.

    Matplotlib's own defaults and then SETTINGS count, whatever the reader's matplotlibrc says
    (TeX, other fonts, a dark style). Outside, the reader's settings are what they were.
    """
    matplotlib = _matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def rgb(name: str):
    """A colour of the palette as three numbers in [0, 1]."""
    return np.array([int(PALETTE[name][at:at + 2], 16) / 255 for at in (1, 3, 5)])


@style()
def new_figure(width: float, height: float, title: str = "", layout: str = "constrained"):
    """An empty Figure of width x height inches that needs no window and no pyplot;
    layout="none" where positions are set by hand.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    return figure


@style()
def gallery(images: dict, title: str = "", limits=None, notes=(), width: float = 1.9):
    """Matrices (H, W), (H, W, 1) or (1, H, W, 1) side by side under their names,
    each `width` inches wide.

    limits: (darkest, lightest) of all; left out, each has its own scale with grey for zero.
    notes: a line below each.
    """
    lines = max(name.count("\n") + 1 for name in images)
    height = width + 0.17 * lines + (0.3 if notes else 0.15) + (0.25 if title else 0)
    figure = new_figure(width * len(images), height, title)
    panels = figure.subplots(1, len(images), squeeze=False)[0]
    for place, (axes, (name, values)) in enumerate(zip(panels, images.items(), strict=True)):
        values = np.asarray(values)
        values = values.reshape([n for n in values.shape if n > 1])
        largest = np.abs(values).max()
        low, high = (-largest, largest) if limits is None else limits
        axes.imshow(values, cmap=VALUES, vmin=low, vmax=high)
        axes.set(title=name, xticks=[], yticks=[], xlabel=notes[place] if notes else "")
    return figure


@style()
def table(header, rows, widths, title: str = "", marked=(), size: float = 8.5):
    """A table as a Figure: `widths` in inches, one per column; cells may have several lines;
    rows in `marked` stand on sand.
    """
    from matplotlib.patches import Rectangle
    heights = [0.1 + 0.019 * size * max(str(cell).count("\n") + 1 for cell in row) for row in [header, *rows]]
    above = 0.15 + (0.22 * (title.count("\n") + 1) if title else 0)
    width, height = sum(widths) + 0.3, above + sum(heights) + 0.15
    figure = new_figure(width, height, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    axes.text(0.2, 0.12, title, fontsize=size + 1, va="top", linespacing=1.3)
    top = above
    for index, (row, tall) in enumerate(zip([header, *rows], heights, strict=True)):
        if index - 1 in marked:
            axes.add_patch(Rectangle((0.15, top), width - 0.3, tall, facecolor=PALETTE["light"], edgecolor="none"))
        for cell, left in zip(row, np.cumsum([0.2, *widths[:-1]]), strict=True):
            axes.text(left, top + tall / 2, str(cell), fontsize=size, va="center",
                      weight="normal" if index else "bold", linespacing=1.25)
        top += tall
        axes.plot([0.15, width - 0.15], [top, top], color=PALETTE["faint"] if index else PALETTE["ink"], linewidth=0.7)
    return figure


@style()
def new_animation(figure, draw_frame, frames: int, seconds: float = 1.0):
    """A Matplotlib animation that calls draw_frame(index) for each of `frames` frames,
    `seconds` apart.
    """
    from matplotlib.animation import FuncAnimation
    return FuncAnimation(figure, style()(draw_frame), frames=frames, init_func=lambda: None, interval=1000 * seconds,
                         blit=False, repeat=True)


def save(picture, path) -> Path:
    """Write a Figure as .png or .svg, an animation as .gif; the file appears whole or not at all.

    Returns the path.
    """
    path = Path(path)
    moving = not hasattr(picture, "savefig")
    allowed = (".gif",) if moving else (".png", ".svg")
    if path.suffix.lower() not in allowed:
        kind = "an animation" if moving else "a picture that stands still"
        raise ValueError(f"path must end in {' or '.join(allowed)} for {kind}; got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(suffix=path.suffix.lower(), prefix=f".{path.stem}-", dir=path.parent)
    os.close(handle)
    try:
        (_write_animation if moving else _write_figure)(picture, scratch)
        os.chmod(scratch, 0o644)            # mkstemp's files can be read by their owner alone
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise
    return path


@style()
def _write_figure(figure, path):
    """One picture, the same bytes whenever it is written.

    PNGs keep 256 colours: a third of the size, and drawings have few.
    """
    if path.endswith(".svg"):
        figure.savefig(path, format="svg", metadata={"Date": None})
        return
    from PIL import Image
    pixels = io.BytesIO()
    figure.savefig(pixels, format="png")
    Image.open(pixels).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


@style()
def _write_animation(animation, path):
    """All frames as a GIF that loops."""
    from matplotlib.animation import PillowWriter
    animation.save(path, writer=PillowWriter(fps=1000 / animation.event_source.interval), dpi=DPI)


def keep(figure, name: str):
    """A lesson's picture: saved as `name` in the folder MINIDECONV_PICTURES names,
    else in pictures/ beside the script; what the short setting draws, in pictures/short, so that
    it takes no kept picture's place. Returns the figure.
    """
    # A notebook has no script: then the current folder counts.
    script = getattr(sys.modules["__main__"], "__file__", None)
    beside = (Path(script).resolve().parent if script else Path.cwd()) / "pictures"
    if os.environ.get("MINIDECONV_SHORT") == "1":
        beside = beside / "short"
    save(figure, Path(os.environ.get("MINIDECONV_PICTURES", beside)) / name)
    return figure
