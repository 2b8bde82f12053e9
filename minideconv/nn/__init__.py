"""Layers: module.py finds and keeps parameters, layers.py has the layers, init.py their first numbers."""
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
    Sequential,
    Sigmoid,
    Tanh,
    Upsample,
)
from .module import Module

__all__ = ["AvgPool2d", "BatchNorm2d", "Conv2d", "ConvTranspose2d", "Dropout", "Flatten", "LeakyReLU", "Linear",
           "MaxPool2d", "Module", "PixelShuffle", "ReLU", "Reshape", "Sequential", "Sigmoid", "Tanh", "Upsample",
           "init"]
