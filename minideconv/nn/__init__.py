"""Layers, how to hold and save them, and their first numbers (`nn.init`)."""
from . import init
from .layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    LeakyReLU,
    Linear,
    MaxPool2d,
    PixelShuffle,
    ReLU,
    Reshape,
    Sigmoid,
    Tanh,
    Upsample,
)
from .module import Module
from .sequential import Sequential

__all__ = ["AvgPool2d", "BatchNorm2d", "Conv2d", "ConvTranspose2d", "Dropout", "Flatten", "LeakyReLU", "Linear",
           "MaxPool2d", "Module", "PixelShuffle", "ReLU", "Reshape", "Sequential", "Sigmoid", "Tanh", "Upsample",
           "init"]
