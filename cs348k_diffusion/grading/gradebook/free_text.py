"""Free-text answers: written out for reading, and their marks read back.

A question stands in the `TEXTS` of a check module, and `submissions.reading` finds its answers. A grading writes them
to `answers/E11.4.md`, one file a question, and to texts.csv, where a person fills in points and comments; the next
grading reads and keeps those. Both are read blind: a student has a code there, the same in each grading into one
folder, and codes are not in the order of names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.exercises.framework.catalogue import FreeText
from cs348k_diffusion.grading.gradebook.overrides import points_of
from cs348k_diffusion.grading.records import WAITING, Record
from cs348k_diffusion.grading.tables import key, read_table, spreadsheet_cell, write_table, write_whole

TEST = "test_read_by_your_instructor"
FILE, COLUMNS = "texts.csv", ("student", "exercise", "points", "comment", "answer")
CELL = 5_000  # characters of an answer that a spreadsheet shows


class Mark(NamedTuple):
    """What a person filled in for one answer, and the answer they had before them."""

    student: str
    points: float | None
    comment: str
    answer: str


Marks = dict[tuple[str, str], Mark]  # by (key of the student, exercise)
Codes = Mapping[str, str]  # by student


def codes_of(students: Iterable[str], secret: str) -> dict[str, str]:
    """What each student is called where answers are read, such as x3f09a1c2; secret: of the folder of marks."""
    return {each: "x" + hashlib.sha256(f"{secret} {key(each)}".encode()).hexdigest()[:8] for each in students}


def read_marks(path: Path, texts: Mapping[str, FreeText], codes: Codes) -> Marks:
    """What was filled in so far, under the students' names or their codes.

    Raises ValueError for points that are not a number or out of range, with the line.
    """
    found, names = Marks(), {code: student for student, code in codes.items()}
    for line, row in read_table(path, COLUMNS) if path.exists() else []:
        student, id = re.sub("^'(?=[=+@-])", "", row["student"]), row["exercise"].upper()
        student = names.get(student, student)
        if (key(student), id) in found:
            raise ValueError(f"{path.name}, line {line}: {student} has {id} twice; keep one row")
        most = texts[id].points if id in texts else float("inf")  # of another notebook, or no longer asked
        points = points_of(row["points"], most, f"{path.name}, line {line}, {id}")
        found[key(student), id] = Mark(student, points, row["comment"], row["answer"])
    return found


def records(student: str, given: Mapping[str, str], texts: Mapping[str, FreeText], marks: Marks) -> list[Record]:
    """One record for each question: the points a reader gave, or that it waits, or that there is no answer."""
    return [
        _record(student, text, given.get(text.id, ""), marks.get((key(student), text.id))) for text in texts.values()
    ]


def _record(student: str, text: FreeText, answer: str, mark: Mark | None) -> Record:
    points = mark.points if mark else None
    if points is not None:
        status, message = ("passed" if points == text.points else "failed"), ""
    elif answer:
        status, message = WAITING, "Your answer waits to be read."
    else:
        status, message = "not yet", f"{text.id}: not yet"
    return Record(student, text.id, TEST, text.points, points or 0, status, message)


def remarks(student: str, given: Mapping[str, str], marks: Marks) -> list[str]:
    """What the instructor should know: answers that nobody has read, or that changed after they were."""
    said = []
    for id, answer in given.items():
        mark = marks.get((key(student), id))
        if mark is None or mark.points is None:
            said.append(f"{id} waits to be read.")
        elif mark.answer.lstrip("'") != table_text(answer).lstrip("'"):  # a spreadsheet drops the one before a formula
            said.append(f"{id} was changed after it was marked.")
    return said


def comments(student: str, texts: Mapping[str, FreeText], marks: Marks) -> dict[str, str]:
    """The comments to show to a student, by exercise."""
    of_student = {id: marks.get((key(student), id)) for id in texts}
    return {id: mark.comment for id, mark in of_student.items() if mark and mark.comment}


def table_text(answer: str) -> str:
    """An answer as the table has it: one line, no formula, not longer than a spreadsheet shows."""
    cut = answer if len(answer) <= CELL else f"{answer[:CELL]} ... (the rest is in the answers folder)"
    return spreadsheet_cell(cut)


def write_out(
    out: Path, given: Mapping[str, Mapping[str, str]], texts: Mapping[str, FreeText], marks: Marks, codes: Codes
) -> None:
    """Write texts.csv, with the marks there are, and a file to read for each question; `given` by student.

    A marked answer that has changed keeps the text it was marked by, so that the next grading says so again.
    """
    table = dict(marks)
    for student, id, answer in [(who, id, each[id]) for who, each in given.items() for id in each]:
        mark = table.get((key(student), id), Mark(student, None, "", ""))
        table[key(student), id] = (
            mark if mark.points is not None and mark.answer else mark._replace(answer=table_text(answer))
        )
    _write_table(out / FILE, table, codes)
    coded = sorted((codes[student], each) for student, each in given.items())
    for text in texts.values():
        parts = [f"## {code}\n\n{_quoted(each[text.id])}" for code, each in coded if text.id in each]
        path = out / "answers" / f"{text.id}.md"
        write_whole(path, "\n\n".join([f"# {text.id} {text.title} ({text.points:g} points)", *parts]) + "\n")


def _write_table(path: Path, table: Marks, codes: Codes) -> None:
    """One row an answer; a student who is no longer there keeps the name or code of before."""
    called = {key(student): code for student, code in codes.items()}
    rows = [
        (called.get(student, mark.student), id, "" if mark.points is None else f"{mark.points:g}", *mark[2:])
        for (student, id), mark in table.items()
    ]
    write_table(path, COLUMNS, sorted(rows, key=lambda row: (row[1], row[0])))


def _quoted(answer: str) -> str:
    """As a Markdown quotation, so that no heading of a student's looks like the next student."""
    return "\n".join(f"> {line}".rstrip() for line in answer.splitlines())
