"""Which networks a configuration means."""
import numpy as np

from ..models import conditional, dcgan, mlp, spectral
from ..nn import Module

# Name -> (generator, discriminator). Called as generator(image_shape, latent, width, classes,
# rng=...) and discriminator(image_shape, width, classes, rng=...).
NETWORKS = {
    "conditional": (conditional.Generator, conditional.Discriminator),
    "dcgan": (dcgan.Generator, dcgan.Discriminator),
    "radford": (dcgan.RadfordGenerator, dcgan.RadfordDiscriminator),
    "mlp": (mlp.Generator, mlp.Discriminator),
    "points": (mlp.PointGenerator, mlp.PointDiscriminator),
    "grid": (mlp.GridGenerator, mlp.GridDiscriminator),
}
OF_POINTS = "points", "grid"            # all others are for images


def build_generator(config, rng) -> Module:
    """The generator of a Config, with fresh weights from rng. It has `latent`, how many numbers an
    image is made from, `uniform`, what they are drawn from, and `classes`, of how many labels it is told.
    """
    return NETWORKS[config.networks][0](config.image_shape, config.latent, config.width, config.classes, rng=rng)


def build_discriminator(config, rng) -> Module:
    """The discriminator of a Config; with packing it sees that many images at once, joined on
    channels. The penalty "spectral" is in its layers.
    """
    shape = (*config.image_shape[:-1], config.image_shape[-1] * config.packing)
    network = NETWORKS[config.networks][1](shape, config.width, config.classes, rng=rng)
    return spectral.normalise(network, rng=rng) if config.penalty == "spectral" else network


def draw_latents(generator, count: int, rng: np.random.Generator) -> np.ndarray:
    """Latents float32 (count, latent) from what the generator is trained on: U(-a, a), a = its
    `uniform`, or N(0, 1) where that is None.
    """
    if generator.uniform is None:
        return rng.standard_normal((count, generator.latent), np.float32)
    return np.float32(generator.uniform) * (2 * rng.random((count, generator.latent), np.float32) - 1)
