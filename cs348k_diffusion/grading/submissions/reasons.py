"""Why an answer has no points though nothing is wrong with its formula: one line, the same wherever it is read.

A name that was not found, a cell that is not Python, a `raise NotYet` left under written code, two definitions, or
values that top-level statements fill in which the grader does not run.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator

from cs348k_diffusion.grading.submissions.notebook import Definition, Submission

SHORT = 60  # characters of a cell's first line
NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
FILLING = {"update", "append", "extend", "insert", "add", "setdefault", "pop", "remove", "clear", "register"}


def why(made: Submission, name: str) -> str:
    """The line for an answer called `name`, or "" where nothing stands in its way."""
    if not made.has(name):
        return broken(made, name) or missing(made, name)
    return leftover(made, name) or late_break(made, name) or doubled(made, name) or not_run(made, name)


def missing(made: Submission, name: str) -> str:
    """No definition of that name, and what is called nearly so."""
    written = {each: definition for definition in made.definitions for each in definition.binds}
    near = [each for each in difflib.get_close_matches(name, written, 3, 0.7) if _defines(made, written[each])]
    return f"no definition of {name} was found" + (f"; is {near[0]} meant to be it?" if near else "")


def broken(made: Submission, name: str) -> str:
    """The cell with the definition is not Python."""
    found = [each for each in made.broken if re.search(rf"(?m)^\s*(def|class)\s+{re.escape(name)}\b", each[1])]
    return "; ".join(_not_python(*each[1:]) for each in found[-1:])


def late_break(made: Submission, name: str) -> str:
    """A later version of the answer stands in a cell that is not Python: the one before it counts."""
    last = max(definition.cell for definition in made.definitions if name in definition.binds)
    later = [each for each in made.broken if each[0] > last]
    found = broken(Submission([], broken=later), name)
    return f"{found}; the version before it counts" if found else ""


def leftover(made: Submission, name: str) -> str:
    """Code was written, and `raise NotYet` still stands beside it."""
    for node in _nodes(made, name)[-1:]:
        inner = [node] if isinstance(node, ast.FunctionDef) else node.body if isinstance(node, ast.ClassDef) else []
        for function in inner:
            if isinstance(function, ast.FunctionDef) and _raises_not_yet(function) and len(_written(function)) > 1:
                return "delete `raise NotYet`, which still stands beside what you wrote"
    return ""


def doubled(made: Submission, name: str) -> str:
    """Two different definitions in one file."""
    texts = {ast.unparse(node) for node in _nodes(made, name) if not _stub(node)}
    several = len(texts) > 1 and len(made.parts) < 2
    return f"there are {len(texts)} definitions of {name}; the last counts" if several else ""


def not_run(made: Submission, name: str) -> str:
    """A name that the answer reads is filled by statements that the grader does not run."""
    needed = {*made.needs(name).read, name}
    chosen = {definition.place for definition in made.closure(name)}
    helpers = {each for definition in made.closure(name) for each in definition.binds}
    for number, tree in made.trees.items():
        for index, statement in enumerate(tree.body):
            if (number, index) in chosen:
                continue
            filled = sorted(_filled(statement) & needed - {"print"})
            if not filled and isinstance(statement, ast.FunctionDef | ast.ClassDef):
                filled = _registered(made, statement, helpers & needed)
            if filled:
                return (
                    f"the grader does not run the statement that fills {filled[0]} ({_first(ast.unparse(statement))}): "
                    f"it takes definitions and assignments only, so write {filled[0]} = ..."
                )
    return ""


def _filled(statement: ast.stmt) -> set[str]:
    """Names that a top-level statement which is not run would bind or change."""
    if isinstance(statement, (*NESTED, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.AugAssign)):
        bound = {node.target.id for node in _outer(statement) if isinstance(node, ast.NamedExpr)}
        return bound if not isinstance(statement, NESTED) else set()
    found: set[str] = set()
    for node in _outer(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                found.add(name)
            case ast.Subscript(ctx=ast.Store()) | ast.Attribute(ctx=ast.Store()):
                found |= _root(node)
            case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in FILLING:
                found |= _root(value)
            case ast.Call(func=ast.Name(id="setattr"), args=[first, *_]):
                found |= _root(first)
    return found


def _registered(made: Submission, statement: ast.FunctionDef | ast.ClassDef, helpers: set[str]) -> list[str]:
    """Names of the answer's that a decorator of another definition writes to."""
    names = {node.id for mark in statement.decorator_list for node in ast.walk(mark) if isinstance(node, ast.Name)}
    marks = [definition for definition in made.definitions if definition.binds & names]
    read = {name for definition in marks for name in definition.later}
    return sorted(read & helpers - {"torch", "math", "np", "nn", "F"})


def _outer(statement: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement, less the insides of functions and classes."""
    yield statement
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, NESTED):
            yield from _outer(child)


def _root(node: ast.expr) -> set[str]:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _nodes(made: Submission, name: str) -> list[ast.stmt]:
    every = [each for each in made.definitions if name in each.binds and not each.adds]
    nodes = [made.trees[each.cell].body[each.index] for each in every]
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _defines(made: Submission, definition: Definition) -> bool:
    node = made.trees[definition.cell].body[definition.index]
    return isinstance(node, ast.FunctionDef | ast.ClassDef)


def _written(function: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a body, less its docstring."""
    first = function.body[0]
    return function.body[isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) :]


def _raises_not_yet(function: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Raise) and "NotYet" in ast.unparse(each) for each in function.body)


def _stub(node: ast.stmt) -> bool:
    body = [node] if isinstance(node, ast.FunctionDef) else getattr(node, "body", [])
    return any(isinstance(each, ast.FunctionDef) and _raises_not_yet(each) for each in body)


def _not_python(text: str, line: int, problem: str) -> str:
    return f'the cell that begins "{_first(text)}" is not Python, line {line}: {problem}'


def _first(text: str) -> str:
    line = next((each.strip() for each in text.splitlines() if each.strip()), "")
    return line if len(line) <= SHORT else f"{line[:SHORT]} ..."
