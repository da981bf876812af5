"""What a student handed in: definitions found by name, whatever happened to the cells around them.

A notebook is read as text and never run. For an exercise, its last definition is taken with all it needs through its
free names: imports, functions, classes, assignments. Cell tags, order and metadata mean nothing; a cell that cannot be
read costs only itself, and the student reads of it in one sentence.
"""

from __future__ import annotations
import __future__

import ast
import bisect
import builtins
import re
import symtable
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from cs348k_diffusion.grading.submissions.cells import SkipCell, parsed, parses, python_of
from cs348k_diffusion.grading.submissions.files import (
    MAX_CELLS,
    MAX_FILES,
    Unreadable,
    cells_of,
    newer_python,
    notebook_of,
    opened_hints,
    sources,
    tags,
)
from cs348k_diffusion.grading.tables import readable

EXERCISE = re.compile(r"E\d+\.\d+")
SECTION = re.compile(rf"^#+\W*({EXERCISE.pattern})\b", re.MULTILINE)  # a heading such as "## E2.2 Jump to t (2 points)"
COMPREHENSIONS = ("listcomp", "setcomp", "dictcomp", "genexpr")
Place = tuple[int, int]  # cell, statement
END: Place = (1 << 62, 0)
FEW = 20  # cells and files that are named when they could not be read; of the others, the number


@dataclass(frozen=True)
class Definition:
    """One top-level statement that binds names: where it stands, what it binds, reads at once, and reads later."""

    cell: int
    index: int
    binds: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]
    adds: bool = False  # changes what a name stands for (`x += 1`, `Block.forward = f`) rather than replacing it
    stub: bool = False  # does nothing but raise NotYet

    @property
    def place(self) -> Place:
        """Where it stands in the notebook."""
        return self.cell, self.index


@dataclass(frozen=True)
class Part:
    """One file of a submission: its name, its last cell's number, and when it was last changed."""

    name: str
    last: int
    changed: float = 0.0


class Needs(NamedTuple):
    """What a name needs: for each cell the indices of its statements, and every name that they read."""

    statements: list[tuple[int, list[int]]]
    read: list[str]


@dataclass
class Submission:
    """The readable cells of one student's notebooks, and what could not be read."""

    cells: list[tuple[int, str]]  # (number of the cell, Python text)
    notes: list[str] = field(default_factory=list)
    markdown: list[tuple[list[str], str]] = field(default_factory=list)  # (tags, text) of the markdown cells
    hints: dict[str, int] = field(default_factory=dict)  # how many were opened, as far as stored outputs show
    parts: list[Part] = field(default_factory=list)
    chosen: dict[str, int] = field(default_factory=dict)  # the part that counts for a name in several
    broken: list[tuple[int, str, int, str]] = field(default_factory=list)  # (cell, text, line, problem) of no Python

    @cached_property
    def trees(self) -> dict[int, ast.Module]:
        """The cells that parse, by number."""
        return {number: parsed(text) for number, text in self.cells if parses(text)}

    @cached_property
    def definitions(self) -> list[Definition]:
        """Every definition, in the order of the cells."""
        return [found for number, tree in self.trees.items() for found in _definitions(number, tree)]

    @cached_property
    def _by_name(self) -> dict[str, list[Definition]]:
        found: dict[str, list[Definition]] = {}
        for definition in self.definitions:
            for name in definition.binds:
                found.setdefault(name, []).append(definition)
        return found

    def has(self, name: str) -> bool:
        """Whether the name is defined anywhere."""
        return name in self._by_name

    def choose(self, names: Iterable[str]) -> None:
        """Settle which file counts for each name that several define, and say so in the notes.

        One that is not the hand-out's stub comes first, then the newest file.
        """
        for name in names:
            own: dict[int, bool] = {}
            for definition in self._by_name.get(name, []):
                part = self._part(definition.cell)
                own[part] = not definition.stub  # the last one in each file
            if len(own) > 1:
                self.chosen[name] = best = max(own, key=lambda i: (own[i], self.parts[i].changed, i))
                others = ", ".join(readable(self.parts[i].name) for i in own if i != best)
                self.notes.append(f"{name}: {readable(self.parts[best].name)} counted; {others} defines it, too.")

    def _part(self, cell: int) -> int:
        return bisect.bisect_left([part.last for part in self.parts], cell)

    def needed(self, name: str) -> list[tuple[int, str, list[int]]]:
        """The statements that a name needs, in order: (cell number, its text, indices of its statements)."""
        texts = dict(self.cells)
        return [(number, texts[number], indices) for number, indices in self.needs(name).statements]

    def needs(self, name: str) -> Needs:
        """What a name needs, as plain values."""
        statements: dict[int, list[int]] = {}
        chosen = sorted(self.closure(name), key=lambda each: each.place)
        for definition in chosen:
            statements.setdefault(definition.cell, []).append(definition.index)
        read = {read for definition in chosen for read in definition.now | definition.later}
        return Needs(list(statements.items()), sorted(read))

    def flags(self) -> int:
        """Compiler flags of the notebook's own `from __future__` imports."""
        trees = [parsed(text) for _, text in self.cells if "__future__" in text and parses(text)]
        imported = [
            alias.name
            for tree in trees
            for statement in tree.body
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
            for alias in statement.names
        ]
        known = [getattr(__future__, name) for name in imported if name in __future__.all_feature_names]
        return sum({feature.compiler_flag for feature in known})

    def closure(self, name: str) -> set[Definition]:
        """Every definition that a name needs."""
        chosen: dict[Place, Definition] = {}
        waiting: list[tuple[str, Place]] = [(name, END)]
        done: set[tuple[str, Place]] = set()
        part = self.chosen.get(name)
        while waiting:
            asked = waiting.pop()
            if asked in done:
                continue
            done.add(asked)
            for definition in self._binding(*asked, part):
                place = definition.place
                if place not in chosen:
                    chosen[place] = definition
                    waiting += [(need, place) for need in definition.now]
                waiting += [(need, asked[1]) for need in definition.later]
        return set(chosen.values())

    def _binding(self, name: str, before: Place, part: int | None) -> list[Definition]:
        """What a name stands for at a place: its last definition before it, or any, with what is added to that.

        part: the file that counts, whose own definitions come first.
        """
        every = self._by_name.get(name, [])
        if part is not None:
            every = [each for each in every if self._part(each.cell) == part] or every
        found = every[: bisect.bisect_left(every, before, key=lambda each: each.place)] or every
        if not found and not hasattr(builtins, name):
            return self._by_name.get("*", [])
        last = next((i for i in range(len(found) - 1, 0, -1) if not found[i].adds), 0)
        return found[last:]


def _is_stub(statement: ast.stmt) -> bool:
    """Whether a definition does nothing but raise NotYet, or is a class with such a method."""
    if isinstance(statement, ast.ClassDef):
        return any(_is_stub(each) for each in statement.body if isinstance(each, ast.FunctionDef))
    if not isinstance(statement, ast.FunctionDef) or not isinstance(statement.body[-1], ast.Raise):
        return False
    raised = ast.unparse(statement.body[-1])
    return "NotYet" in raised


def read(paths: Iterable[Path]) -> Submission:
    """One student's notebooks as one submission. Raises Unreadable when none of them can be read."""
    made, unread, paths = Submission([]), [], list(paths)
    if len(paths) > MAX_FILES:
        made.notes.append(f"There are {len(paths)} files; the first {MAX_FILES} were read.")
    for path in paths[:MAX_FILES]:
        try:
            _add(made, path)
        except Unreadable as error:
            unread.append(f"The file {readable(path.name)} {error}.")
    if not made.parts:
        raise Unreadable(" ".join(_first(unread, "files were not read")) or "There is no notebook.")
    made.notes += _first(unread, "files were not read")
    return made


def _first(sentences: list[str], what: str) -> list[str]:
    """The first of many sentences, and how many more there are."""
    more = len(sentences) - FEW
    return sentences if more <= 0 else [*sentences[:FEW], f"{more} more {what}."]


def _add(made: Submission, path: Path) -> None:
    notebook = notebook_of(path)
    code = list(sources(notebook, "code"))
    start = made.parts[-1].last if made.parts else 0
    made.parts.append(Part(path.name, start + len(code), path.lstat().st_mtime))
    made.markdown += [(tags(cell), text) for cell, text in sources(notebook, "markdown")]
    made.hints |= opened_hints(cell for cell, _ in code)
    newer, places, skipped = newer_python(notebook), _places(notebook, path), []
    for number, (_, text) in enumerate(code, start=start + 1):
        called = places[number - start - 1]
        try:
            python = python_of(text)
            parsed(python)
            made.cells.append((number, python))
        except SkipCell as why:
            skipped.append(f"{called} {why} and was skipped.")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, SyntaxError):
                empty = len(text) - len(text.lstrip("\n"))  # first lines, which python_of drops
                made.broken.append((number, text, (error.lineno or 1) + empty, f"{error.msg}{newer}"))
            place = f" (line {error.lineno}: {error.msg}{newer})" if isinstance(error, SyntaxError) else ""
            skipped.append(f"{called} is not valid Python{place} and was skipped.")
    made.notes += _first(skipped, f"cells of {readable(path.name)} were skipped")
    if len(cells_of(notebook)) > MAX_CELLS:
        made.notes.append(f"The file {readable(path.name)} has more than {MAX_CELLS} cells; the rest was not read.")


def _places(notebook: dict, path: Path) -> list[str]:
    """What each code cell is called: its number, its file, and the exercise that it is tagged with or stands under."""
    found, under = [], ""
    for cell, text in sources(notebook, "code", "markdown"):
        code = cell.get("cell_type") == "code"
        named = [tag for tag in tags(cell) if EXERCISE.fullmatch(tag)] or ([] if code else SECTION.findall(text))
        under = named[-1] if named else under
        if code:
            found.append(f"Cell {len(found) + 1} of {readable(path.name)}" + (f", under {under}," if under else ""))
    return found


def _definitions(cell: int, tree: ast.Module) -> Iterator[Definition]:
    for index, statement in enumerate(tree.body):
        binds, adds = _binds(statement)
        if binds:
            try:
                now, later = _reads(statement)
                yield Definition(
                    cell, index, frozenset(binds), frozenset(now), frozenset(later), adds, _is_stub(statement)
                )
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue


def _binds(statement: ast.stmt) -> tuple[set[str], bool]:
    """The names a statement binds or adds to; loops and bare expressions bind nothing, since they are not run."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}, False
        case ast.Import(names=aliases):
            deeper = any("." in alias.name and not alias.asname for alias in aliases)  # `import a.b` adds b to a
            return {alias.asname or alias.name.partition(".")[0] for alias in aliases}, deeper
        case ast.ImportFrom(module="__future__"):
            return set(), False
        case ast.ImportFrom(names=aliases):
            return {alias.asname or alias.name for alias in aliases}, False
        case ast.Assign(targets=targets):
            roots = [_root(target) for target in targets]
            return {name for names, _ in roots for name in names}, any(adds for _, adds in roots)
        case ast.AnnAssign(target=target, value=value) if value is not None:
            return _root(target)
        case ast.AugAssign(target=target):
            return _root(target)[0], True
        case ast.If() | ast.Try() | ast.With():
            inner = [_binds(each) for each in ast.iter_child_nodes(statement) if isinstance(each, ast.stmt)]
            inner += [_binds(each) for handler in getattr(statement, "handlers", []) for each in handler.body]
            return {name for names, _ in inner for name in names}, any(adds for _, adds in inner)
    return set(), False


def _root(target: ast.expr) -> tuple[set[str], bool]:
    if isinstance(target, ast.Name):
        return {target.id}, False
    if isinstance(target, ast.Tuple | ast.List):
        return {name for each in target.elts for name in _root(each)[0]}, False
    if isinstance(target, ast.Starred):
        return _root(target.value)
    while isinstance(target, ast.Attribute | ast.Subscript):
        target = target.value
    return ({target.id}, True) if isinstance(target, ast.Name) else (set(), False)


def _reads(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The global names that a statement reads when it runs, and those its functions read when they are called."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = symtable.symtable(ast.unparse(statement), "<cell>", "exec")
    now: set[str] = set()
    later: set[str] = set()
    _sort_names(table, now, later, top=True)
    return now, later


def _sort_names(table: symtable.SymbolTable, now: set[str], later: set[str], top: bool = False) -> None:
    symbols = [each for each in table.get_symbols() if each.is_referenced() or each.is_declared_global()]
    now |= {each.get_name() for each in symbols if top or each.is_global()}  # `global n; n += 1` refers to n, too
    for inner in table.get_children():
        at_once = inner.get_type() != "function" or inner.get_name() in COMPREHENSIONS
        _sort_names(inner, now if at_once else later, later)
