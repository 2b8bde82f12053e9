"""The instruments on real digits, whose figures are known: before anybody believes them about samples.

HYPOTHESIS_PROFILE=thorough runs the long ones too: all test images against 50,000 and 60,000, and the classifier is
trained anew.
"""

import os

import numpy as np
import pytest

from minideconv import data
from minideconv.metrics import classifier, frechet, modes, neighbours, parzen, spans, unit_images
from minideconv.models.classifier import shipped

thorough = pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "thorough", reason="HYPOTHESIS_PROFILE=thorough")


@pytest.fixture(scope="module")
def train(mnist_folder):
    return data.read("mnist", "train", mnist_folder)


@pytest.fixture(scope="module")
def test(mnist_folder):
    return data.read("mnist", "test", mnist_folder)


def test_parzen_of_training_images(train, test):
    """The whole protocol: 241 +- 2 nats at sigma 0.167."""
    found = parzen.parzen(train.images[:10_000], train.images[50_000:51_000], test.images)
    assert found.mean == pytest.approx(241.2, abs=0.1) and found.error == pytest.approx(2.1, abs=0.05)
    assert found.sigma == pytest.approx(0.1668, abs=1e-4)


def test_log_likelihoods_against_float64(train, test):
    """Distances in float32 cost less than 0.01 nats where the standard error is 2."""
    samples, images = unit_images(train.images[:5000]), unit_images(test.images[:100])
    points, centres = (part.reshape(len(part), -1).astype(np.float64) for part in (images, samples))
    squares = (points**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * points @ centres.T
    found = parzen.log_likelihoods(samples, images, parzen.SIGMAS)
    for row, sigma in zip(found, parzen.SIGMAS, strict=True):
        exponents = -squares / (2 * sigma**2)
        top = exponents.max(axis=1)
        expected = top + np.log(np.exp(exponents - top[:, None]).mean(1)) - 784 * np.log(sigma * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(row, expected, atol=0.01)


def test_neighbours_of_real_digits(train, test):
    """60,000 training images read the first 1,000 test images; the same neighbours as in float64."""
    found, _ = neighbours.nearest(test.images[:1000], train.images)
    assert (train.labels[found] != test.labels[:1000]).mean() == pytest.approx(0.038)
    fewer, images = train.images[:10_000], test.images[:100]
    points, others = (part.reshape(len(part), -1).astype(np.float64) for part in (images, fewer))
    exact = (others**2).sum(axis=1) / 2 - points @ others.T         # whole numbers below 2^53
    assert np.array_equal(exact.argmin(axis=1), neighbours.nearest(images, fewer)[0])


@thorough
@pytest.mark.parametrize("count, error", [(60_000, 0.0309), (50_000, 0.0334)])
def test_nearest_neighbour_error_of_training_images(train, test, count, error):
    found = neighbours.error_rate(train.images[:count], train.labels[:count], test.images, test.labels)
    assert found == pytest.approx(error, abs=1e-4)


def test_the_classifier_reads_real_digits(test):
    assert classifier.accuracy(test.images, test.labels) >= 0.99


def test_the_classifier_with_pooling_reads_them_too(test):
    pooling, images = shipped(), unit_images(test.images)
    answers = np.concatenate([pooling(images[part]).data.argmax(axis=1) for part in spans(len(images), 1000)])
    assert (answers == test.labels).mean() >= 0.993


def test_features_of_real_digits(train, test):
    """The floor; digits without one class, noisy ones and drawn ones are each many floors away."""
    real, _ = classifier.judge(train.images)
    held_out, probabilities = classifier.judge(test.images)
    floor = frechet.frechet_distance(held_out, real)
    assert floor == pytest.approx(2.66, abs=0.05)
    assert frechet.frechet_distance(real[train.labels != 4][:10_000], real) > 5 * floor
    noise = np.random.default_rng(0).normal(0, 0.1, test.images.shape)
    noisy, _ = classifier.judge(np.clip(unit_images(test.images) + noise, 0, 1))
    assert frechet.frechet_distance(noisy, real) > 10 * floor
    shares = modes.class_shares(probabilities)
    assert shares["sure"] == pytest.approx(0.977, abs=0.002)
    assert 0.08 < shares["rarest"] < shares["most_frequent"] < 0.12
    precision, recall = frechet.precision_recall(real[:2000], held_out[:2000])
    assert precision > 0.75 and recall > 0.75
    halved, _ = frechet.precision_recall(real[:2000], noisy[:2000])
    assert halved < precision


@thorough
def test_the_classifier_can_be_made_again(train, test):
    made = classifier.train(train.images, train.labels)
    assert classifier.accuracy(test.images, test.labels, made) >= 0.985
