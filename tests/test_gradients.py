"""The table of all operations: each is checked against its slopes, to first and second order, with
both sets of kernels.

An operation without an entry is a red test, so that none can be forgotten; the same holds for the
public functions made of them. Inputs lie on the lattice k/4 + 1/8: exact in binary, and never on
the kink at 0.
"""
from typing import Callable, NamedTuple

import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import Tensor, ops
from minideconv.data.augment import shift
from minideconv.primitives import PRIMITIVES
from minideconv.switches import observe


class Entry(NamedTuple):
    name: str               # of the operation
    fn: Callable            # Tensors -> Tensor, by way of the operation
    inputs: tuple           # float64 arrays


def lattice(*shape, seed=0, low=-8, high=8):
    """Random multiples of 1/4, and 1/8: from low / 4 to high / 4, never 0."""
    return np.random.default_rng(seed).integers(low, high, shape) / 4 + 0.125


def positive(*shape, seed=0):
    return lattice(*shape, seed=seed, low=1)


def apart(*shape, seed=0):
    """No two equal: where two entries share a maximum, it has a kink."""
    return np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape) / 4 - 1.375


def fraction(*shape, seed=0):
    """Probabilities inside (0, 1)."""
    return lattice(*shape, seed=seed, low=1, high=15) / 4


# A 3x2 kernel at stride 2, padding 1 maps one to the other.
IMAGES, FEATURES = lattice(2, 5, 4, 2, seed=1), lattice(2, 3, 2, 3, seed=2)
KERNEL, GEOMETRY = lattice(3, 2, 2, 3, seed=3), dict(stride=2, padding=((1, 1), (0, 0)))
GROUPED = lattice(2, 3, 1, 4, seed=4)
MASK = np.array([[True, False, True], [False, False, True]])
ROWS = np.array([2, 0, 2, 2])
TIES = np.array([[[1.0, 2, 2], [1, 3, 2]], [[3, 0, 1], [2, 0, 1]]])
SWITCHES = np.random.default_rng(5).integers(0, 5 * 4, (2, 3, 2, 2))               # some pixels twice

TABLE = [
    Entry("add", lambda a, b: a + b, (lattice(2, 3), lattice(3, seed=1))),
    Entry("subtract", lambda a, b: a - b, (lattice(2, 1, 3), lattice(4, 1, seed=1))),
    Entry("multiply", lambda a, b: a * b, (lattice(2, 3), lattice(1, 3, seed=1))),
    Entry("multiply", lambda a: a * a, (lattice(2, 3),)),
    Entry("divide", lambda a, b: a / b, (lattice(3), lattice(2, 3, seed=1))),
    Entry("negative", lambda x: -x, (lattice(2, 3),)),
    Entry("power", lambda x, p: x ** p, (positive(2, 3), lattice(3, seed=1))),
    Entry("power", lambda x: x ** np.array([3, 2, 1, 0]), (lattice(2, 4),)),
    Entry("power", lambda p: 1.5 ** p, (lattice(2, 3),)),
    Entry("exp", lambda x: x.exp(), (lattice(2, 3),)),
    Entry("log", lambda x: x.log(), (positive(2, 3),)),
    Entry("sqrt", lambda x: x.sqrt(), (positive(2, 3),)),
    Entry("absolute", lambda x: abs(x), (lattice(2, 3),)),
    Entry("power", lambda x, p: x ** p, (positive(2, 3), np.array([0.0, 1.0, 2.0]))),
    Entry("maximum", md.maximum, (lattice(2, 3), lattice(3, seed=1) + 1 / 16)),
    Entry("minimum", md.minimum, (lattice(2, 3), lattice(3, seed=1) + 1 / 16)),
    Entry("_where", lambda a, b: md.where(MASK, a, b), (lattice(2, 3), lattice(3, seed=1))),
    Entry("_astype", lambda x: x.astype(np.float64) * x, (lattice(2, 3),)),
    Entry("sum", lambda x: x.sum(), (lattice(2, 3),)),
    Entry("sum", lambda x: x.sum(axis=(0, -1), keepdims=True) * x, (lattice(2, 3, 2),)),
    Entry("max", lambda x: x.max(), (apart(2, 3),)),
    Entry("max", lambda x: x.max(axis=(0, 2)) * x.max(axis=1, keepdims=True), (apart(2, 3, 3),)),
    Entry("min", lambda x: x.min(), (apart(2, 3),)),
    Entry("min", lambda x: x.min(axis=(0, 2)) * x.min(axis=1, keepdims=True), (apart(2, 3, 3),)),
    Entry("_broadcast_to", lambda x: ops.broadcast_to(x, (4, 2, 3)), (lattice(2, 1),)),
    Entry("_reshape", lambda x: x.reshape(3, -1) * x.reshape(3, 2), (lattice(2, 3),)),
    Entry("_transpose", lambda x: x.transpose(2, 0, 1), (lattice(2, 3, 2),)),
    Entry("_getitem", lambda x: x[ROWS, ::-1] * x[:1, 1:], (lattice(3, 2),)),
    Entry("_getitem", lambda x: x[MASK], (lattice(2, 3),)),
    Entry("_putitem", lambda g: PRIMITIVES["_putitem"](g, index=ROWS, shape=(3, 2)), (lattice(4, 2),)),
    Entry("_putitem", lambda g: PRIMITIVES["_putitem"](g, index=ROWS, shape=(3, 40)), (lattice(4, 40),)),
    Entry("_putitem", lambda g: PRIMITIVES["_putitem"](g, index=(slice(None, None, 2), 1), shape=(5, 2)),
          (lattice(3),)),
    Entry("_pad", lambda x: md.pad(x, ((1, 2), (0, 3)), constant_values=1.5), (lattice(2, 3),)),
    Entry("_concatenate", lambda a, b: md.concatenate([a, b, a], axis=1), (lattice(2, 1), lattice(2, 3, seed=1))),
    Entry("_matmul", lambda a, b: a @ b, (lattice(2, 3), lattice(3, 4, seed=1))),
    Entry("_matmul", lambda a, b: a @ b, (lattice(2, 1, 2, 3), lattice(4, 3, 2, seed=1))),
    Entry("_matmul", lambda a, b: a @ b, (lattice(3), lattice(2, 3, 2, seed=1))),
    Entry("_matmul", lambda x, w, b: F.linear(x, w, b) * F.linear(x, w, b), (lattice(2, 3), lattice(3, 4, seed=1),
                                                                            lattice(4, seed=2))),
    Entry("_matmul", lambda x, w, b: F.linear(x, w, b), (lattice(2, 1, 3), lattice(3, 2, seed=1), lattice(2, seed=2))),
    Entry("conv", lambda x, w: F.conv2d(x, w, **GEOMETRY), (IMAGES, KERNEL)),
    Entry("conv", lambda x, w: F.conv2d(x, w, padding="same", dilation=(2, 1), groups=2), (IMAGES, GROUPED)),
    Entry("conv_transpose", lambda y, w: F.conv_transpose2d(y, w, **GEOMETRY, output_padding=(0, 0)),
          (FEATURES, KERNEL)),
    Entry("conv_transpose", lambda y, w: F.conv_transpose2d(y, w, stride=(3, 1), output_padding=(2, 0), groups=2),
          (lattice(1, 2, 2, 4), GROUPED)),
    Entry("conv", lambda x, w: F.conv2d(x, w, lattice(3).astype(x.dtype) + 0.3, **GEOMETRY, negative_slope=0.2),
          (IMAGES, KERNEL)),
    Entry("conv_transpose", lambda y, w: F.conv_transpose2d(y, w, **GEOMETRY, output_padding=(0, 0),
                                                            negative_slope=0.2) * 0.5, (FEATURES, KERNEL)),
    Entry("conv_kernel", lambda x, y: F.conv_kernel_grad(x, y, (3, 2), **GEOMETRY), (IMAGES, FEATURES)),
    Entry("_im2col", lambda x: F.im2col(x, (3, 2), **GEOMETRY), (IMAGES,)),
    Entry("_col2im", lambda cols: F.col2im(cols, (5, 4), (3, 2), **GEOMETRY), (lattice(2, 3, 2, 12),)),
    Entry("_shift", lambda x: shift(x, [[1, 0], [-1, 2]]), (lattice(2, 3, 4, 2),)),
    Entry("gate", lambda g: PRIMITIVES["gate"](g, x=lattice(2, 3, seed=1).astype(g.dtype), slope=0.2),
          (lattice(2, 3),)),
    *(Entry("_to_extremes", lambda g, axes=axes, top=top: PRIMITIVES["_to_extremes"](
        g, x=TIES.astype(g.dtype), top=top.astype(g.dtype), axes=axes) * g.mean(), (lattice(*top.shape),))
      for axes, top in ((axes, TIES.max(axis=axes, keepdims=True)) for axes in ((1,), (0, 2)))),
    Entry("_leaky_relu", lambda x: F.leaky_relu(x, 0.2) * x, (lattice(2, 3),)),
    Entry("relu", lambda x: F.relu(x) * x, (lattice(2, 3),)),
    Entry("sigmoid", F.sigmoid, (lattice(2, 3),)),
    Entry("tanh", F.tanh, (lattice(2, 3),)),
    Entry("softplus", F.softplus, (lattice(2, 3),)),
    Entry("take_pixels", lambda x: PRIMITIVES["take_pixels"](x, switches=SWITCHES), (IMAGES,)),
    Entry("put_pixels", lambda y: PRIMITIVES["put_pixels"](y, switches=SWITCHES, size=(5, 4)), (lattice(2, 3, 2, 2),)),
    Entry("batch_norm_training", lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True, negative_slope=0.2),
          (lattice(5, 3), lattice(3, seed=1), lattice(3, seed=2))),
    Entry("batch_norm_training", lambda x: F.batch_norm(x, None, None, training=True), (lattice(5, 3),)),
    Entry("_logistic_loss", lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
          (lattice(2, 3), fraction(2, 3, seed=1))),
    Entry("_bernoulli_entropy", lambda x, t: F.binary_cross_entropy(x, t, reduction="none"),
          (fraction(2, 3), fraction(2, 3, seed=1))),
    Entry("_cut_log", PRIMITIVES["_cut_log"], (positive(2, 3),)),
]

# The public functions that are made of several operations: is the whole right, with its arguments handed on?
PUBLIC = [
    Entry("conv2d", lambda x, w, b: F.conv2d(x, w, b, padding=1), (IMAGES, KERNEL, lattice(3))),
    Entry("conv_transpose2d", lambda y, w, b: F.conv_transpose2d(y, w, b, stride=2, padding="same"),
          (FEATURES, KERNEL, lattice(2))),
    Entry("conv_kernel_grad", lambda x, y: F.conv_kernel_grad(x, y, (3, 3), padding=1), (IMAGES, lattice(2, 5, 4, 1))),
    Entry("im2col", lambda x: F.im2col(x, 2, dilation=2), (IMAGES,)),
    Entry("col2im", lambda cols: F.col2im(cols, (3, 3), 2), (lattice(1, 2, 2, 4),)),
    Entry("max_pool2d", lambda x: F.max_pool2d(x, (3, 2), stride=2, padding=1), (apart(1, 4, 3, 2),)),
    Entry("max_unpool2d", lambda y: F.max_unpool2d(y, SWITCHES, 2, output_size=(5, 4)), (lattice(2, 3, 2, 2),)),
    Entry("avg_pool2d", lambda x: F.avg_pool2d(x, 2, stride=1, padding=1), (IMAGES,)),
    Entry("avg_pool2d", lambda x: F.avg_pool2d(x, 2, padding=1, count_include_pad=False), (IMAGES,)),
    Entry("upsample", lambda x: F.upsample(x, (2, 1)), (lattice(1, 2, 3, 2),)),
    Entry("upsample", lambda x: F.upsample(x, (2, 3), mode="bilinear"), (lattice(1, 2, 3, 2),)),
    Entry("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), (lattice(1, 2, 1, 8),)),
    Entry("relu", F.relu, (lattice(2, 3),)),
    Entry("linear", F.linear, (lattice(2, 2, 3), lattice(3, 2, seed=1), lattice(2, seed=2))),
    Entry("leaky_relu", F.leaky_relu, (lattice(2, 3),)),
    Entry("sigmoid", F.sigmoid, (lattice(2, 3),)),
    Entry("tanh", F.tanh, (lattice(2, 3),)),
    Entry("softplus", F.softplus, (lattice(2, 3),)),
    Entry("softmax", F.softmax, (lattice(2, 3),)),
    Entry("log_softmax", lambda x: F.log_softmax(x, axis=0), (lattice(2, 3),)),
    Entry("dropout", lambda x: F.dropout(x, 0.5, rng=np.random.default_rng(0), training=True), (lattice(2, 3),)),
    Entry("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
          (IMAGES, lattice(2), lattice(2, seed=1))),
    Entry("batch_norm", lambda x, w, b: F.batch_norm(x, np.array([0.5, -1]), np.array([2.0, 3]), w, b,
                                                     negative_slope=0.2),
          (IMAGES, lattice(2, seed=6), lattice(2, seed=1))),
    Entry("mse_loss", F.mse_loss, (lattice(2, 3), lattice(2, 3, seed=1))),
    Entry("l1_loss", F.l1_loss, (lattice(2, 3), lattice(2, 3, seed=1) + 1 / 16)),
    Entry("cross_entropy", lambda x, t: F.cross_entropy(x, t, reduction="sum"),
          (lattice(2, 3), fraction(2, 3, seed=1))),
    Entry("binary_cross_entropy", F.binary_cross_entropy, (fraction(2, 3), fraction(2, 3, seed=1))),
    Entry("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits,
          (lattice(2, 3), fraction(2, 3, seed=1))),
    Entry("mse_loss", lambda x: F.mse_loss(x, lattice(2, 3, seed=1)), (lattice(2, 3),)),
    Entry("l1_loss", lambda x: F.l1_loss(x, lattice(2, 3, seed=1) + 1 / 16, reduction="sum"), (lattice(2, 3),)),
    Entry("cross_entropy", lambda x: F.cross_entropy(x, np.array([2, 0])), (lattice(2, 3),)),
    Entry("cross_entropy", lambda x: F.cross_entropy(x, np.array([[0.5, 0.25, 0.25], [0, 1, 0]]), reduction="none"),
          (lattice(2, 3),)),
    Entry("binary_cross_entropy", lambda x: F.binary_cross_entropy(x, fraction(2, 3, seed=1)), (fraction(2, 3),)),
    Entry("binary_cross_entropy_with_logits", lambda x: F.binary_cross_entropy_with_logits(x, fraction(2, 3, seed=1)),
          (lattice(2, 3),)),
]


def entries(table):
    return pytest.mark.parametrize("entry", table, ids=lambda entry: entry.name)


def test_every_operation_has_an_entry():
    assert {entry.name for entry in TABLE} == set(PRIMITIVES)


def test_every_public_function_has_an_entry():
    assert {entry.name for entry in PUBLIC} == set(F.__all__)


@entries(TABLE + PUBLIC)
def test_gradient(entry, kernels):
    assert md.gradcheck(entry.fn, *entry.inputs)


@entries(TABLE + PUBLIC)
def test_gradient_of_the_gradient(entry, kernels):
    assert md.gradgradcheck(entry.fn, *entry.inputs)


@entries(TABLE + PUBLIC)
def test_the_recorded_gradient_is_the_gradient(entry, kernels):
    """gradgradcheck alone would pass a recorded gradient that is the gradient of some other function."""
    inputs = [Tensor(array, requires_grad=True) for array in entry.inputs]
    y = entry.fn(*inputs)
    weight = lattice(*y.shape, seed=7)
    for plain, recorded in zip(md.grad(y, inputs, weight), md.grad(y, inputs, weight, create_graph=True), strict=True):
        assert np.allclose(plain.data, recorded.data, rtol=1e-10, atol=1e-12)


def observed(entry, dtype):
    """(name, direction, dtype) of every array that the operations make: forward, backward, and backward again."""
    made = []

    def observer(name, direction, call):
        result = call()
        made.append((name, direction, (result[0] if direction == "forward" else result).dtype))
        return result
    inputs = [Tensor(array.astype(dtype), requires_grad=True) for array in entry.inputs]
    with observe(observer):
        y = entry.fn(*inputs)
        first = md.grad(y, inputs, gradient=np.ones(y.shape, dtype), create_graph=True)
        total = sum((g * g).sum() for g in first)
        if total.requires_grad:
            total.backward()
    return made, [tensor.grad for tensor in inputs if tensor.grad is not None]


@entries(TABLE)
def test_an_entry_runs_the_operation_that_it_is_named_for(entry):
    made, _ = observed(entry, np.float64)
    assert {(name, direction) for name, direction, _ in made} >= {(entry.name, "forward"), (entry.name, "backward")}


@entries([entry for entry in TABLE + PUBLIC if entry.name != "_astype"])
def test_float32_stays_float32(entry, kernels):
    """In every operation on the way there, on the way back, and on the way back again: one float64
    constant would double all that follows.
    """
    made, gradients = observed(entry, np.float32)
    assert [one for one in made if one[2] != np.float32] == []
    assert all(gradient.dtype == np.float32 for gradient in gradients)


@entries(TABLE)
def test_an_operation_leaves_its_inputs_alone(entry, kernels):
    """Nothing is written into an input, nor into the gradient that comes in."""
    inputs = [Tensor(array.copy(), requires_grad=True) for array in entry.inputs]
    y = entry.fn(*inputs)
    weight = lattice(*y.shape, seed=7)
    before = weight.copy()
    y.backward(weight)
    assert np.array_equal(weight, before)
    assert all(np.array_equal(tensor.data, array) for tensor, array in zip(inputs, entry.inputs, strict=True))
