"""What decides a run, to the last bit: its configuration, the presets its defaults come from, and
its JSON form in the run folder.
"""
import json
import numbers
from dataclasses import InitVar, asdict, dataclass, fields

FORMAT = 1              # of config.json; 0 had no number

# The one place where defaults stand. A configuration is a preset, then what the user gave, then nothing else.
DEFAULT = {
    "epochs": 3,
    "loss": "ns",
    "classes": 0,
    "batch_size": 128,
    "seed": 0,
    "latent": 100,
    "width": 64,
    "learning_rate": 2e-4,      # the rates and betas are DCGAN's
    "beta1": 0.5,
    "beta2": 0.999,
}
PRESETS = {
    "default": DEFAULT,
}


@dataclass(kw_only=True)
class Config:
    """What decides a run. Whatever is None is taken from the preset.

    epochs: the length in epochs, where `steps` is not given; it is not kept. Raises ValueError for
    an unknown preset, TypeError for a value of the wrong type or a name that is no setting.
    """
    data: str                       # a named source, or the path of the images
    image_shape: tuple              # (H, W, C)
    count: int                      # training images
    checksum: int                   # of their bytes
    names: list | None = None       # of the classes, in the order of their numbers; None where there are no labels
    preset: str = "default"
    steps: int = None               # in all
    loss: str = None
    classes: int = None             # that the networks are told of; 0 means unconditional
    batch_size: int = None
    seed: int = None
    latent: int = None              # numbers that an image is made from
    width: int = None               # channels of the layer nearest to the image
    learning_rate: float = None
    beta1: float = None
    beta2: float = None
    epochs: InitVar[int] = None

    def __post_init__(self, epochs):
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}; got {self.preset!r}")
        preset = dict(PRESETS[self.preset])
        epochs = preset.pop("epochs") if epochs is None else epochs
        for name, value in preset.items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        if self.steps is None:
            self.steps = epochs * self.steps_per_epoch
        self.image_shape = tuple(self.image_shape)
        self._check_types()

    def _check_types(self):
        kinds = {int: numbers.Integral, float: numbers.Real}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type in kinds:
                if isinstance(value, bool) or not isinstance(value, kinds[field.type]):
                    raise TypeError(f"{field.name} must be of type {field.type.__name__}; got {value!r}")
                setattr(self, field.name, field.type(value))            # NumPy's own numbers have no JSON
            elif field.type is str and not isinstance(value, str):
                raise TypeError(f"{field.name} must be text; got {value!r}")

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; what is left of the images is too small for one."""
        return self.count // self.batch_size

    def to_json(self) -> str:
        """The configuration as JSON, with its format number."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Config":
        """The configuration that to_json wrote, or version 0.1.0. ValueError, one line, for any
        other text.
        """
        try:
            settings = json.loads(text)
        except ValueError as error:
            raise ValueError(f"not a configuration of a run: {error}") from error
        if not isinstance(settings, dict):
            raise ValueError(f"not a configuration of a run: a {type(settings).__name__} instead of an object")
        written = settings.pop("format", 0)
        if not isinstance(written, int) or written > FORMAT:
            raise ValueError(f"its format is {written}, newer than this version's {FORMAT}: update minideconv")
        known = {field.name for field in fields(cls)}
        if unknown := [name for name in settings if name not in known]:
            raise ValueError(f"unknown setting {unknown[0]!r}")
        try:
            return cls(**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a configuration of a run: {str(error).replace('Config.__init__() ', '')}") from error
