"""Figures for pairs of images, against loops over pixels and windows."""
import numpy as np
import pytest

from minideconv.metrics.image_quality import gradient_similarity, psnr, ssim


def pictures(channels=2, seed=0):
    """Two images of 13 x 15, alike but for noise, and one of its own."""
    rng = np.random.default_rng(seed)
    truth = rng.random((2, 13, 15, channels))
    return np.clip(truth + 0.2 * rng.standard_normal(truth.shape), 0, 1), truth


def ssim_of_window(x, y, weights):
    """Equation 13 of Wang et al. from the definitions of mean, variance and covariance."""
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    c1, c2 = 0.0001, 0.0009
    return (2 * mx * my + c1) * (2 * cov + c2) / ((mx ** 2 + my ** 2 + c1) * (vx + vy + c2))


def test_ssim_is_the_mean_over_windows_by_loops():
    images, truth = pictures()
    weights = np.array([[np.exp(-((u - 5) ** 2 + (v - 5) ** 2) / 4.5) for v in range(11)] for u in range(11)])
    weights /= weights.sum()
    for n, found in enumerate(ssim(images, truth)):
        expected = [ssim_of_window(images[n, i:i + 11, j:j + 11, c], truth[n, i:i + 11, j:j + 11, c], weights)
                    for i in range(3) for j in range(5) for c in range(2)]
        assert np.isclose(found, np.mean(expected), rtol=1e-5)          # the images go through float32


def test_gradient_similarity_by_loops():
    images, truth = pictures(3)

    def length(x, i, j):
        window = x[i - 1:i + 2, j - 1:j + 2].mean(axis=2)
        right = sum(window[u, 2] - window[u, 0] for u in range(3)) / 3
        down = sum(window[2, v] - window[0, v] for v in range(3)) / 3
        return (right ** 2 + down ** 2) ** 0.5
    c = 170 / 255 ** 2
    for n, found in enumerate(gradient_similarity(images, truth)):
        pairs = [(length(images[n], i, j), length(truth[n], i, j)) for i in range(1, 12) for j in range(1, 14)]
        assert np.isclose(found, np.mean([(2 * a * b + c) / (a * a + b * b + c) for a, b in pairs]), rtol=1e-5)


def test_psnr():
    truth = np.zeros((1, 4, 4, 1))
    assert np.isclose(psnr(truth + 0.1, truth), 20, atol=1e-5)
    assert np.isclose(psnr(truth + 0.5, truth), 6.0206, atol=1e-4)
    assert psnr(truth, truth) == [np.inf]


def test_equal_images_have_the_best_figures_and_blur_costs():
    _, truth = pictures()
    assert np.allclose(ssim(truth, truth), 1) and np.allclose(gradient_similarity(truth, truth), 1)
    edge = np.zeros((1, 16, 16, 1))
    edge[:, :, 8:] = 1
    blurred = (edge + np.roll(edge, 1, axis=2) + np.roll(edge, -1, axis=2)) / 3
    blurred[:, :, 0], blurred[:, :, -1] = 0, 1
    for figure in (ssim, gradient_similarity):
        assert figure(blurred, edge) < 0.97


def test_bytes_are_taken_as_fractions():
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
    for figure in (psnr, ssim, gradient_similarity):
        assert np.allclose(figure(images, images[::-1].copy()), figure(images / 255, images[::-1] / 255))


@pytest.mark.parametrize("figure, shape", [(psnr, (1, 4, 5, 1)), (ssim, (1, 10, 12, 1)),
                                           (gradient_similarity, (1, 2, 5, 1))])
def test_what_cannot_be_measured(figure, shape):
    images = np.zeros(shape)
    with pytest.raises(ValueError, match="same shape"):
        figure(images, np.zeros((1, 12, 12, 2)))
    with pytest.raises(ValueError, match="truth must be finite"):
        figure(images, images + 2)
    if figure is not psnr:
        with pytest.raises(ValueError, match="images must be at least"):
            figure(images, images)
