"""Automatic mutants of the reference answers: a check that lets one through does not check that.

`make test` runs a sample; everything: `python -m tests.mutants --all [02 ...]`. Each mutant is the reference with one
small slip: a sign, an operator, a comparison, an index or constant off by one, a term, wrapper or statement dropped,
arguments swapped. One that survives either shows a hole in a check, or is right all the same; then
tests/answers/<word>.py says why: `EQUIVALENT = {"E2.1": {"line 4: a + b -> b + a": "addition commutes"}}`.
"""

import argparse
import ast
import copy
import random
import signal
import sys
import threading
from collections.abc import Iterator

from cs348k_diffusion.exercises.framework.catalogue import Exercise, registry
from cs348k_diffusion.exercises.framework.errors import NotYet
from cs348k_diffusion.grading.records import OutOfTime
from cs348k_diffusion.grading.subject.subject import Subject, local
from tests.answers import answers, definition, records_of, runs

SEED = 7
SAMPLE = 24  # mutants of an exercise in `make test`
DEAR = {"E1.5": 6}  # fewer where a check takes seconds, and takes longer to judge what is nearly right
SECONDS = 5  # a mutant that takes longer (an endless loop, mostly) counts as rejected
FLIPS = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div, ast.Add], ast.Div: [ast.Mult], ast.Pow: [ast.Mult],
    ast.FloorDiv: [ast.Div], ast.Mod: [ast.FloorDiv], ast.Lt: [ast.LtE, ast.Gt], ast.LtE: [ast.Lt, ast.GtE],
    ast.Gt: [ast.GtE, ast.Lt], ast.GtE: [ast.Gt, ast.LtE], ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot], ast.IsNot: [ast.Is], ast.In: [ast.NotIn], ast.NotIn: [ast.In], ast.And: [ast.Or],
    ast.Or: [ast.And],
}  # fmt: skip
TWINS = {
    "sin": "cos", "exp": "log", "sqrt": "square", "sum": "mean", "cumsum": "cumprod", "zeros": "ones", "min": "max",
    "zeros_like": "ones_like", "amax": "amin", "sigmoid": "tanh", "rand": "randn", "floor": "ceil", "log1p": "expm1",
}  # fmt: skip
TWINS |= {twin: name for name, twin in TWINS.items()}
# Slips that change nothing are not made: operands of these may be swapped, these look at the shape alone.
EITHER_WAY = {"assert_close", "allclose", "maximum", "minimum", "hypot", "mul", "add", "max", "min", "dot"}
SHAPE_ONLY = {"shape", "ndim", "dtype", "device", "size", "numel", "dim", "zeros_like", "ones_like", "randn_like"}
EVEN = {"abs", "square", "norm", "cos", "cosh"}
TOLERANCE = 0.01  # constants below it are tolerances: twice as much is as good


def mutants(node: ast.FunctionDef | ast.ClassDef) -> dict[str, ast.AST]:
    """Every mutant of a definition by what was changed: "line 3: a + b -> a - b"."""
    found: dict[str, ast.AST] = {}
    texts = {ast.unparse(node)}
    for path, place, parent in places(node):
        for new in variants(place, parent, arguments(node)):
            changed = replaced(node, path, new)
            text = ast.unparse(changed)
            if text not in texts and parses(text):
                texts.add(text)
                found[describe(place, new, found, node.lineno)] = changed
    return found


def describe(place: ast.AST, new: ast.AST | None, taken: dict, first: int) -> str:
    """What was changed, in one line; the line is counted from the definition's first, and repeats get a number."""
    old, now = (ast.unparse(n).strip().replace("\n", "; ") if n else "(dropped)" for n in (place, new))
    said = f"line {getattr(place, 'lineno', first) - first + 1}: {old} -> {now}"
    count = sum(key.partition(" #")[0] == said for key in taken)
    return f"{said} #{count + 1}" if count else said


def parses(text: str) -> bool:
    try:
        compile(text, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def places(node: ast.AST, path: tuple = ()) -> Iterator[tuple[tuple, ast.AST, ast.AST]]:
    """Everything inside a definition that runs: the way to it, it, and what holds it."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "bases"}:
            continue
        for k, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not is_words(child):
                here = (*path, (name, k if isinstance(value, list) else None))
                yield here, child, node
                yield from places(child, here)


def is_words(node: ast.AST) -> bool:
    """A docstring, or the message of an assert or exception."""
    value = node.value if isinstance(node, ast.Expr) else node
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def replaced(node: ast.AST, path: tuple, new: ast.AST | None) -> ast.AST:
    """A copy of `node` with what lies at `path` replaced, or dropped."""
    root = copy.deepcopy(node)
    holder, (field, k) = root, path[-1]
    for name, index in path[:-1]:
        holder = getattr(holder, name) if index is None else getattr(holder, name)[index]
    if k is None:
        setattr(holder, field, copy.deepcopy(new))
    elif new is None:
        del getattr(holder, field)[k]
    else:
        getattr(holder, field)[k] = copy.deepcopy(new)
    return ast.fix_missing_locations(root)


def arguments(node: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """The arguments that may be mistaken for each other."""
    functions = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef)]
    return sorted({a.arg for f in functions for a in f.args.args if a.arg != "self"})


def variants(node: ast.AST, parent: ast.AST, names: list[str]) -> Iterator[ast.AST | None]:
    """What one slip may turn this piece of code into; None where it is dropped."""
    kinds = {
        ast.BinOp: _arithmetic, ast.UnaryOp: _sign, ast.Compare: _comparison, ast.BoolOp: _logic,
        ast.Constant: _constant, ast.Call: _call, ast.Subscript: _index, ast.Slice: _slice, ast.IfExp: _choice,
        ast.If: _branch, ast.Tuple: _order, ast.Assign: _statement, ast.AugAssign: _augmented,
        ast.Expr: _statement, ast.Assert: _statement, ast.Name: _name,
    }  # fmt: skip
    make = kinds.get(type(node))
    if make:
        yield from make(node, parent, names) if make is _name else make(node, parent)


def changed(node: ast.AST, **fields) -> ast.AST:
    """A copy of `node` with some fields replaced."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def called(node: ast.AST) -> str:
    """The last word of the function that a call calls, or of an attribute."""
    func = node.func if isinstance(node, ast.Call) else node
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def _arithmetic(node: ast.BinOp, parent: ast.AST):
    yield from (changed(node, op=op()) for op in FLIPS.get(type(node.op), []))
    yield from (node.left, node.right)
    even = called(parent) in EVEN or (isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow))
    if not isinstance(node.op, ast.Add | ast.Mult) and not (even and isinstance(node.op, ast.Sub)):
        yield changed(node, left=node.right, right=node.left)


def _sign(node: ast.UnaryOp, parent: ast.AST):
    yield node.operand


def _comparison(node: ast.Compare, parent: ast.AST):
    """Flipped; between < and <= only where no decimal number is compared with."""
    decimals = any(isinstance(n, ast.Constant) and isinstance(n.value, float) for n in ast.walk(node))
    for k, op in enumerate(node.ops):
        for other in FLIPS.get(type(op), []):
            if not (decimals and {type(op), other} in ({ast.Lt, ast.LtE}, {ast.Gt, ast.GtE})):
                yield changed(node, ops=[*node.ops[:k], other(), *node.ops[k + 1 :]])


def _logic(node: ast.BoolOp, parent: ast.AST):
    yield changed(node, op=FLIPS[type(node.op)][0]())
    yield from node.values


def _constant(node: ast.Constant, parent: ast.AST):
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
        if value >= TOLERANCE or not isinstance(parent, ast.Call | ast.keyword):  # dim=0 and dim=-1 are often one
            yield ast.Constant(value - 1)
        if isinstance(value, float) and value >= TOLERANCE:
            yield ast.Constant(value * 2)


def _call(node: ast.Call, parent: ast.AST):
    name = called(node)
    if len(node.args) >= 2:
        yield changed(node, args=node.args[:-1])
        if name not in EITHER_WAY:
            yield changed(node, args=[node.args[1], node.args[0], *node.args[2:]])
    for k in range(len(node.keywords)):
        yield changed(node, keywords=node.keywords[:k] + node.keywords[k + 1 :])
    if isinstance(node.func, ast.Attribute):
        if name in TWINS:
            yield changed(node, func=changed(node.func, attr=TWINS[name]))
        if not isinstance(node.func.value, ast.Name) or not node.args:
            yield node.func.value
    yield from node.args[:1]


def _name(node: ast.Name, parent: ast.AST, names: list[str]):
    if isinstance(node.ctx, ast.Load) and node.id in names and called(parent) not in SHAPE_ONLY:
        yield from (ast.Name(name, ast.Load()) for name in [name for name in names if name != node.id][:3])


def _index(node: ast.Subscript, parent: ast.AST):
    yield node.value


def _slice(node: ast.Slice, parent: ast.AST):
    yield from (changed(node, **{end: None}) for end in ("lower", "upper", "step") if getattr(node, end) is not None)


def _choice(node: ast.IfExp, parent: ast.AST):
    yield from (node.body, node.orelse)


def _branch(node: ast.If, parent: ast.AST):
    yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
    yield None


def _order(node: ast.Tuple, parent: ast.AST):
    if isinstance(node.ctx, ast.Load) and len(node.elts) >= 2:
        yield changed(node, elts=[node.elts[1], node.elts[0], *node.elts[2:]])


def _augmented(node: ast.AugAssign, parent: ast.AST):
    yield from (changed(node, op=op()) for op in FLIPS.get(type(node.op), []))
    yield None


def _statement(node: ast.stmt, parent: ast.AST):
    yield None


# Running them


class Mutant:
    """A source of one mutated answer, for the grader; once rejected it is not tried further."""

    def __init__(self, student: str, exercise: Exercise, node: ast.AST):
        self.student, self.exercise, self.node = student, exercise, node
        self.rejected = False

    def open(self, exercise: Exercise, seed: int) -> Subject:
        if self.rejected:
            raise OutOfTime("rejected already")
        if exercise.id != self.exercise.id:
            raise NotYet(exercise.id)
        try:
            return local(timed(runs(definition(self.exercise), self.node)), seed)
        except Exception as error:
            raise AssertionError(f"it does not even run: {error!r}") from None

    def close(self) -> None:
        """Nothing is held."""


def timed(target):
    """The target, stopped after SECONDS of one call."""
    if isinstance(target, type):
        return target

    def call(*args, **named):
        with alarm():
            return target(*args, **named)

    return call


class alarm:
    """Raises TimeoutError inside the block after SECONDS, where the platform can (main thread, Unix)."""

    def __enter__(self):
        self.can = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
        if self.can:
            self.before = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)

    def __exit__(self, *_):
        if self.can:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self.before)

    @staticmethod
    def _ring(*_):
        raise TimeoutError(f"more than {SECONDS} s")


def chosen(exercise: Exercise, limit: int | None = None) -> dict[str, ast.AST]:
    """The mutants of an exercise's reference; with a limit, a sample that is the same every time."""
    every = mutants(definition(exercise).node)
    if limit is None or len(every) <= limit:
        return every
    kept = set(random.Random(f"{SEED} {exercise.id}").sample(sorted(every), limit))
    return {name: node for name, node in every.items() if name in kept}


def survivors(exercise: Exercise, nodes: dict[str, ast.AST]) -> list[str]:
    """The mutants that pass every check of the exercise."""
    sources = [Mutant(name, exercise, node) for name, node in nodes.items()]
    by_name = {source.student: source for source in sources}
    passed = dict.fromkeys(nodes, True)

    def note(record):
        if record.status != "passed":
            passed[record.student] = False
            by_name[record.student].rejected = True

    records_of([exercise], sources, note)
    return [name for name, alive in passed.items() if alive]


def sample(exercise: Exercise) -> int:
    """How many mutants `make test` tries."""
    return DEAR.get(exercise.id, SAMPLE)


def report(exercise: Exercise, limit: int | None = None) -> tuple[int, list[str], list[str]]:
    """(how many mutants, survivors that nobody explained, explanations of mutants that do not survive)."""
    nodes = chosen(exercise, limit)
    explained = getattr(answers(exercise.word), "EQUIVALENT", {}).get(exercise.id, {})
    alive = survivors(exercise, nodes)
    stale = [name for name in explained if name not in alive and (name in nodes or limit is None)]
    return len(nodes), [name for name in alive if name not in explained], stale


def main() -> int:
    """Run the mutants of all exercises (or of some notebooks) and list those that survive."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=main.__doc__)
    parser.add_argument("--all", action="store_true", help=f"every mutant, not a sample of {SAMPLE}")
    parser.add_argument("which", nargs="*", help="exercise ids (E2.1) or notebooks (02)")
    given, bad = parser.parse_args(), 0
    for exercise in registry().values():
        number = f"{int(exercise.id[1:].split('.')[0]):02d}"
        if given.which and exercise.id not in given.which and number not in given.which:
            continue
        count, alive, stale = report(exercise, None if given.all else sample(exercise))
        print(f"{exercise.id} {exercise.name}: {count} mutants, {len(alive)} survive unexplained", flush=True)
        print("".join(f"    {name}\n" for name in alive) + "".join(f"    stale: {name}\n" for name in stale), end="")
        bad += len(alive) + len(stale)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
