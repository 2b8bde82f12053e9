"""Arithmetic and products give what NumPy gives, and say what is wrong where they cannot.

Most data are small integers held in float64, see exact.py.
"""

import numpy as np
import pytest
from exact import broadcasting, equal, integers, leaf, transpose_of, whole
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minideconv as md
import minideconv.functional as F
from minideconv import Tensor, ops

# ---- arithmetic


@given(broadcasting())
def test_arithmetic_broadcasts_as_numpy_does(pair):
    a, b = pair
    nonzero = b + 0.5
    assert equal(Tensor(a) + Tensor(b), np.asarray(a + b)) and equal(Tensor(a) - Tensor(b), np.asarray(a - b))
    assert equal(Tensor(a) * Tensor(b), np.asarray(a * b)) and equal(
        Tensor(a) / Tensor(nonzero), np.asarray(a / nonzero)
    )
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
        for index in np.ndindex(every_copy.shape):  # each copy back to the entry that it came from
            own = index[len(index) - tensor.ndim :]
            expected[tuple(i if n > 1 else 0 for i, n in zip(own, tensor.shape, strict=True))] += every_copy[index]
        assert np.array_equal(tensor.grad, expected)


@pytest.mark.parametrize(
    "other", [3, 3.0, np.float64(3), np.int64(3), np.array([3.0, 4.0]), np.array([3, 4]), [3.0, 4.0]], ids=repr
)
def test_operators_take_numbers_and_arrays_on_either_side(other):
    a = np.array([[1.0, 2.0], [5.0, 7.0]])
    x = Tensor(a)
    for mine, expected in (
        (x + other, a + other),
        (other + x, other + a),
        (x - other, a - other),
        (other - x, other - a),
        (x * other, a * other),
        (other * x, other * a),
        (x / other, a / other),
        (other / x, other / a),
        (x**other, a**other),
        (other**x, other**a),
    ):
        assert isinstance(mine, Tensor) and equal(mine, expected)


def test_an_operator_in_place_leaves_the_old_array_alone():
    array = np.ones(3)
    x = Tensor(array)
    x += 1
    assert np.array_equal(array, np.ones(3)) and np.array_equal(x.data, np.full(3, 2.0))


@pytest.mark.parametrize(
    "name, expected",
    [
        ("exp", np.exp),
        ("log", np.log),
        ("sqrt", np.sqrt),
        ("abs", np.abs),
        ("__neg__", np.negative),
        ("__abs__", np.abs),
    ],
)
def test_functions_of_each_entry(name, expected):
    array = np.arange(1.0, 9.0).reshape(2, 4) * (-1 if "abs" in name else 1)
    assert equal(getattr(Tensor(array), name)(), expected(array))


def test_power_is_flat_where_the_exponent_is_zero():
    x = leaf([-2.0, 0.0, 3.0])
    (x ** np.array([2.0, 0.0, 0.0])).sum().backward()
    assert np.array_equal(x.grad, [-4.0, 0.0, 0.0])
    x = leaf([0.0, 3.0])
    (slope,) = md.grad((x**2).sum(), x, create_graph=True)
    (curvature,) = md.grad(slope.sum(), x)
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


def test_astype():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    y = x.astype(np.float64)
    assert y.dtype == np.float64 and x.astype("float64").dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32


# ---- products


@st.composite
def factors(draw):
    """Two arrays that np.matmul takes, 1-D ones and broadcast leading axes among them."""
    drawn = draw(hnp.mutually_broadcastable_shapes(signature="(m?,k),(k,n?)->(m?,n?)", max_dims=2, max_side=4))
    return [draw(hnp.arrays(np.float64, shape, elements=integers)) for shape in drawn.input_shapes]


@given(factors())
def test_matmul_has_numpys_rules(pair):
    a, b = pair
    assert (
        equal(Tensor(a) @ Tensor(b), np.asarray(a @ b))
        and equal(a @ Tensor(b), np.asarray(a @ b))
        and equal(Tensor(a) @ b, np.asarray(a @ b))
    )


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


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (0, 3), (2, 0, 3)])
def test_linear_is_a_product_and_a_bias(shape):
    x, weight, bias = whole(shape), whole((3, 5), 1), whole(5, 2)
    assert equal(F.linear(x, weight), x @ weight)
    assert equal(F.linear(Tensor(x), leaf(weight), leaf(bias)), x @ weight + bias)


@pytest.mark.parametrize("shapes, words", [
    (((2, 4), (3, 5)), r"x must have 3 features on its last axis; got shape \(2, 4\)"),
    (((), (3, 5)), r"x must have 3 features on its last axis; got shape \(\)"),
    (((2, 3), (3,)), r"weight must be \(in, out\), 2 axes; got shape \(3,\)"),
    (((2, 3), (3, 5), (1, 5)), r"bias must have one entry per output, shape \(5,\); got \(1, 5\)"),
])
def test_linear_names_what_does_not_fit(shapes, words):
    with pytest.raises(ValueError, match=words):
        F.linear(*map(np.ones, shapes))


# ---- linear maps and their transposes, exactly


@pytest.mark.parametrize(
    "linear, shape",
    [
        (lambda x: -x, (2, 3)),
        (lambda x: x * 3 - x, (4,)),
        (lambda x: x.sum(axis=(0, 2), keepdims=True), (2, 3, 2)),
        (lambda x: x.reshape(3, -1), (2, 3)),
        (lambda x: x.transpose(1, 2, 0), (2, 3, 4)),
        (lambda x: ops.broadcast_to(x, (2, 3, 4)), (3, 1)),
        (lambda x: x[[0, 0, 1], ::-1], (2, 3)),
        (lambda x: md.concatenate([x, x[:1], x]), (2, 3)),
        (lambda x: md.stack([x, 2 * x], axis=1), (2, 3)),
        (lambda x: x @ whole((3, 2)), (4, 3)),
        (lambda x: whole((5, 4)) @ x, (4, 3)),
        (lambda x: md.where(whole((2, 3)) > 0, x, 2 * x), (2, 3)),
    ],
)
def test_a_linear_operation_and_its_vjp_are_adjoint(linear, shape):
    assert md.adjoint_check(linear, transpose_of(linear, shape), shape, rtol=0)


# ---- fault 12: powers of zero


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fault_12_powers_of_zero(dtype):
    x, p = (
        Tensor(np.array(values, dtype), requires_grad=True) for values in ([0, 0, 0, 0, 2, 2], [2, 1, 0.5, 3, 0, 3])
    )
    y = x**p
    y.backward(np.ones(6, dtype), inputs=[p])  # the slope for x is infinite where p is 0.5
    assert np.array_equal(y.data, [0, 0, 0, 0, 1, 8]) and np.allclose(p.grad, [0, 0, 0, 0, np.log(2), 8 * np.log(2)])
    x.grad = None
    kept = [0, 1, 3, 4, 5]
    (x[kept] ** p[kept]).backward(np.ones(5, dtype))
    assert np.array_equal(x.grad, [0, 1, 0, 0, 0, 12]) and x.grad.dtype == p.grad.dtype == dtype


def test_fault_12_zero_to_the_power_of_zero():
    x, p = leaf([0.0, 0.0]), leaf([0.0, 2.0])
    slopes = md.grad((x**p).sum(), (x, p), create_graph=True)
    assert np.array_equal(slopes[0].data, [0, 0]) and np.array_equal(slopes[1].data, [0, 0])
    assert np.isfinite(md.grad(slopes[0].sum(), x)[0].data).all()


def test_fault_12_the_mixed_second_derivative_at_an_exponent_of_zero():
    """d/dp of p * x ** (p - 1) at p = 0 is 1 / x."""
    x, p = leaf([2.0, 5.0]), leaf([0.0, 0.0])
    (slope,) = md.grad((x**p).sum(), x, create_graph=True)
    assert np.allclose(md.grad(slope.sum(), p)[0].data, [0.5, 0.2])


@pytest.mark.parametrize(
    "limits", [(-3, 4), (None, 2), (0.5, None), (None, None), (np.array([[-1.0], [2.0]]), 3), (5, -5)]
)
def test_clip(limits):
    values = whole((2, 5))
    expected = np.clip(values, *limits) if any(limit is not None for limit in limits) else values
    assert equal(Tensor(values).clip(*limits), expected) and equal(
        Tensor(values).clip(min=limits[0], max=limits[1]), expected
    )
    x = leaf([-4.0, 0.0, 4.0])
    x.clip(-1, 1).backward(np.array([1.0, 2.0, 4.0]))
    assert np.array_equal(x.grad, [0, 2, 0])
