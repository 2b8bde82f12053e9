"""What decides a run, to the last bit: its configuration, the presets its defaults come from, and
its JSON form in the run folder.
"""
import json
import numbers
from dataclasses import InitVar, asdict, dataclass, fields

FORMAT = 3              # of config.json; 0 had no number, 1 one recipe, 2 penalties of one weight

# The one place where defaults stand. A configuration is a preset, then what the user gave, then
# nothing else. The default is the best picture that four minutes of two cores give: R1 (Mescheder
# et al. 2018), labels in every layer, an averaged generator, and rates ten times DCGAN's that fall
# to zero.
DEFAULT = {
    "data": "strokes",
    "labels": True,
    "steps": 3_000,
    "epochs": None,             # where this is a number, it is what counts
    "networks": "conditional",
    "loss": "ns",
    "penalty": "r1",
    "penalty_weight": None,
    "penalty_end": None,        # the same
    "penalty_every": 4,
    "batch_size": 64,
    "packing": 1,
    "shift": 0,
    "blur": 0.0,
    "smoothing": 0.0,
    "seed": 0,
    "latent": 64,
    "width": 64,
    "learning_rate": 2e-3,
    "beta1": 0.0,
    "beta2": 0.99,
    "weight_decay": 0.0,
    "decay_from": 0.5,
    "average": 0.999,
}
# Networks after Radford et al. 2015 and their rates, without labels, for three epochs: what lesson 11
# builds.
PLAIN = {**DEFAULT, "labels": False, "epochs": 3, "networks": "dcgan", "penalty": "none",
         "penalty_every": 1, "batch_size": 128, "latent": 100, "learning_rate": 2e-4, "beta1": 0.5, "beta2": 0.999,
         "decay_from": 1.0, "average": 0.0}
# PacGAN's data and networks (Lin et al. 2018, table 1), half as wide; R1, the average and the rates are ours.
RING = {**DEFAULT, "data": "ring", "labels": False, "steps": 20_000, "networks": "points", "penalty_weight": 0.02,
        "batch_size": 128, "latent": 2, "width": 200, "learning_rate": 1e-3}
PRESETS = {
    "default": DEFAULT,
    "plain": PLAIN,
    # Their networks for MNIST and their schedule: 100 epochs, and 100 in which the rate falls.
    "dcgan": {**PLAIN, "labels": True, "epochs": 200, "networks": "radford", "weight_decay": 2.5e-5, "decay_from": 0.5},
    # Goodfellow et al. 2014, with Adam in place of momentum, and averaged.
    "mlp": {**PLAIN, "epochs": 50, "networks": "mlp", "batch_size": 100, "width": 60, "decay_from": 0.5,
            "average": 0.999},
    # Gulrajani et al. 2017, with as many steps of D as of G.
    "wgan-gp": {**DEFAULT, "loss": "wasserstein", "penalty": "wgan-gp", "penalty_every": 1, "learning_rate": 1e-3,
                "beta2": 0.9},
    "ring": RING,
    # Pairs and both penalties keep all modes (Huang et al. 2024), the high rate finds those that were lost; a penalty
    # that falls narrows the seams between them.
    "grid": {**RING, "data": "grid", "steps": 30_000, "networks": "grid", "loss": "relativistic", "penalty": "r1r2",
             "penalty_weight": 0.02, "penalty_end": 0.001, "learning_rate": 3e-3, "decay_from": 0.3},
    # The default for twenty minutes or more, at half its rate.
    "best": {**DEFAULT, "data": "mnist", "epochs": 20, "learning_rate": 1e-3},
}
WEIGHTS = {"r1": 1.0, "r2": 1.0, "r1r2": 1.0, "wgan-gp": 10.0}      # of each penalty, where none is given
# What a configuration that was written in format 0 or 1 does not say, because all were alike.
FORMER = {name: PLAIN[name] for name in ("networks", "penalty", "penalty_every", "packing", "shift", "smoothing",
                                         "weight_decay", "decay_from", "average")}


class Schedule:
    """What every configuration says of its steps, from its count, batch_size, learning_rate, decay_from, decay_to."""

    def rate(self, step: int) -> float:
        """The learning rate of the step before which `step` were done."""
        return falling_rate(self.learning_rate, step, self.decay_from, self.decay_to)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; what is left of the examples is too small for one."""
        return self.count // self.batch_size


@dataclass(kw_only=True)
class Config(Schedule):
    """What decides a run. Whatever is None is taken from the preset.

    epochs: the length in epochs, where `steps` is not given. labels: whether the networks are told
    the labels, where the data have them (`names`) and `classes` is not given. Neither is kept.
    Raises ValueError for an unknown preset, TypeError for a value of the wrong type or a name that
    is no setting.
    """
    data: str                       # a named source, or the path of the images
    image_shape: tuple              # (H, W, C), or (2,) for points
    count: int                      # training images
    checksum: int                   # of their bytes
    names: list | None = None       # of the classes, in the order of their numbers; None where there are no labels
    preset: str = "default"
    steps: int = None               # in all
    networks: str = None            # a name of gan/networks.py
    loss: str = None                # a name of gan/losses.py
    penalty: str = None             # a name of gan/penalties.py
    penalty_weight: float = None
    penalty_end: float = None       # what the weight falls to, as the rate falls to zero
    penalty_every: int = None       # rounds; in the others D pays nothing
    classes: int = None             # that the networks are told of; 0 means unconditional
    batch_size: int = None
    packing: int = None             # images that D sees at once
    shift: int = None               # pixels that D's images are moved by, at most
    blur: float = None              # of the real images, standard deviation in pixels; 0: none
    smoothing: float = None         # what D's target for real images lacks to 1
    seed: int = None
    latent: int = None              # numbers that an image is made from
    width: int = None               # channels of the layer nearest to the image
    learning_rate: float = None     # of both players, as are the four below
    beta1: float = None
    beta2: float = None
    weight_decay: float = None
    decay_from: float = None        # share of the schedule after which the rate falls, linearly; 1: never
    decay_to: int = None            # the step at which it would be zero
    average: float = None           # longest decay of G's running average; 0: none
    epochs: InitVar[int] = None
    labels: InitVar[bool] = None

    def __post_init__(self, epochs, labels):
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {self.preset!r}")
        preset = dict(PRESETS[self.preset])
        labels = preset["labels"] if labels is None else labels
        planned = preset.pop("steps"), preset.pop("epochs")
        for field in fields(self):
            if getattr(self, field.name) is None and field.name in preset:
                setattr(self, field.name, preset[field.name])
        if self.penalty_weight is None:
            self.penalty_weight = WEIGHTS.get(self.penalty, 0.0)
        if self.penalty_end is None:
            self.penalty_end = self.penalty_weight
        if self.classes is None:
            self.classes = len(self.names) if labels and self.names else 0
        planned = planned[1] * self.steps_per_epoch if planned[1] else planned[0]
        if self.steps is None:
            self.steps = epochs * self.steps_per_epoch if epochs else planned
        if self.decay_to is None:
            self.decay_to = planned
        self.image_shape = tuple(self.image_shape)
        check_types(self)
        # A run that ends before its preset's end is that run interrupted: it goes on as if it had
        # not been.
        self.decay_to = max(self.steps, self.decay_to)

    def weight(self, step: int) -> float:
        """The penalty's weight in the step before which `step` were done."""
        share = falling_rate(1.0, step, self.decay_from, self.decay_to)
        return self.penalty_end + (self.penalty_weight - self.penalty_end) * share

    def to_json(self) -> str:
        """The configuration as JSON, with its format number."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """The configuration that to_json wrote, or version 0.1.0. ValueError, one line, for any
        other text.
        """
        settings = read_settings(text, FORMAT)
        if "kind" in settings:
            raise ValueError(f"a {settings['kind']} run, no GAN's: the program that began it goes on with it")
        written = settings.pop("format")
        settings = settings if written >= 2 else {**FORMER, **settings}
        if written < 3:
            settings["penalty_end"] = settings.get("penalty_weight")
        known = {field.name for field in fields(cls)}
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(f"unknown setting {unknown[0]!r}")
        try:
            return cls(**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a configuration of a run: {str(error).replace('Config.__init__() ', '')}") from error


# ---- what all configurations share

def falling_rate(rate: float, step: int, share: float, end: int) -> float:
    """`rate`, which after that share of the steps up to `end` falls to zero in a line; share 1: it stays."""
    begin = share * end
    return rate if step < begin or share == 1 else rate * (end - step) / (end - begin)


def check_types(config) -> None:
    """TypeError for a field of a configuration that is not of its type; NumPy's own numbers, which have no JSON,
    become Python's.
    """
    kinds = {int: numbers.Integral, float: numbers.Real}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.type in kinds:
            if isinstance(value, bool) or not isinstance(value, kinds[field.type]):
                raise TypeError(f"{field.name} must be of type {field.type.__name__}; got {value!r}")
            setattr(config, field.name, field.type(value))
        elif field.type is str and not isinstance(value, str):
            raise TypeError(f"{field.name} must be text; got {value!r}")


def read_settings(text: str, newest: int) -> dict:
    """The settings that a configuration's JSON text holds, "format" among them (0 where there is none). ValueError,
    one line, for other text and for a format above `newest`.
    """
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not a configuration of a run: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"not a configuration of a run: a {type(settings).__name__} instead of an object")
    written = settings.setdefault("format", 0)
    if not isinstance(written, int) or written > newest:
        raise ValueError(f"its format is {written}, newer than this version's {newest}: update minideconv")
    return settings
