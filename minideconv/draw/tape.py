"""Draws the tape of a result: every recorded operation with its shape, its gradient rules and the size of the gradient that passed it.

The rules are read out of the source of the operations, so the picture says what the code does. A tape that was recorded while walking back
(`create_graph=True`) is drawn in the same way, its operations in another tone: gradients are made of ordinary operations.
"""
import ast
import functools
import inspect
import textwrap

import numpy as np

from .. import functional as F
from .. import nn
from ..models.dcgan import Discriminator, Generator
from ..tensor import PRIMITIVES, Tensor, grad
from . import layering
from .figure import PALETTE, look, new_figure, save

WRITTEN_OUT = {             # rules that say little in the source's words
    "batch_norm_rows": ("scale * (g' - mean(g') - xhat * mean(g' * xhat))", "sum(g' * xhat)", "sum(g')"),
    "_concatenate": ("g[the input's part]",),
    "sum": ("g, repeated to x's shape",),
    "power": ("g * p * x**(p - 1)", "g * x**p * log(x)"),
    "_reshape": ("g in x's shape",),
    "_matmul": ("g @ b transposed", "a transposed @ g"),
    "_broadcast_to": ("sum of g over the repeated axes",),
    "_where": ("g where the condition holds, else 0", "g where it does not, else 0"),
}
LETTER, BOLD_LETTER, LINE_HEIGHT, ROW_HEIGHT = 0.056, 0.066, 0.135, 0.94          # inches; text is in 7 points
STYLE = {                   # kind of box -> outline, fill, line width, corners
    "operation": (PALETTE["dark"], PALETTE["paper"], 0.9, "round,pad=0.02,rounding_size=0.06"),
    "operation of the walk back": (PALETTE["dark"], PALETTE["middle"], 0.9, "round,pad=0.02,rounding_size=0.06"),
    "leaf that gets a gradient": (PALETTE["accent"], PALETTE["light"], 1.8, "square,pad=0.02"),
    "leaf that gets none here": (PALETTE["accent"], PALETTE["paper"], 1.8, "square,pad=0.02"),
    "data": (PALETTE["ink"], PALETTE["faint"], 0.9, "round4,pad=0.04"),
    "constant": ("none", "none", 0, "square,pad=0.02"),
}


class _Plain(ast.NodeTransformer):
    """A gradient rule without what matters to the machine only (settings, and _fit, which undoes broadcasting), its argument called g."""

    def __init__(self, argument):
        self.argument = argument

    def visit_Name(self, name):
        return ast.Name("g") if name.id == self.argument else name

    def visit_IfExp(self, choice):
        """Of `formula if recording() else shortcut`, the formula."""
        if ast.unparse(choice.test) == "recording()":
            return self.visit(choice.body)
        return self.generic_visit(choice)

    def visit_Call(self, call):
        self.generic_visit(call)
        name = getattr(call.func, "id", "")
        if name in ("_fit", "Tensor"):
            return call.args[0]
        call.keywords = [k for k in call.keywords if k.arg == "shape"]
        if isinstance(call.func, ast.Name):
            call.func.id = name.lstrip("_")
        return call

    def visit_Attribute(self, attribute):
        self.generic_visit(attribute)
        return attribute.value if attribute.attr == "data" else attribute


@functools.lru_cache(maxsize=None)
def rules(name: str) -> tuple:
    """The gradient rules of a primitive as ((argument, formula in g, the gradient of the result), ...), from its source."""
    function = PRIMITIVES[name].__wrapped__
    arguments = [p.name for p in inspect.signature(function).parameters.values() if p.kind != p.KEYWORD_ONLY]
    if name in WRITTEN_OUT:
        return tuple(zip(arguments, WRITTEN_OUT[name]))
    body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    inner = {part.name: part for part in body if isinstance(part, ast.FunctionDef)}
    result = [part for part in body if isinstance(part, ast.Return)][-1].value
    formulas = []
    for rule in result.elts[1:] if isinstance(result, ast.Tuple) else []:
        if isinstance(rule, ast.Name) and rule.id in inner:
            rule = ast.Lambda(inner[rule.id].args, [part for part in ast.walk(inner[rule.id]) if isinstance(part, ast.Return)][-1].value)
        formulas.append(ast.unparse(_Plain(rule.args.args[0].arg).visit(rule.body)).replace(" ** ", "**"))
    return tuple(zip(arguments, formulas))


def history(output) -> list:
    """Every Tensor that `output` was computed from, in the order of computation, leaves just before their first use; `output` is the last."""
    found, stack = {output}, [output]
    while stack:
        node = stack.pop().node
        for tensor in node.inputs if node else ():
            if tensor not in found:
                found.add(tensor)
                stack.append(tensor)
    ordered = {}
    for tensor in sorted((t for t in found if t.node), key=lambda tensor: tensor.node.order):
        ordered.update(dict.fromkeys(i for i in tensor.node.inputs if i.node is None))
        ordered[tensor] = None
    return list(ordered)


def _names(names) -> dict:
    """Tensor -> name, from a dict of name -> Tensor or Module (whose parameters get names below its own)."""
    found = {}
    for name, value in (names or {}).items():
        if isinstance(value, nn.Module):
            found.update((tensor, f"{name}.{below}") for below, tensor in value.named_parameters())
        elif isinstance(value, Tensor):
            found[value] = name
        else:
            raise TypeError(f"names[{name!r}] must be a Tensor or a Module; got {type(value).__name__}")
    return found


def _number(value: float) -> str:
    return f"{value:.3g}"


def _shape(tensor) -> str:
    return "x".join(map(str, tensor.shape)) if tensor.ndim else "one number"


def _describe(tensor, names, reached, gradients, first):
    """(kind of box, lines of text) of one Tensor."""
    name = names.get(tensor)
    size = f"|gradient| {_number(float(np.linalg.norm(gradients[tensor].data)))}" if tensor in gradients else None
    if tensor.node is None:
        if not tensor.requires_grad:
            return ("constant", [name or _number(tensor.item())]) if tensor.size == 1 else ("data", [name or "array", _shape(tensor)])
        lines = [name or "leaf", _shape(tensor)] + ([size] if size else [])
        return ("leaf that gets a gradient" if tensor in reached else "leaf that gets none here"), lines
    node = tensor.node
    lines = [f"{node.name.lstrip('_')}  {_shape(tensor)}" + (f"  = {name}" if name else "")]
    known = rules(node.name)
    if len(known) < len(node.inputs):                       # a primitive of any number of inputs
        known = [(f"{known[0][0]}[{i}]" if known else f"input {i}", known[0][1] if known else "?") for i in range(len(node.inputs))]
    for parent, (argument, formula) in zip(node.inputs, known):
        if parent in reached:
            lines.append(textwrap.shorten(f"to {argument}: {formula}", 62, placeholder=" ..."))
    if size:
        lines.append(size)
    second = first is not None and first.node is not None and node.order > first.node.order
    return ("operation of the walk back" if second else "operation"), lines


def _reached(tensors, wanted) -> set:
    """The Tensors on a path from a wanted one (None: from any leaf that requires a gradient)."""
    wanted = {t for t in tensors if t.node is None and t.requires_grad} if wanted is None else set(wanted)
    found = set()
    for tensor in tensors:
        if tensor in wanted or (tensor.node and any(i in found for i in tensor.node.inputs)):
            found.add(tensor)
    return found


def _columns(rows, edges, positions, longest: int):
    """Cuts of a tall graph into columns that stand side by side: the first row of each, where one edge at most is cut."""
    starts, even = [0], -(-rows // -(-rows // longest))
    while rows - starts[-1] > longest:
        cuts = range(starts[-1] + 3, starts[-1] + longest + 1)
        crossing = {cut: sum(1 for a, b in edges if positions[a][1] < cut <= positions[b][1]) for cut in cuts}
        single = [cut for cut, count in crossing.items() if count <= 1]
        if not single:
            return starts
        starts.append(min(single, key=lambda cut: abs(cut - starts[-1] - even)))
    return starts


@look
def draw_tape(output, names=None, wanted=None, first=None, title: str = "", longest: int = 11):
    """A Figure of everything that `output`, one number, was computed from; gradients are computed for it, nothing is changed.

    names: name -> Tensor or Module, for the leaves. wanted: the leaves whose gradients are asked for (as backward's `inputs`); what leads
    to no other is drawn without rules and in grey lines. first: a Tensor; operations recorded after it are drawn as the walk back.
    longest: rows after which a graph that is a chain there goes on in another column.
    """
    if not isinstance(output, Tensor) or output.node is None:
        raise ValueError("output must be a Tensor that was computed from leaves with requires_grad=True; nothing was recorded for this one")
    tensors = history(output)
    reached = _reached(tensors, wanted)
    asked = [t for t in tensors if t in reached]
    gradients = dict(zip(asked, grad(output, asked, allow_unused=True)))
    gradients = {tensor: g for tensor, g in gradients.items() if g is not None}
    labels = _names(names)
    boxes = [_describe(t, labels, reached, gradients, first) for t in tensors]
    number = {tensor: i for i, tensor in enumerate(tensors)}
    parents = [[number[i] for i in t.node.inputs] if t.node else [] for t in tensors]
    edges = sorted({(p, child) for child, above in enumerate(parents) for p in above})
    children = {i: [b for a, b in edges if a == i] for i in range(len(tensors))}
    beside = {i: children[i][0] for i, t in enumerate(tensors) if t.node is None and len(children[i]) == 1 and len(parents[children[i][0]]) > 1}
    widths = [max(len(lines[0]) * BOLD_LETTER, max(map(len, lines)) * LETTER) + 0.16 for _, lines in boxes]
    positions, bends = layering.place(parents, [w + 0.3 for w in widths], beside)
    rows = 1 + max(row for _, row in positions)
    return _paint(boxes, widths, positions, bends, edges, _columns(rows, edges, positions, longest), rows,
                  {(a, b): tensors[a] in reached for a, b in edges}, title or f"The tape of a result {_shape(output)}: {len(tensors)} boxes")


def _paint(boxes, widths, positions, bends, edges, starts, rows, walked, title):
    """The Figure, from positions in inches across and rows down."""
    column_of = [max(i for i, start in enumerate(starts) if row >= start) for _, row in positions]
    ends = starts[1:] + [rows]
    left, shifts, gutters = 0.0, [], []
    for i in range(len(starts)):
        reach = [(x - w / 2, x + w / 2) for (x, _), w, c in zip(positions, widths, column_of) if c == i]
        reach += [(x, x) for points in bends.values() for x, row in points if starts[i] <= row < ends[i]]
        shifts.append(left - min(a for a, _ in reach) + 0.25)
        gutters.append(left)
        left += max(b for _, b in reach) - min(a for a, _ in reach) + 0.5
    height = max(end - start for start, end in zip(starts, ends)) * ROW_HEIGHT

    def spot(x, row):
        i = max(i for i, start in enumerate(starts) if row >= start)
        return x + shifts[i], (row - starts[i] + 0.5) * ROW_HEIGHT
    figure = new_figure(max(left, 8.0), height + 1.15, title, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    across = max(left, 8.0)
    axes.set_xlim((left - across) / 2, (left + across) / 2)
    axes.set_ylim(height + 0.55, -0.6)
    for a, b in edges:
        points = [spot(*positions[a])] + [spot(*point) for point in bends.get((a, b), [])] + [spot(*positions[b])]
        _arrow(axes, points, len(boxes[a][1]), len(boxes[b][1]), widths[a], widths[b], walked[a, b],
               (gutters[column_of[b]], height) if column_of[a] != column_of[b] else None)
    for (kind, lines), position, width in zip(boxes, positions, widths):
        _box(axes, kind, lines, *spot(*position), width)
    _legend(axes, {kind for kind, _ in boxes})
    return figure


def _box(axes, kind, lines, x, y, width):
    from matplotlib.patches import FancyBboxPatch
    outline, fill, thickness, corners = STYLE[kind]
    tall = len(lines) * LINE_HEIGHT + 0.08
    axes.add_patch(FancyBboxPatch((x - width / 2, y - tall / 2), width, tall, boxstyle=corners, facecolor=fill, edgecolor=outline,
                                  linewidth=thickness, zorder=3))
    for i, line in enumerate(lines):
        axes.text(x, y + (i - (len(lines) - 1) / 2) * LINE_HEIGHT, line, fontsize=7, ha="center", va="center", zorder=4,
                  fontweight="bold" if i == 0 and kind != "constant" else "normal")


def _arrow(axes, points, lines_a, lines_b, width_a, width_b, walked, leap):
    """An edge from box to box: sideways between neighbours, else down; into the next column round below and above, leap = (gutter, height)."""
    (x0, y0), (x1, y1) = points[0], points[-1]
    tall_a, tall_b = (lines * LINE_HEIGHT / 2 + 0.06 for lines in (lines_a, lines_b))
    if y0 == y1 and not leap:
        side = 1 if x1 > x0 else -1
        points = [(x0 + side * (width_a / 2 + 0.02), y0), (x1 - side * (width_b / 2 + 0.04), y1)]
    elif leap:
        gutter, bottom = leap
        points = [(x0, y0 + tall_a), (x0, bottom + 0.1), (gutter, bottom + 0.1), (gutter, -0.06), (x1, -0.06), (x1, y1 - tall_b)]
    else:
        points = [(x0, y0 + tall_a)] + points[1:-1] + [(x1, y1 - tall_b)]
    color, style = (PALETTE["ink"], "-") if walked else ("#999999", (0, (3, 2)))
    axes.plot(*zip(*points), color=color, linestyle=style, linewidth=0.9, zorder=1)
    tip = {"arrowstyle": "-|>", "color": color, "linewidth": 0, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", points[-1], points[-2], arrowprops=tip, zorder=2)


def _legend(axes, kinds):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    shown = [kind for kind in STYLE if kind in kinds and kind != "constant"]
    marks = [Patch(edgecolor=STYLE[kind][0], facecolor=STYLE[kind][1], linewidth=STYLE[kind][2], label=kind) for kind in shown]
    marks.append(Line2D([], [], color="#999999", linestyle=(0, (3, 2)), label="no gradient asked for"))
    axes.legend(handles=marks, loc="lower left", ncols=len(marks), fontsize=7, borderaxespad=0.2, handlelength=1.6, columnspacing=1.2,
                title="in a rule, g is the gradient of the box's own result, and a, b, x, w, y are the operation's inputs in their order",
                title_fontsize=7, alignment="left")


def _generator_loss(batch, rng):
    """The generator's half of the reference GAN step: the discriminator's kernels are used, and get no gradient."""
    generator, discriminator = Generator((28, 28, 1), rng=rng), Discriminator((28, 28, 1), rng=rng)
    z = Tensor(rng.standard_normal((batch, generator.latent), np.float32))
    loss = F.binary_cross_entropy_with_logits(discriminator(generator(z)), np.ones((batch, 1), np.float32))
    return dict(output=loss, names={"G": generator, "D": discriminator, "z": z}, wanted=generator.parameters(),
                title="The generator's loss in the reference GAN step")


def _discriminator_loss(batch, rng):
    """The half of the discriminator's loss that looks at generated images, which are data for it (detached)."""
    generator, discriminator = Generator((28, 28, 1), rng=rng), Discriminator((28, 28, 1), rng=rng)
    fake = generator(Tensor(rng.standard_normal((batch, generator.latent), np.float32))).detach()
    loss = F.binary_cross_entropy_with_logits(discriminator(fake), np.zeros((batch, 1), np.float32))
    return dict(output=loss, names={"D": discriminator, "fake images": fake}, title="The discriminator's loss on generated images")


def _gradient_penalty(batch, rng):
    """WGAN-GP's penalty on a critic of one convolution: a loss that contains a gradient (Gulrajani et al. 2017)."""
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
    command = commands.add_parser("tape", help="the graph of a loss, with every gradient rule",
                                  description="Draw the tape of a loss: every operation with its shape, its gradient rules as the source has "
                                              "them, and the norm of the gradient that reached it.",
                                  epilog="For a loss of your own: minideconv.draw.tape.draw_tape(loss, names={'net': network, 'x': x}).")
    command.add_argument("loss", choices=list(EXAMPLES), help="generator, discriminator: of the reference GAN step; penalty: a second-order graph")
    command.add_argument("--batch", type=int, default=16, help="images per batch (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="of weights and data (%(default)s)")
    command.add_argument("--out", required=True, metavar="FILE", help="the picture, .png or .svg")
    command.set_defaults(run=_run_command)
