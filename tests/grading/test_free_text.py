"""Answers in prose: found whatever happened to their cells, written out for reading, marked once and for all."""

import csv
import json
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cs348k_diffusion.authoring import handout
from cs348k_diffusion.exercises import FreeText
from cs348k_diffusion.exercises.framework.catalogue import Exercise, free_texts
from cs348k_diffusion.grading.batch import run as batch
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.submissions import notebook as submission
from cs348k_diffusion.grading.submissions import reading
from cs348k_diffusion.grading.submissions.reading import PLACEHOLDER

linux = pytest.mark.skipif(sys.platform != "linux", reason="grading a class is Linux's")
CHECKS = """
import pytest
from cs348k_diffusion.exercises import Exercise, FreeText

EXERCISES = (Exercise("E9.1", "double", "Twice"),)
TEXTS = (FreeText("E9.2", "Your verdict", 4), FreeText("E9.10", "What next", points=2))

@pytest.mark.exercise("E9.1", points=1)
def test_doubles(double):
    assert double(2) == 4
"""
IDS = {"E9.2", "E9.10"}


@pytest.fixture
def checks(tmp_path):
    (tmp_path / "checks").mkdir()
    (tmp_path / "checks" / "toy.py").write_text(CHECKS)
    return tmp_path / "checks"


def test_questions_are_listed_with_their_points(checks):
    assert list(free_texts(checks).values()) == [
        FreeText("E9.2", "Your verdict", 4, "toy"),
        FreeText("E9.10", "What next", 2, "toy"),
    ]
    (checks / "toy.py").write_text(CHECKS.replace("E9.10", "E9.1"))
    with pytest.raises(ValueError, match=r"E9.1 is used twice"):
        free_texts(checks)


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        ([([], "**Answer to E9.2**\n\nIt holds.\n\nTwice.")], {"E9.2": "It holds.\n\nTwice."}),
        ([(["E9.2"], "It holds.")], {"E9.2": "It holds."}),
        ([(["E9.10"], "### answer to e9.2:\nIt holds.")], {"E9.2": "It holds."}),
        ([([], "**Answer to E9.2**\nOne."), ([], "Answer to E9.2\nTwo."), ([], "Three.")], {"E9.2": "One.\n\nTwo."}),
        ([(["E9.2"], f"**Answer to E9.2**\n\n{PLACEHOLDER}")], {}),
        ([(["E9.2"], f"**Answer to E9.2**\n\n{PLACEHOLDER}\nYes.")], {"E9.2": "Yes."}),
        ([(["E9.2"], "**Answer to E9.2**")], {}),
        ([([], "Answer to E9.3\nno such question"), ([], "The answer to E9.2 is long."), ([], "")], {}),
        ([(["E9.2"], "x" * 10**6)], {"E9.2": "x" * 20_000}),
    ],
)
def test_an_answer_is_found_by_its_first_line_or_its_tag(cells, found):
    assert reading.answers(cells, IDS) == found


def test_odd_markdown_cells_are_no_crash(tmp_path):
    odd = [None, {"cell_type": "markdown"}, {"cell_type": "markdown", "source": 3, "metadata": {"tags": [1, "E9.2"]}}]
    odd += [{"cell_type": "markdown", "source": ["Answer to E9.2\n", "yes"], "metadata": {"tags": "E9.2"}}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": odd}))
    assert reading.answers(submission.read([tmp_path / "a.ipynb"]).markdown, IDS) == {"E9.2": "yes"}


def solution(answer, head="**Answer to E9.2**", tags=("E9.2",)):
    source = f"{head}\n\n{answer}"
    cells = [new_markdown_cell("## E9.2 Your verdict (4 points)"), new_markdown_cell(source)]
    cells[1].metadata.tags = list(tags)
    return new_notebook(cells=cells)


MODEL = "### BEGIN SOLUTION\nRefuted.\n### END SOLUTION"
WORTH = {"E9.2": handout.Worth(Exercise("E9.2", "E9.2", "Your verdict"), 4)}


def test_students_get_a_place_to_write_instead_of_the_model_answer():
    made = handout.student_notebook(solution(MODEL), WORTH)
    assert made.cells[1].source == f"**Answer to E9.2**\n\n{PLACEHOLDER}"
    assert made.cells[1].metadata.tags == ["E9.2"]
    own = MODEL.replace("BEGIN SOLUTION", "BEGIN SOLUTION\n### STUDENT: *At most five lines.*")
    assert "*At most five lines.*" in handout.student_notebook(solution(own), WORTH).cells[1].source


@pytest.mark.parametrize(
    "wrong",
    [
        solution("Refuted."),
        solution(MODEL, head="Answer:"),
        solution(MODEL, head="**Answer to E9.3**"),
        solution(MODEL, tags=()),
        solution("### BEGIN SOLUTION\nRefuted."),
    ],
)
def test_a_model_answer_that_would_be_handed_out_or_lost_is_refused(wrong):
    with pytest.raises(handout.HandoutError, match=r"prose|unbalanced|without ### END"):
        handout.student_notebook(wrong, WORTH)


def table(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(path, points):
    """Mark answers as a spreadsheet would: by the code of the student, points and a comment."""
    rows = table(path)
    for row in rows:
        row["points"], row["comment"] = points.get(row["student"], (row["points"], row["comment"]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


@linux
def test_answers_are_written_out_and_their_marks_read_back(tmp_path, checks):
    def hand_in(student, answer):
        (tmp_path / "in").mkdir(exist_ok=True)
        cells = [new_code_cell("import torch"), new_markdown_cell(f"**Answer to E9.2**\n\n{answer}")]
        nbformat.write(new_notebook(cells=cells), tmp_path / "in" / f"{student}.ipynb")

    def grade():
        graded = batch.grade(tmp_path / "in", out, only=["E9.2"], checks=checks)
        return graded, {row["student"]: row for row in table(out / "gradebook.csv")}

    out, sheet = tmp_path / "out", tmp_path / "out" / "texts.csv"
    for student, answer in (("ada", "# bob\n=1+1"), ("bob", "<b>No</b>"), ("cy", PLACEHOLDER)):
        hand_in(student, answer)
    graded, book = grade()
    assert [(book[name]["E9.2"], book[name]["total"], book[name]["of"]) for name in book] == [("0", "0", "6")] * 3
    assert (book["ada"]["notes"], book["cy"]["notes"]) == ("E9.2 waits to be read.", "")
    code = free_text.codes_of(("ada", "bob"), (out / ".key").read_text().strip())
    quoted = {code["ada"]: "> # bob\n> =1+1", code["bob"]: "> <b>No</b>"}
    assert (out / "answers" / "E9.2.md").read_text() == "\n\n".join(
        ["# E9.2 Your verdict (4 points)", *(f"## {each}\n\n{quoted[each]}" for each in sorted(quoted))]
    ) + "\n"
    lines = {code["ada"]: "# bob =1+1", code["bob"]: "<b>No</b>"}
    assert [tuple(row.values()) for row in table(sheet)] == [
        (each, "E9.2", "", "", lines[each]) for each in sorted(lines)
    ]
    assert "1 waiting to be read" in (out / "feedback" / "ada.html").read_text()
    assert ' skipped="' not in (out / "junit.xml").read_text() and "<skipped" in (out / "junit.xml").read_text()

    fill(sheet, {code["ada"]: ("2,5", "Why <four>?"), code["bob"]: ("4", "")})
    graded, book = grade()
    assert [(book[name]["E9.2"], book[name]["total"], book[name]["notes"]) for name in book] == [
        ("2.5", "2.5", ""),
        ("4", "4", ""),
        ("0", "0", ""),
    ]
    page = (out / "feedback" / "ada.html").read_text()
    assert "Why &lt;four&gt;?" in page and "Read by your instructor" in page and "Next:" not in page
    assert json.loads((out / "gradescope" / "ada.json").read_text())["score"] == 2.5

    hand_in("ada", "Another answer.")
    for _ in range(2):
        graded, book = grade()
        assert (book["ada"]["E9.2"], book["ada"]["notes"]) == ("2.5", "E9.2 was changed after it was marked.")
    assert "Another answer." in (out / "answers" / "E9.2.md").read_text()
    assert {record.status for record in graded["cy"].records} == {"not yet"}


@pytest.mark.parametrize(
    ("row", "says"),
    [("ada,E9.2,5,,", "not between 0 and the 4"), ("ada,E9.2,good,,", "'good' is not a number"),
     ("ada,E9.2,1,,\nAda,e9.2,2,,", "line 3: Ada has E9.2 twice")],
)  # fmt: skip
def test_a_bad_mark_is_told_with_its_place(tmp_path, row, says):
    (tmp_path / "texts.csv").write_text(f"student,exercise,points,comment,answer\n{row}\n")
    with pytest.raises(ValueError, match=says):
        free_text.read_marks(tmp_path / "texts.csv", {"E9.2": FreeText("E9.2", "Your verdict", 4)}, {})


def test_answers_are_read_blind_and_marks_survive_who_leaves_and_older_files(tmp_path):
    texts = {"E9.2": FreeText("E9.2", "Your verdict", 4)}
    students = [f"student{k}" for k in range(200)]
    codes = free_text.codes_of(students, "a secret")
    assert len(set(codes.values())) == len(students)
    shouted = free_text.codes_of([each.upper() for each in students], "a secret")
    assert list(shouted.values()) == list(codes.values())
    assert not set(codes.values()) & set(free_text.codes_of(students, "another").values())
    by_name = "".join(f"{each},E9.2,{k % 5},Comment {k},The answer\n" for k, each in enumerate(students))
    (tmp_path / "texts.csv").write_text(f"student,exercise,points,comment,answer\n{by_name}")  # from before codes
    marks = free_text.read_marks(tmp_path / "texts.csv", texts, codes)
    free_text.write_out(tmp_path, {each: {"E9.2": "The answer"} for each in students}, texts, marks, codes)
    written = (tmp_path / "texts.csv").read_text() + (tmp_path / "answers" / "E9.2.md").read_text()
    assert "student1" not in written and all(code in written for code in codes.values())
    order = [row["student"] for row in table(tmp_path / "texts.csv")]
    assert order == sorted(codes.values()) != list(codes.values())
    assert free_text.read_marks(tmp_path / "texts.csv", texts, codes) == marks
    some = {each: codes[each] for each in students[:100]}  # the others have left, and come back
    gone = free_text.read_marks(tmp_path / "texts.csv", texts, some)
    free_text.write_out(tmp_path, {}, texts, gone, some)
    assert free_text.read_marks(tmp_path / "texts.csv", texts, codes) == marks
