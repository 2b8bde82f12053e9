"""Printing that never stands in the way of the work: a console may be gone, full, or unable to
show a letter.
"""
import contextlib
import os
import sys


def say(line: str, file=None) -> bool:
    """Print a line at once; gives whether it got through. A pipe that nobody reads any more
    swallows all that follows.
    """
    stream = sys.stdout if file is None else file
    try:
        print(line, file=stream, flush=True)
        return True
    except BrokenPipeError:
        _silence(stream)
    except (OSError, ValueError):           # no room for the log; a stream that was closed
        pass
    return False


@contextlib.contextmanager
def patient():
    """Inside, what stdout cannot show is escaped, and a reader that goes away (`| head`) ends the
    command quietly.

    What is still to be written at the end is written here, not when Python shuts down, where
    nobody could say why it failed: raises OSError where there is no room for it.
    """
    former = getattr(sys.stdout, "errors", None)
    _escape("backslashreplace")
    try:
        yield
    except BrokenPipeError:
        pass
    finally:
        error = settle()
        _escape(former)
        if error and not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, f"the output could not be written: {error.strerror}")


def settle():
    """Write out what is still in stdout's buffer. Gives the OSError that this met, after which
    stdout leads nowhere; else None.
    """
    try:
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        _silence(sys.stdout)
        return error
    return None


def _escape(errors):
    if errors and hasattr(sys.stdout, "reconfigure"):
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.reconfigure(errors=errors)


def _silence(stream):
    """Send what is written from here on nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
