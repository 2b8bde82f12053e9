"""What is measured of a set of samples, and how it is told."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from minideconv import data
from minideconv.metrics import report
from minideconv.metrics.classifier import judge
from minideconv.metrics.frechet import frechet_distance
from minideconv.metrics.report import evaluate, table


@pytest.fixture
def small(monkeypatch):
    """Sets of a size to be quick with: 1,500 strokes stand in for training images, 300 others for test images."""
    sizes = {"train": (1500, 0), "test": (300, 1)}
    monkeypatch.setattr(data, "STROKES", sizes)
    monkeypatch.setattr(report, "HELD_OUT", 1200)


def test_everything_that_fits_images_with_labels(small):
    images, labels = data.strokes(400, seed=9)
    found = evaluate(images, labels, "strokes")
    assert list(found) == ["source", "samples", "parzen", "neighbour_error", "distance", "precision_recall", "classes",
                           "nearest"]
    assert json.loads(json.dumps(found)) == found
    assert found["samples"] == 400 and found["parzen"]["count"] == 400 and not found["parzen"]["by_protocol"]
    share, count = found["neighbour_error"]["error"], len(data.load("strokes", "test")[0])
    wrong = np.arange(count) < round(share * count)
    assert 0 < share < 0.5 and np.isclose(found["neighbour_error"]["standard_error"], wrong.std() / count ** 0.5)
    assert f"{100 * share:.2f} +- {100 * wrong.std() / count ** 0.5:.2f} %" in table(found)
    assert len(found["distance"]["classifier"]) == 64
    features = [judge(part)[0] for part in (images, data.load("strokes", "test")[0], data.load("strokes")[0])]
    for key, part in (("distance", features[0]), ("floor", features[1])):
        assert found["distance"][key] == pytest.approx(frechet_distance(part, features[2]), rel=1e-4)
    assert abs(sum(found["classes"]["shares"]) - 1) < 1e-9 and found["nearest"]["test_median"] > 0


def test_training_images_are_found_to_be_copies(small):
    images, labels = data.load("strokes")
    found = evaluate(images[:100], source="strokes")
    assert "neighbour_error" not in found                       # without labels
    assert found["nearest"]["median"] == found["nearest"]["least"] == 0 < found["nearest"]["test_least"]
    assert found["precision_recall"]["precision"] == 1


def test_points():
    found = evaluate(data.load("ring", "test")[0], source="ring")
    assert list(found) == ["source", "samples", "coverage"] and found["coverage"]["count"] == 2500
    text = table(found)
    assert "8 of 8 modes" in text and "PacGAN2" in text and "23.8" not in text


def test_a_source_of_ones_own_has_no_test_split(tmp_path):
    images = np.random.default_rng(0).random((50, 8, 8, 3), np.float32)
    np.savez(tmp_path / "x.npz", images=images)
    found = evaluate(images[:9], source=tmp_path / "x.npz")
    assert list(found) == ["source", "samples", "nearest"] and found["source"] == str(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", images=np.random.default_rng(0).random((50, 28, 28)))
    found = evaluate(data.strokes(9)[0], source=tmp_path / "y.npz")
    assert found["distance"]["floor"] is None and "real_precision" not in found["precision_recall"]
    assert "floor" not in table(found)


def test_the_table_names_protocols_and_compares_nothing_else(small):
    images, labels = data.strokes(40, seed=9)
    text = table(evaluate(images, labels, "strokes"))
    assert "225 +- 2" not in text and "2.98 %" not in text
    assert "not comparable, their protocol is 10000 samples of MNIST" in text
    assert "not an Inception FID" in text and "(floor)" in text
    protocol = {"mean": 230.0, "error": 2.0, "sigma": 0.167, "count": 10_000, "by_protocol": True}
    text = table({"source": "mnist", "samples": 10_000, "parzen": protocol})
    assert "230.0 +- 2.0" in text and "225 +- 2" in text


@dataclass
class Case:
    samples: np.ndarray
    labels: object
    source: str
    words: str


@pytest.mark.parametrize("case", [
    Case(np.zeros((3, 28, 28)), None, "strokes", "samples must be at least 4, got 3"),
    Case(np.zeros((5, 32, 32, 3)), None, "strokes", r"of the size of the images of strokes, \(28, 28, 1\), got"),
    Case(np.zeros((5, 28, 28)), np.arange(4), "strokes", r"labels must have the shape \(5,\)"),
    Case(np.zeros((5, 28, 28)), np.arange(8, 13), "strokes", "labels must be those of strokes, 0 to 9, got 8 to 12"),
    Case(np.full((5, 28, 28), 2.0), None, "strokes", "samples must be finite and lie in"),
    Case(np.zeros((5, 2)), None, "strokes", r"points \(N, 2\) are measured against ring or grid, got \(5, 2\)"),
    Case(np.zeros((5, 784)), None, "ring", r"points must have the shape \(N, 2\), got \(5, 784\)"),
    Case(np.zeros((5, 28, 28)), None, "ring", "size of the images of ring"),
    Case(np.zeros((5, 28, 28)), None, "", "source must not be empty")], ids=lambda case: case.words[:20])
def test_what_does_not_fit_is_refused(small, case):
    with pytest.raises(ValueError, match=case.words):
        evaluate(case.samples, case.labels, case.source)
