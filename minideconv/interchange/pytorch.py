"""Weights to PyTorch and back, as arrays by name: PyTorch itself is not needed.

The names are this network's own, as in nn.Module.state_dict, which are PyTorch's for a
torch.nn.Sequential of the same layers.
"""
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import nn
from ..states import fitting
from .layouts import layouts

COUNTER = "num_batches_tracked"         # of PyTorch's batch norm: no one reads it where momentum is a number


def to_torch(network: nn.Module, input_shape: tuple | None = None) -> dict[str, np.ndarray]:
    """The state_dict of the network's twin in PyTorch: name -> array in PyTorch's layout and our dtype.

        twin.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(network).items()})

    Kernels are (O, C, KH, KW), transposed ones (in, out/groups, KH, KW), Linear's weights (out,
    in). The twin works on (N, C, H, W) throughout: nn.Flatten is its Flatten, nn.Reshape(H, W, C)
    its Unflatten(1, (C, H, W)), and the Linear beside them is put in the order of their pixels.
    Batch norm has its num_batches_tracked (int64 0). input_shape: (H, W, C) without the batch,
    needed only where the first layer flattens images. Padding is no weight: conventions.py says what
    "same" is in PyTorch. Raises TypeError, naming the layer, for one that cannot be translated.
    """
    found = layouts(network, input_shape).found
    state = {name: found[name].to_torch(array) for name, array in network.state_dict().items()}
    means = [name for name in state if name == "running_mean" or name.endswith(".running_mean")]
    return state | {name.removesuffix("running_mean") + COUNTER: np.array(0, np.int64) for name in means}


def from_torch(network: nn.Module, state: Mapping[str, Any], input_shape: tuple | None = None) -> None:
    """Take over the state_dict of the network's twin in PyTorch: tensors or arrays by name, as `to_torch` gives them.

    num_batches_tracked may be there or not. Nothing changes before all fits. Raises KeyError for
    what is missing or unknown, ValueError for a shape (PyTorch's), TypeError for a dtype that does
    not fit or a layer that cannot be translated.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a dict, name -> array; got a {type(state).__name__}")
    found = layouts(network, input_shape).found
    given = {name: _array(value) for name, value in state.items() if str(name).rpartition(".")[2] != COUNTER}
    own = {name: found[name].to_torch(array) for name, array in network.state_dict().items()}
    arrays = fitting("the state is not of this network", own, given)
    network.load_state_dict({name: found[name].from_torch(array) for name, array in arrays.items()})


def _array(value: Any) -> np.ndarray:
    """A tensor of PyTorch's, on whatever device, or an array."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = value.cpu().numpy() if hasattr(value, "cpu") else value.numpy()
    return np.asarray(value)
