"""The classifier with max pooling: its sizes, its parts, and what it looks like."""
import os

import numpy as np
import pytest

from minideconv import data, nn, optim
from minideconv.draw import saliency
from minideconv.metrics import classifier as judge
from minideconv.models.classifier import SHIPPED, Classifier, filters, shipped
from minideconv.train.supervised import Batches, Plan, Supervised, classification, shifted


@pytest.mark.parametrize("shape, classes, width, features", [
    ((28, 28, 1), 10, 16, 576), ((28, 28, 1), 3, 4, 144), ((17, 8, 3), 5, 2, 16)])
def test_sizes(shape, classes, width, features):
    network = Classifier(shape, classes, width, rng=np.random.default_rng(0))
    images = np.random.default_rng(1).random((2, *shape), np.float32)
    assert network.encoder(images).shape == (2, features) and network.features == features
    assert network(images).shape == (2, classes)
    assert np.array_equal(network(images).data, network.head(network.encoder(images)).data)


def test_pooling_before_the_relu_gives_the_same():
    """And the same maps, but the deconvnet's: it passes windows of negative numbers too, whose largest ReLU hides.
    """
    network = Classifier(rng=np.random.default_rng(0))
    images = np.random.default_rng(1).random((2, 28, 28, 1), np.float32)
    layers = network.encoder.layers
    other = nn.Sequential(*[layers[place] for place in (0, 2, 1, 3, 5, 4, 6, 8, 7, 9)])
    assert np.array_equal(network.encoder(images).data, other(images).data)
    unit = saliency.strongest(saliency.activations(layers, images, -2), 5)
    one, two = (saliency.saliency_maps(part, images, -2, unit) for part in (layers, other.layers))
    for method in saliency.METHODS:
        assert one[method].any() and np.allclose(one[method], two[method], atol=1e-6) == (method != "deconvnet")


def test_first_weights_keep_the_size_of_what_passes():
    network = Classifier(rng=np.random.default_rng(0))
    logits = network(np.random.default_rng(1).standard_normal((50, 28, 28, 1)).astype(np.float32)).data
    assert 0.5 < logits.std() < 10 and not any(layer.bias.data.any() for layer in network.encoder.layers[::3][:3])


def test_filters_are_pictures():
    for channels, shown in ((1, 1), (3, 3), (2, 1)):
        network = Classifier((8, 8, channels), width=4, rng=np.random.default_rng(0))
        found = filters(network)
        assert found.shape == (4, 5, 5, shown) and found.min() >= 0 and found.max() <= 1
    network.encoder.layers[0].weight.data = np.zeros((5, 5, 2, 4), np.float32)
    assert (filters(network) == 0.5).all()


def test_the_shipped_one_reads_digits_that_it_has_never_seen():
    assert os.path.getsize(SHIPPED) + os.path.getsize(judge.SHIPPED) < 1_000_000
    images, labels = data.strokes(500, seed=7)
    assert not shipped().training and (shipped()(images / np.float32(255)).data.argmax(axis=1) == labels).mean() > 0.85


def test_images_that_are_too_small():
    with pytest.raises(ValueError, match=r"at least 8x8.*got \(8, 7, 1\)"):
        Classifier((8, 7, 1))


def test_it_learns():
    images, labels = data.strokes(3000, seed=1)
    plan = Plan(count=3000, batch_size=50, epochs=3, learning_rate=4e-3)
    network = Classifier(width=8, rng=np.random.default_rng(0))
    trainer = Supervised(plan, network, classification, Batches(plan, images, labels, prepare=shifted(1)),
                         optim.Adam(network.parameters()), show=filters)
    for _ in range(plan.steps):
        trainer.step()
    images, labels = data.strokes(500, seed=2)
    assert trainer.measure((images / np.float32(255), labels))["accuracy"] > 0.9
    assert trainer.samples().shape == (8, 5, 5, 1)
