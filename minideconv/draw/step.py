"""Step through a convolution: what every window reads or stamps,
as an animation and as a strip of frames.

A frame of a convolution, left to right: the image with the window's pixels marked; the patch as a
column beside the kernel as a column, and their products; the features so far; how often each pixel
has been read. A frame of a transposed convolution: the features; the kernel times one feature, and
where each product lands; the image so far, crop included; how often each pixel has been written.
"""
import textwrap

import numpy as np

from . import walk as walks
from .arguments import kernel_arguments, padding_argument, two
from .figure import HATCH, PALETTE, VALUES, new_animation, new_figure, rgb, save, style

NUMBERS = 14            # cells along an edge up to which they show numbers, above that shades
SMALLEST_FONT = 5       # points: where numbers would have to be smaller, shades take over
TABLE_ROWS = 16         # taps up to which the products stand in a table with their pixels
MOST_FRAMES = 100       # of an animation; longer walks show every second, third, ... step
ROW, LEGEND = 2.9, 0.6                      # inches: one frame, the legend below
# Width of the figure, left edges and widths of a frame's panels: with the table of products, and without.
WIDE, NARROW = (10.5, (0.25, 2.85, 5.55, 8.15), (2.3, 2.5, 2.3, 2.3)), (6.4, (0.15, 2.25, 4.35), (1.9, 1.9, 1.9))


@style()
def strip(walk, frames=3, products=True):
    """A Figure with some steps of a walk below each other:
    `frames` evenly spread ones, or those of a list of step indices. products=False leaves out the
    table of products: three panels, whose text stays readable on a narrow page.
    """
    chosen = _spread(len(walk.steps), frames) if isinstance(frames, int) else list(frames)
    for index in chosen:
        if not 0 <= index < len(walk.steps):
            raise ValueError(f"frames must name steps 0 to {len(walk.steps) - 1}; got {index}")
    layout, columns = (WIDE, 5) if products else (NARROW, 2)
    text = _wrapped(walks.describe(walk), layout)
    heading = 0.2 + 0.2 * len(text.splitlines())
    height = heading + ROW * len(chosen) + LEGEND
    figure = new_figure(layout[0], height, layout="none")
    _heading(figure, text, height)
    for place, index in enumerate(chosen):
        _frame(figure, walk, index, layout, top=heading + ROW * place, height=height)
    _legend(figure, walk, height, columns)
    return figure


@style()
def animation(walk, seconds: float = 0.8):
    """The walk as a Matplotlib animation, one frame a step:
    every n-th, above MOST_FRAMES steps.
    """
    chosen = _spread(len(walk.steps), MOST_FRAMES)
    heading = 0.2 + 0.2 * len(walks.describe(walk).splitlines())
    height = heading + ROW + LEGEND
    figure = new_figure(WIDE[0], height, layout="none")

    def draw_frame(number):
        figure.clear()
        _heading(figure, walks.describe(walk), height)
        _frame(figure, walk, chosen[number], WIDE, top=heading, height=height)
        _legend(figure, walk, height, columns=5)
    return new_animation(figure, draw_frame, len(chosen), seconds)


def _spread(count: int, wanted: int) -> list:
    """`wanted` of `count` steps, evenly spread, the first and the last among them;
    all where there are fewer.
    """
    if wanted < 1:
        raise ValueError(f"frames must be at least 1; got {wanted}")
    return sorted(set(np.linspace(0, count - 1, wanted).round().astype(int).tolist()))


def _wrapped(text, layout) -> str:
    """The text in lines that a figure of this layout has room for: 14 letters of 9 points to an inch."""
    return "\n".join(textwrap.fill(line, int(14 * layout[0]), subsequent_indent="    ") for line in text.splitlines())


def _heading(figure, text, height):
    """What the operation is and how its size comes about, at the top."""
    figure.text(0.02, 1 - 0.1 / height, text, va="top", ha="left", fontsize=9, linespacing=1.45)


def _frame(figure, walk, index, layout, top, height):
    """One step as a row of panels whose upper edge lies `top` inches below the figure's."""
    step = walk.steps[index]
    cells = [(row + walk.window.padding[0], column + walk.window.padding[1]) for row, column in step.pixels]
    where = f"[{step.feature[0]}, {step.feature[1]}]"
    if walk.transposed:
        panels = ("features y", f"y{where} times every tap of w", "image so far: stamps add up", "times written")
    else:
        panels = ("image x", f"the window's column, times w: y{where}", "features y so far", "times read")
    across, lefts, widths = layout
    axes = []
    for title, left, width in zip(panels if layout is WIDE else panels[:1] + panels[2:], lefts, widths, strict=True):
        box = (left / across, 1 - (top + ROW - 0.18) / height, width / across, (ROW - 0.7) / height)
        axes.append(figure.add_axes(box, anchor="N"))
        figure.text((left + width / 2) / across, 1 - (top + 0.46) / height, title, ha="center", va="bottom",
                    fontsize=8.5 if layout is WIDE else 9)
    figure.text(lefts[0] / across, 1 - (top + 0.22) / height, f"step {index + 1} of {len(walk.steps)}", va="bottom",
                fontsize=9, weight="bold")
    if layout is WIDE:
        _products(axes.pop(1), walk, step)
    source, result, count = axes
    if walk.transposed:
        _grid(source, walk.source, marked=[step.feature])
        _grid(result, step.result, marked=cells)
        _surround(result, walk)
    else:
        (rows, columns), (before, left) = walk.source.shape, walk.window.padding
        # The padding's zeros, where numbers show.
        canvas = np.full(walk.canvas, 0.0 if max(walk.canvas) <= NUMBERS else np.nan)
        canvas[before:before + rows, left:left + columns] = walk.source
        _grid(source, canvas, marked=cells)
        _surround(source, walk)
        _grid(result, step.result, marked=[step.feature])
    _grid(count, step.counts, marked=cells, counts=True)
    _surround(count, walk)


def _grid(axes, values, marked=(), counts=False):
    """A matrix as cells: numbers where they fit, shades where not.

    NaN: not there yet. marked: cells of this step. counts: shade them as well.
    """
    from matplotlib.patches import Rectangle
    rows, columns = values.shape
    known = np.isfinite(values)
    written = known if max(rows, columns) <= NUMBERS else np.zeros_like(known)
    texts = {cell: _number(values[cell]) for cell in zip(*np.nonzero(written), strict=True)}
    size = min(9, 100 / max(rows, columns)) * min(1, 3.2 / max(map(len, texts.values()), default=1))
    numbers = bool(texts) and size >= SMALLEST_FONT
    colours = _shades(values, known, numbers, counts)
    if numbers and not counts:
        for cell in marked:
            colours[cell] = rgb("light")
    axes.imshow(colours, aspect="equal")
    if numbers:
        _write_numbers(axes, texts, colours, size)
    elif not counts:
        axes.text(0.5, -0.02, "dark: negative, grey: 0, light: positive", transform=axes.transAxes, ha="center",
                  va="top", fontsize=7)
    for row, column in marked:
        line = 1.6 if numbers else 0.8
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=PALETTE["accent"],
                                 linewidth=line, zorder=5))
    axes.set(xlim=(-0.53, columns - 0.47), ylim=(rows - 0.47, -0.53), xticks=[], yticks=[])
    axes.set_axis_off()


def _write_numbers(axes, texts, colours, size):
    """The texts {(row, column): text} in a grid of thin lines, each on its cell's colour."""
    rows, columns = colours.shape[:2]
    for row in range(rows + 1):
        axes.plot([-0.5, columns - 0.5], [row - 0.5] * 2, color="#999999", linewidth=0.5)
    for column in range(columns + 1):
        axes.plot([column - 0.5] * 2, [-0.5, rows - 0.5], color="#999999", linewidth=0.5)
    for (row, column), text in texts.items():
        axes.text(column, row, text, ha="center", va="center", fontsize=size, zorder=4,
                  bbox={"facecolor": colours[row, column], "edgecolor": "none", "pad": 1.0})


def _shades(values, known, numbers, counts):
    """The colour (rows, columns, 3) of each cell: plain under numbers,
    else from dark (negative) to light; counts from white to blue.
    """
    from matplotlib import colormaps
    largest = max(np.abs(values[known]).max(initial=0), 1e-30)
    share = np.where(known, values, 0) / largest                                # from -1 to 1
    if counts:
        colours = 1 - share[..., None] * (1 - rgb("middle"))
    elif numbers:
        colours = np.ones((*values.shape, 3))
    else:
        colours = colormaps[VALUES]((share + 1) / 2)[..., :3]
    colours[~known] = rgb("faint")
    return colours


def _surround(axes, walk):
    """Hatch what is padding, crop or output padding on a panel of the canvas,
    and outline the image.
    """
    from matplotlib.patches import Rectangle
    (top, left), (height, width) = walk.window.padding, walk.window.image
    outside = (0, 0, *walk.canvas)
    image = (top, left, top + height, left + width)
    core = (top, left, top + height - walk.extra[0], left + width - walk.extra[1])
    for kind, outer, inner in (("crop" if walk.transposed else "padding", outside, image),
                               ("output_padding", image, core)):
        for row, column, end_row, end_column in _around(outer, inner):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), end_column - column, end_row - row,
                                     facecolor="none", hatch=HATCH[kind], edgecolor="#888888", linewidth=0, zorder=3))
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=PALETTE["ink"],
                             linewidth=1.8, zorder=4))


def _around(outer, inner):
    """The rectangles (row, column, end row, end column) that make up `outer` without `inner`."""
    top, left, bottom, right = inner
    above, below = (outer[0], outer[1], top, outer[3]), (bottom, outer[1], outer[2], outer[3])
    parts = (above, below, (top, outer[1], bottom, left), (top, right, bottom, outer[3]))
    return [part for part in parts if part[2] > part[0] and part[3] > part[1]]


def _products(axes, walk, step):
    """Tap by tap: value, kernel, product and the pixel it comes from or goes to;
    for large kernels only the products, as shades.
    """
    if walk.weight.size > TABLE_ROWS:
        _grid(axes, step.products.reshape(walk.weight.shape))
        return
    (height, width), outside = walk.window.image, "crop" if walk.transposed else "padding"
    names = [f"({r}, {c})" if 0 <= r < height and 0 <= c < width else outside for r, c in step.pixels]
    taps = [f"w[{u},{v}]" for u, v in np.ndindex(walk.weight.shape)]
    columns = {"": taps, "y" if walk.transposed else "x": step.values, "w": walk.weight.ravel(),
               "product": step.products}
    pixels = {"to pixel" if walk.transposed else "from pixel": names}
    columns = columns | pixels if walk.transposed else pixels | columns
    count = walk.weight.size
    size = min(7.5, 105 / (count + 2))
    places = np.cumsum([0.0] + [0.27 if key.endswith("pixel") else 0.19 if key == "" else 0.18 for key in columns])
    for (key, entries), left, right in zip(columns.items(), places[:-1], places[1:], strict=True):
        middle = (left + right) / 2
        axes.text(middle, 0.5, key, ha="center", va="center", fontsize=size, weight="bold")
        for row, entry in enumerate(entries):
            boxed = not isinstance(entry, str)
            axes.text(middle, row + 1.5, _number(entry) if boxed else entry, ha="center", va="center", fontsize=size,
                      color="#777777" if entry in ("crop", "padding") else PALETTE["ink"])
            if boxed:
                _cell(axes, left, row + 1, right - left, PALETTE["light"] if key == "product" else PALETTE["paper"])
    if not walk.transposed:
        total = f"sum = {_number(step.products.sum())}"
        axes.text(places[-1] - 0.02, count + 1.6, total, ha="right", va="center", fontsize=size + 0.5, weight="bold")
    axes.set(xlim=(0, 1), ylim=(max(count, 9) + 2.1, 0), xticks=[], yticks=[])
    axes.set_axis_off()


def _cell(axes, left, top, width, colour):
    """One boxed cell of the table of products."""
    from matplotlib.patches import Rectangle
    axes.add_patch(Rectangle((left, top), width, 1, facecolor=colour, edgecolor="#999999", linewidth=0.5, zorder=0))


def _number(value) -> str:
    """A number in at most three significant digits, without a minus sign before zero."""
    return f"{value + 0.0:.3g}"


def _legend(figure, walk, height, columns):
    """What the fills and hatches mean: only those that this picture has."""
    from matplotlib.patches import Patch
    kinds = walks.kinds(walk)
    now = "stamped now" if walk.transposed else "read now"
    entries = [Patch(facecolor=PALETTE["light"], edgecolor=PALETTE["accent"], linewidth=1.6, label=now),
               Patch(facecolor="none", edgecolor=PALETTE["ink"], linewidth=1.8, label="the image")]
    for kind, label in (("padding", "padding: zeros around the image, not stored"),
                        ("crop", "crop (the `padding` argument): computed, then cut off"),
                        ("output_padding", "output padding: kept at the end, not a margin of zeros")):
        if (kinds == kind).any():
            entries.append(Patch(facecolor="none", edgecolor="#777777", linewidth=0.5, hatch=HATCH[kind], label=label))
    if not walk.transposed:
        entries.append(Patch(facecolor=PALETTE["faint"], edgecolor="#999999", linewidth=0.5, label="not computed yet"))
    figure.legend(handles=entries, loc="lower center", ncols=columns, bbox_to_anchor=(0.5, 0.06 / height),
                  columnspacing=1.4, handlelength=2.2)


def register(commands) -> None:
    """Add `minideconv draw step`."""
    parser = commands.add_parser(
        "step", help="a convolution or transposed convolution, window by window",
        description="Step through a convolution (default) or a transposed one: what every window reads or stamps, and "
                    "how often each pixel is touched. Writes a GIF of all steps, or a PNG or SVG of a few.",
        epilog="Example: minideconv draw step --transposed --size 3 --kernel 3 --stride 2 --padding 1 --output-padding "
               "1 --out steps.gif")
    kernel_arguments(parser)
    parser.add_argument("--transposed", action="store_true",
                        help="a transposed convolution: --size is the size of the features then")
    parser.add_argument("--output-padding", type=int, nargs="+", default=[0], metavar="A",
                        help="rows and columns more, if transposed (default 0)")
    parser.add_argument("--frames", type=int, default=3, metavar="N", help="steps shown in a PNG or SVG (default 3)")
    parser.add_argument("--seconds", type=float, default=0.8, metavar="T",
                        help="time between the frames of a GIF (default 0.8)")
    parser.add_argument("--out", required=True, metavar="FILE", help="FILE.gif, FILE.png or FILE.svg")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    """`minideconv draw step`."""
    rng = np.random.default_rng(args.seed)
    size, kernel, stride, dilation, extra = (two(getattr(args, name), name)
                                             for name in ("size", "kernel", "stride", "dilation", "output_padding"))
    source, weight = (rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], shape) for shape in (size, kernel))
    padding = padding_argument(args.padding)
    if args.transposed:
        walk = walks.conv_transpose(source, weight, stride, padding, extra, dilation)
    elif any(extra):
        raise ValueError("--output-padding belongs to a transposed convolution: add --transposed, or leave it out")
    else:
        walk = walks.conv(source, weight, stride, padding, dilation)
    print(walks.describe(walk))
    picture = animation(walk, args.seconds) if args.out.lower().endswith(".gif") else strip(walk, args.frames)
    print(f"wrote {save(picture, args.out)}")
