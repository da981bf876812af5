"""The class at a glance: for each exercise who has it right, wrong or blank, and the named mistakes with who made them.

Two pages: `class.html` for the instructor, and `class_to_project.html` without a name on it or what judges the
exercises. The numbers come from `item_analysis`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from statistics import mean, median
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.grading.gradebook.feedback import notebook_of
from cs348k_diffusion.grading.gradebook.item_analysis import DIFFERENT, EXPECTED, FEWEST, Line, display_name, lines
from cs348k_diffusion.grading.gradebook.lms_grades import TITLE
from cs348k_diffusion.grading.gradebook.overrides import STATUSES, Override
from cs348k_diffusion.grading.gradebook.rules import NOT_SUBMITTED, Rules, StudentRow
from cs348k_diffusion.grading.pages import page
from cs348k_diffusion.grading.records import WAITING
from cs348k_diffusion.grading.tables import counted, write_whole

PAGES = {"class.html": True, "class_to_project.html": False}  # with names or without
NO_RULES = Rules()
UNCOUNTED = {
    "nothing": "handed in nothing",
    "unreadable": "handed in no notebook that can be read",
    "blank": "handed in a notebook with no answer in it",
}


def write_class(
    shown: Mapping[str, StudentRow], exercises: Mapping[str, Exercise], out: Path, rules: Rules = NO_RULES
) -> None:
    """Write both pages into the folder `out`; rules: for the due time."""
    for name, named in PAGES.items():
        write_whole(out / name, render(shown, exercises, named, rules))


def render(
    shown: Mapping[str, StudentRow], exercises: Mapping[str, Exercise], named: bool, rules: Rules = NO_RULES
) -> str:
    """One page; whatever a student wrote is escaped by the template."""
    why = {student: why_uncounted(row) for student, row in shown.items()}
    rows = [row for student, row in shown.items() if not why[student]]
    found = lines(rows, exercises)
    requests = _requests(shown.values())
    facts: dict[str, Any] = {
        "named": named,
        "course": TITLE,
        "notebooks": [*dict.fromkeys(notebook_of(exercises[id]) for id in _graded(shown, exercises))],
        "dates": _dates(rules),
        "worth": _worth(found),
        "lines": found,
        "count": len(rows),
        "everyone": len(shown),
        "uncounted": [
            (says, [display_name(row) for student, row in shown.items() if why[student] == kind])
            for kind, says in UNCOUNTED.items()
        ],
        "scores": _scores(rows, found),
        "time": _time(rows),
        "late": [display_name(row) for row in rows if row.days_left is not None and row.days_left < 0],
        "waiting": [(line.exercise.id, line.counts[WAITING]) for line in found if line.counts[WAITING]],
        "carded": {line.exercise.id for line in found if line.mistakes or (named and (line.blank or line.unread))},
        "suspect": [line.exercise.id for line in found if line.suspect],
        "fewest": FEWEST,
        "different": DIFFERENT,
        "expected": EXPECTED,
        "requests": requests,
        "decided": Counter(request.status for _, request in requests),
    }
    return page("class.html", **facts)


def why_uncounted(row: StudentRow) -> str:
    """Why nothing of a student's can be counted, a key of UNCOUNTED; "" where something was graded or waits for it."""
    if NOT_SUBMITTED in row.notes:
        return "nothing"
    if any(record.status != "not yet" and record.message not in row.notes for record in row.records):
        return ""
    return "unreadable" if any(record.message in row.notes for record in row.records) else "blank"


def _graded(shown: Mapping[str, StudentRow], exercises: Mapping[str, Exercise]) -> list[str]:
    """The exercises that anybody has records of, in the order of the course."""
    ids = {record.exercise for row in shown.values() for record in row.records}
    return [id for id in exercises if id in ids]


def _dates(rules: Rules) -> str:
    """ "Graded on 2 December 2026; due on 30 November 2026 at 20:00, for 1 student later"."""
    today = date.today()
    said = f"Graded on {today.day} {today:%B %Y}"
    if rules.late is None:
        return said
    later = sum(each.due is not None for each in (rules.roster or {}).values())
    own = f", later for {counted(later, 'student')}" if later else ""
    return f"{said}; due on {_moment(rules.late.due)}{own}"


def _moment(time: datetime) -> str:
    return f"{time.day} {time:%B %Y} at {time:%H:%M}"


def _worth(found: Sequence[Line]) -> str:
    """ "45 points in 12 exercises"."""
    return f"{counted(sum(line.points for line in found), 'point')} in {counted(len(found), 'exercise')}"


def _scores(rows: Sequence[StudentRow], found: Sequence[Line]) -> str:
    """The mean and the median of the students' points; "" where there is nobody."""
    if not rows:
        return ""
    earned, points = [row.earned for row in rows], sum(line.points for line in found)
    so_far = " so far" if any(line.unread for line in found) else ""
    spread = f", from {min(earned):g} to {max(earned):g}" if len(rows) > 1 else ""
    return f"Points{so_far}: {mean(earned):.1f} of {points:g} on average (median {median(earned):g}{spread})."


def _time(rows: Sequence[StudentRow]) -> str:
    """How long before or after the due time the hand-ins came; "" where no time is known."""
    left = sorted(row.days_left for row in rows if row.days_left is not None)
    if not left:
        return ""
    late = sum(days < 0 for days in left)
    said = f"Of the {len(rows)}, {len(left)} have a known time of hand-in: {len(left) - late} on time, {late} late."
    if len(left) == 1:
        return f"{said} It came {_before(left[0])} the due time."
    earliest, middle, latest = (_before(days) for days in (left[-1], median(left), left[0]))
    return f"{said} The first came {earliest} the due time, the middle one (the median) {middle}, the last {latest}."


def _before(days: float) -> str:
    """ "1.5 days before", "1 day after"."""
    return f"{counted(round(abs(days), 1), 'day')} {'after' if days < 0 else 'before'}"


def _requests(rows: Iterable[StudentRow]) -> list[tuple[str, Override]]:
    """Regrades that were requested and by whom, those that are still open first."""
    found = [(display_name(row), request) for row in rows for request in row.regrades.values()]
    return sorted(found, key=lambda each: STATUSES.index(each[1].status))
