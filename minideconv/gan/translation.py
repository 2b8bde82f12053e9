"""Image-to-image translation: a generator whose input is a picture, trained on pairs with an L1 loss and against a
discriminator (Isola et al. 2017, "Image-to-image translation with conditional adversarial networks", pix2pix).

L1 says where a pixel is wrong, and is content with a blur, the median of what might be there; a discriminator has
seen no blur among real pictures. D sees a picture alone, not beside its input, so that any discriminator of images
will do; what ties the output to the input is L1.
"""
import json
from dataclasses import asdict, dataclass

import numpy as np

from .. import optim
from ..losses import l1_loss
from ..tensor import Tensor, no_grad
from ..train.state import DivergedError, collect, restore
from .average import follow
from .losses import LOSSES, Loss
from .penalties import PENALTIES, with_penalty
from .round import Players, play_round

SHOWN = 3               # held-out pairs in samples()


@dataclass(kw_only=True)
class TranslationConfig:
    """What decides a run, apart from its networks and its pairs.

    adversarial: weight of the game in G's loss; at 0 G learns by L1 alone and D is left as it is. l1: weight of L1.
    penalty, penalty_weight, penalty_every: what D pays for slopes (gan/penalties.py). decay_from: share of the steps
    after which both rates fall, linearly, to zero. average: longest decay of G's running average; 0: none.
    Raises ValueError for an unknown penalty or a number out of its range.
    """
    count: int                      # training pairs
    steps: int = 300
    batch_size: int = 1
    seed: int = 0
    learning_rate: float = 1e-3     # of G; D's is `discriminator_rate`
    discriminator_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    decay_from: float = 0.5
    loss: str = "ns"
    adversarial: float = 1.0
    l1: float = 100.0
    penalty: str = "none"
    penalty_weight: float = 1.0
    penalty_every: int = 1
    average: float = 0.99

    def __post_init__(self):
        if self.penalty not in PENALTIES or self.penalty == "spectral":
            raise ValueError(f"penalty must be one of {', '.join(sorted(set(PENALTIES) - {'spectral'}))}; "
                             f"got {self.penalty!r}")
        for name in ("count", "steps", "batch_size", "penalty_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("learning_rate", "discriminator_rate", "adversarial", "l1", "penalty_weight"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number, at least 0; got {getattr(self, name)}")
        if not (0 <= self.decay_from <= 1 and 0 <= self.average < 1):
            raise ValueError("decay_from must lie in [0, 1] and average in [0, 1); got "
                             f"{self.decay_from} and {self.average}")
        if self.batch_size > self.count:
            raise ValueError(f"batch_size must be at most count, {self.count}; got {self.batch_size}")

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; what is left of the pairs is too small for one."""
        return self.count // self.batch_size

    def share(self, step: int) -> float:
        """Share of the learning rates that counts in the step before which `step` were done."""
        begin = self.decay_from * self.steps
        return 1.0 if step < begin else (self.steps - step) / (self.steps - begin)

    def to_json(self) -> str:
        """The configuration as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "TranslationConfig":
        """The configuration that to_json wrote; ValueError for any other text."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a configuration of a translation: {error}") from error


def with_truth(loss: Loss, adversarial: float, l1: float) -> Loss:
    """The loss of the game with L1 added to G's: its parts are called "game" and "l1"."""
    def generator(turn):
        return {"game": adversarial * loss.generator(turn), "l1": l1 * l1_loss(turn.fake, turn.real)}
    return loss._replace(generator=generator)


class Translation:
    """A trainer for a Run (train/run.py): `step()` is one round of the game on a batch of pairs.

    networks: (generator, discriminator), each a function of rng= that makes one, images (N, H, W, C) -> images and
    images -> logits (N, 1). inputs, targets: the pairs, uint8 (N, H, W, C). held_out: pairs (inputs, targets) that
    `samples` shows. Raises TypeError for pictures that are no uint8, ValueError for pairs that do not match.
    """
    columns = 3             # of samples: input, output, target
    chart = {"title": "L1 falls; the game has no loss that should"}

    def __init__(self, config: TranslationConfig, networks, inputs, targets, held_out=None):
        for name, (given, wanted) in {"training": (inputs, targets), "held-out": held_out or (inputs, targets)}.items():
            _check_pairs(name, given, wanted)
        if len(inputs) != config.count:
            raise ValueError(f"the configuration counts {config.count} pairs; got {len(inputs)}")
        self.config, self.inputs, self.targets = config, inputs, targets
        self.held_out = held_out or (inputs, targets)
        self.rng = np.random.default_rng(config.seed)
        make_generator, make_discriminator = networks
        self.generator, self.discriminator = make_generator(rng=self.rng), make_discriminator(rng=self.rng)
        self.average = None
        if config.average:
            self.average = make_generator(rng=np.random.default_rng(0)).eval()
            self.average.load_state_dict(self.generator.state_dict())
        betas = config.beta1, config.beta2
        self.players = Players(self.generator, self.discriminator,
                               optim.Adam(self.generator.parameters(), config.learning_rate, betas),
                               optim.Adam(self.discriminator.parameters(), config.discriminator_rate, betas))
        self.loss = with_penalty(with_truth(LOSSES[config.loss], config.adversarial, config.l1), PENALTIES[config.penalty],
                                 config.penalty_weight, config.penalty_every)
        self.steps_done = 0
        self.order = self._new_order()

    def _new_order(self):
        return self.rng.permutation(self.config.count).astype(np.int32)

    def _next_batch(self):
        """Inputs and targets (N, H, W, C) as floats in [0, 1]."""
        place = self.steps_done % self.config.steps_per_epoch
        if place == 0 and self.steps_done:
            self.order = self._new_order()
        chosen = self.order[place * self.config.batch_size:(place + 1) * self.config.batch_size]
        return as_floats(self.inputs[chosen]), as_floats(self.targets[chosen])

    def step(self) -> dict:
        """One round on the next batch: the losses by name (see play_round), or "generator_l1" alone where the game has
        no weight. DivergedError where one is not finite.
        """
        inputs, targets = self._next_batch()
        share = self.config.share(self.steps_done)
        self.players.generator_optimizer.lr = share * self.config.learning_rate
        self.players.discriminator_optimizer.lr = share * self.config.discriminator_rate
        if self.config.adversarial:
            losses = play_round(self.players, self.loss, targets, inputs, rng=self.rng, step=self.steps_done, view=centred)
        else:
            losses = self._step_alone(inputs, targets)
        self.steps_done += 1
        if self.average is not None:
            follow(self.average, self.generator, self.steps_done, self.config.average)
        return losses

    def _step_alone(self, inputs, targets) -> dict:
        optimizer = self.players.generator_optimizer
        loss = self.config.l1 * l1_loss(self.generator(inputs), targets)
        if not np.isfinite(loss.item()):
            raise DivergedError(f"the generator's L1 became {loss.item()} in step {self.steps_done + 1}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"generator_l1": loss.item()}

    @property
    def shown(self):
        """The generator that counts: the average, where there is one."""
        return self.generator if self.average is None else self.average

    def translate(self, inputs) -> np.ndarray:
        """What G makes of pictures uint8 (N, H, W, C), one after the other: float32 (N, H, W, C), cut to [0, 1]."""
        self.shown.eval()
        with no_grad():
            made = [self.shown(Tensor(as_floats(inputs[place:place + 1]))).numpy() for place in range(len(inputs))]
        self.generator.train()
        return np.clip(np.concatenate(made), 0, 1)

    def samples(self) -> np.ndarray:
        """Rows of input, output and target of the first held-out pairs, float32 (3 rows, H, W, C)."""
        inputs, targets = (images[:SHOWN] for images in self.held_out)
        rows = np.stack((as_floats(inputs), self.translate(inputs), as_floats(targets)), axis=1)    # (rows, 3, H, W, C)
        return rows.reshape(-1, *inputs.shape[1:])

    def save_networks(self, folder) -> None:
        """generator.npz, the averaged one."""
        self.shown.save(f"{folder}/generator.npz")

    def _parts(self):
        parts = {"generator": self.generator, "discriminator": self.discriminator,
                 "generator_optimizer": self.players.generator_optimizer,
                 "discriminator_optimizer": self.players.discriminator_optimizer, "rng": self.rng}
        return parts if self.average is None else {**parts, "average": self.average}

    def state_dict(self) -> dict:
        """Everything that the next step depends on but the pairs, as arrays by name."""
        return {**collect(self._parts()), "order": self.order, "steps_done": self.steps_done}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state_dict of the same networks and as many pairs; errors as those of Module.load_state_dict."""
        order = np.array(state["order"])
        if sorted(order.tolist()) != list(range(self.config.count)):
            raise ValueError(f"the checkpoint orders {len(order)} pairs, but there are {self.config.count}")
        restore(self._parts(), state)
        self.order, self.steps_done = order, int(state["steps_done"])


def as_floats(images) -> np.ndarray:
    """Pictures uint8 as float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def centred(images):
    """What D sees of pictures in [0, 1]: from -1 to 1."""
    return 2 * images - 1


def _check_pairs(name, inputs, targets):
    for images in (inputs, targets):
        if getattr(images, "dtype", None) != np.uint8:
            raise TypeError(f"the {name} pictures must be arrays of uint8; got {getattr(images, 'dtype', images)}")
    if inputs.ndim != 4 or inputs.shape[:3] != targets.shape[:3] or not len(inputs):
        raise ValueError(f"the {name} inputs and targets must be (N, H, W, C), alike in N, H and W, N at least 1; got "
                         f"{inputs.shape} and {targets.shape}")
