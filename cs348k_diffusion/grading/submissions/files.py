"""A notebook file as data: opened with care, in whatever encoding and format, and made clean text where it enters."""

from __future__ import annotations

import json
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cs348k_diffusion.grading.tables import plain_text

MAX_FILE, MAX_CELL, MAX_CELLS = 100 << 20, 200_000, 20_000
MAX_FILES = 200  # of one student
HINT = re.compile(r"^(E\d{1,3}\.\d{1,3}), hint (\d{1,2}) of ", re.MULTILINE)  # what `hint` prints
KINDS = {  # what else is uploaded in a notebook's place, by its first bytes
    b"PK\x03\x04": "is a zip archive; hand in the .ipynb file inside it",
    b"Rar!": "is an archive; hand in the .ipynb file inside it",
    b"7z\xbc\xaf": "is an archive; hand in the .ipynb file inside it",
    b"\x1f\x8b": "is an archive; hand in the .ipynb file inside it",
    b"\xff\xd8\xff": "is a picture; hand in the .ipynb file itself",
    b"%PDF": "is a PDF; hand in the .ipynb file itself",
    b"\x89PNG": "is a picture; hand in the .ipynb file itself",
    b"<!DOCTYPE": "is a web page, saved from a browser; hand in the .ipynb file itself",
    b"<html": "is a web page, saved from a browser; hand in the .ipynb file itself",
}
ARCHIVES = (".zip", ".rar", ".7z", ".gz", ".tgz", ".tar", ".bz2", ".xz")
ENDINGS = {  # and by the ending of its name
    **dict.fromkeys(ARCHIVES, "is an archive; hand in the .ipynb file inside it"),
    ".zip": KINDS[b"PK\x03\x04"],
    ".py": "is a Python file; hand in the .ipynb file itself",
    ".pdf": KINDS[b"%PDF"],
    **dict.fromkeys((".html", ".htm", ".mhtml"), KINDS[b"<html"]),
    **dict.fromkeys((".docx", ".doc", ".odt", ".rtf"), "is a document; hand in the .ipynb file itself"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".heic"), "is a picture; hand in the .ipynb file itself"),
}


class Unreadable(Exception):
    """A file that is not a notebook; the message tells the student why."""


def plain_bytes(path: Path) -> bytes:
    """A plain file's bytes; looked at before it is opened, since opening a pipe would wait for ever."""
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise Unreadable("is not a plain file (a link, a folder or a pipe), so it was not opened")
        if facts.st_size > MAX_FILE:
            raise Unreadable(f"is larger than {MAX_FILE >> 20} MB")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error


def notebook_of(path: Path) -> dict:
    """The notebook in a file. Raises Unreadable with the rest of a sentence that begins with the file's name."""
    data = plain_bytes(path)
    try:
        return _notebook(data)
    except Unreadable as error:
        why = ENDINGS.get(path.suffix.lower()) if data.strip() else None
        raise Unreadable(why or str(error)) from error


def _notebook(data: bytes) -> dict:
    text = _text(data)
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        if re.search(r"^<{7} ", text, re.MULTILINE):
            raise Unreadable("holds the marks of a merge conflict (<<<<<<<) and is not a valid notebook") from error
        raise Unreadable("is not a valid notebook file (its JSON is broken)") from error
    if not isinstance(notebook, dict):
        raise Unreadable("is valid JSON but not a notebook")
    return notebook


def _text(data: bytes) -> str:
    if not data.strip():
        raise Unreadable("is empty")
    for start, why in KINDS.items():
        if data.lstrip()[: len(start)].lower() == start.lower():
            raise Unreadable(why)
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("is not text in a known encoding")


def sources(notebook: dict, *kinds: str) -> Iterator[tuple[dict, str]]:
    """Every cell of these kinds with its text, of formats 3 and 4: clean, with one kind of line end."""
    for cell in cells_of(notebook)[:MAX_CELLS]:
        if cell.get("cell_type") in kinds:
            source: Any = cell.get("source", cell.get("input", ""))
            lines = source if isinstance(source, list) else [source]
            text = "".join(line for line in lines if isinstance(line, str))
            yield cell, plain_text(text.replace("\r\n", "\n").replace("\r", "\n"))


def cells_of(notebook: dict) -> list[dict]:
    """The cells of a notebook. Raises Unreadable when it has no list of them."""
    sheets = notebook.get("worksheets")
    sheets = sheets if isinstance(sheets, list) else [notebook]
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    if not any(isinstance(cells, list) for cells in lists):
        raise Unreadable("is valid JSON but has no cells")
    return [cell for cells in lists if isinstance(cells, list) for cell in cells if isinstance(cell, dict)]


def tags(cell: dict) -> list[str]:
    """The tags of a cell."""
    metadata = cell.get("metadata")
    listed = metadata.get("tags") if isinstance(metadata, dict) else None
    return [plain_text(tag) for tag in listed if isinstance(tag, str)] if isinstance(listed, list) else []


def opened_hints(cells: Iterable[dict]) -> dict[str, int]:
    """The last hint that `hint(...)` printed, by exercise."""
    opened: dict[str, int] = {}
    for cell in cells:
        outputs = cell.get("outputs")
        for output in outputs[:20] if isinstance(outputs, list) else ():
            text = output.get("text") if isinstance(output, dict) else ""
            text = "".join(line for line in text if isinstance(line, str)) if isinstance(text, list) else text
            for id, number in HINT.findall(text[:MAX_CELL]) if isinstance(text, str) else ():
                opened[id] = max(int(number), opened.get(id, 0))
    return opened


def newer_python(notebook: dict) -> str:
    """Words for a notebook that ran on a newer Python than this one, whose syntax may not be known here."""
    metadata = notebook.get("metadata")
    language = metadata.get("language_info") if isinstance(metadata, dict) else None
    version = language.get("version") if isinstance(language, dict) else None
    numbers = re.match(r"3\.(\d{1,3})\b", version) if isinstance(version, str) else None
    if numbers is None or int(numbers[1]) <= sys.version_info.minor:
        return ""
    return f"; it ran on Python 3.{numbers[1]}, and is read by 3.{sys.version_info.minor}"
