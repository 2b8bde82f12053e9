"""A small deconvolution engine to read, to step through and to train GANs with:
NumPy arrays, a tape, and compiled loops.
"""
from . import data, functional, kernels, nn, numpy_calls, optim
from .gradcheck import GradcheckError, adjoint_check, gradcheck, gradgradcheck
from .ops import concatenate, maximum, minimum, pad, stack, where
from .parallel import set_num_threads
from .tensor import TapeError, Tensor, enable_grad, grad, no_grad

__version__ = "0.1.0"
__all__ = ["GradcheckError", "TapeError", "Tensor", "adjoint_check", "concatenate", "data",
           "enable_grad", "functional", "grad", "gradcheck", "gradgradcheck", "kernels", "maximum",
           "minimum", "nn", "no_grad", "numpy_calls", "optim", "pad", "set_num_threads", "stack",
           "where"]
