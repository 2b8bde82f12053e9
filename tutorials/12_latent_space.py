"""Lesson 12: what lies between the latents of a generator, which directions mean something, and was anything copied?"""
# %% [markdown]
# # 12. Latent space
#
# Takes 2 minutes on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked.
#
# A trained generator turns every latent into a picture. What lies between two of them, which
# directions mean something, and was anything copied? You need lesson 11. We train its generator
# three times, and three of `minideconv train`'s own, narrower and for a quarter of its time: these
# are told the label too (lesson 15), so that label and latent can be changed one at a time. The
# digits are as in lesson 11; every claim is checked on all three.

# %%
import os

import numpy as np

from minideconv import gan
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.gan.latent import PATHS, arithmetic, extremes, ink, spherical, walk, walk_effects
from minideconv.gan.sample import generate, images_of
from minideconv.metrics import classifier, frechet, report, sheet
from minideconv.train.pictures import grid

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SOURCE = "mnist" if os.environ.get("MINIDECONV_DATA") else "strokes"
COUNT, WIDTH = (50, 8) if SHORT else (1000, 16)                 # images to measure; channels of the generators
real = report.read_real(SOURCE)


# %%
def generator(seed, told):
    """A trained generator: latents (N, 100) -> images (N, 28, 28, 1), or latents (N, 64) and labels (N,) if told."""
    steps = 20 if SHORT else 800
    recipe = {"decay_to": steps} if told else {"preset": "plain", "batch_size": 64, "learning_rate": 1e-3}
    config = gan.Config(data=SOURCE, image_shape=(28, 28, 1), count=len(real.train.images), checksum=0, seed=seed,
                        names=[str(digit) for digit in range(10)], steps=steps, width=WIDTH, **recipe)
    trainer = gan.Trainer(config, real.train.images, real.train.labels)
    for _ in range(steps):
        trainer.step()
    return (trainer.average if told else trainer.generator).eval()


alone, told = ([generator(seed, kind) for seed in ([0] if SHORT else [0, 1, 2])] for kind in (False, True))

# %% [markdown]
# ## Claim 1: a straight walk leaves the sphere
#
# A latent is 64 or 100 normal numbers, so its length is close to `sqrt(64) = 8` or `sqrt(100) =
# 10`: all lie near a sphere. A straight walk from one to another cuts through its inside, where G
# was never trained. Spherical interpolation (White 2016) goes along the arc: with w the angle
# between a and b,
#
#     sin((1 - t) w) / sin(w) * a  +  sin(t w) / sin(w) * b
#
# **Question.** Two latents of 100 numbers are drawn. How large is the angle between them, about 10,
# 45 or 90 degrees? And how long is the latent half-way on the straight walk? Decide before you go on.

# %%
a, b = np.random.default_rng(1).standard_normal((2, 1000, 100))
w = np.arccos((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))[:, None]
t = np.linspace(0, 1, 11)
by_hand = [np.sin((1 - s) * w) / np.sin(w) * a + np.sin(s * w) / np.sin(w) * b for s in t]
assert np.allclose(by_hand, spherical(a, b, t), atol=1e-5)
half_way = {name: np.linalg.norm(path(a, b, t)[5], axis=1) for name, path in PATHS.items()}
print(f"angle {np.degrees(w).mean():.1f} degrees; half-way", {name: one.mean() for name, one in half_way.items()})
assert abs(np.degrees(w).mean() - 90) < 1 and abs(half_way["spherical"].mean() - 10) < 0.2
assert abs(half_way["straight"].mean() - np.sqrt(50)) < 0.2 and np.linalg.norm(a, axis=1).min() > np.sqrt(50)

# %% [markdown]
# **Answer:** 90 degrees, and 7.07. The sum of 100 products of independent numbers is small beside
# the product of the lengths, so any two latents are nearly at right angles, and half-way between
# them the length is `sqrt(1/2)` of theirs; of 1000 latents none was that short. What does G make of
# that? 1000 walks of each kind: their ink (the mean pixel), and half-way the distance from real
# digits in the features of the package's classifier (lesson 15), and how often that is sure.

# %%
reference = classifier.judge(real.train.images[::6])[0]


def half_way_images(G):
    """{name: images (COUNT, 28, 28, 1)} at one end and half-way; digits take turns where G is told them."""
    a, b = np.random.default_rng(2).standard_normal((2, COUNT, G.latent), np.float32)
    labels = np.arange(COUNT) % 10 if G.classes else None
    latents = {"end": a, **{name: path(a, b, [0.5])[0] for name, path in PATHS.items()}}
    return {name: images_of(G, z, labels) for name, z in latents.items()}


def judged(images):
    """The distance from real digits, and the share of images whose digit the classifier is sure of."""
    features, chances = classifier.judge(images)
    return frechet.frechet_distance(features, reference), np.mean(chances.max(axis=1) > 0.9)


# %%
effects = [walk_effects(G, COUNT, len(t), seed=1) for G in alone + told]
halves = [{name: judged(images) for name, images in half_way_images(G).items()} for G in alone + told]
ratios = {name: np.array([found[name][1][5].mean() / found[name][1][[0, -1]].mean() for found in effects])
          for name in PATHS}
print("ink half-way, in parts of that at the ends", {name: found.round(3) for name, found in ratios.items()})
for name in halves[0]:
    print(f"{name}: distance", [round(half[name][0], 1) for half in halves],
          "sure", [round(float(half[name][1]), 2) for half in halves])

# %%
if not SHORT:
    assert abs(ratios["spherical"] - 1).max() < 0.03
    for G, ink_left, half in zip(alone + told, ratios["straight"], halves, strict=True):
        (start, surely), (straight, sure), (arc, _) = (half[name] for name in ("end", *PATHS))
        assert abs(arc / start - 1) < 0.1
        assert ink_left > 0.9 and sure > surely if G.classes else ink_left < 0.7 and sure < 0.8 * surely
        assert straight > (1.05 if G.classes else 1.15) * start or (G.classes and SOURCE == "strokes")

# %% [markdown]
# On the sphere nothing is lost. On the straight walk a G that hears no label loses nearly half of its
# ink half-way, and the classifier is sure of a third of the images instead of half. A G that is told
# the digit, and had the other recipe, keeps its ink; half-way its digits are even *surer* than at the
# ends. (On MNIST they lie, as a whole, farther from real digits all the same.)

# %%
def show(axes, images, columns, rows=(), title=""):
    """A grid of images, with a name beside each of its rows."""
    axes.imshow(grid(np.asarray(images).reshape(-1, 28, 28, 1), columns), cmap="gray", vmin=0, vmax=255)
    height = axes.get_images()[0].get_size()[0]
    axes.set(xticks=[], yticks=(np.arange(len(rows)) + 0.5) * height / max(1, len(rows)), title=title)
    axes.set_yticklabels(rows)
    axes.tick_params(length=0)


# %%
@style()
def draw_walks(G, found):
    figure = new_figure(7.5, 6.2, f"{COUNT} walks (mean, middle 80 %), and three between digits that are clear")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.8))
    for place, (axes, name) in enumerate(zip(upper.subplots(1, 2), ("length |z|", "ink, mean pixel"), strict=True)):
        for path, line, colour in (("straight", "-", "accent"), ("spherical", "--", "dark")):
            spread = np.quantile(found[path][place], (0.1, 0.9), axis=1)
            axes.fill_between(t, *spread, color=PALETTE[colour], alpha=0.15, linewidth=0)
            axes.plot(t, found[path][place].mean(axis=1), line, color=PALETTE[colour], label=path)
        axes.set(xlabel="t", ylabel=name, xlim=(0, 1), ylim=(0, None))
        axes.legend(loc="lower left")
    rows = [walk(G, *pair, len(t), path) for pair in clear_pairs(G) for path in PATHS]
    show(lower.subplots(), rows, len(t), list(PATHS) * 3)
    return figure


# %%
def clear_pairs(G):
    """Of 100 pairs of latents the three (3, 2, latent) of whose two different digits the classifier is surest."""
    pairs = np.random.default_rng(3).standard_normal((100, 2, G.latent), np.float32)
    chances = classifier.judge(images_of(G, pairs.reshape(200, -1)))[1].reshape(100, 2, 10)
    differ = np.diff(chances.argmax(axis=2), axis=1)[:, 0] != 0
    return pairs[np.argsort(chances.max(axis=2).min(axis=1) * differ)[-3:]]


keep(draw_walks(alone[0], effects[0]), "12_walk.png")

# %% [markdown]
# ## Claim 2: the latent is the hand, the label is the digit
#
# The generators that are told a label keep the two apart. 200 latents, each drawn as all ten digits:
# the digits are read as asked, and what one latent draws leans alike and is as bold in every digit.
# (*Slant*: how far the ink moves to the right per pixel upwards, from its second moments.)

# %%
def slant(images):
    mass = (images[..., 0] + 1e-6) / (images[..., 0] + 1e-6).sum(axis=(1, 2), keepdims=True)               # (N, 28, 28)
    rows, columns = np.mgrid[:28, :28]
    down = rows - (mass * rows).sum(axis=(1, 2), keepdims=True)
    right = columns - (mass * columns).sum(axis=(1, 2), keepdims=True)
    return -(mass * down * right).sum(axis=(1, 2)) / (mass * down * down).sum(axis=(1, 2))


hands, everyone = np.random.default_rng(4).standard_normal((COUNT // 5, 64), np.float32), np.arange(10)
for G in told:
    drawn = images_of(G, np.repeat(hands, 10, axis=0), np.tile(everyone, len(hands)))
    right = np.mean(classifier.judge(drawn)[1].argmax(axis=1) == np.tile(everyone, len(hands)))
    alike = {score.__name__: np.corrcoef(score(drawn).reshape(-1, 10).T)[np.triu_indices(10, 1)].mean()
             for score in (ink, slant)}
    print(f"read as asked {right:.0%}; correlation between the digits of one latent", alike)
    assert SHORT or right > 0.8 and min(alike.values()) > 0.5

# %% [markdown]
# And on the way from one label to the next G hears a mixture of both, which it never did in
# training. Does it draw a mixture, or jump? The classifier is sure at both ends, less so between.

# %%
for G in told:
    walks = [walk(G, z, z, 9, label=digit, to_label=(digit + 1) % 10) for z in hands[:10] for digit in everyone]
    sure = (classifier.judge(np.concatenate(walks))[1].max(axis=1) > 0.9).reshape(-1, 9).mean(axis=0)       # (9,)
    print("sure on the way from label to label", sure.round(2))
    assert SHORT or sure[4] < 0.8 * sure[[0, -1]].min()


@style()
def draw_labels(G):
    figure = new_figure(7.5, 3.9, "A generator that is told the label")
    left, right = figure.subplots(1, 2)
    show(left, [walk(G, *hands[:2], 9, label=digit) for digit in everyone], 9, everyone, "from one latent to another")
    show(right, [walk(G, hands[0], hands[0], 9, label=digit, to_label=(digit + 1) % 10) for digit in everyone], 9,
         [f"{digit} to {(digit + 1) % 10}" for digit in everyone], "one latent, from label to label")
    return figure


keep(draw_labels(told[0]), "12_labels.png")

# %% [markdown]
# ## Claim 3: arithmetic
#
# Radford et al. 2015 took means of three latents each: *bold 4 - thin 4 + thin 5* should be a bold
# 5. (Three, not one: single latents did not do it. And three means of length `8 / sqrt(3)`, added,
# have the length of a latent again.) For every digit and five draws of 500 latents:

# %%
for G in told:
    grew = []
    for digit, draws in np.ndindex(10, 1 if SHORT else 5):
        bold, thin = extremes(G, ink, seed=draws, label=digit)
        thin_other = extremes(G, ink, seed=100 + draws, label=(digit + 1) % 10)[1]
        both = np.stack([thin_other.mean(axis=0), arithmetic(bold, thin, thin_other)])
        before, after = ink(images_of(G, both, np.full(2, (digit + 1) % 10)))
        grew.append(after / before)
    print(f"the result has {np.median(grew):.1f} times the ink of the thin digit (least {min(grew):.1f})")
    assert SHORT or min(grew) > 1.2

# %% [markdown]
# Means of many give a *direction*: rank 2000 digits by ink, or by slant, within their class, and take
# the mean latent of the top tenth minus that of the bottom tenth. Half of it is added to latents it
# has never met.

# %%
def direction(G, score):
    latents, labels = np.random.default_rng(5).standard_normal((2 * COUNT, 64), np.float32), np.arange(2 * COUNT) % 10
    scores = score(images_of(G, latents, labels)).reshape(-1, 10)
    rank = np.argsort((scores - scores.mean(axis=0)).ravel())
    return latents[rank[-COUNT // 5:]].mean(axis=0) - latents[rank[:COUNT // 5]].mean(axis=0)


new, labels = np.random.default_rng(6).standard_normal((COUNT // 2, 64), np.float32), np.arange(COUNT // 2) % 10
ways = [{score: direction(G, score) for score in (ink, slant)} for G in told]
for G, found in zip(told, ways, strict=True):
    for score, way in found.items():
        less, more = (score(images_of(G, new + sign * way / 2, labels)) for sign in (-1, 1))
        print(f"{score.__name__}: {less.mean():.3f} to {more.mean():.3f}, right for {np.mean(more > less):.0%}")
        assert SHORT or np.mean(more > less) > 0.95


# %%
@style()
def draw_arithmetic(G, found):
    figure = new_figure(7.5, 2.15, "Four digits, their latents plus -1 to +1 times a direction")
    steps = np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    for axes, way, name in zip(figure.subplots(1, 2), found.values(), ("bold - thin", "right - left"), strict=True):
        show(axes, [images_of(G, new[digit] + steps * way, np.full(9, digit)) for digit in (2, 4, 5, 8)], 9, title=name)
    return figure


keep(draw_arithmetic(told[0], ways[0]), "12_arithmetic.png")

# %% [markdown]
# ## Claim 4: nothing was copied, as far as this test can see
#
# For each of 1000 fakes the nearest of all training images, pixel by pixel. A copy would be at
# distance 0. Real test images, which nobody learned from, say what is normal. What the test cannot
# see: a training image *shifted by one pixel* is farther from itself than a test image usually is
# from its nearest. A generator that copies and shifts would pass (Theis et al. 2016).

# %%
nearest = [report.copies(generate(G, COUNT, seed=7)[0], real) for G in told]
train = real.train.images[:1000].astype(np.float32) / 255
shifted = np.median(np.linalg.norm((np.roll(train, 1, axis=2) - train).reshape(1000, -1), axis=1))
for found in nearest:
    print(f"fakes: median {found['median']:.2f}, least {found['least']:.2f}; test images: {found['test_median']:.2f}, "
          f"{found['test_least']:.2f}; shifted training images {shifted:.2f}")
    assert SHORT or found["least"] > found["test_least"] and found["median"] > found["test_median"]
assert report.copies(real.train.images[:20], real)["median"] == 0              # the test does find copies
assert shifted > nearest[0]["test_median"]


# %%
@style()
def draw_nearest(G, found):
    figure = new_figure(7.5, 4.4)
    upper, lower = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    sheet.draw_neighbours(upper.subplots(), found["shown"], generate(G, COUNT, seed=7)[0], real.train.images)
    sheet.draw_distances(lower.subplots(), found)
    return figure


keep(draw_nearest(told[0], nearest[0]), "12_neighbours.png")

# %% [markdown]
# **What to keep.** Walk on the sphere. Label and latent are two handles, what and how; differences of
# mean latents are directions. "Nothing was copied" is as strong as the distance that was measured.
#
# Sources: A. Radford et al., "Unsupervised Representation Learning with Deep Convolutional
# Generative Adversarial Networks" (DCGAN), 2015, arXiv:1511.06434; T. White, "Sampling Generative
# Networks", 2016, arXiv:1609.04468; L. Theis, A. van den Oord and M. Bethge, "A note on the
# evaluation of generative models", 2016, arXiv:1511.01844.
