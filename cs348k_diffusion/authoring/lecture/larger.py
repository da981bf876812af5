"""Figures of the notebooks for a lecture hall: their own cells, run on a smaller sheet, so that letters are larger.

A letter of 12 points on a sheet 7 inches wide is 44 pixels high where the sheet fills a screen of 1920 pixels. What a
cell draws is drawn, with nothing added: only its sheet, and the words that would not fit on it, are other ones.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from PIL import Image

SHARP, WIDE = 264, 96  # dots an inch of the picture, and CSS pixels an inch of the page


class LargerFigure(NamedTuple):
    """Cells that draw a figure, the last of them as the slide needs it.

    size: of the sheet, (width, height) in inches; shorter: words of the last cell, and what stands in their place;
    points: of its smallest letters, exponents aside.
    """

    cells: tuple[str, ...]
    size: tuple[float, float]
    shorter: tuple[tuple[str, str], ...] = ()
    points: int = 12


def redraw(cells: Iterable[Mapping[str, Any]], wanted: LargerFigure) -> tuple[Image.Image, int]:
    """The figure that these cells of a notebook draw, and its width on the page in CSS pixels.

    Raises ValueError where a cell is missing, or has not the words that are to be shorter.
    """
    from cs348k_diffusion.lab import plot

    sources = {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}
    if missing := {*wanted.cells} - {*sources}:
        raise ValueError(f"there is no cell {', '.join(sorted(missing))}")
    drawn: list[Any] = []

    def figure(*grid: int, size: tuple[float, float]) -> Any:
        made = plot.figure(*grid, size=wanted.size)
        drawn.append(made[0])
        return made

    *before, last = (sources[cell] for cell in wanted.cells)
    for old, new in wanted.shorter:
        if old not in last:
            raise ValueError(f"cell {wanted.cells[-1]} has no {old!r}")
        last = last.replace(old, new)
    names: dict[str, Any] = {}
    exec(compile(ast.Module([*_imports(sources.values())], []), "imports", "exec"), names)
    names |= {"figure": figure, "show_figure": _quiet, "print": _quiet, "explore": _first}
    for source in (*before, last):
        exec(source, names)
    file = BytesIO()
    with plot.house_style():
        drawn[-1].savefig(file, dpi=SHARP, facecolor="white")
    return Image.open(file).convert("RGB").quantize(256), round(WIDE * wanted.size[0])


def _imports(sources: Iterable[str]) -> Iterable[ast.stmt]:
    """What a notebook imports at the top of its cells."""
    for source in sources:
        yield from (node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom))


def _quiet(*_: object, **__: object) -> None:
    """In place of what would show or print."""


def _first(draw: Callable[..., object], *, alt: str, **controls: tuple[float, ...]) -> None:
    """In place of `explore`: the picture that it begins with, whose values stand last in each control."""
    draw(*(values[-1] for values in controls.values()), False, None)
