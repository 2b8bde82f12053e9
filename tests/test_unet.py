"""The U-Net: its sizes, what its skips and its way down are for, and that it can be exported."""
import numpy as np
import pytest

import minideconv as md
from minideconv.interchange import from_torch, to_onnx, to_torch
from minideconv.models.unet import UNet


def reach(network, size, row):
    """How many rows of the input one output pixel depends on, where no two paths cancel."""
    for parameter in network.parameters():
        parameter.data = np.abs(parameter.data)
    x = md.Tensor(np.ones((1, size, size, 3), np.float32), requires_grad=True)
    network(x)[0, row, row, 0].backward()
    return np.ptp(np.flatnonzero(x.grad.any(axis=(0, 2, 3)))) + 1


def test_sizes():
    network = UNet(rng=np.random.default_rng(0))
    with md.no_grad():
        made = network(np.zeros((2, 24, 16, 3), np.float32))
    assert made.shape == (2, 24, 16, 3) and made.dtype == np.float32
    kernels = [3 * 3 * 3 * 16, 16 * 16 * 32, 16 * 32 * 64, 16 * 64 * 64, 16 * 64 * 64, 16 * 32 * 128, 16 * 16 * 64,
               3 * 3 * 32 * 3]
    biases = 16 + 32 + 64 + 64 + 64 + 32 + 16 + 3
    assert sum(parameter.size for parameter in network.parameters()) == sum(kernels) + biases == 255_539


def test_a_pixel_sees_far():
    reaches = [reach(UNet(rng=np.random.default_rng(0)), 96, row) for row in range(44, 52)]
    assert min(reaches) >= 36 and max(reaches) < 96
    assert reach(UNet(widths=(4, 4), rng=np.random.default_rng(0)), 96, 48) < min(reaches)


def test_the_skips_are_used():
    """With every layer below silenced the output still follows the input."""
    network = UNet(rng=np.random.default_rng(0))
    for part in [*network.down, *network.up]:
        for parameter in part.parameters():
            parameter.data = np.zeros_like(parameter.data)
    x = np.random.default_rng(1).random((1, 16, 16, 3), np.float32)
    assert network(x).data.std(axis=(1, 2)).min() > 0.01


def test_it_leaves_and_comes_back():
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator
    network, other = (UNet(2, (4, 6, 8), rng=np.random.default_rng(seed)) for seed in range(2))
    x = np.random.default_rng(2).random((1, 8, 12, 2), np.float32)
    session = ReferenceEvaluator(to_onnx(network, (8, 12, 2)))
    found, = session.run(None, {session.input_names[0]: x})
    assert np.allclose(found, network(x).data, atol=1e-5)
    from_torch(other, to_torch(network))
    assert np.array_equal(other(x).data, network(x).data)


def test_sizes_that_do_not_halve():
    with pytest.raises(ValueError, match="multiples of 8; got .1, 12, 16, 3."):
        UNet()(np.zeros((1, 12, 16, 3), np.float32))
