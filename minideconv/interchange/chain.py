"""Networks as other frameworks are told them: one layer after the other, each with its sizes.

Most networks are such chains, this project's generators among them: where their `forward` joins
labels, takes the largest of a few pieces or comes back to what it had before, the chain has a step
of its own for it. A network of your own joins with a row in CHAINS:

    CHAINS[UNet] = lambda net: [("down", net.down), ("", Keep("wide")), ("deep", net.deep), ("", Meet("wide")),
                                ("up", net.up)]
"""
from typing import Any, NamedTuple

import numpy as np

from .. import functional as F
from .. import nn
from ..conventions import Layer
from ..models import classifier, conditional, dcgan, mlp, pair, unet
from ..shapes import padding_pairs, transposed_size, transposed_window
from ..tensor import Tensor, no_grad


class Join(NamedTuple):
    """The labels (N,) join as one-hot features, or as constant maps to images."""
    classes: int


class Pieces(NamedTuple):
    """(N, count * F) -> (N, F): the largest of `count` pieces, which follow one another."""
    count: int


class Projection(NamedTuple):
    """Features h (N, F) -> <weight, h> + bias + <embedding(label), h>, a logit (N, 1)."""
    answer: nn.Linear
    embedding: conditional.Embedding


class Keep(NamedTuple):
    """Images as they are here come back later, under this name."""
    name: str


class Meet(NamedTuple):
    """The images that were kept under this name come back: their channels follow those of the images that are here,
    or, with `add`, the two are added.
    """
    name: str
    add: bool = False


def _labels(network) -> list:
    return [("", Join(network.classes))] if network.classes else []


def _staged(network) -> list:
    parts = [("start", network.start), *((f"stages.{place}", stage) for place, stage in enumerate(network.stages)),
             ("image", network.image)]
    return [step for part in parts for step in (*_labels(network), part)]


def _radford(network) -> list:
    return [step for place, part in enumerate(network.parts) for step in (*_labels(network), (f"parts.{place}", part))]


def _layered(network) -> list:
    return [*_labels(network), ("layers", network.layers)]


def _compared(network) -> list:
    last = ("answer", network.answer) if network.embedding is None else (
        "", Projection(network.answer, network.embedding))
    return [("features", network.features), last]


def _skipping(network) -> list:
    down = [step for place, part in enumerate(network.down) for step in (("", Keep(f"size {place}")),
                                                                         (f"down.{place}", part))]
    up = [step for place, part in enumerate(network.up)
          for step in ((f"up.{place}", part), ("", Meet(f"size {len(network.up) - 1 - place}")))]
    return [("start", network.start), *down, *up, ("last", network.last)]


def _only(network) -> list:
    return [("layers", network.layers)]


# What a network's forward does, as (name of the part, part).
CHAINS = {
    nn.Sequential: lambda network: [(str(place), layer) for place, layer in enumerate(network.layers)],
    conditional.Generator: _staged, conditional.Discriminator: _compared,
    dcgan.Generator: _layered, dcgan.Discriminator: _layered,
    dcgan.RadfordGenerator: _radford, dcgan.RadfordDiscriminator: _radford,
    mlp.Generator: _layered, mlp.PointGenerator: _layered, mlp.PointDiscriminator: _layered,
    mlp.Discriminator: lambda network: [("", nn.Flatten()), *_layered(network)],
    classifier.Classifier: lambda network: [("encoder", network.encoder), ("head", network.head)],
    pair.Generator: _only, pair.Discriminator: _only, unet.UNet: _skipping,
    mlp.Maxout: lambda network: [("linear", network.linear), ("", Pieces(network.pieces))],
}
FUNCTIONS = {F.relu: nn.ReLU(), F.leaky_relu: nn.LeakyReLU(), F.sigmoid: nn.Sigmoid(), F.tanh: nn.Tanh()}
ENTRYWISE = (nn.LeakyReLU, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Dropout)
RESHAPING = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Flatten, nn.Reshape, nn.MaxPool2d, nn.AvgPool2d, nn.Upsample,
             nn.PixelShuffle)


def known(layer: Any, table) -> type | None:
    """The class in `table` whose `forward` the layer runs, or None: a subclass that computes something else is
    not known by its parent.
    """
    return next((kind for kind in type(layer).__mro__ if kind in table
                 and getattr(type(layer), "forward", None) is getattr(kind, "forward", None)), None)


def called(name: str, layer: Any) -> str:
    """How an error calls a layer: "Conv2d 3.weight"."""
    kind = getattr(layer, "__name__", type(layer).__name__)
    return f"{kind} {name}" if name else kind


def chain(network: Any, name: str = "") -> list[tuple[str, Any]]:
    """(dotted name, layer) of every step, in the order of `forward`. What is no known chain is one step."""
    try:
        network = FUNCTIONS.get(network, network)
    except TypeError:                       # a callable that has no hash is none of these
        pass
    if (kind := known(network, CHAINS)) is None:
        return [(name, network)]
    return [step for part_name, part in CHAINS[kind](network)
            for step in chain(part, ".".join(filter(None, (name, part_name))))]


class Step(NamedTuple):
    """A step with what goes in and comes out, without the batch: (H, W, C) or (F,)."""
    name: str
    layer: Any
    before: tuple
    after: tuple


def steps(network: nn.Module, input_shape: tuple) -> list[Step]:
    """The chain of a network for inputs (N, *input_shape).

    Raises ValueError where a layer does not take what the one before it gives, TypeError, naming
    the layer, for one that is not known, and for values that are neither (N, H, W, C) nor (N, F).
    """
    found, shape, kept = [], checked_shape(input_shape), {}
    for name, layer in chain(network):
        if isinstance(layer, Keep):
            kept[name, layer.name] = after = shape
        elif isinstance(layer, Meet):
            after = _meeting(name, layer, shape, kept[name, layer.name])
        else:
            after = _after(name, layer, shape)
        if len(after) not in (1, 3):
            raise TypeError(f"{called(name, layer)} gives (N, {', '.join(map(str, after))}), which no other framework "
                            f"is told: only (N, F) and (N, H, W, C) are translated")
        found.append(Step(name, layer, shape, after))
        shape = after
    return found


def _meeting(name: str, layer: Meet, shape: tuple, other: tuple) -> tuple:
    if shape[:2] != other[:2] or (layer.add and shape != other):
        raise ValueError(f"{called(name, layer)}: images {shape} meet images {other}, which were kept as {layer.name}")
    return shape if layer.add else (*shape[:2], shape[2] + other[2])


def checked_shape(input_shape: Any) -> tuple:
    """(H, W, C) or (F,) as integers; TypeError and ValueError for others."""
    wanted = "input_shape must be (H, W, C) or (F,), without the batch"
    if not isinstance(input_shape, (tuple, list)) or not all(
            hasattr(size, "__index__") and not isinstance(size, bool) for size in input_shape):
        raise TypeError(f"{wanted}; got {input_shape!r}")
    if len(input_shape) not in (1, 3) or min(input_shape) < 1:
        raise ValueError(f"{wanted}, every size at least 1; got {input_shape!r}")
    return tuple(map(int, input_shape))


def _after(name: str, layer: Any, shape: tuple) -> tuple:
    if isinstance(layer, Join):
        return (*shape[:-1], shape[-1] + layer.classes)
    if isinstance(layer, Pieces):
        return (shape[0] // layer.count,)
    if isinstance(layer, Projection):
        return (1,)
    if known(layer, ENTRYWISE):
        return shape
    if known(layer, (nn.BatchNorm2d,)):
        sizes = {array.shape[0] for array in layer.state_dict().values()}
        if sizes - {shape[-1]}:
            raise ValueError(f"{called(name, layer)} has {sizes.pop()} channels and gets {shape[-1]}")
        return shape
    if not known(layer, RESHAPING):
        raise TypeError(f"{called(name, layer)} cannot be translated: it is no layer of minideconv.nn, and its forward "
                        f"is its own")
    dtype = next((tensor.dtype for tensor in layer.parameters()), np.float32)
    try:
        with no_grad():
            return layer(Tensor(np.zeros((1, *shape), dtype))).shape[1:]
    except ValueError as error:
        raise ValueError(f"{called(name, layer)}: {error}") from error


# ---- "same" in numbers

def convolution(layer: Any, size: tuple) -> Layer:
    """A Conv2d or ConvTranspose2d for an input of `size` (H, W) in numbers alone: "same" is spelled out."""
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    if isinstance(layer, nn.Conv2d):
        pads = padding_pairs(layer.padding, size, kernel, stride, dilation)
        return Layer(False, tuple(size), kernel, stride, pads, (0, 0), dilation)
    image = transposed_window(size, kernel, stride, layer.padding, layer.output_padding, dilation).image
    pads = padding_pairs(layer.padding, image, kernel, stride, dilation)
    extra = tuple(pixels - transposed_size(n, k, s, *p, d)
                  for pixels, n, k, s, p, d in zip(image, size, kernel, stride, pads, dilation, strict=True))
    return Layer(True, tuple(size), kernel, stride, pads, extra, dilation)


def pool_pads(layer: Any, size: tuple) -> tuple:
    """((top, bottom), (left, right)) of a MaxPool2d or AvgPool2d for an input of `size` (H, W)."""
    return padding_pairs(layer.padding, size, layer.kernel_size, layer.stride, (1, 1))
