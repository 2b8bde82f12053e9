"""Pooling, unpooling, upsampling and pixel shuffle against loops over windows and pixels."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minideconv as md
import minideconv.functional as F


def integers(seed, *shape):
    return np.random.default_rng(seed).integers(-5, 6, shape).astype(np.float64)


@st.composite
def pools(draw):
    """An image of integers (ties are frequent) and the settings of a pool that fits it."""
    sizes, kernels, strides, pads = [], [], [], []
    for _ in "hw":
        kernel = draw(st.integers(1, 4))
        pad = draw(st.integers(0, kernel // 2))
        sizes.append(draw(st.integers(max(1, kernel - 2 * pad), 7)))
        kernels.append(kernel)
        pads.append(pad)
        strides.append(draw(st.integers(1, 4)))
    x = integers(draw(st.integers(0, 2 ** 16)), draw(st.integers(1, 2)), *sizes, draw(st.integers(1, 3)))
    return x, tuple(kernels), draw(st.sampled_from([None, tuple(strides)])), tuple(pads)


def windows(x, kernel, stride, pads):
    """(i, j, rows, columns): the pixels of the image that each window covers."""
    stride = stride or kernel
    counts = [(size + 2 * p - k) // s + 1 for size, k, s, p in zip(x.shape[1:3], kernel, stride, pads, strict=True)]
    for i in range(counts[0]):
        for j in range(counts[1]):
            yield i, j, *([at for at in range(o * s - p, o * s - p + k) if 0 <= at < size]
                          for o, k, s, p, size in zip((i, j), kernel, stride, pads, x.shape[1:3], strict=True))


def naive_max(x, kernel, stride, pads):
    """Values, and flat indices h * W + w of the first largest pixel."""
    places = list(windows(x, kernel, stride, pads))
    shape = len(x), places[-1][0] + 1, places[-1][1] + 1, x.shape[3]
    values, indices = np.zeros(shape), np.zeros(shape, np.int64)
    for i, j, rows, columns in places:
        for n in range(shape[0]):
            for c in range(shape[3]):
                best = max(((h, w) for h in rows for w in columns), key=lambda pixel: x[n, pixel[0], pixel[1], c])
                values[n, i, j, c], indices[n, i, j, c] = x[n, best[0], best[1], c], best[0] * x.shape[2] + best[1]
    return values, indices


@given(pool=pools())
def test_max_pool_and_its_switches(kernels, pool):
    values, indices = naive_max(*pool)
    y, switches = F.max_pool2d(*pool, return_indices=True)
    assert y.shape == values.shape and np.all(y.data == values)
    assert switches.dtype == np.int64 and switches.shape == indices.shape and np.all(switches == indices)
    assert np.all(F.max_pool2d(*pool).data == values)


@given(pool=pools())
def test_max_pool_sends_the_gradient_to_the_winner(kernels, pool):
    x = md.Tensor(pool[0], requires_grad=True)
    y, switches = F.max_pool2d(x, *pool[1:], return_indices=True)
    g = integers(1, *y.shape)
    expected = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(g.shape):
        expected[n, switches[n, i, j, c] // x.shape[2], switches[n, i, j, c] % x.shape[2], c] += g[n, i, j, c]
    y.backward(g)
    assert np.all(x.grad == expected)
    unpooled = F.max_unpool2d(g, switches, pool[1], pool[2], pool[3], output_size=x.shape[1:3])
    assert np.all(unpooled.data == expected)            # unpooling is the transpose of taking, overlaps included


def test_unpool_finds_its_size_and_its_gradient(kernels):
    x = integers(0, 2, 6, 4, 3)
    y, switches = F.max_pool2d(x, (3, 2), return_indices=True)
    t = md.Tensor(y.data, requires_grad=True)
    image = F.max_unpool2d(t, switches, (3, 2))
    assert image.shape == x.shape and np.all(image.data[image.data != 0] == x[image.data != 0])
    g = integers(1, *x.shape)
    image.backward(g)
    assert np.all(t.grad == np.take_along_axis(g.reshape(2, 24, 3), switches.reshape(2, -1, 3), 1).reshape(y.shape))


def test_max_pool_of_values_below_zero_ignores_padding_and_takes_nan(kernels):
    x = -np.ones((1, 2, 2, 1))
    assert np.all(F.max_pool2d(x, 2, stride=1, padding=1).data == -1)
    x[0, 1, 0, 0] = np.nan
    y, switches = F.max_pool2d(x, 2, return_indices=True)
    assert np.isnan(y.data).all() and switches.item() == 2


@given(pool=pools(), count_include_pad=st.booleans())
def test_avg_pool(kernels, pool, count_include_pad):
    x, kernel, stride, pads = pool
    y = F.avg_pool2d(x, kernel, stride, pads, count_include_pad=count_include_pad)
    expected = np.full(y.shape, np.nan)
    for i, j, rows, columns in windows(*pool):
        total = sum(x[:, h, w] for h in rows for w in columns)
        expected[:, i, j] = total / (kernel[0] * kernel[1] if count_include_pad else len(rows) * len(columns))
    assert np.allclose(y.data, expected, rtol=1e-14, atol=0)


@given(h=st.integers(1, 4), w=st.integers(1, 4), fh=st.integers(1, 4), fw=st.integers(1, 4))
def test_upsample(h, w, fh, fw):
    x = integers(h * 64 + w, 2, h, w, 2)
    nearest, bilinear = np.zeros((2, 2, h * fh, w * fw, 2))
    for i in range(h * fh):
        for j in range(w * fw):
            nearest[:, i, j] = x[:, i // fh, j // fw]
            # Where the new pixel's centre lies on the old grid, the border repeated.
            y, z = min(max((i + 0.5) / fh - 0.5, 0), h - 1), min(max((j + 0.5) / fw - 0.5, 0), w - 1)
            top, left, dy, dz = int(y), int(z), y - int(y), z - int(z)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            bilinear[:, i, j] = ((1 - dy) * ((1 - dz) * x[:, top, left] + dz * x[:, top, right])
                                 + dy * ((1 - dz) * x[:, below, left] + dz * x[:, below, right]))
    assert np.all(F.upsample(x, (fh, fw)).data == nearest)
    assert np.allclose(F.upsample(x, (fh, fw), mode="bilinear").data, bilinear, rtol=0, atol=1e-14)
    if fh == fw:
        assert np.all(F.upsample(x, fh, "nearest").data == nearest)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsample_has_the_transposed_gradient(mode):
    x = md.Tensor(integers(0, 1, 3, 2, 2), requires_grad=True)
    y = F.upsample(x, (2, 3), mode)
    md.adjoint_check(lambda t: F.upsample(t, (2, 3), mode), lambda g: md.grad(y, x, gradient=g)[0], x.shape)


@given(n=st.integers(1, 2), h=st.integers(1, 3), w=st.integers(1, 3), c=st.integers(1, 3), r=st.integers(1, 3))
def test_pixel_shuffle(n, h, w, c, r):
    x = integers(h, n, h, w, c * r * r)
    y = F.pixel_shuffle(x, r)
    assert y.shape == (n, h * r, w * r, c)
    for i, j, k in np.ndindex(h * r, w * r, c):
        assert np.all(y.data[:, i, j, k] == x[:, i // r, j // r, k * r * r + (i % r) * r + j % r])


X = np.zeros((1, 4, 4, 2), np.float32)
REFUSED = {
    "three axes": (lambda: F.max_pool2d(X[0], 2), ValueError, "4 axes"),
    "padding above half of the kernel": (lambda: F.max_pool2d(X, 2, padding=2), ValueError,
                                         "padding must be at most half"),
    "a kernel larger than the image": (lambda: F.avg_pool2d(X, 5), ValueError, "does not fit"),
    "indices of another shape": (lambda: F.max_unpool2d(X, np.zeros((1, 4, 4, 1), int), 2), ValueError,
                                 r"indices must have x's shape \(1, 4, 4, 2\)"),
    "indices outside": (lambda: F.max_unpool2d(X, np.full(X.shape, 64), 2), ValueError,
                        r"indices must lie in \[0, 64\).*got 64 to 64"),
    "negative indices": (lambda: F.max_unpool2d(X, np.full(X.shape, -1), 2), ValueError, "indices must lie in"),
    "fractional indices": (lambda: F.max_unpool2d(X, X, 2), TypeError, "indices must be integers; got float32"),
    "an unknown mode": (lambda: F.upsample(X, 2, "cubic"), ValueError,
                        "mode must be 'nearest' or 'bilinear'; got 'cubic'"),
    "a fractional factor": (lambda: F.upsample(X, 1.5), TypeError, "scale_factor"),
    "channels that cannot be shuffled": (lambda: F.pixel_shuffle(X, 2), ValueError,
                                         r"multiple of r \* r = 4 channels; got shape \(1, 4, 4, 2\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


def test_float32_stays_float32(kernels):
    assert {F.max_pool2d(X, 2).dtype, F.avg_pool2d(X, 2).dtype, F.avg_pool2d(X, 3, 1, 1, count_include_pad=False).dtype,
            F.upsample(X, 2).dtype, F.upsample(X, 2, "bilinear").dtype,
            F.max_unpool2d(X, np.zeros(X.shape, int), 2).dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d])
def test_padding_is_spelled_as_in_convolutions(kernels, pool):
    x = integers(0, 2, 5, 6, 3)
    for spelling, spelled in (("valid", 0), ((1, 0), ((1, 1), (0, 0))), (1, ((1, 1), (1, 1)))):
        assert np.array_equal(pool(x, 3, 2, spelling).data, pool(x, 3, 2, spelled).data)
    assert pool(x, 3, 2, "same").shape == (2, 3, 3, 3)          # 5 rows: one before and after; 6 columns: one after
    assert np.array_equal(pool(x, 3, 2, "same").data, pool(x, 3, 2, ((1, 1), (0, 1))).data)


def test_unpooling_same(kernels):
    x = integers(0, 2, 6, 4, 3)
    y, switches = F.max_pool2d(x, 3, 2, "same", return_indices=True)
    assert np.array_equal(F.max_unpool2d(y, switches, 3, 2, "same").data,
                          F.max_unpool2d(y, switches, 3, 2, "same", (6, 4)).data)
