"""Metrics of pixels and points, each against a formula written out in loops or float64."""

import numpy as np
import pytest

from minideconv import Tensor
from minideconv.data.points import MODES, grid, ring
from minideconv.metrics import check_labels, neighbours, unit_images
from minideconv.metrics.modes import class_shares, coverage
from minideconv.metrics.neighbours import error_rate, nearest, nearest_few, squared_distances
from minideconv.metrics.parzen import SIGMAS, log_likelihoods, parzen


def pictures(count, seed=0):
    """Blurred blobs, uint8 (count, 6, 5, 1): near to each other, as images are."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(1, 4, (count, 2, 1, 1))
    i, j = np.mgrid[:6, :5]
    return (255 * np.exp(-((i - place[:, 0]) ** 2 + (j - place[:, 1]) ** 2) / 2)).astype(np.uint8)[..., np.newaxis]


# What goes in

def test_all_forms_of_images_are_one():
    images = pictures(5)
    expected = unit_images(images)
    assert expected.dtype == np.float32 and expected.max() <= 1 and expected.flags.c_contiguous
    for form in (images[..., 0], expected, expected.astype(np.float64), expected.astype(">f4"), Tensor(expected),
                 np.asfortranarray(images)):
        np.testing.assert_array_equal(unit_images(form), expected)


@pytest.mark.parametrize("images, error, words", [
    (np.zeros((2, 3)), ValueError, r"fakes must have the shape .*got \(2, 3\)"),
    (np.zeros((0, 3, 3)), ValueError, "fakes.*none"),
    (np.zeros((2, 3, 3), int), TypeError, "fakes must be uint8, or floats .*got int64"),
    (np.full((2, 3, 3), -1.0), ValueError, "found -1 to -1"), (np.full((2, 3, 3), np.nan), ValueError, "nan"),
    (np.full((2, 3, 3), 255.0), ValueError, "found 255 to 255"), (np.ma.zeros((2, 3, 3)), TypeError, "mask")])
def test_images_refused(images, error, words):
    with pytest.raises(error, match=words):
        unit_images(images, "fakes")


def test_labels_refused():
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        check_labels(np.zeros(3), 3)
    with pytest.raises(ValueError, match=r"shape \(3,\), one for each image, got \(4,\)"):
        check_labels(np.zeros(4, int), 3)


# Nearest neighbours

def test_nearest_against_loops(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 4 * 90 * 7)          # several blocks, the last one short
    images, among = pictures(40), pictures(90, seed=1)
    indices, distances = nearest(images, among)
    assert indices.dtype == np.int64 and distances.dtype == np.float32
    for image, index, distance in zip(images / 255, indices, distances, strict=True):
        every = np.sqrt(((image - among / 255) ** 2).sum((1, 2, 3)))
        assert index == every.argmin() and abs(distance - every.min()) < 1e-6
    indices, distances = nearest(among[[5, 3]], among)
    assert indices.tolist() == [5, 3] and distances.tolist() == [0, 0]


def test_a_few_nearest_against_loops():
    rng = np.random.default_rng(4)
    images, among = rng.random((5, 3, 3)), rng.random((9, 3, 3))
    among[7] = among[2]                     # of equally near ones the first comes first
    indices, distances = nearest_few(images, among, 4)
    for image, found, far in zip(images, indices, distances, strict=True):
        away = [np.sqrt(((image - other) ** 2).sum()) for other in among]
        assert found.tolist() == sorted(range(9), key=lambda place: (round(away[place], 5), place))[:4]
        np.testing.assert_allclose(far, sorted(away)[:4], rtol=1e-5)
    assert nearest_few(images, among[:2])[0].shape == (5, 2)


def test_of_equally_near_ones_the_first_counts():
    images = np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1)
    assert nearest(images[:1], images[1:])[0].tolist() == [0]
    assert nearest(images[2:3], np.concatenate([images, images]))[0].tolist() == [2]


def test_error_rate_counts_the_wrong_labels():
    samples, images = pictures(90, seed=1), pictures(40)
    found, _ = nearest(images, samples)
    sample_labels = np.arange(90) % 10
    labels = sample_labels[found]
    assert error_rate(samples, sample_labels, images, labels) == 0
    labels[:4] += 1
    assert error_rate(samples / 255, sample_labels, images, labels) == 0.1


def test_squared_distances_keep_their_digits_far_from_zero():
    rng = np.random.default_rng(0)
    points, others = (rng.normal(100, 1, (n, 50)).astype(np.float32) for n in (20, 30))
    exact = ((points[:, None].astype(float) - others) ** 2).sum(-1)
    np.testing.assert_allclose(squared_distances(points, others), exact, rtol=2e-6)
    assert squared_distances(points, points).min() >= 0


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"of one size can be compared, got \(3, 3, 1\) and \(3, 4, 1\)"):
        nearest(np.zeros((2, 3, 3)), np.zeros((2, 3, 4)))


def test_progress_is_called_with_the_blocks():
    seen = []

    def progress(blocks, desc):
        seen.append(desc)
        yield from blocks
    nearest(pictures(3), pictures(4), progress)
    log_likelihoods(pictures(3), pictures(4), [1.0], progress)
    assert seen == ["nearest neighbours", "Parzen windows"]


# Parzen windows

def by_formula(samples, images, sigma):
    """LL(x) in float64, as it stands in the docstring of parzen.py."""
    squares = ((images[:, None] - samples) ** 2).sum((2, 3, 4))
    exponents = -squares / (2 * sigma**2)
    top = exponents.max(axis=1)
    pixels = images[0].size
    return top + np.log(np.exp(exponents - top[:, None]).mean(axis=1)) - pixels * np.log(sigma * np.sqrt(2 * np.pi))


@pytest.mark.parametrize("block", [4 * 70 * 3, 1 << 25])
def test_log_likelihoods_against_the_formula(monkeypatch, block):
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", block)
    samples, images = pictures(70), pictures(25, seed=1)
    found = log_likelihoods(samples, images, SIGMAS)
    assert found.shape == (10, 25) and found.dtype == np.float64
    for row, sigma in zip(found, SIGMAS, strict=True):
        np.testing.assert_allclose(row, by_formula(samples / 255, images / 255, sigma), atol=1e-3)


def test_a_single_window_is_a_gaussian():
    sample, image = np.full((1, 2, 2, 1), 0.25), np.full((1, 2, 2, 1), 0.5)
    expected = -4 * 0.25**2 / (2 * 0.2**2) - 4 * np.log(0.2 * np.sqrt(2 * np.pi))
    assert log_likelihoods(sample, image, [0.2])[0, 0] == pytest.approx(expected, abs=1e-5)
    far = log_likelihoods(np.zeros((1, 28, 28)), np.ones((1, 28, 28)), [0.1])        # exp(-39200) is 0, its log is not
    assert far[0, 0] == pytest.approx(-39200 - 784 * np.log(0.1 * np.sqrt(2 * np.pi)), abs=0.01)


def test_sigma_is_the_best_at_validation():
    rng = np.random.default_rng(0)
    samples, images = (rng.random((count, 3, 2, 1), np.float32) for count in (70, 25))
    validation = np.clip(samples[:30] + rng.normal(0, 0.15, (30, 3, 2, 1)), 0, 1)       # nearer than the images
    means, others = ([by_formula(samples, part, sigma).mean() for sigma in SIGMAS] for part in (validation, images))
    assert np.argmax(means) < np.argmax(others)
    found = parzen(samples, validation, images)
    assert found.sigma == SIGMAS[np.argmax(means)] and 0 < np.argmax(means) < 9
    expected = by_formula(samples, images, found.sigma)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-3)
    assert found.error == pytest.approx(expected.std() / 5, abs=1e-3)


# Modes

@pytest.mark.parametrize("draw, name, count", [(ring, "ring", 8), (grid, "grid", 25)])
def test_the_mixtures_cover_their_own_modes(draw, name, count):
    found = coverage(draw(2500, seed=5)[0], name)
    assert found["modes"] == found["of"] == count and 0.98 < found["high_quality"] < 0.995
    assert sum(found["counts"]) == round(2500 * found["high_quality"])


def test_a_mode_is_hit_within_three_sigma_and_by_one_sample():
    centres, sigma = MODES["grid"]
    away = np.array([0.6, 0.8]) * sigma
    points = np.stack([centres[0] + 2.99 * away, centres[3] + 3.01 * away, centres[3], centres[3], [np.nan, 0.0]])
    assert coverage(points, "grid") == {
        "modes": 2, "of": 25, "high_quality": 0.6, "counts": [1, 0, 0, 2] + [0] * 21}
    assert coverage(np.full((3, 2), 99), MODES["ring"])["modes"] == 0


def test_class_shares():
    probabilities = np.array([[0.95, 0.05, 0], [0.9, 0.1, 0], [0.2, 0.3, 0.5], [0, 0.01, 0.99]])
    assert class_shares(probabilities) == {
        "sure": 0.5, "shares": [0.5, 0, 0.5], "rarest": 0, "most_frequent": 0.5}


@pytest.mark.parametrize("points, modes, words", [
    (np.zeros((3, 2)), "circle", "modes must be one of ring, grid.*'circle'"),
    (np.zeros((3, 3)), "ring", r"points must have the shape \(N, 2\), got \(3, 3\)"),
    (np.zeros((0, 2)), "ring", r"got \(0, 2\)")])
def test_coverage_refuses(points, modes, words):
    with pytest.raises(ValueError, match=words):
        coverage(points, modes)
    with pytest.raises(ValueError, match=r"probabilities must have the shape \(N, K\)"):
        class_shares(np.zeros(3))
