"""The judge: a small classifier of digits made of this engine's own layers, and its 128 features.

Its weights are shipped as digits.npz. They were made, and can be made again, on any machine with MNIST by

    python -m minideconv.metrics.classifier --out minideconv/metrics/digits.npz

which took 100 seconds of one core; the shipped ones read 99.22 % of the test images right. (They were made with another
order of the images: made again they are another judge, with a hash of its own, about as good.)
A distance in features is a statement about one judge only, so whoever prints one prints the judge's hash beside it.
"""

import argparse
import functools
import hashlib
from pathlib import Path

import numpy as np

from .. import data, nn, optim
from .. import functional as F
from ..tensor import Tensor, no_grad
from ..train.supervised import Batches, Plan, Supervised, classification, shifted
from . import check_labels, quiet, spans, unit_images

SHIPPED = Path(__file__).with_name("digits.npz")
EPOCHS, BATCH, RATE, SHIFT = 10, 128, 2e-3, 2       # the rate falls to 0 in a line; shifts are in pixels
FEATURES = 128


class Classifier(nn.Module):
    """Images (N, 28, 28, 1) in [0, 1] -> logits (N, 10) of the digits. 156,042 parameters."""

    def __init__(self, rng=None):
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, "same", rng=rng), nn.LeakyReLU(0.1),         # (N, 14, 14, 16)
            nn.Conv2d(16, 32, 3, 2, "same", rng=rng), nn.LeakyReLU(0.1),        # (N, 7, 7, 32)
            nn.Conv2d(32, 64, 3, 2, "same", rng=rng), nn.LeakyReLU(0.1),        # (N, 4, 4, 64)
            nn.Flatten(), nn.Linear(1024, FEATURES, rng=rng), nn.LeakyReLU(0.1))
        self.head = nn.Linear(FEATURES, 10, rng=rng)

    def forward(self, x):
        return self.head(self.body(x))

    @property
    def hash(self) -> str:
        """The sha256 sum of all weights, in hexadecimal: names, shapes and float32 values, not the file's bytes."""
        total = hashlib.sha256()
        for name, array in sorted(self.state_dict().items()):
            total.update(f"{name} {array.shape}".encode())
            total.update(array.astype("<f4").tobytes())
        return total.hexdigest()


@functools.lru_cache(maxsize=1)
def shipped() -> Classifier:
    """The classifier that comes with the package, in evaluation mode; the same object at every call."""
    classifier = Classifier(np.random.default_rng(0))
    classifier.load(SHIPPED)
    return classifier.eval()


def judge(images, classifier: Classifier | None = None, progress=quiet) -> tuple[np.ndarray, np.ndarray]:
    """Return features float32 (N, 128), the activations before the last layer, and probabilities float32 (N, 10).

    images: (N, 28, 28, 1) in the forms of `unit_images`. classifier: the shipped one, if none is given.
    Raises ValueError for images of another size.
    """
    images = unit_images(images)
    if images.shape[1:] != (28, 28, 1):
        raise ValueError(f"the classifier of digits needs images of the shape (N, 28, 28, 1), got {images.shape}")
    classifier = shipped() if classifier is None else classifier
    features = np.empty((len(images), FEATURES), np.float32)
    probabilities = np.empty((len(images), 10), np.float32)
    with no_grad():
        for part in progress(spans(len(images), 1000), desc="features"):
            found = classifier.body(Tensor(images[part]))                       # (n, 128)
            features[part] = found.data
            probabilities[part] = F.softmax(classifier.head(found)).data        # (n, 10)
    return features, probabilities


def accuracy(images, labels, classifier: Classifier | None = None) -> float:
    """The share of images whose most probable digit is their label."""
    return float((judge(images, classifier)[1].argmax(axis=1) == labels).mean())


def train(images, labels, epochs: int = EPOCHS, seed: int = 0, progress=quiet) -> Classifier:
    """Return a classifier trained on images (N, 28, 28, 1) and labels (N,) with Adam and cross-entropy.

    Every image is moved by up to two pixels at each visit, which makes up for what so few parameters forget.
    """
    images = unit_images(images)
    plan = Plan(count=len(images), batch_size=min(BATCH, len(images)), epochs=epochs, seed=seed, learning_rate=RATE)
    classifier = Classifier(np.random.default_rng(seed))
    batches = Batches(plan, images, check_labels(labels, len(images)), prepare=shifted(SHIFT))
    trainer = Supervised(plan, classifier, classification, batches, optim.Adam(classifier.parameters()))
    for _ in progress(range(plan.steps), desc="training the classifier"):
        trainer.step()
    return classifier.eval()


def main(arguments=None) -> None:
    """Train on MNIST, save the weights, and print the error on its test images."""
    from tqdm import tqdm
    parser = argparse.ArgumentParser(prog="python -m minideconv.metrics.classifier", description=main.__doc__)
    parser.add_argument("--out", required=True, metavar="FILE.npz", help="where the weights are written")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of the MNIST files, as for minideconv train")
    args = parser.parse_args(arguments)
    classifier = train(*data.load("mnist", "train", args.data_dir), progress=tqdm)
    classifier.save(args.out)
    right = accuracy(*data.load("mnist", "test", args.data_dir), classifier)
    print(f"{args.out}: {100 * right:.2f} % of the test images read right, weights {classifier.hash}")


if __name__ == "__main__":
    main()
