"""Each notebook as one HTML file with everything in it: to mail, to print, to put on a stick."""

from __future__ import annotations

import base64
import re
from pathlib import Path

LIMIT = 3_000_000  # bytes of one file
ELSEWHERE = re.compile(r'<a class="reference internal" href="(?!#)[^"]*">(.*?)</a>', re.DOTALL)
MARKS = re.compile(r'<a class="headerlink".*?</a>', re.DOTALL)
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body data-theme="auto">
<main><article>{body}</article></main>
<script>{script}</script>
</body>
</html>
"""


def write(folder: Path, bodies: dict[str, tuple[str, str]], static: Path) -> None:
    """Write a file for each notebook: `bodies` has its title and the HTML of its page, `static` the site's own files.

    Raises ValueError for a notebook that would take more than 3 MB.
    """
    folder.mkdir(exist_ok=True)
    style, script = _style(static), (static / "site.js").read_text(encoding="utf-8")
    for name, (title, body) in bodies.items():
        text = PAGE.format(title=title, style=style, body=MARKS.sub("", ELSEWHERE.sub(r"\1", body)), script=script)
        if len(text.encode()) > LIMIT:
            raise ValueError(
                f"{name} as one file takes {len(text.encode()) / 1e6:.1f} MB, more than 3: show fewer frames"
            )
        (folder / f"{name}.html").write_text(text, encoding="utf-8")


def _style(static: Path) -> str:
    """Every style that the article needs, with the font of the formulas in it."""
    font = "data:font/woff;base64," + base64.b64encode((static / "math.woff").read_bytes()).decode()
    names = ("pygments.css", *(path.name for path in static.glob("mystnb.*.css")), "site.css", "one_file.css")
    style = "\n".join((static / name).read_text(encoding="utf-8") for name in names)
    return style.replace("math.woff", font)
