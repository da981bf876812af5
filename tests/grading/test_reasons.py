"""One line for every 0: where an answer stands in the notebook, and what the batch would not run of it."""

import linecache
from pathlib import Path

import nbformat.v4 as nb
import pytest
from typer.testing import CliRunner

from cs348k_diffusion import cli
from cs348k_diffusion.authoring import handout
from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.exercises.framework.errors import NotYet
from cs348k_diffusion.grading.batch import run as batch
from cs348k_diffusion.grading.batch.plan import Plan
from cs348k_diffusion.grading.checks import check as checking
from cs348k_diffusion.grading.checks import history
from cs348k_diffusion.grading.gradebook.feedback import write_feedback
from cs348k_diffusion.grading.submissions import notebook as submission
from cs348k_diffusion.grading.submissions import reasons

TOYS = Path(__file__).parents[1] / "toy_exercises"
SOLUTIONS = Path(__file__).parents[2] / "solutions"
RIGHT = "def double(x):\n    return 2 * x"
STUB = "    raise NotYet('E9.1')"


def write(path, *cells):
    path.write_text(handout.text(nb.new_notebook(cells=[nb.new_code_cell(text) for text in cells])))
    return path


def line(tmp_path, *cells, name="double"):
    return reasons.why(submission.read([write(tmp_path / "a.ipynb", *cells)]), name)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["x = 1"], "no definition of double was found"),
        (["def doubel(x):\n    return 2 * x"], "no definition of double was found; is doubel meant to be it?"),
        (
            ["\ndef double(x):\n    y = 1\n\n    return 2 x"],
            'begins "def double(x):" is not Python, line 5: invalid syntax',
        ),
        ([RIGHT, "def double(x)\n    return x"], "is not Python, line 1: expected ':'; the version before it counts"),
        ([RIGHT + "\n" + STUB], "delete `raise NotYet`, which still stands beside what you wrote"),
        (["def double(x):\n    'Twice.'\n    y = 2 * x\n" + STUB], "delete `raise NotYet`"),
        ([RIGHT, RIGHT.replace("2", "3")], "there are 2 definitions of double; the last counts"),
        ([RIGHT, RIGHT], ""),
        (["def double(x):\n    'Twice.'\n" + STUB, RIGHT], ""),
        (["def double(x):\n    'Twice.'\n" + STUB], ""),
        ([RIGHT], ""),
    ],
)
def test_where_an_answer_stands(tmp_path, cells, words):
    found = line(tmp_path, *cells)
    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize(
    "filling",
    [
        "for k in range(3):\n    TABLE[k] = 2",
        "for k in range(3):\n    TABLE.append(k)",
        "TABLE.update({2: 2})",
        "setattr(TABLE, 'two', 2)",
        "while not TABLE:\n    TABLE[2] = 2",
        "print(TABLE := {2: 2})",
        "match 2:\n    case TABLE:\n        pass",
        "with open('x') as file:\n    TABLE.update(a=1)",
        "[TABLE.append(k) for k in range(3)]",
    ],
)
def test_what_the_batch_does_not_run_is_said(tmp_path, filling):
    cells = ["TABLE = {}", filling, "def double(x):\n    return TABLE[2] * x"]
    found = line(tmp_path, *cells)
    assert found.startswith("the grader does not run the statement that fills TABLE")
    assert found.endswith("write TABLE = ...")
    assert filling.partition("\n")[0][:5] in found


def test_a_decorators_registry_is_said(tmp_path):
    registry_ = "TABLE = {}\ndef register(f):\n    TABLE[f.__name__] = f\n    return f"
    cells = [registry_, "@register\ndef twice(x):\n    return 2 * x", "def double(x):\n    return TABLE['twice'](x)"]
    assert "the statement that fills TABLE (@register)" in line(tmp_path, *cells)


@pytest.mark.parametrize("path", sorted(SOLUTIONS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_nothing_is_said_of_the_courses_own_answers(path):
    made = submission.read([path])
    names = [exercise.name for exercise in registry().values() if exercise.word in path.stem]
    assert {name: line for name in names if (line := reasons.why(made, name))} == {}


def test_the_same_line_in_check_and_on_the_feedback_page(tmp_path):
    path = write(tmp_path / "a.ipynb", "def double(x):\n    return 2 x", "def wlak(slope, x, generator):\n    return x")
    graded = batch.check_notebook(path, checks=TOYS)
    records = {record.exercise: record for record in graded.records}
    why = '(the cell that begins "def double(x):" is not Python, line 2: invalid syntax)'
    assert why in records["E9.1"].message
    assert "(no definition of walk was found; is wlak meant to be it?)" in records["E9.2"].message
    write_feedback(graded.records, "you", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "is not Python, line 2: invalid syntax." in page
    assert "is wlak meant to be it?" in page
    assert "?." not in page
    assert records["E9.1"].status == "not yet"


def test_a_failing_answer_is_told_of_its_second_definition_once(tmp_path):
    path = write(tmp_path / "a.ipynb", RIGHT, "def double(x):\n    return x**2")
    messages = [r.message for r in batch.check_notebook(path, checks=TOYS).records if r.exercise == "E9.1"]
    told = [each for each in messages if "In your notebook: there are 2 definitions of double; the last counts" in each]
    assert len(told) == 1


def test_an_unwritten_exercise_that_is_called_is_named_in_both(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def double(x):
        raise NotYet("E6.3")

    checking.check(double, TOYS)
    assert capsys.readouterr().out == "E9.1: not yet (it calls E6.3, which is not written)\n"
    cells = ["def other(x):\n    raise NotYet('E6.3')", "def double(x):\n    return other(x)"]
    path = write(tmp_path / "a.ipynb", "from cs348k_diffusion.exercises import NotYet", *cells)
    messages = {r.message for r in batch.check_notebook(path, checks=TOYS).records if r.exercise == "E9.1"}
    assert messages == {"E9.1: not yet (it calls E6.3, which is not written)"}


def test_check_at_the_command_line_gives_the_reason(tmp_path):
    path = write(tmp_path / "02_forward_noising.ipynb", "def jump_to(x0, t eps):\n    return x0")
    shown = CliRunner().invoke(cli.app, ["check", str(path), "--only", "E2.2"]).output
    assert 'the cell that begins "def jump_to(x0, t eps):" is not Python, line 1' in " ".join(shown.split())


def kernels(monkeypatch, *cells):
    """As if these cells had been run; gives what they define."""
    space = {}
    for number, text in enumerate(cells):
        name = f"<ipython-input-{number}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        try:
            exec(compile(text, name, "exec"), space)
        except (SyntaxError, ZeroDivisionError):
            continue
    monkeypatch.setattr(history, "cells", lambda: ["", *cells])
    return space


@pytest.mark.parametrize("newer", ["def double(x)\n    return x", "1 / 0\ndef double(x):\n    return 3 * x"])
def test_a_stale_definition_is_said_in_the_notebook(monkeypatch, tmp_path, newer):
    monkeypatch.chdir(tmp_path)
    outcome = checking.run_check(kernels(monkeypatch, RIGHT, newer)["double"], TOYS)
    assert outcome.passed
    assert "The last run of a cell that defines double failed: this is the version before." in repr(outcome)
    assert "this is the version before" in outcome._repr_html_()
    outcome = checking.run_check(kernels(monkeypatch, newer, RIGHT)["double"], TOYS)
    assert "version before" not in repr(outcome)


def test_the_notebook_says_what_the_batch_would_not_run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cells = ["TABLE = {}", "for k in (1, 2):\n    TABLE[k] = k", "def double(x):\n    return TABLE[2] * x"]
    outcome = checking.run_check(kernels(monkeypatch, *cells)["double"], TOYS)
    assert outcome.passed
    assert "When a class is graded: the grader does not run the statement that fills TABLE" in repr(outcome)


def test_the_key_of_a_grading_reaches_its_processes():
    plan = Plan({}, (), TOYS, key="secret")
    assert Plan.from_json(plan.to_json()).key == "secret"
