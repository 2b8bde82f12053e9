"""What each player of the game minimises.

A loss is a pair of functions of a Turn (gan/round.py): it holds both batches, both networks, the
labels and a random generator, so that a loss may ask for whatever it needs. Each function gives
one number, or a dict of named parts whose sum counts.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..functional import binary_cross_entropy_with_logits


class Loss(NamedTuple):
    """The two sides of a game, and what its losses look like when neither side is winning."""
    discriminator: Callable
    generator: Callable
    balance: float | None = None    # the discriminator's loss when it cannot tell real from fake
    meaning: str = ""               # what to tell a reader of the curve


def is_real(logits):
    """Cross-entropy of the answer "real": -log sigmoid(logits), averaged."""
    return binary_cross_entropy_with_logits(logits, np.ones(logits.shape, logits.dtype))


def is_fake(logits):
    """Cross-entropy of the answer "fake": -log(1 - sigmoid(logits)), averaged."""
    return binary_cross_entropy_with_logits(logits, np.zeros(logits.shape, logits.dtype))


def cross_entropy_of_both(turn):
    """D minimises -log D(x) - log(1 - D(G(z))), averaged: Goodfellow et al. 2014, equation 1, with
    its sign turned.
    """
    return is_real(turn.judge(turn.real)) + is_fake(turn.judge(turn.fake))


def non_saturating(turn):
    """G minimises -log D(G(z)): log(1 - D(G(z))), the game itself, is flat exactly where G is
    worst (Goodfellow et al. 2014, section 3).
    """
    return is_real(turn.judge(turn.fake))


LOSSES = {
    "ns": Loss(cross_entropy_of_both, non_saturating, balance=2 * float(np.log(2)), meaning=(
        "2 ln 2 = 1.386 is a discriminator that cannot tell; well below it the discriminator is ahead. "
        "The generator's loss is no measure of quality: it rises when the discriminator learns. Look at the samples.")),
}
