"""Draws the tape of a result: every recorded operation with its shape,
its gradient rules and the size of the gradient that passed it.

A tape that was recorded while walking back (`create_graph=True`) is drawn in the same way, its
operations in another tone: gradients are made of ordinary operations. What the boxes say is in
boxes.py, where they stand in layering.py.
"""
from collections import Counter
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from .. import functional as F
from ..models.dcgan import Discriminator, Generator
from ..tensor import Tensor, grad
from . import layering
from .boxes import describe, history, named, reached_from, shape_of
from .figure import PALETTE, new_figure, save, style

LINE_HEIGHT, ROW_HEIGHT, ARROW_GAP = 0.135, 0.94, 0.3           # inches; text is in 7 points
KINDS = {                   # kind of box -> outline, fill, line width, corners
    "operation": (PALETTE["dark"], PALETTE["paper"], 0.9, "round,pad=0.02,rounding_size=0.06"),
    "operation of the walk back": (PALETTE["dark"], PALETTE["middle"], 0.9, "round,pad=0.02,rounding_size=0.06"),
    "leaf that gets a gradient": (PALETTE["accent"], PALETTE["light"], 1.8, "square,pad=0.02"),
    "leaf that gets none here": (PALETTE["accent"], PALETTE["paper"], 1.8, "square,pad=0.02"),
    "data": (PALETTE["ink"], PALETTE["faint"], 0.9, "round4,pad=0.04"),
    "constant": ("none", "none", 0, "square,pad=0.02"),
}


def _columns(rows, edges, positions, longest: int):
    """Cuts of a tall graph into columns that stand side by side:
    the first row of each, where one edge at most is cut.
    """
    starts, even = [0], -(-rows // -(-rows // longest))
    while rows - starts[-1] > longest:
        cuts = range(starts[-1] + 3, starts[-1] + longest + 1)
        crossing = {cut: sum(1 for a, b in edges if positions[a][1] < cut <= positions[b][1]) for cut in cuts}
        single = [cut for cut, count in crossing.items() if count <= 1]
        if not single:
            return starts
        starts.append(min(single, key=lambda cut: abs(cut - starts[-1] - even)))
    return starts


@style()
def draw_tape(output, names=None, wanted=None, first=None, title: str = "", longest: int = 11):
    """A Figure of everything that `output`, one number, was computed from;
    gradients are computed for it, nothing is changed.

    names: name -> Tensor or Module, for the leaves. wanted: the leaves whose gradients are asked
    for (as backward's `inputs`); what leads to no other is drawn without rules and in grey lines.
    first: a Tensor; operations recorded after it are drawn as the walk back. longest: rows after
    which a graph that is a chain there goes on in another column.
    """
    if not isinstance(output, Tensor) or output.node is None:
        raise ValueError("output must be a Tensor that was computed from leaves with requires_grad=True; nothing was "
                         "recorded for this one")
    tensors = history(output)
    reached = reached_from(tensors, wanted)
    asked = [t for t in tensors if t in reached]
    gradients = dict(zip(asked, grad(output, asked, allow_unused=True), strict=True))
    gradients = {tensor: g for tensor, g in gradients.items() if g is not None}
    labels = named(names)
    boxes = [describe(t, labels, reached, gradients, first) for t in tensors]
    number = {tensor: i for i, tensor in enumerate(tensors)}
    parents = [[number[i] for i in t.node.inputs] if t.node else [] for t in tensors]
    uses = Counter((p, child) for child, above in enumerate(parents) for p in above)      # x * x: two of one edge
    edges = sorted(uses)
    positions, bends = layering.place(parents, [box.width + 0.3 for box in boxes], _beside(tensors, parents, edges))
    rows = 1 + max(row for _, row in positions)
    sheet = _sheet(boxes, positions, bends, _columns(rows, edges, positions, longest) + [rows])
    walked = {(a, b): (tensors[a] in reached, uses[a, b]) for a, b in edges}
    title = title or f"The tape of a result {shape_of(output)}: {len(tensors)} boxes"
    return _paint(boxes, positions, bends, walked, sheet, title)


def _beside(tensors, parents, edges) -> dict:
    """Leaf -> the box that it stands next to: its only child, where that has other parents too."""
    children = {i: [b for a, b in edges if a == i] for i in range(len(tensors))}
    single = {i: children[i][0] for i, t in enumerate(tensors) if t.node is None and len(children[i]) == 1}
    return {leaf: child for leaf, child in single.items() if len(set(parents[child])) > 1}


class Sheet(NamedTuple):
    """Where the columns of a graph lie on the paper, in inches;
    rows counts those of each column.
    """
    starts: list        # the first row of each column
    shifts: list        # to the right, of what stands in a column
    gutters: list       # the left edge of each column, where edges from the column before come up
    width: float
    height: float

    def column(self, row) -> int:
        """The column that the row belongs to."""
        return max(i for i, start in enumerate(self.starts) if row >= start)

    def spot(self, x, row) -> tuple:
        """(right, down) of a place that layering gave."""
        column = self.column(row)
        return x + self.shifts[column], (row - self.starts[column] + 0.5) * ROW_HEIGHT


def _sheet(boxes, positions, bends, bounds) -> Sheet:
    """Columns side by side; bounds: the first row of each, and the number of rows."""
    left, shifts, gutters = 0.0, [], []
    for start, end in pairwise(bounds):
        reach = [(x - box.width / 2, x + box.width / 2)
                 for (x, row), box in zip(positions, boxes, strict=True) if start <= row < end]
        reach += [(x, x) for points in bends.values() for x, row in points if start <= row < end]
        leftmost, rightmost = min(a for a, _ in reach), max(b for _, b in reach)
        shifts.append(left - leftmost + 0.25)
        gutters.append(left)
        left += rightmost - leftmost + 0.5
    height = max(end - start for start, end in pairwise(bounds)) * ROW_HEIGHT
    return Sheet(bounds[:-1], shifts, gutters, left, height)


def _paint(boxes, positions, bends, walked, sheet, title):
    """The Figure, from positions in inches across and rows down. walked:
    edge -> (a gradient flows along it, how often its end uses its start: so many arrows).
    """
    across = max(sheet.width, 8.0)
    figure = new_figure(across, sheet.height + 1.15, title, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim((sheet.width - across) / 2, (sheet.width + across) / 2)
    axes.set_ylim(sheet.height + 0.55, -0.6)
    for (a, b), (solid, count) in walked.items():
        points = [sheet.spot(*point) for point in (positions[a], *bends.get((a, b), []), positions[b])]
        column = sheet.column(positions[b][1])
        leap = (sheet.gutters[column], sheet.height) if column != sheet.column(positions[a][1]) else None
        route = _route(points, boxes[a], boxes[b], leap)
        down = route[0][1] != route[1][1]
        for place in range(count):
            aside = (place - (count - 1) / 2) * ARROW_GAP
            _arrow(axes, [(x + aside * down, y + aside * (not down)) for x, y in route], solid)
    for box, position in zip(boxes, positions, strict=True):
        _box(axes, box, *sheet.spot(*position))
    _legend(axes, {box.kind for box in boxes})
    return figure


def _box(axes, box, x, y):
    """The box with its middle at (x, y)."""
    from matplotlib.patches import FancyBboxPatch
    outline, fill, thickness, corners = KINDS[box.kind]
    tall = len(box.lines) * LINE_HEIGHT + 0.08
    axes.add_patch(FancyBboxPatch((x - box.width / 2, y - tall / 2), box.width, tall, boxstyle=corners,
                                  facecolor=fill, edgecolor=outline, linewidth=thickness, zorder=3))
    for i, line in enumerate(box.lines):
        axes.text(x, y + (i - (len(box.lines) - 1) / 2) * LINE_HEIGHT, line, fontsize=7, ha="center", va="center",
                  zorder=4, fontweight="bold" if i == 0 and box.kind != "constant" else "normal")


def _route(points, start, end, leap) -> list:
    """The corners of an edge from box to box: sideways between neighbours, else down;
    into the next column round below and above, leap = (gutter, height).
    """
    (x0, y0), (x1, y1) = points[0], points[-1]
    below, above = (len(box.lines) * LINE_HEIGHT / 2 + 0.06 for box in (start, end))
    if y0 == y1 and not leap:
        side = 1 if x1 > x0 else -1
        return [(x0 + side * (start.width / 2 + 0.02), y0), (x1 - side * (end.width / 2 + 0.04), y1)]
    if not leap:
        return [(x0, y0 + below), *points[1:-1], (x1, y1 - above)]
    gutter, bottom = leap
    return [(x0, y0 + below), (x0, bottom + 0.1), (gutter, bottom + 0.1), (gutter, -0.06), (x1, -0.06),
            (x1, y1 - above)]


def _arrow(axes, corners, solid):
    """A line through the corners with a tip at its end; dashed where no gradient flows."""
    color, dashes = (PALETTE["ink"], "-") if solid else ("#999999", (0, (3, 2)))
    axes.plot(*zip(*corners, strict=True), color=color, linestyle=dashes, linewidth=0.9, zorder=1)
    tip = {"arrowstyle": "-|>", "color": color, "linewidth": 0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", corners[-1], corners[-2], arrowprops=tip, zorder=2)


def _legend(axes, kinds):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    shown = [kind for kind in KINDS if kind in kinds and kind != "constant"]
    marks = [Patch(edgecolor=KINDS[kind][0], facecolor=KINDS[kind][1], linewidth=KINDS[kind][2], label=kind)
             for kind in shown]
    marks.append(Line2D([], [], color="#999999", linestyle=(0, (3, 2)), label="no gradient asked for"))
    meaning = ("in a rule, g is the gradient of the box's own result, and a, b, x, w, y are the operation's "
               "inputs in their order")
    axes.legend(handles=marks, loc="lower left", ncols=len(marks), title=meaning, alignment="left", fontsize=7,
                title_fontsize=7, borderaxespad=0.2, handlelength=1.6, columnspacing=1.2)


def _generator_loss(batch, rng):
    """The generator's half of the reference GAN step:
    the discriminator's kernels are used, and get no gradient.
    """
    generator, discriminator = Generator((28, 28, 1), rng=rng), Discriminator((28, 28, 1), rng=rng)
    z = Tensor(rng.standard_normal((batch, generator.latent), np.float32))
    loss = F.binary_cross_entropy_with_logits(discriminator(generator(z)), np.ones((batch, 1), np.float32))
    return dict(output=loss, names={"G": generator, "D": discriminator, "z": z}, wanted=generator.parameters(),
                title="The generator's loss in the reference GAN step")


def _discriminator_loss(batch, rng):
    """The half of the discriminator's loss that looks at generated images,
    which are data for it (detached).
    """
    generator, discriminator = Generator((28, 28, 1), rng=rng), Discriminator((28, 28, 1), rng=rng)
    fake = generator(Tensor(rng.standard_normal((batch, generator.latent), np.float32))).detach()
    loss = F.binary_cross_entropy_with_logits(discriminator(fake), np.zeros((batch, 1), np.float32))
    return dict(output=loss, names={"D": discriminator, "fake images": fake},
                title="The discriminator's loss on generated images")


def _gradient_penalty(batch, rng):
    """WGAN-GP's penalty on a critic of one convolution:
    a loss that contains a gradient (Gulrajani et al. 2017).
    """
    x = Tensor(rng.standard_normal((batch, 6, 6, 1)), requires_grad=True)
    w = Tensor(rng.standard_normal((4, 4, 1, 2)), requires_grad=True)
    score = F.tanh(F.conv2d(x, w, stride=2, padding=1)).sum()
    slope, = grad(score, x, create_graph=True)
    norm = (slope * slope).sum(axis=(1, 2, 3)).sqrt()
    return dict(output=((norm - 1) ** 2).mean(), names={"x": x, "w": w, "score": score}, wanted=[w], first=score,
                title="A gradient penalty: the walk back from the score is itself on the tape")


EXAMPLES = {"generator": _generator_loss, "discriminator": _discriminator_loss, "penalty": _gradient_penalty}


def _run_command(args):
    if args.batch < 2:
        raise ValueError(f"--batch must be at least 2 (batch norm needs a variance); got {args.batch}")
    figure = draw_tape(**EXAMPLES[args.loss](args.batch, np.random.default_rng(args.seed)))
    print(f"wrote {save(figure, args.out)}")


def register(commands) -> None:
    """Add `tape` to the commands of `minideconv draw`."""
    command = commands.add_parser(
        "tape", help="the graph of a loss, with every gradient rule",
        description="Draw the tape of a loss: every operation with its shape, its gradient rules as the source has "
                    "them, and the norm of the gradient that reached it.",
        epilog="For a loss of your own: minideconv.draw.tape.draw_tape(loss, names={'net': network, 'x': x}).")
    command.add_argument("loss", choices=list(EXAMPLES),
                         help="generator, discriminator: of the reference GAN step; penalty: a second-order graph")
    command.add_argument("--batch", type=int, default=16, help="images per batch (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of weights and data (%(default)s)")
    command.add_argument("--out", required=True, metavar="FILE", help="the picture, .png or .svg")
    command.set_defaults(run=_run_command)
