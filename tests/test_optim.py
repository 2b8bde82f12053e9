"""Optimizers against their formulas in Python floats, their state, and what they refuse."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minideconv as md
from minideconv import nn, optim

STEPS = 7


def gradients(seed, shape=(3, 2)):
    return np.random.default_rng(seed).standard_normal((STEPS, *shape))


def run(optimizer, parameter, slopes):
    for slope in slopes:
        parameter.grad = slope.astype(parameter.dtype)
        optimizer.step()
    return parameter.data


def sgd_by_formula(start, slopes, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    out = []
    for theta, column in zip(start.ravel(), slopes.reshape(len(slopes), -1).T, strict=True):
        velocity = 0.0
        for g in column:
            g = g + weight_decay * theta
            velocity = momentum * velocity + g
            theta = theta - lr * (g + momentum * velocity if nesterov else velocity)
        out.append(theta)
    return np.reshape(out, start.shape)


def adam_by_formula(start, slopes, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    out = []
    for theta, column in zip(start.ravel(), slopes.reshape(len(slopes), -1).T, strict=True):
        m = v = 0.0
        for t, g in enumerate(column, 1):
            g = g + weight_decay * theta
            m = betas[0] * m + (1 - betas[0]) * g
            v = betas[1] * v + (1 - betas[1]) * g * g
            theta = theta - lr * (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)) ** 0.5 + eps)
        out.append(theta)
    return np.reshape(out, start.shape)


RULES = {"sgd": (optim.SGD, sgd_by_formula, [dict(lr=0.1), dict(lr=0.1, weight_decay=0.3), dict(lr=0.1, momentum=0.9),
                                            dict(lr=0.1, momentum=0.9, nesterov=True),
                                            dict(lr=0.1, momentum=0.5, nesterov=True, weight_decay=0.3)]),
         "adam": (optim.Adam, adam_by_formula, [dict(), dict(lr=2e-4, betas=(0.5, 0.999)),
                                                dict(lr=0.1, weight_decay=0.3),
                                                dict(lr=0.1, betas=(0.0, 0.0)),
                                                dict(lr=0.1, eps=0.5)])}
SETTINGS = [(rule, settings) for rule, (_, _, many) in RULES.items() for settings in many]


@pytest.mark.parametrize("rule, settings", SETTINGS)
@given(seed=st.integers(0, 1000))
def test_steps_follow_the_formula(kernels, rule, settings, seed):
    make, formula, _ = RULES[rule]
    slopes = gradients(seed)
    start = np.random.default_rng(seed + 1).standard_normal((3, 2))
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 2e-5)):
        p = md.Tensor(start.astype(dtype), requires_grad=True)
        data = p.data
        expected = formula(start, slopes, **settings)
        assert np.allclose(run(make(p, **settings), p, slopes), expected, rtol=tolerance, atol=tolerance)
        assert p.dtype == dtype and p.data is data      # in place


@pytest.mark.parametrize("rule, settings", SETTINGS)
@pytest.mark.parametrize("order", ["fortran", "transposed", "every second", "read-only"])
def test_the_memory_order_of_parameters_and_gradients_does_not_matter(kernels, rule, settings, order):
    make, formula, _ = RULES[rule]
    start, slopes = np.random.default_rng(0).standard_normal((3, 2)), gradients(0)
    array = {"fortran": np.asfortranarray(start), "transposed": start.T.copy().T,
             "every second": np.repeat(start, 2, axis=1)[:, ::2], "read-only": start.copy()}[order]
    array.flags.writeable = order != "read-only"
    p = md.Tensor(array, requires_grad=True)
    optimizer = make(p, **settings)
    for slope in slopes:
        p.grad = np.asfortranarray(slope)
        optimizer.step()
    assert np.allclose(p.data, formula(start, slopes, **settings), rtol=1e-10, atol=1e-10)


def test_large_parameters_are_split_into_chunks_that_change_nothing():
    """100,000 entries are several chunks; every entry must have moved once."""
    start = np.random.default_rng(0).standard_normal(100_000)
    p = md.Tensor(start.copy(), requires_grad=True)
    slopes = np.ones((2, start.size)) * np.array([[1.0], [-3.0]])
    moved = adam_by_formula(np.zeros(1), slopes[:, :1], 0.1)
    assert np.allclose(run(optim.Adam(p, 0.1), p, slopes), start + moved, rtol=1e-12)


@pytest.mark.parametrize("rule, settings", SETTINGS)
def test_parameters_without_a_gradient_are_left_alone(rule, settings):
    moved, still = (md.Tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    optimizer = RULES[rule][0]([moved, still], **settings)
    moved.grad = np.ones(3, np.float32)
    optimizer.step()
    assert (still.data == 1).all() and (moved.data != 1).all()
    assert all((array == 0).all() for array in optimizer.state[1].values())
    optimizer.zero_grad()
    assert moved.grad is None and still.grad is None


@pytest.mark.parametrize("rule, settings", SETTINGS)
def test_a_state_round_trip_continues_bit_identically(kernels, rule, settings):
    make = RULES[rule][0]
    slopes, start = gradients(3), np.random.default_rng(4).standard_normal((3, 2)).astype(np.float32)
    p = md.Tensor(start.copy(), requires_grad=True)
    whole = run(make(p, **settings), p, slopes)

    q = md.Tensor(start.copy(), requires_grad=True)
    first = make(q, **settings)
    run(first, q, slopes[:3])
    state = first.state_dict()
    resumed = md.Tensor(q.data.copy(), requires_grad=True)
    second = make(resumed, **{**settings, "lr": 77})
    second.load_state_dict({name: np.array(value) for name, value in state.items()})        # as it comes out of an npz
    run(first, q, slopes[3:])           # the state is a copy: going on with the first changes nothing for the second
    assert np.array_equal(run(second, resumed, slopes[3:]), whole)


def test_states_of_another_optimizer_are_refused_and_change_nothing():
    def make(shape=(3,)):
        p = md.Tensor(np.ones(shape, np.float32), requires_grad=True)
        p.grad = np.ones(shape, np.float32)
        optimizer = optim.Adam(p)
        optimizer.step()
        return optimizer
    optimizer = make()
    before = optimizer.state_dict()
    state = dict(before)
    del state["0.mean"]
    for wrong, error, words in ((state, KeyError, ["missing ['0.mean']"]),
                                ({**before, "1.mean": 0}, KeyError, ["unknown ['1.mean']"]),
                                (make((4,)).state_dict(), ValueError, ["0.mean", "(3,)", "(4,)"]),
                                ({**before, "0.square": np.array(["a"] * 3)}, TypeError, ["0.square", "float32"]),
                                ({**before, "steps": np.array([1.5])}, TypeError, ["steps", "int64", "float64"]),
                                ({**before, "lr": -1.0}, ValueError, ["lr must be a number, at least 0; got -1.0"]),
                                ({**before, "lr": np.array(np.nan)}, ValueError, ["lr", "got nan"])):
        with pytest.raises(error) as caught:
            optimizer.load_state_dict(wrong)
        assert all(word in str(caught.value) for word in words)
        assert all(np.array_equal(before[name], value) for name, value in optimizer.state_dict().items())


def test_a_step_under_a_live_tape_is_noticed():
    p = md.Tensor(np.ones(3, np.float32), requires_grad=True)
    loss = (p * p).sum()
    p.grad = np.ones(3, np.float32)
    optim.SGD(p, 0.1).step()
    with pytest.raises(md.TapeError, match="changed in place"):
        loss.backward()


P = md.Tensor(np.ones(3, np.float32), requires_grad=True)
REFUSED = {
    "no parameters": (lambda: optim.SGD([], 0.1), ValueError, "params must name at least one Tensor"),
    "an array": (lambda: optim.SGD([P, np.ones(3)], 0.1), TypeError, r"params\[1\] must be a Tensor; got ndarray"),
    "integers": (lambda: optim.SGD([md.Tensor(np.ones(3, np.int64))], 0.1), TypeError,
                 r"params\[0\] must be float32 or float64; got int64"),
    "one twice": (lambda: optim.Adam([P, P]), ValueError, "a parameter twice"),
    "a negative rate": (lambda: optim.Adam(P, -1), ValueError, "lr must be a number, at least 0; got -1"),
    "a rate that is NaN": (lambda: optim.SGD(P, float("nan")), ValueError, "lr must be .*got nan"),
    "an infinite decay": (lambda: optim.SGD(P, 0.1, weight_decay=float("inf")), ValueError,
                          "weight_decay must be .*got inf"),
    "momentum of 1": (lambda: optim.SGD(P, 0.1, momentum=1), ValueError, r"momentum must lie in \[0, 1\); got 1"),
    "nesterov alone": (lambda: optim.SGD(P, 0.1, nesterov=True), ValueError, "nesterov=True needs a momentum"),
    "a beta of 1": (lambda: optim.Adam(P, betas=(0.9, 1.0)), ValueError, r"betas\[1\] must lie in \[0, 1\); got 1.0"),
    "a beta of text": (lambda: optim.Adam(P, betas=("0.9", 0.9)), TypeError, r"betas\[0\] must be a number; got '0.9'"),
    "momentum of text": (lambda: optim.SGD(P, 0.1, momentum="0.9"), TypeError, "momentum must be a number; got '0.9'"),
    "eps of nothing": (lambda: optim.Adam(P, eps=None), TypeError, "eps must be a number; got None"),
    "a set": (lambda: optim.SGD({P}, 0.1), TypeError, "params must be a Tensor or several in an order.*got a set"),
    "a network": (lambda: optim.SGD(nn.Linear(2, 3), 0.1), TypeError, "net.parameters.*got a Linear"),
    "names too": (lambda: optim.SGD(nn.Linear(2, 3).named_parameters(), 0.1), TypeError, r"params\[0\].*got tuple"),
    "a result": (lambda: optim.SGD([P, P * 2], 0.1), ValueError,
                 r"params\[1\] was computed, by multiply, and never gets"),
    "one beta": (lambda: optim.Adam(P, betas=(0.9,)), ValueError, "betas must be two numbers"),
    "a negative eps": (lambda: optim.Adam(P, eps=-1), ValueError, "eps must be a number, at least 0; got -1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("slope", [np.ones(4, np.float32), np.ones(3), np.ones((3, 1), np.float32)])
def test_a_gradient_that_does_not_fit_moves_nothing(slope):
    first, second = (md.Tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    first.grad, second.grad = np.ones(3, np.float32), slope
    optimizer = optim.SGD([first, second], 0.1)
    with pytest.raises(ValueError, match="does not fit its parameter"):
        optimizer.step()
    assert (first.data == 1).all() and optimizer.steps.tolist() == [0, 0]


def test_a_gradient_that_is_no_array_is_refused():
    p = md.Tensor(np.ones(3, np.float32), requires_grad=True)
    p.grad = [1.0, 2.0, 3.0]
    with pytest.raises(TypeError, match=r"the gradient of params\[0\] must be an array; got list"):
        optim.SGD(p, 0.1).step()


def test_a_parameter_of_another_shape_needs_another_optimizer():
    p = md.Tensor(np.ones(3, np.float32), requires_grad=True)
    adam = optim.Adam(p)
    p.data = np.ones(4, np.float32)
    p.grad = np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"params\[0\] is float32 \(4,\) now, but its mean is float32 \(3,\)"):
        adam.step()


@pytest.mark.parametrize("rule, settings", SETTINGS)
def test_a_parameter_that_rests_goes_on_where_it_was(rule, settings):
    """Its steps alone count, not those of its neighbours: Adam's first step is as long as ever."""
    make, formula, _ = RULES[rule]
    start, slopes = np.random.default_rng(0).standard_normal((3, 2)), gradients(0)
    busy, late = (md.Tensor(start.copy(), requires_grad=True) for _ in range(2))
    optimizer = make([busy, late], **settings)
    for step, slope in enumerate(slopes):
        busy.grad, late.grad = slope, slope if step >= 4 else None
        optimizer.step()
    assert np.allclose(busy.data, formula(start, slopes, **settings), rtol=1e-10)
    assert np.allclose(late.data, formula(start, slopes[4:], **settings), rtol=1e-10)
    assert optimizer.state_dict()["steps"].tolist() == [7, 3]


def test_rates_of_numpy_keep_float32():
    p = md.Tensor(np.ones(3, np.float32), requires_grad=True)
    optimizer = optim.SGD(p, np.float64(0.1), momentum=np.float32(0.5), weight_decay=np.int64(1))
    assert {type(value) for value in (optimizer.lr, optimizer.momentum, optimizer.weight_decay)} == {float}


@pytest.mark.parametrize("lr", ["0.1", [0.1], None, np.ones(2), True, 1j])
def test_a_rate_is_a_number(lr):
    with pytest.raises(TypeError, match="lr must be a number"):
        optim.SGD([md.Tensor(np.ones(2), requires_grad=True)], lr=lr)
