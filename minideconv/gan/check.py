"""What settings of a run have to do with each other and with the data: said before any work is
lost.
"""
from .losses import LOSSES
from .networks import NETWORKS, OF_POINTS
from .penalties import PENALTIES


def check(config, images, labels) -> None:
    """ValueError, naming the setting, where a Config does not fit itself, the images (N, ...) or
    the labels (N,).
    """
    for name, choices in (("loss", LOSSES), ("penalty", PENALTIES), ("networks", NETWORKS)):
        if getattr(config, name) not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(config, name)!r}")
    _check_numbers(config)
    if not 2 <= config.batch_size <= len(images):
        raise ValueError(f"batch_size must lie between 2 and the number of images, {len(images)}; "
                         f"got {config.batch_size}")
    if config.classes and (labels is None or len(labels) != len(images)):
        raise ValueError(f"a conditional run needs one label for each of the {len(images)} images; "
                         f"got {None if labels is None else len(labels)}")
    if (config.networks in OF_POINTS) != (len(config.image_shape) == 1):
        kind = "points, which need --preset ring or grid" if len(config.image_shape) == 1 else "images"
        raise ValueError(f"networks {config.networks} are not for {kind}")
    if config.packing > 1 and (config.classes or config.batch_size % config.packing):
        raise ValueError(f"packing must divide batch_size, {config.batch_size}, and packs have no labels "
                         f"(--unconditional); got {config.packing}, {config.classes} classes")
    if config.shift and len(config.image_shape) == 1:
        raise ValueError(f"shift moves images by pixels, and points have none; got {config.shift}")
    if config.blur and len(config.image_shape) == 1:
        raise ValueError(f"blur is of images, and points have no pixels; got {config.blur}")
    if config.smoothing and not LOSSES[config.loss].smooths:
        smooth = ", ".join(name for name, loss in LOSSES.items() if loss.smooths)
        raise ValueError(f"smoothing is for the losses {smooth}; got {config.smoothing} with {config.loss}")


# Setting -> (least, and what it must stay below).
RANGES = {"penalty_weight": (0, float("inf")), "penalty_end": (0, float("inf")), "penalty_every": (1, float("inf")),
          "packing": (1, float("inf")), "shift": (0, float("inf")), "blur": (0, float("inf")), "smoothing": (0, 1),
          "average": (0, 1), "latent": (1, float("inf")), "width": (2, float("inf")), "steps": (1, float("inf")),
          "learning_rate": (0, float("inf")), "weight_decay": (0, float("inf")), "classes": (0, float("inf")),
          "seed": (0, float("inf"))}


def _check_numbers(config):
    for name, (least, below) in RANGES.items():
        value = getattr(config, name)
        if not least <= value < below:
            allowed = f"at least {least}" + ("" if below == float("inf") else f" and below {below}")
            raise ValueError(f"{name} must be {allowed}; got {value}")
    if not 0 <= config.decay_from <= 1:
        raise ValueError(f"decay_from must be a share of the schedule, 0 to 1; got {config.decay_from}")
