"""Generative adversarial networks on this project's primitives: the players, their losses, one
round of the game, and runs of many.
"""
from ..models.dcgan import Discriminator, Generator
from ..train.config import PRESETS, Config
from ..train.state import DivergedError
from .losses import LOSSES, Loss
from .networks import NETWORKS
from .penalties import PENALTIES
from .round import Players, Turn, play_round
from .runs import new_run, resume_run
from .sample import generate, load_generator
from .trainer import Trainer

__all__ = ["Config", "Discriminator", "DivergedError", "Generator", "LOSSES", "Loss", "NETWORKS", "PENALTIES",
           "PRESETS", "Players", "Trainer",
           "Turn", "generate", "load_generator", "new_run", "play_round", "resume_run"]
