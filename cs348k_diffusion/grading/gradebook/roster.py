"""The class: a CSV with a column `student`, named as the hand-ins are, and optional name, submitted, due, group, id.

`due` is a student's own due time, where it is not everybody's; extensions are a second table that says the same.
`group` is what the hand-in is named by, where several students hand in one. `id` is the student's number in Canvas or
Moodle, for those whom no file of the download is named after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cs348k_diffusion.grading.tables import key, moment, read_table


@dataclass(frozen=True)
class RosterRow:
    """One row of the roster; submitted: when the hand-in came, where that is known; due: a time of one's own.

    group: the name of the hand-in that is shared with others; id: the number in Canvas or Moodle.
    """

    student: str
    name: str = ""
    submitted: datetime | None = None
    due: datetime | None = None
    group: str = ""
    id: str = ""


def read_roster(path: Path) -> dict[str, RosterRow]:
    """The class by `key` of the student. Raises ValueError for a missing column, a name or id twice, or no names."""
    found: dict[str, RosterRow] = {}
    ids: set[str] = set()
    for line, row in read_table(path, ["student"]):
        place, student = f"{path.name}, line {line}", row["student"]
        if not student:
            raise ValueError(f"{place}: the student's name is empty")
        if key(student) in found:
            raise ValueError(f"{place}: {student} is there twice; each student needs one row")
        submitted, due = (moment(row.get(column, ""), place) for column in ("submitted", "due"))
        id = row.get("id", "").removeprefix("Participant ")  # as Moodle writes it
        if id in ids:
            raise ValueError(f"{place}: the id {id} is there twice; each student has one of their own")
        ids |= {id} - {""}
        found[key(student)] = RosterRow(student, row.get("name", ""), submitted, due, row.get("group", ""), id)
    if not found:
        raise ValueError(f"{path.name} names no students: one row each is wanted below the header")
    return found


def hand_ins(names: Iterable[str], roster: Mapping[str, RosterRow] | None) -> dict[str, str]:
    """Students, each with the name of the hand-in that counts: one's own, or else the group's."""
    here, everyone = {key(name): name for name in names}, (roster or {}).values()
    groups = {key(each.group) for each in everyone if each.group} - {key(each.student) for each in everyone}
    alone = {name: name for known, name in here.items() if known not in groups}
    shared = [each for each in everyone if key(each.group) in here and key(each.student) not in here]
    return alone | {each.student: here[key(each.group)] for each in shared}


def extended(roster: Mapping[str, RosterRow], path: Path) -> dict[str, RosterRow]:
    """The roster with the due times of a table of extensions (student, due) put in.

    Raises ValueError for a student who is not on the roster or is there twice, and for a row without a time.
    """
    found, seen = dict(roster), set()
    for line, row in read_table(path, ["student", "due"]):
        place, student = f"{path.name}, line {line}", row["student"]
        due = moment(row["due"], place)
        if key(student) not in roster:
            raise ValueError(f"{place}: nobody called {student!r} is on the roster")
        if key(student) in seen:
            raise ValueError(f"{place}: {student} is there twice; each student needs one row")
        if due is None:
            raise ValueError(f"{place}: {student} has no due time; write it as 2026-11-30T23:59")
        seen.add(key(student))
        found[key(student)] = replace(found[key(student)], due=due)
    return found
