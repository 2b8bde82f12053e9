"""Arithmetic, reductions, shape changes, indexing and products give what NumPy gives, and say what is wrong where they cannot.

Data are small integers held in float64: their sums and products are exact, so most comparisons are `==`.
"""
import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minideconv as md
from minideconv import Tensor, ops
from minideconv.tensor import enable_grad

integers = st.integers(-9, 9).map(float)
shapes = hnp.array_shapes(max_dims=4, max_side=4)
arrays = hnp.arrays(np.float64, shapes, elements=integers)


def whole(shape, seed=0):
    """Small integers as float64."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)


def leaf(array):
    return Tensor(np.array(array), requires_grad=True)


def transpose_of(linear, shape):
    """The map that the tape says is the transpose of a linear one from arrays of `shape`."""
    def transposed(y):
        with enable_grad():             # adjoint_check itself records nothing
            x = leaf(np.zeros(shape))
            return md.grad(linear(x), x, gradient=y)[0]
    return transposed


def equal(tensor, array):
    """One shape, one dtype, and every entry the same."""
    assert tensor.shape == array.shape and tensor.dtype == array.dtype
    assert np.array_equal(tensor.data, array)
    return True


@st.composite
def broadcasting(draw, count=2):
    """Arrays whose shapes differ but broadcast."""
    drawn = draw(hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=4, max_side=3))
    return [draw(hnp.arrays(np.float64, shape, elements=integers)) for shape in drawn.input_shapes]


# ---- arithmetic

@given(broadcasting())
def test_arithmetic_broadcasts_as_numpy_does(pair):
    a, b = pair
    nonzero = b + 0.5
    assert equal(Tensor(a) + Tensor(b), np.asarray(a + b)) and equal(Tensor(a) - Tensor(b), np.asarray(a - b))
    assert equal(Tensor(a) * Tensor(b), np.asarray(a * b)) and equal(Tensor(a) / Tensor(nonzero), np.asarray(a / nonzero))
    assert equal(md.maximum(Tensor(a), Tensor(b)), np.asarray(np.maximum(a, b)))
    assert equal(md.where(a > b, Tensor(a), Tensor(b)), np.where(a > b, a, b))


@given(broadcasting(), st.integers(0, 99))
def test_the_gradient_of_a_broadcast_array_is_summed_over_its_copies(pair, seed):
    a, b = map(leaf, pair)
    out = a * b
    g = whole(out.shape, seed)
    out.backward(g)
    for tensor, other in ((a, b), (b, a)):
        every_copy = np.asarray(g * other.data)
        expected = np.zeros(tensor.shape)
        for index in np.ndindex(every_copy.shape):                      # each copy back to the entry that it came from
            own = index[len(index) - tensor.ndim:]
            expected[tuple(i if n > 1 else 0 for i, n in zip(own, tensor.shape))] += every_copy[index]
        assert np.array_equal(tensor.grad, expected)


@pytest.mark.parametrize("other", [3, 3.0, np.float64(3), np.int64(3), np.array([3.0, 4.0]), np.array([3, 4]), [3.0, 4.0]], ids=repr)
def test_operators_take_numbers_and_arrays_on_either_side(other):
    a = np.array([[1.0, 2.0], [5.0, 7.0]])
    x = Tensor(a)
    for mine, expected in ((x + other, a + other), (other + x, other + a), (x - other, a - other), (other - x, other - a),
                           (x * other, a * other), (other * x, other * a), (x / other, a / other), (other / x, other / a),
                           (x ** other, a ** other), (other ** x, other ** a)):
        assert isinstance(mine, Tensor) and equal(mine, expected)


def test_an_operator_in_place_leaves_the_old_array_alone():
    array = np.ones(3)
    x = Tensor(array)
    x += 1
    assert np.array_equal(array, np.ones(3)) and np.array_equal(x.data, np.full(3, 2.0))


@pytest.mark.parametrize("name, expected", [
    ("exp", np.exp), ("log", np.log), ("sqrt", np.sqrt), ("abs", np.abs), ("__neg__", np.negative), ("__abs__", np.abs)])
def test_functions_of_each_entry(name, expected):
    array = np.arange(1.0, 9.0).reshape(2, 4) * (-1 if "abs" in name else 1)
    assert equal(getattr(Tensor(array), name)(), expected(array))


def test_power_is_flat_where_the_exponent_is_zero():
    x = leaf([-2.0, 0.0, 3.0])
    (x ** np.array([2.0, 0.0, 0.0])).sum().backward()
    assert np.array_equal(x.grad, [-4.0, 0.0, 0.0])
    x = leaf([0.0, 3.0])
    slope, = md.grad((x ** 2).sum(), x, create_graph=True)
    curvature, = md.grad(slope.sum(), x)
    assert np.array_equal(curvature.data, [2.0, 2.0])


def test_equals_share_the_gradient_of_a_maximum():
    a, b = leaf([1.0, 2.0, 5.0]), leaf([1.0, 3.0, 4.0])
    md.maximum(a, b).backward(np.array([8.0, 8.0, 8.0]))
    assert np.array_equal(a.grad, [4.0, 0.0, 8.0]) and np.array_equal(b.grad, [4.0, 8.0, 0.0])
    x = leaf([[1.0, 5.0, 5.0], [2.0, 1.0, 0.0]])
    x.max(axis=1).backward(np.array([8.0, 8.0]))
    assert np.array_equal(x.grad, [[0.0, 4.0, 4.0], [8.0, 0.0, 0.0]])


def test_the_slope_of_abs_at_its_kink_is_zero():
    x = leaf([-1.0, 0.0, 1.0])
    abs(x).sum().backward()
    assert np.array_equal(x.grad, [-1.0, 0.0, 1.0])


def test_shapes_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"\(2,3\) \(2,4\)"):
        Tensor(np.ones((2, 3))) + Tensor(np.ones((2, 4)))


@pytest.mark.parametrize("other", ["2", {1: 2}, object()], ids=["str", "dict", "object"])
def test_what_is_no_number_is_refused(other):
    with pytest.raises(TypeError, match=f"expected a Tensor, an array or a number; got {type(other).__name__}"):
        Tensor(np.ones(3)) + other


# ---- reductions

@st.composite
def reductions(draw):
    """An array, some of its axes under a mix of signs (or None), and keepdims."""
    array = draw(arrays)
    axes = draw(st.none() | st.integers(-array.ndim, array.ndim - 1)
                | st.lists(st.integers(0, array.ndim - 1), unique=True).map(tuple))
    if isinstance(axes, tuple):
        axes = tuple(a - array.ndim if draw(st.booleans()) else a for a in axes)
    return array, axes, draw(st.booleans())


@given(reductions())
def test_reductions_take_axes_as_numpy_does(case):
    array, axis, keepdims = case
    for name in ("sum", "mean", "max", "min"):
        expected = np.asarray(getattr(array, name)(axis=axis, keepdims=keepdims))
        result = getattr(Tensor(array), name)(axis=axis, keepdims=keepdims)
        if name == "mean":
            assert result.shape == expected.shape and np.allclose(result.data, expected, rtol=1e-14, atol=1e-14)
        else:
            assert equal(result, expected)


@given(reductions())
def test_the_gradient_of_a_sum_is_its_transpose(case):
    array, axis, keepdims = case
    def linear(x):
        return x.sum(axis=axis, keepdims=keepdims)
    assert md.adjoint_check(linear, transpose_of(linear, array.shape), array.shape, rtol=0)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_reductions_name_a_wrong_axis(name):
    reduce = getattr(Tensor(np.ones((2, 3))), name)
    for axis, error, words in ((2, ValueError, "axis 2 is out of bounds for a Tensor of 2 axes"), (-3, ValueError, "axis -3"),
                               ((0, -2), ValueError, "twice"), (1.0, TypeError, "1.0"), ("0", TypeError, "'0'")):
        with pytest.raises(error, match=words):
            reduce(axis=axis)


# ---- shapes

def test_reshape_spellings():
    array = whole((2, 3, 4))
    x = Tensor(array)
    for spelling in ((4, 6), ((4, 6),), ([4, 6],), (4, -1), (-1, 6)):
        assert equal(x.reshape(*spelling), array.reshape(4, 6))
    assert equal(x.reshape(-1), array.reshape(-1))
    with pytest.raises(ValueError, match=r"size 24 into shape \(5,5\)"):
        x.reshape(5, 5)


@given(arrays, st.data())
def test_transpose_spellings(array, data):
    axes = data.draw(st.permutations(range(array.ndim)))
    signed = [a - array.ndim if data.draw(st.booleans()) else a for a in axes]
    expected = array.transpose(axes)
    assert equal(Tensor(array).transpose(*signed), expected) and equal(Tensor(array).transpose(tuple(signed)), expected)
    assert equal(Tensor(array).transpose(), array.T) and equal(Tensor(array).T, array.T)
    x = leaf(array)
    g = whole(expected.shape)
    x.transpose(*signed).backward(g)
    assert np.array_equal(x.grad.transpose(axes), g)


@pytest.mark.parametrize("axes", [(0, 0), (0,), (0, 1, 2), (0, 2), (0, 3), (-3, 1)])
def test_transpose_refuses_what_is_no_permutation(axes):
    with pytest.raises(ValueError):
        Tensor(np.ones((2, 3))).transpose(*axes)


@given(broadcasting())
def test_broadcast_to(pair):
    shape = np.broadcast_shapes(*(a.shape for a in pair))
    for array in pair:
        assert equal(ops.broadcast_to(Tensor(array), shape), np.broadcast_to(array, shape))


@given(arrays, st.data())
def test_concatenate_and_stack(array, data):
    axis = data.draw(st.integers(-array.ndim, array.ndim - 1))
    parts = np.split(array, data.draw(st.lists(st.integers(1, array.shape[axis]), max_size=3).map(sorted)), axis)
    tensors = [leaf(part) for part in parts]
    joined = md.concatenate(tensors, axis)
    assert equal(joined, array)
    g = whole(array.shape)
    joined.backward(g)
    assert np.array_equal(np.concatenate([t.grad for t in tensors], axis), g)
    place = data.draw(st.integers(-array.ndim - 1, array.ndim))
    assert equal(md.stack([Tensor(array), array], place), np.stack([array, array], place))


@pytest.mark.parametrize("join", [md.concatenate, md.stack])
@pytest.mark.parametrize("axis", [3, -4])
def test_joining_along_an_axis_that_does_not_exist_is_refused(join, axis):
    with pytest.raises(ValueError, match="axis"):
        join([np.ones((2, 2)), np.ones((2, 2))], axis)


def test_joining_shapes_that_do_not_fit_is_refused():
    with pytest.raises(ValueError):
        md.concatenate([np.ones((2, 2)), np.ones((2, 3))])
    with pytest.raises(ValueError):
        md.stack([np.ones((2, 2)), np.ones((2, 3))])


def test_astype():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = x.astype(np.float64)
    assert y.dtype == np.float64 and x.astype("float64").dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32


# ---- indexing

def check_index(array, index):
    """x[index] is NumPy's; its gradient adds every weight to the entry it was taken from."""
    x, taken = leaf(array), np.asarray(array[index])
    y = x[index]
    assert equal(y, taken)
    places = np.asarray(np.arange(array.size).reshape(array.shape)[index])      # which entry each result was
    g = whole(taken.shape)
    expected = np.zeros(array.size)
    for place, weight in zip(places.ravel(), g.ravel()):
        expected[place] += weight
    y.backward(g)
    assert np.array_equal(x.grad, expected.reshape(array.shape))


@given(arrays, st.data())
def test_basic_indices(array, data):
    check_index(array, data.draw(hnp.basic_indices(array.shape, allow_newaxis=True)))


@given(arrays, st.data())
def test_integer_array_indices(array, data):
    check_index(array, data.draw(hnp.integer_array_indices(array.shape)))


@given(arrays, st.data())
def test_boolean_masks(array, data):
    check_index(array, data.draw(hnp.arrays(bool, array.shape)))


@pytest.mark.parametrize("index", [
    [0, 0, 2], ([0, 0], [1, 1]), (slice(None), [1, 1, 0]), (np.array([[0, 1], [1, 0]]), Ellipsis, 2), (0, np.array([1, 1]), slice(None, None, -1)),
    (np.array([True, False, True]), 1), (Ellipsis, [-1, -1]), (None, [0, 0]), np.int64(1), (slice(2, 0, -1), 0), True, (), Ellipsis], ids=repr)
def test_mixed_indices(index):
    check_index(whole((3, 2, 4)), index)


@pytest.mark.parametrize("index", [((0, 0, 2),), ((0, 0), slice(None), 1)], ids=repr)
def test_a_tuple_inside_an_index_names_entries_as_a_list_does(index):
    check_index(whole((3, 2, 4)), index)


def test_tensors_in_an_index_stand_for_their_arrays():
    array, rows = whole((3, 2)), Tensor(np.array([2, 0, 2]))
    assert equal(Tensor(array)[rows], array[[2, 0, 2]]) and equal(Tensor(array)[rows, 1], array[[2, 0, 2], 1])


def test_iteration_ends():
    assert [row.data.tolist() for row in Tensor(np.arange(4.0).reshape(2, 2))] == [[0.0, 1.0], [2.0, 3.0]]


def test_an_index_outside_is_refused():
    with pytest.raises(IndexError):
        Tensor(np.ones((2, 2)))[2]


# ---- products

@st.composite
def factors(draw):
    """Two arrays that np.matmul takes, 1-D ones and broadcast leading axes among them."""
    drawn = draw(hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=4))
    return [draw(hnp.arrays(np.float64, shape, elements=integers)) for shape in drawn.input_shapes]


@given(factors())
def test_matmul_has_numpys_rules(pair):
    a, b = pair
    assert equal(Tensor(a) @ Tensor(b), np.asarray(a @ b)) and equal(a @ Tensor(b), np.asarray(a @ b)) and equal(Tensor(a) @ b, np.asarray(a @ b))


@given(factors())
def test_the_gradients_of_a_product(pair):
    a, b = map(leaf, pair)
    out = a @ b
    g = whole(out.shape)
    out.backward(g)
    # <a @ b, g> is linear in each factor: a whole step forward and back is exactly twice the slope.
    for tensor, product in ((a, lambda v: v @ b.data), (b, lambda v: a.data @ v)):
        for index in np.ndindex(tensor.shape):
            step = np.zeros(tensor.shape)
            step[index] = 1
            assert np.sum(g * (product(tensor.data + step) - product(tensor.data - step))) == 2 * tensor.grad[index]


@pytest.mark.parametrize("m, k, n", [(600, 64, 40), (40, 64, 600), (128, 70, 128)])
def test_large_products_are_split_without_loss(m, k, n):
    a, b = whole((m, k)), whole((k, n), 1)
    assert m * k * n >= 1 << 20 and equal(Tensor(a) @ Tensor(b), a @ b)


@pytest.mark.parametrize("a, b", [((2, 3), (2, 3)), ((3,), (4,)), ((2, 3), (4,)), ((), (2, 2)), ((2, 2), ())])
def test_matmul_names_both_shapes(a, b):
    with pytest.raises(ValueError) as raised:
        Tensor(np.ones(a)) @ Tensor(np.ones(b))
    assert str(a) in str(raised.value) and str(b) in str(raised.value)


# ---- linear maps and their transposes, exactly

@pytest.mark.parametrize("linear, shape", [
    (lambda x: -x, (2, 3)), (lambda x: x * 3 - x, (4,)), (lambda x: x.sum(axis=(0, 2), keepdims=True), (2, 3, 2)),
    (lambda x: x.reshape(3, -1), (2, 3)), (lambda x: x.transpose(1, 2, 0), (2, 3, 4)), (lambda x: ops.broadcast_to(x, (2, 3, 4)), (3, 1)),
    (lambda x: x[[0, 0, 1], ::-1], (2, 3)), (lambda x: md.concatenate([x, x[:1], x]), (2, 3)), (lambda x: md.stack([x, 2 * x], axis=1), (2, 3)),
    (lambda x: x @ whole((3, 2)), (4, 3)),
    (lambda x: whole((5, 4)) @ x, (4, 3)), (lambda x: md.where(whole((2, 3)) > 0, x, 2 * x), (2, 3))])
def test_a_linear_operation_and_its_vjp_are_adjoint(linear, shape):
    assert md.adjoint_check(linear, transpose_of(linear, shape), shape, rtol=0)


# ---- fault 4: gradients of indexing

class Exposed:
    """Anything that NumPy takes for an array."""

    def __init__(self, *rows):
        self.rows = np.array(rows)

    def __array__(self, dtype=None, copy=None):
        return self.rows


class Whole:
    """A number as operator.index sees it."""

    def __index__(self):
        return 1


@pytest.mark.parametrize("index", [
    [0, 0, 1], (0, 0, 1), np.array([0, 0, 1]), array.array("i", [0, 0, 1]), array.array("q", [0, 0, 1]), Exposed(0, 0, 1), memoryview(np.array([0, 0, 1])),
    Tensor(np.array([0, 0, 1])), [np.int64(0), np.array(0), 1], [Tensor(np.array(0)), 0, 1], np.array([0, 0, 1], ">i2"), np.array([0, 0, 1], np.uint8)],
    ids=lambda index: type(index).__name__)
def test_fault_04_every_kind_of_index_with_repeats(index):
    for rows in (index, (index, slice(None)), (index, 1), (Ellipsis, index, None, 0)) if not isinstance(index, tuple) else ((index, slice(None)),):
        x = leaf(whole((4, 3)))
        y = x[rows]
        g = whole(y.shape)
        y.backward(g)
        plain = tuple(np.array([0, 0, 1]) if part is index else part for part in rows) if isinstance(rows, tuple) else np.array([0, 0, 1])
        expected = np.zeros((4, 3))
        np.add.at(expected, plain, g)
        assert np.array_equal(y.data, x.data[plain]) and np.array_equal(x.grad, expected)


def test_fault_04_ranges_and_numbers():
    check_index(whole((4, 3)), range(2))
    x = leaf(whole((4, 3)))
    x[Whole()].backward(np.ones(3))
    assert np.array_equal(x.grad.sum(axis=1), [0, 3, 0, 0])
    assert Tensor(np.ones((2, 3)))[[]].shape == (0, 3) and Tensor(np.ones((2, 3)))[:, []].shape == (2, 0)


@pytest.mark.parametrize("index", [[0, 0, 1], np.array([0, 0, 1]), array.array("i", [0, 0, 1]), Exposed(0, 0, 1), Tensor(np.array([0, 0, 1])), [True, False, True, True]])
def test_fault_04_an_index_that_is_used_again_for_something_else(index):
    x = leaf(whole((4, 3)))
    y = (x[index] * 1).sum() + (x[index, 1] * 1).sum()
    expected = 4 * np.bincount([0, 0, 1] if len(getattr(index, "rows", index)) == 3 else [0, 2, 3], minlength=4)
    held = index.rows if isinstance(index, Exposed) else index.data if isinstance(index, Tensor) else index
    for place in range(len(held)):
        held[place] = 3
    y.backward()
    assert np.array_equal(x.grad.sum(axis=1), expected)


@pytest.mark.parametrize("index, error", [("a", TypeError), (1.0, IndexError), ([0.5], IndexError), (np.array([1.0]), IndexError), ([[0], [0, 1]], ValueError)])
def test_what_is_no_index_is_refused(index, error):
    with pytest.raises(error):
        Tensor(np.ones((2, 2)))[index]


# ---- fault 12: powers of zero

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fault_12_powers_of_zero(dtype):
    x, p = (Tensor(np.array(values, dtype), requires_grad=True) for values in ([0, 0, 0, 0, 2, 2], [2, 1, 0.5, 3, 0, 3]))
    y = x ** p
    y.backward(np.ones(6, dtype), inputs=[p])           # the slope for x is infinite where p is 0.5
    assert np.array_equal(y.data, [0, 0, 0, 0, 1, 8]) and np.allclose(p.grad, [0, 0, 0, 0, np.log(2), 8 * np.log(2)])
    x.grad = None
    kept = [0, 1, 3, 4, 5]
    (x[kept] ** p[kept]).backward(np.ones(5, dtype))
    assert np.array_equal(x.grad, [0, 1, 0, 0, 0, 12]) and x.grad.dtype == p.grad.dtype == dtype


def test_fault_12_zero_to_the_power_of_zero():
    x, p = leaf([0.0, 0.0]), leaf([0.0, 2.0])
    slopes = md.grad((x ** p).sum(), (x, p), create_graph=True)
    assert np.array_equal(slopes[0].data, [0, 0]) and np.array_equal(slopes[1].data, [0, 0])
    assert np.isfinite(md.grad(slopes[0].sum(), x)[0].data).all()


def test_fault_12_the_mixed_second_derivative_at_an_exponent_of_zero():
    """d/dp of p * x ** (p - 1) at p = 0 is 1 / x."""
    x, p = leaf([2.0, 5.0]), leaf([0.0, 0.0])
    slope, = md.grad((x ** p).sum(), x, create_graph=True)
    assert np.allclose(md.grad(slope.sum(), p)[0].data, [0.5, 0.2])


# ---- more methods

@given(reductions())
def test_var_and_std_are_numpys(case):
    values, axis, keepdims = case
    count = values.sum(axis=axis).size and values.size // values.sum(axis=axis).size
    for ddof in (0, 1):
        if count <= ddof:
            with pytest.raises(ValueError, match="ddof must be below the number of entries"):
                Tensor(values).var(axis, keepdims, ddof=ddof)
            continue
        for name in ("var", "std"):
            result = getattr(Tensor(values), name)(axis=axis, keepdims=keepdims, ddof=ddof)
            expected = np.asarray(getattr(values, name)(axis=axis, keepdims=keepdims, ddof=ddof))
            assert result.shape == expected.shape and np.allclose(result.data, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("limits", [(-3, 4), (None, 2), (0.5, None), (None, None), (np.array([[-1.0], [2.0]]), 3), (5, -5)])
def test_clip(limits):
    values = whole((2, 5))
    expected = np.clip(values, *limits) if any(limit is not None for limit in limits) else values
    assert equal(Tensor(values).clip(*limits), expected) and equal(Tensor(values).clip(min=limits[0], max=limits[1]), expected)
    x = leaf([-4.0, 0.0, 4.0])
    x.clip(-1, 1).backward(np.array([1.0, 2.0, 4.0]))
    assert np.array_equal(x.grad, [0, 2, 0])


@pytest.mark.parametrize("shape, axis", [((1, 3, 1), None), ((1, 3, 1), 0), ((1, 3, 1), -1), ((1, 3, 1), (0, 2)), ((2, 3), None), ((), None), ((1,), 0), ((2, 1), ())])
def test_squeeze(shape, axis):
    values = whole(shape)
    assert equal(Tensor(values).squeeze(axis), np.asarray(values.squeeze(axis))) and equal(Tensor(values).squeeze(axis=axis), np.asarray(values.squeeze(axis)))


def test_squeeze_refuses_longer_axes():
    with pytest.raises(ValueError, match=r"axis 1 of shape \(1, 3\) is longer"):
        Tensor(np.ones((1, 3))).squeeze(1)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3,), (), (0, 2)])
def test_flatten(shape):
    assert equal(Tensor(whole(shape)).flatten(), whole(shape).flatten())


@pytest.mark.parametrize("widths", [0, 2, (1, 2), ((1, 2),), ((1, 0), (2, 3)), [[0, 1], [1, 0]], np.array([[1, 1], [0, 2]]), ((1,), (2,))], ids=repr)
@pytest.mark.parametrize("values", [0, 1.5, (1, 2), ((1, 2), (3, 4)), np.nan], ids=repr)
def test_pad_is_numpys(widths, values):
    array = whole((2, 3))
    expected = np.pad(array, widths, constant_values=values)
    assert np.array_equal(md.pad(Tensor(array), widths, constant_values=values).data, expected, equal_nan=True)
    x = leaf(array)
    g = whole(expected.shape)
    md.pad(x, widths, "constant", constant_values=values).backward(g)
    inside = np.pad(np.ones((2, 3)), widths) > 0
    assert np.array_equal(x.grad, g[inside].reshape(2, 3))


def test_pad_by_axis():
    array = whole((2, 3))
    assert equal(md.pad(array, {-1: 2}), np.pad(array, ((0, 0), (2, 2)))) and equal(md.pad(array, {0: (1, 0)}), np.pad(array, ((1, 0), (0, 0))))
    assert md.pad(Tensor(3.0), 1).shape == ()


@pytest.mark.parametrize("settings, error, words", [
    (dict(pad_width=-1), ValueError, "must not be negative"), (dict(pad_width=1.5), TypeError, "must be integers"), (dict(pad_width=(1, 2, 3)), ValueError, "a pair for each of the 2 axes"),
    (dict(pad_width=1, mode="reflect"), ValueError, "mode must be 'constant'"), (dict(pad_width=1, constant_values=(1, 2, 3)), ValueError, "a pair"),
    (dict(pad_width=1, constant_values=Tensor(1.0)), TypeError, "get no gradient"), (dict(pad_width={2: 1}), ValueError, "axis 2 is out of bounds")])
def test_pad_refuses(settings, error, words):
    with pytest.raises(error, match=words):
        md.pad(Tensor(np.ones((2, 2))), **settings)


def test_pad_refuses_a_constant_that_the_dtype_does_not_hold():
    for values in (300, -1):
        with pytest.raises(ValueError, match="do not fit a Tensor of uint8"):
            md.pad(Tensor(np.ones(2, np.uint8)), 1, constant_values=values)


def test_joining_along_none_and_nothing():
    assert equal(md.concatenate([whole((2, 3)), whole((4,))], axis=None), np.concatenate([whole((2, 3)), whole((4,))], axis=None))
    for join in (md.concatenate, md.stack):
        with pytest.raises(ValueError, match="one Tensor at least"):
            join([])
        with pytest.raises(TypeError, match="axis must be one integer"):
            join([np.ones((2, 2))], axis=(0, 1))


@pytest.mark.parametrize("name", ["max", "min"])
def test_the_gradient_of_an_extreme_that_is_not_a_number(name):
    x = leaf([[1.0, np.nan, 2.0], [1.0, 0.0, 2.0]])
    y = getattr(x, name)(axis=1)
    y.backward(np.array([1.0, 1.0]))
    assert np.isnan(y.data[0]) and np.array_equal(x.grad[0], [0, 1, 0]) and x.grad[1].sum() == 1
