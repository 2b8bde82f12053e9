"""Draws checkerboards: the counts that predict them, and what untrained networks do, side by side.

What is counted and measured, and how a stack of layers is written, is in stacks.py.
"""
import argparse

import numpy as np

from .. import nn
from . import stacks
from .figure import PALETTE, new_figure, save, style

WORDS = {nn.ConvTranspose2d: "transposed", nn.Conv2d: "conv", nn.Upsample: "resize", nn.PixelShuffle: "shuffle"}


def _plane(axes, values, caption, numbers=None, **shades):
    """One plane of numbers as squares, without ticks;
    `numbers` is how they are written into the squares where there are few.
    """
    image = axes.imshow(values, **shades)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(caption)
    if numbers and max(values.shape) <= 18:
        middle = (values.max() + values.min()) / 2
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, numbers.format(value), ha="center", va="center", fontsize=6.5,
                      color="black" if value > middle else "white")
    return image


def _ratio_text(counts, period) -> str:
    ratio = stacks.unevenness(counts, period)
    return "even inside" if ratio == 1 else f"most / fewest = {ratio:.3g}"


@style()
def draw_overlap(network, size, gradient: bool = False):
    """A Figure: the paths that write each pixel after each layer, as a map and as its middle row.

    network: a text such as "t3s2p1o1 t3s2p1o1" (see stacks.parse) or a Module. size (H, W): of
    what enters it. gradient: instead, the paths that lead back from the outputs to each pixel: the
    pattern in the gradient that a discriminator sends to its image.
    """
    layers = stacks.layers_of(network)
    maps = stacks.gradient_maps(network, size) if gradient else stacks.overlap_maps(network, size)
    names = [WORDS[type(layer)] + _settings(layer) for layer in (layers[::-1] if gradient else layers)]
    if gradient:
        title = "Paths back to each pixel: the gradient's checkerboard"
        periods = [stacks.period_of(layers[place:]) for place in reversed(range(len(layers)))]
    else:
        title = "Paths that write each pixel: the checkerboard before training"
        periods = [stacks.period_of(layers[:place + 1]) for place in range(len(layers))]
    figure = new_figure(max(4.6, 3.3 * len(maps)), 4.9, title)
    upper, lower = figure.subplots(2, len(maps), squeeze=False, height_ratios=(2.6, 1))
    for top, bottom, counts, name, period in zip(upper, lower, maps, names, periods, strict=True):
        _plane(top, counts, f"{counts.shape[0]} x {counts.shape[1]}; {_ratio_text(counts, period)}", "{:.0f}", vmin=0)
        top.set_title(f"{'before' if gradient else 'after'} {name}")
        middle = counts[counts.shape[0] // 2]
        bottom.step(np.arange(len(middle)), middle, where="mid", color=PALETTE["dark"], linewidth=1.2)
        bottom.set_ylim(0, None)
        bottom.set_xlabel("column, in the middle row")
        bottom.locator_params(integer=True)
    lower[0].set_ylabel("paths")
    return figure


def _settings(layer) -> str:
    if isinstance(layer, (nn.Upsample, nn.PixelShuffle)):
        return f" x{getattr(layer, 'scale_factor', getattr(layer, 'r', None))}"
    return f" {layer.kernel_size[0]}x{layer.kernel_size[1]}, stride {layer.stride[0]}"


@style()
def draw_spectra(designs=None, size=None, gradient: bool = False, networks: int = 64, seed: int = 0):
    """A Figure: what `networks` untrained networks of each design do, in three rows.

    What one network makes of an input that has no detail, so that all texture is the layers' own; the
    mean square per pixel over all networks, beside what the counts predict; the log power spectrum of
    such textures, where peaks at multiples of 1 / stride are a checkerboard. designs: name -> stack
    (texts, see stacks.parse); by default four generators that double a picture twice, or with
    gradient=True three discriminators that halve it twice, measured in the same way. size (H, W) of
    the input: by default (8, 8) and (32, 32).
    """
    designs = designs or (stacks.HALVINGS if gradient else stacks.DOUBLINGS)
    size = size or ((32, 32) if gradient else (8, 8))
    what = "Gradients from discriminators" if gradient else "Images from generators"
    figure = new_figure(1.9 * len(designs) + 0.5, 6.3, f"{what} that were never trained")
    rows = figure.subplots(3, len(designs), squeeze=False)
    for column, (name, stack) in zip(rows.T, designs.items(), strict=True):
        column[0].set_title(f"{name}\n{stack}")
        _draw_design(column, stack, size, gradient, networks, seed)
    texts = ("one network's\ntexture from\na flat input", f"mean square\nper pixel,\n{networks} networks",
             "log power\nspectrum of\ntheir textures")
    for axes, text in zip(rows[:, 0], texts, strict=True):
        axes.set_ylabel(text)
    return figure


def _draw_design(column, stack, size, gradient, networks, seed):
    """One column of draw_spectra: texture, strength and spectrum of a stack."""
    period = stacks.period_of(stacks.parse(stack))
    counts = (stacks.gradient_maps if gradient else stacks.overlap_maps)(stack, size)[-1]
    measure = stacks.untrained_gradients if gradient else stacks.untrained_images
    strength = (measure(stack, size, networks, seed=seed) ** 2).mean(axis=0)
    textures = measure(stack, size, networks, seed=seed, flat=True)
    correlation = np.corrcoef(strength.ravel(), counts.ravel())[0, 1]
    _plane(column[0], textures[0], "", cmap="gray", vmin=-3, vmax=3)
    caption = f"counted: {_ratio_text(counts, period)}\ncorrelation with it {correlation:.2f}"
    _plane(column[1], strength, caption, vmin=0, vmax=2.5)
    axes, spectrum = column[2], stacks.power_spectrum(textures)
    axes.imshow(np.log10(spectrum / spectrum.max() + 1e-9), extent=(-0.5, 0.5, 0.5, -0.5), vmin=-4, vmax=0)
    axes.set_xticks([-0.5, -0.25, 0, 0.25], ["-1/2", "-1/4", "0", "1/4"])
    axes.set_yticks([-0.5, -0.25, 0, 0.25], ["-1/2", "-1/4", "0", "1/4"])
    axes.set_xlabel(f"at multiples of 1/{period}\n{stacks.peak(spectrum, period):.0f} x those beside them")


def _run_command(args):
    size = tuple(args.size) if args.size else None
    if args.stack:
        figure = draw_overlap(args.stack, size or ((32, 32) if args.gradient else (8, 8)), args.gradient)
    else:
        figure = draw_spectra(None, size, args.gradient, args.networks, args.seed)
    print(f"wrote {save(figure, args.out)}")


def register(commands) -> None:
    """Add `overlap` to the commands of `minideconv draw`."""
    command = commands.add_parser(
        "overlap", help="predict the checkerboard of a stack of layers, and measure it",
        description=stacks.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="words of a stack: kind and size (t4 transposed convolution, c3 convolution, r2 resize, x2 pixel\n"
               "shuffle), then s stride, p padding, o output padding. Examples:\n"
               "  minideconv draw overlap 't3s2p1o1 t3s2p1o1' --size 8 8 --out map.png\n"
               "  minideconv draw overlap 'c4s2p1 c4s2p1' --gradient --out gradient.svg\n"
               "  minideconv draw overlap --out four_designs.png        (prediction beside measurement)")
    command.add_argument("stack", nargs="?",
                         help="the layers, e.g. 't4s2p1 t4s2p1'; left out: several designs side by side, measured too")
    command.add_argument("--size", nargs=2, type=int, metavar=("H", "W"),
                         help="size of what enters the stack (8 8, or 32 32 with --gradient)")
    command.add_argument("--gradient", action="store_true",
                         help="the gradient that the stack, as a discriminator, sends back to its input")
    command.add_argument("--networks", type=int, default=64,
                         help="how many untrained networks to average over (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of their weights and inputs (%(default)s)")
    command.add_argument("--out", required=True, metavar="FILE", help="the picture, .png or .svg")
    command.set_defaults(run=_run_command)
