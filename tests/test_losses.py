"""Losses against their formulas in Python floats: values, gradients, extreme logits, reductions,
and what is refused.
"""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minideconv as md
import minideconv.functional as F


def mse(x, t):
    return (x - t) ** 2


def l1(x, t):
    return abs(x - t)


def bce(x, t):
    return -(t * math.log(x) + (1 - t) * math.log(1 - x))


def bce_with_logits(x, t):
    return bce(1 / (1 + math.exp(-x)), t)


# name: (function, formula for one entry, its slope, range of inputs, range of targets)
ELEMENTWISE = {
    "mse_loss": (F.mse_loss, mse, lambda x, t: 2 * (x - t), (-3, 3), (-3, 3)),
    "l1_loss": (F.l1_loss, l1, lambda x, t: math.copysign(1, x - t), (-3, 3), (-3, 3)),
    "binary_cross_entropy": (F.binary_cross_entropy, bce, lambda x, t: (x - t) / (x * (1 - x)), (0.01, 0.99), (0, 1)),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        bce_with_logits,
        lambda x, t: 1 / (1 + math.exp(-x)) - t,
        (-6, 6),
        (0, 1),
    ),
}


def drawn(name, shape, seed):
    _, formula, slope, inputs, targets = ELEMENTWISE[name]
    rng = np.random.default_rng(seed)
    x, t = rng.uniform(*inputs, shape), rng.uniform(*targets, shape)
    values = np.array([formula(a, b) for a, b in zip(x.flat, t.flat)]).reshape(shape)
    slopes = np.array([slope(a, b) for a, b in zip(x.flat, t.flat)]).reshape(shape)
    return x, t, values, slopes


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(shape=st.lists(st.integers(1, 4), max_size=3), seed=st.integers(0, 2**16))
def test_values_gradients_and_reductions(name, shape, seed):
    loss = ELEMENTWISE[name][0]
    x, t, values, slopes = drawn(name, tuple(shape), seed)
    assert np.allclose(loss(x, t, reduction="none").data, values, rtol=1e-12)
    assert np.isclose(loss(x, t, reduction="sum").item(), values.sum(), rtol=1e-12)
    assert np.isclose(loss(x, t).item(), values.mean(), rtol=1e-12)
    for reduction, share in (("mean", 1 / x.size), ("sum", 1)):
        tensor = md.Tensor(x, requires_grad=True)
        loss(tensor, t, reduction=reduction).backward()
        assert np.allclose(tensor.grad, slopes * share, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_fault_10_targets_get_gradients(name, reduction):
    loss = functools.partial(ELEMENTWISE[name][0], reduction=reduction)
    x, t, _, _ = drawn(name, (2, 3), 1)
    for checked in (lambda x: loss(x, t), lambda t: loss(x, t), loss):
        inputs = (x, t) if checked is loss else (x,) if checked.__code__.co_varnames == ("x",) else (t,)
        assert md.gradcheck(checked, *inputs) and md.gradgradcheck(checked, *inputs)
    target = md.Tensor(t, requires_grad=True)
    loss(md.Tensor(x), target).sum().backward()  # alone, without an input that requires one
    assert target.grad is not None


def test_fault_10_soft_targets_of_cross_entropy_get_gradients():
    rng = np.random.default_rng(0)
    logits, p = rng.standard_normal((4, 3)), rng.dirichlet(np.ones(3), 4)
    assert md.gradcheck(F.cross_entropy, logits, p) and md.gradgradcheck(F.cross_entropy, logits, p)
    target = md.Tensor(p, requires_grad=True)
    F.cross_entropy(logits, target, reduction="sum").backward()
    assert np.allclose(target.grad, [[-v + math.log(sum(map(math.exp, row))) for v in row] for row in logits])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_fault_10_a_target_of_another_dtype_gets_a_gradient_of_its_own(name):
    loss = ELEMENTWISE[name][0]
    x, t, _, _ = drawn(name, (2, 3), 1)
    target = md.Tensor(t, requires_grad=True)
    result = loss(md.Tensor(x.astype(np.float32)), target)
    result.backward()
    assert result.dtype == np.float32 and target.grad.dtype == np.float64


def test_fault_10_the_target_of_a_distillation_step():
    """A target that is a prediction itself: both sides of the tape."""
    a, b = (md.Tensor(np.array(values), requires_grad=True) for values in ([1.0, 2.0], [0.5, 4.0]))
    F.mse_loss(a * 2, b * 3, reduction="sum").backward()
    assert np.array_equal(a.grad, [2.0, -32.0]) and np.array_equal(b.grad, [-3.0, 48.0])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_target_array_is_copied(name):
    loss = ELEMENTWISE[name][0]
    x, t, _, slopes = drawn(name, (2, 3), 1)
    tensor = md.Tensor(x, requires_grad=True)
    result = loss(tensor, t, reduction="sum")
    t[...] = 0.25
    result.backward()
    assert np.allclose(tensor.grad, slopes, rtol=1e-9)


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_targets_beside_sure_probabilities(at):
    """Where the logarithms are cut off, the slope for the target is theirs: 100."""
    t = md.Tensor(np.array([0.25]), requires_grad=True)
    F.binary_cross_entropy(np.array([at]), t).backward()
    assert t.grad == (100 if at == 0 else -100)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64])
def test_fault_02_losses_of_integers_are_fractions(dtype):
    wide = np.float64 if dtype is np.int64 else np.float32
    x, t = np.array([[1, 0, 1], [0, 0, 1]], dtype), np.array([[0, 1, 1], [1, 0, 0]], dtype)
    for name in ("mse_loss", "l1_loss", "binary_cross_entropy_with_logits", "binary_cross_entropy"):
        for one in (x, md.Tensor(x)):
            for other in (t, md.Tensor(t), t.astype(float), t.tolist()):
                result, expected = getattr(F, name)(one, other), getattr(F, name)(x.astype(float), t.astype(float))
                assert result.dtype == wide and np.isclose(result.item(), expected.item(), rtol=1e-5)
    assert np.isclose(F.mse_loss(np.array([2, 0]), np.array([0.5, 0.7])).item(), 1.37)
    onehot = np.array([[True, False, False], [False, False, True]]).astype(dtype)
    result = F.cross_entropy(md.Tensor(x), onehot)
    assert result.dtype == wide and np.isclose(
        result.item(), F.cross_entropy(x.astype(float), [0, 2]).item(), rtol=1e-6
    )


def softmax_entropy(logits, probabilities):
    """-sum p log softmax, entry by entry."""
    total = sum(math.exp(v) for v in logits)
    return -sum(p * (v - math.log(total)) for p, v in zip(probabilities, logits))


@given(count=st.integers(1, 4), classes=st.integers(1, 5), seed=st.integers(0, 2**16), hard=st.booleans())
def test_cross_entropy(count, classes, seed, hard):
    rng = np.random.default_rng(seed)
    logits, labels = rng.uniform(-4, 4, (count, classes)), rng.integers(0, classes, count)
    p = np.eye(classes)[labels] if hard else rng.dirichlet(np.ones(classes), count)
    values = np.array([softmax_entropy(*row) for row in zip(logits, p)])
    target = labels if hard else p
    assert np.allclose(F.cross_entropy(logits, target, reduction="none").data, values, rtol=1e-12, atol=1e-14)
    assert np.isclose(F.cross_entropy(logits, target, reduction="sum").item(), values.sum(), rtol=1e-12, atol=1e-14)
    assert np.isclose(F.cross_entropy(logits, target).item(), values.mean(), rtol=1e-12, atol=1e-14)
    tensor = md.Tensor(logits, requires_grad=True)
    F.cross_entropy(tensor, target).backward()
    softmax = np.array([[math.exp(v) / sum(map(math.exp, row)) for v in row] for row in logits])
    assert np.allclose(tensor.grad, (softmax - p) / count, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_that_overflow_exp(dtype):
    x = md.Tensor(np.array([1e4, -1e4, 1e4, -1e4], dtype), requires_grad=True)
    t = np.array([1, 0, 0, 1], dtype)
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    assert loss.data.tolist() == [0, 0, 1e4, 1e4] and loss.dtype == dtype
    loss.sum().backward()
    assert x.grad.tolist() == [0, 0, 1, -1]
    logits = md.Tensor(np.array([[1e4, 0, -1e4]], dtype), requires_grad=True)
    assert F.cross_entropy(logits, [0]).item() == 0 and F.cross_entropy(logits, [2]).item() == 2e4
    F.cross_entropy(logits, [1]).backward()
    assert logits.grad.tolist() == [[1, -1, 0]]


@pytest.mark.parametrize("x, t", [(-20, 0), (20, 1)])
def test_small_losses_of_sure_logits_keep_their_digits(x, t):
    loss = F.binary_cross_entropy_with_logits(np.float32([x]), np.float32([t])).item()
    assert math.isclose(loss, math.log1p(math.exp(-20)), rel_tol=1e-5)


def test_probabilities_of_exactly_0_and_1():
    """Logarithms are cut off at -100, the slope's denominator at 1e-12."""
    x = md.Tensor(np.array([0.0, 1.0, 0.0, 1.0]), requires_grad=True)
    loss = F.binary_cross_entropy(x, np.array([0.0, 1.0, 1.0, 0.0]), reduction="none")
    assert loss.data.tolist() == [0, 0, 100, 100]
    loss.sum().backward()
    assert np.allclose(x.grad, [0, 0, -1e12, 1e12])


def test_at_chance_the_gan_losses_add_up_to_two_log_two():
    zeros = np.zeros((8, 1), np.float32)
    total = (
        F.binary_cross_entropy_with_logits(zeros, zeros + 1).item()
        + F.binary_cross_entropy_with_logits(zeros, zeros).item()
    )
    assert math.isclose(total, 2 * math.log(2), rel_tol=1e-6)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_integer_and_wider_targets_keep_the_inputs_dtype(name):
    loss, x = ELEMENTWISE[name][0], np.full((2, 2), 0.5, np.float32)
    for target in (
        np.ones((2, 2), int),
        np.ones((2, 2)),
        np.ones((2, 2), bool),
        [[1, 1], [1, 1]],
        md.Tensor(np.ones((2, 2), np.float32)),
    ):
        assert loss(x, target).dtype == np.float32
        assert loss(x, target).item() == loss(x, np.ones((2, 2), np.float32)).item()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_shapes_that_would_broadcast_are_refused(name):
    loss = ELEMENTWISE[name][0]
    for x, t in (
        (np.ones((4, 1)), np.ones(4)),
        (np.ones(4), np.ones((4, 1))),
        (np.ones((4, 1)), np.ones((1, 4))),
        (np.ones(3), np.ones(())),
    ):
        with pytest.raises(ValueError, match="target must have the input's shape") as caught:
            loss(x, t)
        assert str(x.shape) in str(caught.value) and str(t.shape) in str(caught.value)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "cross_entropy"])
def test_reduction_names_its_choices(name):
    target = np.zeros(2, int) if name == "cross_entropy" else np.ones((2, 2))
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none'; got 'average'"):
        getattr(F, name)(np.full((2, 2), 0.5), target, reduction="average")


X = np.zeros((4, 3), np.float32)
REFUSED = {
    "a target above 1": (
        lambda: F.binary_cross_entropy_with_logits(X, X + 2),
        ValueError,
        r"target must lie in \[0, 1\]; got 2",
    ),
    "a target that is NaN": (
        lambda: F.binary_cross_entropy_with_logits(X, X + np.nan),
        ValueError,
        "target must lie in",
    ),
    "a negative target": (lambda: F.binary_cross_entropy(X, X - 0.5), ValueError, "target must lie in"),
    "logits for probabilities": (
        lambda: F.binary_cross_entropy(X + 3, X),
        ValueError,
        "input must lie in .*with_logits",
    ),
    "a label too large": (
        lambda: F.cross_entropy(X, [0, 1, 2, 3]),
        ValueError,
        r"labels must lie in \[0, 3\); got 0 to 3",
    ),
    "a negative label": (lambda: F.cross_entropy(X, np.array([0, -1, 2, 0])), ValueError, r"got -1 to 2"),
    "labels in a column": (
        lambda: F.cross_entropy(X, np.zeros((4, 1), int)),
        ValueError,
        r"target must be labels \(4,\)",
    ),
    "fractional labels": (lambda: F.cross_entropy(X, np.zeros(4)), TypeError, "labels must be integers; got float64"),
    "logits of one axis": (
        lambda: F.cross_entropy(X[0], np.zeros(3, int)),
        ValueError,
        r"logits \(N, K\); got shape \(3,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()
