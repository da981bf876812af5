"""The class at a glance: for each exercise who has it right, wrong or blank, and the named mistakes with who made them.

Two pages: `class.html` for the instructor, `class_to_project.html` without a name on it. Difficulty is the mean share
of the points, discrimination the correlation of an exercise's points with those of all others, over who handed in.
Prose that nobody has read yet has no points: it is in neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.grading.gradebook.feedback import MISTAKE, RAISED, Result, group
from cs348k_diffusion.grading.gradebook.overrides import STATUSES, TEST, Override
from cs348k_diffusion.grading.gradebook.rules import NOT_SUBMITTED, StudentRow
from cs348k_diffusion.grading.pages import page
from cs348k_diffusion.grading.records import WAITING
from cs348k_diffusion.grading.tables import write_whole

WRONG = ("failed", "error", "timeout")
FEWEST = 5  # students that a correlation is computed of
PAGES = {"class.html": True, "class_to_project.html": False}  # with names or without


class Line(NamedTuple):
    """One exercise: how many have it full, in part, wrong, blank or waiting, and what went wrong, commonest first.

    difficulty: the mean share of its points, None where nothing is read; discrimination: None for few students or where
    all have the same; of: who handed in; mistakes: (name, students).
    """

    exercise: Exercise
    counts: Counter[str]
    of: int
    difficulty: float | None
    discrimination: float | None
    mistakes: list[tuple[str, list[str]]]


def write_class(shown: Mapping[str, StudentRow], exercises: Mapping[str, Exercise], out: Path) -> None:
    """Write both pages into the folder `out`."""
    for name, named in PAGES.items():
        write_whole(out / name, render(shown, exercises, named))


def render(shown: Mapping[str, StudentRow], exercises: Mapping[str, Exercise], named: bool) -> str:
    """One page; whatever a student wrote is escaped by the template."""
    handed_in = [row for row in shown.values() if _to_grade(row)]
    left = [row.days_left for row in handed_in if row.days_left is not None]
    facts: dict[str, Any] = {
        "named": named,
        "lines": lines(handed_in, exercises),
        "absent": [_display_name(row) for row in shown.values() if row not in handed_in],
        "requests": (requests := _requests(shown.values())),
        "decided": Counter(request.status for _, request in requests),
        "count": len(handed_in),
        "days_left": np.quantile(left, [0.5, 0, 1]) if left else (),
        "timed": len(left),
    }
    return page("class.html", **facts)


def _to_grade(row: StudentRow) -> bool:
    """Was anything handed in, and any of it written?"""
    return NOT_SUBMITTED not in row.notes and any(record.status != "not yet" for record in row.records)


def lines(rows: Sequence[StudentRow], exercises: Mapping[str, Exercise]) -> list[Line]:
    """One line an exercise, in the order of the course."""
    results = {
        _display_name(row): {result.exercise.id: result for result in group(row.records, exercises)} for row in rows
    }
    ids = [id for id in exercises if any(id in mine for mine in results.values())]
    earned = np.array([[_points(mine.get(id)) for id in ids] for mine in results.values()]).reshape(len(rows), len(ids))
    found = []
    for column, id in enumerate(ids):
        counts = Counter(mine[id].grade if id in mine else "blank" for mine in results.values())
        difficulty = _difficulty([mine[id] for mine in results.values() if id in mine], len(rows) - counts[WAITING])
        found.append(
            Line(exercises[id], counts, len(rows), difficulty, _correlation(earned, column), _mistakes(results, id))
        )
    return found


def _requests(rows: Iterable[StudentRow]) -> list[tuple[str, Override]]:
    """Regrades that were requested and by whom, those that are still open first."""
    found = [(_display_name(row), request) for row in rows for request in row.regrades.values()]
    return sorted(found, key=lambda each: STATUSES.index(each[1].status))


def _display_name(row: StudentRow) -> str:
    return f"{row.name} ({row.student})" if row.name else row.student


def _points(result: Result | None) -> float:
    """What was earned; not a number where the answer waits to be read."""
    return float("nan") if result and result.grade == WAITING else result.earned if result else 0.0


def _difficulty(results: Sequence[Result], read: int) -> float | None:
    """The mean share of the points over the answers that are read, blank ones among them; None where none is."""
    shares = [min(1.0, each.earned / each.points) for each in results if each.grade != WAITING and each.points]
    return sum(shares) / read if read else None


def _correlation(earned: np.ndarray, column: int) -> float | None:
    """Pearson's, of one exercise's points with the sum of all others; None where there is nothing to correlate.

    earned: (students, exercises), not a number where an answer is not read. The others are those read for everyone.
    """
    read = ~np.isnan(earned[:, column])
    one, others = earned[read, column], np.delete(earned[read], column, axis=1)
    rest = others[:, ~np.isnan(others).any(axis=0)].sum(axis=1)
    if len(one) < FEWEST or np.ptp(one) == 0 or np.ptp(rest) == 0:
        return None
    return float(np.corrcoef(one, rest)[0, 1])


def _mistakes(results: Mapping[str, Mapping[str, Result]], id: str) -> list[tuple[str, list[str]]]:
    """Each named mistake and who made it, commonest first; one whose answer is wrong without a name counts so."""
    found: dict[str, list[str]] = {}
    for student, mine in results.items():
        answer = mine.get(id)
        wrong = [r for r in answer.records if r.status in WRONG] if answer and answer.grade != "full" else []
        checked = [r for r in wrong if r.test != TEST]
        shown = [r for r in checked if not r.held_back and not RAISED.match(r.message)]  # raised: their text
        names = {match[1] for record in shown for match in [MISTAKE.search(record.message)] if match}
        if wrong and not checked:
            names = {"points taken off by hand"}
        elif wrong and not names:
            names = {"out of time" if any(record.status == "timeout" for record in wrong) else "wrong, without a name"}
        for name in names:
            found.setdefault(name, []).append(student)
    return sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
