"""What each player of the game minimises, from the discriminator's logits (N, 1).

A loss is a named pair of functions: `discriminator(real_logits, fake_logits)` and `generator(fake_logits)`, each giving one number.
"""
from typing import Callable, NamedTuple

import numpy as np

from ..functional import binary_cross_entropy_with_logits


class Loss(NamedTuple):
    """The two sides of a game, and what its losses look like when neither side is winning."""
    discriminator: Callable
    generator: Callable
    balance: float      # the discriminator's loss when it cannot tell real from fake
    meaning: str        # what to tell a reader of the curve


def _is_real(logits):
    """Cross-entropy of the answer "real": -log sigmoid(logits), averaged."""
    return binary_cross_entropy_with_logits(logits, np.ones(logits.shape, logits.dtype))


def _is_fake(logits):
    """Cross-entropy of the answer "fake": -log(1 - sigmoid(logits)), averaged."""
    return binary_cross_entropy_with_logits(logits, np.zeros(logits.shape, logits.dtype))


# Goodfellow et al. 2014: the game is min_G max_D E log D(x) + E log(1 - D(G(z))). In practice G maximises log D(G(z)) instead of
# minimising log(1 - D(G(z))), which is flat exactly where G is worst: "non-saturating".
NON_SATURATING = Loss(
    discriminator=lambda real, fake: _is_real(real) + _is_fake(fake), generator=_is_real, balance=2 * float(np.log(2)),
    meaning="2 ln 2 = 1.386 is a discriminator that cannot tell; well below it the discriminator is ahead. The generator's loss is no measure of quality: "
            "it rises when the discriminator learns. Look at the samples.")

LOSSES = {"ns": NON_SATURATING}
