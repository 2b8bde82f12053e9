"""Changes of shape, indexing, joining and padding give what NumPy gives, and each gradient is the transpose."""

from array import array as packed

import numpy as np
import pytest
from exact import arrays, broadcasting, equal, leaf, whole
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minideconv as md
from minideconv import Tensor, ops


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


# ---- indexing


def check_index(array, index):
    """x[index] is NumPy's; its gradient adds every weight to the entry it was taken from."""
    x, taken = leaf(array), np.asarray(array[index])
    y = x[index]
    assert equal(y, taken)
    places = np.asarray(np.arange(array.size).reshape(array.shape)[index])  # which entry each result was
    g = whole(taken.shape)
    expected = np.zeros(array.size)
    for place, weight in zip(places.ravel(), g.ravel(), strict=True):
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


@pytest.mark.parametrize(
    "index",
    [
        [0, 0, 2],
        ([0, 0], [1, 1]),
        (slice(None), [1, 1, 0]),
        (np.array([[0, 1], [1, 0]]), Ellipsis, 2),
        (0, np.array([1, 1]), slice(None, None, -1)),
        (np.array([True, False, True]), 1),
        (Ellipsis, [-1, -1]),
        (None, [0, 0]),
        np.int64(1),
        (slice(2, 0, -1), 0),
        True,
        (),
        Ellipsis,
    ],
    ids=repr,
)
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


@pytest.mark.parametrize(
    "index",
    [
        [0, 0, 1],
        (0, 0, 1),
        np.array([0, 0, 1]),
        packed("i", [0, 0, 1]),
        packed("q", [0, 0, 1]),
        Exposed(0, 0, 1),
        memoryview(np.array([0, 0, 1])),
        Tensor(np.array([0, 0, 1])),
        [np.int64(0), np.array(0), 1],
        [Tensor(np.array(0)), 0, 1],
        np.array([0, 0, 1], ">i2"),
        np.array([0, 0, 1], np.uint8),
    ],
    ids=lambda index: type(index).__name__,
)
def test_fault_04_every_kind_of_index_with_repeats(index):
    for rows in (
        (index, (index, slice(None)), (index, 1), (Ellipsis, index, None, 0))
        if not isinstance(index, tuple)
        else ((index, slice(None)),)
    ):
        x = leaf(whole((4, 3)))
        y = x[rows]
        g = whole(y.shape)
        y.backward(g)
        plain = (
            tuple(np.array([0, 0, 1]) if part is index else part for part in rows)
            if isinstance(rows, tuple)
            else np.array([0, 0, 1])
        )
        expected = np.zeros((4, 3))
        np.add.at(expected, plain, g)
        assert np.array_equal(y.data, x.data[plain]) and np.array_equal(x.grad, expected)


def test_fault_04_ranges_and_numbers():
    check_index(whole((4, 3)), range(2))
    x = leaf(whole((4, 3)))
    x[Whole()].backward(np.ones(3))
    assert np.array_equal(x.grad.sum(axis=1), [0, 3, 0, 0])
    assert Tensor(np.ones((2, 3)))[[]].shape == (0, 3) and Tensor(np.ones((2, 3)))[:, []].shape == (2, 0)


@pytest.mark.parametrize(
    "index",
    [
        [0, 0, 1],
        np.array([0, 0, 1]),
        packed("i", [0, 0, 1]),
        Exposed(0, 0, 1),
        Tensor(np.array([0, 0, 1])),
        [True, False, True, True],
    ],
)
def test_fault_04_an_index_that_is_used_again_for_something_else(index):
    x = leaf(whole((4, 3)))
    y = (x[index] * 1).sum() + (x[index, 1] * 1).sum()
    expected = 4 * np.bincount([0, 0, 1] if len(getattr(index, "rows", index)) == 3 else [0, 2, 3], minlength=4)
    held = index.rows if isinstance(index, Exposed) else index.data if isinstance(index, Tensor) else index
    for place in range(len(held)):
        held[place] = 3
    y.backward()
    assert np.array_equal(x.grad.sum(axis=1), expected)


@pytest.mark.parametrize(
    "index, error",
    [
        ("a", TypeError),
        (1.0, IndexError),
        ([0.5], IndexError),
        (np.array([1.0]), IndexError),
        ([[0], [0, 1]], ValueError),
    ],
)
def test_what_is_no_index_is_refused(index, error):
    with pytest.raises(error):
        Tensor(np.ones((2, 2)))[index]


# ---- padding and more


@pytest.mark.parametrize(
    "shape, axis",
    [
        ((1, 3, 1), None),
        ((1, 3, 1), 0),
        ((1, 3, 1), -1),
        ((1, 3, 1), (0, 2)),
        ((2, 3), None),
        ((), None),
        ((1,), 0),
        ((2, 1), ()),
    ],
)
def test_squeeze(shape, axis):
    values = whole(shape)
    assert equal(Tensor(values).squeeze(axis), np.asarray(values.squeeze(axis))) and equal(
        Tensor(values).squeeze(axis=axis), np.asarray(values.squeeze(axis))
    )


def test_squeeze_refuses_longer_axes():
    with pytest.raises(ValueError, match=r"axis 1 of shape \(1, 3\) is longer"):
        Tensor(np.ones((1, 3))).squeeze(1)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3,), (), (0, 2)])
def test_flatten(shape):
    assert equal(Tensor(whole(shape)).flatten(), whole(shape).flatten())


@pytest.mark.parametrize(
    "widths",
    [0, 2, (1, 2), ((1, 2),), ((1, 0), (2, 3)), [[0, 1], [1, 0]], np.array([[1, 1], [0, 2]]), ((1,), (2,))],
    ids=repr,
)
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
    assert equal(md.pad(array, {-1: 2}), np.pad(array, ((0, 0), (2, 2)))) and equal(
        md.pad(array, {0: (1, 0)}), np.pad(array, ((1, 0), (0, 0)))
    )
    assert md.pad(Tensor(3.0), 1).shape == ()


@pytest.mark.parametrize(
    "settings, error, words",
    [
        (dict(pad_width=-1), ValueError, "must not be negative"),
        (dict(pad_width=1.5), TypeError, "must be integers"),
        (dict(pad_width=(1, 2, 3)), ValueError, "a pair for each of the 2 axes"),
        (dict(pad_width=1, mode="reflect"), ValueError, "mode must be 'constant'"),
        (dict(pad_width=1, constant_values=(1, 2, 3)), ValueError, "a pair"),
        (dict(pad_width=1, constant_values=Tensor(1.0)), TypeError, "get no gradient"),
        (dict(pad_width={2: 1}), ValueError, "axis 2 is out of bounds"),
    ],
)
def test_pad_refuses(settings, error, words):
    with pytest.raises(error, match=words):
        md.pad(Tensor(np.ones((2, 2))), **settings)


def test_pad_refuses_a_constant_that_the_dtype_does_not_hold():
    for values in (300, -1):
        with pytest.raises(ValueError, match="do not fit a Tensor of uint8"):
            md.pad(Tensor(np.ones(2, np.uint8)), 1, constant_values=values)


def test_joining_along_none_and_nothing():
    assert equal(
        md.concatenate([whole((2, 3)), whole((4,))], axis=None), np.concatenate([whole((2, 3)), whole((4,))], axis=None)
    )
    for join in (md.concatenate, md.stack):
        with pytest.raises(ValueError, match="one Tensor at least"):
            join([])
        with pytest.raises(TypeError, match="axis must be one integer"):
            join([np.ones((2, 2))], axis=(0, 1))


def test_fault_04_gradients_of_both_orders():
    x, index = np.random.default_rng(0).standard_normal((4, 3)), ([0, 0, 2], [1, 1, 0])
    assert md.gradcheck(lambda t: t[index] ** 2, x) and md.gradgradcheck(lambda t: t[index] ** 3, x)
