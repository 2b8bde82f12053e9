"""Points in the plane around a few centres: a GAN that forgets a mode can be seen doing it.

The two mixtures of Gaussians of the literature on mode collapse, in the sizes of PacGAN (Lin et al. 2018, table 1).
"""

from typing import NamedTuple

import numpy as np


class Modes(NamedTuple):
    """A mixture with equal shares: centres float64 (K, 2), and the standard deviation about each along each axis."""
    centres: np.ndarray
    sigma: float

    @property
    def names(self) -> list[str]:
        """The K centres as text, "x y"."""
        return [f"{x:.3g} {y:.3g}" for x, y in self.centres + 0.0]      # + 0.0: no "-0"


def _ring_centres():
    angle = 2 * np.pi * np.arange(8) / 8
    return np.stack((np.cos(angle), np.sin(angle)), axis=-1).round(12)


def _grid_centres():
    side = np.array([-4.0, -2.0, 0.0, 2.0, 4.0])
    return np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(25, 2)


MODES = {"ring": Modes(_ring_centres(), 0.01), "grid": Modes(_grid_centres(), 0.05)}


def ring(count: int = 100_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points float32 (count, 2) about 8 places of the unit circle, sigma 0.01, and each one's mode (count,)."""
    return sample("ring", count, seed)


def grid(count: int = 100_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return points float32 (count, 2) about {-4, -2, 0, 2, 4}^2, sigma 0.05, and each one's mode (count,)."""
    return sample("grid", count, seed)


def sample(name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points float32 (count, 2) of MODES[name] and their modes int64 (count,), the same for the same seed.

    Raises TypeError or ValueError for a count or seed that is no integer of at least 0.
    """
    for argument, value in (("count", count), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name}: {argument} must be an integer, got {value!r}")
        if value < 0:
            raise ValueError(f"{name}: {argument} must be at least 0, got {value}")
    rng = np.random.default_rng(seed)
    centres, sigma = MODES[name]
    modes = rng.integers(len(centres), size=count)                                          # (count,)
    points = centres[modes] + sigma * rng.standard_normal((count, 2))                       # (count, 2)
    return points.astype(np.float32), modes
