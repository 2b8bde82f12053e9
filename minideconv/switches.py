"""What holds for this thread: whether operations are recorded, and who watches them. Each is switched by a `with`."""
import threading
from typing import Callable


class _Switches(threading.local):
    """What holds for this thread now, the last entry of each list; a `with` adds one for as long as it lasts."""

    def __init__(self):
        self.recording, self.observer = [True], [None]


_switches = _Switches()


class no_grad:
    """Context manager: operations inside are not recorded (in this thread)."""

    def __enter__(self):
        _switches.recording.append(False)

    def __exit__(self, *error):
        _switches.recording.pop()


class enable_grad(no_grad):
    """Context manager: operations inside are recorded, also within a no_grad."""

    def __enter__(self):
        _switches.recording.append(True)


def recording() -> bool:
    """Whether operations are being recorded in this thread."""
    return _switches.recording[-1]


def observer() -> "Callable | None":
    """Who is asked to run the operations of this thread."""
    return _switches.observer[-1]


class observe:
    """Context manager: observer(name, direction, call) runs every operation ("forward") and vjp
    ("backward") of this thread.

    call is a functools.partial: the observer returns call(), and may look at call.args (the inputs,
    or the gradient) and call.keywords (settings), but writes into nothing.
    """

    def __init__(self, observer: Callable):
        self.observer = observer

    def __enter__(self):
        _switches.observer.append(self.observer)

    def __exit__(self, *error):
        _switches.observer.pop()
