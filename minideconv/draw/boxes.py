"""What the boxes of a drawn tape say: the operation, its shape, its gradient rules as text.

The rules are read out of the source of the operations, so that the picture says what the code does.
"""
import ast
import functools
import inspect
import textwrap
from typing import NamedTuple

import numpy as np

from .. import nn
from ..primitives import PRIMITIVES
from ..tensor import Tensor

WRITTEN_OUT = {             # rules that say little in the source's words
    "batch_norm_training": ("scale * (g' - mean(g') - xhat * mean(g' * xhat))", "sum(g' * xhat)", "sum(g')"),
    "_concatenate": ("g[the input's part]",),
    "sum": ("g, repeated to x's shape",),
    "power": ("g * p * x**(p - 1)", "g * x**p * log(x)"),
    "_reshape": ("g in x's shape",),
    "max": ("g where x is largest, else 0",),
    "min": ("g where x is smallest, else 0",),
    "_to_extremes": ("sum of g where x is largest or smallest",),
    "_matmul": ("g @ b transposed", "a transposed @ g", "sum of g over the rows"),
    "_broadcast_to": ("sum of g over the repeated axes",),
    "_where": ("g where the condition holds, else 0", "g where it does not, else 0"),
}
LETTER, BOLD_LETTER = 0.056, 0.066              # inches: a letter of 7 points


class _Plain(ast.NodeTransformer):
    """A gradient rule without what matters to the machine only, its argument called g.

    That is settings, and fit, which undoes broadcasting.
    """

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
        if name in ("fit", "Tensor"):
            return call.args[0]
        call.keywords = [k for k in call.keywords if k.arg == "shape"]
        if isinstance(call.func, ast.Name):
            call.func.id = name.lstrip("_")
        return call

    def visit_Attribute(self, attribute):
        self.generic_visit(attribute)
        return attribute.value if attribute.attr in ("array", "data") else attribute


@functools.lru_cache(maxsize=None)
def rules(name: str) -> tuple:
    """The gradient rules of a primitive, from its source: ((argument, formula), ...).

    In a formula, g is the gradient of the result.
    """
    function = PRIMITIVES[name].__wrapped__
    arguments = [p.name for p in inspect.signature(function).parameters.values() if p.kind != p.KEYWORD_ONLY]
    if name in WRITTEN_OUT:
        return tuple(zip(arguments, WRITTEN_OUT[name], strict=True))
    body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
    inner = {part.name: part for part in body if isinstance(part, ast.FunctionDef)}
    result = [part for part in body if isinstance(part, ast.Return)][-1].value
    formulas = []
    for rule in result.elts[1:] if isinstance(result, ast.Tuple) else []:
        if isinstance(rule, ast.Name) and rule.id in inner:
            returns = [part for part in ast.walk(inner[rule.id]) if isinstance(part, ast.Return)]
            rule = ast.Lambda(inner[rule.id].args, returns[-1].value)
        formulas.append(ast.unparse(_Plain(rule.args.args[0].arg).visit(rule.body)).replace(" ** ", "**"))
    return tuple(zip(arguments, formulas, strict=True))


class Box(NamedTuple):
    """What one box is (a key of tape.KINDS) and what stands in it."""
    kind: str
    lines: list

    @property
    def width(self) -> float:
        """In inches; the first line is bold."""
        return max(len(self.lines[0]) * BOLD_LETTER, max(map(len, self.lines)) * LETTER) + 0.16


def history(output) -> list:
    """Every Tensor that `output` was computed from, in the order of computation,
    leaves just before their first use; `output` is the last.
    """
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


def named(names) -> dict:
    """Tensor -> name, from a dict of name -> Tensor or Module,
    whose parameters get names below its own.
    """
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


def shape_of(tensor) -> str:
    return "x".join(map(str, tensor.shape)) if tensor.ndim else "one number"


def describe(tensor, names, reached, gradients, first):
    """The Box of one Tensor."""
    name = names.get(tensor)
    size = f"|gradient| {_number(float(np.linalg.norm(gradients[tensor].data)))}" if tensor in gradients else None
    if tensor.node is None:
        if not tensor.requires_grad and tensor.size == 1:
            return Box("constant", [name or _number(tensor.item())])
        if not tensor.requires_grad:
            return Box("data", [name or "array", shape_of(tensor)])
        lines = [name or "leaf", shape_of(tensor)] + ([size] if size else [])
        return Box("leaf that gets a gradient" if tensor in reached else "leaf that gets none here", lines)
    node = tensor.node
    lines = [f"{node.name.lstrip('_')}  {shape_of(tensor)}" + (f"  = {name}" if name else "")]
    known = rules(node.name)
    if len(known) < len(node.inputs):                       # a primitive of any number of inputs
        known = [(f"{known[0][0]}[{i}]" if known else f"input {i}", known[0][1] if known else "?")
                 for i in range(len(node.inputs))]
    # The last input, a bias, may be absent.
    for parent, (argument, formula) in zip(node.inputs, known, strict=False):
        if parent in reached:
            lines.append(textwrap.shorten(f"to {argument}: {formula}", 62, placeholder=" ..."))
    if size:
        lines.append(size)
    second = first is not None and first.node is not None and node.order > first.node.order
    return Box("operation of the walk back" if second else "operation", lines)


def reached_from(tensors, wanted) -> set:
    """The Tensors on a path from a wanted one (None: from any leaf that requires a gradient)."""
    wanted = {t for t in tensors if t.node is None and t.requires_grad} if wanted is None else set(wanted)
    found = set()
    for tensor in tensors:
        if tensor in wanted or (tensor.node and any(i in found for i in tensor.node.inputs)):
            found.add(tensor)
    return found
