"""The order of the rooms: what imports what, what stays out, how long things are, that the public is explained."""
import ast
import configparser
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minideconv as md
from minideconv import functional, gradcheck, nn, optim

PACKAGE = Path(md.__file__).parent

# A file imports only from files above it. A new file has to be given its place here.
ORDER = """
    shapes.py  conventions.py  machine.py  parallel.py  kernels/reference.py
    kernels/fast/compiled.py  kernels/fast/written.py  kernels/fast/arrays.py  kernels/fast/runs.py
    kernels/fast/waiting.py  kernels/fast/products.py  kernels/fast/loops.py  kernels/fast/columns.py
    kernels/fast/filterings.py  kernels/fast/registers.py  kernels/fast/combinations.py  kernels/fast/taps.py
    kernels/fast/passes.py  kernels/fast/matrices.py  kernels/fast/rows.py  kernels/fast/tiles.py
    kernels/fast/lowering.py  kernels/fast/__init__.py  kernels/fast/ahead.py
    kernels/__init__.py
    dtypes.py  seals.py  nodes.py  switches.py  tensor.py  primitives.py  shaping.py  reductions.py  ops.py
    activations.py  conv.py  pooling.py  norm.py  losses.py  functional.py  numpy_calls.py
    states.py  storage.py  nn/module.py  nn/init.py  nn/layers.py  nn/sequential.py  nn/__init__.py  optim.py  prune.py
    gradcheck.py  profile.py
    data/strokes.py  data/__init__.py  data/mnist.py  data/pictures.py  data/points.py  data/augment.py
    data/drawings.py
    __init__.py
    metrics/__init__.py  metrics/neighbours.py  metrics/parzen.py  metrics/modes.py  metrics/frechet.py
    metrics/image_quality.py
    draw/__init__.py  draw/figure.py
    models/__init__.py  models/dcgan.py  models/conditional.py  models/mlp.py  models/spectral.py
    models/pair.py  models/unet.py  models/super_resolution.py  models/classifier.py
    train/__init__.py  train/state.py  train/config.py  train/lock.py  train/beside.py  train/pictures.py
    train/table.py  train/run.py  train/supervised.py  train/distillation.py
    metrics/classifier.py  metrics/report.py  metrics/sheet.py
    gan/health.py  gan/round.py  gan/losses.py  gan/penalties.py  gan/networks.py  gan/average.py  gan/check.py
    gan/trainer.py  gan/sample.py  gan/latent.py  gan/evaluation.py  gan/runs.py  gan/translation.py  gan/__init__.py
    draw/layering.py  draw/walk.py  draw/heatmap.py  draw/arguments.py  draw/step.py
    draw/matrix.py  draw/stacks.py  draw/overlap.py  draw/sizes.py  draw/boxes.py  draw/tape.py
    draw/translate.py  draw/saliency.py  draw/deconvnet.py  draw/latent.py  draw/command.py
    interchange/chain.py  interchange/layouts.py  interchange/pytorch.py  interchange/onnx_file.py
    interchange/source.py  interchange/generator.py  interchange/__init__.py
    bench/cases.py  bench/peers.py  bench/our_side.py  bench/torch_side.py  bench/bounds.py  bench/report.py
    bench/measure.py  bench/__init__.py
    commands/__init__.py  commands/arguments.py  commands/console.py  commands/train.py  commands/sample.py
    commands/evaluate.py  commands/export.py  commands/draw.py  commands/bench.py  commands/info.py
    cli.py  __main__.py
""".split()

# Rooms that a function opens on demand, so that `import minideconv` stays quick.
ON_DEMAND = {("data/__init__.py", f"data/{name}.py") for name in ("mnist", "pictures", "points")}
ON_DEMAND.add(("parallel.py", "kernels/fast/waiting.py"))

# What the package may stand on besides the standard library. The benchmark's peer and ONNX are imported only where
# somebody asks for them.
FOUNDATIONS = {"numpy", "numba", "llvmlite", "threadpoolctl", "matplotlib", "PIL", "tqdm"}
PEERS = {("bench/torch_side.py", "torch"), ("interchange/onnx_file.py", "onnx")}


def files(package=PACKAGE):
    return {path.relative_to(package).as_posix() for path in package.rglob("*.py")}


def tree(name):
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


def imports(name):
    """(module path, names taken from it) of every import, inside functions too; relative ones made absolute."""
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
    unsafe = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib"}
    assert not {module[0] for module, _ in imports(name)} & unsafe
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            allowed = isinstance(node.value, ast.Constant) and node.value.value is False
            assert allowed, f"{name}, line {node.value.lineno}"


def test_whatever_is_not_python_is_packaged_by_name():
    """An installed package without the classifier's weights would measure nothing."""
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    named = {f"{room.replace('.', '/')}/{pattern}" for room, patterns in settings["options.package_data"].items()
             for pattern in patterns.split()}
    others = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*")
              if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc")}
    assert others == named


def test_importing_the_package_loads_nothing_slow():
    command = "import sys, minideconv; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, "-c", command], env={**os.environ, "PYTHONPATH": path}, check=True,
                          capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "numpy" in loaded and not {"numba", "matplotlib", "PIL", "tqdm", "torch", "onnx", "scipy"} & set(loaded)


# ---- short enough

LINES = 330             # of a file: what can be read in one sitting
ARGUMENTS = 10          # by position; more get a named bundle

def long_signatures(name):
    """The functions of a file with more than ARGUMENTS positional arguments."""
    for node in ast.walk(tree(name)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            if len(node.args.posonlyargs + node.args.args) > ARGUMENTS:
                yield f"{name} {getattr(node, 'name', 'lambda')}"


def test_no_file_outgrows_a_sitting():
    counts = {name: len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) for name in files()}
    assert {name for name, count in counts.items() if count > LINES} == set()


def test_no_function_takes_a_row_of_numbers():
    assert {found for name in files() for found in long_signatures(name)} == set()


# ---- explanations

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
