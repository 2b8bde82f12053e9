"""The two networks: a generator that is a stack of transposed convolutions, and a discriminator
that is its mirror image.

After DCGAN (Radford et al. 2015): strided convolutions instead of pooling, batch norm except at
both ends, leaky ReLU 0.2 in the discriminator, weights from N(0, 0.02). Not theirs: leaky ReLU in
the generator too (ReLU there), a sigmoid for images in [0, 1] (tanh, [-1, 1]), latents from N(0, 1)
(U(-1, 1)), and 4x4 kernels for 5x5: with stride 2 they overlap evenly (4 is a multiple of 2), so no
checkerboard is built in. RadfordGenerator below is theirs for MNIST. For 28x28x1 images these are

    generator      z (100,) -> Linear 7x7x128, BN, LReLU -> tconv 4x4 s2 -> 64, BN, LReLU -> tconv 4x4 s2 -> 1, sigmoid
    discriminator  conv 4x4 s2 -> 64, LReLU -> conv 4x4 s2 -> 128, BN, LReLU -> Linear 1 (a logit)
"""
import numpy as np

from .. import nn
from ..ops import concatenate
from ..tensor import as_tensor, engine_tensor

WIDEST = 512            # channels beyond which further halvings keep their width


def stages(height: int, width: int) -> int:
    """How often both sides are halved, at least down to 7 pixels or until one is odd: the number
    of strided layers.

    ValueError unless both sides are multiples of 4 and at least 8.
    """
    if height % 4 or width % 4 or min(height, width) < 8:
        raise ValueError("images must have a height and a width that are multiples of 4 and at least 8 for these "
                         f"networks; got {height}x{width}")
    count = 2
    while (height >> count) % 2 == (width >> count) % 2 == 0 and min(height, width) >> count >= 8:
        count += 1
    return count


def plan(image_shape, width: int) -> tuple[tuple[int, int, int], list[int]]:
    """The smallest map (H, W, C) of images (H, W, C), after all halvings, and the channels after 1,
    2, ... of them. ValueError for sizes that `stages` refuses.
    """
    height, breadth, _ = image_shape
    count = stages(height, breadth)
    widths = [min(width * 2 ** stage, max(WIDEST, width)) for stage in range(count)]
    return (height >> count, breadth >> count, widths[-1]), widths


def small_weights(module, rng) -> None:
    """DCGAN's start: every kernel and matrix from N(0, 0.02), biases zero, batch norm the
    identity.
    """
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            part.weight.own(nn.init.normal(part.weight.shape, 0.02, rng=rng))
            if part.bias is not None:
                part.bias.own(np.zeros_like(part.bias.array))


def one_hot(labels, classes: int) -> np.ndarray:
    """Labels (N,), whole numbers below `classes`, as float32 rows (N, classes) with a single 1.
    ValueError for others.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be whole numbers (N,), one for each image; got {labels.dtype} {labels.shape}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels must lie in 0 to {classes - 1}; got {labels.min()} to {labels.max()}")
    rows = np.zeros((len(labels), classes), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def label_rows(labels, classes: int) -> np.ndarray:
    """What a network hears: labels (N,) as one-hot rows float32 (N, classes), or floats (N,
    classes) as they are, each row a mixture of labels. ValueError for others.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype.kind != "f":
        return one_hot(labels, classes)
    if labels.shape[1] != classes:
        raise ValueError(f"labels that are mixtures must be (N, {classes}), a share for each class; got "
                         f"{labels.shape}")
    return labels.astype(np.float32)


def join(x, labels, classes: int):
    """Labels (N,), or mixtures (N, classes), joined as features to rows x (N, F), as constant maps
    to images x (N, H, W, C). With 0 classes x as it is.
    """
    if not classes:
        return x
    x, rows = as_tensor(x), label_rows(labels, classes)
    if x.ndim == 4:
        rows = np.broadcast_to(rows[:, None, None, :], (*x.shape[:3], classes))
    return concatenate([x, engine_tensor(rows)], axis=-1)


class Generator(nn.Module):
    """Latents z (N, latent) -> images (N, H, W, C) in [0, 1]. With classes > 0 it also takes
    labels (N,), joined to z as one-hot.

    image_shape: (H, W, C). width: channels of the layer nearest to the image. ValueError for sizes
    that `stages` refuses.
    """
    uniform = None                      # the latents are from N(0, 1)

    def __init__(self, image_shape, latent=100, width=64, classes=0, *, rng=None):
        base, widths = plan(image_shape, width)
        self.latent, self.classes = latent, classes
        layers = [nn.Linear(latent + classes, int(np.prod(base)), bias=False, rng=rng), nn.Reshape(*base),
                  nn.BatchNorm2d(base[2]), nn.LeakyReLU(0.2)]
        for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False, rng=rng),
                       nn.BatchNorm2d(narrow), nn.LeakyReLU(0.2)]
        layers += [nn.ConvTranspose2d(widths[0], image_shape[2], 4, 2, 1, rng=rng), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)
        small_weights(self, rng)

    def forward(self, z, labels=None):
        return self.layers(join(z, labels, self.classes))


class Discriminator(nn.Module):
    """Images (N, H, W, C) in [0, 1] -> logits (N, 1), positive for "real". With classes > 0 labels
    (N,) join as constant channels.

    image_shape, width and errors: as the Generator's.
    """

    def __init__(self, image_shape, width=64, classes=0, *, rng=None):
        base, widths = plan(image_shape, width)
        self.classes = classes
        layers = [nn.Conv2d(image_shape[2] + classes, widths[0], 4, 2, 1, rng=rng), nn.LeakyReLU(0.2)]
        for narrow, wide in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False, rng=rng), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
        layers += [nn.Flatten(), nn.Linear(int(np.prod(base)), 1, rng=rng)]
        self.layers = nn.Sequential(*layers)
        small_weights(self, rng)

    def forward(self, images, labels=None):
        return self.layers(join(images, labels, self.classes))


class RadfordGenerator(nn.Module):
    """The generator of Radford et al. 2015 for MNIST, as their code has it: [z, label] -> 1024 ->
    [label] 7x7x128 -> [label] tconv 5x5 s2 -> 64 -> [label] tconv 5x5 s2 -> C, sigmoid.

    z (N, latent) is from U(-1, 1). No biases; batch norm has no weights, and the batch's own
    statistics always. Sides of the images are multiples of 4 (ValueError).
    """
    uniform = 1.0                       # the latents' bound

    def __init__(self, image_shape, latent=100, width=64, classes=0, *, rng=None):
        height, breadth, channels = image_shape
        stages(height, breadth)
        base = height // 4, breadth // 4, 2 * width
        self.latent, self.classes = latent, classes
        self.parts = [
            nn.Sequential(nn.Linear(latent + classes, 16 * width, bias=False, rng=rng), _plain_norm(16 * width),
                          nn.ReLU()),
            nn.Sequential(nn.Linear(16 * width + classes, int(np.prod(base)), bias=False, rng=rng),
                          _plain_norm(int(np.prod(base))), nn.ReLU(), nn.Reshape(*base)),
            nn.Sequential(nn.ConvTranspose2d(base[2] + classes, width, 5, 2, 2, 1, bias=False, rng=rng),
                          _plain_norm(width), nn.ReLU()),
            nn.Sequential(nn.ConvTranspose2d(width + classes, channels, 5, 2, 2, 1, bias=False, rng=rng), nn.Sigmoid())]
        small_weights(self, rng)

    def forward(self, z, labels=None):
        for part in self.parts:
            z = part(join(z, labels, self.classes))
        return z


class RadfordDiscriminator(nn.Module):
    """Its opponent: [label] conv 5x5 s2 -> 64 -> [label] conv 5x5 s2 -> 128 -> [label] 1024 ->
    [label] 1, LReLU 0.2 between them. Images (N, H, W, C) -> logits (N, 1).
    """

    def __init__(self, image_shape, width=64, classes=0, *, rng=None):
        height, breadth, channels = image_shape
        stages(height, breadth)
        self.classes, flat = classes, height // 4 * (breadth // 4) * 2 * width
        self.parts = [
            nn.Sequential(nn.Conv2d(channels + classes, width, 5, 2, 2, bias=False, rng=rng), nn.LeakyReLU(0.2)),
            nn.Sequential(nn.Conv2d(width + classes, 2 * width, 5, 2, 2, bias=False, rng=rng), _plain_norm(2 * width),
                          nn.LeakyReLU(0.2), nn.Flatten()),
            nn.Sequential(nn.Linear(flat + classes, 16 * width, bias=False, rng=rng), _plain_norm(16 * width),
                          nn.LeakyReLU(0.2)),
            nn.Linear(16 * width + classes, 1, bias=False, rng=rng)]
        small_weights(self, rng)

    def forward(self, images, labels=None):
        for part in self.parts:
            images = part(join(images, labels, self.classes))
        return images


def _plain_norm(features):
    return nn.BatchNorm2d(features, affine=False, track_running_stats=False)
