"""Modes: which of the places where there should be samples have any?

For points, PacGAN's rule (Lin et al. 2018, table 1): of 2,500 samples one is of high quality if it lies within three
sigma of the nearest centre, and a mode is covered if at least one high-quality sample is its. For images of digits, the
shares of the ten classes as the classifier sees them. 2,500 points of the ring and grid themselves cover 8.0 and 25.0
modes with 99 % of high quality: within three sigma lie 1 - exp(-9/2) = 98.9 % of a Gaussian in the plane.
"""

import numpy as np

from ..data.points import MODES, Modes

SAMPLES = 2_500             # the protocol's
SURE = 0.9


def coverage(points, modes: str | Modes) -> dict:
    """Return {"modes": covered ones, "of": K, "high_quality": share, "counts": high-quality samples of each mode}.

    points: (N, 2). modes: "ring", "grid", or a Modes of one's own. Points that are not finite are of no quality.
    Raises ValueError for another shape or an unknown name.
    """
    if isinstance(modes, str) and modes not in MODES:
        raise ValueError(f"modes must be one of {', '.join(MODES)}, or centres and a sigma, got {modes!r}")
    centres, sigma = MODES[modes] if isinstance(modes, str) else modes
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != centres.shape[1] or len(points) == 0:
        raise ValueError(f"points must have the shape (N, {centres.shape[1]}), got {points.shape}")
    away = np.linalg.norm(points[:, np.newaxis] - centres, axis=-1)                 # (N, K)
    good = away.min(axis=1) <= 3 * sigma                                            # (N,), false where NaN
    counts = np.bincount(away[good].argmin(axis=1), minlength=len(centres))
    return {"modes": int((counts > 0).sum()), "of": len(centres), "high_quality": float(good.mean()),
            "counts": counts.tolist()}


def class_shares(probabilities) -> dict:
    """Return {"sure": share, "shares": of the K classes, "rarest": least share, "most_frequent": greatest share}.

    probabilities: (N, K) of `classifier.judge`. A sample is of its most probable class; "sure" is the share of samples
    whose most probable class has more than 0.9. MNIST's own test images: 97.7 % sure, classes from 8.9 to 11.4 %.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise ValueError(f"probabilities must have the shape (N, K), got {probabilities.shape}")
    shares = np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1]) / len(probabilities)
    return {"sure": float((probabilities.max(axis=1) > SURE).mean()), "shares": shares.tolist(),
            "rarest": float(shares.min()), "most_frequent": float(shares.max())}
