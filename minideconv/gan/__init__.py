"""Generative adversarial networks on this project's primitives: two networks, their losses, the alternating loop, and the run it leaves on disk."""
from .losses import LOSSES
from .models import Discriminator, Generator
from .trainer import Config, DivergedError, Trainer

__all__ = ["Config", "Discriminator", "DivergedError", "Generator", "LOSSES", "Trainer"]
