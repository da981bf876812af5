"""Answers that are alike after renaming: places to look, never a verdict.

What counts is the stream of tokens once comments, docstrings, annotations and the choice of names are gone. `grade`
flags an answer that equals the package's own; `similar` lists pairs of students whose answers are nearly equal, leaving
out the starting code, short answers, the course's own and those that many have: a formula written down twice proves
nothing. `side_by_side` shows the texts.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import io
import itertools
import tokenize
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.exercises.framework.catalogue import FOLDER, Exercise, registry
from cs348k_diffusion.grading.submissions import limited, notebook
from cs348k_diffusion.grading.submissions.files import Unreadable
from cs348k_diffusion.grading.submissions.notebook import Submission
from cs348k_diffusion.grading.submissions.source import handed_in
from cs348k_diffusion.grading.tables import write_table
from cs348k_diffusion.grading.workers import withheld

COURSE = Path(__file__).parents[3]  # of a checkout: notebooks/ has the starting code, solutions/ right answers
SHORT = 60  # tokens; a shorter answer is alike by chance
COMMON = 0.1  # an answer that a larger share of the class has word for word says nothing (nor do 3 in a small class)
EXTRA = "the similarity report needs rapidfuzz: install the course with its extra, cs348k_diffusion[similarity]"
LAYOUT = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT, tokenize.ENDMARKER}
Tokens = tuple[str, ...]
Definition = ast.FunctionDef | ast.ClassDef


class Answer(NamedTuple):
    """An answer less its starting code, as tokens, and its text as it was handed in."""

    tokens: Tokens
    text: str


class Pair(NamedTuple):
    """Two students, and how alike their answers are by exercise, from 0 to 1; texts: both answers by exercise."""

    one: str
    other: str
    alike: dict[str, float]
    tokens: int  # of all these answers together
    texts: dict[str, tuple[str, str]]


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


def written(read: Submission, exercise: Exercise, others: Iterable[str]) -> list[tuple[Definition, str]]:
    """A student's definitions for an exercise with their text: its own and helpers, but not `others` (exercises)."""
    left_out = {*others} - {exercise.name}
    found = []
    for cell, text, indices in read.needed(exercise.name):
        for statement in [read.trees[cell].body[index] for index in indices]:
            if isinstance(statement, Definition) and statement.name not in left_out:
                found.append((statement, ast.get_source_segment(text, statement) or ""))
    return found


def without(statement: Definition, start: Definition | None) -> Definition:
    """A definition less the statements that the starting code of the same name has, down to methods."""
    if start is None:
        return statement
    given = {ast.dump(each) for each in start.body}
    inner = {each.name: each for each in start.body if isinstance(each, Definition)}
    kept = [each for each in statement.body if ast.dump(each) not in given]
    made = copy.copy(statement)
    made.body = [without(each, inner.get(each.name)) if isinstance(each, Definition) else each for each in kept]
    made.body = made.body or [ast.Pass()]
    return made


def answer_of(read: Submission, exercise: Exercise, others: Iterable[str], start: Mapping[str, Definition]) -> Answer:
    """A submission's whole answer to an exercise."""
    parts = written(read, exercise, others)
    streams = sorted([tokens_of(without(each, start.get(each.name))) for each, _ in parts], key=len)  # in any order
    return Answer(tuple(itertools.chain(*streams)), "\n\n".join(text for _, text in parts))


def copies(read: Submission, exercises: Mapping[str, Exercise]) -> list[str]:
    """A sentence for each exercise that is answered with the package's own text, after renaming."""
    names, said = [exercise.name for exercise in exercises.values()], []
    for exercise in exercises.values():
        ours = {
            name: tokens for name in (exercise.ours, *exercise.withheld) if name for tokens in [_ours(name)] if tokens
        }
        theirs = [tokens_of(each) for each, _ in written(read, exercise, names)] if ours else []
        same = [name for name, tokens in ours.items() if tokens in theirs]
        said += [f"{exercise.id} is the package's {same[0]} after renaming: worth a look, no proof."] if same else []
    return said


@functools.cache
def _ours(name: str) -> Tokens | None:
    """The tokens of the package's "forward.noise_once"; None for what is not a definition, or too short to tell."""
    module, _, name = name.rpartition(".")
    path = withheld.ROOT / f"{module.replace('.', '/')}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else []
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
            tokens = tokens_of(statement)
            return tokens if len(tokens) >= SHORT else None
    return None


def similar(folder: Path, threshold: float = 0.9, checks: Path = FOLDER, course: Path = COURSE) -> list[Pair]:
    """Pairs of students in a folder of submissions whose answers are alike, the largest first.

    threshold: from 0 (nothing in common) to 1 (the same tokens); course: a folder with `notebooks` and `solutions`,
    whose code is taken out, as far as they are there. Raises RuntimeError without rapidfuzz.
    """
    try:
        from rapidfuzz.distance import Indel
    except ImportError as error:
        raise RuntimeError(EXTRA) from error
    pairs: dict[tuple[str, str], Pair] = {}
    start, words = _starting(course / "notebooks"), {exercise.word for exercise in registry(checks).values()}
    right = _by_exercise({path.stem: [path] for path in (course / "solutions").glob("*.ipynb")}, checks, start)
    for id, answers in _by_exercise(handed_in(folder, words), checks, start).items():
        known = {answer.tokens for answer in right[id].values()}
        for (one, mine), (other, theirs) in itertools.combinations(_telling(answers, known).items(), 2):
            score = Indel.normalized_similarity(mine.tokens, theirs.tokens, score_cutoff=threshold)
            if score >= threshold:
                pair = pairs.get((one, other), Pair(one, other, {}, 0, {}))
                alike, texts = pair.alike | {id: score}, pair.texts | {id: (mine.text, theirs.text)}
                pairs[one, other] = Pair(one, other, alike, pair.tokens + len(mine.tokens), texts)
    return sorted(pairs.values(), key=lambda pair: (-pair.tokens, pair.one, pair.other))


def _starting(folder: Path) -> dict[str, Definition]:
    """What the hand-outs in a folder define, by name; {} without them."""
    trees = [tree for path in sorted(folder.glob("*.ipynb")) for tree in notebook.read([path]).trees.values()]
    return {each.name: each for tree in trees for each in tree.body if isinstance(each, Definition)}


def _by_exercise(
    students: Mapping[str, list[Path]], checks: Path, start: Mapping[str, Definition]
) -> dict[str, dict[str, Answer]]:
    """Every student's answer to every exercise."""
    exercises = registry(checks).values()
    names, found = [exercise.name for exercise in exercises], {exercise.id: {} for exercise in exercises}
    for student, paths in students.items():
        with contextlib.suppress(Unreadable):
            answers = limited.limited_call(lambda paths=paths: _answers(paths, exercises, names, start))
            for id, (tokens, text) in answers.items():
                found[id][student] = Answer(tuple(tokens), text)
    return found


def _answers(
    paths: list[Path], exercises: Iterable[Exercise], names: list[str], start: Mapping[str, Definition]
) -> dict[str, Answer]:
    read = notebook.read(paths)
    return {exercise.id: answer_of(read, exercise, names, start) for exercise in exercises}


def _telling(answers: Mapping[str, Answer], known: Collection[Tokens]) -> dict[str, Answer]:
    """Answers long enough, and rare enough, to say something; `known` ones are the course's."""
    times, most = Counter(answer.tokens for answer in answers.values()), max(3, COMMON * len(answers))
    return {
        who: answer
        for who, answer in answers.items()
        if len(answer.tokens) >= SHORT and times[answer.tokens] <= most and answer.tokens not in known
    }


def write_pairs(pairs: Iterable[Pair], path: Path) -> None:
    """One row a pair."""
    rows = [
        (pair.one, pair.other, pair.tokens, " ".join(f"{id} {score:.2f}" for id, score in pair.alike.items()))
        for pair in pairs
    ]
    write_table(path, ["student", "other", "tokens", "alike"], rows)
