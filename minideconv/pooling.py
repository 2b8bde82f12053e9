"""Changes of resolution other than convolutions: pooling with switches and back, averages,
upsampling, pixel shuffle.

Notation: images (N, H, W, C); windows of (KH, KW) pixels, `stride` apart (the kernel's size where
none is given); OH, OW windows.
"""
import numpy as np

from . import kernels, shapes
from .conv import im2col, not_images
from .ops import broadcast_to, matmul, reshape, transpose
from .primitives import primitive
from .tensor import Tensor, as_floating, as_tensor


def _images(x, fractions=False) -> Tensor:
    x = as_floating(x) if fractions else as_tensor(x)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise not_images("x", x)
    return x


def _pool_window(size, kernel_size, stride, padding) -> tuple[shapes.Window, tuple]:
    """The window of a pool, and its padding as ((top, bottom), (left, right))."""
    kernel = shapes.pair(kernel_size, "kernel_size")
    stride = shapes.pair(kernel if stride is None else stride, "stride")
    pads = shapes.padding_pairs(padding, size, kernel, stride, (1, 1))
    if any(2 * p > k for pair, k in zip(pads, kernel, strict=True) for p in pair):
        raise ValueError(f"padding must be at most half of kernel_size {kernel}, so that every window holds a "
                         f"pixel; got {padding!r}")
    return shapes.conv_window(size, kernel, stride, pads, 1), pads


@primitive
def take_pixels(x, *, switches):
    """y[n, i, j, c] = pixel switches[n, i, j, c] (= h * W + w) of plane (n, c)."""
    size = x.shape[1:3]
    return kernels.active().take_pixels(x.array, switches), lambda g: put_pixels(g, switches=switches, size=size)


@primitive
def put_pixels(y, *, switches, size):
    """The transpose of take_pixels: each y goes back to its pixel of an image of `size`; zero
    elsewhere.
    """
    return kernels.active().put_pixels(y.array, switches, size), lambda g: take_pixels(g, switches=switches)


def max_pool2d(x, kernel_size, stride=None, padding=0, return_indices=False) -> Tensor | tuple[Tensor, np.ndarray]:
    """The largest pixel of every window, (N, H, W, C) -> (N, OH, OW, C). Padding, spelled as in
    conv2d, is minus infinity.

    return_indices: also give the switches, an int64 array of the output's shape: each the flat
    index h * W + w of the pixel in its input plane (the first of equals), which max_unpool2d takes.
    The gradient goes to that pixel. Raises ValueError for sizes that do not fit.
    """
    x = _images(x)
    window, _ = _pool_window(x.shape[1:3], kernel_size, stride, padding)
    switches = kernels.active().max_switches(x.array, window)
    y = take_pixels(x, switches=switches)
    return (y, switches.copy()) if return_indices else y


def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Puts each value back where max_pool2d took it from, zeros elsewhere (Zeiler and Fergus 2013):
    (N, OH, OW, C) -> (N, H, W, C).

    indices: integers of x's shape, h * W + w as max_pool2d gives them. output_size (H, W): the
    image that was pooled; without it (OH - 1) * stride + kernel - pads ("same": OH * stride). Where
    windows overlapped and two values share a pixel they add up: the transpose of taking. Raises
    ValueError for shapes that do not fit or indices outside the image.
    """
    x = _images(x)
    indices = np.asarray(indices.data if isinstance(indices, Tensor) else indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices must be integers; got {indices.dtype}")
    if indices.shape != x.shape:
        raise ValueError(f"indices must have x's shape {x.shape}; got {indices.shape}")
    kernel = shapes.pair(kernel_size, "kernel_size")
    stride = kernel if stride is None else stride
    if output_size is None:
        size = shapes.transposed_window(x.shape[1:3], kernel, stride, padding, output_padding=0, dilation=1).image
    else:
        size = shapes.pair(output_size, "output_size")
    if indices.size and not 0 <= indices.min() <= indices.max() < size[0] * size[1]:
        raise ValueError(f"indices must lie in [0, {size[0] * size[1]}) for an image of {size}; got {indices.min()} "
                         f"to {indices.max()}")
    return put_pixels(x, switches=np.array(indices, np.int64, order="C"), size=size)


def avg_pool2d(x, kernel_size, stride=None, padding=0, count_include_pad=True) -> Tensor:
    """The average of every window, (N, H, W, C) -> (N, OH, OW, C). Padding pixels are zeros,
    counted unless count_include_pad=False.
    """
    x = _images(x, fractions=True)
    window, pads = _pool_window(x.shape[1:3], kernel_size, stride, padding)
    taps = window.kernel[0] * window.kernel[1]

    def sums(images):
        cols = im2col(images, kernel_size, window.stride, pads)
        return reshape(cols, len(images), *window.features, taps, images.shape[3]).sum(axis=3)
    if count_include_pad:
        return sums(x) / taps
    return sums(x) / sums(np.ones((1, *x.shape[1:3], 1), x.dtype)).data


def _interpolation(size: int, factor: int) -> np.ndarray:
    """The matrix (size * factor, size) of linear interpolation with half-pixel centres, the border
    repeated.
    """
    centres = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(size)))


def upsample(x, scale_factor, mode="nearest") -> Tensor:
    """x enlarged by whole factors, (N, H, W, C) -> (N, H*fh, W*fw, C). scale_factor: integer or
    (fh, fw).

    mode "nearest" repeats pixels; "bilinear" interpolates between their centres (half-pixel
    centres, align_corners=False).
    """
    x = _images(x, fractions=mode == "bilinear")
    fh, fw = shapes.pair(scale_factor, "scale_factor")
    n, h, w, c = x.shape
    if mode == "nearest":
        return reshape(broadcast_to(reshape(x, n, h, 1, w, 1, c), (n, h, fh, w, fw, c)), n, h * fh, w * fw, c)
    if mode != "bilinear":
        raise ValueError(f"mode must be 'nearest' or 'bilinear'; got {mode!r}")
    tall = reshape(matmul(_interpolation(h, fh).astype(x.dtype), reshape(x, n, h, w * c)), n * h * fh, w, c)
    return reshape(matmul(_interpolation(w, fw).astype(x.dtype), tall), n, h * fh, w * fw, c)


def pixel_shuffle(x, r) -> Tensor:
    """Channels to resolution (Shi et al. 2016): (N, H, W, C*r*r) -> (N, H*r, W*r, C); channel c*r*r
    + i*r + j becomes pixel (i, j) of c.
    """
    x = _images(x)
    if isinstance(r, (tuple, list)):
        raise TypeError(f"r must be one integer for both axes; got {r!r}")
    r, _ = shapes.pair(r, "r")
    n, h, w, channels = x.shape
    if channels % (r * r):
        raise ValueError(f"x must have a multiple of r * r = {r * r} channels; got shape {x.shape}")
    c = channels // (r * r)
    return reshape(transpose(reshape(x, n, h, w, c, r, r), 0, 1, 4, 2, 5, 3), n, h * r, w * r, c)
