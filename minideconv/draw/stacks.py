"""The checkerboard of a stack of layers: predicted by counting who writes each pixel,
and measured in networks that were never trained.

The count of a pixel is the number of paths (one kernel tap per layer) that lead to it from the
input. It is what the stack computes when every weight and every input is 1, so it is found by
running the layers with ones. Where weights are drawn independently with mean 0, the expected
square of an output pixel is proportional to its count: uneven counts are a pattern before any
training, in the same place in every network. For one transposed convolution they are uneven
exactly where the kernel is no multiple of the stride (Odena et al. 2016). Even counts do not
exclude a pattern of one network's own, where its kernels weigh neighbouring pixels differently.

A stack is written in short: "t4s2p1 t4s2p1" is two transposed convolutions of kernel 4, stride 2,
padding 1; see `parse`.
"""
import re

import numpy as np

from .. import functional as F
from .. import nn
from ..tensor import Tensor, grad, no_grad

SLOPE = 0.2                     # of the leaky ReLUs in the networks that are measured
DOUBLINGS = {                   # four ways to double the resolution twice
    "transposed, kernel 3": "t3s2p1o1 t3s2p1o1",
    "transposed, kernel 4": "t4s2p1 t4s2p1",
    "resize, then convolve": "r2 c3p1 r2 c3p1",
    "sub-pixel": "c3p1 x2 c3p1 x2",
}
HALVINGS = {                    # three ways to halve it twice, as a discriminator does
    "strided, kernel 3": "c3s2p1 c3s2p1",
    "strided, kernel 5": "c5s2p2 c5s2p2",
    "strided, kernel 4": "c4s2p1 c4s2p1",
}
MIXERS = (nn.ConvTranspose2d, nn.Conv2d, nn.Upsample, nn.PixelShuffle)       # the layers that move or mix pixels


def parse(stack: str, channels: int = 1, last: int = 1, rng=None) -> list:
    """The layers that a text names, `channels` between them and `last` channels at the end,
    without biases.

    A word is a kind, a size and, where they are not 1, 0, 0, s stride, p padding, o output
    padding: "t4s2p1" is a transposed convolution, "c3p1" a convolution, "r2" a resize that repeats
    pixels, "x2" a pixel shuffle. ValueError for anything else.
    """
    words, layers = stack.replace(",", " ").split(), []
    if not words:
        raise ValueError("stack must name at least one layer, e.g. 't4s2p1'; got an empty text")
    rng = np.random.default_rng(0) if rng is None else rng
    for place, word in enumerate(words):
        found = re.fullmatch(r"([tcrx])([1-9]\d*)(?:s([1-9]\d*))?(?:p(\d+))?(?:o(\d+))?", word)
        if not found or (found[1] in "rx" and any(found.groups()[2:])) or (found[1] == "c" and found[5]):
            raise ValueError("stack must be of words like t4s2p1o0, c3s1p1, r2, x2 (kind, size, s stride, "
                             f"p padding, o output padding); got {word!r}")
        kind, size, stride, padding, extra = found[1], *(int(number or 0) for number in found.groups()[1:])
        stride = stride or 1
        outputs = channels if any(later[0] in "tc" for later in words[place + 1:]) else last
        if place + 1 < len(words) and re.fullmatch(r"x[1-9]\d*", words[place + 1]):
            # The pixel shuffle that follows turns them into resolution.
            outputs *= int(words[place + 1][1:]) ** 2
        if kind == "t":
            layers.append(nn.ConvTranspose2d(channels, outputs, size, stride, padding, extra, bias=False, rng=rng))
        elif kind == "c":
            layers.append(nn.Conv2d(channels, outputs, size, stride, padding, bias=False, rng=rng))
        else:
            layers.append(nn.Upsample(size) if kind == "r" else nn.PixelShuffle(size))
    return layers


def layers_of(network) -> list:
    """The layers of a text or of a Module that move or mix pixels, in order;
    activations, norms and dense layers are left out.
    """
    if isinstance(network, str):
        return parse(network)
    layers = [module for module in network.modules() if type(module) in MIXERS]
    if not layers:
        raise ValueError("network must hold a convolution, a transposed convolution, an Upsample or a PixelShuffle; "
                         f"got {network!r}")
    return layers


def counted(layer, x):
    """What the layer makes of one plane x (1, H, W, 1) with a kernel of ones;
    for shuffle, each channel holds the same plane.
    """
    if isinstance(layer, nn.Upsample):
        return F.upsample(x, layer.scale_factor)
    if isinstance(layer, nn.PixelShuffle):
        return F.upsample(x, layer.r)
    ones = np.ones((*layer.kernel_size, 1, 1))
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, ones, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)
    return F.conv_transpose2d(x, ones, stride=layer.stride, padding=layer.padding,
                              output_padding=layer.output_padding, dilation=layer.dilation)


def overlap_maps(network, size) -> list:
    """How many paths lead to each pixel after each layer, as arrays (H, W),
    for an input of `size` (H, W).
    """
    planes = [Tensor(np.ones((1, *size, 1)))]
    with no_grad():
        for layer in layers_of(network):
            planes.append(counted(layer, planes[-1]))
    return [plane.data[0, :, :, 0] for plane in planes[1:]]


def gradient_maps(network, size) -> list:
    """How many paths lead back from all outputs to each pixel,
    in front of each layer from the last to the first (the image of `size`).
    """
    planes = [Tensor(np.ones((1, *size, 1)), requires_grad=True)]
    for layer in layers_of(network):
        planes.append(counted(layer, planes[-1]))
    found = grad(planes[-1], planes[-2::-1], gradient=np.ones(planes[-1].shape))
    return [g.data[0, :, :, 0] for g in found]


def unevenness(counts, period: int) -> float:
    """The largest count over the smallest in the middle `period` x `period` pixels (or all, where
    there are fewer): 1.0 is even.
    """
    top, left = (max(0, n - period) // 2 for n in counts.shape)
    middle = counts[top:top + period, left:left + period]
    return float(middle.max() / middle.min()) if middle.min() else float("inf")


def period_of(layers) -> int:
    """The product of the strides and factors: how far apart the whole stack's pattern repeats."""
    steps = [np.max(getattr(layer, "stride", getattr(layer, "scale_factor", getattr(layer, "r", 1))))
             for layer in layers]
    return int(np.prod(steps))


# What untrained networks do.

def _run(layers, x):
    """The layers with a leaky ReLU in front of each that has weights,
    so that the result is linear in the last kernel.
    """
    for layer in layers:
        x = layer(F.leaky_relu(x, SLOPE) if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) else x)
    return x


def _measured(one_network, networks: int, seed: int) -> np.ndarray:
    """The planes (N, H, W) that one_network(rng) gives for many networks,
    each network's scaled to mean square 1.
    """
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


def untrained_images(stack: str, size, networks: int = 64, samples: int = 4, channels: int = 16, seed: int = 0,
                     flat: bool = False) -> np.ndarray:
    """Planes (N, H, W) that generators made of the stack give for random
    inputs of `size` before any training.

    flat: each input has one value per channel, everywhere: what is not flat in the image comes
    from the layers.
    """
    def images(rng):
        latent = Tensor(_noise(rng, samples, size, channels, flat))
        with no_grad():
            return _run(parse(stack, channels, 3, rng), latent).data
    return _measured(images, networks, seed)


def untrained_gradients(stack: str, size, networks: int = 64, samples: int = 4, channels: int = 16, seed: int = 0,
                        flat: bool = False) -> np.ndarray:
    """Planes (N, H, W): the gradient for random images of `size` that discriminators made of the
    stack send back before any training.

    flat: the images, and the gradients at the discriminators' end, have one value per channel,
    everywhere.
    """
    def gradients(rng):
        image = Tensor(_noise(rng, samples, size, channels, flat), requires_grad=True)
        features = _run(parse(stack, channels, channels, rng), image)
        from_above = _noise(rng, samples, features.shape[1:3], channels, flat)           # as from a dense layer on top
        return grad(features, image, gradient=from_above)[0].data
    return _measured(gradients, networks, seed)


def power_spectrum(planes) -> np.ndarray:
    """Mean power over the planes (N, H, W) at each frequency, zero in the middle;
    from -1/2 to 1/2 cycles per pixel on both axes.
    """
    planes = planes - planes.mean(axis=(1, 2), keepdims=True)
    return np.fft.fftshift((np.abs(np.fft.fft2(planes)) ** 2).mean(axis=0)) / planes[0].size


def peak(spectrum, period: int) -> float:
    """Mean power at the multiples of 1/period (zero left out),
    as a multiple of the power at the frequencies beside them.

    A pattern that repeats every `period` pixels has all its power there. Height and width must be
    multiples of it.
    """
    height, width = spectrum.shape
    if height % period or width % period:
        raise ValueError(f"spectrum must be of a size that is a multiple of the period {period}; got {spectrum.shape}")
    rows, columns = (np.arange(n) % (n // period) == (n // 2) % (n // period) for n in (height, width))
    comb = np.outer(rows, columns)
    comb[height // 2, width // 2] = False
    around = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right]
    beside = np.mean([np.roll(spectrum, step, axis=(0, 1)) for step in around], axis=0)
    return float(spectrum[comb].mean() / beside[comb].mean())
