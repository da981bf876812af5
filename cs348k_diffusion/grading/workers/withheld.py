"""What a worker must not call: the package's own answer to the exercise, and everything that reaches it.

Which functions reach which is read from the package's source. In the worker they become placeholders that say "E3.2
asks you to write this" when called; so do all of `exercises` and `grading`, and `solutions` and `tests` do not import.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
ROOT = Path(__file__).parents[2]
CLOSED = ("exercises", "grading", "authoring")
ABSENT = ("solutions", "tests")
Unit = tuple[str, str]  # ("forward", "noise_once")


def reaching(names: Iterable[str]) -> list[Unit]:
    """The named functions ("forward.noise_once") and every other that reaches one of them, or LookupError."""
    uses = _uses()
    found = {(name.rpartition(".")[0], name.rpartition(".")[2]) for name in names}
    if unknown := sorted(".".join(unit) for unit in found if unit not in uses):
        raise LookupError(f"withheld names that the package does not define: {', '.join(unknown)}")
    while more := {unit for unit, used in uses.items() if unit not in found and used & found}:
        found |= more
    return sorted(found)


@functools.cache
def _uses() -> dict[Unit, set[Unit]]:
    """Each top-level name of the package, with the names it refers to."""
    uses: dict[Unit, set[Unit]] = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[0] not in CLOSED and "__pycache__" not in parts:
            module = ".".join(parts).removesuffix(".__init__")
            uses |= _uses_of(module, ast.parse(file.read_text(encoding="utf-8")))
    return uses


def _uses_of(module: str, tree: ast.Module) -> dict[Unit, set[Unit]]:
    homes = dict(_imported(tree))
    units = {name: statement for statement in tree.body for name in _bound(statement)}
    homes |= {name: (module, name) for name in units}
    return {(module, name): set(_referred(statement, homes)) - {(module, name)} for name, statement in units.items()}


def _imported(tree: ast.Module) -> Iterator[tuple[str, Unit]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            home = (node.module or "").partition(".")[2]
            yield from ((alias.asname or alias.name, (home, alias.name)) for alias in node.names)


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _referred(statement: ast.stmt, homes: dict[str, Unit]) -> Iterator[Unit]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and node.id in homes:
            yield homes[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in homes:
            home, name = homes[node.value.id]  # `schedule.cosine` after `from cs348k_diffusion import schedule`
            yield f"{home}.{name}".lstrip("."), node.attr


def withhold(units: Iterable[Unit], exercise: str, ours: dict[str, str], not_yet: type) -> None:
    """Put placeholders in this process (a worker) for the units, for `exercises` and `grading`.

    ours: exercise name -> the package's answer, for `mine_or_ours`; not_yet: the NotYet that stubs raise.
    """
    forbidden = {}
    for module, name in units:
        loaded = sys.modules.get(f"{PACKAGE}.{module}")
        if loaded is not None and name in vars(loaded):
            forbidden[id(vars(loaded)[name])] = _placeholder(vars(loaded)[name], name, exercise)
    for module in loaded_modules().values():
        for name, value in list(vars(module).items()):
            if id(value) in forbidden:
                setattr(module, name, forbidden[id(value)])
    _close(exercise, {name: home for name, home in ours.items() if _unit(home) not in set(units)}, not_yet)


@functools.cache
def loaded_modules() -> dict[str, types.ModuleType]:
    """The package's modules; a fork server looks them up once for all its workers."""
    return {name: module for name, module in list(sys.modules.items()) if name.partition(".")[0] == PACKAGE}


def _unit(home: str) -> Unit:
    return home.rpartition(".")[0], home.rpartition(".")[2]


def _placeholder(original: Any, name: str, exercise: str) -> Any:
    refuse = _refusal(name, exercise)
    if isinstance(original, type):
        for method in vars(original).values():
            _empty(method, refuse)
        return type(name, (), {"__new__": staticmethod(refuse)})
    _empty(original, refuse)
    return refuse


def _refusal(name: str, exercise: str) -> types.FunctionType:
    said = f"{exercise} asks you to write this: the package's {name} is not available here"
    space: dict[str, Any] = {}
    exec(f"def {name}(*args, **named):\n    raise RuntimeError({said!r})", space)
    return space[name]


def _empty(function: Any, refuse: types.FunctionType) -> None:
    if isinstance(function, types.FunctionType):
        with contextlib.suppress(ValueError):  # a closure keeps its code; its name is gone all the same
            function.__code__ = refuse.__code__


def _close(exercise: str, ours: dict[str, str], not_yet: type) -> None:
    """Forget `exercises` and `grading`; from now on they import as placeholders, and `solutions` and `tests` do not."""
    for name in loaded_modules():
        if _closed(name):
            sys.modules.pop(name, None)
    package = sys.modules.get(PACKAGE)
    for name in CLOSED:
        if package is not None and name in vars(package):
            delattr(package, name)
    sys.meta_path.insert(0, _Finder(exercise, {"NotYet": not_yet, "mine_or_ours": functools.partial(_ours, ours)}))


def _closed(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == PACKAGE and len(parts) > 1 and parts[1] in CLOSED


def _ours(ours: dict[str, str], function: Callable) -> Callable:
    home = ours.get(getattr(function, "__name__", ""))
    return answer(home) if home else function


def answer(home: str) -> Any:
    """What stands at "forward.noise_once" in the package."""
    module, name = _unit(home)
    return getattr(import_module(f"{PACKAGE}.{module}"), name)


class _Finder(MetaPathFinder, Loader):
    def __init__(self, exercise: str, given: dict[str, Any]):
        self.exercise, self.given = exercise, given

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"{fullname} is not available in grading", name=fullname)
        return ModuleSpec(fullname, self, is_package=True) if _closed(fullname) else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Placeholders(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module).update(self.given, _exercise=self.exercise)


class _Placeholders(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _refusal(name, vars(self)["_exercise"])
