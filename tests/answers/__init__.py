"""Second right answers and named wrong ones, one module per notebook, and how tests put answers before the checks.

RIGHT = {"E2.1": [f, g]}                      two right answers, written differently from each other and the notebook
WRONG = {"E2.1": {"the mistake": h, ...}}     at least four; a check must reject each with a message that names it
EQUIVALENT = {"E2.1": {"mutant": "why"}}      automatic mutants (tests/mutants.py) that are right all the same
"""

import ast
import functools
import importlib
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise
from cs348k_diffusion.exercises.framework.errors import NotYet
from cs348k_diffusion.exercises.framework.expecting import LIKELY
from cs348k_diffusion.grading.checks.plugin import Grader, run_checks
from cs348k_diffusion.grading.records import Record
from cs348k_diffusion.grading.subject.subject import Subject, local
from cs348k_diffusion.grading.submissions import notebook as submission

HERE = Path(__file__).parent
SOLUTIONS = Path(__file__).parents[2] / "solutions"


def answers(word: str) -> types.ModuleType:
    """The module of answers to one notebook."""
    return importlib.import_module(f"tests.answers.{word}")


def solution(word: str) -> Path:
    """The solution notebook of this word."""
    (path,) = SOLUTIONS.glob(f"[0-9][0-9]_{word}.ipynb")
    return path


class Reference(NamedTuple):
    """The notebook's own answer: what must run for it, and the definition itself."""

    name: str
    cells: list[tuple[int, str, list[int]]]
    node: Any


@functools.cache
def definition(exercise: Exercise) -> Reference:
    """The reference answer, found in the solution as a student's is found in theirs."""
    handed_in = submission.read([solution(exercise.word)])
    cells = handed_in.needed(exercise.name)
    statements = [ast.parse(text).body[index] for _, text, indices in cells for index in indices]
    (node,) = [n for n in statements if getattr(n, "name", None) == exercise.name]
    return Reference(exercise.name, cells, node)


def runs(reference: Reference, instead: ast.AST | None = None) -> Any:
    """The live function or class of a reference, or of a changed definition in its place."""
    space: dict[str, Any] = {"__name__": "answer"}
    for _, text, indices in reference.cells:
        body = ast.parse(text).body
        for index in indices:
            mine = getattr(body[index], "name", None) == reference.name
            statement = instead if mine and instead is not None else body[index]
            exec(compile(ast.Module([statement], []), "<answer>", "exec", dont_inherit=True), space)  # type: ignore[list-item]
    return space[reference.name]


class Given:
    """A source of live answers for the grader, as the notebook's kernel has them."""

    def __init__(self, student: str, answers: dict[str, Any]):
        self.student, self.answers = student, answers

    def open(self, exercise: Exercise, seed: int) -> Subject:
        if exercise.id not in self.answers:
            raise NotYet(exercise.id)
        return local(self.answers[exercise.id], seed)

    def close(self) -> None:
        """Nothing is held."""


def records_of(
    exercises: Iterable[Exercise], sources: list[Any], note: Callable[[Record], None] = lambda _: None, key: str = ""
) -> list[Record]:
    """What the checks of these exercises say about each source under a key; `note` hears of each record at once."""
    records: list[Record] = []

    def done(record: Record) -> None:
        records.append(record)
        note(record)

    exercises = list(exercises)
    grader = Grader(exercises, sources, done, key=key)
    shown = run_checks(sorted({FOLDER / f"{exercise.word}.py" for exercise in exercises}), grader)
    assert not grader.errors, grader.errors
    assert records, shown
    return records


def names_in(message: str) -> list[str]:
    """The mistakes that a message names, as a student reads them after "this is what you get when"."""
    return [line.removeprefix(LIKELY) for line in message.splitlines() if line.startswith(LIKELY)]


def verdicts(records: Iterable[Record]) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """(student, exercise, test) -> status, points and the mistakes that were named."""
    return {(r.student, r.exercise, r.test): (r.status, r.earned, names_in(r.message)) for r in records}
