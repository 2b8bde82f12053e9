"""Which layers make which sizes: "I want 28 pixels from 7", every legal kernel, stride,
padding and output_padding, and how evenly it writes.

One axis at a time, since height and width do not influence each other. The formulas are those of
shapes.py.
"""
import itertools
from typing import NamedTuple

from .. import shapes
from .figure import save, table


class Layer(NamedTuple):
    """One way to get the wanted size along an axis."""
    transposed: bool
    kernel: int
    stride: int
    before: int         # padding of a convolution, crop of a transposed one
    after: int
    output_padding: int
    dilation: int
    fewest: int         # kernel taps that touch a pixel far from the edges, at least ...
    most: int           # ... and at most
    smallest: int       # the image sizes that a convolution of this kind maps to the same number of features ...
    largest: int        # ... are smallest to largest: the ambiguity that output_padding resolves

    @property
    def even(self) -> bool:
        """Every pixel is touched equally often, so the layer draws no checkerboard by itself."""
        return self.fewest == self.most


def overlap(kernel: int, stride: int, dilation: int = 1) -> tuple:
    """(fewest, most) taps on a pixel far from the edges:
    tap u meets the pixels whose place is dilation * u modulo stride.

    Equal, for dilation 1, exactly where kernel mod stride is 0 (Odena et al. 2016).
    """
    taps = [sum((dilation * u - place) % stride == 0 for u in range(kernel)) for place in range(stride)]
    return min(taps), max(taps)


def solve(wanted: int, given: int, transposed=None, max_kernel=8, max_stride=4, max_padding=3, asymmetric=False,
          max_dilation=1) -> list:
    """Every Layer within the bounds that makes `wanted` pixels from `given`,
    those that write evenly and the simplest ones first.

    transposed: None for a transposed convolution where wanted is at least given, a convolution
    where it is less. asymmetric: also different padding before and after. Padding that cuts off,
    or adds, a whole window is left out.
    """
    for name, value, least in (("wanted", wanted, 1), ("given", given, 1), ("max_kernel", max_kernel, 1),
                               ("max_stride", max_stride, 1), ("max_padding", max_padding, 0),
                               ("max_dilation", max_dilation, 1)):
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be an integer; got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}; got {value}")
    transposed = wanted >= given if transposed is None else transposed
    found = []
    for dilation, kernel, stride in itertools.product(*(range(1, most + 1)
                                                        for most in (max_dilation, max_kernel, max_stride))):
        if kernel == 1 and dilation > 1:
            continue                                    # one tap has no distance to the next
        paddings = range(min(max_padding, shapes.span(kernel, dilation) - 1) + 1)
        for before in paddings:
            for after in paddings if asymmetric else (before,):
                numbers = {"kernel": kernel, "stride": stride, "before": before, "after": after, "dilation": dilation}
                found.append(_layer(wanted, given, transposed, **numbers))
    return sorted((layer for layer in found if layer is not None), key=_simplicity)


def _simplicity(layer: Layer) -> tuple:
    """What comes first in the list: even before uneven, then the usual before the unusual."""
    return (not layer.even, layer.dilation, layer.before != layer.after, layer.output_padding, layer.kernel,
            layer.stride, layer.before)


def _layer(wanted, given, transposed, *, kernel, stride, before, after, dilation):
    """The Layer with these numbers, or None where it cannot make `wanted` from `given`."""
    features, image = (given, wanted) if transposed else (wanted, given)
    smallest = shapes.transposed_size(features, kernel, stride, before, after, dilation)
    extra = image - smallest
    if smallest < 1 or extra < 0 or extra >= (max(stride, dilation) if transposed else stride):
        return None
    fewest, most = overlap(kernel, stride, dilation)
    return Layer(transposed=transposed, kernel=kernel, stride=stride, before=before, after=after,
                 output_padding=extra if transposed else 0, dilation=dilation, fewest=fewest, most=most,
                 smallest=smallest, largest=smallest + stride - 1)


def explain(layer: Layer, wanted: int, given: int) -> str:
    """The arithmetic of one layer in words, and the class of sizes that it cannot tell apart."""
    features = given if layer.transposed else wanted
    kernel, stride, dilation = layer.kernel, layer.stride, layer.dilation
    reach = shapes.span(kernel, dilation)
    if layer.transposed:
        covered = (given - 1) * stride + reach
        text = (f"{given} stamps of {reach} pixels, {stride} apart, cover ({given} - 1) * {stride} + {reach} = "
                f"{covered} pixels; the crop takes {layer.before} and {layer.after}, "
                f"output_padding gives {layer.output_padding}: {wanted}.")
    else:
        padded = f"{given} + {layer.before} + {layer.after}"
        text = (f"windows of {reach} pixels, {stride} apart, "
                f"fit floor(({padded} - {reach}) / {stride}) + 1 = {wanted} times")
        unread = given - layer.smallest
        text += f"; the last {unread} pixels, padding included, are read by none." if unread > 0 else "."
    if stride == 1:
        text += f" At stride 1 only images of {layer.smallest} pixels have {features} features."
    else:
        text += (f" Images of {layer.smallest} to {layer.largest} pixels all convolve to {features} features: "
                 f"stride {stride} makes classes of {stride} sizes, "
                 f"and output_padding 0 to {stride - 1} names the member.")
    if layer.output_padding >= stride:
        text += (f" output_padding {layer.output_padding} is legal only because the dilation is {dilation}, "
                 f"and leaves the class: {wanted} pixels have more features.")
    if layer.even:
        return text + f" Every pixel gets {layer.most} tap{'s' if layer.most > 1 else ''}: even."
    why = f"{kernel} is not divisible by {stride}"
    if kernel % stride == 0:
        why = f"dilation {dilation} and stride {stride} have a common divisor"
    return text + (f" Uneven, since {why}: {layer.fewest} taps on some pixels and {layer.most} on others, "
                   f"in two dimensions {layer.fewest ** 2} to {layer.most ** 2}. This is a checkerboard.")


HEADER = ("kernel", "stride", "padding", "output\npadding", "dilation", "taps on a pixel\nalong one axis", "overlap",
          "sizes with as\nmany features")


def _cells(layer: Layer) -> tuple:
    """One row of the table."""
    padding = layer.before if layer.before == layer.after else f"({layer.before}, {layer.after})"
    taps, overlapping = (layer.most, "even") if layer.even else (f"{layer.fewest} to {layer.most}", "UNEVEN")
    return (layer.kernel, layer.stride, padding, layer.output_padding, layer.dilation, taps, overlapping,
            layer.smallest if layer.stride == 1 else f"{layer.smallest} to {layer.largest}")


def text(wanted: int, given: int, layers) -> str:
    """The layers as a table for a terminal, and the arithmetic of the first."""
    if not layers:
        return f"no layer within these bounds makes {wanted} from {given}: allow a larger kernel, stride or padding"
    rows = [[word.replace("\n", " ") for word in HEADER]] + [[str(cell) for cell in _cells(layer)] for layer in layers]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    kind = "transposed convolution" if layers[0].transposed else "convolution"
    return "\n".join([f"{wanted} from {given} by a {kind}: {len(layers)} ways", *lines, "",
                      "The first: " + explain(layers[0], wanted, given)])


def chart(wanted: int, given: int, layers, most: int = 24):
    """The first `most` layers as a Figure; the rows that write evenly stand on sand."""
    if not layers:
        raise ValueError(text(wanted, given, layers))
    shown = layers[:most]
    kind = "transposed convolutions" if layers[0].transposed else "convolutions"
    title = f"{wanted} from {given}: {len(layers)} {kind}" + (f", the first {most}" if len(layers) > most else "")
    return table(HEADER, [_cells(layer) for layer in shown], (0.8, 0.75, 0.9, 0.85, 0.9, 1.4, 1.0, 1.3), title,
                 marked=[place for place, layer in enumerate(shown) if layer.even])


def register(commands) -> None:
    """Add `minideconv draw sizes`."""
    parser = commands.add_parser(
        "sizes", help="every layer that makes the size you want",
        description="List every kernel, stride, padding and output_padding that makes WANTED pixels from GIVEN, with "
                    "what overlaps unevenly.",
        epilog="Example: minideconv draw sizes 28 --from 7 --out sizes.png")
    parser.add_argument("wanted", type=int, metavar="WANTED", help="pixels out")
    parser.add_argument("--from", dest="given", type=int, required=True, metavar="GIVEN", help="pixels in")
    parser.add_argument("--max-kernel", type=int, default=8, metavar="K", help="largest kernel (default 8)")
    parser.add_argument("--max-stride", type=int, default=4, metavar="S", help="largest stride (default 4)")
    parser.add_argument("--max-padding", type=int, default=3, metavar="P", help="largest padding (default 3)")
    parser.add_argument("--max-dilation", type=int, default=1, metavar="D", help="largest dilation (default 1)")
    parser.add_argument("--asymmetric", action="store_true", help="also different padding before and after")
    parser.add_argument("--out", metavar="FILE", help="write the table as FILE.png or FILE.svg as well")
    parser.set_defaults(run=_run)


def _run(args) -> None:
    """`minideconv draw sizes`."""
    layers = solve(args.wanted, args.given, max_kernel=args.max_kernel, max_stride=args.max_stride,
                   max_padding=args.max_padding, max_dilation=args.max_dilation, asymmetric=args.asymmetric)
    print(text(args.wanted, args.given, layers))
    if args.out:
        print(f"wrote {save(chart(args.wanted, args.given, layers), args.out)}")
