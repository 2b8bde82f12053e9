"""Agreement with PyTorch, where it is installed:
values, first and second gradients, running statistics, fifty steps of training.

float64 throughout, so that a difference is a difference in meaning and not in rounding. PyTorch's
images are (N, C, H, W); the axes of both its kernels, (O, C, KH, KW) for conv2d and for
conv_transpose2d, are ours (KH, KW, C, O) turned round in the same way.
"""
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import minideconv as md
import minideconv.functional as F
from minideconv import nn, optim, parallel

torch = pytest.importorskip("torch")
T = torch.nn.functional


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """PyTorch's pool, this engine's and that of BLAS spin for the same few cores where the arrays are this small."""
    before = torch.get_num_threads(), parallel.num_threads()
    torch.set_num_threads(1)
    md.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        yield
    torch.set_num_threads(before[0])
    md.set_num_threads(before[1])


def to_torch(array, kernel=False):
    """An array of ours as PyTorch's leaf, axes in its order."""
    if array.ndim == 4:
        array = array.transpose((3, 2, 0, 1) if kernel else (0, 3, 1, 2))
    return torch.tensor(np.ascontiguousarray(array), requires_grad=array.dtype.kind == "f")


def to_ours(tensor, kernel=False):
    array = tensor.detach().numpy()
    return array.transpose((2, 3, 1, 0) if kernel else (0, 2, 3, 1)) if array.ndim == 4 else array


def close(ours, theirs, kernel=False, rtol=1e-9):
    expected = to_ours(theirs, kernel)
    assert ours.shape == expected.shape
    assert np.allclose(ours.data, expected, rtol=rtol, atol=rtol * max(1.0, np.abs(expected).max(initial=0)))


@st.composite
def geometries(draw):
    """Kernel, stride, pads ((top, bottom), (left, right)), dilation, features,
    and what a transposed convolution adds after.
    """
    axes = []
    for _ in "hw":
        kernel, stride, dilation, features = (draw(st.integers(1, high)) for high in (4, 3, 2, 4))
        pads, extra = (draw(st.integers(0, 2)), draw(st.integers(0, 2))), draw(st.integers(0, stride - 1))
        assume((features - 1) * stride + dilation * (kernel - 1) + 1 - sum(pads) + extra >= 1)
        axes.append((kernel, stride, pads, dilation, features, extra))
    return tuple(zip(*axes, strict=True)), draw(st.integers(1, 2)), np.random.default_rng(draw(st.integers(0, 2 ** 16)))


def both_orders(ours, theirs, arrays, kernels, rng):
    """Compare fn(*arrays) ** 2 weighted at random, its gradients,
    and the gradients of their sum weighted at random.
    """
    mine = [md.Tensor(a, requires_grad=True) for a in arrays]
    other = [to_torch(a, k) for a, k in zip(arrays, kernels, strict=True)]
    y, z = ours(*mine), theirs(*other)
    close(y, z)
    weight = rng.standard_normal(y.shape)
    first = md.grad((y * y * weight).sum(), mine, create_graph=True)
    first_theirs = torch.autograd.grad((z * z * to_torch(weight)).sum(), other, create_graph=True)
    for a, b, kernel in zip(first, first_theirs, kernels, strict=True):
        close(a, b, kernel)
    weights = [rng.standard_normal(a.shape) for a in arrays]
    second = md.grad(sum((a * w).sum() for a, w in zip(first, weights, strict=True)), mine)
    weighted = sum((b * to_torch(w, k)).sum() for b, w, k in zip(first_theirs, weights, kernels, strict=True))
    second_theirs = torch.autograd.grad(weighted, other)
    for a, b, kernel in zip(second, second_theirs, kernels, strict=True):
        close(a, b, kernel)


@given(geometry=geometries())
def test_conv2d(kernels, geometry):
    (kernel, stride, pads, dilation, features, extra), groups, rng = geometry
    image = [(f - 1) * s + d * (k - 1) + 1 - sum(p) + e
             for f, s, d, k, p, e in zip(features, stride, dilation, kernel, pads, extra, strict=True)]
    arrays = [rng.standard_normal(shape)
              for shape in ((2, *image, 2 * groups), (*kernel, 2, 3 * groups), (3 * groups,))]
    settings = {"stride": stride, "padding": pads, "dilation": dilation, "groups": groups}
    both_orders(lambda x, w, b: F.conv2d(x, w, b, **settings),
                lambda x, w, b: T.conv2d(T.pad(x, (*pads[1], *pads[0])), w, b, stride, 0, dilation, groups), arrays,
                (False, True, False), rng)


@given(geometry=geometries())
def test_conv_transpose2d(kernels, geometry):
    (kernel, stride, pads, dilation, features, extra), groups, rng = geometry
    arrays = [rng.standard_normal(shape)
              for shape in ((2, *features, 3 * groups), (*kernel, 2, 3 * groups), (2 * groups,))]

    def cropped(y, w, b):
        return T.pad(T.conv_transpose2d(y, w, b, stride, 0, extra, groups, dilation),
                     [-p for p in (*pads[1], *pads[0])])
    settings = {"stride": stride, "padding": pads, "output_padding": extra, "dilation": dilation, "groups": groups}
    both_orders(lambda y, w, b: F.conv_transpose2d(y, w, b, **settings), cropped, arrays, (False, True, False), rng)


@pytest.mark.parametrize("kernel, stride, padding, output_padding",
                         [(4, 2, 1, 0), (3, 2, 1, 1), (5, 3, 2, 2), (3, 1, 1, 0)])
def test_the_numbers_that_people_write_mean_the_same(kernel, stride, padding, output_padding):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 5, 3)), rng.standard_normal((kernel, kernel, 4, 3))
    close(F.conv_transpose2d(x, w, None, stride, padding, output_padding=output_padding),
          T.conv_transpose2d(to_torch(x), to_torch(w, True), None, stride, padding, output_padding))


@pytest.mark.parametrize("size", [(11, 9), (12, 9), (11, 10), (12, 10)])
def test_output_size_means_the_same(size):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 6, 5, 3)), rng.standard_normal((3, 3, 4, 3))
    layer = torch.nn.ConvTranspose2d(3, 4, 3, 2, 1, bias=False, dtype=torch.float64)
    layer.weight.data = to_torch(w, True).detach()
    close(F.conv_transpose2d(x, w, None, 2, 1, output_size=size), layer(to_torch(x), output_size=size))


LOSSES = {      # name: (ours, PyTorch's, inputs, targets)
    "mse_loss": (F.mse_loss, T.mse_loss, (-3, 3), (-3, 3)),
    "l1_loss": (F.l1_loss, T.l1_loss, (-3, 3), (-3, 3)),
    "binary_cross_entropy": (F.binary_cross_entropy, T.binary_cross_entropy, (0.01, 0.99), (0, 1)),
    "binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, T.binary_cross_entropy_with_logits,
                                         (-30, 30), (0, 1)),
    "cross_entropy": (F.cross_entropy, T.cross_entropy, (-30, 30), None),
    "cross_entropy of probabilities": (F.cross_entropy, T.cross_entropy, (-5, 5), (0, 1)),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_in_both_orders(name, reduction):
    ours, theirs, inputs, targets = LOSSES[name]
    rng = np.random.default_rng(0)
    x = rng.uniform(*inputs, (6, 5))
    target = rng.integers(0, 5, 6) if targets is None else rng.uniform(*targets, (6, 5))
    theirs_target = torch.tensor(target)
    both_orders(lambda a: ours(a, target, reduction=reduction), lambda a: theirs(a, theirs_target, reduction=reduction),
                [x], [False], rng)


def test_binary_cross_entropy_at_its_ends():
    x, t = np.array([0.0, 1, 0, 1, 1e-30, 0.5]), np.array([0.0, 1, 1, 0, 1, 0])
    ours, theirs = md.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    close(F.binary_cross_entropy(ours, t, reduction="none"),
          T.binary_cross_entropy(theirs, torch.tensor(t), reduction="none"))
    F.binary_cross_entropy(ours, t).backward()
    T.binary_cross_entropy(theirs, torch.tensor(t)).backward()
    assert np.allclose(ours.grad, theirs.grad.numpy(), rtol=1e-6)       # PyTorch's 1e-12 is a float32


@pytest.mark.parametrize("shape", [(7, 3), (3, 4, 2, 3)])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_both_orders(kernels, shape, training, affine):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) * 2 + 1, *(rng.standard_normal((2, 3)) if affine else ())]
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    their_mean, their_var = torch.tensor(mean), torch.tensor(var)
    both_orders(lambda x, *wb: F.batch_norm(x, mean, var, *wb, training=training, momentum=0.3),
                lambda x, *wb: T.batch_norm(x, their_mean, their_var, *wb, training=training, momentum=0.3), arrays,
                [False] * len(arrays), rng)
    assert np.allclose(mean, their_mean.numpy(), rtol=1e-12) and np.allclose(var, their_var.numpy(), rtol=1e-12)


def test_batch_norm_layers_stay_together_over_steps():
    rng = np.random.default_rng(0)
    ours, theirs = nn.BatchNorm2d(4, momentum=0.2), torch.nn.BatchNorm2d(4, momentum=0.2)
    for _ in range(5):
        x = rng.standard_normal((6, 3, 2, 4)).astype(np.float32)
        close(ours(md.Tensor(x)), theirs(to_torch(x)), rtol=1e-4)
    assert np.allclose(ours.running_mean, theirs.running_mean.numpy(), rtol=1e-5, atol=1e-6)
    assert np.allclose(ours.running_var, theirs.running_var.numpy(), rtol=1e-5)
    close(ours.eval()(md.Tensor(x)), theirs.eval()(to_torch(x)), rtol=1e-5)


OPTIMIZERS = [("Adam", {}), ("Adam", dict(lr=2e-4, betas=(0.5, 0.999))), ("Adam", dict(lr=0.05, weight_decay=0.1)),
              ("SGD", dict(lr=0.05)),
              ("SGD", dict(lr=0.05, momentum=0.9)),
              ("SGD", dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.1))]


@pytest.mark.parametrize("name, settings", OPTIMIZERS)
def test_fifty_steps_of_training(kernels, name, settings):
    """A small network, its gradients from each side's own tape,
    so that any difference would grow.
    """
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((8, 6, 6, 2)), rng.standard_normal((8, 6, 6, 2))
    arrays = [rng.standard_normal(shape) * 0.3 for shape in ((4, 4, 2, 3), (3,), (4, 4, 2, 3), (2,))]
    axes = (True, False, True, False)
    ours = [md.Tensor(a.copy(), requires_grad=True) for a in arrays]
    theirs = [to_torch(a, k) for a, k in zip(arrays, axes, strict=True)]
    mine, other = (getattr(library, name)(parameters, **{"lr": 1e-3, **settings})
                   for library, parameters in ((optim, ours), (torch.optim, theirs)))
    there, there_target = to_torch(x).detach(), to_torch(target).detach()
    for _ in range(50):
        mine.zero_grad()
        other.zero_grad()
        hidden = F.tanh(F.conv2d(x, ours[0], ours[1], 2, 1))
        loss = F.mse_loss(F.conv_transpose2d(hidden, ours[2], ours[3], 2, 1), target)
        their_hidden = torch.tanh(T.conv2d(there, theirs[0], theirs[1], 2, 1))
        their_loss = T.mse_loss(T.conv_transpose2d(their_hidden, theirs[2], theirs[3], 2, 1), there_target)
        loss.backward()
        their_loss.backward()
        mine.step()
        other.step()
    assert np.isclose(loss.item(), their_loss.item(), rtol=1e-8)
    for a, b, kernel in zip(ours, theirs, axes, strict=True):
        close(a, b, kernel, rtol=1e-7)


@pytest.mark.parametrize("size, kernel, stride, padding",
                         [((6, 8), 2, None, 0), ((7, 5), 3, 2, 1), ((7, 9), (3, 2), (1, 3), (1, 0)),
                                                           ((5, 5), 4, 1, 2)])
def test_pooling_with_switches_and_back(kernels, size, kernel, stride, padding):
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (2, *size, 3)).astype(np.float64)          # ties: which of them wins is part of the meaning
    there = to_torch(x).detach()
    y, switches = F.max_pool2d(x, kernel, stride, padding, return_indices=True)
    z, indices = T.max_pool2d(there, kernel, stride, padding, return_indices=True)
    close(y, z)
    assert np.array_equal(switches, to_ours(indices))
    for count_include_pad in (True, False):
        close(F.avg_pool2d(x, kernel, stride, padding, count_include_pad),
              T.avg_pool2d(there, kernel, stride, padding, False, count_include_pad))
    x = rng.standard_normal(x.shape)
    both_orders(lambda a: F.max_pool2d(a, kernel, stride, padding), lambda a: T.max_pool2d(a, kernel, stride, padding),
                [x], [False], rng)
    both_orders(lambda a: F.avg_pool2d(a, kernel, stride, padding), lambda a: T.avg_pool2d(a, kernel, stride, padding),
                [x], [False], rng)


@pytest.mark.parametrize("size, named", [((6, 6), None), ((7, 6), (7, 6))])
def test_unpool_in_both_orders(kernels, size, named):
    rng = np.random.default_rng(0)
    y, switches = F.max_pool2d(rng.standard_normal((2, *size, 3)), 2, return_indices=True)
    indices = torch.tensor(np.ascontiguousarray(switches.transpose(0, 3, 1, 2)))
    both_orders(lambda a: F.max_unpool2d(a, switches, 2, output_size=named),
                lambda a: T.max_unpool2d(a, indices, 2, output_size=named), [y.data], [False], rng)


@pytest.mark.parametrize("factor", [1, 2, 3, (2, 3)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_upsample_in_both_orders(factor, mode):
    rng = np.random.default_rng(0)
    aligned = {} if mode == "nearest" else {"align_corners": False}
    both_orders(lambda a: F.upsample(a, factor, mode),
                lambda a: T.interpolate(a, scale_factor=factor, mode=mode, **aligned),
                [rng.standard_normal((2, 3, 4, 2))], [False], rng)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_pixel_shuffle_in_both_orders(r):
    rng = np.random.default_rng(0)
    both_orders(lambda a: F.pixel_shuffle(a, r), lambda a: T.pixel_shuffle(a, r),
                [rng.standard_normal((2, 3, 4, 2 * r * r))], [False], rng)
