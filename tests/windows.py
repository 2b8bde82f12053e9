"""What the tests of kernels share: small integers, and the windows of a convolution in loops."""
import itertools


def integers(rng, dtype, *shape):
    return rng.integers(-4, 5, shape).astype(dtype)


def touches(window):
    """(window i, j; tap u, v; pixel h, w) wherever the tap lies on the image."""
    for i, j, u, v in itertools.product(*map(range, window.features + window.kernel)):
        h = i * window.stride[0] + u * window.dilation[0] - window.padding[0]
        w = j * window.stride[1] + v * window.dilation[1] - window.padding[1]
        if 0 <= h < window.image[0] and 0 <= w < window.image[1]:
            yield i, j, u, v, h, w
