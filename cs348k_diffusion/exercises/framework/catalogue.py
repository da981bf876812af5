"""Which exercises there are, read from the text of the check modules without importing them.

Reading keeps the list cheap, and leaves the import to pytest, which rewrites asserts only in modules that it
imports itself. An id is one string everywhere: "E3.2" is exercise 2 of notebook 03.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1]


@dataclass(frozen=True)
class Exercise:
    """One exercise: the name a student defines, and what the checks, hints and workers need to know about it.

    hints: a question, the idea, the next step; withheld: names of the package ("schedule.cosine") that its worker must
    not call; ours: the package's own answer, handed out by `mine_or_ours`; seconds: CPU seconds a worker gets; word:
    the notebook's name without its number, filled in by the registry.
    too_long: what is said where an answer runs out of time.
    gives: what comes back, named ("alpha: tensor, sigma: tensor"; see `forms`); draws: whether an answer may draw
    random numbers of its own; changes: arguments that an answer is meant to change.
    """

    id: str
    name: str
    title: str
    hints: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    stars: int = 0
    ours: str = ""
    seconds: int = 10
    word: str = ""
    gives: str = ""
    draws: bool = False
    changes: tuple[str, ...] = ()
    too_long: str = ""


@dataclass(frozen=True)
class Check:
    """One test of an exercise, as its decorator declares it."""

    exercise: str
    test: str
    points: int | float


@dataclass(frozen=True)
class FreeText:
    """A question that is answered in prose: a person reads the answer and gives up to `points` for it."""

    id: str
    title: str
    points: int | float
    word: str = ""


def registry(folder: Path = FOLDER) -> dict[str, Exercise]:
    """Every exercise of a folder of check modules, by id, in the order of the course. ValueError for one used twice."""
    return dict(_registry(_files(folder)))


def free_texts(folder: Path = FOLDER) -> dict[str, FreeText]:
    """Every question for prose, by id, in the order of the course: the `TEXTS` of the check modules."""
    return dict(_free_texts(_files(folder)))


def in_course_order(ids: Iterable[str]) -> list[str]:
    """Ids by their numbers: E2.10 after E2.9, E10.1 after both."""
    return sorted(ids, key=lambda id: [int(number) for number in re.findall(r"\d+", id)])


def _files(folder: Path) -> tuple[tuple[Path, int], ...]:
    return tuple((file, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.py")))


def checks_of(exercise: Exercise, folder: Path = FOLDER) -> list[Check]:
    """The tests of one exercise, in the order of the file."""
    return [check for check in checks_in(folder / f"{exercise.word}.py") if check.exercise == exercise.id]


def checks_in(file: Path) -> tuple[Check, ...]:
    """Every test of a check module, in order, read from its text."""
    return _checks(file, file.stat().st_mtime_ns)


def of_notebook(word: str, folder: Path = FOLDER) -> list[Exercise]:
    """The exercises of one notebook ("forward_noising" or "02_forward_noising"), in order."""
    word = word.lstrip("0123456789_")
    return [exercise for exercise in registry(folder).values() if exercise.word == word]


def find(what: str | Callable, folder: Path = FOLDER) -> Exercise:
    """The exercise that an id, a name or a student's function belongs to. LookupError names the nearest ones."""
    known = registry(folder)
    key = what if isinstance(what, str) else getattr(what, "__name__", type(what).__name__)
    for exercise in known.values():
        if key in (exercise.id, exercise.name):
            return exercise
    names = [name for exercise in known.values() for name in (exercise.id, exercise.name)]
    near = difflib.get_close_matches(key, names, 2, 0.5) or [exercise.name for exercise in known.values()][:3]
    raise LookupError(f"no exercise is called {key!r}; did you mean {' or '.join(near) or 'another notebook'}?")


@functools.lru_cache(maxsize=8)
def _registry(files: tuple[tuple[Path, int], ...]) -> dict[str, Exercise]:
    known: dict[str, Exercise] = {}
    for file, _ in files:
        for exercise in _declared(file):
            if exercise.id in known or any(exercise.name == other.name for other in known.values()):
                raise ValueError(f"{file.name}: {exercise.id} {exercise.name!r} is used twice; both must be unique")
            known[exercise.id] = exercise
    return {id: known[id] for id in in_course_order(known)}


@functools.lru_cache(maxsize=8)
def _free_texts(files: tuple[tuple[Path, int], ...]) -> dict[str, FreeText]:
    known: dict[str, FreeText] = {}
    for text in [text for file, _ in files for text in _declared(file, "TEXTS", FreeText)]:
        if text.id in known or text.id in _registry(files):
            raise ValueError(f"{text.word}.py: {text.id} is used twice; an id must be unique")
        known[text.id] = text
    return {id: known[id] for id in in_course_order(known)}


def _declared(file: Path, name: str = "EXERCISES", kind: type = Exercise) -> list[Any]:
    for statement in ast.parse(file.read_text(encoding="utf-8"), str(file)).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return [
                    replace(kind(*args, **named), word=file.stem) for args, named in _literals(statement.value, file)
                ]
    return []


def _literals(listed: ast.expr, file: Path) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    for call in getattr(listed, "elts", [None]):
        yield _literal(call, file)


def _literal(call: ast.expr | None, file: Path) -> tuple[list[Any], dict[str, Any]]:
    if not isinstance(call, ast.Call):
        raise ValueError(f"{file.name}: EXERCISES must be a tuple of Exercise(...) calls, TEXTS of FreeText(...) calls")
    try:
        args = [ast.literal_eval(argument) for argument in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    except ValueError as error:
        place = f"{file.name}, line {call.lineno}"
        raise ValueError(f"{place}: Exercise(...) takes literals, it is read as text") from error
    return args, named


@functools.lru_cache(maxsize=64)
def _checks(file: Path, _modified: int) -> tuple[Check, ...]:
    tests = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    marks = [(test, mark) for test in tests for mark in test.decorator_list if _is_exercise_mark(mark)]
    return tuple(_check(test.name, mark) for test, mark in marks)


def _is_exercise_mark(mark: ast.expr) -> bool:
    return isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "exercise"


def _check(test: str, mark: ast.expr) -> Check:
    assert isinstance(mark, ast.Call)
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in mark.keywords if keyword.arg == "points"}
    return Check(ast.literal_eval(mark.args[0]), test, named.get("points", 1))
