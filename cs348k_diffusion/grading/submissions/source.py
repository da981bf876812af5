"""Who handed in what: the students of a folder, and the files that count for each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePath

from cs348k_diffusion.exercises.framework.catalogue import registry
from cs348k_diffusion.grading.submissions.files import ARCHIVES, ENDINGS
from cs348k_diffusion.grading.tables import key, readable

IGNORED = {"__MACOSX", "handouts", "marks"}
COPY = re.compile(r"(-Copy\d*| ?\(\d+\)| copy( \d+)?|[ _-]old)$", re.IGNORECASE)  # as systems and people name copies


def handed_in(folder: Path, words: Iterable[str] = (), out: Path | None = None) -> dict[str, list[Path]]:
    """Students and their notebooks: `alice.ipynb`, `alice_02_forward_noising.ipynb`, or a folder `alice/` of notebooks.

    words: the notebooks' names without number, which a file's name may end with; out: the folder of marks, which is not
    a student. A student whose folder holds none is listed with none, and one who handed in something else, such as
    `alice.zip`, with that: reading it says why it does not count. Spellings that differ by capitals, or by how
    accents are stored, are one student, and so is a copy (`alice-Copy1.ipynb`) beside its original.
    """
    words = tuple(words) or tuple({exercise.word for exercise in registry().values()})
    found: dict[str, list[Path]] = {}
    names: dict[str, str] = {}  # by key, the spelling that came first
    for entry in sorted(folder.iterdir()):
        if (
            entry.name.startswith(".")
            or entry.name in IGNORED
            or (out and os.path.realpath(entry) == os.path.realpath(out))
        ):
            continue
        if is_notebook(entry) or (is_upload(entry) and not entry.is_dir()):
            student, files = student_of(stem_of(entry), words), [entry]
        elif (entry.is_dir() or entry.is_symlink()) and not (entry / "results.jsonl").exists():
            student, files = readable(entry.name), [] if entry.is_symlink() else notebooks_in(entry)
        else:
            continue
        found.setdefault(names.setdefault(key(student), student), []).extend(files)
    return _with_copies(found)


def _with_copies(found: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """`alice-Copy1`, `alice (1)`, `alice copy` and `alice_old` are alice, where there is an alice."""
    names = {key(student): student for student in found}
    merged: dict[str, list[Path]] = {}
    for student, paths in found.items():
        original = names.get(key(COPY.sub("", student)), student)
        merged.setdefault(original, []).extend(paths)
    return merged


def notebooks_in(folder: Path) -> list[Path]:
    """The notebooks of one student, in this folder or below it; and what may hold more of them, or stands for them."""
    inside = sorted(path for path in folder.rglob("*") if not _ignored(path.relative_to(folder)))
    notebooks = [path for path in inside if is_notebook(path)]
    others = [path for path in inside if is_upload(path) and (not notebooks or path.suffix.lower() in ARCHIVES)]
    return [*notebooks, *others]


def is_notebook(path: PurePath) -> bool:
    """Whether a file is named as a notebook, or as what is handed in by mistake in a notebook's place."""
    name = path.name.lower()
    return name.endswith((".ipynb", ".ipynb.txt", ".ipynb.json", ".ipynb.zip", ".ipynb.html"))


def is_upload(path: PurePath) -> bool:
    """Whether a file is something else that is handed in in a notebook's place: an archive, a PDF, a Python file."""
    return path.suffix.lower() in ENDINGS and not is_notebook(path)


def stem_of(path: PurePath) -> str:
    """A file's name without what says of which kind it is."""
    name = path.name
    return name[: name.lower().rindex(".ipynb")] if is_notebook(path) else path.stem.removesuffix(".tar")


def _ignored(path: Path) -> bool:
    return any(part.startswith(".") or part in IGNORED for part in path.parts)


def student_of(stem: str, words: Iterable[str]) -> str:
    """The student that a file is named after."""
    pattern = rf"^(.+?)[ _.-]+(\d\d[ _-])?({'|'.join(map(re.escape, words)) or 'notebook'})$"
    match = re.match(pattern, COPY.sub("", stem))
    return readable(match[1] if match else stem)
