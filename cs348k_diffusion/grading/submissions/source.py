"""Who handed in what, and the way from there to a worker: one student's notebooks as a source of subjects."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cs348k_diffusion.exercises.catalogue import Exercise, registry
from cs348k_diffusion.exercises.errors import NotYet
from cs348k_diffusion.grading.subject.subject import Subject
from cs348k_diffusion.grading.subject.watch import rules_of
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.workers import withheld
from cs348k_diffusion.grading.workers.pool import Workers
from cs348k_diffusion.grading.workers.remote import RemoteLink
from cs348k_diffusion.grading.workers.worker import Job

IGNORED = {"__MACOSX", "handouts"}


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


def handed_in(folder: Path, words: Iterable[str] = ()) -> dict[str, list[Path]]:
    """Students and their notebooks: `alice.ipynb`, `alice_02_forward_noising.ipynb`, or a folder `alice/` of notebooks.

    words: the notebooks' names without number, which a file's name may end with. A student whose folder holds none is
    listed with none.
    """
    words = tuple(words) or tuple({exercise.word for exercise in registry().values()})
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name in IGNORED:
            continue
        if entry.suffix == ".ipynb":
            found.setdefault(student_of(entry.stem, words), []).append(entry)
        elif entry.is_dir() or entry.is_symlink():
            found.setdefault(readable(entry.name), []).extend([] if entry.is_symlink() else notebooks_in(entry))
    return found


def notebooks_in(folder: Path) -> list[Path]:
    """The notebooks of one student, in this folder or below it."""
    inside = (path for path in folder.rglob("*.ipynb") if not _ignored(path.relative_to(folder)))
    return sorted(inside)[:50]


def _ignored(path: Path) -> bool:
    return any(part.startswith(".") or part in IGNORED for part in path.parts)


def student_of(stem: str, words: Iterable[str]) -> str:
    """The student that a file is named after."""
    pattern = rf"^(.+?)[ _.-]+(\d\d[ _-])?({'|'.join(map(re.escape, words)) or 'notebook'})$"
    match = re.match(pattern, stem)
    return readable(match[1] if match else stem)


def readable(name: str) -> str:
    """A name that can be written anywhere: control characters and broken bytes are spelt out."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in name)
