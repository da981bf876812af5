"""Tables and files that people and other systems make and read: one reader, one writer, one way to write a name.

Tables come from spreadsheets, so byte-order marks, semicolons, a line `sep=;`, empty lines, Windows' letters and
capitals in the header are all right; what is wrong is reported with its file and line. What is written is whole or not
there, and no spreadsheet takes a cell for a formula.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

LONGEST_NAME = 100  # bytes; file systems allow 255, and what is written gets endings
LONE = re.compile("[\ud800-\udfff]")  # half a character, which no file can hold
NOT_A_STUDENT = ("points possible", "student, test")  # rows of Canvas's own


def plain_text(text: object) -> str:
    """Any text, without the halves of characters that cannot be written to a file."""
    return LONE.sub("\N{REPLACEMENT CHARACTER}", str(text))


def readable(name: str) -> str:
    """A name that can be written anywhere: control characters and broken bytes are spelt out."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in name)


def cut(name: str, size: int = LONGEST_NAME) -> str:
    """The name, or as much of it as fits into so many bytes."""
    return name.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def key(student: str) -> str:
    """What two spellings of one name share: capitals, and how accents are stored, differ between systems."""
    return unicodedata.normalize("NFC", student).casefold().strip()


def moment(text: str, place: str) -> datetime | None:
    """An ISO date and time, None for empty text. Raises ValueError with the place it stands in."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise ValueError(f"{place}: {text!r} is not a time; write it as 2026-11-30T23:59") from error


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader finds the old one or the whole new one."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(data.encode("utf-8", "replace") if isinstance(data, str) else data)
    os.replace(part, path)


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV that a spreadsheet opens as text and numbers, never as formulas."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(header)
    table.writerows([spreadsheet_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    write_whole(path, b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "replace"))


def spreadsheet_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula, on one line."""
    text = " ".join(text.split())
    formula = text[:1] in ("=", "+", "-", "@") and not re.fullmatch(r"[+-]?\d+(\.\d+)?", text)
    return f"'{text}" if formula else text


def read_table(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV with their line numbers; columns in lower case, cells stripped, empty rows left out.

    Raises ValueError when a needed column is missing or twice there, or the file is not text.
    """
    text, skipped = _without_separator_line(_decoded(path))
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)  # a spreadsheet writes what its country writes
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [cell.strip().lower() for cell in next(reader, [])]
        lines = [(reader.line_num + skipped, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num + skipped} is not CSV: {error}") from error
    for name in needed:
        if header.count(name) != 1:
            fault = "has no column" if name not in header else "has more than one column"
            raise ValueError(f"{path.name} {fault} {name!r}; its header is: {', '.join(header) or 'empty'}")
    for line, cells in lines:
        if any(cells[len(header) :]):
            raise ValueError(
                f"{path.name}, line {line} has more cells than the header ({', '.join(header)}); "
                "quote text that holds a comma"
            )
    padded = [(line, cells + [""] * (len(header) - len(cells))) for line, cells in lines if any(cells)]
    rows = [(line, dict(zip(header, cells, strict=False))) for line, cells in padded]
    return [(line, row) for line, row in rows if row.get("student", "").lower() not in NOT_A_STUDENT]


def _without_separator_line(text: str) -> tuple[str, int]:
    """Excel's own first line, such as `sep=;`, taken off; and how many lines that were."""
    first, _, rest = text.partition("\n")
    return (rest, 1) if re.fullmatch(r'"?sep=.?"?\s*', first, re.IGNORECASE) else (text, 0)


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    if b"\0" in data[:4] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16 without its mark
        data = (b"\xff\xfe" if data[1:2] == b"\0" else b"\xfe\xff") + data
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # what Excel writes on Windows unless it is told otherwise
    if "\0" in text or "\N{REPLACEMENT CHARACTER}" in text:
        raise ValueError(f"{path.name} is not a table in text; save it from the spreadsheet as 'CSV UTF-8'")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def counted(number: float, noun: str) -> str:
    """ "1 point", "3 points"."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
