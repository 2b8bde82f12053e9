"""The alternating game, round after round, and all the state that a run needs to go on as if never
interrupted.
"""
import json

import numpy as np

from .. import optim
from ..models.dcgan import Discriminator, Generator
from ..states import random_state, restore_random
from ..tensor import Tensor, no_grad
from ..train.config import Config
from ..train.pictures import class_grid
from ..train.state import collect, random_generators, restore
from .losses import LOSSES
from .round import Players, play_round

GRID = 64               # samples in a grid, about, drawn from latents that never change


class Trainer:
    """Both networks, both optimizers, the order of the images and one random generator; `step()`
    plays one round.

    images: uint8 (N, H, W, C). labels: whole numbers (N,) or None. What a Run needs (train/run.py)
    is here. Raises ValueError where the configuration does not fit them.
    """

    def __init__(self, config: Config, images, labels=None):
        if config.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {config.loss!r}")
        if not 2 <= config.batch_size <= len(images):
            raise ValueError(f"batch_size must lie between 2 and the number of images, {len(images)}; "
                             f"got {config.batch_size}")
        if config.classes and (labels is None or len(labels) != len(images)):
            raise ValueError(f"a conditional run needs one label for each of the {len(images)} images; "
                             f"got {None if labels is None else len(labels)}")
        self.config, self.images, self.labels = config, images, labels
        self.loss = LOSSES[config.loss]
        self.rng = np.random.default_rng(config.seed)
        shape, classes = config.image_shape, config.classes
        self.generator = Generator(shape, config.latent, config.width, classes, rng=self.rng)
        self.discriminator = Discriminator(shape, config.width, classes, rng=self.rng)
        betas = config.beta1, config.beta2
        self.generator_optimizer = optim.Adam(self.generator.parameters(), config.learning_rate, betas)
        self.discriminator_optimizer = optim.Adam(self.discriminator.parameters(), config.learning_rate, betas)
        self.fixed_labels, self.columns, count = None, None, GRID
        if classes:
            drawn = np.unique(labels)                   # a class without images has taught the generator nothing
            self.fixed_labels, self.columns = class_grid(drawn, GRID)
            count = len(self.fixed_labels)
        self.fixed_latents = np.random.default_rng([config.seed, 1]).standard_normal((count, config.latent), np.float32)
        balance = self.loss.balance
        self.chart = {"title": "Losses of a GAN do not fall to zero: they measure a balance, not quality",
                      "levels": {} if balance is None else {f"discriminator cannot tell: {balance:.3f}": balance}}
        self.steps_done = 0
        self.order = self._new_order()

    def _new_order(self):
        """The images in the order of the coming epoch."""
        return self.rng.permutation(len(self.images)).astype(np.int32)

    def _next_batch(self):
        """Real images (N, H, W, C) as floats in [0, 1], and their labels."""
        place = self.steps_done % self.config.steps_per_epoch
        if place == 0 and self.steps_done:
            self.order = self._new_order()
        chosen = self.order[place * self.config.batch_size:(place + 1) * self.config.batch_size]
        images = self.images[chosen].astype(np.float32) / np.float32(255)
        return images, None if self.labels is None else self.labels[chosen]

    def step(self) -> dict:
        """One round on the next batch: the losses by name (see play_round). DivergedError where
        one is not finite.
        """
        real, labels = self._next_batch()
        latents = self.rng.standard_normal((len(real), self.config.latent), np.float32)
        players = Players(self.generator, self.discriminator, self.generator_optimizer, self.discriminator_optimizer)
        told = labels if self.config.classes else None
        losses = play_round(players, self.loss, real, latents, told, rng=self.rng, step=self.steps_done)
        self.steps_done += 1
        return losses

    def samples(self) -> np.ndarray:
        """Images (about 64, H, W, C) from the fixed latents, in evaluation mode. Looking changes
        nothing, no random generator either.
        """
        generators = random_generators(self._parts())
        before = random_state(generators)
        self.generator.eval()
        with no_grad():
            told = [] if self.fixed_labels is None else [self.fixed_labels]
            images = self.generator(Tensor(self.fixed_latents), *told)
        self.generator.train()
        restore_random(generators, before)
        return images.numpy()

    def save_networks(self, folder) -> None:
        """generator.npz: what `load_generator` needs."""
        self.generator.save(f"{folder}/generator.npz")

    def _parts(self):
        return {"generator": self.generator, "discriminator": self.discriminator,
                "generator_optimizer": self.generator_optimizer,
                "discriminator_optimizer": self.discriminator_optimizer, "rng": self.rng}

    def state_dict(self) -> dict:
        """Everything that the next step depends on but the images, as arrays by name.
        DivergedError where a weight is not finite.
        """
        return {**collect(self._parts()), "order": self.order, "steps_done": self.steps_done}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state_dict of the same networks; errors as those of Module.load_state_dict."""
        order = np.array(state["order"])
        if sorted(order.tolist()) != list(range(len(self.images))):
            raise ValueError(f"the checkpoint orders {len(order)} images, but there are {len(self.images)}")
        if "random" not in state and "rng" in state:        # as version 0.1.0 wrote it
            state = {**state, "random": json.dumps({"rng": json.loads(str(state["rng"]))})}
        restore(self._parts(), state)
        self.order, self.steps_done = order, int(state["steps_done"])
