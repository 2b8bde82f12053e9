"""Lesson 9: pictures of what a unit of a classifier responds to, and how much such pictures say."""
# %% [markdown]
# # 9. Seeing what a network sees
#
# Takes 2 to 4 minutes on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked.
#
# A classifier has thousands of **units**: one number of one layer's map each. What in the image
# does a unit respond to? The first thing that was called a *deconvnet* (Zeiler and Fergus 2013)
# answers that. It is not trained: it sends a signal from the unit back through the network to the
# image. We build it from parts that you know, set it beside two relatives that differ in one rule,
# and then put all three to a test that is easily forgotten: would the picture look different if
# the network had learned nothing?
#
# You need lesson 5 (the transposed convolution) and lesson 8 (the classifier).

# %%
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import data, nn, optim
from minideconv.draw import saliency
from minideconv.draw.deconvnet import draw_deconvnet, most_active
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.draw.saliency import METHODS, saliency_maps
from minideconv.metrics.classifier import shipped
from minideconv.models.classifier import Classifier
from minideconv.train.supervised import Batches, Plan, Supervised, classification, shifted

# %%
SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
rng = np.random.default_rng(0)

# %% [markdown]
# ## The way back: three kinds of layers
#
# A signal starts as 1 at one unit and 0 elsewhere, and goes down layer by layer.
#
# **A convolution** is passed by its transpose, with the same filters: each number of the signal
# stamps the filter that it was read with. That is its gradient for the image, too.

# %%
x = md.Tensor(rng.standard_normal((1, 8, 8, 2)), requires_grad=True)
w, signal = rng.standard_normal((3, 3, 2, 4)), rng.standard_normal((1, 6, 6, 4))
back = F.conv_transpose2d(signal, w)
assert np.allclose(back.data, md.grad(F.conv2d(x, w), x, gradient=signal)[0].data)

# %% [markdown]
# **Max pooling** throws three of four pixels away and forgets where the largest one was. So the
# forward pass notes it: the **switches**. On the way back each number is put where its maximum
# was, and zeros elsewhere. A round trip keeps the maxima, at their places, and nothing else.

# %%
y, switches = F.max_pool2d(x, 2, return_indices=True)               # (1, 4, 4, 2), places h * 8 + w
up = F.max_unpool2d(y, switches, 2).data                            # (1, 8, 8, 2)
largest = x.data == y.data.repeat(2, axis=1).repeat(2, axis=2)      # where x is the largest of its window
assert largest.sum() == y.size and np.array_equal(up, np.where(largest, x.data, 0))
again, same = F.max_pool2d(np.where(largest, x.data, -np.inf), 2, return_indices=True)
assert np.array_equal(again.data, y.data) and np.array_equal(same, switches)

# %% [markdown]
# **ReLU**, `y = max(a, 0)`, is where the three methods part. `a` is what came in on the way up, `g`
# the signal that comes down.
#
# | method | lets through | is from |
# |---|---|---|
# | gradient | g where a > 0 | Simonyan et al. 2013 |
# | deconvnet | g where g > 0 | Zeiler and Fergus 2013 |
# | guided backpropagation | g where a > 0 and g > 0 | Springenberg et al. 2015 |
#
# Only the first is a derivative. The deconvnet does not look at `a` at all, and guided
# backpropagation is both rules, one after the other.

# %%
a = np.array([+2.0, +2.0, -2.0, -2.0])
g = np.array([+1.0, -1.0, +1.0, -1.0])
assert saliency.through_relu(g, a, "gradient").tolist() == [1, -1, 0, 0]
assert saliency.through_relu(g, a, "deconvnet").tolist() == [1, 0, 1, 0]
assert saliency.through_relu(g, a, "guided").tolist() == [1, 0, 0, 0]
both = saliency.through_relu(saliency.through_relu(g, a, "gradient"), a, "deconvnet")
assert np.array_equal(both, saliency.through_relu(g, a, "guided"))

# %% [markdown]
# ## A classifier to look into
#
# Lesson 8's, for one epoch, three times from other first weights: what follows should not hang on
# one of them. And its layers by number.

# %%
SOURCE = "mnist" if os.environ.get("MINIDECONV_DATA") else "strokes"
SEEDS = [0] if SHORT else [0, 1, 2]
images, labels = (array[:3000 if SHORT else None] for array in data.load(SOURCE))
test, answers = data.load(SOURCE, "test")
test, answers = (test[:1000] / np.float32(255)), answers[:1000]     # (1000, 28, 28, 1)


def trained(seed):
    """A classifier in evaluation mode."""
    plan = Plan(count=len(images), epochs=1, learning_rate=4e-3, seed=seed)
    network = Classifier(rng=np.random.default_rng(seed))
    trainer = Supervised(plan, network, classification, Batches(plan, images, labels, prepare=shifted(1)),
                         optim.Adam(network.parameters()))
    for _ in range(plan.steps):
        trainer.step()
    print(f"seed {seed}: {trainer.measure((test, answers))}")
    return network.eval()


# %%
networks = [trained(seed) for seed in SEEDS]
network = networks[0]
print(", ".join(saliency.names_of(network)))
LAYERS = len(saliency.names_of(network))
LOGITS, CONV = LAYERS - 1, 6                                        # the ten logits, and the last convolution

# %% [markdown]
# ## Claim 1: ten lines are a deconvnet
#
# From a unit of the last convolution: transpose, ReLU, unpool, transpose, ReLU, unpool, transpose.

# %%
def deconvnet(image, unit):
    """The picture (1, 28, 28, 1) of a unit (i, j, channel) of the third convolution, by hand."""
    first, second, third = (network.encoder.layers[place] for place in (0, 3, 6))
    x, low = F.max_pool2d(first(image), 2, return_indices=True)         # (1, 14, 14, 16)
    x, high = F.max_pool2d(second(F.relu(x)), 2, return_indices=True)   # (1, 7, 7, 32)
    signal = np.zeros(third(x).shape, np.float32)
    signal[(0, *unit)] = 1
    for layer, places in ((third, high), (second, low)):
        signal = F.conv_transpose2d(signal, layer.weight, padding="same")
        signal = F.max_unpool2d(F.relu(signal), places, 2)
    return F.conv_transpose2d(signal, first.weight, padding="same").data


unit = (3, 2, 7)
assert np.allclose(deconvnet(test[:1], unit), saliency_maps(network, test[:1], CONV, unit)["deconvnet"], atol=1e-6)

# %% [markdown]
# The package's `saliency_maps` does that for every layer of any network of layers in a row. For the
# plain gradient the tape is the judge: a unit by chance in each layer.

# %%
for layer in range(LAYERS):
    found = saliency.activations(network, test[:4], layer)
    unit = tuple(int(rng.integers(size)) for size in found.shape[1:])
    leaf, layers = md.Tensor(test[:4], requires_grad=True), [*network.encoder.layers, network.head]
    nn.Sequential(*layers[:layer + 1])(leaf)[(slice(None), *unit)].sum().backward()
    maps = saliency_maps(network, test[:4], layer, unit)
    assert np.allclose(maps["gradient"], leaf.grad, rtol=1e-4, atol=1e-6) and set(maps) == set(METHODS)

# %% [markdown]
# ## What the units look for
#
# Zeiler and Fergus' picture: a channel, the four test images that excite it most, and what the three
# methods show of them. The frame in an image is all that the unit can see, its receptive field. First
# a channel of the last convolution, then the logit "3".

# %%
loudest = int(saliency.activations(network, test, CONV).max(axis=(0, 1, 2)).argmax())
for layer, channel, name in ((CONV, loudest, "unit"), (LOGITS, 3, "logit")):
    which, units = most_active(network, test, layer, channel, 4)
    title = f"channel {channel} of layer {saliency.names_of(network)[layer]}, where it is strongest"
    keep(draw_deconvnet(network, test[which], layer, units, title=title), f"09_{name}.png")

# %% [markdown]
# ## Claim 2: without switches the deconvnet does not look at the image
#
# Its rule reads `g` alone, so the image comes in by the switches and by nothing else. The judge that
# comes with this package has strides in place of pooling: its deconvnet pictures of one unit are the
# same for any two images.

# %%
def agreement(network, layer, unit, method):
    """Rank correlation of one unit's maps in two images."""
    maps = saliency_maps(network, test[:2], layer, unit)[method]
    return saliency.rank_correlation(maps[0], maps[1])


judge = shipped()
striding = {method: agreement(judge, len(saliency.names_of(judge)) - 1, 3, method) for method in METHODS}
pooling = {method: agreement(network, LOGITS, 3, method) for method in METHODS}
print("strides:", striding, "\npooling:", pooling)
assert np.isclose(striding["deconvnet"], 1) and pooling["deconvnet"] < 0.99 and striding["guided"] < 0.99

# %% [markdown]
# ## The test of random weights
#
# A picture of what a network has *learned* must change when what it has learned is taken away.
# Adebayo et al. (2018) draw the weights anew, from the top down, one layer after the other, and
# compare the maps before and after by the **rank correlation** of their pixels: 1 is the same order, 0
# is none. They report that guided backpropagation hardly changes, while the gradient does. Before
# you read on, a **question**: with *all* weights drawn anew, which of the three maps stays most like
# what it was, and how much of it?

# %%
shown = test[:10 if SHORT else 50]
own = answers[:len(shown), None]                                    # each image's own digit: its logit
untaught = [Classifier(rng=np.random.default_rng(100 + seed)).eval() for seed in SEEDS]


def cascade(absolute):
    """Method -> (seeds, 5): rank correlations, means over the images, with 0 to 4 layers random."""
    found = [saliency.randomization_test(learned, fresh, shown, LOGITS, own, absolute=absolute)
             for learned, fresh in zip(networks, untaught, strict=True)]
    return {method: np.array([np.nanmean(rows[method], axis=1) for rows in found]) for method in METHODS}


curves = {"the maps": cascade(False), "the maps' sizes": cascade(True)}
for name, table in curves.items():
    for method, rows in table.items():
        print(f"{name:16s} {method:10s}", np.round(rows.mean(axis=0), 2), "all random:", np.round(rows[:, -1], 2))

# %%
@style()
def draw_test():
    figure = new_figure(8, 2.9)
    for axes, (name, table) in zip(figure.subplots(1, 2, sharey=True), curves.items(), strict=True):
        for method, colour, line in zip(METHODS, ("accent", "dark", "middle"), ("-", "--", "-."), strict=True):
            rows = table[method]
            axes.plot(rows.mean(axis=0), line, color=PALETTE[colour], label=method, marker="o", markersize=4)
            axes.fill_between(range(5), rows.min(axis=0), rows.max(axis=0), color=PALETTE[colour], alpha=0.2,
                              linewidth=0)
        axes.set_xticks(range(5), ["none", "head", "+ conv 3", "+ conv 2", "all"])
        axes.set(title=f"of {name}", xlabel="layers with random weights", ylim=(-0.1, 1.05))
    figure.axes[0].set(ylabel="rank correlation with before")
    figure.axes[0].legend()
    return figure


keep(draw_test(), "09_random_weights.png")

# %% [markdown]
# ## Claim 3: the gradient forgets at once, the other two only in part
#
# With a random head alone, nothing is left of the gradient's order (0.01), but 0.75 of the deconvnet's
# and 0.83 of guided backpropagation's. With all weights random both still agree to 0.38 with what they
# were, and in size (no signs) guided backpropagation to 0.71. So "hardly changes", which the paper shows
# for deep networks and photographs, is too much to say of ours; that it *does not forget* is not. The
# answer to the question: the two that look at the sign of `g`, and about equally, to two fifths.
#
# Beware of sizes alone: those of the gradient agree to 0.45 as well, only because every map is large
# where the digit is and small in the empty corners.

# %%
if not SHORT:
    signed, sizes = ({method: rows.mean(axis=0) for method, rows in table.items()} for table in curves.values())
    assert abs(signed["gradient"][1:]).max() < 0.1 and signed["deconvnet"][1] > 0.5 and signed["guided"][1] > 0.6
    for method in ("deconvnet", "guided"):
        assert (np.diff(signed[method]) < 0).all()                  # it forgets with every layer
        assert 0.2 < curves["the maps"][method][:, -1].min() and signed[method][-1] < 0.6
    assert sizes["guided"][-1] > 0.55 and sizes["gradient"][-1] > 0.25

# %% [markdown]
# ## Claim 4: what remains is the image
#
# The same three digits, seen by a network that learned to read them and by one that has learned
# nothing. The deconvnet and guided backpropagation draw the digit both times! With random weights their
# maps are about as like the *image* as with learned ones. Switches and ReLUs find edges by themselves,
# and a signal that may only be positive follows them home.

# %%
def likeness(network, method):
    """Rank correlation of a map's sizes with its image, the mean over the images."""
    maps = saliency_maps(network, shown, LOGITS, own, [method])[method]
    return np.mean([saliency.rank_correlation(abs(one), image) for one, image in zip(maps, shown, strict=True)])


for method in METHODS:
    taught, random = (np.mean([likeness(one, method) for one in kind]) for kind in (networks, untaught))
    print(f"{method:10s} like the image: learned {taught:.2f}, random {random:.2f}")
    assert SHORT or method == "gradient" or random > taught - 0.15

# %%
which = [int(np.flatnonzero(answers == digit)[0]) for digit in (2, 4, 7)]
title = "the logit of each image's own digit: trained (left), and all weights random"
keep(draw_deconvnet(network, test[which], LOGITS, answers[which, None], untaught[0], title), "09_random_maps.png")

# %% [markdown]
# ## What to take with you
#
# - The deconvnet is the transposed network: the same filters, switches for pooling, a ReLU on the
#   signal. Change that one rule and it is the gradient, or guided backpropagation.
# - Pretty is no proof. A picture that a network without any learning draws as well tells of the image
#   and of the architecture. Ask every method of explanation for this test.
# - The gradient passes it, and is the hardest to read.
#
# `minideconv draw deconvnet` makes such pictures of a classifier that comes with the package.
# Exercises: put ReLU before the pooling, and find the windows where the deconvnet's switches change.
# Draw the weights anew from the bottom up. Do lesson 7's checkerboards show in the gradient's maps?
#
# Sources: M. Zeiler and R. Fergus, "Visualizing and understanding convolutional networks", 2013,
# arXiv:1311.2901; K. Simonyan et al., "Deep inside convolutional networks", 2013, arXiv:1312.6034;
# J. Springenberg et al., "Striving for simplicity", 2015, arXiv:1412.6806; J. Adebayo et al., "Sanity
# checks for saliency maps", 2018, arXiv:1810.03292.
