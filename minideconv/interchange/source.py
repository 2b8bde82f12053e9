"""A network as a page of plain PyTorch: its layers as source text, and where its arrays go.

PyTorch pads on both sides alike. Where "same" does not, a ZeroPad2d stands before the layer, and
after a transposed one a ZeroPad2d with negative numbers, which crops.
"""
from typing import NamedTuple

import numpy as np

from .. import conventions, nn
from ..shapes import transposed_size
from .chain import Join, Step, called, convolution, known, pool_pads, steps
from .layouts import Flat, layouts
from .pytorch import to_torch

WIDTH = 116             # of a line


class Page(NamedTuple):
    """The parts of a network, between which labels join: for each part its layers in PyTorch's words; and
    names, ours -> theirs ("parts.0.2" for layer 2 of part 0), of the layers with arrays.
    """
    parts: list
    names: dict
    classes: int
    shape: tuple        # of what comes out, (H, W, C) or (F,)


def page(network: nn.Module, input_shape: tuple) -> Page:
    """What to write for inputs (N, *input_shape).

    Raises TypeError, naming the layer, for what PyTorch has no words for, and as `to_onnx` does.
    """
    walk, shape = layouts(network, input_shape), tuple(input_shape)
    parts, names, classes = [[]], {}, 0
    for place, step in enumerate(steps(network, input_shape)):
        shape = step.after
        if isinstance(step.layer, Join):
            if place and not classes:
                raise TypeError(f"{called('', network)} is told the labels later than at its beginning, which is not "
                                f"translated to source text")
            classes, parts = step.layer.classes, parts + [[]] if place else parts
            continue
        if (kind := known(step.layer, LAYERS)) is None:
            raise TypeError(f"{called(step.name, step.layer)} has no words in PyTorch's source text")
        lines = LAYERS[kind](step)
        own = next((at for at, line in enumerate(lines) if "Pad2d" not in line), 0)
        names[step.name] = f"parts.{len(parts) - 1}.{len(parts[-1]) + own}"
        parts[-1] += lines
    for value, where in ((walk.first, "begins with"), (walk.value, "ends in")):
        if isinstance(value, Flat) and value.turned:
            raise TypeError(f"{called('', network)} {where} flat features of images, whose order in PyTorch is "
                            f"another one")
    return Page(parts, names, classes, shape)


def arrays(network: nn.Module, input_shape: tuple, names: dict) -> dict[str, np.ndarray]:
    """The state_dict of the written network: `to_torch` under the names of its page."""
    found = {}
    for name, array in to_torch(network, input_shape).items():
        layer, _, key = name.rpartition(".")
        found[f"{names[layer]}.{key}"] = array
    return found


def text(parts: list, indent: int) -> str:
    """The parts as nn.Sequentials, one below the other, in lines that end before column 120."""
    lines = []
    for part in parts:
        line = " " * indent + "nn.Sequential("
        for place, layer in enumerate(part):
            word = layer + ("," if place < len(part) - 1 else "),")
            if len(line) + len(word) + 1 > WIDTH:
                lines.append(line)
                line = " " * (indent + 3)
            line += word if line.endswith("(") else " " + word
        lines.append(line if part else line + "),")
    return "\n".join(lines)


# ---- layers

def _call(name, *values, **settings):
    """A call as text, numbers that are alike for both axes once."""
    def shown(value):
        return repr(value[0] if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1] else value)
    words = [*map(shown, values), *(f"{key}={shown(one)}" for key, one in settings.items())]
    return f"nn.{name}({', '.join(words)})"


def _changed(defaults, **settings):
    """The settings that are not the default."""
    return {key: one for key, one in settings.items() if one != defaults[key]}


def _linear(step):
    rows, columns = step.layer.weight.shape
    return [_call("Linear", rows, columns, **({} if step.layer.bias is not None else {"bias": False}))]


USUAL = {"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1, "bias": True}


def _conv(step):
    layer, geometry = step.layer, convolution(step.layer, step.before[:2])
    words = conventions.to_pytorch(geometry)
    settings = _changed(USUAL, **words.arguments, groups=layer.groups, bias=layer.bias is not None)
    kind = "ConvTranspose2d" if geometry.transposed else "Conv2d"
    lines = [_call(kind, step.before[2], step.after[2], layer.kernel_size, **settings)]
    if any(words.pad):
        lines.insert(0, f"nn.ZeroPad2d({words.pad})")
    if words.crop:
        made = _made(geometry, words.arguments)
        (top, rows), (left, columns) = words.crop
        lines.append(f"nn.ZeroPad2d({(-left, left + columns - made[1], -top, top + rows - made[0])})")
    return lines


def _made(geometry, arguments):
    """(H, W) of PyTorch's transposed layer before the crop."""
    axes = zip(geometry.size, geometry.kernel, geometry.stride, geometry.dilation, arguments["padding"],
               arguments["output_padding"], strict=True)
    return [transposed_size(n, k, s, p, p, d, a) for n, k, s, d, p, a in axes]


def _norm(step):
    layer, kind = step.layer, "BatchNorm2d" if len(step.before) == 3 else "BatchNorm1d"
    usual = {"eps": 1e-5, "affine": True, "track_running_stats": True}
    return [_call(kind, step.before[-1], **_changed(usual, eps=layer.eps, affine=layer.weight is not None,
                                                    track_running_stats=layer.running_mean is not None))]


def _shape(step):
    if step.before == step.after:
        return []
    if len(step.after) == 1:
        return ["nn.Flatten()"]
    height, width, channels = step.after
    unflatten = f"nn.Unflatten(1, ({channels}, {height}, {width}))"
    return [unflatten] if len(step.before) == 1 else ["nn.Flatten()", unflatten]


def _pool(step):
    layer, average = step.layer, isinstance(step.layer, nn.AvgPool2d)
    (top, bottom), (left, right) = pool_pads(layer, step.before[:2])
    settings = {} if layer.stride == layer.kernel_size else {"stride": layer.stride}
    if average and not layer.count_include_pad:
        settings["count_include_pad"] = False
    if (top, left) == (bottom, right):
        settings |= {"padding": (top, left)} if top or left else {}
        return [_call("AvgPool2d" if average else "MaxPool2d", layer.kernel_size, **settings)]
    if average and not layer.count_include_pad:
        raise TypeError(f"{called(step.name, layer)} leaves out padding that is not alike on both sides, which PyTorch "
                        f"has no words for")
    border = "nn.ZeroPad2d((" if average else "nn.ConstantPad2d(("
    pads = f"{left}, {right}, {top}, {bottom})" + ("" if average else ', -float("inf")')
    return [border + pads + ")", _call("AvgPool2d" if average else "MaxPool2d", layer.kernel_size, **settings)]


def _upsample(step: Step):
    height, width = step.layer.scale_factor
    return [f"nn.Upsample(scale_factor=({height}, {width}), mode={step.layer.mode!r})"]


LAYERS = {
    nn.Linear: _linear, nn.Conv2d: _conv, nn.ConvTranspose2d: _conv, nn.BatchNorm2d: _norm, nn.Flatten: _shape,
    nn.Reshape: _shape, nn.MaxPool2d: _pool, nn.AvgPool2d: _pool, nn.Upsample: _upsample,
    nn.PixelShuffle: lambda step: [f"nn.PixelShuffle({step.layer.r})"], nn.Dropout: lambda step: [],
    nn.LeakyReLU: lambda step: [f"nn.LeakyReLU({step.layer.negative_slope})"], nn.ReLU: lambda step: ["nn.ReLU()"],
    nn.Sigmoid: lambda step: ["nn.Sigmoid()"], nn.Tanh: lambda step: ["nn.Tanh()"]}
