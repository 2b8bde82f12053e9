"""What a unit of a network responds to: three maps of the image that differ in one rule, and how much they say.

A signal starts at one unit with the value 1 and goes back to the image: through every convolution by its transpose,
with the same filters, and through max pooling to the pixels that its switches remember. So far it is the gradient.
The three differ at y = max(a, 0), in what they let through of a signal g that comes from above:

    method     lets through             is from
    gradient   g where a > 0            Simonyan et al. 2013, "Deep inside convolutional networks"
    deconvnet  g where g > 0            Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks"
    guided     g where a > 0 and g > 0  Springenberg et al. 2015, "Striving for simplicity"

Only the gradient is one: the other two are pictures. The deconvnet looks at the image through the switches alone: in a
network that strides instead of pooling, its map is the same for every image. Whether a map tells of what was learned is
asked by drawing the weights anew (Adebayo et al. 2018, "Sanity checks for saliency maps"): a map that hardly changes
tells of the image and of the architecture alone. `randomization_test` measures it.
"""
import operator
from typing import NamedTuple

import numpy as np

from .. import functional as F
from .. import nn
from ..dtypes import plain_array
from ..tensor import Tensor, grad, no_grad

METHODS = ("deconvnet", "gradient", "guided")


class Passed(NamedTuple):
    """One layer with what it was given and what it gave. switches: where a MaxPool2d took its pixels, else None."""
    layer: nn.Module
    x: Tensor
    y: Tensor
    switches: np.ndarray | None


def through_relu(signal, a, method: str, slope: float = 0.0) -> np.ndarray:
    """What a method lets through of a `signal` from above at y = max(a, 0), of the arrays' shape and dtype.

    slope: of a leaky ReLU below 0. There the gradient lets slope * g through where a <= 0. The ReLU on the way back is
    the same for it (max(g, 0)), so that guided is still both rules, one after the other.
    Raises ValueError for a method that is none of METHODS.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {method!r}")
    if method != "gradient":
        signal = np.maximum(signal, 0)
    return signal if method == "deconvnet" else np.where(a > 0, signal, slope * signal)


def layers_of(network) -> list:
    """The layers that a network applies one after another; parts with layers of their own are replaced by these.

    network: a Module or a list of Modules. Raises TypeError for what is no Module. Whether a Module's forward really
    is this chain is checked, on numbers, by `forward`.
    """
    if type(network) is nn.Sequential:
        parts = network.layers
    elif isinstance(network, (list, tuple)):
        parts = list(network)
    else:
        parts = [part for _, part in getattr(network, "children", list)()] or [network]
    found = []
    for part in parts:
        if not isinstance(part, nn.Module):
            raise TypeError(f"network must be made of Modules, whose rules on the way back are known; got "
                            f"{type(part).__name__}")
        found += layers_of(part) if part is not network and part.children() else [part]
    return found


def names_of(network) -> list:
    """The layers by number and kind, as "2 Conv2d": what `layer` may be."""
    return [f"{place} {type(layer).__name__}" for place, layer in enumerate(layers_of(network))]


def forward(network, images) -> list:
    """A Passed for every layer; each starts from its own Tensor, so that the way back can stop at it.

    images: floats (N, ...), an array or a Tensor. Raises TypeError for other dtypes, and ValueError for batch norm or
    dropout in training mode (whose maps would depend on the batch or on chance), and for a network whose forward is
    not its layers in a row.
    """
    x = plain_array(images.data if isinstance(images, Tensor) else images, "images")
    if x.dtype.kind != "f":
        raise TypeError(f"images must be floats, in the range that the network was trained on; got {x.dtype}")
    passes = []
    for layer in layers_of(network):
        if layer.training and isinstance(layer, (nn.BatchNorm2d, nn.Dropout)):
            raise ValueError(f"network must be in evaluation mode, network.eval(); its {type(layer).__name__} trains")
        leaf, switches = Tensor(x, requires_grad=True), None
        if isinstance(layer, nn.MaxPool2d):
            y, switches = F.max_pool2d(leaf, layer.kernel_size, layer.stride, layer.padding, return_indices=True)
        else:
            y = layer(leaf)
        passes.append(Passed(layer, leaf, y, switches))
        x = y.data
    if isinstance(network, nn.Module) and type(network) is not nn.Sequential:
        with no_grad():
            whole = network(Tensor(passes[0].x.data)).data
        if whole.shape != x.shape or not np.allclose(whole, x, rtol=1e-4, atol=1e-5 * np.abs(whole).max(initial=0)):
            raise ValueError(f"network must apply its layers one after another; the forward of "
                             f"{type(network).__name__} gives other numbers than {', '.join(names_of(network))}: "
                             "pass a list of layers")
    return passes


def send_back(passes, signal, method: str) -> np.ndarray:
    """A signal of the shape of the last layer's result, sent back to the first layer's input by one of METHODS."""
    for layer, x, y, switches in reversed(passes):
        if isinstance(layer, (nn.ReLU, nn.LeakyReLU)):
            signal = through_relu(signal, x.data, method, getattr(layer, "negative_slope", 0.0))
        elif isinstance(layer, nn.MaxPool2d):
            with no_grad():
                signal = F.max_unpool2d(signal, switches, layer.kernel_size, layer.stride, layer.padding,
                                        output_size=x.shape[1:3]).data
        else:                               # a convolution's gradient for its image is its transpose, same filters
            signal = grad(y, [x], gradient=signal)[0].data
    return signal


def saliency_maps(network, images, layer: int, unit, methods=METHODS) -> dict:
    """Method -> map, an array of the images' shape and dtype: what a unit responds to, by each of METHODS.

    network: a Module whose forward is its layers in a row, or a list of layers, in evaluation mode. images: floats
    (N, H, W, C). layer: a number of `names_of(network)`, also from the end (-1). unit: where it is in the layer's
    result, without the batch: (i, j, channel) of a map, a number of a row; or (N, 3) or (N, 1), one for each image
    (see `strongest`). "gradient" is that of the unit for the image. The signal starts with 1 and not with the unit's
    value as Zeiler and Fergus have it: every rule is positively homogeneous, so that this is only a factor.
    Raises ValueError for a layer, unit or method that is not there, and what `forward` raises.
    """
    if strange := set(methods) - set(METHODS):
        raise ValueError(f"methods must be of {', '.join(METHODS)}; got {', '.join(map(repr, sorted(strange)))}")
    passes = forward(network, images)
    passes = passes[:layer_number(network, layer) + 1]
    start = _one_at(passes[-1].y.data, unit)
    return {method: send_back(passes, start, method) for method in methods}


def layer_number(network, layer: int) -> int:
    """The layer's place from the start, also where it was counted from the end. ValueError where there is none."""
    names = names_of(network)
    try:
        return range(len(names))[operator.index(layer)]
    except IndexError:
        raise ValueError(f"layer must be one of {', '.join(names)}; got {layer}") from None


def _one_at(y, unit) -> np.ndarray:
    """Zeros of the shape of y, with a 1 at the unit of each image."""
    units = np.asarray(unit)
    if units.dtype.kind not in "iu":
        raise TypeError(f"unit must be whole numbers; got {units.dtype}")
    places = y.ndim - 1
    if units.shape not in ((places,), (len(y), places), () if places == 1 else (places,)):
        raise ValueError(f"unit must have {places} numbers for a layer's result of shape {y.shape[1:]}, or be "
                         f"({len(y)}, {places}), one for each image; got shape {units.shape}")
    units = np.broadcast_to(units.reshape(-1, places), (len(y), places))
    if units.size and not (0 <= units.min() and (units < y.shape[1:]).all()):
        raise ValueError(f"unit must lie in a layer's result of shape {y.shape[1:]}; got {unit}")
    start = np.zeros_like(y)
    start[(np.arange(len(y)), *units.T)] = 1
    return start


def activations(network, images, layer: int) -> np.ndarray:
    """The result of a layer, (N, ...); arguments and errors as in `saliency_maps`."""
    return forward(network, images)[layer_number(network, layer)].y.data


def strongest(activation, channel: int) -> np.ndarray:
    """Where a channel of (N, H, W, C) or (N, C) is largest in each image, int64 (N, 3) or (N, 1): a `unit` for each.

    Raises ValueError for a channel that is not there.
    """
    if not 0 <= channel < activation.shape[-1]:
        raise ValueError(f"channel must lie in 0 to {activation.shape[-1] - 1}; got {channel}")
    if activation.ndim == 2:
        return np.full((len(activation), 1), channel)
    flat = activation[..., channel].reshape(len(activation), -1).argmax(axis=1)
    return np.stack([*np.unravel_index(flat, activation.shape[1:3]), np.full(len(flat), channel)], axis=1)


# ---- do the maps depend on what was learned?

def rank_correlation(a, b) -> float:
    """Spearman's rank correlation of two arrays of one shape: Pearson's, of ranks; equal entries share a mean rank.

    NaN where one of them is constant. Raises ValueError for two shapes.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"b must have a's shape {a.shape}; got {b.shape}")
    a, b = _ranks(a), _ranks(b)
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else float("nan")


def _ranks(array) -> np.ndarray:
    """The ranks of all entries, less their mean, float64."""
    _, which, counts = np.unique(array.ravel(), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[which.ravel()]           # from 0; equal ones share the middle
    return ranks - (array.size - 1) / 2


def reach(*maps) -> tuple[slice, ...]:
    """The slices of the smallest box outside of which all maps (H, W, C), or rows (F,), are 0: where a unit looks."""
    places = np.argwhere(np.any([one != 0 for one in maps], axis=0))
    if len(places) == 0:
        return (slice(0, 0),) * np.ndim(maps[0])
    return tuple(slice(int(first), int(last) + 1) for first, last in zip(places.min(0), places.max(0), strict=True))


def map_correlation(a, b) -> float:
    """The rank correlation of two maps of one shape within their common reach.

    Beyond what a unit sees both are 0, which is no agreement about what it responds to.
    """
    box = reach(a, b)
    return rank_correlation(a[box], b[box])


def randomization_test(network, fresh, images, layer: int, unit, methods=METHODS, absolute: bool = False) -> dict:
    """Method -> map_correlation float64 (K + 1, N) of each image's map with the map after weights were drawn anew.

    Adebayo et al. 2018, the cascade: in row k the k layers with weights that are nearest to the unit have those of
    `fresh`, a network of the same layers with other weights; K: all up to the unit. Row 0 is 1. absolute: of the maps'
    absolute values, as the paper reports as well. Other arguments and errors as in `saliency_maps`; ValueError where
    the layers of `fresh` are others.
    """
    ours, theirs = layers_of(network), layers_of(fresh)
    kinds = [[(type(one), [p.shape for p in one.parameters()]) for one in layers] for layers in (ours, theirs)]
    if kinds[0] != kinds[1]:
        raise ValueError(f"fresh must have the layers of network, {', '.join(names_of(network))}; got "
                         f"{', '.join(names_of(fresh))}, or other sizes")
    last = layer_number(network, layer)
    learned = saliency_maps(network, images, last, unit, methods)
    weighted = [place for place in range(last + 1) if ours[place].parameters()]
    size = np.abs if absolute else np.asarray
    rows = {method: [] for method in methods}
    for first in (last + 1, *reversed(weighted)):
        found = saliency_maps(ours[:first] + theirs[first:], images, last, unit, methods)
        for method in methods:
            rows[method].append([map_correlation(size(one), size(other))
                                 for one, other in zip(learned[method], found[method], strict=True)])
    return {method: np.array(rows[method]) for method in methods}
