"""Networks that hear the label in every layer: what the default trains.

    generator      [z (64,), label] -> Linear 7x7x128, BN, LReLU -> [label] tconv 4x4 s2 -> 64, BN, LReLU
                   -> [label] tconv 4x4 s2 -> 1, sigmoid
    discriminator  conv 4x4 s2 -> 64, LReLU -> conv 4x4 s2 -> 128, LReLU -> Linear 256, LReLU = h
                   -> <weight, h> + bias + <embedding(label), h>, a logit

for 28x28x1 images; others have more stages. Labels join the generator as one-hot maps. The
discriminator only compares: its logit is a projection on the label's embedding (Miyato and Koyama
2018), and it has no batch norm, whose statistics would tie the images of a batch together under a
penalty on the slopes at each of them. All weights begin at a size that fits their fan-in
(the transposed ones as in PyTorch). Without labels (classes 0) the same networks hear nothing.
"""
import numpy as np

from .. import nn
from ..tensor import parameter
from .dcgan import join, plan

HIDDEN = 256            # features that the discriminator compares


class Generator(nn.Module):
    """Latents z (N, latent), and labels (N,) where classes > 0 -> images (N, H, W, C) in [0, 1].

    image_shape: (H, W, C). width: channels of the layer nearest to the image. ValueError for sizes
    that `stages` refuses.
    """
    uniform = None                      # the latents are from N(0, 1)

    def __init__(self, image_shape, latent=64, width=64, classes=0, *, rng=None):
        base, widths = plan(image_shape, width)
        self.latent, self.classes = latent, classes
        self.start = nn.Sequential(nn.Linear(latent + classes, int(np.prod(base)), bias=False, rng=rng),
                                   nn.Reshape(*base), nn.BatchNorm2d(base[2]), nn.LeakyReLU(0.2))
        self.stages = [nn.Sequential(nn.ConvTranspose2d(wide + classes, narrow, 4, 2, 1, bias=False, rng=rng),
                                     nn.BatchNorm2d(narrow), nn.LeakyReLU(0.2))
                       for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True)]
        self.image = nn.Sequential(nn.ConvTranspose2d(widths[0] + classes, image_shape[2], 4, 2, 1, rng=rng),
                                   nn.Sigmoid())

        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):      # PyTorch's start: larger where few channels come out
                taps_out = np.prod(module.weight.shape[:3])
                module.weight.own(nn.init.uniform(module.weight.shape, float(taps_out) ** -0.5, rng=rng))

    def forward(self, z, labels=None):
        x = self.start(join(z, labels, self.classes))
        for stage in self.stages:
            x = stage(join(x, labels, self.classes))
        return self.image(join(x, labels, self.classes))


class Embedding(nn.Module):
    """A row of `weight` (classes, features) for each label: (N,) -> (N, features), from U(-a, a), a
    = 1/sqrt(features).
    """

    def __init__(self, classes, features, *, rng=None):
        self.weight = parameter(nn.init.uniform((classes, features), features ** -0.5, rng=rng))

    def forward(self, labels):
        return self.weight[np.asarray(labels)]


class Discriminator(nn.Module):
    """Images (N, H, W, C), and labels (N,) where classes > 0 -> logits (N, 1), positive for "real".

    image_shape, width and errors: as the Generator's.
    """
    apart = True                        # it judges each image on its own

    def __init__(self, image_shape, width=64, classes=0, *, rng=None):
        base, widths = plan(image_shape, width)
        self.classes, layers = classes, []
        for narrow, wide in zip([image_shape[2], *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, rng=rng), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(int(np.prod(base)), HIDDEN, rng=rng),
                                      nn.LeakyReLU(0.2))
        self.answer = nn.Linear(HIDDEN, 1, rng=rng)
        self.embedding = Embedding(classes, HIDDEN, rng=rng) if classes else None

    def forward(self, images, labels=None):
        h = self.features(images)                                           # (N, HIDDEN)
        if self.embedding is None:
            return self.answer(h)
        return self.answer(h) + (self.embedding(labels) * h).sum(axis=1, keepdims=True)
