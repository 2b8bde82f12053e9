"""The classifier of digits, and distances, precision and recall in features."""

import os
import re

import numpy as np
import pytest

from minideconv import data
from minideconv.metrics import classifier, frechet, neighbours
from minideconv.metrics.frechet import frechet_distance, precision_recall

# The classifier

def test_the_shipped_classifier():
    """Under 1 MB; a hash of the weights alone, which any change of them changes."""
    shipped = classifier.shipped()
    assert os.path.getsize(classifier.SHIPPED) < 1_000_000
    assert sum(parameter.size for parameter in shipped.parameters()) == 156_042
    assert re.fullmatch("[0-9a-f]{64}", shipped.hash) and not shipped.training
    copy = classifier.Classifier()
    copy.load_state_dict(shipped.state_dict())
    assert copy.hash == shipped.hash
    copy.head.bias.data[3] += 1e-6
    assert copy.hash != shipped.hash


def test_it_reads_digits_drawn_by_a_program():
    """Which it has never seen; real ones it reads better (test_metrics_calibration.py)."""
    assert classifier.accuracy(*data.strokes(1000, seed=7)) > 0.9


def test_judge_gives_features_and_probabilities():
    images = data.strokes(1500, seed=7)[0]
    features, probabilities = classifier.judge(images)
    assert features.shape == (1500, 128) and probabilities.shape == (1500, 10) and features.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    shipped = classifier.shipped()
    logits = features @ shipped.head.weight.data + shipped.head.bias.data
    assert np.array_equal(logits.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(classifier.judge(images[1200:] / 255)[0], features[1200:], atol=1e-4)


def test_training_learns_and_repeats(tmp_path):
    images, labels = data.strokes(3000, seed=1)
    one = classifier.train(images, labels, epochs=2)
    assert classifier.accuracy(*data.strokes(500, seed=2), one) > 0.7       # chance: 0.1
    one.save(tmp_path / "weights.npz")
    other = classifier.Classifier()
    other.load(tmp_path / "weights.npz")
    assert other.hash == one.hash
    few = [classifier.train(images[:256], labels[:256], epochs=1, seed=seed).hash for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(N, 28, 28, 1\), got \(2, 32, 32, 3\)"):
        classifier.judge(np.zeros((2, 32, 32, 3)))


# The distance

def cloud(count, seed=0, features=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, features)) @ rng.normal(size=(features, features)) + rng.normal(size=features)


def test_distance_of_gaussians_in_one_dimension():
    """(m - n)^2 + (s - t)^2."""
    one, other = np.array([[0.0], [2.0]]), np.array([[4.0], [10.0]])
    expected = (1 - 7) ** 2 + (np.sqrt(2) - np.sqrt(18)) ** 2
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_distance_to_itself_moved_and_scaled():
    features = cloud(500).astype(np.float32)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + 2) == pytest.approx(6 * 4, rel=1e-5)
    spread = np.trace(np.cov(features, rowvar=False))
    far = frechet_distance(features, 3 * features)                          # (3 - 1)^2 (|m|^2 + trace C)
    assert far == pytest.approx(4 * (spread + (features.mean(axis=0) ** 2).sum()), rel=1e-4)


def test_distance_against_the_eigenvalues_of_the_product():
    """trace (C D)^(1/2) is the sum of the roots of C D's eigenvalues, which are real though C D is not symmetric.

    (SciPy's sqrtm gives the same, but brings a BLAS of its own into the process that the tests of the pool look at.)
    """
    one, other = cloud(300), cloud(200, seed=1)
    c, d = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(c @ d).real)
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(c + d) - 2 * roots.sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-4)


def test_distance_with_fewer_samples_than_features():
    one, other = cloud(4, features=9), cloud(300, seed=1, features=9)
    assert np.isfinite(frechet_distance(one, other)) and frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


# Precision and recall

def covered(points, centres, k):
    hits = 0
    distances = np.sqrt(((centres[:, None] - centres) ** 2).sum(-1))
    radii = np.sort(distances, axis=1)[:, k]
    for point in points:
        hits += any(np.linalg.norm(point - centre) <= radius for centre, radius in zip(centres, radii, strict=True))
    return hits / len(points)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_against_loops(monkeypatch, k):
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 1000)
    real, fake = cloud(60, features=2), cloud(60, features=2)[:40] * 0.6 + 1
    precision, recall = precision_recall(real, fake, nearest=k)
    assert (precision, recall) == (covered(fake, real, k), covered(real, fake, k))
    assert 0 < recall < 1 and precision != recall


def test_precision_falls_with_quality_and_recall_with_coverage():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 4))
    assert precision_recall(real, real[:400]) == (1, 1)
    narrow, wide = (precision_recall(real, width * rng.normal(size=(400, 4))) for width in (0.3, 3))
    assert narrow[0] > 0.9 and narrow[1] < 0.5 and wide[0] < 0.5
    assert precision_recall(real, real + 100) == (0, 0)


@pytest.mark.parametrize("one, other, words", [
    (np.zeros((3, 2)), np.zeros((3, 4)), r"got \(3, 2\) and \(3, 4\)"), (np.zeros(3), np.zeros(3), "shapes"),
    (np.zeros((1, 2)), np.zeros((5, 2)), "at least 2 rows"), (np.full((5, 2), np.inf), np.zeros((5, 2)), "finite")])
def test_features_refused(one, other, words):
    with pytest.raises(ValueError, match=words):
        frechet.frechet_distance(one, other)
