"""What `minideconv bench` measures: layers and whole training steps, each built on this engine as a
function without arguments.

Notation: a layer has an image side (N, H, W, C), a feature side (N, OH, OW, O), the smaller one
where it strides, and a kernel (KH, KW, C, O). conv2d goes from image to features, conv_transpose2d
from features to image.
"""
from typing import NamedTuple

import numpy as np

from .. import functional as F
from .. import optim
from ..gan import LOSSES, PENALTIES, Discriminator, Generator, Players, Turn, play_round
from ..gan.penalties import with_penalty
from ..models import conditional, pair
from ..shapes import conv_size, transposed_size
from ..tensor import Tensor

# operation, batch, height and width, channels in, out, kernel, stride, padding
LAYERS = [
    ("conv2d", 128, 28, 1, 64, 4, 2, 1),
    ("conv2d", 128, 14, 64, 128, 4, 2, 1),
    ("conv2d", 64, 28, 32, 32, 3, 1, 1),
    ("conv2d", 64, 14, 128, 128, 3, 1, 1),
    ("conv2d", 32, 32, 64, 128, 5, 2, 2),
    ("conv2d", 8, 64, 64, 64, 3, 1, 1),
    ("conv_transpose2d", 128, 7, 128, 64, 4, 2, 1),
    ("conv_transpose2d", 128, 14, 64, 1, 4, 2, 1),
    ("conv_transpose2d", 64, 7, 256, 128, 4, 2, 1),
    ("conv_transpose2d", 64, 14, 64, 32, 3, 1, 1),
    ("conv_transpose2d", 32, 16, 128, 64, 5, 2, 2),
    ("conv_transpose2d", 8, 32, 64, 64, 4, 2, 1),
]
LAYERS_4X4 = [
    ("conv2d", 128, 16, 64, 128, 4, 2, 1),
    ("conv2d", 128, 16, 128, 256, 4, 2, 1),
    ("conv2d", 128, 28, 64, 64, 4, 2, 1),
    ("conv_transpose2d", 128, 8, 128, 64, 4, 2, 1),
    ("conv_transpose2d", 128, 8, 256, 128, 4, 2, 1),
    ("conv_transpose2d", 128, 14, 64, 64, 4, 2, 1),
]
BATCHES = (32, 64, 128, 256, 512)

GROUPS = {              # what --only takes -> its heading
    "layers": "layers, forward + both gradients",
    "layers4x4": "4x4 stride-2 layers with even sizes, forward + both gradients",
    "step": "one whole step of the reference GAN (28x28x1): D on real and fake, G through D, both Adam updates",
    "threads": "the same step on one thread",
    "avx2": "the same step, both sides as on a processor without AVX-512",
    "pair": "one whole step of the 256x256x3 image-to-image pair",
    "pair4": "the same, batch 4",
    "r1": "D's step of the default recipe, without R1 and with its double backward",
    "default": "four rounds of the default recipe, one of them with R1 (without the average of G)",
    "batches": "one whole step of the reference GAN by batch size",
}
DEFAULT_GROUPS = ("layers", "layers4x4", "step", "threads", "pair", "r1", "default")
RECIPE = {              # group -> (row, what of the recipe it runs)
    "r1": [("D's step, batch 64", "step"), ("D's step with R1, batch 64", "step with R1")],
    "default": [("default, 4 rounds, batch 64", "rounds")],
}


class Case(NamedTuple):
    """One row: what to measure. `spec` also goes to the PyTorch process, as JSON."""
    group: str
    name: str
    spec: dict


def cases(groups) -> list[Case]:
    """The rows of these groups, in the order of GROUPS."""
    fields = ("op", "batch", "size", "inputs", "outputs", "kernel", "stride", "padding")
    rows = []
    for group in GROUPS:
        if group not in groups:
            continue
        if group in ("layers", "layers4x4"):
            for layer in LAYERS if group == "layers" else LAYERS_4X4:
                spec = {"kind": "layer", **dict(zip(fields, layer, strict=True))}
                rows.append(Case(group, layer_name(spec), spec))
        elif group in ("step", "threads", "avx2"):
            rows.append(Case(group, "GAN step, batch 128" + {"threads": ", 1 thread", "avx2": ", AVX2"}.get(group, ""),
                             {"kind": "gan", "batch": 128}))
        elif group in RECIPE:
            rows += [Case(group, name, {"kind": "recipe", "what": what, "batch": 64}) for name, what in RECIPE[group]]
        elif group == "batches":
            rows += [Case(group, f"GAN step, batch {batch}", {"kind": "gan", "batch": batch}) for batch in BATCHES]
        else:
            batch = 4 if group == "pair4" else 1
            rows.append(Case(group, f"256x256x3 pair, batch {batch}", {"kind": "pair", "batch": batch}))
    return rows


def layer_sizes(spec) -> tuple[int, int]:
    """Height (= width) of a layer's image side and of its feature side. A transposed layer goes
    from features to the image.
    """
    size, kernel, stride, padding = spec["size"], spec["kernel"], spec["stride"], spec["padding"]
    if spec["op"] == "conv2d":
        return size, conv_size(size, kernel, stride, padding, padding)
    return transposed_size(size, kernel, stride, padding, padding), size


def layer_name(spec) -> str:
    image, features = layer_sizes(spec)
    goes_to = features if spec["op"] == "conv2d" else image
    name = "conv" if spec["op"] == "conv2d" else "tconv"
    return (f"{name} {spec['size']}x{spec['size']}x{spec['inputs']} -> {goes_to}x{goes_to}x{spec['outputs']}, "
            f"{spec['kernel']}x{spec['kernel']} s{spec['stride']}, N={spec['batch']}")


def layer_arithmetic(spec) -> int:
    """Operations of one layer's forward and both gradients: three products of 2 * N*OH*OW * KH*KW*C*O."""
    return 3 * 2 * spec["batch"] * layer_sizes(spec)[1] ** 2 * spec["kernel"] ** 2 * spec["inputs"] * spec["outputs"]


def build(spec):
    """The case on this engine, as a function without arguments."""
    rng = np.random.default_rng(0)
    if spec["kind"] == "layer":
        return _layer(spec, rng)
    if spec["kind"] == "recipe":
        return _recipe(spec["what"], spec["batch"], rng)
    batch = spec["batch"]
    if spec["kind"] == "gan":
        networks = Generator((28, 28, 1), rng=rng), Discriminator((28, 28, 1), rng=rng)
        real, noise = (batch, 28, 28, 1), (batch, 100)
    else:
        networks, real, noise = pair_networks(rng), (batch, 256, 256, 3), (batch, 256, 256, 3)
    return adversarial_step(*networks, lambda: Tensor(rng.standard_normal(noise, np.float32)),
                            Tensor(rng.random(real, np.float32)))


def _layer(spec, rng):
    """Forward and both gradients of one layer."""
    # A kernel is (KH, KW, C, O) for both directions: a transposed layer maps O to C.
    channels = (spec["inputs"], spec["outputs"]) if spec["op"] == "conv2d" else (spec["outputs"], spec["inputs"])
    x = Tensor(rng.random((spec["batch"], spec["size"], spec["size"], spec["inputs"]), np.float32), requires_grad=True)
    weight = Tensor(rng.random((spec["kernel"], spec["kernel"], *channels), np.float32), requires_grad=True)
    operation = getattr(F, spec["op"])
    gradient = rng.random(operation(x, weight, None, spec["stride"], spec["padding"]).shape, np.float32)

    def run():
        x.grad = weight.grad = None
        operation(x, weight, None, spec["stride"], spec["padding"]).backward(gradient)
    return run


def recipe_networks(rng):
    """The default's networks, for 28x28x1 images of 10 classes."""
    return (conditional.Generator((28, 28, 1), classes=10, rng=rng),
            conditional.Discriminator((28, 28, 1), classes=10, rng=rng))


def _recipe(what, batch, rng):
    """The default's round, four times, with R1 in the first; or D's half of it, with or without R1."""
    generator, discriminator = recipe_networks(rng)
    players = Players(generator, discriminator, *(optim.Adam(network.parameters(), 2e-3, (0.0, 0.99))
                                                  for network in (generator, discriminator)))
    loss = with_penalty(LOSSES["ns"], PENALTIES["r1"], 1.0, every=4)
    real, fake = (Tensor(rng.random((batch, 28, 28, 1), np.float32)) for _ in range(2))
    labels = np.arange(batch) % 10

    def rounds():
        for step in range(4):
            latents = rng.standard_normal((batch, generator.latent), np.float32)
            play_round(players, loss, real, latents, labels, step=step)

    def half():
        turn = Turn(generator, discriminator, real, fake, labels, step=0 if what == "step with R1" else 1)
        parts = loss.discriminator(turn)
        players.discriminator_optimizer.zero_grad()
        (parts["game"] + parts["penalty"]).backward()
        players.discriminator_optimizer.step()
    return rounds if what == "rounds" else half


def pair_networks(rng):
    """The image-to-image generator and the discriminator for 256x256x3 (models/pair.py)."""
    return pair.Generator(rng=rng), pair.Discriminator(rng=rng)


def adversarial_step(generator, discriminator, noise, real):
    """A function that plays one round of the trainer's game on the batch `real` and on fresh
    noise(), without reading pictures.
    """
    optimizers = [optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (generator, discriminator)]
    players = Players(generator, discriminator, *optimizers)
    return lambda: play_round(players, LOSSES["ns"], real, noise())
