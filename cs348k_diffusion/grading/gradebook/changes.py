"""Before and after: which marks are not what the gradebook before said, and why.

points.json keeps what each gradebook said. It is written last, so that the answer is the same after an interruption.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.grading.records import Record
from cs348k_diffusion.grading.tables import write_table, write_whole

FILE = "points.json"
Points = Mapping[str, Mapping[str, float]]  # by student and exercise


class Change(NamedTuple):
    """One exercise of one student whose points are not what they were, and whose doing it is."""

    student: str
    exercise: str
    before: float
    after: float
    why: str

    def __str__(self) -> str:
        return f"{self.student} {self.exercise}: {self.before:g} -> {self.after:g} ({self.why})"


def by_exercise(records: Iterable[Record]) -> dict[str, float]:
    """Points earned, by exercise."""
    earned: dict[str, float] = {}
    for record in records:
        earned[record.exercise] = earned.get(record.exercise, 0) + record.earned
    return earned


def changed(
    student: str, before: Mapping[str, float], after: Mapping[str, float], why: Mapping[str, str]
) -> list[Change]:
    """The exercises whose points differ; one that was not graded before is not a change."""
    differ = [id for id in after if id in before and f"{after[id]:g}" != f"{before[id]:g}"]
    return [Change(student, id, before[id], after[id], why.get(id, "the checks")) for id in differ]


def read_points(out: Path) -> Points:
    """What the gradebook before said; {} without one."""
    with suppress(FileNotFoundError, json.JSONDecodeError):
        return json.loads((out / FILE).read_text(encoding="utf-8"))
    return {}


def write_points(before: Points, now: Points, out: Path) -> None:
    """Keep what this gradebook says, and of what it leaves out, what earlier ones said."""
    merged = {student: {**before.get(student, {}), **now.get(student, {})} for student in {**before, **now}}
    write_whole(out / FILE, json.dumps(merged))


def write_changes(changes: Sequence[Change], path: Path) -> None:
    """One row a change."""
    rows = [(each.student, each.exercise, f"{each.before:g}", f"{each.after:g}", each.why) for each in changes]
    write_table(path, Change._fields, rows)
