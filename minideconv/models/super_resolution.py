"""Twice the resolution, x2: networks that differ only in how they enlarge, and what they have to beat.

    transposed      conv 3x3 C -> 32, LReLU, conv 3x3 32 -> 32, LReLU, tconv 4x4 s2 32 -> C
    sub-pixel       the same up to there, conv 3x3 32 -> 4C, pixel shuffle (Shi et al. 2016)
    icnr            sub-pixel, the four channels of a block starting alike (Aitken et al. 2017)

All their arithmetic is at the low resolution. `bilinear` is a transposed layer whose kernel is given and not learned,
`bicubic` Keys' interpolation, and `halved` makes the small images that all of them start from.
"""
import numpy as np

from .. import nn
from ..tensor import Tensor

FACTOR = 2
SLOPE = 0.2             # of the leaky ReLUs


def _transposed(width, channels, rng) -> list:
    return [nn.ConvTranspose2d(width, channels, 4, FACTOR, 1, rng=rng)]


def _sub_pixel(width, channels, rng) -> list:
    return [nn.Conv2d(width, channels * FACTOR ** 2, 3, 1, "same", rng=rng), nn.PixelShuffle(FACTOR)]


def _icnr(width, channels, rng) -> list:
    convolution, shuffle = _sub_pixel(width, channels, rng)
    fan_in_uniform = 1 / np.sqrt(np.prod(convolution.weight.shape[:3]))             # the layer's own start
    convolution.weight.own(nn.init.icnr(convolution.weight.shape, FACTOR,
                                        lambda shape, rng: nn.init.uniform(shape, fan_in_uniform, rng=rng), rng=rng))
    convolution.bias.own(np.repeat(convolution.bias.array[::FACTOR ** 2], FACTOR ** 2))
    return [convolution, shuffle]


ENLARGE = {"transposed": _transposed, "sub-pixel": _sub_pixel, "icnr": _icnr}


def enlarger(kind: str, channels: int = 1, width: int = 32, *, rng=None) -> nn.Sequential:
    """A network of ENLARGE: images float32 (N, H, W, C) -> (N, 2H, 2W, C), unbounded. ValueError for another kind."""
    if kind not in ENLARGE:
        raise ValueError(f"kind must be one of {', '.join(ENLARGE)}; got {kind!r}")
    rng = nn.init.generator(rng)
    return nn.Sequential(nn.Conv2d(channels, width, 3, 1, "same", rng=rng), nn.LeakyReLU(SLOPE),
                         nn.Conv2d(width, width, 3, 1, "same", rng=rng), nn.LeakyReLU(SLOPE),
                         *ENLARGE[kind](width, channels, rng))


def bilinear(channels: int = 1) -> nn.ConvTranspose2d:
    """The fixed layer: 4x4 stride 2, each channel on its own; outside of the image are zeros (Long et al. 2015)."""
    layer = nn.ConvTranspose2d(channels, channels, 4, FACTOR, 1, bias=False)
    layer.weight = Tensor(nn.init.bilinear((4, 4, channels, channels)))             # asks for no gradient
    return layer


def bicubic(images) -> np.ndarray:
    """Images (N, H, W, C) enlarged twice by Keys' cubic convolution (1981, a = -1/2), floats of the images' dtype.

    Near the border the taps inside of the image count alone, as in Pillow.
    """
    tall = np.einsum("ij,njwc->niwc", _cubic(images.shape[1]), images)
    return np.einsum("ij,nhjc->nhic", _cubic(images.shape[2]), tall).astype(images.dtype)


def _cubic(size: int) -> np.ndarray:
    """The matrix (2 * size, size) of cubic interpolation along one axis, its rows' sums 1."""
    centres = (np.arange(FACTOR * size) + 0.5) / FACTOR - 0.5
    t = np.abs(centres[:, None] - np.arange(size))
    near, far = 1.5 * t ** 3 - 2.5 * t ** 2 + 1, -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2
    weight = np.where(t < 1, near, np.where(t < 2, far, 0))
    return weight / weight.sum(axis=1, keepdims=True)


def halved(images) -> np.ndarray:
    """Means of 2 x 2 pixels, (N, H, W, C) -> (N, H / 2, W / 2, C). ValueError for an odd side."""
    count, height, width, channels = images.shape
    if height % 2 or width % 2:
        raise ValueError(f"images must have an even height and width; got {height} x {width}")
    return images.reshape(count, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
