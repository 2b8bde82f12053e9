"""Lesson 16: twice the resolution, by interpolation and by networks that have learned what digits look like."""
# %% [markdown]
# # 16. Super-resolution
#
# A full run takes about two minutes on 2 cores and needs MNIST; with `MINIDECONV_SHORT=1` it takes
# seconds, with drawn digits alone, one seed, and no claims about trained networks.
#
# A picture of 14 x 14 pixels shall become one of 28 x 28. Three of every four numbers are missing,
# and interpolation can only put something between its neighbours. A network that has seen many
# digits can do better, because it knows what usually belongs there. You need lessons 5 (the
# transposed convolution) and 7 (checkerboards).

# %%
import os

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import optim
from minideconv.draw import stacks
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.gan.translation import Translation, TranslationPlan
from minideconv.metrics.image_quality import psnr, ssim
from minideconv.models import dcgan
from minideconv.models.super_resolution import ENLARGE, bicubic, bilinear, enlarger, halved
from minideconv.train.supervised import Batches, Plan, Supervised

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SOURCES = ["strokes"] if SHORT else ["mnist", "strokes"]
SEEDS, STEPS, TRAINING, HELD_OUT = (range(1), 20, 1_000, 100) if SHORT else (range(3), 400, 10_000, 1_000)


def pairs(source, split, count):
    """Small and large pictures, float32 in [0, 1]: (count, 14, 14, 1) and (count, 28, 28, 1)."""
    large = md.data.load(source, split)[0][:count] / np.float32(255)
    return halved(large), large


data = {source: pairs(source, "train", TRAINING) for source in SOURCES}
held_out = {source: pairs(source, "test", HELD_OUT) for source in SOURCES}

# %% [markdown]
# ## Two figures
#
# **PSNR**, the peak signal-to-noise ratio, is the mean squared error on a logarithmic scale: minus
# ten times its logarithm, in decibels. Ten dB more are a tenth of the error. **SSIM** (Wang et al.
# 2004) compares means, contrasts and correlation in windows of 11 x 11, and is 1 for equal
# pictures. Both compare with the true picture, pixel by pixel.

# %%
truth = held_out["strokes"][1]
noisy = np.clip(truth + 0.1 * np.random.default_rng(0).standard_normal(truth.shape), 0, 1).astype(np.float32)
assert np.allclose(psnr(noisy, truth), -10 * np.log10(((noisy - truth) ** 2).mean(axis=(1, 2, 3))), atol=1e-4)
assert np.allclose(ssim(truth, truth), 1) and ssim(noisy, truth).max() < 1

# %% [markdown]
# ## What there is to beat
#
# *Nearest* repeats each pixel. *Bilinear* is a transposed convolution whose kernel is given: a tent
# of 4 x 4, stamped every second pixel (lesson 5). *Bicubic* (Keys 1981) fits cubic pieces, with
# weights that may be negative, and is what picture programs do.

# %%
def fixed(small):
    """Name -> pictures of twice the size (N, 28, 28, 1) without anything learned."""
    return {"nearest": F.upsample(small, 2).numpy(), "bilinear layer": bilinear()(small).numpy(),
            "bicubic": bicubic(small)}


def figures(pictures, truth):
    pictures = np.clip(pictures, 0, 1)
    return psnr(pictures, truth).mean(), ssim(pictures, truth).mean()


table = {}
for source, (small, truth) in held_out.items():
    for name, pictures in fixed(small).items():
        table[source, name] = [figures(pictures, truth)]
    scores = [table[source, name][0][0] for name in ("nearest", "bilinear layer", "bicubic")]
    assert scores == sorted(scores)                              # the claim: in this order
    inside = np.s_[:, 1:-1, 1:-1]                                # the fixed layer *is* bilinear interpolation
    assert np.allclose(bilinear()(small).data[inside], F.upsample(small, 2, "bilinear").data[inside], atol=1e-6)

# %% [markdown]
# ## Three networks
#
# All begin with two 3 x 3 convolutions at the *small* size, where arithmetic is cheap, and differ in
# their last step: a *transposed* convolution, 4 x 4 with stride 2; *sub-pixel*, a convolution to
# four channels that become a block of 2 x 2 pixels (Shi et al. 2016); and *icnr*, the same with
# four channels that start alike (Aitken et al. 2017). They learn from pairs, by squared error.

# %%
def squared_error(network, batch):
    small, large = batch
    return F.mse_loss(network(small), large)


def trained(kind, source, seed):
    network = enlarger(kind, rng=np.random.default_rng(seed))
    plan = Plan(count=TRAINING, steps=STEPS, batch_size=64, seed=seed, learning_rate=2e-3)
    trainer = Supervised(plan, network, squared_error, Batches(plan, *data[source]), optim.Adam(network.parameters()))
    for _ in range(plan.steps):
        trainer.step()
    return network


def enlarged(network, small):
    with md.no_grad():
        return network(small).numpy()


networks = {(source, kind, seed): trained(kind, source, seed)
            for source in SOURCES for kind in ENLARGE for seed in SEEDS}

# %%
for (source, kind, _), network in networks.items():
    small, truth = held_out[source]
    table.setdefault((source, kind), []).append(figures(enlarged(network, small), truth))
for (source, name), rows in table.items():
    (decibels, similar), spread = np.mean(rows, axis=0), np.ptp(rows, axis=0)
    print(f"{source:8} {name:15} PSNR {decibels:5.2f} (+- {spread[0] / 2:.2f})  SSIM {similar:.3f} "
          f"(+- {spread[1] / 2:.3f})")
for source in [] if SHORT else SOURCES:
    for kind in ENLARGE:                                         # the claim: every network, every seed
        assert min(row[0] for row in table[source, kind]) > table[source, "bicubic"][0][0] + 2
        assert min(row[1] for row in table[source, kind]) > table[source, "bicubic"][0][1] + 0.04

# %% [markdown]
# ## Does training leave a checkerboard?
#
# Lesson 7 found the grid in networks that were never trained. Here is its measure for a trained
# one: the input is the same grey everywhere, so that the output should be flat too. Away from the
# border the output repeats every two pixels; what differs among the four places of a block is
# the checkerboard, and its standard deviation, over eleven greys, its strength.

# %%
def checkerboard(network):
    """Root mean square of what the four places of a block differ by, for flat inputs from black to white."""
    greys = np.linspace(0, 1, 11, dtype=np.float32)[:, None, None, None]
    flat = enlarged(network, np.broadcast_to(greys, (11, 16, 16, 1)).copy())[:, 8:-8, 8:-8, 0]
    blocks = flat.reshape(11, 8, 2, 8, 2)
    assert np.allclose(blocks, blocks[:, :1, :, :1], atol=1e-5)  # nothing but a period of two
    return np.sqrt(blocks[:, 0, :, 0].var(axis=(1, 2)).mean())


grids = {}
for kind in ENLARGE:
    before = [checkerboard(enlarger(kind, rng=np.random.default_rng(seed))) for seed in SEEDS]
    after = [checkerboard(network) for (_, name, _), network in networks.items() if name == kind]
    grids[kind] = before, after
    print(f"{kind:10} before training {np.mean(before):.4f}   after {np.mean(after):.4f} "
          f"({min(after):.4f} to {max(after):.4f})")
assert max(grids["icnr"][0]) < 1e-6 < 0.01 < min(grids["sub-pixel"][0] + grids["transposed"][0])
if not SHORT:                                                    # the claims
    assert all(np.mean(grids[kind][1]) < np.mean(grids[kind][0]) / 4 for kind in ("transposed", "sub-pixel"))
    assert np.mean(grids["icnr"][1]) > 0.001 and np.mean(grids["sub-pixel"][1]) > np.mean(grids["icnr"][1])

# %% [markdown]
# ICNR begins without a grid, and the others with one of five percent of white. Training takes six
# sevenths of that away, because on digits a grid costs squared error, and gives ICNR a little of its
# own: the data break the tie. After training *transposed* and *icnr* are alike, about 1.5 grey levels
# out of 255, and plain sub-pixel keeps a little more. So what ICNR is good for is the beginning, or
# a short training. In pictures of digits none of the grids can be seen: there is as much power at
# two-pixel frequencies as in true digits, compared with the frequencies beside them (lesson 7).

# %%
for source, (small, truth) in held_out.items():
    def peak(pictures):
        return stacks.peak(stacks.power_spectrum(np.clip(pictures[..., 0], 0, 1)), 2)
    made = {kind: np.mean([peak(enlarged(networks[source, kind, seed], small)) for seed in SEEDS]) for kind in ENLARGE}
    print(f"{source}: peak at frequency 1/2, truth {peak(truth):.2f}", {kind: round(x, 2) for kind, x in made.items()})
    assert SHORT or max(made.values()) < 1.25 * peak(truth)      # the claim: digits show no grid

# %% [markdown]
# ## Why PSNR prefers blur
#
# Suppose that the small picture allows two answers, a stroke here or one pixel to the right, and
# both are as likely. A network that chooses is right half of the time. One that draws both at half
# strength is never right, and always has the smaller error: the mean of the possible answers
# minimises the squared error, whatever they are.

# %%
here, there = np.zeros((2, 1, 8, 8, 1))
here[:, :, 3], there[:, :, 4] = 1, 1
both = (here + there) / 2


def expected_error(answer):
    return np.mean([((answer - truth) ** 2).mean() for truth in (here, there)])


assert expected_error(both) == expected_error(here) / 2          # the claim: half the error, 3 dB "better"
assert not any(np.array_equal(both, answer) for answer in (here, there))

# %% [markdown]
# An adversary thinks otherwise: no real digit is drawn at half strength. So we let the trained
# network play against a discriminator for a while, with an L1 loss that keeps it to the input
# (the trainer is lesson 17's). *Sharpness* is the mean difference between neighbouring pixels,
# where the truth has 1.

# %%
def sharpness(pictures, truth):
    steep = [np.abs(np.diff(side, axis=1)).mean() + np.abs(np.diff(side, axis=2)).mean() for side in (pictures, truth)]
    return steep[0] / steep[1]


def play(network, source, seed):
    """The network after a short game, a copy."""
    player = enlarger("transposed", rng=np.random.default_rng(seed))
    player.load_state_dict(network.state_dict())
    plan = TranslationPlan(count=TRAINING, steps=STEPS, batch_size=32, seed=seed, learning_rate=1e-3, l1=3.0)
    judge = dcgan.Discriminator((28, 28, 1), width=32, rng=np.random.default_rng(seed))
    trainer = Translation(plan, player, judge, Batches(plan, *data[source]))
    for _ in range(plan.steps):
        trainer.step()
    return player


source = SOURCES[0]
small, truth = held_out[source]
panel, strengths = {"bicubic": [bicubic(small)], "squared error": [], "with an adversary": []}, []
for seed in SEEDS:
    learned = networks[source, "transposed", seed]
    played = play(learned, source, seed)
    panel["squared error"].append(enlarged(learned, small))
    panel["with an adversary"].append(enlarged(played, small))
    strengths.append((checkerboard(learned), checkerboard(played)))

# %%
judged = {name: np.array([(*figures(made, truth), sharpness(np.clip(made, 0, 1), truth)) for made in several])
          for name, several in panel.items()}
for name, rows in judged.items():
    print(f"{name:18} PSNR {rows[:, 0].mean():5.2f}  SSIM {rows[:, 1].mean():.3f}  sharpness {rows[:, 2].mean():.3f}")
print("checkerboards before and after the game:", np.round(strengths, 4).tolist())
if not SHORT:                                                    # the claims, seed by seed
    plain, played = judged["squared error"], judged["with an adversary"]
    assert (played[:, 2] > plain[:, 2] + 0.01).all() and (played[:, 0] < plain[:, 0]).all()

# %%
@style()
def picture():
    columns = {"input": F.upsample(small, 2).numpy(), "bicubic": panel["bicubic"][0],
               "squared error": panel["squared error"][0], "with an adversary": panel["with an adversary"][0],
               "truth": truth}
    figure = new_figure(7, 6)
    for place, axes in enumerate(figure.subplots(4, 5).ravel()):
        row, (name, images) = place // 5, list(columns.items())[place % 5]
        axes.imshow(np.clip(images[7 + row, :, :, 0], 0, 1), cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[], title="" if row else name)
        if row == 3 and name in judged:
            decibels, _, sharp = judged[name].mean(axis=0)
            axes.set_xlabel(f"{decibels:.1f} dB\nsharpness {sharp:.2f}", color=PALETTE["accent"])
    return figure


keep(picture(), "16_super_resolution.png")

# %% [markdown]
# With an adversary the strokes are as sharp as real ones, and the figure is lower by more than a
# decibel, though few would call these strokes worse. (In the black there are faint dots: D's gradient
# has brought back some of the grid, as lesson 7 said it would.) No figure that compares pixel by pixel can reward
# a choice that the input does not settle (Blau and Michaeli 2018, "The perception-distortion
# tradeoff"). Which of the two is wanted depends on the use: invented strokes look right, and may be
# the wrong digit.
#
# ## Exercises
#
# 1. Train with `F.l1_loss` in place of the squared error. Which of the two figures gains?
# 2. Let the network learn only what bicubic lacks: its output is added to `bicubic(small)`.
# 3. Enlarge twice, to 56 x 56, with the same network. What does it make of the edges?
#
# ## A question
#
# A network has 24 dB where bicubic has 20. How large is its root mean squared error, in grey
# levels out of 255, and which share of bicubic's squared error is left?
#
# Answer: 24 dB are a mean squared error of 10^-2.4, and its root is 10^-1.2 = 0.063 of white,
# 16 grey levels. 4 dB less are 10^-0.4 = 40 % of the squared error.

# %%
assert round(255 * 10 ** (-24 / 20)) == 16 and round(100 * 10 ** ((20 - 24) / 10)) == 40
level = 16 / 255
assert abs(psnr(np.full((1, 4, 4, 1), level), np.zeros((1, 4, 4, 1)))[0] - 24) < 0.1
print("all claims hold")
