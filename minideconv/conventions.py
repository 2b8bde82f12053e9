"""One layer in the words of PyTorch, Keras and ONNX:
translated to plain numbers and back, arrays included.

What leaves for other frameworks (interchange/) and the table of `minideconv draw translate` both go
by this file.

What differs: the order of axes, what "same" means, what output_padding adds to, and whether
padding may be asymmetric. What does not: all three slide the kernel without flipping it. Whoever
needs a flip is writing a transposed convolution as a convolution, or uses scipy.signal.convolve2d.

    ours and Keras      images (N, H, W, C)     kernels (KH, KW, C, O)
    PyTorch and ONNX    images (N, C, H, W)     kernels (O, C, KH, KW)

The kernels are the same for both directions: a transposed layer maps O to C.
"""
from typing import NamedTuple

import numpy as np

from .shapes import padding_pairs, pair, same_padding, span, transposed_size

FRAMEWORKS = ("minideconv", "PyTorch", "Keras", "ONNX")
OURS = (0, 1, 2, 3)
IMAGE_AXES = (0, 3, 1, 2)       # of PyTorch and ONNX: which of our axes each of theirs is
KERNEL_AXES = (3, 2, 0, 1)


class Layer(NamedTuple):
    """A convolution or transposed convolution in numbers alone, for an input of one size."""
    transposed: bool
    size: tuple             # (H, W) of the input: an image, or features where transposed
    kernel: tuple
    stride: tuple
    pads: tuple             # ((top, bottom), (left, right)): zeros around, or, transposed, what is cropped
    output_padding: tuple   # rows and columns more than the smallest legal image; (0, 0) unless transposed
    dilation: tuple

    def arguments(self) -> dict:
        """What to pass to F.conv2d or F.conv_transpose2d besides the arrays."""
        extra = {"output_padding": self.output_padding} if self.transposed else {}
        return {"stride": self.stride, "padding": self.pads, "dilation": self.dilation} | extra

    def axes(self):
        """Height, then width: (size, kernel, stride, (before, after), output_padding, dilation).
        """
        return list(zip(*self[1:], strict=True))

    def image(self) -> tuple:
        """(H, W) of the picture side: the input of a convolution,
        the output of a transposed one.
        """
        if not self.transposed:
            return self.size
        return tuple(transposed_size(n, k, s, *p, d, a) for n, k, s, p, a, d in self.axes())


def weight_to(framework: str, weight):
    """Our kernel (KH, KW, C, O) in the order of `framework`;
    the same for conv and transposed conv.
    """
    return _reordered(weight, KERNEL_AXES if _channels_first(framework) else OURS)


def weight_from(framework: str, weight):
    """A kernel of `framework` as ours, (KH, KW, C, O)."""
    return _reordered(weight, np.argsort(KERNEL_AXES) if _channels_first(framework) else OURS)


def image_to(framework: str, x):
    """Images or features (N, H, W, C) in the order of `framework`."""
    return _reordered(x, IMAGE_AXES if _channels_first(framework) else OURS)


def image_from(framework: str, x):
    """Images or features of `framework` as ours, (N, H, W, C)."""
    return _reordered(x, np.argsort(IMAGE_AXES) if _channels_first(framework) else OURS)


def _reordered(array, order):
    """The array with its axes in this order, contiguous; the array itself where nothing moves."""
    return np.asarray(array) if order is OURS else np.ascontiguousarray(np.transpose(array, order))


def _channels_first(framework: str) -> bool:
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework must be one of {', '.join(FRAMEWORKS)}; got {framework!r}")
    return framework in ("PyTorch", "ONNX")


# From their words to numbers.

def from_pytorch(size, kernel, stride=1, padding=0, output_padding=0, dilation=1, transposed=False) -> Layer:
    """torch.nn.Conv2d or ConvTranspose2d.

    Its padding="same" (conv, stride 1 only) puts the odd row after, as TensorFlow's does.
    """
    size, kernel, stride, dilation, extra = _pairs(size, kernel, stride, dilation, output_padding)
    known = not transposed and (padding == "valid" or (padding == "same" and stride == (1, 1)))
    if isinstance(padding, str) and not known:
        raise ValueError("PyTorch has padding='valid' for convolutions and 'same' for those with stride 1; "
                         f"got {padding!r}, stride {stride}, transposed={transposed}")
    return _layer(transposed, size, kernel, stride, padding_pairs(padding, size, kernel, stride, dilation),
                  extra, dilation)


def from_numbers(size, kernel, stride=1, padding=0, output_padding=0, dilation=1, transposed=False) -> Layer:
    """F.conv2d or F.conv_transpose2d of this project, with padding in numbers."""
    size, kernel, stride, dilation, extra = _pairs(size, kernel, stride, dilation, output_padding)
    return _layer(transposed, size, kernel, stride, padding_pairs(padding, size, kernel, stride, dilation),
                  extra, dilation)


def from_keras(size, kernel, strides=1, padding="valid", output_padding=None, dilation_rate=1,
               transposed=False) -> Layer:
    """keras.layers.Conv2D or Conv2DTranspose, with TensorFlow's values for "same".

    output_padding is no addition to a size here, it replaces Keras's own rule for it: None means
    size * stride for "same", and for "valid" at least size * stride; a number means
    stride * (size - 1) + kernel + output_padding, less 2 * (kernel // 2) for "same".
    """
    size, kernel, stride, dilation, _ = _pairs(size, kernel, strides, dilation_rate, 0)
    _keras_accepts(stride, dilation)
    if padding not in ("valid", "same"):
        raise ValueError(f"Keras has padding 'valid' or 'same'; got {padding!r}")
    if not transposed:
        return _layer(False, size, kernel, stride, padding_pairs(padding, size, kernel, stride, dilation),
                      (0, 0), dilation)
    given = (None, None) if output_padding is None else pair(output_padding, "output_padding", least=0)
    pads, extra = [], []
    for n, k, s, d, a in zip(size, kernel, stride, dilation, given, strict=True):
        reach = span(k, d)
        if padding == "valid":
            image = n * s + max(reach - s, 0) if a is None else (n - 1) * s + reach + a
            pads.append((0, 0))
        else:
            image = n * s if a is None else (n - 1) * s + reach - 2 * (reach // 2) + a
            if -(-image // s) != n:
                raise ValueError(f"output_padding {a} with padding 'same', kernel {k} and stride {s} makes {image} "
                                 f"pixels, which have {-(-image // s)} windows, not {n}: TensorFlow refuses this")
            pads.append(same_padding(image, k, s, d))
        extra.append(image - transposed_size(n, k, s, *pads[-1], d))
    return _layer(True, size, kernel, stride, tuple(pads), tuple(extra), dilation)


def from_onnx(size, kernel, strides=1, pads=(0, 0, 0, 0), auto_pad="NOTSET", output_padding=0, dilations=1,
              transposed=False) -> Layer:
    """ONNX Conv or ConvTranspose. pads = (top, left, bottom, right).

    SAME_UPPER puts the odd row after, as TensorFlow does; SAME_LOWER before.
    """
    size, kernel, stride, dilation, extra = _pairs(size, kernel, strides, dilations, output_padding)
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER; got {auto_pad!r}")
    if auto_pad == "NOTSET":
        if len(pads) != 4:
            raise ValueError(f"pads must be (top, left, bottom, right); got {pads!r}")
        return _layer(transposed, size, kernel, stride, ((pads[0], pads[2]), (pads[1], pads[3])), extra, dilation)
    if auto_pad == "VALID":
        return _layer(transposed, size, kernel, stride, ((0, 0), (0, 0)), extra, dilation)
    found = []
    for axis, (n, k, s, d, a) in enumerate(zip(size, kernel, stride, dilation, extra, strict=True)):
        if transposed:                              # an image of size * stride pixels, output_padding among them
            total = (n - 1) * s + span(k, d) + a - n * s
            if total < 0:
                raise ValueError(f"auto_pad {auto_pad} would need negative pads on axis {'HW'[axis]}: kernel {k} is "
                                 f"smaller than stride {s}; use output_padding {s - span(k, d)}")
            before, after = total // 2, total - total // 2
        else:
            before, after = same_padding(n, k, s, d)
        found.append((before, after) if auto_pad == "SAME_UPPER" else (after, before))
    return _layer(transposed, size, kernel, stride, tuple(found), extra, dilation)


def _keras_accepts(stride, dilation):
    if max(stride) > 1 and max(dilation) > 1:
        raise ValueError("Keras takes no stride above 1 together with a dilation above 1; "
                         f"got stride {stride}, dilation {dilation}")


def _pairs(size, kernel, stride, dilation, output_padding):
    return (pair(size, "size"), pair(kernel, "kernel"), pair(stride, "stride"), pair(dilation, "dilation"),
            pair(output_padding, "output_padding", least=0))


def _layer(transposed, size, kernel, stride, pads, extra, dilation) -> Layer:
    """The Layer, if its output_padding is one that all libraries take."""
    if not transposed and extra != (0, 0):
        raise ValueError(f"output_padding belongs to transposed convolutions; got {extra}")
    if any(a >= max(s, d) for a, s, d in zip(extra, stride, dilation, strict=True)):
        raise ValueError("output_padding must be below max(stride, dilation) on each axis; "
                         f"got {extra} with stride {stride} and dilation {dilation}")
    return Layer(transposed, size, kernel, stride, pads, extra, dilation)


# From numbers to their words.

class PyTorchCall(NamedTuple):
    """PyTorch has symmetric padding only: the rest is an F.pad before the layer,
    or a slice after it.
    """
    pad: tuple          # (left, right, top, bottom) for torch.nn.functional.pad
    arguments: dict     # of torch.nn.functional.conv2d or conv_transpose2d
    crop: tuple         # ((first row, rows), (first column, columns)) of the result to keep, or ()


def to_pytorch(layer: Layer) -> PyTorchCall:
    """The calls that make PyTorch compute this layer."""
    arguments = {"stride": layer.stride, "dilation": layer.dilation}
    (top, bottom), (left, right) = layer.pads
    if not layer.transposed:
        if (top, left) == (bottom, right):
            return PyTorchCall((0, 0, 0, 0), arguments | {"padding": (top, left)}, ())
        return PyTorchCall((left, right, top, bottom), arguments | {"padding": (0, 0)}, ())
    padding, extra, crop = [], [], []
    for (n, k, s, (before, _), _, d), image in zip(layer.axes(), layer.image(), strict=True):
        # Cut q rows on both sides with padding=q, as many as can be: what is missing after that is
        # output_padding, the rest is sliced.
        missing = {q: image + before + q - ((n - 1) * s + span(k, d)) for q in range(before + 1)}
        q = max(q for q in missing if missing[q] < max(s, d))
        padding.append(q)
        extra.append(max(missing[q], 0))
        crop.append((before - q, image))
    made = [transposed_size(n, k, s, q, q, d, a)
            for (n, k, s, _, _, d), q, a in zip(layer.axes(), padding, extra, strict=True)]
    exact = crop == [(0, pixels) for pixels in made]
    arguments |= {"padding": tuple(padding), "output_padding": tuple(extra)}
    return PyTorchCall((0, 0, 0, 0), arguments, () if exact else tuple(crop))


class KerasCall(NamedTuple):
    """Keras has "valid" and "same" only: other numbers are a ZeroPadding2D before the layer,
    or a Cropping2D after it.
    """
    pad: tuple          # ((top, bottom), (left, right)) of ZeroPadding2D
    arguments: dict     # strides, padding, dilation_rate and, transposed, output_padding
    crop: tuple         # ((top, bottom), (left, right)) of Cropping2D


def to_keras(layer: Layer) -> KerasCall:
    """The layers that make Keras compute this layer."""
    _keras_accepts(layer.stride, layer.dilation)
    if any(a >= s for a, s in zip(layer.output_padding, layer.stride, strict=True)):
        raise ValueError(f"Keras takes an output_padding below the stride {layer.stride}; got {layer.output_padding}")
    none = ((0, 0), (0, 0))
    arguments = {"strides": layer.stride, "dilation_rate": layer.dilation}
    image = layer.image()
    same = layer.pads == tuple(same_padding(n, k, s, d) for n, (_, k, s, _, _, d)
                               in zip(image, layer.axes(), strict=True))
    if not layer.transposed:
        return KerasCall(none if same else layer.pads, arguments | {"padding": "same" if same else "valid"}, none)
    if same and image == tuple(n * s for n, s in zip(layer.size, layer.stride, strict=True)):
        return KerasCall(none, arguments | {"padding": "same", "output_padding": None}, none)
    return KerasCall(none, arguments | {"padding": "valid", "output_padding": layer.output_padding}, layer.pads)


def to_onnx(layer: Layer) -> dict:
    """The attributes of an ONNX Conv or ConvTranspose node."""
    (top, bottom), (left, right) = layer.pads
    extra = {"output_padding": list(layer.output_padding)} if layer.transposed else {}
    shape = {"kernel_shape": list(layer.kernel), "strides": list(layer.stride), "dilations": list(layer.dilation)}
    return shape | {"pads": [top, left, bottom, right]} | extra
