"""The PyTorch side of `minideconv bench`: a process that peers.py asks. Only this file imports torch;
its first answer says whether it can.
"""
import json

from .peers import milliseconds, serve


def main() -> None:
    """Answer questions until stdin ends."""
    try:
        import torch
    except ImportError:
        print(json.dumps({"version": None}), flush=True)
        return
    serve(torch.__version__, torch.set_num_threads, lambda case: _faster(torch, case))


def _faster(torch, case):
    """(name, function) of the memory layout that is faster on this case:
    PyTorch is compared at its best.
    """
    candidates = []
    for layout in ("channels_last", "contiguous"):
        run = _build(torch, case, torch.channels_last if layout == "channels_last" else torch.contiguous_format)
        run()
        candidates.append((min(milliseconds(run) for _ in range(2)), layout, run))
    return min(candidates, key=lambda candidate: candidate[0])[1:]


def _build(torch, case, layout):
    """The case as a function without arguments; the cases are those of bench.py."""
    if case["kind"] == "layer":
        return _layer(torch, case, layout)
    batch = case["batch"]
    if case["kind"] == "recipe":
        return _recipe(torch, case["what"], batch, layout)
    if case["kind"] == "gan":
        networks, shape, noise = _reference_networks(torch.nn), (batch, 1, 28, 28), (batch, 100)
    else:
        networks, shape, noise = _pair_networks(torch.nn), (batch, 3, 256, 256), (batch, 3, 256, 256)
    generator, discriminator = (network.to(memory_format=layout) for network in networks)
    return _adversarial_step(torch, generator, discriminator, noise, torch.rand(shape).to(memory_format=layout))


def _layer(torch, case, layout):
    """Forward and both gradients of one layer.

    PyTorch's kernels are (O, C, KH, KW), its transposed ones (in, out, KH, KW).
    """
    transposed, kernel = case["op"] == "conv_transpose2d", (case["kernel"], case["kernel"])
    channels = (case["inputs"], case["outputs"]) if transposed else (case["outputs"], case["inputs"])
    x = torch.rand(case["batch"], case["inputs"], case["size"], case["size"]).to(memory_format=layout).requires_grad_()
    weight = torch.rand(*channels, *kernel).to(memory_format=layout).requires_grad_()
    operation = torch.nn.functional.conv_transpose2d if transposed else torch.nn.functional.conv2d
    gradient = torch.rand_like(operation(x, weight, None, case["stride"], case["padding"]))

    def run():
        x.grad = weight.grad = None
        operation(x, weight, None, case["stride"], case["padding"]).backward(gradient)
    return run


def _reference_networks(nn):
    """gan/models.py for 28x28x1 images."""
    generator = nn.Sequential(
        nn.Linear(100, 128 * 49, bias=False), nn.Unflatten(1, (128, 7, 7)), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Sigmoid())
    discriminator = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(128 * 49, 1))
    return generator, discriminator


def _recipe_networks(nn):
    """models/conditional.py for 28x28x1 images of 10 classes: the layers by name, without the
    labels' way through them.
    """
    generator = nn.ModuleDict({
        "start": nn.Sequential(nn.Linear(74, 128 * 49, bias=False), nn.Unflatten(1, (128, 7, 7)), nn.BatchNorm2d(128),
                               nn.LeakyReLU(0.2)),
        "stage": nn.Sequential(nn.ConvTranspose2d(138, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2)),
        "image": nn.Sequential(nn.ConvTranspose2d(74, 1, 4, 2, 1), nn.Sigmoid())})
    discriminator = nn.ModuleDict({
        "features": nn.Sequential(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 4, 2, 1),
                                  nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(128 * 49, 256), nn.LeakyReLU(0.2)),
        "answer": nn.Linear(256, 1), "embedding": nn.Embedding(10, 256)})
    return generator, discriminator


def _recipe(torch, what, batch, layout):
    """cases._recipe."""
    generator, discriminator = (network.to(memory_format=layout) for network in _recipe_networks(torch.nn))
    adam_g, adam_d = (torch.optim.Adam(network.parameters(), 2e-3, (0.0, 0.99))
                      for network in (generator, discriminator))
    real, fixed = (torch.rand(batch, 1, 28, 28).to(memory_format=layout) for _ in range(2))
    labels = torch.arange(batch) % 10
    rows = torch.nn.functional.one_hot(labels, 10).float()
    softplus = torch.nn.functional.softplus

    def draw():
        x = generator["start"](torch.cat([torch.randn(batch, 64), rows], 1))
        for name in ("stage", "image"):
            x = generator[name](torch.cat([x, rows[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1))
        return x

    def judge(x):
        h = discriminator["features"](x)
        told = discriminator["embedding"](labels.repeat(len(x) // batch))
        return discriminator["answer"](h) + (told * h).sum(1, keepdim=True)

    def half(fake, penalised):
        adam_d.zero_grad(set_to_none=True)
        of_real, of_fake = judge(torch.cat([real, fake])).split(batch)         # in one batch, as ours
        loss = softplus(-of_real).mean() + softplus(of_fake).mean()
        if penalised:
            images = real.detach().requires_grad_()
            slopes, = torch.autograd.grad(judge(images).sum(), images, create_graph=True)
            loss = loss + 4 * 0.5 * (slopes ** 2).sum((1, 2, 3)).mean()
        loss.backward()
        adam_d.step()

    def rounds():
        for step in range(4):
            fake = draw()
            half(fake.detach(), step == 0)
            adam_g.zero_grad(set_to_none=True)
            discriminator.requires_grad_(False)         # as ours: D's own gradients are not asked for
            softplus(-judge(fake)).mean().backward()
            discriminator.requires_grad_(True)
            adam_g.step()
    return rounds if what == "rounds" else lambda: half(fixed, what == "step with R1")


def _pair_networks(nn):
    """models/pair.py, the 256x256x3 pair.

    "same" of the 4x4 stride-1 layer pads one pixel before and two after.
    """
    def stack(layers):
        return [part for layer in layers for part in (layer, nn.LeakyReLU(0.2))]
    generator = nn.Sequential(
        *stack([nn.Conv2d(3, 64, 4, 2, 1), nn.ConvTranspose2d(64, 64, 4, 2, 1),
                nn.Conv2d(64, 32, 4, 2, 1), nn.ConvTranspose2d(32, 32, 4, 2, 1)]),
        nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(32, 3, 4))
    discriminator = nn.Sequential(
        *stack([nn.Conv2d(3, 64, 4, 2, 1), nn.Conv2d(64, 128, 4, 2, 1),
                nn.Conv2d(128, 256, 4, 2, 1), nn.Conv2d(256, 512, 4, 2, 1)]),
        nn.Flatten(), nn.Linear(512 * 16 * 16, 1))
    return generator, discriminator


def _adversarial_step(torch, generator, discriminator, noise, real):
    """bench.adversarial_step: D on real and detached fake, then G through the updated D,
    as PyTorch's own DCGAN example does it.
    """
    adam_g, adam_d = (torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999))
                      for network in (generator, discriminator))
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits

    def run():
        fake = generator(torch.randn(noise))
        adam_d.zero_grad(set_to_none=True)
        loss = entropy(discriminator(real), ones) + entropy(discriminator(fake.detach()), zeros)
        loss.backward()
        adam_d.step()
        adam_g.zero_grad(set_to_none=True)
        loss_g = entropy(discriminator(fake), ones)
        loss_g.backward()
        adam_g.step()
        return loss.item(), loss_g.item()
    return run


if __name__ == "__main__":
    main()
