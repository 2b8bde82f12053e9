"""Latent space: paths between latents, arithmetic on their means, and the images on the way.

In many dimensions the latents of N(0, I) lie near a sphere of radius sqrt(latent). A straight path between two of them
cuts through its inside, where the generator was never trained: halfway, |z| is smaller by sqrt(2). A spherical path
keeps its length (White 2016, "Sampling generative networks"). A mean of latents is as short: that of n by sqrt(n). But
mean - mean + mean of three each, as in Radford et al. 2015, is as long as a latent again (3 * 1/3 = 1).
"""
import numpy as np

from ..models.dcgan import one_hot
from .networks import draw_latents
from .sample import images_of


def straight(a, b, t) -> np.ndarray:
    """(1 - t) * a + t * b for each t: latents a, b (..., latent) and t (T,) -> float32 (T, ..., latent).

    Raises ValueError where a and b have not one shape.
    """
    a, b, t = _checked(a, b, t)
    return ((1 - t) * a + t * b).astype(np.float32)


def spherical(a, b, t) -> np.ndarray:
    """Along the great circle, turning evenly (slerp, Shoemake 1985): shapes as in `straight`.

        sin((1 - t) w) / sin(w) * a  +  sin(t w) / sin(w) * b,      w: the angle between a and b

    Of two latents of one length all on the way are of that length; else the lengths pass over into each other. Where
    w is 0 this is the straight path. Raises ValueError for a latent of zeros, which has no direction, and for
    opposite ones, between which no circle is the shortest.
    """
    a, b, t = _checked(a, b, t)
    lengths = [np.linalg.norm(one, axis=-1, keepdims=True) for one in (a, b)]
    if min(length.min(initial=1) for length in lengths) == 0:
        raise ValueError("a and b must have a direction for a spherical path; got a latent of zeros")
    u, v = a / lengths[0], b / lengths[1]
    # More exact than the arc cosine of u . v where the angle is small.
    angle = 2 * np.arctan2(np.linalg.norm(u - v, axis=-1, keepdims=True), np.linalg.norm(u + v, axis=-1, keepdims=True))
    if (np.pi - angle < 1e-6).any():
        raise ValueError("a and b must not be opposite for a spherical path: no great circle is the shortest")
    together = angle < 1e-6
    angle = np.where(together, 1, angle)
    first, second = (np.where(together, share, np.sin(share * angle) / np.sin(angle)) for share in (1 - t, t))
    return (first * a + second * b).astype(np.float32)


PATHS = {"straight": straight, "spherical": spherical}


def _checked(a, b, t):
    """a and b as float64 of one shape, and t with as many axes after its own."""
    a, b, t = (np.asarray(one, np.float64) for one in (a, b, t))
    if a.shape != b.shape or a.ndim == 0:
        raise ValueError(f"b must have a's shape, (latent,) or (..., latent); got {b.shape} for {a.shape}")
    if t.ndim != 1:
        raise ValueError(f"t must be numbers (T,), 0 for a to 1 for b; got shape {t.shape}")
    return a, b, t.reshape(-1, *[1] * a.ndim)


def walk(generator, a, b, steps: int = 9, path: str = "spherical", label: int | None = None,
         to_label: int | None = None) -> np.ndarray:
    """The images float32 (steps, H, W, C) on the path from latent a to latent b, both (latent,) and both included.

    path: one of PATHS. label: the class that a generator with classes draws; to_label: the one that it ends with, where
    that is another. On the way it hears both, (1 - t) and t of them, which it never did in training. With a equal to b
    only the label changes. Raises ValueError for steps below 2, a path or a label that is not there.
    """
    if path not in PATHS:
        raise ValueError(f"path must be one of {', '.join(PATHS)}; got {path!r}")
    if steps < 2:
        raise ValueError(f"steps must be at least 2, for both ends; got {steps}")
    t = np.linspace(0, 1, steps)
    return images_of(generator, PATHS[path](a, b, t), _labels(generator, label, to_label, t))


def _labels(generator, label, to_label, t):
    """What the generator hears at each t: None, labels (T,), or mixtures (T, classes)."""
    for name, value in (("label", label), ("to_label", to_label)):
        if value is not None and not 0 <= value < generator.classes:
            known = f"0 to {generator.classes - 1}" if generator.classes else "none: it was trained without labels"
            raise ValueError(f"{name} must be a class that the generator knows ({known}); got {value}")
    if not generator.classes:
        return None
    if label is None:
        raise ValueError(f"label must be given for a generator of classes, 0 to {generator.classes - 1}; got None")
    if to_label is None:
        return np.full(len(t), label)
    first, second = one_hot([label, to_label], generator.classes)
    return ((1 - t[:, np.newaxis]) * first + t[:, np.newaxis] * second).astype(np.float32)


def ink(images) -> np.ndarray:
    """The mean of all pixels of each image, (N, H, W, C) -> (N,): how much of it is drawn."""
    return np.asarray(images).mean(axis=(1, 2, 3))


def walk_effects(generator, pairs: int = 200, steps: int = 9, seed: int = 0, score=ink) -> dict:
    """Path -> (lengths, scores), both float (steps, pairs): |z| and the images' `score` on paths between random pairs.

    score: a function of images (N, H, W, C) that gives (N,). Classes take turns, one for each pair.
    """
    a, b = draw_latents(generator, 2 * pairs, np.random.default_rng(seed)).reshape(2, pairs, -1)
    labels = np.tile(np.arange(pairs) % generator.classes, steps) if generator.classes else None
    found = {}
    for name, path in PATHS.items():
        latents = path(a, b, np.linspace(0, 1, steps))                              # (steps, pairs, latent)
        images = images_of(generator, latents.reshape(steps * pairs, -1), labels)
        found[name] = np.linalg.norm(latents, axis=-1), score(images).reshape(steps, pairs)
    return found


def extremes(generator, score=ink, count: int = 3, among: int = 500, seed: int = 0,
             label: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The latents float32 (count, latent) with the highest and with the lowest `score` of `among` that are drawn.

    score: a function of images (N, H, W, C) that gives (N,). label: as in `walk`. The most extreme come first.
    Raises ValueError for a label that does not fit, or for fewer latents than 2 * count.
    """
    if not 1 <= count <= among // 2:
        raise ValueError(f"count must be from 1 to half of among = {among}; got {count}")
    latents = draw_latents(generator, among, np.random.default_rng(seed))
    order = np.argsort(score(images_of(generator, latents, _labels(generator, label, None, np.zeros(among)))),
                       kind="stable")
    return latents[order[:-count - 1:-1]], latents[order[:count]]


def arithmetic(a, minus, plus) -> np.ndarray:
    """mean(a) - mean(minus) + mean(plus), float32 (latent,), of latents (K, latent) each, K the number that one has.

    Radford et al. 2015, section 6.3.2: means of three show what single latents do not. Raises ValueError for latents
    that are no rows of one width.
    """
    rows = [np.asarray(one, np.float32) for one in (a, minus, plus)]
    if any(one.ndim != 2 or len(one) == 0 or one.shape[1] != rows[0].shape[-1] for one in rows):
        raise ValueError("a, minus and plus must be latents (K, latent) of one width, K at least 1; got "
                         + ", ".join(str(one.shape) for one in rows))
    first, second, third = (one.mean(axis=0) for one in rows)
    return first - second + third
