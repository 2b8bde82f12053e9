"""The convolution as a matrix: built entry by entry, it must be the one that unit images reveal,
and the engine must agree with it.
"""
import numpy as np
import pytest

import minideconv.functional as F
from minideconv.draw import figure, matrix

RNG = np.random.default_rng(1)
CASES = {
    "plain": ((3, 3, 1, 1), (5, 5), {}),
    "strided": ((3, 3, 1, 1), (6, 5), {"stride": 2, "padding": 1}),
    "channels": ((4, 3, 2, 3), (7, 6), {"stride": (2, 1), "padding": ((1, 2), (0, 1))}),
    "dilated": ((2, 3, 2, 1), (6, 8), {"dilation": (3, 2), "padding": "same"}),
}


@pytest.mark.parametrize("shape, size, settings", CASES.values(), ids=CASES)
def test_columns_are_what_unit_images_become(shape, size, settings):
    weight = RNG.integers(-9, 10, shape).astype(float)
    found = matrix.conv_matrix(weight, size, **settings)
    pixels = size[0] * size[1] * shape[2]
    units = np.eye(pixels).reshape(pixels, *size, shape[2])                 # every unit image at once
    revealed = F.conv2d(units, weight, **settings).data.reshape(pixels, -1).T
    assert np.array_equal(found.dense(), revealed)


@pytest.mark.parametrize("shape, size, settings", CASES.values(), ids=CASES)
def test_products_without_zeros_are_the_dense_products(shape, size, settings):
    found = matrix.conv_matrix(RNG.integers(-9, 10, shape).astype(float), size, **settings)
    x, y = RNG.integers(-9, 10, found.shape[1]), RNG.integers(-9, 10, found.shape[0])
    assert np.array_equal(found.times(x), found.dense() @ x)
    assert np.array_equal(found.transpose_times(y), found.dense().T @ y)


@pytest.mark.parametrize("shape, size, settings", CASES.values(), ids=CASES)
def test_the_four_equalities_hold(shape, size, settings):
    weight = RNG.standard_normal(shape)
    claims = matrix.check(matrix.conv_matrix(weight, size, **settings), **settings)
    assert len(claims) == 4 and claims[0] == "conv2d(x, w) == C x"


@pytest.mark.parametrize("name, broken, claim", [
    ("conv2d", lambda original: lambda x, w, **s: original(x, w[::-1, ::-1], **s), "conv2d"),
    ("conv_transpose2d", lambda original: lambda y, w, **s: original(y, w[::-1, ::-1], **s), "conv_transpose2d"),
])
def test_a_wrong_engine_is_not_drawn(name, broken, claim, monkeypatch):
    monkeypatch.setattr(matrix.F, name, broken(getattr(F, name)))
    with pytest.raises(ArithmeticError, match=claim + r"\(.*does not hold"):
        matrix.spy(np.arange(9.0).reshape(3, 3), (5, 5))


def test_a_wrong_gradient_is_not_drawn(monkeypatch):
    def wrong(output, inputs, gradient):
        from minideconv.tensor import grad
        return tuple(-g for g in (grad(output, [inputs], gradient)))
    monkeypatch.setattr(matrix, "grad", wrong)
    with pytest.raises(ArithmeticError, match="backward of conv2d == forward of conv_transpose2d does not hold"):
        matrix.spy(np.arange(9.0).reshape(3, 3), (5, 5))


@pytest.mark.parametrize("shape, size, settings", CASES.values(), ids=CASES)
def test_pictures_show_both_matrices(shape, size, settings, tmp_path):
    weight = RNG.standard_normal(shape)
    picture = matrix.spy(weight, size, **settings)
    shown = [axes.images[0].get_array() for axes in picture.axes]
    taps = matrix.conv_matrix(weight, size, **settings)
    pattern = taps.dense() != 0
    assert np.array_equal(~np.ma.getmaskarray(shown[0]), pattern)           # NaN is masked: white
    assert np.array_equal(~np.ma.getmaskarray(shown[1]), pattern.T)
    for name in ("matrix.png", "matrix.svg"):
        assert figure.save(picture, tmp_path / name).stat().st_size > 1000


def test_padding_that_no_pixel_lies_under_gives_no_entries():
    found = matrix.conv_matrix(np.ones((1, 1)), (2, 2), stride=4, padding=((3, 1), (3, 1)))
    assert found.shape == (4, 4) and found.dense().sum() == 1               # one of four windows meets the image


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"weight must be \(KH, KW\) or \(KH, KW, C, O\); got shape \(3,\)"):
        matrix.conv_matrix(np.ones(3), (5, 5))
    with pytest.raises(ValueError, match="at most 200000"):
        matrix.conv_matrix(np.ones((3, 3, 8, 8)), (28, 28))
    with pytest.raises(ValueError, match="does not fit"):
        matrix.conv_matrix(np.ones((3, 3)), (2, 2))


def test_command_line(tmp_path, capsys):
    import argparse
    parser = argparse.ArgumentParser()
    matrix.register(parser.add_subparsers())
    line = f"matrix --size 4 5 --kernel 2 3 --stride 2 --padding same --out {tmp_path}/matrix.png"
    args = parser.parse_args(line.split())
    args.run(args)
    assert capsys.readouterr().out == f"wrote {tmp_path / 'matrix.png'}\n"
    assert (tmp_path / "matrix.png").stat().st_size > 1000
