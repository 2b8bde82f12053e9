"""The sub-commands of `minideconv draw`: each drawing module registers its own."""
from . import deconvnet, heatmap, latent, matrix, overlap, sizes, step, tape, translate

MODULES = (step, matrix, sizes, translate, overlap, tape, heatmap, deconvnet, latent)


def register(commands) -> None:
    """Add every drawing command to `commands`, the subparsers of `minideconv draw`."""
    for module in MODULES:
        module.register(commands)
