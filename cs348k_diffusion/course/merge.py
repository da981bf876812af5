"""Carry a student's work over to a newer handout: theirs, the handout they started from, and the new one.

Three versions tell who changed what. An answer is found by its cell, and where cell ids were lost by the name it
defines. Nothing a student wrote is dropped: what has no place in the new handout becomes a cell of their own.
"""

from __future__ import annotations

import ast
import json
import re
import uuid
from pathlib import Path

from cs348k_diffusion.course import write_whole

Cell = dict
Notebook = dict
EXERCISE = re.compile(r"E\d+\.\d+")


def read(path: Path) -> Notebook:
    """The notebook in this file, in today's format; ValueError when it holds none."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise ValueError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None


def write(notebook: Notebook, path: Path) -> None:
    """Write the notebook, whole or not at all."""
    write_whole(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())


def carry_over(yours: Notebook, base: Notebook, new: Notebook) -> tuple[Notebook, list[str]]:
    """The new handout with the student's answers and own cells in it, and notes on what they should look at.

    yours: the student's notebook; base: the handout it was made from; new: the newer handout.
    """
    notes: list[str] = []
    base_cells = {_key(cell): cell for cell in base["cells"]}
    places = _align(yours["cells"], base_cells)
    kept = {_key(cell) for cell in new["cells"]}
    answers, own = _sort_out(yours["cells"], places, base_cells, kept)
    cells = list(own.get(None, []))
    for cell in new["cells"]:
        key = _key(cell)
        cells += _merge(cell, base_cells[key], answers[key], notes) if key in answers else [cell]
        cells += own.get(key, [])
    return {**new, "cells": _with_unique_ids(cells)}, notes


def exercise_of(cell: Cell) -> str | None:
    """The exercise that a cell is tagged with, such as "E2.1", or None."""
    tags = cell.get("metadata", {}).get("tags", [])
    return next((tag for tag in tags if EXERCISE.fullmatch(tag)), None)


def names_defined(source: str) -> frozenset[str]:
    """The functions and classes that a cell defines at its top level (found by their first lines in broken code)."""
    try:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        return frozenset(node.name for node in ast.parse(source).body if isinstance(node, kinds))
    except SyntaxError:
        return frozenset(re.findall(r"^(?:async def|def|class)\s+(\w+)", source, re.MULTILINE))


def _key(cell: Cell) -> str:
    """What stays the same between handouts: the names a stub asks for, else the cell's id."""
    if cell["cell_type"] == "code" and exercise_of(cell):
        names = names_defined(_source(cell))
        if names:
            return "answer " + " ".join(sorted(names))
    return cell["id"]


def _align(cells: list[Cell], base_cells: dict[str, Cell]) -> list[str | None]:
    """For each of the student's cells the key of the handout cell that it came from, or None for their own."""
    by_id = {cell["id"]: key for key, cell in base_cells.items()}
    places = [by_id.get(cell["id"]) for cell in cells]
    for match in (_same_source, _same_names):
        for i, cell in enumerate(cells):
            if places[i] is None:
                free = (key for key, old in base_cells.items() if key not in places and match(cell, old))
                places[i] = next(free, None)
    return places


def _sort_out(cells, places, base_cells, kept) -> tuple[dict[str, Cell], dict[str | None, list[Cell]]]:
    """Split the student's cells into those with a place in the new handout and those that follow such a one."""
    answers: dict[str, Cell] = {}
    own: dict[str | None, list[Cell]] = {}
    anchor = None
    for cell, key in zip(cells, places, strict=True):
        if key in kept and key not in answers:
            answers[key], anchor = cell, key
        elif key is None or key in answers or not _same_source(cell, base_cells[key]):
            own.setdefault(anchor, []).append(cell)
    return answers, own


def _merge(new: Cell, base: Cell, yours: Cell, notes: list[str]) -> list[Cell]:
    """What stands where the new handout has `new`, given what it was and what the student made of it."""
    if _same_source(new, base) or _same_source(new, yours):
        return [{**new, **{part: yours[part] for part in ("source", "outputs", "execution_count") if part in yours}}]
    if _same_source(yours, base):
        return [new]
    if exercise := exercise_of(new):
        notes.append(f"{exercise}: your answer is kept; the handout's own cell changed, so read it again.")
        return [{**new, "source": _source(yours)}]
    notes.append("A cell that you had edited changed in the handout; your version stands under the new one.")
    return [new, {"id": "", "cell_type": "raw", "metadata": {}, "source": "Your version:\n\n" + _source(yours)}]


def _with_unique_ids(cells: list[Cell]) -> list[Cell]:
    seen: set[str] = set()
    for cell in cells:
        if not cell["id"] or cell["id"] in seen:
            cell["id"] = uuid.uuid4().hex[:8]
        seen.add(cell["id"])
    return cells


def _source(cell: Cell) -> str:
    """A cell's text with one kind of line end: editors on Windows write another, which changes nothing."""
    return "".join(cell["source"]).replace("\r\n", "\n").replace("\r", "\n")


def _same_source(one: Cell, other: Cell) -> bool:
    """Whether two cells say the same, whatever their line ends and the spaces at the ends of their lines."""
    return one["cell_type"] == other["cell_type"] and _lines(one) == _lines(other)


def _lines(cell: Cell) -> list[str]:
    return [line.rstrip() for line in _source(cell).strip().split("\n")]


def _same_names(one: Cell, other: Cell) -> bool:
    return bool(exercise_of(other)) and bool(names_defined(_source(one)) & names_defined(_source(other)))
