"""The convolution trio and im2col/col2im against loops over the trilinear form, in values and not only in shapes.

Notation: N images x (H, W, C); features y (OH, OW, O); kernel w (KH, KW, C/groups, O); s, p, d:
stride, padding, dilation. The data are small integers in float64, so every sum is exact and `==` is
the comparison.
"""
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minideconv as md
import minideconv.functional as F
from minideconv import parallel, shapes
from minideconv.kernels import fast, reference
from minideconv.kernels.fast import columns, lowering, tiles


class Geometry(NamedTuple):
    image: tuple
    features: tuple
    kernel: tuple
    stride: tuple
    padding: tuple          # ((top, bottom), (left, right))
    dilation: tuple

    def settings(self):
        return dict(stride=self.stride, padding=self.padding, dilation=self.dilation)


@st.composite
def geometries(draw):
    """Two axes drawn on their own: from the number of windows and the pixels that no window
    reaches, the size follows.
    """
    axes = []
    for _ in range(2):
        kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
        pads = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
        features, unused = draw(st.integers(1, 4)), draw(st.integers(0, stride - 1))
        image = (features - 1) * stride + dilation * (kernel - 1) + 1 - sum(pads) + unused
        assume(image >= 1)
        axes.append((image, features, kernel, stride, pads, dilation))
    return Geometry(*zip(*axes, strict=True))


@st.composite
def problems(draw):
    """A geometry, groups, and integer arrays x, w, y that fit it."""
    geometry, groups = draw(geometries()), draw(st.integers(1, 3))
    channels, outputs = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    count = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2 ** 16)))
    x = integers(rng, count, *geometry.image, channels)
    w = integers(rng, *geometry.kernel, channels // groups, outputs)
    y = integers(rng, count, *geometry.features, outputs)
    return geometry, groups, x, w, y


def integers(rng, *shape):
    return rng.integers(-4, 5, shape).astype(np.float64)


def touches(geometry):
    """Every (i, j, u, v, h, w): tap (u, v) of window (i, j) lies on pixel (h, w) of the image. The
    definition, in loops.
    """
    for i in range(geometry.features[0]):
        for j in range(geometry.features[1]):
            for u in range(geometry.kernel[0]):
                for v in range(geometry.kernel[1]):
                    h = i * geometry.stride[0] + u * geometry.dilation[0] - geometry.padding[0][0]
                    w = j * geometry.stride[1] + v * geometry.dilation[1] - geometry.padding[1][0]
                    if 0 <= h < geometry.image[0] and 0 <= w < geometry.image[1]:
                        yield i, j, u, v, h, w


def channel_groups(groups, channels, outputs):
    """The channels of x and the outputs of each group, as slices."""
    for group in range(groups):
        yield tuple(slice(group * size // groups, (group + 1) * size // groups) for size in (channels, outputs))


def naive_conv(geometry, groups, x, w):
    y = np.zeros((len(x), *geometry.features, w.shape[3]))
    for i, j, u, v, h, k in touches(geometry):
        for c, o in channel_groups(groups, x.shape[3], w.shape[3]):
            y[:, i, j, o] += x[:, h, k, c] @ w[u, v, :, o]
    return y


def naive_transpose(geometry, groups, y, w):
    x = np.zeros((len(y), *geometry.image, w.shape[2] * groups))
    for i, j, u, v, h, k in touches(geometry):
        for c, o in channel_groups(groups, x.shape[3], w.shape[3]):
            x[:, h, k, c] += y[:, i, j, o] @ w[u, v, :, o].T
    return x


def naive_kernel(geometry, groups, x, y):
    w = np.zeros((*geometry.kernel, x.shape[3] // groups, y.shape[3]))
    for i, j, u, v, h, k in touches(geometry):
        for c, o in channel_groups(groups, x.shape[3], y.shape[3]):
            w[u, v, :, o] += x[:, h, k, c].T @ y[:, i, j, o]
    return w


def assert_equal(tensor, expected):
    assert tensor.shape == expected.shape and tensor.dtype == expected.dtype
    assert np.all(tensor.data == expected)


def transposed_settings(geometry):
    """What conv_transpose2d needs for this very image: its size by name."""
    return dict(geometry.settings(), output_size=geometry.image)


@given(problem=problems())
def test_conv2d(kernels, problem):
    geometry, groups, x, w, _ = problem
    assert_equal(F.conv2d(x, w, groups=groups, **geometry.settings()), naive_conv(geometry, groups, x, w))


@given(problem=problems())
def test_conv_transpose2d(kernels, problem):
    geometry, groups, _, w, y = problem
    assert_equal(F.conv_transpose2d(y, w, groups=groups, **transposed_settings(geometry)),
                 naive_transpose(geometry, groups, y, w))


@given(problem=problems())
def test_conv_kernel_grad(kernels, problem):
    geometry, groups, x, _, y = problem
    assert_equal(F.conv_kernel_grad(x, y, geometry.kernel, groups=groups, **geometry.settings()),
                 naive_kernel(geometry, groups, x, y))


@given(problem=problems(), slope=st.sampled_from([0.0, 0.25, 1.0, 2.0]), transposed=st.booleans())
def test_a_leaky_relu_in_the_same_pass(kernels, problem, slope, transposed):
    """Values and all gradients are those of two operations."""
    geometry, groups, x, w, y = problem
    operation, settings, x = (F.conv_transpose2d, transposed_settings(geometry), y) if transposed else \
        (F.conv2d, geometry.settings(), x)
    bias = np.arange(-1.0, operation(x, w, groups=groups, **settings).shape[3] - 1)

    def result(**ramp):
        leaves = [md.Tensor(one.copy(), requires_grad=True) for one in (x, w, bias)]
        y = operation(*leaves, groups=groups, **settings, **ramp)
        return (y if ramp else F.leaky_relu(y, slope)), leaves
    (one_pass, leaves), (two, others) = result(negative_slope=slope), result()
    assert_equal(one_pass, two.data)
    g = np.random.default_rng(0).integers(-3, 4, two.shape).astype(np.float64)
    for found, expected in zip(md.grad(one_pass, leaves, g), md.grad(two, others, g), strict=True):
        assert_equal(found, expected.data)


def test_the_result_of_one_pass_is_watched():
    x, w = (md.Tensor(np.ones(shape, np.float32), requires_grad=True) for shape in [(1, 4, 4, 2), (3, 3, 2, 2)])
    y = F.conv2d(x, w, negative_slope=0.2)
    y.data[0, 0, 0, 0] = -1                 # its sign is what the way back goes by
    with pytest.raises(md.TapeError, match="changed in place"):
        y.sum().backward()
    with pytest.raises(ValueError, match="negative_slope must be at least 0 .* got -0.5"):
        F.conv2d(x, w, negative_slope=-0.5)


@given(problem=problems())
def test_bias_is_added_to_every_pixel(problem):
    geometry, groups, x, w, y = problem
    bias = np.arange(1, w.shape[3] + 1, dtype=np.float64)
    assert_equal(F.conv2d(x, w, bias, groups=groups, **geometry.settings()), naive_conv(geometry, groups, x, w) + bias)
    bias = np.arange(1, x.shape[3] + 1, dtype=np.float64)
    assert_equal(F.conv_transpose2d(y, w, bias, groups=groups, **transposed_settings(geometry)),
                 naive_transpose(geometry, groups, y, w) + bias)


@given(problem=problems())
def test_gradients_are_the_other_two_operations(kernels, problem):
    """With a random cotangent: all ones would not see a gradient that is permuted."""
    geometry, groups, x, w, y = problem
    tx, tw, ty = (md.Tensor(a, requires_grad=True) for a in (x, w, y))
    by_x, by_w = md.grad(F.conv2d(tx, tw, groups=groups, **geometry.settings()), (tx, tw), gradient=y)
    assert_equal(by_x, naive_transpose(geometry, groups, y, w))
    assert_equal(by_w, naive_kernel(geometry, groups, x, y))
    images = F.conv_transpose2d(ty, tw, groups=groups, **transposed_settings(geometry))
    by_y, by_w = md.grad(images, (ty, tw), gradient=x)
    assert_equal(by_y, naive_conv(geometry, groups, x, w))
    assert_equal(by_w, naive_kernel(geometry, groups, x, y))
    kernels = F.conv_kernel_grad(tx, ty, geometry.kernel, groups=groups, **geometry.settings())
    by_x, by_y = md.grad(kernels, (tx, ty), gradient=w)
    assert_equal(by_x, naive_transpose(geometry, groups, y, w))
    assert_equal(by_y, naive_conv(geometry, groups, x, w))


@given(problem=problems())
def test_adjoint_identity(kernels, problem):
    geometry, groups, x, w, y = problem
    left = np.vdot(F.conv2d(x, w, groups=groups, **geometry.settings()).data, y)
    assert left == np.vdot(x, F.conv_transpose2d(y, w, groups=groups, **transposed_settings(geometry)).data)
    assert left == np.vdot(w, F.conv_kernel_grad(x, y, geometry.kernel, groups=groups, **geometry.settings()).data)


@given(problem=problems())
def test_im2col_and_col2im(kernels, problem):
    geometry, _, x, _, _ = problem
    channels = x.shape[3]
    expected = np.zeros((len(x), *geometry.features, *geometry.kernel, channels))
    for i, j, u, v, h, k in touches(geometry):
        expected[:, i, j, u, v] = x[:, h, k]
    cols = F.im2col(x, geometry.kernel, **geometry.settings())
    assert_equal(cols, expected.reshape(len(x), *geometry.features, -1))        # channel fastest

    stamps = integers(np.random.default_rng(0), *cols.shape)
    taps = stamps.reshape(expected.shape)
    image = np.zeros_like(x)
    for i, j, u, v, h, k in touches(geometry):
        image[:, h, k] += taps[:, i, j, u, v]
    assert_equal(F.col2im(stamps, geometry.image, geometry.kernel, **geometry.settings()), image)


@given(problem=problems())
def test_im2col_and_col2im_are_each_others_gradient(problem):
    geometry, _, x, _, _ = problem
    tx = md.Tensor(x, requires_grad=True)
    cols = F.im2col(tx, geometry.kernel, **geometry.settings())
    cotangent = md.Tensor(integers(np.random.default_rng(1), *cols.shape), requires_grad=True)
    image = F.col2im(cotangent, geometry.image, geometry.kernel, **geometry.settings())
    assert_equal(md.grad(cols, tx, gradient=cotangent)[0], image.data)
    assert_equal(md.grad(image, cotangent, gradient=x)[0], cols.data)


@given(problem=problems(), budget=st.sampled_from([1, 200, 1000]))
def test_bands_and_chunks_change_nothing(kernels, problem, budget):
    """With a budget of a few bytes every chunk is one row of one image, or a few of them."""
    geometry, groups, x, w, y = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowering, "COLUMN_BYTES", budget)
        assert_equal(F.conv2d(x, w, groups=groups, **geometry.settings()), naive_conv(geometry, groups, x, w))
        assert_equal(F.conv_transpose2d(y, w, groups=groups, **transposed_settings(geometry)),
                     naive_transpose(geometry, groups, y, w))
        assert_equal(F.conv_kernel_grad(x, y, geometry.kernel, groups=groups, **geometry.settings()),
                     naive_kernel(geometry, groups, x, y))


def test_bands_are_really_used():
    """Otherwise the test above compares one way of computing with itself."""
    assert [tuple(c) for c in parallel.chunks(8, 9, 100, 2000)] == [(0, 2, 0, 9), (2, 4, 0, 9), (4, 6, 0, 9),
                                                                    (6, 8, 0, 9)]
    bands = parallel.chunks(2, 9, 100, 300)
    assert [(c.first, c.top, c.bottom) for c in bands] == [(n, top, bottom) for n in (0, 1)
                                                           for top, bottom in ((0, 2), (2, 4), (4, 6), (6, 8), (8, 9))]


@given(problem=problems())
def test_output_padding_and_output_size_name_the_same_images(problem):
    geometry, groups, _, w, y = problem
    axes = list(zip(geometry.features, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation,
                    strict=True))
    least = [(f - 1) * s + d * (k - 1) + 1 - sum(pads) for f, k, s, pads, d in axes]
    extra = tuple(size - low for size, low in zip(geometry.image, least, strict=True))
    by_padding = F.conv_transpose2d(y, w, groups=groups, output_padding=extra, **geometry.settings())
    assert_equal(by_padding, naive_transpose(geometry, groups, y, w))
    both = F.conv_transpose2d(y, w, groups=groups, output_padding=extra, **transposed_settings(geometry))
    assert_equal(both, by_padding.data)


def test_rows_of_output_padding_are_computed_not_zero():
    """4 taps, stride 3, 3 rows cropped after: the row that output_padding gives back is part of the last stamp."""
    y, w = np.ones((1, 2, 1, 1)), np.arange(1.0, 5.0).reshape(4, 1, 1, 1)
    image = F.conv_transpose2d(y, w, stride=3, padding=((0, 3), (0, 0)), output_padding=(1, 0))
    assert image.data.ravel().tolist() == [1, 2, 3, 4 + 1, 2]


def same(geometry):
    """The geometry that "same" must resolve to: ceil(size / stride) windows, the odd pixel of padding after."""
    features, pads = [], []
    axes = zip(geometry.image, geometry.kernel, geometry.stride, geometry.dilation, strict=True)
    for size, kernel, stride, dilation in axes:
        count = (size + stride - 1) // stride
        total = max((count - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        features.append(count)
        pads.append((total // 2, total - total // 2))
    return geometry._replace(features=tuple(features), padding=tuple(pads))


@given(problem=problems())
def test_same(kernels, problem):
    geometry, groups, x, w, _ = problem
    geometry = same(geometry)
    settings = dict(geometry.settings(), groups=groups, padding="same")
    assert_equal(F.conv2d(x, w, **settings), naive_conv(geometry, groups, x, w))
    y = integers(np.random.default_rng(2), 2, *geometry.features, w.shape[3])
    assert_equal(F.conv_transpose2d(y, w, output_size=geometry.image, **settings),
                 naive_transpose(geometry, groups, y, w))
    # What it is without a name: features * stride.
    whole = tuple(f * s for f, s in zip(geometry.features, geometry.stride, strict=True))
    assert_equal(F.conv_transpose2d(y, w, **settings),
                 naive_transpose(same(geometry._replace(image=whole)), groups, y, w))


def test_same_of_an_even_kernel_pads_one_before_and_two_after():
    x, w = np.zeros((1, 5, 1, 1)), np.arange(1.0, 5.0).reshape(4, 1, 1, 1)
    x[0, 2] = 1
    assert F.conv2d(x, w, padding="same").data.ravel().tolist() == [4, 3, 2, 1, 0]


@given(problem=problems())
def test_valid_and_short_spellings_of_padding(problem):
    geometry, groups, x, w, _ = problem
    rest = dict(stride=geometry.stride, dilation=geometry.dilation, groups=groups)
    for spelling, spelled in ((2, ((2, 2), (2, 2))), ((3, 1), ((3, 3), (1, 1))), ("valid", ((0, 0), (0, 0)))):
        fits = all(d * (k - 1) + 1 <= size + sum(p)
                   for d, k, size, p in zip(geometry.dilation, geometry.kernel, geometry.image, spelled, strict=True))
        if fits:
            assert_equal(F.conv2d(x, w, padding=spelling, **rest), F.conv2d(x, w, padding=spelled, **rest).data)


SPECIAL = {     # name: image, kernel, stride, padding
    "a 1x1 kernel is a product of channels": ((3, 4), (1, 1), (1, 1), ((0, 0), (0, 0))),
    "a kernel as large as the image": ((3, 4), (3, 4), (1, 1), ((0, 0), (0, 0))),
    "pixels that no window reaches": ((7, 8), (2, 1), (5, 3), ((0, 0), (0, 0))),
    "windows that lie on padding alone": ((1, 1), (1, 2), (1, 2), ((3, 2), (2, 3))),
    "one row": ((1, 9), (1, 3), (1, 2), ((0, 0), (1, 0))),
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_special_geometries(kernels, name, count):
    image, kernel, stride, padding = SPECIAL[name]
    features = tuple((size + sum(p) - k) // s + 1 for size, k, s, p in zip(image, kernel, stride, padding, strict=True))
    geometry = Geometry(image, features, kernel, stride, padding, (1, 1))
    rng = np.random.default_rng(0)
    for channels, outputs in ((1, 1), (1, 3), (2, 1)):
        x, y = integers(rng, count, *image, channels), integers(rng, count, *features, outputs)
        w = integers(rng, *kernel, channels, outputs)
        assert_equal(F.conv2d(x, w, **geometry.settings()), naive_conv(geometry, 1, x, w))
        assert_equal(F.conv_transpose2d(y, w, **transposed_settings(geometry)), naive_transpose(geometry, 1, y, w))
        assert_equal(F.conv_kernel_grad(x, y, kernel, **geometry.settings()), naive_kernel(geometry, 1, x, y))


@pytest.mark.parametrize("features", [(1, 3), (2, 3), (5, 4), (7, 7)])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 1), (0, 3))])
@pytest.mark.parametrize("channels, outputs, groups", [(2, 3, 1), (3, 2, 1), (3, 3, 1), (4, 5, 1), (6, 6, 2)])
@pytest.mark.parametrize("kernel, stride", tiles.LAYERS)
@pytest.mark.parametrize("budget", [1000, tiles.PART_BYTES])
def test_both_sides_of_the_boundary_to_fewer_products(monkeypatch, features, padding, channels, outputs, groups, kernel,
                                                      stride, budget):
    """Some layers with many channels (here: 3) are computed in another way by the fast kernels, in bands or whole
    images; it must be exact on integers too.
    """
    assert md.kernels.active() is fast
    monkeypatch.setitem(tiles.LAYERS, (kernel, stride), 3)
    monkeypatch.setattr(tiles, "PART_BYTES", budget)
    monkeypatch.setattr(tiles, "POSITIONS", 1)
    rng = np.random.default_rng(0)
    for unused in {(0, 0), (stride - 1, 0), (0, stride - 1)}:
        image = tuple(stride * (f - 1) + kernel - sum(pads) + more
                      for f, pads, more in zip(features, padding, unused, strict=True))
        if min(image) < 1:
            continue
        geometry = Geometry(image, features, (kernel, kernel), (stride, stride), padding, (1, 1))
        x, y = integers(rng, 3, *image, channels), integers(rng, 3, *features, outputs)
        w = integers(rng, kernel, kernel, channels // groups, outputs)
        after, before = integers(rng, outputs), integers(rng, channels)
        assert_equal(F.conv2d(x, w, after, groups=groups, **geometry.settings()),
                     naive_conv(geometry, groups, x, w) + after)
        assert_equal(F.conv_transpose2d(y, w, before, groups=groups, **transposed_settings(geometry)),
                     naive_transpose(geometry, groups, y, w) + before)
        assert_equal(F.conv_kernel_grad(x, y, kernel, groups=groups, **geometry.settings()),
                     naive_kernel(geometry, groups, x, y))


@st.composite
def sides(draw):
    """(taps, pixels before, pixels after, size) of an axis with stride 1, at least one window, of which some may see
    only padding.
    """
    taps, size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    before, after = draw(st.integers(0, taps)), draw(st.integers(0, taps))
    assume(size + before + after >= taps)
    return taps, before, after, size


@given(axes=st.tuples(sides(), sides()), many=st.sampled_from([True, True, False]),
       wild=st.sampled_from([None, np.inf, np.nan]), seed=st.integers(0, 99))
def test_a_layer_of_few_features_is_seen_from_the_other_side(axes, many, wild, seed):
    """With stride 1 a convolution with few outputs is a transposed one with the turned kernel, and the other way
    round, as long as nothing infinite is multiplied with the zeros around an image.
    """
    kernel, padding, _, image = zip(*axes, strict=True)
    features = tuple(size + before + after - k + 1 for k, before, after, size in axes)
    window = shapes.Window(kernel, (1, 1), padding, (1, 1), image, features)
    channels, rng = lowering.FEWER * 3 - (not many), np.random.default_rng(seed)
    x, y = integers(rng, 2, *image, channels), integers(rng, 2, *features, 3)
    w, after, before = integers(rng, *kernel, channels, 3), integers(rng, 3), integers(rng, channels)
    if wild is not None:
        w[tuple(rng.integers(w.shape))] = wild
    with np.errstate(invalid="ignore"):
        expected = reference.gather(x, w, window) + after, reference.scatter(y, w, window) + before
    everywhere = all(before < k and after < k for k, before, after, _ in axes)      # each window sees a pixel
    assert (lowering._from_the_other_side(window, channels, 3, 2) is not None) == (many and everywhere)
    assert np.array_equal(fast.gather(x, w, window, after), expected[0], equal_nan=True)
    assert np.array_equal(fast.scatter(y, w, window, before), expected[1], equal_nan=True)
    if wild is not None:
        y[tuple(rng.integers(y.shape))] = wild
    with np.errstate(invalid="ignore"):
        expected = reference.correlate(x, y, window)
    assert np.array_equal(fast.correlate(x, y, window), expected, equal_nan=True)


@pytest.mark.parametrize("kernel, stride", tiles.LAYERS)
def test_numbers_beside_an_infinite_one_get_their_bias_once(monkeypatch, kernel, stride):
    """What the shorter way leaves infinite is computed once more, and finished, with all of its chunk."""
    monkeypatch.setitem(tiles.LAYERS, (kernel, stride), 3)
    monkeypatch.setattr(tiles, "POSITIONS", 1)
    window, rng = shapes.conv_window((12, 12), (kernel, kernel), stride, 1, 1), np.random.default_rng(0)
    x, y = integers(rng, 2, 12, 12, 3), integers(rng, 2, *window.features, 4)
    w, after, before = integers(rng, kernel, kernel, 3, 4), integers(rng, 4), integers(rng, 3)
    x[0, 0, 0, 0] = y[0, 0, 0, 0] = np.inf
    for found, plain in ((fast.gather(x, w, window, after, 0.5), reference.gather(x, w, window) + after),
                         (fast.scatter(y, w, window, before, 0.5), reference.scatter(y, w, window) + before)):
        assert 0 < np.isfinite(plain).mean() < 1
        assert np.array_equal(found, np.where(plain > 0, plain, 0.5 * plain), equal_nan=True)


@pytest.mark.parametrize("kernel, stride", tiles.LAYERS)
def test_numbers_whose_combinations_overflow_get_their_bias_once(monkeypatch, kernel, stride):
    """The sums are small integers, but differences of neighbours are infinite."""
    monkeypatch.setitem(tiles.LAYERS, (kernel, stride), 3)
    monkeypatch.setattr(tiles, "POSITIONS", 1)
    window, rng = shapes.conv_window((12, 12), (kernel, kernel), stride, 1, 1), np.random.default_rng(0)
    x, y = (rng.choice(np.float32([-2.0 ** 127, 2.0 ** 127]), shape)
            for shape in ((2, 12, 12, 3), (2, *window.features, 4)))
    w, after, before = (integers(rng, *shape).astype(np.float32) for shape in ((kernel, kernel, 3, 4), (4,), (3,)))
    w *= 2.0 ** -126
    for found, plain in ((fast.gather(x, w, window, after, 0.5), reference.gather(x, w, window) + after),
                         (fast.scatter(y, w, window, before, 0.5), reference.scatter(y, w, window) + before)):
        assert np.isfinite(plain).all()
        assert np.array_equal(found, np.where(plain > 0, plain, 0.5 * plain))


def test_the_boundary_is_where_the_table_says():
    for (kernel, stride), least in tiles.LAYERS.items():
        window = shapes.conv_window((16, 16), (kernel, kernel), stride, 1, 1)
        many = -(-tiles.POSITIONS // (window.features[0] * window.features[1]))
        assert tiles.suits(window, least, least, many) and not tiles.suits(window, least, least, many - 1)
        assert not tiles.suits(window, least - 1, least, many) and not tiles.suits(window, least, least - 1, many)
        for other in (dict(groups=2), dict(dilation=(2, 1)), dict(kernel=(kernel, kernel + 1)), dict(features=(1, 8))):
            assert not tiles.suits(window._replace(**other), least, least, 10 * many)


@pytest.mark.parametrize("count, taps_apart", [(1, True), (40, False)])
def test_both_sides_of_a_large_kernel(monkeypatch, count, taps_apart):
    """A kernel that is large beside its columns gets its gradient tap by tap, otherwise from shares of the batch."""
    seen, correlate = set(), columns.correlate_by_columns

    def watched(x, y, window, *rest):
        seen.add(window.kernel)
        correlate(x, y, window, *rest)
    monkeypatch.setattr(columns, "correlate_by_columns", watched)
    monkeypatch.setattr(lowering, "COLUMN_BYTES", 1000)
    geometry, rng = Geometry((5, 6), (3, 3), (3, 2), (2, 2), ((1, 1), (0, 0)), (1, 1)), np.random.default_rng(0)
    x, y = integers(rng, count, 5, 6, 3), integers(rng, count, 3, 3, 8)
    assert_equal(F.conv_kernel_grad(x, y, geometry.kernel, **geometry.settings()), naive_kernel(geometry, 1, x, y))
    assert seen == {(1, 1) if taps_apart else (3, 2)}


def test_float32_and_arrays_in_any_memory_order(kernels):
    rng = np.random.default_rng(0)
    x, w = integers(rng, 2, 5, 6, 3), integers(rng, 3, 2, 3, 4)
    expected = F.conv2d(x, w, stride=2).data
    backwards = w.astype(np.float32)[::-1][::-1].transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0)
    strange = np.asfortranarray(x.astype(np.float32)), backwards
    strange[0].flags.writeable = False
    assert_equal(F.conv2d(*strange, stride=2), expected.astype(np.float32))
    y = np.asfortranarray(expected.astype(np.float32))
    assert_equal(F.conv_transpose2d(y, strange[1], stride=2, output_size=(5, 6)),
                 F.conv_transpose2d(expected, w, stride=2, output_size=(5, 6)).data.astype(np.float32))


X, W, Y = np.zeros((1, 6, 5, 2), np.float32), np.zeros((3, 2, 2, 4), np.float32), np.zeros((1, 4, 4, 4), np.float32)
REFUSED = {     # what is wrong: (call, error, words of the message)
    "channels first": (lambda: F.conv2d(np.zeros((1, 2, 6, 5), np.float32), W), ValueError,
                       ["(1, 2, 6, 5)", "channels come last", "transpose(0, 2, 3, 1)"]),
    "channels first, transposed": (lambda: F.conv_transpose2d(np.zeros((1, 4, 6, 5), np.float32), W), ValueError,
                                   ["channels come last"]),
    "channels that fit nowhere": (lambda: F.conv2d(X[..., :1], W), ValueError,
                                  ["x must be (N, H, W, 2)", "(1, 6, 5, 1)"]),
    "three axes": (lambda: F.conv2d(X[0], W), ValueError, ["x", "4 axes", "(6, 5, 2)"]),
    "a kernel of three axes": (lambda: F.conv2d(X, W[0]), ValueError, ["weight", "4 axes", "(2, 2, 4)"]),
    "groups that do not divide": (lambda: F.conv2d(X, W, groups=3), ValueError, ["groups", "O = 4", "got 3"]),
    "no groups": (lambda: F.conv2d(X, W, groups=0), ValueError, ["groups", "got 0"]),
    "half a group": (lambda: F.conv2d(X, W, groups=1.5), TypeError, ["groups", "1.5"]),
    "bias of another size": (lambda: F.conv2d(X, W, np.zeros(2, np.float32)), ValueError, ["bias", "(4,)", "got (2,)"]),
    "bias of another size, transposed": (lambda: F.conv_transpose2d(Y, W, np.zeros(4, np.float32)), ValueError,
                                         ["bias", "(2,)", "got (4,)"]),
    "two dtypes": (lambda: F.conv2d(X, W.astype(np.float64)), TypeError, ["one dtype", "float32", "float64"]),
    "integers": (lambda: F.conv2d(X.astype(int), W.astype(int)), TypeError, ["float32 or float64", "int64"]),
    "output_padding as large as the stride": (lambda: F.conv_transpose2d(Y, W, stride=2, output_padding=(0, 2)),
                                              ValueError, ["output_padding", "= 2", "got 2 on axis W", "8 to 9"]),
    "negative output_padding": (lambda: F.conv_transpose2d(Y, W, output_padding=-1), ValueError,
                                ["output_padding", "-1"]),
    "output_size out of reach": (lambda: F.conv_transpose2d(Y, W, stride=2, output_size=(11, 8)), ValueError,
                                 ["axis H", "9 to 10"]),
    "output_size against output_padding": (lambda: F.conv_transpose2d(Y, W, stride=2, output_padding=1,
                                                                      output_size=(9, 8)), ValueError,
                                           ["output_size (9, 8)", "output_padding is (1, 1)"]),
    "output_padding with same": (lambda: F.conv_transpose2d(Y, W, stride=2, padding="same", output_padding=1),
                                 ValueError, ["same", "output_size"]),
    "output_size against same": (lambda: F.conv_transpose2d(Y, W, stride=2, padding="same", output_size=(9, 8)),
                                 ValueError, ["(9, 8)", "(4, 4)"]),
    "everything cropped": (lambda: F.conv_transpose2d(Y, W, padding=3), ValueError, ["padding", "crops"]),
    "an image smaller than the kernel": (lambda: F.conv2d(X[:, :2], W), ValueError, ["3x2", "does not fit", "2x5"]),
    "a dilated kernel that is too large": (lambda: F.conv2d(X, W, dilation=3), ValueError, ["7x4", "dilation (3, 3)"]),
    "an unknown word for padding": (lambda: F.conv2d(X, W, padding="full"), ValueError, ["padding", "'full'"]),
    "negative padding": (lambda: F.conv2d(X, W, padding=-1), ValueError, ["padding", "-1"]),
    "stride zero": (lambda: F.conv2d(X, W, stride=0), ValueError, ["stride", "got 0"]),
    "three strides": (lambda: F.conv2d(X, W, stride=(1, 1, 1)), ValueError, ["stride", "(1, 1, 1)"]),
    "a fractional stride": (lambda: F.conv2d(X, W, stride=1.5), TypeError, ["stride", "1.5"]),
    "features of another size": (lambda: F.conv_kernel_grad(X, Y, (3, 3)), ValueError, ["y", "(4, 3)", "(1, 4, 4, 4)"]),
    "columns of another size": (lambda: F.col2im(np.zeros((1, 4, 4, 12), np.float32), (6, 6), (3, 2)), ValueError,
                                ["cols", "(4, 5)"]),
    "columns of no whole channel": (lambda: F.col2im(np.zeros((1, 4, 4, 5), np.float32), (6, 5), (3, 2)), ValueError,
                                    ["cols", "KH*KW = 6"]),
    "text": (lambda: F.conv2d("picture", W), TypeError, ["str"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_in_words_that_help(name):
    call, error, words = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("x, y", [((2, 5, 5), (2, 4, 4, 1)), ((2, 5, 5, 1), (2, 4, 4)), ((2, 5, 5, 1), (3, 4, 4, 1))])
def test_conv_kernel_grad_wants_images_and_features_of_one_batch(x, y):
    with pytest.raises(ValueError, match="must have 4 axes and one N"):
        F.conv_kernel_grad(np.ones(x), np.ones(y), 2)


def test_im2col_wants_images():
    with pytest.raises(ValueError, match=r"x must be images \(N, H, W, C\): 4 axes; got shape \(5, 5, 1\)"):
        F.im2col(np.ones((5, 5, 1)), 2)


@pytest.mark.parametrize("operation", [F.conv2d, F.conv_transpose2d])
def test_fault_13_what_follows_padding_is_given_by_name(operation):
    """PyTorch's two directions disagree about the order from here on; nobody has to know."""
    with pytest.raises(TypeError, match="positional"):
        operation(np.zeros((1, 4, 4, 4), np.float32), np.zeros((3, 3, 4, 4), np.float32), None, 1, 0, 1)


EMPTY = {
    "a kernel of no rows": (lambda: F.conv2d(X, W[:0]), "weight"),
    "a kernel of no channels": (lambda: F.conv2d(X, W[:, :, :0]), "weight"),
    "a kernel of no outputs": (lambda: F.conv2d(X, W[..., :0]), "weight"),
    "a kernel of no outputs, transposed": (lambda: F.conv_transpose2d(Y, W[..., :0]), "weight"),
    "images of no channels": (lambda: F.conv2d(X[..., :0], W), "x must be"),
    "images of no rows, though padding would make windows": (lambda: F.conv2d(X[:, :0], W, padding=3), "x must be"),
    "features of no columns": (lambda: F.conv_transpose2d(Y[:, :, :0], W), "x must be"),
    "features of no columns for a kernel": (lambda: F.conv_kernel_grad(X, Y[:, :, :0], (3, 2)), "y must be"),
    "images of no channels for a kernel": (lambda: F.conv_kernel_grad(X[..., :0], Y, (3, 2)), "x must be"),
    "images of no channels as columns": (lambda: F.im2col(X[..., :0], 2), "x must be"),
    "columns of no channels": (lambda: F.col2im(np.zeros((1, 4, 4, 0), np.float32), (6, 5), (3, 2)), "cols must be"),
    "images of no rows for a pool": (lambda: F.max_pool2d(X[:, :0], 2, padding=1), "x must be"),
    "images of no channels for a pool": (lambda: F.avg_pool2d(X[..., :0], 2), "x must be"),
}


@pytest.mark.parametrize("name", EMPTY)
def test_fault_16_an_axis_of_nothing_is_refused_by_name(name):
    call, word = EMPTY[name]
    with pytest.raises(ValueError, match=word) as caught:
        call()
    assert "(" in str(caught.value)         # and the shape


def test_an_empty_batch_gives_an_empty_batch(kernels):
    assert F.conv2d(X[:0], W).shape == (0, 4, 4, 4) and F.conv_transpose2d(Y[:0], W).shape == (0, 6, 5, 2)
    assert np.all(F.conv_kernel_grad(X[:0], Y[:0], (3, 2)).data == 0)


@pytest.mark.parametrize("shape, hinted",
                         [((1, 2, 6, 5), True), ((1, 2, 4, 4), True), ((1, 2, 2, 3), False), ((1, 2, 5, 1), False)])
def test_fault_18_the_hint_is_for_images_that_look_like_it(shape, hinted):
    """Height that merely equals the channel count is no sign of channels first."""
    with pytest.raises(ValueError, match=r"x must be \(N, H, W, 2\)") as caught:
        F.conv2d(np.zeros(shape, np.float32), np.zeros((1, 1, 2, 4), np.float32))
    assert ("channels come last" in str(caught.value)) == hinted
