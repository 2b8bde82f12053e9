"""Options that several commands take, and what their values may be."""
import argparse
import os

MISSING = "must not be empty"


def whole(least: int):
    """A whole number of at least `least`."""
    def parse(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value
    return parse


def real(least: float, most: float = float("inf")):
    """A number from `least` to `most`."""
    def parse(text):
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None
        if not least <= value <= most or value == float("inf"):
            allowed = f"at least {least:g}" if most == float("inf") else f"from {least:g} to {most:g}"
            raise argparse.ArgumentTypeError(f"must be {allowed}, got {text}")
        return value
    return parse


def text(value: str) -> str:
    """Anything but nothing: an empty variable in a script is a mistake, not a wish for the
    default.
    """
    if not value.strip():
        raise argparse.ArgumentTypeError(MISSING)
    return value


def place(value: str) -> str:
    """A path. ~ is the user's home here too, since a shell leaves the one in --out=~/runs as it
    is.
    """
    return os.path.expanduser(text(value))


def threads(parser) -> None:
    """--threads, which cli.py reads."""
    parser.add_argument("--threads", type=whole(1), metavar="N", help=(
        "threads to compute with (default: MINIDECONV_NUM_THREADS, else all processors); results do not depend on it"))
