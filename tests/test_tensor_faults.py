"""Tensors beside NumPy: indexing, comparisons, numbers, and NumPy's own functions (faults 4, 8, 12, 17, 18)."""
import array

import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import ops
from minideconv.switches import enable_grad, observe


class Places:
    """Something that NumPy can turn into an array, and nothing else."""

    def __array__(self, dtype=None, copy=None):
        return np.array([0, 0, 1])


@pytest.mark.parametrize("index",
                         [[0, 0, 1], (np.array([0, 0, 1]),), array.array("i", [0, 0, 1]), Places(),
                          md.Tensor(np.array([0, 0, 1])),
                                   ([0, 0, 1], slice(None)), (array.array("i", [0, 0, 1]), 0)])
def test_fault_04_an_entry_that_is_named_twice_gets_both_gradients(index):
    x = md.Tensor(np.arange(8.0).reshape(4, 2), requires_grad=True)
    x[index].sum().backward()
    assert x.grad[:, 0].tolist() == [2, 1, 0, 0]


def test_fault_04_an_index_that_is_used_again_does_not_change_the_past():
    x = md.Tensor(np.arange(4.0), requires_grad=True)
    for index in ([0, 0, 1], np.array([0, 0, 1])):
        y = x[index]
        index[0] = index[1] = index[2] = 3
        x.grad = None
        y.sum().backward()
        assert x.grad.tolist() == [2, 1, 0, 0]


def test_fault_04_gradients_of_both_orders():
    x, index = np.random.default_rng(0).standard_normal((4, 3)), ([0, 0, 2], [1, 1, 0])
    assert md.gradcheck(lambda t: t[index] ** 2, x) and md.gradgradcheck(lambda t: t[index] ** 3, x)


def test_fault_08_comparisons_are_entry_by_entry():
    t, a = md.Tensor(np.array([1, 2, 3])), np.array([1, 2, 4])
    for other in (a, md.Tensor(a), a.tolist()):
        assert (t == other).tolist() == [True, True, False] and (t != other).tolist() == [False, False, True]
        assert (t < other).tolist() == [False, False, True] and (t >= other).tolist() == [True, True, False]
    assert np.mean(t == a) == 2 / 3 and np.mean(a == t) == 2 / 3
    assert type(t == a) is np.ndarray and (t == np.array([[1], [2]])).shape == (2, 3)
    assert len({t, t, md.Tensor(np.array([1, 2, 3]))}) == 2


@pytest.mark.parametrize("call", [bool, float, int])
def test_fault_08_a_tensor_of_one_entry_is_its_number(call):
    assert call(md.Tensor([0.0])) == call(0.0) and call(md.Tensor(np.array(1.5))) == call(1.5)
    for shape in ((2,), (0,), (2, 1)):
        with pytest.raises(ValueError, match=str(shape)[1:-1]):
            call(md.Tensor(np.ones(shape)))


def test_fault_08_nothing_to_iterate_over_is_an_error():
    with pytest.raises(TypeError, match="no axes"):
        list(md.Tensor(np.array(1.0)))
    assert [float(t) for t in md.Tensor(np.array([1.0, 2.0]))] == [1.0, 2.0]


@pytest.mark.parametrize("kind", [md.no_grad, enable_grad])
def test_fault_12_a_context_may_be_entered_again(kind):
    x, context = md.Tensor(np.ones(2), requires_grad=True), kind()
    with context:
        with context:
            pass
    assert (x * 2).requires_grad
    with md.no_grad():
        with context:
            with context:
                pass
        assert not (x * 2).requires_grad


def test_fault_12_an_observer_may_be_entered_again():
    seen, x = [], md.Tensor(np.ones(2))
    context = observe(lambda name, direction, call: (seen.append(name), call())[1])
    with context:
        with context:
            x * 2
        x + 1
    x - 1
    assert seen == ["multiply", "add"]


def test_fault_12_the_slope_of_a_power_for_its_exponent_at_zero():
    a, b = (md.Tensor(np.array(v), requires_grad=True) for v in ([0.0, 2.0], [3.0, 3.0]))
    (a ** b).sum().backward()
    assert np.allclose(b.grad, [0, 8 * np.log(2)]) and a.grad.tolist() == [0, 12]


def test_fault_17_numbers_and_formats():
    x = md.Tensor(np.arange(8.0).reshape(4, 2), requires_grad=True)
    loss = x.mean()
    assert float(loss) == 3.5 and f"{loss:.3f}" == "3.500" and f"{loss}".startswith("Tensor(")
    with pytest.raises(ValueError, match=r"\(4, 2\)"):
        f"{x:.3f}"


NUMPYS = {
    "np.exp": lambda np_, t: np_.exp(t), "np.mean": lambda np_, t: np_.mean(t), "np.maximum": lambda np_,
    t: np_.maximum(t, 0),
    "np.concatenate": lambda np_, t: np_.concatenate([t, t]), "array * t": lambda np_, t: np_.ones((4, 2)) * t,
    "np.sum": lambda np_, t: np_.sum(t, axis=0),
    "np.matmul": lambda np_, t: np_.matmul(t, np_.ones((2, 3))), "array @ t": lambda np_, t: np_.ones((3, 4)) @ t,
    "np.tanh": lambda np_, t: np_.tanh(t),
    "np.where": lambda np_, t: np_.where(np_.ones((4, 2), bool), t, 0), "np.stack": lambda np_,
    t: np_.stack([t, t], axis=1),
    "np.reshape": lambda np_, t: np_.reshape(t, (2, 4)), "np.float64 * t": lambda np_, t: np_.float64(2) * t,
}


@pytest.mark.parametrize("name", NUMPYS)
def test_fault_17_numpys_functions_are_this_engines(name):
    """The same values, and a gradient."""
    x = np.random.default_rng(0).uniform(0.5, 1, (4, 2))
    t = md.Tensor(x, requires_grad=True)
    found = NUMPYS[name](np, t)
    assert isinstance(found, md.Tensor) and np.allclose(found.data, NUMPYS[name](np, x))
    found.sum().backward()
    assert np.any(t.grad != 0)


@pytest.mark.parametrize("call, name",
                         [(np.sort, "np.sort"), (np.linalg.norm, "np.linalg.norm"), (np.cumsum, "np.cumsum"),
                          (np.arctan, "np.arctan"),
                                        (np.add.reduce, "add")])
def test_fault_17_what_this_engine_has_not_is_named(call, name):
    with pytest.raises(TypeError, match=name.replace(".", r"\.")) as caught:
        call(md.Tensor(np.ones(3)))
    assert ".numpy()" in str(caught.value)


def test_fault_17_the_rule_of_positions_is_said():
    with pytest.raises(TypeError, match="Tensors by position.*settings by name"):
        ops.sum(md.Tensor(np.ones((2, 3))), 0)


@pytest.mark.parametrize("distance", [1e-9, 5e-8, 1.1e-7, 2e-7, 3.3e-7, 5e-7, 9e-7, -2e-7, -6e-7])
@pytest.mark.parametrize("fn", [F.relu, abs, lambda t: F.leaky_relu(t, 0.2) * 3, lambda t: md.maximum(t, 2 * t)])
def test_fault_18_a_kink_beside_the_entry_is_a_kink(fn, distance):
    with pytest.raises(md.GradcheckError, match="kink"):
        md.gradcheck(fn, np.array([1.0, distance]))
    assert md.gradcheck(fn, np.array([1.0, 3e-6]))


@pytest.mark.parametrize("fn", [lambda t: ops.exp(3 * t), lambda t: t ** 5, lambda t: F.sigmoid(9 * t)])
def test_fault_18_a_wrong_gradient_on_a_curve_is_wrong(fn):
    """However bent the curve is."""
    def lying(t):
        y = fn(t)
        return y + 0.01 * (t.detach() - t)          # the value is fn's, the gradient is not
    assert md.gradcheck(fn, np.array([0.7, -1.3]))
    with pytest.raises(md.GradcheckError, match="is wrong"):
        md.gradcheck(lying, np.array([0.7, -1.3]))
