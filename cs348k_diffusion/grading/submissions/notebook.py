"""What a student handed in: definitions found by name, whatever happened to the cells around them.

A notebook is read as text and never run. For an exercise, its last definition is taken with all it needs through its
free names: imports, functions, classes, assignments. Cell tags, order and metadata mean nothing; a cell that cannot be
read costs only itself, and is told to the student in one sentence.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import json
import re
import stat
import symtable
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

MAX_FILE, MAX_CELL, MAX_CELLS = 100 << 20, 200_000, 2_000
COMPREHENSIONS = ("listcomp", "setcomp", "dictcomp", "genexpr")
Place = tuple[int, int]  # cell, statement
END: Place = (1 << 62, 0)
HINT = re.compile(r"^(E\d{1,3}\.\d{1,3}), hint (\d{1,2}) of ", re.MULTILINE)  # what `hint` prints
HARMLESS = ("time", "capture", "prun", "timeit")  # cell magics whose body is ordinary code


class Unreadable(Exception):
    """A file that is no notebook; the message tells the student why."""


@dataclass(frozen=True)
class Definition:
    """One top-level statement that binds names: where it stands, what it binds, reads at once, and reads later."""

    cell: int
    index: int
    binds: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]
    adds: bool = False  # changes what a name stands for (`x += 1`, `Block.forward = f`) rather than replacing it

    @property
    def place(self) -> Place:
        """Where it stands in the notebook."""
        return self.cell, self.index


@dataclass
class Submission:
    """The readable cells of one student's notebooks, and what could not be read."""

    cells: list[tuple[int, str]]  # (number of the cell, Python text)
    notes: list[str] = field(default_factory=list)
    prose: list[tuple[list[str], str]] = field(default_factory=list)  # (tags, text) of the markdown cells
    hints: dict[str, int] = field(default_factory=dict)  # how many were opened, as far as stored outputs show

    @cached_property
    def trees(self) -> dict[int, ast.Module]:
        """The cells that parse, by number; one note for each that does not."""
        trees = {}
        for number, text in self.cells:
            try:
                trees[number] = _parsed(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                place = f" (line {error.lineno}: {error.msg})" if isinstance(error, SyntaxError) else ""
                self.notes.append(f"Cell {number} is not valid Python{place} and was skipped.")
        return trees

    @cached_property
    def definitions(self) -> list[Definition]:
        """Every definition, in the order of the cells."""
        return [found for number, tree in self.trees.items() for found in _definitions(number, tree)]

    def has(self, name: str) -> bool:
        """Whether the name is defined anywhere."""
        return any(name in definition.binds for definition in self.definitions)

    def needed(self, name: str) -> list[tuple[int, str, list[int]]]:
        """The statements that a name needs, in order: (cell number, its text, indices of its statements)."""
        texts, chosen = dict(self.cells), sorted(self._closure(name), key=lambda each: each.place)
        numbers = dict.fromkeys(definition.cell for definition in chosen)
        return [(n, texts[n], [each.index for each in chosen if each.cell == n]) for n in numbers]

    def read_by(self, name: str) -> set[str]:
        """Every name that the statements of `needed` read."""
        return {read for definition in self._closure(name) for read in definition.now | definition.later}

    def flags(self) -> int:
        """Compiler flags of the notebook's own `from __future__` imports."""
        imported = [
            alias.name
            for tree in self.trees.values()
            for statement in tree.body
            if isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
            for alias in statement.names
        ]
        known = [getattr(__future__, name) for name in imported if name in __future__.all_feature_names]
        return sum({feature.compiler_flag for feature in known})

    def _closure(self, name: str) -> set[Definition]:
        chosen: set[Definition] = set()
        waiting: list[tuple[str, Place]] = [(name, END)]
        done: set[tuple[str, Place]] = set()
        while waiting:
            asked = waiting.pop()
            if asked in done:
                continue
            done.add(asked)
            for definition in self._binding(*asked):
                chosen.add(definition)
                waiting += [(need, definition.place) for need in definition.now]
                waiting += [(need, asked[1]) for need in definition.later]
        return chosen

    def _binding(self, name: str, before: Place) -> list[Definition]:
        """What a name stands for at a place: its last definition before it, or any, with what is added to that."""
        every = [definition for definition in self.definitions if name in definition.binds]
        found = [definition for definition in every if definition.place < before] or every
        if not found and not hasattr(builtins, name):
            return [definition for definition in self.definitions if "*" in definition.binds]
        last = max((i for i, definition in enumerate(found) if not definition.adds), default=0)
        return found[last:]


def read(paths: Iterable[Path]) -> Submission:
    """One student's notebooks as one submission. Raises Unreadable when none of them can be read."""
    cells: list[tuple[int, str]] = []
    notes: list[str] = []
    unread: list[str] = []
    prose: list[tuple[list[str], str]] = []
    hints: dict[str, int] = {}
    paths = list(paths)
    for path in paths:
        try:
            notebook = _notebook(_text(path))
            found, said = _cells(notebook)
            prose += [(_tags(cell), text) for cell, text in _sources(notebook, "markdown")]
            hints |= _hints(cell for cell, _ in _sources(notebook, "code"))
        except Unreadable as error:
            unread.append(f"The file {path.name} {error}.")
            continue
        start = cells[-1][0] if cells else 0
        cells += [(start + number, text) for number, text in found]
        notes += said
    if len(unread) == len(paths):
        raise Unreadable(" ".join(unread) or "There is no notebook.")
    return Submission(cells, notes + unread, prose, hints)


def _cells(notebook: dict) -> tuple[list[tuple[int, str]], list[str]]:
    found, notes = [], []
    for number, (_, text) in enumerate(_sources(notebook, "code"), start=1):
        try:
            found.append((number, _python(text)))
        except _Skipped as why:
            notes.append(f"Cell {number} {why} and was skipped.")
    return found, notes


def plain_bytes(path: Path) -> bytes:
    """A plain file's bytes; looked at before it is opened, since opening a pipe would wait for ever."""
    try:
        facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise Unreadable("is not a plain file (a link, a folder or a pipe), so it was not opened")
        if facts.st_size > MAX_FILE:
            raise Unreadable(f"is larger than {MAX_FILE >> 20} MB")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from error


def _text(path: Path) -> str:
    data = plain_bytes(path)
    if not data.strip():
        raise Unreadable("is empty")
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Unreadable("is not text in a known encoding")


def _notebook(text: str) -> dict:
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        if re.search(r"^<{7} ", text, re.MULTILINE):
            raise Unreadable("holds the marks of a merge conflict (<<<<<<<) and is no valid notebook") from error
        raise Unreadable("is not a valid notebook file (its JSON is broken)") from error
    if not isinstance(notebook, dict):
        raise Unreadable("is valid JSON but not a notebook")
    return notebook


def _sources(notebook: dict, kind: str) -> Iterator[tuple[dict, str]]:
    """Every cell of a kind with its text, of formats 3 and 4."""
    sheets = notebook.get("worksheets")
    sheets = sheets if isinstance(sheets, list) else [notebook]
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    if not any(isinstance(cells, list) for cells in lists):
        raise Unreadable("is valid JSON but has no cells")
    cells = [cell for cells in lists if isinstance(cells, list) for cell in cells if isinstance(cell, dict)]
    for cell in cells[:MAX_CELLS]:
        if cell.get("cell_type") == kind:
            source: Any = cell.get("source", cell.get("input", ""))
            lines = source if isinstance(source, list) else [source]
            yield cell, "".join(line for line in lines if isinstance(line, str))


def _hints(cells: Iterable[dict]) -> dict[str, int]:
    """The last hint that `hint(...)` printed, by exercise."""
    opened: dict[str, int] = {}
    for cell in cells:
        outputs = cell.get("outputs")
        for output in outputs[:20] if isinstance(outputs, list) else ():
            text = output.get("text") if isinstance(output, dict) else ""
            text = "".join(line for line in text if isinstance(line, str)) if isinstance(text, list) else text
            for id, number in HINT.findall(text[:MAX_CELL]) if isinstance(text, str) else ():
                opened[id] = max(int(number), opened.get(id, 0))
    return opened


def _tags(cell: dict) -> list[str]:
    metadata = cell.get("metadata")
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


class _Skipped(Exception):
    """Why a cell was not read."""


def _python(text: str) -> str:
    """A cell as plain Python: magics and shell lines become calls that nobody collects."""
    if len(text) > MAX_CELL:
        raise _Skipped(f"is longer than {MAX_CELL} characters")
    first, _, rest = text.lstrip().partition("\n")
    if first.startswith("%%"):
        if first[2:].partition(" ")[0] not in HARMLESS:
            raise _Skipped(f"starts with {first[:20]}, which is not Python,")
        return _python(rest)
    if not re.search(r"^\s*[%!?]|[%!?]\s*\w|\?\s*$", text, re.MULTILINE):
        return text
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return TransformerManager().transform_cell(text)
    except Exception:  # the transformer is not made for everything a cell may hold
        return text


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _definitions(cell: int, tree: ast.Module) -> Iterator[Definition]:
    for index, statement in enumerate(tree.body):
        binds, adds = _binds(statement)
        if binds:
            try:
                now, later = _reads(statement)
                yield Definition(cell, index, frozenset(binds), frozenset(now), frozenset(later), adds)
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
