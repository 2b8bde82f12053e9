"""The alternating game, round after round, and all the state that a run needs to go on as if never
interrupted.
"""
import functools
import json

import numpy as np

from .. import optim
from ..data.augment import gaussian_blur, random_shift
from ..states import random_state, restore_random
from ..tensor import Tensor, no_grad
from ..train import beside
from ..train.config import Config
from ..train.pictures import class_grid, save_grid, save_scatter
from ..train.state import collect, random_generators, restore
from . import health
from .average import RunningAverage
from .check import check
from .losses import LOSSES
from .networks import build_discriminator, build_generator, draw_latents
from .penalties import PENALTIES, with_penalty
from .round import Players, play_round

GRID = 64               # samples in a grid, about, drawn from latents that never change
CLOUD = 2_500           # points in a plot


class Trainer:
    """Both networks, both optimizers, the order of the images and one random generator; `step()`
    plays one round.

    images: uint8 (N, H, W, C), or points float32 (N, 2). labels: whole numbers (N,) or None. What a
    Run needs (train/run.py) is here. Raises ValueError where the configuration does not fit them.
    """

    def __init__(self, config: Config, images, labels=None):
        check(config, images, labels)
        self.config, self.images, self.labels = config, images, labels
        self.loss = with_penalty(LOSSES[config.loss], PENALTIES[config.penalty], config.weight,
                                 config.penalty_every)
        self.rng = np.random.default_rng(config.seed)
        self.generator = build_generator(config, self.rng)
        self.discriminator = build_discriminator(config, self.rng)
        self.average = None
        if config.average:
            self.average = build_generator(config, np.random.default_rng(0)).eval()
            self.average.load_state_dict(self.generator.state_dict())
            self._running = RunningAverage(self.average, self.generator)
        self.generator_optimizer, self.discriminator_optimizer = (
            optim.Adam(network.parameters(), config.learning_rate, (config.beta1, config.beta2),
                       weight_decay=config.weight_decay) for network in (self.generator, self.discriminator))
        self.fixed_labels, self.columns, count = None, None, GRID if images.ndim == 4 else CLOUD
        if config.classes and images.ndim == 4:
            drawn = np.unique(labels)                   # a class without images has taught the generator nothing
            self.fixed_labels, self.columns = class_grid(drawn, GRID)
            count = len(self.fixed_labels)
        elif config.classes:
            self.fixed_labels = np.arange(count) % config.classes
        self._draw_latents = functools.partial(draw_latents, self.generator)
        self.fixed_latents = self._draw_latents(count, np.random.default_rng([config.seed, 1]))
        balance = self.loss.balance
        self.chart = {"title": "Losses of a GAN do not fall to zero: they measure a balance, not quality",
                      "levels": {} if balance is None else {f"discriminator cannot tell: {balance:.3f}": balance}}
        self.health = health.new_health(config, self.loss, images, labels, self.fixed_labels)
        self.steps_done = 0
        self.order = self._new_order()

    def _new_order(self):
        """The images in the order of the coming epoch."""
        return self.rng.permutation(len(self.images)).astype(np.int32)

    def _next_batch(self):
        """Real images (N, H, W, C) as floats in [0, 1], or points (N, 2), and their labels."""
        place = self.steps_done % self.config.steps_per_epoch
        if place == 0 and self.steps_done:
            self.order = self._new_order()
        chosen = self.order[place * self.config.batch_size:(place + 1) * self.config.batch_size]
        images = self.images[chosen].astype(np.float32)
        if self.images.dtype == np.uint8:
            images /= np.float32(255)
        if self.config.blur:
            images = gaussian_blur(images, self.config.blur)
        return images, None if self.labels is None else self.labels[chosen]

    def step(self) -> dict:
        """One round on the next batch: the losses by name (see play_round). DivergedError where
        one is not finite.
        """
        real, labels = self._next_batch()
        latents = self._draw_latents(len(real), self.rng)
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            optimizer.lr = self.config.rate(self.steps_done)
        players = Players(self.generator, self.discriminator, self.generator_optimizer, self.discriminator_optimizer)
        told = labels if self.config.classes else None
        losses = play_round(players, self.loss, real, latents, told, rng=self.rng, step=self.steps_done,
                            view=self._view, smoothing=self.config.smoothing)
        self.steps_done += 1
        if self.average is not None:
            self._running.follow(self.steps_done, self.config.average)
        return losses

    def _view(self, images):
        """What D sees of images (N, ...), real and fake alike: moved by a few pixels, and joined in
        packs on channels.
        """
        if self.config.shift:
            images = random_shift(images, self.config.shift, self.rng)
        pack = self.config.packing
        if pack > 1:
            count, *sides, channels = images.shape
            apart = images.reshape(count // pack, pack, *sides, channels)
            images = apart.transpose(0, *range(2, apart.ndim - 1), 1, apart.ndim - 1)           # (N/k, H, W, k, C)
            images = images.reshape(count // pack, *sides, pack * channels)
        return images

    def samples(self, count: int | None = None) -> np.ndarray:
        """Images (about 64, H, W, C), or 2,500 points, from the fixed latents and the averaged
        generator, in evaluation mode. count: of the first so many latents only. Looking changes nothing, no random
        generator either.
        """
        generators = random_generators(self._parts())
        before = random_state(generators)
        shown = self._shown.eval()
        with no_grad():
            told = [] if self.fixed_labels is None else [self.fixed_labels[:count]]
            images = shown(Tensor(self.fixed_latents[:count]), *told)
        self.generator.train()
        restore_random(generators, before)
        return images.numpy()

    def draw_samples(self, path) -> None:
        """The samples as PNG: images in a grid, points among some of the data's."""
        if self.images.ndim == 4:
            save_grid(path, self.samples(), self.columns)
        else:
            save_scatter(path, self.samples(), self.images[:CLOUD])

    def watch(self, losses: dict) -> list[str]:
        """What there is to say about the step that gave these losses, each thing once in a run (see gan/health.py)."""
        return health.examine(self.health, self, losses)

    def draw_health(self, path) -> None:
        """What was watched so far, as PNG."""
        state = {name: value.tolist() for name, value in self.health.state_dict().items()}
        beside.save(path, health.draw_state, self.health.balance, state)

    @property
    def _shown(self):
        """The generator that samples come from."""
        return self.generator if self.average is None else self.average

    def save_networks(self, folder) -> None:
        """generator.npz, the averaged one: what `load_generator` needs. The other is in the
        checkpoint too.
        """
        self._shown.save(f"{folder}/generator.npz")

    def _parts(self):
        parts = {"generator": self.generator, "discriminator": self.discriminator,
                 "generator_optimizer": self.generator_optimizer,
                 "discriminator_optimizer": self.discriminator_optimizer, "rng": self.rng, "health": self.health}
        return parts if self.average is None else {**parts, "average": self.average}

    def state_dict(self) -> dict:
        """Everything that the next step depends on but the images, as arrays by name.
        DivergedError where a weight is not finite.
        """
        return {**collect(self._parts()), "order": self.order, "steps_done": self.steps_done}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state_dict of the same networks; errors as those of Module.load_state_dict.
        """
        order = np.array(state["order"])
        if sorted(order.tolist()) != list(range(len(self.images))):
            raise ValueError(f"the checkpoint orders {len(order)} images, but there are {len(self.images)}")
        if "random" not in state and "rng" in state:        # as version 0.1.0 wrote it
            state = {**state, "random": json.dumps({"rng": json.loads(str(state["rng"]))})}
        restore(self._parts(), state)
        self.order, self.steps_done = order, int(state["steps_done"])
