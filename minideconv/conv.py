"""Convolution, its transpose, and the gradient of its kernel: the three partial derivatives of one
form.

    T(x, w, y) = sum over n, i, j, u, v, c, o  of
                 x[n, s*i + d*u - p, s*j + d*v - p, c] * w[u, v, c, o] * y[n, i, j, o]

is linear in an image x (N, H, W, C), a kernel w (KH, KW, C, O) and a feature map y (N, OH, OW, O).
So

    conv2d            is  dT/dy : image    -> features    gathers: every window of the image times the kernel
    conv_transpose2d  is  dT/dx : features -> image       scatters: every feature stamps the kernel, overlaps add up
    conv_kernel_grad  is  dT/dw : image, features -> kernel

and each one's gradients are the other two, with the same arrays: the set is closed under
differentiation. In particular <conv2d(x, w), y> == <x, conv_transpose2d(y, w)>: the transposed
convolution is the adjoint, never the inverse. There is no kernel flip (this is cross-correlation,
as in every deep-learning library). How the three are carried out is in kernels/reference.py, to be
read, and in kernels/fast/, to be quick.
"""
from . import kernels, shapes
from .activations import _leaky_relu
from .primitives import primitive
from .tensor import Tensor, as_tensor


@primitive
def conv(x, w, b=None, *, window, slope=1.0):
    """dT/dy, plus a bias b (O,): (N, H, W, C), (KH, KW, C, O) -> (N, OH, OW, O). slope: of a ramp that the result goes
    through in the same pass; its way back is the next operation's, see ramped.
    """
    y = kernels.active().gather(x.array, w.array, window, None if b is None else b.array, slope)
    return (y,
            lambda g: conv_transpose(g, w, window=window),
            lambda g: conv_kernel(x, g, window=window),
            lambda g: g.sum((0, 1, 2)))


@primitive
def conv_transpose(y, w, b=None, *, window, slope=1.0):
    """dT/dx, plus a bias b (C,): (N, OH, OW, O), (KH, KW, C, O) -> (N, H, W, C). slope: as in conv."""
    x = kernels.active().scatter(y.array, w.array, window, None if b is None else b.array, slope)
    return (x,
            lambda g: conv(g, w, window=window),
            lambda g: conv_kernel(g, y, window=window),
            lambda g: g.sum((0, 1, 2)))


@primitive
def conv_kernel(x, y, *, window):
    """dT/dw: (N, H, W, C), (N, OH, OW, O) -> (KH, KW, C, O)."""
    return (kernels.active().correlate(x.array, y.array, window),
            lambda g: conv_transpose(y, g, window=window),
            lambda g: conv(x, g, window=window))


def not_images(name, x, layout="(N, H, W, C)"):
    """The error for an array that has not four axes, or nothing along one of the last three."""
    if x.ndim != 4:
        return ValueError(f"{name} must be images {layout}: 4 axes; got shape {x.shape}")
    return ValueError(f"{name} must be {layout} with at least one entry along every axis but N; got shape {x.shape}")


def _check_groups(groups, **channels):
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise TypeError(f"groups must be an integer; got {groups!r}")
    if groups < 1 or any(count % groups for count in channels.values()):
        counts = " and ".join(f"{name} = {count}" for name, count in channels.items())
        raise ValueError(f"groups must be at least 1 and divide {counts}; got {groups}")


def _channels_first(x, channels) -> str:
    """A hint where x looks like images with their channels on axis 1; nothing where height merely
    equals the channel count.
    """
    if x.shape[1] == channels and (x.shape[2] == x.shape[3] or min(x.shape[2:]) > channels):
        return f"; axis 1 has {channels}: channels come last here, use x.transpose(0, 2, 3, 1)"
    return ""


def _checked(x, weight, bias, groups, transposed):
    """The arguments as Tensors, or the error that says what does not fit."""
    x = as_tensor(x)
    weight = as_tensor(weight, x)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise not_images("x", x)
    if weight.ndim != 4 or 0 in weight.shape:
        raise ValueError(f"weight must be (KH, KW, C, O): 4 axes with at least one entry along each; got shape "
                         f"{weight.shape}")
    if x.dtype != weight.dtype or x.dtype.kind != "f":
        raise TypeError(f"x and weight must have one dtype, float32 or float64; got {x.dtype} and {weight.dtype}")
    if type(groups) is not int or groups != 1:
        _check_groups(groups, O=weight.shape[3])
    sides = weight.shape[2] * groups, weight.shape[3]           # channels of the image, channels of the features
    channels, outputs = sides[::-1] if transposed else sides
    if x.shape[3] != channels:
        raise ValueError(f"x must be (N, H, W, {channels}) for a weight of {weight.shape} (KH, KW, C, O) and "
                         f"groups={groups}; "
                         f"got {x.shape}{_channels_first(x, channels)}")
    if bias is not None:
        bias = as_tensor(bias, x)
        if bias.dtype != x.dtype:
            raise TypeError(f"bias must have x's dtype {x.dtype}; got {bias.dtype}")
        if bias.shape != (outputs,):
            raise ValueError(f"bias must have one entry per output channel, shape ({outputs},); got {bias.shape}")
    return x, weight, bias


def conv2d(x, weight, bias=None, stride=1, padding=0, *, dilation=1, groups=1, negative_slope=1.0) -> Tensor:
    """Convolution (cross-correlation): y[n,i,j,o] = bias[o] + sum over u,v,c of x[n, s*i+d*u-p,
    s*j+d*v-p, c] * weight[u,v,c,o].

    x (N, H, W, C), weight (KH, KW, C/groups, O), bias (O,), all of one float dtype -> (N, OH, OW,
    O), where OH = floor((H + pads - d*(KH-1) - 1) / s) + 1. stride, dilation: integer or (vertical,
    horizontal). padding: 0, (h, w), ((top, bottom), (left, right)), "valid" or "same"
    (TensorFlow's: ceil(size / stride) out, the odd pixel after). negative_slope: a leaky ReLU on
    the result in the same pass over memory (1: none). Raises ValueError for shapes that do not fit
    and for a negative slope, TypeError for types.
    """
    x, weight, bias = _checked(x, weight, bias, groups, transposed=False)
    window = shapes.conv_window(x.shape[1:3], weight.shape[:2], stride, padding, dilation, groups)
    if negative_slope == 1:
        return conv(x, weight, bias, window=window)
    return ramped(conv, x, weight, bias, window, negative_slope)


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, *,
                     output_padding=0, dilation=1, groups=1, output_size=None, negative_slope=1.0) -> Tensor:
    """Transposed convolution: every feature stamps the kernel, `stride` pixels apart; overlaps add
    up; `padding` crops the result.

    x (N, OH, OW, O), weight (KH, KW, C/groups, O) -> (N, H, W, C): maps O -> C with the array that
    conv2d maps C -> O with. H = s*(OH-1) + d*(KH-1) + 1 - pads + output_padding. output_padding
    adds rows *after*, and they are computed, not zero; it must be below max(stride, dilation).
    output_size (H, W) names the size instead. padding "same": H = OH * stride. bias (C,) is added
    everywhere. negative_slope: as in conv2d. It is the gradient of conv2d for its image, and its
    adjoint. Raises ValueError for shapes that do not fit and for a negative slope, TypeError for
    types.
    """
    x, weight, bias = _checked(x, weight, bias, groups, transposed=True)
    window = shapes.transposed_window(x.shape[1:3], weight.shape[:2], stride, padding, output_padding=output_padding,
                                      dilation=dilation, output_size=output_size, groups=groups)
    if negative_slope == 1:
        return conv_transpose(x, weight, bias, window=window)
    return ramped(conv_transpose, x, weight, bias, window, negative_slope)


def conv_kernel_grad(x, y, kernel_size, stride=1, padding=0, *, dilation=1, groups=1) -> Tensor:
    """The gradient of <conv2d(x, w), y> for w: images x (N, H, W, C), features y (N, OH, OW, O) ->
    (KH, KW, C/groups, O).
    """
    x = as_tensor(x)
    y = as_tensor(y, x)
    if x.dtype != y.dtype or x.dtype.kind != "f":
        raise TypeError(f"x and y must have one dtype, float32 or float64; got {x.dtype} and {y.dtype}")
    if x.ndim != 4 or y.ndim != 4 or x.shape[0] != y.shape[0]:
        raise ValueError(f"x (N, H, W, C) and y (N, OH, OW, O) must have 4 axes and one N; got {x.shape} and {y.shape}")
    for name, one, layout in (("x", x, "(N, H, W, C)"), ("y", y, "(N, OH, OW, O)")):
        if 0 in one.shape[1:]:
            raise not_images(name, one, layout)
    if type(groups) is not int or groups != 1:
        _check_groups(groups, C=x.shape[3], O=y.shape[3])
    kernel = shapes.pair(kernel_size, "kernel_size")
    window = shapes.conv_window(x.shape[1:3], kernel, stride, padding, dilation, groups)
    if y.shape[1:3] != window.features:
        raise ValueError(f"y must have {window.features} windows for x of {x.shape}; got shape {y.shape}")
    return conv_kernel(x, y, window=window)


def ramped(operation, x, weight, bias, window, slope) -> Tensor:
    """A convolution and the leaky ReLU on it: one pass over memory, two operations on the tape."""
    if not slope >= 0:
        raise ValueError(f"negative_slope must be at least 0 in one pass with a convolution; got {slope!r}")
    return _leaky_relu(operation(x, weight, bias, window=window, slope=float(slope)), negative_slope=slope, done=True)


# Columns: the gather and the scatter on their own.

@primitive
def _im2col(x, *, window):
    cols = kernels.active().im2col(x.array, window)                         # (N, OH, OW, KH, KW, C)
    return cols.reshape(*cols.shape[:3], -1), lambda g: _col2im(g, window=window)


@primitive
def _col2im(cols, *, window):
    taps = cols.array.reshape(*cols.shape[:3], *window.kernel, cols.shape[3] // (window.kernel[0] * window.kernel[1]))
    return kernels.active().col2im(taps, window), lambda g: _im2col(g, window=window)


def im2col(x, kernel_size, stride=1, padding=0, dilation=1) -> Tensor:
    """Every window of x (N, H, W, C) laid out as a row: (N, OH, OW, KH*KW*C), channel fastest,
    zeros where padding lies.

    conv2d(x, w) is im2col(x) @ w.reshape(KH*KW*C, O).
    """
    x = as_tensor(x)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise not_images("x", x)
    kernel = shapes.pair(kernel_size, "kernel_size")
    return _im2col(x, window=shapes.conv_window(x.shape[1:3], kernel, stride, padding, dilation))


def col2im(cols, output_size, kernel_size, stride=1, padding=0, dilation=1) -> Tensor:
    """The transpose of im2col: (N, OH, OW, KH*KW*C) -> (N, H, W, C), (H, W) = output_size; what
    lies on one pixel adds up.
    """
    cols = as_tensor(cols)
    kernel = shapes.pair(kernel_size, "kernel_size")
    if cols.ndim != 4 or 0 in cols.shape[1:] or cols.shape[3] % (kernel[0] * kernel[1]):
        raise ValueError(f"cols must be (N, OH, OW, KH*KW*C) with KH*KW = {kernel[0] * kernel[1]} and none of the "
                         "last three 0; "
                         f"got shape {cols.shape}")
    window = shapes.conv_window(shapes.pair(output_size, "output_size"), kernel, stride, padding, dilation)
    if cols.shape[1:3] != window.features:
        raise ValueError(f"cols must have {window.features} windows for output_size {window.image}; got shape "
                         f"{cols.shape}")
    return _col2im(cols, window=window)
