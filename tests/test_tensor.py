"""The tape: what it records and when it is freed, the walk back along it, and the alarm when an
array changed underneath.
"""
import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import Tensor, nn, optim
from minideconv.switches import enable_grad, observe, recording


def leaf(data, dtype=np.float64):
    return Tensor(np.array(data, dtype), requires_grad=True)


# ---- construction

@pytest.mark.parametrize("data, dtype, shape", [
    (1, np.float32, ()), (1.5, np.float32, ()), ([1, 2], np.float32, (2,)), ([[1.0], [2.0]], np.float32, (2, 1)),
    ([True, False], np.bool_, (2,)), (np.zeros(2, np.float32), np.float32, (2,)), (np.zeros(2), np.float64, (2,)),
    (np.zeros(2, np.int64), np.int64, (2,)), (np.float64(2), np.float64, ()), (np.zeros(2, np.uint8), np.uint8, (2,)),
    (np.zeros((0, 3)), np.float64, (0, 3))], ids=repr)
def test_construction(data, dtype, shape):
    tensor = Tensor(data)
    assert type(tensor.data) is np.ndarray and tensor.dtype == dtype and tensor.shape == shape
    assert tensor.ndim == len(shape) and tensor.size == np.prod(shape)
    assert tensor.grad is None and tensor.requires_grad is False and tensor.node is None


def test_an_array_is_kept_not_copied():
    array = np.zeros(3)
    assert Tensor(array).data is array and Tensor(array).numpy() is array


@pytest.mark.parametrize("data, words", [
    (Tensor([1.0]), "detach"), (np.zeros(2, np.complex64), "complex64"), (np.zeros(2, np.float16), "float16"),
    ("text", "float32, float64"), (None, "object"), ([object()], "object")], ids=str)
def test_what_is_no_array_of_numbers_is_refused(data, words):
    with pytest.raises(TypeError, match=words):
        Tensor(data)


@pytest.mark.parametrize("data", [np.zeros(2, np.int64), np.zeros(2, np.uint8), np.zeros(2, bool)])
def test_only_floats_require_gradients(data):
    with pytest.raises(TypeError, match=f"got {data.dtype}"):
        Tensor(data, requires_grad=True)


def test_one_entry_as_a_python_number():
    assert type(Tensor([[2.5]]).item()) is float and Tensor([[2.5]]).item() == 2.5
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        Tensor([1.0, 2.0]).item()


def test_repr_says_dtype_and_origin():
    x = leaf([1.0, 2.0])
    assert repr(x) == "Tensor([1., 2.], float64, requires_grad=True)"
    assert repr(x * 2) == "Tensor([2., 4.], float64, from multiply)"
    assert repr(x.detach()) == "Tensor([1., 2.], float64)"


def test_numpy_reads_a_tensor():
    x = Tensor(np.arange(3.0))
    assert np.asarray(x) is x.data and np.array_equal(np.stack([x, x]), [x.data, x.data]) and len(x) == 3
    assert np.asarray(x, np.float32).dtype == np.float32
    assert not np.shares_memory(np.array(x), x.data)


# ---- gradients

def test_backward_leaves_an_array_of_the_datas_shape_and_dtype():
    for dtype in (np.float32, np.float64):
        x, unused = leaf([[1.0, 2.0]], dtype), leaf([1.0], dtype)
        (x * x).sum().backward()
        assert type(x.grad) is np.ndarray and x.grad.dtype == dtype and np.array_equal(x.grad, [[2.0, 4.0]])
        assert unused.grad is None


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0, 2)])
def test_backward_twice_adds_up(shape):
    x = leaf(np.full(shape, 3.0))
    y = (x * x).sum()
    y.backward()
    first = x.grad
    y.backward()
    assert type(x.grad) is np.ndarray
    assert np.array_equal(first, np.full(shape, 6.0))
    assert np.array_equal(x.grad, np.full(shape, 12.0))


def test_gradients_never_share_memory():
    a, b = leaf(np.ones(4)), leaf(np.ones(4))
    weight = np.ones(4)
    y = a + b                               # both vjps hand on the very same gradient
    y.backward(weight)
    y.backward(weight, inputs=[a])
    assert not any(np.shares_memory(one, other)
                   for one, other in ((a.grad, b.grad), (a.grad, weight), (b.grad, weight)))
    a.grad[...] = 7
    assert np.array_equal(b.grad, np.ones(4)) and np.array_equal(weight, np.ones(4))


PATHS = {
    "one array for two leaves": lambda a, b: (a + b) * 2,
    "the user's own weight": lambda a, b: a + b,
    "views of one array": lambda a, b: md.concatenate([a, b]).reshape(-1),
    "the same array in another shape": lambda a, b: a.reshape(-1) + b.astype(np.float64).reshape(-1),
    "an array that one entry fills": lambda a, b: a.sum() * b.sum() * np.ones(3),
    "an array of its own": lambda a, b: a * b,
    "batch norm, which remembers": lambda a, b: F.batch_norm(a, None, None, b[0], None, training=True),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_gradient_that_is_written_to_changes_no_other(path):
    """Clipping in place, say: what `backward` hands out without a copy nobody else has."""
    rng = np.random.default_rng(0)
    a, b = (Tensor(rng.standard_normal((4, 3)), requires_grad=True) for _ in "ab")
    y = PATHS[path](a, b)
    weight = rng.standard_normal(y.shape)
    y.backward(weight)
    former, given, forward = a.grad.copy(), weight.copy(), y.array.copy()
    assert a.grad.flags.writeable
    a.grad[...] = 0
    b.grad += 1
    assert not a.grad.any() and np.array_equal(weight, given) and np.array_equal(y.array, forward)
    y.backward(weight)                          # what the tape and the operations kept is as it was
    assert np.allclose(a.grad, former, rtol=1e-12)


def test_the_weight_of_each_entry_may_be_an_array_or_a_tensor():
    weight = np.array([1.0, -2.0])
    for given in (weight, Tensor(weight), weight.astype(np.float32), [1.0, -2.0]):
        x = leaf([3.0, 5.0])
        (x * x).backward(given)
        assert x.grad.dtype == np.float64 and np.array_equal(x.grad, [6.0, -20.0])


def test_a_result_used_twice_collects_both_parts():
    x = leaf(3.0)
    y = x * x
    (y * y + y).backward()
    assert x.grad == 4 * 3 ** 3 + 2 * 3


def test_backward_of_a_leaf():
    x = leaf(3.0)
    x.backward()
    assert np.array_equal(x.grad, 1.0)


def test_backward_can_be_asked_for_some_inputs_only():
    a, b = leaf(2.0), leaf(3.0)
    (a * b).backward(inputs=[b])
    assert a.grad is None and b.grad == 2


def test_backward_errors():
    x = leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"gradient must be given .* \(2,\)"):
        (x * x).backward()
    with pytest.raises(ValueError, match=r"output's shape \(2,\); got \(3,\)"):
        (x * x).backward(np.ones(3))
    with pytest.raises(ValueError, match="requires_grad=True"):
        Tensor([1.0]).backward()


def test_grad_gives_tensors_and_leaves_grad_alone():
    x, y = leaf([2.0, 3.0]), leaf(5.0)
    found = md.grad((x * x * y).sum(), (x, y))
    assert type(found) is tuple and all(type(g) is Tensor and not g.requires_grad for g in found)
    assert np.array_equal(found[0].data, [20.0, 30.0]) and found[1].item() == 13 and x.grad is None and y.grad is None
    assert md.grad(x, x, gradient=np.array([1.0, 2.0]))[0].data.tolist() == [1.0, 2.0]


def test_grad_with_respect_to_what_lies_between():
    x = leaf(2.0)
    y = x * x
    z = y * y
    by_x, by_y, again = md.grad(z, (x, y, y))
    assert (by_x.item(), by_y.item(), again.item()) == (32, 8, 8)


def test_gradients_of_gradients():
    x = leaf(2.0)
    y, expected = x ** 4, [32.0, 48.0, 48.0, 24.0]
    for value in expected:
        y, = md.grad(y, x, create_graph=True)
        assert y.requires_grad and y.item() == value
    z = leaf(3.0)
    penalty = md.grad(z ** 3, z, create_graph=True)[0] ** 2       # (3 z^2)^2
    penalty.backward()
    assert z.grad == 36 * 3 ** 3


def test_an_input_that_is_not_used_is_named():
    x, y = leaf(1.0), leaf([1.0, 2.0])
    with pytest.raises(ValueError, match=r"inputs\[1\], shape \(2,\), is not used"):
        md.grad(x * 2, (x, y))
    assert md.grad(x * 2, (x, y), allow_unused=True)[1] is None
    assert md.grad(Tensor(1.0), (x,), allow_unused=True) == (None,)


def test_grad_errors():
    x = leaf(1.0)
    with pytest.raises(TypeError, match=r"inputs\[1\] must be a Tensor; got ndarray"):
        md.grad(x * 2, (x, np.ones(2)))
    with pytest.raises(ValueError, match=r"inputs\[0\], shape \(\), does not require a gradient"):
        md.grad(x * 2, Tensor(1.0))


def test_what_nobody_asked_for_is_not_computed():
    x, weight = leaf(np.ones((1, 4, 4, 1))), leaf(np.ones((3, 3, 1, 2)))

    def work(fn):
        """The operations that run while walking back."""
        names = []

        def observer(name, direction, call):
            names.append(name)
            return call()
        with observe(observer):
            fn()
        return names

    loss = F.conv2d(x, weight).sum()
    assert "conv_kernel" not in work(lambda: md.grad(loss, x))
    assert "conv_transpose" not in work(lambda: md.grad(loss, weight))
    both = work(loss.backward)
    assert "conv_kernel" in both and "conv_transpose" in both
    weight.requires_grad = False            # a frozen network
    assert "conv_kernel" not in work(F.conv2d(x, weight).sum().backward)


# ---- recording

def test_no_grad_records_nothing():
    x = leaf(2.0)
    with md.no_grad():
        y = x * x
        with enable_grad():
            assert (x * x).requires_grad
        assert not recording()
    assert not y.requires_grad and y.node is None and (x * x).requires_grad


def test_no_grad_ends_with_an_error_too():
    with pytest.raises(KeyError):
        with md.no_grad():
            raise KeyError
    assert recording()


def test_no_grad_holds_for_one_thread():
    inside, seen = threading.Event(), {}
    leave = threading.Event()

    def silent():
        with md.no_grad():
            inside.set()
            leave.wait(10)
            seen["silent"] = recording()

    def other():
        seen["other"] = recording()
    thread = threading.Thread(target=silent)
    thread.start()
    assert inside.wait(10) and recording() and (leaf(1.0) * 2).requires_grad
    leave.set()
    thread.join()
    with md.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == {"silent": False, "other": True}


def test_detach_ends_the_tape_and_shares_the_array():
    x = leaf(3.0)
    y = x * x
    z = y.detach()
    assert z.data is y.data and not z.requires_grad and z.node is None
    (x * z).backward()
    assert x.grad == 9


# ---- depth and memory

def test_a_chain_of_50000_operations():
    x = leaf(1.0)
    y = x
    for _ in range(50_000):
        y = y + 1
    assert y.item() == 50_001
    y.backward()
    assert x.grad == 1
    middle = weakref.ref(y.node.inputs[0])
    del y                                   # nested destructors must not overflow the stack
    assert middle() is None


def test_the_tape_dies_with_its_loss():
    x = leaf([1.0, 2.0])
    inner = x * x
    loss = (inner * inner).sum()
    watched, slope = weakref.ref(inner), md.grad(loss, x, create_graph=True)[0]
    del inner
    gc.disable()
    try:
        assert watched() is not None
        del loss, slope
        assert watched() is None            # by reference counts alone: there is no cycle
    finally:
        gc.enable()


def small_gan():
    """A step of WGAN-GP on tiny convolutional networks: both networks, batch norm, second order, two optimisers."""
    rng = np.random.default_rng(0)
    generator = nn.Sequential(nn.Linear(4, 32, rng=rng), nn.Reshape(2, 2, 8), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
                              nn.ConvTranspose2d(8, 1, 4, stride=2, padding="same", rng=rng), nn.Tanh())
    critic = nn.Sequential(nn.Conv2d(1, 4, 4, stride=2, padding="same", rng=rng), nn.LeakyReLU(0.2), nn.Flatten(),
                           nn.Linear(16, 1, rng=rng))
    of_generator, of_critic = optim.Adam(generator.parameters()), optim.Adam(critic.parameters())
    real = Tensor(rng.standard_normal((4, 4, 4, 1), np.float32))

    def step():
        noise = Tensor(rng.standard_normal((4, 4), np.float32))
        fake = generator(noise)
        mixed = Tensor((real.data + fake.data) / 2, requires_grad=True)
        slope, = md.grad(critic(mixed).sum(), mixed, create_graph=True)
        of_critic.zero_grad()
        (critic(fake.detach()).mean() - critic(real).mean() + 10 * ((slope ** 2).sum() ** 0.5 - 1) ** 2).backward()
        of_critic.step()
        of_generator.zero_grad()
        (-critic(fake).mean()).backward(inputs=generator.parameters())
        of_generator.step()
    return step


def test_a_hundred_steps_leave_nothing_behind():
    step = small_gan()

    def living():
        """Live Tensors, and bytes. The collector's run empties the interpreter's own stores of old
        tuples, and must find no cycle.
        """
        found = gc.collect()
        return found, len([o for o in gc.get_objects() if type(o) is Tensor]), tracemalloc.get_traced_memory()[0]
    for _ in range(180):                    # kernels compile, buffers grow, caches fill: Numba 0.59 takes its time
        step()
    threads = md.parallel.num_threads()
    md.set_num_threads(1)
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(50):                 # what a step holds until the next one is traced from here on
            step()
        _, tensors, before = living()
        growth = []
        for _ in range(3):
            for _ in range(100):
                step()
            cycles, tensors_later, memory = living()
            assert cycles == 0 and tensors_later == tensors
            growth.append(memory - before)
            before = memory
        # Less than one small array a step. What is left behind grows every time. The stores of old tuples sway by some
        # 5 KB, and by four times as much where two threads fill them in turn: so one thread, and a hundred steps.
        assert min(growth) < 100 * 100, growth
    finally:
        tracemalloc.stop()
        gc.enable()
        md.set_num_threads(threads)


# ---- arrays that change under a live tape

@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1), lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
                                  lambda p: optim.Adam(p)],
                         ids=["SGD", "momentum", "Adam"])
def test_an_optimisers_step_between_forward_and_backward(make, size):
    x = leaf(np.linspace(1, 2, size), np.float32)
    optimiser = make([x])
    x.grad = np.ones_like(x.data)
    loss = (x * x).sum()
    optimiser.step()
    with pytest.raises(md.TapeError, match=rf"input 0 of multiply, shape \({size},\), was changed in place"):
        loss.backward()


@pytest.mark.parametrize("change, how", [
    (lambda x: x.data.__setitem__(1, 7.0), "changed in place"), (lambda x: setattr(x, "data", x.data + 1), "replaced"),
    (lambda x: setattr(x, "data", x.data.copy()), "replaced")])
def test_a_change_by_hand_is_noticed(change, how):
    x = leaf([1.0, 2.0])
    loss = (x * x).sum()
    change(x)
    for walk in (loss.backward, lambda: md.grad(loss, x), lambda: md.grad(loss, x, create_graph=True)):
        with pytest.raises(md.TapeError, match=how):
            walk()
    assert x.grad is None
    assert isinstance(md.TapeError(), RuntimeError)


def test_constants_and_results_between_are_watched_too():
    x, constant = leaf([1.0, 2.0]), np.array([3.0, 4.0])
    loss = (x * constant).sum()
    constant[0] = 0
    with pytest.raises(md.TapeError, match="input 1 of multiply"):
        loss.backward()
    between = x * 2
    loss = (between * between).sum()
    between.data[0] = 0
    with pytest.raises(md.TapeError, match="changed in place"):
        loss.backward()


def test_new_data_after_the_walk_is_fine():
    x = leaf([1.0, 2.0])
    for _ in range(3):
        x.grad = None
        (x * x).sum().backward()
        x.data = x.data - 0.1 * x.grad
    assert np.allclose(x.data, np.array([1.0, 2.0]) * 0.8 ** 3)


@pytest.mark.parametrize("array", [
    np.full(3, np.nan), np.zeros(0), np.full((), 2.0), np.full(100_000, np.nan),
    np.random.default_rng(0).standard_normal((400, 300)).T, np.broadcast_to(np.ones(300), (200, 300))],
                         ids=["nan", "empty", "number", "many nan", "transposed", "broadcast"])
def test_no_false_alarm(array):
    x = Tensor(array, requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    loss.backward()
    assert x.grad.shape == array.shape


# ---- dtypes

@pytest.mark.parametrize("number",
                         [2, 2.0, True, np.float64(2), np.int64(2), np.float32(2), np.array(2.0), np.array([2, 2]),
                                    np.array([True, True])], ids=repr)
def test_numbers_do_not_turn_float32_into_float64(number):
    x = leaf([1.0, 3.0], np.float32)
    for y in (x + number, number + x, x - number, number - x, x * number, number * x, x / number, number / x,
              x ** number, number ** x, md.maximum(x, number), md.where(np.array([True, False]), x, number)):
        assert y.dtype == np.float32
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == np.float32


def test_a_float64_array_widens_the_result_but_not_the_gradient():
    x = leaf([1.0, 3.0], np.float32)
    y = x * np.array([2.0, 3.0])
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32 and np.array_equal(x.grad, [2.0, 3.0])


def test_what_a_tape_keeps_besides_its_inputs_cannot_be_changed_from_outside():
    """Indices, conditions and targets are copied: changing them later changes no gradient."""
    x, index, mask = Tensor(np.ones(3), requires_grad=True), np.array([0, 1]), np.array([True, False, False])
    target = np.array([1.0, 0.0, 0.0])
    y = (x[index] * 2).sum() + md.where(mask, x, 5 * x).sum() + F.binary_cross_entropy_with_logits(x, target, "sum")
    index[:], mask[:], target[:] = 2, False, 0
    y.backward()
    slope = 1 / (1 + np.exp(-1.0))
    assert np.allclose(x.grad, [2 + 1 + slope - 1, 2 + 5 + slope, 5 + slope], rtol=1e-12)


def test_none_is_no_operand():
    with pytest.raises(TypeError, match="NoneType"):
        Tensor([1.0]) + None


@pytest.mark.parametrize("kind", [md.no_grad, enable_grad])
def test_fault_12_a_context_may_be_entered_again(kind):
    x, context = Tensor(np.ones(2), requires_grad=True), kind()
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
    seen, x = [], Tensor(np.ones(2))
    context = observe(lambda name, direction, call: (seen.append(name), call())[1])
    with context:
        with context:
            x * 2
        x + 1
    x - 1
    assert seen == ["multiply", "add"]
