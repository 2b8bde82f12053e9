"""The solver of sizes against the engine itself:
what it lists works, what it leaves out does not.
"""
import itertools

import numpy as np
import pytest

import minideconv.functional as F
from minideconv.draw import figure, sizes


def shape_of(transposed, given, kernel, stride, pads, extra, dilation):
    """The size that the engine makes along an axis, or None where it refuses."""
    x, w = np.zeros((1, given, 1, 1)), np.zeros((kernel, 1, 1, 1))
    settings = {"stride": (stride, 1), "padding": (pads, (0, 0)), "dilation": (dilation, 1)}
    try:
        if transposed:
            return F.conv_transpose2d(x, w, output_padding=(extra, 0), **settings).shape[1]
        return F.conv2d(x, w, **settings).shape[1] if extra == 0 else None
    except ValueError:
        return None


@pytest.mark.parametrize("wanted, given, transposed",
                         [(28, 7, None), (13, 7, True), (7, 13, None), (5, 5, True), (5, 5, False), (3, 5, True),
                          (9, 4, None)])
def test_the_list_is_complete_and_legal(wanted, given, transposed):
    layers = sizes.solve(wanted, given, transposed, max_kernel=4, max_stride=4, max_padding=2, asymmetric=True,
                         max_dilation=2)
    listed = {(a.kernel, a.stride, (a.before, a.after), a.output_padding, a.dilation) for a in layers}
    assert len(listed) == len(layers)
    transposed = wanted >= given if transposed is None else transposed
    works = set()
    for kernel, stride, before, after, extra, dilation in itertools.product(range(1, 5), range(1, 5), range(3),
                                                                            range(3), range(4), (1, 2)):
        within = max(before, after) < dilation * (kernel - 1) + 1 and (kernel > 1 or dilation == 1)
        if within and shape_of(transposed, given, kernel, stride, (before, after), extra, dilation) == wanted:
            works.add((kernel, stride, (before, after), extra, dilation))
    assert listed == works and works


def test_symmetric_padding_is_the_default():
    assert all(a.before == a.after for a in sizes.solve(28, 7))
    assert len(sizes.solve(28, 7, asymmetric=True)) > len(sizes.solve(28, 7))


def test_28_from_14_puts_the_gan_layer_where_it_is_found():
    layers = sizes.solve(28, 14)
    evens = [(a.kernel, a.stride, a.before, a.output_padding) for a in layers if a.even]
    assert (4, 2, 1, 0) in evens and (2, 2, 0, 0) in evens
    order = [a.even for a in sizes.solve(28, 7)]
    assert order == sorted(order, reverse=True) and len(set(order)) == 2                    # even ones first
    three = next(a for a in layers if (a.kernel, a.stride, a.before) == (3, 2, 1))
    assert three.output_padding == 1 and not three.even and (three.fewest, three.most) == (1, 2)


@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_overlap_is_what_stamps_of_ones_leave(dilation):
    for kernel, stride in itertools.product(range(1, 8), range(1, 5)):
        stamps = F.conv_transpose2d(np.ones((1, 40, 1, 1)), np.ones((kernel, 1, 1, 1)), stride=(stride, 1),
                                    dilation=(dilation, 1)).data.ravel()
        inside = stamps[dilation * kernel:][:4 * stride] if kernel > 1 else stamps[:4 * stride]
        assert sizes.overlap(kernel, stride, dilation) == (inside.min(), inside.max())
        if dilation == 1:
            assert (inside.min() == inside.max()) == (kernel % stride == 0)                 # Odena et al. 2016


def test_the_class_of_sizes_is_what_convolves_alike():
    for layer in sizes.solve(13, 7, asymmetric=True, max_dilation=2) + sizes.solve(7, 13, asymmetric=True):
        numbers = (layer.kernel, layer.stride, (layer.before, layer.after), 0, layer.dilation)
        alike = [size for size in range(1, 40) if shape_of(False, size, *numbers) == 7]
        assert alike == list(range(layer.smallest, layer.largest + 1))


def test_the_words_explain_the_first_layer():
    words = sizes.explain(next(a for a in sizes.solve(28, 14) if (a.kernel, a.stride, a.before) == (3, 2, 1)), 28, 14)
    assert "cover (14 - 1) * 2 + 3 = 29 pixels" in words
    assert "Images of 27 to 28 pixels all convolve to 14 features" in words
    uneven = "Uneven, since 3 is not divisible by 2: 1 taps on some pixels and 2 on others, in two dimensions 1 to 4"
    assert uneven in words
    dilated = next(a for a in sizes.solve(9, 9, max_kernel=2, max_stride=1, max_dilation=3) if a.output_padding == 1)
    assert "leaves the class" in sizes.explain(dilated, 9, 9)


def test_text_and_chart_show_the_same_layers(tmp_path):
    layers = sizes.solve(28, 7)
    lines = sizes.text(28, 7, layers).splitlines()
    assert lines[0] == f"28 from 7 by a transposed convolution: {len(layers)} ways"
    assert sum("UNEVEN" in line for line in lines) == sum(not a.even for a in layers) > 0
    picture = sizes.chart(28, 7, layers)
    shown = [text.get_text() for text in picture.axes[0].texts]
    assert shown.count("even") == sum(a.even for a in layers)
    assert shown.count("UNEVEN") == sum(not a.even for a in layers)
    for name in ("sizes.png", "sizes.svg"):
        assert figure.save(picture, tmp_path / name).stat().st_size > 1000


def test_nothing_found_says_what_to_allow():
    assert "allow a larger kernel, stride or padding" in sizes.text(100, 7, sizes.solve(100, 7))
    with pytest.raises(ValueError, match="no layer within these bounds makes 100 from 7"):
        sizes.chart(100, 7, [])


@pytest.mark.parametrize("settings, error, message", [
    ({"wanted": 0}, ValueError, "wanted must be at least 1; got 0"),
    ({"given": -3}, ValueError, "given must be at least 1; got -3"),
    ({"wanted": 2.5}, TypeError, "wanted must be an integer; got 2.5"),
    ({"max_stride": 0}, ValueError, "max_stride must be at least 1"),
])
def test_wrong_arguments_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        sizes.solve(**({"wanted": 28, "given": 7} | settings))


def test_command_line(tmp_path, capsys):
    import argparse
    parser = argparse.ArgumentParser()
    sizes.register(parser.add_subparsers())
    args = parser.parse_args(f"sizes 28 --from 7 --max-kernel 4 --out {tmp_path}/sizes.png".split())
    args.run(args)
    printed = capsys.readouterr().out
    assert "28 from 7" in printed and f"wrote {tmp_path / 'sizes.png'}" in printed
    assert (tmp_path / "sizes.png").exists()
