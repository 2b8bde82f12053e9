"""Networks that double the resolution, and what they have to beat."""
import numpy as np
import pytest
from PIL import Image

import minideconv as md
import minideconv.functional as F
from minideconv import nn, optim
from minideconv.interchange import to_onnx
from minideconv.models import super_resolution as room
from minideconv.models.super_resolution import ENLARGE, bicubic, bilinear, enlarger, halved


@pytest.mark.parametrize("kind", ENLARGE)
def test_twice_the_size_and_a_step_lowers_the_loss(kind):
    rng = np.random.default_rng(0)
    network, small = enlarger(kind, 3, rng=rng), rng.random((2, 5, 6, 3), np.float32)
    wanted = rng.random((2, 10, 12, 3), np.float32)
    assert network(md.Tensor(small)).shape == (2, 10, 12, 3) and network(md.Tensor(small)).dtype == np.float32
    losses, adam = [], optim.Adam(network.parameters(), 1e-3)
    for _ in range(5):
        loss = F.mse_loss(network(md.Tensor(small)), wanted)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


def blocks(images):
    """How much the pixels of each 2 x 2 block differ, at most."""
    n, h, w, c = images.shape
    pixels = images.reshape(n, h // 2, 2, w // 2, 2, c)
    return np.ptp(pixels, axis=(2, 4)).max()


def test_only_icnr_begins_without_a_grid():
    x = md.Tensor(np.random.default_rng(0).random((2, 6, 6, 2), np.float32))
    assert blocks(enlarger("icnr", 2, rng=np.random.default_rng(1))(x).data) == 0
    for kind in ("transposed", "sub-pixel"):
        assert blocks(enlarger(kind, 2, rng=np.random.default_rng(1))(x).data) > 0.05


def test_icnr_keeps_the_size_of_the_weights():
    starts = [enlarger(kind, rng=np.random.default_rng(2)).layers[4].weight.data for kind in ("sub-pixel", "icnr")]
    assert np.isclose(starts[0].std(), starts[1].std(), rtol=0.1)


def test_icnr_repeats_each_kernel():
    kernel = nn.init.icnr((3, 3, 2, 8), 2, rng=np.random.default_rng(0))
    assert kernel.shape == (3, 3, 2, 8) and kernel.dtype == np.float32
    assert all(np.array_equal(kernel[..., 4 * c], kernel[..., 4 * c + j]) for c in range(2) for j in range(4))
    assert not np.array_equal(kernel[..., 0], kernel[..., 4])
    small = nn.init.orthogonal((3, 3, 2, 2), rng=np.random.default_rng(3))
    drawn = nn.init.icnr((3, 3, 2, 18), 3, nn.init.orthogonal, rng=np.random.default_rng(3))
    assert np.array_equal(drawn[..., ::9], small)
    for shape, r in (((3, 3, 2, 6), 2), ((3, 8), 2), ((3, 3, 2, 8), 0)):
        with pytest.raises(ValueError, match="shape must be"):
            nn.init.icnr(shape, r)


def test_the_fixed_layer_interpolates_and_asks_for_no_gradient():
    x = np.random.default_rng(0).random((2, 5, 6, 3), np.float32)
    layer = bilinear(3)
    inside = np.s_[:, 1:-1, 1:-1]
    assert np.allclose(layer(md.Tensor(x)).data[inside], F.upsample(x, 2, "bilinear").data[inside], atol=1e-6)
    assert not layer.weight.requires_grad


def test_bicubic_is_pillows():
    x = np.random.default_rng(0).random((2, 7, 9, 2), np.float32)
    found = bicubic(x)
    assert found.shape == (2, 14, 18, 2) and found.dtype == np.float32
    for n, c in np.ndindex(2, 2):
        pillows = Image.fromarray(x[n, :, :, c]).resize((18, 14), Image.Resampling.BICUBIC)
        assert np.allclose(found[n, :, :, c], np.asarray(pillows), atol=1e-5)


def test_halved_is_the_mean_of_four():
    x = np.arange(32.0).reshape(1, 4, 4, 2)
    expected = [[x[0, 2 * i:2 * i + 2, 2 * j:2 * j + 2].mean(axis=(0, 1)) for j in range(2)] for i in range(2)]
    assert np.array_equal(halved(x)[0], expected)
    with pytest.raises(ValueError, match="even height and width; got 3 x 4"):
        halved(np.zeros((1, 3, 4, 1)))


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="kind must be one of transposed, sub-pixel, icnr; got 'nearest'"):
        enlarger("nearest")


def test_they_leave_as_onnx():
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator
    for kind in room.ENLARGE:
        x = np.random.default_rng(1).random((1, 4, 4, 1), np.float32)
        network = enlarger(kind, rng=np.random.default_rng(0))
        model = to_onnx(network, (4, 4, 1))
        session = ReferenceEvaluator(model)
        found, = session.run(None, {session.input_names[0]: x})
        assert np.allclose(found, network(md.Tensor(x)).data, atol=1e-5)
