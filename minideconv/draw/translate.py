"""One layer in four conventions side by side:
what to write in minideconv, PyTorch, Keras and ONNX for the same numbers.
"""
from ..conventions import Layer, from_keras, from_numbers, to_keras, to_onnx, to_pytorch
from ..shapes import same_padding
from .arguments import padding_argument, two
from .figure import save, table


def _same_words(layer: Layer) -> str:
    """What "same" would mean at this size, where that is not what the layer does."""
    image = layer.image()
    if layer.transposed:
        image = tuple(n * s for n, s in zip(layer.size, layer.stride, strict=True))
    numbers = zip(image, layer.kernel, layer.stride, layer.dilation, strict=True)
    (top, bottom), (left, right) = (same_padding(n, k, s, d) for n, k, s, d in numbers)
    upper = f"({top}, {bottom}), ({left}, {right})"
    if (top, left) == (bottom, right):
        return f"{upper}\nsymmetric here, so all agree"
    return f"{upper}\nSAME_LOWER: ({bottom}, {top}), ({right}, {left}), shifted"


def words(layer: Layer, channels: int = 1, outputs: int = 1) -> list:
    """[(framework, images, kernel, call)] for a layer between images of `channels` channels
    and features of `outputs`.
    """
    source, target = (outputs, channels) if layer.transposed else (channels, outputs)
    (rows, columns), kernel = layer.size, (*layer.kernel, channels, outputs)
    ours = "F.conv_transpose2d" if layer.transposed else "F.conv2d"
    torch, onnx = to_pytorch(layer), to_onnx(layer)
    calls = [(f"F.pad(x, {torch.pad})", any(torch.pad)), (_call(ours, torch.arguments), True),
             ("[:, :, " + ", ".join(f"{first}:{first + count}" for first, count in torch.crop) + "]", bool(torch.crop))]
    last, first = (1, rows, columns, source), (1, source, rows, columns)
    flipped = (outputs, channels, *layer.kernel)
    return [("minideconv", last, kernel, _call(ours, layer.arguments())),
            ("PyTorch", first, flipped, "\n".join(line for line, needed in calls if needed)),
            ("Keras", last, kernel, _keras_words(layer, target)),
            ("ONNX", first, flipped, _call("ConvTranspose" if layer.transposed else "Conv", onnx))]


def _keras_words(layer: Layer, target: int) -> str:
    """The Keras layers, or why there are none."""
    try:
        keras = to_keras(layer)
    except ValueError as error:
        return f"none: {error}".replace("; got", ";\ngot")
    name = "Conv2DTranspose" if layer.transposed else "Conv2D"
    arguments = {"filters": target, "kernel_size": layer.kernel} | keras.arguments
    lines = [(f"ZeroPadding2D({keras.pad})", any(map(any, keras.pad))), (_call(name, arguments), True),
             (f"Cropping2D({keras.crop})", any(map(any, keras.crop)))]
    return "\n".join(line for line, needed in lines if needed)


def _call(name: str, arguments: dict) -> str:
    """A call as source text, at most two arguments a line."""
    parts = [f"{key}={value!r}" for key, value in arguments.items()]
    return f"{name}(" + ",\n    ".join(", ".join(parts[at:at + 2]) for at in range(0, len(parts), 2)) + ")"


def chart(layer: Layer, channels: int = 1, outputs: int = 1):
    """The four conventions as a Figure."""
    kind = "transposed convolution" if layer.transposed else "convolution"
    title = (f"One {kind} in four conventions. None of them flips the kernel.\n"
             f'"same" at this size would {"crop" if layer.transposed else "pad"} '
             + _same_words(layer).replace("\n", "; "))
    return table(("", "images", "kernel", "call"), words(layer, channels, outputs), (1.1, 1.3, 1.3, 4.9), title)


def register(commands) -> None:
    """Add `minideconv draw translate`."""
    parser = commands.add_parser(
        "translate", help="one layer in PyTorch's, Keras's and ONNX's words",
        description="Translate a layer: axes, kernel order, padding in numbers, what 'same' would mean. "
                    "Options: this project's convention.",
        epilog="Example: minideconv draw translate --transposed --size 7 --kernel 4 --stride 2 --padding 1 "
               "--out words.png")
    parser.add_argument("--transposed", action="store_true",
                        help="a transposed convolution: --size is the size of the features then")
    parser.add_argument("--size", type=int, nargs="+", required=True, metavar="N",
                        help="of the input: one number, or height and width")
    parser.add_argument("--kernel", type=int, nargs="+", required=True, metavar="K",
                        help="taps: one number, or height and width")
    parser.add_argument("--stride", type=int, nargs="+", default=[1], metavar="S",
                        help="pixels between windows (default 1)")
    parser.add_argument("--padding", nargs="+", default=["0"], metavar="P",
                        help="one number, height and width, top bottom left right, or 'same' (default 0)")
    parser.add_argument("--output-padding", type=int, nargs="+", default=[0], metavar="A",
                        help="rows and columns more, if transposed (default 0)")
    parser.add_argument("--dilation", type=int, nargs="+", default=[1], metavar="D",
                        help="pixels between taps (default 1)")
    parser.add_argument("--channels", type=int, default=1, metavar="C", help="of the image (default 1)")
    parser.add_argument("--outputs", type=int, default=1, metavar="O", help="channels of the features (default 1)")
    parser.add_argument("--out", metavar="FILE", help="write the table as FILE.png or FILE.svg as well")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    """`minideconv draw translate`."""
    size, kernel, stride, dilation, extra = (two(getattr(args, name), name)
                                             for name in ("size", "kernel", "stride", "dilation", "output_padding"))
    padding = padding_argument(args.padding)
    if padding in ("same", "valid"):
        layer = from_keras(size, kernel, stride, padding, extra if any(extra) else None, dilation, args.transposed)
    else:
        layer = from_numbers(size, kernel, stride, padding, extra, dilation, args.transposed)
    for framework, images, weight, call in words(layer, args.channels, args.outputs):
        print(f"{framework:10}  images {images}, kernel {weight}\n    " + call.replace("\n", "\n    "))
    print('"same" at this size: ' + _same_words(layer).replace("\n", "; "))
    if args.out:
        print(f"wrote {save(chart(layer, args.channels, args.outputs), args.out)}")
