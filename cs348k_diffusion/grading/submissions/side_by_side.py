"""Answers that are alike, side by side on a page: the lines that both have are marked, for a person to read."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.grading.pages import page
from cs348k_diffusion.grading.submissions.similarity import Pair
from cs348k_diffusion.grading.tables import readable, write_whole

MOST = 100  # pairs on the page; the table has all


class Row(NamedTuple):
    """A line of each answer, "" where one has none; same: whether they are one line, spaces aside."""

    one: str
    other: str
    same: bool


def write_page(pairs: Sequence[Pair], path: Path) -> None:
    """Write the first MOST pairs as one page; whatever a student wrote is escaped by the template."""
    shown = [
        {"pair": pair, "answers": [(id, pair.alike[id], rows(*texts)) for id, texts in pair.texts.items()]}
        for pair in pairs[:MOST]
    ]
    write_whole(path, page("similar.html", shown=shown, count=len(pairs)))


def rows(one: str, other: str) -> list[Row]:
    """Two texts line by line, those that both have beside each other."""
    left, right = ([readable(line) for line in text.expandtabs(4).splitlines()] for text in (one, other))
    plain = [[" ".join(line.split()) for line in lines] for lines in (left, right)]
    found = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, *plain, autojunk=False).get_opcodes():
        for k in range(max(b - a, d - c)):
            pair = (left[a + k] if a + k < b else "", right[c + k] if c + k < d else "")
            found.append(Row(*pair, kind == "equal" and bool(pair[0].strip())))
    return found
