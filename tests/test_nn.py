"""Layers: their parameters, what they compute, saving and loading, and how their first weights are drawn."""
import os

import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import nn, storage
from minideconv.nn import init


def network(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding="same", rng=rng), nn.BatchNorm2d(4), nn.LeakyReLU(0.2),
                         nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1, rng=rng), nn.Flatten(),
                         nn.Linear(128, 3, rng=rng))


def pictures(seed=1, count=5):
    return md.Tensor(np.random.default_rng(seed).standard_normal((count, 8, 8, 1)).astype(np.float32))


class Pair(nn.Module):
    """A Module with parts in attributes and lists, a parameter of its own, and one layer that is used twice."""

    def __init__(self):
        self.scale = md.Tensor(np.ones(3, np.float32), requires_grad=True)
        self.first = nn.Linear(3, 3, rng=np.random.default_rng(0))
        self.rest = [nn.Linear(3, 3, bias=False, rng=np.random.default_rng(1)), self.first]

    def forward(self, x):
        return self.rest[1](self.rest[0](self.first(x))) * self.scale


def test_parameters_are_named_and_counted_once():
    names = [f"{place}.{name}" for place in (0, 1, 3, 5) for name in ("weight", "bias")]
    assert [name for name, _ in network().named_parameters()] == names
    assert [name for name, _ in Pair().named_parameters()] == ["scale", "first.weight", "first.bias", "rest.0.weight"]
    assert len(Pair().parameters()) == 4 and len(Pair().modules()) == 3


@pytest.mark.parametrize("layer, count", [
    (nn.Linear(5, 7), 5 * 7 + 7), (nn.Linear(5, 7, bias=False), 35), (nn.Conv2d(3, 8, (4, 3)), 4 * 3 * 3 * 8 + 8),
    (nn.Conv2d(6, 8, 3, groups=2), 9 * 3 * 8 + 8), (nn.ConvTranspose2d(8, 3, 4), 16 * 3 * 8 + 3),
    (nn.ConvTranspose2d(8, 6, 4, groups=2, bias=False), 16 * 3 * 8), (nn.BatchNorm2d(5), 10)])
def test_parameter_counts(layer, count):
    assert sum(p.size for p in layer.parameters()) == count
    assert all(p.dtype == np.float32 and p.requires_grad for p in layer.parameters())


def test_layers_are_their_functions():
    x, rng = pictures(), np.random.default_rng(2)
    one = nn.Conv2d(1, 4, 3, stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2), rng=rng)
    other = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=(0, 1), groups=2, rng=rng)
    y = one(x)
    expected = F.conv2d(x, one.weight, one.bias, stride=(2, 1), padding=((1, 0), (0, 2)), dilation=(1, 2))
    assert np.array_equal(y.data, expected.data)
    expected = F.conv_transpose2d(y, other.weight, other.bias, stride=2, padding=1, output_padding=(0, 1), groups=2)
    assert np.array_equal(other(y).data, expected.data)
    for layer, expected in ((nn.ReLU(), F.relu(x)), (nn.LeakyReLU(0.3), F.leaky_relu(x, 0.3)),
                            (nn.Sigmoid(), F.sigmoid(x)), (nn.Tanh(), F.tanh(x)),
                            (nn.MaxPool2d(3, 2, 1), F.max_pool2d(x, 3, 2, 1)), (nn.MaxPool2d(2), F.max_pool2d(x, 2)),
                            (nn.AvgPool2d((2, 4)), F.avg_pool2d(x, (2, 4))),
                            (nn.AvgPool2d(3, 2, 1, count_include_pad=False),
                             F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
                            (nn.Upsample((2, 3), "bilinear"), F.upsample(x, (2, 3), "bilinear")),
                            (nn.Upsample(2), F.upsample(x, 2)), (nn.Flatten(), x.reshape(5, 64)),
                            (nn.Reshape(4, 4, 4), x.reshape(5, 4, 4, 4)), (nn.Reshape(-1, 2), x.reshape(5, 32, 2))):
        assert np.array_equal(layer(x).data, expected.data), layer
    shuffled = nn.Reshape(4, 4, 4)(x)
    assert np.array_equal(nn.PixelShuffle(2)(shuffled).data, F.pixel_shuffle(shuffled, 2).data)
    dense = nn.Linear(8, 3, rng=rng)
    expected = x.data.reshape(5, 8, 8) @ dense.weight.data + dense.bias.data
    assert np.allclose(dense(x.reshape(5, 8, 8)).data, expected, rtol=1e-5, atol=1e-6)


def test_output_size_per_call():
    layer, x = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1), pictures()
    assert layer(x).shape[1:3] == (15, 15)
    assert layer(x, output_size=(16, 15)).shape[1:3] == (16, 15)
    assert layer(x, (16, 16)).shape[1:3] == (16, 16)


@pytest.mark.parametrize("training", [True, False])
def test_sequential_fused_equals_layer_by_layer(kernels, training):
    fused, plain, x = network().train(training), network().train(training), pictures()
    y, z = fused(x), x
    for layer in plain.layers:
        z = layer(z)
    assert np.allclose(y.data, z.data, rtol=1e-5, atol=1e-6)
    g = np.random.default_rng(3).standard_normal(y.shape).astype(np.float32)
    y.backward(g)
    z.backward(g)
    for (name, p), q in zip(fused.named_parameters(), plain.parameters(), strict=True):
        assert np.allclose(p.grad, q.grad, rtol=1e-3, atol=1e-4), name
    for name, array in fused.state_dict().items():
        assert np.allclose(array, plain.state_dict()[name], rtol=1e-6), name


def test_sequential_fuses_only_plain_batch_norm_and_leaky_relu(monkeypatch):
    calls, original = [], F.batch_norm

    def noted(*args, negative_slope=1.0, **settings):
        calls.append(negative_slope)
        return original(*args, negative_slope=negative_slope, **settings)
    monkeypatch.setattr(F, "batch_norm", noted)
    x = md.Tensor(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    nn.Sequential(nn.BatchNorm2d(3), nn.LeakyReLU(0.2))(x)
    nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.LeakyReLU(0.2))(x)
    y = nn.Sequential(nn.BatchNorm2d(3), nn.LeakyReLU(0.5), nn.LeakyReLU(0.5))(x)
    assert calls == [0.2, 1.0, 0.5]
    assert np.isclose(y.data.min(), original(x, None, None, training=True).data.min() / 4, rtol=1e-5)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_sequential_fuses_a_convolution_and_leaky_relu(kind):
    rng = np.random.default_rng(0)
    layer, x = kind(2, 3, 3, rng=rng), rng.standard_normal((2, 5, 5, 2), np.float32)
    for slope in (0.2, 0.0, -0.5):          # the last as two operations: a sign does not tell where it came from
        model, leaf = nn.Sequential(layer, nn.LeakyReLU(slope)), md.Tensor(x, requires_grad=True)
        same = F.leaky_relu(layer(leaf), slope)
        assert np.array_equal(model(leaf).data, same.data)
        g = rng.standard_normal(same.shape, np.float32)
        inputs = leaf, layer.weight, layer.bias
        for found, expected in zip(md.grad(model(leaf), inputs, g), md.grad(same, inputs, g), strict=True):
            assert np.array_equal(found.data, expected.data)
        assert ("slope" in model(leaf).node.inputs[0].node.settings) == (slope >= 0)


def test_a_sequential_of_nothing_gives_what_it_is_given():
    x = md.Tensor(np.ones((2, 3)))
    assert nn.Sequential()(x) is x and nn.Sequential(nn.ReLU())[:0](x) is x


def test_sequential_takes_functions_and_slices():
    model = nn.Sequential(nn.Flatten(), F.tanh, nn.Linear(64, 2))
    x = pictures()
    assert len(model) == 3 and model[1] is F.tanh and np.array_equal(model[:2](x).data, np.tanh(x.data.reshape(5, 64)))
    assert list(model.state_dict()) == ["2.weight", "2.bias"]
    with pytest.raises(TypeError, match=r"layers\[1\] must be a Module or a function; got int"):
        nn.Sequential(nn.ReLU(), 3)


def test_state_dict_round_trip():
    one, other = network(0), network(1)
    one(pictures())                                     # moves the running statistics
    state = one.state_dict()
    parameters = {f"{place}.{name}" for place in (0, 1, 3, 5) for name in ("weight", "bias")}
    assert set(state) == parameters | {"1.running_mean", "1.running_var"}
    other.load_state_dict(state)
    x = pictures(2)
    assert np.array_equal(one.eval()(x).data, other.eval()(x).data)
    state["0.weight"][:] = 7                            # copies both ways: neither network changes with it
    assert not (one[0].weight.data == 7).any() and not (other[0].weight.data == 7).any()


def test_wrong_states_are_named_and_change_nothing():
    model = network(0)
    before = model.state_dict()
    state = network(1).state_dict()
    missing = {name: array for name, array in state.items() if name != "3.bias"}
    for wrong, error, words in ((missing, KeyError, ["missing ['3.bias']", "unknown []"]),
                                ({**state, "9.weight": np.ones(1)}, KeyError, ["unknown ['9.weight']"]),
                                ({**state, "5.bias": np.ones(4)}, ValueError, ["5.bias", "(3,)", "(4,)"]),
                                ({**state, "5.bias": np.array(["a"] * 3)}, TypeError, ["5.bias"])):
        with pytest.raises(error) as caught:
            model.load_state_dict(wrong)
        assert all(word in str(caught.value) for word in words)
        assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_save_and_load(tmp_path):
    one, other, path = network(0), network(1), tmp_path / "model.npz"
    one(pictures())
    one.save(path)
    with np.load(path, allow_pickle=False) as file:     # plain arrays under their names: any NumPy reads them
        assert set(file.files) == set(one.state_dict())
    other.load(path)
    assert all(np.array_equal(array, other.state_dict()[name]) for name, array in one.state_dict().items())


def test_a_crash_while_saving_keeps_the_old_file(tmp_path, monkeypatch):
    one, path = network(0), tmp_path / "model.npz"
    one.save(path)
    old = path.read_bytes()

    def half(file, array, allow_pickle):
        file.write(b"half")
        raise OSError("disk full")
    monkeypatch.setattr(storage.np.lib.format, "write_array", half)
    with pytest.raises(OSError, match="disk full"):
        network(1).save(path)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["model.npz"]


def test_train_eval_and_requires_grad_reach_every_part_and_only_themselves():
    model = nn.Sequential(network(), nn.Dropout(0.5, rng=np.random.default_rng(0)))
    assert all(m.training for m in model.modules())
    assert model.eval() is model and not any(m.training for m in model.modules())
    assert model.requires_grad_(False) is model and not any(p.requires_grad for p in model.parameters())
    assert not model[0][1].training
    model.train().requires_grad_()
    assert all(m.training for m in model.modules()) and all(p.requires_grad for p in model.parameters())
    model.requires_grad_(False)
    before = model.state_dict()
    model(pictures())           # frozen is not evaluation: batch norm keeps counting (Keras ties the two together)
    assert not np.array_equal(before["0.1.running_mean"], model.state_dict()["0.1.running_mean"])


def test_dropout():
    x = md.Tensor(np.ones((200, 200), np.float32), requires_grad=True)
    layer = nn.Dropout(0.25, rng=np.random.default_rng(0))
    y = layer(x)
    assert set(np.unique(y.data)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs((y.data == 0).mean() - 0.25) < 0.01
    y.sum().backward()
    assert np.array_equal(x.grad, y.data)
    assert np.array_equal(layer.eval()(x).data, x.data)
    for p in (-0.1, 1):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\)"):
            nn.Dropout(p)


def test_the_same_generator_draws_the_same_layers():
    one, other = network(3).state_dict(), network(3).state_dict()
    assert list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def spread(array, variance):
    """Whether the sample's mean is about 0 and its variance the one that is meant."""
    return abs(array.mean()) < 0.05 * variance ** 0.5 and abs(array.var() / variance - 1) < 0.05


def test_first_weights_of_layers_have_the_variance_of_their_fan_in():
    """U(-a, a) with a = 1 / sqrt(fan_in) has variance 1 / (3 fan_in)."""
    rng = np.random.default_rng(0)
    for layer, fan_in in ((nn.Linear(200, 300, rng=rng), 200), (nn.Conv2d(64, 128, 3, groups=2, rng=rng), 9 * 32),
                          (nn.ConvTranspose2d(128, 32, 3, rng=rng), 9 * 128),
                          (nn.ConvTranspose2d(128, 64, 3, groups=2, rng=rng), 9 * 64)):
        assert spread(layer.weight.data, 1 / (3 * fan_in)) and np.abs(layer.weight.data).max() <= fan_in ** -0.5
        assert np.abs(layer.bias.data).max() <= fan_in ** -0.5


def test_initialisers_have_the_variance_of_their_formula():
    shape, rng = (4, 3, 40, 90), np.random.default_rng(0)
    taps = 12
    assert spread(init.normal(shape, rng=rng), 0.02 ** 2) and abs(init.normal(shape, 0.1, 5, rng=rng).mean() - 5) < 0.01
    assert spread(init.uniform(shape, 0.5, rng=rng), 0.25 / 3)
    assert spread(init.glorot_uniform(shape, rng=rng), 2 / (taps * 130))
    assert spread(init.he_normal(shape, rng=rng), 2 / (taps * 40))
    assert spread(init.he_normal(shape, transposed=True, rng=rng), 2 / (taps * 90))
    assert spread(init.he_normal(shape, 0.5, rng=rng), 2 / (1.25 * taps * 40))
    assert init.fans(shape) == (taps * 40, taps * 90) and init.fans(shape, transposed=True) == (taps * 90, taps * 40)
    assert init.fans((3, 5)) == (3, 5)
    for draw in (init.normal, init.glorot_uniform, init.he_normal, init.orthogonal):
        assert draw(shape, rng=rng).dtype == np.float32 and draw(shape, rng=rng).shape == shape
    for draw in (init.he_normal, init.glorot_uniform, init.orthogonal):
        with pytest.raises(ValueError, match="at least 2 axes"):
            draw((3,), rng=rng)
        with pytest.raises(ValueError, match=r"every size in shape must be at least 1; got \(3, 3, 0, 4\)"):
            draw((3, 3, 0, 4), rng=rng)
    with pytest.raises(ValueError, match="std must be a number, at least 0; got -1"):
        init.normal(shape, -1)
    with pytest.raises(TypeError, match="rng must be a np.random.Generator"):
        init.normal(shape, rng=0)


@pytest.mark.parametrize("shape", [(20, 7), (7, 20), (3, 2, 4, 5), (2, 2, 1, 9)])
def test_orthogonal(shape):
    matrix = init.orthogonal(shape, 2.0, rng=np.random.default_rng(0)).reshape(-1, shape[-1]).astype(np.float64)
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    assert np.allclose(gram, 4 * np.eye(len(gram)), atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_kernel_interpolates(factor):
    """Away from the border, a transposed convolution with it is bilinear upsampling.

    2 * factor taps, stride factor, factor / 2 cropped.
    """
    x = np.random.default_rng(0).standard_normal((1, 6, 5, 2)).astype(np.float32)
    size = 2 * factor - factor % 2                      # odd factors centre on a pixel
    kernel = init.bilinear((size, size, 2, 2))
    y = F.conv_transpose2d(x, kernel, stride=factor, padding=(size - factor) // 2)
    inner = np.s_[:, factor:-factor, factor:-factor]
    assert y.shape == (1, 6 * factor, 5 * factor, 2)
    assert np.allclose(y.data[inner], F.upsample(x, factor, "bilinear").data[inner], atol=1e-6)
    with pytest.raises(ValueError, match=r"\(KH, KW, C, C\)"):
        init.bilinear((4, 4, 2, 3))


REFUSED = {
    "no features": (lambda: nn.Linear(0, 3), ValueError, "in_features must be at least 1; got 0"),
    "half a feature": (lambda: nn.Linear(3, 1.5), TypeError, "out_features must be an integer; got 1.5"),
    "groups that do not divide": (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError,
                                  "groups must divide both channel counts; got groups=2 for 3 and 4"),
    "an unknown padding": (lambda: nn.Conv2d(3, 4, 3, padding="full"), ValueError, "'full'"),
    "features that do not fit": (lambda: nn.Linear(3, 2)(pictures()), ValueError,
                                 r"must have 3 features on its last axis; got shape \(5, 8, 8, 1\)"),
    "no channels": (lambda: nn.ConvTranspose2d(0, 3, 4), ValueError, "in_channels must be at least 1; got 0"),
    "a seed for a generator": (lambda: nn.Dropout(0.5, rng=3), TypeError, "rng must be a np.random.Generator.*got 3"),
    "a probability of text": (lambda: nn.Dropout("0.5"), TypeError, "p must be a number; got '0.5'"),
    "a slope of text": (lambda: nn.LeakyReLU("0.2"), TypeError, "negative_slope must be a number; got '0.2'"),
    "a momentum above 1": (lambda: nn.BatchNorm2d(3, momentum=2), ValueError, r"momentum must lie in \[0, 1\]"),
    "a momentum of text": (lambda: nn.BatchNorm2d(3, momentum="0.1"), TypeError,
                           "momentum must be a number; got '0.1'"),
    "a negative eps": (lambda: nn.BatchNorm2d(3, eps=-1e-5), ValueError, "eps be at least 0.*eps=-1e-05"),
    "a window of nothing": (lambda: nn.MaxPool2d(0), ValueError, "kernel_size must be at least 1; got 0"),
    "a stride of half a pixel": (lambda: nn.AvgPool2d(2, 0.5), TypeError, "stride must be an integer.*got 0.5"),
    "an unknown mode": (lambda: nn.Upsample(2, "cubic"), ValueError,
                        "mode must be 'nearest' or 'bilinear'; got 'cubic'"),
    "a factor of a half": (lambda: nn.Upsample(0.5), TypeError, "scale_factor must be an integer.*got 0.5"),
    "a shuffle of nothing": (lambda: nn.PixelShuffle(0), ValueError, "r must be at least 1; got 0"),
    "a shape in a tuple": (lambda: nn.Reshape((7, 7, 128)), TypeError, r"must be integers.*got \(\(7, 7, 128\),\)"),
    "two sizes left open": (lambda: nn.Reshape(-1, -1), ValueError, r"at most one of them -1; got \(-1, -1\)"),
    "a class for a layer": (lambda: nn.Sequential(nn.ReLU), TypeError,
                            r"layers\[0\] must be a Module or a function; got a class: write ReLU\(...\)"),
    "no forward": (lambda: nn.Module()(1), NotImplementedError, "Module must define forward"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_dropout_of_nothing_is_allowed():
    x = np.ones((2, 3), np.float32)
    assert np.array_equal(nn.Dropout(0, rng=np.random.default_rng(0))(x).data, x)
