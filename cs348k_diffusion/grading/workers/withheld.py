"""What a worker must not call: the package's own answer to the exercise, and everything that reaches it.

Which functions reach which is read from the package's source. In the worker those that are loaded become placeholders
that say "E3.2 asks you to write this" when called, those that are not are imported from a copy without them (`copies`);
all of `exercises` and `grading` are placeholders, and `solutions` and `tests` do not import.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import os
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
NOT_IMPORTED = ("solutions", "tests")
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
    """Each top-level name of the package, with the names it refers to, wherever they were imported from."""
    uses: dict[Unit, set[Unit]] = {}
    from_elsewhere: dict[Unit, Unit] = dict(_public())
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[0] not in CLOSED and "__pycache__" not in parts:
            module, tree = ".".join(parts).removesuffix(".__init__"), ast.parse(file.read_text(encoding="utf-8"))
            uses |= _uses_of(module, tree)
            from_elsewhere |= {(module, name): unit for name, unit in _imported(tree)}
    return {unit: {_defined(each, uses, from_elsewhere) for each in used} for unit, used in uses.items()}


def _public() -> Iterator[tuple[Unit, Unit]]:
    """The names that the package itself passes on when they are first used."""
    for name, home in vars(import_module(PACKAGE))["_HOME"].items():
        yield ("", name), (home, name)


def _defined(unit: Unit, uses: dict[Unit, set[Unit]], from_elsewhere: dict[Unit, Unit]) -> Unit:
    """Where a name that a module passes on is defined."""
    for _ in range(9):  # no chain is longer
        if unit in uses or unit not in from_elsewhere:
            break
        unit = from_elsewhere[unit]
    return unit


def _uses_of(module: str, tree: ast.Module) -> dict[Unit, set[Unit]]:
    homes = dict(_imported(tree))
    units = {name: statement for statement in tree.body for name in bound(statement)}
    homes |= {name: (module, name) for name in units}
    return {(module, name): set(_referred(statement, homes)) - {(module, name)} for name, statement in units.items()}


def _imported(tree: ast.Module) -> Iterator[tuple[str, Unit]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            home = (node.module or "").partition(".")[2]
            yield from ((alias.asname or alias.name, (home, alias.name)) for alias in node.names)


def bound(statement: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    return [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def _referred(statement: ast.stmt, homes: dict[str, Unit]) -> Iterator[Unit]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and node.id in homes:
            yield homes[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in homes:
            home, name = homes[node.value.id]  # `schedule.cosine` after `from cs348k_diffusion import schedule`
            yield f"{home}.{name}".lstrip("."), node.attr


def withhold(units: Iterable[Unit], exercise: str, ours: dict[str, str], not_yet: type, copy: str = "") -> None:
    """Put placeholders in this process (a worker) for the units, for `exercises` and `grading`.

    ours: exercise name -> the package's answer, for `mine_or_ours`; not_yet: the NotYet that stubs raise; copy: the
    folder to import the rest of the package from, where the sandbox did not put it in the package's place.
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
    linecache.clearcache()
    if copy and Path(copy).is_dir():
        _redirect(copy)
    _close(exercise, {name: home for name, home in ours.items() if _unit(home) not in set(units)}, not_yet)


def _redirect(copy: str) -> None:
    """Let the package's modules believe that they stand in `copy`, and import others from there."""
    for module in loaded_modules().values():
        for name in ("__file__", "__cached__"):
            if getattr(module, name, None):
                setattr(module, name, _moved(getattr(module, name), copy))
        if hasattr(module, "__path__"):
            module.__path__ = [_moved(path, copy) for path in module.__path__]
        if module.__spec__ is not None:
            module.__spec__.origin = getattr(module, "__file__", None)
            module.__spec__.cached = getattr(module, "__cached__", None)
        if hasattr(module.__loader__, "path"):
            vars(module.__loader__)["path"] = getattr(module, "__file__", "")
    sys.path_importer_cache.clear()


def _moved(path: str, copy: str) -> str:
    """The same place in the copy; by strings and not by pathlib, as every worker does this for every module."""
    inside = path == str(ROOT) or path.startswith(f"{ROOT}{os.sep}")
    return copy + path.removeprefix(str(ROOT)) if inside else path


@functools.cache
def loaded_modules() -> dict[str, types.ModuleType]:
    """The package's modules; a fork server looks them up once for all its workers."""
    return {name: module for name, module in list(sys.modules.items()) if name.partition(".")[0] == PACKAGE}


def _unit(home: str) -> Unit:
    return home.rpartition(".")[0], home.rpartition(".")[2]


def _placeholder(original: Any, name: str, exercise: str) -> Any:
    refuse = _refusal(name, exercise)
    if isinstance(original, type):
        for method in list(vars(original).values()):
            _empty(method, refuse)
        return type(name, (), {"__new__": staticmethod(refuse)})
    _empty(original, refuse)
    return refuse


def message(name: str, exercise: str) -> str:
    """What a withheld name says when it is called."""
    return f"{exercise} asks you to write this: the package's {name} is not available here"


def _refusal(name: str, exercise: str) -> types.FunctionType:
    space: dict[str, Any] = {}
    exec(f"def {name}(*args, **named):\n    raise RuntimeError({message(name, exercise)!r})", space)
    return space[name]


def _empty(function: Any, refuse: types.FunctionType) -> None:
    """Take the code out of a function, and out of what a method, a property or a decorator wraps."""
    if isinstance(function, types.FunctionType):
        code = refuse.__code__.replace(co_freevars=function.__code__.co_freevars)
        function.__code__, function.__defaults__, function.__kwdefaults__ = code, None, None
    for name in ("__wrapped__", "__func__", "fget", "fset", "func", "fn"):
        inner = inspect.getattr_static(function, name, None)
        inner = getattr(function, name, None) if inner is not None else None
        if isinstance(inner, types.FunctionType) and inner.__code__.co_code != refuse.__code__.co_code:
            _empty(inner, refuse)


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
        if fullname.partition(".")[0] in NOT_IMPORTED:
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
