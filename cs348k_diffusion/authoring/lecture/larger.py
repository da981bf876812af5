"""Figures of the notebooks for a lecture hall: their own cells, run on a smaller sheet, so that letters are larger.

A letter of 12 points on a sheet 5.1 inches wide is 32 pixels high where the sheet fills a window of 1024 pixels. What a
cell draws is drawn, with nothing added: its sheet, and the words that would not fit on it, are other ones, and a power
of ten on an axis is written as a number, since exponents are smaller than what they stand on.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARP, WIDE = 264, 96  # dots an inch of the picture, and CSS pixels an inch of the page


class LargerFigure(NamedTuple):
    """Cells that draw a figure, the last of them as the slide needs it.

    size: of the sheet, (width, height) in inches; shorter: words of the last cell, and what stands in their place.
    """

    cells: tuple[str, ...]
    size: tuple[float, float]
    shorter: tuple[tuple[str, str], ...] = ()


def redraw(cells: Iterable[Mapping[str, Any]], wanted: LargerFigure) -> tuple[Image.Image, int, float]:
    """The figure that these cells of a notebook draw, and in CSS pixels its width and its smallest letters.

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
    _plain_numbers(drawn[-1])
    file = BytesIO()
    with plot.house_style():
        drawn[-1].savefig(file, dpi=SHARP, facecolor="white")
    image = Image.open(file).convert("RGB").quantize(256)
    return image, round(WIDE * wanted.size[0]), smallest(drawn[-1]) * WIDE / 72


def _plain_numbers(figure: Figure) -> None:
    """Write 0.01 and 1e-5 where an axis has powers of ten."""
    from matplotlib.ticker import LogFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), LogFormatter):
                axis.set_major_formatter(lambda value, _: f"{value:g}".replace("e-0", "e-"))


def smallest(figure: Figure) -> float:
    """The size of the smallest letters that a drawn figure shows, in points; exponents and indices count."""
    from matplotlib.text import Text

    shown: list[Any] = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return min(text.get_fontsize() * (0.7 if re.search(r"\$.*[\^_].*\$", text.get_text()) else 1) for text in shown)


def _imports(sources: Iterable[str]) -> Iterable[ast.stmt]:
    """What a notebook imports at the top of its cells."""
    for source in sources:
        yield from (node for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom))


def _quiet(*_: object, **__: object) -> None:
    """In place of what would show or print."""


def _first(draw: Callable[..., object], *, alt: str, **controls: tuple[float, ...]) -> None:
    """In place of `explore`: the picture that it begins with, whose values stand last in each control."""
    draw(*(values[-1] for values in controls.values()), False, None)
