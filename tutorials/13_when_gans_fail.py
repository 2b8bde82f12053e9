"""Lesson 13: three ways in which a GAN fails, the instrument that shows each, and what helps,
measured over three seeds; then a patient for the reader.
"""
# %% [markdown]
# # 13. When GANs fail
#
# Takes 3 minutes on 2 cores, and half a minute with `MINIDECONV_SHORT=1`, where only the claims
# that need little training are checked.
#
# A classifier that fails says so: its loss stays high. A GAN's losses say little, because each
# measures *this* opponent (lesson 10). So a failing GAN has to be seen by other instruments. Here
# are three famous failures, each provoked on purpose, in a world so small that all of it can be
# drawn: eight spots on a circle. For each we take down the **symptom** (what is wrong with the
# samples), the **instrument** (the number that shows it while training) and the **remedy**, over
# three seeds: one seed proves nothing about a game this nervous. Then there is a patient for you.
#
# You need lesson 10 (the game). The instruments are those of `minideconv train`, which warns while
# it trains and draws `health.png`.

# %%
import os

import numpy as np

import minideconv as md
from minideconv import gan, nn, optim
from minideconv.data.points import MODES, Modes
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.gan.health import Health, draw, effective, examine, judge_of, norms_of
from minideconv.gan.penalties import with_penalty
from minideconv.metrics.modes import coverage

# %%
SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SEEDS = range(1 if SHORT else 3)
STEPS = 300 if SHORT else 2000
SPOTS = Modes(MODES["ring"].centres, sigma=0.05)            # eight places of the unit circle


def draw_real(count, rng):
    """(count, 2): points about the eight spots, each as often."""
    spread = SPOTS.sigma * rng.standard_normal((count, 2))
    return (SPOTS.centres[rng.integers(0, 8, count)] + spread).astype(np.float32)


def draw_latents(count, rng):
    """(count, 4): numbers from N(0, 1)."""
    return rng.standard_normal((count, 4), np.float32)

# %% [markdown]
# ## A game in which everything can be wrong
#
# Both players are small dense networks. What a run may do wrong is an argument: how fast each
# player learns, Adam's betas, the loss, the penalty, and whether D begins with a head start.

# %%
def dense(*sizes, rng):
    """Dense layers with leaky ReLU between them; sizes: of the input, the hidden layers, the output."""
    layers = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(inputs, outputs, rng=rng), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


# %%
class Game:
    """One run: what `examine`, the watcher of `minideconv train`, wants to see of a trainer."""

    def __init__(self, seed, *, rate_g=1e-3, rate_d=1e-3, betas=(0.5, 0.999), loss="ns", penalty="none"):
        self.rng, self.steps_done = (rng := np.random.default_rng(seed)), 0
        self.generator, self.discriminator = dense(4, 64, 64, 2, rng=rng), dense(2, 64, 64, 1, rng=rng)
        self.adam_g = optim.Adam(self.generator.parameters(), rate_g, betas)
        self.adam_d = optim.Adam(self.discriminator.parameters(), rate_d, betas)
        self.loss = with_penalty(gan.LOSSES[loss], gan.PENALTIES[penalty], weight=0.1)

    def step(self):
        self.steps_done += 1
        players = gan.Players(self.generator, self.discriminator, self.adam_g, self.adam_d)
        return gan.play_round(players, self.loss, draw_real(64, self.rng), draw_latents(64, self.rng))

    def samples(self, count=500):
        with md.no_grad():                          # always of the same latents
            return self.generator(draw_latents(count, np.random.default_rng(99))).numpy()

# %% [markdown]
# `Health` watches a run and says in words what it sees, each thing once. Besides losses it knows
# G's gradient, the distances of samples from each other, and (where there is somebody who can tell
# classes apart; here: the nearest spot) how many classes they are of, as the exponential of the
# entropy: 8 where all spots are equally frequent, 1 where all samples are at one.

# %%
def play(seed, head_start=0, steps=STEPS, **faults):
    """Play a run and watch it: (Game, Health)."""
    game = Game(seed, **faults)
    rate, game.adam_g.lr = game.adam_g.lr, 0.0              # in a head start G stands still
    rate_d, game.adam_d.lr = game.adam_d.lr, 5e-3 if head_start else game.adam_d.lr
    for _ in range(head_start):
        game.step()
    game.adam_g.lr, game.adam_d.lr, game.steps_done = rate, rate_d, 0
    health = Health(game.loss.balance, draw_real(256, np.random.default_rng(7)), classify=nearest_spot)
    for _ in range(steps):
        examine(health, game, game.step())              # gives its warnings as text; health.said keeps their kinds
    return game, health


nearest_spot = judge_of("ring", (2,))               # points (N, 2) -> the numbers of their nearest spots

# %%
def ward(name, **faults):
    """Several seeds of a run: what was played, and how many spots each covered."""
    print(name)
    played = [play(seed, **faults) for seed in SEEDS]
    spots = [coverage(game.samples(2500), SPOTS)["modes"] for game, _ in played]
    kinds = [effective(nearest_spot(game.samples(2500))) for game, _ in played]
    print(f"   spots covered: {spots}, classes by entropy: {[round(kind, 1) for kind in kinds]}, "
          f"warnings: {[', '.join(health.said) for _, health in played]}")
    return played, np.array(spots), np.array(kinds)


healthy, spots, kinds = ward("healthy: Adam 1e-3 with betas (.5, .999), non-saturating loss")
if not SHORT:
    assert (spots == 8).all() and (kinds > 7).all()
    assert not any(health.said for _, health in healthy)            # and the watcher keeps silent

# %% [markdown]
# ## Failure 1: collapse
#
# Let G learn ten times as fast as D.
#
# **Symptom.** All samples are at one or two spots, and hop to another when D has noticed. Each
# single sample would pass; together they are a disaster. That is *mode collapse*.
#
# **Instrument.** Not the losses: D pays 1.386 and G 0.693, to the second digit what they pay when
# G is perfect! What shows it are the distances between samples, and their classes.
#
# **Remedy.** The one that everybody recommends first, R1 (lesson 14), does not help here: the
# cause is that G finds D's weakest place and is there with everything before D can answer. Equal
# rates help. (The other way round, a D that learns faster, is common practice since Heusel et al.
# 2017.)

# %%
collapsed, spots_collapsed, kinds_collapsed = ward("G ten times as fast", rate_g=1e-2)
_, spots_r1, kinds_r1 = ward("the same with R1", rate_g=1e-2, penalty="r1")
if not SHORT:
    assert kinds_collapsed.max() < 4 < kinds.min() and kinds_r1.max() < 4
    assert all({"classes", "collapse"} & set(health.said) for _, health in collapsed)
    late = np.mean([health.measured[-50:, 1:3].mean(axis=0) for _, health in collapsed], axis=0)
    print(f"   at the end D pays {late[0]:.3f} and G {late[1]:.3f}")
    assert np.allclose(late, [2 * np.log(2), np.log(2)], atol=0.05)         # the losses of a perfect G

# %% [markdown]
# ## Failure 2: a D that is too strong
#
# Let D play 500 rounds against a G that stands still, and let G then play the game as it is
# written (`minimax`).
#
# **Symptom.** G hardly gets going; where it ends is an accident.
#
# **Instrument.** D's loss is near 0 from the first round, and G's gradient shows what that means.
# Here is that gradient for the same two networks in the first round, with `minimax` and with `ns`.

# %%
def first_gradient(seed, loss):
    """What D pays in the first round after a head start, and the root mean square of G's gradient."""
    game, _ = play(seed, head_start=500, steps=0)           # no step: both players as the head start left them
    game.loss, game.adam_g.lr, game.adam_d.lr = gan.LOSSES[loss], 0.0, 0.0
    paid = game.step()["discriminator_loss"]
    return paid, norms_of(game.generator, game.discriminator)["generator_gradient"]


for seed in SEEDS:
    (paid, flat), (_, steep) = first_gradient(seed, "minimax"), first_gradient(seed, "ns")
    print(f"   D pays {paid:.5f}; G's gradient with minimax {flat:.1e}, with ns {steep:.1e}")
    assert paid < 0.02 and flat < steep / 100

# %% [markdown]
# The slope of `log(1 - D)` along the logit t is `-sigmoid(t)`, that of `-log D` is `sigmoid(t) -
# 1`: where D is sure, at t = -8, one is 1/3000 and the other 1 (Goodfellow et al. 2014, section 3;
# Arjovsky and Bottou 2017 measured the same on images).
#
# **Remedy.** The loss that does not saturate. Or R1, from the head start on: it never lets D
# become so steep.

# %%
HEAD = {"head_start": 500}
stuck, spots_stuck, kinds_stuck = ward("minimax after D's head start", loss="minimax", **HEAD)
moved, spots_moved, kinds_moved = ward("ns after D's head start", **HEAD)
_, spots_soft, kinds_soft = ward("minimax with R1 after D's head start", loss="minimax", penalty="r1", **HEAD)
if not SHORT:
    assert kinds_stuck.mean() < 0.8 * min(kinds_moved.mean(), kinds_soft.mean())
    assert all(health.said for _, health in stuck) and (spots_moved >= 7).all() and (spots_soft >= 7).all()

# %% [markdown]
# ## Failure 3: the wrong betas
#
# Adam moves along an average of past gradients; beta1 says how long it remembers. In
# classification .9 is a fine default. In a game the other player moves meanwhile, and an average
# of gradients against opponents of long ago points past the balance: the players swing around it,
# as two people do who correct the same steering wheel too late. DCGAN's .5 (Radford et al. 2015)
# and 0 are no superstition. We take .99, to see it quickly.
#
# **Symptom.** The samples wander together. **Instrument.** D's loss swings far on both sides of
# 1.386. **Remedy.** A short memory.

# %%
swinging, spots_swinging, kinds_swinging = ward("betas (.99, .999)", betas=(0.99, 0.999))


def swing(health):
    """The range in which D's loss was in the later half of a run, without the tenth at either end."""
    low, high = np.quantile(health.measured[len(health.measured) // 2:, 1], (0.1, 0.9))
    return high - low


swings = [swing(health) for _, health in swinging], [swing(health) for _, health in healthy]
print(f"   D's loss swings by {np.round(swings[0], 2)}, in healthy runs by {np.round(swings[1], 2)}")
if not SHORT:
    assert min(swings[0]) > 3 * max(swings[1]) and kinds_swinging.max() < kinds.min()

# %%
@style()
def draw_failures():
    figure = new_figure(7.4, 4.4, "Three failures: samples (vermilion) over the spots, and what shows them")
    panels = figure.subplots(2, 4, gridspec_kw={"height_ratios": (1.2, 1)})
    wards = {"healthy": healthy, "1: G too fast": collapsed, "2: D too strong": stuck, "3: wrong betas": swinging}
    for (upper, lower), (name, [(game, health), *_]) in zip(panels.T, wards.items(), strict=True):
        upper.scatter(*draw_real(400, np.random.default_rng(5)).T, s=4, c=PALETTE["middle"], linewidths=0)
        upper.scatter(*game.samples().T, s=4, c=PALETTE["accent"], linewidths=0)
        upper.set(title=name, xlim=(-1.7, 1.7), ylim=(-1.7, 1.7), xticks=[], yticks=[], aspect="equal")
        lower.plot(*health.measured[:, :2].T, color=PALETTE["dark"], linewidth=0.8)
        lower.plot(*health.looked[:, ::2].T, "--", color=PALETTE["accent"])
        lower.set(ylim=(0, 3), xlabel="round", xticks=[0, STEPS])
    panels[1, 0].set_ylabel("blue: D's loss\nvermilion: classes,\nin parts of the real ones'")
    return figure


keep(draw_failures(), "13_failures.png")

# %% [markdown]
# Read the lower row once more. In the first failure D's loss is the calmest of all. A balance of
# the losses says that the players are equal, not that they are good.
#
# ## A question: the patient
#
# This run failed on every seed. You are told no setting, only what `health.png` shows. Is it
# failure 1 (G too fast), 2 (D too strong), 3 (wrong betas), or something else? Which single
# setting would you change? Decide, before you read on, from the height of D's loss. Two hints: the
# rates are equal, the betas (.5, .999).

# %%
def patient(remedy="none"):
    return ward(f"the patient, penalty {remedy}", loss="wasserstein", penalty=remedy)


ill, spots_ill, kinds_ill = patient()
keep(draw(ill[0][1]), "13_patient.png")

# %% [markdown]
# Answer: a cross-entropy cannot be negative, and this D pays less than nothing. So the loss is
# none: it is `D(G(z)) - D(x)`, Wasserstein's, which means something for a D of bounded slope only
# (lesson 14). Nothing bounds it here: D gains by becoming steeper, and the players swing ever
# wider. The missing part is a penalty on the slopes. The prescription is tried:

# %%
assert all(health.measured[:, 1].min() < -0.1 for _, health in ill)
cured, spots_cured, kinds_cured = patient("r1")
if not SHORT:
    assert spots_ill.mean() + 2 < spots_cured.mean() and kinds_ill.max() < kinds_cured.min()
    swings = [swing(health) for _, health in ill], [swing(health) for _, health in cured]
    assert np.mean(swings[0]) > 2 * np.mean(swings[1])
print("all claims hold")
