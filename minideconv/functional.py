"""The functions of the public surface in one namespace: `import minideconv.functional as F`. Where
each is written is where it is explained.
"""
from .activations import dropout, leaky_relu, log_softmax, relu, sigmoid, softmax, softplus, tanh
from .conv import col2im, conv2d, conv_kernel_grad, conv_transpose2d, im2col
from .losses import binary_cross_entropy, binary_cross_entropy_with_logits, cross_entropy, l1_loss, mse_loss
from .norm import batch_norm
from .ops import linear
from .pooling import avg_pool2d, max_pool2d, max_unpool2d, pixel_shuffle, upsample

__all__ = ["avg_pool2d", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "col2im", "conv2d",
           "conv_kernel_grad", "conv_transpose2d", "cross_entropy", "dropout", "im2col", "l1_loss", "leaky_relu",
           "linear", "log_softmax", "max_pool2d", "max_unpool2d", "mse_loss", "pixel_shuffle", "relu", "sigmoid",
           "softmax", "softplus", "tanh", "upsample"]
