"""The alternating game: a discriminator step, a generator step, and all the state that a run needs to go on as if never interrupted."""
import json
from dataclasses import asdict, dataclass

import numpy as np

from .. import optim
from ..tensor import Tensor, no_grad
from .losses import LOSSES
from .models import Discriminator, Generator

GRID = 64               # samples in a grid, drawn from latents that never change


class DivergedError(ValueError):
    """A loss or a weight is no longer a finite number: training cannot go on from here."""


@dataclass
class Config:
    """What decides a run, to the last bit. image_shape (H, W, C); classes 0 means unconditional; rates and betas are DCGAN's."""
    data: str
    image_shape: tuple
    count: int                  # training images
    checksum: int               # of their bytes
    steps: int                  # in all
    loss: str = "ns"
    classes: int = 0
    batch_size: int = 128
    seed: int = 0
    latent: int = 100
    width: int = 64             # channels of the layer nearest to the image
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """ValueError where the text is not the configuration of a run."""
        try:
            fields = json.loads(text)
            return cls(**{**fields, "image_shape": tuple(fields["image_shape"])})
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"not a configuration of a run: {error}") from error

    @property
    def steps_per_epoch(self) -> int:
        return self.count // self.batch_size        # what is left of an epoch is too small for a batch


class Trainer:
    """Both networks, both optimisers, the order of the images and one random generator; `step()` plays one round.

    images: uint8 (count, H, W, C); labels: (count,) where config.classes > 0. Raises ValueError for settings that do not fit the data.
    """

    def __init__(self, config: Config, images, labels=None):
        if config.loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {config.loss!r}")
        if not 2 <= config.batch_size <= len(images):
            raise ValueError(f"batch_size must be at least 2 and at most the {len(images)} training images; got {config.batch_size}")
        if config.classes and (labels is None or not 0 <= labels.min() <= labels.max() < config.classes):
            raise ValueError(f"a conditional run needs a label in [0, {config.classes}) for every image")
        self.config, self.images, self.labels, self.loss = config, images, labels, LOSSES[config.loss]
        self.rng = np.random.default_rng(config.seed)
        self.generator = Generator(config.image_shape, config.latent, config.width, config.classes, rng=self.rng)
        self.discriminator = Discriminator(config.image_shape, config.width, config.classes, rng=self.rng)
        betas = config.beta1, config.beta2
        self.generator_optimizer = optim.Adam(self.generator.parameters(), config.learning_rate, betas)
        self.discriminator_optimizer = optim.Adam(self.discriminator.parameters(), config.learning_rate, betas)
        fixed = np.random.default_rng([config.seed, 1])
        self.fixed_latents = fixed.standard_normal((GRID, config.latent), np.float32)
        self.fixed_labels = np.arange(GRID) % 8 % config.classes if config.classes else None        # a column a class
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
        return self.images[chosen].astype(np.float32) / np.float32(255), None if self.labels is None else self.labels[chosen]

    def step(self) -> tuple[float, float]:
        """One round: D learns from real and fake, then G through the updated D. Gives both losses; DivergedError where one is not finite.

        The fake images are made once: D sees them detached (its loss must not move G), G's loss goes through them.
        """
        real, labels = self._next_batch()
        classes = labels if self.config.classes else None
        z = Tensor(self.rng.standard_normal((len(real), self.config.latent), np.float32))
        fake = self.generator(z, classes)

        self.discriminator_optimizer.zero_grad()
        loss_d = self.loss.discriminator(self.discriminator(Tensor(real), classes), self.discriminator(fake.detach(), classes))
        self._refuse_nonfinite("discriminator", loss_d)
        loss_d.backward()
        self.discriminator_optimizer.step()
        loss_d = loss_d.item()                                  # lets go of the tape, and of all that was kept for the walk back

        self.generator_optimizer.zero_grad()
        loss_g = self.loss.generator(self.discriminator(fake, classes))
        self._refuse_nonfinite("generator", loss_g)
        loss_g.backward(inputs=self.generator.parameters())     # D's own gradients are not asked for, so they are never computed
        self.generator_optimizer.step()

        self.steps_done += 1
        return loss_d, loss_g.item()

    def _refuse_nonfinite(self, name, loss):
        if not np.isfinite(loss.data):
            raise DivergedError(f"the {name}'s loss became {loss.item()} in step {self.steps_done + 1}")

    def samples(self) -> np.ndarray:
        """Images (64, H, W, C) from the fixed latents, in evaluation mode."""
        self.generator.eval()
        with no_grad():
            images = self.generator(Tensor(self.fixed_latents), self.fixed_labels).data
        self.generator.train()
        return images

    def _parts(self):
        return {"generator": self.generator, "discriminator": self.discriminator, "generator_optimizer": self.generator_optimizer,
                "discriminator_optimizer": self.discriminator_optimizer}

    def state_dict(self) -> dict:
        """Everything that the next step depends on but the images, as arrays by name. DivergedError where a weight is not finite."""
        state = {f"{part}/{name}": value for part, holder in self._parts().items() for name, value in holder.state_dict().items()}
        for name, value in state.items():
            if not np.isfinite(value).all():
                raise DivergedError(f"{name} is no longer finite after step {self.steps_done}")
        return {**state, "order": self.order, "steps_done": self.steps_done, "rng": json.dumps(self.rng.bit_generator.state), "config": self.config.to_json()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state_dict of the same networks; errors as those of Module.load_state_dict."""
        for part, holder in self._parts().items():
            holder.load_state_dict({name.split("/", 1)[1]: value for name, value in state.items() if name.startswith(part + "/")})
        order = np.array(state["order"])
        if sorted(order.tolist()) != list(range(len(self.images))):
            raise ValueError(f"the checkpoint orders {len(order)} images, but there are {len(self.images)}")
        self.order, self.steps_done = order, int(state["steps_done"])
        self.rng.bit_generator.state = json.loads(str(state["rng"]))
