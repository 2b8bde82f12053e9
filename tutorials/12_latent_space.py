"""Lesson 12: walk through what a generator has learned."""
# %% [markdown]
# # 12. Latent space
#
# Takes 3 to 5 minutes on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked, and the pictures show networks
# that have barely begun.
#
# A trained generator turns every latent into a picture. What lies between two of them, which
# directions mean something, and was anything copied?
#
# You need lesson 11, whose generator is trained here once more.

# %%
import os

import numpy as np

import minideconv as md
from minideconv import data, gan, nn
from minideconv.draw.figure import keep, new_figure, style
from minideconv.train.pictures import grid

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"

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


# %%
STEPS = 24 if SHORT else 1600
trainer = new_trainer(width=8 if SHORT else 32, learning_rate=5e-4)
for _ in range(STEPS):
    trainer.step()

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


keep(draw_walk(), "12_walk.png")

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


keep(draw_arithmetic(), "12_arithmetic.png")

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


keep(draw_neighbours(), "12_neighbours.png")

# %% [markdown]
# **Question.** Two latents of 100 normal numbers each are drawn. What is the angle between them,
# about: 10, 45 or 90 degrees? Decide before you run the cell.
#
# Answer: 90. The sum of 100 products of independent numbers is near 0 beside the product of the two
# lengths, 100. So in 100 dimensions any two latents are nearly at right angles, and the middle of
# the line between them has length `sqrt(1/2)` of theirs.

# %%
cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
print(f"angles of 1000 pairs: {np.degrees(np.arccos(cosines)).mean():.1f} degrees on average")
assert abs(np.degrees(np.arccos(cosines)).mean() - 90) < 1

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
# - Walk on the sphere: the straight line leads through latents that G has never met.
# - A difference of mean latents is a direction that means something, also for new latents.
# - "Nothing was copied" is only as strong as the distance that was measured.
#
# Sources: I. Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661; A. Radford,
# L. Metz and S. Chintala, "Unsupervised Representation Learning with Deep Convolutional Generative
# Adversarial Networks" (DCGAN), 2015, arXiv:1511.06434; T. White, "Sampling Generative Networks",
# 2016, arXiv:1609.04468; L. Theis, A. van den Oord and M. Bethge, "A note on the evaluation of
# generative models", 2016, arXiv:1511.01844; M. Heusel et al., "GANs Trained by a Two Time-Scale
# Update Rule" (FID), 2017, arXiv:1706.08500; D. Kingma and J. Ba, "Adam", 2015, arXiv:1412.6980;
# the Keras documentation of BatchNormalization; github.com/eriklindernoren/Keras-GAN, issue 252.
