"""Small integers held in float64: sums and products of them are exact, so that results can be compared with `==`."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minideconv as md
from minideconv import Tensor
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
        with enable_grad():  # adjoint_check itself records nothing
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
