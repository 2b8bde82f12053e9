"""Parzen-window log-likelihood, the yardstick of the first GAN paper (Goodfellow et al. 2014, table 1).

A Gaussian of width sigma stands on every sample mu_j; their average is taken for the generator's density, and test
images x are asked how likely they are under it, with D pixels in [0, 1]:

    LL(x) = log mean_j exp(-|x - mu_j|^2 / (2 sigma^2)) - D log(sigma sqrt(2 pi))

Protocol on MNIST: train on the first 50,000 (or all) training images; draw 10,000 samples; sigma is the best of
logspace(-1, 0, 10) by the mean LL of the first 1,000 of train[50000:60000]; report the mean LL of the 10,000 test
images and its standard error, in nats. Calibration: the first 10,000 training images in place of samples score
241.2 +- 2.1 at sigma 0.167, a random choice of the first 50,000 244.2 +- 2.1.
It is a yardstick for regressions, not a score of quality: cluster centres of the training images, which nobody would
take for digits, beat the training images themselves (Theis et al. 2016), and so does a GAN that avoids what is rare.
"""

from typing import NamedTuple

import numpy as np

from . import quiet, unit_images
from .neighbours import blocks, flat_pair, squared_distances

SIGMAS = np.logspace(-1, 0, 10)
SAMPLES, VALIDATION = 10_000, 1_000         # the protocol's


class Parzen(NamedTuple):
    """A mean log-likelihood and its standard error, in nats, and the sigma it was taken at."""
    mean: float
    error: float
    sigma: float


def parzen(samples, validation, test, progress=quiet) -> Parzen:
    """Return the mean log-likelihood of test images under windows on samples, with sigma chosen on validation images.

    All three (N, H, W, C) in the forms of `unit_images`, and all of them are used: cut them to the protocol's counts.
    """
    at_validation = log_likelihoods(samples, validation, SIGMAS, progress)          # (S, 1000)
    sigma = float(SIGMAS[at_validation.mean(axis=1).argmax()])
    found = log_likelihoods(samples, test, [sigma], progress)[0]                    # (10000,)
    return Parzen(float(found.mean()), float(found.std() / np.sqrt(len(found))), sigma)


def log_likelihoods(samples, images, sigmas, progress=quiet) -> np.ndarray:
    """Return LL(x), in nats, for S sigmas and M images: float64 (S, M).

    Distances are computed in float32 and their exponentials summed in float64: within 0.01 nats of float64 throughout
    at the smallest sigma, 0.1, where exponents reach hundreds.
    """
    points, centres = flat_pair(unit_images(images), unit_images(samples, "samples"))
    sigmas = np.asarray(sigmas, np.float64)
    out = np.empty((len(sigmas), len(points)))
    for part in progress(blocks(len(points), len(centres)), desc="Parzen windows"):
        squares = squared_distances(points[part], centres)                          # (m, N)
        # The nearest sample's exponential is taken out of the sum, or all of them would be 0.
        least = squares.min(axis=1, keepdims=True)                                  # (m, 1)
        squares -= least
        for row, sigma in enumerate(sigmas):
            windows = np.exp(squares * np.float32(-0.5 / sigma**2)).sum(axis=1, dtype=np.float64)
            out[row, part] = np.log(windows / len(centres)) - least[:, 0] / (2 * sigma**2)
    return out - points.shape[1] * np.log(sigmas * np.sqrt(2 * np.pi))[:, np.newaxis]
