"""Lesson 10: two networks play a game over single numbers, where both can be drawn."""
# %% [markdown]
# # 10. The game
#
# Takes a minute on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes seconds;
# the claims that need real training are then not checked.
#
# A **generator** G turns random numbers into pictures. Nobody can write down a formula for "looks
# like a digit", so a second network, the **discriminator** D, learns to tell G's pictures from real
# ones, and G learns from D's verdict: a *generative adversarial network*, GAN (Goodfellow et al.
# 2014). Here they play over single numbers, where both can be drawn; lesson 11 plays over digits.
# You need lessons 2 (a tape finds gradients) and 3 (an optimiser follows them).

# %%
import inspect
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import gan, nn, optim
from minideconv.draw.figure import PALETTE, keep, new_figure, style

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
ROUNDS, EVERY = 400 if SHORT else 1600, 25          # of a game, and between two looks at it

# %% [markdown]
# ## The two players
#
# - `z` is the **latent**: normal random numbers, the only thing G gets. `G(z)` is a fake.
# - `D(x)` is D's probability that `x` is real. Our D gives its **logit** `s`, any number, and
#   `D(x) = sigmoid(s) = 1 / (1 + exp(-s))`: logit 0 is "could be either", +4 is "98 % sure that it
#   is real", -4 is "98 % sure that it is fake".
#
#     the game:  min over G, max over D:  mean of log D(x) over real x + mean of log(1 - D(G(z))) over z
#
# An optimiser makes things small, so D minimises minus that: a cost of `-log D` for each real, of
# `-log(1 - D)` for each fake, its *cross-entropy*. From the logit these are `softplus(-s)` and
# `softplus(s)`, `softplus(s) = log(1 + exp(s))`, which lose no digits where D is very sure.

# %%
def cost_if_real(s):
    """-log sigmoid(s), averaged: small where D says "real"."""
    return F.softplus(-s).mean()


def cost_if_fake(s):
    """-log(1 - sigmoid(s)), averaged: small where D says "fake"."""
    return F.softplus(s).mean()


s = md.Tensor(np.linspace(-5, 5, 10))
assert np.isclose(cost_if_real(s).item(), -np.log(1 / (1 + np.exp(-s.data))).mean())
assert np.isclose(cost_if_fake(s).item(), -np.log(1 - 1 / (1 + np.exp(-s.data))).mean())

# %%
def draw_real(count, rng):
    """(count, 1) numbers, half around -2, half around +2, each hill with standard deviation 0.5."""
    return (rng.choice([-2, 2], (count, 1)) + 0.5 * rng.standard_normal((count, 1))).astype(np.float32)


def hill(centre, width):                            # the density of a normal distribution
    return np.exp(-0.5 * ((x - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))


def mlp(rng):
    """1 number -> 32 -> 32 -> 1 number."""
    return nn.Sequential(nn.Linear(1, 32, rng=rng), nn.LeakyReLU(0.2), nn.Linear(32, 32, rng=rng), nn.LeakyReLU(0.2),
                         nn.Linear(32, 1, rng=rng))


x = np.linspace(-6, 6, 1201).astype(np.float32)[:, None]                        # (1201, 1), 0.01 apart
p = (hill(-2, 0.5) + hill(2, 0.5)) / 2                                          # density of the real numbers

# %% [markdown]
# ## Claim 1: the best D is p / (p + q), and when G is perfect it costs 2 ln 2
#
# Hold G still and let its fakes have density `q(x)`. At one place x, D pays `-p log D - q log(1 -
# D)`; set the derivative for D to zero, and `D*(x) = p(x) / (p(x) + q(x))`: a good D *is* a
# comparison of two densities. If G is perfect, `q = p`, D* is 1/2 everywhere and pays `2 ln 2 =
# 1.386` (Goodfellow et al. 2014, section 4). No D pays less then: with logit l it pays `log(1 +
# exp(l)) + log(1 + exp(-l))` at each place, times p; that is the logarithm of `2 + exp(l) +
# exp(-l)`, which is at least 4.

# %%
def expected_cost(logits):
    """What D pays for logits (1201, 1) on the line x: an integral, as a sum."""
    return float((p * np.logaddexp(0, -logits) + q * np.logaddexp(0, logits)).sum() * 0.01)


cannot_tell = 2 * np.log(2)
l = np.linspace(-30, 30, 601)
paid = np.logaddexp(0, l) + np.logaddexp(0, -l)                 # for each logit l, where p = q
assert np.allclose(paid, np.log(2 + np.exp(l) + np.exp(-l)))
assert (paid >= cannot_tell - 1e-12).all() and l[paid.argmin()] == 0

# %% [markdown]
# Now fakes that are not perfect: one broad hill, `q`. A D that trains on them comes close to D*.

# %%
def fresh_judge(draw_fakes, seed):
    """A new D, trained alone against fakes that stay as they are; draw_fakes(count, rng) -> (count, 1)."""
    D = mlp(rng := np.random.default_rng(seed))
    adam = optim.Adam(D.parameters(), 3e-3, betas=(0.5, 0.999))
    for _ in range(200 if SHORT else 1000):
        loss = cost_if_real(D(draw_real(256, rng))) + cost_if_fake(D(draw_fakes(256, rng)))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return D


q = hill(0, 2)
lonely = fresh_judge(lambda count, rng: (2 * rng.standard_normal((count, 1))).astype(np.float32), seed=1)
paid, least = expected_cost(lonely(x).data), expected_cost(np.log(p / q))       # sigmoid(log(p / q)) = p / (p + q)
print(f"D pays {paid:.3f}; the least possible is {least:.3f}; 2 ln 2 is {cannot_tell:.3f}")
assert least - 1e-4 < paid < least + (0.15 if SHORT else 0.03) < cannot_tell

# %% [markdown]
# ## One round
#
# 1. D learns from real numbers and fakes. `fake.detach()` is the same array off the tape: D's cost
#    must not move G.
# 2. G learns through the D that has just changed. `inputs=` asks for the gradients of G's weights
#    alone. G is never shown a real number: all that it learns comes through D.
#
# A `turn` is what a player's cost may look at, `turn.judge` is D. G makes `-log D(G(z))` small: claim
# 4 says why. The round itself is the one of `minideconv train`; its text is printed.

# %%
def d_pays(turn):
    """What D minimises: it should say "real" to the real ones and "fake" to the fakes."""
    return cost_if_real(turn.judge(turn.real)) + cost_if_fake(turn.judge(turn.fake))


def fool(turn):
    """What G minimises: D should say "real" to its fakes."""
    return cost_if_real(turn.judge(turn.fake))


print(inspect.getsource(gan.play_round).replace(f'    """{gan.play_round.__doc__}"""\n', ""))

# %% [markdown]
# **Claim 2: freezing a network needs no switch.** A detached fake gives G no gradient; with
# `inputs=`, D's stay as they are.

# %%
def latents(count, rng):
    return rng.standard_normal((count, 1), np.float32)


def new_players(seed):
    rng = np.random.default_rng(seed)
    G, D = mlp(rng), mlp(rng)
    return rng, gan.Players(G, D, *(optim.Adam(player.parameters(), 1e-3, (0.5, 0.999)) for player in (G, D)))


rng, (G, D, _, _) = new_players(seed=0)
fake = G(latents(128, rng))
cost_if_fake(D(fake.detach())).backward()
assert all(weight.grad is None for weight in G.parameters())
before = [weight.grad.copy() for weight in D.parameters()]
cost_if_real(D(fake)).backward(inputs=G.parameters())
assert all(np.array_equal(weight.grad, old) for weight, old in zip(D.parameters(), before, strict=True))

# %% [markdown]
# ## Claim 3: the fakes move onto the real numbers
#
# How far off is G? Sort 2000 fakes and 2000 reals and take the mean gap between partners: how far
# a number has to travel (the *Wasserstein distance*). The players never see it.

# %%
def play_game(seed):
    """G, what D and G paid (ROUNDS, 2), and every 25 rounds the way to travel, fakes and D's verdict on the line x."""
    rng, players = new_players(seed)
    costs, ways, seen = [], [], {}
    for step in range(ROUNDS + 1):
        if step % EVERY == 0:
            fakes = players.generator(latents(4000, np.random.default_rng(8))).data[:, 0]
            seen[step] = fakes, F.sigmoid(players.discriminator(x)).data[:, 0]
            ways.append(np.abs(np.sort(fakes[:2000]) - np.sort(draw_real(2000, np.random.default_rng(7))[:, 0])).mean())
        losses = gan.play_round(players, gan.Loss(d_pays, fool), draw_real(128, rng), latents(128, rng))
        costs.append(tuple(losses.values()))
    return players.generator, np.array(costs), np.array(ways), seen


# %%
games = [play_game(seed) for seed in ([2] if SHORT else [2, 3, 4])]
for _, _, ways, _ in games:
    print(f"way to travel: {ways[0]:.2f}, {ways.min():.2f} after {EVERY * ways.argmin()}, {ways[-8:].mean():.2f} last")
    assert ways[-8:].mean() < 0.5 * ways[0]
    assert SHORT or ways.min() < 0.75 * ways[-8:].mean()

# %% [markdown]
# D stands high where fakes are missing, G moves there, and D's line sinks towards 1/2. But the game
# does not come to rest: G overshoots, D answers, and the two circle. The best G is not the last.
#
# **Question.** Here is what D and G paid in the first 5 and in the last 100 rounds of each game.
# When was G better? And is it perfect at the end, so that nobody can tell?

# %%
judges, floors = [], []
for G, costs, _, _ in games:
    print("D and G paid", costs[:5].mean(axis=0).round(2), "at first,", costs[-100:].mean(axis=0).round(2), "at last")
    for paid in (costs[:5], costs[-100:]):
        assert np.abs(paid.mean(axis=0) - [cannot_tell, cannot_tell / 2]).max() < 0.2
    judges.append(fresh_judge(lambda count, rng, G=G: G(latents(count, rng)).data, seed=100))
    rng = np.random.default_rng(9)                              # numbers that the judge has not seen
    floors.append((cost_if_real(judges[-1](draw_real(20_000, rng)))
                   + cost_if_fake(judges[-1](G(latents(20_000, rng)).data))).item())
print(f"a fresh D pays {np.round(floors, 2)} for the final fakes")
assert max(floors) < cannot_tell - (0.02 if SHORT else 0.1)

# %% [markdown]
# **Answer.** The numbers cannot say, and it is not. All read "D cannot tell" (2 ln 2 = 1.386 for D,
# ln 2 = 0.693 for G): at first because D has learned nothing, at last because *this* D is a step
# behind a G that keeps moving. A **fresh** D that trains alone on the final fakes tells them apart
# and pays less. The loss measures this opponent: who is ahead, not how good either is.

# %%
@style()
def draw_game(G, costs, ways, seen):
    figure = new_figure(7.5, 5.4, 'Sand: real. Dark: fakes. Red: D\'s probability of "real". Dashed: a fresh D\'s')
    upper, lower = figure.subfigures(2, 1, height_ratios=(2, 1.1))
    best = EVERY * int(ways.argmin())
    panels = upper.subplots(2, 3, sharex=True, sharey=True)
    for axes, step in zip(panels.flat, [0, 50, 100, 200, best, ROUNDS], strict=True):
        axes.fill_between(x[:, 0], p[:, 0], color=PALETTE["light"])
        axes.hist(seen[step][0], np.linspace(-6, 6, 81), density=True, histtype="step", color=PALETTE["dark"])
        axes.plot(x, seen[step][1], color=PALETTE["accent"])
        axes.set(xlim=(-5, 5), ylim=(0, 1.2), title=f"after {step} rounds{', the best' * (step == best)}")
    axes.plot(x, F.sigmoid(judges[0](x)).data, "--", color=PALETTE["ink"])
    draw_curves(*lower.subplots(1, 2), costs, ways)
    return figure


# %%
def draw_curves(left, right, costs, ways):
    for height, line, name in ((cannot_tell, ":", "2 ln 2"), (floors[0], "--", "fresh D")):
        left.axhline(height, color=PALETTE["ink"], linestyle=line, label=name)
    for place, name, colour in ((0, "D pays", "dark"), (1, "G pays", "accent")):
        left.plot(costs[:, place], color=PALETTE[colour], linewidth=0.6, label=name)
    left.set(xlabel="round", ylim=(0, 2), title="losses end where they began")
    left.legend(ncols=4, loc="lower center", columnspacing=1, handlelength=1.2)
    right.plot(EVERY * np.arange(len(ways)), ways, color=PALETTE["ink"])
    right.plot(EVERY * ways.argmin(), ways.min(), "o", color=PALETTE["accent"])
    right.set(xlabel="round", ylim=(0, None), title="way to travel (dot: the best)")


keep(draw_game(*games[0]), "10_game.png")

# %% [markdown]
# ## Claim 4: the game as written is flat where G is worst
#
# There, G would minimise `log(1 - D(G(z)))`, whose slope for the logit s is `-sigmoid(s)`. When G is
# bad, D is sure, s is very negative, and the slope almost zero: the worse G is, the less it is told.
# The loss *saturates*. `-log D(G(z))` wants the same, with the slope `-sigmoid(-s)`: 403 times as
# much at s = -6 (Goodfellow et al. 2014, section 3, trained this way). A race: G starts at -6, D
# trains alone for 200 rounds, then G takes plain gradient steps.

# %%
def fool_as_in_the_game(turn):
    """Minimise log(1 - D(G(z))), the minimax game itself."""
    return -cost_if_fake(turn.judge(turn.fake))


s = md.Tensor(np.linspace(-8, 8, 161), requires_grad=True)
hands_on = gan.Turn(generator=None, discriminator=lambda logits: logits, real=None, fake=s)
slopes = {aim: md.grad(aim(hands_on) * s.size, s)[0].data for aim in (fool, fool_as_in_the_game)}
assert np.allclose(slopes[fool], -1 / (1 + np.exp(s.data)))
assert np.allclose(slopes[fool], np.exp(-s.data) * slopes[fool_as_in_the_game])


# %%
def race(aim, rounds, optimizer, *settings):
    """How far the mean of G's fakes moves in so many rounds."""
    rng, (G, D, _, adam_d) = new_players(seed=0)
    G.layers[-1].bias.data -= 6
    start = G(latents(4000, np.random.default_rng(8))).data.mean()
    for mover in [optim.SGD(G.parameters(), 0)] * 200 + [optimizer(G.parameters(), *settings)] * rounds:
        players = gan.Players(G, D, mover, adam_d)
        gan.play_round(players, gan.Loss(d_pays, aim), draw_real(128, rng), latents(128, rng))
    return abs(G(latents(4000, np.random.default_rng(8))).data.mean() - start)


moved = {aim: race(aim, ROUNDS // 8, optim.SGD, 0.05) for aim in slopes}
rescued = race(fool_as_in_the_game, ROUNDS // 8, optim.Adam, 1e-3, (0.5, 0.999))
print(f"fakes moved by {moved[fool]:.2f}; as written {moved[fool_as_in_the_game]:.2f}, with Adam {rescued:.2f}")
assert moved[fool] > 4 and moved[fool_as_in_the_game] < 1 and rescued > 3 * moved[fool_as_in_the_game]

# %% [markdown]
# Adam divides each gradient by its usual size, so one that is *evenly* small does it little harm.
#
# **What to keep.** A round is D on reals and detached fakes, then G through the new D. G maximises
# `log D(G(z))`; the minimax loss is flat where G is worst. `2 ln 2` means "*this* D cannot tell".
#
# Sources: I. Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661; D. Kingma and
# J. Ba, "Adam", 2015, arXiv:1412.6980.
