"""Where implementations come from: what a source of subjects is, and a submission, with a worker for each exercise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from cs348k_diffusion.exercises.framework.catalogue import Exercise
from cs348k_diffusion.exercises.framework.errors import NotYet, unwritten
from cs348k_diffusion.grading.subject.subject import Subject
from cs348k_diffusion.grading.subject.watch import rules_of
from cs348k_diffusion.grading.submissions.reading import Reading
from cs348k_diffusion.grading.workers import withheld
from cs348k_diffusion.grading.workers.pool import Workers
from cs348k_diffusion.grading.workers.remote import RemoteLink
from cs348k_diffusion.grading.workers.worker import Job


@runtime_checkable
class Source(Protocol):
    """Where implementations come from: a notebook's live functions, or a submission's workers."""

    student: str

    def open(self, exercise: Exercise, seed: int) -> Subject:
        """The implementation of an exercise. Raises NotYet when there is none."""
        ...

    def close(self) -> None:
        """Let go of whatever is still held."""


@runtime_checkable
class FallbackSource(Source, Protocol):
    """A source in which the package's function can stand for one that an answer calls."""

    def open(self, exercise: Exercise, seed: int, fallbacks: Sequence[str] = ()) -> Subject:
        """The implementation of an exercise, with the package's functions for the fallbacks. Raises NotYet if none."""
        ...

    def depends_on(self, exercise: Exercise) -> list[str]:
        """Functions of other exercises that it calls and that the package can answer."""
        ...


class Missing(NotYet):
    """The notebook does not define the exercise's name at all."""

    def __init__(self, exercise: Exercise):
        super().__init__(exercise.id)
        self.name = exercise.name

    def __str__(self) -> str:
        return f"{self.exercise}: not yet (no definition of {self.name} was found)"


class WorkerSource:
    """The source of subjects for one submission: a worker of its own for each exercise."""

    def __init__(self, student: str, reading: Reading, workers: Workers, ours: dict[str, str]):
        self.student, self.reading, self.workers, self.ours = student, reading, workers, ours
        self.link: RemoteLink | None = None

    def open(self, exercise: Exercise, seed: int, fallbacks: Sequence[str] = ()) -> Subject:
        """The exercise's implementation in its worker. Raises Missing when the notebook has none."""
        if self.link is None or (self.link.job.exercise, list(self.link.job.fallbacks)) != (
            exercise.id,
            list(fallbacks),
        ):
            self.close()
            if exercise.name not in self.reading.needs:
                raise Missing(exercise)
            self.link = RemoteLink(self.workers, self._job(exercise, fallbacks), exercise.seconds)
        self.link.reseed(seed)
        return Subject(self.link)

    def reason(self, exercise: Exercise, error: BaseException | None) -> str:
        """One line about how the answer stands in the notebook, or "" where nothing is in its way."""
        called = getattr(error, "exercise", exercise.id) if isinstance(error, NotYet) else exercise.id
        return unwritten(called) if called != exercise.id else self.reading.why.get(exercise.name, "")

    def depends_on(self, exercise: Exercise) -> list[str]:
        """Names of other exercises that this answer calls and that the package may answer in its place."""
        if exercise.name not in self.reading.needs:
            return []
        closed = {f"{module}.{name}" for module, name in _closed(exercise.withheld)}
        others = {name for name, home in self.ours.items() if name != exercise.name and home not in closed}
        return sorted(others & {*self.reading.needs[exercise.name].read})

    def _job(self, exercise: Exercise, fallbacks: Sequence[str] = ()) -> Job:
        needs = self.reading.needs[exercise.name]
        return Job(
            exercise=exercise.id,
            name=exercise.name,
            cells=[(cell, self.reading.cells[cell], indices) for cell, indices in needs.statements],
            closed=list(_closed(exercise.withheld)),
            ours=self.ours,
            fallbacks={name: self.ours[name] for name in fallbacks},
            rules=rules_of(exercise),
            flags=self.reading.flags,
        )

    def close(self) -> None:
        """End the worker, if one runs."""
        link, self.link = self.link, None
        if link is not None:
            link.close()


@functools.cache
def _closed(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(withheld.reaching(names)) if names else ()
