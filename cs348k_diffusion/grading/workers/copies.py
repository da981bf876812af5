"""A copy of the package in which what an exercise asks for does not exist: what a worker imports and reads.

Made by the parent process, once for each set of withheld names; the sandbox puts it in the package's place. Functions,
classes and constants that are withheld have no body there, `exercises`, `grading` and `authoring` are left out.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from cs348k_diffusion.grading.workers.withheld import CLOSED, ROOT, Unit, bound, message

LEFT_OUT = (*CLOSED, "__pycache__")


def copy_for(units: Sequence[Unit], exercise: str, folder: Path) -> Path:
    """The copy of the package for these withheld units below `folder`; made now unless it is there."""
    name = hashlib.sha256(json.dumps([exercise, sorted(units)]).encode()).hexdigest()[:20]
    place = folder / name
    if not place.exists():
        made = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
        _write(made, set(units), exercise)
        made.chmod(0o755)
        try:
            made.rename(place)
        except OSError:  # another process was faster
            shutil.rmtree(made)
    return place


def _write(made: Path, units: set[Unit], exercise: str) -> None:
    modules = {module for module, _ in units}
    for top, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        place = made / Path(top).relative_to(ROOT)
        place.mkdir(exist_ok=True)
        for name in files:
            source = Path(top, name)
            module = ".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            if source.suffix == ".py" and module in modules:
                names = [unit for home, unit in units if home == module]
                (place / name).write_text(without_bodies(source.read_text("utf-8"), names, exercise), "utf-8")
            else:
                _link(source, place / name)


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:  # on another disk
        shutil.copyfile(source, place)


def without_bodies(text: str, names: Iterable[str], exercise: str) -> str:
    """A module's text with these top-level names as functions that say they are withheld."""
    lines, names = text.splitlines(), set(names)
    for statement in reversed(ast.parse(text).body):
        hidden = [name for name in bound(statement) if name in names]
        if hidden:
            first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
            lines[first - 1 : statement.end_lineno] = [line for name in hidden for line in _stub(name, exercise)]
    return "\n".join(lines) + "\n"


def _stub(name: str, exercise: str) -> list[str]:
    return [f"def {name}(*args, **named):", f"    raise RuntimeError({message(name, exercise)!r})"]
