"""What a unit responds to: each method lets through what its rule says, and switches lead back."""
import numpy as np
import pytest
from PIL import Image
from shell import run_cli

import minideconv as md
import minideconv.functional as F
from minideconv import nn
from minideconv.draw import deconvnet, saliency
from minideconv.metrics import classifier as judge
from minideconv.models.classifier import Classifier, shipped

# The table: forward activation a, signal from above g, and what comes through at y = max(a, 0).
A = np.array([-1.0, -1.0, 1.0, 1.0])
G = np.array([-2.0, 3.0, -2.0, 3.0])
RULES = {"gradient": [0, 0, -2, 3], "deconvnet": [0, 3, 0, 3], "guided": [0, 0, 0, 3]}
LEAKY = {"gradient": [-1, 1.5, -2, 3], "deconvnet": [0, 3, 0, 3], "guided": [0, 1.5, 0, 3]}         # slope 1/2


def filled(layer, rng):
    """The layer with whole numbers for weights, so that float32 sums are exact."""
    for parameter in layer.parameters():
        parameter.data = rng.integers(-3, 4, parameter.shape).astype(np.float32)
    return layer


def pooled(rng):
    """Pooling with switches between two convolutions, one strided; not square, so that exchanged axes show."""
    return nn.Sequential(filled(nn.Conv2d(1, 4, 3, 2, "same"), rng), nn.ReLU(), nn.MaxPool2d(2),
                         filled(nn.Conv2d(4, 3, 3, padding=1), rng), nn.ReLU())


def strided(rng):
    return nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1, rng=rng), nn.BatchNorm2d(4), nn.LeakyReLU(0.2),
                         nn.Sequential(nn.Conv2d(4, 6, 3, 2, "same", rng=rng), nn.LeakyReLU(0.2), nn.AvgPool2d(2)),
                         nn.Dropout(0.5), nn.Flatten(), nn.Linear(6, 5, rng=rng), nn.Tanh()).eval()


def images(rng, count=3, size=(12, 8)):
    return rng.integers(-4, 5, (count, *size, 1)).astype(np.float32)


# ---- the rules

@pytest.mark.parametrize("method", saliency.METHODS)
def test_the_three_row_table(method):
    assert saliency.through_relu(G, A, method).tolist() == RULES[method]
    assert saliency.through_relu(G, A, method, slope=0.5).tolist() == LEAKY[method]
    assert saliency.through_relu(G.astype(np.float32), A.astype(np.float32), method, 0.5).dtype == np.float32


@pytest.mark.parametrize("layer, table", [(nn.ReLU(), RULES), (nn.LeakyReLU(0.5), LEAKY)])
def test_the_table_in_a_network(layer, table):
    """Its input is a, and the row of weights of its unit is g."""
    head = nn.Linear(4, 2)
    head.weight.data = np.stack([np.zeros(4), G], axis=1).astype(np.float32)
    found = saliency.saliency_maps([layer, head], A[np.newaxis].astype(np.float32), layer=-1, unit=1)
    assert {method: values[0].tolist() for method, values in found.items()} == table


def test_switches_make_a_round_trip():
    """What was largest goes back to its place; pooled again it is the same, from the same places."""
    rng = np.random.default_rng(0)
    x = rng.permutation(2 * 6 * 4 * 3).reshape(2, 6, 4, 3).astype(np.float32) + 1
    passes = saliency.forward([nn.MaxPool2d(2)], x)
    back = saliency.send_back(passes, passes[0].y.data, "deconvnet")
    windows = x.reshape(2, 3, 2, 2, 2, 3)
    largest = windows == windows.max(axis=(2, 4), keepdims=True)
    assert np.array_equal(back, np.where(largest, windows, 0).reshape(x.shape)) and (back != 0).sum() == x.size / 4
    again, switches = F.max_pool2d(back, 2, return_indices=True)
    assert np.array_equal(again.data, passes[0].y.data) and np.array_equal(switches, passes[0].switches)


def test_windows_that_overlap_add_up():
    """Unpooling is the transpose of pooling there too: a pixel that won twice gets both signals."""
    x = np.array([1, 5, 2, 4, 3], np.float32).reshape(1, 1, 5, 1)
    passes = saliency.forward([nn.MaxPool2d((1, 3), stride=1)], x)
    back = saliency.send_back(passes, np.array([10, 20, 40], np.float32).reshape(1, 1, 3, 1), "gradient")
    assert passes[0].y.data.ravel().tolist() == [5, 5, 4] and back.ravel().tolist() == [0, 30, 0, 40, 0]


def test_the_deconvnet_step_by_step():
    """Zeiler and Fergus by hand, from the top: ReLU, transposed filters, unpooling, ReLU, transposed filters."""
    rng = np.random.default_rng(1)
    network, x, unit = pooled(rng), images(rng), (1, 1, 2)
    first, _, pool, second, _ = network.layers
    maps, switches = F.max_pool2d(F.relu(first(md.Tensor(x))), 2, return_indices=True)
    signal = np.zeros((3, 3, 2, 3), np.float32)
    signal[:, 1, 1, 2] = 1
    signal = F.conv_transpose2d(np.maximum(signal, 0), second.weight, padding=1)
    signal = F.relu(F.max_unpool2d(signal, switches, 2, output_size=(6, 4)))
    signal = F.conv_transpose2d(signal, first.weight, stride=2, padding="same", output_size=(12, 8))
    found = saliency.saliency_maps(network, x, -1, unit)["deconvnet"]
    assert found.any() and np.array_equal(found, signal.data)
    assert pool.kernel_size == (2, 2) and maps.shape == switches.shape


@pytest.mark.parametrize("build, layer", [*((pooled, layer) for layer in range(5)),
                                          *((strided, layer) for layer in range(10))])
def test_gradient_is_the_engines(build, layer):
    rng = np.random.default_rng(2)
    network, x = build(rng), images(rng)
    shape = saliency.activations(network, x, layer).shape
    unit = tuple(int(rng.integers(size)) for size in shape[1:])
    leaf = md.Tensor(x, requires_grad=True)
    flat = saliency.layers_of(network)
    nn.Sequential(*flat[:layer + 1])(leaf)[(slice(None), *unit)].sum().backward()
    found = saliency.saliency_maps(network, x, layer, unit)
    assert set(found) == set(saliency.METHODS) and all(map_.shape == x.shape for map_ in found.values())
    np.testing.assert_allclose(found["gradient"], leaf.grad, rtol=1e-5, atol=1e-7)


def test_without_relus_all_three_are_the_gradient():
    rng = np.random.default_rng(3)
    network, x = [filled(nn.Conv2d(1, 2, 3), rng), nn.MaxPool2d(2), filled(nn.Conv2d(2, 2, 2), rng)], images(rng)
    deconv, gradient, guided = saliency.saliency_maps(network, x, 2, (1, 0, 1)).values()
    assert gradient.any() and np.array_equal(deconv, gradient) and np.array_equal(guided, gradient)


def test_without_switches_the_deconvnet_does_not_look_at_the_image():
    """Its rule reads only the signal from above; with pooling the image comes in by the switches."""
    rng = np.random.default_rng(9)
    for network, same in ((pooled(rng), False), (saliency.layers_of(strided(rng))[:5], True)):
        maps = saliency.saliency_maps(network, images(rng), -1, (1, 1, 2))
        assert np.array_equal(maps["deconvnet"][0], maps["deconvnet"][1]) == same
        assert not np.array_equal(maps["guided"][0], maps["guided"][1])


@pytest.mark.parametrize("network, count", [(shipped(), 11), (judge.shipped(), 10)])
def test_every_layer_of_the_shipped_classifiers(network, count):
    x, _ = md.data.strokes(4, seed=3)
    x = x.astype(np.float32) / 255
    names = saliency.names_of(network)
    assert names[0] == "0 Conv2d" and names[-1] == f"{count - 1} Linear" and len(names) == count
    for layer in range(count):
        found = saliency.activations(network, x, layer)
        units = saliency.strongest(found, 5)
        maps = saliency.saliency_maps(network, x, layer, units)
        leaf = md.Tensor(x, requires_grad=True)
        chain = nn.Sequential(*saliency.layers_of(network)[:layer + 1])
        chain(leaf)[(np.arange(4), *units.T)].sum().backward()
        np.testing.assert_allclose(maps["gradient"], leaf.grad, rtol=1e-4, atol=1e-6)
        assert maps["deconvnet"].dtype == np.float32


# ---- units and images

def test_the_strongest_place():
    rng = np.random.default_rng(4)
    found = rng.permutation(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    for one, (i, j, channel) in zip(found, saliency.strongest(found, 1), strict=True):
        assert channel == 1 and one[i, j, 1] == one[..., 1].max()
    assert saliency.strongest(found[:, 0, 0], 1).tolist() == [[1], [1]]
    with pytest.raises(ValueError, match="channel must lie in 0 to 1; got 2"):
        saliency.strongest(found, 2)


def test_the_images_that_excite_a_unit_most():
    rng = np.random.default_rng(5)
    network, x = pooled(rng), images(rng, count=450)
    which, units = deconvnet.most_active(network, x, 3, 2, count=5)
    values = saliency.activations(network, x, 3)[..., 2].max(axis=(1, 2))
    assert values[which].tolist() == sorted(values, reverse=True)[:5] and units.shape == (5, 3)


MISTAKES = [
    (dict(layer=5), ValueError, "layer must be one of 0 Conv2d, .*; got 5"),
    (dict(layer=1.5), TypeError, "float"),
    (dict(unit=(1, 1)), ValueError, r"unit must have 3 numbers .* got shape \(2,\)"),
    (dict(unit=(1, 1, 3)), ValueError, r"unit must lie in a layer's result of shape \(3, 2, 3\)"),
    (dict(unit=(-1, 1, 2)), ValueError, "unit must lie in"),
    (dict(unit=(1.0, 1, 2)), TypeError, "unit must be whole numbers"),
    (dict(methods=["gradient", "magic"]), ValueError, "methods must be of deconvnet, gradient, guided; got 'magic'"),
    (dict(images=np.zeros((1, 12, 8, 1), np.uint8)), TypeError, "images must be floats"),
    (dict(network=nn.Sequential(F.relu)), TypeError, "network must be made of Modules"),
    (dict(network="net"), TypeError, "network must be made of Modules"),
    (dict(network=nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))), ValueError, "network.eval.*BatchNorm2d"),
]


@pytest.mark.parametrize("changed, kind, words", MISTAKES)
def test_mistakes_are_named(changed, kind, words):
    rng = np.random.default_rng(6)
    arguments = {"network": pooled(rng), "images": images(rng), "layer": -1, "unit": (1, 1, 2), **changed}
    with pytest.raises(kind, match=words):
        saliency.saliency_maps(**arguments)


def test_a_network_that_is_no_chain_is_refused():
    class Skip(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 3, rng=np.random.default_rng(0))

        def forward(self, x):
            return x + self.layer(x)
    with pytest.raises(ValueError, match="the forward of Skip gives other numbers than 0 Linear"):
        saliency.saliency_maps(Skip(), np.ones((1, 3), np.float32), 0, 1)


def test_one_rule_has_one_name():
    with pytest.raises(ValueError, match="method must be one of"):
        saliency.through_relu(G, A, "backprop")


# ---- random weights

def test_rank_correlation():
    """By hand, with a tie; whatever keeps the order keeps it."""
    a, b = np.array([1, 2, 2, 4]), np.array([1, 3, 2, 4])
    assert saliency.rank_correlation(a, b) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert saliency.rank_correlation(np.exp(a), b.reshape(4) ** 3) == saliency.rank_correlation(a, b)
    assert saliency.rank_correlation(b, -b) == pytest.approx(-1)
    assert np.isnan(saliency.rank_correlation(a, np.ones(4)))
    with pytest.raises(ValueError, match="b must have a's shape"):
        saliency.rank_correlation(a, b[:3])


def test_random_weights_from_the_top_down():
    rng = np.random.default_rng(7)
    network, fresh, x = pooled(rng), pooled(rng), images(rng)
    unit = saliency.strongest(saliency.activations(network, x, 3), 1)
    found = saliency.randomization_test(network, fresh, x, 3, unit)
    learned, mixed, other = (saliency.saliency_maps(one, x, 3, unit)
                             for one in (network, [*network[:3].layers, *fresh[3:].layers], fresh))
    for method, rows in found.items():
        assert rows.shape == (3, 3) and np.allclose(rows[0], 1, rtol=1e-12)         # two layers have weights
        for row, maps in zip(rows[1:], (mixed, other), strict=True):
            expected = [saliency.map_correlation(*pair) for pair in zip(learned[method], maps[method], strict=True)]
            np.testing.assert_array_equal(row, expected)
    assert np.allclose(saliency.randomization_test(network, network, x, 3, unit)["guided"], 1)
    sizes = saliency.randomization_test(network, fresh, x, 3, unit, ["gradient"], absolute=True)["gradient"]
    assert sizes[2, 0] == saliency.map_correlation(abs(learned["gradient"][0]), abs(other["gradient"][0]))


def test_what_a_unit_does_not_see_is_no_agreement():
    rng = np.random.default_rng(10)
    a, b = rng.random((2, 5, 4, 1))
    wide = [np.pad(one, ((3, 4), (2, 9), (0, 0))) for one in (a, b)]
    assert saliency.reach(*wide) == (slice(3, 8), slice(2, 6), slice(0, 1))
    assert saliency.map_correlation(*wide) == saliency.rank_correlation(a, b)
    assert saliency.rank_correlation(*wide) > 0.2 + saliency.rank_correlation(a, b)
    assert np.isnan(saliency.map_correlation(0 * a, 0 * a))


def test_random_weights_of_another_network():
    with pytest.raises(ValueError, match="fresh must have the layers of network"):
        saliency.randomization_test(pooled(np.random.default_rng(0)), nn.Sequential(nn.Conv2d(1, 4, 3)),
                                    images(np.random.default_rng(0)), 3, (0, 0, 0))


# ---- the picture

def test_a_figure_of_colour_images():
    rng = np.random.default_rng(8)
    network = nn.Sequential(nn.Conv2d(3, 2, 3, rng=rng), nn.ReLU(), nn.Conv2d(2, 2, 3, rng=rng))
    figure = deconvnet.draw_deconvnet(network, rng.random((2, 9, 9, 3), np.float32), 2, (2, 2, 1))
    assert len(figure.axes) == 8
    with pytest.raises(ValueError, match="1 or 3 channels"):
        deconvnet.draw_deconvnet(network, rng.random((2, 9, 9, 2), np.float32), 2, (2, 2, 1))


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "images.npz", images=md.data.strokes(30, seed=9)[0])
    return tmp_path / "images.npz"


def test_the_command_draws(file, tmp_path, capsys):
    code, out, err = run_cli(capsys, "draw", "deconvnet", "--data", file, "--count", 2, "--random",
                             "--out", tmp_path / "logit.png")
    assert code == 0 and out.startswith("wrote ") and err == ""
    with Image.open(tmp_path / "logit.png") as picture:
        assert picture.width > picture.height > 250
    assert run_cli(capsys, "draw", "deconvnet", "--data", file, "--layer", 2, "--unit", 3, 4, 5,
                   "--out", tmp_path / "unit.svg")[0] == 0


@pytest.mark.parametrize("arguments, words", [
    (["--layer", 11], "layer must be one of 0 Conv2d"), (["--unit", 10], "channel must lie in 0 to 9; got 10"),
    (["--unit", 1, 2, 3], "unit must have 1 numbers"), (["--count", 0], "--count must be at least 1; got 0"),
    (["--data", "ring"], "(28, 28, 1)"), (["--data", "nowhere.npz"], "nowhere.npz")])
def test_mistakes_of_the_command(arguments, words, file, tmp_path, capsys):
    given = [] if "--data" in arguments else ["--data", file]
    code, _, err = run_cli(capsys, "draw", "deconvnet", *given, *arguments, "--out", tmp_path / "x.png")
    assert code == 2 and words in err and len(err.splitlines()) == 1 and not (tmp_path / "x.png").exists()


def test_random_weights_are_a_classifier_like_the_shipped_one():
    assert [type(layer) for layer in saliency.layers_of(Classifier(rng=np.random.default_rng(0)))] == [
        type(layer) for layer in saliency.layers_of(shipped())]
