"""A small deconvolution engine to read, to step through and to train GANs with: NumPy arrays, a tape, and compiled loops."""
from . import data, functional, kernels, nn, optim
from .gradcheck import GradcheckError, adjoint_check, gradcheck, gradgradcheck
from .ops import concatenate, maximum, stack, where
from .parallel import set_num_threads
from .tensor import TapeError, Tensor, grad, no_grad

__version__ = "0.1.0"
__all__ = ["GradcheckError", "TapeError", "Tensor", "adjoint_check", "concatenate", "data", "functional", "grad", "gradcheck", "gradgradcheck", "kernels",
           "maximum", "nn", "no_grad", "optim", "set_num_threads", "stack", "where"]
