"""Lesson 11: the game of lesson 10 over digits, and one network learns to draw them."""
# %% [markdown]
# # 11. Your first GAN
#
# Takes 3 to 5 minutes on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked, and the pictures show networks
# that have barely begun.
#
# The game of lesson 10, over digits: the same costs, the same round, larger networks. First by hand,
# then by the package's trainer, which turns out to be the same to the last bit.
#
# You need lesson 10 (the game) and lesson 5 (transposed convolutions make small maps large). The
# digits are `strokes`, drawn by a program; with the environment variable `MINIDECONV_DATA` naming a
# folder of MNIST files, they are MNIST.

# %%
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import data, gan, nn, optim
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.train.pictures import grid

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"

# %% [markdown]
# The costs and the round of lesson 10, once more: D's is the cross-entropy of its answers, G's is
# small where D takes its fakes for real.

# %%
def cost_if_real(logits):
    """-log sigmoid(s), averaged: small where D says "real"."""
    return F.binary_cross_entropy_with_logits(logits, np.ones(logits.shape, np.float32))


def cost_if_fake(logits):
    """-log(1 - sigmoid(s)), averaged: small where D says "fake"."""
    return F.binary_cross_entropy_with_logits(logits, np.zeros(logits.shape, np.float32))


# %%
def d_pays(turn):
    """What D minimises: it should say "real" to the real ones and "fake" to the fakes."""
    return cost_if_real(turn.judge(turn.real)) + cost_if_fake(turn.judge(turn.fake))


def fool(turn):
    """What G minimises: D should say "real" to its fakes."""
    return cost_if_real(turn.judge(turn.fake))


game = gan.Loss(discriminator=d_pays, generator=fool)


# %%
def play(players, real, z, loss=game):
    """One round on a batch; gives what D paid and what G paid.
    real (N, ...) and z (N, latent) are arrays.
    """
    return tuple(gan.play_round(players, loss, real, z).values())


def new_players(G, D, rate, beta1):
    adam_g, adam_d = (optim.Adam(network.parameters(), rate, (beta1, 0.999)) for network in (G, D))
    return gan.Players(G, D, adam_g, adam_d)


cannot_tell = 2 * np.log(2)                                     # what D pays that cannot tell real from fake

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
keep(draw_curves(), "11_digit_losses.png")


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


keep(draw_grids(), "11_digits.png")

# %% [markdown]
# **Question.** D's loss was lowest early and is higher at the end. Has D become worse at its job?
# Decide before you look: let both D's judge fakes of the early G.
#
# Answer: no, its job has become harder. D's loss depends on the fakes that it is shown: on the fakes
# of an untrained G, which are far from any digit, the D of the end pays next to nothing.

# %%
if not SHORT:
    beginner = new_trainer(width=32, learning_rate=5e-4).generator
    with md.no_grad():
        easy = cost_if_fake(trainer.discriminator(draw(beginner, probe[:BATCH]))).item()
        hard = cost_if_fake(trainer.discriminator(draw(trainer.generator, probe[:BATCH]))).item()
    print(f"the trained D pays {easy:.3f} for fakes of an untrained G, {hard:.3f} for those of its own")
    assert easy < hard

# %% [markdown]
# ## What to keep
#
# - The loss of D says who is ahead. Judge by samples, and by a measure that the players never see.
# - Batch norm must see D's batches in the same mode in both halves.
#
# Sources: I. Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661; A. Radford,
# L. Metz and S. Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
# Adversarial Networks" (DCGAN), 2015, arXiv:1511.06434; M. Heusel et al., "GANs Trained by a Two
# Time-Scale Update Rule" (FID), 2017, arXiv:1706.08500; D. Kingma and J. Ba, "Adam", 2015,
# arXiv:1412.6980; the Keras documentation of BatchNormalization;
# github.com/eriklindernoren/Keras-GAN, issue 252.
