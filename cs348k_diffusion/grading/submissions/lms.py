"""A download from Canvas or Moodle, zip or folder, made into what `grade` reads: one folder of notebooks per student.

Canvas names files `name_LATE_123456_7891011_02_forward_noising-1.ipynb` (-1 is the first re-submission), Moodle makes
folders `Full Name_12345_assignsubmission_file`. Nothing is unpacked by the names inside: they are only read, and what
is not a student's notebook is reported; a zip or a PDF in a notebook's place comes along, so that `grade` can say so.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cs348k_diffusion.grading.submissions.files import ENDINGS, MAX_FILE
from cs348k_diffusion.grading.submissions.source import IGNORED, is_notebook, is_upload, stem_of
from cs348k_diffusion.grading.tables import cut, key, read_table, readable, write_table

IDS = "lms.csv"  # the students' numbers, beside their folders
MAX_SUM = 10 << 30  # bytes of notebooks in one download
MAX_RATIO, SMALL = 100, 4 << 20  # how many times its compressed size a file may have, beyond a small one
CANVAS = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_(?P<submission>\d+)_(?P<file>.+)", re.IGNORECASE)
MOODLE = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_file_?")
MOODLE_FLAT = re.compile(r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_file_(?P<file>.+)", re.IGNORECASE)
NAMES = re.compile(rb"(?:def|class) (\w+)")
COPY = re.compile(r"(?:-(\d+)| ?\((\d+)\))$")  # Canvas counts re-submissions, browsers count downloads


class Number(NamedTuple):
    """How a learning management system knows a student: "canvas" or "moodle", its number, the name it used."""

    system: str
    id: str
    name: str


class Upload(NamedTuple):
    """A student's notebook in the download; rank: the greatest is the newest."""

    name: str
    system: str  # "canvas" or "moodle"
    id: str
    file: str  # without what counts copies
    full: str  # with it, and with the folders between the file and the student's
    below: str
    rank: tuple[int, int, float]
    place: str
    bytes: Callable[[], bytes]  # read when it is copied: a class may be larger than the memory


class Entry(NamedTuple):
    """A file of the download, or the reason why it is not read."""

    path: PurePosixPath
    time: float
    fault: str
    bytes: Callable[[], bytes]


FAULTS = (OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, zlib.error)


def collect(download: Path, out: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Copy the notebooks to `out`/student/; returns them by student, and sentences on what was left or replaced.

    Raises FileNotFoundError without a download, ValueError for one that is not a zip or holds nothing usable.
    """
    found, said = _recognise(entries(download))
    if not found:
        raise ValueError(
            f"{download}: no notebook is named as Canvas or Moodle name them, "
            f"name_123_456_file.ipynb or name_123_assignsubmission_file/. {' '.join(said[:5])}".strip()
        )
    return _copy(_newest(found, said), out, said), said


def _newest(found: list[Upload], said: list[str]) -> list[Upload]:
    """Of copies of one file the newest; files of a copy's names that define something else are all kept."""
    kept: dict[tuple[str, str, str], Upload] = {}
    for each in sorted(found, key=lambda each: each.rank):
        place = (each.name, each.id, each.file.casefold())
        if place in kept and not _same_work(kept[place], each):
            place = (each.name, each.id, each.full.casefold())
            each = each._replace(file=each.full)
        if place in kept:
            said.append(f"{each.name}: {kept[place].place} is older than {each.place} and was left.")
        kept[place] = each
    return list(kept.values())


def _same_work(one: Upload, other: Upload) -> bool:
    """Whether two files of nearly one name are versions of one: they define the same names, or are not notebooks."""
    if one.below != other.below:
        return False
    if one.full == other.full:
        return True
    try:
        defined = [set(NAMES.findall(each.bytes())) for each in (one, other)]
    except FAULTS:
        return True
    return not all(defined) or bool(defined[0] & defined[1])


def entries(download: Path) -> Iterator[Entry]:
    """Every file of a zip or folder, hidden ones aside."""
    if not download.exists():
        raise FileNotFoundError(f"there is no download {download}")
    for entry in _in_folder(download) if download.is_dir() else _in_zip(download):
        if not any(part.startswith(".") or part in IGNORED for part in entry.path.parts if part != ".."):
            yield entry


def _in_folder(folder: Path) -> Iterator[Entry]:
    for top, folders, files in os.walk(folder):  # which follows no links
        links = [name for name in folders if os.path.islink(os.path.join(top, name))]
        for path in (Path(top, name) for name in sorted([*files, *links])):
            facts = path.lstat()
            fault = _fault(facts.st_size) if stat.S_ISREG(facts.st_mode) else "is a link or no plain file"
            yield Entry(PurePosixPath(path.relative_to(folder).as_posix()), facts.st_mtime, fault, path.read_bytes)


def _in_zip(path: Path) -> Iterator[Entry]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is neither a folder nor a zip") from error
    total = 0
    for info in archive.infolist():
        inside = PurePosixPath(_name_in_zip(info).replace("\\", "/"))
        fault = _fault(info.file_size) or _bomb(info)
        total += 0 if fault else info.file_size
        if total > MAX_SUM:
            fault = f"was left: the notebooks before it are {MAX_SUM >> 30} GB already"
        if inside.is_absolute() or ".." in inside.parts:
            fault = "points out of the zip"
        elif stat.S_ISLNK(info.external_attr >> 16) or info.flag_bits & 1:
            fault = "is a link or encrypted"
        if not info.is_dir():
            yield Entry(inside, _zip_time(info), fault, lambda info=info: _inflate(archive, info))


def _name_in_zip(info: zipfile.ZipInfo) -> str:
    """The name of an entry; many systems write UTF-8 and do not say so."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _bomb(info: zipfile.ZipInfo) -> str:
    if info.file_size <= SMALL or info.file_size <= MAX_RATIO * info.compress_size:
        return ""
    return f"was left: {info.compress_size >> 10} kB in the zip would become {info.file_size >> 20} MB"


def _zip_time(info: zipfile.ZipInfo) -> float:
    try:
        return datetime(*info.date_time).timestamp()
    except ValueError:
        return 0.0


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(MAX_FILE)  # whatever size the zip claims


def _fault(size: int) -> str:
    return f"is larger than {MAX_FILE >> 20} MB" if size > MAX_FILE else ""


def _recognise(listed: Iterator[Entry]) -> tuple[list[Upload], list[str]]:
    found, said = [], []
    for entry in listed:
        match = next(filter(None, map(MOODLE.fullmatch, entry.path.parts[:-1])), None)
        match = match or MOODLE_FLAT.fullmatch(entry.path.name) or CANVAS.fullmatch(entry.path.name)
        fault = entry.fault or ("" if is_notebook(entry.path) or is_upload(entry.path) else "is not a notebook")
        fault = fault or ("" if match else "is not named as Canvas or Moodle name hand-ins")
        if fault or match is None:
            said.append(f"{readable(str(entry.path))} {fault}.")
            continue
        if is_upload(entry.path):
            said.append(f"{readable(str(entry.path))} {ENDINGS[entry.path.suffix.lower()]}.")
        found.append(_upload(entry, match))
    return found, said


def _upload(entry: Entry, match: re.Match[str]) -> Upload:
    parts = match.groupdict()
    file, below = parts.get("file") or entry.path.name, _below(entry.path, match[0])
    stem = stem_of(PurePosixPath(file))
    copy = COPY.search(stem)
    rank = int(parts.get("submission") or 0), int((copy[1] or copy[2])[-9:]) if copy else 0, entry.time
    ending = file[len(stem) :].lower()
    file, full = (f"{safe_name(each)}{ending}" for each in (COPY.sub("", stem), below + stem))
    system = "canvas" if "submission" in parts else "moodle"
    return Upload(
        safe_name(parts["name"]), system, parts["id"], file, full, below, rank, readable(str(entry.path)), entry.bytes
    )


def _below(path: PurePosixPath, folder: str) -> str:
    """The folders between a file and the student's, as the beginning of a name."""
    inner = path.parts[path.parts.index(folder) + 1 : -1] if folder in path.parts else ()
    return "".join(f"{name}_" for name in inner)


def safe_name(name: str) -> str:
    """A name that is one part of a path on every system, in the form that other systems' lists have."""
    name = unicodedata.normalize("NFC", name)
    return cut(re.sub(r'[\\/:*?"<>|]', "_", readable(name)).strip(". ")) or "unnamed"


def _copy(found: list[Upload], out: Path, said: list[str]) -> dict[str, list[str]]:
    """Write the files, each under its student; two students of one name are told apart by their number."""
    ids: dict[str, set[str]] = {}
    for each in found:
        ids.setdefault(each.name.casefold(), set()).add(each.id)
    done: dict[str, list[str]] = {}
    known: dict[str, Number] = {}
    for each in found:
        shared = len(ids[each.name.casefold()]) > 1
        student = f"{each.name}_{each.id}" if shared else each.name
        if shared and student not in done:
            said.append(f"Two students are called {each.name}; this one is {student}.")
        try:
            note = _put(out / student / each.file, each)
        except FAULTS as error:
            note = f"{each.place} was not copied: {error}."
        said += [note] if note else []
        done.setdefault(student, []).append(each.file)
        known[student] = Number(each.system, each.id, each.name)
    keep(out, known)
    return done


def _put(path: Path, each: Upload) -> str:
    """Write one file, unless a newer one is there; a sentence where there was another."""
    if path.parent.is_symlink() or path.is_symlink():
        return f"{path} is a link, so nothing was written there."
    data, before = each.bytes(), path.stat() if path.exists() else None
    if before and path.read_bytes() == data:
        return ""
    if before and before.st_mtime > each.rank[2]:
        return f"{path} is newer than {each.place} and was kept."
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.utime(part, (each.rank[2], each.rank[2]))
    part.replace(path)
    return f"{path} was replaced by {each.place}, which is newer." if before else ""


def keep(folder: Path, found: Mapping[str, Number]) -> None:
    """Write the numbers of students into `folder`; those of an earlier download stay."""
    known = numbers(folder) | {key(student): (student, number) for student, number in found.items()}
    rows = [[student, *number] for student, number in known.values()]
    write_table(folder / IDS, ["student", *Number._fields], rows)


def numbers(folder: Path) -> dict[str, tuple[str, Number]]:
    """Students with their numbers, by `key`; {} where none were kept. ValueError for a file that is not the table."""
    path = folder / IDS
    if not path.is_file():
        return {}
    rows = [row for _, row in read_table(path, ["student", *Number._fields])]
    return {key(row["student"]): (row["student"], Number(row["system"], row["id"], row["name"])) for row in rows}
