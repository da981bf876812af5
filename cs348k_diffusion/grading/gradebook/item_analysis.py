"""What a class's answers say about each exercise: counts, facility, discrimination, and what went wrong.

The facility index is the mean share of the points. The discrimination index is the item-rest correlation: of an
exercise's points with the sum of all others', with Fisher's interval. Prose that nobody has read is in neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.gradebook.feedback import MISTAKE, RAISED, Result, group, spelt, unread
from cs348k_diffusion.grading.gradebook.overrides import TEST
from cs348k_diffusion.grading.gradebook.rules import StudentRow
from cs348k_diffusion.grading.records import WAITING, Record, property_of

WRONG = ("failed", "error", "timeout")
FEWEST = 5  # students that a correlation is computed of
DIFFERENT = 3  # of them with other points than most: of one alone Fisher's interval misses too low in 7 % of classes
EXPECTED = 0.2  # of a discrimination index; an item below it is poor (Ebel & Frisbie 1991, chapter 13)
Z = 1.959964  # standard deviations on each side of a 95 % interval


class Index(NamedTuple):
    """A correlation of n students with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


class Line(NamedTuple):
    """One exercise: how many have it full, in part, wrong, blank or waiting, and what went wrong, commonest first.

    of: the students counted; facility: the mean share of its points, None where no answer is read; read: of how many;
    discrimination: None for few students or where nearly all have the same; mistakes: (name, students); blank and
    unread: who.
    """

    exercise: Exercise
    points: float
    counts: Counter[str]
    of: int
    facility: float | None
    read: int
    discrimination: Index | None
    mistakes: list[tuple[str, list[str]]]
    blank: list[str]
    unread: list[str]

    @property
    def suspect(self) -> bool:
        """Does the whole interval of the discrimination lie below what is expected of an exercise?"""
        return self.discrimination is not None and self.discrimination.high < EXPECTED


def lines(rows: Sequence[StudentRow], exercises: Mapping[str, Exercise]) -> list[Line]:
    """One line an exercise, in the order of the course; an answer in a file that cannot be read counts as blank."""
    every = {display_name(row): group(row.records, exercises) for row in rows}
    worth = {result.exercise.id: result.points for mine in every.values() for result in mine}
    results = {
        student: {each.exercise.id: each for each in mine if not unread(each, row.notes)}
        for row, (student, mine) in zip(rows, every.items(), strict=True)
    }
    ids = [id for id in exercises if id in worth]
    earned = np.array([[_points(mine.get(id)) for id in ids] for mine in results.values()]).reshape(len(rows), len(ids))
    return [_line(exercises[id], worth[id], results, correlation(earned, column)) for column, id in enumerate(ids)]


def _line(
    exercise: Exercise, points: float, results: Mapping[str, Mapping[str, Result]], discrimination: Index | None
) -> Line:
    answers = {student: mine[exercise.id] for student, mine in results.items() if exercise.id in mine}
    grades = {student: answers[student].grade if student in answers else "blank" for student in results}
    counts = Counter(grades.values())
    read = len(results) - counts[WAITING]
    written = read > counts["blank"] or not counts[WAITING]
    facility = _facility([*answers.values()], read) if written else None
    made = _mistakes(answers)
    blank, waiting = ([each for each, grade in grades.items() if grade == wanted] for wanted in ("blank", WAITING))
    return Line(exercise, points, counts, len(results), facility, read, discrimination, made, blank, waiting)


def display_name(row: StudentRow) -> str:
    """The roster's name with the hand-in's, or that alone."""
    return f"{row.name} ({row.student})" if row.name else row.student


def _points(result: Result | None) -> float:
    """What was earned; not a number where the answer waits to be read."""
    return float("nan") if result and result.grade == WAITING else result.earned if result else 0.0


def _facility(results: Sequence[Result], read: int) -> float | None:
    """The mean share of the points over the answers that are read, blank ones among them; None where none is."""
    shares = [min(1.0, each.earned / each.points) for each in results if each.grade != WAITING and each.points]
    return sum(shares) / read if read else None


def correlation(earned: np.ndarray, column: int) -> Index | None:
    """Pearson's r of one exercise's points with the sum of all others, and tanh(artanh r -+ Z / sqrt(n - 3)).

    earned: (students, exercises), not a number where an answer is not read. The others are those read for everyone.
    None for fewer than FEWEST students, of whom DIFFERENT must have other points than most in either.
    """
    read = ~np.isnan(earned[:, column])
    one, others = earned[read, column], np.delete(earned[read], column, axis=1)
    rest = others[:, ~np.isnan(others).any(axis=0)].sum(axis=1)
    n = len(one)
    if n < FEWEST or any(n - np.unique(each, return_counts=True)[1].max() < DIFFERENT for each in (one, rest)):
        return None
    r = float(np.corrcoef(one, rest)[0, 1])
    centre, half = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), Z / np.sqrt(n - 3)
    return Index(r, float(np.tanh(centre - half)), float(np.tanh(centre + half)), n)


def _mistakes(answers: Mapping[str, Result]) -> list[tuple[str, list[str]]]:
    """Each named mistake and who made it, commonest first; after them the others, by how or where they fail."""
    found: dict[str, list[str]] = {}
    named: set[str] = set()
    for student, answer in answers.items():
        if answer.grade not in ("part", "none"):
            continue
        wrong = [record for record in answer.records if record.status in WRONG]
        shown = [
            r for r in wrong if r.test != TEST and not r.held_back and not RAISED.match(r.message)
        ]  # raised: theirs
        names = {match[1] for record in shown for match in [MISTAKE.search(record.message)] if match}
        named |= names
        for name in names or {_no_name(wrong)}:
            found.setdefault(name, []).append(student)
    return sorted(found.items(), key=lambda item: (item[0] not in named, -len(item[1]), item[0]))


def _no_name(wrong: Sequence[Record]) -> str:
    """How an answer is wrong whose mistake has no name; held-back checks stay unnamed."""
    checked = [record for record in wrong if record.test != TEST]
    visible = [record for record in checked if not record.held_back]
    if not checked:
        return "points taken off by the instructor" if wrong else "some of the points given by the instructor"
    if any(record.status == "timeout" for record in checked):
        return "ran out of computing time"
    if any(record.status == "error" for record in checked):
        return "not judged, because the grader failed"
    if any(RAISED.match(record.message) for record in visible):
        return "raised an exception"
    if visible and visible[0].test != free_text.TEST:
        return f'another mistake, in the check "{spelt(property_of(visible[0].test))}"'
    return "points taken off when it was read" if visible else "another mistake, in a held-back check"
