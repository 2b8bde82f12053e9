"""Networks without convolutions: Goodfellow's for images, PacGAN's for points in the plane.

    images   G: z (100,) -> 1200 -> 1200 -> pixels, ReLU between, sigmoid   D: maxout 240 x 5, 240 x 5 -> 1, dropout
    points   G: z (2,) -> 400 -> 400 -> 400 -> 400 -> 2, BN and ReLU        D: maxout 200 x 5, three of them -> 1
    grid     G: the same from a square of latents, -> times 2.83            D: points / 2.83 -> the same

A maxout unit is the largest of a few linear functions (Goodfellow et al. 2013): it bends where it
wants to.
"""
import numpy as np

from .. import nn
from .dcgan import join

SPREAD = 2 * 2 ** 0.5           # of the grid's modes, a standard deviation along each axis


class Maxout(nn.Module):
    """(N, in) -> (N, out): each output is the largest of `pieces` linear functions of the inputs.
    """

    def __init__(self, in_features, out_features, pieces=5, *, rng=None):
        self.pieces = pieces
        self.linear = nn.Linear(in_features, out_features * pieces, rng=rng)

    def forward(self, x):
        y = self.linear(x)
        return y.reshape(len(y), self.pieces, -1).max(axis=1)           # along rows: quick


class Generator(nn.Module):
    """Latents z (N, latent), uniform with variance 1, and labels -> images (N, H, W, C) in [0, 1].

    Goodfellow et al. 2014, as their code has it for MNIST; `width` counts in twentieths of the two
    hidden layers, so that 60 is theirs.
    """
    uniform = 3 ** 0.5

    def __init__(self, image_shape, latent=100, width=60, classes=0, *, rng=None):
        self.latent, self.classes, hidden = latent, classes, 20 * width
        self.layers = nn.Sequential(
            nn.Linear(latent + classes, hidden, rng=rng), nn.ReLU(), nn.Linear(hidden, hidden, rng=rng), nn.ReLU(),
            nn.Linear(hidden, int(np.prod(image_shape)), rng=rng), nn.Sigmoid(), nn.Reshape(*image_shape))

    def forward(self, z, labels=None):
        return self.layers(join(z, labels, self.classes))


class Discriminator(nn.Module):
    """Images (N, H, W, C), and labels -> logits (N, 1); 4 * width maxout units of 5 pieces in each
    of two layers.

    Dropout takes a fifth of the pixels and half of the units, as in the paper's code.
    """
    apart = True                        # it judges each image on its own

    def __init__(self, image_shape, width=60, classes=0, *, rng=None):
        self.classes, units, rng = classes, 4 * width, nn.init.generator(rng)
        self.layers = nn.Sequential(
            nn.Dropout(0.2, rng=rng), Maxout(int(np.prod(image_shape)) + classes, units, rng=rng),
            nn.Dropout(0.5, rng=rng), Maxout(units, units, rng=rng),
            nn.Dropout(0.5, rng=rng), nn.Linear(units, 1, rng=rng))

    def forward(self, images, labels=None):
        return self.layers(join(images.reshape(len(images), -1), labels, self.classes))


class PointGenerator(nn.Module):
    """Latents z (N, latent), and labels -> points (N, 2); four hidden layers of `width` (Lin et al.
    2018, appendix).
    """
    uniform = None                      # the latents are from N(0, 1)

    def __init__(self, shape, latent=2, width=400, classes=0, *, rng=None):
        self.latent, self.classes, layers, inputs = latent, classes, [], latent + classes
        for _ in range(4):
            layers += [nn.Linear(inputs, width, bias=False, rng=rng), nn.BatchNorm2d(width), nn.LeakyReLU(0.0)]
            inputs = width
        self.layers = nn.Sequential(*layers, nn.Linear(width, shape[0], rng=rng))

    def forward(self, z, labels=None):
        return self.layers(join(z, labels, self.classes))


class PointDiscriminator(nn.Module):
    """Points (N, 2), or packs of them, and labels -> logits (N, 1); three layers of `width` / 2
    maxout units.
    """
    apart = True                        # it judges each image on its own

    def __init__(self, shape, width=400, classes=0, *, rng=None):
        self.classes, layers, inputs = classes, [], shape[0] + classes
        for _ in range(3):
            layers += [Maxout(inputs, width // 2, rng=rng)]
            inputs = width // 2
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, 1, rng=rng))

    def forward(self, points, labels=None):
        return self.layers(join(points, labels, self.classes))


def _times(factors) -> nn.Linear:
    """A layer that multiplies each feature by a number of its own. These are not trained."""
    layer = nn.Linear(len(factors), len(factors), bias=False)
    layer.weight.own(np.diag(np.asarray(factors, np.float32)))
    layer.weight.requires_grad = False
    return layer


class GridGenerator(PointGenerator):
    """A PointGenerator for modes that are far apart: it works in units of their spread, and tears a
    square of latents into a square of modes.
    """
    uniform = 3 ** 0.5                  # variance 1

    def __init__(self, shape, latent=2, width=400, classes=0, *, rng=None):
        super().__init__(shape, latent, width, classes, rng=rng)
        self.layers = nn.Sequential(*self.layers.layers, _times([SPREAD] * shape[0]))


class GridDiscriminator(PointDiscriminator):
    """A PointDiscriminator that works in units of the modes' spread."""

    def __init__(self, shape, width=400, classes=0, *, rng=None):
        super().__init__(shape, width, classes, rng=rng)
        self.layers = nn.Sequential(_times([1 / SPREAD] * shape[0] + [1] * classes), *self.layers.layers)
