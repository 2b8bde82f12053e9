"""Spectral normalisation (Miyato et al. 2018): every layer of D is divided by how far it can
stretch its input.

That is its matrix' largest singular value sigma, followed from round to round by one step of the
power iteration. The matrix of a kernel (KH, KW, C, O) is (KH*KW*C, O), as in the paper. The value
of sigma is on the tape through the weight; the two vectors it is taken between are constants, as in
the paper.
"""
import numpy as np

from .. import functional as F
from .. import nn
from ..ops import matmul
from ..tensor import Tensor, no_grad
from .conditional import Embedding

EPSILON = 1e-12


class Spectral(nn.Module):
    """A Linear, Conv2d or Embedding that computes with weight / sigma. Its buffer `right` (O,) goes
    on in training mode.
    """

    def __init__(self, layer, *, rng=None):
        self.layer = layer
        self.right = _unit(nn.init.normal((layer.weight.shape[-1],), 1.0, rng=rng))

    def weight(self) -> Tensor:
        """The layer's weight divided by sigma, on the tape."""
        rows = self.layer.weight.reshape(-1, self.layer.weight.shape[-1])                   # (I, O)
        right = self.right.reshape(-1, 1)
        with no_grad():
            left = _unit(matmul(rows, right).data)                                          # (I, 1)
            if self.training:
                right = _unit(matmul(rows.T, left).data)
                self.right = right.reshape(-1).copy()       # a new array: a tape may hold the former one
        sigma = (left * matmul(rows, right)).sum()
        return self.layer.weight / sigma

    def forward(self, x):
        layer, weight = self.layer, self.weight()
        if isinstance(layer, Embedding):
            return weight[np.asarray(x)]
        if isinstance(layer, nn.Conv2d):
            return F.conv2d(x, weight, layer.bias, stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
                            groups=layer.groups)
        y = matmul(x, weight)
        return y if layer.bias is None else y + layer.bias


def normalise(network, *, rng=None):
    """Put a Spectral in the place of every Linear, Conv2d and Embedding of a network; gives the
    network.
    """
    def replaced(value):
        return Spectral(value, rng=rng) if isinstance(value, (nn.Linear, nn.Conv2d, Embedding)) else value
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, nn.Module):
                setattr(module, name, replaced(value))
            elif isinstance(value, list):
                value[:] = map(replaced, value)
    return network


def _unit(vector):
    return (vector / (np.sqrt((vector * vector).sum()) + EPSILON)).astype(vector.dtype)
