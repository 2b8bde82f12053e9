"""Networks out to PyTorch and ONNX and back: the same numbers come out, whatever the layers, layouts and paddings.

The other side is ONNX's own reference evaluator, and PyTorch itself, where they are installed.
"""
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minideconv as md
import minideconv.functional as F
from minideconv import gan, interchange, nn
from minideconv.interchange import OPSET, chain, from_onnx, from_torch, generator_to_torch, save_onnx, to_torch
from minideconv.interchange.generator import source
from minideconv.interchange.source import arrays, page, text
from minideconv.models import classifier, conditional, dcgan, mlp
from minideconv.models.spectral import normalise

CLOSE = 1e-5
GENERATORS = {"conditional": ((8, 8, 3), 3), "dcgan": ((8, 12, 1), 0), "dcgan labels": ((8, 8, 3), 2),
              "radford": ((8, 8, 3), 3), "radford alone": ((8, 12, 1), 0), "mlp": ((4, 6, 3), 2), "points": ((2,), 0),
              "grid": ((2,), 0)}


def generator_of(name, width=2, latent=5):
    shape, classes = GENERATORS[name]
    return unsettled(gan.NETWORKS[name.split()[0]][0](shape, latent, width, classes, rng=np.random.default_rng(3)))


def unsettled(network, seed=7):
    """The network in evaluation mode, every array of it with numbers of its own."""
    rng = np.random.default_rng(seed)
    state = {name: rng.uniform(0.5, 1.5, array.shape) if name.endswith("running_var") else
             rng.standard_normal(array.shape) * (0.5 if array.ndim < 2 else 0.3) for name, array in
             network.state_dict().items()}
    network.load_state_dict({name: array.astype(np.float32) for name, array in state.items()})
    return network.eval()


def inputs(shape, count=3, seed=1):
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)


def ours(network, x, *labels):
    with md.no_grad():
        return network(md.Tensor(x), *labels).numpy()


def close(one, other):
    assert one.shape == other.shape and one.dtype == other.dtype == np.float32
    assert np.abs(one - other).max() <= CLOSE * max(1.0, np.abs(one).max())


def to_onnx(*arguments, **settings):
    """The model, where onnx is installed; the test is skipped elsewhere."""
    pytest.importorskip("onnx")
    return interchange.to_onnx(*arguments, **settings)


def evaluate(model, **given):
    """What ONNX's reference evaluator makes of a model that its checker accepts, shapes and types included."""
    import onnx
    from onnx.reference import ReferenceEvaluator
    onnx.checker.check_model(model, full_check=True)
    (found,) = ReferenceEvaluator(model).run(None, given)
    return found


def twin(network, shape):
    """The network as the written page has it, in PyTorch: a function of arrays in our layout."""
    torch = pytest.importorskip("torch")
    found = page(network, shape)
    module = torch.nn.Module()
    module.parts = torch.nn.ModuleList(eval(f"[{text(found.parts, 0)}]", {"nn": torch.nn}))
    state = arrays(network, shape, found.names)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    module.eval()

    def run(x):
        # A copy even of one channel: PyTorch 2.13 reads beyond a view of it (a 2x3 kernel with stride (1, 2)).
        y = torch.from_numpy(x if x.ndim == 2 else x.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            for part in module.parts:
                y = part(y)
        return np.ascontiguousarray(y.numpy() if y.ndim == 2 else y.numpy().transpose(0, 2, 3, 1))
    return run


# ---- networks that nobody chose

@st.composite
def convolutions(draw, shape):
    """A Conv2d or ConvTranspose2d that takes images of this shape."""
    channels, sizes = shape[2], shape[:2]
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    kernel, stride, dilation = (tuple(draw(st.integers(1, most)) for _ in "hw") for most in (4, 2, 2))
    transposed = draw(st.booleans())
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in "hw")
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if transposed:
        fits = all((n - 1) * s + reach - sum(p) >= 1
                   for n, s, reach, p in zip(sizes, stride, spans, pads, strict=True))
    else:
        fits = all(n + sum(p) >= reach for n, reach, p in zip(sizes, spans, pads, strict=True))
    padding = draw(st.sampled_from(["same", pads] if fits else ["same"]))
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
                "bias": draw(st.booleans())}
    if transposed and padding != "same":
        settings["output_padding"] = tuple(draw(st.integers(0, max(s, d) - 1))
                                           for s, d in zip(stride, dilation, strict=True))
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    return kind(channels, groups * draw(st.integers(1, 2)), kernel, **settings, rng=np.random.default_rng(0))


@st.composite
def image_layers(draw, shape):
    kinds = ["conv"] * 4 + ["norm", "plain", "pool"] + (["up"] if max(shape[:2]) <= 6 else [])
    kinds += ["shuffle"] if shape[2] % 4 == 0 else []
    kind = draw(st.sampled_from(kinds))
    if kind == "conv":
        return draw(convolutions(shape))
    if kind == "norm":
        return draw(norms(shape[2]))
    if kind == "up":
        factors = draw(st.integers(1, 2)), draw(st.integers(1, 3))
        return nn.Upsample(factors, draw(st.sampled_from(["nearest", "bilinear"])))
    if kind == "shuffle":
        return nn.PixelShuffle(2)
    if kind == "pool":
        size = tuple(draw(st.integers(1, min(3, n))) for n in shape[:2])
        stride = draw(st.sampled_from([None, 1, 2]))
        same = all(k <= 2 for k in size) and draw(st.booleans())
        pool = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
        return pool(size, stride, padding="same" if same else tuple(draw(st.integers(0, k // 2)) for k in size))
    return draw(entrywise())


def norms(features):
    """Those that go by running statistics: a batch's own may be those of features that are all but constant."""
    return st.builds(nn.BatchNorm2d, st.just(features), eps=st.sampled_from([1e-5, 1e-3]), affine=st.booleans())


def entrywise():
    return st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.2), nn.Sigmoid(), nn.Tanh(), nn.Dropout(0.5), F.tanh])


@st.composite
def networks(draw):
    """(network, shape of its input): images through a few layers, perhaps flattened and through a few more, perhaps
    images again.
    """
    shape = (draw(st.integers(2, 6)), draw(st.integers(2, 6)), draw(st.integers(1, 4)))
    layers, first, rng = [], shape, np.random.default_rng(0)

    def add(layer):
        layers.append(layer)
        return ours(nn.Sequential(layer).eval(), np.zeros((2, *shape), np.float32)).shape[1:]
    for _ in range(draw(st.integers(1, 4))):
        shape = add(draw(image_layers(shape)))
    if draw(st.booleans()):
        shape = add(nn.Flatten())
        shape = add(draw(st.one_of(norms(shape[0]), entrywise())))
        back = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 4)))
        shape = add(nn.Linear(shape[0], int(np.prod(back)), bias=draw(st.booleans()), rng=rng))
        shape = add(draw(st.one_of(norms(shape[0]), entrywise())))
        if draw(st.booleans()):
            shape = add(nn.Reshape(back[0], -1, back[2]))
            shape = add(draw(image_layers(shape)))
    return unsettled(nn.Sequential(*layers)), first


@given(networks())
def test_onnx_computes_the_same(drawn):
    network, shape = drawn
    x = inputs(shape)
    close(evaluate(to_onnx(network, shape), x=x), ours(network, x))


@given(networks())
def test_pytorch_computes_the_same(drawn):
    network, shape = drawn
    x = inputs(shape)
    close(twin(network, shape)(x), ours(network, x))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(4, 5, 3), (6,)])
def test_batch_norm_that_always_goes_by_the_batch(shape, affine):
    network = unsettled(nn.Sequential(nn.BatchNorm2d(shape[-1], affine=affine, track_running_stats=False)))
    x = inputs(shape, count=7)
    close(evaluate(to_onnx(network, shape), x=x), ours(network, x))
    close(twin(network, shape)(x), ours(network, x))


@pytest.mark.parametrize("layer", [
    nn.ConvTranspose2d(2, 4, (1, 2), dilation=(3, 2), padding=((0, 1), (0, 0)), output_padding=(2, 1), groups=2),
    nn.MaxPool2d((2, 3), 1, padding=(0, 1)), nn.MaxPool2d(2, 1, padding="same"),
    nn.AvgPool2d((2, 3), 1, padding=(1, 1)),
    nn.ConvTranspose2d(2, 1, 2, stride=3, padding="same")], ids=repr)
def test_what_runtimes_disagree_about(layer):
    """ONNX's reference evaluator refuses such an output_padding, and takes such pads in another order."""
    network, x = unsettled(nn.Sequential(layer)), inputs((3, 4, 2))
    close(evaluate(to_onnx(network, (3, 4, 2)), x=x), ours(network, x))
    close(twin(network, (3, 4, 2))(x), ours(network, x))


@pytest.mark.parametrize("layer", [nn.PixelShuffle(2), nn.Upsample((2, 3)), nn.Upsample((3, 2), "bilinear")], ids=repr)
def test_changes_of_resolution_with_several_channels(layer):
    network, x = nn.Sequential(layer), inputs((3, 4, 8))
    close(evaluate(to_onnx(network, (3, 4, 8)), x=x), ours(network, x))
    close(twin(network, (3, 4, 8))(x), ours(network, x))


@given(networks())
def test_weights_come_back_to_the_last_bit(drawn):
    network, shape = drawn
    before = network.state_dict()
    state = to_torch(network, shape)
    assert all(array.flags.c_contiguous for array in state.values())
    unsettled(network, seed=8)
    from_torch(network, state, shape)
    assert all(np.array_equal(before[name], array) for name, array in network.state_dict().items())


@given(networks())
def test_weights_come_back_from_onnx(drawn):
    pytest.importorskip("onnx")
    network, shape = drawn
    before, model = network.state_dict(), to_onnx(network, shape)
    unsettled(network, seed=8)
    from_onnx(network, model, shape)
    assert all(np.array_equal(before[name], array) for name, array in network.state_dict().items())


# ---- layouts

def test_the_layouts_are_pytorchs():
    rng = np.random.default_rng(0)
    network = nn.Sequential(nn.Conv2d(4, 6, (2, 3), groups=2, rng=rng),
                            nn.ConvTranspose2d(6, 8, (2, 3), groups=2, rng=rng), nn.BatchNorm2d(8),
                            nn.Flatten(), nn.Linear(8 * 25, 3, rng=rng))
    state = to_torch(network)
    assert {name: array.shape for name, array in state.items()} == {
        "0.weight": (6, 2, 2, 3), "0.bias": (6,), "1.weight": (6, 4, 2, 3), "1.bias": (8,), "2.weight": (8,),
        "2.bias": (8,), "2.running_mean": (8,), "2.running_var": (8,), "2.num_batches_tracked": (),
        "4.weight": (3, 200), "4.bias": (3,)}
    weight = network[0].weight.data
    assert state["0.weight"][5, 1, 0, 2] == weight[0, 2, 1, 5]
    assert state["2.num_batches_tracked"].dtype == np.int64
    pixel, channel = 7, 5                                               # h * 5 + w
    assert np.array_equal(state["4.weight"][:, channel * 25 + pixel], network[4].weight.data[pixel * 8 + channel])


def test_a_plain_pytorch_network_takes_the_weights_and_gives_them_back():
    """Flatten, Unflatten and all: nothing but torch.nn.Sequential."""
    torch = pytest.importorskip("torch")
    T, rng = torch.nn, np.random.default_rng(0)
    network = unsettled(nn.Sequential(
        nn.Conv2d(3, 4, 4, 2, 1, rng=rng), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Linear(4 * 6, 5, rng=rng), nn.Linear(5, 24, rng=rng), nn.BatchNorm2d(24), nn.Reshape(2, 3, 4),
        nn.ConvTranspose2d(4, 2, 4, 2, 1, rng=rng)))
    theirs = T.Sequential(
        T.Conv2d(3, 4, 4, 2, 1), T.BatchNorm2d(4), T.LeakyReLU(0.2), T.Flatten(), T.Linear(24, 5), T.Linear(5, 24),
        T.BatchNorm1d(24), T.Unflatten(1, (4, 2, 3)), T.ConvTranspose2d(4, 2, 4, 2, 1)).eval()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in to_torch(network).items()})
    x = inputs((4, 6, 3))

    def run():
        with torch.no_grad():
            return theirs(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy().transpose(0, 2, 3, 1)
    close(run(), ours(network, x))
    with torch.no_grad():
        for one in theirs.parameters():
            one += 0.1
    from_torch(network, theirs.state_dict())
    close(run(), ours(network, x))


def test_pytorchs_own_names_for_a_network_of_ones_own():
    """Parts of a forward that is not known are translated one by one."""
    class Skip(nn.Module):
        def __init__(self):
            self.body = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU())
            self.heads = {"left": nn.Sequential(nn.Flatten(), nn.Linear(32, 1))}

        def forward(self, x):
            return self.heads["left"](x + self.body(x))
    network = Skip()
    with pytest.raises(ValueError, match="input_shape must be given"):
        to_torch(network)
    network.heads["left"] = nn.Linear(2, 3)
    assert {name: array.shape for name, array in to_torch(network).items()} == {
        "body.0.weight": (2, 2, 3, 3), "body.0.bias": (2,), "heads.left.weight": (3, 2), "heads.left.bias": (3,)}
    with pytest.raises(TypeError, match="^Skip cannot be translated"):
        to_onnx(network, (4, 4, 2))


def test_a_network_with_skips_is_told_by_a_row(monkeypatch):
    class UNet(nn.Module):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.down = nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1, rng=rng), nn.LeakyReLU(0.2))
            self.deep = nn.Sequential(nn.Conv2d(4, 4, 3, padding="same", rng=rng), nn.BatchNorm2d(4), nn.ReLU())
            self.up = nn.Sequential(nn.ConvTranspose2d(12, 3, 4, 2, 1, rng=rng), nn.Flatten(),
                                    nn.Linear(72, 2, rng=rng))

        def forward(self, x):
            wide = self.down(x)
            deep = self.deep(wide) + wide
            return self.up(md.concatenate([deep, wide, wide], axis=-1))
    monkeypatch.setitem(chain.CHAINS, UNet, lambda net: [
        ("down", net.down), ("", chain.Keep("wide")), ("deep", net.deep), ("", chain.Meet("wide", add=True)),
        ("", chain.Meet("wide")), ("", chain.Meet("wide")), ("up", net.up)])
    network, x = unsettled(UNet()), inputs((4, 6, 3))
    close(evaluate(to_onnx(network, (4, 6, 3)), x=x), ours(network, x))
    before, state = network.state_dict(), to_torch(network)
    from_torch(unsettled(network, seed=9), state)
    assert all(np.array_equal(before[name], array) for name, array in network.state_dict().items())
    with pytest.raises(TypeError, match="Keep has no words in PyTorch's source text"):
        page(network, (4, 6, 3))


def test_what_is_flat_at_the_ends_keeps_our_order_in_onnx():
    network = nn.Sequential(nn.Reshape(2, 3, 4), nn.Tanh(), nn.Flatten())
    x = inputs((24,))
    assert np.array_equal(evaluate(to_onnx(network, (24,)), x=x), ours(network, x))
    with pytest.raises(TypeError, match="begins with flat features of images"):
        page(network, (24,))


def test_same_is_written_in_numbers():
    """The odd pixel comes after, in both directions: 4x4 with stride 1 pads one before and two after."""
    pytest.importorskip("onnx")
    network = nn.Sequential(nn.Conv2d(1, 1, 4, padding="same"), nn.ConvTranspose2d(1, 1, 4, padding="same"),
                            nn.Conv2d(1, 1, 3, 2, padding="same"))
    pads = [list(attribute.ints) for node in to_onnx(network, (6, 6, 1)).graph.node for attribute in node.attribute
            if attribute.name == "pads"]
    assert pads == [[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 1, 1]]
    lines = page(network, (6, 6, 1)).parts[0]
    assert lines[:3] == ["nn.ZeroPad2d((1, 2, 1, 2))", "nn.Conv2d(1, 1, 4)", "nn.ConvTranspose2d(1, 1, 4, padding=1)"]
    assert lines[3:] == ["nn.ZeroPad2d((0, -1, 0, -1))", "nn.ZeroPad2d((0, 1, 0, 1))", "nn.Conv2d(1, 1, 3, stride=2)"]


def test_average_pools_count_as_they_are_told():
    network = nn.Sequential(nn.AvgPool2d(3, 2, padding=((1, 0), (0, 1)), count_include_pad=False))
    x = inputs((5, 6, 2))
    close(evaluate(to_onnx(network, (5, 6, 2)), x=x), ours(network, x))
    with pytest.raises(TypeError, match="AvgPool2d 0 leaves out padding"):
        page(network, (5, 6, 2))


# ---- this project's own networks

@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_in_onnx(name):
    generator, (shape, classes) = generator_of(name), GENERATORS[name]
    z = inputs((generator.latent,), count=4)
    labels = [np.arange(4) % classes] if classes else []
    model = to_onnx(generator, (generator.latent,), source="latents", result="images")
    found = evaluate(model, latents=z, **({"labels": labels[0]} if classes else {}))
    assert found.shape == (4, *shape)
    close(found, ours(generator, z, *labels))
    before = to_torch(generator)
    from_onnx(unsettled(generator, seed=9), model)
    assert all(np.array_equal(before[key], array) for key, array in to_torch(generator).items())


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", [conditional.Discriminator, dcgan.Discriminator, dcgan.RadfordDiscriminator,
                                  mlp.Discriminator, mlp.PointDiscriminator, mlp.GridDiscriminator])
def test_every_discriminator_in_onnx(kind, classes):
    shape = (2,) if issubclass(kind, mlp.PointDiscriminator) else (8, 8, 3)
    network = unsettled(kind(shape, 4, classes, rng=np.random.default_rng(0)))
    x, labels = inputs(shape, count=4), np.array([0, 2, 1, 2])
    found = evaluate(to_onnx(network, shape), x=x, **({"labels": labels} if classes else {}))
    close(found, ours(network, x, *([labels] if classes else [])))
    before, state = network.state_dict(), to_torch(network, shape)
    from_torch(unsettled(network, seed=9), state, shape)
    assert all(np.array_equal(before[key], array) for key, array in network.state_dict().items())


def test_the_classifier_in_onnx_and_back():
    network = classifier.Classifier((12, 8, 3), 5, 2, rng=np.random.default_rng(0))
    x = inputs((12, 8, 3), count=4)
    model = to_onnx(network, (12, 8, 3))
    close(evaluate(model, x=x), ours(network, x))
    other = classifier.Classifier((12, 8, 3), 5, 2, rng=np.random.default_rng(1))
    from_torch(other, to_torch(network, (12, 8, 3)), (12, 8, 3))
    assert all(np.array_equal(network.state_dict()[key], array) for key, array in other.state_dict().items())


def test_an_onnx_file_says_what_goes_in_and_out(tmp_path):
    onnx = pytest.importorskip("onnx")
    generator = generator_of("conditional")
    save_onnx(tmp_path / "g.onnx", to_onnx(generator, (5,), source="latents", result="images"))
    model = onnx.load(tmp_path / "g.onnx")

    def told(value):
        kind = value.type.tensor_type
        return value.name, kind.elem_type, [size.dim_param or size.dim_value for size in kind.shape.dim]
    number = onnx.TensorProto
    assert [told(value) for value in model.graph.input] == [("latents", number.FLOAT, ["N", 5]),
                                                           ("labels", number.INT64, ["N"])]
    assert [told(value) for value in model.graph.output] == [("images", number.FLOAT, ["N", 8, 8, 3])]
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)] and OPSET == 17
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]
    other = generator_of("conditional")
    from_onnx(unsettled(other, seed=9), tmp_path / "g.onnx")
    assert all(np.array_equal(generator.state_dict()[key], array) for key, array in other.state_dict().items())


@pytest.mark.parametrize("name", GENERATORS)
def test_the_written_generator_runs_without_this_package(name, tmp_path):
    pytest.importorskip("torch")
    generator, classes = generator_of(name), GENERATORS[name][1]
    z, labels = inputs((generator.latent,), count=4), np.arange(4) % classes if classes else None
    program, weights = generator_to_torch(generator, tmp_path / "new" / "folder")
    np.savez(tmp_path / "in.npz", latents=z, **({"labels": labels} if classes else {}))
    script = f"""
import sys
sys.path.insert(0, {str(program.parent)!r})
import numpy as np, torch
from generator import Generator
torch.set_num_threads(1)
given = np.load({str(tmp_path / "in.npz")!r})
with torch.no_grad():
    images = Generator.load()(*(torch.from_numpy(given[name]) for name in given.files))
assert not [name for name in sys.modules if name.startswith("minideconv")]
np.save({str(tmp_path / "out.npy")!r}, images.numpy())
"""
    subprocess.run([sys.executable, "-I", "-c", script], check=True, cwd=tmp_path, timeout=120)
    close(np.load(tmp_path / "out.npy"), ours(generator, z, *([labels] if classes else [])))
    assert sorted(os.listdir(program.parent)) == sorted({program.name, weights.name} | (
        {"__pycache__"} & set(os.listdir(program.parent))))


@pytest.mark.parametrize("name", GENERATORS)
def test_the_written_generator_is_one_screen(name):
    generator = generator_of(name, width=64)
    lines = source(page(generator, (5,)), 5, generator.uniform).splitlines()
    assert len(lines) <= 50 and max(map(len, lines)) < 120
    text = "\n".join(lines)
    assert "import minideconv" not in text and "torch.load" not in text
    assert re.findall(r".*pickle.*", text) == ["        with np.load(path, allow_pickle=False) as file:"]


def test_the_written_program_draws_when_it_is_run(tmp_path):
    pytest.importorskip("torch")
    program, _ = generator_to_torch(generator_of("radford"), tmp_path)
    done = subprocess.run([sys.executable, "-I", program], check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("(16, 8, 8, 3) ")


# ---- what is refused

def test_layers_that_cannot_be_translated_are_named():
    class Noise(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) + 1
    spectral = normalise(dcgan.Discriminator((8, 8, 1), 2, rng=np.random.default_rng(0)))
    with pytest.raises(TypeError, match=r"Spectral layers\.0 cannot be translated: it holds right"):
        to_torch(spectral)
    with pytest.raises(TypeError, match="Noise 1 cannot be translated: it holds weight"):
        to_torch(nn.Sequential(nn.ReLU(), Noise(1, 1, 1)))
    with pytest.raises(TypeError, match="softplus 0 cannot be translated"):
        to_torch(nn.Sequential(F.softplus))
    with pytest.raises(TypeError, match="Linear 1 gets images, on whose last axis it works"):
        to_torch(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Linear(2, 3)))
    with pytest.raises(TypeError, match="Reshape 2 makes an image of 2 channels out of the flat features"):
        to_torch(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Reshape(2, 2, 2)))
    with pytest.raises(TypeError, match="Reshape 1 to 2 axes"):
        to_torch(nn.Sequential(nn.Linear(2, 4), nn.Reshape(2, 2)))
    with pytest.raises(TypeError, match="leaves the channels open"):
        to_torch(nn.Sequential(nn.Linear(2, 4), nn.Reshape(2, 2, -1)))
    with pytest.raises(TypeError, match="Conv2d 1 gets flat features"):
        to_torch(nn.Sequential(nn.Linear(2, 4), nn.Conv2d(1, 1, 1)))


def test_a_sequential_with_more_than_its_layers_is_named():
    network = nn.Sequential(nn.Conv2d(1, 2, 3))
    network.scale = md.Tensor(np.ones(2, np.float32))
    with pytest.raises(TypeError, match="^Sequential cannot be translated: it holds scale"):
        to_torch(network)


def test_float64_keeps_its_digits_in_pytorch_and_is_float32_in_onnx():
    network = nn.Sequential(nn.Linear(2, 3))
    for tensor in network.parameters():
        tensor.data = tensor.data.astype(np.float64) / 3
    assert to_torch(network)["0.weight"].dtype == np.float64
    x = inputs((2,))
    found = evaluate(to_onnx(network, (2,)), x=x)
    assert found.dtype == np.float32 and np.abs(found - ours(network, x.astype(np.float64))).max() < CLOSE


def test_a_state_that_does_not_fit_changes_nothing():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    state, before = to_torch(network), network.state_dict()
    with pytest.raises(KeyError, match=r"missing \['0.bias'\], unknown \['other'\]"):
        from_torch(network, {**{name: state[name] for name in state if name != "0.bias"}, "other": state["0.bias"]})
    with pytest.raises(ValueError, match=r"0.weight must have shape \(2, 1, 3, 3\); got \(3, 3, 1, 2\)"):
        from_torch(network, {**state, "0.weight": network[0].weight.data})
    with pytest.raises(TypeError, match="0.bias must be numbers that fit into float32; got complex"):
        from_torch(network, {**state, "0.bias": state["0.bias"].astype(complex)})
    with pytest.raises(TypeError, match="state must be a dict, name -> array; got a list"):
        from_torch(network, [1])
    assert all(np.array_equal(before[name], array) for name, array in network.state_dict().items())
    from_torch(network, {name: array for name, array in state.items() if "tracked" not in name})


@pytest.mark.parametrize("shape, error", [((3, 3), ValueError), ((0,), ValueError), ("3", TypeError),
                                          ((2.5,), TypeError), (7, TypeError)])
def test_shapes_that_are_none(shape, error):
    with pytest.raises(error, match=r"input_shape must be \(H, W, C\) or \(F,\), without the batch"):
        to_torch(nn.Sequential(nn.ReLU()), shape)


def test_sizes_that_do_not_fit_name_the_layer():
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="Conv2d 0: kernel of 5x5 pixels"):
        to_onnx(nn.Sequential(nn.Conv2d(1, 1, 5)), (3, 3, 1))
    with pytest.raises(ValueError, match="BatchNorm2d 0 has 4 channels and gets 3"):
        to_onnx(nn.Sequential(nn.BatchNorm2d(4)), (3,))


def test_files_that_are_no_models(tmp_path):
    onnx = pytest.importorskip("onnx")
    network = nn.Sequential(nn.Linear(2, 2))
    (tmp_path / "no.onnx").write_bytes(b"\xff" * 30)
    with pytest.raises(ValueError, match="model must be an ONNX file"):
        from_onnx(network, tmp_path / "no.onnx")
    with pytest.raises(FileNotFoundError):
        from_onnx(network, tmp_path / "none.onnx")
    with pytest.raises(TypeError, match="model must be an onnx.ModelProto or the path of a file; got a dict"):
        from_onnx(network, {})
    with pytest.raises(KeyError, match="missing"):
        from_onnx(network, onnx.ModelProto())


def test_without_onnx_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'^ONNX files need the package onnx: pip install "minideconv\[onnx\]"$'):
        interchange.to_onnx(nn.Sequential(nn.Linear(2, 2)), (2,))


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        generator_to_torch(generator_of("points"), tmp_path / "file")
