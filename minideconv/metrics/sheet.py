"""What `report.measure` found, as one picture: samples beside real images, what they may have been copied from, and
their classes; or points beside real ones, and their modes.
"""

import numpy as np

from ..draw.figure import PALETTE, new_figure, style
from ..train.pictures import grid
from . import unit_images
from .modes import MODES
from .report import SHARES, Real

ROWS, COLUMNS = 8, 10       # of a grid of images
POINTS = 2_500              # at most so many are drawn
ORDINALS = ("nearest", "second", "third")


@style()
def sheet(report: dict, samples, labels, real: Real):
    """Return the Figure of a report, of the samples (N, H, W, C) or (N, 2) and labels (N,) or None that it is about."""
    if np.ndim(samples) == 2:
        return _points(report, np.asarray(samples), real)
    return _images(report, samples, labels, real)


def _images(report, samples, labels, real):
    judged = "classes" in report
    figure = new_figure(11, 10.5, _headline(report))
    upper, middle, lower = figure.subfigures(3, 1, height_ratios=[4.6, 3.3, 2.6])
    shown = real.train if real.test is None else real.test
    asked = None if labels is None or len(np.unique(labels)) > 16 else np.asarray(labels)
    for axes, title, images, classes in zip(
            upper.subplots(1, 2), ("real", "generated"), (shown.images, samples), (shown.labels, asked), strict=True):
        chosen, columns = _in_columns(len(images), None if asked is None else classes, asked)
        _show(axes, grid(unit_images(images[chosen]), columns))
        axes.set_title(title + ("" if asked is None else ": a column for each class"))
    draw_neighbours(middle.subplots(), report["nearest"]["shown"], samples, real.train.images)
    panels = lower.subplots(1, 1 + judged, squeeze=False)[0]
    draw_distances(panels[-1], report["nearest"])
    if judged:
        _classes(panels[0], report["classes"])
    return figure


def _headline(report):
    """What was measured and the figures that one looks for first, in a line; in two where there is more to say."""
    about, parts = [f"{report['samples']} samples, data {report['source']}"], []
    if "scale" in report:
        about.append(f"latents scaled by {report['scale']:g}: no published figure compares")
    if "blur" in report:
        about.append(f"learned from images blurred by {report['blur']:g} pixels")
    if "distance" in report:
        floor = report["distance"]["floor"]
        parts.append(f"digit-feature distance {report['distance']['distance']:.2f}"
                     + ("" if floor is None else f" (real images {floor:.2f})"))
    if "parzen" in report:
        parts.append(f"Parzen {report['parzen']['mean']:.0f} nats")
    if "neighbour_error" in report:
        parts.append(f"1-NN error {100 * report['neighbour_error']['error']:.2f} %")
    lines = filter(None, ("; ".join(about), "; ".join(parts)))      # of points there are no such figures
    return ("\n" if len(about) > 1 else "; ").join(lines)


def _in_columns(count, classes, wanted):
    """Which of `count` images a grid shows, and its columns: the first ones, or each wanted class in its column."""
    if wanted is None:
        return np.arange(min(count, ROWS * COLUMNS)), COLUMNS
    names = np.unique(wanted)
    members = [np.flatnonzero(classes == name) for name in names]
    rows = max(1, min(ROWS, *map(len, members)))
    columns = [found[np.arange(rows) % max(1, len(found))] for found in members]        # a rare class is repeated
    return np.stack(columns, axis=1).ravel(), len(names)


def _show(axes, picture):
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])


def draw_neighbours(axes, shown, samples, training, name: str = "sample"):
    """Samples in the first row, below each its nearest training images and the distance of the first of them.

    shown: {"training": numbers (M, K), "distances": (M, K)}. samples, training: images in the forms of `unit_images`.
    name: what the first row holds.
    """
    nearest = np.array(shown["training"])                                               # (M, K)
    rows = [np.asarray(samples[:len(nearest)]), *(training[nearest[:, place]] for place in range(nearest.shape[1]))]
    _show(axes, grid(np.concatenate([unit_images(row) for row in rows]), len(nearest)))
    width, height = axes.get_images()[0].get_size()[::-1]
    axes.set_yticks([(row + 0.5) * height / len(rows) for row in range(len(rows))],
                    [name, *ORDINALS[:len(rows) - 1]])
    axes.set_xticks([(place + 0.5) * width / len(nearest) for place in range(len(nearest))],
                    [f"{distances[0]:.1f}" for distances in shown["distances"]])
    axes.tick_params(length=0)
    axes.set_title(f"{name}s above their nearest training images, and the distance of the nearest (pixels in [0, 1])")


def draw_distances(axes, part: dict):
    """Two curves: how many samples, and how many real test images, have a training image within a distance.

    part: "nearest" of a report, with its "quantiles", and "test_quantiles" where there are some.
    """
    axes.plot(part["quantiles"], SHARES, color=PALETTE["accent"], clip_on=False, label="samples")
    if "test_quantiles" in part:
        axes.plot(part["test_quantiles"], SHARES, "--", color=PALETTE["dark"], label="real test images")
    axes.set(xlim=(0, None), ylim=(0, 1), xlabel="distance from the nearest training image", ylabel="share of images",
             title="copied? copies would lie at 0")
    axes.legend(loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def _classes(axes, part):
    places = np.arange(len(part["shares"]))
    real = part.get("real_shares")
    width = 0.8 if real is None else 0.4
    axes.bar(places - (0.4 - width / 2), np.multiply(part["shares"], 100), width, color=PALETTE["accent"],
             label=f"samples, {100 * part['sure']:.1f} % of them sure")
    if real is not None:
        axes.bar(places + 0.2, np.multiply(real, 100), width, color=PALETTE["light"], edgecolor=PALETTE["ink"],
                 linewidth=0.5, hatch="////", label=f"real test images, {100 * part['real_sure']:.1f} %")
    axes.set(xticks=places, xlabel="digit that the classifier sees", ylabel="% of images", title="classes",
             ylim=(0, 1.35 * 100 * max(part["shares"] + (real or []))))
    axes.legend(loc="upper center", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)


def _points(report, samples, real):
    part, modes = report["coverage"], MODES[real.source]
    figure = new_figure(11, 6.5, (
        f"{part['count']} samples, data {real.source}: {part['modes']} of {part['of']} modes, "
        f"{100 * part['high_quality']:.1f} % of the samples within three sigma of one"
        + (f"; latents scaled by {report['scale']:g}" if "scale" in report else "")))
    upper, lower = figure.subfigures(2, 1, height_ratios=[4, 2])
    reach = 1.3 * np.abs(modes.centres).max()
    drawn = (real.train if real.test is None else real.test).images
    for axes, title, points in zip(upper.subplots(1, 2), ("real", "generated"), (drawn, samples), strict=True):
        axes.scatter(*points[:POINTS].T, s=3, linewidths=0, color=PALETTE["dark"])
        axes.scatter(*modes.centres.T, s=60, facecolors="none", edgecolors=PALETTE["accent"], linewidths=0.8)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", title=title)
    axes = lower.subplots()
    axes.bar(np.arange(part["of"]), part["counts"], color=PALETTE["accent"], label="samples within three sigma")
    axes.axhline(part["count"] / part["of"], color=PALETTE["ink"], linestyle="--", linewidth=0.8, label="equal shares")
    axes.set(xticks=np.arange(part["of"]), xlabel="mode", ylabel="samples",
             ylim=(0, 1.4 * max(*part["counts"], part["count"] / part["of"])))
    axes.legend(loc="upper right", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
