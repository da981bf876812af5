"""Files that Canvas and Moodle take back: marks under the numbers that the names in their downloads carried.

`collect` keeps the numbers in lms.csv beside the students' folders; `grade` then writes canvas.csv or moodle.csv beside
the gradebook. Canvas knows a student by ID, Moodle's grading worksheet by its Identifier; other columns they fill.
Members of a group, whose one file carries one number, have theirs on the roster.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.grading.gradebook.roster import RosterRow
from cs348k_diffusion.grading.submissions.lms import Number
from cs348k_diffusion.grading.tables import key, write_table

TITLE = "CS348K"  # of the column of marks in Canvas; an assignment of that name, or a new one
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section", TITLE)
NO_NUMBER = "In no file for Canvas or Moodle: the number there belongs into a column id of the roster."
MODIFIED = "Last modified (grade)"  # without this column Moodle refuses the worksheet; empty is never
MOODLE = ("Identifier", "Full name", "Email address", "Grade", "Maximum grade", MODIFIED, "Feedback comments")


class Mark(NamedTuple):
    """What a system receives about a student: the roster's name or "", points, how many there were, and why not all."""

    name: str
    points: float
    of: float
    why: str


def of_members(
    known: Mapping[str, tuple[str, Number]], roster: Mapping[str, RosterRow]
) -> dict[str, tuple[str, Number]]:
    """`known` with the students whose number stands on the roster alone: members of groups, and who handed in nothing.

    The system is the one that the group's file came from, or else the only one there is.
    """
    systems = {number.system for _, number in known.values()}
    found = dict(known)
    for student, each in roster.items():
        group = known.get(key(each.group))
        system = group[1].system if group else next(iter(systems)) if len(systems) == 1 else ""
        if each.id and system and student not in known:
            found[student] = (each.student, Number(system, each.id, each.name or each.student))
    return found


def write_grades(known: Mapping[str, tuple[str, Number]], marks: Mapping[str, Mark], out: Path) -> None:
    """Write canvas.csv and moodle.csv into `out`, each where students have numbers of that system.

    known: as `lms.numbers` reads them; marks: by student. A student without a number is left out, because neither
    system would know whom it means.
    """
    marked = [(mark, known[key(student)][1]) for student, mark in marks.items() if key(student) in known]
    canvas = [(mark, number) for mark, number in marked if number.system == "canvas"]
    moodle = [(mark, number) for mark, number in marked if number.system == "moodle"]
    if canvas:
        possible = ["    Points Possible", "", "", "", "", f"{max(mark.of for mark, _ in canvas):g}"]
        rows = [[mark.name or number.name, number.id, "", "", "", f"{mark.points:g}"] for mark, number in canvas]
        write_table(out / "canvas.csv", CANVAS, [possible, *rows])
    if moodle:
        rows = [
            [
                f"Participant {number.id}",
                mark.name or number.name,
                "",
                f"{mark.points:g}",
                f"{mark.of:g}",
                "",
                mark.why,
            ]
            for mark, number in moodle
        ]
        write_table(out / "moodle.csv", MOODLE, rows)
