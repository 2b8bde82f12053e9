"""Sums, means, variances and extremes over axes, with their gradients."""

import numpy as np
import pytest
from exact import arrays, equal, leaf, transpose_of
from hypothesis import given
from hypothesis import strategies as st

import minideconv as md
from minideconv import Tensor


@st.composite
def reductions(draw):
    """An array, some of its axes under a mix of signs (or None), and keepdims."""
    array = draw(arrays)
    axes = draw(
        st.none()
        | st.integers(-array.ndim, array.ndim - 1)
        | st.lists(st.integers(0, array.ndim - 1), unique=True).map(tuple)
    )
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
    for axis, error, words in (
        (2, ValueError, "axis 2 is out of bounds for a Tensor of 2 axes"),
        (-3, ValueError, "axis -3"),
        ((0, -2), ValueError, "twice"),
        (1.0, TypeError, "1.0"),
        ("0", TypeError, "'0'"),
    ):
        with pytest.raises(error, match=words):
            reduce(axis=axis)


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


@pytest.mark.parametrize("name", ["max", "min"])
def test_the_gradient_of_an_extreme_that_is_not_a_number(name):
    x = leaf([[1.0, np.nan, 2.0], [1.0, 0.0, 2.0]])
    y = getattr(x, name)(axis=1)
    y.backward(np.array([1.0, 1.0]))
    assert np.isnan(y.data[0]) and np.array_equal(x.grad[0], [0, 1, 0]) and x.grad[1].sum() == 1
