"""Lesson 19: an autoencoder and a diffusion model, and weights that leave for PyTorch and ONNX."""
# %% [markdown]
# # 19. Where to go next
#
# Takes 3 to 4 minutes on 2 cores. With the environment variable `MINIDECONV_SHORT=1` it takes
# seconds; the claims that need real training are then not checked.
#
# A GAN is one way to make a network draw. Two others fit on a page each, on the layers that you
# know: an **autoencoder**, which squeezes an image through a few numbers, and a **diffusion
# model**, which learns to remove noise. Neither has an opponent: each makes one number small, as in
# lesson 3. Then a network leaves for PyTorch and for ONNX and comes back. Neither package is needed;
# where they are installed, they are asked too. You need lesson 5 (transposed convolutions) and
# lesson 11, whose generator is the decoder here; the digits are as there.

# %%
import importlib.util
import os
import runpy
import tempfile

import numpy as np

import minideconv as md
import minideconv.functional as F
from minideconv import data, interchange, nn, optim
from minideconv.draw.figure import keep, new_figure, style
from minideconv.metrics import classifier, frechet, modes
from minideconv.models import dcgan
from minideconv.train.pictures import grid

SHORT = os.environ.get("MINIDECONV_SHORT") == "1"
SOURCE = "mnist" if os.environ.get("MINIDECONV_DATA") else "strokes"
CODE, WIDTH = 16, 16                # numbers that an image is squeezed into; channels

# %%
def descend(networks, cost, steps, rate=2e-3):
    """Make cost() small with Adam, whose rate falls to 0 in the second half; gives what each step paid."""
    adam, paid = optim.Adam([weight for network in networks for weight in network.parameters()], rate), []
    for step in range(steps):
        adam.lr = rate * min(1, 2 * (1 - step / steps))
        loss = cost()
        adam.zero_grad()
        loss.backward()
        adam.step()
        paid.append(loss.item())
    return np.array(paid)


# %%
def through(network, rows):
    """The network in evaluation mode on rows (N, ...), a thousand at a time."""
    network.eval()
    with md.no_grad():
        made = [network(rows[first:first + 1000]).data for first in range(0, len(rows), 1000)]
    network.train()
    return np.concatenate(made)


@style()
def strips(file, title, rows):
    figure = new_figure(7.2, 0.3 + 0.55 * len(rows), title)
    for axes, (name, made) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        axes.imshow(grid(made[:14], columns=14), cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    keep(figure, file)


# %% [markdown]
# ## An autoencoder in a page
#
# An encoder of strided convolutions gives 16 numbers, the **code**; a decoder, lesson 11's
# generator with a narrower entrance, makes an image of them. The cost is the cross-entropy of each
# pixel with the original: the image is its own target.

# %%
def autoencoder(seed):
    rng = np.random.default_rng(seed)
    encoder = nn.Sequential(nn.Conv2d(1, WIDTH, 4, 2, 1, rng=rng), nn.LeakyReLU(0.2),           # (N, 14, 14, WIDTH)
                            nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1, rng=rng), nn.LeakyReLU(0.2),   # (N, 7, 7, 2 * WIDTH)
                            nn.Flatten(), nn.Linear(7 * 7 * 2 * WIDTH, CODE, rng=rng))
    decoder = dcgan.Generator((28, 28, 1), CODE, WIDTH, rng=rng)

    def cost():
        batch = images[rng.integers(0, len(images), 128)]
        return F.binary_cross_entropy(decoder(encoder(batch)), batch)

    descend((encoder, decoder), cost, 20 if SHORT else 900)
    return encoder, decoder


# %% [markdown]
# The cost cannot be 0: grey pixels cost something even if they are copied. And the best *linear*
# autoencoder is known: the 16 directions in which images vary most (principal components).

# %%
images, test = (data.load(SOURCE, split)[0].astype(np.float32) / 255 for split in ("train", "test"))    # (N, 28, 28, 1)
flat, centre = test.reshape(-1, 784), images.reshape(-1, 784).mean(axis=0)
main = np.linalg.svd(images[:6000].reshape(-1, 784) - centre, full_matrices=False)[2][:CODE]        # (CODE, 784)
linear = ((flat - centre) @ main.T @ main + centre).reshape(test.shape)
copied = F.binary_cross_entropy(test, test).item()

pairs = [autoencoder(seed) for seed in ([0] if SHORT else [0, 1, 2])]
rebuilt = [through(decoder, through(encoder, test)) for encoder, decoder in pairs]
costs = [F.binary_cross_entropy(made, test).item() for made in rebuilt]
*errors, linear_error = (float(((made - test) ** 2).mean()) for made in (*rebuilt, linear))
print(f"cost {np.round(costs, 4)}, copied {copied:.4f}; squared error {np.round(errors, 4)}, linear {linear_error:.4f}")
assert min(costs) > copied and (SHORT or max(errors) < 0.5 * linear_error)
assert SHORT or SOURCE != "mnist" or max(costs) < 0.094
strips("19_autoencoder.png", f"Test images, and what is left of them after {CODE} numbers",
       {"image": test, "autoencoder": rebuilt[0], "linear": linear.clip(0, 1)})

# %% [markdown]
# The tutorial that many begin with (F. Chollet, "Building Autoencoders in Keras", 2016) reports for
# MNIST .094 with convolutions and a code of 128 numbers, .097 with dense layers and 32, .10 with a
# sparse code. Ours needs 16 for that. But a decoder is not yet a generator: nobody says which codes
# are digits. The simplest guess is a Gaussian with the codes' mean and covariance. We turn and
# stretch the codes so that this is N(0, I) (**whitening**); what is drawn from it is our baseline.

# %%
def whitened(encoder, decoder):
    """The training codes (N, CODE), whitened, and a function from whitened codes to images."""
    codes = through(encoder, images).astype(np.float64)
    mean, (values, turn) = codes.mean(axis=0), np.linalg.eigh(np.cov(codes.T))
    white, back = (codes - mean) @ turn / np.sqrt(values), np.sqrt(values)[:, None] * turn.T
    return white, lambda white: through(decoder, np.float32(white @ back + mean))


worlds = [whitened(*pair) for pair in pairs]
assert np.allclose(np.cov(worlds[0][0].T), np.eye(CODE))

# %% [markdown]
# ## A diffusion model in a page
#
# Ho et al. 2020 (DDPM) destroy data in T small steps, `x_t = sqrt(1 - beta_t) x_(t-1) +
# sqrt(beta_t) noise`, until only noise is left. All steps up to t are one step,
#
#     x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise,     abar_t = product of (1 - beta) up to t
#
# so a network can be trained at any t at once: it sees x_t and t, and says which noise was added; the
# cost is its squared error. To sample, begin with noise and take back what it says, step by step.
# Unlike the paper we work on codes, not pixels, as large image models do (Rombach et al. 2022), take
# 200 steps for 1000, each five times as large, and dense layers for a U-Net (lesson 17).

# %%
T = 50 if SHORT else 200
beta = np.linspace(1e-4, 0.02, T) * 1000 / T
abar = np.cumprod(1 - beta)                                     # (T,)
assert np.isclose((beta * abar[-1] / abar).sum(), 1 - abar[-1]) and abar[-1] < 1e-4     # nothing is left of x_0

# %%
def with_time(x, t):
    """x (N, CODE) and t (N,) side by side, the time as 32 waves of it: (N, CODE + 32)."""
    angles = t[:, None] / T * 1000 ** np.linspace(0, 1, 16)
    return np.concatenate([x, np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def diffusion(white, seed):
    """A network (N, CODE + 32) -> the noise in x_t, (N, CODE), and what its steps paid."""
    rng = np.random.default_rng(seed)
    hidden = [layer for size in (CODE + 32, 512, 512) for layer in (nn.Linear(size, 512, rng=rng), nn.LeakyReLU())]
    network = nn.Sequential(*hidden, nn.Linear(512, CODE, rng=rng))

    def cost():
        t, noise = rng.integers(0, T, 256), rng.standard_normal((256, CODE), np.float32)
        left = abar[t][:, None]
        x = np.sqrt(left) * white[rng.integers(0, len(white), 256)] + np.sqrt(1 - left) * noise
        return F.mse_loss(network(with_time(x, t)), noise)

    return network, descend([network], cost, 20 if SHORT else 3000)


# %%
def samples(says_noise, count, seed):
    """Codes from noise, and all on the way to them: (T + 1, count, CODE); says_noise(x, t) is the network."""
    rng = np.random.default_rng(seed)
    path = [rng.standard_normal((count, CODE))]
    for t in range(T - 1, -1, -1):
        x = (path[-1] - beta[t] / np.sqrt(1 - abar[t]) * says_noise(path[-1], t)) / np.sqrt(1 - beta[t])
        path.append(x + np.sqrt(beta[t]) * rng.standard_normal(x.shape) if t else x)
    return np.array(path)


# %% [markdown]
# Which cost is good? For data from N(0, I) the best answer is known: `sqrt(1 - abar_t) x_t`. It costs
# `abar_t`, and sampling with it gives N(0, I) back. So the mean of `abar` is what somebody pays who
# knows the codes' mean and covariance and nothing else. What a network pays less, it knows more.

# %%
assert np.allclose(np.cov(samples(lambda x, t: np.sqrt(1 - abar[t]) * x, 5000, 0)[-1].T), np.eye(CODE), atol=0.1)
learned = [diffusion(white, seed) for seed, (white, _) in enumerate(worlds)]
paid = [record[-300:].mean() for _, record in learned]
print(f"the networks pay {np.round(paid, 3)}; with mean and covariance alone {abar.mean():.3f}")
assert SHORT or max(paid) < 0.9 * abar.mean()

# %% [markdown]
# The judge is lesson 15's: the Frechet distance in the features of a classifier of digits, the share
# of samples that it is sure of, and that of the rarest digit. Rebuilt test images are the limit.

# %%
COUNT = 500 if SHORT else 5000
real = classifier.judge(images[::len(images) // (1000 if SHORT else 20000)])[0]
found = {"Gaussian codes": [], "diffusion": [], "rebuilt tests": []}        # (distance, sure, rarest) of each seed
paths = [samples(lambda x, t, network=network: through(network, with_time(x, np.full(len(x), t))), COUNT, 100)
         for network, _ in learned]
for (_, draw), path, again in zip(worlds, paths, rebuilt, strict=True):
    for name, made in zip(found, (draw(path[0]), draw(path[-1]), again[::2][:COUNT]), strict=True):
        features, chances = classifier.judge(made)
        shares = modes.class_shares(chances)
        found[name].append((frechet.frechet_distance(features, real), shares["sure"], shares["rarest"]))
for name, rows in found.items():
    print(f"{name:15}", *(f"distance {one[0]:7.1f}, sure {one[1]:.0%}, rarest {one[2]:.1%};" for one in rows))

# %%
if not SHORT:
    for guessed, made, best in zip(*found.values(), strict=True):
        assert best[0] < made[0] < 0.35 * guessed[0]
        assert made[1] > guessed[1] + 0.1 and made[2] > 0.03        # surer digits, and none of the ten is lost
strips("19_diffusion.png", "From noise to digits: codes on their way, decoded",
       {f"{step} steps": worlds[0][1](paths[0][step, :14]) for step in (0, T // 2, 3 * T // 4, 7 * T // 8, T)})

# %% [markdown]
# ## Out and in
#
# `to_torch` gives the weights under PyTorch's names, in its layout: images (N, C, H, W), kernels (in,
# out, KH, KW), Linear's (out, in). NumPy alone can check it, here a transposed layer, and
# `from_torch` takes all of them back, to the last bit.

# %%
def stamp(x, w):
    """PyTorch's conv_transpose2d(x, w, stride=2, padding=1) for kernels 4x4: each pixel stamps one, a border goes."""
    side = x.shape[2]
    canvas = np.zeros((len(x), w.shape[1], 2 * side + 2, 2 * side + 2))
    for u, v in np.ndindex(4, 4):
        canvas[:, :, u:u + 2 * side:2, v:v + 2 * side:2] += np.einsum("nchw,co->nohw", x, w[:, :, u, v])
    return canvas[:, :, 1:-1, 1:-1]


# %%
encoder, decoder = pairs[0]
z, state = np.float32(paths[0][0, :64]), interchange.to_torch(decoder)
before = through(nn.Sequential(*decoder.layers.layers[:7]), z).transpose(0, 3, 1, 2)
logits = stamp(before, state["layers.7.weight"]) + state["layers.7.bias"][:, None, None]
assert np.allclose(F.sigmoid(logits).data.transpose(0, 2, 3, 1), through(decoder, z), atol=1e-5)
back = dcgan.Generator((28, 28, 1), CODE, WIDTH)
interchange.from_torch(back, state)
assert np.array_equal(through(back, z), through(decoder, z))

# %% [markdown]
# `generator_to_torch` writes a page of plain PyTorch and its weights, `generator_to_onnx` a file
# that many programs run (`minideconv export` does it for a run). Both give our images.

# %%
theirs = {}
with tempfile.TemporaryDirectory() as folder:
    print((page := interchange.generator_to_torch(decoder, folder)[0]).read_text())
    if importlib.util.find_spec("torch"):
        import torch
        theirs["PyTorch"] = runpy.run_path(str(page))["Generator"].load()(torch.from_numpy(z)).detach().numpy()
    if importlib.util.find_spec("onnx"):
        from onnx.reference import ReferenceEvaluator
        interchange.generator_to_onnx(decoder, file := folder + "/decoder.onnx")
        theirs["ONNX"] = ReferenceEvaluator(file).run(None, {"latents": z})[0]
        interchange.from_onnx(back, file)
        assert np.array_equal(through(back, z), through(decoder, z))
print("asked:", *theirs or ["neither PyTorch nor ONNX, which are not installed here"])
assert all(np.allclose(made, through(decoder, z), atol=1e-5) for made in theirs.values())

# %% [markdown]
# ## Several machines
#
# This package runs in one process; nothing here sends gradients to another machine. The usual way to
# use several (data parallel, as in PyTorch's DistributedDataParallel): each takes a part of the
# batch, the gradients are averaged, and all take the same step.
#
# **Question.** Is the mean of two halves' gradients the gradient of the whole batch? For the
# encoder, and for the decoder with its batch norm?

# %%
def apart(network, rows):
    """How far the mean of two halves' gradients is from the whole's, in parts of it, at worst."""
    whole, first, second = (md.grad((network(part) ** 2).mean(), [*network.parameters()])
                            for part in (rows, rows[:32], rows[32:]))
    return max(np.abs((b.data + c.data) / 2 - a.data).max() / np.abs(a.data).max()
               for a, b, c in zip(whole, first, second, strict=True))


print(f"encoder {apart(encoder, images[:64]):.0e}, decoder {apart(decoder, z):.0e}")
assert apart(encoder, images[:64]) < 1e-4 < 1e-2 < apart(decoder, z)

# %% [markdown]
# **Answer.** For the encoder it is. For the decoder it is not: batch norm takes the mean and variance
# of the part that it sees, so each machine computes another function.
#
# From here: d2l.ai for breadth, PyTorch for graphics cards; flows, autoregressive models and
# transformers draw as well. What you know of convolutions, gradients and measuring goes with you.
#
# Sources: D. Rumelhart et al. 1986 (autoencoders); J. Ho, A. Jain and P. Abbeel, "Denoising Diffusion
# Probabilistic Models", 2020, arXiv:2006.11239; R. Rombach et al., "High-Resolution Image Synthesis
# with Latent Diffusion Models", 2022, arXiv:2112.10752; F. Chollet, blog.keras.io, 2016.
