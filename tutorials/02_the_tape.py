# %% [markdown]
# # 2. The tape
#
# Lesson 1 walked backwards through a formula by hand. Here a program does it: first the obvious
# one, which is hopelessly slow, then an engine in about twenty lines, which is then shown to equal
# this project's own (`minideconv/tensor.py`, the same idea with error messages). At the end
# gradients of gradients turn out to cost nothing extra.
#
# Full run: under 10 seconds on 2 cores, and the same in the short setting (`MINIDECONV_SHORT=1`).
# You need lesson 1.

# %%
import math

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
# What is on a tape can be drawn. Each box is an operation with its rules ("to a: g * b") and the
# length of the gradient that passed it; it points from the inputs, on top, to the result.
# Gradients flow the other way.

# %%
a, b, c = tensors
product = a * b + c
keep(draw_tape((product * product).sum(), {"a": a, "b": b, "c": c}, title="The tape of sum((a * b + c) * (a * b + c))"),
     "02_tape.png")

# %% [markdown]
# ## Adding an operation
#
# An operation is its result and a rule per input, nothing more. In our engine `@primitive` turns
# such a function into an operation on Tensors. Here is the cube, checked as in lesson 1 (in the
# first and in the second order).

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
# Again and again: here are three derivatives of tanh, each the gradient of the one before, against
# the formulas from a table. With t = tanh x:
#
#     t' = 1 - t^2        t'' = -2 t (1 - t^2)        t''' = (6 t^2 - 2)(1 - t^2)

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
# ## Why anybody wants it
#
# Some losses contain a gradient. A *critic* is a network that scores images, real ones higher than
# generated ones. WGAN-GP (Gulrajani et al. 2017) asks that its slope have length 1 for images that
# lie *between* a real one and a generated one; to train the critic on that, the slope itself must
# be differentiated. A known trap is to add such a penalty as a plain number: the loss changes, and
# nothing learns from it. On our tape it is an ordinary result, because the gradient of a
# convolution is a convolution too. (Random images will do here. The length is a square root, whose
# own slope is infinite at 0: a critic that is flat somewhere would spoil its weights, so trainers
# add a little under the root.)

# %%
image = md.Tensor(rng.standard_normal((4, 6, 6, 1)), requires_grad=True)
kernel = md.Tensor(rng.standard_normal((4, 4, 1, 2)), requires_grad=True)


def penalty(kernel):
    score = F.tanh(F.conv2d(image, kernel, stride=2, padding=1)).sum()
    slope, = md.grad(score, image, create_graph=True)
    return score, (((slope * slope).sum(axis=(1, 2, 3)).sqrt() - 1) ** 2).mean()


score, loss = penalty(kernel)
by_tape, = md.grad(loss, kernel)
nudge = rng.standard_normal(kernel.shape)
ahead, behind = (penalty(md.Tensor(kernel.data + step * nudge))[1].item() for step in (1e-6, -1e-6))
by_trying = (ahead - behind) / 2e-6
# The claim: right along a random direction.
assert math.isclose(np.vdot(by_tape.data, nudge), by_trying, rel_tol=1e-6)

# %%
flat = md.Tensor(np.zeros(1), requires_grad=True)
with np.errstate(divide="ignore"):
    assert np.isinf(md.grad(flat.sqrt(), flat)[0].data)                    # the claim: no slope at 0
assert np.isfinite(md.grad((flat + 1e-12).sqrt(), flat)[0].data)           # a little under the root helps

# %%
keep(draw_tape(loss, {"image": image, "kernel": kernel}, [kernel], first=score,
               title="A gradient penalty: the walk back is on the tape too"),
     "02_penalty.png")

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
print("all claims hold")
