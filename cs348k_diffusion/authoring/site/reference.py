"""Pages on the package, a module each: what `sphinx.ext.autodoc` reads from docstrings that are plain text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cs348k_diffusion

PACKAGE = Path(cs348k_diffusion.__file__).parent
LECTURE = (  # the order of the lecture; a module that is not named here comes after these
    "schedule noise forward exact langevin denoiser sampling training guidance attention nets pipeline cascade latent "
    "distill procedural data metrics recipes evaluate lab running parallel cluster checkpoints"
).split()
NOT_FOR_READERS = {"authoring", "cli", "commands", "course", "exercises", "grading"}
OPTIONS = ("members:", "member-order: bysource", "ignore-module-all:")
EQUATION = re.compile(r"\S[^.`]*(?:\.\d[^.`]*)* (?:=|~|<-|<=) [^.`]*(?:\.\d[^.`]*)*")
EQUATIONS = re.compile(r"(?<=,)\s{3,}")  # between two equations on a line
LINKS = re.compile(r"`([^`]+)`")
SPECIAL = re.compile(r"([\\*|_<>`])")


def modules() -> list[str]:
    """The modules of the package that readers use, in the order of the lecture: "schedule", "nets.unet"."""
    found = [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))]
    names = [name.removesuffix(".__init__") for name in found if name != "__init__"]
    kept = [name for name in names if name.partition(".")[0] not in NOT_FOR_READERS and _says_something(name)]
    places = {name: k for k, name in enumerate(LECTURE)}
    return sorted(kept, key=lambda name: (places.get(name.partition(".")[0], len(places)), name))


def _says_something(name: str) -> bool:
    """Whether a module defines a public function or class."""
    path = PACKAGE / Path(*name.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))
    public = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return any(not word.startswith("_") for word in public)


def write(folder: Path, names: Sequence[str]) -> None:
    """A page for each part of the package (a module, or a folder with its modules) and a page that lists them."""
    folder.mkdir(parents=True)
    parts = list(dict.fromkeys(name.partition(".")[0] for name in names))
    legend = "\n".join(rst((cs348k_diffusion.__doc__ or "").splitlines()))
    contents = "\n".join(f"   {part}" for part in parts)
    index = f"Reference\n=========\n\n{legend}\n\n.. toctree::\n   :maxdepth: 1\n\n{contents}\n"
    (folder / "index.rst").write_text(index, encoding="utf-8")
    for part in parts:
        within = [name for name in names if name.partition(".")[0] == part]
        (folder / f"{part}.rst").write_text(page(part, within), encoding="utf-8")


def page(part: str, names: Sequence[str]) -> str:
    """The page of one part: its modules one below the other."""
    lines = [part, "=" * len(part), ""]
    for name in names:
        heading = name.removeprefix(f"{part}.")
        lines += [heading, "-" * len(heading), ""] if len(names) > 1 and name != part else []
        lines += [f".. automodule:: cs348k_diffusion.{name}", *(f"   :{option}" for option in OPTIONS), ""]
    return "\n".join(lines)


def rst(lines: Sequence[str]) -> Iterator[str]:
    """A docstring of plain text as reStructuredText: no letter has a meaning of its own.

    Indented lines and paragraphs that are an equation stay as they are, and code in backticks stays code.
    """
    literal = False
    for k, line in enumerate(lines):
        alone = not "".join(lines[k - 1 : k] if k else []).strip() and not "".join(lines[k + 1 : k + 2]).strip()
        indented = line.startswith("  ") or (alone and k > 0 and bool(EQUATION.fullmatch(line)))
        if line.strip() and indented != literal:
            yield from ["", "::", ""] if indented else [""]
            literal = indented
        yield from ("   " + part for part in EQUATIONS.split(line)) if indented else [plain(line)]
    yield ""


def plain(line: str) -> str:
    """A line of text in which no letter has a meaning to reStructuredText, but for `code`."""
    pieces = LINKS.split(line)
    return "".join(f"``{piece}``" if k % 2 else SPECIAL.sub(r"\\\1", piece) for k, piece in enumerate(pieces))
