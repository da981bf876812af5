"""All that is taken from a student's notebooks before a check runs: plain values, found in a process with limits.

The process runs nothing of the student's. What an exercise needs, why an answer has no points, what is the package's
own text and what was written as prose come back together, so that nobody reads the notebooks twice.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.grading.submissions import notebook, reasons, similarity
from cs348k_diffusion.grading.submissions.limited import limited_call
from cs348k_diffusion.grading.submissions.notebook import Needs

HEAD = re.compile(r"^\W*answer to (E\d+\.\d+)\W*$", re.IGNORECASE)
PLACEHOLDER = "*Write your answer here.*"
LONGEST = 20_000  # characters of an answer in prose that are kept


@dataclass(frozen=True)
class Reading:
    """What the notebooks of one student hold, as far as the grader needs it."""

    cells: dict[int, str]  # the text of those that an answer needs, by number
    needs: dict[str, Needs]  # by the name of an exercise that they define
    flags: int  # of the compiler, by the notebooks' own `from __future__` imports
    why: dict[str, str]  # one line for a name that has no points (see `reasons`)
    texts: dict[str, str]  # answers in prose, by exercise
    hints: dict[str, int]  # how many were opened, as far as stored outputs show
    notes: list[str]
    remarks: list[str]  # for the instructor


def read(paths: Sequence[Path], exercises: Mapping[str, Exercise], questions: Collection[str] = ()) -> Reading:
    """One student's notebooks; questions: the ids of those that ask for prose.

    Raises Unreadable where there is no notebook among them, or where reading goes beyond the limits.
    """
    facts = limited_call(functools.partial(_facts, paths, exercises, questions))
    needs = {
        name: Needs([(cell, indices) for cell, indices in statements], names)
        for name, (statements, names) in facts["needs"].items()
    }
    return Reading(**facts | {"cells": {int(number): text for number, text in facts["cells"].items()}, "needs": needs})


def _facts(paths: Sequence[Path], exercises: Mapping[str, Exercise], questions: Collection[str]) -> dict[str, Any]:
    """The fields of a `Reading`, as JSON has them."""
    made, names = notebook.read(paths), [exercise.name for exercise in exercises.values()]
    why = {name: line for name in names if (line := reasons.why(made, name))}
    remarks = similarity.copies(made, exercises)
    made.choose(names)
    needs = {name: made.needs(name) for name in names if made.has(name)}
    needed = {cell for each in needs.values() for cell, _ in each.statements}
    return {
        "cells": {number: text for number, text in made.cells if number in needed}, "needs": needs,
        "flags": made.flags(), "why": why, "texts": answers(made.markdown, questions), "hints": made.hints,
        "notes": made.notes, "remarks": remarks,
    }  # fmt: skip


def answers(markdown: Iterable[tuple[list[str], str]], ids: Collection[str]) -> dict[str, str]:
    """The answers in prose among the markdown cells (tags, text), by exercise; cells of one question are joined.

    An answer opens with the line "Answer to E11.4" or, where that line was deleted, has the tag E11.4.
    """
    found: dict[str, list[str]] = {}
    for tags, text in markdown:
        first, _, rest = text.strip().partition("\n")
        head = HEAD.match(first)
        named, body = ([head[1].upper()], rest) if head else (tags, text)
        body = body.replace(PLACEHOLDER, "").strip()
        for id in [id for id in named if id in ids and body][:1]:
            found.setdefault(id, []).append(body)
    return {id: "\n\n".join(parts)[:LONGEST] for id, parts in found.items()}
