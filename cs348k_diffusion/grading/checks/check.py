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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise, checks_of, find, of_notebook
from cs348k_diffusion.exercises.framework.errors import NotYet, unwritten
from cs348k_diffusion.exercises.framework.expecting import LIKELY
from cs348k_diffusion.exercises.framework.observing import collecting_pictures
from cs348k_diffusion.grading.checks import history
from cs348k_diffusion.grading.checks.plugin import Grader, run_checks
from cs348k_diffusion.grading.records import Record, missing
from cs348k_diffusion.grading.subject.budget import Budget
from cs348k_diffusion.grading.subject.subject import Subject, local

PROGRESS = Path(".progress.json")


@dataclass
class Outcome:
    """What a check found: one record per test, pictures, and the points of the notebook so far."""

    exercise: Exercise
    records: list[Record]
    pictures: list[tuple[Any, Any, str]] = field(default_factory=list)
    so_far: tuple[float, float] = (0, 0)
    notes: list[str] = field(default_factory=list)  # what the batch would do otherwise, and stale definitions

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
    prints = Prints(sys.stdout)
    live = Live(exercise, target, prints)
    records: list[Record] = []
    with collecting_pictures() as pictures, _same_randomness_after(), usual_settings():
        run_checks([folder / f"{exercise.word}.py"], Grader([exercise], [live], records.append))
    expected = [(test.exercise, test.test, test.points) for test in checks_of(exercise, folder)]
    records += missing(records, expected, live.student)
    prints.finish()
    outcome = Outcome(exercise, records, pictures, notes=[] if _is_ours(target) else history.notes(exercise, target))
    earned, points = outcome.points
    if not _is_ours(target):
        _remember(exercise, earned=earned, points=points, named=likely_of(records))
    outcome.so_far = _so_far(exercise, folder)
    return outcome


def hint(what: str | Callable, folder: Path = FOLDER) -> None:
    """Speak to the mistake that the last check named, and show the first hint; called again, also the next."""
    exercise = find(what, folder)
    if named := str(_progress().get(exercise.id, {}).get("named") or ""):
        print(f"{exercise.id}, your last check: {named}. Where does your code do this?")
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

    def __init__(self, exercise: Exercise, target: Any, prints: Any = None):
        self.exercise, self.target, self.prints = exercise, target, prints
        self.budget = Budget(exercise.seconds)

    def open(self, exercise: Exercise, seed: int) -> Subject:
        """The live function as a subject. Raises NotYet when there is none."""
        if self.target is None:
            raise NotYet(exercise.id)
        return local(self.target, seed, self.budget, self.prints)

    def reason(self, exercise: Exercise, error: BaseException | None) -> str:
        """One line about how the answer stands in the notebook, or ""."""
        called = getattr(error, "exercise", exercise.id) if isinstance(error, NotYet) else exercise.id
        return unwritten(called) if called != exercise.id else history.reason(exercise)

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


class Prints:
    """Where a student's prints go while a check runs: the first lines to the cell, of the rest the number."""

    LINES = 12

    def __init__(self, stream: Any):
        self.stream, self.lines = stream, 0

    def write(self, text: str) -> int:
        """Pass text on, up to the limit."""
        if self.lines < self.LINES:
            self.stream.write(text)
        self.lines += text.count("\n")
        return len(text)

    def flush(self) -> None:
        """As a stream does."""
        self.stream.flush()

    def finish(self) -> None:
        """Say how many lines were left out."""
        if self.lines > self.LINES:
            print(f"... and {self.lines - self.LINES} more lines printed while the check ran", file=self.stream)


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Set torch's global settings aside, as in a fresh process: gradients on, float32, the CPU."""
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    with torch.enable_grad():
        torch.set_default_dtype(torch.float32)
        torch.set_default_device("cpu")
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_default_device(device)


def likely_of(records: Iterable[Record]) -> str:
    """The mistake that a check named, or "" where it named none."""
    lines = [line for record in records for line in record.message.splitlines()]
    return next((line.removeprefix(LIKELY) for line in lines if line.startswith(LIKELY)), "")


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
        print("\n".join([next(r.message for r in outcome.records if r.status == "not yet"), *outcome.notes]))
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


def _remember(exercise: Exercise, **facts: Any) -> None:
    kept = _progress()
    kept[exercise.id] = kept.get(exercise.id, {}) | facts
    with contextlib.suppress(OSError):  # a read-only folder forgets, and that is all
        PROGRESS.write_text(json.dumps(kept, indent=1, sort_keys=True), encoding="utf-8")


def _so_far(exercise: Exercise, folder: Path) -> tuple[float, float]:
    kept, mates = _progress(), of_notebook(exercise.word, folder)
    total = sum(test.points for mate in mates for test in checks_of(mate, folder))
    return sum(kept.get(mate.id, {}).get("earned", 0) for mate in mates), total
