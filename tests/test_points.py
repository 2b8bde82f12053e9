"""The ring and the grid: where their modes are, how wide, and the same points for the same seed."""

import numpy as np
import pytest

from minideconv import data
from minideconv.data.points import MODES, grid, ring, sample


def test_centres_and_widths():
    centres, sigma = MODES["ring"]
    assert centres.shape == (8, 2) and sigma == 0.01
    np.testing.assert_allclose(np.hypot(*centres.T), 1)
    np.testing.assert_allclose(np.hypot(*(centres - np.roll(centres, 1, axis=0)).T), 2 * np.sin(np.pi / 8))
    centres, sigma = MODES["grid"]
    assert sigma == 0.05 and sorted(map(tuple, centres)) == [(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)]


@pytest.mark.parametrize("draw, name", [(ring, "ring"), (grid, "grid")])
def test_points_lie_about_their_modes(draw, name):
    points, modes = draw(20_000, 3)
    centres, sigma = MODES[name]
    assert points.shape == (20_000, 2) and points.dtype == np.float32
    assert modes.shape == (20_000,) and modes.dtype == np.int64
    away = (points - centres[modes]) / sigma
    assert np.abs(away.mean(axis=0)).max() < 0.03 and np.abs(np.cov(away.T) - np.eye(2)).max() < 0.05
    share = np.bincount(modes, minlength=len(centres)) / 20_000 * len(centres)
    assert np.abs(share - 1).max() < 0.15
    assert np.array_equal(draw(20_000, 3)[0], points) and not np.array_equal(draw(20_000, 4)[0], points)
    assert draw(0)[0].shape == (0, 2)


def test_splits_and_names():
    points, modes, names, notes = data.read("grid")
    assert points.shape == (100_000, 2) and modes.shape == (100_000,) and notes == ()
    assert len(names) == 25 and names[0] == "-4 -4" and names[12] == "0 0"
    assert data.load("grid", "test")[0].shape == (10_000, 2)
    assert data.read("ring").names[:3] == ["1 0", "0.707 0.707", "0 1"]


@pytest.mark.parametrize("count, seed, error, words", [
    (-1, 0, ValueError, "ring: count must be at least 0, got -1"),
    (2.0, 0, TypeError, "ring: count must be an integer"),
    (2, None, TypeError, "ring: seed must be an integer, got None"), (True, 0, TypeError, "got True")])
def test_bad_arguments_are_named(count, seed, error, words):
    with pytest.raises(error, match=words):
        sample("ring", count, seed)
