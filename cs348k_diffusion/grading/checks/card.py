"""How a check looks: words first, colour never alone, for the light theme, the dark theme and a screen reader."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cs348k_diffusion.exercises.framework.expecting import LIKELY
from cs348k_diffusion.grading.records import Record, property_of

if TYPE_CHECKING:
    from cs348k_diffusion.grading.checks.check import Outcome

_MARK = {"passed": "✓ passed", "failed": "✗ failed", "not yet": "· not yet", "timeout": "✗ out of time"}


def number(points: float) -> str:
    """Points without a needless .0."""
    return f"{points:g}"


def split(record: Record) -> tuple[str, str, str]:
    """A message in three: what does not hold, the likely mistake, and the details."""
    message = re.sub(r"^assert ", "", record.message)
    lines = message.splitlines()
    likely = next((line.removeprefix(LIKELY) for line in lines if line.startswith(LIKELY)), "")
    rest = [line for line in lines[1:] if not line.startswith(LIKELY)]
    return lines[0] if lines else "", likely, "\n".join(rest)


def as_text(outcome: Outcome) -> str:
    """The card as plain text."""
    lines = [_title(outcome)]
    for record in outcome.records:
        lines.append(f"  {_MARK.get(record.status, '? error')}: {_line(record)}")
        if record.status != "passed":
            says, likely, details = split(record)
            lines += [f"      {line}" for line in (says, *details.splitlines()) if line]
            lines += [f"      Likely mistake: {likely}"] if likely else []
    return "\n".join([*lines, *outcome.notes, _offer(outcome)])


def as_html(outcome: Outcome) -> str:
    """The card as HTML: a heading, a list of properties, the likely mistake, and what to do next."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    from cs348k_diffusion.grading.checks.pictures import beside

    template = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template("card.html")
    lines = [(_MARK.get(record.status, "? error"), _line(record), record, split(record)) for record in outcome.records]
    drawn = Markup("".join(beside(*each) for each in outcome.pictures))
    return template.render(title=_title(outcome), lines=lines, drawn=drawn, notes=outcome.notes, offer=_offer(outcome))


def _title(outcome: Outcome) -> str:
    earned, points = outcome.points
    return f"{outcome.exercise.id} {outcome.exercise.title}: {number(earned)} of {number(points)} points"


def _line(record: Record) -> str:
    plural = "" if record.points == 1 else "s"
    return f"{property_of(record.test)} ({number(record.points)} point{plural})"


def _offer(outcome: Outcome) -> str:
    earned, total = outcome.so_far
    so_far = f"This notebook so far: {number(earned)} of {number(total)} points."
    if outcome.passed or not outcome.exercise.hints:
        return so_far
    return f"Stuck? hint({outcome.exercise.name}). {so_far}"
