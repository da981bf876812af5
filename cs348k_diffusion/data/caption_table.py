"""A table of captions as people's programs write it: commas, semicolons or tabs, any usual encoding, or JSON lines.

What cannot be read for certain is refused with its line, since a wrong caption trains a wrong model without a word.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

TABLES = (".csv", ".tsv", ".txt")
Row = tuple[int, str, str]  # line, file, caption


def find_table(folder: Path) -> Path | None:
    """The file called captions in a folder. Raises ValueError for several, or one of a kind that is not read."""
    found = sorted(path for path in folder.iterdir() if path.stem.lower() == "captions" and path.is_file())
    if len(found) > 1:
        raise ValueError(f"{folder} has {', '.join(path.name for path in found)}: take away all but one")
    if found and found[0].suffix.lower() not in (*TABLES, ".jsonl"):
        raise ValueError(f"{found[0]} is not read: save it from the spreadsheet as 'CSV UTF-8', captions.csv")
    return found[0] if found else None


def rows(path: Path, names: Sequence[str]) -> Iterator[Row]:
    """Line, file and caption of each row; a file is spelt as it is in `names`, where capitals or accents differ."""
    known = {_key(name): name for name in names} | {name: name for name in names}
    for line, name, caption in (_json_rows if path.suffix.lower() == ".jsonl" else _table_rows)(path, known):
        yield line, known.get(name) or known.get(_key(name)) or name, " ".join(caption.split())


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _text(path: Path, encodings: Sequence[str]) -> str:
    data = path.read_bytes()
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.replace("\r\n", "\n").replace("\r", "\n")
    raise ValueError(f"{path} is not text in UTF-8; save it from the spreadsheet as 'CSV UTF-8'")


def _table_rows(path: Path, known: dict[str, str]) -> Iterator[Row]:
    text = _text(path, ("utf-8-sig", "cp1252"))  # the second is what Excel writes on Windows unless told otherwise
    said = re.match(r'"?sep=(.)"?[ \t]*\n', text, re.IGNORECASE)  # Excel's own first line
    text, skipped = (text[said.end() :], 1) if said else (text, 0)
    table = _cells(path, text, said[1] if said else _delimiter(text, known), skipped)
    width, file, caption = 2, 0, 1
    for number, (line, row) in enumerate(table):
        heading = [cell.lower() for cell in row]
        if number == 0 and {"file", "caption"} <= set(heading):
            width, file, caption = len(row), heading.index("file"), heading.index("caption")
        elif len(row) != width or not row[file]:
            form = 'name,"caption"' if width == 2 else f"{width} fields, as in the heading,"
            raise ValueError(f"{path}, line {line}: expected  {form}  and found {len(row)} fields: {row}")
        else:
            yield line, row[file], row[caption]


def _cells(path: Path, text: str, delimiter: str, skipped: int) -> list[tuple[int, list[str]]]:
    """The rows that hold something, with their lines; a spreadsheet pads a row with empty cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    found, width = [], 2
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            while len(row) > width and not row[-1]:
                row.pop()
            if any(row):
                found.append((reader.line_num + skipped, row))
                width = max(width, len(found[0][1]))
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num + skipped} is not CSV: {error}") from error
    return found


def _delimiter(text: str, known: dict[str, str]) -> str:
    """Comma, semicolon or tab: behind which most lines begin with a picture's name, or with a heading."""
    starts = {_key(name) for name in known} | {"file", "caption"}

    def fitting(delimiter: str) -> int:
        return sum(_key(line.partition(delimiter)[0].strip(' "')) in starts for line in text.split("\n"))

    return max(",;\t", key=fitting)


def _json_rows(path: Path, known: dict[str, str]) -> Iterator[Row]:
    for number, line in enumerate(_text(path, ("utf-8-sig",)).split("\n"), start=1):
        try:
            row = json.loads(line) if line.strip() else None
            if row is not None:
                yield number, *_both(row["file"], row["caption"])
        except (ValueError, KeyError, TypeError) as error:
            form = '{"file": "cat.png", "caption": "a cat"}'
            raise ValueError(f"{path}, line {number}: expected  {form}  and found {line[:60]!r}") from error


def _both(file: object, caption: object) -> tuple[str, str]:
    if isinstance(file, str) and isinstance(caption, str):
        return file, caption
    raise TypeError("not text")
