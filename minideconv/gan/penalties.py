"""What D pays for steep slopes, besides its loss: a choice of its own, for any loss.

A penalty is a function of a Turn (gan/round.py) that gives one number on the tape. It holds the
slopes of D along its images, so that D's step differentiates twice, through every convolution. With
packing the slopes are along all images of a pack.
"""
from collections.abc import Callable

import numpy as np

from ..tensor import Tensor, grad
from .losses import Loss


def slopes(turn, images) -> Tensor:
    """The gradient of each of D's logits along what it was given: (logits, numbers in one image or
    pack), on the tape.
    """
    images = Tensor(images, requires_grad=True)
    logits = turn.judge(images)
    gradient, = grad(logits.sum(), images, create_graph=True)
    return gradient.reshape(len(logits), -1)


def steepness(turn, images) -> Tensor:
    """Half the squared length of the slopes, averaged."""
    return 0.5 * (slopes(turn, images) ** 2).sum(axis=1).mean()


def r1(turn):
    """1/2 |dD/dx|^2 at real images: D is flat where G should arrive (Mescheder et al. 2018,
    equation 9).
    """
    return steepness(turn, turn.real.array)


def r2(turn):
    """1/2 |dD/dx|^2 at fake images (Mescheder et al. 2018, equation 10)."""
    return steepness(turn, turn.fake.array)


def r1_and_r2(turn):
    """Both, as relativistic pairs need it (Huang et al. 2024)."""
    if turn.apart:
        return 2 * steepness(turn, np.concatenate([turn.real.array, turn.fake.array]))
    return r1(turn) + r2(turn)


def unit_slopes(turn):
    """(|dD/dx| - 1)^2 at points between real and fake images (Gulrajani et al. 2017, equation 3).
    """
    real, fake = turn.real.array, turn.fake.array
    share = turn.rng.random((len(real),) + (1,) * (real.ndim - 1), real.dtype)
    lengths = ((slopes(turn, share * real + (1 - share) * fake) ** 2).sum(axis=1) + 1e-12).sqrt()  # a slope at 0 too
    return ((lengths - 1) ** 2).mean()


PENALTIES = {           # "spectral" is no term of the loss but a constraint on D's layers: models/spectral.py
    "none": None,
    "r1": r1,
    "r2": r2,
    "r1r2": r1_and_r2,
    "wgan-gp": unit_slopes,
    "spectral": None,
}


def with_penalty(loss: Loss, penalty: Callable | None, weight: float | Callable, every: int = 1) -> Loss:
    """The loss with `weight` times the penalty added to D's, in every `every`-th round and then
    `every` times as much: the same on average for less work (Karras et al. 2020, "lazy
    regularization"). weight: a number, or a function that gives it for a step.

    The parts of D's loss are called "game" and "penalty".
    """
    if penalty is None:
        return loss

    def discriminator(turn):
        due, now = turn.step % every == 0, weight(turn.step) if callable(weight) else weight
        return {"game": loss.discriminator(turn), "penalty": now * every * penalty(turn) if due else 0.0}
    return loss._replace(discriminator=discriminator)
