"""Lesson 18: the same work from fewer numbers: pruning, narrower layers, and students of a teacher."""
# %% [markdown]
# # 18. Smaller models
#
# Takes 4 to 5 minutes on 2 cores; seconds with `MINIDECONV_SHORT=1`, which checks no claim about training.
#
# A network that works is often larger than it need be. Three ways to a smaller one: **pruning** sets the
# smallest weights to zero and trains on with the others (Han et al. 2015); **narrower layers** have fewer
# channels from the start; **distillation** trains such a network on the answers of the large one, its
# *teacher* (Hinton et al. 2015).
# Measured for lesson 8's classifier and a generator like lesson 15's; you need both lessons.

# %%
import os
import tempfile
import time

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import data, gan, optim, prune, storage
from minideconv.draw.figure import PALETTE, keep, new_figure, style
from minideconv.gan.sample import images_of
from minideconv.metrics.classifier import judge
from minideconv.metrics.frechet import frechet_distance
from minideconv.models.classifier import Classifier
from minideconv.models.conditional import Generator
from minideconv.train import distillation, supervised
from minideconv.train.pictures import grid

# %%
SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SEEDS = range(1) if SHORT else range(3)
SOURCE = "mnist" if os.environ.get("MINIDECONV_DATA") else "strokes"
images, labels = (array[:2000 if SHORT else 15_000] for array in data.load(SOURCE))
test = data.load(SOURCE, "test")
test = test[0][::2] / np.float32(255), test[1][::2]                 # 5000 digits

# %% [markdown]
# ## Pruning, and that it stays
#
# `magnitude_masks` marks the smallest weights. `Masked` stands in for an optimizer: they are zero after every step.

# %%
rng = np.random.default_rng(0)
network = Classifier(rng=rng)
masks = prune.magnitude_masks(network, 0.9)
for make in (optim.Adam, optim.SGD):
    optimizer = prune.Masked(make(network.parameters(), lr=0.01), network, masks)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(network(images[:20] / np.float32(255)), labels[:20]).backward()
        optimizer.step()
    for name, parameter in prune.prunable(network).items():
        assert np.array_equal(parameter.data != 0, masks[name])

# %%
def bytes_on_disk(network):
    """The size of the network's file, with a bit for each zero, once it is read back and found equal."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.npz")
        prune.save_sparse(path, network)
        arrays = prune.dense(storage.load_arrays(path))
        assert all(np.array_equal(arrays[name], array) for name, array in network.state_dict().items())
        return os.path.getsize(path)


full = Classifier(rng=rng)
print(f"{bytes_on_disk(full):,} bytes, pruned {bytes_on_disk(network):,}")
assert bytes_on_disk(network) < 0.25 * bytes_on_disk(full)

# %%
def milliseconds(network, *inputs):
    """Processor time for one of the inputs, the best of five passes."""
    clock = [time.process_time()]
    with md.no_grad():
        for _ in range(5):
            network(*inputs)
            clock.append(time.process_time())
    return 1000 * min(np.diff(clock)) / len(inputs[0])


def measured(network, quality, *inputs):
    """Parameters that are not zero, bytes, milliseconds, quality."""
    count = sum(np.count_nonzero(parameter.data) for parameter in network.parameters())
    return count, bytes_on_disk(network), milliseconds(network, *inputs), quality


# %%
def fit(network, loss, batches, plan, share=0.0):
    """Train a network, with that share of its weights pruned first; gives it in evaluation mode."""
    optimizer = optim.Adam(network.parameters())
    if share:
        optimizer = prune.Masked(optimizer, network, prune.magnitude_masks(network, share))
    trainer = supervised.Supervised(plan, network.train(), loss, batches, optimizer)
    for _ in range(plan.steps):
        trainer.step()
    return network.eval()


# %%
def table(of_seed):
    """Name -> the means over the seeds, and the spread of the quality; printed."""
    rows_of_seeds, found = [of_seed(seed) for seed in SEEDS], {}
    for name in rows_of_seeds[0]:
        rows = np.array([rows[name] for rows in rows_of_seeds])
        found[name] = np.append(rows.mean(axis=0), rows[:, 3].std())
        count, size, cost, quality, spread = found[name]
        print(f"{name:20s} {count:9,.0f} numbers {size:9,.0f} bytes {cost:.3f} ms   {quality:.4f} +- {spread:.4f}")
    return found


# %% [markdown]
# ## The classifier
#
# The teacher is lesson 8's network, 16 channels wide, taught one epoch of 15,000 digits. Distillation's
# loss is the cross-entropy to the teacher's *probabilities*, softened by a temperature of 2 so that
# what it thinks of the wrong classes counts (this 4 looks a little like a 9); labels have half of the
# say. Pruned networks learn on for 150 steps.

# %%
def learn(network, seed, loss=supervised.classification, share=0.0, **length):
    """One epoch, or what `length` says."""
    length = length or dict(epochs=1, learning_rate=4e-3)
    plan = supervised.Plan(count=len(images), batch_size=64, seed=seed, **length)
    return fit(network, loss, supervised.Batches(plan, images, labels, prepare=supervised.shifted(1)), plan, share)


# %%
def classifiers(seed):
    """Name -> measured: the teacher, narrower ones, these distilled, and pruned ones."""
    teacher = learn(Classifier(width=16, rng=np.random.default_rng([seed, 16])), seed)
    networks, soft = {"teacher, 16 wide": teacher}, distillation.distillation(teacher, 2.0, 0.5)
    for width in (8, 4):
        for name, loss in ((f"{width} wide", supervised.classification), (f"{width} wide, distilled", soft)):
            networks[name] = learn(Classifier(width=width, rng=np.random.default_rng([seed, width])), seed, loss)
    for share in (0.5, 0.7, 0.9):
        networks[f"{share:.0%} pruned"] = network = Classifier()
        network.load_state_dict(teacher.state_dict())
        learn(network, seed, share=share, steps=10 if SHORT else 150, learning_rate=2e-3)
    with md.no_grad():
        return {name: measured(network, supervised.classification(network, test)[1]["accuracy"], test[0][:256])
                for name, network in networks.items()}


# %%
readers = table(classifiers)

# %% [markdown]
# ## The generator
#
# A student of G, or a pruned G, is to draw what the teacher draws *from the same latents*: its loss is the
# squared difference, without D or real images. Beside them, narrower ones that play the game themselves.
# The teacher is the default's G, 24 wide, after 500 rounds, a short run. The quality is the digit-feature
# distance (lesson 15) of 3,000 fakes, from the same latents for all, to 10,000 training images.

# %%
ROUNDS = 20 if SHORT else 500
real = judge(images[:2000 if SHORT else 10_000])[0]
probe = np.random.default_rng(9).standard_normal((3000, 64), np.float32)
told = np.arange(len(probe)) % 10


def player(width, seed):
    """A generator that has played the game against a discriminator of its own width."""
    config = gan.Config(data=SOURCE, image_shape=(28, 28, 1), count=len(images), checksum=0, steps=ROUNDS, width=width,
                        names=list("0123456789"), seed=seed)
    trainer = gan.Trainer(config, images, labels)
    for _ in range(ROUNDS):
        trainer.step()
    return trainer.average.eval()                                   # the running average of its weights


# %%
def student(teacher, width, steps, seed, share=0.0):
    """A generator that imitates the teacher: from fresh weights, or, with a share, the teacher's, pruned."""
    def latents(step):
        rng = np.random.default_rng([seed, step])
        return rng.standard_normal((64, 64), np.float32), rng.integers(0, 10, 64)

    network = Generator((28, 28, 1), width=width, classes=10, rng=np.random.default_rng([seed, width]))
    if share:
        network.load_state_dict(teacher.state_dict())
    plan = supervised.Plan(count=64 * steps, batch_size=64, steps=10 if SHORT else steps, seed=seed)
    return fit(network, distillation.imitation(teacher), latents, plan, share)


# %%
def generators(seed):
    """Name -> measured, for G."""
    teacher = player(24, seed)
    networks = {"teacher, 24 wide": teacher}
    for width in (12, 6):
        networks[f"{width} wide"] = player(width, seed)
        networks[f"{width} wide, distilled"] = student(teacher, width, 400, seed)
    for share in (0.2, 0.3, 0.6, 0.8):
        networks[f"{share:.0%} pruned"] = student(teacher, 24, 120, seed, share)
    fakes = {name: images_of(network, probe, told) for name, network in networks.items()}
    drawn[seed] = {name: found[:10] for name, found in fakes.items()}
    return {name: measured(network, frechet_distance(judge(fakes[name])[0], real), probe[:256], told[:256])
            for name, network in networks.items()}


drawn = {}                                                          # seed -> name -> ten fakes
drawers = table(generators)

# %%
KINDS = {"pruned": ("o-", "accent", "pruned"), "wide": ("s-", "middle", "narrower"),
         "distilled": ("D--", "dark", "narrower, distilled")}


def draw_rows(axes, rows):
    """Quality against bytes: a line from the teacher for each kind."""
    teacher, *others = rows.items()
    for kind, (mark, colour, label) in KINDS.items():
        found = sorted([teacher[1], *(row for name, row in others if name.endswith(kind))], key=lambda row: row[1])
        size, quality, spread = np.array(found)[:, [1, 3, 4]].T
        quality, spread = (100 - 100 * quality, 100 * spread) if rows is readers else (quality, spread)
        axes.errorbar(size / 1000, quality, spread, fmt=mark, color=PALETTE[colour], capsize=2, ms=4, label=label)


# %%
@style()
def draw_sizes():
    figure = new_figure(8, 3.2)
    shown = ((readers, "the classifier", "test error, %", (15, 30, 60, 120), (2, 3, 5, 10)),
             (drawers, "the generator", "digit-feature distance", (200, 400, 800), (60, 100, 200)))
    for axes, (rows, title, name, sizes, qualities) in zip(figure.subplots(1, 2), shown, strict=True):
        draw_rows(axes, rows)
        axes.set(title=title, xlabel="kilobytes on disk", ylabel=name, xscale="log", yscale="log")
        axes.set_xticks(sizes, map(str, sizes))
        axes.set_yticks(qualities, map(str, qualities))
        axes.minorticks_off()
    figure.axes[0].legend()
    return figure


keep(draw_sizes(), "18_sizes.png")

# %%
@style()
def draw_fakes():
    figure = new_figure(6.4, 4.2, layout="none")
    rows = figure.subplots(len(drawn[0]), 1, gridspec_kw=dict(left=0.26, right=0.99, top=0.99, bottom=0.01, hspace=0.1))
    for axes, (name, fakes) in zip(rows, drawn[0].items(), strict=True):
        axes.imshow(grid(fakes, columns=10), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


keep(draw_fakes(), "18_drawn.png")

# %% [markdown]
# ## The largest saving within one per cent
#
# The smallest file whose accuracy is at most a hundredth lower than the teacher's, or its distance a
# hundredth larger. A **question** before you look: which of the two gets smaller at that price?

# %%
def smallest(rows, allowed):
    """The name of the smallest file whose quality is allowed, and the teacher's bytes in parts of its own."""
    name = min((name for name, row in rows.items() if allowed(row[3])), key=lambda name: rows[name][1])
    return name, next(iter(rows.values()))[1] / rows[name][1]


reader, saving = smallest(readers, lambda quality: quality >= readers["teacher, 16 wide"][3] - 0.01)
drawer, little = smallest(drawers, lambda quality: quality <= drawers["teacher, 24 wide"][3] * 1.01)
print(f"the classifier: {reader}, {saving:.1f} times smaller; G: {drawer}, {little:.1f} times smaller")

# %% [markdown]
# On MNIST, means of three seeds (`RESULTS.md` has all rows):
# - **The classifier** goes into a third: 8 channels in place of 16 cost 0.9 points of 97.3 % (just within
#   what is allowed; the spread is 0.3), at 3.2 times fewer bytes and 1.7 times less time. Half of its
#   weights can go for nothing (97.6 %: it learned on a little), 70 % for 0.4 points, 90 % for 10 points.
# - **G** has less to spare: 20 % of its weights cost 0.3 % of its distance, 30 % already 1.1 %, so that
#   within one per cent its file shrinks by a sixth. At equal bytes a pruned G (71) beats a narrower one (90).
# - **The students** are no better than the same networks with labels: 96.1 against 96.4 %, 93.4 against
#   93.6. Those of G are far behind (228 against 90): squared error prefers blur.

# %%
if not SHORT and SOURCE == "mnist":
    assert saving > 2.5 and 1.1 < little < 1.5                            # the answer to the question
    r = {name: row[3] for name, row in readers.items()}
    assert r["50% pruned"] > r["teacher, 16 wide"] - 0.005 and r["70% pruned"] > r["teacher, 16 wide"] - 0.01
    assert r["90% pruned"] < r["teacher, 16 wide"] - 0.05
    for width in ("8 wide", "4 wide"):
        assert abs(r[f"{width}, distilled"] - r[width]) < 0.01      # no gain, and little loss
    g = {name: row[3] for name, row in drawers.items()}
    assert g["30% pruned"] < 1.05 * g["teacher, 24 wide"] and g["60% pruned"] < g["12 wide"]
    assert g["12 wide"] < 0.7 * g["12 wide, distilled"] and g["6 wide"] < 0.7 * g["6 wide, distilled"]
assert drawers["60% pruned"][1] < 1.1 * drawers["12 wide"][1]       # no larger a file
assert readers["8 wide"][0] < 0.31 * readers["teacher, 16 wide"][0]

# %% [markdown]
# Zeros make a file smaller and nothing faster; fewer channels do both. Exercises: prune in five rounds, with
# learning between them. Let D judge the student G. Distil with 500 labels.
# Sources: S. Han et al., "Learning both weights and connections for efficient neural networks", 2015,
# arXiv:1506.02626; G. Hinton et al., "Distilling the knowledge in a neural network", 2015, arXiv:1503.02531.
