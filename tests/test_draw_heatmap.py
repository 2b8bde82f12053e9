"""Gradient heat maps: right gradients come out right,
and each fault shows as the pattern that its description says.
"""
import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv.draw import figure, heatmap


def wrong_entries(fault, cotangent="random"):
    """Masks of the wrong entries for y (5, 5, 2) and w (3, 3, 2, 2)."""
    checks = heatmap.gradient_errors(heatmap.FAULTS[fault][1], *heatmap.example_inputs(), cotangent=cotangent)
    return [np.abs(tape - slope) > 1e-5 for tape, slope, _ in checks]


def test_the_right_gradient_is_right():
    for tape, slope, kinks in heatmap.gradient_errors(heatmap._right, *heatmap.example_inputs()):
        assert np.allclose(tape, slope, atol=1e-7) and not kinks.any()


def test_a_flipped_kernel_is_right_in_its_middle_only():
    y, w = wrong_entries("flipped")
    assert not y.any() and not w[1, 1].any() and w.sum() == w.size - 4


def test_exchanged_axes_are_right_on_the_diagonal_only():
    y, w = wrong_entries("exchanged")
    assert not y.any() and np.array_equal(w.any(axis=(2, 3)), ~np.eye(3, dtype=bool))


def test_exchanged_channels_are_right_on_the_diagonal_of_tiles():
    y, w = wrong_entries("channels")
    assert not y.any() and np.array_equal(w.all(axis=(0, 1)), ~np.eye(2, dtype=bool)) and w.sum() == 18


def test_a_forgotten_border_is_wrong_at_the_border():
    y, w = wrong_entries("border")
    assert not w.any() and not y[:, 1:-1, 1:-1].any() and y.sum() == 2 * 16


def test_ones_cannot_see_a_flip():
    """The reason for random cotangents, and that the picture can be asked for both."""
    assert not wrong_entries("flipped", "ones")[1].any()
    assert wrong_entries("channels", "ones")[1].any()


def test_faults_have_the_right_values():
    """Only their gradients are wrong."""
    y, w = map(md.Tensor, heatmap.example_inputs())
    for _, fn in heatmap.FAULTS.values():
        assert np.allclose(fn(y, w).data, F.conv_transpose2d(y, w, stride=2).data)


def test_tiles_keep_the_pixels_of_a_plane_together():
    kernel = np.arange(2 * 3 * 2 * 4).reshape(2, 3, 2, 4)
    table = heatmap.plane(kernel)
    assert table.shape == (4, 12)
    assert np.array_equal(table[2:4, 9:12], kernel[:, :, 1, 3])
    images = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    table, tile = heatmap._table(images, image=True)
    assert tile == (3, 4) and np.array_equal(table[3:6, 8:12], images[1, :, :, 2])
    assert heatmap.plane(np.ones(3)).shape == (1, 3) and heatmap.plane(np.array(1.0)).shape == (1, 1)
    with pytest.raises(ValueError, match="at most 4 axes"):
        heatmap.plane(np.ones((1,) * 5))


def test_the_picture_marks_what_is_wrong(tmp_path):
    text, fn = heatmap.FAULTS["flipped"]
    picture = heatmap.draw_heatmap({"right": heatmap._right, text: fn}, heatmap.example_inputs(), ("y", "w"))
    labels = [axes.get_xlabel() for axes in picture.axes]
    verdicts = [label for label in labels if label not in ("from the tape", "central differences", "")]
    assert verdicts == ["right everywhere"] * 3 + ["x wrong: 32 of 36"]
    assert max(len(axes.lines[-2].get_xdata()) for axes in picture.axes if len(axes.lines) >= 2) == 32
    assert figure.save(picture, tmp_path / "check.png").stat().st_size > 1000


def test_kinks_are_marked_as_kinks():
    picture = heatmap.draw_heatmap({"relu": F.relu}, [np.array([-1.0, 0.0, 2.0])])
    assert any("x wrong: 0 of 3, o on a kink: 1" == axes.get_xlabel() for axes in picture.axes)


def test_float32_and_unknown_cotangents_are_refused():
    with pytest.raises(TypeError, match=r"inputs\[0\] must be a float64 array; got float32"):
        heatmap.gradient_errors(F.relu, np.ones(3, np.float32))
    with pytest.raises(ValueError, match="cotangent must be"):
        heatmap.gradient_errors(F.relu, np.ones(3), cotangent="twos")
    with pytest.raises(ValueError, match="names must name"):
        heatmap.draw_heatmap({"relu": F.relu}, [np.ones(3)], names=["a", "b"])
