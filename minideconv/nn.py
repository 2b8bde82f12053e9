"""Layers: functions with parameters, and how to hold, save and load them.

A layer's Tensors are its parameters, its ndarrays are buffers (running statistics); both are found by looking at the attributes.
Every layer that draws random numbers takes the np.random.Generator to draw from as rng= (None: a fresh one).
"""
import numpy as np

from . import functional as F
from . import init, shapes
from .ops import matmul, reshape
from .storage import load_arrays, save_arrays
from .tensor import Tensor

__all__ = ["AvgPool2d", "BatchNorm2d", "Conv2d", "ConvTranspose2d", "Dropout", "Flatten", "LeakyReLU", "Linear", "MaxPool2d", "Module", "PixelShuffle",
           "ReLU", "Reshape", "Sequential", "Sigmoid", "Tanh", "Upsample", "init"]


class Module:
    """A layer or a network: calls `forward`; its attributes hold parameters (Tensors), buffers (ndarrays) and other Modules."""

    training = True

    def __call__(self, *inputs):
        return self.forward(*inputs)

    def forward(self, *inputs):
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def children(self):
        """(name, Module) of every part, in the order of definition; parts in lists are numbered."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{place}", part) for place, part in enumerate(value) if isinstance(part, Module))

    def modules(self):
        """This Module and all below it, each once."""
        found, stack = {}, [self]
        while stack:
            module = stack.pop()
            if id(module) not in found:
                found[id(module)] = module
                stack.extend(part for _, part in reversed(list(module.children())))
        return list(found.values())

    def _named(self, kind, prefix=""):
        for name, value in vars(self).items():
            if isinstance(value, kind):
                yield prefix + name, value
        for name, part in self.children():
            yield from part._named(kind, f"{prefix}{name}.")

    def named_parameters(self):
        """(name, Tensor) of every parameter, e.g. ("0.weight", ...); one that is shared comes once."""
        seen = set()
        for name, tensor in self._named(Tensor):
            if tensor not in seen:
                seen.add(tensor)
                yield name, tensor

    def parameters(self) -> list:
        """Every parameter once."""
        return [tensor for _, tensor in self.named_parameters()]

    def state_dict(self) -> dict:
        """Name -> copy of the array, of all parameters and buffers."""
        return {name: np.array(value.data if isinstance(value, Tensor) else value) for name, value in self._named((Tensor, np.ndarray))}

    def load_state_dict(self, state: dict) -> None:
        """Take over arrays by name. KeyError names what is missing or unknown, ValueError a shape; nothing changes before all fits."""
        own = dict(self._named((Tensor, np.ndarray)))
        if set(own) != set(state):
            raise KeyError(f"the state is not of this network: missing {sorted(set(own) - set(state))}, unknown {sorted(set(state) - set(own))}")
        arrays = {name: np.asarray(state[name].data if isinstance(state[name], Tensor) else state[name]) for name in own}
        for name, value in own.items():
            if arrays[name].shape != value.shape:
                raise ValueError(f"{name} must have shape {value.shape}; got {arrays[name].shape}")
            if arrays[name].dtype.kind not in "fiub":
                raise TypeError(f"{name} must be an array of numbers; got {arrays[name].dtype}")
        for name, value in own.items():
            if isinstance(value, Tensor):
                value.data = arrays[name].astype(value.dtype)
            else:
                value[...] = arrays[name]

    def save(self, path) -> None:
        """Write the state_dict as .npz, atomically. Nothing is pickled."""
        save_arrays(path, self.state_dict())

    def load(self, path) -> None:
        """Read what `save` wrote; errors as in load_state_dict, ValueError for a file that is no .npz."""
        self.load_state_dict(load_arrays(path))

    def train(self, mode: bool = True):
        """Put this Module and all below it into training mode (batch statistics, dropout), or into evaluation mode; gives itself."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self):
        """Evaluation mode: running statistics, no dropout; gives itself."""
        return self.train(False)

    def requires_grad_(self, flag: bool = True):
        """Whether the parameters require gradients; nothing else changes (batch norm stays as it is); gives itself."""
        for tensor in self.parameters():
            tensor.requires_grad = bool(flag)
        return self

    def __repr__(self):
        inner = ",\n".join(f"  ({name}): " + repr(part).replace("\n", "\n  ") for name, part in self.children())
        return f"{type(self).__name__}({self.describe()}" + (f"\n{inner}\n)" if inner else ")")

    def describe(self) -> str:
        """The settings that the layer's repr shows."""
        return ", ".join(f"{name}={value}" for name, value in vars(self).items()
                         if not name.startswith("_") and isinstance(value, (int, float, str, tuple)) and not isinstance(value, bool))


class Sequential(Module):
    """Layers one after another. Batch norm followed by leaky ReLU runs as one pass over memory."""

    def __init__(self, *layers):
        for place, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(f"layers[{place}] must be a Module or a function; got {type(layer).__name__}")
        self.layers = list(layers)

    def children(self):
        return ((str(place), layer) for place, layer in enumerate(self.layers) if isinstance(layer, Module))

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, index):
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def forward(self, x):
        following = self.layers[1:] + [None]
        fused = False
        for layer, after in zip(self.layers, following):
            if fused:
                fused = False
            elif type(layer) is BatchNorm2d and type(after) is LeakyReLU:
                x, fused = layer.forward(x, after.negative_slope), True
            else:
                x = layer(x)
        return x


def _positive(**values):
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be an integer; got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")


class Linear(Module):
    """y = x @ weight + bias: (..., in) -> (..., out). weight (in, out), bias (out,) or None; both from U(-1/sqrt(in), 1/sqrt(in))."""

    def __init__(self, in_features, out_features, bias=True, *, rng=None):
        _positive(in_features=in_features, out_features=out_features)
        rng = np.random.default_rng() if rng is None else rng
        bound = in_features ** -0.5
        self.weight = Tensor(init.uniform((in_features, out_features), bound, rng=rng), requires_grad=True)
        self.bias = Tensor(init.uniform(out_features, bound, rng=rng), requires_grad=True) if bias else None

    def forward(self, x):
        if x.shape[-1:] != self.weight.shape[:1]:
            raise ValueError(f"x must have {self.weight.shape[0]} features on its last axis; got shape {x.shape}")
        y = matmul(x, self.weight) if x.ndim <= 2 else reshape(matmul(reshape(x, int(np.prod(x.shape[:-1])), x.shape[-1]), self.weight), *x.shape[:-1], self.weight.shape[1])
        return y if self.bias is None else y + self.bias

    def describe(self):
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}, bias={self.bias is not None}"


class _Conv(Module):
    """What both directions share. The kernel is (KH, KW, C/groups, O) and comes from U(-a, a), a = 1/sqrt(fan_in), like the bias.

    fan_in is KH*KW*in/groups in both directions: how many numbers a result sums at stride 1. (PyTorch takes out/groups for the transposed one.)
    """

    def __init__(self, image_channels, feature_channels, kernel_size, stride, padding, dilation, groups, bias, transposed, rng):
        _positive(in_channels=image_channels, out_channels=feature_channels, groups=groups)
        if image_channels % groups or feature_channels % groups:
            raise ValueError(f"groups must divide both channel counts; got groups={groups} for {image_channels} and {feature_channels}")
        rng = np.random.default_rng() if rng is None else rng
        self.kernel_size, self.stride = shapes.pair(kernel_size, "kernel_size"), shapes.pair(stride, "stride")
        self.dilation, self.groups = shapes.pair(dilation, "dilation"), groups
        shapes.padding_pairs(padding, (1, 1), self.kernel_size, self.stride, self.dilation)      # an error now, not at the first image
        self.padding = padding
        shape = (*self.kernel_size, image_channels // groups, feature_channels)
        outputs = image_channels if transposed else feature_channels
        bound = (init.fans(shape)[0] if not transposed else init.fans(shape)[1] // groups) ** -0.5
        self.weight = Tensor(init.uniform(shape, bound, rng=rng), requires_grad=True)
        self.bias = Tensor(init.uniform(outputs, bound, rng=rng), requires_grad=True) if bias else None

    def describe(self):
        return f"weight={self.weight.shape}, stride={self.stride}, padding={self.padding}, bias={self.bias is not None}"


class Conv2d(_Conv):
    """conv2d with its own kernel: (N, H, W, in) -> (N, OH, OW, out). See functional.conv2d for the settings."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, *, rng=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, False, rng)

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, dilation=self.dilation, groups=self.groups)


class ConvTranspose2d(_Conv):
    """conv_transpose2d with its own kernel: (N, H, W, in) -> (N, H', W', out). The kernel is (KH, KW, out/groups, in).

    See functional.conv_transpose2d for the settings; forward takes output_size=(H', W') where the size should be chosen per call.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True, dilation=1, *, rng=None):
        super().__init__(out_channels, in_channels, kernel_size, stride, padding, dilation, groups, bias, True, rng)
        self.output_padding = shapes.pair(output_padding, "output_padding", least=0)

    def forward(self, x, output_size=None):
        return F.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, output_padding=self.output_padding,
                                  dilation=self.dilation, groups=self.groups, output_size=output_size)

    def __call__(self, x, output_size=None):
        return self.forward(x, output_size)


class BatchNorm2d(Module):
    """Batch normalisation of (N, C) or (N, H, W, C); see functional.batch_norm. momentum and running variance have PyTorch's meaning.

    affine=False: no weight and bias. track_running_stats=False: batch statistics always, in evaluation mode too (DCGAN's choice).
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True):
        _positive(num_features=num_features)
        if not 0 <= momentum <= 1 or eps < 0:
            raise ValueError(f"momentum must lie in [0, 1] and eps be at least 0; got momentum={momentum!r}, eps={eps!r}")
        self.eps, self.momentum = eps, momentum
        self.weight = Tensor(np.ones(num_features, np.float32), requires_grad=True) if affine else None
        self.bias = Tensor(np.zeros(num_features, np.float32), requires_grad=True) if affine else None
        self.running_mean = np.zeros(num_features, np.float32) if track_running_stats else None
        self.running_var = np.ones(num_features, np.float32) if track_running_stats else None

    def forward(self, x, negative_slope=1.0):
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training or self.running_mean is None,
                            self.momentum, self.eps, negative_slope=negative_slope)


class LeakyReLU(Module):
    """x where x > 0, negative_slope * x elsewhere."""

    def __init__(self, negative_slope=0.01):
        self.negative_slope = float(negative_slope)

    def forward(self, x):
        return F.leaky_relu(x, self.negative_slope)


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x):
        return F.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x):
        return F.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x):
        return F.tanh(x)


class Flatten(Module):
    """(N, ...) -> (N, product of the rest)."""

    def forward(self, x):
        return x.reshape(len(x), int(np.prod(x.shape[1:])))


class Reshape(Module):
    """(N, ...) -> (N, *shape)."""

    def __init__(self, *shape_without_batch):
        self.shape_without_batch = tuple(shape_without_batch)

    def forward(self, x):
        return x.reshape(len(x), *self.shape_without_batch)


class Dropout(Module):
    """Zeroes entries with probability p while training; see functional.dropout."""

    def __init__(self, p=0.5, *, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1); got {p!r}")
        self.p, self._rng = p, np.random.default_rng() if rng is None else rng

    def forward(self, x):
        return F.dropout(x, self.p, rng=self._rng, training=self.training)


class _Pool(Module):
    def __init__(self, kernel_size, stride=None, padding=0):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding


class MaxPool2d(_Pool):
    """The largest pixel of every window; see functional.max_pool2d."""

    def forward(self, x):
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The average of every window; see functional.avg_pool2d."""

    def forward(self, x):
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding)


class Upsample(Module):
    """Enlarges by whole factors, mode "nearest" or "bilinear"; see functional.upsample."""

    def __init__(self, scale_factor, mode="nearest"):
        self.scale_factor, self.mode = scale_factor, mode

    def forward(self, x):
        return F.upsample(x, self.scale_factor, self.mode)


class PixelShuffle(Module):
    """Channels to resolution; see functional.pixel_shuffle."""

    def __init__(self, r):
        self.r = r

    def forward(self, x):
        return F.pixel_shuffle(x, self.r)
