"""The pictures of a run: grids of samples, the curves of the losses, and the training as an
animation.

Drawn in this project's own style, whatever the reader's Matplotlib settings say.
"""
import re
from pathlib import Path

import numpy as np

from .. import storage
from ..draw.figure import PALETTE, new_figure, style
from . import beside

SCALE_TO = 512          # pixels: grids of small images are enlarged by a whole factor to about this
STYLES = [("#0b5394", "-"), ("#e69138", "--"), ("#1c1c1c", "-."), ("#6aa84f", ":"), ("#a64d79", (0, (5, 1))),
          ("#45818e", (0, (1, 1)))]      # of the curves: colour and dashes


def grid(images, columns=None) -> np.ndarray:
    """Images (N, H, W, C) in [0, 1] as one uint8 picture (rows*(H+1)+1, columns*(W+1)+1[, 3]), a
    grey line between them.
    """
    count, height, width, channels = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, channels), 64, np.uint8)
    for place, image in enumerate(np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)):
        top, left = place // columns * (height + 1) + 1, place % columns * (width + 1) + 1
        sheet[top:top + height, left:left + width] = image
    factor = max(1, SCALE_TO // max(sheet.shape[:2]))
    sheet = sheet.repeat(factor, axis=0).repeat(factor, axis=1)
    return sheet[:, :, 0] if channels == 1 else sheet


def save_grid(path, images, columns=None) -> None:
    """The grid as PNG."""
    from PIL import Image
    storage.replace(path, lambda file: Image.fromarray(grid(images, columns)).save(file, "PNG"))


def save_figure(path, figure) -> None:
    """A Figure as PNG."""
    picture = beside.png(figure)
    storage.replace(path, lambda file: file.write(picture))


def save_scatter(path, points, real=None) -> None:
    """Points (N, 2) as PNG, with `real` ones (M, 2), where given, as crosses below them, which set what is shown."""
    with style():
        figure = new_figure(5, 5)
        axes = figure.subplots()
        if real is not None:
            axes.scatter(*real.T, s=12, c=PALETTE["middle"], marker="+", linewidths=0.5, label="data")
            low, high = real.min(axis=0), real.max(axis=0)
            margin = 0.15 * (high - low)
            axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
        axes.scatter(*points.T, s=3, c=PALETTE["accent"], linewidths=0, label="samples")
        axes.set_aspect("equal")
        axes.legend(loc="upper right")
        save_figure(path, figure)


def class_grid(classes, images: int = 64) -> tuple:
    """(labels, columns) of a grid of about `images` that shows every one of `classes` (numbers),
    in turn, row by row.

    Up to 16 classes have columns of their own. Of more than 256, 256 are shown, evenly chosen.
    """
    count = len(classes)
    if count > 256:
        return np.asarray(classes)[np.linspace(0, count - 1, 256).astype(int)], 16
    if count > 16:
        shown = max(count, images)
        return np.asarray(classes)[np.arange(shown) % count], int(np.ceil(np.sqrt(shown)))
    columns = count * max(1, round(8 / count))
    return np.asarray(classes)[np.arange(max(1, images // columns) * columns) % count], columns


def sample_grids(folder) -> dict:
    """Step -> path of the sample grids of a run, in the order of their steps. What else lies in
    samples/ is passed over.
    """
    found = {}
    for path in (Path(folder) / "samples").glob("step_*.png"):
        if (match := re.fullmatch(r"step_(\d{6,})\.png", path.name)) and path.is_file():
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def draw_training(folder) -> None:
    """training.gif: the sample grids in the order of their steps, the last one held. Grids of
    another size than the last are left out.
    """
    from PIL import Image
    frames = [Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE) for path in sample_grids(folder).values()]
    frames = [frame for frame in frames if frame.size == frames[-1].size]
    if not frames:
        return
    durations = [500] * (len(frames) - 1) + [2500]
    storage.replace(Path(folder) / "training.gif", lambda file: frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0))


def draw_losses(folder, title: str = "Losses", levels=None) -> None:
    """losses.png: every column of losses.csv after step and epoch, smoothed. levels: label ->
    height of a dotted line.
    """
    beside.save(Path(folder) / "losses.png", losses_figure, str(folder), title, levels)


def losses_figure(folder, title, levels):
    """The Figure of losses.png; None where there are no losses yet."""
    path = Path(folder) / "losses.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines() if path.exists() else [""]
    if not rows:
        return None
    names, table = header.split(",")[2:], np.loadtxt(rows, delimiter=",", ndmin=2)
    with style():
        figure = new_figure(8, 4)
        axes = figure.subplots()
        window = max(1, min(50, len(table) // 10))
        for place, name in enumerate(names):
            colour, dashes = STYLES[place % len(STYLES)]
            values = table[:, place + 2]
            axes.plot(table[:, 0], values, color=colour, alpha=0.25, linewidth=0.6)
            smooth = np.convolve(values, np.ones(window) / window, "valid")
            label = f"{name.removesuffix('_loss').replace('_', ' ')} (mean of {window} steps)"
            axes.plot(table[window - 1:, 0], smooth, linestyle=dashes, color=colour, label=label)
        for label, height in (levels or {}).items():
            axes.axhline(height, color="black", linewidth=0.8, linestyle=":", label=label)
        low, high = np.quantile(table[:, 2:], (0.005, 0.995))
        axes.set_ylim(min(0, float(low) * 1.2), max(0, float(high)) * 1.2 + 0.1)
        axes.set(xlabel="step", ylabel="loss", title=title)
        axes.legend(loc="upper right")
        axes.spines[["top", "right"]].set_visible(False)
    return figure
