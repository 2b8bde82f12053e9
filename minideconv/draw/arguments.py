"""The options that several drawing commands share, and how they are read."""


def kernel_arguments(parser) -> None:
    """The options of a single convolution; `two` and `padding_argument` read them."""
    parser.add_argument("--size", type=int, nargs="+", default=[5], metavar="N",
                        help="of the input: one number, or height and width (default 5)")
    parser.add_argument("--kernel", type=int, nargs="+", default=[3], metavar="K",
                        help="taps: one number, or height and width (default 3)")
    parser.add_argument("--stride", type=int, nargs="+", default=[1], metavar="S",
                        help="pixels between windows (default 1)")
    parser.add_argument("--padding", nargs="+", default=["0"], metavar="P",
                        help="one number, height and width, or top bottom left right; or 'same' (default 0). "
                             "A crop, if transposed")
    parser.add_argument("--dilation", type=int, nargs="+", default=[1], metavar="D",
                        help="pixels between taps (default 1)")
    parser.add_argument("--seed", type=int, default=0,
                        help="of the small whole numbers that fill image and kernel (default 0)")


def two(numbers, name) -> tuple:
    """One number or two as (height, width)."""
    least = 0 if name == "output_padding" else 1
    if len(numbers) > 2 or min(numbers) < least:
        raise ValueError(f"--{name.replace('_', '-')} takes one whole number above {least - 1}, or two; "
                         f"got {' '.join(map(str, numbers))}")
    return (numbers[0], numbers[-1])


def padding_argument(words):
    """--padding as conv2d spells it."""
    if words == ["same"] or words == ["valid"]:
        return words[0]
    if len(words) not in (1, 2, 4) or not all(word.isdigit() for word in words):
        raise ValueError(f"--padding takes 'same', 'valid', or one, two or four whole numbers; got {' '.join(words)}")
    numbers = [int(word) for word in words]
    return (numbers[:2], numbers[2:]) if len(numbers) == 4 else (numbers[0], numbers[-1])
