"""Drawing in a Python process of its own: Matplotlib's 30 MB, and what it leaves behind, would be added to the
training's for the rest of the run.
"""
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module

from ..machine import return_memory

# The same packages are found as here, and nothing that happens to lie in the current folder.
PROGRAM = "import sys; sys.path[:] = {path!r}; from minideconv.train.beside import main; main()"


def call(function: Callable, *arguments) -> None:
    """function(*arguments) in a process of its own, or in this one where Matplotlib is loaded already, or where no
    Python can be started.

    function: of a module of this package, by its name there. arguments: what JSON can hold. Meanwhile this process
    hands back the memory that training has freed. Ctrl-C does not reach the other process. ChildProcessError, with
    the error's own line, where the function raises one.
    """
    return_memory()
    if "matplotlib" in sys.modules or not sys.executable:
        function(*arguments)
        return
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(path=sys.path)], capture_output=True, encoding="utf-8",
                          input=json.dumps([function.__module__, function.__name__, arguments]),
                          errors="replace", start_new_session=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ChildProcessError(said[-1] if said else f"it ended with code {done.returncode}")


def main() -> None:
    """The other process: the call comes as JSON."""
    module, name, arguments = json.load(sys.stdin)
    getattr(import_module(module), name)(*arguments)
