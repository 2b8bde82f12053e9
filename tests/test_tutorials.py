"""The lessons: each runs in its short setting (`pytest -m tutorials`),
and each keeps to the form that readers count on.
"""
import ast
import os
import re
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

NUMBER = r"\d\d_|lab_[a-z]_"                 # how the name of a lesson or a lab begins, and those of its pictures
FOLDER = Path(__file__).resolve().parents[1] / "tutorials"
LESSONS = sorted(path for path in FOLDER.glob("*.py") if re.match(NUMBER, path.name))
PICTURES = sorted((FOLDER / "pictures").glob("*.*"))
LINES_PER_CELL = 15
PICTURE_BYTES = 150_000
SECONDS = 60                # for a lesson in its short setting

Cell = namedtuple("Cell", "markdown, first_line, lines")
each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def cells(text):
    """The cells of a percent script; first_line counts from 1.

    What stands above the first cell is not one.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("# %%"):
            found.append(Cell(line.strip() == "# %% [markdown]", number, []))
        elif found:
            found[-1].lines.append(line)
    return found


def code_lines(cell):
    """The cell's lines without blank ones and comments."""
    return [line for line in cell.lines if line.strip() and not line.strip().startswith("#")]


def prose(cell):
    """The markdown of a cell, on one line."""
    return " ".join(line.lstrip("# ") for line in cell.lines)


def number(path):
    """The beginning of the name: 07_ of 07_checkerboard.py, lab_a_ of lab_a_comparisons.png."""
    return re.match(NUMBER, path.name)[0]


def read(lesson):
    return cells(lesson.read_text(encoding="utf-8"))


def test_lessons_are_found_and_numbered_once():
    assert len(LESSONS) == len(list(FOLDER.glob("*.py")))
    numbers = [number(lesson) for lesson in LESSONS]
    assert numbers and len(set(numbers)) == len(numbers), numbers


@each_lesson
def test_is_a_percent_script(lesson):
    found = read(lesson)
    assert found[0].markdown, "a lesson opens with prose"
    assert sum(cell.markdown for cell in found) >= 3 and sum(not cell.markdown for cell in found) >= 3
    for cell in found:
        if cell.markdown:
            bare = [line for line in cell.lines if line.strip() and not line.startswith("#")]
            assert not bare, f"line {cell.first_line}: code in a markdown cell: {bare[0]}"
        else:
            ast.parse("\n".join(cell.lines))        # a cell runs on its own: no statement reaches into the next


@each_lesson
def test_code_cells_are_short(lesson):
    for cell in read(lesson):
        count = 0 if cell.markdown else len(code_lines(cell))
        assert count <= LINES_PER_CELL, f"{lesson.name}, cell at line {cell.first_line}: {count} lines of code"


@each_lesson
def test_claims_are_asserted(lesson):
    tree = ast.parse(lesson.read_text(encoding="utf-8"))
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 4


@each_lesson
def test_says_at_the_top_how_long_it_takes(lesson):
    opening = prose(read(lesson)[0])
    numbers = r"\d+|an?|one|two|three|four|five|six|half a|under a"
    assert re.search(rf"\b({numbers}) (seconds?|minutes?)\b", opening) and "2 cores" in opening, opening
    assert "MINIDECONV_SHORT" in opening


@each_lesson
def test_asks_a_question_and_checks_the_answer(lesson):
    found = read(lesson)
    asked = [place for place, cell in enumerate(found)
             if cell.markdown and re.search(r"\b[Qq]uestion\b.*\?", prose(cell))]
    assert asked, "no cell asks the reader a question"
    after = "\n".join(line for cell in found[asked[0]:] if not cell.markdown for line in cell.lines)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(after))), "the answer is not checked"


@each_lesson
def test_cites_its_sources(lesson):
    text = " ".join(prose(cell) for cell in read(lesson) if cell.markdown)
    assert re.search(r"\b[A-Z][a-z]{2,}\b[^.]*?\(?\b(19|20)\d\d\b", text), "no author and year"


@each_lesson
def test_names_no_path_of_one_machine(lesson):
    roots = r"(?<![\w.])/(?:tmp|home|root|work|usr|mnt|var|opt|Users)/\S*"
    found = re.findall(rf"{roots}|\b[A-Z]:\\\\?\w+|~/\S*|\.\./\S*", lesson.read_text(encoding="utf-8"))
    assert not found, found


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_kept_pictures_are_small_and_belong_to_a_lesson(picture):
    assert picture.suffix in (".png", ".gif") and number(picture) in set(map(number, LESSONS))
    assert picture.stat().st_size <= PICTURE_BYTES


@pytest.mark.tutorials
@each_lesson
def test_runs_in_the_short_setting(lesson, tmp_path):
    pictures, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    elsewhere.mkdir()
    source = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": source, "MINIDECONV_SHORT": "1", "MINIDECONV_PICTURES": str(pictures)}
    done = subprocess.run([sys.executable, str(lesson)], cwd=elsewhere, env=environment, capture_output=True, text=True,
                          timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    drawn = list(pictures.iterdir())
    assert drawn and all(number(picture) == number(lesson) and picture.stat().st_size for picture in drawn)
    assert not list(elsewhere.iterdir()), "a lesson writes its pictures only"
