"""The feedback page of one student: points by exercise, what failed and why in words, and what to try next.

One self-contained HTML file without scripts, readable on a phone, in light and dark. Whatever a student's code wrote
is escaped, and what it drew was drawn here from plain numbers. A held-back check shows whether it passed and nothing
else; other students do not occur.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.exercises.catalogue import Exercise, in_course_order, registry
from cs348k_diffusion.grading.checks.card import property_of
from cs348k_diffusion.grading.gradebook import free_text
from cs348k_diffusion.grading.gradebook.overrides import TEST
from cs348k_diffusion.grading.records import WAITING, Record
from cs348k_diffusion.grading.tables import write_whole

STYLE = Path(__file__).with_name("feedback.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
LONGEST = 1500  # characters of one message
MISTAKE = re.compile(r"^This is what you get when the mistake is: (.*)$", re.MULTILINE)
ABSENT = re.compile(r"\((no definition of .*) was found\)$")
SYMBOL = re.compile(r"[b-z]\W|\w+(_\w|[(\d]| [=<>~])")
RAISED = re.compile(r"^your code raised ")
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
    def grade(self) -> str:
        """full, part, none, blank where nothing was written, or waiting where nobody has read it yet."""
        if self.earned == self.points:
            return "full"
        if any(record.status == WAITING for record in self.records):
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
    hints_used: Mapping[str, int] | None = None,
) -> None:
    """Write the page of `student` to `path`; records of other students are ignored.

    exercises: by id, the package's own without; notes: sentences about the file handed in (a cell that does not parse);
    comments: the instructor's, by exercise; hints_used: how many hints were opened, by exercise, where that is known.
    """
    known = registry() if exercises is None else exercises
    results = group([record for record in records if record.student == student], known)
    page = render(results, student, notes, comments or {}, hints_used or {})
    write_whole(path, page)


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
) -> str:
    """The whole page."""
    parts, notebook = [], None
    for result in [result for result in results if not unread(result, notes)]:
        if notebook != (notebook := notebook_of(result.exercise)):
            parts.append(f"<h2>{safe(notebook)}</h2>")
        parts.append(card(result, comments.get(result.exercise.id, ""), hints_used.get(result.exercise.id)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Feedback for {safe(student)}</title>\n<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n"
        f"<body>\n<main>\n{header(results, student)}{noted(notes)}{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def header(results: Sequence[Result], student: str) -> str:
    """Name, sum of points, one sentence, and a bar with a segment for each exercise."""
    earned, points = sum(r.earned for r in results), sum(r.points for r in results)
    segments = "".join(
        f'<a href="#{safe(r.exercise.id)}" class="{r.grade}" style="--worth:{r.points:g};--got:{share(r):.0f}%" '
        f'title="{safe(r.exercise.id)}: {r.earned:g} of {r.points:g}" aria-label="{safe(r.exercise.id)}"><i></i></a>'
        for r in results
    )
    return (
        f'<p class="soft">Feedback for</p>\n<h1>{safe(student)}</h1>\n'
        f'<p class="score"><b>{earned:g}</b> <span class="soft">of {counted(points, "point")}</span></p>\n'
        f'<nav class="bar" aria-label="Exercises">{segments}</nav>\n<p class="soft">{summary(results)}</p>\n'
    )


def unread(result: Result, notes: Sequence[str]) -> bool:
    """Was no check of the exercise run, for a reason that stands under "About your file"?"""
    return all(record.message in notes for record in result.records)


def share(result: Result) -> float:
    return 100 * result.earned / result.points if result.points else 100.0


def summary(results: Sequence[Result]) -> str:
    """How many exercises are done, begun and still to write."""
    grades = [result.grade for result in results]
    if not results:
        return "No exercise was found in what you handed in."
    if set(grades) == {"full"}:
        return "Every exercise is complete. Well done."
    begun, blank = grades.count("part") + grades.count("none"), grades.count("blank")
    said = [f"{counted(grades.count('full'), 'exercise')} complete"] if "full" in grades else []
    said += [f"{begun} to look at again"] if begun else []
    said += [f"{blank} not written yet"] if blank else []
    said += [f"{grades.count(WAITING)} waiting to be read"] if WAITING in grades else []
    return ", ".join(said) + "."


def noted(notes: Sequence[str]) -> str:
    """What was odd about the file handed in."""
    lines = "".join(f"<p>{safe(note)}</p>" for note in notes)
    return f'<section class="notes"><h3>About your file</h3>{lines}</section>\n' if lines else ""


def notebook_of(exercise: Exercise) -> str:
    """ "Notebook 02: forward noising"."""
    number = re.match(r"E(\d+)", exercise.id)
    name = exercise.word.replace("_", " ")
    return f"Notebook {int(number[1]):02d}" + (f": {name}" if name else "") if number else "Exercises"


def card(result: Result, comment: str, hints_used: int | None) -> str:
    """One exercise: points, checks, next step, hints."""
    exercise = result.exercise
    if result.grade == "blank":
        checks = f'<p class="soft">{absence(result.records)}</p>'
    else:
        checks = f'<ul class="checks">{"".join(map(check_line, result.records))}</ul>'
    comment = f'<p class="comment"><b>Your instructor:</b> {safe(comment)}</p>' if comment else ""
    return (
        f'<section class="card {result.grade}" id="{safe(exercise.id)}">\n<div class="head"><h3>{safe(exercise.id)} '
        f"{safe(exercise.title)}</h3><b>{result.earned:g} of {result.points:g}</b></div>\n"
        f"{checks}{comment}{advice(result, hints_used)}</section>\n"
    )


def absence(records: Sequence[Record]) -> str:
    """Why there is nothing to check: a stub, or no definition of that name."""
    missing = ABSENT.search(records[0].message)
    return f"{safe(sentence(missing[1]))} in what you handed in." if missing else NOT_YET


def check_line(record: Record) -> str:
    """One check: mark, its name in words, points, and why it failed."""
    status = record.status if record.status in MARKS else "error"
    status = "partly" if status == "failed" and record.earned > 0 else status  # a person can give some of the points
    name = "Held-back check" if record.held_back else sentence(property_of(record.test))
    drawn = f'<div class="pictures">{picture}</div>' if (picture := record.picture) else ""
    silent = record.held_back or (status == "passed" and not record.message)
    why = "" if silent else f"<div>{reason(record)}{drawn}</div>"
    worth = f"{record.earned:g} of {record.points:g}" if record.points else f"{record.earned:+g}"
    mark = f'<span class="mark" role="img" aria-label="{status}">{MARKS[status]}</span>'
    return (
        f'<li class="{status.replace(" ", "-")}">{mark}'
        f'<span>{safe(name)}</span><span class="worth">{worth}</span>{why}</li>'
    )


def reason(record: Record) -> str:
    """Why a check failed: the property, the numbers, the likely mistake."""
    if record.status == "not yet":
        return f'<p class="soft">{NOT_YET}</p>'
    message = record.message.strip()
    mistake = MISTAKE.search(message)
    says, _, numbers = MISTAKE.sub("", message).strip().partition("\n")
    out = f'<p class="says">{safe(sentence(says))}</p>' if says else ""
    out += f'<pre class="said">{safe(numbers.strip())}</pre>' if numbers.strip() else ""
    return out + (f'<p class="likely">Likely mistake: <b>{safe(mistake[1])}</b></p>' if mistake else "")


def advice(result: Result, hints_used: int | None) -> str:
    """The next step, and the first hint folded away, unless everything passed or a person has the last word."""
    if result.grade == "full" or any(record.test in (TEST, free_text.TEST) for record in result.records):
        return ""
    hints = result.exercise.hints
    used = (
        f" You opened {min(hints_used, len(hints))} of {counted(len(hints), 'hint')}."
        if hints_used is not None and hints
        else ""
    )
    first = f"<details><summary>A hint</summary><p>{safe(hints[0])}</p></details>" if hints else ""
    return f'<p class="next"><b>Next:</b> {next_step(result)}{used}</p>{first}\n'


def next_step(result: Result) -> str:
    """What to do about the first thing that is wrong."""
    name = f"<code>{safe(result.exercise.name)}</code>"
    check = f"<code>check({safe(result.exercise.name)})</code>"
    wrong = [record for record in result.records if record.status != "passed"]
    visible = [record for record in wrong if not record.held_back]
    statuses = {record.status for record in wrong}
    if result.grade == "blank":
        return f"write {name}; its docstring gives the shapes, and {check} answers at once."
    if not visible:
        return f"the checks you can see pass. Try {name} on what they leave out: other shapes, both ends, odd values."
    if "timeout" in statuses:
        return f"find what takes so long in {name}: a loop that never ends, or work repeated for every element."
    if "error" in statuses:
        return "a check itself went wrong, which is not your fault; show this page to your instructor."
    if any(RAISED.match(record.message) for record in visible):
        return f"run {check} in the notebook; the error appears there too, and so does its line."
    if any(MISTAKE.search(record.message) for record in visible):
        return f"look for the likely mistake named above, then run {check} again."
    return f"compare your formula with the property above, then run {check} again."


def sentence(text: str) -> str:
    """The same text, with a capital at its start unless that is a symbol: k = 0, x_t, alpha(t)."""
    return text if SYMBOL.match(text) else text[:1].upper() + text[1:]


def counted(number: float, noun: str) -> str:
    """ "1 point", "3 points"."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def safe(text: object) -> str:
    """Escaped for HTML, without control characters, and not longer than anyone reads."""
    plain = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return html.escape(plain if len(plain) <= LONGEST else plain[:LONGEST] + " ...")
