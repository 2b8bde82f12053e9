"""Drawings and their paintings: the same every time, and what belongs together does."""
import numpy as np
import pytest

from minideconv.data import drawings as room
from minideconv.data.drawings import WALL, Shape, drawings


def test_the_same_bytes_for_the_same_seed():
    drawn, painted = drawings(3, 5, 64)
    assert drawn.shape == painted.shape == (3, 64, 64, 3) and drawn.dtype == painted.dtype == np.uint8
    again = drawings(2, 5, 64)
    assert np.array_equal(again[0], drawn[:2]) and np.array_equal(again[1], painted[:2])
    assert not np.array_equal(drawings(1, 6, 64)[0], drawn[:1])
    assert drawings(0)[0].shape == (0, 256, 256, 3)


@pytest.mark.parametrize("corners", [0, 3, 4, 5, 6])
def test_distance_is_zero_on_the_edge_and_grows_by_one_a_pixel(corners):
    """n is the direction in which d grows; at corners, where two sides are as near, differences know neither."""
    shape = Shape(np.array([50.0, 47.0]), np.array([30.0, 20.0]), 0.7, corners, np.zeros(3, np.float32), 0.0, 1)
    d, n = room._edge(shape, 100)
    assert d[50, 47] < -5 and d[2, 2] > 20 and np.allclose(np.linalg.norm(n, axis=-1)[d > -4], 1, atol=1e-4)
    slope = np.stack(np.gradient(d), axis=-1)
    near = np.abs(d) < 2
    angle = (slope * n).sum(axis=-1)[near]              # 1 where the slope is n
    assert near.sum() > 300 and (np.abs(angle - 1) < 0.03).mean() > 0.85


def one_square(side):
    colour = np.array([0.2, 0.4, 0.8], np.float32)
    # Sides at 32 +- 19.8.
    square = Shape(np.array([32.0, 32.0]), np.array([28.0, 28.0]), np.pi / 4, 4, colour, 0.0, side)
    return colour, room._pictures([square], 64, 8.0)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_square_is_hatched_painted_lit_and_has_a_shadow(side):
    colour, (drawing, painting) = one_square(side)
    assert not drawing[:10].any() and np.allclose(painting[:10], WALL)                      # nothing beside it
    for row, light in ((24, 1), (28, -1), (32, 1), (36, -1)):                               # a line, between two lines
        assert np.allclose(drawing[row, 30], colour * (light == 1))
        assert np.allclose(painting[row, 32], colour * (1 + 0.15 * side * light))
    assert painting[32, 13, 2] > painting[32, 32, 2] > painting[32, 51, 2]                  # left lit, right dark
    assert painting[14, 32, 2] / painting[50, 32, 2] > 1.3                                  # top lit, bottom dark
    assert (painting[54, 40] < 0.8 * WALL).all() and np.allclose(painting[54, 8], WALL)     # shadow below, to the right


def test_the_coin_is_fair_and_the_drawing_does_not_tell():
    sides = [room._random_shape(np.random.default_rng(seed), 64).side for seed in range(400)]
    assert abs(np.mean(sides)) < 0.15
    assert np.array_equal(one_square(-1)[1][0], one_square(1)[1][0])


@pytest.mark.parametrize("arguments, error, text", [
    ((1.5,), TypeError, "count must be an integer"), ((-1,), ValueError, "count must be at least 0"),
    ((1, True), TypeError, "seed must be"), ((1, 0, 16), ValueError, "size must be at least 32"),
    ((1, 0, 64, 3.0), ValueError, "spacing must be at least 4")])
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        drawings(*arguments)
