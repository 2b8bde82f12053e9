"""Draws a generator's latent space: walks, walks by label, arithmetic on means, and the nearest training images.

The paths and the arithmetic are in gan/latent.py, the distances in metrics/neighbours.py.
"""
import numpy as np

from .. import data
from .figure import PALETTE, new_figure, save, style

WALKS, STEPS = 3, 9     # drawn walks, and images in each
SHOWN = 10              # classes, and samples above their neighbours
COUNT = 1_000           # samples whose nearest training images are looked for


def _show(axes, images, columns, title="", rows=()):
    """A grid of images (N, H, W, C), and a name beside each of its rows."""
    from ..train.pictures import grid
    axes.imshow(grid(images, columns), cmap="gray", vmin=0, vmax=255)
    height = axes.get_images()[0].get_size()[0]
    axes.set_xticks([])
    axes.set_yticks([(place + 0.5) * height / len(rows) for place in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.set_title(title)


def _classes(generator, label):
    """The classes to draw, one after another: the one that was asked for, or all; [None] where there are none."""
    if label is not None or not generator.classes:
        return [label]
    return list(range(min(SHOWN, generator.classes)))


def _check_images(generator, latents):
    """ValueError for a generator of points, which no grid can show."""
    from ..gan.sample import images_of
    made = images_of(generator, latents[:1], np.zeros(1, int) if generator.classes else None)
    if made.ndim != 4:
        raise ValueError(f"generator must make images (N, H, W, C) to be drawn; got {made.shape}")


@style()
def draw_walks(generator, label: int | None = None, seed: int = 0, pairs: int = 200):
    """A Figure: what becomes of |z| and of the ink on straight and spherical paths, the mean and the middle 80 % of
    `pairs` pairs of latents, and some walks of both kinds.

    generator: see gan.load_generator. label: of all walks; without it the classes take turns. ValueError for one that
    the generator does not know.
    """
    from ..gan.latent import PATHS, walk, walk_effects
    from ..gan.networks import draw_latents
    ends = draw_latents(generator, 2 * WALKS, np.random.default_rng([seed, 1])).reshape(WALKS, 2, -1)
    _check_images(generator, ends[0])
    classes = _classes(generator, label)
    images = [walk(generator, *pair, STEPS, path, classes[place % len(classes)])
              for place, pair in enumerate(ends) for path in PATHS]
    figure = new_figure(7.6, 7.5, "From latent to latent: straight, and on a sphere")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 2.15))
    effects, t = walk_effects(generator, pairs, 2 * STEPS - 1, seed), np.linspace(0, 1, 2 * STEPS - 1)
    for place, (axes, name) in enumerate(zip(upper.subplots(1, 2), ("length of the latent, |z|", "ink, mean pixel"),
                                             strict=True)):
        for (path, found), colour, dash in zip(effects.items(), ("accent", "dark"), ("-", "--"), strict=True):
            low, high = np.quantile(found[place], (0.1, 0.9), axis=1)
            axes.fill_between(t, low, high, color=PALETTE[colour], alpha=0.18, linewidth=0)
            axes.plot(t, found[place].mean(axis=1), dash, color=PALETTE[colour], label=path)
        axes.set(xlabel="t, from one latent to the other", ylabel=name, xlim=(0, 1), ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower left")
    _show(lower.subplots(), np.concatenate(images), STEPS, rows=list(PATHS) * WALKS)
    return figure


@style()
def draw_labels(generator, seed: int = 0, names=None):
    """A Figure: one spherical walk drawn with every label, and one latent drawn on the way from label to label.

    generator: of classes (ValueError for another), that joins labels to its features. names: what the classes are
    called, where that is not their number.
    """
    from ..gan.latent import walk
    from ..gan.networks import draw_latents
    if not generator.classes:
        raise ValueError("generator must be told labels for walks by label; this one was trained without")
    a, b = draw_latents(generator, 2, np.random.default_rng([seed, 1]))
    _check_images(generator, a[np.newaxis])
    classes = _classes(generator, None)
    names = names or [str(label) for label in classes]
    figure = new_figure(10.4, 0.46 * len(classes) + 1.1, "Walks of a generator that is told labels")
    left, right = figure.subplots(1, 2)
    _show(left, np.concatenate([walk(generator, a, b, STEPS, label=label) for label in classes]), STEPS,
          "one walk from latent to latent, with each label", [names[label] for label in classes])
    pairs = list(zip(classes, [*classes[1:], classes[0]], strict=True))
    _show(right, np.concatenate([walk(generator, a, a, STEPS, label=one, to_label=other) for one, other in pairs]),
          STEPS, "one latent, from each label to the next",
          [f"{names[one]} to {names[other]}" for one, other in pairs])
    return figure


@style()
def draw_arithmetic(generator, label: int | None = None, seed: int = 0):
    """A Figure: bold - thin + another thin one, on means of three latents each: is the result bold?

    Bold and thin are the extremes of ink among random latents. A row for each class, where the third term is of the
    next class; with `label`, or without classes, one row, whose third term are the thinnest of other latents. Below
    each mean stands its ink. ValueError for a label that the generator does not know.
    """
    from ..gan.latent import arithmetic, extremes, ink
    from ..gan.networks import draw_latents
    from ..gan.sample import images_of
    _check_images(generator, draw_latents(generator, 1, np.random.default_rng(seed)))
    classes = _classes(generator, label)
    figure = new_figure(9.4, 0.99 * len(classes) + 0.7, "Arithmetic on latents: each term is the mean of three")
    table = figure.subplots(len(classes), 4, squeeze=False, width_ratios=(4, 4, 4, 1))
    for line, one, other in zip(table, classes, [*classes[1:], classes[0]], strict=True):
        bold, thin = extremes(generator, seed=seed, label=one)
        _, plus = extremes(generator, seed=seed + 1, label=other)
        terms = [(bold, one), (thin, one), (plus, other), (arithmetic(bold, thin, plus)[np.newaxis], other)]
        for axes, (latents, drawn), name in zip(line, terms, ("bold", "- thin", "+ thin", "= "), strict=True):
            if len(latents) > 1:
                latents = np.concatenate([latents, latents.mean(axis=0, keepdims=True)])
            images = images_of(generator, latents, None if drawn is None else np.full(len(latents), drawn))
            _show(axes, images, len(images), name if one is classes[0] else "")
            axes.set_xlabel(f"{'three, and their mean: ' if len(images) > 1 else ''}ink {ink(images)[-1]:.3f}")
    return figure


def neighbour_distances(samples, real) -> dict:
    """The part "nearest" of metrics.report.evaluate, of samples (N, H, W, C), which holds the distances among real
    images too where the data have no test split: of every tenth training image from the others.

    real: a metrics.report.Real. Raises ValueError where samples are of another size than the real images.
    """
    from ..metrics.report import Real, copies
    found = copies(samples, real)
    if real.test is None:
        held = np.arange(len(real.train.images)) % 10 == 9
        if held.any():
            rest = data.DataSet(real.train.images[~held], None)
            others = copies(real.train.images[held], Real(real.source, rest, None))
            found.update({f"test_{name}": others[name] for name in ("median", "least", "quantiles")})
    return found


@style()
def draw_nearest(samples, real):
    """A Figure: was anything copied? Samples (N, H, W, C) in [0, 1] above their nearest training images, real images
    that nobody learned from above theirs, and the distances of both.

    real: a metrics.report.Real. Raises ValueError where samples are of another size than the real images.
    """
    from ..metrics.neighbours import nearest_few
    from ..metrics.sheet import draw_distances, draw_neighbours
    found = neighbour_distances(samples, real)
    shown = {name: rows[:SHOWN] for name, rows in found["shown"].items()}
    ratios = (3.4, 2.6) if real.test is None else (3.4, 3.4, 2.6)
    figure = new_figure(7.6, 1.02 * sum(ratios), "Was anything copied?")
    upper, *middle, lower = figure.subfigures(len(ratios), 1, height_ratios=ratios)
    draw_neighbours(upper.subplots(), shown, samples, real.train.images)
    if real.test is not None:
        images = real.test.images[:SHOWN]
        numbers, distances = nearest_few(images, real.train.images)
        axes = middle[0].subplots()
        draw_neighbours(axes, {"training": numbers, "distances": distances}, images, real.train.images, "real")
        axes.set_title("real test images, which nobody learned from, above theirs")
    draw_distances(lower.subplots(), found)
    return figure


PICTURES = ("walks", "labels", "arithmetic", "nearest")


def _run_command(args):
    from ..gan.sample import class_number, generate, load_generator
    from ..metrics.report import read_real
    from ..train.run import read_config
    config = read_config(args.folder)
    if len(config.image_shape) != 3:
        raise ValueError(f"{args.folder} makes points of the plane: draw latent is for runs that make images")
    label = None if args.label is None else class_number(config, args.label)
    generator = load_generator(args.folder)
    if args.show == "walks":
        figure = draw_walks(generator, label, args.seed)
    elif args.show == "labels":
        figure = draw_labels(generator, args.seed, config.names)
    elif args.show == "arithmetic":
        figure = draw_arithmetic(generator, label, args.seed)
    else:
        samples, _ = generate(generator, COUNT, args.seed, label)
        figure = draw_nearest(samples, read_real(config.data, args.data_dir))
    print(f"wrote {save(figure, args.out)}")


def register(commands) -> None:
    """Add `latent` to the commands of `minideconv draw`."""
    command = commands.add_parser(
        "latent", help="a generator's latent space: walks, arithmetic, nearest training images",
        description="Draw what lies between the latents of a run's generator, and what its samples may be copies of.")
    command.add_argument("folder", metavar="RUN", help="the folder of a run")
    command.add_argument("--show", choices=PICTURES, default="walks", help=(
        "walks: straight and spherical paths, |z| and ink on the way; labels: one walk with every label, and from "
        "label to label (conditional runs); arithmetic: bold - thin + thin, on means of three latents; nearest: "
        "samples above their nearest training images, with distances beside those among real images (%(default)s)"))
    command.add_argument("--label", metavar="D", help="the class to draw, by its name in the data (conditional runs)")
    command.add_argument("--seed", type=int, default=0, help="of the latents (%(default)s)")
    command.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files, as for minideconv train")
    command.add_argument("--out", required=True, metavar="FILE", help="the picture, .png or .svg")
    command.set_defaults(run=_run_command)
