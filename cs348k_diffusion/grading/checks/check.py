"""`check(f)` under an exercise: did it work, what is the likely mistake, how many points so far.

The checks that grade a class run here in the kernel, on the student's live function. What they find is remembered in
`.progress.json` beside the notebook, for the student's eyes; marks never come from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.catalogue import FOLDER, Exercise, checks_of, find, of_notebook
from cs348k_diffusion.exercises.errors import NotYet
from cs348k_diffusion.exercises.expecting import collecting_pictures
from cs348k_diffusion.grading.checks.plugin import Grader, run_checks
from cs348k_diffusion.grading.records import Record, missing
from cs348k_diffusion.grading.subject.subject import Subject, local

PROGRESS = Path(".progress.json")


@dataclass
class Outcome:
    """What a check found: one record per test, pictures, and the points of the notebook so far."""

    exercise: Exercise
    records: list[Record]
    pictures: list[tuple[Any, Any, str]] = field(default_factory=list)
    so_far: tuple[float, float] = (0, 0)

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return bool(self.records) and all(record.status == "passed" for record in self.records)

    @property
    def not_yet(self) -> bool:
        """Whether nothing has been written yet."""
        return any(record.status == "not yet" for record in self.records)

    @property
    def points(self) -> tuple[float, float]:
        """Points earned, and points there are."""
        return sum(record.earned for record in self.records), sum(record.points for record in self.records)

    def __repr__(self) -> str:
        from cs348k_diffusion.grading.checks.card import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from cs348k_diffusion.grading.checks.card import as_html

        return as_html(self)


def check(what: str | Callable, folder: Path = FOLDER) -> None:
    """Check an answer and show what came of it; never stops the notebook.

    what: the function or class, or its id ("E3.2") or name. An unwritten one shows the line "E3.2: not yet".
    With CS348K_STRICT=1 (CI) anything but a full pass raises AssertionError. LookupError: no such exercise.
    """
    outcome = run_check(what, folder)
    _show(outcome)
    if os.environ.get("CS348K_STRICT") == "1" and not outcome.passed:
        raise AssertionError(repr(outcome))


def run_check(what: str | Callable, folder: Path = FOLDER) -> Outcome:
    """The outcome of checking an answer, remembered but not shown."""
    exercise = find(what, folder)
    target = _named(exercise) if isinstance(what, str) else what
    live = Live(exercise, target)
    records: list[Record] = []
    with collecting_pictures() as pictures, _same_randomness_after():
        run_checks([folder / f"{exercise.word}.py"], Grader([exercise], [live], records.append))
    expected = [(test.exercise, test.test, test.points) for test in checks_of(exercise, folder)]
    records += missing(records, expected, live.student)
    outcome = Outcome(exercise, records, pictures)
    earned, points = outcome.points
    if not _is_ours(target):
        _remember(exercise, earned=earned, points=points)
    outcome.so_far = _so_far(exercise, folder)
    return outcome


def hint(what: str | Callable, folder: Path = FOLDER) -> None:
    """Show an exercise's first hint; called again, that one and the next."""
    exercise = find(what, folder)
    seen = min(_progress().get(exercise.id, {}).get("hints", 0), max(len(exercise.hints) - 1, 0))
    if not exercise.hints:
        print(f"{exercise.id} has no hints.")
        return
    _remember(exercise, hints=seen + 1)
    more = "" if seen + 1 == len(exercise.hints) else f"\n(hint({exercise.name}) again for the next one)"
    for number, text in enumerate(exercise.hints[: seen + 1], start=1):
        print(f"{exercise.id}, hint {number} of {len(exercise.hints)}: {text}{more if number > seen else ''}")


def mine_or_ours(function: Callable, folder: Path = FOLDER) -> Callable:
    """The student's function if it passes its checks, else the package's own, saying so in one line."""
    exercise = find(function, folder)
    outcome = run_check(function, folder)
    if outcome.passed:
        return function
    why = "is not yet written" if outcome.not_yet else "does not pass its check yet"
    print(f"{exercise.id} {exercise.name}: yours {why}; using the package's, {exercise.ours}, from here on.")
    return ours(exercise)


def ours(exercise: Exercise) -> Callable:
    """The package's own answer to an exercise. LookupError when there is none."""
    module, _, name = exercise.ours.rpartition(".")
    if not module:
        raise LookupError(f"the package has no answer of its own to {exercise.id}; write {exercise.name} first")
    return getattr(import_module(f"{__name__.partition('.')[0]}.{module}"), name)


class Live:
    """The source of subjects in the notebook: the student's function as it stands."""

    student = "you"

    def __init__(self, exercise: Exercise, target: Any):
        self.exercise, self.target = exercise, target

    def open(self, exercise: Exercise, seed: int) -> Subject:
        """The live function as a subject. Raises NotYet when there is none."""
        if self.target is None:
            raise NotYet(exercise.id)
        return local(self.target, seed)

    def close(self) -> None:
        """Nothing is held."""


def _named(exercise: Exercise) -> Any:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    space = shell.user_ns if shell else vars(sys.modules["__main__"])
    return space.get(exercise.name)


def _is_ours(target: Any) -> bool:
    """Whether mine_or_ours has put the package's answer in the student's place: that earns nothing."""
    return str(getattr(target, "__module__", "")).startswith(f"{__name__.partition('.')[0]}.")


@contextlib.contextmanager
def _same_randomness_after() -> Iterator[None]:
    import numpy as np

    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _show(outcome: Outcome) -> None:
    if outcome.not_yet:
        print(f"{outcome.exercise.id}: not yet")
    elif "IPython" in sys.modules and sys.modules["IPython"].get_ipython():
        sys.modules["IPython"].display.display(outcome)
    else:
        print(outcome)


def _progress() -> dict[str, dict]:
    try:
        kept = json.loads(PROGRESS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in kept.items() if isinstance(value, dict)} if isinstance(kept, dict) else {}


def _remember(exercise: Exercise, **facts: float) -> None:
    kept = _progress()
    kept[exercise.id] = kept.get(exercise.id, {}) | facts
    with contextlib.suppress(OSError):  # a read-only folder forgets, and that is all
        PROGRESS.write_text(json.dumps(kept, indent=1, sort_keys=True), encoding="utf-8")


def _so_far(exercise: Exercise, folder: Path) -> tuple[float, float]:
    kept, mates = _progress(), of_notebook(exercise.word, folder)
    total = sum(test.points for mate in mates for test in checks_of(mate, folder))
    return sum(kept.get(mate.id, {}).get("earned", 0) for mate in mates), total
