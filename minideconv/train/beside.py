"""Drawing in a Python process of its own: Matplotlib's 30 MB, and what it leaves behind, would be added to the
training's for the rest of the run.
"""
import io
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module

from .. import storage
from ..draw.figure import style
from ..machine import return_memory

# The same packages are found as here, and nothing that happens to lie in the current folder.
PROGRAM = "import sys; sys.path[:] = {path!r}; from minideconv.train.beside import main; main()"


def save(path, function: Callable, *arguments) -> None:
    """The Figure function(*arguments) as PNG at `path`, nothing where it is None. Drawn by a process of its own, or by
    this one where Matplotlib is loaded already, or where no Python can be started.

    function: of a module of this package, by its name there. arguments: what JSON can hold. Meanwhile this process
    hands back the memory that training has freed. The other one writes no file, so that it can be left behind by a
    training that was killed, and Ctrl-C does not reach it. ChildProcessError, with the error's own line, where it
    fails.
    """
    return_memory()
    if "matplotlib" in sys.modules or not sys.executable:
        picture = png(function(*arguments))
    else:
        call = json.dumps([function.__module__, function.__name__, arguments])
        done = subprocess.run([sys.executable, "-c", PROGRAM.format(path=sys.path)], input=call.encode(),
                              capture_output=True, start_new_session=True)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise ChildProcessError(said[-1] if said else f"it ended with code {done.returncode}")
        picture = done.stdout
    if picture:
        storage.replace(path, lambda file: file.write(picture))


@style()
def png(figure) -> bytes:
    """A Figure as the bytes of a PNG file; none of None."""
    file = io.BytesIO()
    if figure is not None:
        figure.savefig(file, dpi=110, format="png")
    return file.getvalue()


def main() -> None:
    """The other process: the call comes as JSON, the picture goes out."""
    out, sys.stdout = sys.stdout.buffer, sys.stderr
    module, name, arguments = json.load(sys.stdin)
    out.write(png(getattr(import_module(module), name)(*arguments)))
    out.flush()
