"""Distances between two clouds of features: are the samples spread as the real images are?

Everything here is in whatever features it is given. In the 128 features of this project's classifier the distance is
the **digit-feature distance**; it has nothing to do with the FID in features of Inception networks, and figures of the
two must never be compared. Beside it belong the distance of real test images from real training images, the floor that
samples cannot be expected to be below, and the classifier's hash. With the shipped classifier and MNIST: the floor is
2.66 (10,000 test images against all training images); strokes 45, digits without any 4 30, digits with noise of
standard deviation 0.1 81. Precision and recall of 10,000 test images against as many training images: 0.85 and 0.85.
"""

import numpy as np

from .neighbours import blocks, squared_distances

NEAREST = 3                 # Kynkaanniemi et al. 2019 use the third neighbour


def frechet_distance(features, others) -> float:
    """Return |m - n|^2 + trace(C + D - 2 (C D)^(1/2)) of two sets of features (M, F) and (N, F), each of at least two.

    m, n are their means and C, D their covariances: the squared Wasserstein distance of the two Gaussians (Dowson and
    Landau 1982). With S = C^(1/2) the trace of (C D)^(1/2) is that of (S D S)^(1/2), which is symmetric, so two
    eigendecompositions do. Raises ValueError for other shapes and for features that are not finite.
    """
    (mean, covariance), (other_mean, other_covariance) = _gaussians(features, others)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T                     # S: (F, F)
    mixed = np.linalg.eigvalsh(root @ other_covariance @ root)
    trace = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(np.maximum(mixed, 0)).sum()
    return float(max(((mean - other_mean) ** 2).sum() + trace, 0.0))


def precision_recall(real, fake, nearest: int = NEAREST) -> tuple[float, float]:
    """Return precision and recall of features `fake` (M, F) against `real` (N, F) (Kynkaanniemi et al. 2019).

    Each set claims the balls about its members that reach to their third nearest neighbour. Precision is the share of
    `fake` in the balls of `real` (is it like something real?), recall the share of `real` in the balls of `fake` (is
    everything real matched?). The two sets should be of one size: more members claim more.
    """
    real, fake = _checked(real, fake, at_least=nearest + 1)
    return _covered(fake, real, nearest), _covered(real, fake, nearest)


def _covered(points, centres, nearest):
    """The share of points (M, F) that lie in any of the balls of centres (N, F)."""
    radii = np.empty(len(centres), np.float32)                                      # squared
    for part in blocks(len(centres), len(centres)):
        # Place 0 is the centre itself, at distance 0.
        radii[part] = np.partition(squared_distances(centres[part], centres), nearest, axis=1)[:, nearest]
    inside = np.empty(len(points), bool)
    for part in blocks(len(points), len(centres)):
        inside[part] = (squared_distances(points[part], centres) <= radii).any(axis=1)
    return float(inside.mean())


def _gaussians(features, others):
    return [(rows.mean(axis=0), np.cov(rows, rowvar=False).reshape(rows.shape[1], rows.shape[1]))
            for rows in (side.astype(np.float64) for side in _checked(features, others, at_least=2))]


def _checked(features, others, at_least):
    sides = [np.asarray(side, np.float32) for side in (features, others)]
    for side in sides:
        if side.ndim != 2 or side.shape[1] != sides[0].shape[-1] or len(side) < at_least or side.shape[1] == 0:
            raise ValueError("features must have the shapes (M, F) and (N, F) with "
                             f"at least {at_least} rows, got {sides[0].shape} and {sides[1].shape}")
        if not np.isfinite(side).all():
            raise ValueError("features must be finite")
    return sides
