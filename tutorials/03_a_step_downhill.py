"""Lesson 3: gradients are used. A line is fitted, and a network separates two moons."""
# %% [markdown]
# # 3. A step downhill
#
# Lessons 1 and 2 found gradients and did nothing with them. Here something *learns*: numbers are
# moved against their gradients, a little at a time. First the two numbers of a line, whose every
# step can be drawn, then the 65 of a network on the engine of lesson 2.
# Takes about 10 seconds on 2 cores, fewer with `MINIDECONV_SHORT=1` (fewer epochs; claims about
# well-trained networks are then not checked). You need lesson 2.

# %%
import os
from itertools import pairwise, product

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import optim
from minideconv.draw.figure import PALETTE, keep, new_figure, style

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SEEDS = range(5)

# %% [markdown]
# ## One rule
#
# Twenty points lie near a line, `y = 2 x + 1`. A line has two *parameters*, numbers that are to be
# learned: w = (slope, offset). The *loss* is the mean of the squared errors; its gradient takes pen
# and paper, as in lesson 1. Learning is one statement, `w -= rate * gradient`, repeated: *gradient
# descent* (Cauchy 1847). The *rate* says how long the steps are; three rates are tried. The loss is
# a bowl here, and its floor is known: the least-squares line.

# %%
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, 20)
y = 2 * x + 1 + 0.3 * rng.standard_normal(20)
line = np.stack([x, np.ones(20)], axis=1)                   # (20, 2): line @ w = slope * x + offset
floor = np.linalg.lstsq(line, y, rcond=None)[0]


def sgd(w, g, state, rate):
    w -= rate * g


def descend(w, steps, rule=sgd, **settings):
    """The places (steps + 1, 2) that w goes through, and the loss of each above the least possible."""
    places, state = [w.copy()], {}
    for _ in range(steps):
        rule(w, 2 * line.T @ (line @ w - y) / len(y), state, **settings)
        places.append(w.copy())
    return np.array(places), (((np.array(places) - floor) @ line.T) ** 2).mean(axis=1)


# %%
RATES = {0.03: "rate 0.03: too small", 0.6: "rate 0.6: right", 1.02: "rate 1.02: too large"}
start = np.array([-0.5, -1.5])
routes = {rate: descend(start.copy(), 15, rate=rate) for rate in RATES}
left = [heights[-1] / heights[0] for _, heights in routes.values()]             # of the loss above the floor
assert left[1] < 1e-6 < 0.1 < left[0] < 1 < left[2]

# %%
with style():
    figure = new_figure(6.4, 3.4, "Two numbers on their way to the floor, 15 steps each")
    bowl = figure.subplots()
    grid = np.stack(np.meshgrid(np.linspace(-2, 5, 80), np.linspace(-4, 6.2, 80)), axis=-1)         # (80, 80, 2)
    costs = ((grid @ line.T - y) ** 2).mean(axis=-1)
    bowl.contour(grid[..., 0], grid[..., 1], costs, levels=np.geomspace(0.1, 40, 9), colors=PALETTE["faint"])
    for (rate, (path, _)), look in zip(routes.items(), ("o-dark", "s-ink", "^-accent"), strict=True):
        bowl.plot(*path.T, look[:2], color=PALETTE[look[2:]], markersize=4, linewidth=1, label=RATES[rate])
    bowl.set(xlabel="slope", ylabel="offset")
    bowl.legend()
keep(figure, "03_rates.png")

# %% [markdown]
# Why just these? At distance d from the floor, in a direction of *curvature* c, the slope is c * d,
# and a step leaves `(1 - rate * c) d`. That is shorter than d if `rate < 2 / c`. The steepest
# direction sets the limit: its c is the largest eigenvalue of the second derivatives, here the
# matrix `2 * line.T @ line / 20`. Just below the limit w arrives, just above it flies off.
#
# **Question.** You stand off the floor in the steepest direction only. Which rate takes you there
# in *one* step? Where is somebody then who was off it in a flatter direction, of curvature b?
#
# Answer: `1 - rate * c` is 0 for `rate = 1 / c`, half the limit. The other has `1 - b / c` of the
# way before them, nearly all of it where b is small. One rate for all numbers is a compromise.

# %%
curvatures, directions = np.linalg.eigh(2 * line.T @ line / len(y))             # the steepest last
limit = 2 / curvatures[-1]
assert descend(start.copy(), 2000, rate=0.98 * limit)[1][-1] < 1e-12
assert descend(start.copy(), 2000, rate=1.02 * limit)[1][-1] > 1e12
for b, direction in zip(curvatures, directions.T, strict=True):
    places, _ = descend(floor + direction, 1, rate=limit / 2)
    assert np.allclose(places[1], floor + (1 - b / curvatures[-1]) * direction)

# %% [markdown]
# ## A network in thirty lines
#
# No line separates two moons. A network does, of *layers* `tanh(x @ weight + bias)`: sums of all
# inputs, a constant for each (its *bias*), and a bend. Its engine is lesson 2's; rules give arrays,
# as nobody asks for second derivatives. A bias is un-broadcast: its slope is a sum over rows.

# %%
class Box:
    made = 0

    def __init__(self, data, parents=()):
        Box.made += 1
        self.data, self.parents, self.order = data, parents, Box.made

    def __add__(self, bias):
        return Box(self.data + bias.data, [(self, lambda g: g), (bias, lambda g: g.sum(axis=0))])

    def __matmul__(self, other):
        return Box(self.data @ other.data, [(self, lambda g: g @ other.data.T), (other, lambda g: self.data.T @ g)])

    def tanh(self):
        return Box(np.tanh(self.data), [(self, lambda g: g * (1 - np.tanh(self.data) ** 2))])


# %%
def gradients(result, g):
    """Lesson 2's walk: newest first, each box once. g is the slope of the loss for the result."""
    pending, found = {result: g}, {}
    while pending:
        box = max(pending, key=lambda box: box.order)
        g = found[box] = pending.pop(box)
        for parent, rule in box.parents:
            pending[parent] = pending.get(parent, 0) + rule(g)
    return found


def forward(boxes, points):
    """boxes: weight, bias, weight, bias, ...; points (N, 2) -> Box (N, 1), one moon above 0, one below."""
    out = Box(points) @ boxes[0] + boxes[1]
    for weight, bias in zip(boxes[2::2], boxes[3::2], strict=True):
        out = out.tanh() @ weight + bias
    return out


# %%
def loss_and_gradients(weights, points, targets):
    """Mean squared error against targets (N, 1), and its gradient for each weight."""
    boxes = [Box(weight) for weight in weights]
    out = forward(boxes, points)
    error = out.data - targets
    found = gradients(out, 2 * error / error.size)
    return float((error ** 2).mean()), [found[box] for box in boxes]


# %%
def new_weights(sizes, rng):
    """A matrix and a bias for each layer; random, or all units of a layer would stay twins."""
    return [array for n, m in pairwise(sizes) for array in (rng.standard_normal((n, m)) / n ** 0.5, np.zeros(m))]


def moons(count, noise, rng):
    """Two half circles: points (count, 2), targets (count, 1), 1 and -1 in turn."""
    turn, targets = np.pi * rng.random(count), np.resize([1.0, -1.0], (count, 1))
    upper = np.stack([np.cos(turn) - 0.5, np.sin(turn) - 0.25], axis=1)
    return targets * upper + noise * rng.standard_normal((count, 2)), targets


points, targets = moons(200, 0.12, np.random.default_rng(0))
weights = new_weights((2, 16, 1), np.random.default_rng(0))
found = loss_and_gradients(weights, points, targets)[1]
assert sum(weight.size for weight in weights) == 65

# %% [markdown]
# ## Batch and epoch
#
# The gradient of *some* points is cheaper than that of all, and on average it is the same. So the
# points are shuffled and cut into *batches*; each batch gives a step. Once through all points is an
# *epoch*. (SGD, *stochastic gradient descent*: the batches are random.)

# %%
def train(weights, data, epochs, batch, rng, rule=sgd, watch=(), **settings):
    """Move the weights in place. Gives the loss on each watched (points, targets) after each epoch."""
    (points, targets), states, losses = data, [{} for _ in weights], []
    for _ in range(epochs):
        for rows in np.split(rng.permutation(len(points)), range(batch, len(points), batch)):
            found = loss_and_gradients(weights, points[rows], targets[rows])[1]
            for weight, g, state in zip(weights, found, states, strict=True):
                rule(weight, g, state, **settings)
        losses.append([loss_and_gradients(weights, *pair)[0] for pair in watch])
    return np.array(losses)


parts = [loss_and_gradients(weights, points[k::10], targets[k::10])[1][0] for k in range(10)]
assert np.allclose(sum(parts) / 10, found[0])               # ten batches of 20: the mean of their gradients

# %%
nets, ends, epochs = {}, {20: [], 200: []}, 30 if SHORT else 400
for batch, seed in product(ends, SEEDS):
    rng, data = np.random.default_rng(seed), (points, targets)
    nets[batch, seed] = new_weights((2, 16, 1), rng)
    ends[batch].append(train(nets[batch, seed], data, epochs, batch, rng, watch=[data], rate=0.1)[-1, 0])
print({f"loss with batches of {batch}": np.round(losses, 3) for batch, losses in ends.items()})
assert np.mean(ends[20]) < 0.7 * np.mean(ends[200])         # as many points seen, ten times as many steps

# %%
best_line = np.linalg.lstsq(points, targets, rcond=None)[0]             # through 0, where the moons' middle is
planes = {"the best line": lambda points: points @ best_line}
for seed in SEEDS:
    planes[f"network {seed}"] = lambda points, seed=seed: forward(list(map(Box, nets[20, seed])), points).data
unseen, unseen_targets = moons(1000, 0.12, np.random.default_rng(1))
right = [np.mean(np.sign(plane(unseen)) == unseen_targets) for plane in planes.values()]
print("right on 1000 new points, the best line first:", np.round(right, 3))
assert right[0] < 0.9 and (SHORT or min(right[1:]) > 0.97)

# %%
with style():
    figure = new_figure(7.6, 2.9)
    across, up = np.meshgrid(np.linspace(-2, 2, 161), np.linspace(-1.5, 1.5, 121))
    for axes, name in zip(figure.subplots(1, 2), ("the best line", "network 0"), strict=True):
        height = planes[name](np.stack([across.ravel(), up.ravel()], axis=1)).reshape(across.shape)
        axes.contourf(across, up, height, [-9, 0, 9], colors=[PALETTE["light"], "#d3e6f3"])
        for sign, mark, color in ((1, "o", "dark"), (-1, "^", "accent")):
            axes.plot(*points[targets[:, 0] == sign].T, mark, color=PALETTE[color], markersize=3)
        axes.set(title=name, aspect="equal", xticks=[], yticks=[])
keep(figure, "03_moons.png")

# %% [markdown]
# ## Why gradients are zeroed
#
# Engines *add* to `.grad`: a number that is used twice needs both slopes (lesson 1's question), and
# a large batch can be walked back in parts. The price: somebody has to zero it before the next
# step. Whoever forgets steps along the sum of all gradients so far: a ball in a bowl without
# friction. With friction it does come to rest: *momentum* (Polyak 1964) keeps 0.9 of its speed.

# %%
def momentum(w, g, state, rate, keep=0.9):
    state["velocity"] = keep * state.get("velocity", 0) + g
    w -= rate * state["velocity"]


W1, b1, W2, b2 = tensors = [md.Tensor(weight, requires_grad=True) for weight in weights]
for times in (1, 2):
    F.mse_loss(F.tanh(points @ W1 + b1) @ W2 + b2, targets).backward()      # this project's engine
    assert all(np.allclose(tensor.grad, times * g) for tensor, g in zip(tensors, found, strict=True))
none, some, all_kept = (descend(start.copy(), 400, rule=momentum, rate=0.05, keep=keep)[1] for keep in (0, 0.9, 1))
assert all_kept[-50:].max() > 0.5 * all_kept[0] > 1e6 * max(none[-1], some[-1])

# %% [markdown]
# *Adam* (Kingma and Ba 2015) keeps a mean m of the gradients and a mean v of their squares, and
# divides by the root of v: every number takes steps of about `rate`, however large its gradient.
# Both means start at 0, and dividing by `1 - beta ** t` makes up for that. (Lab A compares them.)

# %%
def adam(w, g, state, rate, beta1=0.9, beta2=0.999, eps=1e-8):
    t = state["t"] = state.get("t", 0) + 1
    m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g ** 2
    w -= rate * (m / (1 - beta1 ** t)) / (np.sqrt(v / (1 - beta2 ** t)) + eps)


for rule, make in ((sgd, optim.SGD), (momentum, lambda w, lr: optim.SGD(w, lr, momentum=0.9)), (adam, optim.Adam)):
    w, state = rng.standard_normal((3, 4)), {}
    tensor = md.Tensor(w.copy(), requires_grad=True)
    optimizer = make([tensor], lr=0.01)
    for _ in range(20):
        tensor.grad = rng.standard_normal((3, 4))
        rule(w, tensor.grad, state, rate=0.01)
        optimizer.step()
    assert np.allclose(w, tensor.data, rtol=1e-12, atol=0)  # the claim: the engine's own, in six lines each

# %% [markdown]
# ## Overfitting
#
# What counts is the loss on points to come. With few points, noise in them and many weights, the
# network learns the noise by heart. So points are kept out of training, for *validation*.

# %%
curves, epochs = [], 100 if SHORT else 500
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    few, others = moons(24, 0.4, rng), moons(1000, 0.4, rng)
    curves.append(train(new_weights((2, 32, 32, 1), rng), few, epochs, 24, rng, adam, watch=(few, others), rate=0.005))
curves = np.array(curves)                                   # (seeds, epochs, 2): trained on, kept out
rise = curves[:, -1, 1] / curves[:, :, 1].min(axis=1)
print("from the best epoch to the last, the loss of points kept out grows", rise.round(2), "fold")
assert SHORT or (rise.mean() > 1.5 and (curves[:, -1, 0] < 0.05 * curves[:, -1, 1]).all())

# %%
with style():
    figure = new_figure(6.4, 2.8, "Learned by heart: 24 noisy points, 1,185 weights, five seeds")
    axes = figure.subplots()
    for part, name, color, dash in ((0, "24 points trained on", "dark", "-"), (1, "1000 kept out", "accent", "--")):
        axes.plot(curves[:, :, part].T, dash, color=PALETTE[color], linewidth=0.5)
        axes.plot(curves[:, :, part].mean(axis=0), dash, color=PALETTE[color], linewidth=2.4, label=name)
    axes.set(xlabel="epoch (thick: the mean of the seeds)", ylabel="mean squared error", ylim=(0, 2.4))
    axes.legend()
keep(figure, "03_overfitting.png")

# %% [markdown]
# The cheapest remedy is to stop at the best epoch. Take with you: a rate has a limit; gradients are
# zeroed before each step; the loss on data that are kept out says when to stop.
#
# Sources: B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964; D.
# Kingma and J. Ba, "Adam", 2015, arXiv:1412.6980.
