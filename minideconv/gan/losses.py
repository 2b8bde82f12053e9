"""What each player of the game minimises.

A loss is a pair of functions of a Turn (gan/round.py): it holds both batches, both networks, the
labels and a random generator, so that a loss may ask for whatever it needs. Each function gives
one number, or a dict of named parts whose sum counts.
"""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..activations import relu, softplus
from ..losses import binary_cross_entropy_with_logits


class Loss(NamedTuple):
    """The two sides of a game, and what its losses look like when neither side is winning."""
    discriminator: Callable
    generator: Callable
    balance: float | None = None    # the discriminator's loss when it cannot tell real from fake
    meaning: str = ""               # what to tell a reader of the curve
    smooths: bool = False           # whether it heeds Turn.smoothing


def is_real(logits, smoothing: float = 0.0):
    """Cross-entropy of the answer "real": -log sigmoid(logits), averaged; smoothing s: of real with
    probability 1 - s.
    """
    return binary_cross_entropy_with_logits(logits, np.full(logits.shape, 1 - smoothing, logits.dtype))


def is_fake(logits):
    """Cross-entropy of the answer "fake": -log(1 - sigmoid(logits)), averaged."""
    return binary_cross_entropy_with_logits(logits, np.zeros(logits.shape, logits.dtype))


def cross_entropy_of_both(turn):
    """D minimises -log D(x) - log(1 - D(G(z))), averaged: Goodfellow et al. 2014, equation 1, with
    its sign turned. Smoothing is of real images' targets only (Salimans et al. 2016, section 3.4).
    """
    real, fake = turn.judge_both()
    return is_real(real, turn.smoothing) + is_fake(fake)


def non_saturating(turn):
    """G minimises -log D(G(z)): log(1 - D(G(z))), the game itself, is flat exactly where G is
    worst (Goodfellow et al. 2014, section 3).
    """
    return is_real(turn.judge(turn.fake))


def saturating(turn):
    """G minimises log(1 - D(G(z))), the game itself: flat where D is sure of the fakes."""
    return -is_fake(turn.judge(turn.fake))


def squares_of_both(turn):
    """D minimises ((D(x) - 1)^2 + D(G(z))^2) / 2 (Mao et al. 2017, equation 9)."""
    real, fake = turn.judge_both()
    return 0.5 * (((real - (1 - turn.smoothing)) ** 2).mean() + (fake ** 2).mean())


def square(turn):
    """G minimises (D(G(z)) - 1)^2 / 2."""
    return 0.5 * ((turn.judge(turn.fake) - 1) ** 2).mean()


def hinges_of_both(turn):
    """D minimises max(0, 1 - D(x)) + max(0, 1 + D(G(z))) (Lim and Ye 2017; Miyato et al. 2018,
    equation 16).
    """
    real, fake = turn.judge_both()
    return relu(1 - real).mean() + relu(1 + fake).mean()


def difference(turn):
    """D minimises D(G(z)) - D(x): with slopes of 1, minus the distance by which masses have to be
    moved (Arjovsky et al. 2017).
    """
    real, fake = turn.judge_both()
    return fake.mean() - real.mean()


def score(turn):
    """G minimises -D(G(z))."""
    return -turn.judge(turn.fake).mean()


def real_above_fake(turn):
    """D minimises log(1 + exp(D(G(z)) - D(x))), pair by pair: a fake is judged against a real image
    (Jolicoeur-Martineau 2018; with both penalties the baseline of Huang et al. 2024).
    """
    real, fake = turn.judge_both()
    return softplus(fake - real).mean()


def fake_above_real(turn):
    """G minimises log(1 + exp(D(x) - D(G(z)))), pair by pair."""
    return softplus(turn.judge(turn.real) - turn.judge(turn.fake)).mean()


LN2 = float(np.log(2))
CANNOT_TELL = ("2 ln 2 = 1.386 is a discriminator that cannot tell; well below it the discriminator is ahead. "
               "The generator's loss is no measure of quality: it rises when the discriminator learns. Look at the "
               "samples.")
LOSSES = {
    "ns": Loss(cross_entropy_of_both, non_saturating, 2 * LN2, CANNOT_TELL, smooths=True),
    "minimax": Loss(cross_entropy_of_both, saturating, 2 * LN2, CANNOT_TELL, smooths=True),
    "lsgan": Loss(squares_of_both, square, 0.25, (
        "0.25 is a discriminator that cannot tell: it answers 1/2 to everything. Look at the samples."), smooths=True),
    "hinge": Loss(hinges_of_both, score, 2.0, (
        "2 is a discriminator that cannot tell; at 0 it has no doubts left. Look at the samples.")),
    "wasserstein": Loss(difference, score, 0.0, (
        "Minus the discriminator's loss estimates how far the samples are from the data, in the units of its slopes; "
        "without a penalty on these (--penalty) it means nothing.")),
    "relativistic": Loss(real_above_fake, fake_above_real, LN2, (
        "ln 2 = 0.693 is a discriminator that cannot tell which of a pair is real. Look at the samples.")),
}
