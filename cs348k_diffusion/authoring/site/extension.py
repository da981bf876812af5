"""What the site adds to Sphinx: formulas as MathML, docstrings of plain text, and a one-file copy of each notebook."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

from cs348k_diffusion.authoring.site.reference import rst


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (inline, leave), (block, leave))
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-skip-member", skip)
    app.connect("html-page-context", accessible, priority=900)
    app.connect("html-page-context", remember, priority=901)
    app.add_config_value("one_file", None, "", (dict, type(None)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def mathml(latex: str, display: str) -> str:
    """The formula as MathML, which browsers draw by themselves. ValueError where a command is not known."""
    drawn = convert(latex, display=display)
    if "\\" in drawn:
        raise ValueError(f"this formula has a command that MathML cannot show: {latex}")
    return drawn


def inline(writer: Any, node: nodes.math) -> None:
    """Write a formula that stands in a line of text."""
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """Write a formula that stands by itself."""
    writer.body.append(f'<div class="math">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def leave(writer: Any, node: nodes.Node) -> None:
    """Nothing is left to close."""


def docstring(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text."""
    lines[:] = list(rst(lines))


def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """Fields of a named tuple say nothing of their own."""
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else None


PARAMETERS = re.compile(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>")
LEVELS = ('class="caption" role="heading"', 'class="caption" role="heading" aria-level="2"')
NAMES = (' aria-label="Toggle hidden content"', "")  # "Show code cell source" says more


def accessible(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mends names and roles that screen readers need, in what Sphinx, Furo and MyST-NB write."""
    for part in ("body", "furo_navigation_tree"):
        if part in context:
            context[part] = PARAMETERS.sub(_parameters, context[part].replace(*LEVELS).replace(*NAMES))


def _parameters(found: re.Match[str]) -> str:
    """Sphinx puts the parameters of a long signature into a list without terms; here they are lines."""
    return found[1].replace("<dd>", '<span class="parameter">').replace("</dd>", "</span>")


def remember(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Keep the title and the text of each notebook for its one-file copy, where one is wanted."""
    folder, _, name = page.rpartition("/")
    if folder == "notebooks" and app.config.one_file is not None:
        app.config.one_file[name] = (context["title"], context["body"])
