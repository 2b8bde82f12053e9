"""Networks out to other frameworks and their weights back in: PyTorch's state_dict, ONNX files, and a generator that
runs where this package is not.

    state = to_torch(network)                       from_torch(network, state)
    model = to_onnx(network, (28, 28, 1))           from_onnx(network, model)       save_onnx(path, model)
    generator_to_onnx(generator, FILE)              generator_to_torch(generator, FOLDER)

Nothing is unpickled. The packages torch and onnx are needed by whoever runs what is written; of the
functions here only those of ONNX import theirs, when they are called.
"""
from .generator import generator_to_onnx, generator_to_torch
from .onnx_file import OPSET, from_onnx, save_onnx, to_onnx
from .pytorch import from_torch, to_torch

__all__ = ["OPSET", "from_onnx", "from_torch", "generator_to_onnx", "generator_to_torch", "save_onnx", "to_onnx",
           "to_torch"]
