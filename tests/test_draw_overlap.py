"""Overlap maps: counts against loops, Odena's rule, the prediction against untrained networks,
and the pictures themselves.
"""
import numpy as np
import pytest

from minideconv import nn
from minideconv.draw import figure, overlap, stacks


def paths(inputs, layers):
    """Paths to each output pixel of a stack of 1-D transposed convolutions [(kernel, stride,
    padding, extra)], by walking each of them.
    """
    ends = {i: 1 for i in range(inputs)}
    for kernel, stride, padding, extra in layers:
        size = stride * (inputs - 1) + kernel - 2 * padding + extra
        reached = dict.fromkeys(range(size), 0)
        for i, count in ends.items():
            for tap in range(kernel):
                if stride * i + tap - padding in reached:
                    reached[stride * i + tap - padding] += count
        ends, inputs = reached, size
    return np.array(list(ends.values()))


@pytest.mark.parametrize("stack, layers", [
    ("t3s2", [(3, 2, 0, 0)]), ("t4s2p1", [(4, 2, 1, 0)]), ("t3s2p1o1,t5s3p2", [(3, 2, 1, 1), (5, 3, 2, 0)])])
def test_counts_are_the_number_of_paths(stack, layers):
    """In two dimensions a path is a path of rows and one of columns."""
    expected = np.outer(paths(4, layers), paths(6, layers))
    assert np.array_equal(stacks.overlap_maps(stack, (4, 6))[-1], expected)


def test_odenas_rule_and_factors():
    """Uneven exactly where the kernel is no multiple of the stride; kernel 3, stride 2:
    factor 2 per dimension, 4 together.
    """
    for k in range(1, 8):
        for s in range(1, k + 1):
            counts, = stacks.overlap_maps(f"t{k}s{s}", (12, 12))
            assert (stacks.unevenness(counts, s) == 1) == (k % s == 0)
    assert stacks.unevenness(stacks.overlap_maps("t3s2", (8, 8))[0], 2) == 4
    assert stacks.unevenness(stacks.overlap_maps("t3s2", (8, 8))[0][10:11], 2) == 2


def test_the_gradient_of_a_convolution_is_counted_as_its_transpose():
    """From the outputs of a strided convolution back to its image lead
    the paths of the transposed one.
    """
    assert np.array_equal(stacks.gradient_maps("c3s2p1", (15, 15))[-1], stacks.overlap_maps("t3s2p1", (8, 8))[-1])
    maps = stacks.gradient_maps("c4s2p1 c3s2p1", (16, 16))
    assert [m.shape for m in maps] == [(8, 8), (16, 16)]


def test_modules_count_like_their_text():
    network = nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2), nn.Upsample(2),
                            nn.Conv2d(4, 4, 3, padding=1), nn.PixelShuffle(2))
    ours, texts = (stacks.overlap_maps(stack, (5, 5)) for stack in (network, "t4s2p1 r2 c3p1 x2"))
    for one, other in zip(ours, texts, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("stack", list(stacks.DOUBLINGS.values()))
def test_counts_predict_the_strength_of_untrained_images(stack):
    """Mean squares over many networks are proportional to the counts, pixel by pixel:
    none is further off than chance allows.
    """
    counts = stacks.overlap_maps(stack, (8, 8))[-1]
    strength = (stacks.untrained_images(stack, (8, 8), networks=128) ** 2).mean(axis=0)
    ratio = (strength / strength.mean()) / (counts / counts.mean())
    assert 0.5 < ratio.min() and ratio.max() < 2
    assert np.corrcoef(strength.ravel(), counts.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("stack", list(stacks.HALVINGS.values()))
def test_counts_predict_the_strength_of_gradients(stack):
    counts = stacks.gradient_maps(stack, (32, 32))[-1]
    strength = (stacks.untrained_gradients(stack, (32, 32), networks=32) ** 2).mean(axis=0)
    assert np.corrcoef(strength.ravel(), counts.ravel())[0, 1] > 0.95


def test_peak_sees_a_pattern_of_its_period_only():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((50, 24, 24))
    for period, other in ((2, 3), (3, 2), (4, 3)):
        pattern = np.tile(rng.standard_normal((period, period)), (24 // period, 24 // period))
        spectrum = stacks.power_spectrum(noise + pattern)
        assert stacks.peak(spectrum, period) > 10
        assert stacks.peak(spectrum, other) < 2
    energy = ((noise - noise.mean((1, 2), keepdims=True)) ** 2).sum()
    assert np.isclose(stacks.power_spectrum(noise).sum(), energy / 50)          # Parseval's theorem
    with pytest.raises(ValueError, match="multiple of the period 5"):
        stacks.peak(np.ones((24, 24)), 5)


def test_resize_convolution_leaves_flat_inputs_flat():
    """Its layers treat all positions alike; a transposed convolution's do not,
    even where its counts are even.
    """
    inside = (slice(None), slice(10, -10), slice(10, -10))
    resized = stacks.untrained_images("r2 c3p1 r2 c3p1", (8, 8), networks=4, flat=True)[inside]
    stamped = stacks.untrained_images("t4s2p1 t4s2p1", (8, 8), networks=4, flat=True)[inside]
    assert resized.std(axis=(1, 2)).max() < 1e-5 < 0.05 < stamped.std(axis=(1, 2)).min()


@pytest.mark.parametrize("stack", ["", "t", "q3", "t4s0", "c3o1", "r2s2", "t3 s2", "t4s2p1;"])
def test_texts_that_name_no_layers_are_refused(stack):
    with pytest.raises(ValueError, match="stack must"):
        stacks.parse(stack)


def test_a_network_without_planes_is_refused():
    with pytest.raises(ValueError, match="network must hold"):
        stacks.layers_of(nn.Sequential(nn.Linear(2, 2)))


def test_the_pictures_show_the_counts(tmp_path):
    """The map that is drawn is the map that was counted, and both formats can be written."""
    picture = overlap.draw_overlap("t3s2", (4, 4))
    drawn = picture.axes[0].images[0].get_array()
    assert np.array_equal(drawn, stacks.overlap_maps("t3s2", (4, 4))[0])
    assert {text.get_text() for text in picture.axes[0].texts} == {"1", "2", "4"}
    assert figure.save(picture, tmp_path / "map.svg").stat().st_size > 1000
    spectra = overlap.draw_spectra({"one": "t3s2p1o1"}, (8, 8), networks=2)
    assert figure.save(spectra, tmp_path / "spectra.png").stat().st_size > 1000
    assert "most / fewest = 4" in spectra.axes[1].get_xlabel()
