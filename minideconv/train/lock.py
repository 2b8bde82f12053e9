"""A run's folder belongs to one process at a time: the system's own file locks, which end with
their process, however that ends.
"""
import contextlib
import errno
import os
import weakref
from pathlib import Path

NAME = "run.lock"
FAR = 1 << 30           # Windows: the byte that is locked, far beyond the text, which others may read


class Lock:
    """The lock on a folder, held until release() or until the process ends, even by kill -9.

    Raises ValueError, naming the process that holds it, where another one does (or another Lock of
    this one). On file systems without locks nothing is held, and nothing is refused.
    """

    def __init__(self, folder):
        path = Path(folder) / NAME
        while True:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                _acquire(file)
                # A holder removes the file when it ends: a lock on a file that is no longer there protects nothing.
                if _is(file, path):
                    os.truncate(file, 0)
                    os.write(file, f"{os.getpid()}\n".encode())
                    break
            except BlockingIOError:
                os.close(file)
                raise ValueError(f"{folder} is in use by another process{_holder(path)}: "
                                 "wait for it to end, or stop it with Ctrl-C") from None
            except BaseException:
                os.close(file)
                raise
            os.close(file)
        # Called once: by release(), when this object is forgotten, or when the process ends.
        self.release = weakref.finalize(self, _release, file, path, os.getpid())


def _release(file, path, owner):
    if os.getpid() != owner:            # a forked child does not own what its parent holds
        return
    if os.name != "nt":
        _remove(path)                   # while it is still locked, so that it is nobody else's
    os.close(file)
    if os.name == "nt":
        _remove(path)                   # Windows removes no open file; if another process has it open by now, it stays


def _remove(path):
    with contextlib.suppress(OSError):
        path.unlink()


def _acquire(file):
    """Lock the open file, or raise BlockingIOError."""
    try:
        if os.name == "nt":
            import msvcrt
            os.lseek(file, FAR, os.SEEK_SET)
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                raise BlockingIOError from None
            finally:
                os.lseek(file, 0, os.SEEK_SET)
        else:
            import fcntl
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


def _is(file, path) -> bool:
    """Whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return f" (process {int(path.read_text())})"
    return ""
