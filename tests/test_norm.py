"""Batch normalisation: values, running statistics, the fused leaky ReLU, and gradients of both orders.

The comparison is written here from the formulas of Ioffe and Szegedy 2015, channel by channel.
"""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minideconv as md
import minideconv.functional as F
from minideconv import nn
from minideconv.kernels.fast import rows

SHAPES = [(5, 3), (2, 3, 4, 2), (1, 2, 1, 1), (40, 3)]


def batch(shape, seed=0):
    """x, weight, bias and a cotangent. One weight is negative, so that its channel passes the ramp upside down."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.5, 2, shape[-1])
    weight[0] = -weight[0]
    return 3 + 2 * rng.standard_normal(shape), weight, rng.standard_normal(shape[-1]), rng.standard_normal(shape)


def by_formula(x, weight=None, bias=None, eps=1e-5, slope=1.0):
    """One channel after the other, in plain sums. Gives y, the means, and the biased variances."""
    y, means, variances = np.zeros(x.shape), [], []
    for c in range(x.shape[-1]):
        values = [float(v) for v in x[..., c].ravel()]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        scale, shift = 1 if weight is None else weight[c], 0 if bias is None else bias[c]
        z = (x[..., c] - mean) / (variance + eps) ** 0.5 * scale + shift
        y[..., c] = np.where(z > 0, z, slope * z)
        means.append(mean)
        variances.append(variance)
    return y, np.array(means), np.array(variances)


def gradients_by_formula(x, weight, bias, g, eps=1e-5, slope=1.0):
    """The gradients for x, weight and bias of <y, g>, as derived in the paper."""
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    y, mean, variance = by_formula(x, weight, bias, eps)
    g = np.where(y > 0, g, slope * g)
    inverse = 1 / np.sqrt(variance + eps)
    xhat = (x - mean) * inverse
    by_xhat = g * weight
    by_variance = (by_xhat * (x - mean)).sum(axes) * -0.5 * inverse ** 3
    by_mean = -(by_xhat * inverse).sum(axes) + by_variance * (-2 * (x - mean)).sum(axes) / count
    return by_xhat * inverse + by_variance * 2 * (x - mean) / count + by_mean / count, (g * xhat).sum(axes), g.sum(axes)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [1.0, 0.2, 0.0])
def test_training_values(kernels, shape, slope):
    x, weight, bias, _ = batch(shape)
    for w, b in ((weight, bias), (None, None), (weight, None), (None, bias)):
        y = F.batch_norm(x, None, None, w, b, training=True, negative_slope=slope)
        assert np.allclose(y.data, by_formula(x, w, b, slope=slope)[0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [1.0, 0.2])
def test_first_gradients(kernels, shape, slope):
    x, weight, bias, g = batch(shape)
    tensors = [md.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
    F.batch_norm(tensors[0], None, None, *tensors[1:], training=True, negative_slope=slope).backward(g)
    for tensor, expected in zip(tensors, gradients_by_formula(x, weight, bias, g, slope=slope), strict=True):
        assert np.allclose(tensor.grad, expected, rtol=1e-8, atol=1e-9)


@given(seed=st.integers(0, 1000), momentum=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
       shape=st.sampled_from([(4, 2), (2, 3, 2, 3)]))
def test_running_statistics_follow_pytorchs_rule(kernels, seed, momentum, shape):
    """In place; the running variance is unbiased, the one that normalises is not."""
    x, weight, bias, _ = batch(shape, seed)
    mean, var = np.arange(1.0, shape[-1] + 1), np.arange(2.0, shape[-1] + 2)
    kept_mean, kept_var, old_mean, old_var = mean, var, mean.copy(), var.copy()
    F.batch_norm(x, mean, var, weight, bias, training=True, momentum=momentum)
    _, batch_mean, batch_var = by_formula(x)
    count = x.size // shape[-1]
    assert np.allclose(kept_mean, (1 - momentum) * old_mean + momentum * batch_mean, rtol=1e-12)
    assert np.allclose(kept_var, (1 - momentum) * old_var + momentum * batch_var * count / (count - 1), rtol=1e-12)


@pytest.mark.parametrize("slope", [1.0, 0.2])
def test_evaluation_uses_and_keeps_the_running_statistics(slope):
    x, weight, bias, g = batch((2, 3, 2, 2))
    mean, var = np.array([1.0, -2.0]), np.array([4.0, 0.25])
    tensors = [md.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y = F.batch_norm(tensors[0], mean, var, *tensors[1:], eps=0.5, negative_slope=slope)
    xhat = (x - mean) / np.sqrt(var + 0.5)
    z = xhat * weight + bias
    assert np.allclose(y.data, np.where(z > 0, z, slope * z), rtol=1e-12)
    assert mean.tolist() == [1, -2] and var.tolist() == [4, 0.25]
    y.backward(g)
    through = np.where(z > 0, g, slope * g)
    gradients = through * weight / np.sqrt(var + 0.5), (through * xhat).sum((0, 1, 2)), through.sum((0, 1, 2))
    for tensor, expected in zip(tensors, gradients, strict=True):
        assert np.allclose(tensor.grad, expected, rtol=1e-12)


def second_order(y, inputs, g):
    """Gradients of a sum of squared gradients: what a gradient penalty asks for. It does not depend
    on the bias, but on all else.
    """
    first = md.grad(y, inputs, gradient=g, create_graph=True)
    return md.grad(sum((one * one).sum() for one in first), (*inputs[:2], g))


@pytest.mark.parametrize("shape", SHAPES[:2])
@pytest.mark.parametrize("training", [True, False])
def test_fused_slope_equals_batch_norm_then_leaky_relu_in_both_orders(kernels, shape, training):
    x, weight, bias, g = batch(shape)
    found = []
    for fused in (True, False):
        inputs = [md.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
        cotangent = md.Tensor(g, requires_grad=True)
        running = np.zeros(shape[-1]), np.ones(shape[-1])
        y = F.batch_norm(inputs[0], *running, *inputs[1:], training=training, negative_slope=0.2 if fused else 1.0)
        y = y if fused else F.leaky_relu(y, 0.2)
        found.append([y, *md.grad(y, inputs, gradient=g), *second_order(y, inputs, cotangent)])
    for one, other in zip(*found, strict=True):
        assert np.allclose(one.data, other.data, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("slope", [1.0, 0.25])
def test_differentiable_twice(kernels, affine, slope):
    x, weight, bias, _ = batch((4, 2))
    inputs = (x, weight, bias) if affine else (x,)

    def fn(x, weight=None, bias=None):
        return F.batch_norm(x, None, None, weight, bias, training=True, negative_slope=slope)
    assert md.gradcheck(fn, *inputs)
    assert md.gradgradcheck(fn, *inputs)


def test_chunks_of_rows_change_only_the_rounding(kernels, monkeypatch):
    """Many chunks whose means differ much: their deviations must be merged by Chan's rule."""
    x, weight, bias, g = batch((70, 3))
    x += np.arange(70)[:, None] * 10
    monkeypatch.setattr(rows, "ROW_BYTES", 8 * 3 * 16)
    tensors = [md.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y = F.batch_norm(tensors[0], None, None, *tensors[1:], training=True)
    assert np.allclose(y.data, by_formula(x, weight, bias)[0], rtol=1e-10, atol=1e-12)
    y.backward(g)
    for tensor, expected in zip(tensors, gradients_by_formula(x, weight, bias, g), strict=True):
        assert np.allclose(tensor.grad, expected, rtol=1e-8, atol=1e-9)


def test_float32_far_from_zero_keeps_its_digits(kernels):
    x, _, _, _ = batch((500, 2))
    x = (x + 300).astype(np.float32)
    mean, var = np.zeros(2, np.float32), np.ones(2, np.float32)
    y = F.batch_norm(x, mean, var, training=True, momentum=1.0)
    expected, means, variances = by_formula(x)
    assert y.dtype == mean.dtype == np.float32
    assert np.allclose(y.data, expected, atol=1e-4)
    assert np.allclose(mean, means, rtol=1e-6) and np.allclose(var, variances * 500 / 499, rtol=1e-4)


def test_layer_with_and_without_affine():
    x, _, _, _ = batch((2, 3, 2, 3))
    x = x.astype(np.float32)
    plain = nn.BatchNorm2d(3, affine=False)
    assert plain.parameters() == [] and sorted(plain.state_dict()) == ["running_mean", "running_var"]
    affine = nn.BatchNorm2d(3, eps=0.1)
    affine.weight.data[:], affine.bias.data[:] = (2, 3, 4), (1, 0, -1)
    assert np.allclose(plain(md.Tensor(x)).data, by_formula(x)[0], atol=1e-5)
    assert np.allclose(affine(md.Tensor(x)).data, by_formula(x, (2, 3, 4), (1, 0, -1), eps=0.1)[0], atol=1e-5)


def test_layer_follows_train_and_eval():
    x = batch((2, 3, 2, 3))[0].astype(np.float32)
    layer = nn.BatchNorm2d(3, momentum=1.0)
    layer(md.Tensor(x))
    trained, mean = layer.state_dict(), by_formula(x)[1]
    assert np.allclose(trained["running_mean"], mean, rtol=1e-5)
    y = layer.eval()(md.Tensor(x * 2))
    assert np.allclose(y.data, (x * 2 - mean) / np.sqrt(trained["running_var"] + 1e-5), atol=1e-4)
    assert all(np.array_equal(layer.state_dict()[name], array) for name, array in trained.items())


def test_layer_without_running_statistics_always_uses_the_batch():
    x = batch((2, 3, 2, 3))[0].astype(np.float32)
    layer = nn.BatchNorm2d(3, track_running_stats=False).eval()
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    assert np.allclose(layer(md.Tensor(x)).data, by_formula(x)[0], atol=1e-5)


X = np.zeros((4, 3), np.float32)
REFUSED = {
    "three axes": (lambda: F.batch_norm(X[None], None, None, training=True), r"x must be .*got shape \(1, 4, 3\)"),
    "one value per channel": (lambda: F.batch_norm(X[:1], None, None, training=True),
                              r"at least 2 values per channel.*\(1, 3\)"),
    "no statistics": (lambda: F.batch_norm(X, None, None), "running_mean and running_var must be given"),
    "a weight of another size": (lambda: F.batch_norm(X, None, None, np.ones(4), training=True),
                                 r"weight .*\(3,\).*got \(4,\)"),
    "statistics of another size": (lambda: F.batch_norm(X, np.ones(3), np.ones((1, 3))),
                                   r"running_var .*\(3,\).*got \(1, 3\)"),
    "momentum above 1": (lambda: nn.BatchNorm2d(3, momentum=1.5), "momentum must lie in"),
    "no channels": (lambda: nn.BatchNorm2d(0), "num_features must be at least 1; got 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("mean", [100.0, 3000.0])
def test_fault_12_a_nearly_constant_channel_far_from_zero_keeps_its_digits(kernels, mean):
    """As exact as its float32 input allows: the errors are those of rounding the results alone."""
    rng = np.random.default_rng(0)
    x = (mean + 1e-2 * rng.standard_normal((64, 14, 14, 3))).astype(np.float32)
    weight, bias, g = (rng.standard_normal(shape).astype(np.float32) for shape in (3, 3, x.shape))
    exact = by_formula(x.astype(np.float64), weight, bias)[0]
    tensors = [md.Tensor(a, requires_grad=True) for a in (x, weight, bias)]
    y = F.batch_norm(tensors[0], None, None, *tensors[1:], training=True)
    assert np.abs(y.data - exact).max() <= 4e-6 * np.abs(exact).max()
    y.backward(g)
    gradients = gradients_by_formula(x.astype(np.float64), weight, bias, g.astype(np.float64))
    for tensor, expected in zip(tensors, gradients, strict=True):
        assert np.abs(tensor.grad - expected).max() <= 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("wrong", ["weight", "bias"])
def test_fault_15_another_dtype_is_refused_in_the_forward_pass(training, wrong):
    x, ones = np.ones((4, 3)) * np.arange(4)[:, None], {"weight": np.ones(3), "bias": np.ones(3)}
    ones[wrong] = ones[wrong].astype(np.float32)
    with pytest.raises(TypeError, match=f"{wrong} must have x's dtype float64; got float32"):
        F.batch_norm(x, np.zeros(3), np.ones(3), **ones, training=training)


def test_fault_15_a_float32_layer_on_float64():
    with pytest.raises(TypeError, match="weight must have x's dtype float64; got float32"):
        nn.BatchNorm2d(3)(md.Tensor(np.arange(12.0).reshape(4, 3)))
