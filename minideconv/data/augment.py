"""Move images by whole pixels: more data from few, if the task does not mind where a thing stands; or blur them.

In a GAN real and fake images alike have to be moved before D sees them, or G learns to make moved ones; and G's
gradient has to come back through the move. Shifting is linear, and its transpose is shifting back.
"""
import functools
from numbers import Real

import numpy as np

from .. import kernels
from ..primitives import primitive
from ..tensor import Tensor


@primitive
def _shift(x, *, offsets):
    return _moved(x.array, offsets), lambda g: _shift(g, offsets=-offsets)


def shift(images, offsets):
    """Return images (N, H, W, C) moved by whole pixels, zeros moved in and what leaves lost, in their own dtype.

    images: a Tensor (the result is one, with a gradient) or an array (the result is an array).
    offsets: integers (N, 2), for each image how far down and how far to the right; negative ones go up and left.
    Raises TypeError for other types, ValueError for other shapes.
    """
    if not isinstance(images, Tensor) and (not isinstance(images, np.ndarray) or isinstance(images, np.ma.MaskedArray)):
        raise TypeError(f"images must be a Tensor or a plain array, got {type(images).__name__}")
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N, H, W, C), got {images.shape}")
    offsets = np.array(offsets)         # a copy: the tape keeps it
    if offsets.dtype.kind not in "iu":
        raise TypeError(f"offsets must be whole pixels, integers, got {offsets.dtype}")
    if offsets.shape != (len(images), 2):
        raise ValueError(f"offsets must have the shape {(len(images), 2)}, got {offsets.shape}")
    offsets = offsets.astype(np.int64)  # unsigned ones could not be negated
    return _shift(images, offsets=offsets) if isinstance(images, Tensor) else _moved(images, offsets)


def random_shift(images, most: int, rng: np.random.Generator):
    """Return images (N, H, W, C), each moved by up to `most` pixels down or up and right or left, all equally likely.

    A Tensor gives a Tensor with a gradient, an array an array, as in `shift`. most: an integer >= 0.
    """
    if isinstance(most, bool) or not isinstance(most, (int, np.integer)):
        raise TypeError(f"most must be an integer, how many pixels, got {most!r}")
    if most < 0:
        raise ValueError(f"most must be at least 0 pixels, got {most}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a np.random.Generator, got {type(rng).__name__}")
    return shift(images, rng.integers(-most, most, size=(len(images), 2), endpoint=True))


def gaussian_blur(images: np.ndarray, sigma: float) -> np.ndarray:
    """Return images (N, H, W, C), float32 or float64, blurred by a Gaussian of standard deviation `sigma` > 0 pixels.

    A pixel is a mean of those of its image, weighted by exp(-distance**2 / (2 * sigma**2)). Raises TypeError for other
    types, ValueError for other shapes and sigmas.
    """
    if not isinstance(images, np.ndarray) or images.dtype.kind != "f":
        raise TypeError(f"images must be an array of floats, got {getattr(images, 'dtype', type(images).__name__)}")
    if images.ndim != 4:
        raise ValueError(f"images must have the shape (N, H, W, C), got {images.shape}")
    if isinstance(sigma, bool) or not isinstance(sigma, Real):
        raise TypeError(f"sigma must be a number of pixels, got {sigma!r}")
    if not 0 < sigma < np.inf:
        raise ValueError(f"sigma must be above 0 pixels, and finite; got {sigma}")
    (count, height, width, channels), matmul = images.shape, kernels.active().matmul
    down, across = (_weights(size, float(sigma)).astype(images.dtype) for size in (height, width))
    rows = matmul(down, images.reshape(count, height, width * channels))
    return matmul(across, rows.reshape(count * height, width, channels)).reshape(images.shape)


@functools.lru_cache(maxsize=8)
def _weights(size: int, sigma: float) -> np.ndarray:
    """The blur of a line of pixels as a matrix (size, size): row i has the weights of pixel i's mean."""
    distances = np.subtract.outer(np.arange(size), np.arange(size))
    weights = np.exp(-distances ** 2 / (2 * sigma ** 2))
    return weights / weights.sum(axis=1, keepdims=True)


def _moved(images, offsets):
    moved = np.zeros(images.shape, images.dtype.newbyteorder("="))
    height, width = images.shape[1:3]
    size = np.array((height, width))
    for image, target, offset in zip(images, moved, np.clip(offsets, -size, size), strict=True):
        down, right = offset.tolist()
        up, left = -down, -right
        target[max(down, 0):height - max(up, 0), max(right, 0):width - max(left, 0)] = \
            image[max(up, 0):height - max(down, 0), max(left, 0):width - max(right, 0)]
    return moved
