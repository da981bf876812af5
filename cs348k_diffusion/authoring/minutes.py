"""How long a notebook takes, counted from its cells: `python -m cs348k_diffusion.authoring.minutes [02 ...]`.

Words at 120 a minute (text, tables and headings; a formula in a line is a word, a line of
its own ten; folds are not counted); 5 seconds for
a line of code that is shown; 1 minute for a figure; 1.25 for a prediction, with its fold; for an exercise the minutes
that stand under its heading, in place of the lines of its cell. Sections whose heading has a star are counted apart.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from nbformat import NotebookNode

from cs348k_diffusion.authoring.handout import ID, exercise_tags, read
from cs348k_diffusion.authoring.stub_flow import parse

WORDS_A_MINUTE, LINE, FIGURE, PREDICTION, FORMULA_WORDS = 120, 5 / 60, 1.0, 1.25, 10
LIMIT, TOLERANCE = 75, 0.15  # minutes of a core; how far a header may be from the count
FOLD = re.compile(r"<details.*?</details>", re.DOTALL)
FORMULA = re.compile(r"\$\$.*?\$\$", re.DOTALL)
NOT_WORDS = re.compile(r"<!--.*?-->|<[^>]+>|^### (?:BEGIN|END) SOLUTION$|\]\([^)]*\)", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"\$[^$]+\$|`[^`]+`")
HEADING = re.compile(r"^(#{1,6}) (.*)$", re.MULTILINE)
STATED = re.compile(r"^\*About (\d+) minutes\.\*", re.MULTILINE)
PREDICT = re.compile(r"\*\*Predict\b|\*\*Bet\b")
PROMISED = re.compile(r"\*\*about\*\* (\d+) minutes(?: for the core, (?:about )?(\d+))?")


class Minutes(NamedTuple):
    """Minutes of the core and of the starred sections."""

    core: float
    starred: float


def code_lines(source: str) -> int:
    """Lines of code: not docstrings, comments or blank lines."""
    tree, strings = parse(source), set()
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                strings |= set(range(child.lineno, (child.end_lineno or child.lineno) + 1))
    numbered = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and not line.strip().startswith("#") and n not in strings for n, line in numbered)


def statements(source: str) -> int:
    """Lines of code where a line that is wrapped counts once, and a docstring not at all."""
    kinds = tokenize.generate_tokens(io.StringIO(source + "\n").readline)
    ends = {token.start[0] for token in kinds if token.type == tokenize.NEWLINE}
    strings = [node for node in ast.walk(parse(source)) if isinstance(node, ast.Expr)]
    return len(ends) - sum(isinstance(node.value, ast.Constant) for node in strings)


def minutes(notebook: NotebookNode) -> Minutes:
    """What a solution with stored outputs takes by the formula."""
    total = {False: 0.0, True: 0.0}
    for cell, starred in with_stars(notebook):
        total[starred] += cell_minutes(cell)
    return Minutes(total[False], total[True])


def promised(notebook: NotebookNode) -> Minutes:
    """What the first cell says. Raises ValueError where it says nothing."""
    found = PROMISED.search(notebook.cells[0].source)
    if not found:
        raise ValueError("the first cell says: **about** 60 minutes for the core, 20 for the starred part")
    return Minutes(float(found[1]), float(found[2] or 0))


def with_stars(notebook: NotebookNode) -> Iterator[tuple[NotebookNode, bool]]:
    """Each cell, and whether it is starred: from a heading with a star to the next of its level or above."""
    starred_from = 0  # the level of the starred heading we are under; 0: none
    for cell in notebook.cells:
        for hashes, title in HEADING.findall(cell.source) if cell.cell_type == "markdown" else ():
            if not starred_from or len(hashes) <= starred_from:
                starred_from = len(hashes) if "★" in title else 0
        yield cell, bool(starred_from)


def cell_minutes(cell: NotebookNode) -> float:
    """What one cell takes; 0 for a check and for code that is folded."""
    if cell.cell_type == "markdown":
        return text_minutes(cell.source)
    if exercise_tags(cell) or is_check(cell.source):
        return 0.0
    hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    figures = sum("text/html" in output.get("data", {}) for output in cell.get("outputs", []))
    return FIGURE * figures + (0 if hidden else LINE * code_lines(cell.source))


def text_minutes(source: str) -> float:
    """Words, predictions and the stated minutes of an exercise; a model answer in prose is not read."""
    if re.match(r"\*\*Answer to E\d", source):
        return 0.0
    plain = FOLD.sub(" ", source)
    stated = sum(float(found) for found in STATED.findall(plain))
    plain = FORMULA.sub(" word " * FORMULA_WORDS, plain)
    words = len(re.findall(r"\w[\w'-]*", INLINE.sub(" word ", NOT_WORDS.sub(" ", plain))))
    return words / WORDS_A_MINUTE + stated + PREDICTION * len(PREDICT.findall(plain))


def is_check(source: str) -> bool:
    """Is it the cell with an exercise's check?"""
    return bool(re.match(r"check\(", source))


def silent(notebook: NotebookNode) -> list[str]:
    """Exercises with no minutes between their heading and the next one."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    parts = re.split(rf"^## ({ID.pattern}) ", text, flags=re.MULTILINE)[1:]
    sections = zip(parts[::2], (part.partition("\n## ")[0] for part in parts[1::2]))
    return [id for id, section in sections if not STATED.search(section)]


def main(arguments: list[str] | None = None) -> int:
    """Print the minutes of core and starred parts, by the count and as the header says; 1 where they differ."""
    parser = argparse.ArgumentParser(prog="python -m cs348k_diffusion.authoring.minutes", description=main.__doc__)
    parser.add_argument("which", nargs="*", metavar="NN", help="numbers of the notebooks, like 02; all of them without")
    parser.add_argument("--solutions", type=Path, default=Path("solutions"))
    given, apart = parser.parse_args(arguments), False
    for path in sorted(given.solutions.glob("*.ipynb")):
        if not given.which or path.name.startswith(tuple(given.which)):
            notebook = read(path)
            count, said = minutes(notebook), promised(notebook)
            wrong = round(count.core) > LIMIT or not all(map(agrees, said, count))
            apart |= wrong
            print(f"{path.stem:30s} core {count.core:5.1f} (header {said.core:.0f}), starred {count.starred:5.1f} "
                  f"(header {said.starred:.0f}){'  <-' if wrong else ''}", *silent(notebook))  # fmt: skip
    return int(apart)


def agrees(said: float, count: float) -> bool:
    """Is what the header says within 15 % of the count? Two minutes are always allowed."""
    return abs(said - count) <= max(2.0, TOLERANCE * count)


if __name__ == "__main__":
    sys.exit(main())
