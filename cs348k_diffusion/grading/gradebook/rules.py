"""From what the checks found to what an instructor hands out: the roster, overrides, comments and late days put in.

The journal of a grading holds what the checks said and nothing else; everything here is worked out anew from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cs348k_diffusion.grading.gradebook.changes import Change, by_exercise
from cs348k_diffusion.grading.gradebook.overrides import TEST, Override, correction
from cs348k_diffusion.grading.gradebook.roster import RosterRow
from cs348k_diffusion.grading.records import WAITING, Record, StudentResult
from cs348k_diffusion.grading.tables import counted, key

NOT_SUBMITTED = "Nothing was handed in."
EARLIER = "No file was found this time; these are earlier marks."
NOT_ON_ROSTER = "Not on the roster."
LOST = "points lost"  # for being late, beside the exercises


@dataclass(frozen=True)
class Late:
    """The rule for late work: `free` days cost nothing, each further day begun costs `penalty` of the points earned.

    due: everybody's, where the roster has no other for a student.
    """

    due: datetime
    free: int
    penalty: float

    def __post_init__(self):
        if self.free < 0 or not 0 <= self.penalty <= 1:
            raise ValueError("late days must be 0 or more, and the penalty a share between 0 and 1, such as 0.1")

    def days(self, each: RosterRow) -> int | None:
        """Days begun after the due time, None where nobody knows when the hand-in came."""
        left = self.left(each)
        return None if left is None else max(0, math.ceil(-left))

    def left(self, each: RosterRow) -> float | None:
        """Days from the hand-in to the due time, negative for a late one, None where nobody knows when it came.

        Raises ValueError when only one of the times has a time zone, and for an extension into the past.
        """
        times = [time for time in (self.due, each.due, each.submitted) if time]
        if len({time.tzinfo is None for time in times}) == 2:
            raise ValueError("give both the due time and the roster's times a time zone (+01:00), or neither")
        due = each.due or self.due
        if due < self.due:
            raise ValueError(f"{each.student} has until {due:%Y-%m-%d %H:%M}, which is before everybody's due time")
        return (due - each.submitted) / timedelta(days=1) if each.submitted else None


@dataclass(frozen=True)
class Rules:
    """What the instructor brings to a grading; the roster by `key`, None without one."""

    roster: Mapping[str, RosterRow] | None = None
    late: Late | None = None

    def __post_init__(self):
        everyone = list((self.roster or {}).values())
        if self.late is None:
            if any(each.due for each in everyone):
                raise ValueError("a due time of one student needs everybody's, too: give --due")
            return
        if not any(each.submitted for each in everyone):
            raise ValueError("late days need a roster with a column 'submitted' that says when each hand-in came")
        for each in everyone:
            self.late.days(each)  # reports what is wrong with the times before anything is graded


@dataclass
class StudentRow:
    """One student as the reports show them; remarks are for the instructor, notes for the student too."""

    student: str
    records: list[Record]
    notes: list[str]
    name: str = ""
    remarks: list[str] = field(default_factory=list)
    comments: dict[str, str] = field(default_factory=dict)
    regrades: dict[str, Override] = field(default_factory=dict)  # requested, by exercise
    hints: dict[str, int] = field(default_factory=dict)
    days_late: int | None = None
    days_left: float | None = None  # at the hand-in, negative for a late one
    lost: float = 0.0
    changes: list[Change] = field(default_factory=list)

    @property
    def earned(self) -> float:
        """Points before anything is taken off."""
        return sum(record.earned for record in self.records)

    @property
    def known(self) -> dict[str, float]:
        """Points by exercise, and what was lost; nothing of work that was not handed in, or not read yet."""
        if NOT_SUBMITTED in self.notes:
            return {}
        waiting = {record.exercise for record in self.records if record.status == WAITING} - self.by_hand.keys()
        lost = {} if self.days_late is None else {LOST: self.lost}
        return {id: earned for id, earned in by_exercise(self.records).items() if id not in waiting} | lost

    @property
    def by_hand(self) -> dict[str, str]:
        """The exercises that an override gave their points, each with what to say of that."""
        ids = [record.exercise for record in self.records if record.test == TEST]
        return {id: ": ".join(filter(None, (self._whose(id), self.comments.get(id)))) for id in ids}

    def _whose(self, id: str) -> str:
        granted = id in self.regrades and self.regrades[id].status == "granted"
        return "regrade granted" if granted else "by hand"


def rows(
    checked: Mapping[str, StudentResult],
    rules: Rules,
    overrides: Sequence[Override],
    expected: Iterable[tuple[str, str, float]],
    earlier: Mapping[str, StudentResult],
) -> dict[str, StudentRow]:
    """Everyone who handed in or is on the roster, in that order, with overrides and late days applied.

    expected: exercise, test and points of what was graded now; earlier: the journal, for those who handed in before.
    """
    found = {
        student: StudentRow(student, list(each.records), list(each.notes), remarks=list(each.remarks), hints=each.hints)
        for student, each in checked.items()
    }
    wanted = dict.fromkeys(expected)
    for each in found.values():
        wanted |= dict.fromkeys((record.exercise, record.test, record.points) for record in each.records)
    for row in _absent(found, rules, wanted, earlier):
        found[row.student] = row
    for row in found.values():
        _enrol(row, rules)
        _override(row, overrides)
        _take_off(row, rules)
    return found


def _absent(
    found: Mapping[str, StudentRow],
    rules: Rules,
    wanted: Iterable[tuple[str, str, float]],
    earlier: Mapping[str, StudentResult],
) -> list[StudentRow]:
    here, before = {key(student) for student in found}, {key(student): each for student, each in earlier.items()}
    out = []
    for each in [each for known, each in (rules.roster or {}).items() if known not in here]:
        old = before.get(key(each.student))
        student = old.student if old else each.student
        records = list(old.records) if old else []
        have = {(record.exercise, record.test) for record in records}
        records += [Record.failed(student, check, NOT_SUBMITTED) for check in wanted if check[:2] not in have]
        out.append(StudentRow(student, records, [EARLIER if old else NOT_SUBMITTED]))
    return out


def _enrol(row: StudentRow, rules: Rules) -> None:
    if rules.roster is not None:
        each = rules.roster.get(key(row.student))
        row.name = each.name if each else ""
        row.remarks += [] if each else [NOT_ON_ROSTER]


def _override(row: StudentRow, overrides: Sequence[Override]) -> None:
    for override in overrides:
        if key(override.student) != key(row.student):
            continue
        if record := correction(override, row.student, row.records):
            row.records.append(record)
            row.remarks.append(f"{override.exercise} set to {override.points:g}: {record.message}.")
        if override.comment:
            row.comments[override.exercise] = override.comment
            row.remarks.append(f"{override.exercise}: {override.comment}")
        if override.status:
            row.regrades[override.exercise] = override
            row.remarks.append(f"{override.exercise}: regrade {override.status}.")


def _take_off(row: StudentRow, rules: Rules) -> None:
    if rules.late is None or NOT_SUBMITTED in row.notes:
        return
    each = (rules.roster or {}).get(key(row.student))
    row.remarks += [f"Due {each.due:%Y-%m-%d %H:%M} by extension."] if each and each.due else []
    row.days_late = rules.late.days(each) if each else None
    row.days_left = rules.late.left(each) if each else None
    if row.days_late is None:
        row.remarks.append("When this was handed in is not known; nothing was taken off.")
        return
    over = max(0, row.days_late - rules.late.free)
    row.lost = row.earned * min(1.0, over * rules.late.penalty)
    if row.lost:
        late, cost = counted(row.days_late, "day"), counted(row.lost, "point")
        beyond = f", {counted(over, 'day')} beyond the {rules.late.free} free" if rules.late.free else ""
        row.notes.append(f"Handed in {late} late{beyond}: {cost} off.")
