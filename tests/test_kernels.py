"""The seam: every function of `reference` against loops written here, and the same function of `fast` against both.

Geometry is drawn by hypothesis; integers in floats make sums exact, so that results are compared with `==`.
"""
import inspect
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from windows import integers, touches

import minideconv as md
import minideconv.functional as F
from minideconv.kernels import fast, reference
from minideconv.kernels.fast import rows
from minideconv.kernels.reference import AdamStep, Affine
from minideconv.shapes import Window


@st.composite
def windows(draw):
    """A convolution's integers, from the number of windows: the image is what they reach, less the
    padding, and a few pixels more.
    """
    axes = []
    for _ in "hw":
        kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
        features, before, after = draw(st.integers(1, 4)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
        reached = (features - 1) * stride + dilation * (kernel - 1) + 1
        image = max(1, reached - before - after + draw(st.integers(0, stride - 1)))
        axes.append((kernel, stride, before, dilation, image, features))
    return Window(*zip(*axes, strict=True))


def both(name, *arguments):
    """What the two give for copies of the arguments; arrays that they read must be as they were."""
    results = []
    for module in (reference, fast):
        copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        results.append(getattr(module, name)(*copies))
        assert all(np.array_equal(*pair, equal_nan=pair[0].dtype.kind == "f")
                   for pair in zip(copies, arguments, strict=True)
                   if isinstance(pair[0], np.ndarray))
    return results


def assert_exact(name, expected, *arguments):
    for found in both(name, *arguments):
        assert found.shape == expected.shape and found.dtype == expected.dtype
        assert np.all(found == expected)


def assert_close(name, expected, *arguments, tolerance=3e-6):
    for found in both(name, *arguments):
        assert np.allclose(found, expected, rtol=tolerance, atol=tolerance * max(1e-30, np.abs(expected).max()))


DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@DTYPES
@given(window=windows(), groups=st.integers(1, 2), count=st.integers(0, 2), seed=st.integers(0, 2 ** 16))
def test_the_three_products(dtype, window, groups, count, seed):
    """gather, scatter and correlate are the partial derivatives of one form, group by group."""
    rng, window = np.random.default_rng(seed), window._replace(groups=groups)
    c, o = rng.integers(1, 4, 2)
    x = integers(rng, dtype, count, *window.image, groups * c)
    y = integers(rng, dtype, count, *window.features, groups * o)
    w = integers(rng, dtype, *window.kernel, c, groups * o)
    by_y, by_x, by_w = np.zeros_like(y), np.zeros_like(x), np.zeros_like(w)
    for (i, j, u, v, h, k), g in itertools.product(touches(window), range(groups)):
        inside, outside = slice(g * c, g * c + c), slice(g * o, g * o + o)
        by_y[:, i, j, outside] += x[:, h, k, inside] @ w[u, v, :, outside]
        by_x[:, h, k, inside] += y[:, i, j, outside] @ w[u, v, :, outside].T
        by_w[u, v, :, outside] += x[:, h, k, inside].T @ y[:, i, j, outside]
    after, before = integers(rng, dtype, groups * o), integers(rng, dtype, groups * c)
    assert_exact("gather", by_y, x, w, window)
    slope = dtype(rng.choice([0.0, 0.25, 2.0]))
    assert_exact("gather", by_y + after, x, w, window, after)
    assert_exact("gather", np.where(by_y > 0, by_y, slope * by_y), x, w, window, None, slope)
    by_y += after
    assert_exact("gather", np.where(by_y > 0, by_y, slope * by_y), x, w, window, after, slope)
    assert_exact("scatter", by_x, y, w, window)
    assert_exact("scatter", by_x + before, y, w, window, before)
    by_x += before
    assert_exact("scatter", np.where(by_x > 0, by_x, slope * by_x), y, w, window, before, slope)
    assert_exact("correlate", by_w, x, y, window)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
@given(window=windows(), count=st.integers(0, 2), seed=st.integers(0, 2 ** 16))
def test_columns(dtype, window, count, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 5, (count, *window.image, 2)).astype(dtype)
    cols = np.zeros((count, *window.features, *window.kernel, 2), dtype)
    stamps, image = rng.integers(0, 5, cols.shape).astype(dtype), np.zeros_like(x)
    for i, j, u, v, h, k in touches(window):
        cols[:, i, j, u, v] = x[:, h, k]
        image[:, h, k] += stamps[:, i, j, u, v]
    assert_exact("im2col", cols, x, window)
    assert_exact("col2im", image, stamps, window)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int8, np.bool_])
@given(data=st.data(), seed=st.integers(0, 2 ** 16))
def test_pooling_switches(dtype, data, seed):
    """Ties are frequent among few integers; NaN and infinities are strewn in. Padding never wins,
    not even against the least number.
    """
    rng, axes = np.random.default_rng(seed), []
    for _ in "hw":
        kernel = data.draw(st.integers(1, 4))
        padding, stride = data.draw(st.integers(0, kernel // 2)), data.draw(st.integers(1, 3))
        size = data.draw(st.integers(max(1, kernel - 2 * padding), 6))
        axes.append((kernel, stride, padding, 1, size, (size + 2 * padding - kernel) // stride + 1))
    window = Window(*zip(*axes, strict=True))
    lowest = 0 if dtype == np.bool_ else -np.inf if np.dtype(dtype).kind == "f" else np.iinfo(dtype).min
    x = rng.choice([lowest, 0, 1, 2], (data.draw(st.integers(0, 2)), *window.image, 2)).astype(dtype)
    if np.dtype(dtype).kind == "f" and x.size:
        x.flat[rng.integers(x.size, size=2)] = np.nan, np.inf
    switches = np.full((len(x), *window.features, 2), -1)
    for n, c in itertools.product(range(len(x)), range(2)):
        best = {}
        for i, j, _u, _v, h, k in touches(window):
            value = x[n, h, k, c]
            rank = (True, 0) if value != value else (False, value)
            if (i, j) not in best or rank > best[i, j]:
                best[i, j], switches[n, i, j, c] = rank, h * window.image[1] + k
    assert_exact("max_switches", switches, x, window)
    x, y = rng.integers(0, 2, x.shape).astype(dtype), np.ones(switches.shape, dtype)
    taken, image = np.zeros_like(y), np.zeros_like(x)
    for n, i, j, c in np.ndindex(switches.shape):
        pixel = n, switches[n, i, j, c] // window.image[1], switches[n, i, j, c] % window.image[1], c
        taken[n, i, j, c] = x[pixel]
        image[pixel] += y[n, i, j, c]
    assert_exact("take_pixels", taken, x, switches)
    assert_exact("put_pixels", image, y, switches, window.image)


AXES = st.sampled_from([(5, 3), (2, 3, 4, 2), (130, 2), (1, 1)])


@pytest.fixture(params=[64, rows.ROW_BYTES], ids=["many parts", "one part"])
def parts(request, monkeypatch):
    """Of `fast`, which merges what it finds in parts of this many bytes."""
    monkeypatch.setattr(rows, "ROW_BYTES", request.param)


@DTYPES
@given(shape=AXES, slope=st.sampled_from([1.0, 0.0, 0.25, -0.5]), aside=st.sampled_from([0, 0.125]),
       seed=st.integers(0, 2 ** 16))
def test_ramps_and_affine_maps(parts, dtype, shape, slope, aside, seed):
    """On a lattice that is exact in binary, which may land on the kink or lie aside of it."""
    rng, c = np.random.default_rng(seed), shape[-1]
    x, g = integers(rng, dtype, *shape) / 2, integers(rng, dtype, *shape)
    affine = Affine(integers(rng, dtype, c), rng.choice([-1, -0.5, 0.5, 2], c).astype(dtype),
                    ((integers(rng, dtype, c) + aside) / 2).astype(dtype), slope)
    through, z, flow = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    for place in np.ndindex(shape):
        z[place] = (x[place] - affine.centre[place[-1]]) * affine.scale[place[-1]] + affine.shift[place[-1]]
        through[place] = g[place] if x[place] > 0 else slope * g[place]
        flow[place] = g[place] if z[place] > 0 else slope * g[place]
    assert_exact("gate", through, g, x, slope)
    assert_exact("normalise", np.where(z > 0, z, slope * z).astype(dtype), x, affine)
    axes, along, constant = tuple(range(x.ndim - 1)), integers(rng, dtype, c), integers(rng, dtype, c)
    sums = np.stack([flow.sum(axes, np.float64), (flow * (x - affine.centre)).sum(axes, np.float64)])
    assert_exact("normalise_sums", sums, g, x, affine)
    assert_exact("normalise_input", (flow * affine.scale + (x - affine.centre) * along + constant).astype(dtype),
                 g, x, affine, along, constant)


@DTYPES
@given(shape=AXES, far=st.sampled_from([0, 30]), seed=st.integers(0, 2 ** 16))
def test_moments(parts, dtype, shape, far, seed):
    x = (np.random.default_rng(seed).standard_normal(shape) + far).astype(dtype)
    columns = x.reshape(-1, shape[-1]).astype(np.float64).T
    mean = [sum(column) / len(column) for column in columns]
    variance = [sum((value - m) ** 2 for value in column) / len(column)
                for column, m in zip(columns, mean, strict=True)]
    for found in both("moments", x):
        assert np.allclose(found[0], mean, rtol=0, atol=1e-6) and np.allclose(found[1], variance, rtol=1e-5, atol=1e-9)
        assert found[0].dtype == found[1].dtype == np.float64


@DTYPES
def test_adam(dtype):
    rng = np.random.default_rng(0)
    p, g, m, v = rng.standard_normal((4, 3, 5)).astype(dtype)
    step, results = AdamStep(0.01, 0.9, 0.99, 1e-8, 0.1, 1 - 0.9 ** 3, 1 - 0.99 ** 3), []
    for module in (reference, fast):
        mine = [a.copy() for a in (p, g, m, v * v)]
        assert module.adam(*mine, step) is None
        results.append(mine)
    slope = g + 0.1 * p
    mean, square = 0.9 * m + 0.1 * slope, 0.99 * v * v + 0.01 * slope ** 2
    moved = p - 0.01 * mean / step.correction1 / (np.sqrt(square / step.correction2) + 1e-8)
    for found in results:
        assert all(np.allclose(*pair, rtol=1e-5, atol=1e-6)
                   for pair in zip(found, (moved, g, mean, square), strict=True))


@DTYPES
def test_adam_ends_means_that_are_lost_beside_eps(dtype):
    """Subnormal numbers, for which processors take long. They moved nothing; without eps they would."""
    tiny = np.finfo(dtype).tiny
    g, m, v = (np.array(numbers, dtype) for numbers in ((0, 0, np.nan, 1), (tiny, -tiny, 1, 1), (tiny, 2 * tiny, 1, 1)))
    step = AdamStep(0.01, 0.9, 0.9, 1e-8, 0.0, 1.0, 1.0)
    p = np.ones(4, dtype)
    fast.adam(p, g, m, v, step)
    assert np.array_equal(p, [1, 1, np.nan, p[3]], equal_nan=True) and p[3] < 1
    assert np.array_equal(m[:2], [0, 0]) and np.isnan(m[2]) and v[0] == 0 and v[1] > tiny and np.isnan(v[2])
    m, v = np.array([0, tiny], dtype), np.array([tiny, tiny], dtype)
    fast.adam(np.ones(2, dtype), np.zeros(2, dtype), m, v, step._replace(eps=0.0))
    assert 0 < m[1] < tiny and 0 < v[0] < tiny


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("shapes",
                         [((2, 3), (3, 4)), ((700, 300), (300, 130)), ((130, 300), (300, 700)), ((3, 400), (400, 2000)),
                          ((2, 3, 4), (2, 4, 5)),
                          ((4000, 1), (1, 300)), ((0, 3), (3, 2)), ((700, 900), (900, 1)), ((1, 900), (900, 1300))])
def test_matmul(dtype, shapes):
    a, b = (integers(np.random.default_rng(0), dtype, *shape) for shape in shapes)
    product = np.einsum("...ik,...kj->...ij", a.astype(int), b.astype(int)).astype(dtype)
    assert_exact("matmul", product, a, b)
    for kind in (dtype, np.float64):
        bias = integers(np.random.default_rng(1), kind, b.shape[-1])
        assert_exact("matmul", product + bias, a, b, bias)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), (4,)), ((900, 700), (900, 700)), ((9, 0), (9, 0))])
@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.float32, np.float64), (np.int64, np.uint8)])
def test_add(dtypes, shapes):
    """Also arrays that are worked through by all threads, and parts of larger ones."""
    a, b = (integers(np.random.default_rng(0), dtype, *shape) for shape, dtype in zip(shapes, dtypes, strict=True))
    assert_exact("add", (a.astype(int) + b.astype(int)).astype(np.result_type(a, b)), a, b)
    assert_exact("add", (2 * a[..., ::2].astype(int)).astype(a.dtype), a[..., ::2], a[..., ::2])


@DTYPES
@pytest.mark.parametrize("shape, axes", [((3, 5, 4), (1,)), ((700, 5, 200), (1,)), ((4, 3), (1,)), ((2, 3, 4), (0, 2))])
def test_shares_of_an_extreme(dtype, shape, axes):
    """Equals have equal shares, in their number's precision, and the others nothing."""
    x = integers(np.random.default_rng(0), dtype, *shape)
    low = x.min(axis=axes, keepdims=True)
    g = integers(np.random.default_rng(1), dtype, *low.shape)
    equal = x == low
    assert_exact("share", np.where(equal, g * (dtype(1) / equal.sum(axis=axes, keepdims=True).astype(dtype)), 0)
                 .astype(dtype), g, x, low, axes)
    assert_exact("share", np.where(equal, 0, 0).astype(dtype), np.zeros_like(low), x, low, axes)


@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.float32, np.float64), (np.int64, np.uint8)])
@pytest.mark.parametrize("axis, shapes", [(1, [(3, 4), (3, 2)]), (2, [(900, 30, 20), (900, 30, 10)]), (1, [(3, 4)] * 3),
                                          (0, [(900, 700), (5, 700)]), (0, [(900, 700)]), (1, [(900, 0), (900, 700)])])
def test_joins(dtypes, axis, shapes):
    """Also of views, and of arrays that all threads copy."""
    rng = np.random.default_rng(0)
    arrays = [integers(rng, dtype, *shape) for shape, dtype in zip(shapes, dtypes, strict=False)]
    out = np.zeros([sum(a.shape[axis] for a in arrays) if n == axis else size for n, size in enumerate(shapes[0])],
                   np.result_type(*arrays))
    start = 0
    for array in arrays:
        out[(slice(None),) * axis + (slice(start, start + array.shape[axis]),)] = array
        start += array.shape[axis]
    assert_exact("join", out, arrays, axis)
    assert_exact("join", out[..., ::2], [np.repeat(out, 2, axis=-1)[..., ::4]], axis)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.bool_])
@pytest.mark.parametrize("shape, axes",
                         [((300, 28, 28, 3), (0, 1, 2)), ((300, 28, 28, 3), (1, 2)), ((5, 4), (0, 1)), ((0, 3), (0,))])
@pytest.mark.parametrize("keepdims", [True, False])
def test_sums(dtype, shape, axes, keepdims):
    """Fault 1: integers and booleans add up in 64 bits, in large arrays too."""
    x = np.random.default_rng(0).integers(0, 2 if dtype == np.bool_ else 9, shape).astype(dtype)
    expected = x.astype(np.int64).sum(axis=axes, keepdims=keepdims)
    for found in both("sum", x, axes, keepdims):
        assert found.shape == expected.shape and np.all(found == expected)
        assert found.dtype == {np.uint8: np.uint64, np.bool_: np.int64}.get(dtype, dtype)


def test_both_have_the_same_functions():
    names = set(fast.__all__)
    mine = {name for name, value in vars(reference).items()
            if inspect.isfunction(value) and inspect.getmodule(value) is reference and not name.startswith("_")}
    assert mine == names | {"by_group"}
    for name in names:
        one, other = (list(inspect.signature(getattr(room, name)).parameters) for room in (fast, reference))
        assert one == other


# ---- what a reader meets who steps through `reference`

def entered(call):
    """The functions of the package that a call enters, and how many of them stand on one another at
    the deepest product.
    """
    seen, deepest = set(), [0]

    def watch(frame, event, argument):
        if event == "call" and "minideconv" in frame.f_code.co_filename and not frame.f_code.co_name.startswith("<"):
            seen.add(frame.f_code)
        if event == "call" and frame.f_code in (reference.im2col.__code__, reference.col2im.__code__):
            depth = 0
            while frame:
                depth += "minideconv" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename
                frame = frame.f_back
            deepest[0] = max(deepest[0], depth - 1)         # the product stands beside this call, in its caller
    sys.setprofile(watch)
    try:
        result = call()
    finally:
        sys.setprofile(None)
    return result, seen, deepest[0]


@pytest.mark.parametrize("as_tensors", [True, False])
@pytest.mark.parametrize("operation, shape", [("conv2d", (1, 6, 6, 1)), ("conv_transpose2d", (1, 3, 3, 2)),
                                              ("conv_kernel_grad", (1, 6, 6, 1)),
                                              ("conv2d", (64, 64, 64, 1)), ("conv_transpose2d", (64, 32, 32, 2))])
def test_the_readable_path_is_short(operation, shape, as_tensors):
    """At most 18 functions of this package for one operation, 36 for its gradients, none about
    speed, and no deeper than 7.
    """
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape),
              rng.standard_normal((1, 3, 3, 2) if operation == "conv_kernel_grad" else (4, 4, 1, 2))]
    arguments = [md.Tensor(a, requires_grad=True) if as_tensors else a for a in arrays]
    settings = ((4, 2, 1) if operation == "conv_kernel_grad" else (None, 2, 1))
    md.kernels.use("reference")
    try:
        result, seen, depth = entered(lambda: getattr(F, operation)(*arguments, *settings))
        assert len(seen) <= 18, sorted(getattr(code, "co_qualname", code.co_name) for code in seen)
        assert depth <= 7
        if as_tensors:
            cotangent = rng.standard_normal(result.shape)
            _, back, deeper = entered(lambda: result.backward(cotangent))
            assert len(back) <= 36 and deeper <= 9
            seen |= back
    finally:
        md.kernels.use("fast")
    for code in seen:
        assert not any(word in code.co_filename for word in ("fast", "parallel", "machine")), code


def test_reference_needs_neither_numba_nor_threads():
    """A program that only ever reads loads nothing about speed."""
    program = ("import sys, numpy as np, minideconv as md, minideconv.functional as F; md.kernels.use('reference'); "
               "x = md.Tensor(np.ones((2, 8, 8, 3)), requires_grad=True); "
               "F.conv2d(x, np.ones((3, 3, 3, 4))).sum().backward(); "
               "print({'numba', 'threadpoolctl', 'minideconv.kernels.fast'} & set(sys.modules))")
    answer = subprocess.run([sys.executable, "-c", program], env=dict(os.environ), capture_output=True, text=True)
    assert answer.stdout.strip() == "set()", answer.stderr


def test_use_names_its_choices():
    with pytest.raises(ValueError, match="'reference' or 'fast'; got 'quick'"):
        md.kernels.use("quick")


def test_use_chooses(kernels):
    assert md.kernels.active() is {"reference": reference, "fast": fast}[kernels]
