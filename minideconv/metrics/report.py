"""Everything that fits a set of samples, as numbers for a file and as text beside the published figures.

    report = evaluate(images, labels, "mnist")      # a dict that json.dump takes
    print(table(report))

A figure stands beside a published one only with the protocol of both named, and says so where it did not follow it.
"""

import numpy as np

from .. import data
from . import check_labels, quiet, unit_images
from .classifier import judge, shipped
from .frechet import frechet_distance, precision_recall
from .modes import SAMPLES as POINTS
from .modes import class_shares, coverage
from .neighbours import error_rate, nearest
from .parzen import SAMPLES as WINDOWS
from .parzen import VALIDATION, parzen

TEACHERS = 50_000           # samples that the nearest-neighbour classifier learns from
FEATURES = 10_000           # samples whose features are compared
COPIES = 1_000              # samples whose nearest training image is looked for
HELD_OUT = 50_000           # training images from this one on choose Parzen's sigma


def evaluate(samples, labels=None, source="mnist", folder=None, progress=quiet) -> dict:
    """Return every figure that can be had of samples of a data set, as a dict of dicts of numbers and text.

    samples: images (N, H, W, C) in the forms of `unit_images`, of the size of the source's, or points (N, 2) for
    "ring" and "grid"; at least 4, and 50,000 for all protocols. labels: (N,), the classes that were asked for, as
    numbers of `data.read(source)`; without them there is no nearest-neighbour error. source, folder: as in `data.load`.

    Keys: "source", "samples", and as far as they apply
        coverage         points: modes, high quality (see modes.py)
        parzen           mean, error and sigma, in nats; sources with a test split
        neighbour_error  error; labels, and a source with a test split
        distance         the digit-feature distance, its floor (None without a test split), and the classifier's hash
        precision_recall precision and recall, and those of as many real test images
        classes          shares of the ten digits, and of samples (and real test images) that the classifier is sure of
        nearest          distances of samples from their nearest training images: median and least, and for test images
    with "count", how many samples were used, and "by_protocol", whether that and the source are the protocol's.
    distance, precision_recall and classes need images of 28 x 28 x 1; classes are the digits', whatever the source.
    Raises ValueError or TypeError where samples or labels do not fit.
    """
    samples = np.asarray(samples) if not isinstance(samples, np.ma.MaskedArray) else samples
    if len(samples) < 4:
        raise ValueError(f"samples must be at least 4, got {len(samples)}")
    report = {"source": data.resolve(source), "samples": len(samples)}
    if samples.ndim == 2:
        used = samples[:POINTS]
        found = {**coverage(used, source), "count": len(used), "by_protocol": len(used) == POINTS}
        return {**report, "coverage": found}
    samples = unit_images(samples, "samples")
    train = data.read(source, "train", folder)
    test = data.read(source, "test", folder) if source in data.SOURCES else None
    if samples.shape[1:] != train.images.shape[1:]:
        raise ValueError(f"samples must be of the size of the images of {source}, {train.images.shape[1:]}, "
                         f"got {samples.shape[1:]}")
    if labels is not None:
        labels = check_labels(labels, len(samples))
        if not 0 <= labels.min() <= labels.max() < len(train.names or ()):
            raise ValueError(f"labels must be those of {source}, 0 to {len(train.names or ()) - 1}, "
                             f"got {labels.min()} to {labels.max()}")
    if test is not None:
        report.update(_by_protocol(samples, labels, source, train, test, progress))
    if samples.shape[1:] == (28, 28, 1):
        report.update(_by_features(samples, train, test, progress))
    report["nearest"] = _copies(samples, train, test, progress)
    return report


def _by_protocol(samples, labels, source, train, test, progress):
    """The two figures that the literature has of pixels."""
    report = {}
    validation = train.images[HELD_OUT:HELD_OUT + VALIDATION]
    if len(validation):
        found = parzen(samples[:WINDOWS], validation, test.images, progress)
        count = min(len(samples), WINDOWS)
        report["parzen"] = {**found._asdict(), "count": count, "by_protocol": source == "mnist" and count == WINDOWS}
    if labels is not None:
        count = min(len(samples), TEACHERS)
        error = error_rate(samples[:count], labels[:count], test.images, test.labels, progress)
        report["neighbour_error"] = {"error": error, "count": count,
                                     "by_protocol": source == "mnist" and count == TEACHERS}
    return report


def _by_features(samples, train, test, progress):
    """What the classifier of digits sees."""
    count = min(len(samples), FEATURES)
    real, _ = judge(train.images, progress=progress)

    def against_real(images):
        features, probabilities = judge(images[:count], progress=progress)
        return (frechet_distance(features, real), precision_recall(real[:count], features), class_shares(probabilities))

    distance, (precision, recall), classes = against_real(samples)
    report = {"distance": {"distance": distance, "floor": None, "classifier": shipped().hash, "count": count},
              "precision_recall": {"precision": precision, "recall": recall, "count": count},
              "classes": {**classes, "count": count}}
    if test is not None:        # as many real images that nobody learned from: what samples can hope for
        floor, (precision, recall), classes = against_real(test.images)
        report["distance"]["floor"] = floor
        report["precision_recall"].update(real_precision=precision, real_recall=recall)
        report["classes"].update(real_sure=classes["sure"])
    return report


def _copies(samples, train, test, progress):
    """Are samples nearer to training images than images are that nobody learned from?"""
    _, distances = nearest(samples[:COPIES], train.images, progress)
    found = {"median": float(np.median(distances)), "least": float(distances.min()), "count": len(distances)}
    if test is not None:
        _, distances = nearest(test.images[:COPIES], train.images, progress)
        found.update(test_median=float(np.median(distances)), test_least=float(distances.min()))
    return found


PUBLISHED = {       # (who, figure); never to be compared with figures of another protocol
    "parzen": (("adversarial nets (Goodfellow et al. 2014, table 1)", "225 +- 2"), ("deep GSN", "214 +- 1.1"),
               ("DBN", "138 +- 2"), ("stacked CAE", "121 +- 1.6"),
               ("conditional GAN (Mirza and Osindero 2014)", "132 +- 1.8"),
               ("10,000 real training images, measured here", "241 +- 2")),
    "neighbour_error": (("DCGAN (Radford et al. 2015, table 3)", "2.98 %"), ("DCGAN, 10,000,000 samples", "1.48 %"),
                        ("GAN, permutation-invariant", "6.28 %"), ("real data, as published", "3.1 %"),
                        ("50,000 real training images, measured here", "3.2 to 3.3 %")),
    "ring": (("GAN (PacGAN, table 1)", "6.3 +- .5 modes, 98.2 %"), ("PacGAN2", "7.9 +- .1 modes, 95.6 %"),
             ("PacGAN4", "7.8 +- .1 modes, 95.9 %")),
    "grid": (("GAN (PacGAN, table 1)", "17.3 +- .8 modes, 94.8 %"), ("PacGAN2", "23.8 +- .7 modes, 91.3 %"),
             ("PacGAN4", "24.8 +- .2 modes, 93.6 %")),
}


def table(report: dict) -> str:
    """Return what `evaluate` found as lines of text, each figure with its protocol and the published ones below it."""
    lines = [f"{report['samples']} samples, data {report['source']}"]
    for key, part in report.items():
        if key in _SECTIONS:
            title, rows = _SECTIONS[key](part)
            if part.get("by_protocol", True):
                rows += PUBLISHED.get(report["source"] if key == "coverage" else key, ())
            else:
                rows.append(("published figures", f"not comparable, their protocol is {_PROTOCOL[key]}"))
            lines += ["", title, *(f"  {who:<52} {figure}" for who, figure in rows)]
    return "\n".join(lines)


def _parzen_rows(part):
    return (f"Parzen-window log-likelihood of test images, nats: {part['count']} samples, sigma from 1,000 held out",
            [("these samples", f"{part['mean']:.1f} +- {part['error']:.1f}, sigma {part['sigma']:.3f}")])


def _error_rows(part):
    return (f"1-nearest-neighbour test error: Euclidean, pixels in [0, 1], {part['count']} samples with labels",
            [("these samples", f"{100 * part['error']:.2f} %")])


def _coverage_rows(part):
    return (f"Modes covered, and samples within three sigma of one: {part['count']} samples",
            [("these samples", f"{part['modes']} of {part['of']} modes, {100 * part['high_quality']:.1f} %")])


def _distance_rows(part):
    rows = [("these samples from the training images", f"{part['distance']:.2f}")]
    if part["floor"] is not None:
        rows.append(("real test images from the training images (floor)", f"{part['floor']:.2f}"))
    return (f"Digit-feature distance, not an Inception FID: Frechet distance in 128 features, {part['count']} samples, "
            f"classifier {part['classifier'][:12]}", rows)


def _precision_rows(part):
    rows = [("these samples", f"{part['precision']:.3f} and {part['recall']:.3f}")]
    if "real_precision" in part:
        rows.append(("real test images", f"{part['real_precision']:.3f} and {part['real_recall']:.3f}"))
    return f"Precision and recall in the same features, third neighbour: {part['count']} samples", rows


def _class_rows(part):
    rows = [("sure of a digit (above 0.9)", f"{100 * part['sure']:.1f} %")]
    if "real_sure" in part:
        rows.append(("sure of real test images' digits", f"{100 * part['real_sure']:.1f} %"))
    rows.append(("rarest and most frequent digit",
                 f"{100 * part['rarest']:.1f} % and {100 * part['most_frequent']:.1f} %"))
    return f"Classes that the classifier sees: {part['count']} samples", rows


def _nearest_rows(part):
    rows = [("these samples", f"{part['median']:.2f}, {part['least']:.2f}")]
    if "test_median" in part:
        rows.append(("real test images", f"{part['test_median']:.2f}, {part['test_least']:.2f}"))
    return f"Distance from the nearest training image, median and least: {part['count']} samples", rows


_PROTOCOL = {"parzen": f"{WINDOWS} samples of MNIST", "neighbour_error": f"{TEACHERS} samples of MNIST with labels",
             "coverage": f"{POINTS} samples"}
_SECTIONS = {"parzen": _parzen_rows, "neighbour_error": _error_rows, "coverage": _coverage_rows,
             "distance": _distance_rows, "precision_recall": _precision_rows, "classes": _class_rows,
             "nearest": _nearest_rows}
