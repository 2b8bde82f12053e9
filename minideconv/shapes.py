"""The integer arithmetic of sliding windows: how many fit, where they reach, and what undoes their
rounding.

Notation: an axis of an image has `size` pixels, `before` and `after` it lie padding pixels that are
not stored, a kernel has `kernel` taps that are `dilation` pixels apart, and windows start every
`stride` pixels. Formulas: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep
learning".
"""
from typing import NamedTuple

Pair = tuple[int, int]


class Window(NamedTuple):
    """All the integers of one convolution: both sizes, so that neither direction has to guess the
    other's.
    """
    kernel: Pair        # taps (KH, KW)
    stride: Pair        # pixels from one window to the next
    padding: Pair       # padding pixels above and left of the image: window (0, 0) starts at (-top, -left)
    dilation: Pair      # pixels from one tap to the next
    image: Pair         # (H, W)
    features: Pair      # (OH, OW): how many windows
    groups: int = 1     # independent convolutions side by side


def span(kernel: int, dilation: int) -> int:
    """Pixels from a kernel's first tap to its last, both included."""
    return dilation * (kernel - 1) + 1


def conv_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1) -> int:
    """The largest o with (o - 1) * stride + span <= before + size + after: the windows that fit."""
    return (before + size + after - span(kernel, dilation)) // stride + 1


def transposed_size(size: int, kernel: int, stride: int, before: int, after: int, dilation: int = 1,
                    extra: int = 0) -> int:
    """The image that `size` stamps cover after the crop: the smallest that conv_size maps to
    `size`, and `extra` pixels.
    """
    return (size - 1) * stride + dilation * (kernel - 1) + 1 - before - after + extra


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> Pair:
    """TensorFlow's "same": (before, after) such that ceil(size / stride) windows fit, the odd pixel
    after.
    """
    total = max((-(-size // stride) - 1) * stride + span(kernel, dilation) - size, 0)
    return total // 2, total - total // 2


def touching_range(start: int, stop: int, kernel: int, stride: int, before: int, dilation: int, windows: int) -> Pair:
    """The windows o in [low, high) that may reach a pixel in [start, stop): the rows a band of an
    image depends on.
    """
    low = max(0, -((span(kernel, dilation) - 1 - before - start) // stride))
    high = min(windows, (stop - 1 + before) // stride + 1)
    return low, max(low, high)


def pair(value, name: str, least: int = 1) -> Pair:
    """An integer, or a sequence of two, as two integers not below `least`."""
    both = (value, value) if not isinstance(value, (tuple, list)) else tuple(value)
    if len(both) != 2:
        raise ValueError(f"{name} must be an integer or two of them, (height, width); got {value!r}")
    for one in both:
        if isinstance(one, bool) or not hasattr(one, "__index__"):
            raise TypeError(f"{name} must be an integer or two of them, (height, width); got {value!r}")
    both = int(both[0]), int(both[1])
    if min(both) < least:
        raise ValueError(f"{name} must be at least {least}; got {value!r}")
    return both


def padding_pairs(padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """`padding` in any of its spellings as ((top, bottom), (left, right)) for an image of `size`.

    0, (h, w), ((top, bottom), (left, right)), "valid" (none) or "same" (see `same_padding`).
    """
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0), (0, 0)
        if padding == "same":
            return tuple(same_padding(*axis) for axis in zip(size, kernel, stride, dilation, strict=True))
        raise ValueError(f"padding must be an integer, (h, w), ((top, bottom), (left, right)), 'same' or 'valid'; "
                         f"got {padding!r}")
    if isinstance(padding, (tuple, list)) and len(padding) == 2 and any(isinstance(p, (tuple, list)) for p in padding):
        return tuple(pair(p if isinstance(p, (tuple, list)) else (p, p), "padding", least=0) for p in padding)
    height, width = pair(padding, "padding", least=0)
    return (height, height), (width, width)


def conv_window(image: Pair, kernel: Pair, stride, padding, dilation, groups: int = 1) -> Window:
    """The window of a convolution of an image of (H, W); ValueError where not even one window fits.
    """
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    pads = padding_pairs(padding, image, kernel, stride, dilation)
    axes = zip(image, kernel, stride, pads, dilation, strict=True)
    features = tuple((sum(p) + size - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in axes)       # conv_size
    if min(features) < 1:
        spans = tuple(span(k, d) for k, d in zip(kernel, dilation, strict=True))
        raise ValueError(f"kernel of {spans[0]}x{spans[1]} pixels (kernel {kernel}, dilation {dilation}) does not "
                         "fit into an image "
                         f"of {image[0]}x{image[1]} with padding {pads}")
    return Window(kernel, stride, (pads[0][0], pads[1][0]), dilation, image, features, groups)


def _same_image(features: Pair, stride: Pair, wanted) -> Pair:
    """The image of a transposed convolution with padding="same": features * stride pixels, or
    `wanted` where that has as many windows.
    """
    image = wanted or (features[0] * stride[0], features[1] * stride[1])
    windows = tuple(-(-size // s) for size, s in zip(image, stride, strict=True))
    if windows != tuple(features):
        raise ValueError(f"output_size {image} with padding='same' and stride {stride} has {windows} windows, but "
                         f"the input has {tuple(features)}")
    return image


def _extra(extra: Pair, wanted, least: Pair, most: Pair) -> Pair:
    """How many rows and columns come after the `least` image: output_padding, or what output_size
    asks for; each below `most`.
    """
    if wanted is not None:
        needed = (wanted[0] - least[0], wanted[1] - least[1])
        if extra not in ((0, 0), needed):
            raise ValueError(f"output_size {wanted} asks for output_padding {needed}, but output_padding is "
                             f"{extra}: give one of them")
        extra = needed
    for axis in (0, 1):
        if not 0 <= extra[axis] < most[axis]:
            legal = f"{least[axis]} to {least[axis] + most[axis] - 1}"
            raise ValueError(f"output_padding must be at least 0 and below max(stride, dilation) = {most[axis]}; "
                             f"got {extra[axis]} on axis "
                             f"{'HW'[axis]} (legal output sizes there: {legal})")
    return extra


def transposed_window(features: Pair, kernel: Pair, stride, padding, output_padding, dilation,
                      output_size=None, groups: int = 1) -> Window:
    """The window of a transposed convolution of (OH, OW) features: the convolution that it is the
    transpose of.

    Several image sizes convolve to the same feature size; `output_padding` (rows added after,
    computed like all others) or `output_size` choose one. With padding="same" the image has
    features * stride pixels unless `output_size` says otherwise.
    """
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    extra = pair(output_padding, "output_padding", least=0)
    wanted = None if output_size is None else pair(output_size, "output_size")
    if padding == "same":
        if extra != (0, 0):
            raise ValueError(f"padding='same' settles the size, so output_padding must be 0; got "
                             f"{output_padding!r}. Use output_size")
        image = _same_image(features, stride, wanted)
        pads = padding_pairs("same", image, kernel, stride, dilation)
    else:
        pads = padding_pairs(padding, (0, 0), kernel, stride, dilation)
        axes = zip(features, kernel, stride, pads, dilation, strict=True)
        least = tuple((f - 1) * s + d * (k - 1) + 1 - sum(p) for f, k, s, p, d in axes)     # transposed_size
        if wanted is not None or extra != (0, 0):
            extra = _extra(extra, wanted, least, (max(stride[0], dilation[0]), max(stride[1], dilation[1])))
        image = (least[0] + extra[0], least[1] + extra[1])
    if min(image) < 1:
        raise ValueError(f"padding {pads} crops the output away: {features} features with kernel {kernel} and "
                         f"stride {stride} leave {image}")
    return Window(kernel, stride, (pads[0][0], pads[1][0]), dilation, image, tuple(features), groups)
