"""One round of the game: D learns from real and fake images, then G learns through the D that has
just changed.

The trainer, the benchmark and the lessons all play this one.
"""
import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..nn import Module
from ..optim import Optimizer
from ..tensor import Tensor, as_tensor, no_grad
from ..train.state import DivergedError


class Players(NamedTuple):
    """Both networks, and what moves the weights of each."""
    generator: Module                   # (latents[, labels]) -> images
    discriminator: Module               # (images[, labels]) -> logits
    generator_optimizer: Optimizer
    discriminator_optimizer: Optimizer


class Turn(NamedTuple):
    """One player's half of a round: all that its loss may look at.

    real and fake: batches (N, ...) on the images' side. In D's turn `fake` is detached, so that
    D's loss cannot move G; in G's turn it is on the tape, and leads back to G. labels: (N,), or
    None where the networks are told none. rng: for a loss that draws numbers. step: rounds that
    were played before this one, for a loss that does something only every so often. view: what D
    sees of a batch of images, a function (shifts, packs); None: the images as they are. smoothing:
    how far D's target for real images lies below 1.
    """
    generator: Module
    discriminator: Module
    real: Tensor
    fake: Tensor
    labels: Any = None
    rng: np.random.Generator | None = None
    step: int = 0
    view: Callable | None = None
    smoothing: float = 0.0

    def judge(self, images) -> Tensor:
        """D's logits for images (N, ...) that have this round's labels, or for several such batches in a row."""
        labels = self.labels
        if labels is not None and len(images) > len(labels):
            labels = np.concatenate([labels] * (len(images) // len(labels)))
        images = images if self.view is None else self.view(images)
        return self.discriminator(images) if labels is None else self.discriminator(images, labels)

    @property
    def apart(self) -> bool:
        """Whether D judges each image on its own, and says so (an attribute `apart`): it may get two batches as one."""
        return getattr(self.discriminator, "apart", False)

    def judge_both(self) -> tuple[Tensor, Tensor]:
        """D's logits for the real images and for the fake ones, for D's turn. As one batch, if it may be, they take
        half as many operations.
        """
        if not self.apart:
            return self.judge(self.real), self.judge(self.fake)
        logits = self.judge(np.concatenate([self.real, self.fake]))
        return logits[:len(logits) // 2], logits[len(logits) // 2:]


def play_round(players: Players, loss, real, latents, labels=None, *, rng=None, step: int = 0, view=None,
               smoothing: float = 0.0, frugal: bool = False) -> dict:
    """Play one round and give its losses: {"discriminator_loss": number, "generator_loss":
    number}, and the named parts of each.

    loss: has `discriminator` and `generator`, functions of a Turn (see gan/losses.py). Each gives
        one number as a Tensor, or a dict of named parts, Tensors of one number (or plain numbers,
        which move nothing), whose sum is walked back from. The parts come back as
        "discriminator_NAME" and "generator_NAME".
    real (N, ...), latents (N, ...), labels (N,) or None: one batch. rng, step, view, smoothing: what
    Turn hands on to the loss. frugal: G makes its fakes a second time for its own turn, so that
    nothing of it is kept through D's: less memory for more arithmetic, and the same numbers where G
    draws none. Raises DivergedError where a loss is not finite, before its player moves.
    """
    generator, discriminator, generator_optimizer, discriminator_optimizer = players
    latents, real = as_tensor(latents), as_tensor(real)
    told = () if labels is None else (labels,)
    with no_grad() if frugal else contextlib.nullcontext():
        fake = generator(latents, *told)
    turn = Turn(generator, discriminator, real, fake.detach(), labels, rng, step, view, smoothing)

    discriminator_optimizer.zero_grad()
    loss_d, parts_d = _total("discriminator", loss.discriminator(turn), step)
    loss_d.backward(inputs=discriminator_optimizer.params)
    discriminator_optimizer.step()
    loss_d = loss_d.item()              # lets go of the tape, and of all that was kept for the walk back

    turn = turn._replace(fake=generator(latents, *told) if frugal else fake)
    generator_optimizer.zero_grad()
    loss_g, parts_g = _total("generator", loss.generator(turn), step)
    loss_g.backward(inputs=generator_optimizer.params)  # D's own gradients are not asked for, so never computed
    generator_optimizer.step()
    return {"discriminator_loss": loss_d, "generator_loss": loss_g.item(), **parts_d, **parts_g}


def _total(player, parts, step) -> tuple:
    """What is walked back from, and the numbers of its named parts. ValueError where a part is not
    one number, or none is on the tape.
    """
    named = parts if isinstance(parts, dict) else {"loss": parts}
    total, numbers = None, {}
    for name, value in named.items():
        if isinstance(value, Tensor):
            if value.size != 1:
                raise ValueError(f"the {player}'s {name} must be one number; got shape {value.shape}: take its mean")
            total = value if total is None else total + value
        numbers[f"{player}_{name}"] = value.item() if isinstance(value, Tensor) else float(value)
        if not np.isfinite(numbers[f"{player}_{name}"]):
            raise DivergedError(f"the {player}'s {name} became {numbers[f'{player}_{name}']} in step {step + 1}")
    if total is None:
        raise ValueError(f"the {player}'s loss must be a Tensor, or a dict with at least one; got {parts!r}")
    return total, numbers if isinstance(parts, dict) else {}
