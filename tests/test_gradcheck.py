"""The checkers checked: gradients that are wrong on purpose must be caught, and named with their
input, entry and both numbers.
"""
import re

import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import GradcheckError, Tensor
from minideconv import primitives as engine

X = np.array([[0.5, -1.25, 2.0], [1.5, 0.75, -0.25]])
FINDING = re.compile(r"input (\d+) at entry \(([\d, ]*)\) .*the tape says (\S+), central differences say (\S+) "
                     r"\((\d+) of (\d+) entries\)")


@pytest.fixture
def primitive(monkeypatch):
    """The decorator, with a register of its own: the wrong operations of this file are none of the engine's."""
    monkeypatch.setattr(engine, "PRIMITIVES", {})
    return engine.primitive


def finding(error):
    """input, entry, tape, slope, wrong entries, all entries: as the message names them."""
    place, entry, tape, slope, wrong, total = FINDING.search(str(error.value)).groups()
    entry = tuple(int(i) for i in entry.split(",") if i.strip())
    return int(place), entry, float(tape), float(slope), int(wrong), int(total)


# ---- right gradients pass

@pytest.mark.parametrize("check", [md.gradcheck, md.gradgradcheck])
def test_right_gradients_pass(check):
    assert check(lambda x, y: x * y.exp(), X, X[0]) is True
    assert check(lambda x: (x, x ** 2), X) is True
    assert check(lambda x: F.conv2d(x, X.reshape(1, 2, 3, 1)), np.arange(12.0).reshape(1, 2, 2, 3)) is True


@pytest.mark.parametrize("fn, x", [(lambda x: 1e3 * x ** 3, X), (lambda x: (5 * x).exp(), X),
                                   (lambda x: x.sqrt(), np.array([1e-2])), (lambda x: (20 * x).exp(), X / 10),
                                   (lambda x: F.softplus(50 * x), X / 10)])
def test_a_steep_curve_is_no_kink(fn, x):
    assert md.gradcheck(fn, x, rtol=1e-4)
    # The slopes to both sides differ by 0.02, and half of it at half the step.
    assert md.gradcheck(lambda x: 10 * x ** 2, X, eps=1e-3)


def test_only_what_requires_a_gradient_is_checked(primitive):
    @primitive
    def half_right(a, b):
        return a.data * b.data, lambda g: g * b, lambda g: -g * a
    assert md.gradcheck(half_right, Tensor(X, requires_grad=True), Tensor(X + 1))
    with pytest.raises(GradcheckError, match="input 1"):
        md.gradcheck(half_right, X, X + 1)


def test_other_arguments_are_handed_on_and_inputs_left_alone():
    x, labels = Tensor(X.copy(), requires_grad=True), np.array([2, 0])
    received = []

    def fn(x, labels, word):
        received.append((labels, word))
        return F.cross_entropy(x, labels)
    assert md.gradcheck(fn, x, labels, "word")
    assert all(one is labels and word == "word" for one, word in received)
    assert x.grad is None and np.array_equal(x.data, X)
    array = X.copy()
    md.gradgradcheck(lambda x: x * x, array)
    assert np.array_equal(array, X)


def test_a_tensor_that_is_not_used_has_slope_zero():
    assert md.gradcheck(lambda x, y: x * 2, X, X) and md.gradgradcheck(lambda x, y: x * 2, X, X)


# ---- wrong gradients are caught

@pytest.mark.parametrize("factor", [-1, 0, 2, 1.001], ids=["sign", "zero", "factor", "nearly"])
def test_a_wrong_factor_is_named_with_both_numbers(primitive, factor):
    @primitive
    def square(x):
        return x.data ** 2, lambda g: factor * g * 2 * x
    with pytest.raises(GradcheckError) as error:
        md.gradcheck(square, X)
    place, entry, tape, slope, wrong, total = finding(error)
    # The random cotangent, by default from seed 0.
    truth = np.random.default_rng(0).standard_normal(X.shape) * 2 * X
    worst = np.unravel_index(np.argmax(np.abs(truth)), X.shape)
    assert (place, entry, wrong, total) == (0, worst, 6, 6)
    assert np.isclose(tape, factor * truth[worst], rtol=1e-8) and np.isclose(slope, truth[worst], rtol=1e-6)


def test_one_wrong_entry_of_the_second_input_is_named(primitive):
    spoiled = np.zeros(X.shape)
    spoiled[1, 2] = 1

    @primitive
    def plus(a, b):
        return a.data + b.data, lambda g: g, lambda g: g + spoiled
    with pytest.raises(GradcheckError) as error:
        md.gradcheck(plus, X, X)
    place, entry, tape, slope, wrong, total = finding(error)
    assert (place, entry, wrong, total) == (1, (1, 2), 1, 6) and np.isclose(tape - slope, 1)


def test_height_and_width_exchanged_are_caught(primitive):
    """What an all-ones cotangent is blind to: the sum of the output has the same gradient."""
    @primitive
    def flipped(x):
        return 2 * x.data, lambda g: 2 * g.transpose(0, 2, 1, 3)
    image = np.arange(9.0).reshape(1, 3, 3, 1)
    x = Tensor(image, requires_grad=True)
    assert np.array_equal(md.grad(flipped(x).sum(), x)[0].data, np.full(image.shape, 2.0))
    with pytest.raises(GradcheckError, match="is wrong"):
        md.gradcheck(flipped, image)


def test_a_gradient_that_the_tape_lost_is_caught():
    with pytest.raises(GradcheckError, match="the tape says 0,"):
        md.gradcheck(lambda x: Tensor(x.data ** 2), X)
    with pytest.raises(GradcheckError):
        md.gradcheck(lambda x: x * x.detach(), X)


def test_a_wrong_second_output_is_caught(primitive):
    @primitive
    def wrong(x):
        return x.data * 3, lambda g: g
    with pytest.raises(GradcheckError):
        md.gradcheck(lambda x: (x * 2, wrong(x)), X)


def test_not_a_number_is_wrong():
    with np.errstate(invalid="ignore"), pytest.raises(GradcheckError, match="nan"):
        md.gradcheck(lambda x: x.log(), -np.ones(2))


def test_a_wrong_second_order_passes_the_first(primitive):
    @primitive
    def square(x):
        return x.data ** 2, lambda g: g * (2 * x.data)      # right in value, but x is a constant in it
    assert md.gradcheck(square, X)
    with pytest.raises(GradcheckError, match="second order .*input 0 at entry"):
        md.gradgradcheck(square, X)


def test_a_second_order_that_is_wrong_for_the_cotangent_is_caught(primitive):
    @primitive
    def twice(x):
        # Right in value, but the incoming gradient's history is lost.
        return 2 * x.data, lambda g: Tensor(2 * g.data)
    assert md.gradcheck(twice, X)
    with pytest.raises(GradcheckError, match="input 1 at entry"):
        md.gradgradcheck(twice, X)


def test_tolerances_are_the_callers(primitive):
    @primitive
    def nearly(x):
        return x.data ** 2, lambda g: 1.001 * g * 2 * x
    assert md.gradcheck(nearly, X, rtol=1e-2)
    with pytest.raises(GradcheckError):
        md.gradcheck(nearly, X, rtol=1e-4)


def test_the_cotangent_comes_from_the_callers_generator(primitive):
    @primitive
    def wrong(x):
        return x.data * 2, lambda g: g
    tapes = []
    for seed in (1, 1, 2):
        with pytest.raises(GradcheckError) as error:
            md.gradcheck(wrong, X, rng=np.random.default_rng(seed))
        tapes.append(finding(error)[2])
    assert tapes[0] == tapes[1] != tapes[2]


# ---- what cannot be checked is said

@pytest.mark.parametrize("fn, x, entry", [
    (F.relu, np.array([1.0, 0.0, -1.0]), "(1,)"), (lambda x: F.leaky_relu(x, 0.2), np.array([[2.0], [0.0]]), "(1, 0)"),
    (abs, np.array(0.0), "()"), (lambda x: x.max(), np.array([1.0, 3.0, 3.0]), ""),
    (lambda x: md.maximum(x, np.array([1.0, 2.0])), np.array([1.5, 2.0]), "(1,)")])
def test_a_kink_is_called_a_kink(fn, x, entry):
    with pytest.raises(GradcheckError, match="sits on a kink") as error:
        md.gradcheck(fn, x)
    assert f"entry {entry}" in str(error.value)


@pytest.mark.parametrize("check", [md.gradcheck, md.gradgradcheck])
def test_float32_is_refused(check):
    for value in (X.astype(np.float32), Tensor(X.astype(np.float32), requires_grad=True)):
        with pytest.raises(TypeError, match="input 1 is float32"):
            check(lambda x, y: x * y, X, value)


@pytest.mark.parametrize("check", [md.gradcheck, md.gradgradcheck])
def test_without_an_input_to_check_there_is_nothing_to_say(check):
    for inputs in ((), (Tensor(X),), (np.array([1, 2]), 3)):
        with pytest.raises(ValueError, match="no input requires a gradient"):
            check(lambda *inputs: Tensor(X), *inputs)


def test_a_random_function_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(GradcheckError, match="not deterministic"):
        md.gradcheck(lambda x: F.dropout(x, 0.5, rng=rng, training=True), X)


def test_fn_must_give_tensors():
    with pytest.raises(TypeError, match="got ndarray"):
        md.gradcheck(lambda x: x.data, X)
    with pytest.raises(TypeError, match="got float"):
        md.gradcheck(lambda x: (x, 1.0), X)


def test_the_error_is_an_assertion():
    assert issubclass(GradcheckError, AssertionError)


# ---- adjoints

def test_adjoints_pass():
    matrix = np.arange(6.0).reshape(2, 3)
    assert md.adjoint_check(lambda x: matrix @ x, lambda y: matrix.T @ y, (3,), (2,), rtol=0) is True
    assert md.adjoint_check(lambda x: matrix @ x, lambda y: matrix.T @ y, (3,))
    kernel = np.random.default_rng(0).standard_normal((3, 3, 2, 4))             # no integers: rounding is allowed for
    assert md.adjoint_check(lambda x: F.conv2d(x, kernel, stride=2), lambda y: F.conv_transpose2d(y, kernel, stride=2),
                            (2, 7, 7, 2))


@pytest.mark.parametrize("wrong", [lambda y: np.arange(9.0).reshape(3, 3) @ y,
                                   lambda y: -(np.arange(9.0).reshape(3, 3).T @ y), lambda y: y * 0])
def test_what_is_no_adjoint_is_caught_with_both_numbers(wrong):
    matrix = np.arange(9.0).reshape(3, 3)
    rng = np.random.default_rng(0)
    x, y = (rng.integers(-9, 10, 3) for _ in range(2))
    with pytest.raises(GradcheckError) as error:
        md.adjoint_check(lambda x: matrix @ x, wrong, (3,))
    assert f"<forward(x), y> = {matrix @ x @ y:.10g}," in str(error.value)
    assert str(error.value).endswith(f"<x, adjoint(y)> = {x @ wrong(Tensor(y.astype(float))).data:.10g}")


def test_the_inverse_is_not_the_adjoint():
    """What "deconvolution" sounds like, and is not."""
    matrix = np.array([[2.0, 1.0], [0.0, 4.0]])
    with pytest.raises(GradcheckError, match="not adjoint"):
        md.adjoint_check(lambda x: matrix @ x, lambda y: np.linalg.inv(matrix) @ y, (2,))


def test_adjoint_shapes_are_named():
    with pytest.raises(GradcheckError, match=r"forward maps \(3,\) to \(3,\), not to y_shape \(2,\)"):
        md.adjoint_check(lambda x: x, lambda y: y, (3,), (2,))
    with pytest.raises(GradcheckError, match=r"adjoint maps \(3,\) to \(1,\), not to \(3,\)"):
        md.adjoint_check(lambda x: x, lambda y: y[:1], (3,))


def test_rounding_of_a_large_value_is_no_kink():
    assert md.gradcheck(lambda x: x + 1e8, np.ones(3), atol=1e-6)


def test_adjoint_may_be_a_gradient():
    x = Tensor(np.ones((1, 5, 5, 2)), requires_grad=True)
    w = np.random.default_rng(0).integers(-3, 4, (3, 3, 2, 3)).astype(float)
    assert md.adjoint_check(lambda x: F.conv2d(x, w), lambda y: md.grad(F.conv2d(x, w), x, gradient=y)[0], (1, 5, 5, 2))


# ---- fault 18: a kink anywhere nearer than eps


@pytest.mark.parametrize(
    "x", [0.0, 1e-8, 1.1e-7, 1.25e-7, 2e-7, -2e-7, 1 / 3 * 1e-6, 4e-7, 5e-7, -6.7e-7, 8e-7, 9.5e-7, 9.99e-7]
)
@pytest.mark.parametrize(
    "fn",
    [
        abs,
        F.relu,
        lambda x: F.leaky_relu(x, 0.2),
        lambda x: 30 * abs(x) + x**2,
        lambda x: (-abs(x)).exp(),
        lambda x: md.maximum(2 * x, x),
    ],
    ids=["abs", "relu", "leaky_relu", "steep", "on a curve", "maximum"],
)
def test_fault_18_a_kink_near_the_point_is_no_wrong_gradient(fn, x):
    with pytest.raises(GradcheckError, match=r"entry \(1,\) sits on a kink"):
        md.gradcheck(fn, np.array([1.5, x, -0.75]))


@pytest.mark.parametrize("x", [1.01e-6, -1.5e-6, 1e-5])
def test_fault_18_a_kink_farther_away_does_not_matter(x):
    assert md.gradcheck(abs, np.array([x])) and md.gradcheck(F.relu, np.array([x]))


def test_fault_18_a_wrong_gradient_stays_wrong(primitive):
    @primitive
    def bent(x):
        return x.array**3 + np.abs(x.array), lambda g: 1.01 * g * (3 * x * x + np.sign(x.array))

    for x in (0.5, 2e-6, 300.0):
        with pytest.raises(GradcheckError, match="is wrong"):
            md.gradcheck(bent, np.array([x]))


@pytest.mark.parametrize(
    "fn, x",
    [
        (lambda x: (30 * x).exp(), 0.5),
        (lambda x: x.log(), 1e-3),
        (lambda x: 1 / x, 1e-2),
        (lambda x: 1e5 * x**4, 2.0),
        (lambda x: (x**2 + 1e-6) ** 0.5, 1e-4),
    ],
    ids=str,
)
def test_fault_18_curves_are_no_kinks(fn, x):
    assert md.gradcheck(fn, np.array([x]), rtol=1e-4)


def test_fault_14_checks_take_another_byte_order():
    x = np.array([0.5, -1.25]).astype(">f8" if np.little_endian else "<f8")
    assert md.gradcheck(lambda x: x**2, x) and md.gradgradcheck(lambda x: x**2, x)
    with pytest.raises(TypeError, match="float32"):
        md.gradcheck(lambda x: x**2, x.astype(">f4"))


@pytest.mark.parametrize("fn", [lambda t: (3 * t).exp(), lambda t: t ** 5, lambda t: F.sigmoid(9 * t)])
def test_fault_18_a_wrong_gradient_on_a_curve_is_wrong(fn):
    """However bent the curve is."""
    def lying(t):
        y = fn(t)
        return y + 0.01 * (t.detach() - t)          # the value is fn's, the gradient is not
    assert md.gradcheck(fn, np.array([0.7, -1.3]))
    with pytest.raises(md.GradcheckError, match="is wrong"):
        md.gradcheck(lying, np.array([0.7, -1.3]))
