"""A convolution or transposed convolution one window at a time, as plain records:
which pixel, which tap, which product, how often.

One image, one channel in, one out: more of them are sums and copies of this picture. Written as
the definition reads, in Python loops, so it is a second opinion on the engine's own result, and
`walk` compares the two.

Notation: x (H, W) image, w (KH, KW) kernel, y (OH, OW) features. The canvas is the image with what
lies around it (padding of a convolution, what the crop of a transposed one cuts off): canvas cell
(0, 0) is pixel (-top, -left).
"""
from typing import NamedTuple

import numpy as np

from .. import functional as F
from ..shapes import Pair, Window, conv_window, padding_pairs, span, transposed_window
from ..tensor import Tensor, no_grad


class Step(NamedTuple):
    """One window: a convolution reads its pixels into y[feature],
    a transposed convolution stamps y[feature] onto them.
    """
    feature: Pair
    # [(row, column)] under each tap in kernel order, in image coordinates: a negative or too large
    # one lies outside.
    pixels: list
    # (KH * KW,): what a convolution reads there (0 in the padding), or what a stamp multiplies the
    # taps with.
    values: np.ndarray
    products: np.ndarray    # (KH * KW,): values * taps
    # What is known after this step: features (OH, OW), NaN where still to come; or the canvas.
    result: np.ndarray
    counts: np.ndarray      # canvas: how often each cell has been read or written so far


class Walk(NamedTuple):
    """A whole convolution (transposed=False) or transposed convolution:
    its arrays, its geometry and its steps.
    """
    transposed: bool
    window: Window
    pads: tuple         # ((top, bottom), (left, right)) as asked for
    extra: Pair         # output padding: rows and columns that the smallest legal image does not have
    weight: np.ndarray  # (KH, KW)
    source: np.ndarray  # the image of a convolution, the features of a transposed one
    result: np.ndarray  # the other one
    canvas: Pair        # (rows, columns)
    steps: list


def conv(x, weight, stride=1, padding=0, dilation=1) -> Walk:
    """The steps of conv2d of an image x (H, W) with a kernel (KH, KW);
    padding in any spelling that conv2d takes.
    """
    x, weight = _plane(x, "x"), _plane(weight, "weight")
    window = conv_window(x.shape, weight.shape, stride, padding, dilation)
    pads = padding_pairs(padding, x.shape, weight.shape, window.stride, window.dilation)
    canvas = tuple(size + sum(pad) for size, pad in zip(x.shape, pads, strict=True))
    y, counts, steps = np.full(window.features, np.nan), np.zeros(canvas, int), []
    for i, j in np.ndindex(window.features):
        pixels = _pixels(window, i, j)
        values = np.array([x[pixel] if _inside(pixel, x.shape) else 0.0 for pixel in pixels])
        products = values * weight.ravel()
        y[i, j] = products.sum()
        for pixel in pixels:
            counts[_cell(window, pixel)] += 1
        steps.append(Step((i, j), pixels, values, products, y.copy(), counts.copy()))
    with no_grad():
        ours = F.conv2d(Tensor(x[None, :, :, None]), Tensor(weight[:, :, None, None]), stride=stride, padding=padding,
                        dilation=dilation)
    _compare(y, ours.data[0, :, :, 0], "conv2d")
    return Walk(False, window, pads, (0, 0), weight, x, y, canvas, steps)


def conv_transpose(y, weight, stride=1, padding=0, output_padding=0, dilation=1, output_size=None) -> Walk:
    """The steps of conv_transpose2d of features y (OH, OW) with a kernel (KH, KW):
    each feature stamps the kernel, then the crop.
    """
    y, weight = _plane(y, "y"), _plane(weight, "weight")
    window = transposed_window(y.shape, weight.shape, stride, padding, output_padding, dilation, output_size)
    pads = padding_pairs(padding, window.image, weight.shape, window.stride, window.dilation)
    stamped = _stamped(window)
    # "same" settles its crop from the size it wants, so nothing is added at the end but rows that
    # no stamp reaches.
    extra = tuple(max(0, size - (full - sum(pad))) for size, full, pad in zip(window.image, stamped, pads, strict=True))
    canvas = tuple(max(full, before + size)
                   for full, before, size in zip(stamped, window.padding, window.image, strict=True))
    picture, counts, steps = np.zeros(canvas), np.zeros(canvas, int), []
    for i, j in np.ndindex(window.features):
        pixels = _pixels(window, i, j)
        values = np.full(weight.size, y[i, j])
        products = values * weight.ravel()
        for pixel, product in zip(pixels, products, strict=True):
            picture[_cell(window, pixel)] += product
            counts[_cell(window, pixel)] += 1
        steps.append(Step((i, j), pixels, values, products, picture.copy(), counts.copy()))
    (top, left), (height, width) = window.padding, window.image
    x = picture[top:top + height, left:left + width]
    with no_grad():
        ours = F.conv_transpose2d(Tensor(y[None, :, :, None]), Tensor(weight[:, :, None, None]), stride=stride,
                                  padding=padding, output_padding=output_padding, dilation=dilation,
                                  output_size=output_size)
    _compare(x, ours.data[0, :, :, 0], "conv_transpose2d")
    return Walk(True, window, pads, extra, weight, y, x, canvas, steps)


def _stamped(window: Window) -> Pair:
    """(rows, columns) that the stamps of a transposed convolution cover, before the crop."""
    return tuple((o - 1) * s + span(k, d) for o, s, k, d in zip(window.features, window.stride, window.kernel,
                                                                window.dilation, strict=True))


def kinds(walk: Walk) -> np.ndarray:
    """What each canvas cell is: "image", "padding" (a convolution's zeros),
    "crop" (computed, then cut off) or "output_padding".
    """
    kind = np.full(walk.canvas, "crop" if walk.transposed else "padding", dtype="U14")
    (top, left), (height, width), (extra_rows, extra_columns) = walk.window.padding, walk.window.image, walk.extra
    kind[top:top + height, left:left + width] = "output_padding" if walk.transposed else "image"
    kind[top:top + height - extra_rows, left:left + width - extra_columns] = "image"
    return kind


def describe(walk: Walk) -> str:
    """The arithmetic of the sizes in words, one line a step."""
    window, (rows, columns) = walk.window, walk.window.image
    kernel = f"{window.kernel[0]}x{window.kernel[1]} kernel"
    if max(window.dilation) > 1:
        spans = tuple(span(k, d) for k, d in zip(window.kernel, window.dilation, strict=True))
        kernel += f" dilated by {_both(window.dilation)}, so spanning {spans[0]}x{spans[1]}"
    (top, bottom), (left, right) = walk.pads
    features = f"{window.features[0]}x{window.features[1]}"
    if not walk.transposed:
        lines = [f"conv2d: a {rows}x{columns} image, {kernel}, stride {_both(window.stride)} -> {features} features"]
        if any((top, bottom, left, right)):
            lines.append(f"padding (zeros): {_rows(top)} above, {bottom} below, {_columns(left)} left, {right} right; "
                         "read, but stored nowhere")
        unread = tuple(int((walk.steps[-1].counts.sum(axis=1 - axis) == 0)[::-1].argmin()) for axis in (0, 1))
        if any(unread):
            lines.append(f"the last {_rows(unread[0])} and {_columns(unread[1])}, padding included, "
                         "are read by no window: a smaller image has as many features")
        return "\n".join(lines)
    lines = [f"conv_transpose2d: {features} features, {kernel}, stamped every {_both(window.stride)} pixels "
             f"-> a {rows}x{columns} image"]
    if any((top, bottom, left, right)):
        lines.append(f"padding here is a crop: {_rows(top)} cut off above, {bottom} below, {_columns(left)} left, "
                     f"{right} right")
    if any(walk.extra):
        beyond = tuple(max(0, size + before - full)
                       for size, before, full in zip(window.image, window.padding, _stamped(window), strict=True))
        gained = "are computed like all others"
        if any(beyond):
            gained = (f"include {_rows(beyond[0])} and {_columns(beyond[1])}\n"
                      "beyond every stamp, which hold the bias alone, here 0")
        lines.append(f"output padding moves the lower edge by {_rows(walk.extra[0])} and the right edge by "
                     f"{_columns(walk.extra[1])}; the pixels gained {gained}")
    return "\n".join(lines)


def _both(pair: Pair) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _rows(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _pixels(window: Window, i: int, j: int) -> list:
    """The pixel under each tap of window (i, j), in kernel order:
    (s*i + d*u - p, s*j + d*v - p).
    """
    (s_h, s_w), (d_h, d_w), (top, left) = window.stride, window.dilation, window.padding
    return [(s_h * i + d_h * u - top, s_w * j + d_w * v - left) for u, v in np.ndindex(window.kernel)]


def _cell(window: Window, pixel: Pair) -> Pair:
    return pixel[0] + window.padding[0], pixel[1] + window.padding[1]


def _inside(pixel: Pair, shape: Pair) -> bool:
    return 0 <= pixel[0] < shape[0] and 0 <= pixel[1] < shape[1]


def _plane(values, name: str) -> np.ndarray:
    """`values` as a float64 matrix."""
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be a matrix (rows, columns): the walk shows one channel; "
                         f"got shape {array.shape}")
    return array


def _compare(steps, engine, name: str) -> None:
    """ArithmeticError where the sum of the steps is not what the engine computes."""
    if steps.shape != engine.shape:
        raise ArithmeticError(f"the steps make {steps.shape}, {name} {engine.shape}")
    if not np.allclose(steps, engine, rtol=1e-12, atol=1e-12 * np.abs(steps).max()):
        raise ArithmeticError(f"the steps do not add up to what {name} computes: "
                              f"largest difference {np.abs(steps - engine).max():.3g}")
