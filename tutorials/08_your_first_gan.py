"""Lesson 8: two networks play a game, first over single numbers that can be drawn,
then over digits, and one learns to draw them.
"""
# %% [markdown]
# # 8. Your first GAN
#
# Takes 3 to 5 minutes on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked, and the pictures show networks
# that have barely begun.
#
# A **generator** G turns random numbers into pictures. Nobody can write down a formula for "looks
# like a digit", so a second network, the **discriminator** D, learns to tell G's pictures from
# real ones, and G learns from D's verdict. The pair is a *generative adversarial network*, a GAN
# (Goodfellow et al. 2014). We play this game by hand over single numbers, where both players can
# be drawn; then over digits, with the same dozen lines of code; then we walk through what G has
# learned.
#
# You need lesson 2 (a tape finds gradients) and lesson 4 (transposed convolutions make small maps
# large). The digits are `strokes`, drawn by a program; with the environment variable
# `MINIDECONV_DATA` naming a folder of MNIST files, they are MNIST.

# %%
import inspect
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import data, gan, nn, optim
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.train.pictures import grid

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


keep(draw_best(), "08_best_discriminator.png")

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


keep(draw_game(), "08_game.png")

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


keep(draw_costs(), "08_toy_losses.png")

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
keep(draw_flat(), "08_flat.png")

# %% [markdown]
# ## Digits
#
# The same game, with larger players. G is a dense layer and two transposed convolutions (7 -> 14
# -> 28 pixels); D is its mirror image with strided convolutions. It is close to DCGAN's recipe
# (Radford et al. 2015): no pooling, batch norm except at both ends, first weights N(0, 0.02). What
# differs: DCGAN's G has ReLU inside and tanh at its end, for pictures in [-1, 1], where ours has
# leaky ReLU 0.2 and a sigmoid, for pictures in [0, 1]; and its networks are deeper and wider.

# %%
def new_networks(width):
    """z (N, 100) -> images (N, 28, 28, 1) in [0, 1], and images -> logits (N, 1)."""
    G = nn.Sequential(
        nn.Linear(100, 7 * 7 * 2 * width, bias=False), nn.Reshape(7, 7, 2 * width), nn.BatchNorm2d(2 * width),
        nn.LeakyReLU(0.2),
        # (N, 14, 14, width)
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.2),
        # (N, 28, 28, 1)
        nn.ConvTranspose2d(width, 1, 4, 2, 1), nn.Sigmoid())
    D = nn.Sequential(
        # (N, 14, 14, width)
        nn.Conv2d(1, width, 4, 2, 1), nn.LeakyReLU(0.2),
        # (N, 7, 7, 2 * width)
        nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(7 * 7 * 2 * width, 1))
    return G, D


# %%
SOURCE = "mnist" if os.environ.get("MINIDECONV_DATA") else "strokes"
images = data.load(SOURCE)[0][:2000 if SHORT else None]         # (count, 28, 28, 1), 0 to 255
held_out = data.load(SOURCE, "test")[0][::10]                   # 1000 digits, never trained on
BATCH = 64


def as_real(images):
    return images.astype(np.float32) / np.float32(255)


def new_trainer(width, **settings):
    """Both networks with DCGAN's first weights, N(0, 0.02),
    and all that the package's own training loop needs.
    """
    return gan.Trainer(gan.Config(data=SOURCE, image_shape=(28, 28, 1), count=len(images), checksum=0, steps=1,
                                  preset="plain", batch_size=BATCH, width=width, **settings), images)


# %% [markdown]
# ## Claim 5: the package's trainer is this round and nothing else, to the last bit
#
# We copy a trainer's first weights, its random generator and the order of its images, and play
# three rounds on each side: ours with the costs written above, on networks written above.

# %%
def copy_weights(trainer, width):
    """Our own networks with the weights of the trainer's."""
    G, D = new_networks(width)
    for own, theirs in ((G, trainer.generator), (D, trainer.discriminator)):
        own.load_state_dict({name.removeprefix("layers."): array for name, array in theirs.state_dict().items()})
    return G, D


trainer = new_trainer(width=8, seed=3)
G, D = copy_weights(trainer, width=8)
players = new_players(G, D, rate=2e-4, beta1=0.5)
rng, order = np.random.default_rng(), trainer.order
rng.bit_generator.state = trainer.rng.bit_generator.state

# %%
for step in range(3):
    real = as_real(images[order[BATCH * step:BATCH * (step + 1)]])
    by_hand = play(players, real, rng.standard_normal((BATCH, 100), np.float32))
    assert by_hand == tuple(trainer.step().values())

for own, theirs in ((G, trainer.generator), (D, trainer.discriminator)):
    for mine, other in zip(own.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert np.array_equal(mine, other)

# %% [markdown]
# ## A yardstick for digits
#
# Again we want a measure that the players never see. Project the images onto the 20 directions in
# which real digits vary most (their principal components); describe a cloud of images there by its
# mean m and its covariance C, that is, where it lies and how far it spreads in each direction; and
# take the **Frechet distance** of two clouds:
#
#     |m1 - m2|^2 + trace(C1 + C2 - 2 sqrt(C1 C2))
#
# The first part is how far one cloud has to be moved, the second how much it has to be reshaped,
# to become the other. It is 0 for equal clouds. Digits held out from training, against those
# trained on, give the floor. (Papers use the same formula on a classifier's features, FID; such
# figures do not compare with ours.)

# %%
def as_rows(images):
    return images.reshape(len(images), -1)                      # (N, 28, 28, 1) -> (N, 784)


training = as_rows(as_real(images[:10000]))
directions = np.linalg.svd(training[:3000] - training.mean(axis=0), full_matrices=False)[2][:20].T      # (784, 20)


def cloud_distance(one, other):
    """Frechet distance of two sets of rows (N, 784), in the 20 directions."""
    one, other = one @ directions, other @ directions
    covariances = np.cov(one.T), np.cov(other.T)                # (20, 20) each
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(0))
    return float(((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum() + np.trace(sum(covariances)) - 2 * roots.sum())


# %%
probe = np.random.default_rng(9).standard_normal((1000, 100), np.float32)


def draw(G, z):
    """Fakes (N, 28, 28, 1) in evaluation mode: batch norm uses its running averages,
    so an image does not depend on its neighbours in z.
    """
    G.eval()
    with md.no_grad():
        fakes = G(z).data
    G.train()
    return fakes


floor = cloud_distance(as_rows(as_real(held_out)), training)
untrained = cloud_distance(as_rows(draw(G, probe)), training)
print(f"distance from the training digits: held-out digits {floor:.2f}, an untrained G {untrained:.1f}")
assert floor < 0.1 * untrained

# %% [markdown]
# ## Claim 6: the `trainable = False` trap
#
# Many programs freeze D with a switch. In Keras, since TensorFlow 2, `trainable = False` on a
# batch norm also puts it into *inference mode* (its documentation says so): it normalises with
# running averages over reals and fakes instead of the batch at hand. G then learns to fool a D
# that nobody trains. In the public thread Keras-GAN #252 that turned the samples into noise.
#
# We play 300 rounds on small networks (16 channels), with G's half seeing D as usual or in
# evaluation mode. We also try three settings of Adam here, for claim 7, since the loop is the
# same.

# %%
def fool_in_inference_mode(turn):
    """The trap: G is judged by another function than the one D learns."""
    turn.discriminator.eval()
    loss = fool(turn)
    turn.discriminator.train()
    return loss


def train_small(seed, rate, beta1, aim=fool, rounds=12 if SHORT else 300):
    """Gives G, D and the last losses of both."""
    rng = np.random.default_rng(seed)
    G, D = copy_weights(new_trainer(width=16, seed=seed), width=16)
    players = new_players(G, D, rate, beta1)
    for _ in range(rounds):
        batch = as_real(images[rng.integers(0, len(images), BATCH)])
        losses = play(players, batch, rng.standard_normal((BATCH, 100), np.float32), gan.Loss(d_pays, aim))
    return G, D, losses


# %%
SETTINGS = {"recipe": dict(rate=2e-4, beta1=0.5), "default": dict(rate=1e-3, beta1=0.9),
            "mixed": dict(rate=1e-3, beta1=0.5), "trap": dict(rate=1e-3, beta1=0.5, aim=fool_in_inference_mode)}
SEEDS = [0] if SHORT else [0, 1]
distances, samples = {name: [] for name in SETTINGS}, {}
for name, settings in SETTINGS.items():
    for seed in SEEDS:
        G, D, losses = train_small(seed, **settings)
        samples[name] = draw(G, probe)
        distances[name].append(cloud_distance(as_rows(samples[name]), training))
        print(f"{name}, seed {seed}: D paid {losses[0]:.2f}, G paid {losses[1]:.2f}, distance "
              f"{distances[name][-1]:.1f}")

# %%
# D, G and their fakes are those of the last run in the trap: the same D, the same fakes, two
# verdicts.
fakes = G(probe[:BATCH])
as_trained = cost_if_real(D(fakes)).item()
as_judge = fool_in_inference_mode(gan.Turn(G, D, real=None, fake=fakes)).item()
print(f"G believes it pays {as_judge:.2f}; the D that is being trained makes it {as_trained:.2f}")
assert as_trained > 2 * as_judge
if not SHORT:
    assert np.mean(distances["trap"]) > 1.5 * np.mean(distances["mixed"])
    assert np.mean(distances["trap"]) < 2 * np.mean(distances["default"])

# %% [markdown]
# So the trap is real, but here it is no noise: against "mixed", the same without it, the distance is
# about three times as large on average, little with one seed and much with the other. That is about
# what a wrong beta1 costs ("default", claim 7). Public threads tell of the worst cases.
#
# ## Claim 7: DCGAN's recipe against Adam's defaults, measured
#
# DCGAN uses Adam with rate 2e-4 and beta1 0.5; the defaults are 1e-3 and 0.9. beta1 says how long
# Adam goes on in an old direction, and here the opponent changes the right direction all the time.
# Three settings, 300 rounds, two seeds:
#
# - beta1 = 0.5 instead of 0.9, at the same rate, is clearly better: that half of the recipe we
#   confirm.
# - The rate 2e-4 is *behind* after 300 rounds: it is simply slower. It was chosen for hours of
#   training on large pictures.
# - The defaults do not fail on this small problem. "GANs need the recipe" would be too much to say
#   from these runs.

# %%
for name in ("recipe", "default", "mixed"):
    print(f"{name:8s} {SETTINGS[name]}: distance {np.round(distances[name], 1)}")
if not SHORT:
    for default, mixed, recipe in zip(distances["default"], distances["mixed"], distances["recipe"], strict=True):
        assert mixed < default < recipe

# %% [markdown]
# ## Claim 8: digits, and a loss that rises while they get better
#
# Now 32 channels and a rate between the two, with the package's trainer (`minideconv train --preset
# plain` on the command line does this, with checkpoints). Samples always come from the same latents,
# so one place in the picture is one digit growing.

# %%
STEPS = 24 if SHORT else 1600
SHOWN = [1, 12, 24] if SHORT else [1, 50, 200, 1600]
trainer = new_trainer(width=8 if SHORT else 32, learning_rate=5e-4)
losses, digit_distances, grids = [], {}, {}
for step in range(1, STEPS + 1):
    losses.append(tuple(trainer.step().values()))
    if step in SHOWN or step % 100 == 0:
        fakes = draw(trainer.generator, probe)
        digit_distances[step] = cloud_distance(as_rows(fakes), training)
        grids[step] = grid(fakes[:36])
losses = np.array(losses)                                       # (STEPS, 2): D, G
for step in SHOWN:
    d, g = losses[max(0, step - 20):step].mean(axis=0)
    print(f"step {step}: D pays {d:.2f}, G pays {g:.2f}, distance {digit_distances[step]:.1f}")
assert len(losses) == trainer.steps_done and np.isfinite(losses).all()

# %% [markdown]
# D's loss falls for the first dozens of steps: D races ahead, and the samples are still blots.
# Then it *rises*, because the fakes have become hard to tell: from step 50 to the end D pays
# several times more, and the distance falls to a fraction. So a falling loss of D is not "better".
# G pays no less at the end than in its very first step, when it drew noise: its loss is no measure
# of quality either. D's loss stays below 1.386, since D still tells fakes from reals more often
# than not. That is usual, and no failure. Nor does the distance fall at every look: here too the
# best G need not be the last.

# %%
if not SHORT:
    early, late = losses[30:50].mean(axis=0), losses[-100:].mean(axis=0)
    assert late[0] > 2 * early[0] and late[0] < cannot_tell
    assert late[1] > 0.8 * losses[0, 1]
    assert digit_distances[STEPS] < 0.3 * digit_distances[50]
    assert digit_distances[STEPS] > 2 * floor                   # good, but measurably not the real thing


# %%
@style()
def draw_curves():
    figure = new_figure(7.5, 2.6, "Digits: who is ahead (left), and how good the samples are (right)")
    left, right = figure.subplots(1, 2)
    for side, (name, line) in enumerate((("D pays", "-"), ("G pays", "--"))):
        smooth = np.convolve(losses[:, side], np.ones(20) / 20, "valid")
        left.plot(np.arange(20, STEPS + 1), smooth, line, color=PALETTE["accent" if side else "dark"], label=name)
    left.axhline(cannot_tell, color=PALETTE["ink"], linestyle=":", linewidth=1, label="2 ln 2: D cannot tell")
    left.set(xlabel="step", ylabel="loss, mean of 20 steps", ylim=(0, None))
    left.legend()
    right.plot(*zip(*digit_distances.items(), strict=True), "o-", markersize=3, color=PALETTE["ink"], label="samples")
    right.axhline(floor, color=PALETTE["ink"], linestyle=":", linewidth=1, label="held-out digits")
    right.set(xlabel="step", ylabel="Frechet distance", yscale="log")
    right.legend()
    return figure


# %%
keep(draw_curves(), "08_digit_losses.png")


# %%
@style()
def draw_grids():
    figure = new_figure(8, 2.1, "The same 36 latents while G learns")
    real = grid(as_real(images[:36]))
    shown = [(f"step {step}", grids[step]) for step in SHOWN] + [("real digits", real)]
    for axes, (title, sheet) in zip(figure.subplots(1, len(shown)), shown, strict=True):
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axes.set_axis_off()
        axes.set_title(title)
    return figure


keep(draw_grids(), "08_digits.png")

# %% [markdown]
# ## Claim 9: walk through latent space on the sphere, not on the straight line
#
# Every latent has 100 normal numbers, so its length is close to `sqrt(100) = 10`: all of them lie
# near a sphere. The middle of the straight line between two of them has length about 7, and hardly
# a latent in 100,000 is that short: G never learned what to draw there. Spherical interpolation
# (White 2016) goes along the arc. The distance of 1000 midpoint images from real digits shows the
# difference.

# %%
def along_the_arc(a, b, t):
    """From a at t = 0 to b at t = 1, both (N, 100), turning at a constant rate."""
    lengths = np.linalg.norm(a, axis=1, keepdims=True) * np.linalg.norm(b, axis=1, keepdims=True)
    angle = np.arccos((a * b).sum(axis=1, keepdims=True) / lengths)                                     # (N, 1)
    return ((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)).astype(np.float32)


def ink(images):
    return images.mean(axis=(1, 2, 3))                          # (N,): the average brightness of each


# %%
G = trainer.generator
a, b = np.random.default_rng(1).standard_normal((2, 1000, 100), np.float32)
straight, arc = (a + b) / 2, along_the_arc(a, b, 0.5)
assert np.linalg.norm(a, axis=1).min() > 7.1 > np.linalg.norm(straight, axis=1).mean()
assert abs(np.linalg.norm(arc, axis=1).mean() - 10) < 0.2
apart = {name: cloud_distance(as_rows(draw(G, z)), training)
         for name, z in (("ends", a), ("straight", straight), ("arc", arc))}
print({name: round(distance, 2) for name, distance in apart.items()})
if not SHORT:
    assert apart["straight"] > 1.3 * apart["arc"] and apart["arc"] < 1.3 * apart["ends"]
    assert ink(draw(G, straight)).mean() < 0.9 * ink(draw(G, arc)).mean()


# %%
@style()
def draw_walk():
    figure = new_figure(7.5, 2.6,
                        "From one latent to another, along the arc and straight: half-way, the straight line loses ink")
    t = np.linspace(0, 1, 11, dtype=np.float32)[:, None]
    difference = np.abs(draw(G, a[:50]) - draw(G, b[:50])).mean(axis=(1, 2, 3))
    # Of the first 50 pairs, the two whose digits differ most.
    chosen = np.argsort(difference)[-2:]
    # Two walks of 11 stations.
    start, end = a[chosen].repeat(11, axis=0), b[chosen].repeat(11, axis=0)
    stations = np.tile(t, (2, 1))
    walks = {"arc": along_the_arc(start, end, stations), "straight": (1 - stations) * start + stations * end}
    for axes, (name, z) in zip(figure.subplots(2, 1), walks.items(), strict=True):
        axes.imshow(grid(draw(G, z), columns=11), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[], ylabel=name)
    return figure


keep(draw_walk(), "08_walk.png")

# %% [markdown]
# ## Claim 10: arithmetic
#
# Draw 2000 digits, measure each (its ink, its slant), and average the latents of the top tenth and
# of the bottom tenth. The difference is a direction: *bold minus thin*. Added to latents it has
# never met, it makes their digits bolder. (DCGAN did this with faces, from three pictures each.)

# %%
def slant(images):
    """How far the ink moves to the right per pixel upwards, from its second moments."""
    images = images[..., 0] + 1e-6
    mass = images / images.sum(axis=(1, 2), keepdims=True)
    rows, columns = np.mgrid[:28, :28]
    down = rows - (mass * rows).sum(axis=(1, 2), keepdims=True)                                         # (N, 28, 28)
    right = columns - (mass * columns).sum(axis=(1, 2), keepdims=True)
    return -(mass * down * right).sum(axis=(1, 2)) / (mass * down * down).sum(axis=(1, 2))


# %%
rng = np.random.default_rng(2)
known, new = rng.standard_normal((2000, 100), np.float32), rng.standard_normal((200, 100), np.float32)
known_images, change = draw(G, known), {}
for measure in (ink, slant):
    rank = np.argsort(measure(known_images))
    change[measure] = known[rank[-200:]].mean(axis=0) - known[rank[:200]].mean(axis=0)
    less, plain, more = (measure(draw(G, new + amount * change[measure])) for amount in (-0.5, 0, 0.5))
    print(f"{measure.__name__}: {less.mean():.3f} < {plain.mean():.3f} < {more.mean():.3f}; right for "
          f"{np.mean(more > less):.0%} of new latents")
    if not SHORT:
        assert less.mean() < plain.mean() < more.mean() and np.mean(more > less) > 0.9


# %%
@style()
def draw_arithmetic():
    figure = new_figure(7.5, 2.3, "Latents plus a direction: from -1 to +1 times the difference")
    amounts = np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    for axes, measure, label in zip(figure.subplots(1, 2), (ink, slant),
                                    ("bold minus thin", "slanted right minus left"), strict=True):
        z = np.concatenate([z + amounts * change[measure] for z in new[:4]])                            # (4 * 9, 100)
        axes.imshow(grid(draw(G, z), columns=9), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[], xlabel=label)
    return figure


keep(draw_arithmetic(), "08_arithmetic.png")

# %% [markdown]
# ## Claim 11: it is not copying, as far as this test can see
#
# For each fake we look for the nearest training digit, pixel by pixel. A copy would be at distance
# 0. Real held-out digits, which cannot be copies, say what is normal. But mind what the test
# cannot see: a training digit *shifted by one pixel* is farther from itself than a held-out digit
# usually is from its nearest neighbour. So a generator that copies and shifts would pass (Theis et
# al. 2016).

# %%
def nearest(rows, among):
    """Index of, and distance to, the nearest of `among` (M, 784) for each of rows (N, 784)."""
    squared = (rows ** 2).sum(axis=1)[:, None] + (among ** 2).sum(axis=1) - 2 * rows @ among.T         # (N, M)
    place = squared.argmin(axis=1)
    return place, np.linalg.norm(rows - among[place], axis=1)


places, to_fakes = nearest(as_rows(draw(G, probe)), training)
to_held_out = nearest(as_rows(as_real(held_out)), training)[1]
shifted = np.roll(training[:1000].reshape(-1, 28, 28), 1, axis=2).reshape(-1, 784)
to_shifted = np.linalg.norm(shifted - training[:1000], axis=1)
for name, distance in (("fakes", to_fakes), ("held-out digits", to_held_out), ("training digits, shifted", to_shifted)):
    print(f"{name}: median distance {np.median(distance):.1f}, smallest {distance.min():.1f}")
assert nearest(training[:100], training)[1].max() == 0          # the test does find exact copies
if not SHORT:
    assert to_fakes.min() > to_held_out.min() and np.median(to_fakes) > np.median(to_held_out)
    assert np.median(to_shifted) > np.median(to_held_out)


# %%
@style()
def draw_neighbours():
    figure = new_figure(7.5, 1.4, "Fakes (top) and the nearest training digit of each (bottom)")
    axes = figure.subplots()
    pairs = np.concatenate([draw(G, probe[:16]), training[places[:16]].reshape(-1, 28, 28, 1)])
    axes.imshow(grid(pairs, columns=16), cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    return figure


keep(draw_neighbours(), "08_neighbours.png")

# %% [markdown]
# ## What articles get wrong
#
# - *"The original GAN is made of convolutional networks."* Goodfellow et al. 2014 used dense
#   layers on MNIST, and *already* a "deconvolutional" generator on CIFAR-10. What made such
#   training dependable was DCGAN's recipe, a year later.
# - *"The generator goes convolution, pooling, convolution."* No such generator is in these papers:
#   it goes up from a latent.
# - The objective and the alternating round are left out, and "backpropagation updates the
#   weights". It computes gradients.
# - A "GAN generator" that is shown for 256x256 pictures: convolution down, transposed up, down,
#   up, and a convolution to 3 channels. It takes a *picture*, so there is no latent and nothing to
#   sample; its output is not bounded, though pictures are; and it only ever goes from 256 to 128
#   and back, so each output pixel hears a small patch. Its count of weights is right. See for
#   yourself:

# %%
article = nn.Sequential(
    nn.Conv2d(3, 64, 4, 2, "same"), nn.LeakyReLU(0.2), nn.ConvTranspose2d(64, 64, 4, 2, "same"), nn.LeakyReLU(0.2),
    nn.Conv2d(64, 32, 4, 2, "same"), nn.LeakyReLU(0.2), nn.ConvTranspose2d(32, 32, 4, 2, "same"), nn.LeakyReLU(0.2),
    nn.Conv2d(32, 3, 4, 1, "same"))
assert sum(weight.size for weight in article.parameters()) == 119_491

picture = md.Tensor(np.random.default_rng(0).random((1, 256, 256, 3), np.float32), requires_grad=True)
output = article(picture)
assert output.shape == picture.shape
# (256, 256): does the pixel reach the output?
heard = md.grad(output[0, 128, 128].sum(), picture)[0].data[0].any(axis=2)
print(f"one output pixel hears {heard.any(axis=1).sum()} x {heard.any(axis=0).sum()} of 256 x 256 pixels")
assert max(heard.any(axis=1).sum(), heard.any(axis=0).sum()) < 32

# %% [markdown]
# ## What to keep
#
# - A round: D on reals and detached fakes; then G through the new D, asking for G's gradients
#   alone.
# - G maximises `log D(G(z))`. The minimax loss is flat where G is worst.
# - `2 ln 2` means "D cannot tell". It says nothing about how good either is. Judge by samples, and
#   by a measure the players never see.
# - Batch norm must see D's batches in the same mode in both halves.
#
# Sources: I. Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661; A. Radford,
# L. Metz and S. Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
# Adversarial Networks" (DCGAN), 2015, arXiv:1511.06434; T. White, "Sampling Generative Networks",
# 2016, arXiv:1609.04468; L. Theis, A. van den Oord and M. Bethge, "A note on the evaluation of
# generative models", 2016, arXiv:1511.01844; M. Heusel et al., "GANs Trained by a Two Time-Scale
# Update Rule" (FID), 2017, arXiv:1706.08500; D. Kingma and J. Ba, "Adam", 2015, arXiv:1412.6980;
# the Keras documentation of BatchNormalization; github.com/eriklindernoren/Keras-GAN, issue 252.
