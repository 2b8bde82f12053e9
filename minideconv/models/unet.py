"""A small U-Net (Ronneberger et al. 2015): down to an eighth of the size and up again, and at every size what was
there on the way down comes back on the way up.

The way down is what lets a pixel see far; the skips bring the edges back, which the way down has lost.

    start  conv 3x3 C -> 16                                             (H, W)
    down   conv 4x4 s2 -> 32 -> 64 -> 64                                (H/2, W/2) (H/4, W/4) (H/8, W/8)
    up     tconv 4x4 s2 -> 64, joined by the 64 of (H/4, W/4); -> 32, joined by 32; -> 16, joined by 16
    last   conv 3x3 32 -> C                                             with LReLU 0.2 after each but the last
"""
from .. import nn
from ..ops import concatenate
from ..tensor import as_tensor
from .pair import SLOPE, he_start

WIDTHS = (16, 32, 64, 64)


class UNet(nn.Module):
    """Images float32 (N, H, W, C) -> images float32 (N, H, W, C), unbounded.

    widths: channels at each size, from the full one down. Both sides must be multiples of 2^(len(widths) - 1)
    (ValueError). rng: draws the weights.
    """

    def __init__(self, channels: int = 3, widths=WIDTHS, *, rng=None):
        rng = nn.init.generator(rng)
        self.start = nn.Sequential(nn.Conv2d(channels, widths[0], 3, 1, "same", rng=rng), nn.LeakyReLU(SLOPE))
        self.down = [nn.Sequential(nn.Conv2d(wide, deep, 4, 2, "same", rng=rng), nn.LeakyReLU(SLOPE))
                     for wide, deep in zip(widths[:-1], widths[1:], strict=True)]
        arriving = [2 * width for width in widths[1:-1]] + [widths[-1]]            # channels before each way up
        self.up = [nn.Sequential(nn.ConvTranspose2d(deep, wide, 4, 2, "same", rng=rng), nn.LeakyReLU(SLOPE))
                   for deep, wide in zip(arriving[::-1], widths[-2::-1], strict=True)]
        self.last = nn.Conv2d(2 * widths[0], channels, 3, 1, "same", rng=rng)
        he_start(self, rng)

    def forward(self, images):
        x = as_tensor(images)
        multiple = 2 ** len(self.down)
        if x.ndim != 4 or x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(f"images must be (N, H, W, C) with H and W multiples of {multiple}; got {x.shape}")
        x, kept = self.start(x), []
        for down in self.down:
            kept.append(x)
            x = down(x)                                                 # half as high and wide
        for up, here in zip(self.up, kept[::-1], strict=True):
            x = concatenate([up(x), here], axis=-1)                     # twice as high and wide, both channels
        return self.last(x)
