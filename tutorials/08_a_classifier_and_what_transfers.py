"""Lesson 8: a classifier of digits, how it overfits, and what its encoder is worth where labels are few."""
# %% [markdown]
# # 8. A classifier, and what transfers
#
# Takes 3 to 5 minutes on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked.
#
# So far our networks made images out of images. Now one has to *say* something: which digit is this?
# That is **classification**. We write its loss, train a network that reads 99 % of MNIST's test
# digits right, watch it overfit, and ask what it has learned that is of use elsewhere.
#
# You need lesson 3 (a step downhill) and lesson 4 (convolutions). The discriminator of lesson 10 is
# a classifier, and so is the judge of lesson 15. With the environment variable `MINIDECONV_DATA`
# naming a folder of MNIST files the digits are MNIST; without it, `strokes`, drawn by a program.

# %%
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import data, optim
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.models.classifier import Classifier
from minideconv.train.pictures import grid
from minideconv.train.supervised import Batches, Plan, Supervised, classification, shifted

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
MNIST = bool(os.environ.get("MINIDECONV_DATA"))
SEEDS = [0] if SHORT else [0, 1, 2]

# %% [markdown]
# ## Cross-entropy: the price of a surprise
#
# The network gives ten numbers for each image, its **logits**; the largest is its answer.
# *Softmax* makes probabilities of them: `p_k = exp(l_k) / sum of all exp(l)`. The loss for one
# image is `-log p` of the right class. It is 0 for somebody who is sure and right, and grows without
# bound for somebody who is sure and wrong. Averaged over images it is the **cross-entropy**.
#
# Two things to know about it. Who spreads the probability evenly over K classes pays `log K`,
# which is 2.303 for ten: a loss near it means that nothing is learned yet. And its slope for the
# logits is `p - 1` at the right class and `p` elsewhere: the error itself.

# %%
rng = np.random.default_rng(0)
logits = md.Tensor(rng.standard_normal((5, 10)), requires_grad=True)
labels = rng.integers(0, 10, 5)
p = np.exp(logits.data) / np.exp(logits.data).sum(axis=1, keepdims=True)            # softmax: (5, 10)
loss = F.cross_entropy(logits, labels)
assert np.isclose(loss.item(), -np.log(p[np.arange(5), labels]).mean())
assert np.isclose(F.cross_entropy(np.zeros((5, 10)), labels).item(), np.log(10))
slope = md.grad(loss, logits)[0].data
assert np.allclose(slope, (p - np.eye(10)[labels]) / 5)                             # 5: the mean over images

# %% [markdown]
# With two classes and the logits (0, s) this is `log(1 + exp(-s))` for the second: what the
# discriminator of lesson 10 pays for a real image with logit s. A discriminator *is* a classifier.

# %%
s = rng.standard_normal((6, 1))
two = np.concatenate([np.zeros((6, 1)), s], axis=1)
real = F.binary_cross_entropy_with_logits(s, np.ones((6, 1)))
assert np.isclose(F.cross_entropy(two, np.ones(6, int)).item(), real.item())

# %% [markdown]
# ## The network
#
# Three times: a convolution, the largest of each 2x2 pixels (**max pooling**), ReLU. What comes out
# of them, 576 numbers, are the **features**; up to there the network is an **encoder**. One dense
# layer, the **head**, turns features into logits. Keep the two apart: the encoder will travel.

# %%
network = Classifier((28, 28, 1), classes=10, width=16, rng=np.random.default_rng(0))
sizes = {name: sum(p.size for p in part.parameters()) for name, part in network.children()}
print(f"parameters: encoder {sizes['encoder']:,}, head {sizes['head']:,}")
assert sum(sizes.values()) == 29_322 and network.features == 576

# %% [markdown]
# The training loop is lesson 3's: a batch, the loss, its gradient, a step of Adam, with a rate that
# falls to zero. The package's trainer does it, and measures on held-out images from time to time;
# with `open_run(folder, trainer)` around it, it would leave checkpoints. Every image is moved by up
# to a pixel at each visit (**augmentation**): a moved 4 is a 4 still, and a new image.

# %%
def fit(network, learner, examples, held_out, most=1, **settings):
    """Train the parameters of `learner`, a part of the network; gives the trainer."""
    images, labels = examples
    plan = Plan(count=len(images), **settings)
    batches = Batches(plan, images, labels, prepare=shifted(most))
    trainer = Supervised(plan, network, classification, batches, optim.Adam(learner.parameters()), held_out=held_out)
    for _ in range(plan.steps):
        trainer.step()
    return trainer


# %%
SOURCE, few = "mnist" if MNIST else "strokes", 4000 if SHORT else None
train = tuple(array[:few] for array in data.load(SOURCE))           # (60000, 28, 28, 1) uint8, (60000,)
test = tuple(array[:few] for array in data.load(SOURCE, "test"))    # 10000 more, never trained on
test = test[0] / np.float32(255), test[1]
trainers = []
for seed in SEEDS:
    network = Classifier(rng=np.random.default_rng(seed))
    trainers.append(fit(network, network, train, test, epochs=2, learning_rate=4e-3, seed=seed))
    print(f"seed {seed}:", {name: round(value, 4) for name, value in trainers[-1].curves[-1].items()})

# %% [markdown]
# ## Claim 1: two epochs, some 40 seconds of one core, and 99 % of the test digits are read right
#
# **Accuracy** is the share of right answers. It is what we want and cannot be trained by: it moves
# in jumps and has no slope.

# %%
accuracies = [trainer.curves[-1]["held_out accuracy"] for trainer in trainers]
print(f"test accuracy: {np.mean(accuracies):.4f} +- {np.std(accuracies):.4f}, {SOURCE}")
assert np.mean(accuracies) > (0.6 if SHORT else 0.99 if MNIST else 0.95)

# %% [markdown]
# ## Claim 2: overfitting: the held-out loss rises again, while accuracy stays
#
# Now with only 300 digits. A network with a hundred times as many parameters as examples can know
# them all by heart: its training accuracy is 1. On digits it has not seen the loss falls, and then
# *rises*, though the accuracy does not: it stays wrong about the same images, and grows ever surer.
# Moving the images is a remedy: fewer can be learned by heart.

# %%
def some(images, labels, count, seed):
    """`count` examples of every class, drawn by chance."""
    rng = np.random.default_rng([seed, count])
    chosen = [rng.choice(np.flatnonzero(labels == digit), count, replace=False) for digit in range(10)]
    return images[np.concatenate(chosen)], labels[np.concatenate(chosen)]


# %%
STEPS = 30 if SHORT else 240
overfitted = {}
for most in (0, 2):
    network, seen = Classifier(rng=np.random.default_rng(0)), some(*train, 30, seed=0)
    overfitted[most] = fit(network, network, seen, tuple(array[:2000] for array in test), most, steps=STEPS,
                           batch_size=60, measure_every=10, learning_rate=3e-3, decay_from=1.0).curves
    print(f"moved by up to {most}:", {name: round(value, 3) for name, value in overfitted[most][-1].items()})

# %%
if not SHORT and MNIST:
    still, moved = (np.array([row["held_out loss"] for row in overfitted[most]]) for most in (0, 2))
    accuracy = np.array([row["held_out accuracy"] for row in overfitted[0]])
    assert overfitted[0][-1]["accuracy"] == 1 and still[-1] > 1.05 * still.min() and still.argmin() < len(still) - 5
    assert accuracy[-1] > accuracy[still.argmin()] - 0.01
    assert moved[-1] < 0.8 * still[-1] and overfitted[2][-1]["held_out accuracy"] > accuracy[-1]

# %% [markdown]
# ## What transfers
#
# Labels cost work: somebody has to look at each image. `strokes` are digits that a program draws,
# with as many labels as we like. So: train on them, keep the encoder, and put a fresh head on it
# for MNIST, of which we label 10, 30 or 100 images a class. Three ways:
#
# - **frozen**: only the head learns, 150 steps, on features that stay what they were;
# - **fine-tuned**: after that all weights learn, 75 steps more at a low rate;
# - **from scratch**: fresh weights everywhere, 225 steps.
#
# Without MNIST files the other hand is played by `strokes` turned by 90 degrees. Before you read
# on, a **question**: both sets show the same ten digits, so the head that was trained on `strokes`
# could simply stay where it is, and no image of MNIST be labelled at all. Is that better or worse
# than a fresh head that learns from ten labelled images a class?

# %%
def turned(images, labels):
    return np.rot90(images, axes=(1, 2)).copy(), labels


source = tuple(array[:few] for array in data.load("strokes"))
other, other_test = (train, test) if MNIST else (turned(*train), turned(*test))
other_test = tuple(array[::2] for array in other_test)             # every second one: 5000


@style()
def draw_hands():
    figure = new_figure(6.4, 1.7)
    for axes, (name, images) in zip(figure.subplots(2, 1), (("strokes", source[0]), (SOURCE, other[0])), strict=True):
        axes.imshow(grid(images[:20] / 255, columns=20), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[], ylabel=name)
    return figure


keep(draw_hands(), "08_hands.png")

# %%
COUNTS = [10] if SHORT else [10, 30, 100]
WAYS = {"frozen": "accent", "fine-tuned": "dark", "from scratch": "middle"}

# %%
def transfer(encoder, examples, steps, seed):
    """Way -> test accuracy, for one draw of examples and the state of one encoder."""
    settings, found = dict(batch_size=50, seed=seed, measure_every=steps), {}
    network = Classifier(rng=np.random.default_rng([seed, 1]))
    found["from scratch"] = fit(network, network, examples, None, steps=steps, learning_rate=3e-3, **settings)
    found["from scratch"] = found["from scratch"].measure(other_test)["accuracy"]
    network = Classifier(rng=np.random.default_rng([seed, 1]))
    network.encoder.load_state_dict(encoder)
    network.encoder.requires_grad_(False)                       # no gradients, and so no work, for what stays
    frozen = fit(network, network.head, examples, None, steps=2 * steps // 3, learning_rate=5e-3, **settings)
    found["frozen"] = frozen.measure(other_test)["accuracy"]
    network.encoder.requires_grad_(True)
    tuned = fit(network, network, examples, None, steps=steps // 3, learning_rate=1e-3, **settings)
    return {**found, "fine-tuned": tuned.measure(other_test)["accuracy"]}


# %%
results, unlabelled = {way: np.zeros((len(SEEDS), len(COUNTS))) for way in WAYS}, []
for row, seed in enumerate(SEEDS):
    network = Classifier(rng=np.random.default_rng(seed))
    taught = fit(network, network, source, None, steps=20 if SHORT else 300, learning_rate=4e-3, seed=seed)
    unlabelled.append(taught.measure(other_test)["accuracy"])   # its own head, which never saw such an image
    for column, count in enumerate(COUNTS):
        found = transfer(network.encoder.state_dict(), some(*other, count, seed), 21 if SHORT else 225, seed)
        for way, accuracy in found.items():
            results[way][row, column] = accuracy
for way, table in results.items():
    print(f"{way:13s}", *(f"{100 * one.mean():.1f} +- {100 * one.std():.1f} %" for one in table.T))

# %% [markdown]
# ## Claim 3: borrowed features are worth most where labels are fewest
#
# Means over three seeds, each with an encoder, a head and labelled images of its own. On MNIST:
#
# | labels a class | 10 | 30 | 100 |
# |---|---|---|---|
# | frozen | 92.6 +- 0.9 % | 95.4 +- 0.4 % | 96.4 +- 0.3 % |
# | fine-tuned | 92.7 +- 0.7 % | 95.7 +- 0.4 % | 96.8 +- 0.3 % |
# | from scratch | 88.2 +- 0.3 % | 94.3 +- 0.1 % | 96.2 +- 0.5 % |
#
# With ten labels the borrowed encoder saves more than a third of the errors; with a hundred little is
# left of the advantage, hardly more than the spread. Fine-tuning adds a few tenths at most.
#
# And the question: the head of `strokes`, which needs no label of MNIST at all, reads 96.4 % of it.
# That is better than ten labels a class, and than thirty: where the classes are the same, transfer
# the head too, and measure before you pay for labels.

# %%
if not SHORT and MNIST:
    mean, free = {way: table.mean(axis=0) for way, table in results.items()}, np.mean(unlabelled)
    print(f"the head of strokes: {100 * free:.1f} +- {100 * np.std(unlabelled):.1f} %")
    assert 1 - mean["frozen"][0] < 0.75 * (1 - mean["from scratch"][0]) and mean["frozen"][1] > mean["from scratch"][1]
    assert (mean["fine-tuned"] > mean["frozen"]).all() and (mean["fine-tuned"] > mean["from scratch"]).all()
    gain = mean["fine-tuned"] - mean["from scratch"]
    assert gain[0] > gain[1] > gain[2] and gain[2] < 0.015
    assert free > mean["fine-tuned"][1] > mean["fine-tuned"][0]                     # the answer to the question

# %%
def draw_overfitting(axes):
    for most, colour in ((0, "accent"), (2, "dark")):
        rows, steps = overfitted[most], [row["step"] for row in overfitted[most]]
        name = f"moved by up to {most} pixels" if most else "as they are"
        axes.plot(steps, [row["held_out loss"] for row in rows], color=PALETTE[colour], label=f"{name}: held out")
        axes.plot(steps, [row["loss"] for row in rows], "--", color=PALETTE[colour], label=f"{name}: training")
    axes.set(title="300 digits, again and again", xlabel="step", ylabel="cross-entropy", ylim=(0, 1.2))


def draw_transfer(axes):
    for way, colour in WAYS.items():
        table = 100 * results[way]
        axes.plot(COUNTS, table.mean(axis=0), "o-", color=PALETTE[colour], label=way, markersize=4)
        axes.fill_between(COUNTS, table.min(axis=0), table.max(axis=0), color=PALETTE[colour], alpha=0.2, linewidth=0)
    axes.axhline(100 * np.mean(unlabelled), color=PALETTE["ink"], linestyle=":", label="head of strokes, no labels")


# %%
@style()
def draw_curves():
    figure = new_figure(8, 3)
    left, right = figure.subplots(1, 2)
    draw_overfitting(left)
    draw_transfer(right)
    right.set(title="Mean and range over seeds", xlabel="labels a class", ylabel="test accuracy, %", xscale="log")
    right.set_xticks(COUNTS, map(str, COUNTS))
    right.minorticks_off()
    left.legend()
    right.legend(loc="lower right")
    return figure


keep(draw_curves(), "08_curves.png")

# %% [markdown]
# ## What to take with you
#
# - Cross-entropy is the price of a surprise; its slope is the error itself. Train it, report the
#   accuracy, and measure both on images that were never trained on.
# - A network that knows its examples by heart grows sure of its mistakes; more examples, also moved
#   ones, are the remedy.
# - An encoder trained where labels are free is worth a few labels elsewhere; many are as good.
#
# Exercises: stop claim 2's training where the held-out loss is least: what does it save? Train on the
# digits 0 to 4 and transfer to 5 to 9: what is the old head worth now?
#
# Sources: J. Yosinski, J. Clune, Y. Bengio and H. Lipson, "How transferable are features in deep neural
# networks?", 2014, arXiv:1411.1792; C. Guo et al., "On calibration of modern neural networks", 2017,
# arXiv:1706.04599 (accuracy that stays while the loss rises).
