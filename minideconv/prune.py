"""Fewer weights: the smallest are set to zero and stay there while the others learn on (Han et al. 2015).

    masks = magnitude_masks(network, 0.9)                       # of ten weights one is kept
    optimizer = Masked(optim.Adam(network.parameters()), network, masks)
    ...                                                         # train on, with any trainer
    save_sparse("network.npz", network)                         # zeros take an eighth of a byte each

A pruned network takes less room, and not less time: a zero is multiplied like any other number. Less time takes a
narrower network.
"""
from collections.abc import Mapping
from typing import Any

import numpy as np

from .nn import Module
from .optim import Optimizer
from .states import fitting
from .storage import Path, load_arrays, save_arrays


def prunable(network: Module) -> dict:
    """Name -> parameter of all kernels and matrices: what has two axes or more. Biases and batch norm's numbers are
    few, and each counts.
    """
    return {name: parameter for name, parameter in network.named_parameters() if parameter.ndim >= 2}


def magnitude_masks(network: Module, share: float, *, per_layer: bool = False) -> dict[str, np.ndarray]:
    """Name -> mask, False for the `share` of all prunable weights that are smallest in size.

    per_layer: the same share in each layer; otherwise layers with small weights lose more. Raises ValueError for a
    share outside [0, 1) and for a network without such weights.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1); got {share!r}")
    sizes = {name: np.abs(parameter.array) for name, parameter in prunable(network).items()}
    if not sizes:
        raise ValueError(f"network must have kernels or matrices to prune; got {type(network).__name__}")
    if per_layer:
        return {name: _largest(size, share) for name, size in sizes.items()}
    kept = _largest(np.concatenate([size.ravel() for size in sizes.values()]), share)
    parts = np.split(kept, np.cumsum([size.size for size in sizes.values()])[:-1])
    return {name: part.reshape(size.shape) for part, (name, size) in zip(parts, sizes.items(), strict=True)}


def _largest(sizes, share) -> np.ndarray:
    """True for all but the smallest `share` of the entries; of equal ones the first go first."""
    kept = np.ones(sizes.size, bool)
    kept[np.argsort(sizes, axis=None, kind="stable")[:round(share * sizes.size)]] = False
    return kept.reshape(sizes.shape)


class Masked:
    """An optimizer under which pruned weights stay zero. It stands in for the one that it is given, of any kind.

    masks: name -> boolean array of a parameter of the network (see magnitude_masks); the masked weights are set to
    zero at once, and after every step. KeyError and ValueError for masks that do not fit.
    """

    def __init__(self, optimizer: Optimizer, network: Module, masks: Mapping[str, np.ndarray]):
        named = dict(network.named_parameters())
        if unknown := sorted(set(masks) - set(named)):
            raise KeyError(f"masks must be of the network's parameters; got {unknown}")
        own = {name: np.zeros(named[name].shape, bool) for name in masks}
        self.masks = {name: mask.astype(bool) for name, mask in fitting("masks", own, masks).items()}
        self.optimizer, self._parameters = optimizer, {name: named[name] for name in masks}
        self._apply()

    def _apply(self):
        for name, mask in self.masks.items():
            self._parameters[name].memory.write()
            self._parameters[name].array[~mask] = 0

    @property
    def lr(self) -> float:
        """The optimizer's rate."""
        return self.optimizer.lr

    @lr.setter
    def lr(self, rate):
        self.optimizer.lr = rate

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad()

    def step(self) -> None:
        """The optimizer's step; then the masked weights are zero again."""
        self.optimizer.step()
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state and the masks."""
        return {**self.optimizer.state_dict(), **{f"mask.{name}": mask.copy() for name, mask in self.masks.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state_dict; errors as those of the optimizer's."""
        masks = {name.removeprefix("mask."): array for name, array in state.items() if name.startswith("mask.")}
        masks = fitting("state of other masks", self.masks, masks)
        self.optimizer.load_state_dict({name: value for name, value in state.items() if not name.startswith("mask.")})
        self.masks = {name: mask.astype(bool) for name, mask in masks.items()}
        self._apply()


# ---- files

def sparse(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by name, each in the shorter of two forms: as it is, or "NAME:values" without its zeros, "NAME:where", a
    bit for each entry, and "NAME:shape".
    """
    found = {}
    for name, array in arrays.items():
        where = array != 0
        short = {f"{name}:values": array[where], f"{name}:where": np.packbits(where),
                 f"{name}:shape": np.array(array.shape, np.int32)}
        smaller = sum(part.nbytes + 256 for part in short.values()) < array.nbytes + 256    # 256: a member's headers
        found.update(short if smaller else {name: array})
    return found


def dense(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `sparse` was given. ValueError for parts that do not fit together."""
    found = {name: array for name, array in arrays.items() if ":" not in name}
    for name in sorted({key.rsplit(":", 1)[0] for key in arrays if ":" in key}):
        values, where, shape = (arrays.get(f"{name}:{part}") for part in ("values", "where", "shape"))
        count = -1 if shape is None else int(np.prod(shape))
        if values is None or where is None or count < 0 or where.dtype != np.uint8 or where.size != -(-count // 8):
            raise ValueError(f"{name} is not whole: it needs values, where and shape that fit together")
        bits = np.unpackbits(where, count=count).astype(bool)
        if bits.sum() != len(values):
            raise ValueError(f"{name} must have {bits.sum()} values; got {len(values)}")
        found[name] = np.zeros(count, values.dtype)
        found[name][bits] = values
        found[name] = found[name].reshape(shape)
    return found


def save_sparse(path: Path, network: Module) -> None:
    """Write the state_dict as .npz, arrays with many zeros without these. Nothing is pickled."""
    save_arrays(path, sparse(network.state_dict()))


def load_sparse(path: Path, network: Module) -> None:
    """Read what `save_sparse` wrote (or Module.save) into a network; errors as those of Module.load."""
    network.load_state_dict(dense(load_arrays(path)))
