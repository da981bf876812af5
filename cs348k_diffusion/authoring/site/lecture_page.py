"""The lecture as a page to read: each slide's title, words, formulas and stored film, with a link to its notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping

from cs348k_diffusion.authoring.lecture import stored
from cs348k_diffusion.authoring.lecture.slides import SLIDES, Slide
from cs348k_diffusion.lab.player import renewed

OPENING = """# The lecture, page by page

Lecture 7 of Stanford CS348K, as the course shows it: the words and formulas of each page, and the film or figure that
it opens on. The films play here without a network; `cs348k lecture` opens the same pages with every one of them live.
"""
FENCE = "`" * 8  # longer than any that a film could hold


def write(names: Mapping[str, str], titles: Mapping[str, str]) -> str:
    """The page's source. names, titles: of the site's notebooks, by number such as "02"; other slides are left out."""
    numbered = [(number, slide) for number, slide in enumerate(SLIDES, start=1) if slide.shown[0] in names]
    return "\n".join([OPENING, *(_slide(n, slide, names, titles) for n, slide in numbered)])


def _slide(number: int, slide: Slide, names: Mapping[str, str], titles: Mapping[str, str]) -> str:
    notebook, cell = slide.shown
    lines = [f"- {line}" for line in slide.lines]
    formulas = [f"$$\n{formula}\n$$\n" for formula in slide.formulas]
    address = f"notebooks/{names[notebook]}.html#picture-{cell}"
    link = f'<p>From <a class="reference internal" href="{address}">{html.escape(titles[notebook])}</a></p>'
    film = f'<div class="cell_output">{renewed(stored(notebook, cell))}</div>'
    return "\n".join(
        [f"## {number}. {slide.title}\n", *lines, "", *formulas, f"{FENCE}{{raw}} html", film, link, FENCE, ""]
    )
