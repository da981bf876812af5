"""What the instructor decided by hand: overrides.csv in the marks folder, applied after every grading.

A row gives an exercise of one student other points, a comment, or both. The file is made once, with a header alone,
and is never written again: regrading changes what the checks say and keeps what a person said.

A row can also be a request for a regrade: students copy it from their feedback page (`request_line`), the instructor
pastes it, changes its status from open to granted or refused, and writes points or the reason into it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.grading.records import Record
from cs348k_diffusion.grading.tables import key, read_table, write_whole

COLUMNS = ("student", "exercise", "points", "comment")
REQUESTS = ("status", "request")  # columns that a file without regrade requests can do without
STATUSES = ("open", "granted", "refused")
TEST = "test_set_by_your_instructor"


class Override(NamedTuple):
    """One row: points is None where there is only a comment; status is "" where no regrade was requested."""

    student: str
    exercise: str
    points: float | None
    comment: str
    status: str = ""
    request: str = ""


def template(path: Path) -> None:
    """Make the file with its header, unless there is one."""
    if not path.exists():
        write_whole(path, ",".join((*COLUMNS, *REQUESTS)) + "\n")


def request_line(student: str, exercise: str) -> str:
    """The row that asks for a regrade, as a student copies it; WHY stands where the reason goes."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow([student, exercise, "", "", "open", "WHY"])
    return line.getvalue()


def read_overrides(
    path: Path,
    students: Collection[str],
    worth: Callable[[str], float | None],
    graded: Callable[[str], Collection[str]],
) -> list[Override]:
    """The rows of the file, none where there is no file.

    students: who may be named; worth: the points of an exercise, None for one that is unknown; graded: a student's
    exercises, of which alone a regrade can be requested. Raises ValueError for an unknown student, exercise or status,
    for points that are not a number or out of range, for a pair given twice, and for a request granted without points
    or refused without a comment.
    """
    known, found = {key(student) for student in students}, {}
    for line, row in read_table(path, COLUMNS) if path.exists() else []:
        place, student, exercise = f"{path.name}, line {line}", row["student"], row["exercise"].upper()
        if key(student) not in known:
            raise ValueError(f"{place}: nobody called {student!r} handed in or is on the roster")
        most = worth(exercise)
        if most is None:
            raise ValueError(f"{place}: there is no exercise {row['exercise']!r}; ids look like E2.1")
        if (key(student), exercise) in found:
            raise ValueError(f"{place}: {student} has {exercise} twice; keep one row")
        points = points_of(row["points"], most, f"{place}, {exercise}")
        override = Override(student, exercise, points, row["comment"], *_request(row, f"{place}, {exercise}"))
        if override.status and exercise not in graded(student):
            raise ValueError(f"{place}: {exercise} is in no notebook of {student}'s that was graded")
        if override.status == "granted" and points is None:
            raise ValueError(f"{place}: {exercise} is granted; write the points it has now")
        if override.status == "refused" and not row["comment"]:
            raise ValueError(f"{place}: {exercise} is refused; write the reason as the comment")
        found[key(student), exercise] = override
    return list(found.values())


def _request(row: Mapping[str, str], place: str) -> tuple[str, str]:
    """Status and text of a request for a regrade, ("", "") where there is none."""
    request = row.get("request", "")
    status = row.get("status", "").lower() or ("open" if request else "")
    if status and status not in STATUSES:
        raise ValueError(f"{place}: {row['status']!r} is not a status; write open, granted or refused")
    return status, request


def points_of(text: str, most: float, place: str) -> float | None:
    """Points from 0 to `most` that a person wrote, None for an empty cell. Raises ValueError with the place."""
    if not text:
        return None
    try:
        points = float(text.replace(",", "."))
    except ValueError as error:
        raise ValueError(f"{place}: {text!r} is not a number; leave the cell empty for a comment alone") from error
    if not (math.isfinite(points) and 0 <= points <= most):
        raise ValueError(f"{place}: {text} points is not between 0 and the {most:g} that the exercise is worth")
    return points


def correction(override: Override, student: str, records: Sequence[Record]) -> Record | None:
    """The record, worth nothing itself, that brings an exercise to the points the instructor gave."""
    if override.points is None:
        return None
    checked = sum(record.earned for record in records if record.exercise == override.exercise)
    status = "passed" if override.points >= checked else "failed"
    message = f"{checked:g} by the checks"
    return Record(student, override.exercise, TEST, 0, override.points - checked, status, message)
