"""The step-through pictures: their records agree with a definition written here,
and every kind of file is written.
"""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minideconv.draw import figure, step, walk

RNG = np.random.default_rng(0)


def integers(*shape):
    """Whole numbers without zero, so that a product that is left out shows."""
    return RNG.choice([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0], shape)


def gather(x, w, stride, pads, dilation):
    """conv2d of one channel from a padded image, independent of the engine."""
    padded = np.pad(x, pads)
    reach = [d * (k - 1) + 1 for k, d in zip(w.shape, dilation, strict=True)]
    size = [(n - r) // s + 1 for n, r, s in zip(padded.shape, reach, stride, strict=True)]
    return np.array([[(padded[i * stride[0]:i * stride[0] + reach[0]:dilation[0],
                              j * stride[1]:j * stride[1] + reach[1]:dilation[1]] * w).sum()
                      for j in range(size[1])] for i in range(size[0])])


def scatter(y, w, stride, pads, dilation, extra):
    """conv_transpose2d of one channel: stamps on a large canvas, then the crop."""
    reach = [d * (k - 1) + 1 for k, d in zip(w.shape, dilation, strict=True)]
    full = [(n - 1) * s + r for n, s, r in zip(y.shape, stride, reach, strict=True)]
    canvas = np.zeros([f + a for f, a in zip(full, extra, strict=True)])
    for i, j in np.ndindex(y.shape):
        top, left = i * stride[0], j * stride[1]
        canvas[top:top + reach[0]:dilation[0], left:left + reach[1]:dilation[1]] += y[i, j] * w
    (top, bottom), (left, right) = pads
    return canvas[top:full[0] - bottom + extra[0], left:full[1] - right + extra[1]]


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(0, 2), st.integers(0, 2)))


@given(size=st.tuples(st.integers(3, 7), st.integers(3, 7)), kernel=pairs, stride=pairs, padding=pads, dilation=pairs)
def test_steps_of_a_convolution_are_the_definition(size, kernel, stride, padding, dilation):
    x, w = integers(*size), integers(*kernel)
    if any(n + sum(p) < d * (k - 1) + 1 for n, p, d, k in zip(size, padding, dilation, kernel, strict=True)):
        with pytest.raises(ValueError, match="does not fit"):
            walk.conv(x, w, stride, padding, dilation)
        return
    steps = walk.conv(x, w, stride, padding, dilation)
    assert np.array_equal(steps.result, gather(x, w, stride, padding, dilation))
    assert np.array_equal(steps.steps[-1].result, steps.result)
    # Reading is the transpose of writing: how often each cell is read is what a stamp of ones
    # leaves there.
    ones = scatter(np.ones(steps.result.shape), np.ones(kernel), stride, ((0, 0), (0, 0)), dilation, (0, 0))
    counts = steps.steps[-1].counts
    assert np.array_equal(counts[:ones.shape[0], :ones.shape[1]], ones) and counts.sum() == ones.sum()


@given(size=pairs, kernel=pairs, stride=pairs, padding=pads, dilation=pairs,
       extra=st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_steps_of_a_transposed_convolution_are_the_definition(size, kernel, stride, padding, dilation, extra):
    y, w = integers(*size), integers(*kernel)
    extra = tuple(min(a, max(s, d) - 1) for a, s, d in zip(extra, stride, dilation, strict=True))
    expected = scatter(y, w, stride, padding, dilation, extra)
    if 0 in expected.shape:
        with pytest.raises(ValueError, match="crops the output away"):
            walk.conv_transpose(y, w, stride, padding, extra, dilation)
        return
    steps = walk.conv_transpose(y, w, stride, padding, extra, dilation)
    assert np.array_equal(steps.result, expected)
    assert steps.extra == extra
    kinds = walk.kinds(steps)
    assert (kinds == "crop").sum() == kinds.size - expected.size
    assert (kinds == "image").sum() == (expected.shape[0] - extra[0]) * (expected.shape[1] - extra[1])


def test_a_step_says_where_its_products_come_from():
    x, w = np.arange(1.0, 10).reshape(3, 3), np.arange(1.0, 5).reshape(2, 2)
    last = walk.conv(x, w, stride=2, padding=1).steps[-1]
    assert last.feature == (1, 1)
    assert last.pixels == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert last.values.tolist() == [5, 6, 8, 9]
    assert last.products.tolist() == [5, 12, 24, 36]
    first = walk.conv_transpose(x, w, stride=2, padding=1).steps[0]
    assert first.pixels == [(-1, -1), (-1, 0), (0, -1), (0, 0)]
    assert first.products.tolist() == [1, 2, 3, 4]


def test_counts_of_a_3x3_stride_2_stamp_are_uneven_by_four():
    counts = walk.conv_transpose(np.ones((4, 4)), np.ones((3, 3)), stride=2).steps[-1].counts
    assert counts[2:-2, 2:-2].min() == 1 and counts.max() == 4


def test_steps_that_disagree_with_the_engine_are_refused(monkeypatch):
    monkeypatch.setattr(walk, "_pixels", lambda window, i, j: [(0, 0)] * 4)
    with pytest.raises(ArithmeticError, match="do not add up to what conv2d computes"):
        walk.conv(integers(4, 4), integers(2, 2))
    with pytest.raises(ArithmeticError, match="conv_transpose2d"):
        walk.conv_transpose(integers(4, 4), integers(2, 2), stride=2)


def test_the_words_name_padding_crop_and_output_padding():
    padded = walk.describe(walk.conv(integers(5, 5), integers(3, 3), stride=2, padding=((1, 0), (0, 2))))
    assert "padding (zeros): 1 row above, 0 below, 0 columns left, 2 right" in padded
    unread = walk.describe(walk.conv(integers(6, 5), integers(3, 3), stride=2))
    assert "the last 1 row and 0 columns" in unread
    cropped = walk.describe(walk.conv_transpose(integers(3, 3), integers(3, 3), stride=2, padding=1, output_padding=1))
    assert "padding here is a crop: 1 row cut off above" in cropped and "are computed like all others" in cropped
    beyond = walk.describe(walk.conv_transpose(integers(3, 3), integers(3, 3), stride=2, output_padding=1))
    assert "1 row and 1 column\nbeyond every stamp, which hold the bias alone" in beyond


@pytest.mark.parametrize("steps", [
    walk.conv(integers(5, 5), integers(3, 3), stride=2, padding=1),
    # Shades in place of numbers.
    walk.conv(integers(30, 20) * 1.234, integers(5, 5), stride=3, padding="same"),
    walk.conv_transpose(integers(3, 2), integers(2, 4), stride=(3, 2), padding=((0, 1), (2, 0)), output_padding=(2, 1)),
    walk.conv_transpose(integers(2, 2), integers(1, 1), stride=3, padding="same"),
], ids=["conv", "large", "transposed", "gaps"])
def test_strips_are_written_as_png_and_svg(steps, tmp_path):
    picture = step.strip(steps, frames=2)
    texts = [text.get_text() for text in picture.findobj(match=lambda artist: hasattr(artist, "get_text"))]
    assert any(walk.describe(steps) in text for text in texts)
    for name in ("strip.png", "strip.svg"):
        path = figure.save(picture, tmp_path / name)
        first = path.read_bytes()
        assert first.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
        figure.save(picture, path)
        assert path.read_bytes() == first                                   # the same bytes each time
    # Nothing half-written left over.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["strip.png", "strip.svg"]


def test_without_the_products_there_are_three_panels_a_frame():
    steps = walk.conv(integers(4, 4), integers(3, 3), padding=1)
    wide, narrow = step.strip(steps, 2), step.strip(steps, 2, products=False)
    assert len(wide.axes) == 8 and len(narrow.axes) == 6
    assert narrow.get_figwidth() < 0.65 * wide.get_figwidth()
    titles = [text.get_text() for text in narrow.texts]
    assert titles.count("image x") == titles.count("features y so far") == titles.count("times read") == 2


def test_the_legend_names_what_is_there_and_nothing_else():
    def legend(steps):
        return " ".join(text.get_text() for text in step.strip(steps, 1).legends[0].get_texts())
    assert "padding: zeros" in legend(walk.conv(integers(4, 4), integers(3, 3), padding=1))
    assert "padding" not in legend(walk.conv(integers(4, 4), integers(3, 3)))
    transposed = legend(walk.conv_transpose(integers(3, 3), integers(3, 3), stride=2, padding=1, output_padding=1))
    assert "crop" in transposed and "output padding" in transposed and "zeros around" not in transposed


def test_an_animation_has_a_frame_for_every_step(tmp_path):
    from PIL import Image
    steps = walk.conv(integers(3, 4), integers(2, 2))
    path = figure.save(step.animation(steps, seconds=0.5), tmp_path / "steps.gif")
    with Image.open(path) as picture:
        assert picture.n_frames == len(steps.steps) == 6
        assert picture.info["duration"] == 500


def test_long_animations_skip_steps():
    spread = step._spread(400, step.MOST_FRAMES)
    assert len(spread) == step.MOST_FRAMES and spread[0] == 0 and spread[-1] == 399
    assert step._spread(3, 10) == [0, 1, 2]


@pytest.mark.parametrize("name, message",
                         [("strip.jpg", "must end in .png or .svg"), ("strip.gif", "must end in .png or .svg")])
def test_a_figure_in_the_wrong_kind_of_file_is_refused(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        figure.save(figure.new_figure(1, 1), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    figure.save(figure.new_figure(1, 1), path)
    before = path.read_bytes()

    def fail(*args, **settings):
        raise OSError("disk full")
    picture = figure.new_figure(1, 1)
    monkeypatch.setattr(picture, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figure.save(picture, path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_drawing_leaves_the_readers_settings_alone():
    import matplotlib
    with matplotlib.rc_context({"font.size": 17, "axes.linewidth": 3}):
        picture = step.strip(walk.conv(integers(3, 3), integers(2, 2)), 1)
        assert matplotlib.rcParams["font.size"] == 17 and matplotlib.rcParams["axes.linewidth"] == 3
    assert 17 not in {text.get_fontsize() for text in picture.texts}


def test_the_palette_survives_greyscale():
    lightness = sorted(float(figure.rgb(name) @ (0.2126, 0.7152, 0.0722))
                       for name in ("ink", "dark", "accent", "middle", "light", "paper"))
    assert min(np.diff(lightness)) > 0.08


def parsed(line):
    import argparse
    parser = argparse.ArgumentParser()
    step.register(parser.add_subparsers())
    return parser.parse_args(line.split())


def test_command_line(tmp_path, capsys):
    args = parsed("step --transposed --size 2 3 --kernel 3 --stride 2 --padding 1 0 0 1 --output-padding 1 "
                  f"--out {tmp_path}/steps.png --frames 1")
    args.run(args)
    assert (tmp_path / "steps.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "2x3 features" in printed and f"wrote {tmp_path / 'steps.png'}" in printed


@pytest.mark.parametrize("line, message", [
    ("--size 4 5 6", "--size takes one whole number above 0, or two; got 4 5 6"), ("--size 0", "--size takes"),
    ("--padding 1 2 3", "--padding takes 'same', 'valid', or one, two or four whole numbers; got 1 2 3"),
    ("--padding -1", "--padding takes"), ("--output-padding 1", "belongs to a transposed convolution"),
    ("--size 2 --kernel 4", "does not fit"), ("--transposed --stride 2 --output-padding 2", "output_padding must be"),
    ("--frames 0", "frames must be"),
])
def test_command_line_mistakes_are_value_errors(line, message, tmp_path):
    args = parsed(f"step {line.replace('--padding -1', '--padding=-1')} --out {tmp_path}/steps.png")
    with pytest.raises(ValueError, match=message):
        args.run(args)
