"""What is graded: the exercises, the check modules with their tests, and what workers must not see."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise, FreeText, checks_in, free_texts, registry
from cs348k_diffusion.grading.gradebook.book import Scope
from cs348k_diffusion.grading.submissions.files import Unreadable, plain_bytes
from cs348k_diffusion.grading.tables import write_whole

Todo = list[tuple[str, list[Path]]]  # students and their notebooks


@dataclass(frozen=True)
class Plan:
    """What is graded: exercises, the check modules that hold their tests, and what workers must not see."""

    exercises: dict[str, Exercise]
    files: tuple[Path, ...]
    public: Path = FOLDER
    hidden: tuple[str, ...] = ()
    address: str = ""  # of the main process's fork server
    key: str = ""  # salts the inputs of checks, so that a table of those in the notebook passes nothing

    @property
    def expected(self) -> list[tuple[str, str, float]]:
        """Every test that must leave a record: exercise, test, points."""
        checks = [check for file in self.files for check in checks_in(file) if check.exercise in self.exercises]
        return [(check.exercise, check.test, check.points) for check in checks]

    @property
    def texts(self) -> dict[str, FreeText]:
        """The free-text questions in the notebooks that are graded."""
        words = {file.stem for file in self.files if file.parent == self.public}
        return {id: text for id, text in free_texts(self.public).items() if text.word in words}

    @property
    def scope(self) -> Scope:
        """What the gradebook needs to know of it."""
        known, texts = registry(self.public), free_texts(self.public)
        files = {*self.files, *(self.public / f"{exercise.word}.py" for exercise in known.values())}
        worth: dict[str, float] = dict.fromkeys(known, 0.0) | {id: text.points for id, text in texts.items()}
        for check in [check for file in files for check in checks_in(file) if check.exercise in known]:
            worth[check.exercise] += check.points
        return Scope(self.exercises, self.texts, self.expected, known, worth)

    @property
    def ours(self) -> dict[str, str]:
        """Exercise names and the package's answers to them."""
        known = registry(self.public).values()
        return {exercise.name: exercise.ours for exercise in known if exercise.ours}

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs in another process on the same disk."""
        files = [str(file) for file in self.files]
        return {"exercises": list(self.exercises), "files": files, "public": str(self.public),
                "hidden": self.hidden, "address": self.address, "key": self.key}  # fmt: skip

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Plan:
        """The plan that another process wrote with `to_json`."""
        public, files = Path(facts["public"]), tuple(map(Path, facts["files"]))
        exercises = {id: exercise for id, exercise in registry(public).items() if id in facts["exercises"]}
        return cls(exercises, files, public, tuple(facts["hidden"]), facts["address"], facts["key"])


def plan_for(
    students: dict[str, list[Path]],
    only: Sequence[str],
    checks: Path,
    held_back: Path | None,
    hidden: tuple[str, ...],
) -> Plan:
    """The exercises asked for, or else those of every notebook that was handed in.

    held_back: a folder of the instructor's own check modules, which is hidden, too. LookupError for an unknown `only`.
    """
    known, asked = registry(checks), {**registry(checks), **free_texts(checks)}
    if unknown := [each for each in only if each not in asked and each not in {e.word for e in asked.values()}]:
        raise LookupError(f"no exercise or notebook is called {', '.join(unknown)}; there are {', '.join(asked)}")
    words = {each.word for each in asked.values() if each.id in only or each.word in only}
    words = words or _words_in(students, known.values()) or {exercise.word for exercise in known.values()}
    chosen = {e.id: e for e in known.values() if e.word in words and (not only or e.id in only or e.word in only)}
    files = [checks / f"{word}.py" for word in sorted(words)]
    files += sorted(held_back.glob("*.py")) if held_back else []
    hidden = (*hidden, str(held_back.resolve())) if held_back else hidden
    return Plan(chosen, tuple(files), checks, hidden)


def _words_in(students: dict[str, list[Path]], exercises: Iterable[Exercise]) -> set[str]:
    word_of = {exercise.name: exercise.word for exercise in exercises}
    found: set[str] = set()
    for path in (path for paths in students.values() for path in paths):
        names = re.findall(rb"(?:def|class) ([A-Za-z0-9_]+)", _bytes(path))
        found |= {word_of[name] for name in map(bytes.decode, set(names)) if name in word_of}
    return found


def key_of(out: Path) -> str:
    """The key of a folder of marks, made when it is first graded: the same key gives the same marks."""
    file = out / ".key"
    if not file.exists():
        write_whole(file, secrets.token_hex(16))
    return file.read_text(encoding="utf-8").strip()


def digest(paths: Iterable[Path], plan: Plan) -> str:
    """Changes when a student's files, the exercises asked for or the checks change."""
    parts = hashlib.sha256(json.dumps([plan.key, *sorted(plan.exercises)]).encode())
    for path in (*plan.files, *paths):
        parts.update(str(path.name).encode("utf-8", "backslashreplace"))
        parts.update(hashlib.sha256(_bytes(path)).digest())
    return parts.hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return plain_bytes(path)
    except Unreadable:
        return b""
