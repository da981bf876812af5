"""Which cells of a blank notebook stop at a stub: the notebook is walked without being run.

A stub may be defined, wrapped, stored and passed on without harm; it stops a cell only when it is called. So each
name is followed as one of three things: fine, deferred (calling it, or something it holds, ends at a stub) or missing
(it would have been assigned in a cell that stops). A cell reads a stub when it calls or iterates something deferred,
or loads something missing. `check`, `hint` and `mine_or_ours` expect stubs, and stop for none.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator

EXPECT_STUBS = frozenset({"check", "hint", "mine_or_ours"})
# These only describe work or hold what they are given; the stub is met later. A class is taken to hold, too.
HOLD = frozenset(
    {"partial", "sample", "ddpm", "ddim", "fit", "denoising", "guide", "steer", "clip", "langevin_chain"}
    | {"annealed_langevin", "progress", "enumerate", "zip", "islice", "items", "values"}
    | {"given", "to", "eval", "train", "requires_grad_"}
)
LOOK_ONLY = frozenset(
    {"print", "repr", "type", "callable", "isinstance", "help", "id", "parameters", "named_parameters", "state_dict"}
)
BUILDERS = frozenset({"__init__", "__new__", "__post_init__"})
CATCHES_STUBS = frozenset({"NotYet", "NotImplementedError", "RuntimeError", "Exception", "BaseException"})
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


class Stops(Exception):
    """The imagined run of a cell ends here."""


def parse(source: str) -> ast.Module:
    """The cell as a syntax tree; a notebook may await at the top level. Raises SyntaxError, also where Python warns."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return compile(source, "<cell>", "exec", flags, dont_inherit=True)  # type: ignore[return-value]


def reads_stub(cells: Iterable[tuple[str, bool]]) -> list[bool]:
    """For each cell of a blank notebook, in order: does it stop at a stub when the notebook runs from the top?

    A cell is (its source, does it hold a stub). In a cell with a stub a value left as None is a stub as well.
    """
    names = Names()
    return [names.run(parse(source), stub) for source, stub in cells]


class Names:
    """What the top-level names of the notebook stand for, as far as stubs go."""

    def __init__(self):
        self.assigned: set[str] = set()
        self.missing: set[str] = set()
        self.deferred: set[str] = set()  # assigned from something deferred
        self.bodies: dict[str, ast.AST] = {}  # functions, lambdas and classes: looked at when used, not when defined

    def run(self, cell: ast.Module, stub: bool = False) -> bool:
        """Walk one cell; True if it stops, names it would first have assigned after that being missing."""
        walk = Walk(self)
        for k, statement in enumerate(cell.body):
            try:
                walk.statement(statement)
            except Stops:
                self.missing |= {name for later in cell.body[k:] for name in bound(later)} - self.assigned
                return True
            if stub and isinstance(statement, ast.Assign) and is_blank(statement.value):
                self.deferred.update(bound(statement))
        return False

    def bind(self, name: str, body: ast.AST | None = None, deferred: bool = False) -> None:
        """`name` now stands for this function or class, for something deferred, or for something fine."""
        self.assigned.add(name)
        self.missing.discard(name)
        self.bodies.pop(name, None)
        self.deferred.discard(name)
        if body is not None:
            self.bodies[name] = body
        elif deferred:
            self.deferred.add(name)

    def stops_when_called(self, name: str, seen: frozenset[str] = frozenset()) -> bool:
        """Does using `name`, or anything its body needs, end at a stub?"""
        if name in self.missing or name in self.deferred:
            return True
        if name in seen or name not in self.bodies:
            return False
        return self.body_stops(self.bodies[name], seen | {name})

    def body_stops(self, body: ast.AST, seen: frozenset[str] = frozenset()) -> bool:
        """Does running this function (or any method of this class) end at a stub?"""
        return is_stub(body) or any(self.stops_when_called(name, seen) for name in needs(body))

    def stops_when_built(self, name: str) -> bool:
        """Calling a class runs its builder alone; calling a function runs all of it."""
        body = self.bodies.get(name)
        if not isinstance(body, ast.ClassDef):
            return self.stops_when_called(name)
        builders = [m for m in body.body if isinstance(m, ast.FunctionDef) and m.name in BUILDERS]
        bases = [base.id for base in body.bases if isinstance(base, ast.Name) and base.id != name]
        return any(self.body_stops(m, frozenset({name})) for m in builders) or any(map(self.stops_when_built, bases))


class Walk:
    """One cell, statement by statement; expressions answer whether their value is deferred, or raise Stops."""

    def __init__(self, names: Names, shadowed: frozenset[str] = frozenset()):
        self.names, self.shadowed = names, shadowed

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.expressions(node.decorator_list)
            self.names.bind(node.name, node)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            self.assign(node)
        elif isinstance(node, ast.For | ast.AsyncFor):
            self.store(node.target, deferred=self.iterate(node.iter))
            self.block([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            self.attempt(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for name in bound(node):
                self.names.bind(name)
        else:
            self.compound(node)

    def compound(self, node: ast.stmt) -> None:
        """if, while, with, match, assert, del and bare expressions: what they hold runs in order."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.statement(child)
            elif isinstance(child, ast.withitem):
                self.expression(child.context_expr)
                if child.optional_vars is not None:
                    self.store(child.optional_vars)
            elif isinstance(child, ast.match_case):
                self.block(child.body)
            elif isinstance(child, ast.expr):
                self.expression(child)

    def block(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self.statement(statement)

    def attempt(self, node: ast.Try) -> None:
        catches = any(h.type is None or CATCHES_STUBS & set(loaded(h.type)) for h in node.handlers)
        try:
            self.block(node.body)
        except Stops:
            if not catches:
                raise
        self.block([*node.orelse, *node.finalbody])

    def assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
        if node.value is None:
            return
        deferred = self.expression(node.value)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if isinstance(node, ast.AugAssign) and deferred:
            raise Stops
        for target in targets:
            body = node.value if isinstance(node.value, ast.Lambda) and isinstance(target, ast.Name) else None
            self.store(target, body, deferred)

    def store(self, target: ast.AST, body: ast.AST | None = None, deferred: bool = False) -> None:
        for name in bound(target):
            self.names.bind(name, body, deferred)

    def iterate(self, node: ast.expr) -> bool:
        """Walking over something deferred calls it; a display of deferred things only hands them out."""
        deferred = self.expression(node)
        if isinstance(node, ast.Call) and called(node.func) in {"items", "values"}:
            node = node.func.value  # type: ignore[union-attr]
        if deferred and not isinstance(node, ast.Tuple | ast.List | ast.Dict):
            raise Stops
        return deferred

    def expressions(self, nodes: Iterable[ast.AST]) -> bool:
        deferred = [self.expression(node) for node in nodes]  # every one is walked: a later one may stop
        return any(deferred)

    def expression(self, node: ast.AST) -> bool:
        """Is the value deferred? Raises Stops when computing it ends at a stub."""
        if isinstance(node, ast.Name):
            return self.name(node)
        if isinstance(node, ast.Lambda):
            return self.names.body_stops(node)
        if isinstance(node, ast.Call):
            return self.call(node)
        if isinstance(node, Comprehension):
            return self.comprehension(node)
        if isinstance(node, ast.NamedExpr):
            deferred = self.expression(node.value)
            self.store(node.target, deferred=deferred)
            return deferred
        deferred = self.expressions(ast.iter_child_nodes(node))
        if deferred and isinstance(node, ast.BinOp | ast.UnaryOp | ast.Await):
            raise Stops
        return deferred and not isinstance(node, ast.Compare | ast.JoinedStr)

    def name(self, node: ast.Name) -> bool:
        if node.id in self.shadowed:
            return False
        if isinstance(node.ctx, ast.Load) and node.id in self.names.missing:
            raise Stops
        return self.names.stops_when_called(node.id)

    def call(self, node: ast.Call) -> bool:
        name = called(node.func)
        builds = isinstance(node.func, ast.Name) and isinstance(self.names.bodies.get(name), ast.ClassDef)
        callee = self.expression(node.func)
        given = self.expressions([*node.args, *(keyword.value for keyword in node.keywords)])
        if name in EXPECT_STUBS | LOOK_ONLY:
            return False
        holds = builds or name in HOLD or name[:1].isupper()
        stops = self.names.stops_when_built(name) if builds else callee and name not in HOLD
        if stops or (given and not holds):
            raise Stops
        return callee or given

    def comprehension(self, node: Comprehension) -> bool:
        self.iterate(node.generators[0].iter)
        targets = frozenset(name for g in node.generators for name in bound(g.target))
        inner = Walk(self.names, self.shadowed | targets)
        for k, g in enumerate(node.generators):
            if k:
                inner.iterate(g.iter)
            inner.expressions(g.ifs)
        return inner.expressions([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])


def called(func: ast.expr) -> str:
    """The last word of what is called: `ddim` of `sampling.ddim`."""
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


def is_stub(body: ast.AST) -> bool:
    """Does it say `raise NotYet(...)`?"""
    return any(isinstance(n, ast.Raise) and n.exc is not None and "NotYet" in loaded(n.exc) for n in ast.walk(body))


def is_blank(value: ast.expr) -> bool:
    """None or ..., what a value is left as for the student."""
    return isinstance(value, ast.Constant) and value.value in (None, ...)


def loaded(node: ast.AST) -> list[str]:
    """All names read inside `node`."""
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)]


def bound(node: ast.AST) -> list[str]:
    """All names that `node` assigns at its own level: targets, definitions, imports; not those inside functions."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.alias):
        return [(node.asname or node.name).split(".")[0]]
    if isinstance(node, ast.Name):
        return [node.id] if isinstance(node.ctx, ast.Store) else []
    if isinstance(node, ast.Lambda | Comprehension):
        return []
    return [name for child in ast.iter_child_nodes(node) for name in bound(child)]


def needs(body: ast.AST) -> set[str]:
    """Names that running this function or class may read from the notebook: its free names, near enough."""
    return set(_read(body)) - set(_own(body))


def _read(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and called(node.func) in EXPECT_STUBS:
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _read(child)


def _own(body: ast.AST) -> Iterator[str]:
    """Arguments, names assigned or imported or defined inside; one declared global is not the function's own."""
    shared = {name for n in ast.walk(body) if isinstance(n, ast.Global) for name in n.names}
    for node in ast.walk(body):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias | ast.FunctionDef | ast.ClassDef):
            yield from bound(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in shared:
            yield node.id
