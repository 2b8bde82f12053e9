"""Nearest neighbours: can samples teach a classifier, and are they copies of what was learned from?

The 1-nearest-neighbour test error is DCGAN's (Radford et al. 2015, table 3): the classifier is nothing but 50,000
samples with the labels they were asked for; it gives a test image the label of the sample nearest to it, by Euclidean
distance of pixels in [0, 1]; the error is over MNIST's 10,000 test images. Samples that are sharp but all alike, or of
a wrong class, score worse. Calibration: all 60,000 real training images score 3.09 %; 50,000 of them 3.17 and 3.19 %
(two random choices), 3.34 % (the first ones), 3.31 % (the last ones). The table has 3.1 % for "real data (50K)".
"""

import numpy as np

from .. import kernels
from . import check_labels, quiet, spans, unit_images

BLOCK_BYTES = 1 << 25       # what a block of distances may take


def error_rate(samples, sample_labels, images, labels, progress=quiet) -> float:
    """Return the share of `images` whose nearest sample has another label than they.

    samples, images: (N, H, W, C) and (M, H, W, C) in the forms of `unit_images`; labels of each, (N,) and (M,).
    """
    samples, images = unit_images(samples, "samples"), unit_images(images)
    sample_labels = check_labels(sample_labels, len(samples), "sample_labels")
    labels = check_labels(labels, len(images))
    found, _ = nearest(images, samples, progress)
    return float((sample_labels[found] != labels).mean())


def nearest(images, among, progress=quiet) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each of M images, which of N others is nearest: indices int64 (M,) and distances float32 (M,).

    Distances are Euclidean, of pixels in [0, 1]; of equally near ones the first counts.
    """
    points, others = flat_pair(unit_images(images), unit_images(among, "among"))
    halves = (others * others).sum(axis=1) / 2                                      # (N,)
    indices = np.empty(len(points), np.int64)
    for part in progress(blocks(len(points), len(others)), desc="nearest neighbours"):
        # |p - o|^2 is least where |o|^2 / 2 - p . o is: |p|^2 is the same for all o.
        scores = halves - kernels.active().matmul(points[part], others.T)                   # (m, N)
        indices[part] = scores.argmin(axis=1)
    distances = np.empty(len(points), np.float32)
    for part in spans(len(points), 1000):
        distances[part] = np.sqrt(((points[part] - others[indices[part]]) ** 2).sum(axis=1))
    return indices, distances


def nearest_few(images, among, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return which `count` of N others are nearest to each of M images, the nearest first: indices int64 (M, count) and
    distances float32 (M, count). All M x N distances are held at once, so M should be small.
    """
    points, others = flat_pair(unit_images(images), unit_images(among, "among"))
    indices = np.argsort(squared_distances(points, others), axis=1, kind="stable")[:, :count]
    return indices, np.sqrt(((points[:, np.newaxis] - others[indices]) ** 2).sum(axis=2))


def squared_distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return |p - o|^2 as float32 (M, N), of float32 rows (M, D) and (N, D), by one matrix product.

    |p|^2 + |o|^2 - 2 p . o loses digits where p and o are far from 0 and near to each other, so the mean of all
    is taken from both first, which moves no distance.
    """
    middle = others.mean(axis=0)
    points, others = points - middle, others - middle
    out = kernels.active().matmul(points, others.T)                                         # (M, N)
    out *= -2
    out += (points * points).sum(axis=1)[:, np.newaxis]
    out += (others * others).sum(axis=1)
    return np.maximum(out, 0, out=out)


def flat_pair(images, others):
    """Two sets of images of one size as rows: (M, H*W*C) and (N, H*W*C)."""
    if images.shape[1:] != others.shape[1:]:
        raise ValueError(f"images of one size can be compared, got {images.shape[1:]} and {others.shape[1:]}")
    return images.reshape(len(images), -1), others.reshape(len(others), -1)


def blocks(rows, columns):
    """Slices of `rows` so that each block of a float32 matrix (rows, columns) is small."""
    return spans(rows, max(1, BLOCK_BYTES // (4 * columns)))
