"""Predicts the checkerboard of a stack of layers by counting who writes each pixel, and measures it in networks that were never trained.

The count of a pixel is the number of paths (one kernel tap per layer) that lead to it from the input. It is what the stack computes
when every weight and every input is 1, so it is found by running the layers with ones. Where weights are drawn independently with
mean 0, the expected square of an output pixel is proportional to its count: uneven counts are a pattern before any training, in the
same place in every network. For one transposed convolution they are uneven exactly where the kernel is no multiple of the stride
(Odena et al. 2016). Even counts do not exclude a pattern of one network's own, where its kernels weigh neighbouring pixels differently.

A stack is written in short: "t4s2p1 t4s2p1" is two transposed convolutions of kernel 4, stride 2, padding 1; see `parse`.
"""
import re

import numpy as np

from .. import functional as F
from .. import nn
from ..tensor import Tensor, grad, no_grad
from .figure import PALETTE, look, new_figure, save

SLOPE = 0.2                     # of the leaky ReLUs in the networks that are measured
DOUBLINGS = {                   # four ways to double the resolution twice
    "transposed, kernel 3": "t3s2p1o1 t3s2p1o1",
    "transposed, kernel 4": "t4s2p1 t4s2p1",
    "resize, then convolve": "r2 c3p1 r2 c3p1",
    "sub-pixel": "c3p1 x2 c3p1 x2",
}
HALVINGS = {                    # three ways to halve it twice: for the gradient that a discriminator sends back
    "strided, kernel 3": "c3s2p1 c3s2p1",
    "strided, kernel 5": "c5s2p2 c5s2p2",
    "strided, kernel 4": "c4s2p1 c4s2p1",
}
WORDS = {nn.ConvTranspose2d: "transposed", nn.Conv2d: "conv", nn.Upsample: "resize", nn.PixelShuffle: "shuffle"}


def parse(stack: str, channels: int = 1, last: int = 1, rng=None) -> list:
    """The layers that a text names, `channels` between them and `last` channels at the end, without biases.

    A word is a kind, a size and, where they are not 1, 0, 0, s stride, p padding, o output padding: "t4s2p1" is a transposed
    convolution, "c3p1" a convolution, "r2" a resize that repeats pixels, "x2" a pixel shuffle. ValueError for anything else.
    """
    words, layers = stack.replace(",", " ").split(), []
    if not words:
        raise ValueError("stack must name at least one layer, e.g. 't4s2p1'; got an empty text")
    rng = np.random.default_rng(0) if rng is None else rng
    for place, word in enumerate(words):
        found = re.fullmatch(r"([tcrx])([1-9]\d*)(?:s([1-9]\d*))?(?:p(\d+))?(?:o(\d+))?", word)
        if not found or (found[1] in "rx" and any(found.groups()[2:])) or (found[1] == "c" and found[5]):
            raise ValueError("stack must be of words like t4s2p1o0, c3s1p1, r2, x2 (kind, size, s stride, p padding, o output padding); "
                             f"got {word!r}")
        kind, size, stride, padding, extra = found[1], int(found[2]), int(found[3] or 1), int(found[4] or 0), int(found[5] or 0)
        outputs = channels if any(later[0] in "tc" for later in words[place + 1:]) else last
        if place + 1 < len(words) and re.fullmatch(r"x[1-9]\d*", words[place + 1]):
            outputs *= int(words[place + 1][1:]) ** 2           # the pixel shuffle that follows turns them into resolution
        if kind == "t":
            layers.append(nn.ConvTranspose2d(channels, outputs, size, stride, padding, extra, bias=False, rng=rng))
        elif kind == "c":
            layers.append(nn.Conv2d(channels, outputs, size, stride, padding, bias=False, rng=rng))
        else:
            layers.append(nn.Upsample(size) if kind == "r" else nn.PixelShuffle(size))
    return layers


def layers_of(network) -> list:
    """The layers of a text or of a Module that move or mix pixels, in order; activations, norms and dense layers are left out."""
    if isinstance(network, str):
        return parse(network)
    layers = [module for module in network.modules() if type(module) in WORDS]
    if not layers:
        raise ValueError(f"network must hold a convolution, a transposed convolution, an Upsample or a PixelShuffle; got {network!r}")
    return layers


def counted(layer, x):
    """What the layer makes of one plane x (1, H, W, 1) with a kernel of ones; for shuffle, each channel holds the same plane."""
    if isinstance(layer, nn.Upsample):
        return F.upsample(x, layer.scale_factor)
    if isinstance(layer, nn.PixelShuffle):
        return F.upsample(x, layer.r)
    ones = np.ones((*layer.kernel_size, 1, 1))
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, ones, None, layer.stride, layer.padding, layer.dilation)
    return F.conv_transpose2d(x, ones, None, layer.stride, layer.padding, layer.output_padding, layer.dilation)


def overlap_maps(network, size) -> list:
    """How many paths lead to each pixel after each layer, as arrays (H, W), for an input of `size` (H, W)."""
    planes = [Tensor(np.ones((1, *size, 1)))]
    with no_grad():
        for layer in layers_of(network):
            planes.append(counted(layer, planes[-1]))
    return [plane.data[0, :, :, 0] for plane in planes[1:]]


def gradient_maps(network, size) -> list:
    """How many paths lead back from all outputs to each pixel, in front of each layer from the last to the first (the image of `size`)."""
    planes = [Tensor(np.ones((1, *size, 1)), requires_grad=True)]
    for layer in layers_of(network):
        planes.append(counted(layer, planes[-1]))
    found = grad(planes[-1], planes[-2::-1], gradient=np.ones(planes[-1].shape))
    return [g.data[0, :, :, 0] for g in found]


def unevenness(counts, period: int) -> float:
    """The largest count over the smallest in the middle `period` x `period` pixels (or all, where there are fewer): 1.0 is even."""
    top, left = (max(0, n - period) // 2 for n in counts.shape)
    middle = counts[top:top + period, left:left + period]
    return float(middle.max() / middle.min()) if middle.min() else float("inf")


# What untrained networks do.

def _run(layers, x):
    """The layers with a leaky ReLU in front of each that has weights, so that the result is linear in the last kernel."""
    for layer in layers:
        x = layer(F.leaky_relu(x, SLOPE) if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else x)
    return x


def _measured(one_network, networks: int, seed: int) -> np.ndarray:
    """The planes (N, H, W) that one_network(rng) gives for many networks, each network's scaled to mean square 1."""
    if networks < 1:
        raise ValueError(f"networks must be at least 1; got {networks}")
    planes = []
    for child in np.random.SeedSequence(seed).spawn(networks):
        images = one_network(np.random.default_rng(child))
        planes.append(images.transpose(0, 3, 1, 2).reshape(-1, *images.shape[1:3]) / np.sqrt(np.mean(images ** 2)))
    return np.concatenate(planes)


def _noise(rng, samples, size, channels, flat) -> np.ndarray:
    """Gaussian noise (samples, *size, channels), or the same value everywhere in a plane."""
    noise = rng.standard_normal((samples, *((1, 1) if flat else size), channels), np.float32)
    return np.ascontiguousarray(np.broadcast_to(noise, (samples, *size, channels)))


def untrained_images(stack: str, size, networks: int = 64, samples: int = 4, channels: int = 16, seed: int = 0, flat: bool = False) -> np.ndarray:
    """Planes (N, H, W) that generators made of the stack give for random inputs of `size` before any training.

    flat: each input has one value per channel, everywhere: what is not flat in the image comes from the layers.
    """
    def images(rng):
        latent = Tensor(_noise(rng, samples, size, channels, flat))
        with no_grad():
            return _run(parse(stack, channels, 3, rng), latent).data
    return _measured(images, networks, seed)


def untrained_gradients(stack: str, size, networks: int = 64, samples: int = 4, channels: int = 16, seed: int = 0, flat: bool = False) -> np.ndarray:
    """Planes (N, H, W): the gradient for random images of `size` that discriminators made of the stack send back before any training.

    flat: the images, and the gradients at the discriminators' end, have one value per channel, everywhere.
    """
    def gradients(rng):
        image = Tensor(_noise(rng, samples, size, channels, flat), requires_grad=True)
        features = _run(parse(stack, channels, channels, rng), image)
        from_above = _noise(rng, samples, features.shape[1:3], channels, flat)           # as from a dense layer on top
        return grad(features, image, gradient=from_above)[0].data
    return _measured(gradients, networks, seed)


def power_spectrum(planes) -> np.ndarray:
    """Mean power over the planes (N, H, W) at each frequency, zero in the middle; from -1/2 to 1/2 cycles per pixel on both axes."""
    planes = planes - planes.mean(axis=(1, 2), keepdims=True)
    return np.fft.fftshift((np.abs(np.fft.fft2(planes)) ** 2).mean(axis=0)) / planes[0].size


def peak(spectrum, period: int) -> float:
    """Mean power at the multiples of 1/period (zero left out), as a multiple of the power at the frequencies beside them.

    A pattern that repeats every `period` pixels has all its power there. Height and width must be multiples of it.
    """
    height, width = spectrum.shape
    if height % period or width % period:
        raise ValueError(f"spectrum must be of a size that is a multiple of the period {period}; got {spectrum.shape}")
    rows, columns = (np.arange(n) % (n // period) == (n // 2) % (n // period) for n in (height, width))
    comb = np.outer(rows, columns)
    comb[height // 2, width // 2] = False
    beside = np.mean([np.roll(spectrum, (down, right), axis=(0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right], axis=0)
    return float(spectrum[comb].mean() / beside[comb].mean())


# Pictures.

def _plane(axes, values, caption, numbers=None, **style):
    """One plane of numbers as squares, without ticks; `numbers` is how they are written into the squares where there are few."""
    image = axes.imshow(values, **style)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(caption)
    if numbers and max(values.shape) <= 18:
        middle = (values.max() + values.min()) / 2
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, numbers.format(value), ha="center", va="center", fontsize=6.5, color="black" if value > middle else "white")
    return image


def _ratio_text(counts, period) -> str:
    ratio = unevenness(counts, period)
    return "even inside" if ratio == 1 else f"uneven: most / fewest = {ratio:.3g}"


def _period(layers) -> int:
    """The product of the strides and factors: how far apart the pattern of the whole stack repeats."""
    steps = [np.max(getattr(layer, "stride", getattr(layer, "scale_factor", getattr(layer, "r", 1)))) for layer in layers]
    return int(np.prod(steps))


@look
def draw_overlap(network, size, gradient: bool = False):
    """A Figure: the paths that write each pixel after each layer, as a map and as its middle row.

    network: a text such as "t3s2p1o1 t3s2p1o1" (see `parse`) or a Module. size (H, W): of what enters it. gradient: instead, the
    paths that lead back from the outputs to each pixel: the pattern in the gradient that a discriminator sends to its image.
    """
    layers = layers_of(network)
    maps = gradient_maps(network, size) if gradient else overlap_maps(network, size)
    names = [WORDS[type(layer)] + _settings(layer) for layer in (layers[::-1] if gradient else layers)]
    title = "Paths back to each pixel: the gradient's checkerboard" if gradient else "Paths that write each pixel: the checkerboard before training"
    figure = new_figure(max(4.6, 3.3 * len(maps)), 4.9, title)
    upper, lower = figure.subplots(2, len(maps), squeeze=False, height_ratios=(2.6, 1))
    places = range(len(layers))
    periods = [_period(layers[place:]) for place in reversed(places)] if gradient else [_period(layers[:place + 1]) for place in places]
    for top, bottom, counts, name, period in zip(upper, lower, maps, names, periods, strict=True):
        _plane(top, counts, f"{counts.shape[0]} x {counts.shape[1]}; {_ratio_text(counts, period)}", "{:.0f}", vmin=0)
        top.set_title(f"{'before' if gradient else 'after'} {name}")
        bottom.step(np.arange(counts.shape[1]), counts[counts.shape[0] // 2], where="mid", color=PALETTE["dark"], linewidth=1.2)
        bottom.set_ylim(0, None)
        bottom.set_xlabel("column, in the middle row")
        bottom.locator_params(integer=True)
    lower[0].set_ylabel("paths")
    return figure


def _settings(layer) -> str:
    if isinstance(layer, (nn.Upsample, nn.PixelShuffle)):
        return f" x{getattr(layer, 'scale_factor', getattr(layer, 'r', None))}"
    return f" {layer.kernel_size[0]}x{layer.kernel_size[1]}, stride {layer.stride[0]}"


@look
def draw_spectra(designs=None, size=None, gradient: bool = False, networks: int = 64, seed: int = 0):
    """A Figure: for each design, the predicted counts beside what `networks` untrained networks do: strength, the texture
    they make of an input that has none, and the log power spectrum. Peaks at multiples of 1 / stride are a checkerboard.

    designs: name -> stack (texts, see `parse`); by default four generators that double a picture twice, or with gradient=True three
    discriminators that halve it twice. size (H, W) of the input: by default (8, 8) and (32, 32).
    """
    designs = designs or (HALVINGS if gradient else DOUBLINGS)
    size = size or ((32, 32) if gradient else (8, 8))
    what = "Gradients from discriminators" if gradient else "Images from generators"
    figure = new_figure(2.45 * len(designs) + 0.5, 9.7, f"{what} that were never trained ({networks} networks each)")
    rows = figure.subplots(4, len(designs), squeeze=False)
    for column, (name, stack) in zip(rows.T, designs.items(), strict=True):
        period = _period(parse(stack))
        counts = (gradient_maps if gradient else overlap_maps)(stack, size)[-1]
        measure = untrained_gradients if gradient else untrained_images
        planes, texture = measure(stack, size, networks, seed=seed), measure(stack, size, networks=1, samples=1, seed=seed, flat=True)[0]
        strength = (planes ** 2).mean(axis=0)
        spectrum = power_spectrum(planes ** 2 if gradient else planes)
        _plane(column[0], counts / counts.mean(), _ratio_text(counts, period), vmin=0, vmax=2.5)
        _plane(column[1], strength, f"correlation with the prediction {np.corrcoef(strength.ravel(), counts.ravel())[0, 1]:.2f}", vmin=0, vmax=2.5)
        _plane(column[2], texture, "", cmap="gray", vmin=-3, vmax=3)
        axes = column[3]
        axes.imshow(np.log10(spectrum / np.median(spectrum)), extent=(-0.5, 0.5, 0.5, -0.5), vmin=-1, vmax=2)
        axes.set_xticks([-0.5, -0.25, 0, 0.25], ["-1/2", "-1/4", "0", "1/4"])
        axes.set_yticks([-0.5, -0.25, 0, 0.25], ["-1/2", "-1/4", "0", "1/4"])
        axes.set_xlabel(f"power at multiples of 1/{period}:\n{peak(spectrum, period):.1f} x those beside them")
        column[0].set_title(f"{name}\n{stack}")
    texts = ("predicted:\npaths per pixel / mean", "measured:\nmean square per pixel", "one network, flat input:\nits own texture",
             f"log power spectrum{' of squares' if gradient else ''}\n(cycles per pixel)")
    for axes, text in zip(rows[:, 0], texts, strict=True):
        axes.set_ylabel(text)
    return figure


def _run_command(args):
    size = tuple(args.size) if args.size else None
    if args.stack:
        figure = draw_overlap(args.stack, size or ((32, 32) if args.gradient else (8, 8)), args.gradient)
    else:
        figure = draw_spectra(None, size, args.gradient, args.networks, args.seed)
    print(f"wrote {save(figure, args.out)}")


def register(commands) -> None:
    """Add `overlap` to the commands of `minideconv draw`."""
    import argparse
    command = commands.add_parser("overlap", help="predict the checkerboard of a stack of layers, and measure it", description=__doc__,
                                  formatter_class=argparse.RawDescriptionHelpFormatter,
                                  epilog="words of a stack: kind and size (t4 transposed convolution, c3 convolution, r2 resize, x2 pixel\n"
                                         "shuffle), then s stride, p padding, o output padding. Examples:\n"
                                         "  minideconv draw overlap 't3s2p1o1 t3s2p1o1' --size 8 8 --out map.png\n"
                                         "  minideconv draw overlap 'c4s2p1 c4s2p1' --gradient --out gradient.svg\n"
                                         "  minideconv draw overlap --out four_designs.png        (prediction beside measurement)")
    command.add_argument("stack", nargs="?", help="the layers, e.g. 't4s2p1 t4s2p1'; left out: several designs side by side, measured too")
    command.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="size of what enters the stack (8 8, or 32 32 with --gradient)")
    command.add_argument("--gradient", action="store_true", help="the gradient that the stack, as a discriminator, sends back to its input")
    command.add_argument("--networks", type=int, default=64, help="how many untrained networks to average over (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of their weights and inputs (%(default)s)")
    command.add_argument("--out", required=True, metavar="FILE", help="the picture, .png or .svg")
    command.set_defaults(run=_run_command)
