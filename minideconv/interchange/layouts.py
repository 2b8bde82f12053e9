"""In which order PyTorch keeps each array of a network, and ONNX with it.

    kernels     ours (KH, KW, C, O)     theirs (O, C, KH, KW), both directions, with groups too
    Linear      ours (in, out)          theirs (out, in)
    flattened   ours h, w, c            theirs c, h, w

The last is the one that no single layer knows: nn.Flatten gives its Linear the pixels in another
order there, and nn.Unflatten takes them in another. So the columns of the Linear after the one, and
the rows of the Linear before the other, are put in PyTorch's order, with the batch norm between.
"""
from typing import Any, NamedTuple

import numpy as np

from .. import nn
from ..conventions import KERNEL_AXES
from ..models.conditional import Embedding
from .chain import CHAINS, ENTRYWISE, Join, Keep, Meet, Pieces, Projection, called, chain, checked_shape, known

UNKNOWN = 0             # channels of an image that nobody has told


class Flat:
    """A stretch of features (N, F) from a layer that may give them in any order to one that may take them so.

    channels: None, or those of the image (H, W, C) that the features are; then C, H, W is their
    order in PyTorch. joined: how many labels follow them.
    """

    def __init__(self, channels: int | None = None, settled: bool = True):
        self.channels, self.joined, self.settled = channels, 0, settled     # settled: known not to be images

    def claim(self, channels: int, name: str) -> None:
        """The features are an image of so many channels. TypeError where they are another one's already."""
        if self.channels not in (None, channels):
            raise TypeError(f"{name} makes an image of {channels} channels out of the flat features of another one "
                            f"with no Linear between them: the other frameworks keep these in another order")
        self.channels, self.settled = channels, True

    @property
    def turned(self) -> bool:
        """Whether PyTorch's order is another one."""
        return self.channels not in (None, 1)

    def order(self, count: int, joined: int = 0) -> np.ndarray:
        """Our places of `count` features, the last `joined` of them labels, in PyTorch's order: theirs = ours[order].

        Raises ValueError where the channels are not known.
        """
        if self.channels == UNKNOWN:
            raise ValueError("input_shape must be given as (H, W, C): the network flattens images whose channels its "
                             "layers do not tell")
        if not self.turned:
            return np.arange(count)
        pixels = np.arange(count - joined).reshape(-1, self.channels).T.reshape(-1)
        return np.concatenate([pixels, np.arange(count - joined, count)])


class Image(NamedTuple):
    """Images (N, H, W, channels)."""
    channels: int


class Layout(NamedTuple):
    """How PyTorch keeps one array: its axes are ours in the order `axes`, and then along each of `turns` =
    (axis, Flat, labels joined) the entries are in another order.
    """
    axes: tuple
    turns: tuple = ()

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Our array as PyTorch keeps it, contiguous."""
        array = array.transpose(self.axes)
        for axis, flat, joined in self.turns:
            array = np.take(array, flat.order(array.shape[axis], joined), axis)
        return np.array(array, order="C")

    def from_torch(self, array: np.ndarray) -> np.ndarray:
        """PyTorch's array as we keep it, contiguous."""
        for axis, flat, joined in self.turns:
            array = np.take(array, np.argsort(flat.order(array.shape[axis], joined)), axis)
        return np.array(array.transpose(np.argsort(self.axes)), order="C")


class Walk:
    """What the steps of a chain do to `value`, a Flat or an Image, and `found`, name -> Layout of each array."""

    def __init__(self, input_shape: tuple | None):
        if input_shape is None:
            self.value = Flat(settled=False)
        else:
            self.value = Flat() if len(input_shape) == 1 else Image(input_shape[2])
        self.first, self.found, self.kept = self.value, {}, {}

    def put(self, name: str, layer: nn.Module, axes: tuple | None = None, **turns: tuple) -> None:
        """The arrays that lie in the layer itself: `axes` is of its weight, `turns` by the array's name."""
        for key, array in layer.state_dict().items():
            order = axes if key == "weight" and axes else tuple(range(array.ndim))
            self.found[".".join(filter(None, (name, key)))] = Layout(order, turns.get(key, ()))

    def flat(self, name: str, layer: Any) -> Flat:
        """The value where it has to be flat; TypeError for images."""
        if isinstance(self.value, Image):
            raise TypeError(f"{called(name, layer)} gets images, on whose last axis it works: the other frameworks "
                            f"have their channels elsewhere. A 1x1 Conv2d is the same")
        self.value.settled = True
        return self.value


def _linear(walk, name, layer):
    before, after = walk.flat(name, layer), Flat()
    walk.put(name, layer, (1, 0), weight=((1, before, before.joined), (0, after, 0)), bias=((0, after, 0),))
    walk.value = after


def _kernel(walk, name, layer):
    if isinstance(walk.value, Flat) and walk.value.settled:
        raise TypeError(f"{called(name, layer)} gets flat features, and takes images")
    walk.put(name, layer, KERNEL_AXES)
    walk.value = Image(layer.weight.shape[2] * layer.groups if isinstance(layer, nn.ConvTranspose2d)
                       else layer.weight.shape[3])


def _norm(walk, name, layer):
    flat = walk.value if isinstance(walk.value, Flat) else Flat()
    turn = ((0, flat, flat.joined),)
    walk.put(name, layer, weight=turn, bias=turn, running_mean=turn, running_var=turn)


def _flatten(walk, name, layer):
    if isinstance(walk.value, Image):
        walk.value = Flat(walk.value.channels)
    elif not walk.value.settled:
        walk.value = Flat(UNKNOWN)


def _reshape(walk, name, layer):
    shape = layer.shape_without_batch
    if isinstance(walk.value, Image) or len(shape) == 1:
        _flatten(walk, name, layer)
    if len(shape) == 3:
        if shape[2] == -1:
            raise TypeError(f"{called(name, layer)} leaves the channels open (-1): give their number")
        walk.flat(name, layer).claim(shape[2], called(name, layer))
        walk.value = Image(shape[2])
    elif len(shape) != 1:
        raise TypeError(f"{called(name, layer)} to {len(shape)} axes cannot be translated: only (F,) and (H, W, C) can")


def _shuffle(walk, name, layer):
    known_channels = isinstance(walk.value, Image) and walk.value.channels
    walk.value = Image(walk.value.channels // layer.r ** 2 if known_channels else UNKNOWN)


def _join(walk, name, layer):
    if isinstance(walk.value, Image):
        walk.value = Image(walk.value.channels and walk.value.channels + layer.classes)
    else:
        walk.value.joined += layer.classes


def _pieces(walk, name, layer):
    walk.flat(name, layer).claim(1, called(name, layer))
    walk.value = Flat(1)                    # what comes out has an order of its own too


def _projection(walk, name, layer):
    before, prefix = walk.flat(name, layer), name + "." if name else ""
    for part in layer:
        if not known(part, (nn.Linear, Embedding)):
            raise TypeError(f"{called(name, part)} cannot be translated: it is no Linear or Embedding")
    walk.put(prefix + "answer", layer.answer, (1, 0), weight=((1, before, before.joined),))
    walk.put(prefix + "embedding", layer.embedding, (0, 1), weight=((1, before, before.joined),))
    walk.value = Flat()


def _keep(walk, name, layer):
    if isinstance(walk.value, Flat) and walk.value.settled:
        raise TypeError(f"{called(name, layer)} keeps flat features, and only images can come back")
    _images(walk, name, layer)
    walk.kept[name, layer.name] = walk.value


def _meet(walk, name, layer):
    _images(walk, name, layer)
    here, other = walk.value.channels, walk.kept[name, layer.name].channels
    walk.value = Image(here or other if layer.add else here and other and here + other)


def _same(walk, name, layer):
    """Nothing moves."""


def _images(walk, name, layer):
    if isinstance(walk.value, Flat):
        walk.value = Image(UNKNOWN)


STEPS = {nn.Linear: _linear, nn.Conv2d: _kernel, nn.ConvTranspose2d: _kernel, nn.BatchNorm2d: _norm,
         nn.Flatten: _flatten, nn.Reshape: _reshape, nn.PixelShuffle: _shuffle, nn.MaxPool2d: _images,
         nn.AvgPool2d: _images, nn.Upsample: _images, Join: _join, Pieces: _pieces, Projection: _projection,
         Keep: _keep, Meet: _meet, Embedding: lambda walk, name, layer: walk.put(name, layer),
         **dict.fromkeys(ENTRYWISE, _same)}


def layouts(network: nn.Module, input_shape: tuple | None = None, name: str = "") -> Walk:
    """The Layout of every array of a network, by its name in the state_dict, as `.found` of a finished walk.

    input_shape: (H, W, C) or (F,), without the batch; needed only where the network flattens its
    input itself. A network with a `forward` of its own is taken part by part: what that reshapes
    keeps our order. Raises TypeError, naming the layer, for one that cannot be translated.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"{called(name, network)} cannot be translated: it is no layer of minideconv.nn")
    walk = Walk(None if input_shape is None else checked_shape(input_shape))
    if known(network, CHAINS) or known(network, STEPS):
        for step, layer in chain(network, name):
            if kind := known(layer, STEPS):
                STEPS[kind](walk, step, layer)
            else:
                _leave(walk.value, step, layer)
                walk.found |= layouts(layer, None, step).found
                walk.value = Flat(settled=False)
    else:
        for part_name, part in network.children():
            part_walk = layouts(part, None, ".".join(filter(None, (name, part_name))))
            _leave(part_walk.first, name, network)
            _leave(part_walk.value, name, network)
            walk.found |= part_walk.found
    prefix = name + "." if name else ""
    if own := [key for key in network.state_dict() if prefix + key not in walk.found]:
        raise TypeError(f"{called(name, network)} cannot be translated: it holds {own[0]}, whose order in other "
                        f"frameworks is not known")
    return walk


def _leave(value: Flat | Image, name: str, layer: Any) -> None:
    """TypeError where features whose order differs go through a layer that is not known."""
    if isinstance(value, Flat) and value.turned:
        raise TypeError(f"{called(name, layer)} cannot be translated: flattened images go through its own forward, "
                        f"which keeps them in our order. Put nn.Flatten or nn.Reshape and the nn.Linear beside it "
                        f"into one nn.Sequential")
