"""Draws what a unit of a network responds to: the deconvnet, the gradient and guided backpropagation beside the image,
and the same from random weights.

What the three are, how they are computed and how the random weights judge them is in saliency.py.
"""
import argparse
from pathlib import Path

import numpy as np

from .. import data
from . import saliency
from .figure import PALETTE, new_figure, save, style

POOL = 1000             # images among which the command looks for those that excite the unit most
TITLES = {"deconvnet": "deconvnet\n(g > 0)", "gradient": "gradient\n(a > 0)", "guided": "guided\n(a > 0 and g > 0)"}


def most_active(network, images, layer: int, channel: int, count: int = 4):
    """(which, units): the images that excite a channel most, the most active first, int64 (count,), and its strongest
    place in each, int64 (count, 3) or (count, 1).

    network, images (N, H, W, C), layer, errors: as in saliency.saliency_maps; channel: as in saliency.strongest.
    """
    values, units = [], []
    for start in range(0, len(images), 200):
        found = saliency.activations(network, images[start:start + 200], layer)
        places = saliency.strongest(found, channel)
        values.append(found[(np.arange(len(found)), *places.T)])
        units.append(places)
    which = np.argsort(-np.concatenate(values), kind="stable")[:count]
    return which, np.concatenate(units)[which]


@style()
def draw_deconvnet(network, images, layer: int, unit, fresh=None, title: str = ""):
    """A Figure: a row for each image, with the image, the unit's value, and its map by each of saliency.METHODS.

    Every map has its own scale, with grey for zero; a frame in the image holds all that the maps reach. fresh: a
    network of the same layers with other weights, whose maps stand at the right, with their rank correlation with the
    maps at the left. Other arguments and errors: as in saliency.saliency_maps; images of 1 or 3 channels (ValueError).
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be (N, H, W, C) with 1 or 3 channels to be drawn; got {images.shape}")
    maps = saliency.saliency_maps(network, images, layer, unit)
    others = {} if fresh is None else saliency.saliency_maps(fresh, images, layer, unit)
    values = _values(network, images, layer, unit)
    columns = 1 + len(maps) + len(others)
    figure = new_figure(1.3 * columns + 0.3, 1.42 * len(images) + 0.95, title)
    table = figure.subplots(len(images), columns, squeeze=False)
    for axes in table.flat:
        axes.set(xticks=[], yticks=[])
    for axes, text in zip(table[0], ["image", *(TITLES[method] for method in maps),
                                     *(f"random weights:\n{TITLES[method]}" for method in others)], strict=True):
        axes.set_title(text)
    for row, (line, image, value) in enumerate(zip(table, images, values, strict=True)):
        line[0].imshow(_shown(image), cmap="gray", vmin=0, vmax=1)
        line[0].set_xlabel(f"unit: {value:.3g}")
        _frame(line[0], [found[row] for found in maps.values()])
        for axes, found in zip(line[1:], [*maps.values(), *others.values()], strict=True):
            _draw_map(axes, found[row])
        for axes, method in zip(line[1 + len(maps):], others, strict=True):
            axes.set_xlabel(f"rank corr. {saliency.map_correlation(maps[method][row], others[method][row]):.2f}")
    return figure


def _values(network, images, layer, unit):
    """The unit's value in each image."""
    found = saliency.activations(network, images, layer)
    units = np.broadcast_to(np.asarray(unit).reshape(-1, found.ndim - 1), (len(found), found.ndim - 1))
    return found[(np.arange(len(found)), *units.T)]


def _shown(image):
    """An image in [0, 1] as imshow takes it: (H, W) or (H, W, 3)."""
    return np.clip(image[..., 0] if image.shape[-1] == 1 else image, 0, 1)


def _draw_map(axes, values):
    largest = np.abs(values).max() or 1
    if values.shape[-1] == 1:
        axes.imshow(values[..., 0], vmin=-largest, vmax=largest)
    else:
        axes.imshow(0.5 + values / (2 * largest))


def _frame(axes, maps):
    """The rectangle of all pixels that some map reaches, unless that is the whole image."""
    from matplotlib.patches import Rectangle
    rows, columns, _ = saliency.reach(*maps)
    size = rows.stop - rows.start, columns.stop - columns.start
    if size != maps[0].shape[:2]:
        axes.add_patch(Rectangle((columns.start - 0.5, rows.start - 0.5), size[1], size[0], fill=False,
                                 edgecolor=PALETTE["accent"], linewidth=1.3))


def _run_command(args):
    from ..metrics import unit_images
    from ..models.classifier import Classifier, shipped
    network = shipped()
    name = saliency.names_of(network)[saliency.layer_number(network, args.layer)]
    if args.count < 1:
        raise ValueError(f"--count must be at least 1; got {args.count}")
    images, _ = data.load(args.data, "test" if args.data in data.SOURCES else "train", args.data_dir)
    if images.shape[1:] != (28, 28, 1):
        raise ValueError(f"--data must have images of (28, 28, 1), which the classifier of digits reads; got "
                         f"{images.shape[1:]}")
    images = unit_images(images[:POOL])
    title = f"unit {' '.join(map(str, args.unit))} of layer {name}"
    if len(args.unit) == 1:
        title += f",\nwhere it is strongest in {len(images)} images of {Path(args.data).name}"
        which, units = most_active(network, images, args.layer, args.unit[0], args.count)
        images = images[which]
    else:
        images, units = images[:args.count], tuple(args.unit)
    fresh = Classifier(rng=np.random.default_rng(args.seed)) if args.random else None
    print(f"wrote {save(draw_deconvnet(network, images, args.layer, units, fresh, title), args.out)}")


def register(commands) -> None:
    """Add `deconvnet` to the commands of `minideconv draw`."""
    command = commands.add_parser(
        "deconvnet", help="what a unit of the classifier responds to: deconvnet, gradient, guided backpropagation",
        description=saliency.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="layers of the classifier of MNIST's digits that comes with the package (models/classifier.py):\n"
               "  0, 3, 6  convolutions to (28, 28, 16), (14, 14, 32), (7, 7, 64)    1, 4, 7  max pooling after each\n"
               "  2, 5, 8  ReLU after that    9  flatten, 576 features    10  ten logits, one for each digit\n"
               "For a network of your own: minideconv.draw.deconvnet.draw_deconvnet(network, images, layer, unit).")
    command.add_argument("--layer", type=int, default=10, metavar="L", help="the unit's layer (%(default)s)")
    command.add_argument("--unit", type=int, nargs="+", default=[3], metavar="U", help=(
        "one number: a channel (or a feature), in the images that excite it most, each at its strongest place; three: "
        "row, column and channel, in the first images (default 3)"))
    command.add_argument("--count", type=int, default=4, metavar="N", help="images (%(default)s)")
    command.add_argument("--data", default="strokes", metavar="NAME|FILE|FOLDER", help="28x28x1 images (%(default)s)")
    command.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files, as for minideconv train")
    command.add_argument("--random", action="store_true",
                         help="beside them the maps of the same layers with random weights, and rank correlations")
    command.add_argument("--seed", type=int, default=0, help="of the random weights (%(default)s)")
    command.add_argument("--out", required=True, metavar="FILE", help="the picture, .png or .svg")
    command.set_defaults(run=_run_command)
