"""Who is in the class: a CSV with a column `student`, named as the hand-ins are, and optional `name` and `submitted`.

Tables come from spreadsheets, so a byte-order mark, semicolons, empty lines and capitals in the header are all right;
what is wrong is told with its line.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Enrolled:
    """One row of the roster; submitted: when the hand-in came, where that is known."""

    student: str
    name: str = ""
    submitted: datetime | None = None


def read_roster(path: Path) -> dict[str, Enrolled]:
    """The class by `key` of the student. Raises ValueError for a missing column, a name twice, or no names at all."""
    found: dict[str, Enrolled] = {}
    for line, row in read_table(path, ["student"]):
        place, student = f"{path.name}, line {line}", row["student"]
        if not student:
            raise ValueError(f"{place}: the student's name is empty")
        if key(student) in found:
            raise ValueError(f"{place}: {student} is there twice; each student needs one row")
        found[key(student)] = Enrolled(student, row.get("name", ""), moment(row.get("submitted", ""), place))
    if not found:
        raise ValueError(f"{path.name} names no students: one row each is wanted below the header")
    return found


def key(student: str) -> str:
    """What two spellings of one name share: capitals, and how accents are stored, differ between systems."""
    return unicodedata.normalize("NFC", student).casefold().strip()


def moment(text: str, place: str) -> datetime | None:
    """An ISO date and time, None for empty text. Raises ValueError with the place it stands in."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise ValueError(f"{place}: {text!r} is no time; write it as 2026-11-30T23:59") from error


def read_table(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with their line numbers; columns in lower case, cells stripped, empty rows left out.

    Raises ValueError when a needed column is missing or twice there, or the file is not UTF-8 text.
    """
    text = _decoded(path)
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)  # a spreadsheet writes what its country writes
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num} is not CSV: {error}") from error
    for name in needed:
        if header.count(name) != 1:
            fault = "has no column" if name not in header else "has more than one column"
            raise ValueError(f"{path.name} {fault} {name!r}; its header is: {', '.join(header) or 'empty'}")
    for line, cells in lines:
        if any(cells[len(header) :]):
            raise ValueError(f"{path.name}, line {line} has more cells than the header; quote text that holds a comma")
    padded = [(line, cells + [""] * (len(header) - len(cells))) for line, cells in lines if any(cells)]
    return [(line, dict(zip(header, cells, strict=False))) for line, cells in padded]


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8; save it from the spreadsheet as 'CSV UTF-8'") from error


def spreadsheet_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    text = " ".join(text.split())
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
