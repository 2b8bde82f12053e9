"""Layers one after another: the network that needs no code of its own."""
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from .layers import BatchNorm2d, Conv2d, ConvTranspose2d, LeakyReLU
from .module import Module

BEFORE_A_RAMP = BatchNorm2d, Conv2d, ConvTranspose2d        # layers that can apply a leaky ReLU themselves


class Sequential(Module):
    """Layers (Modules or functions) one after another; their names are their places: "0.weight".

    Batch norm or a convolution followed by leaky ReLU runs as one pass over memory. Indexing gives a layer, a slice
    a Sequential of the same layers.
    """

    def __init__(self, *layers: Callable):
        for place, layer in enumerate(layers):
            if isinstance(layer, type):
                raise TypeError(f"layers[{place}] must be a Module or a function; got a class: "
                                f"write {layer.__name__}(...)")
            if not callable(layer):
                raise TypeError(f"layers[{place}] must be a Module or a function; got {type(layer).__name__}")
        self.layers = list(layers)

    def _attributes(self) -> dict[str, Any]:
        others = {name: value for name, value in vars(self).items() if name != "layers"}
        return {**{str(place): layer for place, layer in enumerate(self.layers)}, **others}

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def forward(self, x: Any) -> Tensor:
        fused = False
        for layer, after in zip(self.layers, [*self.layers[1:], None], strict=False):
            if fused:
                fused = False
            elif type(layer) in BEFORE_A_RAMP and type(after) is LeakyReLU and after.negative_slope >= 0:
                x, fused = layer.forward(x, negative_slope=after.negative_slope), True
            else:
                x = layer(x)
        return x
