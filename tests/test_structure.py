"""The order of the rooms: what imports what, which kernels are twins, what stays out of the package, and that everything public is explained."""
import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minideconv as md
from minideconv import functional, gradcheck, nn, optim
from minideconv.kernels import fast, reference

PACKAGE = Path(md.__file__).parent

# A file imports only from files above it. A new file has to be given its place here.
ORDER = """
    shapes.py  parallel.py  kernels/reference.py  kernels/runs.py  kernels/products.py  kernels/columns.py  kernels/combinations.py  kernels/fast.py  kernels/__init__.py
    dtypes.py  seals.py  switches.py  tensor.py  shaping.py  reductions.py  ops.py  tiles.py  lowering.py  conv.py  activations.py  pooling.py  norm.py  losses.py  functional.py  numpy_calls.py
    init.py  storage.py  nn.py  optim.py  gradcheck.py  profile.py
    data/strokes.py  data/__init__.py  data/mnist.py  data/pictures.py
    __init__.py
    gan/losses.py  gan/models.py  gan/trainer.py  gan/__init__.py  gan/pictures.py  gan/run.py
    draw/__init__.py  draw/figure.py  draw/layering.py  draw/walk.py  draw/conventions.py  draw/heatmap.py  draw/step.py  draw/matrix.py
    draw/overlap.py  draw/sizes.py  draw/tape.py  draw/translate.py  draw/command.py
    bench/cases.py  bench/report.py  bench/torch_side.py  bench/measure.py  bench/__init__.py
    cli.py  __main__.py
""".split()

# Rooms that a function opens on demand, so that `import minideconv` stays quick.
ON_DEMAND = {("data/__init__.py", "data/mnist.py"), ("data/__init__.py", "data/pictures.py")}

# What the package may stand on besides the standard library. The benchmark's peer runs only where somebody asks for the comparison.
FOUNDATIONS = {"numpy", "numba", "llvmlite", "threadpoolctl", "matplotlib", "PIL", "tqdm"}
PEERS = {("bench/torch_side.py", "torch")}


def files(package=PACKAGE):
    return {path.relative_to(package).as_posix() for path in package.rglob("*.py")}


def tree(name):
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


def imports(name):
    """(module path as parts, names taken from it) of every import in the file, inside functions too; relative ones made absolute."""
    inside = ["minideconv", *name.split("/")[:-1]]
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split("."), []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = inside[:len(inside) - node.level + 1] if node.level else []
            yield base + (node.module.split(".") if node.module else []), [alias.name for alias in node.names]


def rooms(name):
    """The files of the package that the file imports from: `from .kernels import fast` names kernels/fast.py."""
    known = files()
    for module, taken in imports(name):
        if module[0] == "minideconv":
            for one in taken or [None]:
                parts = module[1:] + ([one] if one else [])
                candidates = ["/".join(parts) + ".py", "/".join([*parts, "__init__.py"]), "/".join(module[1:]) + ".py",
                              "/".join([*module[1:], "__init__.py"])]
                yield next(candidate for candidate in candidates if candidate in known)


# ---- the order of the rooms

def test_every_file_has_its_place():
    assert len(set(ORDER)) == len(ORDER)
    assert files() - set(ORDER) == set(), "a new file: give it its place in ORDER"
    assert set(ORDER) - files() == set(), "a file is gone: take it out of ORDER"


@pytest.mark.parametrize("name", sorted(files()))
def test_a_file_imports_only_from_rooms_above_it(name):
    below = {room for room in rooms(name) if room in ORDER[ORDER.index(name):]} if name in ORDER else set()
    assert {(name, room) for room in below} <= ON_DEMAND


def test_there_are_no_cycles():
    """Also among files that ORDER does not know yet."""
    left = {name: set(rooms(name)) - {room for one, room in ON_DEMAND if one == name} for name in files()}
    while True:
        free = {name for name, needs in left.items() if not needs & set(left)}
        if not free:
            break
        left = {name: needs for name, needs in left.items() if name not in free}
    assert left == {}


# ---- what stays out

@pytest.mark.parametrize("name", sorted(files()))
def test_a_file_stands_on_the_foundations_only(name):
    outside = {module[0] for module, _ in imports(name)} - set(sys.stdlib_module_names) - FOUNDATIONS - {"minideconv"}
    assert {(name, module) for module in outside} <= PEERS


@pytest.mark.parametrize("name", sorted(files()))
def test_nothing_is_unpickled(name):
    assert not {module[0] for module, _ in imports(name)} & {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib"}
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, f"{name}, line {node.value.lineno}"


def test_importing_the_package_loads_nothing_slow():
    command = "import sys, minideconv; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    loaded = subprocess.run([sys.executable, "-c", command], env=environment, check=True, capture_output=True, text=True).stdout.split()
    assert "numpy" in loaded and not {"numba", "matplotlib", "PIL", "tqdm", "torch", "scipy"} & set(loaded)


# ---- twins and explanations

def kernels_of(module):
    """Public kernels as plain functions: what Numba compiled keeps the one it came from in .py_func."""
    plain = {name: getattr(value, "py_func", value) for name, value in vars(module).items() if not name.startswith("_") and callable(value)}
    return {name: value for name, value in plain.items() if value.__module__.startswith("minideconv.kernels") and not value.__module__.endswith("runs")}


def test_the_kernels_are_twins():
    slow, quick = kernels_of(reference), kernels_of(fast)
    assert len(slow) >= 20 and set(slow) == set(quick)
    for name, kernel in slow.items():
        assert str(inspect.signature(kernel)) == str(inspect.signature(quick[name])), name


@pytest.mark.parametrize("name", sorted(files()))
def test_a_file_opens_with_what_it_is_for(name):
    assert ast.get_docstring(tree(name))


def public():
    """(name, value) of the functions and classes that the documentation shows."""
    for module in (functional, nn, optim, gradcheck, md):
        for name, value in vars(module).items():
            listed = name in getattr(module, "__all__", ()) or getattr(value, "__module__", None) == module.__name__
            if listed and not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
                yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in public()])
def test_everything_public_is_explained(value):
    assert value.__doc__ and value.__doc__.strip()
