"""Networks as ONNX models and back: a graph of standard operators that other runtimes carry out.

Inputs and outputs keep our layout, (N, H, W, C) with N open; inside, images are (N, C, H, W) and
the weights are those of `to_torch`, under the same names. All padding is in numbers: no auto_pad,
whose "same" differs between the two directions. Only this file needs the package onnx.
"""
import os
from typing import Any

import numpy as np

from .. import conventions, nn
from ..storage import Path, replace
from .chain import Join, Keep, Meet, Pieces, Projection, Step, convolution, known, pool_pads, steps
from .layouts import Flat, layouts
from .pytorch import from_torch, to_torch

OPSET = 17              # of the default operator set; ONNX 1.12 and all runtimes since 2022 know it
IR_VERSION = 8          # of the file's format, which came with that operator set


def import_onnx() -> Any:
    """The package onnx. ImportError, in one line that says what to install, where it is missing."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError('ONNX files need the package onnx: pip install "minideconv[onnx]"', name="onnx") from error
    return onnx


class Graph:
    """Nodes and weights as they are found; every method gives the name of a value."""

    def __init__(self, network: nn.Module, input_shape: tuple):
        self.onnx, self.nodes, self.weights, self.kept = import_onnx(), [], [], {}
        self.arrays = to_torch(network, input_shape)

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its output, or a list of them."""
        names = [f"{kind.lower()}_{len(self.nodes)}" + (f"_{place}" if outputs > 1 else "") for place in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, names, **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, values: Any, dtype: Any = np.int64) -> str:
        """A constant, which is a node and no weight."""
        return self.node("Constant", value=self.onnx.numpy_helper.from_array(np.asarray(values, dtype)))

    def weight(self, layer: str, key: str) -> str | None:
        """The array `key` of a layer, or None where it has none."""
        name = ".".join(filter(None, (layer, key)))
        if name not in self.arrays:
            return None
        if name not in self.weights:
            self.weights.append(name)
        return name

    def initializers(self) -> list:
        """The weights as float32 tensors."""
        return [self.onnx.numpy_helper.from_array(self.arrays[name].astype(np.float32), name) for name in self.weights]

    def channels_first(self, x: str) -> str:
        """(N, H, W, C) -> (N, C, H, W)."""
        return self.node("Transpose", x, perm=conventions.IMAGE_AXES)


# ---- layers

def _linear(graph, x, step):
    return graph.node("Gemm", *_given(x, graph.weight(step.name, "weight"), graph.weight(step.name, "bias")), transB=1)


def _conv(graph, x, step):
    inputs = _given(x, graph.weight(step.name, "weight"), graph.weight(step.name, "bias"))
    attributes = conventions.to_onnx(convolution(step.layer, step.before[:2]))
    return graph.node("Conv", *inputs, group=step.layer.groups, **attributes)


def _conv_transpose(graph, x, step):
    """Groups are nodes of their own: ONNX's reference evaluator mixes them up where they have several channels."""
    groups, (geometry, beyond) = step.layer.groups, _within_stride(convolution(step.layer, step.before[:2]))
    weight, bias = graph.weight(step.name, "weight"), graph.weight(step.name, "bias")
    inputs, attributes = _given(x, weight, None if any(beyond) else bias), conventions.to_onnx(geometry)
    if groups == 1:
        y = graph.node("ConvTranspose", *inputs, **attributes)
    else:
        parts = [graph.node("Split", one, outputs=groups, axis=axis)
                 for one, axis in zip(inputs, (1, 0, 0), strict=False)]
        made = [graph.node("ConvTranspose", *part, **attributes) for part in zip(*parts, strict=True)]
        y = graph.node("Concat", *made, axis=1)
    if any(beyond):
        y = graph.node("Pad", y, graph.constant([0, 0, 0, 0, 0, 0, *beyond]))
        if bias:
            y = graph.node("Add", y, graph.node("Reshape", bias, graph.constant([1, -1, 1, 1])))
    return y


def _within_stride(geometry):
    """The geometry with output_padding below the stride, and how many rows and columns that hold the bias alone
    come after it: runtimes refuse an output_padding that only the dilation allows.
    """
    if all(extra < stride for extra, stride in zip(geometry.output_padding, geometry.stride, strict=True)):
        return geometry, (0, 0)
    pads, extras, beyond = [], [], []
    for _, _, stride, (before, after), extra, _ in geometry.axes():
        less = min(after, extra)                            # what is cropped and added again is kept
        kept = min(extra - less, stride - 1)
        pads.append((before, after - less))
        extras.append(kept)
        beyond.append(extra - less - kept)
    return geometry._replace(pads=tuple(pads), output_padding=tuple(extras)), tuple(beyond)


def _norm(graph, x, step):
    channels, eps = step.before[-1], step.layer.eps
    scale = graph.weight(step.name, "weight") or graph.constant(np.ones(channels), np.float32)
    shift = graph.weight(step.name, "bias") or graph.constant(np.zeros(channels), np.float32)
    if step.layer.running_mean is not None:
        return graph.node("BatchNormalization", x, scale, shift, graph.weight(step.name, "running_mean"),
                          graph.weight(step.name, "running_var"), epsilon=eps)
    axes = [0, 2, 3] if len(step.before) == 3 else [0]          # the batch's own statistics, always
    along = graph.constant([1, channels] + [1] * (len(axes) - 1))
    centred = graph.node("Sub", x, graph.node("ReduceMean", x, axes=axes, keepdims=1))
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), axes=axes, keepdims=1)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(eps, np.float32)))
    scaled = graph.node("Mul", graph.node("Div", centred, deviation), graph.node("Reshape", scale, along))
    return graph.node("Add", scaled, graph.node("Reshape", shift, along))


def _shape(graph, x, step):
    """Flatten and Reshape: 0 keeps the batch."""
    *size, channels = step.after
    return x if step.before == step.after else graph.node("Reshape", x, graph.constant([0, channels, *size]))


def _max_pool(graph, x, step):
    """Pads that differ are a node of their own: ONNX's reference evaluator takes them in another order here."""
    window = _window(step)
    top, left, bottom, right = pads = window["pads"]
    if len(set(pads)) > 1:
        window["pads"] = [0, 0, 0, 0]
        x = graph.node("Pad", x, graph.constant([0, 0, top, left, 0, 0, bottom, right]),
                       graph.constant(-np.inf, np.float32))
    return graph.node("MaxPool", x, **window)


def _avg_pool(graph, x, step):
    return graph.node("AveragePool", x, count_include_pad=int(step.layer.count_include_pad), **_window(step))


def _window(step):
    (top, bottom), (left, right) = pool_pads(step.layer, step.before[:2])
    return {"kernel_shape": step.layer.kernel_size, "strides": step.layer.stride, "pads": [top, left, bottom, right]}


def _upsample(graph, x, step):
    nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    scales = graph.constant([1, 1, *step.layer.scale_factor], np.float32)
    return graph.node("Resize", x, "", scales, **(nearest if step.layer.mode == "nearest" else linear))


def _shuffle(graph, x, step):
    return graph.node("DepthToSpace", x, blocksize=step.layer.r, mode="CRD")


def _join(graph, x, step):
    classes = step.layer.classes
    hot = graph.node("OneHot", "labels", graph.constant(classes), graph.constant([0, 1], np.float32))   # (N, classes)
    if len(step.before) == 3:
        maps = graph.node("Reshape", hot, graph.constant([0, classes, 1, 1]))
        hot = graph.node("Expand", maps, graph.constant([1, 1, *step.before[:2]]))      # (N, classes, H, W)
    return graph.node("Concat", x, hot, axis=1)


def _pieces(graph, x, step):
    pieces = graph.node("Reshape", x, graph.constant([0, step.layer.count, *step.after]))
    return graph.node("ReduceMax", pieces, axes=[1], keepdims=0)


def _projection(graph, x, step):
    prefix = step.name + "." if step.name else ""
    answer = _linear(graph, x, Step(prefix + "answer", step.layer.answer, step.before, step.after))
    rows = graph.node("Gather", graph.weight(prefix + "embedding", "weight"), "labels")         # (N, F)
    return graph.node("Add", answer, graph.node("ReduceSum", graph.node("Mul", rows, x), graph.constant([1])))


def _keep(graph, x, step):
    graph.kept[step.name, step.layer.name] = x
    return x


def _meet(graph, x, step):
    other = graph.kept[step.name, step.layer.name]
    return graph.node("Add", x, other) if step.layer.add else graph.node("Concat", x, other, axis=1)


LAYERS = {
    nn.Linear: _linear, nn.Conv2d: _conv, nn.ConvTranspose2d: _conv_transpose, nn.BatchNorm2d: _norm,
    nn.Flatten: _shape, nn.Reshape: _shape, nn.MaxPool2d: _max_pool, nn.AvgPool2d: _avg_pool, nn.Upsample: _upsample,
    nn.PixelShuffle: _shuffle, nn.Dropout: lambda graph, x, step: x,
    nn.LeakyReLU: lambda graph, x, step: graph.node("LeakyRelu", x, alpha=step.layer.negative_slope),
    nn.ReLU: lambda graph, x, step: graph.node("Relu", x), nn.Sigmoid: lambda graph, x, step: graph.node("Sigmoid", x),
    nn.Tanh: lambda graph, x, step: graph.node("Tanh", x), Join: _join, Pieces: _pieces, Projection: _projection,
    Keep: _keep, Meet: _meet}


def _given(*names):
    return [name for name in names if name is not None]


# ---- networks

def to_onnx(network: nn.Module, input_shape: tuple, *, source: str = "x", result: str = "y") -> Any:
    """The network in evaluation mode as an onnx.ModelProto of operator set 17.

    input_shape: (H, W, C) or (F,), without the batch. Inputs: `source`, float32 (N, *input_shape),
    and `labels`, int64 (N,), where the network is told some; output: `result`, float32, in our
    layout. Weights are float32 initializers under their names in `to_torch`. Raises ImportError
    where onnx is missing, TypeError, naming the layer, for one that cannot be translated (those of
    nn in nn.Sequential can, the networks of models, and those with a row in chain.CHAINS),
    ValueError for sizes that do not fit.
    """
    walk = layouts(network, input_shape)
    chain = steps(network, input_shape)
    graph = Graph(network, input_shape)
    x = _in_their_order(graph, source, walk.first, tuple(input_shape))
    for step in chain:
        x = LAYERS[known(step.layer, LAYERS)](graph, x, step)
    shape = chain[-1].after if chain else tuple(input_shape)
    x = _in_our_order(graph, x, walk.value, shape)
    graph.nodes.append(graph.onnx.helper.make_node("Identity", [x], [result]))
    told = any(isinstance(step.layer, (Join, Projection)) for step in chain)
    return _model(graph, {source: tuple(input_shape)}, {result: shape}, told)


def _in_their_order(graph, x, value, shape):
    if len(shape) == 3:
        return graph.channels_first(x)
    if isinstance(value, Flat) and value.turned:
        return graph.node("Gather", x, graph.constant(value.order(shape[0])), axis=1)
    return x


def _in_our_order(graph, x, value, shape):
    if len(shape) == 3:
        return graph.node("Transpose", x, perm=np.argsort(conventions.IMAGE_AXES))
    if isinstance(value, Flat) and value.turned:
        return graph.node("Gather", x, graph.constant(np.argsort(value.order(shape[0], value.joined))), axis=1)
    return x


def _model(graph, inputs, outputs, told):
    helper, number = graph.onnx.helper, graph.onnx.TensorProto

    def values(named):
        return [helper.make_tensor_value_info(name, number.FLOAT, ["N", *shape]) for name, shape in named.items()]
    labels = [helper.make_tensor_value_info("labels", number.INT64, ["N"])] if told else []
    made = helper.make_graph(graph.nodes, "network", values(inputs) + labels, values(outputs), graph.initializers())
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="minideconv")
    model.ir_version = IR_VERSION
    return model


def from_onnx(network: nn.Module, model: Any, input_shape: tuple | None = None) -> None:
    """Take over the weights of a model, an onnx.ModelProto or the path of a file, that `to_onnx` made.

    Any model will do whose floating initializers have the names and layouts of `to_torch`; its
    nodes are not looked at. Nothing changes before all fits. Raises ImportError where onnx is
    missing, ValueError for a file that is no model, OSError where there is none, else as
    `from_torch`.
    """
    onnx = import_onnx()
    if isinstance(model, (str, os.PathLike)):
        try:
            model = onnx.load(os.fspath(model))
        except OSError:
            raise
        except Exception as error:          # protobuf and onnx raise their own
            raise ValueError(f"model must be an ONNX file; {model} is not readable as one: {error}") from error
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"model must be an onnx.ModelProto or the path of a file; got a {type(model).__name__}")
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    from_torch(network, {name: array for name, array in arrays.items() if array.dtype.kind == "f"}, input_shape)


def save_onnx(path: Path, model: Any) -> None:
    """Write a model, whole or not at all. Raises OSError where the disk does not take it."""
    data = model.SerializeToString()
    replace(path, lambda file: file.write(data))
