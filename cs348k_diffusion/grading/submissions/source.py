"""Who handed in what, and the way from there to a worker: one student's notebooks as a source of subjects."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from cs348k_diffusion.exercises.framework.catalogue import Exercise, registry
from cs348k_diffusion.exercises.framework.errors import NotYet, unwritten
from cs348k_diffusion.grading.subject.subject import Subject
from cs348k_diffusion.grading.subject.watch import rules_of
from cs348k_diffusion.grading.submissions.files import ARCHIVES, ENDINGS
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.tables import key, readable
from cs348k_diffusion.grading.workers import withheld
from cs348k_diffusion.grading.workers.pool import Workers
from cs348k_diffusion.grading.workers.remote import RemoteLink
from cs348k_diffusion.grading.workers.worker import Job

IGNORED = {"__MACOSX", "handouts", "marks"}
COPY = re.compile(r"(-Copy\d*| ?\(\d+\)| copy( \d+)?|[ _-]old)$", re.IGNORECASE)  # as systems and people name copies


class Missing(NotYet):
    """The notebook does not define the exercise's name at all."""

    def __init__(self, exercise: Exercise):
        super().__init__(exercise.id)
        self.name = exercise.name

    def __str__(self) -> str:
        return f"{self.exercise}: not yet (no definition of {self.name} was found)"


class Submitted:
    """The source of subjects for one submission: a worker of its own for each exercise."""

    def __init__(self, student: str, submission: Submission, workers: Workers, ours: dict[str, str]):
        self.student, self.submission, self.workers, self.ours = student, submission, workers, ours
        self.link: RemoteLink | None = None

    def open(self, exercise: Exercise, seed: int, fallbacks: Sequence[str] = ()) -> Subject:
        """The exercise's implementation in its worker. Raises Missing when the notebook has none."""
        if self.link is None or (self.link.job.exercise, list(self.link.job.fallbacks)) != (
            exercise.id,
            list(fallbacks),
        ):
            self.close()
            if not self.submission.has(exercise.name):
                raise Missing(exercise)
            self.link = RemoteLink(self.workers, self._job(exercise, fallbacks), exercise.seconds)
        self.link.reseed(seed)
        return Subject(self.link)

    def reason(self, exercise: Exercise, error: BaseException | None) -> str:
        """One line about how the answer stands in the notebook, or "" where nothing is in its way."""
        called = getattr(error, "exercise", exercise.id) if isinstance(error, NotYet) else exercise.id
        return unwritten(called) if called != exercise.id else self.submission.why.get(exercise.name, "")

    def depends_on(self, exercise: Exercise) -> list[str]:
        """Names of other exercises that this answer calls and that the package may answer in its place."""
        if not self.submission.has(exercise.name):
            return []
        closed = {f"{module}.{name}" for module, name in _closed(exercise.withheld)}
        others = {name for name, home in self.ours.items() if name != exercise.name and home not in closed}
        return sorted(others & self.submission.read_by(exercise.name))

    def _job(self, exercise: Exercise, fallbacks: Sequence[str] = ()) -> Job:
        return Job(
            exercise=exercise.id,
            name=exercise.name,
            cells=self.submission.needed(exercise.name),
            closed=list(_closed(exercise.withheld)),
            ours=self.ours,
            fallbacks={name: self.ours[name] for name in fallbacks},
            rules=rules_of(exercise),
            flags=self.submission.flags(),
        )

    def close(self) -> None:
        """End the worker, if one runs."""
        link, self.link = self.link, None
        if link is not None:
            link.close()


@functools.cache
def _closed(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(withheld.reaching(names)) if names else ()


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
