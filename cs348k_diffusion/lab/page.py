"""What the rest of `lab` shares: an HTML answer with a stable repr, the text every picture carries, and who is looking.

A picture is stored in the notebook as HTML with an `<img alt=...>` in it: neither JupyterLab nor nbconvert keeps the
alternative text of a plain image output. Nothing here has an id, an address or a clock in it, so a notebook that runs
twice stores the same outputs twice.
"""

import base64
import html
import os
import sys
from io import BytesIO

from PIL import Image


class Html:
    """Something a notebook shows when it is the last line of a cell; `.html` is the text, `name` is its repr."""

    def __init__(self, text: str, name: str):
        self.html, self.name = text, name

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"<{self.name}>"


def need_alt(alt: str | None) -> str:
    """`alt` itself; ValueError when there is none."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            'every picture needs alt="...": one sentence that says what there is to see, for a reader who cannot see it'
        )
    return " ".join(alt.split())


def strict() -> bool:
    """True where the environment says CS348K_STRICT=1: nothing runs in the background, nothing is drawn live."""
    return os.environ.get("CS348K_STRICT", "0") not in ("", "0")


def in_notebook() -> bool:
    """True in a Jupyter kernel."""
    shell = sys.modules.get("IPython")  # a kernel has imported it
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


def attended() -> bool:
    """True when a notebook may be open in front of someone: a kernel, not started by a test and not strict."""
    return (
        in_notebook() and not strict() and "PYTEST_VERSION" not in os.environ
    )  # nbval's kernels inherit that from pytest


def png_url(image: Image.Image) -> str:
    """The image as a data: address."""
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def img_tag(address: str, alt: str, width: int, caption: str | None = None) -> str:
    """`<figure><img alt=...><figcaption>`; the width in CSS pixels, never wider than the page."""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    picture = f'<img alt="{html.escape(alt)}" src="{address}" width="{width}" style="max-width: 100%; height: auto">'
    return f'<figure style="margin: 0">{picture}{below}</figure>'
