"""Answers that are alike after renaming: places to look, never a verdict.

What counts is the stream of tokens once comments, docstrings, annotations and the choice of names are gone. `grade`
flags an answer that equals the package's own; `similar` lists pairs of students whose answers are nearly equal, leaving
out short answers and those that many have: a formula written down twice proves nothing.
"""

from __future__ import annotations

import ast
import functools
import io
import itertools
import tokenize
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise, registry
from cs348k_diffusion.grading.submissions import notebook
from cs348k_diffusion.grading.submissions.files import Unreadable
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.submissions.source import handed_in
from cs348k_diffusion.grading.tables import write_table
from cs348k_diffusion.grading.workers import withheld

SHORT = 60  # tokens; a shorter answer is alike by chance
COMMON = 0.1  # an answer that a larger share of the class has word for word says nothing (nor do 3 in a small class)
EXTRA = "the similarity report needs rapidfuzz: install the course with its extra, cs348k_diffusion[similarity]"
LAYOUT = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}
Tokens = tuple[str, ...]


class Pair(NamedTuple):
    """Two students, and how alike their answers are by exercise, from 0 to 1."""

    one: str
    other: str
    alike: dict[str, float]
    tokens: int  # of all these answers together


def tokens_of(statement: ast.stmt) -> Tokens:
    """The tokens of a definition, its names replaced by v0, v1, ... in the order in which they first occur.

    None at all where Python itself cannot write the definition down again.
    """
    try:
        plain = ast.fix_missing_locations(_Plain().visit(ast.parse(ast.unparse(statement))))
        lines = io.StringIO(ast.unparse(plain)).readline
        return tuple(token.string for token in tokenize.generate_tokens(lines) if token.type not in LAYOUT)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return ()


class _Plain(ast.NodeTransformer):
    """Takes out docstrings and annotations, and renames."""

    def __init__(self):
        self.names: dict[str, str] = {}

    def _new(self, name: str) -> str:
        return self.names.setdefault(name, f"v{len(self.names)}")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Name(self._new(node.id), node.ctx), node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.copy_location(ast.arg(self._new(node.arg)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name, node.returns, node.body = self._new(node.name), None, _without_docstring(node.body)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.name, node.body = self._new(node.name), _without_docstring(node.body)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return (body[1:] or [ast.Pass()]) if text else body


def written(read: Submission, exercise: Exercise, others: Iterable[str]) -> list[Tokens]:
    """A student's definitions for an exercise, each as tokens: its own and helpers, but not `others` (exercises)."""
    left_out = {*others} - {exercise.name}
    found = []
    for cell, _, indices in read.needed(exercise.name):
        for statement in [read.trees[cell].body[index] for index in indices]:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name not in left_out:
                found.append(tokens_of(statement))
    return found


def copies(read: Submission, exercises: Mapping[str, Exercise]) -> list[str]:
    """A sentence for each exercise that is answered with the package's own text, after renaming."""
    names, said = [exercise.name for exercise in exercises.values()], []
    for exercise in exercises.values():
        ours = {
            name: tokens for name in (exercise.ours, *exercise.withheld) if name for tokens in [_ours(name)] if tokens
        }
        same = [name for name, tokens in ours.items() if tokens in written(read, exercise, names)] if ours else []
        said += [f"{exercise.id} is the package's {same[0]} after renaming: worth a look, no proof."] if same else []
    return said


@functools.cache
def _ours(name: str) -> Tokens | None:
    """The tokens of the package's "forward.noise_once"; None for what is no definition, or too short to tell."""
    module, _, name = name.rpartition(".")
    path = withheld.ROOT / f"{module.replace('.', '/')}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else []
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            tokens = tokens_of(statement)
            return tokens if len(tokens) >= SHORT else None
    return None


def similar(folder: Path, threshold: float = 0.9, checks: Path = FOLDER) -> list[Pair]:
    """Pairs of students in a folder of submissions whose answers are alike, the largest first.

    threshold: from 0 (nothing in common) to 1 (the same tokens). Raises RuntimeError without rapidfuzz.
    """
    try:
        from rapidfuzz.distance import Indel
    except ImportError as error:
        raise RuntimeError(EXTRA) from error
    pairs: dict[tuple[str, str], Pair] = {}
    for id, answers in _by_exercise(folder, checks).items():
        for (one, mine), (other, theirs) in itertools.combinations(_telling(answers).items(), 2):
            score = Indel.normalized_similarity(mine, theirs, score_cutoff=threshold)
            if score >= threshold:
                pair = pairs.get((one, other), Pair(one, other, {}, 0))
                pairs[one, other] = Pair(one, other, pair.alike | {id: score}, pair.tokens + len(mine))
    return sorted(pairs.values(), key=lambda pair: (-pair.tokens, pair.one, pair.other))


def _by_exercise(folder: Path, checks: Path) -> dict[str, dict[str, Tokens]]:
    """Every student's answer to every exercise, as one stream of tokens."""
    exercises = registry(checks).values()
    names, found = [exercise.name for exercise in exercises], {exercise.id: {} for exercise in exercises}
    for student, paths in handed_in(folder, {exercise.word for exercise in exercises}).items():
        try:
            read = notebook.read(paths)
        except Unreadable:
            continue
        for exercise in exercises:
            parts = sorted(written(read, exercise, names), key=len)  # whichever came first
            found[exercise.id][student] = tuple(itertools.chain(*parts))
    return found


def _telling(answers: Mapping[str, Tokens]) -> dict[str, Tokens]:
    """Answers long enough, and rare enough, to say something."""
    times, most = Counter(answers.values()), max(3, COMMON * len(answers))
    return {who: tokens for who, tokens in answers.items() if len(tokens) >= SHORT and times[tokens] <= most}


def write_pairs(pairs: Iterable[Pair], path: Path) -> None:
    """One row a pair."""
    rows = [
        (pair.one, pair.other, pair.tokens, " ".join(f"{id} {score:.2f}" for id, score in pair.alike.items()))
        for pair in pairs
    ]
    write_table(path, ["student", "other", "tokens", "alike"], rows)
