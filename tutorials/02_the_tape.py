"""Lesson 2: a program that walks back through any formula, first slowly, then in an engine of twenty lines."""
# %% [markdown]
# # 2. The tape
#
# Lesson 1 walked backwards through a formula by hand. Here a program does it: first the obvious
# one, which is hopelessly slow, then an engine in about twenty lines, equal to this project's own
# on one formula (`minideconv/tensor.py` is the same idea). At the end come gradients of gradients.
#
# Full run: under 10 seconds on 2 cores, and the same in the short setting (`MINIDECONV_SHORT=1`).
# You need lesson 1.

# %%
import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.draw.tape import draw_tape
from minideconv.primitives import PRIMITIVES, primitive

# %% [markdown]
# ## Remember how you were made
#
# A `Box` holds a number (or an array) and its *parents*: the boxes that it was computed from, each
# with a rule. The rule takes g, the slope of the final result for this box, and gives the slope
# for that parent: the table of lesson 1, written down while computing. Two operations are enough
# for now. Note that the rules themselves are written in Boxes; that will pay at the end.

# %%
class Box:
    made = 0

    def __init__(self, data, parents=()):
        Box.made += 1
        self.data, self.parents, self.order = np.asarray(data, float), parents, Box.made

    def __add__(self, other):
        return Box(self.data + other.data, [(self, lambda g: g), (other, lambda g: g)])

    def __mul__(self, other):
        return Box(self.data * other.data, [(self, lambda g: g * other), (other, lambda g: g * self)])

# %% [markdown]
# ## Slow first: follow every path
#
# From the result, go to each parent with its share of the slope, and on to their parents. A box
# that is reached twice adds up what it gets, as the answer to lesson 1's question demands.
# Correct, and exponentially slow: in a chain `x = x + x` every step doubles the number of paths.

# %%
visits = 0


def follow_paths(box, g, found):
    global visits
    visits += 1
    found[box] = found.get(box, 0.0) + g.data
    for parent, rule in box.parents:
        follow_paths(parent, rule(g), found)


def doubling(steps):
    boxes = [Box(1.0)]
    for _ in range(steps):
        boxes.append(boxes[-1] + boxes[-1])
    return boxes


# %%
chain, slow = doubling(14), {}
follow_paths(chain[-1], Box(1.0), slow)
assert visits == 2 ** 15 - 1                             # the claim: 15 boxes, 32767 visits
assert slow[chain[0]] == 2 ** 14                         # though the answer is right

# %% [markdown]
# ## The rewrite: newest first, each box once
#
# A box can only be used by boxes made *after* it. So take the waiting boxes newest first: when a
# box's turn comes, everyone who used it has already paid in, and its slope is complete. One
# dictionary of pending slopes, one loop. (Creation order replaces the topological sort that other
# engines make; no recursion, so the depth of a network has no limit.)

# %%
def gradients(result):
    pending, found = {result: Box(np.ones_like(result.data))}, {}
    while pending:
        box = max(pending, key=lambda box: box.order)
        g = found[box] = pending.pop(box)
        for parent, rule in box.parents:
            pending[parent] = pending[parent] + rule(g) if parent in pending else rule(g)
    return found


found = gradients(chain[-1])
assert len(found) == 15                                                     # the claim: 15 boxes, 15 visits,
assert all(found[box].data == slow[box] for box in chain)                   # and the same answers

# %% [markdown]
# That was the engine: `Box` and `gradients`, 17 lines together. (micrograd, Karpathy 2020, and
# autodidact, Johnson 2017, are the classics of this genre; both are worth reading.)
#
# ## On this formula it equals ours
#
# The same formula in Boxes and in Tensors. `md.grad(result, inputs)` gives the gradients;
# `result.backward()` would leave them in `.grad`.

# %%
rng = np.random.default_rng(0)
arrays = [rng.integers(-4, 5, (2, 3)).astype(float) for _ in range(3)]


def formula(a, b, c):
    return (a * b + c) * (a * b + c) + a * c


boxes, tensors = [Box(v) for v in arrays], [md.Tensor(v, requires_grad=True) for v in arrays]
ours = gradients(formula(*boxes))
theirs = md.grad(formula(*tensors).sum(), tensors)
# The claim, on integers: exactly equal.
assert all(np.array_equal(ours[box].data, g.data) for box, g in zip(boxes, theirs, strict=True))

# %% [markdown]
# The walk starts with a slope of 1, the `ones_like` in `gradients`. Lesson 1 warned of ones, and
# yet they are right here: a loss is *one* number, and the slope of a number for itself is 1, no
# choice about it. Where the result is an array, a 1 everywhere *is* a choice, that of the sum of
# its entries (hence the `.sum()`); a check of gradients must not make it, as it misses what is in
# the wrong order. So for an array `md.grad` asks for the cotangent.

# %%
try:
    md.grad(formula(*tensors), tensors)
    raise SystemExit("ones were taken for granted")
except ValueError as error:
    print(error)

# %% [markdown]
# What is on a tape can be drawn. Each box is an operation with its rules, in which a and b are its
# own first and second input ("to a: g * b"), and the length of the gradient that passed it. It
# points from the inputs, on top, to the result; gradients flow the other way. p * q + r is used
# twice by the second product: two arrows, and two gradients that add up.

# %%
p, q, r = tensors
total = p * q + r
keep(draw_tape((total * total).sum(), {"p": p, "q": q, "r": r}, title="The tape of sum((p * q + r) * (p * q + r))"),
     "02_tape.png")

# %% [markdown]
# ## What was repeated comes back as a sum
#
# NumPy adds a row to every row of a matrix without being told: it *broadcasts*. Our `Box` does so
# too, and its rule for `+` is then wrong. It is the first bug of every engine on NumPy, and a
# silent one: shapes do not fit, until something later broadcasts again and makes them fit.

# %%
matrix, row = Box(arrays[0]), Box(arrays[1][0])                             # (2, 3) and (3,)
wrong = gradients(matrix * matrix + row)[row]
assert row.data.shape == (3,) and wrong.data.shape == (2, 3)                # the bug: a slope of another shape

# %% [markdown]
# The row was *copied* into every row of the matrix. A number that is used twice adds up what it
# gets, so the right slope is the sum over the copies: over axes put in front, and over axes 1 long.

# %%
def unbroadcast(g, shape):
    """g summed over the axes along which an array of this shape was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, length in enumerate(shape) if length == 1), keepdims=True)


chosen = rng.integers(-4, 5, (2, 3)).astype(float)
for shape in ((3,), (1, 3), (2, 1), (1, 1), (), (2, 3)):
    small = md.Tensor(rng.integers(-4, 5, shape).astype(float), requires_grad=True)
    by_tape, = md.grad(tensors[0] + small, small, gradient=chosen)
    assert np.array_equal(by_tape.data, unbroadcast(chosen, shape))         # the claim: as in the engine

# %% [markdown]
# ## Adding an operation
#
# An operation is its result and a rule per input. In our engine `@primitive` turns such a function
# into an operation on Tensors. Here is the cube, checked as in lesson 1 (in both orders).

# %%
@primitive
def cube(x):
    return x.data ** 3, lambda g: g * 3 * x * x


del PRIMITIVES["cube"]                                   # the engine's own list; this one is only for the lesson
assert md.gradcheck(cube, rng.standard_normal(4)) and md.gradgradcheck(cube, rng.standard_normal(4))

# %% [markdown]
# ## Three things that a tape must not do
#
# It must not run when nobody learns (`no_grad`), must not be fooled by arrays that change between
# the two walks, and must not depend on how deep a network is. The second is a classic: the
# optimiser writes new weights while an old tape still needs the old ones.

# %%
weight = md.Tensor(np.ones(3), requires_grad=True)
with md.no_grad():
    assert (weight * weight).node is None                # nothing recorded
loss = (weight * weight).sum()
weight.data += 1                                         # an optimiser's step, at the wrong moment
try:
    loss.backward()
    raise SystemExit("the change went unnoticed")
except md.TapeError as error:
    print(error)

# %%
deep = md.Tensor(np.array(1.0), requires_grad=True)
x = deep
for _ in range(50_000):
    x = x + 1
x.backward()
assert deep.grad == 1                                    # 50,000 operations: Python's recursion limit is 1000

# %% [markdown]
# ## Double backward for free
#
# The slopes in `found` are Boxes, made by operations on Boxes, so they have parents too. They can
# be asked for *their* gradients: the second derivative, with the code we have. For x * x * x: f =
# x^3, f' = 3 x^2, f'' = 6 x.

# %%
x = Box(2.0)
first = gradients(x * x * x)[x]
second = gradients(first)[x]
assert (first.data, second.data) == (12.0, 12.0)         # 3 * 4 and 6 * 2

X = md.Tensor(np.array(2.0), requires_grad=True)
first, = md.grad(X * X * X, X, create_graph=True)        # create_graph: record the walk back as well
second, = md.grad(first, X)
assert (first.item(), second.item()) == (12.0, 12.0)     # the claim: ours does the same

# %% [markdown]
# Again and again: three derivatives of t = tanh x, each the gradient of the one before, against the
# formulas of a table: 1 - t^2, then -2 t (1 - t^2), then (6 t^2 - 2)(1 - t^2).

# %%
X = md.Tensor(np.linspace(-3, 3, 121), requires_grad=True)
curves = [F.tanh(X)]
for _ in range(3):
    curves.append(md.grad(curves[-1].sum(), X, create_graph=True)[0])
t = np.tanh(X.data)
table = [t, 1 - t ** 2, -2 * t * (1 - t ** 2), (6 * t ** 2 - 2) * (1 - t ** 2)]
assert all(np.allclose(curve.data, formula, atol=1e-12) for curve, formula in zip(curves, table, strict=True))


# %%
@style()
def draw_derivatives():
    figure = new_figure(6.4, 3.6, "tanh and its derivatives, each from the tape of the one before")
    axes = figure.add_subplot()
    looks = (("tanh", "ink", "-"), ("first", "accent", "--"), ("second", "dark", "-."), ("third", "middle", ":"))
    for curve, (label, color, line) in zip(curves, looks, strict=True):
        axes.plot(X.data, curve.data, line, color=PALETTE[color], linewidth=1.8, label=label)
    axes.set_xlabel("x")
    axes.legend()
    return figure


keep(draw_derivatives(), "02_derivatives.png")

# %% [markdown]
# Who wants a second derivative? Some losses *contain* a gradient, as the penalties of lesson 14 do.
# To learn from one is to differentiate that gradient; as a plain number it would change the loss,
# and nothing would learn from it.

# %%
kernel = md.Tensor(rng.standard_normal((4, 4, 1, 2)), requires_grad=True)
image = md.Tensor(rng.standard_normal((1, 6, 6, 1)), requires_grad=True)
slope, = md.grad(F.tanh(F.conv2d(image, kernel, stride=2)).sum(), image, create_graph=True)
assert np.any(md.grad((slope * slope).sum(), kernel)[0].data != 0)

# %% [markdown]
# ## A question
#
# Third derivative of x * x * x: 6, the same for every x. And the fourth is 0. If you ask the
# engine for the fourth derivative, what can it say, given that a constant does not remember x?
# Decide: a zero, or a complaint?
#
# Answer: the third derivative is made of constants only, x is not on its tape. The engine does not
# guess whether that was meant or is a mistake (a forgotten `detach`, a wrong variable): it
# complains, unless told that unused inputs are fine; then it says None, "no path", not 0.

# %%
X = md.Tensor(np.array(2.0), requires_grad=True)
derivative = X * X * X
for expected in (12.0, 12.0, 6.0):
    derivative, = md.grad(derivative, X, create_graph=True)
    assert derivative.item() == expected
assert derivative.node is None
try:
    md.grad(derivative, X)
    raise SystemExit("no complaint")
except ValueError as error:
    print(error)
assert md.grad(derivative, X, allow_unused=True) == (None,)
