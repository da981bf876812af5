"""What the instructor decided by hand: overrides.csv in the marks folder, applied after every grading.

A row gives an exercise of one student other points, a comment, or both. The file is made once, with a header alone,
and is never written again: regrading changes what the checks say and keeps what a person said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.grading.records import Record
from cs348k_diffusion.grading.tables import key, read_table, write_whole

COLUMNS = ("student", "exercise", "points", "comment")
TEST = "test_set_by_your_instructor"


class Override(NamedTuple):
    """One row: points is None where there is only a comment."""

    student: str
    exercise: str
    points: float | None
    comment: str


def template(path: Path) -> None:
    """Make the file with its header, unless there is one."""
    if not path.exists():
        write_whole(path, ",".join(COLUMNS) + "\n")


def read_overrides(path: Path, students: Collection[str], worth: Callable[[str], float | None]) -> list[Override]:
    """The rows of the file, none where there is no file.

    students: whoever may be named; worth: the points of an exercise, None for one that is unknown. Raises ValueError
    for an unknown student or exercise, for points that are no number or out of range, and for a pair given twice.
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
        found[key(student), exercise] = Override(student, exercise, points, row["comment"])
    return list(found.values())


def points_of(text: str, most: float, place: str) -> float | None:
    """Points from 0 to `most` that a person wrote, None for an empty cell. Raises ValueError with the place."""
    if not text:
        return None
    try:
        points = float(text.replace(",", "."))
    except ValueError as error:
        raise ValueError(f"{place}: {text!r} is no number; leave the cell empty for a comment alone") from error
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
