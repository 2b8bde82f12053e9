"""Losses of a student that learns from a teacher: a larger network's answers say more than labels do.

Each is a loss for train.supervised.Supervised. The teacher should be in evaluation mode; it learns nothing.
"""
from collections.abc import Callable

import numpy as np

from .. import functional as F
from ..nn import Module
from ..tensor import Tensor, no_grad


def distillation(teacher: Module, temperature: float = 4.0, share: float = 0.9) -> Callable:
    """The loss of Hinton et al. 2015: batch = inputs, labels (N,).

        share * T^2 * cross-entropy(student's logits / T, softmax(teacher's logits / T)) + (1 - share) * cross-entropy

    T, the temperature, brings out what the teacher thinks of the wrong classes; its gradients are smaller by T^2, which
    the factor makes up for. The figures are those of `classification`. Raises ValueError for a temperature that is
    not above 0 and a share outside [0, 1].
    """
    if not 0 < temperature < np.inf or not 0 <= share <= 1:
        raise ValueError(f"temperature must be above 0 and share lie in [0, 1]; got {temperature!r} and {share!r}")

    def loss(network, batch):
        inputs, labels = batch
        with no_grad():
            soft = F.softmax(teacher(Tensor(inputs)) / temperature).data                    # (N, classes)
        logits = network(Tensor(inputs))
        figures = {"accuracy": (logits.data.argmax(axis=1) == labels).mean()}
        imitated = F.cross_entropy(logits / temperature, soft) * (share * temperature ** 2)
        return imitated + F.cross_entropy(logits, labels) * (1 - share), figures
    return loss


def imitation(teacher: Module) -> Callable:
    """The mean squared difference of all outputs from the teacher's: batch = all that both networks take.

    For a generator: latents (N, latent), and labels (N,) where it is told any.
    """
    def loss(network, batch):
        with no_grad():
            wanted = teacher(*batch).data
        return F.mse_loss(network(*batch), wanted)
    return loss
