"""What CONTRIBUTING.md says is true: its places exist, and what its lists ask for was done for all that there is."""
import ast
import configparser
import re
from pathlib import Path

import pytest

import minideconv as md
import minideconv.functional as F
from minideconv import cli, data, losses, nn
from minideconv.gan.losses import LOSSES
from minideconv.interchange import layouts, onnx_file, source
from minideconv.primitives import PRIMITIVES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "minideconv"
STEPS = 4               # of a list, at most
PAGE = 80               # lines
SIGNS = "NAME", "NN_"   # of names that the reader chooses


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


GUIDE = text("CONTRIBUTING.md")
PLACES = sorted({place for place in re.findall(r"`([\w./-]+)`", GUIDE) if re.search(r"\.(py|md|cfg|txt)$|/", place)})
LISTS = {part.splitlines()[0]: part for part in GUIDE.split("\n## ")[1:] if "\n1. " in part}


def linked(page):
    """A page with its reference links written out: [label] and [words][label] as [words](target)."""
    targets = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", page, re.MULTILINE))

    def written_out(found):
        label = found[found.lastindex]
        return f"[{found[1]}]({targets[label]})" if label in targets else found[0]
    return re.sub(r"\[([^\]]+)\](?![:(])", written_out, re.sub(r"\[([^\]]*)\]\[([^\]]+)\]", written_out, page))


def quoted(name, where):
    """Whether a file names something as text."""
    return re.search(rf"[\"']{re.escape(name)}[\"']", text(where))


# ---- the page

def test_it_is_one_page_of_short_lists():
    assert len(GUIDE.splitlines()) <= PAGE
    assert list(LISTS) == ["An operation", "A layer", "A loss", "A data set", "A command", "A lesson"]
    for name, part in LISTS.items():
        numbers = [int(number) for number in re.findall(r"^(\d+)\. ", part, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) <= STEPS, name


@pytest.mark.parametrize("place", PLACES)
def test_every_place_exists(place):
    if "/" not in place and place.endswith(".py"):
        place = f"minideconv/{place}"
    if any(sign in place for sign in SIGNS):
        place = str(Path(place).parent)
    assert (ROOT / place).exists()


def test_every_list_names_places():
    for name, part in LISTS.items():
        for step in re.findall(r"^\d+\. (.*)", part, re.MULTILINE):
            assert step.startswith("`"), f"{name}: {step}"


@pytest.mark.parametrize("name, where", [("ORDER", "tests/test_structure.py"), ("TABLE", "tests/test_gradients.py"),
                                         ("PUBLIC", "tests/test_gradients.py"), ("LOSSES", "minideconv/gan/losses.py"),
                                         ("STEPS", "minideconv/interchange/layouts.py"),
                                         ("LAYERS", "minideconv/interchange/onnx_file.py"),
                                         ("LAYERS", "minideconv/interchange/source.py"),
                                         ("SOURCES", "minideconv/data/__init__.py"), ("COMMANDS", "minideconv/cli.py")])
def test_every_table_is_where_it_is_said_to_be(name, where):
    assert name in re.findall(r"`(\w+)`", GUIDE) and where in GUIDE
    made = {target.id for node in ast.parse(text(where)).body for target in getattr(node, "targets", [])
            if isinstance(target, ast.Name)}
    assert name in made


# ---- operations, layers, losses

@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_every_operation_has_a_gradient_check(name):
    assert quoted(name, "tests/test_gradients.py")


@pytest.mark.parametrize("name", sorted(F.__all__))
def test_every_public_function_has_a_gradient_check(name):
    assert quoted(name, "tests/test_gradients.py")


@pytest.mark.parametrize("name", sorted(set(nn.__all__) - {"init"}))
def test_every_layer_is_public_and_tested(name):
    assert re.search(rf"\bnn\.{name}\(", text("tests/test_nn.py"))


def test_every_layer_is_in_the_list_of_layers():
    tree = ast.parse(text("minideconv/nn/layers.py"))
    layers = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert {name for name in layers if name[0] != "_"} <= set(nn.__all__)


def test_every_layer_is_translated():
    layers = {getattr(nn, name) for name in set(nn.__all__) - {"init", "Module", "Sequential"}}
    for table in (layouts.STEPS, onnx_file.LAYERS, source.LAYERS):
        assert layers - set(table) == set()


def test_every_loss_is_public_and_tested():
    for name, value in vars(losses).items():
        if name.endswith("_loss") or name.startswith(("cross_entropy", "binary_cross_entropy")):
            if getattr(value, "__module__", None) == losses.__name__ and name[0] != "_":
                assert name in F.__all__ and name in text("tests/test_losses.py"), name


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_of_the_game_is_a_choice(name, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    assert name in re.findall(r"[\w-]+", capsys.readouterr().out)


# ---- data sets, commands, lessons

def test_every_data_set_is_tested_and_a_choice(capsys):
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    shown = capsys.readouterr().out
    for name in data.SOURCES:
        assert f'"{name}"' in tests, f"no test names {name}"
        assert name in shown, f"train --help does not name {name}"


def commands():
    """The commands by name: each file of commands/ that registers one."""
    files = sorted((PACKAGE / "commands").glob("*.py"))
    return [path.stem for path in files if "def register(" in path.read_text(encoding="utf-8")]


def test_every_command_is_registered_and_in_readme(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    for name in commands():
        assert re.search(rf"^\s+{name}\s", shown, re.MULTILINE), f"minideconv --help does not show {name}"
        assert f"minideconv {name}" in text("README.md"), f"README.md does not show minideconv {name}"
        source = text(f"minideconv/commands/{name}.py")
        assert "def run(" in source or ".register(" in source       # or its own commands have it (draw)


@pytest.mark.parametrize("lesson", sorted((ROOT / "tutorials").glob("*.py")), ids=lambda path: path.stem)
def test_every_lesson_has_a_row_and_a_picture(lesson):
    lines = linked(text("README.md")).splitlines()
    row = next((line for line in lines if f"(tutorials/{lesson.name})" in line), "")
    assert row.startswith("|"), "README.md has no row for it"
    picture = re.search(r"\((tutorials/pictures/[^)]+)\)", row).group(1)
    assert (ROOT / picture).exists() and re.match(r"\d\d_|lab_[a-z]_", lesson.name)[0] in picture


def test_readmes_example_runs(capsys):
    names = {}
    for block in re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL):
        exec(block, names)
    assert 0 < float(capsys.readouterr().out) < 0.3 and names["step"] == 49       # it started at 0.69, ln 2


def test_readme_links_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "tutorials/OFTEN_READ.md", "tutorials/RESULTS.md"):
        links = re.findall(r"\]\(([^)#]+)\)", linked(text(page)))
        assert [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()] == []


# ---- versions

def settings():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def bounds(lines):
    """name -> lower bound as numbers, of requirements with one."""
    found = (re.match(r"([\w-]+)\s*[>=]=\s*([\d.]+)", line.strip()) for line in lines.splitlines())
    return {match[1]: tuple(map(int, match[2].split("."))) for match in found if match}


def test_the_oldest_versions_are_the_lower_bounds():
    config = settings()
    wanted = bounds(config["options"]["install_requires"] + config["options.extras_require"]["test"])
    pinned = bounds(text(".ci/constraints-oldest.txt"))
    assert {name: (*version, 0, 0)[:3] for name, version in wanted.items()} == pinned and len(pinned) >= 8


def test_the_workflow_runs_the_oldest_and_the_newest_python():
    config, workflow = settings(), text(".github/workflows/ci.yml")
    claimed = re.findall(r"Python :: (3\.\d+)", config["metadata"]["classifiers"])
    assert re.search(r"python: \[(.*)\]", workflow)[1] == f'"{claimed[0]}", "{claimed[-1]}"'
    assert config["options"]["python_requires"] == f">={claimed[0]}"
    assert "run: .ci/run" in workflow
    assert all(f"{system}-latest" in workflow for system in ("ubuntu", "macos", "windows"))


def test_ci_runs_what_readme_and_this_page_tell_people_to():
    script = text(".ci/run")
    assert "python -m pytest\n" in script and "ruff check .\n" in script and "-m tutorials" in script
    assert 'pip install -e ".[test]" && python -m pytest' in text("README.md")


def test_type_hints_are_part_of_the_package():
    assert (PACKAGE / "py.typed").exists() and settings()["options.package_data"]["minideconv"] == "py.typed"


def test_the_changelog_has_this_version_and_what_comes():
    headings = re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased" and md.__version__ in headings
