"""The layers: functions of functional.py with their own parameters and settings.

Every layer that draws random numbers takes the np.random.Generator to draw from as rng= (None: a
fresh one). Settings are checked when a layer is made, not at the first image: TypeError for what is
no number, ValueError for one out of its range.
"""
from numbers import Real
from typing import Any

import numpy as np

from .. import functional as F
from .. import shapes
from ..ops import reshape
from ..tensor import Tensor, as_tensor, parameter
from . import init
from .module import Module

Size = int | tuple[int, int]                # one number for both axes, or (height, width)
Padding = int | str | tuple                 # every spelling that shapes.padding_pairs knows
Rng = np.random.Generator | None


def _positive(**values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be an integer; got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {value!r}")
    return float(value)


class Linear(Module):
    """y = x @ weight + bias: (..., in) -> (..., out).

    weight (in, out), bias (out,) or None, float32; both from U(-1/sqrt(in), 1/sqrt(in)).
    Raises ValueError for an x whose last axis is not `in`.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: Rng = None):
        _positive(in_features=in_features, out_features=out_features)
        rng, bound = init.generator(rng), in_features ** -0.5
        self.weight = parameter(init.uniform((in_features, out_features), bound, rng=rng))
        self.bias = parameter(init.uniform((out_features,), bound, rng=rng)) if bias else None

    def forward(self, x: Any) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}, bias={self.bias is not None}"


class _Conv(Module):
    """What both directions share: a kernel (KH, KW, C/groups, O) from U(-a, a), a = 1/sqrt(fan_in), like the bias.

    fan_in is KH*KW*in/groups in both directions: how many numbers a result sums at stride 1.
    (PyTorch takes out/groups for the transposed one.)
    """

    def __init__(self, channels: tuple[int, int], kernel_size: Size, *, stride: Size, padding: Padding, dilation: Size,
                 groups: int, bias: bool, transposed: bool, rng: Rng):
        """channels: (C, O), of the image and of the features; the transposed one maps O -> C."""
        _positive(groups=groups)
        if channels[0] % groups or channels[1] % groups:
            raise ValueError(f"groups must divide both channel counts; got groups={groups} for {channels[0]} and "
                             f"{channels[1]}")
        rng = init.generator(rng)
        self.kernel_size, self.stride = shapes.pair(kernel_size, "kernel_size"), shapes.pair(stride, "stride")
        self.dilation, self.groups = shapes.pair(dilation, "dilation"), groups
        shapes.padding_pairs(padding, (1, 1), self.kernel_size, self.stride, self.dilation)         # an error now
        self.padding = padding
        shape = (*self.kernel_size, channels[0] // groups, channels[1])
        bound = (init.fans(shape)[1] // groups if transposed else init.fans(shape)[0]) ** -0.5
        outputs = channels[0] if transposed else channels[1]
        self.weight = parameter(init.uniform(shape, bound, rng=rng))
        self.bias = parameter(init.uniform((outputs,), bound, rng=rng)) if bias else None

    def describe(self) -> str:
        return f"weight={self.weight.shape}, stride={self.stride}, padding={self.padding}, bias={self.bias is not None}"


class Conv2d(_Conv):
    """conv2d with its own kernel: (N, H, W, in) -> (N, OH, OW, out).

    The kernel `weight` is (KH, KW, in/groups, out).

    See functional.conv2d for the settings. Raises ValueError and TypeError for those that do not
    fit together.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Padding = 0,
                 dilation: Size = 1, groups: int = 1, bias: bool = True, *, rng: Rng = None):
        _positive(in_channels=in_channels, out_channels=out_channels)
        super().__init__((in_channels, out_channels), kernel_size, stride=stride, padding=padding, dilation=dilation,
                         groups=groups, bias=bias, transposed=False, rng=rng)

    def forward(self, x: Any, negative_slope: float = 1.0) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, dilation=self.dilation,
                        groups=self.groups, negative_slope=negative_slope)


class ConvTranspose2d(_Conv):
    """conv_transpose2d with its own kernel: (N, H, W, in) -> (N, H', W', out).

    The kernel `weight` is (KH, KW, out/groups, in).

    See functional.conv_transpose2d for the settings; forward takes output_size=(H', W') where the
    size should be chosen per call. Raises ValueError and TypeError for settings that do not fit
    together.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Padding = 0,
                 output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1, *,
                 rng: Rng = None):
        _positive(in_channels=in_channels, out_channels=out_channels)
        super().__init__((out_channels, in_channels), kernel_size, stride=stride, padding=padding, dilation=dilation,
                         groups=groups, bias=bias, transposed=True, rng=rng)
        self.output_padding = shapes.pair(output_padding, "output_padding", least=0)

    def forward(self, x: Any, output_size: tuple[int, int] | None = None, negative_slope: float = 1.0) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding,
                                  output_padding=self.output_padding, dilation=self.dilation, groups=self.groups,
                                  output_size=output_size, negative_slope=negative_slope)


class BatchNorm2d(Module):
    """Batch normalisation of (N, C) or (N, H, W, C), C = num_features; see functional.batch_norm.

    Ioffe and Szegedy 2015. momentum has PyTorch's meaning: running = (1 - momentum) * running +
    momentum * batch, the running variance unbiased. affine=False: no weight and bias.
    track_running_stats=False: batch statistics always, in evaluation mode too (DCGAN's choice).
    Raises ValueError for a momentum outside [0, 1] or a negative eps.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True,
                 track_running_stats: bool = True):
        _positive(num_features=num_features)
        self.eps, self.momentum = _number("eps", eps), _number("momentum", momentum)
        if not 0 <= momentum <= 1 or not 0 <= eps < np.inf:
            raise ValueError(f"momentum must lie in [0, 1] and eps be at least 0; got momentum={momentum!r}, "
                             f"eps={eps!r}")
        self.weight = parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean = np.zeros(num_features, np.float32) if track_running_stats else None
        self.running_var = np.ones(num_features, np.float32) if track_running_stats else None

    def forward(self, x: Any, negative_slope: float = 1.0) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                            training=self.training or self.running_mean is None,
                            momentum=self.momentum, eps=self.eps, negative_slope=negative_slope)


class LeakyReLU(Module):
    """x where x > 0, negative_slope * x elsewhere; see functional.leaky_relu."""

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = _number("negative_slope", negative_slope)

    def forward(self, x: Any) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)


class ReLU(Module):
    """max(x, 0); see functional.relu."""

    def forward(self, x: Any) -> Tensor:
        return F.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)); see functional.sigmoid."""

    def forward(self, x: Any) -> Tensor:
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent; see functional.tanh."""

    def forward(self, x: Any) -> Tensor:
        return F.tanh(x)


class Flatten(Module):
    """(N, ...) -> (N, product of the rest)."""

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        return reshape(x, len(x), int(np.prod(x.shape[1:])))


class Reshape(Module):
    """(N, ...) -> (N, *shape_without_batch), where one size may be -1: whatever is left.

    ValueError where the sizes do not fit.
    """

    def __init__(self, *shape_without_batch: int):
        for size in shape_without_batch:
            if isinstance(size, bool) or not hasattr(size, "__index__"):
                raise TypeError(f"shape_without_batch must be integers, as in Reshape(7, 7, 128); got "
                                f"{shape_without_batch!r}")
        if min(shape_without_batch, default=0) < -1 or shape_without_batch.count(-1) > 1:
            raise ValueError(f"shape_without_batch must be sizes, at most one of them -1; got {shape_without_batch!r}")
        self.shape_without_batch = shape_without_batch

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(x)
        return reshape(x, len(x), *self.shape_without_batch)


class Dropout(Module):
    """While training, zeroes entries with probability p and divides the others by 1 - p.

    See functional.dropout. rng: the generator that draws, part of Module.random_state.
    Raises ValueError for p outside [0, 1).
    """

    def __init__(self, p: float = 0.5, *, rng: Rng = None):
        self.p, self.rng = _number("p", p), init.generator(rng)
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1); got {p!r}")

    def forward(self, x: Any) -> Tensor:
        return F.dropout(x, self.p, rng=self.rng, training=self.training)


class _Pool(Module):
    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Padding = 0):
        """stride: None means kernel_size, so that the windows lie side by side."""
        self.kernel_size = shapes.pair(kernel_size, "kernel_size")
        self.stride = self.kernel_size if stride is None else shapes.pair(stride, "stride")
        shapes.padding_pairs(padding, (1, 1), self.kernel_size, self.stride, (1, 1))            # an error now
        self.padding = padding


class MaxPool2d(_Pool):
    """The largest pixel of every window, (N, H, W, C) -> (N, OH, OW, C); see functional.max_pool2d."""

    def forward(self, x: Any) -> Tensor:
        return F.max_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)


class AvgPool2d(_Pool):
    """The average of every window, (N, H, W, C) -> (N, OH, OW, C); see functional.avg_pool2d."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Padding = 0,
                 count_include_pad: bool = True):
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Any) -> Tensor:
        return F.avg_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding,
                            count_include_pad=self.count_include_pad)


class Upsample(Module):
    """(N, H, W, C) enlarged by whole factors, "nearest" or "bilinear"; see functional.upsample."""

    def __init__(self, scale_factor: Size, mode: str = "nearest"):
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"mode must be 'nearest' or 'bilinear'; got {mode!r}")
        self.scale_factor, self.mode = shapes.pair(scale_factor, "scale_factor"), mode

    def forward(self, x: Any) -> Tensor:
        return F.upsample(x, self.scale_factor, self.mode)


class PixelShuffle(Module):
    """Channels to resolution, (N, H, W, C*r*r) -> (N, H*r, W*r, C); see functional.pixel_shuffle."""

    def __init__(self, r: int):
        _positive(r=r)
        self.r = r

    def forward(self, x: Any) -> Tensor:
        return F.pixel_shuffle(x, self.r)
