"""The command line: which commands there are, and how mistakes end.

What a person can get wrong ends in one line on stderr and exit code 2; Ctrl-C ends in 130,
training after a checkpoint.
"""
import argparse
import contextlib
import sys
import warnings

from . import __version__, parallel
from .commands import bench, draw, evaluate, export, info, sample, train
from .commands.console import patient, say

COMMANDS = (train, sample, evaluate, export, draw, bench, info)


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        """One line instead of a usage block."""
        self.exit(2, f"{self.prog}: error: {_one_line(message)} (see {self.prog} --help)\n")


def build() -> argparse.ArgumentParser:
    """The parser of the whole command line. `run` of what it parses is the command's function of
    the parsed arguments.
    """
    parser = _Parser(
        prog="minideconv", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A deconvolution engine to read, and a GAN trainer made of nothing else.",
        epilog="Start with: minideconv train    (a few minutes on a laptop, nothing is downloaded; then look into "
               "the run folder it names)")
    parser.add_argument("--version", action="version", version=f"minideconv {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for command in COMMANDS:
        command.register(commands)
    return parser


def main(arguments=None) -> int:
    """Run a command line; gives the exit code."""
    code = 0
    try:
        with patient(), _warnings_in_one_line():
            args = build().parse_args(arguments)
            if getattr(args, "threads", None):
                parallel.set_num_threads(args.threads)
            code = args.run(args) or 0
    except KeyboardInterrupt:
        say("minideconv: interrupted", sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, MemoryError) as error:
        say(f"minideconv: error: {_one_line(str(error) or type(error).__name__)}", sys.stderr)
        return 2
    return code


@contextlib.contextmanager
def _warnings_in_one_line():
    """What the library warns of (pictures passed over, classes without images) is told like everything else here."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *where, **more: say(f"minideconv: {_one_line(message)}", sys.stderr)
        yield


def _one_line(text) -> str:
    return " ".join(str(text).split())
