"""The image-to-image pair for 256x256x3: a generator whose input is an image, and the discriminator that judges it.

    generator      conv 4x4 s2 3 -> 64, tconv 4x4 s2 64 -> 64, conv 4x4 s2 64 -> 32, tconv 4x4 s2 32 -> 32, with
                   LReLU 0.2 after each, conv 4x4 s1 32 -> 3                     119,491 parameters, 2.03 GMAC an image
    discriminator  conv 4x4 s2 3 -> 64 -> 128 -> 256 -> 512, with LReLU 0.2 after each, Flatten, Linear 1, sigmoid
                                                                               2,887,617 parameters, 1.66 GMAC an image

Every layer is "same". At stride 2 a 4x4 kernel then pads an even side by (1, 1), and at stride 1 by (1, 2): one pixel
before and two after, so the last layer of the generator is not symmetric.

The generator has no latent, so there is nothing to sample from it, and its output is unbounded. It goes down and up
twice and never below half of the size, so that a pixel of its output depends on no more than 14 x 14 pixels of its
input: it can change colours and textures, and move nothing far.
"""
import numpy as np

from .. import functional as F
from .. import nn
from ..tensor import Tensor

SHAPE = (256, 256, 3)
SLOPE = 0.2             # of the leaky ReLUs
WIDTHS = (64, 128, 256, 512)


def _checked(image_shape, multiple: int) -> tuple:
    """image_shape as (H, W, C). ValueError unless both sides are positive multiples of `multiple`."""
    shape = tuple(image_shape)
    if len(shape) != 3 or min(shape) < 1 or shape[0] % multiple or shape[1] % multiple:
        raise ValueError(f"image_shape must be (H, W, C) with H and W multiples of {multiple}; got {shape}")
    return shape


def _stack(*layers) -> list:
    """The layers with a leaky ReLU after each."""
    return [part for layer in layers for part in (layer, nn.LeakyReLU(SLOPE))]


def he_start(network, rng) -> None:
    """Kernels from N(0, 2 / ((1 + slope^2) * n)), n the numbers that an output sums (He et al. 2015), so that signals
    keep their size from layer to layer; biases stay as they are drawn.

    An output of a transposed layer sums the taps of every stride-th row and column only: n is fan_in / stride^2.
    """
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            transposed = isinstance(part, nn.ConvTranspose2d)
            weight = nn.init.he_normal(part.weight.shape, SLOPE, transposed=transposed, rng=rng)
            part.weight.own(weight * np.float32(part.stride[0] if transposed else 1))


class Generator(nn.Module):
    """Images float32 (N, H, W, C) -> images float32 (N, H, W, C), unbounded.

    image_shape: (H, W, C), both sides multiples of 4 (ValueError); the parameters depend on C only. rng: draws the
    weights. Raises ValueError for images of another number of channels.
    """

    def __init__(self, image_shape=SHAPE, *, rng=None):
        channels = _checked(image_shape, 4)[2]
        self.layers = nn.Sequential(
            *_stack(nn.Conv2d(channels, 64, 4, 2, "same", rng=rng),             # (N, H/2, W/2, 64)
                    nn.ConvTranspose2d(64, 64, 4, 2, "same", rng=rng),          # (N, H, W, 64)
                    nn.Conv2d(64, 32, 4, 2, "same", rng=rng),                   # (N, H/2, W/2, 32)
                    nn.ConvTranspose2d(32, 32, 4, 2, "same", rng=rng)),         # (N, H, W, 32)
            nn.Conv2d(32, channels, 4, 1, "same", rng=rng))                     # (N, H, W, C)
        he_start(self, rng)

    def forward(self, images):
        return self.layers(images)


class Discriminator(nn.Module):
    """Images float32 (N, H, W, C) -> logits float32 (N, 1), positive for "real".

    The sigmoid of the last layer is part of the loss (functional.binary_cross_entropy_with_logits), where it cannot
    overflow; `probabilities` applies it. image_shape: (H, W, C), both sides multiples of 16 (ValueError); Linear has a
    weight for each place of the last map. Raises ValueError for images of another shape.
    """

    def __init__(self, image_shape=SHAPE, *, rng=None):
        height, width, channels = _checked(image_shape, 16)
        narrow = (channels, *WIDTHS[:-1])
        self.layers = nn.Sequential(
            *_stack(*(nn.Conv2d(one, other, 4, 2, "same", rng=rng) for one, other in zip(narrow, WIDTHS, strict=True))),
            nn.Flatten(), nn.Linear(int(np.prod((height // 16, width // 16, WIDTHS[-1]))), 1, rng=rng))
        he_start(self, rng)

    def forward(self, images):
        return self.layers(images)

    def probabilities(self, images) -> Tensor:
        """How probable it is that each image is real, float32 (N, 1): the sigmoid of the logits."""
        return F.sigmoid(self(images))
