"""Initial weights: how large a layer's random numbers should be, so that signals keep their size
through many layers.

Every function gives a float32 array and takes the np.random.Generator that draws. shape: (in, out)
for a dense layer, (KH, KW, C, O) for a kernel. The fans of a kernel count its taps: fan_in =
KH*KW*C, fan_out = KH*KW*O; for a transposed convolution, which maps O -> C, pass transposed=True
and they change places.
"""
from collections.abc import Sequence

import numpy as np

Shape = Sequence[int]


def fans(shape: Shape, transposed: bool = False) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs an output sums, and how many outputs an input reaches (at
    stride 1).

    Raises ValueError for a shape of fewer than 2 axes or with an empty one.
    """
    if len(shape) < 2:
        raise ValueError(f"shape must have at least 2 axes, (in, out) or (KH, KW, C, O); got {tuple(shape)}")
    if min(shape) < 1:
        raise ValueError(f"every size in shape must be at least 1; got {tuple(shape)}")
    taps = int(np.prod(shape[:-2]))
    fan_in, fan_out = taps * shape[-2], taps * shape[-1]
    return (fan_out, fan_in) if transposed else (fan_in, fan_out)


def generator(rng: np.random.Generator | None) -> np.random.Generator:
    """The generator to draw from: `rng` itself, or a fresh one for None.

    TypeError for anything else.
    """
    if rng is None:
        return np.random.default_rng()
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a np.random.Generator, e.g. np.random.default_rng(0), or None; got {rng!r}")
    return rng


def normal(shape: Shape, std: float = 0.02, mean: float = 0.0, *, rng: np.random.Generator | None = None) -> np.ndarray:
    """Gaussian numbers; N(0, 0.02) is DCGAN's choice (Radford et al. 2015).

    ValueError for a negative std.
    """
    if not 0 <= std < np.inf:
        raise ValueError(f"std must be a number, at least 0; got {std!r}")
    return (mean + std * generator(rng).standard_normal(shape, np.float32)).astype(np.float32)


def uniform(shape: Shape, bound: float, *, rng: np.random.Generator | None = None) -> np.ndarray:
    """Numbers from U(-bound, bound)."""
    return ((2 * generator(rng).random(shape, np.float32) - 1) * bound).astype(np.float32)


def glorot_uniform(shape: Shape, *, transposed: bool = False, rng: np.random.Generator | None = None) -> np.ndarray:
    """U(-a, a), a = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010): keeps the variance of
    linear and tanh layers."""
    return uniform(shape, (6 / float(np.sum(fans(shape, transposed)))) ** 0.5, rng=rng)


def he_normal(shape: Shape, negative_slope: float = 0.0, *, transposed: bool = False,
              rng: np.random.Generator | None = None) -> np.ndarray:
    """N(0, 2 / ((1 + slope^2) * fan_in)) (He et al.

    2015): keeps the variance through ReLU and leaky ReLU.
    """
    return normal(shape, (2 / ((1 + negative_slope ** 2) * fans(shape, transposed)[0])) ** 0.5, rng=rng)


def orthogonal(shape: Shape, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> np.ndarray:
    """A matrix (all axes but the last, the last) with orthonormal columns, or rows where these are
    fewer (Saxe et al. 2013)."""
    fans(shape)                                             # refuses what is no matrix or kernel
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(generator(rng).standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return np.ascontiguousarray(gain * (q if rows >= columns else q.T).reshape(shape), np.float32)


def bilinear(shape: Shape) -> np.ndarray:
    """The kernel (KH, KW, C, C) with which conv_transpose2d, stride (k + 1) // 2, interpolates
    bilinearly, each channel on its own.

    (Long et al. 2015, "Fully convolutional networks for semantic segmentation".) Raises ValueError
    where the two channel counts differ.
    """
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"shape must be (KH, KW, C, C); got {tuple(shape)}")

    def tent(k):
        factor = (k + 1) // 2
        return 1 - np.abs(np.arange(k) - (k - 1) / 2) / factor
    kernel = np.zeros(shape, np.float32)
    kernel[:, :, np.arange(shape[2]), np.arange(shape[2])] = np.outer(tent(shape[0]), tent(shape[1]))[:, :, None]
    return kernel


def icnr(shape: Shape, r: int, draw=he_normal, *, rng: np.random.Generator | None = None) -> np.ndarray:
    """The kernel (KH, KW, C, O) of a convolution in front of pixel_shuffle(r): the r * r channels that become one block
    of pixels start alike, so that the two begin as a convolution whose pixels are repeated, without a checkerboard.

    (Aitken et al. 2017, "Checkerboard artifact free sub-pixel convolution".) draw(shape, rng=rng) gives the kernel
    (KH, KW, C, O / r^2) that is repeated. Raises ValueError where r^2 does not divide O.
    """
    if len(shape) != 4 or r < 1 or shape[3] % (r * r):
        raise ValueError(f"shape must be (KH, KW, C, O), O a multiple of r * r = {r * r}; got {tuple(shape)}")
    return np.repeat(draw((*shape[:3], shape[3] // (r * r)), rng=rng), r * r, axis=3)
