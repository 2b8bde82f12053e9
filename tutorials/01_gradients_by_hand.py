"""Lesson 1: gradients with pen and paper, each checked by changing a number and looking."""
# %% [markdown]
# # 1. Gradients by hand
#
# A network is a formula with many numbers in it that can be changed, and the *loss* is one number
# that says how wrong its results are. It learns by asking, for each of its numbers: if this number
# were a little larger, how much would the loss change? That rate of change is the number's
# *gradient*. This lesson computes gradients of a single multiplication, of a small formula and of a
# transposed convolution, with pen and paper, and checks each against the only judge there is:
# changing the number and looking.
#
# Full run: under 10 seconds on 2 cores, and the same in the short setting (`MINIDECONV_SHORT=1`).
# It is the first lesson: you need Python and NumPy, and no deep learning. Run it with `python
# tutorials/01_gradients_by_hand.py`, open it as a notebook, or step through it in a debugger.

# %%
import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.draw.heatmap import FAULTS, draw_heatmap

# %% [markdown]
# ## One multiplication
#
# Take `f(a, b) = a * b`. Nudge `a` by a small `h`: the result grows by `h * b`. So the slope for
# `a` is `b`, and by the same argument the slope for `b` is `a`. Measured instead of argued: (f(a +
# h) - f(a)) / h.

# %%
a, b, h = 3.0, -2.0, 1e-6


def f(a, b):
    return a * b


slope_a = (f(a + h, b) - f(a, b)) / h
slope_b = (f(a, b + h) - f(a, b)) / h
assert abs(slope_a - b) < 1e-8 and abs(slope_b - a) < 1e-8      # the claim: d(a*b)/da = b, d(a*b)/db = a

# %% [markdown]
# ## How small is small?
#
# The smaller the step, the better the slope? Only until rounding takes over. A float64 holds about
# 16 digits, a float32 about 7; f(x + h) and f(x) agree in almost all of them when h is tiny, and
# what is left after the subtraction is noise. There is a better formula than the one above: the
# *central* difference (f(x + h) - f(x - h)) / 2h. Its error falls with h * h, not with h. (Overton
# 2001, "Numerical Computing with IEEE Floating Point Arithmetic", has the whole story.)

# %%
def errors(kind, dtype, steps, x=1.0):
    """|measured - true| slope of exp at x, for each step."""
    found = []
    for step in steps:
        x_, h_ = dtype(x), dtype(step)
        ahead, behind = np.exp(x_ + h_), np.exp(x_ - h_) if kind == "central" else np.exp(x_)
        found.append(abs(float((ahead - behind) / (h_ * dtype(2 if kind == "central" else 1))) - np.exp(x)))
    return np.array(found)


steps = 10.0 ** np.arange(-12, 0, 0.25)
best = {(kind, dtype.__name__): errors(kind, dtype, steps).min()
        for kind in ("forward", "central") for dtype in (np.float32, np.float64)}
large = errors("central", np.float64, [1e-2, 1e-3])
assert 90 < large[0] / large[1] < 110                     # the claim: a tenth of the step, a hundredth of the error
assert best["central", "float64"] < 1e-9                  # the claim: in float64 nine digits can be had
# In float32 not nearly, so checks are made in float64.
assert best["central", "float32"] > 1000 * best["central", "float64"]

# %%
@style()
def draw_errors():
    figure = new_figure(6.4, 3.8, "The slope of exp(x) at 1: error against step")
    axes = figure.add_subplot()
    for dtype, color in ((np.float32, PALETTE["accent"]), (np.float64, PALETTE["dark"])):
        for kind, line in (("forward", "--"), ("central", "-")):
            axes.loglog(steps, np.maximum(errors(kind, dtype, steps), 1e-14), line, color=color,
                        label=f"{kind}, {dtype.__name__}")
    axes.set_xlabel("step h (left of each valley rounding rules, right of it the curve's bend)")
    axes.set_ylabel("error of the measured slope")
    axes.legend()
    return figure


keep(draw_errors(), "01_steps.png")

# %% [markdown]
# ## A formula, walked backwards
#
# Now `loss = (a * b + c) ** 2`. Forward, one operation at a time, keeping what each one made.
# Backward, in the opposite order: each operation is handed the slope of the loss for its *result*
# (call it g) and answers with the slope for each of its *inputs*.
#
# | operation | slope for its inputs |
# |---|---|
# | p = a * b | g * b for a, g * a for b |
# | s = p + c | g for both |
# | loss = s * s | g * 2 * s |
#
# This is all that "backpropagation" means. It finds the slopes. Changing the numbers with them is
# another step, that of an *optimiser*: a rule such as "subtract a small multiple of the slope",
# which is lesson 3.

# %%
a, b, c = 3.0, -2.0, 5.0
p = a * b               # forward: -6
s = p + c               #          -1
loss = s * s            #           1
g_loss = 1.0            # backward: the slope of the loss for itself
g_s = g_loss * 2 * s
g_p, g_c = g_s, g_s
g_a, g_b = g_p * b, g_p * a


def measured(function, at, h=1e-6):
    """Central differences, one number at a time."""
    return [(function(*at[:i], x + h, *at[i + 1:]) - function(*at[:i], x - h, *at[i + 1:])) / (2 * h)
            for i, x in enumerate(at)]


# The claim: by hand = by trying.
assert np.allclose([g_a, g_b, g_c], measured(lambda a, b, c: (a * b + c) ** 2, (a, b, c)))

# %% [markdown]
# The engine of this project does the same bookkeeping. `backward()` walks the recorded operations
# from the loss to the inputs.

# %%
A, B, C = (md.Tensor(np.array(v), requires_grad=True) for v in (a, b, c))
((A * B + C) ** 2).backward()
assert (A.grad, B.grad, C.grad) == (g_a, g_b, g_c)         # the claim: equal to ours, digit for digit

# %% [markdown]
# ## Many outputs: weigh them
#
# A layer has many outputs, so "the slope" is a table: every output against every input. Nobody
# needs the table. What comes from the loss is one number g per output (how much the loss grows
# when that output does: where g is positive, the loss wants it smaller), so all we ask is the
# slope of `sum(g * outputs)`, a single number. The numbers g together are called the *cotangent*,
# and the answer is a *vector-Jacobian product*: g times the table, without the table.
#
# The layer this project is about, in one dimension, is the *transposed convolution*. It has an
# input y and a short row of weights w, its *kernel*. Every y[i] *stamps* a copy of the kernel,
# scaled by y[i], at position stride * i, and where stamps overlap they add up.

# %%
def stamp(y, w, stride=2):
    out = np.zeros(stride * (len(y) - 1) + len(w))
    for i in range(len(y)):
        for u in range(len(w)):
            out[stride * i + u] += y[i] * w[u]
    return out


three, kernel = np.array([2.0, 1.0, 3.0]), np.array([1.0, 3.0, 2.0])
copies = [stamp(np.where(np.arange(3) == i, three, 0), kernel) for i in range(3)]       # one input at a time
assert stamp(three, kernel).tolist() == [2, 6, 5, 3, 5, 9, 6]
assert np.array_equal(sum(copies), stamp(three, kernel))                    # the claim: a sum of stamps


# %%
@style()
def draw_stamps():
    figure = new_figure(6.4, 3.4, "Three inputs 2, 1, 3 stamp the kernel 1, 3, 2, two places apart")
    panels = figure.subplots(4, 1, sharex=True, subplot_kw={"ylim": (0, 13), "yticks": []})
    below = np.zeros(7)
    for i, color in enumerate(("dark", "middle", "light")):
        look = {"color": PALETTE[color], "edgecolor": PALETTE["ink"]}
        bars = panels[i].bar(range(7), copies[i], 0.9, **look)
        panels[i].bar_label(bars, [f"{v:.0f}" if v else "" for v in copies[i]])
        total = panels[3].bar(range(7), copies[i], 0.9, below, **look)
        below += copies[i]
    panels[3].bar_label(total, [f"{v:.0f}" for v in below])
    for axes, name in zip(panels, ("2 * w", "1 * w", "3 * w", "the sum"), strict=True):
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


# %%
keep(draw_stamps(), "01_stamps.png")

# %% [markdown]
# Each `out[...] += y[i] * w[u]` is one multiplication: its slopes are w[u] for y[i] and y[i] for
# w[u]. The two gradients are therefore the same loop again:

# %%
def stamp_backward(y, w, g, stride=2):
    g_y, g_w = np.zeros(len(y)), np.zeros(len(w))
    for i in range(len(y)):
        for u in range(len(w)):
            g_y[i] += g[stride * i + u] * w[u]           # the same loop, the same rule as for f(a, b) = a * b
            g_w[u] += g[stride * i + u] * y[i]
    return g_y, g_w

# %% [markdown]
# Two remarks that save work. For something linear in w, f(w + 1) - f(w - 1) = 2 * slope without
# any error, however large the step; and float64 computes with small integers exactly. So with
# integers we may ask for `==`.

# %%
rng = np.random.default_rng(0)
y, w = rng.integers(-5, 6, 4).astype(float), rng.integers(-5, 6, 3).astype(float)
g = rng.integers(-5, 6, len(stamp(y, w))).astype(float)
g_y, g_w = stamp_backward(y, w, g)
assert np.array_equal(g_w, measured(lambda *w: g @ stamp(y, np.array(w)), list(w), h=1.0))      # the claims: exactly
assert np.array_equal(g_y, measured(lambda *y: g @ stamp(np.array(y), w), list(y), h=1.0))

# %% [markdown]
# The rewrite: one loop over the kernel's taps, whole slices at a time. Asserted equal to the slow
# one. (Lesson 5 compares both with the engine's layer, whose images have two dimensions more.)

# %%
def stamp_backward_fast(y, w, g, stride=2):
    # What tap u wrote to, one entry per y[i].
    windows = [g[u: u + stride * len(y): stride][:len(y)] for u in range(len(w))]
    g_y = sum(window * tap for window, tap in zip(windows, w, strict=True))
    return g_y, np.array([window @ y for window in windows])


fast_y, fast_w = stamp_backward_fast(y, w, g)
assert np.array_equal(fast_y, g_y) and np.array_equal(fast_w, g_w)

# %% [markdown]
# ## Why the cotangent must be random
#
# It is tempting to check the slope of `outputs.sum()`, that is, g = 1 everywhere. Many projects
# do. Then a gradient that comes back *in the wrong order* passes: with g = 1, g_w[u] = sum(y) for
# every u, so a flipped kernel gradient looks right. Here is one, wrong on purpose:

# %%
def flipped(y, w, g):
    g_y, g_w = stamp_backward(y, w, g)
    return g_y, g_w[::-1]


ones = np.ones(len(g))
true_ones = measured(lambda *w: ones @ stamp(y, np.array(w)), list(w), h=1.0)
true_random = measured(lambda *w: g @ stamp(y, np.array(w)), list(w), h=1.0)
assert np.array_equal(flipped(y, w, ones)[1], true_ones)            # the claim: ones see nothing wrong ...
assert not np.array_equal(flipped(y, w, g)[1], true_random)         # ... a random cotangent does

# %% [markdown]
# The same fault in the engine's layer, which has two dimensions, entry by entry. Each tile is a 3x3
# kernel; there is one for every pair of an input and an output *channel* (such as a colour). Only
# its middle is right, since the middle is where flipping changes nothing: the pattern of the error
# tells you what the mistake is.

# %%
name, faulty = FAULTS["flipped"]
Y2, W2 = rng.standard_normal((1, 5, 5, 2)), rng.standard_normal((3, 3, 2, 2))
checks = {"right": lambda w: F.conv_transpose2d(Y2, w, stride=2), name: lambda w: faulty(md.Tensor(Y2), w)}
keep(draw_heatmap(checks, [W2], ["w"]), "01_flipped.png")

# %% [markdown]
# This check is a function of the project: `md.gradcheck` (random cotangent, float64 only, central
# differences). It accepts the right layer, and names the first wrong entry with both numbers
# otherwise.

# %%
assert md.gradcheck(lambda y, w: F.conv_transpose2d(y, w, stride=2), Y2, W2)
try:
    md.gradcheck(faulty, Y2, W2)
    raise SystemExit("the fault was not found")
except md.GradcheckError as error:
    print(error)
    assert "input 1" in str(error)                      # the claim: it is the kernel (input 1) whose gradient is wrong

# %% [markdown]
# ## A question
#
# In `f(a, b) = a * b` the slopes are b and a. What is the slope of `x * x` at x = 3, if both
# inputs are the *same* x? Decide before you read on: is it 3, 6 or 9?
#
# Answer: x is used twice, and each use contributes: 3 as the left factor and 3 as the right one.
# Gradients of several uses **add up**, so it is 6, as the rule 2x from school says. The tape of
# the next lesson has one line for this.

# %%
X = md.Tensor(np.array(3.0), requires_grad=True)
(X * X).backward()
assert X.grad == 6.0 == 3.0 + 3.0
print("all claims hold")
