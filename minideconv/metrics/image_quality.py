"""How near is an image to the one that it should be? Figures for pairs: restored or translated images beside the truth.

    psnr                    peak signal-to-noise ratio, dB: the mean squared error on a logarithmic scale
    ssim                    structural similarity (Wang et al. 2004): means, contrasts and correlation in small windows
    gradient_similarity     edges where there should be edges, and as strong (Xue et al. 2014)

All take (images, truth), two arrays of one shape as `unit_images` takes them, and give one figure for each image,
float64 (N,). Equal images have an infinite PSNR, and 1 of the others.
"""
import numpy as np

from . import unit_images

# Of Wang et al.: an 11 x 11 Gaussian window with this standard deviation, and what keeps divisions from zero.
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01 ** 2, 0.03 ** 2
# Of Xue et al., who give 170 for grey levels up to 255.
FLAT = 170 / 255 ** 2


def _pair(images, truth, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 (N, H, W, C) in [0, 1]. ValueError where they differ in shape or are smaller than `least`."""
    images, truth = unit_images(images).astype(np.float64), unit_images(truth, "truth").astype(np.float64)
    if images.shape != truth.shape:
        raise ValueError(f"images and truth must have the same shape, got {images.shape} and {truth.shape}")
    if min(images.shape[1:3]) < least:
        raise ValueError(f"images must be at least {least} x {least} pixels, got {images.shape[1]} x {images.shape[2]}")
    return images, truth


def psnr(images, truth) -> np.ndarray:
    """10 log10(1 / mean squared error) of each image, in dB; infinite where the two are equal."""
    images, truth = _pair(images, truth, 1)
    error = ((images - truth) ** 2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return -10 * np.log10(error)


def ssim(images, truth) -> np.ndarray:
    """Structural similarity, equation 13 of Wang et al. 2004 ("Image quality assessment: from error visibility to
    structural similarity"), averaged over the windows that lie inside the image, and over channels.

    Means m, variances v and covariance c are weighted by the window; a window's figure is
    (2 m1 m2 + C1)(2 c + C2) / ((m1^2 + m2^2 + C1)(v1 + v2 + C2)). Raises ValueError below 11 x 11 pixels.
    """
    x, y = _pair(images, truth, WINDOW)
    mx, my = _windowed(x), _windowed(y)
    vx, vy, cov = _windowed(x * x) - mx * mx, _windowed(y * y) - my * my, _windowed(x * y) - mx * my
    similar = (2 * mx * my + C1) * (2 * cov + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2))
    return similar.mean(axis=(1, 2, 3))


def _windowed(x) -> np.ndarray:
    """The Gaussian mean of each window, (N, H, W, C) -> (N, H - 10, W - 10, C): rows, then columns."""
    bell = np.exp(-(np.arange(WINDOW) - WINDOW // 2) ** 2 / (2 * SIGMA ** 2))
    bell /= bell.sum()
    height, width = x.shape[1] - WINDOW + 1, x.shape[2] - WINDOW + 1
    tall = sum(weight * x[:, tap:tap + height] for tap, weight in enumerate(bell))
    return sum(weight * tall[:, :, tap:tap + width] for tap, weight in enumerate(bell))


def gradient_similarity(images, truth) -> np.ndarray:
    """(2 g1 g2 + c) / (g1^2 + g2^2 + c), averaged over pixels, g the lengths of the gradients of the two: the
    GMS of Xue et al. 2014 ("Gradient magnitude similarity deviation", equation 3) with their Prewitt filters.

    Colours count by their mean. Where both are flat a pixel counts 1; an edge that is lost, added or blurred
    counts less. Raises ValueError below 3 x 3 pixels.
    """
    x, y = (_steepness(side.mean(axis=3)) for side in _pair(images, truth, 3))
    return ((2 * x * y + FLAT) / (x * x + y * y + FLAT)).mean(axis=(1, 2))


def _steepness(x) -> np.ndarray:
    """Length of the gradient of planes (N, H, W), by Prewitt's filters, (N, H - 2, W - 2)."""
    three = x[:, :-2] + x[:, 1:-1] + x[:, 2:]               # (N, H - 2, W): sums over rows
    across = (three[:, :, 2:] - three[:, :, :-2]) / 3
    three = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]      # (N, H, W - 2)
    down = (three[:, 2:] - three[:, :-2]) / 3
    return np.sqrt(across ** 2 + down ** 2)
