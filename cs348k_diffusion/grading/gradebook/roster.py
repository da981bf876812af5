"""The class: a CSV with a column `student`, named as the hand-ins are, and optional `name` and `submitted`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cs348k_diffusion.grading.tables import key, moment, read_table


@dataclass(frozen=True)
class Enrolled:
    """One row of the roster; submitted: when the hand-in came, where that is known."""

    student: str
    name: str = ""
    submitted: datetime | None = None


def read_roster(path: Path) -> dict[str, Enrolled]:
    """The class by `key` of the student. Raises ValueError for a missing column, a name twice, or no names at all."""
    found: dict[str, Enrolled] = {}
    for line, row in read_table(path, ["student"]):
        place, student = f"{path.name}, line {line}", row["student"]
        if not student:
            raise ValueError(f"{place}: the student's name is empty")
        if key(student) in found:
            raise ValueError(f"{place}: {student} is there twice; each student needs one row")
        found[key(student)] = Enrolled(student, row.get("name", ""), moment(row.get("submitted", ""), place))
    if not found:
        raise ValueError(f"{path.name} names no students: one row each is wanted below the header")
    return found
