"""One dtype rule for all operations (fault 2), and what may enter a Tensor (faults 1, 6, 7, 14).

What needs fractions computes integers and booleans in float32, 64-bit ones in float64; what does
not keeps NumPy's type.
"""
import numpy as np
import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import ops

DTYPES = [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float32,
          np.float64]
IMAGES = np.arange(32).reshape(1, 4, 4, 2) % 7          # fits every dtype; not 0 at [:, 1:2, :1]

# Operations that need fractions: name -> call on images (N, H, W, C). Each is compared with itself on float64.
FRACTIONS = {
    "divide": lambda x: ops.divide(x, 4), "exp": ops.exp, "log": lambda x: ops.log(x[:, 1:2, :1]), "sqrt": ops.sqrt,
    "mean": lambda x: ops.mean(x, axis=(0, 1)), "var": lambda x: ops.var(x, axis=0),
    "std": lambda x: ops.std(x, axis=1),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "sigmoid": F.sigmoid, "tanh": F.tanh, "softplus": F.softplus,
    "softmax": F.softmax, "log_softmax": F.log_softmax,
    "dropout": lambda x: F.dropout(x, 0.5, rng=np.random.default_rng(0), training=True),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "batch_norm in evaluation": lambda x: F.batch_norm(x, np.zeros(2), np.ones(2)),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "avg_pool2d without padding": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "upsample bilinear": lambda x: F.upsample(x, 2, "bilinear"),
    "mse_loss": lambda x: F.mse_loss(x, np.full(x.shape, 0.5)),
    "l1_loss": lambda x: F.l1_loss(x, np.full(x.shape, 0.5)),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, np.full(x.shape, 0.5)),
    "cross_entropy": lambda x: F.cross_entropy(ops.reshape(x, 4, 8), np.array([0, 1, 2, 3])),
}
# Operations that do not: they keep the type that NumPy would give, and are exact.
KEPT = {
    "add": (lambda x: x + x, lambda a: a + a), "multiply": (lambda x: x * x, lambda a: a * a),
    "relu": (F.relu, lambda a: a), "maximum": (lambda x: md.maximum(x, x), lambda a: a),
    "max": (lambda x: x.max(axis=1), lambda a: a.max(axis=1)),
    "min": (lambda x: x.min(axis=2), lambda a: a.min(axis=2)),
    "sum": (lambda x: x.sum((0, 1)), lambda a: a.sum((0, 1))),
    "reshape": (lambda x: x.reshape(8, 4), lambda a: a.reshape(8, 4)), "transpose": (lambda x: x.T, lambda a: a.T),
    "getitem": (lambda x: x[:, 1:], lambda a: a[:, 1:]),
    "concatenate": (lambda x: md.concatenate([x, x]), lambda a: np.concatenate([a, a])),
    "stack": (lambda x: md.stack([x, x]), lambda a: np.stack([a, a])),
    "pad": (lambda x: md.pad(x, 1), lambda a: np.pad(a, 1)),
    "where": (lambda x: md.where(x.data > 2, x, x), lambda a: a),
    "im2col": (lambda x: F.im2col(x, 1), lambda a: a),
    "upsample": (lambda x: F.upsample(x, 2), lambda a: a.repeat(2, 1).repeat(2, 2)),
    "max_pool2d": (lambda x: F.max_pool2d(x, 1), lambda a: a),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 1), lambda a: a),
    "abs": (abs, np.abs), "clip": (lambda x: x.clip(0, 1), lambda a: np.clip(a, 0, 1)),
}


def floating(dtype):
    return np.dtype(np.float64 if np.dtype(dtype).itemsize == 8 else np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FRACTIONS)
def test_fault_02_what_needs_fractions_has_them(kernels, name, dtype):
    images = IMAGES.astype(dtype)
    found, exact = FRACTIONS[name](md.Tensor(images)), FRACTIONS[name](md.Tensor(images.astype(np.float64)))
    assert found.dtype == floating(dtype)
    assert np.allclose(found.data, exact.data, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KEPT)
def test_fault_02_what_needs_none_keeps_the_type(kernels, name, dtype):
    images = IMAGES.astype(dtype)
    call, numpys = KEPT[name]
    found, expected = call(md.Tensor(images)), numpys(images)
    assert found.dtype == expected.dtype and np.array_equal(found.data, expected)


@pytest.mark.parametrize("dtype", DTYPES[:-2])
@pytest.mark.parametrize("call",
                         [lambda x, w: F.conv2d(x, w), lambda x, w: F.conv_transpose2d(x, w), lambda x,
                          w: F.conv_kernel_grad(x, x, 1)])
def test_convolutions_refuse_integers_by_name(call, dtype):
    with pytest.raises(TypeError, match="float32 or float64"):
        call(IMAGES.astype(dtype), np.ones((1, 1, 2, 2), dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.complex64, object])
def test_what_no_operation_computes_in_is_refused(dtype):
    with pytest.raises(TypeError, match="float32, float64, integers or booleans"):
        md.Tensor(np.ones(3, dtype))


def test_fault_01_the_examples():
    """Sums over more entries than are added at a time, of small types."""
    images = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 3)).astype(np.uint8)
    assert np.allclose(md.Tensor(images).mean((0, 1, 2)).data, images.mean((0, 1, 2)), rtol=1e-6)
    total = md.Tensor(images > 100).sum((0, 1, 2))
    assert total.dtype == np.int64 and np.array_equal(total.data, (images > 100).sum((0, 1, 2)))
    assert md.Tensor(images).sum().item() == int(images.sum())


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_fault_06_whole_numbers_are_never_on_the_tape(dtype):
    x = md.Tensor(np.ones(3), requires_grad=True)
    assert not x.astype(dtype).requires_grad and (x * 2).requires_grad
    with pytest.raises(TypeError, match="can require a gradient"):
        md.Tensor(np.ones(3, dtype), requires_grad=True)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")       # of np.matrix itself
def test_fault_07_subclasses_are_plain_arrays():
    matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    product = md.Tensor(matrix) * md.Tensor(matrix)
    assert type(product.data) is np.ndarray and product.data.tolist() == [[1, 4], [9, 16]]
    assert (md.Tensor(np.eye(2)) * matrix).data.tolist() == [[1, 0], [0, 4]]
    for call in (lambda a: md.Tensor(a), lambda a: md.Tensor(np.ones(2)) + a, lambda a: F.relu(a),
                 lambda a: md.where([True, False], a, a)):
        with pytest.raises(TypeError, match="masked array"):
            call(np.ma.array([1.0, 2.0], mask=[False, True]))


@pytest.mark.parametrize("order", [">f4", ">f8"])
def test_fault_14_arrays_of_another_byte_order_are_native(kernels, order):
    x, w = IMAGES.astype(order), np.ones((2, 2, 2, 3), order)
    for call in (lambda x, w: F.conv2d(x, w), lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1, 3, 2)), lambda x,
                 w: F.max_pool2d(x, 2),
                 lambda x, w: F.avg_pool2d(x, 2), lambda x, w: F.batch_norm(x, None, None, training=True), lambda x,
                 w: F.leaky_relu(x),
                 lambda x, w: F.im2col(x, 2), lambda x, w: F.upsample(x, 2, "bilinear"), lambda x,
                 w: md.Tensor(x).sum(), lambda x, w: x @ md.Tensor(x)
                 if x.ndim == 2 else md.Tensor(x) + x):
        found, expected = call(x, w), call(x.astype(x.dtype.newbyteorder("=")), w.astype(w.dtype.newbyteorder("=")))
        assert found.dtype.isnative and np.array_equal(found.data, expected.data)
    p = md.Tensor(np.ones(3, order), requires_grad=True)
    (p * p).sum().backward()
    md.optim.Adam([p], 0.1).step()
    assert p.grad.dtype.isnative and p.dtype.isnative
