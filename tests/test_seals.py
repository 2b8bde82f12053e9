"""The alarm of the tape: any change of an array between the operation that used it and the walk
back, and no false alarm.
"""
import gc

import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import Tensor, nn, optim, seals
from minideconv.gan import average

RNG = np.random.default_rng(0)


def large(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def alarm(loss):
    with pytest.raises(md.TapeError, match="changed in place"):
        loss.backward()


# ---- fault 5: every change of an array of any size

IMAGES = (64, 28, 28, 4)

CHANGES = {
    "one channel of four": lambda a: a[..., 1].fill(0),
    "every second channel": lambda a: a[..., ::2].__imul__(1.5),
    "a slice of rows": lambda a: a[:, 3:9].fill(0),
    "a fill": lambda a: a.fill(1),
    "one image": lambda a: a[17].fill(0),
    "two images exchanged": lambda a: a.__setitem__([3, 8], a[[8, 3]]),
    "the images in reverse": lambda a: a.__setitem__(slice(None), a[::-1].copy()),
    "another sign": lambda a: np.negative(a, out=a),
    "one channel's sign": lambda a: np.negative(a[..., 2], out=a[..., 2]),
    "sorted": lambda a: a.sort(axis=0),
    "one entry": lambda a: a.__setitem__((40, 5, 27, 3), 1e-3),
    "one entry to NaN": lambda a: a.__setitem__((40, 5, 27, 3), np.nan),
    "the last bit of one entry": lambda a: a.reshape(-1).view(f"u{a.itemsize}")[12_345:12_346].__ixor__(1),
    "two neighbours exchanged": lambda a: a.__setitem__((0, 0, 0, [0, 1]), a[0, 0, 0, [1, 0]]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("change", CHANGES)
def test_fault_05_a_change_of_a_large_array_is_noticed(change, dtype):
    array = large(*IMAGES, dtype=dtype)
    x = Tensor(array, requires_grad=True)
    loss = (x * x).sum()
    CHANGES[change](array)
    alarm(loss)


@pytest.mark.parametrize("shape, place", [
    *(((100_003,), i) for i in (0, 1, 508, 509, 50_000, 100_001, 100_002)),
    ((300, 301), (299, 300)), ((5_000,), 4_999)])
def test_fault_05_one_entry_anywhere(shape, place):
    for dtype in (np.float32, np.float64):
        x = Tensor(large(*shape, dtype=dtype), requires_grad=True)
        loss = (x * x).sum()
        x.data[place] += 1
        alarm(loss)


def test_fault_05_every_exchange_of_two_entries_has_another_fingerprint():
    """Also of simple numbers, whose words differ in a few high bits only."""
    array = (np.arange(8_192) % 2).astype(np.float64)
    before = seals.fingerprint(array)
    for first, second in ((0, 1), (0, 509), (0, 1_019), (2, 2 + 509 * 3), (1, 8_190), (509, 8_144), (8_190, 8_191)):
        assert array[first] != array[second]
        array[[first, second]] = array[[second, first]]
        assert seals.fingerprint(array) != before
        array[[first, second]] = array[[second, first]]
    assert seals.fingerprint(array) == before


def test_fault_05_results_between_are_watched_once_they_are_seen():
    x = Tensor(large(100, 50, 4), requires_grad=True)
    for seen_before in (True, False):
        for door in (lambda t: t.data, lambda t: t.numpy(), np.asarray, lambda t: t.detach().data,
                     lambda t: t.detach()[1:].data.base):
            y = x * 2
            if seen_before:
                array = door(y)
            loss = (y * y).sum()
            if not seen_before:
                array = door(y)
            array[..., 1] = 0
            alarm(loss)


VIEWS = {
    "reshape": lambda x: x.reshape(-1), "transpose": lambda x: x.T, "a slice": lambda x: x[3:, :, ::-1],
    "new axis": lambda x: x[None], "detach": lambda x: x.detach(),
    "a view of a view": lambda x: x.reshape(50, -1).T[1:].detach(),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("computed", [True, False])
def test_fault_05_a_change_through_a_view_is_noticed(view, computed):
    leaf = Tensor(large(50, 40, 6), requires_grad=True)
    x = leaf * 2 if computed else leaf
    y = VIEWS[view](x)
    loss, other = (x * x).sum(), (y * leaf.sum()).sum()
    y.data[...] = 0
    alarm(loss)
    alarm(other)
    x = leaf * 2 if computed else Tensor(large(50, 40, 6), requires_grad=True)
    y = VIEWS[view](x)
    loss = (y * leaf.sum()).sum()
    x.data[...] = 0                         # and the other way round
    alarm(loss)


def test_fault_05_the_users_own_array_is_watched():
    array, constant = large(40, 500), large(40, 500)
    x = Tensor(array, requires_grad=True)
    loss = (x * constant).sum()
    constant[:, 7] = 0
    alarm(loss)
    loss = (x.reshape(-1) * 2 * x.reshape(-1)).sum()
    array.T[7] = 0
    alarm(loss)
    x.data = array = large(40, 500)
    loss = (x * x).sum()
    array[1::2] = 0
    alarm(loss)


@pytest.mark.parametrize("array", [large(300, 200).T, large(200, 300, 4)[::2, 1:-1, 1], large(90_000)[::-1],
                                   large(4, 100, 100).transpose(2, 0, 1)],
                         ids=["transposed", "sliced", "reversed", "permuted"])
def test_fault_05_arrays_that_lie_in_pieces(array):
    x = Tensor(array, requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    array[-1] *= 1.5
    alarm(loss)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=1e-3), lambda p: optim.SGD(p, lr=1e-3, momentum=0.9),
                                  lambda p: optim.Adam(p, lr=1e-5)],
                         ids=["SGD", "momentum", "Adam"])
def test_fault_05_an_optimizers_step(make):
    x = Tensor(large(64, 28, 28, 4), requires_grad=True)
    x.grad = np.zeros_like(x.data)
    x.grad[31, 14, 14, 2] = 1               # one entry moves
    loss = (x * x).sum()
    make([x]).step()
    alarm(loss)


def test_fault_05_weights_of_layers():
    x, w = Tensor(large(8, 16, 16, 8), requires_grad=True), Tensor(large(4, 4, 8, 16), requires_grad=True)
    loss = F.leaky_relu(F.conv2d(x, w, stride=2, padding=1), 0.2).sum()
    w.data[..., 5] = 0
    alarm(loss)


def writers(layer):
    """What the engine itself does to the weights of a network."""
    layer.weight.grad = np.zeros(layer.weight.shape, np.float32)
    other = nn.Linear(*layer.weight.shape, rng=RNG)
    return {"SGD": optim.SGD(layer.parameters(), lr=1e-3).step, "Adam": optim.Adam(layer.parameters()).step,
            "an average": lambda: average.RunningAverage(layer, other).follow(5, 0.9)}


@pytest.mark.parametrize("seen", ["never", "before", "after the forward pass", "after the write"])
@pytest.mark.parametrize("writer", ["SGD", "Adam", "an average"])
def test_what_the_engine_writes_to_weights_that_nobody_has_seen(writer, seen, monkeypatch):
    layer, taken = nn.Linear(300, 100, rng=RNG), []
    x, fingerprint = Tensor(large(4, 300), requires_grad=True), seals.fingerprint
    monkeypatch.setattr(seals, "fingerprint", lambda array: taken.append(array.shape) or fingerprint(array))
    if seen == "before":
        layer.weight.numpy()
    write, loss = writers(layer)[writer], layer(x).sum()
    if seen == "after the forward pass":
        layer.weight.numpy()
    layer.weight.grad[7, 7] = 1
    write()
    if seen == "after the write":
        layer.weight.numpy()
    alarm(loss)
    assert ((300, 100) in taken) == (seen != "never")
    layer(x).sum().backward()               # and the next pass is fine


def test_states_are_copies_that_unseal_nothing():
    layer, x = nn.Linear(30, 10, rng=RNG), Tensor(large(4, 30), requires_grad=True)
    state = layer.state_dict()
    assert not layer.weight.memory.public
    loss = layer(x).sum()
    layer.load_state_dict(state)
    state["weight"][...] = 0
    assert layer.weight.array.any() and not layer.weight.memory.public
    with pytest.raises(md.TapeError, match="replaced"):
        loss.backward()


# ---- no false alarm, and no cost where nobody looks

def test_what_was_changed_before_the_forward_pass_is_fine():
    x = Tensor(large(300, 100), requires_grad=True)
    y = x * 2
    y.data[:, 3] = 0
    loss = (y * y).sum()
    loss.backward()
    expected = 8 * x.data
    expected[:, 3] = 0
    assert np.allclose(x.grad, expected)


def test_looking_is_no_change():
    x = Tensor(large(300, 100), requires_grad=True)
    y = x * 2
    loss = (y * y).sum()
    assert np.asarray(y) is y.data and y.numpy() is y.data and np.array(y).sum() == y.data.sum()
    loss.backward()
    assert np.allclose(x.grad, 8 * x.data)


def test_results_that_nobody_has_seen_cost_no_fingerprint(monkeypatch):
    x, taken = Tensor(large(300, 100), requires_grad=True), []
    monkeypatch.setattr(seals, "fingerprint", lambda array: bytes(taken.append(array.shape) or 0))
    y = x.exp()
    loss = (y.reshape(-1, 10).T * y.reshape(-1, 10).T).sum()
    assert taken == [(300, 100)]            # of x, which the user made
    loss.backward()
    assert taken == [(300, 100)] * 2
    repr(y), float(loss), f"{loss:.3f}", loss.item()
    assert taken == [(300, 100)] * 2


def test_seals_go_with_their_nodes():
    y = Tensor(large(10), requires_grad=True) * 2
    for _ in range(100):
        (y * y).sum()
    gc.collect()
    assert len(y.memory.seals) <= seals.FEW and not any(seal() for seal in y.memory.seals)
    alive = [y * y for _ in range(100)]
    assert sum(seal() is not None for seal in y.memory.seals) == 200
    y.data[3] = 7                           # all that live notice
    for one in alive:
        with pytest.raises(md.TapeError, match="changed in place"):
            one.sum().backward()
