"""Everything that fits a set of samples, as numbers for a file and as text beside the published figures.

    report = evaluate(images, labels, "mnist")      # a dict that json.dump takes
    print(table(report))

A figure stands beside a published one only with the protocol of both named, and says so where it did not follow it.
"""

from typing import NamedTuple

import numpy as np

from .. import data
from . import check_labels, quiet, unit_images
from .classifier import judge, shipped
from .frechet import frechet_distance, precision_recall
from .modes import MODES, class_shares, coverage
from .modes import SAMPLES as POINTS
from .neighbours import error_rate, nearest, nearest_few
from .parzen import SAMPLES as WINDOWS
from .parzen import VALIDATION, parzen

TEACHERS = 50_000           # samples that the nearest-neighbour classifier learns from
FEATURES = 10_000           # samples whose features are compared
COPIES = 1_000              # samples whose nearest training image is looked for
HELD_OUT = 50_000           # training images from this one on choose Parzen's sigma
SHOWN, NEIGHBOURS = 16, 3   # samples whose nearest training images are shown, and how many of these
SHARES = np.linspace(0, 1, 21)      # of the images: the distances below which so many lie


class Real(NamedTuple):
    """What samples are measured against. test: None where the source has no test split."""
    source: str
    train: data.DataSet
    test: data.DataSet | None


def read_real(source="mnist", folder=None) -> Real:
    """The real data of a source; arguments and errors are those of `data.read`."""
    train = data.read(source, "train", folder)
    return Real(data.resolve(source), train, data.read(source, "test", folder) if source in data.SOURCES else None)


def evaluate(samples, labels=None, source="mnist", folder=None, progress=quiet) -> dict:
    """Return every figure that can be had of samples of a data set, as a dict of dicts of numbers and text.

    samples: images (N, H, W, C) in the forms of `unit_images`, of the size of the source's, or points (N, 2) for
    "ring" and "grid"; at least 4, and 50,000 for all protocols. labels: (N,), the classes that were asked for, as
    numbers of `data.read(source)`; without them there is no nearest-neighbour error. source, folder: as in `data.load`.

    Keys: "source", "samples", and as far as they apply
        coverage         points: modes, high quality (see modes.py)
        parzen           mean, error and sigma, in nats; sources with a test split
        neighbour_error  error, and its standard error, as of so many test images that are right or wrong by chance;
                         labels, and a source with a test split
        distance         the digit-feature distance, its floor (None without a test split), and the classifier's hash
        precision_recall precision and recall, and those of as many real test images
        classes          shares of the ten digits, of samples that the classifier is sure of, and of those that it reads
                         "as_asked" for; the first two for real test images too
        nearest          distances of samples from their nearest training images: median, least and quantiles (SHARES),
                         and for test images; of the samples "shown", the three nearest training images by number
    with "count", how many samples were used, and "by_protocol", whether that and the source are the protocol's.
    distance, precision_recall and classes need images of 28 x 28 x 1, and classes data that may be digits.
    Raises ValueError or TypeError where samples or labels do not fit.
    """
    return measure(samples, labels, read_real(source, folder), progress)


def measure(samples, labels, real: Real, progress=quiet, scale: float = 1.0) -> dict:
    """The same for data that were read before.

    scale: what the latents were multiplied by, as far as one knows. No published figure was made with another scale
    than 1, so none stands beside such a report, which names its "scale".
    """
    samples = np.asarray(samples) if not isinstance(samples, np.ma.MaskedArray) else samples
    if len(samples) < 4:
        raise ValueError(f"samples must be at least 4, got {len(samples)}")
    report = {"source": real.source, "samples": len(samples), **({} if scale == 1 else {"scale": scale})}
    if samples.ndim == 2:
        if real.source not in MODES:
            raise ValueError(f"points (N, 2) are measured against {' or '.join(MODES)}, "
                             f"got {samples.shape} and the data {real.source}")
        used = samples[:POINTS]
        return {**report, "coverage": {**coverage(used, real.source), "count": len(used),
                                       "by_protocol": len(used) == POINTS and scale == 1}}
    samples = unit_images(samples, "samples")
    labels = _check_fit(samples, labels, real)
    if real.test is not None:
        report.update(_by_protocol(samples, labels, real, scale, progress))
    if samples.shape[1:] == (28, 28, 1):
        report.update(_by_features(samples, labels, real, progress))
    report["nearest"] = copies(samples, real, progress)
    return report


def _check_fit(samples, labels, real):
    """The labels as int64 (N,), or None. ValueError where samples or labels are not of the kind of the real ones."""
    size, names = real.train.images.shape[1:], real.train.names or ()
    if samples.shape[1:] != size:
        raise ValueError(f"samples must be of the size of the images of {real.source}, {size}, got {samples.shape[1:]}")
    if labels is None:
        return None
    labels = check_labels(labels, len(samples))
    if not 0 <= labels.min() <= labels.max() < len(names):
        raise ValueError(f"labels must be those of {real.source}, 0 to {len(names) - 1}, "
                         f"got {labels.min()} to {labels.max()}")
    return labels


def _by_protocol(samples, labels, real, scale, progress):
    """The two figures that the literature has of pixels."""
    report, train, test = {}, real.train, real.test
    theirs = real.source == "mnist" and scale == 1
    validation = train.images[HELD_OUT:HELD_OUT + VALIDATION]
    if len(validation):
        found = parzen(samples[:WINDOWS], validation, test.images, progress)
        count = min(len(samples), WINDOWS)
        report["parzen"] = {**found._asdict(), "count": count, "by_protocol": theirs and count == WINDOWS}
    if labels is not None:
        count = min(len(samples), TEACHERS)
        error = error_rate(samples[:count], labels[:count], test.images, test.labels, progress)
        report["neighbour_error"] = {"error": error, "standard_error": (error * (1 - error) / len(test.images)) ** 0.5,
                                     "count": count, "by_protocol": theirs and count == TEACHERS}
    return report


def _by_features(samples, labels, real, progress):
    """What the classifier of digits sees. Where the classes are known to be others than digits, it cannot name them."""
    count = min(len(samples), FEATURES)
    among, _ = judge(real.train.images, progress=progress)
    names = real.train.names
    digits = set(names or ()) <= set(data.DIGITS)

    def against_real(images):
        features, probabilities = judge(images, progress=progress)
        return frechet_distance(features, among), precision_recall(among[:count], features), probabilities

    distance, (precision, recall), probabilities = against_real(samples[:count])
    report = {"distance": {"distance": distance, "floor": None, "classifier": shipped().hash, "count": count},
              "precision_recall": {"precision": precision, "recall": recall, "count": count}}
    if digits:
        report["classes"] = {**class_shares(probabilities), "count": count}
        if labels is not None:
            asked = np.array([int(name) for name in names])[labels[:count]]
            report["classes"]["as_asked"] = float((probabilities.argmax(axis=1) == asked).mean())
    if real.test is not None:       # as many real images that nobody learned from: what samples can hope for
        # Evenly chosen where they are too many: MNIST's first 5,000 test images are others than its last ones.
        some = np.linspace(0, len(real.test.images) - 1, min(count, len(real.test.images))).astype(int)
        floor, (precision, recall), probabilities = against_real(real.test.images[some])
        report["distance"]["floor"] = floor
        report["precision_recall"].update(real_precision=precision, real_recall=recall)
        if digits:
            classes = class_shares(probabilities)
            report["classes"].update(real_sure=classes["sure"], real_shares=classes["shares"])
    return report


def copies(samples, real: Real, progress=quiet) -> dict:
    """Are samples nearer to training images than images are that nobody learned from? The part "nearest" of a report:
    see `evaluate`. samples: images in the forms of `unit_images`.
    """
    _, distances = nearest(samples[:COPIES], real.train.images, progress)
    found = {"median": float(np.median(distances)), "least": float(distances.min()), "count": len(distances),
             "quantiles": np.quantile(distances, SHARES).tolist()}
    if real.test is not None:
        _, distances = nearest(real.test.images[:COPIES], real.train.images, progress)
        found.update(test_median=float(np.median(distances)), test_least=float(distances.min()),
                     test_quantiles=np.quantile(distances, SHARES).tolist())
    training, distances = nearest_few(samples[:SHOWN], real.train.images, NEIGHBOURS)
    return {**found, "shown": {"training": training.tolist(), "distances": distances.round(3).tolist()}}


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
    scale = report.get("scale", 1)
    lines = [f"{report['samples']} samples, data {report['source']}"
             + ("" if scale == 1 else f", latents scaled by {scale:g}: less variety if below 1")
             + (f", learned from images blurred by {report['blur']:g} pixels" if "blur" in report else "")]
    for key, part in report.items():
        if key in _SECTIONS:
            title, rows = _SECTIONS[key](part)
            if part.get("by_protocol", True):
                rows += PUBLISHED.get(report["source"] if key == "coverage" else key, ())
            else:
                theirs = _PROTOCOL[key] if scale == 1 else "latents as they are drawn"
                rows.append(("published figures", f"not comparable, their protocol is {theirs}"))
            lines += ["", title, *(f"  {who:<52} {figure}" for who, figure in rows)]
    return "\n".join(lines)


def _parzen_rows(part):
    return (f"Parzen-window log-likelihood of test images, nats: {part['count']} samples, sigma from 1,000 held out",
            [("these samples", f"{part['mean']:.1f} +- {part['error']:.1f}, sigma {part['sigma']:.3f}")])


def _error_rows(part):
    return (f"1-nearest-neighbour test error: Euclidean, pixels in [0, 1], {part['count']} samples with labels",
            [("these samples", f"{100 * part['error']:.2f} +- {100 * part['standard_error']:.2f} %")])


def _coverage_rows(part):
    return (f"Modes covered, and samples within three sigma of one: {part['count']} samples",
            [("these samples", f"{part['modes']} of {part['of']} modes, {100 * part['high_quality']:.1f} %")])


def _distance_rows(part):
    rows = [("these samples from the training images", f"{part['distance']:.2f}")]
    if part["floor"] is not None:
        rows.append(("real test images from the training images (floor)", f"{part['floor']:.2f}"))
    rows.append(("FID in Inception features, as published", "not comparable"))
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
    if "as_asked" in part:
        rows.append(("read as the digit that was asked for", f"{100 * part['as_asked']:.1f} %"))
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
