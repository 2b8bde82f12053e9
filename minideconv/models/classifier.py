"""A small convolutional classifier, with max pooling: an encoder that others can use, and a head of one dense layer.

For 28x28x1 images and width 16: conv 5x5 -> 16, pool, ReLU -> conv 3x3 -> 32, pool, ReLU -> conv 3x3 -> 64, pool,
ReLU -> 576 features -> 10 logits; 29,322 parameters. Pooling comes before the ReLU, which gives the same numbers (the
largest of max(a, 0) is max(largest a, 0)), leaves a quarter of the work, and gives the deconvnet a switch in windows
where no number is above 0, too.

One that has learned MNIST's digits comes with the package (classifier.npz, 120 kB): the lines at the top of
train/supervised.py made it in 75 seconds of one core, and it reads 99.31 % of the test images right.
"""
import functools
from pathlib import Path

import numpy as np

from .. import nn

SHIPPED = Path(__file__).with_name("classifier.npz")


class Classifier(nn.Module):
    """Images (N, H, W, C) in [0, 1] -> logits (N, classes).

    encoder: images -> features (N, F), F = `features`. head: features -> logits. width: channels of the first layer;
    the others have twice and four times as many. Raises ValueError for images smaller than 8x8.
    """

    def __init__(self, image_shape=(28, 28, 1), classes: int = 10, width: int = 16, *, rng=None):
        height, breadth, channels = image_shape
        if min(height, breadth) < 8:
            raise ValueError(f"image_shape must be at least 8x8, which is halved three times; got {image_shape}")
        rng = nn.init.generator(rng)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 5, 1, "same", rng=rng), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 1, "same", rng=rng), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(2 * width, 4 * width, 3, 1, "same", rng=rng), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten())
        self.features = (height // 8) * (breadth // 8) * 4 * width
        self.head = nn.Linear(self.features, classes, rng=rng)
        for layer in (*self.encoder.layers[::3][:3], self.head):
            layer.weight.own(nn.init.he_normal(layer.weight.shape, rng=rng))
            layer.bias.own(np.zeros_like(layer.bias.array))

    def forward(self, images):
        return self.head(self.encoder(images))


@functools.lru_cache(maxsize=1)
def shipped() -> Classifier:
    """The classifier of MNIST's digits that comes with the package, in evaluation mode; the same object at every call.
    """
    classifier = Classifier(rng=np.random.default_rng(0))
    classifier.load(SHIPPED)
    return classifier.eval()


def filters(classifier: Classifier) -> np.ndarray:
    """The first layer's kernels as images (O, KH, KW, 1 or 3) in [0, 1], grey for 0."""
    kernels = classifier.encoder.layers[0].weight.data.transpose(3, 0, 1, 2)          # (O, KH, KW, C)
    if kernels.shape[-1] not in (1, 3):
        kernels = kernels.mean(axis=-1, keepdims=True)
    return 0.5 + kernels / (2 * np.abs(kernels).max() or 1)
