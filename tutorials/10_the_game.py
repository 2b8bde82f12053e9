"""Lesson 10: two networks play a game over single numbers, where both can be drawn."""
# %% [markdown]
# # 10. The game
#
# Takes under a minute on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked, and the pictures show networks
# that have barely begun.
#
# A **generator** G turns random numbers into pictures. Nobody can write down a formula for "looks
# like a digit", so a second network, the **discriminator** D, learns to tell G's pictures from
# real ones, and G learns from D's verdict. The pair is a *generative adversarial network*, a GAN
# (Goodfellow et al. 2014). We play this game by hand over single numbers, where both players can
# be drawn; lesson 11 plays it over digits, with the same dozen lines of code.
#
# You need lesson 2 (a tape finds gradients).

# %%
import inspect
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import gan, nn, optim
from minideconv.draw.figure import PALETTE, keep, new_figure, style

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"

# %% [markdown]
# ## The two players
#
# - `z` is the **latent**: numbers drawn from the normal distribution, the only thing G gets.
#   `G(z)` is a fake.
# - `D(x)` is D's probability that `x` is real. Our D gives its **logit** `s`, any number, and
#   `D(x) = sigmoid(s) = 1 / (1 + exp(-s))`: logit 0 is "could be either", +4 is "98 % sure that it
#   is real", -4 is "98 % sure that it is fake".
#
# The game, in the paper's words and signs: D makes this value as large as it can, and G as small
# as it can.
#
#     min over G, max over D:   mean of log D(x) over real x  +  mean of log(1 - D(G(z))) over z
#
# An optimiser makes things small, so D minimises minus that: a cost of `-log D` for each real, of
# `-log(1 - D)` for each fake. Both are the *cross-entropy* of D's answer. It is computed from the
# logit, which loses no digits where D is very sure.

# %%
def cost_if_real(logits):
    """-log sigmoid(s), averaged: small where D says "real"."""
    return F.binary_cross_entropy_with_logits(logits, np.ones(logits.shape, np.float32))


def cost_if_fake(logits):
    """-log(1 - sigmoid(s)), averaged: small where D says "fake"."""
    return F.binary_cross_entropy_with_logits(logits, np.zeros(logits.shape, np.float32))


s = np.linspace(-5, 5, 11).astype(np.float32)
assert np.isclose(cost_if_real(s).item(), -np.log(1 / (1 + np.exp(-s))).mean())
assert np.isclose(cost_if_fake(s).item(), -np.log(1 - 1 / (1 + np.exp(-s))).mean())

# %% [markdown]
# ## A world of single numbers
#
# The real things are numbers from two hills, at -2 and +2. `p(x)` says how densely they lie. G and
# D are small networks of dense layers.

# %%
def draw_real(count, rng):
    """(count, 1) numbers: half of them around -2, half around +2,
    each hill with standard deviation 0.5.
    """
    return (rng.choice([-2, 2], (count, 1)) + 0.5 * rng.standard_normal((count, 1))).astype(np.float32)


def hill(x, centre, width):
    return np.exp(-0.5 * ((x - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def mlp(rng):
    """1 number -> 32 -> 32 -> 1 number."""
    return nn.Sequential(nn.Linear(1, 32, rng=rng), nn.LeakyReLU(0.2), nn.Linear(32, 32, rng=rng), nn.LeakyReLU(0.2),
                         nn.Linear(32, 1, rng=rng))


x = np.linspace(-6, 6, 1201).astype(np.float32)[:, None]                        # (1201, 1), 0.01 apart
p = (hill(x, -2, 0.5) + hill(x, 2, 0.5)) / 2
assert np.isclose(p.sum() * 0.01, 1)

# %% [markdown]
# ## Claim 1: the best D is p / (p + q), and when G is perfect it costs 2 ln 2
#
# Hold G still and let its fakes have density `q(x)`. At one place x, D pays `-p log D - q log(1 -
# D)`; set the derivative for D to zero, and `D*(x) = p(x) / (p(x) + q(x))`. So a good D *is* a
# comparison of two densities. If G is perfect, `q = p`, then D* is 1/2 everywhere, and it pays
# `-log 1/2 - log 1/2 = 2 ln 2 = 1.386` (Goodfellow et al. 2014, section 4). No D can pay less
# then: whatever its logit l at a place is, it pays `log(1 + exp(-l)) + log(1 + exp(l))` there,
# times p. That is the logarithm of `2 + exp(l) + exp(-l)`, which is at least 4.

# %%
def expected_cost(logits, p, q):
    """What D pays on average for logits (1201, 1) on the line x: an integral, as a sum."""
    return float((p * np.logaddexp(0, -logits) + q * np.logaddexp(0, logits)).sum() * 0.01)


cannot_tell = 2 * np.log(2)
assert np.isclose(expected_cost(0 * x, p, p), cannot_tell)
logits = np.linspace(-30, 30, 601)
paid = np.logaddexp(0, -logits) + np.logaddexp(0, logits)       # for each l, where p = q
assert np.allclose(paid, np.log(2 + 2 * np.cosh(logits)))       # exp(l) + exp(-l) = 2 cosh(l) >= 2
assert np.isclose(paid.min(), cannot_tell) and logits[paid.argmin()] == 0

# %% [markdown]
# Now with a G that is not perfect: one broad hill, `q`. A trained D should come close to D*, and
# pay nearly as little.

# %%
q = hill(x, 0, 2)
best_logits = np.log(p / q)                                 # sigmoid(log(p / q)) = p / (p + q)
rng = np.random.default_rng(1)
lonely = mlp(rng)
adam = optim.Adam(lonely.parameters(), 3e-3, betas=(0.5, 0.999))
for _ in range(200 if SHORT else 1000):
    fakes = (2 * rng.standard_normal((256, 1))).astype(np.float32)
    loss = cost_if_real(lonely(draw_real(256, rng))) + cost_if_fake(lonely(fakes))
    adam.zero_grad()
    loss.backward()
    adam.step()
learned = lonely(x).data
paid, least = expected_cost(learned, p, q), expected_cost(best_logits, p, q)
print(f"D pays {paid:.3f}; the least possible is {least:.3f}; 2 ln 2 is {cannot_tell:.3f}")
assert least - 1e-4 < paid < least + (0.15 if SHORT else 0.03) < cannot_tell

# %%
@style()
def draw_best():
    figure = new_figure(6.5, 2.8, "A trained discriminator compares two densities")
    axes = figure.subplots()
    axes.fill_between(x[:, 0], p[:, 0], color=PALETTE["light"], label="p: density of the real numbers")
    axes.plot(x, q, color=PALETTE["ink"], linewidth=1, label="q: density of the fakes")
    axes.plot(x, 1 / (1 + np.exp(-best_logits)), ":", color=PALETTE["ink"], linewidth=2, label="D* = p / (p + q)")
    axes.plot(x, 1 / (1 + np.exp(-learned)), color=PALETTE["accent"], label="D, trained")
    axes.set(xlabel="x", ylim=(0, 1), xlim=(-6, 6))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


keep(draw_best(), "10_best_discriminator.png")

# %% [markdown]
# ## One round, written out
#
# Each round has two halves. What is *not* trained in a half is as important as what is:
#
# 1. D learns from a batch of real and a batch of fakes. `fake.detach()` is the same array off the
#    tape: D's cost must not move G.
# 2. G learns through the D that has just changed. `inputs=G.parameters()` asks for G's gradients
#    alone. D hands the gradient on to the fake, but the gradients of D's own weights are not asked
#    for and so never computed.
#
# `backward` computes gradients; the optimiser (Adam here) moves the weights. G's aim is to make
# `-log D(G(z))` small, which is not quite the game above: claim 4 says why. G is never shown a
# real number. All that it learns comes through D.

# %%
def d_pays(turn):
    """What D minimises: it should say "real" to the real ones and "fake" to the fakes."""
    return cost_if_real(turn.judge(turn.real)) + cost_if_fake(turn.judge(turn.fake))


def fool(turn):
    """What G minimises: D should say "real" to its fakes."""
    return cost_if_real(turn.judge(turn.fake))


game = gan.Loss(discriminator=d_pays, generator=fool)

# %% [markdown]
# A `turn` is one half of a round: what a player's cost may look at. `turn.judge` is D. The round
# itself is a function of the package, the one that `minideconv train` plays too. Here is its text,
# without the docstring; `_total` adds up the parts of a cost that has several, which ours do not.

# %%
round_text = inspect.getsource(gan.play_round).replace(f'    """{gan.play_round.__doc__}"""\n', "")
print(round_text)
moments = ["fake.detach()", "discriminator_optimizer.step()", "fake=fake", "generator_optimizer.step()"]
assert sorted(moments, key=round_text.index) == moments         # D has moved before G's half begins


def play(players, real, z, loss=game):
    """One round on a batch; gives what D paid and what G paid.
    real (N, ...) and z (N, latent) are arrays.
    """
    return tuple(gan.play_round(players, loss, real, z).values())


# %% [markdown]
# ## Claim 2: freezing a network needs no switch
#
# A detached fake leads nowhere: G gets no gradient. With `inputs=`, D gets none, and G gets
# exactly the gradient that it would get from a `backward` through everything.

# %%
def new_players(G, D, rate, beta1):
    adam_g, adam_d = (optim.Adam(network.parameters(), rate, (beta1, 0.999)) for network in (G, D))
    return gan.Players(G, D, adam_g, adam_d)


# %%
rng = np.random.default_rng(0)
players = new_players(mlp(rng), mlp(rng), rate=1e-3, beta1=0.5)
G, D, optimizer_g, optimizer_d = players
fake = G(rng.standard_normal((128, 1), np.float32))
cost_if_fake(D(fake.detach())).backward()
assert all(weight.grad is None for weight in G.parameters())
optimizer_d.zero_grad()
cost_if_real(D(fake)).backward(inputs=G.parameters())
asked = [weight.grad for weight in G.parameters()]
assert all(weight.grad is None for weight in D.parameters())
optimizer_g.zero_grad()
cost_if_real(D(fake)).backward()
assert all(np.array_equal(weight.grad, gradient) for weight, gradient in zip(G.parameters(), asked, strict=True))

# %% [markdown]
# ## Claim 3: the fakes move onto the real numbers
#
# How far off is G? Sort 2000 fakes and 2000 reals and take the mean gap between partners: how far
# a number has to travel on average (the *Wasserstein distance*). It is our yardstick; the players
# never see it.

# %%
def way_to_travel(G, rng):
    fakes = G(rng.standard_normal((2000, 1), np.float32)).data
    return float(np.abs(np.sort(fakes[:, 0]) - np.sort(draw_real(2000, rng)[:, 0])).mean())


rng = np.random.default_rng(2)
G, D = mlp(rng), mlp(rng)
players = new_players(G, D, rate=1e-3, beta1=0.5)
costs, ways, moments = [], [], {}
for step in range(401 if SHORT else 1601):
    if step % 25 == 0:
        ways.append(way_to_travel(G, np.random.default_rng(7)))
        z = np.random.default_rng(8).standard_normal((4000, 1), np.float32)
        moments[step] = G(z).data[:, 0], F.sigmoid(D(x)).data[:, 0]
    costs.append(play(players, draw_real(128, rng), rng.standard_normal((128, 1), np.float32)))
print(f"way to travel: {ways[0]:.2f} at first, {np.mean(ways[-8:]):.2f} at the end")
assert np.mean(ways[-8:]) < 0.5 * ways[0]


# %%
@style()
def draw_game():
    figure = new_figure(7.5, 3.8,
                        "Sand: the real density. Dark steps: the fakes. Red line: D's probability of \"real\"")
    chosen = [0, 25, 50, 100, 200, 400] if SHORT else [0, 50, 100, 200, 600, 1600]
    for axes, step in zip(figure.subplots(2, 3, sharex=True, sharey=True).flat, chosen, strict=True):
        fakes, verdict = moments[step]
        axes.fill_between(x[:, 0], p[:, 0], color=PALETTE["light"])
        axes.hist(fakes, bins=np.linspace(-6, 6, 81), density=True, histtype="step", color=PALETTE["dark"])
        axes.plot(x, verdict, color=PALETTE["accent"])
        axes.set(xlim=(-5, 5), ylim=(0, 1.2), title=f"after {step} rounds")
    return figure


keep(draw_game(), "10_game.png")

# %% [markdown]
# D stands high where fakes are missing, G moves there, and D's line sinks towards 1/2. A few fakes
# stay between the hills: G is continuous, so as z goes from small to large its output has to cross
# the valley somewhere. And the game does not come to rest: G overshoots, D answers, and the two go
# on circling around the balance. The best G is not the last one.
#
# **Question.** Here is what both paid, averaged over the first 5 and over the last 100 rounds. Can
# you tell from these four numbers at which time G was better?

# %%
first_d, first_g = np.mean(costs[:5], axis=0)
last_d, last_g = np.mean(costs[-100:], axis=0)
print(f"D paid {first_d:.2f}, then {last_d:.2f}; G paid {first_g:.2f}, then {last_g:.2f}")

# %% [markdown]
# **Answer:** no. All four say "D cannot tell": `2 ln 2 = 1.386` for D, `ln 2 = 0.693` for G. At
# first because D had learned nothing, at the end because G had learned nearly everything. A loss
# is measured against an opponent: it says who is ahead, not how good both are.

# %%
assert abs(first_d - cannot_tell) < 0.15 and abs(last_d - cannot_tell) < 0.15
assert abs(first_g - cannot_tell / 2) < 0.15 and abs(last_g - cannot_tell / 2) < 0.15
assert ways[0] > 2 * np.mean(ways[-8:])                         # and yet the fakes have come a long way


# %%
@style()
def draw_costs():
    figure = new_figure(7.5, 2.6, "The losses end where they began, but the fakes do not")
    left, right = figure.subplots(1, 2)
    left.plot([d for d, g in costs], color=PALETTE["dark"], linewidth=0.6, label="D pays")
    left.plot([g for d, g in costs], color=PALETTE["accent"], linewidth=0.6, label="G pays")
    for level in (cannot_tell, cannot_tell / 2):
        left.axhline(level, color=PALETTE["ink"], linestyle=":", linewidth=1)
    left.set(xlabel="round", ylabel="loss", ylim=(0, 2), title="dotted: 2 ln 2 and ln 2")
    left.legend(ncols=2, loc="lower center")
    right.plot(25 * np.arange(len(ways)), ways, color=PALETTE["ink"])
    right.set(xlabel="round", ylabel="way to travel", ylim=(0, None),
              title="how far the fakes are from the real numbers")
    return figure


keep(draw_costs(), "10_toy_losses.png")

# %% [markdown]
# ## Claim 4: the game as written is flat where G is worst
#
# In the game, G would minimise `log(1 - D(G(z)))`. The slope of that for the logit s is
# `-sigmoid(s)`. When G is bad, D is sure and s is very negative, and then the slope is almost
# zero: the worse G is, the less it is told. The loss *saturates*. G in practice minimises `-log
# D(G(z))`: it wants the same, but its slope is `-sigmoid(-s)`, close to -1 there. The second is
# `exp(-s)` times the first: 403 times at s = -6. (Goodfellow et al. 2014 say this in section 3,
# and trained this way.)

# %%
def fool_as_in_the_game(turn):
    """Minimise log(1 - D(G(z))), the minimax game itself."""
    return -cost_if_fake(turn.judge(turn.fake))


s = md.Tensor(np.linspace(-8, 8, 161), requires_grad=True)
# A "D" that hands on what it is given.
just_logits = gan.Turn(generator=None, discriminator=lambda logits: logits, real=None, fake=s)
slopes = {}
for aim in (fool, fool_as_in_the_game):
    total = aim(just_logits) * s.size                           # the sum, not the mean
    slopes[aim] = md.grad(total, s)[0].data
assert np.allclose(slopes[fool], -1 / (1 + np.exp(s.data)))
assert np.allclose(slopes[fool], np.exp(-s.data) * slopes[fool_as_in_the_game])

# %% [markdown]
# A race shows it. G starts far to the left, at -6, and D is trained alone for 200 rounds before G
# may move. G takes plain gradient steps (SGD).

# %%
def race(aim, rounds, make_optimizer):
    """Mean of G's fakes, round by round."""
    rng = np.random.default_rng(0)
    G, D = mlp(rng), mlp(rng)
    G.layers[-1].bias.data -= 6
    waiting, adam_d = optim.SGD(G.parameters(), 0), optim.Adam(D.parameters(), 1e-3, (0.5, 0.999))
    players, loss, means = gan.Players(G, D, waiting, adam_d), gan.Loss(d_pays, aim), []
    for _ in range(200):
        play(players, draw_real(128, rng), rng.standard_normal((128, 1), np.float32), loss)
    players = players._replace(generator_optimizer=make_optimizer(G.parameters()))
    for _ in range(rounds):
        z = rng.standard_normal((128, 1), np.float32)
        means.append(float(G(z).data.mean()))
        play(players, draw_real(128, rng), z, loss)
    return means


# %%
rounds = 40 if SHORT else 200
routes = {aim: race(aim, rounds, lambda weights: optim.SGD(weights, 0.05)) for aim in slopes}
moved = {aim: abs(route[rounds - 1] - route[0]) for aim, route in routes.items()}
print(f"G's fakes moved by {moved[fool]:.2f}; in the game as written by {moved[fool_as_in_the_game]:.2f}")
assert moved[fool] > 4 and moved[fool_as_in_the_game] < 1

rescued = race(fool_as_in_the_game, rounds, lambda weights: optim.Adam(weights, 1e-3, (0.5, 0.999)))
print(f"the game as written, but with Adam: {abs(rescued[-1] - rescued[0]):.2f}")
assert abs(rescued[-1] - rescued[0]) > 3 * moved[fool_as_in_the_game]

# %% [markdown]
# The last lines are a warning to those who test this at home: Adam divides each gradient by its
# usual size, so a gradient that is *evenly* small does it little harm. What remains is that in one
# batch the good fakes push and the bad ones are not heard.

# %%
@style()
def draw_flat():
    figure = new_figure(7.5, 2.8)
    left, right = figure.subplots(1, 2)
    for aim, name, line in ((fool, "-log D, in practice", "-"), (fool_as_in_the_game, "log(1 - D), the game", "--")):
        colour = PALETTE["dark" if aim is fool else "accent"]
        left.plot(s.data, slopes[aim], line, color=colour, label=name)
        right.plot(routes[aim], line, color=colour)
    left.set(xlabel="logit s of a fake (left: D is sure that it is fake)", ylim=(-1.05, 0.45))
    left.set(ylabel="slope of G's loss", title="What a fake is told")
    right.set(xlabel="round", ylabel="mean of the fakes", title="The race from -6, with plain gradient steps")
    left.legend(loc="upper center")
    right.axhline(0, color=PALETTE["ink"], linestyle=":", linewidth=1, label="mean of the real numbers")
    right.legend(loc="lower right", bbox_to_anchor=(1, 0.12))
    return figure


# %%
keep(draw_flat(), "10_flat.png")

# %% [markdown]
# ## What to keep
#
# - A round: D on reals and detached fakes; then G through the new D, asking for G's gradients
#   alone.
# - G maximises `log D(G(z))`. The minimax loss is flat where G is worst.
# - `2 ln 2` means "D cannot tell". It says nothing about how good either is. Judge by samples, and
#   by a measure the players never see.
#
# Sources: I. Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661; D. Kingma and
# J. Ba, "Adam", 2015, arXiv:1412.6980.
