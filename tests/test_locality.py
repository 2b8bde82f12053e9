"""A pixel never reaches an output whose window does not hold it (fault 3): not by a shorter way of
computing, not as NaN.

Lesson 6 counts a receptive field by this. For every path: which outputs change when one number
changes is what the window says.
"""
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minideconv as md
import minideconv.functional as F
from minideconv.kernels.fast import tiles
from minideconv.shapes import conv_window

LAYERS = [(4, 2), (3, 1), (5, 2), (3, 2), (2, 3), (1, 1)]
VALUES = [np.nan, np.inf, -np.inf, 1e8]


def sees(window):
    """reach[h, w, i, j]: window (i, j) holds pixel (h, w)."""
    reach = np.zeros((*window.image, *window.features), bool)
    for i, j, u, v in itertools.product(*map(range, window.features + window.kernel)):
        h, w = i * window.stride[0] + u - window.padding[0], j * window.stride[1] + v - window.padding[1]
        if 0 <= h < window.image[0] and 0 <= w < window.image[1]:
            reach[h, w, i, j] = True
    return reach


def same(a, b):
    return (a == b) | (np.isnan(a) & np.isnan(b))


@pytest.mark.parametrize("kernel, stride", LAYERS)
@pytest.mark.parametrize("transposed", [False, True])
@given(data=st.data(), seed=st.integers(0, 2 ** 16))
def test_fault_03_what_changes_is_what_the_window_says(kernels, kernel, stride, transposed, data, seed):
    """With weights of one sign nothing cancels, so everything that a changed number may reach does change."""
    rng, size = np.random.default_rng(seed), (data.draw(st.integers(kernel, 12)), data.draw(st.integers(kernel, 11)))
    padding, channels = data.draw(st.integers(0, kernel // 2)), data.draw(st.sampled_from([3, 32]))
    window = conv_window(size, (kernel, kernel), stride, padding, 1)
    weight = rng.uniform(0.5, 1, (kernel, kernel, channels, channels)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "POSITIONS", 1)
        x = rng.uniform(0.5, 1, (2, *(window.features if transposed else size), channels)).astype(np.float32)
        changed = x.copy()
        place = tuple(int(rng.integers(n)) for n in x.shape)
        changed[place] = data.draw(st.sampled_from(VALUES))
        if transposed:
            before, after = (F.conv_transpose2d(a, weight, None, stride, padding, output_size=size).data
                             for a in (x, changed))
            reach = sees(window)[:, :, place[1], place[2]]
        else:
            before, after = (F.conv2d(a, weight, None, stride, padding).data for a in (x, changed))
            reach = sees(window)[place[1], place[2]]
    expected = np.zeros(before.shape, bool)
    expected[place[0], reach] = True
    assert np.array_equal(~same(before, after), expected)


@pytest.mark.parametrize("kernel, stride", LAYERS)
def test_fault_03_an_infinity_arrives_as_an_infinity(kernels, monkeypatch, kernel, stride):
    """Where all that a window sums is finite but for one infinity, the sum is infinite, never NaN."""
    monkeypatch.setattr(tiles, "POSITIONS", 1)
    rng = np.random.default_rng(0)
    x, w = (rng.uniform(0.5, 1, shape).astype(np.float32) for shape in ((2, 12, 12, 32), (kernel, kernel, 32, 32)))
    x[1, 5, 6, 7] = -np.inf
    y = F.conv2d(x, w, np.ones(32, np.float32), stride, kernel // 2).data
    assert np.isneginf(y).any() and not np.isnan(y).any()
    g = np.abs(rng.standard_normal(y.shape)).astype(np.float32)
    g[0, 2, 2, 5] = np.inf
    back = F.conv_transpose2d(g, w, None, stride, kernel // 2).data
    assert np.isposinf(back).any() and not np.isnan(back).any()
    by_w = F.conv_kernel_grad(x, np.abs(y * 0 + 1 if np.isfinite(y).all() else np.ones_like(y)), kernel, stride,
                              kernel // 2).data
    assert np.isneginf(by_w).any() and not np.isnan(by_w).any()


def test_fault_03_the_example(kernels):
    """5x5 stride 2 with 32 channels: one NaN reaches the outputs of its own windows, 2x2 or 3x3 of
    them, times 32 channels.
    """
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 32, 32, 32), (5, 5, 32, 32)))
    for h, k, count in ((8, 8, 9), (9, 8, 6), (9, 9, 4)):
        x[1, h, k, 3] = np.nan
        assert np.isnan(F.conv2d(x, w, None, 2, 2).data).sum() == 32 * count
        x[1, h, k, 3] = 0


@pytest.mark.parametrize("kernel, stride, share", [((4, 4), 2, 9 / 16), ((3, 3), 1, 16 / 36), ((5, 5), 2, 49 / 100)])
def test_the_shorter_ways_are_as_short_as_they_say(kernel, stride, share):
    """Products per tile of two by two outputs, of the direct sum's."""
    found = sum((g.vertical + 1) * (g.horizontal + 1) * g.side ** 2 for g in tiles.groups(kernel[0], stride))
    assert found / (4 * kernel[0] * kernel[1]) == share
    assert md.kernels.active().__name__.endswith("fast")
