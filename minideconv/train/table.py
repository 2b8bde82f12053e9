"""losses.csv: one row for each step, which after any interruption ends up as if there had been
none.
"""
import contextlib
import os

from .. import storage


class Table:
    """losses.csv, open for one more row at each step. Its columns are the names of the first
    step's losses.
    """

    def __init__(self, path, steps_per_epoch):
        self.path, self.steps_per_epoch, self.names, self.file = path, steps_per_epoch, None, None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.file:
            with named(self.path):
                self.file.close()

    def add(self, step, losses):
        """The row of a step. ValueError where its losses have other names than the first one's."""
        if self.file is None:
            self._open(step, list(losses))
        if list(losses) != self.names:
            raise ValueError(f"step() must give the same names each time; got {list(losses)} after {self.names}")
        numbers = ",".join(repr(float(value)) for value in losses.values())
        with named(self.path):
            self.file.write(f"{step},{(step - 1) // self.steps_per_epoch + 1},{numbers}\n")

    def _open(self, step, names):
        """Go on below the header of these names. A table of other columns is put aside, not mixed
        with this one and not lost.
        """
        header = ",".join(["step", "epoch", *names])
        there = _lines(self.path)[:1]
        if there and there != [header]:
            os.replace(self.path, self.path.with_name(f"losses-before-step-{step}.csv"))
        self.file, self.names = open(self.path, "a", encoding="utf-8", newline="\n"), names
        if there != [header]:
            with named(self.path):
                self.file.write(header + "\n")

    def flush(self):
        """On the disk, not only handed to the system."""
        with named(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())


def cut(path, steps_done: int) -> None:
    """Bring the table at `path` back to a checkpoint's step.

    Rows that somebody deleted stay gone: they are a record, and training needs none.
    """
    if not path.is_file():
        return
    header, *rows = _lines(path) or [""]
    if not header or not steps_done:
        path.unlink()                   # the next step writes it anew
        return
    kept = [row for row in rows if _step_of(row, header.count(",")) <= steps_done]
    write_text(path, "".join(row + "\n" for row in [header, *kept]))


def _lines(path) -> list:
    """The whole lines of a file that may be gone; half a row at its end, cut off by a crash, is none."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return [line.rstrip() for line in text.splitlines(keepends=True) if line.endswith(("\n", "\r"))]


def _step_of(row, commas):
    """The step of a row of losses.csv; of what is no whole row, one that no checkpoint has."""
    cells = row.split(",")
    try:
        return int(cells[0]) if len(cells) == commas + 1 and all(map(str.strip, cells)) else float("inf")
    except ValueError:
        return float("inf")


@contextlib.contextmanager
def named(path):
    """An error of the system (no room, no permission) says which file it happened to."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_text(path, text: str) -> None:
    """A text file that appears whole or not at all."""
    storage.replace(path, lambda file: file.write(text.encode()))
