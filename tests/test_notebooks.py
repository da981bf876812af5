"""Every notebook of the course: generated from its solution, short to read, described, complete, and runnable blank."""

import ast
import re
import statistics
from pathlib import Path

import pytest

from cs348k_diffusion.authoring import handout, outputs
from cs348k_diffusion.authoring.handout import STOPS, exercise_tags, worths
from cs348k_diffusion.authoring.stub_flow import called, parse
from cs348k_diffusion.exercises.catalogue import free_texts, registry

ROOT = Path(__file__).parents[1]
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
STUDENTS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WORDS, MEDIAN, LONGEST = 80, 6, 25  # of an idea; of the lines of a code cell
NOT_WORDS = re.compile(
    r"<details>.*?</details>|<!--.*?-->|<[^>]+>|\$\$.*?\$\$|\$[^$]+\$|```.*?```|^ *\|[^\n]*$|^#+ [^\n]*$|\]\([^)]*\)",
    re.DOTALL | re.MULTILINE,
)

each_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
each_student = pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)


def cells(path: Path, kind: str):
    return [cell for cell in handout.read(path).cells if cell.cell_type == kind]


def words(markdown: str) -> int:
    """Words of prose: not formulas, tables, headings, folded hints or tags."""
    return len(re.findall(r"\w[\w'-]*", NOT_WORDS.sub(" ", markdown)))


def lines(source: str) -> int:
    """Lines of code: not docstrings, comments or blank lines."""
    tree, held = parse(source), set()
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                held |= set(range(child.lineno, (child.end_lineno or child.lineno) + 1))
    numbered = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and n not in held for n, line in numbered)


def test_words_and_lines_are_counted_as_a_reader_would():
    said = (
        "# A title\nOne *two* three's $x_t = 4$ [five](http://x.y/z)\n\n| a | table |\n<details>hidden words</details>"
    )
    assert words(said) == 4
    assert lines('def f(x):\n    """Doc\n\n    string."""\n\n    # why\n    return x  # so\n') == 2


def test_student_notebooks_are_what_the_solutions_give():
    stale = handout.generate(ROOT / "solutions", ROOT / "notebooks", check=True)
    assert stale == [], "run `make notebooks`"


def test_every_exercise_has_a_notebook():
    found = {re.sub(r"^\d+_", "", path.stem) for path in SOLUTIONS}
    assert {exercise.word for exercise in registry().values()} <= found


@each_solution
def test_it_opens_with_what_it_needs_how_long_it_takes_and_its_points(path):
    first = handout.read(path).cells[0]
    line = next((line for line in first.source.splitlines() if "**Needs**" in line), None)
    assert first.cell_type == "markdown"
    assert first.source.startswith("# "), "the first line is the title"
    assert line, (
        'the first cell has a line like "**Needs** nothing ... **about** 35 minutes ... **13 points** ... core"'
    )
    minutes, points = re.search(r"(\d+)\W* minutes", line), re.search(r"(\d+|no)\W* points?", line)
    assert minutes, line
    assert points, line
    assert int(minutes[1]) <= 75
    total = sum(worth.points for worth in worths(path.stem).values())
    assert int(points[1].replace("no", "0")) == total, f"the exercises are worth {total:g} points"
    assert re.search("core|starred", line), "says which parts are core and which starred"


@each_solution
def test_ideas_are_short(path):
    ideas = [cell for cell in cells(path, "markdown") if not set(cell.metadata.get("tags", [])) & set(free_texts())]
    counts = {cell.id: words(cell.source) for cell in ideas}  # a model answer in prose may be longer
    assert {id: count for id, count in counts.items() if count > WORDS} == {}


@each_solution
def test_code_is_short(path):
    counts = {cell.id: lines(cell.source) for cell in cells(path, "code")}
    assert {id: count for id, count in counts.items() if count > LONGEST} == {}
    assert statistics.median(counts.values()) <= MEDIAN


@each_solution
def test_pictures_in_the_text_are_described(path):
    for cell in cells(path, "markdown"):
        assert "![](" not in cell.source, cell.id
        assert all((tag.get("alt") or "").strip() for tag in outputs.images(cell.source)), cell.id


@each_solution
def test_outputs_are_stored_described_and_small(path):
    notebook = handout.read(path)
    assert list(outputs.output_problems(notebook)) == []
    assert list(outputs.size_problems(path.read_text(encoding="utf-8"))) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make outputs`"
    assert any("text/html" in output.get("data", {}) for cell in code for output in cell.outputs), "nothing to look at"


@each_solution
def test_stored_files_hold_nothing_of_an_editor(path):
    """What `make outputs` writes is what is stored: fixed metadata, no timings, no widget state."""
    notebook = handout.read(path)
    outputs.tidy(notebook)
    assert handout.text(notebook) == path.read_text(encoding="utf-8")


def exercises_of(word):
    """What has a stub and a check; a question for prose has neither."""
    return {id: worth for id, worth in worths(word).items() if id not in free_texts()}


@each_solution
def test_each_exercise_has_its_stub_and_a_check_after_it(path):
    code = cells(path, "code")
    for id, worth in exercises_of(path.stem).items():
        at = [k for k, cell in enumerate(code) if id in exercise_tags(cell)]
        assert at, f"{id} has no stub"
        assert any(checks(code[k].source, worth.exercise) for k in range(at[-1] + 1, len(code))), (
            f"{id} is never checked"
        )


def checks(source: str, exercise) -> bool:
    """Does this cell call check(name) or check("E2.1")?"""
    calls = [n for n in ast.walk(parse(source)) if isinstance(n, ast.Call) and called(n.func) == "check" and n.args]
    return any(ast.unparse(call.args[0]).strip("'") in (exercise.name, exercise.id) for call in calls)


@each_student
def test_student_notebooks_hold_no_outputs_and_a_stub_for_each_exercise(path):
    code = cells(path, "code")
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    stubs = {id for cell in code for id in exercise_tags(cell)}
    assert stubs == set(exercises_of(path.stem))
    for cell in code:
        for id in exercise_tags(cell):
            assert f'raise NotYet("{id}")' in cell.source or "None" in cell.source, cell.id


@each_student
def test_a_blank_notebook_stops_exactly_at_the_cells_that_are_tagged(path):
    notebook = handout.read(path)
    outputs.execute(notebook, path.name, blank=True)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    raised = {cell.id: o.ename for cell in code for o in cell.outputs if o.output_type == "error"}
    tagged = {cell.id for cell in code if STOPS in cell.metadata.get("tags", [])}
    assert set(raised) == tagged
    assert set(raised.values()) <= {"NotYet", "NameError"}
