"""The course as pages to read: `cs348k site --out DIR`, made by Sphinx from the solutions, the package and their words.

Nothing in them asks for a network: formulas are MathML, players carry their frames, search is a script beside the
pages. They open from disk.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from cs348k_diffusion import __version__
from cs348k_diffusion.authoring.site import drawing, font, pages, reference
from cs348k_diffusion.authoring.site import one_file as one_file_copies
from cs348k_diffusion.authoring.site.drawing import runtime as npm

ROOT = Path(__file__).parents[3]
EXTRA = "the site needs Sphinx: install the course with its extra, cs348k_diffusion[site]"
NEEDED = ("sphinx", "myst_nb", "furo", "latex2mathml", "ziamath")
TITLE = "From procedural moves to diffusion models"
LIGHT = {"color-brand-primary": "#00558a", "color-brand-content": "#00558a", "color-brand-visited": "#5b3a8c"}
DARK = {"color-brand-primary": "#7cc4f2", "color-brand-content": "#7cc4f2", "color-brand-visited": "#c7a6f0"}


class SiteError(ValueError):
    """The site cannot be made; the text says why."""


def publish(out: Path, solutions: bool, one_file: bool, runtime: Path | None) -> list[str]:
    """`build` with the runtime given, or the one that is found; returns also how to get it where there is none."""
    found = npm.find(runtime)
    return build(out, solutions, one_file=one_file, runtime=found) + ([] if found else [npm.MISSING])


def build(
    out: Path,
    solutions: bool = False,
    which: Sequence[str] = (),
    one_file: bool = False,
    runtime: Path | None = None,
) -> list[str]:
    """Write the site into the folder `out`; returns what Sphinx warned of.

    solutions: keep the solutions and the cards of the checks, which students do not see.
    which: numbers of notebooks, such as "02"; all of them without. A page on each module is left out where it is given.
    one_file: write each notebook as one HTML file too, into `out`/one_file.
    runtime: a folder of npm's onnxruntime-web, for the page that draws; without one it says that it cannot.
    Raises SiteError where `out` holds something else than a site, ValueError where `runtime` is something else,
    RuntimeError without Sphinx.
    """
    if not all(map(find_spec, NEEDED)):
        raise RuntimeError(EXTRA)
    _look(out)
    from sphinx.application import Sphinx
    from sphinx.util.console import nocolor
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    nocolor()
    warnings, bodies = StringIO(), {}
    with tempfile.TemporaryDirectory() as made, patch_docutils(), docutils_namespace():
        source = Path(made) / "source"
        pages.write(source, ROOT, solutions, which)
        drawing.write(source, runtime)
        reference.write(source / "reference", [] if which else reference.modules())
        font.write(source / "_static" / "math.woff")
        settings = _settings(solutions) | {"one_file": bodies}
        _clear(out)
        app = Sphinx(
            source, None, out, Path(made) / "doctrees", "html", settings, status=None, warning=warnings, freshenv=True
        )
        app.build()
    if one_file:
        one_file_copies.write(out / "one_file", bodies, out / "_static")
    (out / "objects.inv").unlink(missing_ok=True)
    return [line for line in warnings.getvalue().splitlines() if line.strip()]


def _look(out: Path) -> None:
    """SiteError where `out` is a file, or holds something else than a site."""
    if out.exists() and not out.is_dir():
        raise SiteError(f"{out} is a file: give --out the name of a folder")
    if out.exists() and any(out.iterdir()) and not (out / ".buildinfo").exists():
        raise SiteError(f"{out} holds something else than a site: give --out a new folder")


def _clear(out: Path) -> None:
    """An empty folder, in place of an older site."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)


def _settings(solutions: bool) -> dict[str, object]:
    """Sphinx's settings: what would be in a conf.py."""
    return {
        "project": TITLE,
        "html_title": TITLE + (" (instructor's edition)" if solutions else ""),
        "version": __version__,
        "language": "en",
        "extensions": ["myst_nb", "sphinx.ext.autodoc", "cs348k_diffusion.authoring.site.extension"],
        "html_theme": "furo",
        "html_theme_options": {"light_css_variables": LIGHT, "dark_css_variables": DARK},
        "html_static_path": ["_static"],
        "html_css_files": ["site.css"],
        "html_js_files": ["site.js"],
        "html_math_renderer": "mathml",
        "html_copy_source": False,
        "html_use_index": False,
        "html_domain_indices": False,
        "html_show_sphinx": False,
        "html_show_copyright": False,
        "html_show_search_summary": False,  # it would ask for pages, which a browser refuses from disk
        "nb_execution_mode": "off",
        "nb_ipywidgets_js": {},
        "nb_render_markdown_format": "myst",
        "myst_enable_extensions": ["dollarmath"],
        "myst_update_mathjax": False,
        "autodoc_typehints": "signature",
        "autodoc_typehints_format": "short",
        "toc_object_entries": False,
        "add_module_names": False,
        "maximum_signature_line_length": 70,
        "suppress_warnings": ["myst.header"],
    }
