"""The translator by value: PyTorch where it is installed,
TensorFlow's and ONNX's rules as loops written here from their documentation.
"""
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minideconv.functional as F
from minideconv import conventions
from minideconv.draw import figure, translate

RNG = np.random.default_rng(2)
CHANNELS, OUTPUTS = 2, 3
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
inputs = st.tuples(st.integers(1, 6), st.integers(1, 6))
short = st.tuples(st.integers(1, 3), st.integers(1, 3))
extras = st.tuples(st.integers(0, 2), st.integers(0, 2))
pads = st.tuples(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.tuples(st.integers(0, 4), st.integers(0, 4)))


def integers(*shape):
    return RNG.integers(-9, 10, shape).astype(float)


def arrays(layer):
    """An input and a kernel for a layer, in this project's order."""
    source = OUTPUTS if layer.transposed else CHANNELS
    return integers(2, *layer.size, source), integers(*layer.kernel, CHANNELS, OUTPUTS)


def ours(layer, x, w):
    return (F.conv_transpose2d if layer.transposed else F.conv2d)(x, w, **layer.arguments()).data


def gather(x, w, stride, dilation, before, out):
    """Convolution by its definition: `out` windows,
    the first one starting `before` pixels outside.
    """
    y = np.zeros((len(x), *out, w.shape[3]))
    for i, j, u, v in np.ndindex(*out, *w.shape[:2]):
        row, column = i * stride[0] + u * dilation[0] - before[0], j * stride[1] + v * dilation[1] - before[1]
        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
            y[:, i, j] += x[:, row, column] @ w[u, v]
    return y


def scatter(y, w, stride, dilation, before, out):
    """Transposed convolution by its definition: stamps, cut to the pixels inside `out`."""
    x = np.zeros((len(y), *out, w.shape[2]))
    for i, j, u, v in np.ndindex(*y.shape[1:3], *w.shape[:2]):
        row, column = i * stride[0] + u * dilation[0] - before[0], j * stride[1] + v * dilation[1] - before[1]
        if 0 <= row < out[0] and 0 <= column < out[1]:
            x[:, row, column] += y[:, i, j] @ w[u, v].T
    return x


def tensorflow_same(size, kernel, stride, dilation):
    """TensorFlow's documentation of "SAME": padding before,
    the smaller half of what ceil(size / stride) windows need.
    """
    reach = (kernel - 1) * dilation + 1
    needed = max(reach - stride, 0) if size % stride == 0 else max(reach - size % stride, 0)
    return needed // 2


def legal(size, kernel, stride, padding, dilation, extra, transposed):
    """Whether such a layer exists at all."""
    if transposed:
        image = [(n - 1) * s + d * (k - 1) + 1 - sum(p) + a
                 for n, k, s, p, d, a in zip(size, kernel, stride, padding, dilation, extra, strict=True)]
        return min(image) >= 1 and all(a < max(s, d) for a, s, d in zip(extra, stride, dilation, strict=True))
    return extra == (0, 0) and all(n + sum(p) >= d * (k - 1) + 1
                                   for n, k, p, d in zip(size, kernel, padding, dilation, strict=True))


def run_torch(call, transposed, x, w):
    torch = pytest.importorskip("torch")
    x, w = (torch.from_numpy(conventions.image_to("PyTorch", x)), torch.from_numpy(conventions.weight_to("PyTorch", w)))
    x = torch.nn.functional.pad(x, call.pad)
    y = (torch.nn.functional.conv_transpose2d if transposed else torch.nn.functional.conv2d)(x, w, **call.arguments)
    if call.crop:
        (top, rows), (left, columns) = call.crop
        y = y[:, :, top:top + rows, left:left + columns]
    return conventions.image_from("PyTorch", y.numpy())


@given(transposed=st.booleans(), size=inputs, kernel=pairs, stride=short, padding=pads, dilation=short, extra=extras)
def test_pytorch_computes_every_layer_that_we_hand_it(transposed, size, kernel, stride, padding, dilation, extra):
    extra = extra if transposed else (0, 0)
    assume(legal(size, kernel, stride, padding, dilation, extra, transposed))
    layer = conventions.from_numbers(size, kernel, stride, padding, extra, dilation, transposed)
    x, w = arrays(layer)
    assert np.array_equal(run_torch(conventions.to_pytorch(layer), transposed, x, w), ours(layer, x, w))


def test_pytorch_needs_no_slice_for_its_own_layers():
    layer = conventions.from_pytorch((7, 5), 4, 2, (1, 2), (0, 1), transposed=True)
    call = conventions.to_pytorch(layer)
    assert call.arguments == {"stride": (2, 2), "dilation": (1, 1), "padding": (1, 2), "output_padding": (0, 1)}
    assert call.crop == ()
    # One row less cropped at the end: output_padding.
    less_after = conventions.from_numbers(7, 4, 2, ((2, 1), (2, 1)), 0, transposed=True)
    assert conventions.to_pytorch(less_after).arguments["output_padding"] == (1, 1)
    assert conventions.to_pytorch(less_after).crop == ()


@given(transposed=st.booleans(), size=inputs, kernel=pairs, stride=short, padding=short, dilation=short, extra=extras)
def test_layers_read_from_pytorch_have_its_values(transposed, size, kernel, stride, padding, dilation, extra):
    torch = pytest.importorskip("torch")
    extra = extra if transposed else (0, 0)
    assume(legal(size, kernel, stride, tuple(zip(padding, padding, strict=True)), dilation, extra, transposed))
    layer = conventions.from_pytorch(size, kernel, stride, padding, extra, dilation, transposed)
    kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    settings = {"output_padding": extra} if transposed else {}
    channels = (OUTPUTS, CHANNELS) if transposed else (CHANNELS, OUTPUTS)
    module = kind(*channels, kernel, stride, padding, dilation=dilation, bias=False, dtype=torch.float64, **settings)
    x = torch.from_numpy(integers(2, channels[0], *size))
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(integers(*module.weight.shape)))
        theirs = conventions.image_from("PyTorch", module(x).numpy())
    weight = conventions.weight_from("PyTorch", module.weight.detach().numpy())
    assert np.array_equal(ours(layer, conventions.image_from("PyTorch", x.numpy()), weight), theirs)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(size=inputs, kernel=pairs, dilation=short)
def test_pytorch_same_is_ours(size, kernel, dilation):
    torch = pytest.importorskip("torch")
    layer = conventions.from_pytorch(size, kernel, 1, "same", dilation=dilation)
    x, w = arrays(layer)
    theirs = torch.nn.functional.conv2d(torch.from_numpy(conventions.image_to("PyTorch", x)),
                                        torch.from_numpy(conventions.weight_to("PyTorch", w)),
                                        padding="same", dilation=dilation)
    assert np.array_equal(ours(layer, x, w), conventions.image_from("PyTorch", theirs.numpy()))


def keras_transposed(y, w, strides, padding, output_padding, dilation):
    """Conv2DTranspose as Keras documents its sizes and TensorFlow its values:
    the gradient of a convolution of an image of that size.
    """
    out, before = [], []
    for n, k, s, d, a in zip(y.shape[1:3], w.shape[:2], strides, dilation, output_padding, strict=True):
        reach = k + (k - 1) * (d - 1)
        if a is None:
            out.append(n * s + max(reach - s, 0) if padding == "valid" else n * s)
        else:
            out.append((n - 1) * s + reach + a - (2 * (reach // 2) if padding == "same" else 0))
        before.append(tensorflow_same(out[-1], k, s, d) if padding == "same" else 0)
    return scatter(y, w, strides, dilation, before, out)


@given(size=inputs, kernel=pairs, stride=short, dilation=short, same=st.booleans())
def test_keras_convolution(size, kernel, stride, dilation, same):
    assume(max(stride) == 1 or max(dilation) == 1)
    assume(same or legal(size, kernel, stride, ((0, 0), (0, 0)), dilation, (0, 0), False))
    layer = conventions.from_keras(size, kernel, stride, "same" if same else "valid", None, dilation)
    x, w = arrays(layer)
    if same:
        before = [tensorflow_same(*axis) for axis in zip(size, kernel, stride, dilation, strict=True)]
        out = [-(-n // s) for n, s in zip(size, stride, strict=True)]
    else:
        before = (0, 0)
        out = [-(-(n - (k - 1) * d) // s)                   # ceil((n - reach + 1) / s)
               for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
    assert np.array_equal(ours(layer, x, conventions.weight_from("Keras", w)),
                          gather(x, w, stride, dilation, before, out))


@given(size=inputs, kernel=pairs, stride=short, same=st.booleans(), extra=st.one_of(st.none(), extras))
def test_keras_transposed_convolution(size, kernel, stride, same, extra):
    assume(extra is None or all(a < s for a, s in zip(extra, stride, strict=True)))
    try:
        layer = conventions.from_keras(size, kernel, stride, "same" if same else "valid", extra, transposed=True)
    except ValueError as error:
        assert same and extra is not None and "TensorFlow refuses" in str(error)
        return
    y, w = arrays(layer)
    assert np.array_equal(ours(layer, y, w),
                          keras_transposed(y, w, stride, "same" if same else "valid", extra or (None, None), (1, 1)))


@given(transposed=st.booleans(), size=inputs, kernel=pairs, stride=short, padding=pads, extra=extras)
def test_keras_computes_every_layer_that_we_hand_it(transposed, size, kernel, stride, padding, extra):
    extra = extra if transposed else (0, 0)
    assume(legal(size, kernel, stride, padding, (1, 1), extra, transposed))
    layer = conventions.from_numbers(size, kernel, stride, padding, extra, 1, transposed)
    call = conventions.to_keras(layer)
    x, w = arrays(layer)
    if transposed:
        given_extra = call.arguments["output_padding"] or (None, None)
        image = keras_transposed(x, w, stride, call.arguments["padding"], given_extra, (1, 1))
        (top, bottom), (left, right) = call.crop
        theirs = image[:, top:image.shape[1] - bottom, left:image.shape[2] - right]
    else:
        padded = np.pad(x, ((0, 0), *call.pad, (0, 0)))
        if call.arguments["padding"] == "same":
            before = [tensorflow_same(n, k, s, 1) for n, k, s in zip(padded.shape[1:3], kernel, stride, strict=True)]
            out = [-(-n // s) for n, s in zip(padded.shape[1:3], stride, strict=True)]
        else:
            before = (0, 0)
            out = [-(-(n - k + 1) // s) for n, k, s in zip(padded.shape[1:3], kernel, stride, strict=True)]
        theirs = gather(padded, w, stride, (1, 1), before, out)
    assert np.array_equal(theirs, ours(layer, x, w))


def onnx(x, w, transposed, strides, pads, auto_pad, output_padding, dilations):
    """ONNX Conv and ConvTranspose by their specification, on (N, C, H, W) and (M, C, kH, kW) or,
    transposed, (C, M, kH, kW).
    """
    begins, ends, out = [], [], []
    for axis in range(2):
        n, k, s, d, a = x.shape[2 + axis], w.shape[2 + axis], strides[axis], dilations[axis], output_padding[axis]
        reach = (k - 1) * d + 1
        begin, end = (pads[axis], pads[axis + 2]) if auto_pad == "NOTSET" else (0, 0)
        if auto_pad.startswith("SAME"):
            if transposed:                      # total_padding = stride * (input - 1) + output_padding + reach - output
                total = s * (n - 1) + a + reach - n * s
            else:                               # so that output = ceil(input / stride)
                total = max((int(np.ceil(n / s)) - 1) * s + reach - n, 0)
            begin, end = total // 2, total - total // 2
            if auto_pad == "SAME_LOWER":
                begin, end = end, begin
        begins.append(begin)
        ends.append(end)
        out.append(s * (n - 1) + a + reach - begin - end if transposed else (n + begin + end - reach) // s + 1)
    last, kernel = np.moveaxis(x, 1, 3), w.transpose(2, 3, 1, 0)                # the loops' order
    return np.moveaxis((scatter if transposed else gather)(last, kernel, strides, dilations, begins, out), 3, 1)


@given(transposed=st.booleans(), size=inputs, kernel=pairs, stride=short, padding=pads, dilation=short, extra=extras,
       auto_pad=st.sampled_from(("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")))
def test_onnx_both_ways(transposed, size, kernel, stride, padding, dilation, extra, auto_pad):
    extra = extra if transposed else (0, 0)
    pads_onnx = (padding[0][0], padding[1][0], padding[0][1], padding[1][1])
    assume(all(a < max(s, d) for a, s, d in zip(extra, stride, dilation, strict=True)))
    named = padding if auto_pad == "NOTSET" else ((0, 0), (0, 0))
    assume(auto_pad.startswith("SAME") or legal(size, kernel, stride, named, dilation, extra, transposed))
    try:
        layer = conventions.from_onnx(size, kernel, stride, pads_onnx, auto_pad, extra, dilation, transposed)
    except ValueError as error:
        assert transposed and auto_pad.startswith("SAME") and "negative pads" in str(error)
        assert any(s * (n - 1) + a + (k - 1) * d + 1 < n * s
                   for n, k, s, d, a in zip(size, kernel, stride, dilation, extra, strict=True))
        return
    x, w = arrays(layer)
    theirs = onnx(conventions.image_to("ONNX", x), conventions.weight_to("ONNX", w), transposed, stride, pads_onnx,
                  auto_pad, extra, dilation)
    assert np.array_equal(ours(layer, x, w), conventions.image_from("ONNX", theirs))
    written = conventions.to_onnx(layer)
    again = onnx(conventions.image_to("ONNX", x), conventions.weight_to("ONNX", w), transposed, written["strides"],
                 written["pads"], "NOTSET", written.get("output_padding", (0, 0)), written["dilations"])
    assert np.array_equal(theirs, again)


def test_orders_of_axes_are_undone_by_their_inverses():
    x, w = integers(2, 3, 4, 5), integers(4, 3, 2, 5)
    for framework in conventions.FRAMEWORKS:
        assert np.array_equal(conventions.image_from(framework, conventions.image_to(framework, x)), x)
        assert np.array_equal(conventions.weight_from(framework, conventions.weight_to(framework, w)), w)
    assert conventions.weight_to("PyTorch", w).shape == (5, 2, 4, 3)
    with pytest.raises(ValueError, match="framework must be one of minideconv, PyTorch, Keras, ONNX; got 'Caffe'"):
        conventions.image_to("Caffe", x)


def test_upper_and_lower_are_one_pixel_apart():
    upper = conventions.from_onnx(6, 4, 1, auto_pad="SAME_UPPER")
    lower = conventions.from_onnx(6, 4, 1, auto_pad="SAME_LOWER")
    assert upper.pads == ((1, 2), (1, 2)) == conventions.from_keras(6, 4, 1, "same").pads
    assert lower.pads == ((2, 1), (2, 1))
    x, w = arrays(upper)
    assert np.array_equal(ours(lower, x, w)[:, 1:, 1:], ours(upper, x, w)[:, :-1, :-1])


@pytest.mark.parametrize("make, message", [
    (lambda: conventions.from_pytorch(5, 3, 2, "same"), "those with stride 1"),
    (lambda: conventions.from_pytorch(5, 3, 1, "same", transposed=True), "transposed=True"),
    (lambda: conventions.from_keras(5, 3, 2, "full"), "'valid' or 'same'; got 'full'"),
    (lambda: conventions.from_keras(5, 3, 2, "same", dilation_rate=2), "stride above 1 together with a dilation"),
    (lambda: conventions.from_onnx(5, 3, auto_pad="SAME"), "auto_pad must be"),
    (lambda: conventions.from_onnx(5, 3, pads=(1, 1)), "top, left, bottom, right"),
    (lambda: conventions.from_numbers(5, 3, 2, output_padding=2, transposed=True), "below max"),
    (lambda: conventions.from_numbers(5, 3, output_padding=1), "transposed convolutions"),
])
def test_what_a_framework_does_not_take_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("layer", [
    conventions.from_pytorch(7, 4, 2, 1, transposed=True), conventions.from_keras(32, 4, 1, "same"),
    conventions.from_onnx((7, 5), (3, 4), 2, (0, 3, 1, 0), output_padding=1, transposed=True),
    conventions.from_numbers(9, 3, 2, 1, dilation=2),                           # Keras has no such layer
], ids=["gan", "same", "asymmetric", "not in Keras"])
def test_table_of_the_four(layer, tmp_path):
    rows = {framework: call for framework, _, _, call in translate.words(layer, CHANNELS, OUTPUTS)}
    assert tuple(rows) == conventions.FRAMEWORKS
    assert ("Keras takes no stride" in rows["Keras"]) == (layer.dilation == (2, 2))
    assert figure.save(translate.chart(layer, CHANNELS, OUTPUTS), tmp_path / "words.png").stat().st_size > 1000


def test_command_line(tmp_path, capsys):
    import argparse
    parser = argparse.ArgumentParser()
    translate.register(parser.add_subparsers())
    line = f"translate --transposed --size 7 --kernel 4 --stride 2 --padding same --out {tmp_path}/words.png"
    args = parser.parse_args(line.split())
    args.run(args)
    printed = capsys.readouterr().out
    assert f"wrote {tmp_path / 'words.png'}" in printed
    assert "padding=((1, 1), (1, 1))" in printed and "pads=[1, 1, 1, 1]" in printed
