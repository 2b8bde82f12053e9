"""The metrics room: how good are samples? Plain functions on arrays, so that any program's samples can be measured.

    parzen       Parzen-window log-likelihood (Goodfellow et al. 2014, table 1)
    neighbours   1-nearest-neighbour test error (Radford et al. 2015, table 3), and nearest training images
    modes        covered modes of ring and grid (PacGAN, table 1), and shares of the ten digits
    classifier   a small classifier of digits, trained with this engine and shipped: 128 features, ten probabilities
    frechet      Frechet distance, precision and recall in those features
    report       everything that fits a set of samples, beside the published figures

Images are (N, H, W, C) or (N, H, W), uint8 or floats in [0, 1]; `unit_images` makes one form of them. What takes long
takes `progress`, called as progress(blocks, desc=text) and iterated over in their place: tqdm is one such function.
Every metric here was first tried on real images, whose figures its docstring gives.
"""

import numpy as np


def quiet(blocks, desc):
    """The `progress` that shows nothing."""
    return blocks


def unit_images(images, name="images") -> np.ndarray:
    """Return images as float32 (N, H, W, C) in [0, 1]: uint8 is divided by 255, floats have to lie there already.

    images: (N, H, W, C) or (N, H, W), an array or a Tensor. Raises TypeError for other types, ValueError for
    other shapes, no images, and values outside of [0, 1] or not finite; both name the argument.
    """
    if isinstance(images, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array: a mask would be ignored; use .filled(0)")
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., np.newaxis]        # (N, H, W) -> (N, H, W, 1)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"{name} must have the shape (N, H, W, C) or (N, H, W), none of them 0, got {images.shape}")
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images / np.float32(255))
    if images.dtype.kind != "f":
        raise TypeError(f"{name} must be uint8, or floats in [0, 1], got {images.dtype}")
    low, high = float(images.min()), float(images.max())        # NaN if any is NaN
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} must be finite and lie in [0, 1], found {low:g} to {high:g}; "
                         "rescale them first, for instance (images + 1) / 2 if they lie in [-1, 1]")
    return np.ascontiguousarray(images, np.float32)


def check_labels(labels, count, name="labels") -> np.ndarray:
    """Return labels as int64 (count,). TypeError or ValueError, naming the argument, if they are anything else."""
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {labels.dtype}")
    if labels.shape != (count,):
        raise ValueError(f"{name} must have the shape ({count},), one for each image, got {labels.shape}")
    return labels.astype(np.int64)


def spans(count, size):
    """The slices of at most `size` that `count` rows fall into."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
