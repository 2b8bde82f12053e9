"""Image-to-image translation: a generator whose input is a picture, trained on pairs by L1 and against a
discriminator (Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", pix2pix).

L1 says where a pixel is wrong, and is content with a blur, the median of what might be there; a discriminator has
seen no blur among real pictures. Here D sees a picture alone, not beside its input, so that any discriminator of
images will do; what ties the output to the input is L1.

    plan = TranslationPlan(count=len(inputs), steps=300)
    trainer = Translation(plan, generator, discriminator, Batches(plan, inputs, targets), average=pair.Generator())
    with Run.create("runs/painter", trainer, plan) as run:
        run.train()
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import optim
from ..losses import l1_loss
from ..metrics import unit_images
from ..nn import Module
from ..tensor import Tensor
from ..train.config import falling_rate
from ..train.state import DivergedError, collect, restore
from ..train.supervised import Plan, evaluating
from .average import RunningAverage
from .losses import LOSSES, Loss
from .round import Players, play_round

SHOWN = 3               # held-out pairs in samples()


@dataclass(kw_only=True)
class TranslationPlan(Plan):
    """What decides a run besides its networks and its pairs.

    l1, adversarial: weights of the two parts of G's loss. Without the second D is left as it is, and never asked.
    TypeError and ValueError, naming the setting, for what is no number or out of range.
    """
    batch_size: int = 1
    learning_rate: float = 4e-3             # of G
    discriminator_rate: float = 2e-4
    l1: float = 100.0                       # Isola et al.'s
    adversarial: float = 1.0
    longest_average: float = 0.99           # decay of G's running average (gan/average.py)

    def __post_init__(self, epochs):
        super().__post_init__(epochs)
        for name, below in (("discriminator_rate", np.inf), ("l1", np.inf), ("adversarial", np.inf),
                            ("longest_average", 1)):
            if not 0 <= getattr(self, name) < below:
                raise ValueError(f"{name} must lie in [0, {below}); got {getattr(self, name)}")


class Translation:
    """A trainer for a Run (train/run.py): `step()` is one round of the game on a batch of pairs.

    generator: images (N, H, W, C) -> images. discriminator: images -> logits (N, 1). batches(step): inputs and targets
    (N, H, W, C), uint8 or floats in [0, 1]. average: a network like the generator, which becomes the running average of
    its weights and is what counts in the end; None: none. held_out: (inputs, targets) that `samples` shows.
    """
    columns = 3             # of samples: input, output, target
    chart = {"title": "L1 falls; the game's losses measure a balance, not quality"}

    def __init__(self, plan: TranslationPlan, generator: Module, discriminator: Module, batches: Callable, *,
                 average: Module | None = None, held_out: tuple | None = None):
        self.plan, self.batches, self.held_out = plan, batches, held_out
        self.generator, self.discriminator, self.average = generator, discriminator, average
        if average is not None:
            average.eval().load_state_dict(generator.state_dict())
            self._running = RunningAverage(average, generator)
        self.players = Players(generator, discriminator, optim.Adam(generator.parameters(), plan.learning_rate),
                               optim.Adam(discriminator.parameters(), plan.discriminator_rate, (0.5, 0.999)))
        self.loss = with_truth(LOSSES["ns"], plan.l1, plan.adversarial)
        self.steps_done = 0

    def step(self) -> dict:
        """One round on the next batch: the losses by name (see play_round), or "generator_l1" alone where the game has
        no weight. DivergedError where one is not finite.
        """
        inputs, targets = (unit_images(images) for images in self.batches(self.steps_done))
        plan, players, step = self.plan, self.players, self.steps_done
        players.generator_optimizer.lr = plan.rate(step)
        players.discriminator_optimizer.lr = falling_rate(plan.discriminator_rate, step, plan.decay_from, plan.decay_to)
        if plan.adversarial:
            losses = play_round(players, self.loss, targets, inputs, step=step, view=centred, frugal=True)
        else:
            losses = self._step_alone(inputs, targets)
        self.steps_done += 1
        if self.average is not None:
            self._running.follow(self.steps_done, plan.longest_average)
        return losses

    def _step_alone(self, inputs, targets) -> dict:
        loss = self.plan.l1 * l1_loss(self.generator(Tensor(inputs)), targets)
        if not np.isfinite(loss.item()):
            raise DivergedError(f"the generator's l1 became {loss.item()} in step {self.steps_done + 1}")
        self.players.generator_optimizer.zero_grad()
        loss.backward()
        self.players.generator_optimizer.step()
        return {"generator_l1": loss.item()}

    @property
    def shown(self) -> Module:
        """The generator that counts: the average, where there is one."""
        return self.generator if self.average is None else self.average

    def samples(self) -> np.ndarray | None:
        """Rows of input, output and target of the first held-out pairs, float32 (3 * rows, H, W, C); None without."""
        if self.held_out is None:
            return None
        inputs, targets = (unit_images(images[:SHOWN]) for images in self.held_out)
        rows = np.stack((inputs, translate(self.shown, inputs), targets), axis=1)           # (rows, 3, H, W, C)
        return rows.reshape(-1, *inputs.shape[1:])

    def save_networks(self, folder) -> None:
        """generator.npz, the averaged one."""
        self.shown.save(f"{folder}/generator.npz")

    def _parts(self):
        parts = {"generator": self.generator, "discriminator": self.discriminator,
                 "generator_optimizer": self.players.generator_optimizer,
                 "discriminator_optimizer": self.players.discriminator_optimizer}
        return parts if self.average is None else {**parts, "average": self.average}

    def state_dict(self) -> dict:
        """Everything that the next step depends on but the pairs. DivergedError where a weight is not finite."""
        return {**collect(self._parts()), "steps_done": self.steps_done,
                "checksum": getattr(self.batches, "checksum", 0)}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state_dict; ValueError for one of other pairs, and errors as those of Module.load_state_dict."""
        if int(state["checksum"]) != getattr(self.batches, "checksum", 0):
            raise ValueError("its pairs were others than those given now")
        restore(self._parts(), state)
        self.steps_done = int(state["steps_done"])


def with_truth(loss: Loss, l1: float, adversarial: float) -> Loss:
    """A loss of the game with L1 added to G's; G's parts are called "game" and "l1"."""
    def generator(turn):
        return {"game": adversarial * loss.generator(turn), "l1": l1 * l1_loss(turn.fake, turn.real)}
    return loss._replace(generator=generator)


def centred(images):
    """What D sees of pictures in [0, 1]: from -1 to 1."""
    return 2 * images - 1


def translate(generator: Module, images) -> np.ndarray:
    """What a generator makes of pictures (N, H, W, C), uint8 or floats in [0, 1], one after the other: float32, cut to
    [0, 1]. Afterwards every layer is in the mode that it was in.
    """
    with evaluating(generator):
        made = [generator(Tensor(image[np.newaxis])).numpy() for image in unit_images(images)]
    return np.clip(np.concatenate(made), 0, 1)
