"""A convolution as the sparse matrix that it is, and its transpose:
drawn, and checked against the engine while drawing.

Lay the image out as a long vector x and the features as a long vector y. Then conv2d is y = C x
for one matrix C that holds the kernel's numbers again and again, one row per output, and
conv_transpose2d is C^T y: a row of C turned into a column is the stamp.

Notation: image (H, W, C), features (OH, OW, O), kernel (KH, KW, C, O); the row of y[i, j, o] is
(i*OW + j)*O + o, the column of x[h, w, c] is (h*W + w)*C + c: NumPy's order in memory.
"""
from typing import NamedTuple

import numpy as np

from .. import functional as F
from ..shapes import Window, conv_window
from ..tensor import Tensor, grad
from .arguments import kernel_arguments, padding_argument, two
from .figure import PALETTE, VALUES, new_figure, save, style

MOST_ENTRIES = 200_000
LEGEND_HEIGHT = 2.0         # inches


class ConvMatrix(NamedTuple):
    """The entries of C that are not left out:
    values[k] stands in row rows[k] and column columns[k], and is kernel entry taps[k].
    """
    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    taps: np.ndarray        # index into the kernel's KH*KW positions
    shape: tuple            # (OH*OW*O, H*W*C)
    window: Window
    weight: np.ndarray      # (KH, KW, C, O)

    def dense(self) -> np.ndarray:
        """C with all its zeros."""
        full = np.zeros(self.shape)
        full[self.rows, self.columns] = self.values
        return full

    def times(self, x) -> np.ndarray:
        """C x for a vector x."""
        y = np.zeros(self.shape[0])
        np.add.at(y, self.rows, self.values * np.asarray(x)[self.columns])
        return y

    def transpose_times(self, y) -> np.ndarray:
        """C^T y for a vector y."""
        x = np.zeros(self.shape[1])
        np.add.at(x, self.columns, self.values * np.asarray(y)[self.rows])
        return x


def conv_matrix(weight, image_size, stride=1, padding=0, dilation=1) -> ConvMatrix:
    """The matrix of conv2d with this kernel (KH, KW) or (KH, KW, C, O)
    on images of `image_size` (H, W).
    """
    weight = np.asarray(weight, np.float64)
    weight = weight[:, :, None, None] if weight.ndim == 2 else weight
    if weight.ndim != 4 or weight.size == 0:
        raise ValueError(f"weight must be (KH, KW) or (KH, KW, C, O); got shape {weight.shape}")
    window = conv_window(tuple(image_size), weight.shape[:2], stride, padding, dilation)
    (height, width), (out_height, out_width) = window.image, window.features
    channels, outputs = weight.shape[2:]
    if out_height * out_width * weight.size > MOST_ENTRIES:
        raise ValueError(f"the matrix would have up to {out_height * out_width * weight.size} entries; this picture is "
                         f"for at most {MOST_ENTRIES}")
    entries = []
    for i, j, u, v in np.ndindex(out_height, out_width, *window.kernel):
        row = i * window.stride[0] + u * window.dilation[0] - window.padding[0]
        column = j * window.stride[1] + v * window.dilation[1] - window.padding[1]
        if not (0 <= row < height and 0 <= column < width):
            continue                    # padding: a zero that no column of C stands for
        for c, o in np.ndindex(channels, outputs):
            entries.append(((i * out_width + j) * outputs + o, (row * width + column) * channels + c,
                            weight[u, v, c, o], u * window.kernel[1] + v))
    entries = np.array(entries, [("row", int), ("column", int), ("value", float), ("tap", int)])
    shape = (out_height * out_width * outputs, height * width * channels)
    return ConvMatrix(entries["row"], entries["column"], entries["value"], entries["tap"], shape, window, weight)


def check(matrix: ConvMatrix, stride=1, padding=0, dilation=1, rng=None) -> list:
    """The four equalities between this matrix and the engine, as sentences;
    ArithmeticError for the first that does not hold.

    stride, padding, dilation: what conv_matrix was called with. Vectors are whole numbers, so
    whole-number kernels compare without rounding.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    (height, width), (channels, outputs) = matrix.window.image, matrix.weight.shape[2:]
    x = Tensor(rng.integers(-9, 10, (1, height, width, channels)).astype(np.float64), requires_grad=True)
    y = Tensor(rng.integers(-9, 10, (1, *matrix.window.features, outputs)).astype(np.float64), requires_grad=True)
    weight = Tensor(matrix.weight)
    features = F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)
    image = F.conv_transpose2d(y, weight, stride=stride, padding=padding, dilation=dilation,
                               output_size=(height, width))
    forward, backward = matrix.times(x.data.ravel()), matrix.transpose_times(y.data.ravel())
    for_x, for_y = grad(features, x, y.data)[0].data, grad(image, y, x.data)[0].data
    equalities = (("conv2d(x, w) == C x", features.data, forward),
                  ("conv_transpose2d(y, w) == C^T y", image.data, backward),
                  ("backward of conv2d == forward of conv_transpose2d", for_x, image.data.ravel()),
                  ("backward of conv_transpose2d == forward of conv2d", for_y, features.data.ravel()))
    scale = np.abs(matrix.weight).sum() * 9
    for claim, ours, expected in equalities:
        if not np.allclose(ours.ravel(), expected, rtol=0, atol=1e-12 * scale):
            raise ArithmeticError(f"{claim} does not hold: largest difference "
                                  f"{np.abs(ours.ravel() - expected).max():.3g}")
    return [claim for claim, _, _ in equalities]


@style()
def spy(weight, image_size, stride=1, padding=0, dilation=1):
    """A Figure of C and C^T with each entry shaded by the kernel tap it repeats;
    the engine is checked against both first.
    """
    matrix = conv_matrix(weight, image_size, stride, padding, dilation)
    claims = check(matrix, stride, padding, dilation)
    (rows, columns), share = matrix.shape, len(matrix.values) / (matrix.shape[0] * matrix.shape[1])
    cell = min(4.8 / max(rows, columns), 8.4 / (rows + columns))        # inches, of one entry in both matrices
    # The kernel and the claims stand under C, if there is room.
    below = 0.0 if (columns - rows) * cell >= LEGEND_HEIGHT else LEGEND_HEIGHT
    width, height = 1.5 + max((rows + columns) * cell, 7.5), 1.0 + max(rows, columns) * cell + below
    figure = new_figure(width, height, layout="none")

    def place(left, top, wide, tall):
        return figure.add_axes((left / width, 1 - (top + tall) / height, wide / width, tall / height))
    left, right = (place(0.65, 0.5, columns * cell, rows * cell),
                   place(1.35 + columns * cell, 0.5, rows * cell, columns * cell))
    left.set(xlabel="pixel of x", ylabel="entry of y")
    left.set_title(f"C: {rows} x {columns}, {len(matrix.values)} entries ({share:.0%}) from {matrix.weight.size} "
                   "numbers", fontsize=9, loc="left")
    right.set(xlabel="entry of y", ylabel="pixel of x")
    right.set_title("C$^T$: its columns are the stamps", fontsize=9, loc="left")
    picture = np.full(matrix.shape, np.nan)
    picture[matrix.rows, matrix.columns] = matrix.taps
    taps = matrix.window.kernel[0] * matrix.window.kernel[1]
    _entries(left, picture, taps)
    _entries(right, picture.T, taps)
    top = height - LEGEND_HEIGHT + 0.2
    _kernel(place(0.65, top, 1.4, 1.4), matrix)
    checked = "\n".join(["checked while drawing:", *claims])
    figure.text(2.25 / width, 1 - (top + 0.7) / height, checked, va="center", fontsize=8.5, linespacing=1.5)
    return figure


def _kernel(axes, matrix):
    """The kernel's positions in the shades that their entries have in the matrix;
    numbers where there is one channel.
    """
    height, width = matrix.window.kernel
    single = matrix.weight.shape[2:] == (1, 1)
    shades = np.arange(height * width).reshape(height, width)
    axes.imshow(shades, cmap=VALUES, vmin=0, vmax=max(1, height * width - 1))
    for u, v in np.ndindex(height, width):
        colour = PALETTE["paper"] if shades[u, v] < height * width / 2 else PALETTE["ink"]
        text = f"{matrix.weight[u, v, 0, 0]:.3g}" if single else f"{u},{v}"
        if max(height, width) <= 6:
            axes.text(v, u, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set(xticks=[], yticks=[])
    channels = "" if single else f" taps of {matrix.weight.shape[2]}x{matrix.weight.shape[3]}"
    axes.set_title(f"kernel w, {height}x{width}{channels}", fontsize=9)


def _entries(axes, picture, taps: int):
    """A matrix as cells, each shaded by its tap (of so many) and white where there is none (NaN).
    """
    axes.imshow(picture, cmap=VALUES, vmin=0, vmax=max(1, taps - 1), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True, nbins=5)
    rows, columns = picture.shape
    if max(rows, columns) <= 100:       # cell borders, as long as cells are wider than lines
        axes.set_xticks(np.arange(-0.5, columns), minor=True)
        axes.set_yticks(np.arange(-0.5, rows), minor=True)
        axes.grid(which="minor", color=PALETTE["faint"], linewidth=0.4)
        axes.tick_params(which="minor", length=0)


def register(commands) -> None:
    """Add `minideconv draw matrix`."""
    parser = commands.add_parser(
        "matrix", help="the sparse matrix of a convolution, and its transpose",
        description="Draw the matrix C of a convolution and its transpose, and check that conv2d is C x, "
                    "conv_transpose2d is C^T y, and each one's gradient the other.",
        epilog="Example: minideconv draw matrix --size 5 --kernel 3 --stride 2 --padding 1 --out matrix.png")
    kernel_arguments(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="FILE.png or FILE.svg")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    """`minideconv draw matrix`."""
    size, kernel, stride, dilation = (two(getattr(args, name), name)
                                      for name in ("size", "kernel", "stride", "dilation"))
    weight = np.random.default_rng(args.seed).choice([-2.0, -1.0, 1.0, 2.0, 3.0], kernel)
    print(f"wrote {save(spy(weight, size, stride, padding_argument(args.padding), dilation), args.out)}")
