"""Lesson 14: six losses, penalties with their double backward, and an average of weights, measured on points."""
# %% [markdown]
# # 14. Losses and penalties
#
# Takes 2 minutes on 2 cores, and seconds with `MINIDECONV_SHORT=1`, where only the claims that
# need no long training are checked.
#
# Every few months since 2014 a new loss for GANs has appeared, with a theory and a table in which
# it wins. Here the famous ones stand side by side: what each pays, what it can measure, and who
# wins on eight spots in the plane. Then comes what matters more: a *penalty* on the slopes of D,
# which needs a gradient of a gradient (lesson 2), and an average of G's weights, which costs
# nothing.
#
# You need lesson 10 (the game) and lesson 13 (how it fails).

# %%
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import gan, nn, optim
from minideconv.data.points import MODES, Modes
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.gan.average import RunningAverage
from minideconv.gan.penalties import slopes, with_penalty
from minideconv.metrics.modes import coverage
from minideconv.models.spectral import normalise

# %%
SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SEEDS = range(1 if SHORT else 3)


def dense(*sizes, rng):
    """Dense layers with leaky ReLU between them; sizes: of the input, the hidden layers, the output."""
    layers = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(inputs, outputs, rng=rng), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])

# %% [markdown]
# ## Six games
#
# With `s = D(x)` the logit of a real image, `t = D(G(z))` that of a fake, `softplus(a) = log(1 +
# exp(a))`, both sides minimise the mean of
#
# | name | D pays | G pays | |
# |---|---|---|---|
# | `minimax` | softplus(-s) + softplus(t) | -softplus(t) | Goodfellow et al. 2014, the game itself |
# | `ns` | the same | softplus(-t) | the same paper, "non-saturating" |
# | `lsgan` | (s - 1)^2 / 2 + t^2 / 2 | (t - 1)^2 / 2 | least squares, Mao et al. 2017 |
# | `hinge` | max(0, 1 - s) + max(0, 1 + t) | -t | Lim and Ye 2017 |
# | `wasserstein` | t - s | -t | Arjovsky et al. 2017 |
# | `relativistic` | softplus(t - s) | softplus(s - t) | Jolicoeur-Martineau 2018, in pairs |
#
# G learns by the slope of its own loss along t, and the slope for a fake that D has *seen through*
# (t far below 0) is what matters: that is where a beginner lives. The tape gives it for each loss.

# %%
def slope_for_g(name, t):
    """d (G's loss) / dt for fakes with logits t (N,), next to real images with logit 0."""
    logits = md.Tensor(t[:, np.newaxis], requires_grad=True)
    turn = gan.Turn(None, lambda seen: seen, md.Tensor(np.zeros_like(logits.data)), logits)
    found, = md.grad(gan.LOSSES[name].generator(turn) * len(t), logits)     # losses are means: times N, a sum
    return found.data[:, 0]


t = np.linspace(-8, 8, 161)
curves = {name: slope_for_g(name, t) for name in gan.LOSSES}
seen_through = 1 / (1 + np.exp(t))                                          # D's probability that the fake is fake
assert np.allclose(curves["ns"], -seen_through) and np.allclose(curves["minimax"], seen_through - 1)
assert np.allclose(curves["lsgan"], t - 1) and np.allclose(curves["hinge"], -1)
assert np.allclose(curves["wasserstein"], -1) and np.allclose(curves["relativistic"], curves["ns"])
assert abs(curves["ns"][0]) > 0.999 and abs(curves["minimax"][0]) < 0.001   # at t = -8

# %%
@style()
def draw_slopes():
    figure = new_figure(6.4, 3.2, "How hard each loss pushes a fake")
    axes = figure.add_subplot()
    for name, colour, line, label in (("minimax", "accent", "-", "minimax"), ("lsgan", "middle", "--", "lsgan"),
                                      ("ns", "dark", "-", "ns, and relativistic beside s = 0"),
                                      ("hinge", "ink", ":", "hinge, wasserstein")):
        axes.plot(t, -curves[name], line, color=PALETTE[colour], linewidth=2, label=label)
    axes.set(ylim=(-0.5, 3), xlabel="D's logit of the fake: left, D is sure that it is fake", ylabel="push on the fake")
    axes.legend(loc="upper right")
    return figure


keep(draw_slopes(), "14_slopes.png")

# %% [markdown]
# `minimax` is flat exactly where G is worst; that was failure 2 of lesson 13. Least squares pushes
# the harder the further off; hinge and Wasserstein push everywhere alike.
#
# ## What a loss can measure
#
# Arjovsky et al. 2017 had another argument. Put the real numbers near 0 and the fakes near
# `shift`, so that they do not overlap, and train D to the end. For cross-entropy D then pays
# nothing *wherever* the fakes are: one is as wrong as the other. If D may not be steeper than 1,
# the best that `D(x) - D(G(z))` can become is the distance by which the mass has to be moved: the
# shift. The slopes are held by a penalty, (|dD/dx| - 1)^2 at points between real and fake, times
# 10 (Gulrajani et al. 2017, "WGAN-GP").

# %%
def lonely_discriminator(loss, penalty, weight, shift, steps, seed=0):
    """D's loss without its penalty, after D alone has learned to tell N(0, 0.1) from N(shift, 0.1)."""
    rng = np.random.default_rng(seed)
    D = dense(1, 32, 32, 1, rng=rng)
    adam = optim.Adam(D.parameters(), 3e-3, (0.5, 0.99))
    for _ in range(steps):
        real, fake = (0.1 * rng.standard_normal((2, 128, 1)) + [[[0]], [[shift]]]).astype(np.float32)
        turn = gan.Turn(None, D, md.Tensor(real), md.Tensor(fake), rng=rng)
        game = gan.LOSSES[loss].discriminator(turn)
        adam.zero_grad()
        (game + weight * gan.PENALTIES[penalty](turn) if weight else game).backward()
        adam.step()
    return game.item()

# %%
SHIFTS, ROUNDS = np.array([1, 2, 4]), 100 if SHORT else 400
entropy = [lonely_discriminator("ns", "none", 0, shift, ROUNDS) for shift in SHIFTS]
distance = [-lonely_discriminator("wasserstein", "wgan-gp", 10, shift, ROUNDS) for shift in SHIFTS]
print("shifts", SHIFTS, " cross-entropy", np.round(entropy, 4), " Wasserstein", np.round(distance, 2))
assert max(entropy) < 0.02                                                  # D knows all, whatever the shift
assert np.allclose(distance, SHIFTS * (1 + SHIFTS / 20), rtol=0.05)         # and here it says how far

# %% [markdown]
# So this loss means something, in the units of the data. It is not quite the shift, because a
# penalty is no wall: with slope 1 + e between the hills D gains shift * (1 + e) and pays 10 e^2,
# which is best at e = shift / 20. Without a penalty D would gain forever by growing steeper.
#
# ## A gradient in the loss
#
# The penalty holds a gradient, dD/dx, and D learns from the gradient of *that*: backward through
# backward, and through every layer of D. **R1** (Mescheder et al. 2018) is simpler still and has
# become the standard: half the squared slope, at real images alone.
#
#     R1 = gamma / 2 * mean of |dD/dx|^2 over real x
#
# At the end of a game that went well the fakes are where the real ones are; D should push nobody
# about there, so it should be flat. In this engine the penalty is four lines, because a tape can
# record the walk back.

# %%
def r1_by_hand(D, real):
    x = md.Tensor(real, requires_grad=True)
    slope, = md.grad(D(x).sum(), x, create_graph=True)                      # dD/dx of each image, on the tape
    return 0.5 * (slope ** 2).sum() / len(real)


rng = np.random.default_rng(0)
images = rng.random((8, 28, 28, 1), np.float32)
D = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1, rng=rng), nn.LeakyReLU(0.2), nn.Conv2d(8, 16, 4, 2, 1, rng=rng),
                  nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(784, 1, rng=rng))
ours, theirs = r1_by_hand(D, images), gan.PENALTIES["r1"](gan.Turn(None, D, md.Tensor(images), None))
assert np.isclose(ours.item(), theirs.item(), rtol=1e-5)
for gradient in md.grad(ours, [D.layers[0].weight, D.layers[2].weight]):    # double backward, through convolutions
    assert np.abs(gradient.data).max() > 1e-6

# %% [markdown]
# The trap: take the penalty's *number* into the loss. It reads the same, and D does not heed it.
# One step of D each way, and one without any penalty:

# %%
def updated(penalty):
    """D's first kernel after one step on loss + 10 * penalty(D), and the loss."""
    copy = dense(2, 16, 16, 1, rng=np.random.default_rng(1))
    real, fake = np.random.default_rng(3).standard_normal((2, 64, 2)).astype(np.float32)
    loss = F.softplus(-copy(real)).mean() + F.softplus(copy(fake)).mean() + 10 * penalty(copy, real)
    loss.backward()
    optim.SGD(copy.parameters(), 0.1).step()
    return copy.layers[0].weight.data, loss.item()


learned, loss_learned = updated(r1_by_hand)
number, loss_number = updated(lambda D, real: r1_by_hand(D, real).item())
nothing, loss_nothing = updated(lambda D, real: 0.0)
assert np.isclose(loss_learned, loss_number) and loss_number > loss_nothing         # the same loss,
assert np.array_equal(number, nothing)                                              # as if there were no penalty,
assert np.abs(learned - number).max() > 1e-3                                        # and only the tape heeds it

# %% [markdown]
# Two relatives that cost less. `minideconv train` takes R1 only in every 4th round and four times
# as much, the same on average (Karras et al. 2020, "lazy regularization"). And *spectral
# normalisation* (Miyato et al. 2018) needs no second gradient: every weight is divided by its
# largest singular value, so that no layer stretches anything, and D, with leaky ReLU between, is
# nowhere steeper than 1.

# %%
calm = normalise(dense(2, 32, 32, 1, rng=np.random.default_rng(4)), rng=np.random.default_rng(5))
points = np.random.default_rng(6).standard_normal((256, 2)).astype(np.float32)
for _ in range(50):
    calm(points)                                    # each look improves its estimates of the singular values
steepest = np.sqrt((slopes(gan.Turn(None, calm, None, None), points).data ** 2).sum(axis=1)).max()
assert steepest <= 1.01

# %% [markdown]
# ## The race
#
# Every loss on eight spots of the plane, with nothing else changed. A sample is *near* within
# three sigma of a spot, and a spot is *covered* once a sample is. G is also averaged, for the last
# section: after each round the weights of a copy move a thousandth of the way towards G's.

# %%
SPOTS = Modes(MODES["ring"].centres, sigma=0.05)
STEPS = 300 if SHORT else 1500


def draw_real(count, rng):
    """(count, 2): points about the eight spots, each as often."""
    spread = SPOTS.sigma * rng.standard_normal((count, 2))
    return (SPOTS.centres[rng.integers(0, 8, count)] + spread).astype(np.float32)


# %%
def race(seed, loss, penalty="none", rate=1e-3):
    """G and the average of its weights, after a game."""
    rng = np.random.default_rng(seed)
    G, D, average = dense(4, 64, 64, 2, rng=rng), dense(2, 64, 64, 1, rng=rng), dense(4, 64, 64, 2, rng=rng)
    running = RunningAverage(average, G)
    adam_g, adam_d = (optim.Adam(network.parameters(), rate, (0.0, 0.99)) for network in (G, D))
    game = with_penalty(gan.LOSSES[loss], gan.PENALTIES[penalty], weight=1.0)
    for step in range(STEPS):
        latents = rng.standard_normal((64, 4), np.float32)
        gan.play_round(gan.Players(G, D, adam_g, adam_d), game, draw_real(64, rng), latents)
        running.follow(step + 1, longest=0.999)
    return G, average


# %%
def judged(G, seed=99):
    """How many of the 8 spots 2500 samples cover, and the share of them near a spot."""
    with md.no_grad():
        found = coverage(G(np.random.default_rng(seed).standard_normal((2500, 4), np.float32)).data, SPOTS)
    return found["modes"], found["high_quality"]


def several(**how):
    """(seeds, 2, 2): for each seed, of G and of its average, the spots and the share near one."""
    return np.array([[judged(G) for G in race(seed, **how)] for seed in SEEDS])


alone = {loss: several(loss=loss) for loss in gan.LOSSES}
for loss, found in alone.items():
    print(f"{loss:12}  spots covered {found[:, 0, 0]}   near one {found[:, 0, 1].round(2)}")
means = np.array([found.mean(axis=0)[0] for found in alone.values()])           # of each loss: spots, near
if not SHORT:
    assert (means[:, 0] > 7.5).all()                                            # each of them works, and
    assert np.ptp(means[:, 1]) < max(np.ptp(found[:, 0, 1]) for found in alone.values())    # seeds differ more

# %% [markdown]
# All cover the spots, and two losses differ less than two seeds of one. Lucic et al. 2018 ("Are
# GANs created equal?") found the same on images: who wins depends more on tuning and luck.
#
# What then do penalties buy? Peace at rates that would otherwise be far too high. The same race at
# thirty times the rate:

# %%
HASTY = [(loss, penalty) for penalty in ("none", "r1") for loss in ("ns", "hinge")]
hasty = {(loss, penalty): several(loss=loss, penalty=penalty, rate=3e-2) for loss, penalty in HASTY}
for (loss, penalty), found in hasty.items():
    print(f"{loss:6} penalty {penalty:5}  spots covered {found[:, 0, 0]}")
spots = np.array([found[:, 0, 0] for found in hasty.values()])                  # (4, seeds), R1 in the later half
if not SHORT:
    assert spots[2:].mean() > spots[:2].mean() + 1                              # R1 keeps what haste would lose

# %% [markdown]
# ## An average costs nothing
#
# G never arrives: it circles around the balance, at a distance that grows with the rate. The
# average of its weights over the last thousand rounds lies nearer to the middle, and is nearly
# free (Yazici et al. 2019). `minideconv train` draws its samples from it.

# %%
games = np.concatenate(list(alone.values()))                                     # (games, 2, 2)
G_near, average_near = games[:, :, 1].mean(axis=0)
print(f"near a spot, over {len(games)} games: G {G_near:.2f}, its average {average_near:.2f}")
if not SHORT:
    assert average_near > G_near + 0.02 and (games[:, 1, 1] > games[:, 0, 1]).mean() > 0.5

# %% [markdown]
# ## A question
#
# Let D be linear: D(x) = <w, x> + b. What is R1, gamma / 2 * mean |dD/dx|^2, for it, and what does
# its gradient do to w in a step of SGD? You know it by another name.
#
# Answer: dD/dx is w for every x, so R1 is gamma / 2 * |w|^2 whatever the data, and its gradient is
# gamma * w: *weight decay*. R1 is weight decay for functions in place of weights: it makes what D
# does at real images small, however many layers it takes to do it.

# %%
gamma, rate = 0.3, 0.1
linear = nn.Linear(2, 1, rng=np.random.default_rng(1))
before = linear.weight.data.copy()
(gamma * r1_by_hand(linear, draw_real(64, np.random.default_rng(2)))).backward()
optim.SGD(linear.parameters(), rate).step()
assert np.allclose(linear.weight.data, (1 - rate * gamma) * before)
print("all claims hold")
