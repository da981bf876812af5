"""The feedback page of one student: points by exercise, what failed and why in words, and what to try next.

Whatever a student's code wrote is escaped by the template (`pages/feedback.html`), and what it drew was drawn here from
plain numbers. A held-back check shows whether it passed and nothing else; other students do not occur.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from markupsafe import Markup

from cs348k_diffusion.exercises.framework.catalogue import Exercise, in_course_order, registry
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.gradebook.lms_grades import TITLE
from cs348k_diffusion.grading.gradebook.overrides import TEST, Override, request_line
from cs348k_diffusion.grading.pages import page
from cs348k_diffusion.grading.records import WAITING, Record, property_of
from cs348k_diffusion.grading.tables import counted, write_whole

ROUNDING = 1e-9  # of points that were added up
MISTAKE = re.compile(r"^This is what you get when the mistake is: (.*)$", re.MULTILINE)
NO_DEFINITION = re.compile(r"\((no definition of \w+) was found\)$")
SYMBOL = re.compile(r"[b-z]\W|\w+(_\w|[(\d]| [=<>~])")
RAISED = re.compile(r"^your code raised ")
SPELLING = {"bayes": "Bayes", "gaussian": "Gaussian", "log snr": "log-SNR", "pytorch": "PyTorch"}  # in names of tests
MARKS = {
    "passed": "✓",
    "partly": "◐",
    "failed": "✗",
    "error": "!",
    "timeout": "✗",
    "not yet": "○",
    WAITING: "…",
}
NOT_YET = "Not written yet."
WHY = re.compile(r": not yet \((.*)\)$", re.DOTALL)


class Result(NamedTuple):
    """One exercise and what came of its checks."""

    exercise: Exercise
    records: list[Record]

    @property
    def earned(self) -> float:
        """Points earned over all checks."""
        return sum(record.earned for record in self.records)

    @property
    def points(self) -> float:
        """Points to be had."""
        return sum(record.points for record in self.records)

    @property
    def share(self) -> str:
        """Points earned, in percent; 100 for more than there were."""
        return f"{min(100, 100 * self.earned / self.points) if self.points else 100:.0f}"

    @property
    def grade(self) -> str:
        """full, part, none, blank where nothing was written, or waiting where nobody has read it yet.

        Points above what the exercise is worth are full, and what was set by hand waits no longer.
        """
        if self.earned >= self.points - ROUNDING:
            return "full"
        statuses = {record.test: record.status for record in self.records}
        if WAITING in statuses.values() and TEST not in statuses:
            return WAITING
        if all(record.status == "not yet" for record in self.records):
            return "blank"
        return "part" if self.earned else "none"


def write_feedback(
    records: Iterable[Record],
    student: str,
    path: Path,
    *,
    exercises: Mapping[str, Exercise] | None = None,
    notes: Sequence[str] = (),
    comments: Mapping[str, str] | None = None,
    regrades: Mapping[str, Override] | None = None,
    hints_used: Mapping[str, int] | None = None,
    name: str = "",
    lost: float = 0.0,
) -> None:
    """Write the page of `student` to `path`; records of other students are ignored.

    exercises: by id, the package's own without; notes: sentences about the file handed in (a cell that does not parse);
    comments: the instructor's, by exercise; regrades: what the student asked to be graded again, by exercise;
    hints_used: how many hints were opened, by exercise, where that is known; name: the student's on the roster; lost:
    points that lateness cost.
    """
    known = registry() if exercises is None else exercises
    results = group([record for record in records if record.student == student], known)
    write_whole(path, render(results, student, notes, comments or {}, hints_used or {}, regrades or {}, name, lost))


def group(records: Iterable[Record], exercises: Mapping[str, Exercise]) -> list[Result]:
    """The records by exercise, in the order of the course; an exercise that is not listed keeps its id as its name."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.exercise, []).append(record)
    return [Result(exercises.get(id) or Exercise(id, id, ""), found[id]) for id in in_course_order(found)]


def render(
    results: Sequence[Result],
    student: str,
    notes: Sequence[str],
    comments: Mapping[str, str],
    hints_used: Mapping[str, int],
    regrades: Mapping[str, Override] = MappingProxyType({}),
    name: str = "",
    lost: float = 0.0,
) -> str:
    """The whole page; whatever is put into it is escaped by the template."""
    cards = [
        _card(result, comments.get(result.exercise.id, ""), hints_used.get(result.exercise.id))
        | _regrade(result, student, regrades.get(result.exercise.id))
        for result in results
        if not unread(result, notes) or result.exercise.id in regrades
    ]
    notebooks = [(name, list(each)) for name, each in itertools.groupby(cards, key=lambda card: card["notebook"])]
    earned, points = sum(r.earned for r in results), sum(r.points for r in results)
    waiting = sum(r.points - r.earned for r in results if r.grade == WAITING)
    return page(
        "feedback.html",
        course=TITLE,
        student=name or student,
        results=results,
        notes=notes,
        notebooks=notebooks,
        summary=summary(results, notes),
        earned=f"{earned - lost:g}",
        late=f": {earned:g}, less {lost:g} for lateness" if lost else "",
        points=counted(points, "point") + (f", {waiting:g} of them not read yet" if waiting else ""),
    )


def unread(result: Result, notes: Sequence[str]) -> bool:
    """Was no check of the exercise run, for a reason that stands under "About your hand-in"?"""
    return all(record.message in notes for record in result.records)


def summary(results: Sequence[Result], notes: Sequence[str] = ()) -> str:
    """How many exercises are complete, begun, still to write, and not graded for a reason among the notes."""
    if not results:
        return "No exercise was found in what you handed in."
    grades = [each.grade for each in results if not unread(each, notes)]
    if not grades:
        return "No exercise could be graded; the reason is below."
    if set(grades) == {"full"} and len(grades) == len(results):
        return "Every exercise is complete. Well done."
    numbers = {
        "complete": grades.count("full"),
        "to look at again": grades.count("part") + grades.count("none"),
        "not written yet": grades.count("blank"),
        "waiting to be read": grades.count(WAITING),
        "not graded, for the reason below": len(results) - len(grades),
    }
    (what, first), *others = [(what, number) for what, number in numbers.items() if number]
    return ", ".join([f"{counted(first, 'exercise')} {what}", *[f"{number} {what}" for what, number in others]]) + "."


def notebook_of(exercise: Exercise) -> str:
    """ "Notebook 02: forward noising"."""
    number = re.match(r"E(\d+)", exercise.id)
    name = exercise.word.replace("_", " ")
    return f"Notebook {int(number[1]):02d}" + (f": {name}" if name else "") if number else "Exercises"


def _card(result: Result, comment: str, hints_used: int | None) -> dict[str, Any]:
    """One exercise as the template wants it: points, checks, next step, hints."""
    exercise, blank = result.exercise, result.grade == "blank"
    return {
        "notebook": notebook_of(exercise), "id": exercise.id, "title": exercise.title, "grade": result.grade,
        "earned": result.earned, "points": result.points, "comment": comment,
        "absence": absence(result.records) if blank else "",
        "lines": [] if blank else [check_line(record) for record in result.records],
        **advice(result, hints_used),
    }  # fmt: skip


def _regrade(result: Result, student: str, request: Override | None) -> dict[str, Any]:
    """What became of a request for a regrade, or else how to make one where points are missing."""
    asks = request is None and result.grade not in ("full", WAITING)
    return {"regrade": request, "ask": request_line(student, result.exercise.id) if asks else ""}


def absence(records: Sequence[Record]) -> str:
    """Why there is nothing to check: a stub, no definition of that name, a cell that is not Python."""
    missing = NO_DEFINITION.search(records[0].message)
    if missing:
        return f"{sentence(missing[1])} in what you handed in."
    why = WHY.search(records[0].message)
    if why is None:
        return NOT_YET
    told = sentence(why[1])
    return f"{NOT_YET} {told}" if told.endswith("?") else f"{NOT_YET} {told}."


def spelt(words: str) -> str:
    """A test's name in words, with the capitals that Python's names lack."""
    return re.sub(rf"\b({'|'.join(SPELLING)})\b", lambda found: SPELLING[found[1]], words)


def check_line(record: Record) -> dict[str, Any]:
    """One check: mark, its name in words, points, and why it failed (None where there is nothing to say)."""
    status = record.status if record.status in MARKS else "error"
    status = "partly" if status == "failed" and record.earned > 0 else status  # a reader can give some of the points
    name = "Held-back check" if record.held_back else sentence(spelt(property_of(record.test)))
    name = "For your instructor to read" if status == WAITING else name
    silent = record.held_back or (status == "passed" and not record.message)
    worth = f"{record.earned:g} of {record.points:g}" if record.points else f"{record.earned:+g}"
    worth = "" if status == WAITING else worth
    return {
        "status": status, "mark": MARKS[status], "name": name, "worth": worth,
        "why": None if silent else reason(record), "picture": Markup(record.picture),
    }  # fmt: skip


def reason(record: Record) -> dict[str, str]:
    """Why a check failed: the property, the numbers, the likely mistake."""
    if record.status == "not yet":
        return {"not_yet": NOT_YET}
    message = record.message.strip()
    mistake = MISTAKE.search(message)
    says, _, numbers = MISTAKE.sub("", message).strip().partition("\n")
    return {"says": sentence(says), "details": numbers.strip(), "likely": mistake[1] if mistake else ""}


def advice(result: Result, hints_used: int | None) -> dict[str, Any]:
    """The next step, and the first hint folded away, unless everything passed or a reader has the last word."""
    if result.grade == "full" or any(record.test in (TEST, free_text.TEST) for record in result.records):
        return {}
    hints = result.exercise.hints
    opened = (
        f" You opened {min(hints_used, len(hints))} of {counted(len(hints), 'hint')}."
        if hints_used is not None and hints
        else ""
    )
    return {"next": next_step(result), "opened": opened, "hint": hints[0] if hints else ""}


def next_step(result: Result) -> Markup:
    """What to do about the first thing that is wrong."""
    name = Markup("<code>{}</code>").format(result.exercise.name)
    check = Markup("<code>check({})</code>").format(result.exercise.name)
    wrong = [record for record in result.records if record.status != "passed"]
    visible = [record for record in wrong if not record.held_back]
    statuses = {record.status for record in wrong}
    if result.grade == "blank":
        says = "write {name}; its docstring gives the shapes, and {check} answers at once."
    elif not visible:
        says = "the checks you can see pass. Try {name} on what they leave out: other shapes, both ends, odd values."
    elif "timeout" in statuses:
        says = "find what takes so long in {name}: a loop that never ends, or work repeated for every element."
    elif "error" in statuses:
        says = "something went wrong in the grader, which is not your fault; show this page to your instructor."
    elif any(RAISED.match(record.message) for record in visible):
        says = "run {check} in the notebook; the error appears there too, and so does its line."
    elif any(MISTAKE.search(record.message) for record in visible):
        says = "look for the likely mistake named above, then run {check} again."
    else:
        says = "compare your answer with the property above, then run {check} again."
    return Markup(says).format(name=name, check=check)


def sentence(text: str) -> str:
    """The same text, with a capital at its start unless that is a symbol: k = 0, x_t, alpha(t)."""
    return text if SYMBOL.match(text) else text[:1].upper() + text[1:]
