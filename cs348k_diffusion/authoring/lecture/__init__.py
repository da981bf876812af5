"""The deck of lecture 7, live: `cs348k lecture` opens it in the browser, a page a slide, from a folder of its own.

Each page opens on a film or figure that is stored in a solved notebook; a key makes it live, in a kernel of Jupyter
Server that knows nothing of other pages. Opened as a file, the deck shows everything but what is live.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import secrets
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from html import escape, unescape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from traitlets.config import Config

from cs348k_diffusion.authoring.lecture.demos import DEMOS, source
from cs348k_diffusion.authoring.lecture.larger import LargerFigure, redraw
from cs348k_diffusion.authoring.lecture.slides import LONG, SHORT, SLIDES, Slide
from cs348k_diffusion.authoring.lecture.slides import script as script_of
from cs348k_diffusion.commands.arguments import writable
from cs348k_diffusion.lab.page import img_tag, png_url
from cs348k_diffusion.lab.player import renewed

SOLUTIONS = Path(__file__).parents[3] / "solutions"
# what a waiting kernel imports: all that most pages need, and then what some do
WARM = "import torch, cs348k_diffusion.authoring.lecture.stage\nfrom cs348k_diffusion import recipes"
WARMER = ("import matplotlib.figure", "import scipy.stats", "import sklearn.datasets")
HERE = "cs348k_diffusion.authoring.lecture"


def page(token: str | None = None) -> str:
    """The deck as one HTML page; token: of the Jupyter server that serves it, None for a page without live demos."""
    from jinja2 import Environment

    if not all(map(find_spec, ("latex2mathml", "ziamath"))):
        raise RuntimeError("the deck is made as the site is: install the course with its extra, cs348k_diffusion[site]")
    from cs348k_diffusion.authoring.site.extension import mathml  # not above: a demo's kernel imports this package

    here = files(HERE)
    names = ("deck.css", "kernel.js", "deck.js", "notes.js", "deck.html")
    css, *scripts, template = ((here / name).read_text(encoding="utf-8") for name in names)
    pages = [
        {
            "slide": slide,
            "shown": shown(slide),
            "formulas": [mathml(formula, "block") for formula in slide.formulas],
        }
        for slide in SLIDES
    ]
    # what is inserted raw is our own: stored outputs of the solutions, MathML, and JSON with every < escaped
    made = Environment(autoescape=True).from_string(template)
    return made.render(pages=pages, css=css.replace("FONT", _font()), js="".join(scripts), data=_data(token))


def _font() -> str:
    """The font of formulas, as a data URL."""
    from cs348k_diffusion.authoring.site import font

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "math.woff"
        font.write(path)
        return "data:font/woff;base64," + base64.b64encode(path.read_bytes()).decode()


def _data(token: str | None) -> str:
    demos = {
        name: {"control": demo.control._asdict(), "code": source(name), "shown": demo.code.strip()}
        for name, demo in DEMOS.items()
    }
    told = [{name: getattr(slide, name) for name in ("title", "notes", "seconds", "short")} for slide in SLIDES]
    return json.dumps({"token": token, "warm": [WARM, *WARMER], "demos": demos, "notes": told}).replace("<", "\\u003c")


def shown(slide: Slide) -> str:
    """The film or the figure that a page opens on, as it is shown."""
    html = stored(*slide.shown)
    if slide.redrawn:
        alt, caption = (re.findall(there, html) for there in (r'<img alt="([^"]*)"', r"<figcaption>(.*?)</figcaption>"))
        address, width, letters = _redrawn(slide.shown[0], slide.redrawn)
        drawn = img_tag(address, unescape(alt[0]), width, unescape(caption[0]) if caption else None)
        return drawn.replace("<img ", f'<img data-letters="{letters:.2f}" ')
    return in_tiles(html, slide.labels) if slide.labels else in_pieces(renewed(html), slide.pieces)


@cache
def _redrawn(notebook: str, wanted: LargerFigure) -> tuple[str, int, float]:
    image, width, letters = redraw(_cells(notebook), wanted)
    return png_url(image), width, letters


def stored(notebook: str, cell: str) -> str:
    """The last HTML output that a cell of a solved notebook has stored. Raises ValueError where there is none."""
    for one in _cells(notebook):
        if one["id"] == cell:
            pages = ["".join(output.get("data", {}).get("text/html", "")) for output in one.get("outputs", ())]
            if found := [each for each in pages if each]:
                return found[-1]
    raise ValueError(f"notebook {notebook} has no cell {cell!r} with a stored film or figure")


def in_pieces(html: str, count: int) -> str:
    """The picture of a figure, cut into `count` of equal width that stand one below the other; 1 leaves it whole."""
    if count == 1:
        return html
    alt, whole = _picture(html)
    edges = [round(left * whole.width / count) for left in range(count + 1)]
    images = [_img(whole.crop((left, 0, right, whole.height)), alt) for left, right in itertools.pairwise(edges)]
    return f'<div class="pieces">{"".join(images)}</div>'


def in_tiles(html: str, labels: Sequence[str]) -> str:
    """A labelled grid of pictures, its labels taken off and written in the page's letters: a picture's or a row's.

    Raises ValueError where there are neither as many pictures nor as many rows as labels.
    """
    alt, whole = _picture(html)
    rows = tiles(whole)
    if len(labels) == len(rows) > 1:
        pairs = [(label, (row[0][0], row[0][1], row[-1][2], row[-1][3])) for label, row in zip(labels, rows)]
        kind, columns = "rows", 2
    elif len(labels) == sum(map(len, rows)):
        pairs, kind, columns = list(zip(labels, itertools.chain(*rows))), "each", len(rows[0])
    else:
        raise ValueError(f"{len(labels)} labels for {len(rows)} rows of {sum(map(len, rows))} pictures: {labels}")
    parts = [f"<div><span>{escape(label)}</span>{_img(whole.crop(box), alt)}</div>" for label, box in pairs]
    return f'<div class="tiles {kind}" style="--columns:{columns}">{"".join(parts)}</div>'


def tiles(whole: Image.Image) -> list[list[tuple[int, int, int, int]]]:
    """The boxes (left, top, right, bottom) of the pictures in a grid, row by row: what is opaque, and no label."""
    opaque = np.asarray(whole.convert("RGBA"))[..., 3] == 255
    down = _runs(opaque.mean(1) > 0.4)  # a label covers less of its row
    return [[(l, top, r, bottom) for l, r in _runs(opaque[top:bottom].all(0))] for top, bottom in down]


def _runs(inside: np.ndarray) -> list[tuple[int, int]]:
    """Where it is true without a gap: (first, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _picture(html: str) -> tuple[str, Image.Image]:
    """The text and the image of the first PNG in an output."""
    alt, data = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"', html)[0]
    return alt, Image.open(io.BytesIO(base64.b64decode(data)))


def _img(picture: Image.Image, alt: str) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f'<img alt="{alt}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


@cache
def _cells(notebook: str) -> list[dict[str, Any]]:
    paths = list(SOLUTIONS.glob(f"{notebook}_*.ipynb"))
    if not paths:
        raise ValueError(
            f"the deck shows films of the solved notebooks, and there is no {SOLUTIONS}/{notebook}_*.ipynb"
        )
    return json.loads(paths[0].read_text(encoding="utf-8"))["cells"]


def give(say: Callable[[str], object], out: Path | None, script: int | None, port: int, browser: bool) -> None:
    """What `cs348k lecture` does: print a script, write the deck as a file, or serve it.

    Raises ValueError for a script of other than 80 or 10 minutes, RuntimeError without what the site needs too.
    """
    if script is not None:
        if script not in (LONG, SHORT):
            raise ValueError(f"there is a script for {LONG} minutes and one for {SHORT}, not for {script}")
        for line in script_of(short=script == SHORT):
            say(line)
    elif out is not None:
        writable(out).write_text(page(), encoding="utf-8")
        say(f"{out}: the deck, without its demos; it opens from disk")
    else:
        serve(say, port, browser)


def serve(say: Callable[[str], object], port: int, browser: bool) -> None:
    """Serve the deck from a temporary folder, on this machine alone, until the terminal ends it."""
    from jupyter_server.serverapp import ServerApp

    token = secrets.token_urlsafe(24)
    deck = f"{secrets.token_hex(16)}.html"  # it holds the token; static files are served to whoever knows a name
    with tempfile.TemporaryDirectory(prefix="cs348k-lecture-") as folder:
        static, work = Path(folder) / "static", Path(folder) / "work"
        static.mkdir()
        work.mkdir()
        (static / deck).write_text(page(token), encoding="utf-8")
        settings = {
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": port,
                "port_retries": 50,
                "open_browser": browser,
                "allow_root": True,
                "root_dir": str(work),
                "extra_static_paths": [str(static)],
                "default_url": f"/static/{deck}",
                "log_level": "ERROR",
            },
            "IdentityProvider": {"token": token},
            "MappingKernelManager": {"transport_encryption": "auto"},  # of what kernels say and hear on this machine
            # a kernel that is gone is missed at once, and not begun again by the server too: the deck begins its own
            "KernelRestarter": {"time_to_dead": 0.5, "restart_limit": 0},
        }
        server = ServerApp.instance(config=Config(settings))
        server.initialize(argv=[], find_extensions=False)
        say(f"http://127.0.0.1:{server.port}/static/{deck}")
        say("Page Down goes on, ? shows the keys, L makes a page live; Control-C, twice, ends it.")
        server.start()
