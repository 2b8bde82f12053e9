"""Draws a gradient check entry by entry: where a gradient is wrong says why it is wrong.

For each input: the gradient from the tape, the slope by central differences, and their difference.
A kernel that comes back flipped is right in its middle only, one with height and width exchanged
on its diagonal only, a wrong border leaves the inside right: a pattern that one number, the
largest error, would hide.
"""
import numpy as np

from .. import functional as F
from ..gradcheck import slopes
from ..tensor import Tensor, grad
from .figure import PALETTE, new_figure, save, style


def gradient_errors(fn, *inputs, cotangent="random", eps: float = 1e-6, seed: int = 0) -> list:
    """(tape's gradient, slopes, mask of kinks) for each of the float64 arrays `inputs` of fn,
    a function Tensors -> Tensor.

    What is differentiated is the output weighted by a cotangent and summed: "random" (Gaussian) or
    "ones". Ones are the usual choice and a bad one: they cannot see a gradient whose entries are
    right but in the wrong places.
    """
    if cotangent not in ("random", "ones"):
        raise ValueError(f"cotangent must be 'random' or 'ones'; got {cotangent!r}")
    for place, array in enumerate(inputs):
        if not isinstance(array, np.ndarray) or array.dtype != np.float64:
            raise TypeError(f"inputs[{place}] must be a float64 array; got "
                            f"{getattr(array, 'dtype', type(array).__name__)}")
    tensors = [Tensor(np.array(array), requires_grad=True) for array in inputs]
    output = fn(*tensors)
    weights = np.ones(output.shape)
    if cotangent == "random":
        weights = np.random.default_rng(seed).standard_normal(output.shape)
    found = grad(output, tensors, gradient=weights, allow_unused=True)
    return [(np.zeros(t.shape) if g is None else g.data, *slopes(lambda *ts: (fn(*ts),), tensors, [weights], t, eps))
            for t, g in zip(tensors, found, strict=True)]


def plane(array) -> np.ndarray:
    """An array of up to four axes as a table: (N, H, W, C) and (KH, KW, C, O) as tiles,
    the pixels of a plane together.

    A kernel's tiles: C down, O across. Images: N down, C across.
    """
    if array.ndim > 4:
        raise ValueError(f"array must have at most 4 axes to be drawn; got shape {array.shape}")
    if array.ndim < 3:
        return array.reshape(-1, array.shape[-1] if array.ndim else 1)
    height, width, down, across = array.shape if array.ndim == 4 else (*array.shape[:2], 1, array.shape[2])
    return array.reshape(height, width, down, across).transpose(2, 0, 3, 1).reshape(down * height, across * width)


def _table(array, image: bool):
    """The plane of an array and its (rows, columns) per tile."""
    if image and array.ndim == 4:
        array = array.transpose(1, 2, 0, 3)
    table = plane(array)
    return table, array.shape[:2] if array.ndim > 2 else table.shape


@style()
def draw_heatmap(checks, inputs, names=None, cotangent="random", title: str = "", eps: float = 1e-6,
                 tolerance: float = 1e-5, seed: int = 0):
    """A Figure: for each input a row per function, with the tape's gradient, the slopes,
    and the error of every entry (log10, crossed where wrong).

    checks: name -> function Tensors -> Tensor, e.g. a right and a wrong one. inputs: the float64
    arrays that they take. names: of the inputs; "x" and "y" are images (N, H, W, C), others with
    four axes kernels (KH, KW, C, O). An entry is wrong where the error is above `tolerance` of the
    largest slope. Kinks, where there is no gradient, are marked.
    """
    names = list(names or (f"input {i}" for i in range(len(inputs))))
    if len(names) != len(inputs):
        raise ValueError(f"names must name each of the {len(inputs)} inputs; got {names}")
    found = {label: gradient_errors(fn, *inputs, cotangent=cotangent, eps=eps, seed=seed)
             for label, fn in checks.items()}
    rows = [(label, name, found[label][place]) for place, name in enumerate(names) for label in checks]
    figure = new_figure(8.6, 2.35 * len(rows) + 0.7, title or f"Gradient check, entry by entry ({cotangent} cotangent)")
    table = figure.subplots(len(rows), 3, squeeze=False)
    for axes, (label, name, (tape, slope, kinks)) in zip(table, rows, strict=True):
        scale = max(float(np.abs(slope).max()), 1e-300)
        errors = np.abs(tape - slope) / scale
        wrong = ~(errors <= tolerance)
        image = name in ("x", "y")
        for one, values in zip(axes[:2], (tape, slope), strict=True):
            _draw_table(one, values, image, vmin=-scale, vmax=scale)
        drawn = _draw_table(axes[2], np.log10(np.maximum(errors, 1e-16)), image, vmin=-12, vmax=0)
        _mark(axes[2], wrong & ~kinks, image, "x")
        _mark(axes[2], kinks, image, "o")
        axes[0].set_ylabel(f"{label}\ngradient for {name}")
        axes[0].set_xlabel("from the tape")
        axes[1].set_xlabel("central differences")
        axes[2].set_xlabel(_verdict(wrong & ~kinks, kinks))
        figure.colorbar(drawn, ax=axes[2], label="log10 of error\n/ largest slope", ticks=[-12, -8, -4, 0])
    return figure


def _verdict(wrong, kinks) -> str:
    """What the marks of the error's table mean, and how many there are."""
    if not wrong.any() and not kinks.any():
        return "right everywhere"
    return f"x wrong: {wrong.sum()} of {wrong.size}" + (f", o on a kink: {kinks.sum()}" if kinks.any() else "")


def _draw_table(axes, values, image, **shades):
    table, tile = _table(values, image)
    drawn = axes.imshow(table, **shades)
    axes.set_xticks([])
    axes.set_yticks([])
    for row in range(tile[0], table.shape[0], tile[0]):
        axes.axhline(row - 0.5, color=PALETTE["paper"], linewidth=2.5)
    for column in range(tile[1], table.shape[1], tile[1]):
        axes.axvline(column - 0.5, color=PALETTE["paper"], linewidth=2.5)
    return drawn


def _mark(axes, mask, image, sign):
    rows, columns = np.nonzero(_table(mask, image)[0])
    axes.plot(columns, rows, sign, color=PALETTE["ink"], markersize=4, markeredgewidth=1, linestyle="none")


# Gradients that are wrong on purpose, to learn to read the picture.

def with_gradient_of(value, stand_in):
    """A Tensor with the numbers of `value` and the gradient of `stand_in`,
    which has the same shape.
    """
    return value.detach() + stand_in - stand_in.detach()


def _right(y, w):
    return F.conv_transpose2d(y, w, stride=2)


def _faulty(change_image, change_kernel):
    """The transposed convolution with the gradients of one that sees y and w changed."""
    def fn(y, w):
        stand_in = _right(change_image(y), w.detach()) + _right(y.detach(), change_kernel(w))
        return with_gradient_of(_right(y, w), stand_in)
    return fn


def _same(t):
    return t


def _without_border(y):
    inside = np.zeros(y.shape)
    inside[:, 1:-1, 1:-1] = 1
    return y * inside


FAULTS = {
    "flipped": ("kernel comes back flipped", _faulty(_same, lambda w: w[::-1, ::-1])),
    "exchanged": ("height and width exchanged", _faulty(_same, lambda w: w.transpose(1, 0, 2, 3))),
    "channels": ("C and O exchanged", _faulty(_same, lambda w: w.transpose(0, 1, 3, 2))),
    "border": ("border forgotten", _faulty(_without_border, _same)),
}


def example_inputs(seed: int = 0):
    """y (1, 5, 5, 2) and w (3, 3, 2, 2) of the transposed convolution that has the FAULTS."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((1, 5, 5, 2)), rng.standard_normal((3, 3, 2, 2))


def _run_command(args):
    text, fn = FAULTS[args.fault]
    checks = {"right": _right, text: fn}
    figure = draw_heatmap(checks, example_inputs(args.seed), ("y", "w"), "ones" if args.ones else "random",
                          seed=args.seed)
    print(f"wrote {save(figure, args.out)}")


def register(commands) -> None:
    """Add `heatmap` to the commands of `minideconv draw`."""
    command = commands.add_parser(
        "heatmap", help="a gradient check entry by entry: a right gradient beside a wrong one",
        description="Draw the gradient check of a transposed convolution, right and with a fault, entry by entry.",
        epilog="For a function of your own: "
               "minideconv.draw.heatmap.draw_heatmap({'mine': fn}, [x, w], ['x', 'w']).")
    meanings = "; ".join(f"{name}: {text}" for name, (text, _) in FAULTS.items())
    command.add_argument("--fault", choices=list(FAULTS), default="flipped",
                         help=f"what is wrong (%(default)s): {meanings}")
    command.add_argument("--ones", action="store_true",
                         help="use a cotangent of ones instead of a random one: see which faults it cannot see")
    command.add_argument("--seed", type=int, default=0, help="of the inputs and the cotangent (%(default)s)")
    command.add_argument("--out", required=True, metavar="FILE", help="the picture, .png or .svg")
    command.set_defaults(run=_run_command)
