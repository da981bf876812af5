"""Pages that show what students wrote: one head, one style, and text that is escaped by default.

Each is one self-contained HTML file without scripts, readable on a phone, in light and dark.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

HERE = Path(__file__).parent
LONGEST = 1500  # characters of one text


def page(name: str, **facts: Any) -> str:
    """The page of a template in this folder, such as "class.html"; whatever is put into it is escaped."""
    return _templates().get_template(name).render(facts)


@functools.cache
def _templates() -> Environment:
    templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, finalize=readable_text, trim_blocks=True)
    templates.filters["g"] = lambda number: f"{number:g}"
    templates.globals["style"] = Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return templates


def readable_text(text: Any) -> Any:
    """Without control characters, and not longer than anyone reads; what is HTML already stays (Jinja2 `finalize`)."""
    if not isinstance(text, str) or isinstance(text, Markup):
        return text
    plain = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return plain if len(plain) <= LONGEST else plain[:LONGEST] + " ..."
