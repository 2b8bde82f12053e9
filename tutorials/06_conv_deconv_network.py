"""Lesson 6: train the smallest convolution-deconvolution network on a task that needs it."""
# %% [markdown]
# # 6. A conv-deconv network
#
# Takes about 20 seconds on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; its numbers then say little, and the claims that need real training are not checked.
#
# Articles on "deconvolutional networks" like to show one model: a convolution, a transposed
# convolution, and a dense layer that predicts one number per pixel. We build exactly that, give it
# a job that a convolution can do and a look at single pixels cannot, and see whether it works. (The
# hints that such articles end with, batch norm, activations, optimisers, are measured in lab A.)
#
# You need lesson 3 (batches, epochs, Adam) and lesson 5 (what the two convolutions are).

# %%
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import nn, optim
from minideconv.draw.figure import PALETTE, keep, new_figure, style

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SEEDS = range(2 if SHORT else 3)

# %% [markdown]
# ## The job: find the outlines
#
# Three shapes, discs or squares, lie on a background, each in a random colour, with a little noise
# on every pixel. The network gets the picture, `(32, 32, 3)`, and should mark the outlines, `(32,
# 32, 1)`: 1 where one of the four neighbours belongs to another area, else 0. `label` says which
# area a pixel belongs to. The network never sees it.

# %%
def draw_labels(count, rng):
    """(count, 32, 32) integers: 0 is the background, 1 to 3 the shapes;
    later ones cover earlier ones.
    """
    rows, columns = np.mgrid[:32, :32]
    label = np.zeros((count, 32, 32), int)
    for shape in (1, 2, 3):
        middle_row, middle_column = rng.uniform(4, 28, (2, count, 1, 1))
        radius, round_one = rng.uniform(4, 11, (count, 1, 1)), rng.random((count, 1, 1)) < 0.5
        down, across = abs(rows - middle_row), abs(columns - middle_column)              # (count, 32, 32) each
        inside = np.where(round_one, down ** 2 + across ** 2 < radius ** 2, np.maximum(down, across) < radius)
        label[inside] = shape
    return label


# %%
def make_pictures(count, seed):
    """Pictures (count, 32, 32, 3) and their outlines (count, 32, 32, 1), float32."""
    rng = np.random.default_rng(seed)
    label = draw_labels(count, rng)
    colours = rng.random((count, 4, 3))                                                   # one for each area
    pictures = colours[np.arange(count)[:, None, None], label] + 0.05 * rng.standard_normal((count, 32, 32, 3))
    around = np.pad(label, ((0, 0), (1, 1), (1, 1)), mode="edge")
    neighbours = around[:, 2:, 1:-1], around[:, :-2, 1:-1], around[:, 1:-1, 2:], around[:, 1:-1, :-2]
    outlines = np.any([neighbour != label for neighbour in neighbours], axis=0)
    return pictures.astype(np.float32), outlines[..., None].astype(np.float32)


pictures, outlines = make_pictures(128 if SHORT else 1024, seed=0)
unseen_pictures, unseen_outlines = make_pictures(64 if SHORT else 256, seed=1)
assert pictures.shape[1:] == (32, 32, 3) and outlines.shape[1:] == (32, 32, 1)

# %% [markdown]
# ## Claim 1: no look at one pixel can do it
#
# The yardstick of the whole lesson is the **error left over**: the mean squared error divided by
# that of the best constant guess, the mean. 0 is perfect, 1 is "no better than always saying the
# mean".
#
# The first rival is a linear formula of the pixel's own colour, `a*red + b*green + c*blue + d`,
# fitted by least squares to all pixels of all training pictures. The colours are random, so a
# colour says nothing about an outline, and the formula ends up at the mean. (A curved formula of
# one pixel fares no better: it is the row "kernel 1" of lab A.)

# %%
def error_left(prediction, target):
    """Mean squared error over that of predicting the target's mean."""
    return float(np.mean((prediction - target) ** 2) / np.var(target))


def with_one(images):
    # (pixels, 4): red, green, blue, 1
    return np.insert(images.reshape(-1, 3), 3, 1, axis=1)


formula = np.linalg.lstsq(with_one(pictures), outlines.ravel(), rcond=None)[0]
per_pixel = (with_one(unseen_pictures) @ formula).reshape(unseen_outlines.shape)
mean_guess = error_left(outlines.mean(), unseen_outlines)
print(f"error left over: the mean {mean_guess:.3f}, a linear formula per pixel "
      f"{error_left(per_pixel, unseen_outlines):.3f}")
assert error_left(per_pixel, unseen_outlines) > 0.98

# %% [markdown]
# ## Claim 2: the network, and its 10,177 numbers
#
# - convolution 3x3, 3 -> 32 channels, no padding ("valid"): `3*3*3*32 + 32 = 896` numbers to learn
# - transposed convolution 3x3, 32 -> 32: `3*3*32*32 + 32 = 9,248`
# - a dense layer on the last axis, the same for every pixel: `32 + 1 = 33`
#
# After each of the two convolutions stands ReLU, `max(x, 0)`: without something that is not linear
# between them, linear layers in a row are one linear layer.

# %%
def network(rng):
    return nn.Sequential(nn.Conv2d(3, 32, 3, rng=rng), nn.ReLU(), nn.ConvTranspose2d(32, 32, 3, rng=rng), nn.ReLU(),
                         nn.Linear(32, 1, rng=rng))


net = network(np.random.default_rng(0))
assert sum(parameter.size for parameter in net.parameters()) == 10_177

shapes = [pictures[:1].shape]
for layer in net.layers:
    shapes.append(layer(md.Tensor(np.zeros(shapes[-1], np.float32))).shape)
print(" -> ".join(str(shape[1:]) for shape in shapes))
assert shapes[1][1:] == (30, 30, 32) and shapes[3][1:] == (32, 32, 32) and shapes[-1][1:] == (32, 32, 1)

# %% [markdown]
# ## What it is not
#
# It upsamples nothing: 32 -> 30 -> 32. Its stride is 1, so it only gives back the border that the
# first layer cut off. At stride 1 a transposed convolution **is** an ordinary convolution, with the
# kernel turned by 180 degrees, its channel axes swapped, and `kernel - 1` zeros around the picture
# (lesson 5). Nor are its features abstract: the question below shows how little of the picture it
# sees at once. (What is often read about such networks is in `tutorials/OFTEN_READ.md`.)

# %%
rng = np.random.default_rng(0)
features = rng.standard_normal((1, 30, 30, 32)).astype(np.float32)
kernel = net[2].weight.data                                                               # (3, 3, 32 out, 32 in)
stamped = F.conv_transpose2d(features, kernel).data                                       # (1, 32, 32, 32)
turned_kernel = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))            # (3, 3, 32 in, 32 out)
slid = F.conv2d(features, turned_kernel, padding=2).data
assert np.allclose(stamped, slid, atol=1e-5)

# %% [markdown]
# ## Question
#
# The number at row 16, column 16 of the output depends on some pixels of the picture. How many?
# And the number in the corner, row 0, column 0? Decide before you run the cell. It asks the tape:
# a pixel matters where the gradient for it is not zero.

# %%
def pixels_seen(row, column):
    """How many pixels of the picture the output at (row, column) depends on."""
    picture = md.Tensor(pictures[:1].copy(), requires_grad=True)
    net(picture)[0, row, column, 0].backward()
    return int(np.any(picture.grad != 0, axis=3).sum())


print(f"an inner output pixel sees {pixels_seen(16, 16)} pixels, the corner {pixels_seen(0, 0)}")
assert pixels_seen(16, 16) == 5 * 5      # 3x3 features stamp on it, and each feature saw 3x3 pixels
assert pixels_seen(0, 0) == 3 * 3        # only one feature's stamp reaches the corner

# %% [markdown]
# ## Claim 3: the loss falls, and the predictions beat both rivals
#
# Training as in lesson 3: shuffle the pictures, take 32 at a time, compute the mean squared error
# (MSE), let the tape find its gradient and Adam take a step; 10 epochs.

# %%
def train(net, optimizer, pictures, outlines, rng, epochs=10):
    """Train in place. Returns the mean loss of each epoch."""
    losses = []
    for _ in range(epochs):
        losses.append(0)
        for batch in np.split(rng.permutation(len(pictures)), range(32, len(pictures), 32)):
            shown, wanted = pictures[batch], outlines[batch]
            loss = F.mse_loss(net(md.Tensor(shown)), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1] += loss.item() * len(batch) / len(pictures)
    return losses


# %%
def predict(net, pictures):
    """The network's outlines, in evaluation mode and off the tape, 64 pictures at a time."""
    net.eval()
    with md.no_grad():
        batches = [net(md.Tensor(pictures[start:start + 64])) for start in range(0, len(pictures), 64)]
    return np.concatenate([batch.data for batch in batches])


# %%
curves, found, finals = [], [], []
for seed in SEEDS:
    rng = np.random.default_rng(seed)
    net = network(rng)
    curves.append(train(net, optim.Adam(net.parameters()), pictures, outlines, rng))
    found.append(predict(net, unseen_pictures))
    finals.append(error_left(found[-1], unseen_outlines))
    print(f"seed {seed}: MSE {curves[-1][0]:.4f} -> {curves[-1][-1]:.4f}, error left over on unseen pictures "
          f"{finals[-1]:.3f}")
assert all(curve[-1] < curve[0] for curve in curves)
assert max(finals) < (0.99 if SHORT else 0.5) < min(mean_guess, error_left(per_pixel, unseen_outlines))

# %%
@style()
def draw_outlines(rows, count=6):
    """rows: {name: images (N, 32, 32, 1 or 3) in [0, 1]}; the first `count` beside each other."""
    title = "Unseen pictures: one pixel's colour says nothing about outlines, the 5x5 around it says much"
    picture = new_figure(7.6, 5.2, title)
    for across, (name, images) in zip(picture.subplots(len(rows), count), rows.items(), strict=True):
        for axis, image in zip(across, images[:count], strict=True):
            axis.imshow(image, vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
        across[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return picture


rows = {"picture": np.clip(unseen_pictures, 0, 1), "outlines wanted": unseen_outlines,
        "linear formula\nof one pixel": per_pixel, "network": found[0]}
keep(draw_outlines(rows), "06_outlines.png")

# %% [markdown]
# Where does it fail? Take the outline pixels of the unseen pictures, and for each the largest step
# of colour to one of its neighbours. The half with the larger steps should be marked more clearly
# than the half with the smaller ones, where two areas are nearly of one colour and the noise is as
# large as the step.

# %%
around = np.pad(unseen_pictures, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
neighbours = np.stack([around[:, 2:, 1:-1], around[:, :-2, 1:-1], around[:, 1:-1, 2:], around[:, 1:-1, :-2]])
step = np.sqrt(((neighbours - unseen_pictures) ** 2).sum(axis=-1)).max(axis=0)             # (count, 32, 32)
on_outline = unseen_outlines[..., 0] == 1
strong = step > np.median(step[on_outline])
marked = found[0][..., 0]
print(f"mean output on strong outlines {marked[on_outline & strong].mean():.2f}, on faint ones "
      f"{marked[on_outline & ~strong].mean():.2f}, elsewhere {marked[~on_outline].mean():.2f}")
assert marked[on_outline & strong].mean() > marked[on_outline & ~strong].mean() > marked[~on_outline].mean()

# %% [markdown]
# And the loss, epoch by epoch:

# %%
@style()
def draw_losses():
    picture = new_figure(5.4, 3, "Training loss, and what it has to beat")
    axis = picture.subplots()
    for seed, curve in zip(SEEDS, curves, strict=True):
        name = "" if seed else "network, one line per seed"
        axis.plot(range(1, len(curve) + 1), curve, color=PALETTE["dark"], marker="o", markersize=3, label=name)
    axis.axhline(outlines.var(), color=PALETTE["accent"], linestyle="--",
                 label="always the mean (and a linear formula of one pixel)")
    axis.set(xlabel="epoch", ylabel="mean squared error", ylim=(0, None))
    axis.legend(loc="lower left")
    return picture


keep(draw_losses(), "06_training.png")

# %% [markdown]
# ## What to take away
#
# The network works, because its job needs a neighbourhood and nothing more. It is no encoder and
# decoder: nothing is compressed and nothing upsampled.
#
# Sources: V. Dumoulin and F. Visin, "A guide to convolution
# arithmetic for deep learning", 2016.
