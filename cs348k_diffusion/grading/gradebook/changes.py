"""Before and after: what the last grading of each student changed, read from the journal's last two lines of each.

The journal is only ever added to, so the answer is the same after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.grading.records import Record
from cs348k_diffusion.grading.tables import write_table


class Change(NamedTuple):
    """One exercise of one student whose points are not what they were."""

    student: str
    exercise: str
    before: float
    after: float

    def __str__(self) -> str:
        return f"{self.student} {self.exercise}: {self.before:g} -> {self.after:g}"


def by_exercise(records: Iterable[Record]) -> dict[str, float]:
    """Points earned, by exercise."""
    earned: dict[str, float] = {}
    for record in records:
        earned[record.exercise] = earned.get(record.exercise, 0) + record.earned
    return earned


def changed(student: str, before: Iterable[Record], after: Iterable[Record]) -> list[Change]:
    """The exercises whose points differ; one that was not graded before is no change."""
    old, new = by_exercise(before), by_exercise(after)
    return [Change(student, id, old[id], new[id]) for id in new if id in old and new[id] != old[id]]


def write_changes(changes: Sequence[Change], path: Path) -> None:
    """One row a change."""
    rows = [(student, exercise, f"{before:g}", f"{after:g}") for student, exercise, before, after in changes]
    write_table(path, Change._fields, rows)
