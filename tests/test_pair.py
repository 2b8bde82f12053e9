"""The 256x256x3 image-to-image pair is exactly what its articles describe, and it trains."""
import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import optim
from minideconv.bench.measure import arithmetic_of
from minideconv.models import pair


def counts(network):
    return sum(parameter.size for parameter in network.parameters())


def gradient_step_lowers(loss, parameters):
    """The loss before and after one small step against its gradient."""
    sgd = optim.SGD(parameters, lr=1e-3)
    before = loss()
    before.backward()
    sgd.step()
    return before.item() > loss().item()


def test_parameters():
    assert counts(pair.Generator()) == 119_491
    assert counts(pair.Discriminator()) == 2_887_617


def test_shapes_and_arithmetic():
    """The sizes at every layer, and multiply-adds by hand: two operations each."""
    rng = np.random.default_rng(0)
    generator, discriminator = pair.Generator(rng=rng), pair.Discriminator(rng=rng)
    x, sizes = md.Tensor(rng.random((1, 256, 256, 3), np.float32)), []
    for layer in generator.layers[::2]:
        x = layer(x)
        sizes.append(x.shape)
    assert sizes == [(1, 128, 128, 64), (1, 256, 256, 64), (1, 128, 128, 32), (1, 256, 256, 32), (1, 256, 256, 3)]
    with md.no_grad():
        assert generator(x).shape == (1, 256, 256, 3) and generator(x).dtype == np.float32
        assert discriminator(x).shape == (1, 1)
        made = arithmetic_of(lambda: generator(x))
        judged = arithmetic_of(lambda: discriminator(x))
    assert made == 2 * 16 * (128 ** 2 * (3 * 64 + 64 * 64 + 64 * 32 + 32 * 32) + 256 ** 2 * 32 * 3) == 2 * 2_030_043_136
    assert judged == 2 * (16 * (128 ** 2 * 3 * 64 + 64 ** 2 * 64 * 128 + 32 ** 2 * 128 * 256 + 16 ** 2 * 256 * 512)
                          + 16 * 16 * 512) == 2 * 1_661_075_456


def test_the_stride_1_layer_pads_one_before_and_two_after():
    """By value, on integers in float32, which are exact: against loops over the taps of the padded image."""
    rng = np.random.default_rng(0)
    layer = pair.Generator((8, 8, 3), rng=rng).layers[-1]
    assert layer.padding == "same" and layer.stride == (1, 1) and layer.weight.shape == (4, 4, 32, 3)
    weight = rng.integers(-4, 5, (4, 4, 32, 3)).astype(np.float32)
    layer.weight.data, layer.bias.data = weight, np.zeros(3, np.float32)
    x = rng.integers(-4, 5, (2, 8, 9, 32)).astype(np.float32)

    def by_loops(before, after):
        padded = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
        return sum(padded[:, u:u + 8, v:v + 9] @ weight[u, v] for u in range(4) for v in range(4))
    found = layer(md.Tensor(x)).data
    assert found.shape == (2, 8, 9, 3) and np.array_equal(found, by_loops(1, 2))
    assert not np.array_equal(found, by_loops(2, 1))


@pytest.mark.parametrize("network", [pair.Generator, pair.Discriminator])
def test_stride_2_layers_pad_evenly(network):
    """4x4 at stride 2 on even sides: "same" is one pixel on every side, so both spellings agree to the last bit."""
    rng = np.random.default_rng(0)
    for layer in network(rng=rng).layers[:8:2]:
        operation = F.conv_transpose2d if type(layer).__name__ == "ConvTranspose2d" else F.conv2d
        channels = layer.weight.shape[2 if operation is F.conv2d else 3]
        x = md.Tensor(rng.integers(-3, 4, (1, 8, 8, channels)).astype(np.float32))
        assert np.array_equal(layer(x).data, operation(x, layer.weight, layer.bias, stride=2, padding=1).data)


def test_a_pixel_depends_on_no_more_than_fourteen():
    """The rows of the input that reach one output pixel, measured where no two paths cancel."""
    generator = pair.Generator((64, 64, 3), rng=np.random.default_rng(0))
    for parameter in generator.parameters():
        parameter.data = np.abs(parameter.data)
    reach = set()
    for row in range(30, 34):
        x = md.Tensor(np.ones((1, 64, 64, 3), np.float32), requires_grad=True)
        generator(x)[0, row, row, 0].backward()
        seen = np.flatnonzero(x.grad.any(axis=(0, 2, 3)))
        assert len(seen) == seen[-1] - seen[0] + 1
        reach.add(len(seen))
    assert reach == {12, 14}


def test_one_step_lowers_each_players_loss():
    """At full size: D on real and made pictures; G towards a picture and towards "real", with D frozen."""
    rng = np.random.default_rng(0)
    generator, discriminator = pair.Generator(rng=rng), pair.Discriminator(rng=rng)
    x, wanted = (md.Tensor(rng.random((1, 256, 256, 3), np.float32)) for _ in range(2))
    one, zero = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    entropy = F.binary_cross_entropy_with_logits
    with md.no_grad():
        made = generator(x)
    assert gradient_step_lowers(lambda: entropy(discriminator(wanted), one) + entropy(discriminator(made), zero),
                                discriminator.parameters())
    discriminator.requires_grad_(False)
    frozen = discriminator.state_dict()
    assert gradient_step_lowers(lambda: F.l1_loss(generator(x), wanted) + entropy(discriminator(generator(x)), one),
                                generator.parameters())
    assert all(np.array_equal(frozen[name], array) for name, array in discriminator.state_dict().items())


def test_probabilities_are_the_sigmoid_and_the_loss_is_its_cross_entropy():
    rng = np.random.default_rng(0)
    discriminator = pair.Discriminator((16, 16, 3), rng=rng)
    x, target = md.Tensor(rng.random((3, 16, 16, 3), np.float32)), np.array([[1], [0], [1]], np.float32)
    probabilities = discriminator.probabilities(x)
    assert np.allclose(probabilities.data, 1 / (1 + np.exp(-discriminator(x).data)))
    assert np.isclose(F.binary_cross_entropy(probabilities, target).item(),
                      F.binary_cross_entropy_with_logits(discriminator(x), target).item())


@pytest.mark.parametrize("network, shape", [(pair.Generator, (30, 32, 3)), (pair.Generator, (32, 32)),
                                            (pair.Discriminator, (256, 248, 3)), (pair.Discriminator, (0, 16, 3))])
def test_sizes_that_do_not_halve(network, shape):
    with pytest.raises(ValueError, match="image_shape must be .* multiples of"):
        network(shape)


def test_images_of_another_kind():
    with pytest.raises(ValueError, match="x must be"):
        pair.Generator((16, 16, 3))(np.zeros((1, 16, 16, 1), np.float32))
    with pytest.raises(ValueError, match="512 features"):
        pair.Discriminator((16, 16, 3))(np.zeros((1, 32, 32, 3), np.float32))
