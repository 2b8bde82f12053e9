"""The pictures of a run: grids of samples, the curve of the losses, and the training as an animation."""
from pathlib import Path

import numpy as np

from .. import storage

SCALE_TO = 512          # pixels: grids of small images are enlarged by a whole factor to about this


def grid(images, columns=None) -> np.ndarray:
    """Images (N, H, W, C) in [0, 1] as one uint8 picture (rows*(H+1)+1, columns*(W+1)+1[, 3]), a grey line between them."""
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


def draw_training(folder) -> None:
    """training.gif: the sample grids in the order of their steps, the last one held."""
    from PIL import Image
    paths = sorted((Path(folder) / "samples").glob("step_*.png"))
    if not paths:
        return
    frames = [Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE) for path in paths]
    durations = [500] * (len(frames) - 1) + [2500]
    storage.replace(Path(folder) / "training.gif",
                    lambda file: frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0))


def draw_losses(folder, loss) -> None:
    """losses.png: both losses of every step, smoothed, and the line where the discriminator cannot tell."""
    from matplotlib.figure import Figure
    table = np.loadtxt(Path(folder) / "losses.csv", delimiter=",", skiprows=1, ndmin=2)
    if not len(table):
        return
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    window = max(1, min(50, len(table) // 10))
    for column, name, colour, style in ((2, "discriminator", "#0b5394", "-"), (3, "generator", "#e69138", "--")):
        axes.plot(table[:, 0], table[:, column], color=colour, alpha=0.25, linewidth=0.6)
        smooth = np.convolve(table[:, column], np.ones(window) / window, "valid")
        axes.plot(table[window - 1:, 0], smooth, style, color=colour, label=f"{name} (mean of {window} steps)")
    axes.axhline(loss.balance, color="black", linewidth=0.8, linestyle=":", label=f"discriminator cannot tell: 2 ln 2 = {loss.balance:.3f}")
    axes.set(xlabel="step", ylabel="loss (nats)", title="Losses of a GAN do not fall to zero: they measure a balance, not quality")
    axes.set_ylim(0, float(np.quantile(table[:, 2:], 0.995)) * 1.2 + 0.1)
    axes.legend(loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    storage.replace(Path(folder) / "losses.png", lambda file: figure.savefig(file, dpi=110, format="png"))
