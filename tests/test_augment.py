"""Shifts by whole pixels: against loops, and their gradients. Blurred images: against loops."""

import numpy as np
import pytest

import minideconv as md
from minideconv import Tensor
from minideconv.data.augment import gaussian_blur, random_shift, shift

OFFSETS = np.array([[0, 0], [1, 0], [0, -1], [-2, 3], [5, 0], [-4, -4], [9, -9]])


def whole(*shape, seed=0):
    return np.random.default_rng(seed).integers(-9, 10, shape)


def by_loops(images, offsets):
    out = np.zeros_like(images)
    for n, (down, right) in enumerate(offsets):
        for i in range(images.shape[1]):
            for j in range(images.shape[2]):
                if 0 <= i - down < images.shape[1] and 0 <= j - right < images.shape[2]:
                    out[n, i, j] = images[n, i - down, j - right]
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, ">f4", bool])
def test_shift_is_what_loops_give(dtype):
    images = np.abs(whole(7, 5, 4, 2)).astype(dtype)
    expected = by_loops(images, OFFSETS)
    moved = shift(images, OFFSETS)
    assert type(moved) is np.ndarray and moved.dtype == images.dtype.newbyteorder("=") and np.all(moved == expected)
    assert np.all(shift(images, OFFSETS.astype(np.int8).tolist()) == expected)
    if images.dtype.kind == "f" and images.dtype.isnative:
        result = shift(Tensor(images), OFFSETS)
        assert isinstance(result, Tensor) and result.dtype == images.dtype and np.all(result.data == expected)


def test_its_transpose_is_shifting_back():
    x, g = Tensor(whole(7, 5, 4, 2).astype(float), requires_grad=True), whole(7, 5, 4, 2, seed=1).astype(float)
    gradient, = md.grad(shift(x, OFFSETS), x, gradient=g)
    assert np.all(gradient.data == by_loops(g, -OFFSETS))
    assert (shift(x.data, OFFSETS) * g).sum() == (x.data * gradient.data).sum()


def test_gradients_of_first_and_second_order():
    images = whole(7, 5, 4, 2).astype(float)
    assert md.gradcheck(lambda x: shift(x, OFFSETS), images)
    assert md.gradgradcheck(lambda x: shift(x, OFFSETS) * shift(x, -OFFSETS), images)


def test_the_tape_keeps_the_offsets_it_ran_with():
    x, offsets = Tensor(np.ones((1, 3, 3, 1)), requires_grad=True), np.array([[1, 0]])
    y = shift(x, offsets)
    offsets[:] = 2
    y.sum().backward()
    assert x.grad[0, :, 0, 0].tolist() == [1, 1, 0]


def test_random_shifts_reach_all_places_equally():
    images = np.zeros((9000, 5, 5, 1), np.float32)
    images[:, 2, 2] = 1
    moved = random_shift(images, 1, np.random.default_rng(0))
    counts = moved.sum(axis=0)[..., 0]
    assert np.all(counts[0] == 0) and counts.sum() == 9000 and np.abs(counts[1:4, 1:4] - 1000).max() < 150
    assert np.array_equal(random_shift(images, 1, np.random.default_rng(0)), moved)
    assert np.array_equal(random_shift(images, 0, np.random.default_rng(0)), images)
    leaf = Tensor(images[:4], requires_grad=True)
    assert random_shift(leaf, 1, np.random.default_rng(0)).requires_grad


@pytest.mark.parametrize("images, offsets, error, words", [
    (np.zeros((2, 3, 3)), np.zeros((2, 2), int), ValueError, r"\(N, H, W, C\), got \(2, 3, 3\)"),
    (np.zeros((2, 3, 3, 1)), np.zeros((3, 2), int), ValueError, r"offsets must have the shape \(2, 2\), got \(3, 2\)"),
    (np.zeros((2, 3, 3, 1)), np.zeros((2, 2)), TypeError, "whole pixels, integers, got float64"),
    (np.ma.zeros((2, 3, 3, 1)), np.zeros((2, 2), int), TypeError, "got MaskedArray"),
    ([[[[1]]]], [[0, 0]], TypeError, "got list"),
])
def test_bad_arguments_of_shift(images, offsets, error, words):
    with pytest.raises(error, match=words):
        shift(images, offsets)


@pytest.mark.parametrize("most, rng, error, words", [
    (-1, np.random.default_rng(), ValueError, "most must be at least 0 pixels, got -1"),
    (1.0, np.random.default_rng(), TypeError, "most must be an integer"),
    (1, 0, TypeError, "rng must be a np.random.Generator, got int")])
def test_bad_arguments_of_random_shift(most, rng, error, words):
    with pytest.raises(error, match=words):
        random_shift(np.zeros((2, 3, 3, 1)), most, rng)


@pytest.mark.parametrize("dtype, sigma", [(np.float64, 0.7), (np.float32, 1), (np.float64, np.float32(3.0))])
def test_a_blurred_pixel_is_a_mean_of_all_weighted_by_distance(dtype, sigma):
    images = whole(3, 5, 4, 2).astype(dtype)
    blurred = gaussian_blur(images, sigma)
    assert blurred.dtype == dtype
    for i, j in np.ndindex(5, 4):
        weights = {(k, l): np.exp(-((i - k) ** 2 + (j - l) ** 2) / (2 * float(sigma) ** 2))
                   for k, l in np.ndindex(5, 4)}
        mean = sum(weight * images[:, k, l] for (k, l), weight in weights.items()) / sum(weights.values())
        assert np.allclose(blurred[:, i, j], mean, rtol=0, atol=1e-5 if dtype is np.float32 else 1e-12)
    assert gaussian_blur(images[:0], sigma).shape == (0, 5, 4, 2)


@pytest.mark.parametrize("images, sigma, error, words", [
    (np.zeros((2, 3, 3)), 1, ValueError, r"\(N, H, W, C\), got \(2, 3, 3\)"),
    (np.zeros((2, 3, 3, 1), np.uint8), 1, TypeError, "images must be an array of floats, got uint8"),
    ([[1.0]], 1, TypeError, "images must be an array of floats, got list"),
    (np.zeros((2, 3, 3, 1)), 0, ValueError, "sigma must be above 0 pixels, and finite; got 0"),
    (np.zeros((2, 3, 3, 1)), np.inf, ValueError, "got inf"),
    (np.zeros((2, 3, 3, 1)), "1", TypeError, "sigma must be a number of pixels, got '1'")])
def test_bad_arguments_of_a_blur(images, sigma, error, words):
    with pytest.raises(error, match=words):
        gaussian_blur(images, sigma)
